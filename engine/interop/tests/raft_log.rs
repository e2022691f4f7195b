//! openraft's own suite for storages, over the example log store and the simplest state machine it accepts.
//!
//! In: `examples/raft_log.rs`. Out: the suite's verdict. Never: tests of our own making.

use std::io::Cursor;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use openraft::storage::RaftStateMachine;
use openraft::testing::{StoreBuilder, Suite};
use openraft::{
    BasicNode, Entry, EntryPayload, LogId, OptionalSend, RaftSnapshotBuilder, Snapshot, SnapshotMeta,
    StorageError, StoredMembership,
};
use ringmain_engine::embed::{Config, Engine};

#[path = "../examples/raft_log.rs"]
mod raft_log;

use raft_log::{RaftLog, TypeConfig};

type Failure = StorageError<u64>;

/// Applies nothing, but knows what it was given last.
#[derive(Clone, Default)]
struct Applied {
    last: Option<LogId<u64>>,
    membership: StoredMembership<u64, BasicNode>,
    /// The last one, which its builder makes and this shows.
    snapshot: Arc<Mutex<Option<SnapshotMeta<u64, BasicNode>>>>,
}

impl RaftSnapshotBuilder<TypeConfig> for Applied {
    async fn build_snapshot(&mut self) -> Result<Snapshot<TypeConfig>, Failure> {
        let meta = SnapshotMeta {
            last_log_id: self.last,
            last_membership: self.membership.clone(),
            snapshot_id: format!("{:?}", self.last),
        };
        *self.snapshot.lock().unwrap() = Some(meta.clone());
        Ok(Snapshot { meta, snapshot: Box::new(Cursor::new(Vec::new())) })
    }
}

impl RaftStateMachine<TypeConfig> for Applied {
    type SnapshotBuilder = Applied;

    async fn applied_state(
        &mut self,
    ) -> Result<(Option<LogId<u64>>, StoredMembership<u64, BasicNode>), Failure> {
        Ok((self.last, self.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<()>, Failure>
    where
        I: IntoIterator<Item = Entry<TypeConfig>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut answers = Vec::new();
        for entry in entries {
            self.last = Some(entry.log_id);
            if let EntryPayload::Membership(membership) = entry.payload {
                self.membership = StoredMembership::new(Some(entry.log_id), membership);
            }
            answers.push(());
        }
        Ok(answers)
    }

    async fn get_snapshot_builder(&mut self) -> Applied {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, Failure> {
        Ok(Box::new(Cursor::new(Vec::new())))
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta<u64, BasicNode>,
        _: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), Failure> {
        self.last = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        *self.snapshot.lock().unwrap() = Some(meta.clone());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<TypeConfig>>, Failure> {
        let meta = self.snapshot.lock().unwrap().clone();
        Ok(meta.map(|meta| Snapshot { meta, snapshot: Box::new(Cursor::new(Vec::new())) }))
    }
}

/// A directory and its engine, gone when a test of the suite is over.
struct Place {
    directory: PathBuf,
    engine: Option<Engine>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let closed = self.engine.take().map(Engine::close);
        let _ = std::fs::remove_dir_all(&self.directory);
        assert!(closed.is_none_or(|closed| closed.is_ok()));
    }
}

#[derive(Default)]
struct Builder(AtomicU32);

impl StoreBuilder<TypeConfig, RaftLog, Applied, Place> for Builder {
    async fn build(&self) -> Result<(Place, RaftLog, Applied), Failure> {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        let name = format!("ringmain-openraft-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&directory);
        let config = Config { journal_file_bytes: 2 << 20, memory_bytes: 4 << 20, ..Config::default() };
        let engine = Engine::open(&directory, config).unwrap();
        let log = RaftLog::open(&engine).await?;
        Ok((Place { directory, engine: Some(engine) }, log, Applied::default()))
    }
}

#[test]
fn it_passes_the_suite_of_openraft() {
    let builder = Builder::default();
    Suite::test_store(&builder).unwrap();
    assert!(builder.0.load(Ordering::Relaxed) > 30, "the suite made a store for each of its tests");
}
