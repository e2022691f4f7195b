//! Ctrl-C and SIGTERM as a flag, so that what was made is taken away before the process ends.
//!
//! In: signals. Out: [`Failure::Interrupted`] where a loop asks. Never: ends the process at the first signal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::failure::Failure;

/// Whether a signal has come. The second one ends the process at once.
#[derive(Clone)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Takes over both signals.
    pub fn listen() -> Result<Interrupt, Failure> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // In this order: the shutdown looks at the flag before the flag is raised by the same signal.
            signal_hook::flag::register_conditional_shutdown(signal, 130, flag.clone())
                .and_then(|_| signal_hook::flag::register(signal, flag.clone()))
                .map_err(|source| Failure::Kernel { doing: "listen for signals", source })?;
        }
        Ok(Interrupt(flag))
    }

    /// An error once a signal has come.
    pub fn check(&self) -> Result<(), Failure> {
        if self.0.load(Ordering::Relaxed) { Err(Failure::Interrupted) } else { Ok(()) }
    }
}
