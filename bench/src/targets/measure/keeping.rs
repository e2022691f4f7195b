//! The least brokers that keep what they are given, which is what a log that grows has below it: those that write over what
//! they wrote need no new blocks.
//!
//! In: medians of both ways to keep. Out: the better one. Never: another way for each round.

use crate::floor::disk::Keep;
use crate::histogram::median;
use crate::targets::line::Named;

/// Each with its name among what was seen.
pub const WAYS: [(Keep, &str); 2] = [(Keep::Twice, "twice"), (Keep::Once, "once")];

/// The way with the higher median of the values that `of` has under its name; nothing where there are none.
pub fn best(of: impl Fn(&str) -> Vec<f64>) -> Option<Named> {
    let all = WAYS.map(|(keep, name)| Named::new(words(keep), of(name)));
    let measured = all.into_iter().filter(|way| !way.values.is_empty());
    measured.max_by(|a, b| median(a.values.clone()).total_cmp(&median(b.values.clone())))
}

fn words(keep: Keep) -> &'static str {
    match keep {
        Keep::Nothing => "the least broker, which keeps nothing",
        Keep::Twice => "the least broker, which writes all twice, into new blocks behind",
        Keep::Once => "the least broker, into reserved blocks at once",
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
        let found = best(of).unwrap();
        assert_eq!((found.middle(), found.name.contains("twice")), (5.0, true));
        assert_eq!(best(|_| Vec::new()), None);
    }
}
