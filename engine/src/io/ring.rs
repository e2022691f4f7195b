//! The one file that submits to io_uring: operations to entries, entries to completions.
//!
//! In: [`Op`]s with their tokens. Out: [`Completion`]s. Never: drops an operation's memory before the kernel
//! has finished with it, also not when the ring itself is dropped.
//!
//! Each operation in flight sits in a slot; the slot's number is the entry's user data. The slot owns every
//! byte the kernel may touch, at an address that does not move. A short read or write goes on from where it
//! ended.
//!
//! ```text
//!   submit: Op -> slot -> SQE        reap: CQE -> slot -> Completion, slot free again
//! ```

use std::ffi::CString;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use io_uring::{IoUring, opcode, squeue, types};

use super::disk::{self, Disk};
use super::pool::Signal;
use super::socket::{self, Message};
use super::{Completion, Descriptor, Done, Fault, Op, Open, Token};
use crate::limits::BLOCK_BYTES;

/// Submission entries; more operations than that go in several submissions of one turn.
const ENTRIES: u32 = 512;

/// Threads the kernel may use for what waits on a file, syncs above all. They hardly need a processor, and syncs that wait
/// at the same time share the flushes of the device.
const FILE_WORKERS_MAX: u32 = 32;
/// User data of a completion that only wakes.
const WAKE: u64 = u64::MAX;
/// Long enough for a ring to wake itself on any machine.
const WAKE_LIMIT: Duration = Duration::from_secs(5);
/// How long a drop waits for the kernel to give memory back; a device that takes longer is broken.
const DROP_LIMIT: Duration = Duration::from_secs(5);
/// Every opcode that [`prepare`] uses.
const NEEDED: [(u8, &str); 14] = [
    (opcode::Read::CODE, "read"),
    (opcode::Write::CODE, "write"),
    (opcode::Fsync::CODE, "sync"),
    (opcode::Fallocate::CODE, "reserve"),
    (opcode::OpenAt::CODE, "open"),
    (opcode::MkDirAt::CODE, "make directories"),
    (opcode::RenameAt::CODE, "rename"),
    (opcode::UnlinkAt::CODE, "remove"),
    (opcode::Accept::CODE, "accept"),
    (opcode::Recv::CODE, "receive"),
    (opcode::SendMsg::CODE, "send"),
    (opcode::Shutdown::CODE, "shut down"),
    (opcode::MsgRingData::CODE, "wake other rings"),
    (opcode::PollAdd::CODE, "poll"),
];
/// I/O priority class "idle", for reads that must not hold up appends.
const PRIORITY_IDLE: u16 = 3 << 13;

/// An io_uring instance, owned by the thread that made it.
pub struct Ring {
    ring: IoUring,
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// Slots in use.
    in_kernel: usize,
    /// Completions of what is done at once.
    ready: Vec<Completion>,
}

/// A thread that does one operation because the ring cannot; it raises a signal when it is done.
type Aside = JoinHandle<Result<Done, Fault>>;

/// One operation in flight and everything the kernel may still touch for it.
enum Slot {
    Free,
    Read { token: Token, file: Descriptor, buffer: BytesMut, position: u64, length: usize },
    Write { token: Token, file: Descriptor, data: Bytes, position: u64, durable: bool },
    Sync { token: Token, _file: Descriptor },
    Open { token: Token, _path: CString },
    Path { token: Token, _from: CString, _to: CString, tolerated: i32 },
    Accept { token: Token, _listener: Descriptor },
    Receive { token: Token, _socket: Descriptor, buffer: BytesMut },
    Send { token: Token, _socket: Descriptor, _data: Vec<Bytes>, _message: Box<Message> },
    Plain { token: Token, _held: Option<Descriptor> },
    Aside { token: Token, _done: Arc<Signal>, thread: Aside },
}

