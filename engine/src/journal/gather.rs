//! The frame that is being gathered: entries of this turn, laid out as they will lie on the device.
//!
//! In: entries, and batches that go beside the frame. Out: a [`Gathered`] frame, complete but for its header. Never:
//! writes anything.
//!
//! Many small frames share one chunk of memory: each takes the front of what is left and ends on a block
//! boundary, so the next begins aligned. The chunk lives as long as any slice of any of its frames.

use std::collections::HashMap;

use bytes::BytesMut;
use zerocopy::byteorder::little_endian::{U32, U64};
use zerocopy::{FromBytes, IntoBytes};

use super::section::{Rest, Section};
use crate::format::batch;
use crate::format::frame::{
    self, ENTRY_ALIGNMENT, ENTRY_BYTES, EntryHeader, HEADER_BYTES, Kind, PLACED_BYTES,
};
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
    /// What goes beside it.
    pub sections: Vec<Section>,
    /// Memory behind sections of the frame before that no section of this one could use.
    pub waste_bytes: usize,
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

    /// Bytes it holds in memory.
    pub fn held_bytes(&self) -> usize {
        self.bytes.len() + self.waste_bytes + self.sections.iter().map(Section::held_bytes).sum::<usize>()
    }

    /// Adds one entry, for which there must be room; a batch is stamped with its offset and epoch on the way.
    fn push(&mut self, header: EntryHeader, bytes: &[u8]) -> std::ops::Range<usize> {
        let frame = &mut self.bytes;
        let padding = frame.len().next_multiple_of(ENTRY_ALIGNMENT) - frame.len();
        frame.extend_from_slice(&[0; ENTRY_ALIGNMENT][..padding]);
        frame.extend_from_slice(header.as_bytes());
        let start = frame.len();
        frame.extend_from_slice(bytes);
        if header.kind == Kind::Batch.code() {
            batch::stamp(&mut frame[start..], header.offset.get(), header.leader_epoch.get() as i32);
        }
        self.entries_count += 1;
        start..start + bytes.len()
    }

    /// Takes the batches of every section that may not be placed into the frame itself, where their entry was. Seldom,
    /// so it costs a copy of the frame.
    pub fn take_in(&mut self, may_be_placed: impl FnMut(&Section) -> bool) {
        let (mut placed, taken): (Vec<Section>, Vec<Section>) =
            std::mem::take(&mut self.sections).into_iter().partition(may_be_placed);
        if !taken.is_empty() {
            let more = taken.iter().flat_map(Section::batches);
            let more: usize = more.map(|(_, bytes)| ENTRY_BYTES + bytes.len() + ENTRY_ALIGNMENT).sum();
            let count = taken.iter().map(|section| section.batches().count() as u32).sum::<u32>();
            let body = self.bytes.len() - HEADER_BYTES + more;
            let room = frame::frame_bytes(body, self.entries_count + count);
            let mut rebuilt = Gathered { bytes: buffer::aligned(room), ..Gathered::default() };
            rebuilt.bytes.resize(HEADER_BYTES, 0);
            let mut pieces = std::mem::take(&mut self.pieces).into_iter();
            let mut moved = Vec::new();
            let mut at = HEADER_BYTES;
            while let Some((entry, rest)) =
                self.bytes.get(at..).and_then(|rest| EntryHeader::ref_from_prefix(rest).ok())
            {
                let bytes = &rest[..entry.length.get() as usize];
                match taken.iter().find(|section| section.entry == at) {
                    Some(section) => {
                        for (piece, bytes) in section.batches() {
                            let offsets = piece.base..piece.end;
                            let header =
                                entry_header(Kind::Batch, section.log, offsets, section.leader_epoch, bytes);
                            let bytes = rebuilt.push(header, bytes);
                            rebuilt.pieces.push(Piece { bytes, ..piece.clone() });
                        }
                    }
                    None => {
                        let range = rebuilt.push(*entry, bytes);
                        if let Some(index) = placed.iter().position(|section| section.entry == at) {
                            moved.push((index, range.start - ENTRY_BYTES));
                        }
                        if entry.kind == Kind::Batch.code() {
                            rebuilt.pieces.extend(pieces.next().map(|piece| Piece { bytes: range, ..piece }));
                        }
                    }
                }
                at = (at + ENTRY_BYTES + bytes.len()).next_multiple_of(ENTRY_ALIGNMENT);
            }
            for (index, entry) in moved {
                placed[index].entry = entry;
            }
            let promises = std::mem::take(&mut self.promises);
            *self = Gathered { promises, waste_bytes: self.waste_bytes, ..rebuilt };
        }
        self.sections = placed;
    }
}

