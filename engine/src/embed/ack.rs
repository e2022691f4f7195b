//! The answer that is still to come, for a caller on any thread: to be waited for, awaited, or called back with.
//!
//! In: the answer, once, from the shard's thread or from a caller that wrote for it. Out: the same to whoever holds the [`Ack`].
//! Never: loses it; a shard that goes away without answering gives [`EngineError::Closed`].
//!
//! ```text
//!   waiting ──answer──> done ──wait, poll──> taken
//!      └─ with a callback ──answer──> the callback is called on the shard's thread
//! ```

use std::future::Future;
use std::pin::Pin;
use std::sync::PoisonError;
#[cfg(not(loom))]
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

#[cfg(loom)]
use loom::sync::{Arc, Condvar, Mutex, MutexGuard};

use super::EngineError;
use crate::weakened::{Weakness, weakened};

type Answer<T> = Result<T, EngineError>;
type Callback<T> = Box<dyn FnOnce(Answer<T>) + Send>;

enum State<T> {
    Waiting(Option<Waker>),
    /// A thread sleeps until it is told. Nobody else is told anything: that is a call of the kernel each time.
    Asleep,
    Callback(Callback<T>),
    Done(Answer<T>),
    Taken,
}

struct Slot<T> {
    state: Mutex<State<T>>,
    done: Condvar,
}

impl<T> Slot<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer to come: waited for with [`Ack::wait`], awaited, or called back with by [`Ack::on_done`]. `Ok` says that the
/// request is durable. Dropping it does not take the request back.
#[must_use = "a request is durable only when its answer says so"]
pub struct Ack<T>(Arc<Slot<T>>);

impl<T> Ack<T> {
    /// Blocks the calling thread until the answer is there. A thread that turns the shard itself must not: see
    /// [`ManualEngine`](super::ManualEngine).
    pub fn wait(self) -> Answer<T> {
        let mut state = self.0.state();
        loop {
            match std::mem::replace(&mut *state, State::Taken) {
                State::Done(answer) => return answer,
                _ => *state = State::Asleep,
            }
            state = self.0.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Like [`Ack::wait`], but for so long at most, or less; then the ack again.
    pub(super) fn wait_for(self, limit: Duration) -> Result<Answer<T>, Ack<T>> {
        let mut state = self.0.state();
        if !matches!(*state, State::Done(_)) {
            *state = State::Asleep;
            drop(self.0.done.wait_timeout(state, limit).unwrap_or_else(PoisonError::into_inner));
        } else {
            drop(state);
        }
        self.try_take()
    }

    /// The answer if it is there, otherwise the ack again. Never blocks.
    pub fn try_take(self) -> Result<Answer<T>, Ack<T>> {
        let mut state = self.0.state();
        match std::mem::replace(&mut *state, State::Taken) {
            State::Done(answer) => Ok(answer),
            other => {
                *state = other;
                drop(state);
                Err(self)
            }
        }
    }

    /// Has `callback` called with the answer: at once if it is there, or else on the shard's thread, which must
    /// not be held up.
    pub fn on_done(self, callback: impl FnOnce(Answer<T>) + Send + 'static) {
        let mut state = self.0.state();
        match std::mem::replace(&mut *state, State::Taken) {
            State::Done(answer) => {
                drop(state);
                callback(answer);
            }
            _ => *state = State::Callback(Box::new(callback)),
        }
    }
}

impl<T> Future for Ack<T> {
    type Output = Answer<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer<T>> {
        let mut state = self.0.state();
        match std::mem::replace(&mut *state, State::Taken) {
            State::Done(answer) => Poll::Ready(answer),
            _ => {
                *state = State::Waiting(Some(cx.waker().clone()));
                Poll::Pending
            }
        }
    }
}

/// The shard's end: answers once, at the latest when it is dropped.
pub(super) struct Completer<T>(Option<Arc<Slot<T>>>);

impl<T> Completer<T> {
    /// A pair that belongs together.
    pub(super) fn new() -> (Completer<T>, Ack<T>) {
        let slot = Arc::new(Slot { state: Mutex::new(State::Waiting(None)), done: Condvar::new() });
        (Completer(Some(slot.clone())), Ack(slot))
    }

    pub(super) fn complete(mut self, answer: Answer<T>) {
        if let Some(slot) = self.0.take() {
            finish(&slot, answer);
        }
    }
}

impl<T> Drop for Completer<T> {
    fn drop(&mut self) {
        if let Some(slot) = self.0.take()
            && !weakened(Weakness::AnswerWhenDropped)
        {
            finish(&slot, Err(EngineError::Closed));
        }
    }
}

fn finish<T>(slot: &Slot<T>, answer: Answer<T>) {
    if weakened(Weakness::AnswerBeforeNotice) {
        slot.done.notify_one();
    }
    let mut state = slot.state();
    if weakened(Weakness::WakerTakenBeforeAnswer)
        && let State::Waiting(waker) = &mut *state
    {
        let early = waker.take();
        drop(state);
        early.into_iter().for_each(Waker::wake);
        state = slot.state();
        if let State::Waiting(later) = &mut *state {
            *later = None;
        }
    }
    match std::mem::replace(&mut *state, State::Taken) {
        State::Callback(callback) => {
            drop(state);
            callback(answer);
        }
        State::Waiting(waker) => {
            *state = State::Done(answer);
            drop(state);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
        State::Asleep => {
            *state = State::Done(answer);
            drop(state);
            if !weakened(Weakness::AnswerBeforeNotice) {
                slot.done.notify_one();
            }
        }
        State::Done(_) | State::Taken => unreachable!("an answer is given once"),
    }
}
