//! Many pre-encoded produces over many connections, as fast as they are answered or at a fixed rate.
//!
//! In: a running broker. Out: records per second and latencies. Never: counts a batch that was not acknowledged.

mod closed;
mod open;
#[cfg(test)]
mod tests;

use std::sync::Barrier;
use std::time::Duration;

use ringmain_engine::format::batch::CheckedBatch;
use ringmain_engine::format::record::BatchBuilder;
use serde_json::json;

use crate::args::LoadProduce;
use crate::failure::Failure;
use crate::histogram::Latencies;
use crate::interrupt::Interrupt;
use crate::kafka::{self, Connection, Topic};
use crate::machine::Machine;
use crate::report;

/// What one connection did.
struct Outcome {
    latencies: Latencies,
    elapsed: Duration,
}

/// One connection and the request it sends again and again.
struct Lane<'a> {
    connection: Connection,
    topic: &'a str,
    frame: Vec<u8>,
    in_flight: usize,
    time: Duration,
    interrupt: &'a Interrupt,
}

impl Lane<'_> {
    /// Takes the answer to request `correlation`.
    fn acknowledged(&mut self, correlation: i32) -> Result<(), Failure> {
        match self.connection.receive(correlation)?.produced() {
            Some((0, _)) => Ok(()),
            found => Err(kafka::refused(self.topic, found.map(|(error, _)| error))),
        }
    }
}

/// Runs the load and prints what came back.
pub fn run(args: &LoadProduce, interrupt: &Interrupt) -> Result<(), Failure> {
    report::check(args.json.as_deref())?;
    let machine = Machine::here();
    let batch = batch_of(args);
    let records_count = f64::from(batch.header().records_count.get());
    let mut topic = Topic::create(&args.target, args.partitions)?;
    topic.settle(args.partitions, batch.bytes())?;
    report::print(&machine.lines())?;

    let outcomes = send_all(args, &topic, &batch, interrupt)?;
    let mut all = Latencies::new();
    let mut batches_per_second = 0.0;
    for outcome in &outcomes {
        all.merge(&outcome.latencies);
        batches_per_second += outcome.latencies.count() as f64 / outcome.elapsed.as_secs_f64();
    }
    let batch_bytes = batch.bytes().len();
    let (records_per_second, bytes_per_second) =
        (batches_per_second * records_count, batches_per_second * batch_bytes as f64);
    let (p50, p99, p999) = (all.percentile_us(50.0), all.percentile_us(99.0), all.percentile_us(99.9));
    report::print(&format!(
        "\nacknowledged  {} batches of {batch_bytes} bytes, {records_count} records each\n\
         throughput    {records_per_second:.0} records/s, {batches_per_second:.0} batches/s, {:.1} MB/s\n\
         latency us    p50 {p50:.1}, p99 {p99:.1}, p99.9 {p999:.1}, max {:.1}\n",
        all.count(),
        bytes_per_second / 1e6,
        all.max_us(),
    ))?;
    let figures = json!({
        "batches": all.count(),
        "batch_bytes": batch_bytes,
        "records_per_second": records_per_second,
        "bytes_per_second": bytes_per_second,
        "p50_us": p50,
        "p99_us": p99,
        "p999_us": p999,
        "max_us": all.max_us(),
    });
    report::save(args.json.as_deref(), &machine, figures)
}

/// As many records as `batch_bytes` holds, but at least one.
fn batch_of(args: &LoadProduce) -> CheckedBatch {
    let value = vec![0x5a; args.record_bytes as usize];
    let now_ms = kafka::now_ms();
    let mut builder = BatchBuilder::new(now_ms);
    let mut record_bytes = 0;
    while builder.is_empty() || builder.len() + record_bytes <= args.batch_bytes as usize {
        let before = builder.len();
        builder.push(now_ms, None, Some(&value), &[]);
        record_bytes = builder.len() - before;
    }
    builder.finish()
}

/// All connections at once; the first failure is the outcome.
fn send_all(
    args: &LoadProduce,
    topic: &Topic,
    batch: &CheckedBatch,
    interrupt: &Interrupt,
) -> Result<Vec<Outcome>, Failure> {
    let mut lanes = Vec::new();
    for number in 0..args.connections {
        let partition = (number % args.partitions) as i32;
        lanes.push(Lane {
            connection: Connection::open(&args.target)?,
            topic: topic.name(),
            frame: kafka::produce(topic.name(), partition, batch.bytes()),
            in_flight: args.in_flight as usize,
            time: Duration::from_secs(args.seconds),
            interrupt,
        });
    }
    let lanes_count = lanes.len() as f64;
    let pace = args.rate.map(|rate| Duration::from_secs_f64(lanes_count / rate as f64));
    let barrier = Barrier::new(lanes.len());
    let drive = |number: usize, lane: Lane<'_>| {
        barrier.wait();
        match pace {
            None => closed::drive(lane),
            // Begun one after the other, so that they do not all send at the same moments.
            Some(pace) => open::drive(lane, pace, pace.mul_f64(number as f64 / lanes_count)),
        }
    };
    let drive = &drive;
    std::thread::scope(|scope| {
        let numbered = lanes.into_iter().enumerate();
        let threads: Vec<_> =
            numbered.map(|(number, lane)| scope.spawn(move || drive(number, lane))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or(Err(Failure::Interrupted))).collect()
    })
}
