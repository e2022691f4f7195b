//! Replaying a journal: what its frames say of the logs, done again.
//!
//! In: the frames behind a checkpoint, sound or damaged. Out: the logs as they leave them; what of them was lost. Never:
//! does again what the checkpoint counted on already.

use bytes::{Bytes, BytesMut};

use super::holes::Loss;
use super::{Recovery, journal_directory, placed};
use crate::error::{Damage, OpenError};
use crate::format::batch::{self, BatchHeader};
use crate::format::checkpoint::Checkpoint;
use crate::format::frame::{Entry, FrameHeader, Kind};
use crate::io::Open;
use crate::io::disk;
use crate::journal::recover::{End, From, Replay, scan};
use crate::partition::{Partition, TailBatch};
use crate::segment;
use crate::types::LogId;

/// A batch, or what became of it.
type FoundBatch = Result<(BatchHeader, TailBatch), Damage>;

/// What the journal says of a log in front of a truncation that the checkpoint contains.
#[derive(Default)]
pub(super) struct Doubtful {
    /// Some of them may be left.
    batches: Vec<(Entry, FoundBatch)>,
    start: u64,
}

impl Recovery<'_> {
    pub(super) fn journal(&mut self, checkpoint: &Checkpoint) -> Result<End, OpenError> {
        let Checkpoint { shard, incarnation, sequence, chain, durable, journal, .. } = *checkpoint;
        let directory = journal_directory(&self.config.directory, shard);
        let from = From { shard, incarnation, sequence, chain, durable };
        let counted = self.look_ahead(checkpoint, from, &directory)?;
        self.report.frames_count += counted.sequence - sequence;
        self.report.journal_bytes += counted.bytes;
        self.report.torn_frames += u32::from(counted.torn);
        let end = scan(&self.config.disk, &directory, from, journal, |frame| self.replay(frame))?;
        assert!(end.sequence >= counted.sequence, "what was made certain is there: {counted:?}, {end:?}");
        Ok(end)
    }

    fn replay(&mut self, frame: Replay<'_>) -> Result<(), OpenError> {
        if frame.damaged {
            self.keep_aside(&frame)?;
        }
        let sequence = frame.header.sequence.get();
        for (entry, run) in placed::in_order(&frame) {
            let deleted_in = self.deleted.get(&entry.log);
            if entry.kind != Kind::Delete && deleted_in.is_some_and(|deleted_in| sequence <= *deleted_in) {
                continue;
            }
            match entry.kind {
                Kind::Create => self.replay_create(entry.log)?,
                Kind::Delete => {
                    self.logs.remove(&entry.log);
                    self.upcoming.remove(&entry.log);
                    let directory = segment::directory(&self.config.directory, entry.log);
                    for name in self.config.disk.list(&directory)? {
                        self.dirty.remove(&directory.join(&name));
                        self.config.disk.remove(&directory.join(name))?;
                    }
                    self.config.disk.remove_directory(&directory)?;
                }
                Kind::Trim if self.is_contained(entry.log, sequence) => {
                    let start = &mut self.doubtful.entry(entry.log).or_default().start;
                    *start = entry.offset.max(*start);
                }
                Kind::Trim => {
                    if let Some(partition) = self.logs.get_mut(&entry.log) {
                        partition.trim(entry.offset);
                        partition.trimmed(entry.offset.min(partition.marks().start));
                    }
                    self.drop_trimmed(entry.log)?;
                }
                Kind::Placed => self.replay_placed(&frame, entry, run)?,
                Kind::Truncate => self.replay_truncate(entry.log, entry.offset, sequence)?,
                Kind::Batch => match sound_batch(&frame, entry) {
                    Ok((header, batch)) => {
                        self.replay_batch(entry, sequence, &header, batch)?;
                    }
                    Err(damage) if frame.damaged => self.replay_lost(entry, sequence, damage),
                    Err(damage) => return Err(damage.into()),
                },
            }
        }
        Ok(())
    }

    /// A copy of a frame that had been durable and is damaged, for whoever wants to look at it.
    fn keep_aside(&mut self, frame: &Replay<'_>) -> Result<(), OpenError> {
        let FrameHeader { shard, incarnation, sequence, .. } = *frame.header;
        let name = format!("journal-{shard}-{incarnation}-{sequence}.frame");
        let path = self.config.disk.replace(&self.config.directory.join("quarantine"), &name, frame.bytes)?;
        let what =
            format!("frame {sequence} had been made durable, but is damaged; a copy is {}", path.display());
        let position = frame.header.position();
        self.report.damage.push(Damage { path: frame.path.to_path_buf(), position, what });
        Ok(())
    }

    /// A batch that is gone: its offsets stay given, and whoever reads them is told.
    fn replay_lost(&mut self, entry: &Entry, sequence: u64, damage: Damage) {
        let Some(partition) = self.logs.get_mut(&entry.log) else { return };
        if sequence <= partition.truncated_in {
            let doubtful = self.doubtful.entry(entry.log).or_default();
            return doubtful.batches.push((entry.clone(), Err(damage)));
        }
        lose(partition, &mut self.losses, entry, damage);
    }

    /// No checkpoint knows the log yet, so all that its segments hold is in the journal, or means it.
    fn replay_create(&mut self, log: LogId) -> Result<(), OpenError> {
        if self.logs.contains_key(&log) {
            return Ok(());
        }
        let directory = segment::directory(&self.config.directory, log);
        let names = self.config.disk.list(&directory)?;
        self.unfinished.extend(names.iter().map(|name| directory.join(name)));
        self.logs.insert(log, Partition::new(log));
        Ok(())
    }

    fn replay_batch(
        &mut self,
        entry: &Entry,
        sequence: u64,
        header: &BatchHeader,
        bytes: Bytes,
    ) -> Result<(), OpenError> {
        let (log, base) = (entry.log, entry.offset);
        let Some(partition) = self.logs.get_mut(&log) else { return Ok(()) };
        let end = base + header.offsets_count();
        let max_timestamp_ms = header.max_timestamp.get();
        let batch = TailBatch { base, end, max_timestamp_ms, sequence, bytes };
        if sequence <= partition.truncated_in {
            let doubtful = self.doubtful.entry(log).or_default();
            doubtful.batches.push((entry.clone(), Ok((*header, batch))));
            return Ok(());
        }
        partition.replay(header, batch);
        self.report.replayed_batches += 1;
        let run_bytes = self.config.sizes.run_bytes;
        let limit = self.settle_limit(log);
        let is_long = |of: &Self| of.logs.get(&log).is_some_and(|log| log.unsettled_bytes() >= run_bytes);
        while is_long(self) && self.settle_run(log, limit)? {}
        Ok(())
    }

    /// Whether the checkpoint contains a truncation of the log that came in this frame or later.
    fn is_contained(&self, log: LogId, sequence: u64) -> bool {
        self.logs.get(&log).is_some_and(|partition| sequence <= partition.truncated_in)
    }

    /// What a checkpoint counted on already is not done again, for later batches may be in segments. It only tells
    /// which of the batches before it are left.
    fn replay_truncate(&mut self, log: LogId, end: u64, sequence: u64) -> Result<(), OpenError> {
        let Some(partition) = self.logs.get_mut(&log) else { return Ok(()) };
        if sequence <= partition.truncated_in {
            let doubtful = self.doubtful.entry(log).or_default();
            doubtful.batches.retain(|(entry, _)| entry.offset < end);
            if sequence == partition.truncated_in {
                for (entry, batch) in doubtful.batches.drain(..) {
                    match batch {
                        Ok((header, batch)) => {
                            partition.replay(&header, batch);
                            self.report.replayed_batches += 1;
                        }
                        Err(damage) => lose(partition, &mut self.losses, &entry, damage),
                    }
                }
                partition.truncated_in = 0;
                partition.trim(doubtful.start);
                partition.trimmed(doubtful.start.min(partition.marks().start));
                return self.drop_trimmed(log);
            }
            return Ok(());
        }
        let end = end.max(partition.marks().start);
        if let Some(contained) = self.contained.get_mut(&log) {
            *contained = end.min(*contained); // what comes behind is other records
        }
        // The file of a run that was taken back as a whole went with it.
        self.losses.retain(|loss| loss.log != log || loss.offset < end);
        let gone = partition.truncated(end, 0);
        // Runs of the last life may stand behind the part that counts; what replays them was taken back.
        let has_upcoming = self.upcoming.get(&log).is_some_and(|upcoming| !upcoming.is_empty());
        if let Some(active) = partition.segments.active().filter(|_| !has_upcoming) {
            let path = segment::path(&self.config.directory, log, active.name);
            disk::truncate(&path, &self.config.disk.open(&path, Open::Update)?, active.position)?;
            self.dirty.insert(path);
        }
        if !gone.is_empty() {
            self.thinned.push(segment::directory(&self.config.directory, log));
        }
        self.remove_segments(log, &gone)
    }
}

