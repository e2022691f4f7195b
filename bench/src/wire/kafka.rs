//! As much of the Kafka protocol as a benchmark needs: make a topic, produce to it, take it away again.
//!
//! In: `HOST:PORT`, names, batches. Out: frames sent, answers checked. Never: believes a length or an answer
//! before it was checked; allocates while a produce is timed.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::leaders::leaders;
use crate::failure::Failure;

/// How long a broker may take to accept a connection, and to answer.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// No answer to what is asked here is longer.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// No answer to a fetch is longer, whatever was asked for.
const FETCH_BYTES_MAX: usize = 64 << 20;
/// Where a request's correlation id lies, its size prefix included.
const CORRELATION_AT: usize = 8;

const PRODUCE: (i16, i16) = (0, 7);
const FETCH: (i16, i16) = (1, 4);
const CREATE_TOPICS: (i16, i16) = (19, 2);
const DELETE_TOPICS: (i16, i16) = (20, 1);

const TOPIC_EXISTS: i16 = 36;
/// Unknown topic, leader not available, not the leader, not enough replicas: a topic that was just made settles soon.
const SETTLING: [i16; 4] = [3, 5, 6, 19];

/// One connection, answers in the order of the requests.
pub struct Connection {
    stream: TcpStream,
    target: String,
    /// Bytes received and not yet taken: `received[taken..held]`.
    received: Vec<u8>,
    taken: usize,
    held: usize,
}

impl Connection {
    /// Connects to the first address of `target` that accepts.
    pub fn open(target: &str) -> Result<Connection, Failure> {
        let addresses = target.to_socket_addrs().map_err(Failure::network("find the address of", target))?;
        let stream = connect(addresses).map_err(Failure::network("connect to", target))?;
        stream
            .set_nodelay(true)
            .and_then(|()| stream.set_read_timeout(Some(PATIENCE)))
            .and_then(|()| stream.set_write_timeout(Some(PATIENCE)))
            .map_err(Failure::network("set up the connection to", target))?;
        Ok(Connection { stream, target: target.to_owned(), received: vec![0; 64 << 10], taken: 0, held: 0 })
    }

    /// The connection itself, for a loop that drives many.
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Sends whole frames.
    pub fn send(&mut self, frames: &[u8]) -> Result<(), Failure> {
        self.stream.write_all(frames).map_err(Failure::network("send to", &self.target))
    }

    /// The next answer, after its size and correlation id; waits for it.
    pub fn receive(&mut self, correlation: i32) -> Result<Fields<'_>, Failure> {
        let length = loop {
            if let Some(length) = self.front_length()? {
                break length;
            }
            self.read_more()?;
        };
        let start = self.taken + 4;
        self.taken = start + length;
        let mut fields = Fields(self.received.get(start..self.taken).unwrap_or_default());
        match fields.i32() {
            Some(found) if found == correlation => Ok(fields),
            found => Err(Failure::Broker(format!(
                "{} answered request {found:?}, expected {correlation}; is it a Kafka listener?",
                self.target
            ))),
        }
    }

    /// One request and its answer.
    pub fn exchange(&mut self, request: &[u8], correlation: i32) -> Result<Fields<'_>, Failure> {
        self.send(request)?;
        self.receive(correlation)
    }

    /// Length of the answer at the front once it is here as a whole.
    fn front_length(&self) -> Result<Option<usize>, Failure> {
        let mut fields = Fields(self.received.get(self.taken..self.held).unwrap_or_default());
        let Some(length) = fields.i32() else { return Ok(None) };
        match usize::try_from(length) {
            Ok(length) if length <= ANSWER_BYTES_MAX => Ok((fields.0.len() >= length).then_some(length)),
            _ => Err(Failure::Broker(format!("{} does not speak the Kafka protocol", self.target))),
        }
    }

    fn read_more(&mut self) -> Result<(), Failure> {
        self.received.copy_within(self.taken..self.held, 0);
        (self.taken, self.held) = (0, self.held - self.taken);
        if self.held == self.received.len() {
            self.received.resize(4 + ANSWER_BYTES_MAX, 0);
        }
        loop {
            match self.stream.read(&mut self.received[self.held..]) {
                Ok(0) => {
                    let closed = io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection");
                    return Err(Failure::network("read from", &self.target)(closed));
                }
                Ok(count) => {
                    self.held += count;
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let slow = io::Error::new(io::ErrorKind::TimedOut, "it did not answer within 10 s");
                    return Err(Failure::network("read from", &self.target)(slow));
                }
                Err(error) => return Err(Failure::network("read from", &self.target)(error)),
            }
        }
    }
}

