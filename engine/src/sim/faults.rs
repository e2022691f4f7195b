//! What goes wrong in a world, and when.
//!
//! In: chance. Out: plans for the disk, damage to its files. Never: more than one kind in one world, so that what the
//! engine must do is known. In some worlds room also runs short, which no shard may fail for and nothing be lost by.

use super::world::World;
use crate::io::simulated::{Class, Plan, Trouble};
use crate::limits::SECTOR_BYTES;

/// What a world is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Crashes and power cuts only: everything acknowledged must survive.
    Crashes,
    /// Operations fail: nothing may be acknowledged that did not succeed, and everything acknowledged must survive.
    Errors,
    /// Bytes on the device change, or writes go astray, once: it must be noticed, and no wrong byte be served.
    Rot,
}

impl World {
    pub(super) fn choose_kind(&mut self) -> Kind {
        match self.prng.below(10) {
            0..=3 => Kind::Crashes,
            4..=6 => Kind::Errors,
            _ => Kind::Rot,
        }
    }

    /// Before a start: a power cut or an error that may come in the middle of it.
    pub(super) fn plan_for_start(&mut self) {
        if std::mem::take(&mut self.unsure) {
            // Segments are written again, and not synced yet.
            let countdown = self.prng.between(1..4);
            let (class, file) = (Some(Class::Sync), Some(".seg"));
            self.disk.plan(Plan { class, file, countdown, trouble: Trouble::PowerCut });
        } else if self.kind == Kind::Errors && self.prng.percent(60) {
            self.unsure = true;
            let class = Some(self.prng.one_of(&[Class::Write, Class::Sync]));
            self.plan_failure_of("superblock", class, 4);
        } else if self.prng.percent(35) {
            let countdown = self.prng.between(1..150);
            self.disk.plan(Plan { class: None, file: None, countdown, trouble: Trouble::PowerCut });
        } else if self.kind == Kind::Errors && self.prng.percent(30) {
            self.plan_error(150);
        }
    }

    /// After a start: something for the life that begins.
    pub(super) fn plan_for_life(&mut self) {
        if let Some(prng) = &mut self.shortages {
            let trouble = Trouble::Full { operations: prng.between(1..200) };
            self.disk.plan(Plan { class: None, file: None, countdown: prng.between(1..150), trouble });
        }
        match self.kind {
            Kind::Crashes if self.prng.percent(15) => {
                let countdown = self.prng.between(1..300);
                self.disk.plan(Plan { class: None, file: None, countdown, trouble: Trouble::PowerCut });
            }
            Kind::Errors if self.bulk.as_mut().is_some_and(|chance| chance.percent(30)) => {
                self.plan_failure_of(".seg", Some(Class::Write), 60);
            }
            Kind::Errors if self.prng.percent(20) => self.plan_failure_of(".journal", Some(Class::Write), 60),
            Kind::Errors if self.prng.percent(60) => self.plan_error(250),
            Kind::Rot if self.astray.is_none() && self.prng.percent(25) => {
                let countdown = self.prng.between(1..120);
                let trouble = match self.prng.percent(50) {
                    true => Trouble::Lost,
                    false => Trouble::Misdirected { blocks: self.prng.between(1..6) },
                };
                self.disk.plan(Plan { class: Some(Class::Write), file: None, countdown, trouble });
            }
            _ => {}
        }
    }

    fn plan_failure_of(&mut self, file: &'static str, class: Option<Class>, within: u64) {
        let countdown = self.prng.between(1..within);
        let trouble = Trouble::Fails { errno: libc::EIO, for_good: false };
        self.disk.plan(Plan { class, file: Some(file), countdown, trouble });
    }

    fn plan_error(&mut self, within: u64) {
        let (class, errno) = match self.prng.below(8) {
            0..=1 => (Some(Class::Write), libc::EIO),
            2 => (Some(Class::Write), libc::ENOSPC),
            3..=4 => (Some(Class::Sync), libc::EIO),
            5 => (Some(Class::Name), self.prng.one_of(&[libc::EIO, libc::ENOSPC])),
            6 => (Some(Class::Read), libc::EIO),
            _ => (None, libc::EIO),
        };
        let countdown = match class {
            None | Some(Class::Write) => self.prng.between(1..within),
            _ => self.prng.between(1..within / 4),
        };
        let for_good = self.prng.percent(30);
        self.disk.plan(Plan { class, file: None, countdown, trouble: Trouble::Fails { errno, for_good } });
    }

    /// Changes some bytes at rest; says where.
    pub(super) fn rot(&mut self) -> Option<String> {
        let files = self.disk.files();
        let of = |ends: &str| -> Vec<_> {
            files
                .iter()
                .filter(|(path, length)| *length > 0 && path.to_string_lossy().contains(ends))
                .cloned()
                .collect()
        };
        let (journals, segments, others) = (of(".journal"), of(".seg"), of("state/"));
        let mut choice = match self.prng.below(10) {
            0..=3 => journals,
            4..=7 => segments,
            8 => others,
            _ => of("superblock"),
        };
        choice.retain(|(_, length)| *length > 0);
        if choice.is_empty() {
            return None;
        }
        let (path, _) = choice[self.prng.below(choice.len() as u64) as usize].clone();
        let bytes = self.disk.bytes(&path);
        // Most of a journal file is room that was not used yet.
        let used = bytes.iter().rposition(|byte| *byte != 0)? + 1;
        let at = self.prng.below(used as u64) as usize;
        let sector = at / SECTOR_BYTES * SECTOR_BYTES;
        let what = match self.prng.below(4) {
            0..=1 => {
                let bit = self.prng.below(8);
                self.disk.spoil(&path, |bytes| {
                    bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << bit)
                });
                "a flipped bit"
            }
            2 => {
                self.disk.spoil(&path, |bytes| {
                    bytes.iter_mut().skip(sector).take(SECTOR_BYTES).for_each(|b| *b = 0)
                });
                "a sector of zeros"
            }
            _ => {
                let from = self.prng.below(used as u64) as usize / SECTOR_BYTES * SECTOR_BYTES;
                self.disk.spoil(&path, |bytes| {
                    let end = (from + SECTOR_BYTES).min(bytes.len());
                    let other = bytes.get(from..end).unwrap_or_default().to_vec();
                    bytes.iter_mut().skip(sector).zip(other).for_each(|(to, from)| *to = from);
                });
                "a sector with the bytes of another"
            }
        };
        self.faults += 1;
        Some(format!("{what} in {} at {at}", path.display()))
    }
}
