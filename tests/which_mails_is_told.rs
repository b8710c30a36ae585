//! Which messages a scan, an import and an export change is told: by folder, and one by one where that is asked for. What a
//! dry run says is what then happens.

use std::fs;

use proptest::prelude::*;

use crate::support::machine::{Machine, exchange, message, pair};
use crate::support::programs::run;
use crate::support::{names, scratch, text};

/// The lines of `-v` about single messages, without the program's name.
fn told(stderr: &str) -> Vec<String> {
    let lines = stderr.lines().filter_map(|line| line.strip_prefix("mailsync: "));
    let signs = ["A ", "M ", "R ", "D "];
    lines.filter(|line| signs.iter().any(|sign| line.starts_with(sign))).map(str::to_owned).collect()
}

/// What a list on standard output says of each message: sign, folder, folder before, flags and subject.
fn listed(stdout: &[u8]) -> Vec<String> {
    let lines = std::str::from_utf8(stdout).unwrap().lines();
    let picked = lines.map(|line| {
        let fields: Vec<&str> = line.split('\t').collect();
        assert_eq!(fields.len(), 8, "{line}");
        [0, 1, 2, 3, 6].map(|field| fields[field]).join("|")
    });
    picked.collect()
}

#[test]
fn each_change_is_told_with_sign_folder_sender_and_subject() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    for subject in ["moved", "flagged", "removed"] {
        desktop.put("INBOX", &format!("cur/{subject}:2,"), message(subject), 1_600_000_000);
    }
    let stick = dir.path().join("first.zst");
    desktop.ok(&["export", "--to", "laptop", "-o", text(&stick)]);
    laptop.ok(&["import", text(&stick)]);
    desktop.deliver("new");
    desktop.move_to("moved", "Work");
    desktop.flag("flagged", "S");
    desktop.remove("removed");

    let dry = desktop.ok(&["scan", "-n", "-v"]);
    let scanned = desktop.ok(&["scan", "-v"]);
    assert_eq!(told(&dry.stderr), told(&scanned.stderr));
    for words in ["mailsync:   INBOX: 1 new, 1 flagged, 1 removed\n", "mailsync:   Work: 1 moved here\n"] {
        assert!(dry.stderr.contains(words) && scanned.stderr.contains(words), "{words} is not in {}", scanned.stderr);
    }
    assert!(told(&desktop.ok(&["scan", "-v"]).stderr).is_empty());

    let second = dir.path().join("second.zst");
    desktop.ok(&["export", "--to", "laptop", "-o", text(&second)]);
    let before = laptop.mailbox();
    let dry = laptop.ok(&["import", "--list", "--dry-run", text(&second)]);
    assert!(laptop.mailbox() == before);
    let imported = laptop.ok(&["import", "--list", "-v", text(&second)]);
    assert_eq!(dry.stdout, imported.stdout);
    let mut lines = listed(&imported.stdout);
    lines.sort_unstable();
    let expected =
        ["A|INBOX|||new", "D|INBOX|||removed", "M|INBOX||+S|flagged", "R|Work|INBOX||moved"].map(String::from);
    assert_eq!(lines, expected);
    let words = told(&imported.stderr);
    assert_eq!(words.len(), 4, "{words:?}");
    for line in &words {
        assert!(line.contains("INBOX"), "{line}");
    }
    assert!(words.iter().any(|line| line.starts_with("R INBOX -> Work  ") && line.ends_with("moved")), "{words:?}");
    assert!(words.iter().any(|line| line.starts_with("M INBOX  ") && line.ends_with("flagged  (+S)")), "{words:?}");

    let again = laptop.ok(&["import", "-v", "--json", text(&second)]).json();
    assert_eq!(again["changes"], serde_json::json!([]));
    assert!(laptop.ok(&["import", "--json", text(&second)]).json().get("changes").is_none());
}

