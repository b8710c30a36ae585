//! A scene for each command that writes: two replicas just before it, what it does, and how they end. A scene can be put
//! back, so that the command is tried with all that can go wrong.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use mailsync::disk::{Disk, RealDisk};
use mailsync::error::{Error, Result};
use mailsync::maildir::LayoutKind;
use mailsync::model::{Digest, JobState, StateDigest};
use mailsync::process::{Ended, Finished, Launch, Launcher, Output};
use mailsync::replica::{
    Access, Care, Carrier, ClockAhead, CodeShown, DryRun, Errand, Existing, ExportOptions, Home, Hook, ImportOptions,
    Imported, InitOptions, InviteOptions, JoinOptions, LeaveOptions, LeftBehind, MessageContents, RepairOptions,
    Replica, RestoreOptions, RevokeOptions, ScanOptions, Secrecy, TrashFate, TrashKey, TrashSelection, UndoOptions,
    World,
};

use super::disk::Watch;
use super::party::{Party, Snapshot, TIMEOUT, contents, exchange, make_peers};
use super::{make_folder, rest, scratch, text};

/// What is left over by commands that were killed is swept when it is a day old.
const LONG_AGO: Duration = Duration::from_secs(2 * 24 * 60 * 60);

/// What is on the standard input of a command.
pub const INPUT: &[u8] = b"some input\n";

/// A command that writes, and the way in which it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    Init,
    Scan,
    ExportToFile,
    ExportToDirectory,
    Import,
    ImportConsume,
    JoinEmptyRoot,
    JoinWithMail,
    Purge,
    Restore,
    TrashRestore,
    Undo,
    Uux,
    JobsRun,
    Invite,
    DoctorRepair,
    DoctorNewIdentity,
    KeyRotate,
    PeerRevoke,
    PeerRevokeKeep,
    Deinit,
    ScanWithHook,
    ImportWithHook,
    Watch,
}

/// All of them.
pub const ALL: [Command; 24] = [
    Command::Init,
    Command::Scan,
    Command::ExportToFile,
    Command::ExportToDirectory,
    Command::Import,
    Command::ImportConsume,
    Command::JoinEmptyRoot,
    Command::JoinWithMail,
    Command::Purge,
    Command::Restore,
    Command::TrashRestore,
    Command::Undo,
    Command::Uux,
    Command::JobsRun,
    Command::Invite,
    Command::DoctorRepair,
    Command::DoctorNewIdentity,
    Command::KeyRotate,
    Command::PeerRevoke,
    Command::PeerRevokeKeep,
    Command::Deinit,
    Command::ScanWithHook,
    Command::ImportWithHook,
    Command::Watch,
];

/// Does nothing, and that well.
struct Quick;

impl Launcher for Quick {
    fn run(&self, _: &Launch, stdin: &mut (dyn Read + Send)) -> Finished {
        let ended = match stdin.read_to_end(&mut Vec::new()) {
            Ok(_) => Ended::Status(0),
            Err(error) => Ended::InputFailed(error.to_string()),
        };
        Finished { ended, stdout: Output::default(), stderr: Output::default() }
    }
}

/// Is the program of a hook: it keeps the files that it is told.
struct Hearing {
    home: Home,
    heard: PathBuf,
}

impl Launcher for Hearing {
    fn run(&self, _: &Launch, stdin: &mut (dyn Read + Send)) -> Finished {
        // It may run mailsync, as nobody has the lock. A process that another test starts holds what is locked in this one
        // until it becomes another program: so this waits.
        drop(Replica::open(&self.home, World::real(), Access::Write(TIMEOUT)).expect("a hook can work"));
        let mut files = Vec::new();
        stdin.read_to_end(&mut files).unwrap();
        let mut heard = fs::OpenOptions::new().create(true).append(true).open(&self.heard).unwrap();
        heard.write_all(&files).unwrap();
        Finished { ended: Ended::Status(0), stdout: Output::default(), stderr: Output::default() }
    }
}

/// A command, and all just before it.
pub struct Scene {
    pub command: Command,
    pub here: Party,
    pub there: Party,
    /// Files for the command, and from it.
    pub out: PathBuf,
    before: (Snapshot, Snapshot),
    held: Vec<String>,
    /// A place for what a test keeps.
    pub keep: PathBuf,
    _dir: tempfile::TempDir,
}

