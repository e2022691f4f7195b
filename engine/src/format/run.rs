//! The segment file: a header block, runs of batches, and a table of the runs once it is sealed.
//!
//! All integers little-endian; every part begins on a block boundary and knows its own place.
//!
//! ```text
//!   | segment header, 4096 | run | run | ... | table of runs, padded | trailer, 4096 |
//!                                            `------- only when sealed -------------'
//!   run = | header, 64 | batches back to back | zeros to the next block |     (compacted: perhaps no batch)
//! ```

use zerocopy::byteorder::little_endian::{I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::crc::crc32c;
use crate::limits::{BATCH_BYTES_MAX, BLOCK_BYTES, RUN_BYTES};
use crate::types::{LogId, Offset};

const SEGMENT_MAGIC: u32 = u32::from_le_bytes(*b"RMSG");
const RUN_MAGIC: u32 = u32::from_le_bytes(*b"RMRN");
const TRAILER_MAGIC: u32 = u32::from_le_bytes(*b"RMTR");
const VERSION: u16 = 1;
/// Of runs that were compacted: their offsets may have gaps, and batches no records.
const COMPACTED: u16 = 2;

/// Bytes of a segment before its first run.
pub const SEGMENT_HEADER_BYTES: usize = BLOCK_BYTES;
/// Bytes of a run before its first batch.
pub const RUN_HEADER_BYTES: usize = size_of::<RunHeader>();
/// Bytes of the trailer's block.
pub const TRAILER_BYTES: usize = BLOCK_BYTES;
/// Bytes of the trailer's block that mean something; the rest is zero.
pub const TRAILER_USED_BYTES: usize = size_of::<Trailer>();
/// Largest run: a mebibyte of batches, which is twice what is settled at a time now, or a single batch that is larger, or what
/// waited and is placed with a section.
pub const RUN_TOTAL_BYTES_MAX: usize =
    (RUN_HEADER_BYTES + (1 << 20) + BATCH_BYTES_MAX).next_multiple_of(BLOCK_BYTES);
const _: () = assert!(RUN_BYTES <= 1 << 20);

/// First bytes of a segment file.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct SegmentHeader {
    /// "RMSG".
    pub magic: U32,
    /// 1.
    pub version: U16,
    /// Zeros.
    pub zero: U16,
    /// Id of the log.
    pub log: U64,
    /// Offset that the segment begins with; also in the file's name.
    pub base_offset: U64,
    /// Epoch of the log when the segment was begun.
    pub leader_epoch: U32,
    /// CRC-32C of everything before.
    pub checksum: U32,
}

/// First bytes of a run.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct RunHeader {
    /// "RMRN".
    pub magic: U32,
    /// 1; 2 if the run was compacted.
    pub version: U16,
    /// Zeros.
    pub zero: U16,
    /// Id of the log.
    pub log: U64,
    /// Offset of the first record; compaction may have removed it.
    pub base_offset: U64,
    /// One more than the last offset in the run.
    pub end_offset: U64,
    /// Of the batches, header and padding excluded.
    pub bytes: U32,
    /// CRC-32C of the batches.
    pub body_checksum: U32,
    /// Latest time of a record in the run, in ms since the Unix epoch.
    pub max_timestamp_ms: I64,
    /// Of the run in its file.
    pub position: U64,
    /// Seconds since the Unix epoch when the run was compacted first; 0: it never was.
    pub compacted_at_s: U32,
    /// CRC-32C of everything before.
    pub checksum: U32,
}

const _: () = assert!(RUN_HEADER_BYTES == 64);

/// Where a run is and what it holds: an entry of a segment's table.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct RunPlace {
    /// Offset of the first record; compaction may have removed it.
    pub base_offset: U64,
    /// One more than the last offset in the run.
    pub end_offset: U64,
    /// Where the run begins in its file, in bytes.
    pub position: U64,
    /// Latest time of a record in the run, in ms since the Unix epoch.
    pub max_timestamp_ms: I64,
    /// Bytes of the batches, header and padding excluded.
    pub bytes: U32,
    /// As in the run's header.
    pub compacted_at_s: U32,
}

/// The start of a sealed segment's last block.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
struct Trailer {
    magic: U32,
    version: U16,
    zero: U16,
    log: U64,
    base_offset: U64,
    end_offset: U64,
    table_position: U64,
    runs_count: U32,
    table_checksum: U32,
    zero_too: U32,
    checksum: U32,
}