#[test]
fn what_a_bundle_would_hold_is_told_and_nothing_is_written_for_that() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.put("INBOX", "cur/one:2,S", message("one"), 1_600_000_000);
    desktop.put("Work", "cur/two:2,S", message("two"), 1_600_000_000);
    let before = desktop.ok(&["log"]).stdout;
    let stick = dir.path().join("stick");
    fs::create_dir(&stick).unwrap();
    for target in [&["-o", text(&stick)][..], &[]] {
        let said = desktop.ok(&[&["export", "-n", "--to", "laptop"], target].concat());
        let size = message("one").len() + message("two").len();
        let held = format!("would write bundle 1 for laptop (full): 2 entries, 2 messages of {size} B");
        for words in ["changes that would be found here first: 2 new", "INBOX: 1 new", &held, "nothing was written"] {
            assert!(said.stderr.contains(words), "{words} is not in {}", said.stderr);
        }
        assert!(said.stdout.is_empty());
    }
    assert_eq!(names(&stick), Vec::<String>::new());
    assert_eq!(desktop.ok(&["log"]).stdout, before);
    // Neither a number nor the changes are used up by that.
    let written = desktop.ok(&["export", "--to", "laptop", "-o", text(&stick)]).stderr;
    assert!(written.contains("bundle 1 for laptop (full): 2 entries, 2 messages of "), "{written}");
    assert!(laptop.ok(&["import", text(&stick)]).stderr.contains(": 2 new, "));
    desktop.refuses(&["export", "-n", "--to", "nobody"], &[], 2, &["nobody"]);
}

#[test]
fn what_a_bundle_tells_of_each_message_is_told_before_it_is_written_and_by_who_looks_into_it() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    for subject in ["moved", "flagged", "removed"] {
        desktop.put("INBOX", &format!("cur/{subject}:2,"), message(subject), 1_600_000_000);
    }
    let first = dir.path().join("first.zst");
    let said = desktop.ok(&["export", "--to", "laptop", "-o", text(&first)]).stderr;
    assert!(said.contains("mailsync:   INBOX: 3 new\nmailsync: wrote "), "{said}");
    laptop.ok(&["import", text(&first)]);
    let back = dir.path().join("back.zst");
    laptop.ok(&["export", "-o", text(&back)]);
    desktop.ok(&["import", text(&back)]);
    desktop.deliver("new");
    desktop.move_to("moved", "Work");
    desktop.flag("flagged", "S");
    desktop.remove("removed");

    let dry = desktop.ok(&["export", "--to", "laptop", "-n", "-v"]);
    let second = dir.path().join("second.zst");
    let written = desktop.ok(&["export", "--to", "laptop", "-v", "--list", "-o", text(&second)]);
    assert_eq!(told(&dry.stderr), told(&written.stderr));
    let mut lines = listed(&written.stdout);
    lines.sort_unstable();
    let expected = ["A|INBOX|||new", "D|INBOX|||", "M|INBOX||+S|flagged", "R|Work|||moved"].map(String::from);
    assert_eq!(lines, expected);
    for words in ["  INBOX: 1 new, 1 flagged, 1 removed\n", "  Work: 1 moved here\n"] {
        assert!(dry.stderr.contains(words) && written.stderr.contains(words), "{words} is not in {}", written.stderr);
    }

    // Who looks into it sees the same; what it tells of a message that is not in it may be known there by itself.
    let looked = desktop.ok(&["inspect", "-v", text(&second)]).text().to_owned();
    for line in told(&dry.stderr) {
        assert!(looked.contains(&format!("\n{line}\n")), "{line} is not in {looked}");
    }
    for words in ["\nholds      4 entries", "\n  INBOX: 1 new, 1 flagged, 1 removed\n", "\n  Work: 1 moved here\n"] {
        assert!(looked.contains(words), "{words} is not in {looked}");
    }
    assert_eq!(desktop.ok(&["inspect", "--list", text(&second)]).stdout, written.stdout);
    let verified = laptop.ok(&["verify", "--list", text(&second)]);
    assert_eq!(listed(&verified.stdout).len(), 4);
    assert!(verified.stderr.contains("is whole and can be applied here"), "{}", verified.stderr);
    let words = laptop.ok(&["verify", "-v", text(&second)]).text().to_owned();
    assert!(words.contains("is whole and can be applied here\n") && words.contains("\nD INBOX  "), "{words}");
    // Without any replica, too.
    let stranger = Machine::new(dir.path(), "stranger");
    let plain = dir.path().join("plain.zst");
    desktop.ok(&["export", "--to", "laptop", "--plain", "-o", text(&plain)]);
    let seen = stranger.ok(&["inspect", "-v", text(&plain)]).text().to_owned();
    assert!(seen.contains("  new\n") && seen.contains("R -> Work  -  -  message "), "{seen}");

    let document = laptop.ok(&["inspect", "-v", "--json", text(&second)]).json();
    assert_eq!(document["bundles"][0]["changes"].as_array().unwrap().len(), 4);
    assert!(laptop.ok(&["inspect", "--json", text(&second)]).json()["bundles"][0].get("changes").is_none());
    let document = laptop.ok(&["verify", "--list", "--json", text(&second)]).json();
    assert_eq!(document["bundles"][0]["changes"].as_array().unwrap().len(), 4);
    let document = desktop.ok(&["export", "-n", "-v", "--json", "--to", "laptop"]).json();
    assert_eq!(document["bundles"][0]["changes"][0]["digest"].as_str().unwrap().len(), 64);
    desktop.refuses(&["export", "--to", "laptop", "--list"], &[], 2, &["--list", "-o FILE"]);
}

