//! Readers that check every byte: at the ends of logs, or from their starts again and again.
//!
//! In: a driver, answers. Out: records checked; a failure that names the log and the offset. Never: passes over an offset
//! that should hold a record.

use bytes::Bytes;
use ringmain_engine::format::{batch, record};
use ringmain_engine::shard::ReadOutcome;
use ringmain_engine::types::{LogId, Offset, Ticket};

use super::super::driver::Driver;
use super::appender::Appender;
use super::keys::Pass;
use crate::failure::Failure;

/// What is asked for at a time.
const READ_BYTES: usize = 1 << 20;

/// Where a reader goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Behind the appends.
    Tail,
    /// From the start of each log to where only memory has more, then through the next log.
    Cold,
    /// From the start of each log to its end, once.
    Once,
}

/// One reader.
pub(super) struct Reader {
    /// Owner of its tickets.
    owner: u64,
    way: Way,
    /// The logs it reads, in turn, and which of them have keys.
    logs: Vec<(LogId, bool)>,
    at: usize,
    next: Offset,
    /// In a log with keys, from its start on.
    pass: Option<Pass>,
    is_waiting: bool,
    is_finished: bool,
    pub(super) counts: Counts,
}

/// What readers did.
#[derive(Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) records: u64,
    pub(super) bytes: u64,
    /// Reads that the device had to answer.
    pub(super) from_device: u64,
    pub(super) bytes_from_device: u64,
}

impl Counts {
    /// Both together.
    pub(super) fn plus(self, other: Counts) -> Counts {
        Counts {
            records: self.records + other.records,
            bytes: self.bytes + other.bytes,
            from_device: self.from_device + other.from_device,
            bytes_from_device: self.bytes_from_device + other.bytes_from_device,
        }
    }
}

impl Reader {
    /// Begins with offset 0 of the first log.
    pub(super) fn new(owner: u64, way: Way, logs: Vec<(LogId, bool)>) -> Reader {
        assert!(!logs.is_empty());
        let counts = Counts::default();
        Reader { owner, way, logs, at: 0, next: 0, pass: None, is_waiting: false, is_finished: false, counts }
    }

    /// Whose tickets these are.
    pub(super) fn owner(&self) -> u64 {
        self.owner
    }

    /// Whether it waits for the device.
    pub(super) fn is_waiting(&self) -> bool {
        self.is_waiting
    }

    /// Whether it has come to the end of the last log, once.
    pub(super) fn is_finished(&self) -> bool {
        self.is_finished
    }

    fn log(&self) -> (LogId, bool) {
        self.logs[self.at]
    }

    /// Asks for more unless it waits already; true: memory had some, and there may be more at once.
    pub(super) fn ask(&mut self, driver: &mut Driver, appender: &Appender) -> Result<bool, Failure> {
        if self.is_waiting || self.is_finished {
            return Ok(false);
        }
        let (log, has_keys) = self.log();
        let Some(marks) = driver.shard().marks(log) else { return Err(failed(log, self.next, "is gone")) };
        let end = if self.way == Way::Cold { marks.settled.max(marks.start) } else { marks.durable };
        if self.next >= end {
            return match self.way {
                Way::Tail => Ok(false),
                Way::Cold | Way::Once => self.turn_round(driver, appender).map(|()| true),
            };
        }
        if has_keys && self.way != Way::Tail && self.pass.is_none() && self.next == marks.start {
            self.pass = Some(Pass::begin(&appender.keys));
        }
        let ticket = Ticket { owner: self.owner, request: self.next };
        match driver.shard().read(log, self.next, READ_BYTES, ticket) {
            Some(outcome) => self.take(driver, appender, outcome).map(|()| true),
            None => {
                self.is_waiting = true;
                Ok(false)
            }
        }
    }

    /// The device has answered.
    pub(super) fn answered(
        &mut self,
        driver: &mut Driver,
        appender: &Appender,
        outcome: ReadOutcome,
    ) -> Result<(), Failure> {
        self.is_waiting = false;
        self.counts.from_device += 1;
        let before = self.counts.bytes;
        self.take(driver, appender, outcome)?;
        self.counts.bytes_from_device += self.counts.bytes - before;
        Ok(())
    }

