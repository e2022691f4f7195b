//! Where the least broker's bytes go: a file that has them before the answers go out, and a segment behind it where they are
//! kept as well as journaled.
//!
//! In: frames. Out: the operations that write them, for the ring. Never: a file that outlives the process; more than one
//! frame on its way into the segment.
//!
//! ```text
//!   nothing     frame -> journal, written before, round and round
//!   twice       frame -> journal, as above -> segment, reserved blocks, not durable until a sync each 64 MiB
//!   once        frame -> segment, reserved blocks
//!   twice-over  as twice, but the segment was written before
//!   apart       a part of the frame each -> segments, written before; its first block -> journal
//! ```
//!
//! The last two are what a log that is trimmed can do, whose old blocks are there to be written over.
//!
//! A segment that is full is cut to nothing and reserved anew, so that a long run takes no more of the device.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use bytes::BytesMut;
use io_uring::opcode;
use io_uring::squeue::Entry;
use io_uring::types::{Fd, FsyncFlags};
use ringmain_engine::io::buffer;
use ringmain_engine::limits::BLOCK_BYTES;

use super::server::FRAME_BYTES_MAX;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::raw::file;
use crate::raw::ring::judge;

const JOURNAL_BYTES: u64 = 256 << 20;
const SEGMENT_BYTES: u64 = 1 << 30;
/// The segment is synced whenever so much was written into it.
const SYNC_BYTES: u64 = 64 << 20;

// The journal does not come round to a frame before it is synced in the segment: the sync that has it begins when
// `SYNC_BYTES` more are settled at the latest, and is over before another `SYNC_BYTES` are; few frames are not settled.
const _: () = assert!(2 * SYNC_BYTES + 8 * FRAME_BYTES_MAX as u64 <= JOURNAL_BYTES);

/// What is kept of what comes in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Keep {
    #[default]
    Nothing,
    /// All of it: in the journal first, and from there in new blocks.
    Twice,
    /// All of it: in new blocks at once.
    Once,
    /// The newest: in the journal first, and from there over old blocks.
    TwiceOver,
    /// The newest: over old blocks of so many files at once, each as one log has it, beside a block of the journal.
    Apart(usize),
}

/// A file that is written from its front to its end again and again: `position <= bytes`.
pub struct Blocks {
    file: File,
    bytes: u64,
    position: u64,
    /// And new ones are reserved for each time. Otherwise they were written before, and are written over.
    are_reserved: bool,
}

impl Blocks {
    /// `bytes` that were written before.
    fn written(dir: &Path, bytes: u64, interrupt: &Interrupt) -> Result<Blocks, Failure> {
        Ok(Blocks { file: file::written(dir, bytes, interrupt)?, bytes, position: 0, are_reserved: false })
    }

    /// `bytes` that are reserved.
    fn reserved(dir: &Path, bytes: u64) -> Result<Blocks, Failure> {
        Ok(Blocks { file: file::reserved(dir, bytes)?, bytes, position: 0, are_reserved: true })
    }

    fn is_full(&self, frame: &[u8]) -> bool {
        self.position + frame.len() as u64 > self.bytes
    }

    /// The write of `frame`, which has to stay until it is done. Nothing else is under way when the file begins anew.
    fn write(&mut self, frame: &[u8], flags: i32) -> io::Result<Entry> {
        assert!(frame.len() as u64 <= self.bytes);
        if self.is_full(frame) {
            if self.are_reserved {
                file::reserve(&self.file, self.bytes)?;
            }
            self.position = 0;
        }
        let write = opcode::Write::new(Fd(self.file.as_raw_fd()), frame.as_ptr(), frame.len() as u32);
        let entry = write.offset(self.position).rw_flags(flags).build();
        self.position += frame.len() as u64;
        Ok(entry)
    }
}

/// What is durable in the journal, on its way into a segment. One sync at most is under way, and no more than
/// `SYNC_BYTES` and a frame are written and not yet part of one.
pub struct Settling {
    segment: Blocks,
    /// With the kernel unless it is empty.
    frame: BytesMut,
    unsynced_bytes: u64,
    is_syncing: bool,
}

impl Settling {
    fn into(segment: Blocks) -> Settling {
        let frame = buffer::aligned(FRAME_BYTES_MAX);
        Settling { segment, frame, unsynced_bytes: 0, is_syncing: false }
    }

    /// Takes `frame`, leaves an empty buffer, and gives the write; nothing as long as the frame has to wait.
    pub fn write(&mut self, frame: &mut BytesMut) -> io::Result<Option<Entry>> {
        let is_sync_due = self.unsynced_bytes >= SYNC_BYTES || self.segment.is_full(frame);
        if !self.frame.is_empty() || self.is_syncing && is_sync_due {
            return Ok(None);
        }
        std::mem::swap(frame, &mut self.frame);
        self.segment.write(&self.frame, 0).map(Some)
    }