/// Why bytes are not the part of a segment they should be, in words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadSegment(pub &'static str);

/// CRC-32C of all of `part` but its last four bytes, where each structure here keeps it.
fn checksum_of(part: &[u8]) -> u32 {
    part.len().checked_sub(4).and_then(|end| part.get(..end)).map_or(0, crc32c)
}

impl SegmentHeader {
    /// The header block of a new segment.
    pub fn block(log: LogId, base_offset: Offset, leader_epoch: i32) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut header = SegmentHeader {
            magic: U32::new(SEGMENT_MAGIC),
            version: U16::new(VERSION),
            zero: U16::new(0),
            log: U64::new(log.0),
            base_offset: U64::new(base_offset),
            leader_epoch: U32::new(leader_epoch as u32),
            checksum: U32::new(0),
        };
        header.checksum = U32::new(checksum_of(header.as_bytes()));
        let mut block = [0; SEGMENT_HEADER_BYTES];
        block[..size_of::<SegmentHeader>()].copy_from_slice(header.as_bytes());
        block
    }

    /// The offset that the segment of `log` begins with, as its header says.
    pub fn base_of(bytes: &[u8], log: LogId) -> Result<Offset, BadSegment> {
        let Ok((header, _)) = SegmentHeader::read_from_prefix(bytes) else {
            return Err(BadSegment("the segment is shorter than its header"));
        };
        let base_offset = header.base_offset.get();
        SegmentHeader::read(bytes, log, base_offset).map(|_| base_offset)
    }

    /// Reads the header of the segment of `log` that begins with `base_offset`.
    pub fn read(bytes: &[u8], log: LogId, base_offset: Offset) -> Result<SegmentHeader, BadSegment> {
        let Ok((header, _)) = SegmentHeader::read_from_prefix(bytes) else {
            return Err(BadSegment("the segment is shorter than its header"));
        };
        if header.magic.get() != SEGMENT_MAGIC || header.checksum.get() != checksum_of(header.as_bytes()) {
            return Err(BadSegment("the segment's header does not match its checksum"));
        }
        if header.version.get() != VERSION {
            return Err(BadSegment("the segment has a version this code does not know"));
        }
        if header.log.get() != log.0 || header.base_offset.get() != base_offset {
            return Err(BadSegment("the segment belongs to another log or offset"));
        }
        Ok(header)
    }
}

impl RunHeader {
    /// The header of a run whose batches are `body`.
    pub fn new(
        log: LogId,
        offsets: std::ops::Range<Offset>,
        max_timestamp_ms: i64,
        position: u64,
        body: &[u8],
    ) -> RunHeader {
        RunHeader::compacted(log, offsets, max_timestamp_ms, position, body, 0)
    }

    /// The same where `body` is what compaction left, that second and perhaps again later; 0: it was not compacted.
    pub fn compacted(
        log: LogId,
        offsets: std::ops::Range<Offset>,
        max_timestamp_ms: i64,
        position: u64,
        body: &[u8],
        compacted_at_s: u32,
    ) -> RunHeader {
        let mut header = RunHeader {
            magic: U32::new(RUN_MAGIC),
            version: U16::new(if compacted_at_s == 0 { VERSION } else { COMPACTED }),
            zero: U16::new(0),
            log: U64::new(log.0),
            base_offset: U64::new(offsets.start),
            end_offset: U64::new(offsets.end),
            bytes: U32::new(body.len() as u32),
            body_checksum: U32::new(crc32c(body)),
            max_timestamp_ms: I64::new(max_timestamp_ms),
            position: U64::new(position),
            compacted_at_s: U32::new(compacted_at_s),
            checksum: U32::new(0),
        };
        header.checksum = U32::new(checksum_of(header.as_bytes()));
        header
    }

    /// Whether the run was compacted, so that offsets may be missing in it.
    pub fn is_compacted(&self) -> bool {
        self.version.get() == COMPACTED
    }

