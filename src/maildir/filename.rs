//! The names of message files.
//!
//! A name is a unique base, then, in `cur/`, the info: `:2,` and one letter for each flag, in ASCII order
//! (<https://cr.yp.to/proto/maildir.html>). Practice goes further: programs add fields such as `,S=<size>`, `,W=<size>`
//! and `,U=<uid>` to the base, Dovecot lets further fields follow the letters after a comma, and some put an info into
//! `new/`. When a file gets other flags, the parts of its name that mailsync doesn't understand are kept as they stand.
//! So are letters from `a` to `z` to which their folder gives no name: nobody knows what they mean.

use super::keywords::{LetterSet, Letters};
use crate::model::{Digest, Entry, EntryId, Flag, FlagSet, Keyword, Mtime};

/// The part of a folder in which a message lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Sub {
    /// For messages that were delivered and that no mail reader has seen yet.
    New = 0,
    /// For all other messages.
    Cur = 1,
}

impl Sub {
    /// The directory's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Cur => "cur",
        }
    }
}

/// The beginning of the info.
const INFO: &[u8] = b":2,";

/// A message file's name, in its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileName<'a> {
    base: &'a [u8],
    /// The letters between `:2,` and the next comma.
    letters: &'a [u8],
    /// That comma and everything after it.
    rest: &'a [u8],
}

impl<'a> FileName<'a> {
    /// Takes a name apart. Every name has a meaning: one without an info is all base.
    pub fn parse(name: &'a [u8]) -> Self {
        let Some(at) = name.windows(INFO.len()).rposition(|window| window == INFO) else {
            return Self { base: name, letters: b"", rest: b"" };
        };
        let info = &name[at + INFO.len()..];
        let end = info.iter().position(|&c| c == b',').unwrap_or(info.len());
        Self { base: &name[..at], letters: &info[..end], rest: &info[end..] }
    }

    /// The name with this base and, besides what else it gets, these letters for keywords that nobody knows.
    pub fn new(base: &'a [u8], letters: &'a [u8]) -> Self {
        Self { base, letters, rest: b"" }
    }

    /// The unique part, which stays the same when flags change.
    pub fn base(&self) -> &'a [u8] {
        self.base
    }

    /// The letters from `a` to `z`, which stand for keywords.
    pub fn keyword_letters(&self) -> LetterSet {
        self.letters.iter().copied().collect()
    }

    /// The flags that a file of this name has in this place, in a folder with these names of letters.
    pub fn flags(&self, sub: Sub, named: &Letters) -> FlagSet {
        let letters = self.letters.iter().filter_map(|&letter| flag(letter, named));
        letters.chain((sub == Sub::New).then_some(Flag::Recent)).collect()
    }

    /// The name that the file gets in `sub` with these flags, in a folder with these names of letters. A keyword that
    /// has no letter there is not in it. In `new/` a file without flags has no info, unless a part of its base would be
    /// taken for one.
    pub fn with_flags(&self, sub: Sub, flags: &FlagSet, named: &Letters) -> Vec<u8> {
        let letters = flags.iter().filter_map(|flag| match flag {
            Flag::Info(letter) => Some(*letter),
            Flag::Keyword(keyword) => named.letter(keyword),
            Flag::Recent => None,
        });
        let unknown = self.letters.iter().copied().filter(|&letter| flag(letter, named).is_none());
        let mut letters: Vec<u8> = letters.chain(unknown).collect();
        letters.sort_unstable();
        letters.dedup();
        let mut name = self.base.to_vec();
        let looks_like_info = self.base.windows(INFO.len()).any(|window| window == INFO);
        if sub == Sub::Cur || !letters.is_empty() || !self.rest.is_empty() || looks_like_info {
            name.extend_from_slice(INFO);
            name.extend(letters);
            name.extend_from_slice(self.rest);
        }
        name
    }

    /// Whether a name is not that of a message. Mail readers ignore names that begin with a dot.
    pub fn ignored(name: &[u8]) -> bool {
        name.starts_with(b".")
    }
}

/// What a letter in a name says in a folder with these names of letters.
fn flag(letter: u8, named: &Letters) -> Option<Flag> {
    Flag::info(letter).or_else(|| named.keyword(letter).cloned().map(Flag::Keyword))
}

