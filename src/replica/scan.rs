//! The scan: make the state follow the disk.
//!
//! Three-way: what is on disk is compared with what was last seen there; where the two differ, somebody here changed
//! something, and the registers are written with a new stamp. In steps: find the folders; list those that changed; settle
//! what vanished; hash what is new; match the two; write. All of it is one transaction.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::Replica;
use super::discover::Discovery;
use super::transaction::Transaction;
use crate::disk::{Hashed, hash_file};
use crate::error::{Error, Result};
use crate::maildir::listing::{CleanListing, CleanTimes, Listing, path_in, stat_folder, unsettled_for, wall_clock};
use crate::maildir::{FileName, Sub, is_delivered_base, visible};
use crate::model::{Digest, Entry, EntryId, Flag, FolderName, FolderState, Mtime, Origin, Stamp};
use crate::pool::{self, chunks};
use crate::state::{By, EntryKey, EntryRow, FolderKey, Pending, Place, RootBefore};
use crate::text::plural;

/// Whether a scan or an import may remove more than half of a large folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MassDelete {
    /// It is refused.
    #[default]
    Refuse,
    /// The person said that it is meant.
    Allow,
}

/// Whether a command does what it says, or only tells what it would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Run {
    /// It is done.
    #[default]
    Real,
    /// Nothing is changed.
    Dry,
}

/// How thoroughly files are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Depth {
    /// A file whose name is known is not read again.
    #[default]
    Names,
    /// Every file is read, so that edits in place are found.
    Contents,
}

/// What to scan, and how.
#[derive(Clone, Debug, Default)]
pub struct ScanOptions {
    /// The folders to look at; all of them if empty.
    pub folders: Vec<FolderName>,
    /// How thoroughly.
    pub depth: Depth,
    /// Whether to change the state.
    pub run: Run,
    /// Whether it may remove much.
    pub mass_delete: MassDelete,
}

/// What a scan found.
#[derive(Clone, Debug, Default)]
pub struct ScanReport {
    /// Messages that came.
    pub new: u64,
    /// Entries that are in another folder.
    pub moved: u64,
    /// Entries with other flags.
    pub flagged: u64,
    /// Entries that are gone.
    pub removed: u64,
    /// Files that were found for entries that had none.
    pub adopted: u64,
    /// Folders that were made.
    pub folders_made: u64,
    /// Folders that were removed.
    pub folders_removed: u64,
    /// Folders whose listing was read.
    pub folders_read: u64,
    /// Messages that were read.
    pub messages_read: u64,
    /// What could not be looked at; everything else was.
    pub problems: Vec<Error>,
}

impl ScanReport {
    /// Whether somebody here changed something.
    pub fn has_changes(&self) -> bool {
        self.new + self.moved + self.flagged + self.removed + self.adopted + self.folders_made + self.folders_removed
            > 0
    }
}

/// A folder over which the mass-removal guard stands, from this many entries on.
const GUARDED_ENTRIES: u64 = 100;
/// How often a folder that keeps changing is listed before its vanished files are left for the next scan.
const ROUNDS: usize = 8;
/// How many files a hashing thread takes at a time.
const BATCH: u32 = 32;
/// How many of these batches are under way.
const AHEAD: u64 = 64;

/// What one folder's listing showed.
#[derive(Debug, Default)]
struct FolderScan {
    dir: PathBuf,
    /// Files that were last seen here.
    known: u64,
    /// Entries whose file isn't here any more.
    gone: Vec<EntryKey>,
    /// Entries whose file has another name of the same base.
    renamed: Vec<(EntryKey, Place)>,
    times: CleanTimes,
    quiet: bool,
}

/// An entry whose file vanished.
#[derive(Debug)]
struct Gone {
    row: EntryRow,
    from: Place,
}

