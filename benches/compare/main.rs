//! mailsync beside its peers, on the same mail, in turns; mail that isn't like other mail; and what the model sends
//! through networks. `cargo bench --bench compare` makes its corpora, runs everything, and writes tables and drawings
//! into `docs/performance.md` and beside it. With `--only` the other parts of the report stay.
//!
//!     cargo bench --bench compare -- [--only large|small|odd|network] [--out docs/performance.md]
//!         [--large 10000,30000] [--small 10000,100000] [--runs 5] [--scale 0.1] [--dir /dev/shm]
//!         [--replicas 100] [--steps 100000] [--seed 1]

#[path = "../../tests/support/corpus.rs"]
mod corpus;
mod cost;
mod network;
mod odd;
mod plot;
mod programs;
mod report;

use std::path::{Path, PathBuf};

use corpus::Shape;
use programs::{Mail, Measured};

/// Short notes: median 1 KiB, mean 2 KiB, 200 folders.
const SMALL: Shape = Shape { median: 1024.0, deviation: 1.177, least: 300.0, folders: 200 };

struct Options {
    only: Option<String>,
    large: Vec<u64>,
    small: Vec<u64>,
    runs: usize,
    scale: f64,
    dir: PathBuf,
    out: PathBuf,
    network: network::Options,
}

fn main() {
    let options = parse();
    let wants = |part: &str| options.only.as_deref().is_none_or(|only| only == part);
    let mut sections: Vec<(String, String)> = Vec::new();
    let docs = options.out.parent().expect("a file lies in a directory").to_owned();
    for (name, shape, counts) in [("large", corpus::LARGE, &options.large), ("small", SMALL, &options.small)] {
        if !wants(name) {
            continue;
        }
        let all: Vec<Measured> = counts.iter().map(|&count| of_size(&options, shape, count)).collect();
        let tables: Vec<String> =
            all.iter().rev().map(|measured| report::of_programs(name, measured, options.runs, &options.dir)).collect();
        sections.push((name.to_owned(), tables.join("\n")));
        let drawings = plot::draw(&docs, name, &all);
        let pictures: Vec<String> = drawings.iter().map(|file| format!("![{file}]({file})")).collect();
        sections.push((format!("{name}, growth"), format!("{}\n{}", report::of_growth(&all), pictures.join("\n"))));
    }
    if wants("odd") {
        let dir = scratch(&options);
        sections.push(("odd".to_owned(), report::of_odd(&odd::measure(dir.path(), options.scale))));
    }
    if wants("network") {
        sections.push(("network".to_owned(), network::run(options.network)));
    }
    for (_, section) in &sections {
        println!("{section}");
    }
    report::write(&options.out, &sections);
}

fn of_size(options: &Options, shape: Shape, messages: u64) -> Measured {
    let dir = scratch(options);
    programs::measure(&Mail { dir: dir.path(), shape, messages, runs: options.runs })
}

fn scratch(options: &Options) -> tempfile::TempDir {
    tempfile::Builder::new().prefix("mailsync-bench-").tempdir_in(&options.dir).expect("the directory is writable")
}

fn parse() -> Options {
    let mut options = Options {
        only: None,
        large: vec![10_000, 30_000],
        small: vec![10_000, 100_000],
        runs: 5,
        scale: 0.1,
        dir: if Path::new("/dev/shm").is_dir() { "/dev/shm".into() } else { std::env::temp_dir() },
        out: PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/performance.md"),
        network: network::Options { replicas: 100, steps: 100_000, seed: 1 },
    };
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
            "--out" => options.out = value().into(),
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
    options
}
