//! Hearing a bundle's statements about replicas. The model has the rules which of them are kept.

use std::collections::{BTreeMap, BTreeSet};

use super::shut_out::ShutOuts;
use crate::bundle::{
    self, PublicKey, ReplicaId, ReplicaLine, ReplicaStatement, Revocation, SignedSuccession, Succession, limits,
};
use crate::error::Result;
use crate::model::{Caps, Head, Kept, Knowledge, NewsOfReplica, Ruling, SaidOfReplica, Stamp};
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
    /// Who was shut out before.
    before: ShutOuts,
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
        let mut news = ReplicaNews { before: self.shut_outs()?, ..ReplicaNews::default() };
        let told = lines.iter().filter_map(|line| self.believe_of_replica(line, clock_ahead, &mut news));
        let (told, now): (Vec<_>, _) = (told.collect(), self.now());
        let told = told.into_iter().map(|said| by_carrier(said, carrier.id, now)).collect();
        let caps = self.caps(knowledge)?.believe(head, knowledge).caps;
        let changed = Self::take_sayings(tx, told, &mut Held::of(self)?, |stamp| caps.takes(stamp), &mut news)?;
        self.follow_all(tx, &news.new)?;
        let caps = self.caps(knowledge)?.believe(head, knowledge).caps;
        self.restamp_what_is_not_believed(tx, &caps)?;
        self.record_revocations(tx, &news)?;
        Ok((changed + news.new.len() as u64, news))
    }

    /// Begins to hear what bundles that wait to be imported together say of who was lost or stolen.
    pub(in crate::replica) fn begin_to_hear(&self) -> Result<HeardFirst> {
        let news = ReplicaNews { before: self.shut_outs()?, ..ReplicaNews::default() };
        Ok(HeardFirst { held: Held::of(self)?, heard: self.now(), news })
    }

    /// Takes the revocations among what a peer's bundle says about replicas before that bundle is taken. They are passed
    /// on by stamps of this replica's own, as the ones beside them may not be known here yet. What is wrong with some is
    /// told when the bundle is taken.
    pub(in crate::replica) fn hear_revocations(
        &self,
        tx: &Transaction<'_>,
        lines: &[Vec<u8>],
        carrier: &Peer,
        clock_ahead: ClockAhead,
        HeardFirst { held, heard, news }: &mut HeardFirst,
    ) -> Result<()> {
        let mut of_bundle = ReplicaNews::default();
        let told = lines.iter().filter_map(|line| self.believe_of_replica(line, clock_ahead, &mut of_bundle));
        let mut told: Vec<_> = told.collect();
        told.retain(|(statement, _)| matches!(statement, ReplicaStatement::Revocation(_)));
        let told = told.into_iter().map(|said| by_carrier(said, carrier.id, *heard)).collect();
        Self::take_sayings(tx, told, held, |_| false, &mut of_bundle)?;
        for saying in of_bundle.new {
            let line = ReplicaLine { stamp: tx.issue(self.now())?, ..saying.line };
            let saying = ReplicaSaying { line, ..saying };
            tx.set_replica_saying(&saying)?;
            news.new.push(saying);
        }
        Ok(())
    }

    /// What was heard so; `None` if nothing of it is new.
    pub(in crate::replica) fn end_hearing(
        &self,
        tx: &Transaction<'_>,
        HeardFirst { news, .. }: HeardFirst,
    ) -> Result<Option<ReplicaNews>> {
        self.record_revocations(tx, &news)?;
        Ok(Some(news).filter(|news| !news.new.is_empty()))
    }

    /// Keeps a succession that a manifest has said, to pass it on: whoever hears that one of the two keys was revoked has to know
    /// of the other one. Both signatures were checked.
    pub(in crate::replica) fn keep_succession(
        &self,
        tx: &Transaction<'_>,
        signed: &SignedSuccession,
        succession: &Succession,
        carrier: ReplicaId,
    ) -> Result<()> {
        let statement = ReplicaStatement::Succession(succession.clone());
        if self.wall_clock().is_before(succession.at) {
            return Ok(());
        }
        let line = signed.with_stamp(Stamp::ZERO);
        let saying = ReplicaSaying { statement, line, carrier: Some(carrier), heard: self.now(), overruled: false };
        if Self::rule_on(tx, &saying, &mut Held::of(self)?)? == (Ruling::New, Kept::Yes) {
            let line = signed.with_stamp(tx.issue(self.now())?);
            tx.set_replica_saying(&ReplicaSaying { line, ..saying })?;
        }
        Ok(())
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

    /// Takes statements whose signatures hold. Returns of how many that are known nothing but the stamp is new.
    fn take_sayings(
        tx: &Transaction<'_>,
        mut waiting: Vec<ReplicaSaying>,
        held: &mut Held,
        believes: impl Fn(Stamp) -> bool,
        news: &mut ReplicaNews,
    ) -> Result<u64> {
        let mut changed = 0;
        // A statement can make known whom another one is about, whichever comes first.
        loop {
            let before = news.new.len();
            let mut left = Vec::new();
            for saying in waiting {
                match Self::take_saying(tx, &saying, held, &believes)? {
                    Taking::News => news.new.push(saying),
                    Taking::Stamp => changed += 1,
                    Taking::Known => {}
                    Taking::Strangers => left.push(saying),
                    Taking::TooMany => news.too_many += 1,
                }
            }
            waiting = left;
            if news.new.len() == before || waiting.is_empty() {
                return Ok(changed);
            }
        }
    }

    /// Takes one of them.
    fn take_saying(
        tx: &Transaction<'_>,
        saying: &ReplicaSaying,
        held: &mut Held,
        believes: impl Fn(Stamp) -> bool,
    ) -> Result<Taking> {
        match Self::rule_on(tx, saying, held)? {
            (Ruling::Same, _) => {
                let known = tx.replica_saying_like(&saying.statement)?;
                let is_later = |known: &ReplicaSaying| known.line.stamp < saying.line.stamp;
                let Some(known) = known.filter(|known| is_later(known) && believes(saying.line.stamp)) else {
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
    pub(super) fn rule_on(tx: &Transaction<'_>, saying: &ReplicaSaying, held: &mut Held) -> Result<(Ruling, Kept)> {
        let known = tx.replica_saying_like(&saying.statement)?;
        let ruling = ranked(saying).against(known.as_ref().map(ranked).as_ref());
        let kept = match known {
            Some(_) => Kept::Yes,
            // Of one's own there is no more than a person has said.
            None if saying.carrier.is_none() => {
                NewsOfReplica { of_maker: 0, ..held.news_of(&saying.statement) }.is_kept(limits::REPLICA_STATEMENTS)
            }
            None => held.news_of(&saying.statement).is_kept(limits::REPLICA_STATEMENTS),
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
        if news.new.is_empty() {
            return Ok(());
        }
        self.note_let_in(&news.before)?;
        self.note_shut_outs()
    }
}

/// The statements that are held, and which replicas are known here: this one and its peers, by each of the keys that are said
/// to follow each other. Each of those has one key that stands for all.
pub(super) struct Held {
    sayings: Vec<ReplicaSaying>,
    /// Which key stands for each; for one that isn't there, itself.
    stands_for: BTreeMap<ReplicaId, ReplicaId>,
    /// Those that stand for somebody known.
    known: BTreeSet<ReplicaId>,
}

impl Held {
    /// Those of a replica.
    pub(super) fn of(replica: &Replica) -> Result<Self> {
        let mut held =
            Self { sayings: replica.state.replica_sayings()?, stands_for: BTreeMap::new(), known: BTreeSet::new() };
        let former = replica.former_keys();
        held.known.extend(former.iter().chain([&replica.public_key()]).map(PublicKey::id));
        held.known.extend(replica.state.peers()?.iter().map(|peer| peer.id));
        for (old, next) in replica.state.all_succeeded()? {
            held.join(old, next);
        }
        let pairs: Vec<_> = held.sayings.iter().filter_map(|saying| saying.statement.follows()).collect();
        for (old, new) in pairs {
            held.join(old, new);
        }
        Ok(held)
    }

    /// The key that stands for this one.
    fn of_all(&self, id: &ReplicaId) -> ReplicaId {
        self.stands_for.get(id).copied().unwrap_or(*id)
    }

    /// Both keys are in the same hands.
    fn join(&mut self, old: ReplicaId, new: ReplicaId) {
        let (one, other) = (self.of_all(&old), self.of_all(&new));
        self.stands_for.extend([(old, one), (new, other)]);
        self.stands_for.values_mut().filter(|stands| **stands == other).for_each(|stands| *stands = one);
        if self.known.remove(&other) {
            self.known.insert(one);
        }
    }

    /// A statement that is held from now on, in nobody's place.
    pub(super) fn add(&mut self, saying: &ReplicaSaying) {
        self.sayings.push(saying.clone());
        if let Some((old, new)) = saying.statement.follows() {
            self.join(old, new);
        }
    }

    /// What decides whether a statement is kept of which there is none like it yet.
    fn news_of(&self, statement: &ReplicaStatement) -> NewsOfReplica {
        let is_known = |id: &ReplicaId| self.known.contains(&self.of_all(id));
        let follows = statement.follows();
        // Who is known by the new key alone has said it, too.
        let maker = follows.map(|(_, new)| new).filter(is_known).unwrap_or(statement.by());
        let maker_known = is_known(&maker);
        let is_alike = |said: &ReplicaStatement| {
            let by = said.by();
            let is_of_maker = if maker_known { self.of_all(&by) == self.of_all(&maker) } else { !is_known(&by) };
            is_of_maker && said.follows().is_some() == follows.is_some()
        };
        let of_maker = self.sayings.iter().filter(|saying| is_alike(&saying.statement)).count() as u64;
        NewsOfReplica {
            maker_known,
            about_known: is_known(&statement.about()),
            is_succession: follows.is_some(),
            of_maker,
            all: self.sayings.len() as u64,
        }
    }
}

/// What is heard of bundles that wait to be imported together, before any of them is.
pub(in crate::replica) struct HeardFirst {
    held: Held,
    /// When all of it counts as heard: milliseconds since 1970 UTC.
    heard: u64,
    news: ReplicaNews,
}

/// A statement as it is kept which a bundle of this replica has brought.
fn by_carrier((statement, line): (ReplicaStatement, ReplicaLine), carrier: ReplicaId, heard: u64) -> ReplicaSaying {
    ReplicaSaying { statement, line, carrier: Some(carrier), heard, overruled: false }
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
