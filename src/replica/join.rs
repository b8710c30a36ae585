//! `join`: makes a new replica from an invitation.
//!
//! Mail that is in the mail root already is matched with the bundle: a message that lies in the folder in which the
//! inviter has it becomes that entry's file, any other one is new. In an empty mail root the messages go straight to
//! their places, since nobody else looks at it yet. The state is written once, at the end. Until then the replica is
//! not complete and does nothing else, and a repeated join begins anew.

use std::fs;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::import::{Application, FromWhom, ImportOptions, Imported, Landing, Origin, ahead_of_clock, no_clock};
use super::init::{check_for_maildirs, check_mail_root, detect, make_key, make_state, write_file};
use super::mail_root::{check_doubts, check_size, probe};
use super::survey::survey;
use super::{Access, ClockAhead, Doubts, Home, Replica, ScanReport, World};
use crate::bundle::{BundleKind, Code, Manifest, PublicKey, ReplicaId, Stream};
use crate::config::{Config, check_name};
use crate::disk::{Disk, is_absent, is_there};
use crate::error::{Error, Result};
use crate::maildir::{Detected, Ignored, LayoutKind, Server};
use crate::model::{Incarnation, WallClock};
use crate::state::{Peer, RootBefore, State};

const AGAIN: &str = "see why, then run this again";

/// Options for a join.
#[derive(Clone, Debug)]
pub struct JoinOptions {
    /// The directory that holds the Maildirs; made if it isn't there.
    pub mail_root: PathBuf,
    /// The replica's name; if not given, the name by which it was invited.
    pub name: Option<String>,
    /// How folders become directories; found out if not given.
    pub layout: Option<LayoutKind>,
    /// Which server is to find the mail laid out as it does itself, where nothing tells otherwise.
    pub server: Option<Server>,
    /// The replica that must have written the invitation.
    pub expect: Option<ReplicaId>,
    /// The code with which the invitation must be encrypted.
    pub code: Option<Code>,
    /// Whether the mail root is taken although it is evidently not the one that is meant.
    pub doubts: Doubts,
    /// Whether it takes stamps from far ahead.
    pub clock_ahead: ClockAhead,
    /// How long to wait for the lock.
    pub lock_timeout: Duration,
}

/// A replica that has joined.
#[derive(Debug)]
pub struct Joined {
    /// The replica.
    pub replica: Replica,
    /// Its inviter, which is its first peer.
    pub inviter: Peer,
    /// The outcomes of the invitation and of the bundles behind it in the stream.
    pub bundles: Vec<Imported>,
    /// The findings in the mail root.
    pub found: ScanReport,
    /// How many of the messages that are new were found with contents that the inviter has in another folder. They are there
    /// twice from now on.
    pub elsewhere: u64,
    /// Whether the invitation was encrypted with the code. Then it is from whoever has told the code.
    pub by_code: bool,
    /// Whether it had joined before, so that this only repeated a complete join.
    pub before: bool,
}