impl Ring {
    /// Sets a ring up for the calling thread, which alone may use it.
    pub fn new() -> std::io::Result<Ring> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .setup_cqsize(ENTRIES * 4)
            .build(ENTRIES)?;
        // Best effort: with fewer, which is four a processor, a checkpoint of many files takes longer. 0: as it is.
        let _ = ring.submitter().register_iowq_max_workers(&mut [FILE_WORKERS_MAX, 0]);
        Ok(Ring { ring, slots: Vec::new(), free: Vec::new(), in_kernel: 0, ready: Vec::new() })
    }

    /// The descriptor by which other rings wake this one.
    pub fn descriptor(&self) -> RawFd {
        self.ring.as_raw_fd()
    }

    /// What operations need and this kernel's io_uring does not have, by the names of the opcodes.
    pub fn missing(&self) -> std::io::Result<Vec<&'static str>> {
        let mut probe = io_uring::Probe::new();
        self.ring.submitter().register_probe(&mut probe)?;
        Ok(NEEDED.iter().filter(|(code, _)| !probe.is_supported(*code)).map(|(_, name)| *name).collect())
    }

    /// Sends itself a wake-up and waits for it: submitting, waiting and waking are seen to work.
    pub fn wake_itself(&mut self) -> std::io::Result<()> {
        let token = Token { space: u16::MAX, index: 0 };
        self.submit(&mut vec![(token, Op::Wake { ring: self.descriptor() })])?;
        let mut done = Vec::new();
        while done.len() < 2 {
            let before = done.len();
            self.wait(Some(WAKE_LIMIT), &mut done)?;
            if done.len() == before {
                return Err(std::io::ErrorKind::TimedOut.into());
            }
        }
        for completion in done {
            completion.result.map_err(|fault| std::io::Error::from_raw_os_error(fault.errno))?;
        }
        Ok(())
    }

    /// Operations whose completions are still to come.
    pub fn in_flight(&self) -> usize {
        self.in_kernel + self.ready.len()
    }

    /// Queues every operation of `wanted`. They reach the kernel at the next [`Ring::wait`] at the latest.
    pub fn submit(&mut self, wanted: &mut Vec<(Token, Op)>) -> std::io::Result<()> {
        for (token, op) in wanted.drain(..) {
            if matches!(op, Op::Truncate { .. } | Op::FreeSpace { .. }) {
                self.ready.push(Disk::Machine.execute(token, op));
                continue;
            }
            let (slot, entry) = match op {
                Op::SyncAll { file } => match prepare_aside(token, file) {
                    Ok(prepared) => prepared,
                    Err(error) => {
                        self.ready.push(Completion { token, result: Err(Fault::of(&error)) });
                        continue;
                    }
                },
                op => prepare(token, op),
            };
            let index = self.free.pop().unwrap_or_else(|| {
                self.slots.push(Slot::Free);
                self.slots.len() - 1
            });
            self.slots[index] = slot;
            self.in_kernel += 1;
            self.push(entry.user_data(index as u64))?;
        }
        Ok(())
    }

    /// Submits what is queued and waits for a completion, at most `timeout` (`None`: without limit), then takes
    /// every completion there is. A wake-up or an interruption ends the wait early.
    pub fn wait(&mut self, timeout: Option<Duration>, done: &mut Vec<Completion>) -> std::io::Result<()> {
        let timeout = if self.ready.is_empty() { timeout } else { Some(Duration::ZERO) };
        let waited = match timeout {
            Some(limit) => {
                let limit = types::Timespec::from(limit);
                self.ring.submitter().submit_with_args(1, &types::SubmitArgs::new().timespec(&limit))
            }
            None => self.ring.submit_and_wait(1),
        };
        match waited {
            Ok(_) => {}
            // ETIME: the time is over. EINTR: a signal. EBUSY, EAGAIN: completions must be taken first.
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN)
                ) => {}
            Err(error) => return Err(error),
        }
        self.reap(done)
    }

    fn reap(&mut self, done: &mut Vec<Completion>) -> std::io::Result<()> {
        done.append(&mut self.ready);
        let mut again = Vec::new();
        let entries: Vec<(u64, i32)> =
            self.ring.completion().map(|entry| (entry.user_data(), entry.result())).collect();
        for (user_data, result) in entries {
            if user_data == WAKE {
                done.push(Completion { token: Token { space: u16::MAX, index: 0 }, result: Ok(Done::Woken) });
                continue;
            }
            let index = user_data as usize;
            let slot = std::mem::replace(&mut self.slots[index], Slot::Free);
            match finish(slot, result) {
                Finished::Done(completion) => {
                    self.in_kernel -= 1;
                    self.free.push(index);
                    done.push(completion);
                }
                Finished::Again(slot, entry) => {
                    self.slots[index] = slot;
                    again.push(entry.user_data(user_data));
                }
            }
        }
        for entry in again {
            self.push(entry)?;
        }
        Ok(())
    }

    fn push(&mut self, entry: squeue::Entry) -> std::io::Result<()> {
        loop {
            // SAFETY: everything `entry` points to is owned by its slot, which lives until the completion.
            let pushed = unsafe { self.ring.submission().push(&entry) };
            if pushed.is_ok() {
                return Ok(());
            }
            self.ring.submit()?;
        }
    }
}

