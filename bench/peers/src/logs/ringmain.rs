//! Ringmain's own engine as a library: one shard on a thread of its own, its default settings.
//!
//! In: records of writers on threads. Out: acknowledgements that each writer waits for. Never: anything that a program which
//! embeds the engine could not do.

use ringmain_engine::embed::{self, Config, Engine};
use ringmain_engine::types::LogId;

use super::{Failure, Log, Plan, Writer};

struct Ringmain {
    engine: Engine,
    /// Whether all writers append to the same log.
    one: bool,
}

pub(super) fn open(plan: &Plan<'_>) -> Result<Box<dyn Log>, Failure> {
    Ok(Box::new(Ringmain { engine: Engine::open(plan.dir.join("data"), Config::default())?, one: false }))
}

pub(super) fn open_one(plan: &Plan<'_>) -> Result<Box<dyn Log>, Failure> {
    Ok(Box::new(Ringmain { engine: Engine::open(plan.dir.join("data"), Config::default())?, one: true }))
}

impl Log for Ringmain {
    fn writer(&self, number: usize) -> Result<Box<dyn Writer + '_>, Failure> {
        let id = if self.one { 1 } else { 1 + number as u64 };
        Ok(Box::new(Appender(self.engine.log(LogId(id)).wait()?)))
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        Ok(self.engine.close()?)
    }
}

struct Appender(embed::Log);

impl Writer for Appender {
    fn append(&mut self, record: &[u8]) -> Result<(), Failure> {
        self.0.append_values_waiting(&[record])?;
        Ok(())
    }
}
