//! Mail that isn't like other mail: much of one kind. A figure stands beside the same with less of it, so that what grows
//! faster than the mail shows.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use super::SMALL;
use super::corpus::{self, Random};
use super::cost::{Cost, Machine, Runs, shell, text};

/// What was measured of one kind.
pub struct Odd {
    /// What there is much of.
    pub kind: &'static str,
    /// What was done with it.
    pub what: String,
    /// How many of it, and what that cost; the least first.
    pub points: Vec<(u64, Cost)>,
}

/// Measures every kind; `scale` is what part of the largest numbers is used.
pub fn measure(dir: &Path, scale: f64) -> Vec<Odd> {
    // Any number is right: it is the bench's own.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let up_to = |most: u64| ((most as f64 * scale) as u64).max(10);
    let mut all = Vec::new();
    all.extend(one_folder(dir, up_to(500_000)));
    all.extend(many_folders(dir, up_to(2_000)));
    all.extend(identical(dir, up_to(4_000)));
    all.extend(large_message(dir, up_to(2 << 30)));
    all.extend(many_deltas(dir, up_to(10_000)));
    all.extend(many_peers(dir, up_to(50)));
    all.extend(many_incarnations(dir, up_to(1_000)));
    for odd in &all {
        let points: Vec<String> =
            odd.points.iter().map(|(count, cost)| format!("{count}: {:.3} s", cost.wall)).collect();
        eprintln!("{}, {}: {}", odd.kind, odd.what, points.join(", "));
    }
    all
}

/// The steps whose cost is told of each: what each did at each number.
fn steps(kind: &'static str, counts: &[u64], mut run: impl FnMut(u64) -> Vec<(&'static str, Cost)>) -> Vec<Odd> {
    let mut all: Vec<Odd> = Vec::new();
    for &count in counts {
        for (what, cost) in run(count) {
            match all.iter_mut().find(|odd| odd.what == what) {
                Some(odd) => odd.points.push((count, cost)),
                None => all.push(Odd { kind, what: what.to_owned(), points: vec![(count, cost)] }),
            }
        }
    }
    all
}

fn maildir(root: &Path, folder: &str) -> std::path::PathBuf {
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
    export(laptop, bundle);
    desktop.run(&[&"import", &bundle]);
    (out, taken)
}

fn one_folder(dir: &Path, most: u64) -> Vec<Odd> {
    steps("messages in one folder", &[most / 10, most], |count| {
        let dir = tempfile::tempdir_in(dir).expect("a directory");
        let (desktop, bundle) = (Machine::at(dir.path(), "desktop"), dir.path().join("bundle.zst"));
        let inbox = maildir(&desktop.mail, "");
        (0..count).for_each(|number| deliver(&inbox, number));
        let init = desktop.init();
        let (desktop, laptop) = pair(dir.path());
        let (full, taken) = exchange(&desktop, &laptop, &bundle);
        deliver(&inbox, count);
        let scan = desktop.run(&[&"scan"]);
        let (out, delta) = exchange(&desktop, &laptop, &bundle);
        vec![
            ("init", init),
            ("full export", full),
            ("full import", taken),
            ("scan after one delivery", scan),
            ("export of one message", out),
            ("import of one message", delta),
        ]
    })
}

fn many_folders(dir: &Path, most: u64) -> Vec<Odd> {
    steps("folders of one message", &[most / 10, most], |count| {
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
    })
}

fn identical(dir: &Path, most: u64) -> Vec<Odd> {
    steps("copies of one message in a folder", &[most / 4, most], |count| {
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
    })
}

fn large_message(dir: &Path, most: u64) -> Vec<Odd> {
    steps("bytes of one message", &[most / 10, most], |count| {
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
    })
}

/// One message each; what is told is the median of those around each number.
fn many_deltas(dir: &Path, most: u64) -> Vec<Odd> {
    let dir = tempfile::tempdir_in(dir).expect("a directory");
    let (desktop, bundle) = (Machine::at(dir.path(), "desktop"), dir.path().join("bundle.zst"));
    let inbox = maildir(&desktop.mail, "");
    desktop.init();
    let (desktop, laptop) = pair(dir.path());
    let window = (most / 10).clamp(1, 100);
    let (mut exports, mut imports) = (Vec::new(), Vec::new());
    for number in 0..most {
        deliver(&inbox, number);
        let (out, taken) = exchange(&desktop, &laptop, &bundle);
        if number < window || number >= most - window {
            exports.push(out);
            imports.push(taken);
        }
    }
    let around = |costs: &[Cost]| {
        let runs = Runs(costs.to_vec());
        Cost { wall: runs.wall(), cpu: runs.cpu(), peak: runs.peak() }
    };
    let window = usize::try_from(window).expect("few");
    [("export of one message", exports), ("import of one message", imports)]
        .map(|(what, costs)| Odd {
            kind: "deltas one after the other",
            what: what.to_owned(),
            points: vec![(1, around(&costs[..window])), (most, around(&costs[costs.len() - window..]))],
        })
        .into()
}

fn many_peers(dir: &Path, most: u64) -> Vec<Odd> {
    steps("peers", &[1, most], |count| {
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
    })
}

fn many_incarnations(dir: &Path, most: u64) -> Vec<Odd> {
    steps("incarnations", &[1, most], |count| {
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
        exchange(&desktop, &laptop, &bundle);
        deliver(&inbox, count);
        let scan = desktop.run(&[&"scan"]);
        let (out, taken) = exchange(&desktop, &laptop, &bundle);
        vec![("scan after one delivery", scan), ("export of one message", out), ("import of one message", taken)]
    })
}
