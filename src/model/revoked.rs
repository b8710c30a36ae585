//! Which revocations count, and which replicas they are about, however many keys those have had.

use std::collections::{BTreeMap, BTreeSet};

use super::SaidOfReplica;

/// A revocation of one key, reduced to what decides whether it counts. `I` names keys. A statement about several keys is as
/// many of these, and each is weighed by itself: so nobody is shut out for being named beside somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revoked<'a, I> {
    /// The key that is revoked.
    pub who: I,
    /// The replica that says so, by the key that it has now as far as that is believed.
    pub by: I,
    /// From when on: milliseconds since 1970 UTC.
    pub since: u64,
    /// When it was said, and in which words.
    pub said: SaidOfReplica<'a>,
    /// When it was said or heard on this machine, by the clock of this machine: milliseconds since 1970 UTC. Its maker can't
    /// date that.
    pub heard: u64,
    /// Whether a person has said so on this very machine.
    pub here: bool,
    /// Whether a person has said on this machine that it is not so.
    pub overruled: bool,
    /// Whether the replica that says so is neither this one nor a peer. Whoever was revoked can make as many of such as it
    /// likes.
    pub by_stranger: bool,
    /// The replica whose bundle has brought it, by the key that it has now as far as that is believed.
    pub brought_by: Option<I>,
}

impl<I: Copy> Revoked<'_, I> {
    /// Those who answer for it, each with the time at which it can have said it at the latest: its maker and, if that is a
    /// stranger, whoever has brought it. A thief can make a stranger say what nobody would take from it.
    fn answer_for(&self) -> impl Iterator<Item = (I, u64)> {
        let maker = (self.by, self.said.at.max(self.heard));
        let brought_by = self.brought_by.filter(|_| self.by_stranger).map(|by| (by, self.heard));
        std::iter::once(maker).chain(brought_by)
    }
}

/// Which keys are said to follow which ones, by statements that both have signed. So what holds of a key holds of each that
/// follows it, whether that is believed or not: nobody gets away from a revocation by another key.
#[derive(Clone, Debug)]
pub struct Successors<I>(BTreeMap<I, BTreeSet<I>>);

impl<I: Copy + Ord> Successors<I> {
    /// From pairs of a key and one that is said to follow it.
    pub fn new(pairs: impl IntoIterator<Item = (I, I)>) -> Self {
        let mut next: BTreeMap<I, BTreeSet<I>> = BTreeMap::new();
        for (old, new) in pairs.into_iter().filter(|(old, new)| old != new) {
            next.entry(old).or_default().insert(new);
        }
        Self(next)
    }

    /// A key and all that follow it.
    pub fn from(&self, key: I) -> BTreeSet<I> {
        let (mut found, mut left) = (BTreeSet::from([key]), vec![key]);
        while let Some(key) = left.pop() {
            left.extend(self.0.get(&key).into_iter().flatten().copied().filter(|&next| found.insert(next)));
        }
        found
    }
}

/// Revocations, and which of them matter to whom.
struct Weighed<'a, 'b, I> {
    all: &'a [Revoked<'b, I>],
    /// What each key that says something, or of which it is said, stands for: itself and those that follow it.
    covered: BTreeMap<I, BTreeSet<I>>,
    /// Of each that answers for one the places of those that cover it and stand.
    covering: BTreeMap<I, Vec<usize>>,
}

impl<'a, 'b, I: Copy + Ord> Weighed<'a, 'b, I> {
    fn new(all: &'a [Revoked<'b, I>], stands: impl Fn(&Revoked<'_, I>) -> bool, successors: &Successors<I>) -> Self {
        let covered: BTreeMap<_, _> =
            all.iter().flat_map(|one| [one.who, one.by]).map(|key| (key, successors.from(key))).collect();
        let mut covering: BTreeMap<I, Vec<usize>> =
            all.iter().flat_map(Revoked::answer_for).map(|(by, _)| (by, Vec::new())).collect();
        for (n, one) in all.iter().enumerate().filter(|(_, one)| stands(one) && !one.by_stranger) {
            for key in &covered[&one.who] {
                if let Some(covering) = covering.get_mut(key) {
                    covering.push(n);
                }
            }
        }
        Self { all, covered, covering }
    }

