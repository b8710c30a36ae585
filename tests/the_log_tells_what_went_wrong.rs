//! What a person looks back for: what was refused, which changes of two sides could not both hold, and how to get them; and a
//! message by the Message-ID that its header has. What is nothing to look back at is not in the log.

use std::fs;

use serde_json::{Value, json};

use crate::support::machine::{Machine, exchange, message, pair, pass};
use crate::support::{make_folder, rest, scratch, text};

/// The lines of the log of one command: peer and words.
fn lines(machine: &Machine, command: &str) -> Vec<(Option<String>, String)> {
    let log = machine.ok(&["log", "--json", "-n", "1000"]).json();
    let events = log["events"].as_array().unwrap().iter().filter(|event| event["command"] == command);
    let text = |value: &Value| value.as_str().map(str::to_owned);
    events.map(|event| (text(&event["peer"]), text(&event["text"]).unwrap())).collect()
}

fn refusals(machine: &Machine) -> Vec<(Option<String>, String)> {
    let mut all = lines(machine, "import");
    all.retain(|(_, text)| ["refused: ", "failed: ", "not yet: "].iter().any(|word| text.starts_with(word)));
    all
}

#[test]
fn what_was_refused_is_in_the_log_once_with_the_files_name_and_the_reason() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let stick = dir.path().join("stick");
    fs::create_dir(&stick).unwrap();
    let file = |name: &str| stick.join(name);
    fs::write(file("junk.zst"), "no bundle at all").unwrap();
    let stranger = Machine::replica(dir.path(), "stranger");
    stranger.ok(&["peer", "add", "laptop", "--key", &laptop.key()]);
    stranger.deliver("from a stranger");
    stranger.ok(&["export", "-o", text(&stick)]);
    // One that needs another before it.
    desktop.deliver("one");
    desktop.ok(&["export", "--since-last", "--to", "laptop"]);
    desktop.deliver("two");
    desktop.ok(&["export", "--since-last", "--to", "laptop", "-o", text(&file("second.zst"))]);
    for args in [&["import", "-n"][..], &["import"], &["import"], &["import"]] {
        let ran = laptop.run(&[args, &[text(&stick)]].concat());
        assert!(ran.code != 0 || args.len() == 1, "{}", ran.stderr);
        if args.len() == 2 {
            assert_eq!(refusals(&laptop), [], "a dry run records nothing");
        }
    }
    let told = refusals(&laptop);
    assert_eq!(told.len(), 3, "{told:?}");
    let of =
        |name: &str| told.iter().find(|(_, text)| text.contains(name)).unwrap_or_else(|| panic!("{name}: {told:?}"));
    let (peer, text_of_junk) = of("junk.zst");
    assert!(peer.is_none() && text_of_junk.starts_with("refused: ") && text_of_junk.contains("not a bundle"));
    let (peer, text_of_stranger) = of("stranger-laptop-1.zst");
    // Anybody can call himself anything.
    assert!(peer.is_none() && text_of_stranger.contains("unknown sender"), "{text_of_stranger}");
    let (peer, text_of_second) = of("second.zst");
    assert_eq!(peer.as_deref(), Some("desktop"));
    assert!(text_of_second.starts_with("not yet: "), "{text_of_second}");
    assert_eq!(laptop.ok(&["log", "--peer", "desktop"]).text().matches("not yet: ").count(), 1);

    // Another file of that name, and one that is named itself.
    rest();
    fs::write(file("junk.zst"), "no bundle either, and of another size").unwrap();
    laptop.run(&["import", text(&stick)]);
    assert_eq!(refusals(&laptop).len(), 4);
    for _ in 0..2 {
        assert_eq!(laptop.run(&["import", text(&file("junk.zst"))]).code, 4);
    }
    assert_eq!(refusals(&laptop).len(), 4, "that is known");
    let own = stick.join("own.zst");
    laptop.ok(&["export", "--to", "desktop", "-o", text(&own)]);
    assert_eq!(laptop.run(&["import", text(&own)]).code, 4);
    assert!(refusals(&laptop).last().unwrap().1.contains("own.zst: this bundle was made by this replica itself"));

    // What comes through pipes has no name to be known by.
    let before = refusals(&laptop).len();
    for _ in 0..3 {
        assert_eq!(laptop.run_with(&["import"], b"hello").code, 4);
    }
    let after = refusals(&laptop);
    assert_eq!(after.len(), before + 1, "{after:?}");
    assert!(after.last().unwrap().1.starts_with("refused: standard input: "), "{after:?}");
}

