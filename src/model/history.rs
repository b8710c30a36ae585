//! What a change of its registers means for an entry, and how somebody's changes are taken back.
//!
//! A history keeps what a change made visible, and whose stamp it bears. What somebody did is taken back register by
//! register, from the newest change backwards, as far as these changes are theirs and fit together.

use std::collections::BTreeMap;

use super::{Entry, Flag, FlagSet, FolderName, Removal, Stamp};

/// What became of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
    /// It came into this folder: it is new, or it lives again.
    Arrived(FolderName),
    /// It is in this folder, and came from the other one if it was moved; these flags were set or cleared.
    Changed {
        /// The folder where it is after that.
        folder: FolderName,
        /// The folder where it was before, if it was moved.
        from: Option<FolderName>,
        /// What was set (`true`) or cleared.
        flags: Vec<(Flag, bool)>,
    },
    /// It was removed from this folder.
    Removed(FolderName),
    /// A change doesn't hold, since somebody else had made another one without knowing of it: this move, these changes of
    /// flags, or, if it is neither, this removal.
    Overruled {
        /// The rule by which it gave way.
        rule: Rule,
        /// The folder where it is, or was last.
        folder: FolderName,
        /// The folder to which it was moved.
        to: Option<FolderName>,
        /// What was set (`true`) or cleared.
        flags: Vec<(Flag, bool)>,
    },
}

/// A rule by which of two changes that were made without knowing of each other one gives way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// The other one of the same folder or flag was made later.
    Later,
    /// The other one of the same folder or flag was made at the same time: which of them counts is the same everywhere.
    SameTime,
    /// The message was moved, and a removal that had not seen that doesn't count.
    Moved,
    /// The message was delivered anew, and a removal that had not seen that doesn't count.
    Delivered,
    /// The message was removed from where it was last.
    Removed,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Later, Self::SameTime, Self::Moved, Self::Delivered, Self::Removed];

    /// How it is called where programs read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Later => "later",
            Self::SameTime => "same-time",
            Self::Moved => "moved",
            Self::Delivered => "delivered",
            Self::Removed => "removed",
        }
    }

    /// What the rule says, for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Later => "a later change of the same counts",
            Self::SameTime => "of two changes at the same time one counts everywhere",
            Self::Moved => "a move counts more than a removal that had not seen it",
            Self::Delivered => "what was delivered anew is not removed by who had not seen that",
            Self::Removed => "a removal counts more than flags, and than a move that came before the one it had seen",
        }
    }
}

impl Happened {
    /// The letter for it in a list: `A` it came, `D` it was removed, `R` it is in another folder (its flags may have changed,
    /// too), `M` its flags have changed, `C` a change of it doesn't hold beside another one.
    pub fn sign(&self) -> char {
        match self {
            Self::Arrived(_) => 'A',
            Self::Removed(_) => 'D',
            Self::Changed { from: Some(_), .. } => 'R',
            Self::Changed { from: None, .. } => 'M',
            Self::Overruled { .. } => 'C',
        }
    }
}

/// What became of an entry by one change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// The stamp of the change. `None` if it isn't known: of a removal that everybody has forgotten, only the effect is.
    pub stamp: Option<Stamp>,
    /// What the change did.
    pub what: Happened,
}

impl Removal {
    /// The removal's stamp, unless it is a removal of which only its effect is known
    /// ([`Entry::removed_by_somebody`]): whoever removes an entry has a later stamp than the location that they have
    /// seen.
    pub fn author(&self) -> Option<Stamp> {
        (self.stamp > self.seen).then_some(self.stamp)
    }
}

/// What it means that an entry's state `before` is replaced by the one `after`; without the one it was unknown, without
/// the other it is forgotten. A change that nobody can see means nothing. Several changes that arrive together are told
/// apart by their stamps, the oldest first.
pub fn happenings(before: Option<&Entry>, after: Option<&Entry>) -> Vec<Happening> {
    let (was, is) = (before.filter(|entry| entry.alive()), after.filter(|entry| entry.alive()));
    match (was, is) {
        (None, None) => Vec::new(),
        (None, Some(is)) => {
            // It lives again as it was delivered, or as somebody moved it who had not seen the removal.
            let delivered = before.is_none_or(|before| before.born != is.born);
            let stamp = Some(if delivered { is.born } else { is.location.0 });
            vec![Happening { stamp, what: Happened::Arrived(is.location.1.clone()) }]
        }
        (Some(was), None) => {
            let stamp = after.and_then(|after| after.removal).and_then(|removal| removal.author());
            vec![Happening { stamp, what: Happened::Removed(was.location.1.clone()) }]
        }
        (Some(was), Some(is)) => changes(was, is),
    }
}

