//! Sending and receiving over loopback: where zero copy begins to pay, and what receiving in one shot or many costs.
//!
//! In: loopback. Out: bytes and messages per second, processor time. Never: another address than loopback; what is
//! found here holds for loopback only, where the kernel copies what was sent without a copy when it is received.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use io_uring::types::{BufRingEntry, Fd};
use io_uring::{IoUring, cqueue, opcode};
use ringmain_engine::io::buffer;
use serde_json::{Value, json};

use crate::cores::Cores;
use crate::failure::Failure;
use crate::raw::device::thread_time;

const SIZES: [usize; 6] = [1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20];
const MESSAGE_BYTES: usize = 1024;
const BUFFERS: u16 = 256;
const BUFFER_BYTES: usize = 4096;
const GROUP: u16 = 7;

/// One size: bytes per second and processor time per MB of the sender, with a copy and without.
struct Sent {
    bytes: usize,
    copied: (f64, f64),
    zero_copy: Option<(f64, f64)>,
}

/// All of it.
pub struct Network {
    sent: Vec<Sent>,
    /// Messages of 1 KiB per second, and processor time of the receiver for each, in us.
    single: (f64, f64),
    multishot: Option<(f64, f64)>,
}

impl Network {
    pub fn measure(cores: Option<Cores>, time: Duration) -> Result<Network, Failure> {
        let failed = |source| Failure::Network { doing: "measure on", target: "loopback".to_owned(), source };
        let mut sent = Vec::new();
        for bytes in SIZES {
            let copied = send(bytes, false, cores, time).map_err(failed)?;
            // Kernels before 6.0 do not have it.
            let zero_copy = send(bytes, true, cores, time).ok();
            sent.push(Sent { bytes, copied, zero_copy });
        }
        let single = receive_single(cores, time).map_err(failed)?;
        let multishot = receive_multishot(cores, time).ok();
        Ok(Network { sent, single, multishot })
    }

    /// The smallest size from which on sending without a copy takes less processor time.
    pub fn break_even(&self) -> Option<usize> {
        let better = |sent: &Sent| sent.zero_copy.is_some_and(|(_, cpu)| cpu < sent.copied.1);
        let from = self.sent.iter().rposition(|sent| !better(sent)).map_or(0, |last| last + 1);
        self.sent.get(from).map(|sent| sent.bytes)
    }

    pub fn text(&self) -> String {
        let mut out = "\nloopback, one send at a time, until its memory is free again: MB/s (CPU us per MB of the sender)\n".to_owned();
        for Sent { bytes, copied, zero_copy } in &self.sent {
            let of = |(per_second, cpu): (f64, f64)| format!("{:.0} ({cpu:.0})", per_second / 1e6);
            let zero_copy = zero_copy.map_or("not allowed".to_owned(), of);
            out +=
                &format!("  {:>5} KiB   send {:>14}   zero copy {zero_copy:>14}\n", bytes >> 10, of(*copied));
        }
        out += &match self.break_even() {
            Some(bytes) => format!("  zero copy takes less processor time from {} KiB on\n", bytes >> 10),
            None => "  zero copy never takes less processor time here\n".to_owned(),
        };
        let of = |(per_second, cpu): (f64, f64)| format!("{per_second:.0}/s ({cpu:.2} us)");
        let multishot = self.multishot.map_or("not allowed".to_owned(), of);
        out + &format!(
            "  receiving 1 KiB messages: one at a time {}, multishot with provided buffers {multishot}\n",
            of(self.single)
        )
    }

    pub fn json(&self) -> Value {
        let sent: Vec<Value> = self
            .sent
            .iter()
            .map(|sent| {
                let of = |(per_second, cpu): (f64, f64)| json!({ "bytes_per_second": per_second, "cpu_us_per_mb": cpu });
                json!({ "bytes": sent.bytes, "send": of(sent.copied), "zero_copy": sent.zero_copy.map(of) })
            })
            .collect();
        let of = |(per_second, cpu): (f64, f64)| json!({ "messages_per_second": per_second, "cpu_us": cpu });
        json!({
            "sending": sent, "zero_copy_break_even_bytes": self.break_even(),
            "receive_single": of(self.single), "receive_multishot": self.multishot.map(of),
        })
    }
}

fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let one = TcpStream::connect(listener.local_addr()?)?;
    let (other, _) = listener.accept()?;
    one.set_nodelay(true)?;
    Ok((one, other))
}

fn ring() -> io::Result<IoUring> {
    IoUring::builder().setup_single_issuer().setup_defer_taskrun().build(16)
}

/// Sends pieces of `bytes`, one in flight, to a thread that reads them.
fn send(bytes: usize, zero_copy: bool, cores: Option<Cores>, time: Duration) -> io::Result<(f64, f64)> {
    let (sender, mut receiver) = pair()?;
    let reader = std::thread::spawn(move || {
        cores.into_iter().for_each(|cores| cores.pin_answering());
        let mut piece = vec![0; 1 << 20];
        while receiver.read(&mut piece).is_ok_and(|count| count > 0) {}
    });
    let mut ring = ring()?;
    let data = vec![0x5a; bytes];
    let (begin, spent) = (Instant::now(), thread_time());
    let (mut total, mut outcome) = (0u64, Ok(()));
    while begin.elapsed() < time && outcome.is_ok() {
        let fd = Fd(sender.as_raw_fd());
        let entry = if zero_copy {
            opcode::SendZc::new(fd, data.as_ptr(), bytes as u32).build()
        } else {
            opcode::Send::new(fd, data.as_ptr(), bytes as u32).build()
        };
        // SAFETY: `data` outlives the loop below, which ends when the kernel has let go of it.
        let pushed = unsafe { ring.submission().push(&entry) };
        assert!(pushed.is_ok(), "the ring has room for one send");
        let mut left = true;
        while left {
            ring.submit_and_wait(1).or_else(interrupted)?;
            for completion in ring.completion() {
                // A notification follows a send without a copy, and says that the memory is free again.
                left = cqueue::more(completion.flags());
                if completion.result() < 0 {
                    outcome = Err(io::Error::from_raw_os_error(-completion.result()));
                }
                if !cqueue::notif(completion.flags()) {
                    total += completion.result().max(0) as u64;
                }
            }
        }
    }
    let (elapsed, spent) = (begin.elapsed(), thread_time() - spent);
    drop(sender);
    let _ = reader.join();
    outcome?;
    Ok((total as f64 / elapsed.as_secs_f64(), spent.as_secs_f64() * 1e12 / total.max(1) as f64))
}

fn interrupted(error: io::Error) -> io::Result<usize> {
    if error.kind() == io::ErrorKind::Interrupted { Ok(0) } else { Err(error) }
}

/// A thread that sends messages for `time`, then closes.
fn sender(mut stream: TcpStream, cores: Option<Cores>, time: Duration) -> JoinHandle<()> {
    std::thread::spawn(move || {
        cores.into_iter().for_each(|cores| cores.pin_answering());
        let begin = Instant::now();
        while begin.elapsed() < time && stream.write_all(&[0x5a; MESSAGE_BYTES]).is_ok() {}
    })
}

fn receive_single(cores: Option<Cores>, time: Duration) -> io::Result<(f64, f64)> {
    let (receiver, other) = pair()?;
    let thread = sender(other, cores, time);
    let mut ring = ring()?;
    let mut data = vec![0; BUFFER_BYTES];
    let (begin, spent) = (Instant::now(), thread_time());
    let mut total = 0u64;
    loop {
        let entry =
            opcode::Recv::new(Fd(receiver.as_raw_fd()), data.as_mut_ptr(), BUFFER_BYTES as u32).build();
        // SAFETY: `data` outlives the operation, whose completion is waited for below.
        let pushed = unsafe { ring.submission().push(&entry) };
        assert!(pushed.is_ok(), "the ring has room for one receive");
        let result = loop {
            ring.submit_and_wait(1).or_else(interrupted)?;
            if let Some(completion) = ring.completion().next() {
                break completion.result();
            }
        };
        if result <= 0 {
            break;
        }
        total += result as u64;
    }
    let messages = total as f64 / MESSAGE_BYTES as f64;
    let rates =
        (messages / begin.elapsed().as_secs_f64(), (thread_time() - spent).as_secs_f64() * 1e6 / messages);
    let _ = thread.join();
    Ok(rates)
}

/// Buffers that the kernel picks from: a ring of entries, and the memory they point to.
struct Provided {
    entries: BytesMut,
    memory: BytesMut,
    tail: u16,
}

