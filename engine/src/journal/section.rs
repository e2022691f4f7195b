//! Batches of one log that go straight into its segment, gathered beside the frame that says so.
//!
//! In: batches; where the run of them goes, once the frame is about to be written. Out: that run, and the entry that
//! means it. Never: decides whether it goes there: what may not is taken into the frame instead.

use bytes::{Bytes, BytesMut};
use zerocopy::byteorder::little_endian::{I64, U32, U64};
use zerocopy::{FromBytes, IntoBytes};

use super::Piece;
use super::gather::Gathered;
use crate::format::batch;
use crate::format::frame::{ENTRY_BYTES, EntryHeader, PlacedRun};
use crate::format::run::{RUN_HEADER_BYTES, RunHeader, RunPlace};
use crate::io::{Descriptor, Op, buffer};
use crate::types::{LogId, Offset};

/// Batches of one log in one frame.
#[derive(Debug)]
pub struct Section {
    pub log: LogId,
    pub leader_epoch: i32,
    /// Room for the run's header, then the batches back to back, stamped.
    bytes: BytesMut,
    /// As in a frame, but their places count from the front of `bytes`.
    pieces: Vec<Piece>,
    /// Where its entry begins in the frame.
    pub entry: usize,
    /// Bytes of the memory that is taken when there is none left.
    chunk_bytes: usize,
    /// Memory behind sections before this one that it may use.
    rest_bytes: usize,
    /// What of that was too little. Those before hold it, but it is counted here.
    waste_bytes: usize,
}

/// What a section leaves for the next of its log.
#[derive(Debug, Default)]
pub struct Rest {
    /// What is left of its memory.
    bytes: BytesMut,
    /// What it took.
    used: usize,
}

/// Where a section goes.
#[derive(Debug)]
pub struct Target {
    pub file: Descriptor,
    pub segment_base: Offset,
    pub segment_generation: u32,
    pub position: u64,
    /// Batches in front of the section's that no segment has yet, the offset of the first, and their latest time.
    pub before: Vec<Bytes>,
    pub base: Offset,
    pub max_timestamp_ms: i64,
}

/// A run on its way into a segment, with what makes it durable.
#[derive(Debug)]
pub struct Placed {
    pub log: LogId,
    pub run: RunPlace,
    /// The run as it was written.
    pub bytes: Bytes,
    /// The batches of this frame; their places count from the front of the run.
    pub pieces: Vec<Piece>,
    /// Bytes of memory for it.
    pub held_bytes: usize,
}

impl Rest {
    /// Bytes of memory that nobody else counts.
    pub fn held_bytes(&self) -> usize {
        self.bytes.capacity()
    }
}

impl Section {
    /// Nothing gathered yet. `rest` is of the log's section in the frame before, if there was one. Memory is for a few such
    /// sections, as all of it is held while any of them is.
    pub fn new(log: LogId, leader_epoch: i32, entry: usize, rest: Rest, chunk_bytes_max: usize) -> Section {
        let chunk_bytes = (4 * rest.used).min(chunk_bytes_max);
        let (rest_bytes, bytes) = (rest.held_bytes(), rest.bytes);
        let pieces = Vec::new();
        Section { log, leader_epoch, bytes, pieces, entry, chunk_bytes, rest_bytes, waste_bytes: 0 }
    }

    /// Adds a batch, stamped with its offset.
    pub fn push(&mut self, mut piece: Piece, bytes: &[u8]) {
        let start = self.bytes.len().max(RUN_HEADER_BYTES);
        let needed = buffer::padded(start + bytes.len());
        if self.bytes.capacity() < needed {
            let twice = if self.pieces.is_empty() { needed } else { 2 * needed };
            let mut larger = buffer::aligned(twice.max(self.chunk_bytes));
            larger.extend_from_slice(&self.bytes);
            self.waste_bytes += std::mem::take(&mut self.rest_bytes);
            self.bytes = larger;
        }
        self.bytes.resize(start, 0);
        self.bytes.extend_from_slice(bytes);
        batch::stamp(&mut self.bytes[start..], piece.base, self.leader_epoch);
        piece.bytes = start..self.bytes.len();
        self.pieces.push(piece);
    }

