//! As much of the NATS protocol as a benchmark needs: a JetStream stream on files, publishes with acknowledgements,
//! a push consumer.
//!
//! In: `HOST:PORT`, names, payloads. Out: connections ready for load, lines. Never: believes a length before it was
//! checked; leaves a stream behind that it made.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::kafka::{connect, now_ms};
use crate::failure::Failure;

const PATIENCE: Duration = Duration::from_secs(10);
/// The server's own default limit.
const PAYLOAD_BYTES_MAX: usize = 1 << 20;
const LINE_BYTES_MAX: usize = 32 << 10;
/// Digits of a request's number in its reply subject.
const DIGITS: usize = 12;
/// A server ends connections that do not answer its pings.
pub const PONG: &str = "PONG\r\n";

/// One message or line of the server.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// `MSG`, `PING`, `-ERR` and so on.
    pub verb: &'a str,
    pub subject: &'a str,
    pub reply: &'a str,
    pub payload: &'a [u8],
}

/// The message at the front of `input` and its length, once it is there as a whole.
pub fn front(input: &[u8]) -> Result<Option<(usize, Message<'_>)>, Failure> {
    let foreign = || Failure::Broker("the peer does not speak the NATS protocol".to_owned());
    let Some(end) = input.windows(2).take(LINE_BYTES_MAX).position(|pair| pair == b"\r\n") else {
        return if input.len() > LINE_BYTES_MAX { Err(foreign()) } else { Ok(None) };
    };
    let Some(line) = input.get(..end).and_then(|line| std::str::from_utf8(line).ok()) else {
        return Err(foreign());
    };
    let mut words = line.split(' ').filter(|word| !word.is_empty());
    let verb = words.next().unwrap_or_default();
    if verb != "MSG" {
        let known = ["INFO", "PING", "PONG", "+OK", "-ERR"];
        let message = Message { verb, subject: line, reply: "", payload: b"" };
        return if known.contains(&verb) { Ok(Some((end + 2, message))) } else { Err(foreign()) };
    }
    let words: Vec<&str> = words.collect();
    let (subject, reply, length) = match words[..] {
        [subject, _, length] => (subject, "", length),
        [subject, _, reply, length] => (subject, reply, length),
        _ => return Err(foreign()),
    };
    let length: usize =
        length.parse().ok().filter(|length| *length <= PAYLOAD_BYTES_MAX).ok_or_else(foreign)?;
    let payload = input.get(end + 2..end + 2 + length);
    match (payload, input.get(end + 2 + length + 1)) {
        (Some(payload), Some(_)) => Ok(Some((end + length + 4, Message { verb, subject, reply, payload }))),
        _ => Ok(None),
    }
}

/// A connection with an inbox of its own.
pub struct Connection {
    stream: TcpStream,
    target: String,
    inbox: String,
    received: Vec<u8>,
}

impl Connection {
    /// Connects and subscribes to the inbox.
    pub fn open(target: &str, name: &str) -> Result<Connection, Failure> {
        let addresses = target.to_socket_addrs().map_err(Failure::network("find the address of", target))?;
        let stream = connect(addresses).map_err(Failure::network("connect to", target))?;
        stream
            .set_nodelay(true)
            .and_then(|()| stream.set_read_timeout(Some(PATIENCE)))
            .and_then(|()| stream.set_write_timeout(Some(PATIENCE)))
            .map_err(Failure::network("set up the connection to", target))?;
        let inbox = format!("_INBOX.{name}");
        let mut connection = Connection { stream, target: target.to_owned(), inbox, received: Vec::new() };
        let hello = format!(
            "CONNECT {{\"verbose\":false,\"pedantic\":false,\"name\":\"ringmain-bench\"}}\r\nSUB {}.> 1\r\nPING\r\n",
            connection.inbox
        );
        connection.send(hello.as_bytes())?;
        connection.wait(|message| message.verb == "PONG")?;
        Ok(connection)
    }

    /// Calls the JetStream API and waits for its answer.
    pub fn call(&mut self, subject: &str, body: &str) -> Result<(), Failure> {
        let reply = format!("{}.api", self.inbox);
        let request = format!("PUB $JS.API.{subject} {reply} {}\r\n{body}\r\n", body.len());
        self.send(request.as_bytes())?;
        let mut outcome = String::new();
        self.wait(|message| {
            let answer = message.verb == "MSG" && message.subject == reply;
            if answer {
                outcome = String::from_utf8_lossy(message.payload).into_owned();
            }
            answer
        })?;
        if outcome.contains("\"error\"") {
            return Err(Failure::Broker(format!("JetStream refused {subject}: {outcome}")));
        }
        Ok(())
    }

