//! As much of AMQP 0-9-1 as a benchmark needs: log in, make a queue, publish with confirms, consume with
//! acknowledgements.
//!
//! In: `HOST:PORT`, names, payloads. Out: connections ready for load, frames. Never: believes a length before it
//! was checked; leaves a queue behind that it made.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::kafka::connect;
use crate::failure::Failure;

/// How long a broker may take for one answer of the set-up.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest frame that is agreed on.
pub const FRAME_BYTES_MAX: u32 = 128 << 10;
const CHANNEL: u16 = 1;
const FRAME_END: u8 = 0xce;

pub const METHOD: u8 = 1;
pub const HEADER: u8 = 2;
pub const BODY: u8 = 3;

/// Class and method, as in the specification.
pub type Method = (u16, u16);
pub const CONNECTION_CLOSE: Method = (10, 50);
pub const CHANNEL_CLOSE: Method = (20, 40);
pub const DELIVER: Method = (60, 60);
pub const ACK: Method = (60, 80);
pub const NACK: Method = (60, 120);

/// What the queues of a run are made of.
#[derive(Clone, Debug, Default)]
pub struct QueueKind {
    /// `x-queue-type`, or none: the broker's default.
    pub kind: Option<String>,
}

/// One frame taken off the input.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    pub kind: u8,
    pub payload: &'a [u8],
}

impl Frame<'_> {
    /// Class and method of a method frame.
    pub fn method(&self) -> Option<Method> {
        let mut fields = Fields(self.payload);
        (self.kind == METHOD).then(|| Some((fields.u16()?, fields.u16()?)))?
    }
}

/// The frame at the front of `input` and its length, once it is there as a whole.
pub fn front(input: &[u8]) -> Result<Option<(usize, Frame<'_>)>, Failure> {
    let mut fields = Fields(input);
    let (Some(kind), Some(_channel), Some(length)) = (fields.u8(), fields.u16(), fields.u32()) else {
        return Ok(None);
    };
    if !matches!(kind, 1..=3 | 8) || length > FRAME_BYTES_MAX {
        return Err(Failure::Broker("the peer does not speak AMQP 0-9-1".to_owned()));
    }
    let length = length as usize;
    match (fields.0.get(..length), fields.0.get(length)) {
        (Some(payload), Some(&FRAME_END)) => Ok(Some((length + 8, Frame { kind, payload }))),
        (Some(_), Some(_)) => {
            Err(Failure::Broker("a frame of the broker does not end where it says".to_owned()))
        }
        _ => Ok(None),
    }
}

