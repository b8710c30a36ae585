//! A look at the disk: how it differs from what the last scan has seen. Nothing is written, no message is read, and a folder
//! is listed only if the times of its directories are others than then.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::pass::unlooked;
use super::vanished::no_maildir_left;
use crate::disk::{FileType, is_absent};
use crate::error::{Error, Result};
use crate::maildir::FileName;
use crate::maildir::listing::{CleanListing, Listing, Times, stat_folder};
use crate::model::FolderName;
use crate::replica::Replica;
use crate::replica::safety::{By, DryRun, Loss, Losses, MassDelete, guard_losses};
use crate::state::{Directory, FolderRow};
use crate::text::plural;

/// How the disk differs from what the last scan has seen.
#[derive(Clone, Debug, Default)]
pub struct DiskLook {
    /// The folders that are otherwise than they were, sorted by name.
    pub folders: Vec<FolderLook>,
    /// How many directories there are in which no scan has looked for folders, and that no command has made.
    pub directories: u64,
    /// Why a scan would refuse to take for removed what is gone.
    pub refusal: Option<Error>,
    /// What could not be looked at.
    pub problems: Vec<Error>,
}

/// How a folder differs from what the last scan has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderLook {
    /// The folder.
    pub name: FolderName,
    /// Files that were not there.
    pub came: u64,
    /// Files that are not there any more.
    pub gone: u64,
    /// Files that have other flags, or have gone from `new` to `cur`.
    pub renamed: u64,
    /// Whether the folder itself has gone.
    pub is_gone: bool,
}

impl DiskLook {
    /// Whether all is as the last scan has seen it, as far as could be looked.
    pub fn is_as_scanned(&self) -> bool {
        self.folders.is_empty() && self.directories == 0
    }
}

impl Replica {
    /// Looks at the disk, as a scan does before it reads anything.
    ///
    /// # Errors
    /// The state can't be read. What can't be looked at on the disk is told in the result.
    pub fn look(&self) -> Result<DiskLook> {
        let mut look = DiskLook::default();
        if let Err(error) = self.check_mail_root() {
            look.problems.push(error);
            return Ok(look);
        }
        // What can't be searched hides all that lies in it, which is told once.
        let root = self.mail_root();
        let searched =
            self.world.disk.list(root, &mut |_, _| ()).and_then(|()| self.world.disk.metadata(&root.join(".")));
        if let Err(error) = searched {
            look.problems.push(unlooked("looking at", root, &error));
            return Ok(look);
        }
        let mut unread = BTreeSet::new();
        for row in self.state.all_folders().iter().filter(|row| row.on_disk) {
            if is_hidden(&unread, &self.dir(&row.name)) {
                continue;
            }
            match self.look_at_folder(row)? {
                Ok(folder) => look.folders.extend(folder),
                Err(problem) => {
                    look.problems.push(problem);
                    unread.insert(self.dir(&row.name));
                }
            }
        }
        self.look_for_directories(&mut look, &mut unread)?;
        look.refusal = self.refusal_of(&look)?;
        look.problems.extend(self.mail_in_root());
        Ok(look)
    }

    /// Why a scan would refuse what is gone. What has been moved from one folder to another isn't lost; since no message is
    /// read, as many as came somewhere may have been.
    fn refusal_of(&self, look: &DiskLook) -> Result<Option<Error>> {
        let rows = self.state.all_folders();
        let gone = || look.folders.iter().filter(|folder| folder.is_gone);
        let there = rows.iter().filter(|row| row.on_disk).count();
        if look.problems.is_empty() && look.directories == 0 && gone().count() == there && self.state.has_files()? {
            return Ok(Some(no_maildir_left(self.mail_root(), "", By::Scan, DryRun::No)));
        }
        let held: BTreeMap<FolderName, u64> = self.state.entries_by_folder()?.into_iter().collect();
        let came: u64 = look.folders.iter().map(|folder| folder.came).sum();
        let lost = |folder: &FolderLook| Loss {
            gone: folder.gone.saturating_sub(came),
            held: held.get(&folder.name).copied().unwrap_or(0),
            before: 0,
            moved: 0,
        };
        let all_gone: u64 = look.folders.iter().map(|folder| folder.gone).sum();
        let is_present = |name: &FolderName| rows.iter().any(|row| row.name == *name && row.is_present());
        let losses = Losses {
            by_folder: look.folders.iter().map(|folder| (folder.name.to_string(), lost(folder))).collect(),
            all: Loss { gone: all_gone.saturating_sub(came), held: held.values().sum(), before: 0, moved: 0 },
            folders: Loss {
                gone: gone().filter(|folder| !folder.name.is_inbox() && is_present(&folder.name)).count() as u64,
                held: rows.iter().filter(|row| row.is_present()).count() as u64,
                before: 0,
                moved: 0,
            },
            earlier: None,
        };
        Ok(guard_losses((MassDelete::Refuse, DryRun::No), &self.config.guard, By::Scan, &losses).err())
    }

