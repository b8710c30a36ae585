//! `mailsync restore`: mail that went by mistake comes back from this machine, or from peers, as it was; nobody else loses
//! anything by that.

use std::fs;
use std::path::Path;

use mailsync::model::Digest;

use crate::support::machine::{Machine, complains, counts, message, pair, pass};
use crate::support::{make_folder, scratch};

fn fill(machine: &Machine, folder: &str, messages: u64) {
    for number in 0..messages {
        let name = format!("{folder}-{number}").replace(['/', ' '], "-");
        machine.put(folder, &format!("cur/{name}:2,FS"), message(&name), 1_600_000_000 + number);
    }
}

fn exchange(one: &Machine, other: &Machine) {
    for (from, to) in [(one, other), (other, one)] {
        pass(from, to);
    }
}

/// Two machines with mail in several folders.
fn with_mail(dir: &Path) -> (Machine, Machine) {
    let (desktop, laptop) = pair(dir);
    for (folder, messages) in [("INBOX", 3), ("Lists", 120), ("Lists/Old", 2), ("Odd name's", 120), ("Work", 5)] {
        fill(&desktop, folder, messages);
    }
    make_folder(&desktop.dir("Empty"));
    exchange(&desktop, &laptop);
    assert_eq!(desktop.mailbox(), laptop.mailbox());
    (desktop, laptop)
}

fn digest(subject: &str) -> String {
    Digest::of(message(subject).as_bytes()).to_string()
}

/// Both have this mail and these folders, and nothing is left to be done.
#[track_caller]
fn both_have(machines: &[&Machine; 2], mailbox: &crate::support::machine::Mailbox, folders: &[String]) {
    for machine in machines {
        assert!(machine.mailbox() == *mailbox, "{} has other mail", machine.name);
        assert_eq!(machine.folders(), folders);
        machine.is_at_rest("after it came back");
    }
}

#[test]
fn a_refusal_names_the_command_that_gets_it_back_first_and_that_works_as_it_is_typed() {
    for (folder, said) in [("Lists", "mailsync restore Lists"), ("Odd name's", "mailsync restore 'Odd name'\\''s'")] {
        let dir = scratch();
        let (desktop, laptop) = with_mail(dir.path());
        let (mailbox, folders) = (desktop.mailbox(), desktop.folders());
        fs::remove_dir_all(desktop.dir(folder)).unwrap();
        for args in [&["scan"][..], &["export"], &["import"], &["update"], &["invite", "phone"], &["scan", "--deep"]] {
            let ran = desktop.run_with(args, &[]);
            if *args == ["update"] {
                // Nobody can be called.
                assert_eq!(ran.code, 2, "{ran:?}");
            } else {
                complains(&ran, 6, &[said]);
                let (first, last) = (ran.stderr.find(said), ran.stderr.find("--allow-mass-delete"));
                assert!(first < last, "{}", ran.stderr);
            }
        }
        let line = desktop.line("restore").replace(" restore", "") + said.strip_prefix("mailsync").unwrap();
        let typed = |more: &str| {
            let mut shell = std::process::Command::new("sh");
            crate::support::programs::run(shell.args(["-c", &format!("{line} {more}")]))
        };
        let before = desktop.left();
        let ran = typed("--dry-run --json");
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!((&ran.json()["restored"], &ran.json()["folders"]), (&0.into(), &1.into()));
        assert_eq!(ran.json()["wanted"], 120);
        assert_eq!(ran.json()["items"].as_array().unwrap().len(), 120);
        assert_eq!(desktop.left(), before);

        let ran = typed("");
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.stderr.contains("by the next bundles from here: 120 messages"), "{ran:?}");
        assert_eq!(desktop.pending(), 120);
        // It is as if nothing had gone: whatever is exported now.
        assert_eq!(counts(&desktop.ok(&["scan", "--json"]).json()), [0; 4]);
        exchange(&desktop, &laptop);
        both_have(&[&desktop, &laptop], &mailbox, &folders);
        assert!(desktop.ok(&["log"]).text().contains("restore"));
    }
}

