//! The same scenarios on both drivers.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Deref;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::driver::{Choice, Driver};
use super::{Descriptor, Done, Fault, Op, Open, Token, buffer};
use crate::limits::BLOCK_BYTES;

const BOTH: [Choice; 2] = [Choice::Uring, Choice::Poll];

/// A driver and what it has said so far.
struct Bench {
    driver: Driver,
    next: u64,
    heard: Vec<(u64, Result<Done, Fault>)>,
}

impl Bench {
    fn new(choice: Choice) -> Bench {
        let (driver, name, why_not) = Driver::open(choice).unwrap();
        assert_eq!(name, if choice == Choice::Uring { "uring" } else { "poll" });
        assert_eq!(why_not, None);
        Bench { driver, next: 0, heard: Vec::new() }
    }

    fn begin(&mut self, op: Op) -> u64 {
        self.next += 1;
        self.driver.submit(&mut vec![(Token { space: 7, index: self.next }, op)]).unwrap();
        self.next
    }

    fn turn(&mut self, timeout: Option<Duration>) {
        let (mut done, before) = (Vec::new(), self.driver.in_flight());
        self.driver.wait(timeout, &mut done).unwrap();
        let ours = done.iter().filter(|completion| completion.token.space == 7).count();
        assert_eq!(self.driver.in_flight(), before - ours);
        self.heard.extend(done.into_iter().map(|completion| {
            let index = if completion.token.space == 7 { completion.token.index } else { 0 };
            (index, completion.result)
        }));
    }

    fn take(&mut self, index: u64) -> Option<Result<Done, Fault>> {
        let at = self.heard.iter().position(|(heard, _)| *heard == index)?;
        Some(self.heard.remove(at).1)
    }

    /// Waits for one operation, whatever else completes meanwhile.
    fn end(&mut self, index: u64) -> Result<Done, Fault> {
        loop {
            match self.take(index) {
                Some(result) => return result,
                None => self.turn(None),
            }
        }
    }

    fn run(&mut self, op: Op) -> Result<Done, Fault> {
        let index = self.begin(op);
        self.end(index)
    }

    fn open(&mut self, path: &Path, how: Open) -> Descriptor {
        match self.run(Op::Open { path: path.to_path_buf(), how }) {
            Ok(Done::Opened(file)) => file,
            other => panic!("{other:?}"),
        }
    }

    fn read(&mut self, file: &Descriptor, position: u64, length: usize) -> BytesMut {
        let buffer = buffer::aligned(length);
        match self.run(Op::Read { file: file.clone(), position, buffer, length }) {
            Ok(Done::Read(bytes)) => bytes,
            other => panic!("{other:?}"),
        }
    }

    fn finished(&mut self, op: Op) {
        let result = self.run(op);
        assert!(matches!(result, Ok(Done::Finished)), "{result:?}");
    }

    /// A connection: our end, and the peer's.
    fn connection(&mut self) -> (Descriptor, TcpStream) {
        let (listener, address) = listener();
        let peer = TcpStream::connect(address).unwrap();
        match self.run(Op::Accept { listener }) {
            Ok(Done::Accepted(ours, _)) => (ours, peer),
            other => panic!("{other:?}"),
        }
    }

    fn receive(&mut self, socket: &Descriptor, buffer: BytesMut) -> BytesMut {
        match self.run(Op::Receive { socket: socket.clone(), buffer }) {
            Ok(Done::Received(buffer)) => buffer,
            other => panic!("{other:?}"),
        }
    }
}

fn errno<T: std::fmt::Debug>(result: Result<T, Fault>) -> i32 {
    result.unwrap_err().errno
}

fn listener() -> (Descriptor, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (Descriptor::new(OwnedFd::from(listener)), address)
}

/// A directory of its own for each test and driver, empty; removed with all that is in it.
struct Directory(PathBuf);

fn directory(test: &str, choice: Choice) -> Directory {
    let name = format!("ringmain-io-{test}-{choice:?}-{}", std::process::id());
    let path = std::env::temp_dir().join(name);
    std::fs::create_dir(&path).unwrap();
    Directory(path)
}

impl Deref for Directory {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let removed = std::fs::remove_dir_all(&self.0);
        assert!(removed.is_ok() || std::thread::panicking(), "{removed:?}");
    }
}

