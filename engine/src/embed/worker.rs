//! The loop of one shard: requests in from any thread, a driver to the kernel, a turn at a time.
//!
//! In: requests from a bounded channel. Out: operations to the driver; answers, through the desk. Never: sleeps
//! while a request waits, or while a caller has left it something to do.

use std::collections::VecDeque;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::BytesMut;

use super::EngineError;
use super::desk::{Answer, Desk};
use super::hold::Hold;
use super::request::Request;
use super::turns::Turns;
use crate::io::driver::{Choice, Driver};
use crate::io::mailbox::Parking;
use crate::io::{Completion, Descriptor, Done, Op, Token};
use crate::shard::{Shard, TOKEN_SPACE as SHARD};
use crate::types::Now;

/// Requests that wait for the shard; further callers wait until there is room.
const REQUESTS_MAX: usize = 4096;
/// Token space of the wake-ups.
const WAKE: u16 = 1;

/// The handles' end of a worker.
#[derive(Clone)]
pub(super) struct Mail {
    requests: SyncSender<Request>,
    parking: Parking,
    waker: Arc<UnixStream>,
    pub(super) turns: Arc<Turns<Worker>>,
    /// Whether a caller may be held up until there is room: not if it turns the worker itself.
    pub(super) may_wait: bool,
}

impl Mail {
    /// Hands a request over; waits while too many are waiting already, or refuses it if it must not wait.
    pub(super) fn send(&self, request: Request) -> Result<(), EngineError> {
        if self.may_wait {
            self.requests.send(request).ok().ok_or(EngineError::Closed)?;
        } else {
            match self.requests.try_send(request) {
                Ok(()) => {}
                Err(TrySendError::Full(request)) => request.refuse(EngineError::TooManyRequests),
                Err(TrySendError::Disconnected(_)) => return Err(EngineError::Closed),
            }
        }
        self.wake();
        Ok(())
    }

    /// Has the worker's thread look, if it sleeps.
    pub(super) fn wake(&self) {
        if self.parking.must_wake() {
            // A full pipe has woken it already; a closed one means it is gone, which its completers say.
            let _ = (&*self.waker).write(&[1]);
        }
    }
}

/// One shard, its desk and the way to them: what whoever has the turn works with.
pub(super) struct Worker {
    pub(super) desk: Desk,
    requests: Receiver<Request>,
    /// Taken from the channel and not looked at yet.
    late: VecDeque<Request>,
    /// For the driver, which only the thread has.
    wanted: Vec<(Token, Op)>,
    hold: Hold,
    /// Something waits for more to come, and the thread sees to it that it does not wait for too long.
    held: bool,
    /// The deadline that the thread knows of while it sleeps.
    asleep_until_us: u64,
    start: Instant,
}

/// A worker on the thread that turns it.
pub(super) struct Turning {
    turns: Arc<Turns<Worker>>,
    driver: Driver,
    parking: Parking,
    wakes: Descriptor,
    done: Vec<Completion>,
    wanted: Vec<(Token, Op)>,
}

/// A worker that nobody turns yet, and what its thread needs beside it.
pub(super) struct Idle {
    turns: Arc<Turns<Worker>>,
    parking: Parking,
    wakes: Descriptor,
}

impl Idle {
    /// A worker and the way to it.
    pub(super) fn new(shard: Shard, batch_bytes_max: usize, may_wait: bool) -> std::io::Result<(Idle, Mail)> {
        let (sender, requests) = sync_channel(REQUESTS_MAX);
        let (read, write) = UnixStream::pair()?;
        write.set_nonblocking(true)?;
        let parking = Parking::default();
        let turns = Arc::new(Turns::new(Worker {
            desk: Desk::new(shard, batch_bytes_max),
            requests,
            late: VecDeque::new(),
            wanted: Vec::new(),
            hold: Hold::default(),
            held: false,
            asleep_until_us: 0,
            start: Instant::now(),
        }));
        let (waker, wakes) = (Arc::new(write), Descriptor::new(OwnedFd::from(read)));
        let mail = Mail { requests: sender, parking: parking.clone(), waker, turns: turns.clone(), may_wait };
        Ok((Idle { turns, parking, wakes }, mail))
    }

