//! Frames: the unit of the wire, and the protocol header before the first.
//!
//! In: a connection's input buffer. Out: whole frames that share it; frames as bytes, bodies shared where that is
//! cheaper than a copy. Never: waits for a frame larger than negotiated.
//!
//! | bytes | field | |
//! |---|---|---|
//! | 1 | type | 1 method, 2 header, 3 body, 8 heartbeat |
//! | 2 | channel | |
//! | 4 | size | of the payload |
//! | size | payload | |
//! | 1 | end | 0xCE |

use bytes::{BufMut, Bytes, BytesMut};

use super::WireError;
use super::method::Method;
use super::primitive::take;
use super::properties::{self, Properties};

/// The first bytes of a connection.
pub const PROTOCOL_HEADER: [u8; 8] = *b"AMQP\x00\x00\x09\x01";
/// Bytes of a frame beside its payload.
pub const ENVELOPE_BYTES: usize = HEAD_BYTES + 1;
/// Smallest largest frame a peer may ask for, and what it may send before that is settled.
pub const FRAME_BYTES_MIN: u32 = 4096;

const HEAD_BYTES: usize = 7;
const END: u8 = 0xce;

/// Bodies from this size on are sent from where they lie. Below, the two further pieces that this makes of the
/// output cost more than the copy.
const SHARED_BYTES_MIN: usize = 4096;

/// What a frame holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Method,
    Header,
    Body,
    Heartbeat,
}

impl Kind {
    fn of(number: u8) -> Option<Kind> {
        match number {
            1 => Some(Kind::Method),
            2 => Some(Kind::Header),
            3 => Some(Kind::Body),
            8 => Some(Kind::Heartbeat),
            _ => None,
        }
    }

    fn number(self) -> u8 {
        match self {
            Kind::Method => 1,
            Kind::Header => 2,
            Kind::Body => 3,
            Kind::Heartbeat => 8,
        }
    }
}

/// One whole frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    pub kind: Kind,
    pub channel: u16,
    pub payload: Bytes,
}

/// Takes the protocol header off the front. `Ok(false)`: not all of it is there yet.
pub fn take_protocol_header(input: &mut BytesMut) -> Result<bool, WireError> {
    let found = input.get(..PROTOCOL_HEADER.len()).unwrap_or(input);
    if !PROTOCOL_HEADER.starts_with(found) {
        return Err(WireError::ProtocolHeader);
    }
    let whole = found.len() == PROTOCOL_HEADER.len();
    if whole {
        let _ = input.split_to(PROTOCOL_HEADER.len());
    }
    Ok(whole)
}

/// Takes one frame off the front; `None`: not all of it is there yet. `frame_max` is the negotiated limit in bytes,
/// envelope included.
pub fn take_frame(input: &mut BytesMut, frame_max: u32) -> Result<Option<Frame>, WireError> {
    let Some((kind, channel, total)) = head(input, frame_max)? else { return Ok(None) };
    if input.len() < total {
        return Ok(None);
    }
    let mut payload = input.split_to(total);
    match payload.last() {
        Some(&END) => {}
        other => return Err(WireError::FrameEnd(other.copied().unwrap_or_default())),
    }
    payload.truncate(total - 1);
    bytes::Buf::advance(&mut payload, HEAD_BYTES);
    Ok(Some(Frame { kind, channel, payload: payload.freeze() }))
}

/// Whether the frame at the front is a `basic.publish`; its first bytes say so.
pub fn begins_publish(input: &[u8]) -> bool {
    const PUBLISH: [u8; 4] = [0, 60, 0, 40];
    input.first() == Some(&Kind::Method.number()) && input.get(HEAD_BYTES..HEAD_BYTES + 4) == Some(&PUBLISH)
}

/// How many bytes the frame at the front needs in total, checked against the limit; 0 if that is not known, or if
/// [`take_frame`] would refuse it.
pub fn bytes_needed(input: &[u8], frame_max: u32) -> usize {
    match head(input, frame_max) {
        Ok(Some((_, _, total))) => total,
        _ => 0,
    }
}

fn head(mut input: &[u8], frame_max: u32) -> Result<Option<(Kind, u16, usize)>, WireError> {
    let Some(&number) = input.first() else { return Ok(None) };
    let Some(kind) = Kind::of(number) else { return Err(WireError::FrameType(number)) };
    let Some([_, channel_0, channel_1, size @ ..]) = take::<HEAD_BYTES>(&mut input) else { return Ok(None) };
    let total = u64::from(u32::from_be_bytes(size)) + ENVELOPE_BYTES as u64;
    if total > u64::from(frame_max) {
        return Err(WireError::FrameTooLarge { size: total, limit: frame_max });
    }
    Ok(Some((kind, u16::from_be_bytes([channel_0, channel_1]), total as usize)))
}

/// Appends a frame with whatever payload `fill` appends.
fn put(kind: Kind, channel: u16, out: &mut BytesMut, fill: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    put_head(kind, channel, 0, out);
    fill(out);
    let size = (out.len() - start - HEAD_BYTES) as u32;
    if let Some(field) = out.get_mut(start + 3..start + HEAD_BYTES) {
        field.copy_from_slice(&size.to_be_bytes());
    }
    out.put_u8(END);
}

fn put_head(kind: Kind, channel: u16, size: usize, out: &mut BytesMut) {
    out.put_u8(kind.number());
    out.put_u16(channel);
    out.put_u32(size as u32);
}

/// Appends a method frame.
pub fn put_method(channel: u16, method: &Method, out: &mut BytesMut) {
    put(Kind::Method, channel, out, |out| method.encode(out));
}

/// Appends a header frame.
pub fn put_header(channel: u16, body_size: u64, properties: &Properties, out: &mut BytesMut) {
    put(Kind::Header, channel, out, |out| properties::encode(body_size, properties, out));
}

/// Appends a heartbeat frame.
pub fn put_heartbeat(out: &mut BytesMut) {
    put(Kind::Heartbeat, 0, out, |_| {});
}

/// Appends a method with its content: header and as many body frames as `frame_max` asks for.
///
/// Large bodies are not copied: then `out` is emptied into `send`, and so are pieces of `body`, in the order of the
/// wire. What is in `out` on return is still to be sent.
pub fn put_content(
    channel: u16,
    method: &Method,
    properties: &Properties,
    body: &Bytes,
    frame_max: u32,
    out: &mut BytesMut,
    send: &mut impl FnMut(Bytes),
) {
    put_method(channel, method, out);
    put_header(channel, body.len() as u64, properties, out);
    let piece_bytes_max = frame_max.max(FRAME_BYTES_MIN) as usize - ENVELOPE_BYTES;
    let mut rest = body.clone();
    while !rest.is_empty() {
        let piece = rest.split_to(rest.len().min(piece_bytes_max));
        put_head(Kind::Body, channel, piece.len(), out);
        if piece.len() < SHARED_BYTES_MIN {
            out.put_slice(&piece);
        } else {
            send(out.split().freeze());
            send(piece);
        }
        out.put_u8(END);
    }
}