    /// The write is done.
    pub fn written(&mut self, result: i32) -> io::Result<()> {
        judge(result, self.frame.len() as i32)?;
        self.unsynced_bytes += self.frame.len() as u64;
        self.frame.clear();
        Ok(())
    }

    /// The sync is done.
    pub fn synced(&mut self, result: i32) -> io::Result<()> {
        self.is_syncing = false;
        judge(result, 0)
    }

    /// The next sync, once it is due and the one before is over.
    pub fn sync(&mut self) -> Option<Entry> {
        if self.is_syncing || self.unsynced_bytes < SYNC_BYTES {
            return None;
        }
        (self.unsynced_bytes, self.is_syncing) = (0, true);
        Some(opcode::Fsync::new(Fd(self.segment.file.as_raw_fd())).flags(FsyncFlags::DATASYNC).build())
    }
}

/// All files of one core.
pub struct Disk {
    /// The journal, or the segment where there is no other.
    durable: Blocks,
    /// What takes the frame in its place.
    apart: Vec<Blocks>,
    pub settling: Option<Settling>,
}

impl Disk {
    /// Files in `dir`.
    pub fn create(dir: &Path, keep: Keep, interrupt: &Interrupt) -> Result<Disk, Failure> {
        Disk::with_segment(dir, keep, SEGMENT_BYTES, interrupt)
    }

    /// The same with a segment of so many bytes.
    pub fn with_segment(
        dir: &Path,
        keep: Keep,
        segment_bytes: u64,
        interrupt: &Interrupt,
    ) -> Result<Disk, Failure> {
        let durable = match keep {
            Keep::Once => Blocks::reserved(dir, segment_bytes)?,
            _ => Blocks::written(dir, JOURNAL_BYTES, interrupt)?,
        };
        let settling = match keep {
            Keep::Twice => Some(Settling::into(Blocks::reserved(dir, segment_bytes)?)),
            Keep::TwiceOver => Some(Settling::into(Blocks::written(dir, segment_bytes, interrupt)?)),
            _ => None,
        };
        let files = if let Keep::Apart(files) = keep { files } else { 0 };
        let apart = (0..files).map(|_| Blocks::written(dir, JOURNAL_BYTES / files as u64, interrupt));
        Ok(Disk { durable, apart: apart.collect::<Result<_, _>>()?, settling })
    }

    /// The writes that make `frame`, whole blocks, durable, and what each comes to. It has to stay until all are done. There is
    /// one frame at a time.
    pub fn write(&mut self, frame: &[u8]) -> io::Result<Vec<(Entry, i32)>> {
        let Disk { durable, apart, .. } = self;
        let journaled = if apart.is_empty() { frame } else { &frame[..BLOCK_BYTES] };
        let part_bytes = buffer::padded(frame.len() / apart.len().max(1));
        let parts = apart.iter_mut().zip(frame.chunks(part_bytes));
        let writes = std::iter::once((durable, journaled)).chain(parts);
        let write = |(blocks, bytes): (&mut Blocks, &[u8])| {
            Ok((blocks.write(bytes, libc::RWF_DSYNC)?, bytes.len() as i32))
        };
        writes.map(write).collect()
    }

    /// What the last of its files is, once more.
    #[cfg(test)]
    pub fn kept(&self) -> io::Result<File> {
        let last = self.apart.last().unwrap_or(&self.durable);
        self.settling.as_ref().map_or(last, |settling| &settling.segment).file.try_clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME_BYTES: usize = 2 << 20;
    const FRAMES_A_SYNC: u64 = SYNC_BYTES / FRAME_BYTES as u64;

    #[test]
    fn a_frame_waits_for_the_one_before_and_for_a_sync_that_is_late() {
        let mut settling = Settling::into(Blocks::reserved(&std::env::temp_dir(), 256 << 20).unwrap());
        let mut frame = buffer::aligned(FRAME_BYTES_MAX);
        let mut write = |settling: &mut Settling| {
            frame.resize(FRAME_BYTES, 1);
            let is_under_way = settling.write(&mut frame).unwrap().is_some();
            assert_eq!(frame.is_empty(), is_under_way, "a frame that waits stays where it is");
            is_under_way
        };
        let mut settle = |settling: &mut Settling| {
            assert!(write(settling) && !write(settling), "one at a time");
            settling.written(FRAME_BYTES as i32).unwrap();
        };
        for _ in 0..FRAMES_A_SYNC {
            assert!(settling.sync().is_none());
            settle(&mut settling);
        }
        assert!(settling.sync().is_some());
        // As many again beside it.
        (0..FRAMES_A_SYNC).for_each(|_| settle(&mut settling));
        assert!(settling.sync().is_none() && !write(&mut settling));
        settling.synced(0).unwrap();
        assert!(settling.sync().is_some() && write(&mut settling));
        assert!(settling.written(FRAME_BYTES as i32 - 1).is_err(), "cut short");
    }
}