impl Replica {
    /// Makes the state follow the disk, and the disk follow what becomes of it.
    ///
    /// # Errors
    /// Refused when the mail root is missing or empty although it held mail, or when more than half of a large folder would
    /// be removed. A folder that can't be read is a problem in the report, not an error.
    pub fn scan(&self, options: &ScanOptions) -> Result<ScanReport> {
        let tx = self.begin()?;
        let report = self.scan_within(&tx, options, None)?;
        if options.run == Run::Real {
            if report.has_changes() {
                tx.record(self.now(), "scan", None, &report.to_string())?;
            }
            tx.commit()?;
            self.materialise()?;
        }
        Ok(report)
    }

    /// The scan itself. `join` says that it is part of one, and what the mail root held before that.
    pub(super) fn scan_within(
        &self,
        tx: &Transaction<'_>,
        options: &ScanOptions,
        join: Option<RootBefore>,
    ) -> Result<ScanReport> {
        let mut scan = Scan {
            replica: self,
            tx,
            options,
            join,
            report: ScanReport::default(),
            stamp: None,
            unread: BTreeSet::new(),
            overtaken: false,
            // Where removals were forgotten, flags of then that somebody still remembers must not unite with those of old
            // mail: they may be those of an entry that was removed.
            origin: if self.state.initial_scan_due()? && self.state.horizon()?.is_empty() {
                Origin::Init
            } else {
                Origin::Delivery
            },
        };
        scan.run()?;
        Ok(scan.report)
    }
}

struct Scan<'r> {
    replica: &'r Replica,
    tx: &'r Transaction<'r>,
    options: &'r ScanOptions,
    join: Option<RootBefore>,
    report: ScanReport,
    stamp: Option<Stamp>,
    origin: Origin,
    /// Folders that are to be listed again by the next scan: files in them were found, and could not be read.
    unread: BTreeSet<FolderKey>,
    /// Whether a file that was found had another name when it was to be read: it may be one that vanished elsewhere.
    overtaken: bool,
}

