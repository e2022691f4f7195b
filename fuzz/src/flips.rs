//! Every single bit of a small data directory turned over, every file cut at every byte, every file taken away.
//!
//! In: nothing; the directories are made here, in memory, with journal files, runs and segments so small that each
//! kind of file is there. Out: what each kind of damage came to, and a failure for each that was neither harmless
//! nor noticed. Never: takes a sample: every bit, every length, every file.
//!
//! | where the bit is | what is done with it |
//! |---|---|
//! | in a block that a start reads: superblock, checkpoints, journals, headers and tables of segments, headers of the runs of a segment that is being filled | a start. If it goes well, the disk after it must be what it is after a start without the damage; if it is not, and always for a segment, every record is read: it is the right one, or refused by offsets and file. |
//! | in any other block of a segment | the run it is in is read from a shard that is running, and compared |
//!
//! Which blocks a start reads is not assumed: the disk notes what is read. A start is repeatable, so a block that
//! it did not read cannot change what it does. Damage in a run may only be harmless in what pads it to a block.
//!
//! A cut or a missing file always goes through a start. Whatever is noticed must also be found by `verify`; that
//! is tried for one in so many bits, and for every file taken away.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use ringmain_engine::error::Damage;
use ringmain_engine::format::batch;
use ringmain_engine::format::run::{RUN_HEADER_BYTES, RunHeader, SEGMENT_HEADER_BYTES};
use ringmain_engine::io::disk::Disk;
use ringmain_engine::io::simulated::SimulatedDisk;
use ringmain_engine::limits::BLOCK_BYTES;
use ringmain_engine::shard::ReadOutcome;
use ringmain_engine::shard::recover::OpenConfig;
use ringmain_engine::types::{LogId, Offset};
use ringmain_engine::verify::verify_on;

use crate::node::Node;
use crate::small::{self, Directory, Model};

/// `verify` is tried with one in so many damaged bits.
const VERIFY_ONE_IN: u64 = 5003;

/// What damage came to.
#[derive(Clone, Copy)]
enum Verdict {
    Harmless,
    AtStart,
    AtRead,
}

/// Counts for one kind of file.
#[derive(Default)]
struct Counts {
    harmless: AtomicU64,
    at_start: AtomicU64,
    at_read: AtomicU64,
}

const KINDS: [&str; 6] =
    ["superblock", "checkpoint", "journal", "segment, read at start", "segment, run", "other"];

#[derive(Default)]
struct Totals {
    kinds: [Counts; KINDS.len()],
    failures: AtomicU64,
}

impl Totals {
    fn note(&self, kind: usize, what: impl FnOnce() -> String, outcome: Result<Verdict, String>) {
        let counts = &self.kinds[kind];
        let counter = match outcome {
            Ok(Verdict::Harmless) => &counts.harmless,
            Ok(Verdict::AtStart) => &counts.at_start,
            Ok(Verdict::AtRead) => &counts.at_read,
            Err(wrong) => {
                if self.failures.load(Ordering::Relaxed) < 50 {
                    println!("{}: {wrong}", what());
                }
                &self.failures
            }
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Prints a line for each kind of file; how many there were in all.
    fn print(&self, name: &str) -> u64 {
        let mut sum = 0;
        for (kind, counts) in KINDS.iter().zip(&self.kinds) {
            let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            let all = [&counts.harmless, &counts.at_start, &counts.at_read].map(get);
            let total: u64 = all.iter().sum();
            if total > 0 {
                let [harmless, at_start, at_read] = all;
                println!(
                    "{name} in {kind}: {total}; {harmless} harmless, {at_start} noticed at the start, \
                     {at_read} noticed when read"
                );
            }
            sum += total;
        }
        sum + self.failures.load(Ordering::Relaxed)
    }

    fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }
}

fn kind_of(path: &Path) -> usize {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("checkpoint") => 1,
        Some("journal") => 2,
        Some("seg") => 3,
        _ if path.ends_with("superblock") => 0,
        _ => 5,
    }
}

/// A directory, and what a start makes of it.
struct Subject {
    directory: Directory,
    segment_bytes: u64,
    /// The disk after a start.
    after: SimulatedDisk,
    /// Blocks that a start reads.
    blocks: Vec<(PathBuf, std::ops::Range<usize>)>,
    files: Vec<(PathBuf, usize)>,
}

