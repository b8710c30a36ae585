//! The fate of each entry when two replicas meet in a bundle.

use super::{Believed, Caps, Entry, FolderState, Head, Incarnation, Knowledge, Stamp};

/// An import's decision about one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The entry stays as it is here, or stays absent.
    Keep,
    /// The entry gets this state, which differs from the one here.
    Store(Entry),
    /// The entry gets this state and is then delivered anew, by [`Entry::deliver_anew`] with a fresh stamp of the
    /// importing replica, above everything that both replicas know.
    StoreAnew(Entry),
    /// The sender has removed and forgotten the entry. It is removed here, without a tombstone.
    Drop,
}

/// An import's decision about the register of one folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FolderDecision {
    /// It stays as it is here, or stays absent.
    Keep,
    /// It becomes this, which differs from what is here.
    Store(FolderState),
    /// The folder exists, and gets a fresh stamp of the importing replica, above everything that both replicas know.
    MakeAnew,
}

/// The importing replica and the sender of a bundle, as both were before the import.
///
/// A full bundle speaks about every entry; a delta speaks about the entries that it holds. The decisions of a meeting
/// keep one invariant: if a replica's knowledge includes a change and the replica doesn't hold it, then its horizon
/// names that change, and no entry that is alive depends on it. `docs/model.md` tells why each rule is needed for that.
#[derive(Clone, Debug)]
pub struct Meeting {
    full: bool,
    here: Side,
    there: Side,
    /// Whose incarnation has made the bundle.
    sender: Incarnation,
    /// What the importing replica has of each incarnation by bundles of that incarnation itself.
    proven: Knowledge,
    /// Whether the sender may lack an entry for what a revoked replica did.
    is_spoilt: bool,
    /// Who was revoked, as the importing replica has heard.
    caps: Caps,
}

/// One of the two replicas of a [`Meeting`].
#[derive(Clone, Debug)]
struct Side {
    /// Its knowledge.
    knowledge: Knowledge,
    /// What it says to have forgotten.
    horizon: Knowledge,
    /// If this covers the location of an entry that this replica lacks, then this replica has removed and forgotten the
    /// entry.
    forgotten: Knowledge,
    /// Whether the other replica has forgotten removals of which this one may never have heard.
    behind: bool,
}

impl Side {
    fn has_forgotten(&self, entry: &Entry) -> bool {
        self.forgotten.covers(entry.location.0)
    }

    fn knows_all_of(&self, entry: &Entry) -> bool {
        entry.covered_by(&self.knowledge)
    }
}

impl Meeting {
    /// The meeting of a replica that has this `knowledge` and `horizon` with the bundle that has this head. `proven` is
    /// what the replica has got of each incarnation from that incarnation itself; its own is all that it has issued.
    ///
    /// If one side lacks an entry and its knowledge covers the entry's location, then that side has removed it. The
    /// horizon alone doesn't show this, since a forgotten removal may have replaced stamps that no horizon names. If
    /// both sides know exactly the same, they must hold the same entries. Then the rule would count every entry that
    /// only one side has as removed, so the horizon alone decides: an entry that no horizon covers was lost by the side
    /// that lacks it, and comes back.
    ///
    /// Knowledge of an incarnation can be hearsay, and then it can be a lie, or the echo of one. Where mail would go, or
    /// not be taken, on the strength of nothing else, it is delivered anew.
    pub fn new(knowledge: &Knowledge, horizon: &Knowledge, proven: Knowledge, head: &Head) -> Self {
        let healing = head.full && *knowledge == head.tip;
        let side = |knowledge: &Knowledge, horizon: &Knowledge, horizon_of_the_other: &Knowledge| Side {
            knowledge: knowledge.clone(),
            horizon: horizon.clone(),
            forgotten: if healing { horizon } else { knowledge }.clone(),
            behind: head.full && !knowledge.includes(horizon_of_the_other),
        };
        Self {
            full: head.full,
            here: side(knowledge, horizon, &head.horizon),
            there: side(&head.tip, &head.horizon, horizon),
            sender: head.incarnation,
            proven,
            is_spoilt: false,
            caps: Caps::default(),
        }
    }

    /// The same if somebody was revoked, and not all of the bundle is believed.
    ///
    /// If the sender has forgotten changes that aren't believed here, nobody can tell whether an entry that it lacks was removed
    /// by them: it is delivered anew. And a revoked replica can write over what an honest one has written in the same entry.
    /// Whoever merged that before it heard passes on the later register alone, and whoever doesn't believe that one counts the
    /// honest one as known and has never had it. So of an entry that the sender lacks only a horizon tells that it was forgotten.
    #[must_use]
    pub fn believing(self, believed: &Believed) -> Self {
        Self { is_spoilt: believed.is_spoilt, caps: believed.caps.clone(), ..self }
    }

