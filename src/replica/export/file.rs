//! Bundles as files. A file has a temporary name until it is durable, and replaces nothing that somebody could miss.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::options::{Existing, Exported};
use super::plan::{ExportedTo, Plan, PlannedPart};
use crate::bundle::{self, Behind, ReplicaId, each_manifest};
use crate::disk::{Disk, Draft, Meta, Sink, is_absent, is_dir, real_path, remove_if_there};
use crate::error::{Error, Lack, Result, Scope};
use crate::model::Digest;
use crate::process::{Undone, undo_when_interrupted};
use crate::replica::Replica;
use crate::replica::import::{is_called_a_bundle, mark_of_contents};
use crate::replica::jobs::older_than;

/// The beginning and the end of the temporary name that a bundle has while it is written.
const PART: (&str, &str) = (".mailsync-", ".part");
/// A temporary file of another replica belongs to an export that died if it is older than this. Those of this one are written with
/// its lock held: whoever holds that now finds none that is still being written.
const PART_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// What is written in one go, in bytes.
const BUFFER: usize = 256 << 10;
const WRITING: &str = "see that it is there, that you may write there, and that there is room, then export again";

/// What becomes of a file that has the name of a bundle already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    /// It stays, and the bundle gets another name.
    Beside,
    /// What is said of files that exist.
    By(Existing),
}

/// What becomes of the first of some bundles that are written as files.
pub(super) struct First<'f> {
    /// Is done when it is whole and durable, before it has its name; before it is written, if that is to a pipe or a device: whoever
    /// reads there may need it to go on.
    whole: Option<Box<dyn FnOnce() -> Result<()> + 'f>>,
    /// Whether it has its name.
    in_place: bool,
}

impl<'f> First<'f> {
    /// Of which nothing is to be done.
    pub(super) fn plain() -> Self {
        Self { whole: None, in_place: false }
    }

    /// Of which this is to be done when it is whole. If that fails, there is no file.
    pub(super) fn when_whole(whole: impl FnOnce() -> Result<()> + 'f) -> Self {
        Self { whole: Some(Box::new(whole)), in_place: false }
    }

    /// Whether there is such a file.
    pub(super) fn is_in_place(&self) -> bool {
        self.in_place
    }

    fn is_whole(&mut self) -> Result<()> {
        self.whole.take().map_or(Ok(()), |whole| whole())
    }
}

impl Replica {
    /// Checks that a bundle may be written to `path`: that it would replace nothing that is to stay.
    ///
    /// # Errors
    /// `path` lies in the mail root, or a file is there, or somebody else has put something there.
    pub(super) fn check_target(&self, path: &Path, existing: Existing) -> Result<()> {
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
        self.check_nothing_stays(path, existing)
    }

    /// Checks that no file is there which somebody could miss. What holds nothing, and what a command has written that was killed
    /// before it was recorded, is of no use to anybody: so that command can be repeated.
    fn check_nothing_stays(&self, path: &Path, existing: Existing) -> Result<()> {
        let disk = &*self.world.disk;
        let is_there = || Ok::<_, Error>(look(disk, path)?.is_some_and(|meta| meta.is_file && meta.size > 0));
        if existing == Existing::Replaced || !is_there()? {
            return Ok(());
        }
        let what = match disk.open(path) {
            Ok(file) => {
                if self.state.is_unrecorded(&mark_of_contents(&file).map_err(|error| looking_at(path, &error))?)? {
                    return Ok(());
                }
                self.what_it_is(&file).map_err(|error| looking_at(path, &error))?
            }
            // What can't be looked at is left alone.
            Err(error) if Scope::of(&error) == Scope::Place => String::from("a file that can't be read"),
            Err(error) => return Err(looking_at(path, &error)),
        };
        Err(stays(path, &what))
    }

    /// What a file is, for people who would replace it.
    fn what_it_is(&self, mut file: &File) -> io::Result<String> {
        file.rewind()?;
        let mut found = String::from("a bundle");
        let read = each_manifest(file, &self.keys(), Behind::Left, |beginning| {
            if self.has_signed(beginning) {
                found = format!("a bundle that this replica has written, number {}", beginning.manifest().number);
            }
            ControlFlow::Break(())
        });
        Ok(String::from(match read {
            Ok(()) => return Ok(found),
            Err(bundle::Error::Io(error)) => return Err(error),
            Err(bundle::Error::NewerFormat { .. }) => "a bundle of a newer mailsync",
            Err(bundle::Error::Locked) => "a file that is encrypted with a code, as an invitation is",
            Err(bundle::Error::Sealed) => "a file that is encrypted, and that this replica can't open",
            Err(_) => "a file that is no bundle",
        }))
    }

