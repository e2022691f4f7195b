//! Simulated time, and the operations that are under way in it.
//!
//! In: operations with delays. Out: completions, when their time has come: in any order, as a device has it. Never:
//! waits.

use super::prng::Prng;
use super::trace::Trace;
use crate::io::disk::Disk;
use crate::io::{Completion, Done, Op, Token};
use crate::types::Now;

/// One operation under way.
#[derive(Debug)]
struct UnderWay {
    due_us: u64,
    shard: usize,
    token: Token,
    op: Op,
}

/// The time, and what is under way.
#[derive(Debug, Default)]
pub struct Clock {
    now: Now,
    under_way: Vec<UnderWay>,
    /// Longest delay of an operation.
    delay_us_max: u64,
}

/// What kind an operation is, for the trace.
fn kind(op: &Op) -> u64 {
    match op {
        Op::Read { position, length, .. } => 1 ^ (position << 8) ^ ((*length as u64) << 40),
        Op::Write { position, data, durable, .. } => {
            2 ^ (position << 8) ^ ((data.len() as u64) << 40) ^ (u64::from(*durable) << 4)
        }
        Op::Sync { .. } | Op::SyncAll { .. } => 3,
        Op::Open { .. } => 4,
        Op::MakeDirectory { .. } => 5,
        Op::Rename { .. } => 6,
        Op::Remove { .. } => 7,
        Op::Reserve { length, .. } => 9 ^ (length << 8),
        _ => 8,
    }
}

impl Clock {
    pub fn new(delay_us_max: u64) -> Clock {
        Clock { delay_us_max, ..Clock::default() }
    }

    pub fn now(&self) -> Now {
        self.now
    }

    pub fn advance(&mut self, us: u64) {
        self.now.monotonic_us += us;
    }

    pub fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Begins the operations of a shard.
    pub fn begin(&mut self, shard: usize, wanted: &mut Vec<(Token, Op)>, prng: &mut Prng) {
        for (token, op) in wanted.drain(..) {
            let due_us = self.now.monotonic_us + prng.below(self.delay_us_max);
            self.under_way.push(UnderWay { due_us, shard, token, op });
        }
    }

    /// Does the operation whose time came first.
    pub fn next(&mut self, disk: &Disk, trace: &mut Trace) -> Option<(usize, Completion)> {
        let now = self.now.monotonic_us;
        let due = (0..self.under_way.len()).min_by_key(|index| self.under_way[*index].due_us)?;
        if self.under_way[due].due_us > now {
            return None;
        }
        let UnderWay { shard, token, op, .. } = self.under_way.swap_remove(due);
        trace.note(kind(&op) ^ ((shard as u64) << 60));
        let completion = disk.execute(token, op);
        trace.note(match &completion.result {
            Ok(Done::Read(bytes)) => bytes.len() as u64,
            Ok(_) => 1,
            Err(fault) => 1000 + fault.errno as u64,
        });
        Some((shard, completion))
    }

    /// The process is gone: the kernel goes on with some of what is under way, and none of it is known durable.
    pub fn abandon(self, disk: &Disk, prng: &mut Prng) {
        for UnderWay { token, op, .. } in self.under_way {
            if prng.percent(50) {
                let op = match op {
                    Op::Write { file, position, data, .. } => {
                        Op::Write { file, position, data, durable: false }
                    }
                    Op::Read { .. } => continue,
                    other => other,
                };
                let _ = disk.execute(token, op);
            }
        }
    }
}
