//! Repair: what a state holds that can't be true, and what takes its place. For a replica that has taken such things
//! in: from a peer that lies, by a fault, or before they were refused.
//!
//! First it is decided what can be known ([`Repair::plan`]); everything else is then judged by that, one entry, folder
//! or statement after the other. Where there is something to mend, a fresh stamp of the replica takes the place of
//! those that can't be, so that what is seen stays as it is, and mail lives in doubt.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Claims, Clock, Entry, FlagSet, FolderState, Incarnation, Knowledge, Origin, Removal, Stamp, Untrue, WallClock,
};

/// What a replica says that it knows, and who vouches for it.
#[derive(Clone, Debug)]
pub struct Standpoint {
    /// The replica's incarnation.
    pub me: Incarnation,
    /// The newest clock that it has issued; zero if none.
    pub issued: Clock,
    /// Whether a peer knows of stamps of it that it has never issued.
    pub disowned: bool,
    /// This machine's clock.
    pub wall: WallClock,
    /// What it knows.
    pub knowledge: Knowledge,
    /// What it has forgotten.
    pub horizon: Knowledge,
    /// For each incarnation the newest clock of what the replica holds and of what removals have seen, up to
    /// [`Repair::last_needed`].
    pub held: Knowledge,
    /// For each incarnation what came from a peer in bundles of that incarnation itself. Of an earlier incarnation of
    /// this replica, what it had issued.
    pub proven: Knowledge,
    /// The incarnations whose own bundles have denied what is known of them here.
    pub denied: BTreeSet<Incarnation>,
    /// For each incarnation that has delivered or moved a [ghost](Repair::is_ghost) the earliest clock of that.
    pub ghosts: BTreeMap<Incarnation, Clock>,
    /// The most incarnations that can be known: [`Knowledge::MOST_INCARNATIONS`], but in simulations.
    pub most: usize,
}

/// Something that was known, and isn't known any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Of whom.
    pub incarnation: Incarnation,
    /// Up to where it was known.
    pub from: Clock,
    /// Up to where it is; zero if nothing is.
    pub to: Clock,
    /// Why.
    pub why: CutWhy,
}

/// Why knowledge is cut back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutWhy {
    /// It is more than a day ahead of this machine's clock, or beyond the last clock.
    Ahead,
    /// No bundle of that incarnation itself shows it.
    Unproven,
    /// More is known than the replica itself has issued, or less.
    NotIssued,
    /// More is forgotten than is known.
    ForgottenUnknown,
}

/// Why a replica goes on as a new incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anew {
    /// Its own stamps are more than a day ahead of its clock.
    Ahead,
    /// It doesn't know the same of itself as it has issued.
    NotIssued,
    /// Somebody has told peers of stamps that it has never issued, and they wait for changes that come after those.
    Disowned,
}

/// What is wrong with an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// It says what can't be true.
    Untrue(Untrue),
    /// It is removed, and its file is in its place.
    DeadInPlace,
}

/// Where the contents of an entry are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// In the entry's own file.
    InPlace,
    /// Elsewhere on this machine, in the trash for example.
    Here,
    /// Nowhere on this machine.
    Nowhere,
}

/// What can be known, and by that what can be held.
#[derive(Clone, Debug)]
pub struct Repair {
    /// What the replica knows from here on.
    pub knowledge: Knowledge,
    /// What it has forgotten.
    pub horizon: Knowledge,
    /// What was taken off the knowledge, by incarnation.
    pub known: Vec<Cut>,
    /// What was taken off the horizon, by incarnation.
    pub forgotten: Vec<Cut>,
    /// Why it goes on as a new incarnation, if it does.
    pub anew: Option<Anew>,
    claims: Claims,
}

impl Standpoint {
    fn is_proven(&self, incarnation: Incarnation, last: Clock) -> bool {
        let proven = self.proven.get(incarnation);
        proven > Clock::ZERO && proven <= last
    }

    /// Up to where what is known of another incarnation can stay.
    fn vouched(&self, incarnation: Incarnation, last: Clock) -> Clock {
        if self.is_proven(incarnation, last) {
            return self.proven.get(incarnation);
        }
        if self.denied.contains(&incarnation) {
            return Clock::ZERO;
        }
        let held = self.held.get(incarnation);
        let before = |ghost: &Clock| Clock::from_bits(ghost.bits().saturating_sub(1)).unwrap_or_default();
        self.ghosts.get(&incarnation).map_or(held, |ghost| before(ghost).min(held))
    }
}

