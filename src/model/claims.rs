//! What a bundle may say: the claims that can be true, whoever receives it. A reader refuses what breaks one of these
//! rules, and a writer doesn't write it.
//!
//! Nothing here needs to know the receiving replica. What only that one can judge (its own clock, what it knows) is
//! decided where a bundle is received.

use super::{Clock, Entry, FolderState, Head, Incarnation, Knowledge, MOST_ISSUED, PassesOver, Stamp};

/// A claim that can't be true, in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untrue {
    /// A full bundle starts from nothing.
    #[error("it is full, and has a base")]
    FullWithBase,
    /// Whoever can apply a bundle knows its tip afterwards, and the base is what must be known before.
    #[error("its base knows more than its tip, of incarnation {0}")]
    BaseBeyondTip(Incarnation),
    /// Nobody forgets what he has never known.
    #[error("its horizon has forgotten more than its tip knows, of incarnation {0}")]
    HorizonBeyondTip(Incarnation),
    /// A clock that no machine will have.
    #[error("the clock {0} lies beyond the last one, in the year 3084")]
    BeyondLast(Clock),
    /// No stamp that was issued has the zero clock, and knowing nothing of an incarnation is said by leaving it out.
    #[error("{0} has the zero clock")]
    Zero(&'static str),
    /// `issued` lists what came after the base, in order.
    #[error("\"issued\" is not in ascending order")]
    IssuedUnsorted,
    /// More clocks than a bundle lists.
    #[error("\"issued\" has more than {MOST_ISSUED} clocks")]
    IssuedTooMany,
    /// A clock in `issued` that the base covers, or that the tip doesn't.
    #[error("\"issued\" has the clock {0}, which is not between its base and its tip")]
    IssuedOutside(Clock),
    /// A sender knows of its own incarnation what it has issued, and no more.
    #[error("its tip knows of its sender's incarnation what \"issued\" doesn't end with")]
    IssuedIsNotTip,
    /// The sender says something that it doesn't know of.
    #[error("{what} has the stamp {stamp}, which is not covered by what is known beside it")]
    NotCovered {
        /// Which register.
        what: &'static str,
        /// Its stamp.
        stamp: Stamp,
    },
    /// A remover has seen a location that the entry has or had.
    #[error("a removal has seen {seen}, which is after the entry's location {location}")]
    SeenBeyondLocation {
        /// What the remover says to have seen.
        seen: Stamp,
        /// Since when the entry is where it is.
        location: Stamp,
    },
    /// A delivery puts a message somewhere.
    #[error("an entry is born at {born}, which is after its location {location}")]
    BornBeyondLocation {
        /// When it was delivered.
        born: Stamp,
        /// Since when it is where it is.
        location: Stamp,
    },
    /// A floor is the stamp of a delivery.
    #[error("an entry's floor {floor} is above its birth {born}")]
    FloorBeyondBorn {
        /// From when on its flags count.
        floor: Stamp,
        /// When it was delivered.
        born: Stamp,
    },
}

/// What the stamps in one bundle can be, by its head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    tip: Knowledge,
}

impl Claims {
    /// Checks what a head says, and gives what the rest of its bundle is checked with.
    ///
    /// # Errors
    /// It says something that can't be true.
    pub fn of(head: &Head) -> Result<Self, Untrue> {
        for (knowledge, what) in [
            (&head.base, "its base"),
            (&head.tip, "its tip"),
            (&head.horizon, "its horizon"),
            (&head.left_out, "what it leaves out"),
        ] {
            knows(knowledge, what)?;
        }
        if head.full && !head.base.is_empty() {
            return Err(Untrue::FullWithBase);
        }
        if let Some((incarnation, _)) = head.tip.missing(&head.base).next() {
            return Err(Untrue::BaseBeyondTip(incarnation));
        }
        if let Some((incarnation, _)) = head.tip.missing(&head.horizon).next() {
            return Err(Untrue::HorizonBeyondTip(incarnation));
        }
        check_issued(head)?;
        Ok(Self { tip: head.tip.clone() })
    }

