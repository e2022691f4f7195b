//! A directory for the length of a measurement.
//!
//! In: where it goes. Out: its path. Never: outlives the measurement.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::failure::Failure;

/// Removed with all it holds when it is dropped.
pub struct Scratch(PathBuf);

impl Scratch {
    /// A new directory in `dir`, of a name nobody else has.
    pub fn create(dir: &Path) -> Result<Scratch, Failure> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = dir.join(format!("ringmain-bench-{}-{count}", std::process::id()));
        fs::create_dir(&path).map_err(Failure::disk("create", &path))?;
        Ok(Scratch(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("ringmain-bench: {} is left behind: {error}", self.0.display());
        }
    }
}
