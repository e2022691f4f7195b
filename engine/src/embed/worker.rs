//! The thread of one shard: requests in from any thread, a driver to the kernel, answers out.
//!
//! In: requests from a bounded channel. Out: answers through their completers. Never: answers an append before
//! its frame is on the device.

use std::collections::HashMap;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::BytesMut;

use super::ack::Completer;
use super::{Appended, Bounds, EngineError, ReadBatches};
use crate::format::batch::CheckedBatch;
use crate::io::driver::{Choice, Driver};
use crate::io::mailbox::Parking;
use crate::io::{Completion, Descriptor, Done, Op, Token};
use crate::shard::{ReadOutcome, Refused, Shard, ShardEvent, TOKEN_SPACE as SHARD};
use crate::types::{LogId, Now, Offset, Ticket};

/// Requests that wait for the shard; further callers wait until there is room.
const REQUESTS_MAX: usize = 4096;
/// Token space of the wake-ups.
const WAKE: u16 = 1;

/// What a handle asks of a shard.
pub(super) enum Request {
    Create { log: LogId, done: Completer<()> },
    Delete { log: LogId, done: Completer<()> },
    Append { log: LogId, batch: CheckedBatch, expect: Option<Offset>, done: Completer<Appended> },
    Read { log: LogId, from: Offset, bytes_max: usize, wait: bool, done: Completer<ReadBatches> },
    Trim { log: LogId, before: Offset, done: Completer<()> },
    Bounds { log: LogId, done: Completer<Bounds> },
    SeekTime { log: LogId, timestamp_ms: i64, done: Completer<Option<Offset>> },
    Close,
}

/// The handles' end of a worker.
#[derive(Clone)]
pub(super) struct Mail {
    requests: SyncSender<Request>,
    parking: Parking,
    waker: std::sync::Arc<UnixStream>,
}

impl Mail {
    /// Hands a request over; waits while too many are waiting already.
    pub(super) fn send(&self, request: Request) -> Result<(), EngineError> {
        self.requests.send(request).ok().ok_or(EngineError::Closed)?;
        if self.parking.must_wake() {
            // A full pipe has woken it already; a closed one means it is gone, which its completers say.
            let _ = (&*self.waker).write(&[1]);
        }
        Ok(())
    }
}

/// What a shard was asked and has not answered.
enum Pending {
    Append(Completer<Appended>),
    Done(Completer<()>),
    Read { log: LogId, from: Offset, bytes_max: usize, wait: bool, done: Completer<ReadBatches> },
}

/// One shard and its thread's belongings.
pub(super) struct Worker {
    shard: Shard,
    requests: Receiver<Request>,
    parking: Parking,
    wakes: Descriptor,
    choice: Choice,
    pending: HashMap<u64, Pending>,
    next_request: u64,
    /// Reads that wait for a log to grow.
    waiting: HashMap<LogId, Vec<Pending>>,
    closing: bool,
}

impl Worker {
    /// A worker and the way to it.
    pub(super) fn new(shard: Shard, choice: Choice) -> std::io::Result<(Worker, Mail)> {
        let (sender, requests) = sync_channel(REQUESTS_MAX);
        let (read, write) = UnixStream::pair()?;
        write.set_nonblocking(true)?;
        let parking = Parking::default();
        let mail = Mail { requests: sender, parking: parking.clone(), waker: std::sync::Arc::new(write) };
        let worker = Worker {
            shard,
            requests,
            parking,
            wakes: Descriptor::new(OwnedFd::from(read)),
            choice,
            pending: HashMap::new(),
            next_request: 0,
            waiting: HashMap::new(),
            closing: false,
        };
        Ok((worker, mail))
    }

