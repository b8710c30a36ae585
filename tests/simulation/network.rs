//! Replicas, the bundles under way between them, and what must hold in the end.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use mailsync::model::{
    Clock, Digest, Entry, EntryId, Flag, FlagSet, FolderName, Incarnation, Mtime, Origin, RolledBack, Stamp,
};

mod liar;

pub use liar::Gate;
use liar::Liar;

use super::history::{Beginning, OldMail};
use super::truth::Truth;
use super::{Bundle, History, Op, Outcome, Replica, Rng, Setup, Step};

/// The folders in which messages lie.
pub const FOLDERS: [&str; 4] = ["INBOX", "A", "B", "B/C"];

/// Whether replicas are restored from backups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restores {
    /// Never: steps that would do so do nothing.
    Never,
    /// A restored replica notices at once and goes on as a new incarnation.
    Noticed,
    /// A restored replica notices nothing, until a bundle shows it to somebody.
    Unnoticed,
}

/// How often things happened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub applied: usize,
    pub full: usize,
    pub waited: usize,
    pub restored: usize,
    pub rolled_back: usize,
    pub differed: usize,
    pub purged: usize,
    /// Entries that an import delivered anew.
    pub anew: usize,
    /// Replicas that began with a full bundle, over mail of their own.
    pub joined: usize,
    pub met: usize,
    pub parted: usize,
    /// Bundles of a liar.
    pub lies: usize,
    /// Bundles that were refused for what they claim.
    pub refused: usize,
    /// Repairs that found something to do.
    pub repaired: usize,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.applied += other.applied;
        self.full += other.full;
        self.waited += other.waited;
        self.restored += other.restored;
        self.rolled_back += other.rolled_back;
        self.differed += other.differed;
        self.purged += other.purged;
        self.anew += other.anew;
        self.joined += other.joined;
        self.met += other.met;
        self.parted += other.parted;
        self.lies += other.lies;
        self.refused += other.refused;
        self.repaired += other.repaired;
    }
}

/// Replicas that exchange bundles. A clone goes on by itself.
#[derive(Clone)]
pub struct Network {
    setup: Rc<Setup>,
    replicas: Vec<Rc<Replica>>,
    neighbours: Vec<BTreeSet<usize>>,
    /// Those that are nothing yet: they begin with a full bundle.
    joining: BTreeSet<usize>,
    /// Milliseconds since 1970 UTC, by a clock that is right.
    pub now: u64,
    restores: Restores,
    incarnations: Rng,
    under_way: Vec<(usize, Rc<Bundle>)>,
    backups: BTreeMap<usize, Rc<Replica>>,
    /// The last stamp of each replica that doesn't know that it was restored.
    unaware: BTreeMap<usize, Clock>,
    /// Everything that was written anywhere.
    truth: Truth,
    delivered: BTreeSet<EntryId>,
    removed: BTreeSet<EntryId>,
    tally: Tally,
    /// Sees every bundle that is written.
    pub watch: Option<Watch>,
    /// Two replicas that know the same and hold different mail are no failure: full bundles heal them.
    heals: bool,
    /// Whether it is checked after each step that a replica holds exactly what it knows, and not in the end alone.
    pub checks_each_step: bool,
    /// One of the replicas lies.
    liar: Option<Liar>,
}

/// Looks at bundles.
pub type Watch = Rc<RefCell<dyn FnMut(&Bundle)>>;

impl Network {
    /// Replicas that have nothing but the mail of before.
    pub fn new(setup: &Setup, restores: Restores) -> Self {
        let count = setup.skews.len();
        let mut incarnations = Rng::new(setup.seed);
        let replicas = (0..count).map(|name| Rc::new(Replica::new(name, Incarnation(incarnations.number()))));
        let late = count - setup.late.min(count - 1);
        let mut network = Self {
            setup: Rc::new(setup.clone()),
            replicas: replicas.collect(),
            neighbours: vec![BTreeSet::new(); count],
            joining: if setup.beginning == Beginning::Joining { (late..count).collect() } else { BTreeSet::new() },
            now: 1000,
            restores,
            incarnations,
            under_way: Vec::new(),
            backups: BTreeMap::new(),
            unaware: BTreeMap::new(),
            truth: Truth::default(),
            delivered: BTreeSet::new(),
            removed: BTreeSet::new(),
            tally: Tally::default(),
            watch: None,
            heals: restores == Restores::Unnoticed,
            checks_each_step: false,
            liar: None,
        };
        for &(a, b) in setup.edges.iter().filter(|&&(a, b)| a < late && b < late) {
            network.make_neighbours(a, b);
        }
        for (at, mail) in setup.old_mail.iter().enumerate().filter(|(_, mail)| !mail.is_empty()) {
            if !network.joining.contains(&at) {
                let stamp = network.stamp(at);
                for old in mail {
                    network.find_old_mail(at, stamp, Origin::Init, old);
                }
            }
        }
        network
    }

