//! Entries: one message in one folder, and how two states of it merge.

use std::cmp::Ordering;
use std::fmt;

use super::{Digest, Flag, FlagRegisters, FlagSet, FolderName, Knowledge, Stamp};

/// An entry's name, the same on every replica: the message, the folder in which it was first seen, and the lowest
/// ordinal that no living entry of that message and folder had then. Two replicas that find the same message in the
/// same folder by themselves give it the same id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    /// The message.
    pub digest: Digest,
    /// The folder in which it was first seen.
    pub birth: FolderName,
    /// Which of several copies.
    pub ordinal: u32,
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.digest, self.ordinal, self.birth)
    }
}

/// A file's modification time, which mail programs take for the delivery date: nanoseconds since 1970 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mtime(pub i64);

impl Mtime {
    /// Makes a time of whole seconds and nanoseconds within the second. A time outside the years 1677 to 2262 becomes
    /// the nearer end of that range.
    pub fn new(seconds: i64, nanoseconds: u32) -> Self {
        Self(seconds.saturating_mul(1_000_000_000).saturating_add(i64::from(nanoseconds)))
    }

    /// Whole seconds since 1970 UTC, rounded down.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000_000)
    }

    /// Nanoseconds within the second.
    pub fn subsec_nanos(self) -> u32 {
        u32::try_from(self.0.rem_euclid(1_000_000_000)).expect("less than a billion")
    }
}

/// The removal of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Removal {
    /// The stamp of the location that the remover had seen.
    pub seen: Stamp,
    /// The stamp of the removal.
    pub stamp: Stamp,
}

/// How a message came into a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The first scan of a replica found it. Others may have the same old message, so its flags unite with theirs.
    Init,
    /// It was delivered, copied or restored. The flags of an earlier life of the entry don't count.
    Delivery,
}

/// An entry's replicated state: a join-semilattice under [`Entry::merge`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The folder, and when the entry came there: a last-writer-wins register.
    pub location: (Stamp, FolderName),
    /// The greatest stamp of a delivery under this id. A replica whose knowledge doesn't cover it needs the contents.
    pub born: Stamp,
    /// The same, but not raised by [`Origin::Init`]: a flag register older than this doesn't count.
    pub floor: Stamp,
    /// The greatest removal. It counts while it has seen the present location.
    pub removal: Option<Removal>,
    /// One register for each flag.
    pub flags: FlagRegisters,
    /// The message's size in bytes, which its digest determines.
    pub size: u64,
    /// The delivery date, written by the delivery at `born`.
    pub mtime: Mtime,
}

impl Entry {
    /// Makes the entry of a message that came into `folder` with these flags. `past` is the entry of an earlier life
    /// with the same id, if there was one: its flags that are not set any more are cleared. Whatever that past says,
    /// the entry is alive, in `folder`, with exactly these flags.
    pub fn delivered(
        past: Option<&Self>,
        origin: Origin,
        stamp: Stamp,
        folder: FolderName,
        flags: &FlagSet,
        size: u64,
        mtime: Mtime,
    ) -> Self {
        let mut registers = FlagRegisters::default();
        for (flag, ..) in past.iter().flat_map(|past| past.flags.iter()) {
            registers.write(flag.clone(), stamp, false);
        }
        for flag in flags {
            registers.set(flag.clone(), stamp, true);
        }
        let floor = match origin {
            Origin::Init => Stamp::ZERO,
            Origin::Delivery => stamp,
        };
        let new = Self { location: (stamp, folder), born: stamp, floor, removal: None, flags: registers, size, mtime };
        match past {
            // Whoever delivers it has read the message: what was said of its size counts for nothing.
            Some(past) if past.is_before(stamp) => Self { size, ..past.merge(&new) },
            // A stamp is above all that is known when it is issued. A past that says to be later, such as a removal
            // that has seen the end of clocks, can't be true, and would keep the message from ever living again.
            _ => new,
        }
    }

    /// Whether everything that is known of the entry, what its remover had seen included, came before this stamp.
    fn is_before(&self, stamp: Stamp) -> bool {
        self.stamps().chain(self.removal.map(|removal| removal.seen)).all(|earlier| earlier < stamp)
    }

    /// Delivers a living entry once more where it is: with the same folder, flags and date, and a stamp above all that
    /// is known about it. So its state no longer depends on anything earlier, whether some replica remembers that or
    /// not.
    pub fn deliver_anew(&mut self, stamp: Stamp) {
        let flags = self.flags_on().cloned().collect();
        let folder = self.location.1.clone();
        *self = Self::delivered(Some(self), Origin::Delivery, stamp, folder, &flags, self.size, self.mtime);
    }

    /// Whether the message lies in its folder: nobody removed it, or only somebody who had not seen its present
    /// location.
    pub fn alive(&self) -> bool {
        self.removal.is_none_or(|removal| removal.seen < self.location.0)
    }

    /// Sets or clears a flag.
    pub fn set_flag(&mut self, stamp: Stamp, flag: Flag, on: bool) {
        self.flags.set(flag, stamp, on);
    }

