//! The machine's settings that follow from a probe, as a script that shows before it changes and changes only
//! when it is told to.
//!
//! In: a probe. Out: a shell script. Never: a path or value of the probe that holds anything but letters, digits and a
//! few signs; a change of what keeps data safe.

use super::Probe;

const HEAD: &str = r#"#!/bin/sh
# Settings of this machine for Ringmain, from a probe. Read it first.
#
#   sh THIS            shows what each setting is and what it would become; changes nothing
#   sh THIS --apply    changes them until the next start of the machine, and prints how to undo each
#
# Nothing here touches the device's write cache or the file system's barriers: a broker's promise stands on them.
set -eu
apply=no
[ "${1:-}" != --apply ] || apply=yes

# set PATH VALUE WHY
set_to() {
    if ! [ -e "$1" ]; then echo "absent     $1 ($3)"; return; fi
    # Some files list every choice and have the one in force in brackets.
    now="$(sed -E 's/.*\[([^]]*)\].*/\1/' "$1")"
    if [ "$now" = "$2" ]; then echo "as wanted  $1 = $2"; return; fi
    if [ "$apply" = no ]; then echo "would set  $1: $now -> $2 ($3)"; return; fi
    if echo "$2" 2>/dev/null >"$1"; then echo "set        $1 = $2; undo: echo $now >$1"
    else echo "refused    $1 = $2: are you root, and is this not a container?" >&2; fi
}

"#;

/// The whole script.
pub fn text(probe: &Probe) -> String {
    let mut out = HEAD.to_owned();
    out += &queue(probe);
    out += &processor(probe);
    out += &memory(probe);
    out += &ring(probe);
    out + &by_hand(probe)
}

/// A path below `/sys` that a shell takes as it is.
fn queue_path(probe: &Probe) -> Option<&str> {
    let path = probe.setting("queue")?;
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/-_.:".contains(letter);
    (path.starts_with("/sys/") && !path.contains("..") && path.chars().all(plain)).then_some(path)
}

fn queue(probe: &Probe) -> String {
    let Some(queue) = queue_path(probe) else {
        return "# The probe does not say which device's queue is under the directory: nothing to set there.\n\n"
            .to_owned();
    };
    let mut out = "# The device.\n".to_owned();
    let rotates = probe.setting("rotational") == Some("1");
    // A virtual disk says that it rotates unless its host knows better; its speed tells.
    let fast = probe.durable_us("not durable").is_some_and(|us| us < 1000.0);
    if !rotates || fast {
        out += &line(
            queue,
            "scheduler",
            "none",
            "the broker sends few, large, ordered writes; sorting only delays",
        );
    } else {
        out += &line(queue, "scheduler", "mq-deadline", "a disk that rotates gains from sorted reads");
    }
    out += &line(
        queue,
        "nomerges",
        "1",
        "direct writes of whole frames have nothing to merge; do not look for it",
    );
    out += &line(queue, "rq_affinity", "2", "complete on the core that asked, where the ring is");
    out += "# Read-ahead stays: the broker reads with direct I/O, which it does not touch; other programs need it.\n";
    let cache = probe.setting("write_cache").unwrap_or("unknown");
    out += match cache {
        "write back" => {
            "# The write cache stays on: the broker asks for each flush it needs, and without the cache every write\n\
             # would wait, also those that need not.\n\n"
        }
        "write through" => "# The device has no volatile write cache: nothing to do.\n\n",
        _ => "# What write cache the device has is not known.\n\n",
    };
    out
}

fn line(queue: &str, name: &str, value: &str, why: &str) -> String {
    format!("set_to {queue}/{name} {value} '{why}'\n")
}

fn processor(probe: &Probe) -> String {
    let mut out = "# The processor.\n".to_owned();
    out += match probe.setting("governor") {
        Some(_) => {
            "for governor in /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor; do\n    \
             set_to \"$governor\" performance 'a core that slept through a write answers late'\ndone\n"
        }
        None => {
            "# The kernel does not set its frequency here (a virtual machine): that is the host's to choose.\n"
        }
    };
    let sources = probe.setting("clock_sources").unwrap_or_default();
    let now = probe.setting("clock_source").unwrap_or_default();
    if now != "tsc" && sources.split(' ').any(|source| source == "tsc") {
        out += "set_to /sys/devices/system/clocksource/clocksource0/current_clocksource tsc 'reading it needs no \
                system call'\n";
    }
    if let Some(wake_us) = probe.wake_us().filter(|us| *us > 10.0) {
        out += &format!(
            "# Waking a sleeping core takes {wake_us:.0} us. On bare metal forbid deep sleep while the broker runs:\n\
             #   exec 3>/dev/cpu_dma_latency; printf '\\0\\0\\0\\0' >&3     # holds as long as this shell lives\n\
             # In a virtual machine the host decides (halt polling: /sys/module/kvm/parameters/halt_poll_ns there).\n"
        );
    }
    out + "\n"
}

fn memory(probe: &Probe) -> String {
    let mut out = "# Memory.\n".to_owned();
    if probe.figures()["settings"]["swap"] == true {
        out += "set_to /proc/sys/vm/swappiness 1 'a broker that was swapped out answers in seconds'\n";
    } else {
        out += "# There is no swap: nothing to do about it.\n";
    }
    if probe.setting("huge_pages").is_some_and(|text| text.contains("[always]")) {
        out += "set_to /sys/kernel/mm/transparent_hugepage/enabled madvise 'making huge pages stalls whoever \
                asked for memory'\n";
    }
    out + "\n"
}

fn ring(probe: &Probe) -> String {
    let mut out = "# io_uring.\n".to_owned();
    match probe.setting("io_uring_disabled") {
        Some("0") | None => {}
        Some(_) => {
            out += "set_to /proc/sys/kernel/io_uring_disabled 0 'without it the broker runs on epoll, more slowly'\n";
        }
    }
    if probe.uring() == Some(false) {
        out += "# The probe was not allowed to set it up. In a container let its seccomp profile have io_uring_setup,\n\
                # io_uring_enter and io_uring_register rather than switching the profile off.\n";
    }
    const LOCKED: u64 = 64 << 20;
    if probe.setting_number("locked_bytes_max").is_some_and(|bytes| bytes < LOCKED) {
        out += "# Buffers given to the kernel count as locked memory: LimitMEMLOCK=infinity in the unit, or ulimit -l.\n";
    }
    if probe.setting_number("files_max").is_some_and(|files| files < 65_536) {
        out += "# One file for each connection and some for each partition: LimitNOFILE=1048576 in the unit, or \
                ulimit -n.\n";
    }
    out + "\n"
}

fn by_hand(probe: &Probe) -> String {
    let mut out = "# By hand, because it lasts:\n".to_owned();
    let options = probe.machine("mount_options");
    if !options.split(',').any(|option| option == "noatime") {
        out += "# * mount the data with noatime (/etc/fstab): reading needs no writing then.\n";
    }
    if options.split(',').any(|option| option == "discard") {
        out += "# * mount without discard, and run fstrim weekly instead: discards at each removal stand in the queue \
                before writes.\n";
    } else {
        out += "# * run fstrim weekly (systemctl enable fstrim.timer), if the device takes it.\n";
    }
    out + "# * settings above end with the machine's next start: put those that helped into a unit or udev rule, after a\n\
           #   second probe has shown that they did.\n"
}
