//! The machine without the broker: what a durable write and a round trip cost at least.

pub mod device;
pub mod file;
pub mod keeper;
pub mod ring;
pub mod tcp;
pub mod traffic;
