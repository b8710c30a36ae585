//! A campaign: everything that can go wrong with each command, a few commands at a time, and a table of what came of it.

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::caught;
use super::scene::{ALL, Command};

/// What came of one kind of fault.
#[derive(Clone, Copy, Debug, Default)]
pub struct Row {
    pub runs: usize,
    /// Runs that did not end as undisturbed, or were not told of.
    pub wrong: usize,
    /// Messages that were gone at any time.
    pub lost: usize,
}

/// What is tried, and what came of it until then.
pub struct Campaign<const KINDS: usize> {
    /// Whether all that can go wrong is tried, and not only some of it.
    pub all: bool,
    rows: Mutex<[Row; KINDS]>,
    problems: Mutex<Vec<String>>,
}

impl<const KINDS: usize> Campaign<KINDS> {
    /// Tries each command with `hold`, which returns how many calls it makes; `MAILSYNC_FAULTS` tells which ones, and
    /// whether everything. `kinds` are the names of what goes wrong. Prints the table, and gives it once nothing is wrong.
    ///
    /// # Panics
    /// Something did not end as it should have, or `docs/reliability.md` has no row of a kind.
    pub fn run(kinds: &[&str; KINDS], hold: impl Fn(Command, &Self) -> usize + Sync) -> ([Row; KINDS], bool) {
        let which = std::env::var("MAILSYNC_FAULTS").ok();
        let named =
            |command: &Command| which.as_ref().is_none_or(|which| which == "all" || *which == format!("{command:?}"));
        let commands: Vec<Command> = ALL.into_iter().filter(named).collect();
        assert!(!commands.is_empty(), "there is no command {which:?}");
        let rows = Mutex::new([Row::default(); KINDS]);
        let campaign = Self { all: which.is_some(), rows, problems: Mutex::default() };
        let (next, calls) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while let Some(&command) = commands.get(next.fetch_add(1, Ordering::Relaxed)) {
                        match caught(|| hold(command, &campaign)) {
                            Ok(made) => {
                                println!("{command:?}: {made} calls");
                                calls.fetch_add(made, Ordering::Relaxed);
                            }
                            Err(wrong) => campaign.problems.lock().unwrap().push(wrong),
                        }
                    }
                });
            }
        });
        let (rows, problems) = (campaign.rows.into_inner().unwrap(), campaign.problems.into_inner().unwrap());
        println!("| fault | runs | not as undisturbed | messages lost |\n|---|---|---|---|");
        for (name, Row { runs, wrong, lost }) in kinds.iter().zip(&rows) {
            println!("| {name} | {runs} | {wrong} | {lost} |");
        }
        println!("{} commands, {} calls", commands.len(), calls.into_inner());
        assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
        let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reliability.md");
        let document = fs::read_to_string(document).unwrap();
        for name in kinds {
            let row = document.lines().find(|line| line.starts_with(&format!("| {name} |")));
            let is_there = row.is_some_and(|row| row.ends_with("| 0 | 0 |"));
            assert!(is_there, "docs/reliability.md should have a row for {name}");
        }
        (rows, which.is_some())
    }

    /// One run in which something goes wrong. `run` counts the messages that were gone, and gives what is wrong; `what` says
    /// what it was that went wrong.
    pub fn hinder(&self, kind: usize, what: &str, run: impl FnOnce(&mut usize) -> Result<(), String>) {
        let mut row = Row { runs: 1, ..Row::default() };
        let outcome = caught(|| run(&mut row.lost));
        if let Err(wrong) = outcome.unwrap_or_else(Err) {
            row.wrong = 1;
            self.problems.lock().unwrap().push(format!("{what}: {wrong}"));
        }
        let sum = &mut self.rows.lock().unwrap()[kind];
        *sum = Row { runs: sum.runs + 1, wrong: sum.wrong + row.wrong, lost: sum.lost + row.lost };
    }
}
