//! An import is killed, fails, or loses power at every single step, and is repeated: nothing is lost, nothing is there
//! twice, and both sides end as if nothing had happened.
//!
//! Each case is a table: a start that both sides have; what was done there, whose bundle is imported; what was done
//! here meanwhile; and the expected end. A line of a mailbox is `FOLDER MESSAGE FLAGS`, or `FOLDER` alone if it is
//! empty.

use std::fs;
use std::path::PathBuf;

use mailsync::error::{Error, Result};
use mailsync::maildir::LayoutKind;
use mailsync::model::Digest;
use mailsync::replica::{DryRun, Replica, TrashOptions, TrashSelection, UndoOptions};
use rustix::io::Errno;

use crate::support::disk::{Call, Fault, Names, Op, Watch, beside, tally};
use crate::support::party::{Party, Snapshot, contents, exchange, import, make_peers};
use crate::support::{caught, rest, scratch};

/// What is run, interrupted, and run again.
#[derive(Clone, Copy, Debug)]
enum Command {
    /// `mailsync import`, with the scan that precedes it.
    Import,
    /// `mailsync trash restore` of a message that was removed there.
    Restore(&'static str),
    /// `mailsync restore --all` of what vanished here.
    BringBack,
    /// `mailsync trash restore --by` of all that was removed there.
    RestoreTheirs,
    /// `mailsync undo` of all that was done there.
    Undo,
}

struct Case {
    start: &'static [&'static str],
    there: &'static [&'static str],
    here: &'static [&'static str],
    command: Command,
    end: &'static [&'static str],
    trash: &'static [&'static str],
    /// A folder here that is on a file system of its own, or "trash".
    mount: Option<&'static str>,
}

const NOTHING: Case =
    Case { start: &[], there: &[], here: &[], command: Command::Import, end: &[], trash: &[], mount: None };

/// Whether every scan before an import could look at everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scanned {
    Wholly,
    Partly,
}

impl Scanned {
    fn of(result: &Result<Vec<Error>>) -> Self {
        match result {
            Ok(problems) if !problems.is_empty() => Self::Partly,
            _ => Self::Wholly,
        }
    }
}

/// A case, set up: the two sides just before the command.
struct Stage {
    there: Party,
    here: Party,
    bundle: PathBuf,
    back: PathBuf,
    before: (Snapshot, Snapshot),
    keep: PathBuf,
    case: Case,
    _dir: tempfile::TempDir,
}

impl Stage {
    fn new(case: Case, layouts: (LayoutKind, LayoutKind)) -> Self {
        let dir = scratch();
        let there = Party::new(dir.path(), "there", layouts.0, case.start);
        let here = Party::new(dir.path(), "here", layouts.1, &[]);
        make_peers(&there, &here);
        let (bundle, back) = (dir.path().join("bundle"), dir.path().join("back"));
        exchange(&there, &here, &bundle);
        assert_eq!(here.mailbox(), there.mailbox());
        case.there.iter().for_each(|what| there.act(what));
        there.export(&here, &bundle);
        if let Command::Restore(_) | Command::RestoreTheirs | Command::Undo = case.command {
            here.import(&bundle);
            here.opened().scan(&mailsync::replica::ScanOptions::default()).unwrap();
        }
        case.here.iter().for_each(|what| here.act(what));
        rest();
        let before = (there.snapshot(), here.snapshot());
        let keep = dir.path().join("keep");
        Self { there, here, bundle, back, before, keep, case, _dir: dir }
    }

    fn put_back(&self) -> Watch {
        self.there.put_back(&self.before.0);
        self.here.put_back(&self.before.1);
        let watch = Watch::new(&self.keep);
        match self.case.mount {
            None => {}
            Some("trash") => watch.mount(&self.here.home.trash()),
            Some(folder) => watch.mount(&self.here.dir(folder)),
        }
        watch
    }

