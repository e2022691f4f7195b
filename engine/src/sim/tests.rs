//! The simulator itself: seeds that must pass, and the same seed twice.

use super::run;

#[test]
fn a_seed_does_the_same_every_time() {
    for seed in 0..30 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
}

#[test]
fn some_seeds_pass() {
    for seed in 1000..1100 {
        if let Err(what) = run(seed) {
            panic!("seed {seed}: {what}");
        }
    }
}