impl Scan<'_> {
    fn run(&mut self) -> Result<()> {
        let replica = self.replica;
        replica.check_mail_root()?;
        let discovery = replica.discover(self.tx)?;
        self.check_root_is_not_empty(&discovery)?;
        for (dir, error) in &discovery.unreadable {
            self.problem("searching for folders in", replica.mail_root().join(dir), error);
        }
        for dir in &discovery.nameless {
            let advice = if dir.as_os_str().is_empty() {
                "is a Maildir itself, which config.toml denies: set inbox_at_root there, or move that mail"
            } else {
                "can't be the name of a folder, and the mail in it stays here: rename it, then scan again"
            };
            replica.note(format!("{} {advice}", replica.mail_root().join(dir).display()));
        }
        let vanished = self.follow_folders(&discovery)?;
        let mut folders = self.list(&discovery, vanished)?;
        let mut gone = self.take_gone(&mut folders)?;
        self.follow_renamed(&folders)?;
        self.follow_found(&folders, &mut gone)?;
        self.remove_unmatched(&folders, gone)?;
        for (key, folder) in &folders {
            self.record_listing(*key, folder)?;
        }
        self.reconsider()?;
        if self.options.folders.is_empty() && self.origin == Origin::Init {
            self.tx.initial_scan_done()?;
        }
        Ok(())
    }

    /// All changes that one scan finds carry one stamp.
    fn stamp(&mut self) -> Result<Stamp> {
        if let Some(stamp) = self.stamp {
            return Ok(stamp);
        }
        let stamp = self.tx.issue(self.replica.now())?;
        self.stamp = Some(stamp);
        Ok(stamp)
    }

    fn problem(&mut self, doing: &str, path: impl Into<PathBuf>, error: &io::Error) {
        let advice = match error.kind() {
            io::ErrorKind::PermissionDenied => "give yourself permission to read it, then scan again",
            _ => "scan again; if it stays, check the disk",
        };
        self.report.problems.push(Error::io(doing, &path.into(), error).advise(advice));
    }

    /// A mail root without a single folder, although it held mail, is more likely an unmounted disk than a person's wish.
    fn check_root_is_not_empty(&self, discovery: &Discovery) -> Result<()> {
        let empty = discovery.folders.is_empty() && discovery.unreadable.is_empty();
        if empty && self.options.mass_delete == MassDelete::Refuse && self.replica.state.has_files()? {
            let what = format!("scanning {}: no Maildir is left in it", self.replica.mail_root().display());
            return Err(Error::refused(what)
                .advise(
                    "mount the disk that holds your mail, or put the layout in config.toml right; if the mail is really gone, use \
                     --allow-mass-delete",
                ));
        }
        Ok(())
    }

    /// Writes the registers of folders that were made or removed. Returns the folders that vanished with files in them.
    fn follow_folders(&mut self, discovery: &Discovery) -> Result<Vec<FolderKey>> {
        let state = &self.replica.state;
        for name in discovery.folders.keys() {
            let key = self.tx.folder(name)?;
            let row = state.folder_row(key)?;
            if row.on_disk {
                continue;
            }
            self.tx.set_folder_on_disk(key, true)?;
            // Of a folder that an interrupted join has made, and that was removed since then, nobody here has made anything.
            let leftover = self.join == Some(RootBefore::Empty) && row.state.is_some();
            if !leftover && !row.state.is_some_and(|state| state.present) {
                let stamp = self.stamp()?;
                self.tx.set_folder_state(key, FolderState { stamp, present: true })?;
                self.report.folders_made += 1;
            }
        }
        let mut vanished = Vec::new();
        for row in state.all_folders() {
            if !row.on_disk || discovery.folders.contains_key(&row.name) {
                continue;
            }
            if discovery.hides(&self.replica.relative_dir(&row.name)) {
                continue;
            }
            self.tx.set_folder_on_disk(row.key, false)?;
            self.tx.set_clean_listing(row.key, None)?;
            if row.state.is_some_and(|state| state.present) && !row.name.is_inbox() {
                let stamp = self.stamp()?;
                self.tx.set_folder_state(row.key, FolderState { stamp, present: false })?;
                self.report.folders_removed += 1;
            }
            if state.folder_has_files(row.key)? {
                vanished.push(row.key);
            }
        }
        Ok(vanished)
    }

    /// Lists the folders that changed, until what vanished from them can be believed.
    fn list(&mut self, discovery: &Discovery, vanished: Vec<FolderKey>) -> Result<BTreeMap<FolderKey, FolderScan>> {
        let state = &self.replica.state;
        let mut dirs = BTreeMap::new();
        for (name, dir) in &discovery.folders {
            dirs.insert(self.tx.folder(name)?, dir.clone());
        }
        let mut wanted = BTreeSet::new();
        for name in &self.options.folders {
            let key = state.find_folder(name).filter(|key| dirs.contains_key(key) || vanished.contains(key));
            wanted.insert(key.ok_or_else(|| {
                Error::usage(format!("scanning {name}: there is no such folder"))
                    .advise("name folders as `mailsync status` lists them")
            })?);
        }
        let mut folders: BTreeMap<FolderKey, FolderScan> = BTreeMap::new();
        let mut started = false;
        for round in 0..ROUNDS {
            let somebody_vanished = !vanished.is_empty() || folders.values().any(|folder| !folder.gone.is_empty());
            let scope = (!wanted.is_empty() && !somebody_vanished).then_some(&wanted);
            let (due, wait) = self.due(&mut dirs, &folders, scope, somebody_vanished)?;
            if due.is_empty() {
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
            for key in due {
                let earlier = folders.get(&key).map(|folder| folder.times);
                match self.list_folder(key, &dirs[&key], earlier) {
                    Ok(folder) => {
                        folders.insert(key, folder);
                    }
                    Err(ListError::Disk(error)) => {
                        self.problem("listing", &dirs[&key], &error);
                        folders.remove(&key);
                        dirs.remove(&key);
                    }
                    Err(ListError::State(error)) => return Err(error),
                }
            }
            if round + 1 == ROUNDS {
                // As long as some folder doesn't come to rest, what vanished may be on its way there: it is left for the
                // next scan.
                if folders.values().any(|folder| !folder.quiet) {
                    for folder in folders.values_mut() {
                        folder.gone.clear();
                    }
                }
            }
        }
        if !started {
            state.clear_found()?;
            for key in vanished {
                folders.insert(key, self.vanished_folder(key)?);
            }
        }
        Ok(folders)
    }

    /// The folders that are to be listed now, and how long to wait before, so that the listing can be clean.
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
                    hidden.push(key);
                    continue;
                }
            };
            let is_due = match folders.get(&key) {
                // Something vanished: nothing may have changed anywhere since it was listed.
                Some(folder) if somebody_vanished => folder.times.found != Some(times) || !folder.quiet,
                Some(_) => false,
                None => {
                    self.options.depth == Depth::Contents || self.replica.state.folder_row(key)?.clean != Some(times)
                }
            };
            if is_due {
                due.push(key);
                let unsettled = times.new.iter().chain(&times.cur).filter_map(|&time| unsettled_for(time, now));
                wait = wait.max(unsettled.max().filter(|rest| {
                    // A first listing waits for the fine clock only; the coarse one is waited for when something vanished.
                    folders.contains_key(&key) || *rest <= Duration::from_millis(20)
                }));
            }
        }
        for key in hidden {
            dirs.remove(&key);
        }
        Ok((due, wait))
    }

    /// All files of a folder whose directory is gone.
    fn vanished_folder(&self, key: FolderKey) -> Result<FolderScan> {
        let mut folder = FolderScan { quiet: true, ..FolderScan::default() };
        self.replica.state.files_in(key, |entry, _, _| {
            folder.gone.push(entry);
            folder.known += 1;
            Ok(())
        })?;
        Ok(folder)
    }

    /// Compares a folder's listing with what was last seen there. Both are sorted, and are gone through side by side.
    fn list_folder(
        &mut self,
        key: FolderKey,
        dir: &std::path::Path,
        earlier: Option<CleanTimes>,
    ) -> std::result::Result<FolderScan, ListError> {
        let state = &self.replica.state;
        state.remove_found(key)?;
        let listing = Listing::read(&*self.replica.world.disk, dir, earlier).map_err(ListError::Disk)?;
        self.report.folders_read += 1;
        let mut folder =
            FolderScan { dir: dir.to_owned(), times: listing.times, quiet: listing.quiet, ..FolderScan::default() };
        let mut vanished: HashMap<Vec<u8>, Vec<EntryKey>> = HashMap::new();
        let mut appeared: Vec<(&[u8], Sub)> = Vec::new();
        let mut present = listing.iter().peekable();
        let deep = self.options.depth == Depth::Contents;
        let mut to_verify = Vec::new();
        state.files_in(key, |entry, sub, name| {
            folder.known += 1;
            while let Some(found) = present.next_if(|&found| found < (name, sub)) {
                appeared.push(found);
            }
            if present.next_if(|&found| found == (name, sub)).is_none() {
                vanished.entry(FileName::parse(name).base().to_vec()).or_default().push(entry);
            } else if deep {
                to_verify.push((entry, sub, name.to_vec()));
            }
            Ok(())
        })?;
        appeared.extend(present);
        for (name, sub) in appeared {
            // Same folder, same base: the same file with other flags. It need not be read again.
            let base = FileName::parse(name).base();
            let entry = if vanished.is_empty() { None } else { vanished.get_mut(base).and_then(Vec::pop) };
            match entry {
                Some(entry) => folder.renamed.push((entry, Place { folder: key, sub, name: name.to_vec() })),
                None => state.add_found(key, sub, name)?,
            }
        }
        folder.gone = vanished.into_values().flatten().collect();
        folder.gone.sort_unstable();
        if deep {
            self.verify(key, dir, to_verify, &mut folder)?;
        }
        Ok(folder)
    }

    /// Reads files whose names are known. One that was edited in place is a message that vanished and another that came.
    fn verify(
        &mut self,
        key: FolderKey,
        dir: &std::path::Path,
        files: Vec<(EntryKey, Sub, Vec<u8>)>,
        folder: &mut FolderScan,
    ) -> Result<()> {
        let replica = self.replica;
        let progress = replica.world.meter.begin("reading messages", files.len() as u64);
        let work = |batch: Vec<(EntryKey, Sub, Vec<u8>)>| {
            let hash = |(entry, sub, name): (EntryKey, Sub, Vec<u8>)| {
                let result = hash_file(&*replica.world.disk, &path_in(dir, sub, &name));
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
                            let row = replica.state.entry(entry)?;
                            if row.is_some_and(|row| row.id.digest != hashed.digest) {
                                folder.gone.push(entry);
                                replica.state.add_found(key, sub, &name)?;
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

    /// The entries whose files vanished, by message. Their recorded places are cleared, so that others can take them.
    fn take_gone(&mut self, folders: &mut BTreeMap<FolderKey, FolderScan>) -> Result<HashMap<Digest, Vec<Gone>>> {
        let state = &self.replica.state;
        let mut gone: HashMap<Digest, Vec<Gone>> = HashMap::new();
        for folder in folders.values_mut() {
            for key in std::mem::take(&mut folder.gone) {
                let Some(row) = state.entry(key)? else { continue };
                self.tx.set_place(key, None)?;
                self.tx.clear_pending(key)?;
                let Some(from) = row.at.clone() else { continue };
                gone.entry(row.id.digest).or_default().push(Gone { row, from });
            }
        }
        Ok(gone)
    }

    /// Files with another name of the same base: their flags changed, or they moved between `new/` and `cur/`.
    fn follow_renamed(&mut self, folders: &BTreeMap<FolderKey, FolderScan>) -> Result<()> {
        let state = &self.replica.state;
        let renamed = || folders.values().flat_map(|folder| &folder.renamed);
        // First all places are cleared: files may have swapped their names.
        let mut rows = Vec::new();
        for (key, _) in renamed() {
            rows.push(state.entry(*key)?);
            self.tx.set_place(*key, None)?;
        }
        for ((_, at), row) in renamed().zip(rows) {
            let Some(row) = row else { continue };
            let Some(from) = row.at.clone() else { continue };
            self.follow_file(row, &from, at.clone())?;
        }
        Ok(())
    }

    /// Records that an entry's file is now at `at`, and what that says about its location and its flags.
    fn follow_file(&mut self, mut row: EntryRow, from: &Place, at: Place) -> Result<()> {
        let state = &self.replica.state;
        let mut entry = row.entry.clone();
        if from.folder != at.folder {
            entry.move_to(self.stamp()?, state.folder_row(at.folder)?.name.clone());
            self.report.moved += 1;
        }
        let (before, after) = (from.flags(), at.flags());
        if before != after {
            let stamp = self.stamp()?;
            for flag in before.symmetric_difference(&after) {
                entry.set_flag(stamp, flag.clone(), after.contains(flag));
            }
            self.report.flagged += 1;
        }
        if entry != row.entry {
            self.tx.update_entry(&row, &entry)?;
            row.entry = entry;
        }
        self.tx.set_place(row.key, Some(&at))?;
        row.at = Some(at);
        self.replica.plan(self.tx, &row, &By::Here)
    }

    /// A file was found for an entry that has none: two old copies of a message meet, and their flags unite. It is new mail
    /// only where both were.
    fn adopt(&mut self, mut row: EntryRow, at: Place) -> Result<()> {
        let mut entry = row.entry.clone();
        let (theirs, found) = (visible(&entry), at.flags());
        let mut changes: Vec<(Flag, bool)> =
            found.difference(&theirs).filter(|flag| **flag != Flag::Recent).map(|flag| (flag.clone(), true)).collect();
        if theirs.contains(&Flag::Recent) && !found.contains(&Flag::Recent) {
            changes.push((Flag::Recent, false));
        }
        if !changes.is_empty() {
            let stamp = self.stamp()?;
            for (flag, on) in changes {
                entry.set_flag(stamp, flag, on);
            }
            self.report.flagged += 1;
            self.tx.update_entry(&row, &entry)?;
            row.entry = entry;
        }
        self.take_file(row, at)
    }

    /// A file that an interrupted join has left becomes that of its entry, and says nothing about its flags. A kill may have
    /// come before it had its date.
    fn take_leftover(&mut self, row: EntryRow, at: Place, mtime: Mtime) -> Result<()> {
        if mtime != row.entry.mtime {
            let disk = &*self.replica.world.disk;
            let path = self.replica.path(&at)?;
            disk.open(&path)
                .and_then(|file| disk.set_mtime(&path, &file, row.entry.mtime))
                .map_err(|error| Error::io("setting the date of", &path, error).advise("run this again"))?;
        }
        self.take_file(row, at)
    }

    /// The file that was found becomes that of an entry which has none.
    fn take_file(&mut self, mut row: EntryRow, at: Place) -> Result<()> {
        self.report.adopted += 1;
        self.tx.remove_missing(row.key)?;
        self.tx.clear_pending(row.key)?;
        self.tx.set_place(row.key, Some(&at))?;
        row.at = Some(at);
        self.replica.plan(self.tx, &row, &By::Here)
    }

    /// Reads what was found under an unknown name, and matches it with what vanished.
    fn follow_found(
        &mut self,
        folders: &BTreeMap<FolderKey, FolderScan>,
        gone: &mut HashMap<Digest, Vec<Gone>>,
    ) -> Result<()> {
        let replica = self.replica;
        let progress = replica.world.meter.begin("reading messages", replica.state.count_found()?);
        let disk = &*replica.world.disk;
        let work = |batch: Vec<(Place, PathBuf)>| {
            let hash = |(at, path): (Place, PathBuf)| {
                let hashed = hash_file(disk, &path);
                (at, path, hashed)
            };
            batch.into_iter().map(hash).collect::<Vec<_>>()
        };
        let mut after = 0;
        let next = || {
            let batch = replica.state.found_batch(after, BATCH)?;
            let Some((last, _)) = batch.last() else { return Ok(None) };
            after = *last;
            let locate = |(_, at): (i64, Place)| {
                let path = path_in(&folders[&at.folder].dir, at.sub, &at.name);
                (at, path)
            };
            Ok(Some(batch.into_iter().map(locate).collect()))
        };
        pool::in_order(AHEAD, next, work, |results| {
            progress.advance(results.len() as u64);
            for (at, path, hashed) in results {
                self.report.messages_read += 1;
                match hashed {
                    Ok(hashed) => self.follow_arrival(at, &hashed, gone)?,
                    Err(error) => {
                        self.unread.insert(at.folder);
                        if error.kind() == io::ErrorKind::NotFound {
                            self.overtaken = true;
                        } else {
                            self.problem("reading", path, &error);
                        }
                    }
                }
            }
            Ok(())
        })
    }

    fn follow_arrival(&mut self, at: Place, hashed: &Hashed, gone: &mut HashMap<Digest, Vec<Gone>>) -> Result<()> {
        if let Some(candidates) = gone.get_mut(&hashed.digest)
            && !candidates.is_empty()
        {
            let here = candidates.iter().position(|gone| gone.from.folder == at.folder);
            let found = candidates.swap_remove(here.unwrap_or(0));
            return self.follow_file(found.row, &found.from, at);
        }
        let leftover = self.join == Some(RootBefore::Empty) && self.is_leftover(&at);
        let missing = self.replica.state.missing_in(&hashed.digest, at.folder)?;
        if let Some(row) = missing.into_iter().next() {
            return if leftover { self.take_leftover(row, at, hashed.mtime) } else { self.adopt(row, at) };
        }
        if leftover {
            return self.discard_leftover(&at, hashed);
        }
        let stamp = self.stamp()?;
        self.report.new += 1;
        let folder = self.replica.state.folder_row(at.folder)?;
        let name = folder.name.clone();
        if folder.state.is_some_and(|state| !state.present) {
            self.tx.set_folder_state(at.folder, FolderState { stamp, present: true })?;
        }
        let delivery = self.replica.delivery(stamp, self.origin, name, &at.flags(), hashed)?;
        self.replica.deliver(self.tx, delivery, &at).map(drop)
    }

    /// Whether a file was left by an interrupted join into an empty mail root.
    fn is_leftover(&self, at: &Place) -> bool {
        is_delivered_base(FileName::parse(&at.name).base(), &self.replica.config.name)
    }

    /// What an interrupted join has left and the repeated one has no use for: cut off, or removed by the inviter meanwhile.
    fn discard_leftover(&self, at: &Place, hashed: &Hashed) -> Result<()> {
        let folder = self.replica.state.folder_row(at.folder)?.name.clone();
        let id = EntryId { digest: hashed.digest, birth: folder.clone(), ordinal: 0 };
        let (origin, flags) = (Origin::Init, at.flags());
        let entry = Entry::delivered(None, origin, Stamp::ZERO, folder, &flags, hashed.size, hashed.mtime);
        self.tx.add_discard(&id, &entry, at, &By::InterruptedJoin)
    }

    /// What vanished and was not found elsewhere was removed by somebody here; but not too much at once, and not if
    /// it may be a file that somebody renamed just now: then it is left for the next scan.
    fn remove_unmatched(
        &mut self,
        folders: &BTreeMap<FolderKey, FolderScan>,
        gone: HashMap<Digest, Vec<Gone>>,
    ) -> Result<()> {
        let state = &self.replica.state;
        let mut removed: Vec<(EntryRow, FolderKey)> = Vec::new();
        for gone in gone.into_values().flatten() {
            let from = gone.from;
            if !gone.row.entry.alive() {
                continue;
            }
            if !self.overtaken || state.entry_at(&from)?.is_some() {
                removed.push((gone.row, from.folder));
            } else {
                self.tx.set_place(gone.row.key, Some(&from))?;
                self.unread.insert(from.folder);
            }
        }
        if removed.is_empty() {
            return Ok(());
        }
        let mut counts: BTreeMap<FolderKey, u64> = BTreeMap::new();
        for (_, folder) in &removed {
            *counts.entry(*folder).or_default() += 1;
        }
        for (folder, count) in counts {
            let name = &state.folder_row(folder)?.name;
            guard(self.options.mass_delete, "scanning", name.as_str(), count, folders[&folder].known)?;
        }
        let stamp = self.stamp()?;
        removed.sort_by_key(|(row, _)| row.key);
        for (row, _) in removed {
            let mut entry: Entry = row.entry.clone();
            entry.remove(stamp);
            self.tx.update_entry(&row, &entry)?;
            self.report.removed += 1;
        }
        Ok(())
    }

    fn record_listing(&self, key: FolderKey, folder: &FolderScan) -> Result<()> {
        let clean: Option<CleanListing> = folder.times.found.filter(|_| folder.quiet && !self.unread.contains(&key));
        self.tx.set_clean_listing(key, clean)
    }

    /// Entries whose file somebody had changed while it was to be changed from here: now that this is known, decide anew.
    fn reconsider(&mut self) -> Result<()> {
        let state = &self.replica.state;
        let mut after = None;
        loop {
            let batch = state.pending_batch(after, 256)?;
            let Some((last, _)) = batch.last() else { return Ok(()) };
            after = Some(last.key);
            for (row, pending) in batch {
                if pending == Pending::Reconsider {
                    self.tx.clear_pending(row.key)?;
                    self.replica.plan(self.tx, &row, &By::Here)?;
                }
            }
        }
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

/// The mass-removal guard: refuses to remove more than half of a folder that holds many entries.
pub(super) fn guard(mass_delete: MassDelete, doing: &str, folder: &str, removed: u64, total: u64) -> Result<()> {
    if mass_delete == MassDelete::Allow || total <= GUARDED_ENTRIES || removed * 2 <= total {
        return Ok(());
    }
    Err(Error::refused(format!("{doing}: {removed} of the {total} messages in {folder} would be removed"))
        .advise("if that is meant, run this again with --allow-mass-delete"))
}

impl std::fmt::Display for ScanReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} new, {} moved, {} flagged, {} removed", self.new, self.moved, self.flagged, self.removed)?;
        if self.adopted > 0 {
            write!(f, ", {} found again", self.adopted)?;
        }
        if self.folders_made + self.folders_removed > 0 {
            let (made, removed) = (plural(self.folders_made, "folder"), plural(self.folders_removed, "folder"));
            write!(f, ", {made} made, {removed} removed")?;
        }
        Ok(())
    }
}
