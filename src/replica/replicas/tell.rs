//! What people are told of replicas that were revoked.

use std::collections::BTreeSet;

use super::shut_out::{RevocationHeard, ShutOut, ShutOuts};
use crate::bundle::{ReplicaId, ReplicaLine, ReplicaStatement, Revocation};
use crate::error::{Error, Result};
use crate::replica::Replica;
use crate::state::Peer;
use crate::text::{local_time, plural, printable};

/// So many characters of an id tell it from others for people: twelve of them stand for 72 bits.
const SHORT_ID: usize = ReplicaId::BEGINS.len() + 12;

impl Replica {
    /// The name of a replica that is shut out, for people: the one that it has here or, if it is nobody here, the one that who
    /// has revoked it calls it by, with its id.
    pub fn shown_name_of(&self, id: &ReplicaId, out: &ShutOut) -> Result<String> {
        if self.is_known(id)? {
            return Ok(printable(&self.name_of(id)?));
        }
        for RevocationHeard { revocation, .. } in &out.by {
            if let Some(name) = &revocation.name {
                let name = printable(name);
                if self.is_me(&revocation.by) {
                    return Ok(format!("{name}, as it was called here ({id})"));
                }
                return Ok(format!("{name}, as {} calls it ({id})", self.sayer(&revocation.by)?));
            }
        }
        Ok(id.to_string())
    }

    /// Who has said something of a replica, for people: its name here. The one that it had here before, or how its id begins, if it
    /// is nobody here: that is not a name that others give it, for they could give it any.
    fn sayer(&self, id: &ReplicaId) -> Result<String> {
        if self.is_known(id)? {
            return Ok(printable(&self.name_of(id)?));
        }
        let short = format!("{}\u{2026}", &id.to_string()[..SHORT_ID]);
        let out = self.shut_outs()?;
        let said_here = out.get(id).map(ShutOut::said_here).unwrap_or_default();
        let name = said_here.iter().find_map(|said| said.name.as_deref());
        Ok(name.map_or_else(|| short.clone(), |name| format!("{} ({short})", printable(name))))
    }

    /// The ids of those that had this name here before, and haven't got it now: of replicas that were revoked here under it, and of
    /// peers that were removed.
    pub(in crate::replica) fn who_has_borne(&self, name: &str) -> Result<BTreeSet<ReplicaId>> {
        let mut ids = self.revoked_under(name)?;
        for id in self.state.removed_under(name)? {
            ids.insert(self.present_id(&id)?);
        }
        if let Some(peer) = self.state.peer_by_name(name)? {
            ids.remove(&peer.id);
        }
        Ok(ids)
    }

    /// The ids of those that are shut out, and that were revoked under this name on this machine.
    fn revoked_under(&self, name: &str) -> Result<BTreeSet<ReplicaId>> {
        let out = self.shut_outs()?;
        let of_name =
            out.iter().filter(|(_, out)| out.said_here().iter().any(|said| said.name.as_deref() == Some(name)));
        Ok(of_name.map(|(id, _)| *id).collect())
    }

    /// Notes whom a name means that a machine had before which was revoked. Who names that one may mean either.
    pub(in crate::replica) fn note_namesakes(&self, peer: &Peer) -> Result<()> {
        for id in self.revoked_under(&peer.name)?.into_iter().filter(|id| *id != peer.id) {
            self.note(format!(
                "{name} is the machine whose id is {}; the one that was revoked under that name is {id}: for that one, give the id in \
                 the place of {name}",
                peer.id,
                name = peer.name,
            ));
        }
        Ok(())
    }

    /// Who has revoked a replica, and when, for people: all of those that count.
    pub fn words_of(&self, out: &ShutOut) -> Result<String> {
        self.words_about(&out.by.iter().collect::<Vec<_>>())
    }

    /// Who has said these revocations, and when.
    fn words_about(&self, all: &[&RevocationHeard]) -> Result<String> {
        let mut said = Vec::new();
        for RevocationHeard { revocation, carrier, .. } in all.iter().take(MOST_NAMED) {
            let by = self.sayer(&revocation.by)?;
            let by = match carrier {
                None => String::from("this replica"),
                Some(carrier) if *carrier == revocation.by => by,
                Some(carrier) => format!("{by} (as {} has brought here)", self.sayer(carrier)?),
            };
            let why = revocation.reason.as_ref().map_or_else(String::new, |why| format!(", \"{}\"", printable(why)));
            said.push(format!("{by} at {}{why}", local_time(revocation.at)));
        }
        if all.len() > MOST_NAMED {
            said.push(format!("{} more", plural((all.len() - MOST_NAMED) as u64, "replica")));
        }
        Ok(said.join(", and by "))
    }

