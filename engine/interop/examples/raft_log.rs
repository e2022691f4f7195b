//! openraft's log store on Ringmain's engine: entries in one log, vote and marks in another, each durable when
//! openraft is told so. It passes openraft's own suite for log stores, in `tests/raft_log.rs`.
//!
//! `cargo run -p ringmain-interop --example raft_log -- DIRECTORY`

use std::fmt::Debug;
use std::io::Cursor;
use std::ops::{Bound, RangeBounds};

use openraft::storage::{LogFlushed, LogState, RaftLogStorage};
use openraft::{Entry, LogId, OptionalSend, RaftLogReader, StorageError, StorageIOError, Vote};
use ringmain_engine::embed::{Config, Engine, EngineError, Log};
use ringmain_engine::types;

openraft::declare_raft_types!(pub TypeConfig: D = String, R = ());
type Failure = StorageError<u64>;
const READ_BYTES: usize = 1 << 20;

/// What is not an entry. Small, and written whole each time.
#[derive(Clone, Default, serde::Serialize, serde::Deserialize)]
struct Marks {
    vote: Option<Vote<u64>>,
    purged: Option<LogId<u64>>,
    /// Index of the entry at offset 0: a Raft log may begin anywhere.
    shift: i64,
}

/// Entries at their index less `shift`; the last record of `marks_log` holds the marks.
#[derive(Clone)]
pub struct RaftLog {
    entries: Log,
    marks_log: Log,
    marks: Marks,
}

fn failure(error: impl std::error::Error + 'static) -> Failure {
    StorageIOError::write_logs(openraft::AnyError::new(&error)).into()
}

impl RaftLog {
    /// Opens what the last run left.
    pub async fn open(engine: &Engine) -> Result<RaftLog, Failure> {
        let entries = engine.log(types::LogId(1)).await.map_err(failure)?;
        let marks_log = engine.log(types::LogId(2)).await.map_err(failure)?;
        let bounds = marks_log.bounds().await.map_err(failure)?;
        let last = bounds.end.saturating_sub(1).max(bounds.start);
        let read = marks_log.read(last, READ_BYTES).await.map_err(failure)?;
        let value = read.records().last().and_then(|(_, record)| record.value);
        let marks = value.map_or(Ok(Marks::default()), |value| serde_json::from_slice(&value));
        Ok(RaftLog { entries, marks_log, marks: marks.map_err(failure)? })
    }

    async fn save(&mut self) -> Result<(), Failure> {
        let bytes = serde_json::to_vec(&self.marks).map_err(failure)?;
        let saved = self.marks_log.append_values(&[&bytes]).map_err(failure)?.await.map_err(failure)?;
        self.marks_log.trim_before(saved.base_offset).await.map_err(failure)
    }

    fn offset(&self, index: u64) -> u64 {
        (index as i64).saturating_sub(self.marks.shift).max(0) as u64
    }

    /// The entries from offset `from`, as many as one read gives, and the offset behind them.
    async fn read(&self, from: u64) -> Result<(Vec<Entry<TypeConfig>>, Option<u64>), Failure> {
        let read = match self.entries.read(from, READ_BYTES).await {
            Err(EngineError::OutOfRange { .. }) => return Ok((Vec::new(), None)),
            read => read.map_err(failure)?,
        };
        let values =
            read.records().filter(|(offset, _)| *offset >= from).filter_map(|(_, record)| record.value);
        let entries = values.map(|value| serde_json::from_slice(&value)).collect::<Result<_, _>>();
        Ok((entries.map_err(failure)?, read.next_offset()))
    }
}

impl RaftLogReader<TypeConfig> for RaftLog {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry<TypeConfig>>, Failure> {
        let first = match range.start_bound() {
            Bound::Included(first) => *first,
            Bound::Excluded(before) => before + 1,
            Bound::Unbounded => 0,
        };
        let start = self.entries.bounds().await.map_err(failure)?.start;
        let (mut found, mut next) = (Vec::new(), Some(self.offset(first).max(start)));
        while let Some(from) = next {
            let (entries, behind) = self.read(from).await?;
            next = behind.filter(|_| entries.iter().all(|entry| range.contains(&entry.log_id.index)));
            found.extend(entries.into_iter().filter(|entry| range.contains(&entry.log_id.index)));
        }
        Ok(found)
    }
}

impl RaftLogStorage<TypeConfig> for RaftLog {
    type LogReader = RaftLog;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, Failure> {
        let bounds = self.entries.bounds().await.map_err(failure)?;
        let mut last_log_id = self.marks.purged;
        if bounds.end > bounds.start {
            last_log_id = self.read(bounds.end - 1).await?.0.last().map(|entry| entry.log_id);
        }
        Ok(LogState { last_purged_log_id: self.marks.purged, last_log_id })
    }

    async fn get_log_reader(&mut self) -> RaftLog {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<u64>) -> Result<(), Failure> {
        self.marks.vote = Some(*vote);
        self.save().await
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<u64>>, Failure> {
        Ok(self.marks.vote)
    }

    async fn append<I>(&mut self, entries: I, flushed: LogFlushed<TypeConfig>) -> Result<(), Failure>
    where
        I: IntoIterator<Item = Entry<TypeConfig>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut acks = Vec::new();
        let bounds = self.entries.bounds().await.map_err(failure)?;
        let mut empty = bounds.start == bounds.end;
        for entry in entries {
            let shift = entry.log_id.index as i64 - bounds.end as i64;
            if std::mem::take(&mut empty) && shift != self.marks.shift {
                self.marks.shift = shift;
                self.save().await?;
            }
            let bytes = serde_json::to_vec(&entry).map_err(failure)?;
            acks.push(self.entries.append_values(&[&bytes]).map_err(failure)?);
        }
        for ack in acks {
            ack.await.map_err(failure)?; // readable from here on, as openraft asks
        }
        flushed.log_io_completed(Ok(()));
        Ok(())
    }

    async fn truncate(&mut self, since: LogId<u64>) -> Result<(), Failure> {
        let start = self.entries.bounds().await.map_err(failure)?.start;
        self.entries.truncate_after(self.offset(since.index).max(start)).await.map_err(failure)
    }

    async fn purge(&mut self, upto: LogId<u64>) -> Result<(), Failure> {
        self.marks.purged = Some(upto);
        self.save().await?;
        self.entries.trim_before(self.offset(upto.index + 1)).await.map_err(failure)
    }
}

#[allow(dead_code, reason = "the test takes this file as a module")]
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let engine = Engine::open(std::env::args().nth(1).unwrap_or("raft-data".into()), Config::default())?;
    println!("{:?}", RaftLog::open(&engine).await?.get_log_state().await?);
    Ok(engine.close()?)
}
