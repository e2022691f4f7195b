//! The least broker under real load, in both modes.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::*;

fn load(target: &str, in_flight: u64) -> Load {
    let mut load = rows(1).remove(0).load;
    load.target = target.to_owned();
    load.connections = 2;
    load.in_flight = in_flight;
    load.warm_up = Duration::ZERO;
    load
}

#[test]
fn both_modes_answer_every_request() {
    let interrupt = Interrupt::listen().unwrap();
    let dir = std::env::temp_dir();
    for dir in [None, Some(dir.as_path())] {
        let running = Running::start("127.0.0.1:0", dir, None, &interrupt).unwrap();
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
    let damaged = crate::wire::kafka::produce("t", 0, b"not a batch");
    for bytes in [b"GET / HTTP/1.1\r\n\r\n".as_slice(), &damaged] {
        let mut stream = TcpStream::connect(running.target()).unwrap();
        stream.write_all(bytes).unwrap();
        assert_eq!(stream.read(&mut [0; 10]).unwrap(), 0, "closed without an answer");
    }
}

#[test]
fn two_threads_share_the_connections_and_their_time_counts() {
    let interrupt = Interrupt::listen().unwrap();
    let running = Running::start_two("127.0.0.1:0", Some(&std::env::temp_dir()), None, &interrupt).unwrap();
    let mut load = load(running.target(), 8);
    load.connections = 8;
    let mut place = Place::prepare(&load).unwrap();
    let before = running.time();
    let tally = place.produce(&load, &interrupt).unwrap();
    assert!(tally.response.count() > 64 && running.time() > before);
}
