//! Appends that wait for the device, many at a time, and how long each has to.
//!
//! In: a driver, which batch goes to which log. Out: what a window of them came to. Never: lets more wait than it was
//! told.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use ringmain_engine::format::batch::CheckedBatch;
use ringmain_engine::shard::Shard;
use ringmain_engine::types::LogId;

use super::driver::Driver;
use crate::failure::Failure;
use crate::histogram::Latencies;
use crate::interrupt::Interrupt;

/// Appends to be kept in flight.
#[derive(Clone, Copy)]
pub(super) struct Closed {
    /// Appends in flight at a time.
    pub(super) waiting: usize,
    pub(super) time: Duration,
}

/// What appends came to, in one window or several.
pub(super) struct Flight {
    /// When those that are not durable yet were begun, oldest first: they become durable in this order.
    begun: VecDeque<Instant>,
    pub(super) appends: u64,
    pub(super) time: Duration,
    /// Of each append, from the call until it is durable.
    pub(super) commits: Latencies,
    /// A turn, its wait for the device included.
    pub(super) longest_turn: Duration,
    /// A turn without that wait.
    pub(super) longest_work: Duration,
}

impl Flight {
    /// Nothing yet.
    pub(super) fn new() -> Flight {
        Flight {
            begun: VecDeque::new(),
            appends: 0,
            time: Duration::ZERO,
            commits: Latencies::new(),
            longest_turn: Duration::ZERO,
            longest_work: Duration::ZERO,
        }
    }

    /// Keeps appends in flight for as long as `closed` says, then waits for the last ones. `next` names the log and the
    /// batch of each, by the number of appends before it, and may do to the shard what belongs to it.
    pub(super) fn keep(
        &mut self,
        driver: &mut Driver,
        closed: Closed,
        interrupt: &Interrupt,
        mut next: impl FnMut(&mut Shard, u64) -> (LogId, CheckedBatch),
    ) -> Result<(), Failure> {
        driver.take_longest_work();
        let begin = Instant::now();
        let (mut now, mut asked) = (begin, self.appends);
        while now - begin < closed.time {
            interrupt.check()?;
            while self.begun.len() < closed.waiting && !driver.shard().is_full() {
                let (log, batch) = next(driver.shard(), asked);
                driver.append(log, &batch)?;
                self.begun.push_back(now);
                asked += 1;
            }
            now = self.turn(driver)?;
        }
        while !self.begun.is_empty() {
            interrupt.check()?;
            now = self.turn(driver)?;
        }
        // The last ones count, so their time does.
        self.time += now - begin;
        self.longest_work = self.longest_work.max(driver.take_longest_work());
        Ok(())
    }

    fn turn(&mut self, driver: &mut Driver) -> Result<Instant, Failure> {
        let (before, begin) = (driver.appended(), Instant::now());
        driver.turn()?;
        let now = Instant::now();
        self.longest_turn = self.longest_turn.max(now - begin);
        for began in self.begun.drain(..(driver.appended() - before) as usize) {
            self.commits.record(now - began);
            self.appends += 1;
        }
        Ok(now)
    }

    /// Appends that became durable each second.
    pub(super) fn per_second(&self) -> f64 {
        self.appends as f64 / self.time.as_secs_f64().max(1e-9)
    }
}
