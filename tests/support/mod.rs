//! Machines for the end-to-end tests: each is a mail root and a home for the real binary, in a directory of its own that
//! vanishes with the test.
#![allow(dead_code)] // Each test file uses what it needs.

pub mod jobs;
pub mod programs;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mailsync::config::Config;
use mailsync::maildir::FileName;
use mailsync::model::Digest;

/// A directory for one test, in memory where there is a place for that. It vanishes when dropped.
pub fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    dir.expect("a temporary directory can be made")
}

/// A machine: one mail root, and one home for its configuration and state.
#[derive(Clone, Debug)]
pub struct Machine {
    pub name: String,
    pub mail: PathBuf,
    pub home: PathBuf,
}

/// How a command ended.
#[derive(Clone, Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Ran {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("the output is text")
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// What matters of a message file: where it lies, its flags, and when it was delivered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mail {
    /// The canonical name of its folder.
    pub folder: String,
    /// Whether it lies in `new/`.
    pub recent: bool,
    /// The letters of its info, sorted.
    pub flags: String,
    /// The file's modification time.
    pub mtime: SystemTime,
}

/// Every message file, by what it holds; several of the same contents are sorted.
pub type Mailbox = BTreeMap<Digest, Vec<Mail>>;

impl Machine {
    /// A machine with an empty mail root, not yet a replica.
    pub fn new(dir: &Path, name: &str) -> Self {
        let machine = Self { name: name.to_owned(), mail: dir.join(format!("{name}-mail")), home: dir.join(name) };
        fs::create_dir_all(&machine.mail).unwrap();
        machine
    }

    /// A machine whose mail root is an empty Maildir, and a replica.
    pub fn replica(dir: &Path, name: &str) -> Self {
        let machine = Self::new(dir, name);
        machine.init();
        machine
    }

    /// Makes the replica.
    pub fn init(&self) -> Ran {
        self.ok(&["init", self.mail.to_str().unwrap(), "--name", &self.name])
    }

    /// The command, to be changed before it is run. Nothing of the surroundings reaches it.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mailsync"));
        command.env_remove("MAILSYNC_HOME").arg("--home").arg(&self.home).args(args).stdin(Stdio::null());
        command
    }

    /// Runs a command with nothing on its standard input.
    pub fn run(&self, args: &[&str]) -> Ran {
        run(&mut self.command(args))
    }

    /// Runs a command with this on its standard input.
    pub fn run_with(&self, args: &[&str], input: &[u8]) -> Ran {
        run_with(&mut self.command(args), input)
    }

    /// Runs a command that must succeed.
    pub fn ok(&self, args: &[&str]) -> Ran {
        let ran = self.run(args);
        assert_eq!(ran.code, 0, "{} {args:?}: {}", self.name, ran.stderr);
        ran
    }

    /// Runs a command that must fail with this exit code, and gives the one line that it says.
    pub fn fails(&self, args: &[&str], code: i32) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, code, "{} {args:?}: {}", self.name, ran.stderr);
        let lines: Vec<&str> = ran.stderr.lines().filter(|line| !line.starts_with("mailsync: note: ")).collect();
        assert_eq!(lines.len(), 1, "{} {args:?} should say one line: {}", self.name, ran.stderr);
        lines[0].to_owned()
    }

    /// The public key's line.
    pub fn key(&self) -> String {
        fs::read_to_string(self.home.join("key.pub")).unwrap().trim().to_owned()
    }

    /// The directory of a folder, by its canonical name.
    pub fn dir(&self, folder: &str) -> PathBuf {
        self.mail.join(self.config().layout().dir_of(&folder.parse().unwrap()))
    }

    pub fn config(&self) -> Config {
        Config::read(&self.home.join("config.toml")).unwrap()
    }

    /// Puts a message into a folder, making the folder if it isn't there: `place` is `cur/NAME` or `new/NAME`. Its
    /// delivery date is `date` seconds after 1970.
    pub fn put(&self, folder: &str, place: &str, contents: impl AsRef<[u8]>, date: u64) -> PathBuf {
        let dir = self.dir(folder);
        for sub in ["tmp", "new", "cur"] {
            fs::create_dir_all(dir.join(sub)).unwrap();
        }
        let path = dir.join(place);
        let mut file = fs::File::create_new(&path).unwrap();
        std::io::Write::write_all(&mut file, contents.as_ref()).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::new(date, 250_000_000)).unwrap();
        path
    }

    /// The message files of every folder that the layout knows, by what they hold.
    pub fn mailbox(&self) -> Mailbox {
        let layout = self.config().layout();
        let mut mailbox = Mailbox::new();
        let files = walkdir::WalkDir::new(&self.mail).min_depth(2).sort_by_file_name();
        for file in files.into_iter().map(Result::unwrap).filter(|file| file.file_type().is_file()) {
            let path = file.path();
            let sub = path.parent().unwrap();
            let recent = sub.ends_with("new");
            if (!recent && !sub.ends_with("cur")) || file.file_name().as_bytes().starts_with(b".") {
                continue;
            }
            let dir = sub.parent().unwrap().strip_prefix(&self.mail).unwrap();
            let folder = layout.folder_of(dir).unwrap_or_else(|| {
                // A name that had to be cut: who knows the folder can tell.
                let mut names = self.folders().into_iter().map(|name| name.parse().unwrap());
                names
                    .find(|name| layout.dir_of(name) == dir)
                    .unwrap_or_else(|| panic!("{} is no folder", dir.display()))
            });
            let flags = FileName::parse(file.file_name().as_bytes()).flags(mailsync::maildir::Sub::Cur);
            let mail = Mail {
                folder: folder.to_string(),
                recent,
                flags: flags.iter().map(ToString::to_string).collect(),
                mtime: file.metadata().unwrap().modified().unwrap(),
            };
            mailbox.entry(Digest::of(&fs::read(path).unwrap())).or_default().push(mail);
        }
        for copies in mailbox.values_mut() {
            copies.sort();
        }
        mailbox
    }

    /// The folders that `status` lists.
    pub fn folders(&self) -> Vec<String> {
        let status = self.ok(&["status", "--json"]).json();
        let names = status["folders"].as_array().unwrap().iter().map(|folder| folder["name"].as_str().unwrap());
        names.map(str::to_owned).collect()
    }

    /// Every file below the mail root with its bytes and its times, and every directory: to see that nothing was touched.
    pub fn everything(&self) -> BTreeMap<PathBuf, (Option<Vec<u8>>, SystemTime)> {
        let items = walkdir::WalkDir::new(&self.mail).into_iter().map(Result::unwrap);
        let look = |item: walkdir::DirEntry| {
            let contents = item.file_type().is_file().then(|| fs::read(item.path()).unwrap());
            (item.path().to_owned(), (contents, item.metadata().unwrap().modified().unwrap()))
        };
        items.map(look).collect()
    }

    /// What a refused command must leave as it was: every message file with its bytes and times, every directory, what
    /// `status` says, and what `log` says.
    pub fn left(&self) -> Left {
        let mut mail = self.everything();
        // A bundle that ends too early has had a part of its messages in `tmp/`.
        for (_, time) in mail.values_mut().filter(|(contents, _)| contents.is_none()) {
            *time = UNIX_EPOCH;
        }
        let text = |args: &[&str]| self.ok(args).text().to_owned();
        Left { mail, status: text(&["status", "--json"]), log: text(&["log", "--json"]) }
    }

    /// A command fails with this exit code, says why in one line that has these words and advice, and leaves mail and state
    /// as they were.
    #[track_caller]
    pub fn refuses(&self, args: &[&str], input: &[u8], code: i32, words: &[&str]) -> Ran {
        let before = self.left();
        let ran = self.run_with(args, input);
        complains(&ran, code, words);
        assert_eq!(self.left(), before, "{args:?} changed something");
        ran
    }
}

