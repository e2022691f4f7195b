//! The shared cursor: which records of a queue are ready, who holds which, and which are done with.
//!
//! Only offsets; records never come here. In: holds, settlements, requeues, the end of the log. Out: the next
//! offset to deliver, and what changed ([`Changes`]) so that it can be made durable. Never: decides who gets a
//! record.
//!
//! ```text
//!            floor                      next_unread            durable_end
//!   settled    |  settled | held | returned  |   ready, or settled   |
//!   -----------+-----------------------------+-----------------------+
//! ```
//!
//! An offset between floor and end is in exactly one of: settled, held, ready. Ready ones below `next_unread`
//! are in `returned` and are served first, lowest first, so every record goes back to its own place.

use std::collections::BTreeMap;
use std::ops::Range;

use ringmain_engine::types::Offset;

use super::ranges::RangeSet;
use super::settled::Settled;
use super::sizes::Sizes;
use super::state::{Changes, Fact};
use crate::broker::command::SessionId;

/// Who holds a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Holder {
    pub session: SessionId,
    /// Serial of the consumer it was delivered to; 0: it was got without one.
    pub consumer: u32,
}

/// The next record to serve.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    pub offset: Offset,
    /// It was held before and came back.
    pub returned: bool,
}

/// The state. `floor <= next_unread <= durable_end`; nothing is held or returned at `next_unread` or above.
#[derive(Debug)]
pub struct Subscription {
    settled: Settled,
    held: BTreeMap<Offset, Holder>,
    returned: RangeSet,
    next_unread: Offset,
    durable_end: Offset,
    /// Below this a record may have been delivered before the last start.
    redelivered_below: Offset,
    /// How often a record came back, for those that did and if it matters.
    returns: BTreeMap<Offset, u32>,
    counts_returns: bool,
    sizes: Option<Sizes>,
    changes: Changes,
}

impl Subscription {
    /// Nothing settled, nothing held. Returns are only counted, and sizes only kept, for those who need them.
    pub fn new(
        log_start: Offset,
        durable_end: Offset,
        counts_returns: bool,
        keeps_sizes: bool,
    ) -> Subscription {
        assert!(log_start <= durable_end, "a log starts before it ends");
        Subscription {
            settled: Settled::new(log_start),
            held: BTreeMap::new(),
            returned: RangeSet::default(),
            next_unread: log_start,
            durable_end,
            redelivered_below: log_start,
            returns: BTreeMap::new(),
            counts_returns,
            sizes: keeps_sizes.then(|| Sizes::new(log_start)),
            changes: Changes::default(),
        }
    }

    /// Takes one fact of the past. What lies beyond the end of the log is not believed: those records did not
    /// survive, and others will have their offsets.
    pub fn restore(&mut self, fact: Fact) {
        assert!(self.held.is_empty() && self.returned.is_empty(), "the past comes before the first delivery");
        match fact {
            Fact::Settled(range) => {
                self.settled.insert(range.start..range.end.min(self.durable_end));
                self.next_unread = self.settled.floor();
            }
            Fact::DeliveredBelow(end) => {
                self.redelivered_below = self.redelivered_below.max(end.min(self.durable_end));
            }
            Fact::Returned { offset, count } if self.counts_returns && offset < self.durable_end => {
                self.returns.insert(offset, count);
            }
            Fact::Returned { .. } => {}
        }
    }

    /// The past is complete.
    pub fn restored(&mut self) {
        let settled = &self.settled;
        self.returns.retain(|offset, _| !settled.contains(*offset));
        self.changes.delivered_below = self.redelivered_below;
        self.forget_sizes();
        self.check();
    }

    /// The first offset that is not settled.
    pub fn floor(&self) -> Offset {
        self.settled.floor()
    }

    /// What is settled beyond the floor.
    pub fn settled_above_floor(&self) -> &RangeSet {
        self.settled.above()
    }