/// A buffer that holds `front` and has exactly so much spare capacity.
fn with_room_for(front: &[u8], spare: usize) -> BytesMut {
    let mut buffer = BytesMut::with_capacity(front.len() + spare);
    buffer.extend_from_slice(front);
    assert_eq!(buffer.capacity(), front.len() + spare);
    buffer
}

fn blocks(byte: u8, count: usize) -> Bytes {
    let mut buffer = buffer::aligned(count * BLOCK_BYTES);
    buffer.resize(count * BLOCK_BYTES, byte);
    buffer.freeze()
}

#[test]
fn files_keep_what_is_written() {
    for choice in BOTH {
        let mut bench = Bench::new(choice);
        let root = directory("files", choice);
        let path = root.join("data");
        let missing = bench.run(Op::Open { path: path.clone(), how: Open::Read });
        assert_eq!(errno(missing), libc::ENOENT);

        let file = bench.open(&path, Open::ReadWrite);
        for (position, data, durable) in [(0, blocks(1, 3), false), (3, blocks(2, 2), true)] {
            let position = position * BLOCK_BYTES as u64;
            let result = bench.run(Op::Write { file: file.clone(), position, data, durable });
            assert!(matches!(result, Ok(Done::Written)), "{result:?}");
        }
        assert!(matches!(bench.run(Op::Sync { file: file.clone() }), Ok(Done::Synced)));
        let all: Vec<u8> = [blocks(1, 3), blocks(2, 2)].concat();
        assert_eq!(bench.read(&file, 0, 5 * BLOCK_BYTES), all);
        // Across the end, at the end and behind it.
        let last = 4 * BLOCK_BYTES as u64;
        assert_eq!(bench.read(&file, last, 4 * BLOCK_BYTES), blocks(2, 1));
        assert!(bench.read(&file, last + BLOCK_BYTES as u64, BLOCK_BYTES).is_empty());
        assert!(bench.read(&file, 100 * BLOCK_BYTES as u64, BLOCK_BYTES).is_empty());
        assert_eq!(std::fs::read(&path).unwrap(), all);

        let again = bench.open(&path, Open::ReadWrite);
        assert_eq!(bench.read(&again, 0, BLOCK_BYTES), blocks(1, 1));
        let emptied = bench.open(&path, Open::Replace);
        assert!(bench.read(&emptied, 0, BLOCK_BYTES).is_empty());
    }
}

#[test]
fn a_read_at_the_end_of_a_file_cut_inside_a_block_ends_there() {
    for choice in BOTH {
        let mut bench = Bench::new(choice);
        let root = directory("cut", choice);
        let path = root.join("data");
        std::fs::write(&path, vec![5; BLOCK_BYTES + 100]).unwrap();
        let file = bench.open(&path, Open::Read);
        assert_eq!(bench.read(&file, 0, 4 * BLOCK_BYTES), vec![5; BLOCK_BYTES + 100]);
        assert_eq!(bench.read(&file, BLOCK_BYTES as u64, BLOCK_BYTES), vec![5; 100]);
    }
}

#[test]
fn many_file_operations_at_once_all_complete() {
    const FILES: u64 = 3000;
    for choice in BOTH {
        let mut bench = Bench::new(choice);
        let root = directory("many", choice);
        let path = root.join("data");
        let file = bench.open(&path, Open::ReadWrite);
        let mut wanted: Vec<(Token, Op)> = (0..FILES)
            .map(|index| {
                let data = blocks(index as u8, 1);
                let position = index * BLOCK_BYTES as u64;
                let write = Op::Write { file: file.clone(), position, data, durable: false };
                (Token { space: 7, index }, write)
            })
            .collect();
        bench.driver.submit(&mut wanted).unwrap();
        assert!(wanted.is_empty());
        assert_eq!(bench.driver.in_flight(), FILES as usize);
        let mut done = Vec::new();
        while bench.driver.in_flight() > 0 {
            bench.driver.wait(None, &mut done).unwrap();
        }
        let mut indexes: Vec<u64> = done.iter().map(|completion| completion.token.index).collect();
        indexes.sort();
        assert!(indexes.into_iter().eq(0..FILES));
        assert!(done.iter().all(|completion| completion.result.is_ok()));
        let bytes = std::fs::read(&path).unwrap();
        assert!(
            bytes.chunks(BLOCK_BYTES).zip(0..FILES).all(|(block, index)| block == blocks(index as u8, 1))
        );
    }
}

