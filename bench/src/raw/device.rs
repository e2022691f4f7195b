//! Reads and writes of one file at a depth, through one io_uring: what a device gives for a block size and a queue.
//!
//! In: an open file of known length, what to do to it, for how long. Out: operations per second and latencies of each
//! stream. Never: buffered I/O; an operation that the file does not hold.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use super::file;
use crate::failure::Failure;
use crate::histogram::Latencies;
use crate::interrupt::Interrupt;
use bytes::BytesMut;
use io_uring::squeue::Entry;
use io_uring::{IoUring, opcode, types};

/// Completions looked at between two looks at the signal flag.
const CHECK_EVERY: u64 = 64;

/// One kind of operation, kept at a depth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stream {
    pub write: bool,
    pub random: bool,
    pub block_bytes: usize,
    pub depth: usize,
    /// Writes only: on the device when they complete.
    pub durable: bool,
}

/// How the ring is set up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Setup {
    pub issue: Issue,
    pub registered_file: bool,
    pub registered_buffers: bool,
}

/// Who takes entries to the kernel and completions back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Issue {
    Default,
    CoopTaskrun,
    DeferTaskrun,
    /// A thread of the kernel's that polls.
    KernelThread,
}

impl Setup {
    /// What this broker uses, and fio with `registerfiles` and `fixedbufs`.
    pub const BEST: Setup =
        Setup { issue: Issue::DeferTaskrun, registered_file: true, registered_buffers: true };
}

/// What one stream came to.
pub struct Figures {
    pub latencies: Latencies,
    pub per_second: f64,
    pub bytes_per_second: f64,
}

impl Figures {
    /// Operations per second, p50 and p99.
    pub fn json(&self) -> serde_json::Value {
        let (p50, p99) = (self.latencies.percentile_us(50.0), self.latencies.percentile_us(99.0));
        serde_json::json!({
            "per_second": self.per_second, "bytes_per_second": self.bytes_per_second,
            "p50_us": p50, "p99_us": p99, "max_us": self.latencies.max_us(),
        })
    }
}

/// One place for an operation: its memory and when it began.
struct Slot {
    stream: usize,
    memory_at: usize,
    began: Instant,
}

/// A file and the ring that works on it.
pub struct Device<'a> {
    // Declared first, so that it is dropped before the memory its operations point to.
    ring: IoUring,
    file: &'a File,
    file_bytes: u64,
    memory: BytesMut,
    setup: Setup,
    streams: Vec<Stream>,
    slots: Vec<Slot>,
    /// Where each stream goes on.
    positions: Vec<u64>,
    random: u64,
}