    /// That there is mail in the mail root itself, if that is no folder by the configuration: nobody else gets it.
    pub(super) fn mail_in_root(&self) -> Option<Error> {
        let (root, layout) = (self.mail_root(), self.config.layout());
        if layout.root_is_inbox() {
            return None;
        }
        match Listing::read(&*self.world.disk, root, None) {
            Ok(listing) => {
                let count = listing.iter().count() as u64;
                let what = format!(
                    "looking at {}: {} lie in the mail root itself, which is no folder by config.toml, and are not exchanged",
                    root.display(),
                    plural(count, "message")
                );
                let advice = "set inbox_at_root there, or move that mail into a folder; then scan again";
                (count > 0).then(|| Error::failed(what).advise(advice))
            }
            Err(error) => Some(unlooked("looking at", root, &error)),
        }
    }

    /// Looks at one folder. `None` if it is as it was.
    fn look_at_folder(&self, row: &FolderRow) -> Result<std::result::Result<Option<FolderLook>, Error>> {
        let (disk, dir) = (&*self.world.disk, self.dir(&row.name));
        let problem = |error: &std::io::Error| unlooked("looking at", &dir, error);
        let times = match stat_folder(disk, &dir) {
            Ok(times) => times,
            Err(error) => return Ok(Err(problem(&error))),
        };
        if row.clean == Some(times) {
            return Ok(Ok(None));
        }
        let is_gone = times == CleanListing { new: None, cur: None };
        let mut listing = match Listing::read(disk, &dir, None) {
            Ok(listing) => listing,
            Err(error) => return Ok(Err(problem(&error))),
        };
        listing.devices.folder = disk.metadata(&dir).ok().map(|meta| meta.device);
        if let Some(sub) = listing.unmounted(row.devices) {
            let why = format!("its {} is empty, and something else was mounted there before", sub.as_str());
            return Ok(Err(problem(&std::io::Error::other(why))));
        }
        let mut look = FolderLook { name: row.name.clone(), came: 0, gone: 0, renamed: 0, is_gone };
        let mut present = listing.iter().peekable();
        let (mut appeared, mut vanished): (Vec<&[u8]>, BTreeMap<Vec<u8>, u64>) = (Vec::new(), BTreeMap::new());
        self.state.files_in(row.key, |_, sub, name, undelivered| {
            while let Some((found, _)) = present.next_if(|&found| found < (name, sub)) {
                appeared.push(found);
            }
            if present.next_if(|&found| found == (name, sub)).is_none() && !undelivered {
                *vanished.entry(FileName::parse(name).base().to_vec()).or_default() += 1;
            }
            Ok(())
        })?;
        let discards = self.state.has_discards()?;
        for name in appeared.into_iter().chain(present.map(|(name, _)| name)) {
            // Removed, but it could not be moved to the trash yet.
            if discards && self.state.is_discarded_base(row.key, FileName::parse(name).base())? {
                continue;
            }
            match vanished.get_mut(FileName::parse(name).base()).filter(|count| **count > 0) {
                Some(count) => {
                    *count -= 1;
                    look.renamed += 1;
                }
                None => look.came += 1,
            }
        }
        look.gone = vanished.values().sum();
        Ok(Ok((look.is_gone || look.came + look.gone + look.renamed > 0).then_some(look)))
    }

    /// Counts directories in which no scan has looked, where directories were added since.
    fn look_for_directories(&self, look: &mut DiskLook, unread: &mut BTreeSet<PathBuf>) -> Result<()> {
        let (mut known, expected, disk) = (self.state.directories()?, self.expected_dirs(), &*self.world.disk);
        // What an import has made is known as well, though no scan has searched it.
        let unsearched = Directory { times: None, mount: None, is_folder: true, is_link: false };
        for row in self.state.all_folders().iter().filter(|row| row.on_disk) {
            for dir in self.relative_dir(&row.name).ancestors() {
                known.entry(dir.to_owned()).or_insert(unsearched);
            }
        }
        for (dir, seen) in &known {
            let path = self.mail_root().join(dir);
            if is_hidden(unread, &path) {
                continue;
            }
            let times = match disk.metadata(&path) {
                Ok(meta) if meta.is_dir => Times::of(&meta),
                // The folders in it were looked at.
                Ok(_) => continue,
                Err(error) if is_absent(&error) => continue,
                Err(error) => {
                    look.problems.push(unlooked("looking at", &path, &error));
                    unread.insert(path);
                    continue;
                }
            };
            if seen.times == Some(times) {
                continue;
            }
            let is_new = |name: &Path, kind| {
                let sub = dir.join(name);
                kind == FileType::Directory && !known.contains_key(&sub) && !self.ignores(&sub)
            };
            let mut names = Vec::new();
            let listed = disk.list(&path, &mut |name, kind| {
                if is_new(Path::new(name), kind) && !matches!(name.to_str(), Some("cur" | "new" | "tmp")) {
                    names.push(name.to_owned());
                }
            });
            if let Err(error) = listed {
                look.problems.push(unlooked("looking at", &path, &error));
            }
            let counted = names.iter().filter(|name| self.may_hold_folders(&expected, dir, &path, name)).count();
            look.directories += counted as u64;
        }
        Ok(())
    }
}

/// Whether something lies in a directory that could not be looked at, or is one.
fn is_hidden(unread: &BTreeSet<PathBuf>, path: &Path) -> bool {
    path.ancestors().any(|above| unread.contains(above))
}
