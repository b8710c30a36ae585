//! Bundles as files. A file has a temporary name until it is durable, and replaces nothing but an earlier bundle.

use std::fs::File;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::options::Exported;
use super::plan::{ExportedTo, Plan, PlannedPart};
use crate::bundle::{self, Behind, Keys, ReplicaId, each_manifest};
use crate::disk::{Disk, Draft, Meta, Sink, is_absent, is_dir, real_path, remove_if_there};
use crate::error::{Error, Lack, Result, Scope};
use crate::replica::Replica;
use crate::replica::import::is_called_a_bundle;
use crate::replica::jobs::older_than;

/// The beginning and the end of the temporary name that a bundle has while it is written.
const PART: (&str, &str) = (".mailsync-", ".part");
/// A temporary file older than this belongs to an export that died.
const PART_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// What is written in one go, in bytes.
const BUFFER: usize = 256 << 10;
const WRITING: &str = "see that it is there, that you may write there, and that there is room, then export again";

/// Which file to keep if the name for a bundle is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    /// The new bundle replaces it.
    New,
    /// Both stay, and the new bundle gets another name.
    Both,
}

impl Replica {
    /// Checks that a bundle may be written to `path`: it replaces an earlier bundle, and nothing else.
    ///
    /// # Errors
    /// `path` lies in the mail root, or is a file that is no bundle, or somebody else has put something there.
    pub(super) fn check_target(&self, path: &Path) -> Result<()> {
        let doing = format!("writing the bundle {}", path.display());
        let disk = &*self.world.disk;
        check_nobody_elses(disk, path)?;
        if path.as_os_str().to_string_lossy().ends_with('/') && !is_dir(disk, path)? {
            return Err(Error::failed(format!("{doing}: there is no such directory")).advise("make it first"));
        }
        let real = real_path(path)?;
        let dir = if is_dir(disk, &real)? { Some(&*real) } else { real.parent() };
        let dir = dir.map(|dir| if dir.as_os_str().is_empty() { Path::new(".") } else { dir });
        if let Some(dir) = dir
            && !is_dir(disk, dir)?
        {
            let what = format!("{doing}: there is no directory {}", dir.display());
            return Err(Error::failed(what).advise("make it first, with mkdir, or give another name"));
        }
        if dir.map(real_path).transpose()?.is_some_and(|dir| dir.starts_with(self.mail_root())) {
            return Err(Error::refused(format!("{doing}: that is in the mail root, among your mail"))
                .advise("choose another place"));
        }
        if look(disk, path)?.is_some_and(|meta| meta.is_file && meta.size > 0)
            && let Some(what) = what_must_stay(disk, &self.keys(), path)?
        {
            return Err(Error::refused(format!("{doing}: there is {what}"))
                .advise("choose another name, or remove that file first"));
        }
        Ok(())
    }

    /// Writes a plan into a file, or into a directory, and records that it was sent. Returns the paths of all bundles, as
    /// they were given.
    ///
    /// # Errors
    /// There are several bundles and `given` is no directory, or something can't be read or written.
    pub(super) fn write_plan_to_file(&self, plan: Plan, given: &Path) -> Result<Vec<(PathBuf, Exported)>> {
        let (plan, parts) = plan.into_parts();
        let (disk, path) = (&*self.world.disk, given);
        let into_dir = is_dir(disk, path)?;
        if parts.len() > 1 && !into_dir {
            return Err(Error::usage(format!(
                "exporting: there are {} bundles, and one file {}",
                parts.len(),
                path.display()
            ))
            .advise("give a directory that exists with -o"));
        }
        let mut written = Vec::new();
        for part in parts {
            let (path, keep) = if into_dir {
                (path.join(self.bundle_name(&plan.to, part.manifest.number, plan.readers.is_some())), Keep::Both)
            } else {
                // Somebody may have put something there meanwhile.
                check_nobody_elses(disk, path)?;
                // If a link leads to an earlier bundle, that bundle is replaced and not the link.
                (real_path(path)?, Keep::New)
            };
            let (named, exported) = self.write_part_to_file(part, &plan, path, keep).map_err(|error| {
                error.or_else(
                    Lack::Room,
                    "or add --split SIZE: of the parts, those for which there is room stay, and can be imported",
                )
            })?;
            if !into_dir && !is_called_a_bundle(&named) && look(disk, &named)?.is_some_and(|meta| meta.is_file) {
                self.note(format!(
                    "`mailsync import DIR` looks only at files called *.zst and *.zst.age: import {} by its name",
                    given.display()
                ));
            }
            written.push((if into_dir { named } else { given.to_owned() }, exported));
        }
        self.record_export(&plan, &written.iter().map(|(_, exported)| exported.clone()).collect::<Vec<_>>())?;
        Ok(written)
    }

