//! The journal of one core: one frame per turn, durable when its write completes, and with it those of the runs that the
//! frame says are in segments.
//!
//! In: entries to gather; completions of writes in flight. Out: the writes of the next frame; the frame
//! that became durable, whose bytes go on serving as the tails of its logs. Never: looks inside a batch, has
//! two frames in flight, tries a failed write again.
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
mod section;
pub mod set;

use std::collections::VecDeque;
use std::path::PathBuf;

use bytes::Bytes;
use zerocopy::IntoBytes;
use zerocopy::byteorder::little_endian::{U16, U32, U64};

pub use files::{Files, JournalFile, file_name};
pub use gather::{Gathered, Gathering, Piece, Promise};
pub use section::{Placed, Section, Target, placed_run};

use crate::format::checkpoint::FileSet;
use crate::format::frame::{self, FrameHeader, Kind, PLACED_BYTES, PlacedRun};
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

impl Position {
    /// The header of the next frame at `position` of a file of that generation, but for its lengths and checksums.
    pub fn header(&self, entries_count: u32, position: u64, generation: u32, durable: u64) -> FrameHeader {
        FrameHeader {
            magic: U32::new(frame::MAGIC),
            version: U16::new(frame::VERSION),
            shard: U16::new(self.shard),
            generation: U32::new(generation),
            length: U32::new(0),
            sequence: U64::new(self.next_sequence),
            block: U32::new((position / BLOCK_BYTES as u64) as u32),
            directory_checksum: U32::new(0),
            durable_upto: U64::new(durable),
            body_bytes: U32::new(0),
            entries_count: U32::new(entries_count),
            previous: U32::new(self.chain),
            body_checksum: U32::new(0),
            incarnation: U32::new(self.incarnation),
            checksum: U32::new(0),
        }
    }
}

/// A frame that is on the device.
#[derive(Debug)]
pub struct DurableFrame {
    pub sequence: u64,
    /// The whole frame.
    pub bytes: Bytes,
    pub pieces: Vec<Piece>,
    pub promises: Vec<Promise>,
    /// What became durable beside it. Of a log's batches in one frame these are the first.
    pub placed: Vec<Placed>,
    /// Of [`Gathered::waste_bytes`].
    waste_bytes: usize,
}

