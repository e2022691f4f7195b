//! The least programs that make commits durable and leave them in a segment: what an engine that keeps what it is given
//! cannot do without, unlike a raw append, which writes over what it wrote before.
//!
//! In: a directory, how the segment gets its bytes. Out: commits, one after the other, until the segment is full. Never: a
//! file that outlives the process.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use bytes::BytesMut;
use io_uring::squeue::Entry;
use io_uring::types::{Fd, FsyncFlags};
use io_uring::{IoUring, opcode};

use super::file;
use super::ring::{BLOCK_BYTES, judge};
use crate::failure::Failure;
use crate::interrupt::Interrupt;

/// What is in it is not overwritten before the segment that has it is synced.
const JOURNAL_BYTES: u64 = 2 * SYNC_BYTES;
const COMMIT_BYTES_MAX: u64 = 1 << 20;
/// What is written into a segment at a time where it was in the journal before.
const RUN_BYTES: u64 = 512 << 10;
/// Such writes under way when the next commit begins.
const RUNS_MAX: usize = 1;
/// A segment is synced whenever so much was written into it.
const SYNC_BYTES: u64 = 64 << 20;

/// How a commit comes into its segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// Into the journal first, and from there, a run at a time and not waited for, into blocks that were only reserved.
    Twice,
    /// At once, beside a block of the journal, into blocks that were only reserved. Both are waited for.
    IntoReserved,
    /// The same into blocks that were written before.
    IntoWritten,
}

/// A journal and a segment.
pub struct Keeper {
    // Declared first, so that it is dropped before the memory its operations point to.
    ring: IoUring,
    way: Way,
    journal: File,
    segment: File,
    path: PathBuf,
    memory: BytesMut,
    journal_position: u64,
    segment_position: u64,
    segment_bytes: u64,
    /// Bytes in the journal and not on their way into the segment.
    unsettled_bytes: u64,
    unsynced_bytes: u64,
    /// Operations under way that the commit waits for, and those that it does not.
    awaited: usize,
    behind: usize,
}

impl Keeper {
    /// Files in `dir`, the segment of so many bytes.
    pub fn create(
        dir: &Path,
        way: Way,
        segment_bytes: u64,
        interrupt: &Interrupt,
    ) -> Result<Keeper, Failure> {
        let ring =
            IoUring::builder().setup_single_issuer().setup_defer_taskrun().build(8).map_err(|source| {
                Failure::Kernel { doing: "set up io_uring (is it allowed here?)", source }
            })?;
        let segment = match way {
            Way::IntoWritten => file::written(dir, segment_bytes, interrupt)?,
            Way::Twice | Way::IntoReserved => file::reserved(dir, segment_bytes)?,
        };
        Ok(Keeper {
            ring,
            way,
            journal: file::written(dir, JOURNAL_BYTES, interrupt)?,
            segment,
            path: dir.to_owned(),
            memory: file::noise(COMMIT_BYTES_MAX as usize),
            journal_position: 0,
            segment_position: 0,
            segment_bytes,
            unsettled_bytes: 0,
            unsynced_bytes: 0,
            awaited: 0,
            behind: 0,
        })
    }

    /// Whether the segment has no room for a commit of so many bytes. One whose blocks were written is used again.
    pub fn is_full(&mut self, length: u64) -> bool {
        let end = self.segment_position + self.unsettled_bytes + length;
        let is_full = end > self.segment_bytes;
        if is_full && self.way == Way::IntoWritten {
            self.segment_position = 0;
            return false;
        }
        is_full
    }

    /// Makes `length` bytes durable, whole blocks, no more than a mebibyte.
    pub fn commit(&mut self, length: u64) -> Result<(), Failure> {
        assert!(length.is_multiple_of(BLOCK_BYTES as u64) && length <= COMMIT_BYTES_MAX);
        let done = match self.way {
            Way::Twice => self.commit_twice(length),
            Way::IntoReserved | Way::IntoWritten => self.commit_beside(length),
        };
        done.map_err(Failure::disk("write to a file in", &self.path))
    }

    fn commit_beside(&mut self, length: u64) -> io::Result<()> {
        self.write_segment(length, true);
        self.write_journal(BLOCK_BYTES as u64);
        self.wait(RUNS_MAX)
    }

