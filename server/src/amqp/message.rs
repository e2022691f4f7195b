//! An AMQP message as a record of a log, and any record as an AMQP message.
//!
//! In: what `basic.publish` brought, or a record. Out: a batch of one record, or what `basic.deliver` takes.
//! Never: changes a byte of a body, or of properties nobody asked to change.
//!
//! | AMQP | record |
//! |---|---|
//! | routing key | key |
//! | body | value |
//! | property flags and list, verbatim | header `_amqp.p` |
//! | exchange | header `_amqp.x` |
//! | `expiration`: time of publishing + so many ms | header [`EXPIRES_AT_HEADER`] |
//!
//! A record without `_amqp.p` was not published over AMQP. It becomes:
//!
//! | record | AMQP |
//! |---|---|
//! | value; absent | body; empty |
//! | key, if it is UTF-8 and fits | routing key |
//! | key otherwise | header `x-record-key`, tag `x`; the routing key is empty |
//! | header of UTF-8 / other bytes / no value | header of tag `S` / `x` / `V` |
//! | header whose name is not UTF-8 or longer than 255 bytes, or behind the first 64 KiB of them | none |
//! | timestamp | property timestamp, in s |

use bytes::Bytes;
use ringmain_engine::format::batch::CheckedBatch;
use ringmain_engine::format::record::{BatchBuilder, Record};
use ringmain_engine::limits::BATCH_BYTES_MAX;
use ringmain_engine::types::{LogId, Offset};

use super::wire::primitive::{SHORT_BYTES_MAX, ShortBytes, ShortStr};
use super::wire::properties::{Properties, View};
use super::wire::table::{Fields, TableBuilder, Value};
use crate::broker::catalog::Topic;
use crate::broker::command::EXPIRES_AT_HEADER;

/// Name of the record header that holds the property flags and list.
pub const PROPERTIES_HEADER: &[u8] = b"_amqp.p";
/// Name of the record header that holds the exchange's name.
pub const EXCHANGE_HEADER: &[u8] = b"_amqp.x";

/// Headers of a foreign record are given to AMQP consumers up to so many bytes: they must fit into one frame of the
/// usual 128 KiB, because a content header cannot be split.
const FOREIGN_HEADERS_BYTES_MAX: usize = 64 << 10;

/// Room in a batch for everything of a record that is not body or properties: the batch's header, short strings,
/// header names, lengths.
const RECORD_OVERHEAD_BYTES: usize = 1024;

/// One AMQP message, sharing the bytes it came in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    pub exchange: ShortStr,
    pub routing_key: ShortBytes,
    pub properties: Properties,
    pub body: Bytes,
}

/// The property `expiration` is not a decimal number of ms.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InvalidExpiration;

/// Body and properties together do not fit into a record batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooLarge;

impl Message {
    /// The property `expiration` in ms.
    pub fn expiration_ms(&self) -> Result<Option<u64>, InvalidExpiration> {
        expiration_ms(&self.properties.view())
    }

    /// Appends the message to `builder`. It must fit: see [`Message::fits`].
    pub fn push_to(&self, builder: &mut BatchBuilder, now_ms: i64) {
        // An expiration that is no number is refused at publishing; here it is the same as none.
        let expires_at = self.expiration_ms().unwrap_or_default().map(|ms| {
            let ms = i64::try_from(ms).unwrap_or(i64::MAX);
            now_ms.saturating_add(ms).to_be_bytes()
        });
        let all: [(&[u8], &[u8]); 3] = [
            (PROPERTIES_HEADER, self.properties.raw()),
            (EXCHANGE_HEADER, self.exchange.bytes()),
            (EXPIRES_AT_HEADER, expires_at.as_ref().map_or(&[], |at| at.as_slice())),
        ];
        let headers = if expires_at.is_some() { &all[..] } else { &all[..2] };
        builder.push(now_ms, Some(&self.routing_key), Some(&self.body), headers);
    }

    /// Whether the message fits into a batch that holds `before` bytes.
    pub fn fits(&self, before: usize) -> bool {
        before + RECORD_OVERHEAD_BYTES + self.properties.raw().len() + self.body.len() <= BATCH_BYTES_MAX
    }

    /// A batch of this message alone; the same for every queue it goes to.
    pub fn batch(&self, now_ms: i64) -> Result<CheckedBatch, TooLarge> {
        let mut builder = BatchBuilder::new(now_ms);
        if !self.fits(builder.len()) {
            return Err(TooLarge);
        }
        self.push_to(&mut builder, now_ms);
        Ok(builder.finish())
    }