impl Replica {
    /// Makes a replica from an invitation.
    ///
    /// # Errors
    /// The bundle is no invitation, is not from the expected replica, or is corrupt; a replica lives in `home` already;
    /// or the mail root holds files but no Maildir. The files written until then do no harm: the join can be repeated.
    pub fn join(
        home: &Home,
        world: World,
        options: &JoinOptions,
        file: Option<&Path>,
        source: impl BufRead,
    ) -> Result<Joined> {
        home.check_stays(&*world.disk)?;
        let about = file.map_or_else(|| String::from("standard input"), |file| file.display().to_string());
        let origin = Origin::of(file);
        let rejected = |error: &crate::bundle::Error| Self::rejection(error, origin).about(&about);
        let keys = Self::keys_at(home, &world)?.and_code(options.code.clone());
        let mut stream = Stream::opened_by(source, keys);
        let reader = stream.next_bundle().map_err(|error| match error {
            crate::bundle::Error::Sealed => no_key(home).about(&about),
            crate::bundle::Error::Locked => no_code().about(&about),
            error => rejected(&error),
        })?;
        let reader = reader.expect("a stream without any bundle is an error");
        let by_code = reader.is_opened_by_code();
        if options.code.is_some() && !by_code {
            return Err(not_the_one().about(&about));
        }
        let manifest = reader.manifest().clone();
        check_invitation(&*world.disk, home, &manifest, options.expect.as_ref())
            .map_err(|error| error.about(&about))?;
        let key = reader.signer();
        let records = reader.verify(&key).map_err(|error| rejected(&error))?;
        let import_options = ImportOptions { clock_ahead: options.clock_ahead, ..ImportOptions::default() };
        let wall = WallClock((world.now)());
        check_clocks(wall, &manifest, options.clock_ahead).map_err(|error| error.about(&about))?;
        if let Some(inviter) = Self::joined_before(&*world.disk, home, options, &manifest)? {
            let replica = Self::open(home, world, Access::Write(options.lock_timeout))?;
            records.drain_verified().map_err(|error| rejected(&error))?;
            let mut bundles = vec![Imported::of(file, &manifest, &inviter)];
            replica
                .import_all(&mut stream, (file, origin), &about, &import_options, |imported| bundles.push(imported))?;
            replica.note_missing_contents()?;
            return Ok(Joined {
                replica,
                inviter,
                bundles,
                found: ScanReport::default(),
                elsewhere: 0,
                by_code,
                before: true,
            });
        }

        let (replica, landing) = Self::begin_join(home, world, options, &manifest)?;
        if !wall.is_set() {
            replica.note(no_clock(wall));
        }
        let inviter = replica.meet_inviter(&manifest, &key)?;
        let mut first = Imported::of(file, &manifest, &inviter);
        let application = Application {
            options: &import_options,
            from: FromWhom::Peer(&inviter),
            manifest: &manifest,
            knowledge: replica.state.knowledge()?,
            landing,
        };
        let applied = replica
            .apply(&application, records)
            .map_err(|fault| fault.into_error(origin).at(replica.mail_root()).about(&about))?;
        (first.outcome, first.changes) = (applied.outcome, applied.changes);
        replica.mark_mail_root();
        let mut bundles = vec![first];
        replica.import_all(&mut stream, (file, origin), &about, &import_options, |imported| bundles.push(imported))?;
        replica.note_missing_contents()?;
        let elsewhere = match applied.found.new {
            0 => 0,
            _ => replica.state.count_also_elsewhere(replica.state.incarnation()?)?,
        };
        Ok(Joined { replica, inviter, bundles, found: applied.found, elsewhere, by_code, before: false })
    }

    /// The inviter, if this very join is complete already. A person who repeats a killed command can't know whether it
    /// had done everything. If it had, the replica has the mail root and the name that are asked for, knows the
    /// inviter, and has all that the invitation holds.
    fn joined_before(disk: &dyn Disk, home: &Home, options: &JoinOptions, manifest: &Manifest) -> Result<Option<Peer>> {
        if !home.exists(disk)? {
            return Ok(None);
        }
        let state = State::open(&home.database())?;
        let config = Config::read(disk, &home.config_file())?;
        let same_root = match fs::canonicalize(&options.mail_root) {
            Ok(path) => path == config.mail_root,
            Err(error) if is_absent(&error) => false,
            Err(error) => return Err(Error::io("looking at the mail root", &options.mail_root, error).advise(AGAIN)),
        };
        let same_name = config.name == chosen_name(options, manifest);
        if state.joining()?.is_some() || !same_root || !same_name || !state.knowledge()?.includes(&manifest.tip) {
            return Ok(None);
        }
        state.peer_by_id(&manifest.sender.id)
    }

