//! The blocking side of file work: starts, offline tools and tests. The data path never comes here.
//!
//! In: paths. Out: bytes, open files, or an [`IoFault`] that names the file. Also executes [`Op`]s at once, so
//! that code written for the ring runs without one.
//!
//! What needs a path is asked of a [`Disk`]; what has an open file already is a function over it. With the
//! feature `sim` a disk may be one in memory; what is asked of it then goes to `simulated`.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Error, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};

use super::{Completion, Descriptor, Done, Fault, Op, Open, Token, buffer, whole};
use crate::error::{IoFault, OpenError};
use crate::limits::BLOCK_BYTES;

fn fault(doing: &'static str, path: &Path) -> impl FnOnce(Error) -> IoFault {
    let path = path.to_path_buf();
    move |source| IoFault { doing, path, position: None, source }
}

fn fault_at(doing: &'static str, path: &Path, position: u64) -> impl FnOnce(Error) -> IoFault {
    move |source| IoFault { position: Some(position), ..fault(doing, path)(source) }
}

/// Where paths lead.
#[derive(Clone, Debug, Default)]
pub enum Disk {
    /// To the file systems of this machine.
    #[default]
    Machine,
    /// Into memory.
    #[cfg(feature = "sim")]
    Simulated(super::simulated::SimulatedDisk),
}

