//! Making all of a file system durable at once, where that is as good as syncing its files one by one.
//!
//! In: a directory on it. Out: whether it is of a kind that can, and the sync itself. Never: trusts a file system that does
//! not say what its sync of all covers. One of FUSE, for instance, answers at once and does nothing.

use std::ffi::CString;
use std::io::Error;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::Descriptor;

/// The numbers of ext4, XFS and btrfs (statfs(2)): each waits for its data, then commits its own records and has the
/// device flush its cache.
const TRUSTED: [libc::c_long; 3] = [0xef53, 0x5846_5342, 0x9123_683e];

/// Whether one sync of the file system of `path` makes everything in it durable.
pub(super) fn is_trusted(path: &Path) -> bool {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else { return false };
    let mut found = std::mem::MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: the path ends with a zero byte, and the kernel fills the struct; both live across the call.
    if unsafe { libc::statfs(path.as_ptr(), found.as_mut_ptr()) } != 0 {
        return false;
    }
    // SAFETY: the call succeeded, so the struct is filled; zeros would do too.
    let found = unsafe { found.assume_init() };
    TRUSTED.contains(&found.f_type)
}

/// Makes everything written to the file system of `file` durable. Fails also if something could not be written since `file`
/// was opened (Linux 5.8).
pub(super) fn sync(file: &Descriptor) -> Result<(), Error> {
    // SAFETY: takes no pointer, and the descriptor is open as long as its owner lives.
    match unsafe { libc::syncfs(file.as_raw_fd()) } {
        0 => Ok(()),
        _ => Err(Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::Open;
    use crate::io::disk::Disk;

    #[test]
    fn only_what_is_known_is_trusted_and_a_sync_of_all_works() {
        assert!(!is_trusted(Path::new("/proc")));
        assert!(!is_trusted(Path::new("/there/is/no/such/directory")));
        let directory = Disk::Machine.open(&std::env::temp_dir(), Open::Directory).unwrap();
        sync(&directory).unwrap();
    }
}
