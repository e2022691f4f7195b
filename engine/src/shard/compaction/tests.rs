//! What compaction leaves, on real files.

use super::{Compaction, Dropping};
use crate::format::record::BatchBuilder;
use crate::io::disk::Disk;
use crate::io::{Completion, Fault, Op};
use crate::segment::compact::Codecs;
use crate::segment::{self, SegmentName};
use crate::shard::rig::{Rig, Scratch};
use crate::shard::tests::{LOG, OTHER, open_with_small_segments};
use crate::types::Ticket;

/// Worth while when half of what may be compacted never was; only full segments are sealed.
const RULES: Compaction = Compaction {
    dirty_ratio_min: 0.5,
    lag_ms_min: 0,
    lag_ms_max: u64::MAX,
    sealed_after_ms: u64::MAX,
    deletions_kept_ms: 0,
    codecs: Codecs::NONE,
};

/// Steps until no compaction is under way.
fn finish(rig: &mut Rig) {
    while rig.shards[0].is_compacting() {
        rig.settle();
    }
}

fn keyed(rig: &mut Rig, key: &str, value: &[u8], request: u64) {
    let mut builder = BatchBuilder::new(request as i64);
    builder.push(request as i64, Some(key.as_bytes()), Some(value), &[]);
    let ticket = Ticket { owner: 0, request };
    rig.shards[0].append(LOG, &builder.finish(), ticket).unwrap();
    rig.settle();
}

#[test]
fn compaction_keeps_the_last_record_of_each_key_at_its_offset_and_gives_the_room_back() {
    let scratch = Scratch::new("compaction");
    let open = || open_with_small_segments(&scratch);
    let mut rig = open();
    rig.shards[0].create(LOG);
    let mut last = std::collections::BTreeMap::new();
    for request in 0..600 {
        let key = format!("key {}", request % 7);
        keyed(&mut rig, &key, &vec![request as u8; 20_000], request);
        last.insert(key, (request, request as u8));
    }
    // What is still being filled, and what no checkpoint knows to be sealed, stays as it is.
    drop(rig);
    let mut rig = open();
    let before = rig.shards[0].retained().records_bytes;
    assert!(rig.shards[0].compact(LOG, RULES, rig.now));
    finish(&mut rig);
    let after = rig.shards[0].retained().records_bytes;
    assert!(after * 4 < before, "{before} bytes before, {after} after");
    assert!(!rig.shards[0].compact(LOG, RULES, rig.now), "nothing is left to compact");
    let expect = |rig: &mut Rig| {
        let found = rig.read_all(LOG, 0);
        for record in last.values() {
            assert!(found.contains(record), "{record:?} is gone");
        }
        assert!(found.len() < 40 && found.is_sorted(), "{} records are left", found.len());
        // From any offset on, also one that is not there any more.
        for from in [1, 100, 300] {
            let rest: Vec<_> = found.iter().copied().filter(|(offset, _)| *offset >= from).collect();
            assert_eq!(rig.read_all(LOG, from), rest);
        }
    };
    expect(&mut rig);
    keyed(&mut rig, "new", b"n", 700);
    drop(rig);
    let report = crate::verify::verify_on(&Disk::Machine, &scratch.0).unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings.first());
    let mut rig = open();
    expect(&mut rig);
}

#[test]
fn a_small_log_is_compacted_once_its_records_are_old() {
    let scratch = Scratch::new("compaction-by-age");
    let open = || Rig::open(&scratch.0, 1);
    let mut rig = open();
    rig.shards[0].create(LOG);
    for request in 0..300 {
        keyed(&mut rig, &format!("key {}", request % 7), &[request as u8], request);
    }
    let rules = Compaction { sealed_after_ms: 1000, ..RULES };
    let ask = |rig: &mut Rig| {
        let begun = rig.shards[0].compact(LOG, rules, rig.now);
        for _ in 0..20 {
            rig.settle(); // a step of what nobody waits for
        }
        assert!(!rig.shards[0].is_compacting());
        begun
    };
    rig.now.wall_ms = 1000;
    assert!(!ask(&mut rig), "they are young");
    assert_eq!((rig.shards[0].counts().settled_runs, rig.shards[0].counts().checkpoints), (0, 0));
    rig.now.wall_ms = 1001;
    assert!(!ask(&mut rig), "first they are sealed");
    assert_eq!((rig.shards[0].counts().settled_runs, rig.shards[0].counts().checkpoints), (1, 1));
    assert!(!ask(&mut rig), "the last record stays where it is");
    assert_eq!((rig.shards[0].counts().settled_runs, rig.shards[0].counts().checkpoints), (1, 1));
    keyed(&mut rig, "key 0", b"n", 300);
    assert!(ask(&mut rig));
    let expected: Vec<_> = (293..300).map(|last| (last, last as u8)).chain([(300, b'n')]).collect();
    assert_eq!(rig.read_all(LOG, 0), expected);
    rig.now.wall_ms = 5000;
    assert!(!ask(&mut rig), "one more is not much of the log");
    drop(rig);
    let report = crate::verify::verify_on(&Disk::Machine, &scratch.0).unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings.first());
    assert_eq!(open().read_all(LOG, 0), expected);
}

