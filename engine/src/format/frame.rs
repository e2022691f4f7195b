//! The journal frame: one group commit, and the entries inside it.
//!
//! In: entries to lay out, or bytes of a journal file. Out: frames, or the reason why bytes are none.
//! Never: knows which file the bytes are in.
//!
//! A frame is a multiple of 4096 bytes and begins on a block boundary. All integers are little-endian.
//!
//! ```text
//!   | header, 64 | entries, each padded to 8 bytes | zeros | directory | copy of the header, 64 |
//! ```
//!
//! | at | bytes | field | |
//! |---|---|---|---|
//! | 0 | 4 | magic | "RMJF" |
//! | 4 | 2 | version | 2 |
//! | 6 | 2 | shard | whose journal |
//! | 8 | 4 | generation | of the file: rises each time a file is used again |
//! | 12 | 4 | length | of the whole frame |
//! | 16 | 8 | sequence | dense, over all files of the shard |
//! | 24 | 4 | block | where the frame begins in its file, in blocks of 4096 bytes |
//! | 28 | 4 | directory checksum | CRC-32C of the directory |
//! | 32 | 8 | durable upto | highest sequence known durable when this frame was written |
//! | 40 | 4 | body bytes | entries, padding behind the last excluded |
//! | 44 | 4 | entries | their number; 0: the frame only seals what is before it |
//! | 48 | 4 | previous | checksum field of the frame before (the chain) |
//! | 52 | 4 | body checksum | CRC-32C of the body |
//! | 56 | 4 | incarnation | of the data directory: rises at every start |
//! | 60 | 4 | checksum | CRC-32C of the 60 bytes before |
//!
//! An entry:
//!
//! | at | bytes | field | |
//! |---|---|---|---|
//! | 0 | 1 | kind | 1 batch, 2 create, 3 delete, 4 trim, 5 truncate, 6 placed |
//! | 1 | 3 | | zero |
//! | 4 | 4 | length | of the bytes that follow this header |
//! | 8 | 8 | log id | |
//! | 16 | 8 | offset | batch, placed: base offset; trim: new log start offset; truncate: new log end offset |
//! | 24 | 4 | leader epoch | |
//! | 28 | 4 | offsets | batch, placed: how many it has |
//!
//! The bytes of a placed entry say where in its log's segments a run is that holds the batches:
//!
//! | at | bytes | field | |
//! |---|---|---|---|
//! | 0 | 8 | base offset | of the segment |
//! | 8 | 4 | generation | of the segment |
//! | 12 | 4 | bytes | of the run's batches |
//! | 16 | 8 | position | of the run in the segment |
//! | 24 | 8 | largest timestamp | ms, of the batches |
//! | 32 | 4 | run checksum | the checksum field of the run's header |
//! | 36 | 4 | was durable | 1: before the frame was written, its batches in earlier frames; 0: it was written beside the frame |
//! | 40 | 4 | | zero |
//! | 44 | 4 | checksum | CRC-32C of the 44 bytes before |
//!
//! The directory is the headers of all entries once more, in other sectors than the body. So what a frame held is told by its front and by its back:
//! rot in one place loses at most the batch or the entry of the run that it hit, and says which.
//!
//! Version 1 has neither directory nor copy, and its position, in bytes, takes the place of block and directory
//! checksum. It is read, never written.

