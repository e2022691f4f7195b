//! State records: what of a group outlives the process, as bytes.
//!
//! In: facts. Out: bytes, and facts again. Never: trusts a length before it is checked.
//!
//! All numbers little-endian; a text is its length (u32) and its UTF-8 bytes.
//!
//! | field | type | |
//! |---|---|---|
//! | version | u8 | 1 |
//! | kind | u8 | 1 offsets, 2 group deleted, 3 topic forgotten, 4 offsets forgotten |
//! | group | text | |
//! | kind 1: count | u32 | |
//! | kind 1: count × | text, i32, i64, i32, text | topic, partition, offset, leader epoch, metadata |
//! | kind 3: topic | text | |
//! | kind 4: count | u32 | |
//! | kind 4: count × | text, i32 | topic, partition |

use std::fmt;
use std::str::Utf8Error;

use super::OffsetCommit;

const VERSION: u8 = 1;
const KIND_OFFSETS: u8 = 1;
const KIND_GROUP_DELETED: u8 = 2;
const KIND_TOPIC_FORGOTTEN: u8 = 3;
const KIND_OFFSETS_FORGOTTEN: u8 = 4;

/// A record of offsets, or of partitions, ends behind the one that takes it over this many bytes.
const RECORD_BYTES_TARGET: usize = 64 * 1024;
/// Bytes before the texts of an offset count: two lengths, partition, offset, leader epoch.
const OFFSET_BYTES_MIN: usize = 4 + 4 + 8 + 4 + 4;
/// The same of a partition: a length and its number.
const PARTITION_BYTES_MIN: usize = 4 + 4;

/// A fact about a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StateRecord {
    Offsets { group: String, offsets: Vec<OffsetCommit> },
    GroupDeleted { group: String },
    TopicForgotten { group: String, topic: String },
    OffsetsForgotten { group: String, partitions: Vec<(String, i32)> },
}

/// Why bytes are no state record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadState {
    /// Written by a later version of this program.
    UnknownVersion(u8),
    UnknownKind(u8),
    /// It ends at `at`, in the middle of something `wanted` bytes long.
    Truncated {
        at: usize,
        wanted: usize,
    },
    /// So many bytes follow its end.
    Trailing(usize),
    NotText(Utf8Error),
}

impl fmt::Display for BadState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadState::UnknownVersion(version) => write!(f, "group state of unknown version {version}"),
            BadState::UnknownKind(kind) => write!(f, "group state of unknown kind {kind}"),
            BadState::Truncated { at, wanted } => {
                write!(f, "group state ends at byte {at} where {wanted} more bytes belong")
            }
            BadState::Trailing(count) => write!(f, "group state has {count} bytes behind its end"),
            BadState::NotText(error) => write!(f, "group state holds a name that is no text: {error}"),
        }
    }
}

impl std::error::Error for BadState {}

/// Records of these offsets, in their order. At least one record even if there are none.
pub(super) fn encode_offsets(group: &str, offsets: impl Iterator<Item = OffsetCommit>) -> Vec<Vec<u8>> {
    encode_many(KIND_OFFSETS, group, offsets, |bytes, offset| {
        put_text(bytes, &offset.topic);
        bytes.extend_from_slice(&offset.partition.to_le_bytes());
        bytes.extend_from_slice(&offset.offset.to_le_bytes());
        bytes.extend_from_slice(&offset.leader_epoch.to_le_bytes());
        put_text(bytes, &offset.metadata);
    })
}

/// Records of the deletion of these partitions' offsets, in their order. At least one record.
pub(super) fn encode_offsets_forgotten(
    group: &str,
    partitions: impl Iterator<Item = (String, i32)>,
) -> Vec<Vec<u8>> {
    encode_many(KIND_OFFSETS_FORGOTTEN, group, partitions, |bytes, (topic, partition)| {
        put_text(bytes, topic);
        bytes.extend_from_slice(&partition.to_le_bytes());
    })
}

