//! Mail that isn't like other mail: much of one kind. A figure stands beside the same with less of it, so that what grows
//! faster than the mail shows.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::SMALL;
use super::corpus::{self, Random};
use super::cost::{Cost, Machine, Runs, shell, size_of_file, text};
use super::figures::{Figure, Store, Value};

/// What there is much of, and how many of it at the scale 1.
const ALL: [(&str, u64, Measure); 7] = [
    ("messages in one folder", 500_000, one_folder),
    ("folders of one message", 2_000, many_folders),
    ("copies of one message in a folder", 4_000, identical),
    ("bytes of one message", 2 << 30, large_message),
    ("deltas one after the other", 10_000, many_deltas),
    ("peers", 50, many_peers),
    ("incarnations", 1_000, many_incarnations),
];

/// Measures a kind with up to so many, and tells each figure as soon as it is there.
type Measure = fn(&Path, u64, &mut Tell<'_>);

/// Takes what was done, how many there were, and what was measured.
type Tell<'a> = dyn FnMut(&str, u64, Value) + 'a;

/// Measures the kinds whose name has one of these words in it; `scale` is what part of the largest numbers is used.
pub fn measure(dir: &Path, scale: f64, wanted: &[String], store: &mut Store) {
    for (kind, most, measure) in ALL {
        if !wanted.is_empty() && !wanted.iter().any(|word| kind.contains(word.as_str())) {
            continue;
        }
        // Any number is right: it is the bench's own.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let most = ((most as f64 * scale) as u64).max(10);
        let started = std::time::Instant::now();
        measure(dir, most, &mut |what, size, value| {
            eprintln!("{size} {kind}, {what}: {value:?}");
            store.keep(Figure {
                section: "odd".to_owned(),
                kind: kind.to_owned(),
                size,
                what: what.to_owned(),
                beside: String::new(),
                runs: 1,
                ours: value,
                theirs: None,
            });
        });
        store.end(|figure| figure.section == "odd" && figure.kind == kind);
        eprintln!("{kind}: {:.0} s", started.elapsed().as_secs_f64());
    }
}

/// The steps whose cost is told of each: what each did at each number.
fn steps(counts: &[u64], tell: &mut Tell<'_>, mut run: impl FnMut(u64) -> Vec<(&'static str, Cost)>) {
    for &count in counts {
        for (what, cost) in run(count) {
            tell(what, count, Value::Cost(cost));
        }
    }
}

fn maildir(root: &Path, folder: &str) -> PathBuf {
    let dir = root.join(folder);
    for sub in ["cur", "new", "tmp"] {
        fs::create_dir_all(dir.join(sub)).expect("a folder can be made");
    }
    dir
}

/// A message that is like no other.
fn deliver(dir: &Path, number: u64) {
    let mut random = Random::new(number + 1);
    let words = ["one", "other", "third"].map(str::to_owned);
    corpus::deliver(SMALL, dir, number, &mut random, &words).expect("a delivery");
}

/// Two machines that hold the same.
fn pair(dir: &Path) -> (Machine, Machine) {
    let (desktop, laptop) = (Machine::at(dir, "desktop"), Machine::at(dir, "laptop"));
    laptop.init();
    desktop.befriend(&laptop);
    (desktop, laptop)
}

fn export(from: &Machine, bundle: &Path) -> Cost {
    if bundle.exists() {
        fs::remove_file(bundle).expect("the bundle can be removed");
    }
    from.run(&[&"export", &"--plain", &"--force", &"-o", &bundle])
}

/// One bundle there, and one back.
fn exchange(desktop: &Machine, laptop: &Machine, bundle: &Path) -> (Cost, Cost) {
    let out = export(desktop, bundle);
    let taken = laptop.run(&[&"import", &bundle]);
    answer(desktop, laptop, bundle);
    (out, taken)
}

/// What the laptop has, the desktop learns.
fn answer(desktop: &Machine, laptop: &Machine, bundle: &Path) {
    export(laptop, bundle);
    desktop.run(&[&"import", &bundle]);
}