use bytes::BytesMut;
use zerocopy::byteorder::little_endian::{I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::crc::crc32c;
use crate::limits::{BLOCK_BYTES, JOURNAL_FILE_BYTES_MAX, SECTOR_BYTES};
use crate::types::{LogId, Offset};

/// "RMJF".
pub const MAGIC: u32 = u32::from_le_bytes(*b"RMJF");
/// The version this code writes.
pub const VERSION: u16 = 2;
const VERSION_WITHOUT_DIRECTORY: u16 = 1;
/// Bytes before the body.
pub const HEADER_BYTES: usize = size_of::<FrameHeader>();
/// Entries begin at multiples of this.
pub const ENTRY_ALIGNMENT: usize = 8;
/// Bytes before an entry's own bytes.
pub const ENTRY_BYTES: usize = size_of::<EntryHeader>();

/// The fixed part of a frame.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct FrameHeader {
    /// [`MAGIC`].
    pub magic: U32,
    /// [`VERSION`], or an older one that is still read.
    pub version: U16,
    /// Whose journal it is.
    pub shard: U16,
    /// Generation of the file: rises each time the file is used again.
    pub generation: U32,
    /// Bytes of the whole frame.
    pub length: U32,
    /// Number of the frame: dense, over all files of the shard.
    pub sequence: U64,
    /// Where the frame begins in its file, in blocks of 4096 bytes. See [`FrameHeader::position`].
    pub block: U32,
    /// CRC-32C of the directory.
    pub directory_checksum: U32,
    /// Highest sequence known durable when the frame was written.
    pub durable_upto: U64,
    /// Bytes of the entries; padding behind the last is not counted.
    pub body_bytes: U32,
    /// Entries in the frame; 0: it only seals what is before it.
    pub entries_count: U32,
    /// Checksum field of the frame before.
    pub previous: U32,
    /// CRC-32C of the body.
    pub body_checksum: U32,
    /// The start of the directory that wrote it.
    pub incarnation: U32,
    /// CRC-32C of the header before this field.
    pub checksum: U32,
}

const _: () = assert!(HEADER_BYTES == 64);
const _: () = assert!(ENTRY_BYTES == 32);

/// The fixed part of an entry.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct EntryHeader {
    /// [`Kind::code`] of what the entry says.
    pub kind: u8,
    /// Zeros.
    pub zero: [u8; 3],
    /// Bytes that follow this header and belong to the entry.
    pub length: U32,
    /// Id of the log.
    pub log: U64,
    /// What it means depends on the kind; see the table above.
    pub offset: U64,
    /// Of a batch or a run beside the frame: the epoch it is stamped with; otherwise 0.
    pub leader_epoch: U32,
    /// As in [`Entry::offsets_count`].
    pub offsets_count: U32,
}

/// The bytes of a [`Kind::Placed`] entry: which run it means.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct PlacedRun {
    /// Base offset of the segment that the run is in.
    pub segment_base: U64,
    /// Generation of that segment.
    pub segment_generation: U32,
    /// Bytes of the batches.
    pub bytes: U32,
    /// Of the run in the segment's file, in bytes.
    pub position: U64,
    /// Latest time of a record in the run, in ms since the Unix epoch.
    pub max_timestamp_ms: I64,
    /// The checksum field of the run's header, which covers the checksum of its batches.
    pub run_checksum: U32,
    /// 1: the run was durable before the frame was written, and its batches had come in earlier ones; 0: it was written
    /// beside the frame.
    pub was_durable: U32,
    /// Zeros.
    pub zero: U32,
    /// CRC-32C of everything before: of a frame that is damaged, this tells whether the entry is left.
    pub checksum: U32,
}

/// Bytes of a [`PlacedRun`].
pub const PLACED_BYTES: usize = size_of::<PlacedRun>();

const _: () = assert!(PLACED_BYTES == 48);

impl PlacedRun {
    /// The run that a placed entry of a frame means; `None`: the entry is not sound.
    pub fn of(frame: &[u8], entry: &Entry) -> Option<PlacedRun> {
        let run = PlacedRun::read_from_bytes(frame.get(entry.bytes.clone())?).ok()?;
        (run.checksum == run.sealed().checksum).then_some(run)
    }