#[test]
fn a_damaged_bundle_is_told_to_be_one_and_none_of_its_messages_is() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("one");
    let bundle = dir.path().join("one.zst");
    desktop.ok(&["export", "--to", "laptop", "--plain", "-o", text(&bundle)]);
    let mut bytes = fs::read(&bundle).unwrap();
    bytes.truncate(bytes.len() - 20);
    fs::write(&bundle, bytes).unwrap();
    for args in [["inspect", "-v"], ["inspect", "--list"], ["verify", "-v"]] {
        let ran = laptop.run(&[&args[..], &[text(&bundle)]].concat());
        assert_eq!((ran.code, ran.text()), (4, ""), "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains("one.zst"), "{}", ran.stderr);
    }
}

#[test]
fn the_date_of_a_mail_is_told_to_people_by_the_clocks_here_and_to_programs_by_utc() {
    let dir = scratch();
    let desktop = Machine::replica(dir.path(), "desktop");
    let mail = "From: Anna <anna@example.org>\nSubject: a walk\nDate: Sat, 28 Nov 2026 17:00:00 +0000\n\nhello\n";
    desktop.put("INBOX", "cur/walk:2,", mail, 1_600_000_000);
    let mut command = desktop.command(&["scan", "-n", "-v"]);
    let said = run(command.env("TZ", "Europe/Berlin")).stderr;
    assert!(said.contains("mailsync: A INBOX  2026-11-28 18:00 +0100  Anna  a walk\n"), "{said}");
    let list = desktop.ok(&["scan", "-n", "--list"]).text().to_owned();
    assert!(list.starts_with("A\tINBOX\t\t\t2026-11-28T17:00:00Z\tAnna\ta walk\t"), "{list}");
}

#[test]
fn of_many_folders_the_ones_with_the_most_changes_are_told() {
    let dir = scratch();
    let machine = Machine::replica(dir.path(), "desktop");
    for n in 0..12 {
        for m in 0..=n {
            machine.put(&format!("Lists/{n}"), &format!("cur/{m}:2,S"), message(&format!("{n} {m}")), 1_600_000_000);
        }
    }
    let said = machine.ok(&["scan"]).stderr;
    assert!(said.contains("  Lists/11: 12 new\n") && said.contains("  Lists/7: 8 new\n"), "{said}");
    assert!(!said.contains("Lists/6:") && said.ends_with("  and 7 more folders\n"), "{said}");
    assert_eq!(machine.ok(&["--quiet", "scan"]).stderr, "");
}

