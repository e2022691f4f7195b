//! What a shard promises, on real files, with every step in the order the test wants.

use std::path::Path;

use super::recover::{OpenConfig, open};
use super::rig::{Rig, Scratch, config};
use super::*;
use crate::error::OpenError;
use crate::format::frame::{ENTRY_BYTES, HEADER_BYTES};
use crate::format::record::BatchBuilder;
use crate::io::disk::Disk;
use crate::segment;

pub(super) const LOG: LogId = LogId(4);
pub(super) const OTHER: LogId = LogId(5);

/// A shard whose segments are soon full, so that some are sealed.
pub(super) fn open_with_small_segments(scratch: &Scratch) -> Rig {
    let sizes = Sizes { run_bytes: 64 << 10, segment_bytes: 256 << 10, ..Sizes::default() };
    Rig::open_with(&OpenConfig { sizes, ..config(&scratch.0, 1) })
}

/// A directory with all that is in it. Not by another program: a child has the locks of its parent until it is one.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        match entry.file_type().unwrap().is_dir() {
            true => copy(&from, &to),
            false => drop(std::fs::copy(&from, &to).unwrap()),
        }
    }
}

#[test]
fn what_is_acknowledged_is_there_after_a_crash_for_any_number_of_shards() {
    let scratch = Scratch::new("crash");
    let mut rig = Rig::open(&scratch.0, 2);
    assert!(rig.report.created);
    for log in [LOG, OTHER] {
        rig.shard(log).create(log);
    }
    for request in 0..100 {
        rig.append(if request % 2 == 0 { LOG } else { OTHER }, &[request as u8; 100], request);
    }
    assert!(rig.acked().is_empty(), "nothing is acknowledged before it is written");
    rig.settle();
    assert_eq!(rig.acked().len(), 100);
    for shards in [1, 3, 2, 2] {
        drop(rig);
        rig = Rig::open(&scratch.0, shards);
        let expected: Vec<(Offset, u8)> = (0..50).map(|n| (n, (n * 2) as u8)).collect();
        assert_eq!(rig.read_all(LOG, 0), expected);
        assert_eq!(rig.read_all(OTHER, 49), vec![(49, 99)]);
    }
}

#[test]
fn journal_files_are_used_again_and_memory_stays_bounded() {
    let scratch = Scratch::new("cycle");
    let mut rig = Rig::open(&scratch.0, 1);
    rig.shard(LOG).create(LOG);
    let value = vec![7; 100_000];
    for request in 0..600 {
        rig.append(LOG, &value, request);
        rig.settle();
    }
    let counts = rig.shards[0].counts();
    assert!(counts.checkpoints > 5, "{counts:?}");
    assert!(counts.memory_bytes <= 8 << 20, "{counts:?}");
    let files = std::fs::read_dir(scratch.0.join("journal/0")).unwrap().count();
    assert!(files <= crate::limits::JOURNAL_FILES_MAX, "{files} journal files");
    assert_eq!(rig.read_all(LOG, 0).len(), 600);
    drop(rig);
    let mut rig = Rig::open(&scratch.0, 1);
    assert!(rig.report.journal_bytes < 16 << 20);
    assert_eq!(rig.read_all(LOG, 0).len(), 600);
    assert_eq!(rig.acked(), vec![]);
}

#[test]
fn a_trimmed_log_gives_its_space_back_and_stays_trimmed() {
    let scratch = Scratch::new("trim");
    let mut rig = Rig::open(&scratch.0, 1);
    rig.shard(LOG).create(LOG);
    for request in 0..50 {
        rig.append(LOG, &vec![1; 100_000], request);
        rig.settle();
    }
    assert!(std::fs::read_dir(segment::directory(&scratch.0, LOG)).unwrap().count() > 0);
    rig.shard(LOG).trim(LOG, 45);
    rig.shard(LOG).trim(LOG, 10);
    rig.settle();
    let outcome = rig.shard(LOG).read(LOG, 44, 1, Ticket { owner: 0, request: 0 });
    assert!(matches!(outcome, Some(ReadOutcome::OutOfRange { log_start: 45, durable: 50 })), "{outcome:?}");
    rig.shard(LOG).trim(LOG, 50);
    rig.append(LOG, b"x", 50);
    rig.settle();
    rig.append(LOG, b"y", 51);
    rig.settle();
    drop(rig);
    let mut rig = Rig::open(&scratch.0, 1);
    assert_eq!(rig.read_all(LOG, 50), vec![(50, b'x'), (51, b'y')]);
    assert_eq!(rig.shard(LOG).marks(LOG).unwrap().start, 50);
    let bytes: u64 = std::fs::read_dir(segment::directory(&scratch.0, LOG))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(bytes < 100_000, "{bytes} bytes for two small records");
}

