//! Copies of sealed segments: out of a log into a file, and out of such a file into a log.
//!
//! In: a sealed segment, or a file that somebody copied one into. Out: the same bytes elsewhere, durable; or the
//! batches in them appended. Never: trusts a byte that its checksum was not compared with.

use std::path::Path;

use bytes::Bytes;

use super::{Appended, EngineError, Log, SealedSegment};
use crate::error::{Damage, IoFault};
use crate::format::batch::{self, CheckedBatch};
use crate::format::run::{self, RunPlace, SEGMENT_HEADER_BYTES, SegmentHeader, TRAILER_BYTES};
use crate::io::disk::{self, Disk};
use crate::io::{Descriptor, Open, buffer};
use crate::limits::BLOCK_BYTES;
use crate::segment;
use crate::types::{LogId, Offset};

/// Bytes copied at a time.
const STEP_BYTES: usize = 1 << 20;

/// A segment file that is read again.
struct SealedFile<'a> {
    path: &'a Path,
    file: Descriptor,
    file_bytes: u64,
    log: LogId,
}

fn fault(error: IoFault) -> EngineError {
    EngineError::Failed(error.to_string())
}

impl<'a> SealedFile<'a> {
    fn at(path: &'a Path, log: LogId) -> Result<SealedFile<'a>, EngineError> {
        let file = Disk::Machine.open(path, Open::Read).map_err(fault)?;
        let file_bytes = disk::length(path, &file).map_err(fault)?;
        Ok(SealedFile { path, file, file_bytes, log })
    }

    fn read(&self, position: u64, length: usize) -> Result<Bytes, EngineError> {
        disk::read(self.path, &self.file, position, length).map(Into::into).map_err(fault)
    }

    fn damaged(&self, position: u64, what: impl Into<String>) -> EngineError {
        EngineError::Damaged(Damage { path: self.path.to_path_buf(), position, what: what.into() })
    }

    /// Its runs, as the table at its end names them.
    fn runs(&self) -> Result<Vec<RunPlace>, EngineError> {
        let block = self.read(0, SEGMENT_HEADER_BYTES)?;
        let base = SegmentHeader::base_of(&block, self.log).map_err(|bad| self.damaged(0, bad.0))?;
        let trailer_at = self.file_bytes.saturating_sub(TRAILER_BYTES as u64);
        let last_block = self.read(trailer_at, TRAILER_BYTES)?;
        let place = run::table_place(&last_block, self.log, base, self.file_bytes);
        let Some((position, length)) = place else {
            return Err(self.damaged(trailer_at, "it is no sealed segment of this log"));
        };
        let table = self.read(position, length.next_multiple_of(BLOCK_BYTES))?;
        let table = table.get(..length).ok_or_else(|| self.damaged(position, "the table is cut short"))?;
        run::table(table, &last_block).map_err(|bad| self.damaged(position, bad.0))
    }

    /// The batches of one run, each checked.
    fn batches(&self, place: &RunPlace) -> Result<Bytes, EngineError> {
        let position = place.position.get();
        let bytes = self.read(position, place.total_bytes())?;
        segment::check(bytes, self.log, place).map_err(|what| self.damaged(position, what))
    }
}

impl Log {
    /// Copies a sealed segment to `target`, which must not be there: verified, and durable when it returns. Blocks
    /// the calling thread.
    ///
    /// Fails if the segment was trimmed meanwhile, if a byte of it is damaged, or if `target` cannot be written.
    pub fn export(&self, sealed: &SealedSegment, target: &Path) -> Result<(), EngineError> {
        let from = SealedFile::at(&sealed.path, self.id())?;
        for place in from.runs()? {
            from.batches(&place)?;
        }
        if Disk::Machine.exists(target) {
            return Err(EngineError::Failed(format!("{} is there already", target.display())));
        }
        let to = Disk::Machine.open(target, Open::Replace).map_err(fault)?;
        let mut position = 0;
        while position < from.file_bytes {
            let step = (from.file_bytes - position).min(STEP_BYTES as u64) as usize;
            let read = from.read(position, step)?;
            let mut aligned = buffer::aligned(read.len());
            aligned.extend_from_slice(&read);
            disk::write(target, &to, position, &aligned).map_err(fault)?;
            position += read.len() as u64;
        }
        disk::sync(target, &to).map_err(fault)?;
        let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty());
        Disk::Machine.sync_directory(directory.unwrap_or(Path::new("."))).map_err(fault)
    }

    /// Appends the batches of an exported segment of this log, at the offsets they had, as far as the log does not
    /// have them: durable when it returns. Returns the offset behind the last. Blocks the calling thread.
    ///
    /// Fails if a byte is damaged, if the log ends below the segment ([`EngineError::WrongOffset`]), or if it holds
    /// other records there ([`EngineError::Diverged`]); what was appended before that stays.
    pub fn install(&self, source: &Path) -> Result<Offset, EngineError> {
        let from = SealedFile::at(source, self.id())?;
        let mut end = 0;
        for place in from.runs()? {
            let batches: Vec<Bytes> = batch::split(from.batches(&place)?).map(|(_, bytes)| bytes).collect();
            let mut acks = Vec::with_capacity(batches.len());
            for bytes in batches {
                let batch = CheckedBatch::from_producer(bytes).map_err(EngineError::Batch)?;
                end = batch.header().base_offset.get() as Offset + batch.header().offsets_count();
                acks.push(self.append_replica(batch));
            }
            let _: Vec<Appended> = acks.into_iter().map(|ack| ack.wait()).collect::<Result<_, _>>()?;
        }
        Ok(end)
    }
}
