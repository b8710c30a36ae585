//! What follows from revocations that count: how much is believed of what others tell of a replica that was revoked.

use std::collections::BTreeMap;

use super::{Clock, Entry, EntryId, FolderState, Head, Incarnation, Knowledge, Removal, Stamp};

/// How far each incarnation of replicas that were revoked is believed, whoever tells of it. What is beyond counts as not
/// told: it stays unknown, and whoever has it tells it again as long as that is so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    /// Up to where each is believed.
    until: BTreeMap<Incarnation, Clock>,
    /// The last clock of each from before it was revoked. More may be known of it.
    before: BTreeMap<Incarnation, Clock>,
}

impl Caps {
    /// Believes an incarnation up to this time only, in milliseconds since 1970 UTC; but what is known already stays known.
    pub fn revoke(&mut self, incarnation: Incarnation, since: u64, knowledge: &Knowledge) {
        let first = since.min(Clock::LAST.millis()) << 16;
        let last = Clock::from_bits(first.saturating_sub(1)).expect("it is below the last clock");
        let until = last.max(knowledge.get(incarnation));
        self.until.entry(incarnation).and_modify(|cap| *cap = until.min(*cap)).or_insert(until);
        self.before.entry(incarnation).and_modify(|cap| *cap = last.min(*cap)).or_insert(last);
    }

    /// The horizon of a replica as far as it counts: without what is of those that were revoked. Whoever believes no more of
    /// these than is held somewhere may never know as much as a horizon names, and each delta between them would have to wait.
    /// What has been forgotten of them may come back: in doubt mail is kept.
    pub fn horizon(&self, horizon: &Knowledge) -> Knowledge {
        let mut counts = horizon.clone();
        self.until.keys().for_each(|&incarnation| counts.set(incarnation, Clock::ZERO));
        counts
    }

    /// What is believed of this knowledge.
    pub fn knowledge(&self, knowledge: &Knowledge) -> Knowledge {
        let mut believed = knowledge.clone();
        for (&incarnation, &cap) in &self.until {
            believed.set(incarnation, believed.get(incarnation).min(cap));
        }
        believed
    }