/// A party whose mail root may hold something, and that is no replica yet.
fn newcomer(dir: &Path, name: &str, mail: &[&str]) -> Party {
    let root = dir.join(name);
    let home = mailsync::replica::Home::at(root.join("home"));
    let party = Party { name: name.into(), mail: root.join("mail"), home, layout: LayoutKind::MaildirPlusPlus };
    fs::create_dir_all(if mail.is_empty() { &root } else { &party.mail }).unwrap();
    if !mail.is_empty() {
        make_folder(&party.mail);
    }
    for line in mail {
        party.act(&format!("deliver {line}"));
    }
    party
}

impl Scene {
    /// Makes the scene of a command.
    pub fn new(command: Command) -> Self {
        let dir = scratch();
        let start = ["INBOX alpha S", "INBOX beta -", "Archive gamma S", "Archive delta FS", "INBOX large S"];
        let there = Party::new(dir.path(), "there", LayoutKind::Fs, &start);
        let here = match command {
            Command::Init => newcomer(dir.path(), "here", &start),
            Command::JoinEmptyRoot => newcomer(dir.path(), "here", &[]),
            Command::JoinWithMail => newcomer(dir.path(), "here", &["INBOX alpha S", "INBOX eta S"]),
            _ => Party::new(dir.path(), "here", LayoutKind::MaildirPlusPlus, &[]),
        };
        let out = here.root().join("out");
        fs::create_dir(&out).unwrap();
        let keep = dir.path().join("keep");
        let is_replica = !matches!(command, Command::Init | Command::JoinEmptyRoot | Command::JoinWithMail);
        if is_replica {
            make_peers(&there, &here);
            let bundle = dir.path().join("first");
            exchange(&there, &here, &bundle);
            assert_eq!(here.mailbox(), there.mailbox());
        }
        let mut scene = Self { command, here, there, out, before: Default::default(), held: vec![], keep, _dir: dir };
        scene.prepare();
        rest();
        scene.before = (scene.there.snapshot(), scene.here.snapshot());
        scene.held = scene.held_now();
        scene
    }

    /// The bundle that a command reads.
    pub fn bundle(&self) -> PathBuf {
        if self.command == Command::Watch { self.arrivals().join("bundle.zst") } else { self.out.join("bundle.zst") }
    }

    /// Where bundles arrive.
    fn arrivals(&self) -> PathBuf {
        self.out.join("arrivals")
    }

    /// Where bundles for the peer go.
    fn spool(&self) -> PathBuf {
        self.out.join("spool")
    }

    /// The hook that the command has.
    fn hook(&self) -> Option<Hook> {
        match self.command {
            Command::ScanWithHook => Some(Hook::AfterScan),
            Command::ImportWithHook => Some(Hook::AfterImport),
            _ => None,
        }
    }

    /// Where a hook keeps what it is told.
    fn heard_in(&self) -> PathBuf {
        self.keep.with_extension("heard")
    }

    /// The files that a hook was told since all was put back, each once; `None` if the command has no hook.
    pub fn heard(&self) -> Option<BTreeSet<String>> {
        self.hook().map(|_| {
            let heard = fs::read_to_string(self.heard_in()).unwrap_or_default();
            // Whoever is killed may have said half a name.
            heard.split_inclusive('\0').filter_map(|name| name.strip_suffix('\0')).map(str::to_owned).collect()
        })
    }

    /// Compares what a hook was told with what it is told of an undisturbed command. Only one that was killed, or that could not
    /// run it, keeps something back.
    ///
    /// # Errors
    /// What is wrong.
    pub fn has_heard(&self, all: Option<&BTreeSet<String>>, keeps_back: bool) -> std::result::Result<(), String> {
        let (Some(heard), Some(all)) = (self.heard(), all) else { return Ok(()) };
        let is_right = if keeps_back { heard.is_subset(all) } else { heard == *all };
        if is_right { Ok(()) } else { Err(format!("a hook was told {heard:?} in place of {all:?}")) }
    }

