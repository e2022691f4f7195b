//! Bytes to structs and back: everything that lies on a device or crosses the wire as a record batch.
//!
//! Pure functions over slices. Nothing here opens a file, knows a time or keeps a state.

pub mod batch;
pub mod checkpoint;
pub mod crc;
pub mod frame;
pub mod record;
pub mod run;
pub mod superblock;
pub mod varint;

#[cfg(test)]
mod tests;
