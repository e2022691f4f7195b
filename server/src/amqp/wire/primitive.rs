//! The elementary data types: integers, packed bits, short and long strings.
//!
//! In: a method's arguments, or the inside of a table. Out: values that share the bytes. Never: reads past the
//! end, or copies.

use std::fmt;
use std::ops::Deref;

use bytes::{BufMut, Bytes, BytesMut};

use super::WireError;
use super::table::Table;

/// Longest short string, in bytes: its length is one byte.
pub const SHORT_BYTES_MAX: usize = u8::MAX as usize;

/// A short string of UTF-8 text: a name, a tag, a reply text. At most [`SHORT_BYTES_MAX`] bytes.
#[derive(Clone, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct ShortStr(Bytes);

impl ShortStr {
    /// `None` if the bytes are not UTF-8, or more than [`SHORT_BYTES_MAX`].
    pub fn new(bytes: Bytes) -> Option<ShortStr> {
        let fits = bytes.len() <= SHORT_BYTES_MAX && std::str::from_utf8(&bytes).is_ok();
        fits.then_some(ShortStr(bytes))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // It was checked when it was made; checking again is cheaper than keeping a second form.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The text's bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    fn cut(text: &str) -> &str {
        text.get(..text.floor_char_boundary(SHORT_BYTES_MAX)).unwrap_or(text)
    }
}

impl Deref for ShortStr {
    type Target = str;
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for ShortStr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

impl fmt::Display for ShortStr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Cuts text that is too long, at the boundary of a character.
impl From<&str> for ShortStr {
    fn from(text: &str) -> ShortStr {
        ShortStr(Bytes::copy_from_slice(ShortStr::cut(text).as_bytes()))
    }
}

/// Cuts text that is too long, at the boundary of a character.
impl From<String> for ShortStr {
    fn from(mut text: String) -> ShortStr {
        text.truncate(ShortStr::cut(&text).len());
        ShortStr(Bytes::from(text))
    }
}

/// A short string that may be any bytes: a routing key.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
pub struct ShortBytes(Bytes);

impl ShortBytes {
    /// `None` if there are more than [`SHORT_BYTES_MAX`].
    pub fn new(bytes: Bytes) -> Option<ShortBytes> {
        (bytes.len() <= SHORT_BYTES_MAX).then_some(ShortBytes(bytes))
    }

    /// The bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }
}

impl Deref for ShortBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// Text is at most [`SHORT_BYTES_MAX`] bytes, so it fits as it is.
impl From<ShortStr> for ShortBytes {
    fn from(text: ShortStr) -> ShortBytes {
        ShortBytes(text.0)
    }
}

/// A long string: any bytes, their length in four.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
pub struct LongBytes(pub Bytes);

impl Deref for LongBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// Reads arguments one after the other. Consecutive bits share bytes, from the lowest bit up.
pub struct Reader {
    bytes: Bytes,
    /// The byte whose bits are being read, and how many of them were.
    bits: u8,
    bits_taken: u8,
}

impl Reader {
    /// Reads from the front of `bytes`.
    pub fn new(bytes: Bytes) -> Reader {
        Reader { bytes, bits: 0, bits_taken: 8 }
    }

    fn split(&mut self, count: usize) -> Result<Bytes, WireError> {
        self.bits_taken = 8;
        if count > self.bytes.len() {
            return Err(WireError::Syntax("method arguments: they end early"));
        }
        Ok(self.bytes.split_to(count))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        self.bits_taken = 8;
        let mut rest: &[u8] = &self.bytes;
        let array = take(&mut rest).ok_or(WireError::Syntax("method arguments: they end early"))?;
        bytes::Buf::advance(&mut self.bytes, N);
        Ok(array)
    }

    fn bit(&mut self) -> Result<bool, WireError> {
        if self.bits_taken == 8 {
            let [bits] = self.array()?;
            self.bits = bits;
            self.bits_taken = 0;
        }
        let bit = self.bits >> self.bits_taken & 1 == 1;
        self.bits_taken += 1;
        Ok(bit)
    }
}

/// Writes arguments one after the other, the counterpart of [`Reader`].
pub struct Writer<'a> {
    out: &'a mut BytesMut,
    /// Bits in the last byte so far; 8: the next bit begins a byte.
    bits_put: u8,
}