    /// A subject for the deliveries of a consumer, outside the inbox: the server delivers only where somebody
    /// subscribed to the very subject, not to a pattern above it.
    pub fn deliver_here(&mut self) -> Result<String, Failure> {
        let subject = format!("{}-deliveries", self.inbox);
        self.send(format!("SUB {subject} 2\r\n").as_bytes())?;
        Ok(subject)
    }

    /// A subject below this connection's inbox.
    pub fn inbox(&self) -> &str {
        &self.inbox
    }

    /// The connection itself and what was received on it and not taken.
    pub fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.received)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.stream.write_all(bytes).map_err(Failure::network("send to", &self.target))
    }

    /// Waits for a message and takes it; what came before it stays, because deliveries of a new consumer may
    /// overtake the answer to its making.
    fn wait(&mut self, mut wanted: impl FnMut(&Message<'_>) -> bool) -> Result<(), Failure> {
        let mut seen = 0;
        loop {
            let rest = self.received.get(seen..).unwrap_or_default();
            if let Some((length, message)) = front(rest)? {
                if message.verb == "-ERR" {
                    return Err(Failure::Broker(format!("the server says {}", message.subject)));
                }
                if wanted(&message) {
                    self.received.drain(seen..seen + length);
                    return Ok(());
                }
                seen += length;
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

/// Streams on files that exist as long as this value does.
pub struct Streams {
    connection: Connection,
    names: Vec<String>,
}

impl Streams {
    /// Makes `count` streams, each with one subject of its own name.
    pub fn create(target: &str, count: u64) -> Result<Streams, Failure> {
        let stem = format!("ringmain-bench-{}-{}", std::process::id(), now_ms());
        let connection = Connection::open(target, &stem)?;
        let mut streams = Streams { connection, names: Vec::new() };
        for number in 0..count {
            let name = format!("{stem}-{number}");
            let config = format!(
                "{{\"name\":\"{name}\",\"subjects\":[\"{name}\"],\"storage\":\"file\",\"retention\":\"limits\",\
                 \"max_consumers\":-1,\"max_msgs\":-1,\"max_bytes\":-1,\"num_replicas\":1}}"
            );
            streams.connection.call(&format!("STREAM.CREATE.{name}"), &config)?;
            streams.names.push(name);
        }
        Ok(streams)
    }

    /// The name of stream `number`, counted round.
    pub fn name(&self, number: u64) -> &str {
        let place = number % self.names.len().max(1) as u64;
        self.names.get(place as usize).map_or("", String::as_str)
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        for name in &self.names {
            if let Err(failure) = self.connection.call(&format!("STREAM.DELETE.{name}"), "") {
                eprintln!("ringmain-bench: stream {name} is left behind: {failure}");
            }
        }
    }
}

/// A publish whose acknowledgement names the request's number, and the place of that number in it.
pub fn publish(stream: &str, inbox: &str, body: &[u8]) -> (Vec<u8>, usize) {
    let front = format!("PUB {stream} {inbox}.");
    let mut out = front.clone().into_bytes();
    out.extend([b'0'; DIGITS]);
    out.extend(format!(" {}\r\n", body.len()).bytes());
    out.extend(body);
    out.extend(b"\r\n");
    (out, front.len())
}

/// Writes a number at the place that [`publish`] named.
pub fn patch(frame: &mut [u8], at: usize, mut number: u64) {
    for digit in frame.iter_mut().skip(at).take(DIGITS).rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// The number in the subject of an acknowledgement.
pub fn number_of(subject: &str) -> Option<u64> {
    subject.rsplit('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_taken_whole() {
        let input = b"MSG a.b 1 reply.to 3\r\nxyz\r\nPING\r\n";
        let (length, message) = front(input).unwrap().unwrap();
        assert_eq!((message.subject, message.reply, message.payload), ("a.b", "reply.to", &b"xyz"[..]));
        assert_eq!(front(&input[length..]).unwrap().unwrap().1.verb, "PING");
        (1..length).for_each(|cut| assert!(front(&input[..cut]).unwrap().is_none(), "{cut}"));
        assert!(front(b"HTTP/1.1 400 Bad Request\r\n").is_err());
        assert!(front(b"MSG a 1 999999999\r\n").is_err());
    }

    #[test]
    fn a_number_goes_there_and_back() {
        let (mut frame, at) = publish("s", "_INBOX.x", b"body");
        patch(&mut frame, at, 1_234);
        let text = String::from_utf8(frame).unwrap();
        let reply = text.split(' ').nth(2).unwrap();
        assert_eq!(number_of(reply), Some(1_234));
    }
}
