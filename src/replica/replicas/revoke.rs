//! `peer revoke` and `peer reinstate`: what a person says of a machine that was lost or stolen, or has come back.

use super::hear::Held;
use super::shut_out::ShutOut;
use crate::bundle::{ReplicaId, ReplicaLine, ReplicaStatement, Revocation, limits};
use crate::error::{Error, Result};
use crate::model::{Kept, Knowledge, Ruling, keys_besides, named_by_revocation};
use crate::replica::Replica;
use crate::replica::tally::Tally;
use crate::replica::transaction::Transaction;
use crate::state::{Action, ReplicaSaying};
use crate::text::{local_time, printable};

/// Options for a revocation.
#[derive(Clone, Debug)]
pub struct RevokeOptions {
    /// The replica: its name here, or its id.
    pub who: String,
    /// From when on nothing of it is to be believed: milliseconds since 1970 UTC; `None` for what was said here before, or
    /// else for the earliest that others have said and that counts here, or else for now.
    pub since: Option<u64>,
    /// Why, for people; `None` for what was said here before.
    pub reason: Option<String>,
}

/// Where the time comes from, from which on a replica is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinceFrom {
    /// A person has given it now.
    Given,
    /// It was said here before.
    Here,
    /// Others had said it: it is the earliest that counted here.
    Others,
    /// Nobody has given one: it is the time of the revocation itself.
    Now,
}

/// What a revocation has come to.
#[derive(Clone, Debug)]
pub struct RevokedHere {
    /// The id of the replica.
    pub id: ReplicaId,
    /// From when on this replica says that nothing is to be believed: milliseconds since 1970 UTC. What counts can be earlier.
    pub since: u64,
    /// Where that time comes from.
    pub since_from: SinceFrom,
    /// Whether a bundle of its own came here since then, by the clock of this machine. If none did, it may have begun anew since:
    /// then nothing tells here what it has done by that name.
    pub heard_since: bool,
    /// Whether its changes can be told from those of others here. They can't if no bundle of its own came, neither here nor to
    /// those who have revoked it.
    pub told_apart: bool,
    /// What counts.
    pub out: ShutOut,
}

/// What has become of revocations that a person has overruled.
#[derive(Clone, Debug)]
pub struct Reinstated {
    /// The id of the replica that is trusted again.
    pub id: ReplicaId,
    /// How many revocations were overruled.
    pub overruled: u64,
    /// Whether one of them was said here. It isn't sent any more.
    pub withdrawn: bool,
    /// The names of those that are known here to which such a one has been sent already.
    pub sent_to: Vec<String>,
}

/// Whom a person means who revokes a replica.
struct Meant {
    /// Its id: what is typed, or what the name stands for.
    id: ReplicaId,
    /// The key that is to be named first, and those besides.
    who: ReplicaId,
    keys: Vec<ReplicaId>,
}

