//! Wires everything, knows nothing.

fn main() {}
