//! A disk in memory that loses, tears and refuses what a real one may lose, tear and refuse, and nothing more.
//!
//! In: the calls of [`disk`](super::disk); what is to go wrong, and when. Out: bytes, or errors. Never: chooses
//! anything: whoever cuts the power says which sectors and names survive. Does nothing by itself, so the same
//! calls do the same.
//!
//! ```text
//!   write ──> seen by reads, pending ──(sync of the file)──> durable
//!   make, rename, remove ──> seen, pending ──(sync of the directory)──> durable
//!   power cut: durable, and of what is pending any subset: 512-byte sectors, lengths and names one by one
//! ```
//!
//! Room that was never written reads as zeros, also when later bytes survive a power cut and it does not.

use std::collections::HashMap;
use std::io::{Error, ErrorKind};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};

use super::Open;
use super::names::Names;
use crate::limits::SECTOR_BYTES;

/// What an operation that may fail is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// Reading from a file.
    Read,
    /// Writing into a file.
    Write,
    /// Syncing a file or a directory.
    Sync,
    /// Opening, making, renaming, removing, listing.
    Name,
}

/// What goes wrong when an operation is counted down to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// It fails with this error, and so does every later one of its class if `for_good`.
    Fails {
        /// As in `errno.h`.
        errno: i32,
        /// Whether it goes on failing.
        for_good: bool,
    },
    /// The write is reported as done, but the device drops it.
    Lost,
    /// The write is reported as done, but lands so many blocks further back in the file.
    Misdirected {
        /// How far, in blocks of 4096 bytes; at most to the front of the file.
        blocks: u64,
    },
    /// The power is cut: nothing works until [`SimulatedDisk::power_cut`].
    PowerCut,
    /// There is no room for new blocks and names during so many operations. What overwrites goes on.
    Full {
        /// How many operations of any class.
        operations: u64,
    },
}

/// What a power cut may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// A directory's entry, or its removal.
    Name,
    /// A sector, or a length.
    Data,
}

/// Trouble to come, once.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Which operations it counts; `None`: of any class.
    pub class: Option<Class>,
    /// How the paths of the files end whose operations it counts; `None`: of any file.
    pub file: Option<&'static str>,
    /// It comes with so many of these operations from now on; 1: with the next.
    pub countdown: u64,
    /// What goes wrong.
    pub trouble: Trouble,
}

/// A disk; clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct SimulatedDisk(Arc<Shared>);

/// An open file or directory of a [`SimulatedDisk`].
#[derive(Clone)]
pub struct SimulatedFile {
    disk: SimulatedDisk,
    inode: u64,
}

impl std::fmt::Debug for SimulatedFile {
    /// Without all that is on its disk.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SimulatedFile({})", self.inode)
    }
}

#[derive(Debug, Default)]
struct Shared(Mutex<State>);

#[derive(Clone, Debug, Default)]
struct State {
    inodes: HashMap<u64, Inode>,
    next_inode: u64,
    /// Paths as they are seen.
    seen: Names<Node>,
    /// Paths as they are on the device.
    durable: Names<Node>,
    pending: Vec<Naming>,
    plans: Vec<Plan>,
    broken: Option<Plan>,
    off: bool,
    /// Operations from which on there is room again.
    full_until: u64,
    /// Operations so far, and troubles that came.
    operations: u64,
    troubles: u64,
    /// Whether one came since [`SimulatedDisk::take_troubled`].
    troubled: bool,
    /// Syncs of all that failed.
    failures: u64,
    /// Where lost and misdirected writes should have gone: what rot may be found in.
    rotten: Vec<PathBuf>,
    /// Files and places read, while somebody wants to know.
    reads: Option<Vec<(u64, Range<usize>)>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Node {
    Directory(u64),
    File(u64),
}

/// A change of names that a sync of its directory makes durable.
#[derive(Clone, Debug)]
enum Naming {
    Make(PathBuf, Node),
    Remove(PathBuf),
    /// Of what was there when it was renamed: a name and what it names become durable together.
    Rename(PathBuf, PathBuf, Node),
}

#[derive(Clone, Debug, Default)]
struct Inode {
    /// Of a directory.
    path: Option<PathBuf>,
    /// Shared with copies of the disk until one of them changes it.
    seen: Arc<Vec<u8>>,
    durable: Arc<Vec<u8>>,
    pending: Vec<Change>,
    /// A sync of all failed that should have written some of it: the next sync of it tells so.
    lost: bool,
    /// Failed syncs of all that whoever holds it open has been told of.
    failures_told: u64,
}

#[derive(Clone, Debug)]
enum Change {
    /// `whole`: it was made durable by itself, so that no part of it can be lost.
    Write {
        position: usize,
        data: Bytes,
        whole: bool,
    },
    Length(usize),
}

impl Inode {
    fn put(bytes: &mut Arc<Vec<u8>>, position: usize, data: &[u8]) {
        let bytes = Arc::make_mut(bytes);
        let end = position + data.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[position..end].copy_from_slice(data);
    }

