//! One shard and one ring, turned by hand: the engine without a broker around it.
//!
//! In: appends and reads. Out: what came of them. Never: answers an append before its event, which comes when it is on
//! the device.

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

/// An open directory and the loop that serves it.
pub struct Driver {
    // Dropped first: its operations use the files of the others.
    ring: Ring,
    shard: Shard,
    begin: Instant,
    wanted: Vec<(Token, Op)>,
    done: Vec<Completion>,
    appended: u64,
    read: Option<ReadOutcome>,
    _lock: DirectoryLock,
    directory: Scratch,
}

impl Driver {
    /// A new data directory below `dir`, with `memory_bytes` for the ends of logs.
    pub fn open(dir: &std::path::Path, memory_bytes: usize) -> Result<Driver, Failure> {
        Driver::open_in(Scratch::create(dir)?, JOURNAL_FILE_BYTES, memory_bytes).map(|(driver, _)| driver)
    }

    /// What is in `directory`, recovered, and what the start says.
    pub fn open_in(
        directory: Scratch,
        journal_file_bytes: u64,
        memory_bytes: usize,
    ) -> Result<(Driver, Report), Failure> {
        let config = OpenConfig {
            directory: directory.path().to_owned(),
            disk: Disk::Machine,
            shards: 1,
            shard_of: |_, _| 0,
            node_id: 1,
            new_cluster_id: [7; 16],
            journal_file_bytes,
            memory_bytes,
            sizes: Sizes::default(),
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
            read: None,
            _lock: opened.lock,
            directory,
        };
        Ok((driver, opened.report))
    }

    /// Ends without a word, as a process that is killed, and leaves its directory.
    pub fn abandon(self) -> Scratch {
        self.directory
    }

    /// Makes a log.
    pub fn create(&mut self, log: LogId) {
        self.shard.create(log);
    }

    /// Appends; it is durable once [`Driver::appended`] has counted it.
    pub fn append(&mut self, log: LogId, batch: &CheckedBatch) -> Result<(), Failure> {
        let ticket = Ticket { owner: 0, request: 0 };
        let outcome = self.shard.append(log, batch, ticket);
        outcome.map_err(|refused| Failure::Broker(format!("the engine refused an append: {refused:?}")))
    }

    /// Forgets what is below `start`.
    pub fn trim(&mut self, log: LogId, start: Offset) {
        self.shard.trim(log, start);
    }

    /// Appends that are durable.
    pub fn appended(&self) -> u64 {
        self.appended
    }

    /// One turn: commits what was gathered, waits for something to complete if anything is in flight.
    pub fn turn(&mut self) -> Result<(), Failure> {
        let failed = |source| Failure::Kernel { doing: "drive the engine's ring", source };
        let monotonic_us = self.begin.elapsed().as_micros() as u64;
        self.shard.commit(Now { monotonic_us, wall_ms: 0 });
        self.shard.collect(&mut self.wanted);
        self.ring.submit(&mut self.wanted).map_err(failed)?;
        if self.ring.in_flight() > 0 || self.shard.next_deadline_us().is_some() {
            self.ring.wait(Some(STEP), &mut self.done).map_err(failed)?;
        }
        for completion in self.done.drain(..) {
            self.shard.complete(completion);
        }
        while let Some(event) = self.shard.next_event() {
            match event {
                ShardEvent::Appended { .. } => self.appended += 1,
                ShardEvent::Read { outcome, .. } => self.read = Some(outcome),
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

    /// Reads from `from` on: how many bytes came, and the offset behind them.
    pub fn read(&mut self, log: LogId, from: Offset, bytes_max: usize) -> Result<(u64, Offset), Failure> {
        let ticket = Ticket { owner: 1, request: from };
        self.read = self.shard.read(log, from, bytes_max, ticket);
        let outcome = loop {
            match self.read.take() {
                Some(outcome) => break outcome,
                None => self.turn()?,
            }
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