    /// Adds lines to the configuration.
    fn configure(&self, lines: &str) {
        let config = self.here.home.config_file();
        fs::write(&config, format!("{}\n{lines}\n", fs::read_to_string(&config).unwrap())).unwrap();
    }

    fn prepare(&self) {
        let (here, there) = (&self.here, &self.there);
        if let Some(hook) = self.hook() {
            let script = format!("cat >>{}", self.heard_in().display());
            self.configure(&format!("[hooks]\n{} = [\"/bin/sh\", \"-c\", {script:?}]", hook.key()));
        }
        let changes =
            ["deliver INBOX epsilon new", "move INBOX alpha Archive", "remove INBOX beta", "mkdir New/folder"];
        match self.command {
            Command::Init | Command::Uux | Command::KeyRotate | Command::PeerRevoke => {}
            Command::Scan
            | Command::ScanWithHook
            | Command::ExportToFile
            | Command::ExportToDirectory
            | Command::Invite => {
                let changes = ["deliver INBOX epsilon new", "flag INBOX beta F", "remove Archive gamma"];
                here.act_all(&changes);
            }
            Command::Import | Command::ImportConsume | Command::ImportWithHook | Command::Watch => {
                if self.command == Command::Watch {
                    let (arrivals, spool) = (self.arrivals(), self.spool());
                    for dir in [&arrivals, &spool] {
                        fs::create_dir(dir).unwrap();
                    }
                    let (arrivals, spool) = (text(&arrivals), text(&spool));
                    self.configure(&format!("[watch]\nreceive = [{arrivals:?}]\n[peer.there]\nspool = {spool:?}"));
                }
                there.act_all(&changes);
                here.act("deliver INBOX zeta new");
                there.export(here, &self.bundle());
            }
            Command::JoinEmptyRoot | Command::JoinWithMail => {
                let replica = there.opened();
                let file = File::create(self.bundle()).unwrap();
                replica.invite(&invite("here"), std::io::BufWriter::new(file), CodeShown::Last, |_| Ok(())).unwrap();
            }
            Command::Purge | Command::TrashRestore | Command::Deinit => {
                there.act_all(&changes);
                there.export(here, &self.bundle());
                here.import(&self.bundle());
                exchange(there, here, &self.bundle());
                here.opened().scan(&ScanOptions::default()).unwrap();
                if self.command == Command::Purge {
                    for place in [self.here.home.state_dir().join("jobs"), self.here.home.state_dir().join("outbox")] {
                        fs::create_dir_all(&place).unwrap();
                        fs::set_permissions(&place, fs::Permissions::from_mode(0o700)).unwrap();
                        fs::write(place.join(".1234.part"), "left over").unwrap();
                    }
                    self.age();
                }
            }
            Command::PeerRevokeKeep => {
                there.act_all(&changes);
                exchange(there, here, &self.bundle());
                // What was done here meanwhile is its own already.
                here.act_all(&["flag Archive delta T", "deliver INBOX zeta new"]);
            }
            Command::Undo => {
                there.act_all(&["move INBOX alpha Archive", "flag INBOX beta F", "remove Archive delta"]);
                exchange(there, here, &self.bundle());
                here.act("deliver INBOX epsilon new");
            }
            Command::Restore => {
                // One message is on this machine, and the other one has to come from the peer.
                here.act("deliver INBOX gamma S");
                here.act("rmdir Archive");
            }
            Command::JobsRun => {
                self.configure("[[allow]]\ncommand = \"send\"\nexec = [\"/bin/cat\"]\nfrom = [\"there\"]");
                ask(there, "here", Box::new(RealDisk)).unwrap();
                there.export(here, &self.bundle());
                here.import(&self.bundle());
            }
            Command::DoctorRepair | Command::DoctorNewIdentity => {
                here.act("deliver INBOX epsilon new");
                let replica = here.opened();
                replica.scan(&ScanOptions::default()).unwrap();
                if self.command == Command::DoctorRepair {
                    let tx = replica.state().begin().unwrap();
                    tx.set_digest(StateDigest::default());
                    tx.commit().unwrap();
                    here.act("flag INBOX beta F");
                }
            }
        }
    }

