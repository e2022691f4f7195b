//! Batches read ahead of a cursor, opened one at a time and decoded one record at a time.
//!
//! In: what a read gave. Out: the record at an offset, or that there is none, or that nothing is known about it.
//! Never: holds more than two reads' worth of stored bytes and one opened batch.

use std::collections::VecDeque;

use bytes::Bytes;
use ringmain_engine::format::batch::{self, BatchHeader, CONTROL, LOG_APPEND_TIME};
use ringmain_engine::format::record;
use ringmain_engine::types::Offset;

use crate::broker::command::Delivery;
use crate::broker::compression;

/// What a window knows about an offset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// The record is at the front.
    Here,
    /// There is no record from there up to this offset.
    Gap(Offset),
    /// It was not read, or has been passed.
    Unknown,
}

/// Covers the offsets `start..end`; `front` and `batches` are in order and within it. `bytes` is the sum over
/// `batches` of what they take as stored.
#[derive(Debug, Default)]
pub struct Window {
    front: Option<Delivery>,
    /// Records of the batch that is open, without compression.
    open: Option<Open>,
    batches: VecDeque<(BatchHeader, Bytes)>,
    start: Offset,
    end: Offset,
    bytes: usize,
    broken_count: u64,
}

#[derive(Debug)]
struct Open {
    header: BatchHeader,
    records: Bytes,
    left: u32,
}

impl Window {
    /// Behind the last offset that was read.
    pub fn end(&self) -> Offset {
        self.end
    }

    /// Stored bytes waiting behind the batch that is open.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Window { broken_count: self.broken_count, ..Window::default() };
    }

    /// Batches that could not be read to their end, since the last time; their records count as not there.
    pub fn take_broken(&mut self) -> u64 {
        std::mem::take(&mut self.broken_count)
    }

    /// Whether something is known about `offset`.
    pub fn covers(&self, offset: Offset) -> bool {
        offset >= self.start && offset < self.end
    }

    /// Takes what a read from `from` gave. A window that does not end there starts anew. Says whether anything
    /// came of it.
    pub fn fill(&mut self, from: Offset, pieces: Vec<Bytes>) -> bool {
        if self.end != from || self.start == self.end {
            self.clear();
            (self.start, self.end) = (from, from);
        }
        for (header, bytes) in pieces.into_iter().flat_map(batch::split) {
            let end = (header.base_offset.get() as u64).saturating_add(header.offsets_count());
            if end > self.end {
                self.bytes += bytes.len();
                self.end = end;
                self.batches.push_back((header, bytes));
            }
        }
        self.end > from
    }

    /// Lets the window begin with its first batch, even where that is before what was asked for.
    pub fn widen(&mut self) -> Offset {
        if let Some((header, _)) = self.batches.front() {
            self.start = self.start.min(header.base_offset.get() as u64);
        }
        self.start
    }

    /// Passes everything before `at` and looks at it.
    pub fn seek(&mut self, at: Offset) -> Place {
        if !self.covers(at) {
            return Place::Unknown;
        }
        self.start = at;
        loop {
            match &self.front {
                Some(front) if front.offset == at => return Place::Here,
                Some(front) if front.offset > at => return Place::Gap(front.offset),
                _ => self.front = None,
            }
            if !self.decode() && !self.open_next(at) {
                let next =
                    self.batches.front().map_or(self.end, |(header, _)| header.base_offset.get() as u64);
                return Place::Gap(next);
            }
        }
    }

    /// The record at the front, after [`Place::Here`].
    pub fn front(&self) -> Option<&Delivery> {
        self.front.as_ref()
    }

    /// Takes it.
    pub fn take(&mut self) -> Option<Delivery> {
        let front = self.front.take()?;
        self.start = front.offset + 1;
        Some(front)
    }

    /// Decodes the next record of the open batch into `front`.
    fn decode(&mut self) -> bool {
        let Some(open) = &mut self.open else { return false };
        if open.left == 0 {
            self.open = None;
            return false;
        }
        open.left -= 1;
        match record::take(&mut open.records).ok().and_then(|record| delivery(&open.header, record)) {
            Some(delivery) => {
                self.front = Some(delivery);
                true
            }
            None => {
                self.open = None;
                self.broken_count += 1;
                false
            }
        }
    }

    /// Opens the next batch unless it begins after `at`.
    fn open_next(&mut self, at: Offset) -> bool {
        while let Some((header, bytes)) =
            self.batches.pop_front_if(|(header, _)| header.base_offset.get() as u64 <= at)
        {
            self.bytes -= bytes.len();
            let end = header.base_offset.get() as u64 + header.offsets_count();
            if end <= at || header.attributes.get() & CONTROL != 0 {
                continue;
            }
            match compression::records_of(&bytes) {
                Ok(records) => {
                    self.open = Some(Open { header, records, left: header.records_count.get() as u32 });
                    return true;
                }
                Err(_) => self.broken_count += 1,
            }
        }
        false
    }
}

/// Names the record; `None` if it claims an offset outside its batch.
fn delivery(header: &BatchHeader, record: record::Record) -> Option<Delivery> {
    if u64::from(record.offset_delta) >= header.offsets_count() {
        return None;
    }
    let timestamp_ms = if header.attributes.get() & LOG_APPEND_TIME != 0 {
        header.max_timestamp.get()
    } else {
        header.base_timestamp.get().saturating_add(record.timestamp_delta_ms)
    };
    let offset = header.base_offset.get() as u64 + u64::from(record.offset_delta);
    Some(Delivery { offset, timestamp_ms, redelivered: false, returns: 0, record })
}
