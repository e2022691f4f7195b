//! The least broker under real load, with a disk and without, and what it keeps.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use ringmain_engine::io::buffer;

use super::disk::Disk;
use super::server::Server;
use super::*;
use crate::wire::kafka;

fn load(target: &str, in_flight: u64) -> Load {
    let mut load = rows(1).remove(0).load;
    load.target = target.to_owned();
    load.connections = 2;
    load.in_flight = in_flight;
    load.warm_up = Duration::ZERO;
    load
}

#[test]
fn every_mode_answers_every_request() {
    let interrupt = Interrupt::listen().unwrap();
    let dir = std::env::temp_dir();
    let all = [Keep::Nothing, Keep::Twice, Keep::Once, Keep::TwiceOver, Keep::Apart(4)];
    let disks = all.map(|keep| Some((dir.as_path(), keep)));
    for disk in [None].into_iter().chain(disks) {
        let running = Running::start("127.0.0.1:0", disk, None, &interrupt).unwrap();
        // 2 connections x 200 requests of 16 KiB are more than one buffer holds.
        let load = load(running.target(), 200);
        let mut place = Place::prepare(&load).unwrap();
        let tally = place.produce(&load, &interrupt).unwrap();
        assert!(tally.response.count() > 400, "{}", tally.response.count());
        assert_eq!(tally.records, 15 * tally.response.count());
    }
}

#[test]
fn what_is_not_kafka_or_damaged_loses_its_connection() {
    let interrupt = Interrupt::listen().unwrap();
    let running = Running::start("127.0.0.1:0", None, None, &interrupt).unwrap();
    let damaged = kafka::produce("t", 0, b"not a batch");
    for bytes in [b"GET / HTTP/1.1\r\n\r\n".as_slice(), &damaged] {
        let mut stream = TcpStream::connect(running.target()).unwrap();
        stream.write_all(bytes).unwrap();
        assert_eq!(stream.read(&mut [0; 10]).unwrap(), 0, "closed without an answer");
    }
}

#[test]
fn two_threads_share_the_connections_and_their_time_counts() {
    let interrupt = Interrupt::listen().unwrap();
    let dir = std::env::temp_dir();
    let disk = Some((dir.as_path(), Keep::Nothing));
    let running = Running::start_two("127.0.0.1:0", disk, None, &interrupt).unwrap();
    let mut load = load(running.target(), 8);
    load.connections = 8;
    let mut place = Place::prepare(&load).unwrap();
    let before = running.time();
    let tally = place.produce(&load, &interrupt).unwrap();
    assert!(tally.response.count() > 64 && running.time() > before);
}

/// A server with this disk while `work` has a connection to it.
fn serve(disk: Disk, work: impl FnOnce(&mut kafka::Connection)) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let stop = Arc::new(AtomicBool::new(false));
    let seen = stop.clone();
    let run = move || Server::new(listener, Some(disk), seen).unwrap().run().unwrap();
    let serving = std::thread::spawn(run);
    let mut connection = kafka::Connection::open(&target).unwrap();
    work(&mut connection);
    stop.store(true, Ordering::Relaxed);
    // Something has to happen.
    drop(connection);
    serving.join().unwrap();
}

/// One request after the other, so that each batch is a frame.
fn produce(connection: &mut kafka::Connection, batch: &[u8]) {
    let answer = connection.exchange(&kafka::produce("t", 0, batch), 0).unwrap();
    assert_eq!(answer.produced().unwrap().0, 0, "no error");
}

/// What the segment's front is once these batches were produced and it is `expected`, or is not for long.
fn kept(keep: Keep, segment_bytes: u64, batches: &[Vec<u8>], expected: &[u8]) -> Vec<u8> {
    let interrupt = Interrupt::listen().unwrap();
    let disk = Disk::with_segment(&std::env::temp_dir(), keep, segment_bytes, &interrupt).unwrap();
    let segment = disk.kept().unwrap();
    let mut found = buffer::aligned(expected.len());
    found.resize(expected.len(), 0);
    serve(disk, |connection| {
        batches.iter().for_each(|batch| produce(connection, batch));
        let begin = Instant::now();
        loop {
            segment.read_exact_at(&mut found, 0).unwrap();
            // No answer waits for what is written behind.
            let is_behind =
                matches!(keep, Keep::Twice | Keep::TwiceOver) && begin.elapsed() < Duration::from_secs(10);
            if found == expected || !is_behind {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    found.to_vec()
}

#[test]
fn what_is_kept_is_in_the_segment_and_a_full_one_begins_anew() {
    let batches: Vec<Vec<u8>> = (1..6)
        .map(|number| {
            let load = Load { batch_bytes: 60 << 10, record_bytes: 1000 * number, ..load("", 1) };
            load.batch().bytes().to_vec()
        })
        .collect();
    let padded = |batch: &Vec<u8>| {
        let mut frame = batch.clone();
        frame.resize(buffer::padded(batch.len()), 0);
        frame
    };
    let frames: Vec<Vec<u8>> = batches.iter().map(padded).collect();
    // Room for three frames: behind the last two nothing is left of the first three.
    let bytes = frames[..3].concat().len();
    let mut last = frames[3..].concat();
    last.resize(bytes, 0);
    let all = frames.concat();
    for keep in [Keep::Twice, Keep::Once, Keep::TwiceOver, Keep::Apart(1)] {
        assert!(kept(keep, 1 << 20, &batches, &all) == all, "{keep:?}");
    }
    for keep in [Keep::Twice, Keep::Once] {
        assert!(kept(keep, bytes as u64, &batches, &last) == last, "{keep:?}");
    }
}

#[test]
fn a_frame_is_kept_in_parts_and_told_in_the_journal() {
    let interrupt = Interrupt::listen().unwrap();
    let mut disk = Disk::create(&std::env::temp_dir(), Keep::Apart(4), &interrupt).unwrap();
    let of = |disk: &mut Disk, blocks: usize| -> Vec<i32> {
        let frame = vec![1; blocks << 12];
        disk.write(&frame).unwrap().into_iter().map(|(_, length)| length >> 12).collect()
    };
    assert_eq!(of(&mut disk, 8), [1, 2, 2, 2, 2]);
    assert_eq!(of(&mut disk, 9), [1, 3, 3, 3]);
    assert_eq!(of(&mut disk, 1), [1, 1]);
}

#[test]
fn a_segment_is_synced_and_begins_anew_under_load() {
    let interrupt = Interrupt::listen().unwrap();
    let disk = Disk::with_segment(&std::env::temp_dir(), Keep::Twice, 80 << 20, &interrupt).unwrap();
    let batch = Load { batch_bytes: 1 << 20, ..load("", 1) }.batch();
    // More than the journal has, and three times the segment.
    serve(disk, |connection| (0..300).for_each(|_| produce(connection, batch.bytes())));
}
