//! What a block device was made to write, as the kernel counts it: data, metadata and the file system's own journal.
//!
//! In: a directory. Out: bytes written to the device under it since the machine started. Never: knows who had them
//! written; other programs' are in it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{major, minor};

/// The unit of the kernel's counters, whatever the device's own sectors are.
const SECTOR_BYTES: u64 = 512;
/// Which number of a `stat` file counts sectors written.
const SECTORS_WRITTEN: usize = 6;

/// The counters of one device.
pub struct Traffic(Option<PathBuf>);

impl Traffic {
    /// Of the device that `dir` is on, if it is one block device.
    pub fn under(dir: &Path) -> Traffic {
        let number = fs::metadata(dir).ok().map(|found| found.dev());
        let path = number
            .map(|number| PathBuf::from(format!("/sys/dev/block/{}:{}/stat", major(number), minor(number))));
        Traffic(path.filter(|path| path.is_file()))
    }

    /// Bytes written so far; `None`: nobody counts them.
    pub fn written_bytes(&self) -> Option<u64> {
        sectors_written(&fs::read_to_string(self.0.as_ref()?).ok()?).map(|sectors| sectors * SECTOR_BYTES)
    }
}

fn sectors_written(stat: &str) -> Option<u64> {
    stat.split_whitespace().nth(SECTORS_WRITTEN)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seventh_number_is_what_was_written() {
        assert_eq!(
            sectors_written("  141142    11930 27517762   154682  9377012   104001 2180 15783 0"),
            Some(2180)
        );
        assert_eq!(sectors_written("1 2 3"), None);
        assert_eq!(Traffic::under(Path::new("/proc")).written_bytes(), None);
    }
}
