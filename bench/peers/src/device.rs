//! The device under a directory: how much was written to it, and when it has come to rest.
//!
//! In: a directory. Out: bytes since the machine started, as the kernel counts them for the whole device: also what a file
//! system's own journal writes, which no count of a process has. Never: a guess; without a device of its own a directory
//! has no figure.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::logs::Failure;

/// The kernel counts in these, whatever the device's own block is.
const SECTOR_BYTES: u64 = 512;
/// Nothing was asked of the device for so long: it rests.
const REST: Duration = Duration::from_millis(25);
const STEP: Duration = Duration::from_millis(5);
/// Somebody else may keep it busy for ever.
const REST_LIMIT: Duration = Duration::from_secs(3);

/// Counters of one device.
pub struct Device(PathBuf);

impl Device {
    /// The device that holds `dir`.
    pub fn under(dir: &Path) -> Result<Device, Failure> {
        let number = rustix::fs::stat(dir)?.st_dev;
        let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
        Ok(Device(PathBuf::from(format!("/sys/dev/block/{major}:{minor}/stat"))))
    }

    /// Bytes written so far.
    pub fn written_bytes(&self) -> Option<u64> {
        // reads, merged, sectors, ms, writes, merged, sectors: the seventh.
        let text = fs::read_to_string(&self.0).ok()?;
        Some(text.split_whitespace().nth(6)?.parse::<u64>().ok()? * SECTOR_BYTES)
    }

    /// Writes out what the file system still holds, and waits until nothing is asked of the device any more: what a run
    /// before this one left (files to forget, blocks to trim) is not to slow this one down.
    pub fn come_to_rest(&self, dir: &Path) -> Result<(), Failure> {
        rustix::fs::syncfs(fs::File::open(dir)?)?;
        let begin = Instant::now();
        let mut last = (fs::read_to_string(&self.0).ok(), begin);
        while last.1.elapsed() < REST && begin.elapsed() < REST_LIMIT {
            std::thread::sleep(STEP);
            let now = fs::read_to_string(&self.0).ok();
            if now != last.0 {
                last = (now, Instant::now());
            }
        }
        Ok(())
    }
}
