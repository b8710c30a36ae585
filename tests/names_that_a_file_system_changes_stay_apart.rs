//! Folders whose names a file system takes for one another, or writes in its own way, neither vanish nor become one:
//! here, there, and after any interruption.

use std::fs;
use std::path::Path;

use mailsync::disk::RealDisk;
use mailsync::maildir::LayoutKind;
use mailsync::replica::{Replica, ScanOptions};

use crate::support::disk::{Fault, Watch};
use crate::support::folding::{Folding, Habit, apart};
use crate::support::party::{Party, contents, export, import, make_peers};
use crate::support::{names, reliability_says, scratch};

/// Opens a party on a file system with this habit.
fn on(party: &Party, habit: Habit) -> Replica {
    party.open(Box::new(Folding::new(Box::new(RealDisk), &party.mail, habit))).unwrap()
}

/// Exchanges bundles between a party on an ordinary file system and one on such, until both know all.
fn exchange(plain: &Party, odd: &Party, habit: Habit, file: &Path) {
    for _ in 0..2 {
        plain.export(odd, file);
        import(&on(odd, habit), file).unwrap();
        let replica = on(odd, habit);
        replica.scan(&ScanOptions::default()).unwrap();
        export(&replica, plain, file);
        drop(replica);
        plain.import(file);
    }
}

/// The folders that a party has, with how many messages each holds.
fn folders(party: &Party, habit: Option<Habit>) -> Vec<String> {
    let replica = habit.map_or_else(|| party.opened(), |habit| on(party, habit));
    let line = |(name, count): (mailsync::model::FolderName, u64)| format!("{name} {count}");
    replica.status().unwrap().folders.into_iter().map(line).collect()
}

#[track_caller]
fn at_rest(plain: &Party, odd: &Party, habit: Habit) {
    assert_eq!(folders(plain, None), folders(odd, Some(habit)));
    for replica in [plain.opened(), on(odd, habit)] {
        let report = replica.scan(&ScanOptions::default()).unwrap();
        assert!(!report.has_changes(), "{report}");
        assert_eq!(replica.status().unwrap().pending, 0, "{:?}", replica.hindrance());
    }
    assert!(odd.leftovers().is_empty(), "{:?}", odd.leftovers());
}

#[test]
fn folders_that_a_file_system_mixes_up_or_refuses_are_kept_apart() {
    let mut networks = [0; 3];
    folders_are_mixed_up(&mut networks);
    folders_are_refused(&mut networks);
    let what =
        ["it finds a name in any case", "it writes accents in its own way", "it refuses colons and other characters"];
    let rows: Vec<_> = what
        .iter()
        .zip(networks)
        .map(|(what, networks)| [(*what).to_owned(), networks.to_string(), "all".to_owned(), "0".to_owned()])
        .collect();
    reliability_says(&["what the file system does", "networks", "equal afterwards", "messages lost"], &rows);
}