    /// Puts all back to what was before the command.
    pub fn put_back(&self) -> Watch {
        self.there.put_back(&self.before.0);
        self.here.put_back(&self.before.1);
        let _ = fs::remove_file(self.heard_in());
        Watch::new(&self.keep)
    }

    fn world(disk: Box<dyn Disk>) -> World {
        World { disk, launcher: Box::new(Quick), ..World::real() }
    }

    fn hearing(&self) -> Box<dyn Launcher> {
        Box::new(Hearing { home: self.here.home.clone(), heard: self.heard_in() })
    }

    /// Runs the command. Returns whether anything was told, though it did not fail.
    pub fn run(&self, disk: Box<dyn Disk>) -> Result<bool> {
        let mut world = Self::world(disk);
        if self.hook().is_some() {
            world.launcher = self.hearing();
        }
        let options = InitOptions {
            server: None,
            doubts: mailsync::replica::Doubts::Heed,
            mail_root: self.here.mail.clone(),
            name: String::from("here"),
            layout: None,
            lock_timeout: TIMEOUT,
        };
        let mut problems = Vec::new();
        if self.command == Command::Deinit {
            return self.leave(world);
        }
        let replica = match self.command {
            // Whoever was interrupted looks whether there is a replica.
            Command::Init if is_complete(&self.here)? => Replica::open(&self.here.home, world, Access::Write(TIMEOUT))?,
            Command::Init => {
                let (replica, report) = Replica::init(&self.here.home, world, &options)?;
                problems = report.problems;
                replica
            }
            Command::JoinEmptyRoot | Command::JoinWithMail => {
                let file = self.bundle();
                let options = JoinOptions {
                    server: None,
                    doubts: mailsync::replica::Doubts::Heed,
                    mail_root: options.mail_root,
                    name: None,
                    layout: None,
                    expect: None,
                    code: None,
                    clock_ahead: ClockAhead::Refuse,
                    lock_timeout: TIMEOUT,
                };
                let source = std::io::BufReader::new(File::open(&file).unwrap());
                let joined = Replica::join(&self.here.home, world, &options, Some(&file), source)?;
                problems = joined.found.problems;
                joined.replica
            }
            Command::Uux => {
                // Whoever was interrupted looks whether the job was asked for.
                if count_jobs(&self.here)? == 0 {
                    ask(&self.here, "there", world.disk)?;
                }
                return Ok(false);
            }
            _ => Replica::open(&self.here.home, world, Access::Write(TIMEOUT))?,
        };
        let told = self.act(&replica).and_then(|told| replica.hindrance().map_or(Ok(told), Err));
        let notes = !replica.drain_notes().is_empty();
        // A command that failed may have changed files, too.
        self.hook().map_or(Ok(()), |hook| replica.run_hook(hook, &mut |_| ()))?;
        Ok(told? | !problems.is_empty() | notes)
    }

    fn leave(&self, world: World) -> Result<bool> {
        let home = &self.here.home;
        let told = |left: LeftBehind| !left.notes.is_empty();
        if let Some(left) = Replica::end_leaving(home, &world, DryRun::No, TIMEOUT)? {
            return Ok(told(left));
        }
        if !home.config_file().exists() {
            return Ok(false);
        }
        let replica = Replica::open_to_leave(home, world, TIMEOUT)?;
        let plan = replica.plan_to_leave()?;
        let trash = TrashFate::MovedTo(self.out.clone());
        let options = LeaveOptions { trash, lock_timeout: TIMEOUT, ..LeaveOptions::default() };
        let notes = !replica.drain_notes().is_empty();
        Ok(told(replica.leave(&plan, &options)?) | notes)
    }

    /// Whether the replica is one no more, and nothing is left of it, but for an empty directory perhaps.
    fn has_left(&self) -> bool {
        let is_empty = |mut items: fs::ReadDir| items.next().is_none();
        self.command == Command::Deinit && fs::read_dir(self.here.home.state_dir()).map_or(true, is_empty)
    }

