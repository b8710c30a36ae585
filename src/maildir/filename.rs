//! The names of message files.
//!
//! A name is a unique base, then, in `cur/`, the info: `:2,` and one letter for each flag, in ASCII order
//! (<https://cr.yp.to/proto/maildir.html>). Practice goes further: programs add fields such as `,S=<size>`, `,W=<size>`
//! and `,U=<uid>` to the base, Dovecot lets further fields follow the letters after a comma, some put an info into
//! `new/`, and where a file system takes no colon they write `;2,` or `!2,`. When a file gets other flags, the parts of
//! its name that mailsync doesn't understand are kept as they stand, and so is the separator. So are letters from `a` to
//! `z` to which their folder gives no name: nobody knows what they mean.
//!
//! What looks like an info and has something else than letters and digits in it is none: `:2,S.gz` and
//! `:2,S.sync-conflict-20260101-120000-ABC` were written by somebody who doesn't know Maildirs. Then the whole name is
//! the base, and says nothing about flags.

use std::fmt::Write as _;

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

/// The character with which the info begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Separator {
    /// The specification's `:`.
    #[default]
    Colon,
    /// `;`, where a colon can't be in a name: mbsync's `InfoDelimiter` has it on Windows.
    Semicolon,
    /// `!`, which `OfflineIMAP` and `NeoMutt` can be told to write.
    Exclamation,
}

impl Separator {
    /// All of them, the usual one first.
    pub const ALL: [Self; 3] = [Self::Colon, Self::Semicolon, Self::Exclamation];

    /// The character.
    pub fn byte(self) -> u8 {
        match self {
            Self::Colon => b':',
            Self::Semicolon => b';',
            Self::Exclamation => b'!',
        }
    }

    /// The separator that this character is.
    pub fn of(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|separator| separator.byte() == byte)
    }
}

/// The info begins with a separator and this.
const INFO: &[u8] = b"2,";

/// A message file's name, in its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileName<'a> {
    base: &'a [u8],
    /// What the info begins with, if there is one.
    separator: Option<Separator>,
    /// The letters between the beginning of the info and the next comma.
    letters: &'a [u8],
    /// That comma and everything after it.
    rest: &'a [u8],
}

/// Where in a name what looks like an info begins, with its separator: the last one counts.
fn find_info(name: &[u8]) -> Option<(usize, Separator)> {
    let begins = |at: usize| name[at + 1..].starts_with(INFO).then(|| Separator::of(name[at])).flatten();
    (0..name.len()).rev().find_map(|at| begins(at).map(|separator| (at, separator)))
}

impl<'a> FileName<'a> {
    /// Takes a name apart. Every name has a meaning: one without an info is all base.
    pub fn parse(name: &'a [u8]) -> Self {
        let whole = Self { base: name, separator: None, letters: b"", rest: b"" };
        let Some((at, separator)) = find_info(name) else { return whole };
        let info = &name[at + 1 + INFO.len()..];
        let end = info.iter().position(|&c| c == b',').unwrap_or(info.len());
        let (letters, rest) = info.split_at(end);
        if letters.iter().all(u8::is_ascii_alphanumeric) {
            Self { base: &name[..at], separator: Some(separator), letters, rest }
        } else {
            whole
        }
    }

    /// The name with this base and, besides what else it gets, these letters for keywords that nobody knows.
    pub fn new(base: &'a [u8], letters: &'a [u8]) -> Self {
        Self { base, separator: None, letters, rest: b"" }
    }

