//! Networks of replicas on real directories, driven through the library, and random histories of what happens to them.
//!
//! A [`Network`] moves bundle files between replicas the way people with memory sticks do: some get lost, some are read
//! twice, most come late. Clocks and random numbers come from the history, and directories get times of their own
//! before each scan, so that a history always ends the same way and no scan has to wait.

mod history;
mod machine;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::BufReader;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use mailsync::bundle::{Code, JobId};
use mailsync::disk::{Disk, RealDisk};
use mailsync::error::Error;
use mailsync::maildir::{Layout, LayoutKind, NameEncoding};
use mailsync::model::{
    Digest, Entry, EntryId, Flag, FlagSet, FolderName, FolderState, JobState, Knowledge, RelayJobs, StateDigest,
};
use mailsync::replica::{
    Access, ClockAhead, Doubts, Existing, ExportOptions, Fullness, ImportOptions, ImportOutcome, InitOptions,
    InviteOptions, JoinOptions, MessageContents, Replica, ScanOptions, ScanReport, Secrecy,
};

use crate::simulation::{Rng, View};
use crate::support::disk::{Fault, Frozen, Watch};
use crate::support::scratch;
use history::FOLDERS;
pub use history::{History, Op, Setup, Step};
use machine::{Machine, Mail, TIMEOUT};

/// Whether replicas are restored from backups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restores {
    /// Never: steps that would do so do nothing.
    Never,
    /// Whenever a step says so.
    Noticed,
}

/// How often things happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub applied: usize,
    pub waited: usize,
    pub scans_killed: usize,
    pub exports_killed: usize,
    pub imports_killed: usize,
    pub restored: usize,
    pub purged: u64,
    pub invited: usize,
    /// Invitations that were encrypted with a code.
    pub by_code: usize,
    /// Bundles that were encrypted for their recipient.
    pub encrypted: usize,
    pub wanted: usize,
    pub gone: usize,
    pub late: usize,
    pub parted: usize,
    pub jobs_done: usize,
    pub jobs_cancelled: usize,
    pub jobs_interrupted: usize,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.applied += other.applied;
        self.waited += other.waited;
        self.scans_killed += other.scans_killed;
        self.exports_killed += other.exports_killed;
        self.imports_killed += other.imports_killed;
        self.restored += other.restored;
        self.purged += other.purged;
        self.invited += other.invited;
        self.by_code += other.by_code;
        self.encrypted += other.encrypted;
        self.wanted += other.wanted;
        self.gone += other.gone;
        self.late += other.late;
        self.parted += other.parted;
        self.jobs_done += other.jobs_done;
        self.jobs_cancelled += other.jobs_cancelled;
        self.jobs_interrupted += other.jobs_interrupted;
    }
}

/// How a history ended: the same each time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    pub tally: Tally,
    pub digest: StateDigest,
    pub knowledge: Knowledge,
}

/// A bundle under way, and every message that it may hold.
#[derive(Clone)]
struct Letter {
    from: usize,
    to: usize,
    file: PathBuf,
    may_hold: Rc<BTreeSet<Digest>>,
}

/// What is to change no more when all is quiet.
type Standing = (Knowledge, Knowledge, StateDigest, u64, Vec<(String, Option<Knowledge>)>);

type Result<T> = std::result::Result<T, String>;

/// A command that is killed. Whatever it does after that to its state isn't done: it didn't live to do it.
struct Kill {
    database: PathBuf,
    frozen: Arc<Mutex<Option<Frozen>>>,
}

impl Kill {
    /// Whether it came so far.
    fn struck(&self, watch: &Watch) -> bool {
        let is_frozen = self.frozen.lock().unwrap().is_some();
        assert_eq!(is_frozen, watch.struck().is_some());
        is_frozen
    }

    fn end(self, replica: Replica) {
        drop(replica);
        self.frozen.lock().unwrap().take().expect("it was killed").put_back(&self.database);
    }
}

/// Replicas that exchange bundles.
pub struct Network {
    dir: tempfile::TempDir,
    setup: Setup,
    machines: Vec<Machine>,
    /// With whom each exchanges bundles, or will once that one has begun.
    neighbours: Vec<BTreeSet<usize>>,
    /// Who has forgotten which neighbour.
    parted: BTreeSet<(usize, usize)>,
    restores: Restores,
    now: u64,
    ticks: u64,
    files: u64,
    under_way: Vec<Letter>,
    /// The join of every state that any entry and any folder ever had anywhere.
    everything: (BTreeMap<EntryId, Entry>, BTreeMap<FolderName, FolderState>),
    delivered: BTreeSet<Digest>,
    /// Messages of which a person removed a copy, or that a restored machine may have been the only one to have.
    removed: BTreeSet<Digest>,
    /// Removed messages, and contents to deliver again.
    contents: BTreeMap<Digest, Vec<u8>>,
    /// Messages that are nowhere any more.
    gone: BTreeSet<Digest>,
    /// What was asked for: by whom, of whom.
    jobs: Vec<(JobId, usize, usize)>,
    tally: Tally,
}

