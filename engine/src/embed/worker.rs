//! The loop of one shard: requests in from any thread, a driver to the kernel, a turn at a time.
//!
//! In: requests from a bounded channel. Out: operations to the driver; answers, through the desk. Never: sleeps
//! while a request waits.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::BytesMut;

use super::EngineError;
use super::desk::Desk;
use super::request::Request;
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
    /// Whether a caller may be held up until there is room: not if it turns the worker itself.
    may_wait: bool,
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
        if self.parking.must_wake() {
            // A full pipe has woken it already; a closed one means it is gone, which its completers say.
            let _ = (&*self.waker).write(&[1]);
        }
        Ok(())
    }
}

/// One shard, its desk and the way to them.
pub(super) struct Worker {
    desk: Desk,
    requests: Receiver<Request>,
    parking: Parking,
    wakes: Descriptor,
}

/// A worker on the thread that turns it.
pub(super) struct Turning {
    worker: Worker,
    driver: Driver,
    start: Instant,
    done: Vec<Completion>,
    wanted: Vec<(Token, Op)>,
}

impl Worker {
    /// A worker and the way to it.
    pub(super) fn new(
        shard: Shard,
        batch_bytes_max: usize,
        may_wait: bool,
    ) -> std::io::Result<(Worker, Mail)> {
        let (sender, requests) = sync_channel(REQUESTS_MAX);
        let (read, write) = UnixStream::pair()?;
        write.set_nonblocking(true)?;
        let parking = Parking::default();
        let mail = Mail { requests: sender, parking: parking.clone(), waker: Arc::new(write), may_wait };
        let wakes = Descriptor::new(OwnedFd::from(read));
        Ok((Worker { desk: Desk::new(shard, batch_bytes_max), requests, parking, wakes }, mail))
    }

    /// Opens a driver on this thread, which alone may turn the worker from now on.
    pub(super) fn begin(self, choice: Choice) -> std::io::Result<Turning> {
        let (driver, _, _) = Driver::open(choice)?;
        let wanted = vec![self.next_wake()];
        Ok(Turning { worker: self, driver, start: Instant::now(), done: Vec::new(), wanted })
    }

    fn next_wake(&self) -> (Token, Op) {
        let (socket, buffer) = (self.wakes.clone(), BytesMut::with_capacity(64));
        (Token { space: WAKE, index: 0 }, Op::Receive { socket, buffer })
    }

    /// Whether a request arrived after the last turn; it is taken at once, so that it is not forgotten.
    fn requests_waiting(&mut self) -> bool {
        if self.desk.is_full() {
            return false; // room comes with a completion
        }
        match self.requests.try_recv() {
            Ok(request) => {
                self.desk.handle(request);
                true
            }
            Err(TryRecvError::Empty) => false,
            Err(TryRecvError::Disconnected) => {
                self.desk.closing = true;
                true
            }
        }
    }

    fn turn(&mut self, now: Now, done: &mut Vec<Completion>, wanted: &mut Vec<(Token, Op)>) {
        for completion in done.drain(..) {
            if completion.token.space == SHARD {
                self.desk.shard.complete(completion);
            } else if matches!(completion.result, Ok(Done::Received(_))) {
                wanted.push(self.next_wake());
            }
        }
        self.desk.take_events();
        for _ in 0..REQUESTS_MAX {
            if self.desk.is_full() || self.desk.closing {
                break;
            }
            match self.requests.try_recv() {
                Ok(request) => self.desk.handle(request),
                Err(_) => break,
            }
        }
        if self.desk.closing {
            self.desk.shard.hasten_seal();
        }
        self.desk.shard.commit(now);
        // A truncation may have been done by what came before, and given up what it held.
        self.desk.take_events();
        self.desk.shard.collect(wanted);
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
        let now = Now {
            monotonic_us: self.start.elapsed().as_micros() as u64,
            wall_ms: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64,
        };
        self.worker.turn(now, &mut self.done, &mut self.wanted);
        let shard = &self.worker.desk.shard;
        if let Some(what) = shard.failure() {
            return Err(EngineError::Failed(what.to_string()));
        }
        if self.worker.desk.is_finished() {
            return Ok(true);
        }
        let next = shard.next_deadline_us();
        let deadline = next.map(|at| Duration::from_micros(at.saturating_sub(now.monotonic_us)));
        self.driver.submit(&mut self.wanted).map_err(failed)?;
        self.worker.parking.announce();
        let late = self.worker.requests_waiting();
        let timeout = match late {
            true => Some(Duration::ZERO),
            false => deadline.into_iter().chain(wait_max).min(),
        };
        self.driver.wait(timeout, &mut self.done).map_err(failed)?;
        self.worker.parking.awake();
        Ok(false)
    }
}

pub(super) fn failed(error: std::io::Error) -> EngineError {
    EngineError::Failed(error.to_string())
}