/// To the first address that accepts, within [`PATIENCE`].
pub fn connect(addresses: impl Iterator<Item = SocketAddr>) -> io::Result<TcpStream> {
    let mut outcome = Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    for address in addresses {
        outcome = TcpStream::connect_timeout(&address, PATIENCE);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// What is left of an answer. Each step gives nothing once the bytes end.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    #[cfg(test)]
    pub fn new(bytes: &'a [u8]) -> Fields<'a> {
        Fields(bytes)
    }

    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (front, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*front)
    }

    pub fn i16(&mut self) -> Option<i16> {
        self.array().map(i16::from_be_bytes)
    }

    pub fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_be_bytes)
    }

    pub fn string(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.i16()?.max(0)).ok()?;
        let (front, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(front)
    }

    /// Error code and base offset of a produce answer with one topic and one partition.
    pub fn produced(mut self) -> Option<(i16, i64)> {
        let (_topics, _name, _partitions, _index) = (self.i32()?, self.string()?, self.i32()?, self.i32()?);
        Some((self.i16()?, self.i64()?))
    }

    /// Error code and records of a fetch answer with one topic and one partition.
    pub fn fetched(mut self) -> Option<Fetched<'a>> {
        let (_throttle, _topics, _name, _partitions, _index) =
            (self.i32()?, self.i32()?, self.string()?, self.i32()?, self.i32()?);
        let (error, _high_watermark, _last_stable_offset) = (self.i16()?, self.i64()?, self.i64()?);
        for _ in 0..self.i32()?.max(0) {
            let (_producer, _first_offset) = (self.i64()?, self.i64()?);
        }
        let length = usize::try_from(self.i32()?.max(0)).ok()?;
        Some(Fetched { error, records: self.0.get(..length)? })
    }

    /// Error code of the only topic in an answer to a creation or deletion.
    fn topic_error(mut self) -> Option<i16> {
        let (_throttle, _topics, _name) = (self.i32()?, self.i32()?, self.string()?);
        self.i16()
    }
}

/// What a fetch of one partition brought.
#[derive(Clone, Copy, Debug)]
pub struct Fetched<'a> {
    pub error: i16,
    /// Batches one after the other; the last may be cut short.
    pub records: &'a [u8],
}

/// The answer at the front of `input` once it is there as a whole: its length with the size prefix, and what is
/// behind the prefix.
pub fn front(input: &[u8]) -> Result<Option<(usize, Fields<'_>)>, Failure> {
    let mut fields = Fields(input);
    let Some(length) = fields.i32() else { return Ok(None) };
    match usize::try_from(length) {
        Ok(length) if length <= FETCH_BYTES_MAX => {
            Ok(fields.0.get(..length).map(|answer| (4 + length, Fields(answer))))
        }
        _ => Err(Failure::Broker("the peer does not speak the Kafka protocol".to_owned())),
    }
}

/// Takes the correlation id, which must be the expected one.
pub fn expect_correlation(answer: &mut Fields<'_>, expected: Option<i32>) -> Result<(), Failure> {
    match answer.i32() {
        Some(found) if Some(found) == expected => Ok(()),
        found => {
            Err(Failure::Broker(format!("the broker answered request {found:?}, expected {expected:?}")))
        }
    }
}

/// Length of the batch at the front, which may be longer than `records`.
pub fn batch_length(records: &[u8]) -> Option<usize> {
    let mut fields = Fields(records);
    let (_base_offset, length) = (fields.i64()?, fields.i32()?);
    usize::try_from(length).ok()?.checked_add(12)
}

/// A topic that exists as long as this value does.
pub struct Topic {
    connection: Connection,
    name: String,
}

impl Topic {
    /// Creates a topic of a name nobody else has, with one replica and no settings.
    pub fn create(target: &str, partitions_count: u64) -> Result<Topic, Failure> {
        Topic::create_with(target, partitions_count, &[])
    }