#[test]
fn small_segments_become_one_and_what_a_crash_leaves_of_them_goes() {
    let scratch = Scratch::new("merging");
    let open = || open_with_small_segments(&scratch);
    let segments = |rig: &Rig| rig.shards[0].logs[&LOG].segments.list().len();
    let files = || {
        let files = std::fs::read_dir(segment::directory(&scratch.0, LOG)).unwrap();
        let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        files.sort();
        files
    };
    let compact = |rig: &mut Rig| {
        assert!(rig.shards[0].compact(LOG, RULES, rig.now));
        finish(rig);
    };
    let mut rig = open();
    rig.shards[0].create(LOG);
    for request in 0..100 {
        keyed(&mut rig, &format!("key {}", request % 7), &vec![request as u8; 20_000], request);
    }
    drop(rig);
    let mut rig = open();
    compact(&mut rig);
    let full = files();
    assert_eq!((segments(&rig), full.len()), (7, 7), "together they were too much for one");
    for request in 100..200 {
        keyed(&mut rig, &format!("key {}", request % 7), &vec![request as u8; 20_000], request);
    }
    drop(rig);
    let mut rig = open();
    let left = std::fs::read(&full[1]).unwrap();
    compact(&mut rig);
    let few = segments(&rig);
    assert!(few < 10 && files().len() == few && !full[1].exists(), "{few}");
    let found = rig.read_all(LOG, 0);
    drop(rig);
    // The removal of one did not reach the device.
    std::fs::write(&full[1], &left).unwrap();
    let report = crate::verify::verify_on(&Disk::Machine, &scratch.0).unwrap();
    assert!(report.is_clean() && report.notes.len() == 1, "{report:?}");
    let mut rig = open();
    assert_eq!((segments(&rig), files().len()), (few, few));
    assert_eq!(rig.read_all(LOG, 0), found);
    // It begins below the start of the log, which is no end of what it was merged into.
    let base = SegmentName::parse(full[1].file_name().unwrap().to_str().unwrap()).unwrap().base;
    rig.shards[0].trim(LOG, base + 1);
    rig.settle();
    drop(rig);
    drop(open());
    std::fs::write(&full[1], left).unwrap();
    let report = crate::verify::verify_on(&Disk::Machine, &scratch.0).unwrap();
    assert!(report.is_clean() && report.notes.len() == 1, "{report:?}");
    let mut rig = open();
    assert_eq!((rig.report.damage.len(), segments(&rig), files().len()), (0, few, few));
    let rest: Vec<_> = found.into_iter().filter(|(offset, _)| *offset > base).collect();
    assert_eq!(rig.read_all(LOG, base + 1), rest);
}

#[test]
fn what_is_not_needed_goes_and_what_is_stays_at_its_offset() {
    let scratch = Scratch::new("dropping");
    let open = || open_with_small_segments(&scratch);
    let mut rig = open();
    rig.shards[0].create(LOG);
    for request in 0..600 {
        rig.append(LOG, &vec![request as u8; 5_000], request);
        rig.settle();
    }
    drop(rig); // what no checkpoint knows to be sealed stays as it is
    let mut rig = open();
    let before = rig.shards[0].retained().records_bytes;
    // One of fifty is needed, and of the first segments nothing but the first record of all.
    let ranges = std::iter::once(1..100).chain((2..12).map(|part| part * 50 + 1..part * 50 + 50));
    let dropping = || Dropping { ranges: ranges.clone().collect(), share_min: 0.5, codecs: Codecs::NONE };
    let now = rig.now;
    assert!(!rig.shards[0].drop_records(LOG, Dropping { share_min: 1.0, ..dropping() }, now));
    assert!(rig.shards[0].drop_records(LOG, dropping(), now));
    assert!(!rig.shards[0].drop_records(LOG, dropping(), now), "one at a time");
    finish(&mut rig);
    let after = rig.shards[0].retained().records_bytes;
    assert!(after * 4 < before, "{before} bytes before, {after} after");
    assert!(!rig.shards[0].drop_records(LOG, dropping(), now), "nothing is left to drop");
    let sealed_end = 500;
    let expect = |rig: &mut Rig| {
        let found = rig.read_all(LOG, 0);
        let needed = |offset: &u64| !dropping().ranges.iter().any(|range| range.contains(offset));
        for record in (0..600).filter(needed).map(|request| (request, request as u8)) {
            assert!(found.contains(&record), "{record:?} is gone");
        }
        let left = found.iter().filter(|(offset, _)| *offset < sealed_end).count();
        assert!(left < 20 && found.is_sorted(), "{left} records are left");
        assert_eq!(rig.read_all(LOG, 30)[0].0, 100);
    };
    expect(&mut rig);
    drop(rig);
    let report = crate::verify::verify_on(&Disk::Machine, &scratch.0).unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings.first());
    expect(&mut open());
}