    /// The same with its checksum.
    pub fn sealed(self) -> PlacedRun {
        let checksum = crc32c(&self.as_bytes()[..PLACED_BYTES - 4]);
        PlacedRun { checksum: U32::new(checksum), ..self }
    }
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
    /// A run of batches is in one of the log's segments; the entry's bytes are a [`PlacedRun`].
    Placed,
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
            Kind::Placed => 6,
        }
    }

    fn of(code: u8) -> Option<Kind> {
        Some(match code {
            1 => Kind::Batch,
            2 => Kind::Create,
            3 => Kind::Delete,
            4 => Kind::Trim,
            5 => Kind::Truncate,
            6 => Kind::Placed,
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
    /// The header is damaged.
    HeaderChecksum,
    /// Lengths that contradict each other, or more bytes than there are.
    Length,
    /// The body is damaged.
    BodyChecksum,
    /// An entry that cannot be.
    Entry,
}

impl std::fmt::Display for FrameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FrameError::Magic => write!(f, "no frame begins here"),
            FrameError::Version(version) => {
                write!(f, "frame version {version}, this code knows {VERSION} and below")
            }
            FrameError::HeaderChecksum => write!(f, "the frame's header does not match its checksum"),
            FrameError::Length => write!(f, "the frame's lengths contradict each other"),
            FrameError::BodyChecksum => write!(f, "the frame's body does not match its checksum"),
            FrameError::Entry => write!(f, "an entry of the frame makes no sense"),
        }
    }
}

impl std::error::Error for FrameError {}

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
        let version = header.version.get();
        if version != VERSION && version != VERSION_WITHOUT_DIRECTORY {
            return Err(FrameError::Version(version));
        }
        let length = header.length.get() as usize;
        let body = header.body_bytes.get() as usize;
        let expected = match version {
            VERSION => frame_bytes(body, header.entries_count.get()),
            _ => (HEADER_BYTES + body).next_multiple_of(BLOCK_BYTES),
        };
        let fits = length as u64 <= JOURNAL_FILE_BYTES_MAX && length == expected;
        if fits { Ok(header) } else { Err(FrameError::Length) }
    }

    /// Where the frame begins in its file, in bytes.
    pub fn position(&self) -> u64 {
        let block = u64::from(self.block.get());
        match self.version.get() {
            VERSION_WITHOUT_DIRECTORY => block | u64::from(self.directory_checksum.get()) << 32,
            _ => block * BLOCK_BYTES as u64,
        }
    }

    fn body_end(&self) -> usize {
        HEADER_BYTES + self.body_bytes.get() as usize
    }

    /// Where the directory begins, counted from the front of the frame; `None`: it has none.
    pub fn directory_start(&self) -> Option<usize> {
        let start = (self.length.get() as usize).checked_sub(back_bytes(self.entries_count.get()))?;
        (self.version.get() != VERSION_WITHOUT_DIRECTORY).then_some(start)
    }
}

/// Bytes behind the body of a frame: its directory and the copy of its header.
pub const fn back_bytes(entries_count: u32) -> usize {
    entries_count as usize * ENTRY_BYTES + HEADER_BYTES
}

/// Bytes of a whole frame: what is behind the body shares no sector with it, so that no sector holds both of what
/// stands twice.
pub const fn frame_bytes(body_bytes: usize, entries_count: u32) -> usize {
    let front = (HEADER_BYTES + body_bytes).next_multiple_of(SECTOR_BYTES);
    (front + back_bytes(entries_count)).next_multiple_of(BLOCK_BYTES)
}

/// Makes a frame of `frame`, which is room for the header and then the body: `header` lacks its lengths and checksums
/// only. Returns the header as it was written.
pub fn finish(frame: &mut BytesMut, mut header: FrameHeader) -> FrameHeader {
    let (body_end, entries_count) = (frame.len(), header.entries_count.get());
    let body_bytes = body_end - HEADER_BYTES;
    let length = frame_bytes(body_bytes, entries_count);
    header.length = U32::new(length as u32);
    header.body_bytes = U32::new(body_bytes as u32);
    header.body_checksum = U32::new(crc32c(&frame[HEADER_BYTES..]));
    let directory_start = length - back_bytes(entries_count);
    frame.resize(directory_start, 0);
    let mut at = HEADER_BYTES;
    for _ in 0..entries_count {
        let mut entry = [0; ENTRY_BYTES];
        entry.copy_from_slice(&frame[at..at + ENTRY_BYTES]);
        frame.extend_from_slice(&entry);
        let own_bytes = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
        at = (at + ENTRY_BYTES + own_bytes as usize).next_multiple_of(ENTRY_ALIGNMENT);
    }
    assert!(at == body_end.next_multiple_of(ENTRY_ALIGNMENT), "the entries fill the body");
    header.directory_checksum = U32::new(crc32c(&frame[directory_start..]));
    header.seal();
    frame.extend_from_slice(header.as_bytes());
    frame[..HEADER_BYTES].copy_from_slice(header.as_bytes());
    header
}

