//! Directories through which machines exchange bundles: a stick, or a folder that several machines share through
//! Syncthing or NFS.
//!
//! Other machines write and remove files there at the same time, and copying programs show half a file for a while. So
//! a file that has gone is no error, a file that ends early may be whole the next time, and no file is removed that
//! somebody may still need.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::gate::Sender;
use super::outcome::{Cut, ImportOptions, ImportOutcome, Imported};
use super::refusal::{Refusal, reading};
use super::tidy::{is_gone, open_if_there, remove};
use crate::bundle::{self, Beginning, Behind, ReplicaId, each_manifest};
use crate::disk::{Disk, Meta, leads_nowhere};
use crate::error::{Error, ErrorKind, Result};
use crate::model::Digest;
use crate::replica::Replica;
use crate::replica::safety::DryRun;
use crate::text::plural;

/// The contents of a directory, as this replica sees them.
#[derive(Debug, Default)]
struct Found {
    /// Files that may hold something for this replica, sorted by the sender and the number of the first such bundle.
    here: BTreeSet<(ReplicaId, u64, PathBuf)>,
    /// Files with bundles that this replica made itself.
    own: Vec<PathBuf>,
    /// The number of files that are for others only, including this replica's own.
    elsewhere: usize,
    /// Whether some of them hold bundles for anyone from replicas that are not known here. A directory can serve
    /// machines that are no neighbours.
    strange: bool,
    /// The number of files that can't be read, or not yet.
    unreadable: usize,
    /// The number of files that were told to be no bundles before.
    passed_over: usize,
    /// The files that are told now to be no bundles, each by the digest of what identifies it.
    foreign: Vec<Digest>,
    /// The error of the first file that can't even be opened. The other files are read all the same.
    failed: Option<Error>,
}

/// So much of what a file begins with identifies it, in bytes.
const MARK_BYTES: u64 = 64 << 10;

/// What a file says of being this replica's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Claimed {
    /// Nothing.
    #[default]
    Nothing,
    /// That it is, and that is so.
    Own,
    /// The same; but the replica can't have made it itself as far as it remembers.
    Twin,
    /// That it is, without this replica's signature.
    Forged,
}

/// The senders and the recipients of the bundles in a file.
#[derive(Debug, Default)]
struct Look {
    here: Option<(ReplicaId, u64)>,
    /// Whether there is a bundle for anyone from a replica that is not known here, or an invitation for somebody else.
    strange: bool,
    claimed: Claimed,
    /// The number of bundles that were looked at.
    bundles: usize,
    /// The error behind these bundles, if there is one.
    wrong: Option<bundle::Error>,
    /// What identifies a file that will be no bundle as long as it is not changed.
    foreign: Option<Digest>,
}