fn one_folder(dir: &Path, most: u64, tell: &mut Tell<'_>) {
    steps(&[most / 10, most], tell, |count| {
        let dir = tempfile::tempdir_in(dir).expect("a directory");
        let (desktop, bundle) = (Machine::at(dir.path(), "desktop"), dir.path().join("bundle.zst"));
        let inbox = maildir(&desktop.mail, "");
        (0..count).for_each(|number| deliver(&inbox, number));
        let init = desktop.init();
        let (desktop, laptop) = pair(dir.path());
        let (full, taken) = exchange(&desktop, &laptop, &bundle);
        let nothing = desktop.run(&[&"scan"]);
        deliver(&inbox, count);
        let scan = desktop.run(&[&"scan"]);
        let (out, delta) = exchange(&desktop, &laptop, &bundle);
        vec![
            ("init", init),
            ("full export", full),
            ("full import", taken),
            ("scan, nothing changed", nothing),
            ("scan after one delivery", scan),
            ("export of one message", out),
            ("import of one message", delta),
        ]
    });
}

fn many_folders(dir: &Path, most: u64, tell: &mut Tell<'_>) {
    steps(&[most / 10, most], tell, |count| {
        let dir = tempfile::tempdir_in(dir).expect("a directory");
        let (desktop, bundle) = (Machine::at(dir.path(), "desktop"), dir.path().join("bundle.zst"));
        maildir(&desktop.mail, "");
        for number in 0..count {
            deliver(&maildir(&desktop.mail, &format!(".Folder{number}")), number);
        }
        let init = desktop.init();
        let (desktop, laptop) = pair(dir.path());
        exchange(&desktop, &laptop, &bundle);
        let scan = desktop.run(&[&"scan"]);
        deliver(&desktop.mail.join(".Folder0"), count);
        let (out, delta) = exchange(&desktop, &laptop, &bundle);
        vec![
            ("init", init),
            ("scan, nothing changed", scan),
            ("export of one message", out),
            ("import of one message", delta),
        ]
    });
}

fn identical(dir: &Path, most: u64, tell: &mut Tell<'_>) {
    steps(&[most / 4, most], tell, |count| {
        let dir = tempfile::tempdir_in(dir).expect("a directory");
        let (desktop, bundle) = (Machine::at(dir.path(), "desktop"), dir.path().join("bundle.zst"));
        let inbox = maildir(&desktop.mail, "");
        for number in 0..count {
            fs::write(inbox.join(format!("cur/{number}.M1P1.host:2,S")), b"Subject: again\n\nthe same\n")
                .expect("a delivery");
        }
        let init = desktop.init();
        let (desktop, laptop) = pair(dir.path());
        let (out, taken) = exchange(&desktop, &laptop, &bundle);
        vec![("init", init), ("full export", out), ("full import", taken)]
    });
}

fn large_message(dir: &Path, most: u64, tell: &mut Tell<'_>) {
    steps(&[most / 10, most], tell, |count| {
        let dir = tempfile::tempdir_in(dir).expect("a directory");
        let (desktop, bundle) = (Machine::at(dir.path(), "desktop"), dir.path().join("bundle.zst"));
        let inbox = maildir(&desktop.mail, "");
        let path = inbox.join("cur/1.M1P1.host:2,S");
        let mut file = std::io::BufWriter::new(File::create(&path).expect("a message can be made"));
        file.write_all(b"Subject: large\n\n").expect("it can be written");
        let mut random = Random::new(1);
        for _ in 0..count / 8 {
            file.write_all(&random.any().to_le_bytes()).expect("it can be written");
        }
        file.into_inner().expect("it can be written");
        let init = desktop.init();
        let (desktop, laptop) = pair(dir.path());
        let (out, taken) = exchange(&desktop, &laptop, &bundle);
        let hash = shell(&format!("sha256sum {}", text(&path)));
        vec![("init", init), ("sha256sum", hash), ("full export", out), ("full import", taken)]
    });
}

/// How many messages there are while deltas come and go.
const KEPT: u64 = 1_000;

/// After how many deltas the other machine answers, but for the first and the last ones, where it always does.
const ANSWERED: u64 = 10;

