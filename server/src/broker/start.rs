//! The broker's memory: what its state logs say, read once, before the first request.
//!
//! In: a shard that recovery has opened. Out: catalog, groups and queues as they were. Never: goes on when a
//! record of its own state makes no sense.

use std::fmt;

use ringmain_engine::format::{batch, record};
use ringmain_engine::io::disk::Disk;
use ringmain_engine::shard::{ReadOutcome, Shard, ShardEvent};
use ringmain_engine::types::{LogId, Ticket};

use super::catalog::{
    CATALOG_LOG, Catalog, FIRST_NUMBER, GROUP_LOGS, QueueSettings, ROLE_BITS, ROLE_RECORDS, ROLE_SETTLEMENTS,
    group_log, settlements_of, shard_of,
};
use super::queue::Queue;
use super::{Broker, change, groups};

/// Bytes read at a time.
const READ_BYTES: usize = 4 << 20;

/// Why the broker's memory could not be read.
#[derive(Debug)]
pub struct StartError {
    log: LogId,
    what: String,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the broker's own state in {:?} cannot be read: {}", self.log, self.what)
    }
}

impl std::error::Error for StartError {}

/// The catalog as the first shard's log tells it.
pub fn replay_catalog(shard: &mut Shard) -> Result<Catalog, StartError> {
    let mut catalog = Catalog::new();
    shard.create(CATALOG_LOG);
    each_record(shard, CATALOG_LOG, |record| match change::decode(record) {
        Some(change) => {
            catalog.apply(&change);
            Ok(())
        }
        None => Err("a record is not a change of the catalog".to_string()),
    })?;
    Ok(catalog)
}

impl Broker {
    /// Brings the logs of this core in line with the catalog, and restores groups and queues.
    pub fn restore(&mut self) -> Result<(), StartError> {
        self.delete_orphans();
        for index in 0..GROUP_LOGS {
            let log = group_log(index);
            if shard_of(log, self.settings.cores) != self.core {
                continue;
            }
            self.shard.create(log);
            let groups = &mut self.groups;
            let bytes = each_record(&mut self.shard, log, |record| {
                groups.restore(record).map_err(|error| format!("{error:?}"))
            })?;
            self.state_logs.grew(log, bytes);
        }
        let topics: Vec<_> = self.catalog.topics().cloned().collect();
        for topic in topics {
            for log in &topic.partitions {
                if shard_of(*log, self.settings.cores) != self.core {
                    continue;
                }
                self.shard.create(*log);
                if let Some(settings) = &topic.queue {
                    self.restore_queue(*log, settings.clone())?;
                }
            }
            self.note_retention(&topic);
        }
        let mut out = groups::GroupOutput::default();
        self.groups.retain_topics(|topic| self.catalog.topic(topic).is_some(), self.now, &mut out);
        self.take_group_output(out);
        self.sweep();
        Ok(())
    }

    fn restore_queue(&mut self, log: LogId, settings: QueueSettings) -> Result<(), StartError> {
        let stream = settings.stream;
        let marks = self.shard.marks(log).unwrap_or_default();
        let mut queue = Queue::new(log, settings, marks.start, marks.durable);
        if !stream {
            let settlements = settlements_of(log);
            self.shard.create(settlements);
            let bytes = each_record(&mut self.shard, settlements, |record| {
                queue.restore(record).map_err(|error| format!("{error:?}"))
            })?;
            self.state_logs.grew(settlements, bytes);
        }
        queue.restored();
        self.add_queue(log, queue);
        Ok(())
    }

    /// Logs whose topic is gone: its deletion was durable, that of its logs was not yet. A number is never used
    /// again, so below the next one only deleted topics have no entry.
    fn delete_orphans(&mut self) {
        let next = self.catalog.next_number();
        let orphans: Vec<LogId> = self
            .shard
            .logs()
            .filter(|log| {
                let (number, role) = (log.0 >> ROLE_BITS, log.0 & ((1 << ROLE_BITS) - 1));
                let of_topic = role == ROLE_RECORDS || role == ROLE_SETTLEMENTS;
                let records = LogId(number << ROLE_BITS | ROLE_RECORDS);
                of_topic && (FIRST_NUMBER..next).contains(&number) && self.catalog.topic_of(records).is_none()
            })
            .collect();
        for log in orphans {
            self.log_lines.push(format!("{log:?} belongs to a deleted topic and is deleted"));
            self.shard.delete(log);
        }
    }
}

/// Reads a state log from front to back, without a ring. Returns the bytes of its records.
fn each_record(
    shard: &mut Shard,
    log: LogId,
    mut visit: impl FnMut(&[u8]) -> Result<(), String>,
) -> Result<u64, StartError> {
    let bad = |what: String| StartError { log, what };
    let mut next = shard.marks(log).map_or(0, |marks| marks.start);
    let mut sum = 0;
    loop {
        let batches = match read_now(shard, log, next) {
            ReadOutcome::Data { batches, .. } => batches,
            ReadOutcome::Damaged(damage) => return Err(bad(damage.to_string())),
            other => return Err(bad(format!("{other:?}"))),
        };
        if batches.is_empty() {
            return Ok(sum);
        }
        for (header, batch) in batches.into_iter().flat_map(batch::split) {
            let mut records = batch.slice(batch::HEADER_BYTES..);
            while !records.is_empty() {
                let record = record::take(&mut records).map_err(|error| bad(format!("{error:?}")))?;
                let value = record.value.unwrap_or_default();
                sum += value.len() as u64;
                visit(&value).map_err(bad)?;
            }
            next = header.base_offset.get() as u64 + header.offsets_count();
        }
    }
}

fn read_now(shard: &mut Shard, log: LogId, from: u64) -> ReadOutcome {
    let ticket = Ticket { owner: super::INTERNAL, request: u64::MAX };
    if let Some(outcome) = shard.read(log, from, READ_BYTES, ticket) {
        return outcome;
    }
    let mut wanted = Vec::new();
    loop {
        shard.collect(&mut wanted);
        assert!(!wanted.is_empty(), "a read that was not answered wants something");
        for (token, op) in wanted.drain(..) {
            shard.complete(Disk::Machine.execute(token, op));
        }
        while let Some(event) = shard.next_event() {
            if let ShardEvent::Read { ticket: found, outcome } = event
                && found == ticket
            {
                return outcome;
            }
        }
    }
}