    /// Makes the things that a join needs: key, empty state, configuration. Returns the way in which messages come to
    /// their places.
    fn begin_join(home: &Home, world: World, options: &JoinOptions, manifest: &Manifest) -> Result<(Self, Landing)> {
        let name = chosen_name(options, manifest);
        check_name(&name)?;
        if name == inviter_name(manifest) {
            return Err(Error::usage(format!("joining: {name} is what the inviting machine is called"))
                .advise("give another name for this one with --name"));
        }
        let disk = &*world.disk;
        make_mail_root(disk, &options.mail_root)?;
        let mail_root = check_mail_root(disk, &options.mail_root)?;
        check_size(&mail_root, options.doubts)?;
        let holds_mail = survey(disk, &mail_root, &Ignored::usual())?;
        let detected = detect(&world, &mail_root, options.layout, options.server)?;
        check_doubts(disk, home, &mail_root, &detected, options.layout, options.doubts)?;
        // What an interrupted join has left may be half a Maildir.
        if interrupted_join(disk, home, &mail_root, &name)?.is_none() {
            check_for_maildirs(&mail_root, &detected)?;
        }
        if options.layout.is_none() {
            check_nothing_is_left_out(&detected)?;
        }
        let separator = probe(&world, &mail_root)?;
        home.make(disk, &mail_root)?;
        let lock = home.lock(disk, options.lock_timeout)?;
        // Another join may have ended while this one waited for the lock.
        let repeated = interrupted_join(disk, home, &mail_root, &name)?;
        make_key(disk, home, &name)?;
        let root = repeated.unwrap_or(if holds_mail { RootBefore::Mail } else { RootBefore::Empty });
        make_state(disk, home, Incarnation((world.random)()), Some(root))?;
        if repeated.is_none() {
            let config = Config::new(mail_root, name, detected.layout);
            write_file(disk, &home.config_file(), config.to_text().as_bytes(), 0o600)?;
        }
        drop(lock);
        let replica = Self::open_at_rest(home, world, Access::Write(options.lock_timeout))?;
        replica.recognise_home()?;
        replica.take_mail_root(separator)?;
        if repeated.is_some() {
            replica.sweep_leftovers()?;
        }
        detected.notes.iter().for_each(|note| replica.note(note.clone()));
        // Folders that an interrupted join has made must be scanned, as some of them may have gone since.
        let empty_now = !holds_mail && (repeated.is_none() || detected.folders == 0);
        let landing = match root {
            RootBefore::Empty if empty_now => Landing::InPlace,
            root => Landing::AfterScan(root),
        };
        Ok((replica, landing))
    }

    /// Makes the inviter the first peer. Until the inviter shows to know this replica, bundles for it prove its
    /// invitation.
    fn meet_inviter(&self, manifest: &Manifest, key: &PublicKey) -> Result<Peer> {
        let name = inviter_name(manifest);
        let tx = self.begin()?;
        let mut peer = self.add_peer_within(&tx, name, key)?;
        peer.token = manifest.invitation.as_ref().map(|invitation| invitation.token);
        tx.set_peer_token(peer.key, peer.token)?;
        tx.commit()?;
        Ok(peer)
    }
}

/// What the inviter is called here.
fn inviter_name(manifest: &Manifest) -> &str {
    let name = manifest.sender.name.as_str();
    if check_name(name).is_ok() { name } else { "inviter" }
}

/// The name for the new replica.
fn chosen_name(options: &JoinOptions, manifest: &Manifest) -> String {
    let invited_as = manifest.invitation.as_ref().map(|invitation| invitation.name.clone());
    options.name.clone().or(invited_as).unwrap_or_else(super::host_name)
}