/// How much something is said to have brought: new, moved, flagged and removed.
type Counted = [u64; 4];

/// The numbers before these words, in a text that has them one after the other.
fn numbers(text: &str, words: [&str; 4]) -> Counted {
    let mut counted = Counted::default();
    if text == "nothing new" {
        return counted;
    }
    for part in text.split(", ").filter(|part| !part.ends_with("made or removed")) {
        for (count, word) in counted.iter_mut().zip(words) {
            *count += part.strip_suffix(word).map_or(0, |number| number.trim().parse::<u64>().unwrap());
        }
    }
    counted
}

/// What an import of one bundle says of what it brings: in the bundle's line, in those of single mails, and by folder.
#[derive(Debug, Default, PartialEq)]
struct SaidOfBundle {
    bundle: Counted,
    folders: Counted,
    mails: Vec<String>,
}

/// What was said before the line about the bundle is of what was found here.
fn said_of_bundle(stderr: &str) -> SaidOfBundle {
    let mut lines = stderr.lines().filter_map(|line| line.strip_prefix("mailsync: "));
    let line = lines.find(|line| line.starts_with("bundle ")).unwrap();
    let bundle = numbers(line.rsplit_once(": ").unwrap().1, [" new", " moved", " flagged", " removed"]);
    let mut said = SaidOfBundle { bundle, ..SaidOfBundle::default() };
    for line in lines {
        if ["A ", "M ", "R ", "D "].iter().any(|sign| line.starts_with(sign)) {
            said.mails.push(line.to_owned());
        }
        if let Some(folder) = line.strip_prefix("  ") {
            let counts = folder.rsplit_once(": ").unwrap().1;
            let folder = numbers(counts, [" new", " moved here", " flagged", " removed"]);
            for (all, one) in said.folders.iter_mut().zip(folder) {
                *all += one;
            }
        }
    }
    said
}

/// Passes a bundle, and looks at what is said of it: before it is imported, while it is, and by the history.
#[track_caller]
fn pass_as_said(from: &Machine, to: &Machine, bundle: &std::path::Path) -> SaidOfBundle {
    from.ok(&["export", "--to", &to.name, "--force", "-o", text(bundle)]);
    let dry = said_of_bundle(&to.ok(&["import", "-n", "-v", text(bundle)]).stderr);
    let ran = to.ok(&["import", "-v", text(bundle)]);
    let said = said_of_bundle(&ran.stderr);
    assert_eq!(dry, said, "{}", ran.stderr);
    assert_eq!(said.bundle, said.folders, "{}", ran.stderr);
    let lines = |sign: &str| said.mails.iter().filter(|line| line.starts_with(sign)).count() as u64;
    assert_eq!([said.bundle[0], said.bundle[1], said.bundle[3]], ["A ", "R ", "D "].map(lines), "{}", ran.stderr);
    said
}

#[test]
fn mail_that_was_asked_for_is_told_when_it_comes_and_the_history_has_it() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    for n in 0..151 {
        desktop.deliver(&format!("wanted {n}"));
    }
    exchange(&desktop, &laptop);
    for n in 0..151 {
        laptop.remove(&format!("wanted {n}"));
    }
    laptop.ok(&["restore", "INBOX"]);
    pass_as_said(&laptop, &desktop, &dir.path().join("asks.zst"));
    let said = pass_as_said(&desktop, &laptop, &dir.path().join("brings.zst"));
    assert_eq!((said.bundle, said.mails.len()), ([151, 0, 0, 0], 151));
    assert!(said.mails.iter().any(|line| line.starts_with("A INBOX  ") && line.ends_with("wanted 7")), "{said:?}");
    let log = laptop.ok(&["log", "--folder", "INBOX", "-n", "1000", "--json"]).json();
    let events = log["changes"].as_array().unwrap_or_else(|| panic!("{log}"));
    let told = events.iter().filter(|event| event["bundle"].is_u64()).count();
    assert_eq!(told, 2 * 151, "each has come twice: {log}");
}

