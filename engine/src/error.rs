//! What the world did to us: faults of files, and damage found in them. Each names its file and place.

use std::fmt;
use std::path::PathBuf;

/// A file operation failed.
#[derive(Debug)]
pub struct IoFault {
    /// What was being done, as a verb: "open", "write".
    pub doing: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// Place in the file in bytes, where it matters.
    pub position: Option<u64>,
    /// The operating system's reason.
    pub source: std::io::Error,
}

impl fmt::Display for IoFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}", self.doing, self.path.display())?;
        if let Some(position) = self.position {
            write!(f, " at {position}")?;
        }
        write!(f, ": {}", self.source)
    }
}

impl std::error::Error for IoFault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Bytes on the device are not what was written there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// Place in the file, in bytes.
    pub position: u64,
    /// What is wrong, in words.
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is damaged at {}: {}", self.path.display(), self.position, self.what)
    }
}

impl std::error::Error for Damage {}

/// Why a data directory could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// Another process has it open.
    InUse(PathBuf),
    /// Written by a version that this one does not understand.
    Incompatible {
        /// The file that says so.
        path: PathBuf,
        /// What this version does not know, in words.
        what: String,
    },
    /// Something in it is not as it was written, or missing. Nothing was changed.
    Damaged(Damage),
    /// The configuration cannot be.
    Config {
        /// What is wrong with it, in words.
        what: String,
    },
    /// The directory or its file system does not let this process write.
    ReadOnly(IoFault),
    /// Another file operation failed, or the system had no thread or descriptor left.
    Io(IoFault),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::InUse(path) => write!(f, "{} is in use by another process", path.display()),
            OpenError::Incompatible { path, what } => {
                write!(f, "{} cannot be opened by this version: {what}", path.display())
            }
            OpenError::Damaged(damage) => damage.fmt(f),
            OpenError::Config { what } => write!(f, "{what}"),
            OpenError::ReadOnly(fault) | OpenError::Io(fault) => fault.fmt(f),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<IoFault> for OpenError {
    fn from(fault: IoFault) -> OpenError {
        use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
        match fault.source.kind() {
            PermissionDenied | ReadOnlyFilesystem => OpenError::ReadOnly(fault),
            _ => OpenError::Io(fault),
        }
    }
}

impl From<Damage> for OpenError {
    fn from(damage: Damage) -> OpenError {
        OpenError::Damaged(damage)
    }
}