impl Replica {
    /// Imports every bundle in a directory that is for this replica, in an order that works. It leaves alone this
    /// replica's own bundles, bundles for others, and a bundle that ends early, which is still being copied. With
    /// [`consume`](ImportOptions::consume), this replica's own bundles that nobody needs any more are removed, too.
    ///
    /// # Errors
    /// The directory can't be listed; failures of this machine, and refusals for safety. A bundle that is wrong is
    /// no error: its outcome tells.
    pub fn import_directory(&self, dir: &Path, options: &ImportOptions, mut each: impl FnMut(Imported)) -> Result<()> {
        let found = self.look_through(dir, &mut each)?;
        self.tell_found(dir, &found, options)?;
        let mut waiting: Vec<PathBuf> = found.here.into_iter().map(|(_, _, path)| path).collect();
        // A file that waits is read again, and then its other bundles would be told again.
        let mut told = BTreeSet::new();
        // A bundle that waits is as new as it was when it was read first.
        let mut fresh = BTreeSet::new();
        let mut failed = found.failed;
        loop {
            let mut still_waiting = Vec::new();
            let mut progress = false;
            for path in waiting {
                // Another replica that the file was for may have consumed it by now.
                let Some(file) = open_if_there(&*self.world.disk, &path)? else { continue };
                let mut not_yet = Vec::new();
                let result = self.import_opened(&file, &path, options, Cut::LeftForLater, |mut imported| {
                    let bundle = (imported.from.clone(), imported.number);
                    imported.fresh |= fresh.contains(&bundle);
                    if imported.fresh {
                        fresh.insert(bundle);
                    }
                    progress |= matches!(imported.outcome, ImportOutcome::Applied);
                    match imported.outcome {
                        ImportOutcome::NotYet(_) => not_yet.push(imported),
                        ImportOutcome::ForSomeoneElse(_) => {}
                        _ => {
                            if told.insert((path.clone(), imported.from.clone(), imported.number)) {
                                each(imported);
                            }
                        }
                    }
                });
                match result {
                    // One sender's mistake doesn't keep the bundles of the others from being applied.
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
            None if options.consume && options.dry_run == DryRun::No => self.remove_unneeded(&found.own),
            None => Ok(()),
        }
    }

    /// Tells what there is besides bundles for this replica, and remembers what is no bundle.
    fn tell_found(&self, dir: &Path, found: &Found, options: &ImportOptions) -> Result<()> {
        if !found.foreign.is_empty() && options.dry_run == DryRun::No {
            let tx = self.begin()?;
            found.foreign.iter().try_for_each(|file| tx.pass_over(file))?;
            tx.commit()?;
        }
        if found.passed_over > 0 {
            self.note(format!(
                "{} in {} {} passed over: no bundles, as was said before; move them away, and this is not said again",
                plural(found.passed_over as u64, "file"),
                dir.display(),
                if found.passed_over == 1 { "is" } else { "are" }
            ));
        }
        if found.here.is_empty() && found.unreadable == 0 {
            let mut others = match found.elsewhere {
                0 => String::new(),
                1 => String::from("; 1 file there is for others"),
                n => format!("; {n} files there are for others"),
            };
            if found.strange {
                others += ", or from replicas that are not known here";
            }
            self.note(format!("{} holds no bundle for this replica{others}", dir.display()));
        }
        Ok(())
    }

    /// Looks at the manifests in all files of a directory whose names say that they are bundles. Reports files that
    /// can't be read.
    fn look_through(&self, dir: &Path, each: &mut impl FnMut(Imported)) -> Result<Found> {
        let fail =
            |error: io::Error| Error::io("listing", dir, error).advise("check that it can be read, then import again");
        let disk = &*self.world.disk;
        let mut paths = Vec::new();
        disk.list(dir, &mut |name, _| paths.push(dir.join(name))).map_err(fail)?;
        paths.retain(|path| is_called_a_bundle(path));
        paths.sort();
        let mut found = Found::default();
        let mut twin = None;
        for path in paths {
            let look = match open_bundle(disk, &path) {
                Ok(Some(file)) => self.look_at_file(&file).map_err(|error| error.about(path.display())),
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
                Look { bundles: 0, wrong: Some(error), foreign, .. } => {
                    if let Some(foreign) = foreign {
                        if self.state.was_passed_over(&foreign)? {
                            found.passed_over += 1;
                            continue;
                        }
                        found.foreign.push(foreign);
                    }
                    found.unreadable += 1;
                    each(Imported::unreadable(&path, &error, Cut::LeftForLater));
                }
                // The file begins with a bundle for another machine, and that machine will report the damage.
                look => {
                    found.elsewhere += 1;
                    found.strange |= look.strange;
                    match look.claimed {
                        Claimed::Nothing => {}
                        Claimed::Own => found.own.push(path),
                        Claimed::Twin => {
                            twin.get_or_insert_with(|| path.clone());
                            found.own.push(path);
                        }
                        Claimed::Forged => self.note(format!(
                            "{} says that this replica has made it, and is not signed with its key: don't trust it",
                            path.display()
                        )),
                    }
                }
            }
        }
        if let Some(path) = twin {
            self.note(Refusal::Twin.error().about(path.display()).to_string());
        }
        Ok(found)
    }

    /// Looks at a file: at the manifests in it, or at what identifies it if it is no bundle.
    fn look_at_file(&self, file: &File) -> Result<Option<Look>> {
        let look = self.look_at(file)?;
        let stays_so = |error: &bundle::Error| {
            use bundle::Error::{CutOrChanged, Empty, Io, NewerFormat, Sink, Truncated};
            // It may still be being copied, or be understood by the next mailsync.
            !matches!(error, CutOrChanged | Empty | Truncated | NewerFormat { .. } | Io(_) | Sink(_))
        };
        match look {
            Some(look) if look.bundles == 0 && look.wrong.as_ref().is_some_and(stays_so) => {
                let foreign = mark(file).map_err(|error| reading(&bundle::Error::Io(error)))?;
                Ok(Some(Look { foreign: Some(foreign), ..look }))
            }
            look => Ok(look),
        }
    }

    /// Looks at the manifests in a file, up to the first one that is for this replica. `None` if it is gone.
    fn look_at(&self, file: &File) -> Result<Option<Look>> {
        let mut look = Look::default();
        let mut here = Ok(());
        let result = each_manifest(file, &self.keys(), Behind::Left, |beginning| {
            look.bundles += 1;
            match self.look_at_beginning(beginning, &mut look) {
                Ok(flow) => flow,
                Err(error) => {
                    here = Err(error);
                    ControlFlow::Break(())
                }
            }
        });
        here?;
        match result {
            Err(bundle::Error::Io(error)) if is_gone(&error) => return Ok(None),
            Err(error @ bundle::Error::Io(_)) => return Err(reading(&error)),
            // Only its header was read: it is for others, and so may be what follows it.
            Err(error) if error.is_for_others() => look.strange = true,
            result => look.wrong = result.err(),
        }
        Ok(Some(look))
    }

    /// Whom a bundle is for and from, by its manifest. Another's signature is only checked when the bundle is imported;
    /// but anybody can write that a bundle is one of this replica's own.
    fn look_at_beginning(&self, beginning: &Beginning<'_>, look: &mut Look) -> Result<ControlFlow<()>> {
        let manifest = beginning.manifest();
        let sender = self.sender_of(manifest)?;
        let for_anyone = manifest.recipient.is_none();
        match sender {
            Sender::Own => {
                let claimed = match self.own_bundle(manifest)? {
                    _ if !beginning.is_signed_by(&self.public_key()) => Claimed::Forged,
                    Refusal::Twin => Claimed::Twin,
                    _ => Claimed::Own,
                };
                look.claimed = look.claimed.max(claimed);
            }
            // The import deals with a stranger that proves an invitation: it tells that the invitation was used
            // already.
            Sender::Stranger if for_anyone && manifest.proof.is_none() => look.strange = true,
            _ if for_anyone && manifest.invitation.is_some() => look.strange = true,
            _ if for_anyone || manifest.recipient == Some(self.public_key().id()) => {
                look.here = Some((manifest.sender.id, manifest.number));
                return Ok(ControlFlow::Break(()));
            }
            _ => {}
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Imports the bundles in a file.
    ///
    /// # Errors
    /// The file can't be opened; failures of this machine, and refusals for safety. A bundle that is wrong is
    /// no error: its outcome tells.
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
            // It brings them when it is imported again.
            taken &= imported.changes.left_out == 0;
            each(imported);
        })?;
        // A newer bundle may have replaced the file meanwhile, or have been added to it.
        let same = before.is_some() && before == identity(std::fs::metadata(path));
        if options.consume && options.dry_run == DryRun::No && taken && same {
            remove(&*self.world.disk, path)?;
        }
        Ok(())
    }
}

/// Whether a file's name says that it is a bundle, and a whole one. Copying programs give a file other names before it
/// is whole, such as `.syncthing.NAME.tmp`, `.NAME.8Fk2xQ`, `NAME.part` and `NAME~`. These begin with a dot or have
/// another ending.
fn is_called_a_bundle(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|name| name.as_bytes().starts_with(b"."));
    // File systems without lower case are still in use on sticks.
    let ends = |path: &Path, ending| path.extension().is_some_and(|found| found.eq_ignore_ascii_case(ending));
    let within = if ends(path, "age") { path.with_extension("") } else { path.to_owned() };
    !hidden && ends(&within, "zst")
}

/// Opens what is called a bundle. `None` if it is gone, or no regular file.
fn open_bundle(disk: &dyn Disk, path: &Path) -> Result<Option<File>> {
    match disk.metadata(path) {
        Ok(meta) if !meta.is_file => return Ok(None),
        Ok(_) => {}
        Err(error) if is_gone(&error) || leads_nowhere(&error) => return Ok(None),
        Err(error) => {
            return Err(Error::io("looking at", path, error).advise("see that it can be read, then import again"));
        }
    }
    open_if_there(disk, path)
}

/// What identifies a file as long as it is not changed: its size, the time of its last change, and what it begins with.
fn mark(mut file: &File) -> io::Result<Digest> {
    let meta = Meta::from(&file.metadata()?);
    let mut known = format!("{} {}.{:09}\n", meta.size, meta.mtime.seconds(), meta.mtime.subsec_nanos()).into_bytes();
    file.rewind()?;
    file.take(MARK_BYTES).read_to_end(&mut known)?;
    Ok(Digest::of(&known))
}

/// The values that identify a file and show whether it was changed.
fn identity(meta: io::Result<std::fs::Metadata>) -> Option<(u64, u64, u64, i64, i64)> {
    meta.ok().map(|meta| (meta.dev(), meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()))
}
