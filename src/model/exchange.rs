//! Conclusions from a bundle's head: whether the bundle may be applied, what its sender has, and whether a replica was
//! rolled back.

use std::collections::BTreeMap;

use super::{Caps, Clock, Entry, FolderState, Head, Incarnation, Knowledge, MOST_ISSUED, PassesOver, Stamp, WallClock};

/// How far a peer is known to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The incarnation and number of its newest bundle.
    pub newest: Option<(Incarnation, u64)>,
    /// The tip of its newest bundle.
    pub shown: Option<Knowledge>,
}

/// The replica whose state was put back to an earlier one in place, so that it may issue the same stamps twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RolledBack {
    /// The importing replica's own.
    Me,
    /// The sender's.
    Sender,
    /// The sender's; or else somebody has told of changes that the sender never made, up to this clock. Either the sender
    /// knows less of itself than is known here, and yet something else that is not known here: what came from it could
    /// not do so without all that it knew before. Or it says that it has made no change with this very clock.
    SenderOrTold(Clock),
}

/// The decision about a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It can be applied.
    Apply,
    /// An earlier bundle is missing: the base names these incarnations up to clocks that are not known here.
    NotYet(Knowledge),
    /// The sender doesn't know of removals that have been purged here. It first needs a full bundle from here.
    NeedsFull,
}

/// Whether a bundle is the newest from its sender, and so tells what the sender has. Within one incarnation the highest
/// number is the newest; between two incarnations, the bundle that was received last. No wall clock is trusted here.
pub fn is_newest(standing: &Standing, head: &Head) -> bool {
    standing.newest.is_none_or(|(incarnation, number)| incarnation != head.incarnation || head.number >= number)
}

/// Whether a bundle shows how its sender stands: it is the newest, and not a copy that came before its sender began
/// anew or was removed here, and that somebody has kept. `highest` is the highest number that came from the bundle's
/// incarnation.
pub fn shows_standing(standing: &Standing, highest: Option<u64>, head: &Head) -> bool {
    let comes_back = standing.newest.is_none_or(|(incarnation, _)| incarnation != head.incarnation)
        && highest.is_some_and(|number| head.number <= number);
    is_newest(standing, head) && !comes_back
}

/// Whether a bundle is newer than all that came from its sender, so that it is no copy that somebody has kept.
/// `highest` is the highest number that came from the bundle's incarnation.
///
/// Of an incarnation that its sender has left none is. One of an incarnation that was never heard of is, since nobody
/// but the sender can begin one.
pub fn is_fresh(standing: &Standing, highest: Option<u64>, head: &Head) -> bool {
    match (standing.newest, highest) {
        (_, None) => true,
        (Some((incarnation, _)), Some(number)) => incarnation == head.incarnation && head.number > number,
        // Nothing is known of how the sender stands, such as when it was removed and made known again.
        (None, Some(number)) => head.number > number,
    }
}

/// Decides what to do with a bundle, before anything of it is applied.
///
/// `me` is the importing replica's incarnation and `issued_here` tells whether it has issued a stamp with that clock.
///
/// # Errors
/// One of four signs shows that a state was rolled back in place. Then nothing may be written, the sender's standing
/// included.
pub fn judge(
    me: Incarnation,
    issued_here: impl Fn(Clock) -> bool,
    knowledge: &Knowledge,
    horizon: &Knowledge,
    standing: &Standing,
    head: &Head,
) -> Result<Judgement, RolledBack> {
    let mine = head.tip.get(me);
    if mine > Clock::ZERO && !issued_here(mine) {
        return Err(RolledBack::Me);
    }
    let known = knowledge.get(head.incarnation);
    let own = head.tip.get(head.incarnation);
    // Of very many clocks only the newest are listed.
    let listed = head.issued.len() < MOST_ISSUED || head.issued.first() <= Some(&known);
    let within = head.base.get(head.incarnation) < known && known < own;
    if within && listed && head.issued.binary_search(&known).is_err() {
        return Err(RolledBack::SenderOrTold(known));
    }
    let older_knows_more =
        !is_newest(standing, head) && standing.shown.as_ref().is_some_and(|s| !s.includes(&head.tip));
    if older_knows_more {
        return Err(RolledBack::Sender);
    }
    if known > own && !knowledge.includes(&head.tip) {
        return Err(RolledBack::SenderOrTold(known));
    }
    if !knowledge.includes(&head.base) {
        return Ok(Judgement::NotYet(knowledge.missing(&head.base).collect()));
    }
    if !head.full && !knowledge.includes(&head.tip) && !head.tip.includes(horizon) {
        return Ok(Judgement::NeedsFull);
    }
    Ok(Judgement::Apply)
}

