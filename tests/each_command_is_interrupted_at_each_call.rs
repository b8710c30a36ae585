//! Each command that writes is stopped, or fails, at each of its calls through the disk layer, and is then repeated: it
//! ends as if nothing had happened, no message is gone meanwhile, and nothing is left over.
//!
//! By default only some calls of each command are the last one, spread over all of it, each with a stop and one kind of
//! failure. `MAILSYNC_FAULTS=all` tries all kinds at all calls; a command's name instead of `all`, such as `Import`, tries
//! those of that command.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use mailsync::disk::{Disk, RealDisk};
use mailsync::error::{Error, Result};
use mailsync::maildir::LayoutKind;
use mailsync::model::{Digest, JobState, StateDigest};
use mailsync::process::{Ended, Finished, Launch, Launcher, Output};
use mailsync::replica::{
    Access, ClockAhead, ExportOptions, ImportOptions, InitOptions, InviteOptions, JoinOptions, MessageContents,
    RepairOptions, Replica, ScanOptions, Secrecy, World,
};
use rustix::io::Errno;

use crate::support::disk::{Call, Fault, Op, Watch};
use crate::support::party::{Party, Snapshot, TIMEOUT, contents, exchange, make_peers};
use crate::support::{caught, make_folder, rest, scratch};

/// How many calls of a command are interrupted by default.
const PLACES: usize = 16;
/// What is left over by commands that were killed is swept when it is a day old.
const LONG_AGO: Duration = Duration::from_secs(2 * 24 * 60 * 60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    Init,
    Scan,
    ExportToFile,
    ExportToDirectory,
    Import,
    ImportConsume,
    JoinEmptyRoot,
    JoinWithMail,
    Purge,
    TrashRestore,
    Uux,
    JobsRun,
    Invite,
    DoctorRepair,
    DoctorNewIdentity,
    KeyRotate,
}

