//! Everything at once, for long: appends at a pace, trims, compaction, readers at the ends of logs and in old segments,
//! on little memory and small files.
//!
//! In: a directory, for how long. Out: a line for every window, verdicts at the end. Never: a byte that was read and not
//! checked.

mod appender;
mod content;
mod keys;
mod reader;
mod verdict;
mod window;

use std::path::Path;
use std::time::{Duration, Instant};

use ringmain_engine::limits::Sizes;
use ringmain_engine::types::LogId;
use serde_json::{Value, json};

use super::driver::{Driver, Setup};
use super::holdings::{self, Holdings};
use super::usage::bytes_on_disk;
use crate::failure::Failure;
use crate::histogram::Latencies;
use crate::interrupt::Interrupt;
use crate::output;
use appender::Appender;
use reader::{Counts, Reader, Way};
use window::Window;

/// Logs without keys, trimmed by bytes.
const STREAMS: [LogId; 4] = [LogId(1), LogId(2), LogId(3), LogId(4)];
/// The log with keys, compacted.
const KEYED: LogId = LogId(5);
const KEYS: usize = 8192;
/// Readers of old segments, each beginning with another log.
const COLD_READERS: usize = 2;
/// The first owner of readers' tickets; the driver's own are below.
const OWNER: u64 = 16;
/// Appends in flight while the logs are filled.
const WARM_UP_WAITING: usize = 64;
/// Appends in flight at most; what is due beyond them waits, and its time counts.
const WAITING_MAX: usize = 1024;
/// The pace: this part of what was taken while the logs were filled. It leaves a core half idle, so that what is measured
/// is not the length of a queue.
const PACE_PART: f64 = 0.25;
/// What the process may take beside the memory that is configured: code, the ring, runs being written and read, what
/// checks the bytes, and what the allocator keeps.
const BESIDE_BYTES: u64 = 64 << 20;

/// How much of it.
pub(super) struct Plan {
    pub(super) windows: usize,
    pub(super) window: Duration,
    /// What each log without keys keeps.
    pub(super) keep_bytes: u64,
    pub(super) setup: Setup,
}

impl Plan {
    /// So many minutes.
    pub(super) fn of(minutes: u64) -> Plan {
        let sizes = Sizes { segment_bytes: 8 << 20, run_cache_bytes: 4 << 20, ..Sizes::default() };
        let setup = Setup { journal_file_bytes: 16 << 20, memory_bytes: 16 << 20, sizes };
        let windows = usize::try_from(minutes * 6).unwrap_or(usize::MAX);
        Plan { windows, window: Duration::from_secs(10), keep_bytes: 64 << 20, setup }
    }

    fn memory_bytes_max(&self) -> u64 {
        (self.setup.memory_bytes + self.setup.sizes.run_cache_bytes) as u64 + BESIDE_BYTES
    }
}

/// The engine and all that works on it.
struct Work {
    driver: Driver,
    appender: Appender,
    tails: Vec<Reader>,
    cold: Vec<Reader>,
}

/// When appends are due.
struct Pace {
    next: Instant,
    every: Duration,
}

/// Runs all windows. The second value says which verdicts were not kept, if any.
pub(super) fn measure(
    dir: &Path,
    plan: &Plan,
    interrupt: &Interrupt,
) -> Result<(Value, Option<Failure>), Failure> {
    holdings::raise_descriptors();
    let mut work = Work::begin(dir, plan)?;
    let per_second = work.warm_up(plan, interrupt)? * PACE_PART;
    output::print(&format!(
        "\n{} logs that keep {} MiB each, one of {KEYS} keys; {per_second:.0} appends/s are due: a quarter of what filled them\n",
        STREAMS.len(),
        plan.keep_bytes >> 20,
    ))?;
    output::print(&Window::heading())?;
    let begin = Instant::now();
    let mut pace = Pace { next: begin, every: Duration::from_secs_f64(1.0 / per_second.max(1.0)) };
    let mut windows: Vec<Window> = Vec::new();
    for number in 0..plan.windows {
        let window = work.window(plan, begin, number % 2 == 1, &mut pace, interrupt)?;
        output::print(&window.line())?;
        windows.push(window);
    }
    let counts = work.finish(plan, interrupt)?;
    let verdicts = verdict::verdicts(&windows, plan.memory_bytes_max(), per_second);
    output::print("\n")?;
    verdicts.iter().try_for_each(|verdict| output::print(&verdict.line()))?;
    output::print(&format!(
        "{} records read and checked, {} of the device's answers; all of them again after a stop and a start\n",
        counts.records, counts.from_device
    ))?;
    let is_kept = verdicts.iter().all(verdict::Verdict::is_kept);
    let figures = json!({
        "appends_due_per_second": per_second, "memory_bytes_max": plan.memory_bytes_max(),
        "windows": windows.iter().map(Window::json).collect::<Vec<Value>>(),
        "verdicts": verdicts.iter().map(verdict::Verdict::json).collect::<Vec<Value>>(),
        "records_checked": counts.records, "device_reads": counts.from_device,
    });
    let refused = (!is_kept).then(|| Failure::Broker("not every verdict is a yes".to_owned()));
    Ok((figures, refused))
}

