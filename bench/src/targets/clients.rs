//! Clients of other makes, each a process of its own on the client's core: librdkafka's producer and the Java client's.
//!
//! In: an address, a topic, how many records. Out: the figures they print. Never: a figure of a client that failed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::setting::Setting;
use crate::failure::Failure;
use crate::scratch::Scratch;

const BUILD: &str = include_str!("../../../scripts/peers/librdkafka");
const SOURCE: &str = include_str!("../../../scripts/peers/librdkafka-client.c");
const JAVA: &str = include_str!("../../../scripts/peers/kafka-producer");
pub const RECORD_BYTES: u64 = 1024;
/// No client runs longer; the first may have to install something.
const TIME_MAX: Duration = Duration::from_secs(600);
const STEP: Duration = Duration::from_millis(5);

/// What a client said of itself.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Figures {
    pub per_second: f64,
    pub p99_us: f64,
}

/// Who produces.
pub enum Client {
    /// The program that was built, and settings of its producer.
    Librdkafka { program: PathBuf, settings: Vec<&'static str> },
    /// A script.
    Java { program: PathBuf, _directory: Scratch },
}

/// Where librdkafka's own broker runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mock {
    OnCore(usize),
    Anywhere,
}

impl Client {
    /// Builds librdkafka's client. Installs what it needs only where peers may be installed.
    pub fn librdkafka(setting: &Setting<'_>, settings: &[&'static str]) -> Result<Client, Failure> {
        let directory = Scratch::create(setting.dir)?;
        let (script, source) = (directory.path().join("build"), directory.path().join("client.c"));
        fs::write(&script, BUILD).map_err(Failure::disk("write", &script))?;
        fs::write(&source, SOURCE).map_err(Failure::disk("write", &source))?;
        let mut command = Command::new("bash");
        command.arg(&script).arg(if setting.peers { "install" } else { "as-is" }).arg(&source);
        let output = setting.on_any(|| finish(&mut command, setting))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let Some(program) = text.lines().last() else { return Err(failed("librdkafka", &output)) };
        Ok(Client::Librdkafka { program: PathBuf::from(program), settings: settings.to_vec() })
    }

    /// The Java client of the Kafka that was started before.
    pub fn java(dir: &Path) -> Result<Client, Failure> {
        let directory = Scratch::create(dir)?;
        let program = directory.path().join("produce");
        fs::write(&program, JAVA).map_err(Failure::disk("write", &program))?;
        Ok(Client::Java { program, _directory: directory })
    }

    /// Produces `records` to a topic.
    pub fn produce(
        &self,
        target: &str,
        topic: &str,
        records: u64,
        setting: &Setting<'_>,
    ) -> Result<Figures, Failure> {
        let (records, bytes) = (records.to_string(), RECORD_BYTES.to_string());
        match self {
            Client::Librdkafka { program, settings } => {
                let mut command = Command::new(program);
                command.args(["produce", target, topic, &records, &bytes]).args(settings);
                let output = finish(&mut command, setting)?;
                of_librdkafka(&output.stdout).ok_or_else(|| failed("librdkafka", &output))
            }
            Client::Java { program, .. } => {
                let mut command = Command::new("bash");
                command.arg(program).args([target, topic, &records, &bytes]);
                let output = finish(&mut command, setting)?;
                of_java(&output.stdout).ok_or_else(|| failed("the Java client", &output))
            }
        }
    }

    /// The same against librdkafka's own broker in the client's process; nothing for another client.
    pub fn produce_to_mock(
        &self,
        mock: Mock,
        partitions: u64,
        records: u64,
        setting: &Setting<'_>,
    ) -> Result<Option<Figures>, Failure> {
        let Client::Librdkafka { program, settings } = self else { return Ok(None) };
        let core = match mock {
            Mock::OnCore(core) => core.to_string(),
            Mock::Anywhere => "-1".to_owned(),
        };
        let mut command = Command::new(program);
        let numbers = [partitions, records, RECORD_BYTES].map(|number| number.to_string());
        command.args(["produce-mock", &core]).args(numbers).args(settings);
        let output = finish(&mut command, setting)?;
        of_librdkafka(&output.stdout).map(Some).ok_or_else(|| failed("librdkafka", &output))
    }
}

