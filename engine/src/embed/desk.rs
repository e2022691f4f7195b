//! Where requests for one shard are carried out, one after another, and answered when the shard says so.
//!
//! In: requests, events of the shard. Out: answers through their completers. Never: answers before what was asked
//! is durable, or carries out a request for a log before an earlier one that must be finished first.
//!
//! ```text
//!   request ──(a truncation of its log is under way: held)──> shard ──event──> answer
//!      truncate: all before it durable ──> does a batch begin there? ──> shard ──Truncated──> answer, held ones go on
//! ```

use std::collections::{HashMap, VecDeque};

use super::ack::Completer;
use super::request::Request;
use super::{Appended, Bounds, EngineError, ReadBatches, SealedSegment};
use crate::format::batch::{self, BatchError, CheckedBatch};
use crate::shard::{ReadOutcome, Refused, Shard, ShardEvent, TruncateRefused};
use crate::types::{LogId, Offset, Ticket};

/// Requests that wait for truncations; beyond these no further request is taken.
const HELD_MAX: usize = 4096;

/// What a shard was asked and has not answered.
enum Pending {
    Append(Completer<Appended>),
    /// Of a thread that does nothing but wait.
    Waited(Completer<Appended>),
    Done(Completer<()>),
    Read {
        log: LogId,
        from: Offset,
        bytes_max: usize,
        wait: bool,
        done: Completer<ReadBatches>,
    },
    /// Everything before the truncation becomes durable, then the batch at the new end is looked at.
    TruncateAfter {
        log: LogId,
        end: Offset,
        done: Completer<()>,
    },
    TruncateAt {
        log: LogId,
        end: Offset,
        done: Completer<()>,
    },
    Truncate {
        log: LogId,
        done: Completer<()>,
    },
    /// A batch that the log has already: durable first, then compared.
    ReplicaAfter {
        log: LogId,
        batch: CheckedBatch,
        done: Completer<Appended>,
    },
    ReplicaAt {
        batch: CheckedBatch,
        done: Completer<Appended>,
    },
}

/// One shard and what is asked of it.
pub(super) struct Desk {
    pub(super) shard: Shard,
    pending: HashMap<u64, Pending>,
    next_request: u64,
    /// Reads that wait for a log to grow.
    waiting: HashMap<LogId, Vec<Pending>>,
    /// Requests for logs that are being truncated.
    held: HashMap<LogId, VecDeque<Request>>,
    held_count: usize,
    pub(super) closing: bool,
    batch_bytes_max: usize,
    /// What the shard said during the turn of a caller, and is not for that caller.
    kept: VecDeque<ShardEvent>,
    /// To be given when the turn is over.
    answers: Vec<Answer>,
}

/// An answer on its way.
pub(super) enum Answer {
    Appended(Completer<Appended>, Appended),
    Done(Completer<()>),
}

impl Answer {
    pub(super) fn give(self) {
        match self {
            Answer::Appended(done, appended) => done.complete(Ok(appended)),
            Answer::Done(done) => done.complete(Ok(())),
        }
    }
}

impl Desk {
    pub(super) fn new(shard: Shard, batch_bytes_max: usize) -> Desk {
        Desk {
            shard,
            pending: HashMap::new(),
            next_request: 0,
            waiting: HashMap::new(),
            held: HashMap::new(),
            held_count: 0,
            closing: false,
            batch_bytes_max,
            kept: VecDeque::new(),
            answers: Vec::new(),
        }
    }

    /// Answers of this turn, to be given behind it: whoever is woken may want the next turn.
    pub(super) fn take_answers(&mut self) -> Vec<Answer> {
        std::mem::take(&mut self.answers)
    }

    /// Whether no further request should be taken for now.
    pub(super) fn is_full(&self) -> bool {
        self.shard.is_full() || self.held_count >= HELD_MAX
    }

    /// Requests that the shard has not answered.
    pub(super) fn pending_count(&self) -> usize {
        self.pending.len()
    }

    /// Whether all that was asked before closing is done and the journal says so.
    pub(super) fn is_finished(&self) -> bool {
        self.closing && self.held_count == 0 && self.held.is_empty() && self.shard.is_quiet()
    }

