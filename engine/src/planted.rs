//! Bugs that can be planted on purpose, to show that the simulator finds them.
//!
//! In: the feature `planted` and `plant`. Out: [`planted`], which is `false` at compile time without the feature,
//! so the wrong branches are in no other build. Never: two bugs at a time.

/// A bug somebody could have written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bug {
    /// A frame counts as durable when it is written, though runs beside it may not be.
    AckBeforePlaced,
    /// Appends are acknowledged when their frame is handed out, not when it is written.
    AckBeforeWrite,
    /// A frame whose write failed is acknowledged.
    AckFailedWrite,
    /// A frame is overwritten in memory by the next one before it is written.
    BufferReusedEarly,
    /// A checkpoint is written although segments are not synced.
    CheckpointBeforeSync,
    /// A checkpoint gets its name before its bytes are synced.
    CheckpointFileNotSynced,
    /// A checkpoint says of what is only in the journal that it is in segments.
    CheckpointCountsDurableAsSettled,
    /// A file that is closed before a checkpoint is not synced by it.
    ClosedFileNotSynced,
    /// Compaction drops the last record of a key.
    CompactionDropsLast,
    /// Compaction puts a file in the place of a segment before it is synced.
    CompactionNotSynced,
    /// Files of a log are removed before its deletion is durable.
    DeleteBeforeDurable,
    /// A trim is not written to the journal.
    DropLastTrim,
    /// The record before one that is not needed goes too.
    DropsOneMore,
    /// A batch that came again is acknowledged although the first copy may not be durable.
    DuplicateAckedAtOnce,
    /// A checkpoint is written although directories of segments are not synced.
    ForgetDirectorySync,
    /// A checkpoint forgets the idempotent producers.
    ForgetProducers,
    /// A journal file is used again before the checkpoint that makes it superfluous.
    JournalFileRecycledTooSoon,
    /// Segments that were merged are removed before what has their records has its name for good.
    MergedRemovedTooSoon,
    /// A failed sync is taken for a success.
    RetryFailedSync,
    /// A frame that was durable and is damaged is cut as if it had been torn.
    RottenTakenForTorn,
    /// A segment that was used again takes runs before its new name is durable.
    PlacedNameNotSynced,
    /// A trimmed segment is used again or removed though the last checkpoint or the journal behind it may mean it.
    PlacedSegmentRemovedTooSoon,
    /// The last frame of a journal is believed whatever became of the runs beside it.
    PlacedTrusted,
    /// Runs are served without a look at their checksums.
    ServeUnchecked,
    /// A run counts as settled before it is written.
    SettledBeforeWritten,
    /// A frame of an earlier use of the file is taken for the next one.
    StaleGenerationTrusted,
    /// The superblock names a new start before that one's checkpoints exist.
    SuperblockBeforeCheckpoints,
    /// A start does not overwrite what a write of the last one may still bring.
    SuperblockNotClaimed,
    /// The superblock is not synced.
    SuperblockNotSynced,
    /// A checkpoint of very many files is written although their file system is not synced.
    SyncOfAllLeftOut,
    /// What was truncated is served again after a start.
    TruncatedTailComesBack,
    /// A truncation is carried out again on what came after it.
    TruncationReplayedTwice,
    /// A segment that a checkpoint does not know is kept, and later taken for one that counts.
    UnfinishedSegmentKept,
}

/// All of them.
pub const ALL: [Bug; 33] = [
    Bug::AckBeforePlaced,
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
    Bug::DropsOneMore,
    Bug::DuplicateAckedAtOnce,
    Bug::ForgetDirectorySync,
    Bug::ForgetProducers,
    Bug::JournalFileRecycledTooSoon,
    Bug::MergedRemovedTooSoon,
    Bug::PlacedNameNotSynced,
    Bug::PlacedSegmentRemovedTooSoon,
    Bug::PlacedTrusted,
    Bug::RetryFailedSync,
    Bug::RottenTakenForTorn,
    Bug::ServeUnchecked,
    Bug::SettledBeforeWritten,
    Bug::StaleGenerationTrusted,
    Bug::SuperblockBeforeCheckpoints,
    Bug::SuperblockNotClaimed,
    Bug::SuperblockNotSynced,
    Bug::SyncOfAllLeftOut,
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
