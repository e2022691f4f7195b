//! The least brokers that keep what they are given, which is what a log that grows has below it: those that write over what
//! they wrote need no new blocks. And those that keep the newest of it in a file for each log, which one that is trimmed has.
//!
//! In: medians of all ways to keep. Out: the best one. Never: another way for each round.

use crate::floor::disk::Keep;
use crate::histogram::median;
use crate::targets::line::Named;

/// Partitions of the topics that are measured.
const LOGS: usize = 4;

/// For logs that grow, each with its name among what was seen.
pub const GROWING: [(Keep, &str); 2] = [(Keep::Twice, "twice"), (Keep::Once, "once")];

/// For logs that are trimmed, on so many cores.
pub fn trimmed(cores: u64) -> [(Keep, &'static str); 2] {
    [(Keep::TwiceOver, "twice over"), (Keep::Apart(LOGS / cores as usize), "apart")]
}

/// The way with the highest median of the values that `of` has under its name; nothing where there are none.
pub fn best(ways: &[(Keep, &str)], of: impl Fn(&str) -> Vec<f64>) -> Option<Named> {
    let all = ways.iter().map(|(keep, name)| Named::new(words(*keep), of(name)));
    let measured = all.filter(|way| !way.values.is_empty());
    measured.max_by(|a, b| median(a.values.clone()).total_cmp(&median(b.values.clone())))
}

fn words(keep: Keep) -> &'static str {
    match keep {
        Keep::Nothing => "the least broker, which keeps nothing",
        Keep::Twice => "the least broker, which writes all twice, into new blocks behind",
        Keep::Once => "the least broker, into reserved blocks at once",
        Keep::TwiceOver => "the least broker, which writes all twice, over old blocks behind",
        Keep::Apart(_) => "the least broker, over old blocks of a file for each log",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_better_way_is_chosen_once_for_all_rounds() {
        let of = |name: &str| match name {
            "twice" => vec![5.0, 4.0, 6.0],
            _ => vec![1.0, 99.0, 2.0],
        };
        let found = best(&GROWING, of).unwrap();
        assert_eq!((found.middle(), found.name.contains("twice")), (5.0, true));
        assert_eq!(best(&GROWING, |_| Vec::new()), None);
        assert_eq!(trimmed(2)[1].0, Keep::Apart(2));
    }
}
