//! Replicas driven through the library, with mailboxes that are written as lines of text, and that can be put back to
//! what they were.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mailsync::disk::Disk;
use mailsync::error::Error;
use mailsync::maildir::{FileName, Layout, LayoutKind, Sub};
use mailsync::replica::{
    Access, Doubts, ExportOptions, Home, ImportOptions, Imported, InitOptions, Replica, ScanOptions, ScanReport, World,
};

use super::machine::letters;
use super::{leftovers, make_folder, rest};

/// A replica: where it lives and where its mail is.
#[derive(Clone, Debug)]
pub struct Party {
    pub name: String,
    pub mail: PathBuf,
    pub home: Home,
    pub layout: LayoutKind,
}

/// What a replica has on disk.
pub type Snapshot = BTreeMap<PathBuf, (Option<Vec<u8>>, SystemTime)>;

/// How long to wait for a replica's lock. Nobody holds it for long: a process that another test is just starting may
/// have inherited it, until it becomes another program.
pub const TIMEOUT: Duration = Duration::from_secs(10);

static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1_700_000_001);

/// The contents of a message, by a name for it.
pub fn contents(name: &str) -> Vec<u8> {
    let mut bytes = format!("Subject: {name}\n\nThis is {name}.\n").into_bytes();
    if name.starts_with("large") {
        // `resize` would write byte by byte, as nothing is optimised here.
        bytes.extend_from_slice("x".repeat((1 << 20) + 4321 - bytes.len()).as_bytes());
    }
    bytes
}

/// The name of a message, by its contents.
fn name_of(bytes: &[u8]) -> String {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
    let name = head.strip_prefix("Subject: ").and_then(|rest| rest.split_once('\n')).map_or("", |(name, _)| name);
    if contents(name) == bytes { name.to_owned() } else { format!("<{} damaged bytes>", bytes.len()) }
}

/// The messages in the files of a directory that have this extension, by their names, sorted.
pub fn messages_in(dir: &Path, extension: &str) -> Vec<String> {
    let items = fs::read_dir(dir).unwrap().map(|item| item.unwrap().path());
    let items = items.filter(|path| path.extension().is_some_and(|has| has == extension) || extension.is_empty());
    let mut names: Vec<String> = items.map(|path| name_of(&fs::read(path).unwrap())).collect();
    names.sort();
    names
}

impl Party {
    /// A replica with mail, each line `FOLDER MESSAGE FLAGS`, or `FOLDER` alone for an empty one; the flags are `new`,
    /// `-` or letters.
    pub fn new(dir: &Path, name: &str, layout: LayoutKind, mail: &[&str]) -> Self {
        let root = dir.join(name);
        let party = Self { name: name.into(), mail: root.join("mail"), home: Home::at(root.join("home")), layout };
        party.make_folder("INBOX");
        for line in mail {
            party.act(&if line.contains(' ') { format!("deliver {line}") } else { format!("mkdir {line}") });
        }
        let options = InitOptions {
            mail_root: party.mail.clone(),
            name: name.into(),
            layout: Some(layout),
            server: None,
            doubts: Doubts::Heed,
            lock_timeout: TIMEOUT,
        };
        drop(Replica::init(&party.home, World::real(), &options).unwrap());
        party
    }

    pub fn root(&self) -> &Path {
        self.mail.parent().unwrap()
    }

    /// Opens the replica on this disk.
    pub fn open(&self, disk: Box<dyn Disk>) -> Result<Replica, Error> {
        self.open_in(World { disk, ..World::real() })
    }

    /// Opens the replica in these surroundings.
    pub fn open_in(&self, world: World) -> Result<Replica, Error> {
        Replica::open(&self.home, world, Access::Write(TIMEOUT))
    }

    pub fn opened(&self) -> Replica {
        self.open(Box::new(mailsync::disk::RealDisk)).unwrap()
    }

    fn layout(&self) -> Layout {
        mailsync::config::Config::read(&mailsync::disk::RealDisk, &self.home.config_file()).map_or_else(
            |_| Layout {
                kind: self.layout,
                encoding: mailsync::maildir::NameEncoding::Utf8,
                inbox_at_root: self.layout == LayoutKind::MaildirPlusPlus,
            },
            |config| config.layout(),
        )
    }

    pub fn dir(&self, folder: &str) -> PathBuf {
        self.mail.join(self.layout().dir_of(&folder.parse().unwrap()))
    }

    fn make_folder(&self, folder: &str) {
        make_folder(&self.dir(folder));
    }