    /// Reads the header of the run of `log` at `position`.
    pub fn read(bytes: &[u8], log: LogId, position: u64) -> Result<RunHeader, BadSegment> {
        let Ok((header, _)) = RunHeader::read_from_prefix(bytes) else {
            return Err(BadSegment("the run is cut short"));
        };
        if header.magic.get() != RUN_MAGIC || header.checksum.get() != checksum_of(header.as_bytes()) {
            return Err(BadSegment("the run's header does not match its checksum"));
        }
        if header.version.get() != VERSION && !header.is_compacted() {
            return Err(BadSegment("the run has a version this code does not know"));
        }
        if header.log.get() != log.0 || header.position.get() != position {
            return Err(BadSegment("the run belongs to another log or place"));
        }
        let offsets_rise = header.base_offset.get() < header.end_offset.get();
        if !offsets_rise || header.total_bytes() > RUN_TOTAL_BYTES_MAX {
            return Err(BadSegment("the run's lengths make no sense"));
        }
        Ok(header)
    }

    /// Bytes of the run with header and padding.
    pub fn total_bytes(&self) -> usize {
        (RUN_HEADER_BYTES + self.bytes.get() as usize).next_multiple_of(BLOCK_BYTES)
    }

    /// The table entry of this run.
    pub fn place(&self) -> RunPlace {
        RunPlace {
            base_offset: self.base_offset,
            end_offset: self.end_offset,
            position: self.position,
            max_timestamp_ms: self.max_timestamp_ms,
            bytes: self.bytes,
            compacted_at_s: self.compacted_at_s,
        }
    }
}

impl RunPlace {
    /// Bytes of the run with header and padding.
    pub fn total_bytes(&self) -> usize {
        (RUN_HEADER_BYTES + self.bytes.get() as usize).next_multiple_of(BLOCK_BYTES)
    }
}

/// What is written behind the last run to seal a segment: the table, then the trailer's block.
pub fn seal(log: LogId, base_offset: Offset, runs: &[RunPlace], table_position: u64) -> Vec<u8> {
    let table = runs.as_bytes();
    let mut bytes = table.to_vec();
    bytes.resize(bytes.len().next_multiple_of(BLOCK_BYTES), 0);
    let mut trailer = Trailer {
        magic: U32::new(TRAILER_MAGIC),
        version: U16::new(VERSION),
        zero: U16::new(0),
        log: U64::new(log.0),
        base_offset: U64::new(base_offset),
        end_offset: runs.last().map_or(U64::new(base_offset), |run| run.end_offset),
        table_position: U64::new(table_position),
        runs_count: U32::new(runs.len() as u32),
        table_checksum: U32::new(crc32c(table)),
        zero_too: U32::new(0),
        checksum: U32::new(0),
    };
    trailer.checksum = U32::new(checksum_of(trailer.as_bytes()));
    bytes.extend_from_slice(trailer.as_bytes());
    bytes.resize(bytes.len().next_multiple_of(BLOCK_BYTES), 0);
    bytes
}

/// Place and length of the table, out of a sealed segment's last block; `None`: the segment is not sealed.
pub fn table_place(
    last_block: &[u8],
    log: LogId,
    base_offset: Offset,
    file_bytes: u64,
) -> Option<(u64, usize)> {
    let (trailer, _) = Trailer::read_from_prefix(last_block).ok()?;
    let sound = trailer.magic.get() == TRAILER_MAGIC
        && trailer.version.get() == VERSION
        && trailer.checksum.get() == checksum_of(trailer.as_bytes())
        && trailer.log.get() == log.0
        && trailer.base_offset.get() == base_offset;
    let bytes = (trailer.runs_count.get() as usize).checked_mul(size_of::<RunPlace>())?;
    let end = trailer.table_position.get().checked_add(bytes.next_multiple_of(BLOCK_BYTES) as u64)?;
    (sound && end.checked_add(TRAILER_BYTES as u64)? == file_bytes)
        .then_some((trailer.table_position.get(), bytes))
}

/// The runs of a sealed segment, out of its table and its last block.
pub fn table(table: &[u8], last_block: &[u8]) -> Result<Vec<RunPlace>, BadSegment> {
    let Ok((trailer, _)) = Trailer::read_from_prefix(last_block) else {
        return Err(BadSegment("the segment has no trailer"));
    };
    if crc32c(table) != trailer.table_checksum.get() {
        return Err(BadSegment("the table of runs does not match its checksum"));
    }
    match <[RunPlace]>::ref_from_bytes(table) {
        Ok(runs) => Ok(runs.to_vec()),
        Err(_) => Err(BadSegment("the table of runs is cut short")),
    }
}
