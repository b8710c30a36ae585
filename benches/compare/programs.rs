//! mailsync beside its peers, on the same mail: each thing that people do with it.

use std::fs;
use std::path::{Path, PathBuf};

use super::corpus::{self, Random, Shape};
use super::cost::{self, Cost, Machine, Row, alone, duel, installed, shell, size_of, size_of_file, text};

/// What is measured, and on what.
pub struct Mail<'a> {
    /// Where everything lies that is made for it.
    pub dir: &'a Path,
    /// What the messages are like.
    pub shape: Shape,
    /// How many there are.
    pub messages: u64,
    /// How often each command runs.
    pub runs: usize,
}

/// What was measured.
#[derive(Default)]
pub struct Measured {
    /// How many messages there were.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Each thing that was done.
    pub rows: Vec<Row>,
    /// What was written: its name, bytes of mailsync, what stands beside it, its bytes.
    pub sizes: Vec<(String, u64, String, u64)>,
    /// How often mailsync waited for the disk, by command; empty where strace isn't installed.
    pub waits: Vec<(String, u64)>,
}

/// How many changes a delta holds: 1,000 of flags, 100 moves, 100 removed messages, 100 new ones.
const FLAGGED: u64 = 1000;
const MOVED: u64 = 100;

struct Bench<'a> {
    of: &'a Mail<'a>,
    desktop: Machine,
    laptop: Machine,
    words: Vec<String>,
    random: Random,
    measured: Measured,
}

/// Measures everything on one mail tree, which is made first and removed afterwards.
pub fn measure(mail: &Mail<'_>) -> Measured {
    let mut random = Random::new(1);
    let words = corpus::words(&mut random);
    let (desktop, laptop) = (Machine::at(mail.dir, "desktop"), Machine::at(mail.dir, "laptop"));
    eprintln!("making {} messages", mail.messages);
    corpus::make(mail.shape, &desktop.mail, mail.messages, 7).expect("the corpus can be written");
    let measured = Measured { messages: mail.messages, bytes: size_of(&desktop.mail), ..Measured::default() };
    let mut bench = Bench { of: mail, desktop, laptop, words, random, measured };
    bench.first_scan();
    bench.nothing_new();
    bench.invitation();
    bench.full();
    bench.encrypted();
    bench.delta();
    bench.desktop.remove();
    bench.laptop.remove();
    bench.measured
}

