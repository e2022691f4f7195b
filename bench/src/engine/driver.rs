//! One shard and one ring, turned by hand: the engine without a broker around it.
//!
//! In: appends and reads, and whatever else is asked of [`Driver::shard`]. Out: what came of them. Never: answers an
//! append before its event, which comes when it is on the device.

use std::path::Path;
use std::time::{Duration, Instant};

use ringmain_engine::format::batch::{self, CheckedBatch};
use ringmain_engine::io::disk::{DirectoryLock, Disk};
use ringmain_engine::io::ring::Ring;
use ringmain_engine::io::{Completion, Op, Token};
use ringmain_engine::limits::{JOURNAL_FILE_BYTES, Sizes};
use ringmain_engine::shard::recover::{OpenConfig, Report, open};
use ringmain_engine::shard::{ReadOutcome, Shard, ShardEvent};
use ringmain_engine::types::{LogId, Now, Offset, Ticket};

use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::scratch::Scratch;

/// Wait for a completion at most this long between two looks at deadlines.
const STEP: Duration = Duration::from_millis(10);
/// Owner of the tickets of appends; the request is 0.
const APPEND: u64 = 0;
/// Owner of the tickets of reads that are waited for at once.
const READ: u64 = 1;
/// Owner of the ticket of [`Driver::sync`].
const SYNC: u64 = 2;

/// What a directory is opened with.
#[derive(Clone, Copy)]
pub struct Setup {
    pub journal_file_bytes: u64,
    /// For the ends of logs.
    pub memory_bytes: usize,
    pub sizes: Sizes,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup { journal_file_bytes: JOURNAL_FILE_BYTES, memory_bytes: 64 << 20, sizes: Sizes::default() }
    }
}

/// An open directory and the loop that serves it.
pub struct Driver {
    // Dropped first: its operations use the files of the others.
    ring: Ring,
    shard: Shard,
    begin: Instant,
    wanted: Vec<(Token, Op)>,
    done: Vec<Completion>,
    appended: u64,
    synced: bool,
    /// Reads that the device had to answer, until somebody takes them.
    reads: Vec<(Ticket, ReadOutcome)>,
    longest_work: Duration,
    _lock: DirectoryLock,
    directory: Scratch,
}

impl Driver {
    /// A new data directory below `dir`, with `memory_bytes` for the ends of logs.
    pub fn open(dir: &Path, memory_bytes: usize) -> Result<Driver, Failure> {
        Driver::create_in(dir, Setup { memory_bytes, ..Setup::default() })
    }

    /// The same with any set-up.
    pub fn create_in(dir: &Path, setup: Setup) -> Result<Driver, Failure> {
        Driver::open_in(Scratch::create(dir)?, setup).map(|(driver, _)| driver)
    }

    /// What is in `directory`, recovered, and what the start says.
    pub fn open_in(directory: Scratch, setup: Setup) -> Result<(Driver, Report), Failure> {
        let config = OpenConfig {
            directory: directory.path().to_owned(),
            disk: Disk::Machine,
            shards: 1,
            shard_of: |_, _| 0,
            node_id: 1,
            new_cluster_id: [7; 16],
            journal_file_bytes: setup.journal_file_bytes,
            memory_bytes: setup.memory_bytes,
            sizes: setup.sizes,
        };
        let opened =
            open(&config).map_err(|error| Failure::Broker(format!("cannot open the engine: {error}")))?;
        let ring = Ring::new().map_err(|source| Failure::Kernel { doing: "set up io_uring", source })?;
        let Some(shard) = opened.shards.into_iter().next() else { unreachable!("one shard was asked for") };
        let driver = Driver {
            ring,
            shard,
            begin: Instant::now(),
            wanted: Vec::new(),
            done: Vec::new(),
            appended: 0,
            synced: false,
            reads: Vec::new(),
            longest_work: Duration::ZERO,
            _lock: opened.lock,
            directory,
        };
        Ok((driver, opened.report))
    }

    /// Ends without a word, as a process that is killed, and leaves its directory.
    pub fn abandon(self) -> Scratch {
        self.directory
    }

    /// Ends as a broker that is told to: everything durable, the journal sealed. Leaves its directory.
    pub fn stop(mut self, interrupt: &Interrupt) -> Result<Scratch, Failure> {
        while !self.shard.is_quiet() || self.ring.in_flight() > 0 {
            interrupt.check()?;
            self.shard.hasten_seal();
            self.turn()?;
        }
        Ok(self.directory)
    }

    /// Where the data is.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The shard, for whatever needs no turn.
    pub fn shard(&mut self) -> &mut Shard {
        &mut self.shard
    }

    /// The time as the shard knows it.
    pub fn now(&self) -> Now {
        Now { monotonic_us: self.begin.elapsed().as_micros() as u64, wall_ms: 0 }
    }

    /// Makes a log.
    pub fn create(&mut self, log: LogId) {
        self.shard.create(log);
    }

