//! Record batches, version 2: the unit of append, checksum, compression and transfer.
//!
//! In: bytes a producer sent, or bytes read from a device. Out: views that were checked, or the reason why not.
//! Never: looks at a record; changes a byte beyond the stamp.
//!
//! The layout is Apache Kafka's (KIP-98), all integers big-endian:
//!
//! | at | bytes | field | |
//! |---|---|---|---|
//! | 0 | 8 | base offset | stamped at append |
//! | 8 | 4 | length | of everything after this field |
//! | 12 | 4 | leader epoch | stamped at append |
//! | 16 | 1 | magic | 2 |
//! | 17 | 4 | CRC-32C | of everything from 21 to the end |
//! | 21 | 2 | attributes | 0-2 codec, 3 log-append time, 4 transactional, 5 control |
//! | 23 | 4 | last offset delta | records - 1 unless compacted |
//! | 27 | 8 | base timestamp | ms |
//! | 35 | 8 | max timestamp | ms |
//! | 43 | 8 | producer id | -1: none |
//! | 51 | 2 | producer epoch | |
//! | 53 | 4 | base sequence | |
//! | 57 | 4 | records count | |
//! | 61 | | records | compressed as a whole if the codec says so |

use bytes::Bytes;
use zerocopy::byteorder::big_endian::{I16, I32, I64, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::crc::crc32c;
use crate::limits::{BATCH_BYTES_MAX, RECORDS_BYTES_MAX};
use crate::types::Offset;

/// Bytes before the first record.
pub const HEADER_BYTES: usize = size_of::<BatchHeader>();
/// Bytes before the part that the length field counts.
pub const LENGTH_END: usize = 12;
/// Bytes of the smallest record: seven fields of at least one byte.
pub const RECORD_BYTES_MIN: usize = 7;
/// First byte the checksum covers.
pub const CRC_START: usize = 21;

/// Attributes: which compression codec.
pub const CODEC_MASK: i16 = 0x07;
/// Attributes: timestamps are the time of append.
pub const LOG_APPEND_TIME: i16 = 0x08;
/// Attributes: part of a transaction.
pub const TRANSACTIONAL: i16 = 0x10;
/// Attributes: a transaction marker.
pub const CONTROL: i16 = 0x20;

/// The fixed part of a batch, as it lies in memory, in the journal and on the wire.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct BatchHeader {
    /// Offset of the first record; stamped when the batch is appended.
    pub base_offset: I64,
    /// Bytes of everything behind this field.
    pub length: I32,
    /// Leader epoch; stamped when the batch is appended.
    pub leader_epoch: I32,
    /// Version of the batch: 2.
    pub magic: u8,
    /// CRC-32C of everything from the attributes to the end.
    pub crc: U32,
    /// Bits: [`CODEC_MASK`], [`LOG_APPEND_TIME`], [`TRANSACTIONAL`], [`CONTROL`].
    pub attributes: I16,
    /// Offset of the last record minus the base offset.
    pub last_offset_delta: I32,
    /// What the times of the records count from, in ms since the Unix epoch.
    pub base_timestamp: I64,
    /// Latest time of a record, in ms since the Unix epoch.
    pub max_timestamp: I64,
    /// Id of an idempotent producer; -1: none.
    pub producer_id: I64,
    /// Epoch of the producer; a later one fences earlier ones.
    pub producer_epoch: I16,
    /// The producer's number of the first record; -1: none.
    pub base_sequence: I32,
    /// Records in the batch; compaction makes them fewer than the offsets.
    pub records_count: I32,
}

const _: () = assert!(HEADER_BYTES == 61);

impl BatchHeader {
    /// Offsets the batch takes: one more than its last delta, because compaction may have removed records.
    pub fn offsets_count(&self) -> u64 {
        self.last_offset_delta.get() as u64 + 1
    }

    /// Bytes of the whole batch.
    pub fn total_bytes(&self) -> usize {
        LENGTH_END + self.length.get() as usize
    }

    /// The producer, when the batch is idempotent.
    pub fn producer(&self) -> Option<i64> {
        (self.producer_id.get() >= 0).then(|| self.producer_id.get())
    }
}

/// Why bytes are not a batch that may be appended, or may be served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BatchError {
    /// Fewer bytes than the header or than its length field says, or bytes left over.
    Length,
    /// Above [`BATCH_BYTES_MAX`].
    TooLarge,
    /// Not version 2.
    Magic(u8),
    /// The checksum does not match.
    Crc {
        /// What the header says.
        expected: u32,
        /// What the bytes give.
        found: u32,
    },
    /// Counts that contradict each other, or no record at all.
    Count,
    /// A control batch, which only the log itself may write.
    Control,
    /// A producer id without a sequence, or a client that claims log-append time.
    Header,
}