    /// Whether the sender may lack what was written with this stamp since a revoked replica has written over it.
    fn may_be_written_over(&self, stamp: Stamp) -> bool {
        !self.caps.is_empty() && self.caps.trusts(stamp)
    }

    /// Whether only hearsay says that the sender, which lacks what was written with this stamp, has forgotten it: no horizon
    /// names it, and the sender knows more of who has written it than came from there.
    fn is_hearsay_there(&self, stamp: Stamp) -> bool {
        let incarnation = stamp.incarnation;
        let is_told_by_others =
            incarnation != self.sender && self.there.knowledge.get(incarnation) > self.proven.get(incarnation);
        (self.may_be_written_over(stamp) || is_told_by_others) && !self.there.horizon.covers(stamp)
    }

    /// Whether only hearsay says that an entry of the sender's own, which is lacking here, was forgotten here: no
    /// horizon names it, and nothing that the sender's incarnation has said itself reached that far.
    fn is_hearsay_here(&self, entry: &Entry) -> bool {
        let stamp = entry.location.0;
        stamp.incarnation == self.sender && !self.proven.covers(stamp) && !self.here.horizon.covers(stamp)
    }

    /// Decides on an entry: `mine` is its state at the importing replica, `theirs` that in the bundle.
    pub fn decide(&self, mine: Option<&Entry>, theirs: Option<&Entry>) -> Decision {
        let merged = match (mine, theirs) {
            (None, None) => return Decision::Keep,
            // A delta says nothing about an entry that it doesn't hold.
            (Some(_), None) if !self.full => return Decision::Keep,
            (Some(mine), None) => mine.clone(),
            // This replica has forgotten the tombstone.
            (None, Some(theirs)) if !theirs.alive() && self.here.knows_all_of(theirs) => return Decision::Keep,
            (None, Some(theirs)) => theirs.clone(),
            (Some(mine), Some(theirs)) => mine.merge(theirs),
        };
        let living = |entry: Option<&Entry>| entry.is_some_and(Entry::alive);
        // If the entry is alive on only one side: that side, the other one, and whether the other has no record of it
        // at all.
        let one_sided = match (living(mine), living(theirs)) {
            (true, false) => Some((&self.here, &self.there, theirs.is_none())),
            (false, true) => Some((&self.there, &self.here, mine.is_none())),
            _ => None,
        };
        match one_sided {
            Some((_, lacking, unheard_of)) if merged.alive() && lacking.has_forgotten(&merged) => match theirs {
                Some(_) if unheard_of && self.is_hearsay_here(&merged) => Decision::StoreAnew(merged),
                Some(_) if unheard_of => Decision::Keep,
                None if self.is_spoilt || self.is_hearsay_there(merged.location.0) => Decision::StoreAnew(merged),
                None if lacking.knows_all_of(&merged) => Decision::Drop,
                // The tombstone keeps what the other side doesn't know, or has beside what it has forgotten: no horizon
                // names that.
                _ => Decision::Store(merged.removed_by_somebody()),
            },
            // The other side may have forgotten a part of the entry, and a replica that remembers the part will merge
            // it in.
            Some((side, ..)) if side.behind && merged.alive() => Decision::StoreAnew(merged),
            _ if mine == Some(&merged) => Decision::Keep,
            _ => Decision::Store(merged),
        }
    }

