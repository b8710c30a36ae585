//! What is said about replicas: which of several statements counts, and which are kept at all.

use super::Ruling;

/// A statement about a replica, reduced to what decides which of two by the same maker counts: when it was said and, if
/// that is equal, the signed text. The greatest counts, so all replicas agree in the end, even if statements come late,
/// twice or in another order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SaidOfReplica<'a> {
    /// When it was said, by its maker's clock: milliseconds since 1970 UTC.
    pub at: u64,
    /// The signed text.
    pub signed: &'a str,
}

impl SaidOfReplica<'_> {
    /// Decides about this statement, which has just come, against the one that has counted until now.
    pub fn against(&self, known: Option<&SaidOfReplica<'_>>) -> Ruling {
        match known {
            Some(known) if known == self => Ruling::Same,
            Some(known) if known > self => Ruling::Known,
            _ => Ruling::New,
        }
    }
}

/// A statement about a replica that is not kept yet, as seen from a replica that hears it from a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewsOfReplica {
    /// Whether its maker is known here.
    pub maker_known: bool,
    /// Whether the replica that it is about is known here.
    pub about_known: bool,
    /// Whether it says which key follows another one. That may matter once somebody becomes known by one of the two.
    pub is_succession: bool,
    /// How many statements of that kind are kept of this maker by whichever of its keys, if it is known; else of all that
    /// aren't.
    pub of_maker: u64,
    /// How many are kept altogether.
    pub all: u64,
}

/// What becomes of a statement about a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is kept, and passed on.
    Yes,
    /// It is about strangers, by a stranger.
    Strangers,
    /// There are too many of its maker, or altogether.
    TooMany,
}

impl NewsOfReplica {
    /// How many revocations are kept of one maker, or of all that aren't known here together; and how many successions.
    pub const MOST_OF_ONE: u64 = 64;

    /// Decides whether it is kept. `most` statements are kept at most.
    pub fn is_kept(self, most: u64) -> Kept {
        if !self.maker_known && !self.about_known && !self.is_succession {
            Kept::Strangers
        } else if self.of_maker >= Self::MOST_OF_ONE || self.all >= most {
            Kept::TooMany
        } else {
            Kept::Yes
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_statements_by_one_maker_the_later_counts_whichever_comes_first() {
        let said = |at, signed| SaidOfReplica { at, signed };
        for (known, new, ruling) in [
            (None, said(1, "a"), Ruling::New),
            (Some(said(1, "a")), said(1, "a"), Ruling::Same),
            (Some(said(1, "a")), said(2, "a"), Ruling::New),
            (Some(said(2, "a")), said(1, "b"), Ruling::Known),
            (Some(said(1, "a")), said(1, "b"), Ruling::New),
            (Some(said(1, "b")), said(1, "a"), Ruling::Known),
        ] {
            assert_eq!(new.against(known.as_ref()), ruling, "{known:?} {new:?}");
        }
    }

    #[test]
    fn what_is_kept_is_about_or_by_somebody_known_and_bounded() {
        const MOST: u64 = 1000;
        let most_of_one = NewsOfReplica::MOST_OF_ONE;
        for (maker_known, about_known, is_succession, of_maker, all, kept) in [
            (true, true, false, 0, 0, Kept::Yes),
            (true, false, false, 0, 0, Kept::Yes),
            (false, true, false, 0, 0, Kept::Yes),
            (false, false, false, 0, 0, Kept::Strangers),
            (false, false, true, 0, 0, Kept::Yes),
            (false, false, true, most_of_one, 0, Kept::TooMany),
            (true, true, false, most_of_one - 1, MOST - 1, Kept::Yes),
            (true, true, false, most_of_one, MOST - 1, Kept::TooMany),
            (true, true, false, 0, MOST, Kept::TooMany),
        ] {
            let news = NewsOfReplica { maker_known, about_known, is_succession, of_maker, all };
            assert_eq!(news.is_kept(MOST), kept, "{news:?}");
        }
    }
}