impl Repair {
    /// The last clock of others that is kept, by this machine's clock: a minute below the last that can be, as the
    /// stamps that the replica makes after it must be possible as well.
    pub fn last_kept(wall: WallClock) -> Clock {
        let minute = 60_000 << 16;
        Clock::from_bits(wall.last_possible().bits().saturating_sub(minute)).expect("it is below one that is in range")
    }

    /// The last clock of others for which a register is kept as it is where nothing else proves it: what is dated after
    /// now by this machine's clock nobody needs. Where there is no clock to tell by, [`Repair::last_kept`].
    pub fn last_needed(wall: WallClock) -> Clock {
        let now = Clock::from_bits(wall.0.min(Clock::LAST.millis()) << 16 | 0xffff).unwrap_or(Clock::LAST);
        if wall.is_set() { now.min(Self::last_kept(wall)) } else { Self::last_kept(wall) }
    }

    /// Whether an entry whose contents are nowhere here is nothing but a claim: neither who has delivered it nor who has
    /// moved it last has told of that in bundles of its own.
    ///
    /// It is forgotten without a tombstone, and so is that it was ever known. Whoever has the message sends it again,
    /// with its contents.
    pub fn is_ghost(entry: &Entry, me: Incarnation, proven: &Knowledge) -> bool {
        let by_nobody = |stamp: Stamp| stamp.incarnation != me && !proven.covers(stamp);
        entry.alive() && by_nobody(entry.born) && by_nobody(entry.location.0)
    }

    /// Decides what can be known.
    ///
    /// - What is known of another incarnation is cut back to what its own bundles have shown here. That others say the
    ///   same proves nothing: a lie has an echo. What lies too far ahead is proven by nobody.
    /// - Of an incarnation that no peer has proven at all, what the replica holds stays known, if it isn't dated after
    ///   now; and of one whose own bundles have denied it, nothing.
    /// - No ghost stays known.
    /// - If then more than half of all incarnations are known that can be, those go that nobody has proven.
    /// - Of itself the replica knows what it has issued. If it is not so, or if that lies ahead, or if somebody has
    ///   told more than that, it goes on as a new incarnation.
    /// - Nothing is forgotten that isn't known.
    ///
    /// To cut off too much does no harm but that it comes again.
    pub fn plan(from: &Standpoint) -> Self {
        let (last, last_own) = (Self::last_kept(from.wall), from.wall.last_possible());
        let mut knowledge = Knowledge::new();
        let others = || from.knowledge.iter().filter(|(incarnation, _)| *incarnation != from.me);
        for (incarnation, clock) in others() {
            knowledge.set(incarnation, clock.min(from.vouched(incarnation, last)));
        }
        if knowledge.len() > from.most / 2 {
            let proven = |(incarnation, _): &(Incarnation, Clock)| from.is_proven(*incarnation, last);
            knowledge = knowledge.iter().filter(proven).collect();
        }
        let mut known: Vec<Cut> = others()
            .map(|(incarnation, from)| Cut {
                incarnation,
                from,
                to: knowledge.get(incarnation),
                why: if from > last { CutWhy::Ahead } else { CutWhy::Unproven },
            })
            .filter(|cut| cut.to < cut.from)
            .collect();
        let mine = from.knowledge.get(from.me);
        // Its own stamps that are ahead are made anew by a new incarnation, which is to have room above all that is
        // known.
        let own = if from.issued > last_own { from.held.get(from.me) } else { from.issued };
        knowledge.set(from.me, own);
        if mine != from.issued {
            known.push(Cut { incarnation: from.me, from: mine, to: from.issued, why: CutWhy::NotIssued });
        }
        let anew = match () {
            () if from.issued > last_own => Some(Anew::Ahead),
            () if mine != from.issued => Some(Anew::NotIssued),
            () => from.disowned.then_some(Anew::Disowned),
        };
        let (horizon, forgotten) = Self::cut_horizon(&from.horizon, &knowledge);
        let claims = Claims::within(&knowledge);
        Self { knowledge, horizon, known, forgotten, anew, claims }
    }

