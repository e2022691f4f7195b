//! What a queue remembers, as bytes: facts that only ever add up, so that a log of them may be cut anywhere
//! before a snapshot, and a snapshot may be repeated or torn without harm.
//!
//! In: [`Changes`]. Out: one record of settlements, and back. Never: writes it anywhere.
//!
//! A record is a version byte and then facts of 17 bytes, integers little-endian:
//!
//! | kind | a | b | |
//! |---|---|---|---|
//! | 1 | first | end | the offsets `first..end` are settled |
//! | 2 | end | 0 | what is below `end` may have been delivered |
//! | 3 | offset | count | the record came back so often |

use std::collections::BTreeMap;
use std::ops::Range;

use ringmain_engine::types::Offset;

use super::ranges::RangeSet;
use super::subscription::Subscription;

const VERSION: u8 = 1;
const FACT_BYTES: usize = 17;
const SETTLED: u8 = 1;
const DELIVERED_BELOW: u8 = 2;
const RETURNED: u8 = 3;
/// Facts in one record: about a MiB.
const RECORD_FACTS_MAX: usize = (1 << 20) / FACT_BYTES;
/// Bytes of records after which a snapshot is worth its while, whatever it takes.
const SNAPSHOT_AFTER_BYTES: usize = if cfg!(test) { 1 << 10 } else { 256 << 10 };

/// The bytes are no record of settlements.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BadState {
    Version(u8),
    /// No version, or the last fact is cut short.
    Length(usize),
    Kind(u8),
    /// A range that ends before it begins, or a count that is too large.
    Value {
        kind: u8,
        a: u64,
        b: u64,
    },
}

impl std::fmt::Display for BadState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BadState::Version(found) => write!(f, "version {found} of queue state, expected {VERSION}"),
            BadState::Length(bytes) => write!(f, "a queue state record of {bytes} bytes is cut short"),
            BadState::Kind(kind) => write!(f, "unknown kind of queue state {kind}"),
            BadState::Value { kind, a, b } => write!(f, "queue state of kind {kind} with values {a} and {b}"),
        }
    }
}

/// One thing that is true from then on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fact {
    Settled(Range<Offset>),
    DeliveredBelow(Offset),
    Returned { offset: Offset, count: u32 },
}

/// What changed since the last record.
#[derive(Debug, Default)]
pub struct Changes {
    pub settled: RangeSet,
    /// Everything below may have been delivered.
    pub delivered_below: Offset,
    /// Whether that is news.
    pub delivered: bool,
    pub returned: BTreeMap<Offset, u32>,
}

impl Changes {
    /// Nothing settled and nothing returned.
    pub fn is_empty(&self) -> bool {
        self.settled.is_empty() && self.returned.is_empty()
    }

    /// Records of bounded size that say all of it.
    pub fn encode(&self) -> Vec<Vec<u8>> {
        let settled = self.settled.iter().map(|range| (SETTLED, range.start, range.end));
        let delivered = self.delivered.then_some((DELIVERED_BELOW, self.delivered_below, 0));
        let returned = self.returned.iter().map(|(offset, count)| (RETURNED, *offset, u64::from(*count)));
        records(settled.chain(delivered).chain(returned))
    }
}

/// Reads the facts of one record.
pub fn decode(record: &[u8]) -> Result<Vec<Fact>, BadState> {
    let (version, body) = record.split_first().ok_or(BadState::Length(0))?;
    if *version != VERSION {
        return Err(BadState::Version(*version));
    }
    let (facts, rest) = body.as_chunks::<FACT_BYTES>();
    if !rest.is_empty() {
        return Err(BadState::Length(record.len()));
    }
    facts.iter().map(fact).collect()
}

fn fact(bytes: &[u8; FACT_BYTES]) -> Result<Fact, BadState> {
    let [kind, a0, a1, a2, a3, a4, a5, a6, a7, b0, b1, b2, b3, b4, b5, b6, b7] = *bytes;
    let a = u64::from_le_bytes([a0, a1, a2, a3, a4, a5, a6, a7]);
    let b = u64::from_le_bytes([b0, b1, b2, b3, b4, b5, b6, b7]);
    match kind {
        SETTLED if a <= b => Ok(Fact::Settled(a..b)),
        DELIVERED_BELOW => Ok(Fact::DeliveredBelow(a)),
        RETURNED if b <= u64::from(u32::MAX) => Ok(Fact::Returned { offset: a, count: b as u32 }),
        SETTLED | RETURNED => Err(BadState::Value { kind, a, b }),
        _ => Err(BadState::Kind(kind)),
    }
}

/// Everything `subscription` remembers, in records of bounded size.
pub fn snapshot(subscription: &Subscription) -> Vec<Vec<u8>> {
    let settled = subscription.settled();
    let floor = std::iter::once((SETTLED, 0, settled.floor()));
    let above = settled.above().iter().map(|range| (SETTLED, range.start, range.end));
    let delivered = std::iter::once((DELIVERED_BELOW, subscription.delivered_below(), 0));
    let returns = subscription.returns().iter().map(|(offset, count)| (RETURNED, *offset, u64::from(*count)));
    records(floor.chain(above).chain(delivered).chain(returns))
}

fn records(facts: impl Iterator<Item = (u8, u64, u64)>) -> Vec<Vec<u8>> {
    let facts: Vec<_> = facts.collect();
    let mut records = Vec::new();
    for chunk in facts.chunks(RECORD_FACTS_MAX) {
        let mut record = begin(chunk.len());
        for (kind, a, b) in chunk {
            put(&mut record, *kind, *a, *b);
        }
        records.push(record);
    }
    records
}

/// Whether `written` bytes of records since the last snapshot are reason for a new one: four times what it
/// takes, so that snapshots never cost more than a quarter of what is written anyway.
pub fn wants_snapshot(subscription: &Subscription, written: usize) -> bool {
    let facts = 2 + subscription.settled().above().ranges_count() + subscription.returns().len();
    written >= SNAPSHOT_AFTER_BYTES.max(4 * facts * FACT_BYTES)
}

fn begin(facts: usize) -> Vec<u8> {
    let mut record = Vec::with_capacity(1 + facts * FACT_BYTES);
    record.push(VERSION);
    record
}

fn put(record: &mut Vec<u8>, kind: u8, a: u64, b: u64) {
    record.push(kind);
    record.extend_from_slice(&a.to_le_bytes());
    record.extend_from_slice(&b.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn much_that_changed_at_once_is_told_in_records_that_fit_a_batch() {
        let returned = (0..2_000_000).map(|offset| (offset * 2, 1)).collect();
        let changes = Changes { returned, delivered: true, delivered_below: 9, ..Changes::default() };
        let records = changes.encode();
        assert!(records.iter().all(|record| record.len() <= 1 + (1 << 20)));
        let facts: Vec<Fact> = records.iter().flat_map(|record| decode(record).unwrap()).collect();
        assert_eq!(facts.len(), 2_000_001);
        assert!(facts.contains(&Fact::DeliveredBelow(9)));
        assert!(facts.contains(&Fact::Returned { offset: 3_999_998, count: 1 }));
    }
}
