//! Records inside a batch: walking those of a sound, uncompressed batch, and building new batches.
//!
//! In: the bytes after a batch's header. Out: records that share them. Never: decompresses.
//!
//! A record is `length, attributes (1 byte), timestamp delta, offset delta, key length, key, value length,
//! value, headers count, {name length, name, value length, value}`; all integers are zig-zag varints and a
//! length of -1 means absent.

use bytes::Bytes;
use zerocopy::IntoBytes;
use zerocopy::byteorder::big_endian::{I16, I32, I64, U32};

use super::batch::{BatchHeader, CRC_START, CheckedBatch, HEADER_BYTES, LENGTH_END};
use super::crc::crc32c;
use super::varint;

/// One record; every part shares the batch's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Offset of the record minus the batch's base offset.
    pub offset_delta: u32,
    /// Timestamp of the record minus the batch's base timestamp, in ms.
    pub timestamp_delta_ms: i64,
    /// The key; `None`: absent, which is not the same as empty.
    pub key: Option<Bytes>,
    /// The value; `None`: absent, which in a compacted log deletes the key.
    pub value: Option<Bytes>,
    /// Names and values in the order of the producer. A name may come more than once.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

impl Record {
    /// The value of the first header called `name`, if there is one.
    pub fn header(&self, name: &[u8]) -> Option<&Bytes> {
        self.headers.iter().find(|(found, _)| found == name).and_then(|(_, value)| value.as_ref())
    }
}

/// The bytes do not hold the record they promise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadRecord;

/// Takes one record off the front of `bytes`, which begin where a record does.
pub fn take(bytes: &mut Bytes) -> Result<Record, BadRecord> {
    let length = varint_of(bytes)?;
    let length = usize::try_from(length).ok().filter(|n| *n <= bytes.len()).ok_or(BadRecord)?;
    let mut body = bytes.split_to(length);
    if body.is_empty() {
        return Err(BadRecord);
    }
    let _attributes = body.split_to(1);
    let timestamp_delta_ms = varint_of(&mut body)?;
    let offset_delta = u32::try_from(varint_of(&mut body)?).ok().ok_or(BadRecord)?;
    let key = optional(&mut body)?;
    let value = optional(&mut body)?;
    let count = varint_of(&mut body)?;
    // Each header takes at least two bytes, so the count is bounded before anything is reserved.
    let count = usize::try_from(count).ok().filter(|n| *n <= body.len() / 2).ok_or(BadRecord)?;
    let mut headers = Vec::with_capacity(count);
    for _ in 0..count {
        let name = optional(&mut body)?.ok_or(BadRecord)?;
        headers.push((name, optional(&mut body)?));
    }
    Ok(Record { offset_delta, timestamp_delta_ms, key, value, headers })
}

fn varint_of(bytes: &mut Bytes) -> Result<i64, BadRecord> {
    let mut rest: &[u8] = bytes;
    let before = rest.len();
    let value = varint::take(&mut rest).ok_or(BadRecord)?;
    let used = before - rest.len();
    let _ = bytes.split_to(used);
    Ok(value)
}

fn optional(bytes: &mut Bytes) -> Result<Option<Bytes>, BadRecord> {
    match varint_of(bytes)? {
        -1 => Ok(None),
        n => {
            let length = usize::try_from(n).ok().filter(|n| *n <= bytes.len()).ok_or(BadRecord)?;
            Ok(Some(bytes.split_to(length)))
        }
    }
}

/// Builds one uncompressed batch, record by record.
pub struct BatchBuilder {
    bytes: Vec<u8>,
    base_timestamp_ms: i64,
    max_timestamp_ms: i64,
    records_count: u32,
}

impl BatchBuilder {
    /// An empty batch in which the times of records are counted from `base_timestamp_ms`, itself in ms since the Unix
    /// epoch.
    pub fn new(base_timestamp_ms: i64) -> BatchBuilder {
        let bytes = vec![0; HEADER_BYTES];
        BatchBuilder { bytes, base_timestamp_ms, max_timestamp_ms: base_timestamp_ms, records_count: 0 }
    }