/// The batch that `entry` names, stamped as it says, if it is sound.
fn sound_batch(frame: &Replay<'_>, entry: &Entry) -> Result<(BatchHeader, Bytes), Damage> {
    let damage = |what: String| Damage {
        path: frame.path.to_path_buf(),
        position: frame.header.position() + entry.bytes.start as u64,
        what,
    };
    let batch = frame.bytes.slice(entry.bytes.clone());
    let header = *batch::check(&batch).map_err(|error| damage(error.to_string()))?;
    if !frame.damaged {
        return Ok((header, batch));
    }
    if header.total_bytes() != batch.len() || header.offsets_count() != u64::from(entry.offsets_count) {
        return Err(damage("the batch is not the one its entry describes".to_string()));
    }
    // No checksum but the frame's covers the stamp.
    let mut stamped = BytesMut::from(&batch[..]);
    batch::stamp(&mut stamped, entry.offset, entry.leader_epoch);
    Ok((header, stamped.freeze()))
}

/// Offsets that stay given although their batch is gone.
fn lose(partition: &mut Partition, losses: &mut Vec<Loss>, entry: &Entry, damage: Damage) {
    let offsets = entry.offset..entry.offset + u64::from(entry.offsets_count);
    if partition.lost(offsets) {
        losses.push(Loss { log: entry.log, offset: entry.offset, damage });
    }
}
