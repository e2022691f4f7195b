//! A durable log engine: many ordered logs, one journal per core, durable before it is acknowledged.
//!
//! To use it, begin with [`embed`]: an [`Engine`](embed::Engine) is an open directory, a [`Log`](embed::Log) one
//! ordered log in it, and every request is answered when it is durable:
//!
//! ```
//! use ringmain_engine::embed::{Config, Engine};
//! use ringmain_engine::types::LogId;
//!
//! # let directory = std::env::temp_dir().join(format!("ringmain-doc-{}", std::process::id()));
//! let config = Config { journal_file_bytes: 4 << 20, ..Config::default() };
//! let engine = Engine::open(&directory, config)?;
//! let log = engine.log(LogId(1)).wait()?;
//! let appended = log.append_values(&[b"to be kept"])?.wait()?; // a crash from here on does not matter
//! let read = log.read(appended.base_offset, 1 << 20).wait()?;
//! assert_eq!(read.records().next().unwrap().1.value.unwrap(), "to be kept");
//! engine.close()?;
//! # std::fs::remove_dir_all(&directory)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Whoever reads the code, or brings a loop of his own as the broker does, finds the layers below it. Their reading
//! order is the life of a record batch:
//!
//! * [`types`], [`limits`], [`error`] — the words everything else is written in.
//! * [`io`] — what is asked of the kernel, as values: operations go out, completions come back.
//! * [`mod@format`] — bytes to structs and back; the on-disk specification.
//! * [`journal`] — one frame per turn, one write per frame: where a batch becomes durable.
//! * [`segment`] — where a batch lives afterwards, in large aligned runs.
//! * [`partition`] — one ordered log: offsets, watermarks, producers, the tail in memory.
//! * [`shard`] — all logs of one core behind one interface.
//! * `sim` (feature) — all of it over a disk in memory, with faults, by seed. [`planted`] — bugs it must find.
//! * [`verify`] — the whole of a directory that nobody uses, read again and judged.
//!
//! The engine reads no clock and calls the kernel only from [`io`]: its owner gives it completions and the time,
//! and takes operations and events from it. It starts no thread, but for those of [`io::poll`] where io_uring is
//! not allowed.

#![deny(missing_docs)]

pub mod embed;
pub mod error;
pub mod format;
pub mod io;
pub(crate) mod journal;
pub mod limits;
pub(crate) mod partition;
pub mod planted;
pub(crate) mod segment;
pub mod shard;
#[cfg(feature = "sim")]
pub mod sim;
pub mod types;
pub mod verify;
mod weakened;

/// What the benchmarks and the fuzzer of this repository take hold of by itself. Nobody else should: it changes freely.
#[doc(hidden)]
pub mod parts {
    pub mod journal {
        pub use crate::journal::Gathering;
    }
    pub mod segment {
        pub use crate::segment::{Segment, Segments, check, lay_out};
    }
}
