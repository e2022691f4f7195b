//! The handle from several threads, in its three ways, over closing, failing and opening again.

use std::path::PathBuf;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::*;
use crate::format::batch::CheckedBatch;

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("ringmain-embed-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Scratch(path)
    }

    fn open(&self, shards: u16) -> Engine {
        let config =
            Config { shards, journal_file_bytes: 4 << 20, memory_bytes: 8 << 20, ..Config::default() };
        Engine::open(&self.0, config).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn values(read: &ReadBatches) -> Vec<String> {
    read.records().map(|(_, record)| String::from_utf8(record.value.unwrap().to_vec()).unwrap()).collect()
}

#[test]
fn what_is_acknowledged_in_any_of_three_ways_is_there_after_opening_again() {
    let scratch = Scratch::new("ways");
    let engine = scratch.open(2);
    let log = engine.log(LogId(7)).wait().unwrap();
    assert_eq!(log.append_values(&[b"a", b"b"]).unwrap().wait().unwrap().base_offset, 0);
    let (sender, receiver) = mpsc::channel();
    log.append_values(&[b"c"]).unwrap().on_done(move |answer| sender.send(answer).unwrap());
    assert_eq!(receiver.recv().unwrap().unwrap().base_offset, 2);
    let mut future = Box::pin(log.append_values(&[b"d"]).unwrap());
    let answer = loop {
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => break answer,
            Poll::Pending => std::thread::yield_now(),
        }
    };
    assert_eq!(answer.unwrap().base_offset, 3);
    engine.close().unwrap();
    assert_eq!(log.bounds().wait(), Err(EngineError::Closed));
    let engine = scratch.open(1);
    let log = engine.log(LogId(7)).wait().unwrap();
    assert_eq!(values(&log.read(0, 1 << 20).wait().unwrap()), ["a", "b", "c", "d"]);
    assert_eq!(log.bounds().wait().unwrap(), Bounds { start: 0, durable: 4, end: 4 });
}

#[test]
fn a_reader_at_the_end_is_woken_and_threads_share_a_log() {
    let scratch = Scratch::new("threads");
    let engine = scratch.open(1);
    let log = engine.log(LogId(1)).wait().unwrap();
    let reader = {
        let log = log.clone();
        std::thread::spawn(move || {
            let (mut next, mut seen) = (0, 0);
            while seen < 400 {
                let read = log.tail(next, 1 << 16).wait().unwrap();
                seen += read.records().count();
                next = read.next_offset().unwrap();
            }
        })
    };
    let writers: Vec<_> = (0..4)
        .map(|_| {
            let log = log.clone();
            std::thread::spawn(move || {
                for _ in 0..100 {
                    log.append_values(&[b"x"]).unwrap().wait().unwrap();
                }
            })
        })
        .collect();
    for thread in writers {
        thread.join().unwrap();
    }
    reader.join().unwrap();
    assert_eq!(log.bounds().wait().unwrap().durable, 400);
}

#[test]
fn callers_that_wait_write_for_themselves_and_for_each_other() {
    let scratch = Scratch::new("waiting");
    let engine = scratch.open(1);
    let log = engine.log(LogId(1)).wait().unwrap();
    // Alone: each is there when it returns, behind what was only asked for.
    for n in 0..100 {
        let asked = log.append_values(&[b"asked"]).unwrap();
        assert_eq!(log.append_values_waiting(&[b"waited"]).unwrap().base_offset, 2 * n + 1);
        assert_eq!(asked.wait().unwrap().base_offset, 2 * n);
        assert_eq!(log.bounds().wait().unwrap().durable, 2 * n + 2);
    }
    // Beside others, which wait in every way.
    let appenders: Vec<_> = (0..6)
        .map(|number| {
            let log = log.clone();
            std::thread::spawn(move || {
                (0..100).for_each(|n| match (number + n) % 3 {
                    0 => drop(log.append_values(&[b"asked"]).unwrap().wait().unwrap()),
                    _ => drop(log.append_values_waiting(&[b"waited"]).unwrap()),
                });
            })
        })
        .collect();
    let (mut next, mut seen) = (200, 0);
    while seen < 600 {
        let read = log.tail(next, 1 << 16).wait().unwrap();
        seen += read.records().count();
        next = read.next_offset().unwrap();
    }
    appenders.into_iter().for_each(|appender| appender.join().unwrap());
    assert_eq!(log.bounds().wait().unwrap(), Bounds { start: 0, durable: 800, end: 800 });
    // What cannot be done is told at once.
    engine.delete(LogId(1)).wait().unwrap();
    assert_eq!(log.append_values_waiting(&[b"gone"]), Err(EngineError::UnknownLog));
    let log = engine.log(LogId(2)).wait().unwrap();
    log.append_values_waiting(&[b"kept"]).unwrap();
    engine.close().unwrap();
    assert_eq!(log.append_values_waiting(&[b"late"]), Err(EngineError::Closed));
    let engine = scratch.open(1);
    let log = engine.log(LogId(2)).wait().unwrap();
    assert_eq!(values(&log.read(0, 1 << 20).wait().unwrap()), ["kept"]);
}

