//! The least broker on threads of its own, until it is dropped.
//!
//! In: an address, a directory or none, cores. Out: where it listens, the processor time it has used. Never: outlives
//! its value.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::disk::{Disk, Keep};
use super::server::Server;
use crate::cores::Cores;
use crate::failure::Failure;
use crate::interrupt::Interrupt;

/// Between two tries to have a thread look up.
const STEP: Duration = Duration::from_millis(1);

/// One thread and its number in the kernel, 0 until it has begun.
struct Thread {
    number: Arc<AtomicI32>,
    handle: JoinHandle<()>,
}

/// The running server.
pub struct Running {
    target: String,
    stop: Arc<AtomicBool>,
    threads: Vec<Thread>,
}

impl Running {
    /// On the answering core, with files in a directory that keep so much, or without.
    pub fn start(
        listen: &str,
        disk: Option<(&Path, Keep)>,
        cores: Option<Cores>,
        interrupt: &Interrupt,
    ) -> Result<Running, Failure> {
        Running::start_on(listen, disk, &[cores.map(Place::Answering)], interrupt)
    }

    /// One thread on each core, each with files of its own; who accepts a connection has it.
    pub fn start_two(
        listen: &str,
        disk: Option<(&Path, Keep)>,
        cores: Option<Cores>,
        interrupt: &Interrupt,
    ) -> Result<Running, Failure> {
        let places = [cores.map(Place::Answering), cores.map(Place::Asking)];
        Running::start_on(listen, disk, &places, interrupt)
    }

    fn start_on(
        listen: &str,
        disk: Option<(&Path, Keep)>,
        places: &[Option<Place>],
        interrupt: &Interrupt,
    ) -> Result<Running, Failure> {
        let bound = TcpListener::bind(listen).and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (address, listener) = bound.map_err(Failure::network("listen on", listen))?;
        let stop = Arc::new(AtomicBool::new(false));
        let mut running = Running { target: address.to_string(), stop, threads: Vec::new() };
        for place in places {
            let disk = match disk {
                Some((dir, keep)) => Some(Disk::create(dir, keep, interrupt)?),
                None => None,
            };
            let listener = listener.try_clone().map_err(Failure::network("listen on", listen))?;
            running.spawn(listener, disk, *place)?;
        }
        Ok(running)
    }

    fn spawn(
        &mut self,
        listener: TcpListener,
        disk: Option<Disk>,
        place: Option<Place>,
    ) -> Result<(), Failure> {
        let number = Arc::new(AtomicI32::new(0));
        let (seen, told) = (self.stop.clone(), number.clone());
        let run = move || {
            told.store(rustix::thread::gettid().as_raw_nonzero().get(), Ordering::Relaxed);
            place.into_iter().for_each(Place::pin);
            let outcome = Server::new(listener, disk, seen).and_then(|mut server| server.run());
            if let Err(error) = outcome {
                eprintln!("ringmain-bench: the least broker has failed: {error}");
            }
        };
        let handle = std::thread::Builder::new()
            .name("floor".to_owned())
            .spawn(run)
            .map_err(|source| Failure::Kernel { doing: "start a thread", source })?;
        self.threads.push(Thread { number, handle });
        Ok(())
    }

    /// `HOST:PORT`.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Processor time of its threads so far.
    pub fn time(&self) -> Duration {
        let spent = self.threads.iter().filter_map(|thread| {
            let number = thread.number.load(Ordering::Relaxed);
            // The first number of the line are nanoseconds on a processor.
            let text = fs::read_to_string(format!("/proc/self/task/{number}/schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(spent.sum())
    }

    /// Whether it serves no more.
    pub fn has_ended(&self) -> bool {
        self.threads.iter().any(|thread| thread.handle.is_finished())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for Thread { handle, .. } in self.threads.drain(..) {
            while !handle.is_finished() {
                // Something has to happen, or it would wait on; another thread may be the one that sees it.
                drop(TcpStream::connect(&self.target));
                std::thread::sleep(STEP);
            }
            let _ = handle.join();
        }
    }
}

/// Where a thread runs.
#[derive(Clone, Copy, Debug)]
enum Place {
    Answering(Cores),
    Asking(Cores),
}

impl Place {
    fn pin(self) {
        match self {
            Place::Answering(cores) => cores.pin_answering(),
            Place::Asking(cores) => cores.pin_asking(),
        }
    }
}
