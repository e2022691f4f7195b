//! What a directory's file system and device can do, found out without leaving anything behind.
//!
//! In: a directory that exists. Out: whether it takes direct I/O, and how much room it has. Never: writes under a
//! name.

use std::ffi::CString;
use std::fs::OpenOptions;
use std::io::Error;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::{Descriptor, buffer, disk};
use crate::error::IoFault;
use crate::limits::BLOCK_BYTES;

/// Writes one block directly into a file without a name, which is gone when this returns.
pub fn try_direct_io(directory: &Path) -> Result<(), IoFault> {
    let fault = |doing: &'static str| {
        let path = directory.to_path_buf();
        move |source| IoFault { doing, path, position: None, source }
    };
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600).custom_flags(libc::O_TMPFILE | libc::O_DIRECT);
    let file = options.open(directory).map_err(fault("use direct I/O in"))?;
    let file = Descriptor::new(OwnedFd::from(file));
    let mut block = buffer::aligned(BLOCK_BYTES);
    block.resize(BLOCK_BYTES, 0);
    disk::write(directory, &file, 0, &block)?;
    disk::sync(directory, &file)
}

/// Bytes that a process without privileges may still use on the directory's file system.
pub fn free_bytes(directory: &Path) -> Result<u64, IoFault> {
    let fault = |source| IoFault { doing: "look at", path: directory.to_path_buf(), position: None, source };
    let path = CString::new(directory.as_os_str().as_bytes()).map_err(|error| fault(error.into()))?;
    // SAFETY: a statvfs of zeros is a valid one.
    let mut found = unsafe { std::mem::zeroed::<libc::statvfs>() };
    // SAFETY: the path ends in a zero byte and both pointers live through the call.
    let result = unsafe { libc::statvfs(path.as_ptr(), &raw mut found) };
    if result != 0 {
        return Err(fault(Error::last_os_error()));
    }
    Ok(found.f_bavail * found.f_frsize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_left_as_it_was() {
        let directory = std::env::temp_dir().join(format!("ringmain-inspect-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        try_direct_io(&directory).unwrap();
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
        assert!(free_bytes(&directory).unwrap() > 0);
        std::fs::remove_dir_all(&directory).unwrap();
        assert!(try_direct_io(&directory).is_err() && free_bytes(&directory).is_err());
    }
}