#[test]
fn a_ring_is_dropped_while_a_sync_of_all_is_under_way() {
    for choice in BOTH {
        let mut bench = Bench::new(choice);
        let file = bench.open(&directory("dropped", choice), Open::Directory);
        let token = Token { space: 0, index: 1 };
        bench.driver.submit(&mut vec![(token, Op::SyncAll { file })]).unwrap();
        drop(bench);
    }
}

#[test]
fn directories_and_names_change_and_repeats_are_tolerated() {
    for choice in BOTH {
        let mut bench = Bench::new(choice);
        let root = directory("names", choice);
        let (inner, old, new) = (root.join("inner"), root.join("inner/old"), root.join("inner/new"));
        bench.finished(Op::MakeDirectory { path: inner.clone() });
        bench.finished(Op::MakeDirectory { path: inner.clone() });
        let orphan = bench.run(Op::MakeDirectory { path: root.join("no/parent") });
        assert_eq!(errno(orphan), libc::ENOENT);

        drop(bench.open(&old, Open::Replace));
        bench.finished(Op::Rename { from: old.clone(), to: new.clone() });
        assert!(new.exists() && !old.exists());
        let gone = bench.run(Op::Rename { from: old.clone(), to: new.clone() });
        assert_eq!(errno(gone), libc::ENOENT);
        let entries = bench.open(&inner, Open::Directory);
        assert!(matches!(bench.run(Op::Sync { file: entries.clone() }), Ok(Done::Synced)));
        assert!(matches!(bench.run(Op::SyncAll { file: entries }), Ok(Done::Synced)));
        assert_eq!(errno(bench.run(Op::Open { path: new.clone(), how: Open::Directory })), libc::ENOTDIR);

        assert_eq!(errno(bench.run(Op::RemoveDirectory { path: inner.clone() })), libc::ENOTEMPTY);
        bench.finished(Op::Remove { path: new.clone() });
        bench.finished(Op::Remove { path: new.clone() });
        bench.finished(Op::RemoveDirectory { path: inner.clone() });
        bench.finished(Op::RemoveDirectory { path: inner.clone() });
        assert!(!inner.exists());
    }
}

#[test]
fn made_files_and_directories_are_not_for_everybody() {
    use std::os::unix::fs::PermissionsExt;
    for choice in BOTH {
        let mut bench = Bench::new(choice);
        let root = directory("modes", choice);
        bench.finished(Op::MakeDirectory { path: root.join("inner") });
        drop(bench.open(&root.join("inner/data"), Open::ReadWrite));
        for name in ["inner", "inner/data"] {
            let mode = std::fs::metadata(root.join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o027, 0, "{choice:?} {name} {mode:o}");
        }
    }
}

#[test]
fn a_full_device_and_a_wrong_descriptor_are_faults() {
    for choice in BOTH {
        let mut bench = Bench::new(choice);
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let full = Descriptor::new(OwnedFd::from(full));
        let write = |file: &Descriptor, durable: bool| Op::Write {
            file: file.clone(),
            position: 0,
            data: blocks(1, 1),
            durable,
        };
        // The device knows of no write that is durable at once.
        assert_eq!(errno(bench.run(write(&full, false))), libc::ENOSPC);

        let root = directory("faults", choice);
        let path = root.join("data");
        drop(bench.open(&path, Open::Replace));
        let read_only = bench.open(&path, Open::Read);
        for durable in [false, true] {
            assert_eq!(errno(bench.run(write(&read_only, durable))), libc::EBADF);
        }
        std::fs::write(&path, blocks(1, 2)).unwrap();
        let crooked = Op::Read { file: read_only, position: 1, buffer: buffer::aligned(1), length: 1 };
        assert_eq!(errno(bench.run(crooked)), libc::EINVAL);
    }
}

