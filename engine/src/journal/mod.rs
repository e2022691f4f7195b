//! The journal of one core: one frame per turn, one write per frame, durable when that write completes.
//!
//! In: entries to gather; the completion of the write in flight. Out: the write of the next frame; the frame
//! that became durable, whose bytes go on serving as the tails of its logs. Never: looks inside a batch, has
//! two writes in flight, tries a failed write again.
//!
//! ```text
//!   gathering ──(full, or nothing in flight)──> waiting ──> in flight ──ok──> durable
//!                                                              └──fault──> the shard has failed
//! ```
//!
//! Invariant: durable sequence <= in-flight sequence < next sequence.

mod files;
mod gather;
pub mod recover;
pub mod set;

use std::collections::VecDeque;
use std::path::PathBuf;

use bytes::Bytes;
use zerocopy::byteorder::little_endian::{U16, U32, U64};

pub use files::{Files, JournalFile, file_name};
pub use gather::{Gathered, Gathering, Piece, Promise};

use crate::format::checkpoint::FileSet;
use crate::format::frame::{self, FrameHeader, Kind};
use crate::io::Op;
use crate::limits::{BLOCK_BYTES, Sizes};
use crate::planted::{Bug, planted};
use crate::types::{LogId, Offset};

/// Who writes, and after what: what recovery found, or a fresh start.
#[derive(Clone, Copy, Debug)]
pub struct Position {
    pub shard: u16,
    pub incarnation: u32,
    pub next_sequence: u64,
    /// Checksum field of the frame before the next.
    pub chain: u32,
}

/// A frame that is on the device.
#[derive(Debug)]
pub struct DurableFrame {
    pub sequence: u64,
    /// The whole frame.
    pub bytes: Bytes,
    pub pieces: Vec<Piece>,
    pub promises: Vec<Promise>,
}

/// Figures since the start, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalCounts {
    /// Frames written.
    pub frames: u64,
    /// Bytes of those frames, padding included.
    pub bytes: u64,
    /// Bytes of their entries.
    pub body_bytes: u64,
}

/// The journal of one shard.
#[derive(Debug)]
pub struct Journal {
    position: Position,
    durable: u64,
    /// Whether the last frame says itself that all before it is durable, and nothing came after.
    sealed: bool,
    gathering: Gathering,
    waiting: VecDeque<Gathered>,
    waiting_bytes: usize,
    in_flight: Option<DurableFrame>,
    files: Files,
    counts: JournalCounts,
}

impl Journal {
    /// A journal that goes on at `position` in fresh `files`.
    pub fn new(position: Position, files: Files, sizes: Sizes) -> Journal {
        Journal {
            position,
            durable: position.next_sequence - 1,
            sealed: true,
            gathering: Gathering::new(sizes),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            in_flight: None,
            files,
            counts: JournalCounts::default(),
        }
    }

    /// Gathers an entry that nobody waits for.
    pub fn push(&mut self, kind: Kind, log: LogId, offset: Offset) {
        self.make_room(0);
        self.gathering.push(kind, log, offset, 0, 0, &[]);
    }

    /// Gathers a batch.
    pub fn push_batch(&mut self, mut piece: Piece, leader_epoch: i32, bytes: &[u8], promise: Promise) {
        self.make_room(bytes.len());
        let Piece { log, base, end, .. } = piece;
        piece.bytes = self.gathering.push(Kind::Batch, log, base, leader_epoch, (end - base) as u32, bytes);
        self.gathering.note(piece, promise);
    }

    /// Somebody waits for something gathered, waiting or in flight.
    pub fn promise(&mut self, promise: Promise) {
        self.gathering.promise(promise);
    }

    fn make_room(&mut self, length: usize) {
        if self.gathering.is_full_for(length) {
            let frame = self.gathering.take();
            self.waiting_bytes += frame.bytes.len();
            self.waiting.push_back(frame);
        }
    }

