//! Which messages are known to have no entry, in the transaction that is open: whoever asks again need not look.

use crate::model::Digest;

/// How many bits there are, as a power of two: memory doesn't depend on the number of messages. Up to some ten million
/// of them most are told apart.
const BITS: u32 = 25;

/// What is known of messages without an entry. Outside of a transaction nothing is: somebody else may add one at any time.
#[derive(Debug, Default)]
pub(super) struct WithoutEntry {
    /// One that was looked for in vain, and has got none since.
    last: Option<Digest>,
    /// Those that have got one, if there were none at all when the transaction began.
    seen: Option<Seen>,
}

impl WithoutEntry {
    /// No message has one.
    pub(super) fn all(&mut self) {
        self.seen = Some(Seen::none());
    }

    /// Takes note of a message that was looked for in vain.
    pub(super) fn note(&mut self, digest: &Digest) {
        self.last = Some(*digest);
    }

    /// Takes note of a message that has got one.
    pub(super) fn added(&mut self, digest: &Digest) {
        self.last = None;
        if let Some(seen) = &mut self.seen {
            seen.add(digest);
        }
    }

    /// Whether this message is known to have none.
    pub(super) fn has(&self, digest: &Digest) -> bool {
        self.last == Some(*digest) || self.seen.as_ref().is_some_and(|seen| !seen.may_have(digest))
    }
}

/// The messages that have been added, in a filter of one size (Bloom, "Space/time trade-offs in hash coding with allowable
/// errors", 1970): of one that wasn't added it mostly says so, and of one that was it never does. Digests are random numbers
/// already. Whoever makes some that aren't gets them looked up.
#[derive(Debug)]
struct Seen(Vec<u64>);

impl Seen {
    /// None have been added.
    fn none() -> Self {
        // Memory that is zero is given page by page, as it is written to.
        Self(vec![0; 1 << (BITS - u64::BITS.trailing_zeros())])
    }

    /// Takes note of a message that is added.
    fn add(&mut self, digest: &Digest) {
        for (word, bit) in Self::places(digest) {
            self.0[word] |= bit;
        }
    }

    /// Whether a message may have been added. If not, it was not.
    fn may_have(&self, digest: &Digest) -> bool {
        Self::places(digest).iter().all(|&(word, bit)| self.0[word] & bit != 0)
    }

    /// Two words of the filter, and a bit in each.
    fn places(digest: &Digest) -> [(usize, u64); 2] {
        [0, 4].map(|at| {
            let bytes = digest.0[at..at + 4].try_into().expect("four bytes are four");
            let place = u32::from_le_bytes(bytes) >> (u32::BITS - BITS);
            ((place / u64::BITS) as usize, 1 << (place % u64::BITS))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_may_be_there_and_most_of_the_rest_is_not() {
        let digest = |n: u32| Digest::of(&n.to_le_bytes());
        let mut seen = Seen::none();
        assert!(!(0..1000).any(|n| seen.may_have(&digest(n))));
        (0..20_000).for_each(|n| seen.add(&digest(n)));
        assert!((0..20_000).all(|n| seen.may_have(&digest(n))));
        let wrong = (20_000..40_000).filter(|&n| seen.may_have(&digest(n))).count();
        assert!(wrong < 20, "{wrong} of 20,000 seem to be there");
    }
}
