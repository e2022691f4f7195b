//! Every kind of file, damaged in one place: the damage is found, and named with its file and place.

use std::path::{Path, PathBuf};

use super::{Finding, Report, verify};
use crate::error::OpenError;
use crate::format::frame::FrameHeader;
use crate::io::disk::Disk;
use crate::segment;
use crate::shard::rig::{Rig, Scratch};
use crate::types::LogId;

const LOG: LogId = LogId(4);
const OTHER: LogId = LogId(5);

/// A directory with settled segments and frames behind the checkpoint.
fn filled(name: &str) -> Scratch {
    let scratch = Scratch::new(&format!("verify-{name}"));
    let mut rig = Rig::open(&scratch.0, 2);
    for log in [LOG, OTHER] {
        rig.shard(log).create(log);
        for request in 0..4 {
            rig.append(log, &vec![7; 3000], request);
        }
    }
    rig.settle();
    drop(rig);
    let mut rig = Rig::open(&scratch.0, 2);
    for request in 0..3 {
        rig.append(LOG, &[8; 100], request);
        rig.settle();
    }
    scratch
}

fn flip(path: &Path, position: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[position] ^= 4;
    std::fs::write(path, bytes).unwrap();
}

fn only(report: &Report) -> &Finding {
    assert_eq!(report.findings.len(), 1, "{:#?}", report.findings);
    &report.findings[0]
}

#[test]
fn a_sound_directory_is_clean_and_counted_and_not_changed() {
    let scratch = filled("clean");
    let names = || walk(&scratch.0);
    let before = names();
    let report = verify(&scratch.0).unwrap();
    assert_eq!((report.findings.as_slice(), report.notes.as_slice()), (&[][..], &[][..]));
    assert!(report.is_clean());
    assert_eq!((report.incarnation, report.shards), (2, 2));
    let counts = report.counts;
    assert_eq!((counts.superblocks, counts.checkpoints, counts.logs), (2, 2, 2));
    assert_eq!((counts.segments, counts.runs, counts.run_batches), (2, 2, 8));
    assert_eq!((counts.frames, counts.entries, counts.frame_batches), (6, 3, 3));
    assert_eq!(names(), before);
}

fn walk(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(walk(&path)),
            false => found.push((path.clone(), std::fs::read(&path).unwrap())),
        }
    }
    found.sort();
    found
}

#[test]
fn a_flipped_bit_is_named_with_its_file_and_place() {
    let scratch = filled("flip");
    let data = &scratch.0;
    let segment = segment::path(data, LOG, 0);
    let journal = data.join("journal/0/000000.journal");
    let checkpoint = data.join("state/2-0.checkpoint");
    let superblock = data.join("superblock");
    let batch = 4096 + 64;
    let cases = [
        (&superblock, 20, 0),
        (&superblock, 4096 + 50, 4096),
        (&superblock, 4096 + 1000, 4096 + 1000),
        (&checkpoint, 30, 30),
        (&checkpoint, 4000, 4000),
        (&journal, 10, 0),                    // a frame's header: the first is gone
        (&journal, 4096 + 3000, 4096 + 3000), // a seal's padding
        (&journal, 8192 + 150, 8192),         // a frame's body
        (&segment, 20, 0),                    // the segment's header
        (&segment, 3000, 3000),               // its padding
        (&segment, 4096 + 30, 4096),          // a run's header
        (&segment, batch + 5, batch),         // a batch's base offset
        (&segment, batch + 13, 4096),         // a batch's leader epoch, which only the run's checksum covers
        (&segment, batch + 200, batch),       // a batch's records
    ];
    for (path, at, position) in cases {
        let sound = std::fs::read(path).unwrap();
        flip(path, at);
        let report = verify(data).unwrap();
        let named = report.findings.first().map(|found| (&found.path, found.position));
        assert_eq!(named, Some((path, position as u64)), "{at}: {:#?}", report.findings);
        std::fs::write(path, sound).unwrap();
    }
    assert!(verify(data).unwrap().is_clean());
}

#[test]
fn damage_in_records_names_the_log_and_the_offsets() {
    let scratch = filled("offsets");
    let segment = segment::path(&scratch.0, LOG, 0);
    let length = u32::from_be_bytes(std::fs::read(&segment).unwrap()[4168..4172].try_into().unwrap());
    let second = 4096 + 64 + 12 + length as usize;
    flip(&segment, second + 300);
    let report = verify(&scratch.0).unwrap();
    let found = only(&report);
    assert_eq!((found.log, found.offsets.clone(), found.position), (Some(LOG), Some(1..2), second as u64));
}

