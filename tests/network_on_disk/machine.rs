//! A machine: a replica in directories of its own, and the person who reads mail there.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mailsync::config::Config;
use mailsync::disk::{Disk, RealDisk};
use mailsync::error::Result;
use mailsync::maildir::keywords::{FILE, KeywordsFile, LetterSet, Letters};
use mailsync::maildir::{FileName, Layout, Sub};
use mailsync::meter::Silent;
use mailsync::model::{Digest, Flag, FlagSet, FolderName, RelayJobs};
use mailsync::process::{Ended, Finished, Launch, Launcher, Output};
use mailsync::replica::{Access, Home, Replica, World};
use walkdir::WalkDir;

use crate::simulation::{Rng, View};
use crate::support::machine::letters;
use crate::support::make_folder;

/// How long to wait for the lock: nobody else holds it.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// A message file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mail {
    pub path: PathBuf,
    pub folder: FolderName,
    pub digest: Digest,
    pub flags: FlagSet,
}

/// Starts nothing, and keeps account of what it was told to start.
struct Account(Arc<Mutex<Vec<String>>>);

impl Launcher for Account {
    fn run(&self, launch: &Launch, stdin: &mut (dyn Read + Send)) -> Finished {
        let (_, job) = launch.env.iter().find(|(name, _)| name == "MAILSYNC_JOB").unwrap();
        self.0.lock().unwrap().push(job.to_str().unwrap().to_owned());
        std::io::copy(stdin, &mut std::io::sink()).unwrap();
        Finished { ended: Ended::Status(0), stdout: Output::default(), stderr: Output::default() }
    }
}

/// A machine.
pub struct Machine {
    pub name: String,
    root: PathBuf,
    pub home: Home,
    skew: i64,
    random: Arc<Mutex<Rng>>,
    /// How often it was restored: each time it is another machine.
    pub restored: u32,
    /// Whether the person here did anything since the last scan.
    pub touched: bool,
    /// Whether there is a backup, and whether the person did anything between the last scan and it.
    pub backup: Option<bool>,
    /// The jobs whose programs were started here, once for each time.
    pub started: Arc<Mutex<Vec<String>>>,
    layout: Option<Layout>,
}

impl Machine {
    /// A machine that is not yet a replica.
    pub fn new(dir: &Path, name: String, skew: i64, seed: u64) -> Self {
        let root = dir.join(&name);
        fs::create_dir_all(root.join("mail")).unwrap();
        Self {
            home: Home::at(root.join("home")),
            name,
            root,
            skew,
            random: Arc::new(Mutex::new(Rng::new(seed))),
            restored: 0,
            touched: false,
            backup: None,
            started: Arc::default(),
            layout: None,
        }
    }

    pub fn mail_root(&self) -> PathBuf {
        self.root.join("mail")
    }

    /// The surroundings of a command that runs at this time.
    pub fn world(&self, now: u64, disk: Box<dyn Disk>) -> World {
        let now = now.saturating_add_signed(self.skew);
        let random = Arc::clone(&self.random);
        World {
            disk,
            now: Box::new(move || now),
            random: Box::new(move || random.lock().unwrap().number()),
            launcher: Box::new(Account(Arc::clone(&self.started))),
            machine: Ok(format!("{} {}", self.name, self.restored)),
            meter: Box::new(Silent),
            ask: std::sync::Arc::new(mailsync::replica::Nobody),
        }
    }

    pub fn open(&self, now: u64, disk: Box<dyn Disk>) -> Result<Replica> {
        Replica::open(&self.home, self.world(now, disk), Access::Write(TIMEOUT))
    }

    /// Opens the replica to look at its state.
    pub fn peek(&self) -> Replica {
        Replica::open(&self.home, self.world(0, Box::new(RealDisk)), Access::Read).unwrap()
    }

    /// Now that it is a replica: how its folders become directories, what is run for others, and whose jobs it passes
    /// on. Messages in the trash are kept for no day longer than they must on every other machine.
    pub fn begun(&mut self, keeps_trash: bool, relay_jobs: RelayJobs, requesters: &[String]) {
        let config = Config::read(&RealDisk, &self.home.config_file()).unwrap();
        self.layout = Some(config.layout());
        let trash_days = if keeps_trash { config.trash_days } else { 0 };
        fs::write(self.home.config_file(), Config { trash_days, relay_jobs, ..config }.to_text()).unwrap();
        let rule = format!("\n[[allow]]\ncommand = \"job\"\nexec = [\"job\"]\nfrom = {requesters:?}\n");
        let text = fs::read_to_string(self.home.config_file()).unwrap();
        fs::write(self.home.config_file(), text + &rule).unwrap();
    }

