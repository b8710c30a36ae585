//! The names of keywords in a folder.
//!
//! In the name of a file a keyword is a letter from `a` to `z`. Which keyword a letter stands for is up to each folder:
//! Dovecot keeps the names in the folder's `dovecot-keywords`, one line for each, the letter's number (`a` is 0), a
//! space, and the name (<https://doc.dovecot.org/main/core/config/mailbox/formats/maildir.html>). Dovecot only ever adds
//! lines, and remembers those that it has read. So nobody else changes a line that it has written, either.

use crate::model::Keyword;

/// The file that names the letters of its folder.
pub const FILE: &str = "dovecot-keywords";

/// How many letters there are.
pub const LETTERS: usize = 26;

/// A set of letters from `a` to `z`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LetterSet(u32);

impl LetterSet {
    /// Whether it has this letter.
    pub fn contains(self, letter: u8) -> bool {
        number(letter).is_some_and(|n| self.0 >> n & 1 == 1)
    }

    /// The letters in both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The letters in either.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether it has none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its letters, in their order.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        letters().filter(move |&letter| self.contains(letter))
    }
}

/// What is no letter from `a` to `z` is left out.
impl FromIterator<u8> for LetterSet {
    fn from_iter<I: IntoIterator<Item = u8>>(from: I) -> Self {
        from.into_iter().filter_map(number).fold(Self::default(), |set, n| Self(set.0 | 1 << n))
    }
}

/// All letters, in their order.
fn letters() -> impl Iterator<Item = u8> {
    b'a'..=b'z'
}

/// The number of a letter in `dovecot-keywords`.
fn number(letter: u8) -> Option<usize> {
    letter.is_ascii_lowercase().then(|| usize::from(letter - b'a'))
}

/// A letter's keyword.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    keyword: Keyword,
    /// The file has lost the name, and files that were last seen have the letter.
    lost: bool,
}

/// The keywords that a folder's letters stand for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Letters([Option<Named>; LETTERS]);

impl Letters {
    /// The keyword that a letter stands for.
    pub fn keyword(&self, letter: u8) -> Option<&Keyword> {
        self.0.get(number(letter)?)?.as_ref().map(|named| &named.keyword)
    }

    /// The letter for a keyword. Of several, the one that the file names.
    pub fn letter(&self, keyword: &Keyword) -> Option<u8> {
        let all = || self.iter().filter(|(_, named, _)| *named == keyword);
        let kept = all().find(|(.., lost)| !lost).or_else(|| all().next());
        kept.map(|(letter, ..)| letter)
    }

    /// Gives a letter its keyword. It is `lost` if the folder's file doesn't say so any more.
    ///
    /// # Panics
    /// That is no letter from `a` to `z`.
    pub fn set(&mut self, letter: u8, keyword: Keyword, lost: bool) {
        self.0[number(letter).expect("a letter from a to z")] = Some(Named { keyword, lost });
    }

    /// Letter, keyword, and whether the file has lost the name.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &Keyword, bool)> {
        letters().zip(&self.0).filter_map(|(letter, named)| {
            let named = named.as_ref()?;
            Some((letter, &named.keyword, named.lost))
        })
    }

    /// Whether no letter has a name.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// The letters that have a name.
    pub fn named(&self) -> LetterSet {
        self.iter().map(|(letter, ..)| letter).collect()
    }

    /// The letters whose names the file has lost.
    pub fn lost(&self) -> LetterSet {
        self.iter().filter(|(.., lost)| *lost).map(|(letter, ..)| letter).collect()
    }

    /// The letters whose keywords have a better one: a file that has such a letter is to have that instead.
    pub fn outdated(&self) -> LetterSet {
        self.iter()
            .filter(|(letter, keyword, _)| self.letter(keyword) != Some(*letter))
            .map(|(letter, ..)| letter)
            .collect()
    }

    /// The letters that stand for something else than in `other`, or for nothing there or here.
    pub fn differing(&self, other: &Self) -> LetterSet {
        letters().filter(|&letter| self.keyword(letter) != other.keyword(letter)).collect()
    }

    /// These letters after the file was read anew. `used` are the letters of the folder's files as last seen.
    ///
    /// A name that is gone from the file is kept as lost while the letter is used, so that what its files mean isn't
    /// forgotten with it: Dovecot gives such a letter a name that means nothing.
    #[must_use]
    pub fn read_anew(&self, file: &KeywordsFile, used: LetterSet) -> Self {
        let mut read = Self::default();
        for letter in letters() {
            if let Some(keyword) = file.keyword(letter) {
                read.set(letter, keyword, false);
            } else if let Some(keyword) = self.keyword(letter)
                && used.contains(letter)
                && file.is_open(letter)
            {
                read.set(letter, keyword.clone(), true);
            }
        }
        read
    }
}

