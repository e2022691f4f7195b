//! The handle from several threads, in its three ways, over closing, failing and opening again.

use std::path::PathBuf;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};

use super::*;

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