impl Network {
    /// Replicas that have nothing but the mail of before, and know their neighbours.
    fn new(setup: &Setup, restores: Restores) -> Result<Self> {
        let count = setup.replicas.len();
        let mut neighbours = vec![BTreeSet::new(); count];
        for &(a, b) in setup.edges.iter().filter(|(a, b)| a != b) {
            neighbours[a].insert(b);
            neighbours[b].insert(a);
        }
        let mut network = Self {
            dir: scratch(),
            setup: setup.clone(),
            machines: Vec::new(),
            neighbours,
            parted: BTreeSet::new(),
            restores,
            now: 1_800_000_000_000,
            ticks: 0,
            files: 0,
            under_way: Vec::new(),
            everything: Default::default(),
            delivered: BTreeSet::new(),
            removed: BTreeSet::new(),
            contents: BTreeMap::new(),
            gone: BTreeSet::new(),
            jobs: Vec::new(),
            tally: Tally::default(),
        };
        for _ in setup.late..count {
            network.begin()?;
        }
        Ok(network)
    }

    /// The next replica begins, if there is one left.
    fn begin(&mut self) -> Result<()> {
        let (setup, at) = (self.setup.clone(), self.machines.len());
        let Some(beginning) = setup.replicas.get(at) else { return Ok(()) };
        self.tally.late += usize::from(at + setup.late >= setup.replicas.len());
        let seed = Rng::new(setup.seed ^ at as u64).number();
        let mut machine = Machine::new(self.dir.path(), format!("r{at}"), beginning.skew, seed);
        let kind = if beginning.maildir_plus_plus { LayoutKind::MaildirPlusPlus } else { LayoutKind::Fs };
        let inbox_at_root = kind == LayoutKind::MaildirPlusPlus;
        machine.set_layout(Layout { kind, encoding: NameEncoding::Utf8, inbox_at_root });
        self.machines.push(machine);
        if !beginning.mail.is_empty() {
            self.machines[at].make_folder(&FolderName::inbox());
        }
        for &(message, folder) in &beginning.mail {
            self.deliver(at, message, &name_of(folder), &FlagSet::new(), false);
        }
        self.machines[at].settle(&mut self.ticks);
        let (home, mail_root) = (self.machines[at].home.clone(), self.machines[at].mail_root());
        let (name, layout) = (self.machines[at].name.clone(), Some(kind));
        let world = self.machines[at].world(self.now, Box::new(RealDisk));
        let known: Vec<_> = self.neighbours[at].range(..at).copied().collect();
        let inviter = known.first().copied().filter(|_| beginning.invited);
        let replica = if let Some(inviter) = inviter {
            let file = self.dir.path().join(format!("invitation of {name}"));
            let contents = if beginning.with_messages { MessageContents::Included } else { MessageContents::LeftOut };
            let invite = InviteOptions {
                name: name.clone(),
                key: None,
                days: 14,
                contents,
                level: 1,
                split: None,
                secrecy: seed.is_multiple_of(2).then_some(Secrecy::Plain),
                existing: Existing::Stays,
            };
            let opened = self.open(inviter)?;
            let mut code = None;
            let show = |drawn: &Code| {
                code = Some(drawn.clone());
                Ok(())
            };
            opened.invite_to_file(&invite, &file, show).map_err(|error| error.to_string())?;
            self.tally.by_code += usize::from(code.is_some());
            let clock_ahead = ClockAhead::Refuse;
            let join = JoinOptions {
                mail_root,
                name: None,
                layout,
                server: None,
                expect: None,
                code,
                doubts: Doubts::Heed,
                clock_ahead,
                lock_timeout: TIMEOUT,
            };
            let source = BufReader::new(File::open(&file).unwrap());
            let joined = Replica::join(&home, world, &join, Some(&file), source);
            self.tally.invited += 1;
            joined.map_err(|error| format!("{name} can't join: {error}"))?.replica
        } else {
            let options = InitOptions {
                mail_root,
                name: name.clone(),
                layout,
                server: None,
                doubts: Doubts::Heed,
                lock_timeout: TIMEOUT,
            };
            Replica::init(&home, world, &options).map_err(|error| error.to_string())?.0
        };
        for other in (0..at).filter(|&other| Some(other) != inviter) {
            let opened = self.open(other)?;
            let (this, that) = (replica.public_key(), opened.public_key());
            let other_name = &self.machines[other].name;
            let made_known = if known.contains(&other) {
                opened.add_peer(&name, &this).and_then(|_| replica.add_peer(other_name, &that))
            } else {
                opened.add_distant_peer(&name, &this).and_then(|_| replica.add_distant_peer(other_name, &that))
            };
            made_known.map_err(|error| error.to_string())?;
        }
        self.record(&replica);
        drop(replica);
        self.machines[at].touched = false;
        let requesters: Vec<String> = (0..setup.replicas.len()).map(|at| format!("r{at}")).collect();
        // One that was invited and has not answered isn't known to its inviter, which would not pass on its jobs
        // otherwise.
        let strangers = setup.replicas.iter().any(|replica| replica.invited);
        let relay = if strangers { RelayJobs::Any } else { RelayJobs::Peers };
        self.machines[at].begun(at.is_multiple_of(2), relay, &requesters);
        Ok(())
    }