    /// Moves the entry to another folder.
    pub fn move_to(&mut self, stamp: Stamp, folder: FolderName) {
        self.location = (stamp, folder);
    }

    /// Removes the entry from where it is now.
    pub fn remove(&mut self, stamp: Stamp) {
        self.removal = self.removal.max(Some(Removal { seen: self.location.0, stamp }));
    }

    /// This entry after a removal of which only its effect is known: the entry is gone for a replica that knew of its
    /// present location. The removal gets the location's own stamp. Whoever removed the entry did so later, so a
    /// removal that somebody still remembers is greater than this one.
    #[must_use]
    pub fn removed_by_somebody(mut self) -> Self {
        self.remove(self.location.0);
        self
    }

    /// The flags that are on.
    pub fn flags_on(&self) -> impl Iterator<Item = &Flag> {
        self.flags.on(self.floor)
    }

    /// The least upper bound of two states: commutative, associative and idempotent.
    #[must_use]
    pub fn merge(&self, other: &Self) -> Self {
        let mut flags = self.flags.clone();
        for (flag, stamp, on) in other.flags.iter() {
            flags.write(flag.clone(), *stamp, *on);
        }
        // The date belongs to the delivery at `born`. A date without a stamp of its own, such as the earliest one,
        // would stay unknown to replicas that cover `born`. It would also differ between replicas that have forgotten
        // an earlier life of the entry and replicas that have not.
        let mtime = match self.born.cmp(&other.born) {
            Ordering::Less => other.mtime,
            Ordering::Equal => self.mtime.min(other.mtime),
            Ordering::Greater => self.mtime,
        };
        Self {
            location: self.location.clone().max(other.location.clone()),
            born: self.born.max(other.born),
            floor: self.floor.max(other.floor),
            removal: self.removal.max(other.removal),
            flags,
            size: self.size.max(other.size),
            mtime,
        }
    }