#[test]
fn reserved_blocks_are_there_and_zero_until_they_are_written() {
    use std::os::unix::fs::MetadataExt;
    for choice in BOTH {
        let mut bench = Bench::new(choice);
        let root = directory("reserved", choice);
        let path = root.join("data");
        let file = bench.open(&path, Open::Replace);
        let length = 8 * BLOCK_BYTES;
        bench.finished(Op::Reserve { file: file.clone(), length: length as u64 });
        let found = std::fs::metadata(&path).unwrap();
        assert_eq!((found.len(), found.blocks() * 512), (length as u64, length as u64));
        let write = Op::Write { file, position: BLOCK_BYTES as u64, data: blocks(7, 1), durable: true };
        assert!(matches!(bench.run(write), Ok(Done::Written)));
        let bytes = std::fs::read(&path).unwrap();
        let written = BLOCK_BYTES..2 * BLOCK_BYTES;
        assert!(
            bytes.iter().enumerate().all(|(at, byte)| *byte == if written.contains(&at) { 7 } else { 0 })
        );
        assert_eq!(bytes.len(), length);

        let read_only = bench.open(&path, Open::Read);
        assert_eq!(errno(bench.run(Op::Reserve { file: read_only, length: 1 })), libc::EBADF);
    }
}

#[test]
fn what_is_done_at_once_is_in_flight_until_it_is_handed_out() {
    for choice in BOTH {
        let mut bench = Bench::new(choice);
        let root = directory("at-once", choice);
        let file = bench.open(&root.join("data"), Open::ReadWrite);
        let cut = bench.begin(Op::Truncate { file, length: BLOCK_BYTES as u64 });
        let room = bench.begin(Op::FreeSpace { path: root.to_path_buf() });
        assert_eq!(bench.driver.in_flight(), 2);
        while bench.driver.in_flight() > 0 {
            bench.turn(None);
        }
        assert!(matches!(bench.take(cut), Some(Ok(Done::Finished))));
        assert!(matches!(bench.take(room), Some(Ok(Done::FreeSpace(_)))));
    }
}

#[test]
fn bytes_go_both_ways_over_a_connection() {
    for choice in BOTH {
        let mut bench = Bench::new(choice);
        let (listener, address) = listener();
        let waiting = bench.begin(Op::Accept { listener: listener.clone() });
        bench.turn(Some(Duration::ZERO));
        assert!(bench.take(waiting).is_none(), "nobody has connected");
        let mut peer = TcpStream::connect(address).unwrap();
        let Ok(Done::Accepted(ours, from)) = bench.end(waiting) else { panic!() };
        assert_eq!(from, peer.local_addr().unwrap());
        let copy = TcpStream::from(OwnedFd::from(ours.kernel().try_clone().unwrap()));
        assert!(copy.nodelay().unwrap());

        let waiting = bench.begin(Op::Receive { socket: ours.clone(), buffer: with_room_for(b"kept ", 3) });
        bench.turn(Some(Duration::ZERO));
        assert!(bench.take(waiting).is_none(), "nothing was sent");
        assert_eq!(bench.driver.in_flight(), 1);
        // What the first receive has no room for is there for the next.
        peer.write_all(b"hello").unwrap();
        let Ok(Done::Received(mut buffer)) = bench.end(waiting) else { panic!() };
        assert_eq!(buffer, "kept hel");
        buffer.reserve(10);
        assert_eq!(bench.receive(&ours, buffer), "kept hello");

        let data = [&b"a"[..], b"", b"bc"].map(Bytes::from_static).to_vec();
        let sent = bench.run(Op::Send { socket: ours.clone(), data });
        assert!(matches!(sent, Ok(Done::Sent(3))), "{sent:?}");
        let mut got = [0; 3];
        peer.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"abc");

        bench.finished(Op::Shutdown { socket: ours });
        assert_eq!(peer.read(&mut got).unwrap(), 0);
    }
}

#[test]
fn a_send_larger_than_the_buffers_goes_in_parts_as_the_peer_reads() {
    const BYTES: usize = 24 << 20;
    for choice in BOTH {
        let mut bench = Bench::new(choice);
        let (ours, mut peer) = bench.connection();
        let mut left: Bytes = (0..BYTES / 4).flat_map(|index| (index as u32).to_le_bytes()).collect();
        let expected = left.clone();
        let mut parts = 0;
        let mut pending = Some(bench.begin(Op::Send { socket: ours.clone(), data: vec![left.clone()] }));
        // Nobody reads yet: it comes to a stand with a send that is not done.
        while let Some(index) = pending {
            bench.turn(Some(Duration::from_millis(50)));
            let Some(result) = bench.take(index) else { break };
            let Ok(Done::Sent(count)) = result else { panic!("{result:?}") };
            let _ = left.split_to(count);
            parts += 1;
            pending = Some(bench.begin(Op::Send { socket: ours.clone(), data: vec![left.clone()] }));
        }
        assert!(left.len() > 1 << 20, "the buffers took nearly everything");
        let reader = std::thread::spawn(move || {
            let mut got = vec![0; BYTES];
            peer.read_exact(&mut got).unwrap();
            (got, peer)
        });
        while let Some(index) = pending.take() {
            let Ok(Done::Sent(count)) = bench.end(index) else { panic!() };
            let _ = left.split_to(count);
            parts += 1;
            if !left.is_empty() {
                pending = Some(bench.begin(Op::Send { socket: ours.clone(), data: vec![left.clone()] }));
            }
        }
        assert!(parts > 1, "{choice:?}: {parts} parts");
        assert!(reader.join().unwrap().0 == expected);
    }
}

