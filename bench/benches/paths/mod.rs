//! The paths that every record takes, one at a time and without a kernel call: what `paths` times and
//! `instructions` counts.
//!
//! In: nothing. Out: named pieces of work, each the same every time. Never: I/O, a clock, randomness.

mod amqp;
mod kafka;
mod log;
mod queue;

/// One piece of work, set up.
pub struct Path {
    pub name: &'static str,
    /// Does it once; gives something that depends on all of it.
    pub run: Box<dyn FnMut() -> usize>,
}

impl Path {
    fn new(name: &'static str, run: impl FnMut() -> usize + 'static) -> Path {
        Path { name, run: Box::new(run) }
    }
}

/// All of them.
pub fn all() -> Vec<Path> {
    let mut paths = log::paths();
    paths.extend(kafka::paths());
    paths.extend(amqp::paths());
    paths.extend(queue::paths());
    paths
}
