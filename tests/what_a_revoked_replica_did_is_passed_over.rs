//! Honest replicas and one that was stolen, in memory. At some moment it is, at some later one each of the others hears
//! that it was revoked: from then on nothing comes from it, and what others tell of it from after the theft is passed over.
//! What one has shown to pass over nobody sends it again. Once each has taken back what it had taken in by then, the honest ones hold the same, and nothing of theirs is gone.
//! Once it is trusted again, everything comes, and all hold the same. In some of the histories one more replica joins at some
//! moment, before or after the theft, and holds what its inviter holds, and some say of what they hold that it is to be kept:
//! then the others get it, and in the end all honest ones hold the same.

use std::collections::BTreeSet;

use mailsync::model::{Digest, EntryId, Flag, FlagSet, FolderName, Incarnation, Mtime, Origin};

use crate::simulation::{Outcome, Replica, Rng, asked_for};

/// The honest ones that are there from the beginning.
const HONEST: usize = 3;
const FOLDERS: [&str; 3] = ["INBOX", "A", "B"];
/// Seeds of histories that are rare: an honest message over which a forged one was written and that only one of those who had
/// heard still holds; removals by the thief that were forgotten by somebody who had not heard; a forged message that one honest
/// replica has moved and another one removed.
const RARE: [u64; 5] = [611_060, 612_065, 706_356, 600_729, 500_045];

/// A history: replicas, what happens to them, and what is to be true in the end. The honest ones come first, the last of them
/// the one that joins, if there is one, and then comes the thief.
struct Story {
    rng: Rng,
    honest: usize,
    /// Whether all of the honest ones are there.
    joined: bool,
    replicas: Vec<Replica>,
    now: u64,
    /// When the thief came by its replica.
    theft: Option<u64>,
    /// Which of the honest ones have heard of it.
    heard: Vec<bool>,
    /// What honest replicas have delivered, and what they, or the thief's replica before the theft, have removed.
    delivered: BTreeSet<EntryId>,
    removed: BTreeSet<EntryId>,
    /// Whose tombstones were purged while not everybody had heard: what goes on from there nobody can tell.
    forgotten: BTreeSet<EntryId>,
    /// What the stolen replica had delivered before the theft.
    own: BTreeSet<EntryId>,
    /// What honest replicas have moved or delivered anew, whoever has delivered it.
    adopted: BTreeSet<EntryId>,
    /// What the thief has delivered.
    forged: BTreeSet<EntryId>,
    /// What of that each of the honest ones had when it heard of the theft.
    taken: Vec<BTreeSet<EntryId>>,
    tally: Tally,
}

#[derive(Debug, Default)]
struct Tally {
    taken_back: usize,
    passed_over: usize,
    full: usize,
    waited: usize,
    joined_late: usize,
    kept: usize,
    left_out: usize,
}

/// Who takes part.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cast {
    /// Those who are there from the beginning.
    Old,
    /// One more joins, and what is held is kept now and then.
    Newcomer,
}

impl Story {
    fn new(seed: u64, cast: Cast) -> Self {
        let mut rng = Rng::new(seed);
        let honest = HONEST + usize::from(cast == Cast::Newcomer);
        let mut replicas: Vec<_> = (0..=honest).map(|n| Replica::new(n, Incarnation(rng.number()))).collect();
        replicas.iter_mut().for_each(Replica::remember_all);
        Self {
            rng,
            honest,
            joined: cast == Cast::Old,
            replicas,
            now: 1000,
            theft: None,
            heard: vec![false; honest],
            delivered: BTreeSet::new(),
            removed: BTreeSet::new(),
            forgotten: BTreeSet::new(),
            own: BTreeSet::new(),
            adopted: BTreeSet::new(),
            forged: BTreeSet::new(),
            taken: vec![BTreeSet::new(); honest],
            tally: Tally::default(),
        }
    }

    fn thief(&self) -> Incarnation {
        self.replicas[self.honest].issued().0
    }

