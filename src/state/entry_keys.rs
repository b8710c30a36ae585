//! The numbers of entries, and sets of them that may hold all there are.

/// An entry's number within this state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryKey(pub(super) i64);

impl EntryKey {
    /// The number as a small index: numbers are given out from 1 upwards.
    pub fn index(self) -> usize {
        usize::try_from(self.0).expect("row numbers are positive")
    }

    /// The number with this index.
    fn of(index: usize) -> Self {
        Self(i64::try_from(index).expect("it was a row number"))
    }

    /// A key of an entry that no state holds.
    #[cfg(test)]
    pub(crate) fn example(number: i64) -> Self {
        Self(number)
    }
}

/// A set of entries: a bit for each, so that even all of them cost little memory.
#[derive(Clone, Debug, Default)]
pub struct EntryKeys(Vec<u64>);

impl EntryKeys {
    fn place(key: EntryKey) -> (usize, u64) {
        (key.index() / 64, 1 << (key.index() % 64))
    }

    /// Puts an entry in.
    pub fn add(&mut self, key: EntryKey) {
        let (word, bit) = Self::place(key);
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= bit;
    }

    /// Takes an entry out. Returns whether it was in.
    pub fn remove(&mut self, key: EntryKey) -> bool {
        let (word, bit) = Self::place(key);
        let was_in = self.contains(key);
        if was_in {
            self.0[word] &= !bit;
        }
        was_in
    }

    /// Whether an entry is in.
    pub fn contains(&self, key: EntryKey) -> bool {
        let (word, bit) = Self::place(key);
        self.0.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Those after this one, in the order of their numbers.
    pub fn after(&self, key: Option<EntryKey>) -> impl Iterator<Item = EntryKey> {
        let first = key.map_or(0, |key| key.index() + 1);
        (first / 64..self.0.len()).flat_map(move |word| {
            let before = if word == first / 64 { (1 << (first % 64)) - 1 } else { 0 };
            bits(self.0[word] & !before).map(move |bit| EntryKey::of(word * 64 + bit))
        })
    }
}

/// Which bits are set, from the lowest on.
fn bits(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = word.trailing_zeros();
        word &= word.checked_sub(1)?;
        Some(bit as usize)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in_and_not_taken_out_in_order() {
        let key = EntryKey::example;
        let after = |keys: &EntryKeys, first: Option<i64>| keys.after(first.map(key)).collect::<Vec<_>>();
        let mut keys = EntryKeys::default();
        assert_eq!((after(&keys, None), keys.contains(key(1)), keys.remove(key(700))), (vec![], false, false));
        let numbers = [1, 2, 62, 63, 64, 65, 127, 128, 700];
        numbers.iter().rev().for_each(|&number| keys.add(key(number)));
        keys.add(key(64));
        for number in 1..800 {
            assert_eq!(keys.contains(key(number)), numbers.contains(&number), "{number}");
            let expected: Vec<_> = numbers.iter().filter(|&&one| one > number).map(|&one| key(one)).collect();
            assert_eq!(after(&keys, Some(number)), expected, "{number}");
        }
        assert!(keys.remove(key(64)) && !keys.remove(key(64)) && !keys.remove(key(3)));
        assert_eq!(after(&keys, Some(63)), [65, 127, 128, 700].map(key));
        assert_eq!(after(&keys, None).len(), numbers.len() - 1);
    }
}
