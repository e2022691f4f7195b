//! The command line of `probe`.
//!
//! In: arguments. Out: what to measure. Never: touches the directory.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::{count, count_of, dir, json, path_of, quick};

/// What `probe` measures.
pub struct Probe {
    pub quick: bool,
    pub dir: PathBuf,
    pub json: Option<PathBuf>,
    /// Only these, if there are any.
    pub points: Vec<Point>,
    /// The points are measured in this file instead of one of our own.
    pub file: Option<PathBuf>,
    pub rounds: u64,
    pub milliseconds: u64,
    /// Seconds of watching whether the device keeps its speed.
    pub steady: Option<u64>,
}

/// One pattern at one block size and depth.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Point {
    pub text: String,
    pub pattern: String,
    pub block_bytes: usize,
    pub depth: usize,
}

pub fn command() -> Command {
    Command::new("probe")
        .about("What this machine's disk, cores and loopback can do, and which settings follow, in words")
        .arg(quick())
        .arg(dir())
        .arg(json())
        .arg(
            Arg::new("point")
                .long("point")
                .value_name("PATTERN:BYTES:DEPTH")
                .action(ArgAction::Append)
                .value_parser(point)
                .help("Only this, as operations per second, e.g. random-read:4096:32; may be repeated"),
        )
        .arg(
            Arg::new("file")
                .long("file")
                .value_name("FILE")
                .requires("point")
                .value_parser(value_parser!(PathBuf))
                .help("Measure the points in this file, WHOSE CONTENTS ARE LOST; a multiple of 1 MiB long"),
        )
        .arg(
            Arg::new("steady")
                .long("steady")
                .value_name("SECONDS")
                .value_parser(value_parser!(u64).range(9..=86_400))
                .help("Also watch for so long whether the device keeps its speed; caches last minutes"),
        )
        .arg(count("rounds", "5", 1, 1000).help("Rounds of the points"))
        .arg(count("milliseconds", "1000", 1, 600_000).help("Time of each point in each round"))
}

fn point(text: &str) -> Result<Point, String> {
    let wrong = || "expected PATTERN:BYTES:DEPTH, e.g. random-read:4096:32".to_owned();
    let mut words = text.split(':');
    let (Some(pattern), Some(bytes), Some(depth), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(wrong());
    };
    let (Ok(block_bytes), Ok(depth)) = (bytes.parse::<usize>(), depth.parse::<usize>()) else {
        return Err(wrong());
    };
    if !block_bytes.is_power_of_two()
        || !(512..=4 << 20).contains(&block_bytes)
        || !(1..=256).contains(&depth)
    {
        return Err("a block is a power of two from 512 to 4194304 bytes, a depth 1 to 256".to_owned());
    }
    Ok(Point { text: text.to_owned(), pattern: pattern.to_owned(), block_bytes, depth })
}

impl From<&ArgMatches> for Probe {
    fn from(found: &ArgMatches) -> Probe {
        Probe {
            quick: found.get_flag("quick"),
            dir: path_of(found, "dir").unwrap_or_default(),
            json: path_of(found, "json"),
            points: found.get_many::<Point>("point").into_iter().flatten().cloned().collect(),
            file: path_of(found, "file"),
            rounds: count_of(found, "rounds"),
            milliseconds: count_of(found, "milliseconds"),
            steady: found.get_one::<u64>("steady").copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_checked() {
        let found = point("random-read:4096:32").unwrap();
        assert_eq!((found.pattern.as_str(), found.block_bytes, found.depth), ("random-read", 4096, 32));
        for wrong in ["", "a:b:c", "a:4096", "a:4096:0", "a:4097:1", "a:4096:1:1", "a:99999999999999999999:1"]
        {
            assert!(point(wrong).is_err(), "{wrong}");
        }
    }
}