    fn sync(&mut self) {
        for change in self.pending.drain(..) {
            match change {
                Change::Write { position, data, .. } => Inode::put(&mut self.durable, position, &data),
                Change::Length(length) => Arc::make_mut(&mut self.durable).resize(length, 0),
            }
        }
    }

    /// A sync failed, as on Linux: what could not be written is clean now, still seen, and will never be written.
    fn drop_unsynced(&mut self) {
        self.pending.retain(|change| matches!(change, Change::Write { whole: true, .. }));
    }

    fn power_cut(&mut self, survives: &mut dyn FnMut(Part) -> bool) {
        self.lost = false;
        for change in std::mem::take(&mut self.pending) {
            match change {
                Change::Write { position, data, whole: true } => {
                    Inode::put(&mut self.durable, position, &data);
                }
                Change::Write { position, data, .. } => {
                    for (index, sector) in data.chunks(SECTOR_BYTES).enumerate() {
                        if survives(Part::Data) {
                            Inode::put(&mut self.durable, position + index * SECTOR_BYTES, sector);
                        }
                    }
                }
                Change::Length(length) if survives(Part::Data) => {
                    Arc::make_mut(&mut self.durable).resize(length, 0)
                }
                Change::Length(_) => {}
            }
        }
        self.seen.clone_from(&self.durable);
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

fn os(errno: i32) -> Error {
    Error::from_raw_os_error(errno)
}

impl Naming {
    /// Whether a sync of `directory` covers it.
    fn is_in(&self, directory: &Path) -> bool {
        match self {
            Naming::Make(path, _) | Naming::Remove(path) => parent(path) == directory,
            Naming::Rename(from, to, _) => parent(from) == directory || parent(to) == directory,
        }
    }

    fn apply(self, names: &mut Names<Node>) {
        match self {
            Naming::Make(path, node) => names.insert(&path, node),
            Naming::Remove(path) => names.remove_tree(&path),
            Naming::Rename(from, to, node @ Node::File(_)) => {
                if names.get(&from) == Some(node) {
                    names.remove(&from);
                }
                names.insert(&to, node);
            }
            Naming::Rename(from, to, Node::Directory(_)) => {
                if names.contains(&from) {
                    names.move_tree(&from, &to);
                }
            }
        }
    }
}

impl State {
    /// Counts an operation; what goes wrong with it, if anything does.
    fn begin(&mut self, class: Class) -> Result<Option<Trouble>, Error> {
        self.begin_on(class, None)
    }

    fn begin_on(&mut self, class: Class, inode: Option<u64>) -> Result<Option<Trouble>, Error> {
        self.operations += 1;
        if self.off {
            return Err(os(libc::EIO));
        }
        let named = self.plans.iter().chain(&self.broken).any(|plan| plan.file.is_some());
        let path = inode.filter(|_| named).map(|inode| self.path_of(inode)).unwrap_or_default();
        let concerns = |plan: &Plan| {
            plan.class.is_none_or(|of| of == class)
                && plan.file.is_none_or(|name| path.to_string_lossy().ends_with(name))
        };
        if let Some(plan) = self.broken.filter(concerns)
            && let Trouble::Fails { errno, .. } = plan.trouble
        {
            return Err(os(errno));
        }
        for plan in self.plans.iter_mut().filter(|plan| concerns(plan)) {
            plan.countdown = plan.countdown.saturating_sub(1);
        }
        let due = self.plans.iter().position(|plan| concerns(plan) && plan.countdown == 0);
        let Some(due) = due else { return Ok(None) };
        let plan = self.plans.remove(due);
        self.troubles += 1;
        let was_troubled = std::mem::replace(&mut self.troubled, true);
        match plan.trouble {
            Trouble::Fails { errno, for_good } => {
                if for_good {
                    self.broken = Some(plan);
                }
                Err(os(errno))
            }
            Trouble::PowerCut => {
                self.off = true;
                Err(os(libc::EIO))
            }
            Trouble::Full { operations } => {
                // It must be survived, so it is no reason for anything to end.
                self.troubled = was_troubled;
                self.full_until = self.operations + operations;
                Ok(None)
            }
            other => Ok(Some(other)),
        }
    }

    fn is_full(&self) -> bool {
        self.operations < self.full_until
    }

    fn length_of(&self, inode: u64) -> usize {
        self.inodes.get(&inode).map_or(0, |file| file.seen.len())
    }

    /// A write that finds room for its first half only.
    fn put_partly(&mut self, inode: u64, position: usize, data: &Bytes) -> Error {
        let half = data.len() / 2 / crate::limits::BLOCK_BYTES * crate::limits::BLOCK_BYTES;
        if let Some(file) = self.inodes.get_mut(&inode) {
            Inode::put(&mut file.seen, position, &data[..half]);
            file.pending.push(Change::Write { position, data: data.slice(..half), whole: false });
        }
        os(libc::ENOSPC)
    }

    fn new_inode(&mut self, path: Option<PathBuf>) -> u64 {
        self.next_inode += 1;
        self.inodes.insert(self.next_inode, Inode { path, ..Inode::default() });
        self.next_inode
    }

    fn name(&mut self, naming: Naming) {
        naming.clone().apply(&mut self.seen);
        self.pending.push(naming);
    }

    fn path_of(&self, inode: u64) -> PathBuf {
        let found = self.seen.iter().find(|(_, node)| *node == Node::File(inode));
        found.map(|(path, _)| path).unwrap_or_default()
    }

    fn is_directory(&self, path: &Path) -> bool {
        path.as_os_str().is_empty() || matches!(self.seen.get(path), Some(Node::Directory(_)))
    }
}

impl SimulatedDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // -- what disk asks -----------------------------------------------------------------------------------

    pub(super) fn exists(&self, path: &Path) -> bool {
        self.state().seen.contains(path)
    }

    pub(super) fn make_directory(&self, path: &Path) -> Result<(), Error> {
        let mut state = self.state();
        state.begin(Class::Name)?;
        let mut missing: Vec<&Path> = path
            .ancestors()
            .filter(|part| !part.as_os_str().is_empty() && !state.seen.contains(part))
            .collect();
        if !missing.is_empty() && state.is_full() {
            return Err(os(libc::ENOSPC));
        }
        while let Some(part) = missing.pop() {
            let inode = state.new_inode(Some(part.to_path_buf()));
            state.name(Naming::Make(part.to_path_buf(), Node::Directory(inode)));
        }
        Ok(())
    }

    pub(super) fn free_bytes(&self) -> Result<u64, Error> {
        let mut state = self.state();
        state.begin(Class::Name)?;
        Ok(if state.is_full() { 0 } else { u64::MAX })
    }

    pub(super) fn list(&self, path: &Path) -> Result<Vec<String>, Error> {
        let mut state = self.state();
        state.begin(Class::Name)?;
        Ok(state.seen.list(path).collect())
    }

    pub(super) fn open(&self, path: &Path, how: Open) -> Result<SimulatedFile, Error> {
        let mut state = self.state();
        state.begin(Class::Name)?;
        if path == Path::new(".") && how == Open::Directory {
            let inode = state.new_inode(Some(PathBuf::new()));
            return Ok(SimulatedFile { disk: self.clone(), inode });
        }
        let inode = match (state.seen.get(path), how) {
            (Some(Node::Directory(inode)), Open::Directory) => inode,
            (Some(Node::File(inode)), Open::Read | Open::ReadWrite | Open::Update) => inode,
            (Some(Node::File(inode)), Open::Replace) => {
                if let Some(file) = state.inodes.get_mut(&inode) {
                    file.seen = Arc::default();
                    file.pending.push(Change::Length(0));
                }
                inode
            }
            (None, Open::ReadWrite | Open::Replace) if state.is_directory(parent(path)) => {
                if state.is_full() {
                    return Err(os(libc::ENOSPC));
                }
                let inode = state.new_inode(None);
                state.name(Naming::Make(path.to_path_buf(), Node::File(inode)));
                inode
            }
            (None, _) => return Err(os(libc::ENOENT)),
            (Some(_), _) => return Err(os(libc::EISDIR)),
        };
        Ok(SimulatedFile { disk: self.clone(), inode })
    }

    /// For a sync of all there is.
    pub(super) fn open_whole(&self) -> SimulatedFile {
        let mut state = self.state();
        let (inode, failures) = (state.new_inode(None), state.failures);
        if let Some(whole) = state.inodes.get_mut(&inode) {
            whole.failures_told = failures;
        }
        SimulatedFile { disk: self.clone(), inode }
    }

    pub(super) fn rename(&self, from: &Path, to: &Path) -> Result<(), Error> {
        let mut state = self.state();
        state.begin(Class::Name)?;
        let node = state.seen.get(from).filter(|_| state.is_directory(parent(to)));
        let Some(node) = node else { return Err(os(libc::ENOENT)) };
        state.name(Naming::Rename(from.to_path_buf(), to.to_path_buf(), node));
        Ok(())
    }

    pub(super) fn make_one_directory(&self, path: &Path) -> Result<(), Error> {
        if !self.state().is_directory(parent(path)) {
            return Err(os(libc::ENOENT));
        }
        self.make_directory(path)
    }

    /// Not an error if it does not exist.
    pub(super) fn remove(&self, path: &Path) -> Result<(), Error> {
        let mut state = self.state();
        state.begin(Class::Name)?;
        match state.seen.get(path) {
            Some(Node::File(_)) => state.name(Naming::Remove(path.to_path_buf())),
            Some(Node::Directory(_)) => return Err(os(libc::EISDIR)),
            None => {}
        }
        Ok(())
    }

    /// Not an error if it does not exist.
    pub(super) fn remove_directory(&self, path: &Path) -> Result<(), Error> {
        let mut state = self.state();
        state.begin(Class::Name)?;
        if !state.seen.contains(path) {
            return Ok(());
        }
        if state.seen.list(path).next().is_some() {
            return Err(Error::from(ErrorKind::DirectoryNotEmpty));
        }
        state.name(Naming::Remove(path.to_path_buf()));
        Ok(())
    }

    // -- what goes wrong ----------------------------------------------------------------------------------

    /// Has something go wrong later.
    pub fn plan(&self, plan: Plan) {
        self.state().plans.push(plan);
    }

    /// Nothing goes wrong any more but what has gone wrong already.
    pub fn heal(&self) {
        let mut state = self.state();
        state.plans.clear();
        state.broken = None;
        state.full_until = 0;
        state.troubled = false;
        // What was lost was written since the last checkpoint, and a start does not count on it.
        state.inodes.values_mut().for_each(|inode| inode.lost = false);
    }

    /// Cuts the power and turns it on again. `survives` is asked for each thing that no sync covers.
    pub fn power_cut(&self, mut survives: impl FnMut(Part) -> bool) {
        let mut state = self.state();
        for naming in std::mem::take(&mut state.pending) {
            if survives(Part::Name) {
                naming.apply(&mut state.durable);
            }
        }
        // A name whose directory did not survive cannot be reached.
        let names = state.durable.clone();
        for (path, _) in names.iter() {
            let above = parent(&path);
            if !above.as_os_str().is_empty() && !state.durable.contains(above) {
                state.durable.remove(&path);
            }
        }
        state.seen = state.durable.clone();
        let State { durable, inodes, .. } = &mut *state;
        let mut kept = HashMap::new();
        for (path, node) in durable.iter() {
            match node {
                Node::File(inode) => {
                    if let Some(mut file) = inodes.remove(&inode) {
                        file.power_cut(&mut survives);
                        kept.insert(inode, file);
                    }
                }
                Node::Directory(inode) => {
                    kept.insert(inode, Inode { path: Some(path), ..Inode::default() });
                }
            }
        }
        state.inodes = kept;
        state.off = false;
        state.plans.clear();
        state.broken = None;
        state.full_until = 0;
        state.troubled = false;
    }

    /// Whether there is no room for new blocks.
    pub fn is_full(&self) -> bool {
        self.state().is_full()
    }

    /// Whether the power is cut.
    pub fn is_off(&self) -> bool {
        self.state().off
    }

    /// Operations so far, and troubles that came.
    pub fn counts(&self) -> (u64, u64) {
        let state = self.state();
        (state.operations, state.troubles)
    }

    /// Whether anything has gone wrong since the last call of this.
    pub fn take_troubled(&self) -> bool {
        let mut state = self.state();
        std::mem::take(&mut state.troubled) || state.broken.is_some() || state.off
    }

    /// The same, but goes on remembering.
    pub fn has_troubled(&self) -> bool {
        let state = self.state();
        state.troubled || state.broken.is_some() || state.off
    }

    /// Files that lost or misdirected writes should have changed, since the last call.
    pub fn take_rotten(&self) -> Vec<PathBuf> {
        std::mem::take(&mut self.state().rotten)
    }

    /// Every file, with its length.
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        let state = self.state();
        let files = state.seen.iter().filter_map(|(path, node)| match node {
            Node::File(inode) => Some((path, state.inodes.get(&inode)?.seen.len() as u64)),
            Node::Directory(_) => None,
        });
        files.collect()
    }

