//! The limit that the broker is compared with: the least program that could do its job, under the same load.
//!
//! In: a directory. Out: what that program does, and what the same program does without a disk, which is what the
//! client can ask for. Never: compares runs of different minutes: the two take turns.

pub mod disk;
mod request;
pub mod running;
mod server;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde_json::{Value, json};

use crate::args::Floor;
use crate::cores::Cores;
use crate::failure::Failure;
use crate::histogram::median;
use crate::interrupt::Interrupt;
use crate::load::work::{Load, Place, Protocol};
use crate::machine::Machine;
use crate::output;
use disk::Keep;
use running::Running;

/// One kind of work and what both servers made of it in each round.
struct Row {
    name: &'static str,
    load: Load,
    floor: Side,
    null: Side,
}

#[derive(Default)]
struct Side {
    per_second: Vec<f64>,
    p50_us: Vec<f64>,
    p99_us: Vec<f64>,
}

impl Side {
    fn measure(&mut self, load: &Load, target: &str, interrupt: &Interrupt) -> Result<(), Failure> {
        let load = Load { target: target.to_owned(), ..load.clone() };
        let tally = Place::prepare(&load)?.produce(&load, interrupt)?;
        self.per_second.push(tally.records as f64 / tally.seconds());
        self.p50_us.push(tally.response.percentile_us(50.0));
        self.p99_us.push(tally.response.percentile_us(99.0));
        Ok(())
    }

    fn line(&self) -> String {
        let of = |values: &Vec<f64>| median(values.clone());
        format!("{:>12.0} {:>9.0} {:>9.0}", of(&self.per_second), of(&self.p50_us), of(&self.p99_us))
    }

    fn json(&self) -> Value {
        json!({ "records_per_second": self.per_second, "p50_us": self.p50_us, "p99_us": self.p99_us })
    }
}

/// The three kinds of work every broker is judged by: bulk, alone, and many that each wait.
fn rows(seconds: u64) -> Vec<Row> {
    let kinds: [(&'static str, u64, u64, u64); 3] = [
        ("16 KiB batches, 4 connections x 8 in flight", 4, 8, 16 << 10),
        ("1 record of 1 KiB, 1 connection x 1 in flight", 1, 1, 1),
        ("1 record of 1 KiB, 64 connections x 1 in flight", 64, 1, 1),
    ];
    let row = |(name, connections, in_flight, batch_bytes)| Row {
        name,
        load: Load {
            protocol: Protocol::Kafka,
            target: String::new(),
            connections,
            in_flight,
            batch_bytes,
            record_bytes: 1024,
            partitions: 4,
            seconds,
            warm_up: Duration::from_millis(300),
            rate: None,
            follow_leaders: false,
            topic: None,
            queue_kind: None,
            ack_every: 1,
        },
        floor: Side::default(),
        null: Side::default(),
    };
    kinds.map(row).into()
}

/// Measures, or with `listen` only serves.
pub fn run(args: &Floor, interrupt: &Interrupt) -> Result<(), Failure> {
    output::check(args.json.as_deref())?;
    let machine = if args.null { Machine::here() } else { Machine::at(&args.dir)? };
    let cores = Cores::choose();
    if let Some(listen) = &args.listen {
        return serve(args, listen, cores, interrupt);
    }
    output::print(&machine.lines())?;
    let floor = Running::start("127.0.0.1:0", Some((&args.dir, args.keep)), cores, interrupt)?;
    let null = Running::start("127.0.0.1:0", None, cores, interrupt)?;
    if let Some(cores) = cores {
        cores.pin_asking();
        output::print(&format!("cores        {}\n", cores.line()))?;
    }
    let (rounds, seconds) = if args.quick { (3, 1) } else { (5, 3) };
    let mut rows = rows(seconds);
    for _ in 0..rounds {
        for row in &mut rows {
            row.null.measure(&row.load, null.target(), interrupt)?;
            row.floor.measure(&row.load, floor.target(), interrupt)?;
        }
    }
    output::print(&table(&rows, args.keep))?;
    let keep = format!("{:?}", args.keep);
    let figures = rows.iter().map(
        |row| json!({ "work": row.name, "keep": keep, "floor": row.floor.json(), "null": row.null.json() }),
    );
    output::save(args.json.as_deref(), &machine, "floor", figures.collect())
}

fn serve(args: &Floor, listen: &str, cores: Option<Cores>, interrupt: &Interrupt) -> Result<(), Failure> {
    let disk = (!args.null).then_some((args.dir.as_path(), args.keep));
    let running = Running::start(listen, disk, cores, interrupt)?;
    output::print(&format!("ready kafka={}\n", running.target()))?;
    while !running.has_ended() {
        if interrupt.check().is_err() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Err(Failure::Broker("the least broker has ended".to_owned()))
}

fn table(rows: &[Row], keep: Keep) -> String {
    let kept = match keep {
        Keep::Nothing => "",
        Keep::Twice => ", and once more behind, into new blocks",
        Keep::Once => ", into new blocks",
        Keep::TwiceOver => ", and once more behind, over old blocks",
        Keep::Apart(_) => ", over old blocks of a file for each log",
    };
    let mut out = format!(
        "\nmedians; durable: one write of what came in, RWF_DSYNC{kept}; null: no write at all\n\n\
         {:<48} {:>32} {:>32} {:>12}\n{:<48} {:>12} {:>9} {:>9} {:>12} {:>9} {:>9} {:>12}\n",
        "",
        "durable",
        "null",
        "",
        "work",
        "records/s",
        "p50 us",
        "p99 us",
        "records/s",
        "p50 us",
        "p99 us",
        "null/durable"
    );
    for Row { name, floor, null, .. } in rows {
        let ratio =
            median(null.per_second.iter().zip(&floor.per_second).map(|(null, floor)| null / floor).collect());
        out += &format!("{name:<48} {} {} {ratio:>12.2}\n", floor.line(), null.line());
    }
    out
}