/// The base for a bundle to a peer that has shown `shown`, by a replica of this knowledge and horizon: what both know.
/// From a base that doesn't cover the horizon no delta can be made. Empty means a full bundle.
pub fn export_base(shown: &Knowledge, knowledge: &Knowledge, horizon: &Knowledge) -> Knowledge {
    if shown.includes(horizon) { shown.meet(knowledge) } else { Knowledge::new() }
}

/// Whether a dead entry can be forgotten: every peer's shown tip covers all its stamps. A replica without peers forgets
/// nothing. With the tip of each peer comes what it passes over, of replicas that are shut out here as well: what such a one has
/// delivered, and was removed, nobody holds who passes it over. But what it has removed itself does who doesn't believe that: it
/// is not forgotten before that one knows of it.
pub fn purgeable<'a>(entry: &Entry, caps: &Caps, shown: impl Iterator<Item = &'a (Knowledge, PassesOver)>) -> bool {
    let is_of_revoked = [entry.location.0, entry.born].iter().all(|stamp| !caps.trusts(*stamp));
    let mut shown = shown.peekable();
    let is_settled = |(tip, passes): &(Knowledge, PassesOver)| {
        let passed_over = || [entry.location.0, entry.born].iter().all(|stamp| passes.has(*stamp));
        entry.covered_by(tip) || (is_of_revoked && passed_over() && passes.leaves_out(entry, tip))
    };
    !entry.alive() && shown.peek().is_some() && shown.all(is_settled)
}

/// Whether the register of a folder that was removed can be forgotten: every peer's shown tip covers its stamp. A
/// replica without peers forgets nothing.
pub fn purgeable_folder<'a>(state: FolderState, shown: impl Iterator<Item = &'a Knowledge>) -> bool {
    let mut shown = shown.peekable();
    !state.present && shown.peek().is_some() && shown.all(|tip| tip.covers(state.stamp))
}

/// New stamps for a replica whose state was rolled back in place. They replace the stamps issued since `last`, the
/// newest stamp that is known to have been issued only once.
#[derive(Clone, Debug)]
pub struct Restamping {
    old: Incarnation,
    last: Clock,
    anew: BTreeMap<Clock, Stamp>,
    /// In the place of all stamps after `last` that the replica doesn't know to have issued.
    rest: Stamp,
}

impl Restamping {
    /// Plans new stamps, of the incarnation `new`, for those clocks in `issued` that are above `last`: above everything
    /// in `knowledge`, which is what is known without them, and not before `now` (milliseconds since 1970 UTC). `None`
    /// when the clock is used up.
    pub fn plan(
        old: Incarnation,
        new: Incarnation,
        issued: impl Iterator<Item = Clock>,
        last: Clock,
        now: u64,
        knowledge: &Knowledge,
    ) -> Option<Self> {
        let mut top = knowledge.newest();
        let mut anew = BTreeMap::new();
        for clock in issued.filter(|&clock| clock > last) {
            top = Clock::next(now, top)?;
            anew.insert(clock, Stamp { clock: top, incarnation: new });
        }
        let rest = Stamp { clock: Clock::next(now, top)?, incarnation: new };
        Some(Self { old, last, anew, rest })
    }

    /// The last clock that the replica is sure to have issued once: what all its peers have shown of its incarnation, or
    /// without peers the last of `issued`, ascending; and none that this machine's clock says to lie ahead.
    pub fn last_sure(shown: impl Iterator<Item = Clock>, issued: &[Clock], wall: WallClock) -> Clock {
        let plausible = issued.iter().rev().copied().find(|&clock| !wall.is_behind(clock)).unwrap_or_default();
        shown.min().or(issued.last().copied()).unwrap_or_default().min(plausible)
    }

