//! The checkpoint of one shard: everything recovery needs besides segments and the journal behind it.
//!
//! A file is written whole under a new name, synced and renamed, so it is there entirely or not at all; its
//! checksum tells rot. Little-endian:
//!
//! | bytes | field |
//! |---|---|
//! | 4, 4 | magic "RMCP", version 2 |
//! | 4, 2, 2 | incarnation, shard, zero |
//! | 8 | sequence: frames up to this one are contained in this file and the segments |
//! | 4, 4 | chain: the checksum field of that frame; number of logs |
//! | 4, 4, 8 | the journal's files: number of the first, how many, bytes of each |
//! | 8 | bytes of the whole file, padding excluded |
//! | 8 | durable: frames up to this one were on the device when it was written |
//! | ... | logs |
//! | 4 | CRC-32C of everything before |
//!
//! The whole of this, padded to blocks, stands in the file twice: rot in one copy leaves the other.
//!
//! A log: `id u64, start u64, end u64, first segment u64, segment base u64, segment position u64, truncated in u64,
//! generation u32`; if that is not 0, `segments u32` and of each `base u64, generation u32, limit u64`; `leader epoch u32, producers
//! u32`, then producers: `id u64, epoch u16, batches u16, last timestamp i64`, then their batches, oldest first: `base
//! sequence u32, last sequence u32, base offset u64`.
//!
//! Version 1 stands in its file once, and its logs have no first segment and were never truncated; it is read, never written.

use super::crc::crc32c;
use crate::limits::{BLOCK_BYTES, JOURNAL_FILES_MAX, LOGS_MAX, PRODUCER_BATCHES_MAX, PRODUCERS_MAX};
use crate::types::{LogId, Offset};

const MAGIC: u32 = u32::from_le_bytes(*b"RMCP");
const VERSION: u32 = 2;
const VERSION_ONE_COPY: u32 = 1;
/// Where the length stands.
const TOTAL_AT: usize = 48;
/// What stands in front of the logs, and behind them.
const HEADER_BYTES: usize = 64;
const CHECKSUM_BYTES: usize = 4;

/// What a checkpoint says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// The start of the directory that the checkpoint belongs to.
    pub incarnation: u32,
    /// Which shard's it is.
    pub shard: u16,
    /// Frames up to this one are contained in the checkpoint and the segments.
    pub sequence: u64,
    /// Checksum field of that frame, which the next one names.
    pub chain: u32,
    /// Frames up to this one were on the device when the checkpoint was written: what is not sound is no torn write.
    pub durable: u64,
    /// The files of the shard's journal.
    pub journal: FileSet,
    /// Every log of the shard, in any order.
    pub logs: Vec<LogState>,
}

/// One log at the time of a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogState {
    /// Which log.
    pub id: LogId,
    /// First offset that may be read.
    pub start: Offset,
    /// Every record below is in a segment, unless it is below `start`.
    pub end: Offset,
    /// Base of the oldest segment; files of older ones are there only because their removal was not durable.
    pub first_segment: Offset,
    /// The segment that is being filled, and where its next run goes; position 0: there is none.
    pub segment_base: Offset,
    /// Where in that segment the next run goes, in bytes.
    pub segment_position: u64,
    /// The frame of the last truncation contained in this; entries of the log up to it are not replayed. 0: none.
    pub truncated_in: u64,
    /// Rises with each truncation that reached into segments; files of a higher one were begun later.
    pub generation: u32,
    /// Each segment, in order; none while the generation is 0, for then the names tell it.
    pub segments: Vec<SegmentState>,
    /// Epoch that batches are stamped with.
    pub leader_epoch: i32,
    /// Idempotent producers, with what they appended below `end`.
    pub producers: Vec<ProducerState>,
}

/// A segment of a log that was truncated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentState {
    /// First offset of the segment.
    pub base: Offset,
    /// Truncations into segments that came before it; a part of its file's name.
    pub generation: u32,
    /// What stands at this offset and behind does not count.
    pub limit: Offset,
}

/// What a log remembers of one idempotent producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerState {
    /// The producer's id.
    pub id: i64,
    /// The epoch of its last batch.
    pub epoch: i16,
    /// Latest time in its last batch, in ms since the Unix epoch.
    pub last_timestamp_ms: i64,
    /// The last batches, oldest first.
    pub batches: Vec<ProducerBatch>,
}

/// One batch a producer may send again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerBatch {
    /// Sequence of the first record.
    pub base_sequence: i32,
    /// Sequence of the last record.
    pub last_sequence: i32,
    /// Offset that the first record got.
    pub base_offset: Offset,
}

