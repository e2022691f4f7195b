//! Seeded fuzzing.
fn main() {}
