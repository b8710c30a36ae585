//! What lies in the directories of `watch`: bundles that have come and aren't imported, and bundles for a peer that it has not
//! shown to have. A look, without a trace.

use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::gate::{Reception, Sender};
use super::listing::{There, bundles_in, is_gone, what_is_there};
use super::refusal::{Fault, unreadable};
use super::strangers::begins;
use crate::bundle::{self, Begins, Behind, Cover, Manifest, each_cover, each_manifest};
use crate::disk::Meta;
use crate::error::{Error, Result};
use crate::replica::Replica;
use crate::replica::safety::ClockAhead;
use crate::state::Peer;

/// The bundles that wait in a directory.
#[derive(Clone, Debug)]
pub struct Lying {
    /// The directory.
    pub dir: PathBuf,
    /// How many files wait there.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Since when the oldest of them does: milliseconds since 1970 UTC.
    pub since: Option<u64>,
    /// Whether some of them could not be looked into, as the key is locked by a passphrase: these may be others'.
    pub unopened: bool,
    /// What could not be looked at.
    pub problem: Option<Error>,
}

/// Whether a file waits.
enum Waits {
    Yes,
    No,
    /// Nobody can tell without the passphrase.
    Perhaps,
}

impl Replica {
    /// What waits to be imported in each of the directories in which `watch` receives bundles.
    ///
    /// # Errors
    /// The state can't be read. What can't be looked at on the disk is told in the result.
    pub fn arrivals(&self) -> Result<Vec<Lying>> {
        let dirs = &self.config.watch.receive;
        dirs.iter().map(|dir| self.lying_in(dir, "`receive` of [watch]", |file| self.waits_here(file))).collect()
    }

    /// What waits for a peer in its spool. `None` if it has none.
    ///
    /// # Errors
    /// As for [`Replica::arrivals`].
    pub fn spooled(&self, peer: &Peer) -> Result<Option<Lying>> {
        let spool = self.config.peer.get(&peer.name).and_then(|config| config.spool.as_ref());
        let key = format!("`spool` of [peer.{}]", peer.name);
        spool.map(|dir| self.lying_in(dir, &key, |file| self.waits_for(peer, file))).transpose()
    }

    /// What lies in a directory, which the configuration names by this `key`.
    fn lying_in(&self, dir: &Path, key: &str, waits: impl Fn(&File) -> Result<Waits>) -> Result<Lying> {
        let disk = &*self.world.disk;
        let mut lying = Lying { dir: dir.to_owned(), files: 0, bytes: 0, since: None, unopened: false, problem: None };
        match disk.metadata(dir) {
            Err(error) if is_gone(&error) => {
                let problem =
                    Error::io("listing", dir, error).advise(format!("make it, or correct {key} in config.toml"));
                return Ok(Lying { problem: Some(problem), ..lying });
            }
            // Whatever else is wrong with it shows when it is listed.
            _ => {}
        }
        let paths = match bundles_in(disk, dir) {
            Ok((paths, _)) => paths,
            Err(error) => return Ok(Lying { problem: Some(error), ..lying }),
        };
        for path in paths {
            let file = match what_is_there(disk, &path) {
                Ok(There::File(file)) => file,
                Ok(There::Link(_) | There::Nothing) => continue,
                Err(error) => {
                    lying.problem.get_or_insert(error);
                    continue;
                }
            };
            match waits(&file)? {
                Waits::No => continue,
                Waits::Yes => {}
                Waits::Perhaps => lying.unopened = true,
            }
            let Ok(meta) = file.metadata() else { continue };
            let Meta { size, ctime, .. } = Meta::from(&meta);
            lying.files += 1;
            lying.bytes = lying.bytes.saturating_add(size);
            let came = u64::try_from(ctime.0 / 1_000_000).unwrap_or(0).min(self.now());
            lying.since = Some(lying.since.map_or(came, |since| since.min(came)));
        }
        Ok(lying)
    }