    /// The same, where nothing is in doubt but the clocks: what is known of others is cut back only where it is more than a
    /// day ahead of this machine's clock. What the replica knows of itself stays.
    pub fn plan_clocks(from: &Standpoint) -> Self {
        let (last, mut knowledge, mut known) = (Self::last_kept(from.wall), from.knowledge.clone(), Vec::new());
        for (incarnation, clock) in from.knowledge.iter().filter(|(incarnation, _)| *incarnation != from.me) {
            if from.wall.is_behind(clock) {
                let to = clock.min(from.vouched(incarnation, last));
                knowledge.set(incarnation, to);
                known.push(Cut { incarnation, from: clock, to, why: CutWhy::Ahead });
            }
        }
        let (horizon, forgotten) = Self::cut_horizon(&from.horizon, &knowledge);
        let claims = Claims::within(&knowledge);
        Self { knowledge, horizon, known, forgotten, anew: Some(Anew::Ahead), claims }
    }

    fn cut_horizon(horizon: &Knowledge, knowledge: &Knowledge) -> (Knowledge, Vec<Cut>) {
        let cut = knowledge.missing(horizon).map(|(incarnation, from)| Cut {
            incarnation,
            from,
            to: knowledge.get(incarnation),
            why: CutWhy::ForgottenUnknown,
        });
        (horizon.meet(knowledge), cut.collect())
    }

    /// What is known and forgotten in the end, of what was known and forgotten when all was mended: what was stamped
    /// anew needs less of incarnations that nobody has proven. `me` is the replica's incarnation, and `held` the newest
    /// clock of what it holds, as in [`Standpoint`].
    pub fn trimmed(
        from: &Standpoint,
        me: Incarnation,
        (knowledge, horizon): (&Knowledge, &Knowledge),
        held: &Knowledge,
    ) -> (Knowledge, Knowledge) {
        let last = Self::last_kept(from.wall);
        let needed = |(incarnation, clock): (Incarnation, Clock)| {
            // What it has just left was stamped anew as far as that was needed.
            let stays = incarnation == me || incarnation == from.me || from.is_proven(incarnation, last);
            (incarnation, if stays { clock } else { clock.min(held.get(incarnation)) })
        };
        let known: Knowledge = knowledge.iter().map(needed).filter(|(_, clock)| *clock > Clock::ZERO).collect();
        let forgotten = horizon.meet(&known);
        (known, forgotten)
    }

    /// The same, judged by what is known after a new incarnation was drawn.
    #[must_use]
    pub fn with_knowledge(self, knowledge: &Knowledge) -> Self {
        Self { claims: Claims::within(knowledge), knowledge: knowledge.clone(), ..self }
    }

    /// What is wrong with an entry; `in_place` says whether its file is where it should be.
    pub fn damage(&self, entry: &Entry, in_place: bool) -> Option<Damage> {
        match self.claims.entry(entry) {
            Err(untrue) => Some(Damage::Untrue(untrue)),
            Ok(()) if in_place && !entry.alive() => Some(Damage::DeadInPlace),
            Ok(()) => None,
        }
    }

    /// What takes the place of an entry that is damaged. `fresh` is a stamp of the replica's, above all that is known.
    ///
    /// It lives if it did, or if its file is in its place. A removal that says to have seen a later location than there
    /// is takes nothing away as long as the contents are on this machine; nor does one that is older than the location,
    /// which its remover can't have seen.
    #[must_use]
    pub fn mended(&self, entry: &Entry, contents: Contents, fresh: Stamp) -> Entry {
        let lives = contents == Contents::InPlace
            || entry.removal.is_none_or(|Removal { seen, stamp }| {
                let can_be = seen <= entry.location.0;
                let was_elsewhere = if can_be { seen < entry.location.0 } else { stamp < entry.location.0 };
                was_elsewhere || (!can_be && contents == Contents::Here)
            });
        if entry.alive() != lives || !self.keeps_its_flags(entry) {
            return Self::rewritten(entry, lives, fresh);
        }
        let mut mended = entry.clone();
        mended.restamp(|stamp| if stamp == Stamp::ZERO || self.is_known(stamp) { stamp } else { fresh });
        mended
    }