#[test]
fn what_waits_on_a_socket_hears_of_its_end() {
    for choice in BOTH {
        let mut bench = Bench::new(choice);
        // The peer closes.
        let (ours, peer) = bench.connection();
        let waiting = bench.begin(Op::Receive { socket: ours.clone(), buffer: BytesMut::with_capacity(64) });
        bench.turn(Some(Duration::ZERO));
        drop(peer);
        let Ok(Done::Received(buffer)) = bench.end(waiting) else { panic!() };
        assert!(buffer.is_empty());
        assert!(bench.receive(&ours, buffer).is_empty(), "and again");

        // The peer goes without having read what was sent to it.
        let (ours, peer) = bench.connection();
        assert!(
            bench.run(Op::Send { socket: ours.clone(), data: vec![Bytes::from_static(b"unread")] }).is_ok()
        );
        peer.peek(&mut [0; 6]).unwrap();
        let waiting = bench.begin(Op::Receive { socket: ours.clone(), buffer: BytesMut::with_capacity(64) });
        bench.turn(Some(Duration::ZERO));
        drop(peer);
        assert_eq!(errno(bench.end(waiting)), libc::ECONNRESET);
        let late = bench.run(Op::Send { socket: ours, data: vec![Bytes::from_static(b"late")] });
        assert_eq!(errno(late), libc::EPIPE);

        // We end it ourselves, with a receive and a send waiting.
        let (ours, _peer) = bench.connection();
        let receive = bench.begin(Op::Receive { socket: ours.clone(), buffer: BytesMut::with_capacity(64) });
        let much = Bytes::from(vec![0; 32 << 20]);
        let mut send = bench.begin(Op::Send { socket: ours.clone(), data: vec![much.clone()] });
        loop {
            bench.turn(Some(Duration::from_millis(50)));
            match bench.take(send) {
                Some(sent) => assert!(sent.is_ok()),
                None => break,
            }
            send = bench.begin(Op::Send { socket: ours.clone(), data: vec![much.clone()] });
        }
        bench.finished(Op::Shutdown { socket: ours });
        let Ok(Done::Received(buffer)) = bench.end(receive) else { panic!() };
        assert!(buffer.is_empty());
        assert_eq!(errno(bench.end(send)), libc::EPIPE);
    }
}

#[test]
fn a_shut_listener_ends_its_accept() {
    for choice in BOTH {
        let mut bench = Bench::new(choice);
        let (listener, _) = listener();
        let waiting = bench.begin(Op::Accept { listener: listener.clone() });
        bench.turn(Some(Duration::ZERO));
        bench.finished(Op::Shutdown { socket: listener });
        assert_eq!(errno(bench.end(waiting)), libc::EINVAL);
    }
}

#[test]
fn operations_of_one_socket_and_direction_keep_their_order() {
    for choice in BOTH {
        let mut bench = Bench::new(choice);
        let (ours, mut peer) = bench.connection();
        let mut wanted = Vec::new();
        for index in 1..=5_u8 {
            let data = vec![Bytes::from(vec![index])];
            wanted.push((Token { space: 7, index: index.into() }, Op::Send { socket: ours.clone(), data }));
        }
        bench.driver.submit(&mut wanted).unwrap();
        (1..=5).for_each(|index| assert!(bench.end(index).is_ok()));
        let mut got = [0; 5];
        peer.read_exact(&mut got).unwrap();
        assert_eq!(got, [1, 2, 3, 4, 5]);
    }
}