impl<'a> Device<'a> {
    /// Sets up everything that `streams` need. Each block size divides `file_bytes`.
    pub fn open(file: &'a File, file_bytes: u64, streams: &[Stream], setup: Setup) -> io::Result<Device<'a>> {
        let mut builder = IoUring::builder();
        match setup.issue {
            Issue::Default => {}
            Issue::CoopTaskrun => drop(builder.setup_single_issuer().setup_coop_taskrun()),
            Issue::DeferTaskrun => drop(builder.setup_single_issuer().setup_defer_taskrun()),
            Issue::KernelThread => drop(builder.setup_single_issuer().setup_sqpoll(1000)),
        }
        let ring = builder.build(256)?;
        let (mut slots, mut memory_bytes) = (Vec::new(), 0);
        for (number, stream) in streams.iter().enumerate() {
            for _ in 0..stream.depth {
                slots.push(Slot { stream: number, memory_at: memory_bytes, began: Instant::now() });
                memory_bytes += stream.block_bytes;
            }
        }
        assert!(slots.len() <= 256, "the ring has room for every operation");
        let mut memory = file::noise(memory_bytes);
        if setup.registered_file {
            ring.submitter().register_files(&[file.as_raw_fd()])?;
        }
        if setup.registered_buffers {
            let all = libc::iovec { iov_base: memory.as_mut_ptr().cast(), iov_len: memory_bytes };
            // SAFETY: the memory is freed after the ring, and nothing reads it meanwhile.
            unsafe { ring.submitter().register_buffers(&[all]) }?;
        }
        let positions = vec![0; streams.len()];
        let random = 0x9e37_79b9_7f4a_7c15;
        Ok(Device {
            ring,
            file,
            file_bytes,
            memory,
            setup,
            streams: streams.to_vec(),
            slots,
            positions,
            random,
        })
    }

    /// Keeps every stream at its depth for `time`.
    pub fn measure(&mut self, time: Duration, interrupt: &Interrupt) -> Result<Vec<Figures>, Failure> {
        let failed = |source| Failure::Kernel { doing: "read or write the file being measured", source };
        let mut latencies: Vec<Latencies> = self.streams.iter().map(|_| Latencies::new()).collect();
        let begin = Instant::now();
        for slot in 0..self.slots.len() {
            self.begin(slot);
        }
        let mut in_flight = self.slots.len();
        let (mut count, mut over, mut outcome) = (0u64, false, Ok(()));
        let mut done: Vec<(u64, i32)> = Vec::with_capacity(in_flight);
        while in_flight > 0 {
            self.wait();
            done.extend(self.ring.completion().map(|entry| (entry.user_data(), entry.result())));
            let now = Instant::now();
            for (slot, result) in done.drain(..) {
                in_flight -= 1;
                count += 1;
                let slot = slot as usize;
                let Slot { stream, began, .. } = self.slots[slot];
                if outcome.is_ok() {
                    outcome = judge(result, self.streams[stream].block_bytes).map_err(failed);
                }
                latencies[stream].record(now - began);
                if !over && outcome.is_ok() {
                    self.begin(slot);
                    in_flight += 1;
                }
            }
            over |= now - begin >= time || (count.is_multiple_of(CHECK_EVERY) && interrupt.check().is_err());
        }
        outcome?;
        interrupt.check()?;
        let seconds = begin.elapsed().as_secs_f64();
        let figures = latencies.into_iter().zip(&self.streams).map(|(latencies, stream)| {
            let per_second = latencies.count() as f64 / seconds;
            Figures { latencies, per_second, bytes_per_second: per_second * stream.block_bytes as f64 }
        });
        Ok(figures.collect())
    }

    /// Alone, asking and waiting are one call. With several in flight they are two: what completes during the first
    /// is taken together with what the second waits for, so there are fewer turns, and the device is what limits.
    fn wait(&mut self) {
        let submitted = if self.slots.len() > 1 { self.ring.submit() } else { Ok(0) };
        match submitted.and_then(|_| self.ring.submit_and_wait(1)) {
            Ok(_) => {}
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINTR | libc::EBUSY | libc::EAGAIN)) => {}
            // The kernel still has our memory, so there is no way on.
            Err(error) => panic!("cannot wait for the ring: {error}"),
        }
    }

    fn begin(&mut self, slot: usize) {
        let Slot { stream: number, memory_at, .. } = self.slots[slot];
        let stream = self.streams[number];
        let position = self.next_position(number);
        let memory = self.memory[memory_at..memory_at + stream.block_bytes].as_mut_ptr();
        let entry = self.entry(stream, memory, position).user_data(slot as u64);
        self.slots[slot].began = Instant::now();
        // SAFETY: the memory belongs to the slot, which is used again only after the completion, and `measure` does
        // not return before every slot is back.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        assert!(pushed.is_ok(), "the ring has room for every slot");
    }

    fn entry(&self, stream: Stream, memory: *mut u8, position: u64) -> Entry {
        let length = stream.block_bytes as u32;
        let flags = if stream.durable { libc::RWF_DSYNC } else { 0 };
        macro_rules! on {
            ($fd:expr) => {
                match (stream.write, self.setup.registered_buffers) {
                    (true, true) => opcode::WriteFixed::new($fd, memory, length, 0)
                        .offset(position)
                        .rw_flags(flags)
                        .build(),
                    (true, false) => {
                        opcode::Write::new($fd, memory, length).offset(position).rw_flags(flags).build()
                    }
                    (false, true) => opcode::ReadFixed::new($fd, memory, length, 0).offset(position).build(),
                    (false, false) => opcode::Read::new($fd, memory, length).offset(position).build(),
                }
            };
        }
        if self.setup.registered_file { on!(types::Fixed(0)) } else { on!(types::Fd(self.file.as_raw_fd())) }
    }

    fn next_position(&mut self, number: usize) -> u64 {
        let stream = self.streams[number];
        let blocks = self.file_bytes / stream.block_bytes as u64;
        if stream.random {
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            return self.random % blocks * stream.block_bytes as u64;
        }
        let position = self.positions[number];
        self.positions[number] =
            (position + stream.block_bytes as u64) % (blocks * stream.block_bytes as u64);
        position
    }
}

fn judge(result: i32, block_bytes: usize) -> io::Result<()> {
    match result {
        found if found < 0 => Err(io::Error::from_raw_os_error(-found)),
        found if found as usize == block_bytes => Ok(()),
        _ => Err(io::Error::from_raw_os_error(libc::EIO)),
    }
}

/// Processor time of the calling thread so far.
pub fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel fills the one struct it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setup_reads_and_writes() {
        let interrupt = Interrupt::listen().unwrap();
        let file = file::written(&std::env::temp_dir(), 1 << 20, &interrupt).unwrap();
        let read = Stream { write: false, random: true, block_bytes: 4096, depth: 4, durable: false };
        let write = Stream { write: true, random: false, block_bytes: 8192, depth: 2, durable: true };
        for issue in [Issue::Default, Issue::CoopTaskrun, Issue::DeferTaskrun, Issue::KernelThread] {
            for registered in [false, true] {
                let setup = Setup { issue, registered_file: registered, registered_buffers: registered };
                let mut device = Device::open(&file, 1 << 20, &[read, write], setup).unwrap();
                let figures = device.measure(Duration::from_millis(5), &interrupt).unwrap();
                assert!(figures.iter().all(|figures| figures.latencies.count() >= 2), "{setup:?}");
            }
        }
    }

    #[test]
    fn a_read_beyond_the_file_is_an_error() {
        let interrupt = Interrupt::listen().unwrap();
        let file = file::written(&std::env::temp_dir(), 1 << 20, &interrupt).unwrap();
        let read = Stream { write: false, random: false, block_bytes: 1 << 20, depth: 2, durable: false };
        let mut device = Device::open(&file, 2 << 20, &[read], Setup::BEST).unwrap();
        assert!(device.measure(Duration::from_secs(5), &interrupt).is_err());
    }
}
