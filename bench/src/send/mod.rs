//! How bytes are best sent: every way from memory, from a cold file and from the page cache into a TCP socket.
//!
//! In: a directory on the device. Out: MB/s, processor time of everybody who takes part, ratios to the plainest way in
//! the same round. Never: a page that was warm counted as cold; a ratio of rounds of different minutes.
//!
//! * [`path`] is the table of ways; [`flow`] drives those through a ring and memory, [`cache`] those through the page
//!   cache.
//! * [`link`] is the socket and who reads from it, [`file`] the file, [`figures`] what is shown.

mod cache;
mod figures;
mod file;
mod flow;
mod link;
mod path;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::AsFd;
use std::path::Path as FilePath;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::args::SendArgs;
use crate::cores::Cores;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::machine::Machine;
use crate::output;
use crate::raw::device::thread_time;
use figures::{Figures, Turn};
pub use file::Pages;
use flow::Flow;
use link::{Kind, Link};
use path::{Call, PATHS, Path, Source};

/// Bytes of one piece: what a small answer has, up to what a consumer that catches up asks for.
const SIZES: [usize; 5] = [4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20];

/// How much is measured.
#[derive(Clone, Copy)]
struct Extent {
    file_bytes: u64,
    rounds: usize,
    turn: Duration,
}

const QUICK: Extent = Extent { file_bytes: 128 << 20, rounds: 3, turn: Duration::from_millis(50) };
const FULL: Extent = Extent { file_bytes: 256 << 20, rounds: 5, turn: Duration::from_millis(120) };

/// What a way moved, and what its notifications said.
#[derive(Clone, Copy, Default)]
struct Moved {
    bytes: u64,
    notifications: u64,
    copied: u64,
}

/// Measures every way over every link.
pub fn run(args: &SendArgs, interrupt: &Interrupt) -> Result<(), Failure> {
    output::check(args.json.as_deref())?;
    let machine = Machine::at(&args.dir)?;
    output::print(&machine.lines())?;
    let cores = Cores::choose();
    if let Some(cores) = cores {
        output::print(&format!("cores        {}\n", cores.line()))?;
    }
    let extent = if args.quick { QUICK } else { FULL };
    let mut all = Vec::new();
    for kind in Kind::ALL {
        // A thread of its own, because it may move to another network namespace, and nothing leads back.
        let measured = std::thread::scope(|scope| {
            let measuring = scope.spawn(|| over(kind, &args.dir, extent, cores, interrupt));
            measuring.join().unwrap_or(Err(Failure::Interrupted))
        });
        match measured? {
            Measured::LeftOut(reason) => {
                output::print(&format!("\n{}: left out: {reason}\n", kind.name()))?;
            }
            Measured::Rounds(rounds) => {
                let figures = Figures::of(kind.name(), &rounds);
                output::print(&figures.text())?;
                all.push(figures.json());
            }
        }
    }
    output::save(args.json.as_deref(), &machine, "send", Value::Array(all))
}

/// What became of one link.
enum Measured {
    LeftOut(String),
    /// By round; each holds, by size, the turns of all paths. None: the kernel does not allow it.
    Rounds(Vec<Vec<Vec<Option<Turn>>>>),
}

fn over(
    kind: Kind,
    dir: &FilePath,
    extent: Extent,
    cores: Option<Cores>,
    interrupt: &Interrupt,
) -> Result<Measured, Failure> {
    let link = match Link::open(kind, cores)? {
        Ok(link) => link,
        Err(reason) => return Ok(Measured::LeftOut(reason)),
    };
    cores.into_iter().for_each(|cores| cores.pin_asking());
    let pages = Pages::create(dir, extent.file_bytes, interrupt)?;
    let mut rounds = Vec::new();
    for _ in 0..extent.rounds {
        let mut sizes = Vec::new();
        for size in SIZES {
            let mut turns = Vec::new();
            for path in &PATHS {
                interrupt.check()?;
                turns.push(turn(&link, path, size, &pages, extent.turn, interrupt)?);
            }
            sizes.push(turns);
        }
        rounds.push(sizes);
    }
    interrupt.check()?;
    Ok(Measured::Rounds(rounds))
}

