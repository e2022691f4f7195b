//! The words the whole engine is written in. Plain values, no behaviour beyond conversion.

use std::fmt;

/// Number of a record in a log, counted from zero. Never a byte place: that is a position.
pub type Offset = u64;

/// Which log. Chosen by the owner of the engine, unique for ever: an id is never used for a second log.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogId(pub u64);

impl fmt::Debug for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "log {:x}", self.0)
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Pairs a request with its answer. Opaque to the engine, which only carries it home.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Ticket {
    /// Who asked.
    pub owner: u64,
    /// Which of the owner's requests.
    pub request: u64,
}

/// The time as the owner of a turn read it, once, at its beginning.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Now {
    /// Microseconds of a clock that never goes back; its zero means nothing.
    pub monotonic_us: u64,
    /// Milliseconds since the Unix epoch; may jump.
    pub wall_ms: i64,
}