impl DurableFrame {
    /// Bytes it holds in memory.
    pub fn held_bytes(&self) -> usize {
        self.bytes.len()
            + self.waste_bytes
            + self.placed.iter().map(|placed| placed.held_bytes).sum::<usize>()
    }
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
    /// Writes of it that have not completed.
    writes_left: usize,
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
            writes_left: 0,
            files,
            counts: JournalCounts::default(),
        }
    }

    /// Gathers an entry that nobody waits for.
    pub fn push(&mut self, kind: Kind, log: LogId, offset: Offset) {
        self.make_room(0);
        self.gathering.push(kind, log, offset..offset, 0, &[]);
    }

    /// Gathers a batch.
    pub fn push_batch(&mut self, mut piece: Piece, leader_epoch: i32, bytes: &[u8], promise: Promise) {
        let Piece { log, base, end, .. } = piece;
        self.make_room(bytes.len());
        piece.bytes = self.gathering.push(Kind::Batch, log, base..end, leader_epoch, bytes);
        self.gathering.note(piece);
        self.gathering.promise(promise);
    }

    /// Gathers a batch that goes beside the frame into its log's segment, with all others of its log in the frame.
    pub fn push_apart(&mut self, piece: Piece, leader_epoch: i32, bytes: &[u8], promise: Promise) {
        self.gathering.push_apart(piece, leader_epoch, bytes);
        self.gathering.promise(promise);
    }

    /// Gathers the entry of a run that is in a segment already.
    pub fn push_placed(&mut self, log: LogId, offsets: std::ops::Range<Offset>, run: &PlacedRun) {
        self.make_room(PLACED_BYTES);
        self.gathering.push(Kind::Placed, log, offsets, 0, run.as_bytes());
    }

    /// Makes sure that so many bytes beside the frame belong into the one being gathered.
    pub fn make_room_apart(&mut self, length: usize) {
        if self.gathering.is_full_apart_for(length) {
            self.take_gathered();
        }
    }

    /// Somebody waits for something gathered, waiting or in flight.
    pub fn promise(&mut self, promise: Promise) {
        self.gathering.promise(promise);
    }

    fn make_room(&mut self, length: usize) {
        if self.gathering.is_full_for(length) {
            self.take_gathered();
        }
    }

    fn take_gathered(&mut self) {
        let frame = self.gathering.take();
        self.waiting_bytes += frame.held_bytes();
        self.waiting.push_back(frame);
    }

    /// The writes of the next frame, unless one is in flight, nothing is gathered, or every file is full. `target` says
    /// where a section goes, if it may: it is asked twice, and only the second answer is acted upon.
    /// Each comes with the log whose segment it goes into; none: it is the frame.
    pub fn next_writes(
        &mut self,
        mut target: impl FnMut(&Section, bool) -> Option<Target>,
    ) -> Vec<(Option<LogId>, Op)> {
        let mut ops = Vec::new();
        if self.in_flight.is_some() {
            return ops;
        }
        if self.waiting.is_empty() && !self.gathering.is_empty() {
            self.take_gathered();
        }
        let Some(front) = self.waiting.front_mut() else { return ops };
        let held = front.held_bytes();
        front.take_in(|section| target(section, false).is_some());
        self.waiting_bytes = self.waiting_bytes - held + front.held_bytes();
        let length = front.padded_bytes();
        let place = self.files.place(length as u64, self.position.next_sequence);
        let Some((file, position, generation)) = place else { return ops };
        let Some(mut gathered) = self.waiting.pop_front() else { return ops };
        self.waiting_bytes -= gathered.held_bytes();
        let mut placed = Vec::new();
        for section in std::mem::take(&mut gathered.sections) {
            let Some(target) = target(&section, true) else { unreachable!("it was asked a moment ago") };
            let (run, op) = section.place(target, &mut gathered);
            ops.push((Some(run.log), op));
            placed.push(run);
        }
        let header = self.position.header(gathered.entries_count, position, generation, self.durable);
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
            placed,
            waste_bytes: gathered.waste_bytes,
        });
        self.position.next_sequence += 1;
        self.position.chain = header.checksum.get();
        self.files.placed(header.checksum.get());
        ops.push((None, Op::Write { file, position, data: bytes, durable: true }));
        self.writes_left = ops.len();
        ops
    }

    /// A write in flight has completed; the frame, if that was the last of it: then it is durable.
    pub fn written(&mut self) -> Option<DurableFrame> {
        self.writes_left -= 1;
        let early = planted(Bug::AckBeforePlaced);
        if self.writes_left > 0 && !early {
            return None;
        }
        let frame = match self.in_flight.take() {
            None if early => return None,
            None => unreachable!("a write completed that was not asked for"),
            Some(frame) => frame,
        };
        assert!(frame.sequence == self.durable + 1, "frames become durable in order");
        self.durable = frame.sequence;
        Some(frame)
    }

    /// Takes the promises of the frame in flight: what must never be done before it is written.
    #[cfg(feature = "planted")]
    pub fn take_promises_early(&mut self) -> Vec<Promise> {
        self.in_flight.as_mut().map(|frame| std::mem::take(&mut frame.promises)).unwrap_or_default()
    }

    /// The last durable frame, and its checksum field, while nothing is in flight.
    pub fn durable(&self) -> (u64, u32) {
        (self.durable, self.position.chain)
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
        self.take_gathered();
    }

    /// The sequence that the next frame to be written has.
    pub fn next_sequence(&self) -> u64 {
        self.position.next_sequence
    }

    /// The sequence that the frame being gathered will have.
    pub fn gathering_sequence(&self) -> u64 {
        self.position.next_sequence + self.waiting.len() as u64
    }

    /// Bytes gathered or waiting behind the write in flight.
    pub fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Bytes of the frame in flight.
    pub fn in_flight_bytes(&self) -> usize {
        self.in_flight.as_ref().map_or(0, DurableFrame::held_bytes)
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
