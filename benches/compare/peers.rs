//! Programs that do what mailsync does, or a part of it, and how each is run for that: mbsync and muchsync keep two Maildirs
//! the same, git puts all mail into a file.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::cost::{Cost, Machine, installed, line_of_shell, measure, shell, size_of_file, text};

/// Two machines that are to hold the same mail.
pub trait Pair {
    /// The program that does it, as the page calls it.
    fn name(&self) -> &'static str;
    /// The mail that there is in the beginning, and that is changed.
    fn source(&self) -> &Path;
    /// The mail of the other machine.
    fn other(&self) -> &Path;
    /// Writes the configuration.
    fn prepare(&self);
    /// What makes both the same, from the beginning: the same as later, if the program knows no beginning.
    fn first(&self) -> Vec<Command> {
        self.again()
    }
    /// What makes both the same after changes, whichever side they were made on.
    fn again(&self) -> Vec<Command>;
    /// What fails if the flags of both sides differ, where the names of files don't tell.
    fn flags_are_the_same(&self) -> Option<Command> {
        None
    }
    /// Whether it indexes all that the messages say, which takes longer than all else.
    fn indexes(&self) -> bool {
        false
    }
    /// The directory in which all of it lies.
    fn dir(&self) -> &Path {
        self.source().parent().expect("it lies in a directory")
    }
    /// Removes all of it.
    fn clear(&self) {
        fs::remove_dir_all(self.dir()).expect("the machines can be removed");
    }
}

/// The programs that are installed, mailsync first.
pub fn pairs(dir: &Path) -> Vec<Box<dyn Pair>> {
    let dir = dir.join("pair");
    let mut pairs: Vec<Box<dyn Pair>> = vec![Box::new(Mailsync::at(&dir))];
    if installed("mbsync") {
        pairs.push(Box::new(Mbsync(TwoTrees::at(&dir))));
    }
    if installed("muchsync") && installed("notmuch") {
        pairs.push(Box::new(Muchsync(TwoTrees::at(&dir))));
    }
    pairs
}

/// # Panics
/// The machines hold different mail: then what it cost would mean nothing. Folders, numbers of messages and of flagged ones are
/// compared, as muchsync makes names of its own.
pub fn assert_same(pair: &dyn Pair) {
    let flags = pair.flags_are_the_same();
    let of = |mail: &Path| contents(mail, flags.is_none());
    let (ours, theirs) = (of(pair.source()), of(pair.other()));
    let differ: Vec<&PathBuf> =
        ours.keys().chain(theirs.keys()).filter(|folder| ours.get(*folder) != theirs.get(*folder)).collect();
    assert!(differ.is_empty(), "{} has left the machines different, in {differ:?}", pair.name());
    flags.map(measure);
}

/// How many messages there are in each folder, and, if the names tell, how many of them are flagged.
fn contents(mail: &Path, with_flags: bool) -> BTreeMap<PathBuf, (u64, u64)> {
    let mut folders: BTreeMap<PathBuf, (u64, u64)> = BTreeMap::new();
    for item in walkdir::WalkDir::new(mail).into_iter().map(|item| item.expect("the mail can be listed")) {
        let dir = item.path().parent().expect("it lies in a directory");
        if !item.file_type().is_file() || (!dir.ends_with("cur") && !dir.ends_with("new")) {
            continue;
        }
        let folder = dir.parent().expect("a folder").strip_prefix(mail).expect("it lies below the root");
        let counts = folders.entry(folder.to_owned()).or_default();
        let flags = item.file_name().to_str().and_then(|name| name.split_once(":2,")).map_or("", |(_, flags)| flags);
        counts.0 += 1;
        counts.1 += u64::from(with_flags && flags.contains('F'));
    }
    folders
}

/// mailsync by hand: an invitation and its answer, and later a bundle there and one back.
struct Mailsync {
    dir: PathBuf,
    desktop: Machine,
    tablet: Machine,
}

impl Mailsync {
    fn at(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), desktop: Machine::at(dir, "desktop"), tablet: Machine::at(dir, "tablet") }
    }
}

impl Pair for Mailsync {
    fn name(&self) -> &'static str {
        "mailsync"
    }

    fn source(&self) -> &Path {
        &self.desktop.mail
    }

    fn other(&self) -> &Path {
        &self.tablet.mail
    }

    fn prepare(&self) {}

    fn first(&self) -> Vec<Command> {
        let (desktop, tablet) = (&self.desktop, &self.tablet);
        let (invitation, answer) = (self.dir.join("invitation.zst"), self.dir.join("answer.zst"));
        vec![
            desktop.with(&[&"init", &desktop.mail, &"--name", &"desktop"]),
            desktop.with(&[&"invite", &"tablet", &"--plain", &"-o", &invitation]),
            tablet.with(&[&"join", &tablet.mail, &invitation]),
            tablet.with(&[&"export", &"--plain", &"-o", &answer]),
            desktop.with(&[&"import", &answer]),
        ]
    }

    fn again(&self) -> Vec<Command> {
        let program = env!("CARGO_BIN_EXE_mailsync");
        let (desktop, tablet) = (text(&self.desktop.home), text(&self.tablet.home));
        vec![line_of_shell(&format!(
            "{program} -q --home {desktop} export | {program} -q --home {tablet} import --reply | \
             {program} -q --home {desktop} import"
        ))]
    }
}