    /// The end of what is readable.
    pub fn durable_end(&self) -> Offset {
        self.durable_end
    }

    /// What is settled.
    pub fn settled(&self) -> &Settled {
        &self.settled
    }

    /// How often records came back.
    pub fn returns(&self) -> &BTreeMap<Offset, u32> {
        &self.returns
    }

    /// Everything below this was delivered, or may have been before the last start.
    pub fn delivered_below(&self) -> Offset {
        self.next_unread.max(self.redelivered_below)
    }

    /// Records that could be delivered now.
    pub fn ready_count(&self) -> u64 {
        self.durable_end - self.settled.floor() - self.settled.above().count() - self.held.len() as u64
    }

    /// Bytes of values of ready records, if sizes are kept.
    pub fn ready_bytes(&self) -> u64 {
        self.sizes.as_ref().map_or(0, Sizes::ready_bytes)
    }

    /// Records somebody holds.
    pub fn held_count(&self) -> u64 {
        self.held.len() as u64
    }

    /// The offsets in `range` that `session` holds.
    pub fn held_by(&self, session: SessionId, range: Range<Offset>) -> Vec<(Offset, Holder)> {
        if range.is_empty() {
            return Vec::new();
        }
        let held = self.held.range(range).filter(|(_, holder)| holder.session == session);
        held.map(|(offset, holder)| (*offset, *holder)).collect()
    }

    /// The lowest ready offset.
    pub fn head(&self) -> Option<Head> {
        if let Some(offset) = self.returned.first() {
            return Some(Head { offset, returned: true });
        }
        let offset = self.settled.next_open(self.next_unread);
        (offset < self.durable_end).then_some(Head { offset, returned: false })
    }

    /// Whether a delivery of `head` is, or may be, not its first.
    pub fn is_redelivery(&self, head: Head) -> bool {
        head.returned || head.offset < self.redelivered_below
    }

    /// The log reaches further now.
    pub fn extend(&mut self, durable_end: Offset) {
        assert!(durable_end >= self.durable_end, "what is durable stays so");
        self.durable_end = durable_end;
    }

    /// Gives the head to somebody.
    pub fn hold(&mut self, head: Head, holder: Holder) {
        self.leave_ready(head);
        assert!(self.held.insert(head.offset, holder).is_none(), "two holders of {}", head.offset);
    }

    /// Settles the head without anybody holding it.
    pub fn settle_head(&mut self, head: Head) {
        self.leave_ready(head);
        self.settle(head.offset..head.offset + 1);
    }

    /// Settles everything in `range` that is ready; says how many those were.
    pub fn settle_ready(&mut self, range: Range<Offset>) -> u64 {
        let range = range.start.max(self.settled.floor())..range.end.min(self.durable_end);
        if range.is_empty() {
            return 0;
        }
        let held: Vec<Offset> = self.held.range(range.clone()).map(|(offset, _)| *offset).collect();
        let mut count = 0;
        let mut start = range.start;
        for end in held.into_iter().chain([range.end]) {
            if let Some(sizes) = &mut self.sizes {
                let settled = &self.settled;
                sizes.leave(start..end, |offset| !settled.contains(offset));
            }
            self.returned.remove(start..end);
            count += self.settle(start..end);
            start = end + 1;
        }
        if range.start <= self.settled.next_open(self.next_unread) {
            self.next_unread = self.next_unread.max(range.end);
        }
        self.check();
        count
    }

    /// Settles a record somebody holds.
    pub fn settle_held(&mut self, offset: Offset) {
        assert!(self.held.remove(&offset).is_some(), "{offset} is settled and nobody holds it");
        self.settle(offset..offset + 1);
    }

    /// Passes a held record on to another holder.
    pub fn pass_on(&mut self, offset: Offset, holder: Holder) {
        assert!(self.held.insert(offset, holder).is_some(), "{offset} is passed on and nobody holds it");
    }

