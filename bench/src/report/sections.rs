//! What is shown of each kind of file.
//!
//! In: figures. Out: pictures and tables as HTML. Never: believes that a field is there.

use serde_json::Value;

use super::Source;
use super::engine;
use super::page::{escape, table};
use super::picture::{self, Axes, Cell, Line, Span, short};
use super::targets;
use crate::failure::Failure;
use crate::histogram::median;

/// The middle of a list of numbers, or the number.
pub fn middle(value: &Value) -> f64 {
    match value.as_array() {
        Some(all) => median(all.iter().filter_map(Value::as_f64).collect()),
        None => value.as_f64().unwrap_or(f64::NAN),
    }
}

/// The values of a list; of anything else none.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The words of a text; of anything else none.
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Two numbers that say most of this file.
pub fn headlines(source: &Source) -> Vec<(String, String)> {
    let figures = source.figures();
    match source.kind.as_str() {
        "targets" => targets::headlines(figures),
        "load" => {
            let rate = short(figures["records_per_second"].as_f64().unwrap_or(0.0));
            let p99 = figures["response"]["p99_us"].as_f64().unwrap_or(0.0) / 1e3;
            vec![
                (
                    format!("{rate} records/s"),
                    format!("{} over {}", text(&figures["work"]), text(&figures["protocol"])),
                ),
                (format!("{p99:.2} ms"), "p99 of the same run".to_owned()),
            ]
        }
        "probe" => {
            let surface =
                list(&figures["surfaces"]).iter().find(|surface| surface["pattern"] == "durable append");
            let cells = surface.map_or(&[][..], |surface| list(&surface["cells"]));
            let best =
                cells.iter().map(|cell| middle(&cell["figures"]["bytes_per_second"])).fold(0.0, f64::max);
            let way = |cell: &&Value| cell["file"] == "pre-written" && cell["way"] == "RWF_DSYNC";
            let alone =
                list(&figures["durable"]).iter().find(way).map_or(0.0, |cell| middle(&cell["p50_us"]));
            vec![
                (format!("{:.0} MB/s", best / 1e6), "durable appends, in bulk".to_owned()),
                (format!("{alone:.0} us"), "one durable write of 4 KiB, p50".to_owned()),
            ]
        }
        "compare" => list(&figures["works"])
            .iter()
            .filter_map(|work| {
                let durable = list(&work["servers"]).get(1)?;
                let ratio = durable["own_to_this"]["median"].as_f64()?;
                Some((
                    format!("{ratio:.1} x"),
                    format!("as fast as {}, both durable: {}", text(&durable["server"]), text(&work["work"])),
                ))
            })
            .take(2)
            .collect(),
        _ => Vec::new(),
    }
}

/// The section of one file.
pub fn section(source: &Source) -> Result<String, Failure> {
    let figures = source.figures();
    match source.kind.as_str() {
        "load" => Ok(load_table(figures)),
        "probe" => probe(figures),
        "compare" | "engine-peers" => compare(figures),
        "targets" => targets::section(figures),
        "floor" => Ok(floor(figures)),
        kind if kind.starts_with("engine-") => Ok(engine::section(figures)),
        _ => Ok(format!("<pre>{}</pre>", escape(&format!("{figures:#}")))),
    }
}

/// Latencies and throughput of all loads in one picture each, so that they can be compared.
pub fn loads(sources: &[Source]) -> Result<String, Failure> {
    let loads: Vec<&Source> = sources.iter().filter(|source| source.kind == "load").collect();
    if loads.is_empty() {
        return Ok(String::new());
    }
    let name = |source: &Source| {
        let figures = source.figures();
        format!("{}: {}, {}", source.name, text(&figures["work"]), text(&figures["protocol"]))
    };
    let curve = |source: &&Source| {
        let points = list(&source.figures()["response"]["curve_us"]);
        let points = points.iter().filter_map(|point| Some((point[0].as_f64()?, point[1].as_f64()?)));
        Line { name: name(source), points: points.collect() }
    };
    let over_time = |source: &&Source, field: &str| {
        let seconds = source.figures()["interval_seconds"].as_f64().unwrap_or(1.0);
        let intervals = list(&source.figures()["intervals"]).iter().enumerate();
        let points = intervals.filter_map(|(at, one)| Some((at as f64 * seconds, one[field].as_f64()?)));
        Line { name: name(source), points: points.collect() }
    };
    let latencies: Vec<Line> = loads.iter().map(curve).collect();
    let rates: Vec<Line> = loads.iter().map(|source| over_time(source, "records_per_second")).collect();
    let tails: Vec<Line> = loads.iter().map(|source| over_time(source, "p99_us")).collect();
    let axes = |title, x, y| Axes { title, x, y };
    Ok(format!(
        "<h2>Load</h2>{}{}{}",
        picture::percentiles(axes("Latency by percentile", "percentile", "latency"), &latencies)?,
        picture::lines(axes("Throughput over time", "seconds", "records/s"), &rates)?,
        picture::lines(axes("p99 of each interval", "seconds", "us"), &tails)?,
    ))
}

