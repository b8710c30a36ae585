//! `restore`: mail that vanished here is forgotten to have vanished, and got back: from this machine, or from peers,
//! which are asked for it by the next bundles.

use std::collections::{BTreeMap, BTreeSet};

use super::Replica;
use super::authors::ChangesOf;
use super::happenings::DIGITS;
use super::safety::DryRun;
use super::scan::{Purpose, ScanOptions, ScanReport, Selection};
use super::transaction::Transaction;
use crate::disk::Hashed;
use crate::error::{Error, Result};
use crate::model::{Digest, FolderName, Origin};
use crate::state::{Action, EntryRow, Occasion, TrashKey};
use crate::text::{plural, printable, quoted};

/// So many messages are looked at in one go.
const BATCH: u32 = 256;

/// What a person wants back.
#[derive(Clone, Debug, Default)]
pub struct RestoreOptions {
    /// Folders, messages by how their digests begin, and numbers in the trash; everything that vanished if empty.
    pub names: Vec<String>,
    /// What scans here have recorded as removed since then comes back, too: milliseconds since 1970 UTC.
    pub since: Option<u64>,
    /// Whether to do it, or to tell what would come back.
    pub dry_run: DryRun,
}

/// A message that comes back.
#[derive(Clone, Debug)]
pub struct RestoredItem {
    /// The message.
    pub digest: Digest,
    /// The folder.
    pub folder: FolderName,
    /// Bytes.
    pub bytes: u64,
    /// Whether its contents are on this machine. Else peers are asked for them.
    pub here: bool,
}

/// The report about what comes back.
#[derive(Clone, Debug, Default)]
pub struct Restored {
    /// Messages whose contents were on this machine.
    pub restored: u64,
    /// Messages that peers are asked for.
    pub wanted: u64,
    /// Folders that are made again.
    pub folders: u64,
    /// Why nothing has come back of what these names stand for.
    pub left: Vec<Error>,
    /// What else the scan found.
    pub scan: ScanReport,
}

/// What a name stands for.
enum Meant {
    Folder(FolderName),
    Message(Digest),
    Trashed(TrashKey),
}

/// What was named, and whether something of it has come back.
struct Named<'n> {
    name: &'n str,
    meant: Meant,
    is_back: bool,
}

impl Named<'_> {
    /// Whether it stands for what is in this folder, or for this message.
    fn has(&self, folder: &FolderName, message: Option<&Digest>) -> bool {
        match &self.meant {
            Meant::Folder(wanted) => Selection::of_folder(wanted).has_folder(folder),
            Meant::Message(digest) => message == Some(digest),
            Meant::Trashed(_) => false,
        }
    }
}

impl Replica {
    /// Gets back mail that vanished here, as if it had never been gone: its contents are looked for on this machine, in
    /// the trash for example, and else wanted from peers. A message that is named by its digest comes back, too, if a
    /// scan has recorded its removal, as a change made here, though it may be in other folders; and so does with
    /// `since` what scans here have recorded as removed since then, in the folders that are named or anywhere.
    /// Everything else that changed is recorded as by a scan, but for what vanished besides. `each` is told of each
    /// message.
    ///
    /// # Errors
    /// A name stands for nothing, or for several messages; the mail root isn't mounted; or the disk fails. Then nothing
    /// was changed, but that what is named by its number in the trash may be back.
    pub fn bring_back(
        &self,
        options: &RestoreOptions,
        each: &mut dyn FnMut(&RestoredItem) -> Result<()>,
    ) -> Result<Restored> {
        let mut named = self.wanted_back(&options.names)?;
        let mut done = Restored::default();
        for one in &mut named {
            let Meant::Trashed(key) = &one.meant else { continue };
            if options.dry_run == DryRun::No {
                self.restore(*key)?;
            }
            one.is_back = true;
            done.restored += 1;
        }
        if options.dry_run == DryRun::No {
            let tx = self.begin()?;
            tx.set_leftovers(true)?;
            tx.commit()?;
        }
        let selection = selection_of(&named);
        let tx = self.begin()?;
        tx.on_occasion(Occasion { action: Action::Restore, peer: None, bundle: None });
        let scan = ScanOptions { dry_run: options.dry_run, ..ScanOptions::default() };
        done.scan = self.scan_within(&tx, &scan, Purpose::Restore(&selection))?;
        done.folders = done.scan.folders_missing.len() as u64;
        for one in &mut named {
            one.is_back |= done.scan.folders_missing.iter().any(|folder| one.has(folder, None));
            if let Meant::Message(digest) = &one.meant {
                self.revive(&tx, digest)?;
            }
        }
        if let Some(since) = options.since {
            self.revive_removed(&tx, since, &selection)?;
        }
        self.recover_missing(&tx, options.dry_run, &mut |row, here| {
            let folder = &row.entry.location.1;
            if !selection.has(folder, &row.id.digest) {
                return Ok(());
            }
            let here = here.unwrap_or_else(|error| {
                done.scan.problems.push(error);
                false
            });
            *(if here { &mut done.restored } else { &mut done.wanted }) += 1;
            for one in &mut named {
                one.is_back |= one.has(folder, Some(&row.id.digest));
            }
            each(&RestoredItem { digest: row.id.digest, folder: folder.clone(), bytes: row.entry.size, here })
        })?;
        for one in named.iter().filter(|one| !one.is_back) {
            done.left.push(self.not_gone(one, options.since)?);
        }
        if options.dry_run == DryRun::No {
            if done.restored + done.wanted + done.folders > 0 || done.scan.has_changes() {
                tx.record(self.now(), Action::Restore, None, &done.to_string())?;
            }
            tx.commit()?;
            self.materialise()?;
        }
        Ok(done)
    }