    /// What can be said by a replica of this knowledge, in which every clock is one that can be.
    pub(super) fn within(knowledge: &Knowledge) -> Self {
        Self { tip: knowledge.clone() }
    }

    /// Checks what a bundle's sender says to pass over.
    ///
    /// # Errors
    /// It says something that can't be true.
    pub fn passes_over(passes: &PassesOver) -> Result<(), Untrue> {
        let what = "what its sender passes over";
        [&passes.after, &passes.until].into_iter().try_for_each(|knowledge| knows(knowledge, what))
    }

    /// Checks what is said of a folder.
    pub fn folder(&self, state: FolderState) -> Result<(), Untrue> {
        self.stamp(state.stamp, "a folder")
    }

    /// Checks what is said of an entry.
    pub fn entry(&self, entry: &Entry) -> Result<(), Untrue> {
        let (location, born, floor) = (entry.location.0, entry.born, entry.floor);
        self.stamp(location, "an entry's location")?;
        self.stamp(born, "an entry's birth")?;
        if floor != Stamp::ZERO {
            self.stamp(floor, "an entry's floor")?;
        }
        for (_, stamp, _) in entry.flags.iter() {
            self.stamp(*stamp, "a flag")?;
        }
        if let Some(removal) = entry.removal {
            self.stamp(removal.stamp, "a removal")?;
            self.stamp(removal.seen, "what a removal has seen")?;
            if removal.seen > location {
                return Err(Untrue::SeenBeyondLocation { seen: removal.seen, location });
            }
        }
        if born > location {
            return Err(Untrue::BornBeyondLocation { born, location });
        }
        if floor > born {
            return Err(Untrue::FloorBeyondBorn { floor, born });
        }
        Ok(())
    }

    /// Checks the stamp beside a statement about a job.
    pub fn statement(&self, stamp: Stamp) -> Result<(), Untrue> {
        self.stamp(stamp, "a statement about a job")
    }

    /// Checks the stamp beside a statement about a replica.
    pub fn of_replica(&self, stamp: Stamp) -> Result<(), Untrue> {
        self.stamp(stamp, "a statement about a replica")
    }

    fn stamp(&self, stamp: Stamp, what: &'static str) -> Result<(), Untrue> {
        can_be(stamp.clock, what)?;
        if self.tip.covers(stamp) { Ok(()) } else { Err(Untrue::NotCovered { what, stamp }) }
    }
}

fn knows(knowledge: &Knowledge, what: &'static str) -> Result<(), Untrue> {
    knowledge.iter().try_for_each(|(_, clock)| can_be(clock, what))
}

fn can_be(clock: Clock, what: &'static str) -> Result<(), Untrue> {
    if clock == Clock::ZERO {
        return Err(Untrue::Zero(what));
    }
    if clock > Clock::LAST { Err(Untrue::BeyondLast(clock)) } else { Ok(()) }
}

fn check_issued(head: &Head) -> Result<(), Untrue> {
    let (base, tip) = (head.base.get(head.incarnation), head.tip.get(head.incarnation));
    if head.issued.len() > MOST_ISSUED {
        return Err(Untrue::IssuedTooMany);
    }
    if !head.issued.is_sorted_by(|a, b| a < b) {
        return Err(Untrue::IssuedUnsorted);
    }
    if let Some(&outside) = head.issued.iter().find(|&&clock| clock <= base || clock > tip) {
        return Err(Untrue::IssuedOutside(outside));
    }
    let last = head.issued.last().copied().unwrap_or(base);
    if last == tip { Ok(()) } else { Err(Untrue::IssuedIsNotTip) }
}

#[cfg(test)]
mod tests {
    use super::super::{Flag, Mtime, Origin, Removal};
    use super::*;

    const ME: Incarnation = Incarnation(1);
    const OTHER: Incarnation = Incarnation(2);