fn load_table(figures: &Value) -> String {
    let of = |part: &str| {
        let one = &figures[part];
        ["p50_us", "p99_us", "p999_us", "max_us"].map(|name| format!("{:.1}", middle(&one[name]))).join(" / ")
    };
    let rate = figures["rate"]
        .as_u64()
        .map_or("closed loop".to_owned(), |rate| format!("open loop, {rate} requests/s"));
    table(
        &["", ""],
        &[
            vec!["kind".to_owned(), rate],
            vec!["records/s".to_owned(), short(middle(&figures["records_per_second"]))],
            vec!["MB/s".to_owned(), format!("{:.1}", middle(&figures["bytes_per_second"]) / 1e6)],
            vec!["latency us, p50 / p99 / p99.9 / max".to_owned(), of("response")],
            vec!["from sending us, p50 / p99 / p99.9 / max".to_owned(), of("service")],
            vec!["planned and never sent".to_owned(), figures["unsent"].to_string()],
        ],
    )
}

fn probe(figures: &Value) -> Result<String, Failure> {
    let mut out = "<h3>Is this disk good for this broker, and which settings follow?</h3><ul>".to_owned();
    list(&figures["verdict"]).iter().for_each(|words| out += &format!("<li>{}</li>", escape(&text(words))));
    out += "</ul>";
    for surface in list(&figures["surfaces"]) {
        let knee = &surface["knee"];
        let cells: Vec<Cell> = list(&surface["cells"])
            .iter()
            .map(|cell| {
                let (bytes, depth) = (&cell["block_bytes"], &cell["depth"]);
                let value = middle(&cell["figures"]["bytes_per_second"]) / 1e6;
                Cell {
                    x: depth.to_string(),
                    y: format!("{} KiB", bytes.as_u64().unwrap_or(0) >> 10),
                    value,
                    label: short(value),
                    marked: knee["block_bytes"] == *bytes && knee["depth"] == *depth,
                }
            })
            .collect();
        let title = format!("{}, MB/s by block size and depth (frame: the knee)", text(&surface["pattern"]));
        out += &picture::surface(Axes { title: &title, x: "depth", y: "block" }, &cells)?;
    }
    out += &mixed(figures)?;
    out += &steady(figures)?;
    let rows: Vec<Vec<String>> = list(&figures["durable"])
        .iter()
        .map(|cell| {
            let us = |name: &str| format!("{:.0}", middle(&cell[name]));
            vec![text(&cell["file"]), text(&cell["way"]), us("p50_us"), us("p99_us")]
        })
        .collect();
    out += "<h3>Ways to make an append of 4 KiB durable</h3>";
    out += &table(&["file", "way", "p50 us", "p99 us"], &rows);
    let rows: Vec<Vec<String>> = list(&figures["runtimes"])
        .iter()
        .map(|row| {
            let of = |name: &str| {
                format!(
                    "{}/s, {:.1} us CPU",
                    short(middle(&row[name]["per_second"])),
                    middle(&row[name]["cpu_us"])
                )
            };
            vec![text(&row["runtime"]), of("append_depth_1"), of("append_depth_8"), of("echo")]
        })
        .collect();
    out += "<h3>Runtimes on the same work</h3>";
    out += &table(&["", "append, depth 1", "append, depth 8", "echo"], &rows);
    Ok(out)
}

/// What appends and reads do to each other: one field for what is written, one for how late the slowest get.
fn mixed(figures: &Value) -> Result<String, Failure> {
    let cells = |wanted: &dyn Fn(&Value) -> f64, label: &dyn Fn(f64) -> String| -> Vec<Cell> {
        let found = list(&figures["mixed"]).iter().filter(|cell| cell["writes"].as_u64() > Some(0));
        found
            .map(|cell| {
                let value = wanted(cell);
                let (x, y) = (cell["reads"].to_string(), cell["writes"].to_string());
                Cell { x, y, value, label: label(value), marked: false }
            })
            .collect()
    };
    let rates = cells(&|cell| middle(&cell["write"]["bytes_per_second"]) / 1e6, &short);
    let tails = cells(&|cell| middle(&cell["write"]["p99_us"]), &|us| format!("{us:.0}"));
    if rates.is_empty() {
        return Ok(String::new());
    }
    let axes = |title| Axes { title, x: "reads in flight", y: "appends in flight" };
    let mut out =
        picture::surface(axes("durable appends of 64 KiB beside random reads, MB/s written"), &rates)?;
    out += &picture::surface(axes("the same, p99 of an append in us (darker is slower)"), &tails)?;
    Ok(out)
}