    /// Runs the command. Returns what its scan could not look at; what a folder could not take is an error, too.
    fn run(&self, watch: &Watch) -> Result<Vec<Error>> {
        let replica = self.here.open(watch.disk())?;
        let problems = self.command(&replica)?;
        replica.hindrance().map_or(Ok(problems), Err)
    }

    fn command(&self, replica: &Replica) -> Result<Vec<Error>> {
        match self.case.command {
            Command::Import => import(replica, &self.bundle).map(|(report, _)| report.problems),
            Command::BringBack => {
                let options = mailsync::replica::RestoreOptions::default();
                replica.bring_back(&options, &mut |_| Ok(())).map(|done| done.scan.problems)
            }
            Command::RestoreTheirs => {
                let selection = TrashSelection { by: Some(String::from("there")), ..TrashSelection::default() };
                let options = TrashOptions { selection, ..TrashOptions::default() };
                replica.restore_trashed(&options, &mut |_| Ok(()))?;
                replica.drain_problems().pop().map_or(Ok(Vec::new()), Err)
            }
            Command::Undo => {
                let by = String::from("there");
                let options = UndoOptions { by, since: 0, folder: None, dry_run: DryRun::No };
                replica.undo(&options, &mut |_| Ok(())).map(|done| done.scan.problems)
            }
            Command::Restore(message) => {
                let digest = Digest::of(&contents(message));
                let mut found = None;
                replica.each_selected(&TrashSelection::default(), |trashed| {
                    found = found.or((trashed.id.digest == digest).then_some(trashed.key));
                    Ok(())
                })?;
                // An interrupted command that had decided to restore it was brought to its end when the replica was
                // opened.
                found.map_or(Ok(Vec::new()), |key| replica.restore(key).map(|_| Vec::new()))
            }
        }
    }

    /// Runs the command with a fault; afterwards the disk holds what it would hold at the next start.
    fn run_with(&self, watch: &Watch, fault: Fault) -> Result<Vec<Error>> {
        watch.hinder(fault, &self.here.home.database(), || (), || self.run(watch)).0
    }

    /// Messages here, in a folder or in the trash.
    fn held(&self) -> Vec<String> {
        let mail = self.here.mailbox().into_iter().filter_map(|line| line.split(' ').nth(1).map(str::to_owned));
        let mut held: Vec<String> = mail.chain(self.here.trash()).collect();
        held.sort();
        held
    }

    /// Checks that the mail that was here before is still here, as often as it was.
    fn check_held(&self, before: &[String], when: &str) {
        let mut left = self.held();
        for message in before {
            let at = left.iter().position(|held| held == message);
            left.swap_remove(at.unwrap_or_else(|| panic!("{when}: {message} is lost; left: {left:?}")));
        }
    }