    /// The file of a message, as a mail reader would find it.
    pub fn find(&self, folder: &str, message: &str) -> PathBuf {
        let bytes = contents(message);
        let mut files = ["new", "cur"]
            .iter()
            .flat_map(|sub| fs::read_dir(self.dir(folder).join(sub)).unwrap().map(|item| item.unwrap().path()));
        files
            .find(|path| fs::read(path).unwrap() == bytes)
            .unwrap_or_else(|| panic!("{}: {message} is not in {folder}", self.name))
    }

    /// Does what a person or a mail reader does.
    pub fn act(&self, what: &str) {
        let words: Vec<&str> = what.split(' ').collect();
        match words[..] {
            ["deliver", folder, message, flags] => {
                self.make_folder(folder);
                let (sub, info) = match flags {
                    "new" => ("new", String::new()),
                    "-" => ("cur", ":2,".into()),
                    flags => ("cur", format!(":2,{flags}")),
                };
                // No two files have the same name, in whatever folder.
                let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let path = self.dir(folder).join(sub).join(format!("{number}.{message}{info}"));
                fs::write(&path, contents(message)).unwrap();
                File::open(&path).unwrap().set_modified(UNIX_EPOCH + Duration::new(1_600_000_000, 7)).unwrap();
            }
            ["flag", folder, message, flags] => {
                let path = self.find(folder, message);
                let name = path.file_name().unwrap().to_str().unwrap();
                let base = name.split(":2,").next().unwrap();
                let flags = flags.trim_matches('-');
                fs::rename(&path, self.dir(folder).join("cur").join(format!("{base}:2,{flags}"))).unwrap();
            }
            ["move", folder, message, to] => {
                let path = self.find(folder, message);
                let sub = path.parent().unwrap().file_name().unwrap();
                fs::rename(&path, self.dir(to).join(sub).join(path.file_name().unwrap())).unwrap();
            }
            ["remove", folder, message] => fs::remove_file(self.find(folder, message)).unwrap(),
            // What the letters stand for, in their order.
            ["names", folder, ref names @ ..] => {
                self.make_folder(folder);
                let lines: Vec<String> = names.iter().enumerate().map(|(n, name)| format!("{n} {name}\n")).collect();
                fs::write(self.dir(folder).join("dovecot-keywords"), lines.concat()).unwrap();
            }
            ["mkdir", folder] => self.make_folder(folder),
            ["rmdir", folder] => fs::remove_dir_all(self.dir(folder)).unwrap(),
            ["mvdir", from, to] => fs::rename(self.dir(from), self.dir(to)).unwrap(),
            _ => panic!("what is {what:?}?"),
        }
    }

    /// Does all of this, one after the other.
    pub fn act_all(&self, all: &[&str]) {
        for what in all {
            self.act(what);
        }
    }

    /// The mailbox as lines, with a line of its name alone for an empty folder, sorted.
    pub fn mailbox(&self) -> Vec<String> {
        let layout = self.layout();
        let mut lines = Vec::new();
        for item in walkdir::WalkDir::new(&self.mail).into_iter().map(Result::unwrap) {
            let sub = item.path();
            if !item.file_type().is_dir() || !(sub.ends_with("new") || sub.ends_with("cur")) {
                continue;
            }
            let dir = sub.parent().unwrap().strip_prefix(&self.mail).unwrap();
            let folder = layout.folder_of(dir).unwrap_or_else(|| panic!("{} is no folder", dir.display()));
            let empty = |sub: &str| {
                fs::read_dir(self.mail.join(dir).join(sub)).map_or(true, |mut items| items.next().is_none())
            };
            if sub.ends_with("cur") && empty("cur") && empty("new") {
                lines.push(folder.to_string());
            }
            for file in fs::read_dir(sub).unwrap() {
                let path = file.unwrap().path();
                let named = letters(sub.parent().unwrap());
                let name = FileName::parse(path.file_name().unwrap().as_encoded_bytes()).flags(Sub::Cur, &named);
                let mut flags: String = name.iter().map(ToString::to_string).collect();
                if sub.ends_with("new") {
                    flags = String::from("new");
                } else if flags.is_empty() {
                    flags = String::from("-");
                }
                lines.push(format!("{folder} {} {flags}", name_of(&fs::read(&path).unwrap())));
            }
        }
        lines.sort();
        lines
    }

    /// The messages in the trash directory, sorted.
    pub fn trash(&self) -> Vec<String> {
        messages_in(&self.home.trash(), "")
    }