#[test]
fn callers_that_wait_do_not_wait_for_those_who_have_left() {
    let scratch = Scratch::new("leaving");
    let engine = scratch.open(1);
    let counts: [u64; 8] = [400, 300, 200, 150, 100, 50, 25, 12];
    let appenders = counts.into_iter().enumerate().map(|(number, count)| {
        let log = engine.log(LogId(number as u64)).wait().unwrap();
        std::thread::spawn(move || {
            for n in 0..count {
                let appended = log.append_values_waiting(&[format!("{number} {n}").as_bytes()]).unwrap();
                assert_eq!(appended.base_offset, n);
            }
        })
    });
    let appenders: Vec<_> = appenders.collect();
    appenders.into_iter().for_each(|appender| appender.join().unwrap());
    engine.close().unwrap();
    let engine = scratch.open(1);
    for (number, count) in counts.iter().enumerate() {
        let log = engine.log(LogId(number as u64)).wait().unwrap();
        let expected: Vec<String> = (0..*count).map(|n| format!("{number} {n}")).collect();
        assert_eq!(values(&log.read(0, 1 << 20).wait().unwrap()), expected);
    }
}

#[test]
fn an_engine_is_closed_under_callers_that_wait() {
    for _ in 0..20 {
        let scratch = Scratch::new("closing");
        let engine = scratch.open(1);
        let log = engine.log(LogId(1)).wait().unwrap();
        let (begun, begins) = mpsc::channel();
        let appender = std::thread::spawn(move || {
            let mut acknowledged = 0;
            loop {
                match log.append_values_waiting(&[b"x"]) {
                    Ok(_) => acknowledged += 1,
                    Err(error) => return (acknowledged, error),
                }
                let _ = begun.send(());
            }
        });
        begins.recv().unwrap();
        engine.close().unwrap();
        let (acknowledged, error) = appender.join().unwrap();
        assert_eq!(error, EngineError::Closed);
        let bounds = scratch.open(1).log(LogId(1)).wait().unwrap().bounds().wait().unwrap();
        assert!(bounds.durable >= acknowledged, "{bounds:?}, {acknowledged} acknowledged");
    }
}

#[test]
fn each_mistake_gets_its_own_error_and_loses_nothing() {
    let scratch = Scratch::new("mistakes");
    let engine = scratch.open(1);
    let log = engine.log(LogId(1)).wait().unwrap();
    let batch = || batch_of(&[b"v"]).unwrap();
    assert_eq!(log.append_at(0, batch()).wait().unwrap().base_offset, 0);
    let wrong = log.append_at(0, batch()).wait();
    assert_eq!(wrong, Err(EngineError::WrongOffset { expected: 0, end: 1 }));
    assert_eq!(log.append_values(&[]).err(), Some(EngineError::Batch(BatchError::Count)));
    let huge = vec![0; BATCH_BYTES_MAX];
    assert_eq!(log.append_values(&[&huge]).err(), Some(EngineError::Batch(BatchError::TooLarge)));
    assert_eq!(log.read(5, 1).wait().err(), Some(EngineError::OutOfRange { start: 0, durable: 1 }));
    log.trim_before(1).wait().unwrap();
    assert_eq!(log.read(0, 1).wait().err(), Some(EngineError::OutOfRange { start: 1, durable: 1 }));
    let waiting = log.tail(1, 1);
    engine.delete(LogId(1)).wait().unwrap();
    assert_eq!(waiting.wait().err(), Some(EngineError::UnknownLog));
    assert_eq!(log.append(batch()).wait(), Err(EngineError::UnknownLog));
    let again = Engine::open(&scratch.0, Config::default());
    assert!(matches!(again.err(), Some(OpenError::InUse(_))));
}

