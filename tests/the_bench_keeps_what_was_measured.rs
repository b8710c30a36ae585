//! The page of the bench is filled by several runs: a figure that is measured again takes the place of the one before, all others
//! stay, and so does what people have written.

#[allow(dead_code)] // The bench uses the rest.
#[path = "../benches/compare/cost.rs"]
mod cost;
#[allow(dead_code)]
#[path = "../benches/compare/figures.rs"]
mod figures;
#[allow(dead_code)]
#[path = "../benches/compare/plot.rs"]
mod plot;
#[allow(dead_code)]
#[path = "../benches/compare/report.rs"]
mod report;

use std::fs;
use std::path::PathBuf;

use cost::Cost;
use figures::{Figure, Store, Tree, Value};

use crate::support::scratch;

fn tree(size: u64, runs: usize) -> Tree {
    Tree { section: "small".into(), size, bytes: size * 2048, dir: "/dev/shm".into(), processors: 2, runs }
}

fn cost(wall: f64) -> Value {
    Value::Cost(Cost { wall, cpu: wall * 2.0, peak: 10 << 20 })
}

fn figure(size: u64, what: &str, ours: Value, theirs: Option<(&str, Value)>) -> Figure {
    Figure {
        section: "small".into(),
        kind: String::new(),
        size,
        what: what.into(),
        beside: theirs.map_or_else(String::new, |(beside, _)| beside.into()),
        runs: 5,
        ours,
        theirs: theirs.map(|(_, value)| value),
    }
}

fn odd(kind: &str, size: u64, ours: Value) -> Figure {
    Figure { section: "odd".into(), kind: kind.into(), runs: 1, ..figure(size, "export", ours, None) }
}

struct Files {
    dir: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        Self { dir: scratch() }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("results/performance.jsonl")
    }

    fn page_file(&self) -> PathBuf {
        self.dir.path().join("performance.md")
    }

    fn open(&self) -> Store {
        Store::open(&self.file(), &self.page_file())
    }

    fn page(&self) -> String {
        fs::read_to_string(self.page_file()).unwrap()
    }
}

#[test]
fn a_run_of_one_size_keeps_the_figures_of_all_others() {
    let files = Files::new();
    let mut first = files.open();
    first.begin(tree(10_000, 5));
    first.keep(figure(10_000, "join", cost(0.25), Some(("rsync -a", cost(0.5)))));
    first.keep(figure(10_000, "invitation", Value::Bytes(5_000), Some(("tar | zstd", Value::Bytes(4_000)))));
    first.keep(figure(10_000, "join", Value::Waits(7), None));
    let mut second = files.open();
    second.begin(tree(1_000_000, 1));
    second.keep(Figure { runs: 1, ..figure(1_000_000, "join", cost(50.0), Some(("rsync -a", cost(60.0)))) });
    second.end(|figure| figure.size == 1_000_000);
    let page = files.page();
    for line in [
        "10000 messages, 20480000 bytes (small), in /dev/shm; 2 processors; medians of 5 runs,",
        "1000000 messages, 2048000000 bytes (small), in /dev/shm; 2 processors; one run of each command,",
        "| join | 0.25 s | 0.50 s `rsync -a` | 0.50 | 0.50 s / 1.00 s | 0.50 | 10 MiB / 10 MiB |",
        "| join | 50.00 s | 60.00 s `rsync -a` | 0.83 | 100.00 s / 120.00 s | 0.83 | 10 MiB / 10 MiB |",
        "| invitation | 5000 | 0 | `tar \\| zstd` | 4000 | 1.250 |",
        "| join | 7 |  |  |",
        "| time | of | 10000 | 1000000 | the last per message, to the one before |",
        "| join | mailsync | 0.25 s | 50.00 s | 2.00 |",
        "| join | `rsync -a` | 0.50 s | 60.00 s | 1.20 |",
    ] {
        assert!(page.lines().any(|found| found.starts_with(line)), "{line} is missing:\n{page}");
    }
    let drawing = fs::read_to_string(files.dir.path().join("performance-small-time.svg")).unwrap();
    assert!(drawing.contains("rsync -a") && page.contains("(performance-small-time.svg)"));
}

#[test]
fn a_run_that_is_stopped_loses_nothing_that_was_measured() {
    let files = Files::new();
    let mut first = files.open();
    first.begin(tree(10_000, 5));
    for (what, wall) in [("init", 1.0), ("status", 2.0)] {
        first.keep(figure(10_000, what, cost(wall), None));
    }
    // It is stopped after the first row.
    let mut second = files.open();
    second.begin(tree(10_000, 3));
    second.keep(Figure { runs: 3, ..figure(10_000, "init", cost(3.0), None) });
    let third = files.open();
    assert_eq!(third.all, second.all);
    let page = files.page();
    assert!(page.contains("| init | 3.00 s |"), "{page}");
    assert!(page.contains("| status (5 runs) | 2.00 s |"), "{page}");
    assert!(page.contains("medians of 3 runs"), "{page}");
}

#[test]
fn what_a_whole_run_has_not_measured_again_goes() {
    let files = Files::new();
    let mut first = files.open();
    for (kind, size) in [("peers", 1), ("peers", 5), ("deltas", 100), ("deltas", 1_000)] {
        first.keep(odd(kind, size, cost(1.0)));
    }
    let mut second = files.open();
    for size in [1, 50] {
        second.keep(odd("peers", size, cost(2.0)));
    }
    second.end(|figure| figure.kind == "peers");
    let page = files.page();
    assert!(page.contains("| deltas | export | 100: 1.00 s | 1000: 1.00 s | 1.00 |"), "{page}");
    assert!(page.contains("| peers | export | 1: 2.00 s | 50: 2.00 s | 1.00 |"), "{page}");
    assert_eq!(second.all.figures.len(), 4);
}

#[test]
fn what_people_have_written_stays() {
    let files = Files::new();
    let written = "# Performance\n\nAbove.\n\n<!-- odd -->\n\nold\n\n<!-- end of odd -->\n\nBelow.\n\n<!-- network -->\n\na chain\n\n\
                   <!-- end of network -->\n";
    fs::write(files.page_file(), written).unwrap();
    let mut store = files.open();
    store.keep(odd("peers", 1, cost(1.0)));
    store.keep(odd("peers", 50, cost(1.5)));
    let page = files.page();
    assert!(page.starts_with("# Performance\n\nAbove.\n\n<!-- odd -->\n\n| of which"), "{page}");
    assert!(page.contains("Below.\n\n<!-- network -->\n\na chain\n\n<!-- end of network -->\n"), "{page}");
    assert!(!page.contains("old"), "{page}");
    assert!(!page.contains("small"), "{page}");
}

#[test]
fn the_page_in_the_source_is_made_of_the_figures_in_the_source() {
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let Ok(text) = fs::read_to_string(source.join("benches/results/performance.jsonl")) else {
        println!("no figures: nothing to compare");
        return;
    };
    let figures = figures::Figures::parse(&text);
    assert_eq!(figures.to_text(), text);
    let page = fs::read_to_string(source.join("docs/performance.md")).unwrap();
    for (name, section) in report::sections(&figures) {
        assert!(report::put(&page, &name, &section) == page, "{name} is not what `-- --write` makes of the figures");
    }
}
