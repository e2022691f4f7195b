//! The same append and the same echo in three ways to run them: a ring of one's own, tokio-uring, tokio on epoll.
//!
//! In: a file opened so that each write is durable, loopback. Out: operations per second and processor time per
//! operation. Never: different work for one of them.
//!
//! Append: 4 KiB, direct and durable (`O_DSYNC`), one after the other and eight at a time. Echo: 1 KiB there and back
//! on one connection; the asking side is the same blocking thread for all.

use std::fs::File;
use std::future::Future;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use ringmain_engine::io::ring::Ring;
use ringmain_engine::io::{Descriptor, Done, Op, Token, buffer};
use serde_json::{Value, json};

use crate::cores::Cores;
use crate::failure::Failure;
use crate::raw::file;

const BLOCK_BYTES: usize = 4096;
const ECHO_BYTES: usize = 1024;
const FILE_BYTES: u64 = 16 << 20;
const DEPTHS: [usize; 2] = [1, 8];

/// Operations per second and processor time of the whole process for each, in us.
type Rate = (f64, f64);

/// What one way came to.
struct Row {
    name: &'static str,
    appends: [Rate; 2],
    echoes: Rate,
}

/// All three.
pub struct Runtimes(Vec<Row>);

impl Runtimes {
    pub fn measure(
        dir: &std::path::Path,
        cores: Option<Cores>,
        time: Duration,
        interrupt: &crate::interrupt::Interrupt,
    ) -> Result<Runtimes, Failure> {
        let file = file::written(dir, FILE_BYTES, interrupt)?;
        let file = file::durable_handle(&file).map_err(Failure::disk("open again a file in", dir))?;
        let failed = |name: &'static str| move |source| Failure::Kernel { doing: name, source };
        let work = Work { file: Arc::new(file), cores, time };
        let mut rows = Vec::new();
        for (name, run) in [
            ("io_uring, own loop", own_loop as fn(&Work) -> io::Result<(Vec<Rate>, Rate)>),
            ("tokio-uring", tokio_uring),
            ("tokio, epoll and threads", tokio_epoll),
        ] {
            interrupt.check()?;
            let (appends, echoes) = run(&work).map_err(failed("run the comparison of runtimes"))?;
            let appends =
                [appends.first().copied().unwrap_or_default(), appends.get(1).copied().unwrap_or_default()];
            rows.push(Row { name, appends, echoes });
        }
        Ok(Runtimes(rows))
    }

    pub fn text(&self) -> String {
        let mut out = format!(
            "\nruntimes                     {:>22}{:>22}{:>22}\n",
            "append, depth 1", "append, depth 8", "echo 1 KiB"
        );
        for row in &self.0 {
            let of = |(per_second, cpu_us): Rate| format!("{per_second:.0}/s ({cpu_us:.1} us)");
            let [one, eight] = row.appends;
            out += &format!("  {:<27}{:>22}{:>22}{:>22}\n", row.name, of(one), of(eight), of(row.echoes));
        }
        out + "  (in brackets: processor time of the process for each, the asking side of the echo included)\n"
    }

    pub fn json(&self) -> Value {
        let of = |(per_second, cpu_us): Rate| json!({ "per_second": per_second, "cpu_us": cpu_us });
        let rows = self.0.iter().map(|row| {
            json!({
                "runtime": row.name, "append_depth_1": of(row.appends[0]), "append_depth_8": of(row.appends[1]),
                "echo": of(row.echoes),
            })
        });
        rows.collect()
    }
}

struct Work {
    file: Arc<File>,
    cores: Option<Cores>,
    time: Duration,
}

/// Measures what `run` counts.
struct Meter {
    begin: Instant,
    spent: Duration,
}

impl Meter {
    fn begin() -> Meter {
        Meter { begin: Instant::now(), spent: process_time() }
    }

    fn rate(&self, count: u64) -> Rate {
        let spent = process_time() - self.spent;
        let count = count.max(1) as f64;
        (count / self.begin.elapsed().as_secs_f64(), spent.as_secs_f64() * 1e6 / count)
    }
}

fn process_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

fn block() -> BytesMut {
    let mut block = buffer::aligned(BLOCK_BYTES);
    block.resize(BLOCK_BYTES, 0x5a);
    block
}

fn position(number: u64) -> u64 {
    number * BLOCK_BYTES as u64 % FILE_BYTES
}

/// The asking side of the echo, on a thread of its own until the time is over: how many came back.
fn asker(
    &Work { cores, time, .. }: &Work,
) -> io::Result<(TcpStream, std::thread::JoinHandle<io::Result<u64>>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut asking = TcpStream::connect(listener.local_addr()?)?;
    let (answering, _) = listener.accept()?;
    asking.set_nodelay(true)?;
    answering.set_nodelay(true)?;
    let thread = std::thread::spawn(move || {
        cores.into_iter().for_each(|cores| cores.pin_answering());
        let (mut count, begin, mut piece) = (0, Instant::now(), [0; ECHO_BYTES]);
        while begin.elapsed() < time {
            asking.write_all(&piece)?;
            asking.read_exact(&mut piece)?;
            count += 1;
        }
        Ok(count)
    });
    Ok((answering, thread))
}

fn joined(thread: std::thread::JoinHandle<io::Result<u64>>) -> io::Result<u64> {
    thread.join().unwrap_or_else(|_| Err(io::Error::other("the asking thread has panicked")))
}

// -- a loop of one's own ------------------------------------------------------------------------------------