fn entry_header(
    kind: Kind,
    log: LogId,
    offsets: std::ops::Range<Offset>,
    leader_epoch: i32,
    bytes: &[u8],
) -> EntryHeader {
    EntryHeader {
        kind: kind.code(),
        zero: [0; 3],
        length: U32::new(bytes.len() as u32),
        log: U64::new(log.0),
        offset: U64::new(offsets.start),
        leader_epoch: U32::new(leader_epoch as u32),
        offsets_count: U32::new((offsets.end - offsets.start) as u32),
    }
}

/// Builds frames.
#[derive(Debug)]
pub struct Gathering {
    frame: Gathered,
    /// Bytes of the sections' batches.
    apart_bytes: usize,
    /// What sections of the last frame left.
    rests: HashMap<LogId, Rest>,
    sizes: Sizes,
}

impl Gathering {
    /// Nothing gathered yet.
    pub fn new(sizes: Sizes) -> Gathering {
        Gathering { frame: Gathered::default(), apart_bytes: 0, rests: HashMap::new(), sizes }
    }

    /// Whether nothing has been gathered since the last frame was taken.
    pub fn is_empty(&self) -> bool {
        self.frame.is_empty()
    }

    /// Whether an entry of `length` bytes belongs into the next frame rather than into this one.
    pub fn is_full_for(&self, length: usize) -> bool {
        let grown = self.frame.bytes.len() + self.apart_bytes + ENTRY_BYTES + length;
        self.frame.entries_count > 0
            && (grown > HEADER_BYTES + self.sizes.frame_body_bytes
                || self.bytes_with(length) > self.frame.bytes.capacity())
    }

    /// Whether the same holds of bytes that go beside the frame.
    pub fn is_full_apart_for(&self, length: usize) -> bool {
        let grown = self.frame.bytes.len() + self.apart_bytes + ENTRY_BYTES + length;
        self.frame.entries_count > 0
            && (grown > HEADER_BYTES + self.sizes.frame_body_bytes
                || self.bytes_with(PLACED_BYTES) > self.frame.bytes.capacity())
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
        offsets: std::ops::Range<Offset>,
        leader_epoch: i32,
        bytes: &[u8],
    ) -> std::ops::Range<usize> {
        self.reserve(bytes.len());
        self.frame.push(entry_header(kind, log, offsets, leader_epoch, bytes), bytes)
    }

    /// Adds a batch to those of its log that go beside the frame.
    pub fn push_apart(&mut self, piece: Piece, leader_epoch: i32, bytes: &[u8]) {
        let log = piece.log;
        if !self.frame.sections.iter().any(|section| section.log == log) {
            let rest = self.rests.remove(&log).unwrap_or_default();
            let entry =
                self.push(Kind::Placed, log, piece.base..piece.base, leader_epoch, &[0; PLACED_BYTES]);
            let entry = entry.start - ENTRY_BYTES;
            let section = Section::new(log, leader_epoch, entry, rest, self.sizes.chunk_bytes);
            self.frame.sections.push(section);
        }
        if let Some(section) = self.frame.sections.iter_mut().find(|section| section.log == log) {
            section.push(piece, bytes);
            self.apart_bytes += bytes.len();
        }
    }

    /// Remembers a batch that was pushed.
    pub fn note(&mut self, piece: Piece) {
        self.frame.pieces.push(piece);
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
        self.apart_bytes = 0;
        frame.waste_bytes = self.rests.values().map(Rest::held_bytes).sum();
        self.rests = frame.sections.iter_mut().map(|section| (section.log, section.finish())).collect();
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
            gathering.push(Kind::Batch, LogId(1), 0..1, 0, &first);
            if !gathering.is_full_for(0) {
                gathering.push(Kind::Trim, LogId(1), 1..1, 0, &[]);
            }
            assert_eq!(gathering.take().padded_bytes(), 8192);
        }
    }
}
