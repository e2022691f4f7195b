//! The two minimal brokers, each spoken to over a socket, stopped, and asked again for what it had said was durable.
//!
//! In: `examples/broker_tokio.rs`, `examples/broker_uring.rs`. Out: whether their answers are right. Never: a port of
//! a fixed number.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use ringmain_engine::embed::{Config, Engine};

#[path = "../examples/broker_tokio.rs"]
mod broker_tokio;
#[path = "../examples/broker_uring.rs"]
mod broker_uring;

fn open(directory: &Path) -> Engine {
    Engine::open(directory, Config { journal_file_bytes: 4 << 20, ..Config::default() }).unwrap()
}

/// Says each line and compares the answer.
fn converse(address: SocketAddr, lines: &[(&str, &str)]) {
    let mut stream = TcpStream::connect(address).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap()).lines();
    for (line, expected) in lines {
        stream.write_all(format!("{line}\n").as_bytes()).unwrap();
        assert_eq!(answers.next().unwrap().unwrap(), *expected, "{line}");
    }
}

/// Runs `serve` on a thread until the conversation is over, twice over the same directory.
fn twice(name: &str, serve: fn(Engine, mpsc::Sender<SocketAddr>, tokio::sync::oneshot::Receiver<()>)) {
    let directory: PathBuf = std::env::temp_dir().join(format!("ringmain-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&directory);
    let first = [
        ("PUT 7 hello", "OK 0"),
        ("PUT 7 world", "OK 1"),
        ("PUT 8 another log", "OK 0"),
        ("GET 7 0", "OK hello"),
        ("GET 7 2", "NO there is no such record yet"),
        ("GET 7 9", "NO the log holds offsets 0 to 2"),
        ("SHOUT 7", "NO PUT, GET or END"),
    ];
    let second =
        [("END 7", "OK 2"), ("GET 7 1", "OK world"), ("GET 8 0", "OK another log"), ("PUT 7 !", "OK 2")];
    for lines in [&first[..], &second[..]] {
        let engine = open(&directory);
        let (sender, receiver) = mpsc::channel();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let served = engine.clone();
        let thread = std::thread::spawn(move || serve(served, sender, stopped));
        converse(receiver.recv().unwrap(), lines);
        stop.send(()).unwrap();
        thread.join().unwrap();
        engine.close().unwrap();
    }
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn the_broker_on_tokio_answers_and_remembers() {
    twice("broker-tokio", |engine, sender, stopped| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            sender.send(listener.local_addr().unwrap()).unwrap();
            tokio::select! {
                ended = broker_tokio::serve(engine, listener) => ended.unwrap(),
                _ = stopped => {}
            }
        });
    });
}

#[test]
fn the_broker_on_tokio_uring_answers_and_remembers() {
    twice("broker-uring", |engine, sender, stopped| {
        tokio_uring::start(async {
            let listener = tokio_uring::net::TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            sender.send(listener.local_addr().unwrap()).unwrap();
            tokio::select! {
                ended = broker_uring::serve(engine, listener) => ended.unwrap(),
                _ = stopped => {}
            }
        });
    });
}
