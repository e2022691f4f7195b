//! okaywal: entries in files that are taken turns with by checkpoints.
//!
//! In: records of writers on threads. Out: each an entry of one chunk. Never: an entry that is not committed.
//!
//! Any thread may write: an entry holds the file alone while it is written, and threads that commit meanwhile share one sync.
//! Its default file of 1 MiB is for few writes; its documentation says to make files large enough for many entries between
//! two checkpoints. There is nothing to do in a checkpoint here, so it costs only a rename.

use okaywal::{Configuration, LogVoid, WriteAheadLog};

use super::{Failure, Log, Plan, Writer};

/// Bytes of a file, and from how many on it is left for the next: three quarters, as in its defaults.
const FILE_BYTES: u32 = 16 << 20;
const CHECKPOINT_BYTES: u64 = 12 << 20;

struct OkayWal(WriteAheadLog);

pub(super) fn open(plan: &Plan<'_>) -> Result<Box<dyn Log>, Failure> {
    let config = Configuration::default_for(plan.dir.join("data"))
        .preallocate_bytes(FILE_BYTES)
        .checkpoint_after_bytes(CHECKPOINT_BYTES);
    Ok(Box::new(OkayWal(config.open(LogVoid)?)))
}

impl Log for OkayWal {
    fn writer(&self, _: usize) -> Result<Box<dyn Writer + '_>, Failure> {
        Ok(Box::new(Entries(&self.0)))
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        Ok(self.0.shutdown()?)
    }
}

struct Entries<'a>(&'a WriteAheadLog);

impl Writer for Entries<'_> {
    fn append(&mut self, record: &[u8]) -> Result<(), Failure> {
        let mut entry = self.0.begin_entry()?;
        entry.write_chunk(record)?;
        entry.commit()?;
        Ok(())
    }
}
