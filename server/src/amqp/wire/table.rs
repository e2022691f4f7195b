//! Field tables and arrays: names with typed values, kept as the bytes they came in.
//!
//! In: the inside of a table. Out: its entries, one at a time, borrowed from it. Never: reorders, merges or drops
//! an entry (names may repeat, and their order is the peer's), or allocates while reading.
//!
//! An entry is `name (short string), tag (1 byte), value`. The tags, as RabbitMQ reads them:
//!
//! | tag | value | tag | value | tag | value |
//! |---|---|---|---|---|---|
//! | `t` | bool | `I` | i32 | `d` | f64 |
//! | `b` | i8 | `i` | u32 | `D` | scale u8, value i32 |
//! | `B` | u8 | `l`, `L` | i64 | `S` | long string |
//! | `s` | i16 | `T` | u64 s since 1970 | `x` | bytes |
//! | `u` | u16 | `f` | f32 | `A`, `F`, `V` | array, table, nothing |

use std::fmt;

use bytes::Bytes;

use super::WireError;
use super::primitive::{put_long, put_short, take, take_long, take_short};

/// How deep tables and arrays may lie inside each other. Real ones have three levels (`x-death`); the limit bounds
/// the stack of whoever walks them.
pub const DEPTH_MAX: usize = 16;

/// A value of a table or an array.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Value<'a> {
    Bool(bool),
    I8(i8),
    U8(u8),
    I16(i16),
    U16(u16),
    I32(i32),
    U32(u32),
    I64(i64),
    F32(f32),
    F64(f64),
    Decimal {
        scale: u8,
        value: i32,
    },
    /// Text by intention, but any bytes.
    LongStr(&'a [u8]),
    Bytes(&'a [u8]),
    /// Seconds since the Unix epoch.
    Timestamp(u64),
    Table(Fields<'a>),
    Array(Items<'a>),
    Void,
}

impl<'a> Value<'a> {
    /// Takes tag and value off the front.
    fn take(bytes: &mut &'a [u8]) -> Option<Value<'a>> {
        let [tag] = take(bytes)?;
        Some(match tag {
            b't' => Value::Bool(take::<1>(bytes)? != [0]),
            b'b' => Value::I8(i8::from_be_bytes(take(bytes)?)),
            b'B' => Value::U8(u8::from_be_bytes(take(bytes)?)),
            b's' => Value::I16(i16::from_be_bytes(take(bytes)?)),
            b'u' => Value::U16(u16::from_be_bytes(take(bytes)?)),
            b'I' => Value::I32(i32::from_be_bytes(take(bytes)?)),
            b'i' => Value::U32(u32::from_be_bytes(take(bytes)?)),
            b'l' | b'L' => Value::I64(i64::from_be_bytes(take(bytes)?)),
            b'f' => Value::F32(f32::from_be_bytes(take(bytes)?)),
            b'd' => Value::F64(f64::from_be_bytes(take(bytes)?)),
            b'D' => {
                let [scale] = take(bytes)?;
                Value::Decimal { scale, value: i32::from_be_bytes(take(bytes)?) }
            }
            b'S' => Value::LongStr(take_long(bytes)?),
            b'x' => Value::Bytes(take_long(bytes)?),
            b'T' => Value::Timestamp(u64::from_be_bytes(take(bytes)?)),
            b'F' => Value::Table(Fields(take_long(bytes)?)),
            b'A' => Value::Array(Items(take_long(bytes)?)),
            b'V' => Value::Void,
            _ => return None,
        })
    }

    fn put(self, out: &mut Vec<u8>) {
        let mut fixed = |tag: u8, bytes: &[u8]| {
            out.push(tag);
            out.extend_from_slice(bytes);
        };
        match self {
            Value::Bool(value) => fixed(b't', &[u8::from(value)]),
            Value::I8(value) => fixed(b'b', &value.to_be_bytes()),
            Value::U8(value) => fixed(b'B', &[value]),
            Value::I16(value) => fixed(b's', &value.to_be_bytes()),
            Value::U16(value) => fixed(b'u', &value.to_be_bytes()),
            Value::I32(value) => fixed(b'I', &value.to_be_bytes()),
            Value::U32(value) => fixed(b'i', &value.to_be_bytes()),
            Value::I64(value) => fixed(b'l', &value.to_be_bytes()),
            Value::F32(value) => fixed(b'f', &value.to_be_bytes()),
            Value::F64(value) => fixed(b'd', &value.to_be_bytes()),
            Value::Timestamp(value) => fixed(b'T', &value.to_be_bytes()),
            Value::Void => fixed(b'V', &[]),
            Value::Decimal { scale, value } => {
                fixed(b'D', &[scale]);
                out.extend_from_slice(&value.to_be_bytes());
            }
            Value::LongStr(bytes) => long(out, b'S', bytes),
            Value::Bytes(bytes) => long(out, b'x', bytes),
            Value::Table(Fields(bytes)) => long(out, b'F', bytes),
            Value::Array(Items(bytes)) => long(out, b'A', bytes),
        }
    }

    /// Bytes it takes in a table, its name aside; exact for strings, tables and arrays, enough for the rest.
    pub fn bytes_count(self) -> usize {
        match self {
            Value::LongStr(bytes)
            | Value::Bytes(bytes)
            | Value::Table(Fields(bytes))
            | Value::Array(Items(bytes)) => 1 + 4 + bytes.len(),
            _ => 1 + 8,
        }
    }

    /// The number, if it is a whole one of whatever width.
    pub fn as_i64(self) -> Option<i64> {
        match self {
            Value::I8(value) => Some(value.into()),
            Value::U8(value) => Some(value.into()),
            Value::I16(value) => Some(value.into()),
            Value::U16(value) => Some(value.into()),
            Value::I32(value) => Some(value.into()),
            Value::U32(value) => Some(value.into()),
            Value::I64(value) => Some(value),
            _ => None,
        }
    }

    /// The text, if it is a long string of UTF-8.
    pub fn as_str(self) -> Option<&'a str> {
        match self {
            Value::LongStr(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The truth value, if it is one.
    pub fn as_bool(self) -> Option<bool> {
        match self {
            Value::Bool(value) => Some(value),
            _ => None,
        }
    }

    fn is_sound(self, depth: usize) -> bool {
        match self {
            Value::Table(fields) => fields.is_sound(depth + 1),
            Value::Array(items) => items.is_sound(depth + 1),
            _ => true,
        }
    }
}

fn long(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    put_long(out, bytes);
}

/// The inside of a table. Reading ends at the first entry that is not whole.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The entries in `raw`, which lacks the length before a table.
    pub fn new(raw: &'a [u8]) -> Fields<'a> {
        Fields(raw)
    }

    /// The bytes, without a length before them.
    pub fn raw(self) -> &'a [u8] {
        self.0
    }

    /// Whether there is no entry.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// Names and values in their order.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], Value<'a>)> {
        let mut rest = self.0;
        std::iter::from_fn(move || entry(&mut rest))
    }

    /// The value of the first entry called `name`.
    pub fn get(self, name: &str) -> Option<Value<'a>> {
        self.iter().find(|(found, _)| *found == name.as_bytes()).map(|(_, value)| value)
    }

    fn is_sound(self, depth: usize) -> bool {
        let mut rest = self.0;
        while !rest.is_empty() {
            match entry(&mut rest) {
                Some((_, value)) if depth < DEPTH_MAX && value.is_sound(depth) => {}
                _ => return false,
            }
        }
        true
    }
}

fn entry<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], Value<'a>)> {
    let name = take_short(rest)?;
    Some((name, Value::take(rest)?))
}

impl fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.iter().map(|(name, value)| (name.escape_ascii().to_string(), value)))
            .finish()
    }
}

