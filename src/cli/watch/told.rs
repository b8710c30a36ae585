//! What was told: what stays wrong is told once, and not at each look.

use std::collections::BTreeMap;

/// Of each step at most so many texts are remembered. Others are told again.
const MOST: usize = 64;

/// What each step has told the last time that it was done.
#[derive(Debug, Default)]
pub struct Told {
    by_step: BTreeMap<String, Vec<String>>,
    current: Vec<String>,
}

impl Told {
    /// Whether this is to be told now: nobody has told it at this time or the last.
    pub fn is_new(&mut self, text: &str) -> bool {
        let known = self.by_step.values().flatten().chain(&self.current).any(|told| told == text);
        if self.current.len() < MOST && !self.current.iter().any(|told| told == text) {
            self.current.push(text.to_owned());
        }
        !known
    }

    /// The step of this name has told all. What it didn't tell this time is told anew when it comes back.
    pub fn end(&mut self, step: &str) {
        let told = std::mem::take(&mut self.current);
        if told.is_empty() {
            self.by_step.remove(step);
        } else {
            self.by_step.insert(step.to_owned(), told);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_wrong_is_told_once_and_again_when_it_has_come_back() {
        let mut told = Told::default();
        let mut step = |name: &str, texts: &[&str]| {
            let new: Vec<bool> = texts.iter().map(|text| told.is_new(text)).collect();
            told.end(name);
            new
        };
        assert_eq!(step("scan", &["no root", "no root"]), [true, false]);
        assert_eq!(step("scan", &["no root", "no room"]), [false, true]);
        assert_eq!(step("call", &["no root"]), [false], "another step is hindered by the same");
        assert_eq!(step("call", &[]), [false; 0]);
        assert_eq!(step("scan", &["no room"]), [false]);
        assert_eq!(step("scan", &["no root"]), [true], "it was gone meanwhile");
    }

    #[test]
    fn it_does_not_grow() {
        let mut told = Told::default();
        for number in 0..1000 {
            assert!(told.is_new(&number.to_string()));
        }
        told.end("scan");
        assert_eq!(told.by_step["scan"].len(), MOST);
    }
}