    /// What a person types for it, or for its repetition. `None` if that finds that there is nothing left to be done.
    pub fn line(&self) -> Option<Vec<String>> {
        let (out, bundle) = (text(&self.out).to_owned(), text(&self.bundle()).to_owned());
        let file = |name: &str| text(&self.out.join(name)).to_owned();
        let mail = text(&self.here.mail).to_owned();
        let words = |words: &str| words.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let (mut line, last) = match self.command {
            Command::Init if is_complete(&self.here).unwrap_or(false) => (words("scan"), vec![]),
            Command::Init => (words("init --name here"), vec![mail]),
            Command::Scan | Command::ScanWithHook => (words("scan"), vec![]),
            Command::ExportToFile => (words("export --to there --level 1 -o"), vec![file("written.zst")]),
            Command::ExportToDirectory => (words("export --to there --level 1 -o"), vec![out]),
            Command::Import | Command::ImportWithHook => (words("import"), vec![bundle]),
            Command::Watch => (words("watch --once"), vec![]),
            Command::ImportConsume => (words("import --consume"), vec![out]),
            Command::JoinEmptyRoot | Command::JoinWithMail => (words("join"), vec![mail, bundle]),
            Command::Purge => (words("purge"), vec![]),
            Command::Restore => (words("restore --all"), vec![]),
            Command::TrashRestore => {
                let replica = Replica::open(&self.here.home, World::real(), Access::Read).unwrap();
                (words("trash restore"), vec![trashed_beta(&replica).unwrap()?.to_string()])
            }
            Command::Undo => (words("undo --by there --since 2h"), vec![]),
            Command::PeerRevoke => (words("peer revoke there --since 2h"), vec![]),
            Command::PeerRevokeKeep => (words("peer revoke there --since 2h --keep"), vec![]),
            Command::Deinit if self.has_left() => return None,
            Command::Deinit => (words("deinit --yes --trash-to"), vec![out]),
            Command::Uux if count_jobs(&self.here).unwrap() > 0 => return None,
            Command::Uux => (words("uux there send"), vec![]),
            Command::JobsRun => (words("jobs run"), vec![]),
            Command::Invite => (words("invite new --plain --level 1 -o"), vec![file("invitation.zst")]),
            Command::DoctorRepair => (words("doctor --repair"), vec![]),
            Command::DoctorNewIdentity => (words("doctor --new-identity"), vec![]),
            Command::KeyRotate => {
                let replica = Replica::open(&self.here.home, World::real(), Access::Read).unwrap();
                if !replica.former_keys().is_empty() {
                    return None;
                }
                (words("key rotate"), vec![])
            }
        };
        line.extend(last);
        Some(line)
    }

    /// What a person types then: a job that may have been run is to be run again, and what a join has left out is to come.
    pub fn line_of_a_person(&self) -> Option<Vec<String>> {
        if self.has_left() {
            return None;
        }
        let replica = self.here.opened();
        if self.is_a_join() && !replica.state().missing_digests(1).unwrap().is_empty() {
            return Some(vec![String::from("import"), text(&self.bundle()).to_owned()]);
        }
        let jobs = interrupted_jobs(&replica).unwrap();
        jobs.first().map(|job| [&["jobs", "retry"].map(str::to_owned)[..], std::slice::from_ref(job)].concat())
    }

