//! The loop against a peer that answers every produce, refuses it, stalls or goes away.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::drive::{Lane, Run, drive};
use super::kafka::Producer;
use super::plan::Plan;
use super::tally::Tally;
use super::window::Window;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::wire::kafka;

/// What the peer does besides answering.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Prompt,
    Refusing,
    /// Answers nothing for a second once, after this many answers.
    StallingAfter(u64),
    LeavingAfter(u64),
}

/// Accepts one connection and answers each request; gives how many it answered.
fn peer(manner: Manner) -> (String, JoinHandle<u64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let error: i16 = if manner == Manner::Refusing { 87 } else { 0 };
        let mut answered_count = 0;
        let mut length = [0; 4];
        while stream.read_exact(&mut length).is_ok() {
            let mut request = vec![0; u32::from_be_bytes(length) as usize];
            stream.read_exact(&mut request).unwrap();
            match manner {
                Manner::StallingAfter(count) if count == answered_count => {
                    std::thread::sleep(Duration::from_secs(1));
                }
                Manner::LeavingAfter(count) if count == answered_count => break,
                _ => {}
            }
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

/// Produces to `target` for `time`, three in flight, by a plan if there is a pace.
fn run(target: &str, time: Duration, in_flight: u64, pace: Option<Duration>) -> Result<Tally, Failure> {
    let begin = Instant::now();
    let frame = kafka::produce("t", 0, b"batch");
    let patch = Box::new(|frame: &mut [u8], number| kafka::patch(frame, number as i32));
    let mut window = Window::new(&frame, in_flight, (2, 5), patch);
    pace.into_iter().for_each(|pace| window.follow(Plan::new(begin, pace), begin + time));
    let stream = TcpStream::connect(target).unwrap();
    let lane = Lane::new(stream, target, Box::new(Producer::new(window, "t")), &[]).unwrap();
    let run = Run { begin, warm_up: Duration::ZERO, time };
    drive(vec![lane], run, &Interrupt::listen().unwrap())
}

#[test]
fn every_answer_is_counted_once() {
    let (target, thread) = peer(Manner::Prompt);
    let tally = run(&target, Duration::from_millis(20), 3, None).unwrap();
    assert_eq!(tally.response.count(), thread.join().unwrap());
    assert!(tally.response.count() >= 3);
    assert_eq!(tally.records, 2 * tally.response.count());

    let (target, thread) = peer(Manner::Prompt);
    let tally = run(&target, Duration::from_millis(20), 3, Some(Duration::from_millis(1))).unwrap();
    assert_eq!((tally.response.count(), thread.join().unwrap()), (20, 20));
}

#[test]
fn a_refused_batch_ends_the_run() {
    for pace in [None, Some(Duration::from_millis(1))] {
        let (target, thread) = peer(Manner::Refusing);
        let failure = run(&target, Duration::from_millis(20), 3, pace).err().unwrap();
        assert!(failure.to_string().contains("error code 87"), "{failure}");
        thread.join().unwrap();
    }
}

#[test]
fn a_peer_that_goes_away_ends_the_run() {
    let (target, thread) = peer(Manner::LeavingAfter(5));
    let failure = run(&target, Duration::from_secs(20), 3, None).err().unwrap();
    assert!(failure.to_string().contains(&target), "{failure}");
    assert_eq!(thread.join().unwrap(), 5);
}

#[test]
fn a_stall_of_a_second_shows_in_the_percentiles_of_the_open_loop() {
    let (target, thread) = peer(Manner::StallingAfter(100));
    // 1000 requests in two seconds; the 500 of the stalled second wait half a second each on average.
    let tally = run(&target, Duration::from_secs(2), 1, Some(Duration::from_millis(2))).unwrap();
    assert_eq!((tally.response.count(), thread.join().unwrap()), (1000, 1000));
    let response = |percent| tally.response.percentile_us(percent) / 1e6;
    assert!(response(99.0) > 0.9, "p99 is {} s", response(99.0));
    assert!(response(75.0) > 0.3, "p75 is {} s", response(75.0));
    // From sending, one request in a thousand was slow: this is what hides a stall.
    assert!(tally.service.percentile_us(99.0) / 1e6 < 0.5);
    assert!(tally.service.max_us() / 1e6 > 0.9);
}