/// Two logs, of which the first has a hundred records in segments that a checkpoint knows to be sealed, but for the last.
fn with_sealed_segments(scratch: &Scratch) -> Rig {
    let mut rig = open_with_small_segments(scratch);
    rig.shards[0].create(LOG);
    rig.shards[0].create(OTHER);
    for request in 0..100 {
        rig.append(LOG, &vec![request as u8; 20_000], request);
        rig.settle();
    }
    drop(rig);
    open_with_small_segments(scratch)
}

#[test]
fn what_a_compaction_leaves_is_gone_before_the_next_begins() {
    let scratch = Scratch::new("given-up");
    let mut rig = with_sealed_segments(&scratch);
    let dropping =
        || Dropping { ranges: std::iter::once(0..40).collect(), share_min: 0.5, codecs: Codecs::NONE };
    assert!(rig.shards[0].drop_records(LOG, dropping(), rig.now));
    // The device takes nothing of it, and is slow to take away what there is.
    let (shard, mut removal, mut wanted) = (&mut rig.shards[0], None, Vec::new());
    for _ in 0..200 {
        rig.now.monotonic_us += 10_000;
        shard.commit(rig.now);
        shard.collect(&mut wanted);
        for (token, op) in wanted.drain(..) {
            match &op {
                Op::Write { durable: false, .. } => {
                    shard.complete(Completion { token, result: Err(Fault { errno: libc::EIO }) });
                }
                Op::Remove { .. } => removal = Some((token, op)),
                _ => shard.complete(Disk::Machine.execute(token, op)),
            }
        }
    }
    assert!(!shard.drop_records(LOG, dropping(), rig.now), "the file is still to be removed");
    let (token, op) = removal.expect("it is being removed");
    shard.complete(Disk::Machine.execute(token, op));
    assert!(!shard.is_compacting());
    rig.append(LOG, b"more", 100);
    rig.settle();
    let before = rig.shards[0].retained().records_bytes;
    let mut begun = 0;
    while rig.shards[0].drop_records(LOG, dropping(), rig.now) {
        begun += 1;
        finish(&mut rig);
    }
    assert_eq!((begun, rig.shards[0].failure()), (1, None));
    assert!(rig.shards[0].retained().records_bytes < before - 300_000);
}

#[test]
fn nothing_goes_before_what_says_that_it_may_is_durable() {
    let scratch = Scratch::new("dropping-late");
    let mut rig = with_sealed_segments(&scratch);
    let before = rig.shards[0].retained().records_bytes;
    rig.append(OTHER, b"the first fifty are not needed", 100);
    let dropping = Dropping { ranges: vec![0..40, 45..50], share_min: 0.5, codecs: Codecs::NONE };
    assert!(rig.shards[0].drop_records(LOG, dropping, rig.now));
    let (shard, mut held, mut wanted) = (&mut rig.shards[0], None, Vec::new());
    for _ in 0..200 {
        rig.now.monotonic_us += 10_000;
        shard.commit(rig.now);
        shard.collect(&mut wanted);
        for (token, op) in wanted.drain(..) {
            match &op {
                Op::Write { durable: true, .. } => held = Some((token, op)),
                _ => shard.complete(Disk::Machine.execute(token, op)),
            }
        }
    }
    assert!(shard.is_compacting());
    assert_eq!(shard.retained().records_bytes, before);
    let (token, op) = held.expect("the frame is on its way");
    shard.complete(Disk::Machine.execute(token, op));
    finish(&mut rig);
    assert!(rig.shards[0].retained().records_bytes < before - 500_000);
    assert!(rig.read_all(LOG, 0)[0].0 >= 26);
}