    fn has(&self, who: &I, key: &I) -> bool {
        self.covered.get(who).is_some_and(|covered| covered.contains(key))
    }

    /// The places of those that make this one void if they count.
    fn against(&self, other: usize) -> impl Iterator<Item = usize> {
        let other = &self.all[other];
        other.answer_for().flat_map(move |(by, at)| {
            let covering = self.covering[&by].iter().copied();
            covering.filter(move |&first| self.makes_void(&self.all[first], other, at))
        })
    }

    /// Whether the first one, which covers who answers for the other one, makes that worth nothing if it counts: its maker was
    /// not to be trusted any more when it made it, or can have made it then and dated it back: nobody here had heard it by that
    /// time. What a replica says of one that has revoked it is no answer to that: of two that revoke each other nobody but
    /// a person can tell which is right. Nor is it one if the same hands say it with another key, or with one that nobody knows.
    fn makes_void(&self, first: &Revoked<'_, I>, other: &Revoked<'_, I>, at: u64) -> bool {
        let is_answer = || self.has(&other.who, &first.by) || self.has(&first.by, &other.who);
        !other.here && first.since <= at && (first.here || !is_answer())
    }
}

/// Says of each revocation whether it counts. What was said on this machine does, until it is overruled there; what a
/// replica has said after the time from which on it is revoked itself, or what was only heard after that, doesn't. Of what one replica says of another one the last counts. Of several that
/// revoke each other in a circle all count: they are shut out until a person has looked.
pub fn which_revocations_count<I: Copy + Ord>(all: &[Revoked<'_, I>], successors: &Successors<I>) -> Vec<bool> {
    let mut last: BTreeMap<(I, I), SaidOfReplica<'_>> = BTreeMap::new();
    for one in all {
        last.entry((one.who, one.by)).and_modify(|last| *last = one.said.max(*last)).or_insert(one.said);
    }
    let stands = |one: &Revoked<'_, I>| !one.overruled && last[&(one.who, one.by)] == one.said;
    let mut counts: Vec<Option<bool>> = all.iter().map(|one| (!stands(one)).then_some(false)).collect();
    let weighed = Weighed::new(all, stands, successors);
    loop {
        let mut decided = false;
        for n in 0..all.len() {
            if counts[n].is_some() {
                continue;
            }
            let mut against =
                weighed.against(n).map(|other| counts[other]).filter(|counts| *counts != Some(false)).peekable();
            let nothing_is_against_it = against.peek().is_none();
            if nothing_is_against_it || against.any(|counts| counts == Some(true)) {
                counts[n] = Some(nothing_is_against_it);
                decided = true;
            }
        }
        if !decided {
            return counts.into_iter().map(|counts| counts.unwrap_or(true)).collect();
        }
    }
}

/// So many keys from before the one by which a replica was made known are named before those that have followed it.
const EARLIER_KEYS: usize = 3;

/// Which keys are worth naming besides `first` in the revocation of a replica that was made known by that one, those that matter
/// most first. `chain` has the keys that it is believed to have had, each of which follows the one before; the last is the one that
/// it has now. Whoever has one of the keys can make more at both ends, so only some may find room: `first` itself covers all that
/// follow it, wherever that is known.
pub fn keys_besides<I: Copy + Ord>(first: I, chain: &[I], successors: &Successors<I>) -> Vec<I> {
    let (earlier, later) = chain.split_at(chain.iter().position(|key| *key == first).unwrap_or(0));
    let present = chain.last().copied();
    let before = earlier.iter().rev().take(EARLIER_KEYS).copied();
    let mut keys: Vec<I> = present.into_iter().chain(before).chain(later.iter().rev().copied()).collect();
    keys.extend(successors.from(first));
    let mut seen = BTreeSet::from([first]);
    keys.retain(|key| seen.insert(*key));
    keys
}

/// Those that are shut out if these are revoked: each group is in the same hands, as its keys have followed each other.
pub fn shut_out_together<I: Copy + Ord>(
    revoked: impl IntoIterator<Item = I>,
    successors: &Successors<I>,
) -> Vec<BTreeSet<I>> {
    let mut groups: Vec<BTreeSet<I>> = Vec::new();
    for who in revoked {
        if groups.iter().any(|group| group.contains(&who) && successors.from(who).is_subset(group)) {
            continue;
        }
        let mut group = successors.from(who);
        groups.retain(|other| {
            let is_apart = group.is_disjoint(other);
            if !is_apart {
                group.extend(other);
            }
            is_apart
        });
        groups.push(group);
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(by: char, who: char, since: u64, at: u64) -> Revoked<'static, char> {
        let by_stranger = by.is_ascii_uppercase();
        let said = SaidOfReplica { at, signed: "" };
        Revoked { who, by, since, said, heard: at, here: by == 'm', overruled: false, by_stranger, brought_by: None }
    }

    fn brought(by: char, revoked: Revoked<'static, char>) -> Revoked<'static, char> {
        Revoked { brought_by: Some(by), ..revoked }
    }

    fn heard(heard: u64, revoked: Revoked<'static, char>) -> Revoked<'static, char> {
        Revoked { heard, ..revoked }
    }

    fn overruled(revoked: Revoked<'static, char>) -> Revoked<'static, char> {
        Revoked { overruled: true, ..revoked }
    }

    /// Whatever order they are in, the same count.
    #[track_caller]
    fn check(what: &str, table: Vec<(Revoked<'static, char>, bool)>, successors: &[(char, char)]) {
        let successors = Successors::new(successors.iter().copied());
        let (mut all, mut expected): (Vec<_>, Vec<_>) = table.into_iter().unzip();
        for _ in 0..2 {
            for _ in 0..all.len() {
                assert_eq!(which_revocations_count(&all, &successors), expected, "{what}: {all:?}");
                all.rotate_left(1);
                expected.rotate_left(1);
            }
            all.reverse();
            expected.reverse();
        }
    }

    #[test]
    fn when_it_was_heard_counts_as_when_it_was_said() {
        for (what, table) in [
            (
                "as if before it was revoked itself, and heard later",
                vec![(said('a', 'x', 5, 9), true), (heard(5, said('x', 'b', 1, 4)), false)],
            ),
            (
                "the same, and the revocation came later still",
                vec![(heard(20, said('a', 'x', 5, 9)), true), (heard(7, said('x', 'b', 1, 4)), false)],
            ),
            (
                "said by a person here, as if before",
                vec![
                    (said('a', 'm', 5, 9), false),
                    (heard(7, said('m', 'b', 1, 4)), true),
                    (said('m', 'a', 1, 9), true),
                ],
            ),
            (
                "by a stranger, whom one has brought that was revoked by then",
                vec![(said('a', 'x', 5, 9), true), (brought('x', heard(6, said('Z', 'b', 1, 2))), false)],
            ),
            (
                "by a stranger, whom it had brought before",
                vec![(said('a', 'x', 5, 9), true), (brought('x', heard(4, said('Z', 'b', 1, 2))), true)],
            ),
            (
                "by a stranger whom somebody else has brought",
                vec![(said('a', 'x', 5, 9), true), (brought('c', heard(6, said('Z', 'b', 1, 2))), true)],
            ),
            (
                "by a stranger about one who has revoked the one that has brought it",
                vec![(said('a', 'x', 5, 9), true), (brought('x', heard(6, said('Z', 'a', 1, 2))), true)],
            ),
            (
                "by somebody known, whom a revoked one has brought",
                vec![(said('a', 'x', 5, 9), true), (brought('x', heard(6, said('c', 'b', 1, 2))), true)],
            ),
            (
                "each other, one of them as if long ago and heard later",
                vec![(said('a', 'x', 5, 9), true), (heard(12, said('x', 'a', 1, 2)), true)],
            ),
        ] {
            check(what, table, &[]);
        }
    }

    #[test]
    fn which_of_several_revocations_count_does_not_depend_on_their_order() {
        for (what, table) in [
            ("one", vec![(said('a', 'x', 5, 9), true)]),
            ("one that a person here has overruled", vec![(overruled(said('a', 'x', 5, 9)), false)]),
            ("before it was revoked itself", vec![(said('a', 'x', 5, 9), true), (said('x', 'b', 1, 4), true)]),
            ("after it was revoked itself", vec![(said('a', 'x', 5, 9), true), (said('x', 'b', 1, 5), false)]),
            ("each other", vec![(said('a', 'x', 5, 9), true), (said('x', 'a', 1, 9), true)]),
            (
                "each other, one of them as if long ago",
                vec![(said('a', 'x', 5, 9), true), (said('x', 'a', 1, 2), true)],
            ),
            ("each other, one of them here", vec![(said('m', 'x', 5, 9), true), (said('x', 'm', 1, 9), false)]),
            (
                "each other, and a person here trusts the one",
                vec![(said('a', 'x', 5, 9), true), (overruled(said('x', 'a', 1, 9)), false)],
            ),
            (
                "each other, and the other one says it again to one who has trusted the first",
                vec![(said('a', 'x', 5, 9), true), (said('x', 'a', 1, 12), true)],
            ),
            (
                "each other, and a person here says the same as the one",
                vec![(said('a', 'x', 5, 9), true), (said('x', 'a', 1, 12), false), (said('m', 'x', 5, 10), true)],
            ),
            (
                "in a circle",
                vec![(said('a', 'b', 1, 9), true), (said('b', 'c', 1, 9), true), (said('c', 'a', 1, 9), true)],
            ),
            (
                "a circle that a person here has broken",
                vec![
                    (said('a', 'b', 1, 9), true),
                    (said('b', 'c', 1, 9), false),
                    (overruled(said('c', 'a', 1, 9)), false),
                ],
            ),
            (
                "one that is void makes nothing void",
                vec![(said('m', 'x', 1, 9), true), (said('x', 'a', 1, 9), false), (said('a', 'b', 1, 9), true)],
            ),
            (
                "a thief that is revoked by one that it has revoked before",
                vec![(said('a', 'x', 5, 9), true), (said('x', 'a', 5, 7), true), (said('a', 'b', 5, 9), false)],
            ),
            ("twice by one", vec![(said('a', 'x', 1, 5), false), (said('a', 'x', 3, 9), true)]),
            (
                "twice by one, the later of which a person here has overruled",
                vec![(said('a', 'x', 1, 5), false), (overruled(said('a', 'x', 3, 9)), false)],
            ),
            (
                "by a stranger, who may be whoever was revoked",
                vec![(said('a', 'x', 5, 9), true), (said('Z', 'a', 1, 2), true)],
            ),
        ] {
            check(what, table, &[]);
        }
    }

    #[test]
    fn who_was_revoked_does_not_get_away_from_that_by_another_key() {
        let chain = [('x', 'y'), ('y', 'z')];
        for (what, table) in [
            (
                "what the next key says after the revocation",
                vec![(said('a', 'x', 5, 9), true), (said('z', 'b', 1, 7), false)],
            ),
            ("before it", vec![(said('a', 'x', 5, 9), true), (said('z', 'b', 1, 4), true)]),
            (
                "the next key is revoked, and the first has said it",
                vec![(said('a', 'y', 5, 9), true), (said('x', 'b', 1, 7), true)],
            ),
            // Either could make the other void if they were two.
            ("an answer by the next key", vec![(said('a', 'x', 5, 9), true), (said('y', 'a', 1, 7), true)]),
            ("an answer by the key before", vec![(said('a', 'z', 5, 9), true), (said('x', 'a', 1, 2), true)]),
            (
                "an answer by the next key to this machine",
                vec![(said('m', 'x', 5, 9), true), (said('z', 'm', 1, 9), false)],
            ),
        ] {
            check(what, table, &chain);
        }
    }

    #[test]
    fn keys_that_have_followed_each_other_are_shut_out_as_one_in_whichever_order_that_is_heard() {
        let successors = [('x', 'y'), ('y', 'z'), ('p', 'q'), ('q', 'p'), ('u', 'v'), ('w', 'v'), ('k', 'k')];
        let successors = Successors::new(successors);
        for (revoked, groups) in [
            ("x", vec!["xyz"]),
            ("y", vec!["yz"]),
            ("xz", vec!["xyz"]),
            ("xyz", vec!["xyz"]),
            ("xa", vec!["a", "xyz"]),
            ("p", vec!["pq"]),
            // Two of which one key is said to follow both.
            ("uw", vec!["uvw"]),
            ("u", vec!["uv"]),
            ("k", vec!["k"]),
            ("", vec![]),
        ] {
            let mut revoked: Vec<char> = revoked.chars().collect();
            let steps = revoked.len().min(1);
            for _ in 0..revoked.len().max(1) {
                revoked.rotate_left(steps);
                for order in [revoked.clone(), revoked.iter().rev().copied().collect()] {
                    let mut found: Vec<String> = shut_out_together(order.clone(), &successors)
                        .iter()
                        .map(|group| group.iter().collect())
                        .collect();
                    found.sort();
                    assert_eq!(found, groups, "{order:?}");
                }
            }
        }
    }

    /// What chance decides.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, most: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(self.0 >> 33).unwrap() % most
        }
    }

    /// The key by which everybody has made the stolen machine known, and the keys of an honest one: the second follows the first.
    const STOLEN: usize = 0;
    const HONEST: [usize; 2] = [1000, 1001];
    const MOST: usize = 4;

    /// Keys that a thief has made of the stolen one, at both ends, as pairs of a key and the one that follows it.
    fn forks(dice: &mut Dice) -> Vec<(usize, usize)> {
        let mut pairs = vec![(HONEST[0], HONEST[1])];
        for new in 1..=dice.below(30) {
            let has = if dice.below(2) == 0 { new - 1 } else { dice.below(new) };
            pairs.push(if dice.below(4) == 0 { (new, has) } else { (has, new) });
        }
        pairs
    }

    /// A way from the stolen key along those that follow it, and some that are said to have been before it.
    fn believed(dice: &mut Dice, pairs: &[(usize, usize)]) -> Vec<usize> {
        let mut chain = vec![STOLEN];
        for forwards in [true, false] {
            while dice.below(6) > 0 {
                let end = if forwards { chain[chain.len() - 1] } else { chain[0] };
                let ways: Vec<usize> = pairs
                    .iter()
                    .filter(|(old, new)| if forwards { *old == end } else { *new == end })
                    .map(|(old, new)| if forwards { *new } else { *old })
                    .filter(|key| !chain.contains(key))
                    .collect();
                if ways.is_empty() {
                    break;
                }
                let key = ways[dice.below(ways.len())];
                chain.insert(if forwards { chain.len() } else { 0 }, key);
            }
        }
        chain
    }

    #[test]
    fn a_revocation_by_name_covers_whichever_of_a_thief_s_keys_anybody_follows() {
        let mut longest = 0;
        for seed in 0..3000 {
            let mut dice = Dice(seed);
            let pairs = forks(&mut dice);
            // Who revokes it knows some of what is said, and so does who hears of that. Each believes what it knows.
            let knows = |dice: &mut Dice| {
                let some: Vec<_> = pairs.iter().copied().filter(|_| dice.below(3) > 0).collect();
                let chain = believed(dice, &some);
                (some, chain)
            };
            let (said, chain) = knows(&mut dice);
            let mut keys = keys_besides(STOLEN, &chain, &Successors::new(said.iter().copied()));
            keys.truncate(MOST);
            longest = longest.max(chain.len());
            assert!(!keys.contains(&STOLEN) && !keys.iter().any(|key| HONEST.contains(key)), "{seed}: {keys:?}");
            let distinct: BTreeSet<_> = keys.iter().collect();
            assert_eq!(distinct.len(), keys.len(), "{seed}: {keys:?}");

            let (own, followed) = knows(&mut dice);
            // It hears all that the other one has to say, or the revocation alone, and that in any order.
            let heard: Vec<_> = if dice.below(2) == 0 { own } else { own.into_iter().chain(said).collect() };
            let successors = Successors::new(heard);
            let revoke = |who| Revoked { who, by: 2000, heard: 9, ..said_by_number(who) };
            let mut all: Vec<_> = std::iter::once(STOLEN).chain(keys.iter().copied()).map(revoke).collect();
            let turn = dice.below(all.len());
            all.rotate_left(turn);
            assert!(which_revocations_count(&all, &successors).iter().all(|counts| *counts), "{seed}");
            let groups = shut_out_together(all.iter().map(|one| one.who), &successors);
            let is_out = |key: usize| groups.iter().any(|group| group.contains(&key));
            let present = followed[followed.len() - 1];
            assert!(is_out(STOLEN) && is_out(present), "{seed}: {present} is not in {groups:?} of {pairs:?}");
            // Who knows the machine by the key that it has where it was revoked needs to have heard of nothing else.
            assert!(is_out(chain[chain.len() - 1]), "{seed}");
            assert!(!HONEST.iter().any(|key| is_out(*key)), "{seed}: {groups:?}");
        }
        assert!(longest > MOST, "chains that test nothing: {longest}");
    }

    fn said_by_number(who: usize) -> Revoked<'static, usize> {
        let said = SaidOfReplica { at: 9, signed: "" };
        Revoked {
            who,
            by: 2000,
            since: 5,
            said,
            heard: 9,
            here: false,
            overruled: false,
            by_stranger: false,
            brought_by: None,
        }
    }

    #[test]
    fn what_a_thief_says_after_the_theft_shuts_nobody_out_once_that_is_heard_whatever_its_date() {
        const THEFT: u64 = 100;
        let (mut void, mut before) = (0, 0);
        for seed in 0..2000 {
            let mut dice = Dice(seed);
            // x is the thief, with two more keys; whoever revokes it isn't named by it.
            let successors = Successors::new([('x', 'y'), ('x', 'z')]);
            let time = |dice: &mut Dice| 1 + dice.below(200) as u64;
            let mut all = Vec::new();
            for by in ['x', 'y', 'z'] {
                for who in ['b', 'c', 'd'] {
                    if dice.below(2) == 0 {
                        continue;
                    }
                    let since = time(&mut dice);
                    let (at, came) = (time(&mut dice).max(since), THEFT + time(&mut dice));
                    all.push(Revoked { by_stranger: false, ..heard(came, said(by, who, since, at)) });
                }
            }
            // What the machine had said before, and what others say.
            if dice.below(2) == 0 {
                all.push(heard(20, said('x', 'e', 5, 10)));
            }
            for (by, who) in [('b', 'f'), ('c', 'f')] {
                if dice.below(2) == 0 {
                    all.push(said(by, who, 150, 150 + time(&mut dice)));
                }
            }
            let turn = dice.below(all.len() + 1);
            all.insert(turn, said('a', 'x', THEFT, 250));
            let counts = which_revocations_count(&all, &successors);
            for (one, counts) in all.iter().zip(counts) {
                let is_thief_s = one.heard >= THEFT && ['x', 'y', 'z'].contains(&one.by);
                assert_eq!(counts, !is_thief_s, "{seed}: {one:?} of {all:?}");
                void += usize::from(is_thief_s && one.said.at < THEFT);
                before += usize::from(one.heard < THEFT);
            }
        }
        assert!(void > 100 && before > 100, "histories that test nothing: {void} {before}");
    }
}