    /// The bytes of a file as they are seen.
    pub fn bytes(&self, path: &Path) -> Vec<u8> {
        let state = self.state();
        match state.seen.get(path) {
            Some(Node::File(inode)) => {
                state.inodes.get(&inode).map(|file| file.seen.to_vec()).unwrap_or_default()
            }
            _ => Vec::new(),
        }
    }

    /// Changes bytes at rest, on the device itself.
    pub fn spoil(&self, path: &Path, change: impl Fn(&mut [u8])) {
        let mut state = self.state();
        if let Some(Node::File(inode)) = state.seen.get(path)
            && let Some(file) = state.inodes.get_mut(&inode)
        {
            change(Arc::make_mut(&mut file.seen).as_mut_slice());
            change(Arc::make_mut(&mut file.durable).as_mut_slice());
        }
    }

    /// Cuts a file at rest, on the device itself.
    pub fn cut(&self, path: &Path, length: usize) {
        let mut state = self.state();
        if let Some(Node::File(inode)) = state.seen.get(path)
            && let Some(file) = state.inodes.get_mut(&inode)
        {
            Arc::make_mut(&mut file.seen).truncate(length);
            Arc::make_mut(&mut file.durable).truncate(length);
        }
    }

    /// Takes a file away at rest.
    pub fn lose(&self, path: &Path) {
        let mut state = self.state();
        state.seen.remove(path);
        state.durable.remove(path);
    }

