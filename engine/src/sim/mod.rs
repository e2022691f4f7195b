//! The simulator: the engine over a disk in memory, through crashes and faults, judged by a model.
//!
//! In: a seed. Out: what happened, as numbers and a hash, or the first thing that was wrong. The same seed does the
//! same. Never: starts a thread, reads a clock, touches a file.
//!
//! A seed is one world: a data directory and several lives of a process that serves from it.
//!
//! ```text
//!   open (perhaps: power cut inside, again) ─> compare with the model ─> read everything
//!     ^        └─> steps: append, trim, create, delete, read, wait; operations complete in any order
//!     └── stopped cleanly | killed | power cut | a write failed | bytes rot
//! ```

pub(crate) mod clock;
mod faults;
pub(crate) mod model;
pub(crate) mod prng;
#[cfg(test)]
mod tests;
pub(crate) mod trace;
mod workload;
pub(crate) mod world;

use world::World;
pub use world::{FIRST_RESERVING_SEED, FIRST_ROOMY_SEED, Summary};

/// Runs one seed to its end.
pub fn run(seed: u64) -> Result<Summary, String> {
    World::new(seed).run()
}
