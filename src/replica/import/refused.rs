//! What the log says of imports that were refused or that failed: a line for each file, with its name and the reason. It is
//! said once, until the file or the reason is another one: whoever imports a directory every five minutes reads it once.

use std::path::Path;

use super::outcome::{ImportOptions, ImportOutcome, Imported};
use super::tidy::identity;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Digest;
use crate::replica::Replica;
use crate::replica::safety::DryRun;
use crate::state::Action;
use crate::text::{beginning, plural, printable};

/// Of one import so many are told one by one: whoever may write into a directory can put any number of files there.
const MOST: usize = 20;
/// So many characters of a file's name, from its end, and of a reason, from its beginning, are kept.
const NAME: usize = 100;
const REASON: usize = 240;

/// A line for the log.
#[derive(Debug)]
struct Refused {
    peer: Option<String>,
    text: String,
    /// What tells that it was said before: of a file, what identifies it and the reason. What comes in a stream is known by
    /// its words alone.
    mark: Option<Digest>,
}

/// What was refused in one import.
#[derive(Debug, Default)]
struct Refusals {
    told: Vec<Refused>,
    more: u64,
    /// Whether the state of somebody was found to be put back: that has a line of its own.
    rolled_back: bool,
}

impl Refusals {
    fn look_at(&mut self, imported: &Imported, about: &str) {
        let word = match &imported.outcome {
            // The error with which the import of this file ends has a line of its own.
            ImportOutcome::Applied | ImportOutcome::NothingNew | ImportOutcome::Refused(_) => return,
            ImportOutcome::RolledBack(_) => {
                self.rolled_back = true;
                return;
            }
            ImportOutcome::NotYet(_) | ImportOutcome::Incomplete(_) => "not yet",
            ImportOutcome::Rejected(_) | ImportOutcome::ForSomeoneElse(_) => "refused",
        };
        let Some(error) = imported.outcome.error() else { return };
        if self.told.len() == MOST {
            self.more += 1;
            return;
        }
        // Anybody can write whom a bundle is from.
        let peer = imported.peer.clone();
        // A file that is still being copied grows.
        let grows = matches!(imported.outcome, ImportOutcome::Incomplete(_));
        self.add(word, error, (imported.file.as_deref(), about), peer, grows);
    }

    fn add(
        &mut self,
        word: &str,
        error: &Error,
        (file, about): (Option<&Path>, &str),
        peer: Option<String>,
        grows: bool,
    ) {
        let name = file.map_or_else(|| about.to_owned(), |file| file.display().to_string());
        let text = line(word, &name, error.what());
        let mark = file.map(|file| {
            let meta = if grows { None } else { identity(std::fs::metadata(file)) };
            Digest::of(format!("refused {} {meta:?} {}", file.display(), without_numbers(&text)).as_bytes())
        });
        self.told.push(Refused { peer, text, mark });
    }
}

/// The line for what is called `name`. An error names that, too, at its beginning.
fn line(word: &str, name: &str, what: &str) -> String {
    let name = printable(name);
    let reason = what.strip_prefix(&name).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(what);
    let end = name.chars().count().saturating_sub(NAME);
    let name = if end == 0 { name } else { format!("…{}", name.chars().skip(end).collect::<String>()) };
    format!("{word}: {name}: {}", beginning(reason, REASON))
}

/// A text in which all numbers are the same: a reason that only counts otherwise is no other one.
fn without_numbers(text: &str) -> String {
    let mut without = String::new();
    for c in text.chars() {
        if !c.is_ascii_digit() {
            without.push(c);
        } else if !without.ends_with('0') {
            without.push('0');
        }
    }
    without
}

impl Replica {
    /// Does an import of what is called `about`, and records at its end what was refused in it, or why it failed.
    ///
    /// # Errors
    /// Those of the import.
    pub(super) fn recording_refusals(
        &self,
        about: &str,
        options: &ImportOptions,
        mut each: impl FnMut(Imported),
        import: impl FnOnce(&mut dyn FnMut(Imported)) -> Result<()>,
    ) -> Result<()> {
        let mut refusals = Refusals::default();
        let result = import(&mut |imported| {
            refusals.look_at(&imported, about);
            each(imported);
        });
        if options.dry_run == DryRun::Yes {
            return result;
        }
        if let Err(error) = &result
            && !refusals.rolled_back
        {
            let word = if error.kind() == ErrorKind::Refused { "refused" } else { "failed" };
            refusals.add(word, error, (None, about), None, false);
        }
        let recorded = self.record_refusals(&refusals);
        // The person should hear about the first error, and not about this one.
        result.and(recorded)
    }

    fn record_refusals(&self, refusals: &Refusals) -> Result<()> {
        let mut new = Vec::new();
        for refused in &refusals.told {
            let was_told = if let Some(mark) = &refused.mark {
                self.state.was_passed_over(mark)?
            } else {
                let last = self.state.last_text(Action::Import, refused.peer.as_deref())?;
                last.is_some_and(|last| without_numbers(&last) == without_numbers(&refused.text))
            };
            if !was_told {
                new.push(refused);
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        let (tx, now) = (self.begin()?, self.now());
        for refused in &new {
            tx.record(now, Action::Import, refused.peer.as_deref(), &refused.text)?;
        }
        if refusals.more > 0 {
            let more = format!("refused: {} more", plural(refusals.more, "file"));
            tx.record(now, Action::Import, None, &more)?;
        }
        let marks: Vec<Digest> = new.iter().filter_map(|refused| refused.mark).collect();
        tx.pass_over(&marks)?;
        tx.commit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_name_and_the_reason_whatever_their_length() {
        for (name, what, expected) in [
            ("a.zst", "a.zst: not a bundle", "refused: a.zst: not a bundle"),
            ("standard input", "standard input: empty", "refused: standard input: empty"),
            ("stick", "a.zst: not a bundle", "refused: stick: a.zst: not a bundle"),
            ("a\nb", "a\u{fffd}b: odd", "refused: a\u{fffd}b: odd"),
        ] {
            assert_eq!(line("refused", name, what), expected);
        }
        let long = line("refused", &"d/".repeat(300), &"x".repeat(1000));
        assert_eq!(long.chars().count(), "refused: …: …".chars().count() + NAME + REASON);
        assert!(long.starts_with("refused: …d/d/"));
    }

    #[test]
    fn a_reason_that_only_counts_otherwise_is_the_same() {
        assert_eq!(without_numbers("bundle 12 of 3"), without_numbers("bundle 7 of 10"));
        assert_ne!(without_numbers("bundle 12 of a"), without_numbers("bundle 12 of b"));
    }
}
