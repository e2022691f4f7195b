//! Which records of a log a later one replaces, by key.
//!
//! In: batches, in any form their producer sent them. Out: where each key was last seen; batches without the records
//! that are no longer needed. Never: reads or writes a file, moves a record to another offset, or drops the last
//! record of a key, but for one that deletes it and is old enough.
//!
//! The rules are Apache Kafka's: a record is superseded by a later one with the same key; a record without a value
//! deletes its key and goes itself after a while; records without a key and control batches stay; so does the header
//! of the last batch of each producer. A batch keeps its offsets, sequences and stamp, so what is left has gaps.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use bytes::Bytes;
use zerocopy::byteorder::big_endian::{I16, I32, I64, U32};
use zerocopy::{FromBytes, IntoBytes};

use crate::format::batch::{self, BatchHeader, CODEC_MASK, CONTROL, CRC_START, HEADER_BYTES, LENGTH_END};
use crate::format::crc::crc32c;
use crate::format::record::{self, Record};
use crate::limits::BATCH_BYTES_MAX;
use crate::planted::{Bug, planted};
use crate::types::Offset;

/// How compressed records are looked at, which the engine itself cannot.
#[derive(Clone, Copy, Debug)]
pub struct Codecs {
    /// The records of a batch, given with its header, as plain bytes. `None`: they cannot be had.
    pub unpack: fn(&Bytes) -> Option<Bytes>,
    /// Plain records compressed with a codec, by its number in the batch's attributes. `None`: they are stored plain.
    pub pack: fn(i16, &[u8]) -> Option<Vec<u8>>,
}

impl Codecs {
    /// For logs in which nothing is compressed; what is stays as it is.
    pub const NONE: Codecs = Codecs { unpack: |_| None, pack: |_, _| None };

    fn records(&self, header: &BatchHeader, batch: &Bytes) -> Option<Bytes> {
        match header.attributes.get() & CODEC_MASK {
            0 => Some(batch.slice(HEADER_BYTES.min(batch.len())..)),
            _ => (self.unpack)(batch).filter(|records| records.len() <= BATCH_BYTES_MAX - HEADER_BYTES),
        }
    }
}

/// Where each key was seen last. Keys are known by 128 bits of two keyed hashes, new ones for every map, so that
/// nobody can choose keys that are taken for each other.
#[derive(Debug)]
pub struct KeyMap {
    last: HashMap<u128, Offset>,
    keys_max: usize,
    hashers: [RandomState; 2],
}

impl KeyMap {
    /// A map of at most so many keys.
    pub fn new(keys_max: usize) -> KeyMap {
        KeyMap { last: HashMap::new(), keys_max, hashers: [RandomState::new(), RandomState::new()] }
    }

    fn name(&self, key: &[u8]) -> u128 {
        let [high, low] = &self.hashers;
        u128::from(high.hash_one(key)) << 64 | u128::from(low.hash_one(key))
    }

    /// Notes the keys of a batch; false: the map is full and not all of them were.
    pub fn note(&mut self, batch: &Bytes, codecs: &Codecs) -> bool {
        let Some((header, records)) = opened(batch, codecs) else { return true };
        let base = header.base_offset.get() as u64;
        for (record, _) in walk(&header, records) {
            let Some(key) = &record.key else { continue };
            let name = self.name(key);
            if self.last.len() >= self.keys_max && !self.last.contains_key(&name) {
                return false;
            }
            let last = self.last.entry(name).or_insert(0);
            *last = (*last).max(base + u64::from(record.offset_delta));
        }
        true
    }

    /// Whether the record goes: a later one with the same key was noted; or it deletes its key, and such go as well.
    pub fn lets_go(&self, offset: Offset, record: &Record, deletions_go: bool) -> bool {
        let Some(key) = &record.key else { return false };
        let last = self.last.get(&self.name(key));
        let superseded = last.is_some_and(|last| *last > offset || planted(Bug::CompactionDropsLast));
        superseded || (deletions_go && record.value.is_none())
    }
}

