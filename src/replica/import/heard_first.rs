//! What the bundles in a directory say of machines that were lost or stolen is heard before anything else of any of
//! them is taken. So it doesn't matter which comes first there: a bundle of such a machine, or one that tells of that.

use std::collections::BTreeSet;
use std::io::BufReader;
use std::path::Path;

use super::gate::{Reception, Sender};
use super::listing::{is_gone, open_if_there};
use super::look::Found;
use super::outcome::{ImportOptions, Imported};
use super::refusal::unreadable;
use crate::bundle::{self, Manifest, Part, ReplicaId, Stream};
use crate::error::Result;
use crate::replica::Replica;
use crate::replica::safety::{ClockAhead, DryRun};
use crate::state::Peer;

/// What a peer's bundle says about replicas.
struct Telling {
    peer: Peer,
    /// By which it is found again: its sender, and its statements.
    mark: (ReplicaId, Part),
    lines: Vec<Vec<u8>>,
}

impl Replica {
    /// Hears the revocations that peers' bundles hold which are for this replica: of each file, those of the first such
    /// bundle. Looks once more at the files of those who are shut out by that.
    ///
    /// All of them count as heard at one time, and whose are heard is decided before: none of them silences another one.
    /// So of two that revoke each other both are shut out, whichever comes first.
    pub(super) fn hear_first(
        &self,
        found: &mut Found,
        options: &ImportOptions,
        each: &mut impl FnMut(Imported),
    ) -> Result<()> {
        // Those of one sender come in the order of their numbers.
        let senders: BTreeSet<_> = found.here.iter().map(|(sender, ..)| sender).collect();
        let is_kept = options.dry_run == DryRun::No || self.state.is_rehearsing();
        if senders.len() < 2 || !is_kept {
            return Ok(());
        }
        let mut telling = Vec::new();
        for path in &found.telling {
            let is_believed =
                |manifest: &Manifest, sender: &Sender| self.is_heard_first(manifest, sender, options.clock_ahead);
            if let Some(Telling { mark, .. }) = self.telling_in(path, is_believed)? {
                telling.push((path.clone(), mark));
            }
        }
        if telling.is_empty() {
            return Ok(());
        }
        let tx = self.begin()?;
        let mut heard = self.begin_to_hear()?;
        for (path, mark) in telling {
            let is_it = |manifest: &Manifest, _: &Sender| Ok(mark_of(manifest) == Some(mark));
            if let Some(Telling { peer, lines, .. }) = self.telling_in(&path, is_it)? {
                self.hear_revocations(&tx, &lines, &peer, options.clock_ahead, &mut heard)?;
            }
        }
        let Some(news) = self.end_hearing(&tx, heard)? else { return Ok(()) };
        tx.commit()?;
        if options.dry_run == DryRun::No {
            self.tell_replica_news(&news)?;
        }
        self.look_again(found, each)
    }

    /// Whether what a bundle says about replicas is heard before it is taken: one that will be, or only waits for
    /// others.
    fn is_heard_first(&self, manifest: &Manifest, sender: &Sender, clock_ahead: ClockAhead) -> Result<bool> {
        Ok(matches!(self.receive(manifest, sender, clock_ahead)?, Reception::Apply | Reception::NotYet(_)))
    }

    /// What the first bundle in a file says about replicas that is a peer's, signed by it, and `wanted`. A file or bundle
    /// that can't be read says nothing: what is wrong with it the import tells.
    fn telling_in(&self, path: &Path, wanted: impl Fn(&Manifest, &Sender) -> Result<bool>) -> Result<Option<Telling>> {
        let Some(file) = open_if_there(&*self.world.disk, path)? else { return Ok(None) };
        let mut stream = Stream::opened_by(BufReader::new(file), self.keys());
        loop {
            let reader = match stream.next_bundle() {
                Ok(Some(reader)) => reader,
                // Behind one that is encrypted for others, others may follow.
                Err(error) if error.is_for_others() => continue,
                Err(bundle::Error::Io(error)) if !is_gone(&error) => {
                    return Err(unreadable(&error).about(path.display()));
                }
                Ok(None) | Err(_) => return Ok(None),
            };
            let manifest = reader.manifest().clone();
            let sender = self.sender_of(&manifest)?;
            if let (Sender::Known(peer), Some(mark)) = (&sender, mark_of(&manifest))
                && let Ok(key) = sender.key(self, &manifest, reader.signer())
                && wanted(&manifest, &sender)?
            {
                let lines = reader.verify(&key).and_then(|mut records| records.replicas());
                return Ok(lines.ok().map(|lines| Telling { peer: (**peer).clone(), mark, lines }));
            }
            if reader.skip().is_err() {
                return Ok(None);
            }
        }
    }
}

/// By what a bundle is found again that says something about replicas.
fn mark_of(manifest: &Manifest) -> Option<(ReplicaId, Part)> {
    manifest.replicas.map(|replicas| (manifest.sender.id, replicas))
}
