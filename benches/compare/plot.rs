//! What things cost against the number of messages: lines for tables and drawings.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::figures::{Figure, Figures, Value};
use super::report::{TREES, mebibytes, seconds};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Failure = Box<dyn std::error::Error>;

/// What is told and drawn of a value.
pub struct Quantity {
    /// What it is called.
    pub name: &'static str,
    /// It, if the value has it.
    of: fn(Value) -> Option<f64>,
    /// For a table.
    pub tell: fn(f64) -> String,
    /// For an axis.
    show: fn(&f64) -> String,
    /// Whether there is a table of it, besides the drawing.
    pub tabled: bool,
}

/// All that is drawn.
pub const QUANTITIES: [Quantity; 5] = [
    Quantity { name: "time", of: |value| Some(value.cost()?.wall), tell: seconds, show: short_seconds, tabled: true },
    Quantity { name: "CPU", of: |value| Some(value.cost()?.cpu), tell: seconds, show: short_seconds, tabled: false },
    Quantity {
        name: "memory",
        of: |value| Some(value.cost()?.peak as f64 / f64::from(1 << 20)),
        tell: |value| mebibytes(value * f64::from(1 << 20)),
        show: |value| format!("{value} MiB"),
        tabled: false,
    },
    Quantity {
        name: "bytes",
        of: |value| if let Value::Bytes(bytes) = value { Some(bytes as f64) } else { None },
        tell: |value| format!("{value:.0}"),
        show: short_bytes,
        tabled: true,
    },
    Quantity {
        name: "waits",
        of: |value| if let Value::Waits(waits) = value { Some(waits as f64) } else { None },
        tell: |value| format!("{value:.0}"),
        show: |value| format!("{value}"),
        tabled: true,
    },
];

/// The name of mailsync's line.
pub const OURS: &str = "mailsync";

/// A line of a drawing: a program, and what it used by number of messages, of which there are at least two.
pub struct Line {
    /// What was done.
    pub what: String,
    /// By which program.
    pub program: String,
    /// Number of messages and value, the least number first.
    pub points: Vec<(u64, f64)>,
}

/// What stands in one drawing: mailsync, and what does the same.
pub struct Panel {
    /// What was done.
    pub what: String,
    /// mailsync's line, and then those of others.
    pub lines: Vec<Line>,
}

/// How many drawings stand side by side.
const COLUMNS: usize = 3;
const SIZE: (u32, u32) = (440, 300);

/// What was measured of a section at two sizes or more.
pub fn panels(all: &Figures, section: &str, quantity: &Quantity) -> Vec<Panel> {
    let things = all.things(section);
    let has = |thing: &&Vec<&Figure>| (quantity.of)(thing[0].ours).is_some();
    let mut panels: Vec<Panel> = Vec::new();
    for thing in things.iter().filter(has) {
        let what = &thing[0].what;
        let at = panels.iter().position(|panel| panel.what == *what).unwrap_or_else(|| {
            // What was measured beside several programs is told once for each size.
            let mut ours: Vec<&Figure> = Vec::new();
            for figure in things.iter().filter(has).flatten().filter(|figure| figure.what == *what) {
                if ours.iter().all(|other| other.size != figure.size) {
                    ours.push(figure);
                }
            }
            ours.sort_by_key(|figure| figure.size);
            let line = line(what, OURS, &ours, |figure| (quantity.of)(figure.ours));
            panels.push(Panel { what: what.clone(), lines: line.into_iter().collect() });
            panels.len() - 1
        });
        panels[at].lines.extend(line(what, &thing[0].beside, thing, |figure| (quantity.of)(figure.theirs?)));
    }
    panels.retain(|panel| !panel.lines.is_empty());
    panels
}