#[test]
fn everything_comes_back_into_an_emptied_mail_root() {
    let dir = scratch();
    let (desktop, laptop) = with_mail(dir.path());
    let (mailbox, folders) = (desktop.mailbox(), desktop.folders());
    fs::remove_dir_all(&desktop.mail).unwrap();
    let said = desktop.fails(&["restore", "--all"], 6);
    assert!(said.contains("the mail root"), "{said}");
    fs::create_dir(&desktop.mail).unwrap();
    let said = desktop.fails(&["scan"], 6);
    assert!(said.find("mailsync restore --all") < said.find("mailsync scan --allow-mass-delete"), "{said}");
    desktop.ok(&["restore", "--all"]);
    assert_eq!(desktop.folders(), folders);
    exchange(&desktop, &laptop);
    both_have(&[&desktop, &laptop], &mailbox, &folders);
    let all = desktop.mailbox().len();
    assert_eq!(all, 250);
}

#[test]
fn what_is_on_this_machine_comes_back_at_once() {
    let dir = scratch();
    let (desktop, laptop) = with_mail(dir.path());
    // One is in another folder, too, and of one there is a copy in the trash.
    for (place, subject) in [("cur/copy:2,", "Work-1"), ("cur/trashed:2,", "Work-2")] {
        laptop.put("Lists", place, message(subject), 1_600_000_000);
    }
    exchange(&laptop, &desktop);
    let trashed = laptop.files().into_iter().find(|(_, _, path)| path.ends_with("cur/trashed:2,")).unwrap();
    fs::remove_file(trashed.2).unwrap();
    exchange(&laptop, &desktop);
    let (mailbox, folders) = (desktop.mailbox(), desktop.folders());
    fs::remove_dir_all(desktop.dir("Work")).unwrap();
    let report = desktop.ok(&["restore", "Work", "--json"]).json();
    assert_eq!((&report["restored"], &report["wanted"]), (&2.into(), &3.into()), "{report}");
    let came = desktop.mailbox();
    for subject in ["Work-1", "Work-2"] {
        let digest = Digest::of(message(subject).as_bytes());
        assert_eq!(came[&digest], mailbox[&digest], "{subject}");
    }
    exchange(&desktop, &laptop);
    both_have(&[&desktop, &laptop], &mailbox, &folders);
}

#[test]
fn one_message_comes_back_and_what_else_vanished_is_left_to_the_next_scan() {
    let dir = scratch();
    let (desktop, laptop) = with_mail(dir.path());
    let (mailbox, folders) = (desktop.mailbox(), desktop.folders());
    for name in ["Work-1", "Work-2"] {
        fs::remove_file(desktop.dir("Work").join(format!("cur/{name}:2,FS"))).unwrap();
    }
    // What else was done meanwhile is recorded.
    fs::rename(desktop.dir("Lists/Old"), desktop.dir("Older")).unwrap();
    desktop.deliver("new");
    let report = desktop.ok(&["restore", &digest("Work-1")[..10], "--json"]).json();
    assert_eq!((&report["wanted"], &report["restored"]), (&1.into(), &0.into()));
    assert_eq!(counts(&report["scan"]), [1, 2, 0, 0], "{report}");
    assert_eq!(counts(&desktop.ok(&["scan", "--json"]).json()), [0, 0, 0, 1]);
    exchange(&desktop, &laptop);
    assert_eq!(desktop.mailbox(), laptop.mailbox());
    assert!(desktop.has("Work-1") && !desktop.has("Work-2") && desktop.has("new"));
    let digest = Digest::of(message("Work-1").as_bytes());
    assert_eq!(desktop.mailbox()[&digest], mailbox[&digest]);
    let expected: Vec<String> =
        folders.iter().map(|name| if name == "Lists/Old" { "Older".to_owned() } else { name.clone() }).collect();
    assert_eq!((desktop.folders().len(), laptop.folders()), (expected.len(), desktop.folders()));
}

