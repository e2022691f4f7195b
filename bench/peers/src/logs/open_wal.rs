//! open-wal: files with room beforehand, one writer.
//!
//! In: records of writers on threads. Out: each committed. Never: two writers in it at a time.
//!
//! It is made for a single writer that gathers what it commits. Writers that each wait for their own record take turns, which
//! a lock sees to.

use std::sync::{Mutex, PoisonError};

use open_wal::{Wal, WalConfig};

use super::{Failure, Log, Plan, Writer};

struct OpenWal(Mutex<Wal>);

pub(super) fn open(plan: &Plan<'_>) -> Result<Box<dyn Log>, Failure> {
    let data = plan.dir.join("data");
    std::fs::create_dir(&data)?;
    let (wal, _) = Wal::open(&data, WalConfig::default())?;
    Ok(Box::new(OpenWal(Mutex::new(wal))))
}

impl Log for OpenWal {
    fn writer(&self, _: usize) -> Result<Box<dyn Writer + '_>, Failure> {
        Ok(Box::new(Turns(&self.0)))
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        Ok(())
    }
}

struct Turns<'a>(&'a Mutex<Wal>);

impl Writer for Turns<'_> {
    fn append(&mut self, record: &[u8]) -> Result<(), Failure> {
        let mut wal = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        wal.append(record)?;
        wal.commit()?;
        Ok(())
    }
}