    /// Whether it is there by then.
    fn is_there(&self, who: usize) -> bool {
        self.joined || who != HONEST
    }

    /// Whether bundles go from one to the other.
    fn exchanges(&self, from: usize, to: usize) -> bool {
        let thief = self.honest;
        let shut_out = |honest: usize, other: usize| other == thief && honest < thief && self.heard[honest];
        from != to && !shut_out(from, to) && !shut_out(to, from) && self.is_there(from) && self.is_there(to)
    }

    fn pass(&mut self, from: usize, to: usize, since_last: bool) -> Result<(), String> {
        self.now += 1;
        let bundle = self.replicas[from].export(to, since_last);
        bundle.says_what_can_be_true();
        let before = self.replicas[to].knowledge().clone();
        let outcome = self.replicas[to].import(&bundle, self.now).map_err(|who| format!("{from} to {to}: {who:?}"))?;
        self.tally.full += usize::from(bundle.head.full);
        self.tally.left_out += usize::from(!bundle.head.left_out.is_empty());
        self.tally.waited += usize::from(outcome == Outcome::Waits);
        // What an honest replica delivers anew, since the other one may have forgotten that it was removed, is its own from then on.
        if let (true, Outcome::Applied { anew: Some(anew), .. }) = (to < self.honest, &outcome) {
            self.adopted.extend(anew.entries.iter().cloned());
        }
        let mut all = before;
        all.join(&bundle.head.tip);
        let is_shut_out = to < self.honest && self.heard[to];
        self.tally.passed_over += usize::from(is_shut_out && !self.replicas[to].knowledge().includes(&all));
        Ok(())
    }

    fn change(&mut self) {
        let at = self.rng.below(self.honest + 1);
        if !self.is_there(at) {
            return;
        }
        let is_thief = at == self.honest;
        let bad = is_thief && self.theft.is_some();
        let folder: FolderName = self.rng.one_of(&FOLDERS).parse().unwrap();
        let found: Vec<EntryId> = self.replicas[at].found().cloned().collect();
        let entry = (!found.is_empty()).then(|| found[self.rng.below(found.len())].clone());
        let stamp = self.replicas[at].stamp(self.now);
        match (self.rng.below(10), entry) {
            (0..=2, _) | (_, None) => {
                let digest = Digest::of(&self.rng.below(12).to_le_bytes());
                let seen: FlagSet = self.rng.percent(50).then(|| "S".parse().unwrap()).into_iter().collect();
                let mtime = Mtime(i64::try_from(self.now).unwrap());
                let id = self.replicas[at].deliver(stamp, Origin::Delivery, digest, &folder, &seen, mtime);
                if bad {
                    self.forged.insert(id);
                } else {
                    // What was delivered on the stolen one before may never have come to anybody else.
                    if is_thief { &mut self.own } else { &mut self.delivered }.insert(id);
                }
            }
            (3..=4, Some(id)) => {
                self.replicas[at].move_to(stamp, &id, &folder);
                if !is_thief {
                    self.adopted.insert(id);
                }
            }
            (5..=6, Some(id)) => {
                let (flag, on): (Flag, bool) = (self.rng.one_of(&["S", "F"]).parse().unwrap(), self.rng.percent(50));
                self.replicas[at].set_flag(stamp, &id, flag, on);
            }
            (7..=8, Some(id)) => {
                self.replicas[at].remove(stamp, &id);
                if !bad {
                    self.removed.insert(id);
                }
            }
            (_, Some(_)) => self.replicas[at].make_folder(stamp, &folder),
        }
    }