    /// The same with settings of the topic.
    pub fn create_with(
        target: &str,
        partitions_count: u64,
        settings: &[(&str, &str)],
    ) -> Result<Topic, Failure> {
        let mut connection = Connection::open(target)?;
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ringmain-bench-{}-{}-{count}", std::process::id(), now_ms());
        let mut body = Vec::new();
        body.extend(1i32.to_be_bytes());
        put_string(&mut body, &name);
        body.extend((partitions_count as i32).to_be_bytes());
        body.extend(1i16.to_be_bytes());
        // No partition is assigned to anybody.
        body.extend(0i32.to_be_bytes());
        body.extend((settings.len() as i32).to_be_bytes());
        for (name, value) in settings {
            put_string(&mut body, name);
            put_string(&mut body, value);
        }
        body.extend((PATIENCE.as_millis() as i32).to_be_bytes());
        body.push(0);
        let answer = connection.exchange(&request(CREATE_TOPICS, 1, &body), 1)?;
        match answer.topic_error() {
            Some(0 | TOPIC_EXISTS) => Ok(Topic { connection, name }),
            found => Err(Failure::Broker(format!("{target} did not create topic {name}: {}", code(found)))),
        }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who leads each of its partitions.
    pub fn leaders(&mut self, partitions_count: u64) -> Result<Vec<String>, Failure> {
        leaders(&mut self.connection, &self.name, partitions_count)
    }

    /// Produces `batch` to each partition until all take it: a new topic may lack a leader for a moment.
    pub fn settle(&mut self, partitions_count: u64, batch: &[u8]) -> Result<(), Failure> {
        for partition in 0..partitions_count as i32 {
            settle(&mut self.connection, &self.name, partition, batch)?;
        }
        Ok(())
    }

    /// The same, each partition at its leader.
    pub fn settle_at(&mut self, leaders: &[String], batch: &[u8]) -> Result<(), Failure> {
        for (partition, leader) in (0..).zip(leaders) {
            settle(&mut Connection::open(leader)?, &self.name, partition, batch)?;
        }
        Ok(())
    }
}

fn settle(connection: &mut Connection, topic: &str, partition: i32, batch: &[u8]) -> Result<(), Failure> {
    let since = Instant::now();
    let produce = produce(topic, partition, batch);
    loop {
        match connection.exchange(&produce, 0)?.produced() {
            Some((0, _)) => return Ok(()),
            Some((error, _)) if SETTLING.contains(&error) && since.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(50));
            }
            found => return Err(refused(topic, found.map(|(error, _)| error))),
        }
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        let mut body = Vec::new();
        body.extend(1i32.to_be_bytes());
        put_string(&mut body, &self.name);
        body.extend((PATIENCE.as_millis() as i32).to_be_bytes());
        let deleted = self.connection.exchange(&request(DELETE_TOPICS, 2, &body), 2);
        match deleted.map(Fields::topic_error) {
            Ok(Some(0)) => {}
            Ok(found) => eprintln!("ringmain-bench: topic {} is left behind: {}", self.name, code(found)),
            Err(failure) => eprintln!("ringmain-bench: topic {} is left behind: {failure}", self.name),
        }
    }
}

/// Milliseconds since 1970, as records carry them.
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// A produce that was not accepted.
pub fn refused(topic: &str, error: Option<i16>) -> Failure {
    Failure::Broker(format!("a produce to {topic} was refused: {}", code(error)))
}

fn code(error: Option<i16>) -> String {
    error.map_or_else(|| "the answer is cut short".to_owned(), |error| format!("Kafka error code {error}"))
}

/// A whole frame that appends `batch` and is answered when it is durable on all replicas in sync.
pub fn produce(topic: &str, partition: i32, batch: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(batch.len() + 128);
    body.extend((-1i16).to_be_bytes());
    body.extend((-1i16).to_be_bytes());
    body.extend((PATIENCE.as_millis() as i32).to_be_bytes());
    body.extend(1i32.to_be_bytes());
    put_string(&mut body, topic);
    body.extend(1i32.to_be_bytes());
    body.extend(partition.to_be_bytes());
    body.extend((batch.len() as i32).to_be_bytes());
    body.extend(batch);
    request(PRODUCE, 0, &body)
}