    /// Lets a whole history happen, has everything exchanged, and says what is wrong in the end.
    pub fn run(history: &History, restores: Restores) -> Result<Tally, String> {
        Self::new(&history.setup, restores).run_through(history)
    }

    /// Lets the steps of a history happen, has everything exchanged, and says what is wrong in the end.
    pub fn run_through(self, history: &History) -> Result<Tally, String> {
        let mut network = self;
        for (number, step) in history.steps.iter().enumerate() {
            network.step(step).map_err(|wrong| format!("at step {number}, {:?}: {wrong}", step.op))?;
        }
        network.end()
    }

    /// Has everything exchanged, and says what is wrong in the end.
    pub fn end(mut self) -> Result<Tally, String> {
        // Whoever has a neighbour is one: else both would wait for each other.
        let one_sided = self.neighbours.iter().enumerate().flat_map(|(a, all)| all.iter().map(move |&b| (a, b)));
        for (a, b) in one_sided.chain(self.setup.edges.iter().copied()).collect::<Vec<_>>() {
            self.make_neighbours(a, b);
        }
        self.settle()?;
        self.check_that_all_hold_the_same()?;
        self.check_that_nothing_is_lost()?;
        self.check_that_purges_are_not_seen()?;
        Ok(self.tally)
    }

    /// Lets one thing happen.
    pub fn step(&mut self, step: &Step) -> Result<(), String> {
        self.now += step.after;
        let at = step.at % self.replicas.len();
        let is_something = !self.joining.contains(&at);
        match &step.op {
            Op::Carry { bundle, arrives, stays } => self.carry(*bundle, *arrives, *stays)?,
            Op::Meet { other } => {
                let others = (0..self.replicas.len()).filter(|&other| other != at);
                let other = choose(others.collect::<Vec<_>>().iter(), *other).expect("nobody is alone");
                self.tally.met += usize::from(self.make_neighbours(at, other));
            }
            Op::Part { neighbour, both } => self.part(at, *neighbour, *both),
            op if is_something => self.work(at, op),
            _ => {}
        }
        if self.checks_each_step { self.check_that_it_holds_what_it_knows(at) } else { Ok(()) }
    }

    /// Does at a replica what needs no other.
    fn work(&mut self, at: usize, op: &Op) {
        match op {
            Op::Deliver { message: number, folder: into, flags } => {
                let stamp = self.stamp(at);
                let digest = self.message(*number);
                self.deliver(
                    at,
                    stamp,
                    Origin::Delivery,
                    digest,
                    &self.folder(*into),
                    &flags.iter().cloned().collect(),
                );
            }
            Op::Redeliver { removed, flags } => {
                let dead = self.replicas[at].entries().iter().filter(|(_, entry)| !entry.alive()).map(|(id, _)| id);
                if let Some(id) = choose(dead, *removed) {
                    let stamp = self.stamp(at);
                    self.deliver(at, stamp, Origin::Delivery, id.digest, &id.birth, &flags.iter().cloned().collect());
                }
            }
            Op::Copy { entry, folder: into } => {
                if let Some(id) = self.found(at, *entry) {
                    let flags = self.replicas[at].entries()[&id].flags_on().cloned().collect();
                    let stamp = self.stamp(at);
                    self.deliver(at, stamp, Origin::Delivery, id.digest, &self.folder(*into), &flags);
                }
            }
            Op::SetFlag { entry, flag, on } => self.set_flag(at, *entry, flag, *on),
            Op::Move { entry, folder: into } => {
                if let Some(id) = self.found(at, *entry) {
                    let stamp = self.stamp(at);
                    let into = self.folder(*into);
                    self.at(at).move_to(stamp, &id, &into);
                    self.record(at, stamp, &id);
                    self.record_folder(at, stamp, &into);
                }
            }
            Op::Remove { entry } => {
                if let Some(id) = self.found(at, *entry) {
                    let stamp = self.stamp(at);
                    self.remove(at, stamp, &id);
                }
            }
            Op::MakeFolder { folder: number } => {
                let stamp = self.stamp(at);
                let folder = self.folder(*number);
                self.at(at).make_folder(stamp, &folder);
                self.record_folder(at, stamp, &folder);
            }
            Op::RemoveFolder { folder: number } => self.remove_folder(at, &self.folder(*number)),
            Op::Purge => self.purge(at),
            Op::Export { neighbour, since_last } => {
                if let Some(to) = choose(self.neighbours[at].iter(), *neighbour) {
                    let bundle = self.export(at, to, *since_last);
                    self.under_way.push((to, Rc::new(bundle)));
                }
            }
            Op::Save => {
                if self.restores != Restores::Never {
                    self.backups.insert(at, Rc::clone(&self.replicas[at]));
                }
            }
            Op::Restore => self.restore(at),
            Op::Carry { .. } | Op::Meet { .. } | Op::Part { .. } => unreachable!("it is no work of one replica"),
        }
    }

