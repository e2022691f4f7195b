//! The broker's configuration that follows from a probe, each line with the measurement that speaks for it.
//!
//! In: a probe. Out: TOML. Never: a key that the broker does not have; a value outside its range.

use super::Probe;

const MIB: u64 = 1 << 20;
/// As the broker has it; half a minute of a fast device at most.
const JOURNAL_DEFAULT: u64 = 64 * MIB;
const JOURNAL_MAX: u64 = 1024 * MIB;
/// A journal file should last so long at full speed, because its end means a checkpoint.
const JOURNAL_SECONDS: f64 = 0.5;
/// `memory_bytes` of a broker that was told nothing, for each core.
pub const MEMORY_DEFAULT: u64 = 112 * MIB;
const MEMORY_MAX: u64 = 1024 * MIB;
/// Records may take this part of the machine's memory.
const MEMORY_PART: u64 = 8;
/// Appends that readers slow down more than this should be kept apart from them by memory.
const SLOWDOWN: f64 = 5.0;

/// The whole fragment.
pub fn text(probe: &Probe) -> String {
    let mut out = format!(
        "# Ringmain: what follows from a probe of {} ({}), kernel {}.\n\
         # A fragment for `ringmain serve --config FILE`. Nothing here is needed to be safe: durability has no setting.\n",
        clean(probe.machine("device")),
        clean(probe.machine("file_system")),
        clean(probe.machine("kernel")),
    );
    out += &disk(probe);
    out += &journal(probe);
    out += &memory(probe);
    out += &cores(probe);
    out + &ring(probe)
}

/// Text of the file that a comment can hold.
fn clean(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(80).collect()
}

fn disk(probe: &Probe) -> String {
    let (Some(durable_us), Some(bulk)) = (probe.durable_us("RWF_DSYNC"), probe.durable_bulk()) else {
        return "\n# The probe says nothing of durable appends: run it again.\n".to_owned();
    };
    format!(
        "\n# A lone durable write of 4 KiB takes {durable_us:.0} us; in bulk {:.0} MB/s, from {} KiB x {} on.\n\
         # On this device:\n# data_dir = \"/path/on/this/device\"\n",
        bulk.bytes_per_second / 1e6,
        bulk.block_bytes >> 10,
        bulk.depth,
    )
}

fn journal(probe: &Probe) -> String {
    let Some(bulk) = probe.durable_bulk() else { return String::new() };
    let wanted = (bulk.bytes_per_second * JOURNAL_SECONDS) as u64;
    let bytes = wanted.clamp(JOURNAL_DEFAULT, JOURNAL_MAX).next_power_of_two().min(JOURNAL_MAX);
    let seconds = bytes as f64 / bulk.bytes_per_second;
    let why = format!(
        "# At full speed this device fills a journal file of {} MiB in {seconds:.1} s, and each full one means a \
         checkpoint.\n# Files are written once when they are made and use 4 x this of the disk for each core; only new \
         ones have the new size.\n",
        bytes / MIB
    );
    setting("journal_file_bytes", &format!("\"{} MiB\"", bytes / MIB), bytes == JOURNAL_DEFAULT, &why)
}

fn memory(probe: &Probe) -> String {
    let (Some(slowdown), Some(all)) = (probe.slowdown(), probe.setting_number("memory_bytes")) else {
        return String::new();
    };
    let cores_count = probe.0["machine"]["cores_count"].as_u64().unwrap_or(1).max(1);
    let room = all / MEMORY_PART / cores_count / MIB * MIB;
    let (bytes, why) = if slowdown > SLOWDOWN {
        let bytes = room.clamp(MEMORY_DEFAULT, MEMORY_MAX);
        let why = format!(
            "# Readers that catch up from this disk make the slowest one in a hundred appends {slowdown:.0} times \
             slower,\n# so memory for consumers that are a little behind pays. An eighth of this machine's, for \
             each core.\n"
        );
        (bytes, why)
    } else {
        let why = format!(
            "# Readers that catch up from this disk change the p99 of appends by a factor of {slowdown:.1}: the \
             default will do.\n"
        );
        (MEMORY_DEFAULT, why)
    };
    setting("memory_bytes", &format!("\"{} MiB\"", bytes / MIB), bytes == MEMORY_DEFAULT, &why)
}

fn cores(probe: &Probe) -> String {
    let (Some(wake_us), Some(durable_us)) = (probe.wake_us(), probe.durable_us("RWF_DSYNC")) else {
        return String::new();
    };
    let cores_count = probe.0["machine"]["cores_count"].as_u64().unwrap_or(1).max(1);
    if wake_us <= durable_us / 4.0 || cores_count == 1 {
        let why = format!(
            "# Waking another core takes {wake_us:.0} us, little beside a durable write of {durable_us:.0} us: all \
             cores.\n"
        );
        return setting("cores", &format!("\"{cores_count}\""), true, &why);
    }
    let last = cores_count - 1;
    format!(
        "\n# Waking another core takes {wake_us:.0} us here, much beside a durable write of {durable_us:.0} us. For the \
         least latency give the broker\n# few cores and keep everything else off them; for the most throughput leave \
         this line out.\ncores = \"{last}-{last}\"\n"
    )
}

fn ring(probe: &Probe) -> String {
    match (probe.uring(), probe.setting("io_uring_disabled")) {
        (Some(true), Some("0") | None) => {
            setting("io", "\"auto\"", true, "# io_uring is allowed here and will be used.\n")
        }
        (Some(true), _) => setting(
            "io",
            "\"auto\"",
            true,
            "# io_uring was allowed to the probe, but kernel.io_uring_disabled keeps others from it: see the script.\n",
        ),
        (Some(false), _) => setting(
            "io",
            "\"auto\"",
            true,
            "# io_uring is not allowed here, so epoll and threads will be used, more slowly: see the script.\n",
        ),
        (None, _) => String::new(),
    }
}

/// A line that is commented out where it only repeats the default.
fn setting(name: &str, value: &str, default: bool, why: &str) -> String {
    format!("\n{why}{}{name} = {value}\n", if default { "# the default: " } else { "" })
}
