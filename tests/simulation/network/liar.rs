//! One replica of a network that lies: its bundles say what it likes. Sometimes that can be true, sometimes not.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use mailsync::model::{
    Claims, Clock, Digest, Entry, EntryId, Flag, FlagSet, FolderName, FolderState, Incarnation, Mtime, Origin, Removal,
    RolledBack, Stamp, WallClock,
};

use super::super::replica::MOST_INCARNATIONS;
use super::super::{Bundle, Outcome, Rng, View};
use super::{FOLDERS, Network};

/// When the histories of liars happen: their clocks are judged by that of each machine.
const BEGIN: u64 = 1_800_000_000_000;
const DAY: u64 = 24 * 60 * 60 * 1000;

/// Whether honest replicas look at what bundles claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// They do, as a replica on disk does.
    Shut,
    /// They believe everything, as before there were rules for it; until the liar is found out.
    Open,
}

/// Who lies, and what comes of it.
#[derive(Clone)]
pub struct Liar {
    pub at: usize,
    rng: Rng,
    gate: Gate,
    /// What imports have removed, at each replica.
    trash: BTreeMap<usize, BTreeSet<Digest>>,
    /// The messages that honest replicas have had delivered.
    honest: BTreeSet<Digest>,
}

impl Network {
    /// The replica with this number lies from here on.
    pub fn make_a_liar(&mut self, at: usize, seed: u64, gate: Gate) {
        self.now = BEGIN;
        self.heals = true;
        let honest = self.replicas.iter().enumerate().filter(|(other, _)| *other != at);
        let honest = honest.flat_map(|(_, replica)| replica.entries().keys().map(|id| id.digest)).collect();
        let trash = BTreeMap::new();
        self.liar = Some(Liar { at, rng: Rng::new(seed), gate, trash, honest });
    }

    /// A bundle as the liar writes it.
    pub(super) fn twist(&mut self, bundle: Bundle) -> Bundle {
        let Some(liar) = self.liar.as_mut().filter(|liar| liar.at == bundle.from) else { return bundle };
        let mut bundle = bundle;
        if liar.rng.percent(60) {
            self.tally.lies += 1;
            for _ in 0..=liar.rng.below(3) {
                liar.twist(&mut bundle, self.now);
            }
        }
        bundle
    }

    /// Whether a bundle is not even looked at.
    pub(super) fn is_refused(&mut self, to: usize, bundle: &Bundle) -> bool {
        let Some(liar) = self.liar.as_ref().filter(|liar| liar.gate == Gate::Shut && liar.at != to) else {
            return false;
        };
        let wall = WallClock(self.clock_of(to));
        let can_be = Claims::of(&bundle.head).is_ok_and(|claims| {
            bundle.entries.values().all(|entry| claims.entry(entry).is_ok())
                && bundle.folders.values().all(|state| claims.folder(*state).is_ok())
        });
        let refused = !can_be
            || wall.is_behind(bundle.head.tip.newest())
            || (bundle.from == liar.at && self.replicas[to].would_know(bundle) > MOST_INCARNATIONS);
        assert!(
            !refused || bundle.from == liar.at,
            "{to} refuses what {} honestly says: {:?}",
            bundle.from,
            bundle.head
        );
        self.tally.refused += usize::from(refused);
        refused
    }

    /// Reads a bundle where nobody can be trusted: that replicas which know the same hold different mail, or that
    /// somebody seems to have been rolled back, may come of lies.
    pub(super) fn import_beside_a_liar(&mut self, to: usize, bundle: &Bundle) {
        let found: BTreeSet<EntryId> = self.replicas[to].found().cloned().collect();
        let now = self.clock_of(to);
        match self.at(to).import(bundle, now) {
            Ok(Outcome::Waits) => self.tally.waited += 1,
            Ok(Outcome::Applied { differs, .. }) => {
                self.tally.applied += 1;
                self.tally.full += usize::from(bundle.head.full);
                self.tally.differed += usize::from(differs);
            }
            Err(who) => {
                self.tally.rolled_back += 1;
                if who == RolledBack::Me {
                    self.at(to).disowned_by(bundle.from);
                }
            }
        }
        let still: BTreeSet<_> = self.replicas[to].found().collect();
        let gone: Vec<Digest> = found.iter().filter(|id| !still.contains(id)).map(|id| id.digest).collect();
        if let Some(liar) = &mut self.liar {
            liar.trash.entry(to).or_default().extend(gone);
        }
    }

    /// An honest replica has had this delivered.
    pub(super) fn is_delivered_honestly(&mut self, at: usize, digest: Digest) -> bool {
        let Some(liar) = &mut self.liar else { return true };
        let honest = liar.at != at;
        if honest {
            liar.honest.insert(digest);
        }
        honest
    }

