//! The journal frame: one group commit, and the entries inside it.
//!
//! In: entries to lay out, or bytes of a journal file. Out: frames, or the reason why bytes are none.
//! Never: knows which file the bytes are in.
//!
//! A frame is a multiple of 4096 bytes and begins on a block boundary. All integers are little-endian.
//!
//! | at | bytes | field | |
//! |---|---|---|---|
//! | 0 | 4 | magic | "RMJF" |
//! | 4 | 2 | version | 1 |
//! | 6 | 2 | shard | whose journal |
//! | 8 | 4 | generation | of the file: rises each time a file is used again |
//! | 12 | 4 | length | of the whole frame |
//! | 16 | 8 | sequence | dense, over all files of the shard |
//! | 24 | 8 | position | of this frame in its file |
//! | 32 | 8 | durable upto | highest sequence known durable when this frame was written |
//! | 40 | 4 | body bytes | entries, padding excluded |
//! | 44 | 4 | entries | their number; 0: the frame only seals what is before it |
//! | 48 | 4 | previous | checksum field of the frame before (the chain) |
//! | 52 | 4 | body checksum | CRC-32C of the body |
//! | 56 | 4 | incarnation | of the data directory: rises at every start |
//! | 60 | 4 | checksum | CRC-32C of the 60 bytes before |
//! | 64 | | body | entries back to back, each padded to 8 bytes |
//!
//! An entry:
//!
//! | at | bytes | field | |
//! |---|---|---|---|
//! | 0 | 1 | kind | 1 batch, 2 create, 3 delete, 4 trim, 5 truncate |
//! | 1 | 3 | | zero |
//! | 4 | 4 | length | of the bytes that follow this header |
//! | 8 | 8 | log id | |
//! | 16 | 8 | offset | batch: base offset; trim: new log start offset; truncate: new log end offset |
//! | 24 | 4 | leader epoch | |
//! | 28 | 4 | | zero |

use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::crc::crc32c;
use crate::limits::{BLOCK_BYTES, JOURNAL_FILE_BYTES_MAX};
use crate::types::{LogId, Offset};

/// "RMJF".
pub const MAGIC: u32 = u32::from_le_bytes(*b"RMJF");
/// The version this code writes and reads.
pub const VERSION: u16 = 1;
/// Bytes before the body.
pub const HEADER_BYTES: usize = size_of::<FrameHeader>();
/// Bytes before an entry's own bytes.
pub const ENTRY_BYTES: usize = size_of::<EntryHeader>();

/// The fixed part of a frame.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct FrameHeader {
    pub magic: U32,
    pub version: U16,
    pub shard: U16,
    pub generation: U32,
    pub length: U32,
    pub sequence: U64,
    pub position: U64,
    pub durable_upto: U64,
    pub body_bytes: U32,
    pub entries_count: U32,
    pub previous: U32,
    pub body_checksum: U32,
    pub incarnation: U32,
    pub checksum: U32,
}

const _: () = assert!(HEADER_BYTES == 64);
const _: () = assert!(ENTRY_BYTES == 32);

/// The fixed part of an entry.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct EntryHeader {
    pub kind: u8,
    pub zero: [u8; 3],
    pub length: U32,
    pub log: U64,
    pub offset: U64,
    pub leader_epoch: U32,
    pub zero_too: U32,
}

/// What an entry says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The entry's bytes are one record batch, stamped.
    Batch,
    /// The log exists from here on.
    Create,
    /// The log and all it held are gone.
    Delete,
    /// Nothing below the offset is to be read any more.
    Trim,
    /// The log ends at the offset from here on: what it held from there on is gone.
    Truncate,
}

impl Kind {
    /// The number on disk.
    pub fn code(self) -> u8 {
        match self {
            Kind::Batch => 1,
            Kind::Create => 2,
            Kind::Delete => 3,
            Kind::Trim => 4,
            Kind::Truncate => 5,
        }
    }

    fn of(code: u8) -> Option<Kind> {
        Some(match code {
            1 => Kind::Batch,
            2 => Kind::Create,
            3 => Kind::Delete,
            4 => Kind::Trim,
            5 => Kind::Truncate,
            _ => return None,
        })
    }
}

