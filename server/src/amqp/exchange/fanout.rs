//! Fanout exchanges: every binding takes every message.

/// Whether a binding takes a message, whatever their keys.
pub fn matches() -> bool {
    true
}
