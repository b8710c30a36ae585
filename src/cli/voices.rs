//! What programs say to people that reach peers: each line is marked with the peer's name, so that nobody takes it for
//! one of this machine's.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mailsync::text::{plural, printable};

use super::output::Output;

/// So many lines of one call are shown: whoever says more says nothing to a person.
const MOST_SHOWN: u64 = 1000;
/// So many of the last lines of one call are kept where they are not shown.
const MOST_KEPT: usize = 50;

/// The voices of several peers.
#[derive(Debug)]
pub struct Voices {
    /// Whether nothing is shown unless something goes wrong.
    quiet: bool,
    of: Mutex<BTreeMap<String, Voice>>,
}

/// What was said in one call.
#[derive(Debug, Default)]
struct Voice {
    lines: u64,
    /// The last of them, where they were not shown.
    kept: VecDeque<String>,
}

/// What becomes of a line.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Show,
    /// It is the first of those that aren't shown any more.
    SayThatThereIsMore,
    Nothing,
}

impl Voice {
    fn hear(&mut self, line: &str, quiet: bool) -> Fate {
        self.lines += 1;
        if quiet {
            if self.kept.len() == MOST_KEPT {
                self.kept.pop_front();
            }
            self.kept.push_back(line.to_owned());
            return Fate::Nothing;
        }
        match self.lines {
            ..=MOST_SHOWN => Fate::Show,
            lines if lines == MOST_SHOWN + 1 => Fate::SayThatThereIsMore,
            _ => Fate::Nothing,
        }
    }
}

impl Voices {
    pub fn new(quiet: bool) -> Self {
        Self { quiet, of: Mutex::default() }
    }

    fn voices(&self) -> MutexGuard<'_, BTreeMap<String, Voice>> {
        self.of.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A line has come, by any thread.
    pub fn hear(&self, peer: &str, line: &str) {
        let fate = self.voices().entry(peer.to_owned()).or_default().hear(line, self.quiet);
        match fate {
            Fate::Show => show(peer, line),
            Fate::SayThatThereIsMore => show(peer, "(it says more, which is left out)"),
            Fate::Nothing => {}
        }
    }

    /// The call has ended. If it went wrong, what was kept is shown.
    pub fn end(&self, peer: &str, went_wrong: bool) {
        let Some(voice) = self.voices().remove(peer) else { return };
        if !went_wrong || voice.kept.is_empty() {
            return;
        }
        let before = voice.lines - voice.kept.len() as u64;
        if before > 0 {
            show(peer, &format!("({} before this are left out)", plural(before, "line")));
        }
        voice.kept.iter().for_each(|line| show(peer, line));
    }
}

fn show(peer: &str, line: &str) {
    Output::relay(&format!("{}: {line}", printable(peer)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_one_that_says_very_much_only_a_part_is_shown_and_kept() {
        let mut voice = Voice::default();
        let fates: Vec<Fate> = (0..MOST_SHOWN + 3).map(|n| voice.hear(&n.to_string(), false)).collect();
        let (shown, rest) = fates.split_at(usize::try_from(MOST_SHOWN).unwrap());
        assert!(shown.iter().all(|fate| *fate == Fate::Show));
        assert_eq!(rest, [Fate::SayThatThereIsMore, Fate::Nothing, Fate::Nothing]);
        assert!(voice.kept.is_empty());
        let mut voice = Voice::default();
        assert!((0..1000).all(|n| voice.hear(&n.to_string(), true) == Fate::Nothing));
        assert_eq!((voice.lines, voice.kept.len(), voice.kept.front().unwrap().as_str()), (1000, 50, "950"));
    }
}
