//! What a clock, a shared cache line and a wake-up cost between two cores.
//!
//! In: two cores. Out: nanoseconds. Never: two threads on one core where there are two.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ringmain_engine::io::{Op, Token, ring::Ring};
use rustix::event::{EventfdFlags, eventfd};
use serde_json::{Value, json};

use crate::cores::Cores;
use crate::failure::Failure;
use crate::histogram::Latencies;
use crate::raw::tcp::PingPong;

const READS: u32 = 1_000_000;

/// All costs.
pub struct Costs {
    pub clock_ns: f64,
    pub clock_source: String,
    /// There and back over one cache line, both cores spinning.
    pub line_ns: f64,
    /// There and back, each side asleep: over an eventfd, between two rings, over loopback TCP.
    pub eventfd: Latencies,
    pub ring: Latencies,
    pub tcp: Latencies,
}

impl Costs {
    pub fn measure(cores: Option<Cores>, time: Duration) -> Result<Costs, Failure> {
        let failed = |doing| move |source| Failure::Kernel { doing, source };
        let source = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
        let clock_source =
            std::fs::read_to_string(source).map_or_else(|_| "unknown".to_owned(), |s| s.trim().to_owned());
        let mut ping_pong = PingPong::start(cores)?;
        let mut tcp = Latencies::new();
        let begin = Instant::now();
        while begin.elapsed() < time {
            let before = Instant::now();
            ping_pong.round_trip()?;
            tcp.record(before.elapsed());
        }
        Ok(Costs {
            clock_ns: clock(),
            clock_source,
            line_ns: cache_line(cores, time),
            eventfd: over_eventfd(cores, time).map_err(failed("pass an eventfd between threads"))?,
            ring: over_rings(cores, time).map_err(failed("send messages between rings"))?,
            tcp,
        })
    }

    pub fn text(&self) -> String {
        let both = |latencies: &Latencies| {
            format!("{:.1} / {:.1}", latencies.percentile_us(50.0), latencies.percentile_us(99.0))
        };
        format!(
            "\nclock          {:.0} ns a reading ({})\n\
             cache line     {:.0} ns to another core and back, both spinning\n\
             wake-up        there and back, p50 / p99 us: eventfd {}, ring to ring {}, loopback TCP {}\n",
            self.clock_ns,
            self.clock_source,
            self.line_ns,
            both(&self.eventfd),
            both(&self.ring),
            both(&self.tcp),
        )
    }

    pub fn json(&self) -> Value {
        let of = |latencies: &Latencies| json!({ "p50_us": latencies.percentile_us(50.0), "p99_us": latencies.percentile_us(99.0) });
        json!({
            "clock_ns": self.clock_ns, "clock_source": self.clock_source, "cache_line_round_trip_ns": self.line_ns,
            "eventfd": of(&self.eventfd), "ring_to_ring": of(&self.ring), "loopback_tcp": of(&self.tcp),
        })
    }
}

fn clock() -> f64 {
    let begin = Instant::now();
    let mut last = begin;
    (0..READS).for_each(|_| last = std::hint::black_box(Instant::now()));
    (last - begin).as_nanos() as f64 / f64::from(READS)
}

/// The value is even when this side is to move; `u64::MAX` ends the game.
fn cache_line(cores: Option<Cores>, time: Duration) -> f64 {
    let line = Arc::new(AtomicU64::new(0));
    let other = line.clone();
    let answerer = std::thread::spawn(move || {
        cores.into_iter().for_each(|cores| cores.pin_answering());
        loop {
            match other.load(Ordering::Acquire) {
                u64::MAX => return,
                found if found % 2 == 1 => other.store(found + 1, Ordering::Release),
                _ => std::hint::spin_loop(),
            }
        }
    });
    let begin = Instant::now();
    let mut turns = 0u64;
    while begin.elapsed() < time {
        for _ in 0..16 {
            line.store(2 * turns + 1, Ordering::Release);
            turns += 1;
            while line.load(Ordering::Acquire) != 2 * turns {
                std::hint::spin_loop();
            }
        }
    }
    let elapsed = begin.elapsed();
    line.store(u64::MAX, Ordering::Release);
    let _ = answerer.join();
    elapsed.as_nanos() as f64 / turns.max(1) as f64
}

fn over_eventfd(cores: Option<Cores>, time: Duration) -> io::Result<Latencies> {
    let (there, back) =
        (Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?), Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?));
    let (asked, answers) = (there.clone(), back.clone());
    let answerer = std::thread::spawn(move || -> io::Result<()> {
        cores.into_iter().for_each(|cores| cores.pin_answering());
        let mut number = [0; 8];
        loop {
            rustix::io::read(&*asked, &mut number)?;
            if u64::from_ne_bytes(number) > 1 {
                return Ok(());
            }
            rustix::io::write(&*answers, &1u64.to_ne_bytes())?;
        }
    });
    let mut latencies = Latencies::new();
    let begin = Instant::now();
    let mut number = [0; 8];
    while begin.elapsed() < time {
        let before = Instant::now();
        rustix::io::write(&*there, &1u64.to_ne_bytes())?;
        rustix::io::read(&*back, &mut number)?;
        latencies.record(before.elapsed());
    }
    rustix::io::write(&*there, &2u64.to_ne_bytes())?;
    answerer.join().unwrap_or(Ok(()))?;
    Ok(latencies)
}

/// Two rings wake each other, as cores of the broker do.
fn over_rings(cores: Option<Cores>, time: Duration) -> io::Result<Latencies> {
    let mut own = Ring::new()?;
    let asking = own.descriptor();
    let (tell, told) = std::sync::mpsc::channel();
    let over = Arc::new(AtomicU64::new(0));
    let seen = over.clone();
    let answerer = std::thread::spawn(move || -> io::Result<()> {
        cores.into_iter().for_each(|cores| cores.pin_answering());
        let mut ring = Ring::new()?;
        let _ = tell.send(ring.descriptor());
        while seen.load(Ordering::Relaxed) == 0 {
            if wait_for_wake(&mut ring)? && seen.load(Ordering::Relaxed) == 0 {
                wake(&mut ring, asking)?;
            }
        }
        Ok(())
    });
    let Ok(other) = told.recv() else {
        return answerer.join().unwrap_or(Ok(())).map(|()| Latencies::new());
    };
    let mut latencies = Latencies::new();
    let begin = Instant::now();
    while begin.elapsed() < time {
        let before = Instant::now();
        wake(&mut own, other)?;
        while !wait_for_wake(&mut own)? {}
        latencies.record(before.elapsed());
    }
    over.store(1, Ordering::Relaxed);
    wake(&mut own, other)?;
    own.wait(Some(Duration::from_millis(1)), &mut Vec::new())?;
    answerer.join().unwrap_or(Ok(()))?;
    Ok(latencies)
}

fn wake(ring: &mut Ring, other: i32) -> io::Result<()> {
    let token = Token { space: 1, index: 0 };
    ring.submit(&mut vec![(token, Op::Wake { ring: other })])
}

/// Submits and waits; whether another ring's wake-up was among what came.
fn wait_for_wake(ring: &mut Ring) -> io::Result<bool> {
    let mut done = Vec::new();
    ring.wait(Some(Duration::from_secs(1)), &mut done)?;
    Ok(done.iter().any(|completion| matches!(completion.result, Ok(ringmain_engine::io::Done::Woken))))
}
