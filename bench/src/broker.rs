//! A broker of our own for the length of a measurement.
//!
//! In: the directory its data goes below. Out: its addresses. Never: outlives this process's interest in it;
//! leaves its data behind.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::compare::process::Group;
use crate::cores::Cores;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::scratch::Scratch;

/// How long the broker may take until it says that it is ready.
const START: Duration = Duration::from_secs(60);
/// How often a signal is looked for meanwhile.
const STEP: Duration = Duration::from_millis(50);
const READY: &str = "ringmain ready ";

/// `HOST:PORT` of each listener.
#[derive(Default)]
struct Listeners {
    kafka: String,
    amqp: String,
    admin: String,
}

/// A running `ringmain serve`. Dropping it ends it and removes its data.
pub struct Broker {
    child: Child,
    listeners: Listeners,
    /// Declared last: removed when the process is gone.
    _data: Scratch,
}

impl Broker {
    /// Starts the program beside this one on free ports and the answering core, its data below `dir`, and waits
    /// until it is ready.
    pub fn start(dir: &Path, cores: Option<Cores>, interrupt: &Interrupt) -> Result<Broker, Failure> {
        let list = cores.map(|cores| cores.answering_list());
        Broker::start_on(dir, list.as_deref(), interrupt)
    }

    /// The same on the cores of a list as `--cores` takes it, or on all.
    pub fn start_on(dir: &Path, list: Option<&str>, interrupt: &Interrupt) -> Result<Broker, Failure> {
        let program = std::env::current_exe()
            .map_err(|source| Failure::Kernel { doing: "find this program's own path", source })?
            .with_file_name("ringmain");
        if !program.is_file() {
            let program = program.display();
            let hint = "build it with `cargo build --release`, or name a running broker with --target";
            return Err(Failure::Broker(format!("there is no broker at {program}: {hint}")));
        }
        let data = Scratch::create(dir)?;
        let log_path = data.path().join("serve.log");
        let log = File::create(&log_path).map_err(Failure::disk("create", &log_path))?;
        let mut command = Command::new(&program);
        command.arg("serve").arg("--data-dir").arg(data.path().join("data"));
        for listener in ["--kafka", "--amqp", "--admin"] {
            command.args([listener, "127.0.0.1:0"]);
        }
        if let Some(list) = list {
            command.args(["--cores", list]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).process_group(0);
        let child = command.spawn().map_err(Failure::disk("start", &program))?;
        let mut broker = Broker { child, listeners: Listeners::default(), _data: data };
        broker.listeners = broker.wait_until_ready(&log_path, interrupt)?;
        Ok(broker)
    }

    /// `HOST:PORT` of its Kafka listener.
    pub fn target(&self) -> &str {
        &self.listeners.kafka
    }

    /// `HOST:PORT` of its AMQP listener.
    pub fn amqp(&self) -> &str {
        &self.listeners.amqp
    }

    /// `HOST:PORT` of its admin listener.
    pub fn admin(&self) -> &str {
        &self.listeners.admin
    }

    /// Its processes.
    pub fn group(&self) -> Group {
        Group(self.child.id())
    }

    fn wait_until_ready(&mut self, log: &Path, interrupt: &Interrupt) -> Result<Listeners, Failure> {
        let Some(output) = self.child.stdout.take() else { unreachable!("its output is piped") };
        let (ready, lines) = mpsc::channel();
        std::thread::spawn(move || watch(output, &ready));
        let since = Instant::now();
        while since.elapsed() < START {
            interrupt.check()?;
            match lines.recv_timeout(STEP) {
                Ok(listeners) => return Ok(listeners),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return Err(failed("it ended", log)),
            }
        }
        Err(failed("it was not ready within 60 s", log))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Its data goes away with it, so there is nothing that an orderly stop would save.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads the broker's output to its end, so that it never blocks on a full pipe.
fn watch(output: ChildStdout, ready: &mpsc::Sender<Listeners>) {
    let mut output = BufReader::new(output);
    let mut line = String::new();
    while output.read_line(&mut line).is_ok_and(|count| count > 0) {
        let of = |name| listener_of(&line, name).map(str::to_owned);
        if let (Some(kafka), Some(amqp), Some(admin)) = (of("kafka="), of("amqp="), of("admin=")) {
            let _ = ready.send(Listeners { kafka, amqp, admin });
        }
        line.clear();
    }
}

fn listener_of<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.strip_prefix(READY)?.split_whitespace().find_map(|word| word.strip_prefix(name))
}

/// The last words of the broker, which say more than its exit code.
fn failed(reason: &str, log: &Path) -> Failure {
    let text =
        fs::read(log).map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned());
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.iter().skip(lines.len().saturating_sub(10));
    let last: String = last.flat_map(|line| ["\n", line]).collect();
    Failure::Broker(format!("the broker did not start: {reason}{last}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_names_the_port() {
        let line = "ringmain ready kafka=127.0.0.1:4711 amqp=127.0.0.1:1 admin=127.0.0.1:2 data=d cores=2\n";
        assert_eq!(listener_of(line, "kafka="), Some("127.0.0.1:4711"));
        assert_eq!(listener_of(line, "amqp="), Some("127.0.0.1:1"));
        assert_eq!(listener_of("kafka=127.0.0.1:4711", "kafka="), None);
    }
}
