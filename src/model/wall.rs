//! The machine's own clock, and what can be told by it.

use super::Clock;

const DAY: u64 = 24 * 60 * 60 * 1000;

/// What the machine's clock says: milliseconds since 1970 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WallClock(pub u64);

/// How another machine's clock differs from this one's, by more than a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skew {
    /// The other one is ahead, by so many milliseconds or more.
    Ahead(u64),
    /// The other one is behind, by so many milliseconds or more.
    Behind(u64),
}

impl WallClock {
    /// When this program was made: 2026-11-01. A machine that says it is earlier has no clock, such as one whose
    /// battery is empty.
    pub const PROGRAM: Self = Self(1_793_491_200_000);

    /// How far ahead of this machine's clock another one may be, in milliseconds: a day. That is more than any mistake
    /// with time zones.
    pub const MOST_AHEAD: u64 = DAY;

    /// Whether the machine has a clock.
    pub fn is_set(self) -> bool {
        self >= Self::PROGRAM
    }

    /// Whether a stamp's clock is so far ahead that one of the two clocks is wrong. Nothing can be told where there is
    /// no clock.
    pub fn is_behind(self, clock: Clock) -> bool {
        self.is_before(clock.millis())
    }

    /// The same of a time that another machine's clock has shown: milliseconds since 1970 UTC.
    pub fn is_before(self, time: u64) -> bool {
        self.is_set() && time > self.0.saturating_add(Self::MOST_AHEAD)
    }

    /// The last clock that a stamp can have by this one, beyond which [`WallClock::is_behind`] holds. Where there is no
    /// clock, any can be that a bundle may have.
    pub fn last_possible(self) -> Clock {
        let end = if self.is_set() { self.0.saturating_add(Self::MOST_AHEAD) } else { u64::MAX };
        let counters = |millis: u64| Clock::from_bits(millis << 16 | 0xffff).expect("it is below the last one");
        if end < Clock::LAST.millis() { counters(end) } else { Clock::LAST }
    }

    /// Whether something that was done here and dated by this clock can have been done then: not before there was this
    /// program, and not after now.
    pub fn can_date(self, done: u64) -> bool {
        Self(done).is_set() && done <= self.0.saturating_add(Self::MOST_AHEAD)
    }

    /// By how much this clock may go on from one command to the next, in milliseconds, before somebody may have set it wrong: two
    /// weeks. A machine can be off for longer, too.
    pub const MOST_ON: u64 = 14 * DAY;

    /// Since when nobody knows how much time has passed: this clock has gone on by more than two weeks since it was looked at
    /// last. That was at `last`; `doubted` is the answer of then. A clock that is set back to that time is right
    /// again.
    pub fn doubt(self, doubted: Option<u64>, last: Option<u64>) -> Option<u64> {
        let has_gone_on = |from: &u64| Self(*from).is_set() && self.0 > from.saturating_add(Self::MOST_ON);
        doubted.filter(has_gone_on).or(last.filter(has_gone_on))
    }

    /// Whether another machine's clock, which said this just now or before, shows that this one is right.
    pub fn is_confirmed_by(self, made: u64) -> bool {
        self.0.abs_diff(made) <= Self::MOST_AHEAD
    }

    /// Whether what a bundle has shown of another machine's clock, when this one said `heard`, can still be so: this one may have
    /// been set meanwhile.
    pub fn may_still_differ(self, skew: Skew, heard: u64) -> bool {
        match skew {
            Skew::Ahead(by) => self.0 < heard.saturating_add(by),
            Skew::Behind(_) => !self.is_before(heard),
        }
    }

