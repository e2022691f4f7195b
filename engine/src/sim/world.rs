//! One data directory and the lives of the processes that serve from it, one after another.
//!
//! In: a seed. Out: a [`Summary`], or what was wrong. Never: looks inside a shard: what it sees is what an owner sees.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::clock::Clock;
use super::faults::Kind;
use super::model::{Found, Model};
use super::prng::Prng;
use super::trace::Trace;
use crate::error::OpenError;
use crate::format::batch::split;
use crate::io::disk::Disk;
use crate::io::simulated::{Part, SimulatedDisk};
use crate::limits::Sizes;
use crate::shard::recover::{OpenConfig, Opened, open};
use crate::shard::{ReadOutcome, Shard, ShardEvent};
use crate::types::{LogId, Offset, Ticket};
use crate::verify::verify_on;

/// Turns after which a shard that still has something to do hangs.
const TURNS_MAX: usize = 20_000;

/// Worlds in which room runs short now and then, whatever else happens in them.
const SHORT_OF_ROOM_PERCENT: u64 = 15;

/// Frames that one write which lands in the wrong place can destroy.
const ASTRAY_FRAMES_MAX: usize = 4;

/// Of the worlds in which much of a log goes straight into segments, those where one log has much nearly always.
const BULK_PERCENT: u64 = 50;

/// Worlds in which records have keys and logs are compacted.
const COMPACTED_PERCENT: u64 = 25;

/// Of the worlds from this seed on, some have memory into which runs are read ahead; those before are as they were when the seeds that
/// are kept were found.
pub const FIRST_ROOMY_SEED: u64 = 21_000_000;

/// Of the worlds from this seed on, some have segments reserved for logs that have much; of those before, none, for the same reason.
pub const FIRST_RESERVING_SEED: u64 = 200_000_000;

const ROOMY_PERCENT: u64 = 40;

/// What a seed came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Stands for everything that happened.
    pub trace: u64,
    /// Starts that succeeded.
    pub lives: u64,
    /// Operations of the disk.
    pub operations: u64,
    /// Crashes, power cuts, failed operations, damaged places.
    pub faults: u64,
    /// Acknowledgements that came.
    pub acknowledged: u64,
    /// Reads that were compared with the model.
    pub reads: u64,
    /// Bytes that went straight into segments.
    pub placed_bytes: u64,
    /// Damage was noticed at a start.
    pub refused: bool,
}

/// An acknowledgement to come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    pub(super) log: LogId,
    pub(super) base: Offset,
    pub(super) shard: usize,
    /// Changes of the shard that are safe when it comes.
    pub(super) changes: usize,
    pub(super) duplicate: bool,
}

/// Everything there is.
#[derive(Debug)]
pub struct World {
    pub(super) prng: Prng,
    pub(super) disk: SimulatedDisk,
    pub(super) kind: Kind,
    pub(super) model: Model,
    pub(super) clock: Clock,
    pub(super) shards: Vec<Shard>,
    /// Shards that have said that they failed.
    pub(super) failed: Vec<bool>,
    pub(super) expected: BTreeMap<u64, Expected>,
    /// Truncations that are not done yet, and up to where logs were called committed in this life.
    pub(super) truncating: BTreeMap<u64, Expected>,
    pub(super) committed: BTreeMap<LogId, Offset>,
    reading: BTreeMap<u64, (LogId, Offset)>,
    pub(super) requests: u64,
    pub(super) next_log: u64,
    /// The last start failed where nobody knows whether it counts; the next one is cut off.
    pub(super) unsure: bool,
    /// In percent of the steps, besides those that every world trims in.
    pub(super) trims: u64,
    /// What went astray or rotted, once something has.
    pub(super) astray: Option<String>,
    /// It was one place of a file at rest: then only what lay there may be gone.
    at_rest: bool,
    /// And a start went well since.
    survived: bool,
    pub(super) faults: u64,
    /// Decides when room runs short, in the worlds where it does.
    pub(super) shortages: Option<Prng>,
    /// Decides about keys and when logs are compacted, in the worlds where they are.
    pub(super) compactions: Option<Prng>,
    pub(super) compactions_begun: u64,
    /// Decides about the log that has most of it, in the worlds where one does.
    pub(super) bulk: Option<Prng>,
    config: OpenConfig,
    trace: Trace,
    summary: Summary,
}