    /// Runs until closed, or until the shard fails; then everybody still waiting hears so.
    pub(super) fn run(mut self) -> Result<(), EngineError> {
        let failed = |error: std::io::Error| EngineError::Failed(error.to_string());
        let (mut driver, _, _) = Driver::open(self.choice).map_err(failed)?;
        let start = Instant::now();
        let (mut done, mut wanted) = (Vec::new(), vec![self.next_wake()]);
        loop {
            let now = Now {
                monotonic_us: start.elapsed().as_micros() as u64,
                wall_ms: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64,
            };
            self.turn(now, &mut done, &mut wanted);
            if let Some(what) = self.shard.failure() {
                return Err(EngineError::Failed(what.to_string()));
            }
            if self.closing && self.shard.is_quiet() {
                return Ok(());
            }
            driver.submit(&mut wanted).map_err(failed)?;
            self.parking.announce();
            let late = self.requests_waiting();
            let deadline = self
                .shard
                .next_deadline_us()
                .map(|at| Duration::from_micros(at.saturating_sub(now.monotonic_us)));
            let timeout = if late { Some(Duration::ZERO) } else { deadline };
            driver.wait(timeout, &mut done).map_err(failed)?;
            self.parking.awake();
        }
    }

    fn next_wake(&self) -> (Token, Op) {
        let (socket, buffer) = (self.wakes.clone(), BytesMut::with_capacity(64));
        (Token { space: WAKE, index: 0 }, Op::Receive { socket, buffer })
    }

    /// Whether a request arrived after the last turn; it is taken at once, so that it is not forgotten.
    fn requests_waiting(&mut self) -> bool {
        match self.requests.try_recv() {
            Ok(request) => {
                self.handle(request);
                true
            }
            Err(TryRecvError::Empty) => false,
            Err(TryRecvError::Disconnected) => {
                self.closing = true;
                true
            }
        }
    }

    fn turn(&mut self, now: Now, done: &mut Vec<Completion>, wanted: &mut Vec<(Token, Op)>) {
        for completion in done.drain(..) {
            if completion.token.space == SHARD {
                self.shard.complete(completion);
            } else if matches!(completion.result, Ok(Done::Received(_))) {
                wanted.push(self.next_wake());
            }
        }
        self.take_events();
        for _ in 0..REQUESTS_MAX {
            if self.shard.is_full() || self.closing {
                break;
            }
            match self.requests.try_recv() {
                Ok(request) => self.handle(request),
                Err(_) => break,
            }
        }
        if self.closing {
            self.shard.hasten_seal();
        }
        self.shard.commit(now);
        self.shard.collect(wanted);
    }

    fn wait_for(&mut self, pending: Pending) -> Ticket {
        let request = self.next_request;
        self.next_request += 1;
        self.pending.insert(request, pending);
        Ticket { owner: 0, request }
    }

    fn handle(&mut self, request: Request) {
        match request {
            Request::Create { log, done } => {
                self.shard.create(log);
                self.durable_later(done);
            }
            Request::Delete { log, done } => {
                self.shard.delete(log);
                for waiting in self.waiting.remove(&log).unwrap_or_default() {
                    waiting.refuse(EngineError::UnknownLog);
                }
                self.durable_later(done);
            }
            Request::Append { log, batch, expect, done } => self.append(log, &batch, expect, done),
            Request::Read { log, from, bytes_max, wait, done } => self.read(log, from, bytes_max, wait, done),
            Request::Trim { log, before, done } => match self.shard.marks(log) {
                Some(_) => {
                    self.shard.trim(log, before);
                    self.durable_later(done);
                }
                None => done.complete(Err(EngineError::UnknownLog)),
            },
            Request::Bounds { log, done } => {
                let marks = self.shard.marks(log).ok_or(EngineError::UnknownLog);
                done.complete(marks.map(|marks| Bounds {
                    start: marks.start,
                    durable: marks.durable,
                    end: marks.end,
                }));
            }
            Request::SeekTime { log, timestamp_ms, done } => {
                let known = self.shard.contains(log).then_some(()).ok_or(EngineError::UnknownLog);
                done.complete(known.map(|()| self.shard.seek_time(log, timestamp_ms)));
            }
            Request::Close => self.closing = true,
        }
    }

