//! What a run came to, for people and for programs.
//!
//! In: a tally. Out: lines, JSON. Never: a throughput without the latencies that go with it.

use serde_json::{Value, json};

use super::tally::Tally;
use super::work::Load;
use crate::histogram::Latencies;

/// The percentiles of a curve: what a plot needs, from the middle to the tail.
const CURVE: [f64; 14] =
    [1.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95, 99.99, 99.999, 100.0];

/// A few lines.
pub fn text(load: &Load, work: &str, tally: &Tally) -> String {
    let seconds = tally.seconds();
    let mut out = format!(
        "\nwork          {work}, {}, {}\n\
         acknowledged  {} records in {} answers, {seconds:.1} s\n\
         throughput    {:.0} records/s, {:.1} MB/s\n",
        load.protocol.name(),
        loop_of(load),
        tally.records,
        tally.response.count() - tally.unsent,
        tally.records as f64 / seconds,
        tally.bytes as f64 / seconds / 1e6,
    );
    let meaning = if load.rate.is_some() { "from the planned time" } else { "from sending" };
    out += &format!("latency us    {} ({meaning})\n", line(&tally.response));
    if load.rate.is_some() {
        out += &format!("service us    {} (from sending)\n", line(&tally.service));
    }
    if tally.unsent > 0 {
        out += &format!(
            "NOT SENT      {} planned requests: the server is slower than this rate; they count with the time they waited\n",
            tally.unsent
        );
    }
    out
}

fn line(latencies: &Latencies) -> String {
    let of = |percent| latencies.percentile_us(percent);
    format!("p50 {:.1}, p99 {:.1}, p99.9 {:.1}, max {:.1}", of(50.0), of(99.0), of(99.9), latencies.max_us())
}

fn loop_of(load: &Load) -> String {
    let where_to = if load.follow_leaders { " to leaders" } else { "" };
    let closed = format!("{} connections{where_to}, {} in flight each", load.connections, load.in_flight);
    match load.rate {
        Some(rate) => format!("open loop, {rate} requests/s over {closed}"),
        None => format!("closed loop, {closed}"),
    }
}

/// Everything a report or a comparison needs.
pub fn json(load: &Load, work: &str, tally: &Tally) -> Value {
    let seconds = tally.seconds();
    let intervals: Vec<Value> = tally
        .intervals
        .iter()
        .map(|interval| {
            json!({
                "records_per_second": interval.records as f64 / tally.interval_seconds(),
                "p50_us": interval.latencies.value_at_quantile(0.5) as f64 / 1e3,
                "p99_us": interval.latencies.value_at_quantile(0.99) as f64 / 1e3,
            })
        })
        .collect();
    json!({
        "work": work,
        "protocol": load.protocol.name(),
        "target": load.target,
        "connections": load.connections,
        "in_flight": load.in_flight,
        "batch_bytes": load.batch_bytes,
        "record_bytes": load.record_bytes,
        "partitions": load.partitions,
        "rate": load.rate,
        "follow_leaders": load.follow_leaders,
        "seconds": seconds,
        "records": tally.records,
        "answers": tally.response.count() - tally.unsent,
        "unsent": tally.unsent,
        "records_per_second": tally.records as f64 / seconds,
        "bytes_per_second": tally.bytes as f64 / seconds,
        "response": curve(&tally.response),
        "service": curve(&tally.service),
        "interval_seconds": tally.interval_seconds(),
        "intervals": intervals,
    })
}

fn curve(latencies: &Latencies) -> Value {
    let points: Vec<Value> =
        CURVE.iter().map(|percent| json!([percent, latencies.percentile_us(*percent)])).collect();
    json!({
        "p50_us": latencies.percentile_us(50.0),
        "p99_us": latencies.percentile_us(99.0),
        "p999_us": latencies.percentile_us(99.9),
        "max_us": latencies.max_us(),
        "curve_us": points,
    })
}