/// Arguments of a frame, one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// What is behind class and method.
    pub fn behind_method(frame: &Frame<'a>) -> Fields<'a> {
        Fields(frame.payload.get(4..).unwrap_or_default())
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (front, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*front)
    }

    pub fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub fn short_string(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(self.u8()?);
        let (front, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(front)
    }
}

/// A broker's reason for closing a channel or a connection, in its words.
pub fn closed(frame: &Frame<'_>) -> Failure {
    let mut fields = Fields::behind_method(frame);
    let (code, text) = (fields.u16(), fields.short_string().unwrap_or_default());
    Failure::Broker(format!("the broker closed: {} {}", code.unwrap_or(0), String::from_utf8_lossy(text)))
}

/// A connection with one open channel.
pub struct Connection {
    stream: TcpStream,
    target: String,
    received: Vec<u8>,
}

impl Connection {
    /// Connects, logs in as guest and opens a channel.
    pub fn open(target: &str) -> Result<Connection, Failure> {
        let addresses = target.to_socket_addrs().map_err(Failure::network("find the address of", target))?;
        let stream = connect(addresses).map_err(Failure::network("connect to", target))?;
        stream
            .set_nodelay(true)
            .and_then(|()| stream.set_read_timeout(Some(PATIENCE)))
            .and_then(|()| stream.set_write_timeout(Some(PATIENCE)))
            .map_err(Failure::network("set up the connection to", target))?;
        let mut connection = Connection { stream, target: target.to_owned(), received: Vec::new() };
        connection.send(b"AMQP\0\0\x09\x01")?;
        connection.expect((10, 10))?;
        let mut start_ok = vec![0; 4];
        put_short(&mut start_ok, "PLAIN");
        start_ok.extend(12u32.to_be_bytes());
        start_ok.extend(b"\0guest\0guest");
        put_short(&mut start_ok, "en_US");
        connection.send(&method_frame(0, (10, 11), &start_ok))?;
        connection.expect((10, 30))?;
        let mut tune_ok = 2047u16.to_be_bytes().to_vec();
        tune_ok.extend(FRAME_BYTES_MAX.to_be_bytes());
        tune_ok.extend([0, 0]);
        connection.send(&method_frame(0, (10, 31), &tune_ok))?;
        let mut open = Vec::new();
        put_short(&mut open, "/");
        open.extend([0, 0]);
        connection.send(&method_frame(0, (10, 40), &open))?;
        connection.expect((10, 41))?;
        connection.send(&method_frame(CHANNEL, (20, 10), &[0]))?;
        connection.expect((20, 11))?;
        Ok(connection)
    }

    /// Makes a durable queue.
    pub fn declare(&mut self, queue: &str, kind: &QueueKind) -> Result<(), Failure> {
        let mut body = vec![0, 0];
        put_short(&mut body, queue);
        body.push(0b10);
        let mut table = Vec::new();
        if let Some(kind) = &kind.kind {
            put_short(&mut table, "x-queue-type");
            table.push(b'S');
            table.extend((kind.len() as u32).to_be_bytes());
            table.extend(kind.as_bytes());
        }
        body.extend((table.len() as u32).to_be_bytes());
        body.extend(table);
        self.send(&method_frame(CHANNEL, (50, 10), &body))?;
        self.expect((50, 11))
    }

    /// Removes a queue with what is in it.
    pub fn delete(&mut self, queue: &str) -> Result<(), Failure> {
        let mut body = vec![0, 0];
        put_short(&mut body, queue);
        body.push(0);
        self.send(&method_frame(CHANNEL, (50, 40), &body))?;
        self.expect((50, 41))
    }

    /// Has every publish from now on confirmed.
    pub fn confirm(&mut self) -> Result<(), Failure> {
        self.send(&method_frame(CHANNEL, (85, 10), &[0]))?;
        self.expect((85, 11))
    }

    /// Begins deliveries, at most `prefetch` without an acknowledgement.
    pub fn consume(&mut self, queue: &str, prefetch: u16) -> Result<(), Failure> {
        let mut qos = vec![0; 4];
        qos.extend(prefetch.to_be_bytes());
        qos.push(0);
        self.send(&method_frame(CHANNEL, (60, 10), &qos))?;
        self.expect((60, 11))?;
        let mut body = vec![0, 0];
        put_short(&mut body, queue);
        put_short(&mut body, "bench");
        body.push(0);
        body.extend([0; 4]);
        self.send(&method_frame(CHANNEL, (60, 20), &body))?;
        self.expect((60, 21))
    }

    /// The connection itself and what was received on it and not taken.
    pub fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.received)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.stream.write_all(bytes).map_err(Failure::network("send to", &self.target))
    }

    /// Waits for a method; anything else than heartbeats before it is an error.
    fn expect(&mut self, wanted: Method) -> Result<(), Failure> {
        loop {
            if let Some((length, frame)) = front(&self.received)? {
                match frame.method() {
                    Some(found) if found == wanted => {
                        self.received.drain(..length);
                        return Ok(());
                    }
                    Some(CONNECTION_CLOSE | CHANNEL_CLOSE) => return Err(closed(&frame)),
                    Some(found) => {
                        let reason = format!("the broker sent {found:?} where {wanted:?} was expected");
                        return Err(Failure::Broker(reason));
                    }
                    None => {
                        self.received.drain(..length);
                    }
                }
                continue;
            }
            let mut piece = [0; 4096];
            match self.stream.read(&mut piece) {
                Ok(0) => {
                    let closed = io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection");
                    return Err(Failure::network("read from", &self.target)(closed));
                }
                Ok(count) => self.received.extend(&piece[..count]),
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

/// Queues that exist as long as this value does.
pub struct Queues {
    connection: Connection,
    names: Vec<String>,
}

impl Queues {
    /// Makes `count` queues of names nobody else has.
    pub fn create(target: &str, count: u64, kind: &QueueKind) -> Result<Queues, Failure> {
        let connection = Connection::open(target)?;
        let stem = format!("ringmain-bench-{}-{}", std::process::id(), super::kafka::now_ms());
        let mut queues = Queues { connection, names: Vec::new() };
        for number in 0..count {
            let name = format!("{stem}-{number}");
            queues.connection.declare(&name, kind)?;
            queues.names.push(name);
        }
        Ok(queues)
    }

    /// The name of queue `number`, counted round.
    pub fn name(&self, number: u64) -> &str {
        let place = number % self.names.len().max(1) as u64;
        self.names.get(place as usize).map_or("", String::as_str)
    }
}

impl Drop for Queues {
    fn drop(&mut self) {
        for name in &self.names {
            if let Err(failure) = self.connection.delete(name) {
                eprintln!("ringmain-bench: queue {name} is left behind: {failure}");
            }
        }
    }
}

/// A persistent publish to `queue` through the default exchange: method, header and body. The first eight bytes of
/// the body are at the place given back, for its number.
pub fn publish(queue: &str, body: &[u8]) -> (Vec<u8>, usize) {
    let mut method = vec![0, 0, 0];
    put_short(&mut method, queue);
    method.push(0);
    let mut out = method_frame(CHANNEL, (60, 40), &method);
    let mut header = vec![0, 60, 0, 0];
    header.extend((body.len() as u64).to_be_bytes());
    // Only the delivery mode is given, and it is 2: persistent.
    header.extend([0x10, 0, 2]);
    out.extend(frame(HEADER, CHANNEL, &header));
    let body_at = out.len() + 7;
    for piece in body.chunks(FRAME_BYTES_MAX as usize - 8) {
        out.extend(frame(BODY, CHANNEL, piece));
    }
    (out, body_at)
}

/// Acknowledges `tag`, or everything up to it.
pub fn ack(tag: u64, multiple: bool) -> [u8; 21] {
    let mut out = [0; 21];
    out[..7].copy_from_slice(&[METHOD, 0, CHANNEL as u8, 0, 0, 0, 13]);
    out[7..11].copy_from_slice(&[0, 60, 0, 80]);
    out[11..19].copy_from_slice(&tag.to_be_bytes());
    out[19] = u8::from(multiple);
    out[20] = FRAME_END;
    out
}

fn method_frame(channel: u16, (class, method): Method, arguments: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(4 + arguments.len());
    payload.extend(class.to_be_bytes());
    payload.extend(method.to_be_bytes());
    payload.extend(arguments);
    frame(METHOD, channel, &payload)
}

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend(channel.to_be_bytes());
    out.extend((payload.len() as u32).to_be_bytes());
    out.extend(payload);
    out.push(FRAME_END);
    out
}

fn put_short(out: &mut Vec<u8>, text: &str) {
    out.push(text.len() as u8);
    out.extend(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publish_is_three_frames_and_names_its_body() {
        let (frames, body_at) = publish("q", b"12345678rest");
        assert_eq!(&frames[body_at..body_at + 8], b"12345678");
        let (first, method) = front(&frames).unwrap().unwrap();
        assert_eq!(method.method(), Some((60, 40)));
        let (second, header) = front(&frames[first..]).unwrap().unwrap();
        assert_eq!((header.kind, header.payload.len()), (HEADER, 15));
        let (third, body) = front(&frames[first + second..]).unwrap().unwrap();
        assert_eq!((body.kind, body.payload), (BODY, &b"12345678rest"[..]));
        assert_eq!(first + second + third, frames.len());
    }

    #[test]
    fn an_ack_is_a_whole_frame() {
        let ack = ack(7, true);
        let (length, frame) = front(&ack).unwrap().unwrap();
        assert_eq!((length, frame.method()), (21, Some(ACK)));
        let mut fields = Fields::behind_method(&frame);
        assert_eq!((fields.u64(), fields.u8()), (Some(7), Some(1)));
    }

    #[test]
    fn what_is_not_amqp_is_refused_and_what_is_cut_short_waited_for() {
        assert!(front(b"HTTP/1.1 400 Bad Request").is_err());
        assert!(front(&[1, 0, 0, 255, 255, 255, 255]).is_err());
        assert!(front(&[1, 0, 0, 0, 0, 0, 1, 9]).unwrap().is_none());
        assert!(front(&[1, 0, 0, 0, 0, 0, 1, 9, 9]).is_err());
    }
}
