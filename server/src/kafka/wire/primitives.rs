//! The integers, texts, byte strings and arrays all Kafka messages are made of.
//!
//! In: the bytes of one frame, or values. Out: values that share the frame's bytes where they are large, or bytes.
//! Never: trusts a length. Every length is checked against the bytes that remain and against a limit before
//! anything is reserved for it.
//!
//! A message version is either *classic* (lengths are fixed-width integers, -1 means null) or *flexible*
//! (lengths are unsigned varints of the length plus one, 0 means null, and every struct ends with tagged
//! fields; KIP-482). Reader and writer know which, so that a message is described once.

use bytes::{Buf, Bytes};

/// Elements one array may have; the same as in Apache Kafka's readers.
pub const ARRAY_ITEMS_MAX: usize = 1_000_000;
/// Tagged fields one struct may have.
pub const TAGGED_FIELDS_MAX: u32 = 10_000;
/// Elements room is made for before the first of them was read.
const ARRAY_ITEMS_RESERVED: usize = 1_000;

/// Why bytes are not the message they should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WireError {
    /// The bytes end too soon.
    Short,
    /// A length is negative, or larger than what remains or what is allowed.
    Length,
    /// Null where a value must be.
    Null,
    /// A text that is not UTF-8.
    Utf8,
    /// A varint of more than five bytes.
    Varint,
    /// Tagged fields out of order, or twice.
    Tags,
    /// A request kind, or a version of it, that is not served.
    Unserved,
    /// A value that makes no sense where it stands.
    Value,
}

impl std::fmt::Display for WireError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            WireError::Short => "the message is cut short",
            WireError::Length => {
                "a length in the message is larger than what is left of it, or than the limit"
            }
            WireError::Null => "null where a value is required",
            WireError::Utf8 => "a text is not UTF-8",
            WireError::Varint => "a variable-length integer is too long",
            WireError::Tags => "tagged fields are not in ascending order",
            WireError::Unserved => "this request or this version of it is not served",
            WireError::Value => "a value makes no sense where it stands",
        })
    }
}

impl std::error::Error for WireError {}

/// Takes values off the front of one message.
#[derive(Clone, Debug)]
pub struct Reader {
    rest: Bytes,
    flexible: bool,
}

impl Reader {
    /// Reads `bytes`, in the flexible or the classic encoding.
    pub fn new(bytes: Bytes, flexible: bool) -> Reader {
        Reader { rest: bytes, flexible }
    }

    /// Switches the encoding: a header is classic where the body behind it is flexible.
    pub fn set_flexible(&mut self, flexible: bool) {
        self.flexible = flexible;
    }

    /// Whether the encoding is the flexible one.
    pub fn is_flexible(&self) -> bool {
        self.flexible
    }

    /// Bytes not yet taken.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Takes `count` bytes, sharing the frame.
    pub fn take(&mut self, count: usize) -> Result<Bytes, WireError> {
        if count > self.rest.len() {
            return Err(WireError::Short);
        }
        Ok(self.rest.split_to(count))
    }

    pub fn bool(&mut self) -> Result<bool, WireError> {
        Ok(self.i8()? != 0)
    }

    pub fn i8(&mut self) -> Result<i8, WireError> {
        self.rest.try_get_i8().ok().ok_or(WireError::Short)
    }

    pub fn i16(&mut self) -> Result<i16, WireError> {
        self.rest.try_get_i16().ok().ok_or(WireError::Short)
    }

    pub fn i32(&mut self) -> Result<i32, WireError> {
        self.rest.try_get_i32().ok().ok_or(WireError::Short)
    }

    pub fn i64(&mut self) -> Result<i64, WireError> {
        self.rest.try_get_i64().ok().ok_or(WireError::Short)
    }

    pub fn uuid(&mut self) -> Result<[u8; 16], WireError> {
        let mut uuid = [0; 16];
        self.rest.try_copy_to_slice(&mut uuid).ok().ok_or(WireError::Short)?;
        Ok(uuid)
    }

