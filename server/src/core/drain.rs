//! Stopping in order: no more input, what is in flight finished, sessions closed, journals sealed.
//!
//! ```text
//!   running ─signal─> finishing ─(quiet, or time over)─> closed ─(quiet)─> drained ─(all are)─> stopped
//! ```
//!
//! The first core hears from every other that it is drained, and tells all to stop: until then each keeps
//! answering the others' mail.

use ringmain_engine::types::Now;

use super::Core;
use super::mail::Mail;

/// What is in flight may take so long to finish.
const FINISH_WITHIN_US: u64 = 3_000_000;
/// How often a core that stops looks whether it may go on.
const LOOK_EVERY_US: u64 = 10_000;

/// How far the end has come.
#[derive(Debug, Default)]
pub struct Drain {
    phase: Phase,
    look_at_us: Option<u64>,
    /// On the first core: cores that are drained.
    drained: u16,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Running,
    Finishing {
        until_us: u64,
    },
    Closed,
    Drained,
    Stopped,
    Finished,
}

impl Drain {
    /// Whether input is no longer taken.
    pub fn has_begun(&self) -> bool {
        self.phase != Phase::Running
    }

    /// Whether the thread may end.
    pub fn is_finished(&self) -> bool {
        self.phase == Phase::Finished
    }

    /// When to look again.
    pub fn deadline_us(&self) -> Option<u64> {
        self.look_at_us
    }

    /// Another core is drained.
    pub fn count_drained(&mut self) {
        self.drained += 1;
    }

    /// All are.
    pub fn stop(&mut self) {
        self.phase = Phase::Stopped;
    }
}

impl Core {
    pub(super) fn begin_drain(&mut self, now: Now) {
        if !self.drain.has_begun() {
            self.listeners.close();
            self.drain.phase = Phase::Finishing { until_us: now.monotonic_us + FINISH_WITHIN_US };
        }
    }

    /// Goes on with stopping, if that has begun.
    pub(super) fn drain(&mut self, now: Now) {
        if !self.drain.has_begun() {
            return;
        }
        self.drain.look_at_us = Some(now.monotonic_us + LOOK_EVERY_US);
        self.broker.shard().hasten_seal();
        let quiet = self.broker.shard().is_quiet() && !self.post.is_waiting();
        match self.drain.phase {
            Phase::Finishing { until_us }
                if (quiet && self.connections.are_drained()) || now.monotonic_us >= until_us =>
            {
                for id in self.connections.ids() {
                    self.lost(id, now);
                }
                self.work(now);
                self.drain.phase = Phase::Closed;
            }
            Phase::Closed if quiet => {
                self.drain.phase = Phase::Drained;
                if self.index == 0 {
                    self.drain.drained += 1;
                } else {
                    self.post.send(0, Mail::Drained);
                }
            }
            // Quiet: changes the others asked for before they drained are durable and told to them, so that no
            // letter is left for a core that no longer reads.
            Phase::Drained if quiet && self.index == 0 && self.drain.drained == self.cores => {
                for core in 1..self.cores {
                    self.post.send(core, Mail::Stop);
                }
                self.drain.phase = Phase::Stopped;
            }
            // Letters to cores that may have ended before are not waited for; the first core's hold the stop itself.
            Phase::Stopped if quiet || (self.index != 0 && self.broker.shard().is_quiet()) => {
                self.drain.phase = Phase::Finished;
            }
            _ => {}
        }
    }
}