    /// Opens a driver on this thread, which alone may turn the worker from now on.
    pub(super) fn begin(self, choice: Choice) -> std::io::Result<Turning> {
        let (driver, _, _) = Driver::open(choice)?;
        let Idle { turns, parking, wakes } = self;
        let wanted = vec![next_wake(&wakes)];
        Ok(Turning { turns, driver, parking, wakes, done: Vec::new(), wanted })
    }
}

fn next_wake(wakes: &Descriptor) -> (Token, Op) {
    let (socket, buffer) = (wakes.clone(), BytesMut::with_capacity(64));
    (Token { space: WAKE, index: 0 }, Op::Receive { socket, buffer })
}

/// What a caller is to do for its append.
pub(super) enum Lead {
    /// Write, and say that it is done.
    Write(Token, Op),
    /// Wait; if it is not answered by then, it is to write.
    WaitFor(Duration),
    /// Wait.
    Wait,
}

impl Worker {
    fn now(&self) -> Now {
        Now {
            monotonic_us: self.start.elapsed().as_micros() as u64,
            wall_ms: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64,
        }
    }

    /// Whether there is something for the thread to do; a request that came after its turn is kept for the next.
    fn has_work(&mut self) -> bool {
        if !self.desk.is_full() && self.late.is_empty() {
            // Where it is full, room comes with a completion.
            match self.requests.try_recv() {
                Ok(request) => self.late.push_back(request),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => self.desk.closing = true,
            }
        }
        let late = !self.desk.is_full() && !self.late.is_empty();
        late || self.desk.closing || self.left_over()
    }

    /// Whether whoever had the turn before leaves something that only the thread can do.
    fn left_over(&self) -> bool {
        !self.wanted.is_empty() || self.desk.has_kept() || self.desk.shard.failure().is_some()
    }

    fn turn(&mut self, done: &mut Vec<Completion>, wanted: &mut Vec<(Token, Op)>) {
        let now = self.now();
        for completion in done.drain(..) {
            self.complete(completion, now);
        }
        self.desk.take_events();
        for _ in 0..REQUESTS_MAX {
            if self.desk.is_full() || self.desk.closing {
                break;
            }
            match self.late.pop_front().map_or_else(|| self.requests.try_recv(), Ok) {
                Ok(request) => self.handle(request, now),
                Err(_) => break,
            }
        }
        if self.desk.closing {
            self.desk.shard.hasten_seal();
        }
        self.commit(now);
        // A truncation may have been done by what came before, and given up what it held.
        self.desk.take_events();
        wanted.append(&mut self.wanted);
    }

    fn complete(&mut self, completion: Completion, now: Now) {
        let writing = self.desk.shard.is_writing();
        self.desk.shard.complete(completion);
        if writing && !self.desk.shard.is_writing() {
            self.hold.ends(now.monotonic_us);
        }
    }

    fn handle(&mut self, request: Request, now: Now) {
        // Only of a thread that waits is it known that it will be back, and not before it is answered.
        let bytes = match &request {
            Request::Append { batch, waits: true, .. } => batch.bytes().len() as u64,
            _ => {
                self.hold.is_over();
                return self.desk.handle(request);
            }
        };
        let before = self.desk.pending_count();
        self.desk.handle(request);
        // One that is refused is answered already.
        if self.desk.pending_count() > before {
            self.hold.came(bytes, now.monotonic_us);
        }
    }

    /// Begins what there is to begin, unless more is about to come.
    fn commit(&mut self, now: Now) {
        self.held = self.hold.waits(now.monotonic_us) && !self.desk.closing;
        if self.held {
            return;
        }
        let writing = self.desk.shard.is_writing();
        self.desk.shard.commit(now);
        if !writing && self.desk.shard.is_writing() {
            self.hold.begins(now.monotonic_us);
        }
        self.desk.shard.collect(&mut self.wanted);
    }

    fn next_deadline_us(&self) -> Option<u64> {
        let held = self.held.then(|| self.hold.until_us());
        self.desk.shard.next_deadline_us().into_iter().chain(held).min()
    }

    /// How long the thread may sleep: not at all if there is something to do.
    fn rest(&mut self, wait_max: Option<Duration>) -> Option<Duration> {
        if self.has_work() {
            return Some(Duration::ZERO);
        }
        let next = self.next_deadline_us();
        self.asleep_until_us = next.unwrap_or(u64::MAX);
        let now_us = self.now().monotonic_us;
        let deadline = next.map(|at| Duration::from_micros(at.saturating_sub(now_us)));
        deadline.into_iter().chain(wait_max).min()
    }

