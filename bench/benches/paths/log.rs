//! The log's paths: checksum, a producer's batch, a journal frame, the index of a segment.
//!
//! In: batches of 16 KiB. Out: paths. Never: a device.

use std::hint::black_box;

use bytes::Bytes;
use ringmain_engine::format::batch::CheckedBatch;
use ringmain_engine::format::crc::crc32c;
use ringmain_engine::format::frame::{HEADER_BYTES, Kind};
use ringmain_engine::format::record::{self, BatchBuilder};
use ringmain_engine::format::run::RunHeader;
use ringmain_engine::limits::Sizes;
use ringmain_engine::parts::journal::Gathering;
use ringmain_engine::parts::segment::{Segment, Segments};
use ringmain_engine::types::{LogId, Offset};

use super::Path;

const LOG: LogId = LogId(256);
const RECORD_BYTES: usize = 1024;
/// A log of 64 segments of 256 runs, which is 16 GiB.
const SEGMENTS_COUNT: u64 = 64;
const RUNS_COUNT: u64 = 256;
const RUN_OFFSETS: u64 = 1000;

/// A batch of so many records of 1 KiB.
pub fn batch(records_count: usize) -> CheckedBatch {
    let value = [0x5a; RECORD_BYTES];
    let mut builder = BatchBuilder::new(1_000_000);
    (0..records_count).for_each(|_| builder.push(1_000_000, None, Some(&value), &[]));
    builder.finish()
}

pub fn paths() -> Vec<Path> {
    let sent: Bytes = batch(16).bytes().clone();
    let (bytes, checked, read) = (sent.clone(), sent.clone(), sent.clone());
    vec![
        Path::new("crc-16k", move || crc32c(black_box(&bytes)) as usize),
        Path::new("batch-check-16k", move || {
            CheckedBatch::from_producer(black_box(checked.clone())).map_or(0, |batch| batch.bytes().len())
        }),
        Path::new("batch-build-16k", || batch(black_box(16)).bytes().len()),
        Path::new("records-read-16k", move || {
            let mut records = read.slice(61..);
            std::iter::from_fn(|| record::take(&mut records).ok()).filter_map(|record| record.value).count()
        }),
        frame(&sent),
        lookup(),
    ]
}

/// A frame of four batches: laid out, stamped and checksummed, as it goes to the device.
fn frame(sent: &Bytes) -> Path {
    let (sent, mut gathering) = (sent.clone(), Gathering::new(Sizes::default()));
    Path::new("frame-build-4x16k", move || {
        for number in 0..4 {
            gathering.push(Kind::Batch, LOG, number * 16..(number + 1) * 16, 0, black_box(&sent));
        }
        let frame = gathering.take();
        frame.padded_bytes() + crc32c(&frame.bytes[HEADER_BYTES..]) as usize
    })
}

/// A hundred offsets all over the log.
fn lookup() -> Path {
    let mut list = Vec::new();
    for segment in 0..SEGMENTS_COUNT {
        let base = segment * RUNS_COUNT * RUN_OFFSETS;
        let run = |number: u64| {
            let start = base + number * RUN_OFFSETS;
            RunHeader::new(LOG, start..start + RUN_OFFSETS, 1_000_000, number << 20, b"body").place()
        };
        let runs = (0..RUNS_COUNT).map(run).collect();
        list.push(Segment {
            name: base.into(),
            runs,
            limit: Offset::MAX,
            position: RUNS_COUNT << 20,
            sealed: true,
            is_meant: false,
            file: None,
        });
    }
    let segments = Segments::restore(list, true);
    let end = SEGMENTS_COUNT * RUNS_COUNT * RUN_OFFSETS;
    Path::new("index-lookup-x100", move || {
        let offsets = (0..100).map(|number| (number * 7_368_787) % end);
        offsets
            .filter_map(|offset| segments.find(black_box(offset)))
            .map(|(_, run)| run.bytes.get() as usize)
            .sum()
    })
}