/// The flags that the name and place of a file can show in a folder with these names of letters, and the keywords that
/// have no letter there.
pub fn visible(entry: &Entry, named: &Letters) -> (FlagSet, Vec<Keyword>) {
    let mut without = Vec::new();
    let shown = entry.flags_on().filter(|flag| match flag {
        Flag::Keyword(keyword) if named.letter(keyword).is_none() => {
            without.push(keyword.clone());
            false
        }
        _ => true,
    });
    (shown.cloned().collect(), without)
}

/// Where a file with these flags lies.
pub fn sub_of(flags: &FlagSet) -> Sub {
    if flags.contains(&Flag::Recent) { Sub::New } else { Sub::Cur }
}

/// A delivered name holds this many hexadecimal digits from the hash of the entry's id.
const ID_DIGITS: usize = 24;

/// The base under which a replica delivers an entry. It derives from the entry's id, so a repeated delivery gets the
/// same name. `size` is in bytes; the number in front is `mtime` in seconds since 1970 UTC.
pub fn delivered_base(id: &EntryId, mtime: Mtime, size: u64, replica: &str) -> String {
    let hash = Digest::of(id.to_string().as_bytes()).to_string();
    format!("{}.{}.{replica},S={size}", mtime.seconds().max(0), &hash[..ID_DIGITS])
}