#[test]
fn a_truncated_log_goes_on_where_it_was_cut_also_after_opening_again() {
    let scratch = Scratch::new("truncate");
    let engine = scratch.open(1);
    let log = engine.log(LogId(1)).wait().unwrap();
    for value in ["a", "b", "c", "d"] {
        log.append_values(&[value.as_bytes()]).unwrap().wait().unwrap();
    }
    log.append_values(&[b"e", b"f"]).unwrap().wait().unwrap();
    assert_eq!(log.truncate_after(5).wait(), Err(EngineError::InsideBatch { base: 4 }));
    assert_eq!(log.truncate_after(7).wait(), Err(EngineError::OutOfRange { start: 0, durable: 6 }));
    log.commit_upto(2).wait().unwrap();
    assert_eq!(log.truncate_after(1).wait(), Err(EngineError::Committed { committed: 2 }));
    // What is asked for behind it is carried out behind it.
    let truncated = log.truncate_after(2);
    let appended = log.append_values(&[b"g"]).unwrap();
    truncated.wait().unwrap();
    assert_eq!(appended.wait().unwrap().base_offset, 2);
    assert_eq!(values(&log.read(0, 1 << 20).wait().unwrap()), ["a", "b", "g"]);
    engine.close().unwrap();
    let engine = scratch.open(1);
    let log = engine.log(LogId(1)).wait().unwrap();
    // Everything is in a segment now, and the cut goes through it.
    log.truncate_after(1).wait().unwrap();
    log.append_values(&[b"h"]).unwrap().wait().unwrap();
    engine.close().unwrap();
    let engine = scratch.open(1);
    let log = engine.log(LogId(1)).wait().unwrap();
    assert_eq!(values(&log.read(0, 1).wait().unwrap()), ["a"]);
    assert_eq!(values(&log.read(1, 1).wait().unwrap()), ["h"]);
    assert_eq!(log.bounds().wait().unwrap(), Bounds { start: 0, durable: 2, end: 2 });
}

/// Every batch of the log, stamped.
fn batches(log: &Log) -> Vec<CheckedBatch> {
    let (mut found, mut next) = (Vec::new(), 0);
    loop {
        let read = log.read(next, 1 << 20).wait().unwrap();
        let pieces = read.batches.iter().cloned().flat_map(batch::split);
        found.extend(pieces.map(|(_, bytes)| CheckedBatch::from_producer(bytes).unwrap()));
        match read.next_offset() {
            Some(offset) => next = offset,
            None => return found,
        }
    }
}

#[test]
fn a_replica_takes_each_batch_once_at_its_offset_and_notices_another_history() {
    let (one, other) = (Scratch::new("leader"), Scratch::new("follower"));
    let (leader, follower) = (one.open(1), other.open(1));
    let from = leader.log(LogId(1)).wait().unwrap();
    for value in ["a", "b", "c"] {
        from.append_values(&[value.as_bytes(), b"more"]).unwrap().wait().unwrap();
    }
    let to = follower.log(LogId(1)).wait().unwrap();
    let all = batches(&from);
    let gap = to.append_replica(all[1].clone()).wait();
    assert_eq!(gap, Err(EngineError::WrongOffset { expected: 2, end: 0 }));
    for batch in [0, 1, 0, 1, 2, 2] {
        let base_offset = batch as u64 * 2;
        assert_eq!(to.append_replica(all[batch].clone()).wait().unwrap().base_offset, base_offset);
    }
    assert!(to.append_replica(all[2].clone()).wait().unwrap().duplicate);
    let same = batches(&to).iter().zip(&all).all(|(one, other)| one.bytes() == other.bytes());
    assert!(same && batches(&to).len() == 3);
    to.truncate_after(4).wait().unwrap();
    to.append_values(&[b"x", b"y"]).unwrap().wait().unwrap();
    assert_eq!(to.append_replica(all[2].clone()).wait(), Err(EngineError::Diverged { offset: 4 }));
    assert_eq!(values(&to.read(4, 1).wait().unwrap()), ["x", "y"]);
}

#[test]
fn an_engine_without_threads_does_its_work_when_it_is_driven() {
    let scratch = Scratch::new("manual");
    let config = Config { journal_file_bytes: 4 << 20, ..Config::default() };
    let mut manual = ManualEngine::open(&scratch.0, config).unwrap();
    let mut opening = manual.engine().log(LogId(3));
    let log = loop {
        match opening.try_take() {
            Ok(log) => break log.unwrap(),
            Err(again) => opening = again,
        }
        manual.drive(None).unwrap();
    };
    let (sender, receiver) = mpsc::channel();
    for value in 0..20_u8 {
        let sender = sender.clone();
        log.append_values(&[&[value]]).unwrap().on_done(move |answer| sender.send(answer.unwrap()).unwrap());
    }
    let mut offsets = Vec::new();
    while offsets.len() < 20 {
        manual.drive(None).unwrap();
        offsets.extend(receiver.try_iter().map(|appended| appended.base_offset));
    }
    assert_eq!(offsets, (0..20).collect::<Vec<u64>>());
    let mut statistics = manual.engine().statistics();
    let mut asked = statistics.pop().unwrap();
    let counts = loop {
        match asked.try_take() {
            Ok(counts) => break counts.unwrap(),
            Err(again) => asked = again,
        }
        manual.drive(None).unwrap();
    };
    assert_eq!((counts.appended_records, counts.logs), (20, 1));
    manual.close().unwrap();
    assert_eq!(log.bounds().wait(), Err(EngineError::Closed));
    let engine = scratch.open(1);
    assert_eq!(engine.log(LogId(3)).wait().unwrap().bounds().wait().unwrap().end, 20);
}