impl Bench<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.of.dir.join(name)
    }

    /// Runs both in turns and keeps what they cost.
    fn duel(&mut self, what: &str, beside: &str, ours: impl FnMut(usize) -> Cost, theirs: impl FnMut(usize) -> Cost) {
        let row = duel(self.of.runs, what, beside, ours, theirs);
        self.measured.rows.push(row);
    }

    fn waits(&mut self, what: &str, waits: Option<u64>) {
        self.measured.waits.extend(waits.map(|waits| (what.to_owned(), waits)));
    }

    fn first_scan(&mut self) {
        let desktop = self.desktop.clone();
        let hash = format!("find {} -type f -print0 | xargs -0 -P2 sha256sum", text(&desktop.mail));
        let init = |_| {
            if desktop.home.exists() {
                fs::remove_dir_all(&desktop.home).expect("the replica can be removed");
            }
            desktop.init()
        };
        self.duel("init", "find -print0 \\| xargs -0 -P2 sha256sum", init, |_| shell(&hash));
        let state = size_of(&desktop.home);
        let name = "state, for each message".to_owned();
        self.measured.sizes.push((name, state / self.of.messages.max(1), String::new(), 0));
    }

    /// What commands cost that have nothing to do.
    fn nothing_new(&mut self) {
        let desktop = self.desktop.clone();
        desktop.run(&[&"scan"]);
        let scan = |_| desktop.run(&[&"scan"]);
        let find = format!("find {} -type f", text(&desktop.mail));
        self.duel("scan, nothing changed", "find", scan, |_| shell(&find));
        if installed("notmuch") {
            // What notmuch needs to know of new mail; it looks at directories' times as mailsync does.
            let config = self.path("notmuch-config");
            let settings = format!(
                "[database]\npath={0}\nmail_root={0}\n[user]\nname=n\nprimary_email=n@example.org\n[new]\ntags=new\n",
                text(&desktop.mail)
            );
            fs::write(&config, settings).expect("notmuch's configuration can be written");
            let new = format!("NOTMUCH_CONFIG={} notmuch new --quiet", text(&config));
            shell(&new);
            self.duel("scan, nothing changed", "notmuch new", scan, |_| shell(&new));
            fs::remove_dir_all(desktop.mail.join(".notmuch")).expect("notmuch's index can be removed");
        }
        self.measured.rows.push(alone(self.of.runs, "status", |_| desktop.run(&[&"status"])));
    }

    /// How a new machine begins.
    fn invitation(&mut self) {
        let (desktop, tablet) = (self.desktop.clone(), Machine::at(self.of.dir, "tablet"));
        let (bundle, archive, copy) = (self.path("invitation.zst"), self.path("tar.zst"), self.path("copy"));
        let pack =
            |level: &str| format!("tar -C {} -cf - . | zstd -q -f {level} -o {}", text(&desktop.mail), text(&archive));
        let invite = |level: &str| {
            let invited = self_invites(&desktop, &bundle, level);
            desktop.run(&[&"peer", &"remove", &"tablet"]);
            invited
        };
        let (usual, slow) = (pack("-T0 -3"), pack("-T0 -19 --long=27"));
        self.duel("invite", "tar \\| zstd -T0 -3", |_| invite("3"), |_| shell(&usual));
        let mut sizes = vec![("invitation".to_owned(), bundle.clone(), "tar \\| zstd -3")];
        self.keep_sizes(&mut sizes, &archive);
        if self.of.messages <= SLOW_LEVEL_UP_TO {
            let row =
                duel(1, "invite --level 19", "tar \\| zstd -T0 -19 --long=27", |_| invite("19"), |_| shell(&slow));
            self.measured.rows.push(row);
            let mut sizes = vec![("invitation, --level 19".to_owned(), bundle.clone(), "tar \\| zstd -19 --long=27")];
            self.keep_sizes(&mut sizes, &archive);
        }
        shell(&usual);
        self_invites(&desktop, &bundle, "3");
        let unpack =
            format!("rm -rf {0} && mkdir {0} && zstd -q -dc {1} | tar -xf - -C {0}", text(&copy), text(&archive));
        let join = |_| {
            tablet.remove();
            tablet.run(&[&"join", &tablet.mail, &bundle])
        };
        // What was unpacked before is removed first, and isn't counted.
        let clear = || {
            if copy.exists() {
                fs::remove_dir_all(&copy).expect("the copy can be removed");
            }
        };
        let untar = |_| {
            clear();
            shell(&unpack)
        };
        self.duel("join", "zstd -d \\| tar x", join, untar);
        let rsync = format!("rsync -a {}/ {}/", text(&desktop.mail), text(&copy));
        let mirror = |_| {
            clear();
            shell(&rsync)
        };
        self.duel("join", "rsync -a", join, mirror);
        tablet.remove();
        let waits = tablet.waits_for_disk(&[&"join", &tablet.mail, &bundle]);
        self.waits("join", waits);
        clear();
        tablet.remove();
        desktop.run(&[&"peer", &"remove", &"tablet"]);
        fs::remove_file(bundle).expect("the bundle can be removed");
    }

    fn keep_sizes(&mut self, ours: &mut Vec<(String, PathBuf, &str)>, archive: &Path) {
        for (name, bundle, beside) in ours.drain(..) {
            let row = (name, size_of_file(&bundle), beside.to_owned(), size_of_file(archive));
            self.measured.sizes.push(row);
        }
    }

    /// A full bundle for a peer that there is.
    fn full(&mut self) {
        let (desktop, laptop) = (self.desktop.clone(), self.laptop.clone());
        laptop.init();
        desktop.befriend(&laptop);
        let (bundle, archive, copy) = (self.path("full.zst"), self.path("tar.zst"), self.path("copy"));
        let pack = format!("tar -C {} -cf - . | zstd -q -f -T0 -3 -o {}", text(&desktop.mail), text(&archive));
        let export =
            |_| desktop.run(&[&"export", &"--to", &"laptop", &"--full", &"--plain", &"--force", &"-o", &bundle]);
        self.duel("full export", "tar \\| zstd -T0 -3", export, |_| shell(&pack));
        let unpack = format!("mkdir {0} && zstd -q -dc {1} | tar -xf - -C {0}", text(&copy), text(&archive));
        let import = |run| {
            if run > 0 {
                laptop.empty(&desktop);
            }
            laptop.run(&[&"import", &bundle])
        };
        let untar = |_| {
            let cost = shell(&unpack);
            fs::remove_dir_all(&copy).expect("the copy can be removed");
            cost
        };
        self.duel("full import", "zstd -d \\| tar x", import, untar);
        fs::remove_file(archive).expect("the archive can be removed");
    }

    /// What encryption costs: the same bundle with and without it.
    fn encrypted(&mut self) {
        let (desktop, laptop) = (self.desktop.clone(), self.laptop.clone());
        let (sealed, plain) = (self.path("full.zst.age"), self.path("full.zst"));
        let export = |secrecy: &str, file: &Path| {
            desktop.run(&[&"export", &"--to", &"laptop", &"--full", &secrecy, &"--force", &"-o", &file])
        };
        let what = "full export, encrypted";
        self.duel(what, "the same, --plain", |_| export("--encrypt", &sealed), |_| export("--plain", &plain));
        let import = |file: &Path| {
            laptop.empty(&desktop);
            laptop.run(&[&"import", &file])
        };
        self.duel("full import, encrypted", "the same, --plain", |_| import(&sealed), |_| import(&plain));
        for file in [sealed, plain] {
            fs::remove_file(file).expect("the bundle can be removed");
        }
    }

    /// 1,300 changes, of which the other machine and other programs get to know.
    fn delta(&mut self) {
        let (desktop, laptop, mirror) = (self.desktop.clone(), self.laptop.clone(), self.path("mirror"));
        let (bundle, answer) = (self.path("delta.zst"), self.path("answer.zst"));
        let rsync = format!("rsync -a --delete {}/ {}/", text(&desktop.mail), text(&mirror));
        shell(&rsync);
        let respond = || {
            laptop.run(&[&"export", &"--plain", &"--force", &"-o", &answer]);
            desktop.run(&[&"import", &answer]);
            fs::remove_file(&answer).expect("the answer can be removed");
        };
        // What the laptop has, the desktop learns; from then on the bundles are deltas.
        respond();
        let (mut exports, mut imports, mut both, mut theirs) =
            (cost::Runs::default(), cost::Runs::default(), cost::Runs::default(), cost::Runs::default());
        for run in 0..self.of.runs {
            self.change(run as u64);
            if bundle.exists() {
                fs::remove_file(&bundle).expect("the bundle can be removed");
            }
            let export = desktop.run(&[&"export", &"--plain", &"--force", &"-o", &bundle]);
            let import = laptop.run(&[&"import", &bundle]);
            exports.0.push(export);
            imports.0.push(import);
            both.0.push(export.then(import));
            theirs.0.push(shell(&rsync));
            respond();
        }
        for (what, ours) in [("1,300 changes: scan and export", exports), ("1,300 changes: import", imports)] {
            self.measured.rows.push(Row { what: what.to_owned(), beside: String::new(), ours, theirs: None });
        }
        let what = "1,300 changes: scan, export, import".to_owned();
        let row = Row { what, beside: "rsync -a --delete".to_owned(), ours: both, theirs: Some(theirs) };
        eprintln!(
            "a delta: {:.3} s beside {:.3} s",
            row.ours.wall(),
            row.theirs.as_ref().map_or(0.0, cost::Runs::wall)
        );
        self.measured.rows.push(row);
        self.measured.sizes.push(("1,300 changes".to_owned(), size_of_file(&bundle), String::new(), 0));
        fs::remove_dir_all(mirror).expect("the mirror can be removed");
        let nothing = self.path("nothing.zst");
        let export = alone(self.of.runs, "export, nothing new", |_| {
            let cost = desktop.run(&[&"export", &"--plain", &"--force", &"-o", &nothing]);
            if nothing.exists() {
                fs::remove_file(&nothing).expect("the bundle can be removed");
            }
            cost
        });
        self.measured.rows.push(export);
        self.change(1_000);
        fs::remove_file(&bundle).expect("the bundle can be removed");
        let waits = desktop.waits_for_disk(&[&"export", &"--plain", &"--force", &"-o", &bundle]);
        self.waits("1,300 changes: scan and export", waits);
        let waits = laptop.waits_for_disk(&[&"import", &bundle]);
        self.waits("1,300 changes: import", waits);
    }

    fn change(&mut self, run: u64) {
        let mail = &self.desktop.mail;
        let folders = self.of.shape.folders();
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
        // A tree that small has fewer changes.
        let part = |of: u64| of.min(self.of.messages / 4).max(1);
        for _ in 0..part(FLAGGED) {
            let from = take(&mut self.random);
            let name = from.to_string_lossy().into_owned();
            let to = if name.ends_with('F') || name.ends_with("FS") {
                name.replace(":2,F", ":2,")
            } else {
                name.replace(":2,", ":2,F")
            };
            fs::rename(&from, to).expect("a flag can be set");
        }
        let any = |random: &mut Random| &folders[usize::try_from(random.below(folders.len() as u64)).expect("few")];
        for _ in 0..part(MOVED) {
            let from = take(&mut self.random);
            let folder = any(&mut self.random);
            fs::rename(&from, mail.join(folder).join("cur").join(from.file_name().expect("a name"))).expect("a move");
            fs::remove_file(take(&mut self.random)).expect("a message can be removed");
        }
        for number in 0..part(MOVED) {
            let folder = any(&mut self.random);
            let number = 10_000_000 + run * 100_000 + number;
            corpus::deliver(self.of.shape, &mail.join(folder), number, &mut self.random, &self.words)
                .expect("a delivery");
        }
    }
}

/// The slow level takes minutes for a gigabyte.
const SLOW_LEVEL_UP_TO: u64 = 10_000;

fn self_invites(desktop: &Machine, bundle: &Path, level: &str) -> Cost {
    if bundle.exists() {
        fs::remove_file(bundle).expect("the bundle can be removed");
    }
    desktop.run(&[&"invite", &"tablet", &"--plain", &"--level", &level, &"--force", &"-o", &bundle])
}
