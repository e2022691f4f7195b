//! Bytes to structs and back: everything that lies on a device or crosses the wire as a record batch.
//!
//! Pure functions over slices. Nothing here opens a file, knows a time or keeps a state.

pub mod batch;
pub mod crc;
pub mod record;
pub mod varint;