fn shard_of(log: LogId, shards: u16) -> u16 {
    (log.0 % u64::from(shards)) as u16
}

impl World {
    pub fn new(seed: u64) -> World {
        let mut prng = Prng::new(seed);
        let disk = SimulatedDisk::default();
        let mut chance = Prng::new(!seed);
        let mut shortages = chance.percent(SHORT_OF_ROOM_PERCENT).then_some(chance);
        let mut chance = Prng::new(seed.rotate_left(32));
        let compactions = chance.percent(COMPACTED_PERCENT).then_some(chance);
        // Few enough that files are closed and opened again all the time.
        // In some worlds one log has most of it and is trimmed all the time, so that segments are used again.
        let mut chance = Prng::new(seed.rotate_left(48));
        let section_bytes_min = chance.one_of(&[1 << 10, 3 << 10, usize::MAX]);
        let new_section_bytes_min = if seed < FIRST_RESERVING_SEED {
            usize::MAX
        } else {
            Prng::new(seed.rotate_left(56)).one_of(&[
                section_bytes_min,
                section_bytes_min.saturating_mul(2),
                usize::MAX,
            ])
        };
        let bulk = (section_bytes_min < usize::MAX && chance.percent(BULK_PERCENT)).then_some(chance);
        let open_segments_max = Prng::new(seed.rotate_left(16)).one_of(&[0, 1, 2, 64]);
        let sync_all_min = Prng::new(seed.rotate_left(8)).one_of(&[2, usize::MAX, usize::MAX]);
        let free_bytes_min = shortages.as_mut().map_or(0, |prng| prng.one_of(&[0, 1]));
        let is_roomy = seed >= FIRST_ROOMY_SEED && Prng::new(seed.rotate_left(24)).percent(ROOMY_PERCENT);
        let config = OpenConfig {
            directory: PathBuf::from("data"),
            disk: Disk::Simulated(disk.clone()),
            shards: 1 + prng.below(3) as u16,
            shard_of,
            node_id: 1,
            new_cluster_id: [9; 16],
            journal_file_bytes: prng.one_of(&[24 << 10, 32 << 10, 64 << 10]),
            memory_bytes: prng.one_of(&[16 << 10, 32 << 10, 96 << 10]) * if is_roomy { 4 } else { 1 },
            sizes: Sizes {
                chunk_bytes: 32 << 10,
                frame_body_bytes: 8 << 10,
                run_bytes: prng.one_of(&[4 << 10, 8 << 10, 16 << 10]),
                segment_bytes: match (prng.one_of(&[12 << 10, 24 << 10, 64 << 10]), &bulk, &compactions) {
                    (_, Some(_), _) => 32 << 10,
                    // Small ones are sealed by age, and merged.
                    (segment_bytes, None, Some(_)) => 4 * segment_bytes,
                    (segment_bytes, None, None) => segment_bytes,
                },
                section_bytes_min,
                new_section_bytes_min,
                cold_read_bytes: Prng::new(seed.rotate_left(40)).one_of(&[4 << 10, 8 << 10, 64 << 10]),
                run_cache_bytes: if is_roomy { 96 << 10 } else { 8 << 10 },
                open_segments_max,
                sync_all_min,
                free_bytes_min,
                compaction_step_us: 100,
            },
        };
        let mut world = World {
            prng,
            disk,
            kind: Kind::Crashes,
            model: Model::default(),
            clock: Clock::default(),
            shards: Vec::new(),
            failed: Vec::new(),
            expected: BTreeMap::new(),
            truncating: BTreeMap::new(),
            committed: BTreeMap::new(),
            reading: BTreeMap::new(),
            requests: 0,
            next_log: 0,
            unsure: false,
            trims: 0,
            astray: None,
            at_rest: false,
            survived: false,
            faults: 0,
            shortages,
            compactions,
            compactions_begun: 0,
            bulk,
            config,
            trace: Trace::new(),
            summary: Summary::default(),
        };
        world.kind = world.choose_kind();
        world.model.compacted = world.compactions.as_mut().map(|prng| prng.percent(50));
        world.trims = world.prng.one_of(&[0, 0, 30]);
        world
    }

