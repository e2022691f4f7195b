//! Appends to every log in turn, at a pace or as fast as the device takes them, and what keeps the logs small.
//!
//! In: a driver, the time. Out: appends; how long each was on its way; trims and compactions. Never: forgets an append
//! that was due: its time counts from then.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use ringmain_engine::shard::Codecs;
use ringmain_engine::shard::Compaction;
use ringmain_engine::shard::Keep;
use ringmain_engine::types::{LogId, Offset};

use super::super::driver::Driver;
use super::content::Content;
use super::keys::Keys;
use crate::failure::Failure;
use crate::histogram::Latencies;

/// Bytes of a record in logs without keys, one a batch.
pub(super) const STREAM_VALUE_BYTES: usize = 16 << 10;
/// Bytes of a record with a key, and such records in a batch.
pub(super) const KEYED_VALUE_BYTES: usize = 1 << 10;
const KEYED_RECORDS: u64 = 8;
/// A log is trimmed whenever it has grown by this part of what it keeps.
const TRIM_PART: u64 = 16;
/// How often it is asked whether a compaction is worth while.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Worth while when half of what may be compacted never was.
const RULES: Compaction = Compaction {
    dirty_ratio_min: 0.5,
    lag_ms_min: 0,
    lag_ms_max: u64::MAX,
    sealed_after_ms: u64::MAX,
    deletions_kept_ms: 0,
    codecs: Codecs::NONE,
};

/// A log that is appended to.
struct Target {
    log: LogId,
    end: Offset,
    /// Appended since it was trimmed last.
    untrimmed_bytes: u64,
}

/// What appends, and what became of it.
pub(super) struct Appender {
    streams: Vec<Target>,
    keyed: Target,
    content: Content,
    keyed_content: Content,
    pub(super) keys: Keys,
    keep: Keep,
    /// When those that are not durable yet were due, oldest first.
    due: VecDeque<Instant>,
    next: usize,
    looked: Option<Instant>,
    pub(super) appends: u64,
    pub(super) bytes: u64,
    pub(super) commits: Latencies,
}

impl Appender {
    /// For logs without keys, of which each keeps so many bytes, and one with so many keys.
    pub(super) fn new(streams: &[LogId], keep_bytes: u64, keyed: LogId, keys_count: usize) -> Appender {
        let target = |log: LogId| Target { log, end: 0, untrimmed_bytes: 0 };
        Appender {
            streams: streams.iter().map(|log| target(*log)).collect(),
            keyed: target(keyed),
            content: Content::new(STREAM_VALUE_BYTES),
            keyed_content: Content::new(KEYED_VALUE_BYTES),
            keys: Keys::new(keys_count),
            keep: Keep { since_ms: None, bytes_max: Some(keep_bytes) },
            due: VecDeque::new(),
            next: 0,
            looked: None,
            appends: 0,
            bytes: 0,
            commits: Latencies::new(),
        }
    }

    /// Appends that are not durable yet.
    pub(super) fn waiting(&self) -> usize {
        self.due.len()
    }

    /// What the values of a log must be.
    pub(super) fn content_of(&self, log: LogId) -> &Content {
        if log == self.keyed.log { &self.keyed_content } else { &self.content }
    }

    /// Appends the next batch to the next log; it was due at `due`.
    pub(super) fn append(&mut self, driver: &mut Driver, due: Instant) -> Result<(), Failure> {
        let number = self.next;
        self.next = (number + 1) % (self.streams.len() + 1);
        let (log, batch) = match self.streams.get_mut(number) {
            Some(stream) => {
                let batch = self.content.batch(stream.log, stream.end, std::iter::once(None));
                stream.end += 1;
                stream.untrimmed_bytes += batch.bytes().len() as u64;
                if stream.untrimmed_bytes >= self.keep.bytes_max.unwrap_or_default() / TRIM_PART {
                    stream.untrimmed_bytes = 0;
                    driver.shard().trim_to_fit(stream.log, self.keep);
                }
                (stream.log, batch)
            }
            None => {
                let (end, keys) = (self.keyed.end, &mut self.keys);
                let records = (end..end + KEYED_RECORDS).map(|offset| Some(keys.write(offset)));
                let batch = self.keyed_content.batch(self.keyed.log, end, records);
                self.keyed.end += KEYED_RECORDS;
                (self.keyed.log, batch)
            }
        };
        driver.append(log, &batch)?;
        self.due.push_back(due);
        self.bytes += batch.bytes().len() as u64;
        Ok(())
    }

    /// So many of the appends became durable until `now`.
    pub(super) fn durable(&mut self, count: u64, now: Instant) {
        for due in self.due.drain(..count as usize) {
            self.commits.record(now.saturating_duration_since(due));
            self.appends += 1;
        }
    }

    /// Has the log with keys compacted when that is worth while.
    pub(super) fn look_at_keys(&mut self, driver: &mut Driver, now: Instant) {
        if self.looked.is_none_or(|looked| now - looked >= LOOK_EVERY) {
            self.looked = Some(now);
            let at = driver.now();
            driver.shard().compact(self.keyed.log, RULES, at);
        }
    }
}
