//! A data directory, on a real disk or in memory, driven by hand: blocking file operations, no ring, no threads.
//!
//! In: appends, trims, deletions. Out: what was acknowledged, what is read. Never: acknowledges by itself.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use ringmain_engine::error::OpenError;
use ringmain_engine::format::batch::{self, CheckedBatch};
use ringmain_engine::io::disk::{DirectoryLock, Disk};
use ringmain_engine::limits::Sizes;
use ringmain_engine::shard::recover::{OpenConfig, Opened, Report, open};
use ringmain_engine::shard::{ReadOutcome, Shard, ShardEvent};
use ringmain_engine::types::{LogId, Now, Offset, Ticket};

/// Journal files so small that they are used again all the time.
const JOURNAL_FILE_BYTES: u64 = 256 << 10;
/// Memory so small that runs are written all the time.
const MEMORY_BYTES: usize = 96 << 10;

/// A directory of its own, removed at the end.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Result<Scratch, String> {
        let path = std::env::temp_dir().join(format!("ringmain-fuzz-{name}-{}", std::process::id()));
        let scratch = Scratch(path);
        let _ = std::fs::remove_dir_all(&scratch.0);
        std::fs::create_dir_all(&scratch.0).map_err(|error| error.to_string())?;
        Ok(scratch)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Shards and what they said.
pub struct Node {
    shards: Vec<Shard>,
    events: Vec<ShardEvent>,
    now: Now,
    disk: Disk,
    /// What the start said.
    pub report: Report,
    _lock: DirectoryLock,
}

/// One batch that was read, or the reason why one was not.
pub type Read = Result<(Offset, Offset, Bytes), String>;

fn shard_of(log: LogId, shards: u16) -> u16 {
    (log.0 % u64::from(shards)) as u16
}

/// How directories are opened here, unless something is to be smaller still.
pub fn config(directory: &Path, shards: u16) -> OpenConfig {
    OpenConfig {
        directory: directory.to_path_buf(),
        disk: Disk::Machine,
        shards,
        shard_of,
        node_id: 1,
        new_cluster_id: [9; 16],
        journal_file_bytes: JOURNAL_FILE_BYTES,
        memory_bytes: MEMORY_BYTES,
        sizes: Sizes::default(),
    }
}

impl Node {
    pub fn open(directory: &Path, shards: u16) -> Result<Node, OpenError> {
        Node::open_with(&config(directory, shards))
    }

    pub fn open_with(config: &OpenConfig) -> Result<Node, OpenError> {
        let Opened { shards, lock, report, .. } = open(config)?;
        let disk = config.disk.clone();
        Ok(Node { shards, events: Vec::new(), now: Now::default(), disk, report, _lock: lock })
    }

    /// Every log, in order.
    pub fn logs(&self) -> Vec<LogId> {
        let mut logs: Vec<LogId> = self.shards.iter().flat_map(Shard::logs).collect();
        logs.sort_unstable();
        logs
    }

    pub fn shard(&mut self, log: LogId) -> &mut Shard {
        let index = shard_of(log, self.shards.len() as u16);
        &mut self.shards[usize::from(index)]
    }

    /// Appends, to be acknowledged by a later turn.
    pub fn append(&mut self, log: LogId, batch: &CheckedBatch, request: u64) -> Result<(), String> {
        let ticket = Ticket { owner: 0, request };
        self.shard(log).append(log, batch, ticket).map_err(|refused| format!("{refused:?}"))
    }

    /// One turn of every shard; tells whether there was anything to do.
    pub fn turn(&mut self) -> bool {
        self.now.monotonic_us += 10_000;
        let (mut wanted, mut busy) = (Vec::new(), false);
        for shard in &mut self.shards {
            shard.commit(self.now);
            shard.collect(&mut wanted);
            busy |= !wanted.is_empty() || !shard.is_quiet();
            for (token, op) in wanted.drain(..) {
                shard.complete(self.disk.execute(token, op));
            }
            while let Some(event) = shard.next_event() {
                self.events.push(event);
            }
        }
        busy
    }

    /// Turns until nothing is left to do and the journals say so.
    pub fn settle(&mut self) {
        while self.turn() {}
    }

    /// The requests acknowledged since the last call, with their offsets.
    pub fn take_acked(&mut self) -> Vec<(u64, Offset)> {
        let acked = self.events.iter().filter_map(|event| match event {
            ShardEvent::Appended { ticket, base_offset, .. } => Some((ticket.request, *base_offset)),
            _ => None,
        });
        let acked = acked.collect();
        self.events.clear();
        acked
    }

    /// Every batch from `from` to the durable offset. A refused run is tried at its next offset.
    pub fn read_all(&mut self, log: LogId, mut from: Offset) -> Vec<Read> {
        let mut found = Vec::new();
        let end = self.shard(log).marks(log).map_or(0, |marks| marks.durable);
        while from < end {
            match self.read(log, from) {
                ReadOutcome::Data { batches, .. } => {
                    let before = from;
                    for (header, bytes) in batches.into_iter().flat_map(batch::split) {
                        let base = header.base_offset.get() as Offset;
                        from = base.saturating_add(header.offsets_count());
                        found.push(Ok((base, from, bytes)));
                    }
                    if from <= before {
                        found.push(Err(format!("a read at {before} of {log:?} gets nowhere")));
                        return found;
                    }
                }
                ReadOutcome::Damaged(damage) => {
                    found.push(Err(damage.to_string()));
                    from += 1;
                }
                other => {
                    found.push(Err(format!("{other:?}")));
                    from += 1;
                }
            }
        }
        found
    }

    pub fn read(&mut self, log: LogId, from: Offset) -> ReadOutcome {
        let ticket = Ticket { owner: 1, request: from };
        if let Some(outcome) = self.shard(log).read(log, from, 64 << 10, ticket) {
            return outcome;
        }
        while self.turn() {}
        let mut answers = self.events.drain(..).filter_map(|event| match event {
            ShardEvent::Read { ticket: found, outcome } if found == ticket => Some(outcome),
            _ => None,
        });
        let unanswered = ReadOutcome::Fault { what: "a read was never answered".to_string() };
        answers.next_back().unwrap_or(unanswered)
    }
}
