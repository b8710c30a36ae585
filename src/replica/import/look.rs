//! What the files of a directory are, by what they begin with: for whom, from whom, and which need not be looked at
//! again. Nothing is taken of them, and nothing is written.

use std::collections::BTreeSet;
use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::coded::Coded;
use super::gate::Sender;
use super::listing::{There, bundles_in, is_gone, what_is_there};
use super::outcome::Imported;
use super::refusal::{Fault, Origin, Refusal, unreadable};
use super::strangers::{Strange, mark, stays_foreign, strange_mark};
use crate::bundle::{self, Behind, Cover, Manifest, ReplicaId, each_cover};
use crate::error::{Error, Result};
use crate::model::Digest;
use crate::replica::Replica;
use crate::state::Spent;

/// The contents of a directory, as this replica sees them.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Files that may hold something for this replica, sorted by the sender and the number of the first such bundle.
    pub here: BTreeSet<(ReplicaId, u64, PathBuf)>,
    /// Those of them of which the first such bundle is a peer's and says something about replicas.
    pub telling: Vec<PathBuf>,
    /// Files with bundles that this replica made itself.
    pub own: Vec<PathBuf>,
    /// The first of these that this replica can't have made itself as far as it remembers.
    twin: Option<PathBuf>,
    /// The number of files that are for others only, including this replica's own.
    pub elsewhere: usize,
    /// Whether some of them hold bundles for anyone from replicas that are not known here. A directory can serve
    /// machines that are no neighbours.
    pub strange: bool,
    /// The files that are encrypted with a code.
    pub coded: Coded,
    /// The number of files that can't be read, or not yet.
    pub unreadable: usize,
    /// Whether there are things that aren't called bundles, such as directories.
    pub otherwise_called: bool,
    /// The number of files that were told to be no bundles before.
    pub passed_over: usize,
    /// The files that need not be looked at again, each by the digest of what identifies it: those that are told now to
    /// be no bundles, those of strangers, and symbolic links.
    pub settled: Vec<Digest>,
    /// The error of the first file that can't even be opened. The other files are read all the same.
    pub failed: Option<Error>,
}

/// What a file says of being this replica's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Claimed {
    /// Nothing.
    #[default]
    Nothing,
    /// That it is, and that is so.
    Own,
    /// The same; but the replica can't have made it itself as far as it remembers.
    Twin,
    /// That it is, without this replica's signature.
    Forged,
}

/// The first bundle of a file that may be for this replica.
#[derive(Debug)]
struct ForHere {
    sender: ReplicaId,
    number: u64,
    /// Whether it is a peer's and says something about replicas.
    tells: bool,
}

/// The senders and the recipients of the bundles in a file.
#[derive(Debug, Default)]
struct Look {
    here: Option<ForHere>,
    /// The first bundle for this replica from somebody who isn't known here, which is told.
    told: Option<Imported>,
    /// The number of bundles from somebody who isn't known here.
    strangers: usize,
    /// Whether something that wasn't looked at may stand behind them.
    unseen: bool,
    /// Whether there is a bundle for anyone from a replica that is not known here, or an invitation for somebody else.
    strange: bool,
    claimed: Claimed,
    /// The number of bundles that were looked at.
    bundles: usize,
    /// The error behind these bundles, if there is one.
    wrong: Option<bundle::Error>,
    /// Whether a key that isn't known here has signed what is wrong: so it was made like that, and is not damaged.
    made_so: bool,
    /// Why what is encrypted with a code could not be opened.
    coded: Option<bundle::Error>,
    /// What identifies a file that will be no bundle of anybody who is known as long as it is not changed.
    foreign: Option<Digest>,
}

impl Look {
    /// Whether all bundles that were seen are of somebody who isn't known here.
    fn is_strange(&self) -> bool {
        self.strangers > 0 && self.strangers == self.bundles
    }

    /// Whether they will be that as long as the file is not changed, and nobody else becomes known. What is wrong with the last
    /// one stays so, too, unless another mailsync understands it; `quiet` says that what is still written there would show.
    fn stays_strange(&self, quiet: bool) -> bool {
        let stays = match &self.wrong {
            None => true,
            Some(bundle::Error::NewerFormat { .. }) => false,
            Some(_) => quiet,
        };
        self.is_strange() && !self.unseen && stays
    }
}

impl Replica {
    /// Looks at the manifests in all files of a directory whose names say that they are bundles. Reports files that
    /// can't be read.
    pub(super) fn look_through(&self, dir: &Path, each: &mut impl FnMut(Imported)) -> Result<Found> {
        let disk = &*self.world.disk;
        let (paths, otherwise_called) = bundles_in(disk, dir)?;
        let mut found = Found { otherwise_called, ..Found::default() };
        let known = self.who_is_known()?;
        for path in paths {
            self.look_into(path, &known, &mut found, each)?;
        }
        if let Some(path) = &found.twin {
            self.note(Refusal::Twin.error().about(path.display()).to_string());
        }
        Ok(found)
    }

