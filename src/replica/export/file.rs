//! Bundles as files. A file has a temporary name until it is durable, and replaces nothing but an earlier bundle.

use std::fs::{File, Metadata};
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::options::Exported;
use super::plan::{ExportedTo, Plan, PlannedPart};
use crate::bundle::{self, Behind, Keys, ReplicaId, each_manifest};
use crate::error::{Error, Result};
use crate::replica::Replica;
use crate::replica::jobs::older_than;

/// The beginning and the end of the temporary name that a bundle has while it is written.
const PART: (&str, &str) = (".mailsync-", ".part");
/// A temporary file older than this belongs to an export that died.
const PART_AGE: Duration = Duration::from_secs(24 * 60 * 60);

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
        check_nobody_elses(path)?;
        if path.as_os_str().to_string_lossy().ends_with('/') && !path.is_dir() {
            return Err(Error::failed(format!("{doing}: there is no such directory")).advise("make it first"));
        }
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let dir = if real.is_dir() { Some(&*real) } else { real.parent() };
        let dir = dir.map(|dir| if dir.as_os_str().is_empty() { Path::new(".") } else { dir });
        if dir.and_then(|dir| dir.canonicalize().ok()).is_some_and(|dir| dir.starts_with(self.mail_root())) {
            return Err(Error::refused(format!("{doing}: that is in the mail root, among your mail"))
                .advise("choose another place"));
        }
        if std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() > 0)
            && !is_a_bundle(path, &self.keys())
        {
            return Err(Error::refused(format!("{doing}: there is a file that is no bundle"))
                .advise("choose another name, or remove that file first"));
        }
        Ok(())
    }

    /// Writes a plan into a file, or into a directory, and records that it was sent. Returns the paths of all bundles.
    ///
    /// # Errors
    /// There are several bundles and `path` is no directory, or something can't be read or written.
    pub(super) fn write_plan_to_file(&self, plan: Plan, path: &Path) -> Result<Vec<(PathBuf, Exported)>> {
        let (plan, parts) = plan.into_parts();
        if parts.len() > 1 && !path.is_dir() {
            return Err(Error::usage(format!(
                "exporting: there are {} bundles, and one file {}",
                parts.len(),
                path.display()
            ))
            .advise("give a directory that exists with -o"));
        }
        let mut written = Vec::new();
        for part in parts {
            let (path, keep) = if path.is_dir() {
                (path.join(self.bundle_name(&plan.to, part.manifest.number, plan.readers.is_some())), Keep::Both)
            } else {
                // Somebody may have put something there meanwhile.
                check_nobody_elses(path)?;
                // If a link leads to an earlier bundle, that bundle is replaced and not the link.
                (std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()), Keep::New)
            };
            written.push(self.write_part_to_file(part, &plan, path, keep)?);
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
        let fail = |error: &dyn std::fmt::Display| {
            Error::io("writing the bundle", &path, error)
                .advise("see that it is there, that you may write there, and that there is room, then export again")
        };
        if std::fs::metadata(&path).is_ok_and(|meta| !meta.is_file()) {
            let out = open_special(&path)?;
            let out = io::BufWriter::with_capacity(256 << 10, out);
            let exported = self.write_and_flush(part, plan, out).map_err(|error| error.about(path.display()))?;
            return Ok((path, exported));
        }
        sweep_parts(&dir);
        let mut file =
            tempfile::Builder::new().prefix(PART.0).suffix(PART.1).tempfile_in(&dir).map_err(|error| fail(&error))?;
        let out = io::BufWriter::with_capacity(256 << 10, file.as_file_mut());
        let (mut out, exported) = self.write_part(part, plan, out).map_err(|error| error.about(path.display()))?;
        out.flush().map_err(|error| fail(&error))?;
        drop(out);
        file.as_file().sync_all().map_err(|error| fail(&error))?;
        let named = match keep {
            Keep::New => file.persist(&path).map(|_| path.clone()).map_err(|error| error.error),
            Keep::Both => name_beside(file, &path, self.public_key().id()),
        };
        let named = named.map_err(|error| fail(&error))?;
        self.world.disk.sync_dir(&dir).map_err(|error| fail(&error))?;
        Ok((named, exported))
    }
}

