//! A round trip on loopback between two threads that do nothing else: the floor under every answer.
//!
//! In: nothing. Out: answers of the size a broker gives to a produce. Never: another address than loopback.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread::JoinHandle;

use crate::cores::Cores;
use crate::failure::Failure;

/// A request as large as one record.
pub const REQUEST_BYTES: usize = 1024;
/// An answer as large as that to a produce of one partition.
pub const ANSWER_BYTES: usize = 60;

/// A connection to a thread that answers each request at once.
pub struct PingPong {
    stream: Option<TcpStream>,
    answerer: Option<JoinHandle<()>>,
}

impl PingPong {
    /// Starts the answering thread on its core and connects to it.
    pub fn start(cores: Option<Cores>) -> Result<PingPong, Failure> {
        let started = || -> io::Result<PingPong> {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let stream = TcpStream::connect(listener.local_addr()?)?;
            let (peer, _) = listener.accept()?;
            stream.set_nodelay(true)?;
            peer.set_nodelay(true)?;
            let answerer = std::thread::Builder::new().name("ping-pong".to_owned()).spawn(move || {
                if let Some(cores) = cores {
                    cores.pin_answering();
                }
                answer(peer);
            })?;
            Ok(PingPong { stream: Some(stream), answerer: Some(answerer) })
        };
        started().map_err(Failure::network("start a round trip on", "loopback"))
    }

    /// One request there, one answer back.
    pub fn round_trip(&mut self) -> Result<(), Failure> {
        let Some(stream) = &mut self.stream else { unreachable!("connected until dropped") };
        let mut answer = [0; ANSWER_BYTES];
        stream
            .write_all(&[0x5a; REQUEST_BYTES])
            .and_then(|()| stream.read_exact(&mut answer))
            .map_err(Failure::network("make a round trip on", "loopback"))
    }
}

impl Drop for PingPong {
    fn drop(&mut self) {
        // Closing the connection is what ends the thread.
        self.stream = None;
        if let Some(answerer) = self.answerer.take() {
            let _ = answerer.join();
        }
    }
}

fn answer(mut peer: TcpStream) {
    let mut request = [0; REQUEST_BYTES];
    while peer.read_exact(&mut request).is_ok() && peer.write_all(&[0xa5; ANSWER_BYTES]).is_ok() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_until_dropped() {
        let mut connection = PingPong::start(None).unwrap();
        (0..3).for_each(|_| connection.round_trip().unwrap());
    }
}
