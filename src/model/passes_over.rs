//! What a replica shows that it passes over, so that nobody sends it again and again.

use serde::{Deserialize, Serialize};

use super::{Caps, Clock, Entry, Knowledge, Stamp};

/// What a replica passes over of others that were revoked, and was told of. Of each incarnation `until` has a clock that is
/// greater than that of `after`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassesOver {
    /// Up to where each incarnation is believed.
    pub after: Knowledge,
    /// Up to where bundles have told of each.
    pub until: Knowledge,
}

impl PassesOver {
    /// What a replica passes over that believes so much, and that bundles have told so much.
    pub fn of(caps: &Caps, told: &Knowledge) -> Self {
        let mut all = Self::default();
        for (incarnation, cap) in caps.iter().filter(|(incarnation, cap)| told.get(*incarnation) > *cap) {
            all.after.set(incarnation, cap);
            all.until.set(incarnation, told.get(incarnation));
        }
        all
    }

    /// What each of these passes over.
    pub fn of_all<'a>(mut each: impl Iterator<Item = &'a Self>) -> Self {
        let Some(mut all) = each.next().cloned() else { return Self::default() };
        for one in each {
            all.after.join(&one.after);
            all.until = all.until.meet(&one.until);
        }
        let (after, until) = (all.after, all.until);
        let kept = || until.iter().filter(|(incarnation, clock)| after.get(*incarnation) < *clock);
        Self {
            after: kept().map(|(incarnation, _)| (incarnation, after.get(incarnation))).collect(),
            until: kept().collect(),
        }
    }

    /// Whether that is nothing.
    pub fn is_empty(&self) -> bool {
        self.until.is_empty()
    }

    /// Whether it says what can be.
    pub fn is_sound(&self) -> bool {
        let named = |(incarnation, clock)| self.after.get(incarnation) < clock;
        self.until.iter().all(named)
            && self.after.iter().all(|(incarnation, _)| self.until.get(incarnation) > Clock::ZERO)
    }

    /// Whether it passes over a change with this stamp.
    pub fn has(&self, stamp: Stamp) -> bool {
        self.until.covers(stamp) && !self.after.covers(stamp)
    }

    /// What is believed by who passes this over.
    pub fn believed(&self) -> Caps {
        Caps::up_to(self.until.iter().map(|(incarnation, _)| (incarnation, self.after.get(incarnation))))
    }

    /// Whether who has shown to know so much, and to pass this over, has taken all that a bundle of this tip tells.
    pub fn has_taken(&self, shown: &Knowledge, tip: &Knowledge) -> bool {
        let mut said = shown.clone();
        said.join(&self.until);
        said.includes(tip)
    }

    /// Whether an entry is sent in vain to who has shown to know so much and to pass this over: there is nothing else in it.
    pub fn leaves_out(&self, entry: &Entry, shown: &Knowledge) -> bool {
        !self.is_empty() && entry.stamps().all(|stamp| stamp == Stamp::ZERO || shown.covers(stamp) || self.has(stamp))
    }

    /// What a bundle says that leaves such entries out, by a replica of this knowledge: no incarnation is told further
    /// than there.
    pub fn left_out(&self, knowledge: &Knowledge) -> Knowledge {
        let told =
            self.until.iter().filter(|(incarnation, _)| knowledge.get(*incarnation) > self.after.get(*incarnation));
        told.map(|(incarnation, _)| (incarnation, self.after.get(incarnation).max(Clock::FIRST))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Incarnation, Mtime, Origin};
    use super::*;

    const HONEST: Incarnation = Incarnation(1);
    const THIEF: Incarnation = Incarnation(2);

    fn at(clock: u64, incarnation: Incarnation) -> Stamp {
        Stamp { clock: Clock::from_bits(clock).unwrap(), incarnation }
    }

    fn up_to(stamps: &[Stamp]) -> Knowledge {
        stamps.iter().map(|stamp| (stamp.incarnation, stamp.clock)).collect()
    }

    fn between(after: u64, until: u64) -> PassesOver {
        PassesOver { after: up_to(&[at(after, THIEF)]), until: up_to(&[at(until, THIEF)]) }
    }

    #[test]
    fn what_is_passed_over_has_been_taken_as_well() {
        for (tip, taken) in [(4, true), (9, true), (10, false)] {
            assert_eq!(between(5, 9).has_taken(&up_to(&[at(5, THIEF)]), &up_to(&[at(tip, THIEF)])), taken, "{tip}");
        }
        assert!(!between(5, 9).has_taken(&Knowledge::new(), &up_to(&[at(1, HONEST)])));
    }

    #[test]
    fn what_is_told_beyond_what_is_believed_is_passed_over() {
        let mut caps = Caps::default();
        caps.revoke(THIEF, 5, &Knowledge::new());
        let cap = Clock::from_bits((5 << 16) - 1).unwrap();
        for (told, until) in [(0, None), (cap.bits(), None), (cap.bits() + 1, Some(cap.bits() + 1))] {
            let told = if told == 0 { Knowledge::new() } else { up_to(&[at(told, THIEF), at(told, HONEST)]) };
            let all = PassesOver::of(&caps, &told);
            assert_eq!(all.until.iter().next(), until.map(|clock| (THIEF, at(clock, THIEF).clock)));
            assert_eq!(all.after.get(THIEF), if until.is_some() { cap } else { Clock::ZERO });
            assert!(all.is_sound() && all.until.len() <= 1);
        }
        assert!(!between(5, 5).is_sound() && !PassesOver { until: Knowledge::new(), ..between(5, 9) }.is_sound());
    }

    #[test]
    fn of_several_only_what_all_pass_over_is_left_out() {
        for (all, of) in [
            (vec![between(5, 9)], between(5, 9)),
            (vec![between(5, 9), between(7, 12)], between(7, 9)),
            (vec![between(5, 9), between(9, 12)], PassesOver::default()),
            (vec![between(5, 9), PassesOver::default()], PassesOver::default()),
            (vec![], PassesOver::default()),
        ] {
            assert_eq!(PassesOver::of_all(all.iter()), of, "{all:?}");
        }
    }

    #[test]
    fn an_entry_is_left_out_if_there_is_nothing_in_it_that_is_taken_or_new() {
        let delivered = |stamp| {
            let folder = "INBOX".parse().unwrap();
            Entry::delivered(None, Origin::Delivery, stamp, folder, &["S".parse().unwrap()].into(), 1, Mtime(1))
        };
        let removed = |mut entry: Entry, stamp| {
            entry.remove(stamp);
            entry
        };
        let shown = up_to(&[at(20, HONEST), at(3, THIEF)]);
        for (what, entry, passes, is_out) in [
            ("what is passed over", delivered(at(8, THIEF)), between(5, 9), true),
            ("what was not told yet", delivered(at(10, THIEF)), between(5, 9), false),
            ("what is believed", delivered(at(5, THIEF)), between(5, 9), false),
            ("what is known", delivered(at(20, HONEST)), between(5, 9), true),
            ("a removal by the thief", removed(delivered(at(10, HONEST)), at(8, THIEF)), between(5, 9), true),
            ("a new removal by somebody else", removed(delivered(at(8, THIEF)), at(21, HONEST)), between(5, 9), false),
            ("for one who passes nothing over", delivered(at(8, THIEF)), PassesOver::default(), false),
        ] {
            assert_eq!(passes.leaves_out(&entry, &shown), is_out, "{what}");
        }
        for (knows, left_out) in [(9, vec![at(5, THIEF)]), (5, vec![])] {
            assert_eq!(between(5, 9).left_out(&up_to(&[at(knows, THIEF)])), up_to(&left_out));
        }
        let from_the_first = PassesOver { after: Knowledge::new(), until: up_to(&[at(9, THIEF)]) };
        assert_eq!(from_the_first.left_out(&up_to(&[at(9, THIEF)])), up_to(&[at(1, THIEF)]));
    }
}