#[test]
fn a_removal_here_and_a_move_there_are_counted_alike_everywhere() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    for subject in ["removed here", "moved", "kept"] {
        desktop.deliver(subject);
    }
    exchange(&desktop, &laptop);
    laptop.remove("removed here");
    laptop.ok(&["scan"]);
    desktop.move_to("removed here", "Archive/2024");
    desktop.move_to("moved", "Archive/2024");
    let said = pass_as_said(&desktop, &laptop, &dir.path().join("moves.zst"));
    // Its contents are no more on the laptop, which asks for them.
    assert_eq!(said.bundle, [0, 1, 0, 0]);
    assert!(!laptop.has("removed here"));
    pass_as_said(&laptop, &desktop, &dir.path().join("asks.zst"));
    let said = pass_as_said(&desktop, &laptop, &dir.path().join("brings.zst"));
    assert_eq!(said.bundle, [1, 0, 0, 0]);
    assert!(said.mails[0].starts_with("A Archive/2024  "), "{said:?}");
    assert_eq!(laptop.mailbox(), desktop.mailbox());
}

#[test]
fn what_was_found_here_has_a_heading_and_is_not_counted_with_what_a_bundle_brings() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("theirs");
    let bundle = dir.path().join("theirs.zst");
    desktop.ok(&["export", "--to", "laptop", "-o", text(&bundle)]);
    laptop.ok(&["scan"]);
    laptop.put("Work", "cur/ours:2,", message("ours"), 1_600_000_000);
    let found = "found here first: 1 new, 0 moved, 0 flagged, 0 removed, 1 folder made, 0 folders removed\n\
                 mailsync:   Work: 1 new\nmailsync: bundle 1 from desktop";
    for (options, were, brings) in [(&["-n"][..], "would be", " would bring: 1 new"), (&[], "were", ": 1 new")] {
        let said = laptop.ok(&[&["import", text(&bundle)], options].concat()).stderr;
        assert!(said.contains(&format!("mailsync: changes that {were} {found}{brings}")), "{said}");
        assert!(said.ends_with("\nmailsync:   INBOX: 1 new\n"), "{said}");
    }
}

#[test]
fn a_planned_bundle_is_told_apart_from_what_would_be_found_and_from_one_in_a_file() {
    let dir = scratch();
    let (desktop, _laptop) = pair(dir.path());
    desktop.deliver("new");
    let depends = "; not encrypted on standard output; -o encrypts it, unless config.toml says otherwise\n";
    let said = desktop.ok(&["export", "-n", "--to", "laptop"]).stderr;
    for words in ["  INBOX: 1 new\nmailsync: bundle 1 would tell:\nmailsync:   INBOX: 1 new\n", depends] {
        assert!(said.contains(words), "{words} is not in {said}");
    }
    let said = desktop.ok(&["export", "-n", "--to", "laptop", "--plain"]).stderr;
    assert!(said.contains("; not encrypted\n"), "{said}");
    let said = desktop.ok(&["export", "-n", "--to", "laptop", "-o", text(dir.path())]).stderr;
    assert!(said.contains("; encrypted for laptop and this replica\n"), "{said}");
}

/// Something that a user does.
#[derive(Clone, Debug)]
enum Act {
    Deliver(u8),
    Move(u8, u8),
    Flag(u8, u8),
    Remove(u8),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        (0..6u8).prop_map(Act::Deliver),
        (0..6u8, 0..3u8).prop_map(|(subject, folder)| Act::Move(subject, folder)),
        (0..6u8, 0..3u8).prop_map(|(subject, flags)| Act::Flag(subject, flags)),
        (0..6u8).prop_map(Act::Remove),
    ]
}

