//! Whether a log's batches go straight into its segment, and into which.
//!
//! In: how much of the log there is in a frame; files of its trimmed segments. Out: the segment that takes whole runs,
//! and the one that is being made ready to. Never: names a segment whose blocks do not exist already: a run that is to be
//! acknowledged must not find the device full.
//!
//! ```text
//!   trimmed segment ──checkpoint──> spare ──made ready──> next ──what is below it is settled──> takes runs ──> full
//!   new file ──blocks reserved──────────────────^
//! ```
//!
//! Blocks that were written before are the better ones: when reserved ones are written, the file system has to note that,
//! which costs about as much as a quarter of a mebibyte written twice.

use crate::io::Descriptor;
use crate::limits::Sizes;
use crate::segment::SegmentName;
use crate::types::Offset;

/// What one frame holds of a log counts as one part in so many of the mean.
const MEAN_OF: usize = 8;

/// What is known of a log that has had much in a frame.
#[derive(Debug, Default)]
pub struct Placement {
    /// Bytes that a frame had of the log, of those that had any.
    pub mean_bytes: usize,
    /// The mean reached what is worth a write of its own, and has not fallen to half of that since.
    pub has_much: bool,
    /// The same of a write to blocks that were only reserved.
    pub has_most: bool,
    /// The segment that takes whole runs. The journal tells every run in it that the last checkpoint does not know.
    pub into: Option<Provided>,
    /// The segment behind it.
    pub next: Option<Next>,
    /// A run is on its way, so that no other may be written into its segment.
    pub in_flight: bool,
    /// The frame that tells of the last run which was settled into that segment; no run may be placed behind it earlier.
    pub told_in: u64,
    /// The frame being gathered when a batch of the log went into a frame itself.
    pub in_frame: u64,
    /// Files that no checkpoint refers to any more, to be used again.
    pub spares: Vec<Provided>,
}

/// A segment file whose blocks exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Provided {
    pub name: SegmentName,
    /// Up to here it was written before, or its blocks are reserved.
    pub file_bytes: u64,
    /// They are reserved only.
    pub is_new: bool,
}

/// A segment being made ready: what is appended from its base on goes there.
#[derive(Debug)]
pub struct Next {
    /// The name that its file had.
    pub from: SegmentName,
    pub segment: Provided,
    /// Open and ready, its name durable.
    pub file: Option<Descriptor>,
}

impl Placement {
    /// A durable frame had so many bytes of the log.
    pub fn had(&mut self, bytes: usize, sizes: &Sizes) {
        self.mean_bytes = match self.mean_bytes {
            0 => bytes,
            mean => mean - mean / MEAN_OF + bytes / MEAN_OF,
        };
        let reaches = |bytes_min: usize, did| self.mean_bytes >= if did { bytes_min / 2 } else { bytes_min };
        (self.has_much, self.has_most) = (
            reaches(sizes.section_bytes_min, self.has_much),
            reaches(sizes.new_section_bytes_min, self.has_most),
        );
    }

    /// The segment that takes runs, if there is so much that it is worth it.
    pub fn worth(&self) -> Option<Provided> {
        self.into.filter(|into| if into.is_new { self.has_most } else { self.has_much })
    }

    /// Whether a batch gathered now goes beside the frame.
    pub fn is_apart(&self, gathering: u64) -> bool {
        self.worth().is_some() && self.next.is_none() && self.in_frame != gathering
    }

    /// What is appended from there on goes into another segment than what is below.
    pub fn next_base(&self) -> Option<Offset> {
        self.next.as_ref().map(|next| next.segment.name.base)
    }

    /// Every file that is the log's beside its segments.
    pub fn files(&self) -> impl Iterator<Item = SegmentName> {
        let next = self.next.iter().flat_map(|next| [next.from, next.segment.name]);
        self.spares.iter().map(|spare| spare.name).chain(next)
    }
}