/// Two mail trees, and the directory that has these and all configuration.
struct TwoTrees {
    dir: PathBuf,
    source: PathBuf,
    other: PathBuf,
}

impl TwoTrees {
    fn at(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), source: dir.join("source"), other: dir.join("other") }
    }

    fn write(&self, name: &str, contents: &str) {
        fs::write(self.dir.join(name), contents).expect("the configuration can be written");
    }
}

/// mbsync between two Maildirs, as its manual has them: all folders, all kinds of changes, in both directions.
struct Mbsync(TwoTrees);

impl Pair for Mbsync {
    fn name(&self) -> &'static str {
        "mbsync"
    }

    fn source(&self) -> &Path {
        &self.0.source
    }

    fn other(&self) -> &Path {
        &self.0.other
    }

    fn prepare(&self) {
        fs::create_dir(&self.0.other).expect("a mail root can be made");
        self.0.write(
            "mbsyncrc",
            &format!(
                "MaildirStore far\nInbox {}\nSubFolders Maildir++\n\nMaildirStore near\nInbox {}\nSubFolders Maildir++\n\n\
                 Channel mail\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nRemove Both\nExpunge Both\n\
                 CopyArrivalDate yes\nSyncState *\n",
                text(&self.0.source),
                text(&self.0.other),
            ),
        );
    }

    fn again(&self) -> Vec<Command> {
        let mut command = Command::new("mbsync");
        command.env("HOME", &self.0.dir).arg("-q").arg("-c").arg(self.0.dir.join("mbsyncrc")).arg("mail");
        vec![command]
    }
}

/// muchsync between two notmuch databases, whose tags are the files' flags. What stands for the server is a shell on the same
/// machine.
struct Muchsync(TwoTrees);

impl Pair for Muchsync {
    fn name(&self) -> &'static str {
        "muchsync, with notmuch new"
    }

    fn source(&self) -> &Path {
        &self.0.source
    }

    fn other(&self) -> &Path {
        &self.0.other
    }

    fn prepare(&self) {
        fs::create_dir(&self.0.other).expect("a mail root can be made");
        configure_notmuch(&self.0.dir.join("notmuch-source"), &self.0.source);
        configure_notmuch(&self.0.dir.join("notmuch-other"), &self.0.other);
        let config = self.0.dir.join("notmuch-source");
        self.0.write(
            "server",
            &format!("shift\nNOTMUCH_CONFIG={}\nexport NOTMUCH_CONFIG\nexec sh -c \"$*\"\n", text(&config)),
        );
    }

    fn again(&self) -> Vec<Command> {
        let mut command = Command::new("muchsync");
        command.env("HOME", &self.0.dir).env("NOTMUCH_CONFIG", self.0.dir.join("notmuch-other"));
        command.arg("-s").arg(format!("sh {}", text(&self.0.dir.join("server")))).arg("server");
        vec![command]
    }

    fn indexes(&self) -> bool {
        true
    }

    /// Tags are what muchsync keeps the same; it doesn't write all of them into the names of the files that it makes.
    fn flags_are_the_same(&self) -> Option<Command> {
        let dump = |config: &str| {
            format!("$(NOTMUCH_CONFIG={} notmuch dump | sort | sha256sum)", text(&self.0.dir.join(config)))
        };
        Some(line_of_shell(&format!("test \"{}\" = \"{}\"", dump("notmuch-source"), dump("notmuch-other"))))
    }
}

/// What notmuch needs to know of a mail tree.
pub fn configure_notmuch(config: &Path, mail: &Path) {
    let settings = format!(
        "[database]\npath={0}\nmail_root={0}\n[user]\nname=n\nprimary_email=n@example.org\n[new]\ntags=new\n\
         [maildir]\nsynchronize_flags=true\n",
        text(mail)
    );
    fs::write(config, settings).expect("notmuch's configuration can be written");
}

/// All mail in a file, by git: what that costs from nothing but the mail, and how large the file is. git's own maintenance in
/// the background is off, as it would go on afterwards.
pub fn git_bundle(dir: &Path, mail: &Path, messages: u64) -> (Cost, u64) {
    let (repository, bundle) = (dir.join("mail.git"), dir.join("git.bundle"));
    let git = format!(
        "GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 git --git-dir={} --work-tree={} -c gc.auto=0 \
         -c maintenance.auto=false -c core.autocrlf=false -c user.name=n -c user.email=n@example.org",
        text(&repository),
        text(mail)
    );
    let cost = shell(&format!(
        "{git} init -q && {git} add --all --force && {git} commit -q -m mail && {git} bundle create -q {} --all",
        text(&bundle)
    ));
    shell(&format!("test $({git} ls-tree -r HEAD | grep -cE '(cur|new)/') -eq {messages}"));
    let bytes = size_of_file(&bundle);
    fs::remove_dir_all(repository).expect("the repository can be removed");
    fs::remove_file(bundle).expect("the bundle can be removed");
    (cost, bytes)
}