    /// Decides on the register of a folder, by the same rules: `mine` is that of the importing replica, `theirs` that in
    /// the bundle. A folder is an entry that has a location alone.
    pub fn decide_folder(&self, mine: Option<FolderState>, theirs: Option<FolderState>) -> FolderDecision {
        let merged = match (mine, theirs) {
            (None, None) => return FolderDecision::Keep,
            (Some(_), None) if !self.full => return FolderDecision::Keep,
            (None, Some(theirs)) if !theirs.present && self.here.knowledge.covers(theirs.stamp) => {
                return FolderDecision::Keep;
            }
            (Some(one), None) | (None, Some(one)) => one,
            (Some(mine), Some(theirs)) => mine.merge(theirs),
        };
        let present = |state: Option<FolderState>| state.is_some_and(|state| state.present);
        let one_sided = match (present(mine), present(theirs)) {
            (true, false) => Some((&self.here, &self.there)),
            (false, true) => Some((&self.there, &self.here)),
            _ => None,
        };
        match one_sided {
            Some((_, lacking)) if merged.present && lacking.forgotten.covers(merged.stamp) => {
                if present(theirs) {
                    return FolderDecision::Keep;
                }
                let may_be_lost = self.is_spoilt
                    || (self.may_be_written_over(merged.stamp) && !self.there.horizon.covers(merged.stamp));
                if may_be_lost && theirs.is_none() {
                    return FolderDecision::MakeAnew;
                }
                // The record of an earlier removal, if they have one, or else this one: as absent until all know it.
                FolderDecision::Store(theirs.unwrap_or(FolderState { present: false, ..merged }))
            }
            Some((side, _)) if side.behind && merged.present => FolderDecision::MakeAnew,
            _ if mine == Some(merged) => FolderDecision::Keep,
            _ => FolderDecision::Store(merged),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Clock, EntryId, Incarnation, Mtime, Origin, Stamp};
    use super::*;

    const A: Incarnation = Incarnation(0xa);
    const B: Incarnation = Incarnation(0xb);

    fn at(clock: u64, incarnation: Incarnation) -> Stamp {
        Stamp { clock: Clock::from_bits(clock).unwrap(), incarnation }
    }

    fn knows(stamps: &[Stamp]) -> Knowledge {
        stamps.iter().map(|stamp| (stamp.incarnation, stamp.clock)).collect()
    }

    /// Everything came from who has made it.
    fn all() -> Knowledge {
        knows(&[at(99, A), at(99, B)])
    }

    fn delivered(stamp: Stamp) -> Entry {
        let folder = "INBOX".parse().unwrap();
        Entry::delivered(None, Origin::Delivery, stamp, folder, &["S".parse().unwrap()].into(), 1, Mtime(1))
    }

    fn flagged(mut entry: Entry, stamp: Stamp) -> Entry {
        entry.set_flag(stamp, "F".parse().unwrap(), true);
        entry
    }

    fn removed(born: Stamp, removal: Stamp) -> Entry {
        let mut entry = delivered(born);
        entry.remove(removal);
        entry
    }

    fn head(full: bool, tip: &[Stamp], horizon: &[Stamp]) -> Head {
        Head {
            incarnation: B,
            number: 1,
            full,
            base: Knowledge::new(),
            tip: knows(tip),
            horizon: knows(horizon),
            issued: Vec::new(),
            left_out: Knowledge::new(),
        }
    }

    /// One decision: what is known and forgotten here, what a bundle says, what each side has of the entry, and what
    /// becomes of it.
    struct Case<'a> {
        what: &'a str,
        here: (&'a [Stamp], &'a [Stamp]),
        bundle: (bool, &'a [Stamp], &'a [Stamp]),
        mine: Option<Entry>,
        theirs: Option<Entry>,
        becomes: Decision,
    }

    #[test]
    fn what_a_sender_lacks_beside_a_revoked_one_is_kept_unless_a_horizon_names_it_or_the_revoked_one_wrote_it() {
        const C: Incarnation = Incarnation(0xc);
        let meets = |horizon: &[Stamp], revoked: Option<Incarnation>| {
            let head = head(true, &[at(3, B)], horizon);
            let mut caps = Caps::default();
            if let Some(who) = revoked {
                caps.revoke(who, 0, &knows(&[at(9, who)]));
            }
            let knowledge = knows(&[at(1, A), at(1, B)]);
            let meeting =
                Meeting::new(&knowledge, &Knowledge::new(), all(), &head).believing(&caps.believe(&head, &knowledge));
            let folder = FolderState { stamp: at(1, B), present: true };
            (meeting.decide(Some(&delivered(at(1, B))), None), meeting.decide_folder(Some(folder), None))
        };
        let gone = FolderDecision::Store(FolderState { stamp: at(1, B), present: false });
        assert_eq!(meets(&[], None), (Decision::Drop, gone));
        assert_eq!(meets(&[], Some(C)), (Decision::StoreAnew(delivered(at(1, B))), FolderDecision::MakeAnew));
        assert_eq!(meets(&[at(2, B)], Some(C)), (Decision::Drop, gone));
        assert_eq!(meets(&[], Some(B)), (Decision::Drop, gone));
    }

