//! `restore`: mail that vanished here is forgotten to have vanished, and got back: from this machine, or from peers,
//! which are asked for it by the next bundles.

use super::Replica;
use super::happenings::DIGITS;
use super::safety::DryRun;
use super::scan::{Purpose, ScanOptions, ScanReport, Selection};
use super::transaction::Transaction;
use crate::disk::Hashed;
use crate::error::Result;
use crate::model::{Digest, FolderName, Origin};
use crate::state::{Action, Occasion, TrashKey};
use crate::text::plural;

/// What a person wants back.
#[derive(Clone, Debug, Default)]
pub struct RestoreOptions {
    /// Folders, messages by how their digests begin, and numbers in the trash; everything that vanished if empty.
    pub names: Vec<String>,
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
    /// What else the scan found.
    pub scan: ScanReport,
}

/// What the names of a command stand for.
#[derive(Default)]
struct Wanted {
    folders: Vec<FolderName>,
    messages: Vec<Digest>,
    trashed: Vec<TrashKey>,
}

impl Replica {
    /// Gets back mail that vanished here, as if it had never been gone: its contents are looked for on this machine, in
    /// the trash for example, and else wanted from peers. A message that is named by its digest comes back, too, if a
    /// scan has recorded its removal, as a change made here. Everything else that changed is recorded as by a scan, but
    /// for what vanished besides. `each` is told of each message.
    ///
    /// # Errors
    /// A name stands for nothing, or for several messages; the mail root isn't mounted; or the disk fails. Then nothing
    /// was changed, but that what is named by its number in the trash may be back.
    pub fn bring_back(
        &self,
        options: &RestoreOptions,
        each: &mut dyn FnMut(&RestoredItem) -> Result<()>,
    ) -> Result<Restored> {
        let Wanted { folders, messages, trashed } = self.wanted_back(&options.names)?;
        for key in trashed.iter().filter(|_| options.dry_run == DryRun::No) {
            self.restore(*key)?;
        }
        if options.dry_run == DryRun::No {
            let tx = self.begin()?;
            tx.set_leftovers(true)?;
            tx.commit()?;
        }
        let selection = if options.names.is_empty() { Selection::All } else { Selection::These { folders, messages } };
        let mut done = Restored { restored: trashed.len() as u64, ..Restored::default() };
        let tx = self.begin()?;
        tx.on_occasion(Occasion { action: Action::Restore, peer: None, bundle: None });
        let scan = ScanOptions { dry_run: options.dry_run, ..ScanOptions::default() };
        done.scan = self.scan_within(&tx, &scan, Purpose::Restore(&selection))?;
        done.folders = done.scan.folders_missing;
        if let Selection::These { messages, .. } = &selection {
            for digest in messages {
                self.revive(&tx, digest)?;
            }
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
            each(&RestoredItem { digest: row.id.digest, folder: folder.clone(), bytes: row.entry.size, here })
        })?;
        if options.dry_run == DryRun::No {
            if done.restored + done.wanted + done.folders > 0 || done.scan.has_changes() {
                tx.record(self.now(), Action::Restore, None, &done.to_string())?;
            }
            tx.commit()?;
            self.materialise()?;
        }
        Ok(done)
    }

    /// Delivers a message anew whose removal was recorded, in the folder and with the flags that it had. Its contents
    /// are missing.
    fn revive(&self, tx: &Transaction<'_>, digest: &Digest) -> Result<()> {
        let rows = self.state.entries_of(digest)?;
        if rows.iter().any(|row| row.entry.alive()) {
            return Ok(());
        }
        // Of several copies one comes back: the one that was removed last.
        let Some(row) = rows.into_iter().max_by_key(|row| row.entry.removal.map(|removal| removal.stamp)) else {
            return Ok(());
        };
        let stamp = tx.issue(self.now())?;
        let name = row.entry.location.1.clone();
        let flags = row.entry.flags_on().cloned().collect();
        let hashed = Hashed { digest: *digest, size: row.entry.size, mtime: row.entry.mtime, marked: false };
        let folder = tx.folder(&name)?;
        let delivery = self.delivery(stamp, Origin::Delivery, name, &flags, &hashed)?;
        Self::deliver_without_contents(tx, delivery)?;
        tx.make_present(folder, stamp)?;
        Ok(())
    }

    /// What the names of a command stand for: a folder, or else a number in the trash, or else a message.
    fn wanted_back(&self, names: &[String]) -> Result<Wanted> {
        let mut wanted = Wanted::default();
        for name in names {
            let known = |name: &FolderName| {
                let rows = self.state.all_folders();
                rows.iter().any(|row| Selection::of_folder(name).has_folder(&row.name))
            };
            if let Some(folder) = name.trim_end_matches('/').parse().ok().filter(known) {
                wanted.folders.push(folder);
            } else if let Some(key) = (name.len() < DIGITS).then(|| name.parse().ok()).flatten() {
                self.in_trash(key, "restoring")?;
                wanted.trashed.push(key);
            } else {
                wanted.messages.push(self.message_that_begins(name)?);
            }
        }
        Ok(wanted)
    }
}

impl std::fmt::Display for Restored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (restored, wanted) = (plural(self.restored, "message"), plural(self.wanted, "message"));
        write!(f, "{restored} from this machine, {wanted} wanted from peers, {}", plural(self.folders, "folder"))
    }
}
