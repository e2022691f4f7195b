//! A TCP connection and the thread that reads from its other end.
//!
//! In: which network. Out: a socket to send to, and how much of it was read at what price. Never: leaves a network
//! namespace or an interface behind: they belong to threads, and go with them.
//!
//! The reader does not sleep. Where waking a thread on another core takes tens of microseconds, as in most virtual
//! machines, every figure would otherwise say how often that happened, and little about how the bytes were sent.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::thread::JoinHandleExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::cores::Cores;
use crate::failure::Failure;

const READ_BYTES: usize = 1 << 20;
/// How long the reader may take to read what is in the socket.
const PATIENCE: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_micros(50);
/// The two ends between namespaces, of which nobody else is a part.
const HERE: Ipv4Addr = Ipv4Addr::new(10, 251, 0, 1);
const THERE: Ipv4Addr = Ipv4Addr::new(10, 251, 0, 2);

/// Which network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Loopback,
    /// A pair of virtual Ethernet devices between two network namespaces.
    Veth,
}

impl Kind {
    pub const ALL: [Kind; 2] = [Kind::Loopback, Kind::Veth];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Loopback => "loopback",
            Kind::Veth => "veth between two network namespaces",
        }
    }
}

/// The connection.
pub struct Link {
    socket: Option<TcpStream>,
    reader: Option<JoinHandle<()>>,
    read: Arc<Counts>,
    sent: Cell<u64>,
}

/// What the reader did so far.
#[derive(Default)]
struct Counts {
    bytes: AtomicU64,
    /// In reads that brought something.
    time_ns: AtomicU64,
}

impl Link {
    /// A connection of this kind, or in words why there can be none here. For a veth pair the calling thread moves to
    /// a network namespace of its own, for good.
    pub fn open(kind: Kind, cores: Option<Cores>) -> Result<Result<Link, String>, Failure> {
        let failed =
            |source| Failure::Network { doing: "connect over", target: kind.name().to_owned(), source };
        if kind == Kind::Veth
            && let Err(error) = new_namespace()
        {
            return Ok(Err(format!("a network namespace needs root ({error})")));
        }
        let (tell, told) = mpsc::channel();
        let (go, wait) = mpsc::channel();
        let read = Arc::new(Counts::default());
        let counter = read.clone();
        let reader = std::thread::Builder::new().name("reader".to_owned()).spawn(move || {
            cores.into_iter().for_each(|cores| cores.pin_answering());
            let outcome = accept(kind, &tell, &wait);
            if let Ok(stream) = outcome {
                read_all(stream, &counter);
            }
        });
        let reader = reader.map_err(failed)?;
        let connected = match kind {
            Kind::Loopback => Ok(()),
            Kind::Veth => veth(&told, &go),
        };
        if let Err(reason) = connected {
            // It waits for a word that does not come any more, and ends.
            drop(go);
            let _ = reader.join();
            return Ok(Err(reason));
        }
        let Ok(Said::Port(port)) = told.recv() else {
            let _ = reader.join();
            return Ok(Err("the other end cannot listen".to_owned()));
        };
        let address = if kind == Kind::Veth { THERE } else { Ipv4Addr::LOCALHOST };
        let socket = TcpStream::connect((address, port)).map_err(failed)?;
        socket.set_nodelay(true).map_err(failed)?;
        Ok(Ok(Link { socket: Some(socket), reader: Some(reader), read, sent: Cell::new(0) }))
    }

    /// A connection whose other end somebody else reads.
    #[cfg(test)]
    pub fn around(socket: TcpStream) -> Link {
        Link { socket: Some(socket), reader: None, read: Arc::default(), sent: Cell::new(0) }
    }

    /// What is sent to.
    pub fn socket(&self) -> &TcpStream {
        let Some(socket) = &self.socket else { unreachable!("connected until dropped") };
        socket
    }