    /// Whether its flags stay as they are if stamps that can't be become fresh ones: not if one of them is the floor,
    /// below which no flag counts, or that of a flag below the floor. An entry without a location or a birth is written
    /// anew as well.
    fn keeps_its_flags(&self, entry: &Entry) -> bool {
        let flags = || entry.flags.iter().map(|(_, stamp, _)| *stamp);
        (entry.floor == Stamp::ZERO || self.is_known(entry.floor))
            && flags().all(|stamp| stamp >= entry.floor || self.is_known(stamp))
            && [entry.location.0, entry.born].into_iter().chain(flags()).all(|stamp| stamp.clock != Clock::ZERO)
            && entry.removal.is_none_or(|Removal { seen, stamp }| seen.clock.min(stamp.clock) != Clock::ZERO)
    }

    /// The entry as if it had been delivered just now, or just now delivered and removed: nothing in it depends on its
    /// past.
    fn rewritten(entry: &Entry, lives: bool, fresh: Stamp) -> Entry {
        let flags: FlagSet = entry.flags_on().cloned().collect();
        let folder = entry.location.1.clone();
        let mut new = Entry::delivered(None, Origin::Delivery, fresh, folder, &flags, entry.size, entry.mtime);
        if !lives {
            new.remove(fresh);
        }
        new
    }

    /// What is wrong with a folder's register. One with a fresh stamp that says the same takes its place.
    pub fn folder(&self, state: FolderState) -> Option<Untrue> {
        self.claims.folder(state).err()
    }

    /// What is wrong with the stamp beside a statement about a job.
    pub fn statement(&self, stamp: Stamp) -> Option<Untrue> {
        self.claims.statement(stamp).err()
    }

    /// What is wrong with the stamp beside a statement about a replica.
    pub fn of_replica(&self, stamp: Stamp) -> Option<Untrue> {
        self.claims.of_replica(stamp).err()
    }

    fn is_known(&self, stamp: Stamp) -> bool {
        stamp.clock != Clock::ZERO && self.knowledge.covers(stamp)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{FolderName, Mtime};
    use super::*;

    const ME: Incarnation = Incarnation(1);
    const OTHER: Incarnation = Incarnation(2);
    const DAY: u64 = 24 * 60 * 60 * 1000;
    const NOW: WallClock = WallClock(1_800_000_000_000);

    fn clock(bits: u64) -> Clock {
        Clock::from_bits(bits).unwrap()
    }

    fn at(bits: u64, incarnation: Incarnation) -> Stamp {
        Stamp { clock: clock(bits), incarnation }
    }

    fn knows(stamps: &[Stamp]) -> Knowledge {
        stamps.iter().map(|stamp| (stamp.incarnation, stamp.clock)).collect()
    }

    /// A replica in good order that has a peer: it has issued up to 9, and knows of another one up to 5.
    fn healthy() -> Standpoint {
        Standpoint {
            me: ME,
            issued: clock(9),
            disowned: false,
            wall: NOW,
            knowledge: knows(&[at(9, ME), at(5, OTHER)]),
            horizon: knows(&[at(2, ME), at(5, OTHER)]),
            held: knows(&[at(8, ME), at(4, OTHER)]),
            proven: knows(&[at(5, OTHER)]),
            denied: BTreeSet::new(),
            ghosts: BTreeMap::new(),
            most: 8,
        }
    }

    type Case<'c> = (&'c str, fn(&mut Standpoint), &'c [Cut], &'c [Cut], Option<Anew>);