    /// Appends; it is durable once [`Driver::appended`] has counted it.
    pub fn append(&mut self, log: LogId, batch: &CheckedBatch) -> Result<(), Failure> {
        let ticket = Ticket { owner: APPEND, request: 0 };
        let outcome = self.shard.append(log, batch, ticket);
        outcome.map_err(|refused| Failure::Broker(format!("the engine refused an append: {refused:?}")))
    }

    /// Appends that are durable.
    pub fn appended(&self) -> u64 {
        self.appended
    }

    /// Waits until everything that was asked for is durable.
    pub fn sync(&mut self, interrupt: &Interrupt) -> Result<(), Failure> {
        self.synced = false;
        self.shard.sync(Ticket { owner: SYNC, request: 0 });
        while !self.synced {
            interrupt.check()?;
            self.turn()?;
        }
        Ok(())
    }

    /// One turn: commits what was gathered, waits for something to complete if anything is in flight.
    pub fn turn(&mut self) -> Result<(), Failure> {
        self.turn_for(None)
    }

    /// One turn that waits in any case, but for `time_max` at most: its caller has an appointment.
    pub fn turn_until_due(&mut self, time_max: Duration) -> Result<(), Failure> {
        self.turn_for(Some(time_max))
    }

    /// Commits what was gathered, if nothing is in flight, and waits for nothing.
    pub fn begin(&mut self) -> Result<(), Failure> {
        self.ask()
    }

    fn turn_for(&mut self, time_max: Option<Duration>) -> Result<(), Failure> {
        let begin = Instant::now();
        self.ask()?;
        let is_awaited = self.ring.in_flight() > 0 || self.shard.next_deadline_us().is_some();
        let waited = match time_max.or(is_awaited.then_some(STEP)) {
            Some(time_max) => self.wait(time_max.min(STEP))?,
            None => Duration::ZERO,
        };
        self.take()?;
        self.longest_work = self.longest_work.max(begin.elapsed().saturating_sub(waited));
        Ok(())
    }

    fn ask(&mut self) -> Result<(), Failure> {
        let now = self.now();
        self.shard.commit(now);
        self.shard.collect(&mut self.wanted);
        self.ring.submit(&mut self.wanted).map_err(failed)
    }

    fn wait(&mut self, time_max: Duration) -> Result<Duration, Failure> {
        let begin = Instant::now();
        self.ring.wait(Some(time_max), &mut self.done).map_err(failed)?;
        Ok(begin.elapsed())
    }

    fn take(&mut self) -> Result<(), Failure> {
        for completion in self.done.drain(..) {
            self.shard.complete(completion);
        }
        while let Some(event) = self.shard.next_event() {
            match event {
                ShardEvent::Appended { ticket: Ticket { owner: SYNC, .. }, .. } => self.synced = true,
                ShardEvent::Appended { .. } => self.appended += 1,
                ShardEvent::Read { ticket, outcome } => self.reads.push((ticket, outcome)),
                ShardEvent::Advanced { .. } | ShardEvent::Truncated { .. } => {}
                ShardEvent::Failed { what } => {
                    return Err(Failure::Broker(format!("the engine failed: {what}")));
                }
            }
        }
        Ok(())
    }

    /// Turns until nothing is in flight any more.
    pub fn settle(&mut self, interrupt: &Interrupt) -> Result<(), Failure> {
        while !self.shard.is_quiet() || self.ring.in_flight() > 0 {
            interrupt.check()?;
            self.turn()?;
        }
        Ok(())
    }

    /// The longest that a turn took without its wait for the kernel, since this was asked last.
    pub fn take_longest_work(&mut self) -> Duration {
        std::mem::take(&mut self.longest_work)
    }

    /// Takes the answers of reads that the device was asked for.
    pub fn take_reads(&mut self) -> Vec<(Ticket, ReadOutcome)> {
        std::mem::take(&mut self.reads)
    }

    /// Reads from `from` on and waits for it: how many bytes came, and the offset behind them.
    pub fn read(&mut self, log: LogId, from: Offset, bytes_max: usize) -> Result<(u64, Offset), Failure> {
        let ticket = Ticket { owner: READ, request: from };
        let mut found = self.shard.read(log, from, bytes_max, ticket);
        let outcome = loop {
            match found {
                Some(outcome) => break outcome,
                None => self.turn()?,
            }
            found = self.reads.pop().map(|(_, outcome)| outcome);
        };
        let ReadOutcome::Data { batches, .. } = outcome else {
            return Err(Failure::Broker(format!("the engine cannot read {log}: {outcome:?}")));
        };
        let (mut bytes, mut next) = (0, from);
        for piece in batches {
            bytes += piece.len() as u64;
            for (header, _) in batch::split(piece) {
                next = header.base_offset.get() as u64 + header.offsets_count();
            }
        }
        Ok((bytes, next))
    }

    /// How many bytes of reads came from the device so far.
    pub fn device_bytes(&self) -> u64 {
        self.shard.counts().read_from_device_bytes
    }
}

fn failed(source: std::io::Error) -> Failure {
    Failure::Kernel { doing: "drive the engine's ring", source }
}