impl Replica {
    /// Says that a replica isn't to be trusted any more. It is shut out here at once, and wherever this is heard.
    ///
    /// # Errors
    /// It is this replica, nobody knows it here, `since` is yet to come, or the reason is none.
    pub fn revoke(&self, options: &RevokeOptions) -> Result<RevokedHere> {
        let me = self.public_key().id();
        let doing = format!("revoking {}", options.who);
        let Meant { id, who, keys } = self.meant_by(&options.who)?;
        if self.is_me(&id) {
            return Err(Error::usage(format!("{doing}: that is this replica itself")).advise(
                "if this machine is the one that can't be trusted, run that on another one, and stop using this one",
            ));
        }
        let before = self.shut_outs()?;
        let now = self.now().clamp(1, limits::JOB_TIME);
        check_options(&doing, options, now)?;
        let tx = self.begin()?;
        let counting = before.get(&id);
        let said_here = counting.map(ShutOut::said_here).unwrap_or_default();
        let (own, counts) = (said_here.iter().map(|said| said.since).min(), counting.map(|out| out.since));
        // A clock that was set back makes no statement that nobody can believe.
        let since = options.since.or(own.or(counts).filter(|since| *since <= now)).unwrap_or(now);
        let since_from = match (options.since, own, counts) {
            (Some(_), ..) => SinceFrom::Given,
            (None, Some(own), _) if own == since => SinceFrom::Here,
            (None, None, Some(counts)) if counts == since => SinceFrom::Others,
            (None, ..) => SinceFrom::Now,
        };
        // What was said before is only replaced by what was said later, by whichever key of either.
        let mut said_before = None;
        for saying in tx.replica_sayings()? {
            if let ReplicaStatement::Revocation(said) = &saying.statement
                && self.is_me(&said.by)
                && said.all_keys().any(|key| key == who || keys.contains(&key))
            {
                said_before = said_before.max(Some(said.at));
            }
        }
        let at = said_before.map_or(now, |before| now.max(before + 1)).min(limits::JOB_TIME);
        let present = self.present_id(&id)?;
        let all_keys = keys.iter().copied().chain([id, who, present]).collect();
        let (own, brought) = (self.state.incarnations_of(&present)?, self.brought_by(&all_keys, since)?);
        let incarnations = named_by_revocation(own, brought, limits::REVOKED_INCARNATIONS);
        let name = self.known_as(&who)?.filter(|name| name.len() <= limits::REVOKED_NAME_BYTES);
        let reason_before = said_here.iter().max_by_key(|said| said.at).and_then(|said| said.reason.clone());
        let reason = options.reason.clone().or(reason_before);
        let revocation = Revocation { who, keys, name, since, by: me, at, reason, incarnations };
        let line = ReplicaLine::revoke(tx.issue(self.now())?, &revocation, self.key()?)
            .map_err(|error| Error::failed(format!("{doing}: signing that: {error}")))?;
        self.say_of_replica(&tx, &doing, ReplicaStatement::Revocation(revocation), line)?;
        let text = format!("{id} is revoked as of {}", local_time(since));
        tx.record(self.now(), Action::PeerRevoke, Some(&options.who), &text)?;
        let out = self.shut_outs()?;
        let is_out = |one: &ReplicaId| Ok(out.get(&self.present_id(one)?).is_some_and(|out| out.keys.contains(&id)));
        Tally::end_of(&tx, is_out)?;
        tx.commit()?;
        let out = out.get(&id).cloned();
        let out =
            out.ok_or_else(|| Error::failed(format!("{doing}: it does not count")).advise("run `mailsync doctor`"))?;
        self.note_let_in(&before)?;
        let told_apart = !self.incarnations_shut_out(&out)?.is_empty();
        let heard_since = self.has_heard_since(&id, &out)?;
        Ok(RevokedHere { id, since, since_from, heard_since, told_apart, out })
    }

    /// Who is to be revoked by this name or id. An id means that key, and whatever follows it; a name means the machine, and so
    /// the key by which that was made known here as well: another one than is known here may have followed that elsewhere.
    fn meant_by(&self, name: &str) -> Result<Meant> {
        let Some(peer) = self.state.peer_by_name(name)? else {
            let id = name.parse().map_or_else(|_| self.replica_called(name), Ok)?;
            return Ok(Meant { id, who: id, keys: Vec::new() });
        };
        let first = self.state.first_id_of(peer.key)?;
        let chain: Vec<ReplicaId> = self.former_ids_of(&peer.id)?.into_iter().chain([peer.id]).collect();
        let successors = self.successors(&self.state.replica_sayings()?, |_, _| true)?;
        let mut keys = keys_besides(first, &chain, &successors);
        keys.retain(|key| !self.is_me(key));
        keys.truncate(limits::REVOKED_KEYS);
        keys.sort_unstable();
        Ok(Meant { id: peer.id, who: first, keys })
    }

    /// Whether a bundle of a replica's own came here after the time from which on it is revoked, or to somebody else who has
    /// revoked it and knows of incarnations of it.
    fn has_heard_since(&self, id: &ReplicaId, out: &ShutOut) -> Result<bool> {
        let others_know =
            out.by.iter().any(|heard| heard.carrier.is_some() && !heard.revocation.incarnations.is_empty());
        let heard = self.peer_of(id)?.and_then(|peer| peer.last_heard);
        Ok(others_know || heard.is_some_and(|heard| heard >= out.since))
    }

    /// Records what this replica says of another one, to be passed on.
    pub(in crate::replica) fn say_of_replica(
        &self,
        tx: &Transaction<'_>,
        doing: &str,
        statement: ReplicaStatement,
        line: ReplicaLine,
    ) -> Result<()> {
        let saying = ReplicaSaying { statement, line, carrier: None, heard: self.now(), overruled: false };
        match Self::rule_on(tx, &saying, &mut Held::of(self)?)? {
            (Ruling::New, Kept::Yes | Kept::Strangers) => tx.set_replica_saying(&saying),
            (Ruling::New, Kept::TooMany) => {
                Err(Error::failed(format!("{doing}: this replica holds as many statements about replicas as it can"))
                    .advise("see `mailsync peer list`: whoever has made most of them isn't to be trusted"))
            }
            (Ruling::Same | Ruling::Known | Ruling::NoSay, _) => {
                Err(Error::failed(format!("{doing}: a later statement of this replica says something else"))
                    .advise("see whether the clock of this machine is right"))
            }
        }
    }

