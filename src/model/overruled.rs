//! What of two sides' changes of one message could not hold, since both were made without knowing of the other.

use std::collections::BTreeMap;

use super::{Entry, Flag, FolderName, Happened, Happening, Knowledge, Rule, Stamp};

/// One side of a merge: an entry as it is there, and the changes of which the other side knew nothing.
struct Side<'e> {
    entry: &'e Entry,
    known_to_other: &'e Knowledge,
}

impl Side<'_> {
    fn is_unheard(&self, stamp: Stamp) -> bool {
        !self.known_to_other.covers(stamp)
    }

    /// When it was removed without the other side's knowing.
    fn unheard_removal(&self) -> Option<Stamp> {
        let removal = self.entry.removal.filter(|_| !self.entry.alive());
        removal.map(|removal| removal.stamp).filter(|stamp| self.is_unheard(*stamp))
    }

    /// Where it was moved, or came, and when, without the other side's knowing.
    fn unheard_move(&self) -> Option<(Stamp, &FolderName)> {
        let (stamp, folder) = &self.entry.location;
        (self.entry.alive() && self.is_unheard(*stamp)).then_some((*stamp, folder))
    }

    /// The flags that were set or cleared without the other side's knowing, and that count from this stamp on.
    fn unheard_flags(&self, floor: Stamp) -> impl Iterator<Item = &(Flag, Stamp, bool)> {
        self.entry.flags.iter().filter(move |(_, stamp, _)| *stamp >= floor && self.is_unheard(*stamp))
    }
}

/// The parts of changes with one stamp that are overruled. If it is none of these, it is a removal.
struct Lost {
    rule: Rule,
    to: Option<FolderName>,
    flags: Vec<(Flag, bool)>,
}

/// What is overruled, by the stamps of the changes.
#[derive(Default)]
struct AllLost(BTreeMap<Stamp, Lost>);

impl AllLost {
    /// What a change with this stamp loses by a rule. If it loses more by another one, the first of the two is told.
    fn by(&mut self, stamp: Stamp, rule: Rule) -> &mut Lost {
        let lost = self.0.entry(stamp).or_insert_with(|| Lost { rule, to: None, flags: Vec::new() });
        lost.rule = lost.rule.min(rule);
        lost
    }
}

/// Why of two changes of the same the one with this stamp gives way to the other.
fn later(lost: Stamp, holds: Stamp) -> Rule {
    if lost.clock == holds.clock { Rule::SameTime } else { Rule::Later }
}

/// What is overruled when `theirs` is merged into `mine`: what either side has changed that the other, whose knowledge is
/// given (`here` and `there`), had not seen, and has changed otherwise. Each has the [`Rule`] by which it gives way. The
/// oldest comes first, with its stamp.
pub fn overruled(mine: &Entry, theirs: &Entry, here: &Knowledge, there: &Knowledge) -> Vec<Happening> {
    let merged = mine.merge(theirs);
    let mine = Side { entry: mine, known_to_other: there };
    let theirs = Side { entry: theirs, known_to_other: here };
    let mut lost = AllLost::default();
    if merged.alive() {
        both_alive(&mine, &theirs, &merged, &mut lost);
    } else if mine.entry.alive() || theirs.entry.alive() {
        // Who has removed it had moved it since, and knew nothing of this move.
        let moves = [&mine, &theirs].into_iter().filter_map(Side::unheard_move);
        for (stamp, to) in moves.filter(|(stamp, _)| *stamp < merged.location.0) {
            lost.by(stamp, Rule::Removed).to = Some(to.clone());
        }
    }
    if !merged.alive() {
        flags_of_the_removed(&mine, &theirs, &merged, &mut lost);
    }
    let told = lost.0.into_iter().map(|(stamp, Lost { rule, to, flags })| Happening {
        stamp: Some(stamp),
        what: Happened::Overruled { rule, folder: merged.location.1.clone(), to, flags },
    });
    told.collect()
}