    pub fn uvarint(&mut self) -> Result<u32, WireError> {
        let mut value = 0u32;
        for index in 0..5 {
            let byte = self.rest.try_get_u8().ok().ok_or(WireError::Short)?;
            if index == 4 && byte > 0x0f {
                break;
            }
            value |= u32::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(WireError::Varint)
    }

    /// A length in the encoding's own form, `None` for null. Not yet checked against what remains.
    fn length(
        &mut self,
        classic: fn(&mut Reader) -> Result<i32, WireError>,
    ) -> Result<Option<usize>, WireError> {
        if self.flexible {
            let length = self.uvarint()?;
            return Ok(length.checked_sub(1).map(|length| length as usize));
        }
        match classic(self)? {
            -1 => Ok(None),
            length => Ok(Some(usize::try_from(length).ok().ok_or(WireError::Length)?)),
        }
    }

    fn text(&mut self, length: usize) -> Result<String, WireError> {
        let bytes = self.take(length)?;
        let text = std::str::from_utf8(&bytes).ok().ok_or(WireError::Utf8)?;
        Ok(text.to_owned())
    }

    pub fn string(&mut self) -> Result<String, WireError> {
        self.nullable_string()?.ok_or(WireError::Null)
    }

    pub fn nullable_string(&mut self) -> Result<Option<String>, WireError> {
        match self.length(|reader| reader.i16().map(i32::from))? {
            None => Ok(None),
            Some(length) => self.text(length).map(Some),
        }
    }

    pub fn bytes(&mut self) -> Result<Bytes, WireError> {
        self.nullable_bytes()?.ok_or(WireError::Null)
    }

    /// Opaque bytes or records, sharing the frame.
    pub fn nullable_bytes(&mut self) -> Result<Option<Bytes>, WireError> {
        match self.length(Reader::i32)? {
            None => Ok(None),
            Some(length) => self.take(length).map(Some),
        }
    }

    pub fn array<T>(
        &mut self,
        item: impl FnMut(&mut Reader) -> Result<T, WireError>,
    ) -> Result<Vec<T>, WireError> {
        self.nullable_array(item)?.ok_or(WireError::Null)
    }

    pub fn nullable_array<T>(
        &mut self,
        mut item: impl FnMut(&mut Reader) -> Result<T, WireError>,
    ) -> Result<Option<Vec<T>>, WireError> {
        let Some(count) = self.length(Reader::i32)? else { return Ok(None) };
        // No element takes less than a byte, so what remains bounds the count.
        if count > self.rest.len().min(ARRAY_ITEMS_MAX) {
            return Err(WireError::Length);
        }
        let mut items = Vec::with_capacity(count.min(ARRAY_ITEMS_RESERVED));
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(Some(items))
    }

    /// The tagged fields at the end of a struct, all of them skipped. Nothing in the classic encoding.
    pub fn tags(&mut self) -> Result<(), WireError> {
        self.tags_with(|_, _| Ok(()))
    }

    /// The tagged fields at the end of a struct, each given to `field` with a reader of its bytes only.
    pub fn tags_with(
        &mut self,
        mut field: impl FnMut(u32, &mut Reader) -> Result<(), WireError>,
    ) -> Result<(), WireError> {
        if !self.flexible {
            return Ok(());
        }
        let count = self.uvarint()?;
        if count > TAGGED_FIELDS_MAX {
            return Err(WireError::Length);
        }
        let mut last = None;
        for _ in 0..count {
            let tag = self.uvarint()?;
            if last.is_some_and(|last| tag <= last) {
                return Err(WireError::Tags);
            }
            last = Some(tag);
            let length = self.uvarint()? as usize;
            let mut reader = Reader::new(self.take(length)?, true);
            field(tag, &mut reader)?;
        }
        Ok(())
    }
}

/// Appends values to one message. Large byte strings are kept aside and not copied.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    small: Vec<u8>,
    /// Bytes that belong before `small[position]`; positions ascend.
    large: Vec<(usize, Bytes)>,
    large_bytes: usize,
    flexible: bool,
}

impl Writer {
    /// An empty message in the flexible or the classic encoding.
    pub fn new(flexible: bool) -> Writer {
        Writer { flexible, ..Writer::default() }
    }

    /// Switches the encoding: a header is classic where the body behind it is flexible.
    pub fn set_flexible(&mut self, flexible: bool) {
        self.flexible = flexible;
    }

