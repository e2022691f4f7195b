//! The bytes of every record, made from its log and its offset, so that whoever reads them knows what they must be.
//!
//! In: a log, offsets. Out: batches; a verdict on what was read. Never: two records with the same value.

use ringmain_engine::format::batch::CheckedBatch;
use ringmain_engine::format::record::BatchBuilder;
use ringmain_engine::types::{LogId, Offset};

use crate::raw::file;

/// Of noise, of which every value is a part.
const NOISE_BYTES: usize = 1 << 20;
/// The log and the offset at the front of a value.
const NAME_BYTES: usize = 16;

/// What all values are made of.
pub(super) struct Content {
    noise: Vec<u8>,
    value_bytes: usize,
}

impl Content {
    /// For values of so many bytes.
    pub(super) fn new(value_bytes: usize) -> Content {
        assert!(value_bytes > NAME_BYTES && value_bytes < NOISE_BYTES);
        Content { noise: file::noise(NOISE_BYTES).to_vec(), value_bytes }
    }

    /// The batch that goes to `base`, with one record for each key.
    pub(super) fn batch(
        &self,
        log: LogId,
        base: Offset,
        keys: impl Iterator<Item = Option<[u8; 8]>>,
    ) -> CheckedBatch {
        let mut builder = BatchBuilder::new(0);
        let mut value = Vec::with_capacity(self.value_bytes);
        for (offset, key) in (base..).zip(keys) {
            value.clear();
            value.extend_from_slice(&name(log, offset));
            value.extend_from_slice(self.noise_of(log, offset));
            builder.push(0, key.as_ref().map(<[u8; 8]>::as_slice), Some(&value), &[]);
        }
        builder.finish()
    }

    /// Whether `value` is what was written at this offset.
    pub(super) fn is_at(&self, log: LogId, offset: Offset, value: &[u8]) -> bool {
        value.strip_prefix(&name(log, offset)) == Some(self.noise_of(log, offset))
    }

    fn noise_of(&self, log: LogId, offset: Offset) -> &[u8] {
        let length = self.value_bytes - NAME_BYTES;
        // Neighbours begin far apart.
        let mixed = (log.0 << 32 ^ offset).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let begin = mixed as usize % (NOISE_BYTES - length);
        &self.noise[begin..begin + length]
    }
}

fn name(log: LogId, offset: Offset) -> [u8; NAME_BYTES] {
    (u128::from(log.0) << 64 | u128::from(offset)).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringmain_engine::format::{batch, record};

    #[test]
    fn a_value_is_known_at_its_place_alone() {
        let (content, log) = (Content::new(100), LogId(3));
        let batch = content.batch(log, 7, [None, Some([1; 8])].into_iter());
        let mut records = batch.bytes().slice(batch::HEADER_BYTES..);
        for offset in [7, 8] {
            let value = record::take(&mut records).unwrap().value.unwrap();
            assert!(value.len() == 100 && content.is_at(log, offset, &value));
            assert!(!content.is_at(log, offset + 1, &value) && !content.is_at(LogId(4), offset, &value));
            let mut flipped = value.to_vec();
            flipped[60] ^= 1;
            assert!(!content.is_at(log, offset, &flipped) && !content.is_at(log, offset, &value[..99]));
        }
    }
}
