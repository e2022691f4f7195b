//! Content headers: the size of a body and the 14 properties of the class basic.
//!
//! In: the payload of a header frame. Out: [`Properties`], the bytes as they came, and a view of them.
//! Never: changes a byte of properties that nobody edited.
//!
//! Payload: `class id u16, weight u16, body size u64, flags u16, property list`. A flag from the highest bit down
//! says that the property is in the list:
//!
//! | bit | property | type | bit | property | type |
//! |---|---|---|---|---|---|
//! | 15 | content-type | short string | 8 | expiration | short string |
//! | 14 | content-encoding | short string | 7 | message-id | short string |
//! | 13 | headers | table | 6 | timestamp | u64 s |
//! | 12 | delivery-mode | u8 | 5 | type | short string |
//! | 11 | priority | u8 | 4 | user-id | short string |
//! | 10 | correlation-id | short string | 3 | app-id | short string |
//! | 9 | reply-to | short string | 2 | cluster-id | short string |

use std::fmt;

use bytes::{Bytes, BytesMut};

use super::WireError;
use super::primitive::{put_long, put_short, take, take_long, take_short};
use super::table::{self, Fields};

/// Class of all content.
pub const BASIC_CLASS: u16 = 60;
/// Bytes of a content header before the flags.
const FIXED_BYTES: usize = 12;
/// Flags without a property; bit 0 would announce more flags, which no property needs.
const FLAGS_UNKNOWN: u16 = 0b11;

/// The payload of a header frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ContentHeader {
    pub body_size: u64,
    pub properties: Properties,
}

impl ContentHeader {
    /// Reads and checks a payload, down to the last table entry.
    pub fn decode(mut payload: Bytes) -> Result<ContentHeader, WireError> {
        let mut fixed: &[u8] = &payload;
        let parts = (take::<2>(&mut fixed), take::<2>(&mut fixed), take::<8>(&mut fixed));
        let (Some(class), Some(_weight), Some(body_size)) = parts else {
            return Err(WireError::Syntax("content header: it ends early"));
        };
        let class = u16::from_be_bytes(class);
        if class != BASIC_CLASS {
            return Err(WireError::UnexpectedClass(class));
        }
        let properties = Properties::checked(payload.split_off(FIXED_BYTES))?;
        Ok(ContentHeader { body_size: u64::from_be_bytes(body_size), properties })
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut BytesMut) {
        encode(self.body_size, &self.properties, out);
    }
}

/// Appends the payload of a header frame.
pub fn encode(body_size: u64, properties: &Properties, out: &mut BytesMut) {
    out.extend_from_slice(&BASIC_CLASS.to_be_bytes());
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&body_size.to_be_bytes());
    out.extend_from_slice(&properties.raw);
}

/// Flags and property list, verbatim.
#[derive(Clone, PartialEq, Eq)]
pub struct Properties {
    raw: Bytes,
}

/// No property at all.
impl Default for Properties {
    fn default() -> Properties {
        Properties { raw: Bytes::from_static(&[0, 0]) }
    }
}

impl Properties {
    /// Properties of a peer's bytes: whole, known, nothing left over.
    pub fn checked(raw: Bytes) -> Result<Properties, WireError> {
        let mut rest: &[u8] = &raw;
        let Some(view) = View::take(&mut rest) else {
            return Err(WireError::Syntax("content properties"));
        };
        if !rest.is_empty() {
            return Err(WireError::Syntax("content properties: bytes are left over"));
        }
        table::check(view.headers.unwrap_or_default().raw())?;
        Ok(Properties { raw })
    }

    /// The bytes: flags and list.
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// All properties, borrowed.
    pub fn view(&self) -> View<'_> {
        let mut rest: &[u8] = &self.raw;
        View::take(&mut rest).unwrap_or_default()
    }

    /// The headers; empty if there are none.
    pub fn headers(&self) -> Fields<'_> {
        // Headers are the third property: without them nothing needs to be walked.
        match self.raw.first() {
            Some(flags) if flags & 0x20 != 0 => self.view().headers.unwrap_or_default(),
            _ => Fields::default(),
        }
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}