    /// Lets a whole history happen, has everything exchanged, and says what is wrong in the end.
    pub fn run(history: &History, restores: Restores) -> Result<End> {
        let mut network = Self::new(&history.setup, restores)?;
        for (number, step) in history.steps.iter().enumerate() {
            network.step(step).map_err(|wrong| format!("at step {number}, {step:?}: {wrong}"))?;
            if number % 20 == 19 {
                network.note_what_is_gone();
            }
        }
        while network.machines.len() < history.setup.replicas.len() {
            network.begin()?;
        }
        while !network.parted.is_empty() {
            network.come_back(0)?;
        }
        network.quieten()?;
        let end = network.check_that_all_hold_the_same()?;
        network.check_that_nothing_is_lost_or_comes_back(&end)?;
        network.check_jobs()?;
        network.check_that_purges_are_not_seen(&end)?;
        let replica = network.machines[0].peek();
        let knowledge = replica.state().knowledge().map_err(|error| error.to_string())?;
        Ok(End { tally: network.tally, digest: replica.state().digest(), knowledge })
    }

    fn step(&mut self, step: &Step) -> Result<()> {
        self.now += step.after;
        let at = step.at % self.machines.len();
        match step.op {
            Op::Deliver { message, folder, flags, recent } => {
                self.deliver(at, message, &name_of(folder), &flags_of(flags), recent);
            }
            Op::Redeliver { removed, folder } => {
                if let Some(digest) = choose(self.removed.iter(), removed) {
                    self.put(at, &name_of(folder), &self.contents[&digest].clone(), &flags_of("S"), false);
                }
            }
            Op::Copy { file, folder } => {
                if let Some(mail) = self.choose_mail(at, file) {
                    let bytes = fs::read(&mail.path).unwrap();
                    let recent = mail.flags.contains(&Flag::Recent);
                    self.put(at, &name_of(folder), &bytes, &without_recent(&mail), recent);
                }
            }
            Op::Flag { file, flag } => {
                if let Some(mail) = self.choose_mail(at, file) {
                    let (mut flags, flag) = (without_recent(&mail), flag.parse().unwrap());
                    if !flags.remove(&flag) {
                        flags.insert(flag);
                    }
                    self.rename(at, &mail, &mail.folder, Some(flags));
                }
            }
            Op::See { folder } => {
                let folder = name_of(folder);
                let mail = self.machines[at].mail();
                for mail in mail.iter().filter(|mail| mail.folder == folder && mail.flags.contains(&Flag::Recent)) {
                    self.rename(at, mail, &folder, Some(without_recent(mail)));
                }
            }
            Op::Move { file, folder } => {
                if let Some(mail) = self.choose_mail(at, file) {
                    self.machines[at].make_folder(&name_of(folder));
                    self.rename(at, &mail, &name_of(folder), None);
                }
            }
            Op::Remove { file } => {
                if let Some(mail) = self.choose_mail(at, file) {
                    fs::remove_file(&mail.path).unwrap();
                    self.removed.insert(mail.digest);
                    self.machines[at].touched = true;
                }
            }
            Op::MakeFolder { folder } => {
                self.machines[at].make_folder(&name_of(folder));
                self.machines[at].touched = true;
            }
            Op::RenameFolder { folder, to } => {
                let (from, to) = (name_of(folder), ["A", "B", "B/C", "D"][to % 4].parse().unwrap());
                let (from_dir, to_dir) = (self.machines[at].dir(&from), self.machines[at].dir(&to));
                if !from.is_inbox()
                    && from_dir.join("cur").is_dir()
                    && !to_dir.exists()
                    && !to_dir.starts_with(&from_dir)
                {
                    fs::create_dir_all(to_dir.parent().unwrap()).unwrap();
                    fs::rename(from_dir, to_dir).unwrap();
                    self.machines[at].touched = true;
                }
            }
            Op::RemoveFolder { folder } => self.remove_folder(at, &name_of(folder)),
            Op::Scan { killed_at: None } => drop(self.scanned(at)?),
            Op::Scan { killed_at: Some(call) } => self.scan_and_be_killed(at, call)?,
            Op::Ask { of } => self.ask(at, of)?,
            Op::Cancel { job } => {
                if let Some((id, requester, _)) = choose(self.jobs.iter(), job) {
                    // What was started can't be taken back, and who was restored may not know of it any more.
                    let _ = self.open(requester)?.cancel_job(&id.to_string());
                }
            }
            Op::Purge => {
                let purged =
                    self.open(at)?.purge(mailsync::replica::Doubts::Overrule).map_err(|error| error.to_string())?;
                self.tally.purged += purged.tombstones;
            }
            Op::Export { neighbour, since_last, killed_at } => {
                if let Some(to) = choose(self.neighbours_of(at).iter(), neighbour) {
                    let letter = self.export(at, to, since_last, killed_at)?;
                    self.under_way.extend(letter);
                }
            }
            Op::Carry { bundle, arrives, stays, killed_at } => {
                if !self.under_way.is_empty() {
                    let which = bundle % self.under_way.len();
                    let letter = self.under_way[which].clone();
                    if !stays {
                        self.under_way.remove(which);
                    }
                    if arrives {
                        self.import(&letter, killed_at)?;
                    }
                }
            }
            Op::Meet { neighbour } => {
                if let Some(to) = choose(self.neighbours_of(at).iter(), neighbour) {
                    for (from, to) in [(at, to), (to, at)] {
                        if !self.neighbours[from].contains(&to) {
                            continue;
                        }
                        let letter = self.export(from, to, false, None)?.expect("nobody kills it");
                        self.import(&letter, None)?;
                    }
                }
            }
            Op::Begin => self.begin()?,
            Op::Part { neighbour, both } => self.part(at, neighbour, both)?,
            Op::ComeBack { which } => self.come_back(which)?,
            Op::Save => {
                // One who was invited and has not answered would be forgotten, and would have to be made known by key.
                let nobody_is_invited = self.machines[at].peek().state().invitations().unwrap().is_empty();
                if self.restores != Restores::Never && nobody_is_invited {
                    self.machines[at].save();
                }
            }
            Op::Restore => {
                if self.machines[at].backup.is_some() {
                    self.restore(at)?;
                }
            }
        }
        Ok(())
    }