    /// Why nothing has come back of what a name stands for.
    fn not_gone(&self, named: &Named<'_>, since: Option<u64>) -> Result<Error> {
        let name = printable(named.name);
        let digest = match &named.meant {
            Meant::Message(digest) => digest,
            Meant::Folder(folder) => {
                let advice = Self::removed_before(Some(folder), since);
                return Ok(Error::failed(format!("restoring {name}: nothing of it has vanished")).advise(advice));
            }
            Meant::Trashed(_) => unreachable!("it is back, or the command has failed"),
        };
        let rows = self.state.entries_of(digest)?;
        let there = rows.iter().filter(|row| row.entry.alive()).map(|row| printable(row.entry.location.1.as_str()));
        let there: BTreeSet<String> = there.collect();
        let there = there.into_iter().collect::<Vec<_>>().join(", ");
        Ok(Error::failed(format!("restoring {name}: it has not vanished, and is in {there}"))
            .advise(format!("`mailsync log --message {digest}` tells what became of it")))
    }

    /// How to get back what was removed before the last scan: in this folder, or anywhere. `since` is from when on that was
    /// looked for already.
    pub fn removed_before(folder: Option<&FolderName>, since: Option<u64>) -> String {
        let of = folder.map_or_else(String::new, |folder| format!(" --folder {}", quoted(folder.as_str())));
        let what = folder.map_or_else(|| String::from("--all"), |folder| quoted(folder.as_str()));
        let whole = match since {
            Some(_) => String::from("with an earlier TIME as a whole; what was moved, `mailsync undo` takes back"),
            None => format!("`mailsync restore {what} --since TIME` as a whole"),
        };
        format!(
            "`mailsync log --removed{of}` shows what was recorded as removed, which `mailsync restore` gets back by its digest, or \
             {whole}; what bundles have removed is in the trash, here or on other machines: `mailsync trash list{of}`"
        )
    }

