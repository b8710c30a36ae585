//! Flags, and their registers.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::Stamp;
use super::keyword::Keyword;
use super::text::{ParseError, serde_as_text};

/// Something that is on or off for an entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flag {
    /// An upper-case letter or a digit in the info part of a Maildir name: the specification's `P R S T D F`, or any
    /// other, kept as found. A lower-case letter is no flag by itself: it stands for the keyword that its folder names.
    Info(u8),
    /// The file still lies in `new/`.
    Recent,
    /// A keyword by its name, such as `$Forwarded`.
    Keyword(Keyword),
}

/// The flags that are on for one entry.
pub type FlagSet = BTreeSet<Flag>;

const KEYWORD: &str = "keyword:";

impl Flag {
    /// The flag for a character in the info part. `None` for a character that can't stand there.
    pub fn info(character: u8) -> Option<Self> {
        (character.is_ascii_uppercase() || character.is_ascii_digit()).then_some(Self::Info(character))
    }

    /// The flag for a keyword of this name. `None` if no keyword can have it.
    pub fn keyword(name: &str) -> Option<Self> {
        Keyword::new(name).map(Self::Keyword)
    }

    /// The text in which all spellings of the flag agree.
    pub fn canonical(&self) -> String {
        match self {
            Self::Keyword(keyword) => format!("{KEYWORD}{}", keyword.folded()),
            other => other.to_string(),
        }
    }

    /// How it is spelled, if there are several ways.
    fn spelling(&self) -> &str {
        if let Self::Keyword(keyword) = self { keyword.as_str() } else { "" }
    }
}

impl fmt::Display for Flag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Info(character) => write!(f, "{}", char::from(*character)),
            Self::Recent => f.write_str("recent"),
            Self::Keyword(name) => write!(f, "{KEYWORD}{name}"),
        }
    }
}

impl FromStr for Flag {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let flag = match text.as_bytes() {
            [character] => Self::info(*character),
            b"recent" => Some(Self::Recent),
            _ => text.strip_prefix(KEYWORD).and_then(Self::keyword),
        };
        flag.ok_or_else(|| ParseError::new("flag", format!("{text:?} is neither a letter, \"recent\" nor a keyword")))
    }
}

serde_as_text!(Flag);

/// One last-writer-wins register for each flag that was ever set or cleared, sorted by flag. A flag without a register
/// is off. How keywords are spelled makes two of them no different.
///
/// There are at most [`FlagRegisters::MOST`]: of more, those that were written last stay, whichever way they came
/// together. So the order in which registers are written makes no difference, and two replicas that know the same hold
/// the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlagRegisters(Vec<(Flag, Stamp, bool)>);

impl FlagRegisters {
    /// The most registers that an entry has.
    pub const MOST: usize = 256;

    /// Writes a register, unless it holds a newer value (or an equally new one that is on). A flag is spelled as its
    /// register's writer did; of two equal values, the spelling counts that is the lesser by its bytes. If there is one
    /// register too many by that, the one goes that is the least by (stamp, on, flag).
    pub fn write(&mut self, flag: Flag, stamp: Stamp, on: bool) {
        match self.0.binary_search_by(|(f, ..)| f.cmp(&flag)) {
            Ok(at) => {
                let (f, s, o) = &self.0[at];
                if (stamp, on, Reverse(flag.spelling())) > (*s, *o, Reverse(f.spelling())) {
                    self.0[at] = (flag, stamp, on);
                }
            }
            Err(at) => self.0.insert(at, (flag, stamp, on)),
        }
        if self.0.len() > Self::MOST {
            let least = (0..self.0.len()).min_by(|&a, &b| {
                let rank = |at: usize| (&self.0[at].1, self.0[at].2, &self.0[at].0);
                rank(a).cmp(&rank(b))
            });
            self.0.remove(least.expect("there is one too many"));
        }
    }

    /// Writes a register as [`FlagRegisters::write`] does, but leaves the flag spelled as its register has it, if it
    /// has one: whoever named it first has named it.
    pub fn set(&mut self, flag: Flag, stamp: Stamp, on: bool) {
        let held = self.0.binary_search_by(|(f, ..)| f.cmp(&flag)).ok();
        self.write(held.map_or(flag, |at| self.0[at].0.clone()), stamp, on);
    }

    /// All registers, sorted by flag.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &(Flag, Stamp, bool)> {
        self.0.iter()
    }

    /// The stamps of all registers, to be changed.
    pub(crate) fn stamps_mut(&mut self) -> impl Iterator<Item = &mut Stamp> {
        self.0.iter_mut().map(|(_, stamp, _)| stamp)
    }

    /// The flags whose registers are no older than `floor` and on.
    pub fn on(&self, floor: Stamp) -> impl Iterator<Item = &Flag> {
        self.0.iter().filter(move |&&(_, stamp, on)| on && stamp >= floor).map(|(flag, ..)| flag)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Clock, Incarnation};
    use super::*;

    #[test]
    fn a_flag_reads_back_what_it_writes_and_nothing_else() {
        for text in ["S", "Z", "7", "recent", "keyword:$Forwarded"] {
            assert_eq!(text.parse::<Flag>().unwrap().to_string(), text);
        }
        for wrong in
            ["", ",", "/", "SS", "é", "a", "z", "keyword:", "keyword:a b", "keyword:é", "keyword:\\Seen", "Recent"]
        {
            assert!(wrong.parse::<Flag>().is_err(), "{wrong}");
        }
    }

    fn stamp(n: u64) -> Stamp {
        Stamp { clock: Clock::from_bits(n).unwrap(), incarnation: Incarnation(1) }
    }

    fn texts(registers: &FlagRegisters) -> Vec<String> {
        registers.iter().map(|(flag, stamp, on)| format!("{flag} {stamp} {on}")).collect()
    }

    #[test]
    fn one_keyword_has_one_register_however_it_is_spelled() {
        let mut registers = FlagRegisters::default();
        registers.set(Flag::keyword("$Junk").unwrap(), stamp(1), true);
        registers.set(Flag::keyword("$JUNK").unwrap(), stamp(2), false);
        assert_eq!(
            texts(&registers),
            [format!("keyword:$Junk {} false", stamp(2))],
            "whoever named it first has named it"
        );
        // Somebody else has named it otherwise, and written later.
        registers.write(Flag::keyword("$junk").unwrap(), stamp(3), true);
        assert_eq!(texts(&registers), [format!("keyword:$junk {} true", stamp(3))]);
        assert_eq!(registers.on(Stamp::ZERO).next().unwrap().canonical(), "keyword:$junk");
    }

    proptest! {
        #[test]
        fn the_order_of_writing_makes_no_difference_to_values_and_spellings(
            written in prop::collection::vec(
                (prop::sample::select(vec!["keyword:a", "keyword:A", "keyword:aB", "keyword:Ab", "S"]), 1..4_u64, any::<bool>()),
                0..8,
            ),
            turn in 0..8_usize,
        ) {
            let all = |order: &[(&str, u64, bool)]| {
                let mut registers = FlagRegisters::default();
                for (flag, clock, on) in order {
                    registers.write(flag.parse().unwrap(), stamp(*clock), *on);
                }
                texts(&registers)
            };
            let mut turned = written.clone();
            turned.rotate_left(turn.min(written.len()));
            prop_assert_eq!(all(&written), all(&turned));
            turned.reverse();
            prop_assert_eq!(all(&written), all(&[&turned[..], &written].concat()));
        }
    }
}