    /// Each incarnation that is not believed wholly, with the last clock that is.
    pub fn iter(&self) -> impl Iterator<Item = (Incarnation, Clock)> + '_ {
        self.until.iter().map(|(&incarnation, &cap)| (incarnation, cap))
    }

    /// Whether everything is believed.
    pub fn is_empty(&self) -> bool {
        self.until.is_empty()
    }

    /// Whether a change with this stamp is believed.
    pub fn takes(&self, stamp: Stamp) -> bool {
        self.until.get(&stamp.incarnation).is_none_or(|cap| stamp.clock <= *cap)
    }

    /// Whether a change with this stamp was made by somebody who was to be trusted then.
    pub fn trusts(&self, stamp: Stamp) -> bool {
        self.before.get(&stamp.incarnation).is_none_or(|last| stamp.clock <= *last)
    }

    /// What is believed of a bundle with this head by a replica of this knowledge. Of its sender's own incarnation all is: only
    /// somebody who isn't shut out is listened to, and shows by this very bundle whose that is.
    pub fn believe(&self, head: &Head, knowledge: &Knowledge) -> Believed {
        // A base that tells of what isn't believed may leave out what would be. So nothing is taken of that incarnation: else
        // the replica would seem to know what came in between.
        let of_bundle = |(&incarnation, &cap): (&Incarnation, &Clock)| {
            let leaves_out = head.base.get(incarnation) > cap;
            (incarnation, if leaves_out { knowledge.get(incarnation) } else { cap })
        };
        let Self { mut until, mut before } = self.clone();
        until.remove(&head.incarnation);
        before.remove(&head.incarnation);
        for (incarnation, last) in head.left_out.iter() {
            // What is known already may be in it all the same.
            let cap = last.max(knowledge.get(incarnation));
            until.entry(incarnation).and_modify(|until| *until = cap.min(*until)).or_insert(cap);
        }
        let caps = Self { until: until.iter().map(of_bundle).collect(), before };
        let believed = |told: &Knowledge| {
            let mut believed = told.clone();
            for (&incarnation, &cap) in caps.until.iter().filter(|(incarnation, cap)| told.get(**incarnation) > **cap) {
                believed.set(incarnation, knowledge.get(incarnation).min(cap));
            }
            believed
        };
        let [base, tip, mut horizon] = [&head.base, &head.tip, &head.horizon].map(believed);
        let capped = caps.until.iter().map(|(&incarnation, &cap)| (incarnation, cap));
        let cut: BTreeMap<_, _> = capped.filter(|(incarnation, cap)| head.tip.get(*incarnation) > *cap).collect();
        // Of these may become known less than the sender has forgotten, and nobody forgets what it has never known.
        for &incarnation in cut.keys() {
            horizon.set(incarnation, horizon.get(incarnation).min(knowledge.get(incarnation)));
        }
        let is_spoilt = caps.until.iter().any(|(&incarnation, cap)| head.horizon.get(incarnation) > *cap);
        Believed {
            caps,
            head: Head { base, tip, horizon, issued: head.issued.clone(), left_out: head.left_out.clone(), ..*head },
            cut,
            is_spoilt,
        }
    }

    /// Believes each of these up to there, whenever it was revoked.
    pub fn up_to(until: impl IntoIterator<Item = (Incarnation, Clock)>) -> Self {
        Self { until: until.into_iter().collect(), before: BTreeMap::new() }
    }

    /// Whether a living entry would not be as it is here with somebody who believes no more than this, and has nothing of it
    /// yet: not there, or in another folder, or with other flags.
    pub fn passes_over(&self, id: &EntryId, mine: &Entry) -> bool {
        mine.alive() && self.shows_otherwise(id, mine)
    }

    /// The same of any entry: one that is removed here can be there as well. An entry can hold registers that aren't believed
    /// and nobody sees, such as a removal that was taken back.
    pub fn shows_otherwise(&self, id: &EntryId, mine: &Entry) -> bool {
        let seen = |entry: &Entry| {
            entry.alive().then(|| (entry.location.1.clone(), entry.flags_on().cloned().collect::<Vec<_>>()))
        };
        self.entry(id, None, mine).and_then(|believed| seen(&believed)) != seen(mine)
    }

    /// What is believed of a folder.
    pub fn folder(&self, state: FolderState) -> Option<FolderState> {
        Some(state).filter(|state| self.takes(state.stamp))
    }

    /// What is believed of an entry of this id, of which `mine` is here: the registers that aren't believed are left out. In
    /// their place stands what is here; if nothing is, an entry that somebody honest has delivered lies where it was
    /// delivered. `None` if nothing but what isn't believed says that there is such an entry.
    pub fn entry(&self, id: &EntryId, mine: Option<&Entry>, theirs: &Entry) -> Option<Entry> {
        let seen = theirs.removal.map(|removal| removal.seen);
        if theirs.stamps().chain(seen).all(|stamp| self.takes(stamp)) {
            return Some(theirs.clone());
        }
        let believed = |stamp: Stamp| Some(stamp).filter(|&stamp| stamp != Stamp::ZERO && self.takes(stamp));
        let floor = believed(theirs.floor);
        // It was delivered at its floor as well, unless the first scan of a replica has only found it. And whoever honest has moved
        // it wants it, whoever has delivered it.
        let (born, mtime) = match (believed(theirs.born).or(floor).or(believed(theirs.location.0)), mine) {
            (Some(born), _) => (born, theirs.mtime),
            (None, Some(mine)) => (mine.born, mine.mtime),
            (None, None) => return None,
        };
        let delivered = (born, id.birth.clone());
        let location = if self.takes(theirs.location.0) {
            theirs.location.clone()
        } else {
            mine.map_or_else(|| delivered.clone(), |mine| mine.location.clone().max(delivered.clone()))
        };
        // A removal that has seen what isn't believed may be of what the thief delivered. In doubt mail is kept.
        let removal = theirs.removal.filter(|removal| self.takes(removal.stamp) && self.takes(removal.seen));
        let removal = removal.map(|removal| Removal { seen: removal.seen.min(location.0), ..removal });
        let mut entry = Entry {
            location,
            born,
            floor: floor.or(mine.map(|mine| mine.floor)).unwrap_or(Stamp::ZERO).min(born),
            removal,
            flags: super::FlagRegisters::default(),
            size: theirs.size,
            mtime,
        };
        for (flag, stamp, on) in theirs.flags.iter().filter(|(_, stamp, _)| self.takes(*stamp)) {
            entry.flags.write(flag.clone(), *stamp, *on);
        }
        Some(entry)
    }
}

