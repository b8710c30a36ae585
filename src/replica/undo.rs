//! `undo`: what somebody has moved and flagged is taken back, as far as the history of messages goes. What they have
//! removed comes back from the trash (`trash/`).

use super::Replica;
use super::authors::{Author, ChangesOf, Names};
use super::safety::DryRun;
use super::scan::{ScanOptions, ScanReport, Selection};
use super::transaction::Transaction;
use crate::error::{Error, Result};
use crate::model::{Digest, Flag, FolderName, Register, Stamp, TakenBack, take_back};
use crate::state::{Action, By, EntryRow, Occasion};
use crate::text::plural;

/// So many messages are looked at in one go.
const BATCH: u32 = 256;

/// Whose changes are taken back.
#[derive(Clone, Debug)]
pub struct UndoOptions {
    /// The name, the id or the incarnation of the replica that made them.
    pub by: String,
    /// When the first of them was made, as that replica's clock was: milliseconds since 1970 UTC.
    pub since: u64,
    /// Only what lies in this folder or one below it, or lay there before.
    pub folder: Option<FolderName>,
    /// Whether to do it, or to tell what would be done.
    pub dry_run: DryRun,
}

/// A flag that is set or cleared again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlagBack {
    /// The flag.
    pub flag: Flag,
    /// Whether it is on again.
    pub on: bool,
}

/// Something that is not taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// The flag; without one it is the folder, or the whole message.
    pub flag: Option<Flag>,
    /// Why not.
    pub why: String,
}

/// What is taken back of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UndoItem {
    /// The message.
    pub digest: Digest,
    /// The folder in which it is.
    pub folder: FolderName,
    /// The folder into which it goes back.
    pub back_to: Option<FolderName>,
    /// The flags that it gets back, or loses again.
    pub flags: Vec<FlagBack>,
    /// What stays as it is.
    pub left: Vec<Left>,
}

/// The report about what was taken back.
#[derive(Clone, Debug, Default)]
pub struct Undone {
    /// The name of the replica whose changes they were.
    pub by: String,
    /// Messages that were moved back.
    pub moved: u64,
    /// Messages that got back their flags.
    pub flagged: u64,
    /// Folders that are made again for that.
    pub folders: u64,
    /// Messages of which something stays as it is, as somebody else has changed it since.
    pub left: u64,
    /// Messages that are removed: what happened to them before stays as it is.
    pub gone: u64,
    /// Messages that somebody has moved or flagged since of whom nobody can tell here who it is, and that stay as they are.
    pub by_unknown: u64,
    /// What the scan before it has found.
    pub scan: ScanReport,
}

impl Undone {
    fn has_changes(&self) -> bool {
        self.moved + self.flagged > 0
    }
}

impl std::fmt::Display for Undone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} moved back, {} flagged back", plural(self.moved, "message"), plural(self.flagged, "message"))?;
        if self.folders > 0 {
            write!(f, ", {} made again", plural(self.folders, "folder"))?;
        }
        if self.left > 0 {
            write!(f, ", {} left as somebody else has changed them since", plural(self.left, "message"))?;
        }
        if self.gone > 0 { write!(f, ", {} removed since", plural(self.gone, "message")) } else { Ok(()) }
    }
}

/// An undo under way.
struct Undoing<'u> {
    names: Names<'u>,
    replica: &'u Replica,
    tx: &'u Transaction<'u>,
    options: &'u UndoOptions,
    theirs: ChangesOf,
    /// The one stamp of all that it changes, once there is something.
    stamp: Option<Stamp>,
    each: &'u mut dyn FnMut(&UndoItem) -> Result<()>,
    done: Undone,
}

