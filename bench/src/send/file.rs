//! The file whose bytes are sent, past the page cache and through it.
//!
//! In: a directory. Out: handles, and pages that are in memory or not, as asked. Never: takes the kernel's word for a
//! page that is gone: it is looked for.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Advice, fadvise};

use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::raw::file;

const PAGE_BYTES: u64 = 4096;
/// Read at a time while pages are fetched.
const PIECE_BYTES: usize = 1 << 20;
/// How long pages may stay, and how often they are looked for.
const PATIENCE: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_millis(1);

/// One nameless file and three ways into it.
pub struct Pages {
    dir: PathBuf,
    bytes: u64,
    direct: File,
    buffered: File,
    /// Buffered, and told to be read from front to back.
    ahead: File,
}

impl Pages {
    /// A file of `bytes` in `dir`, a multiple of 1 MiB, none of whose pages is in memory.
    pub fn create(dir: &Path, bytes: u64, interrupt: &Interrupt) -> Result<Pages, Failure> {
        let direct = file::written(dir, bytes, interrupt)?;
        let again = || {
            let path = format!("/proc/self/fd/{}", direct.as_raw_fd());
            OpenOptions::new().read(true).write(true).open(path)
        };
        let failed = Failure::disk("open once more a file in", dir);
        let opened = again().and_then(|buffered| Ok((buffered, again()?)));
        let (buffered, ahead) = opened.map_err(failed)?;
        fadvise(&ahead, 0, None, Advice::Sequential).map_err(|error| advice(dir, error.into()))?;
        Ok(Pages { dir: dir.to_owned(), bytes, direct, buffered, ahead })
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn direct(&self) -> &File {
        &self.direct
    }

    pub fn buffered(&self) -> &File {
        &self.buffered
    }

    pub fn ahead(&self) -> &File {
        &self.ahead
    }

    /// Sees to it that no page is in memory. What was sent last is held by the connection for a while: `let_go` makes it
    /// forget that.
    pub fn cool(&self, let_go: impl Fn() -> Result<(), Failure>) -> Result<(), Failure> {
        let begin = Instant::now();
        loop {
            let_go()?;
            fadvise(&self.buffered, 0, None, Advice::DontNeed)
                .map_err(|error| advice(&self.dir, error.into()))?;
            if self.resident()? == 0 {
                return Ok(());
            }
            self.expect(
                begin.elapsed() < PATIENCE,
                "pages of a file stay in memory though they are not needed",
            )?;
            std::thread::sleep(STEP);
        }
    }

    /// Sees to it that every page is in memory.
    pub fn warm(&self, interrupt: &Interrupt) -> Result<(), Failure> {
        if self.resident()? == self.pages() {
            return Ok(());
        }
        let mut piece = vec![0; PIECE_BYTES];
        for position in (0..self.bytes).step_by(PIECE_BYTES) {
            interrupt.check()?;
            let read = self.buffered.read_exact_at(&mut piece, position);
            read.map_err(Failure::disk("read a file in", &self.dir))?;
        }
        self.expect(self.resident()? == self.pages(), "there is too little memory to keep the file in it")
    }

    fn pages(&self) -> u64 {
        self.bytes / PAGE_BYTES
    }

    fn expect(&self, holds: bool, reason: &str) -> Result<(), Failure> {
        if holds { Ok(()) } else { Err(Failure::Unfit { path: self.dir.clone(), reason: reason.to_owned() }) }
    }

    /// How many of its pages are in memory.
    pub fn resident(&self) -> Result<u64, Failure> {
        let failed =
            || Failure::disk("look for the pages of a file in", &self.dir)(io::Error::last_os_error());
        let (length, fd) = (self.bytes as usize, self.buffered.as_raw_fd());
        // SAFETY: a new mapping of a file that is open, at no address of ours.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ, libc::MAP_SHARED, fd, 0) };
        if start == libc::MAP_FAILED {
            return Err(failed());
        }
        let mut found = vec![0u8; self.pages() as usize];
        // SAFETY: the mapping is `length` bytes long, and `found` has a byte for each of its pages.
        let looked = unsafe { libc::mincore(start, length, found.as_mut_ptr()) };
        let outcome = if looked == 0 { Ok(()) } else { Err(failed()) };
        // SAFETY: the mapping made above, which nothing points into.
        unsafe { libc::munmap(start, length) };
        outcome?;
        Ok(found.iter().filter(|page| *page & 1 == 1).count() as u64)
    }
}

fn advice(dir: &Path, source: io::Error) -> Failure {
    Failure::disk("advise the kernel about a file in", dir)(source)
}