    /// The liar is found out: nobody takes anything of it any more, everybody looks at what is claimed, and is
    /// repaired. Then all that are honest hold the same, and no mail is lost that isn't in the trash.
    pub fn end_with_the_liar_found_out(mut self) -> Result<super::Tally, String> {
        let liar = self.liar.as_mut().expect("there is one");
        liar.gate = Gate::Shut;
        let at = liar.at;
        let honest: Vec<usize> = (0..self.replicas.len()).filter(|other| *other != at).collect();
        self.under_way.retain(|(to, bundle)| *to != at && bundle.from != at);
        self.joining.clear();
        for &other in &honest {
            self.neighbours[other].remove(&at);
            self.at(other).forget_peer(at);
        }
        self.neighbours[at].clear();
        for two in honest.windows(2) {
            self.make_neighbours(two[0], two[1]);
        }
        // What was written before everybody was repaired may be refused, and is written again.
        self.under_way.clear();
        // What a replica has heard of itself that isn't so, it finds out by the bundles of others, and is repaired again.
        for _ in 0..3 * honest.len() {
            let mut repaired = false;
            for &other in &honest {
                repaired |= self.repair(other)?;
            }
            self.tally.repaired += usize::from(repaired);
            let stopped = self.tally.rolled_back;
            self.settle()?;
            if self.tally.rolled_back == stopped {
                self.check_the_honest(&honest)?;
                return Ok(self.tally);
            }
        }
        Err("lies are still heard of after many repairs".to_owned())
    }

    fn repair(&mut self, at: usize) -> Result<bool, String> {
        let new = Incarnation(self.incarnations.number());
        let (now, peers) = (self.clock_of(at), self.neighbours[at].clone());
        let nothing = BTreeSet::new();
        let trash = self.liar.as_ref().and_then(|liar| liar.trash.get(&at)).unwrap_or(&nothing);
        let changed = Rc::make_mut(&mut self.replicas[at]).repair(now, &peers, trash, new);
        if changed {
            let mut again = self.replicas[at].clone();
            let repaired = Rc::make_mut(&mut again).repair(now, &peers, trash, new);
            if repaired {
                let (first, second) = (&self.replicas[at], &again);
                let (first, second) = ((first.knowledge(), first.horizon()), (second.knowledge(), second.horizon()));
                return Err(format!("a second repair finds something to do at {at}: {first:?} {second:?}"));
            }
        }
        Ok(changed)
    }

    fn check_the_honest(&self, honest: &[usize]) -> Result<(), String> {
        let liar = self.liar.as_ref().expect("there is one");
        let first = &self.replicas[honest[0]];
        for &at in &honest[1..] {
            let replica = &self.replicas[at];
            if undated(replica.view()) != undated(first.view()) {
                return Err(format!(
                    "what {at} and {} hold differs:{}",
                    honest[0],
                    replica.view().differences(&first.view())
                ));
            }
            if replica.knowledge() != first.knowledge() {
                let (mine, theirs) = (replica.knowledge(), first.knowledge());
                return Err(format!("{at} and {} don't know the same: {mine:?} {theirs:?}", honest[0]));
            }
            if replica.state() != first.state() || replica.state() != replica.state_from_scratch() {
                return Err(format!("the state digest of {at} is wrong"));
            }
        }
        let alive: BTreeSet<Digest> = first.view().entries.keys().map(|id| id.digest).collect();
        let removed: BTreeSet<Digest> = self.removed.iter().map(|id| id.digest).collect();
        let in_trash =
            |digest: &Digest| honest.iter().any(|at| liar.trash.get(at).is_some_and(|trash| trash.contains(digest)));
        let lost = liar
            .honest
            .iter()
            .find(|digest| !alive.contains(*digest) && !removed.contains(*digest) && !in_trash(digest));
        if let Some(lost) = lost {
            return Err(format!("{lost} is gone, and in nobody's trash"));
        }
        let missing = first
            .wants()
            .into_iter()
            .find(|digest| liar.honest.contains(digest) && !removed.contains(digest) && !in_trash(digest));
        missing.map_or(Ok(()), |digest| Err(format!("the contents of {digest} never came")))
    }
}

impl Liar {
    /// Whether what this replica says can be true: it is honest, and has taken in nothing else.
    pub fn holds_to_the_rules(&self, at: usize) -> bool {
        self.gate == Gate::Shut && self.at != at
    }

    fn stamp(&mut self, bundle: &Bundle, now: u64) -> Stamp {
        let all: Vec<_> = bundle.head.tip.iter().collect();
        let (incarnation, newest) = match all.len() {
            0 => (bundle.head.incarnation, Clock::FIRST),
            count => all[self.rng.below(count)],
        };
        Stamp { clock: self.clock(newest, now), incarnation }
    }

