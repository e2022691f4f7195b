//! Bytes to structs and back: everything that lies on a device or crosses the wire as a record batch.
//!
//! Pure functions over slices. Nothing here opens a file, knows a time or keeps a state.
//!
//! | module | what it lays out | where it lies |
//! |---|---|---|
//! | [`batch`] | a record batch, as Kafka defines it | in memory, in frames, in runs, on the wire |
//! | [`record`], [`varint`] | the records in it | in batches |
//! | [`frame`] | one group commit, and its entries | `journal/` |
//! | [`run`] | a segment file: runs of batches, and a table of them | `log/` |
//! | [`checkpoint`] | what a start needs besides segments and journal | `state/` |
//! | [`superblock`] | which directory it is, and which start of it counts | `superblock` |
//! | [`crc`] | the checksum of all of these | |
//!
//! A layout is a struct beside its table; its integers have the byte order and the place that they have in the file. What
//! was read becomes one of these values only through a function that checks it.
//!
//! A batch is made with [`BatchBuilder`](record::BatchBuilder), checked with
//! [`CheckedBatch::from_producer`](batch::CheckedBatch::from_producer), and taken apart with [`batch::split`] and
//! [`record::take`]:
//!
//! ```
//! use ringmain_engine::format::batch::{self, CheckedBatch, HEADER_BYTES};
//! use ringmain_engine::format::record::{self, BatchBuilder};
//!
//! let mut builder = BatchBuilder::new(1_700_000_000_000); // ms since the Unix epoch
//! builder.push(1_700_000_000_000, Some(b"key"), Some(b"value"), &[]);
//! let sent = builder.finish().bytes().clone();
//!
//! let checked = CheckedBatch::from_producer(sent).unwrap(); // shape and checksum
//! for (header, bytes) in batch::split(checked.bytes().clone()) {
//!     let mut records = bytes.slice(HEADER_BYTES..);
//!     for _ in 0..header.records_count.get() {
//!         let record = record::take(&mut records).unwrap();
//!         assert_eq!(record.value.unwrap(), "value");
//!     }
//! }
//! ```

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
