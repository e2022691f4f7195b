//! Orderings between cores that can be weakened on purpose, to show that the models find it.
//!
//! In: a build for loom, and [`weaken`]. Out: [`weakened`], which is `false` at compile time in every other build, so the
//! wrong branches are in none of them. Never: two at a time.

use std::sync::atomic::Ordering;

/// An ordering somebody could have thought unnecessary.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Weakness {
    /// The producer's store of a mailbox's `written` releases nothing.
    PublishReleases,
    /// The consumer's load of it acquires nothing.
    PopAcquires,
    /// The consumer's store of `read` releases nothing.
    PopReleases,
    /// The producer's load of it acquires nothing.
    PushAcquires,
    /// The sleeper's fence is not there.
    AnnounceFence,
    /// The waker's fence is not there.
    WakeFence,
    /// Whoever sees a sleeper wakes it, without claiming that.
    WakeOnce,
    /// An answer is announced before it is there.
    AnswerBeforeNotice,
    /// A waker is looked for only once, before the answer is there.
    WakerTakenBeforeAnswer,
    /// A completer that is dropped answers nothing.
    AnswerWhenDropped,
    /// The thread looks for what it was left before it says that it sleeps.
    LookWhenAnnounced,
    /// A worker ends while a caller writes for it.
    EndBehindLeader,
    /// A caller that has written tells nobody.
    LeaderTells,
}

#[cfg(all(test, loom))]
thread_local! {
    // All threads of a model run on one thread of the machine.
    static WEAKENED: std::cell::Cell<Option<Weakness>> = const { std::cell::Cell::new(None) };
}

/// Runs a model with one ordering weakened.
#[cfg(all(test, loom))]
pub(crate) fn weaken(weakness: Weakness, model: impl Fn() + Sync + Send + 'static) {
    WEAKENED.set(Some(weakness));
    loom::model(model);
}

/// Whether an ordering is to be weaker than it must be.
#[cfg(all(test, loom))]
pub(crate) fn weakened(weakness: Weakness) -> bool {
    WEAKENED.get() == Some(weakness)
}

/// Whether an ordering is to be weaker than it must be: it is not.
#[cfg(not(all(test, loom)))]
#[inline(always)]
pub(crate) const fn weakened(_: Weakness) -> bool {
    false
}

/// `ordering`, unless it is weakened.
#[inline(always)]
pub(crate) fn ordering(ordering: Ordering, weakness: Weakness) -> Ordering {
    if weakened(weakness) { Ordering::Relaxed } else { ordering }
}
