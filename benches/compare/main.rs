//! mailsync beside its peers, on the same mail, in turns; mail that isn't like other mail; and what the model sends
//! through networks. `cargo bench --bench compare` makes its corpora, runs everything, and writes tables and drawings
//! into `docs/performance.md` and beside it. The figures themselves are lines of `benches/results/performance.jsonl`: what is measured
//! again takes the place of what was there, and all else stays, so that the page can be filled by several runs.
//!
//!     cargo bench --bench compare -- [--only large|small|odd|network] [--runs 5] [--dir /dev/shm]
//!         [--large 10000,30000] [--small 10000,100000] [--scale 0.1] [--rows deltas,peers]
//!         [--replicas 100] [--steps 100000] [--seed 1]
//!         [--out docs/performance.md] [--figures benches/results/performance.jsonl] [--write]
//!
//! `--rows` takes words that the kinds of odd mail have in their names. `--write` measures nothing, and writes the page and
//! the drawings from the figures that there are.

#[path = "../../tests/support/corpus.rs"]
mod corpus;
mod cost;
mod figures;
mod network;
mod odd;
mod peers;
mod plot;
mod programs;
mod report;

use std::path::{Path, PathBuf};

use corpus::Shape;
use figures::Store;
use programs::Mail;

/// Short notes: median 1 KiB, mean 2 KiB, 200 folders.
const SMALL: Shape = Shape { median: 1024.0, deviation: 1.177, least: 300.0, folders: 200 };

struct Options {
    only: Option<String>,
    write: bool,
    large: Vec<u64>,
    small: Vec<u64>,
    rows: Vec<String>,
    runs: usize,
    scale: f64,
    dir: PathBuf,
    out: PathBuf,
    figures: PathBuf,
    network: network::Options,
}

fn main() {
    let options = parse();
    let mut store = Store::open(&options.figures, &options.out);
    if options.write {
        store.write();
        return;
    }
    let wants = |part: &str| options.only.as_deref().is_none_or(|only| only == part);
    for (section, shape, counts) in [("large", corpus::LARGE, &options.large), ("small", SMALL, &options.small)] {
        for &messages in counts.iter().filter(|_| wants(section)) {
            let dir = scratch(&options);
            let mail = Mail { section, dir: dir.path(), place: &options.dir, shape, messages, runs: options.runs };
            programs::measure_all(&mail, &mut store);
        }
    }
    if wants("odd") {
        odd::measure(scratch(&options).path(), options.scale, &options.rows, &mut store);
    }
    if wants("network") {
        store.put_section("network", &network::run(options.network));
    }
    let tables = report::sections(&store.all);
    for (name, table) in
        tables.iter().filter(|(name, _)| options.only.as_ref().is_none_or(|only| name.starts_with(only)))
    {
        println!("{name}\n\n{table}");
    }
}

fn scratch(options: &Options) -> tempfile::TempDir {
    tempfile::Builder::new().prefix("mailsync-bench-").tempdir_in(&options.dir).expect("the directory is writable")
}

fn parse() -> Options {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut options = Options {
        only: None,
        write: false,
        large: vec![10_000, 30_000],
        small: vec![10_000, 100_000],
        rows: Vec::new(),
        runs: 5,
        scale: 0.1,
        dir: if Path::new("/dev/shm").is_dir() { "/dev/shm".into() } else { std::env::temp_dir() },
        out: source.join("docs/performance.md"),
        figures: source.join("benches/results/performance.jsonl"),
        network: network::Options { replicas: 100, steps: 100_000, seed: 1 },
    };
    let (mut out, mut figures) = (None, None);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().unwrap_or_else(|| panic!("{arg} needs a value"));
        let numbers = |list: &str| -> Vec<u64> {
            list.split(',').map(|number| number.parse().unwrap_or_else(|_| panic!("{arg} takes numbers"))).collect()
        };
        match arg.as_str() {
            "--large" => options.large = numbers(&value()),
            "--small" => options.small = numbers(&value()),
            "--runs" => options.runs = value().parse().expect("--runs takes a number"),
            "--scale" => options.scale = value().parse().expect("--scale takes a part of 1"),
            "--dir" => options.dir = value().into(),
            "--rows" => options.rows = value().split(',').map(str::to_owned).collect(),
            "--out" => out = Some(PathBuf::from(value())),
            "--figures" => figures = Some(PathBuf::from(value())),
            "--write" => options.write = true,
            "--replicas" => options.network.replicas = value().parse().expect("--replicas takes a number"),
            "--steps" => options.network.steps = value().parse().expect("--steps takes a number"),
            "--seed" => options.network.seed = value().parse().expect("--seed takes a number"),
            "--only" => {
                let part = value();
                let known = ["large", "small", "odd", "network"].contains(&part.as_str());
                assert!(known, "--only takes large, small, odd or network, not {part}");
                options.only = Some(part);
            }
            // cargo passes this to every bench.
            "--bench" => {}
            other => panic!("unknown option {other}"),
        }
    }
    // Another page has figures of its own.
    options.figures = figures.or(out.as_ref().map(|out| out.with_extension("jsonl"))).unwrap_or(options.figures);
    options.out = out.unwrap_or(options.out);
    options
}
