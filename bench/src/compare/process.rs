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

    fn stats(self) -> impl Iterator<Item = Stat> {
        let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
        let names = numbers.filter_map(|entry| entry.file_name().into_string().ok());
        let processes = names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
        processes
            .filter_map(|number| Stat::parse(&fs::read_to_string(format!("/proc/{number}/stat")).ok()?))
            .filter(move |stat| stat.group == self.0)
    }
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
}
