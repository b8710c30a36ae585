//! What a bundle tells of a message to whom knows the bundle's base, for people. Where a message was before it was moved is
//! not among that: a bundle says where things are.

use super::{Entry, Flag, FolderName, Knowledge};

/// What a bundle tells of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewsKind {
    /// It came: the bundle brings its contents.
    Arrived,
    /// It was moved; its flags may have changed, too.
    Moved,
    /// Only its flags have changed.
    Flagged,
    /// It was removed.
    Removed,
}

impl NewsKind {
    /// The letter for it in a list, as for what becomes of a message here.
    pub fn sign(self) -> char {
        match self {
            Self::Arrived => 'A',
            Self::Moved => 'R',
            Self::Flagged => 'M',
            Self::Removed => 'D',
        }
    }
}

/// What a bundle tells of an entry, with the folder where it is or was last, and the flags that it sets or clears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// What became of it.
    pub kind: NewsKind,
    /// The folder where it is, or was last.
    pub folder: FolderName,
    /// What was set (`true`) or cleared, of an entry that didn't just come.
    pub flags: Vec<(Flag, bool)>,
}

impl News {
    /// What an entry's record tells to whom knows this base. `None` if nobody can see the difference.
    pub fn of(entry: &Entry, base: &Knowledge) -> Option<Self> {
        let (moved, folder) = &entry.location;
        let news = |kind, flags| Some(Self { kind, folder: folder.clone(), flags });
        if !entry.alive() {
            return news(NewsKind::Removed, Vec::new());
        }
        if !base.covers(entry.born) {
            return news(NewsKind::Arrived, Vec::new());
        }
        let counts = |stamp| stamp >= entry.floor && !base.covers(stamp);
        let written = entry.flags.iter().filter(|(_, stamp, _)| counts(*stamp));
        let flags: Vec<(Flag, bool)> = written.map(|(flag, _, on)| (flag.clone(), *on)).collect();
        if !base.covers(*moved) {
            return news(NewsKind::Moved, flags);
        }
        if flags.is_empty() { None } else { news(NewsKind::Flagged, flags) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Clock, FlagSet, Incarnation, Mtime, Origin, Stamp};
    use super::*;

    fn at(clock: u64) -> Stamp {
        Stamp { clock: Clock::from_bits(clock).unwrap(), incarnation: Incarnation(7) }
    }

    fn flag(name: &str) -> Flag {
        name.parse().unwrap()
    }

    #[test]
    fn a_record_tells_what_the_base_does_not_know() {
        let inbox: FolderName = "INBOX".parse().unwrap();
        let base: Knowledge = [(Incarnation(7), at(10).clock)].into_iter().collect();
        let entry = |stamp| {
            let flags: FlagSet = [flag("S")].into();
            Entry::delivered(None, Origin::Delivery, stamp, inbox.clone(), &flags, 3, Mtime(5))
        };
        let changed = |mut entry: Entry, change: &dyn Fn(&mut Entry)| {
            change(&mut entry);
            entry
        };
        let told = |entry: Entry| {
            News::of(&entry, &base).map(|news| {
                let flags = news.flags.iter().map(|(flag, on)| format!("{}{flag}", if *on { '+' } else { '-' }));
                format!("{} {} {}", news.kind.sign(), news.folder, flags.collect::<Vec<_>>().join(" "))
            })
        };
        let work = || "Work".parse::<FolderName>().unwrap();
        for (entry, expected) in [
            (entry(at(5)), None),
            (entry(at(11)), Some("A INBOX ")),
            (changed(entry(at(5)), &|entry| entry.move_to(at(11), work())), Some("R Work ")),
            (changed(entry(at(5)), &|entry| entry.move_to(at(9), work())), None),
            (changed(entry(at(5)), &|entry| entry.set_flag(at(12), flag("F"), true)), Some("M INBOX +F")),
            (changed(entry(at(5)), &|entry| entry.set_flag(at(12), flag("S"), false)), Some("M INBOX -S")),
            (changed(entry(at(5)), &|entry| entry.remove(at(11))), Some("D INBOX ")),
            (changed(entry(at(11)), &|entry| entry.remove(at(12))), Some("D INBOX ")),
            (changed(entry(at(11)), &|entry| entry.set_flag(at(12), flag("F"), true)), Some("A INBOX ")),
            (
                changed(entry(at(5)), &|entry| {
                    entry.move_to(at(11), work());
                    entry.set_flag(at(12), flag("S"), false);
                }),
                Some("R Work -S"),
            ),
            // A removal that a move has overruled shows nowhere.
            (
                changed(entry(at(5)), &|entry| {
                    entry.move_to(at(9), work());
                    entry.removal = Some(super::super::Removal { seen: at(5), stamp: at(11) });
                }),
                None,
            ),
            // A flag from before the last delivery doesn't count.
            (changed(entry(at(5)), &|entry| entry.floor = at(5)), None),
        ] {
            assert_eq!(told(entry.clone()).as_deref(), expected, "{entry:?}");
        }
    }
}