#[test]
fn a_removal_that_never_reached_the_device_is_made_up_for() {
    let scratch = Scratch::new("reappear");
    let mut rig = Rig::open(&scratch.0, 1);
    rig.shard(LOG).create(LOG);
    for request in 0..30 {
        rig.append(LOG, &vec![1; 100_000], request);
    }
    rig.settle();
    let path = segment::path(&scratch.0, LOG, 0);
    let stale = std::fs::read(&path).unwrap();
    rig.shard(LOG).trim(LOG, 30);
    rig.append(LOG, b"x", 30);
    rig.settle();
    drop(rig);
    for _ in 0..3 {
        let mut rig = Rig::open(&scratch.0, 1);
        assert_eq!(rig.read_all(LOG, 30), vec![(30, b'x')]);
        drop(rig);
        assert!(!path.exists());
        std::fs::write(&path, &stale).unwrap();
        assert!(crate::verify::verify(&scratch.0).unwrap().is_clean());
    }
}

#[test]
fn a_trim_between_the_opening_of_a_segment_and_its_first_run_leaves_it_sound() {
    let scratch = Scratch::new("header");
    let mut rig = Rig::open(&scratch.0, 1);
    rig.shard(LOG).create(LOG);
    for request in 0..12 {
        rig.append(LOG, &vec![1; 100_000], request);
    }
    // Turn by turn, until the file is open and empty.
    let path = segment::path(&scratch.0, LOG, 0);
    while !path.exists() {
        let mut wanted = Vec::new();
        rig.shards[0].commit(rig.now);
        rig.shards[0].collect(&mut wanted);
        for (token, op) in wanted {
            rig.shards[0].complete(Disk::Machine.execute(token, op));
        }
    }
    rig.shard(LOG).trim(LOG, 6);
    for request in 12..100 {
        rig.append(LOG, &vec![1; 100_000], request);
        rig.settle();
    }
    assert!(rig.shards[0].counts().checkpoints > 0, "so that the next start reads the segment");
    drop(rig);
    assert_eq!(Rig::open(&scratch.0, 1).read_all(LOG, 6).len(), 94);
}

#[test]
fn a_log_keeps_what_it_is_told_to() {
    use crate::partition::Keep;
    let scratch = Scratch::new("keep");
    let mut rig = Rig::open(&scratch.0, 1);
    rig.shard(LOG).create(LOG);
    for request in 0..50 {
        rig.append(LOG, &vec![1; 100_000], request);
        rig.settle();
    }
    let start = |rig: &mut Rig| rig.shard(LOG).marks(LOG).unwrap().start;
    rig.shard(LOG).trim_to_fit(LOG, Keep::default());
    assert_eq!(start(&mut rig), 0);
    rig.shard(LOG).trim_to_fit(LOG, Keep { since_ms: None, bytes_max: Some(3 << 20) });
    rig.settle();
    let kept = start(&mut rig);
    let bytes = (50 - kept) * 100_000;
    assert!(bytes <= 3 << 20 && bytes > 1 << 20, "{kept}");
    // Timestamps are the numbers of the requests.
    rig.shard(LOG).trim_to_fit(LOG, Keep { since_ms: Some(50), bytes_max: None });
    assert_eq!(start(&mut rig), 50);
}

#[test]
fn a_deleted_log_is_gone_with_its_files() {
    let scratch = Scratch::new("delete");
    let mut rig = Rig::open(&scratch.0, 1);
    for log in [LOG, OTHER] {
        rig.shard(log).create(log);
        for request in 0..20 {
            rig.append(log, &vec![1; 100_000], request);
        }
        rig.settle();
    }
    rig.shard(LOG).delete(LOG);
    rig.settle();
    rig.append(OTHER, b"x", 1);
    rig.settle();
    assert!(!segment::directory(&scratch.0, LOG).exists());
    drop(rig);
    let mut rig = Rig::open(&scratch.0, 1);
    assert!(!rig.shard(LOG).contains(LOG));
    assert_eq!(rig.read_all(OTHER, 0).len(), 21);
}

