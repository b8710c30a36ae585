//! Drawings of what things cost against the number of messages.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::cost::Runs;
use super::programs::Measured;
use super::report::find;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Failure = Box<dyn std::error::Error>;

/// What is drawn of a run.
#[derive(Clone, Copy)]
struct Quantity {
    name: &'static str,
    of: fn(&Runs) -> f64,
    show: fn(&f64) -> String,
}

const QUANTITIES: [Quantity; 3] = [
    Quantity { name: "time", of: Runs::wall, show: seconds },
    Quantity { name: "CPU", of: Runs::cpu, show: seconds },
    Quantity {
        name: "memory",
        of: |runs| runs.peak() as f64 / f64::from(1 << 20),
        show: |value| format!("{value} MiB"),
    },
];

/// A line of a drawing: a program, and what it used by number of messages.
struct Line {
    program: String,
    points: Vec<(f64, f64)>,
}

/// How many drawings stand side by side.
const COLUMNS: usize = 3;
const SIZE: (u32, u32) = (440, 300);

/// Draws what was measured at several sizes: files `DIR/performance-NAME-QUANTITY.svg` with a panel for each thing. Both
/// axes are logarithmic: what costs in proportion rises by one decade in each. Gives the names of the files.
pub fn draw(dir: &Path, name: &str, all: &[Measured]) -> Vec<String> {
    let Some(last) = all.last().filter(|_| all.len() > 1) else { return Vec::new() };
    let mut things: Vec<&str> = Vec::new();
    for row in &last.rows {
        let other = all.iter().filter(|measured| find(measured, row).is_some()).count();
        if other > 1 && !things.contains(&row.what.as_str()) {
            things.push(&row.what);
        }
    }
    let file = |quantity: Quantity| format!("performance-{name}-{}.svg", quantity.name.to_lowercase());
    for quantity in QUANTITIES {
        sheet(&dir.join(file(quantity)), &things, all, quantity).expect("a drawing can be written");
    }
    QUANTITIES.map(file).into()
}

fn sheet(path: &Path, things: &[&str], all: &[Measured], quantity: Quantity) -> Result<(), Failure> {
    let rows = things.len().div_ceil(COLUMNS);
    let count = |count: usize| u32::try_from(count).expect("few panels");
    let root = SVGBackend::new(path, (SIZE.0 * count(COLUMNS), SIZE.1 * count(rows))).into_drawing_area();
    root.fill(&WHITE)?;
    for (area, what) in root.split_evenly((rows, COLUMNS)).iter().zip(things) {
        panel(area, what, &lines_of(what, all, quantity), quantity)?;
    }
    root.present()?;
    Ok(())
}

/// mailsync's line and those of what stands beside it.
fn lines_of(what: &str, all: &[Measured], quantity: Quantity) -> Vec<Line> {
    let last = all.last().expect("something was measured");
    let rows: Vec<_> = last.rows.iter().filter(|row| row.what == what).collect();
    let line = |program: &str, used: &dyn Fn(&Measured) -> Option<f64>| Line {
        program: program.to_owned(),
        points: all.iter().filter_map(|m| Some((m.messages as f64, used(m)?))).collect(),
    };
    let mut lines = vec![line("mailsync", &|m| Some((quantity.of)(&find(m, rows[0])?.ours)))];
    for row in rows.into_iter().filter(|row| row.theirs.is_some()) {
        let beside = row.beside.replace('\\', "");
        lines.push(line(&beside, &|m| Some((quantity.of)(find(m, row)?.theirs.as_ref()?))));
    }
    lines
}

fn panel(area: &Area<'_>, what: &str, lines: &[Line], quantity: Quantity) -> Result<(), Failure> {
    let points = || lines.iter().flat_map(|line| line.points.iter());
    let range = |of: fn(&(f64, f64)) -> f64, above: f64| {
        let (least, most) = points().map(of).fold((f64::MAX, f64::MIN), |(a, b), x| (a.min(x), b.max(x)));
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
            .draw_series(LineSeries::new(line.points.iter().copied(), style).point_size(3))?
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
fn seconds(value: &f64) -> String {
    if *value < 1.0 { format!("{} ms", (value * 1e6).round() / 1e3) } else { format!("{value} s") }
}
