//! `ringmain consume`: the records of a topic on standard output.
//!
//! In: batches from a server, in any compression. Out: one formatted record after the other. Never: remembers
//! where it was; the next run begins where it is told to.

use std::collections::BTreeMap;
use std::io::Write;

use bytes::Bytes;
use ringmain_engine::format::batch::{self, CONTROL};
use ringmain_engine::format::record::{self, Record};

use super::client::{Client, ClientError, EARLIEST, Kind, LATEST, accepted};
use crate::broker::compression::records_of;
use crate::kafka::wire::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};

const FETCH: Kind = Kind { key: 1, version: 12 };
const WAIT_MS: i32 = 5_000;
const FETCH_BYTES_MAX: i32 = 16 << 20;
const PARTITION_BYTES_MAX: i32 = 1 << 20;
/// Code of an answer to an offset outside the log.
const OFFSET_OUT_OF_RANGE: i16 = 1;

/// What to consume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consume {
    pub topic: String,
    pub from: From,
    /// End after so many records; otherwise never.
    pub count: Option<u64>,
    pub format: Format,
}

/// Where to begin, in every partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    Earliest,
    Latest,
    Offset(i64),
}

impl std::str::FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<From, String> {
        match text {
            "earliest" => Ok(From::Earliest),
            "latest" => Ok(From::Latest),
            _ => match text.parse() {
                Ok(offset) if offset >= 0 => Ok(From::Offset(offset)),
                _ => Err("expected earliest, latest or an offset".to_string()),
            },
        }
    }
}

/// What the letters of a format mean.
pub const FORMAT_HELP: &str = "\
Format: %k key, %v value, %o offset, %p partition, %t topic, %T timestamp (ms since 1970), %h headers \
(name=value,...), %% a percent sign; \\t tab, \\n line feed, \\0 zero byte, \\\\ backslash. A line feed follows each record.";

/// How a record is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Format(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Key,
    Value,
    Offset,
    Partition,
    Topic,
    Timestamp,
    Headers,
}

impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Format, String> {
        let mut pieces = Vec::new();
        let mut letters = text.chars();
        while let Some(letter) = letters.next() {
            pieces.push(match letter {
                '%' => match letters.next() {
                    Some('k') => Piece::Key,
                    Some('v') => Piece::Value,
                    Some('o') => Piece::Offset,
                    Some('p') => Piece::Partition,
                    Some('t') => Piece::Topic,
                    Some('T') => Piece::Timestamp,
                    Some('h') => Piece::Headers,
                    Some('%') => Piece::Text("%".to_string()),
                    other => {
                        return Err(format!("unknown format %{}", other.map_or(String::new(), String::from)));
                    }
                },
                '\\' => match letters.next() {
                    Some('t') => Piece::Text("\t".to_string()),
                    Some('n') => Piece::Text("\n".to_string()),
                    Some('0') => Piece::Text("\0".to_string()),
                    Some('\\') => Piece::Text("\\".to_string()),
                    other => {
                        return Err(format!(
                            "unknown format \\{}",
                            other.map_or(String::new(), String::from)
                        ));
                    }
                },
                letter => Piece::Text(letter.to_string()),
            });
        }
        Ok(Format(pieces))
    }
}

/// One record with its place.
struct Shown<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    timestamp_ms: i64,
    record: &'a Record,
}

impl Format {
    /// Appends the record and a line feed.
    fn add(&self, out: &mut Vec<u8>, shown: &Shown<'_>) {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Key => out.extend_from_slice(shown.record.key.as_deref().unwrap_or_default()),
                Piece::Value => out.extend_from_slice(shown.record.value.as_deref().unwrap_or_default()),
                Piece::Offset => out.extend_from_slice(shown.offset.to_string().as_bytes()),
                Piece::Partition => out.extend_from_slice(shown.partition.to_string().as_bytes()),
                Piece::Topic => out.extend_from_slice(shown.topic.as_bytes()),
                Piece::Timestamp => out.extend_from_slice(shown.timestamp_ms.to_string().as_bytes()),
                Piece::Headers => add_headers(out, &shown.record.headers),
            }
        }
        out.push(b'\n');
    }
}

fn add_headers(out: &mut Vec<u8>, headers: &[(Bytes, Option<Bytes>)]) {
    for (index, (name, value)) in headers.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(name);
        out.push(b'=');
        out.extend_from_slice(value.as_deref().unwrap_or_default());
    }
}

