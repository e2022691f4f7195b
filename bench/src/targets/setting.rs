//! How much is measured, where, and who runs on which core.
//!
//! In: the command line. Out: rounds, places for servers and clients. Never: lets a server inherit the client's core.

use std::path::Path;

use crate::cores::Cores;
use crate::failure::Failure;
use crate::interrupt::Interrupt;

/// What every target is measured with.
pub struct Setting<'a> {
    pub dir: &'a Path,
    pub quick: bool,
    pub rounds: usize,
    /// Length of one run.
    pub seconds: u64,
    /// Whether other brokers may be installed and started.
    pub peers: bool,
    pub cores: Option<Cores>,
    pub interrupt: &'a Interrupt,
}

impl Setting<'_> {
    /// Does `work` on any core, and goes back to the client's.
    pub fn on_any<T>(&self, work: impl FnOnce() -> T) -> T {
        self.cores.into_iter().for_each(|cores| cores.unpin());
        let outcome = work();
        self.cores.into_iter().for_each(|cores| cores.pin_asking());
        outcome
    }

    /// Does `work` on the servers' core, and goes back to the client's.
    pub fn on_answering<T>(&self, work: impl FnOnce() -> T) -> T {
        self.cores.into_iter().for_each(|cores| cores.pin_answering());
        let outcome = work();
        self.cores.into_iter().for_each(|cores| cores.pin_asking());
        outcome
    }

    /// Does `round` as often as there are rounds.
    pub fn rounds(&self, mut round: impl FnMut() -> Result<(), Failure>) -> Result<(), Failure> {
        for _ in 0..self.rounds {
            self.interrupt.check()?;
            round()?;
        }
        Ok(())
    }
}