    /// Answers when everything asked so far is on the device.
    fn durable_later(&mut self, done: Completer<()>) {
        let ticket = self.wait_for(Pending::Done(done));
        self.shard.sync(ticket);
    }

    fn append(
        &mut self,
        log: LogId,
        batch: &CheckedBatch,
        expect: Option<Offset>,
        done: Completer<Appended>,
    ) {
        let end = self.shard.marks(log).map(|marks| marks.end);
        if let (Some(expected), Some(end)) = (expect, end)
            && expected != end
        {
            return done.complete(Err(EngineError::WrongOffset { expected, end }));
        }
        let ticket = self.wait_for(Pending::Append(done));
        let Err(refused) = self.shard.append(log, batch, ticket) else { return };
        let error = match refused {
            Refused::UnknownLog => EngineError::UnknownLog,
            Refused::OutOfOrderSequence => EngineError::OutOfOrderSequence,
            Refused::FencedProducer => EngineError::FencedProducer,
            Refused::NoSpace => EngineError::NoSpace,
            Refused::Truncating => EngineError::Failed("the log is being truncated".into()),
            Refused::Failed => EngineError::Failed("the shard has failed before".into()),
        };
        if let Some(pending) = self.pending.remove(&ticket.request) {
            pending.refuse(error);
        }
    }

    fn read(&mut self, log: LogId, from: Offset, bytes_max: usize, wait: bool, done: Completer<ReadBatches>) {
        let ticket = self.wait_for(Pending::Read { log, from, bytes_max, wait, done });
        if let Some(outcome) = self.shard.read(log, from, bytes_max, ticket) {
            self.read_done(ticket.request, outcome);
        }
    }

    fn read_done(&mut self, request: u64, outcome: ReadOutcome) {
        let Some(Pending::Read { log, from, bytes_max, wait, done }) = self.pending.remove(&request) else {
            return;
        };
        match outcome {
            ReadOutcome::Data { batches, .. } if batches.is_empty() && wait => {
                let again = Pending::Read { log, from, bytes_max, wait, done };
                self.waiting.entry(log).or_default().push(again);
            }
            ReadOutcome::Data { batches, log_start, durable } => {
                done.complete(Ok(ReadBatches { batches, bounds_start: log_start, bounds_durable: durable }));
            }
            ReadOutcome::OutOfRange { log_start, durable } => {
                done.complete(Err(EngineError::OutOfRange { start: log_start, durable }));
            }
            ReadOutcome::UnknownLog => done.complete(Err(EngineError::UnknownLog)),
            ReadOutcome::Damaged(damage) => done.complete(Err(EngineError::Damaged(damage))),
            ReadOutcome::Fault { what } => done.complete(Err(EngineError::Failed(what))),
        }
    }

    fn take_events(&mut self) {
        while let Some(event) = self.shard.next_event() {
            match event {
                ShardEvent::Appended { ticket, base_offset, duplicate, .. } => {
                    match self.pending.remove(&ticket.request) {
                        Some(Pending::Append(done)) => done.complete(Ok(Appended { base_offset, duplicate })),
                        Some(Pending::Done(done)) => done.complete(Ok(())),
                        _ => {}
                    }
                }
                ShardEvent::Read { ticket, outcome } => self.read_done(ticket.request, outcome),
                ShardEvent::Advanced { log } => {
                    for waiting in self.waiting.remove(&log).unwrap_or_default() {
                        if let Pending::Read { log, from, bytes_max, wait, done } = waiting {
                            self.read(log, from, bytes_max, wait, done);
                        }
                    }
                }
                ShardEvent::Truncated { .. } => {}
                ShardEvent::Failed { .. } => {} // seen by the loop
            }
        }
    }
}

impl Pending {
    fn refuse(self, error: EngineError) {
        match self {
            Pending::Append(done) => done.complete(Err(error)),
            Pending::Done(done) => done.complete(Err(error)),
            Pending::Read { done, .. } => done.complete(Err(error)),
        }
    }
}