#[test]
fn many_files_that_are_no_bundles_leave_few_lines() {
    let dir = scratch();
    let laptop = Machine::replica(dir.path(), "laptop");
    let stick = dir.path().join("stick");
    fs::create_dir(&stick).unwrap();
    for n in 0..40 {
        fs::write(stick.join(format!("{n}.zst")), format!("no bundle {n}")).unwrap();
    }
    laptop.run(&["import", text(&stick)]);
    let told = refusals(&laptop);
    assert_eq!((told.len(), &*told[20].1), (21, "refused: 20 files more"));
    let long = stick.join(format!("{}.zst", "long".repeat(50)));
    fs::write(&long, "no bundle").unwrap();
    laptop.run(&["import", text(&long)]);
    let told = refusals(&laptop).last().unwrap().1.clone();
    assert!(told.chars().count() < 400 && told.contains("long.zst: ") && told.contains("not a bundle"), "{told}");
}

#[test]
fn a_guards_refusal_is_in_the_log_with_the_bundle() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    for n in 0..120 {
        desktop.put("Lists", &format!("cur/{n}:2,S"), message(&n.to_string()), 1_600_000_000);
    }
    exchange(&desktop, &laptop);
    fs::remove_dir_all(desktop.dir("Lists")).unwrap();
    desktop.ok(&["scan", "--allow-mass-delete"]);
    let bundle = dir.path().join("removals.zst");
    desktop.ok(&["export", "-o", text(&bundle)]);
    for _ in 0..4 {
        assert_eq!(laptop.run(&["import", text(&bundle)]).code, 6);
    }
    // From the second time on there is more to say.
    let told = refusals(&laptop);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].1.starts_with("refused: ") && told[0].1.contains("removals.zst"), "{told:?}");
}

#[test]
fn exports_and_imports_of_nothing_are_not_in_the_log_and_their_numbers_count_on() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("one");
    exchange(&desktop, &laptop);
    let before = (lines(&desktop, "export"), lines(&laptop, "export"), lines(&laptop, "import"));
    for _ in 0..3 {
        pass(&desktop, &laptop);
        pass(&laptop, &desktop);
    }
    assert_eq!((lines(&desktop, "export"), lines(&laptop, "export"), lines(&laptop, "import")), before);
    desktop.deliver("two");
    pass(&desktop, &laptop);
    let told = lines(&desktop, "export");
    assert_eq!(told.len(), before.0.len() + 1);
    // Two by the exchange, three of nothing.
    assert!(told.last().unwrap().1.starts_with("bundle 6 for laptop (delta): 1 entry"), "{told:?}");
    assert!(lines(&laptop, "import").last().unwrap().1.starts_with("bundle 6: 1 new"));
}