impl Work {
    fn begin(dir: &Path, plan: &Plan) -> Result<Work, Failure> {
        let mut driver = Driver::create_in(dir, plan.setup)?;
        STREAMS.iter().chain([&KEYED]).for_each(|log| driver.create(*log));
        let appender = Appender::new(&STREAMS, plan.keep_bytes, KEYED, KEYS);
        let mut owners = OWNER..;
        let mut reader = |way, logs| Reader::new(owners.next().unwrap_or(OWNER), way, logs);
        let tails = every_log().into_iter().map(|log| reader(Way::Tail, vec![log])).collect();
        let cold = (0..COLD_READERS).map(|number| {
            let mut logs = every_log();
            let begin = number * logs.len() / COLD_READERS;
            logs.rotate_left(begin);
            reader(Way::Cold, logs)
        });
        let cold = cold.collect();
        Ok(Work { driver, appender, tails, cold })
    }

    /// Fills every log with twice what it keeps, as fast as that goes: appends each second.
    fn warm_up(&mut self, plan: &Plan, interrupt: &Interrupt) -> Result<f64, Failure> {
        let (begin, mut now) = (Instant::now(), Instant::now());
        let wanted = 2 * plan.keep_bytes * STREAMS.len() as u64;
        while self.appender.bytes < wanted {
            interrupt.check()?;
            while self.appender.waiting() < WARM_UP_WAITING && !self.driver.shard().is_full() {
                self.appender.append(&mut self.driver, now)?;
            }
            now = self.turn(false, Duration::MAX)?;
        }
        Ok(self.appender.appends as f64 / begin.elapsed().as_secs_f64())
    }

    /// One turn of everything but the appends, which waits for at most `time_max`.
    fn turn(&mut self, is_cold: bool, time_max: Duration) -> Result<Instant, Failure> {
        let Work { driver, appender, tails, cold } = self;
        let mut has_more = false;
        for reader in tails.iter_mut().chain(cold.iter_mut().filter(|_| is_cold)) {
            has_more |= reader.ask(driver, appender)?;
        }
        appender.look_at_keys(driver, Instant::now());
        let before = driver.appended();
        driver.turn_until_due(if has_more { Duration::ZERO } else { time_max })?;
        let now = Instant::now();
        appender.durable(driver.appended() - before, now);
        for (ticket, outcome) in driver.take_reads() {
            let found = tails.iter_mut().chain(cold.iter_mut()).find(|reader| reader.owner() == ticket.owner);
            let Some(reader) = found else { unreachable!("a read that nobody asked for") };
            reader.answered(driver, appender, outcome)?;
        }
        Ok(now)
    }

    /// Appends what is due until the window is over.
    fn window(
        &mut self,
        plan: &Plan,
        first: Instant,
        is_cold: bool,
        pace: &mut Pace,
        interrupt: &Interrupt,
    ) -> Result<Window, Failure> {
        let begin = Instant::now();
        let (appends, bytes, cold_before) =
            (self.appender.appends, self.appender.bytes, self.counts_of_cold());
        let compactions = self.driver.shard().counts().compactions;
        self.appender.commits = Latencies::new();
        let mut now = begin;
        while now - begin < plan.window {
            interrupt.check()?;
            while pace.next <= now && self.appender.waiting() < WAITING_MAX && !self.driver.shard().is_full()
            {
                self.appender.append(&mut self.driver, pace.next)?;
                pace.next += pace.every;
            }
            now = self.turn(is_cold, pace.next.saturating_duration_since(now))?;
        }
        while self.cold.iter().any(Reader::is_waiting) {
            interrupt.check()?;
            now = self.turn(false, Duration::MAX)?;
        }
        let cold = self.counts_of_cold();
        Ok(Window {
            end: now - first,
            time: now - begin,
            is_cold,
            appends: self.appender.appends - appends,
            bytes: self.appender.bytes - bytes,
            commits: std::mem::replace(&mut self.appender.commits, Latencies::new()),
            retained: self.driver.shard().retained(),
            on_disk_bytes: bytes_on_disk(self.driver.path())?,
            holdings: Holdings::now(),
            cold: Counts {
                from_device: cold.from_device - cold_before.from_device,
                bytes_from_device: cold.bytes_from_device - cold_before.bytes_from_device,
                ..cold
            },
            compactions: self.driver.shard().counts().compactions - compactions,
        })
    }

    fn counts_of_cold(&self) -> Counts {
        sum(self.cold.iter())
    }

    /// Stops, starts, and reads everything once more: what all readers did.
    fn finish(mut self, plan: &Plan, interrupt: &Interrupt) -> Result<Counts, Failure> {
        while self.appender.waiting() > 0 || self.tails.iter().any(Reader::is_waiting) {
            interrupt.check()?;
            self.turn(false, Duration::MAX)?;
        }
        let directory = self.driver.stop(interrupt)?;
        let (driver, report) = Driver::open_in(directory, plan.setup)?;
        if !report.damage.is_empty() {
            return Err(Failure::Broker(format!("the start found damage: {report}")));
        }
        self.driver = driver;
        let before = sum(self.tails.iter().chain(&self.cold));
        self.cold = Vec::new();
        let mut once = Reader::new(OWNER, Way::Once, every_log());
        // From their starts, which trims have moved.
        once.begin(&mut self.driver);
        self.tails = vec![once];
        while self.tails.iter().any(|reader| !reader.is_finished()) {
            interrupt.check()?;
            self.turn(false, Duration::MAX)?;
        }
        Ok(sum(self.tails.iter()).plus(before))
    }
}

/// Each log, and whether its records have keys.
fn every_log() -> Vec<(LogId, bool)> {
    STREAMS.iter().map(|log| (*log, false)).chain([(KEYED, true)]).collect()
}

fn sum<'a>(readers: impl Iterator<Item = &'a Reader>) -> Counts {
    readers.fold(Counts::default(), |sum, reader| sum.plus(reader.counts))
}