impl Subject {
    fn new(bytes: usize, segment_bytes: u64) -> Result<Subject, String> {
        let directory = Directory::make(bytes, segment_bytes)?;
        let after = directory.disk.copy();
        after.trace_reads();
        let mut node = start(&small::config(&after, segment_bytes))?;
        let blocks = after.take_reads();
        directory.model.compare_all(&mut node, Path::new(""))?;
        let files: Vec<(PathBuf, usize)> =
            directory.disk.files().into_iter().map(|(path, length)| (path, length as usize)).collect();
        let total: usize = files.iter().map(|(_, length)| length).sum();
        println!("a directory of {total} bytes in {} files", files.len());
        let subject = Subject { directory, segment_bytes, after, blocks, files };
        let copy = subject.directory.disk.copy();
        let clean = verify_on(&Disk::Simulated(copy.clone()), &subject.config(&copy).directory)
            .map_err(|error| error.to_string())?;
        if let Some(finding) = clean.findings.first() {
            return Err(format!("verify finds damage where there is none: {finding}"));
        }
        Ok(subject)
    }

    fn config(&self, disk: &SimulatedDisk) -> OpenConfig {
        small::config(disk, self.segment_bytes)
    }

    fn is_read_at_start(&self, path: &Path, position: usize) -> bool {
        self.blocks.iter().any(|(read, range)| read == path && range.contains(&position))
    }

    /// Starts on a damaged disk, and compares.
    fn try_start(&self, disk: &SimulatedDisk, damaged: &Path) -> Result<Verdict, String> {
        let Ok(mut node) = Node::open_with(&self.config(disk)) else { return Ok(Verdict::AtStart) };
        let model = &self.directory.model;
        if let Some(log) = log_of(damaged) {
            return model.compare(&mut node, log, damaged);
        }
        if disk.differences(&self.after, &[damaged]).is_empty() {
            return Ok(Verdict::Harmless);
        }
        model.compare_all(&mut node, damaged)
    }

    /// Starts without a file, which must be named: by the refusal, or by the start's report and by whoever reads what
    /// was in it.
    fn start_without(&self, disk: &SimulatedDisk, path: &Path) -> Result<Verdict, String> {
        let named = |text: &str| {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let directory = path.parent().map(|path| path.display().to_string()).unwrap_or_default();
            text.contains(&name) || text.contains(&directory)
        };
        let mut node = match Node::open_with(&self.config(disk)) {
            Err(error) if named(&error.to_string()) => return Ok(Verdict::AtStart),
            Err(error) => return Err(format!("refused, but not by name: {error}")),
            Ok(node) => node,
        };
        let report = node.report.to_string();
        if !named(&report) {
            return Err(format!("the directory opens as if nothing were missing: {report}"));
        }
        match self.directory.model.compare_all(&mut node, path)? {
            Verdict::AtRead => Ok(Verdict::AtRead),
            _ => Err("all is served, also what was in the file".to_string()),
        }
    }

    /// What the engine notices `verify` must find.
    fn verify(&self, disk: &SimulatedDisk) -> Result<(), String> {
        let found = verify_on(&Disk::Simulated(disk.clone()), &self.config(disk).directory);
        match found {
            Ok(report) if report.is_clean() => Err("the engine notices it, verify does not".to_string()),
            _ => Ok(()),
        }
    }
}

fn start(config: &OpenConfig) -> Result<Node, String> {
    Node::open_with(config).map_err(|error| error.to_string())
}

/// Whether an operator could find the place by it.
fn names(damage: &Damage, damaged: &Path) -> bool {
    let place = damage.path == damaged || Some(damage.path.as_path()) == damaged.parent();
    place && damage.what.contains("offsets")
}

/// The log that a segment belongs to.
fn log_of(path: &Path) -> Option<LogId> {
    let is_segment = path.extension().is_some_and(|extension| extension == "seg");
    let directory = path.parent()?.file_name()?.to_str()?;
    is_segment.then(|| u64::from_str_radix(directory, 16).ok().map(LogId))?
}

