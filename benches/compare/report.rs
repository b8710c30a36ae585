//! What was measured, as tables in a page and as drawings beside it. Only what stands between a section's marks is
//! replaced: what people have written about the figures stays.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::cost::{Row, Runs};
use super::odd::Odd;
use super::programs::Measured;

/// Puts a section between its marks, `<!-- NAME -->` and `<!-- end of NAME -->`; one that the page doesn't have comes last.
pub fn put(page: &str, name: &str, section: &str) -> String {
    let (begin, end) = (format!("<!-- {name} -->"), format!("<!-- end of {name} -->"));
    let block = format!("{begin}\n\n{}\n\n{end}", section.trim());
    let found = page.find(&begin).zip(page.find(&end).map(|at| at + end.len())).filter(|(from, to)| from < to);
    match found {
        Some((from, to)) => format!("{}{block}{}", &page[..from], &page[to..]),
        None => format!("{}\n\n{block}\n", page.trim_end()),
    }
}

/// The tables of one mail tree.
pub fn of_programs(name: &str, measured: &Measured, runs: usize, dir: &Path) -> String {
    let mut text = format!(
        "{} messages, {} bytes ({name}), in {}; {} processors; medians of {runs} runs, the two commands in turns. \
         A ratio below 1 means that mailsync is faster.\n\n\
         | what | mailsync | beside it | ratio | CPU | ratio | peak memory |\n|---|---|---|---|---|---|---|\n",
        measured.messages,
        measured.bytes,
        dir.display(),
        std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
    );
    for row in &measured.rows {
        text.push_str(&line(row));
    }
    text.push_str("\n| what | bytes | beside it | bytes | ratio |\n|---|---|---|---|---|\n");
    for (what, ours, beside, theirs) in &measured.sizes {
        let (other, ratio) = if *theirs == 0 {
            (String::new(), String::new())
        } else {
            (theirs.to_string(), format!("{:.3}", *ours as f64 / *theirs as f64))
        };
        let beside = quoted(beside);
        writeln!(text, "| {what} | {ours} | {beside} | {other} | {ratio} |").expect("a string");
    }
    if !measured.waits.is_empty() {
        text.push_str("\n| what | waits for the disk (fsync, fdatasync, syncfs, sync_file_range) |\n|---|---|\n");
        for (what, waits) in &measured.waits {
            writeln!(text, "| {what} | {waits} |").expect("a string");
        }
    }
    text
}

fn line(row: &Row) -> String {
    let Row { what, beside, ours, theirs } = row;
    let pair = |of: fn(&Runs) -> f64, show: fn(f64) -> String| {
        let mine = of(ours);
        match theirs {
            Some(theirs) => (show(mine), show(of(theirs)), format!("{:.2}", mine / of(theirs))),
            None => (show(mine), String::new(), String::new()),
        }
    };
    let (wall, their_wall, ratio) = pair(Runs::wall, seconds);
    let (cpu, their_cpu, cpu_ratio) = pair(Runs::cpu, seconds);
    let (peak, their_peak, _) = pair(|runs| runs.peak() as f64, mebibytes);
    let both = |ours: String, theirs: String| if theirs.is_empty() { ours } else { format!("{ours} / {theirs}") };
    let beside = format!("{their_wall} {}", quoted(beside));
    let (cpu, peak) = (both(cpu, their_cpu), both(peak, their_peak));
    format!("| {what} | {wall} | {} | {ratio} | {cpu} | {cpu_ratio} | {peak} |\n", beside.trim())
}

fn quoted(command: &str) -> String {
    if command.is_empty() { String::new() } else { format!("`{command}`") }
}

/// How each thing grows with the mail: `all` are measurements of the same shape, the least first.
pub fn of_growth(all: &[Measured]) -> String {
    let counts: Vec<String> = all.iter().map(|measured| format!("{}", measured.messages)).collect();
    let mut text = format!("| what | {} | the last per message, to the one before |\n", counts.join(" | "));
    writeln!(text, "|---|{}---|", "---|".repeat(counts.len())).expect("a string");
    let Some(last) = all.last() else { return text };
    for row in &last.rows {
        let of = |measured: &Measured| find(measured, row).map(|row| row.ours.wall());
        let points: Vec<Option<f64>> = all.iter().map(of).collect();
        let cells: Vec<String> = points.iter().map(|point| point.map_or_else(String::new, seconds)).collect();
        let ratio = match (all, &points[..]) {
            ([.., before, last], [.., Some(less), Some(more)]) => {
                format!("{:.2}", more / less * before.messages as f64 / last.messages as f64)
            }
            _ => String::new(),
        };
        let beside = if row.beside.is_empty() { String::new() } else { format!(" (beside `{}`)", row.beside) };
        writeln!(text, "| {}{beside} | {} | {ratio} |", row.what, cells.join(" | ")).expect("a string");
    }
    text
}

/// The row of another measurement that is of the same thing.
pub fn find<'m>(measured: &'m Measured, row: &Row) -> Option<&'m Row> {
    measured.rows.iter().find(|other| other.what == row.what && other.beside == row.beside)
}

/// Mail of which there is much of one kind.
pub fn of_odd(all: &[Odd]) -> String {
    let mut text =
        "| of which there are many | what | few | many | times as long | peak memory |\n|---|---|---|---|---|---|\n"
            .to_owned();
    for odd in all {
        let [(few, less), .., (many, more)] = &odd.points[..] else { continue };
        writeln!(
            text,
            "| {} | {} | {few}: {} | {many}: {} | {:.2} | {} / {} |",
            odd.kind,
            odd.what,
            seconds(less.wall),
            seconds(more.wall),
            more.wall / less.wall,
            mebibytes(less.peak as f64),
            mebibytes(more.peak as f64),
        )
        .expect("a string");
    }
    text
}

/// Seconds for people.
pub fn seconds(value: f64) -> String {
    if value < 0.1 { format!("{:.1} ms", value * 1000.0) } else { format!("{value:.2} s") }
}

/// Bytes for people.
pub fn mebibytes(bytes: f64) -> String {
    format!("{:.0} MiB", bytes / f64::from(1 << 20))
}

/// Writes the page with these sections.
pub fn write(out: &Path, sections: &[(String, String)]) {
    let mut page = fs::read_to_string(out).unwrap_or_else(|_| "# Performance\n".to_owned());
    for (name, section) in sections {
        page = put(&page, name, section);
    }
    fs::create_dir_all(out.parent().expect("a file lies in a directory")).expect("docs can be made");
    fs::write(out, page).expect("the report can be written");
}
