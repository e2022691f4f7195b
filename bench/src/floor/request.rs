//! The requests that the least broker understands, and its answers.
//!
//! In: frames of a Kafka client that makes topics, produces one batch at a time, and removes topics. Out: what to
//! append, answers. Never: believes a length before it was checked.

/// No request is longer.
pub const REQUEST_BYTES_MAX: usize = (1 << 20) + (64 << 10);

const PRODUCE: i16 = 0;
const CREATE_TOPICS: i16 = 19;
const DELETE_TOPICS: i16 = 20;

/// One request.
#[derive(Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Append this batch, then answer.
    Produce { answer: Answer, batch: &'a [u8] },
    /// Answer this at once.
    Other(Vec<u8>),
}

/// The answer to a produce but for the offset.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    front: Vec<u8>,
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

/// Takes a whole request apart.
pub fn parse(frame: &[u8]) -> Result<Request<'_>, Foreign> {
    parse_fields(Fields(frame)).ok_or(Foreign)
}

fn parse_fields(mut fields: Fields<'_>) -> Option<Request<'_>> {
    let (_length, key, _version, correlation) = (fields.i32()?, fields.i16()?, fields.i16()?, fields.i32()?);
    let _client = fields.string()?;
    match key {
        PRODUCE => {
            let (_transaction, _acks, _timeout) = (fields.string()?, fields.i16()?, fields.i32()?);
            let (1, name, 1, partition) = (fields.i32()?, fields.string()?, fields.i32()?, fields.i32()?)
            else {
                return None;
            };
            let length = usize::try_from(fields.i32()?).ok()?;
            let batch = fields.0.get(..length)?;
            let mut front = vec![0; 4];
            front.extend(correlation.to_be_bytes());
            front.extend(1i32.to_be_bytes());
            put_string(&mut front, name);
            front.extend(1i32.to_be_bytes());
            front.extend(partition.to_be_bytes());
            front.extend(0i16.to_be_bytes());
            Some(Request::Produce { answer: Answer { front }, batch })
        }
        CREATE_TOPICS | DELETE_TOPICS => {
            let (_count, name) = (fields.i32()?, fields.string()?);
            let mut out = vec![0; 4];
            out.extend(correlation.to_be_bytes());
            out.extend(0i32.to_be_bytes());
            out.extend(1i32.to_be_bytes());
            put_string(&mut out, name);
            out.extend(0i16.to_be_bytes());
            if key == CREATE_TOPICS {
                out.extend((-1i16).to_be_bytes());
            }
            seal(&mut out, 0);
            Some(Request::Other(out))
        }
        _ => None,
    }
}

impl Answer {
    /// Puts the whole answer behind what is in `out`.
    pub fn write(&self, base_offset: u64, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend(&self.front);
        out.extend((base_offset as i64).to_be_bytes());
        out.extend((-1i64).to_be_bytes());
        out.extend(0i64.to_be_bytes());
        out.extend(0i32.to_be_bytes());
        seal(out, start);
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

    fn string(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.i16()?.max(0)).ok()?;
        let (front, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(front)
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
        let Ok(Request::Produce { answer, batch }) = parse(&frame) else { panic!("not a produce") };
        assert_eq!(batch, b"batch");
        let mut out = b"before".to_vec();
        answer.write(9, &mut out);
        let (taken, mut fields) = kafka::front(&out[6..]).unwrap().unwrap();
        assert_eq!(taken, out.len() - 6);
        kafka::expect_correlation(&mut fields, Some(77)).unwrap();
        assert_eq!(fields.produced(), Some((0, 9)));
    }

    #[test]
    fn anything_else_is_foreign() {
        assert_eq!(length(b"GET / HTTP/1.1"), Err(Foreign));
        assert_eq!(length(&[0, 0]), Ok(None));
        assert_eq!(parse(&kafka::fetch("t", 0, 0, 1, 1)), Err(Foreign));
        let frame = kafka::produce("topic", 3, b"batch");
        (0..frame.len()).for_each(|cut| assert_eq!(parse(&frame[..cut]), Err(Foreign), "{cut}"));
    }
}