    fn step(&mut self) -> Result<(), String> {
        self.now += self.rng.number() % 3;
        match self.rng.below(10) {
            0..=4 => self.change(),
            5..=8 => {
                let (from, to) = (self.rng.below(self.honest + 1), self.rng.below(self.honest + 1));
                let since_last = self.rng.percent(20);
                // Some bundles get lost.
                if self.exchanges(from, to) && self.rng.percent(80) {
                    self.pass(from, to, since_last)?;
                } else if self.exchanges(from, to) {
                    self.replicas[from].export(to, since_last);
                }
            }
            _ => {
                let at = self.rng.below(self.honest + 1);
                if !self.is_there(at) {
                    return Ok(());
                }
                let peers = (0..=self.honest).filter(|&other| self.exchanges(at, other)).collect();
                let before: BTreeSet<EntryId> = self.replicas[at].entries().keys().cloned().collect();
                self.replicas[at].purge(&peers);
                self.forgotten.extend(before.into_iter().filter(|id| !self.replicas[at].entries().contains_key(id)));
            }
        }
        Ok(())
    }

    /// An honest replica hears of the theft.
    fn hear(&mut self, at: usize) {
        if let (Some(theft), false, true) = (self.theft, self.heard[at], self.is_there(at)) {
            self.heard[at] = true;
            let thief = self.thief();
            self.replicas[at].hear_of_theft(thief, theft);
            self.taken[at] =
                self.replicas[at].view().entries.into_keys().filter(|id| self.forged.contains(id)).collect();
        }
    }

    /// One more joins, by an invitation from this one: it begins with what that one holds, and hears what that one has heard.
    fn join(&mut self, inviter: usize) -> Result<(), String> {
        self.joined = true;
        let late = self.heard[inviter];
        self.pass(inviter, HONEST, false)?;
        if late {
            self.hear(HONEST);
            let (new, old) = (self.replicas[HONEST].view(), self.replicas[inviter].view());
            if new != old {
                return Err(format!("who has joined differs from its inviter: {}", new.differences(&old)));
            }
        }
        self.tally.joined_late += usize::from(late);
        Ok(())
    }

    /// Somebody says of what an honest replica holds that it is to be kept.
    fn keep(&mut self, at: usize) {
        if let (Some(theft), true, true) = (self.theft, self.heard[at], self.is_there(at)) {
            self.now += 1;
            let (thief, now) = (self.thief(), self.now);
            let kept = self.replicas[at].keep(thief, theft, now);
            self.tally.kept += kept.len();
            self.adopted.extend(kept);
        }
    }

    /// All of these send bundles to each other until nothing changes any more.
    fn settle(&mut self, count: usize) -> Result<(), String> {
        for _ in 0..40 {
            let before = self.replicas.clone();
            for from in 0..count {
                for to in (0..count).filter(|to| *to != from) {
                    self.pass(from, to, false)?;
                }
            }
            if self.replicas.iter().zip(&before).all(|(now, before)| now.is_but_for_numbers(before)) {
                return Ok(());
            }
        }
        Err("bundles still change something after many rounds".to_owned())
    }

    fn all_hold_the_same(&self, count: usize, when: &str) -> Result<(), String> {
        let twice = self.forged.iter().filter(|id| self.delivered.contains(*id) || self.own.contains(*id));
        let twice: BTreeSet<_> = if count == self.honest { twice.collect() } else { BTreeSet::new() };
        // What the thief has delivered and put where it is stays, and goes nowhere else. If somebody honest had moved it before,
        // who doesn't believe the thief has it there, even if others have removed it from where the thief had put it.
        let stays: BTreeSet<_> =
            if count == self.honest { self.forged_that_stays().collect() } else { BTreeSet::new() };
        let honest = self.replicas[..count].iter();
        let lies_in = honest.flat_map(|one| stays.iter().filter_map(|id| one.entries().get(*id)));
        let has_it: BTreeSet<_> = lies_in.filter(|entry| entry.alive()).map(|entry| entry.location.1.clone()).collect();
        let mut first = self.replicas[0].view();
        first.entries.retain(|id, _| !twice.contains(id) && !stays.contains(id));
        first.folders.retain(|folder| !has_it.contains(folder));
        for other in 1..count {
            let mut view = self.replicas[other].view();
            // Which of the two deliveries of the same message somebody has removed nobody can tell.
            view.entries.retain(|id, _| !twice.contains(id) && !stays.contains(id));
            view.folders.retain(|folder| !has_it.contains(folder));
            if view.entries != first.entries || (twice.is_empty() && view.folders != first.folders) {
                return Err(format!("{when}, 0 and {other} differ: {}", first.differences(&view)));
            }
        }
        Ok(())
    }

