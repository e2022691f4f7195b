//! Room on the file system: who waits for it, and what is refused meanwhile.
//!
//! In: operations that found no room; how much is left, as often as [`LOOK_FOR_ROOM_US`]. Out: whether a batch is
//! taken, and when what waits is tried again. Never: gives up what was accepted: it stays in the journal, whose
//! blocks exist, and in memory, until there is room for its segment.
//!
//! ```text
//!             room below the mark, or an operation found none
//!   enough ─────────────────────────────────────────────────────> short: appends are refused;
//!     ^                                                               reads, trims and deletions go on
//!     └── what waited has found room, and the mark is kept ──────────┘
//! ```

use super::{Shard, Work};
use crate::io::{Done, Fault, Op};
use crate::limits::{LOOK_FOR_ROOM_US, RESERVED_PART, ROOM_AGAIN_US};
use crate::types::Now;

/// What a batch is appended for, which says how long it is still taken when room runs short.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// New records: refused as soon as room is short.
    Records,
    /// The owner's own state, which says what is no longer needed: never refused for room, because it leads to more.
    /// An owner that writes much of it stops when [`Shard::is_pressed`].
    State,
}

/// Why appends are refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shortage {
    /// The file system has less room left than [`Sizes::free_bytes_min`](crate::limits::Sizes).
    BelowMark {
        /// What it has left.
        free_bytes: u64,
        /// What it must have.
        min_bytes: u64,
    },
    /// A segment, a checkpoint or a journal file found no room. What it holds waits in journal and memory.
    NoneLeft,
}

/// What may find no room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wanting {
    Segment,
    Checkpoint,
    JournalFile,
}

const WANTING: usize = 3;

/// What is known of the room.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// By [`Wanting`]: found none, and has not found any since.
    waiting: [bool; WANTING],
    /// Nothing that takes room is begun until then; the time is set by the first turn that sees it.
    held: bool,
    again_at_us: Option<u64>,
    free_bytes: Option<u64>,
    looking: bool,
    look_at_us: u64,
    appended_at_look: u64,
    /// The file system reserves nothing, so it is not asked again.
    cannot_reserve: bool,
    /// It had no room to reserve when it was tried last, so it is not asked before the next look.
    found_no_room: bool,
    /// Somebody would have room reserved, so it must be known how much there is.
    is_asked: bool,
}

impl Room {
    /// Something found no room: all of its kind waits.
    pub(super) fn found_none(&mut self, wanting: Wanting) {
        self.waiting[wanting as usize] = true;
        self.held = true;
    }

    /// It has found room, or needs none any more.
    pub(super) fn found(&mut self, wanting: Wanting) {
        self.waiting[wanting as usize] = false;
    }

    /// Whether nothing that takes room may begin now.
    pub(super) fn is_held(&self) -> bool {
        self.held
    }

    /// Lets a segment of so many bytes be reserved, if that is little of what is left to each of `shards`. They are counted as taken until
    /// it is looked again.
    pub(super) fn may_reserve(&mut self, bytes: u64, shards: u64) -> bool {
        self.is_asked = true;
        let barred = self.cannot_reserve || self.found_no_room || self.is_waiting();
        let Some(free_bytes) = self.free_bytes.as_mut().filter(|_| !barred) else { return false };
        let may = bytes <= *free_bytes / RESERVED_PART / shards;
        if may {
            *free_bytes -= bytes;
        }
        may
    }

    /// A segment could not be reserved. For want of room: none is before the next look. For any other reason: none ever is.
    pub(super) fn reserved_none(&mut self, fault: Fault) {
        self.found_no_room = true;
        self.cannot_reserve |= !fault.is_no_space();
    }

    fn is_waiting(&self) -> bool {
        self.waiting.contains(&true)
    }

    fn shortage(&self, min_bytes: u64) -> Option<Shortage> {
        if self.is_waiting() {
            return Some(Shortage::NoneLeft);
        }
        let free_bytes = self.free_bytes.filter(|free| *free < min_bytes)?;
        Some(Shortage::BelowMark { free_bytes, min_bytes })
    }
}

impl Shard {
    /// Why appends are refused now; `None`: they are not.
    pub fn shortage(&self) -> Option<Shortage> {
        self.room.shortage(self.place.sizes.free_bytes_min)
    }

    /// Whether room is short and the journal has little of it left too: when that is full, nothing goes on until the
    /// file system has room.
    pub fn is_pressed(&self) -> bool {
        let (left, all) = self.journal.room();
        self.shortage().is_some() && left < all / 4
    }

    /// Bytes that the file system had left when it was asked last.
    pub fn free_bytes(&self) -> Option<u64> {
        self.room.free_bytes
    }

    /// At each turn: lets what waited try again when it is time, and looks how much room is left.
    pub(super) fn drive_room(&mut self, now: Now) {
        if self.settler.is_idle() && self.unready.is_empty() {
            self.room.found(Wanting::Segment);
        }
        if !self.journal.files().needs_another() {
            self.room.found(Wanting::JournalFile);
        }
        if self.room.held {
            let at = *self.room.again_at_us.get_or_insert(now.monotonic_us + ROOM_AGAIN_US);
            if at <= now.monotonic_us {
                self.room.held = false;
                self.room.again_at_us = None;
            }
        }
        let min_bytes = self.place.sizes.free_bytes_min;
        let appended = self.counts.appended_bytes;
        let changes = self.room.free_bytes.is_none_or(|free| free < min_bytes)
            || self.room.appended_at_look != appended
            || self.room.is_waiting();
        if (min_bytes > 0 || self.room.is_asked)
            && !self.room.looking
            && changes
            && self.room.look_at_us <= now.monotonic_us
        {
            self.room.looking = true;
            self.room.look_at_us = now.monotonic_us + LOOK_FOR_ROOM_US;
            self.room.appended_at_look = appended;
            self.want(Work::Room, Op::FreeSpace { path: self.place.directory.clone() });
        }
    }

    /// The answer to a look. A file system that does not say has enough.
    pub(super) fn looked_for_room(&mut self, result: Result<Done, Fault>) {
        self.room.looking = false;
        self.room.found_no_room = false;
        self.room.free_bytes = Some(match result {
            Ok(Done::FreeSpace(bytes)) => bytes,
            _ => u64::MAX,
        });
        if matches!(self.shortage(), Some(Shortage::BelowMark { .. })) {
            self.release_spares();
            self.release_reserved();
        }
    }

    /// When room is looked for again though nothing else happens.
    pub(super) fn next_room_us(&self) -> Option<u64> {
        let low = matches!(self.shortage(), Some(Shortage::BelowMark { .. }));
        let look = (low && !self.room.looking).then_some(self.room.look_at_us);
        self.room.again_at_us.into_iter().chain(look).min()
    }
}
