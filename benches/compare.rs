//! mailsync beside its peers, on the same mail, in turns; and what the model sends through networks. `cargo bench
//! --bench compare` makes its corpus, runs everything, prints tables, and writes them to `docs/performance.md`. With
//! `--only` one half is measured, and the other half of the report stays.
//!
//!     cargo bench --bench compare -- [--only programs|network] [--out docs/performance.md]
//!         [--messages 100000] [--runs 5] [--dir /dev/shm]
//!         [--replicas 100] [--steps 100000] [--seed 1]

#[path = "../tests/support/corpus.rs"]
mod corpus;
mod network;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use corpus::Random;
use wait4::Wait4;

/// What one run of a command cost.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    wall: f64,
    cpu: f64,
    /// The largest process, in bytes.
    peak: u64,
}

/// Runs of one command, or of several that belong together.
#[derive(Default)]
struct Runs(Vec<Cost>);

impl Runs {
    fn median(&self, of: impl Fn(&Cost) -> f64) -> f64 {
        let mut values: Vec<f64> = self.0.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    }
}

/// One half of what can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    Programs,
    Network,
}

struct Options {
    only: Option<Half>,
    messages: u64,
    runs: usize,
    dir: PathBuf,
    out: Option<PathBuf>,
    network: network::Options,
}

struct Bench {
    options: Options,
    dir: tempfile::TempDir,
    words: Vec<String>,
    random: Random,
    table: String,
}

fn main() {
    let options = parse();
    let (only, network, out) = (options.only, options.network, options.out.clone());
    let programs = (only != Some(Half::Network)).then(|| measure_programs(options));
    let network = (only != Some(Half::Programs)).then(|| network::run(network));
    for measured in [&programs, &network].into_iter().flatten() {
        println!("{measured}");
    }
    let Some(out) = out else { return };
    let before = fs::read_to_string(&out).unwrap_or_default();
    let (old_programs, old_network) = before.split_at(before.find(network::HEADING).unwrap_or(before.len()));
    let programs = programs.unwrap_or_else(|| old_programs.to_owned());
    let network = network.unwrap_or_else(|| old_network.to_owned());
    fs::create_dir_all(out.parent().expect("a file lies in a directory")).expect("docs can be made");
    let report = format!("{}\n\n{}\n", programs.trim_end(), network.trim_end());
    fs::write(out, format!("{}\n", report.trim())).expect("the report can be written");
}

/// Measures mailsync beside other programs and gives the report's first half.
fn measure_programs(options: Options) -> String {
    let dir =
        tempfile::Builder::new().prefix("mailsync-bench-").tempdir_in(&options.dir).expect("the directory is writable");
    let mut random = Random::new(1);
    let words = corpus::words(&mut random);
    let mut bench = Bench { options, dir, words, random, table: String::new() };
    bench.run();
    bench.table
}