    #[test]
    #[allow(clippy::too_many_lines)]
    fn each_state_of_the_two_sides_has_its_decision() {
        const DELTA: bool = false;
        const FULL: bool = true;
        const A1: Stamp = Stamp { clock: Clock::FIRST, incarnation: A };
        const B1: Stamp = Stamp { clock: Clock::FIRST, incarnation: B };
        let (a2, b2) = (at(2, A), at(2, B));
        let (a2_known, b2_known, a2_b1) = (&[a2][..], &[b2][..], &[a2, B1][..]);
        let (mine, theirs) = (delivered(A1), delivered(B1));
        let cases = [
            Case {
                what: "nobody has it",
                here: (&[A1], &[]),
                bundle: (FULL, &[B1], &[]),
                mine: None,
                theirs: None,
                becomes: Decision::Keep,
            },
            Case {
                what: "it is new here",
                here: (&[A1], &[]),
                bundle: (DELTA, &[B1], &[]),
                mine: None,
                theirs: Some(theirs.clone()),
                becomes: Decision::Store(theirs.clone()),
            },
            Case {
                what: "a late bundle brings what was removed and forgotten here",
                here: (b2_known, b2_known),
                bundle: (FULL, &[B1], &[]),
                mine: None,
                theirs: Some(theirs.clone()),
                becomes: Decision::Keep,
            },
            Case {
                what: "a tombstone that was forgotten here comes again",
                here: (b2_known, b2_known),
                bundle: (DELTA, b2_known, &[]),
                mine: None,
                theirs: Some(removed(B1, b2)),
                becomes: Decision::Keep,
            },
            Case {
                what: "a tombstone is new here",
                here: (&[A1], &[]),
                bundle: (DELTA, b2_known, &[]),
                mine: None,
                theirs: Some(removed(B1, b2)),
                becomes: Decision::Store(removed(B1, b2)),
            },
            Case {
                what: "a delta doesn't speak of what is here",
                here: (&[A1], &[]),
                bundle: (DELTA, &[A1, B1], &[]),
                mine: Some(mine.clone()),
                theirs: None,
                becomes: Decision::Keep,
            },
            Case {
                what: "a full bundle lacks what its sender knew",
                here: (&[A1], &[]),
                bundle: (FULL, &[A1, B1], &[]),
                mine: Some(mine.clone()),
                theirs: None,
                becomes: Decision::Drop,
            },
            Case {
                what: "a full bundle lacks what its sender knew, but for a change of a flag",
                here: (a2_known, &[]),
                bundle: (FULL, &[A1, B1], &[]),
                mine: Some(flagged(mine.clone(), a2)),
                theirs: None,
                becomes: Decision::Store(flagged(mine.clone(), a2).removed_by_somebody()),
            },
            Case {
                what: "a late bundle brings what was removed and forgotten here, with a change of a flag",
                here: (&[B1], &[B1]),
                bundle: (FULL, b2_known, &[]),
                mine: None,
                theirs: Some(flagged(theirs.clone(), b2)),
                becomes: Decision::Keep,
            },
            Case {
                what: "a full bundle lacks what its sender never knew",
                here: (&[A1], &[]),
                bundle: (FULL, &[B1], &[]),
                mine: Some(mine.clone()),
                theirs: None,
                becomes: Decision::Keep,
            },
            Case {
                what: "a full bundle lacks a tombstone of mine",
                here: (a2_known, &[]),
                bundle: (FULL, a2_known, &[]),
                mine: Some(removed(A1, a2)),
                theirs: None,
                becomes: Decision::Keep,
            },
            Case {
                what: "the sender has forgotten more than I know, and I alone have it",
                here: (&[A1], &[]),
                bundle: (FULL, &[B1], &[B1]),
                mine: Some(mine.clone()),
                theirs: None,
                becomes: Decision::StoreAnew(mine.clone()),
            },
            Case {
                what: "I have forgotten more than the sender knows, and it alone has it",
                here: (&[A1], &[A1]),
                bundle: (FULL, &[B1], &[]),
                mine: None,
                theirs: Some(theirs.clone()),
                becomes: Decision::StoreAnew(theirs.clone()),
            },
            Case {
                what: "the same in a delta, which is taken only where the sender knows my horizon",
                here: (&[A1], &[A1]),
                bundle: (DELTA, &[A1, B1], &[]),
                mine: None,
                theirs: Some(theirs.clone()),
                becomes: Decision::Store(theirs.clone()),
            },
            Case {
                what: "I have a tombstone, the sender is behind and has it alive after that",
                here: (a2_known, a2_known),
                bundle: (FULL, &[B1], &[]),
                mine: Some(removed(A1, a2)),
                theirs: Some(theirs.clone()),
                becomes: Decision::StoreAnew(removed(A1, a2).merge(&theirs)),
            },
            Case {
                what: "I remember another removal than the one that I have forgotten, and the sender has it alive between them",
                here: (&[a2, b2], &[b2]),
                bundle: (FULL, &[B1], &[]),
                mine: Some(removed(A1, a2)),
                theirs: Some(delivered(B1)),
                becomes: Decision::Store(removed(A1, a2).merge(&delivered(B1)).removed_by_somebody()),
            },
            Case {
                what: "the sender remembers another removal than the one that it has forgotten, and I have it alive between them",
                here: (&[B1], &[]),
                bundle: (FULL, &[a2, b2], &[b2]),
                mine: Some(delivered(B1)),
                theirs: Some(removed(A1, a2)),
                becomes: Decision::Store(removed(A1, a2).merge(&delivered(B1)).removed_by_somebody()),
            },
            Case {
                what: "a removal that has seen everything needs nobody's delivery",
                here: (&[A1], &[]),
                bundle: (FULL, a2_b1, &[B1]),
                mine: Some(mine.clone()),
                theirs: Some(removed(A1, a2)),
                becomes: Decision::Store(removed(A1, a2)),
            },
            Case {
                what: "it is alive on both sides, whoever is behind",
                here: (&[A1], &[A1]),
                bundle: (FULL, &[B1], &[B1]),
                mine: Some(mine.clone()),
                theirs: Some(theirs.clone()),
                becomes: Decision::Store(mine.merge(&theirs)),
            },
            Case {
                what: "both know the same, and the sender has lost it",
                here: (&[A1, B1], &[]),
                bundle: (FULL, &[A1, B1], &[]),
                mine: Some(mine.clone()),
                theirs: None,
                becomes: Decision::Keep,
            },
            Case {
                what: "both know the same, and it was lost here",
                here: (&[A1, B1], &[]),
                bundle: (FULL, &[A1, B1], &[]),
                mine: None,
                theirs: Some(theirs.clone()),
                becomes: Decision::Store(theirs.clone()),
            },
            Case {
                what: "both know the same, and the sender has forgotten it",
                here: (&[A1, B1], &[]),
                bundle: (FULL, &[A1, B1], &[A1]),
                mine: Some(mine.clone()),
                theirs: None,
                becomes: Decision::Drop,
            },
        ];
        for Case { what, here, bundle: (full, tip, horizon), mine, theirs, becomes } in cases {
            let meeting = Meeting::new(&knows(here.0), &knows(here.1), all(), &head(full, tip, horizon));
            assert_eq!(meeting.decide(mine.as_ref(), theirs.as_ref()), becomes, "{what}");
        }
    }

