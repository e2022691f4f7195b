//! Both loops against a peer that answers every produce.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread::JoinHandle;

use super::*;

/// Accepts one connection and answers each request with `error`; gives how many it answered.
fn peer(error: i16) -> (String, JoinHandle<u64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut answered_count = 0;
        let mut length = [0; 4];
        while stream.read_exact(&mut length).is_ok() {
            let mut request = vec![0; u32::from_be_bytes(length) as usize];
            stream.read_exact(&mut request).unwrap();
            let mut answer = vec![0, 0, 0, 35];
            answer.extend(&request[4..8]);
            answer.extend([0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 0, 0, 0, 0]);
            answer.extend(error.to_be_bytes());
            answer.extend([0; 14]);
            if stream.write_all(&answer).is_err() {
                break;
            }
            answered_count += 1;
        }
        answered_count
    });
    (target, thread)
}

fn lane<'a>(target: &str, interrupt: &'a Interrupt) -> Lane<'a> {
    Lane {
        connection: Connection::open(target).unwrap(),
        topic: "t",
        frame: kafka::produce("t", 0, b"batch"),
        in_flight: 3,
        time: Duration::from_millis(20),
        interrupt,
    }
}

#[test]
fn every_answer_is_counted_once() {
    let interrupt = Interrupt::listen().unwrap();
    let (target, thread) = peer(0);
    let outcome = closed::drive(lane(&target, &interrupt)).unwrap();
    assert_eq!(outcome.latencies.count(), thread.join().unwrap());
    assert!(outcome.latencies.count() >= 3);

    let (target, thread) = peer(0);
    let outcome = open::drive(lane(&target, &interrupt), Duration::from_millis(1), Duration::ZERO).unwrap();
    assert_eq!((outcome.latencies.count(), thread.join().unwrap()), (20, 20));
}

#[test]
fn a_refused_batch_ends_the_run() {
    let interrupt = Interrupt::listen().unwrap();
    let (target, thread) = peer(87);
    let failure = closed::drive(lane(&target, &interrupt)).err().unwrap();
    assert!(failure.to_string().contains("error code 87"), "{failure}");
    thread.join().unwrap();

    let (target, thread) = peer(87);
    let paced = open::drive(lane(&target, &interrupt), Duration::from_millis(1), Duration::ZERO);
    assert!(paced.err().unwrap().to_string().contains("error code 87"));
    thread.join().unwrap();
}

fn batch(batch_bytes: &str, record_bytes: &str) -> CheckedBatch {
    let line = ["ringmain-bench", "load", "produce", "--target", "h:1"];
    let sizes = ["--batch-bytes", batch_bytes, "--record-bytes", record_bytes];
    let matches = crate::args::command().try_get_matches_from(line.iter().chain(&sizes)).unwrap();
    let (_, load) = matches.subcommand().unwrap();
    batch_of(&load.subcommand().unwrap().1.into())
}

#[test]
fn a_batch_holds_what_fits_and_at_least_one_record() {
    let full = batch("16384", "1024");
    assert_eq!(full.header().records_count.get(), 15);
    assert!(full.bytes().len() <= 16384);
    assert_eq!(batch("1", "1024").header().records_count.get(), 1);
}
