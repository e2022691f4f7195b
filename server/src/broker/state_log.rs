//! The broker's own state as logs: records in the order they were applied, and snapshots in place of old ones.
//!
//! In: records. Out: batches in the state's log, and the wish for a snapshot once the records outweigh one.
//! Never: touches a user's log.

use std::collections::HashMap;

use ringmain_engine::format::record::BatchBuilder;
use ringmain_engine::shard::Need;
use ringmain_engine::types::{LogId, Ticket};

use super::catalog::CatalogError;
use super::command::Event;
use super::{Broker, INTERNAL, Pending};

/// Bytes of one batch of state records, unless a single one is larger.
const BATCH_BYTES: usize = 1 << 20;
/// A log that has grown by less is never worth a snapshot.
const SNAPSHOT_AFTER_BYTES: u64 = 4 << 20;

/// How much each state log has grown since its last snapshot, and how large that was.
#[derive(Debug, Default)]
pub struct StateLogs {
    grown: HashMap<LogId, (u64, u64)>,
}

impl StateLogs {
    /// Counts bytes appended, or found at start.
    pub fn grew(&mut self, log: LogId, bytes: u64) {
        self.grown.entry(log).or_default().0 += bytes;
    }

    /// The log is gone.
    pub fn forget(&mut self, log: LogId) {
        self.grown.remove(&log);
    }

    /// Whether a snapshot would make the log much shorter.
    pub fn wants_snapshot(&self, log: LogId) -> bool {
        self.grown.get(&log).is_some_and(|(grown, last)| *grown > SNAPSHOT_AFTER_BYTES.max(4 * last))
    }

    fn snapshot_taken(&mut self, log: LogId, bytes: u64) {
        self.grown.insert(log, (0, bytes));
    }
}

impl Broker {
    /// Appends records, in order; `pending` is dealt with when the last of them is durable. Records that fit one
    /// batch are durable together or not at all.
    pub(super) fn append_state(&mut self, log: LogId, records: &[Vec<u8>], pending: Pending) {
        let ticket = self.wait_for(pending);
        let bytes: usize = records.iter().map(Vec::len).sum();
        self.state_logs.grew(log, bytes as u64);
        let mut rest = records.iter().peekable();
        let mut refused = false;
        while rest.peek().is_some() {
            let mut builder = BatchBuilder::new(0);
            while let Some(record) =
                rest.next_if(|record| builder.is_empty() || builder.len() + record.len() < BATCH_BYTES)
            {
                builder.push(0, None, Some(record), &[]);
            }
            let last = rest.peek().is_none();
            let whose = if last { ticket } else { Ticket { owner: INTERNAL, request: u64::MAX } };
            // Never refused for want of room: much of it is what makes room, and sessions are told of none before.
            refused |= self.shard.append_for(Need::State, log, &builder.finish(), whose).is_err();
        }
        if refused {
            self.state_refused(ticket.request);
        }
    }

    /// Appends a snapshot; what was before it is dropped once the snapshot is durable. Not earlier: a checkpoint
    /// may make the trim last before the frame with the snapshot is written.
    pub(super) fn append_snapshot(&mut self, log: LogId, records: &[Vec<u8>]) {
        let Some(marks) = self.shard.marks(log) else { return };
        if records.is_empty() {
            return;
        }
        self.append_state(log, records, Pending::Snapshot(log, marks.end));
        let bytes: usize = records.iter().map(Vec::len).sum();
        self.state_logs.snapshot_taken(log, bytes as u64);
    }

    /// State records of ours are durable, or something else the broker waits for.
    pub(super) fn state_durable(&mut self, request: u64) {
        match self.pending.remove(&request) {
            Some(Pending::GroupWrite(write)) => {
                if let Some((waiter, reply)) = write.reply {
                    self.answer(waiter.session, waiter.ticket, Event::Group(reply));
                }
            }
            Some(Pending::CatalogWrite(decided)) => self.catalog_durable(decided),
            Some(Pending::Snapshot(log, before)) => self.shard.trim(log, before),
            Some(Pending::Trim(trim)) => self.trimmed(trim),
            _ => {}
        }
    }

    /// State records of ours were not taken.
    fn state_refused(&mut self, request: u64) {
        match self.pending.remove(&request) {
            Some(Pending::GroupWrite(write)) => {
                if let Some((waiter, reply)) = write.refusal() {
                    self.answer(waiter.session, waiter.ticket, Event::Group(reply));
                }
            }
            Some(Pending::CatalogWrite(decided)) => {
                self.answer(decided.to, decided.ticket, Event::Catalog(Err(CatalogError::Storage)));
            }
            _ => {}
        }
    }
}