/// Removes the temporary files of killed exports: they are hidden and would take room on a stick. A file that can't be
/// removed stays.
fn sweep_parts(dir: &Path) {
    let Ok(items) = std::fs::read_dir(dir) else { return };
    for item in items.flatten() {
        let name = item.file_name();
        let is_part = name.to_str().is_some_and(|name| name.starts_with(PART.0) && name.ends_with(PART.1));
        if is_part && older_than(&item.path(), PART_AGE) {
            let _ = std::fs::remove_file(item.path());
        }
    }
}

/// Gives a bundle its name. Another replica of the same name may have taken it since it was chosen; then the bundle
/// gets a name that tells the two apart. Returns the name.
fn name_beside(file: tempfile::NamedTempFile, path: &Path, id: ReplicaId) -> io::Result<PathBuf> {
    let [a, b, c, d, ..] = id.to_bytes();
    let plain = path.with_extension("");
    let (stem, ending) =
        if path.extension().is_some_and(|end| end == "age") { (&*plain, "zst.age") } else { (path, "zst") };
    let apart = stem.with_extension(format!("{a:02x}{b:02x}{c:02x}{d:02x}.{ending}"));
    let mut file = file;
    for name in [path, &apart] {
        let Err(error) = file.persist_noclobber(name) else { return Ok(name.to_owned()) };
        file = error.file;
        if error.error.kind() == io::ErrorKind::AlreadyExists || name.symlink_metadata().is_ok() {
            continue;
        }
        // Some file systems, such as those behind FUSE, can't check that a name is free while they give it.
        return file.persist(name).map(|_| name.to_owned()).map_err(|error| error.error);
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file of this name already"))
}

/// Whether a file holds a bundle that mailsync has written, whole or not, be it a newer one. What nobody can open here may
/// be anything.
fn is_a_bundle(path: &Path, keys: &Keys) -> bool {
    let Ok(file) = std::fs::File::open(path) else { return false };
    let first = each_manifest(&file, keys, Behind::Left, |_| ControlFlow::Break(()));
    matches!(first, Ok(()) | Err(bundle::Error::NewerFormat { .. }))
}

/// In a directory where others may write, such as `/tmp`, somebody may have put a link there that leads to a file of
/// this user's, or a pipe from which they read. A directory is not looked at: nothing in it is overwritten.
fn check_nobody_elses(path: &Path) -> Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) => check_owner(path, &meta),
        // Whoever writes there finds out why.
        Err(_) => Ok(()),
    }
}

fn check_owner(path: &Path, meta: &Metadata) -> Result<()> {
    let (user, owner) = (rustix::process::geteuid().as_raw(), meta.uid());
    if owner == user || owner == 0 || meta.is_dir() {
        return Ok(());
    }
    let what = if meta.is_symlink() { "a symbolic link" } else { "a file" };
    let doing = format!("writing the bundle {}", path.display());
    Err(Error::refused(format!("{doing}: there is {what} of another user, with the number {owner}"))
        .advise("choose another name, in a directory where only you may write"))
}

/// Opens a pipe or a device, and makes sure that it is what has this name: links such as `/dev/stdout` are followed.
fn open_special(path: &Path) -> Result<File> {
    let fail = |error: io::Error| {
        Error::io("writing the bundle", path, error)
            .advise("see that it is there, and that you may write there, then export again")
    };
    let file = std::fs::OpenOptions::new().write(true).open(path).map_err(fail)?;
    let (opened, named) = (file.metadata().map_err(fail)?, std::fs::symlink_metadata(path).map_err(fail)?);
    check_owner(path, &named)?;
    if !named.is_symlink() && (opened.dev(), opened.ino()) != (named.dev(), named.ino()) {
        return Err(fail(io::Error::other("somebody has put something else there")));
    }
    Ok(file)
}
