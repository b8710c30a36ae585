//! Many changes on two machines at once, then one exchange: both hold the same, and what the rules of merging say.
//!
//! `MAILSYNC_TEST_MESSAGES=100000 cargo test --release --test changes_on_both_sides_at_once` does it with as much mail as
//! that.

#[path = "../benches/corpus.rs"]
#[allow(dead_code)]
mod corpus;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use corpus::Random;
use mailsync::model::Digest;

/// What matters of one message file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Message {
    folder: String,
    new: bool,
    flags: BTreeSet<char>,
    mtime: SystemTime,
}

type Mailbox = BTreeMap<Digest, Message>;

struct Machine {
    mail: PathBuf,
    home: PathBuf,
}

impl Machine {
    fn mailsync(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mailsync"));
        command.arg("--home").arg(&self.home).args(args);
        command
    }

    fn run(&self, args: &[&str]) {
        let output = self.mailsync(args).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Everything in the mail root, with the path of each.
    fn files(&self) -> BTreeMap<Digest, (Message, PathBuf)> {
        let mut files = BTreeMap::new();
        for folder in corpus::folders() {
            for sub in ["new", "cur"] {
                for item in fs::read_dir(self.mail.join(&folder).join(sub)).unwrap() {
                    let path = item.unwrap().path();
                    let name = path.file_name().unwrap().to_str().unwrap();
                    let message = Message {
                        folder: folder.clone(),
                        new: sub == "new",
                        flags: name.rsplit_once(":2,").map_or("", |(_, flags)| flags).chars().collect(),
                        mtime: path.metadata().unwrap().modified().unwrap(),
                    };
                    let before = files.insert(Digest::of(&fs::read(&path).unwrap()), (message, path));
                    assert!(before.is_none(), "a message is there twice: {before:?}");
                }
            }
        }
        files
    }

    fn mailbox(&self) -> Mailbox {
        self.files().into_iter().map(|(digest, (message, _))| (digest, message)).collect()
    }
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
    let before = machine.files();
    let digests: Vec<Digest> =
        before.iter().filter(|(_, (message, _))| !message.new).map(|(digest, _)| *digest).collect();
    let any = |random: &mut Random| digests[usize::try_from(random.below(digests.len() as u64)).unwrap()];
    let folders = corpus::folders();
    let mut done = Done::default();
    while done.flagged.len() < 10 * part {
        let flag = ['F', 'R', 'S', 'T', 'a'][usize::try_from(random.below(5)).unwrap()];
        done.flagged.entry(any(random)).or_insert(flag);
    }
    while done.moved.len() < part {
        let (digest, folder) = (any(random), &folders[usize::try_from(random.below(folders.len() as u64)).unwrap()]);
        if before[&digest].0.folder != *folder {
            done.moved.insert(digest, folder.clone());
        }
    }
    while done.removed.len() < part {
        let digest = any(random);
        if !done.moved.contains_key(&digest) && !done.flagged.contains_key(&digest) {
            done.removed.insert(digest);
        }
    }
    for digest in done.flagged.keys().chain(done.moved.keys()).collect::<BTreeSet<_>>() {
        let (message, path) = &before[digest];
        let mut flags = message.flags.clone();
        if let Some(flag) = done.flagged.get(digest)
            && !flags.remove(flag)
        {
            flags.insert(*flag);
        }
        let folder = done.moved.get(digest).unwrap_or(&message.folder);
        let name = path.file_name().unwrap().to_str().unwrap();
        let base = name.rsplit_once(":2,").unwrap().0;
        let name = format!("{base}:2,{}", flags.iter().collect::<String>());
        fs::rename(path, machine.mail.join(folder).join("cur").join(name)).unwrap();
    }
    for digest in &done.removed {
        fs::remove_file(&before[digest].1).unwrap();
    }
    let first = 20_000_000 + random.below(1_000_000_000);
    for number in 0..part as u64 {
        let folder = &folders[usize::try_from(random.below(folders.len() as u64)).unwrap()];
        corpus::deliver(&machine.mail.join(folder), first + number, random, words).unwrap();
    }
    done.new = machine.mailbox();
    done.new.retain(|digest, _| !before.contains_key(digest));
    assert_eq!(done.new.len(), part);
    done
}

/// What becomes of the mailbox by the rules, when the second machine made its changes later.
fn expected(base: &Mailbox, first: &Done, second: &Done) -> Mailbox {
    let mut after = Mailbox::new();
    for (digest, message) in base {
        let by = |done: &Done| (done.removed.contains(digest), done.moved.get(digest).cloned());
        let ((removed_first, moved_first), (removed_second, moved_second)) = (by(first), by(second));
        // A removal loses to a move that the remover had not seen.
        if (removed_first || removed_second) && moved_first.is_none() && moved_second.is_none() {
            continue;
        }
        let mut message = message.clone();
        // Of two moves the later one counts.
        if let Some(folder) = moved_second.or(moved_first) {
            message.folder = folder;
        }
        // Changes of different flags both hold; the same change twice is one change.
        let changed = [first, second].into_iter().filter_map(|done| done.flagged.get(digest));
        for flag in changed.collect::<BTreeSet<_>>() {
            if !message.flags.remove(flag) {
                message.flags.insert(*flag);
            }
        }
        after.insert(*digest, message);
    }
    after.extend(first.new.clone());
    after.extend(second.new.clone());
    after
}

fn assert_same(found: &Mailbox, wanted: &Mailbox, what: &str) {
    for (digest, message) in wanted {
        assert_eq!(found.get(digest), Some(message), "{what}: {digest}");
    }
    for (digest, message) in found {
        assert!(wanted.contains_key(digest), "{what}: {digest} should not be there: {message:?}");
    }
}

fn machine(dir: &Path, name: &str) -> Machine {
    let machine = Machine { mail: dir.join(format!("{name}-mail")), home: dir.join(name) };
    fs::create_dir_all(&machine.mail).unwrap();
    machine
}

#[test]
fn both_end_with_what_the_rules_say() {
    let count = std::env::var("MAILSYNC_TEST_MESSAGES").map_or(2000, |count| count.parse().unwrap());
    let seed = std::env::var("MAILSYNC_TEST_SEED").map_or(11, |seed| seed.parse().unwrap());
    println!("{count} messages, seed {seed}");
    let mut random = Random::new(seed);
    let words = corpus::words(&mut random);
    let root = Path::new("/dev/shm");
    let dir = if root.is_dir() { tempfile::tempdir_in(root) } else { tempfile::tempdir() }.unwrap();
    let (desktop, laptop) = (machine(dir.path(), "desktop"), machine(dir.path(), "laptop"));
    corpus::make(&desktop.mail, count, seed).unwrap();
    for (machine, name) in [(&desktop, "desktop"), (&laptop, "laptop")] {
        machine.run(&["init", machine.mail.to_str().unwrap(), "--name", name]);
    }
    desktop.run(&["peer", "add", "laptop", "--key", laptop.home.join("key.pub").to_str().unwrap()]);
    laptop.run(&["peer", "add", "desktop", "--key", desktop.home.join("key.pub").to_str().unwrap()]);
    let bundle = dir.path().join("bundle.zst");
    let exchange = |from: &Machine, to: &Machine| {
        from.run(&["export", "-o", bundle.to_str().unwrap()]);
        to.run(&["import", bundle.to_str().unwrap()]);
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
        desktop.run(&["scan"]);
        std::thread::sleep(Duration::from_millis(5));
        laptop.run(&["scan"]);
        exchange(&desktop, &laptop);
        exchange(&laptop, &desktop);
        let wanted = expected(&base, &first, &second);
        assert_same(&desktop.mailbox(), &wanted, &format!("round {round}, desktop"));
        assert_same(&laptop.mailbox(), &wanted, &format!("round {round}, laptop"));
    }
}
