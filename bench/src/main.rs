//! Measures this machine and the broker on it.
fn main() {}
