//! What a figure must be published with: kernel, processor, file system, device and its write cache.
//!
//! In: `/proc` and `/sys`. Out: lines for people, values for JSON; a refusal of directories that no device
//! is under. Never: guesses; what cannot be read is "unknown".

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::failure::Failure;

/// File systems that keep nothing on a device of their own, so a durable write to them measures something else.
const WITHOUT_DEVICE: [&str; 5] = ["tmpfs", "ramfs", "overlay", "rootfs", "devtmpfs"];

/// The machine and the device under one directory.
pub struct Machine {
    kernel: String,
    processor: String,
    cores_count: usize,
    load: String,
    mount: Mount,
    write_cache: String,
    fua: String,
    queue: Option<PathBuf>,
}

/// The line of `/proc/self/mountinfo` that holds a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Mount {
    point: PathBuf,
    number: String,
    file_system: String,
    source: String,
    options: String,
}

impl Machine {
    /// Reads the facts, and refuses a directory that is missing or that no device is under.
    pub fn at(dir: &Path) -> Result<Machine, Failure> {
        let dir = fs::canonicalize(dir).map_err(Failure::disk("find", dir))?;
        if !dir.is_dir() {
            return Err(Failure::Unfit { path: dir, reason: "it is not a directory".to_owned() });
        }
        let machine = Machine::under(&dir);
        let file_system = machine.mount.file_system.as_str();
        if WITHOUT_DEVICE.contains(&file_system) {
            let reason = format!("{file_system} has no device under it; choose another directory with --dir");
            return Err(Failure::Unfit { path: dir, reason });
        }
        Ok(machine)
    }

    /// The facts for a measurement that writes nothing itself.
    pub fn here() -> Machine {
        Machine::under(&std::env::current_dir().unwrap_or_default())
    }

    fn under(dir: &Path) -> Machine {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mount = mount_of(&mounts, dir).unwrap_or_else(Mount::unknown);
        let queue = queue_of(&mount);
        let fact = |name: &str| queue.as_ref().map_or_else(unknown, |queue| text_of(&queue.join(name)));
        Machine {
            kernel: text_of(Path::new("/proc/sys/kernel/osrelease")),
            processor: processor(),
            cores_count: std::thread::available_parallelism().map_or(1, usize::from),
            load: text_of(Path::new("/proc/loadavg")),
            write_cache: fact("write_cache"),
            fua: fact("fua"),
            mount,
            queue,
        }
    }

    /// `write back`, `write through` or `unknown`.
    pub fn write_cache(&self) -> &str {
        &self.write_cache
    }

    /// `1`, `0` or `unknown`.
    pub fn fua(&self) -> &str {
        &self.fua
    }

    /// Programs that wanted to run in the last minute before the measurement.
    pub fn load(&self) -> Option<f64> {
        self.load.split(' ').next()?.parse().ok()
    }

    pub fn cores_count(&self) -> usize {
        self.cores_count
    }

    /// Where the kernel shows the settings of the device's queue.
    pub fn queue(&self) -> Option<&Path> {
        self.queue.as_deref()
    }

    /// For people.
    pub fn lines(&self) -> String {
        let Mount { point, file_system, source, options, .. } = &self.mount;
        let point = point.display();
        format!(
            "kernel       {}\n\
             processor    {}, {} cores, load {}\n\
             file system  {file_system} on {source} at {point} ({options})\n\
             device       write cache: {}, fua: {}\n",
            self.kernel, self.processor, self.cores_count, self.load, self.write_cache, self.fua,
        )
    }

    /// For programs.
    pub fn json(&self) -> Value {
        json!({
            "kernel": self.kernel,
            "processor": self.processor,
            "cores_count": self.cores_count,
            "load": self.load,
            "file_system": self.mount.file_system,
            "mount_options": self.mount.options,
            "device": self.mount.source,
            "write_cache": self.write_cache,
            "fua": self.fua,
        })
    }
}

impl Mount {
    fn unknown() -> Mount {
        let (number, file_system, source, options) = (unknown(), unknown(), unknown(), unknown());
        Mount { point: PathBuf::from("/"), number, file_system, source, options }
    }

    /// One line: `id parent major:minor root point options [tags] - type source super-options`.
    fn parse(line: &str) -> Option<Mount> {
        let (front, back) = line.split_once(" - ")?;
        let mut front = front.split(' ').skip(2);
        let mut back = back.split(' ');
        let number = front.next()?.to_owned();
        let point = PathBuf::from(front.nth(1)?.replace("\\040", " "));
        let (file_system, source) = (back.next()?.to_owned(), back.next()?.to_owned());
        Some(Mount { point, number, file_system, source, options: back.next()?.to_owned() })
    }
}

/// The mount with the longest path above `dir`; the last one where several are stacked.
fn mount_of(mounts: &str, dir: &Path) -> Option<Mount> {
    let above = mounts.lines().filter_map(Mount::parse).filter(|mount| dir.starts_with(&mount.point));
    above.max_by_key(|mount| mount.point.components().count())
}

/// The queue settings of the device under `mount`: its own, or those of the disk it is a partition of.
fn queue_of(mount: &Mount) -> Option<PathBuf> {
    let source = fs::canonicalize(&mount.source).ok();
    let name =
        source.as_deref().and_then(Path::file_name).map(|name| Path::new("/sys/class/block").join(name));
    let device = Path::new("/sys/dev/block").join(&mount.number);
    let found = [Some(device), name].into_iter().flatten().find_map(|path| fs::canonicalize(path).ok())?;
    [found.join("queue"), found.parent()?.join("queue")].into_iter().find(|queue| queue.is_dir())
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = |wanted: &str| {
        text.lines().filter_map(|line| line.split_once(':')).find(|(name, _)| name.trim() == wanted)
    };
    let Some((_, name)) = line("model name").or_else(|| line("CPU part")) else { return unknown() };
    let model = line("model").map_or_else(String::new, |(_, model)| format!(" (model {})", model.trim()));
    format!("{}{model}", name.trim())
}

fn text_of(path: &Path) -> String {
    fs::read_to_string(path).map_or_else(|_| unknown(), |text| text.trim().to_owned())
}

fn unknown() -> String {
    "unknown".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:25 / /dev/shm rw - tmpfs tmpfs rw,size=1k
31 22 259:1 / /data rw shared:7 master:1 - xfs /dev/nvme0n1p1 rw,noquota
32 31 259:2 /sub /data/a\\040b rw - ext4 /dev/nvme0n1p2 rw
";

    #[test]
    fn the_nearest_mount_above_is_found() {
        let at = |dir: &str| mount_of(MOUNTS, Path::new(dir)).unwrap();
        assert_eq!(at("/data/log").file_system, "xfs");
        assert_eq!(at("/data/log").source, "/dev/nvme0n1p1");
        assert_eq!(at("/data/a b/c").number, "259:2");
        assert_eq!(at("/database").file_system, "ext4");
        assert_eq!(mount_of("nonsense\n1 2 - ", Path::new("/")), None);
    }

    #[test]
    fn a_directory_without_a_device_is_refused() {
        let reason = |dir: &str| Machine::at(Path::new(dir)).err().map(|failure| failure.to_string());
        assert!(reason("/dev").unwrap().contains("--dir"));
        assert!(reason("/no/such/place").unwrap().contains("/no/such/place"));
        assert!(reason("/proc/self/status").unwrap().contains("not a directory"));
    }
}