    /// Lives until the last one.
    pub fn run(mut self) -> Result<Summary, String> {
        let lives = self.prng.between(2..6);
        for life in 0..=lives {
            if !self.start()? {
                self.summary.refused = true;
                break;
            }
            self.summary.lives += 1;
            if life == lives || (self.astray.is_some() && self.prng.percent(70)) {
                break;
            }
            self.live()?;
            let counts = self.shards.iter().map(Shard::counts);
            self.summary.placed_bytes += counts.map(|counts| counts.placed_bytes).sum::<u64>();
            self.end()?;
        }
        let (operations, troubles) = self.disk.counts();
        self.trace.note(operations);
        let faults = self.faults + troubles;
        Ok(Summary { trace: self.trace.0, operations, faults, ..self.summary })
    }

    pub(super) fn shard_of(&self, log: LogId) -> usize {
        usize::from(shard_of(log, self.shards.len() as u16))
    }

    // -- starting -----------------------------------------------------------------------------------------

    /// Opens the directory, through power cuts and errors; `false`: it is refused because of damage.
    fn start(&mut self) -> Result<bool, String> {
        if self.prng.percent(30) {
            self.config.shards = 1 + self.prng.below(3) as u16;
        }
        for attempt in 0.. {
            if attempt < 3 {
                self.plan_for_start();
            }
            let error = match open(&self.config) {
                Ok(opened) => {
                    self.started(opened)?;
                    return Ok(true);
                }
                Err(error) => error,
            };
            self.trace.note(attempt);
            if self.astray.is_some() && !self.at_rest {
                return Ok(false);
            }
            let injected = self.disk.take_troubled();
            if !matches!(error, OpenError::Io(_)) || !injected {
                return Err(self.blame(format!("a start is refused without a reason: {error}")));
            }
            if self.disk.is_off() || self.prng.percent(30) {
                self.cut_power();
            } else {
                self.disk.heal();
            }
        }
        Ok(false)
    }

    fn started(&mut self, opened: Opened) -> Result<(), String> {
        let Opened { shards, report, .. } = opened;
        self.trace.note(report.frames_count);
        if self.astray.is_none()
            && let Some(damage) = report.damage.first()
        {
            return Err(format!("a start finds damage without a reason: {damage}"));
        }
        self.disk.heal();
        self.shards = shards;
        self.failed = vec![false; self.shards.len()];
        self.clock = Clock::new(self.prng.one_of(&[1, 500, 5_000]));
        self.expected.clear();
        self.truncating.clear();
        self.committed.clear();
        self.reading.clear();
        let found = self.read_everything()?;
        let before = 0..self.model.histories.len();
        let at_risk: Vec<usize> = before.map(|shard| self.frames_at_risk(shard)).collect();
        let recovered = self.model.recovered(self.shards.len(), &at_risk, &found);
        recovered.map_err(|what| self.blame(what))?;
        self.survived = self.astray.is_some();
        for (log, known) in self.model.logs.clone() {
            for again in known.producers.values().flat_map(|producer| producer.known()) {
                if self.prng.percent(20) {
                    self.send_again(log, again)?;
                }
            }
        }
        Ok(())
    }

    /// Frames at the end of a shard's journal that may be gone without a trace.
    fn frames_at_risk(&self, shard: usize) -> usize {
        match &self.astray {
            // A start before this one has found what there was, and begun anew.
            Some(_) if self.survived => 0,
            Some(what) if what.contains(".seg") => 1, // of a run beside the last frame
            Some(what) if !what.contains(&format!("journal/{shard}/")) => 0,
            Some(_) if self.at_rest => 1,
            Some(_) => ASTRAY_FRAMES_MAX,
            None => 0,
        }
    }