/// In each a message came and the oldest one went, so that what is measured is how long the history is and not how much mail
/// there is. What is told is the median of the first ones and of the last.
fn many_deltas(dir: &Path, most: u64, tell: &mut Tell<'_>) {
    let dir = tempfile::tempdir_in(dir).expect("a directory");
    let (desktop, bundle) = (Machine::at(dir.path(), "desktop"), dir.path().join("bundle.zst"));
    let inbox = maildir(&desktop.mail, "");
    let path = |number: u64| inbox.join(format!("cur/{number}.M1P1.host:2,S"));
    let put = |number: u64| {
        let text =
            format!("Message-ID: <{number}@example.org>\nSubject: number {number}\n\nThis is number {number}.\n");
        fs::write(path(number), text).expect("a delivery");
    };
    (0..KEPT).for_each(put);
    desktop.init();
    let (desktop, laptop) = pair(dir.path());
    exchange(&desktop, &laptop, &bundle);
    let window = (most / 10).clamp(1, 100);
    let (mut exports, mut imports, mut bytes) = (Runs::default(), Runs::default(), Vec::new());
    for delta in 1..=most {
        put(KEPT + delta - 1);
        fs::remove_file(path(delta - 1)).expect("a message can be removed");
        let (first, last) = (delta <= window, delta > most - window);
        let out = export(&desktop, &bundle);
        let size = size_of_file(&bundle);
        let taken = laptop.run(&[&"import", &bundle]);
        if first || last || delta % ANSWERED == 0 {
            answer(&desktop, &laptop, &bundle);
        }
        if first || last {
            exports.0.push(out);
            imports.0.push(taken);
            bytes.push(size);
        }
        if delta == window || delta == most {
            bytes.sort_unstable();
            tell("export of one message and one removal", delta, Value::Cost(exports.summary()));
            tell("import of one message and one removal", delta, Value::Cost(imports.summary()));
            tell("the bundle", delta, Value::Bytes(bytes[bytes.len() / 2]));
            tell("the state of the one that exports", delta, Value::Bytes(state_of(&desktop)));
            tell("the state of the one that imports", delta, Value::Bytes(state_of(&laptop)));
            (exports, imports, bytes) = (Runs::default(), Runs::default(), Vec::new());
        }
    }
}

/// The bytes of a replica's database.
fn state_of(machine: &Machine) -> u64 {
    ["state.db", "state.db-wal"].iter().map(|name| size_of_file(&machine.home.join(name))).sum()
}

fn many_peers(dir: &Path, most: u64, tell: &mut Tell<'_>) {
    steps(&[1, most], tell, |count| {
        let dir = tempfile::tempdir_in(dir).expect("a directory");
        let desktop = Machine::at(dir.path(), "desktop");
        let inbox = maildir(&desktop.mail, "");
        (0..10_000).for_each(|number| deliver(&inbox, number));
        desktop.init();
        let (spools, bundle) = (dir.path().join("spool"), dir.path().join("bundle.zst"));
        fs::create_dir(&spools).expect("a directory");
        let mut first = None;
        for number in 0..count {
            let peer = Machine::at(dir.path(), &format!("peer{number}"));
            peer.init();
            desktop.befriend(&peer);
            // What it has, the desktop learns.
            let full =
                desktop.run(&[&"export", &"--to", &format!("peer{number}"), &"--plain", &"--force", &"-o", &bundle]);
            peer.run(&[&"import", &bundle]);
            export(&peer, &dir.path().join("answer.zst"));
            desktop.run(&[&"import", &dir.path().join("answer.zst")]);
            fs::remove_file(&bundle).expect("the bundle can be removed");
            first.get_or_insert(full);
        }
        deliver(&inbox, 10_000);
        let scan = desktop.run(&[&"scan"]);
        let out = desktop.run(&[&"export", &"--to", &"peer0", &"--plain", &"--force", &"-o", &bundle]);
        let taken = Machine::at(dir.path(), "peer0").run(&[&"import", &bundle]);
        let status = desktop.run(&[&"status"]);
        vec![
            ("scan after one delivery", scan),
            ("export of one message", out),
            ("import of one message", taken),
            ("status", status),
        ]
    });
}

fn many_incarnations(dir: &Path, most: u64, tell: &mut Tell<'_>) {
    steps(&[1, most], tell, |count| {
        let dir = tempfile::tempdir_in(dir).expect("a directory");
        let (desktop, bundle) = (Machine::at(dir.path(), "desktop"), dir.path().join("bundle.zst"));
        let inbox = maildir(&desktop.mail, "");
        desktop.init();
        for number in 0..count {
            deliver(&inbox, number);
            desktop.run(&[&"scan"]);
            desktop.run(&[&"doctor", &"--new-identity"]);
        }
        let (desktop, laptop) = pair(dir.path());
        export(&desktop, &bundle);
        // So many at once are to be allowed.
        laptop.run(&[&"import", &"--allow-mass-add", &bundle]);
        answer(&desktop, &laptop, &bundle);
        deliver(&inbox, count);
        let scan = desktop.run(&[&"scan"]);
        let (out, taken) = exchange(&desktop, &laptop, &bundle);
        vec![("scan after one delivery", scan), ("export of one message", out), ("import of one message", taken)]
    });
}
