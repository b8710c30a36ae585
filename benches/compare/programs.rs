//! mailsync beside its peers, on the same mail: each thing that people do with it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::corpus::{self, Random, Shape};
use super::cost::{Cost, Machine, Runs, installed, measure, shell, size_of, size_of_file, text, waits_for_disk};
use super::figures::{Figure, Store, Tree, Value};
use super::peers::{self, Pair};

/// What is measured, and on what.
pub struct Mail<'a> {
    /// The section of the page.
    pub section: &'a str,
    /// Where everything lies that is made for it.
    pub dir: &'a Path,
    /// What the page calls that place.
    pub place: &'a Path,
    /// What the messages are like.
    pub shape: Shape,
    /// How many there are.
    pub messages: u64,
    /// How often each command runs.
    pub runs: usize,
}

/// What stands beside mailsync: how it is called, and a run of it.
type Beside<'r> = (&'r str, Box<dyn FnMut(usize) -> Cost + 'r>);

/// How many changes a delta holds: 1,000 of flags, 100 moves, 100 removed messages, 100 new ones.
const FLAGGED: u64 = 1000;
const MOVED: u64 = 100;

/// What takes minutes for a gigabyte runs once, and up to here only.
const SLOW_UP_TO: u64 = 10_000;

/// Up to here only is notmuch's index made, which takes longer than all else together, and strace counts waits for the disk.
const OTHERS_UP_TO: u64 = 100_000;

struct Bench<'a> {
    of: &'a Mail<'a>,
    store: &'a mut Store,
    desktop: Machine,
    laptop: Machine,
    changes: Changes,
}

/// Measures everything on one mail tree, which is made first and removed afterwards. At most three trees of that size are
/// there at the same time.
pub fn measure_all(mail: &Mail<'_>, store: &mut Store) {
    let (desktop, laptop) = (Machine::at(mail.dir, "desktop"), Machine::at(mail.dir, "laptop"));
    eprintln!("making {} messages", mail.messages);
    corpus::make(mail.shape, &desktop.mail, mail.messages, 7).expect("the corpus can be written");
    store.begin(Tree {
        section: mail.section.to_owned(),
        size: mail.messages,
        bytes: size_of(&desktop.mail),
        dir: mail.place.display().to_string(),
        processors: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        runs: mail.runs,
    });
    let changes = Changes::new(mail.shape, mail.messages, 1);
    let mut bench = Bench { of: mail, store, desktop, laptop, changes };
    bench.first_scan();
    bench.nothing_new();
    bench.invitation();
    bench.full();
    bench.encrypted();
    bench.delta();
    bench.two_machines();
    bench.desktop.remove();
    bench.store.end(|figure| figure.section == mail.section && figure.size == mail.messages);
}

