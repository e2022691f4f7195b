//! A number that stands for everything that happened, so that two runs can be compared.
//!
//! In: words. Out: their FNV-1a hash. Never: stores them.

/// The hash so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trace(pub u64);

impl Trace {
    pub fn new() -> Trace {
        Trace(0xcbf2_9ce4_8422_2325)
    }

    pub fn note(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x100_0000_01b3).rotate_left(23);
    }
}

impl Default for Trace {
    fn default() -> Trace {
        Trace::new()
    }
}
