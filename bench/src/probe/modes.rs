//! Ways to set up io_uring, on the same reads.
//!
//! In: a pre-written file. Out: reads per second and processor time per read of each way. Never: fails because the
//! kernel does not have one of them.

use std::fs::File;
use std::time::Duration;

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::raw::device::{Device, Issue, Setup, Stream, thread_time};

const WAYS: [(&str, Setup); 7] = {
    const fn setup(issue: Issue, registered_file: bool, registered_buffers: bool) -> Setup {
        Setup { issue, registered_file, registered_buffers }
    }
    [
        ("default", setup(Issue::Default, false, false)),
        ("coop taskrun", setup(Issue::CoopTaskrun, false, false)),
        ("defer taskrun", setup(Issue::DeferTaskrun, false, false)),
        ("defer, registered file", setup(Issue::DeferTaskrun, true, false)),
        ("defer, registered buffers", setup(Issue::DeferTaskrun, false, true)),
        ("defer, both registered", setup(Issue::DeferTaskrun, true, true)),
        ("kernel thread polls", setup(Issue::KernelThread, true, true)),
    ]
};

/// One way at depth 1 and 32: reads per second, processor time of the calling thread per read.
struct Row {
    name: &'static str,
    figures: Option<[(f64, f64); 2]>,
}

/// All ways.
pub struct Modes(Vec<Row>);

impl Modes {
    pub fn measure(
        (file, bytes): (&File, u64),
        time: Duration,
        interrupt: &Interrupt,
    ) -> Result<Modes, Failure> {
        let mut rows = Vec::new();
        for (name, setup) in WAYS {
            let mut figures = [(0.0, 0.0); 2];
            let mut allowed = true;
            for (place, depth) in figures.iter_mut().zip([1, 32]) {
                let stream = Stream { write: false, random: true, block_bytes: 4096, depth, durable: false };
                let Ok(mut device) = Device::open(file, bytes, &[stream], setup) else {
                    allowed = false;
                    break;
                };
                let before = thread_time();
                let found = device.measure(time, interrupt)?;
                let spent = thread_time() - before;
                for figures in found {
                    let count = figures.latencies.count().max(1) as f64;
                    *place = (figures.per_second, spent.as_secs_f64() * 1e6 / count);
                }
            }
            rows.push(Row { name, figures: allowed.then_some(figures) });
        }
        Ok(Modes(rows))
    }

    pub fn text(&self) -> String {
        let mut out = format!(
            "\nio_uring set-up, random reads of 4 KiB\n  {:<28}{:>12}{:>12}{:>12}{:>12}\n",
            "", "depth 1 /s", "CPU us", "depth 32 /s", "CPU us"
        );
        for Row { name, figures } in &self.0 {
            match figures {
                Some([(one, one_us), (many, many_us)]) => {
                    out += &format!("  {name:<28}{one:>12.0}{one_us:>12.2}{many:>12.0}{many_us:>12.2}\n");
                }
                None => out += &format!("  {name:<28}{:>12}\n", "not allowed"),
            }
        }
        out
    }

    pub fn json(&self) -> Value {
        let rows = self.0.iter().map(|Row { name, figures }| {
            let of = |(per_second, cpu_us): (f64, f64)| json!({ "per_second": per_second, "cpu_us": cpu_us });
            json!({ "set_up": name, "depth_1": figures.map(|f| of(f[0])), "depth_32": figures.map(|f| of(f[1])) })
        });
        rows.collect()
    }
}
