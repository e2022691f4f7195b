//! The four bytes before every request and response: how many bytes follow, big-endian.
//!
//! In: what a socket gave. Out: whole frames, sharing the input's memory. Never: believes a size above the limit.

use bytes::{Bytes, BytesMut};

use super::header::RequestHeader;
use super::primitives::Writer;

/// Bytes of the size field.
pub const SIZE_BYTES: usize = 4;

/// The size is negative or above the limit; nothing behind it can be found again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadSize(pub i32);

/// What lies at the front of the input.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Front {
    /// A whole frame without its size field; it was taken off.
    Frame(Bytes),
    /// More bytes are needed. The frame takes so many in total, size field included, as far as is known.
    Needs(usize),
}

/// Takes the frame at the front of `input` if all of it is there.
pub fn take(input: &mut BytesMut, bytes_max: u32) -> Result<Front, BadSize> {
    let Some(size) = input.first_chunk::<SIZE_BYTES>() else { return Ok(Front::Needs(SIZE_BYTES)) };
    let size = i32::from_be_bytes(*size);
    let Some(length) = u32::try_from(size).ok().filter(|length| *length <= bytes_max) else {
        return Err(BadSize(size));
    };
    let total = SIZE_BYTES + length as usize;
    if input.len() < total {
        return Ok(Front::Needs(total));
    }
    let mut frame = input.split_to(total);
    let _size = frame.split_to(SIZE_BYTES);
    Ok(Front::Frame(frame.freeze()))
}

/// Begins a request: room for the size, then the header.
pub fn begin_request(header: &RequestHeader) -> Writer {
    let mut writer = Writer::new(false);
    writer.i32(0);
    header.encode(&mut writer);
    writer
}

/// Begins the response to the request with this header.
pub fn begin_response(header: &RequestHeader) -> Writer {
    let mut writer = Writer::new(false);
    writer.i32(0);
    header.encode_response(&mut writer);
    writer
}

/// Ends a message that was begun here: fills in the size and gives the pieces to send.
pub fn finish(mut writer: Writer) -> Vec<Bytes> {
    writer.set_size();
    writer.into_pieces()
}
