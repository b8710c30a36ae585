//! Codes: words that two people tell each other, with which an invitation is encrypted. Whoever has the file and not
//! the code can neither read it nor join; whoever has the code knows that the file is from the one who told it.

use std::fmt;

use age::secrecy::{ExposeSecret, SecretString};
use bip39::Language;

/// The list from which the words of a code are drawn: 2048 English ones, so 11 bits each. The first four letters tell
/// each of them (BIP 39, "Wordlist").
const LIST: Language = Language::English;
/// Words may be cut off behind so many letters.
const ENOUGH: usize = 4;

/// The code of an invitation: [`Code::WORDS`] words, 66 bits.
#[derive(Clone)]
pub struct Code(SecretString);

/// The reason why a text is no code. It doesn't hold the text, which is a secret, or all but one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// It has another number of words.
    #[error("a code has {} words, and this has {found}", Code::WORDS)]
    Number {
        /// How many it has.
        found: usize,
    },
    /// A word is none of the list.
    #[error("its word number {number} is none of which codes are made")]
    Word {
        /// Which one, from 1.
        number: usize,
    },
}

impl Code {
    /// How many words a code has.
    pub const WORDS: usize = 6;

    /// Draws a code. `random` gives 64 bits that nobody can guess.
    pub fn draw(random: impl Fn() -> u64) -> Self {
        let list = LIST.word_list();
        let words = (0..Self::WORDS).map(|_| {
            // The list has a power of two of words: each is as likely as any other.
            let index = usize::try_from(random() % list.len() as u64).expect("a list fits into memory");
            list[index]
        });
        Self::of(words)
    }

    /// Reads a code as a person types it. Case doesn't matter, nor what stands between the words, nor the end of a word
    /// behind its fourth letter.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, CodeError> {
        let typed: Vec<String> =
            text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect();
        let words = typed
            .iter()
            .enumerate()
            .map(|(index, word)| whole(word).ok_or(CodeError::Word { number: index + 1 }))
            .collect::<Result<Vec<&str>, CodeError>>()?;
        match words.len() {
            Self::WORDS => Ok(Self::of(words.into_iter())),
            found => Err(CodeError::Number { found }),
        }
    }

    fn of<'w>(words: impl Iterator<Item = &'w str>) -> Self {
        Self(words.collect::<Vec<_>>().join("-").into())
    }

    /// The words in lower case, with a hyphen between each two: as they are shown, and what age takes as the passphrase.
    pub fn words(&self) -> &str {
        self.0.expose_secret()
    }

    pub(super) fn passphrase(&self) -> SecretString {
        self.0.clone()
    }
}

/// The word of the list that is meant.
fn whole(typed: &str) -> Option<&'static str> {
    let mut words = LIST.words_by_prefix_iter(typed);
    let exact = words.clone().find(|word| *word == typed);
    // One word at most begins with these letters.
    exact.or_else(|| words.next().filter(|_| typed.len() >= ENOUGH))
}

/// A code is a secret.
impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code")
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_code_is_read_however_it_is_typed() {
        let code = "abandon-act-zoo-zebra-action-wrong";
        for typed in [
            "abandon-act-zoo-zebra-action-wrong",
            "abandon act zoo zebra action wrong\n",
            "  Abandon ACT\tZoo -- zebra,action.\r\nWrong  ",
            "aban act zoo zebr acti wron",
            "abando_act_zoo_zebra_actio_wrong",
            "1. abandon 2. act 3. zoo 4. zebra 5. action 6. wrong",
            "abandon\u{2011}act\u{2013}zoo\u{a0}zebra\u{3000}action\u{2019}wrong",
        ] {
            assert_eq!(Code::parse(typed).unwrap().words(), code, "{typed:?}");
        }
    }

    #[test]
    fn what_is_no_code_is_told_apart_without_repeating_it() {
        use CodeError::{Number, Word};
        for (typed, error) in [
            ("", Number { found: 0 }),
            ("abandon act zoo zebra action", Number { found: 5 }),
            ("abandon act zoo zebra action wrong wrong", Number { found: 7 }),
            ("abandon act zoo xyzzy action wrong", Word { number: 4 }),
            // Three letters of a longer word may be those of several.
            ("aba act zoo zebra action wrong", Word { number: 1 }),
            ("abandons act zoo zebra action wrong", Word { number: 1 }),
            ("abandonact zoo zebra action wrong", Word { number: 1 }),
            ("\u{e4}bandon act zoo zebra action wrong", Word { number: 1 }),
        ] {
            let found = Code::parse(typed).unwrap_err();
            assert_eq!(found, error, "{typed:?}");
            assert!(!found.to_string().contains("zoo"));
        }
        assert_eq!(format!("{:?}", Code::parse("abandon act zoo zebra action wrong").unwrap()), "Code");
    }

    #[test]
    fn every_word_can_be_drawn_and_is_read_whole_or_cut_off() {
        let list = LIST.word_list();
        assert_eq!(list.len(), 2048, "so {} words are 66 bits", Code::WORDS);
        for (index, word) in list.iter().enumerate() {
            assert!(word.bytes().all(|byte| byte.is_ascii_lowercase()));
            // What is above 11 bits changes nothing.
            let drawn = Code::draw(|| index as u64 + (7 << 11));
            assert_eq!(drawn.words(), [*word; Code::WORDS].join("-"));
            for length in ENOUGH.min(word.len())..=word.len() {
                assert_eq!(whole(&word[..length]), Some(*word), "{}", &word[..length]);
            }
        }
        let next = Cell::new(0);
        let random = || next.replace(next.get() + 1);
        assert_eq!(Code::draw(random).words(), list[..Code::WORDS].join("-"), "each word is drawn by itself");
    }
}