impl Replica {
    /// Takes back what somebody has moved and flagged, as new changes made here. A folder or a flag that somebody else
    /// has changed since stays as it is, and so does all of a message that is removed: nothing is removed by this, and
    /// nothing comes back. Local changes are recorded first, and count. `each` is told of each message. Repeated, it
    /// finds nothing to do.
    ///
    /// # Errors
    /// Nobody is called so, or nothing of their own has come here; or the scan before it fails. Then nothing is taken
    /// back.
    pub fn undo(&self, options: &UndoOptions, each: &mut dyn FnMut(&UndoItem) -> Result<()>) -> Result<Undone> {
        options.folder.as_ref().map_or(Ok(()), |folder| self.check_folder_is_known(folder))?;
        let author = self.author(&options.by)?;
        let theirs = self.changes_of(&author, options.since)?;
        if theirs.incarnations.is_empty() {
            let what = format!(
                "undoing what {} has done: no bundle of its own has come here, to tell whose it is",
                author.name
            );
            return Err(Error::failed(what).advise(
                "run this on a machine that has exchanged bundles with it; or, if it was revoked, once such a machine has revoked it, too, \
                 and a bundle from there has come here",
            ));
        }
        match options.dry_run {
            DryRun::Yes => self.rehearse(|| self.undo_theirs(options, &author, theirs, each)),
            DryRun::No => {
                let done = self.undo_theirs(options, &author, theirs, each)?;
                self.materialise()?;
                Ok(done)
            }
        }
    }

    fn undo_theirs(
        &self,
        options: &UndoOptions,
        author: &Author,
        theirs: ChangesOf,
        each: &mut dyn FnMut(&UndoItem) -> Result<()>,
    ) -> Result<Undone> {
        let scan = self.scan(&ScanOptions { dry_run: options.dry_run, ..ScanOptions::default() })?.unless_refused()?;
        let tx = self.begin()?;
        tx.on_occasion(Occasion { action: Action::Undo, peer: None, bundle: None });
        let done = Undone { by: author.name.clone(), scan, ..Undone::default() };
        let mut undoing =
            Undoing { names: self.names(), replica: self, tx: &tx, options, theirs, stamp: None, each, done };
        undoing.done.by_unknown = undoing.count_by_unknown()?;
        undoing.run()?;
        let done = undoing.done;
        if done.has_changes() {
            let text = format!("what {} has done: {done}", author.name);
            tx.record(self.now(), Action::Undo, None, &text)?;
        }
        tx.commit()?;
        Ok(done)
    }

    /// Goes through the entries of messages of which one was moved or flagged by these changes.
    fn each_changed_by(&self, changes: &ChangesOf, mut each: impl FnMut(EntryRow) -> Result<()>) -> Result<()> {
        let incarnations: Vec<_> = changes.incarnations.iter().copied().collect();
        let mut after = None;
        loop {
            let batch = self.state.changed_by(&incarnations, changes.since, after, BATCH)?;
            let Some(last) = batch.last() else { return Ok(()) };
            after = Some(*last);
            for digest in batch {
                for row in self.state.entries_of(&digest)? {
                    each(row)?;
                }
            }
        }
    }
}