#[test]
fn a_checkpoint_does_without_the_directories_of_logs_that_were_deleted() {
    let scratch = Scratch::new("forget");
    let mut rig = Rig::open(&scratch.0, 1);
    for log in [LOG, OTHER] {
        rig.shard(log).create(log);
    }
    for request in 0..20 {
        rig.append(LOG, &vec![1; 100_000], request);
    }
    rig.settle();
    rig.shard(LOG).delete(LOG);
    rig.settle();
    let before = rig.shards[0].counts().checkpoints;
    for request in 0..300 {
        rig.append(OTHER, &vec![1; 100_000], request);
        rig.settle();
    }
    assert!(!segment::directory(&scratch.0, LOG).exists());
    assert!(rig.shards[0].counts().checkpoints > before + 1);
    assert_eq!(rig.read_all(OTHER, 0).len(), 300);
}

#[test]
fn a_frame_of_nothing_but_small_entries_may_fill_its_chunk() {
    let scratch = Scratch::new("small");
    let mut rig = Rig::open(&scratch.0, 1);
    rig.shard(LOG).create(LOG);
    for request in 0..50_000 {
        rig.append(LOG, b"", request);
    }
    rig.settle();
    for start in 1..=50_000 {
        rig.shard(LOG).trim(LOG, start);
    }
    rig.settle();
    assert_eq!(rig.shard(LOG).marks(LOG).unwrap().start, 50_000);
}

#[test]
fn an_idempotent_batch_sent_again_is_answered_with_its_first_offset_also_after_a_restart() {
    use zerocopy::{FromBytes, byteorder::big_endian};
    let batch = |sequence: i32| {
        let mut builder = BatchBuilder::new(0);
        builder.push(0, None, Some(b"v"), &[]);
        let mut bytes = builder.finish().bytes().to_vec();
        let (header, _) = crate::format::batch::BatchHeader::mut_from_prefix(&mut bytes).unwrap();
        header.producer_id = big_endian::I64::new(3);
        header.producer_epoch = big_endian::I16::new(0);
        header.base_sequence = big_endian::I32::new(sequence);
        let crc = crate::format::crc::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        CheckedBatch::from_producer(Bytes::from(bytes)).unwrap()
    };
    let ticket = |request| Ticket { owner: 0, request };
    let scratch = Scratch::new("idempotent");
    let mut rig = Rig::open(&scratch.0, 1);
    rig.shard(LOG).create(LOG);
    for sequence in [0, 1, 1, 0] {
        rig.shards[0].append(LOG, &batch(sequence), ticket(sequence as u64)).unwrap();
    }
    rig.settle();
    assert_eq!(rig.acked(), vec![(0, 0), (1, 1), (1, 1), (0, 0)]);
    assert_eq!(rig.shards[0].append(LOG, &batch(5), ticket(5)), Err(Refused::OutOfOrderSequence));
    for _ in 0..2 {
        drop(rig);
        rig = Rig::open(&scratch.0, 1);
        rig.shards[0].append(LOG, &batch(1), ticket(9)).unwrap();
        rig.settle();
        assert_eq!(rig.acked(), vec![(9, 1)]);
    }
}