    /// The neighbours of a replica that have begun.
    fn neighbours_of(&self, at: usize) -> BTreeSet<usize> {
        self.neighbours[at].iter().copied().filter(|&other| other < self.machines.len()).collect()
    }

    /// A replica forgets a neighbour, and perhaps that one forgets it; by way of others they stay known to each other.
    /// One that was invited and has not answered is not known yet.
    fn part(&mut self, at: usize, neighbour: usize, both: bool) -> Result<()> {
        let Some(other) = choose(self.neighbours_of(at).iter(), neighbour) else { return Ok(()) };
        let known = |me: usize, peer: usize| {
            let name = &self.machines[peer].name;
            self.machines[me].peek().state().peer_by_name(name).unwrap().is_some_and(|peer| !peer.distant)
        };
        if !known(at, other) || !known(other, at) {
            return Ok(());
        }
        self.tally.parted += 1;
        for (me, peer) in [(at, other), (other, at)].into_iter().take(if both { 2 } else { 1 }) {
            let (name, key) = (&self.machines[peer].name, self.machines[peer].peek().public_key());
            let opened = self.open(me)?;
            let forgotten = opened.remove_peer(name).and_then(|_| opened.add_distant_peer(name, &key));
            forgotten.map_err(|error| format!("replica {me} forgets replica {peer}: {error}"))?;
            self.neighbours[me].remove(&peer);
            self.parted.insert((me, peer));
        }
        Ok(())
    }

    /// A replica makes one known again that it has forgotten.
    fn come_back(&mut self, which: usize) -> Result<()> {
        let Some((me, peer)) = choose(self.parted.iter(), which) else { return Ok(()) };
        let (name, key) = (&self.machines[peer].name, self.machines[peer].peek().public_key());
        // A restored replica may never have forgotten it, or may have forgotten more of it than that.
        let opened = self.open(me)?;
        let known = opened.peers().unwrap().iter().any(|known| known.name == *name && !known.distant);
        if !known {
            opened.add_peer(name, &key).map_err(|error| format!("replica {me} meets replica {peer} again: {error}"))?;
        }
        self.neighbours[me].insert(peer);
        self.parted.remove(&(me, peer));
        Ok(())
    }

    /// Asks a replica to run something. One that was invited and has not answered can't be asked.
    fn ask(&mut self, at: usize, of: usize) -> Result<()> {
        let of = of % self.machines.len();
        if of == at || !self.machines[at].peek().state().invitations().unwrap().is_empty() {
            return Ok(());
        }
        let world = self.machines[at].world(self.now, Box::new(RealDisk));
        let replica = Replica::open(&self.machines[at].home, world, Access::Read).map_err(|error| error.to_string())?;
        let input = format!("input {}\n", self.jobs.len());
        let id = replica.uux(&self.machines[of].name, &[String::from("job")], &mut input.as_bytes());
        let id = id.map_err(|error| format!("replica {at} asks replica {of}: {error}"))?;
        self.jobs.push((id, at, of));
        Ok(())
    }