/// What is left of a batch.
#[derive(Debug)]
pub enum Left {
    /// All of it.
    Whole,
    /// Less: another batch at the same offsets.
    Some(Bytes),
    Nothing,
    /// Its records cannot be looked at. It stays, and because it may hold any key, so must every deletion behind it.
    Closed,
}

/// A batch without the records that go, of which `goes` is told the offset; with `keep_header` the header stays even if
/// all of them do, as the sequence of its producer must.
pub fn rewrite(
    batch: &Bytes,
    keep_header: bool,
    codecs: &Codecs,
    goes: impl Fn(Offset, &Record) -> bool,
) -> Left {
    let Ok(header) = batch::shape(batch).copied() else { return Left::Closed };
    if header.attributes.get() & CONTROL != 0 {
        return Left::Whole;
    }
    let Some((_, records)) = opened(batch, codecs) else { return Left::Closed };
    let base = header.base_offset.get() as u64;
    let mut kept: Vec<u8> = Vec::new();
    let (mut count, mut seen) = (0, 0);
    let mut max_timestamp_ms = i64::MIN;
    for (record, raw) in walk(&header, records) {
        seen += 1;
        if !goes(base + u64::from(record.offset_delta), &record) {
            count += 1;
            let timestamp_ms = header.base_timestamp.get().saturating_add(record.timestamp_delta_ms);
            max_timestamp_ms = max_timestamp_ms.max(timestamp_ms);
            kept.extend_from_slice(&raw);
        }
    }
    match (seen == header.records_count.get(), count) {
        (false, _) => Left::Closed,
        (true, count) if count == seen => Left::Whole,
        (true, 0) if !keep_header => Left::Nothing,
        (true, count) => {
            if count == 0 {
                max_timestamp_ms = header.max_timestamp.get();
            }
            Left::Some(rebuilt(header, count, max_timestamp_ms, &kept, codecs))
        }
    }
}

/// The header of a batch and its records, uncompressed; control batches have none for this purpose.
fn opened(batch: &Bytes, codecs: &Codecs) -> Option<(BatchHeader, Bytes)> {
    let header = *batch::shape(batch).ok()?;
    if header.attributes.get() & CONTROL != 0 {
        return None;
    }
    Some((header, codecs.records(&header, batch)?))
}

/// Every record with its bytes, up to the first that is not sound.
fn walk(header: &BatchHeader, mut records: Bytes) -> impl Iterator<Item = (Record, Bytes)> {
    let mut left = header.records_count.get().max(0);
    std::iter::from_fn(move || {
        left = left.checked_sub(1).filter(|left| *left >= 0)?;
        let before = records.clone();
        let record = record::take(&mut records).ok()?;
        Some((record, before.slice(..before.len() - records.len())))
    })
}

