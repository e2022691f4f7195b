//! Sound bytes of every structure on disk, different for each seed.
//!
//! In: chance. Out: bytes that their parser accepts.

use bytes::BytesMut;
use ringmain_engine::format::checkpoint::{Checkpoint, FileSet, LogState, ProducerBatch, ProducerState};
use ringmain_engine::format::frame::{self, EntryHeader, FrameHeader, Kind};
use ringmain_engine::format::record::BatchBuilder;
use ringmain_engine::format::superblock::Superblock;
use ringmain_engine::format::{batch, varint};
use ringmain_engine::types::LogId;
use zerocopy::IntoBytes;
use zerocopy::byteorder::little_endian::{U16, U32, U64};

use crate::random::Random;

pub fn superblock(random: &mut Random) -> Vec<u8> {
    let mut superblock = Superblock::new([random.next() as u8; 16], random.next() as u32);
    superblock.incarnation = U32::new(random.next() as u32);
    superblock.shards = U16::new(random.next() as u16);
    superblock.block().0.to_vec()
}

/// A stamped batch of some records.
pub fn batch(random: &mut Random, base: u64) -> Vec<u8> {
    let mut builder = BatchBuilder::new(1000);
    for _ in 0..=random.below(4) {
        let value_bytes = random.below(200);
        let value = random.bytes(value_bytes);
        let key = random.one_in(2).then_some(b"key".as_slice());
        let headers: &[(&[u8], &[u8])] =
            if random.one_in(2) { &[(b"name", b"value"), (b"", b"")] } else { &[] };
        builder.push(1000 + random.below(100) as i64, key, Some(&value), headers);
    }
    let mut bytes = builder.finish().bytes().to_vec();
    batch::stamp(&mut bytes, base, 3);
    bytes
}

/// One record, as it lies in a batch.
pub fn record(random: &mut Random) -> Vec<u8> {
    batch(random, 0).get(batch::HEADER_BYTES..).unwrap_or_default().to_vec()
}

pub fn number(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    let shift = random.below(64);
    varint::put(&mut bytes, (random.next() >> shift) as i64);
    bytes
}

pub fn frame(random: &mut Random) -> Vec<u8> {
    let mut frame = BytesMut::zeroed(frame::HEADER_BYTES);
    let mut count = 0;
    for index in 0..random.below(4) {
        let kind = [Kind::Batch, Kind::Create, Kind::Delete, Kind::Trim, Kind::Truncate][random.below(5)];
        let own = if kind == Kind::Batch { batch(random, index as u64) } else { Vec::new() };
        frame.resize(frame.len().next_multiple_of(frame::ENTRY_ALIGNMENT), 0);
        let entry = EntryHeader {
            kind: kind.code(),
            zero: [0; 3],
            length: U32::new(own.len() as u32),
            log: U64::new(random.next()),
            offset: U64::new(index as u64),
            leader_epoch: U32::new(3),
            offsets_count: U32::new(random.below(3) as u32),
        };
        frame.extend_from_slice(entry.as_bytes());
        frame.extend_from_slice(&own);
        count += 1;
    }
    let header = FrameHeader {
        magic: U32::new(frame::MAGIC),
        version: U16::new(frame::VERSION),
        shard: U16::new(random.below(8) as u16),
        generation: U32::new(random.next() as u32),
        length: U32::new(0),
        sequence: U64::new(random.next()),
        block: U32::new(2),
        directory_checksum: U32::new(0),
        durable_upto: U64::new(8),
        body_bytes: U32::new(0),
        entries_count: U32::new(count),
        previous: U32::new(5),
        body_checksum: U32::new(0),
        incarnation: U32::new(1),
        checksum: U32::new(0),
    };
    frame::finish(&mut frame, header);
    frame.to_vec()
}

pub fn checkpoint(random: &mut Random) -> Vec<u8> {
    let producer = |random: &mut Random| ProducerState {
        id: random.next() as i64,
        epoch: random.next() as i16,
        last_timestamp_ms: random.next() as i64,
        batches: (0..random.below(6) as i32)
            .map(|sequence| ProducerBatch {
                base_sequence: sequence,
                last_sequence: sequence,
                base_offset: 9,
            })
            .collect(),
    };
    let log = |random: &mut Random| LogState {
        id: LogId(random.next()),
        start: 3,
        end: 3 + random.below(100) as u64,
        first_segment: random.next(),
        segment_base: random.next(),
        segment_position: random.next(),
        truncated_in: random.next(),
        generation: random.below(2) as u32,
        segments: Vec::new(),
        leader_epoch: random.next() as i32,
        producers: (0..random.below(3)).map(|_| producer(random)).collect(),
    };
    let logs = (0..random.below(4)).map(|_| log(random)).collect();
    let journal = FileSet { first: random.next() as u32 >> 1, count: 4, file_bytes: random.next() };
    let checkpoint = Checkpoint {
        incarnation: 7,
        shard: 1,
        sequence: random.next(),
        chain: 5,
        durable: random.next(),
        journal,
        logs,
    };
    let mut bytes = checkpoint.to_bytes();
    if random.one_in(2) {
        bytes.truncate(bytes.len() / 2); // so that no second copy stands in for a damaged one
    }
    bytes
}