impl Bench<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.of.dir.join(name)
    }

    /// Runs mailsync and what stands beside it in turns, and keeps what they cost.
    fn turns(&mut self, what: &str, mut ours: impl FnMut(usize) -> Cost, mut theirs: Vec<Beside<'_>>) {
        let mut of_ours = Runs::default();
        let mut of_theirs = vec![Runs::default(); theirs.len()];
        for run in 0..self.of.runs {
            of_ours.0.push(ours(run));
            for ((_, beside), runs) in theirs.iter_mut().zip(&mut of_theirs) {
                runs.0.push(beside(run));
            }
        }
        let names: Vec<&str> = theirs.iter().map(|(name, _)| *name).collect();
        self.costs(what, &of_ours, &names.into_iter().zip(of_theirs).collect::<Vec<_>>());
    }

    /// The same, once.
    fn once(&mut self, what: &str, ours: Cost, theirs: &[(&str, Cost)]) {
        let theirs: Vec<(&str, Runs)> = theirs.iter().map(|(name, cost)| (*name, Runs(vec![*cost]))).collect();
        self.costs(what, &Runs(vec![ours]), &theirs);
    }

    fn costs(&mut self, what: &str, ours: &Runs, theirs: &[(&str, Runs)]) {
        let value = |runs: &Runs| Value::Cost(runs.summary());
        if theirs.is_empty() {
            self.keep(what, ours.0.len(), value(ours), None);
        }
        for (beside, runs) in theirs {
            // A program that ran less often stands beside as many runs of mailsync.
            let ours = Runs(ours.0[..runs.0.len()].to_vec());
            self.keep(what, runs.0.len(), value(&ours), Some((*beside, value(runs))));
        }
    }

    fn bytes(&mut self, what: &str, ours: u64, theirs: Option<(&str, u64)>) {
        self.keep(what, 1, Value::Bytes(ours), theirs.map(|(beside, bytes)| (beside, Value::Bytes(bytes))));
    }

    fn waits(&mut self, what: &str, ours: Option<u64>, theirs: Option<(&str, u64)>) {
        if let Some(ours) = ours {
            self.keep(what, 1, Value::Waits(ours), theirs.map(|(beside, waits)| (beside, Value::Waits(waits))));
        }
    }

    fn keep(&mut self, what: &str, runs: usize, ours: Value, theirs: Option<(&str, Value)>) {
        let (beside, theirs) = theirs.map_or((String::new(), None), |(beside, value)| (beside.to_owned(), Some(value)));
        eprintln!("{}, {what}: {ours:?}, {beside}: {theirs:?}", self.of.messages);
        self.store.keep(Figure {
            section: self.of.section.to_owned(),
            kind: String::new(),
            size: self.of.messages,
            what: what.to_owned(),
            beside,
            runs,
            ours,
            theirs,
        });
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
        let beside = "find -print0 | xargs -0 -P2 sha256sum";
        self.turns("init", init, vec![(beside, Box::new(|_| shell(&hash)))]);
        self.bytes("state", size_of(&desktop.home), None);
    }

    /// What commands cost that have nothing to do.
    fn nothing_new(&mut self) {
        let desktop = self.desktop.clone();
        desktop.run(&[&"scan"]);
        let scan = |_| desktop.run(&[&"scan"]);
        let find = format!("find {} -type f", text(&desktop.mail));
        // notmuch looks at directories' times as mailsync does; it is to have nothing to index.
        let indexed = installed("notmuch") && self.of.messages <= OTHERS_UP_TO;
        let config = self.path("notmuch-config");
        let new = format!("NOTMUCH_CONFIG={} notmuch new --quiet", text(&config));
        let mut theirs: Vec<Beside<'_>> = vec![("find", Box::new(|_| shell(&find)))];
        if indexed {
            peers::configure_notmuch(&config, &desktop.mail);
            shell(&new);
            theirs.push(("notmuch new", Box::new(|_| shell(&new))));
        }
        self.turns("scan, nothing changed", scan, theirs);
        if indexed {
            fs::remove_dir_all(desktop.mail.join(".notmuch")).expect("notmuch's index can be removed");
        }
        self.turns("status", |_| desktop.run(&[&"status"]), Vec::new());
    }

    /// How a new machine begins.
    fn invitation(&mut self) {
        let desktop = self.desktop.clone();
        let (bundle, archive) = (self.path("invitation.zst"), self.path("tar.zst"));
        let pack =
            |level: &str| format!("tar -C {} -cf - . | zstd -q -f {level} -o {}", text(&desktop.mail), text(&archive));
        let invite = |level: &str| {
            let invited = self_invites(&desktop, &bundle, level);
            desktop.run(&[&"peer", &"remove", &"tablet"]);
            invited
        };
        let (usual, slow) = (pack("-T0 -3"), pack("-T0 -19 --long=27"));
        let beside = "tar | zstd -T0 -3";
        self.turns("invite", |_| invite("3"), vec![(beside, Box::new(|_| shell(&usual)))]);
        self.bytes("invitation", size_of_file(&bundle), Some((beside, size_of_file(&archive))));
        if self.of.messages <= SLOW_UP_TO {
            let mut theirs = vec![("tar | zstd -T0 -19 --long=27", shell(&slow), size_of_file(&archive))];
            if installed("git") {
                let (cost, bytes) = peers::git_bundle(self.of.dir, &desktop.mail, self.of.messages);
                theirs.push(("git add, commit, bundle", cost, bytes));
            }
            let ours = invite("19");
            let costs: Vec<(&str, Cost)> = theirs.iter().map(|(name, cost, _)| (*name, *cost)).collect();
            self.once("invite --level 19", ours, &costs);
            for (name, _, bytes) in theirs {
                self.bytes("invitation, --level 19", size_of_file(&bundle), Some((name, bytes)));
            }
        }
        shell(&usual);
        self_invites(&desktop, &bundle, "3");
        self.joining(&bundle, &archive);
        desktop.run(&[&"peer", &"remove", &"tablet"]);
        for file in [bundle, archive] {
            fs::remove_file(file).expect("the bundle and the archive can be removed");
        }
    }

    /// A new machine takes in the invitation. What the one before has made is removed first, and that isn't counted.
    fn joining(&mut self, bundle: &Path, archive: &Path) {
        let (desktop, tablet) = (self.desktop.clone(), Machine::at(self.of.dir, "tablet"));
        let copy = self.path("copy");
        let clear = || {
            tablet.remove();
            if copy.exists() {
                fs::remove_dir_all(&copy).expect("the copy can be removed");
            }
        };
        let join = |_| {
            clear();
            tablet.run(&[&"join", &tablet.mail, &bundle])
        };
        let unpack = format!("mkdir {0} && zstd -q -dc {1} | tar -xf - -C {0}", text(&copy), text(archive));
        let untar = |_| {
            clear();
            shell(&unpack)
        };
        let rsync = format!("rsync -a {}/ {}/", text(&desktop.mail), text(&copy));
        let mirror = |_| {
            clear();
            shell(&rsync)
        };
        self.turns("join", join, vec![("zstd -d | tar x", Box::new(untar)), ("rsync -a", Box::new(mirror))]);
        clear();
        let waits = tablet.waits_for_disk(&[&"join", &tablet.mail, &bundle]);
        self.waits("join", waits, None);
        clear();
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
        self.turns("full export", export, vec![("tar | zstd -T0 -3", Box::new(|_| shell(&pack)))]);
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
        self.turns("full import", import, vec![("zstd -d | tar x", Box::new(untar))]);
        fs::remove_file(archive).expect("the archive can be removed");
    }

    /// What encryption costs: the same bundle with and without it.
    fn encrypted(&mut self) {
        let (desktop, laptop) = (self.desktop.clone(), self.laptop.clone());
        let (sealed, plain) = (self.path("full.zst.age"), self.path("full.zst"));
        let export = |secrecy: &str, file: &Path| {
            desktop.run(&[&"export", &"--to", &"laptop", &"--full", &secrecy, &"--force", &"-o", &file])
        };
        let beside = "the same, --plain";
        let in_plain = Box::new(|_| export("--plain", &plain));
        self.turns("full export, encrypted", |_| export("--encrypt", &sealed), vec![(beside, in_plain)]);
        let import = |file: &Path| {
            laptop.empty(&desktop);
            laptop.run(&[&"import", &file])
        };
        let in_plain = Box::new(|_| import(&plain));
        self.turns("full import, encrypted", |_| import(&sealed), vec![(beside, in_plain)]);
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
            (Runs::default(), Runs::default(), Runs::default(), Runs::default());
        for run in 0..self.of.runs {
            self.changes.make(&desktop.mail, run as u64);
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
        self.costs("1,300 changes: scan and export", &exports, &[]);
        self.costs("1,300 changes: import", &imports, &[]);
        self.costs("1,300 changes: scan, export, import", &both, &[("rsync -a --delete", theirs)]);
        self.bytes("1,300 changes", size_of_file(&bundle), None);
        fs::remove_dir_all(mirror).expect("the mirror can be removed");
        let nothing = self.path("nothing.zst");
        let export = |_| {
            let cost = desktop.run(&[&"export", &"--plain", &"--force", &"-o", &nothing]);
            if nothing.exists() {
                fs::remove_file(&nothing).expect("the bundle can be removed");
            }
            cost
        };
        self.turns("export, nothing new", export, Vec::new());
        self.changes.make(&desktop.mail, 1_000);
        fs::remove_file(&bundle).expect("the bundle can be removed");
        let waits = desktop.waits_for_disk(&[&"export", &"--plain", &"--force", &"-o", &bundle]);
        self.waits("1,300 changes: scan and export", waits, None);
        let waits = laptop.waits_for_disk(&[&"import", &bundle]);
        self.waits("1,300 changes: import", waits, None);
        laptop.remove();
        fs::remove_dir_all(&desktop.home).expect("the replica can be removed");
        // Which replica the mail is of: the copies are of others, or of none.
        fs::remove_file(desktop.mail.join(".mailsync")).expect("the mail root has its mark");
    }

    /// What makes two machines hold the same and keeps them so, in both directions, from nothing but the mail of one. Each
    /// program has a copy of it to itself, in turns, as some write into the names of its files.
    fn two_machines(&mut self) {
        let mut pairs = peers::pairs(self.of.dir);
        pairs.retain(|pair| !pair.indexes() || self.of.messages <= SLOW_UP_TO);
        let mut runs = vec![[Runs::default(), Runs::default()]; pairs.len()];
        for run in 0..self.of.runs {
            for (pair, runs) in pairs.iter().zip(&mut runs) {
                if run == 0 || !pair.indexes() {
                    let costs = self.life(&**pair, run, |command| Some(measure(command)), Cost::then);
                    for (runs, cost) in runs.iter_mut().zip(costs) {
                        runs.0.extend(cost);
                    }
                }
            }
        }
        let waits: Vec<[Option<u64>; 2]> = if self.of.messages <= OTHERS_UP_TO {
            let life = |pair: &dyn Pair| self.life(pair, 0, |it| waits_for_disk(&it), |one, other| one + other);
            pairs.iter().map(|pair| life(&**pair)).collect()
        } else {
            Vec::new()
        };
        for (at, what) in ["two machines: all mail", "two machines: 1,300 changes"].into_iter().enumerate() {
            let theirs = peers::pairs(self.of.dir).into_iter().zip(&runs).skip(1);
            let theirs: Vec<(&str, Runs)> = theirs.map(|(pair, runs)| (pair.name(), runs[at].clone())).collect();
            self.costs(what, &runs[0][at], &theirs);
            for (pair, theirs) in pairs.iter().zip(&waits).skip(1) {
                self.waits(what, waits[0][at], theirs[at].map(|waits| (pair.name(), waits)));
            }
        }
    }

    /// A pair of machines from beginning to end: what all mail costs, and then the changes.
    fn life<T>(
        &self,
        pair: &dyn Pair,
        run: usize,
        spend: impl Fn(Command) -> Option<T>,
        add: fn(T, T) -> T,
    ) -> [Option<T>; 2] {
        let spend = |commands: Vec<Command>| commands.into_iter().filter_map(&spend).reduce(add);
        fs::create_dir(pair.dir()).expect("a directory for the pair can be made");
        shell(&format!("cp -a {} {}", text(&self.desktop.mail), text(pair.source())));
        pair.prepare();
        let first = spend(pair.first());
        peers::assert_same(pair);
        // notmuch and muchsync see seconds only: what changes in the one in which they look, they find later.
        let next_second = || std::thread::sleep(std::time::Duration::from_millis(1100));
        next_second();
        Changes::new(self.of.shape, self.of.messages, 100 + run as u64).make(pair.source(), 2_000 + run as u64);
        next_second();
        let again = spend(pair.again());
        peers::assert_same(pair);
        pair.clear();
        [first, again]
    }
}