    /// Notes what a person has to decide about other replicas: which of two keys is a peer's, and whether one that others have
    /// revoked is trusted.
    ///
    /// # Errors
    /// The state can't be read.
    pub fn note_undecided(&self) -> Result<()> {
        self.note_contested()?;
        self.note_shut_outs()
    }

    /// Says loudly whom others have revoked, until a person has looked; of each replica once for each command, however many
    /// of its bundles tell of it. Who says it, too, is named when that comes.
    pub(in crate::replica) fn note_shut_outs(&self) -> Result<()> {
        let me = self.public_key().id();
        for (id, out) in self.shut_outs()?.iter() {
            if *id != me && out.was_looked_at() {
                continue;
            }
            let was_told = |by: Option<ReplicaId>| {
                let told_of = self.told_of.borrow();
                told_of.iter().any(|(who, told)| out.keys.contains(who) && by.is_none_or(|by| by == *told))
            };
            let new: Vec<_> = out.by.iter().filter(|heard| !was_told(Some(heard.revocation.by))).collect();
            if new.is_empty() {
                continue;
            }
            let shown = if *id == me { String::from("this replica") } else { self.shown_name_of(id, out)? };
            if was_told(None) {
                self.note(format!("{shown} was revoked by {}, too", self.words_about(&new)?));
            } else {
                self.note_shut_out(id, out, &shown)?;
            }
            self.told_of.borrow_mut().extend(out.by.iter().map(|heard| (*id, heard.revocation.by)));
        }
        Ok(())
    }

    /// Tells who was shut out before and isn't any more, since what was said of it doesn't count: that was said by one who was
    /// revoked itself.
    pub(super) fn note_let_in(&self, before: &ShutOuts) -> Result<()> {
        let (now, me) = (self.shut_outs()?, self.public_key().id());
        for (id, out) in before.iter().filter(|(id, _)| **id != me && now.get(id).is_none()) {
            self.note(format!(
                "{} is not shut out any more: it was revoked by {}, and whoever says so was revoked in turn, from before this was heard \
                 here; if it is lost or stolen all the same, run `mailsync peer revoke {}`",
                self.shown_name_of(id, out)?,
                self.words_of(out)?,
                self.name_of(id)?
            ));
        }
        Ok(())
    }

    /// Says loudly that others have revoked a replica, which may be this one.
    fn note_shut_out(&self, id: &ReplicaId, out: &ShutOut, shown: &str) -> Result<()> {
        let by = self.words_of(out)?;
        if *id == self.public_key().id() {
            self.note(format!(
                "THIS REPLICA WAS REVOKED by {by}: those who believe that take nothing from here any more and send nothing here; if \
                 this machine is in your hands and always was, run `mailsync peer reinstate {id}` on each of the others, and here \
                 to see this no more; and if one of them isn't in your hands, revoke that one with `mailsync peer revoke`, here \
                 and on the others"
            ));
            return Ok(());
        }
        // A name that somebody else has given it can't be typed here.
        let typed = self.name_of(id)?;
        let Accusers { names, commands } = self.accusers_of(out, None)?;
        let is = if names.len() == 1 { "is" } else { "are" };
        self.note(format!(
            "{shown} WAS REVOKED by {by}, as of {}: nothing is taken from it, and nothing sent to it. Look into this, for a thief can \
             revoke, too: if it is in other hands, run `mailsync peer revoke {typed}` here as well; if it is in yours, \
             `mailsync peer reinstate {typed}`; and if it is {} that {is} in other hands, {}",
            local_time(out.since),
            names.join(" and "),
            commands.join(" and ")
        ));
        Ok(())
    }

    /// Makes sure that a peer is not shut out before something is sent to it. `doing` says what, in an error's words.
    ///
    /// # Errors
    /// It is.
    pub(in crate::replica) fn check_not_shut_out(&self, doing: &str, peer: &Peer) -> Result<()> {
        match self.shut_outs()?.get(&peer.id) {
            None => Ok(()),
            Some(out) => {
                let name = &peer.name;
                let WhyShutOut { by, advice, .. } = self.why_shut_out(name, out, &[])?;
                Err(Error::rejected(format!("{doing}: {name} was revoked by {by}, and nothing is sent to it"))
                    .advise(advice))
            }
        }
    }