/// The contents of a `dovecot-keywords`. Lines that say nothing here stay as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeywordsFile {
    lines: Vec<Vec<u8>>,
}

impl KeywordsFile {
    /// Takes the contents of a file apart. Every file has a meaning, be it none.
    pub fn parse(contents: &[u8]) -> Self {
        let mut lines: Vec<Vec<u8>> = contents.split(|&c| c == b'\n').map(<[u8]>::to_vec).collect();
        // What follows the last newline is a line only if there is something.
        if lines.last().is_some_and(Vec::is_empty) {
            lines.pop();
        }
        Self { lines }
    }

    /// The contents of the file.
    pub fn format(&self) -> Vec<u8> {
        self.lines.iter().flat_map(|line| line.iter().copied().chain([b'\n'])).collect()
    }

    /// The name in a letter's line. As for Dovecot, the last of several lines counts.
    fn name(&self, letter: u8) -> Option<&[u8]> {
        self.lines.iter().rev().find_map(|line| {
            let (n, name) = split(line)?;
            (Some(n) == number(letter)).then_some(name)
        })
    }

    /// The keyword that the file gives a letter. None for one that no keyword can have.
    pub fn keyword(&self, letter: u8) -> Option<Keyword> {
        let name = self.name(letter).filter(|name| !is_placeholder(letter, name))?;
        Keyword::new(std::str::from_utf8(name).ok()?)
    }

    /// The letter that the file gives a keyword. As for Dovecot, the last of several counts.
    pub fn letter(&self, keyword: &Keyword) -> Option<u8> {
        letters().filter(|&letter| self.keyword(letter).as_ref() == Some(keyword)).last()
    }

    /// Whether a letter has no name, or one that Dovecot has made up for want of one.
    pub fn is_open(&self, letter: u8) -> bool {
        self.name(letter).is_none_or(|name| is_placeholder(letter, name))
    }

    /// Gives a letter its name again, unless it has another one or the keyword another letter. Returns whether the file
    /// says now that the letter stands for the keyword.
    ///
    /// A name that Dovecot has made up stays: it has given the message that keyword, and takes it away again only if
    /// the file loses the letter.
    pub fn put_back(&mut self, letter: u8, keyword: &Keyword) -> bool {
        if self.name(letter).is_none() && self.letter(keyword).is_none() {
            self.write(letter, keyword);
        }
        self.letter(keyword) == Some(letter)
    }

    /// Gives the keyword a letter that has no line and is not `used` in the names of files: the next one, or if there is
    /// none, one that was left out. `None` if there is no such letter.
    ///
    /// A line that Dovecot has made up is no free one: files have its letter. And a Dovecot that has read the file looks
    /// for a letter behind the last one that it knows by reading the file again, but for one that was left out it makes
    /// a name up at once.
    pub fn add(&mut self, keyword: &Keyword, used: LetterSet) -> Option<u8> {
        let name = keyword.as_str().as_bytes();
        let is_free =
            |&letter: &u8| self.name(letter).is_none() && !used.contains(letter) && !is_placeholder(letter, name);
        let last = letters().filter(|&letter| self.name(letter).is_some()).last();
        let next = letters().filter(is_free).find(|&letter| Some(letter) > last);
        let free = next.or_else(|| letters().find(is_free))?;
        self.write(free, keyword);
        Some(free)
    }