    fn write_part_to_file(
        &self,
        part: PlannedPart,
        plan: &ExportedTo,
        path: PathBuf,
        keep: Keep,
    ) -> Result<(PathBuf, Exported)> {
        let dir =
            path.parent().filter(|dir| !dir.as_os_str().is_empty()).map_or_else(|| PathBuf::from("."), PathBuf::from);
        let fail = |error: io::Error| Error::io("writing the bundle", &path, error).advise(WRITING);
        let disk = &*self.world.disk;
        if look(disk, &path)?.is_some_and(|meta| !meta.is_file) {
            // A pipe is opened when somebody reads it.
            let out = self.patient(self.wait(|| open_special(disk, &path))??);
            let exported = self.write_and_flush(part, plan, out).map_err(|error| error.at(&path))?;
            return Ok((path, exported));
        }
        sweep_parts(disk, &dir)?;
        let draft = dir.join(format!("{}{:016x}{}", PART.0, (self.world.random)(), PART.1));
        let mut draft = Draft::create(disk, draft).map_err(fail)?;
        let out = io::BufWriter::with_capacity(BUFFER, &mut draft);
        let (mut out, exported) = self.write_part(part, plan, out).map_err(|error| error.at(&path))?;
        out.flush().map_err(fail)?;
        drop(out);
        draft.sync().map_err(fail)?;
        let named = match keep {
            Keep::New => draft.replace(&path).map(|()| path.clone()),
            Keep::Both => name_beside(disk, &mut draft, &path, self.public_key().id()),
        };
        let named = named.map_err(fail)?;
        if let Err(error) = disk.sync_dir(&dir) {
            // A person who hears about a failure exports again, and needs no second bundle beside that one.
            if keep == Keep::Both {
                let _ = disk.unlink(&named);
            }
            return Err(fail(error));
        }
        Ok((named, exported))
    }
}

/// Removes the temporary files of killed exports: they are hidden and would take room on a stick. A file that can't be
/// removed stays, and so do all in a directory that can't be listed.
fn sweep_parts(disk: &dyn Disk, dir: &Path) -> Result<()> {
    let mut parts = Vec::new();
    let listed = disk.list(dir, &mut |name, _| {
        if name.to_str().is_some_and(|name| name.starts_with(PART.0) && name.ends_with(PART.1)) {
            parts.push(dir.join(name));
        }
    });
    let swept = listed.and_then(|()| {
        for part in parts {
            if older_than(disk, &part, PART_AGE)? {
                remove_if_there(disk.unlink(&part))?;
            }
        }
        Ok(())
    });
    match swept {
        Err(error) if Scope::of(&error) == Scope::Disk => {
            Err(Error::io("looking for leftovers in", dir, error).advise(WRITING))
        }
        _ => Ok(()),
    }
}

