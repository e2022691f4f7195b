//! Bugs that can be planted on purpose, to show that the simulator finds them.
//!
//! In: the feature `planted` and `plant`. Out: [`planted`], which is `false` at compile time without the feature,
//! so the wrong branches are in no other build. Never: two bugs at a time.

/// A bug somebody could have written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bug {
    AckBeforeWrite,
    AckFailedWrite,
    BufferReusedEarly,
    CheckpointBeforeSync,
    CheckpointFileNotSynced,
    CheckpointCountsDurableAsSettled,
    ClosedFileNotSynced,
    CompactionDropsLast,
    CompactionNotSynced,
    DeleteBeforeDurable,
    DropLastTrim,
    DuplicateAckedAtOnce,
    ForgetDirectorySync,
    ForgetProducers,
    JournalFileRecycledTooSoon,
    RetryFailedSync,
    RottenTakenForTorn,
    ServeUnchecked,
    SettledBeforeWritten,
    StaleGenerationTrusted,
    SuperblockBeforeCheckpoints,
    SuperblockNotClaimed,
    SuperblockNotSynced,
    TruncatedTailComesBack,
    TruncationReplayedTwice,
    UnfinishedSegmentKept,
}

/// All of them.
pub const ALL: [Bug; 26] = [
    Bug::AckBeforeWrite,
    Bug::AckFailedWrite,
    Bug::BufferReusedEarly,
    Bug::CheckpointBeforeSync,
    Bug::CheckpointFileNotSynced,
    Bug::CheckpointCountsDurableAsSettled,
    Bug::ClosedFileNotSynced,
    Bug::CompactionDropsLast,
    Bug::CompactionNotSynced,
    Bug::DeleteBeforeDurable,
    Bug::DropLastTrim,
    Bug::DuplicateAckedAtOnce,
    Bug::ForgetDirectorySync,
    Bug::ForgetProducers,
    Bug::JournalFileRecycledTooSoon,
    Bug::RetryFailedSync,
    Bug::RottenTakenForTorn,
    Bug::ServeUnchecked,
    Bug::SettledBeforeWritten,
    Bug::StaleGenerationTrusted,
    Bug::SuperblockBeforeCheckpoints,
    Bug::SuperblockNotClaimed,
    Bug::SuperblockNotSynced,
    Bug::TruncatedTailComesBack,
    Bug::TruncationReplayedTwice,
    Bug::UnfinishedSegmentKept,
];

#[cfg(feature = "planted")]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Plants a bug in everything this thread does from now on, instead of any other; `None`: no bug.
#[cfg(feature = "planted")]
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

/// Whether the engine is to be wrong in this way.
#[cfg(feature = "planted")]
pub fn planted(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

/// Whether the engine is to be wrong in this way: it is not.
#[cfg(not(feature = "planted"))]
#[inline(always)]
pub const fn planted(_: Bug) -> bool {
    false
}