    #[test]
    #[allow(clippy::too_many_lines)]
    fn what_nobody_vouches_for_is_not_known() {
        let (ahead, end) = (clock((NOW.0 + 2 * DAY) << 16), Clock::MAX);
        let cut = |from, to, why| Cut { incarnation: OTHER, from, to: clock(to), why };
        let unknown = |from, to| cut(clock(from), to, CutWhy::ForgottenUnknown);
        let cases: &[Case<'_>] = &[
            ("nothing", |_| (), &[], &[], None),
            (
                "a clock ahead",
                |s| s.knowledge.set(OTHER, clock((NOW.0 + 2 * DAY) << 16)),
                &[cut(ahead, 5, CutWhy::Ahead)],
                &[],
                None,
            ),
            (
                "the last clock, which its own bundle has shown as well",
                |s| {
                    s.knowledge.set(OTHER, Clock::MAX);
                    s.proven.set(OTHER, Clock::MAX);
                },
                &[cut(end, 4, CutWhy::Ahead)],
                &[unknown(5, 4)],
                None,
            ),
            (
                "a clock ahead where there is no clock to tell by",
                |s| {
                    s.knowledge.set(OTHER, clock((NOW.0 + 2 * DAY) << 16));
                    s.proven.set(OTHER, clock((NOW.0 + 2 * DAY) << 16));
                    s.wall = WallClock(0);
                },
                &[],
                &[],
                None,
            ),
            (
                "more than its own bundles have shown, though it is held",
                |s| {
                    s.proven.set(OTHER, clock(3));
                },
                &[cut(clock(5), 3, CutWhy::Unproven)],
                &[unknown(5, 3)],
                None,
            ),
            (
                "of one that is no peer, what is held stays",
                |s| s.proven = Knowledge::new(),
                &[cut(clock(5), 4, CutWhy::Unproven)],
                &[unknown(5, 4)],
                None,
            ),
            (
                "of one that has denied it, nothing",
                |s| {
                    s.proven = Knowledge::new();
                    s.denied.insert(OTHER);
                },
                &[cut(clock(5), 0, CutWhy::Unproven)],
                &[unknown(5, 0)],
                None,
            ),
            (
                "a ghost goes with what it needs",
                |s| {
                    s.proven = Knowledge::new();
                    s.ghosts.insert(OTHER, clock(3));
                },
                &[cut(clock(5), 2, CutWhy::Unproven)],
                &[unknown(5, 2)],
                None,
            ),
            (
                "where room gets scarce, what is held of others goes as well",
                |s| {
                    s.proven = Knowledge::new();
                    s.most = 1;
                },
                &[cut(clock(5), 0, CutWhy::Unproven)],
                &[unknown(5, 0)],
                None,
            ),
            ("what is proven needs no room to be left", |s| s.most = 1, &[], &[], None),
            ("forgotten, not known", |s| s.horizon.set(OTHER, clock(7)), &[], &[unknown(7, 5)], None),
            (
                "own stamps ahead",
                |s| {
                    s.issued = clock((NOW.0 + 2 * DAY) << 16);
                    s.knowledge.set(ME, s.issued);
                },
                &[],
                &[],
                Some(Anew::Ahead),
            ),
            (
                "more of itself than it has issued",
                |s| s.knowledge.set(ME, clock(11)),
                &[Cut { incarnation: ME, from: clock(11), to: clock(9), why: CutWhy::NotIssued }],
                &[],
                Some(Anew::NotIssued),
            ),
            ("peers know more of it than it has issued", |s| s.disowned = true, &[], &[], Some(Anew::Disowned)),
        ];
        for (what, change, known, forgotten, anew) in cases {
            let mut standpoint = healthy();
            change(&mut standpoint);
            let repair = Repair::plan(&standpoint);
            assert_eq!((&repair.known[..], &repair.forgotten[..], repair.anew), (*known, *forgotten, *anew), "{what}");
            assert!(repair.knowledge.includes(&repair.horizon), "{what}");
            assert!(repair.knowledge.newest() <= standpoint.wall.last_possible(), "{what}");
            if anew.is_none() {
                let after = Standpoint { knowledge: repair.knowledge, horizon: repair.horizon, ..standpoint };
                let again = Repair::plan(&after);
                assert!(again.known.is_empty() && again.forgotten.is_empty(), "{what}: {again:?}");
            }
        }
    }

