//! A data directory in memory in which every kind of file is there and small.
//!
//! In: about how many bytes. Out: the disk, as a process left it that was killed while idle, and what was
//! acknowledged. Never: depends on anything but the number of bytes.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use ringmain_engine::format::record::BatchBuilder;
use ringmain_engine::io::disk::Disk;
use ringmain_engine::io::simulated::SimulatedDisk;
use ringmain_engine::limits::Sizes;
use ringmain_engine::shard::recover::OpenConfig;
use ringmain_engine::types::{LogId, Offset};

use crate::node::{self, Node};
use crate::random::Random;

const SHARDS: u16 = 2;
const JOURNAL_FILE_BYTES: u64 = 12 << 10;
/// The large logs are mostly sealed segments; the small ones have one that is being filled; the last is in the
/// journal only.
const LARGE: [LogId; 2] = [LogId(2), LogId(3)];
const SMALL: [LogId; 2] = [LogId(4), LogId(5)];
const FRESH: LogId = LogId(6);
/// It is trimmed all the time, and its newest run was written beside a frame that is still in the journal.
const PLACED: LogId = LogId(7);
/// So many batches of it are left, a segment and more.
const PLACED_BATCHES_KEPT: u64 = 10;
/// Within so many batches one of them must have been.
const PLACED_BATCHES_MAX: usize = 400;

/// How it is opened.
pub fn config(disk: &SimulatedDisk, segment_bytes: u64) -> OpenConfig {
    OpenConfig {
        disk: Disk::Simulated(disk.clone()),
        journal_file_bytes: JOURNAL_FILE_BYTES,
        memory_bytes: 24 << 10,
        sizes: Sizes {
            chunk_bytes: 8 << 10,
            frame_body_bytes: 4000,
            run_bytes: 15 << 10,
            segment_bytes,
            section_bytes_min: 2000,
            new_section_bytes_min: usize::MAX,
            cold_read_bytes: 4 << 10,
            run_cache_bytes: 0,
            open_segments_max: 1,
            sync_all_min: usize::MAX,
            free_bytes_min: 0,
            compaction_step_us: 100,
        },
        ..node::config(Path::new("data"), SHARDS)
    }
}

/// What was acknowledged: the bytes of each batch behind its stamp, by base offset.
#[derive(Default)]
pub struct Model(BTreeMap<LogId, BTreeMap<Offset, Bytes>>);

impl Model {
    pub fn logs(&self) -> impl Iterator<Item = LogId> {
        self.0.keys().copied()
    }

    /// One more than the last offset.
    pub fn end(&self, log: LogId) -> Offset {
        self.0.get(&log).and_then(|batches| batches.keys().next_back()).map_or(0, |base| base + 1)
    }

    /// The first offset.
    pub fn start(&self, log: LogId) -> Offset {
        self.0.get(&log).and_then(|batches| batches.keys().next()).copied().unwrap_or(0)
    }

    pub fn batch(&self, log: LogId, base: Offset) -> Option<&[u8]> {
        self.0.get(&log)?.get(&base).map(|bytes| &bytes[..])
    }

    /// The offset behind `from`.
    pub fn after(&self, _log: LogId, from: Offset) -> Offset {
        from + 1
    }

    /// An offset far enough from `base` to be in another run.
    pub fn another_run(&self, log: LogId, base: Offset) -> Offset {
        let start = self.start(log);
        if base == start { (start + self.end(log)) / 2 } else { start }
    }
}

/// A directory and its model.
pub struct Directory {
    pub disk: SimulatedDisk,
    pub model: Model,
}

impl Directory {
    /// Makes one whose files have about `bytes` bytes together, in segments of about `segment_bytes`.
    pub fn make(bytes: usize, segment_bytes: u64) -> Result<Directory, String> {
        let disk = SimulatedDisk::default();
        let mut made = Directory { disk: disk.clone(), model: Model::default() };
        let mut random = Random::new(1);
        for life in 0..3 {
            let mut node =
                Node::open_with(&config(&disk, segment_bytes)).map_err(|error| error.to_string())?;
            made.fill(&mut node, bytes, life, &mut random)?;
        }
        Ok(made)
    }

    fn size(&self) -> usize {
        self.disk.files().iter().map(|(_, length)| *length as usize).sum()
    }

    fn fill(&mut self, node: &mut Node, bytes: usize, life: u64, random: &mut Random) -> Result<(), String> {
        for log in LARGE.into_iter().chain(SMALL) {
            node.shard(log).create(log);
        }
        // Each life brings a part, and the last one leaves some of it in the journal.
        while self.size() < bytes / 3 * (life as usize + 1) {
            let log = LARGE[random.below(2)];
            self.append(node, log, 2500, random)?;
        }
        for _ in 0..4 {
            for log in SMALL {
                self.append(node, log, 2500, random)?;
            }
        }
        if life == 2 {
            node.shard(FRESH).create(FRESH);
            self.append(node, FRESH, 100, random)?;
            self.append(node, SMALL[1], 100, random)?;
        }
        node.settle();
        if life == 2 { self.fill_placed(node, random) } else { Ok(()) }
    }

    fn fill_placed(&mut self, node: &mut Node, random: &mut Random) -> Result<(), String> {
        node.shard(PLACED).create(PLACED);
        for _ in 0..PLACED_BATCHES_MAX {
            let before = node.shard(PLACED).counts().placed_bytes;
            self.append(node, PLACED, 2500, random)?;
            if node.shard(PLACED).counts().placed_bytes > before {
                node.settle(); // a frame behind it says that it was durable
                return Ok(());
            }
            let start = self.model.end(PLACED).saturating_sub(PLACED_BATCHES_KEPT);
            node.shard(PLACED).trim(PLACED, start);
            let batches = self.model.0.entry(PLACED).or_default();
            *batches = batches.split_off(&start);
            node.settle();
        }
        Err("no run was placed".to_string())
    }

    fn append(
        &mut self,
        node: &mut Node,
        log: LogId,
        length: usize,
        random: &mut Random,
    ) -> Result<(), String> {
        let mut builder = BatchBuilder::new(1000);
        builder.push(1000, None, Some(&random.bytes(length)), &[]);
        let batch = builder.finish();
        node.append(log, &batch, 1)?;
        let acked = loop {
            node.turn();
            if let Some((_, base)) = node.take_acked().pop() {
                break base;
            }
        };
        self.model.0.entry(log).or_default().insert(acked, batch.bytes().slice(16..));
        Ok(())
    }
}
