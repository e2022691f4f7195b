//! Cuts what was read down to what the client allows, at the ends of batches and without copying.

use bytes::Bytes;
use ringmain_engine::format::batch::{self, CODEC_MASK};
use ringmain_engine::types::Offset;

use crate::kafka::error::ErrorCode;

/// Batch attributes: the codec's number for zstd, and the version of Fetch from which a client knows it.
const ZSTD: i16 = 4;
const ZSTD_VERSION: i16 = 10;

/// The bytes one response may still have.
pub struct Clip {
    room: usize,
    /// Nothing was let through yet: the first batch is, however large, or the client would never get on (KIP-74).
    first: bool,
    zstd: bool,
}

impl Clip {
    /// A response of at most `bytes_max` record bytes, for a fetch of this version.
    pub fn new(bytes_max: usize, version: i16) -> Clip {
        Clip { room: bytes_max, first: true, zstd: version >= ZSTD_VERSION }
    }

    /// What of one partition's batches, at most `bytes_max`, goes into the response.
    pub fn records(&mut self, pieces: Vec<Bytes>, bytes_max: usize) -> Result<Vec<Bytes>, ErrorCode> {
        if !self.zstd && pieces.iter().any(holds_zstd) {
            return Err(ErrorCode::UnsupportedCompressionType);
        }
        let mut left = bytes_max.min(self.room);
        let mut kept = Vec::with_capacity(pieces.len());
        for piece in pieces {
            let length =
                if piece.len() <= left { piece.len() } else { whole_batches(&piece, left, self.first) };
            if length > 0 {
                self.first = false;
                self.room = self.room.saturating_sub(length);
                kept.push(piece.slice(..length));
            }
            if length < piece.len() {
                break;
            }
            left = left.saturating_sub(length);
        }
        Ok(kept)
    }
}

/// Bytes of the batches at the front of `piece` that fit into `bytes_max`, or of the first if it must go.
fn whole_batches(piece: &Bytes, bytes_max: usize, first: bool) -> usize {
    let mut length = 0;
    for (header, _) in batch::split(piece.clone()) {
        let longer = length + header.total_bytes();
        if longer > bytes_max && !(first && length == 0) {
            break;
        }
        length = longer;
    }
    length
}

fn holds_zstd(piece: &Bytes) -> bool {
    batch::split(piece.clone()).any(|(header, _)| header.attributes.get() & CODEC_MASK == ZSTD)
}

/// The offset behind the last of these batches.
pub fn end_offset(pieces: &[Bytes]) -> Option<Offset> {
    let (header, _) = batch::split(pieces.last()?.clone()).last()?;
    let base = u64::try_from(header.base_offset.get()).ok()?;
    base.checked_add(header.offsets_count())
}