    /// No job was started twice; and without restored machines every one has come to an end that both sides know.
    fn check_jobs(&mut self) -> Result<()> {
        let mut started: BTreeMap<String, usize> = BTreeMap::new();
        for machine in &self.machines {
            for job in machine.started.lock().unwrap().iter() {
                *started.entry(job.clone()).or_default() += 1;
            }
        }
        if let Some((job, times)) = started.iter().find(|(_, times)| **times > 1) {
            return Err(format!("job {job} was started {times} times"));
        }
        for (id, requester, target) in &self.jobs {
            let ends = [*requester, *target].map(|at| {
                let found = self.machines[at].peek().state().job_by_id(id).unwrap();
                found.map(|job| job.state)
            });
            let times = started.get(&id.to_string()).copied().unwrap_or(0);
            match ends {
                [Some(JobState::Done), Some(JobState::Done)] if times == 1 => self.tally.jobs_done += 1,
                [Some(JobState::Cancelled), Some(JobState::Cancelled)] if times == 0 => self.tally.jobs_cancelled += 1,
                _ if self.tally.restored > 0 => {
                    self.tally.jobs_interrupted += usize::from(ends.contains(&Some(JobState::Interrupted)));
                }
                _ => {
                    return Err(format!(
                        "job {id} of replica {requester} for {target} ends as {ends:?}, started {times} times"
                    ));
                }
            }
        }
        Ok(())
    }

    fn deliver(&mut self, at: usize, message: usize, folder: &FolderName, flags: &FlagSet, recent: bool) {
        let contents = format!("Subject: {message}\n\nThis is message {message}.\n").into_bytes();
        self.put(at, folder, &contents, flags, recent);
    }

    fn put(&mut self, at: usize, folder: &FolderName, contents: &[u8], flags: &FlagSet, recent: bool) {
        self.files += 1;
        self.machines[at].put(folder, self.files, contents, flags, recent);
        let digest = Digest::of(contents);
        self.delivered.insert(digest);
        self.gone.remove(&digest);
        self.contents.insert(digest, contents.to_vec());
        self.machines[at].touched = true;
    }

    /// Moves a file to a folder; where it gets flags, to its `cur/`.
    fn rename(&mut self, at: usize, mail: &Mail, folder: &FolderName, flags: Option<FlagSet>) {
        let name = mail.path.file_name().unwrap().to_str().unwrap();
        let dir = self.machines[at].dir(folder);
        // As Dovecot does, in any case with the letters of that folder.
        let with = |flags: &FlagSet| {
            format!("{}:2,{}", name.split(":2,").next().unwrap(), self.machines[at].letters(folder, flags))
        };
        let to = if let Some(flags) = flags {
            dir.join("cur").join(with(&flags))
        } else {
            let name = if name.contains(":2,") { with(&without_recent(mail)) } else { name.to_owned() };
            dir.join(mail.path.parent().unwrap().file_name().unwrap()).join(name)
        };
        if !to.exists() {
            fs::rename(&mail.path, to).unwrap();
            self.machines[at].touched = true;
        }
    }

    fn remove_folder(&mut self, at: usize, folder: &FolderName) {
        let dir = self.machines[at].dir(folder);
        if folder.is_inbox() || !dir.join("cur").is_dir() {
            return;
        }
        let inside = self.machines[at].mail().into_iter().filter(|mail| mail.folder == *folder);
        self.removed.extend(inside.map(|mail| mail.digest));
        for sub in ["cur", "new", "tmp"] {
            fs::remove_dir_all(dir.join(sub)).unwrap();
        }
        for file in ["maildirfolder", "dovecot-keywords"] {
            let _ = fs::remove_file(dir.join(file));
        }
        // Other folders may lie in it.
        let _ = fs::remove_dir(&dir);
        self.machines[at].touched = true;
    }

    fn choose_mail(&self, at: usize, which: usize) -> Option<Mail> {
        choose(self.machines[at].mail().iter(), which)
    }

    fn open(&self, at: usize) -> Result<Replica> {
        self.open_on(at, Box::new(RealDisk))
    }

    fn open_on(&self, at: usize, disk: Box<dyn Disk>) -> Result<Replica> {
        let opened = self.machines[at].open(self.now, disk);
        opened.map_err(|error| format!("replica {at} can't be opened: {error}"))
    }

    /// A disk that is watched when a command is to be killed.
    fn watched(&self, killed_at: Option<usize>) -> (Watch, Box<dyn Disk>) {
        let watch = Watch::new(&self.dir.path().join("kept"));
        let disk = if killed_at.is_some() { watch.disk() } else { Box::new(RealDisk) };
        (watch, disk)
    }

    /// Opens the replica and scans.
    fn scanned(&mut self, at: usize) -> Result<Replica> {
        self.scanned_on(at, Box::new(RealDisk))
    }

    fn scanned_on(&mut self, at: usize, disk: Box<dyn Disk>) -> Result<Replica> {
        let replica = self.open_on(at, disk)?;
        self.machines[at].settle(&mut self.ticks);
        let report = replica.scan(&ScanOptions::default()).map_err(|error| format!("replica {at} scans: {error}"))?;
        self.check_scan(at, &replica, &report)?;
        Ok(replica)
    }

    /// A command of a replica is to be killed at this file operation, counted from now on.
    fn kill(&self, at: usize, watch: &Watch, call: Option<usize>) -> Kill {
        let kill = Kill { database: self.machines[at].home.database(), frozen: Arc::default() };
        if let Some(call) = call {
            let (database, frozen) = (kill.database.clone(), Arc::clone(&kill.frozen));
            watch.at_stop(move || *frozen.lock().unwrap() = Some(Frozen::of(&database)));
            watch.arm(Fault::Stop(call));
        }
        kill
    }