    fn commit_twice(&mut self, length: u64) -> io::Result<()> {
        self.write_journal(length);
        self.unsettled_bytes += length;
        while self.unsettled_bytes >= RUN_BYTES {
            self.write_segment(RUN_BYTES, false);
            self.unsettled_bytes -= RUN_BYTES;
            self.unsynced_bytes += RUN_BYTES;
        }
        if self.unsynced_bytes >= SYNC_BYTES {
            self.wait(0)?; // the sync before, and the runs that this one is for
            let sync = opcode::Fsync::new(Fd(self.segment.as_raw_fd())).flags(FsyncFlags::DATASYNC);
            self.submit(sync.build(), 0, false);
            self.unsynced_bytes = 0;
        }
        self.wait(RUNS_MAX)
    }

    fn write_segment(&mut self, length: u64, durable: bool) {
        let entry = self.write(&self.segment, self.segment_position, length, durable);
        self.segment_position += length;
        self.submit(entry, length, durable);
    }

    /// From the journal's front again when it is full.
    fn write_journal(&mut self, length: u64) {
        if self.journal_position + length > JOURNAL_BYTES {
            self.journal_position = 0;
        }
        let entry = self.write(&self.journal, self.journal_position, length, true);
        self.journal_position += length;
        self.submit(entry, length, true);
    }

    fn write(&self, file: &File, position: u64, length: u64, durable: bool) -> Entry {
        let write = opcode::Write::new(Fd(file.as_raw_fd()), self.memory.as_ptr(), length as u32);
        write.offset(position).rw_flags(if durable { libc::RWF_DSYNC } else { 0 }).build()
    }

    /// Its result must be `expected`; the user data says so, and whether it is waited for.
    fn submit(&mut self, entry: Entry, expected: u64, awaited: bool) {
        let entry = entry.user_data(expected << 1 | u64::from(awaited));
        // SAFETY: the entry points into `memory`, which is never changed, and not freed before the ring is closed.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        assert!(pushed.is_ok(), "the ring has room for a commit and what is behind it");
        *if awaited { &mut self.awaited } else { &mut self.behind } += 1;
    }

    /// Until all that is waited for is done, and no more than so much else is under way.
    fn wait(&mut self, behind_max: usize) -> io::Result<()> {
        let mut outcome = Ok(());
        while self.awaited > 0 || self.behind > behind_max {
            match self.ring.submit_and_wait(1) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => panic!("cannot wait for the ring: {error}"),
            }
            for completion in self.ring.completion() {
                let (expected, awaited) = (completion.user_data() >> 1, completion.user_data() & 1 == 1);
                *if awaited { &mut self.awaited } else { &mut self.behind } -= 1;
                outcome = outcome.and_then(|()| judge(completion.result(), expected as i32));
            }
        }
        outcome
    }
}

impl Drop for Keeper {
    /// Sees through what nobody waited for.
    fn drop(&mut self) {
        let _ = self.wait(0);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn what_is_committed_is_in_the_segment_in_the_end() {
        let dir = std::env::temp_dir().join(format!("ringmain-bench-keeper-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let interrupt = Interrupt::listen().unwrap();
        for way in [Way::Twice, Way::IntoReserved, Way::IntoWritten] {
            let mut keeper = Keeper::create(&dir, way, 8 << 20, &interrupt).unwrap();
            for _ in 0..64 {
                assert!(!keeper.is_full(64 << 10));
                keeper.commit(64 << 10).unwrap();
            }
            keeper.wait(0).unwrap();
            let mut found = file::noise(4 << 20);
            found.fill(0);
            keeper.segment.read_exact_at(&mut found, 0).unwrap();
            let commit = if way == Way::Twice { 512 << 10 } else { 64 << 10 };
            assert!(found.chunks(commit).all(|found| found == &keeper.memory[..commit]), "{way:?}");
            let is_used_again = way == Way::IntoWritten;
            assert_eq!(keeper.is_full(5 << 20), !is_used_again);
        }
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
        std::fs::remove_dir(&dir).unwrap();
    }
}
