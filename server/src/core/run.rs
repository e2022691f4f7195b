//! The loop of one core: the only place that reads a clock, pins a thread, or waits for the kernel.
//!
//! In: a core that was made. Out: turns, until it has finished or cannot go on. A core whose shard has failed
//! ends the process: what was not acknowledged must not look as if it might be.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ringmain_engine::io::Completion;
use ringmain_engine::io::driver::{Choice, Driver};
use ringmain_engine::types::Now;

use super::Core;

/// Writes one line for the operator.
pub fn log(core: u16, line: &str) {
    eprintln!("ringmain[{core}]: {line}");
}

/// The clock of one thread.
struct Clock {
    start: Instant,
}

impl Clock {
    fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            monotonic_us: self.start.elapsed().as_micros() as u64,
            wall_ms: i64::try_from(wall.as_millis()).unwrap_or(i64::MAX),
        }
    }
}

/// Runs `core` on this thread, pinned to `processor`, until it has finished. `ready` is called once the thread
/// has its driver. Every core must be given the same choice, and not [`Choice::Auto`].
pub fn run(mut core: Core, processor: usize, choice: Choice, ready: impl FnOnce()) {
    if !core_affinity::set_for_current(core_affinity::CoreId { id: processor }) {
        log(core.index, &format!("cannot be pinned to processor {processor}; running unpinned"));
    }
    let mut driver = match Driver::open(choice) {
        Ok((driver, _, _)) => driver,
        Err(error) => fail(core.index, &format!("cannot set up its driver: {error}")),
    };
    core.post.set_driver(driver.descriptor());
    ready();
    let clock = Clock { start: Instant::now() };
    let (mut done, mut wanted) = (Vec::<Completion>::new(), Vec::new());
    core.begin();
    loop {
        let now = clock.now();
        core.turn(now, &mut done, &mut wanted);
        if let Some(what) = core.failure() {
            fail(core.index, &format!("{what}; nothing in flight was acknowledged; stopping"));
        }
        if core.is_finished() {
            return;
        }
        let waited = driver.submit(&mut wanted).and_then(|()| {
            let stay_awake = core.post.is_waiting() || !core.post.park();
            let timeout = if stay_awake { Some(Duration::ZERO) } else { timeout(&core, &clock) };
            driver.wait(timeout, &mut done)
        });
        core.post.awake();
        if let Err(error) = waited {
            fail(core.index, &format!("its driver failed: {error}"));
        }
    }
}

/// How long nothing needs to happen by itself.
fn timeout(core: &Core, clock: &Clock) -> Option<Duration> {
    let deadline_us = core.next_deadline_us()?;
    Some(Duration::from_micros(deadline_us.saturating_sub(clock.now().monotonic_us)))
}

fn fail(core: u16, what: &str) -> ! {
    log(core, what);
    std::process::exit(1);
}