    /// Looks once more at files that were for this replica, from senders that are shut out by now: they are treated as
    /// if these had been so before.
    pub(super) fn look_again(&self, found: &mut Found, each: &mut impl FnMut(Imported)) -> Result<()> {
        let (out, known) = (self.shut_outs()?, self.who_is_known()?);
        let all = std::mem::take(&mut found.here);
        for (sender, number, path) in all {
            if out.get(&sender).is_some() {
                self.look_into(path, &known, found, each)?;
            } else {
                found.here.insert((sender, number, path));
            }
        }
        Ok(())
    }

    /// Looks at one file, and puts it to where it belongs. `known` says who is known here.
    fn look_into(
        &self,
        path: PathBuf,
        known: &Digest,
        found: &mut Found,
        each: &mut impl FnMut(Imported),
    ) -> Result<()> {
        let look = match what_is_there(&*self.world.disk, &path) {
            Ok(There::File(file)) => {
                let looked = self.look_unless_settled(&file, known, found);
                looked.map_err(|error| error.about(path.display()))
            }
            Ok(There::Link(link)) => {
                found.settled.extend(self.tell_of_link(&path, link)?);
                return Ok(());
            }
            Ok(There::Nothing) => return Ok(()),
            Err(error) => Err(error),
        };
        match look {
            Ok(Some(look)) => self.sort_in(look, path, found, each),
            Ok(None) => Ok(()),
            Err(error) => {
                found.unreadable += 1;
                found.failed.get_or_insert(error);
                Ok(())
            }
        }
    }

    /// Puts a file to where it belongs by what was seen in it, and reports one that can't be read.
    fn sort_in(&self, look: Look, path: PathBuf, found: &mut Found, each: &mut impl FnMut(Imported)) -> Result<()> {
        match look {
            Look { here: Some(ForHere { sender, number, tells }), .. } => {
                if tells {
                    found.telling.push(path.clone());
                }
                found.here.insert((sender, number, path));
            }
            Look { bundles: 0, wrong: Some(error), foreign, .. } => {
                if let Some(foreign) = foreign {
                    if self.state.was_passed_over(&foreign)? {
                        found.passed_over += 1;
                        return Ok(());
                    }
                    found.settled.push(foreign);
                }
                found.unreadable += 1;
                each(Imported::unreadable(&path, &error, Origin::Directory));
            }
            Look { told: Some(mut imported), .. } => {
                found.unreadable += 1;
                imported.file = Some(path.clone());
                imported.outcome.about(path.display());
                each(imported);
            }
            Look { bundles: 0, coded: Some(error), .. } => found.coded.add(path, &error),
            // The file begins with a bundle for another machine, and that machine will report the damage.
            look => {
                found.elsewhere += 1;
                found.strange |= look.strange;
                match look.claimed {
                    Claimed::Nothing => {}
                    Claimed::Own => found.own.push(path),
                    Claimed::Twin => {
                        found.twin.get_or_insert_with(|| path.clone());
                        found.own.push(path);
                    }
                    Claimed::Forged => self.note(format!(
                        "{} says that this replica has made it, and is not signed with its key: don't trust it",
                        path.display()
                    )),
                }
            }
        }
        Ok(())
    }

    /// Looks at a file, unless it was settled before that it holds nothing but bundles of strangers: who may write into
    /// the directory could else have all of them understood by every import.
    fn look_unless_settled(&self, file: &File, known: &Digest, found: &mut Found) -> Result<Option<Look>> {
        let now = self.wall_clock();
        let (mark, quiet) = match strange_mark(file, known, now) {
            Err(error) if is_gone(&error) => return Ok(None),
            mark => mark.map_err(|error| unreadable(&error))?,
        };
        if self.state.was_passed_over(&Strange::Elsewhere.settled(&mark))? {
            return Ok(Some(Look { strange: true, ..Look::default() }));
        }
        if self.state.was_passed_over(&Strange::Told.settled(&mark))? {
            found.passed_over += 1;
            return Ok(None);
        }
        let mut look = self.look_at_file(file)?;
        self.hear_out(file, look.as_mut().and_then(|look| look.told.as_mut()))?;
        if let Some(look) = &look
            && look.stays_strange(quiet)
        {
            let strange = if look.told.is_some() { Strange::Told } else { Strange::Elsewhere };
            found.settled.push(strange.settled(&mark));
        }
        Ok(look)
    }

    /// Looks at a file: at the manifests in it, or at what identifies it if it is no bundle.
    fn look_at_file(&self, file: &File) -> Result<Option<Look>> {
        let look = match self.look_at(file, Behind::Left)? {
            // Once it was read to its end it is remembered, and not read again.
            Some(look) if look.is_strange() && look.unseen => self.look_at(file, Behind::Seen)?,
            look => look,
        };
        match look {
            Some(look) if look.bundles == 0 && stays_foreign(file, look.wrong.as_ref(), look.made_so)? => {
                let foreign = mark(file).map_err(|error| unreadable(&error))?;
                Ok(Some(Look { foreign: Some(foreign), ..look }))
            }
            look => Ok(look),
        }
    }

