//! Memory that direct I/O accepts: it begins on a block boundary.
//!
//! A buffer is a [`BytesMut`] while it is filled and [`Bytes`](bytes::Bytes) once it is shared: the same bytes
//! go to the device, serve fetches and go to sockets, counted by references and never copied.

use bytes::{Buf, BytesMut};

use crate::limits::BLOCK_BYTES;

/// An empty buffer whose first byte is block-aligned, with room for `capacity` bytes and what
/// pads them to whole blocks: just that, wherever in memory it lies, so that nothing that depends on it does.
pub fn aligned(capacity: usize) -> BytesMut {
    let capacity = padded(capacity);
    let mut buffer = BytesMut::with_capacity(capacity + BLOCK_BYTES - 1);
    let skip = buffer.as_ptr().align_offset(BLOCK_BYTES);
    buffer.resize(skip, 0);
    buffer.advance(skip);
    assert!(buffer.as_ptr().addr().is_multiple_of(BLOCK_BYTES));
    drop(buffer.split_off(capacity));
    assert!(buffer.capacity() == capacity);
    buffer
}

/// `length` rounded up to whole blocks.
pub fn padded(length: usize) -> usize {
    length.next_multiple_of(BLOCK_BYTES)
}

/// Fills `buffer` with zeros up to the next block boundary.
pub fn pad(buffer: &mut BytesMut) {
    buffer.resize(padded(buffer.len()), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_aligned_through_splits_at_block_boundaries() {
        for capacity in [1, BLOCK_BYTES, 10 * BLOCK_BYTES, 1 << 20] {
            let mut buffer = aligned(capacity);
            assert!(buffer.is_empty());
            buffer.extend_from_slice(b"x");
            pad(&mut buffer);
            let front = buffer.split().freeze();
            assert_eq!(front.len(), BLOCK_BYTES);
            assert!(buffer.as_ptr().addr().is_multiple_of(BLOCK_BYTES));
        }
    }
}