    fn at(clock: u64, incarnation: Incarnation) -> Stamp {
        Stamp { clock: Clock::from_bits(clock).unwrap(), incarnation }
    }

    fn clocks(clocks: &[u64]) -> Vec<Clock> {
        clocks.iter().map(|&clock| Clock::from_bits(clock).unwrap()).collect()
    }

    /// An honest head: of its own incarnation the clocks up to 9, of the other one those up to 5.
    fn head() -> Head {
        Head {
            incarnation: ME,
            number: 1,
            full: false,
            base: [(ME, at(4, ME).clock), (OTHER, at(5, OTHER).clock)].into_iter().collect(),
            tip: [(ME, at(9, ME).clock), (OTHER, at(5, OTHER).clock)].into_iter().collect(),
            horizon: [(OTHER, at(3, OTHER).clock)].into_iter().collect(),
            issued: clocks(&[6, 9]),
            left_out: Knowledge::new(),
        }
    }

    type HeadLie = (fn(&mut Head), Untrue);

    #[test]
    fn a_head_that_can_not_be_true_is_told_by_its_rule() {
        let beyond = Clock::from_bits(Clock::LAST.bits() + 1).unwrap();
        let lies: [HeadLie; 14] = [
            (|h| h.full = true, Untrue::FullWithBase),
            (|h| h.base.set(OTHER, Clock::from_bits(6).unwrap()), Untrue::BaseBeyondTip(OTHER)),
            (|h| h.base.set(Incarnation(3), Clock::FIRST), Untrue::BaseBeyondTip(Incarnation(3))),
            (|h| h.horizon.set(OTHER, Clock::from_bits(6).unwrap()), Untrue::HorizonBeyondTip(OTHER)),
            (|h| h.tip.set(OTHER, Clock::from_bits(Clock::LAST.bits() + 1).unwrap()), Untrue::BeyondLast(beyond)),
            (|h| h.left_out.set(OTHER, Clock::from_bits(Clock::LAST.bits() + 1).unwrap()), Untrue::BeyondLast(beyond)),
            (|h| h.issued = clocks(&[9, 6]), Untrue::IssuedUnsorted),
            (|h| h.issued = clocks(&[6, 6, 9]), Untrue::IssuedUnsorted),
            (|h| h.issued = clocks(&[4, 9]), Untrue::IssuedOutside(at(4, ME).clock)),
            (|h| h.issued = clocks(&[0, 9]), Untrue::IssuedOutside(Clock::ZERO)),
            (|h| h.issued = clocks(&[9, 10]), Untrue::IssuedOutside(at(10, ME).clock)),
            (|h| h.issued = clocks(&[6]), Untrue::IssuedIsNotTip),
            (|h| h.issued = Vec::new(), Untrue::IssuedIsNotTip),
            (|h| h.issued = (5..=65_541).map(|n| Clock::from_bits(n).unwrap()).collect(), Untrue::IssuedTooMany),
        ];
        assert!(Claims::of(&head()).is_ok());
        for (lie, untrue) in lies {
            let mut head = head();
            lie(&mut head);
            assert_eq!(Claims::of(&head), Err(untrue));
        }
        let mut nothing_issued = head();
        nothing_issued.base = nothing_issued.tip.clone();
        nothing_issued.issued.clear();
        assert!(Claims::of(&nothing_issued).is_ok());
    }

    #[test]
    fn what_is_passed_over_has_clocks_that_can_be() {
        let beyond = Clock::from_bits(Clock::LAST.bits() + 1).unwrap();
        let of = |clock| [(OTHER, clock)].into_iter().collect::<Knowledge>();
        for (after, until, claimed) in [
            (Clock::FIRST, Clock::LAST, Ok(())),
            (Clock::LAST, beyond, Err(Untrue::BeyondLast(beyond))),
            (beyond, Clock::LAST, Err(Untrue::BeyondLast(beyond))),
        ] {
            assert_eq!(Claims::passes_over(&PassesOver { after: of(after), until: of(until) }), claimed);
        }
    }