/// What is believed of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Believed {
    /// How far each incarnation is believed, in this bundle.
    pub caps: Caps,
    /// Its head, which says nothing of what isn't believed: whether the bundle can be applied follows from that. In the place of a
    /// clock beyond a cap stands what is known here.
    pub head: Head,
    /// The incarnations of which the bundle tells more than is believed, and how far they are. Of each of them becomes known
    /// what is held after the bundle, and no more: nobody tells up to where it has issued stamps before the cap.
    pub cut: BTreeMap<Incarnation, Clock>,
    /// Whether the sender has forgotten something of what isn't believed. Then that it lacks an entry is no sign that somebody
    /// honest has removed it.
    pub is_spoilt: bool,
}

impl Believed {
    /// What an entry that is taken shows of the incarnations of which the bundle tells more than is believed. A removal shows what
    /// it has seen, though that may be nowhere else any more.
    pub fn shown_by(&self, entry: &Entry) -> impl Iterator<Item = Stamp> {
        let seen = entry.removal.map(|removal| removal.seen);
        entry.stamps().chain(seen).filter(|stamp| self.cut.contains_key(&stamp.incarnation))
    }

    /// Whether a replica of this knowledge may find something to believe in the bundle, as far as the tip tells.
    pub fn may_tell(&self, knowledge: &Knowledge) -> bool {
        let known = |(&incarnation, &cap): (&Incarnation, &Clock)| knowledge.get(incarnation) >= cap;
        !knowledge.includes(&self.head.tip) || !self.cut.iter().all(known)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Claims, Digest, Flag, Mtime, Origin};
    use super::*;

    const HONEST: Incarnation = Incarnation(1);
    const THIEF: Incarnation = Incarnation(2);
    /// The theft, in milliseconds.
    const THEFT: u64 = 50;

    fn at(millis: u64, incarnation: Incarnation) -> Stamp {
        Stamp { clock: Clock::from_bits(millis << 16).unwrap(), incarnation }
    }

    fn caps() -> Caps {
        let mut caps = Caps::default();
        caps.revoke(THIEF, THEFT, &Knowledge::new());
        caps
    }

    #[test]
    fn the_horizon_counts_without_what_is_of_a_revoked_one() {
        let horizon: Knowledge =
            [at(40, HONEST), at(20, THIEF)].into_iter().map(|stamp| (stamp.incarnation, stamp.clock)).collect();
        assert_eq!(Caps::default().horizon(&horizon), horizon);
        assert_eq!(caps().horizon(&horizon), std::iter::once((HONEST, at(40, HONEST).clock)).collect());
    }

    fn id() -> EntryId {
        EntryId { digest: Digest::of(b"x"), birth: "INBOX".parse().unwrap(), ordinal: 0 }
    }

    fn delivered(stamp: Stamp) -> Entry {
        Entry::delivered(None, Origin::Delivery, stamp, id().birth, &["S".parse().unwrap()].into(), 1, Mtime(1))
    }

    #[test]
    fn nothing_from_the_time_of_the_revocation_on_is_believed_but_what_is_known_already() {
        let caps = caps();
        assert!(!caps.is_empty() && Caps::default().is_empty());
        for (stamp, takes) in [
            (at(THEFT - 1, THIEF), true),
            (Stamp { clock: Clock::from_bits((THEFT << 16) - 1).unwrap(), incarnation: THIEF }, true),
            (at(THEFT, THIEF), false),
            (at(THEFT + 1, THIEF), false),
            (at(THEFT + 1, HONEST), true),
            (Stamp::ZERO, true),
        ] {
            assert_eq!(caps.takes(stamp), takes, "{stamp}");
        }
        let mut known = Caps::default();
        let knowledge: Knowledge = [(THIEF, at(60, THIEF).clock)].into_iter().collect();
        known.revoke(THIEF, THEFT, &knowledge);
        assert!(known.takes(at(60, THIEF)) && !known.takes(at(61, THIEF)));
        // Of two that revoke it, the one that believes less counts.
        known.revoke(THIEF, THEFT, &Knowledge::new());
        known.revoke(THIEF, u64::MAX, &Knowledge::new());
        assert!(known.takes(at(49, THIEF)) && !known.takes(at(50, THIEF)));
        known.revoke(HONEST, 0, &Knowledge::new());
        assert!(!known.takes(Stamp { clock: Clock::FIRST, incarnation: HONEST }));
    }

