//! A shard driven by hand, for tests: real files, no ring.

use std::path::{Path, PathBuf};

use super::recover::{self, OpenConfig, Opened, open};
use super::{ReadOutcome, Shard, ShardEvent};
use crate::format::record::BatchBuilder;
use crate::io::disk::{DirectoryLock, Disk};
use crate::io::{Completion, Fault, Op};
use crate::limits::Sizes;
use crate::types::{LogId, Now, Offset, Ticket};

/// A directory of its own, removed at the end.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("ringmain-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn config(directory: &Path, shards: u16) -> OpenConfig {
    OpenConfig {
        directory: directory.to_path_buf(),
        shards,
        shard_of: |log, shards| (log.0 % u64::from(shards)) as u16,
        node_id: 1,
        new_cluster_id: [9; 16],
        disk: Disk::Machine,
        journal_file_bytes: 4 << 20,
        memory_bytes: 8 << 20,
        sizes: Sizes::default(),
    }
}

/// Says with which error an operation fails; `None`: it is done.
type Refuse = Box<dyn FnMut(&Op) -> Option<i32>>;

/// Shards and the events they gave so far.
pub(crate) struct Rig {
    pub(crate) shards: Vec<Shard>,
    pub(crate) events: Vec<ShardEvent>,
    pub(crate) now: Now,
    pub(crate) refuse: Refuse,
    _lock: DirectoryLock,
    pub(crate) report: recover::Report,
}

impl Rig {
    pub(crate) fn open(directory: &Path, shards: u16) -> Rig {
        Rig::open_with(&config(directory, shards))
    }

    pub(crate) fn open_with(config: &OpenConfig) -> Rig {
        let Opened { shards, report, lock, .. } = open(config).unwrap();
        Rig {
            shards,
            events: Vec::new(),
            now: Now::default(),
            refuse: Box::new(|_| None),
            _lock: lock,
            report,
        }
    }

    pub(crate) fn shard(&mut self, log: LogId) -> &mut Shard {
        let index = (config(Path::new(""), self.shards.len() as u16).shard_of)(log, self.shards.len() as u16);
        &mut self.shards[usize::from(index)]
    }

    /// Turns until nothing is left to do.
    pub(crate) fn settle(&mut self) {
        loop {
            self.now.monotonic_us += 10_000;
            let mut wanted = Vec::new();
            for shard in &mut self.shards {
                shard.commit(self.now);
                shard.collect(&mut wanted);
                for (token, op) in wanted.drain(..) {
                    shard.complete(match (self.refuse)(&op) {
                        Some(errno) => Completion { token, result: Err(Fault { errno }) },
                        None => Disk::Machine.execute(token, op),
                    });
                }
                while let Some(event) = shard.next_event() {
                    self.events.push(event);
                }
            }
            if self.shards.iter().all(|shard| shard.is_quiet() && shard.works.is_empty()) {
                return;
            }
        }
    }

    pub(crate) fn append(&mut self, log: LogId, value: &[u8], request: u64) {
        let mut builder = BatchBuilder::new(request as i64);
        builder.push(request as i64, None, Some(value), &[]);
        let ticket = Ticket { owner: 0, request };
        self.shard(log).append(log, &builder.finish(), ticket).unwrap();
    }

    pub(crate) fn acked(&self) -> Vec<(u64, Offset)> {
        let acked = self.events.iter().filter_map(|event| match event {
            ShardEvent::Appended { ticket, base_offset, .. } => Some((ticket.request, *base_offset)),
            _ => None,
        });
        acked.collect()
    }

    /// Every batch of the log from `from`, one byte of each value.
    pub(crate) fn read_all(&mut self, log: LogId, mut from: Offset) -> Vec<(Offset, u8)> {
        let mut found = Vec::new();
        loop {
            let ticket = Ticket { owner: 1, request: from };
            let outcome = match self.shard(log).read(log, from, 256 << 10, ticket) {
                Some(outcome) => outcome,
                None => {
                    self.settle();
                    let index = self.events.iter().position(
                        |event| matches!(event, ShardEvent::Read { ticket: found, .. } if *found == ticket),
                    );
                    match self.events.remove(index.unwrap()) {
                        ShardEvent::Read { outcome, .. } => outcome,
                        _ => unreachable!(),
                    }
                }
            };
            let ReadOutcome::Data { batches, .. } = outcome else { panic!("{outcome:?}") };
            if batches.is_empty() {
                return found;
            }
            for piece in batches {
                for (header, batch) in crate::format::batch::split(piece) {
                    let mut records = batch.slice(crate::format::batch::HEADER_BYTES..);
                    let record = crate::format::record::take(&mut records).unwrap();
                    let offset = header.base_offset.get() as u64;
                    found.push((offset, record.value.unwrap()[0]));
                    from = offset + 1;
                }
            }
        }
    }
}
