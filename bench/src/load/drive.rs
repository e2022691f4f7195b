//! One thread, many connections: sends what their protocols want sent and hands them what came back.
//!
//! In: connections, each with its protocol's state. Out: a tally. Never: waits for one connection while another
//! could go on; reads the clock more than once between two waits for the same connection.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::event::epoll;

use super::tally::Tally;
use crate::failure::Failure;
use crate::interrupt::Interrupt;

/// A server that answers nothing for so long is taken for dead.
pub const PATIENCE: Duration = Duration::from_secs(15);
/// How long planned requests are still sent after the end of a run that fell behind.
const GRACE: Duration = Duration::from_secs(10);
/// How often a signal is looked for.
const STEP: Duration = Duration::from_millis(100);
/// Read at a time from one connection.
const READ_BYTES: usize = 256 << 10;

/// One connection's side of a protocol: no I/O and no clock of its own.
pub trait Client: Send {
    /// What can be sent now.
    fn output(&mut self, now: Instant) -> &[u8];
    /// `count` bytes of the output are with the kernel.
    fn sent(&mut self, count: usize);
    /// Takes whole answers off the front of `input`; gives how many bytes they were.
    fn receive(&mut self, input: &[u8], now: Instant, tally: &mut Tally) -> Result<usize, Failure>;
    /// When there will be something to send though nothing comes in.
    fn next_due(&self) -> Option<Instant>;
    /// The run is over: nothing new but what was planned before its end.
    fn stop(&mut self);
    /// The run is over and the server did not keep up: counts what was planned and not sent.
    fn give_up(&mut self, now: Instant, tally: &mut Tally);
    /// Whether everything asked for has been answered after [`Client::stop`], or the work itself is done.
    fn is_done(&self) -> bool;
}

/// A connection and its client.
pub struct Lane {
    stream: TcpStream,
    target: String,
    client: Box<dyn Client>,
    input: Vec<u8>,
    held: usize,
    wants_output: bool,
}

/// A client whose answers are not the run's. Out: the bytes that came.
struct Aside {
    client: Box<dyn Client>,
    bytes: Arc<AtomicU64>,
    /// Made with the first answer.
    tally: Option<Box<Tally>>,
}

impl Client for Aside {
    fn output(&mut self, now: Instant) -> &[u8] {
        self.client.output(now)
    }

    fn sent(&mut self, count: usize) {
        self.client.sent(count);
    }

    fn receive(&mut self, input: &[u8], now: Instant, tally: &mut Tally) -> Result<usize, Failure> {
        let own = self.tally.get_or_insert_with(|| Box::new(tally.alike()));
        let before = own.bytes;
        let taken = self.client.receive(input, now, own)?;
        self.bytes.fetch_add(own.bytes - before, Ordering::Relaxed);
        Ok(taken)
    }

    fn next_due(&self) -> Option<Instant> {
        self.client.next_due()
    }

    fn stop(&mut self) {
        self.client.stop();
    }

    fn give_up(&mut self, _now: Instant, _tally: &mut Tally) {
        self.client.stop();
    }

    fn is_done(&self) -> bool {
        self.client.is_done()
    }
}

/// How long, from when on.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    pub begin: Instant,
    pub warm_up: Duration,
    pub time: Duration,
}

impl Run {
    /// When nothing new is sent any more.
    pub fn end(&self) -> Instant {
        self.begin + self.warm_up + self.time
    }
}

impl Lane {
    /// Takes over a connection that is set up, with what was received on it already.
    pub fn new(
        stream: TcpStream,
        target: &str,
        client: Box<dyn Client>,
        received: &[u8],
    ) -> Result<Lane, Failure> {
        stream.set_nonblocking(true).map_err(Failure::network("set up the connection to", target))?;
        let mut input = vec![0; READ_BYTES.max(received.len())];
        input[..received.len()].copy_from_slice(received);
        let held = received.len();
        Ok(Lane { stream, target: target.to_owned(), client, input, held, wants_output: false })
    }

    /// The same connection, what comes back on it counted apart from the others'.
    pub fn aside(self, bytes: Arc<AtomicU64>) -> Lane {
        Lane { client: Box::new(Aside { client: self.client, bytes, tally: None }), ..self }
    }

    /// Sends until there is nothing more or the socket is full; `true`: it is full.
    fn send(&mut self) -> Result<bool, Failure> {
        loop {
            let output = self.client.output(Instant::now());
            if output.is_empty() {
                return Ok(false);
            }
            match self.stream.write(output) {
                Ok(count) => self.client.sent(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Failure::network("send to", &self.target)(error)),
            }
        }
    }

