//! Data directories of each format version, kept in the tree, and what must be found in them for ever.
//!
//! In: a directory, which is copied into memory and never changed. Out: a line for each log, or what is wrong. A new
//! format version adds a directory (`golden --make DIR`); an old one is never made again.

use std::path::{Path, PathBuf};

use ringmain_engine::format::batch;
use ringmain_engine::io::disk::{self, Disk};
use ringmain_engine::io::simulated::SimulatedDisk;
use ringmain_engine::io::{Open, buffer};
use ringmain_engine::types::Offset;
use ringmain_engine::verify::verify_on;

use crate::node::Node;
use crate::small::{self, Directory};

/// So small that some are sealed.
const SEGMENT_BYTES: u64 = 16 << 10;

/// Writes a small directory to `target`; how many failures there were.
pub fn make(target: &Path) -> u64 {
    report(write(target))
}

/// Prints what `directory` holds; how many failures there were.
pub fn print(directory: &Path) -> u64 {
    report(read(directory).map(|lines| print!("{lines}")))
}

fn report(outcome: Result<(), String>) -> u64 {
    match outcome {
        Ok(()) => 0,
        Err(what) => {
            println!("{what}");
            1
        }
    }
}

fn write(target: &Path) -> Result<(), String> {
    let made = Directory::make(48 << 10, SEGMENT_BYTES)?;
    for (path, _) in made.disk.files() {
        let inside = path.strip_prefix("data").map_err(|error| error.to_string())?;
        let file = target.join(inside);
        let parent = file.parent().unwrap_or(target);
        std::fs::create_dir_all(parent).map_err(|error| error.to_string())?;
        std::fs::write(&file, made.disk.bytes(&path))
            .map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(())
}

fn files(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    let entries =
        std::fs::read_dir(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    for entry in entries {
        let path = entry.map_err(|error| error.to_string())?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// A copy in memory.
fn load(directory: &Path) -> Result<SimulatedDisk, String> {
    let simulated = SimulatedDisk::default();
    let disk = Disk::Simulated(simulated.clone());
    for path in files(directory)? {
        let inside = Path::new("data").join(path.strip_prefix(directory).map_err(|error| error.to_string())?);
        let bytes = std::fs::read(&path).map_err(|error| error.to_string())?;
        let mut aligned = buffer::aligned(bytes.len());
        aligned.extend_from_slice(&bytes);
        let parent = inside.parent().unwrap_or(Path::new(""));
        let written = disk
            .make_directory(parent)
            .and_then(|()| disk.open(&inside, Open::Replace))
            .and_then(|file| disk::write(&inside, &file, 0, &aligned));
        written.map_err(|error| error.to_string())?;
    }
    Ok(simulated)
}

/// A line for each log: its offsets, and a hash of all that it serves.
fn read(directory: &Path) -> Result<String, String> {
    let simulated = load(directory)?;
    let config = small::config(&simulated, SEGMENT_BYTES);
    let report = verify_on(&config.disk, &config.directory).map_err(|error| error.to_string())?;
    if let Some(finding) = report.findings.first() {
        return Err(finding.to_string());
    }
    let mut lines = format!("start {}, {} shards\n", report.incarnation, report.shards);
    let mut node = Node::open_with(&config).map_err(|error| error.to_string())?;
    for log in node.logs() {
        let start = node.shard(log).marks(log).map_or(0, |marks| marks.start);
        let (mut hash, mut end) = (0xcbf2_9ce4_8422_2325_u64, start);
        for found in node.read_all(log, start) {
            let (base, next, bytes): (Offset, Offset, _) = found?;
            if base != end || batch::check(&bytes).is_err() {
                return Err(format!("offset {end} of {log:?} is not there"));
            }
            end = next;
            for byte in bytes.iter() {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
            }
        }
        lines += &format!("log {log} ends at {end}, {hash:016x}\n");
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_each_version_holds_what_it_held() {
        let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
        let mut versions = 0;
        for entry in std::fs::read_dir(&kept).unwrap() {
            let version = entry.unwrap().path();
            let expected = std::fs::read_to_string(version.join("expected.txt")).unwrap();
            assert_eq!(read(&version.join("data")).unwrap(), expected, "{}", version.display());
            versions += 1;
        }
        assert!(versions >= 3);
    }

    #[test]
    fn a_damaged_directory_is_told() {
        let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/v1/data");
        let simulated = load(&kept).unwrap();
        simulated.spoil(Path::new("data/superblock"), |bytes| bytes.fill(1));
        let config = small::config(&simulated, SEGMENT_BYTES);
        assert!(Node::open_with(&config).is_err());
        assert!(!verify_on(&config.disk, &config.directory).unwrap().is_clean());
    }
}
