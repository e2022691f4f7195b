//! A small real data directory, damaged in one file, opened and read to the end.
//!
//! In: seeds. Out: failures. The engine may refuse to open, or refuse to serve a run; both name the place. What
//! it must not do: panic, serve a byte that was not appended, or leave out a record that was acknowledged. The
//! one exception is its stated rule: what is unsound behind the last sound frame of a journal is cut.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use ringmain_engine::format::checkpoint::Checkpoint;
use ringmain_engine::format::frame::{self, FrameHeader, Kind};
use ringmain_engine::format::record::BatchBuilder;
use ringmain_engine::types::{LogId, Offset};
use ringmain_engine::verify::verify;

use crate::Outcome;
use crate::damage::spoil;
use crate::node::{Node, Scratch};
use crate::random::Random;

/// What was acknowledged of one log.
#[derive(Clone, Default)]
struct Acked {
    start: Offset,
    /// Records of each batch, by base offset: what follows the header, which the log does not change.
    batches: BTreeMap<Offset, (Offset, Bytes)>,
}

impl Acked {
    fn end(&self) -> Offset {
        self.batches.values().next_back().map_or(0, |(end, _)| *end)
    }
}

type Model = BTreeMap<LogId, Acked>;

/// Runs `count` seeds from `from`.
pub fn run(from: u64, count: u64) -> Outcome {
    let mut outcome = Outcome::default();
    let (mut opened, mut refused) = (0u64, 0u64);
    for seed in from..from.saturating_add(count) {
        outcome.run(seed, || {
            if one(seed)? {
                opened += 1
            } else {
                refused += 1
            }
            Ok(())
        });
    }
    outcome.remark = format!(", {opened} opened and read, {refused} refused");
    outcome
}

fn one(seed: u64) -> Result<bool, String> {
    let mut random = Random::new(seed);
    let scratch = Scratch::new(&format!("directory-{seed}"))?;
    let (model, shards) = fill(&scratch.0, &mut random)?;
    let report = verify(&scratch.0).map_err(|error| format!("verify: {error}"))?;
    if let Some(finding) = report.findings.first() {
        return Err(format!("verify finds damage where there is none: {finding}"));
    }
    let journals = Journals::read(&scratch.0, report.incarnation, report.shards)?;
    let what = damage_one(&scratch.0, &mut random)?;
    let allowed = journals.allowed(&scratch.0);
    let _ = verify(&scratch.0);
    let shards = if random.one_in(3) { 3 - shards } else { shards };
    match Node::open(&scratch.0, shards) {
        Ok(mut node) => compare(&mut node, &model, &allowed).map_err(|wrong| format!("{what}: {wrong}"))?,
        Err(_) => return Ok(false),
    }
    Ok(true)
}

// -- filling ---------------------------------------------------------------------------------------------------

fn fill(directory: &Path, random: &mut Random) -> Result<(Model, u16), String> {
    let mut model = Model::new();
    let mut shards = 1 + random.below(2) as u16;
    for _ in 0..=random.below(3) {
        shards = if random.one_in(4) { 3 - shards } else { shards };
        let mut node = Node::open(directory, shards).map_err(|error| error.to_string())?;
        for _ in 0..random.below(40) {
            step(&mut node, &mut model, random)?;
        }
        if random.one_in(2) {
            node.settle();
        }
    }
    Ok((model, shards))
}

