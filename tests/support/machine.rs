//! Machines for the end-to-end tests: each is a mail root and a home for the real binary, in the directory of its test.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mailsync::bundle::{PrivateKey, PublicKey};
use mailsync::config::Config;
use mailsync::maildir::FileName;
use mailsync::maildir::keywords::{FILE, KeywordsFile, LetterSet, Letters};
use mailsync::model::Digest;
use serde_json::Value;

use super::programs::{MAILSYNC, Ran, run, run_with};
use super::{copy, make_folder, text};

/// A machine: one mail root, and one home for its configuration and state.
#[derive(Clone, Debug)]
pub struct Machine {
    pub name: String,
    pub mail: PathBuf,
    pub home: PathBuf,
}

/// What matters of a message file: where it lies, its flags, and when it was delivered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mail {
    /// The canonical name of its folder.
    pub folder: String,
    /// Whether it lies in `new/`.
    pub recent: bool,
    /// The letters of its info that are flags, sorted; then, behind a space each, the keywords that others stand for.
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
        self.ok(&["init", text(&self.mail), "--name", &self.name])
    }

    /// Makes the replica, under this layout.
    pub fn init_as(&self, layout: &str) -> Ran {
        self.ok(&["init", text(&self.mail), "--name", &self.name, "--layout", layout])
    }

    /// The command, to be changed before it is run. Nothing of the surroundings reaches it.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(MAILSYNC);
        command
            .env_remove("MAILSYNC_HOME")
            .env_remove("MAILSYNC_CODE")
            .arg("--home")
            .arg(&self.home)
            .args(args)
            .stdin(Stdio::null());
        command
    }

    /// The command as it is typed, by a person or by another program.
    pub fn line(&self, args: &str) -> String {
        format!("{MAILSYNC} --home {} {args}", self.home.display())
    }

    /// Runs a command with nothing on its standard input.
    pub fn run(&self, args: &[&str]) -> Ran {
        in_words(run(&mut self.command(args)))
    }

    /// Runs a command with this on its standard input.
    pub fn run_with(&self, args: &[&str], input: &[u8]) -> Ran {
        in_words(run_with(&mut self.command(args), input))
    }

    /// Runs a command that must succeed.
    #[track_caller]
    pub fn ok(&self, args: &[&str]) -> Ran {
        let ran = self.run(args);
        assert_eq!(ran.code, 0, "{} {args:?}: {}", self.name, ran.stderr);
        ran
    }

    /// Runs a command that must fail with this exit code, and gives the one line that it says.
    #[track_caller]
    pub fn fails(&self, args: &[&str], code: i32) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, code, "{} {args:?}: {}", self.name, ran.stderr);
        only_line(&ran).to_owned()
    }

    /// The public key's line.
    pub fn key(&self) -> String {
        fs::read_to_string(self.home.join("key.pub")).unwrap().trim().to_owned()
    }

    pub fn public_key(&self) -> PublicKey {
        PublicKey::from_openssh(&self.key()).unwrap()
    }

    pub fn private_key(&self) -> PrivateKey {
        PrivateKey::from_openssh(&fs::read_to_string(self.home.join("key")).unwrap()).unwrap()
    }

    /// The directory of a folder, by its canonical name.
    pub fn dir(&self, folder: &str) -> PathBuf {
        self.mail.join(self.config().layout().dir_of(&folder.parse().unwrap()))
    }

    pub fn config(&self) -> Config {
        Config::read(&mailsync::disk::RealDisk, &self.home.join("config.toml")).unwrap()
    }

    /// Adds lines to the end of `config.toml`.
    pub fn configure(&self, lines: &str) {
        let mut file = fs::OpenOptions::new().append(true).open(self.home.join("config.toml")).unwrap();
        std::io::Write::write_all(&mut file, format!("\n{lines}\n").as_bytes()).unwrap();
    }

    /// Sets keys of `config.toml` that are in it already.
    pub fn reconfigure(&self, keys: &[(&str, &str)]) {
        let file = self.home.join("config.toml");
        let mut text = fs::read_to_string(&file).unwrap();
        for (key, value) in keys {
            let line = text.lines().find(|line| line.starts_with(&format!("{key} = "))).unwrap().to_owned();
            text = text.replace(&line, &format!("{key} = {value}"));
        }
        fs::write(&file, text).unwrap();
    }

    /// Lets a peer have this command run, as this program, with arguments of these kinds. What is configured next is of
    /// the same rule.
    pub fn allow(&self, command: &str, exec: &[&str], args: &[&str], from: &str) {
        self.configure(&format!("[[allow]]\ncommand = {command:?}\nexec = {exec:?}\nfrom = [{from:?}]"));
        if !args.is_empty() {
            self.configure(&format!("args = {args:?}"));
        }
    }

    /// Tells how to reach a peer: it is another machine of the same test.
    pub fn reach(&self, peer: &Self) {
        self.reach_by(&peer.name, &[MAILSYNC, "--quiet", "--home", text(&peer.home), "import", "--reply"]);
    }

    /// Tells by which command to reach a peer.
    pub fn reach_by(&self, peer: &str, call: &[&str]) {
        self.configure(&format!("[peer.{peer}]\ncall = {call:?}"));
    }

    /// Puts a message into a folder, making the folder if it isn't there: `place` is `cur/NAME` or `new/NAME`. Its
    /// delivery date is `date` seconds after 1970.
    pub fn put(&self, folder: &str, place: &str, contents: impl AsRef<[u8]>, date: u64) -> PathBuf {
        let dir = self.dir(folder);
        make_folder(&dir);
        let path = dir.join(place);
        let mut file = fs::File::create_new(&path).unwrap();
        std::io::Write::write_all(&mut file, contents.as_ref()).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::new(date, 250_000_000)).unwrap();
        path
    }

    /// Puts a message with this subject into the INBOX. It has been read.
    pub fn deliver(&self, subject: &str) {
        self.put("INBOX", &format!("cur/{subject}:2,S"), message(subject), 1_600_000_000);
    }

    /// Whether a message with this subject, that was delivered somewhere, is here.
    pub fn has(&self, subject: &str) -> bool {
        self.mailbox().contains_key(&Digest::of(message(subject).as_bytes()))
    }

    /// The file of a message with this subject, that was delivered somewhere.
    pub fn file_of(&self, subject: &str) -> Option<PathBuf> {
        let wanted = Digest::of(message(subject).as_bytes());
        self.files().into_iter().find(|(digest, ..)| *digest == wanted).map(|found| found.2)
    }

    /// The same of a message that must be here.
    #[track_caller]
    fn present(&self, subject: &str) -> PathBuf {
        self.file_of(subject).unwrap_or_else(|| panic!("{subject} is not at {}", self.name))
    }

    /// Moves a message, as a mail program does, and makes its folder if it isn't there.
    #[track_caller]
    pub fn move_to(&self, subject: &str, folder: &str) {
        let file = self.present(subject);
        make_folder(&self.dir(folder));
        fs::rename(&file, self.dir(folder).join("cur").join(file.file_name().unwrap())).unwrap();
    }

    /// Gives a message these flags, which puts it into `cur/`.
    #[track_caller]
    pub fn flag(&self, subject: &str, flags: &str) {
        let file = self.present(subject);
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        let (dir, base) = (file.parent().unwrap().with_file_name("cur"), name.split(":2,").next().unwrap());
        fs::rename(&file, dir.join(format!("{base}:2,{flags}"))).unwrap();
    }

    /// Removes a message.
    #[track_caller]
    pub fn remove(&self, subject: &str) {
        fs::remove_file(self.present(subject)).unwrap();
    }

    /// The message files of every folder that the layout knows, each with what it holds.
    pub fn files(&self) -> Vec<(Digest, Mail, PathBuf)> {
        let layout = self.config().layout();
        let mut all = Vec::new();
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
                    .find(|name| layout.dir_of(name) == dir || layout.dir_spelled_out(name) == dir)
                    .unwrap_or_else(|| panic!("{} is no folder", dir.display()))
            });
            let named = letters(sub.parent().unwrap());
            let flags = FileName::parse(file.file_name().as_bytes()).flags(mailsync::maildir::Sub::Cur, &named);
            let mail = Mail {
                folder: folder.to_string(),
                recent,
                flags: flags.iter().map(|flag| flag.to_string().replace("keyword:", " ")).collect(),
                mtime: file.metadata().unwrap().modified().unwrap(),
            };
            all.push((Digest::of(&fs::read(path).unwrap()), mail, path.to_owned()));
        }
        all
    }

    /// The message files of every folder that the layout knows, by what they hold.
    pub fn mailbox(&self) -> Mailbox {
        let mut mailbox = Mailbox::new();
        for (digest, mail, _) in self.files() {
            mailbox.entry(digest).or_default().push(mail);
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

    /// How much is still to be done, or to be got, of what other replicas have told.
    pub fn pending(&self) -> u64 {
        self.ok(&["status", "--json"]).json()["pending"].as_u64().unwrap()
    }

    /// What `jobs show` knows of a job.
    pub fn job(&self, id: &str) -> Value {
        self.ok(&["jobs", "show", id, "--json"]).json()["job"].clone()
    }

    /// A scan finds nothing to tell, and nothing is left to be done.
    #[track_caller]
    pub fn is_at_rest(&self, when: &str) {
        let report = self.ok(&["scan", "--json"]).json();
        for count in ["new", "moved", "flagged", "removed", "folders_made", "folders_removed"] {
            assert_eq!(report[count], 0, "{}, {when}: {count} in {report}", self.name);
        }
        assert_eq!(self.pending(), 0, "{}, {when}", self.name);
    }

    /// Every file below the mail root with its bytes and its times, and every directory: to see that nothing was
    /// touched.
    pub fn everything(&self) -> BTreeMap<PathBuf, (Option<Vec<u8>>, SystemTime)> {
        let items = walkdir::WalkDir::new(&self.mail).into_iter().map(Result::unwrap);
        let look = |item: walkdir::DirEntry| {
            let contents = item.file_type().is_file().then(|| fs::read(item.path()).unwrap());
            (item.path().to_owned(), (contents, item.metadata().unwrap().modified().unwrap()))
        };
        items.map(look).collect()
    }

    /// What a refused command must leave as it was: every message file with its bytes and times, every directory, what
    /// `status` says but for the guard's alarms and that the refused bundle waits, which are what a refusal leaves, and what `log`
    /// says.
    pub fn left(&self) -> Left {
        let mut mail = self.everything();
        // A bundle that ends too early has had a part of its messages in `tmp/`.
        for (_, time) in mail.values_mut().filter(|(contents, _)| contents.is_none()) {
            *time = UNIX_EPOCH;
        }
        let mut status = self.ok(&["status", "--no-scan", "--json"]).json();
        // A scan comes first, and may find nothing; and what time a refused bundle was made at is evidence about the clock.
        for name in ["alarms", "clock", "scanned"] {
            assert!(status.as_object_mut().unwrap().remove(name).is_some(), "{name} is not in {status}");
        }
        for peer in status["peers"].as_array_mut().unwrap() {
            if peer["waits"]["refused"] == true {
                peer["waits"] = Value::Null;
            }
        }
        // That an import was refused is what it leaves there.
        let mut log = self.ok(&["log", "--json"]).json();
        let refused = |event: &Value| {
            let words = event["text"].as_str().unwrap();
            event["command"] == "import"
                && ["refused: ", "failed: ", "not yet: "].iter().any(|word| words.starts_with(word))
        };
        log["events"].as_array_mut().unwrap().retain(|event| !refused(event));
        Left { mail, status: status.to_string(), log: log.to_string() }
    }

    /// A command fails with this exit code, says why in one line that has these words and advice, and leaves mail and
    /// state as they were.
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

/// Nothing that mailsync has said has what only programmers know: numbers of the operating system's errors, and the names
/// that files have while they are written.
#[track_caller]
fn in_words(ran: Ran) -> Ran {
    for line in ran.stderr.lines().filter(|line| line.starts_with("mailsync: ")) {
        assert!(!line.contains("(os error ") && !line.contains(".part:"), "{line}");
    }
    ran
}

/// The one line that a command has said, but for notes.
#[track_caller]
fn only_line(ran: &Ran) -> &str {
    let lines: Vec<&str> = ran.stderr.lines().filter(|line| !line.starts_with("mailsync: note: ")).collect();
    assert_eq!(lines.len(), 1, "one line should be said: {}", ran.stderr);
    lines[0]
}

/// A command has failed with this exit code, and said why in one line that has these words, and what to do next.
#[track_caller]
pub fn complains(ran: &Ran, code: i32, words: &[&str]) {
    assert_eq!(ran.code, code, "{ran:?}");
    let line = only_line(ran);
    let (what, advice) = line.split_once("; ").unwrap_or_else(|| panic!("there is no advice in {line:?}"));
    assert!(what.starts_with("mailsync: ") && !advice.is_empty(), "{}", ran.stderr);
    for word in words {
        assert!(line.contains(word), "{word:?} should be in {line:?}");
    }
}

/// What the letters of the folder in this directory stand for.
pub fn letters(dir: &Path) -> Letters {
    let file = KeywordsFile::parse(&fs::read(dir.join(FILE)).unwrap_or_default());
    Letters::default().read_anew(&file, LetterSet::default())
}

/// The message with this subject.
pub fn message(subject: &str) -> String {
    format!("Subject: {subject}\n\n")
}

/// What a report of a scan counts.
pub fn counts(report: &Value) -> [u64; 4] {
    ["new", "moved", "flagged", "removed"].map(|name| report[name].as_u64().unwrap())
}

/// Two mailboxes hold the same. Of a large one, only what differs is shown.
#[track_caller]
pub fn assert_same(found: &Mailbox, wanted: &Mailbox, when: &str) {
    let other = |mailbox: &Mailbox, mail: &(&Digest, &Vec<Mail>)| mailbox.get(mail.0) != Some(mail.1);
    let missing: Vec<_> = wanted.iter().filter(|mail| other(found, mail)).take(3).collect();
    let surplus: Vec<_> = found.iter().filter(|mail| other(wanted, mail)).take(3).collect();
    let counts = (found.len(), wanted.len());
    assert!(found == wanted, "{when}: {} messages for {}; there is {surplus:?} for {missing:?}", counts.0, counts.1);
}

/// Makes two machines known to each other.
pub fn make_peers(one: &Machine, other: &Machine) {
    one.ok(&["peer", "add", &other.name, "--key", &other.key()]);
    other.ok(&["peer", "add", &one.name, "--key", &one.key()]);
}

/// Carries a bundle from one machine to another.
#[track_caller]
pub fn pass(from: &Machine, to: &Machine) -> Ran {
    let bundle = from.ok(&["export", "--to", &to.name]).stdout;
    let ran = to.run_with(&["import"], &bundle);
    // It may bring the news that a job went wrong for which somebody has asked there.
    let code = i32::from(ran.stderr.contains("your job "));
    assert_eq!(ran.code, code, "{} imports from {}: {}", to.name, from.name, ran.stderr);
    ran
}

/// Two replicas with empty mail roots that know each other.
pub fn pair(dir: &Path) -> (Machine, Machine) {
    let (desktop, laptop) = (Machine::replica(dir, "desktop"), Machine::replica(dir, "laptop"));
    make_peers(&desktop, &laptop);
    (desktop, laptop)
}

/// Makes two machines known to each other for their jobs alone: others carry their bundles.
pub fn make_distant_peers(one: &Machine, other: &Machine) {
    one.ok(&["peer", "add", &other.name, "--key", &other.key(), "--distant"]);
    other.ok(&["peer", "add", &one.name, "--key", &one.key(), "--distant"]);
}

/// Replicas with empty mail roots of which each knows the next one, and the first and the last know each other for
/// their jobs.
pub fn row(dir: &Path, names: &[&str]) -> Vec<Machine> {
    let machines: Vec<Machine> = names.iter().map(|name| Machine::replica(dir, name)).collect();
    for two in machines.windows(2) {
        make_peers(&two[0], &two[1]);
    }
    if let [first, _, .., last] = &machines[..] {
        make_distant_peers(first, last);
    }
    machines
}

/// Exchanges bundles until each knows that the other has all that it has: that takes three.
#[track_caller]
pub fn exchange(one: &Machine, other: &Machine) {
    for (from, to) in [(one, other), (other, one), (one, other)] {
        pass(from, to);
    }
}

/// A machine as it was.
pub struct Backup(PathBuf);

impl Backup {
    pub fn of(machine: &Machine) -> Self {
        let backup = Self(machine.home.with_extension("backup"));
        copy(&machine.home, &backup.0.join("home"));
        copy(&machine.mail, &backup.0.join("mail"));
        backup
    }

    /// Puts it in the place of what the machine has now.
    pub fn restore(&self, machine: &Machine) {
        self.restore_home(machine);
        fs::remove_dir_all(&machine.mail).unwrap();
        copy(&self.0.join("mail"), &machine.mail);
    }

    /// The same, with the mail left as it is.
    pub fn restore_home(&self, machine: &Machine) {
        fs::remove_dir_all(&machine.home).unwrap();
        copy(&self.0.join("home"), &machine.home);
    }
}