    /// Another disk that holds the same. Costs little: what a file holds is shared until it changes.
    pub fn copy(&self) -> SimulatedDisk {
        SimulatedDisk(Arc::new(Shared(Mutex::new(self.state().clone()))))
    }

    /// Remembers from now on which bytes of which files are read.
    pub fn trace_reads(&self) {
        self.state().reads = Some(Vec::new());
    }

    /// What was read since [`SimulatedDisk::trace_reads`]: files and ranges of bytes.
    pub fn take_reads(&self) -> Vec<(PathBuf, Range<usize>)> {
        let mut state = self.state();
        let reads = state.reads.take().unwrap_or_default();
        reads.into_iter().map(|(inode, range)| (state.path_of(inode), range)).collect()
    }

    /// Files that do not hold the same bytes here and there, `except` for those.
    pub fn differences(&self, other: &SimulatedDisk, except: &[&Path]) -> Vec<PathBuf> {
        let (here, there) = (self.state(), other.state());
        let bytes = |state: &State, path: &Path| match state.seen.get(path) {
            Some(Node::File(inode)) => state.inodes.get(&inode).map(|file| file.seen.clone()),
            _ => None,
        };
        let added = there.seen.iter().filter(|(path, _)| !here.seen.contains(path));
        let paths = here.seen.iter().chain(added).map(|(path, _)| path);
        let differs = |path: &PathBuf| {
            let (one, two) = (bytes(&here, path), bytes(&there, path));
            let shared = matches!((&one, &two), (Some(one), Some(two)) if Arc::ptr_eq(one, two));
            !shared && one != two
        };
        paths.filter(|path| !except.contains(&path.as_path())).filter(differs).collect()
    }
}

impl SimulatedFile {
    /// Which file, for comparing.
    pub(super) fn inode(&self) -> u64 {
        self.inode
    }