    /// Appends a record, its time in ms since the Unix epoch. Empty and absent are different for keys and values.
    pub fn push(
        &mut self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&[u8], &[u8])],
    ) {
        let timestamp_delta = timestamp_ms - self.base_timestamp_ms;
        let offset_delta = i64::from(self.records_count);
        let mut length = 1 + varint::len(timestamp_delta) + varint::len(offset_delta);
        length += optional_len(key) + optional_len(value) + varint::len(headers.len() as i64);
        for (name, value) in headers {
            length += optional_len(Some(name)) + optional_len(Some(value));
        }
        let out = &mut self.bytes;
        out.reserve(length + 5);
        varint::put(out, length as i64);
        out.push(0);
        varint::put(out, timestamp_delta);
        varint::put(out, offset_delta);
        put_optional(out, key);
        put_optional(out, value);
        varint::put(out, headers.len() as i64);
        for (name, value) in headers {
            put_optional(out, Some(name));
            put_optional(out, Some(value));
        }
        self.max_timestamp_ms = self.max_timestamp_ms.max(timestamp_ms);
        self.records_count += 1;
    }

    /// Records so far.
    pub fn records_count(&self) -> u32 {
        self.records_count
    }

    /// Bytes so far, header included.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is no record yet.
    pub fn is_empty(&self) -> bool {
        self.records_count == 0
    }

    /// The finished batch, without a producer, its base offset 0. Panics if it holds no record.
    pub fn finish(mut self) -> CheckedBatch {
        assert!(self.records_count > 0, "a batch holds at least one record");
        let mut header = BatchHeader {
            base_offset: I64::new(0),
            length: I32::new((self.bytes.len() - LENGTH_END) as i32),
            leader_epoch: I32::new(-1),
            magic: 2,
            crc: U32::new(0),
            attributes: I16::new(0),
            last_offset_delta: I32::new(self.records_count as i32 - 1),
            base_timestamp: I64::new(self.base_timestamp_ms),
            max_timestamp: I64::new(self.max_timestamp_ms),
            producer_id: I64::new(-1),
            producer_epoch: I16::new(-1),
            base_sequence: I32::new(-1),
            records_count: I32::new(self.records_count as i32),
        };
        self.bytes[..HEADER_BYTES].copy_from_slice(header.as_bytes());
        header.crc = U32::new(crc32c(&self.bytes[CRC_START..]));
        self.bytes[..HEADER_BYTES].copy_from_slice(header.as_bytes());
        match CheckedBatch::from_producer(Bytes::from(self.bytes)) {
            Ok(batch) => batch,
            Err(error) => panic!("a batch built here is sound unless it is too large: {error}"),
        }
    }
}

fn optional_len(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| varint::len(bytes.len() as i64) + bytes.len())
}

fn put_optional(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => varint::put(out, -1),
        Some(bytes) => {
            varint::put(out, bytes.len() as i64);
            out.extend_from_slice(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::batch::{self, BatchError};

    fn sample() -> CheckedBatch {
        let mut builder = BatchBuilder::new(1000);
        builder.push(1000, Some(b"key"), Some(b"value"), &[(b"name", b"x"), (b"", b"")]);
        builder.push(1007, None, Some(b""), &[]);
        builder.push(1003, Some(b""), None, &[]);
        builder.finish()
    }

    #[test]
    fn what_is_built_is_walked() {
        let batch = sample();
        assert_eq!(batch.header().max_timestamp.get(), 1007);
        let mut bytes = batch.bytes().slice(HEADER_BYTES..);
        let records: Vec<Record> = (0..3).map(|_| take(&mut bytes).unwrap()).collect();
        assert!(bytes.is_empty());
        assert_eq!(records[0].header(b"name").unwrap(), "x");
        assert_eq!((records[1].key.clone(), records[1].value.clone()), (None, Some(Bytes::new())));
        assert_eq!((records[2].offset_delta, records[2].timestamp_delta_ms), (2, 3));
    }

    #[test]
    fn every_prefix_and_every_flipped_bit_is_refused() {
        let sound = sample().bytes().to_vec();
        for cut in 0..sound.len() {
            assert!(CheckedBatch::from_producer(Bytes::copy_from_slice(&sound[..cut])).is_err());
        }
        for bit in 16 * 8..sound.len() * 8 {
            let mut broken = sound.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            assert!(CheckedBatch::from_producer(Bytes::from(broken)).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_length_is_checked_before_it_is_believed() {
        let mut huge = sample().bytes().to_vec();
        huge[8..12].copy_from_slice(&i32::MAX.to_be_bytes());
        assert_eq!(batch::check(&huge).unwrap_err(), BatchError::TooLarge);
        let mut record = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0]);
        assert_eq!(take(&mut record), Err(BadRecord));
    }
}