/// The files of one shard's journal: their numbers, which are in their names, and how long each is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FileSet {
    /// Number of the first file.
    pub first: u32,
    /// How many files, numbered from the first on.
    pub count: u32,
    /// Length of each file in bytes, once it is filled.
    pub file_bytes: u64,
}

impl FileSet {
    /// As many files as a journal uses.
    pub fn new(first: u32, file_bytes: u64) -> FileSet {
        FileSet { first, count: JOURNAL_FILES_MAX as u32, file_bytes }
    }

    /// Whether it can be what somebody wrote.
    fn is_sound(&self) -> bool {
        self.count as usize <= JOURNAL_FILES_MAX && self.first.checked_add(self.count).is_some()
    }
}

impl Checkpoint {
    /// The bytes of the file: whole blocks.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.copy();
        bytes.resize(bytes.len().next_multiple_of(BLOCK_BYTES), 0);
        bytes.extend_from_within(..);
        bytes
    }

    fn copy(&self) -> Vec<u8> {
        // At once, and for both copies: with very many logs this is most of the memory that a checkpoint takes.
        let copy_bytes = HEADER_BYTES + self.logs.iter().map(bytes_of).sum::<usize>() + CHECKSUM_BYTES;
        let mut out = Vec::with_capacity(2 * copy_bytes.next_multiple_of(BLOCK_BYTES));
        out.extend(MAGIC.to_le_bytes());
        out.extend(VERSION.to_le_bytes());
        out.extend(self.incarnation.to_le_bytes());
        out.extend(self.shard.to_le_bytes());
        out.extend([0; 2]);
        out.extend(self.sequence.to_le_bytes());
        out.extend(self.chain.to_le_bytes());
        out.extend((self.logs.len() as u32).to_le_bytes());
        out.extend(self.journal.first.to_le_bytes());
        out.extend(self.journal.count.to_le_bytes());
        out.extend(self.journal.file_bytes.to_le_bytes());
        debug_assert!(out.len() == TOTAL_AT);
        out.extend([0; 8]);
        out.extend(self.durable.to_le_bytes());
        for log in &self.logs {
            put_log(&mut out, log);
        }
        let total = (out.len() + 4) as u64;
        out[TOTAL_AT..TOTAL_AT + 8].copy_from_slice(&total.to_le_bytes());
        let checksum = crc32c(&out);
        out.extend(checksum.to_le_bytes());
        debug_assert_eq!(out.len(), copy_bytes);
        out
    }

    /// Reads a file's bytes; `None` if no copy in them is sound.
    pub fn from_bytes(bytes: &[u8]) -> Option<Checkpoint> {
        Checkpoint::copies(bytes).into_iter().flatten().next()
    }

    /// Each copy in a file's bytes, if it is sound; a file of version 1 has no second one.
    pub fn copies(bytes: &[u8]) -> [Option<Checkpoint>; 2] {
        let second = bytes.get(bytes.len() / 2..).filter(|half| half.len() >= BLOCK_BYTES);
        [Checkpoint::from_copy(bytes), second.and_then(Checkpoint::from_copy)]
    }

    /// Where a file's bytes are not what was written, although a copy of it is sound.
    pub fn first_damage(&self, bytes: &[u8]) -> Option<usize> {
        let one_copy = bytes.get(4..8) == Some(&VERSION_ONE_COPY.to_le_bytes());
        if one_copy && Checkpoint::from_copy(bytes).is_some() {
            let total = bytes.get(TOTAL_AT..).and_then(|rest| Input(rest).u64()).unwrap_or_default() as usize;
            let padding = bytes.get(total..).unwrap_or_default();
            return padding.iter().position(|byte| *byte != 0).map(|at| total + at);
        }
        let written = self.to_bytes();
        let differs = written.iter().zip(bytes).position(|(one, other)| one != other);
        differs.or((written.len() != bytes.len()).then_some(written.len().min(bytes.len())))
    }

    fn from_copy(bytes: &[u8]) -> Option<Checkpoint> {
        let mut input = Input(bytes);
        if input.u32()? != MAGIC {
            return None;
        }
        let version = input.u32()?;
        if version != VERSION && version != VERSION_ONE_COPY {
            return None;
        }
        let incarnation = input.u32()?;
        let shard = input.u16()?;
        input.u16()?;
        let (sequence, chain) = (input.u64()?, input.u32()?);
        let logs_count = input.u32()? as usize;
        let (first, count, file_bytes) = (input.u32()?, input.u32()?, input.u64()?);
        let journal = FileSet { first, count, file_bytes };
        let total = usize::try_from(input.u64()?).ok().filter(|total| *total <= bytes.len())?;
        let body = bytes.get(..total.checked_sub(4)?)?;
        let mut checksum = Input(bytes.get(total - 4..total)?);
        if checksum.u32()? != crc32c(body) || logs_count > LOGS_MAX || !journal.is_sound() {
            return None;
        }
        input.0 = body.get(bytes.len() - input.0.len()..)?;
        let mut logs = Vec::with_capacity(logs_count);
        let durable = if version == VERSION_ONE_COPY { sequence } else { input.u64()? };
        for _ in 0..logs_count {
            logs.push(input.log(version)?);
        }
        input.0.is_empty().then_some(Checkpoint {
            incarnation,
            shard,
            sequence,
            chain,
            durable,
            journal,
            logs,
        })
    }
}