    pub fn set_layout(&mut self, layout: Layout) {
        self.layout = Some(layout);
    }

    fn layout(&self) -> &Layout {
        self.layout.as_ref().expect("the layout was set")
    }

    pub fn dir(&self, folder: &FolderName) -> PathBuf {
        self.mail_root().join(self.layout().dir_of(folder))
    }

    pub fn make_folder(&self, folder: &FolderName) {
        make_folder(&self.dir(folder));
    }

    /// The letters for these flags in the name of a file. A keyword that has none in this folder gets one, as from
    /// Dovecot; on each machine it is another.
    pub fn letters(&self, folder: &FolderName, flags: &FlagSet) -> String {
        let path = self.dir(folder).join(FILE);
        let mut file = KeywordsFile::parse(&fs::read(&path).unwrap_or_default());
        let before = file.clone();
        let named = Letters::default().read_anew(&file, LetterSet::default());
        let mut letters = String::new();
        // Each has so many names of its own before.
        let own: LetterSet = (b'a'..).take(self.name.bytes().map(usize::from).sum::<usize>() % 3).collect();
        let used = self.mail().into_iter().filter(|mail| mail.folder == *folder);
        let used = used.fold(own, |used, mail| {
            used.or(FileName::parse(mail.path.file_name().unwrap().as_encoded_bytes()).keyword_letters())
        });
        for flag in flags {
            match flag {
                Flag::Keyword(keyword) => {
                    let letter = named.letter(keyword).unwrap_or_else(|| file.add(keyword, used).unwrap());
                    letters.push(letter.into());
                }
                flag => letters += &flag.to_string(),
            }
        }
        if file != before {
            let new = path.with_extension("new");
            fs::write(&new, file.format()).unwrap();
            fs::rename(new, path).unwrap();
        }
        letters
    }

    /// Writes a message file; no two have the same name or the same delivery date.
    pub fn put(&self, folder: &FolderName, number: u64, contents: &[u8], flags: &FlagSet, recent: bool) {
        self.make_folder(folder);
        let flags = self.letters(folder, flags);
        let place = if recent { format!("new/{number}.here") } else { format!("cur/{number}.here:2,{flags}") };
        let path = self.dir(folder).join(place);
        fs::write(&path, contents).unwrap();
        // Dated in another order than they come.
        let date = Duration::new(1_000_000_000 + number.wrapping_mul(7_654_321) % 100_000_000, 7);
        File::open(&path).unwrap().set_modified(UNIX_EPOCH + date).unwrap();
    }

    /// All message files, sorted by their paths.
    pub fn mail(&self) -> Vec<Mail> {
        let root = self.mail_root();
        let mut all = Vec::new();
        for item in WalkDir::new(&root).sort_by_file_name().into_iter().map(std::result::Result::unwrap) {
            let sub = match item.path().parent().and_then(Path::file_name).and_then(|name| name.to_str()) {
                Some("new") if item.file_type().is_file() => Sub::New,
                Some("cur") if item.file_type().is_file() => Sub::Cur,
                _ => continue,
            };
            let dir = item.path().ancestors().nth(2).unwrap().strip_prefix(&root).unwrap();
            all.push(Mail {
                path: item.path().to_owned(),
                folder: self.layout().folder_of(dir).unwrap_or_else(|| panic!("{} is no folder", dir.display())),
                digest: Digest::of(&fs::read(item.path()).unwrap()),
                flags: FileName::parse(item.file_name().as_encoded_bytes()).flags(sub, &letters(&root.join(dir))),
            });
        }
        all
    }

    /// The folders that are there.
    pub fn folders(&self) -> BTreeSet<FolderName> {
        let root = self.mail_root();
        let dirs = WalkDir::new(&root).into_iter().map(std::result::Result::unwrap);
        dirs.filter(|item| item.file_type().is_dir() && item.file_name() == "cur")
            .map(|item| self.layout().folder_of(item.path().parent().unwrap().strip_prefix(&root).unwrap()).unwrap())
            .collect()
    }

    /// What is in `tmp/` anywhere.
    pub fn leftovers(&self) -> Vec<PathBuf> {
        let files = WalkDir::new(self.mail_root()).into_iter().map(std::result::Result::unwrap);
        let leftovers =
            files.filter(|item| item.file_type().is_file() && item.path().parent().unwrap().ends_with("tmp"));
        leftovers.map(walkdir::DirEntry::into_path).collect()
    }