    /// What a bundle that was made at `made` (by its sender's clock) and received now shows of the sender's clock.
    /// `mine` is the newest clock of this replica's own that the sender knew of then; zero if none. A bundle can take
    /// any time on its way: that it is old tells nothing, unless it tells of something that was done here later by this
    /// machine's clock.
    pub fn skew(self, made: u64, mine: Clock) -> Option<Skew> {
        let (ahead, behind) = (made.saturating_sub(self.0), mine.millis().saturating_sub(made));
        match (ahead > Self::MOST_AHEAD, behind > Self::MOST_AHEAD) {
            (true, _) => Some(Skew::Ahead(ahead)),
            (_, true) => Some(Skew::Behind(behind)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallClock = WallClock(1_800_000_000_000);

    fn at(millis: u64) -> Clock {
        Clock::from_bits(millis << 16).unwrap()
    }

    #[test]
    fn a_clock_is_ahead_if_it_is_by_more_than_a_day_and_there_is_one_to_compare_with() {
        for (now, clock, behind) in [
            (NOW, NOW.0, false),
            (NOW, NOW.0 + DAY, false),
            (NOW, NOW.0 + DAY + 1, true),
            (NOW, 0, false),
            (WallClock(WallClock::PROGRAM.0 - 1), NOW.0 + 2 * DAY, false),
            (WallClock(0), NOW.0, false),
            (WallClock::PROGRAM, NOW.0, true),
            (WallClock(u64::MAX), NOW.0, false),
        ] {
            assert_eq!(now.is_behind(at(clock)), behind, "{now:?} {clock}");
            assert_eq!(now.is_before(clock), behind, "{now:?} {clock}");
        }
        for (now, time, before) in [
            (NOW, u64::MAX, true),
            (WallClock(u64::MAX), u64::MAX, false),
            (WallClock(WallClock::PROGRAM.0 - 1), u64::MAX, false),
        ] {
            assert_eq!(now.is_before(time), before, "{now:?} {time}");
        }
        assert!(NOW.is_behind(Clock::LAST));
    }

    #[test]
    fn the_last_clock_that_can_be_is_the_last_that_is_not_ahead() {
        for wall in [NOW, WallClock::PROGRAM] {
            let last = wall.last_possible();
            assert!(!wall.is_behind(last) && wall.is_behind(Clock::from_bits(last.bits() + 1).unwrap()), "{wall:?}");
        }
        for wall in [WallClock(0), WallClock(WallClock::PROGRAM.0 - 1), WallClock(u64::MAX)] {
            assert_eq!(wall.last_possible(), Clock::LAST, "{wall:?}");
        }
    }

    #[test]
    fn a_date_that_this_machine_has_written_lies_between_the_programs_own_and_now() {
        for (done, can_be) in [(0, false), (WallClock::PROGRAM.0, true), (NOW.0, true), (NOW.0 + DAY + 1, false)] {
            assert_eq!(NOW.can_date(done), can_be, "{done}");
        }
    }

    #[test]
    fn a_clock_that_goes_on_by_weeks_is_in_doubt_until_it_is_set_back() {
        let ago = |days: u64| Some(NOW.0 - days * DAY);
        for (case, doubted, last, doubt) in [
            ("nothing was ever done here", None, None, None),
            ("two weeks off", None, ago(14), None),
            ("three weeks", None, ago(21), ago(21)),
            ("it was in doubt then, and something was done", ago(21), ago(0), ago(21)),
            ("twice", ago(40), ago(20), ago(40)),
            ("it was set back", ago(3), ago(0), None),
            ("a command by a clock that was ahead", None, Some(NOW.0 + 30 * DAY), None),
            ("there was no clock then", None, Some(1000), None),
        ] {
            assert_eq!(NOW.doubt(doubted, last), doubt, "{case}");
        }
        for (made, confirms) in [(NOW.0, true), (NOW.0 - DAY, true), (NOW.0 + DAY, true), (NOW.0 - 2 * DAY, false)] {
            assert_eq!(NOW.is_confirmed_by(made), confirms, "{made}");
        }
    }

    #[test]
    fn what_was_seen_of_another_clock_is_not_held_against_this_one_when_it_was_set() {
        let (ahead, behind) = (Skew::Ahead(20 * DAY), Skew::Behind(20 * DAY));
        for (skew, heard, may_be) in [
            (behind, NOW.0, true),
            (behind, NOW.0 - 100 * DAY, true),
            (behind, NOW.0 + 20 * DAY, false),
            (ahead, NOW.0, true),
            (ahead, NOW.0 - 20 * DAY, false),
        ] {
            assert_eq!(NOW.may_still_differ(skew, heard), may_be, "{skew:?} {heard}");
        }
    }

    #[test]
    fn a_bundle_shows_that_a_clock_is_ahead_or_behind_but_not_how_long_it_was_on_its_way() {
        for (made, mine, skew) in [
            (NOW.0, 0, None),
            (NOW.0 + DAY, 0, None),
            (NOW.0 + 2 * DAY, 0, Some(Skew::Ahead(2 * DAY))),
            (NOW.0 - 1000 * DAY, 0, None),
            (NOW.0 - 1000 * DAY, NOW.0 - 1000 * DAY, None),
            (NOW.0 - 1000 * DAY, NOW.0 - 10 * DAY, Some(Skew::Behind(990 * DAY))),
        ] {
            assert_eq!(NOW.skew(made, at(mine)), skew, "{made} {mine}");
        }
    }
}