/// Writes records to `out` until there were enough, or for ever.
pub fn run(options: &Consume, bootstrap: &str, out: &mut impl Write) -> Result<(), ClientError> {
    let mut client = Client::connect(bootstrap)?;
    let topic = client.topic(&options.topic, false)?;
    let mut partitions: Vec<i32> = topic.partitions.iter().map(|partition| partition.index).collect();
    partitions.sort_unstable();
    let offsets = match options.from {
        From::Offset(offset) => {
            // A partition that does not reach so far, or not so far back, is read from its nearest end.
            let starts = client.offsets(&options.topic, &partitions, EARLIEST)?;
            let ends = client.offsets(&options.topic, &partitions, LATEST)?;
            starts.into_iter().zip(ends).map(|(start, end)| offset.min(end).max(start)).collect()
        }
        From::Earliest => client.offsets(&options.topic, &partitions, EARLIEST)?,
        From::Latest => client.offsets(&options.topic, &partitions, LATEST)?,
    };
    let mut reading = Reading {
        options,
        positions: partitions.into_iter().zip(offsets).collect(),
        left: options.count.unwrap_or(u64::MAX),
    };
    let mut text = Vec::new();
    while reading.left > 0 {
        let response = reading.fetch(&mut client)?;
        for partition in response.topics.into_iter().flat_map(|topic| topic.partitions) {
            let what = format!("{} partition {}", options.topic, partition.index);
            let ends = (partition.error_code == OFFSET_OUT_OF_RANGE)
                .then(|| format!("it has {}..{}", partition.log_start_offset, partition.high_watermark));
            accepted(&what, partition.error_code, ends)?;
            for records in partition.records {
                reading.take(partition.index, &records, &mut text)?;
            }
        }
        out.write_all(&text).and_then(|()| out.flush()).map_err(ClientError::Local)?;
        text.clear();
    }
    Ok(())
}

struct Reading<'a> {
    options: &'a Consume,
    /// The next offset of each partition.
    positions: BTreeMap<i32, i64>,
    /// Records still wanted.
    left: u64,
}

impl Reading<'_> {
    fn fetch(&self, client: &mut Client) -> Result<FetchResponse, ClientError> {
        let partitions = self.positions.iter().map(|(index, offset)| FetchPartition {
            index: *index,
            current_leader_epoch: -1,
            fetch_offset: *offset,
            last_fetched_epoch: -1,
            log_start_offset: -1,
            partition_max_bytes: PARTITION_BYTES_MAX,
        });
        let partitions = partitions.collect();
        let request = FetchRequest {
            replica_id: -1,
            max_wait_ms: WAIT_MS,
            min_bytes: 1,
            max_bytes: FETCH_BYTES_MAX,
            session_epoch: -1,
            topics: vec![FetchTopic { name: self.options.topic.clone(), partitions, ..Default::default() }],
            ..Default::default()
        };
        client.ask(FETCH, |writer, version| request.encode(writer, version), FetchResponse::decode)
    }

    /// Shows the records of the batches that begin `bytes`; the last may be cut short.
    fn take(&mut self, partition: i32, bytes: &Bytes, text: &mut Vec<u8>) -> Result<(), ClientError> {
        let Some(position) = self.positions.get_mut(&partition) else { return Ok(()) };
        for (header, bytes) in batch::split(bytes.clone()) {
            let base = header.base_offset.get();
            let damaged = |reason: String| ClientError::Batch { partition, offset: base, reason };
            batch::check(&bytes).map_err(|error| damaged(error.to_string()))?;
            let next = base.saturating_add(i64::from(header.last_offset_delta.get())).saturating_add(1);
            if header.attributes.get() & CONTROL == 0 {
                let mut records =
                    records_of(&bytes).map_err(|error| ClientError::batch(partition, base, &error))?;
                for _ in 0..header.records_count.get() {
                    let record = record::take(&mut records)
                        .ok()
                        .ok_or_else(|| damaged("a record is damaged".into()))?;
                    let offset = base.saturating_add(i64::from(record.offset_delta));
                    if offset < *position || self.left == 0 {
                        continue;
                    }
                    let timestamp_ms = header.base_timestamp.get().saturating_add(record.timestamp_delta_ms);
                    let topic = &self.options.topic;
                    self.options
                        .format
                        .add(text, &Shown { topic, partition, offset, timestamp_ms, record: &record });
                    self.left -= 1;
                }
            }
            *position = next.max(*position);
        }
        Ok(())
    }
}