impl Drop for Ring {
    /// Cancels what waits and sees the rest through, so that afterwards no file changes and no socket is open
    /// because of this ring. Memory that the kernel still has after `DROP_LIMIT` is leaked rather than freed
    /// under it.
    fn drop(&mut self) {
        let submitter = self.ring.submitter();
        let everything = types::CancelBuilder::any();
        let mut stuck = submitter.submit().is_err();
        // It fails if there was nothing to cancel or a write went on; either way only completions are left.
        let _ = submitter.register_sync_cancel(Some(types::Timespec::from(DROP_LIMIT)), everything);
        let mut done = Vec::new();
        while self.in_flight() > 0 && !stuck {
            let before = self.in_flight();
            stuck = self.wait(Some(DROP_LIMIT), &mut done).is_err() || self.in_flight() == before;
            done.clear();
        }
        for slot in self.slots.drain(..) {
            std::mem::forget(slot);
        }
    }
}

fn fd(descriptor: &Descriptor) -> types::Fd {
    types::Fd(descriptor.as_raw_fd())
}

fn prepare(token: Token, op: Op) -> (Slot, squeue::Entry) {
    match op {
        Op::Read { file, position, buffer, length } => {
            assert!(buffer.len().is_multiple_of(BLOCK_BYTES) && buffer.capacity() >= length);
            prepare_read(token, file, buffer, position, length)
        }
        Op::Write { file, position, data, durable } => prepare_write(token, file, data, position, durable),
        Op::Sync { file } => {
            let entry = opcode::Fsync::new(fd(&file)).flags(types::FsyncFlags::DATASYNC).build();
            (Slot::Sync { token, _file: file }, entry)
        }
        Op::Reserve { file, length } => {
            let entry = opcode::Fallocate::new(fd(&file), length).build();
            (Slot::Plain { token, _held: Some(file) }, entry)
        }
        Op::Open { path, how } => {
            let path = c_path(&path);
            let flags = open_flags(how);
            let entry = opcode::OpenAt::new(types::Fd(libc::AT_FDCWD), path.as_ptr())
                .flags(flags | libc::O_CLOEXEC)
                .mode(0o640)
                .build();
            (Slot::Open { token, _path: path }, entry)
        }
        Op::Accept { listener } => {
            let entry = opcode::Accept::new(fd(&listener), std::ptr::null_mut(), std::ptr::null_mut())
                .flags(libc::SOCK_CLOEXEC)
                .build();
            (Slot::Accept { token, _listener: listener }, entry)
        }
        Op::Receive { socket, mut buffer } => {
            let spare = buffer.spare_capacity_mut();
            assert!(!spare.is_empty());
            let entry = opcode::Recv::new(fd(&socket), spare.as_mut_ptr().cast(), spare.len() as u32).build();
            (Slot::Receive { token, _socket: socket, buffer }, entry)
        }
        Op::Send { socket, data } => prepare_send(token, socket, data),
        Op::Shutdown { socket } => {
            let entry = opcode::Shutdown::new(fd(&socket), libc::SHUT_RDWR).build();
            (Slot::Plain { token, _held: Some(socket) }, entry)
        }
        Op::Wake { ring } => {
            let entry = opcode::MsgRingData::new(types::Fd(ring), 0, WAKE, None).build();
            (Slot::Plain { token, _held: None }, entry)
        }
        path_op => prepare_path(token, path_op),
    }
}

/// A sync of a whole file system: io_uring has none. It is seldom, so the thread is made for it.
fn prepare_aside(token: Token, file: Descriptor) -> std::io::Result<(Slot, squeue::Entry)> {
    let done = Arc::new(Signal::new()?);
    let raised = done.clone();
    let thread = Builder::new().name("sync".into()).spawn(move || {
        let synced = disk::sync_all(Path::new(""), &file);
        raised.raise();
        synced.map(|()| Done::Synced).map_err(|fault| Fault::of(&fault.source))
    })?;
    let entry = opcode::PollAdd::new(types::Fd(done.descriptor()), libc::POLLIN as u32).build();
    Ok((Slot::Aside { token, _done: done, thread }, entry))
}

fn open_flags(how: Open) -> i32 {
    match how {
        Open::Read => libc::O_RDONLY | libc::O_DIRECT,
        Open::ReadWrite => libc::O_RDWR | libc::O_CREAT | libc::O_DIRECT,
        Open::Update => libc::O_RDWR | libc::O_DIRECT,
        Open::Replace => libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC | libc::O_DIRECT,
        Open::Directory => libc::O_RDONLY | libc::O_DIRECTORY,
    }
}