    /// Records what the state of a replica holds whose command was killed.
    fn record_what_is_left(&mut self, at: usize) {
        let replica = self.machines[at].peek();
        self.record(&replica);
    }

    /// A scan is killed at this file operation, if it comes that far.
    fn scan_and_be_killed(&mut self, at: usize, call: usize) -> Result<()> {
        let (watch, disk) = self.watched(Some(call));
        let replica = self.open_on(at, disk)?;
        self.machines[at].settle(&mut self.ticks);
        let kill = self.kill(at, &watch, Some(call));
        let result = replica.scan(&ScanOptions::default());
        if !kill.struck(&watch) {
            let report = result.map_err(|error| format!("replica {at} scans: {error}"))?;
            return self.check_scan(at, &replica, &report);
        }
        self.tally.scans_killed += 1;
        // It may have recorded what it found before, and then the next scan finds nothing.
        kill.end(replica);
        self.record_what_is_left(at);
        Ok(())
    }

    /// A scan finds what the person did, and nothing else.
    fn check_scan(&mut self, at: usize, replica: &Replica, report: &ScanReport) -> Result<()> {
        if let Some(problem) = report.problems.first() {
            return Err(format!("replica {at} scans: {problem}"));
        }
        let by_person = ScanReport { adopted: 0, ..report.clone() };
        if by_person.has_changes() {
            if !self.machines[at].touched {
                return Err(format!("nobody changed anything at replica {at}, whose scan finds {report:?}"));
            }
            self.record(replica);
        }
        self.machines[at].touched = false;
        Ok(())
    }

    /// Joins what the replica's state holds into everything.
    fn record(&mut self, replica: &Replica) {
        replica.check_entries().unwrap();
        let entries = &mut self.everything.0;
        let add = |row: mailsync::state::EntryRow| {
            let merged = entries.get(&row.id).map_or_else(|| row.entry.clone(), |before| before.merge(&row.entry));
            entries.insert(row.id, merged);
            Ok(())
        };
        replica.state().each_entry(add).unwrap();
        for row in replica.state().all_folders() {
            if let Some(state) = row.state {
                let merged = self.everything.1.get(&row.name).map_or(state, |before| before.merge(state));
                self.everything.1.insert(row.name.clone(), merged);
            }
        }
    }

    /// Writes a bundle. `None` if the command was killed before there was one.
    fn export(&mut self, from: usize, to: usize, since_last: bool, killed_at: Option<usize>) -> Result<Option<Letter>> {
        let (watch, disk) = self.watched(killed_at);
        let replica = self.scanned_on(from, disk)?;
        self.files += 1;
        let file = self.dir.path().join(format!("{}.zst", self.files));
        let fullness = if since_last { Fullness::SinceLast } else { Fullness::SinceShown };
        // Nobody who was invited and has not answered could open anything else.
        let fail = |error: Error| format!("replica {from} looks for its peers: {error}");
        let is_known = replica.peers().map_err(fail)?.iter().any(|peer| peer.name == self.machines[to].name);
        let secrecy = (!is_known).then_some(Secrecy::Plain);
        let options = ExportOptions { fullness, level: 1, secrecy, ..ExportOptions::to_peer(&self.machines[to].name) };
        let kill = self.kill(from, &watch, killed_at);
        let exported = replica.export_to_file(&options, &file);
        if kill.struck(&watch) {
            self.tally.exports_killed += 1;
            kill.end(replica);
            if !file.exists() {
                return Ok(None);
            }
        } else {
            let exported = exported.map_err(|error| format!("replica {from} exports for replica {to}: {error}"))?;
            let encrypted = exported.iter().filter(|(_, one)| one.readable.is_encrypted()).count();
            assert_eq!(encrypted, if is_known { exported.len() } else { 0 });
            self.tally.encrypted += encrypted;
        }
        let may_hold = Rc::new(self.machines[from].mail().into_iter().map(|mail| mail.digest).collect());
        Ok(Some(Letter { from, to, file, may_hold }))
    }