    #[test]
    fn where_only_clocks_are_in_doubt_what_is_far_ahead_goes_and_nothing_else() {
        let third = Incarnation(3);
        let (near, ahead) = (clock((NOW.0 + DAY / 2) << 16), clock((NOW.0 + 2 * DAY) << 16));
        let nothing: fn(&mut Standpoint) = |_| ();
        for (what, others, change, known) in [
            ("nothing is ahead, and one was never proven", [clock(5), near], nothing, [clock(5), near]),
            ("its own bundles show less", [ahead, near], nothing, [clock(5), near]),
            (
                "its own bundles show that, too",
                [ahead, near],
                |s| s.proven.set(OTHER, s.knowledge.get(OTHER)),
                [clock(4), near],
            ),
            ("nobody has proven it", [clock(5), ahead], |s| s.held.set(Incarnation(3), clock(7)), [clock(5), clock(7)]),
            ("nothing of it is held", [clock(5), ahead], nothing, [clock(5), Clock::ZERO]),
            ("there is no clock", [ahead, ahead], |s| s.wall = WallClock(1), [ahead, ahead]),
        ] {
            let mut standpoint = healthy();
            standpoint.knowledge.set(ME, ahead);
            for (incarnation, clock) in [OTHER, third].into_iter().zip(others) {
                standpoint.knowledge.set(incarnation, clock);
            }
            change(&mut standpoint);
            let repair = Repair::plan_clocks(&standpoint);
            let found = [OTHER, third].map(|incarnation| repair.knowledge.get(incarnation));
            assert_eq!((found, repair.knowledge.get(ME)), (known, ahead), "{what}");
            assert!(repair.known.iter().all(|cut| cut.why == CutWhy::Ahead && cut.to < cut.from), "{what}");
            assert_eq!(repair.known.len(), found.iter().zip(others).filter(|(to, from)| *to < from).count(), "{what}");
            assert!(repair.knowledge.includes(&repair.horizon), "{what}");
        }
    }

    const FRESH: Stamp = Stamp { clock: Clock::LAST, incarnation: Incarnation(9) };

    fn repair() -> Repair {
        Repair::plan(&healthy())
    }

    #[test]
    fn only_what_nobody_who_could_have_it_has_told_of_is_a_ghost() {
        let (proven, third) = (knows(&[at(5, OTHER)]), Incarnation(3));
        let delivered =
            |stamp| Entry::delivered(None, Origin::Delivery, stamp, FolderName::inbox(), &FlagSet::new(), 1, Mtime(1));
        let moved = |mut entry: Entry, stamp| {
            entry.move_to(stamp, FolderName::inbox());
            entry
        };
        for (what, entry, ghost) in [
            ("one of a stranger", delivered(at(3, third)), true),
            ("one that its deliverer has told of", delivered(at(5, OTHER)), false),
            ("one that its deliverer has not told of yet", delivered(at(6, OTHER)), true),
            ("one delivered here", delivered(at(3, ME)), false),
            ("one moved here", moved(delivered(at(3, third)), at(4, ME)), false),
            ("one that its mover has told of", moved(delivered(at(3, third)), at(5, OTHER)), false),
            ("one moved by a stranger", moved(delivered(at(3, third)), at(4, third)), true),
            ("one that was delivered here and moved by a stranger", moved(delivered(at(3, ME)), at(4, third)), false),
            (
                "one that was removed",
                Entry { removal: Some(Removal { seen: at(3, third), stamp: at(4, third) }), ..delivered(at(3, third)) },
                false,
            ),
        ] {
            assert_eq!(Repair::is_ghost(&entry, ME, &proven), ghost, "{what}");
        }
    }

    #[test]
    fn what_was_stamped_anew_needs_less_of_others() {
        let third = Incarnation(3);
        let knowledge = knows(&[at(9, ME), at(5, OTHER), at(7, third), at(4, Incarnation(4))]);
        let held = knows(&[at(6, third)]);
        let (known, forgotten) = Repair::trimmed(&healthy(), ME, (&knowledge, &knows(&[at(7, third)])), &held);
        assert_eq!(known, knows(&[at(9, ME), at(5, OTHER), at(6, third)]));
        assert_eq!(forgotten, knows(&[at(6, third)]));
    }

    /// A message that came at 3 and was marked at 5.
    fn entry() -> Entry {
        let flags = ["S".parse().unwrap()].into();
        Entry::delivered(None, Origin::Delivery, at(3, ME), FolderName::inbox(), &flags, 1, Mtime(1))
    }

    fn removed(seen: Stamp, stamp: Stamp) -> Entry {
        Entry { removal: Some(Removal { seen, stamp }), ..entry() }
    }