/// Checks the whole frame at the front of `bytes`: header, body, and that it ends inside `bytes`.
pub fn check(bytes: &[u8]) -> Result<FrameHeader, FrameError> {
    let header = FrameHeader::read(bytes)?;
    let body_end = header.body_end();
    if bytes.len() < header.length.get() as usize {
        return Err(FrameError::Length);
    }
    let body = bytes.get(HEADER_BYTES..body_end).ok_or(FrameError::Length)?;
    if crc32c(body) != header.body_checksum.get() {
        return Err(FrameError::BodyChecksum);
    }
    Ok(header)
}

/// One entry of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it says.
    pub kind: Kind,
    /// Of which log.
    pub log: LogId,
    /// Batch, placed run: its base offset. Trim: the new log start offset. Truncate: the new log end offset.
    pub offset: Offset,
    /// Of a batch or a run beside the frame: the epoch it is stamped with; otherwise 0.
    pub leader_epoch: i32,
    /// How many offsets a batch or a placed run has; 0 in version 1, where the batch alone says it.
    pub offsets_count: u32,
    /// Place of the entry's own bytes, counted from the front of the frame.
    pub bytes: std::ops::Range<usize>,
}

/// The entries of a checked frame, in order.
pub fn entries(frame: &[u8], header: &FrameHeader) -> Result<Vec<Entry>, FrameError> {
    placed(header, |_, at| EntryHeader::read_from_prefix(frame.get(at..)?).ok().map(|(entry, _)| entry))
}

/// The entries of a frame that is damaged somewhere but where `header`, from its front or its back, was found: out of
/// the directory or, if that is damaged, out of the body. A batch they name may be damaged. `None`: neither is sound.
pub fn surviving_entries(frame: &[u8], header: &FrameHeader) -> Option<Vec<Entry>> {
    let start = header.directory_start()?;
    let directory = frame.get(start..start + back_bytes(header.entries_count.get()) - HEADER_BYTES)?;
    let sound = |headers: &[u8]| crc32c(headers) == header.directory_checksum.get();
    if sound(directory) {
        let entry = |index: usize, _| {
            let own = directory.get(index * ENTRY_BYTES..)?;
            EntryHeader::read_from_prefix(own).ok().map(|(entry, _)| entry)
        };
        return placed(header, entry).ok();
    }
    let entries = entries(frame, header).ok()?;
    let headers: Option<Vec<&[u8]>> =
        entries.iter().map(|entry| frame.get(entry.bytes.start - ENTRY_BYTES..entry.bytes.start)).collect();
    sound(&headers?.concat()).then_some(entries)
}

/// Places entries whose headers `header_of` gives by index and position.
fn placed(
    header: &FrameHeader,
    header_of: impl Fn(usize, usize) -> Option<EntryHeader>,
) -> Result<Vec<Entry>, FrameError> {
    let (body_end, count) = (header.body_end(), header.entries_count.get() as usize);
    let mut entries = Vec::new();
    let mut at = HEADER_BYTES;
    while at < body_end && entries.len() < count {
        let start = at + ENTRY_BYTES;
        let entry = header_of(entries.len(), at).filter(|_| start <= body_end).ok_or(FrameError::Entry)?;
        let kind = Kind::of(entry.kind).ok_or(FrameError::Entry)?;
        let length = entry.length.get() as usize;
        if length > body_end - start {
            return Err(FrameError::Entry);
        }
        entries.push(Entry {
            kind,
            log: LogId(entry.log.get()),
            offset: entry.offset.get(),
            leader_epoch: entry.leader_epoch.get() as i32,
            offsets_count: entry.offsets_count.get(),
            bytes: start..start + length,
        });
        at = (start + length).next_multiple_of(ENTRY_ALIGNMENT);
    }
    if entries.len() == count && at >= body_end { Ok(entries) } else { Err(FrameError::Entry) }
}