fn own_loop(work: &Work) -> io::Result<(Vec<Rate>, Rate)> {
    let mut ring = Ring::new()?;
    let file = Descriptor::new(work.file.try_clone()?.into());
    let data = block().freeze();
    let mut appends = Vec::new();
    for depth in DEPTHS {
        let meter = Meter::begin();
        let (mut begun, mut count, mut wanted, mut done) = (0, 0, Vec::new(), Vec::new());
        loop {
            let more = meter.begin.elapsed() < work.time;
            while more && begun < count + depth as u64 {
                let op = Op::Write {
                    file: file.clone(),
                    position: position(begun),
                    data: data.clone(),
                    durable: false,
                };
                wanted.push((Token { space: 1, index: begun }, op));
                begun += 1;
            }
            if begun == count {
                break;
            }
            ring.submit(&mut wanted)?;
            ring.wait(None, &mut done)?;
            for completion in done.drain(..) {
                completion.result.map_err(|fault| io::Error::from_raw_os_error(fault.errno))?;
                count += 1;
            }
        }
        appends.push(meter.rate(count));
    }
    let meter = Meter::begin();
    let (stream, thread) = asker(work)?;
    let socket = Descriptor::new(stream.into());
    let receive = |buffer| (Token { space: 1, index: 0 }, Op::Receive { socket: socket.clone(), buffer });
    let (mut wanted, mut done) = (vec![receive(BytesMut::with_capacity(ECHO_BYTES))], Vec::new());
    'connection: loop {
        ring.submit(&mut wanted)?;
        ring.wait(None, &mut done)?;
        for completion in done.drain(..) {
            match completion.result.map_err(|fault| io::Error::from_raw_os_error(fault.errno))? {
                Done::Received(buffer) if buffer.is_empty() => break 'connection,
                Done::Received(buffer) => {
                    let op = Op::Send { socket: socket.clone(), data: vec![buffer.freeze()] };
                    wanted.push((Token { space: 1, index: 1 }, op));
                    wanted.push(receive(BytesMut::with_capacity(ECHO_BYTES)));
                }
                _ => {}
            }
        }
    }
    Ok((appends, meter.rate(joined(thread)?)))
}

// -- tokio-uring --------------------------------------------------------------------------------------------

fn tokio_uring(work: &Work) -> io::Result<(Vec<Rate>, Rate)> {
    tokio_uring::start(async {
        let file = Rc::new(tokio_uring::fs::File::from_std(work.file.try_clone()?));
        let mut appends = Vec::new();
        for depth in DEPTHS {
            let meter = Meter::begin();
            let time = work.time;
            let writers: Vec<_> = (0..depth as u64)
                .map(|lane| {
                    let file = file.clone();
                    tokio_uring::spawn(async move {
                        let (mut data, mut count, begin) = (block(), 0, Instant::now());
                        while begin.elapsed() < time {
                            let at = position(lane + count * depth as u64);
                            let (result, back) = file.write_at(data, at).submit().await;
                            result?;
                            data = back;
                            count += 1;
                        }
                        Ok::<u64, io::Error>(count)
                    })
                })
                .collect();
            appends.push(meter.rate(sum(writers).await?));
        }
        let meter = Meter::begin();
        let (stream, thread) = asker(work)?;
        let stream = tokio_uring::net::TcpStream::from_std(stream);
        let mut data = vec![0; ECHO_BYTES];
        loop {
            let (result, back) = stream.read(data).await;
            let length = result?;
            data = back;
            if length == 0 {
                break;
            }
            data.truncate(length);
            let (result, back) = stream.write_all(data).await;
            result?;
            data = back;
            data.resize(ECHO_BYTES, 0);
        }
        Ok((appends, meter.rate(joined(thread)?)))
    })
}

async fn sum<E: std::error::Error + Send + Sync + 'static>(
    tasks: Vec<impl Future<Output = Result<io::Result<u64>, E>>>,
) -> io::Result<u64> {
    let mut count = 0;
    for task in tasks {
        count += task.await.map_err(io::Error::other)??;
    }
    Ok(count)
}

// -- tokio --------------------------------------------------------------------------------------------------

fn tokio_epoll(work: &Work) -> io::Result<(Vec<Rate>, Rate)> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let mut appends = Vec::new();
        for depth in DEPTHS {
            let meter = Meter::begin();
            let time = work.time;
            let writers: Vec<_> = (0..depth as u64)
                .map(|lane| {
                    let file = work.file.clone();
                    tokio::spawn(async move {
                        let (data, mut count, begin) = (block().freeze(), 0, Instant::now());
                        while begin.elapsed() < time {
                            let (file, data) = (file.clone(), data.clone());
                            let at = position(lane + count * depth as u64);
                            let write = move || file.write_all_at(&data, at);
                            tokio::task::spawn_blocking(write).await.map_err(io::Error::other)??;
                            count += 1;
                        }
                        Ok::<u64, io::Error>(count)
                    })
                })
                .collect();
            appends.push(meter.rate(sum(writers).await?));
        }
        let meter = Meter::begin();
        let (stream, thread) = asker(work)?;
        stream.set_nonblocking(true)?;
        let mut stream = tokio::net::TcpStream::from_std(stream)?;
        let mut data = vec![0; ECHO_BYTES];
        loop {
            let length = stream.read(&mut data).await?;
            if length == 0 {
                break;
            }
            stream.write_all(&data[..length]).await?;
        }
        Ok((appends, meter.rate(joined(thread)?)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_append_and_echo() {
        let interrupt = crate::interrupt::Interrupt::listen().unwrap();
        let runtimes =
            Runtimes::measure(&std::env::temp_dir(), None, Duration::from_millis(20), &interrupt).unwrap();
        assert_eq!(runtimes.0.len(), 3);
        for row in &runtimes.0 {
            assert!(row.appends.iter().all(|rate| rate.0 > 1.0) && row.echoes.0 > 1.0, "{}", row.name);
        }
    }
}