fn prepare_path(token: Token, op: Op) -> (Slot, squeue::Entry) {
    let here = types::Fd(libc::AT_FDCWD);
    let (from, to, entry, tolerated);
    match op {
        Op::MakeDirectory { path } => {
            (from, to) = (c_path(&path), CString::default());
            entry = opcode::MkDirAt::new(here, from.as_ptr()).mode(0o750).build();
            tolerated = libc::EEXIST;
        }
        Op::Rename { from: old, to: new } => {
            (from, to) = (c_path(&old), c_path(&new));
            entry = opcode::RenameAt::new(here, from.as_ptr(), here, to.as_ptr()).build();
            tolerated = 0;
        }
        Op::Remove { path } => {
            (from, to) = (c_path(&path), CString::default());
            entry = opcode::UnlinkAt::new(here, from.as_ptr()).build();
            tolerated = libc::ENOENT;
        }
        Op::RemoveDirectory { path } => {
            (from, to) = (c_path(&path), CString::default());
            entry = opcode::UnlinkAt::new(here, from.as_ptr()).flags(libc::AT_REMOVEDIR).build();
            tolerated = libc::ENOENT;
        }
        other => unreachable!("not an operation on paths: {other:?}"),
    }
    (Slot::Path { token, _from: from, _to: to, tolerated }, entry)
}

fn prepare_read(
    token: Token,
    file: Descriptor,
    mut buffer: BytesMut,
    position: u64,
    length: usize,
) -> (Slot, squeue::Entry) {
    let filled = buffer.len();
    let spare = buffer.spare_capacity_mut();
    assert!(length - filled <= spare.len());
    let entry = opcode::Read::new(fd(&file), spare.as_mut_ptr().cast(), (length - filled) as u32)
        .offset(position + filled as u64)
        .ioprio(PRIORITY_IDLE)
        .build();
    (Slot::Read { token, file, buffer, position, length }, entry)
}

fn prepare_write(
    token: Token,
    file: Descriptor,
    data: Bytes,
    position: u64,
    durable: bool,
) -> (Slot, squeue::Entry) {
    let flags = if durable { libc::RWF_DSYNC } else { 0 };
    let entry = opcode::Write::new(fd(&file), data.as_ptr(), data.len() as u32)
        .offset(position)
        .rw_flags(flags)
        .build();
    (Slot::Write { token, file, data, position, durable }, entry)
}

fn prepare_send(token: Token, socket: Descriptor, data: Vec<Bytes>) -> (Slot, squeue::Entry) {
    let message = Message::of(&data);
    let entry = opcode::SendMsg::new(fd(&socket), message.header()).flags(libc::MSG_NOSIGNAL as u32).build();
    (Slot::Send { token, _socket: socket, _data: data, _message: message }, entry)
}

fn c_path(path: &Path) -> CString {
    match CString::new(path.as_os_str().as_bytes()) {
        Ok(path) => path,
        Err(_) => unreachable!("paths are made by the engine and hold no zero byte"),
    }
}

enum Finished {
    Done(Completion),
    Again(Slot, squeue::Entry),
}