    #[test]
    fn a_bundle_that_tells_more_than_is_believed_makes_nothing_known_by_its_head() {
        let knows =
            |millis: u64| -> Knowledge { (millis > 0).then(|| (THIEF, at(millis, THIEF).clock)).into_iter().collect() };
        let told = |base, tip, horizon| Head {
            incarnation: HONEST,
            number: 1,
            full: base == 0,
            base: knows(base),
            tip: knows(tip),
            horizon: knows(horizon),
            issued: vec![],
            left_out: Knowledge::new(),
        };
        let last = Clock::from_bits((THEFT << 16) - 1).unwrap();
        // Base, tip, horizon, what is known here; then what is believed of the three, how far, and whether it is spoilt.
        for (base, tip, horizon, known, believed, cap, spoilt) in [
            (10, 40, 5, 20, [10, 40, 5], last, false),
            // Nobody has forgotten more than it has known.
            (10, 60, 40, 20, [10, 20, 20], last, false),
            (10, 60, 55, 20, [10, 20, 20], last, true),
            (0, 60, 0, 0, [0, 0, 0], last, false),
            // What came between 20 and 55 isn't in it, though some of it would be believed.
            (55, 60, 0, 20, [20, 20, 0], at(20, THIEF).clock, false),
        ] {
            let head = told(base, tip, horizon);
            let found = caps().believe(&head, &knows(known));
            let case = format!("{head:?} by {known}");
            let is_cut = head.tip.get(THIEF) > cap;
            assert_eq!(found.cut.get(&THIEF), is_cut.then_some(&cap), "{case}");
            assert_eq!(found.may_tell(&knows(known)), knows(known).get(THIEF) < cap.min(head.tip.get(THIEF)), "{case}");
            assert_eq!((found.caps.until[&THIEF], found.is_spoilt), (cap, spoilt), "{case}");
            assert_eq!([found.head.base, found.head.tip, found.head.horizon], believed.map(knows), "{case}");
        }
        // By a bundle of the incarnation's own somebody who is listened to shows that it is no thief's.
        let own = caps().believe(&Head { incarnation: THIEF, ..told(10, 60, 40) }, &knows(20));
        assert!(own.cut.is_empty() && own.caps.takes(at(60, THIEF)) && own.caps.trusts(at(60, THIEF)));
        assert_eq!((own.head.tip, own.is_spoilt), (knows(60), false));
        let all = Caps::default().believe(&told(0, 60, 60), &knows(0));
        assert_eq!((all.head.tip, all.head.horizon, all.cut.len()), (knows(60), knows(60), 0));
    }

    #[test]
    fn of_what_a_bundle_leaves_out_nothing_becomes_known_by_its_head() {
        let knows = |millis: u64| -> Knowledge { std::iter::once((THIEF, at(millis, THIEF).clock)).collect() };
        let head = Head {
            incarnation: HONEST,
            number: 1,
            full: false,
            base: knows(10),
            tip: knows(60),
            horizon: Knowledge::new(),
            issued: vec![],
            left_out: knows(40),
        };
        // Who believes it all by then, and knows so much of it, knows as much afterwards as it holds.
        for (known, cap) in [(10, 40), (50, 50)] {
            let found = Caps::default().believe(&head, &knows(known));
            assert_eq!(found.cut.get(&THIEF), Some(&at(cap, THIEF).clock), "{known}");
            assert_eq!((found.head.tip.clone(), found.head.base), (knows(known), knows(10)), "{known}");
            assert!(found.caps.takes(at(cap, THIEF)) && !found.caps.takes(at(cap + 1, THIEF)), "{known}");
        }
        assert_eq!(caps().believe(&Head { left_out: knows(45), ..head }, &knows(10)).cut[&THIEF], at(45, THIEF).clock);
    }

