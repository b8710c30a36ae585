//! A replica: one mail root on one machine, and the verbs that work on it.
//!
//! This layer decides about disk and state together: when a change made here gets a stamp, and when a change from
//! elsewhere becomes a file. The model knows what registers mean, the format knows what a bundle looks like, and the
//! state knows how everything is stored.

mod authors;
mod by_message_id;
mod call;
mod changes;
mod costs;
mod disk_names;
mod doctor;
mod errands;
mod export;
mod glance;
mod happenings;
mod home;
mod hooks;
mod identity;
mod import;
mod init;
mod jobs;
mod join;
mod keep;
mod keyring;
mod keys;
mod leave;
mod likeness;
mod mail_root;
mod materialise;
mod news;
mod peers;
mod private;
mod purge;
mod replicas;
mod restore;
mod room;
mod root;
mod rotate;
mod safety;
mod scan;
mod status;
mod successions;
mod survey;
mod tally;
mod transaction;
mod trash;
mod undo;
mod world;

use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use authors::Names;
pub use call::{CallOptions, Called};
pub use changes::Mark;
pub use doctor::{Mending, MendingKind, NewIdentity, RepairOptions, Repaired};
pub use errands::{Care, Carrier, Errand, Outlook};
pub use export::{
    CodeShown, Existing, ExportOptions, Exported, Fullness, InviteOptions, MessageContents, Patient, ReadableBy,
    Secrecy, To, Unread,
};
pub use glance::{Choice, Glance};
pub use happenings::{HistoryOptions, Origins};
pub use home::Home;
pub use hooks::Hook;
pub use import::{
    Arrived, Changes, Foreseen, ImportOptions, ImportOutcome, Imported, Lying, Origin, Reception, Refusal, Sender,
    is_called_a_bundle, link_passed_over,
};
pub use init::InitOptions;
pub use jobs::{JobReportBody, JobResult, JobRun, JobStanding};
pub use join::{JoinOptions, Joined};
pub use keep::Kept;
pub use keys::Passphrase;
pub use leave::{LeaveOptions, LeavePlan, Left as LeftBehind, Losing, TrashFate};
pub use mail_root::Doubts;
pub use news::{BundleNews, Telling};
pub use purge::Purged;
pub use replicas::{Reinstated, RevocationHeard, RevokeOptions, RevokedHere, ShutOut, ShutOuts, SinceFrom};
pub use restore::{RestoreOptions, Restored, RestoredItem};
pub use root::MoveOptions;
pub use rotate::Rotated;
pub use safety::{ClockAhead, DryRun, MassAdd, MassDelete};
pub use scan::{Depth, DiskLook, FolderLook, ScanOptions, ScanReport, Selection};
pub use status::{AlarmStatus, InvitedStatus, JobCounts, PassedOverStatus, PeerStatus, Status, Unseen, WaitingBundle};
pub use trash::{BroughtBack, TrashItem, TrashOptions, TrashSelection};
pub use undo::{FlagBack, Left, UndoItem, UndoOptions, Undone};
pub use world::{Ask, Nobody, World, host_name};

pub use crate::state::{
    Action, By, Event, EventKind, FolderEvents, Invited, ListedNews, MessageEvent, Occasion, Peer, Totals, TrashKey,
    Trashed,
};

use crate::bundle::{Code, Keys, PrivateKey, PublicKey, ReplicaId};
use crate::config::Config;
use crate::disk::{Denied, has_name};
use crate::error::{Error, Result};
use crate::maildir::{Ignored, Layout};
use crate::model::{FolderName, WallClock};
use crate::state::{FolderRow, State};
use crate::text::without_numbers;
use keyring::{KeyRing, Passphrases};

/// How long to wait for the lock after others were let work on the replica: the result must be recorded.
const PATIENCE: Duration = Duration::from_secs(60 * 60);

