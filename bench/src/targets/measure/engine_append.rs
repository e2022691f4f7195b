//! Durable appends by the engine alone, beside the best way this machine has to make as many bytes durable.
//!
//! In: a directory. Out: two lines for each size: a log that grows, and one that is trimmed to its newest bytes all the
//! time, each over the least program that keeps as much. Never: a raw append to blocks that are no longer what its name says;
//! a journal that is still being filled with zeros, which is done once.

use std::time::{Duration, Instant};

use crate::engine::append::Log;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::raw::keeper::{Keeper, Way};
use crate::raw::ring::{Appender, Blocks, Durable};
use crate::targets::findings::Findings;
use crate::targets::line::{Line, Named, Need, Unit};
use crate::targets::seen::Seen;
use crate::targets::setting::Setting;

/// Bytes of a commit, and of the file that the raw appends fill in one run at most.
const SIZES: [(usize, u64); 3] = [(4 << 10, 64 << 20), (64 << 10, 512 << 20), (1 << 20, 1 << 30)];
/// A file whose blocks were written before is gone round in, so it need not hold a whole run.
const WRITTEN_BYTES: u64 = 64 << 20;
const FILES: [(Blocks, &str); 3] =
    [(Blocks::Written, "pre-written"), (Blocks::Reserved, "fallocated"), (Blocks::Growing, "growing")];
const WAYS: [(Durable, &str); 3] = [
    (Durable::WithWrite, "RWF_DSYNC"),
    (Durable::AfterWrite, "linked fdatasync"),
    (Durable::ThenCall, "fdatasync(2)"),
];
/// What is kept of a log, and the ways in which the least program can keep it.
struct Kept {
    kind: &'static str,
    words: &'static str,
    ways: &'static [(Way, &'static str)],
}

const LOGS: [Kept; 2] = [
    Kept {
        kind: "growing",
        words: "growing log",
        ways: &[
            (Way::Twice, "a journal, and a segment of reserved blocks behind it"),
            (Way::IntoReserved, "a segment of reserved blocks, beside 4 KiB of a journal"),
        ],
    },
    Kept {
        kind: "trimmed",
        words: "newest 512 MiB kept",
        ways: &[(Way::IntoWritten, "a segment of written blocks, beside 4 KiB of a journal")],
    },
];
const NEEDED: f64 = 0.9;
const KEPT_BYTES: u64 = 512 << 20;
/// Until a journal has all its files.
const GROWN_BYTES: u64 = 512 << 20;

/// Every size in every way, in turns.
pub fn measure(setting: &Setting<'_>) -> Result<Findings, Failure> {
    // Whoever appends has the core that a broker has.
    setting.on_answering(|| measure_here(setting))
}

fn measure_here(setting: &Setting<'_>) -> Result<Findings, Failure> {
    let (dir, interrupt) = (setting.dir, setting.interrupt);
    let milliseconds = if setting.quick { (150, 400) } else { (300, 1500) };
    let (raw, own) = (Duration::from_millis(milliseconds.0), Duration::from_millis(milliseconds.1));
    let mut logs = Vec::new();
    for (_, file_bytes) in SIZES {
        let keeper = Keeper::create(dir, Way::IntoWritten, file_bytes.min(KEPT_BYTES), interrupt)?;
        let trimmed = Log::retained(dir, KEPT_BYTES, interrupt)?;
        logs.push((Log::grown(dir, GROWN_BYTES, interrupt)?, trimmed, keeper));
    }
    let mut seen = Seen::default();
    setting.rounds(|| {
        for ((commit_bytes, file_bytes), (growing, trimmed, keeper)) in SIZES.into_iter().zip(&mut logs) {
            for (blocks, file) in FILES {
                for (durable, way) in WAYS {
                    let bytes = if blocks == Blocks::Written { WRITTEN_BYTES } else { file_bytes };
                    let appender = Appender::create(dir, blocks, bytes, commit_bytes)?;
                    let ends = (blocks != Blocks::Written).then_some(bytes);
                    let rate = raw_appends(appender, (commit_bytes, durable), (raw, ends), interrupt)?;
                    seen.push(&format!("raw {commit_bytes} {file}, {way}"), rate);
                }
            }
            let own_rate = growing.busy(commit_bytes, own, interrupt)?;
            seen.push(&format!("growing {commit_bytes}"), own_rate);
            let own_rate = trimmed.busy(commit_bytes, own, interrupt)?;
            seen.push(&format!("trimmed {commit_bytes}"), own_rate);
            for Kept { kind, ways, .. } in LOGS {
                for (way, words) in ways {
                    let rate = match way {
                        Way::IntoWritten => commits(keeper, commit_bytes, own, interrupt)?,
                        _ => {
                            let mut keeper = Keeper::create(dir, *way, file_bytes, interrupt)?;
                            commits(&mut keeper, commit_bytes, own, interrupt)?
                        }
                    };
                    seen.push(&format!("least {kind} {commit_bytes} {words}"), rate);
                }
            }
        }
        Ok(())
    })?;
    Ok(findings(&seen))
}

