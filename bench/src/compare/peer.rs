//! A server of another make for the length of a comparison.
//!
//! In: which one, with which settings, a directory. Out: its address. Never: outlives the comparison; leaves its data
//! behind. What is installed stays in the user's cache.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::process::Group;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::load::work::{Load, Place};
use crate::scratch::Scratch;

/// Installing may mean downloading and compiling.
const START: Duration = Duration::from_secs(900);
const STEP: Duration = Duration::from_millis(250);
/// How long a peer whose connection broke may take to end.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// How long it may take to end of itself.
const END: Duration = Duration::from_secs(15);

/// The programs that install and run each peer.
const SCRIPTS: [(&str, &str); 3] = [
    ("kafka", include_str!("../../../scripts/peers/kafka")),
    ("rabbitmq", include_str!("../../../scripts/peers/rabbitmq")),
    ("nats", include_str!("../../../scripts/peers/nats")),
];

/// A running server.
pub struct Peer {
    child: Child,
    log: PathBuf,
    name: &'static str,
    target: String,
    /// Declared last: removed when the processes are gone.
    _data: Scratch,
}

impl Peer {
    /// Installs the peer if it is missing, starts it with its data below `dir`, and waits until it does `work`.
    pub fn start(
        name: &str,
        settings: &str,
        dir: &Path,
        work: &Load,
        interrupt: &Interrupt,
    ) -> Result<Peer, Failure> {
        let Some((name, script)) = SCRIPTS.into_iter().find(|(known, _)| *known == name) else {
            return Err(Failure::Usage(format!("{name} is not a peer")));
        };
        let data = Scratch::create(&fs::canonicalize(dir).map_err(Failure::disk("find", dir))?)?;
        let (program, log) = (data.path().join("run"), data.path().join("run.log"));
        fs::write(&program, script).map_err(Failure::disk("write", &program))?;
        let output = File::create(&log).map_err(Failure::disk("create", &log))?;
        let ports = free_ports()?;
        let mut command = Command::new("bash");
        command.arg(&program).arg(settings).arg(data.path()).args(ports.map(|port| port.to_string()));
        // What it says on standard output is for people: what it installs.
        command.stdin(Stdio::null()).stderr(output).process_group(0);
        let child = command.spawn().map_err(Failure::disk("start", &program))?;
        let target = format!("127.0.0.1:{}", ports[0]);
        let mut peer = Peer { child, log, name, target, _data: data };
        peer.wait(work, interrupt)?;
        Ok(peer)
    }

    /// Where it listens.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Its processes.
    pub fn group(&self) -> Group {
        Group(self.child.id())
    }

    /// The reason for a failure, with the peer's last words if it has ended.
    pub fn explain(&mut self, failure: Failure) -> Failure {
        if let Failure::Interrupted = failure {
            return failure;
        }
        // A connection breaks a moment before its process counts as ended.
        let begin = Instant::now();
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => {
                    return self.ended(&format!("it ended in the middle of the comparison ({status})"));
                }
                _ if begin.elapsed() > LAST_WORDS => {
                    return Failure::Broker(format!("{}: {failure}", self.name));
                }
                _ => std::thread::sleep(STEP),
            }
        }
    }

    fn wait(&mut self, work: &Load, interrupt: &Interrupt) -> Result<(), Failure> {
        let work = Load { target: self.target.clone(), ..work.clone() };
        let begin = Instant::now();
        loop {
            interrupt.check()?;
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(self.ended(&format!("it did not start ({status})")));
            }
            // Being able to make a topic or queue is what counts; a port alone says little.
            let failure = match Place::prepare(&work) {
                Ok(_) => return Ok(()),
                Err(failure) => failure,
            };
            if begin.elapsed() > START {
                return Err(self.ended(&format!("it was not ready within {} s ({failure})", START.as_secs())));
            }
            std::thread::sleep(STEP);
        }
    }

    fn ended(&self, reason: &str) -> Failure {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        let last = lines.iter().skip(lines.len().saturating_sub(10));
        let last: String = last.flat_map(|line| ["\n", line]).collect();
        Failure::Broker(format!("{}: {reason}{last}", self.name))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let Some(group) = Pid::from_raw(self.child.id() as i32) else { return };
        let _ = kill_process_group(group, Signal::TERM);
        let begin = Instant::now();
        while begin.elapsed() < END && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(STEP);
        }
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.child.wait();
    }
}

/// Three ports that were free a moment ago.
fn free_ports() -> Result<[u16; 3], Failure> {
    let free = || {
        TcpListener::bind("127.0.0.1:0").and_then(|listener| Ok((listener.local_addr()?.port(), listener)))
    };
    let found = free().and_then(|first| Ok([first, free()?, free()?]));
    let found = found.map_err(Failure::network("find free ports on", "loopback"))?;
    Ok(found.map(|(port, _)| port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_says_how_it_is_called() {
        for (name, script) in SCRIPTS {
            assert!(
                script.contains(&format!("scripts/peers/{name} stock|durable DIR PORT PORT2 PORT3")),
                "{name}"
            );
        }
    }

    #[test]
    fn ports_differ() {
        let [one, two, three] = free_ports().unwrap();
        assert!(one != two && two != three && one != three);
    }
}
