//! Files to measure with: open for direct I/O and without a name, so that nothing is left behind.
//!
//! In: a directory. Out: open files. Never: a file that outlives the process.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::BytesMut;
use ringmain_engine::io::buffer;
use rustix::fs::{AtFlags, StatxFlags, statx};

use crate::failure::Failure;
use crate::interrupt::Interrupt;

/// Written at a time while a file is prepared.
const PIECE_BYTES: u64 = 1 << 20;

/// A new file in `dir` without a name, open for direct I/O.
pub fn nameless(dir: &Path) -> Result<File, Failure> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = &dir.join(format!(".ringmain-bench-{}-{count}", std::process::id()));
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).custom_flags(libc::O_DIRECT);
    let opened = options.open(path);
    if let Err(error) = &opened
        && error.raw_os_error() == Some(libc::EINVAL)
    {
        // The kernel creates the name before the file system refuses the flag.
        let _ = std::fs::remove_file(path);
        let reason = "its file system does not take direct I/O (O_DIRECT)".to_owned();
        return Err(Failure::Unfit { path: path.parent().unwrap_or(path).to_owned(), reason });
    }
    let file = opened.map_err(Failure::disk("create", path))?;
    std::fs::remove_file(path).map_err(Failure::disk("remove the name of", path))?;
    // Some take the flag and write through the page cache all the same: ext4 with data=journal is one.
    if said_alignment(&file).is_some_and(|(_, file)| file == 0) {
        let reason =
            "its file system does no direct I/O, though it takes the flag (is it mounted with data=journal?)";
        return Err(Failure::Unfit { path: dir.to_owned(), reason: reason.to_owned() });
    }
    Ok(file)
}

/// Alignment of direct I/O in memory and in the file as the kernel says, if it does; zeros: there is none.
pub fn said_alignment(file: &File) -> Option<(u32, u32)> {
    let found = statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN).ok()?;
    let given = StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::DIOALIGN);
    given.then_some((found.stx_dio_mem_align, found.stx_dio_offset_align))
}

/// The same, with `bytes` (a multiple of 1 MiB) of blocks that were written before.
pub fn written(dir: &Path, bytes: u64, interrupt: &Interrupt) -> Result<File, Failure> {
    let file = nameless(dir)?;
    let piece = noise(PIECE_BYTES as usize);
    for position in (0..bytes).step_by(PIECE_BYTES as usize) {
        interrupt.check()?;
        file.write_all_at(&piece, position).map_err(Failure::disk("write to a file in", dir))?;
    }
    file.sync_all().map_err(Failure::disk("sync a file in", dir))?;
    Ok(file)
}

/// The same, with `bytes` of blocks that are reserved and were never written.
pub fn reserved(dir: &Path, bytes: u64) -> Result<File, Failure> {
    let file = nameless(dir)?;
    reserve(&file, bytes).map_err(Failure::disk("reserve space in", dir))?;
    file.sync_all().map_err(Failure::disk("sync a file in", dir))?;
    Ok(file)
}

/// Cuts a file to nothing and reserves `bytes` of blocks for it.
pub fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    file.set_len(0)?;
    Ok(rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, bytes)?)
}

/// A file that is there already, and its length, which is a multiple of 1 MiB.
pub fn given(path: &Path) -> Result<(File, u64), Failure> {
    let opened = OpenOptions::new().read(true).write(true).custom_flags(libc::O_DIRECT).open(path);
    let file = opened.map_err(Failure::disk("open for direct I/O", path))?;
    let bytes = file.metadata().map_err(Failure::disk("look at", path))?.len();
    if bytes == 0 || !bytes.is_multiple_of(PIECE_BYTES) {
        let reason = format!("it has {bytes} bytes, which is no multiple of 1 MiB");
        return Err(Failure::Unfit { path: path.to_owned(), reason });
    }
    Ok((file, bytes))
}

/// Aligned memory full of bytes that no device can make less of: neither zeros, for which some keep no blocks, nor a
/// pattern that some compress. The same each run.
pub fn noise(length: usize) -> BytesMut {
    let mut memory = buffer::aligned(length);
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    while memory.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let word = state.to_le_bytes();
        memory.extend_from_slice(&word[..word.len().min(length - memory.len())]);
    }
    memory
}

/// The same file once more, each write to it durable when it completes (`O_DSYNC`).
pub fn durable_handle(file: &File) -> std::io::Result<File> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    OpenOptions::new().read(true).write(true).custom_flags(libc::O_DIRECT | libc::O_DSYNC).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_file_has_its_length_and_no_name() {
        let dir = std::env::temp_dir().join(format!("ringmain-bench-file-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let file = written(&dir, 2 << 20, &Interrupt::listen().unwrap()).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 2 << 20);
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
        std::fs::remove_dir(&dir).unwrap();
    }
}
