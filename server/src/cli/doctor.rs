//! `ringmain doctor`: what this machine allows, and what to do about what it does not.
//!
//! In: the configuration that `serve` would use, and what the system says of itself. Out: a line for each finding
//! and, where something can be better, the command that makes it so. Never: changes anything.
//!
//! Exit code 1 if `serve` could not run, or only with its data in danger.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ringmain_engine::error::OpenError;
use ringmain_engine::io::disk::Disk;
use ringmain_engine::io::driver::{Choice, Driver};
use ringmain_engine::io::inspect;

use crate::config::{Config, Io};

/// Less room than this is soon used up.
const FREE_BYTES_MIN: u64 = 1 << 30;
/// Open files a busy broker needs: connections and segments.
const OPEN_FILES_MIN: u64 = 8192;

/// How a finding is to be taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Level {
    Good,
    /// It works, but could be better.
    Advice,
    /// `serve` cannot run, or must not.
    Problem,
}

/// One thing that was looked at.
#[derive(Debug)]
struct Finding {
    level: Level,
    what: String,
    fix: Option<String>,
}

impl Finding {
    fn good(what: impl Into<String>) -> Finding {
        Finding { level: Level::Good, what: what.into(), fix: None }
    }

    fn advice(what: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding { level: Level::Advice, what: what.into(), fix: Some(fix.into()) }
    }

