//! What a directory takes on the device.
//!
//! In: a directory that others write to. Out: the blocks of all files in it, in bytes. Never: fails because a file went
//! while it was looked at.

use std::fs;
use std::io::{Error, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::failure::Failure;

/// The unit in which the kernel counts the blocks of a file.
const UNIT_BYTES: u64 = 512;

/// Bytes that the directory and all it holds take, as `du` counts them.
pub(super) fn bytes_on_disk(directory: &Path) -> Result<u64, Failure> {
    let mut waiting = vec![directory.to_owned()];
    let mut bytes = 0;
    while let Some(path) = waiting.pop() {
        let Some(found) =
            still_there(fs::symlink_metadata(&path)).map_err(Failure::disk("look at", &path))?
        else {
            continue;
        };
        bytes += found.blocks() * UNIT_BYTES;
        if !found.is_dir() {
            continue;
        }
        for entry in
            still_there(fs::read_dir(&path)).map_err(Failure::disk("list", &path))?.into_iter().flatten()
        {
            waiting
                .extend(still_there(entry).map_err(Failure::disk("list", &path))?.map(|entry| entry.path()));
        }
    }
    Ok(bytes)
}

fn still_there<T>(found: Result<T, Error>) -> Result<Option<T>, Error> {
    match found {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn every_file_counts_with_its_blocks() {
        let directory = Scratch::create(&std::env::temp_dir()).unwrap();
        let before = bytes_on_disk(directory.path()).unwrap();
        fs::create_dir(directory.path().join("below")).unwrap();
        let file = directory.path().join("below/file");
        fs::write(&file, vec![1; 1 << 20]).unwrap();
        fs::File::open(&file).unwrap().sync_all().unwrap();
        assert!(bytes_on_disk(directory.path()).unwrap() >= before + (1 << 20));
        assert_eq!(bytes_on_disk(&directory.path().join("missing")).unwrap(), 0);
    }
}