#[test]
fn a_torn_frame_is_cut_and_of_a_rotten_one_only_what_it_hit_is_lost() {
    let scratch = Scratch::new("torn");
    let mut rig = Rig::open(&scratch.0, 1);
    rig.shard(LOG).create(LOG);
    rig.settle();
    for request in 0..3 {
        rig.append(LOG, b"value", request);
        rig.settle();
    }
    drop(rig);
    // Frames: create, seal, then append and seal three times. Each is one block.
    let path = scratch.0.join("journal/0/000000.journal");
    let sound = std::fs::read(&path).unwrap();
    let frames = sound.chunks(4096).take_while(|block| block.starts_with(b"RMJF")).count();
    let damage = |block: usize, places: &[usize]| {
        let mut bytes = sound.clone();
        places.iter().for_each(|at| bytes[block * 4096 + at] ^= 1);
        std::fs::write(&path, bytes).unwrap();
    };
    let directory = 4096 - HEADER_BYTES - ENTRY_BYTES;
    damage(frames - 4, &[HEADER_BYTES + 6, directory]);
    let error = open(&config(&scratch.0, 1)).unwrap_err();
    assert!(matches!(&error, OpenError::Damaged(damage) if damage.path == path), "{error}");
    assert!(open(&config(&scratch.0, 1)).is_err(), "refusing changes nothing");
    // Another copy of the data for each way to go on.
    let aside = scratch.0.with_extension("aside");
    let begin_again = || {
        std::fs::remove_dir_all(&scratch.0).unwrap();
        copy(&aside, &scratch.0);
    };
    std::fs::rename(&scratch.0, &aside).unwrap();
    std::fs::create_dir(&scratch.0).unwrap();
    for (block, at) in
        [(frames - 1, 6), (frames - 4, 6), (frames - 4, HEADER_BYTES + 6), (frames - 4, directory)]
    {
        begin_again();
        damage(block, &[at]);
        let mut rig = Rig::open(&scratch.0, 1);
        assert_eq!(rig.read_all(LOG, 0).len(), 3);
        // The last frame is a seal, which is cut; the directory is not needed while the body is sound.
        let named = rig.report.damage.iter().any(|damage| damage.path == path);
        assert_eq!(named, block == frames - 4 && at != directory, "{:?}", rig.report);
    }
    begin_again();
    damage(frames - 4, &[HEADER_BYTES + ENTRY_BYTES + 65]);
    for start in 0..2 {
        let mut rig = Rig::open(&scratch.0, 1);
        assert_eq!(rig.read_all(LOG, 2)[0], (2, b'v'));
        let outcome = rig.shard(LOG).read(LOG, 1, 1, Ticket { owner: 0, request: 1 });
        let Some(ReadOutcome::Damaged(damage)) = outcome else { panic!("{outcome:?}") };
        assert!(damage.what.contains("offsets 1 to 2 of log 4"), "{damage}");
        assert!(start == 1 || damage.path == path, "{damage}");
        assert_eq!(rig.report.damage.iter().filter(|found| **found == damage).count(), 1);
        rig.append(LOG, b"more", 9);
        rig.settle();
        assert_eq!(rig.acked(), vec![(9, 3 + start)], "no offset is given twice");
        if start == 1 {
            rig.shard(LOG).trim(LOG, 2);
            rig.settle();
            assert_eq!(rig.read_all(LOG, 2).len(), 3);
        }
    }
    assert_eq!(Rig::open(&scratch.0, 1).report.damage, vec![], "what was trimmed is not missed");
    std::fs::remove_dir_all(&aside).unwrap();
}

#[test]
fn a_rotten_first_frame_does_not_hide_the_file_behind_it() {
    let scratch = Scratch::new("first-frame");
    let mut rig = Rig::open(&scratch.0, 1);
    rig.shard(LOG).create(LOG);
    for request in 0..3 {
        rig.append(LOG, b"value", request);
        rig.settle();
    }
    drop(rig);
    let path = scratch.0.join("journal/0/000000.journal");
    let sound = std::fs::read(&path).unwrap();
    let mut bytes = sound.clone();
    bytes[..4096].fill(0xff);
    std::fs::write(&path, bytes).unwrap();
    let error = open(&config(&scratch.0, 1)).unwrap_err();
    assert!(matches!(&error, OpenError::Damaged(damage) if damage.path == path), "{error}");
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(open(&config(&scratch.0, 1)), Err(OpenError::Damaged(_))));
    let mut bytes = sound;
    bytes[..HEADER_BYTES].fill(0xff);
    std::fs::write(&path, bytes).unwrap();
    let mut rig = Rig::open(&scratch.0, 1);
    assert_eq!(rig.read_all(LOG, 0).len(), 3);
    assert_eq!(rig.report.damage.len(), 1, "{:?}", rig.report);
}

#[test]
fn a_journal_file_that_is_gone_or_cut_is_told_from_one_that_never_was() {
    let scratch = Scratch::new("journal-set");
    let mut rig = Rig::open(&scratch.0, 1);
    rig.shard(LOG).create(LOG);
    for request in 0..70 {
        rig.append(LOG, &vec![1; 100_000], request);
        rig.settle();
    }
    // One file is needed, one is spare and has frames of before, two are not used.
    assert_eq!(rig.shards[0].counts().checkpoints, 1);
    drop(rig);
    let directory = scratch.0.join("journal/0");
    let mut seen = 0;
    for entry in std::fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        let sound = std::fs::read(&path).unwrap();
        for cut in [None, Some(0), Some(100), Some(sound.len() - 1)] {
            match cut {
                None => std::fs::remove_file(&path).unwrap(),
                Some(length) => std::fs::write(&path, &sound[..length]).unwrap(),
            }
            let refused = open(&config(&scratch.0, 1));
            let named = matches!(&refused, Err(OpenError::Damaged(damage)) if damage.path == path);
            assert!(named, "{cut:?} of {}: {refused:?}", path.display());
        }
        std::fs::write(&path, sound).unwrap();
        seen += 1;
    }
    assert_eq!(seen, crate::limits::JOURNAL_FILES_MAX);
    assert_eq!(Rig::open(&scratch.0, 1).read_all(LOG, 0).len(), 70);
}