    /// What the thief has delivered, and what lies somewhere where the thief has put it.
    fn forged_that_stays(&self) -> impl Iterator<Item = &EntryId> {
        let (thief, since) = (self.thief(), self.theft.expect("it was stolen"));
        let put = self.replicas[..self.honest].iter().flat_map(move |honest| honest.put_by(thief, since));
        put.filter(|id| self.forged.contains(*id))
    }

    fn run(seed: u64, cast: Cast) -> Result<Tally, String> {
        let mut story = Self::new(seed, cast);
        let honest = story.honest;
        let steps = 60 + story.rng.below(120);
        let theft = story.rng.below(steps);
        for step in 0..steps {
            if step == theft {
                story.now += 1;
                story.theft = Some(story.now);
            }
            if story.theft.is_some() && story.rng.percent(4) {
                let at = story.rng.below(honest);
                story.hear(at);
            }
            if cast == Cast::Newcomer {
                let at = story.rng.below(HONEST);
                if !story.joined && story.rng.percent(2) {
                    story.join(at)?;
                }
                if story.rng.percent(2) {
                    story.keep(at);
                }
            }
            story.step().map_err(|wrong| format!("at step {step}: {wrong}"))?;
        }
        (0..HONEST).for_each(|at| story.hear(at));
        if !story.joined {
            let inviter = story.rng.below(HONEST);
            story.join(inviter)?;
        }
        story.hear(honest - 1);
        let (thief, since) = (story.thief(), story.theft.expect("it was stolen"));
        // What each has taken in by then it takes back, wherever that came from.
        story.settle(honest)?;
        for at in 0..honest {
            story.now += 1;
            story.tally.taken_back += story.replicas[at].undo(thief, since, story.now);
        }
        story.settle(honest)?;
        story.all_hold_the_same(honest, "among honest replicas")?;
        let somewhere = |id: &EntryId| story.replicas[..honest].iter().any(|one| one.view().entries.contains_key(id));
        for id in story.delivered.difference(&story.removed) {
            if !somewhere(id) && !story.forgotten.contains(id) {
                return Err(format!("{id} is gone, and nobody honest has removed it"));
            }
        }
        for id in story.forged.difference(&story.delivered) {
            let went_on =
                |at: &usize| story.replicas[*at].view().entries.contains_key(id) && !story.taken[*at].contains(id);
            if let Some(at) = (0..honest).find(went_on)
                && !(story.own.contains(id) || story.adopted.contains(id))
            {
                return Err(format!("{id} was delivered by the thief, and came to {at} after that had heard of it"));
            }
            let was_removed =
                |at: &usize| story.taken[*at].contains(id) && !story.replicas[*at].view().entries.contains_key(id);
            if let Some(at) = (0..honest).find(was_removed)
                && !(story.removed.contains(id) || story.forgotten.contains(id))
            {
                return Err(format!("{id} was at {at} and is gone, and nobody honest has removed it"));
            }
        }

        if cast == Cast::Newcomer {
            (0..honest).for_each(|at| story.keep(at));
            story.settle(honest)?;
            // What somebody has removed from where the thief had put it may be elsewhere, where that isn't believed.
            let unsure: BTreeSet<EntryId> =
                story.replicas[..honest].iter().flat_map(|one| one.put_by(thief, since).cloned()).collect();
            let sure = |at: usize| {
                let mut view = story.replicas[at].view();
                view.entries.retain(|id, _| !unsure.contains(id));
                if !unsure.is_empty() {
                    view.folders.clear();
                }
                view
            };
            let first = sure(0);
            for other in 1..honest {
                let view = sure(other);
                if view != first {
                    return Err(format!("of what is kept 0 and {other} differ: {}", first.differences(&view)));
                }
            }
        }
        story.replicas.iter_mut().for_each(Replica::reinstate);
        story.heard = vec![false; honest];
        story.settle(honest + 1)?;
        story.all_hold_the_same(honest + 1, "after the reinstatement")?;
        Ok(story.tally)
    }
}