    /// The unique part, which stays the same when flags change.
    pub fn base(&self) -> &'a [u8] {
        self.base
    }

    /// What the info begins with, if there is one.
    pub fn separator(&self) -> Option<Separator> {
        self.separator
    }

    /// The same name with another separator, if it has one.
    pub fn with_separator(&self, separator: Separator) -> Option<Vec<u8>> {
        self.separator?;
        Some([self.base, &[separator.byte()], INFO, self.letters, self.rest].concat())
    }

    /// Whether the name says nothing about flags, since what follows its separator is no list of them.
    pub fn hides_flags(&self) -> bool {
        self.separator.is_none() && find_info(self.base).is_some()
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
    /// has no letter there is not in it. Its separator stays; if it has none, `usual` is what others in its folder have.
    /// In `new/` a file without flags has no info, unless a part of its base would be taken for one.
    pub fn with_flags(&self, sub: Sub, flags: &FlagSet, named: &Letters, usual: Separator) -> Vec<u8> {
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
        let reads_as_info = Self::parse(self.base).separator.is_some();
        if sub == Sub::Cur || !letters.is_empty() || !self.rest.is_empty() || reads_as_info {
            name.push(self.separator.unwrap_or(usual).byte());
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

/// Whether a delivered name tells the message's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeField {
    /// As `,S=<bytes>`: servers need not look at the file then.
    Told,
    /// No: it is a form of the message that the server of this folder reads as another one, of another size.
    Left,
}

impl SizeField {
    /// The decision for a message whose contents begin with these bytes, of which [`SizeField::LOOKS_AT`] are enough.
    ///
    /// A server that compresses or encrypts its files (Dovecot's `mail_compress` and `mail_crypt`) recognises them by
    /// how they begin, and takes `S=` for the size of what it reads out of them. If it is another one, Dovecot gives up
    /// on the message. Without `S=` it finds the size by itself.
    pub fn of(contents: &[u8]) -> Self {
        const OTHER_FORMS: [&[u8]; 6] = [
            b"\x1f\x8b",            // gzip
            b"BZh",                 // bzip2
            b"\xfd7zXZ\0",          // xz
            b"\x28\xb5\x2f\xfd",    // zstd
            b"Dovecot-LZ4\x0d\x2a", // Dovecot's own frame of LZ4
            b"CRYPTED\x03\x07",     // mail_crypt
        ];
        if OTHER_FORMS.iter().any(|form| contents.starts_with(form)) { Self::Left } else { Self::Told }
    }

    /// The decision for a message whose file has this base: what its name says so far, if it is right.
    pub fn of_base(base: &[u8], size: u64, replica: &str) -> Self {
        let field = base.split(|&c| c == b',').skip(1).find_map(|field| field.strip_prefix(b"S="));
        match field {
            Some(told) if told != size.to_string().as_bytes() => Self::Left,
            None if is_delivered_base(base, replica) => Self::Left,
            _ => Self::Told,
        }
    }

    /// So many bytes tell.
    pub const LOOKS_AT: u64 = 16;
}

/// The base under which a replica delivers an entry. It derives from the entry's id, so a repeated delivery gets the
/// same name. `size` is in bytes; the number in front is `mtime` in seconds since 1970 UTC.
pub fn delivered_base(id: &EntryId, mtime: Mtime, size: u64, field: SizeField, replica: &str) -> String {
    let fits = "a string takes every character";
    // Large enough for most: there is one for each message that comes.
    let mut named = String::with_capacity(128);
    write!(named, "{id}").expect(fits);
    let hash = Digest::of(named.as_bytes()).to_string();
    named.clear();
    write!(named, "{}.{}.{replica}", mtime.seconds().max(0), &hash[..ID_DIGITS]).expect(fits);
    if field == SizeField::Told {
        write!(named, ",S={size}").expect(fits);
    }
    named
}

/// Whether this replica has given a file this base.
pub fn is_delivered_base(base: &[u8], replica: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    let parts = || {
        let (seconds, rest) = std::str::from_utf8(base).ok()?.split_once('.')?;
        let (hash, rest) = rest.split_once('.')?;
        let size = match rest.strip_prefix(replica)? {
            "" => None,
            field => Some(field.strip_prefix(",S=")?),
        };
        Some((seconds, hash, size))
    };
    parts().is_some_and(|(seconds, hash, size)| {
        let is_hash = hash.len() == ID_DIGITS && hash.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
        digits(seconds) && is_hash && size.is_none_or(digits)
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

    /// Name, base, letters.
    const NAMES: [(&str, &str, &str); 29] = [
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
        ("1.2.host;2,RS", "1.2.host", "RS"),
        ("1.2.host!2,", "1.2.host", ""),
        ("1.2.host;2,S:2,F", "1.2.host;2,S", "F"),
        ("1.2.host:2,F!2,T", "1.2.host:2,F", "T"),
        ("1.2.host-2,S", "1.2.host-2,S", ""),
        ("1.2.host;1,S", "1.2.host;1,S", ""),
        // What isn't a list of flags is none.
        ("1.2.host:2,S.gz", "1.2.host:2,S.gz", ""),
        ("1.2.host:2,.gz", "1.2.host:2,.gz", ""),
        ("1.2.host;2,S~", "1.2.host;2,S~", ""),
        ("1.2.host:2,S (1)", "1.2.host:2,S (1)", ""),
        ("1.2.host:2,S$", "1.2.host:2,S$", ""),
        ("1.x:2,S.sync-conflict-20260101-120000-DTFRPAB", "1.x:2,S.sync-conflict-20260101-120000-DTFRPAB", ""),
        ("1.x:2,S.gz:2,", "1.x:2,S.gz", ""),
        ("1.x:2,S.gz:2,FS", "1.x:2,S.gz", "FS"),
        ("1.x:2,F:2,S.gz", "1.x:2,F:2,S.gz", ""),
        ("1.x:2,S,.gz", "1.x", "S"),
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
            let flags = flags.iter().cloned().collect();
            String::from_utf8(name.with_flags(Sub::Cur, &flags, named, Separator::Colon)).unwrap()
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
            let name = FileName::parse(name.as_bytes());
            String::from_utf8(name.with_flags(sub, &flags(letters), &named(), Separator::Colon)).unwrap()
        };
        assert_eq!(renamed("1.h", Sub::Cur, ""), "1.h:2,");
        assert_eq!(renamed("1.h:2,S", Sub::New, ""), "1.h");
        assert_eq!(renamed("1.h", Sub::New, "F"), "1.h:2,F");
        assert_eq!(renamed("1.h:2,S,x=1", Sub::Cur, "SF"), "1.h:2,FS,x=1");
        assert_eq!(renamed("1.h:2,S$", Sub::Cur, "Fa"), "1.h:2,S$:2,Fa");
        assert_eq!(renamed("1.h:2,Szb", Sub::Cur, "Fa"), "1.h:2,Faz");
        assert_eq!(renamed("1.h:2,S$", Sub::New, ""), "1.h:2,S$");
        assert_eq!(renamed("1.h:2,S.gz:2,F", Sub::Cur, ""), "1.h:2,S.gz:2,");
        assert_eq!(renamed("1.h;2,S", Sub::Cur, "FS"), "1.h;2,FS");
        assert_eq!(renamed("1.h!2,S", Sub::Cur, ""), "1.h!2,");
        assert_eq!(renamed("1.h;2,F;2,S", Sub::New, ""), "1.h;2,F;2,");
        assert_eq!(renamed("1.h,U=3:2,S", Sub::Cur, "T"), "1.h,U=3:2,T");
        // Without an info the name would have another base, and a flag.
        assert_eq!(renamed("1.h:2,F:2,S", Sub::New, ""), "1.h:2,F:2,");
    }

    #[test]
    fn a_name_without_an_info_gets_one_as_the_others_in_its_folder_have_it() {
        for separator in Separator::ALL {
            let name = FileName::parse(b"1.h").with_flags(Sub::Cur, &flags("S"), &named(), separator);
            let byte = char::from(separator.byte());
            assert_eq!(String::from_utf8(name.clone()).unwrap(), format!("1.h{byte}2,S"));
            assert_eq!(FileName::parse(&name).separator(), Some(separator));
        }
    }

    #[test]
    fn a_name_gets_another_separator_and_stays_the_same_besides() {
        for (name, expected) in [
            ("1.h:2,S", Some("1.h;2,S")),
            ("1.h:2,", Some("1.h;2,")),
            ("1.h!2,Sab,x=1", Some("1.h;2,Sab,x=1")),
            ("1.h;2,F", Some("1.h;2,F")),
            ("1.h:2,F:2,S", Some("1.h:2,F;2,S")),
            ("1.h", None),
            ("1.h:2,S.gz", None),
        ] {
            let other = FileName::parse(name.as_bytes()).with_separator(Separator::Semicolon);
            assert_eq!(other, expected.map(|name| name.as_bytes().to_vec()), "{name}");
        }
    }

    #[test]
    fn a_name_with_a_foreign_tail_hides_its_flags() {
        for (name, hides) in [
            ("1.h", false),
            ("1.h:2,", false),
            ("1.h;2,S", false),
            ("1.h:2", false),
            ("1.h:2,S.gz", true),
            ("1.h!2,S~", true),
            ("1.h:2,S.gz:2,S", false),
        ] {
            assert_eq!(FileName::parse(name.as_bytes()).hides_flags(), hides, "{name}");
        }
    }

    #[test]
    fn a_size_is_told_unless_a_server_reads_another_message_out_of_the_file() {
        for (contents, told) in [
            (&b"From: a@example.org\n"[..], true),
            (b"", true),
            (b"BZ", true),
            (b"\x1f\x8b\x08\x00\x00\x00", false),
            (b"BZh91AY&SY", false),
            (b"\xfd7zXZ\x00\x00", false),
            (b"\x28\xb5\x2f\xfd\x24", false),
            (b"Dovecot-LZ4\x0d\x2a\x9b\xc5", false),
            (b"CRYPTED\x03\x07\x02", false),
            (b"CRYPTED mail\n", true),
        ] {
            assert_eq!(SizeField::of(contents) == SizeField::Told, told, "{contents:?}");
        }
        let own = "1700000000.00112233445566778899aabb.laptop";
        for (base, told) in [
            ("1.2.host", true),
            ("1.2.host,S=12,W=14", true),
            ("1.2.host,S=13,W=14", false),
            ("1.2.host,U=3,S=13", false),
            ("1.2.host,S=", false),
            ("S=13", true),
            (own, false),
            (&format!("{own},S=12"), true),
        ] {
            assert_eq!(SizeField::of_base(base.as_bytes(), 12, "laptop") == SizeField::Told, told, "{base}");
        }
    }

    #[test]
    fn a_delivered_name_is_recognised_and_no_other_is() {
        let folder: FolderName = "INBOX".parse().unwrap();
        let id = EntryId { digest: Digest::of(b"x"), birth: folder, ordinal: 0 };
        let base = delivered_base(&id, Mtime::new(1_700_000_000, 5), 12, SizeField::Told, "laptop");
        assert!(base.starts_with("1700000000.") && base.ends_with(".laptop,S=12"), "{base}");
        assert!(is_delivered_base(base.as_bytes(), "laptop"));
        assert!(!is_delivered_base(base.as_bytes(), "desktop"));
        assert!(!is_delivered_base(base.as_bytes(), "top"));
        assert!(!is_delivered_base(b"1700000000.M1P2.laptop,S=12", "laptop"));
        assert!(!is_delivered_base(format!("{base},W=14").as_bytes(), "laptop"));
        let sizeless = delivered_base(&id, Mtime::new(-5, 0), 12, SizeField::Left, "laptop");
        assert!(sizeless.starts_with("0.") && sizeless.ends_with(".laptop"), "{sizeless}");
        assert!(is_delivered_base(sizeless.as_bytes(), "laptop"));
        assert!(!is_delivered_base(sizeless.as_bytes(), "lap"));
    }

    fn separators() -> impl Strategy<Value = Separator> {
        prop::sample::select(Separator::ALL.to_vec())
    }

    /// Names of any bytes, and such as nearly have an info.
    fn names() -> impl Strategy<Value = Vec<u8>> {
        let pieces = [":2,", ";2,", "!2,", ":", "2,", ",", "S", "FS", ".gz", "~", "a", "1", "$", ":1,", "\u{fc}"];
        let likely = prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..8);
        let any = prop::collection::vec(any::<u8>(), 0..40);
        prop_oneof![likely.prop_map(|pieces| pieces.concat().into_bytes()), any]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_name_with_flags_reads_back_with_these_flags(
            name in names(),
            letters in "[A-Z0-9ab]{0,5}",
            recent: bool,
            usual in separators(),
        ) {
            let sub = if recent { Sub::New } else { Sub::Cur };
            let wanted: FlagSet = flags(&letters).into_iter().chain(recent.then_some(Flag::Recent)).collect();
            let parsed = FileName::parse(&name);
            let renamed = parsed.with_flags(sub, &wanted, &named(), usual);
            let again = FileName::parse(&renamed);
            prop_assert_eq!(again.flags(sub, &named()), wanted.clone());
            prop_assert_eq!(again.base(), parsed.base());
            prop_assert_eq!(again.rest, parsed.rest);
            prop_assert_eq!(again.with_flags(sub, &wanted, &named(), usual), renamed.clone());
            if let Some(separator) = again.separator() {
                prop_assert_eq!(separator, parsed.separator().unwrap_or(usual));
            }
        }

        #[test]
        fn a_name_is_its_parts_and_nothing_of_it_is_lost(name in names()) {
            let parsed = FileName::parse(&name);
            let mut whole = parsed.base.to_vec();
            if let Some(separator) = parsed.separator {
                whole.push(separator.byte());
                whole.extend_from_slice(INFO);
            }
            whole.extend_from_slice(parsed.letters);
            whole.extend_from_slice(parsed.rest);
            prop_assert_eq!(whole, name.clone());
            // Whatever flags come, what isn't understood stays.
            let renamed = parsed.with_flags(Sub::Cur, &flags("T"), &named(), Separator::Colon);
            prop_assert!(renamed.starts_with(parsed.base) && renamed.ends_with(parsed.rest));
        }
    }
}
