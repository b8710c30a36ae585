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
    /// Whether a person has said so on this very machine.
    pub here: bool,
    /// Whether a person has said on this machine that it is not so.
    pub overruled: bool,
    /// Whether the replica that says so is neither this one nor a peer. Whoever was revoked can make as many of such as it
    /// likes.
    pub by_stranger: bool,
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
    /// Of each maker the places of those that cover it and stand.
    covering: BTreeMap<I, Vec<usize>>,
}

impl<'a, 'b, I: Copy + Ord> Weighed<'a, 'b, I> {
    fn new(all: &'a [Revoked<'b, I>], stands: impl Fn(&Revoked<'_, I>) -> bool, successors: &Successors<I>) -> Self {
        let covered: BTreeMap<_, _> =
            all.iter().flat_map(|one| [one.who, one.by]).map(|key| (key, successors.from(key))).collect();
        let mut covering: BTreeMap<I, Vec<usize>> = all.iter().map(|one| (one.by, Vec::new())).collect();
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
        self.covering[&other.by].iter().copied().filter(move |&first| self.makes_void(&self.all[first], other))
    }

    /// Whether the first one, which covers the maker of the other one, makes that worth nothing if it counts: its maker was
    /// not to be trusted any more when it made it. What a replica says of one that has revoked it is no answer to that: of two that revoke each other nobody but
    /// a person can tell which is right. Nor is it one if the same hands say it with another key, or with one that nobody knows.
    fn makes_void(&self, first: &Revoked<'_, I>, other: &Revoked<'_, I>) -> bool {
        let is_answer = || self.has(&other.who, &first.by) || self.has(&first.by, &other.who);
        !other.here && first.since <= other.said.at && (first.here || !is_answer())
    }
}

/// Says of each revocation whether it counts. What was said on this machine does, until it is overruled there; what a
/// replica has said after it was revoked itself doesn't. Of what one replica says of another one the last counts. Of several that
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
        Revoked { who, by, since, said, here: by == 'm', overruled: false, by_stranger }
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
}