    #[test]
    fn what_only_others_have_told_takes_no_mail_away_and_hides_none() {
        const C: Incarnation = Incarnation(0xc);
        let (c1, c9) = (at(1, C), at(9, C));
        let (mine, theirs) = (delivered(c1), delivered(at(1, B)));
        let nothing: &[Stamp] = &[];
        // What is proven of C or B, the horizon here, the tip and the horizon there, who has it, and what becomes of it.
        for (what, proven, here, tip, there, has_it, anew) in [
            ("the sender knows more of C than C has told", nothing, nothing, &[c9][..], nothing, true, true),
            ("C has told as much", &[c9][..], nothing, &[c9][..], nothing, true, false),
            ("the sender's horizon names it", nothing, nothing, &[c9][..], &[c1][..], true, false),
            (
                "the sender brings its own, which it never told of",
                nothing,
                nothing,
                &[at(2, B)][..],
                nothing,
                false,
                true,
            ),
            ("it has told of it before", &[at(2, B)][..], nothing, &[at(2, B)][..], nothing, false, false),
            ("the horizon here names it", nothing, &[at(1, B)][..], &[at(2, B)][..], nothing, false, false),
        ] {
            let known = knows(&[c1, at(5, B)]);
            let meeting = Meeting::new(&known, &knows(here), knows(proven), &head(true, tip, there));
            let decision = if has_it { meeting.decide(Some(&mine), None) } else { meeting.decide(None, Some(&theirs)) };
            assert_eq!(matches!(decision, Decision::StoreAnew(_)), anew, "{what}: {decision:?}");
            assert!(anew || matches!(decision, Decision::Drop | Decision::Keep), "{what}: {decision:?}");
        }
    }

