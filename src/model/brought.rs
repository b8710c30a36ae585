//! Incarnations that a replica which was revoked has made known, and that nobody else answers for: what it had done under another
//! name, by copies of itself or by machines that it has invited.

use std::collections::BTreeSet;

use super::Incarnation;

/// How an incarnation became known. `I` names replicas by their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brought<I> {
    /// The incarnation.
    pub incarnation: Incarnation,
    /// The replica whose bundle has told of it first.
    pub by: I,
    /// When that was, by this machine's clock: milliseconds since 1970 UTC. Its maker can't date that.
    pub at: u64,
    /// The replicas whose own bundles have shown it as theirs.
    pub shown_by: Vec<I>,
    /// Whether there is anything here that it has changed.
    pub has_changed: bool,
}

impl<I: Ord> Brought<I> {
    /// Whether it counts as one of the replica with these keys, which is revoked as of this time (milliseconds since 1970 UTC). What
    /// that has told before was the word of somebody honest. And a bundle of the incarnation's own, from somebody else, tells whose it
    /// is: so nobody has the incarnations of others counted as its own by telling of them first, but for as long as
    /// nothing came from these.
    pub fn counts_as_of(&self, keys: &BTreeSet<I>, since: u64) -> bool {
        keys.contains(&self.by) && self.at >= since && self.shown_by.iter().all(|by| keys.contains(by))
    }
}

/// The incarnations that a revocation names, ascending, at most `most`: first the replica's `own`, which are given in the order in
/// which they matter; then those that it has brought: those that have changed anything here come before the
/// others, of which it can make up as many as it likes, and the later ones before the earlier ones.
pub fn named_by_revocation<I>(own: Vec<Incarnation>, mut brought: Vec<Brought<I>>, most: usize) -> Vec<Incarnation> {
    brought.sort_by_key(|one| (!one.has_changed, std::cmp::Reverse(one.at), one.incarnation));
    let mut named = BTreeSet::new();
    for incarnation in own.into_iter().chain(brought.into_iter().map(|one| one.incarnation)) {
        if named.len() == most {
            break;
        }
        named.insert(incarnation);
    }
    named.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAPTOP: u8 = 1;
    const SECOND_KEY: u8 = 2;
    const DESKTOP: u8 = 3;
    const THEFT: u64 = 50;

    fn brought(incarnation: u64, by: u8, at: u64, shown_by: &[u8]) -> Brought<u8> {
        Brought { incarnation: Incarnation(incarnation), by, at, shown_by: shown_by.to_vec(), has_changed: true }
    }

    #[test]
    fn what_only_the_revoked_one_has_told_of_since_the_theft_counts_as_its_own() {
        let keys = BTreeSet::from([LAPTOP, SECOND_KEY]);
        for (what, one, counts) in [
            ("a copy of it, or a machine that it has invited", brought(7, LAPTOP, THEFT, &[]), true),
            ("later, by another key", brought(7, SECOND_KEY, THEFT + 9, &[]), true),
            ("shown as its own, too", brought(7, LAPTOP, THEFT, &[SECOND_KEY]), true),
            ("told before the theft", brought(7, LAPTOP, THEFT - 1, &[]), false),
            ("heard from somebody else first", brought(7, DESKTOP, THEFT, &[]), false),
            ("shown by somebody else as theirs", brought(7, LAPTOP, THEFT, &[DESKTOP]), false),
            ("shown by both", brought(7, LAPTOP, THEFT, &[LAPTOP, DESKTOP]), false),
        ] {
            assert_eq!(one.counts_as_of(&keys, THEFT), counts, "{what}");
        }
    }

    #[test]
    fn a_revocation_names_the_machine_s_own_first_then_what_has_changed_anything_then_what_is_new() {
        let idle = |incarnation, at| Brought { has_changed: false, ..brought(incarnation, LAPTOP, at, &[]) };
        let all = || {
            let brought = vec![idle(5, 99), brought(6, LAPTOP, 60, &[]), idle(7, 90), brought(8, LAPTOP, 70, &[])];
            (vec![Incarnation(9), Incarnation(3), Incarnation(8)], brought)
        };
        for (most, named) in [
            (0, &[][..]),
            (1, &[9]),
            (2, &[3, 9]),
            (3, &[3, 8, 9]),
            (4, &[3, 6, 8, 9]),
            (5, &[3, 5, 6, 8, 9]),
            (64, &[3, 5, 6, 7, 8, 9]),
        ] {
            let (own, brought) = all();
            let expected: Vec<_> = named.iter().copied().map(Incarnation).collect();
            assert_eq!(named_by_revocation(own, brought, most), expected, "at most {most}");
        }
    }
}