    fn import(&mut self, letter: &Letter, killed_at: Option<usize>) -> Result<()> {
        let at = letter.to;
        // Bundles of somebody who was forgotten are refused.
        if !self.neighbours[at].contains(&letter.from) {
            return Ok(());
        }
        let fail = |error: Error| format!("replica {at} imports {}: {error}", letter.file.display());
        let (watch, disk) = self.watched(killed_at);
        let replica = self.open_on(at, disk)?;
        self.machines[at].settle(&mut self.ticks);
        let options = ImportOptions::default();
        let report = replica.scan_before_import(&options).map_err(fail)?;
        self.check_scan(at, &replica, &report)?;
        let kill = self.kill(at, &watch, killed_at);
        let mut all = Vec::new();
        let result = replica.import_file(&letter.file, &options, |imported| all.push(imported));
        if kill.struck(&watch) {
            self.tally.imports_killed += 1;
            kill.end(replica);
            self.record_what_is_left(at);
            return Ok(());
        }
        // An import writes, too: it delivers anew what others have forgotten.
        self.record(&replica);
        result.map_err(fail)?;
        for imported in all {
            match imported.outcome {
                ImportOutcome::Applied => self.tally.applied += 1,
                ImportOutcome::NothingNew => {}
                ImportOutcome::NotYet(_) => self.tally.waited += 1,
                ImportOutcome::Rejected(error)
                | ImportOutcome::RolledBack(error)
                | ImportOutcome::Refused(error)
                | ImportOutcome::ForSomeoneElse(error)
                | ImportOutcome::Incomplete(error) => {
                    return Err(fail(error));
                }
            }
        }
        let ran = replica.run_jobs(|_| {});
        if kill.struck(&watch) {
            self.tally.imports_killed += 1;
            kill.end(replica);
            return Ok(());
        }
        ran.map_err(fail)?;
        let state = replica.state();
        self.tally.wanted += state.missing_digests(100).map_err(fail)?.len();
        match state.peers().map_err(fail)?.iter().find(|peer| peer.suspect) {
            Some(peer) => Err(format!("replica {at} and {} know the same and hold different mail", peer.name)),
            None => Ok(()),
        }
    }

    fn restore(&mut self, at: usize) -> Result<()> {
        self.tally.restored += 1;
        // What only this machine had may be gone with its disk.
        let here = self.machines[at].mail().into_iter().map(|mail| mail.digest);
        let mut only_here: BTreeSet<_> = here.collect();
        for other in (0..self.machines.len()).filter(|&other| other != at) {
            for mail in self.machines[other].mail() {
                only_here.remove(&mail.digest);
            }
        }
        self.removed.extend(only_here);
        self.machines[at].restore();
        self.remember_neighbours(at)
    }

    /// A restored machine has the neighbours that it had then. Whom it doesn't know at all it is told of.
    fn remember_neighbours(&mut self, at: usize) -> Result<()> {
        let known = self.machines[at].peek().state().peers().map_err(|error| error.to_string())?;
        let invited = self.machines[at].peek().state().invitations().map_err(|error| error.to_string())?;
        for other in (0..self.machines.len()).filter(|&other| other != at) {
            let name = self.machines[other].name.clone();
            let peer = known.iter().find(|peer| peer.name == name);
            let is_invited = invited.iter().any(|invited| invited.name == name);
            if peer.is_none() && !is_invited {
                let key = self.machines[other].peek().public_key();
                self.open(at)?.add_distant_peer(&name, &key).map_err(|error| error.to_string())?;
            }
            let is_near = is_invited || peer.is_some_and(|peer| !peer.distant);
            if is_near {
                self.neighbours[at].insert(other);
                self.parted.remove(&(at, other));
            } else if self.neighbours[at].remove(&other) {
                self.parted.insert((at, other));
            }
        }
        Ok(())
    }

    /// A message that is on no machine, in no backup and under way nowhere will not come back by itself.
    fn note_what_is_gone(&mut self) {
        let mut somewhere: BTreeSet<Digest> = self.machines.iter().flat_map(Machine::holds).collect();
        somewhere.extend(self.under_way.iter().flat_map(|letter| letter.may_hold.iter()));
        self.gone.extend(self.delivered.difference(&somewhere));
        self.tally.gone = self.gone.len();
    }

    /// Everybody sends bundles to all neighbours and everything arrives, until nothing changes any more.
    fn quieten(&mut self) -> Result<()> {
        let mut before = self.standings();
        // A bundle crosses a network of n replicas in n rounds; removals that were purged on the way take some more.
        for _ in 0..6 * self.machines.len() {
            self.exchange()?;
            let now = self.standings();
            if now == before {
                return Ok(());
            }
            before = now;
        }
        Err("bundles still change something after many rounds".to_owned())
    }

    fn standings(&self) -> Vec<Standing> {
        let standing = |machine: &Machine| {
            let replica = machine.peek();
            let state = replica.state();
            let shown = |peer: mailsync::state::Peer| (peer.name, peer.standing.shown);
            (
                state.knowledge().unwrap(),
                state.horizon().unwrap(),
                state.digest(),
                state.count_pending().unwrap(),
                state.peers().unwrap().into_iter().map(shown).collect(),
            )
        };
        self.machines.iter().map(standing).collect()
    }

    fn exchange(&mut self) -> Result<()> {
        for from in 0..self.machines.len() {
            for to in self.neighbours_of(from) {
                self.now += 1;
                let letter = self.export(from, to, false, None)?.expect("nobody kills it");
                self.import(&letter, None)?;
                fs::remove_file(letter.file).unwrap();
            }
        }
        Ok(())
    }