    /// Writes a plan into a file, or into a directory, and records that it was sent. Returns the paths of all bundles, as
    /// they were given.
    ///
    /// # Errors
    /// There are several bundles and `given` is no directory, something can't be read or written, or what is to be done with the
    /// first one fails.
    pub(super) fn write_plan_to_file(
        &self,
        plan: Plan,
        given: &Path,
        existing: Existing,
        first: &mut First<'_>,
    ) -> Result<Vec<(PathBuf, Exported)>> {
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
        let (mut written, mut marks) = (Vec::new(), Vec::new());
        for part in parts {
            let (path, taken) = if into_dir {
                (path.join(self.bundle_name(&plan.to, part.manifest.number, plan.readers.is_some())), Taken::Beside)
            } else {
                // Somebody may have put something there meanwhile.
                check_nobody_elses(disk, path)?;
                // If a link leads to a file, that file is replaced and not the link.
                (real_path(path)?, Taken::By(existing))
            };
            let written_part = self.write_part_to_file(part, &plan, path, (taken, &mut marks), first);
            let (named, exported) = written_part.map_err(|error| {
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
        self.record_export(&plan, &written.iter().map(|(_, exported)| exported.clone()).collect::<Vec<_>>(), &marks)?;
        Ok(written)
    }

    fn write_part_to_file(
        &self,
        part: PlannedPart,
        plan: &ExportedTo,
        path: PathBuf,
        (taken, marks): (Taken, &mut Vec<Digest>),
        first: &mut First<'_>,
    ) -> Result<(PathBuf, Exported)> {
        let dir =
            path.parent().filter(|dir| !dir.as_os_str().is_empty()).map_or_else(|| PathBuf::from("."), PathBuf::from);
        let fail = |error: io::Error| Error::io("writing the bundle", &path, error).advise(WRITING);
        let disk = &*self.world.disk;
        if look(disk, &path)?.is_some_and(|meta| !meta.is_file) {
            // A pipe is opened when somebody reads it.
            first.is_whole()?;
            let out = self.patient(self.wait(|| open_special(disk, &path))??);
            let exported = self.write_and_flush(part, plan, out).map_err(|error| error.at(&path))?;
            first.in_place = true;
            return Ok((path, exported));
        }
        let own = parts_of(self.public_key().id());
        sweep_parts(disk, &dir, &own)?;
        let draft = dir.join(format!("{own}{:08x}{}", (self.world.random)() >> 32, PART.1));
        let _undone = self.removed_if_interrupted(&draft);
        let mut draft = Draft::create(disk, draft).map_err(fail)?;
        let out = io::BufWriter::with_capacity(BUFFER, &mut draft);
        let (mut out, exported) = self.write_part(part, plan, out).map_err(|error| error.at(&path))?;
        out.flush().map_err(fail)?;
        drop(out);
        draft.sync().map_err(fail)?;
        first.is_whole()?;
        let named = match taken {
            Taken::Beside => name_beside(disk, &mut draft, &path, self.public_key().id()).map_err(fail)?,
            Taken::By(existing) => {
                let mark = disk.open(draft.path()).and_then(|file| mark_of_contents(&file)).map_err(fail)?;
                let tx = self.begin()?;
                tx.add_unrecorded(&mark)?;
                tx.commit()?;
                marks.push(mark);
                self.name_as_given(&mut draft, &path, existing)?;
                first.in_place = true;
                path.clone()
            }
        };
        if let Err(error) = disk.sync_dir(&dir) {
            // A person who hears about a failure exports again, and needs no second bundle beside that one.
            if taken == Taken::Beside {
                let _ = disk.unlink(&named);
            }
            return Err(fail(error));
        }
        first.in_place = true;
        Ok((named, exported))
    }

    /// A signal that ends this command, such as Ctrl-C, removes the file before that, as long as the result is kept: nobody sees it, and
    /// it would take room on a stick.
    fn removed_if_interrupted(&self, file: &Path) -> Undone {
        let (world, file) = (Arc::clone(&self.world), file.to_owned());
        undo_when_interrupted(move || {
            // One that stays is swept by the next export.
            let _ = world.disk.unlink(&file);
        })
    }

    /// Gives a bundle the name that a person has given. What has come there while it was written is looked at as what was there
    /// before: nothing is replaced but a file that was seen to be of no use to anybody, or that the person has given up.
    fn name_as_given(&self, draft: &mut Draft<'_>, path: &Path, existing: Existing) -> Result<()> {
        let disk = &*self.world.disk;
        let fail = |error: io::Error| Error::io("writing the bundle", path, error).advise(WRITING);
        if look(disk, path)?.is_some() {
            self.check_nothing_stays(path, existing)?;
            return draft.replace(path).map_err(fail);
        }
        if take_name(disk, draft, path).map_err(fail)? {
            return Ok(());
        }
        if path.is_symlink() {
            let what = format!("writing the bundle {}: there is a symbolic link that leads nowhere", path.display());
            return Err(Error::refused(what).advise("remove it, or choose another name"));
        }
        Err(stays(path, "a file"))
    }
}

/// A file that is there is not replaced.
fn stays(path: &Path, what: &str) -> Error {
    Error::refused(format!("writing the bundle {}: there is already {what}", path.display()))
        .advise("choose another name, or replace it with --force")
}

fn looking_at(path: &Path, error: &io::Error) -> Error {
    Error::io("looking at", path, error).advise(WRITING)
}

/// How the temporary names of this replica's bundles begin.
fn parts_of(id: ReplicaId) -> String {
    let [a, b, c, d, ..] = id.to_bytes();
    format!("{}{a:02x}{b:02x}{c:02x}{d:02x}", PART.0)
}

/// Removes the temporary files of killed exports: they are hidden and would take room on a stick. Those of this replica begin
/// with `own`. A file that can't be removed stays, and so do all in a directory that can't be listed.
fn sweep_parts(disk: &dyn Disk, dir: &Path, own: &str) -> Result<()> {
    let mut parts = Vec::new();
    let listed = disk.list(dir, &mut |name, _| {
        if name.to_str().is_some_and(|name| name.starts_with(PART.0) && name.ends_with(PART.1)) {
            parts.push(dir.join(name));
        }
    });
    let swept = listed.and_then(|()| {
        for part in parts {
            let is_own = part.file_name().is_some_and(|name| name.as_bytes().starts_with(own.as_bytes()));
            if is_own || older_than(disk, &part, PART_AGE)? {
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
        if take_name(disk, draft, name)? {
            return Ok(name.to_owned());
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file of this name already"))
}

/// Gives a bundle a name. Returns whether that was free: what has it stays.
fn take_name(disk: &dyn Disk, draft: &mut Draft<'_>, name: &Path) -> io::Result<bool> {
    let Err(error) = draft.rename(name) else { return Ok(true) };
    if error.kind() == io::ErrorKind::AlreadyExists {
        return Ok(false);
    }
    match disk.link_metadata(name) {
        Ok(_) => Ok(false),
        // Some file systems, such as those behind FUSE, can't check that a name is free while they give it.
        Err(why) if is_absent(&why) && Scope::of(&error) == Scope::Place => draft.replace(name).map(|()| true),
        Err(_) => Err(error),
    }
}

/// What is there, to which a link may lead. `None` if nothing is.
fn look(disk: &dyn Disk, path: &Path) -> Result<Option<Meta>> {
    match disk.metadata(path) {
        Ok(meta) => Ok(Some(meta)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(looking_at(path, &error)),
    }
}

/// In a directory where others may write, such as `/tmp`, somebody may have put a link there that leads to a file of
/// this user's, or a pipe from which they read. A directory is not looked at: nothing in it is overwritten.
fn check_nobody_elses(disk: &dyn Disk, path: &Path) -> Result<()> {
    match disk.link_metadata(path) {
        Ok(meta) => check_owner(path, &meta),
        Err(error) if is_absent(&error) => Ok(()),
        Err(error) => Err(looking_at(path, &error)),
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
