//! The engine without a thread of its own, for those who have a loop already.
//!
//! In: calls of [`ManualEngine::drive`] from one thread, requests from any. Out: answers, during those calls.
//! Never: does anything between them.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use super::worker::{Idle, Turning};
use super::{Config, Engine, EngineError};
use crate::error::{IoFault, OpenError};
use crate::io::disk::DirectoryLock;
use crate::shard::recover::{Opened, open};

/// An open data directory with a single shard that its owner turns.
///
/// Requests are made through [`ManualEngine::engine`], on this thread or another, and go nowhere but in
/// [`ManualEngine::drive`]. On the thread that drives, use [`Ack::on_done`](super::Ack::on_done),
/// [`Ack::try_take`](super::Ack::try_take) or poll the future; [`Ack::wait`](super::Ack::wait) there would wait for
/// ever. It is bound to the thread that opened it.
///
/// ```no_run
/// use std::time::Duration;
/// use ringmain_engine::embed::{Config, ManualEngine};
/// use ringmain_engine::types::LogId;
///
/// let mut manual = ManualEngine::open("data", Config::default())?;
/// let mut opening = manual.engine().log(LogId(1));
/// let log = loop {
///     manual.drive(Some(Duration::from_millis(1)))?;
///     match opening.try_take() {
///         Ok(log) => break log?,
///         Err(again) => opening = again,
///     }
/// };
/// # let _ = log;
/// manual.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ManualEngine {
    engine: Engine,
    turning: Turning,
    _lock: DirectoryLock,
}

impl ManualEngine {
    /// Opens `directory` like [`Engine::open`], with one shard whatever `config` says, and starts no thread; unless
    /// io_uring is not allowed here, whose place a few threads take.
    pub fn open(directory: impl AsRef<Path>, config: Config) -> Result<ManualEngine, OpenError> {
        let directory = directory.as_ref();
        let config = Config { shards: 1, ..config };
        let Opened { shards, report, lock, .. } = open(&config.checked(directory)?)?;
        let system = |source| IoFault {
            doing: "open a driver for",
            path: directory.to_path_buf(),
            position: None,
            source,
        };
        let Some(shard) = shards.into_iter().next() else { unreachable!("one shard was asked for") };
        let (worker, mail) = Idle::new(shard, config.batch_bytes_max(), false).map_err(system)?;
        let turning = worker.begin(config.driver).map_err(system)?;
        Ok(ManualEngine { engine: Engine::new(vec![mail], Vec::new(), report), turning, _lock: lock })
    }

    /// The handle, to clone and to give away.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Takes what was asked and what the device has done, begins what follows, and then waits for more: at most
    /// `wait_max`, not at all if that is zero, without limit if it is `None`. Answers are given during the call.
    ///
    /// An error means that the shard has failed: nothing in flight is durable, and only closing is left.
    pub fn drive(&mut self, wait_max: Option<Duration>) -> Result<(), EngineError> {
        self.turning.turn(wait_max).map(|_| ())
    }

    /// Turns until everything asked so far is durable and the journal is sealed. Handles that are left get
    /// [`EngineError::Closed`] from then on.
    pub fn close(mut self) -> Result<(), EngineError> {
        self.engine.ask_to_close();
        while !self.turning.turn(None)? {}
        Ok(())
    }
}

impl fmt::Debug for ManualEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManualEngine").finish_non_exhaustive()
    }
}