/// Whether this replica has given a file this base.
pub fn is_delivered_base(base: &[u8], replica: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    let parts = || {
        let (seconds, rest) = std::str::from_utf8(base).ok()?.split_once('.')?;
        let (hash, rest) = rest.split_once('.')?;
        let size = rest.strip_prefix(replica)?.strip_prefix(",S=")?;
        Some((seconds, hash, size))
    };
    parts().is_some_and(|(seconds, hash, size)| {
        let is_hash = hash.len() == ID_DIGITS && hash.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
        digits(seconds) && is_hash && digits(size)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Clock, FolderName, Incarnation, Origin, Stamp};

    /// `a` is `work`, `b` is `$Junk`; the other letters have no names.
    fn named() -> Letters {
        let mut named = Letters::default();
        named.set(b'a', Keyword::new("work").unwrap(), false);
        named.set(b'b', Keyword::new("$Junk").unwrap(), false);
        named
    }

    fn flags(letters: &str) -> FlagSet {
        letters.bytes().filter_map(|letter| flag(letter, &named())).collect()
    }

    /// Name, base, letters, whether it has an info at all.
    const NAMES: [(&str, &str, &str); 13] = [
        ("1.2.host", "1.2.host", ""),
        ("1.2.host:2,", "1.2.host", ""),
        ("1.2.host:2,FS", "1.2.host", "FS"),
        ("1.2.host,S=12,W=14:2,RS", "1.2.host,S=12,W=14", "RS"),
        ("1.2.host,U=7:2,S", "1.2.host,U=7", "S"),
        ("1.2.host,U=7:2,Sab", "1.2.host,U=7", "Sab"),
        ("1.2.host:2,S,x=1", "1.2.host", "S"),
        ("1.2.host:1,S", "1.2.host:1,S", ""),
        ("1.2.host:2", "1.2.host:2", ""),
        ("1:2.host:2,T", "1:2.host", "T"),
        ("1:2,F:2,T", "1:2,F", "T"),
        (":2,S", "", "S"),
        ("1.2.host:2,SS", "1.2.host", "S"),
    ];

    #[test]
    fn a_name_is_taken_apart_as_the_specification_and_practice_have_it() {
        for (name, base, letters) in NAMES {
            let parsed = FileName::parse(name.as_bytes());
            assert_eq!(parsed.base(), base.as_bytes(), "{name}");
            assert_eq!(parsed.flags(Sub::Cur, &named()), flags(letters), "{name}");
        }
    }

    #[test]
    fn a_file_in_new_is_recent_and_its_info_counts() {
        let both = FileName::parse(b"1.2.host:2,FS").flags(Sub::New, &named());
        assert_eq!(both, flags("FS").into_iter().chain([Flag::Recent]).collect());
        assert_eq!(FileName::parse(b"1.2.host").flags(Sub::New, &named()), [Flag::Recent].into());
    }

    #[test]
    fn a_letter_is_the_keyword_that_its_folder_names_and_else_no_flag() {
        let name = FileName::parse(b"1.h:2,Sabc");
        let keyword = |name: &str| Flag::keyword(name).unwrap();
        assert_eq!(name.flags(Sub::Cur, &named()), [Flag::Info(b'S'), keyword("work"), keyword("$junk")].into());
        assert_eq!(name.flags(Sub::Cur, &Letters::default()), [Flag::Info(b'S')].into());
        let with = |flags: &[Flag], named: &Letters| {
            String::from_utf8(name.with_flags(Sub::Cur, &flags.iter().cloned().collect(), named)).unwrap()
        };
        // Of `c` nobody knows what it means.
        assert_eq!(with(&[], &named()), "1.h:2,c");
        assert_eq!(with(&[keyword("$JUNK"), keyword("other"), Flag::Info(b'F')], &named()), "1.h:2,Fbc");
        assert_eq!(with(&[keyword("work")], &Letters::default()), "1.h:2,abc");
    }

    #[test]
    fn what_has_a_letter_is_visible_and_what_has_none_is_told_apart() {
        let stamp = Stamp { clock: Clock::from_bits(1).unwrap(), incarnation: Incarnation(1) };
        let flags: FlagSet = ["S", "recent", "keyword:WORK", "keyword:other"].map(|flag| flag.parse().unwrap()).into();
        let inbox = FolderName::inbox();
        let entry = Entry::delivered(None, Origin::Delivery, stamp, inbox, &flags, 1, Mtime(1));
        let (shown, without) = visible(&entry, &named());
        assert_eq!(shown, ["S", "recent", "keyword:work"].map(|flag| flag.parse().unwrap()).into());
        assert_eq!(without, [Keyword::new("other").unwrap()]);
    }

    #[test]
    fn other_flags_keep_what_is_not_understood() {
        let renamed = |name: &str, sub, letters| {
            String::from_utf8(FileName::parse(name.as_bytes()).with_flags(sub, &flags(letters), &named())).unwrap()
        };
        assert_eq!(renamed("1.h", Sub::Cur, ""), "1.h:2,");
        assert_eq!(renamed("1.h:2,S", Sub::New, ""), "1.h");
        assert_eq!(renamed("1.h", Sub::New, "F"), "1.h:2,F");
        assert_eq!(renamed("1.h:2,S,x=1", Sub::Cur, "SF"), "1.h:2,FS,x=1");
        assert_eq!(renamed("1.h:2,S$", Sub::Cur, "Fa"), "1.h:2,$Fa");
        assert_eq!(renamed("1.h:2,Szb", Sub::Cur, "Fa"), "1.h:2,Faz");
        assert_eq!(renamed("1.h,U=3:2,S", Sub::Cur, "T"), "1.h,U=3:2,T");
        // Without an info the name would have another base, and a flag.
        assert_eq!(renamed("1.h:2,F:2,S", Sub::New, ""), "1.h:2,F:2,");
    }

    #[test]
    fn a_delivered_name_is_recognised_and_no_other_is() {
        let folder: FolderName = "INBOX".parse().unwrap();
        let id = EntryId { digest: Digest::of(b"x"), birth: folder, ordinal: 0 };
        let base = delivered_base(&id, Mtime::new(1_700_000_000, 5), 12, "laptop");
        assert!(base.starts_with("1700000000.") && base.ends_with(".laptop,S=12"), "{base}");
        assert!(is_delivered_base(base.as_bytes(), "laptop"));
        assert!(!is_delivered_base(base.as_bytes(), "desktop"));
        assert!(!is_delivered_base(base.as_bytes(), "top"));
        assert!(!is_delivered_base(b"1700000000.M1P2.laptop,S=12", "laptop"));
        assert!(!is_delivered_base(format!("{base},W=14").as_bytes(), "laptop"));
        assert!(delivered_base(&id, Mtime::new(-5, 0), 12, "laptop").starts_with("0."));
    }

    proptest! {
        #[test]
        fn a_name_with_flags_reads_back_with_these_flags(
            name in proptest::collection::vec(proptest::sample::select(b"a1:2,S.F=$".to_vec()), 0..12),
            letters in "[A-Z0-9ab]{0,5}",
            recent: bool,
        ) {
            let sub = if recent { Sub::New } else { Sub::Cur };
            let wanted: FlagSet = flags(&letters).into_iter().chain(recent.then_some(Flag::Recent)).collect();
            let parsed = FileName::parse(&name);
            let renamed = parsed.with_flags(sub, &wanted, &named());
            let again = FileName::parse(&renamed);
            prop_assert_eq!(again.flags(sub, &named()), wanted.clone());
            prop_assert_eq!(again.base(), parsed.base());
            prop_assert_eq!(again.with_flags(sub, &wanted, &named()), renamed);
        }
    }
}