    pub(super) fn length(&self) -> Result<u64, Error> {
        let mut state = self.disk.state();
        state.begin(Class::Name)?;
        Ok(state.inodes.get(&self.inode).map_or(0, |file| file.seen.len() as u64))
    }

    pub(super) fn read(&self, position: u64, length: usize, mut bytes: BytesMut) -> Result<BytesMut, Error> {
        let mut state = self.disk.state();
        state.begin(Class::Read)?;
        let (from, end) = (position as usize + bytes.len(), position as usize + length);
        if let Some(reads) = &mut state.reads {
            reads.push((self.inode, from..end));
        }
        if let Some(file) = state.inodes.get(&self.inode) {
            let start = file.seen.len().min(from);
            let end = file.seen.len().min(end);
            bytes.extend_from_slice(&file.seen[start..end]);
        }
        Ok(bytes)
    }

    pub(super) fn write(&self, position: u64, data: &[u8]) -> Result<(), Error> {
        self.put(position, Bytes::copy_from_slice(data), false)
    }

    /// Writes and, with `durable`, syncs what was written.
    pub(super) fn put(&self, position: u64, data: Bytes, durable: bool) -> Result<(), Error> {
        let mut state = self.disk.state();
        let mut position = position as usize;
        let was_off = state.off;
        let trouble = match state.begin_on(Class::Write, Some(self.inode)) {
            Ok(_) if state.is_full() && position + data.len() > state.length_of(self.inode) => {
                return Err(state.put_partly(self.inode, position, &data));
            }
            Ok(trouble) => trouble,
            Err(error) => {
                // Nobody knows how much of a write that failed has arrived.
                if let Some(file) = state.inodes.get_mut(&self.inode).filter(|_| !was_off) {
                    file.pending.push(Change::Write { position, data, whole: false });
                }
                return Err(error);
            }
        };
        if trouble.is_some() {
            let path = state.path_of(self.inode);
            state.rotten.push(path);
        }
        match trouble {
            Some(Trouble::Lost) => return Ok(()),
            Some(Trouble::Misdirected { blocks }) => {
                position = position.saturating_sub(blocks as usize * crate::limits::BLOCK_BYTES);
            }
            _ => {}
        }
        let Some(file) = state.inodes.get_mut(&self.inode) else { return Ok(()) };
        Inode::put(&mut file.seen, position, &data);
        if durable && file.pending.is_empty() {
            Inode::put(&mut file.durable, position, &data);
        } else {
            file.pending.push(Change::Write { position, data, whole: durable });
        }
        Ok(())
    }

