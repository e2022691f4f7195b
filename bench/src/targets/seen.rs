//! What rounds brought: under each name one value for each round.
//!
//! In: values. Out: medians, and the values themselves. Never: a mean; a value of another round beside this one's.

use std::collections::BTreeMap;

use crate::histogram::median;

/// Values by name, in the order of the rounds.
#[derive(Clone, Debug, Default)]
pub struct Seen(BTreeMap<String, Vec<f64>>);

impl Seen {
    /// One round's value.
    pub fn push(&mut self, name: &str, value: f64) {
        self.0.entry(name.to_owned()).or_default().push(value);
    }

    /// All rounds' values; none of an unknown name.
    pub fn of(&self, name: &str) -> Vec<f64> {
        self.0.get(name).cloned().unwrap_or_default()
    }

    /// The middle of them; 0 of none.
    pub fn middle(&self, name: &str) -> f64 {
        median(self.of(name))
    }

    /// For programs.
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!(self.0)
    }

    /// The name with the highest median of those that begin with `front`. The choice is made once for all rounds:
    /// the best of each round would be the luckiest.
    pub fn best(&self, front: &str) -> Option<&str> {
        let names = self.0.keys().filter(|name| name.starts_with(front));
        names.max_by(|a, b| self.middle(a).total_cmp(&self.middle(b))).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_has_the_highest_median_and_not_the_highest_value() {
        let mut seen = Seen::default();
        for (steady, lucky) in [(5.0, 1.0), (4.0, 99.0), (6.0, 2.0)] {
            seen.push("raw steady", steady);
            seen.push("raw lucky", lucky);
            seen.push("engine", 100.0);
        }
        assert_eq!(seen.best("raw "), Some("raw steady"));
        assert_eq!((seen.middle("raw steady"), seen.middle("nothing")), (5.0, 0.0));
        assert_eq!(seen.best("none"), None);
    }
}