/// What it means that the contents of a living entry come, which was known without them: it comes as it was delivered.
pub fn arrival(entry: &Entry) -> Happening {
    Happening { stamp: Some(entry.born), what: Happened::Arrived(entry.location.1.clone()) }
}

/// The visible part of a change: the folder where the entry was before, and flags.
#[derive(Default)]
struct Visible {
    from: Option<FolderName>,
    flags: Vec<(Flag, bool)>,
}

/// The visible changes of a living entry.
fn changes(was: &Entry, is: &Entry) -> Vec<Happening> {
    let mut changes: BTreeMap<Stamp, Visible> = BTreeMap::new();
    if was.location.1 != is.location.1 {
        changes.entry(is.location.0).or_default().from = Some(was.location.1.clone());
    }
    let (flags_before, flags_after): (FlagSet, FlagSet) =
        (was.flags_on().cloned().collect(), is.flags_on().cloned().collect());
    for flag in flags_before.symmetric_difference(&flags_after) {
        // A flag may also be off by a delivery after it was set.
        let stamp = register_of(is, flag).map_or(is.floor, |(stamp, _)| stamp.max(is.floor));
        changes.entry(stamp).or_default().flags.push((flag.clone(), flags_after.contains(flag)));
    }
    let mut folder = was.location.1.clone();
    let told = changes.into_iter().map(|(stamp, Visible { from, flags })| {
        if from.is_some() {
            folder = is.location.1.clone();
        }
        Happening { stamp: Some(stamp), what: Happened::Changed { folder: folder.clone(), from, flags } }
    });
    told.collect()
}

fn register_of(entry: &Entry, flag: &Flag) -> Option<(Stamp, bool)> {
    entry.flags.iter().find(|(other, ..)| other == flag).map(|(_, stamp, on)| (*stamp, *on))
}

/// A change of an entry that a history has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastChange {
    /// Its stamp.
    pub stamp: Stamp,
    /// From where to where it moved the entry.
    pub moved: Option<(FolderName, FolderName)>,
    /// The flags that it set (`true`) or cleared.
    pub flags: Vec<(Flag, bool)>,
    /// Whether it took something back, which is never taken back itself.
    pub took_back: bool,
}

/// What can be taken back of an entry's changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TakenBack {
    /// The folder into which it goes back.
    pub folder: Option<FolderName>,
    /// The flags that become on (`true`) or off again.
    pub flags: Vec<(Flag, bool)>,
    /// What isn't taken back, since that register was written later, with this stamp; or `None` if it is not known
    /// what came between.
    pub left: Vec<(Register, Option<Stamp>)>,
}

/// A part of an entry that a change writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Register {
    /// The folder.
    Location,
    /// A flag.
    Flag(Flag),
}

/// One change of one register.
struct Step<V> {
    stamp: Stamp,
    before: V,
    after: V,
    is_theirs: bool,
}

/// What becomes of one register.
enum Unwound<V> {
    /// It stays as it is: nobody of them has written it, or that is taken back already.
    AsItIs,
    /// It becomes this again.
    Back(V),
    /// It was written by somebody else since.
    Left(Option<Stamp>),
}

/// How far the changes go back that are theirs, from a value on, and what was there before them.
fn before_theirs<V: PartialEq + Clone>(value: &V, steps: &[Step<V>]) -> V {
    let mut value = value.clone();
    for step in steps {
        if !step.is_theirs || step.after != value {
            break;
        }
        value = step.before.clone();
    }
    value
}