/// Why bytes are not the frame they should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameError {
    /// No frame begins here.
    Magic,
    /// Written by a version this code does not know.
    Version(u16),
    HeaderChecksum,
    /// Lengths that contradict each other, or more bytes than there are.
    Length,
    BodyChecksum,
    /// An entry that cannot be.
    Entry,
}

impl std::fmt::Display for FrameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FrameError::Magic => write!(f, "no frame begins here"),
            FrameError::Version(version) => write!(f, "frame version {version}, this code knows {VERSION}"),
            FrameError::HeaderChecksum => write!(f, "the frame's header does not match its checksum"),
            FrameError::Length => write!(f, "the frame's lengths contradict each other"),
            FrameError::BodyChecksum => write!(f, "the frame's body does not match its checksum"),
            FrameError::Entry => write!(f, "an entry of the frame makes no sense"),
        }
    }
}

impl FrameHeader {
    /// Computes the header's own checksum.
    pub fn seal(&mut self) {
        self.checksum = U32::new(crc32c(&self.as_bytes()[..HEADER_BYTES - 4]));
    }

    /// The header at the front of `bytes`, if it is one.
    pub fn read(bytes: &[u8]) -> Result<FrameHeader, FrameError> {
        let Ok((header, _)) = FrameHeader::read_from_prefix(bytes) else { return Err(FrameError::Length) };
        if header.magic.get() != MAGIC {
            return Err(FrameError::Magic);
        }
        if header.checksum.get() != crc32c(&header.as_bytes()[..HEADER_BYTES - 4]) {
            return Err(FrameError::HeaderChecksum);
        }
        if header.version.get() != VERSION {
            return Err(FrameError::Version(header.version.get()));
        }
        let length = header.length.get() as usize;
        let body = header.body_bytes.get() as usize;
        let fits = length.is_multiple_of(BLOCK_BYTES)
            && length as u64 <= JOURNAL_FILE_BYTES_MAX
            && length == (HEADER_BYTES + body).next_multiple_of(BLOCK_BYTES);
        if fits { Ok(header) } else { Err(FrameError::Length) }
    }
}

/// Checks the whole frame at the front of `bytes`: header, body, and that it ends inside `bytes`.
pub fn check(bytes: &[u8]) -> Result<FrameHeader, FrameError> {
    let header = FrameHeader::read(bytes)?;
    let body_end = HEADER_BYTES + header.body_bytes.get() as usize;
    if bytes.len() < header.length.get() as usize {
        return Err(FrameError::Length);
    }
    let body = bytes.get(HEADER_BYTES..body_end).ok_or(FrameError::Length)?;
    if crc32c(body) != header.body_checksum.get() {
        return Err(FrameError::BodyChecksum);
    }
    Ok(header)
}

/// One entry of a frame that was checked.
#[derive(Clone, Debug)]
pub struct Entry {
    pub kind: Kind,
    pub log: LogId,
    pub offset: Offset,
    pub leader_epoch: i32,
    /// Place of the entry's own bytes, counted from the front of the frame.
    pub bytes: std::ops::Range<usize>,
}

/// The entries of a checked frame, in order.
pub fn entries(frame: &[u8], header: &FrameHeader) -> Result<Vec<Entry>, FrameError> {
    let body_end = HEADER_BYTES + header.body_bytes.get() as usize;
    let mut entries = Vec::new();
    let mut at = HEADER_BYTES;
    while at < body_end {
        let rest = frame.get(at..body_end).ok_or(FrameError::Entry)?;
        let Ok((entry, _)) = EntryHeader::read_from_prefix(rest) else { return Err(FrameError::Entry) };
        let kind = Kind::of(entry.kind).ok_or(FrameError::Entry)?;
        let start = at + ENTRY_BYTES;
        let length = entry.length.get() as usize;
        if length > body_end - start {
            return Err(FrameError::Entry);
        }
        entries.push(Entry {
            kind,
            log: LogId(entry.log.get()),
            offset: entry.offset.get(),
            leader_epoch: entry.leader_epoch.get() as i32,
            bytes: start..start + length,
        });
        at = (start + length).next_multiple_of(8);
    }
    if entries.len() == header.entries_count.get() as usize { Ok(entries) } else { Err(FrameError::Entry) }
}