    /// Why nothing is taken from a replica of this name that is shut out, and what a person can do. `lines` are the statements of
    /// a bundle of it, whose signature holds.
    ///
    /// # Errors
    /// The state can't be read.
    pub(in crate::replica) fn why_shut_out(&self, name: &str, out: &ShutOut, lines: &[Vec<u8>]) -> Result<WhyShutOut> {
        let by = format!("{}, as of {}", self.words_of(out)?, local_time(out.since));
        if out.was_looked_at() {
            return Ok(WhyShutOut { by, answer: None, advice: trusted_again(name) });
        }
        let answer = self.answer_to(out, lines)?;
        let Accusers { names: accusers, commands } = self.accusers_of(out, answer.as_ref())?;
        let (accuser, commands, ends) = (accusers.join(" and "), commands.join(" and "), accusers.len() == 1);
        let (is, its) = if ends { ("is", "its word ends") } else { ("are", "their words end") };
        let advice = format!(
            "only you can tell which is right, for a thief can revoke, too: if {accuser} {is} in other hands, run {commands} here, or with \
             an earlier time if that is true: then {its}, and {name} is taken again; if {name} is, `mailsync peer revoke {name}` \
             here; and if {name} is in your hands and always was, `mailsync peer reinstate {name}`"
        );
        let answer = answer.map(|(of, Revocation { since, reason, .. })| -> Result<String> {
            let why = reason.as_ref().map_or_else(String::new, |why| format!(", \"{}\"", printable(why)));
            let of = printable(&self.name_of(&of)?);
            Ok(format!("{name} says in this bundle that {of} was revoked (as of {}{why})", local_time(since)))
        });
        Ok(WhyShutOut { by, answer: answer.transpose()?, advice })
    }

    /// Those by whose word a replica is shut out, and what ends that word: `answer` is what it says of one of them.
    fn accusers_of(&self, out: &ShutOut, answer: Option<&(ReplicaId, Revocation)>) -> Result<Accusers> {
        let mut accusers = Accusers::default();
        for heard in out.by.iter().take(MOST_NAMED) {
            let accuser = self.name_of(&heard.revocation.by)?;
            if accusers.names.contains(&accuser) {
                continue;
            }
            // What it has said counts unless it was not to be trusted by then.
            let until = heard.revocation.at.max(heard.heard);
            let since = match answer {
                Some((of, answer)) if *of == heard.revocation.by => answer.since.min(until),
                _ => until,
            };
            accusers.commands.push(format!("`mailsync peer revoke {accuser} --since \"{}\"`", local_time(since)));
            accusers.names.push(accuser);
        }
        Ok(accusers)
    }

    /// What these statements of a replica that is shut out say of one by whose word it is, and who that is. Of what can't be read
    /// nothing is said: none of it is taken.
    fn answer_to(&self, out: &ShutOut, lines: &[Vec<u8>]) -> Result<Option<(ReplicaId, Revocation)>> {
        for line in lines {
            let Ok((ReplicaStatement::Revocation(said), _)) = ReplicaLine::decode(line).and_then(|line| line.verify())
            else {
                continue;
            };
            if !out.keys.contains(&said.by) {
                continue;
            }
            let keys: Vec<ReplicaId> = said.all_keys().map(|key| self.present_id(&key)).collect::<Result<_>>()?;
            for heard in &out.by {
                let by = heard.revocation.by;
                if keys.contains(&self.present_id(&by)?) {
                    return Ok(Some((by, said)));
                }
            }
        }
        Ok(None)
    }
}

/// Those by whose word a replica is shut out: each once, and not too many.
#[derive(Debug, Default)]
struct Accusers {
    names: Vec<String>,
    /// What a person types for whom it is the thief who has said so.
    commands: Vec<String>,
}

/// Why nothing is taken from a replica that is shut out, and what a person can do about that, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WhyShutOut {
    /// Who has revoked it, when, and as of when.
    pub by: String,
    /// What its bundle says of one of those, if it says that that one was revoked.
    pub answer: Option<String>,
    /// What to do next, on this machine.
    pub advice: String,
}

/// What a person does who knows that a replica is to be trusted after all.
pub(in crate::replica) fn trusted_again(name: &str) -> String {
    format!("if it is in your hands and always was, say so with `mailsync peer reinstate {name}`")
}

/// At most so many who have revoked a replica are named.
const MOST_NAMED: usize = 3;
