//! TiKV's raft-engine: entries of Raft groups, in files that are synced after each group of writers.
//!
//! In: records of writers on threads. Out: each an entry of the writer's own group. Never: a write without sync.
//!
//! Any thread may write: the first of those that wait becomes the leader and writes and syncs for all. Files are filled
//! beforehand (`prefill_for_recycle`), as they are in the long run, where purged files are used again: a file written for
//! the first time costs a commit of the file system with each sync.

use raft_engine::{Config, Engine, LogBatch, MessageExt, ReadableSize};
use raft_proto::eraftpb::Entry;

use super::{Failure, Log, Plan, Writer};

const MIB: u64 = 1 << 20;
/// As large as a journal file of ours.
const FILE_BYTES: u64 = 64 * MIB;
/// Files for all that one run writes: small records never fill two, large ones several.
const FILLED_SMALL_BYTES: u64 = 128 * MIB;
const FILLED_LARGE_BYTES: u64 = 640 * MIB;
/// Records of this size and more are large.
const LARGE_BYTES: usize = 16 << 10;

/// How an entry tells its index.
pub struct Entries;

impl MessageExt for Entries {
    type Entry = Entry;

    fn index(entry: &Entry) -> u64 {
        entry.index
    }
}

/// An engine whose files are filled beforehand, for so many bytes at least.
pub fn open_engine(dir: &std::path::Path, filled_bytes: u64) -> Result<Engine, Failure> {
    Ok(Engine::open(Config {
        dir: dir.to_string_lossy().into_owned(),
        target_file_size: ReadableSize(FILE_BYTES),
        // It fills half as much again as this.
        purge_threshold: ReadableSize(filled_bytes),
        prefill_for_recycle: true,
        ..Config::default()
    })?)
}

struct RaftEngine(Engine);

pub(super) fn open(plan: &Plan<'_>) -> Result<Box<dyn Log>, Failure> {
    let filled = if plan.record_bytes < LARGE_BYTES { FILLED_SMALL_BYTES } else { FILLED_LARGE_BYTES };
    Ok(Box::new(RaftEngine(open_engine(&plan.dir.join("data"), filled)?)))
}

impl Log for RaftEngine {
    fn writer(&self, number: usize) -> Result<Box<dyn Writer + '_>, Failure> {
        Ok(Box::new(Group { engine: &self.0, group: 1 + number as u64, index: 1 }))
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        Ok(())
    }
}

struct Group<'a> {
    engine: &'a Engine,
    group: u64,
    index: u64,
}

impl Writer for Group<'_> {
    fn append(&mut self, record: &[u8]) -> Result<(), Failure> {
        let mut entry = Entry::default();
        entry.set_index(self.index);
        entry.set_data(record.to_vec().into());
        let mut batch = LogBatch::default();
        batch.add_entries::<Entries>(self.group, &[entry])?;
        self.engine.write(&mut batch, true)?;
        self.index += 1;
        Ok(())
    }
}
