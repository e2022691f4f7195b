//! The least broker: one core, one ring; receives, checks, one direct durable write per turn, answers.
//!
//! In: connections of Kafka clients. Out: files of batches one after the other, answers when they are on the
//! device. Never: more than one frame in flight; an index, a topic, an offset that means anything.
//!
//! ```text
//!   receive -> parse, check CRC -> copy behind the others in the gathering buffer
//!                                      | no write in flight
//!                                      v
//!              answers <- complete <- one write of all that was gathered (RWF_DSYNC), the other buffer gathers;
//!                            |        several beside each other where parts of it are kept apart
//!                            | where all is kept twice, and no such write in flight
//!                            v
//!                         the same buffer once more, behind, into the segment; a third one gathers
//! ```
//!
//! Without a disk it answers at once, which shows what the client and the network can do.

use std::collections::HashMap;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::BytesMut;
use io_uring::squeue::Entry;
use io_uring::types::{self, Fd};
use io_uring::{IoUring, opcode};
use ringmain_engine::format::batch;
use ringmain_engine::io::buffer;

use super::disk::Disk;
use super::request::{self, Answer, REQUEST_BYTES_MAX, Request};
use crate::raw::ring::judge;

/// One write holds at most this, and one more batch.
const COMMIT_BYTES: usize = 1 << 20;
pub const FRAME_BYTES_MAX: usize = COMMIT_BYTES + REQUEST_BYTES_MAX;
/// Every connection's input; two of the largest requests.
const INPUT_BYTES: usize = 2 * REQUEST_BYTES_MAX;
const ENTRIES: u32 = 4096;

/// What an operation was for, in the high half of its user data; the low half is the connection, or which write of a frame.
const ACCEPT: u64 = 1;
const RECEIVE: u64 = 2;
const SEND: u64 = 3;
const WRITE: u64 = 4;
const SETTLE: u64 = 5;
const SYNC: u64 = 6;

struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
    held: usize,
    receiving: bool,
    /// A whole request waits for room in the gathering buffer; nothing is received meanwhile.
    held_back: bool,
    /// With the kernel while `is_sending`.
    sending: Vec<u8>,
    sent: usize,
    is_sending: bool,
    /// Goes next.
    output: Vec<u8>,
    closing: bool,
}

/// Answers that wait for the buffer they are in to be written.
type Promises = Vec<(u32, Answer, u64)>;

/// The whole program.
pub struct Server {
    ring: IoUring,
    listener: TcpListener,
    port: u16,
    connections: HashMap<u32, Connection>,
    next_connection: u32,
    in_flight: usize,
    disk: Option<Disk>,
    gathering: BytesMut,
    /// With the kernel while there are `writes_left`; durable when these are over, and empty once it was settled.
    writing: BytesMut,
    promises: Promises,
    promises_written: Promises,
    /// What each write of the frame in flight comes to, and how many are not over.
    lengths: Vec<i32>,
    writes_left: usize,
    next_offset: u64,
    stop: Arc<AtomicBool>,
}

impl Server {
    /// Sets up the ring for the calling thread. `stop` is looked at in each turn.
    pub fn new(listener: TcpListener, disk: Option<Disk>, stop: Arc<AtomicBool>) -> io::Result<Server> {
        let ring = IoUring::builder().setup_single_issuer().setup_defer_taskrun().build(ENTRIES)?;
        let empty = || buffer::aligned(FRAME_BYTES_MAX);
        Ok(Server {
            ring,
            port: listener.local_addr()?.port(),
            listener,
            connections: HashMap::new(),
            next_connection: 0,
            in_flight: 0,
            disk,
            gathering: empty(),
            writing: empty(),
            promises: Vec::new(),
            promises_written: Vec::new(),
            lengths: Vec::new(),
            writes_left: 0,
            next_offset: 0,
            stop,
        })
    }

    /// Serves until `stop` is set and something happens.
    pub fn run(&mut self) -> io::Result<()> {
        self.accept()?;
        let mut done: Vec<(u64, i32)> = Vec::new();
        while !self.stop.load(Ordering::Relaxed) {
            self.wait()?;
            done.extend(self.ring.completion().map(|entry| (entry.user_data(), entry.result())));
            for (user_data, result) in done.drain(..) {
                self.in_flight -= 1;
                self.complete(user_data, result)?;
            }
            let behind = self.settle()?;
            self.commit()?;
            behind.map_or(Ok(()), |entry| self.push(entry, SETTLE, 0))?;
        }
        Ok(())
    }

