//! Invitations: the first bundle for a new replica holds a token, by which its first answer is recognised.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::file::First;
use super::options::{Existing, ExportOptions, Exported, Fullness, MessageContents, ReadableBy, Secrecy, To};
use super::plan::{Occasion, Plan};
use super::recipient::Recipient;
use super::secrecy::Target;
use crate::bundle::{Code, PublicKey, Token};
use crate::config::check_name;
use crate::error::Result;
use crate::model::Knowledge;
use crate::replica::Replica;
use crate::replica::transaction::Transaction;
use crate::state::{Action, Invited, Peer, Spent};
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

/// When the code is shown of an invitation that goes into a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeShown {
    /// Before anything is written: whoever reads the other end of a pipe needs it to go on.
    First,
    /// Once all is written, into a file.
    Last,
}

/// What there was of the one who is invited before the invitation was recorded. An invitation that can't be written leaves
/// it so.
struct Before {
    invited: Option<Invited>,
    peer: Option<Peer>,
}

impl Replica {
    /// Writes a full bundle for a new replica. Inviting it again, after a bundle that was lost, gives one with the same
    /// token, so that either will do, and for longer. Once the invitation has expired, only the new one will do.
    ///
    /// If it is encrypted without a key, that is with a code, which `show` is given. Nothing keeps it; without it, the bundle
    /// is of no use.
    ///
    /// # Errors
    /// The name belongs to a peer that was heard of, this replica's key can't be opened, or the bundle can't be written. The
    /// code can't be shown. Then nobody is invited who wasn't before.
    pub fn invite<W: Write>(
        &self,
        options: &InviteOptions,
        out: W,
        when: CodeShown,
        show: impl FnOnce(&Code) -> Result<()>,
    ) -> Result<Exported> {
        self.key()?;
        let (plan, before) = self.plan_invitation(options, Target::Stream)?;
        let code = plan.code().cloned();
        let written = match (code, when) {
            (Some(code), CodeShown::First) => show(&code).and_then(|()| self.write_plan(plan, out)),
            (Some(code), CodeShown::Last) => {
                self.write_plan(plan, out).and_then(|exported| show(&code).map(|()| exported))
            }
            (None, _) => self.write_plan(plan, out),
        };
        let exported = written.inspect_err(|_| self.take_invitation_back(options, &before))?;
        self.note_of_invitation(options, &before, &exported)?;
        Ok(exported)
    }

    /// Does the same, into a file or a directory; see [`Replica::export_to_file`]. The code is shown when the first file is
    /// whole, before it has its name; if that is a pipe or a device, before anything is written.
    pub fn invite_to_file(
        &self,
        options: &InviteOptions,
        path: &Path,
        show: impl FnOnce(&Code) -> Result<()>,
    ) -> Result<Vec<(PathBuf, Exported)>> {
        self.check_target(path, options.existing)?;
        self.key()?;
        let (plan, before) = self.plan_invitation(options, self.target_of(path)?)?;
        let code = plan.code().cloned();
        let mut first = code.map_or_else(First::plain, |code| First::when_whole(move || show(&code)));
        let written = self.write_plan_to_file(plan, path, options.existing, &mut first);
        // The first of several parts is of use without the others.
        let in_place = first.is_in_place();
        let written = written.inspect_err(|_| {
            if !in_place {
                self.take_invitation_back(options, &before);
            }
        })?;
        if let Some((_, exported)) = written.first() {
            self.note_of_invitation(options, &before, exported)?;
        }
        Ok(written)
    }

    /// Plans an invitation. The token is recorded before a bundle that holds it exists.
    fn plan_invitation(&self, options: &InviteOptions, target: Target<'_>) -> Result<(Plan, Before)> {
        check_name(&options.name)?;
        let tx = self.begin()?;
        self.check_key_counts()?;
        let invited = self.state.invitation(&options.name)?.filter(|invited| !invited.is_over(self.now()));
        let before = Before { invited, peer: self.state.peer_by_name(&options.name)? };
        let to = match &options.key {
            Some(key) => Recipient::Peer(Box::new(self.invite_key(&tx, &options.name, key)?)),
            None => Recipient::Invited(self.invite_name(&tx, &options.name, options.days)?),
        };
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
        Ok((plan, before))
    }

    /// Takes back that somebody is invited, since the bundle could not be written: nobody can answer it. An earlier
    /// invitation counts as before.
    fn take_invitation_back(&self, options: &InviteOptions, before: &Before) {
        if let Err(error) = self.record_that_nobody_was_invited(options, before) {
            let name = &options.name;
            self.note(format!(
                "{name} counts as invited although there is no invitation to carry there, for taking that back failed, too: {error}; \
                 invite it again, or withdraw that with `mailsync peer remove {name}`"
            ));
        }
    }

    fn record_that_nobody_was_invited(&self, options: &InviteOptions, before: &Before) -> Result<()> {
        let name = &options.name;
        let tx = self.begin()?;
        // Another command may have done more with it meanwhile.
        let number = |invited: &Invited| (invited.token, invited.sent_number);
        match (self.state.invitation(name)?, &before.invited) {
            (Some(now), Some(before)) if number(&now) == number(before) => {
                tx.set_invitation(&Invited { expires: before.expires, ..now })?;
            }
            (Some(now), None) if now.sent_number == 0 => tx.end_invitation(&now, Spent::Withdrawn)?,
            _ => {}
        }
        let peer = self
            .state
            .peer_by_name(name)?
            .filter(|peer| options.key.as_ref().is_some_and(|key| key.id() == peer.id) && peer.sent_number.is_none());
        match (peer, &before.peer) {
            (Some(now), Some(before)) if before.distant => tx.set_distant(now.key, true)?,
            (Some(now), None) if now.last_heard.is_none() => {
                tx.remove_peer(now.key)?;
                tx.record(self.now(), Action::PeerRemove, Some(name), &now.id.to_string())?;
            }
            _ => {}
        }
        tx.commit()
    }

    /// Notes what a person is to know of an invitation that is written.
    fn note_of_invitation(&self, options: &InviteOptions, before: &Before, exported: &Exported) -> Result<()> {
        self.note_what_revoked_ones_brought()?;
        let again = before.invited.as_ref().is_some_and(|invited| invited.sent_number > 0);
        if again && exported.readable == ReadableBy::CodeHolders {
            self.note(format!(
                "{} was invited before, and has not answered: either invitation will do, each with a code of its own, and the \
                 first answer counts",
                options.name
            ));
        }
        Ok(())
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