#[test]
fn poll_lets_no_receive_overtake_another() {
    let mut bench = Bench::new(Choice::Poll);
    let (ours, mut peer) = bench.connection();
    let [first, second] = [(); 2]
        .map(|()| bench.begin(Op::Receive { socket: ours.clone(), buffer: BytesMut::with_capacity(1) }));
    bench.turn(Some(Duration::ZERO));
    peer.write_all(b"a").unwrap();
    // The byte is there, and no turn has seen the edge: the third could take it before the first.
    let third = bench.begin(Op::Receive { socket: ours, buffer: BytesMut::with_capacity(1) });
    for (index, byte, next) in [(first, b"a", &b"bc"[..]), (second, b"b", b""), (third, b"c", b"")] {
        let Ok(Done::Received(buffer)) = bench.end(index) else { panic!() };
        assert_eq!(buffer, byte[..]);
        peer.write_all(next).unwrap();
    }
}

#[test]
fn a_descriptor_number_that_comes_back_is_another_socket() {
    for choice in BOTH {
        let mut bench = Bench::new(choice);
        for round in 0..20_u8 {
            let (ours, mut peer) = bench.connection();
            let buffer = BytesMut::with_capacity(64);
            let waiting = bench.begin(Op::Receive { socket: ours.clone(), buffer });
            bench.turn(Some(Duration::ZERO));
            peer.write_all(&[round]).unwrap();
            let Ok(Done::Received(buffer)) = bench.end(waiting) else { panic!() };
            assert_eq!(buffer[..], [round]);
        }
        assert_eq!(bench.driver.in_flight(), 0);
    }
}

#[test]
fn another_thread_wakes_a_wait_without_limit() {
    for choice in BOTH {
        let mut bench = Bench::new(choice);
        let ring = bench.driver.descriptor();
        let waker = std::thread::spawn(move || {
            let mut other = Bench::new(choice);
            for _ in 0..2 {
                other.finished(Op::Wake { ring });
            }
        });
        bench.turn(None);
        waker.join().unwrap();
        bench.turn(Some(Duration::ZERO));
        assert!(matches!(bench.end(0), Ok(Done::Woken)));
        // Wakes may be told together, but a wait after the last one finds no more of them.
        bench.heard.clear();
        bench.turn(Some(Duration::ZERO));
        assert!(bench.heard.is_empty());
        let nobody = Descriptor::new(OwnedFd::from(std::fs::File::open("/dev/null").unwrap()));
        assert!(bench.run(Op::Wake { ring: nobody.as_raw_fd() }).is_err());
    }
}

#[test]
fn a_wait_ends_with_its_time() {
    for choice in BOTH {
        let test = move || {
            let mut bench = Bench::new(choice);
            let (listener, _) = listener();
            bench.begin(Op::Accept { listener });
            for limit in [Duration::ZERO, Duration::from_micros(300), Duration::from_millis(20)] {
                let begun = Instant::now();
                bench.turn(Some(limit));
                let took = begun.elapsed();
                assert!(took >= limit, "{choice:?} {limit:?} {took:?}");
                assert!(bench.heard.is_empty());
            }
        };
        // On a thread of its own: the end of an earlier ring interrupts the waits of the thread that had it.
        std::thread::spawn(test).join().unwrap();
    }
}

#[test]
fn a_dropped_driver_lets_go_of_its_sockets() {
    for choice in BOTH {
        let mut bench = Bench::new(choice);
        let (ours, mut peer) = bench.connection();
        let (listener, _) = listener();
        let root = directory("dropped", choice);
        let path = root.join("data");
        let file = bench.open(&path, Open::ReadWrite);
        bench.begin(Op::Accept { listener });
        bench.begin(Op::Receive { socket: ours, buffer: BytesMut::with_capacity(1 << 20) });
        bench.begin(Op::Write { file, position: 0, data: blocks(1, 256), durable: true });
        bench.driver.wait(Some(Duration::ZERO), &mut Vec::new()).unwrap();
        drop(bench);
        assert_eq!(peer.read(&mut [0; 1]).unwrap(), 0, "the connection is closed");
    }
}

#[test]
fn auto_opens_something_that_works() {
    let (driver, name, why_not) = Driver::open(Choice::Auto).unwrap();
    assert_eq!(name == "uring", why_not.is_none());
    assert_eq!(name == "uring", matches!(driver, Driver::Uring(_)));
}