fn check_invitation(disk: &dyn Disk, home: &Home, manifest: &Manifest, expect: Option<&ReplicaId>) -> Result<()> {
    let sender = &manifest.sender;
    if let Some(expected) = expect.filter(|expected| **expected != sender.id) {
        return Err(Error::rejected(format!("the invitation is from {}, and {expected} is expected", sender.id)).advise(
            "make sure where it comes from; compare the id with the one that `mailsync status` shows on the inviting machine",
        ));
    }
    if manifest.kind != BundleKind::Full {
        return Err(Error::rejected("this is a later part of an invitation, or a delta").advise(
            "join with the first part of the invitation that `mailsync invite NAME` wrote on a machine that has the mail, \
             then import the others",
        ));
    }
    let for_this_key = || -> Result<bool> {
        if !is_there(disk, &home.key_file())? {
            return Ok(false);
        }
        let key = super::keyring::read_public(disk, &home.key_file())?;
        Ok(manifest.recipient == Some(key.id()))
    };
    if let (None, Some(recipient)) = (&manifest.invitation, &manifest.recipient)
        && !for_this_key()?
    {
        return Err(Error::rejected(format!(
            "this bundle is for {recipient}, whose key is not {}",
            home.key_file().display()
        ))
        .advise(
            "put that key there, or write an invitation with `mailsync invite NAME` on a machine that has the mail",
        ));
    }
    if manifest.invitation.is_none() && manifest.recipient.is_none() {
        return Err(Error::rejected("this bundle is no invitation")
            .advise("write one with `mailsync invite NAME` on a machine that has the mail"));
    }
    Ok(())
}

/// The invitation is encrypted for a key that isn't here.
fn no_key(home: &Home) -> Error {
    let what = format!("the invitation is encrypted for others, whose key is not {}", home.key_file().display());
    Error::rejected(what).advise(
        "put the key that it was written for there, or write an invitation with `mailsync invite NAME` on a machine that has the mail",
    )
}

/// The invitation is encrypted with a code, and nobody has given it.
fn no_code() -> Error {
    Error::usage("the invitation is encrypted with a code, and there is no terminal to ask for it")
        .advise("give the words that `mailsync invite` has shown, with --code-file FILE or in MAILSYNC_CODE")
}

/// Whoever tells a code has encrypted the invitation with it. So another one was put in its place, perhaps by somebody who
/// wants to be taken for the inviter.
fn not_the_one() -> Error {
    Error::rejected("a code was given, and this invitation is not encrypted with one").advise(
        "don't trust it before you know how it came there; if it is meant to be so, join without --code-file and MAILSYNC_CODE",
    )
}

/// What a replica begins with counts for all that it does later: it doesn't begin in the future.
fn check_clocks(wall: WallClock, manifest: &Manifest, clock_ahead: ClockAhead) -> Result<()> {
    let newest = manifest.tip.newest();
    if clock_ahead == ClockAhead::Refuse && wall.is_behind(newest) {
        return Err(ahead_of_clock(&manifest.sender.name, newest, wall, "join"));
    }
    Ok(())
}

/// Makes the mail root, for its owner only: what is made in it will be like it.
fn make_mail_root(disk: &dyn Disk, path: &Path) -> Result<()> {
    match disk.make_dir(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(Error::io("making the mail root", path, error)
                .advise("make the directory above it first, or correct the name"))
        }
        _ => Ok(()),
    }
}

/// Mail that a layout passes over would be there twice, unless a person has chosen that layout.
fn check_nothing_is_left_out(detected: &Detected) -> Result<()> {
    if detected.left_out == 0 {
        return Ok(());
    }
    let what = format!("joining: {}", detected.notes.join("; "));
    Err(Error::failed(what).advise("say which layout it has with --layout; what that leaves out is not looked at"))
}

/// The contents of the mail root before an interrupted join that is now repeated. `None` if there was no such join.
fn interrupted_join(disk: &dyn Disk, home: &Home, mail_root: &Path, name: &str) -> Result<Option<RootBefore>> {
    if !home.exists(disk)? {
        return Ok(None);
    }
    let Some(before) = State::open(&home.database())?.joining()? else {
        let what = format!("joining: {} is there already, so a replica lives there", home.config_file().display());
        return Err(Error::failed(what).advise(
            "use --home DIR for another one; if the inviter is a peer already, `mailsync import` takes its bundle, and if it \
             is not, use `mailsync peer add` on both sides",
        ));
    };
    let config = Config::read(disk, &home.config_file())?;
    if config.mail_root != mail_root || config.name != name {
        let what = format!(
            "joining: an interrupted join of {} with the name {} is to be finished first",
            config.mail_root.display(),
            config.name
        );
        return Err(Error::failed(what).advise("repeat that one"));
    }
    Ok(Some(before))
}