/// Appends some batches, or trims, and turns until that is durable.
fn step(node: &mut Node, model: &mut Model, random: &mut Random) -> Result<(), String> {
    let log = LogId(1 + random.below(4) as u64);
    if !node.shard(log).contains(log) {
        node.shard(log).create(log);
        model.insert(log, Acked::default());
    }
    let end = model.get(&log).map_or(0, Acked::end);
    if random.one_in(12) && end > 0 {
        let start = random.below(end as usize + 1) as Offset;
        node.shard(log).trim(log, start);
        if let Some(acked) = model.get_mut(&log) {
            acked.start = acked.start.max(start);
        }
    }
    let mut waiting = BTreeMap::new();
    for request in 0..=random.below(3) as u64 {
        let length = if random.one_in(4) { random.below(20_000) } else { random.below(300) };
        let mut builder = BatchBuilder::new(1000);
        for _ in 0..=random.below(3) {
            builder.push(1000, None, Some(&random.bytes(length)), &[]);
        }
        let batch = builder.finish();
        node.append(log, &batch, request)?;
        waiting.insert(request, (batch.header().offsets_count(), batch.bytes().slice(12 + 4..)));
    }
    while !waiting.is_empty() {
        node.turn();
        for (request, base) in node.take_acked() {
            let Some((count, bytes)) = waiting.remove(&request) else { continue };
            model.entry(log).or_default().batches.insert(base, (base + count, bytes));
        }
    }
    for _ in 0..random.below(12) {
        node.turn();
    }
    Ok(())
}

// -- damage ----------------------------------------------------------------------------------------------------

fn files(directory: &Path, found: &mut Vec<PathBuf>) -> Result<(), String> {
    let entries = std::fs::read_dir(directory).map_err(|error| error.to_string())?;
    for entry in entries {
        let path = entry.map_err(|error| error.to_string())?.path();
        if path.is_dir() {
            files(&path, found)?;
        } else if path.file_name().is_some_and(|name| name != "lock") {
            found.push(path);
        }
    }
    found.sort();
    Ok(())
}

/// Damages or removes one file; says which and how.
fn damage_one(directory: &Path, random: &mut Random) -> Result<String, String> {
    let mut all = Vec::new();
    files(directory, &mut all)?;
    // Journals and segments hold the records, so half of the time it is one of them.
    let kind = ["journal", "seg"][random.below(2)];
    let of_kind: Vec<PathBuf> =
        all.iter().filter(|path| path.extension().is_some_and(|found| found == kind)).cloned().collect();
    let from = if random.one_in(2) && !of_kind.is_empty() { &of_kind } else { &all };
    let path = &from[random.below(from.len())];
    if random.one_in(12) {
        std::fs::remove_file(path).map_err(|error| error.to_string())?;
        return Ok(format!("{} removed", path.display()));
    }
    let mut bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    let whole = bytes.len();
    // Most of a journal file is room that was never used.
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| (last + 1).next_multiple_of(4096));
    bytes.truncate(used.min(whole));
    let what = spoil(&mut bytes, random);
    if bytes.len() == used.min(whole) {
        bytes.resize(whole, 0);
    }
    std::fs::write(path, bytes).map_err(|error| error.to_string())?;
    Ok(format!("{}: {what}", path.display()))
}

// -- what may be gone ------------------------------------------------------------------------------------------

/// The frames that counted before the damage, by shard, in order.
struct Journals(Vec<Vec<(PathBuf, FrameHeader, Bytes)>>);

/// What the rule about torn frames allows to be gone.
#[derive(Default)]
struct Allowed {
    /// Offsets from which on batches may be missing.
    from: BTreeMap<LogId, Offset>,
    created: Vec<LogId>,
    trimmed: Vec<LogId>,
}