/// Decides about one register, which has this value now and was written with this stamp, by its changes, the newest
/// first. Whether that stamp is theirs matters where they have written the same value again, which no history tells.
fn unwind<V: PartialEq + Clone>(
    value: &V,
    written: Option<Stamp>,
    steps: &[Step<V>],
    is_theirs: &impl Fn(Stamp) -> bool,
) -> Unwound<V> {
    let Some(newest_of_theirs) = steps.iter().position(|step| step.is_theirs) else { return Unwound::AsItIs };
    let back = before_theirs(&steps[newest_of_theirs].after, &steps[newest_of_theirs..]);
    if back == *value {
        return Unwound::AsItIs;
    }
    let newest = &steps[0];
    if newest_of_theirs > 0 {
        return Unwound::Left(Some(newest.stamp));
    }
    let is_of_them = written.is_some_and(|written| written == newest.stamp || is_theirs(written));
    if newest.after != *value || !is_of_them {
        return Unwound::Left(written.filter(|written| !is_theirs(*written)));
    }
    Unwound::Back(back)
}

fn steps_of_location(past: &[PastChange], is_theirs: &impl Fn(Stamp) -> bool) -> Vec<Step<FolderName>> {
    let steps = past.iter().filter_map(|change| {
        let (before, after) = change.moved.clone()?;
        Some(Step { stamp: change.stamp, before, after, is_theirs: !change.took_back && is_theirs(change.stamp) })
    });
    steps.collect()
}

fn steps_of_flag(past: &[PastChange], flag: &Flag, is_theirs: &impl Fn(Stamp) -> bool) -> Vec<Step<bool>> {
    let steps = past.iter().filter_map(|change| {
        let (_, after) = change.flags.iter().find(|(other, _)| other == flag)?;
        let is_theirs = !change.took_back && is_theirs(change.stamp);
        Some(Step { stamp: change.stamp, before: !after, after: *after, is_theirs })
    });
    steps.collect()
}

fn flags_in(past: &[PastChange]) -> FlagSet {
    past.iter().flat_map(|change| change.flags.iter().map(|(flag, _)| flag.clone())).collect()
}

/// Decides what is taken back of a living entry's changes that are theirs, by what the history has of it, the newest
/// change first. A register that somebody else has written since is left.
pub fn take_back(entry: &Entry, past: &[PastChange], is_theirs: impl Fn(Stamp) -> bool) -> TakenBack {
    let mut taken = TakenBack::default();
    let (written, folder) = &entry.location;
    match unwind(folder, Some(*written), &steps_of_location(past, &is_theirs), &is_theirs) {
        Unwound::AsItIs => {}
        Unwound::Back(folder) => taken.folder = Some(folder),
        Unwound::Left(by) => taken.left.push((Register::Location, by)),
    }
    for flag in flags_in(past) {
        let written = register_of(entry, &flag).map(|(stamp, _)| stamp);
        let on = entry.flags_on().any(|other| *other == flag);
        match unwind(&on, written, &steps_of_flag(past, &flag, &is_theirs), &is_theirs) {
            Unwound::AsItIs => {}
            Unwound::Back(on) => taken.flags.push((flag, on)),
            Unwound::Left(by) => taken.left.push((Register::Flag(flag), by)),
        }
    }
    taken
}