/// Folders that differ in what a file system ignores are both kept.
fn folders_are_mixed_up(networks: &mut [usize; 3]) {
    let two = |one: &str| apart(one);
    for (habit, first, second, layout, dirs) in [
        (Habit::AnyCase, "Work", String::from("work"), LayoutKind::Fs, ["Work", "%77ork~"]),
        (Habit::AnyCase, "Work", String::from("work"), LayoutKind::MaildirPlusPlus, [".Work", ".%77ork~"]),
        (Habit::AnyCase, "work/a", String::from("Work/b"), LayoutKind::Fs, ["%57ork~", "work"]),
        (Habit::AnyCase, "Inbox", String::from("inbox"), LayoutKind::Fs, ["%49nbox~", "%69nbox~"]),
        (Habit::AnyCase, "a.b", String::from("A.b"), LayoutKind::MaildirPlusPlus, [".a\\2eb", ".%41%2eb~"]),
        (Habit::AccentsApart, "Entwürfe", two("Entwürfe"), LayoutKind::Fs, ["Entwu\u{308}rfe", "%45ntwu%cc%88rfe~"]),
        (Habit::AccentsApart, "é/x", two("é/y"), LayoutKind::Fs, ["e\u{301}", "e%cc%81~"]),
    ] {
        for together in [true, false] {
            let case = format!("{habit:?}: {first} and {second}, together: {together}");
            networks[habit as usize] += 1;
            let dir = scratch();
            let plain = Party::new(dir.path(), "plain", LayoutKind::Fs, &[]);
            let odd = Party::new(dir.path(), "odd", layout, &[]);
            make_peers(&plain, &odd);
            let file = dir.path().join("bundle");
            plain.act(&format!("deliver {first} one S"));
            if !together {
                exchange(&plain, &odd, habit, &file);
            }
            plain.act(&format!("deliver {second} two F"));
            exchange(&plain, &odd, habit, &file);
            exchange(&plain, &odd, habit, &file);
            at_rest(&plain, &odd, habit);
            let named = dirs.len() + if layout == LayoutKind::Fs { 2 } else { 4 };
            let found = names(&odd.mail);
            // Which of the two has its usual directory is up to their order in the bundle, if they come in one.
            let apart = found.iter().filter(|name| name.ends_with('~')).count();
            assert_eq!(
                (apart, found.len()),
                (dirs.iter().filter(|dir| dir.ends_with('~')).count(), named),
                "{case}: {found:?}"
            );
            for dir in dirs.iter().filter(|_| !together) {
                assert!(found.contains(&(*dir).to_owned()), "{case}: {dir} in {found:?}");
            }
            // What comes later finds its way, in both directions.
            plain.act(&format!("deliver {second} three -"));
            plain.act(&format!("move {first} one {second}"));
            exchange(&plain, &odd, habit, &file);
            at_rest(&plain, &odd, habit);
            assert_eq!(folders(&odd, Some(habit)), {
                let mut all = vec![String::from("INBOX 0"), format!("{first} 0"), format!("{second} 3")];
                all.sort();
                all
            });
            assert!(plain.trash().is_empty() && odd.trash().is_empty(), "{case}");
            // A folder that is removed is the one that was meant.
            fs::remove_dir_all(plain.dir(first)).unwrap();
            exchange(&plain, &odd, habit, &file);
            at_rest(&plain, &odd, habit);
            let mut left = ["INBOX 0".to_owned(), format!("{second} 3")];
            left.sort();
            assert_eq!(folders(&odd, Some(habit)), left, "{case}");
        }
    }
}

#[test]
fn a_folder_renamed_in_case_only_keeps_its_mail_and_its_usual_directory() {
    for (layout, dir) in [(LayoutKind::Fs, "Lists"), (LayoutKind::MaildirPlusPlus, ".Lists")] {
        let scratch = scratch();
        let plain = Party::new(scratch.path(), "plain", LayoutKind::Fs, &["lists one S", "lists/sub two F"]);
        let odd = Party::new(scratch.path(), "odd", layout, &[]);
        make_peers(&plain, &odd);
        let file = scratch.path().join("bundle");
        exchange(&plain, &odd, Habit::AnyCase, &file);
        plain.act("mvdir lists Lists");
        exchange(&plain, &odd, Habit::AnyCase, &file);
        at_rest(&plain, &odd, Habit::AnyCase);
        let found = names(&odd.mail);
        assert!(found.contains(&dir.to_owned()) && !found.iter().any(|name| name.contains('%')), "{found:?}");
        plain.act("deliver Lists three -");
        exchange(&plain, &odd, Habit::AnyCase, &file);
        // The other way round: on the odd one nobody can have both.
        odd.act("mvdir Lists/sub Lists/Sub");
        exchange(&plain, &odd, Habit::AnyCase, &file);
        at_rest(&plain, &odd, Habit::AnyCase);
        assert_eq!(folders(&plain, None), ["INBOX 0", "Lists 2", "Lists/Sub 1"]);
        assert!(plain.trash().is_empty() && odd.trash().is_empty());
    }
}