    /// Puts a held record back in its place; says how often that happened to it so far.
    pub fn give_back(&mut self, offset: Offset) -> u32 {
        assert!(self.held.remove(&offset).is_some(), "{offset} comes back and nobody held it");
        self.returned.insert(offset..offset + 1);
        if let Some(sizes) = &mut self.sizes {
            sizes.enter(offset);
        }
        if !self.counts_returns {
            return 1;
        }
        let count = self.returns.entry(offset).or_insert(0);
        *count = count.saturating_add(1);
        self.changes.returned.insert(offset, *count);
        *count
    }

    /// How often a record came back so far.
    pub fn returns_of(&self, offset: Offset) -> u32 {
        self.returns.get(&offset).copied().unwrap_or(0)
    }

    /// From where on the sizes of records are not known yet, if that matters.
    pub fn unmeasured(&self) -> Option<Offset> {
        let end = self.sizes.as_ref()?.end();
        (end < self.durable_end).then_some(end)
    }

    /// The sizes of the values from the unmeasured offset on; 0 where there is no record.
    pub fn measure(&mut self, first: Offset, bytes: impl Iterator<Item = u32>) {
        let Some(sizes) = &mut self.sizes else { return };
        for (offset, bytes) in (first..self.durable_end).zip(bytes) {
            if offset == sizes.end() {
                let ready = !self.settled.contains(offset) && !self.held.contains_key(&offset);
                sizes.push(bytes, ready);
            }
        }
        self.forget_sizes();
    }

    /// What changed since the last time, to be made durable; `None` if nothing did.
    pub fn take_changes(&mut self) -> Option<Changes> {
        // What is below the floor is settled, and that says more than that it was delivered.
        let delivered_below = self.delivered_below();
        let delivered = delivered_below > self.changes.delivered_below && self.floor() < delivered_below;
        if !delivered && self.changes.is_empty() {
            return None;
        }
        if delivered {
            self.changes.delivered_below = delivered_below;
        }
        let next = Changes { delivered_below: self.changes.delivered_below, ..Changes::default() };
        let mut changes = std::mem::replace(&mut self.changes, next);
        changes.delivered = delivered;
        Some(changes)
    }

    /// Panics unless the state's inequalities hold.
    pub fn check(&self) {
        assert!(self.settled.floor() <= self.next_unread, "the floor is above the cursor");
        assert!(self.next_unread <= self.durable_end, "the cursor is beyond the end");
        if let Some((last, _)) = self.held.last_key_value() {
            assert!(*last < self.next_unread, "a record that was never read is held");
        }
    }

    fn leave_ready(&mut self, head: Head) {
        if head.returned {
            assert!(self.returned.remove(head.offset..head.offset + 1) == 1, "the head is not there");
        } else {
            assert!(
                head.offset >= self.next_unread && head.offset < self.durable_end,
                "the head is not there"
            );
            self.next_unread = head.offset + 1;
        }
        if let Some(sizes) = &mut self.sizes {
            sizes.leave(head.offset..head.offset + 1, |_| true);
        }
    }

    fn settle(&mut self, range: Range<Offset>) -> u64 {
        let floor = self.settled.floor();
        let count = self.settled.insert(range.clone());
        if count > 0 {
            // Without the holes that were settled before, which does no harm: they are settled.
            self.changes.settled.insert(range.clone());
        }
        if self.counts_returns && !self.returns.is_empty() {
            let gone: Vec<Offset> = self.returns.range(range).map(|(offset, _)| *offset).collect();
            for offset in gone {
                self.returns.remove(&offset);
                self.changes.returned.remove(&offset);
            }
        }
        if self.settled.floor() != floor {
            self.next_unread = self.next_unread.max(self.settled.floor());
            self.forget_sizes();
        }
        count
    }

    fn forget_sizes(&mut self) {
        let floor = self.settled.floor();
        if let Some(sizes) = &mut self.sizes {
            sizes.forget_below(floor);
        }
    }
}