    /// The stamp that replaces this one. Most stamps stay as they are. One that the replica issued in the past that it
    /// has forgotten, and heard of again by way of others, is not among those that it knows to have issued.
    pub fn anew(&self, stamp: Stamp) -> Stamp {
        if stamp.incarnation != self.old || stamp.clock <= self.last {
            return stamp;
        }
        self.anew.get(&stamp.clock).copied().unwrap_or(self.rest)
    }

    /// The clocks that the new incarnation issues by this plan, ascending.
    pub fn issued(&self) -> impl Iterator<Item = Clock> + '_ {
        self.anew.values().chain([&self.rest]).map(|stamp| stamp.clock)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{FlagSet, Mtime, Origin};
    use super::*;

    #[test]
    fn the_last_stamp_that_is_sure_is_what_all_peers_have_shown_and_no_clock_ahead() {
        let now = WallClock::PROGRAM;
        let at = |days: u64| Clock::from_bits((now.0 + days * WallClock::MOST_AHEAD) << 16).unwrap();
        for (shown, issued, last) in [
            (&[at(0), at(1)][..], &[at(0), at(1)][..], at(0)),
            (&[], &[at(0), at(1)], at(1)),
            (&[], &[at(0), at(3)], at(0)),
            (&[at(3)], &[at(1), at(3)], at(1)),
            (&[at(0)], &[], Clock::ZERO),
            (&[], &[], Clock::ZERO),
        ] {
            assert_eq!(Restamping::last_sure(shown.iter().copied(), issued, now), last, "{shown:?} {issued:?}");
        }
    }

    #[test]
    fn every_stamp_after_the_last_that_others_have_seen_is_replaced() {
        let (old, new) = (Incarnation(1), Incarnation(2));
        let clock = |bits| Clock::from_bits(bits).unwrap();
        let at = |bits, incarnation| Stamp { clock: clock(bits), incarnation };
        let mut knowledge = Knowledge::new();
        knowledge.learn(at(5, old));
        let plan = Restamping::plan(old, new, [5, 7].map(clock).into_iter(), clock(5), 0, &knowledge).unwrap();
        assert_eq!((plan.anew(at(4, old)), plan.anew(at(5, old))), (at(4, old), at(5, old)));
        let issued: Vec<_> = plan.issued().collect();
        assert_eq!(plan.anew(at(7, old)), Stamp { clock: issued[0], incarnation: new });
        // Of the past that it has forgotten, heard of by way of others.
        assert_eq!(plan.anew(at(6, old)), Stamp { clock: issued[1], incarnation: new });
        assert_eq!((issued.len(), issued[0] < issued[1]), (2, true));
        assert_eq!(plan.anew(at(9, Incarnation(3))), at(9, Incarnation(3)));
    }