fn finish(slot: Slot, result: i32) -> Finished {
    let outcome = if result < 0 { Err(Fault { errno: -result }) } else { Ok(result as usize) };
    let retry = matches!(outcome, Err(Fault { errno: libc::EINTR | libc::EAGAIN }));
    let (token, result) = match slot {
        Slot::Free => unreachable!("a completion for a free slot"),
        Slot::Read { token, file, buffer, position, length } if retry => {
            let (slot, entry) = prepare_read(token, file, buffer, position, length);
            return Finished::Again(slot, entry);
        }
        Slot::Read { token, file, mut buffer, position, length } => match outcome {
            Ok(count) => {
                let filled = buffer.len() + count;
                assert!(filled <= length);
                // SAFETY: the kernel filled `count` bytes of the spare capacity, behind what was there.
                unsafe { buffer.set_len(filled) };
                // Inside a block only the end of the file stops a read.
                if count > 0 && filled < length && filled.is_multiple_of(BLOCK_BYTES) {
                    let (slot, entry) = prepare_read(token, file, buffer, position, length);
                    return Finished::Again(slot, entry);
                }
                (token, Ok(Done::Read(buffer)))
            }
            Err(fault) => (token, Err(fault)),
        },
        Slot::Write { token, file, mut data, position, durable } => match outcome {
            Ok(count) if count == data.len() => (token, Ok(Done::Written)),
            Ok(0) => (token, Err(Fault { errno: libc::EIO })),
            Ok(count) => {
                data.advance(count);
                let (slot, entry) = prepare_write(token, file, data, position + count as u64, durable);
                return Finished::Again(slot, entry);
            }
            Err(_) if retry => {
                let (slot, entry) = prepare_write(token, file, data, position, durable);
                return Finished::Again(slot, entry);
            }
            Err(fault) => (token, Err(fault)),
        },
        Slot::Sync { token, .. } => (token, outcome.map(|_| Done::Synced)),
        Slot::Open { token, .. } => (token, outcome.map(|fd| Done::Opened(Descriptor::new(own(fd))))),
        Slot::Path { token, tolerated, .. } => match outcome {
            Err(fault) if fault.errno != tolerated => (token, Err(fault)),
            _ => (token, Ok(Done::Finished)),
        },
        Slot::Accept { token, .. } => (token, outcome.and_then(|fd| socket::accepted(own(fd)))),
        Slot::Receive { token, mut buffer, .. } => {
            let received = outcome.map(|count| {
                let length = buffer.len() + count;
                assert!(length <= buffer.capacity());
                // SAFETY: the kernel filled `count` bytes of the spare capacity, behind what was there.
                unsafe { buffer.set_len(length) };
                Done::Received(buffer)
            });
            (token, received)
        }
        Slot::Send { token, .. } => (token, outcome.map(Done::Sent)),
        Slot::Plain { token, .. } => (token, outcome.map(|_| Done::Finished)),
        Slot::Aside { token, thread, .. } => {
            // A thread that panicked synced nothing; one that goes on when the wait for it was cancelled is let go.
            let joined = outcome.map(|_| thread.join().unwrap_or(Err(Fault { errno: libc::EIO })));
            (token, joined.and_then(|synced| synced))
        }
    };
    Finished::Done(Completion { token, result })
}

/// Takes over a descriptor that a completion has brought.
fn own(fd: usize) -> OwnedFd {
    // SAFETY: the kernel just opened it for us and nobody else owns it.
    unsafe { OwnedFd::from_raw_fd(fd as RawFd) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::buffer;

    const TOKEN: Token = Token { space: 0, index: 1 };

    fn null() -> Descriptor {
        Descriptor::new(OwnedFd::from(std::fs::File::open("/dev/null").unwrap()))
    }

    /// The slot that an unfinished operation goes on with.
    fn again(slot: Slot, result: usize) -> Slot {
        match finish(slot, result as i32) {
            Finished::Again(slot, _) => slot,
            Finished::Done(completion) => panic!("{completion:?}"),
        }
    }

    fn done(slot: Slot, result: usize) -> Result<Done, Fault> {
        match finish(slot, result as i32) {
            Finished::Done(completion) => completion.result,
            Finished::Again(..) => panic!("it goes on"),
        }
    }

    #[test]
    fn a_short_read_goes_on_until_it_is_whole_or_at_the_end_of_the_file() {
        let length = 4 * BLOCK_BYTES;
        for (results, read) in [
            (&[BLOCK_BYTES, 3 * BLOCK_BYTES][..], length),
            (&[BLOCK_BYTES, BLOCK_BYTES, 0], 2 * BLOCK_BYTES),
            (&[BLOCK_BYTES, 100], BLOCK_BYTES + 100),
            (&[0], 0),
        ] {
            let (last, short) = results.split_last().unwrap();
            let mut buffer = buffer::aligned(length);
            buffer.resize(length, 0);
            buffer.clear();
            let slot = Slot::Read { token: TOKEN, file: null(), buffer, position: 0, length };
            match done(short.iter().fold(slot, |slot, count| again(slot, *count)), *last) {
                Ok(Done::Read(buffer)) => assert_eq!(buffer.len(), read),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_short_write_goes_on_and_one_of_nothing_is_a_fault() {
        let write = || Slot::Write {
            token: TOKEN,
            file: null(),
            data: Bytes::from(vec![0; 3 * BLOCK_BYTES]),
            position: BLOCK_BYTES as u64,
            durable: true,
        };
        let rest = again(write(), BLOCK_BYTES);
        match &rest {
            Slot::Write { data, position, durable: true, .. } => {
                assert_eq!((data.len(), *position), (2 * BLOCK_BYTES, 2 * BLOCK_BYTES as u64));
            }
            _ => panic!("another slot"),
        }
        assert!(matches!(done(rest, 2 * BLOCK_BYTES), Ok(Done::Written)));
        assert!(matches!(done(write(), 0), Err(Fault { errno: libc::EIO })));
    }
}