#[test]
fn one_folder_comes_back_and_others_that_vanished_are_left_as_they_are() {
    let dir = scratch();
    let (desktop, laptop) = with_mail(dir.path());
    for number in 0..12 {
        make_folder(&desktop.dir(&format!("Empty{number}")));
    }
    exchange(&desktop, &laptop);
    let (mailbox, folders) = (desktop.mailbox(), desktop.folders());
    for folder in folders.iter().filter(|name| *name != "INBOX") {
        fs::remove_dir_all(desktop.dir(folder)).unwrap();
    }
    let report = desktop.ok(&["restore", "Lists", "--json"]).json();
    assert_eq!((&report["wanted"], &report["folders"]), (&122.into(), &2.into()), "{report}");
    let said = desktop.fails(&["scan"], 6);
    assert!(said.contains("125 of all 128 messages") && said.contains("mailsync restore --all"), "{said}");
    desktop.ok(&["restore", "--all"]);
    exchange(&desktop, &laptop);
    both_have(&[&desktop, &laptop], &mailbox, &folders);
}

#[test]
fn what_can_not_be_looked_at_is_not_got_back_a_second_time() {
    let dir = scratch();
    let (desktop, laptop) = with_mail(dir.path());
    let mailbox = desktop.mailbox();
    // It may have been moved where nobody can look.
    fs::rename(desktop.dir("Work").join("cur"), dir.path().join("aside")).unwrap();
    fs::write(desktop.dir("Work").join("cur"), "a file").unwrap();
    fs::rename(desktop.dir("Lists/Old").join("cur/Lists-Old-1:2,FS"), dir.path().join("aside/Lists-Old-1:2,FS"))
        .unwrap();
    let ran = desktop.run(&["restore", "--all"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("its cur is not a directory") && !ran.stderr.contains("nothing of that"), "{ran:?}");
    assert_eq!(desktop.pending(), 0);
    fs::remove_file(desktop.dir("Work").join("cur")).unwrap();
    fs::rename(dir.path().join("aside"), desktop.dir("Work").join("cur")).unwrap();
    assert_eq!(counts(&desktop.ok(&["scan", "--json"]).json()), [0, 1, 0, 0]);
    exchange(&desktop, &laptop);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
    assert_eq!(laptop.mailbox().len(), mailbox.len());
}

#[test]
fn a_message_whose_removal_was_recorded_comes_back_everywhere() {
    let dir = scratch();
    let (desktop, laptop) = with_mail(dir.path());
    let (mailbox, folders) = (desktop.mailbox(), desktop.folders());
    fs::remove_dir_all(desktop.dir("Lists/Old")).unwrap();
    desktop.ok(&["scan"]);
    exchange(&desktop, &laptop);
    assert!(!laptop.has("Lists-Old-0") && !laptop.folders().contains(&"Lists/Old".to_owned()));
    for subject in ["Lists-Old-0", "Lists-Old-1"] {
        desktop.ok(&["restore", &digest(subject)]);
    }
    // Once is enough.
    desktop.ok(&["restore", &digest("Lists-Old-0")]);
    exchange(&desktop, &laptop);
    both_have(&[&desktop, &laptop], &mailbox, &folders);
}

#[test]
fn a_number_in_the_trash_is_what_trash_restore_takes() {
    let dir = scratch();
    let (desktop, laptop) = with_mail(dir.path());
    let (mailbox, folders) = (desktop.mailbox(), desktop.folders());
    fs::remove_file(laptop.files().pop().unwrap().2).unwrap();
    pass(&laptop, &desktop);
    let trash = desktop.ok(&["trash", "list", "--json"]).json()["trash"].clone();
    assert_eq!(trash.as_array().unwrap().len(), 1);
    let number = trash[0]["id"].to_string();
    let before = desktop.left();
    desktop.ok(&["restore", "--dry-run", &number]);
    assert_eq!(desktop.left(), before);
    desktop.ok(&["restore", &number]);
    exchange(&desktop, &laptop);
    both_have(&[&desktop, &laptop], &mailbox, &folders);
    desktop.refuses(&["restore", &number], &[], 2, &["nothing with this number", "mailsync trash list"]);
}

#[test]
fn a_name_that_stands_for_nothing_is_refused() {
    let dir = scratch();
    let (desktop, _laptop) = with_mail(dir.path());
    for (name, words) in [
        ("Nowhere", "there is no such folder"),
        ("abcdef", "there is no such folder"),
        ("0123456789", "no message that is known here"),
        ("../x", "there is no such folder"),
    ] {
        desktop.refuses(&["restore", name], &[], 2, &[words, "mailsync status", "mailsync restore --all --dry-run"]);
    }
    for args in [&["restore"][..], &["restore", "--all", "Work"]] {
        assert_eq!(desktop.run(args).code, 2, "{args:?}");
    }
    // What is there stays as it is.
    let before = desktop.mailbox();
    let ran = desktop.run(&["--quiet", "restore", "Work", &digest("Work-1")]);
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert_eq!((ran.code, lines.len()), (1, 2), "{ran:?}");
    let told = [
        "restoring Work: nothing of it has vanished; ",
        "`mailsync log --removed --folder Work`",
        "`mailsync trash list --folder Work`",
    ];
    assert!(told.iter().all(|words| lines[0].contains(words)), "{ran:?}");
    assert!(lines[1].contains(&format!("{}: it has not vanished, and is in Work; ", digest("Work-1"))), "{ran:?}");
    let ran = desktop.ok(&["restore", "--all"]);
    assert!(ran.stderr.contains("nothing of that has vanished"), "{ran:?}");
    assert_eq!(desktop.mailbox(), before);
}

#[test]
fn a_message_that_is_in_another_folder_as_well_comes_back_and_of_several_each_is_told() {
    let dir = scratch();
    let (desktop, laptop) = with_mail(dir.path());
    // A copy, of which the first one is removed then.
    desktop.put("Kept", "cur/copy:2,S", message("INBOX-0"), 1_600_000_000);
    exchange(&desktop, &laptop);
    let (mailbox, folders) = (desktop.mailbox(), desktop.folders());
    let file = |subject: &str| desktop.dir("INBOX").join(format!("cur/{subject}:2,FS"));
    fs::remove_file(file("INBOX-0")).unwrap();
    desktop.ok(&["scan"]);
    let (copied, there) = (digest("INBOX-0"), digest("INBOX-2"));
    // Of two, one is there.
    for (args, code) in [(&["--dry-run", "restore"][..], 1), (&["restore"], 1)] {
        let args: Vec<&str> = args.iter().rev().copied().collect();
        let ran = desktop.run(&[&args[..], &[&copied[..], &there]].concat());
        assert_eq!(ran.code, code, "{ran:?}");
        assert!(ran.stderr.contains(&format!("restoring {there}: it has not vanished, and is in INBOX")), "{ran:?}");
        assert!(ran.stderr.contains(&format!("{copied} is in Kept as well, and comes back into INBOX")), "{ran:?}");
        assert!(ran.stderr.contains("back from this machine: 1 message"), "{ran:?}");
    }
    both_have(&[&desktop, &desktop], &mailbox, &folders);
    exchange(&desktop, &laptop);
    both_have(&[&desktop, &laptop], &mailbox, &folders);
    // Named once more, it is there. In a document each is told, too.
    let ran = desktop.run(&["--json", "restore", &copied, &copied]);
    let told = ran.json();
    assert_eq!((ran.code, &told["restored"]), (1, &0.into()), "{ran:?}");
    assert!(told["error"]["message"].as_str().unwrap().contains("is in INBOX, Kept"), "{told}");
    // Two that were removed come back both.
    fs::remove_file(desktop.dir("Kept").join("cur/copy:2,S")).unwrap();
    fs::remove_file(file("INBOX-1")).unwrap();
    desktop.ok(&["scan"]);
    desktop.ok(&["restore", &copied, &digest("INBOX-1")]);
    exchange(&desktop, &laptop);
    exchange(&desktop, &laptop);
    both_have(&[&desktop, &laptop], &mailbox, &folders);
}
