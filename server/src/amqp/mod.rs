//! The AMQP 0-9-1 front end: bytes of one connection to commands, events to bytes.

pub mod dead_letters;
pub mod exchange;
pub mod message;
pub mod wire;