    fn set_flag(&mut self, at: usize, entry: usize, flag: &Flag, on: bool) {
        if let Some(id) = self.found(at, entry) {
            let stamp = self.stamp(at);
            self.at(at).set_flag(stamp, &id, flag.clone(), on);
            self.record(at, stamp, &id);
        }
    }

    fn carry(&mut self, which: usize, arrives: bool, stays: bool) -> Result<(), String> {
        if self.under_way.is_empty() {
            return Ok(());
        }
        let which = which % self.under_way.len();
        let (to, bundle) = self.under_way[which].clone();
        if !stays {
            self.under_way.remove(which);
        }
        if arrives { self.import(to, &bundle) } else { Ok(()) }
    }

    /// Says whether they weren't neighbours before.
    fn make_neighbours(&mut self, a: usize, b: usize) -> bool {
        a != b && self.neighbours[a].insert(b) | self.neighbours[b].insert(a)
    }

    fn part(&mut self, at: usize, neighbour: usize, both: bool) {
        let Some(other) = choose(self.neighbours[at].iter(), neighbour) else { return };
        self.tally.parted += 1;
        for (me, peer) in [(at, other), (other, at)].into_iter().take(if both { 2 } else { 1 }) {
            self.neighbours[me].remove(&peer);
            self.at(me).forget_peer(peer);
        }
    }

    /// Everybody sends bundles to all neighbours and everything arrives, until nothing changes any more.
    pub fn settle(&mut self) -> Result<(), String> {
        // A bundle crosses a network of n replicas in n rounds; removals that were purged on the way take some more.
        for _ in 0..6 * self.replicas.len() {
            let before = self.replicas.clone();
            self.exchange()?;
            if self.replicas.iter().zip(&before).all(|(now, before)| now.is_but_for_numbers(before)) {
                return Ok(());
            }
        }
        Err("bundles still change something after many rounds".to_owned())
    }

    fn exchange(&mut self) -> Result<(), String> {
        for from in 0..self.replicas.len() {
            if self.joining.contains(&from) {
                continue;
            }
            for to in self.neighbours[from].clone() {
                self.now += 1;
                let bundle = self.export(from, to, false);
                self.import(to, &bundle)?;
            }
        }
        Ok(())
    }

    /// To whom the bundles that are under way are going.
    pub fn under_way(&self) -> impl Iterator<Item = usize> {
        self.under_way.iter().map(|(to, _)| *to)
    }

    /// Whether a replica's next bundle for its first neighbour would differ in its number alone from the last one it
    /// wrote.
    pub fn has_said_it_all(&self, at: usize) -> bool {
        let Some(&to) = self.neighbours[at].first() else { return true };
        let next = Replica::clone(&self.replicas[at]).export(to, false);
        let last = self.under_way.iter().rev().map(|(_, bundle)| bundle).find(|bundle| bundle.from == at);
        last.is_some_and(|last| last.says_the_same_as(&next))
    }

    /// The greatest clock of any stamp that was ever issued.
    pub fn newest_anywhere(&self) -> Clock {
        self.truth.newest()
    }