    #[test]
    #[allow(clippy::too_many_lines)]
    fn each_state_of_a_folder_on_the_two_sides_has_its_decision() {
        use FolderDecision::{Keep, MakeAnew, Store};
        let state = |stamp, present| Some(FolderState { stamp, present });
        let (a1, a2, a3, b1, b2) = (at(1, A), at(2, A), at(3, A), at(1, B), at(2, B));
        let nothing: &[Stamp] = &[];
        for (what, here, full, tip, horizons, mine, theirs, becomes) in [
            (
                "it is new here",
                &[a1][..],
                false,
                &[b1][..],
                [nothing; 2],
                None,
                state(b1, true),
                Store(state(b1, true).unwrap()),
            ),
            (
                "it was removed there",
                &[a1],
                false,
                &[a1, b1],
                [nothing; 2],
                state(a1, true),
                state(b2, false),
                Store(state(b2, false).unwrap()),
            ),
            (
                "it was made again there",
                &[a1],
                false,
                &[a1, b2],
                [nothing; 2],
                state(a1, false),
                state(b2, true),
                Store(state(b2, true).unwrap()),
            ),
            ("it is older there", &[a2], false, &[a1], [nothing; 2], state(a2, true), state(a1, false), Keep),
            ("a delta doesn't speak of it", &[a1], false, &[a1, b1], [nothing; 2], state(a1, true), None, Keep),
            (
                "its removal was forgotten there",
                &[a1],
                true,
                &[a1, b1],
                [nothing, &[b1]],
                state(a1, true),
                None,
                Store(state(a1, false).unwrap()),
            ),
            ("they never heard of it", &[a1], true, &[b1], [nothing; 2], state(a1, true), None, Keep),
            (
                "they never heard of it, and have forgotten what is not known here",
                &[a1],
                true,
                &[b1],
                [nothing, &[b1]],
                state(a1, true),
                None,
                MakeAnew,
            ),
            (
                "they know less than was forgotten here",
                &[a1],
                true,
                &[b1],
                [&[a1], nothing],
                None,
                state(b1, true),
                MakeAnew,
            ),
            (
                "its removal was forgotten here, and it comes late",
                &[b2],
                true,
                &[b1],
                [&[b2], nothing],
                None,
                state(b1, true),
                Keep,
            ),
            ("its removal comes again", &[b2], false, &[b2], [&[b2], nothing], None, state(b2, false), Keep),
            (
                "another removal is remembered here than was forgotten",
                &[a1, b2],
                true,
                &[b1],
                [&[b2], nothing],
                state(a1, false),
                state(b1, true),
                Keep,
            ),
            (
                "another removal is remembered there than was forgotten",
                &[a2],
                true,
                &[a3, b2],
                [nothing, &[a3]],
                state(a2, true),
                state(a1, false),
                Store(state(a1, false).unwrap()),
            ),
            (
                "both know the same, and it was lost there",
                &[a1, b1],
                true,
                &[a1, b1],
                [nothing; 2],
                state(a1, true),
                None,
                Keep,
            ),
        ] {
            let meeting = Meeting::new(&knows(here), &knows(horizons[0]), all(), &head(full, tip, horizons[1]));
            assert_eq!(meeting.decide_folder(mine, theirs), becomes, "{what}");
        }
    }

    /// A full bundle from a past that the receiver has forgotten brings a delivery back, without a flag register that
    /// the sender still has.
    #[test]
    fn what_was_forgotten_here_does_not_count_for_what_is_delivered_anew() {
        let id = EntryId { digest: super::super::Digest::of(b"m"), birth: "INBOX".parse().unwrap(), ordinal: 0 };
        // A delivers, sets a flag, removes, and forgets all of it. B delivers the same message in between.
        let mut past = delivered(at(20, A));
        past.set_flag(at(23, A), "F".parse().unwrap(), true);
        let theirs = delivered(at(21, B));
        let meeting = Meeting::new(&knows(&[at(25, A)]), &knows(&[at(25, A)]), all(), &head(true, &[at(21, B)], &[]));
        let Decision::StoreAnew(mut stored) = meeting.decide(None, Some(&theirs)) else {
            panic!("B doesn't know what A has forgotten")
        };
        stored.deliver_anew(at(26, A));
        // B has taken A's delivery and flag, and not yet heard of the rest.
        let remembered = past.merge(&theirs);
        assert_ne!(remembered.canonical(&id), theirs.canonical(&id), "a history that shows nothing");
        assert_eq!(remembered.merge(&stored).canonical(&id), stored.canonical(&id));
    }
}