    fn blame(&self, what: String) -> String {
        match &self.astray {
            Some(astray) => format!("after {astray}: {what}"),
            None => what,
        }
    }

    /// All that the shards serve, by their own watermarks.
    fn read_everything(&mut self) -> Result<BTreeMap<LogId, Found>, String> {
        let logs: BTreeSet<LogId> = self.shards.iter().flat_map(Shard::logs).collect();
        let mut everything = BTreeMap::new();
        for log in logs {
            let Some(marks) = self.shards[self.shard_of(log)].marks(log) else {
                return Err(format!("{log:?} is in a shard that is not its own"));
            };
            let (mut next, mut reads) = (marks.start, Vec::new());
            while next < marks.durable {
                let before = next;
                let outcome = match self.read_now(log, next)? {
                    Some(outcome) => outcome,
                    None => return Err(format!("a read of {log:?} at {next} is never answered")),
                };
                next = match outcome {
                    ReadOutcome::Data { batches, .. } => {
                        let last = batches.iter().cloned().flat_map(split).last();
                        reads.push((next, batches));
                        last.map_or(next, |(header, _)| {
                            header.base_offset.get() as Offset + header.offsets_count()
                        })
                    }
                    ReadOutcome::Damaged(_) if self.astray.is_some() => next + 1,
                    other => return Err(self.blame(format!("{log:?} at {next}: {other:?}"))),
                };
                if next <= before {
                    return Err(self.blame(format!("a read of {log:?} at {before} gets nowhere")));
                }
            }
            everything.insert(log, Found { marks, reads });
        }
        Ok(everything)
    }

    fn read_now(&mut self, log: LogId, from: Offset) -> Result<Option<ReadOutcome>, String> {
        let shard = self.shard_of(log);
        let ticket = Ticket { owner: 2, request: from };
        if let Some(outcome) = self.shards[shard].read(log, from, 16 << 10, ticket) {
            return Ok(Some(outcome));
        }
        let mut wanted = Vec::new();
        for _ in 0..TURNS_MAX {
            self.shards[shard].collect(&mut wanted);
            for (token, op) in wanted.drain(..) {
                let completion = self.config.disk.execute(token, op);
                self.shards[shard].complete(completion);
            }
            while let Some(event) = self.shards[shard].next_event() {
                match event {
                    ShardEvent::Read { ticket: found, outcome } if found == ticket => {
                        return Ok(Some(outcome));
                    }
                    other => self.take_event(shard, other)?,
                }
            }
        }
        Ok(None)
    }

    // -- living -------------------------------------------------------------------------------------------