/// Gives a bundle its name. Another replica of the same name may have taken it since it was chosen; then the bundle
/// gets a name that tells the two apart. Returns the name.
fn name_beside(disk: &dyn Disk, draft: &mut Draft<'_>, path: &Path, id: ReplicaId) -> io::Result<PathBuf> {
    let [a, b, c, d, ..] = id.to_bytes();
    let plain = path.with_extension("");
    let (stem, ending) =
        if path.extension().is_some_and(|end| end == "age") { (&*plain, "zst.age") } else { (path, "zst") };
    let apart = stem.with_extension(format!("{a:02x}{b:02x}{c:02x}{d:02x}.{ending}"));
    for name in [path, &apart] {
        let Err(error) = draft.rename(name) else { return Ok(name.to_owned()) };
        if error.kind() == io::ErrorKind::AlreadyExists {
            continue;
        }
        match disk.link_metadata(name) {
            Ok(_) => {}
            // Some file systems, such as those behind FUSE, can't check that a name is free while they give it.
            Err(why) if is_absent(&why) && Scope::of(&error) == Scope::Place => {
                return draft.replace(name).map(|()| name.to_owned());
            }
            Err(_) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file of this name already"))
}

/// What a file holds that no bundle may replace. `None` if it is a bundle that mailsync has written, whole or not, be
/// it a newer one. What nobody can open here may be anything.
fn what_must_stay(disk: &dyn Disk, keys: &Keys, path: &Path) -> Result<Option<&'static str>> {
    let fail = |error: io::Error| Error::io("looking at", path, error).advise(WRITING);
    let file = match disk.open(path) {
        Ok(file) => file,
        // What can't be looked at is left alone.
        Err(error) if Scope::of(&error) == Scope::Place => return Ok(Some("a file that can't be read")),
        Err(error) => return Err(fail(error)),
    };
    match each_manifest(&file, keys, Behind::Left, |_| ControlFlow::Break(())) {
        Ok(()) | Err(bundle::Error::NewerFormat { .. }) => Ok(None),
        Err(bundle::Error::Io(error)) => Err(fail(error)),
        Err(bundle::Error::Locked) => Ok(Some("a file that is encrypted with a code, as an invitation is")),
        Err(bundle::Error::Sealed) => Ok(Some("a file that is encrypted, and that this replica can't open")),
        Err(_) => Ok(Some("a file that is no bundle")),
    }
}

/// What is there, to which a link may lead. `None` if nothing is.
fn look(disk: &dyn Disk, path: &Path) -> Result<Option<Meta>> {
    match disk.metadata(path) {
        Ok(meta) => Ok(Some(meta)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(Error::io("looking at", path, error).advise(WRITING)),
    }
}

/// In a directory where others may write, such as `/tmp`, somebody may have put a link there that leads to a file of
/// this user's, or a pipe from which they read. A directory is not looked at: nothing in it is overwritten.
fn check_nobody_elses(disk: &dyn Disk, path: &Path) -> Result<()> {
    match disk.link_metadata(path) {
        Ok(meta) => check_owner(path, &meta),
        Err(error) if is_absent(&error) => Ok(()),
        Err(error) => Err(Error::io("looking at", path, error).advise(WRITING)),
    }
}

fn check_owner(path: &Path, meta: &Meta) -> Result<()> {
    let (user, owner) = (rustix::process::geteuid().as_raw(), meta.owner);
    if owner == user || owner == 0 || meta.is_dir {
        return Ok(());
    }
    let what = if meta.is_link { "a symbolic link" } else { "a file" };
    let doing = format!("writing the bundle {}", path.display());
    Err(Error::refused(format!("{doing}: there is {what} of another user, with the number {owner}"))
        .advise("choose another name, in a directory where only you may write"))
}

/// Opens a pipe or a device, and makes sure that it is what has this name: links such as `/dev/stdout` are followed.
fn open_special<'d>(disk: &'d dyn Disk, path: &Path) -> Result<Sink<'d>> {
    let fail = |error: io::Error| Error::io("writing the bundle", path, error).advise(WRITING);
    let file: File = disk.open_to_write(path).map_err(fail)?;
    let opened = Meta::from(&file.metadata().map_err(fail)?);
    let named = disk.link_metadata(path).map_err(fail)?;
    check_owner(path, &named)?;
    if !named.is_link && (opened.device, opened.inode) != (named.device, named.inode) {
        return Err(fail(io::Error::other("somebody has put something else there")));
    }
    Ok(Sink::of(disk, path, file))
}