    /// Repeats the command, brings the other side up to date, and checks the end.
    ///
    /// An import goes on although its scan could not look at a folder, and says so: local changes that are found only
    /// later come after what was imported. Then the end may be another one, but has all the mail, and the same on both
    /// sides.
    fn check_end(&self, watch: &Watch, scanned: Scanned, when: &str) {
        watch.arm(Fault::Fail(usize::MAX, Errno::IO));
        let problems = self.run(watch).unwrap_or_else(|error| panic!("{when}: repeated: {error}"));
        assert!(problems.is_empty(), "{when}: repeated: {problems:?}");
        let mut end: Vec<String> = self.case.end.iter().map(ToString::to_string).collect();
        if scanned == Scanned::Partly {
            for _ in 0..2 {
                self.here.export(&self.there, &self.back);
                self.there.import(&self.back);
                self.there.export(&self.here, &self.back);
                self.here.import(&self.back);
            }
            let all = self.here.mailbox();
            let copies = |lines: &[String], message: &str| {
                lines.iter().filter(|line| line.split(' ').nth(1) == Some(message)).count()
            };
            for message in end.iter().filter_map(|line| line.split(' ').nth(1)) {
                // What the person here removed may count as removed after all.
                let removed =
                    self.case.here.iter().filter(|what| what.starts_with("remove ") && what.ends_with(message));
                let left = copies(&all, message) + removed.count();
                assert!(left >= copies(&end, message), "{when}: {message} in {all:?}");
            }
            end = all;
        }
        assert_eq!(self.here.mailbox(), end, "{when}: here");
        assert_eq!(self.here.leftovers(), Vec::<PathBuf>::new(), "{when}");
        if scanned == Scanned::Wholly {
            self.check_trash(when);
        }
        self.here.export(&self.there, &self.back);
        self.there.import(&self.back);
        if self.there.opened().state().count_pending().unwrap() > 0 {
            // What was removed there was moved here meanwhile: its contents come with the next bundle.
            self.there.export(&self.here, &self.back);
            self.here.import(&self.back);
            self.here.export(&self.there, &self.back);
            self.there.import(&self.back);
        }
        assert_eq!(self.there.mailbox(), end, "{when}: there");
        assert_eq!(self.there.leftovers(), Vec::<PathBuf>::new(), "{when}: there");
        watch.take();
        let replica = self.here.open(watch.disk()).unwrap();
        let report = replica.scan(&mailsync::replica::ScanOptions::default()).unwrap();
        assert!(!report.has_changes(), "{when}: {report}");
        import(&replica, &self.bundle).unwrap();
        let changes: Vec<_> = watch.take().into_iter().filter(|call| call.op.changes()).collect();
        assert!(changes.is_empty(), "{when}: one more run changes the disk: {changes:?}");
        assert_eq!(self.here.mailbox(), end, "{when}: one more run");
        check_equal(&replica, &self.there.opened(), when);
    }

    /// The trash holds what is expected, and what it records is what it holds.
    fn check_trash(&self, when: &str) {
        assert_eq!(self.here.trash(), self.case.trash, "{when}: trash");
        let replica = self.here.opened();
        let mut recorded = Vec::new();
        replica
            .each_selected(&TrashSelection::default(), |trashed| {
                let file = replica.trash_file(&trashed);
                assert_eq!(Digest::of(&fs::read(&file).unwrap()), trashed.id.digest, "{when}: {}", file.display());
                recorded.push(file);
                Ok(())
            })
            .unwrap();
        assert_eq!(recorded.len(), self.case.trash.len(), "{when}: recorded trash {recorded:?}");
    }
}

fn check_equal(one: &Replica, other: &Replica, when: &str) {
    let (one, other) = (one.state(), other.state());
    assert_eq!(one.count_pending().unwrap(), 0, "{when}");
    assert_eq!(one.digest(), other.digest(), "{when}: the state digests");
}

/// The calls at which an interruption leaves something else behind than at the call before: something was changed in
/// between, on disk or in the state.
fn distinct(calls: &[Call]) -> Vec<usize> {
    let differs = |n: &usize| {
        let (before, now) = (&calls[n - 1], &calls[*n]);
        before.op.changes() || before.seen != now.seen
    };
    std::iter::once(1).chain((1..calls.len()).filter(differs).map(|n| n + 1)).collect()
}

