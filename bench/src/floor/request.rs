//! The requests that the least broker understands, and its answers.
//!
//! In: frames of Kafka clients that make topics, produce, and remove topics: our own, librdkafka's and the Java client's.
//! Out: what to append, answers. Never: believes a length before it was checked.

/// No request is longer.
pub const REQUEST_BYTES_MAX: usize = (1 << 20) + (64 << 10);

const PRODUCE: i16 = 0;
const FETCH: i16 = 1;
const METADATA: i16 = 3;
const API_VERSIONS: i16 = 18;
const CREATE_TOPICS: i16 = 19;
const DELETE_TOPICS: i16 = 20;
const INIT_PRODUCER_ID: i16 = 22;
/// What clients that ask are told: a request, its first version and its last, which is the one that they take and the only
/// one understood. librdkafka sends record batches only to those who name produces of version 3 and fetches of 4;
/// fetches are refused.
const VERSIONS: [[i16; 3]; 5] =
    [[PRODUCE, 3, 7], [FETCH, 4, 4], [METADATA, 1, 1], [API_VERSIONS, 0, 0], [INIT_PRODUCER_ID, 0, 0]];
const UNSUPPORTED_VERSION: i16 = 35;
/// Of each topic that somebody asks for.
const PARTITIONS: i32 = 4;
/// The broker's number.
const NODE: i32 = 1;
const HOST: &[u8] = b"127.0.0.1";
/// Every producer's: nothing is told from anything.
const PRODUCER: i64 = 1;

/// One request.
#[derive(Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Append these batches, then answer.
    Produce { answer: Answer, batches: Vec<&'a [u8]> },
    /// Answer this at once.
    Other(Vec<u8>),
}

/// The answer to a produce but for the offset.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    bytes: Vec<u8>,
    /// Where each batch's offset is.
    offsets_at: Vec<usize>,
}

/// Not a request that this program understands.
#[derive(Debug, PartialEq, Eq)]
pub struct Foreign;

/// The length with its prefix of the request at the front, once it is there as a whole.
pub fn length(input: &[u8]) -> Result<Option<usize>, Foreign> {
    let Some(prefix) = input.first_chunk() else { return Ok(None) };
    match usize::try_from(i32::from_be_bytes(*prefix)) {
        Ok(length) if length <= REQUEST_BYTES_MAX => Ok((input.len() >= length + 4).then_some(length + 4)),
        _ => Err(Foreign),
    }
}

/// Takes a whole request apart. `port` is where this broker listens.
pub fn parse(frame: &[u8], port: u16) -> Result<Request<'_>, Foreign> {
    parse_fields(Fields(frame), port).ok_or(Foreign)
}

