//! Who is new to mailsync, and does what one does, gets the answer that helps then. The situations are in `first_day/`, and what
//! is printed in them is kept in `fixtures/first-day/`. `cargo test the_first_day_is_written_anew -- --ignored` writes it anew.

use std::fs;
use std::path::{Path, PathBuf};

use crate::first_day::{BEGINNINGS, Day, Kind, LOSSES, MISTAKES, QUESTIONS, SCRIPTS};
use crate::support::names;
use crate::support::said::difference;

const KINDS: [Kind; 5] = [BEGINNINGS, LOSSES, MISTAKES, QUESTIONS, SCRIPTS];

fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/first-day")
}

#[track_caller]
fn is_as_it_is_kept(kind: Kind) {
    let file = kept().join(kind.0).with_extension("txt");
    let kept = fs::read_to_string(&file).unwrap_or_default();
    if let Some(difference) = difference(&kept, &Day::of(kind)) {
        panic!("{}: if it is meant, write fixtures/first-day anew: {difference}", file.display());
    }
}

#[test]
fn who_could_lose_mail_is_stopped_and_told_how_to_get_it_back() {
    is_as_it_is_kept(LOSSES);
}

#[test]
fn who_asks_which_mails_and_when_and_how_much_is_told() {
    is_as_it_is_kept(QUESTIONS);
}

#[test]
fn what_runs_by_itself_says_what_matters_and_nothing_else() {
    is_as_it_is_kept(SCRIPTS);
}

#[test]
fn who_makes_a_mistake_is_told_which() {
    is_as_it_is_kept(MISTAKES);
}

#[test]
fn who_begins_in_the_wrong_place_is_stopped() {
    is_as_it_is_kept(BEGINNINGS);
}

#[test]
fn every_kind_of_situation_is_kept_and_nothing_else() {
    let files: Vec<String> = KINDS.iter().map(|(name, _)| format!("{name}.txt")).collect();
    assert_eq!(names(&kept()), files);
}

#[test]
#[ignore = "writes fixtures/first-day"]
fn the_first_day_is_written_anew() {
    let _ = fs::remove_dir_all(kept());
    fs::create_dir(kept()).unwrap();
    for kind in KINDS {
        fs::write(kept().join(kind.0).with_extension("txt"), Day::of(kind)).unwrap();
    }
}
