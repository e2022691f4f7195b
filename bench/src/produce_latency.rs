//! One durable produce at a time, beside the two things it cannot do without: a durable write and a round trip.
//!
//! In: a broker (or none: one is started), a directory on the device to compare with. Out: p50 and p99 of the
//! three, and the ratio produce / (write + round trip). Never: compares parts that were not measured in the same
//! round: disks and neighbours change from minute to minute.

use std::path::Path;
use std::time::{Duration, Instant};

use ringmain_engine::format::batch::CheckedBatch;
use ringmain_engine::format::record::BatchBuilder;
use serde_json::{Value, json};

use crate::args::ProduceLatency;
use crate::broker::Broker;
use crate::cores::Cores;
use crate::failure::Failure;
use crate::histogram::{Latencies, median};
use crate::interrupt::Interrupt;
use crate::machine::Machine;
use crate::output;
use crate::raw::ring::{Appender, BLOCK_BYTES, Blocks, Durable};
use crate::raw::tcp::PingPong;
use crate::wire::kafka::{self, Connection, Topic};

/// The file the raw write goes round in, as large as one journal file.
const FILE_BYTES: u64 = 64 << 20;
const RECORD_BYTES: usize = 1024;
/// Turns before the first that counts, in each round.
const WARM_UP: u64 = 100;

/// One round: the three parts one after the other.
struct Round {
    write: Latencies,
    round_trip: Latencies,
    produce: Latencies,
}

impl Round {
    /// What the broker adds: 1.0 is a broker that costs nothing.
    fn ratio(&self, percent: f64) -> f64 {
        let floor = self.write.percentile_us(percent) + self.round_trip.percentile_us(percent);
        self.produce.percentile_us(percent) / floor
    }

    fn json(&self) -> Value {
        let part = |latencies: &Latencies| {
            let (p50, p99) = (latencies.percentile_us(50.0), latencies.percentile_us(99.0));
            json!({ "count": latencies.count(), "p50_us": p50, "p99_us": p99, "max_us": latencies.max_us() })
        };
        json!({
            "write_4k": part(&self.write),
            "round_trip": part(&self.round_trip),
            "produce": part(&self.produce),
            "ratio_p50": self.ratio(50.0),
            "ratio_p99": self.ratio(99.0),
        })
    }
}

/// Measures `rounds` rounds and prints each and their medians.
pub fn run(args: &ProduceLatency, interrupt: &Interrupt) -> Result<(), Failure> {
    output::check(args.json.as_deref())?;
    let machine = Machine::at(&args.dir)?;
    let cores = Cores::choose();
    let own = match &args.target {
        Some(_) => None,
        None => Some(Broker::start(&args.dir, cores, interrupt)?),
    };
    let target = args.target.as_deref().or(own.as_ref().map(Broker::target)).unwrap_or_default();
    let mut ping_pong = PingPong::start(cores)?;
    // Only now: the broker and the answering thread would inherit it.
    if let Some(cores) = cores {
        cores.pin_asking();
    }
    let mut topic = Topic::create(target, 1)?;
    topic.settle(1, one_record().bytes())?;
    let mut producer = Producer::open(target, topic.name())?;

    let placing = cores.map_or_else(|| "not pinned".to_owned(), |cores| cores.line());
    let broker = if own.is_some() { "pinned as said" } else { "where its owner put it" };
    output::print(&format!(
        "{}cores        {placing}\nbroker       {target}, {broker}\n\n{}",
        machine.lines(),
        heading()
    ))?;
    let mut rounds = Vec::new();
    for number in 1..=args.rounds {
        let time = Duration::from_secs(args.seconds);
        let round = Round {
            write: write_latencies(&args.dir, cores, time, interrupt)?,
            round_trip: timed(time, interrupt, || ping_pong.round_trip())?,
            produce: timed(time, interrupt, || producer.produce())?,
        };
        output::print(&line(&number.to_string(), &[&round]))?;
        rounds.push(round);
    }
    output::print(&line("median", &rounds.iter().collect::<Vec<_>>()))?;
    output::save(
        args.json.as_deref(),
        &machine,
        "produce-latency",
        Value::Array(rounds.iter().map(Round::json).collect()),
    )
}