fn steady(figures: &Value) -> Result<String, Failure> {
    let rates = list(&figures["steady"]["bytes_per_second"]);
    if rates.is_empty() {
        return Ok(String::new());
    }
    let points = rates.iter().enumerate().filter_map(|(at, rate)| Some((at as f64, rate.as_f64()?)));
    let line = Line { name: "durable appends, 256 KiB x 4".to_owned(), points: points.collect() };
    let axes = Axes { title: "Steady state", x: "seconds", y: "bytes/s" };
    let words = escape(&text(&figures["steady"]["judgement"]));
    Ok(format!("<h3>Does it keep its speed?</h3><p>{words}</p>{}", picture::lines(axes, &[line])?))
}

fn compare(figures: &Value) -> Result<String, Failure> {
    let mut out = ratios(figures)?;
    for work in list(&figures["works"]) {
        out += &format!("<h3>{}</h3>", escape(&text(&work["work"])));
        let rows: Vec<Vec<String>> = list(&work["servers"])
            .iter()
            .enumerate()
            .map(|(place, server)| {
                let ratio = &server["own_to_this"];
                let of = |name: &str| middle(&ratio[name]);
                let us = |name: &str| match list(&server[name]) {
                    [] => "-".to_owned(),
                    _ => format!("{:.0}", middle(&server[name])),
                };
                let against = match place {
                    0 => "-".to_owned(),
                    _ => format!("{:.2} ({:.2} to {:.2})", of("median"), of("low"), of("high")),
                };
                vec![
                    format!("{} ({})", text(&server["server"]), text(&server["settings"])),
                    short(middle(&server["records_per_second"])),
                    us("p50_us"),
                    us("p99_us"),
                    format!("{:.2}", middle(&server["cpu_us_per_record"])),
                    against,
                ]
            })
            .collect();
        let heads = ["", "records/s", "p50 us", "p99 us", "server CPU us a record", "ours to theirs (95 %)"];
        out += &table(&heads, &rows);
    }
    let rows: Vec<Vec<String>> = list(&figures["memory"])
        .iter()
        .map(|server| {
            let mib = server["resident_bytes"].as_u64().unwrap_or(0) >> 20;
            vec![format!("{} ({})", text(&server["server"]), text(&server["settings"])), format!("{mib} MiB")]
        })
        .collect();
    if !rows.is_empty() {
        out += "<h3>Memory</h3>";
        out += &table(&["", "resident at most"], &rows);
    }
    Ok(out)
}

/// All ratios of a comparison in one picture.
fn ratios(figures: &Value) -> Result<String, Failure> {
    let mut spans = Vec::new();
    for work in list(&figures["works"]) {
        for server in list(&work["servers"]).iter().skip(1) {
            let ratio = &server["own_to_this"];
            let kind = text(&server["settings"]);
            let kind = kind.split(':').next().unwrap_or_default();
            let name = format!("{} | {} {kind}", text(&work["work"]), text(&server["server"]));
            let (low, high) = (middle(&ratio["low"]), middle(&ratio["high"]));
            spans.push(Span { name, low, middle: middle(&ratio["median"]), high });
        }
    }
    if spans.is_empty() {
        return Ok(String::new());
    }
    let title = "Throughput, ours to theirs (right of 1: ours is faster; bar: 95 %)";
    picture::ratios(Axes { title, x: "ratio", y: "" }, &spans)
}

fn floor(figures: &Value) -> String {
    let rows: Vec<Vec<String>> = list(figures)
        .iter()
        .map(|row| {
            let of = |side: &str, name: &str| middle(&row[side][name]);
            vec![
                text(&row["work"]),
                short(of("floor", "records_per_second")),
                format!("{:.0} / {:.0}", of("floor", "p50_us"), of("floor", "p99_us")),
                short(of("null", "records_per_second")),
                format!("{:.0} / {:.0}", of("null", "p50_us"), of("null", "p99_us")),
            ]
        })
        .collect();
    let heads = ["", "durable, records/s", "p50 / p99 us", "without a disk, records/s", "p50 / p99 us"];
    table(&heads, &rows)
}
