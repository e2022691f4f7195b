//! The speed targets on the page: a table for each, and curves of what grew.
//!
//! In: figures of `targets`. Out: tables and pictures as HTML. Never: judges; the verdicts are in the figures.

use serde_json::Value;

use super::page::{escape, table};
use super::picture::{self, Axes, Line};
use super::sections::{list, text};
use crate::failure::Failure;

/// How many were met, of those that were measured.
pub fn headlines(figures: &Value) -> Vec<(String, String)> {
    let count = |name: &str| figures[name].as_u64().unwrap_or(0);
    let (met, missed) = (count("met"), count("missed"));
    let unmeasured = count("unmeasured");
    vec![(format!("{met} of {}", met + missed), format!("targets met; {unmeasured} not measured"))]
}

/// All targets one below the other.
pub fn section(figures: &Value) -> Result<String, Failure> {
    let mut out = String::new();
    for target in list(&figures["targets"]) {
        out += &format!("<h3>{}</h3>", escape(&text(&target["target"])));
        let rows: Vec<Vec<String>> = list(&target["lines"]).iter().map(row).collect();
        out += &table(&["", "figure", "beside", "ratio", "needed", "floor", ""], &rows);
        let remarks: String = list(&target["remarks"])
            .iter()
            .map(|words| format!("<li>{}</li>", escape(&text(words))))
            .collect();
        out += &format!("<ul>{remarks}</ul>");
        out += &curves(list(&target["curves"]))?;
    }
    Ok(out)
}

fn row(line: &Value) -> Vec<String> {
    let named = |value: &Value| match value["name"].as_str() {
        Some(name) => format!("{name}: {}", value["shown"].as_str().unwrap_or("-")),
        None => "-".to_owned(),
    };
    let ratio = line["ratio"].as_f64().map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
    vec![
        text(&line["line"]),
        line["shown"].as_str().unwrap_or("-").to_owned(),
        named(&line["beside"]),
        ratio,
        text(&line["needed"]["shown"]),
        named(&line["floor"]),
        text(&line["verdict"]),
    ]
}

/// Cost and rate over the number of zeros of what grew.
fn curves(all: &[Value]) -> Result<String, Failure> {
    let lines = |place: usize| -> Vec<Line> {
        let of = |curve: &Value| {
            let points = list(&curve["points"])
                .iter()
                .filter_map(|point| Some((point[0].as_f64()?.log10(), point[place].as_f64()?)));
            Line { name: text(&curve["name"]), points: points.collect() }
        };
        all.iter().map(of).filter(|line| !line.points.is_empty()).collect()
    };
    let (costs, rates) = (lines(1), lines(2));
    if costs.is_empty() || rates.is_empty() {
        return Ok(String::new());
    }
    let axes = |title, y| Axes { title, x: "powers of ten: 0 is one, 3 is a thousand", y };
    Ok(picture::lines(axes("Processor time of a record", "us"), &costs)?
        + &picture::lines(axes("Rate", "records/s"), &rates)?)
}