fn parse_fields(mut fields: Fields<'_>, port: u16) -> Option<Request<'_>> {
    let (_length, key, version, correlation) = (fields.i32()?, fields.i16()?, fields.i16()?, fields.i32()?);
    let _client = fields.string()?;
    let mut out = vec![0; 4];
    out.extend(correlation.to_be_bytes());
    match key {
        PRODUCE => {
            let (_transaction, _acks, _timeout) = (fields.string()?, fields.i16()?, fields.i32()?);
            let (mut batches, mut offsets_at) = (Vec::new(), Vec::new());
            fields.each(&mut out, |fields, out| {
                put_string(out, fields.string()?);
                fields.each(out, |fields, out| {
                    out.extend(fields.array::<4>()?);
                    out.extend(0i16.to_be_bytes());
                    offsets_at.push(out.len());
                    [0, -1, 0i64].iter().for_each(|number| out.extend(number.to_be_bytes()));
                    batches.push(fields.bytes()?);
                    Some(())
                })
            })?;
            out.extend(0i32.to_be_bytes());
            seal(&mut out, 0);
            return Some(Request::Produce { answer: Answer { bytes: out, offsets_at }, batches });
        }
        API_VERSIONS => {
            let error = if version == 0 { 0 } else { UNSUPPORTED_VERSION };
            out.extend(error.to_be_bytes());
            out.extend((VERSIONS.len() as i32).to_be_bytes());
            VERSIONS.as_flattened().iter().for_each(|number| out.extend(number.to_be_bytes()));
        }
        METADATA => {
            out.extend(1i32.to_be_bytes());
            out.extend(NODE.to_be_bytes());
            put_string(&mut out, HOST);
            out.extend(i32::from(port).to_be_bytes());
            out.extend((-1i16).to_be_bytes());
            out.extend(NODE.to_be_bytes());
            fields.each(&mut out, |fields, out| {
                out.extend(0i16.to_be_bytes());
                put_string(out, fields.string()?);
                out.push(0);
                out.extend(PARTITIONS.to_be_bytes());
                for partition in 0..PARTITIONS {
                    out.extend(0i16.to_be_bytes());
                    let own = [partition, NODE, 1, NODE, 1, NODE];
                    own.iter().for_each(|number| out.extend(number.to_be_bytes()));
                }
                Some(())
            })?;
        }
        INIT_PRODUCER_ID => {
            out.extend(0i32.to_be_bytes());
            out.extend(0i16.to_be_bytes());
            out.extend(PRODUCER.to_be_bytes());
            out.extend(0i16.to_be_bytes());
        }
        CREATE_TOPICS | DELETE_TOPICS => {
            let (_count, name) = (fields.i32()?, fields.string()?);
            out.extend(0i32.to_be_bytes());
            out.extend(1i32.to_be_bytes());
            put_string(&mut out, name);
            out.extend(0i16.to_be_bytes());
            if key == CREATE_TOPICS {
                out.extend((-1i16).to_be_bytes());
            }
        }
        _ => return None,
    }
    seal(&mut out, 0);
    Some(Request::Other(out))
}

impl Answer {
    /// Puts the whole answer behind what is in `out`.
    pub fn write(&self, base_offset: u64, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend(&self.bytes);
        for at in &self.offsets_at {
            out[start + at..][..8].copy_from_slice(&base_offset.to_be_bytes());
        }
    }
}

/// Writes the length of what is behind `start` to its front.
fn seal(out: &mut [u8], start: usize) {
    let length = (out.len() - start - 4) as i32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

fn put_string(out: &mut Vec<u8>, text: &[u8]) {
    out.extend((text.len() as i16).to_be_bytes());
    out.extend(text);
}

struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (front, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*front)
    }

    fn i16(&mut self) -> Option<i16> {
        self.array().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_be_bytes)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(front)
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.i16()?.max(0)).ok()?;
        self.take(length)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.i32()?).ok()?;
        self.take(length)
    }

    /// An array answered by one of the same length. Each element takes bytes, so a length that is a lie ends soon.
    fn each(
        &mut self,
        out: &mut Vec<u8>,
        mut element: impl FnMut(&mut Self, &mut Vec<u8>) -> Option<()>,
    ) -> Option<()> {
        let count = self.i32()?.max(0);
        out.extend(count.to_be_bytes());
        (0..count).try_for_each(|_| element(self, out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::kafka;

    #[test]
    fn a_produce_is_taken_apart_and_answered() {
        let mut frame = kafka::produce("topic", 3, b"batch");
        kafka::patch(&mut frame, 77);
        assert_eq!(length(&frame[..frame.len() - 1]), Ok(None));
        assert_eq!(length(&frame), Ok(Some(frame.len())));
        let Ok(Request::Produce { answer, batches }) = parse(&frame, 1) else { panic!("not a produce") };
        assert_eq!(batches, [b"batch"]);
        let mut out = b"before".to_vec();
        answer.write(9, &mut out);
        let (taken, mut fields) = kafka::front(&out[6..]).unwrap().unwrap();
        assert_eq!(taken, out.len() - 6);
        kafka::expect_correlation(&mut fields, Some(77)).unwrap();
        assert_eq!(fields.produced(), Some((0, 9)));
    }

    /// A request frame with correlation id 5 and no client id.
    fn request(key: i16, version: i16, body: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; 4];
        [key, version].iter().for_each(|number| frame.extend(number.to_be_bytes()));
        frame.extend(5i32.to_be_bytes());
        frame.extend((-1i16).to_be_bytes());
        frame.extend(body);
        seal(&mut frame, 0);
        frame
    }

    #[test]
    fn clients_of_other_makes_learn_what_they_ask_for() {
        let Ok(Request::Other(answer)) = parse(&request(API_VERSIONS, 3, &[]), 1) else { panic!() };
        assert_eq!(answer[8..10], 35i16.to_be_bytes(), "try version 0");
        let Ok(Request::Other(answer)) = parse(&request(API_VERSIONS, 0, &[]), 1) else { panic!() };
        assert_eq!(answer.len(), 4 + 4 + 2 + 4 + 5 * 6);
        let mut body = 1i32.to_be_bytes().to_vec();
        put_string(&mut body, b"topic");
        let Ok(Request::Other(answer)) = parse(&request(METADATA, 1, &body), 9092) else { panic!() };
        let brokers = 4 + 4 + 4 + 4 + 2 + HOST.len();
        assert_eq!(answer[brokers..][..4], 9092i32.to_be_bytes());
        assert_eq!(answer[brokers + 10..][..4], 1i32.to_be_bytes(), "one topic");
        assert_eq!(answer.len(), brokers + 14 + 2 + 7 + 1 + 4 + 4 * 26);
    }

    #[test]
    fn a_produce_to_two_partitions_gets_two_offsets() {
        let mut body = (-1i16).to_be_bytes().to_vec();
        body.extend([0; 6]);
        body.extend(1i32.to_be_bytes());
        put_string(&mut body, b"t");
        body.extend(2i32.to_be_bytes());
        for (partition, batch) in [(0i32, b"one"), (3, b"two")] {
            body.extend(partition.to_be_bytes());
            body.extend(3i32.to_be_bytes());
            body.extend(batch);
        }
        let frame = request(PRODUCE, 7, &body);
        let Ok(Request::Produce { answer, batches }) = parse(&frame, 1) else { panic!() };
        assert_eq!(batches, [b"one", b"two"]);
        let mut out = Vec::new();
        answer.write(7, &mut out);
        assert_eq!(out.len(), 4 + 4 + 4 + 3 + 4 + 2 * 30 + 4);
        for at in [19, 49] {
            assert_eq!(out[at + 6..][..8], 7u64.to_be_bytes());
        }
    }

    #[test]
    fn anything_else_is_foreign() {
        assert_eq!(length(b"GET / HTTP/1.1"), Err(Foreign));
        assert_eq!(length(&[0, 0]), Ok(None));
        assert_eq!(parse(&kafka::fetch("t", 0, 0, 1, 1), 1), Err(Foreign));
        let frame = kafka::produce("topic", 3, b"batch");
        (0..frame.len()).for_each(|cut| assert_eq!(parse(&frame[..cut], 1), Err(Foreign), "{cut}"));
    }
}