#[test]
fn of_changes_that_can_not_both_hold_the_lost_one_is_told_and_can_be_got_back() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    for subject in ["moved twice", "starred", "removed there", "moved by both to one", "quiet"] {
        desktop.put("INBOX", &format!("cur/{subject}:2,S"), message(subject), 1_600_000_000);
    }
    exchange(&desktop, &laptop);
    desktop.move_to("moved twice", "Work");
    desktop.flag("starred", "FS");
    desktop.move_to("removed there", "Kept");
    desktop.move_to("moved by both to one", "Lists");
    desktop.flag("quiet", "RS");
    desktop.ok(&["scan"]);
    rest();
    laptop.move_to("moved twice", "Spam");
    laptop.remove("starred");
    laptop.remove("removed there");
    laptop.move_to("moved by both to one", "Lists");
    laptop.flag("quiet", "FS");
    let bundle = dir.path().join("laptop.zst");
    laptop.ok(&["export", "-o", text(&bundle)]);

    let dry = desktop.ok(&["import", "-n", "--list", text(&bundle)]).stdout;
    let imported = desktop.ok(&["import", "-v", "--list", text(&bundle)]);
    assert_eq!(String::from_utf8(dry).unwrap(), imported.text());
    let note = "note: bundle 2 from laptop: 3 changes don't hold, as the same messages were changed here and elsewhere: 1 since a \
                later change of the same counts, 1 since a move counts more than a removal that had not seen it, 1 since a removal \
                counts more than flags";
    assert!(imported.stderr.contains(note) && imported.stderr.contains("log --overruled"), "{}", imported.stderr);
    let lost: Vec<&str> = imported.stderr.lines().filter(|line| line.starts_with("mailsync: C ")).collect();
    assert_eq!(lost.len(), 3, "{}", imported.stderr);
    for words in [
        "C Spam (not Work: changed later)  -  -  moved twice",
        "C INBOX  ",
        "C Kept (not removed: moved)  -  -  removed there",
    ] {
        assert!(lost.iter().any(|line| line.contains(words)), "{words} is not in {lost:?}");
    }
    assert!(
        lost.iter().any(|line| line.contains("C INBOX  ") && line.ends_with("starred  (not +F: removed)")),
        "{lost:?}"
    );
    // By folder, what happened is counted, and not what didn't.
    assert!(imported.stderr.contains("  Spam: 1 moved here\n"), "{}", imported.stderr);
    assert!(!imported.stderr.contains("Kept: "), "{}", imported.stderr);

    let told = desktop.ok(&["log", "--overruled"]).text().to_owned();
    assert_eq!(told.lines().count(), 3, "{told}");
    for words in [
        "in Spam; what doesn't hold, as a later change of the same counts: moved to Work by desktop at ",
        "in INBOX; what doesn't hold, as a removal counts more than flags, and than a move that came before the one it had seen: \
         flagged +F by desktop at ",
        "in Kept; what doesn't hold, as a move counts more than a removal that had not seen it: removed by laptop at ",
        "(bundle 2 from laptop)",
    ] {
        assert!(told.contains(words), "{words} is not in {told}");
    }
    let file = desktop.file_of("moved twice").unwrap();
    let document = desktop.ok(&["log", "--json", "--message", text(&file)]).json();
    let changes = document["changes"].as_array().unwrap();
    let newest = changes.last().unwrap();
    assert_eq!((&newest["what"], &newest["by"]), (&json!("overruled"), &json!("desktop")));
    assert_eq!(newest["overruled"], json!({ "what": "moved", "to_folder": "Work", "rule": "later" }));
    // The same bundle once more tells nothing more, and neither does the answer.
    desktop.ok(&["import", text(&bundle)]);
    assert_eq!(desktop.ok(&["log", "--overruled"]).text(), told);
    exchange(&desktop, &laptop);
    assert_eq!(desktop.ok(&["log", "--overruled"]).text(), told);
    // The laptop is told why what it has removed comes back, and what it has removed beside a flag. Of the move that the desktop
    // had lost it hears nothing.
    let there = laptop.ok(&["log", "--overruled"]).text().to_owned();
    assert_eq!(there.lines().count(), 2, "{there}");
    for words in ["had not seen it: removed by laptop", "flagged +F by desktop"] {
        assert!(there.contains(words), "{there}");
    }

    // What laptop did instead is taken back, and so is what it had removed.
    desktop.ok(&["undo", "--by", "laptop", "--since", "1h", "--folder", "Spam"]);
    assert!(desktop.file_of("moved twice").unwrap().starts_with(desktop.dir("Work")));
    desktop.ok(&["trash", "restore", "--by", "laptop"]);
    assert!(desktop.has("starred"));
    exchange(&desktop, &laptop);
    assert!(laptop.file_of("moved twice").unwrap().starts_with(laptop.dir("Work")));
}