    /// Feeds everything to the hasher on which depends what can happen from here on, and whether it is right.
    pub fn fingerprint(&self, hasher: &mut impl Hasher) {
        for (replica, neighbours) in self.replicas.iter().zip(&self.neighbours) {
            replica.fingerprint(hasher);
            neighbours.hash(hasher);
        }
        for (at, backup) in &self.backups {
            at.hash(hasher);
            backup.fingerprint(hasher);
        }
        let one = |(to, bundle): &(usize, Rc<Bundle>)| {
            let mut hasher = DefaultHasher::new();
            to.hash(&mut hasher);
            bundle.fingerprint(&mut hasher);
            hasher.finish()
        };
        // In whatever order they were written.
        self.under_way.iter().map(one).fold(0, u64::wrapping_add).hash(hasher);
        self.truth.fingerprint(hasher);
        self.joining.hash(hasher);
        (&self.delivered, &self.removed, &self.incarnations).hash(hasher);
    }

    /// The replicas.
    pub fn replicas(&self) -> &[Rc<Replica>] {
        &self.replicas
    }

    fn export(&mut self, from: usize, to: usize, since_last: bool) -> Bundle {
        let bundle = self.at(from).export(to, since_last);
        if self.liar.as_ref().is_none_or(|liar| liar.holds_to_the_rules(from)) {
            bundle.says_what_can_be_true();
        }
        let bundle = self.twist(bundle);
        if let Some(watch) = &self.watch {
            watch.borrow_mut()(&bundle);
        }
        bundle
    }

    fn import(&mut self, to: usize, bundle: &Bundle) -> Result<(), String> {
        // Nobody reads bundles of a stranger, and who is nothing yet begins with everything.
        let joins = self.joining.contains(&to);
        if !self.neighbours[to].contains(&bundle.from) || (joins && !bundle.head.full) {
            return Ok(());
        }
        if self.is_refused(to, bundle) {
            return Ok(());
        }
        if self.liar.is_some() {
            self.import_beside_a_liar(to, bundle);
            return Ok(());
        }
        let now = self.clock_of(to);
        let noticed = match self.at(to).import(bundle, now) {
            Ok(Outcome::Waits) => {
                self.tally.waited += 1;
                return Ok(());
            }
            Ok(Outcome::Applied { differs, anew }) => {
                self.tally.applied += 1;
                self.tally.full += usize::from(bundle.head.full);
                self.tally.differed += usize::from(differs);
                if let Some(anew) = anew {
                    self.tally.anew += anew.entries.len() + anew.folders.len();
                    anew.entries.iter().for_each(|id| self.record(to, anew.stamp, id));
                    anew.folders.iter().for_each(|name| self.record_folder(to, anew.stamp, name));
                }
                if differs && !self.heals {
                    return Err(format!("{to} and {} know the same and hold different mail", bundle.from));
                }
                if joins {
                    self.scan_what_was_there_before(to);
                }
                if self.checks_each_step {
                    self.check_that_it_holds_what_it_knows(to)?;
                }
                return self.check_that_again_changes_nothing(to, bundle);
            }
            Err(RolledBack::Me) => to,
            Err(RolledBack::Sender | RolledBack::SenderOrTold(_)) => bundle.from,
        };
        self.tally.rolled_back += 1;
        if self.restores != Restores::Unnoticed {
            return Err(format!("replica {noticed} was not rolled back, yet replica {to} says so"));
        }
        if let Some(last) = self.unaware.remove(&noticed) {
            self.begin_anew(noticed, last);
        }
        Ok(())
    }

    /// A replica that has just begun with a full bundle finds its own mail. Where nobody has forgotten anything that
    /// mail may be an old copy of what others have.
    fn scan_what_was_there_before(&mut self, at: usize) {
        self.joining.remove(&at);
        self.tally.joined += 1;
        let origin = if self.replicas[at].horizon().is_empty() { Origin::Init } else { Origin::Delivery };
        let stamp = self.stamp(at);
        for old in &Rc::clone(&self.setup).old_mail[at] {
            let (digest, folder) = (self.message(old.message), self.folder(old.folder));
            let is_there =
                |(id, entry): (&EntryId, &Entry)| entry.alive() && id.digest == digest && entry.location.1 == folder;
            if !self.replicas[at].entries().iter().any(is_there) {
                self.find_old_mail(at, stamp, origin, old);
            }
        }
    }

    fn find_old_mail(&mut self, at: usize, stamp: Stamp, origin: Origin, old: &OldMail) {
        let flags = old.flags.iter().cloned().collect();
        let digest = self.message(old.message);
        self.deliver(at, stamp, origin, digest, &self.folder(old.folder), &flags);
    }