    fn check_that_all_hold_the_same(&self) -> Result<View> {
        let first = self.machines[0].view();
        let knowledge = self.machines[0].peek().state().knowledge().unwrap();
        let held: BTreeSet<Digest> = self.machines.iter().flat_map(Machine::has).collect();
        for machine in &self.machines {
            let (name, view) = (&machine.name, machine.view());
            if view != first {
                return Err(format!("what {name} and r0 hold differs:{}", view.differences(&first)));
            }
            let replica = machine.peek();
            let state = replica.state();
            if state.knowledge().unwrap() != knowledge {
                return Err(format!("{name} doesn't know what r0 knows"));
            }
            // What only a restored machine had is lost, if others know of it already: nobody can send it.
            let wants = state.missing_digests(100).unwrap();
            let lost = |digest: &Digest| self.tally.restored > 0 && !held.contains(digest);
            let missing = view.entries.keys().filter(|id| wants.contains(&id.digest)).count() as u64;
            if !wants.iter().all(lost) || state.count_pending().unwrap() > missing {
                let pending: Vec<_> = state.pending_batch(None, 10).unwrap();
                let discards: Vec<_> = state.discard_batch(0, 10).unwrap();
                return Err(format!("{name} wants {wants:?} and has to do {pending:?}, {discards:?}"));
            }
            let there = view.entries.iter().filter(|(id, _)| !wants.contains(&id.digest));
            let mut expected: Vec<_> = there.map(|(id, entry)| (id.digest, entry.0.clone(), entry.1.clone())).collect();
            let mail = machine.mail().into_iter();
            let mut found: Vec<_> = mail.map(|mail| (mail.digest, mail.folder, mail.flags)).collect();
            expected.sort();
            found.sort();
            if found != expected {
                return Err(format!("on the disk of {name} is {found:?} instead of {expected:?}"));
            }
            if machine.folders() != view.folders {
                return Err(format!("on the disk of {name} are {:?} instead of {:?}", machine.folders(), view.folders));
            }
            if !machine.leftovers().is_empty() {
                return Err(format!("{name} has left {:?}", machine.leftovers()));
            }
            let broken = state.integrity().unwrap();
            if !broken.is_empty() {
                return Err(format!("the state of {name} is broken: {broken:?}"));
            }
        }
        Ok(first)
    }

    fn check_that_nothing_is_lost_or_comes_back(&self, end: &View) -> Result<()> {
        let held: BTreeSet<_> = end.entries.keys().map(|id| id.digest).collect();
        if let Some(lost) = self.delivered.difference(&self.removed).find(|digest| !held.contains(digest)) {
            return Err(format!("nobody removed {lost}, and it is gone"));
        }
        if let Some(back) = self.gone.intersection(&held).next() {
            return Err(format!("{back} was removed everywhere, and is back"));
        }
        // With a restored replica, changes that nobody else had are rightly forgotten.
        if self.tally.restored == 0 {
            let mut expected = View::default();
            for (id, entry) in self.everything.0.iter().filter(|(_, entry)| entry.alive()) {
                expected.folders.insert(entry.location.1.clone());
                let flags = entry.flags_on().cloned().collect();
                expected.entries.insert(id.clone(), (entry.location.1.clone(), flags, entry.mtime));
            }
            let present = self.everything.1.iter().filter(|(_, folder)| folder.present);
            expected.folders.extend(present.map(|(name, _)| name.clone()));
            if *end != expected {
                return Err(format!("what all hold differs from what was done:{}", end.differences(&expected)));
            }
        }
        Ok(())
    }

    fn check_that_purges_are_not_seen(&mut self, end: &View) -> Result<()> {
        // The trash has been kept for long enough then.
        self.now += 40 * 24 * 60 * 60 * 1000;
        for _ in 0..3 {
            for at in 0..self.machines.len() {
                self.open(at)?.purge(mailsync::replica::Doubts::Overrule).map_err(|error| error.to_string())?;
            }
            self.exchange()?;
        }
        if self.check_that_all_hold_the_same()? != *end {
            return Err(String::from("purges changed what all hold"));
        }
        for machine in &self.machines {
            let purged =
                machine.open(self.now, Box::new(RealDisk)).unwrap().purge(mailsync::replica::Doubts::Overrule).unwrap();
            let trash = fs::read_dir(machine.home.trash()).map_or(0, Iterator::count);
            let jobs = machine.peek().state().job_batch(None, 1).unwrap().len();
            if self.tally.restored == 0 && jobs > 0 {
                return Err(format!("{} can't forget its jobs", machine.name));
            }
            if purged.tombstones_kept > 0 || trash > 0 {
                let kept = purged.tombstones_kept;
                return Err(format!(
                    "{} can't forget {kept} removals and has {trash} files in the trash",
                    machine.name
                ));
            }
        }
        Ok(())
    }
}

fn choose<'a, T: Clone + 'a>(among: impl Iterator<Item = &'a T>, which: usize) -> Option<T> {
    let among: Vec<_> = among.collect();
    (!among.is_empty()).then(|| among[which % among.len()].clone())
}

fn name_of(folder: usize) -> FolderName {
    FOLDERS[folder % FOLDERS.len()].parse().expect("a folder name")
}

fn flags_of(texts: &str) -> FlagSet {
    texts.split_whitespace().map(|flag| flag.parse().expect("a flag")).collect()
}

fn without_recent(mail: &Mail) -> FlagSet {
    mail.flags.iter().filter(|flag| **flag != Flag::Recent).cloned().collect()
}