    fn live(&mut self) -> Result<(), String> {
        self.plan_for_life();
        let steps = self.prng.between(10..120) * if self.bulk.is_some() { 2 } else { 1 };
        for _ in 0..steps {
            self.step()?;
            self.turn()?;
            if self.disk.is_off() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Some time passes; what is done is taken, what is wanted is begun.
    fn turn(&mut self) -> Result<(), String> {
        let us = self.prng.below(2_000);
        self.clock.advance(us);
        let disk = self.config.disk.clone();
        while let Some((shard, completion)) = self.clock.next(&disk, &mut self.trace) {
            self.shards[shard].complete(completion);
            self.take_events(shard)?;
        }
        let mut wanted = Vec::new();
        for shard in 0..self.shards.len() {
            if self.prng.percent(85) {
                self.shards[shard].commit(self.clock.now());
            }
            self.shards[shard].collect(&mut wanted);
            self.clock.begin(shard, &mut wanted, &mut self.prng);
            self.take_events(shard)?;
        }
        Ok(())
    }

    fn take_events(&mut self, shard: usize) -> Result<(), String> {
        let (before, mut is_frame) = (self.model.safe(shard), false);
        while let Some(event) = self.shards[shard].next_event() {
            // A truncation may be done long after its frame was durable, so it tells nothing of a later one.
            is_frame |= !matches!(event, ShardEvent::Truncated { .. });
            self.take_event(shard, event)?;
        }
        if is_frame {
            self.model.frame_ends(shard, before);
        }
        Ok(())
    }

    fn take_event(&mut self, shard: usize, event: ShardEvent) -> Result<(), String> {
        match event {
            ShardEvent::Appended { ticket, base_offset, duplicate, .. } => {
                self.trace.note(ticket.request ^ (base_offset << 20));
                let Some(expected) = self.expected.remove(&ticket.request) else {
                    return Err(format!("request {} is acknowledged twice", ticket.request));
                };
                if self.failed[shard] {
                    return Err(format!("{:?} acknowledges after its shard has failed", expected.log));
                }
                if (expected.base, expected.duplicate, expected.shard) != (base_offset, duplicate, shard) {
                    return Err(format!("{expected:?} is acknowledged at {base_offset}"));
                }
                self.summary.acknowledged += 1;
                self.model.acknowledged(shard, expected.changes);
            }
            ShardEvent::Truncated { ticket } => {
                self.trace.note(ticket.request ^ 78 << 40);
                let Some(expected) = self.truncating.remove(&ticket.request) else {
                    return Err(format!("truncation {} is done twice", ticket.request));
                };
                if self.failed[shard] {
                    return Err(format!("{:?} is truncated after its shard has failed", expected.log));
                }
                self.summary.acknowledged += 1;
                self.model.acknowledged(shard, expected.changes);
            }
            ShardEvent::Read { ticket, outcome } => {
                let Some((log, from)) = self.reading.remove(&ticket.request) else {
                    return Err(format!("a read is answered twice: {outcome:?}"));
                };
                self.check_outcome(log, from, outcome)?;
            }
            ShardEvent::Failed { what } => {
                self.trace.note(77);
                if !self.disk.has_troubled() && self.astray.is_none() {
                    return Err(format!("a shard fails without a reason: {what}"));
                }
                self.failed[shard] = true;
            }
            ShardEvent::Advanced { .. } => {}
        }
        Ok(())
    }

    /// Reads at `from`, now or later.
    pub(super) fn read(&mut self, log: LogId, from: Offset, bytes_max: usize) -> Result<(), String> {
        self.requests += 1;
        self.summary.reads += 1;
        let ticket = Ticket { owner: 1, request: self.requests };
        let shard = self.shard_of(log);
        match self.shards[shard].read(log, from, bytes_max, ticket) {
            Some(outcome) => self.check_outcome(log, from, outcome),
            None => {
                self.reading.insert(ticket.request, (log, from));
                Ok(())
            }
        }
    }

    fn check_outcome(&mut self, log: LogId, from: Offset, outcome: ReadOutcome) -> Result<(), String> {
        let known = self.model.logs.get(&log).map(|log| (log.start, log.end));
        let Some((start, end)) = known else { return Ok(()) }; // deleted meanwhile
        match outcome {
            ReadOutcome::Data { batches, durable, .. } => {
                let next = self.model.check_read(log, from, &batches).map_err(|what| self.blame(what))?;
                self.trace.note(next);
                if next == from && from < durable && from >= start {
                    return Err(self.blame(format!("{log:?} serves nothing at {from} below {durable}")));
                }
                let unsafe_one = batches
                    .iter()
                    .cloned()
                    .flat_map(split)
                    .map(|(header, _)| header.base_offset.get() as Offset)
                    .find(|base| !self.model.is_safe(log, *base));
                match unsafe_one {
                    Some(base) => Err(format!("{log:?} serves the batch at {base} before it is durable")),
                    None => Ok(()),
                }
            }
            ReadOutcome::OutOfRange { log_start, durable } => {
                let wrong = log_start != start || durable > end || (from >= log_start && from <= durable);
                if wrong {
                    return Err(format!(
                        "{log:?} has {start}..{end}, but says {log_start}..{durable} at {from}"
                    ));
                }
                Ok(())
            }
            ReadOutcome::UnknownLog => Err(format!("{log:?} is not known")),
            ReadOutcome::Damaged(_) if self.astray.is_some() || self.gone_astray() => Ok(()),
            ReadOutcome::Fault { .. } if from < start || self.disk.has_troubled() => Ok(()),
            other => Err(self.blame(format!("{log:?} at {from}: {other:?}"))),
        }
    }

    /// Whether a write has gone astray, which is damage from then on.
    fn gone_astray(&mut self) -> bool {
        if let Some(path) = self.disk.take_rotten().into_iter().next() {
            self.astray = Some(format!("a write to {} that went astray", path.display()));
        }
        self.astray.is_some()
    }

    // -- ending -------------------------------------------------------------------------------------------

    fn end(&mut self) -> Result<(), String> {
        let off = self.disk.is_off();
        let choice = self.prng.below(10);
        if !off && choice < 2 {
            self.stop_cleanly()?;
        }
        for (index, shard) in self.shards.iter().enumerate() {
            if shard.is_quiet() && !self.failed[index] && !off {
                self.model.sealed(index);
            }
        }
        self.shards.clear();
        let clock = std::mem::take(&mut self.clock);
        let disk = self.config.disk.clone();
        clock.abandon(&disk, &mut self.prng);
        let off = off || self.disk.is_off();
        self.gone_astray();
        self.faults += u64::from(choice >= 2);
        if off || choice >= 4 {
            self.cut_power();
        } else {
            self.disk.heal();
        }
        self.expected.clear();
        self.truncating.clear();
        self.committed.clear();
        self.reading.clear();
        if self.kind == Kind::Rot && self.astray.is_none() && self.prng.percent(70) {
            self.astray = self.rot();
            self.at_rest = self.astray.is_some();
        }
        // After a sync that failed, what it should have written is lost, and the check may say so.
        if self.astray.is_none() && self.kind != Kind::Errors && self.prng.percent(20) {
            self.verify()?;
        }
        Ok(())
    }

    fn stop_cleanly(&mut self) -> Result<(), String> {
        for _ in 0..TURNS_MAX {
            for shard in &mut self.shards {
                shard.hasten_seal();
            }
            self.turn()?;
            self.clock.advance(10_000);
            if self.disk.is_off() || self.failed.contains(&true) {
                return Ok(());
            }
            let has_room = |shard: &Shard| shard.shortage().is_none();
            let quiet = self.shards.iter().all(|shard| shard.is_quiet() && has_room(shard));
            if self.clock.is_idle() && quiet {
                if let Some(expected) = self.expected.values().next() {
                    return Err(format!("{expected:?} is never acknowledged"));
                }
                if let Some(expected) = self.truncating.values().next() {
                    return Err(format!("{expected:?} is never truncated"));
                }
                if let Some((log, from)) = self.reading.values().next() {
                    return Err(format!("a read of {log:?} at {from} is never answered"));
                }
                self.model.all_safe();
                return Ok(());
            }
        }
        // Writes that find no room for good are none of the shards' doing.
        let is_short = self.shards.iter().any(|shard| shard.shortage().is_some());
        match is_short && self.disk.has_troubled() {
            true => Ok(()),
            false => Err("the shards never come to rest".to_string()),
        }
    }

    fn cut_power(&mut self) {
        self.faults += 1;
        let share = |prng: &mut Prng| prng.one_of(&[0, 20, 50, 80, 100]);
        let (names, data) = (share(&mut self.prng), share(&mut self.prng));
        let World { disk, prng, .. } = self;
        disk.power_cut(|part| prng.percent(if part == Part::Name { names } else { data }));
    }

    /// The offline check must find nothing either.
    fn verify(&mut self) -> Result<(), String> {
        if !self.config.disk.exists(Path::new("data/superblock")) {
            return Ok(());
        }
        let report =
            verify_on(&self.config.disk, Path::new("data")).map_err(|error| format!("verify: {error}"))?;
        match report.findings.first() {
            Some(finding) => Err(format!("verify finds damage where there is none: {finding}")),
            None => Ok(()),
        }
    }
}