    /// Reads once and hands over what came.
    fn receive(&mut self, tally: &mut Tally) -> Result<(), Failure> {
        if self.held == self.input.len() {
            let longer = self.input.len() * 2;
            self.input.resize(longer, 0);
        }
        match self.stream.read(&mut self.input[self.held..]) {
            Ok(0) => {
                let closed = io::Error::new(ErrorKind::UnexpectedEof, "it closed the connection");
                return Err(Failure::network("read from", &self.target)(closed));
            }
            Ok(count) => self.held += count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Ok(());
            }
            Err(error) => return Err(Failure::network("read from", &self.target)(error)),
        }
        self.take(tally)
    }

    fn take(&mut self, tally: &mut Tally) -> Result<(), Failure> {
        let taken = self.client.receive(&self.input[..self.held], Instant::now(), tally)?;
        self.input.copy_within(taken..self.held, 0);
        self.held -= taken;
        Ok(())
    }
}

/// Drives all lanes until each is done.
pub fn drive(mut lanes: Vec<Lane>, run: Run, interrupt: &Interrupt) -> Result<Tally, Failure> {
    let kernel = |doing| move |error: rustix::io::Errno| Failure::Kernel { doing, source: error.into() };
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(kernel("set up epoll"))?;
    for (number, lane) in lanes.iter().enumerate() {
        epoll::add(&poll, &lane.stream, epoll::EventData::new_u64(number as u64), epoll::EventFlags::IN)
            .map_err(kernel("watch a connection"))?;
    }
    let mut tally = Tally::new(run.begin + run.warm_up, run.time);
    let mut stage = Stage::Running;
    let mut last_answer = Instant::now();
    for (number, lane) in lanes.iter_mut().enumerate() {
        lane.take(&mut tally)?;
        pump(&poll, lane, number as u64)?;
    }
    let mut events = Vec::with_capacity(256);
    loop {
        interrupt.check()?;
        let now = Instant::now();
        stage = stage.advance(now, run.end(), &mut lanes, &mut tally);
        if lanes.iter().all(|lane| lane.client.is_done()) {
            return Ok(tally);
        }
        let due = lanes.iter().filter_map(|lane| lane.client.next_due()).min();
        let wait = due.map_or(STEP, |due| due.saturating_duration_since(now).min(STEP));
        wait_for_events(&poll, &mut events, wait)?;
        if !events.is_empty() {
            last_answer = Instant::now();
        } else if now - last_answer > PATIENCE && due.is_none() {
            let slow = io::Error::new(ErrorKind::TimedOut, "it did not answer within 15 s");
            let target = lanes.first().map_or("", |lane| &lane.target);
            return Err(Failure::network("read from", target)(slow));
        }
        for event in events.drain(..) {
            let (number, flags) = (event.data.u64(), event.flags);
            let Some(lane) = lanes.get_mut(number as usize) else { continue };
            if flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR) {
                lane.receive(&mut tally)?;
            }
            pump(&poll, lane, number)?;
        }
        if due.is_some_and(|due| due <= Instant::now()) {
            for (number, lane) in lanes.iter_mut().enumerate() {
                pump(&poll, lane, number as u64)?;
            }
        }
    }
}

/// Where the run is.
enum Stage {
    Running,
    /// Over; what is in flight and what is owed is waited for.
    Stopped,
    /// Over for good; only answers are waited for.
    GivenUp,
}

impl Stage {
    fn advance(self, now: Instant, end: Instant, lanes: &mut [Lane], tally: &mut Tally) -> Stage {
        match self {
            Stage::Running if now >= end => {
                lanes.iter_mut().for_each(|lane| lane.client.stop());
                Stage::Stopped
            }
            Stage::Stopped if now >= end + GRACE => {
                lanes.iter_mut().for_each(|lane| lane.client.give_up(now, tally));
                Stage::GivenUp
            }
            same => same,
        }
    }
}

fn wait_for_events(
    poll: &impl std::os::fd::AsFd,
    events: &mut Vec<epoll::Event>,
    time: Duration,
) -> Result<(), Failure> {
    let time = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) };
    match epoll::wait(poll, rustix::buffer::spare_capacity(events), Some(&time)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(Failure::Kernel { doing: "wait for events", source: error.into() }),
    }
}

/// Sends, and watches for room exactly while there is none.
fn pump(poll: &impl std::os::fd::AsFd, lane: &mut Lane, number: u64) -> Result<(), Failure> {
    let full = lane.send()?;
    if full != lane.wants_output {
        lane.wants_output = full;
        let flags = if full { epoll::EventFlags::IN | epoll::EventFlags::OUT } else { epoll::EventFlags::IN };
        epoll::modify(poll, &lane.stream, epoll::EventData::new_u64(number), flags)
            .map_err(|error| Failure::Kernel { doing: "watch a connection", source: error.into() })?;
    }
    Ok(())
}
