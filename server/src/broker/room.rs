//! Room on the file system, as the whole process sees it: short anywhere is short everywhere.
//!
//! In: what the engine says of this core, notices of the others. Out: notices, lines for the operator, and whether
//! publishers are to be held. Never: refuses a batch itself; the engine of the log's core does.

use ringmain_engine::shard::Shortage;

use super::Broker;
use super::topology::Notice;

/// Which cores are short of room.
#[derive(Debug, Default)]
pub struct Rooms {
    /// This core, as the others were told.
    mine: bool,
    /// Each core, as it told.
    short: Vec<bool>,
    /// Sessions have not heard of the last change.
    news: bool,
}

impl Rooms {
    /// All cores have room.
    pub fn new(cores: u16) -> Rooms {
        Rooms { mine: false, short: vec![false; usize::from(cores)], news: false }
    }

    fn is_short(&self) -> bool {
        self.short.contains(&true)
    }
}

/// In words.
pub fn explained(shortage: Shortage) -> String {
    match shortage {
        Shortage::BelowMark { free_bytes, min_bytes } => {
            format!(
                "the file system has {free_bytes} bytes left, less than `disk_free_bytes_min` ({min_bytes})"
            )
        }
        Shortage::NoneLeft => {
            "the file system has no room left; what was accepted is safe in the journal".to_string()
        }
    }
}

impl Broker {
    /// Whether new records are refused by any core, so that publishers are better held.
    pub fn is_short_of_room(&self) -> bool {
        self.rooms.is_short()
    }

    /// Whether that has changed since the last call.
    pub fn take_room_news(&mut self) -> bool {
        std::mem::take(&mut self.rooms.news)
    }

    /// Whether the engine says something else than the other cores were told: a turn is due.
    pub(super) fn room_has_changed(&self) -> bool {
        self.shard.shortage().is_some() != self.rooms.mine
    }

    /// Tells the operator and everybody else of a change.
    pub(super) fn note_room(&mut self) {
        if !self.room_has_changed() {
            return;
        }
        let shortage = self.shard.shortage();
        self.rooms.mine = shortage.is_some();
        self.log_lines.push(match shortage {
            Some(shortage) => format!(
                "new records are refused: {}. Reading goes on. Delete topics, purge or consume queues, shorten \
                 retention, or give the file system more room; writing then goes on by itself",
                explained(shortage)
            ),
            None => "there is room again: new records are accepted".to_string(),
        });
        let (core, short) = (self.core, shortage.is_some());
        for other in (0..self.settings.cores).filter(|other| *other != self.core) {
            self.notices.push((other, Notice::Room { core, short }));
        }
        self.room_noticed(core, short);
    }

    /// A core, perhaps this one, has or has no room.
    pub(super) fn room_noticed(&mut self, core: u16, short: bool) {
        let before = self.rooms.is_short();
        if let Some(known) = self.rooms.short.get_mut(usize::from(core)) {
            *known = short;
        }
        self.rooms.news |= before != self.rooms.is_short();
    }
}
