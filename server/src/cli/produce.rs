//! `ringmain produce`: the lines of standard input as records.
//!
//! In: lines. Out: batches to a server, each acknowledged as durable before the next is sent. Never: leaves a
//! line waiting for further ones that are not there yet.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};

use bytes::Bytes;
use ringmain_engine::format::record::BatchBuilder;

use super::client::{Client, ClientError, Kind, accepted, now_ms};
use crate::kafka::wire::produce::{ProducePartition, ProduceRequest, ProduceResponse, ProduceTopic};

const PRODUCE: Kind = Kind { key: 0, version: 9 };
const TIMEOUT_MS: i32 = 30_000;
/// A batch takes no further record once it is this long; half of what servers accept unless configured.
const BATCH_BYTES: usize = 512 << 10;
/// Longest line; no server takes a larger record.
const LINE_BYTES_MAX: u64 = 16 << 20;

/// What to produce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Produce {
    pub topic: String,
    /// What is before it in a line is the record's key.
    pub key_separator: Option<String>,
    pub partition: Option<i32>,
}

/// Sends every line of `input` to the server at `bootstrap`. `produced` counts the acknowledged records, also
/// when it fails in the end.
pub fn run(
    options: &Produce,
    bootstrap: &str,
    input: impl Read,
    produced: &mut u64,
) -> Result<(), ClientError> {
    let mut client = Client::connect(bootstrap)?;
    let topic = client.topic(&options.topic, true)?;
    let mut partitions: Vec<i32> = topic.partitions.iter().map(|partition| partition.index).collect();
    partitions.sort_unstable();
    if let Some(wanted) = options.partition.filter(|wanted| !partitions.contains(wanted)) {
        let message =
            format!("{} has no partition {wanted}, only 0 to {}", options.topic, partitions.len() - 1);
        return Err(ClientError::Usage(message));
    }
    let mut input = BufReader::with_capacity(BATCH_BYTES, input);
    let mut batches = Batches { partitions, fixed: options.partition, turn: 0, open: BTreeMap::new() };
    let mut line = Vec::new();
    while (&mut input).take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut line).map_err(ClientError::Local)? > 0
    {
        if line.len() as u64 > LINE_BYTES_MAX {
            return Err(ClientError::Usage(format!("a line is longer than {LINE_BYTES_MAX} bytes")));
        }
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let (key, value) = split(text, options.key_separator.as_deref());
        let full = batches.add(key, value);
        if full || input.buffer().is_empty() {
            *produced += batches.send(&mut client, &options.topic)?;
        }
        line.clear();
    }
    *produced += batches.send(&mut client, &options.topic)?;
    Ok(())
}

/// A line without the separator has no key.
fn split<'a>(line: &'a [u8], separator: Option<&str>) -> (Option<&'a [u8]>, &'a [u8]) {
    let separator = separator.map(str::as_bytes).filter(|separator| !separator.is_empty());
    let place = separator.and_then(|separator| {
        let place = line.windows(separator.len()).position(|window| window == separator)?;
        Some((place, place + separator.len()))
    });
    match place {
        Some((end, start)) => (line.get(..end), line.get(start..).unwrap_or_default()),
        None => (None, line),
    }
}

/// Records that were not sent yet.
struct Batches {
    /// Not empty, ascending.
    partitions: Vec<i32>,
    fixed: Option<i32>,
    /// Which partition takes the records without a key, until the next request.
    turn: usize,
    open: BTreeMap<i32, BatchBuilder>,
}

impl Batches {
    /// Adds a record. `true`: send now.
    fn add(&mut self, key: Option<&[u8]>, value: &[u8]) -> bool {
        let place = key.map_or(self.turn, |key| (murmur2(key) & 0x7fff_ffff) as usize);
        let chosen = self.partitions.get(place % self.partitions.len().max(1)).copied();
        let partition = self.fixed.or(chosen).unwrap_or_default();
        let now = now_ms();
        let batch = self.open.entry(partition).or_insert_with(|| BatchBuilder::new(now));
        batch.push(now, key, Some(value), &[]);
        batch.len() >= BATCH_BYTES
    }

    /// Sends everything in one request and returns how many records that were.
    fn send(&mut self, client: &mut Client, topic: &str) -> Result<u64, ClientError> {
        if self.open.is_empty() {
            return Ok(0);
        }
        let mut count = 0;
        let partitions = std::mem::take(&mut self.open).into_iter().map(|(index, batch)| {
            count += u64::from(batch.records_count());
            ProducePartition { index, records: Some(Bytes::clone(batch.finish().bytes())) }
        });
        let partitions = partitions.collect();
        let topics = vec![ProduceTopic { name: topic.to_string(), partitions, ..Default::default() }];
        let request = ProduceRequest { acks: -1, timeout_ms: TIMEOUT_MS, topics, ..Default::default() };
        let response = client.ask(
            PRODUCE,
            |writer, version| request.encode(writer, version),
            ProduceResponse::decode,
        )?;
        for partition in response.topics.into_iter().flat_map(|topic| topic.partitions) {
            let what = format!("{topic} partition {}", partition.index);
            accepted(&what, partition.error_code, partition.error_message)?;
        }
        self.turn += 1;
        Ok(count)
    }
}

/// The hash (MurmurHash2, 32 bits, with Kafka's seed) by which Kafka's own producers choose partitions, so that
/// equal keys meet in one partition whoever sent them.
fn murmur2(bytes: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ bytes.len() as u32;
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        let mixed = u32::from_le_bytes(*word).wrapping_mul(M);
        let mixed = (mixed ^ (mixed >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ mixed;
    }
    if !rest.is_empty() {
        for (index, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_hashed_as_kafka_does() {
        // Expectations of org.apache.kafka.common.utils.UtilsTest.
        for (key, expected) in [
            ("21", -973_932_308i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ] {
            assert_eq!(murmur2(key.as_bytes()) as i32, expected, "{key}");
        }
    }

    #[test]
    fn a_line_is_split_at_the_first_separator() {
        assert_eq!(split(b"a:b:c", Some(":")), (Some(&b"a"[..]), &b"b:c"[..]));
        assert_eq!(split(b"::b", Some("::")), (Some(&b""[..]), &b"b"[..]));
        assert_eq!(split(b"abc", Some(":")), (None, &b"abc"[..]));
        assert_eq!(split(b"a:b", None), (None, &b"a:b"[..]));
        assert_eq!(split(b"a:b", Some("")), (None, &b"a:b"[..]));
    }
}