/// A replica, opened by one command.
#[derive(Debug)]
pub struct Replica {
    home: Home,
    config: Config,
    layout: Layout,
    ignored: Ignored,
    keys: Arc<KeyRing>,
    /// What was given to open bundles for this one command.
    code: Option<Code>,
    state: State,
    world: Arc<World>,
    notes: std::cell::RefCell<Vec<String>>,
    /// The ids of revoked replicas of which this command has told the person, each with one who has said so.
    told_of: std::cell::RefCell<HashSet<(ReplicaId, ReplicaId)>>,
    lock: std::cell::RefCell<Option<File>>,
    hindrance: std::cell::RefCell<Option<(Error, u64)>>,
    problems: std::cell::RefCell<Problems>,
    tally: std::cell::RefCell<tally::Tally>,
    /// Whether contents were missing when a bundle of this command was applied.
    lacking: std::cell::Cell<bool>,
    denied: Denied,
    /// Folders and directories of which this command has found out that they are called so on disk.
    verified: std::cell::RefCell<HashSet<(FolderName, PathBuf)>>,
    /// Directories, relative to the mail root, whose names its file system has refused.
    refused: std::cell::RefCell<HashSet<PathBuf>>,
    /// The folder whose directory was last asked for, and what the layout calls that.
    last_dir: std::cell::RefCell<Option<(FolderName, PathBuf)>>,
}

/// What could not be looked at, though everything else was done.
#[derive(Debug, Default)]
struct Problems {
    /// The first ones.
    told: Vec<Error>,
    /// How many there are besides.
    more: u64,
}

impl Problems {
    /// At most so many are told one by one.
    const TOLD: usize = 20;
}

/// Whether a command changes the replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It only reads, and waits for nobody.
    Read,
    /// It changes things. It waits this long for the lock, and finishes the work of an interrupted command.
    Write(Duration),
}

impl Access {
    fn opens(self, database: &Path) -> Result<State> {
        if self == Self::Read { State::open_to_read(database) } else { State::open(database) }
    }
}

impl Replica {
    /// Opens the replica that lives in `home`.
    ///
    /// # Errors
    /// There is no replica, or another command keeps the lock for longer than this one waits.
    pub fn open(home: &Home, world: World, access: Access) -> Result<Self> {
        let replica = Self::open_undecided(home, world, access)?;
        if let Access::Write(_) = access {
            replica.note_undecided()?;
        }
        Ok(replica)
    }

    /// Opens the replica for a decision about another one. What is undecided is noted afterwards, by
    /// [`Replica::note_undecided`]: nobody is asked for what he is just about to do.
    ///
    /// # Errors
    /// As for [`Replica::open`].
    pub fn open_undecided(home: &Home, world: World, access: Access) -> Result<Self> {
        let replica = Self::open_complete(home, world, access)?;
        if let Access::Write(_) = access {
            replica.check_root_is_known()?;
            replica.recognise_home()?;
            replica.roll_on()?;
            replica.absorb_outbox()?;
            replica.settle_left_jobs()?;
        } else {
            // Whoever only looks is told what a command that changes something would be refused for.
            for error in [replica.check_key(), replica.check_root_is_known()].into_iter().filter_map(Result::err) {
                replica.note(error.to_string());
            }
        }
        Ok(replica)
    }

    /// Opens the replica to take another mail root, with what an interrupted command has left to do: nothing is done
    /// there before it is sure that it is the right one. It waits so long for its lock.
    ///
    /// # Errors
    /// As for [`Replica::open`].
    pub fn open_moved(home: &Home, world: World, lock_timeout: Duration) -> Result<Self> {
        let replica = Self::open_complete(home, world, Access::Write(lock_timeout))?;
        replica.recognise_home()?;
        Ok(replica)
    }

    /// Opens the replica to repair it, and waits so long for its lock. Nothing is stamped by that: what is known may
    /// have no stamp above it.
    ///
    /// # Errors
    /// As for [`Replica::open`].
    pub fn open_to_repair(home: &Home, world: World, lock_timeout: Duration) -> Result<Self> {
        let replica = Self::open_complete(home, world, Access::Write(lock_timeout))?;
        replica.check_root_is_known()?;
        replica.roll_on()?;
        Ok(replica)
    }

    /// Opens the replica, whatever state it is in, to make it one no more, and waits so long for its lock.
    ///
    /// # Errors
    /// As for [`Replica::open`].
    pub fn open_to_leave(home: &Home, world: World, lock_timeout: Duration) -> Result<Self> {
        Self::open_at_rest(home, world, Access::Write(lock_timeout))
    }

    fn open_complete(home: &Home, world: World, access: Access) -> Result<Self> {
        let replica = Self::open_at_rest(home, world, access)?;
        if replica.state.joining()?.is_some() {
            let what =
                format!("opening {}: the join that made this replica is not complete", home.config_file().display());
            return Err(
                Error::failed(what).advise("repeat `mailsync join` with the same bundle, or a newer invitation")
            );
        }
        Ok(replica)
    }