#[test]
fn a_flag_that_differs_from_another_only_in_case_is_set() {
    let dir = scratch();
    let plain = Party::new(dir.path(), "plain", LayoutKind::Fs, &["INBOX one S"]);
    let odd = Party::new(dir.path(), "odd", LayoutKind::Fs, &[]);
    make_peers(&plain, &odd);
    let file = dir.path().join("bundle");
    exchange(&plain, &odd, Habit::AnyCase, &file);
    // Letters of keywords, which are the same on both.
    for party in [&plain, &odd] {
        fs::write(party.mail.join("INBOX/dovecot-keywords"), "3 dee\n5 eff\n18 ess\n").unwrap();
    }
    for flags in ["s", "S", "Ss", "DF", "df"] {
        plain.act(&format!("flag INBOX one {flags}"));
        exchange(&plain, &odd, Habit::AnyCase, &file);
        at_rest(&plain, &odd, Habit::AnyCase);
        assert_eq!(odd.mailbox(), plain.mailbox());
        for party in [&plain, &odd] {
            let [name] = &names(&party.mail.join("INBOX/cur"))[..] else { panic!("one message should be there") };
            assert!(name.ends_with(&format!(":2,{flags}")), "{name}");
        }
    }
}

#[test]
fn where_no_colon_can_be_mail_is_delivered_flagged_and_moved_all_the_same() {
    let dir = scratch();
    let plain = Party::new(dir.path(), "plain", LayoutKind::Fs, &["INBOX one S", "Work two FS"]);
    let odd = Party::new(dir.path(), "odd", LayoutKind::Fs, &[]);
    fs::remove_dir_all(odd.home.state_dir()).unwrap();
    let habit = Habit::NoColons;
    let disk = Box::new(Folding::new(Box::new(RealDisk), &odd.mail, habit));
    let world = mailsync::replica::World { disk, ..mailsync::replica::World::real() };
    let options = mailsync::replica::InitOptions {
        server: None,
        mail_root: odd.mail.clone(),
        name: odd.name.clone(),
        layout: Some(odd.layout),
        doubts: mailsync::replica::Doubts::Heed,
        lock_timeout: crate::support::party::TIMEOUT,
    };
    drop(Replica::init(&odd.home, world, &options).unwrap());
    assert_eq!(names(&odd.mail), [".mailsync", "INBOX"]);
    make_peers(&plain, &odd);
    let file = dir.path().join("bundle");
    exchange(&plain, &odd, habit, &file);
    at_rest(&plain, &odd, habit);
    assert_eq!(odd.mailbox(), ["INBOX one S", "Work two FS"]);
    plain.act("flag INBOX one FS");
    plain.act("move Work two INBOX");
    exchange(&plain, &odd, habit, &file);
    at_rest(&plain, &odd, habit);
    assert_eq!(odd.mailbox(), ["INBOX one FS", "INBOX two FS", "Work"]);
}

