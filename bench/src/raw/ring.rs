//! Durable appends to one file through one io_uring, one at a time: the floor under every durable answer.
//!
//! In: a directory, lengths, how to make a write durable. Out: the write, done. Never: more than one append in
//! flight; a file that outlives the process.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use io_uring::squeue::{Entry, Flags};
use io_uring::types::{Fd, FsyncFlags};
use io_uring::{IoUring, opcode};

use super::file;
use crate::failure::Failure;

/// Direct I/O is aligned to this, in memory and in the file.
pub const BLOCK_BYTES: usize = 4096;
const FILL_BYTES: usize = 1 << 20;

/// What the file's blocks are before the first append.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Blocks {
    /// Written once before, as a recycled journal file's are.
    Written,
    /// Reserved by fallocate, never written.
    Reserved,
    /// None: each append makes the file longer.
    Growing,
}

/// What makes an append durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durable {
    /// Nothing: for filling only.
    No,
    /// `RWF_DSYNC` on the write.
    WithWrite,
    /// A linked fdatasync behind the write.
    AfterWrite,
    /// `fdatasync(2)` once the write has completed.
    ThenCall,
}

#[derive(Clone, Copy)]
#[repr(align(4096))]
struct Block(#[expect(dead_code, reason = "only the kernel reads it")] [u8; BLOCK_BYTES]);

/// A file open for direct appends. `position <= bytes`, and `position` is a multiple of [`BLOCK_BYTES`].
pub struct Appender {
    // Declared first, so that it is dropped before the memory its operations point to.
    ring: IoUring,
    file: File,
    path: PathBuf,
    memory: Vec<Block>,
    position: u64,
    bytes: u64,
}

impl Appender {
    /// A nameless file of `bytes` in `dir`, for appends of at most `append_bytes` (a multiple of [`BLOCK_BYTES`]).
    pub fn create(dir: &Path, blocks: Blocks, bytes: u64, append_bytes: usize) -> Result<Appender, Failure> {
        let ring =
            IoUring::builder().setup_single_issuer().setup_defer_taskrun().build(8).map_err(|source| {
                Failure::Kernel { doing: "set up io_uring (is it allowed here?)", source }
            })?;
        let file = file::nameless(dir)?;
        let path = dir.to_owned();
        let memory = vec![Block([0x5a; BLOCK_BYTES]); append_bytes.max(FILL_BYTES) / BLOCK_BYTES];
        let mut appender = Appender { ring, file, path, memory, position: 0, bytes };
        appender.prepare(blocks)?;
        Ok(appender)
    }

    /// Writes `length` bytes at the end, or at the start again when they do not fit any more.
    pub fn append(&mut self, length: usize, durable: Durable) -> Result<(), Failure> {
        assert!(length.is_multiple_of(BLOCK_BYTES) && length <= self.memory.len() * BLOCK_BYTES);
        if self.position + length as u64 > self.bytes {
            self.position = 0;
        }
        self.write(length, durable).map_err(Failure::disk("write to a file in", &self.path))?;
        self.position += length as u64;
        Ok(())
    }

    fn prepare(&mut self, blocks: Blocks) -> Result<(), Failure> {
        match blocks {
            Blocks::Growing => {}
            Blocks::Reserved => {
                let reserve = opcode::Fallocate::new(self.fd(), self.bytes).build();
                self.submit(&[reserve], &[0]).map_err(Failure::disk("reserve space in", &self.path))?;
            }
            Blocks::Written => {
                while self.position < self.bytes {
                    let left = self.bytes - self.position;
                    self.append(left.min(FILL_BYTES as u64) as usize, Durable::No)?;
                }
                self.position = 0;
            }
        }
        self.file.sync_all().map_err(Failure::disk("sync a file in", &self.path))
    }

    fn fd(&self) -> Fd {
        Fd(self.file.as_raw_fd())
    }

    fn write(&mut self, length: usize, durable: Durable) -> io::Result<()> {
        let memory = self.memory.as_ptr().cast::<u8>();
        let write = opcode::Write::new(self.fd(), memory, length as u32).offset(self.position);
        let expected = length as i32;
        match durable {
            Durable::No => self.submit(&[write.build()], &[expected]),
            Durable::WithWrite => self.submit(&[write.rw_flags(libc::RWF_DSYNC).build()], &[expected]),
            Durable::AfterWrite => {
                let sync = opcode::Fsync::new(self.fd()).flags(FsyncFlags::DATASYNC).build();
                self.submit(&[write.build().flags(Flags::IO_LINK), sync], &[expected, 0])
            }
            Durable::ThenCall => {
                self.submit(&[write.build()], &[expected])?;
                self.file.sync_data()
            }
        }
    }

    /// Submits `entries` and waits for all of them; each must give its `expected` result.
    fn submit(&mut self, entries: &[Entry], expected: &[i32]) -> io::Result<()> {
        for (index, entry) in entries.iter().enumerate() {
            let entry = entry.clone().user_data(index as u64);
            // SAFETY: the entry points into `memory`, which is neither changed nor freed before its completion:
            // this function returns only when all have completed, and panics (which aborts) if it cannot wait.
            let pushed = unsafe { self.ring.submission().push(&entry) };
            assert!(pushed.is_ok(), "the ring has room for one append");
        }
        let mut outcome = Ok(());
        let mut completed_count = 0;
        while completed_count < entries.len() {
            match self.ring.submit_and_wait(1) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => panic!("cannot wait for the ring: {error}"),
            }
            for completion in self.ring.completion() {
                completed_count += 1;
                let wanted = expected.get(completion.user_data() as usize).copied().unwrap_or(0);
                // The first error is the cause; what is linked behind it is merely cancelled.
                outcome = outcome.and_then(|()| judge(completion.result(), wanted));
            }
        }
        outcome
    }
}

/// Whether an operation did all that was asked of it.
pub fn judge(result: i32, wanted: i32) -> io::Result<()> {
    match result {
        found if found == wanted => Ok(()),
        found if found < 0 => Err(io::Error::from_raw_os_error(-found)),
        // A direct write is cut short only where space ends.
        _ => Err(io::Error::from_raw_os_error(libc::ENOSPC)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appends_wrap_and_leave_no_file_behind() {
        let dir = std::env::temp_dir().join(format!("ringmain-bench-ring-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        for blocks in [Blocks::Written, Blocks::Reserved, Blocks::Growing] {
            let mut appender = Appender::create(&dir, blocks, 8192, BLOCK_BYTES).unwrap();
            for durable in [Durable::WithWrite, Durable::AfterWrite, Durable::No] {
                appender.append(BLOCK_BYTES, durable).unwrap();
            }
            assert_eq!(appender.position, 4096, "the third append began at the start again");
            assert_eq!(appender.file.metadata().unwrap().len(), 8192);
        }
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
        std::fs::remove_dir(&dir).unwrap();
    }

    #[test]
    fn a_short_write_is_no_space() {
        assert_eq!(judge(512, 4096).unwrap_err().raw_os_error(), Some(libc::ENOSPC));
        assert_eq!(judge(-libc::EIO, 4096).unwrap_err().raw_os_error(), Some(libc::EIO));
        assert!(judge(4096, 4096).is_ok());
    }
}