#[test]
fn a_flag_that_is_lost_to_a_removal_is_told_where_it_was_removed_and_where_it_was_set() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.put("INBOX", "cur/starred:2,S", message("starred"), 1_600_000_000);
    exchange(&desktop, &laptop);
    let file = laptop.file_of("starred").unwrap();
    let digest = laptop.ok(&["log", "--json", "--message", text(&file)]).json()["digest"].as_str().unwrap().to_owned();
    desktop.remove("starred");
    desktop.ok(&["scan"]);
    rest();
    laptop.flag("starred", "FS");
    let bundle = dir.path().join("laptop.zst");
    laptop.ok(&["export", "-o", text(&bundle)]);
    let dry = desktop.ok(&["import", "-n", "--list", text(&bundle)]).stdout;
    let imported = desktop.ok(&["import", "-v", "--list", text(&bundle)]);
    assert_eq!(String::from_utf8(dry).unwrap(), imported.text());
    let note =
        "1 change doesn't hold, as the same messages were changed here and elsewhere: a removal counts more than flags";
    assert!(imported.stderr.contains(note), "{}", imported.stderr);
    assert!(
        imported.stderr.contains("C INBOX  ") && imported.stderr.contains("(not +F: removed)"),
        "{}",
        imported.stderr
    );
    let back = pass(&desktop, &laptop);
    assert!(back.stderr.contains(note), "{}", back.stderr);
    exchange(&desktop, &laptop);
    for machine in [&desktop, &laptop] {
        for asked in [&["log", "--overruled"][..], &["log", "--message", &digest]] {
            let told = machine.ok(asked).text().to_owned();
            let lost = "flagged +F by laptop at ";
            assert_eq!(
                told.lines().filter(|line| line.contains("what doesn't hold") && line.contains(lost)).count(),
                1,
                "{told}"
            );
        }
    }
}

#[test]
fn where_bundles_cross_both_sides_tell_the_same_change_that_does_not_hold() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.put("INBOX", "cur/twice:2,S", message("moved twice"), 1_600_000_000);
    exchange(&desktop, &laptop);
    let empty = desktop.ok(&["log", "--overruled"]);
    assert!(
        empty.stderr.contains("no change was overruled that fits this") && empty.text().is_empty(),
        "{}",
        empty.stderr
    );
    desktop.move_to("moved twice", "Work");
    desktop.ok(&["scan"]);
    rest();
    laptop.move_to("moved twice", "Spam");
    let bundles = [&laptop, &desktop].map(|machine| machine.ok(&["export"]).stdout);
    for (machine, bundle) in [&desktop, &laptop].into_iter().zip(&bundles) {
        let ran = machine.run_with(&["import"], bundle);
        let note = "1 change doesn't hold, as the same messages were changed here and elsewhere: a later change of the same counts;";
        assert!(ran.code == 0 && ran.stderr.contains(note), "{}", ran.stderr);
        let told = machine.ok(&["log", "--overruled"]).text().to_owned();
        let lost = "in Spam; what doesn't hold, as a later change of the same counts: moved to Work by desktop at ";
        assert!(told.lines().count() == 1 && told.contains(lost), "{told}");
    }
    // Both have moved it, and one has removed it then.
    for (machine, folder) in [(&desktop, "One"), (&laptop, "Other")] {
        machine.move_to("moved twice", folder);
        machine.ok(&["scan"]);
        rest();
    }
    laptop.remove("moved twice");
    let bundles = [&laptop, &desktop].map(|machine| machine.ok(&["export"]).stdout);
    for (machine, bundle) in [&desktop, &laptop].into_iter().zip(&bundles) {
        let ran = machine.run_with(&["import", "-v"], bundle);
        assert!(ran.code == 0 && ran.stderr.contains("C Other (not One: removed)"), "{}", ran.stderr);
        let told = machine.ok(&["log", "--overruled", "--json"]).json();
        let newest = &told["changes"].as_array().unwrap()[1];
        assert_eq!(newest["overruled"], json!({ "what": "moved", "to_folder": "One", "rule": "removed" }));
        assert!(machine.mailbox().is_empty());
    }
}

