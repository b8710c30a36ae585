//! Directories through which machines exchange bundles: a stick, or a folder that Syncthing or NFS keeps for several.
//!
//! Others write and remove files there at the same time, and programs that copy leave half of one. So what is not there any
//! more is no error, what ends early may be whole the next time, and nothing is removed that somebody may still need.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Replica;
use super::import::{Cut, ImportOptions, Imported, Outcome, reading};
use super::safety::DryRun;
use crate::bundle::{self, Manifest, ReplicaId, each_manifest};
use crate::disk::remove_if_there;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Incarnation, Knowledge};
use crate::text::plural;

/// What a directory holds, as this replica sees it.
#[derive(Debug, Default)]
struct Found {
    /// Files that may hold something for this replica, by the sender and the number of the first bundle of that kind.
    here: BTreeSet<(ReplicaId, u64, PathBuf)>,
    /// Files of this replica's own.
    own: Vec<PathBuf>,
    /// How many files are for others only, its own included.
    elsewhere: usize,
    /// Whether some of them hold bundles for anyone by replicas that are not known here: a directory can serve machines that are
    /// no neighbours.
    strange: bool,
    /// How many files can't be read, or not yet.
    unreadable: usize,
    /// Why the first file that can't even be opened can't be; the others are read all the same.
    failed: Option<Error>,
}

/// Whom the bundles in a file are from, and whom they are for.
#[derive(Debug, Default)]
struct Look {
    here: Option<(ReplicaId, u64)>,
    own: bool,
    /// For anyone, by a replica that is not known here, or an invitation for somebody else.
    strange: bool,
    /// One that was made with this replica's key, and that it can't have made itself as far as it remembers.
    twin: bool,
    /// How many bundles were looked at.
    bundles: usize,
    /// What is wrong behind them.
    wrong: Option<bundle::Error>,
}

/// The last bundle of this replica's own that each of its readers can apply as it is.
struct StandIn {
    incarnation: Incarnation,
    number: u64,
    tip: Knowledge,
}

/// What those have shown whom a bundle is for.
struct Readers {
    shown: Vec<Knowledge>,
    /// Whether any of them asks for contents that it hasn't got.
    wanting: bool,
}

impl Replica {
    /// Imports every bundle in a directory that is for this replica, in an order that works. Bundles of this replica and
    /// for others are left alone, and so is one that ends early: it is still being copied. With
    /// [`consume`](ImportOptions::consume), this replica's own bundles that nobody needs any more are removed, too.
    ///
    /// # Errors
    /// The directory can't be listed; failures of this machine, and refusals for safety. What is wrong with a bundle is
    /// told by its outcome.
    pub fn import_directory(&self, dir: &Path, options: &ImportOptions, mut each: impl FnMut(Imported)) -> Result<()> {
        let found = self.look_through(dir, &mut each)?;
        if found.here.is_empty() && found.unreadable == 0 {
            let mut others = match found.elsewhere {
                0 => String::new(),
                1 => String::from("; 1 file there is for others"),
                n => format!("; {n} files there are for others"),
            };
            if found.strange {
                others += ", or by replicas that are not known here";
            }
            self.note(format!("{} holds no bundle for this replica{others}", dir.display()));
        }
        let mut waiting: Vec<PathBuf> = found.here.into_iter().map(|(_, _, path)| path).collect();
        // A file that waits is read again, and tells again what became of the other bundles in it.
        let mut told = BTreeSet::new();
        let mut failed = found.failed;
        loop {
            let mut still_waiting = Vec::new();
            let mut progress = false;
            for path in waiting {
                // Whoever else it was for may have consumed it by now.
                let Some(file) = open_if_there(&path)? else { continue };
                let mut not_yet = Vec::new();
                let result = self.import_opened(&file, &path, options, Cut::LeftForLater, |imported| {
                    progress |= matches!(imported.outcome, Outcome::Applied);
                    match imported.outcome {
                        Outcome::NotYet(_) => not_yet.push(imported),
                        Outcome::ForSomeoneElse(_) => {}
                        _ => {
                            if told.insert((path.clone(), imported.from.clone(), imported.number)) {
                                each(imported);
                            }
                        }
                    }
                });
                match result {
                    // What one sender did wrong doesn't keep the others' bundles from being applied.
                    Err(error) if error.kind() == ErrorKind::Refused => {
                        failed.get_or_insert(error);
                    }
                    result => result?,
                }
                if !not_yet.is_empty() {
                    still_waiting.push((path, not_yet));
                }
            }
            if still_waiting.is_empty() || !progress {
                still_waiting.into_iter().flat_map(|(_, not_yet)| not_yet).for_each(&mut each);
                break;
            }
            waiting = still_waiting.into_iter().map(|(path, _)| path).collect();
        }
        match failed {
            Some(error) => Err(error),
            None if options.consume && options.run == DryRun::No => self.remove_unneeded(&found.own),
            None => Ok(()),
        }
    }

