//! What this machine can do: disk, ring, cores, loopback; and what follows for the broker, in words.
//!
//! In: a directory on the device. Out: tables, sentences, JSON. Never: destroys anything: it works in nameless
//! files of its own and needs as much room as they take.

mod alignment;
mod cores;
mod durable;
mod modes;
mod network;
mod progress;
mod runtimes;
mod settings;
mod steady;
mod surface;
mod verdict;

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::args::{Point, Probe};
use crate::cores::Cores;
use crate::failure::Failure;
use crate::histogram::median;
use crate::interrupt::Interrupt;
use crate::machine::Machine;
use crate::output;
use crate::raw::device::Stream;
use crate::raw::file;
use progress::Progress;
use surface::{Mixed, PATTERNS, Surface};

/// How much is measured.
struct Extent {
    file_bytes: u64,
    sizes: &'static [usize],
    depths: &'static [usize],
    mixed: &'static [usize],
    cell: Duration,
    part: Duration,
    rounds: usize,
}

const QUICK: Extent = Extent {
    file_bytes: 256 << 20,
    sizes: &[4 << 10, 64 << 10, 1 << 20],
    depths: &[1, 4, 32],
    mixed: &[0, 1, 16],
    cell: Duration::from_millis(100),
    part: Duration::from_millis(100),
    rounds: 3,
};
const FULL: Extent = Extent {
    file_bytes: 1 << 30,
    sizes: &[4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20],
    depths: &[1, 2, 4, 8, 16, 32, 64],
    mixed: &[0, 1, 4, 16],
    cell: Duration::from_millis(200),
    part: Duration::from_millis(300),
    rounds: 5,
};

/// Measures everything, or with points only those.
pub fn run(args: &Probe, interrupt: &Interrupt) -> Result<(), Failure> {
    output::check(args.json.as_deref())?;
    let machine = Machine::at(&args.dir)?;
    let extent = if args.quick { QUICK } else { FULL };
    if args.file.is_none() {
        room(args, &extent)?;
    }
    if !args.points.is_empty() {
        return points(args, &machine, &extent, interrupt);
    }
    output::print(&machine.lines())?;
    let cores = Cores::choose();
    let mut progress = Progress::new(PATTERNS.len() + 8 + usize::from(args.steady.is_some()));

    progress.step("block size and alignment");
    let alignment = alignment::Alignment::find(&args.dir, machine.queue())?;
    output::print(&format!("\n{}", alignment.text()))?;
    progress.step("clock, cores, loopback");
    cores.into_iter().for_each(|cores| cores.pin_asking());
    let costs = cores::Costs::measure(cores, extent.part)?;
    output::print(&costs.text())?;
    progress.step("sending and receiving on loopback");
    let network = network::Network::measure(cores, extent.cell)?;
    output::print(&network.text())?;
    progress.step("ways to make an append durable");
    let ways = durable::Ways::measure(&args.dir, extent.rounds, extent.part, interrupt)?;
    output::print(&ways.text())?;
    progress.step("writing the file to measure with");
    let file = file::written(&args.dir, extent.file_bytes, interrupt)?;
    let place = (&file, extent.file_bytes);
    let mut surfaces = Vec::new();
    for pattern in PATTERNS {
        progress.step(pattern.name);
        let axes = (extent.sizes, extent.depths);
        let surface = Surface::measure(place, pattern, axes, extent.cell, interrupt)?;
        output::print(&surface.text())?;
        surfaces.push(surface);
    }
    progress.step("appends beside reads");
    let mixed = Mixed::measure(place, extent.mixed, extent.cell, interrupt)?;
    output::print(&mixed.text())?;
    progress.step("ways to set up io_uring");
    let modes = modes::Modes::measure(place, extent.part, interrupt)?;
    output::print(&modes.text())?;
    progress.step("runtimes");
    let runtimes = runtimes::Runtimes::measure(&args.dir, cores, extent.part, interrupt)?;
    output::print(&runtimes.text())?;
    let mut steady = None;
    if let Some(seconds) = args.steady {
        progress.step("whether it stays so");
        let found = steady::Steady::measure(place, seconds, interrupt)?;
        output::print(&found.text())?;
        steady = Some(found);
    }
    drop(progress);

    let evidence = verdict::Evidence {
        machine: &machine,
        ways: &ways,
        surfaces: &surfaces,
        mixed: &mixed,
        costs: &costs,
        network: &network,
    };
    let mut words = verdict::judge(&evidence);
    words.extend(steady.as_ref().map(steady::Steady::judgement));
    let listed: String = words.iter().map(|sentence| format!("* {sentence}\n")).collect();
    output::print(&format!("\nIs this disk good for this broker, and which settings follow?\n{listed}"))?;
    output::print(&next(args.json.as_deref()))?;
    let figures = json!({
        "alignment": alignment.json(),
        "costs": costs.json(),
        "network": network.json(),
        "durable": ways.json(),
        "surfaces": surfaces.iter().map(Surface::json).collect::<Vec<_>>(),
        "mixed": mixed.json(),
        "modes": modes.json(),
        "runtimes": runtimes.json(),
        "steady": steady.as_ref().map(steady::Steady::json),
        "settings": settings::json(&machine),
        "verdict": words,
    });
    output::save(args.json.as_deref(), &machine, "probe", figures)
}