#[test]
fn folders_that_become_one_on_disk_stay_apart_whenever_an_import_is_stopped() {
    for (habit, first, second) in [(Habit::AnyCase, "Work", "work"), (Habit::AccentsApart, "é", "e\u{301}")] {
        let dir = scratch();
        let plain = Party::new(dir.path(), "plain", LayoutKind::Fs, &[]);
        let odd = Party::new(dir.path(), "odd", LayoutKind::Fs, &[]);
        make_peers(&plain, &odd);
        plain.act(&format!("deliver {first} one S"));
        plain.act(&format!("deliver {second} two F"));
        plain.act(&format!("mkdir {second}/below"));
        let (bundle, answer) = (dir.path().join("bundle"), dir.path().join("answer"));
        plain.export(&odd, &bundle);
        let before = odd.snapshot();
        let watch = Watch::new(&dir.path().join("keep"));
        let mut step = 0;
        loop {
            step += 1;
            odd.put_back(&before);
            let disk = Folding::new(watch.disk(), &odd.mail, habit);
            let database = odd.home.database();
            let act = || odd.open(Box::new(disk)).and_then(|replica| import(&replica, &bundle)).map(drop);
            let (done, _) = watch.hinder(Fault::Stop(step), &database, || (), act);
            let struck = watch.struck();
            assert_eq!(done.is_ok(), struck.is_none(), "step {step}: {done:?}");
            let case = format!("{habit:?}, stopped at {step}, {struck:?}");
            import(&on(&odd, habit), &bundle).unwrap_or_else(|error| panic!("{case}: {error}"));
            on(&odd, habit).scan(&ScanOptions::default()).unwrap();
            assert_eq!(folders(&odd, Some(habit)), folders(&plain, None), "{case}");
            assert!(odd.leftovers().is_empty(), "{case}: {:?}", odd.leftovers());
            export(&on(&odd, habit), &plain, &answer);
            let told = import(&plain.opened(), &answer).unwrap().1;
            assert_eq!((told[0].changes.new, told[0].changes.removed, told[0].changes.moved), (0, 0, 0), "{case}");
            if struck.is_none() {
                break;
            }
        }
        assert!(step > 20, "{step}");
    }
}

#[test]
fn an_inbox_in_another_case_is_not_made_where_dovecot_would_not_list_it() {
    let dir = scratch();
    let plain =
        Party::new(dir.path(), "plain", LayoutKind::Fs, &["Inbox one S", "Inbox/below two F", "a/inbox three -"]);
    let dotted = Party::new(dir.path(), "dotted", LayoutKind::MaildirPlusPlus, &[]);
    make_peers(&plain, &dotted);
    crate::support::party::exchange(&plain, &dotted, &dir.path().join("bundle"));
    let made: Vec<_> = names(&dotted.mail).into_iter().filter(|name| name.starts_with('.')).collect();
    assert_eq!(made, [".%49nbox~", ".%49nbox~.below", ".a.inbox", ".mailsync"]);
    assert_eq!(folders(&plain, None), folders(&dotted, None));
    // One that some program has made is a folder as it is.
    dotted.act("deliver INBOX four -");
    fs::rename(dotted.mail.join(".%49nbox~"), dotted.mail.join(".Inbox")).unwrap();
    crate::support::party::exchange(&plain, &dotted, &dir.path().join("bundle"));
    assert_eq!(folders(&plain, None), ["INBOX 1", "Inbox 1", "Inbox/below 1", "a/inbox 1"]);
    assert_eq!(folders(&plain, None), folders(&dotted, None));
}

#[test]
fn a_second_directory_of_a_folder_is_told_of_and_one_that_is_renamed_is_followed() {
    let dir = scratch();
    let party = Party::new(dir.path(), "one", LayoutKind::Fs, &["Work one S"]);
    crate::support::make_folder(&party.mail.join("%57ork~"));
    fs::write(party.mail.join("%57ork~/cur/7:2,S"), "Subject: seven\n\n").unwrap();
    let scan = || {
        let replica = party.opened();
        let report = replica.scan(&ScanOptions::default()).unwrap();
        (report.has_changes(), replica.drain_notes())
    };
    let (changed, notes) = scan();
    assert!(!changed && notes.len() == 1 && notes[0].contains("%57ork~") && notes[0].contains("second"), "{notes:?}");
    fs::remove_dir_all(party.mail.join("%57ork~")).unwrap();
    fs::rename(party.mail.join("Work"), party.mail.join("%57ork~")).unwrap();
    assert_eq!(scan(), (false, vec![]));
    assert_eq!(folders(&party, None), ["INBOX 0", "Work 1"]);
    fs::rename(party.mail.join("%57ork~"), party.mail.join("Work")).unwrap();
    assert_eq!(scan(), (false, vec![]));
}

