//! Listings of the folders that changed, compared with what was last seen in them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::discover::Discovery;
use super::pass::{AHEAD, BATCH, Scan};
use super::report::{Depth, Selection};
use crate::disk::hash_file;
use crate::error::{Error, Result};
use crate::maildir::listing::{CleanListing, CleanTimes, Devices, Listing, path_in, stat_folder, wall_clock};
use crate::maildir::{FileName, Separator, Sub};
use crate::message::FileKind;
use crate::pool::{self, chunks};
use crate::state::{EntryKey, FolderKey, Place};

/// Folders that keep changing are listed this many times. Then what vanished, and was not found, is left to the next
/// scan.
const ROUNDS: usize = 8;

/// Up to so many folders are listed without other threads.
const LISTED_ALONE: usize = 4;
/// So many listings may be under way, or wait to be compared.
const LISTINGS_AHEAD: u64 = 4;

/// The results of one folder's listing.
#[derive(Debug, Default)]
pub(super) struct FolderScan {
    pub(super) dir: PathBuf,
    /// The number of files that were last seen here.
    pub(super) known: u64,
    /// Entries whose file isn't here any more.
    pub(super) gone: Vec<EntryKey>,
    /// Entries whose file has another name with the same base.
    pub(super) renamed: Vec<(EntryKey, Place)>,
    pub(super) times: CleanTimes,
    pub(super) quiet: bool,
    /// What the flags begin with in the names of its files.
    pub(super) separator: Option<Separator>,
    pub(super) devices: Devices,
    /// The numbers that its files have on the list of those that are to be read.
    found: Range<i64>,
}

impl FolderScan {
    /// A file of the folder has got this number on the list of those that are to be read. It is the last one there.
    fn add_found(&mut self, number: i64) {
        if self.found.is_empty() {
            self.found = number..number;
        }
        self.found.end = number + 1;
    }
}

#[derive(Debug)]
enum ListError {
    Disk(io::Error),
    State(Error),
}

impl From<Error> for ListError {
    fn from(error: Error) -> Self {
        Self::State(error)
    }
}