/// The flags that are lost to a removal which had not seen them, each told once by whoever has both of them from then on.
///
/// Who has removed it knew all that came here with the removal: what comes later was not seen by it. Where the removal comes, the
/// flags are those that its sender lacks; the sender may have heard of them since the removal, but who removes it has a later
/// stamp than all that it has seen.
fn flags_of_the_removed(mine: &Side<'_>, theirs: &Side<'_>, merged: &Entry, lost: &mut AllLost) {
    let removed = merged.removal.and_then(|removal| removal.author());
    let was_unseen = |stamp: Stamp| removed.is_some_and(|removed| removed < stamp);
    let is_here = mine.entry.alive();
    // Who removes it by itself means what it has set before.
    let is_theirs_lost = !is_here && (theirs.entry.alive() || theirs.entry.removal == mine.entry.removal);
    let of_mine = flags_set_later(mine.entry, merged.floor)
        .filter(|(_, stamp, _)| is_here && (mine.is_unheard(*stamp) || was_unseen(*stamp)));
    let of_theirs = flags_set_later(theirs.entry, merged.floor)
        .filter(|(_, stamp, _)| theirs.is_unheard(*stamp) && (is_theirs_lost || was_unseen(*stamp)));
    for (flag, stamp, on) in of_mine.chain(of_theirs) {
        let flags = &mut lost.by(*stamp, Rule::Removed).flags;
        if !flags.iter().any(|(told, _)| told == flag) {
            flags.push((flag.clone(), *on));
        }
    }
}

/// The flags that somebody misses of a message that was removed: those that were set or cleared after it came. That it was read
/// is none of them.
fn flags_set_later(entry: &Entry, floor: Stamp) -> impl Iterator<Item = &(Flag, Stamp, bool)> {
    let is_missed = |flag: &Flag| !matches!(flag, Flag::Recent | Flag::Info(b'S'));
    let from = floor.max(entry.born);
    entry.flags.iter().filter(move |(flag, stamp, _)| *stamp > from && is_missed(flag))
}

