//! What rounds of two servers say about their ratio.
//!
//! In: one ratio for each round. Out: the median and an interval that holds it with 95 % confidence. Never: assumes
//! that the ratios are distributed in any known way.

use crate::histogram::median;

const RESAMPLES: usize = 2000;

/// A median ratio and where it may really lie.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Ratio {
    pub median: f64,
    pub low: f64,
    pub high: f64,
}

impl Ratio {
    /// The bootstrap: draws as many rounds as there were, with replacement, again and again, and takes the middle
    /// 95 % of their medians. The draws are the same in each run.
    pub fn of(ratios: &[f64]) -> Ratio {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut draw = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as usize % ratios.len().max(1)
        };
        let resample = |_| median((0..ratios.len()).filter_map(|_| ratios.get(draw()).copied()).collect());
        let mut medians: Vec<f64> = (0..RESAMPLES).map(resample).collect();
        medians.sort_by(f64::total_cmp);
        let at = |part: f64| medians.get((part * RESAMPLES as f64) as usize).copied().unwrap_or(0.0);
        Ratio { median: median(ratios.to_vec()), low: at(0.025), high: at(0.975) }
    }

    /// `2.10 (1.90..2.30)`.
    pub fn text(self) -> String {
        format!("{:.2} ({:.2}..{:.2})", self.median, self.low, self.high)
    }

    pub fn json(self) -> serde_json::Value {
        serde_json::json!({ "median": self.median, "low": self.low, "high": self.high })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_holds_the_median_and_stays_within_what_was_seen() {
        let ratio = Ratio::of(&[1.0, 1.1, 1.2, 1.3, 9.0]);
        assert_eq!(ratio.median, 1.2);
        assert!(ratio.low >= 1.0 && ratio.low <= 1.2 && ratio.high >= 1.2 && ratio.high <= 9.0, "{ratio:?}");
        assert_eq!(Ratio::of(&[2.0, 2.0]), Ratio { median: 2.0, low: 2.0, high: 2.0 });
        assert_eq!(Ratio::of(&[]).median, 0.0);
    }
}