    /// Looks at the manifests in every file of a directory that is called a bundle, and tells of those that can't be read.
    fn look_through(&self, dir: &Path, each: &mut impl FnMut(Imported)) -> Result<Found> {
        let fail =
            |error: io::Error| Error::io("listing", dir, error).advise("check that it can be read, then import again");
        let mut paths = Vec::new();
        for item in std::fs::read_dir(dir).map_err(fail)? {
            let path = item.map_err(fail)?.path();
            if is_called_a_bundle(&path) && path.is_file() {
                paths.push(path);
            }
        }
        paths.sort();
        let knowledge = self.state.knowledge()?;
        let mut found = Found::default();
        let mut twin = None;
        for path in paths {
            let look = match open_if_there(&path) {
                Ok(Some(file)) => self.look_at(&file, &knowledge).map_err(|error| error.about(path.display())),
                Ok(None) => continue,
                Err(error) => Err(error),
            };
            let look = match look {
                Ok(Some(look)) => look,
                Ok(None) => continue,
                Err(error) => {
                    found.unreadable += 1;
                    found.failed.get_or_insert(error);
                    continue;
                }
            };
            match look {
                Look { here: Some((sender, number)), .. } => {
                    found.here.insert((sender, number, path));
                }
                Look { bundles: 0, wrong: Some(error), .. } => {
                    found.unreadable += 1;
                    each(Imported::unreadable(&path, &error, Cut::LeftForLater));
                }
                // What is wrong with a file that begins for somebody else is theirs to find.
                look => {
                    found.elsewhere += 1;
                    found.strange |= look.strange;
                    if look.twin {
                        twin.get_or_insert_with(|| path.clone());
                    }
                    if look.own {
                        found.own.push(path);
                    }
                }
            }
        }
        if let Some(path) = twin {
            self.note(super::import::made_by_a_twin().about(path.display()).to_string());
        }
        Ok(found)
    }

