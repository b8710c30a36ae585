//! What a file of strangers, or one that is no bundle, is remembered by, so that it is looked at once.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Seek as _};
use std::path::Path;

use super::gate::Sender;
use super::outcome::{ImportOutcome, Imported};
use super::refusal::{Refusal, unreadable};
use crate::bundle::{self, Begins, Label, Manifest, RecordsPart, Stream, limits};
use crate::disk::Meta;
use crate::error::Result;
use crate::maildir::listing::Times;
use crate::model::{Digest, Mtime, WallClock};
use crate::replica::{Replica, ShutOut};
use crate::text::beginning;

/// So much of what a file begins with identifies it, in bytes.
const MARK_BYTES: u64 = 64 << 10;

/// What becomes of a file with nothing but bundles of strangers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strange {
    /// It is for others, or for anyone, and counts as that.
    Elsewhere,
    /// It says to be for this replica, which told of it.
    Told,
}

impl Strange {
    /// What is remembered of a file with this mark.
    pub fn settled(self, mark: &Digest) -> Digest {
        Digest::of(format!("{self:?} {mark}").as_bytes())
    }
}

impl Replica {
    /// That the sender of a bundle is shut out, by whichever of its keys.
    fn shut_out_sender(&self, manifest: &Manifest) -> Result<Option<ShutOut>> {
        Ok(self.shut_outs()?.get_any(&self.ids_of(manifest)?).cloned())
    }

    /// The refusal of a bundle for this replica, or for anyone, from a peer that was revoked: it counts as a stranger's.
    pub(super) fn refused_as_revoked(&self, manifest: &Manifest) -> Result<Option<Imported>> {
        if manifest.recipient.is_some_and(|recipient| !self.is_me(&recipient)) || self.is_me(&manifest.sender.id) {
            return Ok(None);
        }
        let Some(out) = self.shut_out_sender(manifest)? else { return Ok(None) };
        let id = self.present_id(&manifest.sender.id)?;
        let name = self.known_as(&id)?.unwrap_or_else(|| manifest.sender.name.clone());
        let refusal = Refusal::Revoked { name: name.clone(), why: self.why_shut_out(&name, &out, &[])? };
        Ok(Some(Imported { peer: Some(name.clone()), ..Imported::refused(manifest, &name, &refusal) }))
    }

    /// The refusal of a bundle for this replica from somebody who isn't known here, and of which no more is read than this.
    pub(super) fn refused_by_label(&self, label: &Label, sender: Sender) -> Result<Imported> {
        let id = label.sender();
        let refusal = match sender {
            Sender::Late { why } => self.invitation_spent(id, why)?,
            Sender::Stranger { revoked } => {
                Refusal::Stranger { id, name: beginning(label.name(), limits::NAME_BYTES), revoked }
            }
            Sender::Own | Sender::Known(_) | Sender::Invited(_) | Sender::Rival(_) => unreachable!("they are known"),
        };
        Ok(Imported::of_label(label, &refusal))
    }

    /// The refusal of a bundle whose signature holds, with what its statements say of those by whose word its sender was
    /// revoked. Nothing of it is taken: a person is told.
    pub(super) fn refused_with_its_answer<R: BufRead>(
        &self,
        refusal: Refusal,
        manifest: &Manifest,
        records: &mut RecordsPart<'_, R>,
    ) -> Result<Refusal> {
        let Refusal::Revoked { name, .. } = &refusal else { return Ok(refusal) };
        let Some(out) = self.shut_out_sender(manifest)? else { return Ok(refusal) };
        // It is refused whether that can be read or not.
        let Ok(lines) = records.replicas() else { return Ok(refusal) };
        Ok(Refusal::Revoked { name: name.clone(), why: self.why_shut_out(name, &out, &lines)? })
    }