    fn act(&self, replica: &Replica) -> Result<bool> {
        let scan = || replica.scan(&ScanOptions::default());
        let to_there = ExportOptions { level: 1, ..ExportOptions::to_peer("there") };
        let mut problems = Vec::new();
        match self.command {
            Command::JoinEmptyRoot | Command::JoinWithMail | Command::Uux | Command::Deinit => {}
            // What the first scan could not look at is found by the next one.
            Command::Init | Command::Scan | Command::ScanWithHook => problems = scan()?.problems,
            Command::ExportToFile | Command::ExportToDirectory => {
                problems = scan()?.problems;
                let name = if self.command == Command::ExportToFile { "written.zst" } else { "" };
                replica.export_to_file(&to_there, &self.out.join(name))?;
            }
            Command::Watch => problems = self.watch(replica)?,
            Command::Import | Command::ImportConsume | Command::ImportWithHook => {
                let options =
                    ImportOptions { consume: self.command == Command::ImportConsume, ..ImportOptions::default() };
                problems = replica.scan_before_import(&options)?.problems;
                let mut all = Vec::new();
                if options.consume {
                    replica.import_directory(&self.out, &options, |imported| all.push(imported))?;
                } else {
                    replica.import_file(&self.bundle(), &options, |imported| all.push(imported))?;
                }
                if let Some(error) = all.iter().find_map(|imported| imported.outcome.error()) {
                    return Err(error.clone());
                }
            }
            Command::Purge => drop(replica.purge(mailsync::replica::Doubts::Heed)?),
            Command::Restore => {
                problems = replica.bring_back(&RestoreOptions::default(), &mut |_| Ok(()))?.scan.problems;
            }
            Command::TrashRestore => {
                // An interrupted command that had decided to restore it was brought to its end by the next one.
                trashed_beta(replica)?.map_or(Ok(()), |key| replica.restore(key).map(drop))?;
            }
            Command::Undo => {
                let since = two_hours_ago();
                let options = UndoOptions { by: String::from("there"), since, folder: None, dry_run: DryRun::No };
                problems = replica.undo(&options, &mut |_| Ok(()))?.scan.problems;
            }
            Command::PeerRevoke => {
                let options = RevokeOptions { who: String::from("there"), since: None, reason: None };
                replica.revoke(&options)?;
            }
            Command::PeerRevokeKeep => {
                let since = Some(two_hours_ago());
                replica.revoke(&RevokeOptions { who: String::from("there"), since, reason: None })?;
                problems = replica.keep_what_came_from("there")?.scan.problems;
            }
            Command::JobsRun => {
                replica.run_jobs(|_| {})?;
                for job in interrupted_jobs(replica)? {
                    replica.retry_job(&job)?;
                    replica.run_jobs(|_| {})?;
                }
            }
            Command::Invite => {
                problems = scan()?.problems;
                replica.invite_to_file(&invite("new"), &self.out.join("invitation.zst"), |_| Ok(()))?;
            }
            Command::DoctorRepair => problems = replica.repair(&RepairOptions::default(), &mut |_| {})?.scan.problems,
            Command::DoctorNewIdentity => drop(replica.new_identity()?),
            // Whoever was interrupted looks whether the key was replaced.
            Command::KeyRotate => {
                if replica.former_keys().is_empty() {
                    replica.rotate_key()?;
                }
            }
        }
        Ok(!problems.is_empty())
    }

    /// What `watch` does in a round: all that a person does by commands.
    fn watch(&self, replica: &Replica) -> Result<Vec<Error>> {
        let mut problems = replica.scan(&ScanOptions::default())?.problems;
        let options = ImportOptions { consume: true, ..ImportOptions::default() };
        problems.extend(replica.scan_before_import(&options)?.problems);
        let mut all = Vec::new();
        replica.import_arrivals(&self.arrivals(), &options, |imported| all.push(imported))?;
        if let Some(error) = all.iter().find_map(|imported| imported.outcome.error()) {
            return Err(error.clone());
        }
        if let Errand::News(fullness) = replica.errand("there", Carrier::Spool, Care::Thorough)? {
            problems.extend(replica.scan(&ScanOptions::default())?.problems);
            let options = ExportOptions { level: 1, fullness, ..ExportOptions::to_peer("there") };
            replica.export_to_file(&options, &self.spool().join(""))?;
            replica.tidy_directory(&self.spool())?;
        }
        Ok(problems)
    }

    /// Messages in any folder and in the trash, of both.
    pub fn held_now(&self) -> Vec<String> {
        let mut held = Vec::new();
        for party in [&self.here, &self.there] {
            if party.mail.is_dir() {
                held.extend(party.mailbox().iter().filter_map(|line| line.split(' ').nth(1).map(str::to_owned)));
            }
            if party.home.trash().is_dir() {
                held.extend(party.trash());
            }
        }
        if self.command == Command::Deinit {
            held.extend(super::party::messages_in(&self.out, "eml"));
        }
        held
    }

    /// How many of the messages that were there are not there any more.
    pub fn lost(&self) -> usize {
        let mut left = self.held_now();
        let mut lost = 0;
        for message in &self.held {
            match left.iter().position(|held| held == message) {
                Some(at) => drop(left.swap_remove(at)),
                None => lost += 1,
            }
        }
        lost
    }

