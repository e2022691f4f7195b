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
        let exchange = record.header(EXCHANGE_HEADER).cloned().and_then(ShortStr::new);
        Message {
            exchange: exchange.unwrap_or_default(),
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
            timestamp: u64::try_from(timestamp_ms.div_euclid(1000)).ok(),
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
        self.put_header("x-stream-offset", Value::I64(offset as i64));
    }

    /// Adds the header that tells a quorum queue's consumer how often the message came back.
    pub fn add_delivery_count(&mut self, count: u32) {
        self.put_header("x-delivery-count", Value::I64(count.into()));
    }

    fn put_header(&mut self, name: &str, value: Value<'_>) {
        self.edit_headers(|headers| {
            let mut edited = copy_without(headers, &[name]);
            edited.put(name, value);
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
    // FNV-1a.
    let hash = routing_key.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    topic.partitions.get((hash % count) as usize).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amqp::wire::table::ArrayBuilder;
    use ringmain_engine::format::batch::HEADER_BYTES;
    use ringmain_engine::format::record;

    fn message(view: View<'_>) -> Message {
        Message {
            exchange: "x".into(),
            routing_key: ShortStr::from("key").into(),
            properties: view.encode(),
            body: Bytes::from_static(b"body"),
        }
    }

    fn record_of(message: &Message, now_ms: i64) -> Record {
        let batch = message.batch(now_ms).unwrap();
        record::take(&mut batch.bytes().slice(HEADER_BYTES..)).unwrap()
    }

    fn foreign(key: Option<&'static [u8]>, headers: Vec<(Bytes, Option<Bytes>)>) -> Record {
        Record {
            offset_delta: 0,
            timestamp_delta_ms: 0,
            key: key.map(Bytes::from_static),
            value: Some(Bytes::from_static(b"v")),
            headers,
        }
    }

    #[test]
    fn a_message_comes_back_as_it_was() {
        let plain = message(View { content_type: Some(b"text/plain"), ..View::default() });
        let record = record_of(&plain, 1000);
        assert_eq!(record.header(EXPIRES_AT_HEADER), None);
        assert_eq!((record.key.as_deref(), record.value.as_deref()), (Some(&b"key"[..]), Some(&b"body"[..])));
        assert_eq!(Message::of_record(&record, 1000), plain);
    }

    #[test]
    fn expiration_becomes_a_time() {
        let expiring = message(View { expiration: Some(b"1500"), ..View::default() });
        let expires_at = record_of(&expiring, 1000).header(EXPIRES_AT_HEADER).cloned();
        assert_eq!(expires_at.as_deref(), Some(&2500i64.to_be_bytes()[..]));
        for (text, expected) in [
            (&b"0"[..], Ok(Some(0))),
            (b"18446744073709551615", Ok(Some(u64::MAX))),
            (b"18446744073709551616", Err(InvalidExpiration)),
            (b"", Err(InvalidExpiration)),
            (b"-1", Err(InvalidExpiration)),
            (b"+1", Err(InvalidExpiration)),
            (b"1.5", Err(InvalidExpiration)),
            (b"\xff", Err(InvalidExpiration)),
        ] {
            let found = message(View { expiration: Some(text), ..View::default() }).expiration_ms();
            assert_eq!(found, expected, "{}", text.escape_ascii());
        }
        let never = message(View { expiration: Some(b"18446744073709551615"), ..View::default() });
        let expires_at = record_of(&never, 1000).header(EXPIRES_AT_HEADER).cloned();
        assert_eq!(expires_at.as_deref(), Some(&i64::MAX.to_be_bytes()[..]));
    }

    #[test]
    fn a_foreign_record_becomes_a_message() {
        let headers = vec![
            (Bytes::from_static(b"text"), Some(Bytes::from_static(b"t"))),
            (Bytes::from_static(b"bytes"), Some(Bytes::from_static(b"\xff"))),
            (Bytes::from_static(b"none"), None),
            (Bytes::from_static(b"\xff"), Some(Bytes::from_static(b"lost"))),
            (Bytes::from(vec![b'n'; 256]), None),
        ];
        let found = Message::of_record(&foreign(Some(b"k"), headers), 1_700_000_000_999);
        assert_eq!((&*found.exchange, &*found.routing_key, &found.body[..]), ("", &b"k"[..], &b"v"[..]));
        assert_eq!(found.properties.view().timestamp, Some(1_700_000_000));
        let entries: Vec<_> = found.properties.headers().iter().collect();
        let text = (&b"text"[..], Value::LongStr(b"t"));
        let bytes = (&b"bytes"[..], Value::Bytes(b"\xff"));
        assert_eq!(entries, [text, bytes, (b"none", Value::Void)]);
        assert_eq!(Message::of_record(&foreign(None, vec![]), -1).properties, Properties::default());
    }

    #[test]
    fn a_key_that_is_no_routing_key_becomes_a_header() {
        let long: &'static [u8] = &[b'k'; 256];
        for key in [&b"\xff\x00"[..], long] {
            let found = Message::of_record(&foreign(Some(key), vec![]), 0);
            assert!(found.routing_key.is_empty());
            assert_eq!(found.properties.headers().get("x-record-key"), Some(Value::Bytes(key)));
            assert!(Properties::checked(found.properties.raw().clone()).is_ok());
        }
    }

    #[test]
    fn foreign_headers_stay_within_a_frame() {
        let large = Some(Bytes::from(vec![b'a'; 40_000]));
        let headers = vec![(Bytes::from_static(b"1"), large.clone()), (Bytes::from_static(b"2"), large)];
        let found = Message::of_record(&foreign(None, headers), 0);
        assert_eq!(found.properties.headers().iter().count(), 1);
    }

    #[test]
    fn headers_are_edited_and_the_rest_stays() {
        let mut keys = ArrayBuilder::new();
        keys.push(Value::LongStr(b"other"));
        let mut headers = TableBuilder::new();
        headers.put_str("a", "1").put("BCC", Value::Array(keys.items())).put_str("a", "2");
        let view = View { headers: Some(headers.fields()), app_id: Some(b"app"), ..View::default() };
        let mut edited = message(view);
        edited.strip_bcc();
        edited.add_stream_offset(7);
        edited.add_stream_offset(8);
        let mut expected = TableBuilder::new();
        expected.put_str("a", "1").put_str("a", "2").put("x-stream-offset", Value::I64(8));
        let expected = View { headers: Some(expected.fields()), ..view };
        assert_eq!(edited.properties, expected.encode());
        let mut plain = message(View::default());
        plain.strip_bcc();
        assert_eq!(plain.properties, Properties::default());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut largest = message(View::default());
        largest.body = vec![0; BATCH_BYTES_MAX - HEADER_BYTES - RECORD_OVERHEAD_BYTES - 2].into();
        assert!(largest.batch(0).is_ok());
        largest.body = vec![0; largest.body.len() + 1].into();
        assert_eq!(largest.batch(0).map(|_| ()), Err(TooLarge));
    }

    #[test]
    fn one_key_has_one_partition() {
        let topic = |count: u64| Topic {
            name: "t".to_string(),
            id: [0; 16],
            partitions: (0..count).map(LogId).collect(),
            configs: Default::default(),
            queue: None,
        };
        assert_eq!(log_for(&topic(1), b"a"), Some(LogId(0)));
        assert_eq!(log_for(&topic(0), b"a"), None);
        let spread: std::collections::BTreeSet<_> =
            (0..100u8).filter_map(|key| log_for(&topic(8), &[key])).collect();
        assert_eq!(spread.len(), 8);
    }
}