    pub(super) fn sync(&self) -> Result<(), Error> {
        let mut state = self.disk.state();
        let was_off = state.off;
        let begun = state.begin_on(Class::Sync, Some(self.inode));
        let off = state.off;
        let Some(inode) = state.inodes.get_mut(&self.inode) else { return begun.map(|_| ()) };
        if let Err(error) = begun {
            if !was_off && !off {
                inode.drop_unsynced();
            }
            return Err(error);
        }
        if std::mem::take(&mut inode.lost) {
            return Err(os(libc::EIO));
        }
        inode.sync();
        let Some(directory) = inode.path.clone() else { return Ok(()) };
        let pending = std::mem::take(&mut state.pending);
        let (covered, rest): (Vec<_>, Vec<_>) =
            pending.into_iter().partition(|naming| naming.is_in(&directory));
        state.pending = rest;
        for naming in covered {
            naming.apply(&mut state.durable);
        }
        Ok(())
    }

    /// Makes everything on the disk durable that was written before.
    pub(super) fn sync_all(&self) -> Result<(), Error> {
        let mut state = self.disk.state();
        let was_off = state.off;
        let begun = state.begin_on(Class::Sync, Some(self.inode));
        if begun.is_err() && !was_off && !state.off {
            for inode in state.inodes.values_mut().filter(|inode| !inode.pending.is_empty()) {
                inode.drop_unsynced();
                inode.lost = true;
            }
            state.failures += 1;
        }
        let failures = state.failures;
        let Some(whole) = state.inodes.get_mut(&self.inode) else { return begun.map(|_| ()) };
        let untold = std::mem::replace(&mut whole.failures_told, failures) < failures;
        begun?;
        if untold {
            return Err(os(libc::EIO));
        }
        state.inodes.values_mut().for_each(Inode::sync);
        for naming in std::mem::take(&mut state.pending) {
            naming.apply(&mut state.durable);
        }
        Ok(())
    }

    /// Makes it longer, with zeros.
    pub(super) fn reserve(&self, length: u64) -> Result<(), Error> {
        if self.disk.state().is_full() {
            self.disk.state().begin(Class::Write)?;
            return Err(os(libc::ENOSPC));
        }
        self.truncate(length)
    }

    pub(super) fn truncate(&self, length: u64) -> Result<(), Error> {
        let mut state = self.disk.state();
        state.begin(Class::Write)?;
        let Some(file) = state.inodes.get_mut(&self.inode) else { return Ok(()) };
        if file.seen.len() as u64 != length {
            Arc::make_mut(&mut file.seen).resize(length as usize, 0);
        }
        // Also if it is so long already: a sync that failed may have dropped what made it so.
        file.pending.push(Change::Length(length as usize));
        Ok(())
    }
}