fn perform(machine: &Machine, act: &Act) {
    let (Act::Deliver(n) | Act::Move(n, _) | Act::Flag(n, _) | Act::Remove(n)) = act;
    let subject = &format!("subject {n}");
    // A message is delivered once, and the rest is done to one that is there.
    if machine.file_of(subject).is_none() != matches!(act, Act::Deliver(_)) {
        return;
    }
    match act {
        Act::Deliver(_) => machine.deliver(subject),
        Act::Move(_, folder) => machine.move_to(subject, ["Work", "Lists", "Lists/bees"][usize::from(*folder)]),
        Act::Flag(_, flags) => machine.flag(subject, ["", "S", "FS"][usize::from(*flags)]),
        Act::Remove(_) => machine.remove(subject),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, max_shrink_iters: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_a_dry_run_says_of_several_bundles_is_what_then_happens(
        rounds in prop::collection::vec((prop::collection::vec(act(), 1..6), prop::collection::vec(act(), 0..3)), 1..4)
    ) {
        let dir = scratch();
        let (desktop, laptop) = pair(dir.path());
        let mut bundles: Vec<String> = Vec::new();
        for (n, (theirs, ours)) in rounds.iter().enumerate() {
            for act in theirs {
                perform(&desktop, act);
            }
            for act in ours {
                perform(&laptop, act);
            }
            let scanned = desktop.ok(&["scan", "--list", "-n"]).stdout;
            prop_assert_eq!(scanned, desktop.ok(&["scan", "--list"]).stdout);
            let bundle = dir.path().join(format!("{n}.zst"));
            let export = |options: &[&str]| {
                let export = ["export", "--to", "laptop", "--since-last", "--list"];
                String::from_utf8(desktop.ok(&[&export, options].concat()).stdout).unwrap()
            };
            let would = export(&["-n"]);
            let holds = export(&["-o", text(&bundle)]);
            prop_assert_eq!(&would, &holds);
            let looked = desktop.ok(&["inspect", "--list", text(&bundle)]).stdout;
            prop_assert_eq!(&would, &String::from_utf8(looked).unwrap());
            bundles.push(text(&bundle).to_owned());
        }
        let import = |options: &[&str]| {
            let bundles = bundles.iter().map(String::as_str);
            let args: Vec<&str> = ["import"].iter().copied().chain(options.iter().copied()).chain(bundles).collect();
            laptop.ok(&args)
        };
        let before = laptop.mailbox();
        let dry = import(&["--list", "-n"]);
        prop_assert!(laptop.mailbox() == before);
        let real = import(&["--list"]);
        prop_assert_eq!(String::from_utf8(dry.stdout).unwrap(), String::from_utf8(real.stdout).unwrap());
    }

    #[test]
    fn the_line_of_a_bundle_its_mails_and_its_folders_tell_the_same_in_every_quarrel(
        rounds in prop::collection::vec(
            (prop::collection::vec(act(), 0..4), prop::collection::vec(act(), 0..4), prop::option::of(0..6u8)), 1..4
        )
    ) {
        let dir = scratch();
        let (desktop, laptop) = pair(dir.path());
        for n in 0..6 {
            desktop.deliver(&format!("subject {n}"));
        }
        exchange(&desktop, &laptop);
        for (n, (theirs, ours, lost)) in rounds.iter().enumerate() {
            for (machine, acts) in [(&desktop, theirs), (&laptop, ours)] {
                for act in acts {
                    perform(machine, act);
                }
                machine.ok(&["scan"]);
            }
            // What is lost here is asked for.
            if let Some(subject) = lost.map(|lost| format!("subject {lost}"))
                && laptop.has(&subject)
            {
                laptop.remove(&subject);
                laptop.ok(&["restore", "--all"]);
            }
            pass_as_said(&laptop, &desktop, &dir.path().join(format!("{n}-asks.zst")));
            pass_as_said(&desktop, &laptop, &dir.path().join(format!("{n}-brings.zst")));
        }
    }
}