    /// Whether the command fails in this way when it is repeated since it had done all that was asked for: one that names
    /// what it is to take back says so if nothing is left of that, and one that names a file if that was written and recorded.
    pub fn was_done_before(&self, said: &str) -> bool {
        match self.command {
            Command::Undo => said.contains("it has moved and flagged nothing since then"),
            Command::ExportToFile | Command::Invite => {
                said.contains("there is already a bundle that this replica has written")
            }
            _ => false,
        }
    }

    /// Lets time pass, so that what nobody needs any more is swept.
    pub fn age(&self) {
        let state = self.here.home.state_dir();
        let dirs = [self.out.clone(), self.arrivals(), self.spool(), state.join("jobs"), state.join("outbox")];
        for dir in dirs.into_iter().filter(|dir| dir.is_dir()) {
            for item in fs::read_dir(dir).unwrap().map(std::result::Result::unwrap) {
                let file = File::open(item.path()).unwrap();
                file.set_modified(SystemTime::now() - LONG_AGO).unwrap();
            }
        }
    }

    /// All that matters of what there is, as lines.
    pub fn end(&self) -> Vec<String> {
        let mut end = Vec::new();
        if self.command == Command::KeyRotate {
            // The public key's file tells the key that peers follow to.
            let bundle = self.keep.with_extension("told");
            self.here.export(&self.there, &bundle);
            self.there.import(&bundle);
            let public = fs::read_to_string(self.here.home.public_key_file()).unwrap();
            let public = mailsync::bundle::PublicKey::from_openssh(&public).unwrap();
            let known = self.there.opened().peers().unwrap().remove(0).id;
            end.push(format!("there knows the key: {}", known == public.id()));
        }
        if self.command == Command::Watch {
            // What it has given to the peer is all that the peer lacks.
            let replica = self.there.opened();
            let bad = |imported: &Imported| imported.outcome.error().is_some();
            let mut wrong = 0;
            let told = |imported| wrong += usize::from(bad(&imported));
            replica.import_directory(&self.spool(), &ImportOptions::default(), told).unwrap();
            end.push(format!("there: {wrong} bundles were refused"));
            drop(replica);
            assert_eq!(self.there.mailbox(), self.here.mailbox());
        }
        if self.command == Command::Deinit {
            end.extend(self.here.mailbox().iter().map(|line| format!("here: {line}")));
            end.extend(
                super::party::messages_in(&self.out, "eml").iter().map(|message| format!("here: trash {message}")),
            );
            end.push(format!("here: it is none any more: {}", self.has_left()));
        }
        for party in [&self.here, &self.there].into_iter().filter(|party| party.home.config_file().exists()) {
            let replica = party.opened();
            let scan = replica.scan(&ScanOptions::default()).unwrap();
            replica.purge(mailsync::replica::Doubts::Heed).unwrap();
            replica.check_state().unwrap();
            replica.check_entries().unwrap();
            let (state, name) = (replica.state(), &party.name);
            end.push(format!("{name}: {} pending, changes: {}", state.count_pending().unwrap(), scan.has_changes()));
            assert_eq!(state.digest(), state.digest_from_scratch().unwrap(), "{name}");
            for peer in state.peers().unwrap() {
                let outs = replica.shut_outs().unwrap();
                let (out, held) =
                    outs.get(&peer.id).map_or((0, 0), |out| (out.by.len(), replica.count_held_of(out).unwrap()));
                end.push(format!("{name}: peer {}, revoked {out} times, {held} of it held", peer.name));
            }
            end.push(format!("{name}: {} former keys", replica.former_keys().len()));
            for invited in state.invitations().unwrap() {
                end.push(format!("{name}: invited {}", invited.name));
            }
            replica
                .each_job(|job| {
                    end.push(format!("{name}: a job {}", job.words()));
                    Ok(())
                })
                .unwrap();
            drop(replica);
            end.extend(party.mailbox().iter().map(|line| format!("{name}: {line}")));
            // What a join that was killed had half written in its place is moved there when it is repeated.
            let trash = party.trash().into_iter().filter(|message| !self.is_a_join() || !message.contains("damaged"));
            end.extend(trash.map(|message| format!("{name}: trash {message}")));
            end.extend(party.leftovers().iter().map(|path| format!("{name}: left over {}", path.display())));
        }
        end.extend(self.files());
        end
    }

