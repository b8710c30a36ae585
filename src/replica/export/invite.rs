//! Invitations: the first bundle for a new replica holds a token, by which its first answer is recognised.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::options::{Existing, ExportOptions, Exported, Fullness, MessageContents, Secrecy, To};
use super::plan::{Occasion, Plan};
use super::recipient::Recipient;
use super::secrecy::Target;
use crate::bundle::{Code, PublicKey, Token};
use crate::config::check_name;
use crate::error::Result;
use crate::model::Knowledge;
use crate::replica::Replica;
use crate::replica::transaction::Transaction;
use crate::state::{Invited, Peer, Spent};
use crate::text::{are, plural};

/// A day, in milliseconds.
const DAY: u64 = 24 * 60 * 60 * 1000;

/// Options for an invitation.
#[derive(Clone, Debug)]
pub struct InviteOptions {
    /// The name of the new replica here.
    pub name: String,
    /// Its public key, if that is known already. Then it needs no token.
    pub key: Option<PublicKey>,
    /// For how many days its answer is accepted.
    pub days: u32,
    /// Whether the bundle holds messages' contents.
    pub contents: MessageContents,
    /// zstd's compression level.
    pub level: i32,
    /// See [`ExportOptions::split`].
    pub split: Option<u64>,
    /// See [`ExportOptions::secrecy`].
    pub secrecy: Option<Secrecy>,
    /// See [`ExportOptions::existing`].
    pub existing: Existing,
}

impl Replica {
    /// Writes a full bundle for a new replica. Inviting it again, after a bundle that was lost, gives one with the same
    /// token, so that either will do, and for longer. Once the invitation has expired, only the new one will do.
    ///
    /// If it is encrypted without a key, that is with a code. `show` is given the code before anything is written: whoever
    /// reads the other end of a pipe needs it to go on. Nothing keeps it; without it, the bundle is of no use.
    ///
    /// # Errors
    /// The name belongs to a peer that was heard of. The code can't be shown.
    pub fn invite<W: Write>(
        &self,
        options: &InviteOptions,
        out: W,
        show: impl FnOnce(&Code) -> Result<()>,
    ) -> Result<Exported> {
        let plan = self.plan_invitation(options, Target::Stream)?;
        if let Some(code) = plan.code() {
            show(code)?;
        }
        self.write_plan(plan, out)
    }

    /// Does the same, into a file or a directory; see [`Replica::export_to_file`].
    pub fn invite_to_file(
        &self,
        options: &InviteOptions,
        path: &Path,
        show: impl FnOnce(&Code) -> Result<()>,
    ) -> Result<Vec<(PathBuf, Exported)>> {
        self.check_target(path, options.existing)?;
        let plan = self.plan_invitation(options, self.target_of(path)?)?;
        if let Some(code) = plan.code() {
            show(code)?;
        }
        self.write_plan_to_file(plan, path, options.existing)
    }

    /// Plans an invitation. The token is recorded before a bundle that holds it exists.
    fn plan_invitation(&self, options: &InviteOptions, target: Target<'_>) -> Result<Plan> {
        check_name(&options.name)?;
        let tx = self.begin()?;
        self.check_key_counts()?;
        let to = match &options.key {
            Some(key) => Recipient::Peer(Box::new(self.invite_key(&tx, &options.name, key)?)),
            None => Recipient::Invited(self.invite_name(&tx, &options.name, options.days)?),
        };
        let again = matches!(&to, Recipient::Invited(invited) if invited.sent_number > 0);
        let export = ExportOptions {
            to: To::Peer(options.name.clone()),
            fullness: Fullness::Full,
            contents: options.contents,
            level: options.level,
            split: options.split,
            secrecy: options.secrecy,
            ..ExportOptions::default()
        };
        let plan = self.plan_within(&tx, &export, to, Occasion::Invitation, target)?;
        tx.commit()?;
        self.note_what_revoked_ones_brought()?;
        if again && plan.code().is_some() {
            self.note(format!(
                "{} was invited before, and has not answered: either invitation will do, each with a code of its own, and the \
                 first answer counts",
                options.name
            ));
        }
        Ok(plan)
    }

    /// Who is invited gets all that is here.
    fn note_what_revoked_ones_brought(&self) -> Result<()> {
        for (id, out) in self.shut_outs()?.iter() {
            let count = if self.is_me(id) { 0 } else { self.count_held_of(out)? };
            if count > 0 {
                let (messages, name) = (plural(count, "message"), self.shown_name_of(id, out)?);
                self.note(format!(
                    "{messages} that {name} has brought or changed, which was revoked, {} here, and the new machine gets that, too; if it \
                     isn't yours, take it back first, as docs/lost-machine.md says, and invite it again",
                    are(count)
                ));
            }
        }
        Ok(())
    }

    fn invite_name(&self, tx: &Transaction<'_>, name: &str, days: u32) -> Result<Invited> {
        let expires = self.now().saturating_add(u64::from(days) * DAY);
        self.end_expired(tx, name)?;
        if let Some(again) = self.state.invitation(name)? {
            let again = Invited { expires: again.expires.max(expires), ..again };
            tx.set_invitation(&again)?;
            return Ok(again);
        }
        self.check_name_is_free(name)?;
        let mut token = [0; 32];
        for part in token.chunks_exact_mut(8) {
            part.copy_from_slice(&(self.world.random)().to_le_bytes());
        }
        let invited = Invited {
            name: name.to_owned(),
            token: Token::from_bytes(token),
            made: self.now(),
            expires,
            shown: Knowledge::new(),
            sent: Knowledge::new(),
            sent_number: 0,
        };
        tx.set_invitation(&invited)?;
        Ok(invited)
    }

    fn invite_key(&self, tx: &Transaction<'_>, name: &str, key: &PublicKey) -> Result<Peer> {
        match self.state.peer_by_id(&key.id())? {
            Some(again) if again.name == name && again.last_heard.is_none() => Ok(again),
            _ => self.add_peer_within(tx, name, key),
        }
    }

    /// Makes an invited replica a peer, since it has answered with this key and proved its token.
    pub(in crate::replica) fn accept_invited(
        &self,
        tx: &Transaction<'_>,
        invited: &Invited,
        key: &PublicKey,
    ) -> Result<Peer> {
        tx.end_invitation(invited, Spent::UsedBy(key.id()))?;
        let mut peer = self.add_peer_within(tx, &invited.name, key)?;
        if !invited.shown.is_empty() {
            tx.set_shown(peer.key, &invited.shown)?;
            peer.standing.shown = Some(invited.shown.clone());
        }
        Ok(peer)
    }
}
