//! What a copy of a log needs of the shard: batches taken as another copy stamped them, and the segments that are
//! complete.
//!
//! In: stamped batches; a log. Out: the same batches in the journal, epoch and all; places of sealed segments.
//! Never: gives a batch another offset than the one it was stamped with.

use std::path::PathBuf;

use super::{Refused, Shard};
use crate::format::batch::CheckedBatch;
use crate::journal::{Piece, Promise};
use crate::segment;
use crate::types::{LogId, Offset, Ticket};

/// A segment that is complete: its file does not change any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedPlace {
    /// Its file.
    pub path: PathBuf,
    /// Its first offset.
    pub base: Offset,
    /// One more than its last offset that counts.
    pub end: Offset,
}

impl Shard {
    /// Appends a batch that carries its base offset, which must be the log's end, and its leader epoch. What its
    /// producer was told by the copy it comes from is not judged again. Durable when [`ShardEvent::Appended`] comes with
    /// this ticket.
    ///
    /// Fails for each reason in [`Refused`] but those of producers. Panics if the batch does not begin where the log ends.
    ///
    /// [`ShardEvent::Appended`]: super::ShardEvent::Appended
    pub fn append_replica(
        &mut self,
        log: LogId,
        batch: &CheckedBatch,
        ticket: Ticket,
    ) -> Result<(), Refused> {
        if self.failed.is_some() {
            return Err(Refused::Failed);
        }
        if self.shortage().is_some() {
            return Err(Refused::NoSpace);
        }
        let partition = self.logs.get_mut(&log).filter(|partition| partition.deleted_in.is_none());
        let partition = partition.ok_or(Refused::UnknownLog)?;
        if partition.truncation.is_some() {
            return Err(Refused::Truncating);
        }
        let header = batch.header();
        assert!(header.base_offset.get() as Offset == partition.marks().end, "the owner compares first");
        let offsets = partition.append(header);
        let max_timestamp_ms = header.max_timestamp.get();
        let piece = Piece { log, base: offsets.start, end: offsets.end, max_timestamp_ms, bytes: 0..0 };
        let promise = Promise { ticket, log, base_offset: offsets.start, duplicate: false };
        self.gather(piece, header.leader_epoch.get(), batch, promise);
        self.counts.appended_batches += 1;
        self.counts.appended_records += u64::from(header.records_count.get().max(0) as u32);
        self.counts.appended_bytes += batch.bytes().len() as u64;
        Ok(())
    }

    /// The log's segments that are complete, oldest first; `None`: it does not exist here.
    pub fn sealed_segments(&self, log: LogId) -> Option<Vec<SealedPlace>> {
        let partition = self.live(log)?;
        let sealed = partition.segments.list().iter().filter(|segment| segment.sealed);
        let place = |found: &segment::Segment| SealedPlace {
            path: segment::path(&self.place.directory, log, found.name),
            base: found.name.base,
            end: found.end(),
        };
        Some(sealed.map(place).collect())
    }
}
