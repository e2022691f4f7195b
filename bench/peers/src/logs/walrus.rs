//! walrus: topics in blocks of large files.
//!
//! In: records of writers on threads. Out: each an entry of the writer's own topic. Never: a schedule that syncs later.
//!
//! Any thread may append; topics do not wait for each other, so each writer has one.

use walrus_rust::{FsyncSchedule, ReadConsistency, Walrus};

use super::{Failure, Log, Plan, Writer};

struct Topics(Walrus);

pub(super) fn open(plan: &Plan<'_>) -> Result<Box<dyn Log>, Failure> {
    // Where its files are, and that it says nothing on standard output, is told by the environment alone.
    for (name, value) in
        [("WALRUS_DATA_DIR", plan.dir.join("data").into_os_string()), ("WALRUS_QUIET", "1".into())]
    {
        // SAFETY: this process has only its first thread yet.
        unsafe { std::env::set_var(name, value) };
    }
    let schedule = FsyncSchedule::SyncEach;
    let consistency = ReadConsistency::AtLeastOnce { persist_every: 1000 };
    Ok(Box::new(Topics(Walrus::with_consistency_and_schedule(consistency, schedule)?)))
}

impl Log for Topics {
    fn writer(&self, number: usize) -> Result<Box<dyn Writer + '_>, Failure> {
        Ok(Box::new(Topic { walrus: &self.0, name: format!("w{number}") }))
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        Ok(())
    }
}

struct Topic<'a> {
    walrus: &'a Walrus,
    name: String,
}

impl Writer for Topic<'_> {
    fn append(&mut self, record: &[u8]) -> Result<(), Failure> {
        Ok(self.walrus.append_for_topic(&self.name, record)?)
    }
}