    fn restore(&mut self, at: usize) {
        if self.restores == Restores::Never || self.unaware.contains_key(&at) {
            return;
        }
        let Some(backup) = self.backups.get(&at).cloned() else { return };
        let (incarnation, issued) = self.replicas[at].issued();
        if backup.issued().0 != incarnation || backup.issued().1 == issued {
            return;
        }
        let last = backup.issued().1.last().copied().unwrap_or_default();
        self.replicas[at] = backup;
        self.tally.restored += 1;
        match self.restores {
            Restores::Unnoticed => _ = self.unaware.insert(at, last),
            _ => self.begin_anew(at, last),
        }
        // What only this replica had may be gone with its disk.
        self.removed.extend(self.delivered.iter().cloned());
    }

    fn begin_anew(&mut self, at: usize, last: Clock) {
        let new = Incarnation(self.incarnations.number());
        self.at(at).begin_anew(new, last);
    }

    fn at(&mut self, at: usize) -> &mut Replica {
        Rc::make_mut(&mut self.replicas[at])
    }

    fn clock_of(&self, at: usize) -> u64 {
        self.now.saturating_add_signed(self.setup.skews[at])
    }

    fn stamp(&mut self, at: usize) -> Stamp {
        let now = self.clock_of(at);
        self.at(at).stamp(now)
    }

    fn deliver(&mut self, at: usize, stamp: Stamp, origin: Origin, digest: Digest, into: &FolderName, flags: &FlagSet) {
        // No two deliveries have the same date, and none is dated in the order in which they become known.
        let mtime = Mtime(i64::try_from(self.incarnations.number() >> 8).expect("56 bits"));
        let id = self.at(at).deliver(stamp, origin, digest, into, flags, mtime);
        self.record(at, stamp, &id);
        self.record_folder(at, stamp, into);
        if self.is_delivered_honestly(at, digest) {
            self.delivered.insert(id);
        }
    }

    fn remove(&mut self, at: usize, stamp: Stamp, id: &EntryId) {
        self.at(at).remove(stamp, id);
        self.record(at, stamp, id);
        if self.liar.as_ref().is_none_or(|liar| liar.at != at) {
            self.removed.insert(id.clone());
        }
    }

    fn remove_folder(&mut self, at: usize, name: &FolderName) {
        let stamp = self.stamp(at);
        let replica = &self.replicas[at];
        let inside: Vec<_> = replica.found().filter(|id| replica.entries()[id].location.1 == *name).cloned().collect();
        for id in inside {
            self.remove(at, stamp, &id);
        }
        self.at(at).remove_folder(stamp, name);
        self.record_folder(at, stamp, name);
    }

    fn purge(&mut self, at: usize) {
        let before = self.replicas[at].entries().len();
        Rc::make_mut(&mut self.replicas[at]).purge(&self.neighbours[at]);
        self.tally.purged += before - self.replicas[at].entries().len();
    }

    fn message(&self, number: usize) -> Digest {
        Digest::of(&(number % self.setup.messages).to_be_bytes())
    }

    fn found(&self, at: usize, which: usize) -> Option<EntryId> {
        choose(self.replicas[at].found(), which)
    }

    fn folder(&self, number: usize) -> FolderName {
        FOLDERS[number % self.setup.folders].parse().expect("a folder name")
    }

    fn record(&mut self, at: usize, stamp: Stamp, id: &EntryId) {
        self.truth.record(stamp, id, &self.replicas[at].entries()[id]);
    }

    fn record_folder(&mut self, at: usize, stamp: Stamp, name: &FolderName) {
        if let Some(&folder) = self.replicas[at].folders().get(name).filter(|folder| folder.stamp == stamp) {
            self.truth.record_folder(name, folder);
        }
    }

    fn check_that_it_holds_what_it_knows(&self, at: usize) -> Result<(), String> {
        // Full bundles that heal bring back whatever one side has: more than what is known.
        if self.heals {
            return Ok(());
        }
        let replica = &self.replicas[at];
        let (holds, knows) = (replica.view(), self.truth.view(replica.knowledge()));
        if holds == knows {
            return Ok(());
        }
        Err(format!("what replica {at} holds differs from what it knows:{}", holds.differences(&knows)))
    }