    fn open_at_rest(home: &Home, world: World, access: Access) -> Result<Self> {
        let disk = &*world.disk;
        home.check_lived_in(disk)?;
        home.check_private(disk)?;
        let lock = match access {
            Access::Read => None,
            Access::Write(timeout) => Some(home.lock(disk, timeout)?),
        };
        // It may have gone while this one waited.
        home.check_lived_in(disk)?;
        let config = Config::read(disk, &home.config_file())?;
        let mut mended = home.open_beside_database(disk)?;
        let state = access.opens(&home.database())?;
        let keys = Arc::new(KeyRing::read(disk, home, passphrases(Some(&config), &world), state.own_id()?.as_ref())?);
        if lock.is_some() {
            mended.extend(home.mend_modes(disk, &config.mail_root)?);
        }
        let replica = Self {
            notes: std::cell::RefCell::new(mended),
            lock: std::cell::RefCell::new(lock),
            ..Self::of(home.clone(), config, keys, state, Arc::new(world))
        };
        if let Access::Write(_) = access {
            replica.prepare_hooks()?;
            replica.settle_keys()?;
        }
        Ok(replica)
    }

    /// The same replica once more, for another thread that only reads.
    fn beside(&self) -> Result<Self> {
        let (home, config, world) = (self.home.clone(), self.config.clone(), Arc::clone(&self.world));
        let state = State::open(&home.database())?;
        Ok(Self { code: self.code.clone(), ..Self::of(home, config, Arc::clone(&self.keys), state, world) })
    }

    /// A replica that has told and found out nothing yet, and holds no lock.
    fn of(home: Home, config: Config, keys: Arc<KeyRing>, state: State, world: Arc<World>) -> Self {
        let (layout, ignored) = (config.layout(), config.ignored());
        Self {
            home,
            config,
            layout,
            ignored,
            keys,
            code: None,
            state,
            world,
            notes: std::cell::RefCell::default(),
            told_of: std::cell::RefCell::default(),
            lock: std::cell::RefCell::default(),
            hindrance: std::cell::RefCell::default(),
            problems: std::cell::RefCell::default(),
            tally: std::cell::RefCell::default(),
            lacking: std::cell::Cell::new(false),
            denied: Denied::default(),
            verified: std::cell::RefCell::default(),
            refused: std::cell::RefCell::default(),
            last_dir: std::cell::RefCell::default(),
        }
    }

    /// Finishes the work on disk that an interrupted command has left.
    fn roll_on(&self) -> Result<()> {
        let leftovers = self.state.leftovers()?;
        let unfinished = |row: &FolderRow| row.state.is_some_and(|state| state.present != row.on_disk);
        if self.state.count_pending()? > 0 || self.state.all_folders().iter().any(|row| unfinished(row)) {
            self.materialise()?;
        }
        self.empty_restored()?;
        if leftovers { self.sweep_leftovers() } else { Ok(()) }
    }

