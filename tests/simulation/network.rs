//! Replicas, the bundles under way between them, and what must hold in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use mailsync::model::{
    Clock, Digest, Entry, EntryId, FlagSet, FolderName, FolderState, Incarnation, Mtime, Origin, RolledBack, Stamp,
};

use super::replica::View;
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
    }
}

/// Replicas that exchange bundles.
pub struct Network {
    replicas: Vec<Replica>,
    neighbours: Vec<BTreeSet<usize>>,
    skews: Vec<i64>,
    messages: usize,
    now: u64,
    restores: Restores,
    incarnations: Rng,
    under_way: Vec<(usize, Rc<Bundle>)>,
    backups: BTreeMap<usize, Replica>,
    /// The last stamp of each replica that doesn't know that it was restored.
    unaware: BTreeMap<usize, Clock>,
    /// The join of every state that any entry and any folder ever had anywhere.
    everything: (BTreeMap<EntryId, Entry>, BTreeMap<FolderName, FolderState>),
    delivered: BTreeSet<EntryId>,
    removed: BTreeSet<EntryId>,
    tally: Tally,
    /// Sees every bundle that is written.
    pub watch: Option<Watch>,
    /// Two replicas that know the same and hold different mail are no failure: full bundles heal them.
    pub heals: bool,
}

/// Looks at bundles.
pub type Watch = Box<dyn FnMut(&Bundle)>;