impl<'a> Writer<'a> {
    /// Appends to `out`.
    pub fn new(out: &'a mut BytesMut) -> Writer<'a> {
        Writer { out, bits_put: 8 }
    }

    fn slice(&mut self, bytes: &[u8]) {
        self.bits_put = 8;
        self.out.put_slice(bytes);
    }

    fn bit(&mut self, bit: bool) {
        if self.bits_put == 8 {
            self.out.put_u8(0);
            self.bits_put = 0;
        }
        if let Some(last) = self.out.last_mut() {
            *last |= u8::from(bit) << self.bits_put;
        }
        self.bits_put += 1;
    }
}

/// An argument of a method.
pub trait Argument: Sized {
    fn take(from: &mut Reader) -> Result<Self, WireError>;
    fn put(&self, to: &mut Writer<'_>);
}

macro_rules! integers {
    ($($integer:ty),*) => {$(
        impl Argument for $integer {
            fn take(from: &mut Reader) -> Result<Self, WireError> {
                from.array().map(<$integer>::from_be_bytes)
            }
            fn put(&self, to: &mut Writer<'_>) {
                to.slice(&self.to_be_bytes());
            }
        }
    )*};
}

integers!(u8, u16, u32, u64);

impl Argument for bool {
    fn take(from: &mut Reader) -> Result<Self, WireError> {
        from.bit()
    }
    fn put(&self, to: &mut Writer<'_>) {
        to.bit(*self);
    }
}

impl Argument for ShortBytes {
    fn take(from: &mut Reader) -> Result<Self, WireError> {
        let length = u8::take(from)?;
        from.split(usize::from(length)).map(ShortBytes)
    }
    fn put(&self, to: &mut Writer<'_>) {
        to.slice(&[self.0.len() as u8]);
        to.slice(&self.0);
    }
}

impl Argument for ShortStr {
    fn take(from: &mut Reader) -> Result<Self, WireError> {
        let ShortBytes(bytes) = ShortBytes::take(from)?;
        ShortStr::new(bytes).ok_or(WireError::Syntax("short string: it is not UTF-8"))
    }
    fn put(&self, to: &mut Writer<'_>) {
        to.slice(&[self.0.len() as u8]);
        to.slice(&self.0);
    }
}

impl Argument for LongBytes {
    fn take(from: &mut Reader) -> Result<Self, WireError> {
        let length = u32::take(from)?;
        from.split(length as usize).map(LongBytes)
    }
    fn put(&self, to: &mut Writer<'_>) {
        to.slice(&(self.0.len() as u32).to_be_bytes());
        to.slice(&self.0);
    }
}

impl Argument for Table {
    fn take(from: &mut Reader) -> Result<Self, WireError> {
        let LongBytes(raw) = LongBytes::take(from)?;
        Table::checked(raw)
    }
    fn put(&self, to: &mut Writer<'_>) {
        to.slice(&(self.raw().len() as u32).to_be_bytes());
        to.slice(self.raw());
    }
}

/// Takes `N` bytes off the front.
pub fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (front, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*front)
}

/// Takes `count` bytes off the front.
pub fn take_slice<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (front, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(front)
}

/// Takes a short string off the front.
pub fn take_short<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let [length] = take(bytes)?;
    take_slice(bytes, usize::from(length))
}

/// Takes a long string off the front.
pub fn take_long<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u32::from_be_bytes(take(bytes)?);
    take_slice(bytes, length as usize)
}

/// Appends a short string, cut if it is too long.
pub fn put_short(out: &mut Vec<u8>, bytes: &[u8]) {
    let cut = bytes.get(..SHORT_BYTES_MAX).unwrap_or(bytes);
    out.push(cut.len() as u8);
    out.extend_from_slice(cut);
}

/// Appends a long string.
pub fn put_long(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}