#[test]
fn a_message_whose_contents_are_found_here_again_has_come_back_by_the_command_that_found_them() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    for folder in ["Lists", "Copies", "Wanted", "Repaired"] {
        let subject = if folder == "Copies" { "Lists" } else { folder };
        desktop.put(folder, &format!("cur/{folder}:2,S"), message(subject), 1_600_000_000);
    }
    exchange(&desktop, &laptop);
    let files = ["Lists", "Wanted", "Repaired"].map(|folder| desktop.dir(folder).join(format!("cur/{folder}:2,S")));
    let [_, wanted, repaired] = &files;
    let digests = files.clone().map(|file| {
        desktop.ok(&["log", "--json", "--message", text(&file)]).json()["digest"].as_str().unwrap().to_owned()
    });
    for file in &files {
        fs::remove_file(file).unwrap();
    }
    // Of one there is a copy.
    let said = desktop.ok(&["restore", "--all"]);
    assert!(said.stderr.contains("back from this machine: 1 message;"), "{}", said.stderr);
    // One is put back by hand; of another, a copy is put elsewhere.
    desktop.put("Wanted", "cur/again:2,S", message("Wanted"), 1_600_000_000);
    desktop.put("Elsewhere", "cur/copy:2,S", message("Repaired"), 1_600_000_000);
    let scanned = desktop.ok(&["scan", "-v"]);
    assert!(scanned.stderr.contains("A Wanted") && scanned.stderr.contains("1 found again"), "{}", scanned.stderr);
    desktop.ok(&["doctor", "--repair"]);
    assert!(!wanted.exists() && !repaired.exists() && desktop.mailbox().len() == 3 && desktop.pending() == 0);
    let expected = [("Lists", "restore"), ("Wanted", "scan"), ("Repaired", "doctor")];
    for (digest, (folder, by)) in digests.iter().zip(expected) {
        let told = desktop.ok(&["log", "--message", digest]).text().to_owned();
        let arrived = format!("arrived in {folder} by desktop at ");
        let back = told.lines().filter(|line| line.contains(&arrived) && line.ends_with(&format!("({by})")));
        // Two have come by a scan, and one of them again.
        assert_eq!(back.count(), 1 + usize::from(by == "scan"), "{told}");
    }
}

#[test]
fn a_message_is_found_by_its_message_id() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let mail = |id: &str, subject: &str| format!("From: a@b\nSubject: {subject}\nMessage-ID: <{id}>\n\nhello\n");
    desktop.put("INBOX", "cur/1:2,S", mail("one@host", "first"), 1_600_000_000);
    desktop.put("Work", "new/2", mail("two@host", "second"), 1_600_000_000);
    // It is named in another mail, in its header and in its text.
    let answer = format!("References: <one@host>\n{}<one@host>\n", mail("three@host", "answer"));
    desktop.put("Work", "cur/3:2,S", answer, 1_600_000_000);
    desktop.put("Copies", "cur/4:2,S", mail("one@host", "first"), 1_600_000_000);
    exchange(&desktop, &laptop);
    for name in ["<one@host>", "one@host"] {
        let ran = desktop.ok(&["log", "--message", name]);
        assert!(ran.text().lines().next().unwrap().ends_with("first"), "{}", ran.text());
        assert!(ran.stderr.contains("4 files were looked at for this Message-ID"), "{}", ran.stderr);
    }
    let document = desktop.ok(&["log", "--json", "--message", "<two@host>"]).json();
    assert_eq!(document["folders"], json!(["Work"]));
    // A mail program has renamed it since the last scan.
    let file = desktop.dir("Work").join("new/2");
    fs::rename(&file, desktop.dir("Work").join("cur/2:2,S")).unwrap();
    assert_eq!(desktop.ok(&["log", "--json", "--message", "two@host"]).json()["folders"], json!(["Work"]));
    // It is in the trash of whoever heard of its removal.
    fs::remove_file(desktop.dir("Work").join("cur/3:2,S")).unwrap();
    exchange(&desktop, &laptop);
    let gone = laptop.ok(&["log", "--message", "<three@host>"]).text().to_owned();
    assert!(gone.contains("removed from Work by desktop"), "{gone}");
    desktop.refuses(&["log", "--message", "<three@host>"], &[], 2, &["<three@host>", "none of the files here has it"]);
    desktop.refuses(&["log", "--message", "nobody@nowhere"], &[], 2, &["<nobody@nowhere>", "log --removed"]);
    // Two different messages may have the same.
    make_folder(&desktop.dir("Odd"));
    desktop.put("Odd", "cur/5:2,S", mail("one@host", "another"), 1_600_000_000);
    desktop.ok(&["scan"]);
    desktop.refuses(&["log", "--message", "one@host"], &[], 2, &["2 messages have it", "digest begins: "]);
}