    fn wait_for(&mut self, pending: Pending) -> Ticket {
        let request = self.next_request;
        self.next_request += 1;
        self.pending.insert(request, pending);
        Ticket { owner: 0, request }
    }

    /// Carries a request out, unless an earlier one for its log must be finished first.
    pub(super) fn handle(&mut self, request: Request) {
        if let Some(held) = request.log().and_then(|log| self.held.get_mut(&log)) {
            self.held_count += 1;
            return held.push_back(request);
        }
        self.carry_out(request);
    }

    fn carry_out(&mut self, request: Request) {
        match request {
            Request::Create { log, done } => {
                self.shard.create(log);
                match self.shard.contains(log) {
                    true => self.durable_later(done),
                    false => done.complete(Err(EngineError::TooManyLogs)),
                }
            }
            Request::Delete { log, done } => {
                self.shard.delete(log);
                for waiting in self.waiting.remove(&log).unwrap_or_default() {
                    waiting.refuse(EngineError::UnknownLog);
                }
                self.durable_later(done);
            }
            Request::Append { log, batch, expect, waits: false, done } => {
                self.append(log, &batch, expect, Pending::Append(done));
            }
            Request::Append { log, batch, expect, waits: true, done } => {
                self.append(log, &batch, expect, Pending::Waited(done));
            }
            Request::Replica { log, batch, done } => self.replica(log, batch, done),
            Request::Read { log, from, bytes_max, wait, done } => {
                self.read(log, from, Pending::Read { log, from, bytes_max, wait, done }, bytes_max);
            }
            Request::Trim { log, before, done } => match self.shard.contains(log) {
                true => {
                    self.shard.trim(log, before);
                    self.durable_later(done);
                }
                false => done.complete(Err(EngineError::UnknownLog)),
            },
            Request::Truncate { log, end, done } => self.truncate(log, end, done),
            Request::Commit { log, upto, done } => match self.shard.contains(log) {
                true => {
                    self.shard.commit_upto(log, upto);
                    done.complete(Ok(()));
                }
                false => done.complete(Err(EngineError::UnknownLog)),
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
            Request::Sealed { log, done } => {
                let sealed = self.shard.sealed_segments(log).ok_or(EngineError::UnknownLog);
                done.complete(sealed.map(|sealed| sealed.into_iter().map(SealedSegment::new).collect()));
            }
            Request::Statistics { done } => done.complete(Ok(self.shard.counts())),
            Request::Close => self.closing = true,
        }
    }

    /// Answers when everything asked so far is on the device.
    fn durable_later(&mut self, done: Completer<()>) {
        let ticket = self.wait_for(Pending::Done(done));
        self.shard.sync(ticket);
    }

    // -- appending ----------------------------------------------------------------------------------------

    fn append(&mut self, log: LogId, batch: &CheckedBatch, expect: Option<Offset>, pending: Pending) {
        if batch.bytes().len() > self.batch_bytes_max {
            return pending.refuse(EngineError::Batch(BatchError::TooLarge));
        }
        let end = self.shard.marks(log).map(|marks| marks.end);
        if let (Some(expected), Some(end)) = (expect, end)
            && expected != end
        {
            return pending.refuse(EngineError::WrongOffset { expected, end });
        }
        let ticket = self.wait_for(pending);
        let appended = self.shard.append(log, batch, ticket);
        self.taken(ticket, appended);
    }

    fn replica(&mut self, log: LogId, batch: CheckedBatch, done: Completer<Appended>) {
        if batch.bytes().len() > self.batch_bytes_max {
            return done.complete(Err(EngineError::Batch(BatchError::TooLarge)));
        }
        let Some(marks) = self.shard.marks(log) else {
            return done.complete(Err(EngineError::UnknownLog));
        };
        let base = batch.header().base_offset.get();
        let Ok(base) = Offset::try_from(base) else {
            return done.complete(Err(EngineError::WrongOffset { expected: 0, end: marks.end }));
        };
        if base > marks.end {
            return done.complete(Err(EngineError::WrongOffset { expected: base, end: marks.end }));
        }
        if base < marks.end {
            let ticket = self.wait_for(Pending::ReplicaAfter { log, batch, done });
            return self.shard.sync(ticket);
        }
        let ticket = self.wait_for(Pending::Append(done));
        let appended = self.shard.append_replica(log, &batch, ticket);
        self.taken(ticket, appended);
    }

    fn taken(&mut self, ticket: Ticket, appended: Result<(), Refused>) {
        let Err(refused) = appended else { return };
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

    /// The log has the batch already if it has the same bytes there.
    fn compare(batch: &CheckedBatch, outcome: ReadOutcome) -> Result<Appended, EngineError> {
        let read = data_of(outcome)?;
        let base_offset = batch.header().base_offset.get() as Offset;
        let found = read.batches.into_iter().flat_map(batch::split).next();
        match found {
            Some((_, bytes)) if bytes == *batch.bytes() => Ok(Appended { base_offset, duplicate: true }),
            _ => Err(EngineError::Diverged { offset: base_offset }),
        }
    }

    // -- truncating ---------------------------------------------------------------------------------------

    fn truncate(&mut self, log: LogId, end: Offset, done: Completer<()>) {
        let Some(marks) = self.shard.marks(log) else {
            return done.complete(Err(EngineError::UnknownLog));
        };
        if end < marks.start || end > marks.end {
            let (start, durable) = (marks.start, marks.end);
            return done.complete(Err(EngineError::OutOfRange { start, durable }));
        }
        // What is asked for after this waits until it is done.
        self.held.insert(log, VecDeque::new());
        let ticket = self.wait_for(Pending::TruncateAfter { log, end, done });
        self.shard.sync(ticket);
    }

    fn truncate_at(&mut self, log: LogId, end: Offset, done: Completer<()>, outcome: ReadOutcome) {
        let begins = data_of(outcome).and_then(|read| {
            let found = read.batches.into_iter().flat_map(batch::split).next();
            match found.map(|(header, _)| header.base_offset.get() as Offset) {
                Some(base) if base < end => Err(EngineError::InsideBatch { base }),
                _ => Ok(()),
            }
        });
        if let Err(error) = begins {
            done.complete(Err(error));
            return self.go_on(log);
        }
        let ticket = self.wait_for(Pending::Truncate { log, done });
        let Err(refused) = self.shard.truncate(log, end, ticket) else { return };
        let error = match refused {
            TruncateRefused::UnknownLog => EngineError::UnknownLog,
            TruncateRefused::OutOfRange { start, end } => EngineError::OutOfRange { start, durable: end },
            TruncateRefused::Committed(committed) => EngineError::Committed { committed },
            TruncateRefused::InsideBatch => EngineError::InsideBatch { base: end },
            TruncateRefused::Truncating => EngineError::Failed("the log is being truncated".into()),
            TruncateRefused::Compacted => EngineError::Failed("the log is or was compacted".into()),
            TruncateRefused::Failed => EngineError::Failed("the shard has failed before".into()),
        };
        if let Some(pending) = self.pending.remove(&ticket.request) {
            pending.refuse(error);
        }
        self.go_on(log);
    }

    /// The truncation of the log is over: what was held goes on, up to the next one.
    fn go_on(&mut self, log: LogId) {
        let Some(mut held) = self.held.remove(&log) else { return };
        while let Some(request) = held.pop_front() {
            self.held_count -= 1;
            self.carry_out(request);
            if let Some(again) = self.held.get_mut(&log) {
                again.extend(held);
                return;
            }
        }
    }

    // -- reading ------------------------------------------------------------------------------------------

    fn read(&mut self, log: LogId, from: Offset, pending: Pending, bytes_max: usize) {
        let ticket = self.wait_for(pending);
        if let Some(outcome) = self.shard.read(log, from, bytes_max, ticket) {
            self.read_done(ticket.request, outcome);
        }
    }

    fn read_done(&mut self, request: u64, outcome: ReadOutcome) {
        match self.pending.remove(&request) {
            Some(Pending::Read { log, from, bytes_max, wait, done }) => match outcome {
                ReadOutcome::Data { batches, .. } if batches.is_empty() && wait => {
                    let again = Pending::Read { log, from, bytes_max, wait, done };
                    self.waiting.entry(log).or_default().push(again);
                }
                outcome => done.complete(data_of(outcome)),
            },
            Some(Pending::TruncateAt { log, end, done }) => self.truncate_at(log, end, done, outcome),
            Some(Pending::ReplicaAt { batch, done }) => done.complete(Desk::compare(&batch, outcome)),
            _ => {}
        }
    }

    // -- events -------------------------------------------------------------------------------------------

    /// Prepares the answers of threads that do nothing but wait, and keeps what else the shard says for its thread.
    pub(super) fn take_waited(&mut self) {
        while let Some(event) = self.shard.next_event() {
            match event {
                ShardEvent::Appended { ticket, base_offset, duplicate, .. }
                    if matches!(self.pending.get(&ticket.request), Some(Pending::Waited(_))) =>
                {
                    self.durable(ticket, Appended { base_offset, duplicate });
                }
                ShardEvent::Advanced { log } if !self.waiting.contains_key(&log) => {}
                event => self.kept.push_back(event),
            }
        }
    }

    /// Whether anything is kept.
    pub(super) fn has_kept(&self) -> bool {
        !self.kept.is_empty() || !self.answers.is_empty()
    }

    /// Answers what the shard has answered.
    pub(super) fn take_events(&mut self) {
        while let Some(event) = self.kept.pop_front().or_else(|| self.shard.next_event()) {
            match event {
                ShardEvent::Appended { ticket, base_offset, duplicate, .. } => {
                    self.durable(ticket, Appended { base_offset, duplicate });
                }
                ShardEvent::Truncated { ticket } => {
                    if let Some(Pending::Truncate { log, done }) = self.pending.remove(&ticket.request) {
                        done.complete(Ok(()));
                        self.go_on(log);
                    }
                }
                ShardEvent::Read { ticket, outcome } => self.read_done(ticket.request, outcome),
                ShardEvent::Advanced { log } => {
                    for waiting in self.waiting.remove(&log).unwrap_or_default() {
                        if let Pending::Read { log, from, bytes_max, .. } = waiting {
                            self.read(log, from, waiting, bytes_max);
                        }
                    }
                }
                ShardEvent::Failed { .. } => {} // seen by the loop
            }
        }
    }

    fn durable(&mut self, ticket: Ticket, appended: Appended) {
        match self.pending.remove(&ticket.request) {
            Some(Pending::Append(done) | Pending::Waited(done)) => {
                self.answers.push(Answer::Appended(done, appended));
            }
            Some(Pending::Done(done)) => self.answers.push(Answer::Done(done)),
            Some(Pending::TruncateAfter { log, end, done }) => {
                self.read(log, end, Pending::TruncateAt { log, end, done }, 1);
            }
            Some(Pending::ReplicaAfter { log, batch, done }) => {
                let base = batch.header().base_offset.get() as Offset;
                let bytes_max = batch.bytes().len();
                self.read(log, base, Pending::ReplicaAt { batch, done }, bytes_max);
            }
            _ => {}
        }
    }
}

/// What a read found, or why nothing.
fn data_of(outcome: ReadOutcome) -> Result<ReadBatches, EngineError> {
    match outcome {
        ReadOutcome::Data { batches, log_start, durable } => {
            Ok(ReadBatches { batches, bounds_start: log_start, bounds_durable: durable })
        }
        ReadOutcome::OutOfRange { log_start, durable } => {
            Err(EngineError::OutOfRange { start: log_start, durable })
        }
        ReadOutcome::UnknownLog => Err(EngineError::UnknownLog),
        ReadOutcome::Damaged(damage) => Err(EngineError::Damaged(damage)),
        ReadOutcome::Fault { what } => Err(EngineError::Failed(what)),
    }
}

impl Pending {
    fn refuse(self, error: EngineError) {
        match self {
            Pending::Append(done)
            | Pending::Waited(done)
            | Pending::ReplicaAfter { done, .. }
            | Pending::ReplicaAt { done, .. } => {
                done.complete(Err(error));
            }
            Pending::Done(done)
            | Pending::TruncateAfter { done, .. }
            | Pending::TruncateAt { done, .. }
            | Pending::Truncate { done, .. } => done.complete(Err(error)),
            Pending::Read { done, .. } => done.complete(Err(error)),
        }
    }
}