/// Runs it to its end. Its output is short, so that no pipe fills up.
fn finish(command: &mut Command, setting: &Setting<'_>) -> Result<Output, Failure> {
    let program = PathBuf::from(command.get_program());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(Failure::disk("start", &program))?;
    let begin = Instant::now();
    loop {
        let ended = child.try_wait().map_err(Failure::disk("wait for", &program))?.is_some();
        if ended {
            return child.wait_with_output().map_err(Failure::disk("wait for", &program));
        }
        let stopped = setting.interrupt.check();
        if stopped.is_err() || begin.elapsed() > TIME_MAX {
            let _ = child.kill();
            let _ = child.wait();
            stopped?;
            return Err(Failure::Broker(format!("{} did not end", program.display())));
        }
        std::thread::sleep(STEP);
    }
}

fn failed(who: &str, output: &Output) -> Failure {
    let text = String::from_utf8_lossy(&output.stderr);
    let last: Vec<&str> = text.lines().rev().take(3).collect();
    let last: Vec<&str> = last.into_iter().rev().collect();
    Failure::Broker(format!("{who} ended with {}: {}", output.status, last.join("\n")))
}

/// `records=N seconds=S p50_us=A p99_us=B`.
fn of_librdkafka(output: &[u8]) -> Option<Figures> {
    let text = std::str::from_utf8(output).ok()?;
    let of = |name: &str| -> Option<f64> {
        text.split_whitespace().find_map(|word| word.strip_prefix(name)?.parse().ok())
    };
    let (records, seconds) = (of("records=")?, of("seconds=")?);
    (seconds > 0.0).then_some(Figures { per_second: records / seconds, p99_us: of("p99_us=")? })
}

/// `N records sent, R records/sec (M MB/sec), ... A ms 50th, B ms 95th, C ms 99th, ...`; the last such line is the sum.
fn of_java(output: &[u8]) -> Option<Figures> {
    let text = std::str::from_utf8(output).ok()?;
    let line = text.lines().rev().find(|line| line.contains(" 99th"))?;
    let before = |end: &str| -> Option<f64> {
        let part = line.split(", ").find_map(|part| part.trim_end_matches('.').strip_suffix(end))?;
        part.split_whitespace().next()?.parse().ok()
    };
    let rate = line.split(", ").find(|part| part.contains(" records/sec"))?;
    let per_second = rate.split_whitespace().next()?.parse().ok()?;
    Some(Figures { per_second, p99_us: before(" ms 99th")? * 1e3 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_print_is_read() {
        let found = of_librdkafka(b"records=1000 seconds=0.5 p50_us=17 p99_us=900\n");
        assert_eq!(found, Some(Figures { per_second: 2000.0, p99_us: 900.0 }));
        assert_eq!(of_librdkafka(b"records=1000 seconds=0.5"), None);
        let text = "199 records sent, 3.0 records/sec (0.1 MB/sec), 1.0 ms avg latency, 2.0 ms max latency.\n\
                    200000 records sent, 71149.1 records/sec (69.48 MB/sec), 400.10 ms avg latency, 700.00 ms max latency, \
                    424 ms 50th, 600 ms 95th, 610 ms 99th, 620 ms 99.9th.\n";
        assert_eq!(of_java(text.as_bytes()), Some(Figures { per_second: 71149.1, p99_us: 610e3 }));
        assert_eq!(of_java(b"java: command not found"), None);
    }

    #[test]
    fn the_scripts_say_how_they_are_called() {
        assert!(BUILD.contains("scripts/peers/librdkafka install|as-is SOURCE"));
        assert!(JAVA.contains("scripts/peers/kafka-producer BOOTSTRAP TOPIC RECORDS VALUE_BYTES"));
        assert!(SOURCE.contains("produce-mock CORE PARTITIONS RECORDS VALUE_BYTES"));
    }
}
