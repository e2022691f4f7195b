//! Plain sending over loopback: what no consumer can exceed.
//!
//! In: the size of a piece. Out: bytes per second. Never: looks at what it receives.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::targets::setting::Setting;

/// Received at a time, as the load generator does.
const READ_BYTES: usize = 256 << 10;

/// Sends pieces from the servers' core to the client's for `time`.
pub fn send(setting: &Setting<'_>, piece_bytes: usize, time: Duration) -> Result<f64, Failure> {
    let cores = setting.cores;
    let connected = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| {
        let receiver = TcpStream::connect(listener.local_addr()?)?;
        let (sender, _) = listener.accept()?;
        sender.set_nodelay(true)?;
        Ok((receiver, sender))
    });
    let (mut receiver, mut sender) = connected.map_err(Failure::network("connect on", "loopback"))?;
    let thread = std::thread::spawn(move || {
        cores.into_iter().for_each(|cores| cores.pin_answering());
        let piece = vec![0x5a; piece_bytes];
        // It ends when the receiver has gone.
        while sender.write_all(&piece).is_ok() {}
    });
    let mut input = vec![0; READ_BYTES];
    let (begin, mut bytes) = (Instant::now(), 0);
    let mut outcome = Ok(());
    while begin.elapsed() < time && outcome.is_ok() {
        match receiver.read(&mut input) {
            Ok(count) => bytes += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => outcome = Err(Failure::network("read from", "loopback")(error)),
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    drop(receiver);
    let _ = thread.join();
    outcome.map(|()| bytes as f64 / seconds)
}
