//! Processor time and memory of a server and everything it started.
//!
//! In: a process group. Out: figures from `/proc`. Never: a guess; a process that is gone counts with nothing.

use std::fs;
use std::time::Duration;

/// The processes of one group.
#[derive(Clone, Copy, Debug)]
pub struct Group(pub u32);

impl Group {
    /// Processor time that they have used.
    pub fn time(self) -> Duration {
        let per_second = rustix::param::clock_ticks_per_second().max(1);
        let ticks: u64 = self.stats().map(|stat| stat.ticks).sum();
        Duration::from_secs_f64(ticks as f64 / per_second as f64)
    }

    /// Memory that they hold, shared pages counted for each.
    pub fn resident_bytes(self) -> u64 {
        let pages: u64 = self.stats().map(|stat| stat.resident_pages).sum();
        pages * rustix::param::page_size() as u64
    }

    /// The most memory that its first process ever held.
    pub fn peak_bytes(self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).unwrap_or_default();
        number_of(&status, "VmHWM:") << 10
    }

    /// How often the threads of its first process went to sleep by themselves.
    pub fn sleeps(self) -> u64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.0)).into_iter().flatten().flatten();
        let texts = tasks.filter_map(|task| fs::read_to_string(task.path().join("status")).ok());
        texts.map(|status| number_of(&status, "voluntary_ctxt_switches:")).sum()
    }

    /// Processor time of its first process to the nanosecond, threads that have ended included.
    pub fn precise_time(self) -> Duration {
        let mut clock: libc::clockid_t = 0;
        // SAFETY: the kernel's number of a clock is written to the one variable given.
        let found = unsafe { libc::clock_getcpuclockid(self.0 as libc::pid_t, &raw mut clock) };
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        if found == 0 {
            // SAFETY: the kernel fills the one struct it is given.
            unsafe { libc::clock_gettime(clock, &raw mut time) };
        }
        Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
    }

    fn stats(self) -> impl Iterator<Item = Stat> {
        let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
        let names = numbers.filter_map(|entry| entry.file_name().into_string().ok());
        let processes = names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
        processes
            .filter_map(|number| Stat::parse(&fs::read_to_string(format!("/proc/{number}/stat")).ok()?))
            .filter(move |stat| stat.group == self.0)
    }
}

/// The number behind a word of `/proc/PID/status`.
fn number_of(status: &str, word: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(word));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// The fields of `/proc/PID/stat` that are used here.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    group: u32,
    ticks: u64,
    resident_pages: u64,
}

impl Stat {
    fn parse(line: &str) -> Option<Stat> {
        // The name may hold blanks and brackets; what follows its last bracket does not. That is field 3.
        let (_, rest) = line.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        let (group, user, system, resident_pages) = (number(5)?, number(14)?, number(15)?, number(24)?);
        Some(Stat { group: u32::try_from(group).ok()?, ticks: user + system, resident_pages })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_behind_its_name() {
        let line = "42 (a ) b) S 1 77 77 0 -1 4194560 1 0 0 0 30 12 0 0 20 0 1 0 100 4096 25 18446744073709551615 1 1";
        assert_eq!(Stat::parse(line), Some(Stat { group: 77, ticks: 42, resident_pages: 25 }));
        assert_eq!(Stat::parse("42 (x) S 1"), None);
    }

    #[test]
    fn this_process_has_memory() {
        let own = Stat::parse(&fs::read_to_string("/proc/self/stat").unwrap()).unwrap();
        assert!(Group(own.group).resident_bytes() > 0);
    }

    #[test]
    fn this_process_has_a_peak_and_a_clock() {
        let own = Group(std::process::id());
        assert!(own.peak_bytes() > 1 << 20 && own.sleeps() > 0);
        let before = own.precise_time();
        std::hint::black_box((0..1_000_000u64).fold(0, |sum: u64, next| sum.rotate_left(3) ^ next));
        assert!(own.precise_time() > before);
        assert_eq!(number_of("VmRSS:\t  12 kB\n", "VmRSS:"), 12);
    }
}
