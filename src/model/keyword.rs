//! The names of keywords.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

/// A keyword: a flag that people and programs name, such as `$Forwarded`. It is an atom of IMAP (RFC 9051, section 9,
/// `flag-keyword`), and two names that differ only in the case of their letters are one keyword (section 2.3.2). The
/// spelling is kept for people to see.
#[derive(Clone)]
pub struct Keyword(Box<str>);

impl Keyword {
    /// The longest name, in bytes.
    pub const MAX_BYTES: usize = 255;

    /// The keyword with this name. `None` if no keyword can have it.
    pub fn new(name: &str) -> Option<Self> {
        let fits = !name.is_empty() && name.len() <= Self::MAX_BYTES;
        (fits && name.bytes().all(is_atom_char)).then(|| Self(name.into()))
    }

    /// The name as it is spelled.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The one name that all spellings have in common: in lower case.
    pub fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }

    fn folded_bytes(&self) -> impl Iterator<Item = u8> + '_ {
        self.0.bytes().map(|c| c.to_ascii_lowercase())
    }
}

/// RFC 9051, section 9: `ATOM-CHAR` is any character of visible ASCII but the `atom-specials`.
fn is_atom_char(c: u8) -> bool {
    c.is_ascii_graphic() && !b"(){%*\"\\]".contains(&c)
}

impl PartialEq for Keyword {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Keyword {}

impl PartialOrd for Keyword {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Keyword {
    fn cmp(&self, other: &Self) -> Ordering {
        self.folded_bytes().cmp(other.folded_bytes())
    }
}

impl Hash for Keyword {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.folded_bytes().for_each(|c| c.hash(state));
        u8::MAX.hash(state);
    }
}

impl fmt::Debug for Keyword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Keyword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyword_is_an_atom() {
        for name in ["$Forwarded", "$MDNSent", "$Junk", "NonJunk", "work", "a", "7", "unknown-0?", "x}", "a.b/c:d,e=[1"]
        {
            assert_eq!(Keyword::new(name).map(|keyword| keyword.to_string()).as_deref(), Some(name));
        }
        for wrong in ["", "a b", "a\tb", "é", "(", "a)", "{1", "100%", "*", "a\"", "\\Seen", "x]", "\x7f", "a\n"] {
            assert!(Keyword::new(wrong).is_none(), "{wrong:?}");
        }
        assert!(Keyword::new(&"x".repeat(Keyword::MAX_BYTES)).is_some());
        assert!(Keyword::new(&"x".repeat(Keyword::MAX_BYTES + 1)).is_none());
    }

    #[test]
    fn the_case_of_letters_makes_no_other_keyword() {
        let keyword = |name| Keyword::new(name).unwrap();
        assert_eq!(keyword("$Junk"), keyword("$JUNK"));
        assert_eq!(keyword("$Junk").cmp(&keyword("$jUNK")), Ordering::Equal);
        assert_ne!(keyword("$Junk"), keyword("Junk"));
        assert!(keyword("Work") > keyword("play") && keyword("a") < keyword("B"));
        let set: std::collections::HashSet<_> = [keyword("a"), keyword("A"), keyword("ab")].into();
        assert_eq!(set.len(), 2);
    }
}
