//! What was measured, as tables in a page. Only what stands between a section's marks is replaced: what people have written
//! about the figures stays.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::cost::Cost;
use super::figures::{Figure, Figures, Tree, Value};
use super::plot;

/// Mail trees of these shapes are measured at several sizes.
pub const TREES: [&str; 2] = ["large", "small"];

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

/// The page's sections that there are figures for, with their names.
pub fn sections(all: &Figures) -> Vec<(String, String)> {
    let mut sections = Vec::new();
    for name in TREES {
        let trees = all.trees_of(name);
        if trees.is_empty() {
            continue;
        }
        // The largest first: it is what the others are compared with.
        let tables: Vec<String> = trees.iter().rev().map(|tree| of_tree(all, tree)).collect();
        sections.push((name.to_owned(), tables.join("\n")));
        let growth = of_growth(all, name);
        if !growth.is_empty() {
            sections.push((format!("{name}, growth"), growth));
        }
    }
    let odd = of_odd(all);
    sections.extend((!odd.is_empty()).then(|| ("odd".to_owned(), odd)));
    sections
}

/// The tables of one mail tree.
fn of_tree(all: &Figures, tree: &Tree) -> String {
    let Tree { section, size, bytes, dir, processors, runs } = tree;
    let of = if *runs == 1 { "one run of each command".to_owned() } else { format!("medians of {runs} runs") };
    let mut text = format!(
        "{size} messages, {bytes} bytes ({section}), in {dir}; {processors} processors; {of}, mailsync and what stands beside it in turns. \
         A ratio below 1 means that mailsync is faster.\n\n"
    );
    let figures: Vec<&Figure> =
        all.figures.iter().filter(|figure| figure.section == *section && figure.size == *size).collect();
    let what = |figure: &Figure| match figure.runs {
        same if same == *runs => figure.what.clone(),
        1 => format!("{} (1 run)", figure.what),
        other => format!("{} ({other} runs)", figure.what),
    };
    let costs: Vec<String> = figures.iter().filter_map(|figure| cost_line(&what(figure), figure)).collect();
    let bytes: Vec<String> = figures.iter().filter_map(|figure| bytes_line(&figure.what, figure)).collect();
    let waits: Vec<String> = figures.iter().filter_map(|figure| waits_line(&figure.what, figure)).collect();
    let heads = [
        "| what | mailsync | beside it | ratio | CPU | ratio | peak memory |\n|---|---|---|---|---|---|---|\n",
        "| what | bytes | for each message | beside it | bytes | ratio |\n|---|---|---|---|---|---|\n",
        "| what | waits for the disk (fsync, fdatasync, syncfs, sync_file_range) | beside it | waits |\n|---|---|---|---|\n",
    ];
    let tables = heads.iter().zip([costs, bytes, waits]).filter(|(_, lines)| !lines.is_empty());
    let tables: Vec<String> = tables.map(|(head, lines)| format!("{head}{}", lines.concat())).collect();
    text.push_str(&tables.join("\n"));
    text
}

/// Two values and their ratio, as far as there are two.
fn pair(ours: f64, theirs: Option<f64>, show: fn(f64) -> String) -> (String, String, String) {
    match theirs {
        Some(theirs) => (show(ours), show(theirs), format!("{:.2}", ours / theirs)),
        None => (show(ours), String::new(), String::new()),
    }
}

fn both(ours: String, theirs: &str) -> String {
    if theirs.is_empty() { ours } else { format!("{ours} / {theirs}") }
}

fn cost_line(what: &str, figure: &Figure) -> Option<String> {
    let ours = figure.ours.cost()?;
    let theirs = figure.theirs.and_then(Value::cost);
    let (wall, their_wall, ratio) = pair(ours.wall, theirs.map(|cost| cost.wall), seconds);
    let (cpu, their_cpu, cpu_ratio) = pair(ours.cpu, theirs.map(|cost| cost.cpu), seconds);
    let (peak, their_peak, _) = pair(ours.peak as f64, theirs.map(|cost| cost.peak as f64), mebibytes);
    let beside = format!("{their_wall} {}", quoted(&figure.beside));
    let (cpu, peak) = (both(cpu, &their_cpu), both(peak, &their_peak));
    Some(format!("| {what} | {wall} | {} | {ratio} | {cpu} | {cpu_ratio} | {peak} |\n", beside.trim()))
}

fn bytes_line(what: &str, figure: &Figure) -> Option<String> {
    let Value::Bytes(ours) = figure.ours else { return None };
    let each = ours as f64 / figure.size.max(1) as f64;
    let (other, ratio) = match figure.theirs {
        Some(Value::Bytes(theirs)) => (theirs.to_string(), format!("{:.3}", ours as f64 / theirs as f64)),
        _ => (String::new(), String::new()),
    };
    Some(format!("| {what} | {ours} | {each:.0} | {} | {other} | {ratio} |\n", quoted(&figure.beside)))
}