    fn check_that_again_changes_nothing(&self, to: usize, bundle: &Bundle) -> Result<(), String> {
        // Every eighth: it doubles the work. Even fewer where a replica is large.
        let every = if self.replicas[to].entries().len() < 500 { 8 } else { 256 };
        if !bundle.head.number.is_multiple_of(every) {
            return Ok(());
        }
        let mut again = self.replicas[to].clone();
        match Rc::make_mut(&mut again).import(bundle, self.clock_of(to)) {
            Ok(_) if again.is_but_for_numbers(&self.replicas[to]) => Ok(()),
            outcome => Err(format!("replica {to} is changed by a bundle that it has applied already: {outcome:?}")),
        }
    }

    fn check_that_all_hold_the_same(&self) -> Result<(), String> {
        let first = &self.replicas[0];
        for (name, replica) in self.replicas.iter().enumerate() {
            if replica.view() != first.view() {
                let differences = replica.view().differences(&first.view());
                return Err(format!("what replicas {name} and 0 hold differs:{differences}"));
            }
            if replica.knowledge() != first.knowledge() {
                return Err(format!("replica {name} doesn't know what replica 0 knows"));
            }
            if replica.state() != replica.state_from_scratch() || replica.state() != first.state() {
                return Err(format!("the state digest of replica {name} is wrong"));
            }
            // What only a replica had that was restored is gone with its disk.
            let had = |digest: &Digest| self.replicas.iter().any(|other| other.has(digest));
            let wants = replica.wants();
            if wants.iter().any(|digest| self.tally.restored == 0 || had(digest)) {
                return Err(format!("replica {name} never got the contents of {wants:?}"));
            }
        }
        Ok(())
    }

    fn check_that_nothing_is_lost(&self) -> Result<(), String> {
        let view = self.replicas[0].view();
        if let Some(lost) = self.delivered.difference(&self.removed).find(|id| !view.entries.contains_key(id)) {
            return Err(format!("nobody removed {lost}, and it is gone"));
        }
        self.check_that_it_holds_what_it_knows(0)?;
        // What only a replica had that was restored is rightly forgotten.
        match self.truth.first_unknown(self.replicas[0].knowledge()) {
            Some(stamp) if self.tally.restored == 0 => Err(format!("nobody knows of {stamp} any more")),
            _ => Ok(()),
        }
    }

    fn check_that_purges_are_not_seen(&mut self) -> Result<(), String> {
        let before = self.replicas[0].view();
        for _ in 0..3 {
            for at in 0..self.replicas.len() {
                self.purge(at);
            }
            self.exchange()?;
        }
        for (name, replica) in self.replicas.iter().enumerate() {
            if replica.view() != before {
                let differences = replica.view().differences(&before);
                return Err(format!("purges changed what replica {name} holds:{differences}"));
            }
            if let Some((id, _)) = replica.entries().iter().find(|(_, entry)| !entry.alive()) {
                return Err(format!("all know that {id} is removed, and replica {name} can't forget it"));
            }
            if let Some((folder, _)) = replica.folders().iter().find(|(_, state)| !state.present) {
                return Err(format!("all know that {folder} is removed, and replica {name} can't forget it"));
            }
        }
        Ok(())
    }
}

/// What is measured.
#[allow(dead_code)] // The bench alone asks for it.
impl Network {
    /// Everybody writes a bundle for every neighbour; then all of them arrive. So nothing gets further than to the
    /// next.
    pub fn exchange_at_once(&mut self) -> Result<(), String> {
        self.now += 1;
        for from in 0..self.replicas.len() {
            for to in self.neighbours[from].clone() {
                let bundle = self.export(from, to, false);
                self.under_way.push((to, Rc::new(bundle)));
            }
        }
        for (to, bundle) in std::mem::take(&mut self.under_way) {
            self.import(to, &bundle)?;
        }
        Ok(())
    }

    /// Whether all know and hold the same.
    pub fn all_equal(&self) -> bool {
        let first = &self.replicas[0];
        let equal = |other: &Rc<Replica>| other.knowledge() == first.knowledge() && other.state() == first.state();
        self.replicas.iter().all(|replica| equal(replica) && replica.wants().is_empty())
    }

    /// What was under way gets lost.
    pub fn lose_what_is_under_way(&mut self) {
        self.under_way.clear();
    }
}

fn choose<'a, T: Clone + 'a>(among: impl Iterator<Item = &'a T>, which: usize) -> Option<T> {
    let among: Vec<_> = among.collect();
    (!among.is_empty()).then(|| among[which % among.len()].clone())
}
