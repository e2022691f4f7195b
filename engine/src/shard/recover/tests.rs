//! What a start makes of the end of a journal, and the next one of that, when it is cut off.

use std::path::{Path, PathBuf};

use bytes::BytesMut;
use zerocopy::IntoBytes;
use zerocopy::byteorder::little_endian::{U32, U64};

use super::{OpenConfig, Opened, open};
use crate::error::OpenError;
use crate::format::batch;
use crate::format::checkpoint::Checkpoint;
use crate::format::frame::{self, EntryHeader, FrameHeader, HEADER_BYTES, Kind};
use crate::format::record::BatchBuilder;
use crate::io::Open;
use crate::io::disk::{self, Disk};
use crate::io::simulated::{Class, Plan, SimulatedDisk, Trouble};
use crate::journal::{Position, file_name};
use crate::limits::BLOCK_BYTES;
use crate::shard::rig::config;
use crate::types::LogId;
use crate::verify::verify_on;

const LOG: LogId = LogId(4);
const OTHER: LogId = LogId(5);
const FILE_BYTES: u64 = 6 * BLOCK_BYTES as u64;

fn configuration(disk: &SimulatedDisk) -> OpenConfig {
    let disk = Disk::Simulated(disk.clone());
    OpenConfig { disk, journal_file_bytes: FILE_BYTES, ..config(Path::new("data"), 1) }
}

fn journal(number: u32) -> PathBuf {
    Path::new("data/journal/0").join(file_name(number))
}

fn entry(kind: Kind, log: LogId, offset: u64, bytes: &[u8]) -> Vec<u8> {
    let header = EntryHeader {
        kind: kind.code(),
        zero: [0; 3],
        length: U32::new(bytes.len() as u32),
        log: U64::new(log.0),
        offset: U64::new(offset),
        leader_epoch: U32::new(0),
        offsets_count: U32::new(u32::from(kind == Kind::Batch)),
    };
    let mut entry = [header.as_bytes(), bytes].concat();
    entry.resize(entry.len().next_multiple_of(frame::ENTRY_ALIGNMENT), 0);
    entry
}

fn record(log: LogId, offset: u64, value_bytes: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(0);
    builder.push(0, None, Some(&vec![b'v'; value_bytes]), &[]);
    let mut batch = builder.finish().bytes().to_vec();
    batch::stamp(&mut batch, offset, 0);
    entry(Kind::Batch, log, offset, &batch)
}

/// Writes frames where they belong, on the device itself.
struct Writer {
    disk: SimulatedDisk,
    next: Position,
}

impl Writer {
    fn frame(&mut self, file: u32, block: u64, entries: &[Vec<u8>]) -> usize {
        let position = block * BLOCK_BYTES as u64;
        let mut bytes = BytesMut::zeroed(HEADER_BYTES);
        entries.iter().for_each(|entry| bytes.extend_from_slice(entry));
        let durable = self.next.next_sequence - 1;
        let header = self.next.header(entries.len() as u32, position, file + 1, durable);
        self.next.chain = frame::finish(&mut bytes, header).checksum.get();
        self.next.next_sequence += 1;
        self.disk
            .spoil(&journal(file), |file| file[position as usize..][..bytes.len()].copy_from_slice(&bytes));
        bytes.len()
    }
}

