//! Bytes out of the page cache without passing through this process: `sendfile`, and `splice` through a ring.
//!
//! In: a file, a socket. Out: what was moved. Never: beyond the end of a file that is to be cold; a second pass would
//! find its pages in memory.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use io_uring::squeue::{Entry, Flags};
use io_uring::{IoUring, opcode, types};

use super::Moved;
use super::file::Pages;
use super::link::Link;
use crate::interrupt::Interrupt;

/// What `splice` takes for "not at an offset".
const NOWHERE: i64 = -1;
const INTO_PIPE: u64 = 0;
const INTO_SOCKET: u64 = 1;

/// A file to be read from front to back, once or again and again.
pub struct Place<'a> {
    pub file: BorrowedFd<'a>,
    pub bytes: u64,
    pub again: bool,
}

/// Sends pieces of `size` for `time`.
pub fn send_file(
    link: &Link,
    place: &Place<'_>,
    size: usize,
    time: Duration,
    interrupt: &Interrupt,
) -> io::Result<Moved> {
    let begin = Instant::now();
    let (mut position, mut bytes) = (0u64, 0u64);
    while begin.elapsed() < time && interrupt.check().is_ok() {
        let count = rustix::fs::sendfile(link.socket(), place.file, Some(&mut position), size)?;
        bytes += count as u64;
        if position >= place.bytes {
            if !place.again {
                break;
            }
            position = 0;
        }
    }
    Ok(Moved { bytes, ..Moved::default() })
}

/// A ring and a pipe that holds one piece.
pub struct Splice<'a> {
    ring: IoUring,
    link: &'a Link,
    pages: &'a Pages,
    reader: PipeReader,
    writer: PipeWriter,
    size: usize,
}

impl<'a> Splice<'a> {
    pub fn new(link: &'a Link, pages: &'a Pages, size: usize) -> io::Result<Splice<'a>> {
        let (reader, writer) = io::pipe()?;
        // SAFETY: a pipe that is ours, and a number.
        let set = unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETPIPE_SZ, size as libc::c_int) };
        if set < 0 {
            return Err(io::Error::last_os_error());
        }
        let ring = IoUring::builder().setup_single_issuer().setup_defer_taskrun().build(8)?;
        Ok(Splice { ring, link, pages, reader, writer, size })
    }

    /// Moves pieces for `time`: with `again` in circles, else once through the file.
    pub fn run(&mut self, again: bool, time: Duration, interrupt: &Interrupt) -> io::Result<Moved> {
        let begin = Instant::now();
        let (mut position, mut bytes) = (0u64, 0u64);
        while begin.elapsed() < time && interrupt.check().is_ok() {
            let mut piece = self.piece(position)?;
            position += piece.0;
            bytes += piece.1;
            // What was cut short is in the pipe and has to leave before anything follows it.
            while piece.1 < piece.0 {
                let more = self.submit(&[self.out_of_pipe((piece.0 - piece.1) as usize)])?.1;
                bytes += more;
                piece.1 += more;
            }
            if position >= self.pages.bytes() {
                if !again {
                    break;
                }
                position = 0;
            }
        }
        Ok(Moved { bytes, ..Moved::default() })
    }

    /// One piece into the pipe and, linked behind, into the socket: how many bytes got where.
    fn piece(&mut self, position: u64) -> io::Result<(u64, u64)> {
        let into_pipe = opcode::Splice::new(
            types::Fd(self.pages.buffered().as_raw_fd()),
            position as i64,
            types::Fd(self.writer.as_raw_fd()),
            NOWHERE,
            self.size as u32,
        );
        let into_pipe = into_pipe.build().flags(Flags::IO_LINK).user_data(INTO_PIPE);
        self.submit(&[into_pipe, self.out_of_pipe(self.size)])
    }

    fn out_of_pipe(&self, count: usize) -> Entry {
        let (pipe, socket) = (types::Fd(self.reader.as_raw_fd()), types::Fd(self.link.socket().as_raw_fd()));
        opcode::Splice::new(pipe, NOWHERE, socket, NOWHERE, count as u32).build().user_data(INTO_SOCKET)
    }

    /// Does all of it and waits: bytes into the pipe, bytes into the socket.
    fn submit(&mut self, entries: &[Entry]) -> io::Result<(u64, u64)> {
        for entry in entries {
            // SAFETY: the operation names open files only, which outlive the ring.
            let pushed = unsafe { self.ring.submission().push(entry) };
            assert!(pushed.is_ok(), "the ring has room for one piece");
        }
        let (mut counts, mut left, mut outcome) = ((0, 0), entries.len(), Ok(()));
        while left > 0 {
            match self.ring.submit_and_wait(1) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for completion in self.ring.completion() {
                left -= 1;
                match completion.result() {
                    // The first was cut short, so the second, linked behind it, was not begun.
                    error if error == -libc::ECANCELED => {}
                    error if error < 0 => outcome = Err(io::Error::from_raw_os_error(-error)),
                    count if completion.user_data() == INTO_PIPE => counts.0 += count as u64,
                    count => counts.1 += count as u64,
                }
            }
        }
        outcome.map(|()| counts)
    }
}