/// Runs all three; how many failures there were.
pub fn run() -> Result<u64, String> {
    let begun = Instant::now();
    let (large, small) = (Subject::new(1 << 20, 192 << 10)?, Subject::new(256 << 10, 64 << 10)?);
    let (flips, prefixes, removals) = (Totals::default(), Totals::default(), Totals::default());
    let done = |what: &str| println!("{what}, {:.0} s", begun.elapsed().as_secs_f64());
    each_block(&large, |worker, path, block| worker.flip_block(&flips, path, block))?;
    done("every bit was turned over");
    each_block(&small, |worker, path, block| worker.cut_in_block(&prefixes, path, block))?;
    done("every file was cut at every byte");
    for subject in [&large, &small] {
        remove_each(subject, &removals);
    }
    let counts = [flips.print("bits"), prefixes.print("prefixes"), removals.print("removals")];
    let failures = flips.failures() + prefixes.failures() + removals.failures();
    let [flips, prefixes, removals] = counts;
    println!(
        "flips: {flips} bits turned over, {prefixes} prefixes, {removals} files taken away, {failures} failures, \
         {:.0} s",
        begun.elapsed().as_secs_f64()
    );
    Ok(failures)
}

/// Hands every block of every file to some thread.
fn each_block(subject: &Subject, one: impl Fn(&mut Worker<'_>, &Path, usize) + Sync) -> Result<(), String> {
    let blocks: Vec<(&Path, usize)> = subject
        .files
        .iter()
        .flat_map(|(path, length)| (0..*length).step_by(BLOCK_BYTES).map(|at| (path.as_path(), at)))
        .collect();
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get());
    std::thread::scope(|scope| {
        let work = || {
            let mut worker = Worker::new(subject)?;
            while let Some((path, block)) = blocks.get(next.fetch_add(1, Ordering::Relaxed)) {
                one(&mut worker, path, *block);
            }
            Ok(())
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or(Err("a thread is gone".to_string())))
    })
}

fn remove_each(subject: &Subject, totals: &Totals) {
    for (path, _) in &subject.files {
        let disk = subject.directory.disk.copy();
        disk.lose(path);
        let outcome = subject.verify(&disk).and_then(|()| subject.start_without(&disk, path));
        totals.note(kind_of(path), || format!("without {}", path.display()), outcome);
    }
}

/// One thread's part, with a node of its own to read from.
struct Worker<'a> {
    subject: &'a Subject,
    /// The disk before a start, its own, so that a bit is turned over in place.
    before: SimulatedDisk,
    /// The disk of the node.
    disk: SimulatedDisk,
    node: Node,
    tried: u64,
}

/// A run of a segment: what of it means something, and the offset to ask for it.
struct Place {
    log: LogId,
    base: Offset,
    used: std::ops::Range<usize>,
}