fn parse() -> Options {
    let mut options = Options {
        only: None,
        messages: 100_000,
        runs: 5,
        dir: if Path::new("/dev/shm").is_dir() { "/dev/shm".into() } else { std::env::temp_dir() },
        out: Some(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/performance.md")),
        network: network::Options { replicas: 100, steps: 100_000, seed: 1 },
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().unwrap_or_else(|| panic!("{arg} needs a value"));
        match arg.as_str() {
            "--messages" => options.messages = value().parse().expect("--messages takes a number"),
            "--runs" => options.runs = value().parse().expect("--runs takes a number"),
            "--dir" => options.dir = value().into(),
            "--out" => options.out = Some(value()).filter(|path| path != "-").map(PathBuf::from),
            "--replicas" => options.network.replicas = value().parse().expect("--replicas takes a number"),
            "--steps" => options.network.steps = value().parse().expect("--steps takes a number"),
            "--seed" => options.network.seed = value().parse().expect("--seed takes a number"),
            "--only" => {
                options.only = Some(match value().as_str() {
                    "programs" => Half::Programs,
                    "network" => Half::Network,
                    other => panic!("--only takes programs or network, not {other}"),
                });
            }
            // cargo passes this to every bench.
            "--bench" => {}
            other => panic!("unknown option {other}"),
        }
    }
    options
}

impl Bench {
    fn run(&mut self) {
        let (messages, runs) = (self.options.messages, self.options.runs);
        eprintln!("making {messages} messages");
        let mail = self.path("mail");
        corpus::make(&mail, messages, 7).expect("the corpus can be written");
        self.table = format!(
            "# Performance\n\nWritten by `cargo bench --bench compare`. {messages} messages, {} bytes, 20 folders, in {}; \
             {} processors; medians of {runs} runs, the two commands in turns. A ratio below 1 means that mailsync is faster.\n\n\
             | what | mailsync | beside it | ratio (wall) | CPU | peak memory |\n|---|---|---|---|---|---|\n",
            size_of(&mail),
            self.options.dir.display(),
            std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        );
        self.first_scan(&mail);
        self.unchanged(&mail);
        self.full(&mail);
        self.delta(&mail);
        for count in [10, 2 * messages] {
            let mail = self.path(&format!("mail-{count}"));
            corpus::make(&mail, count, 8).expect("the corpus can be written");
            Self::init(&mail, &self.path(&format!("home-{count}")));
            self.unchanged_of(&mail, &self.path(&format!("home-{count}")), count);
            if count > messages {
                self.peaks(&self.path(&format!("home-{count}")), count);
            }
            fs::remove_dir_all(&mail).expect("the corpus can be removed");
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn init(mail: &Path, home: &Path) -> Cost {
        fs::create_dir_all(mail).expect("a mail root can be made");
        let name = home.file_name().expect("a home has a name").to_string_lossy().into_owned();
        mailsync(home, &["init", &text(mail), "--name", &name])
    }

    fn first_scan(&mut self, mail: &Path) {
        let (mut ours, mut theirs) = (Runs::default(), Runs::default());
        for _ in 0..self.options.runs {
            let home = self.path("desktop");
            let _ = fs::remove_dir_all(&home);
            ours.0.push(Self::init(mail, &home));
            theirs.0.push(shell(&format!("find {} -type f -print0 | xargs -0 -P2 sha256sum", text(mail))));
        }
        self.row("first scan (`init`)", "`find -print0 \\| xargs -0 -P2 sha256sum`", &ours, &theirs);
    }

    fn unchanged(&mut self, mail: &Path) {
        self.unchanged_of(mail, &self.path("desktop"), self.options.messages);
    }

    fn unchanged_of(&mut self, mail: &Path, home: &Path, count: u64) {
        mailsync(home, &["scan"]);
        let (mut ours, mut theirs) = (Runs::default(), Runs::default());
        for _ in 0..self.options.runs {
            ours.0.push(mailsync(home, &["scan"]));
            theirs.0.push(shell(&format!("find {} -type f", text(mail))));
        }
        self.row(&format!("scan of {count} messages, nothing changed"), "`find`", &ours, &theirs);
    }

    fn full(&mut self, mail: &Path) {
        let (home, bundle, archive) = (self.path("desktop"), self.path("full.zst"), self.path("tar.zst"));
        self.make_peer("laptop", &home);
        let (mut ours, mut theirs) = (Runs::default(), Runs::default());
        for _ in 0..self.options.runs {
            ours.0.push(mailsync(&home, &["export", "--to", "laptop", "--full", "--plain", "-o", &text(&bundle)]));
            theirs.0.push(shell(&format!("tar -C {} -cf - . | zstd -q -f -T0 -3 -o {}", text(mail), text(&archive))));
        }
        let sizes = (size_of_file(&bundle), size_of_file(&archive));
        self.row("full export", "`tar \\| zstd -T0 -3`", &ours, &theirs);
        let (mut ours, mut theirs) = (Runs::default(), Runs::default());
        for run in 0..self.options.runs {
            if run > 0 {
                self.empty_laptop(&home);
            }
            ours.0.push(mailsync(&self.path("laptop"), &["import", &text(&bundle)]));
            let to = self.path("untar");
            let _ = fs::remove_dir_all(&to);
            fs::create_dir(&to).expect("a directory can be made");
            theirs.0.push(shell(&format!("zstd -q -dc {} | tar -xf - -C {}", text(&archive), text(&to))));
        }
        fs::remove_dir_all(self.path("untar")).expect("the copy can be removed");
        self.row("full import", "`zstd -d \\| tar x`", &ours, &theirs);
        self.encrypted(&home, &bundle);
        writeln!(self.table, "\nThe full bundle has {} bytes, the archive {}.\n", sizes.0, sizes.1).expect("a string");
        self.table.push_str(
            "| what | mailsync | beside it | ratio (wall) | CPU | peak memory |\n|---|---|---|---|---|---|\n",
        );
    }

    /// What encryption costs: the same bundle with and without it.
    fn encrypted(&mut self, home: &Path, plain: &Path) {
        let sealed = self.path("full.zst.age");
        let (mut with, mut without) = (Runs::default(), Runs::default());
        for _ in 0..self.options.runs {
            for (costs, secrecy, file) in [(&mut with, "--encrypt", &*sealed), (&mut without, "--plain", plain)] {
                costs.0.push(mailsync(home, &["export", "--to", "laptop", "--full", secrecy, "-o", &text(file)]));
            }
        }
        self.row("full export, encrypted", "the same with `--plain`", &with, &without);
        let (mut with, mut without) = (Runs::default(), Runs::default());
        for _ in 0..self.options.runs {
            for (costs, file) in [(&mut with, &*sealed), (&mut without, plain)] {
                self.empty_laptop(home);
                costs.0.push(mailsync(&self.path("laptop"), &["import", &text(file)]));
            }
        }
        self.row("full import, encrypted", "the same with `--plain`", &with, &without);
        fs::remove_file(sealed).expect("the bundle can be removed");
    }

    /// Makes the laptop anew, with an empty mail root and the key that it had.
    fn empty_laptop(&self, home: &Path) {
        fs::remove_dir_all(self.path("laptop-mail")).expect("the mail can be removed");
        let key = self.path("laptop").join("key");
        let kept = fs::read(&key).expect("there is a key");
        fs::remove_dir_all(self.path("laptop")).expect("the replica can be removed");
        fs::create_dir_all(self.path("laptop")).expect("a home can be made");
        fs::write(&key, kept).expect("the key can be kept");
        Self::init(&self.path("laptop-mail"), &self.path("laptop"));
        mailsync(&self.path("laptop"), &["peer", "add", "desktop", "--key", &text(&home.join("key.pub"))]);
    }

    fn make_peer(&self, name: &str, home: &Path) {
        Self::init(&self.path(&format!("{name}-mail")), &self.path(name));
        mailsync(home, &["peer", "add", name, "--key", &text(&self.path(name).join("key.pub"))]);
        let own = home.file_name().expect("a home has a name").to_string_lossy().into_owned();
        mailsync(&self.path(name), &["peer", "add", &own, "--key", &text(&home.join("key.pub"))]);
    }

    /// 1,000 flag changes, 100 moves, 100 new, 100 removed; then one bundle, against one rsync.
    fn delta(&mut self, mail: &Path) {
        let (home, other, mirror) = (self.path("desktop"), self.path("laptop"), self.path("mirror"));
        shell(&format!("rsync -a --delete {}/ {}/", text(mail), text(&mirror)));
        // What the laptop has, the desktop learns; from then on the bundles are deltas.
        let answer = self.path("answer.zst");
        mailsync(&other, &["export", "-o", &text(&answer)]);
        mailsync(&home, &["import", &text(&answer)]);
        let (mut ours, mut theirs) = (Runs::default(), Runs::default());
        for run in 0..self.options.runs {
            self.change(mail, run as u64);
            let bundle = self.path("delta.zst");
            let export = mailsync(&home, &["export", "-o", &text(&bundle)]);
            let import = mailsync(&other, &["import", &text(&bundle)]);
            ours.0.push(Cost {
                wall: export.wall + import.wall,
                cpu: export.cpu + import.cpu,
                peak: export.peak.max(import.peak),
            });
            theirs.0.push(shell(&format!("rsync -a --delete {}/ {}/", text(mail), text(&mirror))));
            mailsync(&other, &["export", "-o", &text(&answer)]);
            mailsync(&home, &["import", &text(&answer)]);
        }
        self.row("delta: scan, export, import", "`rsync -a --delete`", &ours, &theirs);
        fs::remove_dir_all(mirror).expect("the mirror can be removed");
    }

    fn change(&mut self, mail: &Path, run: u64) {
        let folders = corpus::folders();
        let mut files: Vec<PathBuf> = Vec::new();
        for folder in &folders {
            let cur = mail.join(folder).join("cur");
            files.extend(fs::read_dir(cur).expect("a folder can be listed").map(|item| item.expect("a name").path()));
        }
        files.sort();
        let mut take = |random: &mut Random| {
            let at = usize::try_from(random.below(files.len() as u64)).expect("an index");
            files.swap_remove(at)
        };
        let part = |share: u64| (self.options.messages / share).clamp(1, 100_000 / share);
        for _ in 0..part(100) {
            let from = take(&mut self.random);
            let name = from.to_string_lossy().into_owned();
            let to = if name.ends_with('F') || name.ends_with("FS") {
                name.replace(":2,F", ":2,")
            } else {
                name.replace(":2,", ":2,F")
            };
            fs::rename(&from, to).expect("a flag can be set");
        }
        for _ in 0..part(1000) {
            let from = take(&mut self.random);
            let folder = &folders[usize::try_from(self.random.below(folders.len() as u64)).expect("few")];
            fs::rename(&from, mail.join(folder).join("cur").join(from.file_name().expect("a name"))).expect("a move");
            fs::remove_file(take(&mut self.random)).expect("a message can be removed");
        }
        for number in 0..part(1000) {
            let folder = &folders[usize::try_from(self.random.below(folders.len() as u64)).expect("few")];
            let number = 10_000_000 + run * 100_000 + number;
            corpus::deliver(&mail.join(folder), number, &mut self.random, &self.words).expect("a delivery");
        }
    }

    /// Peak memory of a full export and import at another size: it must not grow with the mail.
    fn peaks(&mut self, home: &Path, count: u64) {
        self.make_peer("tablet", home);
        let bundle = self.path("large.zst");
        let export = mailsync(home, &["export", "--to", "tablet", "-o", &text(&bundle)]);
        let import = mailsync(&self.path("tablet"), &["import", &text(&bundle)]);
        writeln!(
            self.table,
            "\nWith {count} messages a full export takes {:.2} s and {}, a full import {:.2} s and {}.",
            export.wall,
            mebibytes(export.peak),
            import.wall,
            mebibytes(import.peak)
        )
        .expect("a string");
    }

    fn row(&mut self, what: &str, beside: &str, ours: &Runs, theirs: &Runs) {
        let wall = |runs: &Runs| runs.median(|cost| cost.wall);
        let cpu = |runs: &Runs| runs.median(|cost| cost.cpu);
        let peak = |runs: &Runs| runs.0.iter().map(|cost| cost.peak).max().unwrap_or(0);
        let line = format!(
            "| {what} | {} | {} {beside} | {:.2} | {} / {} | {} / {} |\n",
            seconds(wall(ours)),
            seconds(wall(theirs)),
            wall(ours) / wall(theirs),
            seconds(cpu(ours)),
            seconds(cpu(theirs)),
            mebibytes(peak(ours)),
            mebibytes(peak(theirs)),
        );
        eprint!("{line}");
        self.table.push_str(&line);
    }
}

fn text(path: &Path) -> String {
    path.to_str().expect("the bench's paths are plain").to_owned()
}

fn seconds(value: f64) -> String {
    if value < 0.1 { format!("{:.1} ms", value * 1000.0) } else { format!("{value:.2} s") }
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20))
}

fn mailsync(home: &Path, args: &[&str]) -> Cost {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mailsync"));
    command.arg("--quiet").arg("--home").arg(home).args(args);
    measure(command)
}

fn shell(line: &str) -> Cost {
    let mut command = Command::new("sh");
    command.arg("-c").arg(line);
    measure(command)
}

fn measure(mut command: Command) -> Cost {
    let started = Instant::now();
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("the command can be run");
    let used = child.wait4().expect("the command can be waited for");
    assert!(used.status.success(), "{command:?} failed");
    let cpu: Duration = used.rusage.utime + used.rusage.stime;
    Cost { wall: started.elapsed().as_secs_f64(), cpu: cpu.as_secs_f64(), peak: used.rusage.maxrss }
}

fn size_of(dir: &Path) -> u64 {
    let files = walkdir::WalkDir::new(dir).into_iter().filter_map(Result::ok);
    files.filter_map(|file| file.metadata().ok()).filter(fs::Metadata::is_file).map(|meta| meta.len()).sum()
}

fn size_of_file(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |meta| meta.len())
}