    /// Ends it on a block boundary.
    pub fn finish(&mut self) -> Rest {
        buffer::pad(&mut self.bytes);
        let used = self.bytes.len();
        Rest { bytes: self.bytes.split_off(used), used }
    }

    /// Bytes of the batches.
    pub fn body_bytes(&self) -> usize {
        self.body_end() - RUN_HEADER_BYTES
    }

    /// Bytes of memory for it.
    pub fn held_bytes(&self) -> usize {
        self.bytes.len() + self.waste_bytes
    }

    fn body_end(&self) -> usize {
        self.pieces.last().map_or(RUN_HEADER_BYTES, |piece| piece.bytes.end)
    }

    pub fn offsets(&self) -> std::ops::Range<Offset> {
        let base = self.pieces.first().map_or(0, |piece| piece.base);
        base..self.pieces.last().map_or(base, |piece| piece.end)
    }

    /// The batches, for the frame that takes them in.
    pub fn batches(&self) -> impl Iterator<Item = (&Piece, &[u8])> {
        self.pieces.iter().map(|piece| (piece, &self.bytes[piece.bytes.clone()]))
    }

    /// Makes a run of it for `target`, and fills in its entry in the frame.
    pub fn place(self, target: Target, frame: &mut Gathered) -> (Placed, Op) {
        let Section { log, mut bytes, mut pieces, entry, mut waste_bytes, .. } = self;
        let mut end = pieces.last().map_or(RUN_HEADER_BYTES, |piece| piece.bytes.end);
        if !target.before.is_empty() {
            let before: usize = target.before.iter().map(Bytes::len).sum();
            let mut longer = buffer::aligned(end + before);
            longer.resize(RUN_HEADER_BYTES, 0);
            target.before.iter().for_each(|batch| longer.extend_from_slice(batch));
            longer.extend_from_slice(&bytes[RUN_HEADER_BYTES..end]);
            end = longer.len();
            buffer::pad(&mut longer);
            waste_bytes += bytes.len();
            bytes = longer;
            for piece in &mut pieces {
                piece.bytes = piece.bytes.start + before..piece.bytes.end + before;
            }
        }
        let offsets = target.base..pieces.last().map_or(target.base, |piece| piece.end);
        let latest = pieces.iter().map(|piece| piece.max_timestamp_ms);
        let max_timestamp_ms = latest.fold(target.max_timestamp_ms, i64::max);
        let body = &bytes[RUN_HEADER_BYTES..end];
        let header = RunHeader::new(log, offsets, max_timestamp_ms, target.position, body);
        bytes[..RUN_HEADER_BYTES].copy_from_slice(header.as_bytes());
        fill_in(
            &mut frame.bytes[entry..],
            &placed_run(&header, target.segment_base, target.segment_generation),
            &header,
        );
        let bytes = bytes.freeze();
        let op =
            Op::Write { file: target.file, position: target.position, data: bytes.clone(), durable: true };
        (Placed { log, run: header.place(), held_bytes: bytes.len() + waste_bytes, bytes, pieces }, op)
    }
}

/// What an entry says of a run.
pub fn placed_run(header: &RunHeader, segment_base: Offset, segment_generation: u32) -> PlacedRun {
    let run = PlacedRun {
        segment_base: U64::new(segment_base),
        segment_generation: U32::new(segment_generation),
        bytes: header.bytes,
        position: header.position,
        max_timestamp_ms: I64::new(header.max_timestamp_ms.get()),
        run_checksum: header.checksum,
        was_durable: U32::new(0),
        zero: U32::new(0),
        checksum: U32::new(0),
    };
    run.sealed()
}

/// The entry was gathered before it was known what it would say.
fn fill_in(entry: &mut [u8], run: &PlacedRun, header: &RunHeader) {
    if let Ok((own, rest)) = EntryHeader::mut_from_prefix(entry) {
        own.offset = header.base_offset;
        own.offsets_count = U32::new((header.end_offset.get() - header.base_offset.get()) as u32);
        rest[..size_of::<PlacedRun>()].copy_from_slice(run.as_bytes());
    }
    debug_assert_eq!(ENTRY_BYTES, size_of::<EntryHeader>());
}
