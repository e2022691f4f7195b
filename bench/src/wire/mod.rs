//! As much of each protocol as a benchmark needs: set-up with blocking calls, and frames to encode and take apart.
//!
//! In: addresses, names, payloads. Out: connections ready for load, frames. Never: shares code with the broker's
//! own protocol layers, which would hide their mistakes.

pub mod amqp;
pub mod kafka;
pub mod leaders;
pub mod nats;