/// Holds a data directory: no other process can while this lives. Without a file it holds a simulated one, which
/// no other process can reach.
#[derive(Debug)]
pub struct DirectoryLock(#[expect(dead_code, reason = "held, not used")] Option<File>);

impl Disk {
    /// Makes `directory` if it is missing, durably, and takes its lock.
    pub fn lock(&self, directory: &Path) -> Result<DirectoryLock, OpenError> {
        // What was made a moment ago by a process that was killed may not be durable, so it is synced every time.
        let named = |part: &&Path| !part.as_os_str().is_empty();
        let missing = directory.ancestors().skip(1).filter(named).take_while(|part| !self.exists(part));
        let made: Vec<&Path> = std::iter::once(directory).chain(missing).collect();
        self.make_directory(directory)?;
        for part in made {
            let parent = part.parent().filter(named).unwrap_or(Path::new("."));
            match self.sync_directory(parent) {
                // Whoever may not look into it did not make the entry either.
                Err(fault) if fault.source.kind() == ErrorKind::PermissionDenied => {}
                synced => synced?,
            }
        }
        #[cfg(feature = "sim")]
        if let Disk::Simulated(_) = self {
            return Ok(DirectoryLock(None));
        }
        let path = directory.join("lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(fault("open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(DirectoryLock(Some(file))),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse(directory.to_path_buf())),
            Err(TryLockError::Error(source)) => Err(fault("lock", &path)(source).into()),
        }
    }

    /// Keeps others from opening `directory` for writing, changing nothing in it. `None`: it has no lock file, so
    /// nobody ever served from it.
    pub fn lock_to_read(&self, directory: &Path) -> Result<Option<DirectoryLock>, OpenError> {
        #[cfg(feature = "sim")]
        if let Disk::Simulated(_) = self {
            return Ok(Some(DirectoryLock(None)));
        }
        fs::read_dir(directory).map_err(fault("list", directory))?;
        let path = directory.join("lock");
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(fault("open", &path)(error).into()),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(Some(DirectoryLock(Some(file)))),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse(directory.to_path_buf())),
            Err(TryLockError::Error(source)) => Err(fault("lock", &path)(source).into()),
        }
    }

    /// Makes a directory and its parents; not an error if it exists.
    pub fn make_directory(&self, path: &Path) -> Result<(), IoFault> {
        #[cfg(feature = "sim")]
        if let Disk::Simulated(disk) = self {
            return disk.make_directory(path).map_err(fault("make directory", path));
        }
        fs::create_dir_all(path).map_err(fault("make directory", path))
    }

    /// Makes a directory in one that exists; not an error if it exists itself.
    fn make_one_directory(&self, path: &Path) -> Result<(), IoFault> {
        #[cfg(feature = "sim")]
        if let Disk::Simulated(disk) = self {
            return disk.make_one_directory(path).map_err(fault("make directory", path));
        }
        match DirBuilder::new().mode(0o750).create(path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                Err(fault("make directory", path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Names in a directory, sorted; a directory that does not exist has none.
    pub fn list(&self, path: &Path) -> Result<Vec<String>, IoFault> {
        #[cfg(feature = "sim")]
        if let Disk::Simulated(disk) = self {
            return disk.list(path).map_err(fault("list", path));
        }
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(fault("list", path)(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(fault("list", path))?;
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    /// Opens a file for direct I/O.
    pub fn open(&self, path: &Path, how: Open) -> Result<Descriptor, IoFault> {
        #[cfg(feature = "sim")]
        if let Disk::Simulated(disk) = self {
            return disk.open(path, how).map(Descriptor::Simulated).map_err(fault("open", path));
        }
        let mut options = OpenOptions::new();
        options.read(true).mode(0o640);
        match how {
            Open::Read => options.custom_flags(libc::O_DIRECT),
            Open::ReadWrite => options.write(true).create(true).truncate(false).custom_flags(libc::O_DIRECT),
            Open::Update => options.write(true).custom_flags(libc::O_DIRECT),
            Open::Replace => options.write(true).create(true).truncate(true).custom_flags(libc::O_DIRECT),
            Open::Directory => options.custom_flags(libc::O_DIRECTORY),
        };
        let file = options.open(path).map_err(|source| {
            let direct_refused = source.raw_os_error() == Some(libc::EINVAL);
            let doing = if direct_refused {
                "open for direct I/O (does this file system support it?)"
            } else {
                "open"
            };
            fault(doing, path)(source)
        })?;
        Ok(Descriptor::new(OwnedFd::from(file)))
    }

    /// The file system of a directory, if one [`Op::SyncAll`] makes all of it durable: syncs of single files are not
    /// needed then. What could not be written since this was opened makes it fail.
    pub fn open_whole(&self, directory: &Path) -> Result<Option<Descriptor>, IoFault> {
        #[cfg(feature = "sim")]
        if let Disk::Simulated(disk) = self {
            return Ok(Some(Descriptor::Simulated(disk.open_whole())));
        }
        match whole::is_trusted(directory) {
            true => self.open(directory, Open::Directory).map(Some),
            false => Ok(None),
        }
    }

    /// Makes a directory's entries durable.
    pub fn sync_directory(&self, path: &Path) -> Result<(), IoFault> {
        sync(path, &self.open(path, Open::Directory)?)
    }

    /// Bytes that are free on the file system of `path`.
    pub fn free_bytes(&self, path: &Path) -> Result<u64, IoFault> {
        #[cfg(feature = "sim")]
        if let Disk::Simulated(disk) = self {
            return disk.free_bytes().map_err(fault("look at", path));
        }
        super::space::free_bytes(path).map_err(fault("look at the room of", path))
    }

    /// Renames; the entry is durable after a sync of the directory.
    pub fn rename(&self, from: &Path, to: &Path) -> Result<(), IoFault> {
        #[cfg(feature = "sim")]
        if let Disk::Simulated(disk) = self {
            return disk.rename(from, to).map_err(fault("rename", from));
        }
        fs::rename(from, to).map_err(fault("rename", from))
    }

    /// Removes a file, not minding that it is gone already.
    pub fn remove(&self, path: &Path) -> Result<(), IoFault> {
        #[cfg(feature = "sim")]
        if let Disk::Simulated(disk) = self {
            return disk.remove(path).map_err(fault("remove", path));
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(fault("remove", path)(error)),
            _ => Ok(()),
        }
    }

    /// Removes an empty directory, not minding that it is gone already.
    pub fn remove_directory(&self, path: &Path) -> Result<(), IoFault> {
        #[cfg(feature = "sim")]
        if let Disk::Simulated(disk) = self {
            return disk.remove_directory(path).map_err(fault("remove directory", path));
        }
        match fs::remove_dir(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(fault("remove directory", path)(error)),
            _ => Ok(()),
        }
    }

    /// Writes `data` under a name nobody sees until it is whole and durable.
    pub fn replace(&self, directory: &Path, name: &str, data: &[u8]) -> Result<PathBuf, IoFault> {
        let (unfinished, finished) = (directory.join(format!("{name}.new")), directory.join(name));
        let file = self.open(&unfinished, Open::Replace)?;
        let mut aligned = buffer::aligned(buffer::padded(data.len()));
        aligned.extend_from_slice(data);
        buffer::pad(&mut aligned);
        write(&unfinished, &file, 0, &aligned)?;
        sync(&unfinished, &file)?;
        self.rename(&unfinished, &finished)?;
        self.sync_directory(directory)?;
        Ok(finished)
    }

    /// Does one file operation at once. Socket operations are not for this.
    pub fn execute(&self, token: Token, op: Op) -> Completion {
        let errno = |fault: IoFault| Fault { errno: fault.source.raw_os_error().unwrap_or(libc::EIO) };
        let nameless = Path::new("");
        let result = match op {
            Op::Read { file, position, buffer, length } => {
                assert!(buffer.len().is_multiple_of(BLOCK_BYTES) && buffer.capacity() >= length);
                read_into(nameless, &file, position, length, buffer).map(Done::Read).map_err(errno)
            }
            #[cfg(feature = "sim")]
            Op::Write { file: Descriptor::Simulated(file), position, data, durable } => {
                let written = file.put(position, data, durable);
                written.map(|()| Done::Written).map_err(|error| errno(fault("write", nameless)(error)))
            }
            Op::Write { file, position, data, durable } => {
                let write = if durable { write_durable } else { write };
                write(nameless, &file, position, &data).map(|()| Done::Written).map_err(errno)
            }
            Op::Sync { file } => sync(nameless, &file).map(|()| Done::Synced).map_err(errno),
            Op::SyncAll { file } => sync_all(nameless, &file).map(|()| Done::Synced).map_err(errno),
            Op::Truncate { file, length } => {
                truncate(nameless, &file, length).map(|()| Done::Finished).map_err(errno)
            }
            Op::Reserve { file, length } => {
                reserve(nameless, &file, length).map(|()| Done::Finished).map_err(errno)
            }
            Op::FreeSpace { path } => self.free_bytes(&path).map(Done::FreeSpace).map_err(errno),
            Op::Open { path, how } => self.open(&path, how).map(Done::Opened).map_err(errno),
            Op::MakeDirectory { path } => {
                self.make_one_directory(&path).map(|()| Done::Finished).map_err(errno)
            }
            Op::Rename { from, to } => self.rename(&from, &to).map(|()| Done::Finished).map_err(errno),
            Op::Remove { path } => self.remove(&path).map(|()| Done::Finished).map_err(errno),
            Op::RemoveDirectory { path } => {
                self.remove_directory(&path).map(|()| Done::Finished).map_err(errno)
            }
            other => unreachable!("not a file operation: {other:?}"),
        };
        Completion { token, result }
    }

    /// Whether anything has this path.
    pub fn exists(&self, path: &Path) -> bool {
        #[cfg(feature = "sim")]
        if let Disk::Simulated(disk) = self {
            return disk.exists(path);
        }
        path.exists()
    }
}

/// Length of an open file in bytes.
pub fn length(path: &Path, file: &Descriptor) -> Result<u64, IoFault> {
    #[cfg(feature = "sim")]
    if let Descriptor::Simulated(file) = file {
        return file.length().map_err(fault("look at", path));
    }
    let metadata = file.kernel().metadata().map_err(fault("look at", path))?;
    Ok(metadata.len())
}

/// Reads up to `length` bytes at `position`; fewer only at the end of the file. Both are whole blocks.
pub fn read(path: &Path, file: &Descriptor, position: u64, length: usize) -> Result<BytesMut, IoFault> {
    read_into(path, file, position, length, buffer::aligned(length))
}

fn read_into(
    path: &Path,
    file: &Descriptor,
    position: u64,
    length: usize,
    mut bytes: BytesMut,
) -> Result<BytesMut, IoFault> {
    #[cfg(feature = "sim")]
    if let Descriptor::Simulated(file) = file {
        return file.read(position, length, bytes).map_err(fault_at("read", path, position));
    }
    let mut filled = bytes.len();
    bytes.resize(length, 0);
    while filled < length {
        match file.kernel().read_at(&mut bytes[filled..], position + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(source) => return Err(fault_at("read", path, position + filled as u64)(source)),
        }
        if !filled.is_multiple_of(BLOCK_BYTES) {
            break; // the end of a file that was cut inside a block
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// Writes all of `data`, which is whole blocks, at `position`.
pub fn write(path: &Path, file: &Descriptor, position: u64, data: &[u8]) -> Result<(), IoFault> {
    #[cfg(feature = "sim")]
    if let Descriptor::Simulated(file) = file {
        return file.write(position, data).map_err(fault_at("write", path, position));
    }
    file.kernel().write_all_at(data, position).map_err(fault_at("write", path, position))
}

/// The same, and waits until it is on the device; one call where a write and a sync would be two. Not for simulated files.
fn write_durable(path: &Path, file: &Descriptor, position: u64, data: &[u8]) -> Result<(), IoFault> {
    let mut written = 0;
    while written < data.len() {
        let rest = &data[written..];
        let piece = libc::iovec { iov_base: rest.as_ptr().cast_mut().cast(), iov_len: rest.len() };
        let at = position + written as u64;
        // SAFETY: the kernel reads the piece and what it points to, which live across the call, and writes to neither.
        let count = unsafe {
            libc::pwritev2(file.as_raw_fd(), &raw const piece, 1, at as libc::off_t, libc::RWF_DSYNC)
        };
        let error = match count {
            1.. => {
                written += count as usize;
                continue;
            }
            0 => Error::from(ErrorKind::WriteZero),
            _ => Error::last_os_error(),
        };
        if error.kind() != ErrorKind::Interrupted {
            return Err(fault_at("write", path, at)(error));
        }
    }
    Ok(())
}

/// Makes what was written to `file` durable.
pub fn sync(path: &Path, file: &Descriptor) -> Result<(), IoFault> {
    #[cfg(feature = "sim")]
    if let Descriptor::Simulated(file) = file {
        return file.sync().map_err(fault("sync", path));
    }
    file.kernel().sync_data().map_err(fault("sync", path))
}

/// Makes everything in the file system of `file` durable.
pub(super) fn sync_all(path: &Path, file: &Descriptor) -> Result<(), IoFault> {
    #[cfg(feature = "sim")]
    if let Descriptor::Simulated(file) = file {
        return file.sync_all().map_err(fault("sync", path));
    }
    whole::sync(file).map_err(fault("sync the file system", path))
}

/// Fills a file with `length` zeros, so that later writes find their blocks in place, and syncs it.
pub fn write_zeros(path: &Path, file: &Descriptor, length: u64) -> Result<(), IoFault> {
    const STEP: usize = 1 << 20;
    let mut zeros = buffer::aligned(STEP);
    zeros.resize(STEP, 0);
    let zeros: Bytes = zeros.freeze();
    let mut position = 0;
    while position < length {
        let step = (length - position).min(STEP as u64) as usize;
        write(path, file, position, &zeros[..step])?;
        position += step as u64;
    }
    sync(path, file)
}

/// Makes a file `length` bytes long and finds blocks for all of it.
fn reserve(path: &Path, file: &Descriptor, length: u64) -> Result<(), IoFault> {
    #[cfg(feature = "sim")]
    if let Descriptor::Simulated(file) = file {
        return file.reserve(length).map_err(fault("reserve", path));
    }
    // SAFETY: no memory is shared with the kernel.
    match unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, length as libc::off_t) } {
        0 => Ok(()),
        _ => Err(fault("reserve", path)(Error::last_os_error())),
    }
}

/// Cuts a file to `length` bytes.
pub fn truncate(path: &Path, file: &Descriptor, length: u64) -> Result<(), IoFault> {
    #[cfg(feature = "sim")]
    if let Descriptor::Simulated(file) = file {
        return file.truncate(length).map_err(fault("truncate", path));
    }
    file.kernel().set_len(length).map_err(fault("truncate", path))
}
