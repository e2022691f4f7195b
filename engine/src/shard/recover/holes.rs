//! What a start does not find: offsets that are given, and in no run.
//!
//! In: what was found damaged; the runs of every log. Out: holes, each with what is known of it. Never: takes what is
//! missing for what was never there.

use std::ops::Range;
use std::path::Path;

use super::Recovery;
use crate::error::Damage;
use crate::segment;
use crate::types::{LogId, Offset};

/// Something of a log that is damaged, from this offset on.
pub(super) struct Loss {
    pub(super) log: LogId,
    pub(super) offset: Offset,
    pub(super) damage: Damage,
}

impl Recovery<'_> {
    /// Every offset from a log's start to its end must be in a run: what is not is a hole, for its readers to hear of.
    pub(super) fn find_holes(&mut self) {
        for log in self.logs_in_order() {
            let Some(partition) = self.logs.get_mut(&log) else { continue };
            let marks = partition.marks();
            for hole in segment::recover::holes(&partition.segments, marks.start, marks.settled) {
                let known =
                    self.losses.iter().rev().find(|loss| loss.log == log && loss.offset <= hole.start);
                let damage =
                    known.map_or_else(|| gone(&self.config.directory, log), |loss| loss.damage.clone());
                let Range { start, end } = hole;
                let what = format!("{} (offsets {start} to {end} of {log:?})", damage.what);
                partition.holes.push((hole, Damage { what, ..damage }));
            }
            self.report.damage.extend(partition.holes.iter().map(|(_, damage)| damage.clone()));
        }
        let named =
            |loss: &Loss| {
                !self.report.damage.iter().any(|damage| {
                    (&damage.path, damage.position) == (&loss.damage.path, loss.damage.position)
                })
            };
        // A file that was removed before the checkpoint that knows it had synced it may come back, half written, with a power
        // cut. The journal says again why nothing refers to it.
        let is_left = |loss: &&Loss| self.config.disk.exists(&loss.damage.path);
        let unnamed: Vec<Damage> = self
            .losses
            .iter()
            .filter(|loss| named(loss))
            .filter(is_left)
            .map(|loss| loss.damage.clone())
            .collect();
        self.report.damage.extend(unnamed);
    }
}

/// What is said of offsets that nothing else is known of.
fn gone(data: &Path, log: LogId) -> Damage {
    let what = "a segment file is gone, or the part of it that held these records".to_string();
    Damage { path: segment::directory(data, log), position: 0, what }
}
