//! Pictures as SVG text, by plotters.
//!
//! In: numbers with names. Out: SVG. Never: a value that is not finite; those are left out.

use std::fmt::Display;

use plotters::coord::ranged1d::{NoDefaultFormatting, ValueFormatter};
use plotters::prelude::*;

use crate::failure::Failure;

const SIZE: (u32, u32) = (880, 380);
/// Colours that stay apart for most colour-blind people.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(120, 120, 120),
];
const FONT: (&str, u32) = ("sans-serif", 14);

/// A named series of points.
pub struct Line {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

impl Line {
    fn finite(&self) -> Vec<(f64, f64)> {
        self.points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite()).collect()
    }
}

/// What the axes are called.
#[derive(Clone, Copy)]
pub struct Axes<'a> {
    pub title: &'a str,
    pub x: &'a str,
    pub y: &'a str,
}

fn failed(error: impl Display) -> Failure {
    Failure::Broker(format!("cannot draw: {error}"))
}

/// Latency over percentiles: the axis is stretched so that each further nine takes the same room.
pub fn percentiles(axes: Axes<'_>, lines: &[Line]) -> Result<String, Failure> {
    let stretched: Vec<Line> = lines
        .iter()
        .map(|line| {
            let points = line.finite().into_iter().filter(|(percent, us)| *percent < 100.0 && *us > 0.0);
            Line {
                name: line.name.clone(),
                points: points.map(|(percent, us)| (nines(percent), us)).collect(),
            }
        })
        .collect();
    let (low, high) = range(stretched.iter().flat_map(|line| &line.points).map(|(_, us)| *us));
    let mut out = String::new();
    {
        let root = SVGBackend::with_string(&mut out, SIZE).into_drawing_area();
        let y = (low * 0.8..high * 1.25).log_scale();
        let mut chart = ChartBuilder::on(&root)
            .caption(axes.title, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(90)
            .build_cartesian_2d(0f64..5.2f64, y)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .x_desc(axes.x)
            .y_desc(axes.y)
            .x_labels(6)
            .x_label_formatter(&|nines| percent_label(*nines))
            .y_label_formatter(&|us| microseconds(*us))
            .label_style(FONT)
            .draw()
            .map_err(failed)?;
        for (line, colour) in stretched.iter().zip(COLOURS.iter().cycle()) {
            let colour = *colour;
            chart
                .draw_series(LineSeries::new(line.points.clone(), colour.stroke_width(2)))
                .map_err(failed)?
                .label(line.name.as_str())
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK.mix(0.2))
            .label_font(FONT)
            .draw()
            .map_err(failed)?;
        root.present().map_err(failed)?;
    }
    Ok(out)
}

/// Lines over time or anything else that grows evenly, from zero.
pub fn lines(axes: Axes<'_>, lines: &[Line]) -> Result<String, Failure> {
    let points = || lines.iter().flat_map(Line::finite);
    let (_, high) = range(points().map(|(_, y)| y));
    let (_, last) = range(points().map(|(x, _)| x));
    let mut out = String::new();
    {
        let root = SVGBackend::with_string(&mut out, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .caption(axes.title, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(90)
            .build_cartesian_2d(0f64..last.max(1.0), 0f64..high * 1.1)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .x_desc(axes.x)
            .y_desc(axes.y)
            .y_label_formatter(&|value| short(*value))
            .label_style(FONT)
            .draw()
            .map_err(failed)?;
        for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
            let colour = *colour;
            chart
                .draw_series(LineSeries::new(line.finite(), colour.stroke_width(2)))
                .map_err(failed)?
                .label(line.name.as_str())
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK.mix(0.2))
            .label_font(FONT)
            .draw()
            .map_err(failed)?;
        root.present().map_err(failed)?;
    }
    Ok(out)
}

/// One cell of a surface.
pub struct Cell {
    pub x: String,
    pub y: String,
    pub value: f64,
    pub label: String,
    /// Drawn with a frame.
    pub marked: bool,
}

/// A field of cells, darker where there is more.
pub fn surface(axes: Axes<'_>, cells: &[Cell]) -> Result<String, Failure> {
    let names = |name: fn(&Cell) -> &String| {
        let mut found: Vec<String> = Vec::new();
        cells.iter().map(name).for_each(|name| {
            if !found.contains(name) {
                found.push(name.clone());
            }
        });
        found
    };
    let (columns, rows) = (names(|cell| &cell.x), names(|cell| &cell.y));
    let (_, high) = range(cells.iter().map(|cell| cell.value));
    let place =
        |names: &[String], name: &String| names.iter().position(|known| known == name).unwrap_or(0) as f64;
    let mut out = String::new();
    {
        let root = SVGBackend::with_string(&mut out, SIZE).into_drawing_area();
        let (across, up) = (Named(columns.clone()), Named(rows.clone()));
        let mut chart = ChartBuilder::on(&root)
            .caption(axes.title, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(90)
            .build_cartesian_2d(across, up)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .disable_mesh()
            .x_desc(axes.x)
            .y_desc(axes.y)
            .label_style(FONT)
            .draw()
            .map_err(failed)?;
        for cell in cells.iter().filter(|cell| cell.value.is_finite()) {
            let (x, y) = (place(&columns, &cell.x), place(&rows, &cell.y));
            let part = (cell.value / high).clamp(0.0, 1.0);
            let corners = [(x, y), (x + 1.0, y + 1.0)];
            let fill = COLOURS[0].mix(0.05 + 0.9 * part).filled();
            chart.draw_series([Rectangle::new(corners, fill)]).map_err(failed)?;
            let colour = if part > 0.55 { WHITE } else { BLACK };
            let style = FONT.into_font().color(&colour).pos(plotters::style::text_anchor::Pos::new(
                plotters::style::text_anchor::HPos::Center,
                plotters::style::text_anchor::VPos::Center,
            ));
            chart.draw_series([Text::new(cell.label.clone(), (x + 0.5, y + 0.5), style)]).map_err(failed)?;
        }
        // Last, so that no neighbour is drawn over it; a rectangle of plotters has thin edges only.
        for cell in cells.iter().filter(|cell| cell.marked) {
            let (x, y) = (place(&columns, &cell.x), place(&rows, &cell.y));
            let around = [(x, y), (x + 1.0, y), (x + 1.0, y + 1.0), (x, y + 1.0), (x, y)];
            chart.draw_series([PathElement::new(around, COLOURS[1].stroke_width(4))]).map_err(failed)?;
        }
        root.present().map_err(failed)?;
    }
    Ok(out)
}

/// One ratio and where it may really lie.
pub struct Span {
    pub name: String,
    pub low: f64,
    pub middle: f64,
    pub high: f64,
}

impl Span {
    /// Whether a logarithm can show all of it.
    fn is_drawable(&self) -> bool {
        [self.low, self.middle, self.high].iter().all(|value| value.is_finite() && *value > 0.0)
    }
}

/// Ratios below each other with their intervals, and a line where both are equal.
pub fn ratios(axes: Axes<'_>, spans: &[Span]) -> Result<String, Failure> {
    // The first comes on top.
    let spans: Vec<&Span> = spans.iter().rev().filter(|span| span.is_drawable()).collect();
    let (low, high) = range(spans.iter().flat_map(|span| [span.low, span.high, 1.0]));
    let mut out = String::new();
    {
        let size = (SIZE.0, 90 + 34 * spans.len() as u32);
        let root = SVGBackend::with_string(&mut out, size).into_drawing_area();
        let x = (low * 0.7..high * 1.5).log_scale();
        let names = Named(spans.iter().map(|span| span.name.clone()).collect());
        let mut chart = ChartBuilder::on(&root)
            .caption(axes.title, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(430)
            .build_cartesian_2d(x, names)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .light_line_style(TRANSPARENT)
            .x_desc(axes.x)
            .x_label_formatter(&|ratio| format!("{ratio}"))
            .label_style(FONT)
            .draw()
            .map_err(failed)?;
        let equal = [(1.0, 0.0), (1.0, spans.len() as f64)];
        chart.draw_series([PathElement::new(equal, BLACK.stroke_width(1))]).map_err(failed)?;
        for (at, span) in spans.iter().enumerate() {
            let y = at as f64 + 0.5;
            let colour = if span.low > 1.0 {
                COLOURS[0]
            } else if span.high < 1.0 {
                COLOURS[1]
            } else {
                COLOURS[5]
            };
            let line = PathElement::new([(span.low, y), (span.high, y)], colour.stroke_width(4));
            chart.draw_series([line]).map_err(failed)?;
            chart.draw_series([Circle::new((span.middle, y), 5, colour.filled())]).map_err(failed)?;
            let label = format!("{:.2}", span.middle);
            let above = Text::new(label, (span.middle, y + 0.45), ("sans-serif", 12).into_font());
            chart.draw_series([above]).map_err(failed)?;
        }
        root.present().map_err(failed)?;
    }
    Ok(out)
}

/// An axis of names; name `n` takes the room from `n` to `n + 1`.
struct Named(Vec<String>);

impl Ranged for Named {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let part = value / self.0.len().max(1) as f64;
        limit.0 + (part * f64::from(limit.1 - limit.0)).round() as i32
    }

    fn key_points<Hint: plotters::coord::ranged1d::KeyPointHint>(&self, _hint: Hint) -> Vec<f64> {
        (0..self.0.len()).map(|place| place as f64 + 0.5).collect()
    }

    fn range(&self) -> std::ops::Range<f64> {
        0.0..self.0.len() as f64
    }
}

impl ValueFormatter<f64> for Named {
    fn format_ext(&self, value: &f64) -> String {
        self.0.get(*value as usize).cloned().unwrap_or_default()
    }
}

/// The least and the most of what is there; never an empty range.
fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let found = values.filter(|value| value.is_finite());
    let (low, high) = found.fold((f64::MAX, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
    if high <= 0.0 { (1.0, 10.0) } else { (low.max(high / 1e9), high) }
}

/// 90 is 1, 99 is 2, 99.9 is 3.
fn nines(percent: f64) -> f64 {
    -((100.0 - percent) / 100.0).log10()
}

fn percent_label(nines: f64) -> String {
    let percent = 100.0 - 100.0 / 10f64.powf(nines);
    let text = format!("{percent:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn microseconds(us: f64) -> String {
    match us {
        us if us >= 1e6 => format!("{} s", short(us / 1e6)),
        us if us >= 1e3 => format!("{} ms", short(us / 1e3)),
        us => format!("{} us", short(us)),
    }
}

/// Three digits and a unit.
pub fn short(value: f64) -> String {
    let (value, unit) = match value.abs() {
        size if size >= 1e9 => (value / 1e9, "G"),
        size if size >= 1e6 => (value / 1e6, "M"),
        size if size >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let text = if value.abs() < 10.0 && value.fract() != 0.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    };
    format!("{text}{unit}")
}