    fn write(&mut self, letter: u8, keyword: &Keyword) {
        let n = number(letter);
        self.lines.retain(|line| split(line).is_none_or(|(other, _)| Some(other) != n));
        let at = self.lines.iter().position(|line| split(line).is_some_and(|(other, _)| Some(other) > n));
        let line = format!("{} {keyword}", letter - b'a').into_bytes();
        self.lines.insert(at.unwrap_or(self.lines.len()), line);
    }
}

/// The number and the name in a line.
fn split(line: &[u8]) -> Option<(usize, &[u8])> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let at = line.iter().position(|&c| c == b' ')?;
    let (digits, name) = (&line[..at], &line[at + 1..]);
    let plain = !digits.is_empty() && digits.len() <= 2 && digits.iter().all(u8::is_ascii_digit) && !name.is_empty();
    let n = std::str::from_utf8(digits).ok().filter(|_| plain)?.parse().ok()?;
    (n < LETTERS).then_some((n, name))
}

/// Whether a name is the one that Dovecot makes up for a letter that has none: `unknown-` and its number, and as many
/// question marks as it takes to be the only one.
fn is_placeholder(letter: u8, name: &[u8]) -> bool {
    let n = usize::from(letter - b'a').to_string();
    let rest = name.strip_prefix(b"unknown-").and_then(|rest| rest.strip_prefix(n.as_bytes()));
    rest.is_some_and(|rest| rest.iter().all(|&c| c == b'?'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keyword(name: &str) -> Keyword {
        Keyword::new(name).unwrap()
    }

    fn file(text: &str) -> KeywordsFile {
        KeywordsFile::parse(text.as_bytes())
    }

    fn set(letters: &str) -> LetterSet {
        letters.bytes().collect()
    }

    /// Letters with their keywords; those that were lost in brackets.
    fn shown(letters: &Letters) -> String {
        let show = |(letter, keyword, lost): (u8, &Keyword, bool)| {
            let letter = char::from(letter);
            if lost { format!("[{letter}={keyword}]") } else { format!("{letter}={keyword}") }
        };
        letters.iter().map(show).collect::<Vec<_>>().join(" ")
    }

    fn read(text: &str) -> Letters {
        Letters::default().read_anew(&file(text), LetterSet::default())
    }

    #[test]
    fn a_file_names_letters_and_what_names_none_is_passed_over() {
        for (text, expected) in [
            ("", ""),
            ("0 $Junk\n1 work\n", "a=$Junk b=work"),
            ("0 $Junk\r\n25 z", "a=$Junk z=z"),
            // Holes are free, the last line of a letter counts, and nothing is said of letters that there are none of.
            ("2 c\n26 no\n0 a\n0 b\n-1 x\n100 y\n", "a=b c=c"),
            ("# 0 a\nx\n\n 1 b\n1  \n3 \n4 two words\n5 é\n6 \\Seen\n7 ok\n", "h=ok"),
            // What Dovecot makes up says nothing; but these names somebody has given.
            (
                "0 unknown-0\n1 unknown-1??\n2 unknown-1\n3 unknown-3x\n4 Unknown-4\n",
                "c=unknown-1 d=unknown-3x e=Unknown-4",
            ),
        ] {
            assert_eq!(shown(&read(text)), expected, "{text:?}");
        }
        assert_eq!(read("0 work\n").letter(&keyword("WORK")), Some(b'a'));
        assert_eq!(file("0 a\n3 A\n").letter(&keyword("a")), Some(b'd'), "as Dovecot has it");
    }

    #[test]
    fn a_name_that_the_file_has_lost_is_kept_while_files_have_its_letter() {
        let before = read("0 work\n1 play\n2 $Junk\n");
        for (text, used, expected, case) in [
            ("", "", "", "nobody uses them"),
            ("", "ac", "[a=work] [c=$Junk]", "the file is gone"),
            (
                "0 unknown-0\n1 new\n",
                "ab",
                "[a=work] b=new",
                "Dovecot has made a name up, and another letter has another name",
            ),
            ("0 unknown-0\n3 work\n", "a", "[a=work] d=work", "the keyword has another letter"),
            ("0 é\n", "a", "", "somebody has given it a name that no keyword can have"),
            ("0 WORK\n1 play\n2 $Junk\n", "abc", "a=WORK b=play c=$Junk", "nothing but the case has changed"),
        ] {
            assert_eq!(shown(&before.read_anew(&file(text), set(used))), expected, "{case}");
        }
        let moved = before.read_anew(&file("3 work\n"), set("a"));
        assert_eq!((moved.letter(&keyword("work")), moved.outdated()), (Some(b'd'), set("a")));
        let lost = before.read_anew(&file("3 other\n"), set("a"));
        assert_eq!(lost.outdated(), set(""));
        assert_eq!((lost.lost(), lost.named()), (set("a"), set("ad")));
        assert_eq!((lost.letter(&keyword("work")), lost.keyword(b'a')), (Some(b'a'), Some(&keyword("work"))));
        // A lost name is lost for good when nothing has its letter any more.
        assert_eq!(shown(&lost.read_anew(&file("3 other\n"), set(""))), "d=other");
        assert_eq!(before.differing(&read("0 WORK\n1 other\n4 e\n")), set("bce"));
    }

    #[test]
    fn a_name_is_added_where_no_file_has_the_letter_and_nothing_else_of_the_file_changes() {
        for (text, used, added, expected) in [
            ("", "", Some(b'a'), "0 new\n"),
            ("", "ab", Some(b'c'), "2 new\n"),
            ("0 a\n1 b", "", Some(b'c'), "0 a\n1 b\n2 new\n"),
            ("0 a\n2 c\n# mine\n", "", Some(b'd'), "0 a\n2 c\n# mine\n3 new\n"),
            ("0 a\n2 c\n25 z\n", "", Some(b'b'), "0 a\n1 new\n2 c\n25 z\n"),
            ("0 unknown-0\n1 é\n", "", Some(b'c'), "0 unknown-0\n1 é\n2 new\n"),
            ("", "abcdefghijklmnopqrstuvwxyz", None, ""),
        ] {
            let mut file = file(text);
            assert_eq!(file.add(&keyword("new"), set(used)), added, "{text:?}");
            assert_eq!(String::from_utf8(file.format()).unwrap(), expected, "{text:?}");
        }
        // Of this letter the name would mean nothing.
        assert_eq!(file("").add(&keyword("unknown-0"), set("")), Some(b'b'));
        for (text, put, expected) in [
            ("", true, "2 c\n"),
            ("0 a\n2 unknown-2\n", false, "0 a\n2 unknown-2\n"),
            ("2 C\n", true, "2 C\n"),
            ("2 other\n", false, "2 other\n"),
            ("4 c\n", false, "4 c\n"),
        ] {
            let mut file = file(text);
            assert_eq!(file.put_back(b'c', &keyword("c")), put, "{text:?}");
            assert_eq!(String::from_utf8(file.format()).unwrap(), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_what_was_there_stays(
            text in "([0-9]{1,2} [$a-zA-Z]{1,4}\n|x\n|\n|[0-9] unknown-[0-9]\n){0,12}",
            names in prop::collection::vec("[a-z]{1,2}", 0..30),
            used in prop::collection::vec(b'a'..=b'z', 0..26),
        ) {
            let used: LetterSet = used.into_iter().collect();
            let mut file = KeywordsFile::parse(text.as_bytes());
            prop_assert_eq!(file.format(), text.as_bytes());
            let before = Letters::default().read_anew(&file, used);
            for name in &names {
                let keyword = Keyword::new(name).unwrap();
                if file.letter(&keyword).is_some() {
                    continue;
                }
                match file.add(&keyword, used) {
                    Some(letter) => {
                        prop_assert!(!used.contains(letter) && before.keyword(letter).is_none());
                        prop_assert_eq!(file.letter(&keyword), Some(letter));
                    }
                    None => prop_assert!(letters().all(|letter| used.contains(letter) || file.name(letter).is_some())),
                }
            }
            let again = KeywordsFile::parse(&file.format());
            prop_assert_eq!(&again, &file);
            let after = Letters::default().read_anew(&again, used);
            for (letter, keyword, _) in before.iter() {
                prop_assert_eq!(after.keyword(letter), Some(keyword));
            }
        }
    }
}
