//! The frame that is being gathered: entries of this turn, laid out as they will lie on the device.
//!
//! In: entries. Out: a [`Gathered`] frame, complete but for its header. Never: writes anything.
//!
//! Many small frames share one chunk of memory: each takes the front of what is left and ends on a block
//! boundary, so the next begins aligned. The chunk lives as long as any slice of any of its frames.

use bytes::BytesMut;
use zerocopy::IntoBytes;
use zerocopy::byteorder::little_endian::{U32, U64};

use crate::format::batch;
use crate::format::frame::{self, ENTRY_ALIGNMENT, ENTRY_BYTES, EntryHeader, HEADER_BYTES, Kind};
use crate::io::buffer;
use crate::limits::Sizes;
use crate::types::{LogId, Offset, Ticket};

/// A batch inside a frame.
#[derive(Clone, Debug)]
pub struct Piece {
    pub log: LogId,
    pub base: Offset,
    pub end: Offset,
    pub max_timestamp_ms: i64,
    /// Place of the batch, counted from the front of the frame.
    pub bytes: std::ops::Range<usize>,
}

/// Somebody to be told when the frame is durable.
#[derive(Clone, Copy, Debug)]
pub struct Promise {
    pub ticket: Ticket,
    pub log: LogId,
    pub base_offset: Offset,
    pub duplicate: bool,
}

/// A frame whose body is complete.
#[derive(Debug, Default)]
pub struct Gathered {
    /// The frame: room for its header, then the body, unpadded.
    pub bytes: BytesMut,
    pub entries_count: u32,
    pub pieces: Vec<Piece>,
    pub promises: Vec<Promise>,
}

impl Gathered {
    /// Whether there is neither an entry nor a promise in it.
    pub fn is_empty(&self) -> bool {
        self.entries_count == 0 && self.promises.is_empty()
    }

    /// Bytes of the frame on the device.
    pub fn padded_bytes(&self) -> usize {
        frame::frame_bytes(self.bytes.len().saturating_sub(HEADER_BYTES), self.entries_count)
    }
}

/// Builds frames.
#[derive(Debug)]
pub struct Gathering {
    frame: Gathered,
    sizes: Sizes,
}

impl Gathering {
    /// Nothing gathered yet.
    pub fn new(sizes: Sizes) -> Gathering {
        Gathering { frame: Gathered::default(), sizes }
    }

    /// Whether nothing has been gathered since the last frame was taken.
    pub fn is_empty(&self) -> bool {
        self.frame.is_empty()
    }

    /// Whether an entry of `length` bytes belongs into the next frame rather than into this one.
    pub fn is_full_for(&self, length: usize) -> bool {
        let grown = self.frame.bytes.len() + ENTRY_BYTES + length;
        self.frame.entries_count > 0
            && (grown > HEADER_BYTES + self.sizes.frame_body_bytes
                || self.bytes_with(length) > self.frame.bytes.capacity())
    }

    /// Bytes of the frame with one more entry of `length` bytes, wherever the entry begins.
    fn bytes_with(&self, length: usize) -> usize {
        let body_bytes = self.frame.bytes.len().saturating_sub(HEADER_BYTES) + ENTRY_ALIGNMENT;
        frame::frame_bytes(body_bytes + ENTRY_BYTES + length, self.frame.entries_count + 1)
    }

    /// Adds one entry; a batch is stamped with its offset and epoch on the way.
    pub fn push(
        &mut self,
        kind: Kind,
        log: LogId,
        offset: Offset,
        leader_epoch: i32,
        offsets_count: u32,
        bytes: &[u8],
    ) -> std::ops::Range<usize> {
        self.reserve(bytes.len());
        let frame = &mut self.frame.bytes;
        let padding = frame.len().next_multiple_of(ENTRY_ALIGNMENT) - frame.len();
        frame.extend_from_slice(&[0; ENTRY_ALIGNMENT][..padding]);
        let header = EntryHeader {
            kind: kind.code(),
            zero: [0; 3],
            length: U32::new(bytes.len() as u32),
            log: U64::new(log.0),
            offset: U64::new(offset),
            leader_epoch: U32::new(leader_epoch as u32),
            offsets_count: U32::new(offsets_count),
        };
        frame.extend_from_slice(header.as_bytes());
        let start = frame.len();
        frame.extend_from_slice(bytes);
        if kind == Kind::Batch {
            batch::stamp(&mut frame[start..], offset, leader_epoch);
        }
        self.frame.entries_count += 1;
        start..start + bytes.len()
    }

    /// Remembers a batch that was pushed, and who waits for it.
    pub fn note(&mut self, piece: Piece, promise: Promise) {
        self.frame.pieces.push(piece);
        self.frame.promises.push(promise);
    }

    /// Remembers somebody who waits for what was gathered earlier.
    pub fn promise(&mut self, promise: Promise) {
        self.frame.promises.push(promise);
    }

    /// Takes the frame, leaving the rest of the chunk for the next.
    pub fn take(&mut self) -> Gathered {
        if self.frame.bytes.is_empty() {
            self.reserve(0); // room for the header of a frame without entries
        }
        let mut frame = std::mem::take(&mut self.frame);
        let end = frame.padded_bytes();
        let used = frame.bytes.len();
        frame.bytes.resize(end, 0);
        self.frame.bytes = frame.bytes.split_off(end);
        frame.bytes.truncate(used);
        frame
    }

    /// Makes sure that an entry of `length` bytes fits behind what is there, with its padding.
    fn reserve(&mut self, length: usize) {
        let needed = self.bytes_with(length);
        let frame = &mut self.frame;
        if frame.bytes.capacity() < needed {
            assert!(frame.entries_count == 0, "a frame with entries is taken before it outgrows its chunk");
            frame.bytes = buffer::aligned(needed.max(self.sizes.chunk_bytes));
        }
        if frame.bytes.is_empty() {
            frame.bytes.resize(HEADER_BYTES, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_may_fill_its_chunk_to_the_last_byte() {
        for left in 0..64 {
            let mut gathering = Gathering::new(Sizes { chunk_bytes: 8192, ..Sizes::default() });
            let first = vec![1; 8192 - 512 - HEADER_BYTES - ENTRY_BYTES - ENTRY_ALIGNMENT - left];
            gathering.push(Kind::Batch, LogId(1), 0, 0, 1, &first);
            if !gathering.is_full_for(0) {
                gathering.push(Kind::Trim, LogId(1), 1, 0, 0, &[]);
            }
            assert_eq!(gathering.take().padded_bytes(), 8192);
        }
    }
}