impl Network {
    /// Replicas that have nothing but the mail of before.
    pub fn new(setup: &Setup, restores: Restores) -> Self {
        let count = setup.skews.len();
        let mut incarnations = Rng::new(setup.seed);
        let mut neighbours = vec![BTreeSet::new(); count];
        for &(a, b) in setup.edges.iter().filter(|(a, b)| a != b) {
            neighbours[a].insert(b);
            neighbours[b].insert(a);
        }
        let replicas = (0..count).map(|name| Replica::new(name, Incarnation(incarnations.number()))).collect();
        let mut network = Self {
            replicas,
            neighbours,
            skews: setup.skews.clone(),
            messages: setup.messages,
            now: 1000,
            restores,
            incarnations,
            under_way: Vec::new(),
            backups: BTreeMap::new(),
            unaware: BTreeMap::new(),
            everything: Default::default(),
            delivered: BTreeSet::new(),
            removed: BTreeSet::new(),
            tally: Tally::default(),
            watch: None,
            heals: restores == Restores::Unnoticed,
        };
        for (at, mail) in setup.old_mail.iter().enumerate().filter(|(_, mail)| !mail.is_empty()) {
            let stamp = network.stamp(at);
            for old in mail {
                let flags = old.flags.iter().cloned().collect();
                let digest = network.message(old.message);
                network.deliver(at, stamp, Origin::Init, digest, &folder(old.folder), &flags);
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
        match &step.op {
            Op::Deliver { message: number, folder: into, flags } => {
                let stamp = self.stamp(at);
                let digest = self.message(*number);
                self.deliver(at, stamp, Origin::Delivery, digest, &folder(*into), &flags.iter().cloned().collect());
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
                    self.deliver(at, stamp, Origin::Delivery, id.digest, &folder(*into), &flags);
                }
            }
            Op::SetFlag { entry, flag, on } => {
                if let Some(id) = self.found(at, *entry) {
                    let stamp = self.stamp(at);
                    self.replicas[at].set_flag(stamp, &id, flag.clone(), *on);
                    self.record(at, &id);
                }
            }
            Op::Move { entry, folder: into } => {
                if let Some(id) = self.found(at, *entry) {
                    let stamp = self.stamp(at);
                    self.replicas[at].move_to(stamp, &id, &folder(*into));
                    self.record(at, &id);
                    self.record_folder(at, &folder(*into));
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
                self.replicas[at].make_folder(stamp, &folder(*number));
                self.record_folder(at, &folder(*number));
            }
            Op::RemoveFolder { folder: number } => self.remove_folder(at, &folder(*number)),
            Op::Purge => self.purge(at),
            Op::Export { neighbour, since_last } => {
                if let Some(to) = choose(self.neighbours[at].iter(), *neighbour) {
                    let bundle = self.export(at, to, *since_last);
                    self.under_way.push((to, Rc::new(bundle)));
                }
            }
            Op::Carry { bundle, arrives, stays } => {
                if !self.under_way.is_empty() {
                    let which = bundle % self.under_way.len();
                    let (to, bundle) = self.under_way[which].clone();
                    if !stays {
                        self.under_way.remove(which);
                    }
                    if *arrives {
                        self.import(to, &bundle)?;
                    }
                }
            }
            Op::Save => {
                if self.restores != Restores::Never {
                    self.backups.insert(at, self.replicas[at].clone());
                }
            }
            Op::Restore => self.restore(at),
        }
        Ok(())
    }

    /// Everybody sends bundles to all neighbours and everything arrives, until nothing changes any more.
    pub fn settle(&mut self) -> Result<(), String> {
        // A bundle crosses a network of n replicas in n rounds; removals that were purged on the way take some more.
        for _ in 0..6 * self.replicas.len() {
            let before: Vec<_> = self.replicas.iter().map(Replica::without_numbers).collect();
            self.exchange()?;
            if self.replicas.iter().map(Replica::without_numbers).eq(before) {
                return Ok(());
            }
        }
        Err("bundles still change something after many rounds".to_owned())
    }

    fn exchange(&mut self) -> Result<(), String> {
        for from in 0..self.replicas.len() {
            for to in self.neighbours[from].clone() {
                self.now += 1;
                let bundle = self.export(from, to, false);
                self.import(to, &bundle)?;
            }
        }
        Ok(())
    }

    /// Everybody writes a bundle for every neighbour; then all of them arrive. So nothing gets further than to the next.
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
        let equal = |other: &Replica| other.knowledge() == first.knowledge() && other.state() == first.state();
        self.replicas.iter().all(|replica| equal(replica) && replica.wants().is_empty())
    }

    /// What was under way gets lost.
    pub fn lose_what_is_under_way(&mut self) {
        self.under_way.clear();
    }

    /// The replicas.
    pub fn replicas(&self) -> &[Replica] {
        &self.replicas
    }

    fn export(&mut self, from: usize, to: usize, since_last: bool) -> Bundle {
        let bundle = self.replicas[from].export(to, since_last);
        if let Some(watch) = &mut self.watch {
            watch(&bundle);
        }
        bundle
    }

    fn import(&mut self, to: usize, bundle: &Bundle) -> Result<(), String> {
        let noticed = match self.replicas[to].import(bundle) {
            Ok(Outcome::Waits) => {
                self.tally.waited += 1;
                return Ok(());
            }
            Ok(outcome) => {
                self.tally.applied += 1;
                self.tally.full += usize::from(bundle.head.full);
                self.tally.differed += usize::from(outcome == Outcome::Differs);
                if outcome == Outcome::Differs && !self.heals {
                    return Err(format!("{to} and {} know the same and hold different mail", bundle.from));
                }
                return self.check_that_again_changes_nothing(to, bundle);
            }
            Err(RolledBack::Me) => to,
            Err(RolledBack::Sender) => bundle.from,
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
        self.replicas[at].begin_anew(new, last);
    }

    fn stamp(&mut self, at: usize) -> Stamp {
        let now = self.now.saturating_add_signed(self.skews[at]);
        self.replicas[at].stamp(now)
    }

    fn deliver(&mut self, at: usize, stamp: Stamp, origin: Origin, digest: Digest, into: &FolderName, flags: &FlagSet) {
        // No two deliveries have the same date, and none is dated in the order in which they become known.
        let mtime = Mtime(i64::try_from(self.incarnations.number() >> 8).expect("56 bits"));
        let id = self.replicas[at].deliver(stamp, origin, digest, into, flags, mtime);
        self.record(at, &id);
        self.record_folder(at, into);
        self.delivered.insert(id);
    }

    fn remove(&mut self, at: usize, stamp: Stamp, id: &EntryId) {
        self.replicas[at].remove(stamp, id);
        self.record(at, id);
        self.removed.insert(id.clone());
    }

    fn remove_folder(&mut self, at: usize, name: &FolderName) {
        let stamp = self.stamp(at);
        let replica = &self.replicas[at];
        let inside: Vec<_> = replica.found().filter(|id| replica.entries()[id].location.1 == *name).cloned().collect();
        for id in inside {
            self.remove(at, stamp, &id);
        }
        self.replicas[at].remove_folder(stamp, name);
        self.record_folder(at, name);
    }

    fn purge(&mut self, at: usize) {
        let before = self.replicas[at].entries().len();
        self.replicas[at].purge(&self.neighbours[at]);
        self.tally.purged += before - self.replicas[at].entries().len();
    }

    fn message(&self, number: usize) -> Digest {
        Digest::of(&(number % self.messages).to_be_bytes())
    }

    fn found(&self, at: usize, which: usize) -> Option<EntryId> {
        choose(self.replicas[at].found(), which)
    }

    fn record(&mut self, at: usize, id: &EntryId) {
        let now = &self.replicas[at].entries()[id];
        let merged = self.everything.0.get(id).map_or_else(|| now.clone(), |before| before.merge(now));
        self.everything.0.insert(id.clone(), merged);
    }

    fn record_folder(&mut self, at: usize, name: &FolderName) {
        if let Some(&now) = self.replicas[at].folders().get(name) {
            let merged = self.everything.1.get(name).map_or(now, |before| before.merge(now));
            self.everything.1.insert(name.clone(), merged);
        }
    }

    fn check_that_again_changes_nothing(&self, to: usize, bundle: &Bundle) -> Result<(), String> {
        // Every eighth: it doubles the work. Even fewer where a replica is large.
        let every = if self.replicas[to].entries().len() < 500 { 8 } else { 256 };
        if !bundle.head.number.is_multiple_of(every) {
            return Ok(());
        }
        let mut again = self.replicas[to].clone();
        match again.import(bundle) {
            Ok(_) if again == self.replicas[to] => Ok(()),
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
            if !replica.wants().is_empty() {
                return Err(format!("replica {name} never got the contents of {:?}", replica.wants()));
            }
        }
        Ok(())
    }

    fn check_that_nothing_is_lost(&self) -> Result<(), String> {
        let view = self.replicas[0].view();
        if let Some(lost) = self.delivered.difference(&self.removed).find(|id| !view.entries.contains_key(id)) {
            return Err(format!("nobody removed {lost}, and it is gone"));
        }
        // With a restored replica, changes that nobody else had are rightly forgotten.
        if self.tally.restored == 0 {
            let expected = View::of(&self.everything.0, &self.everything.1);
            if view != expected {
                let differences = view.differences(&expected);
                return Err(format!("what all hold differs from what was done:{differences}"));
            }
        }
        Ok(())
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
        }
        Ok(())
    }
}

fn choose<'a, T: Clone + 'a>(among: impl Iterator<Item = &'a T>, which: usize) -> Option<T> {
    let among: Vec<_> = among.collect();
    (!among.is_empty()).then(|| among[which % among.len()].clone())
}

fn folder(number: usize) -> FolderName {
    FOLDERS[number % FOLDERS.len()].parse().expect("a folder name")
}
