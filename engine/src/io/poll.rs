//! The driver for machines where io_uring is not allowed: epoll for sockets, a few threads for files.
//!
//! In: [`Op`]s with their tokens. Out: the [`Completion`]s a [`Ring`](super::ring::Ring) would give. Never: blocks
//! outside [`Poll::wait`], or lets a socket operation overtake an earlier one of the same direction.
//!
//! A socket operation is tried at once. Only if the kernel says EAGAIN it waits in its socket's queue, until an
//! edge says that trying again is worth it:
//!
//! ```text
//!   submit: Op --socket--> try -> ready
//!                           | EAGAIN          edge: try from the front of the queue -> ready
//!                           +-----> queue -----^
//!           Op --file----> pool ----------------------------------------------------> ready
//! ```
//!
//! Because every operation is tried before it waits, an edge that finds nothing waiting may be forgotten. A socket
//! is registered once, with its first operation, and the kernel takes it off when it is closed. The number may
//! then come back as another socket; so an entry also remembers whose it is, without keeping it open.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::BytesMut;

use super::pool::{Pool, Signal};
use super::socket::{self, checked};
use super::{Completion, Descriptor, Done, Fault, Op, Token};

/// Events taken in one turn; more come in the next.
const EVENTS: usize = 256;

/// Worth trying to receive or accept: also the end of a connection is found that way.
const INBOUND: u32 = (libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) as u32;
const OUTBOUND: u32 = (libc::EPOLLOUT | libc::EPOLLHUP | libc::EPOLLERR) as u32;

/// An epoll instance and its threads, owned by the thread that made it.
pub struct Poll {
    epoll: OwnedFd,
    woken: Signal,
    pool: Pool,
    sockets: HashMap<RawFd, Socket>,
    /// Completions that the next wait hands out.
    ready: Vec<Completion>,
    in_flight: usize,
}

/// A registered socket and the operations that wait for it, oldest first. The operations keep it open.
struct Socket {
    owner: Weak<File>,
    inbound: VecDeque<(Token, Op)>,
    outbound: VecDeque<(Token, Op)>,
}

/// What a try came to.
enum Tried {
    Done(Completion),
    /// Nothing happened: the operation must wait.
    Later(Token, Op),
}