    /// The stamps of all registers, [`Stamp::ZERO`] and repetitions among them. The location stamp that a remover had
    /// seen is not one of them: it is somebody else's change.
    pub fn stamps(&self) -> impl Iterator<Item = Stamp> + '_ {
        [self.location.0, self.born, self.floor]
            .into_iter()
            .chain(self.removal.map(|removal| removal.stamp))
            .chain(self.flags.iter().map(|&(_, stamp, _)| stamp))
    }

    /// Whether `knowledge` includes all that is known of the entry.
    pub fn covered_by(&self, knowledge: &Knowledge) -> bool {
        self.stamps().all(|stamp| knowledge.covers(stamp))
    }

    /// Replaces every stamp, including the one that a remover had seen. A replica that was rolled back does so, since
    /// it may have issued the same stamps twice. The new stamps are above all others, those of others in this entry
    /// included; so what follows from their order is seen to here: an entry that was alive stays alive, one that was
    /// dead stays dead, and the location is never before the birth, nor the birth before the floor.
    pub fn restamp(&mut self, anew: impl Fn(Stamp) -> Stamp) {
        let alive = self.alive();
        for stamp in [&mut self.location.0, &mut self.born, &mut self.floor].into_iter().chain(self.flags.stamps_mut())
        {
            *stamp = anew(*stamp);
        }
        if let Some(removal) = &mut self.removal {
            *removal = Removal { seen: anew(removal.seen), stamp: anew(removal.stamp) };
        }
        self.born = self.born.max(self.floor);
        self.location.0 = self.location.0.max(self.born);
        if alive {
            // Whoever has that removal loses nothing by it: it has not seen where the entry is now.
            let location = self.location.0;
            self.removal = self.removal.filter(|removal| removal.seen < location);
        } else if let Some(removal) = &mut self.removal {
            removal.seen = self.location.0;
        }
    }

    /// The form of a living entry that the state digest adds up: fields with a NUL between them, which no field can
    /// hold. It doesn't tell how keywords are spelled.
    pub fn canonical(&self, id: &EntryId) -> Vec<u8> {
        use std::io::Write as _;
        let mut form = Vec::with_capacity(160);
        write!(form, "entry\0{}\0{}\0{}\0{}\0", id.digest, id.birth, id.ordinal, self.location.1)
            .expect("a vector takes every byte");
        for (i, flag) in self.flags_on().enumerate() {
            let separator = if i > 0 { " " } else { "" };
            write!(form, "{separator}{}", flag.canonical()).expect("a vector takes every byte");
        }
        // A delivery has one date. Somebody who tells two replicas two of them is found out.
        write!(form, "\0{}", self.mtime.0).expect("a vector takes every byte");
        form
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Clock, Incarnation};
    use super::*;

    fn at(clock: u64, incarnation: u64) -> Stamp {
        Stamp { clock: Clock::from_bits(clock).unwrap(), incarnation: Incarnation(incarnation) }
    }

    fn delivered(stamp: Stamp) -> Entry {
        Entry::delivered(None, Origin::Delivery, stamp, FolderName::inbox(), &FlagSet::new(), 1, Mtime(1))
    }

    /// Replica 1 gives its stamp 5 anew, as 90.
    fn restamped(entry: &Entry) -> Entry {
        let mut entry = entry.clone();
        entry.restamp(|stamp| if stamp == at(5, 1) { at(90, 3) } else { stamp });
        entry
    }

    #[test]
    fn whoever_stamps_anew_neither_removes_nor_revives_what_others_have_changed_since() {
        let sent: FolderName = "Sent".parse().unwrap();
        let born_here = delivered(at(5, 1));
        let mut moved = born_here.clone();
        moved.move_to(at(7, 2), sent.clone());
        let mut removed = moved.clone();
        removed.remove(at(8, 2));
        // Somebody has removed it from where it was, and somebody else has moved it.
        let mut survived = born_here.clone();
        survived.remove(at(6, 4));
        survived = survived.merge(&moved);
        assert!(survived.alive() && !removed.alive());
        for (what, entry) in [("born", &born_here), ("moved", &moved), ("removed", &removed), ("survived", &survived)] {
            let anew = restamped(entry);
            assert_eq!((anew.alive(), &anew.location.1), (entry.alive(), &entry.location.1), "{what}");
            assert!(anew.floor <= anew.born && anew.born <= anew.location.0, "{what}: {anew:?}");
            assert!(anew.removal.is_none_or(|removal| removal.seen <= anew.location.0), "{what}: {anew:?}");
            assert!(anew.stamps().all(|stamp| stamp != at(5, 1)), "{what}: {anew:?}");
        }
        // Who remembers the removal doesn't bring it about.
        assert!(restamped(&survived).merge(&survived).alive());
    }

    /// Registers of up to 300 flags: more than an entry has.
    fn entries() -> impl Strategy<Value = Entry> {
        proptest::collection::vec((0..300_u32, 1..40_u64, 0..3_u64, any::<bool>()), 0..300).prop_map(|written| {
            let mut entry = delivered(at(1, 1));
            for (flag, clock, incarnation, on) in written {
                entry.set_flag(at(clock, incarnation), Flag::keyword(&flag.to_string()).unwrap(), on);
            }
            entry
        })
    }

    proptest! {
        #[test]
        fn of_too_many_flags_the_same_stay_whichever_way_they_came_together(
            a in entries(), b in entries(), c in entries(),
        ) {
            prop_assert_eq!(a.merge(&b), b.merge(&a));
            prop_assert_eq!(a.merge(&a), a.clone());
            let all = a.merge(&b).merge(&c);
            prop_assert_eq!(&all, &a.merge(&b.merge(&c)));
            prop_assert_eq!(&all.merge(&b), &all);
            prop_assert!(all.flags.iter().len() <= FlagRegisters::MOST);
        }
    }

    /// A past of any stamps, up to the last one that there is, whether they can be true or not.
    fn pasts() -> impl Strategy<Value = Entry> {
        let stamp = || {
            let clock = prop_oneof![0..60_u64, Just(Clock::LAST.bits()), Just(Clock::MAX.bits())];
            (clock, 0..3_u64).prop_map(|(clock, incarnation)| at(clock, incarnation))
        };
        let flags = proptest::collection::vec((prop_oneof![Just("F"), Just("S")], stamp(), any::<bool>()), 0..4);
        let removal = proptest::option::of((stamp(), stamp()));
        (stamp(), stamp(), stamp(), removal, flags).prop_map(|(location, born, floor, removal, flags)| {
            let mut past = delivered(at(1, 1));
            (past.location.0, past.born, past.floor) = (location, born, floor);
            past.removal = removal.map(|(seen, stamp)| Removal { seen, stamp });
            for (flag, stamp, on) in flags {
                past.set_flag(stamp, flag.parse().unwrap(), on);
            }
            past
        })
    }

    proptest! {
        #[test]
        fn what_is_delivered_lives_where_it_is_delivered_whatever_its_past_says(past in pasts(), clock in 1..60_u64, seen in any::<bool>()) {
            let flags: FlagSet = seen.then(|| "S".parse().unwrap()).into_iter().collect();
            let folder: FolderName = "Sent".parse().unwrap();
            let entry = Entry::delivered(Some(&past), Origin::Delivery, at(clock, 9), folder.clone(), &flags, 7, Mtime(5));
            prop_assert!(entry.alive(), "{entry:?}");
            prop_assert_eq!(&entry.location.1, &folder);
            prop_assert_eq!(entry.flags_on().cloned().collect::<FlagSet>(), flags);
            prop_assert_eq!((entry.size, entry.born), (7, at(clock, 9)));
        }
    }

    #[test]
    fn the_flags_that_were_written_last_stay() {
        let mut entry = delivered(at(1, 1));
        let flag = |n: u64| Flag::keyword(&n.to_string()).unwrap();
        let most = FlagRegisters::MOST as u64;
        for n in (0..most + 44).rev() {
            entry.set_flag(at(n + 2, 1), flag(n), true);
        }
        assert_eq!(entry.flags.iter().len(), FlagRegisters::MOST);
        assert!((44..most + 44).all(|n| entry.flags_on().any(|on| *on == flag(n))));
    }
}