    /// At the end of a log: the next one from its start. A log with keys was read as a whole.
    fn turn_round(&mut self, driver: &mut Driver, appender: &Appender) -> Result<(), Failure> {
        let (log, _) = self.log();
        if let Some(pass) = self.pass.take()
            && let Some((key, offset)) = pass.missing(self.next, &appender.keys)
        {
            return Err(failed(log, offset, &format!("is the newest record of key {key} and was not read")));
        }
        self.at += 1;
        if self.at == self.logs.len() {
            self.at = 0;
            self.is_finished = self.way == Way::Once;
        }
        self.begin(driver);
        Ok(())
    }

    /// Goes to the start of its log.
    pub(super) fn begin(&mut self, driver: &mut Driver) {
        let (log, _) = self.log();
        self.next = driver.shard().marks(log).map_or(0, |marks| marks.start);
    }

    fn take(
        &mut self,
        driver: &mut Driver,
        appender: &Appender,
        outcome: ReadOutcome,
    ) -> Result<(), Failure> {
        let (log, _) = self.log();
        match outcome {
            ReadOutcome::Data { batches, .. } => {
                batches.into_iter().try_for_each(|piece| self.check(appender, piece))
            }
            // Trimmed meanwhile.
            ReadOutcome::OutOfRange { log_start, .. } if log_start > self.next => {
                self.next = log_start;
                Ok(())
            }
            other => Err(failed(
                log,
                self.next,
                &format!("cannot be read: {other:?}, {:?}", driver.shard().marks(log)),
            )),
        }
    }

    /// Checks whole batches, back to back.
    fn check(&mut self, appender: &Appender, piece: Bytes) -> Result<(), Failure> {
        let (log, has_keys) = self.log();
        let content = appender.content_of(log);
        let piece_bytes = piece.len();
        let mut checked_bytes = 0;
        for (header, batch) in batch::split(piece) {
            checked_bytes += batch.len();
            let base = header.base_offset.get() as u64;
            let mut records = batch.slice(batch::HEADER_BYTES..);
            while !records.is_empty() {
                let Ok(record) = record::take(&mut records) else {
                    return Err(failed(log, base, "is in a batch that cannot be taken apart"));
                };
                let offset = base + u64::from(record.offset_delta);
                if offset < self.next {
                    continue; // the batch begins below what was asked for
                }
                if !has_keys && offset != self.next {
                    return Err(failed(log, self.next, &format!("is left out, the next is {offset}")));
                }
                if !record.value.is_some_and(|value| content.is_at(log, offset, &value)) {
                    return Err(failed(log, offset, "is not what was written"));
                }
                let is_known = match (&mut self.pass, &record.key) {
                    (Some(pass), Some(key)) => pass.see(key, offset),
                    (_, key) => key.is_some() == has_keys,
                };
                if !is_known {
                    return Err(failed(log, offset, "has a key that was not written"));
                }
                self.next = offset + 1;
                self.counts.records += 1;
            }
            self.next = self.next.max(base + header.offsets_count());
        }
        self.counts.bytes += checked_bytes as u64;
        match checked_bytes == piece_bytes {
            true => Ok(()),
            false => Err(failed(log, self.next, "is followed by bytes that are no batch")),
        }
    }
}

fn failed(log: LogId, offset: Offset, what: &str) -> Failure {
    Failure::Broker(format!("offset {offset} of {log:?} {what}"))
}

#[cfg(test)]
mod tests {
    use super::super::appender::STREAM_VALUE_BYTES;
    use super::*;
    use crate::engine::pair::batch_of;
    use crate::interrupt::Interrupt;
    use std::time::Instant;

    #[test]
    fn what_was_not_written_is_told_from_what_was() {
        let interrupt = Interrupt::listen().unwrap();
        let (log, mut driver) = (LogId(1), Driver::open(&std::env::temp_dir(), 1 << 20).unwrap());
        driver.create(log);
        let mut appender = Appender::new(&[log], 1 << 20, LogId(2), 1);
        appender.append(&mut driver, Instant::now()).unwrap();
        driver.append(log, &batch_of(STREAM_VALUE_BYTES)).unwrap();
        driver.sync(&interrupt).unwrap();
        let mut reader = Reader::new(16, Way::Tail, vec![(log, false)]);
        let said = reader.ask(&mut driver, &appender).unwrap_err().to_string();
        assert!(said.contains("offset 1 of log 1 is not what was written"), "{said}");
        assert_eq!(reader.counts.records, 1, "the one before it is");
        let mut keyed = Reader::new(17, Way::Tail, vec![(log, true)]);
        let said = keyed.ask(&mut driver, &appender).unwrap_err().to_string();
        assert!(said.contains("has a key that was not written"), "{said}");
    }
}
