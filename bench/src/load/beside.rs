//! Producers with readers beside them: some follow the end of what is produced, some read what is long on the device.
//!
//! In: a load with a rate, readers. Out: the producers' tally alone, and how much was read meanwhile. Never: a second
//! thread on the client's side: it would take the processor away just when an answer comes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::drive::drive;
use super::tally::Tally;
use super::work::{Aim, Load, Place};
use crate::failure::Failure;
use crate::interrupt::Interrupt;

/// Who reads beside the producers.
pub struct Readers<'a> {
    /// Whether each partition that is produced to has a reader that follows it.
    pub following: bool,
    /// What is read again and again from its start, one reader for each of its first partitions.
    pub cold: Option<(&'a Place, u64)>,
}

/// What came of it.
pub struct Beside {
    pub produced: Tally,
    pub followed_bytes: u64,
    pub cold_bytes: u64,
}

impl Place {
    /// Produces at the rate of `load` to a topic nobody else produces to, beside `readers`.
    pub fn produce_beside(
        &mut self,
        load: &Load,
        readers: &Readers<'_>,
        interrupt: &Interrupt,
    ) -> Result<Beside, Failure> {
        let (followed, cold_read) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let run = load.run();
        let mut lanes = Vec::new();
        for number in 0..load.connections {
            let plan = load.rate.map(|rate| (load.plan(rate, number, run.begin), run.end()));
            lanes.push(self.producer(load, number, Aim::Round, plan, None)?);
        }
        for number in 0..if readers.following { load.partitions } else { 0 } {
            lanes.push(self.consumer(load, number, None)?.aside(followed.clone()));
        }
        if let Some((place, count)) = readers.cold {
            for number in 0..count {
                lanes.push(place.consumer(load, number, None)?.aside(cold_read.clone()));
            }
        }
        let produced = drive(lanes, run, interrupt)?;
        let bytes = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Ok(Beside { produced, followed_bytes: bytes(&followed), cold_bytes: bytes(&cold_read) })
    }
}