/// How to get the settings as files.
fn next(json: Option<&Path>) -> String {
    match json {
        Some(json) => {
            format!("\nAs a configuration and a script to review: ringmain-bench tune {}\n", json.display())
        }
        None => {
            "\nAs a configuration and a script to review: the same with --json FILE, then `ringmain-bench \
                 tune FILE`\n"
                .to_owned()
        }
    }
}

/// Refuses a directory without room before it is filled.
fn room(args: &Probe, extent: &Extent) -> Result<(), Failure> {
    let found =
        rustix::fs::statvfs(&args.dir).map_err(|error| Failure::disk("look at", &args.dir)(error.into()))?;
    let free = found.f_bavail * found.f_frsize;
    let needed = extent.file_bytes + (64 << 20);
    if free >= needed {
        return Ok(());
    }
    let reason = format!("{} MiB are free and {} are needed", free >> 20, needed >> 20);
    Err(Failure::Unfit { path: args.dir.clone(), reason })
}

/// Single points, interleaved, for comparing with other programs.
fn points(args: &Probe, machine: &Machine, extent: &Extent, interrupt: &Interrupt) -> Result<(), Failure> {
    let streams = args.points.iter().map(|Point { pattern, block_bytes, depth, .. }| {
        let known = PATTERNS.iter().find(|known| known.name.replace(' ', "-") == *pattern);
        known.map(|known| known.stream(*block_bytes, *depth)).ok_or_else(|| {
            let known: Vec<String> = PATTERNS.iter().map(|known| known.name.replace(' ', "-")).collect();
            Failure::Usage(format!("{pattern} is not one of {}", known.join(", ")))
        })
    });
    let streams: Vec<Stream> = streams.collect::<Result<_, _>>()?;
    let (file, file_bytes) = match &args.file {
        Some(path) => file::given(path)?,
        None => (file::written(&args.dir, extent.file_bytes, interrupt)?, extent.file_bytes),
    };
    if let Some(stream) = streams.iter().find(|stream| !file_bytes.is_multiple_of(stream.block_bytes as u64))
    {
        let reason = format!("its {file_bytes} bytes are no multiple of blocks of {}", stream.block_bytes);
        return Err(Failure::Unfit { path: args.file.clone().unwrap_or_default(), reason });
    }
    let mut rates: Vec<Vec<f64>> = vec![Vec::new(); streams.len()];
    for _ in 0..args.rounds {
        for (stream, rates) in streams.iter().zip(&mut rates) {
            let time = Duration::from_millis(args.milliseconds);
            rates.push(surface::point((&file, file_bytes), *stream, time, interrupt)?.per_second);
        }
    }
    let mut figures = Vec::new();
    for (point, rates) in args.points.iter().zip(rates) {
        let middle = median(rates.clone());
        output::print(&format!("{} {middle:.1}\n", point.text))?;
        figures.push(json!({ "point": point.text, "per_second": rates, "median": middle }));
    }
    output::save(args.json.as_deref(), machine, "points", Value::Array(figures))
}