    #[test]
    fn what_a_revoked_one_has_delivered_is_forgotten_though_others_pass_it_over_and_what_it_has_removed_is_not() {
        let (honest, thief) = (Incarnation(1), Incarnation(2));
        let at = |millis: u64, incarnation| Stamp { clock: Clock::from_bits(millis << 16).unwrap(), incarnation };
        let up_to =
            |stamps: &[Stamp]| stamps.iter().map(|stamp| (stamp.incarnation, stamp.clock)).collect::<Knowledge>();
        let removed = |born, by| {
            let folder = "INBOX".parse().unwrap();
            let mut entry = Entry::delivered(None, Origin::Delivery, born, folder, &FlagSet::new(), 1, Mtime(1));
            entry.remove(by);
            entry
        };
        let mut caps = Caps::default();
        caps.revoke(thief, 5, &Knowledge::new());
        let passes = PassesOver { after: up_to(&[at(4, thief)]), until: up_to(&[at(9, thief)]) };
        let knows = |stamps: &[Stamp]| (up_to(stamps), PassesOver::default());
        let passing = |stamps: &[Stamp]| (up_to(stamps), passes.clone());
        let forged = removed(at(8, thief), at(20, honest));
        let (by_thief, moved) = (removed(at(3, honest), at(8, thief)), {
            let mut entry = removed(at(3, honest), at(4, honest));
            entry.move_to(at(8, thief), "Spoils".parse().unwrap());
            entry.remove(at(20, honest));
            entry
        });
        for (what, entry, caps, shown, is_purgeable) in [
            ("nobody is there", &forged, &caps, vec![], false),
            ("all know it", &forged, &caps, vec![knows(&[at(20, honest), at(8, thief)])], true),
            ("one passes it over", &forged, &caps, vec![passing(&[at(20, honest)])], true),
            ("and doesn't know that it was removed", &forged, &caps, vec![passing(&[at(19, honest)])], false),
            ("another one has it", &forged, &caps, vec![passing(&[at(20, honest)]), knows(&[at(9, thief)])], false),
            ("it is trusted here", &forged, &Caps::default(), vec![passing(&[at(20, honest)])], false),
            ("the thief has removed it", &by_thief, &caps, vec![passing(&[at(20, honest)])], false),
            ("the thief has moved it", &moved, &caps, vec![passing(&[at(20, honest)])], false),
        ] {
            assert_eq!(purgeable(entry, caps, shown.iter()), is_purgeable, "{what}");
        }
    }

    /// The head of a full bundle that tells of nothing.
    fn full(incarnation: Incarnation, number: u64) -> Head {
        let nothing = Knowledge::new;
        let (base, tip, horizon, left_out) = (nothing(), nothing(), nothing(), nothing());
        Head { incarnation, number, full: true, base, tip, horizon, issued: Vec::new(), left_out }
    }

    #[test]
    fn only_a_bundle_that_is_newer_than_all_before_is_fresh() {
        let (now, left, unheard) = (Incarnation(1), Incarnation(2), Incarnation(3));
        let standing = |newest| Standing { newest, shown: None };
        for (newest, highest, incarnation, number, fresh) in [
            (None, None, now, 1, true),
            (Some((now, 7)), Some(7), now, 8, true),
            (Some((now, 7)), Some(7), now, 7, false),
            (Some((now, 7)), Some(7), now, 1, false),
            // Its sender began anew, and this is the first from there.
            (Some((now, 7)), None, unheard, 1, true),
            // One from before, whether it came or not.
            (Some((now, 7)), Some(20), left, 20, false),
            (Some((now, 7)), Some(20), left, 21, false),
            // The peer was removed, and made known again.
            (None, Some(7), now, 7, false),
            (None, Some(7), now, 8, true),
        ] {
            let head = full(incarnation, number);
            assert_eq!(
                is_fresh(&standing(newest), highest, &head),
                fresh,
                "{newest:?}, {highest:?}, {incarnation}, {number}"
            );
        }
    }

    #[test]
    fn a_bundle_that_comes_again_does_not_bring_back_how_its_sender_stood() {
        let (now, left, unheard) = (Incarnation(1), Incarnation(2), Incarnation(3));
        for (newest, highest, incarnation, number, shows) in [
            (None, None, now, 1, true),
            // As after a removal.
            (None, Some(7), now, 7, false),
            (None, Some(7), now, 8, true),
            (Some((now, 7)), Some(7), now, 8, true),
            (Some((now, 7)), Some(7), now, 7, true),
            (Some((now, 7)), Some(7), now, 6, false),
            (Some((now, 7)), None, unheard, 1, true),
            // No clock tells which of two incarnations came first: what is new counts.
            (Some((now, 7)), Some(20), left, 21, true),
            (Some((now, 7)), Some(20), left, 20, false),
            (Some((now, 7)), Some(20), left, 1, false),
        ] {
            let head = full(incarnation, number);
            let standing = Standing { newest, shown: None };
            let case = format!("{newest:?}, {highest:?}, {incarnation}, {number}");
            assert_eq!(shows_standing(&standing, highest, &head), shows, "{case}");
        }
    }
}
