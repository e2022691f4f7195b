//! What a log remembers of idempotent producers, so that a batch sent again is not appended again.
//!
//! In: headers of batches, before and after they are appended. Out: whether a batch is next, a duplicate, or
//! out of order. Never: rejects a producer it does not know (it may have been forgotten).
//!
//! The rules are Apache Kafka's (KIP-98): the last five batches of each producer are remembered; a sequence
//! follows its predecessor by one and goes from 2^31 - 1 to 0; a higher epoch starts at sequence 0.

use std::collections::HashMap;

use crate::format::batch::BatchHeader;
use crate::format::checkpoint::{ProducerBatch, ProducerState};
use crate::limits::{PRODUCER_BATCHES_MAX, PRODUCERS_MAX};
use crate::types::Offset;

/// What a batch is to its producer's history.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Append it.
    Next,
    /// It was appended before, at this offset.
    Duplicate(Offset),
    /// Its sequence is neither next nor remembered.
    OutOfOrder,
    /// Its epoch is older than one already seen.
    Fenced,
}

/// All producers of one log.
#[derive(Debug, Default)]
pub struct Producers {
    /// None if there are none, as in most logs of very many.
    #[expect(clippy::box_collection, reason = "an empty table takes 48 bytes of each of very many logs")]
    states: Option<Box<HashMap<i64, ProducerState>>>,
}

impl Producers {
    /// Judges a batch that is about to be appended. Batches without a producer are always next.
    pub fn judge(&self, header: &BatchHeader) -> Verdict {
        let Some(state) = header.producer().and_then(|id| self.states.as_ref()?.get(&id)) else {
            return Verdict::Next;
        };
        let (epoch, sequence) = (header.producer_epoch.get(), header.base_sequence.get());
        if epoch < state.epoch {
            return Verdict::Fenced;
        }
        if epoch > state.epoch {
            return if sequence == 0 { Verdict::Next } else { Verdict::OutOfOrder };
        }
        let last_sequence = sequence_after(sequence, header.last_offset_delta.get());
        let known = state
            .batches
            .iter()
            .find(|batch| batch.base_sequence == sequence && batch.last_sequence == last_sequence);
        if let Some(batch) = known {
            return Verdict::Duplicate(batch.base_offset);
        }
        match state.batches.last() {
            Some(last) if sequence_after(last.last_sequence, 1) != sequence => Verdict::OutOfOrder,
            _ => Verdict::Next,
        }
    }

    /// Whether the batch at `base` is the last that its producer is known to have appended.
    pub fn is_last(&self, header: &BatchHeader, base: Offset) -> bool {
        let state = header.producer().and_then(|id| self.states.as_ref()?.get(&id));
        state.and_then(|state| state.batches.last()).is_some_and(|last| last.base_offset == base)
    }

    /// Remembers a batch that was appended at `base_offset`.
    pub fn remember(&mut self, header: &BatchHeader, base_offset: Offset) {
        let Some(id) = header.producer() else { return };
        let states = self.states.get_or_insert_default();
        if states.len() >= PRODUCERS_MAX && !states.contains_key(&id) {
            forget_oldest(states);
        }
        let epoch = header.producer_epoch.get();
        let state = states.entry(id).or_insert_with(|| ProducerState {
            id,
            epoch,
            last_timestamp_ms: 0,
            batches: Vec::with_capacity(PRODUCER_BATCHES_MAX),
        });
        if state.epoch != epoch {
            state.epoch = epoch;
            state.batches.clear();
        }
        if state.batches.len() == PRODUCER_BATCHES_MAX {
            state.batches.remove(0);
        }
        let base_sequence = header.base_sequence.get();
        let last_sequence = sequence_after(base_sequence, header.last_offset_delta.get());
        state.batches.push(ProducerBatch { base_sequence, last_sequence, base_offset });
        state.last_timestamp_ms = header.max_timestamp.get();
    }

