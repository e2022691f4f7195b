//! Every way moves every byte in order, cold is cold, and ratios are made within rounds.

use std::io::Read;
use std::net::{TcpListener, TcpStream};

use super::*;
use crate::raw::file::noise;

const TIME: Duration = Duration::from_millis(5);

fn pages() -> Pages {
    Pages::create(&std::env::temp_dir(), 2 << 20, &Interrupt::listen().unwrap()).unwrap()
}

#[test]
fn every_way_moves_bytes_and_the_reader_gets_them() {
    let interrupt = Interrupt::listen().unwrap();
    let pages = pages();
    let link = Link::open(Kind::Loopback, None).unwrap().unwrap();
    for path in &PATHS {
        for size in [4 << 10, 256 << 10] {
            let turn = turn(&link, path, size, &pages, TIME, &interrupt).unwrap().unwrap();
            assert!(turn.moved.bytes >= size as u64, "{} {size}", path.name);
            let zero_copy = path.name.contains("_ZC");
            assert_eq!(turn.moved.notifications > 0, zero_copy, "{}", path.name);
            assert!(turn.moved.copied <= turn.moved.notifications);
        }
    }
}

/// What a way sends in a short time, up to `bytes`, in the order in which it arrives.
fn sent_by(path: &Path, size: usize, pages: &Pages, bytes: u64) -> Vec<u8> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut other = listener.accept().unwrap().0;
    let reader = std::thread::spawn(move || {
        let mut arrived = Vec::new();
        other.by_ref().take(bytes).read_to_end(&mut arrived).unwrap();
        while other.read(&mut [0; 1 << 16]).is_ok_and(|count| count > 0) {}
        arrived
    });
    let link = Link::around(stream);
    let outcome = Prepared::new(path, size, &link, pages)
        .and_then(|mut prepared| prepared.run(Duration::from_millis(50), &Interrupt::listen().unwrap()));
    drop(link);
    let arrived = reader.join().unwrap();
    assert_eq!(arrived.len() as u64, outcome.unwrap().bytes.min(bytes), "{}", path.name);
    arrived
}

#[test]
fn what_arrives_is_what_the_file_holds() {
    let pages = pages();
    // The file was written from this memory, piece after piece.
    let written = noise(1 << 20);
    for path in PATHS.iter().filter(|path| path.call != Call::Nothing && path.source != Source::Memory) {
        let arrived = sent_by(path, 16 << 10, &pages, 1 << 20);
        assert!(arrived.len() >= 16 << 10 && arrived == written[..arrived.len()], "{}", path.name);
    }
}

#[test]
fn pages_are_in_memory_or_not_as_asked() {
    let pages = pages();
    for _ in 0..2 {
        pages.warm(&Interrupt::listen().unwrap()).unwrap();
        assert_eq!(pages.resident().unwrap(), (2 << 20) / 4096);
        pages.cool(|| Ok(())).unwrap();
        assert_eq!(pages.resident().unwrap(), 0);
    }
}

#[test]
fn ratios_are_to_the_base_of_the_same_round() {
    let turn = |bytes| {
        let moved = Moved { bytes, ..Moved::default() };
        let (elapsed, none) = (Duration::from_secs(1), Duration::ZERO);
        Some(Turn { moved, elapsed, sender_time: elapsed, workers_time: none, receiver_time: none })
    };
    let (plain, raw) = (Path::place_of(path::Base::PlainSend), Path::place_of(path::Base::RawRead));
    let round = |factor: u64| -> Vec<Vec<Option<Turn>>> {
        let bytes = |place: usize| if place == plain { 1000 } else { 500 };
        let turns = (0..PATHS.len()).map(|place| turn(factor * bytes(place)));
        vec![turns.collect(); SIZES.len()]
    };
    let mut rounds = vec![round(1), round(100)];
    rounds[1][0][2] = None;
    let figures = Figures::of("nowhere", &rounds).json();
    let line = |place: usize| figures["lines"][place].clone();
    assert_eq!((plain, raw), (0, 6));
    assert_eq!(line(1)["ratio"], serde_json::json!([0.5, 0.5]));
    assert_eq!(line(2)["ratio"], serde_json::json!([0.5]));
    assert_eq!(line(8)["ratio"], serde_json::json!([1.0, 1.0]));
    let text = Figures::of("nowhere", &rounds).text();
    assert_eq!(text.lines().filter(|line| line.contains("memory, SEND_ZC,")).count(), SIZES.len(), "{text}");
}