/// The last frame that was acknowledged is the last of its file if it `fills` that, and one of its two batches is rotten. Of the frame
/// behind it, in the next file, only the first sector has arrived.
fn rotten_before_torn(fills: bool) -> SimulatedDisk {
    let disk = SimulatedDisk::default();
    drop(open(&configuration(&disk)).unwrap());
    let (state, _) = disk.files().into_iter().find(|(path, _)| path.starts_with("data/state")).unwrap();
    let Checkpoint { incarnation, sequence, chain, .. } =
        Checkpoint::from_bytes(&disk.bytes(&state)).unwrap();
    let second = Disk::Simulated(disk.clone()).open(&journal(1), Open::Update).unwrap();
    disk::write_zeros(&journal(1), &second, FILE_BYTES).unwrap();
    disk::sync(&journal(1), &second).unwrap();
    let next = Position { shard: 0, incarnation, next_sequence: sequence + 1, chain };
    let mut writer = Writer { disk: disk.clone(), next };
    writer.frame(0, 0, &[entry(Kind::Create, LOG, 0, &[]), entry(Kind::Create, OTHER, 0, &[])]);
    let last = if fills { 5 } else { 4 };
    for block in 1..last {
        writer.frame(0, block, &[record(LOG, block - 1, 100)]);
    }
    writer.frame(0, last, &[record(LOG, last - 1, 1000), record(OTHER, 0, 1000)]);
    let torn = writer.frame(1, 0, &[record(LOG, last, 5000), record(OTHER, 1, 5000)]);
    disk.spoil(&journal(1), |file| file[512..torn].fill(0));
    disk.spoil(&journal(0), |file| file[last as usize * BLOCK_BYTES + 600] ^= 1);
    disk
}

#[test]
fn a_start_leaves_what_tells_that_a_damaged_frame_was_durable() {
    for fills in [false, true] {
        let end = if fills { 5 } else { 4 };
        let check = |Opened { shards, report, .. }: Opened| {
            assert_eq!(shards[0].marks(LOG).unwrap().end, end, "its offset stays given");
            assert_eq!(shards[0].marks(OTHER).unwrap().end, 1, "it is sound");
            let lost = format!("(offsets {} to {end} of {LOG:?})", end - 1);
            assert!(report.damage.iter().any(|damage| damage.what.contains(&lost)), "{report}");
        };
        let found = rotten_before_torn(fills);
        check(open(&configuration(&found.copy())).unwrap());
        for countdown in 1.. {
            let disk = found.copy();
            disk.plan(Plan { class: None, file: None, countdown, trouble: Trouble::PowerCut });
            match open(&configuration(&disk)) {
                Err(OpenError::Io(_)) => {}
                other => {
                    check(other.unwrap());
                    break;
                }
            }
            disk.power_cut(|_| countdown % 2 == 0);
            check(open(&configuration(&disk)).unwrap());
        }
    }
}

#[test]
fn a_frame_that_arrives_after_a_start_has_sealed_the_journal_is_no_damage() {
    let build = || {
        let disk = rotten_before_torn(false);
        disk.spoil(&journal(0), |file| file[4 * BLOCK_BYTES + 600] ^= 1); // sound again
        let header = FrameHeader::read(&disk.bytes(&journal(1))).unwrap();
        let next = Position {
            shard: 0,
            incarnation: header.incarnation.get(),
            next_sequence: header.sequence.get(),
            chain: header.previous.get(),
        };
        // The write of the last frame was reported to have failed, and nothing of it is seen.
        let length = Writer { disk: disk.clone(), next }.frame(1, 0, &[record(LOG, 4, 5000)]);
        let frame = disk.bytes(&journal(1))[..length].to_vec();
        disk.spoil(&journal(1), |file| file.fill(0));
        let trouble = Trouble::Fails { errno: libc::EIO, for_good: false };
        disk.plan(Plan { class: Some(Class::Write), file: None, countdown: 1, trouble });
        let second = Disk::Simulated(disk.clone()).open(&journal(1), Open::Update).unwrap();
        disk::write(&journal(1), &second, 0, &frame).unwrap_err();
        disk
    };
    for countdown in 1.. {
        let disk = build();
        disk.plan(Plan { class: None, file: None, countdown, trouble: Trouble::PowerCut });
        let was_cut = open(&configuration(&disk)).is_err();
        disk.power_cut(|_| true);
        let checked = verify_on(&Disk::Simulated(disk.clone()), Path::new("data")).unwrap();
        assert!(checked.findings.is_empty(), "cut at {countdown}: {checked:?}");
        let Opened { shards, report, .. } = open(&configuration(&disk)).unwrap();
        assert_eq!(report.damage, []);
        // It counts if it was there before anything was sealed, and else never.
        assert!([4, 5].contains(&shards[0].marks(LOG).unwrap().end));
        if !was_cut {
            break;
        }
    }
}