impl Scan<'_> {
    /// Lists the folders that changed, until it is certain which files vanished.
    pub(super) fn list(
        &mut self,
        discovery: &Discovery,
        vanished: Vec<FolderKey>,
    ) -> Result<BTreeMap<FolderKey, FolderScan>> {
        let state = &self.replica.state;
        let mut dirs = BTreeMap::new();
        for (name, dir) in &discovery.folders {
            if let Some(key) = self.replica.state.find_folder(name) {
                dirs.insert(key, dir.clone());
            }
        }
        let wanted = self.wanted(|key| dirs.contains_key(&key) || vanished.contains(&key))?;
        let mut folders: BTreeMap<FolderKey, FolderScan> = BTreeMap::new();
        let mut started = false;
        for round in 0..=ROUNDS {
            let somebody_vanished = !vanished.is_empty() || folders.values().any(|folder| !folder.gone.is_empty());
            let scope = (!wanted.is_empty() && !somebody_vanished).then_some(&wanted);
            let (due, wait) = self.due(&mut dirs, &folders, scope, somebody_vanished)?;
            if due.is_empty() {
                break;
            }
            // As long as some folder keeps changing, a vanished file may be on its way there, even if each listing was
            // quiet by itself.
            if round == ROUNDS {
                self.unsettled = true;
                break;
            }
            if !started {
                state.clear_found()?;
                started = true;
                for key in &vanished {
                    folders.insert(*key, self.vanished_folder(*key)?);
                }
            }
            if let Some(wait) = wait {
                std::thread::sleep(wait);
            }
            self.list_due(due, &mut dirs, &mut folders)?;
        }
        if !started {
            state.clear_found()?;
            for key in vanished {
                folders.insert(key, self.vanished_folder(key)?);
            }
        }
        Ok(folders)
    }

    /// Lists these folders, which takes most of a scan where many have changed: other threads read names while this one compares
    /// those of the folder before with the state.
    fn list_due(
        &mut self,
        due: Vec<FolderKey>,
        dirs: &mut BTreeMap<FolderKey, PathBuf>,
        folders: &mut BTreeMap<FolderKey, FolderScan>,
    ) -> Result<()> {
        let (state, disk) = (&self.replica.state, &*self.replica.world.disk);
        // To read all messages of a folder takes long: the listing of the next one would be old by then.
        let at_once = self.options.depth == Depth::Names && due.len() > LISTED_ALONE;
        let ahead = if at_once { LISTINGS_AHEAD } else { 0 };
        let due = due.into_iter().map(|key| (key, dirs[&key].clone(), folders.get(&key).map(|folder| folder.times)));
        let mut due = due.collect::<Vec<_>>().into_iter();
        let read = |(key, dir, earlier): (FolderKey, PathBuf, Option<CleanTimes>)| {
            let listing = Listing::read(disk, &dir, earlier);
            (key, dir, listing)
        };
        let compare = |(key, dir, listing): (FolderKey, PathBuf, io::Result<Listing>)| {
            if let Some(folder) = folders.get(&key) {
                state.remove_found(folder.found.clone())?;
            }
            let compared =
                listing.map_err(ListError::Disk).and_then(|listing| self.compare_listing(key, &dir, listing));
            match compared {
                Ok(folder) => {
                    folders.insert(key, folder);
                }
                Err(ListError::Disk(error)) => {
                    self.problem("listing", dir, &error);
                    self.unlooked.insert(key);
                    folders.remove(&key);
                    dirs.remove(&key);
                }
                Err(ListError::State(error)) => return Err(error),
            }
            Ok(())
        };
        pool::in_order(ahead, || Ok(due.next()), read, compare)
    }

    /// The folders that the scan was asked for, and those below them.
    fn wanted(&self, is_there: impl Fn(FolderKey) -> bool) -> Result<BTreeSet<FolderKey>> {
        let mut wanted = BTreeSet::new();
        let rows = self.replica.state.all_folders();
        for name in &self.options.folders {
            let selection = Selection::of_folder(name);
            let found = rows.iter().filter(|row| selection.has_folder(&row.name) && is_there(row.key));
            let mut found = found.map(|row| row.key).peekable();
            if found.peek().is_none() {
                return Err(Error::usage(format!("scanning {name}: there is no such folder"))
                    .advise(self.replica.how_folders_are_named(name.as_str())));
            }
            wanted.extend(found);
        }
        Ok(wanted)
    }

    /// The folders that are to be listed now, and how long to wait first so that their listings can be clean.
    fn due(
        &mut self,
        dirs: &mut BTreeMap<FolderKey, PathBuf>,
        folders: &BTreeMap<FolderKey, FolderScan>,
        scope: Option<&BTreeSet<FolderKey>>,
        somebody_vanished: bool,
    ) -> Result<(Vec<FolderKey>, Option<Duration>)> {
        let now = wall_clock();
        let (mut due, mut wait) = (Vec::new(), None);
        let mut hidden = Vec::new();
        for (&key, dir) in dirs.iter() {
            if scope.is_some_and(|scope| !scope.contains(&key)) {
                continue;
            }
            let times = match stat_folder(&*self.replica.world.disk, dir) {
                Ok(times) => times,
                Err(error) => {
                    self.problem("looking at", dir, &error);
                    self.unlooked.insert(key);
                    hidden.push(key);
                    continue;
                }
            };
            let is_due = match folders.get(&key) {
                // A file vanished. To be certain of that, no folder may have changed since it was listed.
                Some(folder) if somebody_vanished => folder.times.found != Some(times) || !folder.quiet,
                Some(_) => false,
                None => {
                    self.options.depth == Depth::Contents || self.replica.state.folder_row(key)?.clean != Some(times)
                }
            };
            if is_due {
                due.push(key);
                let unsettled = times.new.iter().chain(&times.cur).filter_map(|times| times.unsettled_for(now));
                wait = wait.max(unsettled.max().filter(|rest| {
                    // A first listing waits for the fine clock only. The scan waits for the coarse one only if
                    // something vanished.
                    folders.contains_key(&key) || *rest <= Duration::from_millis(20)
                }));
            }
        }
        for key in hidden {
            dirs.remove(&key);
        }
        Ok((due, wait))
    }

    /// The result for a folder whose directory is gone: all its files vanished.
    fn vanished_folder(&self, key: FolderKey) -> Result<FolderScan> {
        let mut folder = FolderScan { quiet: true, ..FolderScan::default() };
        self.replica.state.files_in(key, |entry, _, _, undelivered| {
            if !undelivered {
                folder.gone.push(entry);
                folder.known += 1;
            }
            Ok(())
        })?;
        Ok(folder)
    }

    /// Compares a folder's listing with the files that were last seen there. Both are sorted, so one pass is enough.
    fn compare_listing(
        &mut self,
        key: FolderKey,
        dir: &Path,
        mut listing: Listing,
    ) -> std::result::Result<FolderScan, ListError> {
        let state = &self.replica.state;
        listing.devices.folder = self.devices.get(dir).copied();
        if let Some(sub) = listing.unmounted(state.folder_row(key)?.devices) {
            let why = format!("its {} is empty, and something else was mounted there before", sub.as_str());
            return Err(ListError::Disk(io::Error::new(io::ErrorKind::InvalidData, why)));
        }
        self.report.folders_read += 1;
        let separator = listing.separator();
        let mut folder = FolderScan {
            dir: dir.to_owned(),
            times: listing.times,
            quiet: listing.quiet,
            separator,
            devices: listing.devices,
            ..FolderScan::default()
        };
        let mut vanished: HashMap<Vec<u8>, Vec<EntryKey>> = HashMap::new();
        let mut appeared: Vec<(&[u8], Sub)> = Vec::new();
        let mut present = listing.iter().peekable();
        let deep = self.options.depth == Depth::Contents;
        let (mut to_verify, mut linked) = (Vec::new(), Vec::new());
        self.others.add(&listing.others);
        state.files_in(key, |entry, sub, name, undelivered| {
            folder.known += u64::from(!undelivered);
            while let Some(found) = present.next_if(|&found| found < (name, sub)) {
                appeared.push(found);
            }
            let is_there = present.next_if(|&found| found == (name, sub)).is_some();
            if undelivered {
                // It was not there, and is nobody's removal. If it is there, an interrupted command has delivered it.
            } else if !is_there && listing.links.contains(FileName::parse(name).base()) {
                linked.push(path_in(dir, sub, name));
            } else if !is_there {
                vanished.entry(FileName::parse(name).base().to_vec()).or_default().push(entry);
            } else if deep {
                to_verify.push((entry, sub, name.to_vec()));
            }
            Ok(())
        })?;
        appeared.extend(present);
        let discards = state.has_discards()?;
        for (name, sub) in appeared {
            // Removed, but it could not be moved to the trash yet.
            if discards && state.is_discarded_base(key, FileName::parse(name).base())? {
                continue;
            }
            // The same base in the same folder is the same file with other flags. It need not be read again.
            let base = FileName::parse(name).base();
            let entry = if vanished.is_empty() { None } else { vanished.get_mut(base).and_then(Vec::pop) };
            match entry {
                Some(entry) => folder.renamed.push((entry, Place { folder: key, sub, name: name.to_vec() })),
                None => folder.add_found(state.add_found(key, sub, name)?),
            }
        }
        folder.gone = vanished.into_values().flatten().collect();
        folder.gone.sort_unstable();
        for path in linked {
            self.unread.insert(key);
            let why = "a symbolic link is in the place of the message, and what it leads to is none";
            self.problem("reading", path, &io::Error::new(io::ErrorKind::InvalidData, why));
        }
        if deep {
            self.verify(key, dir, to_verify, &mut folder)?;
        }
        Ok(folder)
    }

    /// Reads files whose names are known. If a file was edited in place, one message vanished and another came.
    fn verify(
        &mut self,
        key: FolderKey,
        dir: &Path,
        files: Vec<(EntryKey, Sub, Vec<u8>)>,
        folder: &mut FolderScan,
    ) -> Result<()> {
        let (replica, world) = (self.replica, &*self.replica.world);
        let progress = world.meter.begin("reading messages", files.len() as u64);
        let work = |batch: Vec<(EntryKey, Sub, Vec<u8>)>| {
            let hash = |(entry, sub, name): (EntryKey, Sub, Vec<u8>)| {
                let result = hash_file(&*world.disk, &path_in(dir, sub, &name), FileKind::Message);
                (entry, sub, name, result)
            };
            batch.into_iter().map(hash).collect::<Vec<_>>()
        };
        let mut batches = chunks(files.into_iter(), BATCH as usize);
        pool::in_order(
            AHEAD,
            || Ok(batches.next()),
            work,
            |results| {
                progress.advance(results.len() as u64);
                for (entry, sub, name, result) in results {
                    self.report.messages_read += 1;
                    match result {
                        Ok(hashed) => {
                            let Some(row) = replica.state.entry(entry)? else { continue };
                            if row.id.digest == hashed.digest {
                                self.measured(row, hashed.size)?;
                            } else {
                                folder.gone.push(entry);
                                folder.add_found(replica.state.add_found(key, sub, &name)?);
                            }
                        }
                        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                        Err(error) => {
                            self.unread.insert(key);
                            self.problem("reading", path_in(dir, sub, &name), &error);
                        }
                    }
                }
                Ok(())
            },
        )
    }

    pub(super) fn record_listing(&self, key: FolderKey, folder: &FolderScan) -> Result<()> {
        let clean: Option<CleanListing> = folder.times.found.filter(|_| folder.quiet && !self.unread.contains(&key));
        if folder.times.found.is_some() {
            self.tx.set_devices(key, folder.devices)?;
        }
        self.tx.set_clean_listing(key, clean)
    }

    /// What gets a name in this scan gets one as the others in its folder have it.
    pub(super) fn record_separator(&self, key: FolderKey, folder: &FolderScan) -> Result<()> {
        folder.separator.map_or(Ok(()), |separator| self.tx.set_separator(key, separator))
    }
}