#[test]
fn full_journal_files_are_released_before_another_is_made() {
    let scratch = Scratch::new("released");
    let mut rig = Rig::open_with(&OpenConfig { memory_bytes: 64 << 20, ..config(&scratch.0, 1) });
    (0..50).for_each(|log| rig.shards[0].create(LogId(log)));
    for request in 0..1500 {
        rig.append(LogId(request % 50), &[1; 10_000], request);
        rig.settle();
    }
    let files = std::fs::read_dir(scratch.0.join("journal/0")).unwrap();
    let filled = files.filter(|file| file.as_ref().unwrap().metadata().unwrap().len() > 4096).count();
    assert!(rig.shards[0].counts().checkpoints >= 4);
    assert_eq!(filled, 2);
}

#[test]
fn rotten_runs_are_never_served_and_missing_files_never_mean_empty() {
    let scratch = Scratch::new("rot");
    let mut rig = Rig::open(&scratch.0, 1);
    rig.shard(LOG).create(LOG);
    for request in 0..3 {
        rig.append(LOG, &vec![1; 5000], request);
    }
    rig.settle();
    drop(rig);
    drop(Rig::open(&scratch.0, 1));
    let path = segment::path(&scratch.0, LOG, 0);
    let sound = std::fs::read(&path).unwrap();
    let mut rotten = sound.clone();
    rotten[9000] ^= 4;
    std::fs::write(&path, &rotten).unwrap();
    let mut rig = Rig::open(&scratch.0, 1);
    assert!(rig.shard(LOG).read(LOG, 0, 1, Ticket { owner: 0, request: 1 }).is_none());
    rig.settle();
    assert!(
        rig.events.iter().any(|event| matches!(
            event,
            ShardEvent::Read { outcome: ReadOutcome::Damaged(damage), .. } if damage.path == path
        )),
        "{:?}",
        rig.events
    );
    drop(rig);
    for file in ["superblock", "log", "state"] {
        std::fs::write(&path, &sound).unwrap();
        let (from, aside) = (scratch.0.join(file), scratch.0.join("aside"));
        std::fs::rename(&from, &aside).unwrap();
        let error = open(&config(&scratch.0, 1)).unwrap_err();
        assert!(matches!(error, OpenError::Damaged(_) | OpenError::Io(_)), "{file}: {error}");
        let _ = std::fs::remove_dir_all(&from);
        std::fs::rename(&aside, &from).unwrap();
        assert_eq!(Rig::open(&scratch.0, 1).read_all(LOG, 0).len(), 3);
    }
}

#[test]
fn a_failed_write_acknowledges_nothing_and_ends_the_shard() {
    let scratch = Scratch::new("fault");
    let mut rig = Rig::open(&scratch.0, 1);
    rig.shard(LOG).create(LOG);
    rig.settle();
    rig.append(LOG, b"lost", 1);
    let mut wanted = Vec::new();
    rig.shards[0].commit(rig.now);
    rig.shards[0].collect(&mut wanted);
    for (token, op) in wanted {
        let fault = Fault { errno: libc::EIO };
        let result = if matches!(op, Op::Write { durable: true, .. }) { Err(fault) } else { continue };
        rig.shards[0].complete(Completion { token, result });
    }
    rig.settle();
    assert_eq!(rig.acked(), vec![]);
    assert!(rig.shards[0].failure().unwrap().contains("Input/output error"));
    let mut builder = BatchBuilder::new(0);
    builder.push(0, None, None, &[]);
    let ticket = Ticket { owner: 0, request: 2 };
    assert_eq!(rig.shards[0].append(LOG, &builder.finish(), ticket), Err(Refused::Failed));
}

#[test]
fn a_second_process_is_refused() {
    let scratch = Scratch::new("lock");
    let _rig = Rig::open(&scratch.0, 1);
    assert!(matches!(open(&config(&scratch.0, 1)), Err(OpenError::InUse(_))));
}

