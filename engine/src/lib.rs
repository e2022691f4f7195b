//! A durable log engine: many ordered logs, one journal per core, durable before it is acknowledged.
//!
//! A **log** is an ordered list of **records**, appended in **batches**. Each record has an **offset**, counted from
//! zero. To use logs, begin with [`embed`]: an [`Engine`](embed::Engine) is an open directory, a [`Log`](embed::Log) one
//! log in it, and every request gives an [`Ack`](embed::Ack) that says `Ok` when it is durable:
//!
//! ```
//! use ringmain_engine::embed::{Config, Engine};
//! use ringmain_engine::types::LogId;
//!
//! # let directory = std::env::temp_dir().join(format!("ringmain-doc-{}", std::process::id()));
//! let config = Config { journal_file_bytes: 4 << 20, ..Config::default() };
//! let engine = Engine::open(&directory, config)?; // recovers what the last run left
//! let log = engine.log(LogId(1)).wait()?;
//! let appended = log.append_values(&[b"to be kept"])?.wait()?; // a crash from here on does not matter
//! let read = log.read(appended.base_offset, 1 << 20).wait()?;
//! assert_eq!(read.records().next().unwrap().1.value.unwrap(), "to be kept");
//! engine.close()?;
//! # std::fs::remove_dir_all(&directory)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! It needs Linux and a file system with direct I/O (ext4, XFS), and one process at a time has a directory open.
//!
//! # What to read next
//!
//! | you want to | read |
//! |---|---|
//! | keep logs in a program of yours, with threads, `async` or callbacks | [`embed`]; each call says what is durable when |
//! | do so without a thread of the engine's | [`embed::ManualEngine`] |
//! | know what can go wrong | [`embed::EngineError`], [`error::OpenError`] |
//! | know how large, how many and how often | [`limits`]; the ones met first are below |
//! | make or take apart batches and records | [`mod@format`], which is also what lies on the device |
//! | run the engine in a loop of your own, as Ringmain's broker does | [`shard`], and below it [`io`] |
//! | check a directory that nobody uses | [`verify::verify`] |
//!
//! # Limits met first
//!
//! | limit | value | what happens there |
//! |---|---|---|
//! | [`BATCH_BYTES_MAX`](limits::BATCH_BYTES_MAX), or what a journal file holds: [`batch_bytes_max`](embed::Config::batch_bytes_max) | 16.25 MiB | the append fails: [`TooLarge`](format::batch::BatchError::TooLarge) |
//! | [`LOGS_MAX`](limits::LOGS_MAX) in each shard | 400,000 | the log is not made: [`TooManyLogs`](embed::EngineError::TooManyLogs) |
//! | [`PRODUCERS_MAX`](limits::PRODUCERS_MAX) in each log | 10,000 | the idempotent producer that wrote least recently is forgotten |
//! | [`FREE_BYTES_MIN`](limits::FREE_BYTES_MIN) on the file system | 64 MiB | appends fail until there is room: [`NoSpace`](embed::EngineError::NoSpace) |
//! | [`JOURNAL_WAITING_BYTES_MAX`](limits::JOURNAL_WAITING_BYTES_MAX) in each shard | 16 MiB | requests wait until the device has caught up |
//!
//! # Inside
//!
//! The modules are layers, from the top down, and none imports one above it:
//!
//! * [`embed`] — threads and a handle.
//! * [`shard`] — all logs of one core behind one interface. Inside of it: one log; the journal, where a batch becomes
//!   durable, with one write for all that came in a turn; segments, where it lives afterwards, in large aligned runs.
//! * [`mod@format`] — bytes to structs and back. [`io`] — what is asked of the kernel, as values: operations go out,
//!   completions come back.
//! * [`types`], [`limits`], [`error`] — the words everything else is written in.
//!
//! Beside them:
//!
//! * [`verify`] — all of a directory, read again and judged. `sim` (feature) — the engine over a disk in memory, with
//!   faults, by seed; [`planted`] — bugs it must find.
//!
//! The engine reads no clock and calls the kernel only from [`io`]: its owner gives it completions and the time, and
//! takes operations and events from it. It starts no thread, but for those of [`io::poll`] where io_uring is not
//! allowed. [`embed`] is such an owner, and has clock and threads for those who bring none.

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