    /// What lies in any `tmp/`, and every directory that holds a `tmp/` but is no folder.
    pub fn leftovers(&self) -> Vec<PathBuf> {
        let dirs = walkdir::WalkDir::new(&self.mail).into_iter().map(Result::unwrap);
        let lost = dirs.filter(|item| {
            item.file_type().is_dir() && item.file_name() == "tmp" && !item.path().with_file_name("cur").is_dir()
        });
        leftovers(&self.mail).into_iter().chain(lost.map(walkdir::DirEntry::into_path)).collect()
    }

    /// What the replica has on disk, except symbolic links and what they lead to.
    pub fn snapshot(&self) -> Snapshot {
        let look = |item: walkdir::DirEntry| {
            let contents = item.file_type().is_file().then(|| fs::read(item.path()).unwrap());
            (item.path().to_owned(), (contents, item.metadata().unwrap().modified().unwrap()))
        };
        let items = walkdir::WalkDir::new(self.root()).into_iter().map(Result::unwrap);
        items.filter(|item| !item.file_type().is_symlink()).map(look).collect()
    }

    /// Puts everything back, with its times, and lets those come to rest that nobody can put back. The state database
    /// remains the same file: else it would seem to be a copy.
    pub fn put_back(&self, snapshot: &Snapshot) {
        for item in walkdir::WalkDir::new(self.root()).contents_first(true).into_iter().map(Result::unwrap) {
            let keep =
                snapshot.get(item.path()).is_some_and(|(contents, _)| contents.is_none() == item.file_type().is_dir());
            if keep || item.file_type().is_symlink() {
                continue;
            }
            if item.file_type().is_dir() {
                fs::remove_dir(item.path()).unwrap();
            } else {
                fs::remove_file(item.path()).unwrap();
            }
        }
        for (path, (contents, mtime)) in snapshot {
            let Some(contents) = contents else {
                if !path.is_dir() {
                    fs::create_dir(path).unwrap();
                    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
                }
                continue;
            };
            let in_home = path.starts_with(self.home.state_dir());
            if in_home && !path.exists() {
                fs::write(path, "").unwrap();
                fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
            }
            let same = |meta: fs::Metadata| meta.len() == contents.len() as u64 && meta.modified().unwrap() == *mtime;
            if in_home || !fs::metadata(path).is_ok_and(same) {
                fs::write(path, contents).unwrap();
                File::open(path).unwrap().set_modified(*mtime).unwrap();
            }
        }
        let mut changed = false;
        for (path, (_, mtime)) in snapshot.iter().rev().filter(|(_, (contents, _))| contents.is_none()) {
            if fs::metadata(path).unwrap().modified().unwrap() != *mtime {
                File::open(path).unwrap().set_modified(*mtime).unwrap();
                changed |= path.starts_with(&self.mail);
            }
        }
        if changed {
            rest();
        }
    }

    /// `mailsync export --to PEER -o FILE`
    pub fn export(&self, to: &Self, file: &Path) {
        let replica = self.opened();
        replica.scan(&ScanOptions::default()).unwrap();
        export(&replica, to, file);
    }

    /// `mailsync import FILE`, which must succeed.
    pub fn import(&self, file: &Path) {
        import(&self.opened(), file).unwrap();
    }
}

/// Exports without a scan.
pub fn export(replica: &Replica, to: &Party, file: &Path) {
    let options = ExportOptions { level: 1, ..ExportOptions::to_peer(&to.name) };
    replica.export(&options, io::BufWriter::new(File::create(file).unwrap())).unwrap();
}

/// Scans and imports as the command does. What was wrong with a bundle is an error, too.
pub fn import(replica: &Replica, file: &Path) -> Result<(ScanReport, Vec<Imported>), Error> {
    let options = ImportOptions::default();
    let report = replica.scan_before_import(&options)?;
    let mut all = Vec::new();
    replica.import_file(file, &options, |imported| all.push(imported))?;
    if let Some(error) = all.iter().find_map(|imported| imported.outcome.error()) {
        return Err(error.clone());
    }
    Ok((report, all))
}

/// Makes two replicas known to each other.
pub fn make_peers(one: &Party, other: &Party) {
    let (a, b) = (one.opened(), other.opened());
    a.add_peer(&other.name, &b.public_key()).unwrap();
    b.add_peer(&one.name, &a.public_key()).unwrap();
}

/// Exchanges bundles until both know all, which takes three.
pub fn exchange(one: &Party, other: &Party, file: &Path) {
    for (from, to) in [(one, other), (other, one), (one, other)] {
        from.export(to, file);
        to.import(file);
    }
}