/// Changes the mail as people and their programs do.
struct Changes {
    shape: Shape,
    messages: u64,
    random: Random,
    words: Vec<String>,
}

impl Changes {
    fn new(shape: Shape, messages: u64, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let words = corpus::words(&mut random);
        Self { shape, messages, random, words }
    }

    /// Changes 1,300 messages; no two calls deliver the same.
    fn make(&mut self, mail: &Path, call: u64) {
        let folders = self.shape.folders();
        // A tree that small has fewer changes.
        let most = (self.messages / 4).max(1);
        let part = |of: u64| of.min(most);
        let mut files = self.choose(mail, part(FLAGGED) + 2 * part(MOVED));
        let mut take = || files.pop().expect("as many were chosen as are changed");
        for _ in 0..part(FLAGGED) {
            let from = take();
            let name = text(&from);
            let (name, flags) = name.split_once(":2,").expect("what is in cur has flags");
            // Flags are in the order of the alphabet, and of those that the corpus has F is the first.
            let to = match flags.strip_prefix('F') {
                Some(others) => format!("{name}:2,{others}"),
                None => format!("{name}:2,F{flags}"),
            };
            fs::rename(&from, to).expect("a flag can be set");
        }
        let any = |random: &mut Random| &folders[usize::try_from(random.below(folders.len() as u64)).expect("few")];
        for _ in 0..part(MOVED) {
            let from = take();
            let folder = any(&mut self.random);
            let name = from.file_name().expect("a name").to_str().expect("the bench's names are plain");
            fs::rename(&from, mail.join(folder).join("cur").join(without_uid(name))).expect("a move");
            fs::remove_file(take()).expect("a message can be removed");
        }
        for number in 0..part(MOVED) {
            let folder = any(&mut self.random);
            let number = 10_000_000 + call * 100_000 + number;
            corpus::deliver(self.shape, &mail.join(folder), number, &mut self.random, &self.words).expect("a delivery");
        }
    }

