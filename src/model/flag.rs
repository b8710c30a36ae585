//! Flags, and their registers.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::Stamp;
use super::text::{ParseError, serde_as_text};

/// Something that is on or off for an entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flag {
    /// A letter or digit in the info part of a Maildir name: the specification's `P R S T D F`, or any other, kept as
    /// found.
    Info(u8),
    /// The file still lies in `new/`.
    Recent,
    /// A keyword by its name, such as `$Forwarded`, in a folder that says which letter stands for it.
    Keyword(Box<str>),
}

/// The flags that are on for one entry.
pub type FlagSet = BTreeSet<Flag>;

const KEYWORD: &str = "keyword:";

impl Flag {
    /// The longest keyword, in bytes.
    pub const MAX_KEYWORD_BYTES: usize = 255;

    /// The flag for a character in the info part. `None` for a character that can't stand there.
    pub fn info(character: u8) -> Option<Self> {
        character.is_ascii_alphanumeric().then_some(Self::Info(character))
    }

    /// The flag for a keyword: visible ASCII, as IMAP's atoms are (RFC 9051, section 2.3.2).
    pub fn keyword(name: &str) -> Option<Self> {
        let fits = !name.is_empty() && name.len() <= Self::MAX_KEYWORD_BYTES;
        (fits && name.bytes().all(|c| c.is_ascii_graphic())).then(|| Self::Keyword(name.into()))
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
/// is off.
///
/// There are at most [`FlagRegisters::MOST`]: of more, those that were written last stay, whichever way they came
/// together. So the order in which registers are written makes no difference, and two replicas that know the same hold
/// the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlagRegisters(Vec<(Flag, Stamp, bool)>);

impl FlagRegisters {
    /// The most registers that an entry has.
    pub const MOST: usize = 256;

    /// Writes a register, unless it holds a newer value (or an equally new one that is on). If there is one too many by
    /// that, the one goes that is the least by (stamp, on, flag).
    pub fn write(&mut self, flag: Flag, stamp: Stamp, on: bool) {
        match self.0.binary_search_by(|(f, ..)| f.cmp(&flag)) {
            Ok(at) => {
                let (_, s, o) = &mut self.0[at];
                (*s, *o) = (*s, *o).max((stamp, on));
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
    use super::*;

    #[test]
    fn a_flag_reads_back_what_it_writes_and_nothing_else() {
        for text in ["S", "a", "7", "recent", "keyword:$Forwarded"] {
            assert_eq!(text.parse::<Flag>().unwrap().to_string(), text);
        }
        for wrong in ["", ",", "/", "SS", "é", "keyword:", "keyword:a b", "keyword:é", "Recent"] {
            assert!(wrong.parse::<Flag>().is_err(), "{wrong}");
        }
    }
}