/// Folders whose names are refused get others.
fn folders_are_refused(networks: &mut [usize; 3]) {
    let long = "Ä: ".repeat(60);
    let long = long.trim_end();
    let below = format!("Re: plans/{long}");
    let all = ["Re: plans", "a\\b/what?", "a\\b/fine", long, &below];
    let deliver = |party: &Party, name: &str| {
        for folder in all {
            crate::support::make_folder(&party.dir(folder));
            fs::write(party.dir(folder).join("new").join(name), contents(name)).unwrap();
        }
    };
    let refused = [':', '?', '\\'];
    for (layout, habit) in [
        (LayoutKind::Fs, Habit::NoColons),
        (LayoutKind::MaildirPlusPlus, Habit::NoColons),
        (LayoutKind::Fs, Habit::ColonsAreAbsent),
        (LayoutKind::MaildirPlusPlus, Habit::ColonsAreAbsent),
    ] {
        for with_mail in [true, false] {
            networks[2] += 1;
            let dir = scratch();
            let plain = Party::new(dir.path(), "plain", LayoutKind::Fs, &["INBOX one S"]);
            let odd = Party::new(dir.path(), "odd", layout, &[]);
            make_peers(&plain, &odd);
            let file = dir.path().join("bundle");
            if with_mail {
                deliver(&plain, "alpha");
            } else {
                for folder in all {
                    crate::support::make_folder(&plain.dir(folder));
                }
            }
            exchange(&plain, &odd, habit, &file);
            at_rest(&plain, &odd, habit);
            deliver(&plain, "beta");
            exchange(&plain, &odd, habit, &file);
            at_rest(&plain, &odd, habit);
            assert_eq!(folders(&odd, Some(habit)).len(), 6);
            let is_refused = |path: &Path| path.strip_prefix(&odd.mail).unwrap().to_str().unwrap().contains(refused);
            let dirs = walkdir::WalkDir::new(&odd.mail).into_iter().map(|item| item.unwrap().into_path());
            let wrong: Vec<_> = dirs.filter(|path| is_refused(path)).collect();
            assert!(wrong.is_empty(), "{wrong:?}");
            fs::remove_dir_all(plain.dir("a\\b/what?")).unwrap();
            exchange(&plain, &odd, habit, &file);
            at_rest(&plain, &odd, habit);
            assert_eq!(folders(&odd, Some(habit)).len(), 5);
        }
    }
}

/// A party that was made where colons can be in names, and is moved to where they can't: files that are there have
/// another separator from then on.
fn moved_to_where_no_colon_can_be(dir: &Path, habit: Habit) -> (Party, Party) {
    let mail = ["INBOX one S", "INBOX two -", "INBOX three new", "Empty"];
    let plain = Party::new(dir, "plain", LayoutKind::Fs, &mail);
    let odd = Party::new(dir, "odd", LayoutKind::Fs, &[]);
    make_peers(&plain, &odd);
    crate::support::party::exchange(&plain, &odd, &dir.join("bundle"));
    for name in names(&odd.mail.join("INBOX/cur")) {
        let cur = odd.mail.join("INBOX/cur");
        fs::rename(cur.join(&name), cur.join(name.replace(':', ";"))).unwrap();
    }
    on(&odd, habit).scan(&ScanOptions::default()).unwrap();
    for what in [
        "flag INBOX one FS",
        "flag INBOX three S",
        "move INBOX two Empty",
        "deliver Empty four F",
        "deliver Other five S",
        "deliver Other six new",
    ] {
        plain.act(what);
    }
    (plain, odd)
}

#[test]
fn a_mail_root_that_was_moved_to_where_no_colon_can_be_gets_other_separators() {
    for habit in [Habit::NoColons, Habit::ColonsAreAbsent] {
        let dir = scratch();
        let (plain, odd) = moved_to_where_no_colon_can_be(dir.path(), habit);
        let file = dir.path().join("bundle");
        exchange(&plain, &odd, habit, &file);
        at_rest(&plain, &odd, habit);
        assert_eq!(odd.mailbox(), plain.mailbox());
        plain.act("flag Other six S");
        plain.act("deliver Other seven RS");
        exchange(&plain, &odd, habit, &file);
        at_rest(&plain, &odd, habit);
        assert_eq!(odd.mailbox(), plain.mailbox());
        for folder in ["INBOX", "Empty", "Other"] {
            for name in names(&odd.mail.join(folder).join("cur")) {
                assert!(name.contains(";2,"), "{folder}: {name}");
            }
        }
        assert!(odd.trash().is_empty() && plain.trash().is_empty());
    }
}