#[test]
fn honest_replicas_converge_without_the_thief_and_with_it_when_it_is_trusted_again() {
    let mut all = Tally::default();
    let mut failures = Vec::new();
    let old = asked_for(90_000, 600).chain(RARE).map(|seed| (seed, Cast::Old));
    let stories: Vec<_> = old.chain(asked_for(120_000, 600).map(|seed| (seed, Cast::Newcomer))).collect();
    for &(seed, cast) in &stories {
        match Story::run(seed, cast) {
            Ok(tally) => {
                all.taken_back += tally.taken_back;
                all.passed_over += tally.passed_over;
                all.full += tally.full;
                all.waited += tally.waited;
                all.joined_late += tally.joined_late;
                all.kept += tally.kept;
                all.left_out += tally.left_out;
            }
            Err(wrong) => failures.push(format!("{seed}: {wrong}")),
        }
    }
    println!("{} histories, of which {} failed; the others: {all:?}", stories.len(), failures.len());
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures[..failures.len().min(5)].join("\n"));
    assert!(
        all.taken_back > 0
            && all.passed_over > 0
            && all.full > 0
            && all.waited > 0
            && all.joined_late > 0
            && all.kept > 0
            && all.left_out > 0,
        "histories that test nothing: {all:?}"
    );
}

/// The least of what a random history has shown: a removal by the thief that was forgotten before anybody had heard of the
/// theft is in the horizon of one of two honest replicas, and the other one never gets to know of it.
#[test]
fn what_the_thief_removed_and_who_forgot_it_holds_up_no_bundle_of_those_who_never_heard_of_it() {
    let [mut knew, mut never, mut thief] = [0, 1, 2].map(|n| Replica::new(n, Incarnation(10 + n as u64)));
    let inbox: FolderName = "INBOX".parse().unwrap();
    let pass = |from: &mut Replica, to: &mut Replica, now| {
        let name = to.name();
        to.import(&from.export(name, false), now).unwrap()
    };
    let stamp = knew.stamp(1000);
    let id = knew.deliver(stamp, Origin::Delivery, Digest::of(b"x"), &inbox, &FlagSet::new(), Mtime(1));
    pass(&mut knew, &mut thief, 1001);
    let theft = 1010;
    let stamp = thief.stamp(1020);
    thief.remove(stamp, &id);
    pass(&mut thief, &mut knew, 1021);
    knew.purge(&[thief.name()].into());
    assert!(knew.entries().is_empty() && knew.horizon().covers(stamp), "it has forgotten the removal");

    for honest in [&mut knew, &mut never] {
        honest.hear_of_theft(Incarnation(12), theft);
    }
    for (now, contents) in [(1030, b"y"), (1040, b"z")] {
        let stamp = never.stamp(now);
        never.deliver(stamp, Origin::Delivery, Digest::of(contents), &inbox, &FlagSet::new(), Mtime(2));
        pass(&mut knew, &mut never, now + 1);
        let outcome = pass(&mut never, &mut knew, now + 2);
        assert!(matches!(outcome, Outcome::Applied { .. }), "{outcome:?}");
        assert_eq!(knew.view(), never.view());
        assert_eq!(knew.view().entries.len(), if now == 1030 { 1 } else { 2 });
    }
    // And it goes on by what is new alone.
    let next = knew.export(never.name(), false);
    assert!(!next.head.full, "{:?}", next.head);
}
