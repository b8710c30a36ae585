//! Stamps: when and where a change was made.

use std::fmt;
use std::str::FromStr;

use super::text::{ParseError, parse_hex_u64, serde_as_text};

/// A replica's life between two losses of memory: a random number. The replica draws a new one whenever it finds that
/// its state was copied or restored, so that it never issues a stamp twice that it may have forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

/// A hybrid logical clock (Kulkarni et al. 2014): 48 bits of milliseconds since 1970 UTC, then 16 bits of counter.
///
/// At most [`Clock::MAX`], so that it fits a signed 64-bit integer wherever it is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Clock(u64);

impl Clock {
    /// The clock before all others. No issued stamp has it.
    pub const ZERO: Self = Self(0);
    /// The first clock that a stamp can have.
    pub const FIRST: Self = Self(1);
    /// The last one that a bundle may have, in the year 3084: so far below [`Clock::MAX`] that whatever a peer says,
    /// this replica can still make stamps above it.
    pub const LAST: Self = Self((1 << 61) - 1);
    /// The last value that a state can hold, in the year 6429.
    pub const MAX: Self = Self(i64::MAX as u64);

    /// The clock with these 64 bits, if they are within range.
    pub fn from_bits(bits: u64) -> Option<Self> {
        (bits <= Self::MAX.0).then_some(Self(bits))
    }

    /// The 64 bits: milliseconds shifted left by 16, plus the counter.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// Milliseconds since 1970 UTC.
    pub fn millis(self) -> u64 {
        self.0 >> 16
    }

    /// The clock of a new change made at `now` (milliseconds since 1970 UTC) by a replica that knows of clocks up to
    /// `known`: never before the wall clock, always above everything known. A wall clock that is beyond [`Clock::LAST`]
    /// counts as that. `None` when the clock is used up, which no bundle can bring about.
    pub fn next(now: u64, known: Self) -> Option<Self> {
        let wall = now.min(Self::LAST.millis()) << 16;
        Self::from_bits(wall.max(known.0 + 1))
    }
}

/// A pair of clock and incarnation. Stamps are totally ordered, and each is issued only once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// When.
    pub clock: Clock,
    /// Where.
    pub incarnation: Incarnation,
}

impl Stamp {
    /// The stamp before all others. Every knowledge covers it.
    pub const ZERO: Self = Self { clock: Clock::ZERO, incarnation: Incarnation(0) };
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::text::write_hex(f, &self.0.to_be_bytes())
    }
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::text::write_hex(f, &self.0.to_be_bytes())
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.clock, self.incarnation)
    }
}

impl FromStr for Incarnation {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse_hex_u64("incarnation", text).map(Self)
    }
}

impl FromStr for Clock {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::from_bits(parse_hex_u64("clock", text)?)
            .ok_or_else(|| ParseError::new("clock", format!("above the greatest value, {}", Self::MAX)))
    }
}

impl FromStr for Stamp {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (clock, incarnation) =
            text.split_once('-').ok_or_else(|| ParseError::new("stamp", "CLOCK-INCARNATION expected"))?;
        Ok(Self { clock: clock.parse()?, incarnation: incarnation.parse()? })
    }
}

serde_as_text!(Incarnation, Clock, Stamp);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_follows_the_wall_and_is_always_above_what_is_known() {
        assert_eq!(Clock::next(5, Clock::ZERO), Clock::from_bits(5 << 16));
        assert_eq!(Clock::next(5, Clock(9 << 16)), Clock::from_bits((9 << 16) + 1));
        assert_eq!(Clock::next(u64::MAX, Clock::ZERO).map(Clock::millis), Some(Clock::LAST.millis()));
        assert_eq!(Clock::next(5, Clock::LAST), Clock::from_bits(Clock::LAST.bits() + 1));
        assert_eq!(Clock::next(5, Clock::MAX), None);
    }

    #[test]
    fn a_stamp_reads_back_what_it_writes_and_nothing_else() {
        let stamp = Stamp { clock: Clock(0x0123_4567_89ab_cdef), incarnation: Incarnation(u64::MAX) };
        assert_eq!(stamp.to_string(), "0123456789abcdef-ffffffffffffffff");
        assert_eq!(stamp.to_string().parse(), Ok(stamp));
        for wrong in
            ["", "-", "0123456789abcdef", "0123456789ABCDEF-ffffffffffffffff", "8000000000000000-ffffffffffffffff"]
        {
            assert!(wrong.parse::<Stamp>().is_err(), "{wrong}");
        }
    }
}