impl std::fmt::Display for BatchError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BatchError::Length => write!(f, "the batch is cut short or has bytes left over"),
            BatchError::TooLarge => write!(f, "the batch is larger than {BATCH_BYTES_MAX} bytes"),
            BatchError::Magic(found) => write!(f, "batch version {found}, expected 2"),
            BatchError::Crc { expected, found } => {
                write!(f, "batch checksum {found:08x}, its header says {expected:08x}")
            }
            BatchError::Count => write!(f, "the batch's record count and offsets contradict each other"),
            BatchError::Control => write!(f, "control batches are written by the log only"),
            BatchError::Header => write!(f, "the batch's producer or timestamp fields contradict each other"),
        }
    }
}

impl std::error::Error for BatchError {}

/// One whole batch whose shape and checksum were verified. Holding one is the proof.
#[derive(Clone, Debug)]
pub struct CheckedBatch(Bytes);

impl CheckedBatch {
    /// Checks `bytes` as a producer's batch: exactly one, version 2, sound, with at least one record. Fails with the
    /// first of [`BatchError`] that applies.
    pub fn from_producer(bytes: Bytes) -> Result<CheckedBatch, BatchError> {
        let header = check(&bytes)?;
        if header.total_bytes() != bytes.len() {
            return Err(BatchError::Length);
        }
        if header.attributes.get() & CONTROL != 0 {
            return Err(BatchError::Control);
        }
        let count = header.records_count.get();
        if count <= 0 || header.last_offset_delta.get() != count - 1 {
            return Err(BatchError::Count);
        }
        // What a codec made of the records is not known here; only what it could have been made of.
        let compressed = header.attributes.get() & CODEC_MASK != 0;
        let records_bytes_max = if compressed { RECORDS_BYTES_MAX } else { bytes.len() - HEADER_BYTES };
        if count as usize > records_bytes_max / RECORD_BYTES_MIN {
            return Err(BatchError::Count);
        }
        let sequence_missing = header.producer_id.get() >= 0
            && (header.base_sequence.get() < 0 || header.producer_epoch.get() < 0);
        if sequence_missing || header.attributes.get() & LOG_APPEND_TIME != 0 {
            return Err(BatchError::Header);
        }
        Ok(CheckedBatch(bytes))
    }

    /// The fixed part.
    pub fn header(&self) -> &BatchHeader {
        header_of(&self.0)
    }

    /// The bytes, header included.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }
}

/// Checks that a sound batch begins `bytes` (more may follow) and returns its header.
pub fn check(bytes: &[u8]) -> Result<&BatchHeader, BatchError> {
    let header = shape(bytes)?;
    let body = bytes.get(CRC_START..header.total_bytes()).ok_or(BatchError::Length)?;
    let found = crc32c(body);
    if found != header.crc.get() {
        return Err(BatchError::Crc { expected: header.crc.get(), found });
    }
    Ok(header)
}

/// Checks all that [`check`] does but the checksum.
pub fn shape(bytes: &[u8]) -> Result<&BatchHeader, BatchError> {
    let Ok((header, _)) = BatchHeader::ref_from_prefix(bytes) else { return Err(BatchError::Length) };
    let length = header.length.get();
    if length < (HEADER_BYTES - LENGTH_END) as i32 {
        return Err(BatchError::Length);
    }
    if length as usize > BATCH_BYTES_MAX - LENGTH_END {
        return Err(BatchError::TooLarge);
    }
    if header.magic != 2 {
        return Err(BatchError::Magic(header.magic));
    }
    if header.total_bytes() > bytes.len() {
        return Err(BatchError::Length);
    }
    if header.last_offset_delta.get() < 0 || header.records_count.get() < 0 {
        return Err(BatchError::Count);
    }
    Ok(header)
}

/// Writes the two fields that the log owns, both before the checksummed part.
pub fn stamp(batch: &mut [u8], base_offset: Offset, leader_epoch: i32) {
    if let Ok((header, _)) = BatchHeader::mut_from_prefix(batch) {
        header.base_offset = I64::new(base_offset as i64);
        header.leader_epoch = I32::new(leader_epoch);
    }
}

fn header_of(bytes: &[u8]) -> &BatchHeader {
    match BatchHeader::ref_from_prefix(bytes) {
        Ok((header, _)) => header,
        Err(_) => unreachable!("a checked batch has a header"),
    }
}

/// Walks batches that lie back to back, sharing `bytes`. Ends at the first that is cut short; checks no CRC.
pub fn split(mut bytes: Bytes) -> impl Iterator<Item = (BatchHeader, Bytes)> {
    std::iter::from_fn(move || {
        let header = *shape(&bytes).ok()?;
        Some((header, bytes.split_to(header.total_bytes())))
    })
}