    /// What a checkpoint says of the producers when it ends before `end`: batches at or behind it are left to
    /// the journal.
    pub fn below(&self, end: Offset) -> Vec<ProducerState> {
        let states = self.states.iter().flat_map(|states| states.values());
        let mut states: Vec<ProducerState> = states.cloned().collect();
        for state in &mut states {
            state.batches.retain(|batch| batch.base_offset < end);
        }
        states.retain(|state| !state.batches.is_empty());
        states.sort_by_key(|state| state.id);
        states
    }

    /// Forgets batches at or behind `end`, which are gone.
    pub fn truncate(&mut self, end: Offset) {
        let Some(states) = &mut self.states else { return };
        for state in states.values_mut() {
            state.batches.retain(|batch| batch.base_offset < end);
        }
        states.retain(|_, state| !state.batches.is_empty());
    }

    /// The producers as a checkpoint remembered them.
    pub fn restore(states: Vec<ProducerState>) -> Producers {
        let any = !states.is_empty();
        Producers {
            states: any.then(|| Box::new(states.into_iter().map(|state| (state.id, state)).collect())),
        }
    }
}

fn forget_oldest(states: &mut HashMap<i64, ProducerState>) {
    let offset_of = |state: &ProducerState| state.batches.last().map_or(0, |batch| batch.base_offset);
    if let Some(oldest) = states.values().min_by_key(|state| offset_of(state)).map(|state| state.id) {
        states.remove(&oldest);
    }
}

fn sequence_after(sequence: i32, steps: i32) -> i32 {
    ((i64::from(sequence) + i64::from(steps)) % (1 << 31)) as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::record::BatchBuilder;
    use zerocopy::byteorder::big_endian::{I16, I32, I64};

    fn header(id: i64, epoch: i16, sequence: i32, count: i32) -> BatchHeader {
        let mut builder = BatchBuilder::new(0);
        builder.push(0, None, None, &[]);
        let mut header = *builder.finish().header();
        header.producer_id = I64::new(id);
        header.producer_epoch = I16::new(epoch);
        header.base_sequence = I32::new(sequence);
        header.last_offset_delta = I32::new(count - 1);
        header
    }

    #[test]
    fn a_batch_is_next_once_and_a_duplicate_five_batches_long() {
        let mut producers = Producers::default();
        for batch in 0..8 {
            let next = header(1, 0, batch * 2, 2);
            assert_eq!(producers.judge(&next), Verdict::Next);
            producers.remember(&next, batch as u64 * 10);
            assert_eq!(producers.judge(&next), Verdict::Duplicate(batch as u64 * 10));
        }
        assert_eq!(producers.judge(&header(1, 0, 2 * 2, 2)), Verdict::OutOfOrder);
        assert_eq!(producers.judge(&header(1, 0, 3 * 2, 2)), Verdict::Duplicate(30));
        assert_eq!(producers.judge(&header(1, 0, 17, 2)), Verdict::OutOfOrder);
        assert_eq!(producers.judge(&header(2, 5, 99, 1)), Verdict::Next);
    }

    #[test]
    fn epochs_fence_and_start_over() {
        let mut producers = Producers::default();
        producers.remember(&header(1, 3, 0, 1), 0);
        assert_eq!(producers.judge(&header(1, 2, 1, 1)), Verdict::Fenced);
        assert_eq!(producers.judge(&header(1, 4, 1, 1)), Verdict::OutOfOrder);
        assert_eq!(producers.judge(&header(1, 4, 0, 1)), Verdict::Next);
    }

    #[test]
    fn sequences_wrap_at_two_to_the_31() {
        let mut producers = Producers::default();
        producers.remember(&header(1, 0, i32::MAX - 1, 2), 0);
        assert_eq!(producers.judge(&header(1, 0, 0, 1)), Verdict::Next);
        producers.remember(&header(1, 0, 0, 1), 2);
        assert_eq!(producers.below(2).len(), 1);
        assert_eq!(producers.below(0).len(), 0);
        let restored = Producers::restore(producers.below(3));
        assert_eq!(restored.judge(&header(1, 0, 0, 1)), Verdict::Duplicate(2));
    }
}
