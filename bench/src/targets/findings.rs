//! What a target came to.
//!
//! In: lines, curves and remarks of one target. Out: text for people, JSON for programs. Never: a line without its
//! verdict.

use serde_json::{Value, json};

use super::line::{Line, Need, Verdict};
use super::seen::Seen;
use crate::histogram::median;

/// A figure over something that grows tenfold from point to point.
#[derive(Clone, Debug)]
pub struct Curve {
    pub name: String,
    /// How many, cost of a record in us of processor time, records per second.
    pub points: Vec<(f64, f64, f64)>,
}

/// Most memory that a broker of ours held, and what it was told to use.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    pub resident_bytes: u64,
    pub limit_bytes: u64,
}

/// All of one target.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    pub lines: Vec<Line>,
    pub curves: Vec<Curve>,
    /// What a reader has to know to judge the lines.
    pub remarks: Vec<String>,
    pub memory: Vec<Memory>,
    /// Everything that was measured, also what no line shows.
    pub seen: Seen,
}

impl Findings {
    /// No lines yet.
    pub fn of(seen: &Seen) -> Findings {
        Findings { seen: seen.clone(), ..Findings::default() }
    }

    pub fn line(&mut self, line: Line) {
        self.lines.push(line);
    }

    pub fn remark(&mut self, words: String) {
        self.remarks.push(words);
    }

    /// A table; `target` is its heading.
    pub fn text(&self, target: &str) -> String {
        let mut out = format!(
            "\n{target:<54} {:>12} {:>12} {:>8} {:>8}  {}\n",
            "figure", "beside", "ratio", "needed", ""
        );
        for line in &self.lines {
            let beside = line.beside.values.first().map(|_| line.unit.text(line.beside.middle()));
            let figure = line.figure.first().map(|_| line.unit.text(median(line.figure.clone())));
            let ratio = line.ratio().map(|ratio| format!("{ratio:.2}"));
            let dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
            out += &format!(
                "  {:<52} {:>12} {:>12} {:>8} {:>8}  {}\n",
                line.name,
                dash(figure),
                dash(beside),
                dash(ratio),
                line.need.text(),
                line.verdict().text(),
            );
            out += &format!("      beside: {}", line.beside.name);
            if let Some(floor) = &line.floor {
                out += &format!("; floor: {} ({})", line.unit.text(floor.middle()), floor.name);
            }
            out.push('\n');
        }
        self.remarks.iter().for_each(|words| out += &format!("  * {words}\n"));
        out
    }

    pub fn json(&self, target: &str) -> Value {
        let lines: Vec<Value> = self
            .lines
            .iter()
            .map(|line| {
                let (kind, times) = match line.need {
                    Need::AtLeast(times) => ("at least", times),
                    Need::AtMost(times) => ("at most", times),
                };
                json!({
                    "line": line.name, "unit": format!("{:?}", line.unit), "figure": line.figure,
                    "shown": line.figure.first().map(|_| line.unit.text(median(line.figure.clone()))),
                    "beside": { "name": line.beside.name, "values": line.beside.values,
                        "shown": line.beside.values.first().map(|_| line.unit.text(line.beside.middle())) },
                    "needed": { "kind": kind, "times": times, "shown": line.need.text() },
                    "ratio": line.ratio(), "verdict": line.verdict().text(), "met": line.verdict() == Verdict::Met,
                    "floor": line.floor.as_ref().map(|floor| json!({
                        "name": floor.name, "values": floor.values, "shown": line.unit.text(floor.middle()),
                    })),
                })
            })
            .collect();
        let curves: Vec<Value> =
            self.curves.iter().map(|curve| json!({ "name": curve.name, "points": curve.points })).collect();
        json!({ "target": target, "lines": lines, "curves": curves, "remarks": self.remarks, "rounds": self.seen.json() })
    }
}

/// How many lines were met, missed and not measured.
pub fn totals<'a>(all: impl Iterator<Item = &'a Findings>) -> (usize, usize, usize) {
    let mut counts = (0, 0, 0);
    for line in all.flat_map(|found| &found.lines) {
        match line.verdict() {
            Verdict::Met => counts.0 += 1,
            Verdict::Missed | Verdict::OutOfReach => counts.1 += 1,
            Verdict::NotMeasured(_) => counts.2 += 1,
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::line::{Named, Unit};

    fn findings() -> Findings {
        let mut seen = Seen::default();
        seen.push("own cpu", 0.5);
        let mut found = Findings::of(&seen);
        let of = |name: &str, figure: f64, need| {
            let beside = Named::new("the floor", vec![1e6, 1e6, 1e6]);
            Line::new(name, Unit::RecordsPerSecond, vec![figure, figure, 1.0], need, beside)
        };
        found.line(of("produce", 9e5, Need::AtLeast(0.8)));
        found.line(of("consume", 7e5, Need::AtLeast(0.8)).over(Named::new("one send", vec![2e6])));
        found.line(Line::without(
            "beside kafka",
            Unit::RecordsPerSecond,
            Need::AtLeast(3.0),
            "kafka",
            "no peers",
        ));
        found.remark("a remark".to_owned());
        found
    }

    #[test]
    fn a_table_shows_figure_ratio_need_and_verdict() {
        let text = findings().text("kafka-bulk");
        let words = |start: &str| -> Vec<String> {
            let line = text.lines().find(|line| line.trim_start().starts_with(start)).unwrap();
            line.split_whitespace().map(str::to_owned).collect()
        };
        assert_eq!(words("produce")[1..], ["900", "k/s", "1.00", "M/s", "0.90", ">=", "0.8", "met"]);
        assert!(text.contains("NOT MET\n      beside: the floor; floor: 2.00 M/s (one send)"), "{text}");
        assert!(text.contains("not measured: no peers") && text.contains("* a remark"), "{text}");
    }

    #[test]
    fn programs_get_the_same_and_the_totals_add_up() {
        let found = findings();
        let json = found.json("kafka-bulk");
        assert_eq!((&json["lines"][0]["met"], &json["lines"][1]["met"]), (&json!(true), &json!(false)));
        assert_eq!(json["lines"][1]["floor"]["shown"], "2.00 M/s");
        assert_eq!(json["lines"][2]["ratio"], Value::Null);
        assert_eq!(json["rounds"]["own cpu"], json!([0.5]));
        assert_eq!(totals([&found, &found].into_iter()), (2, 2, 2));
    }
}