fn line(what: &str, program: &str, figures: &[&Figure], of: impl Fn(&Figure) -> Option<f64>) -> Option<Line> {
    let points: Vec<(u64, f64)> = figures.iter().filter_map(|figure| Some((figure.size, of(figure)?))).collect();
    // A logarithm has no place for what is nothing.
    let drawn = points.len() > 1 && points.iter().all(|(_, value)| *value > 0.0);
    drawn.then(|| Line { what: what.to_owned(), program: program.to_owned(), points })
}

fn file(section: &str, quantity: &Quantity) -> String {
    format!("performance-{section}-{}.svg", quantity.name.to_lowercase())
}

/// The names of a section's drawings.
pub fn files(all: &Figures, section: &str) -> Vec<String> {
    let drawn = QUANTITIES.iter().filter(|quantity| !panels(all, section, quantity).is_empty());
    drawn.map(|quantity| file(section, quantity)).collect()
}

/// Draws what was measured at several sizes: files `DIR/performance-SECTION-QUANTITY.svg` with a panel for each thing. Both
/// axes are logarithmic: what costs in proportion rises by one decade in each.
pub fn draw(dir: &Path, all: &Figures) {
    for section in TREES {
        for quantity in &QUANTITIES {
            let panels = panels(all, section, quantity);
            if !panels.is_empty() {
                sheet(&dir.join(file(section, quantity)), &panels, quantity).expect("a drawing can be written");
            }
        }
    }
}

fn sheet(path: &Path, panels: &[Panel], quantity: &Quantity) -> Result<(), Failure> {
    let rows = panels.len().div_ceil(COLUMNS);
    let count = |count: usize| u32::try_from(count).expect("few panels");
    let root = SVGBackend::new(path, (SIZE.0 * count(COLUMNS), SIZE.1 * count(rows))).into_drawing_area();
    root.fill(&WHITE)?;
    for (area, drawn) in root.split_evenly((rows, COLUMNS)).iter().zip(panels) {
        panel(area, drawn, quantity)?;
    }
    root.present()?;
    Ok(())
}

fn panel(area: &Area<'_>, Panel { what, lines }: &Panel, quantity: &Quantity) -> Result<(), Failure> {
    let places = |line: &Line| -> Vec<(f64, f64)> { line.points.iter().map(|&(x, y)| (x as f64, y)).collect() };
    let points: Vec<(f64, f64)> = lines.iter().flat_map(places).collect();
    let range = |of: fn(&(f64, f64)) -> f64, above: f64| {
        let (least, most) = points.iter().map(of).fold((f64::MAX, f64::MIN), |(a, b), x| (a.min(x), b.max(x)));
        (least / 1.5)..(most * above)
    };
    let mut chart = ChartBuilder::on(area)
        .caption(what, ("sans-serif", 15))
        .margin(10)
        .x_label_area_size(36)
        .y_label_area_size(64)
        // Room for the legend above the lines.
        .build_cartesian_2d(range(|p| p.0, 1.5).log_scale(), range(|p| p.1, 8.0).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("messages")
        .y_desc(quantity.name)
        .x_labels(4)
        .y_labels(5)
        .x_label_formatter(&|count| format!("{count}"))
        .y_label_formatter(&quantity.show)
        .light_line_style(WHITE)
        .draw()?;
    let colours = [BLUE, RED, GREEN, MAGENTA];
    for (line, colour) in lines.iter().zip(colours.iter().cycle()) {
        let style = colour.stroke_width(2);
        chart
            .draw_series(LineSeries::new(places(line), style).point_size(3))?
            .label(&line.program)
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 16, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    Ok(())
}

/// Seconds at an axis, as short as they can be.
fn short_seconds(value: &f64) -> String {
    if *value < 1.0 { format!("{} ms", (value * 1e6).round() / 1e3) } else { format!("{value} s") }
}

/// Bytes at an axis.
fn short_bytes(value: &f64) -> String {
    match *value {
        value if value < 1e3 => format!("{value} B"),
        value if value < 1e6 => format!("{} kB", value / 1e3),
        value if value < 1e9 => format!("{} MB", value / 1e6),
        value => format!("{} GB", value / 1e9),
    }
}