    /// Looks at the manifests in a file, up to the first one that is for this replica. `None` if it is gone.
    fn look_at(&self, file: &File, knowledge: &Knowledge) -> Result<Option<Look>> {
        let (me, incarnation) = (self.public_key().id(), self.state.incarnation()?);
        let mut look = Look::default();
        let result = each_manifest(file, |manifest| {
            look.bundles += 1;
            let sender = &manifest.sender;
            if sender.id == me {
                look.own = true;
                look.twin |= sender.incarnation != incarnation && !knowledge.includes(&manifest.tip);
            } else if manifest.recipient.is_none() && !self.may_be_for_here(manifest) {
                look.strange = true;
            } else if manifest.recipient.is_none_or(|recipient| recipient == me) {
                look.here = Some((sender.id, manifest.number));
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        match result {
            Err(bundle::Error::Io(error)) if is_gone(&error) => return Ok(None),
            Err(error @ bundle::Error::Io(_)) => return Err(reading(&error)),
            result => look.wrong = result.err(),
        }
        Ok(Some(look))
    }

    /// Whether a bundle for anyone is by somebody who is known here, or proves an invitation.
    fn may_be_for_here(&self, manifest: &Manifest) -> bool {
        let known = self.state.peer_by_id(&manifest.sender.id);
        // What can't be told here is told when it is imported.
        manifest.invitation.is_none() && (manifest.proof.is_some() || known.map_or(true, |peer| peer.is_some()))
    }

    /// Imports the bundles in a file.
    ///
    /// # Errors
    /// The file can't be opened; failures of this machine, and refusals for safety. What is wrong with a bundle is told by
    /// its outcome.
    pub fn import_file(&self, path: &Path, options: &ImportOptions, each: impl FnMut(Imported)) -> Result<()> {
        let file =
            File::open(path).map_err(|error| Error::io("opening the bundle", path, error).advise("check its name"))?;
        self.import_opened(&file, path, options, Cut::Rejected, each)
    }

    fn import_opened(
        &self,
        file: &File,
        path: &Path,
        options: &ImportOptions,
        cut: Cut,
        mut each: impl FnMut(Imported),
    ) -> Result<()> {
        let before = identity(file.metadata());
        let mut taken = true;
        self.import_from(file, path, options, cut, |imported| {
            taken &= imported.outcome.error().is_none() && imported.for_me_alone;
            each(imported);
        })?;
        // A newer bundle may have taken its name meanwhile, or come behind it in the same file.
        let same = before.is_some() && before == identity(std::fs::metadata(path));
        if options.consume && options.run == DryRun::No && taken && same {
            remove(path)?;
        }
        Ok(())
    }

    /// Removes those of these files of this replica's own that nobody needs any more, since a later one among them stands in
    /// for them: it holds what they hold, and everybody whom it is for can apply it. The last one always stays: that its
    /// readers have what it holds doesn't tell that they know that this replica has it, too.
    fn remove_unneeded(&self, own: &[PathBuf]) -> Result<()> {
        let mut stand_ins: BTreeMap<Option<ReplicaId>, StandIn> = BTreeMap::new();
        for path in own {
            self.each_own(path, |manifest, readers| {
                let applicable = readers.shown.iter().all(|shown| shown.includes(&manifest.base));
                let best = stand_ins.get(&manifest.recipient).is_none_or(|best| best.number < manifest.number);
                if applicable && best && manifest.sender.incarnation == self.state.incarnation()? {
                    let stand_in = StandIn {
                        incarnation: manifest.sender.incarnation,
                        number: manifest.number,
                        tip: manifest.tip.clone(),
                    };
                    stand_ins.insert(manifest.recipient, stand_in);
                }
                Ok(true)
            })?;
        }
        let mut removed = 0;
        for path in own {
            let unneeded = self.each_own(path, |manifest, readers| {
                let later = stand_ins.get(&manifest.recipient).is_some_and(|later| {
                    later.incarnation == manifest.sender.incarnation
                        && later.number > manifest.number
                        && later.tip.includes(&manifest.tip)
                });
                // Whoever has the entries of a bundle that was split may still need the contents out of its other parts.
                Ok(later && !readers.wanting)
            })?;
            if unneeded {
                remove(path)?;
                removed += 1;
            }
        }
        if removed > 0 {
            let bundles = plural(removed, "bundle");
            self.note(format!("removed {bundles} of this replica that nobody needs any more"));
        }
        Ok(())
    }

    /// Whether `is_so` of all bundles in a file, none of which is an invitation, and all of which are by this replica and for
    /// peers that it has heard of.
    fn each_own(&self, path: &Path, mut is_so: impl FnMut(&Manifest, &Readers) -> Result<bool>) -> Result<bool> {
        let Some(file) = open_if_there(path)? else { return Ok(false) };
        let mut answer = Ok(true);
        let whole = each_manifest(&file, |manifest| {
            let own = manifest.sender.id == self.public_key().id() && manifest.invitation.is_none();
            answer = match self.readers(manifest.recipient) {
                Ok(Some(readers)) if own => is_so(manifest, &readers),
                Ok(_) => Ok(false),
                Err(error) => Err(error),
            };
            if matches!(answer, Ok(true)) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        Ok(answer? && whole.is_ok())
    }

    /// What those have shown whom a bundle is for. `None` if one of them was never heard of: all that is known of it is what
    /// its invitation held, if it has taken that.
    fn readers(&self, recipient: Option<ReplicaId>) -> Result<Option<Readers>> {
        let peers = match recipient {
            Some(id) => self.state.peer_by_id(&id)?.into_iter().collect(),
            None if self.state.invitations()?.is_empty() => self.state.neighbours()?,
            None => Vec::new(),
        };
        let mut readers = Readers { shown: Vec::new(), wanting: false };
        for peer in peers {
            match peer.standing.shown {
                Some(shown) if peer.last_heard.is_some() => readers.shown.push(shown),
                _ => return Ok(None),
            }
            readers.wanting |= !self.state.wanted_by(peer.key)?.is_empty();
        }
        Ok(Some(readers).filter(|readers| !readers.shown.is_empty()))
    }
}

/// Whether a file's name says that it is a bundle, and a whole one: what programs that copy call it before it is, such as
/// `.syncthing.NAME.tmp`, `.NAME.8Fk2xQ`, `NAME.part` and `NAME~`, either begins with a dot or ends otherwise.
fn is_called_a_bundle(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|name| name.as_bytes().starts_with(b"."));
    !hidden && path.extension().is_some_and(|extension| extension == "zst")
}

/// Opens a file, unless it is not there any more.
fn open_if_there(path: &Path) -> Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => {
            Err(Error::io("opening the bundle", path, error).advise("see that it can be read, then import again"))
        }
    }
}

/// Whether a file is not there any more; NFS says so in a way of its own.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::StaleNetworkFileHandle)
}

/// By what a file is known, and whether it was changed.
fn identity(meta: io::Result<std::fs::Metadata>) -> Option<(u64, u64, u64, i64, i64)> {
    meta.ok().map(|meta| (meta.dev(), meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()))
}

fn remove(path: &Path) -> Result<()> {
    remove_if_there(std::fs::remove_file(path)).map_err(|error| {
        Error::io("removing the bundle", path, error)
            .advise("see that files can be removed there, or import without --consume")
    })
}