impl Worker<'_> {
    fn new(subject: &Subject) -> Result<Worker<'_>, String> {
        let disk = subject.directory.disk.copy();
        let node = start(&subject.config(&disk))?;
        Ok(Worker { subject, before: subject.directory.disk.copy(), disk, node, tried: 0 })
    }

    fn flip_block(&mut self, totals: &Totals, path: &Path, block: usize) {
        let at_start = self.subject.is_read_at_start(path, block) || log_of(path).is_none();
        let place = if at_start { None } else { self.place(path, block) };
        let length = self.subject.directory.disk.bytes(path).len();
        for position in block..length.min(block + BLOCK_BYTES) {
            for bit in 0..8 {
                let (kind, outcome) = match &place {
                    Some(place) => (4, self.flip_in_run(path, position, bit, place)),
                    None => (kind_of(path), self.flip_and_start(path, position, bit)),
                };
                totals.note(kind, || format!("bit {bit} of byte {position} of {}", path.display()), outcome);
            }
        }
    }

    fn flip_and_start(&mut self, path: &Path, position: usize, bit: u8) -> Result<Verdict, String> {
        let flip = |bytes: &mut [u8]| bytes[position] ^= 1 << bit;
        self.before.spoil(path, flip);
        self.tried += 1;
        let mut verdict = self.subject.try_start(&self.before.copy(), path);
        if self.tried.is_multiple_of(VERIFY_ONE_IN)
            && matches!(verdict, Ok(Verdict::AtStart | Verdict::AtRead))
        {
            verdict = self.subject.verify(&self.before).and(verdict);
        }
        self.before.spoil(path, flip);
        verdict
    }

    fn flip_in_run(
        &mut self,
        path: &Path,
        position: usize,
        bit: u8,
        place: &Place,
    ) -> Result<Verdict, String> {
        let flip = |bytes: &mut [u8]| bytes[position] ^= 1 << bit;
        self.disk.spoil(path, flip);
        let outcome = self.node.read(place.log, place.base);
        self.tried += 1;
        self.disk.spoil(path, flip);
        if self.tried.is_multiple_of(VERIFY_ONE_IN) && matches!(outcome, ReadOutcome::Damaged(_)) {
            self.before.spoil(path, flip);
            let verified = self.subject.verify(&self.before);
            self.before.spoil(path, flip);
            verified?;
        }
        match outcome {
            ReadOutcome::Damaged(damage) => {
                if names(&damage, path) {
                    Ok(Verdict::AtRead)
                } else {
                    Err(format!("not named: {damage}"))
                }
            }
            ReadOutcome::Data { batches, .. } => {
                if place.used.contains(&position) {
                    return Err("it is not padding, and was served".to_string());
                }
                self.subject.directory.model.check(place.log, place.base, &batches)?;
                // So that the next read of this run does not come from memory.
                let other = self.subject.directory.model.another_run(place.log, place.base);
                let _ = self.node.read(place.log, other);
                Ok(Verdict::Harmless)
            }
            other => Err(format!("{other:?}")),
        }
    }

    /// The run that `position` of a segment lies in, unless all of it was trimmed or is left of an earlier use of the file.
    fn place(&self, path: &Path, position: usize) -> Option<Place> {
        let (log, bytes) = (log_of(path)?, self.subject.directory.disk.bytes(path));
        let mut at = SEGMENT_HEADER_BYTES;
        loop {
            let header = RunHeader::read(bytes.get(at..)?, log, at as u64).ok()?;
            if position < at + header.total_bytes() {
                let used = at..at + RUN_HEADER_BYTES + header.bytes.get() as usize;
                let start = self.subject.directory.model.start(log);
                let base = header.base_offset.get().max(start);
                return (start < header.end_offset.get()).then_some(Place { log, base, used });
            }
            at += header.total_bytes();
        }
    }

    fn cut_in_block(&mut self, totals: &Totals, path: &Path, block: usize) {
        let length = self.subject.directory.disk.bytes(path).len();
        for end in block..length.min(block + BLOCK_BYTES) {
            let disk = self.subject.directory.disk.copy();
            disk.cut(path, end);
            let outcome = self.subject.try_start(&disk, path);
            totals.note(kind_of(path), || format!("the first {end} bytes of {}", path.display()), outcome);
        }
    }
}

impl Model {
    /// Reads a whole log and compares it. What is not served must be refused with the offsets and the file that is
    /// damaged; everything else must be served.
    fn compare(&self, node: &mut Node, log: LogId, damaged: &Path) -> Result<Verdict, String> {
        let mut verdict = Verdict::Harmless;
        let (mut next, end) = (self.start(log), self.end(log));
        while next < end {
            match node.read(log, next) {
                ReadOutcome::Data { batches, .. } => next = self.check(log, next, &batches)?,
                ReadOutcome::Damaged(damage) if names(&damage, damaged) => {
                    verdict = Verdict::AtRead;
                    next = self.after(log, next);
                }
                other => return Err(format!("offset {next} of {log:?}: {other:?}")),
            }
        }
        let durable = node.shard(log).marks(log).map(|marks| marks.durable);
        if durable == Some(end) {
            Ok(verdict)
        } else {
            Err(format!("{log:?} ends at {durable:?}, not {end}"))
        }
    }

    /// Reads every log.
    fn compare_all(&self, node: &mut Node, damaged: &Path) -> Result<Verdict, String> {
        let mut verdict = Verdict::Harmless;
        for log in self.logs() {
            if let Verdict::AtRead = self.compare(node, log, damaged)? {
                verdict = Verdict::AtRead;
            }
        }
        Ok(verdict)
    }

    /// Compares what was read from `from` on; the offset behind it.
    fn check(&self, log: LogId, from: Offset, batches: &[bytes::Bytes]) -> Result<Offset, String> {
        let mut next = from;
        for (header, bytes) in batches.iter().cloned().flat_map(batch::split) {
            let base = header.base_offset.get() as Offset;
            if base != next || self.batch(log, base) != bytes.get(16..) {
                return Err(format!("wrong bytes are served at {next} of {log:?}"));
            }
            next = base + header.offsets_count();
        }
        if next > from { Ok(next) } else { Err(format!("nothing is served at {from} of {log:?}")) }
    }
}
