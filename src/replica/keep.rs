//! What a replica that was revoked has brought, and is held here: other machines pass it over, until a person says that it is
//! to be kept.

use super::Replica;
use super::authors::Who;
use super::replicas::ShutOut;
use super::scan::{ScanOptions, ScanReport};
use super::transaction::Transaction;
use crate::error::{Error, Result};
use crate::model::{Caps, FolderState, Knowledge};
use crate::state::{Action, EntryKeys, EntryRow};
use crate::text::plural;

/// What a person has kept of a replica that was revoked.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// Messages that are this replica's own from now on.
    pub messages: u64,
    /// What the scan before it has found: what it could not look at is kept as it was before.
    pub scan: ScanReport,
}

impl Replica {
    /// How many messages are here as a replica that was revoked has left them: those who have not taken that by themselves
    /// pass it over.
    ///
    /// # Errors
    /// The state can't be read.
    pub fn count_held_of(&self, out: &ShutOut) -> Result<u64> {
        let mut count = 0;
        self.each_held_of(&self.caps_of(out)?, |_| {
            count += 1;
            Ok(())
        })?;
        Ok(count)
    }

    /// Makes what a replica that was revoked has brought, and is here, this replica's own, as it is here: from then on it goes to
    /// the others. What a person has removed or taken back before counts as that.
    ///
    /// # Errors
    /// Nobody is called so, or it isn't revoked; or the scan before it fails. Then nothing is changed.
    pub fn keep_what_came_from(&self, name: &str) -> Result<Kept> {
        let out = match self.author(name)?.who {
            Who::Replica(id) => self.shut_outs()?.get(&id).cloned(),
            Who::Incarnation(_) => None,
        };
        let Some(out) = out else {
            return Err(Error::failed(format!("keeping what {name} has brought: it isn't revoked"))
                .advise("nothing of it is passed over, so there is nothing to do"));
        };
        let scan = self.scan(&ScanOptions::default())?;
        let caps = self.caps_of(&out)?;
        let tx = self.begin()?;
        let (mut keys, mut messages) = (EntryKeys::default(), 0);
        self.each_held_of(&caps, |row| {
            keys.add(row.key);
            messages += 1;
            Ok(())
        })?;
        let folders: Vec<_> = self
            .state
            .all_folders()
            .into_iter()
            .filter(|row| row.state.is_some_and(|state| state.present && !caps.takes(state.stamp)))
            .map(|row| row.key)
            .collect();
        if messages == 0 && folders.is_empty() {
            return Ok(Kept { messages: 0, scan });
        }
        let stamp = tx.issue(self.now())?;
        for key in keys.after(None) {
            let Some(row) = self.state.entry(key)? else { continue };
            let mut entry = row.entry.clone();
            entry.deliver_anew(stamp);
            tx.update_entry(&row, &entry)?;
        }
        for folder in folders {
            tx.set_folder_state(folder, FolderState { stamp, present: true })?;
        }
        self.record_kept(&tx, name, messages)?;
        tx.commit()?;
        Ok(Kept { messages, scan })
    }

    fn record_kept(&self, tx: &Transaction<'_>, name: &str, count: u64) -> Result<()> {
        let text = format!("{} of it that are here are kept as this replica's own", plural(count, "message"));
        tx.record(self.now(), Action::PeerRevoke, Some(name), &text)?;
        Ok(())
    }

    /// What somebody believes of a replica that is shut out who knows nothing of it.
    fn caps_of(&self, out: &ShutOut) -> Result<Caps> {
        let mut caps = Caps::default();
        for incarnation in self.incarnations_shut_out(out)? {
            caps.revoke(incarnation, out.since, &Knowledge::new());
        }
        Ok(caps)
    }

    /// Each living entry whose file is here and that is passed over by who believes no more than this.
    fn each_held_of(&self, caps: &Caps, mut each: impl FnMut(EntryRow) -> Result<()>) -> Result<()> {
        if caps.is_empty() {
            return Ok(());
        }
        // What else is known here nobody has changed since.
        let base = caps.knowledge(&self.state.knowledge()?);
        self.state.changed_since(&base, |row| {
            if row.at.is_some() && caps.passes_over(&row.id, &row.entry) { each(row) } else { Ok(()) }
        })
    }
}
