//! The AMQP 0-9-1 front end: bytes of one connection to commands, events to bytes.
//!
//! Reading order is the life of a message: [`wire`] takes frames apart, [`session`] keeps the connection,
//! [`channel`] does one thing after the other, [`publish`] and [`exchange`] turn a message into records
//! ([`message`]) of queues, [`confirms`] says when they are durable, [`deliver`] hands them out, [`settle`] takes the
//! verdicts. [`topology`] makes what they pass through.

pub mod dead_letters;
pub mod exchange;
pub mod message;
pub mod wire;

mod channel;
mod confirms;
mod deliver;
mod error;
mod handshake;
mod heartbeat;
mod link;
mod names;
mod outbox;
mod publish;
mod queue_arguments;
mod session;
mod settle;
mod stream_offset;
mod surplus;
mod topology;

#[cfg(test)]
mod tests;

pub use session::Session;