/// The folder and the flags that an entry had which is gone, before their changes, by what the history has of it, the
/// newest change first. `folder` and `flags` are those that it had last.
pub fn as_before(
    folder: &FolderName,
    flags: &FlagSet,
    past: &[PastChange],
    is_theirs: impl Fn(Stamp) -> bool,
) -> (FolderName, FlagSet) {
    let folder = before_theirs(folder, &steps_of_location(past, &is_theirs));
    let mut before = flags.clone();
    for flag in flags_in(past) {
        if before_theirs(&flags.contains(&flag), &steps_of_flag(past, &flag, &is_theirs)) {
            before.insert(flag);
        } else {
            before.remove(&flag);
        }
    }
    (folder, before)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Clock, Incarnation, Mtime, Origin};
    use super::*;

    const HERE: u64 = 1;
    const THEM: u64 = 2;
    const OTHER: u64 = 3;

    fn at(clock: u64, incarnation: u64) -> Stamp {
        Stamp { clock: Clock::from_bits(clock).unwrap(), incarnation: Incarnation(incarnation) }
    }

    fn folder(name: &str) -> FolderName {
        name.parse().unwrap()
    }

    fn flag(name: &str) -> Flag {
        name.parse().unwrap()
    }

    fn entry() -> Entry {
        let flags = [flag("S")].into();
        Entry::delivered(None, Origin::Delivery, at(1, HERE), folder("INBOX"), &flags, 7, Mtime(5))
    }

    fn theirs(stamp: Stamp) -> bool {
        stamp.incarnation == Incarnation(THEM)
    }

    /// An entry with all that became of it.
    struct Life {
        entry: Entry,
        past: Vec<PastChange>,
    }

    impl Life {
        fn new() -> Self {
            Self { entry: entry(), past: Vec::new() }
        }

        fn change(&mut self, change: impl FnOnce(&mut Entry)) {
            let before = self.entry.clone();
            change(&mut self.entry);
            self.learn(&before, false);
        }

        fn learn(&mut self, before: &Entry, took_back: bool) {
            for happening in happenings(Some(before), Some(&self.entry)) {
                if let Happened::Changed { folder, from, flags } = happening.what {
                    let (stamp, moved) = (happening.stamp.unwrap(), from.map(|from| (from, folder)));
                    self.past.insert(0, PastChange { stamp, moved, flags, took_back });
                }
            }
        }

        fn take_back(&mut self, stamp: Stamp) -> TakenBack {
            let taken = take_back(&self.entry, &self.past, theirs);
            let before = self.entry.clone();
            if let Some(folder) = taken.folder.clone() {
                self.entry.move_to(stamp, folder);
            }
            for (flag, on) in &taken.flags {
                self.entry.set_flag(stamp, flag.clone(), *on);
            }
            self.learn(&before, true);
            taken
        }

        fn seen(&self) -> (FolderName, FlagSet) {
            (self.entry.location.1.clone(), self.entry.flags_on().cloned().collect())
        }
    }

    #[test]
    fn what_becomes_of_an_entry_is_told_by_what_changes() {
        let changed = |of: &Entry, change: fn(&mut Entry)| {
            let mut changed = of.clone();
            change(&mut changed);
            changed
        };
        let gone = changed(&entry(), |entry| entry.remove(at(4, THEM)));
        let back = changed(&gone, |entry| entry.move_to(at(5, OTHER), folder("Work")));
        let anew = Entry::delivered(
            Some(&gone),
            Origin::Delivery,
            at(6, OTHER),
            folder("INBOX"),
            &FlagSet::new(),
            7,
            Mtime(5),
        );
        let moved_and_flagged = changed(&entry(), |entry| {
            entry.move_to(at(3, THEM), folder("Work"));
            entry.set_flag(at(2, OTHER), flag("F"), true);
            entry.set_flag(at(3, THEM), flag("S"), false);
        });
        let restamped = changed(&entry(), |entry| entry.deliver_anew(at(9, OTHER)));
        let arrived = |stamp, name| Happening { stamp: Some(stamp), what: Happened::Arrived(folder(name)) };
        let removed = |stamp| Happening { stamp, what: Happened::Removed(folder("INBOX")) };
        let change = |stamp, name, from: Option<&str>, flags: &[(&str, bool)]| Happening {
            stamp: Some(stamp),
            what: Happened::Changed {
                folder: folder(name),
                from: from.map(folder),
                flags: flags.iter().map(|(name, on)| (flag(name), *on)).collect(),
            },
        };
        let table = [
            (None, Some(entry()), vec![arrived(at(1, HERE), "INBOX")]),
            (None, Some(gone.clone()), vec![]),
            (Some(entry()), Some(gone.clone()), vec![removed(Some(at(4, THEM)))]),
            (Some(entry()), Some(entry().removed_by_somebody()), vec![removed(None)]),
            (Some(entry()), None, vec![removed(None)]),
            (Some(gone.clone()), None, vec![]),
            (Some(gone.clone()), Some(back), vec![arrived(at(5, OTHER), "Work")]),
            (Some(gone), Some(anew), vec![arrived(at(6, OTHER), "INBOX")]),
            (Some(entry()), Some(entry()), vec![]),
            (Some(entry()), Some(restamped), vec![]),
            (
                Some(entry()),
                Some(moved_and_flagged),
                vec![
                    change(at(2, OTHER), "INBOX", None, &[("F", true)]),
                    change(at(3, THEM), "Work", Some("INBOX"), &[("S", false)]),
                ],
            ),
        ];
        for (before, after, expected) in table {
            assert_eq!(happenings(before.as_ref(), after.as_ref()), expected, "{before:?} {after:?}");
        }
    }

    #[test]
    fn a_flag_that_a_later_delivery_has_put_out_is_told_as_that_ones_change() {
        let before = entry();
        let mut after = before.clone();
        (after.born, after.floor) = (at(8, OTHER), at(8, OTHER));
        let what = Happened::Changed { folder: folder("INBOX"), from: None, flags: vec![(flag("S"), false)] };
        assert_eq!(happenings(Some(&before), Some(&after)), [Happening { stamp: Some(at(8, OTHER)), what }]);
    }

    #[test]
    fn their_moves_and_flags_are_taken_back_and_those_of_others_stay() {
        let mut life = Life::new();
        life.change(|entry| entry.move_to(at(2, OTHER), folder("Work")));
        life.change(|entry| entry.set_flag(at(3, OTHER), flag("F"), true));
        let before = life.seen();
        life.change(|entry| entry.move_to(at(4, THEM), folder("Spam")));
        life.change(|entry| entry.set_flag(at(5, THEM), flag("F"), false));
        life.change(|entry| entry.move_to(at(6, THEM), folder("Old")));
        life.change(|entry| entry.set_flag(at(7, THEM), flag("T"), true));
        let taken = life.take_back(at(8, HERE));
        assert_eq!((life.seen(), taken.left), (before.clone(), vec![]));
        assert_eq!(life.take_back(at(9, HERE)), TakenBack::default(), "what was taken back is not done so again");
        assert_eq!(life.seen(), before);
    }

    #[test]
    fn a_register_that_somebody_else_has_written_since_is_left_and_told() {
        let mut life = Life::new();
        life.change(|entry| entry.move_to(at(2, THEM), folder("Spam")));
        life.change(|entry| entry.move_to(at(3, OTHER), folder("Work")));
        life.change(|entry| entry.set_flag(at(4, THEM), flag("T"), true));
        let taken = life.take_back(at(8, HERE));
        let left = vec![(Register::Location, Some(at(3, OTHER)))];
        assert_eq!(taken, TakenBack { folder: None, flags: vec![(flag("T"), false)], left });
        // Somebody else has put it back where it was: nothing is left to be told.
        life.change(|entry| entry.move_to(at(9, OTHER), folder("INBOX")));
        assert_eq!(life.take_back(at(10, HERE)), TakenBack::default());
    }

    #[test]
    fn a_register_that_was_written_in_a_way_that_the_history_lacks_is_left() {
        let mut life = Life::new();
        life.change(|entry| entry.move_to(at(2, THEM), folder("Spam")));
        life.entry.deliver_anew(at(3, OTHER));
        let taken = life.take_back(at(8, HERE));
        assert_eq!(taken.left, [(Register::Location, Some(at(3, OTHER)))]);
        // Something is missing between the changes: only the newer one is taken back.
        let mut life = Life::new();
        life.change(|entry| entry.move_to(at(2, THEM), folder("Spam")));
        life.entry.move_to(at(3, OTHER), folder("Work"));
        life.change(|entry| entry.move_to(at(4, THEM), folder("Old")));
        assert_eq!(life.take_back(at(8, HERE)).folder, Some(folder("Work")));
    }

    #[test]
    fn what_is_gone_comes_back_as_it_was_before_them() {
        let mut life = Life::new();
        let (home, flags) = life.seen();
        life.change(|entry| entry.move_to(at(2, THEM), folder("Spam")));
        life.change(|entry| entry.set_flag(at(3, THEM), flag("T"), true));
        life.change(|entry| entry.set_flag(at(4, THEM), flag("S"), false));
        let (last, flags_last) = life.seen();
        assert_eq!(as_before(&last, &flags_last, &life.past, theirs), (home, flags));
        // A move by somebody else in between is theirs to keep.
        life.change(|entry| entry.move_to(at(5, OTHER), folder("Work")));
        let (last, flags_last) = life.seen();
        assert_eq!(as_before(&last, &flags_last, &life.past, theirs).0, folder("Work"));
    }

    #[derive(Clone, Debug)]
    enum Change {
        Move(usize),
        Flag(usize, bool),
    }

    const FOLDERS: [&str; 4] = ["INBOX", "Work", "Spam", "Old"];
    const FLAGS: [&str; 4] = ["S", "F", "T", "keyword:$Junk"];

    fn change() -> impl Strategy<Value = Change> {
        prop_oneof![
            (0..FOLDERS.len()).prop_map(Change::Move),
            (0..FLAGS.len(), any::<bool>()).prop_map(|(flag, on)| Change::Flag(flag, on)),
        ]
    }

    fn apply(entry: &mut Entry, stamp: Stamp, change: &Change) {
        match change {
            Change::Move(to) => entry.move_to(stamp, folder(FOLDERS[*to])),
            Change::Flag(which, on) => entry.set_flag(stamp, flag(FLAGS[*which]), *on),
        }
    }

    proptest! {
        /// Two honest replicas hear of a peer's changes in bundles, cut anywhere. One takes them back, or both do so
        /// without knowing of each other: in the end both have what was there before.
        #[test]
        fn after_all_of_a_peers_changes_are_taken_back_every_honest_replica_has_what_was_there_before(
            honest in prop::collection::vec(change(), 0..4),
            bad in prop::collection::vec((change(), any::<bool>()), 0..12),
            both in any::<bool>(),
        ) {
            let mut clock = 1;
            let mut tick = || { clock += 1; clock };
            let mut one = Life::new();
            for change in &honest {
                let stamp = at(tick(), OTHER);
                one.change(|entry| apply(entry, stamp, change));
            }
            let mut two = Life { entry: one.entry.clone(), past: one.past.clone() };
            let before = one.seen();
            let mut peer = one.entry.clone();
            let hear = |life: &mut Life, peer: &Entry| {
                let merged = life.entry.merge(peer);
                life.change(|entry| *entry = merged);
            };
            for (change, is_sent) in &bad {
                apply(&mut peer, at(tick(), THEM), change);
                if *is_sent {
                    hear(&mut one, &peer);
                }
            }
            hear(&mut one, &peer);
            hear(&mut two, &peer);
            prop_assert_eq!(one.take_back(at(tick(), HERE)).left, vec![]);
            if both {
                prop_assert_eq!(two.take_back(at(tick(), OTHER)).left, vec![]);
            }
            let (first, second) = (one.entry.clone(), two.entry.clone());
            hear(&mut one, &second);
            hear(&mut two, &first);
            prop_assert_eq!(one.seen(), before.clone());
            prop_assert_eq!(two.seen(), before.clone());
            // Neither finds anything more to take back, nor does a third time.
            prop_assert_eq!(one.take_back(at(tick(), HERE)), TakenBack::default());
            prop_assert_eq!(two.take_back(at(tick(), OTHER)), TakenBack::default());
        }

        /// Whatever others do meanwhile, nothing that they wrote last is changed.
        #[test]
        fn what_others_wrote_last_is_never_touched(
            changes in prop::collection::vec((change(), prop::bool::weighted(0.4)), 0..16),
        ) {
            let mut life = Life::new();
            for (n, (change, by_them)) in changes.iter().enumerate() {
                let stamp = at(n as u64 + 2, if *by_them { THEM } else { OTHER });
                life.change(|entry| apply(entry, stamp, change));
            }
            let before = life.entry.clone();
            life.take_back(at(1000, HERE));
            if !theirs(before.location.0) {
                prop_assert_eq!(&life.entry.location, &before.location);
            }
            for (flag, stamp, on) in before.flags.iter().filter(|(_, stamp, _)| !theirs(*stamp)) {
                prop_assert_eq!(register_of(&life.entry, flag), Some((*stamp, *on)));
            }
            prop_assert!(life.entry.alive());
        }
    }
}