    /// Whether the encoding is the flexible one.
    pub fn is_flexible(&self) -> bool {
        self.flexible
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.small.len() + self.large_bytes
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn bool(&mut self, value: bool) {
        self.small.push(u8::from(value));
    }

    pub fn i8(&mut self, value: i8) {
        self.small.extend_from_slice(&value.to_be_bytes());
    }

    pub fn i16(&mut self, value: i16) {
        self.small.extend_from_slice(&value.to_be_bytes());
    }

    pub fn i32(&mut self, value: i32) {
        self.small.extend_from_slice(&value.to_be_bytes());
    }

    pub fn i64(&mut self, value: i64) {
        self.small.extend_from_slice(&value.to_be_bytes());
    }

    pub fn uuid(&mut self, value: &[u8; 16]) {
        self.small.extend_from_slice(value);
    }

    pub fn uvarint(&mut self, value: u32) {
        let mut rest = value;
        while rest >= 0x80 {
            self.small.push((rest as u8 & 0x7f) | 0x80);
            rest >>= 7;
        }
        self.small.push(rest as u8);
    }

    fn length(&mut self, length: Option<usize>, classic: fn(&mut Writer, i32)) {
        if self.flexible {
            self.uvarint(length.map_or(0, |length| length as u32 + 1));
        } else {
            classic(self, length.map_or(-1, |length| length as i32));
        }
    }

    pub fn string(&mut self, value: &str) {
        self.nullable_string(Some(value));
    }

    /// A text. One too long for the classic form is cut there, at a character's end.
    pub fn nullable_string(&mut self, value: Option<&str>) {
        let value = value.map(|text| match self.flexible {
            true => text,
            false => text.get(..text.floor_char_boundary(i16::MAX as usize)).unwrap_or_default(),
        });
        self.length(value.map(str::len), |writer, length| writer.i16(length as i16));
        self.small.extend_from_slice(value.unwrap_or_default().as_bytes());
    }

    pub fn bytes(&mut self, value: &[u8]) {
        self.nullable_bytes(Some(value));
    }

    pub fn nullable_bytes(&mut self, value: Option<&[u8]>) {
        self.length(value.map(<[u8]>::len), Writer::i32);
        self.small.extend_from_slice(value.unwrap_or_default());
    }

    /// One byte string made of several pieces, none of them copied.
    pub fn shared_bytes(&mut self, pieces: &[Bytes]) {
        self.length(Some(pieces.iter().map(Bytes::len).sum()), Writer::i32);
        for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
            self.large_bytes += piece.len();
            self.large.push((self.small.len(), piece.clone()));
        }
    }

    pub fn array<T>(&mut self, items: &[T], item: impl FnMut(&mut Writer, &T)) {
        self.nullable_array(Some(items), item);
    }

    pub fn nullable_array<T>(&mut self, items: Option<&[T]>, mut item: impl FnMut(&mut Writer, &T)) {
        self.length(items.map(<[T]>::len), Writer::i32);
        for one in items.unwrap_or_default() {
            item(self, one);
        }
    }

    /// The end of a struct without tagged fields. Nothing in the classic encoding.
    pub fn tags(&mut self) {
        self.tags_of(&[]);
    }

    /// The end of a struct with these tagged fields, in ascending order, each already encoded.
    pub fn tags_of(&mut self, fields: &[(u32, Vec<u8>)]) {
        if self.flexible {
            self.uvarint(fields.len() as u32);
            for (tag, bytes) in fields {
                self.uvarint(*tag);
                self.uvarint(bytes.len() as u32);
                self.small.extend_from_slice(bytes);
            }
        }
    }

    /// Writes the message's length without these four bytes over its first four, which were left for it.
    pub(super) fn set_size(&mut self) {
        let size = (self.len() as i32).wrapping_sub(4).to_be_bytes();
        if let Some(place) = self.small.first_chunk_mut::<4>() {
            *place = size;
        }
    }

    /// The message in pieces that belong one behind the other.
    pub fn into_pieces(self) -> Vec<Bytes> {
        let small = Bytes::from(self.small);
        let mut pieces = Vec::with_capacity(2 * self.large.len() + 1);
        let mut done = 0;
        for (position, piece) in self.large {
            if position > done {
                pieces.push(small.slice(done..position));
                done = position;
            }
            pieces.push(piece);
        }
        if done < small.len() {
            pieces.push(small.slice(done..));
        }
        pieces
    }

    /// The message in one piece.
    pub fn into_bytes(self) -> Bytes {
        if self.large.is_empty() {
            return Bytes::from(self.small);
        }
        Bytes::from(self.into_pieces().concat())
    }
}
