//! What this process holds: memory and open files.
//!
//! In: nothing. Out: figures from `/proc`. Never: a guess; what cannot be read counts as nothing.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Memory and open files at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holdings {
    pub(super) resident_bytes: u64,
    pub(super) descriptors_count: u64,
}

impl Holdings {
    /// Now.
    pub(super) fn now() -> Holdings {
        let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let resident_pages = resident_pages(&statm).unwrap_or_default();
        // One of them reads the directory.
        let open = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count) as u64;
        Holdings {
            resident_bytes: resident_pages * rustix::param::page_size() as u64,
            descriptors_count: open.saturating_sub(1),
        }
    }
}

fn resident_pages(statm: &str) -> Option<u64> {
    statm.split(' ').nth(1)?.parse().ok()
}

/// Raises the limit of open files as far as the system lets this process, beyond what it was started with if that is
/// allowed; returns what it is then.
pub(super) fn raise_descriptors() -> u64 {
    let allowed = ringmain_engine::io::descriptors::raise_limit();
    let most = fs::read_to_string("/proc/sys/fs/nr_open").ok().and_then(|text| text.trim().parse().ok());
    let Some(most) = most.filter(|most| *most > allowed) else { return allowed };
    let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: Some(most) });
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_file_and_written_memory_are_held() {
        assert_eq!(resident_pages("9000 123 7 1 0 5 0"), Some(123));
        assert_eq!(resident_pages("9000"), None);
        let before = Holdings::now();
        let files: Vec<fs::File> = (0..100).map(|_| fs::File::open("/proc/self/statm").unwrap()).collect();
        let memory = vec![1_u8; 64 << 20];
        let after = Holdings::now();
        assert!(after.descriptors_count >= files.len() as u64);
        assert!(before.resident_bytes > 0 && after.resident_bytes >= memory.len() as u64);
    }
}