#[test]
fn names_get_other_separators_whenever_an_import_is_stopped() {
    for habit in [Habit::NoColons, Habit::ColonsAreAbsent] {
        let dir = scratch();
        let (plain, odd) = moved_to_where_no_colon_can_be(dir.path(), habit);
        let (bundle, answer) = (dir.path().join("bundle"), dir.path().join("answer"));
        plain.export(&odd, &bundle);
        let before = (odd.snapshot(), plain.snapshot());
        let watch = Watch::new(&dir.path().join("keep"));
        let mut step = 0;
        loop {
            step += 1;
            odd.put_back(&before.0);
            plain.put_back(&before.1);
            let disk = Folding::new(watch.disk(), &odd.mail, habit);
            let act = || odd.open(Box::new(disk)).and_then(|replica| import(&replica, &bundle)).map(drop);
            let (done, _) = watch.hinder(Fault::Stop(step), &odd.home.database(), || (), act);
            let struck = watch.struck();
            assert_eq!(done.is_ok(), struck.is_none(), "step {step}: {done:?}");
            let case = format!("{habit:?}, stopped at {step}, {struck:?}");
            import(&on(&odd, habit), &bundle).unwrap_or_else(|error| panic!("{case}: {error}"));
            on(&odd, habit).scan(&ScanOptions::default()).unwrap();
            assert_eq!(odd.mailbox(), plain.mailbox(), "{case}");
            assert!(odd.leftovers().is_empty() && odd.trash().is_empty(), "{case}: {:?}", odd.leftovers());
            export(&on(&odd, habit), &plain, &answer);
            let told = crate::support::party::import(&plain.opened(), &answer).unwrap().1;
            assert_eq!((told[0].changes.new, told[0].changes.removed, told[0].changes.moved), (0, 0, 0), "{case}");
            if struck.is_none() {
                break;
            }
        }
        assert!(step > 20, "{step}");
    }
}

#[test]
fn a_message_gets_another_separator_when_it_moves_to_a_file_system_that_takes_no_colon() {
    for habit in [Habit::NoColons, Habit::ColonsAreAbsent] {
        let dir = scratch();
        let plain = Party::new(dir.path(), "plain", LayoutKind::Fs, &["INBOX one S", "Stick two F"]);
        let odd = Party::new(dir.path(), "odd", LayoutKind::Fs, &[]);
        make_peers(&plain, &odd);
        let file = dir.path().join("bundle");
        crate::support::make_folder(&odd.mail.join("Stick"));
        let stick = odd.mail.join("Stick");
        let watch = Watch::new(&dir.path().join("keep"));
        watch.mount(&stick);
        let open = || odd.open(Box::new(Folding::new(watch.disk(), &stick, habit))).unwrap();
        for what in ["flag INBOX one FS", "move INBOX one Stick", "move Stick one INBOX"] {
            plain.act(what);
            plain.export(&odd, &file);
            let replica = open();
            import(&replica, &file).unwrap();
            assert!(replica.hindrance().is_none(), "{what}: {:?}", replica.hindrance());
            assert_eq!(replica.status().unwrap().pending, 0, "{what}");
            assert!(!replica.scan(&ScanOptions::default()).unwrap().has_changes(), "{what}");
            drop(replica);
            assert_eq!(odd.mailbox(), plain.mailbox(), "{what}");
            assert!(odd.leftovers().is_empty() && odd.trash().is_empty(), "{what}: {:?}", odd.leftovers());
        }
    }
}
