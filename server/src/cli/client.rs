//! One connection to a Kafka server, for the commands that talk to one: a request, then its response.
//!
//! In: messages. Out: messages, or why there are none. Never: has two requests on their way.
//!
//! Each request is sent in one version only, which Apache Kafka has known since 2.8 and this server since its
//! beginning; a server that does not know it closes the connection.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use crate::broker::compression::CompressionError;
use crate::kafka::wire::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};
use crate::kafka::wire::metadata::{
    MetadataBroker, MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataTopic,
};
use crate::kafka::wire::{Reader, RequestHeader, WireError, Writer, frame};

/// Where a server is looked for unless told otherwise.
pub const BOOTSTRAP: &str = "127.0.0.1:9092";

/// Largest response that is believed.
const RESPONSE_BYTES_MAX: usize = 256 << 20;
/// A server that takes longer over a request is not well.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// A topic that was just created may not have its leader yet: so often, and this far apart, it is looked for.
const LEADER_TRIES: u32 = 50;
const LEADER_PAUSE: Duration = Duration::from_millis(100);

/// Timestamps that mean an end of the log.
pub const LATEST: i64 = -1;
pub const EARLIEST: i64 = -2;

/// A request kind in the version it is sent in. All of them are flexible.
#[derive(Clone, Copy)]
pub struct Kind {
    pub key: i16,
    pub version: i16,
}

const LIST_OFFSETS: Kind = Kind { key: 2, version: 6 };
const METADATA: Kind = Kind { key: 3, version: 9 };

/// Why a command did not do what it should.
#[derive(Debug)]
pub enum ClientError {
    Connect {
        address: String,
        source: io::Error,
    },
    /// While talking to the server.
    Connection(io::Error),
    /// Standard input or output.
    Local(io::Error),
    /// The server closed the connection instead of answering.
    Closed,
    Wire(WireError),
    /// The response belongs to another request, or lacks what was asked for.
    Unexpected(&'static str),
    /// The server said no.
    Refused {
        what: String,
        code: i16,
        message: Option<String>,
    },
    /// What was asked for makes no sense.
    Usage(String),
    /// A batch cannot be read.
    Batch {
        partition: i32,
        offset: i64,
        reason: String,
    },
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Connect { address, source } => write!(f, "cannot connect to {address}: {source}"),
            ClientError::Connection(error) => write!(f, "the connection broke: {error}"),
            ClientError::Local(error) => write!(f, "{error}"),
            ClientError::Closed => {
                write!(f, "the server closed the connection instead of answering; is it a Kafka server?")
            }
            ClientError::Wire(error) => write!(f, "the server's response makes no sense: {error}"),
            ClientError::Unexpected(what) => write!(f, "the server's response makes no sense: {what}"),
            ClientError::Refused { what, code, message } => {
                write!(f, "{what}: {}", reason(*code))?;
                message.as_ref().map_or(Ok(()), |message| write!(f, " ({message})"))
            }
            ClientError::Usage(reason) => write!(f, "{reason}"),
            ClientError::Batch { partition, offset, reason } => {
                write!(f, "partition {partition}, batch at offset {offset}: {reason}")
            }
        }
    }
}

impl std::error::Error for ClientError {}

impl From<WireError> for ClientError {
    fn from(error: WireError) -> ClientError {
        ClientError::Wire(error)
    }
}

impl ClientError {
    /// A batch that cannot be read.
    pub fn batch(partition: i32, offset: i64, error: &CompressionError) -> ClientError {
        ClientError::Batch { partition, offset, reason: error.to_string() }
    }
}

/// The codes a user of these commands meets, in words.
fn reason(code: i16) -> String {
    let words = match code {
        1 => "there is no such offset",
        3 => "no such topic or partition",
        5 => "the partition has no leader yet",
        6 => "another broker leads the partition",
        7 => "the server took too long",
        10 => "a record is too large",
        17 => "a topic cannot be called so",
        29 => "not allowed for this topic",
        36 => "the topic exists already",
        37 => "no such number of partitions",
        38 => "no such replication factor",
        39 => "the partitions cannot be on those brokers",
        40 => "a setting is not known or has no such value",
        42 => "this cannot be done",
        56 => "the server cannot reach its disk",
        68 => "the group has members",
        69 => "no such group",
        _ => return format!("the server answered error {code}"),
    };
    words.to_string()
}

/// `Ok` if the code is that of success.
pub fn accepted(what: &str, code: i16, message: Option<String>) -> Result<(), ClientError> {
    match code {
        0 => Ok(()),
        code => Err(ClientError::Refused { what: what.to_string(), code, message }),
    }
}

/// Milliseconds since the Unix epoch.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A connection.
pub struct Client {
    stream: TcpStream,
    correlation_id: i32,
}