    /// The files of the replica and those that it has written, with their numbers left out.
    fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        for dir in [self.here.home.state_dir(), &self.out].into_iter().filter(|dir| dir.exists()) {
            for item in walkdir::WalkDir::new(dir).sort_by_file_name().into_iter().map(std::result::Result::unwrap) {
                let name = item.path().strip_prefix(dir).unwrap().to_string_lossy().into_owned();
                // The output of a job that has run may be lost, and that is told.
                let output = self.command == Command::JobsRun
                    && name.starts_with("jobs/")
                    && Path::new(&name).extension().is_none();
                // What is as empty as if it weren't there.
                let empty = name.is_empty() && dir == self.here.home.state_dir() && self.has_left();
                let half = self.is_a_join() && name.starts_with("trash/");
                if !output && !half && !empty && !name.starts_with("state.db-") {
                    files.push(format!("file {}", without_numbers(&name)));
                }
            }
        }
        files.sort();
        if matches!(self.command, Command::ExportToDirectory | Command::Watch) {
            // Each export writes one more.
            files.dedup();
        }
        files
    }

    fn is_a_join(&self) -> bool {
        matches!(self.command, Command::JoinEmptyRoot | Command::JoinWithMail)
    }
}

/// Whether there is a replica that was made to its end.
pub fn is_complete(party: &Party) -> Result<bool> {
    let home = &party.home;
    if !home.exists(&RealDisk)? || !home.database().is_file() {
        return Ok(false);
    }
    let replica = Replica::open(home, World::real(), Access::Read)?;
    Ok(!replica.state().initial_scan_due()?)
}

/// A name without what is different each time.
fn without_numbers(name: &str) -> String {
    let parts = name.split(|c: char| !c.is_ascii_alphanumeric());
    let mut text = name.to_owned();
    for part in parts.filter(|part| part.len() >= 16 || part.bytes().all(|byte| byte.is_ascii_digit())) {
        if !part.is_empty() {
            text = text.replacen(part, "#", 1);
        }
    }
    text
}

/// Jobs that may have been run.
fn interrupted_jobs(replica: &Replica) -> Result<Vec<String>> {
    let mut interrupted = Vec::new();
    replica.each_job(|job| {
        if job.state == JobState::Interrupted {
            interrupted.push(job.id.to_string());
        }
        Ok(())
    })?;
    Ok(interrupted)
}

/// The number of the message in the trash that is to come back.
fn trashed_beta(replica: &Replica) -> Result<Option<TrashKey>> {
    let digest = Digest::of(&contents("beta"));
    let mut found = None;
    replica.each_selected(&TrashSelection::default(), |trashed| {
        found = found.or((trashed.id.digest == digest).then_some(trashed.key));
        Ok(())
    })?;
    Ok(found)
}

/// In milliseconds since 1970 UTC.
fn two_hours_ago() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap() - 2 * 60 * 60 * 1000
}

fn invite(name: &str) -> InviteOptions {
    InviteOptions {
        name: name.to_owned(),
        key: None,
        days: 30,
        contents: MessageContents::Included,
        level: 1,
        split: None,
        secrecy: Some(Secrecy::Plain),
        existing: Existing::Stays,
    }
}

fn ask(party: &Party, peer: &str, disk: Box<dyn Disk>) -> Result<()> {
    let replica = Replica::open(&party.home, Scene::world(disk), Access::Read)?;
    replica.uux(peer, &[String::from("send")], &mut &INPUT[..]).map(drop)
}

/// How many jobs a replica knows.
pub fn count_jobs(party: &Party) -> Result<usize> {
    let replica = Replica::open(&party.home, World::real(), Access::Read)?;
    let mut count = 0;
    replica.each_job(|_| {
        count += 1;
        Ok(())
    })?;
    Ok(count)
}

/// What two ends have that the other one lacks.
pub fn difference(now: &[String], end: &[String]) -> String {
    let without = |these: &[String], those: &[String]| {
        let mut rest = these.to_vec();
        for line in those {
            if let Some(at) = rest.iter().position(|one| one == line) {
                rest.remove(at);
            }
        }
        rest
    };
    format!("too much {:?}, too little {:?}", without(now, end), without(end, now))
}
