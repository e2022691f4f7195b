//! Whose turn it is with a worker: its thread's, or a caller's who would only wait otherwise.
//!
//! In: a worker. Out: the worker, to one at a time. Never: lets a caller wait for its turn, or the worker end while a caller
//! writes for it.
//!
//! ```text
//!   free ──take, try_take──> had ──dropped──> free
//!     ^                       └─ lead: dropped, with a write to do ──> led by a caller, free for others ──done──┐
//!     └──────────────────────────────────────────────────────────────────────────────────────────────────────────┘
//! ```

use std::sync::PoisonError;
#[cfg(not(loom))]
use std::sync::{Condvar, Mutex, MutexGuard};

#[cfg(loom)]
use loom::sync::{Condvar, Mutex, MutexGuard};

use crate::io::mailbox::Parking;
use crate::weakened::{Weakness, weakened};

struct State<W> {
    /// None once it has ended.
    worker: Option<W>,
    /// Callers that do a write of the worker: at most one, as the journal has one write at a time.
    leading: bool,
    /// The thread sleeps until no caller writes.
    ending: bool,
}

/// A worker and its turns.
pub(super) struct Turns<W> {
    state: Mutex<State<W>>,
    led: Condvar,
}

/// The worker, until it is dropped.
pub(super) struct Turn<'a, W> {
    state: MutexGuard<'a, State<W>>,
    turns: &'a Turns<W>,
}

impl<W> Turns<W> {
    pub(super) fn new(worker: W) -> Turns<W> {
        Turns {
            state: Mutex::new(State { worker: Some(worker), leading: false, ending: false }),
            led: Condvar::new(),
        }
    }

    /// Waits for whoever has it; nobody keeps it for long.
    pub(super) fn take(&self) -> Turn<'_, W> {
        Turn { state: self.state.lock().unwrap_or_else(PoisonError::into_inner), turns: self }
    }

    /// The turn if nobody has it.
    pub(super) fn try_take(&self) -> Option<Turn<'_, W>> {
        self.state.try_lock().ok().map(|state| Turn { state, turns: self })
    }

    /// What a look at the worker says behind the announcement that its thread will sleep: whoever leaves something later
    /// sees the announcement.
    pub(super) fn look<T>(&self, parking: &Parking, look: impl FnOnce(Option<&mut W>) -> T) -> T {
        if weakened(Weakness::LookWhenAnnounced) {
            let seen = look(self.take().worker());
            parking.announce();
            return seen;
        }
        parking.announce();
        look(self.take().worker())
    }

    /// Takes the worker for good, once no caller writes for it.
    pub(super) fn end(&self) -> Option<W> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.leading && !weakened(Weakness::EndBehindLeader) {
            state.ending = true;
            state = self.led.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.worker.take()
    }
}

impl<W> Turn<'_, W> {
    /// The worker, unless it has ended.
    pub(super) fn worker(&mut self) -> Option<&mut W> {
        self.state.worker.as_mut()
    }

    /// The turn is over, but what it began is not: see [`Turn::led`].
    pub(super) fn lead(mut self) {
        assert!(!self.state.leading, "one write at a time");
        self.state.leading = true;
    }

    /// What was begun is done.
    pub(super) fn led(&mut self) {
        self.state.leading = false;
        if self.state.ending && !weakened(Weakness::LeaderTells) {
            self.turns.led.notify_all();
        }
    }
}