#[test]
fn more_requests_than_a_driven_engine_holds_are_refused_and_the_others_carried_out() {
    let scratch = Scratch::new("crowd");
    let config = Config { journal_file_bytes: 4 << 20, ..Config::default() };
    let mut manual = ManualEngine::open(&scratch.0, config).unwrap();
    let log = manual.engine().log(LogId(3));
    let acks: Vec<_> = (0..5000).map(|_| manual.engine().delete(LogId(9))).collect();
    for _ in 0..100 {
        manual.drive(Some(Duration::ZERO)).unwrap();
    }
    drop(log);
    manual.close().unwrap();
    let refused = acks.into_iter().filter_map(|ack| ack.wait().err()).collect::<Vec<_>>();
    assert!(!refused.is_empty() && refused.iter().all(|error| *error == EngineError::TooManyRequests));
    assert!(refused.len() < 1000);
}

#[test]
fn sealed_segments_are_copied_out_and_in_again_and_damage_is_noticed() {
    let (one, other) = (Scratch::new("export"), Scratch::new("install"));
    let (leader, follower) = (one.open(1), other.open(1));
    let from = leader.log(LogId(1)).wait().unwrap();
    assert_eq!(from.sealed_segments().wait().unwrap(), []);
    let value = vec![7; 3 << 20];
    let acks: Vec<_> = (0..90).map(|_| from.append_values(&[&value]).unwrap()).collect();
    for ack in acks {
        ack.wait().unwrap();
    }
    let sealed = from.sealed_segments().wait().unwrap();
    assert_eq!((sealed.len(), sealed[0].base), (1, 0));
    let copy = other.0.join("copy.seg");
    from.export(&sealed[0], &copy).unwrap();
    assert!(from.export(&sealed[0], &copy).is_err(), "nothing is written over");
    let to = follower.log(LogId(1)).wait().unwrap();
    assert_eq!(to.install(&copy).unwrap(), sealed[0].end);
    assert_eq!(to.install(&copy).unwrap(), sealed[0].end);
    assert_eq!(to.bounds().wait().unwrap().durable, sealed[0].end);
    let mut bytes = std::fs::read(&copy).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&copy, &bytes).unwrap();
    let bad = follower.log(LogId(2)).wait().unwrap();
    assert!(matches!(bad.install(&copy), Err(EngineError::Damaged(_))), "it is another log's");
    assert!(matches!(to.install(&copy), Err(EngineError::Damaged(_))));
}

#[test]
fn a_configuration_or_a_directory_that_cannot_be_gets_its_own_error() {
    let scratch = Scratch::new("bad");
    let open = |config: Config| Engine::open(&scratch.0, config).err();
    let config = Config::default;
    let wrong = [
        Config { shards: 0, ..config() },
        Config { journal_file_bytes: (4 << 20) + 1, ..config() },
        Config { journal_file_bytes: 4096, ..config() },
        Config { journal_file_bytes: 1 << 40, ..config() },
    ];
    for wrong in wrong {
        assert!(matches!(open(wrong), Some(OpenError::Config { .. })));
    }
    assert!(!scratch.0.exists(), "nothing was made");
    // Nobody may make a directory there, not even who may do everything.
    let read_only = Engine::open("/sys/ringmain", config()).err();
    assert!(matches!(read_only, Some(OpenError::ReadOnly(_))), "{read_only:?}");
    std::fs::write(&scratch.0, b"a file").unwrap();
    assert!(matches!(open(config()), Some(OpenError::Io(_))));
    std::fs::remove_file(&scratch.0).unwrap();
}

#[test]
fn a_batch_too_large_for_a_journal_file_is_refused_and_the_next_is_taken() {
    let scratch = Scratch::new("large");
    let engine = scratch.open(1);
    let log = engine.log(LogId(1)).wait().unwrap();
    let large = vec![1; 5 << 20];
    let refused = log.append_values(&[&large]).unwrap().wait();
    assert_eq!(refused, Err(EngineError::Batch(BatchError::TooLarge)));
    let fits = vec![1; (4 << 20) - (64 << 10)];
    assert_eq!(log.append_values(&[&fits]).unwrap().wait().unwrap().base_offset, 0);
    let torn = batch_of(&[b"v"]).unwrap().bytes().slice(1..);
    assert!(CheckedBatch::from_producer(torn).is_err());
    assert_eq!(log.bounds().wait().unwrap().end, 1);
}