/// Writes from a thread on the answering core, where a broker writes too, with a ring of its own.
fn write_latencies(
    dir: &Path,
    cores: Option<Cores>,
    time: Duration,
    interrupt: &Interrupt,
) -> Result<Latencies, Failure> {
    let measure = || {
        if let Some(cores) = cores {
            cores.pin_answering();
        }
        let mut file = Appender::create(dir, Blocks::Written, FILE_BYTES, BLOCK_BYTES)?;
        timed(time, interrupt, || file.append(BLOCK_BYTES, Durable::WithWrite))
    };
    std::thread::scope(|scope| scope.spawn(measure).join().unwrap_or(Err(Failure::Interrupted)))
}

/// Does `turn` again and again for `time`, after a short warm-up.
fn timed(
    time: Duration,
    interrupt: &Interrupt,
    mut turn: impl FnMut() -> Result<(), Failure>,
) -> Result<Latencies, Failure> {
    for _ in 0..WARM_UP {
        turn()?;
    }
    let mut latencies = Latencies::new();
    let begin = Instant::now();
    let mut last = begin;
    while last - begin < time {
        interrupt.check()?;
        turn()?;
        let now = Instant::now();
        latencies.record(now - last);
        last = now;
    }
    Ok(latencies)
}

/// One record of [`RECORD_BYTES`], timestamped now.
fn one_record() -> CheckedBatch {
    let now_ms = kafka::now_ms();
    let mut builder = BatchBuilder::new(now_ms);
    builder.push(now_ms, None, Some(&[0x5a; RECORD_BYTES]), &[]);
    builder.finish()
}

/// One connection with one request that is sent again and again.
struct Producer {
    connection: Connection,
    frame: Vec<u8>,
    topic: String,
    correlation: i32,
    /// Offset of the last record that was acknowledged.
    last_offset: i64,
}

impl Producer {
    fn open(target: &str, topic: &str) -> Result<Producer, Failure> {
        let frame = kafka::produce(topic, 0, one_record().bytes());
        let connection = Connection::open(target)?;
        Ok(Producer { connection, frame, topic: topic.to_owned(), correlation: 0, last_offset: -1 })
    }

    fn produce(&mut self) -> Result<(), Failure> {
        self.correlation = self.correlation.wrapping_add(1);
        kafka::patch(&mut self.frame, self.correlation);
        match self.connection.exchange(&self.frame, self.correlation)?.produced() {
            Some((0, offset)) if offset > self.last_offset => {
                self.last_offset = offset;
                Ok(())
            }
            Some((0, offset)) => {
                let last = self.last_offset;
                Err(Failure::Broker(format!("a record was acknowledged at offset {offset} after {last}")))
            }
            found => Err(kafka::refused(&self.topic, found.map(|(error, _)| error))),
        }
    }
}

fn heading() -> String {
    format!(
        "{:>8} {:>19} {:>19} {:>19} {:>15}\n{:>8} {:>19} {:>19} {:>19} {:>15}\n",
        "",
        "(a) durable 4 KiB",
        "(b) round trip",
        "(c) produce 1 KiB",
        "c / (a + b)",
        "round",
        "p50 / p99 us",
        "p50 / p99 us",
        "p50 / p99 us",
        "p50 / p99",
    )
}

/// Medians of `rounds`, which is the round itself if there is only one.
fn line(name: &str, rounds: &[&Round]) -> String {
    let of = |figure: &dyn Fn(&Round) -> f64| median(rounds.iter().map(|round| figure(round)).collect());
    let both = |part: fn(&Round) -> &Latencies| {
        let (p50, p99) =
            (of(&|round| part(round).percentile_us(50.0)), of(&|round| part(round).percentile_us(99.0)));
        format!("{p50:.1} / {p99:.1}")
    };
    format!(
        "{name:>8} {:>19} {:>19} {:>19} {:>15}\n",
        both(|round| &round.write),
        both(|round| &round.round_trip),
        both(|round| &round.produce),
        format!("{:.2} / {:.2}", of(&|round| round.ratio(50.0)), of(&|round| round.ratio(99.0))),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_to_the_sum_of_the_parts() {
        let of = |us: u64| {
            let mut latencies = Latencies::new();
            latencies.record(Duration::from_micros(us));
            latencies
        };
        let round = Round { write: of(20), round_trip: of(20), produce: of(60) };
        assert!((round.ratio(50.0) - 1.5).abs() < 0.01);
        assert!(line("1", &[&round]).ends_with("1.50 / 1.50\n"));
    }
}