fn rebuilt(
    mut header: BatchHeader,
    count: i32,
    max_timestamp_ms: i64,
    kept: &[u8],
    codecs: &Codecs,
) -> Bytes {
    let attributes = header.attributes.get();
    let codec = attributes & CODEC_MASK;
    let packed = if codec == 0 || count == 0 { None } else { (codecs.pack)(codec, kept) };
    if packed.is_none() {
        header.attributes = I16::new(attributes & !CODEC_MASK);
    }
    let records = packed.as_deref().unwrap_or(kept);
    header.records_count = I32::new(count);
    header.max_timestamp = I64::new(max_timestamp_ms);
    header.length = I32::new((HEADER_BYTES - LENGTH_END + records.len()) as i32);
    let mut bytes = Vec::with_capacity(HEADER_BYTES + records.len());
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(records);
    let checksum = crc32c(&bytes[CRC_START..]);
    if let Ok((header, _)) = BatchHeader::mut_from_prefix(&mut bytes) {
        header.crc = U32::new(checksum);
    }
    Bytes::from(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::record::BatchBuilder;

    /// Deletions go too; the header of the last batch of a producer stays.
    #[derive(Clone, Copy)]
    struct Terms {
        drop_deletions: bool,
        keep_header: bool,
    }

    const TERMS: Terms = Terms { drop_deletions: false, keep_header: false };

    fn compact(batch: &Bytes, keys: &KeyMap, terms: Terms) -> Left {
        rewrite(batch, terms.keep_header, &Codecs::NONE, |offset, record| {
            keys.lets_go(offset, record, terms.drop_deletions)
        })
    }

    fn batch(base: u64, records: &[(Option<&str>, Option<&str>)]) -> Bytes {
        let mut builder = BatchBuilder::new(100);
        for (at, (key, value)) in records.iter().enumerate() {
            builder.push(100 + at as i64, key.map(str::as_bytes), value.map(str::as_bytes), &[]);
        }
        let mut bytes = builder.finish().bytes().to_vec();
        batch::stamp(&mut bytes, base, 7);
        Bytes::from(bytes)
    }

    fn left(batch: &Bytes, keys: &KeyMap, terms: Terms) -> Vec<(u32, Option<Bytes>)> {
        match compact(batch, keys, terms) {
            Left::Some(bytes) => {
                let header = *batch::check(&bytes).unwrap();
                let old = *batch::check(batch).unwrap();
                assert_eq!((header.base_offset, header.leader_epoch), (old.base_offset, old.leader_epoch));
                assert_eq!(header.last_offset_delta, old.last_offset_delta);
                walk(&header, bytes.slice(HEADER_BYTES..)).map(|(r, _)| (r.offset_delta, r.value)).collect()
            }
            Left::Nothing => Vec::new(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_last_record_of_each_key_and_what_has_none_stay_at_their_offsets() {
        let first = batch(10, &[(Some("a"), Some("1")), (None, Some("2")), (Some("b"), Some("3"))]);
        let second = batch(13, &[(Some("a"), Some("4")), (Some("a"), Some("5"))]);
        let mut keys = KeyMap::new(10);
        assert!(keys.note(&first, &Codecs::NONE) && keys.note(&second, &Codecs::NONE));
        assert_eq!(left(&first, &keys, TERMS), [(1, Some("2".into())), (2, Some("3".into()))]);
        assert_eq!(left(&second, &keys, TERMS), [(1, Some("5".into()))]);
        let third = batch(15, &[(Some("c"), Some("6"))]);
        assert!(matches!(compact(&third, &keys, TERMS), Left::Whole));
    }

    #[test]
    fn a_deletion_stays_until_it_may_go_and_a_header_as_long_as_its_producer_needs_it() {
        let deletion = batch(5, &[(Some("a"), None)]);
        let mut keys = KeyMap::new(10);
        assert!(keys.note(&deletion, &Codecs::NONE));
        assert!(matches!(compact(&deletion, &keys, TERMS), Left::Whole));
        assert_eq!(left(&deletion, &keys, Terms { drop_deletions: true, ..TERMS }), []);
        let terms = Terms { drop_deletions: true, keep_header: true };
        let Left::Some(empty) = compact(&deletion, &keys, terms) else { panic!("gone") };
        assert_eq!(batch::check(&empty).unwrap().records_count.get(), 0);
    }

    #[test]
    fn a_full_map_says_so_and_what_cannot_be_opened_stays() {
        let many = batch(0, &[(Some("a"), Some("1")), (Some("b"), Some("2")), (Some("a"), Some("3"))]);
        assert!(!KeyMap::new(1).note(&many, &Codecs::NONE));
        let mut packed = many.to_vec();
        packed[22] |= 1;
        let keys = KeyMap::new(1);
        assert!(matches!(compact(&Bytes::from(packed), &keys, TERMS), Left::Closed));
        let mut cut = many.to_vec();
        cut[60] = 9; // claims more records than there are
        assert!(matches!(compact(&Bytes::from(cut), &keys, TERMS), Left::Closed));
    }
}