    #[test]
    fn mail_lives_in_doubt_and_what_was_removed_stays_removed() {
        use Contents::{Here, InPlace, Nowhere};
        let end = Stamp { clock: Clock::MAX, incarnation: OTHER };
        let moved_later = |mut entry: Entry| {
            entry.move_to(at(8, ME), "Sent".parse().unwrap());
            entry
        };
        for (what, entry, contents, lives) in [
            (
                "a flag of an unknown stamp",
                {
                    let mut e = entry();
                    e.set_flag(end, "F".parse().unwrap(), true);
                    e
                },
                InPlace,
                true,
            ),
            (
                "a location of an unknown stamp",
                Entry { location: (end, FolderName::inbox()), ..entry() },
                InPlace,
                true,
            ),
            ("a birth after the location", Entry { born: at(7, ME), ..entry() }, InPlace, true),
            ("a floor of an unknown stamp", Entry { floor: end, ..entry() }, Nowhere, true),
            ("a removal of an unknown stamp", removed(at(3, ME), end), Nowhere, false),
            ("the same, and the message is in the trash", removed(at(3, ME), end), Here, false),
            ("a removal that has seen the end", removed(end, at(5, OTHER)), Here, true),
            ("the same, and the message is nowhere", removed(end, at(5, OTHER)), Nowhere, false),
            ("the same, and the message came back since", moved_later(removed(end, at(5, OTHER))), Nowhere, true),
            ("a removal, and the file is there", removed(at(3, ME), at(5, OTHER)), InPlace, true),
            ("a removal of an earlier location, of an unknown stamp", removed(at(2, ME), end), Nowhere, true),
            ("no location", Entry { location: (Stamp::ZERO, FolderName::inbox()), ..entry() }, InPlace, true),
            ("a removal that has seen nothing", removed(Stamp::ZERO, at(5, OTHER)), Nowhere, true),
        ] {
            let repair = repair();
            assert!(repair.damage(&entry, contents == InPlace).is_some(), "{what}");
            let mended = repair.mended(&entry, contents, FRESH);
            assert_eq!(mended.alive(), lives, "{what}: {mended:?}");
            assert_eq!(mended.location.1, entry.location.1, "{what}");
        }
        for healthy in [entry(), removed(at(3, ME), at(5, OTHER)), moved_later(removed(at(3, ME), at(5, OTHER)))] {
            let in_place = healthy.alive();
            assert_eq!(repair().damage(&healthy, in_place), None, "{healthy:?}");
        }
    }

    fn any_entries() -> impl Strategy<Value = Entry> {
        let stamp = || {
            let clock = prop_oneof![8 => 0..12_u64, 1 => Just(Clock::LAST.bits()), 1 => Just(Clock::MAX.bits())];
            (clock, 0..3_u64).prop_map(|(clock, incarnation)| at(clock, Incarnation(incarnation)))
        };
        let flags = proptest::collection::vec((prop_oneof![Just("F"), Just("S")], stamp(), any::<bool>()), 0..3);
        let removal = proptest::option::of((stamp(), stamp()));
        (stamp(), stamp(), stamp(), removal, flags).prop_map(|(location, born, floor, removal, flags)| {
            let mut made = entry();
            (made.location.0, made.born, made.floor) = (location, born, floor);
            made.removal = removal.map(|(seen, stamp)| Removal { seen, stamp });
            for (flag, stamp, on) in flags {
                made.set_flag(stamp, flag.parse().unwrap(), on);
            }
            made
        })
    }

    proptest! {
        #[test]
        fn what_was_mended_can_be_true_shows_the_same_and_needs_no_more(
            entry in any_entries(), contents in prop_oneof![Just(Contents::InPlace), Just(Contents::Here), Just(Contents::Nowhere)],
        ) {
            let repair = repair();
            let in_place = contents == Contents::InPlace;
            let mended = repair.mended(&entry, contents, FRESH);
            if repair.damage(&entry, in_place).is_none() {
                prop_assert_eq!(&mended, &entry, "what is in order stays as it is");
            }
            let mut after = repair.knowledge.clone();
            after.learn(FRESH);
            prop_assert_eq!(repair.with_knowledge(&after).damage(&mended, in_place), None, "{:?}", mended);
            prop_assert!(mended.alive() || !entry.alive(), "nothing is removed");
            if mended.alive() {
                prop_assert_eq!(mended.flags_on().collect::<Vec<_>>(), entry.flags_on().collect::<Vec<_>>());
                prop_assert_eq!(&mended.location.1, &entry.location.1);
            }
        }
    }
}