    fn wait(&mut self) -> io::Result<()> {
        match self.ring.submit_and_wait(1) {
            Ok(_) => Ok(()),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINTR | libc::EBUSY | libc::EAGAIN)) => {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn complete(&mut self, user_data: u64, result: i32) -> io::Result<()> {
        let number = user_data as u32;
        match user_data >> 32 {
            ACCEPT => {
                self.accept()?;
                if result >= 0 {
                    self.connected(result)?;
                }
            }
            RECEIVE => {
                let Some(connection) = self.connections.get_mut(&number) else { return Ok(()) };
                connection.receiving = false;
                if result <= 0 {
                    connection.closing = true;
                } else {
                    connection.held += result as usize;
                }
                self.take_requests(number)?;
            }
            SEND => {
                let Some(connection) = self.connections.get_mut(&number) else { return Ok(()) };
                connection.sent += result.max(0) as usize;
                connection.is_sending = false;
                if result <= 0 {
                    connection.closing = true;
                    connection.output.clear();
                    connection.sending.clear();
                    connection.sent = 0;
                }
                self.send(number)?;
            }
            WRITE => self.written(number as usize, result)?,
            kind @ (SETTLE | SYNC) => self.settled(kind, result)?,
            _ => {}
        }
        self.close_if_done(number);
        Ok(())
    }

    fn connected(&mut self, descriptor: i32) -> io::Result<()> {
        // SAFETY: the kernel has just given this descriptor to us and nobody else has it.
        let stream = unsafe { TcpStream::from_raw_fd(descriptor) };
        stream.set_nodelay(true)?;
        let number = self.next_connection;
        self.next_connection += 1;
        let connection = Connection {
            stream,
            input: vec![0; INPUT_BYTES],
            held: 0,
            receiving: false,
            held_back: false,
            sending: Vec::new(),
            sent: 0,
            is_sending: false,
            output: Vec::new(),
            closing: false,
        };
        self.connections.insert(number, connection);
        self.receive(number)
    }

    /// Takes every whole request off the input, as far as the gathering buffer has room.
    fn take_requests(&mut self, number: u32) -> io::Result<()> {
        let Some(connection) = self.connections.get_mut(&number) else { return Ok(()) };
        let mut taken = 0;
        connection.held_back = false;
        loop {
            let input = connection.input.get(taken..connection.held).unwrap_or_default();
            let length = match request::length(input) {
                Ok(Some(length)) => length,
                Ok(None) => break,
                Err(request::Foreign) => {
                    connection.closing = true;
                    break;
                }
            };
            if self.gathering.len() >= COMMIT_BYTES {
                connection.held_back = true;
                break;
            }
            match request::parse(&input[..length], self.port) {
                Ok(Request::Produce { answer, batches }) => {
                    let offset = self.next_offset;
                    let counts = batches.iter().map(|batch| Some(batch::check(batch).ok()?.offsets_count()));
                    let Some(count) = counts.sum::<Option<u64>>() else {
                        connection.closing = true;
                        break;
                    };
                    self.next_offset += count;
                    if self.disk.is_some() {
                        batches.iter().for_each(|batch| self.gathering.extend_from_slice(batch));
                        self.promises.push((number, answer, offset));
                    } else {
                        answer.write(offset, &mut connection.output);
                    }
                }
                Ok(Request::Other(answer)) => connection.output.extend(answer),
                Err(request::Foreign) => {
                    connection.closing = true;
                    break;
                }
            }
            taken += length;
        }
        connection.input.copy_within(taken..connection.held, 0);
        connection.held -= taken;
        self.send(number)?;
        self.receive(number)
    }

    /// Lets go of a frame that is durable. Where it is kept twice it goes on into the segment, with this write, once the
    /// frame before is there.
    fn settle(&mut self) -> io::Result<Option<Entry>> {
        if self.writes_left > 0 || self.writing.is_empty() {
            return Ok(None);
        }
        if let Some(Disk { settling: Some(settling), .. }) = &mut self.disk {
            return settling.write(&mut self.writing);
        }
        self.writing.clear();
        Ok(None)
    }

    fn settled(&mut self, kind: u64, result: i32) -> io::Result<()> {
        let Some(Disk { settling: Some(settling), .. }) = &mut self.disk else { return Ok(()) };
        if kind == SETTLE {
            settling.written(result)?;
        } else {
            settling.synced(result)?;
        }
        settling.sync().map_or(Ok(()), |entry| self.push(entry, SYNC, 0))
    }

    /// Writes what was gathered, unless the frame before is in flight or waits to be settled.
    fn commit(&mut self) -> io::Result<()> {
        if !self.writing.is_empty() || self.gathering.is_empty() {
            return Ok(());
        }
        let Some(disk) = &mut self.disk else { return Ok(()) };
        std::mem::swap(&mut self.gathering, &mut self.writing);
        std::mem::swap(&mut self.promises, &mut self.promises_written);
        buffer::pad(&mut self.writing);
        let writes = disk.write(&self.writing)?;
        self.writes_left = writes.len();
        self.lengths.clear();
        for (number, (entry, length)) in writes.into_iter().enumerate() {
            self.lengths.push(length);
            self.push(entry, WRITE, number as u32)?;
        }
        // Room again: what the full buffer held back goes on.
        let waiting: Vec<u32> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.held_back)
            .map(|(number, _)| *number)
            .collect();
        waiting.into_iter().try_for_each(|number| self.take_requests(number))
    }

