//! Every measurement, for a moment.

use super::*;

#[test]
fn each_name_measures_both_sides() {
    let interrupt = Interrupt::listen().unwrap();
    for name in ["append", "read-memory", "read-cold", "many-partitions"] {
        let args = Engine {
            name: name.to_owned(),
            quick: true,
            dir: std::env::temp_dir(),
            json: None,
            peers: Default::default(),
        };
        for (line, mut round) in lines(&args, Duration::from_millis(10), &interrupt) {
            let pair = round().unwrap();
            assert!(pair.engine.bytes_per_second > 0.0 && pair.raw.bytes_per_second > 0.0, "{line}");
        }
    }
}
