//! `init`: makes a replica of a mail root.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::mail_root::{check_doubts, check_size, mark, probe};
use super::{Access, Doubts, Home, Replica, ScanOptions, ScanReport, World};
use crate::bundle::PrivateKey;
use crate::config::{Config, check_name};
use crate::disk::{Disk, is_there, remove_if_there, replace_whole};
use crate::error::{Error, Result};
use crate::maildir::{Detected, Ignored, LayoutKind, Separator, Server, detect_layout, foreign_at};
use crate::model::Incarnation;
use crate::state::{RootBefore, State, beside};

/// Options for a new replica.
#[derive(Clone, Debug)]
pub struct InitOptions {
    /// The directory that holds the Maildirs.
    pub mail_root: PathBuf,
    /// The replica's name.
    pub name: String,
    /// How folders become directories; found out if not given.
    pub layout: Option<LayoutKind>,
    /// Which server is to find the mail laid out as it does itself, where nothing tells otherwise.
    pub server: Option<Server>,
    /// Whether the mail root is taken although it is evidently not the one that is meant.
    pub doubts: Doubts,
    /// How long to wait for the lock.
    pub lock_timeout: Duration,
}

impl Replica {
    /// Makes a replica of a mail root: its key, its configuration and its state, and scans for the first time.
    ///
    /// # Errors
    /// A replica lives in `home` already; the mail root isn't there, or holds files but no Maildir.
    pub fn init(home: &Home, world: World, options: &InitOptions) -> Result<(Self, ScanReport)> {
        check_name(&options.name)?;
        let disk = &*world.disk;
        home.check_stays(disk)?;
        if !is_unfinished(disk, home)? {
            if !home.exists(disk)? {
                let what = format!("making a replica: there is already a state, {}", home.database().display());
                return Err(Error::failed(what).advise(format!(
                    "put its configuration, {}, back from a backup; or move the state away",
                    home.config_file().display()
                )));
            }
            let mut what = format!("making a replica: {} is there already", home.config_file().display());
            // What is wrong with the configuration is told by every other command.
            if let Ok(config) = Config::read(disk, &home.config_file()) {
                what.push_str(", for the mail root ");
                what.push_str(&config.mail_root.to_string_lossy());
            }
            if State::open(&home.database())?.joining()?.is_some() {
                return Err(Error::failed(format!("{what}, from a join that is not complete")).advise(
                    "repeat `mailsync join` with the same bundle, or a newer invitation; or use --home DIR for another \
                     replica",
                ));
            }
            return Err(Error::failed(what)
                .advise("use --home DIR for a second replica on this machine, or `mailsync status` to see this one"));
        }
        let mail_root = check_mail_root(disk, &options.mail_root)?;
        check_size(&mail_root, options.doubts)?;
        let detected = detect(&world, &mail_root, options.layout, options.server)?;
        check_doubts(disk, home, &mail_root, &detected, options.layout, options.doubts)?;
        check_for_maildirs(&mail_root, &detected)?;
        let separator = probe(&world, &mail_root)?;
        home.make(disk, &mail_root)?;
        let lock = home.lock(disk, options.lock_timeout)?;
        let config = Config::new(mail_root, options.name.clone(), detected.layout);
        // A replica that has lost its state keeps its configuration, which belongs to the user.
        let kept = if home.exists(disk)? && !home.has_state(disk)? {
            Some(Config::read(disk, &home.config_file())?)
        } else {
            None
        };
        if let Some(kept) = kept.as_ref().filter(|kept| kept.mail_root != config.mail_root) {
            let what = format!(
                "making a replica: {} is there already, for the mail root {}",
                home.config_file().display(),
                kept.mail_root.display()
            );
            return Err(Error::failed(what).advise("use --home DIR for another replica, or move that file away"));
        }
        make_key(disk, home, &options.name)?;
        make_state(disk, home, Incarnation((world.random)()), None)?;
        if kept.is_none() {
            write_file(disk, &home.config_file(), config.to_text().as_bytes(), 0o600)?;
        }
        drop(lock);
        let replica = Self::open(home, world, Access::Write(options.lock_timeout))?;
        replica.take_mail_root(separator)?;
        for note in detected.notes {
            replica.note(note);
        }
        if detected.empty {
            replica.make_inbox()?;
        }
        if kept.is_some() {
            replica.note(
                "the earlier configuration and key are kept, and peers have to be made known again; mail that was \
                 removed elsewhere meanwhile may come back from here",
            );
        }
        let report = replica.scan(&ScanOptions::default())?;
        replica.mark_mail_root();
        Ok((replica, report))
    }

    /// Marks the mail root as that of this replica.
    pub(super) fn mark_mail_root(&self) {
        let root = self.mail_root();
        let marked = self.like_folder(root).and_then(|like| mark(&*self.world.disk, &self.home, root, &like));
        if let Err(error) = marked {
            self.note(format!(
                "{} could not be marked as this replica's mail root, so another `mailsync init` may take it: {error}",
                self.mail_root().display()
            ));
        }
    }

    /// Records what was found out about the mail root's file system.
    pub(super) fn take_mail_root(&self, separator: Option<Separator>) -> Result<()> {
        let tx = self.begin()?;
        if let Some(separator) = separator {
            tx.set_usual_separator(separator)?;
        }
        tx.commit()
    }

