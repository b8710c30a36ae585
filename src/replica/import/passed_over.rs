//! What of a bundle is passed over, since replicas that were revoked have done it: it is counted, told once, and
//! remembered.

use std::collections::BTreeMap;

use super::landing::Landing;
use crate::bundle::{BundleKind, Manifest};
use crate::error::Result;
use crate::model::{Believed, Entry, EntryId, Incarnation, Knowledge};
use crate::replica::Replica;
use crate::replica::transaction::Transaction;
use crate::text::{plural, printable};

/// What one bundle tells that is not believed, and was not told before.
#[derive(Debug, Default)]
pub(super) struct PassedOver {
    /// Up to where of each incarnation was told before.
    told: Knowledge,
    /// Whether some messages are remembered as passed over.
    has_some: bool,
    found: BTreeMap<Incarnation, Amount>,
}

/// How much there is of one incarnation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amount {
    /// Messages that are not here.
    messages: u64,
    /// Messages of which something else is not believed.
    changes: u64,
}

impl PassedOver {
    /// Nothing yet.
    pub fn begin(replica: &Replica, believed: &Believed) -> Result<Self> {
        if believed.caps.is_empty() && replica.state.count_replica_sayings()? == 0 {
            return Ok(Self::default());
        }
        let has_some = !replica.state.count_passed_over()?.is_empty();
        Ok(Self { told: replica.state.told_in_vain()?, has_some, found: BTreeMap::new() })
    }

    /// Looks at the record of an entry, and at what of it is believed.
    pub fn look_at(
        &mut self,
        tx: &Transaction<'_>,
        believed: &Believed,
        (id, theirs): (&EntryId, &Entry),
        becomes: Option<&Entry>,
    ) -> Result<()> {
        let is_gone = becomes.is_some() || !theirs.alive();
        if is_gone && self.has_some {
            tx.remove_passed_over(id)?;
        }
        let Some(first) = theirs.stamps().find(|stamp| !believed.caps.takes(*stamp)) else { return Ok(()) };
        if !is_gone {
            tx.add_passed_over(id, first.incarnation)?;
        }
        let is_new = theirs.stamps().any(|stamp| !believed.caps.takes(stamp) && !self.told.covers(stamp));
        if is_new && (becomes.is_some() || theirs.alive()) {
            let found = self.found.entry(first.incarnation).or_default();
            found.messages += u64::from(becomes.is_none());
            found.changes += u64::from(becomes.is_some());
        }
        Ok(())
    }

    /// Remembers up to where was told, at the end of a bundle. One that leaves out something of it says nothing of what is
    /// behind that.
    pub fn remember(
        &self,
        tx: &Transaction<'_>,
        believed: &Believed,
        manifest: &Manifest,
        before: &Knowledge,
    ) -> Result<()> {
        for &incarnation in believed.cut.keys() {
            let (told, tip) = (self.told.get(incarnation), manifest.tip.get(incarnation));
            if manifest.base.get(incarnation) <= told.max(before.get(incarnation)) && tip > told {
                tx.set_told_in_vain(incarnation, tip)?;
            }
        }
        Ok(())
    }

    /// What was found.
    pub fn into_found(self) -> BTreeMap<Incarnation, Amount> {
        self.found
    }
}

impl Replica {
    /// What counts as known before a bundle where it is decided how much of that is believed. Who begins with a bundle holds
    /// what its maker holds, what a revoked replica has done included, as that has taken it: there is nothing else yet to
    /// which this replica could hold on.
    pub(super) fn trusted_before(
        &self,
        before: &Knowledge,
        manifest: &Manifest,
        landing: Landing,
    ) -> Result<Knowledge> {
        let mine = self.state.incarnation()?;
        let knows_nobody = before.iter().all(|(incarnation, _)| incarnation == mine);
        let is_full = manifest.kind == BundleKind::Full;
        let begins = knows_nobody && is_full && (landing.is_a_join() || self.state.count_replica_sayings()? == 0);
        let mut trusted = before.clone();
        if begins {
            trusted.join(&manifest.tip);
        }
        Ok(trusted)
    }

    /// Tells how much of a bundle was passed over, why, and what brings it.
    pub(super) fn note_passed_over(
        &self,
        found: &BTreeMap<Incarnation, Amount>,
        number: u64,
        from: &str,
    ) -> Result<()> {
        let mut of: BTreeMap<String, Amount> = BTreeMap::new();
        for (incarnation, amount) in found {
            let name = self.revoked_name_of(*incarnation)?;
            let all = of.entry(name).or_default();
            all.messages += amount.messages;
            all.changes += amount.changes;
        }
        for (name, Amount { messages, changes }) in of {
            let from = printable(from);
            let mut what = Vec::new();
            if messages > 0 {
                what.push(format!("{} that {name} has brought", plural(messages, "message")));
            }
            if changes > 0 {
                what.push(format!("what {name} has changed of {}", plural(changes, "other message")));
            }
            let are = if messages == 1 && changes == 0 || messages == 0 { "is" } else { "are" };
            self.note(format!(
                "bundle {number} from {from}: {} {are} passed over, since {name} was revoked; if that is yours, look at it on {from}, and \
                 run `mailsync peer revoke --keep` for it there: then the next bundles from there bring it",
                what.join(", and ")
            ));
        }
        Ok(())
    }

    /// What a replica that is shut out is called, of which this is an incarnation.
    pub(in crate::replica) fn revoked_name_of(&self, incarnation: Incarnation) -> Result<String> {
        for (id, out) in self.shut_outs()?.iter() {
            if self.incarnations_shut_out(out)?.contains(&incarnation) {
                return self.shown_name_of(id, out);
            }
        }
        self.names().of(incarnation)
    }
}
