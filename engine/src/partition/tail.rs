//! The end of a log in memory: the very bytes that went to the journal, until they are settled and forgotten.
//!
//! In: batches of durable frames, in order. Out: slices of them. Never: holds a batch that is not durable.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::types::Offset;

/// One durable batch.
#[derive(Clone, Debug)]
pub struct TailBatch {
    pub base: Offset,
    pub end: Offset,
    pub max_timestamp_ms: i64,
    /// The frame it came in.
    pub sequence: u64,
    pub bytes: Bytes,
}

/// Batches in order; offsets may leave gaps where nothing was ever written.
#[derive(Debug, Default)]
pub struct Tail {
    batches: VecDeque<TailBatch>,
}

impl Tail {
    /// Appends the next batch.
    pub fn push(&mut self, batch: TailBatch) {
        assert!(self.batches.back().is_none_or(|last| last.end <= batch.base));
        assert!(batch.base < batch.end);
        self.batches.push_back(batch);
    }

    /// The first offset that is in memory.
    pub fn first(&self) -> Option<Offset> {
        self.batches.front().map(|batch| batch.base)
    }

    /// Batches from the one that holds `from`, or the first behind it.
    pub fn from(&self, from: Offset) -> impl Iterator<Item = &TailBatch> {
        let index = self.batches.partition_point(|batch| batch.end <= from);
        self.batches.range(index..)
    }

    /// Whole batches from the one that holds `from` and below `end`: at most `bytes_max`, but at least one.
    pub fn slices(&self, from: Offset, end: Offset, bytes_max: usize) -> Vec<Bytes> {
        let mut taken = 0;
        let mut slices = Vec::new();
        for batch in self.from(from).take_while(|batch| batch.end <= end) {
            if !slices.is_empty() && taken + batch.bytes.len() > bytes_max {
                break;
            }
            taken += batch.bytes.len();
            slices.push(batch.bytes.clone());
        }
        slices
    }

    /// Forgets batches from the back that reach beyond `end`.
    pub fn truncate(&mut self, end: Offset) {
        while self.batches.back().is_some_and(|batch| batch.end > end) {
            self.batches.pop_back();
        }
    }

    /// Forgets batches from the front that came in frames up to `sequence` and end at or below `below`.
    pub fn forget(&mut self, sequence: u64, below: Offset) {
        while self.batches.front().is_some_and(|batch| batch.sequence <= sequence && batch.end <= below) {
            self.batches.pop_front();
        }
        if self.batches.is_empty() {
            self.batches = VecDeque::new(); // an idle log holds no memory
        }
    }
}
