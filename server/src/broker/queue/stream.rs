//! Consumers that read a log by offset, each with a cursor of its own; nothing they settle is remembered.
//!
//! In: a place to start, what was read or sought. Out: records to the consumer. Never: touches the shared cursor.

use ringmain_engine::types::Offset;

use super::ranges::RangeSet;
use super::window::{Place, Window};
use super::{Queue, QueueOutput};
use crate::broker::command::{ReadError, SeekTo, Sought, Start};

/// Where one consumer is. `held` is what it was given and has not settled: below `next`.
#[derive(Debug)]
pub struct Cursor {
    pub next: Offset,
    pub window: Window,
    /// Begins with the batch that holds `next`, not with `next`.
    pub whole_batch: bool,
    /// Waits for an answer to a seek.
    pub seeking: bool,
    pub held: RangeSet,
}

impl Cursor {
    /// A cursor at `start`, and what must be sought first.
    pub fn new(start: Start, log_start: Offset, durable_end: Offset) -> (Cursor, Option<SeekTo>) {
        let last = matches!(start, Start::Last) && durable_end > log_start;
        let (next, seek) = match start {
            Start::First => (log_start, None),
            Start::Offset(offset) => (offset.max(log_start), None),
            Start::Last if last => (durable_end - 1, None),
            Start::Last | Start::Next | Start::Shared => (durable_end, None),
            Start::Time(ms) => (durable_end, Some(SeekTo::Time(ms))),
        };
        let window = Window::default();
        let cursor =
            Cursor { next, window, whole_batch: last, seeking: seek.is_some(), held: RangeSet::default() };
        (cursor, seek)
    }

    /// Takes what was read from `from`; says whether anything came of it.
    pub fn fill(&mut self, from: Offset, pieces: Vec<bytes::Bytes>) -> bool {
        let progress = self.window.fill(from, pieces);
        if self.whole_batch && progress {
            self.whole_batch = false;
            self.next = self.window.widen();
        }
        progress
    }
}

impl Queue {
    /// A seek for the consumer `key` has ended.
    pub fn on_sought(&mut self, key: u32, result: Result<Sought, ReadError>) {
        let end = self.shared.durable_end();
        let Some(member) = self.consumers.get_mut(key) else { return };
        let Some(cursor) = &mut member.cursor else { return };
        cursor.seeking = false;
        // A log that cannot be searched by time is read from where new records arrive, not from years ago.
        cursor.next = result.ok().and_then(|sought| sought.offset).unwrap_or(end).max(self.log_start);
    }

    /// Gives every consumer that reads by offset what it has room for and what is there.
    pub(super) fn serve_cursors(&mut self, out: &mut QueueOutput) {
        let mut served = Vec::new();
        for (serial, member) in self.consumers.cursors_mut() {
            while member.has_room()
                && let Some(cursor) = &mut member.cursor
                && !cursor.seeking
            {
                match cursor.window.seek(cursor.next) {
                    Place::Unknown => break,
                    Place::Gap(next) => cursor.next = next,
                    Place::Here => {
                        let Some(delivery) = cursor.window.take() else { break };
                        cursor.next = delivery.offset + 1;
                        if member.settles {
                            cursor.held.insert(delivery.offset..cursor.next);
                        }
                        member.give(delivery);
                    }
                }
            }
            if let Some(cursor) = &mut member.cursor {
                out.broken_batches += cursor.window.take_broken();
                if !member.outgoing.is_empty() {
                    served.push(serial);
                }
            }
        }
        served.into_iter().for_each(|serial| self.consumers.mark_served(serial));
    }

    /// A session is done with `range`, whatever came of it: its consumers may have as many more.
    pub(super) fn settle_cursors(
        &mut self,
        session: crate::broker::command::SessionId,
        range: std::ops::Range<Offset>,
    ) {
        for (_, member) in self.consumers.cursors_mut().filter(|(_, member)| member.session == session) {
            if let Some(cursor) = &mut member.cursor {
                let count = cursor.held.remove(range.clone());
                member.unsettled -= u32::try_from(count).unwrap_or(u32::MAX).min(member.unsettled);
            }
        }
    }
}
