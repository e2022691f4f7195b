//! What is being measured, on the terminal while it is.
//!
//! In: names of steps. Out: one line on standard error that is written over. Never: anything where standard error is
//! a file or a pipe.

use std::io::{IsTerminal, Write};
use std::time::Instant;

/// The line.
pub struct Progress {
    begin: Instant,
    steps: usize,
    done: usize,
    shown: bool,
}

impl Progress {
    /// Of `steps` in all.
    pub fn new(steps: usize) -> Progress {
        Progress { begin: Instant::now(), steps, done: 0, shown: std::io::stderr().is_terminal() }
    }

    /// The next step begins.
    pub fn step(&mut self, name: &str) {
        self.done += 1;
        if self.shown {
            let seconds = self.begin.elapsed().as_secs();
            let mut out = std::io::stderr().lock();
            // A terminal that is gone is no reason to stop measuring.
            let _ = write!(out, "\r\x1b[K[{:>2}/{}] {seconds:>3} s  {name}", self.done, self.steps);
            let _ = out.flush();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