    /// A clock near this one, or far from it.
    fn clock(&mut self, near: Clock, now: u64) -> Clock {
        let bits = near.bits();
        let some = self.rng.number();
        let bits = match self.rng.below(12) {
            0..4 => bits,
            4 => bits.saturating_sub(some % 5),
            5 => bits.saturating_sub(some % (1 << 22)),
            6 => bits + 1,
            7 => bits + (some % (1 << 22)),
            8 => (now + some % (DAY / 2)) << 16,
            9 => (now + 2 * DAY) << 16,
            10 => Clock::LAST.bits(),
            // Where it is believed, nobody could stamp anything after the last clock there is, and the history would
            // end.
            _ if self.gate == Gate::Open => Clock::MAX.bits() - (1 << 32),
            _ => Clock::MAX.bits(),
        };
        Clock::from_bits(bits.clamp(1, Clock::MAX.bits())).expect("it is within range")
    }

    fn twist(&mut self, bundle: &mut Bundle, now: u64) {
        match self.rng.below(24) {
            0..9 => self.twist_head(bundle, now),
            9..20 => self.twist_entry(bundle, now),
            20 => {
                let folder: FolderName = FOLDERS[self.rng.below(FOLDERS.len())].parse().expect("a folder name");
                let state = FolderState { stamp: self.stamp(bundle, now), present: self.rng.percent(50) };
                bundle.folders.insert(folder, state);
            }
            21 => bundle.contents.clear(),
            22 => {
                bundle.wants.insert(Digest::of(&self.rng.number().to_be_bytes()));
            }
            _ => self.add_a_phantom(bundle, now),
        }
    }

    fn twist_head(&mut self, bundle: &mut Bundle, now: u64) {
        let all: Vec<_> = bundle.head.tip.iter().collect();
        let Some(&(incarnation, known)) = all.get(self.rng.below(all.len().max(1))) else { return };
        let clock = self.clock(known, now);
        let head = &mut bundle.head;
        match self.rng.below(11) {
            0..3 => head.tip.set(incarnation, clock),
            9 => {
                for _ in 0..MOST_INCARNATIONS / 3 {
                    head.tip.set(Incarnation(self.rng.number()), known);
                }
            }
            3 => head.tip.set(Incarnation(self.rng.number()), clock),
            4 => {
                head.tip.set(incarnation, known.max(clock));
                head.horizon.set(incarnation, clock);
            }
            5 => head.base.set(incarnation, clock),
            6 => {
                head.full = true;
                head.base = mailsync::model::Knowledge::new();
            }
            7 => head.number = self.rng.number() >> 60,
            8 => head.incarnation = incarnation,
            _ => {
                let which = self.rng.below(head.issued.len().max(1));
                if which < head.issued.len() {
                    head.issued.remove(which);
                }
            }
        }
        // A liar that wants to be believed takes care that its own list is in order.
        if self.rng.percent(80) {
            let (base, tip) = (head.base.get(head.incarnation), head.tip.get(head.incarnation));
            head.issued.retain(|&clock| clock > base && clock < tip);
            head.issued.extend((tip > base).then_some(tip));
        }
    }

    fn twist_entry(&mut self, bundle: &mut Bundle, now: u64) {
        let ids: Vec<_> = bundle.entries.keys().cloned().collect();
        let Some(id) = ids.get(self.rng.below(ids.len().max(1))) else { return };
        let stamp = self.stamp(bundle, now);
        let own = Stamp { clock: bundle.head.tip.get(bundle.head.incarnation), incarnation: bundle.head.incarnation };
        let Some(entry) = bundle.entries.get_mut(id) else { return };
        match self.rng.below(12) {
            0 => drop(bundle.entries.remove(id)),
            1 => entry.location.0 = stamp,
            2 => entry.born = stamp,
            3 => entry.floor = stamp,
            4 => entry.removal = Some(Removal { seen: stamp, stamp: own }),
            5 => entry.removal = Some(Removal { seen: entry.location.0, stamp }),
            6 => entry.removal = Some(Removal { seen: entry.location.0, stamp: own }),
            7 => entry.removal = None,
            8 => entry.location = (stamp, FOLDERS[self.rng.below(FOLDERS.len())].parse().expect("a folder name")),
            9 => entry.set_flag(stamp, Flag::Info(b'T'), self.rng.percent(50)),
            10 => entry.size += 1,
            _ => entry.mtime = Mtime(entry.mtime.0 ^ 1),
        }
    }

    /// An entry of a message that nobody has.
    fn add_a_phantom(&mut self, bundle: &mut Bundle, now: u64) {
        let digest = Digest::of(&self.rng.number().to_be_bytes());
        let id = EntryId { digest, birth: FolderName::inbox(), ordinal: 0 };
        let (stamp, flags) = (self.stamp(bundle, now), FlagSet::new());
        let entry = Entry::delivered(None, Origin::Delivery, stamp, FolderName::inbox(), &flags, 9, Mtime(1));
        bundle.entries.insert(id, entry);
    }
}

/// What is seen but for the delivery dates: two different ones under the same stamp are told to two replicas by a liar
/// alone, and no state digest has them.
fn undated(mut view: View) -> View {
    view.entries.values_mut().for_each(|(.., mtime)| *mtime = Mtime(0));
    view
}
