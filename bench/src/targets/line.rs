//! One line of a target: what was measured, what it is held against, and whether that is enough.
//!
//! In: values of the same rounds, and what is asked of their ratio. Out: the ratio and a verdict. Never: a verdict
//! without both sides; a ratio of values of different rounds where there is one of the same.

use crate::histogram::median;

/// What a number counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    RecordsPerSecond,
    BytesPerSecond,
    Microseconds,
    Bytes,
    Count,
}

impl Unit {
    /// For people: three digits and a word.
    pub fn text(self, value: f64) -> String {
        match self {
            Unit::RecordsPerSecond if value >= 1e6 => format!("{:.2} M/s", value / 1e6),
            Unit::RecordsPerSecond if value >= 1e4 => format!("{:.0} k/s", value / 1e3),
            Unit::RecordsPerSecond => format!("{value:.0} /s"),
            Unit::BytesPerSecond => format!("{:.0} MB/s", value / 1e6),
            Unit::Microseconds if value < 10.0 => format!("{value:.2} us"),
            Unit::Microseconds if value >= 1e5 => format!("{:.0} ms", value / 1e3),
            Unit::Microseconds if value >= 1e4 => format!("{:.1} ms", value / 1e3),
            Unit::Microseconds => format!("{value:.0} us"),
            Unit::Bytes => format!("{:.1} MiB", value / f64::from(1 << 20)),
            Unit::Count => format!("{value:.0}"),
        }
    }
}

/// What the figure has to be, times what is beside it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Need {
    AtLeast(f64),
    AtMost(f64),
}

impl Need {
    pub fn text(self) -> String {
        match self {
            Need::AtLeast(times) => format!(">= {times}"),
            Need::AtMost(times) => format!("<= {times}"),
        }
    }

    fn is_met(self, figure: f64, beside: f64) -> bool {
        match self {
            Need::AtLeast(times) => figure >= times * beside,
            Need::AtMost(times) => figure <= times * beside,
        }
    }
}

/// Something measured, or agreed on, with its name.
#[derive(Clone, PartialEq, Debug)]
pub struct Named {
    pub name: String,
    /// For each round, or one value that holds for all.
    pub values: Vec<f64>,
}

impl Named {
    pub fn new(name: &str, values: Vec<f64>) -> Named {
        Named { name: name.to_owned(), values }
    }

    pub fn middle(&self) -> f64 {
        median(self.values.clone())
    }
}

/// How it ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    Met,
    Missed,
    /// Missed, and what the machine or the client can do is below what is asked for.
    OutOfReach,
    NotMeasured(String),
}

impl Verdict {
    pub fn text(&self) -> String {
        match self {
            Verdict::Met => "met".to_owned(),
            Verdict::Missed => "NOT MET".to_owned(),
            Verdict::OutOfReach => "NOT MET (nor is it by the floor)".to_owned(),
            Verdict::NotMeasured(reason) => format!("not measured: {reason}"),
        }
    }
}

/// One line.
#[derive(Clone, Debug)]
pub struct Line {
    pub name: String,
    pub unit: Unit,
    pub figure: Vec<f64>,
    pub beside: Named,
    pub need: Need,
    /// What the hardware or the client allows, where that is known.
    pub floor: Option<Named>,
    /// Why there is no figure, if there is none.
    pub reason: Option<String>,
}

impl Line {
    pub fn new(name: &str, unit: Unit, figure: Vec<f64>, need: Need, beside: Named) -> Line {
        Line { name: name.to_owned(), unit, figure, beside, need, floor: None, reason: None }
    }

    /// One that could not be measured.
    pub fn without(name: &str, unit: Unit, need: Need, beside: &str, reason: &str) -> Line {
        let line = Line::new(name, unit, Vec::new(), need, Named::new(beside, Vec::new()));
        Line { reason: Some(reason.to_owned()), ..line }
    }

    /// The same with what the machine allows beside it.
    pub fn over(self, floor: Named) -> Line {
        Line { floor: Some(floor), ..self }
    }

    /// The figure to what is beside it: the median of the rounds' ratios, or of the medians where what is beside it
    /// holds for all rounds. Nothing where there is nothing to divide by.
    pub fn ratio(&self) -> Option<f64> {
        let ratios = self.figure.iter().zip(&self.beside.values).filter(|(_, beside)| **beside > 0.0);
        let ratios: Vec<f64> = ratios.map(|(figure, beside)| figure / beside).collect();
        if self.beside.values.len() > 1 && ratios.len() == self.figure.len() {
            return Some(median(ratios));
        }
        let (figure, beside) = (median(self.figure.clone()), self.beside.middle());
        (!self.figure.is_empty() && beside > 0.0).then(|| figure / beside)
    }

    pub fn verdict(&self) -> Verdict {
        if let Some(reason) = &self.reason {
            return Verdict::NotMeasured(reason.clone());
        }
        if self.figure.is_empty() || self.beside.values.is_empty() {
            return Verdict::NotMeasured("there is no figure".to_owned());
        }
        let (figure, beside) = (median(self.figure.clone()), self.beside.middle());
        let met = match self.ratio() {
            Some(ratio) => self.need.is_met(ratio, 1.0),
            None => self.need.is_met(figure, beside),
        };
        let reachable = self.floor.as_ref().is_none_or(|floor| self.need.is_met(floor.middle(), beside));
        match (met, reachable) {
            (true, _) => Verdict::Met,
            (false, true) => Verdict::Missed,
            (false, false) => Verdict::OutOfReach,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(figure: &[f64], need: Need, beside: &[f64]) -> Line {
        Line::new("x", Unit::Count, figure.to_vec(), need, Named::new("y", beside.to_vec()))
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        // A slow minute hit both: the ratio of the medians would be 0.5.
        let found = line(&[10.0, 10.0, 30.0], Need::AtLeast(0.9), &[10.0, 20.0, 30.0]);
        assert_eq!((found.ratio(), found.verdict()), (Some(1.0), Verdict::Met));
        let found = line(&[10.0, 11.0, 12.0], Need::AtLeast(2.0), &[10.0]);
        assert_eq!((found.ratio(), found.verdict()), (Some(1.1), Verdict::Missed));
    }

    #[test]
    fn nothing_at_all_may_be_what_is_asked_for() {
        assert_eq!(line(&[0.0], Need::AtMost(1.0), &[0.0]).verdict(), Verdict::Met);
        assert_eq!(line(&[1.0], Need::AtMost(1.0), &[0.0]).verdict(), Verdict::Missed);
        assert_eq!(line(&[1.0], Need::AtMost(1.0), &[0.0]).ratio(), None);
    }

    #[test]
    fn a_floor_below_the_goal_is_told() {
        let found =
            |floor: f64| line(&[50.0], Need::AtLeast(1.0), &[100.0]).over(Named::new("f", vec![floor]));
        assert_eq!(found(90.0).verdict(), Verdict::OutOfReach);
        assert_eq!(found(110.0).verdict(), Verdict::Missed);
        let above = line(&[50.0], Need::AtMost(1.0), &[10.0]).over(Named::new("f", vec![20.0]));
        assert_eq!(above.verdict(), Verdict::OutOfReach);
    }

    #[test]
    fn what_has_no_figure_is_not_judged() {
        let found = Line::without("x", Unit::Count, Need::AtLeast(3.0), "kafka", "no peers");
        assert_eq!(found.verdict(), Verdict::NotMeasured("no peers".to_owned()));
        assert_eq!(found.ratio(), None);
        assert!(matches!(line(&[], Need::AtMost(1.0), &[1.0]).verdict(), Verdict::NotMeasured(_)));
    }
}
