//! A few threads that do file operations which block, for a driver that cannot.
//!
//! In: file [`Op`]s with their tokens. Out: their [`Completion`]s in any order, and a descriptor that is readable
//! while there are any. Never: takes a socket operation.
//!
//! ```text
//!   driver --jobs--> thread: Disk::execute --results--> driver
//!                                          --finished (eventfd, after the result)--> epoll
//! ```

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use super::disk::Disk;
use super::{Completion, Op, Token};

/// Threads of one pool. The journal has one write in flight, and settling and reading a few: more threads
/// would wait for the same device.
pub const POOL_THREADS: usize = 4;

/// Threads for blocking file operations. A drop waits for the operations that were submitted.
pub(super) struct Pool {
    /// None once the pool is being dropped, which ends the threads.
    jobs: Option<Sender<(Token, Op)>>,
    results: Receiver<Completion>,
    finished: Arc<Signal>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    pub(super) fn new() -> std::io::Result<Pool> {
        let (jobs, work) = channel();
        let (answers, results) = channel();
        let work = Arc::new(Mutex::new(work));
        let finished = Arc::new(Signal::new()?);
        let mut pool = Pool { jobs: Some(jobs), results, finished, threads: Vec::new() };
        for _ in 0..POOL_THREADS {
            let (work, answers, finished) = (work.clone(), answers.clone(), pool.finished.clone());
            let thread = Builder::new().name("disk".into()).spawn(move || run(&work, &answers, &finished))?;
            pool.threads.push(thread);
        }
        Ok(pool)
    }

    /// Readable while [`Pool::take`] would find something.
    pub(super) fn descriptor(&self) -> RawFd {
        self.finished.descriptor()
    }

    pub(super) fn submit(&self, token: Token, op: Op) {
        let accepted = self.jobs.as_ref().is_some_and(|jobs| jobs.send((token, op)).is_ok());
        assert!(accepted, "the threads of a pool live as long as it does");
    }

    /// Takes every result there is.
    pub(super) fn take(&self, done: &mut Vec<Completion>) {
        self.finished.lower();
        done.extend(self.results.try_iter());
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // A thread that panicked has nothing left to wait for.
            let _ = thread.join();
        }
    }
}

fn run(work: &Mutex<Receiver<(Token, Op)>>, answers: &Sender<Completion>, finished: &Signal) {
    loop {
        // One idle thread waits for work and the others for it; the lock is free again while it works.
        let job = work.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((token, op)) = job else { return };
        if answers.send(Disk::Machine.execute(token, op)).is_err() {
            return;
        }
        finished.raise();
    }
}

/// A descriptor that one thread makes readable for another (eventfd).
pub(super) struct Signal(File);

impl Signal {
    pub(super) fn new() -> std::io::Result<Signal> {
        // SAFETY: takes no pointer.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(std::io::Error::last_os_error());
        }
        // SAFETY: the kernel just made this descriptor for us and nobody else owns it.
        Ok(Signal(File::from(unsafe { OwnedFd::from_raw_fd(fd) })))
    }

    pub(super) fn descriptor(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Makes it readable.
    pub(super) fn raise(&self) {
        // It fails only when it has been raised 2^64 - 2 times and never lowered: then it is readable.
        let _ = (&self.0).write(&1_u64.to_ne_bytes());
    }

    /// Makes it unreadable until it is raised again; true if it was readable.
    pub(super) fn lower(&self) -> bool {
        (&self.0).read(&mut [0; 8]).is_ok()
    }
}