    /// The same for the bundles in a file, of which one is refused.
    pub(super) fn hear_out(&self, file: &File, refused: Option<&mut Imported>) -> Result<()> {
        let Some(refused) = refused else { return Ok(()) };
        let Some(peer) = refused.peer.as_deref().map(|name| self.state.peer_by_name(name)).transpose()?.flatten()
        else {
            return Ok(());
        };
        let mut file = file;
        file.rewind().map_err(|error| unreadable(&error))?;
        let mut stream = Stream::opened_by(BufReader::new(file), self.keys());
        // What can't be read says nothing, and the refusal stands.
        while let Ok(Some(reader)) = stream.next_bundle() {
            let manifest = reader.manifest().clone();
            let is_its = self.present_id(&manifest.sender.id)? == peer.id;
            let signer = reader.signer();
            if !is_its || manifest.counts.replicas == 0 || !self.is_known(&signer.id())? {
                if reader.skip().is_err() {
                    break;
                }
                continue;
            }
            let Ok(mut records) = reader.verify(&signer) else { break };
            if self.refused_as_revoked(&manifest)?.is_some()
                && let Some(out) = self.shut_out_sender(&manifest)?
                && let Ok(lines) = records.replicas()
            {
                let why = self.why_shut_out(&peer.name, &out, &lines)?;
                if why.answer.is_some() {
                    refused.outcome = ImportOutcome::refused(&Refusal::Revoked { name: peer.name.clone(), why });
                    break;
                }
            }
            if records.skip().is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Everybody who is known here, in one digest, and who was revoked: what is from strangers is looked at again when it has
    /// changed.
    pub(super) fn who_is_known(&self) -> Result<Digest> {
        let mut known = vec![self.public_key().to_openssh()];
        known.extend(self.state.peers()?.iter().map(|peer| peer.public_key.to_openssh()));
        known.extend(self.state.invitations()?.iter().map(|invited| format!("{} {}", invited.name, invited.made)));
        known.extend(self.shut_outs()?.iter().flat_map(|(_, out)| &out.keys).map(|key| format!("revoked {key}")));
        Ok(Digest::of(known.join("\n").as_bytes()))
    }

    /// Tells once of a symbolic link, and gives what is to be remembered of it then. Who may write into the directory could
    /// else have any file read that this user can read, and have its beginning shown.
    pub(super) fn tell_of_link(&self, path: &Path, link: Digest) -> Result<Option<Digest>> {
        if self.state.was_passed_over(&link)? {
            return Ok(None);
        }
        self.note(link_passed_over(path));
        Ok(Some(link))
    }
}

/// What is said of a symbolic link in a directory of bundles.
pub fn link_passed_over(path: &Path) -> String {
    format!(
        "{} is a symbolic link, and is passed over: none is followed in a directory; name it on the command line if what it leads \
         to is meant",
        path.display()
    )
}

/// What identifies a file of strangers as long as it is not changed and nobody else becomes known. Its date is not
/// taken at its word, as for a file that is no bundle: so that nothing passes for it that is put into its place, the
/// file system says when it was changed, and which file it is.
///
/// Gives also whether a change from now on would show: not if the file was changed so shortly before that its times would
/// be the same.
pub(super) fn strange_mark(file: &File, known: &Digest, now: WallClock) -> io::Result<(Digest, bool)> {
    let meta = Meta::from(&file.metadata()?);
    let now = Mtime(i64::try_from(now.0).unwrap_or(i64::MAX).saturating_mul(1_000_000));
    let quiet = Times::of(&meta).settled(now);
    let Meta { size, mtime, ctime, device, inode, .. } = meta;
    let known = format!("{known} {size} {} {} {device} {inode}\n", mtime.0, ctime.0);
    Ok((with_beginning(file, known)?, quiet))
}

/// What identifies a file as long as it is not changed: its size, the time of its last change, and what it begins with.
pub(super) fn mark(file: &File) -> io::Result<Digest> {
    let meta = Meta::from(&file.metadata()?);
    with_beginning(file, format!("{} {}.{:09}\n", meta.size, meta.mtime.seconds(), meta.mtime.subsec_nanos()))
}

/// What identifies a file by its contents alone: their size, and what they begin with. A bundle is signed anew, and perhaps encrypted,
/// each time that it is written, so no two begin alike.
pub(in crate::replica) fn mark_of_contents(file: &File) -> io::Result<Digest> {
    let size = file.metadata()?.len();
    with_beginning(file, format!("{size}\n"))
}

/// One digest of what is known of a file and of what it begins with.
fn with_beginning(mut file: &File, known: String) -> io::Result<Digest> {
    let mut known = known.into_bytes();
    file.rewind()?;
    file.take(MARK_BYTES).read_to_end(&mut known)?;
    Ok(Digest::of(&known))
}

/// What a file is by its first bytes.
pub(super) fn begins(mut file: &File) -> io::Result<Begins> {
    let mut first = Vec::new();
    file.rewind()?;
    file.take(Begins::BYTES).read_to_end(&mut first)?;
    Ok(Begins::of(&first))
}

/// Whether a file that holds something wrong will be no bundle of anybody who is known as long as it is not changed.
/// A damaged bundle is told each time, since somebody has to send it again: so what may be one is not remembered. `made_so` says
/// that a key which isn't known here has signed what is wrong.
pub(super) fn stays_foreign(file: &File, wrong: Option<&bundle::Error>, made_so: bool) -> Result<bool> {
    use bundle::Error::{Empty, Io, NewerFormat, NotABundle, Sink, Truncated};
    let begins = || begins(file).map_err(|error| unreadable(&error));
    match wrong {
        // It may still be being copied, or be understood by the next mailsync.
        None | Some(Empty | Truncated | NewerFormat { .. } | Io(_) | Sink(_)) => Ok(false),
        Some(_) if made_so => Ok(true),
        // What a key of this replica opens is a bundle, whatever is within it.
        Some(NotABundle { .. }) => Ok(begins()? != Begins::Encrypted),
        Some(_) => Ok(begins()? == Begins::Otherwise),
    }
}