    type Case<'a> = (&'a str, Option<Entry>, Entry, Option<Entry>);

    #[test]
    #[allow(clippy::too_many_lines)]
    fn of_an_entry_what_honest_replicas_have_done_is_kept() {
        let (honest, late) = (at(10, HONEST), at(60, THIEF));
        let (sent, flag): (crate::model::FolderName, Flag) = ("Sent".parse().unwrap(), "F".parse().unwrap());
        let moved = |mut entry: Entry, stamp| {
            entry.move_to(stamp, sent.clone());
            entry
        };
        let flagged = |mut entry: Entry, stamp| {
            entry.set_flag(stamp, flag.clone(), true);
            entry
        };
        let removed = |mut entry: Entry, stamp| {
            entry.remove(stamp);
            entry
        };
        let mine = || delivered(honest);
        let redelivered = |past: &Entry, stamp| {
            let flags = past.flags_on().cloned().collect();
            Entry::delivered(Some(past), Origin::Delivery, stamp, id().birth, &flags, 1, Mtime(9))
        };
        let cases: Vec<Case<'_>> = vec![
            (
                "before the theft",
                None,
                moved(delivered(at(40, THIEF)), at(45, THIEF)),
                Some(moved(delivered(at(40, THIEF)), at(45, THIEF))),
            ),
            ("delivered by the thief", None, delivered(late), None),
            (
                "delivered by the thief, and moved by others",
                None,
                moved(delivered(late), at(70, HONEST)),
                Some(Entry {
                    born: at(70, HONEST),
                    floor: Stamp::ZERO,
                    flags: crate::model::FlagRegisters::default(),
                    ..moved(delivered(late), at(70, HONEST))
                }),
            ),
            ("delivered by the thief, and removed by others", None, removed(delivered(late), at(70, HONEST)), None),
            ("flagged by the thief", None, flagged(mine(), late), Some(mine())),
            ("moved by the thief", None, moved(mine(), late), Some(mine())),
            (
                "moved by the thief, and by others before",
                None,
                moved(moved(mine(), at(20, HONEST)), late),
                Some(mine()),
            ),
            ("removed by the thief", None, removed(mine(), late), Some(mine())),
            (
                "moved by the thief, and then by others",
                None,
                moved(moved(mine(), late), at(70, HONEST)),
                Some(moved(mine(), at(70, HONEST))),
            ),
            (
                "moved by the thief, and removed by others from there",
                None,
                removed(moved(mine(), late), at(70, HONEST)),
                Some(mine()),
            ),
            (
                "removed by others, and moved by the thief",
                None,
                moved(removed(mine(), at(40, HONEST)), late),
                Some(removed(mine(), at(40, HONEST))),
            ),
            (
                "moved by the thief, and here before",
                Some(moved(mine(), at(20, HONEST))),
                moved(mine(), late),
                Some(moved(mine(), at(20, HONEST))),
            ),
            (
                "moved by the thief, removed by others from there, and delivered anew",
                None,
                redelivered(&removed(moved(mine(), late), at(70, HONEST)), at(80, HONEST)),
                Some(Entry {
                    removal: None,
                    ..redelivered(&removed(moved(mine(), late), at(70, HONEST)), at(80, HONEST))
                }),
            ),
            (
                "delivered anew by the thief, and flagged by others",
                Some(mine()),
                flagged(redelivered(&mine(), late), at(70, HONEST)),
                Some(Entry {
                    flags: flagged(mine(), at(70, HONEST)).flags.iter().filter(|(f, ..)| *f == flag).cloned().fold(
                        crate::model::FlagRegisters::default(),
                        |mut all, (flag, stamp, on)| {
                            all.write(flag, stamp, on);
                            all
                        },
                    ),
                    ..mine()
                }),
            ),
            (
                "delivered anew by others, and moved by the thief",
                Some(mine()),
                moved(redelivered(&mine(), at(20, HONEST)), late),
                Some(redelivered(&mine(), at(20, HONEST))),
            ),
        ];
        for (what, mine, theirs, becomes) in cases {
            let believed = caps().entry(&id(), mine.as_ref(), &theirs);
            assert_eq!(believed, becomes, "{what}");
            if let Some(believed) = believed {
                let known: Knowledge =
                    [(HONEST, at(99, HONEST).clock), (THIEF, at(THEFT - 1, THIEF).clock)].into_iter().collect();
                assert_eq!(Claims::within(&known).entry(&believed), Ok(()), "{what}");
            }
        }
        // What nobody sees makes no difference: a removal that was taken back, or what the thief brought and somebody removed.
        for (what, entry, passes_over, otherwise) in [
            ("before the theft", mine(), false, false),
            ("brought", delivered(late), true, true),
            ("brought, and removed by others", removed(delivered(late), at(70, HONEST)), false, false),
            ("flagged", flagged(mine(), late), true, true),
            ("moved", moved(mine(), late), true, true),
            ("moved, and then by others", moved(moved(mine(), late), at(70, HONEST)), false, false),
            ("removed", removed(mine(), late), false, true),
            ("removed, and back", redelivered(&removed(mine(), late), at(70, HONEST)), false, false),
            ("removed by others", removed(mine(), at(40, HONEST)), false, false),
        ] {
            let found = (caps().passes_over(&id(), &entry), caps().shows_otherwise(&id(), &entry));
            assert_eq!(found, (passes_over, otherwise), "{what}");
        }
        let folder = |stamp| caps().folder(FolderState { stamp, present: true });
        assert!(folder(honest).is_some() && folder(late).is_none());
    }
}