    /// Trusts a replica again on this machine, whoever has revoked it. If a person has said so here, that goes no further
    /// from here; who has heard of it by then still believes it.
    ///
    /// # Errors
    /// Nobody knows it here, or nobody has revoked it.
    pub fn reinstate(&self, name: &str) -> Result<Reinstated> {
        let who = self.replica_called(name)?;
        let tx = self.begin()?;
        let overruled = self.overrule(&tx, &who)?;
        if overruled.is_empty() {
            return Err(Error::failed(format!("reinstating {name}: nobody has revoked it, as far as is known here"))
                .advise("`mailsync peer list` shows who is revoked"));
        }
        // What it has said of its key meanwhile was not believed.
        self.follow_all(&tx, &tx.replica_sayings()?)?;
        tx.record(self.now(), Action::PeerReinstate, Some(name), &who.to_string())?;
        let own: Vec<_> = overruled.iter().filter(|saying| saying.carrier.is_none()).collect();
        let sent_to = self.sent_to(&own)?;
        tx.commit()?;
        let (overruled, withdrawn) = (overruled.len() as u64, !own.is_empty());
        Ok(Reinstated { id: who, overruled, withdrawn, sent_to })
    }

    /// The names of those to whom one of these statements has been sent, or who have shown that they know it.
    fn sent_to(&self, sayings: &[&ReplicaSaying]) -> Result<Vec<String>> {
        let has = |known: Option<&Knowledge>, sent: Option<u64>| {
            sayings.iter().any(|saying| {
                // A statement can have got a fresh stamp since: then the time tells.
                known.is_some_and(|known| known.covers(saying.line.stamp)) || sent.is_some_and(|at| at >= saying.heard)
            })
        };
        let mut names = Vec::new();
        for peer in self.state.peers()? {
            if has(peer.sent.as_ref(), peer.last_sent) || has(peer.standing.shown.as_ref(), None) {
                names.push(peer.name);
            }
        }
        for invited in self.state.invitations()? {
            if has(Some(&invited.sent), Some(invited.made)) {
                names.push(invited.name);
            }
        }
        Ok(names)
    }

    /// The replica that a person means: by its name here, or by its id.
    fn replica_called(&self, name: &str) -> Result<ReplicaId> {
        if let Some(peer) = self.state.peer_by_name(name)? {
            return Ok(peer.id);
        }
        if let Ok(id) = name.parse() {
            return self.present_id(&id);
        }
        if name == self.config.name {
            return Ok(self.public_key().id());
        }
        // Somebody else may call a machine so that is nobody here. Whether that is the one that is meant the person has to say.
        let is_known = self.state.invitation(name)?.is_some() || !self.who_has_borne(name)?.is_empty();
        for (id, out) in self.shut_outs()?.iter().filter(|_| !is_known) {
            if out.by.iter().any(|heard| heard.revocation.name.as_deref() == Some(name)) {
                return Err(Error::usage(format!("there is no peer called {}", printable(name)))
                    .advise(format!("if {} is meant, give its id", self.shown_name_of(id, out)?)));
            }
        }
        Err(self.unknown_peer(name))
    }
}

/// # Errors
/// The time is yet to come, or the reason is none.
fn check_options(doing: &str, options: &RevokeOptions, now: u64) -> Result<()> {
    if let Some(since) = options.since.filter(|&since| since == 0 || since > now) {
        let what = format!("{doing}: it would be as of {}, and now it is {}", local_time(since), local_time(now));
        return Err(Error::usage(what).advise("give with --since when it was last in your hands"));
    }
    let Some(reason) = &options.reason else { return Ok(()) };
    let (what, advice) = if reason.is_empty() {
        (String::from("the reason is empty"), "give one, or leave --reason out")
    } else if reason.len() > limits::REASON_BYTES {
        (
            format!("the reason has {} bytes, and {} is the most", reason.len(), limits::REASON_BYTES),
            "give a shorter one",
        )
    } else if let Some(control) = reason.chars().find(|character| character.is_control()) {
        (
            format!("the reason has the character {}", control.escape_debug()),
            "give one in one line, of what can be printed",
        )
    } else {
        return Ok(());
    };
    Err(Error::usage(format!("{doing}: {what}")).advise(advice))
}