impl Poll {
    /// Starts the threads and sets epoll up for the calling thread, which alone may use it.
    pub fn new() -> std::io::Result<Poll> {
        // SAFETY: takes no pointer.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(std::io::Error::last_os_error());
        }
        // SAFETY: the kernel just made this descriptor for us and nobody else owns it.
        let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
        let (woken, pool) = (Signal::new()?, Pool::new()?);
        let poll = Poll { epoll, woken, pool, sockets: HashMap::new(), ready: Vec::new(), in_flight: 0 };
        for signal in [poll.woken.descriptor(), poll.pool.descriptor()] {
            poll.register(signal, libc::EPOLLIN as u32)
                .map_err(|fault| std::io::Error::from_raw_os_error(fault.errno))?;
        }
        Ok(poll)
    }

    /// The descriptor by which other drivers of this kind wake this one.
    pub fn descriptor(&self) -> RawFd {
        self.woken.descriptor()
    }

    /// Operations whose completions are still to come.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Begins every operation of `wanted`.
    pub fn submit(&mut self, wanted: &mut Vec<(Token, Op)>) -> std::io::Result<()> {
        for (token, op) in wanted.drain(..) {
            self.in_flight += 1;
            match op {
                Op::Accept { ref listener } => self.begin(listener.clone(), token, op),
                Op::Receive { ref socket, .. } | Op::Send { ref socket, .. } => {
                    self.begin(socket.clone(), token, op);
                }
                Op::Shutdown { socket } => {
                    let result = socket::shutdown(&socket).map(|()| Done::Finished);
                    self.ready.push(Completion { token, result });
                }
                Op::Wake { ring } => {
                    let result = wake(ring).map(|()| Done::Finished);
                    self.ready.push(Completion { token, result });
                }
                file_op => self.pool.submit(token, file_op),
            }
        }
        Ok(())
    }

    /// Waits for a completion, at most `timeout` rounded up to milliseconds (`None`: without limit), then takes
    /// every completion there is. A wake-up or an interruption ends the wait early.
    pub fn wait(&mut self, timeout: Option<Duration>, done: &mut Vec<Completion>) -> std::io::Result<()> {
        let milliseconds = match timeout {
            _ if !self.ready.is_empty() => 0,
            Some(limit) => i32::try_from(limit.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX),
            None => -1,
        };
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS];
        // SAFETY: the kernel writes at most `EVENTS` events into the array, which outlives the call.
        let count = unsafe {
            libc::epoll_wait(self.epoll.as_raw_fd(), events.as_mut_ptr(), EVENTS as i32, milliseconds)
        };
        let count = match checked(count as isize) {
            Ok(count) => count,
            Err(Fault { errno: libc::EINTR }) => 0,
            Err(fault) => return Err(std::io::Error::from_raw_os_error(fault.errno)),
        };
        let mut was_woken = false;
        for event in events.iter().take(count) {
            match event.u64 as RawFd {
                fd if fd == self.woken.descriptor() => was_woken = self.woken.lower(),
                fd if fd == self.pool.descriptor() => self.pool.take(&mut self.ready),
                fd => self.go_on(fd, event.events),
            }
        }
        self.in_flight -= self.ready.len();
        done.append(&mut self.ready);
        if was_woken {
            done.push(Completion { token: Token { space: u16::MAX, index: 0 }, result: Ok(Done::Woken) });
        }
        Ok(())
    }

    /// Tries a socket operation, and lets it wait if it must.
    fn begin(&mut self, descriptor: Descriptor, token: Token, op: Op) {
        if let Err(fault) = self.know(&descriptor) {
            self.ready.push(Completion { token, result: Err(fault) });
            return;
        }
        let Some(socket) = self.sockets.get_mut(&descriptor.as_raw_fd()) else {
            unreachable!("the socket was just registered")
        };
        let queue = if matches!(op, Op::Send { .. }) { &mut socket.outbound } else { &mut socket.inbound };
        if !queue.is_empty() {
            queue.push_back((token, op));
            return;
        }
        match attempt(token, op) {
            Tried::Done(completion) => self.ready.push(completion),
            Tried::Later(token, op) => queue.push_back((token, op)),
        }
    }

    /// Registers a socket with its first operation.
    fn know(&mut self, descriptor: &Descriptor) -> Result<(), Fault> {
        let fd = descriptor.as_raw_fd();
        let owner = Arc::downgrade(descriptor.kernel());
        if self.sockets.get(&fd).is_some_and(|socket| socket.owner.ptr_eq(&owner)) {
            return Ok(());
        }
        socket::never_block(descriptor)?;
        self.register(fd, INBOUND | OUTBOUND | libc::EPOLLET as u32)?;
        self.sockets.insert(fd, Socket { owner, inbound: VecDeque::new(), outbound: VecDeque::new() });
        Ok(())
    }

    fn register(&self, fd: RawFd, events: u32) -> Result<(), Fault> {
        let mut event = libc::epoll_event { events, u64: fd as u64 };
        // SAFETY: `event` outlives the call, which only reads it.
        let result =
            unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event) };
        match checked(result as isize) {
            // The same open file under the same number: it is watched already.
            Err(Fault { errno: libc::EEXIST }) | Ok(_) => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    /// Tries again what waits for a socket that something happened to.
    fn go_on(&mut self, fd: RawFd, events: u32) {
        let Some(socket) = self.sockets.get_mut(&fd) else { return };
        for (worth_it, queue) in
            [(events & INBOUND != 0, &mut socket.inbound), (events & OUTBOUND != 0, &mut socket.outbound)]
        {
            while worth_it && let Some((token, op)) = queue.pop_front() {
                match attempt(token, op) {
                    Tried::Done(completion) => self.ready.push(completion),
                    Tried::Later(token, op) => {
                        queue.push_front((token, op));
                        break;
                    }
                }
            }
        }
    }
}

fn attempt(token: Token, op: Op) -> Tried {
    let (result, op) = match op {
        Op::Accept { listener } => (socket::accept(&listener), Op::Accept { listener }),
        Op::Receive { socket, mut buffer } => match socket::receive(&socket, &mut buffer) {
            Ok(_) => (Ok(Done::Received(buffer)), Op::Receive { socket, buffer: BytesMut::new() }),
            Err(fault) => (Err(fault), Op::Receive { socket, buffer }),
        },
        Op::Send { socket, data } => {
            (socket::send(&socket, &data).map(Done::Sent), Op::Send { socket, data })
        }
        other => unreachable!("not an operation that waits for a socket: {other:?}"),
    };
    match result {
        Err(Fault { errno: libc::EAGAIN }) => Tried::Later(token, op),
        result => Tried::Done(Completion { token, result }),
    }
}

/// Raises another driver's signal.
fn wake(signal: RawFd) -> Result<(), Fault> {
    let one = 1_u64.to_ne_bytes();
    // SAFETY: the kernel reads eight bytes, which outlive the call. A number that is not open is an error.
    let written = unsafe { libc::write(signal, one.as_ptr().cast(), one.len()) };
    match checked(written) {
        // Raised as often as it can be, and so readable.
        Err(Fault { errno: libc::EAGAIN }) | Ok(_) => Ok(()),
        Err(fault) => Err(fault),
    }
}
