//! RocksDB for its write-ahead log: keys that rise, each put synced.
//!
//! In: records of writers on threads. Out: each the value of a key. Never: a put that counts without sync.
//!
//! Any thread may put: those that wait are written and synced by the first of them. Log files are used again
//! (`recycle_log_file_num`), so that a sync does not have to make a file longer; a few tables are filled and flushed before it
//! counts, for there to be such files. Tables are written as by anybody who keeps a log in RocksDB, but not merged.

use rocksdb::{DB, DBRecoveryMode, Options, WriteBatch, WriteOptions};

use super::{Failure, Log, Plan, Writer};

/// Log files that are kept to be used again.
const FILES: usize = 4;
/// Bytes of a table in memory, and so of a log file, for small and for large records.
const TABLE_SMALL_BYTES: usize = 8 << 20;
const TABLE_LARGE_BYTES: usize = 64 << 20;
/// Records of this size and more are large.
const LARGE_BYTES: usize = 16 << 10;
/// What a table is filled with.
const FILLING_BYTES: usize = 64 << 10;

struct Rocks(DB);

pub(super) fn open(plan: &Plan<'_>) -> Result<Box<dyn Log>, Failure> {
    let table_bytes = if plan.record_bytes < LARGE_BYTES { TABLE_SMALL_BYTES } else { TABLE_LARGE_BYTES };
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_recycle_log_file_num(FILES);
    // The stricter modes do not go with files that are used again.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_write_buffer_size(table_bytes);
    options.set_max_write_buffer_number(FILES as i32);
    options.set_disable_auto_compactions(true);
    options.set_level_zero_slowdown_writes_trigger(1 << 20);
    options.set_level_zero_stop_writes_trigger(1 << 20);
    let db = DB::open(&options, plan.dir.join("data"))?;
    for table in 0..FILES as u64 {
        for at in 0..table_bytes / FILLING_BYTES {
            let mut batch = WriteBatch::default();
            batch.put(key(u64::MAX, table << 32 | at as u64), crate::append::noise(at as u64, FILLING_BYTES));
            db.write(batch)?;
        }
        db.flush()?;
    }
    Ok(Box::new(Rocks(db)))
}

fn key(writer: u64, number: u64) -> [u8; 16] {
    (u128::from(writer) << 64 | u128::from(number)).to_be_bytes()
}

impl Log for Rocks {
    fn writer(&self, number: usize) -> Result<Box<dyn Writer + '_>, Failure> {
        let mut options = WriteOptions::default();
        options.set_sync(true);
        Ok(Box::new(Keys { db: &self.0, options, writer: number as u64, number: 0 }))
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        Ok(())
    }
}

struct Keys<'a> {
    db: &'a DB,
    options: WriteOptions,
    writer: u64,
    number: u64,
}

impl Writer for Keys<'_> {
    fn append(&mut self, record: &[u8]) -> Result<(), Failure> {
        self.db.put_opt(key(self.writer, self.number), record, &self.options)?;
        self.number += 1;
        Ok(())
    }
}
