//! Sizes of the values of a queue's records, so that a queue limited in bytes knows what it holds.
//!
//! Four bytes per record between the floor and the end, and only for queues with such a limit, which is also
//! what keeps that span short. In: sizes in offset order. Out: the sum over the ready ones.

use std::collections::VecDeque;
use std::ops::Range;

use ringmain_engine::types::Offset;

/// Sizes of the offsets `start..start + sizes.len()`. `ready_bytes` is the sum over those that are ready.
#[derive(Debug)]
pub struct Sizes {
    start: Offset,
    sizes: VecDeque<u32>,
    ready_bytes: u64,
}

impl Sizes {
    /// No size is known; the first will be that of `start`.
    pub fn new(start: Offset) -> Sizes {
        Sizes { start, sizes: VecDeque::new(), ready_bytes: 0 }
    }

    /// The first offset whose size is not known.
    pub fn end(&self) -> Offset {
        self.start + self.sizes.len() as u64
    }

    /// Sum of the sizes of ready records.
    pub fn ready_bytes(&self) -> u64 {
        self.ready_bytes
    }

    /// The size of the record at [`Sizes::end`].
    pub fn push(&mut self, bytes: u32, ready: bool) {
        self.sizes.push_back(bytes);
        if ready {
            self.ready_bytes += u64::from(bytes);
        }
    }

    /// A record became ready.
    pub fn enter(&mut self, offset: Offset) {
        self.ready_bytes += self.size(offset);
    }

    /// Those records of `range` for which `was_ready` holds are ready no longer.
    pub fn leave(&mut self, range: Range<Offset>, was_ready: impl Fn(Offset) -> bool) {
        for offset in range.start.max(self.start)..range.end.min(self.end()) {
            if was_ready(offset) {
                self.ready_bytes -= self.size(offset);
            }
        }
    }

    /// Nobody asks for sizes below `floor` any more.
    pub fn forget_below(&mut self, floor: Offset) {
        let gone = floor.saturating_sub(self.start).min(self.sizes.len() as u64);
        self.sizes.drain(..gone as usize);
        self.start = self.start.max(floor);
    }

    fn size(&self, offset: Offset) -> u64 {
        let index = offset.checked_sub(self.start).and_then(|index| usize::try_from(index).ok());
        index.and_then(|index| self.sizes.get(index)).map_or(0, |bytes| u64::from(*bytes))
    }
}