    /// Waits until the other end has read everything sent before and these `bytes`.
    pub fn wait_until_read(&self, bytes: u64) -> Result<(), Failure> {
        self.sent.set(self.sent.get() + bytes);
        let begin = Instant::now();
        while self.read.bytes.load(Ordering::Acquire) < self.sent.get() {
            if begin.elapsed() > PATIENCE {
                let late = io::Error::new(io::ErrorKind::TimedOut, "the reader does not get what was sent");
                return Err(Failure::network("send to", "the reader")(late));
            }
            std::thread::sleep(STEP);
        }
        Ok(())
    }

    /// Sends a few bytes, for nothing but that memory sent before is released: the kernel keeps what was read on one core
    /// for the core that sent it, until something comes in there.
    pub fn let_go(&self) -> Result<(), Failure> {
        let few = [0; 64];
        let mut socket = self.socket();
        socket.write_all(&few).map_err(Failure::network("send to", "the reader"))?;
        self.wait_until_read(few.len() as u64)
    }

    /// Time the reader has spent in reads that brought something.
    pub fn read_time(&self) -> Duration {
        Duration::from_nanos(self.read.time_ns.load(Ordering::Acquire))
    }

    /// Processor time of the reader so far, which does not sleep.
    pub fn reader_time(&self) -> Duration {
        let Some(reader) = &self.reader else { return Duration::ZERO };
        let mut clock = 0;
        // SAFETY: the thread is not joined yet, so its handle is good.
        let found = unsafe { libc::pthread_getcpuclockid(reader.as_pthread_t(), &raw mut clock) };
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        if found == 0 {
            // SAFETY: the kernel fills the one struct it is given.
            unsafe { libc::clock_gettime(clock, &raw mut time) };
        }
        Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // The reader sees the end of the stream.
        self.socket = None;
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// What the reader says while it gets ready.
enum Said {
    /// It is in a namespace of its own, and this is its number.
    Thread(i32),
    Port(u16),
}

fn accept(kind: Kind, tell: &mpsc::Sender<Said>, wait: &mpsc::Receiver<()>) -> io::Result<TcpStream> {
    let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
    let mut address = Ipv4Addr::LOCALHOST;
    if kind == Kind::Veth {
        new_namespace()?;
        // SAFETY: asks for a number.
        let own = unsafe { libc::gettid() };
        tell.send(Said::Thread(own)).map_err(gone)?;
        wait.recv().map_err(|error| io::Error::new(io::ErrorKind::BrokenPipe, error))?;
        ip(&format!("addr add {THERE}/30 dev there"))?;
        ip("link set there up")?;
        address = THERE;
    }
    let listener = TcpListener::bind((address, 0))?;
    tell.send(Said::Port(listener.local_addr()?.port())).map_err(gone)?;
    let stream = listener.accept()?.0;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

fn read_all(mut stream: TcpStream, counts: &Counts) {
    let mut piece = vec![0; READ_BYTES];
    let mut before = Instant::now();
    loop {
        let read = stream.read(&mut piece);
        match read {
            Ok(count @ 1..) => {
                counts.time_ns.fetch_add(before.elapsed().as_nanos() as u64, Ordering::Release);
                counts.bytes.fetch_add(count as u64, Ordering::Release);
            }
            // Others may have the core meanwhile: workers of the ring, say.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
            Ok(0) | Err(_) => return,
        }
        before = Instant::now();
    }
}

/// Makes the pair, one end here and one where the reader is.
fn veth(told: &mpsc::Receiver<Said>, go: &mpsc::Sender<()>) -> Result<(), String> {
    let Ok(Said::Thread(reader)) = told.recv() else {
        return Err("a second network namespace needs root".to_owned());
    };
    for words in [
        format!("link add here type veth peer name there netns {reader}"),
        format!("addr add {HERE}/30 dev here"),
        "link set here up".to_owned(),
    ] {
        ip(&words).map_err(|error| format!("`ip {words}`: {error}"))?;
    }
    go.send(()).map_err(|error| error.to_string())
}

fn ip(words: &str) -> io::Result<()> {
    let output = Command::new("ip").args(words.split(' ')).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

/// Moves the calling thread to a new network namespace.
fn new_namespace() -> io::Result<()> {
    // SAFETY: concerns the network of the calling thread only.
    let moved = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    if moved == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