/// Bytes a second of one thread that reads pieces directly, four at a time, and sends them over loopback: the broker's way,
/// without a look at what is sent. Its reader is there for so long only, as it does not sleep.
pub fn read_and_sent(
    pages: &Pages,
    size: usize,
    cores: Option<Cores>,
    time: Duration,
    interrupt: &Interrupt,
) -> Result<f64, Failure> {
    let broken =
        |what: String| Failure::network("connect over", Kind::Loopback.name())(io::Error::other(what));
    let link = Link::open(Kind::Loopback, cores)?.map_err(broken)?;
    let path = Path {
        name: "direct read x 4, SENDMSG",
        source: Source::Device { depth: 4 },
        call: Call::SendMessage,
    };
    let turn = turn(&link, &path, size, pages, time, interrupt)?;
    Ok(turn.map_or(0.0, |turn| turn.moved.bytes as f64 / turn.elapsed.as_secs_f64()))
}

/// One way, for so long.
fn turn(
    link: &Link,
    path: &Path,
    size: usize,
    pages: &Pages,
    time: Duration,
    interrupt: &Interrupt,
) -> Result<Option<Turn>, Failure> {
    let failed = |source| Failure::Network { doing: "measure", target: path.name.to_owned(), source };
    match path.source {
        Source::Memory | Source::Device { .. } => {}
        Source::Cache { warm: true } => pages.warm(interrupt)?,
        Source::Cache { warm: false } | Source::CacheAhead => pages.cool(|| link.let_go())?,
    }
    let prepared = Prepared::new(path, size, link, pages);
    let Some(mut prepared) = allowed(path, prepared).map_err(failed)? else { return Ok(None) };
    let (read, reader, process, own) = (link.read_time(), link.reader_time(), process_time(), thread_time());
    let begin = Instant::now();
    let moved = prepared.run(time, interrupt);
    let sender_time = thread_time() - own;
    let Some(moved) = allowed(path, moved).map_err(failed)? else { return Ok(None) };
    if path.call != Call::Nothing {
        link.wait_until_read(moved.bytes)?;
    }
    let elapsed = begin.elapsed();
    // The threads of this process are this one, the reader, and those the kernel made for the ring.
    let (process, own, reader) = (process_time() - process, thread_time() - own, link.reader_time() - reader);
    let workers_time = process.saturating_sub(own + reader);
    let receiver_time = link.read_time() - read;
    Ok(Some(Turn { moved, elapsed, sender_time, workers_time, receiver_time }))
}

/// A way that is ready to run: everything that takes time beforehand is done.
enum Prepared<'a> {
    Flow(Box<Flow<'a>>),
    SendFile { link: &'a Link, pages: &'a Pages, ahead: bool, warm: bool, size: usize },
    Splice(Box<cache::Splice<'a>>, bool),
}

impl<'a> Prepared<'a> {
    fn new(path: &Path, size: usize, link: &'a Link, pages: &'a Pages) -> io::Result<Prepared<'a>> {
        let warm = matches!(path.source, Source::Cache { warm: true });
        match path.call {
            Call::SendFile => {
                let ahead = path.source == Source::CacheAhead;
                Ok(Prepared::SendFile { link, pages, ahead, warm, size })
            }
            Call::Splice => Ok(Prepared::Splice(Box::new(cache::Splice::new(link, pages, size)?), warm)),
            _ => Ok(Prepared::Flow(Box::new(Flow::new(path, size, link, pages)?))),
        }
    }

    fn run(&mut self, time: Duration, interrupt: &Interrupt) -> io::Result<Moved> {
        match self {
            Prepared::Flow(flow) => flow.run(time, interrupt),
            Prepared::SendFile { link, pages, ahead, warm, size } => {
                let file = if *ahead { pages.ahead() } else { pages.buffered() };
                let place = cache::Place { file: file.as_fd(), bytes: pages.bytes(), again: *warm };
                cache::send_file(link, &place, *size, time, interrupt)
            }
            Prepared::Splice(splice, warm) => splice.run(*warm, time, interrupt),
        }
    }
}

/// Nothing where this kernel does not know the operation, or this user may not pin as much memory.
fn allowed<T>(path: &Path, outcome: io::Result<T>) -> io::Result<Option<T>> {
    let refused = |error: &io::Error| {
        matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP | libc::ENOMEM | libc::EPERM))
    };
    match outcome {
        Err(error) if path.call.is_new() && refused(&error) => Ok(None),
        outcome => outcome.map(Some),
    }
}

/// Processor time of all threads of this process so far, those included that have ended.
fn process_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}
