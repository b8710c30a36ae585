//! Many changes on two machines at once, then one exchange: both hold the same, and what the rules of merging say.
//!
//! `MAILSYNC_TEST_MESSAGES=100000 cargo test --release --test tests changes_on_both_sides_at_once` does it with as much
//! mail as that.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mailsync::model::Digest;

use crate::support::corpus::{self, LARGE, Random};
use crate::support::machine::{Machine, Mail, Mailbox, assert_same, make_peers};
use crate::support::{scratch, text};

/// Every message file, each of which holds something else.
fn files(machine: &Machine) -> BTreeMap<Digest, (Mail, PathBuf)> {
    let mut files = BTreeMap::new();
    for (digest, mail, path) in machine.files() {
        let before = files.insert(digest, (mail, path));
        assert!(before.is_none(), "a message is there twice: {before:?}");
    }
    files
}

/// These flags with this one set, or cleared if it is set.
fn toggled(flags: &str, flag: char) -> String {
    let mut flags: BTreeSet<char> = flags.chars().collect();
    if !flags.remove(&flag) {
        flags.insert(flag);
    }
    flags.into_iter().collect()
}

/// What somebody did on one machine.
#[derive(Default)]
struct Done {
    flagged: BTreeMap<Digest, char>,
    moved: BTreeMap<Digest, String>,
    removed: BTreeSet<Digest>,
    new: Mailbox,
}

/// Changes a flag of each of `10 * part` messages, moves `part`, removes `part`, and delivers `part` new ones.
fn change(machine: &Machine, part: usize, random: &mut Random, words: &[String]) -> Done {
    let before = files(machine);
    let digests: Vec<Digest> = before.iter().filter(|(_, (mail, _))| !mail.recent).map(|(digest, _)| *digest).collect();
    let any = |random: &mut Random| digests[usize::try_from(random.below(digests.len() as u64)).unwrap()];
    let dirs = LARGE.folders();
    let layout = machine.config().layout();
    let folder_of = |dir: &String| layout.folder_of(Path::new(dir)).unwrap().to_string();
    let mut done = Done::default();
    while done.flagged.len() < 10 * part {
        let flag = ['F', 'P', 'R', 'S', 'T'][usize::try_from(random.below(5)).unwrap()];
        done.flagged.entry(any(random)).or_insert(flag);
    }
    while done.moved.len() < part {
        let (digest, dir) = (any(random), &dirs[usize::try_from(random.below(dirs.len() as u64)).unwrap()]);
        if before[&digest].0.folder != folder_of(dir) {
            done.moved.insert(digest, folder_of(dir));
        }
    }
    while done.removed.len() < part {
        let digest = any(random);
        if !done.moved.contains_key(&digest) && !done.flagged.contains_key(&digest) {
            done.removed.insert(digest);
        }
    }
    for digest in done.flagged.keys().chain(done.moved.keys()).collect::<BTreeSet<_>>() {
        let (mail, path) = &before[digest];
        let flags = done.flagged.get(digest).map_or_else(|| mail.flags.clone(), |flag| toggled(&mail.flags, *flag));
        let folder = done.moved.get(digest).unwrap_or(&mail.folder);
        let name = path.file_name().unwrap().to_str().unwrap();
        let base = name.rsplit_once(":2,").unwrap().0;
        fs::rename(path, machine.dir(folder).join("cur").join(format!("{base}:2,{flags}"))).unwrap();
    }
    for digest in &done.removed {
        fs::remove_file(&before[digest].1).unwrap();
    }
    let first = 20_000_000 + random.below(1_000_000_000);
    for number in 0..part as u64 {
        let dir = &dirs[usize::try_from(random.below(dirs.len() as u64)).unwrap()];
        corpus::deliver(LARGE, &machine.mail.join(dir), first + number, random, words).unwrap();
    }
    done.new = machine.mailbox();
    done.new.retain(|digest, _| !before.contains_key(digest));
    assert_eq!(done.new.len(), part);
    done
}

/// What becomes of the mailbox by the rules, when the second machine made its changes later.
fn expected(base: &Mailbox, first: &Done, second: &Done) -> Mailbox {
    let mut after = Mailbox::new();
    for (digest, copies) in base {
        let by = |done: &Done| (done.removed.contains(digest), done.moved.get(digest).cloned());
        let ((removed_first, moved_first), (removed_second, moved_second)) = (by(first), by(second));
        // A removal loses to a move that the remover had not seen.
        if (removed_first || removed_second) && moved_first.is_none() && moved_second.is_none() {
            continue;
        }
        let mut mail = copies[0].clone();
        // Of two moves the later one counts.
        if let Some(folder) = moved_second.or(moved_first) {
            mail.folder = folder;
        }
        // Changes of different flags both hold; the same change twice is one change.
        let changed = [first, second].into_iter().filter_map(|done| done.flagged.get(digest));
        for flag in changed.collect::<BTreeSet<_>>() {
            mail.flags = toggled(&mail.flags, *flag);
        }
        after.insert(*digest, vec![mail]);
    }
    after.extend(first.new.clone());
    after.extend(second.new.clone());
    after
}

#[test]
fn both_end_with_what_the_rules_say() {
    let count = std::env::var("MAILSYNC_TEST_MESSAGES").map_or(2000, |count| count.parse().unwrap());
    let seed = std::env::var("MAILSYNC_TEST_SEED").map_or(11, |seed| seed.parse().unwrap());
    println!("{count} messages, seed {seed}");
    let mut random = Random::new(seed);
    let words = corpus::words(&mut random);
    let dir = scratch();
    let (desktop, laptop) = (Machine::new(dir.path(), "desktop"), Machine::new(dir.path(), "laptop"));
    corpus::make(LARGE, &desktop.mail, count, seed).unwrap();
    desktop.init();
    laptop.init();
    make_peers(&desktop, &laptop);
    let bundle = dir.path().join("bundle.zst");
    let exchange = |from: &Machine, to: &Machine| {
        from.ok(&["export", "--force", "-o", text(&bundle)]);
        to.ok(&["import", text(&bundle)]);
    };
    let base = desktop.mailbox();
    exchange(&desktop, &laptop);
    exchange(&laptop, &desktop);
    assert_same(&laptop.mailbox(), &base, "the full bundle");

    let part = usize::try_from(count / 1000).unwrap().max(10);
    for round in 0..2 {
        let base = desktop.mailbox();
        let first = change(&desktop, part, &mut random, &words);
        let second = change(&laptop, part, &mut random, &words);
        desktop.ok(&["scan"]);
        std::thread::sleep(Duration::from_millis(5));
        laptop.ok(&["scan"]);
        exchange(&desktop, &laptop);
        exchange(&laptop, &desktop);
        let wanted = expected(&base, &first, &second);
        assert_same(&desktop.mailbox(), &wanted, &format!("round {round}, desktop"));
        assert_same(&laptop.mailbox(), &wanted, &format!("round {round}, laptop"));
    }
}