/// A whole frame that reads from `offset` on, and waits up to half a second for something to read.
pub fn fetch(topic: &str, partition: i32, offset: i64, bytes_max: i32, correlation: i32) -> Vec<u8> {
    let mut body = Vec::with_capacity(topic.len() + 64);
    body.extend((-1i32).to_be_bytes());
    body.extend(500i32.to_be_bytes());
    body.extend(1i32.to_be_bytes());
    body.extend(bytes_max.to_be_bytes());
    body.push(0);
    body.extend(1i32.to_be_bytes());
    put_string(&mut body, topic);
    body.extend(1i32.to_be_bytes());
    body.extend(partition.to_be_bytes());
    body.extend(offset.to_be_bytes());
    body.extend(bytes_max.to_be_bytes());
    request(FETCH, correlation, &body)
}

/// Where a produce frame of a batch of `batch_bytes` says which partition it is for.
pub fn partition_at(frame: &[u8], batch_bytes: usize) -> usize {
    frame.len() - batch_bytes - 8
}

/// Makes the produce frame one for another partition. `at` is from [`partition_at`].
pub fn patch_partition(frame: &mut [u8], at: usize, partition: i32) {
    if let Some(place) = frame.get_mut(at..at + 4) {
        place.copy_from_slice(&partition.to_be_bytes());
    }
}

/// Gives the frame another correlation id.
pub fn patch(frame: &mut [u8], correlation: i32) {
    if let Some(place) = frame.get_mut(CORRELATION_AT..CORRELATION_AT + 4) {
        place.copy_from_slice(&correlation.to_be_bytes());
    }
}

/// A whole frame.
pub fn request((key, version): (i16, i16), correlation: i32, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 4];
    frame.extend(key.to_be_bytes());
    frame.extend(version.to_be_bytes());
    frame.extend(correlation.to_be_bytes());
    put_string(&mut frame, "ringmain-bench");
    frame.extend(body);
    let length = (frame.len() - 4) as i32;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame
}

/// A string as the older versions have it: its length, then its bytes.
pub fn put_string(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as i16).to_be_bytes());
    out.extend(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// A peer that sends `answer` to whoever connects, then closes.
    fn peer(answer: Vec<u8>) -> (String, std::thread::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = listener.local_addr().unwrap().to_string();
        let thread = std::thread::spawn(move || listener.accept().unwrap().0.write_all(&answer).unwrap());
        (target, thread)
    }

    fn first_answer(answer: &[u8], correlation: i32) -> Result<Option<(i16, i64)>, String> {
        let (target, thread) = peer(answer.to_vec());
        let mut connection = Connection::open(&target).unwrap();
        let outcome =
            connection.receive(correlation).map(Fields::produced).map_err(|failure| failure.to_string());
        thread.join().unwrap();
        outcome
    }

    fn sound() -> Vec<u8> {
        let mut answer = vec![0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 0, 0, 0, 0];
        answer.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
        answer.extend([0; 20]);
        answer[3] = answer.len() as u8 - 4;
        answer
    }

    #[test]
    fn a_sound_answer_gives_code_and_offset() {
        assert_eq!(first_answer(&sound(), 7), Ok(Some((0, 9))));
    }

    #[test]
    fn answers_that_are_not_kafka_are_errors() {
        assert!(first_answer(&sound(), 8).unwrap_err().contains("expected 8"));
        assert!(first_answer(b"HTTP/1.1 400 Bad Request\r\n", 0).unwrap_err().contains("does not speak"));
        assert!(first_answer(&[0, 0, 0, 99, 1], 0).unwrap_err().contains("closed"));
        assert!(first_answer(&[255; 8], 0).unwrap_err().contains("does not speak"));
        assert_eq!(first_answer(&[0, 0, 0, 6, 0, 0, 0, 1, 0, 0], 1), Ok(None));
    }

    #[test]
    fn a_patched_frame_differs_in_its_correlation_only() {
        let mut frame = produce("t", 3, b"batch");
        assert_eq!(frame.len(), 4 + i32::from_be_bytes(frame[..4].try_into().unwrap()) as usize);
        patch(&mut frame, 0x0102_0304);
        assert_eq!(frame[8..12], [1, 2, 3, 4]);
        patch(&mut frame, 0);
        assert_eq!(frame, produce("t", 3, b"batch"));
        let at = partition_at(&frame, 5);
        patch_partition(&mut frame, at, 9);
        assert_eq!(frame, produce("t", 9, b"batch"));
    }
}