impl Provided {
    fn new() -> Provided {
        let entries_bytes = usize::from(BUFFERS) * size_of::<BufRingEntry>();
        let (mut entries, mut memory) =
            (buffer::aligned(entries_bytes), buffer::aligned(usize::from(BUFFERS) * BUFFER_BYTES));
        entries.resize(entries_bytes, 0);
        memory.resize(usize::from(BUFFERS) * BUFFER_BYTES, 0);
        Provided { entries, memory, tail: 0 }
    }

    fn give(&mut self, number: u16) {
        let memory = self.memory[usize::from(number) * BUFFER_BYTES..].as_mut_ptr();
        let entries = self.entries.as_mut_ptr().cast::<BufRingEntry>();
        // SAFETY: the place is below BUFFERS, which is how many entries there are.
        let place = unsafe { entries.add(usize::from(self.tail % BUFFERS)) };
        // SAFETY: the entry is ours until the tail is moved behind it.
        let entry = unsafe { &mut *place };
        entry.set_addr(memory as u64);
        entry.set_len(BUFFER_BYTES as u32);
        entry.set_bid(number);
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&mut self) {
        let entries = self.entries.as_mut_ptr().cast::<BufRingEntry>().cast_const();
        // SAFETY: the tail lies in the first entry, which is there.
        let tail = unsafe { BufRingEntry::tail(entries) };
        // SAFETY: the kernel reads it while we write, which an atomic allows.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }
}

fn receive_multishot(cores: Option<Cores>, time: Duration) -> io::Result<(f64, f64)> {
    let (receiver, other) = pair()?;
    let mut provided = Provided::new();
    let mut ring = ring()?;
    let address = provided.entries.as_ptr() as u64;
    // SAFETY: the entries outlive the ring, which is dropped before them.
    unsafe { ring.submitter().register_buf_ring_with_flags(address, BUFFERS, GROUP, 0) }?;
    (0..BUFFERS).for_each(|number| provided.give(number));
    provided.publish();
    let thread = sender(other, cores, time);
    let (begin, spent) = (Instant::now(), thread_time());
    let (mut total, mut armed, mut over) = (0u64, false, Ok(false));
    while matches!(over, Ok(false)) {
        if !armed {
            let entry = opcode::RecvMulti::new(Fd(receiver.as_raw_fd()), GROUP).build();
            // SAFETY: the kernel writes only into provided buffers, which outlive the ring.
            let pushed = unsafe { ring.submission().push(&entry) };
            assert!(pushed.is_ok(), "the ring has room for one receive");
            armed = true;
        }
        ring.submit_and_wait(1).or_else(interrupted)?;
        for completion in ring.completion() {
            armed = cqueue::more(completion.flags());
            match completion.result() {
                0 => over = Ok(true),
                // All buffers are taken: what was given back meanwhile is used when it is armed again.
                error if error == -libc::ENOBUFS => {}
                error if error < 0 => over = Err(io::Error::from_raw_os_error(-error)),
                count => total += count as u64,
            }
            cqueue::buffer_select(completion.flags()).into_iter().for_each(|number| provided.give(number));
        }
        provided.publish();
    }
    let messages = total as f64 / MESSAGE_BYTES as f64;
    let rates =
        (messages / begin.elapsed().as_secs_f64(), (thread_time() - spent).as_secs_f64() * 1e6 / messages);
    drop(ring);
    drop(receiver);
    let _ = thread.join();
    over?;
    Ok(rates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_sending_and_receiving_work_here() {
        let network = Network::measure(None, Duration::from_millis(5)).unwrap();
        assert!(network.sent.iter().all(|sent| sent.copied.0 > 0.0));
        assert!(network.single.0 > 0.0);
        assert!(network.text().contains("multishot"));
    }

    #[test]
    fn the_break_even_is_where_it_stays_better() {
        let sent = |bytes, copied, zero| Sent { bytes, copied: (1.0, copied), zero_copy: Some((1.0, zero)) };
        let network = |sent| Network { sent, single: (0.0, 0.0), multishot: None };
        let mixed = network(vec![sent(1, 5.0, 4.0), sent(2, 4.0, 5.0), sent(3, 5.0, 4.0)]);
        assert_eq!(mixed.break_even(), Some(3));
        assert_eq!(network(vec![sent(1, 4.0, 5.0)]).break_even(), None);
    }
}
