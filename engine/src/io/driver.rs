//! Either way to the kernel behind one name: io_uring, or epoll and threads where that is not allowed.
//!
//! In: a [`Choice`]. Out: a [`Driver`], and why it is not io_uring. Never: changes its kind while open.
//!
//! Drivers wake each other by descriptor, so all drivers of one process must be of one kind.

use std::io::{Error, ErrorKind};
use std::os::fd::RawFd;
use std::time::Duration;

use super::poll::Poll;
use super::ring::Ring;
use super::{Completion, Op, Token};

/// Which driver is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Choice {
    /// io_uring if the machine allows it, epoll otherwise.
    Auto,
    /// io_uring, or an error.
    Uring,
    /// epoll and threads.
    Poll,
}

/// Carries operations to the kernel and completions back, for the thread that opened it.
pub enum Driver {
    /// By io_uring.
    Uring(Ring),
    /// By epoll, and threads for files.
    Poll(Poll),
}

impl Driver {
    /// Opens a driver on the calling thread, which alone may use it. Gives its name (`uring` or `poll`) and, if
    /// [`Choice::Auto`] had to do without io_uring, why.
    ///
    /// Fails if the machine cannot do what was chosen, or has no descriptors or threads left.
    pub fn open(choice: Choice) -> std::io::Result<(Driver, &'static str, Option<String>)> {
        let poll = || Poll::new().map(Driver::Poll);
        match choice {
            Choice::Poll => Ok((poll()?, "poll", None)),
            Choice::Uring => Ok((Driver::Uring(tested_ring()?), "uring", None)),
            Choice::Auto => match tested_ring() {
                Ok(ring) => Ok((Driver::Uring(ring), "uring", None)),
                Err(refused) => Ok((poll()?, "poll", Some(refused.to_string()))),
            },
        }
    }

    /// The descriptor by which other drivers of this kind wake this one, with [`Op::Wake`].
    pub fn descriptor(&self) -> RawFd {
        match self {
            Driver::Uring(ring) => ring.descriptor(),
            Driver::Poll(poll) => poll.descriptor(),
        }
    }

    /// Operations whose completions are still to come.
    pub fn in_flight(&self) -> usize {
        match self {
            Driver::Uring(ring) => ring.in_flight(),
            Driver::Poll(poll) => poll.in_flight(),
        }
    }

    /// Takes every operation of `wanted`. They reach the kernel at the next [`Driver::wait`] at the latest. Each gives one
    /// [`Completion`], in any order. An error means that the driver cannot be used any more.
    pub fn submit(&mut self, wanted: &mut Vec<(Token, Op)>) -> std::io::Result<()> {
        match self {
            Driver::Uring(ring) => ring.submit(wanted),
            Driver::Poll(poll) => poll.submit(wanted),
        }
    }

    /// Waits for a completion, at most `timeout` (`None`: without limit), then appends every completion there is to
    /// `done`. A wake-up or an interruption ends the wait early.
    pub fn wait(&mut self, timeout: Option<Duration>, done: &mut Vec<Completion>) -> std::io::Result<()> {
        match self {
            Driver::Uring(ring) => ring.wait(timeout, done),
            Driver::Poll(poll) => poll.wait(timeout, done),
        }
    }
}

/// A ring on which everything has been seen to work that operations need.
fn tested_ring() -> std::io::Result<Ring> {
    let mut ring = Ring::new().map_err(|error| because(&error))?;
    let missing = ring.missing().map_err(|error| because(&error))?;
    if !missing.is_empty() {
        let text = format!("the kernel's io_uring cannot {}; Linux 6.1 can", missing.join(", "));
        return Err(Error::new(ErrorKind::Unsupported, text));
    }
    // A filter may let a ring be made and not be entered.
    ring.wake_itself().map_err(|error| because(&error))?;
    Ok(ring)
}

/// Why there is no ring, in words an operator can act on.
fn because(error: &Error) -> Error {
    let reason = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            "io_uring is forbidden here (by a seccomp filter or the sysctl kernel.io_uring_disabled)"
        }
        Some(libc::ENOSYS) => "io_uring is not in this kernel or hidden by a seccomp filter",
        Some(libc::EINVAL) => "io_uring refuses the options asked for; they need Linux 6.1",
        Some(libc::ENOMEM) => "io_uring gets no memory for its queues (see the limit on locked memory)",
        _ => "io_uring does not work here",
    };
    Error::new(error.kind(), format!("{reason}: {error}"))
}