/// How many bytes [`put_log`] puts.
fn bytes_of(log: &LogState) -> usize {
    let segments = if log.generation > 0 { 4 + 20 * log.segments.len() } else { 0 };
    let producers: usize = log.producers.iter().map(|producer| 20 + 16 * producer.batches.len()).sum();
    68 + segments + producers
}

fn put_log(out: &mut Vec<u8>, log: &LogState) {
    let LogState { id, start, end, first_segment, segment_base, segment_position, truncated_in, .. } = *log;
    for number in [id.0, start, end, first_segment, segment_base, segment_position, truncated_in] {
        out.extend(number.to_le_bytes());
    }
    out.extend(log.generation.to_le_bytes());
    if log.generation > 0 {
        out.extend((log.segments.len() as u32).to_le_bytes());
        for segment in &log.segments {
            out.extend(segment.base.to_le_bytes());
            out.extend(segment.generation.to_le_bytes());
            out.extend(segment.limit.to_le_bytes());
        }
    }
    out.extend(log.leader_epoch.to_le_bytes());
    out.extend((log.producers.len() as u32).to_le_bytes());
    for producer in &log.producers {
        out.extend(producer.id.to_le_bytes());
        out.extend(producer.epoch.to_le_bytes());
        out.extend((producer.batches.len() as u16).to_le_bytes());
        out.extend(producer.last_timestamp_ms.to_le_bytes());
        for batch in &producer.batches {
            out.extend(batch.base_sequence.to_le_bytes());
            out.extend(batch.last_sequence.to_le_bytes());
            out.extend(batch.base_offset.to_le_bytes());
        }
    }
}

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (front, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*front)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn log(&mut self, version: u32) -> Option<LogState> {
        let (id, start, end) = (LogId(self.u64()?), self.u64()?, self.u64()?);
        let first_segment = if version == VERSION_ONE_COPY { 0 } else { self.u64()? };
        let (segment_base, segment_position) = (self.u64()?, self.u64()?);
        let (truncated_in, generation) = match version {
            VERSION_ONE_COPY => (0, 0),
            _ => (self.u64()?, self.u32()?),
        };
        let segments = if generation > 0 { self.segments()? } else { Vec::new() };
        let leader_epoch = self.u32()? as i32;
        let count = self.u32()? as usize;
        if count > PRODUCERS_MAX || start > end {
            return None;
        }
        let mut producers = Vec::with_capacity(count);
        for _ in 0..count {
            producers.push(self.producer()?);
        }
        Some(LogState {
            id,
            start,
            end,
            first_segment,
            segment_base,
            segment_position,
            truncated_in,
            generation,
            segments,
            leader_epoch,
            producers,
        })
    }

    fn segments(&mut self) -> Option<Vec<SegmentState>> {
        const SEGMENT_BYTES: usize = 2 * size_of::<u64>() + size_of::<u32>();
        let count = self.u32()? as usize;
        if count > self.0.len() / SEGMENT_BYTES {
            return None;
        }
        let segment = |input: &mut Self| {
            Some(SegmentState { base: input.u64()?, generation: input.u32()?, limit: input.u64()? })
        };
        (0..count).map(|_| segment(self)).collect()
    }

    fn producer(&mut self) -> Option<ProducerState> {
        let id = self.u64()? as i64;
        let epoch = self.u16()? as i16;
        let count = usize::from(self.u16()?);
        let last_timestamp_ms = self.u64()? as i64;
        if count > PRODUCER_BATCHES_MAX {
            return None;
        }
        let mut batches = Vec::with_capacity(count);
        for _ in 0..count {
            let (base_sequence, last_sequence) = (self.u32()? as i32, self.u32()? as i32);
            batches.push(ProducerBatch { base_sequence, last_sequence, base_offset: self.u64()? });
        }
        Some(ProducerState { id, epoch, last_timestamp_ms, batches })
    }
}
