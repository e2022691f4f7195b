//! Raft groups on TiKV's raft-engine.
//!
//! In: steps. Out: what it holds. Never: an append without sync; a commit of its own for each group of a batch.

use std::path::Path;

use raft_engine::{Engine, LogBatch};
use raft_proto::eraftpb;

use super::Groups;
use super::plan::{Batch, Entry};
use crate::logs::Failure;
use crate::logs::raft_engine::{Entries, open_engine};

/// For all files of a run; see the appends.
const FILLED_BYTES: u64 = 128 << 20;

struct RaftEngine(Engine);

pub(super) fn open(dir: &Path) -> Result<Box<dyn Groups>, Failure> {
    Ok(Box::new(RaftEngine(open_engine(&dir.join("data"), FILLED_BYTES)?)))
}

impl Groups for RaftEngine {
    /// Entries of an index that is there already take its place and cut off what is behind it.
    fn append(&self, batches: &[Batch]) -> Result<(), Failure> {
        let mut log_batch = LogBatch::default();
        for batch in batches {
            let entries: Vec<eraftpb::Entry> = batch
                .entries
                .iter()
                .map(|(index, bytes)| {
                    let mut entry = eraftpb::Entry::default();
                    entry.set_index(*index);
                    entry.set_data(bytes.clone().into());
                    entry
                })
                .collect();
            log_batch.add_entries::<Entries>(batch.group, &entries)?;
        }
        self.0.write(&mut log_batch, true)?;
        Ok(())
    }

    fn purge(&self, upto: &[(u64, u64)]) -> Result<(), Failure> {
        for (group, first) in upto {
            self.0.compact_to(*group, *first);
        }
        self.0.purge_expired_files()?;
        Ok(())
    }

    fn read(&self, group: u64, from: u64, to: u64) -> Result<Vec<Entry>, Failure> {
        let mut found = Vec::new();
        self.0.fetch_entries_to::<Entries>(group, from, to, None, &mut found)?;
        Ok(found.into_iter().map(|mut entry| (entry.get_index(), entry.take_data().to_vec())).collect())
    }

    fn ends(&self, group: u64) -> Result<(u64, u64), Failure> {
        let first = self.0.first_index(group).unwrap_or(1);
        Ok((first, self.0.last_index(group).map_or(first, |last| last + 1)))
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        Ok(())
    }
}