/// One after the other until the time is over or the file is full; bytes per second.
fn raw_appends(
    mut appender: Appender,
    (commit_bytes, durable): (usize, Durable),
    (time, ends): (Duration, Option<u64>),
    interrupt: &Interrupt,
) -> Result<f64, Failure> {
    let begin = Instant::now();
    let mut bytes = 0;
    while begin.elapsed() < time && ends.is_none_or(|end| bytes < end) {
        interrupt.check()?;
        appender.append(commit_bytes, durable)?;
        bytes += commit_bytes as u64;
    }
    Ok(bytes as f64 / begin.elapsed().as_secs_f64())
}

/// One after the other until the time is over or the segment is full; bytes per second.
fn commits(
    keeper: &mut Keeper,
    commit_bytes: usize,
    time: Duration,
    interrupt: &Interrupt,
) -> Result<f64, Failure> {
    let begin = Instant::now();
    let mut bytes = 0;
    while begin.elapsed() < time && !keeper.is_full(commit_bytes as u64) {
        interrupt.check()?;
        keeper.commit(commit_bytes as u64)?;
        bytes += commit_bytes as u64;
    }
    Ok(bytes as f64 / begin.elapsed().as_secs_f64())
}

fn findings(seen: &Seen) -> Findings {
    let mut findings = Findings::of(seen);
    for (commit_bytes, _) in SIZES {
        let front = format!("raw {commit_bytes} ");
        let Some(best) = seen.best(&front) else { continue };
        let beside =
            Named::new(&format!("raw, {}", best.strip_prefix(&front).unwrap_or(best)), seen.of(best));
        for Kept { kind, words, .. } in LOGS {
            let name = format!("{} KiB a commit, {words}", commit_bytes >> 10);
            let figure = seen.of(&format!("{kind} {commit_bytes}"));
            let line = Line::new(&name, Unit::BytesPerSecond, figure, Need::AtLeast(NEEDED), beside.clone());
            let front = format!("least {kind} {commit_bytes} ");
            findings.line(match seen.best(&front) {
                Some(best) => line.over(Named::new(best.strip_prefix(&front).unwrap_or(best), seen.of(best))),
                None => line,
            });
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_held_against_the_best_way_of_their_size() {
        let mut seen = Seen::default();
        for (name, value) in [
            ("raw 4096 growing, fdatasync(2)", 50e6),
            ("raw 4096 pre-written, RWF_DSYNC", 100e6),
            ("raw 65536 pre-written, RWF_DSYNC", 900e6),
            ("growing 4096", 90e6),
            ("trimmed 4096", 40e6),
            ("growing 65536", 1e6),
            ("trimmed 65536", 1e6),
            ("least growing 65536 twice", 2e6),
            ("least growing 65536 once", 3e6),
        ] {
            seen.push(name, value);
        }
        let found = findings(&seen);
        assert_eq!(found.lines.len(), 4, "a size without figures has no line");
        assert_eq!(found.lines[0].beside.name, "raw, pre-written, RWF_DSYNC");
        assert_eq!((found.lines[0].ratio(), found.lines[1].ratio()), (Some(0.9), Some(0.4)));
        let floors: Vec<Option<&str>> =
            found.lines.iter().map(|line| line.floor.as_ref().map(|floor| floor.name.as_str())).collect();
        assert_eq!(floors, [None, None, Some("once"), None]);
    }
}
