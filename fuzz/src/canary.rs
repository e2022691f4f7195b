//! Bugs planted one at a time, each of which the simulator must find.
//!
//! In: the list of bugs. Out: for each the seed that found it; how many were not found. Never: judges by anything but
//! the simulator's own verdict. Each bug has a process of its own, because a panic ends it.

#[cfg(feature = "planted")]
pub use planted::{plant, plant_here, run};
#[cfg(not(feature = "planted"))]
pub use sound::{plant, plant_here, run};

#[cfg(feature = "planted")]
mod planted {
    use std::process::Command;

    use ringmain_engine::planted::{self, ALL, Bug};

    use crate::simulation;

    /// Seeds within which each must be found.
    const SEEDS_MAX: u64 = 1000;

    /// Plants a bug in what this thread does.
    pub fn plant_here(bug: Option<Bug>) {
        planted::plant(bug);
    }

    fn named(name: &str) -> Option<Bug> {
        ALL.into_iter().find(|bug| format!("{bug:?}") == name)
    }

    /// Runs the seeds with a bug planted.
    pub fn plant(name: &str, from: u64, count: u64) -> Option<u64> {
        Some(simulation::run_with(from, count, Some(named(name)?)))
    }

    /// Plants each; how many were not found.
    pub fn run() -> u64 {
        // Without a bug the same seeds must pass, or finding it would prove nothing.
        let mut missed = simulation::run(0, SEEDS_MAX);
        for bug in ALL {
            match first_seed(&format!("{bug:?}")) {
                Ok(line) => println!("{bug:?}: found by {line}"),
                Err(what) => {
                    missed += 1;
                    println!("{bug:?}: NOT FOUND within {SEEDS_MAX} seeds{what}");
                }
            }
        }
        println!("canary: {} bugs planted, {missed} not found or found without a bug", ALL.len());
        missed
    }

    /// The failure with the lowest seed.
    fn first_seed(name: &str) -> Result<String, String> {
        let program = std::env::current_exe().map_err(|error| format!(": {error}"))?;
        let count = SEEDS_MAX.to_string();
        let output = Command::new(program)
            .args(["sim", "--planted", name, "--seeds", &count])
            .output()
            .map_err(|error| format!(": {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let number =
            |line: &&str| -> Option<u64> { line.strip_prefix("seed ")?.split(':').next()?.parse().ok() };
        let line = text.lines().filter(|line| number(line).is_some()).min_by_key(number);
        match line {
            Some(line) if !output.status.success() => Ok(line.to_string()),
            _ => Err(format!(": {}", text.lines().last().unwrap_or_default())),
        }
    }
}

#[cfg(not(feature = "planted"))]
mod sound {
    use ringmain_engine::planted::Bug;

    /// There is nothing to plant.
    pub fn plant_here(_: Option<Bug>) {}

    /// There is nothing to plant.
    pub fn plant(_: &str, _: u64, _: u64) -> Option<u64> {
        None
    }

    /// There is nothing to find.
    pub fn run() -> u64 {
        println!("canary: built without bugs; build with --features planted");
        1
    }
}