/// See [`Machine::left`].
#[derive(Debug, PartialEq, Eq)]
pub struct Left {
    pub mail: BTreeMap<PathBuf, (Option<Vec<u8>>, SystemTime)>,
    pub status: String,
    pub log: String,
}

/// A command has failed with this exit code, and said why in one line that has these words, and what to do next.
#[track_caller]
pub fn complains(ran: &Ran, code: i32, words: &[&str]) {
    assert_eq!(ran.code, code, "{ran:?}");
    let lines: Vec<&str> = ran.stderr.lines().filter(|line| !line.starts_with("mailsync: note: ")).collect();
    assert_eq!(lines.len(), 1, "one line should be said: {}", ran.stderr);
    let (what, advice) = lines[0].split_once("; ").unwrap_or_else(|| panic!("there is no advice in {:?}", lines[0]));
    assert!(what.starts_with("mailsync: ") && !advice.is_empty(), "{}", ran.stderr);
    for word in words {
        assert!(lines[0].contains(word), "{word:?} should be in {:?}", lines[0]);
    }
}

/// Makes two machines known to each other.
pub fn make_peers(one: &Machine, other: &Machine) {
    one.ok(&["peer", "add", &other.name, "--key", &other.key()]);
    other.ok(&["peer", "add", &one.name, "--key", &one.key()]);
}

/// Carries a bundle from one machine to another.
pub fn pass(from: &Machine, to: &Machine) -> Ran {
    let bundle = from.ok(&["export", "--to", &to.name]).stdout;
    let ran = to.run_with(&["import"], &bundle);
    assert_eq!(ran.code, 0, "{} imports from {}: {}", to.name, from.name, ran.stderr);
    ran
}

/// Two replicas with empty mail roots that know each other.
pub fn pair(dir: &Path) -> (Machine, Machine) {
    let (desktop, laptop) = (Machine::replica(dir, "desktop"), Machine::replica(dir, "laptop"));
    make_peers(&desktop, &laptop);
    (desktop, laptop)
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Ran {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs a command to its end, with this on its standard input.
pub fn run_with(command: &mut Command, input: &[u8]) -> Ran {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it can be run");
    let mut stdin = child.stdin.take().expect("a pipe was asked for");
    let output = std::thread::scope(|scope| {
        // One that fails early doesn't read all of it.
        scope.spawn(move || drop(std::io::Write::write_all(&mut stdin, input)));
        child.wait_with_output().expect("it can be waited for")
    });
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs a command and kills it after this long. Returns whether that came before its end.
pub fn run_and_kill(command: &mut Command, after: Duration) -> bool {
    let started = Instant::now();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(after.saturating_sub(started.elapsed()));
    let running = child.try_wait().unwrap().is_none();
    // A child that is not yet waited for still has its number, so that nobody else is hit.
    let _ = child.kill();
    running & !child.wait().unwrap().success()
}
