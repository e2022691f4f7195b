//! Bytes through a ring and memory of our own: read directly or there already, then sent, as the broker would.
//!
//! In: a way, the size of a piece. Out: what was moved. Never: sends pieces out of order or two at a time; uses memory
//! again that the kernel still has.
//!
//! ```text
//!   free ──read──> reading ──> full ──in order──> sending ──> free
//!                                                    └─ zero copy: held until notified ──> free
//! ```

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use io_uring::squeue::Entry;
use io_uring::{IoUring, cqueue, opcode, types};

use super::Moved;
use super::file::Pages;
use super::link::Link;
use super::path::{Call, Path, Source};
use crate::interrupt::Interrupt;
use crate::raw::file;

/// Memory for pieces, unless more is needed to have reads in flight beside a send. Within what a user may register.
const MEMORY_BYTES: usize = 4 << 20;
/// I/O class "idle": reads that nobody waits for make room for everything else.
const PRIORITY_IDLE: u16 = 3 << 13;
/// Ask each notification whether the bytes were copied after all, and the bit that says so.
const REPORT_USAGE: u16 = 1 << 3;
const USAGE_COPIED: u32 = 1 << 31;
/// A piece leaves as a whole; a broken connection is an error and not a signal.
const FLAGS: i32 = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
const READ: u64 = 0;
const SEND: u64 = 1;

/// One way at work.
pub struct Flow<'a> {
    // Declared first, so that it is dropped before the memory its operations point to.
    ring: IoUring,
    link: &'a Link,
    pages: &'a Pages,
    call: Call,
    /// Reads in flight at most; 0: the bytes are there.
    depth: usize,
    size: usize,
    memory: BytesMut,
    parts: Vec<libc::iovec>,
    messages: Vec<libc::msghdr>,
    free: Vec<usize>,
    /// Pieces in the order of their bytes, and whether each is there.
    order: VecDeque<(usize, bool)>,
    reading: usize,
    sending: bool,
    held: usize,
    position: u64,
    moved: Moved,
}