    /// Whether something in a file is for this replica and has not been imported, or is not whole.
    fn waits_here(&self, file: &File) -> Result<Waits> {
        if self.keys.any_is_locked() && begins_encrypted(file)? {
            return Ok(Waits::Perhaps);
        }
        let (mut waits, mut failed) = (false, Ok(()));
        let seen = each_cover(file, &self.keys(), Behind::Left, |cover| {
            match self.cover_waits(cover) {
                Ok(false) => return Ok(ControlFlow::Continue(())),
                Ok(true) => waits = true,
                Err(Fault::Bundle(error)) => return Err(error),
                Err(Fault::Here(error) | Fault::RolledBack(error)) => failed = Err(error),
            }
            Ok(ControlFlow::Break(()))
        });
        failed?;
        // It is still being copied, or was damaged on its way.
        let is_cut = matches!(seen, Err(bundle::Error::Truncated));
        Ok(if waits || is_cut { Waits::Yes } else { Waits::No })
    }

    fn cover_waits(&self, cover: &Cover<'_>) -> std::result::Result<bool, Fault> {
        let signer = cover.signer();
        if !self.is_known(&signer.id())? {
            let label = cover.label()?;
            let mine = label.recipient.is_none() || self.is_recipient(label.recipient);
            // It answers an invitation, or its sender has another key by now.
            let sender = self.sender_who(label.sender(), label.proof.as_ref(), label.successions()?)?;
            return Ok(mine && matches!(sender, Sender::Invited(_) | Sender::Known(_)));
        }
        cover.verify(&signer)?;
        let manifest = cover.manifest()?;
        let for_anyone = manifest.recipient.is_none();
        let invites = for_anyone && manifest.invitation.is_some();
        if self.is_me(&manifest.sender.id) || invites || !(for_anyone || self.is_recipient(manifest.recipient)) {
            return Ok(false);
        }
        let sender = self.sender_of(&manifest)?;
        let reception = self.receive(&manifest, &sender, ClockAhead::Refuse)?;
        Ok(match reception {
            // A full bundle can be applied again and again, and a bundle without news tells what its sender has.
            Reception::Apply | Reception::NothingNew => {
                self.is_fresh(&sender.standing(), &manifest, &reception)?
                    || !self.state.knowledge()?.includes(&manifest.tip)
            }
            Reception::NotYet(_) | Reception::ClockAhead(_) | Reception::RolledBack(..) => true,
            Reception::Outlived | Reception::Refused(_) => false,
        })
    }

    /// Whether a file holds a bundle of this replica that a peer has not shown to have.
    fn waits_for(&self, peer: &Peer, file: &File) -> Result<Waits> {
        if self.keys.any_is_locked() && begins_encrypted(file)? {
            return Ok(Waits::Perhaps);
        }
        let mut waits = Ok(false);
        let seen = each_manifest(file, &self.keys(), Behind::Left, |beginning| {
            waits = if self.has_signed(beginning) { self.is_news_for(peer, beginning.manifest()) } else { Ok(false) };
            if matches!(waits, Ok(false)) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        match seen {
            Err(bundle::Error::Io(error)) => Err(unreadable(&error)),
            _ => Ok(if waits? { Waits::Yes } else { Waits::No }),
        }
    }

    /// Whether a bundle of this replica is for a peer, who has not shown to have it.
    fn is_news_for(&self, peer: &Peer, manifest: &Manifest) -> Result<bool> {
        let is_for = match manifest.recipient {
            Some(recipient) => self.present_id(&recipient)? == peer.id,
            None => manifest.invitation.is_none(),
        };
        Ok(is_for && !peer.standing.shown.as_ref().is_some_and(|shown| shown.includes(&manifest.tip)))
    }
}

fn begins_encrypted(file: &File) -> Result<bool> {
    begins(file).map(|begins| begins == Begins::Encrypted).map_err(|error| unreadable(&error))
}