    /// Lets other commands work on the replica while `work` is done.
    ///
    /// # Errors
    /// One of them keeps the lock for an hour.
    fn while_others_work<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        let held = self.lock.take().is_some();
        let before = self.home.database_identity()?;
        let done = work();
        if held {
            let disk = &*self.world.disk;
            self.lock.replace(Some(self.home.lock(disk, PATIENCE)?));
            self.home.check_lived_in(disk)?;
            if self.home.database_identity()? != before {
                let what = format!("going on with {}: another state is there by now", self.home.database().display());
                return Err(Error::failed(what).advise("run this again"));
            }
            // What they have changed is seen from here on.
            self.begin()?.commit()?;
            self.roll_on()?;
            if self.tally.borrow().has_begun() {
                let tx = self.begin()?;
                self.tally.borrow_mut().recount(&tx)?;
                tx.commit()?;
            }
        }
        Ok(done)
    }

    /// Does this to see what comes of it: what it changes in the state is seen by it alone, and is undone at the end.
    /// Several dry runs in one rehearsal each see what the earlier ones would have done.
    pub fn rehearse<T>(&self, act: impl FnOnce() -> Result<T>) -> Result<T> {
        let _undone_at_the_end = self.state.rehearse()?;
        act()
    }

    /// Notes something that the person should know, although nothing failed.
    fn note(&self, text: impl Into<String>) {
        let (text, mut notes) = (without_numbers(&text.into()), self.notes.borrow_mut());
        // Several bundles may give the same note. It is kept once.
        if !notes.contains(&text) {
            notes.push(text);
        }
    }

    /// Notes that something could not be looked at. Everything else is done; but the command has failed.
    fn complain(&self, problem: Error) {
        let mut problems = self.problems.borrow_mut();
        if problems.told.len() < Problems::TOLD {
            problems.told.push(problem);
        } else {
            problems.more += 1;
        }
    }

    /// Gives what could not be looked at since the last call, though everything else was done.
    pub fn drain_problems(&self) -> Vec<Error> {
        let Problems { mut told, more } = self.problems.take();
        if more > 0 {
            told.push(Error::failed(format!("and {more} more like these")));
        }
        told
    }

    /// Gives the notes that were made since the last call: things that the person should know.
    pub fn drain_notes(&self) -> Vec<String> {
        self.note_denied();
        self.note_left_locked();
        self.notes.take()
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The replica's public key, with a comment for people: in the file of a locked key, that is locked, too.
    pub fn public_key(&self) -> PublicKey {
        let key = self.keys.public_key();
        if key.has_comment() { key } else { key.commented(&keyring::key_comment(&self.config.name)) }
    }

    /// The replica's former public keys: what was encrypted for them can be read here.
    pub fn former_keys(&self) -> Vec<PublicKey> {
        self.keys.former().collect()
    }

    /// Whether a passphrase is needed for the replica's key.
    pub fn has_passphrase(&self) -> bool {
        self.keys.is_locked()
    }

    /// What opens bundles that are encrypted for this replica. A passphrase is asked for when there is one.
    pub fn keys(&self) -> Keys {
        keyring::keys(&self.keys).and_code(self.code.clone())
    }

    /// The replica's private key.
    ///
    /// # Errors
    /// It has a passphrase, which can't be had.
    fn key(&self) -> Result<&PrivateKey> {
        self.keys.key()
    }

    /// The same replica, which opens also what is encrypted with this code, as a part of an invitation is. It is not kept.
    #[must_use]
    pub fn with_code(self, code: Option<Code>) -> Self {
        Self { code, ..self }
    }

    /// The same for a replica that may not be there yet: only its key may have been made.
    ///
    /// # Errors
    /// The key can't be read.
    pub fn keys_at(home: &Home, world: &World) -> Result<Keys> {
        let disk = &*world.disk;
        if !has_name(disk, &home.key_file())? {
            return Ok(Keys::none());
        }
        let there = home.exists(disk)?;
        let config = there.then(|| Config::read(disk, &home.config_file())).transpose()?;
        home.open_beside_database(disk)?;
        let id = if home.has_state(disk)? { State::open(&home.database())?.own_id()? } else { None };
        let ring = KeyRing::read(disk, home, passphrases(config.as_ref(), world), id.as_ref())?;
        Ok(keyring::keys(&Arc::new(ring)))
    }

    /// The state, for the tests to look into. A program uses the verbs.
    #[doc(hidden)]
    pub fn state(&self) -> &State {
        &self.state
    }

    fn mail_root(&self) -> &Path {
        &self.config.mail_root
    }

    fn now(&self) -> u64 {
        (self.world.now)()
    }

    /// The machine's clock.
    fn wall_clock(&self) -> WallClock {
        WallClock(self.now())
    }

    /// Checks that the mail root is there: an unmounted disk is not a wish to remove everything.
    fn check_mail_root(&self) -> Result<()> {
        let advice = "mount the disk that holds it, or correct mail_root in the configuration";
        match self.world.disk.metadata(self.mail_root()) {
            Ok(meta) if meta.is_dir => Ok(()),
            Ok(_) => {
                let what = format!("the mail root {} is not a directory", self.mail_root().display());
                Err(Error::refused(what).advise(advice))
            }
            Err(error) => {
                let what = format!("looking at the mail root {}: {error}", self.mail_root().display());
                Err(Error::refused(what).advise(advice))
            }
        }
    }
}

/// Where a passphrase comes from.
fn passphrases(config: Option<&Config>, world: &World) -> Passphrases {
    Passphrases { command: config.and_then(|config| config.passphrase_command.clone()), ask: Arc::clone(&world.ask) }
}