    /// So many of the messages in `cur`, each with the same chance, and in no order. No list of all of them is made: what this
    /// process takes counts as the peak of every command that it starts.
    fn choose(&mut self, mail: &Path, wanted: u64) -> Vec<PathBuf> {
        let (folders, random) = (self.shape.folders(), &mut self.random);
        let mut index = |below: u64| usize::try_from(random.below(below)).expect("an index");
        let mut chosen = Vec::new();
        let mut seen = 0;
        for folder in folders {
            let cur = mail.join(folder).join("cur");
            let listed = fs::read_dir(&cur).expect("a folder can be listed");
            let mut names: Vec<OsString> = listed.map(|item| item.expect("a name").file_name()).collect();
            names.sort();
            for name in names {
                seen += 1;
                if seen <= wanted {
                    chosen.push(cur.join(name));
                    continue;
                }
                if let Some(place) = chosen.get_mut(index(seen)) {
                    *place = cur.join(name);
                }
            }
        }
        for last in (1..chosen.len()).rev() {
            chosen.swap(last, index(last as u64 + 1));
        }
        chosen
    }
}

/// A name without the number that mbsync has put into it, which holds in one folder only: mail programs leave it out when they
/// move a message.
fn without_uid(name: &str) -> String {
    let Some((before, after)) = name.split_once(",U=") else { return name.to_owned() };
    format!("{before}{}", after.trim_start_matches(|digit: char| digit.is_ascii_digit()))
}

fn self_invites(desktop: &Machine, bundle: &Path, level: &str) -> Cost {
    if bundle.exists() {
        fs::remove_file(bundle).expect("the bundle can be removed");
    }
    desktop.run(&[&"invite", &"tablet", &"--plain", &"--level", &level, &"--force", &"-o", &bundle])
}