    fn problem(what: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding { level: Level::Problem, what: what.into(), fix: Some(fix.into()) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.level {
            Level::Good => "ok     ",
            Level::Advice => "advice ",
            Level::Problem => "PROBLEM",
        };
        write!(f, "{mark} {}", self.what)?;
        if let Some(fix) = &self.fix {
            write!(f, "\n        -> {fix}")?;
        }
        Ok(())
    }
}

/// Looks at everything and prints what it found.
pub fn run(config: &Config, out: &mut impl Write) -> io::Result<ExitCode> {
    let mut findings = vec![kernel(config), cores(config), open_files(), clock()];
    findings.extend(governor());
    findings.extend(storage(&config.data_dir));
    findings.extend(listeners(config));
    for finding in &findings {
        writeln!(out, "{finding}")?;
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let (problems, advices) = (count(Level::Problem), count(Level::Advice));
    writeln!(out, "{} looked at, {advices} could be better, {problems} in the way", findings.len())?;
    Ok(if problems == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn text(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_string())
}

fn kernel(config: &Config) -> Finding {
    let release = text("/proc/sys/kernel/osrelease").unwrap_or_else(|| "unknown".into());
    match Driver::open(Choice::Auto) {
        Ok((_, name @ "uring", _)) => Finding::good(format!("Linux {release}, io={name}")),
        Ok((_, name, why)) => {
            let what = format!("Linux {release}, io={name}: {}", why.unwrap_or_default());
            let fix = "allow io_uring: Linux 6.1 or newer, sysctl kernel.io_uring_disabled=0, and in a container a \
                       seccomp profile with io_uring_setup, io_uring_enter and io_uring_register";
            if config.io == Io::Uring { Finding::problem(what, fix) } else { Finding::advice(what, fix) }
        }
        Err(error) => {
            Finding::problem(format!("Linux {release}: {error}"), "give the process more descriptors")
        }
    }
}

fn allowed_processors() -> Vec<usize> {
    core_affinity::get_core_ids().unwrap_or_default().iter().map(|core| core.id).collect()
}

fn cores(config: &Config) -> Finding {
    let allowed = allowed_processors();
    match config.cores_of(&allowed) {
        Ok(cores) => {
            Finding::good(format!("{} of {} allowed processors are used", cores.len(), allowed.len()))
        }
        Err(error) => Finding::problem(error.to_string(), "set --cores to processors this process may use"),
    }
}

fn open_files() -> Finding {
    let limits = text("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap_or_default();
    let soft = line.split_whitespace().nth(3).and_then(|limit| limit.parse::<u64>().ok());
    match soft {
        Some(limit) if limit < OPEN_FILES_MIN => Finding::advice(
            format!("{limit} files and connections may be open"),
            "ulimit -n 65536, or LimitNOFILE=65536 in the systemd unit",
        ),
        Some(limit) => Finding::good(format!("{limit} files and connections may be open")),
        None => Finding::good("no limit on open files"),
    }
}

fn clock() -> Finding {
    const PATH: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    match text(PATH).as_deref() {
        Some(slow @ ("hpet" | "acpi_pm")) => Finding::advice(
            format!("the clock is read from {slow}, which is slow"),
            "boot with tsc=reliable if the processor's time stamp counters are in step",
        ),
        Some(source) => Finding::good(format!("clock source {source}")),
        None => Finding::good("the kernel does not say where its clock comes from"),
    }
}

fn governor() -> Option<Finding> {
    let governor = text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")?;
    let what = format!("processor frequency governor {governor}");
    let slow = governor == "powersave" || governor == "ondemand";
    let fix = "cpupower frequency-set -g performance";
    Some(if slow { Finding::advice(what, fix) } else { Finding::good(what) })
}

/// The data directory: its file system, direct I/O, room, device, and whether it can be opened.
fn storage(data: &Path) -> Vec<Finding> {
    let data = std::path::absolute(data).unwrap_or_else(|_| data.to_path_buf());
    let Some(existing) = data.ancestors().find(|path| path.is_dir()) else {
        return vec![Finding::problem(
            format!("{} cannot be made", data.display()),
            "choose another --data-dir",
        )];
    };
    let mut findings = Vec::new();
    let mount = mount_of(existing);
    if let Some(mount) = &mount {
        findings.push(file_system(mount, &data));
    }
    findings.push(match inspect::try_direct_io(existing) {
        Ok(()) => Finding::good(format!("direct I/O works in {}", existing.display())),
        Err(fault) => Finding::problem(
            fault.to_string(),
            "put --data-dir on a local ext4 or XFS file system, writable by this user",
        ),
    });
    findings.push(room(existing));
    findings.extend(mount.and_then(|mount| device(&mount.device)));
    findings.push(in_use(&data));
    findings
}

/// A line of `/proc/self/mountinfo`.
struct Mount {
    /// `major:minor`.
    device: String,
    place: PathBuf,
    kind: String,
}

fn mount_of(path: &Path) -> Option<Mount> {
    let table = text("/proc/self/mountinfo")?;
    let mounts = table.lines().filter_map(|line| {
        let (front, back) = line.split_once(" - ")?;
        let mut fields = front.split(' ').skip(2);
        let (device, place) = (fields.next()?.to_string(), PathBuf::from(fields.nth(1)?));
        Some(Mount { device, place, kind: back.split(' ').next()?.to_string() })
    });
    mounts.filter(|mount| path.starts_with(&mount.place)).max_by_key(|mount| mount.place.as_os_str().len())
}

fn file_system(mount: &Mount, data: &Path) -> Finding {
    let what = format!("{} is on {} ({})", data.display(), mount.kind, mount.place.display());
    match mount.kind.as_str() {
        "ext4" | "xfs" => Finding::good(what),
        "tmpfs" | "ramfs" => {
            Finding::problem(format!("{what}: memory, gone with the power"), "put --data-dir on a disk")
        }
        "overlay" => Finding::advice(
            format!("{what}: a container's own layer, gone with the container"),
            "mount a volume and put --data-dir on it",
        ),
        _ => Finding::advice(
            format!("{what}: not tried; what it promises about flushed writes is its own"),
            "use ext4 or XFS on a local disk",
        ),
    }
}

fn room(directory: &Path) -> Finding {
    match inspect::free_bytes(directory) {
        Ok(free) if free < FREE_BYTES_MIN => Finding::advice(
            format!("{} MiB are free", free >> 20),
            "free some space: a full disk stops the broker",
        ),
        Ok(free) => Finding::good(format!("{} GiB are free", free >> 30)),
        Err(fault) => Finding::problem(fault.to_string(), "choose another --data-dir"),
    }
}

/// The block device, `major:minor`, or the disk that it is a part of.
fn device(numbers: &str) -> Option<Finding> {
    let place = fs::canonicalize(format!("/sys/dev/block/{numbers}")).ok()?;
    let disk = if place.join("queue").is_dir() { place } else { place.parent()?.to_path_buf() };
    let setting = |name: &str| text(disk.join("queue").join(name)).unwrap_or_default();
    let name = disk.file_name()?.to_string_lossy().into_owned();
    let (cache, fua, scheduler) = (setting("write_cache"), setting("fua"), setting("scheduler"));
    if setting("rotational") == "1" && !name.starts_with("vd") {
        let what = format!("{name} says it is a rotating disk: every acknowledgement waits for it to turn");
        return Some(Finding::advice(what, "use a solid-state disk"));
    }
    if name.starts_with("nvme") && !scheduler.contains("[none]") {
        let fix = format!("echo none > /sys/block/{name}/queue/scheduler");
        return Some(Finding::advice(
            format!("{name}: scheduler {scheduler} holds reads and writes back"),
            fix,
        ));
    }
    let flush = match (cache.as_str(), fua.as_str()) {
        ("write through", _) => "no volatile cache: a write is durable at once",
        (_, "1") => "volatile cache, single writes can go through it",
        _ => "volatile cache: every commit flushes it",
    };
    Some(Finding::good(format!("device {name}: {flush}")))
}

fn in_use(data: &Path) -> Finding {
    if !data.join("superblock").exists() {
        return Finding::good(format!("{} will be a new data directory", data.display()));
    }
    match Disk::default().lock_to_read(data) {
        Ok(_) => Finding::good(format!("{} is a data directory, not in use", data.display())),
        Err(error @ OpenError::InUse(_)) => {
            Finding::problem(error.to_string(), "stop the other broker, or choose another --data-dir")
        }
        Err(error) => Finding::problem(error.to_string(), "look at it with: ringmain verify"),
    }
}

fn listeners(config: &Config) -> Vec<Finding> {
    let count = config.cores_of(&allowed_processors()).map_or(1, |cores| cores.len() as u16);
    let kafka = match config.kafka_addresses(count) {
        Ok(addresses) => addresses,
        Err(error) => {
            return vec![Finding::problem(error.to_string(), "choose a lower number, or fewer --cores")];
        }
    };
    let kafka = kafka.into_iter().map(|address| ("kafka", address));
    let wanted = kafka.chain([("amqp", config.amqp), ("admin", config.admin)]);
    let found = wanted.map(|(name, address)| match TcpListener::bind(address) {
        Ok(_) => Finding::good(format!("{name} can listen on {address}")),
        Err(error) => Finding::problem(
            format!("{name} cannot listen on {address}: {error}"),
            format!("stop what listens there, or set --{name} to another address"),
        ),
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::sources::{Flags, Values};

    #[test]
    fn every_core_that_listens_is_looked_at() {
        let config = |node_id: &str| {
            let flag = |name, text: &str| (name, text.to_string());
            let free = ["kafka", "amqp", "admin"].map(|name| flag(name, "127.0.0.1:0"));
            let more = [flag("core_listeners", "true"), flag("cores", "all"), flag("node_id", node_id)];
            let values = free.into_iter().chain(more).collect();
            Config::from_values(&Values::gather(&Flags { file: None, values }, []).unwrap()).unwrap()
        };
        let found = listeners(&config("1"));
        assert_eq!(found.len(), allowed_processors().len() + 2);
        let found = listeners(&config("2147483647"));
        assert_eq!(found.len(), if allowed_processors().len() > 1 { 1 } else { 3 });
    }

    #[test]
    fn memory_is_no_place_for_data_and_the_nearest_mount_counts() {
        let mount = |kind: &str| Mount { device: "0:1".into(), place: "/x".into(), kind: kind.into() };
        let level = |kind: &str| file_system(&mount(kind), Path::new("/x/data")).level;
        assert_eq!(level("ext4"), Level::Good);
        assert_eq!(level("tmpfs"), Level::Problem);
        assert_eq!(level("overlay"), Level::Advice);
        assert_eq!(mount_of(Path::new("/proc/self")).unwrap().kind, "proc");
    }

    #[test]
    fn every_finding_but_a_good_one_says_what_to_do() {
        let findings = storage(&std::env::temp_dir().join("ringmain-doctor"));
        assert!(findings.len() >= 3);
        for finding in findings {
            assert_eq!(finding.fix.is_none(), finding.level == Level::Good, "{finding}");
        }
    }
}