    /// Delivers a message anew whose removal was recorded, in the folder and with the flags that it had. Its contents
    /// are missing. That it is in another folder as well is noted.
    fn revive(&self, tx: &Transaction<'_>, digest: &Digest) -> Result<()> {
        let rows = self.state.entries_of(digest)?;
        let (alive, dead): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.entry.alive());
        // Of several copies one comes back: the one that was removed last.
        let Some(row) = dead.into_iter().max_by_key(|row| row.entry.removal.map(|removal| removal.stamp)) else {
            return Ok(());
        };
        let folder = &row.entry.location.1;
        // Where it is it isn't wanted twice. If it vanished from elsewhere since the last scan, it comes back there.
        if alive.iter().any(|other| other.entry.location.1 == *folder) || !self.state.missing_of(digest)?.is_empty() {
            return Ok(());
        }
        if let Some(other) = alive.first() {
            let other = printable(other.entry.location.1.as_str());
            self.note(format!("{digest} is in {other} as well, and comes back into {}", printable(folder.as_str())));
        }
        self.deliver_again(tx, &row)
    }

    /// Delivers anew what scans here have recorded as removed since this time (milliseconds since 1970 UTC), in these
    /// folders. What a folder has already isn't delivered there a second time; that it is in another folder is noted.
    fn revive_removed(&self, tx: &Transaction<'_>, since: u64, selection: &Selection) -> Result<()> {
        let own: ChangesOf = self.changes_of(&self.as_author(), since)?;
        let incarnations: Vec<_> = own.incarnations.iter().copied().collect();
        let (mut after, mut elsewhere) = (None, 0_u64);
        loop {
            let batch = self.state.removed_by(&incarnations, own.since, after, BATCH)?;
            let Some(last) = batch.last() else { break };
            after = Some(*last);
            for digest in batch {
                let rows = self.state.entries_of(&digest)?;
                let (alive, dead): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.entry.alive());
                let mut newest = BTreeMap::new();
                for row in dead.into_iter().filter(|row| selection.has(&row.entry.location.1, &digest)) {
                    let Some(stamp) = row.entry.removal.and_then(|removal| removal.author()) else { continue };
                    let folder = row.entry.location.1.clone();
                    let is_newer = newest.get(&folder).is_none_or(|(other, _)| stamp > *other);
                    if own.has(stamp) && is_newer && alive.iter().all(|other| other.entry.location.1 != folder) {
                        newest.insert(folder, (stamp, row));
                    }
                }
                elsewhere += u64::from(!newest.is_empty() && !alive.is_empty());
                newest.values().try_for_each(|(_, row)| self.deliver_again(tx, row))?;
            }
        }
        if elsewhere > 0 {
            let messages = plural(elsewhere, "message");
            self.note(format!("{messages} of those that come back are in other folders as well"));
        }
        Ok(())
    }

    /// Delivers a message anew where it was removed, with the flags that it had then. Its contents are missing.
    fn deliver_again(&self, tx: &Transaction<'_>, row: &EntryRow) -> Result<()> {
        let digest = row.id.digest;
        let stamp = tx.issue(self.now())?;
        let name = row.entry.location.1.clone();
        let flags = row.entry.flags_on().cloned().collect();
        let hashed = Hashed { digest, size: row.entry.size, mtime: row.entry.mtime, marked: false };
        let folder = tx.folder(&name)?;
        let delivery = self.delivery(stamp, Origin::Delivery, name, &flags, &hashed)?;
        Self::deliver_without_contents(tx, delivery)?;
        tx.make_present(folder, stamp)?;
        Ok(())
    }

    /// What the names of a command stand for: a folder, or else a number in the trash, or else a message. What is named twice
    /// counts once.
    fn wanted_back<'n>(&self, names: &'n [String]) -> Result<Vec<Named<'n>>> {
        let mut wanted = Vec::new();
        let mut seen = BTreeSet::new();
        for name in names.iter().filter(|name| seen.insert(*name)) {
            let known = |name: &FolderName| {
                let rows = self.state.all_folders();
                rows.iter().any(|row| Selection::of_folder(name).has_folder(&row.name))
            };
            let meant = if let Some(folder) = name.trim_end_matches('/').parse().ok().filter(known) {
                Meant::Folder(folder)
            } else if let Some(key) = (name.len() < DIGITS).then(|| name.parse().ok()).flatten() {
                self.in_trash(key, "restoring")?;
                Meant::Trashed(key)
            } else {
                Meant::Message(self.message_that_begins(name)?)
            };
            wanted.push(Named { name, meant, is_back: false });
        }
        Ok(wanted)
    }
}

/// What a scan leaves as it was: all that has vanished, if nothing is named.
fn selection_of(named: &[Named<'_>]) -> Selection {
    let (mut folders, mut messages) = (Vec::new(), Vec::new());
    for one in named {
        match &one.meant {
            Meant::Folder(folder) => folders.push(folder.clone()),
            Meant::Message(digest) => messages.push(*digest),
            Meant::Trashed(_) => {}
        }
    }
    if named.is_empty() { Selection::All } else { Selection::These { folders, messages } }
}

impl std::fmt::Display for Restored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (restored, wanted) = (plural(self.restored, "message"), plural(self.wanted, "message"));
        write!(f, "{restored} from this machine, {wanted} wanted from peers, {}", plural(self.folders, "folder"))
    }
}