impl<'a> Flow<'a> {
    pub fn new(path: &Path, size: usize, link: &'a Link, pages: &'a Pages) -> io::Result<Flow<'a>> {
        let depth = if let Source::Device { depth } = path.source { depth } else { 0 };
        let slots = (MEMORY_BYTES / size).max(depth + 2);
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_cqsize((4 * slots as u32).next_power_of_two())
            .build(16)?;
        let mut memory = file::noise(slots * size);
        if path.call == Call::SendZeroCopyRegistered {
            let all = libc::iovec { iov_base: memory.as_mut_ptr().cast(), iov_len: memory.len() };
            // SAFETY: the memory is freed after the ring, and nothing else writes to it.
            unsafe { ring.submitter().register_buffers(&[all]) }?;
        }
        let part = |slot: usize| {
            let piece = &mut memory[slot * size..(slot + 1) * size];
            libc::iovec { iov_base: piece.as_mut_ptr().cast(), iov_len: size }
        };
        let mut parts: Vec<libc::iovec> = (0..slots).map(part).collect();
        let messages = parts.iter_mut().map(message_of).collect();
        Ok(Flow {
            ring,
            link,
            pages,
            call: path.call,
            depth,
            size,
            memory,
            parts,
            messages,
            free: (0..slots).rev().collect(),
            order: VecDeque::new(),
            reading: 0,
            sending: false,
            held: 0,
            position: 0,
            moved: Moved::default(),
        })
    }

    /// Goes on for `time`, then until the kernel has let go of everything.
    pub fn run(&mut self, time: Duration, interrupt: &Interrupt) -> io::Result<Moved> {
        let begin = Instant::now();
        let mut outcome = Ok(());
        loop {
            if outcome.is_ok() && begin.elapsed() < time && interrupt.check().is_ok() {
                self.fetch();
            }
            if outcome.is_ok() {
                self.send();
            }
            if self.reading + self.held == 0 && !self.sending {
                outcome?;
                return Ok(self.moved);
            }
            self.wait();
            let completed = self.complete();
            outcome = outcome.and(completed);
        }
    }

    /// Makes pieces ready, or begins to.
    fn fetch(&mut self) {
        if self.depth == 0 {
            if self.order.is_empty()
                && let Some(slot) = self.free.pop()
            {
                self.order.push_back((slot, true));
            }
            return;
        }
        while self.reading < self.depth
            && let Some(slot) = self.free.pop()
        {
            let entry = self.read_entry(slot);
            self.push(&entry.user_data(READ << 32 | slot as u64));
            self.order.push_back((slot, false));
            self.reading += 1;
        }
    }

    fn read_entry(&mut self, slot: usize) -> Entry {
        let position = self.position;
        self.position = (position + self.size as u64) % self.pages.bytes();
        let fd = types::Fd(self.pages.direct().as_raw_fd());
        let (place, length) = (self.parts[slot].iov_base.cast::<u8>(), self.size as u32);
        if self.call == Call::SendZeroCopyRegistered {
            opcode::ReadFixed::new(fd, place, length, 0).offset(position).ioprio(PRIORITY_IDLE).build()
        } else {
            opcode::Read::new(fd, place, length).offset(position).ioprio(PRIORITY_IDLE).build()
        }
    }

    /// Sends the next piece, if it is there and no other is on its way.
    fn send(&mut self) {
        while let Some((slot, true)) = self.order.front().copied()
            && !self.sending
        {
            self.order.pop_front();
            if self.call == Call::Nothing {
                self.moved.bytes += self.size as u64;
                self.free.push(slot);
                continue;
            }
            let entry = self.send_entry(slot);
            self.push(&entry.user_data(SEND << 32 | slot as u64));
            self.sending = true;
        }
    }

    fn send_entry(&self, slot: usize) -> Entry {
        let fd = types::Fd(self.link.socket().as_raw_fd());
        let (piece, length) = (self.parts[slot].iov_base.cast::<u8>().cast_const(), self.size as u32);
        let message = &raw const self.messages[slot];
        match self.call {
            Call::SendMessage => opcode::SendMsg::new(fd, message).flags(FLAGS as u32).build(),
            Call::SendMessageZeroCopy => {
                opcode::SendMsgZc::new(fd, message).flags(FLAGS as u32).ioprio(REPORT_USAGE).build()
            }
            Call::SendZeroCopy => {
                opcode::SendZc::new(fd, piece, length).flags(FLAGS).zc_flags(REPORT_USAGE).build()
            }
            Call::SendZeroCopyRegistered => opcode::SendZc::new(fd, piece, length)
                .flags(FLAGS)
                .zc_flags(REPORT_USAGE)
                .buf_index(Some(0))
                .build(),
            _ => opcode::Send::new(fd, piece, length).flags(FLAGS).build(),
        }
    }

    fn push(&mut self, entry: &Entry) {
        // SAFETY: what the entry points to belongs to its slot, which is used again only after the last completion
        // of the operation, and `run` does not return before all have come.
        let pushed = unsafe { self.ring.submission().push(entry) };
        assert!(pushed.is_ok(), "the ring has room for every read and one send");
    }

    fn wait(&mut self) {
        match self.ring.submit_and_wait(1) {
            Ok(_) => {}
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINTR | libc::EBUSY | libc::EAGAIN)) => {}
            // The kernel still has our memory, so there is no way on.
            Err(error) => panic!("cannot wait for the ring: {error}"),
        }
    }

    fn complete(&mut self) -> io::Result<()> {
        let mut outcome = Ok(());
        for completion in self.ring.completion() {
            let (kind, slot) = (completion.user_data() >> 32, completion.user_data() as u32 as usize);
            if cqueue::notif(completion.flags()) {
                self.held -= 1;
                self.free.push(slot);
                self.moved.notifications += 1;
                self.moved.copied += u64::from(completion.result() as u32 & USAGE_COPIED != 0);
                continue;
            }
            let whole = whole(completion.result(), self.size);
            if kind == READ {
                self.reading -= 1;
                if let Some((_, there)) = self.order.iter_mut().find(|(reading, _)| *reading == slot) {
                    *there = true;
                }
            } else {
                self.sending = false;
                self.moved.bytes += completion.result().max(0) as u64;
                if cqueue::more(completion.flags()) {
                    self.held += 1;
                } else {
                    self.free.push(slot);
                }
            }
            outcome = outcome.and(whole);
        }
        outcome
    }
}

impl Drop for Flow<'_> {
    fn drop(&mut self) {
        assert!(self.reading + self.held == 0 && !self.sending, "the kernel has let go of the memory");
        self.memory.clear();
    }
}

fn message_of(part: &mut libc::iovec) -> libc::msghdr {
    // SAFETY: zeros are a message without an address, parts, control data or flags.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = part;
    message.msg_iovlen = 1;
    message
}

fn whole(result: i32, size: usize) -> io::Result<()> {
    match result {
        found if found < 0 => Err(io::Error::from_raw_os_error(-found)),
        found if found as usize == size => Ok(()),
        _ => Err(io::Error::from_raw_os_error(libc::EIO)),
    }
}
