//! Every measurement, for a moment.

use super::driver::Setup;
use super::*;
use ringmain_engine::limits::Sizes;

/// Files so small that they are used again within a moment.
fn small() -> Setup {
    let sizes = Sizes {
        chunk_bytes: 64 << 10,
        frame_body_bytes: 64 << 10,
        run_bytes: 32 << 10,
        segment_bytes: 128 << 10,
        run_cache_bytes: 64 << 10,
        open_segments_max: 16,
        ..Sizes::default()
    };
    Setup { journal_file_bytes: 2 << 20, memory_bytes: 256 << 10, sizes }
}

#[test]
fn each_name_measures_both_sides() {
    let interrupt = Interrupt::listen().unwrap();
    for name in ["append", "read-memory", "read-cold", "many-partitions"] {
        let args = Engine {
            name: name.to_owned(),
            quick: true,
            minutes: None,
            memory_mib: 64,
            dir: std::env::temp_dir(),
            json: None,
            peers: Default::default(),
        };
        for (line, mut round) in lines(&args, Duration::from_millis(10), 4 << 20, &interrupt) {
            let pair = round().unwrap();
            assert!(pair.engine.bytes_per_second > 0.0 && pair.raw.bytes_per_second > 0.0, "{line}");
        }
    }
}

#[test]
fn minutes_are_of_endurance_alone() {
    let interrupt = Interrupt::listen().unwrap();
    let args = Engine {
        name: "append".to_owned(),
        quick: true,
        minutes: Some(1),
        memory_mib: 64,
        dir: std::env::temp_dir(),
        json: None,
        peers: Default::default(),
    };
    assert!(matches!(run(&args, &interrupt), Err(Failure::Usage(_))));
}

#[test]
fn many_logs_are_made_filled_stopped_and_started() {
    let interrupt = Interrupt::listen().unwrap();
    let plan = partitions::Plan {
        logs: 200,
        active: 50,
        few: 5,
        rounds: 2,
        time: Duration::from_millis(20),
        setup: small(),
    };
    let figures = partitions::measure(&std::env::temp_dir(), &plan, &interrupt).unwrap();
    assert_eq!((&figures["idle"]["logs"], &figures["idle"]["filled"]), (&200.into(), &200.into()));
    let cases = figures["active"].as_array().unwrap();
    assert_eq!(cases.len(), 6);
    assert!(cases.iter().all(|case| case["records"].as_u64() > Some(0)), "{cases:?}");
    let starts = &figures["starts"];
    assert!(starts["many"]["checkpoint_bytes"].as_u64() > starts["few"]["checkpoint_bytes"].as_u64());
}

#[test]
fn space_is_measured_fresh_and_trimmed() {
    let interrupt = Interrupt::listen().unwrap();
    let moment = Duration::from_millis(20);
    let plan = space::Plan { time: moment, raw_time: moment, kept_bytes: 8 << 20 };
    let figures = space::measure(&std::env::temp_dir(), &plan, &interrupt).unwrap();
    let lines = figures.as_array().unwrap();
    assert_eq!(lines.len(), 8);
    for line in lines {
        let of = |name: &str| line[name].as_u64().unwrap();
        assert!(of("user_bytes") > 0 && of("journal_bytes") > 0, "{line}");
        assert!(of("on_disk_bytes") >= 8 << 20, "{line}");
    }
}

#[test]
fn endurance_reads_everything_back_through_trims_and_compaction() {
    let interrupt = Interrupt::listen().unwrap();
    let plan = endurance::Plan {
        windows: 6,
        window: Duration::from_millis(50),
        keep_bytes: 1 << 20,
        setup: small(),
    };
    let (figures, _) = endurance::measure(&std::env::temp_dir(), &plan, &interrupt).unwrap();
    assert_eq!(figures["windows"].as_array().map(Vec::len), Some(6));
    assert_eq!(figures["verdicts"].as_array().map(Vec::len), Some(5));
    assert!(figures["device_reads"].as_u64() > Some(0) && figures["records_checked"].as_u64() > Some(0));
}