    /// Makes the INBOX, which always exists.
    fn make_inbox(&self) -> Result<()> {
        let dir = self.dir(&crate::model::FolderName::inbox());
        for sub in ["tmp", "new", "cur"] {
            let path = dir.join(sub);
            self.make_dirs(&path).map_err(|error| Error::io("making the directory", &path, error))?;
        }
        Ok(())
    }
}

pub(super) fn check_mail_root(disk: &dyn Disk, path: &Path) -> Result<PathBuf> {
    match disk.metadata(path) {
        Ok(meta) if meta.is_dir => {}
        Ok(_) => {
            let foreign = foreign_at(path);
            let what = foreign.as_ref().map_or("not a directory", |(foreign, _)| foreign.name());
            return Err(Error::failed(format!("the mail root {} is {what}", path.display())).advise(
                foreign.map_or("give the directory that holds your Maildirs", |(foreign, _)| foreign.advice()),
            ));
        }
        Err(error) => {
            return Err(Error::io("looking at the mail root", path, error).advise(
                "give the directory that holds your Maildirs; for a new, empty one, make it first with mkdir; there is no replica, \
                 and no public key was printed",
            ));
        }
    }
    let path = fs::canonicalize(path).map_err(|error| Error::io("looking at the mail root", path, error))?;
    if path.to_str().is_none() {
        let what =
            format!("the mail root {}: the configuration can't hold its path, which is not UTF-8", path.display());
        return Err(Error::failed(what).advise("rename that directory, or the one above it"));
    }
    Ok(path)
}

/// Whether an earlier `init` was interrupted before its first scan was complete, with nothing in the state yet.
fn is_unfinished(disk: &dyn Disk, home: &Home) -> Result<bool> {
    if !home.has_state(disk)? {
        return Ok(true);
    }
    let state = State::open(&home.database())?;
    Ok(state.initial_scan_due()? && state.joining()?.is_none() && state.peers()?.is_empty())
}

/// Finds out what is below the mail root.
pub(super) fn detect(
    world: &World,
    mail_root: &Path,
    wanted: Option<LayoutKind>,
    server: Option<Server>,
) -> Result<Detected> {
    let progress = world.meter.begin("searching for folders", 0);
    detect_layout(mail_root, wanted, server, &Ignored::usual(), &*progress)
}

/// A mail root must be empty, or hold a Maildir.
pub(super) fn check_for_maildirs(mail_root: &Path, detected: &Detected) -> Result<()> {
    if detected.folders == 0 && !detected.empty {
        let (root, usual) = (mail_root.display(), "give the directory that holds your Maildirs, or a new, empty one");
        let (what, advice) = match foreign_at(mail_root) {
            Some((foreign, place)) => (
                format!("the mail root {root} holds no Maildir, and {} is {}", place.display(), foreign.name()),
                foreign.advice(),
            ),
            None => (format!("the mail root {root} holds files, but no Maildir"), usual),
        };
        return Err(Error::failed(what).advise(advice));
    }
    Ok(())
}

/// Makes the replica's key, or as much of it as an interrupted `init` has not made.
pub(super) fn make_key(disk: &dyn Disk, home: &Home, name: &str) -> Result<()> {
    let key = if is_there(disk, &home.key_file())? {
        super::keyring::read_public(disk, &home.key_file())?
    } else {
        let key = PrivateKey::generate(&super::keyring::key_comment(name))
            .map_err(|error| Error::io("making the key", &home.key_file(), &*error.to_string()))?;
        write_file(disk, &home.key_file(), key.to_openssh().as_bytes(), 0o600)?;
        key.public_key()
    };
    if is_there(disk, &home.public_key_file())? {
        return Ok(());
    }
    let public = format!("{}\n", key.to_openssh());
    write_file(disk, &home.public_key_file(), public.as_bytes(), 0o644)
}

/// Makes an empty state. An interrupted `init` or `join` may have left an old one, which goes only when the new one is
/// complete. So there is always a state that says how far the work is.
pub(super) fn make_state(
    disk: &dyn Disk,
    home: &Home,
    incarnation: Incarnation,
    joining: Option<RootBefore>,
) -> Result<()> {
    let path = home.database();
    let named = |suffix: &str| {
        let mut file = path.clone().into_os_string();
        file.push(suffix);
        PathBuf::from(file)
    };
    let again = "check the directory, then run this again";
    let remove = |file: PathBuf| {
        remove_if_there(disk.unlink(&file)).map_err(|error| Error::io("removing", &file, error).advise(again))
    };
    let new = named(".new");
    [".new", ".new-journal", ".new-wal", ".new-shm"].into_iter().try_for_each(|suffix| remove(named(suffix)))?;
    State::create(disk, &new, incarnation, joining)?;
    beside(&path).into_iter().try_for_each(remove)?;
    let renamed = disk.replace(&new, &path).and_then(|()| disk.sync_dir(home.state_dir()));
    renamed.map_err(|error| Error::io("renaming", &new, error).advise(again))
}

/// Writes a file under a temporary name, and gives it its name when it is durable.
pub(super) fn write_file(disk: &dyn Disk, path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    replace_whole(disk, path, bytes, mode)
        .map_err(|error| Error::io("writing", path, error).advise("check the directory, then run this again"))
}