    /// The messages in this machine's folders and in its trash.
    pub fn has(&self) -> BTreeSet<Digest> {
        let trash = WalkDir::new(self.home.trash()).into_iter().filter_map(std::result::Result::ok);
        let files = trash.filter(|item| item.file_type().is_file());
        let trashed = files.map(|item| Digest::of(&fs::read(item.path()).unwrap()));
        trashed.chain(self.mail().into_iter().map(|mail| mail.digest)).collect()
    }

    /// Whatever message this machine or its backup has anywhere.
    pub fn holds(&self) -> BTreeSet<Digest> {
        let mut all = BTreeSet::new();
        for dir in [self.mail_root(), self.root.join("backup/mail")] {
            let files = WalkDir::new(dir).into_iter().filter_map(std::result::Result::ok);
            all.extend(
                files.filter(|item| item.file_type().is_file()).map(|item| Digest::of(&fs::read(item.path()).unwrap())),
            );
        }
        let peeked = self.peek();
        let alive = |row: mailsync::state::EntryRow| {
            if row.entry.alive() {
                all.insert(row.id.digest);
            }
            Ok(())
        };
        peeked.state().each_entry(alive).unwrap();
        all
    }

    /// Lets so much time pass that what changed lies well before the next scan: each directory that changed gets a time
    /// of its own, long ago.
    pub fn settle(&self, ticks: &mut u64) {
        let ours = UNIX_EPOCH + Duration::from_secs(1_600_000_000);
        for item in WalkDir::new(self.mail_root()).sort_by_file_name().into_iter().map(std::result::Result::unwrap) {
            let changed = |time: SystemTime| time > ours;
            if item.file_type().is_dir() && changed(item.metadata().unwrap().modified().unwrap()) {
                *ticks += 1;
                let time = UNIX_EPOCH + Duration::new(1_500_000_000 + *ticks, 7);
                File::open(item.path()).unwrap().set_modified(time).unwrap();
            }
        }
    }

    /// What the replica's state holds.
    pub fn view(&self) -> View {
        let peeked = self.peek();
        let mut view = View::default();
        let add = |row: mailsync::state::EntryRow| {
            if row.entry.alive() {
                let entry = row.entry;
                view.folders.insert(entry.location.1.clone());
                let flags = entry.flags_on().cloned().collect();
                view.entries.insert(row.id, (entry.location.1, flags, entry.mtime));
            }
            Ok(())
        };
        peeked.state().each_entry(add).unwrap();
        let rows = peeked.state().all_folders();
        let present = rows.iter().filter(|row| row.state.is_some_and(|state| state.present));
        view.folders.extend(present.map(|row| row.name.clone()));
        view
    }

    /// Copies home and mail root.
    pub fn save(&mut self) {
        let backup = self.root.join("backup");
        let _ = fs::remove_dir_all(&backup);
        for part in ["home", "mail"] {
            copy(&self.root.join(part), &backup.join(part));
        }
        self.backup = Some(self.touched);
    }

    /// Puts the copy in their place. The old ones go afterwards, so that no file gets the inode of one before.
    pub fn restore(&mut self) {
        let old = self.root.join("old");
        for part in ["home", "mail"] {
            fs::create_dir_all(&old).unwrap();
            fs::rename(self.root.join(part), old.join(part)).unwrap();
            copy(&self.root.join("backup").join(part), &self.root.join(part));
        }
        fs::remove_dir_all(&old).unwrap();
        self.touched = self.backup.expect("there is a backup");
        self.restored += 1;
    }
}

fn copy(from: &Path, to: &Path) {
    for item in WalkDir::new(from).into_iter().map(std::result::Result::unwrap) {
        let path = to.join(item.path().strip_prefix(from).unwrap());
        if item.file_type().is_dir() {
            fs::create_dir_all(path).unwrap();
        } else {
            fs::copy(item.path(), &path).unwrap();
            File::open(path).unwrap().set_modified(item.metadata().unwrap().modified().unwrap()).unwrap();
        }
    }
    for item in WalkDir::new(from).contents_first(true).into_iter().map(std::result::Result::unwrap) {
        if item.file_type().is_dir() {
            let path = to.join(item.path().strip_prefix(from).unwrap());
            File::open(path).unwrap().set_modified(item.metadata().unwrap().modified().unwrap()).unwrap();
        }
    }
}