impl Client {
    /// Connects to HOST:PORT.
    pub fn connect(address: &str) -> Result<Client, ClientError> {
        let failed = |source| ClientError::Connect { address: address.to_string(), source };
        let stream = TcpStream::connect(address).map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN)).map_err(failed)?;
        stream.set_write_timeout(Some(ANSWER_WITHIN)).map_err(failed)?;
        Ok(Client { stream, correlation_id: 0 })
    }

    /// Sends a request and waits for its response.
    pub fn ask<T>(
        &mut self,
        kind: Kind,
        encode: impl FnOnce(&mut Writer, i16),
        decode: impl FnOnce(&mut Reader, i16) -> Result<T, WireError>,
    ) -> Result<T, ClientError> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let header = RequestHeader {
            key: kind.key,
            version: kind.version,
            correlation_id: self.correlation_id,
            client_id: Some("ringmain".to_string()),
            flexible: true,
        };
        let mut writer = frame::begin_request(&header);
        encode(&mut writer, kind.version);
        for piece in frame::finish(writer) {
            self.stream.write_all(&piece).map_err(broken)?;
        }
        let mut reader = Reader::new(self.response()?, true);
        if header.decode_response(&mut reader)? != self.correlation_id {
            return Err(ClientError::Unexpected("it answers another request"));
        }
        Ok(decode(&mut reader, kind.version)?)
    }

    fn response(&mut self) -> Result<Bytes, ClientError> {
        let mut size = [0; frame::SIZE_BYTES];
        self.stream.read_exact(&mut size).map_err(broken)?;
        let size = usize::try_from(i32::from_be_bytes(size)).ok().filter(|size| *size <= RESPONSE_BYTES_MAX);
        let size = size.ok_or(ClientError::Unexpected("its size"))?;
        let mut bytes = Vec::new();
        // Memory grows with what arrives, not with what was promised.
        let read = (&mut self.stream).take(size as u64).read_to_end(&mut bytes).map_err(broken)?;
        if read < size { Err(ClientError::Closed) } else { Ok(Bytes::from(bytes)) }
    }

    /// All topics.
    pub fn topics(&mut self) -> Result<Vec<MetadataTopic>, ClientError> {
        Ok(self.metadata(MetadataRequest::default())?.topics)
    }

    /// HOST:PORT of every broker.
    pub fn brokers(&mut self) -> Result<Vec<String>, ClientError> {
        let request = MetadataRequest { topics: Some(Vec::new()), ..Default::default() };
        let address = |broker: MetadataBroker| match broker.host.contains(':') {
            true => format!("[{}]:{}", broker.host, broker.port),
            false => format!("{}:{}", broker.host, broker.port),
        };
        Ok(self.metadata(request)?.brokers.into_iter().map(address).collect())
    }

    /// One topic, with partitions that have a leader; with `create` it comes into being if the server likes.
    pub fn topic(&mut self, name: &str, create: bool) -> Result<MetadataTopic, ClientError> {
        for _ in 1..LEADER_TRIES {
            let topic = self.topic_now(name, create)?;
            let not_yet = topic.error_code == 5 || create && topic.error_code == 3;
            if !not_yet && topic.partitions.iter().all(|partition| partition.leader_id >= 0) {
                accepted(name, topic.error_code, None)?;
                return Ok(topic);
            }
            std::thread::sleep(LEADER_PAUSE);
        }
        let topic = self.topic_now(name, create)?;
        accepted(name, topic.error_code, None)?;
        Ok(topic)
    }

    fn topic_now(&mut self, name: &str, create: bool) -> Result<MetadataTopic, ClientError> {
        let wanted = MetadataRequestTopic { name: Some(name.to_string()), ..Default::default() };
        let request = MetadataRequest {
            topics: Some(vec![wanted]),
            allow_auto_topic_creation: create,
            ..Default::default()
        };
        let found = self.metadata(request)?.topics.into_iter().next();
        found.ok_or(ClientError::Unexpected("it has no topic"))
    }

    fn metadata(&mut self, request: MetadataRequest) -> Result<MetadataResponse, ClientError> {
        self.ask(METADATA, |writer, version| request.encode(writer, version), MetadataResponse::decode)
    }

    /// The offset at `timestamp`, or at an end, of each of the partitions, in their order.
    pub fn offsets(
        &mut self,
        topic: &str,
        partitions: &[i32],
        timestamp: i64,
    ) -> Result<Vec<i64>, ClientError> {
        let asked = partitions.iter().map(|index| ListOffsetsPartition {
            index: *index,
            current_leader_epoch: -1,
            timestamp,
        });
        let topics = vec![ListOffsetsTopic { name: topic.to_string(), partitions: asked.collect() }];
        let request = ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
        let response = self.ask(
            LIST_OFFSETS,
            |writer, version| request.encode(writer, version),
            ListOffsetsResponse::decode,
        )?;
        let found: Vec<_> = response.topics.into_iter().flat_map(|topic| topic.partitions).collect();
        let offset_of = |index: &i32| {
            let found = found.iter().find(|found| found.index == *index);
            let found = found.ok_or(ClientError::Unexpected("a partition is missing"))?;
            accepted(&format!("{topic} partition {index}"), found.error_code, None)?;
            Ok(found.offset)
        };
        partitions.iter().map(offset_of).collect()
    }
}

fn broken(error: io::Error) -> ClientError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            ClientError::Closed
        }
        _ => ClientError::Connection(error),
    }
}