    /// The write of the next frame, unless one is in flight, nothing is gathered, or every file is full.
    pub fn next_write(&mut self) -> Option<Op> {
        if self.in_flight.is_some() {
            return None;
        }
        if self.waiting.is_empty() && !self.gathering.is_empty() {
            let frame = self.gathering.take();
            self.waiting_bytes += frame.bytes.len();
            self.waiting.push_back(frame);
        }
        let length = self.waiting.front()?.padded_bytes();
        let (file, position, generation) = self.files.place(length as u64, self.position.next_sequence)?;
        let mut gathered = self.waiting.pop_front()?;
        self.waiting_bytes -= gathered.bytes.len();
        let header = self.header(gathered.entries_count, position, generation);
        let header = frame::finish(&mut gathered.bytes, header);
        assert!(gathered.bytes.len() == length);
        if planted(Bug::BufferReusedEarly)
            && let Some(next) = self.waiting.front()
            && length > crate::limits::BLOCK_BYTES
        {
            let count = next.bytes.len().min(length - frame::HEADER_BYTES);
            gathered.bytes[frame::HEADER_BYTES..][..count].copy_from_slice(&next.bytes[..count]);
        }
        let bytes = gathered.bytes.freeze();
        self.sealed = gathered.entries_count == 0;
        self.counts.frames += 1;
        self.counts.bytes += length as u64;
        self.counts.body_bytes += u64::from(header.body_bytes.get());
        self.in_flight = Some(DurableFrame {
            sequence: self.position.next_sequence,
            bytes: bytes.clone(),
            pieces: gathered.pieces,
            promises: gathered.promises,
        });
        self.position.next_sequence += 1;
        self.position.chain = header.checksum.get();
        self.files.placed(header.checksum.get());
        Some(Op::Write { file, position, data: bytes, durable: true })
    }

    fn header(&self, entries_count: u32, position: u64, generation: u32) -> FrameHeader {
        FrameHeader {
            magic: U32::new(frame::MAGIC),
            version: U16::new(frame::VERSION),
            shard: U16::new(self.position.shard),
            generation: U32::new(generation),
            length: U32::new(0),
            sequence: U64::new(self.position.next_sequence),
            block: U32::new((position / BLOCK_BYTES as u64) as u32),
            directory_checksum: U32::new(0),
            durable_upto: U64::new(self.durable),
            body_bytes: U32::new(0),
            entries_count: U32::new(entries_count),
            previous: U32::new(self.position.chain),
            body_checksum: U32::new(0),
            incarnation: U32::new(self.position.incarnation),
            checksum: U32::new(0),
        }
    }

    /// The write in flight has completed: its frame is durable.
    pub fn written(&mut self) -> DurableFrame {
        let Some(frame) = self.in_flight.take() else {
            unreachable!("a write completed that was not asked for")
        };
        assert!(frame.sequence == self.durable + 1, "frames become durable in order");
        self.durable = frame.sequence;
        frame
    }

    /// Takes the promises of the frame in flight: what must never be done before it is written.
    #[cfg(feature = "planted")]
    pub fn take_promises_early(&mut self) -> Vec<Promise> {
        self.in_flight.as_mut().map(|frame| std::mem::take(&mut frame.promises)).unwrap_or_default()
    }

    /// Whether a write is in flight.
    pub fn is_writing(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Whether nothing is gathered, waiting or in flight.
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_none() && self.waiting.is_empty() && self.gathering.is_empty()
    }

    /// Whether the last frame leaves open if it is itself durable.
    pub fn needs_seal(&self) -> bool {
        !self.sealed && self.is_idle()
    }

    /// Gathers a frame without entries, whose `durable_upto` closes the last gap.
    pub fn seal(&mut self) {
        assert!(self.needs_seal());
        let frame = self.gathering.take();
        self.waiting_bytes += frame.bytes.len();
        self.waiting.push_back(frame);
    }

    /// The sequence that the frame being gathered will have.
    pub fn gathering_sequence(&self) -> u64 {
        self.position.next_sequence + self.waiting.len() as u64
    }

    /// Bytes gathered or waiting behind the write in flight.
    pub fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Figures since the start.
    pub fn counts(&self) -> JournalCounts {
        self.counts
    }

    /// The files.
    pub fn files(&mut self) -> &mut Files {
        &mut self.files
    }

    /// Bytes that frames can still take, and bytes of all files in use; see [`Files::room`].
    pub fn room(&self) -> (u64, u64) {
        self.files.room()
    }

    /// Bytes of the files that are needed, and of the spare ones; see [`Files::retained`].
    pub fn retained(&self) -> (u64, u64) {
        self.files.retained()
    }

    /// Which files there are.
    pub fn file_set(&self) -> FileSet {
        self.files.set()
    }

    /// Path of the file being written, for messages.
    pub fn current_path(&self) -> PathBuf {
        self.files.current_path()
    }
}
