//! The end of a journal, found, and made what every later start finds.
//!
//! In: a checkpoint, the journal behind it. Out: the last frame that counts, on the device for certain, with the runs beside it; a
//! seal where the next one would be. Never: lets anything be done because of the journal before that.
//!
//! The last write of a process may be seen although a sync that failed has dropped it, and one that is not seen may yet
//! arrive. A start acts upon what it sees: it removes what is trimmed, and writes where it finds nothing. If it is
//! cut off, the next one must see the same.

use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};

use super::Recovery;
use super::placed::RunBeside;
use crate::error::{Damage, IoFault, OpenError};
use crate::format::checkpoint::Checkpoint;
use crate::format::frame::{self, Entry, FrameHeader, HEADER_BYTES, PlacedRun};
use crate::io::{Open, buffer, disk};
use crate::journal::Position;
use crate::journal::recover::{End, From, Place, scan};
use crate::limits::BLOCK_BYTES;
use crate::planted::{Bug, planted};

/// The last frame of a journal.
struct Last {
    path: PathBuf,
    header: FrameHeader,
    bytes: Bytes,
    /// Runs that were written beside it.
    beside: Vec<(Entry, PlacedRun)>,
}

impl Recovery<'_> {
    /// Notes what the journal behind the checkpoint means of segments, and makes its end certain. Returns the end of what
    /// counts.
    pub(super) fn look_ahead(
        &mut self,
        checkpoint: &Checkpoint,
        from: From,
        directory: &Path,
    ) -> Result<End, OpenError> {
        let mut last = None;
        let disk = &self.config.disk.clone();
        let mut end = scan(disk, directory, from, checkpoint.journal, |frame| {
            let (damaged, beside) = (frame.damaged, self.note(&frame));
            let (path, bytes) = (frame.path.to_path_buf(), frame.bytes.clone());
            let frame = Last { path, header: *frame.header, bytes, beside };
            last = (!damaged).then_some(frame);
            Ok(())
        })?;
        // A frame is written when the one before is durable; whether the last one is, nothing may tell. One that is damaged was.
        let certain = checkpoint.durable.max(end.durable);
        if let Some(last) = last.filter(|last: &Last| last.header.sequence.get() > certain) {
            match self.runs_beside(&last)? {
                Some(runs) => {
                    for (path, position, bytes) in runs {
                        self.write_through(&path, position, &bytes)?;
                    }
                    self.write_through(&last.path, last.header.position(), &last.whole())?;
                }
                None => {
                    // It is sound in itself, but not what should be beside it: nobody was told of it.
                    self.forget(last.header.sequence.get());
                    end = last.before(end);
                }
            }
        }
        let contained = checkpoint.logs.iter().map(|log| log.truncated_in).max().unwrap_or_default();
        if contained > end.sequence {
            let what =
                format!("frame {contained} had been made durable, says the checkpoint, but it is not sound");
            return Err(Damage { path: directory.to_path_buf(), position: 0, what }.into());
        }
        self.seal(from, &end, directory)?;
        Ok(end)
    }

    /// The runs beside the last frame; `None`: not all of them are whole.
    fn runs_beside(&self, last: &Last) -> Result<Option<Vec<RunBeside>>, OpenError> {
        let mut runs = Vec::new();
        for (entry, run) in last.beside.iter().filter(|_| !planted(Bug::PlacedTrusted)) {
            match self.run_beside(entry, run)? {
                Some(run) => runs.push(run),
                None => return Ok(None),
            }
        }
        Ok(Some(runs))
    }

    /// Writes a frame without entries behind the last one, as the first of another file if there is no room, and takes away what
    /// could be the next one elsewhere. What was there may be all that tells that the last one had been durable: the
    /// seal tells so from then on.
    fn seal(&self, from: From, end: &End, directory: &Path) -> Result<(), IoFault> {
        let mut unused = end.unused.iter();
        let another =
            |path: &PathBuf| Place { path: path.clone(), generation: end.generation + 1, position: 0 };
        let place = match &end.behind {
            Some(place) => Some(place.clone()),
            None => unused.next().map(another),
        };
        if let Some(Place { path, generation, position }) = place {
            // The file may have been made just before the end.
            self.config.disk.sync_directory(directory)?;
            let next = Position {
                shard: from.shard,
                incarnation: from.incarnation,
                next_sequence: end.sequence + 1,
                chain: end.chain,
            };
            let mut seal = buffer::aligned(BLOCK_BYTES);
            seal.resize(HEADER_BYTES, 0);
            frame::finish(&mut seal, next.header(0, position, generation, end.sequence));
            self.write_through(&path, position, &seal)?;
        }
        let mut zeros = buffer::aligned(BLOCK_BYTES);
        zeros.resize(BLOCK_BYTES, 0);
        unused.try_for_each(|path| self.write_through(path, 0, &zeros))
    }

    fn write_through(&self, path: &Path, position: u64, bytes: &[u8]) -> Result<(), IoFault> {
        let file = self.config.disk.open(path, Open::Update)?;
        disk::write(path, &file, position, bytes)?;
        disk::sync(path, &file)
    }
}

impl Last {
    /// The end of the journal if this frame, which seemed to be the last one, does not count.
    fn before(&self, end: End) -> End {
        let FrameHeader { sequence, previous, generation, length, .. } = self.header;
        let behind =
            Place { path: self.path.clone(), generation: generation.get(), position: self.header.position() };
        End {
            sequence: sequence.get() - 1,
            chain: previous.get(),
            bytes: end.bytes - u64::from(length.get()),
            torn: true,
            behind: Some(behind),
            ..end
        }
    }

    /// The frame as it should be: what is behind its body may be torn.
    fn whole(&self) -> BytesMut {
        let length = self.header.length.get() as usize;
        let body_end = HEADER_BYTES + self.header.body_bytes.get() as usize;
        let mut whole = buffer::aligned(length);
        whole.extend_from_slice(&self.bytes[..body_end]);
        if self.header.directory_start().is_some() {
            frame::finish(&mut whole, self.header);
        } else {
            whole.resize(length, 0);
        }
        whole
    }
}