#[test]
fn every_damage_is_found_not_only_the_first() {
    let scratch = filled("several");
    flip(&segment::path(&scratch.0, LOG, 0), 5000);
    flip(&segment::path(&scratch.0, OTHER, 0), 5000);
    flip(&scratch.0.join("journal/0/000000.journal"), 70);
    flip(&scratch.0.join("superblock"), 3);
    let report = verify(&scratch.0).unwrap();
    let mut paths: Vec<&PathBuf> = report.findings.iter().map(|found| &found.path).collect();
    paths.dedup();
    assert_eq!(paths.len(), 4, "{:#?}", report.findings);
    let missing = report.findings.iter().find(|found| found.what.contains("records are missing")).unwrap();
    assert_eq!((missing.log, missing.offsets.clone()), (Some(LOG), Some(4..5)));
}

#[test]
fn a_removed_file_is_named() {
    let scratch = filled("removed");
    let data = &scratch.0;
    let segment = segment::path(data, LOG, 0);
    let checkpoint = data.join("state/2-1.checkpoint");
    let superblock = data.join("superblock");
    let journal = data.join("journal/0/000000.journal");
    for (path, named) in
        [(&segment, &segment), (&checkpoint, &checkpoint), (&superblock, &superblock), (&journal, &journal)]
    {
        let sound = std::fs::read(path).unwrap();
        std::fs::remove_file(path).unwrap();
        let report = verify(data).unwrap();
        assert!(report.findings.iter().any(|found| found.path == *named), "{:#?}", report.findings);
        std::fs::write(path, sound).unwrap();
    }
    assert!(verify(data).unwrap().is_clean());
}

#[test]
fn a_file_that_was_cut_is_named() {
    let scratch = filled("cut");
    let segment = segment::path(&scratch.0, LOG, 0);
    for length in [0, 4096, 8192, 9000] {
        let sound = std::fs::read(&segment).unwrap();
        std::fs::write(&segment, &sound[..length]).unwrap();
        let report = verify(&scratch.0).unwrap();
        assert!(report.findings.iter().any(|found| found.path == segment), "{length}");
        std::fs::write(&segment, sound).unwrap();
    }
}

#[test]
fn a_torn_last_frame_is_a_note() {
    let scratch = filled("torn");
    let journal = scratch.0.join("journal/0/000000.journal");
    let bytes = std::fs::read(&journal).unwrap();
    let frames = bytes.chunks(4096).take_while(|block| FrameHeader::read(block).is_ok()).count();
    // Frames of the first start may follow those of the second.
    let last = verify(&scratch.0).unwrap().counts.frames as usize - 1;
    assert!(last < frames);
    flip(&journal, last * 4096 + 20);
    let report = verify(&scratch.0).unwrap();
    assert!(report.is_clean(), "{:#?}", report.findings);
    assert_eq!((&report.notes[0].path, report.notes[0].position), (&journal, last as u64 * 4096));
}

#[test]
fn a_sealed_segment_is_checked_with_its_table() {
    use crate::format::run::{self, RunHeader};
    let scratch = filled("sealed");
    let data = &scratch.0;
    let path = segment::path(data, LOG, 0);
    let mut bytes = std::fs::read(&path).unwrap();
    let header = RunHeader::read(&bytes[4096..], LOG, 4096).unwrap();
    let end = 4096 + header.total_bytes();
    bytes.truncate(end);
    bytes.extend(run::seal(LOG, 0, &[header.place()], end as u64));
    std::fs::write(&path, &bytes).unwrap();
    let walked = |at: Option<usize>| {
        let mut report = Report::default();
        if let Some(at) = at {
            flip(&path, at);
        }
        super::extent::walk(&Disk::Machine, &mut report, &path, LOG, 0, super::extent::Extent::Sealed)
            .unwrap();
        std::fs::write(&path, &bytes).unwrap();
        report.findings.first().map(|found| found.position)
    };
    assert_eq!(walked(None), None);
    for (at, position) in [(end + 3, end), (end + 500, end + 500), (end + 4096 + 9, end + 4096)] {
        assert_eq!(walked(Some(at)), Some(position as u64), "{at}");
    }
    assert_eq!(walked(Some(end + 4096 + 800)), Some((end + 4096 + 800) as u64));
}

#[test]
fn what_belongs_to_nothing_is_a_note() {
    let scratch = filled("strays");
    std::fs::write(scratch.0.join("state/1-0.checkpoint"), b"old").unwrap();
    std::fs::write(scratch.0.join("quarantine/x"), b"aside").unwrap();
    std::fs::create_dir(scratch.0.join("log/00000000000000ff")).unwrap();
    let report = verify(&scratch.0).unwrap();
    assert!(report.is_clean(), "{:#?}", report.findings);
    assert_eq!(report.notes.len(), 3, "{:#?}", report.notes);
}

#[test]
fn a_directory_in_use_and_one_that_is_none_are_refused() {
    let scratch = Scratch::new("verify-use");
    assert!(matches!(verify(&scratch.0), Err(OpenError::Io(_))));
    assert!(matches!(verify(&scratch.0.join("none")), Err(OpenError::Io(_))));
    assert!(!scratch.0.join("none").exists());
    let _rig = Rig::open(&scratch.0, 1);
    assert!(matches!(verify(&scratch.0), Err(OpenError::InUse(_))));
}
