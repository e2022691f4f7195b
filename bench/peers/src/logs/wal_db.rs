//! wal-db: one file that grows.
//!
//! In: records of writers on threads. Out: each a record, synced. Never: an append without its sync.
//!
//! Any thread may append without a lock; threads that sync at the same time share one sync, as its example of concurrent
//! writers does it.

use wal_db::Wal;

use super::{Failure, Log, Plan, Writer};

struct WalDb(Wal);

pub(super) fn open(plan: &Plan<'_>) -> Result<Box<dyn Log>, Failure> {
    Ok(Box::new(WalDb(Wal::open(plan.dir.join("data"))?)))
}

impl Log for WalDb {
    fn writer(&self, _: usize) -> Result<Box<dyn Writer + '_>, Failure> {
        Ok(Box::new(Records(&self.0)))
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        Ok(())
    }
}

struct Records<'a>(&'a Wal);

impl Writer for Records<'_> {
    fn append(&mut self, record: &[u8]) -> Result<(), Failure> {
        let _position = self.0.append_and_sync(record)?;
        Ok(())
    }
}