impl Undoing<'_> {
    fn run(&mut self) -> Result<()> {
        let (replica, theirs) = (self.replica, self.theirs.clone());
        replica.each_changed_by(&theirs, |row| self.take_back(row))
    }

    /// How many messages could be taken back of what those have done whom nobody can tell from others here.
    fn count_by_unknown(&self) -> Result<u64> {
        let replica = self.replica;
        let known = replica.state.knowledge()?;
        let mut unknown = ChangesOf {
            incarnations: replica.nobodys(known.iter().map(|(incarnation, _)| incarnation))?,
            ..self.theirs
        };
        unknown.incarnations.retain(|incarnation| !self.theirs.incarnations.contains(incarnation));
        let mut count = 0;
        replica.each_changed_by(&unknown, |row| {
            let taken = take_back(&row.entry, &replica.state.past_of(&row.id)?, |stamp| unknown.has(stamp));
            let is_meant = self.is_meant(&row.entry.location.1)
                || taken.folder.as_ref().is_some_and(|folder| self.is_meant(folder));
            count += u64::from(row.entry.alive() && is_meant && (taken.folder.is_some() || !taken.flags.is_empty()));
            Ok(())
        })?;
        Ok(count)
    }

    /// Takes back what can be of one entry.
    fn take_back(&mut self, row: EntryRow) -> Result<()> {
        let past = self.replica.state.past_of(&row.id)?;
        let theirs = |stamp| self.theirs.has(stamp);
        let taken = take_back(&row.entry, &past, theirs);
        let folder = row.entry.location.1.clone();
        if !self.is_meant(&folder) && !taken.folder.as_ref().is_some_and(|folder| self.is_meant(folder)) {
            return Ok(());
        }
        if !row.entry.alive() {
            return if taken == TakenBack::default() { Ok(()) } else { self.tell_gone(&row) };
        }
        let mut left = Vec::with_capacity(taken.left.len());
        for (register, by) in &taken.left {
            let flag = if let Register::Flag(flag) = register { Some(flag.clone()) } else { None };
            left.push(Left { flag, why: self.why(*by)? });
        }
        let flags = taken.flags.iter().map(|(flag, on)| FlagBack { flag: flag.clone(), on: *on }).collect();
        let item = UndoItem { digest: row.id.digest, folder, back_to: taken.folder.clone(), flags, left };
        if item.back_to.is_none() && item.flags.is_empty() && item.left.is_empty() {
            return Ok(());
        }
        self.done.moved += u64::from(item.back_to.is_some());
        self.done.flagged += u64::from(!item.flags.is_empty());
        self.done.left += u64::from(!item.left.is_empty());
        if item.back_to.is_some() || !item.flags.is_empty() {
            self.change(row, taken)?;
        }
        (self.each)(&item)
    }

    fn is_meant(&self, folder: &FolderName) -> bool {
        self.options.folder.as_ref().is_none_or(|of| Selection::of_folder(of).has_folder(folder))
    }

    fn tell_gone(&mut self, row: &EntryRow) -> Result<()> {
        let by = row.entry.removal.and_then(|removal| removal.author());
        let who = by.map(|stamp| self.names.of(stamp.incarnation)).transpose()?;
        let mut why = who.map_or_else(|| String::from("it was removed"), |who| format!("{who} has removed it"));
        let (digest, mut folder) = (row.id.digest, row.entry.location.1.clone());
        let entries = self.replica.state.entries_of(&digest)?;
        let since = |other: &&EntryRow| other.entry.alive() && by.is_some_and(|by| other.entry.location.0 > by);
        if let Some(back) = entries.iter().find(since) {
            folder = back.entry.location.1.clone();
            why += ", and it is here again since, as a message of its own, which they have not moved";
            self.done.left += 1;
        } else {
            self.done.gone += 1;
        }
        let left = vec![Left { flag: None, why }];
        (self.each)(&UndoItem { digest, folder, back_to: None, flags: Vec::new(), left })
    }

    /// Why a register stays as it is, which was written with this stamp.
    fn why(&self, by: Option<Stamp>) -> Result<String> {
        match by {
            Some(stamp) => Ok(format!("{} has changed it since", self.names.of(stamp.incarnation)?)),
            None => Ok(String::from("the history doesn't tell what came between")),
        }
    }

    fn stamp(&mut self) -> Result<Stamp> {
        if let Some(stamp) = self.stamp {
            return Ok(stamp);
        }
        Ok(*self.stamp.insert(self.tx.issue(self.replica.now())?))
    }

    /// Writes the registers, and decides what follows for the file.
    fn change(&mut self, row: EntryRow, taken: TakenBack) -> Result<()> {
        let stamp = self.stamp()?;
        let mut entry = row.entry.clone();
        if let Some(folder) = taken.folder {
            let key = self.tx.folder(&folder)?;
            self.done.folders += u64::from(self.tx.make_present(key, stamp)?);
            entry.move_to(stamp, folder);
        }
        for (flag, on) in taken.flags {
            entry.set_flag(stamp, flag, on);
        }
        self.tx.update_entry(&row, &entry)?;
        // What has no file yet gets it where it belongs by then.
        if row.at.is_none() {
            return Ok(());
        }
        self.replica.decide_move(self.tx, &EntryRow { entry, ..row }, &By::Here)
    }
}