    fn written(&mut self, number: usize, result: i32) -> io::Result<()> {
        judge(result, self.lengths[number])?;
        self.writes_left -= 1;
        if self.writes_left > 0 {
            return Ok(());
        }
        let mut promises = std::mem::take(&mut self.promises_written);
        let mut last = None;
        for (number, answer, offset) in promises.drain(..) {
            if let Some(connection) = self.connections.get_mut(&number) {
                answer.write(offset, &mut connection.output);
            }
            if last != Some(number) {
                last.map_or(Ok(()), |number| self.send(number))?;
                last = Some(number);
            }
        }
        self.promises_written = promises;
        last.map_or(Ok(()), |number| self.send(number))
    }

    fn accept(&mut self) -> io::Result<()> {
        let listener = Fd(self.listener.as_raw_fd());
        let entry = opcode::Accept::new(listener, std::ptr::null_mut(), std::ptr::null_mut()).build();
        self.push(entry, ACCEPT, 0)
    }

    fn receive(&mut self, number: u32) -> io::Result<()> {
        let Some(connection) = self.connections.get_mut(&number) else { return Ok(()) };
        let room = connection.input.get_mut(connection.held..).unwrap_or_default();
        if connection.receiving || connection.held_back || connection.closing || room.is_empty() {
            return Ok(());
        }
        let entry =
            opcode::Recv::new(Fd(connection.stream.as_raw_fd()), room.as_mut_ptr(), room.len() as u32)
                .build();
        connection.receiving = true;
        self.push(entry, RECEIVE, number)
    }

    fn send(&mut self, number: u32) -> io::Result<()> {
        let Some(connection) = self.connections.get_mut(&number) else { return Ok(()) };
        if connection.sent == connection.sending.len() && !connection.is_sending {
            connection.sending.clear();
            connection.sent = 0;
            std::mem::swap(&mut connection.sending, &mut connection.output);
        }
        if connection.is_sending || connection.sending.is_empty() {
            return Ok(());
        }
        connection.is_sending = true;
        let rest = &connection.sending[connection.sent..];
        let entry = opcode::Send::new(Fd(connection.stream.as_raw_fd()), rest.as_ptr(), rest.len() as u32)
            .flags(libc::MSG_NOSIGNAL)
            .build();
        self.push(entry, SEND, number)
    }

    /// Lets go of a connection that has ended, once the kernel has.
    fn close_if_done(&mut self, number: u32) {
        let done = |one: &Connection| one.closing && !one.receiving && !one.is_sending;
        if self.connections.get(&number).is_some_and(done) {
            self.connections.remove(&number);
        }
    }

    fn push(&mut self, entry: Entry, kind: u64, number: u32) -> io::Result<()> {
        let entry = entry.user_data(kind << 32 | u64::from(number));
        loop {
            // SAFETY: what the entry points to belongs to a connection, to `writing` or to what is being settled,
            // which stay until its completion was taken; a drop of the whole waits for all of them.
            let pushed = unsafe { self.ring.submission().push(&entry) };
            if pushed.is_ok() {
                self.in_flight += 1;
                return Ok(());
            }
            self.ring.submit()?;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.ring.submit();
        let limit = types::Timespec::new().sec(5);
        // It fails if there was nothing to cancel; either way only completions are left.
        let _ = self.ring.submitter().register_sync_cancel(Some(limit), types::CancelBuilder::any());
        while self.in_flight > 0 {
            let args = types::SubmitArgs::new().timespec(&limit);
            let waited = self.ring.submitter().submit_with_args(1, &args);
            let count = self.ring.completion().count();
            self.in_flight -= count;
            if waited.is_err() && count == 0 {
                // The kernel keeps the memory: better lost than written to after it is free.
                self.connections.drain().for_each(std::mem::forget);
                std::mem::forget(std::mem::take(&mut self.writing));
                std::mem::forget(self.disk.take());
                break;
            }
        }
    }
}
