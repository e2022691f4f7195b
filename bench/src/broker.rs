//! A broker of our own for the length of a measurement.
//!
//! In: the directory its data goes below. Out: its addresses. Never: outlives this process's interest in it;
//! leaves its data behind.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
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

/// Where a broker listens, `HOST:PORT` each.
#[derive(Debug, Default, PartialEq, Eq)]
struct Addresses {
    kafka: String,
    amqp: String,
    admin: String,
}

impl Addresses {
    /// Those in the line it prints when it is ready.
    fn of(line: &str) -> Option<Addresses> {
        let rest = line.strip_prefix(READY)?;
        let named = |name: &str| rest.split_whitespace().find_map(|word| word.strip_prefix(name));
        let named = |name: &str| named(name).map(str::to_owned);
        Some(Addresses { kafka: named("kafka=")?, amqp: named("amqp=")?, admin: named("admin=")? })
    }
}

/// A running `ringmain serve`. Dropping it ends it and removes its data.
pub struct Broker {
    child: Child,
    addresses: Addresses,
    /// Declared last: removed when the process is gone.
    _data: Scratch,
}

impl Broker {
    /// Starts the program beside this one on free ports and the answering core, its data below `dir`, and waits
    /// until it is ready.
    pub fn start(dir: &Path, cores: Option<Cores>, interrupt: &Interrupt) -> Result<Broker, Failure> {
        let list = cores.map(|cores| cores.answering_list());
        Broker::start_with(&[], dir, list.as_deref(), interrupt)
    }

    /// The same with these environment variables, on the cores of a list as `--cores` takes it, or on all.
    pub fn start_with(
        settings: &[(&str, &str)],
        dir: &Path,
        list: Option<&str>,
        interrupt: &Interrupt,
    ) -> Result<Broker, Failure> {
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
        command.envs(settings.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).process_group(0);
        let child = command.spawn().map_err(Failure::disk("start", &program))?;
        let mut broker = Broker { child, addresses: Addresses::default(), _data: data };
        broker.addresses = broker.wait_until_ready(&log_path, interrupt)?;
        Ok(broker)
    }

    /// `HOST:PORT` of its Kafka listener.
    pub fn target(&self) -> &str {
        &self.addresses.kafka
    }

    /// `HOST:PORT` of its AMQP listener.
    pub fn amqp(&self) -> &str {
        &self.addresses.amqp
    }

    /// One of its metrics, by its name with labels; by the name alone, the sum over all labels.
    pub fn metric(&self, name: &str) -> Result<f64, Failure> {
        let admin = &self.addresses.admin;
        let asked = || -> io::Result<String> {
            let mut stream = TcpStream::connect(admin)?;
            stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok(text)
        };
        let text = asked().map_err(Failure::network("read the metrics of", admin))?;
        sum_of(&text, name).ok_or_else(|| Failure::Broker(format!("{admin} tells no {name}")))
    }

    /// Its processes.
    pub fn group(&self) -> Group {
        Group(self.child.id())
    }

    fn wait_until_ready(&mut self, log: &Path, interrupt: &Interrupt) -> Result<Addresses, Failure> {
        let Some(output) = self.child.stdout.take() else { unreachable!("its output is piped") };
        let (ready, lines) = mpsc::channel();
        std::thread::spawn(move || watch(output, &ready));
        let since = Instant::now();
        while since.elapsed() < START {
            interrupt.check()?;
            match lines.recv_timeout(STEP) {
                Ok(addresses) => return Ok(addresses),
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
fn watch(output: ChildStdout, ready: &mpsc::Sender<Addresses>) {
    let mut output = BufReader::new(output);
    let mut line = String::new();
    while output.read_line(&mut line).is_ok_and(|count| count > 0) {
        if let Some(addresses) = Addresses::of(&line) {
            let _ = ready.send(addresses);
        }
        line.clear();
    }
}

/// The lines of a metric, added up; nothing if there are none.
fn sum_of(text: &str, name: &str) -> Option<f64> {
    let values = text.lines().filter_map(|line| {
        let (label, value) = line.strip_prefix(name)?.rsplit_once(' ')?;
        (label.is_empty() || label.starts_with('{')).then(|| value.parse::<f64>().ok())?
    });
    values.reduce(|left, right| left + right)
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
        let found = Addresses::of(line).unwrap();
        assert_eq!([found.kafka, found.amqp, found.admin], ["127.0.0.1:4711", "127.0.0.1:1", "127.0.0.1:2"]);
        assert_eq!(Addresses::of("kafka=127.0.0.1:4711 amqp=a admin=b"), None);
    }

    #[test]
    fn a_metric_is_the_sum_over_its_labels() {
        let text =
            "# HELP letters x\nletters{kind=\"a\"} 3\nletters{kind=\"b\"} 4\nletters_more 9\nplain 5\n";
        assert_eq!((sum_of(text, "letters"), sum_of(text, "plain")), (Some(7.0), Some(5.0)));
        assert_eq!(sum_of(text, "letters{kind=\"b\"}"), Some(4.0));
        assert_eq!(sum_of(text, "other"), None);
    }
}
