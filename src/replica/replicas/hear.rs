//! Hearing a bundle's statements about replicas. The model has the rules which of them are kept.

use std::collections::BTreeMap;

use crate::bundle::{self, ReplicaId, ReplicaLine, ReplicaStatement, Revocation, limits};
use crate::error::Result;
use crate::model::{Caps, Head, Kept, Knowledge, NewsOfReplica, Ruling, SaidOfReplica};
use crate::replica::Replica;
use crate::replica::safety::ClockAhead;
use crate::replica::transaction::Transaction;
use crate::state::{Action, Peer, ReplicaSaying};
use crate::text::{local_time, plural};

/// What an import has heard about replicas.
#[derive(Debug, Default)]
pub(in crate::replica) struct ReplicaNews {
    /// The statements that are new here.
    pub(in crate::replica) new: Vec<ReplicaSaying>,
    /// How many statements were not signed by whom they need.
    bad: u64,
    /// What is wrong with those that are none, or say what can't be true.
    untrue: Vec<String>,
    /// How many were not kept since there are too many.
    too_many: u64,
}

impl Replica {
    /// Takes what a peer's bundle says about replicas. Returns how many statements were news.
    pub(in crate::replica) fn hear_replicas(
        &self,
        tx: &Transaction<'_>,
        lines: &[Vec<u8>],
        carrier: &Peer,
        (head, knowledge): (&Head, &Knowledge),
        clock_ahead: ClockAhead,
    ) -> Result<(u64, ReplicaNews)> {
        let mut news = ReplicaNews::default();
        let mut waiting: Vec<_> =
            lines.iter().filter_map(|line| self.believe_of_replica(line, clock_ahead, &mut news)).collect();
        let mut changed = 0;
        let caps = self.caps(knowledge)?.believe(head, knowledge).caps;
        let mut here = Held::of(self)?;
        // A statement can make known whom another one is about, whichever comes first.
        loop {
            let before = news.new.len();
            let mut left = Vec::new();
            for (statement, line) in waiting {
                let saying =
                    ReplicaSaying { statement, line, carrier: Some(carrier.id), heard: self.now(), overruled: false };
                match Self::take_saying(tx, &saying, &mut here, &caps)? {
                    Taking::News => news.new.push(saying),
                    Taking::Stamp => changed += 1,
                    Taking::Known => {}
                    Taking::Strangers => left.push((saying.statement, saying.line)),
                    Taking::TooMany => news.too_many += 1,
                }
            }
            waiting = left;
            if news.new.len() == before || waiting.is_empty() {
                break;
            }
        }
        self.follow_all(tx, &news.new)?;
        let caps = self.caps(knowledge)?.believe(head, knowledge).caps;
        self.restamp_what_is_not_believed(tx, &caps)?;
        self.record_revocations(tx, &news)?;
        Ok((changed + news.new.len() as u64, news))
    }

    /// A statement whose stamp isn't believed is passed on by a stamp of this replica's own: what is said doesn't depend on
    /// the stamp beside it, and a replica passes on no stamp that it doesn't know. Which stamps are believed may follow from
    /// the statements that came with it.
    fn restamp_what_is_not_believed(&self, tx: &Transaction<'_>, caps: &Caps) -> Result<()> {
        for saying in tx.replica_sayings()?.into_iter().filter(|saying| !caps.takes(saying.line.stamp)) {
            let line = ReplicaLine { stamp: tx.issue(self.now())?, ..saying.line };
            tx.set_replica_saying(&ReplicaSaying { line, ..saying })?;
        }
        Ok(())
    }

    /// Puts the revocations that are new here into the history.
    fn record_revocations(&self, tx: &Transaction<'_>, news: &ReplicaNews) -> Result<()> {
        for saying in &news.new {
            if let ReplicaStatement::Revocation(Revocation { who, name, by, since, .. }) = &saying.statement {
                let by = self.name_of(by)?;
                let called = match name {
                    Some(name) if !self.is_known(who)? => format!(", which {by} calls {name},"),
                    _ => String::new(),
                };
                let text = format!("{who}{called} is revoked as of {} by {by}", local_time(*since));
                tx.record(self.now(), Action::PeerRevoke, Some(&self.name_of(who)?), &text)?;
            }
        }
        Ok(())
    }

    /// The statement in a line, if it can be true. This is the only place where that is decided, but for its stamp, which
    /// the sender of the bundle itself answers for: [`Claims`](crate::model::Claims) has that rule.
    fn believe_of_replica(
        &self,
        line: &[u8],
        clock_ahead: ClockAhead,
        news: &mut ReplicaNews,
    ) -> Option<(ReplicaStatement, ReplicaLine)> {
        let (statement, line) = match ReplicaLine::decode(line).and_then(|line| Ok((line.verify()?.0, line))) {
            Ok(read) => read,
            Err(bundle::Error::BadSignature { .. } | bundle::Error::WrongSigner { .. }) => {
                news.bad += 1;
                return None;
            }
            Err(bundle::Error::Corrupt { what }) => {
                news.untrue.push(what.into_owned());
                return None;
            }
            Err(other) => {
                news.untrue.push(other.to_string());
                return None;
            }
        };
        let wall = self.wall_clock();
        if clock_ahead == ClockAhead::Refuse && wall.is_before(statement.said_at()) {
            let (said, own) = (local_time(statement.said_at()), local_time(wall.0));
            news.untrue.push(format!("it was said at {said}, and the clock of this machine shows {own}"));
            return None;
        }
        Some((statement, line))
    }