const ALL: [Command; 16] = [
    Command::Init,
    Command::Scan,
    Command::ExportToFile,
    Command::ExportToDirectory,
    Command::Import,
    Command::ImportConsume,
    Command::JoinEmptyRoot,
    Command::JoinWithMail,
    Command::Purge,
    Command::TrashRestore,
    Command::Uux,
    Command::JobsRun,
    Command::Invite,
    Command::DoctorRepair,
    Command::DoctorNewIdentity,
    Command::KeyRotate,
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

/// A command, and all just before it.
struct Scene {
    command: Command,
    here: Party,
    there: Party,
    /// Files for the command, and from it.
    out: PathBuf,
    before: (Snapshot, Snapshot),
    held: Vec<String>,
    keep: PathBuf,
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
    fn new(command: Command) -> Self {
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

    fn bundle(&self) -> PathBuf {
        self.out.join("bundle.zst")
    }

    fn prepare(&self) {
        let (here, there) = (&self.here, &self.there);
        let changes =
            ["deliver INBOX epsilon new", "move INBOX alpha Archive", "remove INBOX beta", "mkdir New/folder"];
        match self.command {
            Command::Init | Command::Uux | Command::KeyRotate => {}
            Command::Scan | Command::ExportToFile | Command::ExportToDirectory | Command::Invite => {
                let changes = ["deliver INBOX epsilon new", "flag INBOX beta F", "remove Archive gamma"];
                here.act_all(&changes);
            }
            Command::Import | Command::ImportConsume => {
                there.act_all(&changes);
                here.act("deliver INBOX zeta new");
                there.export(here, &self.bundle());
            }
            Command::JoinEmptyRoot | Command::JoinWithMail => {
                let replica = there.opened();
                let file = File::create(self.bundle()).unwrap();
                replica.invite(&invite("here"), std::io::BufWriter::new(file), |_| Ok(())).unwrap();
            }
            Command::Purge | Command::TrashRestore => {
                there.act_all(&changes);
                there.export(here, &self.bundle());
                here.import(&self.bundle());
                exchange(there, here, &self.bundle());
                here.opened().scan(&ScanOptions::default()).unwrap();
                if self.command == Command::Purge {
                    for place in [self.here.home.state_dir().join("jobs"), self.here.home.state_dir().join("outbox")] {
                        fs::create_dir_all(&place).unwrap();
                        fs::write(place.join(".1234.part"), "left over").unwrap();
                    }
                    self.age();
                }
            }
            Command::JobsRun => {
                let config = here.home.config_file();
                let allow = "\n[[allow]]\ncommand = \"send\"\nexec = [\"send\"]\nfrom = [\"there\"]\n";
                fs::write(&config, fs::read_to_string(&config).unwrap() + allow).unwrap();
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

    fn put_back(&self) -> Watch {
        self.there.put_back(&self.before.0);
        self.here.put_back(&self.before.1);
        Watch::new(&self.keep)
    }

    fn world(disk: Box<dyn Disk>) -> World {
        World { disk, launcher: Box::new(Quick), ..World::real() }
    }

    /// Runs the command. Returns whether anything was told, though it did not fail.
    fn run(&self, disk: Box<dyn Disk>) -> Result<bool> {
        let world = Self::world(disk);
        let options = InitOptions {
            server: None,
            doubts: mailsync::replica::Doubts::Heed,
            mail_root: self.here.mail.clone(),
            name: String::from("here"),
            layout: None,
            lock_timeout: TIMEOUT,
        };
        let mut problems = Vec::new();
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
        let told = self.act(&replica)?;
        replica.hindrance().map_or(Ok(()), Err)?;
        Ok(told | !problems.is_empty() | !replica.drain_notes().is_empty())
    }

    fn act(&self, replica: &Replica) -> Result<bool> {
        let scan = || replica.scan(&ScanOptions::default());
        let to_there = ExportOptions { level: 1, ..ExportOptions::to_peer("there") };
        let mut problems = Vec::new();
        match self.command {
            Command::JoinEmptyRoot | Command::JoinWithMail | Command::Uux => {}
            // What the first scan could not look at is found by the next one.
            Command::Init | Command::Scan => problems = scan()?.problems,
            Command::ExportToFile | Command::ExportToDirectory => {
                problems = scan()?.problems;
                let name = if self.command == Command::ExportToFile { "written.zst" } else { "" };
                replica.export_to_file(&to_there, &self.out.join(name))?;
            }
            Command::Import | Command::ImportConsume => {
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
            Command::Purge => drop(replica.purge()?),
            Command::TrashRestore => {
                let digest = Digest::of(&contents("beta"));
                let mut found = None;
                replica.each_trashed(|trashed| {
                    found = found.or((trashed.id.digest == digest).then_some(trashed.key));
                    Ok(())
                })?;
                // An interrupted command that had decided to restore it was brought to its end by the next one.
                found.map_or(Ok(()), |key| replica.restore(key).map(drop))?;
            }
            Command::JobsRun => {
                replica.run_jobs(|_| {})?;
                // Of a job that may have been run, a person says that it is to be run again.
                let mut interrupted = Vec::new();
                replica.each_job(|job| {
                    if job.state == JobState::Interrupted {
                        interrupted.push(job.id.to_string());
                    }
                    Ok(())
                })?;
                for job in interrupted {
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

    /// Messages in any folder and in the trash, of both.
    fn held_now(&self) -> Vec<String> {
        let mut held = Vec::new();
        for party in [&self.here, &self.there] {
            if party.mail.is_dir() {
                held.extend(party.mailbox().iter().filter_map(|line| line.split(' ').nth(1).map(str::to_owned)));
            }
            if party.home.trash().is_dir() {
                held.extend(party.trash());
            }
        }
        held
    }

    /// How many of the messages that were there are not there any more.
    fn lost(&self) -> usize {
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

    /// Lets time pass, so that what nobody needs any more is swept.
    fn age(&self) {
        let state = self.here.home.state_dir();
        for dir in [self.out.clone(), state.join("jobs"), state.join("outbox")].into_iter().filter(|dir| dir.is_dir()) {
            for item in fs::read_dir(dir).unwrap().map(std::result::Result::unwrap) {
                let file = File::open(item.path()).unwrap();
                file.set_modified(SystemTime::now() - LONG_AGO).unwrap();
            }
        }
    }

    /// All that matters of what there is, as lines.
    fn end(&self) -> Vec<String> {
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
        for party in [&self.here, &self.there] {
            let replica = party.opened();
            let scan = replica.scan(&ScanOptions::default()).unwrap();
            replica.purge().unwrap();
            replica.check_state().unwrap();
            let (state, name) = (replica.state(), &party.name);
            end.push(format!("{name}: {} pending, changes: {}", state.count_pending().unwrap(), scan.has_changes()));
            assert_eq!(state.digest(), state.digest_from_scratch().unwrap(), "{name}");
            for peer in state.peers().unwrap() {
                end.push(format!("{name}: peer {}", peer.name));
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
        for dir in [self.here.home.state_dir(), &self.out] {
            for item in walkdir::WalkDir::new(dir).sort_by_file_name().into_iter().map(std::result::Result::unwrap) {
                let name = item.path().strip_prefix(dir).unwrap().to_string_lossy().into_owned();
                // The output of a job that has run may be lost, and that is told.
                let output = self.command == Command::JobsRun
                    && name.starts_with("jobs/")
                    && Path::new(&name).extension().is_none();
                let half = self.is_a_join() && name.starts_with("trash/");
                if !output && !half && !name.starts_with("state.db-") {
                    files.push(format!("file {}", without_numbers(&name)));
                }
            }
        }
        files.sort();
        if self.command == Command::ExportToDirectory {
            // Each export writes one more.
            files.dedup();
        }
        files
    }

    fn is_a_join(&self) -> bool {
        matches!(self.command, Command::JoinEmptyRoot | Command::JoinWithMail)
    }
}

fn is_complete(party: &Party) -> Result<bool> {
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

fn invite(name: &str) -> InviteOptions {
    InviteOptions {
        name: name.to_owned(),
        key: None,
        days: 30,
        contents: MessageContents::Included,
        level: 1,
        split: None,
        // A file with a code is not replaced: nobody here can tell whether somebody has noted the code.
        secrecy: Some(Secrecy::Plain),
    }
}

fn ask(party: &Party, peer: &str, disk: Box<dyn Disk>) -> Result<()> {
    let replica = Replica::open(&party.home, Scene::world(disk), Access::Read)?;
    replica.uux(peer, &[String::from("send")], &mut &b"some input\n"[..]).map(drop)
}

fn count_jobs(party: &Party) -> Result<usize> {
    let replica = Replica::open(&party.home, World::real(), Access::Read)?;
    let mut count = 0;
    replica.each_job(|_| {
        count += 1;
        Ok(())
    })?;
    Ok(count)
}

/// What goes wrong at a call.
type FaultAt = fn(usize) -> Fault;

/// What goes wrong, by its name.
const FAULTS: [(&str, FaultAt); 7] = [
    ("killed", Fault::Stop),
    ("EIO", |n| Fault::Fail(n, Errno::IO)),
    ("ENOSPC", |n| Fault::Fail(n, Errno::NOSPC)),
    ("EDQUOT", |n| Fault::Fail(n, Errno::DQUOT)),
    ("EACCES", |n| Fault::Fail(n, Errno::ACCESS)),
    ("EMFILE", |n| Fault::Fail(n, Errno::MFILE)),
    ("half a write, then ENOSPC", |n| Fault::Torn(n, Errno::NOSPC)),
];

/// What came of one kind of fault.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    runs: usize,
    /// Runs that did not end as undisturbed, or were not told of.
    wrong: usize,
    /// Messages that were gone at any time.
    lost: usize,
}

/// Runs a command to its end, and then with everything that can go wrong. Returns how many calls it makes.
fn hold(command: Command, all: bool, rows: &Mutex<BTreeMap<usize, Row>>, problems: &Mutex<Vec<String>>) -> usize {
    let scene = Scene::new(command);
    let watch = scene.put_back();
    watch.arm(Fault::Stop(usize::MAX));
    scene.run(watch.disk()).unwrap_or_else(|error| panic!("{command:?}, undisturbed: {error}"));
    let calls = watch.take();
    scene.age();
    scene.run(Box::new(RealDisk)).unwrap_or_else(|error| panic!("{command:?}, twice: {error}"));
    let twice = scene.end();
    // A command that is repeated though it had been done ends as if it had been done once.
    scene.put_back();
    scene.run(Box::new(RealDisk)).unwrap();
    let end = scene.end();
    assert_eq!(twice, end, "{command:?}, twice");
    let step = if all { 1 } else { calls.len().div_ceil(PLACES) };
    let is_write = |n: usize| matches!(calls[n - 1].op, Op::Write | Op::Scratch);
    let some: Vec<usize> = (1..=calls.len()).step_by(step).collect();
    // Writes are few, and all the same.
    let writes = (1..=calls.len()).filter(|&n| is_write(n)).take(if all { usize::MAX } else { 3 });
    let places: BTreeSet<usize> = some.iter().copied().chain(writes).collect();
    for (place, n) in places.into_iter().enumerate() {
        for (at, (name, fault)) in FAULTS.iter().enumerate() {
            let is_chosen = all || (some.contains(&n) && (at == 0 || at == 1 + place % 5));
            if !(if at == 6 { is_write(n) } else { is_chosen }) {
                continue;
            }
            let what = format!("{command:?}, {name} at {n} of {}", calls.len());
            let mut row = Row { runs: 1, ..Row::default() };
            let outcome = caught(|| interrupted(&scene, fault(n), &end, &mut row.lost));
            if let Err(wrong) = outcome.unwrap_or_else(Err) {
                row.wrong = 1;
                problems.lock().unwrap().push(format!("{what}: {wrong}"));
            }
            let mut rows = rows.lock().unwrap();
            let sum = rows.entry(at).or_default();
            (sum.runs, sum.wrong, sum.lost) = (sum.runs + 1, sum.wrong + row.wrong, sum.lost + row.lost);
        }
    }
    calls.len()
}

/// One run with a fault, and one without. Gives what is wrong.
fn interrupted(scene: &Scene, fault: Fault, end: &[String], lost: &mut usize) -> std::result::Result<(), String> {
    let watch = scene.put_back();
    let (result, _) = watch.hinder(fault, &scene.here.home.database(), || (), || scene.run(watch.disk()));
    // A command may make fewer calls than the last time, such as when a directory has come to rest.
    let Some(call) = watch.struck() else { return Ok(()) };
    let Call { op, path, .. } = call;
    let at = format!("{op:?} {}: {result:?}", path.display());
    *lost += scene.lost();
    if *lost > 0 {
        return Err(format!("{at}: {lost} messages are gone; left: {:?}", scene.held_now()));
    }
    // What only concerns a place may be made good at once, or be left alone.
    let is_about_a_place = matches!(fault, Fault::Fail(_, Errno::ACCESS));
    if matches!(result, Ok(false)) && !is_about_a_place {
        let now = scene.end();
        let wrong = matches!(fault, Fault::Stop(_)) || now != *end;
        if wrong {
            return Err(format!("{at}: that was told by nobody: {}", difference(&now, end)));
        }
    }
    scene.age();
    let again = scene.run(Box::new(RealDisk));
    again.map_err(|error: Error| format!("{at}: repeated: {error}"))?;
    *lost += scene.lost();
    let now = scene.end();
    if *lost > 0 || now != *end {
        return Err(format!("{at}: repeated: {lost} messages are gone: {}", difference(&now, end)));
    }
    Ok(())
}

fn difference(now: &[String], end: &[String]) -> String {
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

#[test]
fn a_command_that_was_stopped_or_has_failed_anywhere_is_repeated_and_nothing_is_lost() {
    let which = std::env::var("MAILSYNC_FAULTS").ok();
    let all = which.is_some();
    let named =
        |command: &Command| which.as_ref().is_none_or(|which| which == "all" || *which == format!("{command:?}"));
    let commands: Vec<Command> = ALL.into_iter().filter(named).collect();
    assert!(!commands.is_empty(), "there is no command {which:?}");
    let (rows, problems, next) = (Mutex::default(), Mutex::default(), AtomicUsize::new(0));
    let calls = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(&command) = commands.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match caught(|| hold(command, all, &rows, &problems)) {
                        Ok(made) => {
                            println!("{command:?}: {made} calls");
                            calls.fetch_add(made, Ordering::Relaxed);
                        }
                        Err(wrong) => problems.lock().unwrap().push(wrong),
                    }
                }
            });
        }
    });
    let (rows, problems) = (rows.into_inner().unwrap(), problems.into_inner().unwrap());
    println!("| fault | runs | not as undisturbed | messages lost |\n|---|---|---|---|");
    for (at, Row { runs, wrong, lost }) in &rows {
        println!("| {} | {runs} | {wrong} | {lost} |", FAULTS[*at].0);
    }
    println!("{} commands, {} calls", commands.len(), calls.into_inner());
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
    for (at, row) in rows {
        assert!(row.runs > 20 || FAULTS[at].0.starts_with("half"), "{}: {row:?}", FAULTS[at].0);
    }
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reliability.md");
    let document = fs::read_to_string(document).unwrap();
    for (name, _) in FAULTS {
        let row = document.lines().find(|line| line.starts_with(&format!("| {name} |")));
        assert!(row.is_some_and(|row| row.ends_with("| 0 | 0 |")), "docs/reliability.md should have a row for {name}");
    }
}