/// The inside of an array. Reading ends at the first item that is not whole.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Items<'a>(&'a [u8]);

impl<'a> Items<'a> {
    /// The items in their order.
    pub fn iter(self) -> impl Iterator<Item = Value<'a>> {
        let mut rest = self.0;
        std::iter::from_fn(move || Value::take(&mut rest))
    }

    fn is_sound(self, depth: usize) -> bool {
        let mut rest = self.0;
        while !rest.is_empty() {
            match Value::take(&mut rest) {
                Some(value) if depth < DEPTH_MAX && value.is_sound(depth) => {}
                _ => return false,
            }
        }
        true
    }
}

impl fmt::Debug for Items<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// A table that owns its bytes, or shares them with the frame it came in.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Table {
    raw: Bytes,
}

impl Table {
    /// A table of bytes that were checked before, such as a queue's stored arguments. There is no length before
    /// them.
    pub fn from_raw(raw: Bytes) -> Table {
        Table { raw }
    }

    /// A table of a peer's bytes, every entry of which was checked.
    pub fn checked(raw: Bytes) -> Result<Table, WireError> {
        check(&raw)?;
        Ok(Table { raw })
    }

    /// The bytes, without a length before them.
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// The entries.
    pub fn fields(&self) -> Fields<'_> {
        Fields(&self.raw)
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// The value of the first entry called `name`.
    pub fn get(&self, name: &str) -> Option<Value<'_>> {
        self.fields().get(name)
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fields().fmt(f)
    }
}

/// Checks that `raw` is whole entries, no deeper than [`DEPTH_MAX`].
pub fn check(raw: &[u8]) -> Result<(), WireError> {
    match Fields(raw).is_sound(0) {
        true => Ok(()),
        false => Err(WireError::Syntax("field table")),
    }
}

/// Builds a table, entry by entry.
#[derive(Clone, Debug, Default)]
pub struct TableBuilder {
    raw: Vec<u8>,
}

impl TableBuilder {
    /// An empty table.
    pub fn new() -> TableBuilder {
        TableBuilder::default()
    }

    /// Appends an entry. A name that is too long for a short string is cut.
    pub fn put(&mut self, name: &str, value: Value<'_>) -> &mut TableBuilder {
        self.put_raw(name.as_bytes(), value)
    }

    /// Appends an entry whose name may be any bytes.
    pub fn put_raw(&mut self, name: &[u8], value: Value<'_>) -> &mut TableBuilder {
        put_short(&mut self.raw, name);
        value.put(&mut self.raw);
        self
    }

    /// Appends an entry of text.
    pub fn put_str(&mut self, name: &str, text: &str) -> &mut TableBuilder {
        self.put(name, Value::LongStr(text.as_bytes()))
    }

    /// The entries so far, to be put into another table.
    pub fn fields(&self) -> Fields<'_> {
        Fields(&self.raw)
    }

    /// The finished table.
    pub fn finish(self) -> Table {
        Table { raw: Bytes::from(self.raw) }
    }
}

/// Builds an array, item by item.
#[derive(Clone, Debug, Default)]
pub struct ArrayBuilder {
    raw: Vec<u8>,
}

impl ArrayBuilder {
    /// An empty array.
    pub fn new() -> ArrayBuilder {
        ArrayBuilder::default()
    }

    /// Appends an item.
    pub fn push(&mut self, value: Value<'_>) -> &mut ArrayBuilder {
        value.put(&mut self.raw);
        self
    }

    /// The items so far, to be put into a table.
    pub fn items(&self) -> Items<'_> {
        Items(&self.raw)
    }
}
