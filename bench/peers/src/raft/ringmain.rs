//! Raft groups on Ringmain's engine: a log for each group, an entry at the offset of its index less one.
//!
//! In: steps. Out: what it holds. Never: waits for one group of a batch before it has asked for all of them.
//!
//! Each entry is a batch of its own, since a tail can be cut off only where a batch begins.

use std::ops::Range;
use std::path::Path;

use ringmain_engine::embed::{Config, Engine, Log};
use ringmain_engine::types::LogId;

use super::Groups;
use super::plan::{Batch, Entry};
use crate::logs::Failure;

const READ_BYTES: usize = 1 << 20;

struct Ringmain {
    engine: Engine,
    first_group: u64,
    logs: Vec<Log>,
}

pub(super) fn open(dir: &Path, groups: Range<u64>) -> Result<Box<dyn Groups>, Failure> {
    let engine = Engine::open(dir.join("data"), Config::default())?;
    let first_group = groups.start;
    let asked: Vec<_> = groups.map(|group| engine.log(LogId(group))).collect();
    let logs = asked.into_iter().map(|asked| asked.wait()).collect::<Result<_, _>>()?;
    Ok(Box::new(Ringmain { engine, first_group, logs }))
}

impl Ringmain {
    fn log(&self, group: u64) -> Result<&Log, Failure> {
        let place = group.checked_sub(self.first_group).and_then(|place| self.logs.get(place as usize));
        place.ok_or_else(|| format!("there is no group {group}").into())
    }
}

impl Groups for Ringmain {
    fn append(&self, batches: &[Batch]) -> Result<(), Failure> {
        let (mut cut, mut appended) = (Vec::new(), Vec::new());
        for batch in batches {
            let log = self.log(batch.group)?;
            let Some((first, _)) = batch.entries.first() else { continue };
            if batch.cuts {
                cut.push(log.truncate_after(first - 1));
            }
            for (index, bytes) in &batch.entries {
                appended.push((index - 1, log.append_values(&[bytes])?));
            }
        }
        cut.into_iter().try_for_each(|ack| ack.wait())?;
        // Mostly durable together: to wait for the last one first is to be woken once.
        while let Some((offset, ack)) = appended.pop() {
            let found = ack.wait()?.base_offset;
            if found != offset {
                return Err(format!("an entry of offset {offset} was appended at {found}").into());
            }
        }
        Ok(())
    }

    fn purge(&self, upto: &[(u64, u64)]) -> Result<(), Failure> {
        for (group, first) in upto {
            // Nobody waits for it, as with the other log.
            drop(self.log(*group)?.trim_before(first - 1));
        }
        Ok(())
    }

    fn read(&self, group: u64, from: u64, to: u64) -> Result<Vec<Entry>, Failure> {
        let (log, mut next, mut found) = (self.log(group)?, from - 1, Vec::new());
        while next < to - 1 {
            let read = log.read(next, READ_BYTES).wait()?;
            let wanted = read.records().filter(|(offset, _)| (next..to - 1).contains(offset));
            found.extend(
                wanted.map(|(offset, record)| (offset + 1, record.value.unwrap_or_default().to_vec())),
            );
            next = read.next_offset().ok_or("the log ends before what is to be read")?;
        }
        Ok(found)
    }

    fn ends(&self, group: u64) -> Result<(u64, u64), Failure> {
        let bounds = self.log(group)?.bounds().wait()?;
        Ok((bounds.start + 1, bounds.end + 1))
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        drop(self.logs);
        Ok(self.engine.close()?)
    }
}