    /// Takes one statement whose signatures hold.
    fn take_saying(tx: &Transaction<'_>, saying: &ReplicaSaying, held: &mut Held<'_>, caps: &Caps) -> Result<Taking> {
        match Self::rule_on(tx, saying, held)? {
            (Ruling::Same, _) => {
                let known = tx.replica_saying_like(&saying.statement)?;
                let is_later = |known: &ReplicaSaying| known.line.stamp < saying.line.stamp;
                let Some(known) = known.filter(|known| is_later(known) && caps.takes(saying.line.stamp)) else {
                    return Ok(Taking::Known);
                };
                let line = ReplicaLine { stamp: saying.line.stamp, ..known.line };
                tx.set_replica_saying(&ReplicaSaying { line, ..known })?;
                Ok(Taking::Stamp)
            }
            (Ruling::Known | Ruling::NoSay, _) => Ok(Taking::Known),
            (Ruling::New, Kept::Strangers) => Ok(Taking::Strangers),
            (Ruling::New, Kept::TooMany) => Ok(Taking::TooMany),
            (Ruling::New, Kept::Yes) => {
                if tx.replica_saying_like(&saying.statement)?.is_none() {
                    held.add(saying);
                }
                tx.set_replica_saying(saying)?;
                Ok(Taking::News)
            }
        }
    }

    /// What the model says of a statement whose signatures hold: whether it is news, and whether it is kept.
    pub(super) fn rule_on(tx: &Transaction<'_>, saying: &ReplicaSaying, held: &mut Held<'_>) -> Result<(Ruling, Kept)> {
        let known = tx.replica_saying_like(&saying.statement)?;
        let ruling = ranked(saying).against(known.as_ref().map(ranked).as_ref());
        let kept = match known {
            Some(_) => Kept::Yes,
            None => held.news_of(&saying.statement)?.is_kept(limits::REPLICA_STATEMENTS),
        };
        Ok((ruling, kept))
    }

    /// Tells the person what was heard about replicas, and what went wrong.
    pub(in crate::replica) fn tell_replica_news(&self, news: &ReplicaNews) -> Result<()> {
        let is_are = |count: u64| if count == 1 { "is" } else { "are" };
        let statements = |count: u64| plural(count, "statement");
        if news.bad > 0 {
            let count = news.bad;
            self.note(format!(
                "{} about replicas {} not signed by whom that takes, and {} ignored",
                statements(count),
                is_are(count),
                is_are(count)
            ));
        }
        if let Some(first) = news.untrue.first() {
            let count = news.untrue.len() as u64;
            let says = if count == 1 { "says" } else { "say" };
            self.note(format!(
                "{} about replicas {says} what can't be, and {} ignored: {first}",
                statements(count),
                is_are(count)
            ));
        }
        if news.too_many > 0 {
            let count = news.too_many;
            self.note(format!(
                "{} about replicas {} not kept: too many of those who made them are here; `mailsync peer list` shows what was \
                 said",
                statements(count),
                is_are(count)
            ));
        }
        if news.new.is_empty() { Ok(()) } else { self.note_shut_outs() }
    }
}

/// The statements that are held, and which replicas are known here. There can be many statements, and each is asked for
/// its maker with each that is new: so it is found out once for each replica.
pub(super) struct Held<'r> {
    replica: &'r Replica,
    sayings: Vec<ReplicaSaying>,
    known: BTreeMap<ReplicaId, bool>,
}

impl<'r> Held<'r> {
    /// Those of a replica.
    pub(super) fn of(replica: &'r Replica) -> Result<Self> {
        Ok(Self { replica, sayings: replica.state.replica_sayings()?, known: BTreeMap::new() })
    }

    /// A statement that is held from now on, in nobody's place.
    fn add(&mut self, saying: &ReplicaSaying) {
        self.sayings.push(saying.clone());
        if let ReplicaStatement::Succession(succession) = &saying.statement {
            self.known.extend([(succession.old, true), (succession.new.id(), true)]);
        }
    }

    /// What decides whether a statement is kept of which there is none like it yet.
    fn news_of(&mut self, statement: &ReplicaStatement) -> Result<NewsOfReplica> {
        let makers: Vec<ReplicaId> = self.sayings.iter().map(|saying| saying.statement.by()).collect();
        let maker_known = self.knows(&statement.by())?;
        let mut of_maker = 0;
        for maker in &makers {
            let same = if maker_known { *maker == statement.by() } else { !self.knows(maker)? };
            of_maker += u64::from(same);
        }
        let about_known = self.knows(&statement.about())?;
        Ok(NewsOfReplica { maker_known, about_known, of_maker, all: makers.len() as u64 })
    }

    /// Whether a replica is known here: it is this one or a peer, or a statement that is kept says which key it has, or
    /// had before.
    fn knows(&mut self, id: &ReplicaId) -> Result<bool> {
        if let Some(known) = self.known.get(id) {
            return Ok(*known);
        }
        let succeeds = |saying: &ReplicaSaying| match &saying.statement {
            ReplicaStatement::Succession(succession) => succession.old == *id || succession.new.id() == *id,
            ReplicaStatement::Revocation(_) => false,
        };
        let known = self.replica.is_known(id)? || self.sayings.iter().any(succeeds);
        self.known.insert(*id, known);
        Ok(known)
    }
}

/// What became of a statement.
enum Taking {
    /// It is new here.
    News,
    /// Only its stamp is.
    Stamp,
    /// Nothing of it is.
    Known,
    /// It concerns nobody here.
    Strangers,
    /// There is no room for it.
    TooMany,
}

fn ranked(saying: &ReplicaSaying) -> SaidOfReplica<'_> {
    SaidOfReplica { at: saying.statement.said_at(), signed: &saying.line.signed }
}