/// The properties one by one: to be read, or changed and encoded again.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct View<'a> {
    pub content_type: Option<&'a [u8]>,
    pub content_encoding: Option<&'a [u8]>,
    pub headers: Option<Fields<'a>>,
    pub delivery_mode: Option<u8>,
    pub priority: Option<u8>,
    pub correlation_id: Option<&'a [u8]>,
    pub reply_to: Option<&'a [u8]>,
    pub expiration: Option<&'a [u8]>,
    pub message_id: Option<&'a [u8]>,
    /// Seconds since the Unix epoch.
    pub timestamp: Option<u64>,
    pub kind: Option<&'a [u8]>,
    pub user_id: Option<&'a [u8]>,
    pub app_id: Option<&'a [u8]>,
    pub cluster_id: Option<&'a [u8]>,
}

impl<'a> View<'a> {
    fn take(bytes: &mut &'a [u8]) -> Option<View<'a>> {
        let flags = u16::from_be_bytes(take(bytes)?);
        if flags & FLAGS_UNKNOWN != 0 {
            return None;
        }
        let mut view = View::default();
        let has = |bit: u32| flags >> bit & 1 == 1;
        let short = |bit: u32, bytes: &mut &'a [u8]| match has(bit) {
            true => take_short(bytes).map(Some),
            false => Some(None),
        };
        let byte = |bit: u32, bytes: &mut &'a [u8]| match has(bit) {
            true => take(bytes).map(|[byte]| Some(byte)),
            false => Some(None),
        };
        view.content_type = short(15, bytes)?;
        view.content_encoding = short(14, bytes)?;
        if has(13) {
            view.headers = Some(Fields::new(take_long(bytes)?));
        }
        view.delivery_mode = byte(12, bytes)?;
        view.priority = byte(11, bytes)?;
        view.correlation_id = short(10, bytes)?;
        view.reply_to = short(9, bytes)?;
        view.expiration = short(8, bytes)?;
        view.message_id = short(7, bytes)?;
        if has(6) {
            view.timestamp = Some(u64::from_be_bytes(take(bytes)?));
        }
        view.kind = short(5, bytes)?;
        view.user_id = short(4, bytes)?;
        view.app_id = short(3, bytes)?;
        view.cluster_id = short(2, bytes)?;
        Some(view)
    }

    /// The bytes of these properties. Short strings that are too long are cut.
    pub fn encode(&self) -> Properties {
        let mut flags = 0u16;
        let mut raw = vec![0, 0];
        let mut short = |bit: u32, value: Option<&[u8]>, raw: &mut Vec<u8>| {
            if let Some(value) = value {
                flags |= 1 << bit;
                put_short(raw, value);
            }
        };
        short(15, self.content_type, &mut raw);
        short(14, self.content_encoding, &mut raw);
        if let Some(headers) = self.headers {
            put_long(&mut raw, headers.raw());
        }
        raw.extend(self.delivery_mode);
        raw.extend(self.priority);
        short(10, self.correlation_id, &mut raw);
        short(9, self.reply_to, &mut raw);
        short(8, self.expiration, &mut raw);
        short(7, self.message_id, &mut raw);
        raw.extend(self.timestamp.map(u64::to_be_bytes).into_iter().flatten());
        short(5, self.kind, &mut raw);
        short(4, self.user_id, &mut raw);
        short(3, self.app_id, &mut raw);
        short(2, self.cluster_id, &mut raw);
        flags |= u16::from(self.headers.is_some()) << 13;
        flags |= u16::from(self.delivery_mode.is_some()) << 12;
        flags |= u16::from(self.priority.is_some()) << 11;
        flags |= u16::from(self.timestamp.is_some()) << 6;
        raw.splice(..2, flags.to_be_bytes());
        Properties { raw: Bytes::from(raw) }
    }
}