    /// The message in a record written at `timestamp_ms`.
    pub fn of_record(record: &Record, timestamp_ms: i64) -> Message {
        let stored = record.header(PROPERTIES_HEADER).map(|raw| Properties::checked(raw.clone()));
        let Some(Ok(properties)) = stored else { return Message::of_foreign(record, timestamp_ms) };
        let exchange = record.header(EXCHANGE_HEADER).and_then(|name| std::str::from_utf8(name).ok());
        Message {
            exchange: exchange.unwrap_or_default().into(),
            routing_key: record.key.clone().and_then(ShortBytes::new).unwrap_or_default(),
            properties,
            body: record.value.clone().unwrap_or_default(),
        }
    }

    fn of_foreign(record: &Record, timestamp_ms: i64) -> Message {
        let key = record.key.clone().unwrap_or_default();
        let fits = key.len() <= SHORT_BYTES_MAX && std::str::from_utf8(&key).is_ok();
        let mut headers = TableBuilder::new();
        if !fits {
            headers.put("x-record-key", Value::Bytes(&key));
        }
        for (name, value) in &record.headers {
            let Ok(name) = std::str::from_utf8(name) else { continue };
            let value = match value {
                None => Value::Void,
                Some(bytes) if std::str::from_utf8(bytes).is_ok() => Value::LongStr(bytes),
                Some(bytes) => Value::Bytes(bytes),
            };
            let length = headers.fields().raw().len() + name.len() + value.bytes_count();
            if name.len() > SHORT_BYTES_MAX || name.as_bytes() == EXPIRES_AT_HEADER {
                continue;
            }
            if length > FOREIGN_HEADERS_BYTES_MAX {
                break;
            }
            headers.put(name, value);
        }
        let view = View {
            headers: (!headers.fields().is_empty()).then(|| headers.fields()),
            timestamp: u64::try_from(timestamp_ms / 1000).ok(),
            ..View::default()
        };
        let properties = view.encode();
        Message {
            exchange: ShortStr::default(),
            routing_key: ShortBytes::new(key).filter(|_| fits).unwrap_or_default(),
            properties,
            body: record.value.clone().unwrap_or_default(),
        }
    }

    /// Takes the header `BCC` away: receivers must not see who else got a copy.
    pub fn strip_bcc(&mut self) {
        if self.properties.headers().get("BCC").is_some() {
            self.edit_headers(|headers| copy_without(headers, &["BCC"]));
        }
    }

    /// Adds the header that tells a stream's consumer where it is.
    pub fn add_stream_offset(&mut self, offset: Offset) {
        self.edit_headers(|headers| {
            let mut edited = copy_without(headers, &["x-stream-offset"]);
            edited.put("x-stream-offset", Value::I64(offset as i64));
            edited
        });
    }

    fn edit_headers(&mut self, edit: impl FnOnce(Fields<'_>) -> TableBuilder) {
        let mut view = self.properties.view();
        let edited = edit(view.headers.unwrap_or_default());
        view.headers = Some(edited.fields());
        self.properties = view.encode();
    }
}

/// The property `expiration` of `view` in ms.
pub fn expiration_ms(view: &View<'_>) -> Result<Option<u64>, InvalidExpiration> {
    let Some(text) = view.expiration else { return Ok(None) };
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(text).ok().filter(|_| digits).and_then(|text| text.parse().ok());
    number.map(Some).ok_or(InvalidExpiration)
}

/// A copy of `headers` without the entries of these names.
pub fn copy_without(headers: Fields<'_>, names: &[&str]) -> TableBuilder {
    let mut copy = TableBuilder::new();
    for (name, value) in headers.iter() {
        if !names.iter().any(|without| name == without.as_bytes()) {
            copy.put_raw(name, value);
        }
    }
    copy
}

/// The partition of `topic` that a message with this routing key goes to: a queue has one, any other topic keeps
/// the messages of one key together.
pub fn log_for(topic: &Topic, routing_key: &[u8]) -> Option<LogId> {
    if let [only] = topic.partitions.as_slice() {
        return Some(*only);
    }
    let count = topic.partitions.len().max(1) as u64;
    // FNV-1a; its upper half, because the lower bits of short keys are little mixed.
    let hash = routing_key.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    topic.partitions.get(((hash >> 32) % count) as usize).copied()
}