fn encode_many<T>(
    kind: u8,
    group: &str,
    items: impl Iterator<Item = T>,
    put: impl Fn(&mut Vec<u8>, &T),
) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    let mut items = items.peekable();
    loop {
        let mut bytes = begin(kind, group);
        let count_at = bytes.len();
        let mut count = 0u32;
        bytes.extend_from_slice(&count.to_le_bytes());
        while let Some(item) = items.next_if(|_| bytes.len() < RECORD_BYTES_TARGET) {
            put(&mut bytes, &item);
            count += 1;
        }
        bytes[count_at..count_at + 4].copy_from_slice(&count.to_le_bytes());
        records.push(bytes);
        if items.peek().is_none() {
            return records;
        }
    }
}

/// The record of a group's deletion.
pub(super) fn encode_group_deleted(group: &str) -> Vec<u8> {
    begin(KIND_GROUP_DELETED, group)
}

/// The record of a topic's deletion, as one group sees it.
pub(super) fn encode_topic_forgotten(group: &str, topic: &str) -> Vec<u8> {
    let mut bytes = begin(KIND_TOPIC_FORGOTTEN, group);
    put_text(&mut bytes, topic);
    bytes
}

fn begin(kind: u8, group: &str) -> Vec<u8> {
    let mut bytes = vec![VERSION, kind];
    put_text(&mut bytes, group);
    bytes
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    assert!(length < u32::MAX, "names and metadata are checked to be short before they get here");
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

/// The fact in these bytes.
pub(super) fn decode(bytes: &[u8]) -> Result<StateRecord, BadState> {
    let mut reader = Reader { bytes, at: 0 };
    let [version] = reader.array()?;
    if version != VERSION {
        return Err(BadState::UnknownVersion(version));
    }
    let [kind] = reader.array()?;
    let group = reader.text()?;
    let record = match kind {
        KIND_OFFSETS => StateRecord::Offsets { group, offsets: reader.offsets()? },
        KIND_GROUP_DELETED => StateRecord::GroupDeleted { group },
        KIND_TOPIC_FORGOTTEN => StateRecord::TopicForgotten { group, topic: reader.text()? },
        KIND_OFFSETS_FORGOTTEN => StateRecord::OffsetsForgotten { group, partitions: reader.partitions()? },
        unknown => return Err(BadState::UnknownKind(unknown)),
    };
    match reader.left() {
        0 => Ok(record),
        count => Err(BadState::Trailing(count)),
    }
}

/// Takes fields off the front. `at` ≤ `bytes.len()`.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], BadState> {
        let truncated = BadState::Truncated { at: self.bytes.len(), wanted: count };
        let taken = self.bytes.get(self.at..).and_then(|rest| rest.get(..count)).ok_or(truncated)?;
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BadState> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn text(&mut self) -> Result<String, BadState> {
        let length = u32::from_le_bytes(self.array()?) as usize;
        let bytes = self.take(length)?;
        Ok(std::str::from_utf8(bytes).map_err(BadState::NotText)?.to_string())
    }

    fn offsets(&mut self) -> Result<Vec<OffsetCommit>, BadState> {
        let count = u32::from_le_bytes(self.array()?) as usize;
        let mut offsets = Vec::with_capacity(count.min(self.left() / OFFSET_BYTES_MIN));
        for _ in 0..count {
            offsets.push(OffsetCommit {
                topic: self.text()?,
                partition: i32::from_le_bytes(self.array()?),
                offset: i64::from_le_bytes(self.array()?),
                leader_epoch: i32::from_le_bytes(self.array()?),
                metadata: self.text()?,
            });
        }
        Ok(offsets)
    }

    fn partitions(&mut self) -> Result<Vec<(String, i32)>, BadState> {
        let count = u32::from_le_bytes(self.array()?) as usize;
        let mut partitions = Vec::with_capacity(count.min(self.left() / PARTITION_BYTES_MIN));
        for _ in 0..count {
            partitions.push((self.text()?, i32::from_le_bytes(self.array()?)));
        }
        Ok(partitions)
    }
}