/// Runs a case to its end, and then with everything that can go wrong at every step.
fn hold(case: Case, layouts: (LayoutKind, LayoutKind)) {
    let stage = Stage::new(case, layouts);
    let held = stage.held();
    let watch = stage.put_back();
    let wal = beside(&stage.here.home.database(), "-wal");
    watch.observe(move || fs::metadata(&wal).map_or(0, |meta| meta.len()));
    watch.arm(Fault::Stop(usize::MAX));
    stage.run(&watch).unwrap();
    let calls = watch.take();
    stage.check_end(&watch, Scanned::Wholly, "undisturbed");
    // Where the same three calls are made for each of many messages, every fourth call meets each of them often enough.
    let stride = if calls.len() > 100 { 4 } else { 1 };
    let steps: Vec<usize> = distinct(&calls).into_iter().step_by(stride).collect();
    println!("{} calls, interrupted at {} of them", calls.len(), steps.len());
    let mut problems = Vec::new();
    let mut attempt = |when: String, attempt: &dyn Fn(&str)| {
        if let Err(wrong) = caught(|| attempt(&when)) {
            problems.push(if wrong.is_empty() { when } else { wrong });
        }
    };
    for &n in &steps {
        let what = format!("{n} of {}, {:?} {}", calls.len(), calls[n - 1].op, calls[n - 1].path.display());
        attempt(format!("killed at {what}"), &|when| {
            let watch = stage.put_back();
            stage.run_with(&watch, Fault::Stop(n)).expect_err(when);
            stage.check_held(&held, when);
            // The repetition fails, too, somewhere.
            let again = stage.run_with(&watch, Fault::Fail(1 + n * 7 % 23, Errno::IO));
            stage.check_held(&held, when);
            stage.check_end(&watch, Scanned::of(&again), when);
        });
        attempt(format!("killed, repeated, and then a power cut at {what}"), &|when| {
            let watch = stage.put_back();
            stage.run_with(&watch, Fault::Stop(n)).expect_err(when);
            watch.arm(Fault::Fail(usize::MAX, Errno::IO));
            stage.run(&watch).unwrap();
            watch.cut_power(stage.here.root(), Names::Undone);
            assert_eq!(stage.here.mailbox(), stage.case.end, "{when}");
            stage.check_trash(when);
        });
        for names in [Names::Undone, Names::Kept] {
            attempt(format!("power cut with names {names:?} at {what}"), &|when| {
                let watch = stage.put_back();
                stage.run_with(&watch, Fault::Stop(n)).expect_err(when);
                watch.cut_power(stage.here.root(), names);
                stage.check_held(&held, when);
                stage.check_end(&watch, Scanned::Wholly, when);
            });
        }
    }
    for n in (1..=calls.len()).step_by(stride) {
        let errno = [Errno::IO, Errno::NOSPC, Errno::ACCESS][n % 3];
        attempt(format!("{errno} at {n} of {}", calls.len()), &|when| {
            let watch = stage.put_back();
            let result = stage.run_with(&watch, Fault::Fail(n, errno));
            let Some(call) = watch.struck() else { panic!("{when}: there were fewer calls") };
            let when = &format!("{when}, {:?} {}", call.op, call.path.display());
            stage.check_held(&held, when);
            let scanned = Scanned::of(&result);
            // A quota that can't be had counted anew is told of in a note: no mail is wrong.
            let told_of = call.path.ends_with("maildirsize");
            if result.is_ok() && scanned == Scanned::Wholly && !told_of {
                // What is about one place only may have been made good at once: then nothing is left to be done.
                assert_eq!(errno, Errno::ACCESS, "{when}: the failure was swallowed");
                assert_eq!(stage.here.mailbox(), stage.case.end, "{when}: the failure was swallowed");
                assert_eq!(stage.here.opened().state().count_pending().unwrap(), 0, "{when}");
            }
            stage.check_end(&watch, scanned, when);
        });
    }
    // When everything has ended well, the power can fail.
    for names in [Names::Undone, Names::Kept] {
        attempt(format!("power cut with names {names:?} at the end"), &|when| {
            let watch = stage.put_back();
            watch.arm(Fault::Fail(usize::MAX, Errno::IO));
            stage.run(&watch).unwrap();
            watch.cut_power(stage.here.root(), names);
            stage.check_held(&held, when);
            assert_eq!(stage.here.mailbox(), stage.case.end, "{when}");
            stage.check_trash(when);
            stage.check_end(&watch, Scanned::Wholly, when);
        });
    }
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

const COURIER: (LayoutKind, LayoutKind) = (LayoutKind::MaildirPlusPlus, LayoutKind::Fs);
const FS: (LayoutKind, LayoutKind) = (LayoutKind::Fs, LayoutKind::MaildirPlusPlus);

#[test]
fn new_messages_arrive_once() {
    hold(
        Case {
            start: &["INBOX alpha S", "Archive beta -"],
            there: &["deliver INBOX gamma new", "deliver Archive delta FS"],
            here: &["deliver INBOX epsilon new"],
            end: &["Archive beta -", "Archive delta FS", "INBOX alpha S", "INBOX epsilon new", "INBOX gamma new"],
            ..NOTHING
        },
        COURIER,
    );
}

#[test]
fn changed_flags_unite() {
    hold(
        Case {
            start: &["INBOX alpha -", "INBOX beta new", "INBOX gamma S"],
            there: &["flag INBOX alpha S", "flag INBOX beta S", "flag INBOX gamma RS"],
            here: &["flag INBOX gamma FS"],
            end: &["INBOX alpha S", "INBOX beta S", "INBOX gamma FRS"],
            ..NOTHING
        },
        FS,
    );
}

#[test]
fn keywords_are_named_before_files_have_their_letters() {
    hold(
        Case {
            start: &["INBOX alpha -", "INBOX beta -"],
            there: &[
                "names INBOX $Junk work",
                "flag INBOX alpha Sab",
                "names Work work",
                "deliver Work gamma Fa",
                "move INBOX beta Work",
            ],
            here: &["names INBOX work", "flag INBOX alpha a"],
            end: &["INBOX alpha Skeyword:$Junkkeyword:work", "Work beta -", "Work gamma Fkeyword:work"],
            ..NOTHING
        },
        COURIER,
    );
}

#[test]
fn moved_messages_are_in_one_place() {
    hold(
        Case {
            start: &["INBOX alpha S", "INBOX beta -", "INBOX gamma S", "Archive delta S", "Sent epsilon S"],
            there: &["move INBOX alpha Archive", "move INBOX gamma Sent", "flag Sent gamma FS"],
            here: &["move Archive delta INBOX", "move INBOX gamma Archive"],
            end: &["Archive alpha S", "Archive gamma FS", "INBOX beta -", "INBOX delta S", "Sent epsilon S"],
            ..NOTHING
        },
        COURIER,
    );
}

#[test]
fn removed_messages_are_in_the_trash() {
    hold(
        Case {
            start: &["INBOX alpha S", "INBOX beta -", "INBOX gamma S", "Archive delta S"],
            there: &["remove INBOX alpha", "remove Archive delta"],
            here: &["remove INBOX beta"],
            end: &["Archive", "INBOX gamma S"],
            trash: &["alpha", "delta"],
            ..NOTHING
        },
        FS,
    );
}

#[test]
fn a_removal_wins_over_a_changed_flag() {
    hold(
        Case {
            start: &["INBOX alpha -", "INBOX beta -", "INBOX gamma S"],
            there: &["remove INBOX alpha", "flag INBOX beta F"],
            here: &["flag INBOX alpha S", "remove INBOX beta"],
            end: &["INBOX gamma S"],
            trash: &["alpha"],
            ..NOTHING
        },
        COURIER,
    );
}

#[test]
fn a_move_wins_over_a_removal() {
    hold(
        Case {
            start: &["INBOX alpha S", "INBOX beta S", "Archive gamma S"],
            there: &["move INBOX alpha Archive", "remove INBOX beta"],
            here: &["move INBOX beta Archive"],
            end: &["Archive alpha S", "Archive beta S", "Archive gamma S", "INBOX"],
            ..NOTHING
        },
        FS,
    );
}

#[test]
fn a_move_of_what_was_removed_here_brings_it_back() {
    hold(
        Case {
            start: &["INBOX alpha S", "INBOX beta S", "Archive gamma S", "Archive alpha S"],
            there: &["move INBOX alpha Archive"],
            here: &["remove INBOX alpha"],
            end: &["Archive alpha S", "Archive alpha S", "Archive gamma S", "INBOX beta S"],
            ..NOTHING
        },
        FS,
    );
}

#[test]
fn new_folders_are_made() {
    hold(
        Case {
            start: &["INBOX alpha S", "INBOX beta S"],
            there: &["mkdir Lists/rust/users", "deliver Work/2024 gamma new", "mkdir Empty", "move INBOX beta Empty"],
            here: &["mkdir Drafts"],
            end: &["Drafts", "Empty beta S", "INBOX alpha S", "Lists/rust/users", "Work/2024 gamma new"],
            ..NOTHING
        },
        COURIER,
    );
}

#[test]
fn new_folders_are_made_with_courier_s_layout() {
    hold(
        Case {
            start: &["INBOX alpha S", "INBOX beta S"],
            there: &["mkdir Lists/rust/users", "deliver Work/2024 gamma new", "mkdir Empty", "move INBOX beta Empty"],
            here: &["mkdir Drafts"],
            end: &["Drafts", "Empty beta S", "INBOX alpha S", "Lists/rust/users", "Work/2024 gamma new"],
            ..NOTHING
        },
        FS,
    );
}

#[test]
fn removed_folders_go_and_their_mail_is_in_the_trash() {
    hold(
        Case {
            start: &["INBOX alpha S", "Old beta S", "Old/2019 gamma -", "Sent delta S"],
            there: &["rmdir Old/2019", "rmdir Old"],
            here: &["flag INBOX alpha FS"],
            end: &["INBOX alpha FS", "Sent delta S"],
            trash: &["beta", "gamma"],
            ..NOTHING
        },
        COURIER,
    );
}

#[test]
fn a_renamed_folder_keeps_its_mail() {
    hold(
        Case {
            start: &["INBOX alpha S", "Old beta S", "Old gamma -"],
            there: &["mvdir Old Older"],
            here: &["flag Old gamma S", "deliver INBOX delta new"],
            end: &["INBOX alpha S", "INBOX delta new", "Older beta S", "Older gamma S"],
            ..NOTHING
        },
        FS,
    );
}

#[test]
fn copies_of_one_message_stay_as_many() {
    hold(
        Case {
            start: &["INBOX alpha S", "INBOX alpha S", "Archive alpha -", "Archive beta S"],
            there: &[
                "deliver INBOX gamma new",
                "deliver INBOX gamma new",
                "deliver Archive gamma S",
                "remove Archive alpha",
            ],
            here: &["deliver INBOX gamma new"],
            end: &[
                "Archive beta S",
                "Archive gamma S",
                "INBOX alpha S",
                "INBOX alpha S",
                "INBOX gamma new",
                "INBOX gamma new",
            ],
            trash: &["alpha"],
            ..NOTHING
        },
        COURIER,
    );
}

#[test]
fn a_message_that_is_too_large_for_memory_arrives() {
    hold(
        Case {
            start: &["INBOX alpha S"],
            there: &["deliver INBOX large new", "deliver Archive large S"],
            end: &["Archive large S", "INBOX alpha S", "INBOX large new"],
            ..NOTHING
        },
        FS,
    );
}

#[test]
fn more_messages_than_are_made_durable_one_by_one_arrive() {
    hold(
        Case {
            start: &["INBOX alpha S"],
            there: &[
                "deliver A 00 S",
                "deliver A 01 S",
                "deliver A 02 S",
                "deliver A 03 S",
                "deliver A 04 S",
                "deliver A 05 S",
                "deliver A 06 S",
                "deliver A 07 S",
                "deliver A 08 S",
                "deliver A 09 S",
                "deliver A 10 S",
                "deliver A 11 S",
                "deliver A 12 S",
                "deliver A 13 S",
                "deliver A 14 S",
                "deliver A 15 S",
                "deliver A 16 S",
                "deliver A 17 S",
                "deliver A 18 S",
                "deliver A 19 S",
                "deliver A 20 S",
                "deliver A 21 S",
                "deliver A 22 S",
                "deliver A 23 S",
                "deliver A 24 S",
                "deliver A 25 S",
                "deliver A 26 S",
                "deliver A 27 S",
                "deliver A 28 S",
                "deliver A 29 S",
                "deliver A 30 S",
                "deliver A 31 S",
                "deliver A 32 S",
            ],
            end: &[
                "A 00 S",
                "A 01 S",
                "A 02 S",
                "A 03 S",
                "A 04 S",
                "A 05 S",
                "A 06 S",
                "A 07 S",
                "A 08 S",
                "A 09 S",
                "A 10 S",
                "A 11 S",
                "A 12 S",
                "A 13 S",
                "A 14 S",
                "A 15 S",
                "A 16 S",
                "A 17 S",
                "A 18 S",
                "A 19 S",
                "A 20 S",
                "A 21 S",
                "A 22 S",
                "A 23 S",
                "A 24 S",
                "A 25 S",
                "A 26 S",
                "A 27 S",
                "A 28 S",
                "A 29 S",
                "A 30 S",
                "A 31 S",
                "A 32 S",
                "INBOX alpha S",
            ],
            ..NOTHING
        },
        COURIER,
    );
}

#[test]
fn a_message_comes_back_from_the_trash() {
    hold(
        Case {
            start: &["INBOX alpha FS", "INBOX beta S", "Archive gamma S"],
            there: &["remove INBOX alpha", "remove INBOX beta"],
            command: Command::Restore("alpha"),
            end: &["Archive gamma S", "INBOX alpha FS"],
            trash: &["beta"],
            ..NOTHING
        },
        FS,
    );
}

#[test]
fn a_message_comes_back_from_the_trash_into_a_folder_that_was_gone() {
    hold(
        Case {
            start: &["INBOX beta S", "Old/deep alpha S"],
            there: &["rmdir Old/deep"],
            command: Command::Restore("alpha"),
            end: &["INBOX beta S", "Old/deep alpha S"],
            ..NOTHING
        },
        COURIER,
    );
}

#[test]
fn what_vanished_comes_back_from_elsewhere_on_this_machine() {
    for (layouts, gone) in [(FS, &["rmdir Archive/deep"][..]), (COURIER, &["remove Archive/deep alpha"])] {
        hold(
            Case {
                start: &["Archive/deep alpha F", "INBOX alpha S", "INBOX beta new"],
                here: gone,
                command: Command::BringBack,
                end: &["Archive/deep alpha F", "INBOX alpha S", "INBOX beta new"],
                ..NOTHING
            },
            layouts,
        );
    }
}

#[test]
fn a_trash_on_another_file_system_takes_copies() {
    hold(
        Case {
            start: &["INBOX alpha FS", "INBOX beta S", "Archive gamma S"],
            there: &["remove INBOX alpha", "remove INBOX beta"],
            end: &["Archive gamma S", "INBOX"],
            trash: &["alpha", "beta"],
            mount: Some("trash"),
            ..NOTHING
        },
        FS,
    );
}

#[test]
fn mail_moves_to_and_from_a_folder_on_another_file_system() {
    hold(
        Case {
            start: &["INBOX alpha S", "INBOX beta S", "Archive gamma S"],
            there: &["move INBOX alpha Archive", "move Archive gamma INBOX", "flag INBOX gamma FS"],
            end: &["Archive alpha S", "INBOX beta S", "INBOX gamma FS"],
            mount: Some("Archive"),
            ..NOTHING
        },
        COURIER,
    );
}

#[test]
fn an_empty_folder_that_was_removed_goes() {
    hold(
        Case {
            start: &["INBOX alpha S", "Old/2019 beta S", "Old/2018", "Empty"],
            there: &["rmdir Empty", "rmdir Old/2018"],
            end: &["INBOX alpha S", "Old/2019 beta S"],
            ..NOTHING
        },
        COURIER,
    );
}

#[test]
fn every_kind_of_call_is_interrupted_somewhere() {
    // Keeps the cases above from growing blind to a file operation.
    let stage = Stage::new(
        Case {
            start: &["INBOX alpha S", "INBOX beta S", "Old gamma S"],
            there: &["deliver New/folder delta S", "move INBOX alpha New/folder", "rmdir Old"],
            here: &["deliver INBOX epsilon new"],
            end: &[],
            ..NOTHING
        },
        COURIER,
    );
    let watch = stage.put_back();
    stage.run(&watch).unwrap();
    let tally = tally(&watch.take());
    let ops = [
        Op::Metadata,
        Op::List,
        Op::Open,
        Op::Create,
        Op::Write,
        Op::SetMtime,
        Op::SyncFile,
        Op::SyncDir,
        Op::Rename,
        Op::MakeDir,
        Op::RemoveDir,
    ];
    for op in ops {
        assert!(tally.contains_key(&op), "{op:?} of {tally:?}");
    }
}

#[test]
fn what_somebody_removed_comes_back_from_the_trash_together() {
    hold(
        Case {
            // So many that they are made durable all together.
            start: &[
                "INBOX a1 S",
                "INBOX a2 S",
                "INBOX a3 S",
                "INBOX a4 S",
                "INBOX a5 S",
                "INBOX a6 S",
                "INBOX a7 S",
                "INBOX beta -",
                "INBOX delta S",
                "Lists/Old gamma F",
            ],
            there: &[
                "remove INBOX a1",
                "remove INBOX a2",
                "remove INBOX a3",
                "remove INBOX a4",
                "remove INBOX a5",
                "remove INBOX a6",
                "remove INBOX a7",
                "remove INBOX beta",
                "rmdir Lists/Old",
            ],
            here: &["flag INBOX delta F"],
            command: Command::RestoreTheirs,
            end: &[
                "INBOX a1 S",
                "INBOX a2 S",
                "INBOX a3 S",
                "INBOX a4 S",
                "INBOX a5 S",
                "INBOX a6 S",
                "INBOX a7 S",
                "INBOX beta -",
                "INBOX delta F",
                "Lists/Old gamma F",
            ],
            ..NOTHING
        },
        COURIER,
    );
}

#[test]
fn what_somebody_moved_and_flagged_is_taken_back() {
    hold(
        Case {
            start: &["INBOX alpha S", "INBOX beta -", "Lists/Old gamma F", "INBOX delta S", "Work epsilon S"],
            there: &[
                "mkdir Junk",
                "move INBOX alpha Junk",
                "flag INBOX beta FT",
                "move Lists/Old gamma Junk",
                "flag Junk gamma -",
                "rmdir Lists/Old",
                "move Work epsilon INBOX",
            ],
            here: &["flag INBOX delta F", "move INBOX epsilon Junk", "deliver INBOX zeta new"],
            command: Command::Undo,
            end: &[
                "INBOX alpha S",
                "INBOX beta -",
                "INBOX delta F",
                "INBOX zeta new",
                "Junk epsilon S",
                "Lists/Old gamma F",
                "Work",
            ],
            ..NOTHING
        },
        FS,
    );
}

#[test]
fn what_somebody_moved_is_taken_back_across_file_systems() {
    hold(
        Case {
            start: &["INBOX alpha S", "INBOX beta -", "Archive gamma S"],
            there: &["move INBOX alpha Archive", "move Archive gamma INBOX"],
            command: Command::Undo,
            end: &["Archive gamma S", "INBOX alpha S", "INBOX beta -"],
            mount: Some("Archive"),
            ..NOTHING
        },
        COURIER,
    );
}
