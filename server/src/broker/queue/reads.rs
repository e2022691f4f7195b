//! What to read next. One read is outstanding at a time, whoever it is for; those who want one take turns.
//!
//! In: what the queue lacks, what a read gave. Out: offsets to read from. Never: reads beyond the durable end.

use ringmain_engine::format::record;
use ringmain_engine::types::{Now, Offset};

use super::subscription::Head;
use super::window::{Place, Window};
use super::{Queue, QueueOutput};
use crate::broker::command::{ReadData, ReadError, SubscribeError};

/// One read for consumers, and half of what a window may hold.
const READ_BYTES: u32 = 256 << 10;
/// One read only to see when the head expires.
const LOOK_BYTES: u32 = 4 << 10;
/// After a read that failed, or gave nothing where something was promised.
const RETRY_AFTER_US: u64 = 500_000;

/// Who a read is for, in the order of their turns.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Purpose {
    Letters,
    Returned,
    Ahead,
    Sizes,
    Cursor(u32),
}

/// The windows of the shared cursor, and the read under way.
#[derive(Debug, Default)]
pub struct Reads {
    /// Records never delivered in this life of the queue.
    pub ahead: Window,
    /// Records that came back.
    pub returned: Window,
    /// The head cannot be served without being read.
    pub wanted: Option<Head>,
    outstanding: Option<(Purpose, Offset)>,
    last: Option<Purpose>,
    retry_at_us: Option<u64>,
}

impl Reads {
    /// The window the head is read into.
    pub fn window(&mut self, head: Head) -> &mut Window {
        if head.returned { &mut self.returned } else { &mut self.ahead }
    }

    /// When to try again after a failure.
    pub fn retry_at_us(&self) -> Option<u64> {
        self.retry_at_us
    }

    /// Allows reads again once the time has come.
    pub fn forget_failure(&mut self, now: Now) {
        if self.retry_at_us.is_some_and(|at| at <= now.monotonic_us) {
            self.retry_at_us = None;
        }
    }
}

impl Queue {
    /// The read has ended. [`Queue::flush`] must follow.
    pub fn on_read(&mut self, result: Result<ReadData, ReadError>, now: Now, out: &mut QueueOutput) {
        let asked = self.reads.outstanding.take();
        let Some((purpose, from)) = asked else { panic!("nobody asked for what was read") };
        let progress = match result {
            Ok(data) => {
                self.on_trimmed(data.log_start);
                self.take_read(purpose, from, data)
            }
            Err(ReadError::OutOfRange { log_start, .. }) => {
                self.on_trimmed(log_start);
                from < log_start
            }
            Err(ReadError::Damaged(reason)) => {
                self.fail_gets(&SubscribeError::Damaged(reason), out);
                false
            }
            Err(ReadError::UnknownLog) => {
                self.fail_gets(&SubscribeError::UnknownQueue, out);
                false
            }
            // Only a trim is ever answered with the latter.
            Err(ReadError::Storage | ReadError::SettledLog) => {
                self.fail_gets(&SubscribeError::Storage, out);
                false
            }
        };
        if !progress {
            self.reads.retry_at_us = Some(now.monotonic_us.saturating_add(RETRY_AFTER_US));
        }
    }

    fn take_read(&mut self, purpose: Purpose, from: Offset, data: ReadData) -> bool {
        match purpose {
            Purpose::Letters => self.letters.window.fill(from, data.batches),
            Purpose::Returned => self.reads.returned.fill(from, data.batches),
            Purpose::Ahead => self.reads.ahead.fill(from, data.batches),
            Purpose::Sizes => self.take_sizes(from, data),
            Purpose::Cursor(_) => self.take_for_cursors(from, &data),
        }
    }

    /// Whoever reads by offset and is within what was read takes it, not only the one it was read for.
    fn take_for_cursors(&mut self, from: Offset, data: &ReadData) -> bool {
        let mut window = Window::default();
        let progress = window.fill(from, data.batches.clone());
        for (_, member) in self.consumers.cursors_mut() {
            if let Some(cursor) = &mut member.cursor
                && !cursor.seeking
                && window.covers(cursor.next)
                && !cursor.window.covers(cursor.next)
            {
                cursor.fill(cursor.next, data.batches.clone());
            }
        }
        progress
    }

    fn take_sizes(&mut self, from: Offset, data: ReadData) -> bool {
        let mut window = Window::default();
        let progress = window.fill(from, data.batches);
        let mut at = from;
        while at < window.end() {
            let bytes = match window.seek(at) {
                Place::Here => window.take().map_or(0, |delivery| value_bytes(&delivery.record)),
                Place::Gap(_) | Place::Unknown => 0,
            };
            self.shared.measure(at, std::iter::once(bytes));
            at += 1;
        }
        progress
    }

    /// Asks for the next read if one is wanted and none is under way.
    pub(super) fn plan_read(&mut self, now: Now, out: &mut QueueOutput) {
        self.reads.forget_failure(now);
        if self.reads.outstanding.is_some() || self.reads.retry_at_us.is_some() {
            return;
        }
        let wishes = self.wishes();
        let after_last =
            wishes.iter().find(|(purpose, ..)| self.reads.last.is_some_and(|last| *purpose > last));
        if let Some((purpose, from, bytes_max)) = after_last.or(wishes.first()).copied() {
            assert!(from < self.shared.durable_end(), "a read beyond the end");
            self.reads.outstanding = Some((purpose, from));
            self.reads.last = Some(purpose);
            out.read = Some((from, bytes_max));
        }
    }

    /// Everything that could be read now, in the order of turns.
    fn wishes(&mut self) -> Vec<(Purpose, Offset, u32)> {
        let mut wishes = Vec::new();
        let consumed = self.consumers.count() > 0;
        let bytes_max = if consumed { READ_BYTES } else { LOOK_BYTES };
        if let Some(offset) = self.letters.wanted() {
            wishes.push((Purpose::Letters, offset, LOOK_BYTES));
        }
        let ahead = &self.reads.ahead;
        match self.reads.wanted {
            Some(head) if head.returned => wishes.push((Purpose::Returned, head.offset, bytes_max)),
            Some(head) => wishes.push((Purpose::Ahead, head.offset, bytes_max)),
            None => {}
        }
        let next = self.shared.head().filter(|head| !head.returned).map(|head| head.offset);
        if self.reads.wanted.is_none_or(|head| head.returned)
            && consumed
            && next.is_some_and(|next| ahead.covers(next))
            && ahead.bytes() < READ_BYTES as usize
            && ahead.end() < self.shared.durable_end()
        {
            wishes.push((Purpose::Ahead, ahead.end(), READ_BYTES));
        }
        if let Some(offset) = self.shared.unmeasured() {
            wishes.push((Purpose::Sizes, offset, READ_BYTES));
        }
        let end = self.shared.durable_end();
        for (serial, member) in self.consumers.cursors_mut() {
            let has_room = member.has_room();
            if let Some(cursor) = &member.cursor
                && has_room
                && !cursor.seeking
                && cursor.next < end
                && !cursor.window.covers(cursor.next)
            {
                wishes.push((Purpose::Cursor(serial), cursor.next, READ_BYTES));
            }
        }
        wishes
    }
}

fn value_bytes(record: &record::Record) -> u32 {
    record.value.as_ref().map_or(0, |value| u32::try_from(value.len()).unwrap_or(u32::MAX))
}