/// The same of a message that lives after the merge.
fn both_alive(mine: &Side<'_>, theirs: &Side<'_>, merged: &Entry, lost: &mut AllLost) {
    let floor = merged.floor;
    // Somebody has removed it who had not seen where it is. What was removed here is told when it comes back: the others may
    // know of the removal by then. Who delivers it anew has seen it, and means that.
    let mine_removed = mine.entry.removal.filter(|_| !mine.entry.alive() && mine.entry.born == theirs.entry.born);
    let theirs_removed = theirs.unheard_removal().filter(|_| mine.entry.alive());
    for stamp in mine_removed.map(|removal| removal.stamp).into_iter().chain(theirs_removed) {
        let is_new = merged.location.0 == merged.born;
        lost.by(stamp, if is_new { Rule::Delivered } else { Rule::Moved });
    }
    if let (Some(one), Some(other)) = (mine.unheard_move(), theirs.unheard_move())
        && one.1 != other.1
    {
        let ((stamp, to), (holds, _)) = (one.min(other), one.max(other));
        lost.by(stamp, later(stamp, holds)).to = Some(to.clone());
    }
    for (flag, at, on) in mine.unheard_flags(floor) {
        let other = theirs.unheard_flags(floor).find(|(other, ..)| other == flag);
        let Some((_, other_at, other_on)) = other.filter(|(.., other)| other != on) else { continue };
        let (one, other) = ((*at, *on), (*other_at, *other_on));
        let ((stamp, on), (holds, _)) = (one.min(other), one.max(other));
        lost.by(stamp, later(stamp, holds)).flags.push((flag.clone(), on));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Clock, Incarnation, Mtime, Origin};
    use super::*;

    const HERE: u64 = 1;
    const THERE: u64 = 2;

    fn at(clock: u64, incarnation: u64) -> Stamp {
        Stamp { clock: Clock::from_bits(clock).unwrap(), incarnation: Incarnation(incarnation) }
    }

    fn flag(name: &str) -> Flag {
        name.parse().unwrap()
    }

    fn folder(name: &str) -> FolderName {
        name.parse().unwrap()
    }

    type Change = &'static dyn Fn(&mut Entry);

    /// What is overruled when each side has changed a message since they last met: when, and what.
    fn told(mine: &[Change], theirs: &[Change]) -> Vec<String> {
        let met: Knowledge =
            [(Incarnation(HERE), at(10, HERE).clock), (Incarnation(THERE), at(10, THERE).clock)].into_iter().collect();
        let changed = |changes: &[Change]| {
            let flags = [flag("S")].into();
            let mut entry = Entry::delivered(None, Origin::Delivery, at(5, HERE), folder("INBOX"), &flags, 7, Mtime(5));
            for change in changes {
                change(&mut entry);
            }
            entry
        };
        let (mine, theirs) = (changed(mine), changed(theirs));
        let known = |incarnation| {
            let mut known = met.clone();
            known.set(Incarnation(incarnation), at(100, incarnation).clock);
            known
        };
        let here = overruled(&mine, &theirs, &known(HERE), &known(THERE));
        let text = |happening: &Happening| {
            let Happened::Overruled { rule, folder, to, flags } = &happening.what else { unreachable!() };
            let flags = flags.iter().map(|(flag, on)| format!(" {}{flag}", if *on { '+' } else { '-' }));
            let to = to.as_ref().map_or(String::new(), |to| format!(" to {to}"));
            let stamp = happening.stamp.unwrap();
            let (at, by, rule) = (stamp.clock.bits(), stamp.incarnation.0, rule.name());
            format!("{at} by {by} in {folder}:{to}{} ({rule})", flags.collect::<String>())
        };
        here.iter().map(text).collect()
    }

    #[test]
    fn what_both_sides_have_changed_otherwise_is_told_and_nothing_else() {
        let to_work: Change = &|entry| entry.move_to(at(20, HERE), folder("Work"));
        let to_spam: Change = &|entry| entry.move_to(at(30, THERE), folder("Spam"));
        let to_spam_first: Change = &|entry| entry.move_to(at(15, THERE), folder("Spam"));
        let also_to_work: Change = &|entry| entry.move_to(at(30, THERE), folder("Work"));
        let star: Change = &|entry| entry.set_flag(at(20, HERE), flag("F"), true);
        let star_and_back: Change = &|entry| entry.set_flag(at(30, THERE), flag("F"), false);
        let also_star: Change = &|entry| entry.set_flag(at(30, THERE), flag("F"), true);
        let answered: Change = &|entry| entry.set_flag(at(30, THERE), flag("R"), true);
        let also_read: Change = &|entry| entry.set_flag(at(30, THERE), flag("S"), false);
        let unread: Change = &|entry| entry.set_flag(at(20, HERE), flag("S"), false);
        let gone: Change = &|entry| entry.remove(at(30, THERE));
        let gone_here: Change = &|entry| entry.remove(at(20, HERE));
        let to_spam_at_once: Change = &|entry| entry.move_to(at(20, THERE), folder("Spam"));
        let unstar_at_once: Change = &|entry| entry.set_flag(at(20, THERE), flag("F"), false);
        // They have moved it before they removed it.
        let gone_from_spam: Change = &|entry| entry.remove(at(40, THERE));
        let anew: Change = &|entry| entry.deliver_anew(at(20, HERE));
        // Known to both: they have met since.
        let long_ago: Change = &|entry| entry.move_to(at(8, THERE), folder("Old"));
        for (mine, theirs, expected) in [
            (&[][..], &[][..], &[][..]),
            (&[to_work], &[], &[]),
            (&[], &[to_spam], &[]),
            (&[to_work], &[to_spam], &["20 by 1 in Spam: to Work (later)"]),
            (&[to_work], &[to_spam_first], &["15 by 2 in Work: to Spam (later)"]),
            (&[to_work], &[to_spam_at_once], &["20 by 1 in Spam: to Work (same-time)"]),
            (&[to_work], &[to_spam, gone_from_spam], &["20 by 1 in Spam: to Work (removed)"]),
            (&[to_spam, gone_from_spam], &[], &[]),
            (&[to_work], &[also_to_work], &[]),
            (&[to_work], &[long_ago], &[]),
            (&[to_work], &[answered], &[]),
            (&[star], &[star_and_back], &["20 by 1 in INBOX: +F (later)"]),
            (&[star], &[unstar_at_once], &["20 by 1 in INBOX: +F (same-time)"]),
            (&[star], &[also_star], &[]),
            (&[star], &[answered], &[]),
            (&[star, to_work], &[star_and_back, to_spam], &["20 by 1 in Spam: to Work +F (later)"]),
            (&[star], &[gone], &["20 by 1 in INBOX: +F (removed)"]),
            (&[unread], &[gone], &[]),
            (&[to_work], &[gone], &["30 by 2 in Work: (moved)"]),
            (&[anew], &[gone], &["30 by 2 in INBOX: (delivered)"]),
            (&[gone_here], &[to_spam], &["20 by 1 in Spam: (moved)"]),
            (&[gone_here], &[gone], &[]),
            (&[gone_here], &[answered], &["30 by 2 in INBOX: +R (removed)"]),
            (&[gone_here], &[answered, gone], &[]),
            (&[gone_here], &[also_read], &[]),
        ] {
            assert_eq!(told(mine, theirs), expected);
        }
    }

    #[test]
    fn a_move_that_is_lost_to_a_removal_is_told_where_it_was_removed_too() {
        let to_work: Change = &|entry| entry.move_to(at(15, THERE), folder("Work"));
        let to_spam: Change = &|entry| entry.move_to(at(20, HERE), folder("Spam"));
        let gone: Change = &|entry| entry.remove(at(40, HERE));
        assert_eq!(told(&[to_spam, gone], &[to_work]), ["15 by 2 in Spam: to Work (removed)"]);
    }

    #[test]
    fn what_was_removed_here_is_told_when_a_move_brings_it_back_and_not_when_a_delivery_does() {
        let mut gone =
            Entry::delivered(None, Origin::Delivery, at(5, HERE), folder("INBOX"), &[flag("S")].into(), 7, Mtime(5));
        let mut moved = gone.clone();
        moved.move_to(at(30, THERE), folder("Work"));
        gone.remove(at(20, HERE));
        // They have heard of the removal, which doesn't count there.
        let theirs = moved.merge(&gone);
        let all: Knowledge =
            [(Incarnation(HERE), at(90, HERE).clock), (Incarnation(THERE), at(90, THERE).clock)].into_iter().collect();
        let known_here: Knowledge = [(Incarnation(HERE), at(90, HERE).clock)].into_iter().collect();
        let told = overruled(&gone, &theirs, &known_here, &all);
        let what = Happened::Overruled { rule: Rule::Moved, folder: folder("Work"), to: None, flags: Vec::new() };
        assert_eq!(told, [Happening { stamp: Some(at(20, HERE)), what }]);
        let mut anew = gone.merge(&moved);
        anew.deliver_anew(at(40, THERE));
        assert_eq!(overruled(&gone, &anew, &known_here, &all), []);
    }

    /// A machine in a meeting of three: its entry, what it knows, and which changes it has told not to hold.
    #[derive(Clone)]
    struct Machine {
        entry: Entry,
        knowledge: Knowledge,
        told: Vec<Stamp>,
    }

    impl Machine {
        /// Changes the entry with a stamp that is above all that is known here, `after` some time.
        fn change(&mut self, me: usize, after: u64, change: impl Fn(&mut Entry, Stamp)) -> Stamp {
            let newest = self.knowledge.iter().map(|(_, clock)| clock.bits()).max().unwrap();
            let stamp = at(newest + 1 + after, me as u64);
            change(&mut self.entry, stamp);
            self.knowledge.set(stamp.incarnation, stamp.clock);
            stamp
        }

        fn import(&mut self, from: &Self) {
            let lost = overruled(&self.entry, &from.entry, &self.knowledge, &from.knowledge);
            self.told.extend(lost.iter().map(|happening| happening.stamp.unwrap()));
            self.entry = self.entry.merge(&from.entry);
            self.knowledge.join(&from.knowledge);
        }
    }

    proptest! {
        #[test]
        fn a_flag_that_is_lost_to_a_removal_is_told_once_whoever_hears_first_and_none_that_was_seen(
            flagged_after in 0..50_u64, removed_after in 0..50_u64, flag_first in any::<bool>(),
            before in proptest::collection::vec((0..3_usize, 0..3_usize), 0..3),
            meetings in proptest::collection::vec((0..3_usize, 0..3_usize), 0..8),
        ) {
            let entry = Entry::delivered(None, Origin::Delivery, at(5, 2), folder("INBOX"), &[].into(), 7, Mtime(5));
            let knowledge: Knowledge = [(Incarnation(2), at(5, 2).clock)].into_iter().collect();
            let mut all = vec![Machine { entry, knowledge, told: Vec::new() }; 3];
            let meet = |all: &mut Vec<Machine>, meetings: &[(usize, usize)]| {
                for (from, to) in meetings {
                    let from = all[*from].clone();
                    all[*to].import(&from);
                }
            };
            let flag = |all: &mut Vec<Machine>| {
                all[0].entry.alive().then(|| all[0].change(0, flagged_after, |entry, stamp| entry.set_flag(stamp, flag("F"), true)))
            };
            let remove = |all: &mut Vec<Machine>| all[1].change(1, removed_after, Entry::remove);
            let (flagged, was_seen, removed);
            if flag_first {
                flagged = flag(&mut all);
                meet(&mut all, &before);
                was_seen = all[1].knowledge.covers(flagged.unwrap());
                removed = remove(&mut all);
            } else {
                removed = remove(&mut all);
                meet(&mut all, &before);
                (flagged, was_seen) = (flag(&mut all), false);
            }
            let in_the_end = [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)];
            meet(&mut all, &meetings);
            meet(&mut all, &in_the_end);
            prop_assert!(all.iter().all(|machine| !machine.entry.alive()));
            let Some(flagged) = flagged.filter(|_| !was_seen) else {
                prop_assert!(all.iter().all(|machine| machine.told.is_empty()));
                return Ok(());
            };
            // Who has removed it always hears of the flag later. The others can tell by the stamps.
            for (who, machine) in all.iter().enumerate() {
                prop_assert!(machine.told.iter().all(|told| *told == flagged) && machine.told.len() <= 1, "{who}");
                prop_assert!(!machine.told.is_empty() || (who != 1 && flagged < removed), "{who}");
            }
        }
    }
}
