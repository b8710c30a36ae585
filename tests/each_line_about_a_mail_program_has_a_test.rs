//! The table of mail programs names tests that there are, and all tests that run such programs are in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::support::names;

/// The files whose tests run mail programs on the mail of replicas.
const FILES: [&str; 6] = [
    "delivery_agents_deliver_where_mailsync_works",
    "dovecot_and_mailsync_share_a_maildir",
    "dovecot_lays_out_mail_as_mailsync_does",
    "mbsync_renames_are_no_new_mail",
    "mbsync_runs_on_both_sides_of_an_account",
    "mutt_and_notmuch_find_what_was_imported",
];

/// Each program that has to be in the table, and how CI's script calls its package.
const PROGRAMS: [(&str, &str); 10] = [
    ("Dovecot, `maildir++` and `fs`", "dovecot-imapd"),
    ("mbsync on one side", "isync"),
    ("mbsync on both sides of one account", "isync"),
    ("mutt", "mutt"),
    ("neomutt", "neomutt"),
    ("notmuch", "notmuch"),
    ("procmail", "procmail"),
    ("maildrop", "maildrop"),
    ("fdm", "fdm"),
    ("getmail", "getmail6"),
];

/// The tests of a file, by name, with their sources.
fn tests(file: &str) -> BTreeMap<String, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(file).with_extension("rs");
    let source = fs::read_to_string(path).unwrap();
    let parts = source.split("#[test]\nfn ").skip(1);
    parts.map(|part| (part.split('(').next().unwrap().to_owned(), part.to_owned())).collect()
}

#[test]
fn the_table_of_mail_programs_and_the_tests_agree() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = fs::read_to_string(root.join("docs/mail-programs.md")).unwrap();
    let there: BTreeSet<String> = FILES.iter().flat_map(|file| tests(file).into_keys()).collect();
    let mut named = BTreeSet::new();
    let mut programs = BTreeSet::new();
    for line in document.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| program |")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [program, what, shown] = cells[..] else { panic!("three cells: {line}") };
        assert!(!what.is_empty(), "{line}");
        programs.insert(program);
        let tests: Vec<&str> = shown.split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "nothing shows this: {line}");
        for test in tests {
            assert!(there.contains(test), "there is no test {test}");
            assert!(named.insert(test.to_owned()), "{test} is named twice");
        }
    }
    let unnamed: Vec<_> = there.difference(&named).collect();
    assert!(unnamed.is_empty(), "the table has no line for {unnamed:?}");
    // CI installs what the tests need, and lets nothing be left out. A package doesn't hold its script.
    let script = root.join(".ci/run");
    let script = script.exists().then(|| fs::read_to_string(script).unwrap());
    for (program, package) in PROGRAMS {
        assert!(programs.contains(program), "{program} is not in the table");
        if let Some(script) = &script {
            let is_there = script.split_whitespace().any(|word| word == package);
            assert!(is_there, "CI doesn't install {package}");
            assert!(script.contains("export CI=true"), "CI leaves out what it misses");
        }
    }
    // None of these files is forgotten when another one is added for the same programs.
    for name in names(&root.join("tests")) {
        let name = name.trim_end_matches(".rs");
        if ["dovecot", "mbsync", "mutt", "notmuch", "delivery_agents"].iter().any(|program| name.starts_with(program)) {
            assert!(FILES.contains(&name), "{name} is not among the files");
        }
    }
}