    // -- the turn of a caller that waits for its append ---------------------------------------------------

    /// Takes a request without the thread, and says what the caller is to do.
    pub(super) fn lead(&mut self, request: Request) -> Lead {
        // Behind what the same caller may have asked before.
        if let Ok(earlier) = self.requests.try_recv() {
            self.late.push_back(earlier);
        }
        if !self.late.is_empty() || self.desk.is_full() || self.desk.closing {
            self.late.push_back(request);
            return Lead::Wait;
        }
        let now = self.now();
        self.handle(request, now);
        match self.hold.waits(now.monotonic_us) {
            true if self.hold.is_first() => {
                let rest_us = self.hold.until_us().saturating_sub(now.monotonic_us);
                Lead::WaitFor(Duration::from_micros(rest_us))
            }
            true => Lead::Wait,
            false => self.write(),
        }
    }

    /// Begins what there is to begin; a frame is for the caller to write.
    pub(super) fn write(&mut self) -> Lead {
        let before = self.wanted.len();
        self.commit(self.now());
        self.desk.take_waited();
        let is_frame = |(_, op): &(Token, Op)| matches!(op, Op::Write { durable: true, .. });
        match self.wanted.get(before..).unwrap_or_default().iter().position(is_frame) {
            Some(at) => {
                let (token, op) = self.wanted.swap_remove(before + at);
                Lead::Write(token, op)
            }
            None => Lead::Wait,
        }
    }

    /// The write is done: gives the answers of those who do nothing but wait for it. Other answers, and what is to be
    /// done next, are the thread's.
    pub(super) fn led(&mut self, completion: Completion) -> Vec<Answer> {
        let now = self.now();
        self.complete(completion, now);
        self.desk.take_waited();
        let answers = self.desk.take_answers();
        self.commit(now);
        answers
    }

    /// Whether the thread is to be woken behind the turn of a caller.
    pub(super) fn needs_thread(&self) -> bool {
        let sooner = self.next_deadline_us().is_some_and(|at| at < self.asleep_until_us);
        sooner || self.desk.closing || !self.late.is_empty() || self.left_over()
    }
}

impl Turning {
    /// Turns until closed, or until the shard fails; then everybody still waiting hears so.
    pub(super) fn run(mut self) -> Result<(), EngineError> {
        while !self.turn(None)? {}
        Ok(())
    }

    /// One turn: takes what was asked and what is done, then waits for more, at most `wait_max` (`None`: without
    /// limit). Whether it was closed and has finished.
    pub(super) fn turn(&mut self, wait_max: Option<Duration>) -> Result<bool, EngineError> {
        self.done.retain(|completion| {
            if completion.token.space != SHARD && matches!(completion.result, Ok(Done::Received(_))) {
                self.wanted.push(next_wake(&self.wakes));
            }
            completion.token.space == SHARD
        });
        let mut turn = self.turns.take();
        let Some(worker) = turn.worker() else { return Ok(true) };
        worker.asleep_until_us = 0;
        worker.turn(&mut self.done, &mut self.wanted);
        let answers = worker.desk.take_answers();
        let failure = worker.desk.shard.failure().map(str::to_string);
        let finished = worker.desk.is_finished();
        drop(turn);
        if failure.is_none() && !finished {
            let submitted = !self.wanted.is_empty();
            self.driver.submit(&mut self.wanted).map_err(failed)?;
            if submitted && !answers.is_empty() {
                // The device works while those who waited are woken.
                self.driver.wait(Some(Duration::ZERO), &mut self.done).map_err(failed)?;
            }
        }
        answers.into_iter().for_each(|answer| answer.give());
        if let Some(what) = failure {
            return Err(EngineError::Failed(what));
        }
        if finished {
            return Ok(true);
        }
        let idle = self.done.is_empty();
        let timeout = self.turns.look(&self.parking, |worker| match worker {
            Some(worker) if idle => worker.rest(wait_max),
            _ => Some(Duration::ZERO),
        });
        self.driver.wait(timeout, &mut self.done).map_err(failed)?;
        self.parking.awake();
        Ok(false)
    }
}

impl Drop for Turning {
    /// Nobody turns the worker any more: what is left in it is answered, and files are no longer written to.
    fn drop(&mut self) {
        drop(self.turns.end());
    }
}

pub(super) fn failed(error: std::io::Error) -> EngineError {
    EngineError::Failed(error.to_string())
}