#[test]
fn a_checkpoint_does_without_what_was_deleted_since_the_last() {
    let scratch = Scratch::new("deleted");
    let mut rig = Rig::open(&scratch.0, 1);
    rig.shard(LOG).create(LOG);
    rig.shard(OTHER).create(OTHER);
    let value = vec![7; 100_000];
    for request in 0..15 {
        rig.append(LOG, &value, request);
        rig.settle();
    }
    assert!(segment::directory(&scratch.0, LOG).exists());
    assert_eq!(rig.shards[0].counts().checkpoints, 0);
    rig.shard(LOG).delete(LOG);
    for request in 15..60 {
        rig.append(OTHER, &value, request);
        rig.settle();
    }
    assert!(!segment::directory(&scratch.0, LOG).exists());
    assert_eq!(rig.shards[0].failure(), None);
    assert!(rig.shards[0].counts().checkpoints > 0);
}

#[test]
fn a_reader_of_what_was_trimmed_meanwhile_is_told_where_the_log_starts() {
    let scratch = Scratch::new("overtaken");
    let mut rig = Rig::open(&scratch.0, 1);
    rig.shard(LOG).create(LOG);
    rig.append(LOG, b"x", 0);
    rig.settle();
    drop(rig);
    let mut rig = Rig::open(&scratch.0, 1);
    let ticket = Ticket { owner: 0, request: 7 };
    assert!(rig.shard(LOG).read(LOG, 0, 1, ticket).is_none(), "nothing is in memory after a start");
    rig.shard(LOG).trim(LOG, 1);
    let mut wanted = Vec::new();
    rig.shard(LOG).collect(&mut wanted);
    for (token, _) in wanted {
        let gone = Err(Fault { errno: libc::ENOENT });
        rig.shard(LOG).complete(Completion { token, result: gone });
    }
    rig.settle();
    let outcome = rig.events.iter().find_map(|event| match event {
        ShardEvent::Read { outcome, .. } => Some(outcome),
        _ => None,
    });
    assert!(matches!(outcome, Some(ReadOutcome::OutOfRange { log_start: 1, durable: 1 })), "{outcome:?}");
}

#[test]
fn every_byte_on_the_device_has_a_reason_to_be_there() {
    let scratch = Scratch::new("retained");
    let mut rig = Rig::open(&scratch.0, 1);
    rig.shards[0].create(LOG);
    let value = vec![7; 400_000];
    for request in 0..20 {
        rig.append(LOG, &value, request);
        rig.settle();
    }
    let before = rig.shards[0].retained();
    assert!(before.records_bytes > 4 * 400_000 && before.trimmed_bytes == 0, "{before:?}");
    assert_eq!(before.records_bytes, rig.shards[0].retained_by(LOG).records_bytes);
    rig.shards[0].trim(LOG, 6);
    rig.settle();
    let after = rig.shards[0].retained();
    assert!(after.trimmed_bytes >= 4 * 400_000, "{after:?}");
    assert_eq!(after.records_bytes + after.trimmed_bytes, before.records_bytes);
    let journal = scratch.0.join("journal/0");
    let files = std::fs::read_dir(journal).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
    let filled: u64 = files.filter(|length| *length > 4096).sum();
    assert_eq!(after.journal_needed_bytes + after.journal_spare_bytes, filled);
}

#[test]
fn memory_is_full_while_nothing_is_settled_and_has_room_again_when_it_is() {
    let scratch = Scratch::new("memory");
    let mut config = config(&scratch.0, 1);
    config.memory_bytes = 2 << 20;
    let mut rig = Rig::open_with(&config);
    rig.shards[0].create(LOG);
    rig.settle();
    // The device takes frames, but nothing else.
    let (mut held, mut wanted, mut request) = (Vec::new(), Vec::new(), 0);
    while !rig.shards[0].is_full() {
        rig.append(LOG, &vec![1; 50_000], request);
        request += 1;
        assert!(request < 100, "memory is never full: {:?}", rig.shards[0].counts());
        for _ in 0..4 {
            rig.now.monotonic_us += 10_000;
            rig.shards[0].commit(rig.now);
            rig.shards[0].collect(&mut wanted);
            for (token, op) in wanted.drain(..) {
                match &op {
                    Op::Write { durable: true, .. } => {
                        rig.shards[0].complete(Disk::Machine.execute(token, op))
                    }
                    _ => held.push((token, op)),
                }
            }
        }
    }
    let memory_bytes = rig.shards[0].memory_bytes();
    assert!((2 << 20..(2 << 20) + 60_000).contains(&memory_bytes), "{memory_bytes}");
    for (token, op) in held {
        rig.shards[0].complete(Disk::Machine.execute(token, op));
    }
    rig.settle();
    assert!(!rig.shards[0].is_full());
    assert!(rig.shards[0].memory_bytes() <= 2 << 20);
    assert_eq!(rig.read_all(LOG, 0).len() as u64, request);
}