fn waits_line(what: &str, figure: &Figure) -> Option<String> {
    let Value::Waits(ours) = figure.ours else { return None };
    let other = match figure.theirs {
        Some(Value::Waits(theirs)) => theirs.to_string(),
        _ => String::new(),
    };
    Some(format!("| {what} | {ours} | {} | {other} |\n", quoted(&figure.beside)))
}

fn quoted(command: &str) -> String {
    if command.is_empty() { String::new() } else { format!("`{}`", command.replace('|', "\\|")) }
}

/// How each thing grows with the mail of a section: a table of each quantity, and the drawings. Empty if nothing was
/// measured at two sizes.
fn of_growth(all: &Figures, section: &str) -> String {
    let quantities = plot::QUANTITIES.iter().filter(|quantity| quantity.tabled);
    let tables: Vec<String> = quantities.filter_map(|quantity| growth_of(all, section, quantity)).collect();
    if tables.is_empty() {
        return String::new();
    }
    let pictures = plot::files(all, section);
    let pictures: Vec<String> = pictures.iter().map(|file| format!("![{file}]({file})")).collect();
    format!("{}\n{}", tables.join("\n"), pictures.join("\n"))
}

fn growth_of(all: &Figures, section: &str, quantity: &plot::Quantity) -> Option<String> {
    let things: Vec<plot::Line> =
        plot::panels(all, section, quantity).into_iter().flat_map(|panel| panel.lines).collect();
    let mut sizes: Vec<u64> = things.iter().flat_map(|line| line.points.iter().map(|(size, _)| *size)).collect();
    sizes.sort_unstable();
    sizes.dedup();
    if things.is_empty() {
        return None;
    }
    let columns: Vec<String> = sizes.iter().map(u64::to_string).collect();
    let mut text = format!(
        "| {} | of | {} | the last per message, to the one before |\n|---|---|{}---|\n",
        quantity.name,
        columns.join(" | "),
        "---|".repeat(sizes.len())
    );
    for line in things {
        let at = |size: &u64| line.points.iter().find(|(other, _)| other == size);
        let cells: Vec<String> =
            sizes.iter().map(|size| at(size).map_or_else(String::new, |(_, value)| (quantity.tell)(*value))).collect();
        let [.., (before, less), (last, more)] = line.points[..] else { continue };
        let ratio = more / less * before as f64 / last as f64;
        let program = if line.program == plot::OURS { line.program } else { quoted(&line.program) };
        writeln!(text, "| {} | {program} | {} | {ratio:.2} |", line.what, cells.join(" | ")).expect("a string");
    }
    Some(text)
}

/// Mail of which there is much of one kind: the kinds by name, whichever was measured last.
fn of_odd(all: &Figures) -> String {
    let mut costs = String::new();
    let mut bytes = String::new();
    let mut things = all.things("odd");
    things.sort_by_key(|points| &points[0].kind);
    for points in things {
        let [few, .., many] = points[..] else { continue };
        let (kind, what) = (&few.kind, &few.what);
        let of = [few.size, many.size];
        match (few.ours, many.ours) {
            (Value::Cost(less), Value::Cost(more)) => costs.push_str(&odd_costs(kind, what, of, [less, more])),
            (Value::Bytes(less), Value::Bytes(more)) => {
                let [few, many] = of;
                let ratio = more as f64 / less as f64;
                writeln!(bytes, "| {kind} | {what} | {few}: {less} | {many}: {more} | {ratio:.2} |").expect("a string");
            }
            _ => {}
        }
    }
    let heads = [
        "| of which there are many | what | few | many | times as long | CPU | times | peak memory |\n|---|---|---|---|---|---|---|---|\n",
        "| of which there are many | what | few: bytes | many: bytes | times as many |\n|---|---|---|---|---|\n",
    ];
    let tables = heads.iter().zip([costs, bytes]).filter(|(_, lines)| !lines.is_empty());
    tables.map(|(head, lines)| format!("{head}{lines}")).collect::<Vec<_>>().join("\n")
}

fn odd_costs(kind: &str, what: &str, [few, many]: [u64; 2], [less, more]: [Cost; 2]) -> String {
    format!(
        "| {kind} | {what} | {few}: {} | {many}: {} | {:.2} | {} / {} | {:.2} | {} / {} |\n",
        seconds(less.wall),
        seconds(more.wall),
        more.wall / less.wall,
        seconds(less.cpu),
        seconds(more.cpu),
        more.cpu / less.cpu,
        mebibytes(less.peak as f64),
        mebibytes(more.peak as f64),
    )
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
    let mut page = match fs::read_to_string(out) {
        Ok(page) => page,
        Err(none) if none.kind() == std::io::ErrorKind::NotFound => "# Performance\n".to_owned(),
        Err(wrong) => panic!("{} can't be read: {wrong}", out.display()),
    };
    for (name, section) in sections {
        page = put(&page, name, section);
    }
    fs::create_dir_all(out.parent().expect("a file lies in a directory")).expect("docs can be made");
    let new = out.with_extension("new");
    fs::write(&new, page).expect("the report can be written");
    fs::rename(&new, out).expect("the report can take the place of the one before");
}