impl Journals {
    fn read(directory: &Path, incarnation: u32, shards: u16) -> Result<Journals, String> {
        let mut journals = Vec::new();
        for shard in 0..shards {
            let state = directory.join(format!("state/{incarnation}-{shard}.checkpoint"));
            let bytes = std::fs::read(&state).map_err(|error| error.to_string())?;
            let checkpoint = Checkpoint::from_bytes(&bytes).ok_or("a sound checkpoint is not read")?;
            let mut paths = Vec::new();
            files(&directory.join(format!("journal/{shard}")), &mut paths)?;
            let mut frames = Vec::new();
            for path in paths {
                let bytes = Bytes::from(std::fs::read(&path).map_err(|error| error.to_string())?);
                let mut at = 0;
                while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
                    let Ok(header) = frame::check(rest) else {
                        at += 4096;
                        continue;
                    };
                    let length = header.length.get() as usize;
                    if header.incarnation.get() == incarnation && header.sequence.get() > checkpoint.sequence
                    {
                        frames.push((path.clone(), header, bytes.slice(at..at + length)));
                    }
                    at += length;
                }
            }
            frames.sort_by_key(|(_, header, _)| header.sequence.get());
            journals.push(frames);
        }
        Ok(Journals(journals))
    }

    /// The unsound frames behind which there is no sound one, and what was in them.
    fn allowed(&self, directory: &Path) -> Allowed {
        let mut allowed = Allowed::default();
        let mut now: BTreeMap<PathBuf, Vec<u8>> = BTreeMap::new();
        let mut all = Vec::new();
        let _ = files(directory, &mut all);
        for path in all {
            now.insert(path.clone(), std::fs::read(&path).unwrap_or_default());
        }
        for frames in &self.0 {
            let sound = |path: &PathBuf, header: &FrameHeader| {
                let at = header.position() as usize;
                let rest = now.get(path).and_then(|bytes| bytes.get(at..)).unwrap_or_default();
                frame::check(rest) == Ok(*header)
            };
            let behind = frames.iter().rev().take_while(|(path, header, _)| !sound(path, header));
            for (_, header, bytes) in behind {
                allowed.all_of(header, bytes);
            }
        }
        allowed
    }
}

impl Allowed {
    fn all_of(&mut self, header: &FrameHeader, bytes: &Bytes) {
        for entry in frame::entries(bytes, header).unwrap_or_default() {
            match entry.kind {
                Kind::Batch | Kind::Placed => {
                    let from = self.from.entry(entry.log).or_insert(entry.offset);
                    *from = entry.offset.min(*from);
                }
                Kind::Create => self.created.push(entry.log),
                Kind::Trim => self.trimmed.push(entry.log),
                Kind::Delete | Kind::Truncate => {}
            }
        }
    }
}

// -- comparing -------------------------------------------------------------------------------------------------

fn compare(node: &mut Node, model: &Model, allowed: &Allowed) -> Result<(), String> {
    for (log, acked) in model {
        let Some(marks) = node.shard(*log).marks(*log) else {
            if allowed.created.contains(log) {
                continue;
            }
            return Err(format!("{log:?} is missing"));
        };
        let may_lose = allowed.from.get(log).copied().unwrap_or(Offset::MAX);
        if marks.durable < acked.end().min(may_lose) {
            return Err(format!("{log:?} ends at {}, acknowledged up to {}", marks.durable, acked.end()));
        }
        // A start above what may be gone was brought down to it, a start that may be gone is any before.
        let start = acked.start.min(may_lose);
        if marks.start > acked.start || (marks.start < start && !allowed.trimmed.contains(log)) {
            return Err(format!("{log:?} begins at {}, trimmed to {}", marks.start, acked.start));
        }
        compare_log(node, *log, acked, marks.start, marks.durable)?;
    }
    Ok(())
}

fn compare_log(node: &mut Node, log: LogId, acked: &Acked, start: Offset, end: Offset) -> Result<(), String> {
    let read = node.read_all(log, start);
    let mut next = start;
    let mut refused = false;
    for piece in read {
        let Ok((base, piece_end, bytes)) = piece else {
            refused = true;
            if let Err(what) = piece
                && (what.contains("gets nowhere") || what.contains("never answered"))
            {
                return Err(what);
            }
            continue;
        };
        if base > next && !refused && next >= acked.start {
            return Err(format!("{log:?} leaves out offsets {next} to {base}"));
        }
        let Some((expected_end, expected)) = acked.batches.get(&base) else {
            return Err(format!("{log:?} has a batch at {base} that nobody appended"));
        };
        let stamp = bytes.get(8..16).unwrap_or_default();
        let length = (expected.len() as u32 + 4).to_be_bytes();
        let right = bytes.get(16..) == Some(expected) && piece_end == *expected_end;
        if !right || !stamp.starts_with(&length) || stamp.get(4..) != Some(&[0; 4]) {
            return Err(format!("{log:?} serves a wrong byte in the batch at {base}"));
        }
        (next, refused) = (piece_end, false);
    }
    if next < end && !refused { Err(format!("{log:?} serves {next} of {end}")) } else { Ok(()) }
}