    type Lie<'l> = (&'l dyn Fn(&mut Entry), Untrue);

    #[test]
    fn an_entry_that_can_not_be_true_is_told_by_its_rule() {
        let claims = Claims::of(&head()).unwrap();
        let honest = || {
            let flags = ["S".parse().unwrap()].into();
            let mut entry =
                Entry::delivered(None, Origin::Delivery, at(3, OTHER), "INBOX".parse().unwrap(), &flags, 1, Mtime(1));
            entry.move_to(at(6, ME), "Sent".parse().unwrap());
            entry.remove(at(9, ME));
            entry
        };
        let seen = |seen| Some(Removal { seen, stamp: at(9, ME) });
        let uncovered = |what| Untrue::NotCovered { what, stamp: at(6, OTHER) };
        let (nine, six) = (at(9, ME), at(6, ME));
        let lies: [Lie<'_>; 14] = [
            (&|e| e.location.0 = at(6, OTHER), uncovered("an entry's location")),
            (&|e| e.born = at(6, OTHER), uncovered("an entry's birth")),
            (&|e| e.floor = at(6, OTHER), uncovered("an entry's floor")),
            (&|e| e.set_flag(at(6, OTHER), Flag::Recent, true), uncovered("a flag")),
            (&|e| e.removal = Some(Removal { seen: six, stamp: at(6, OTHER) }), uncovered("a removal")),
            (&|e| e.removal = seen(at(6, OTHER)), uncovered("what a removal has seen")),
            (&|e| e.location.0 = Stamp::ZERO, Untrue::Zero("an entry's location")),
            (&|e| e.born = Stamp::ZERO, Untrue::Zero("an entry's birth")),
            (&|e| e.set_flag(at(0, ME), Flag::Recent, true), Untrue::Zero("a flag")),
            (&|e| e.removal = seen(Stamp::ZERO), Untrue::Zero("what a removal has seen")),
            (&|e| e.floor = at(0, ME), Untrue::Zero("an entry's floor")),
            (&|e| e.removal = seen(nine), Untrue::SeenBeyondLocation { seen: nine, location: six }),
            (&|e| e.born = nine, Untrue::BornBeyondLocation { born: nine, location: six }),
            (&|e| e.floor = six, Untrue::FloorBeyondBorn { floor: six, born: at(3, OTHER) }),
        ];
        assert_eq!(claims.entry(&honest()), Ok(()));
        for (lie, untrue) in lies {
            let mut entry = honest();
            lie(&mut entry);
            assert_eq!(claims.entry(&entry), Err(untrue));
        }
        let found = Entry { floor: Stamp::ZERO, ..honest() };
        assert_eq!(claims.entry(&found), Ok(()), "found by the first scan");
        let gone = Entry { removal: None, ..honest() }.removed_by_somebody();
        assert_eq!(gone.removal, seen(six).map(|removal| Removal { stamp: six, ..removal }));
        assert_eq!(claims.entry(&gone), Ok(()), "removed by somebody who has forgotten it");
    }

    #[test]
    fn a_folder_and_a_statement_have_a_stamp_that_the_tip_covers() {
        let claims = Claims::of(&head()).unwrap();
        let beyond = Clock::from_bits(Clock::LAST.bits() + 1).unwrap();
        for (stamp, can_be) in [
            (at(9, ME), true),
            (at(5, OTHER), true),
            (at(10, ME), false),
            (at(1, Incarnation(3)), false),
            (Stamp::ZERO, false),
            (at(0, ME), false),
            (Stamp { clock: beyond, incarnation: ME }, false),
        ] {
            assert_eq!(claims.folder(FolderState { stamp, present: true }).is_ok(), can_be, "{stamp}");
            assert_eq!(claims.statement(stamp).is_ok(), can_be, "{stamp}");
            assert_eq!(claims.of_replica(stamp).is_ok(), can_be, "{stamp}");
        }
    }
}