    /// Looks at the manifests in a file, up to the first one that is for this replica. `None` if it is gone.
    fn look_at(&self, file: &File, behind: Behind) -> Result<Option<Look>> {
        let mut look = Look::default();
        let mut here = Ok(());
        let result = each_cover(file, &self.keys(), behind, |cover| {
            look.unseen |= cover.is_encrypted() && behind == Behind::Left;
            match self.look_at_cover(cover, &mut look) {
                Ok(flow) => {
                    look.bundles += 1;
                    Ok(flow)
                }
                Err(Fault::Bundle(error)) => {
                    match self.is_signed_by_stranger(cover) {
                        Ok(made_so) => look.made_so = made_so,
                        Err(error) => here = Err(error),
                    }
                    Err(error)
                }
                Err(Fault::Here(error) | Fault::RolledBack(error)) => {
                    here = Err(error);
                    Ok(ControlFlow::Break(()))
                }
            }
        });
        here?;
        match result {
            Err(bundle::Error::Io(error)) if is_gone(&error) => return Ok(None),
            Err(bundle::Error::Io(error)) => return Err(unreadable(&error)),
            // Only its header was read: it is for others, and so may be what follows it.
            Err(error) if error.is_for_others() => {
                look.strange = true;
                look.unseen |= behind == Behind::Left;
                look.coded = error.is_for_a_code().then_some(error);
            }
            result => look.wrong = result.err(),
        }
        Ok(Some(look))
    }

    /// Whether a key that isn't known here has signed what is there.
    fn is_signed_by_stranger(&self, cover: &Cover<'_>) -> Result<bool> {
        let signer = cover.signer();
        Ok(!self.is_known(&signer.id())? && cover.verify(&signer).is_ok())
    }

    /// Whom a bundle is for and from. Of a manifest that nobody who is known here has signed, no more is read than whom
    /// it names: anybody can write that a bundle is a peer's, or one of this replica's own.
    fn look_at_cover(&self, cover: &Cover<'_>, look: &mut Look) -> std::result::Result<ControlFlow<()>, Fault> {
        let signer = cover.signer();
        if self.is_known(&signer.id())? {
            cover.verify(&signer)?;
            let manifest = cover.manifest()?;
            if manifest.sender.id == signer.id() {
                return self.look_at_known(&manifest, look);
            }
        }
        let label = cover.label()?;
        let for_anyone = label.recipient.is_none();
        let mine = for_anyone || self.is_recipient(label.recipient);
        match self.sender_who(label.sender(), label.proof.as_ref(), label.successions()?)? {
            Sender::Own => look.claimed = look.claimed.max(Claimed::Forged),
            // It says how it came to its key, by statements that a peer's key has signed.
            Sender::Known(peer) if peer.id == signer.id() && label.sender() == signer.id() => {
                cover.verify(&signer)?;
                return self.look_at_known(&cover.manifest()?, look);
            }
            _ if !mine => look.strangers += 1,
            Sender::Known(_) => {
                let (expected, found) = (label.sender(), signer.id());
                return Err(bundle::Error::WrongSigner { expected, found }.into());
            }
            _ if for_anyone && label.invites() => {
                look.strange = true;
                look.strangers += 1;
            }
            // The clock may be wrong by which an invitation has expired.
            Sender::Invited(_) | Sender::Late { why: Spent::Expired } | Sender::Rival(_) => {
                look.here = Some(ForHere { sender: label.sender(), number: label.number, tells: false });
                return Ok(ControlFlow::Break(()));
            }
            Sender::Stranger { .. } if for_anyone && label.proof.is_none() => {
                look.strange = true;
                look.strangers += 1;
            }
            sender => {
                look.told.get_or_insert(self.refused_by_label(&label, sender)?);
                look.strangers += 1;
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The same of one that its sender has signed, who is a peer or this replica.
    fn look_at_known(&self, manifest: &Manifest, look: &mut Look) -> std::result::Result<ControlFlow<()>, Fault> {
        let for_anyone = manifest.recipient.is_none();
        if let Some(refused) = self.refused_as_revoked(manifest)? {
            look.told.get_or_insert(refused);
            look.strangers += 1;
        } else if self.is_me(&manifest.sender.id) {
            let is_twin = matches!(self.own_bundle(manifest)?, Refusal::Twin);
            look.claimed = look.claimed.max(if is_twin { Claimed::Twin } else { Claimed::Own });
        } else if for_anyone && manifest.invitation.is_some() {
            look.strange = true;
        } else if for_anyone || self.is_recipient(manifest.recipient) {
            let (sender, number) = (self.present_id(&manifest.sender.id)?, manifest.number);
            look.here = Some(ForHere { sender, number, tells: manifest.counts.replicas > 0 });
            return Ok(ControlFlow::Break(()));
        }
        Ok(ControlFlow::Continue(()))
    }
}
