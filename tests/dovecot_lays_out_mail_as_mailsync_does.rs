//! Dovecot finds what mailsync lays out: an empty mail root, names that only one of the layouts can write, and how much
//! mail there is.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::dovecot_and_mailsync_share_a_maildir::Served;
use crate::support::machine::{Machine, make_peers, message, pass};
use crate::support::programs::{self, run, run_with};
use crate::support::{make_folder, scratch, text};

/// A machine from which mail comes, with these folders; in each of them lies a message.
fn sender(dir: &Path, folders: &[&str]) -> Machine {
    let desktop = Machine::new(dir, "desktop");
    desktop.init_as("fs");
    for (n, folder) in folders.iter().enumerate() {
        desktop.put(folder, &format!("cur/{n}.h:2,S"), message(folder), 1_500_000_000 + n as u64);
    }
    desktop
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn an_empty_mail_root_that_is_made_for_dovecot_is_as_dovecot_makes_its_own() {
    if !programs::become_an_ordinary_user() {
        return;
    }
    let folders = ["INBOX", "Entwürfe", "Archive/2019/Q1", "A & B"];
    let mailboxes = set(&["INBOX", "Entw&APw-rfe", "Archive/2019/Q1", "A &- B"]);
    for layout in ["maildir++", "fs"] {
        for join in [false, true] {
            let dir = scratch();
            let Some(served) = Served::new(dir.path(), "laptop", layout) else { return };
            let (desktop, laptop) = (sender(dir.path(), &folders), &served.machine);
            let root = text(&laptop.mail);
            if join {
                let invitation = desktop.ok(&["invite", "laptop"]).stdout;
                let ran = laptop.run_with(&["join", root, "--layout", layout, "--for", "dovecot"], &invitation);
                assert_eq!(ran.code, 0, "{ran:?}");
            } else {
                laptop.ok(&["init", root, "--name", "laptop", "--layout", layout, "--for", "dovecot"]);
                make_peers(&desktop, laptop);
                pass(&desktop, laptop);
            }
            // Dovecot has seen nothing of this mail root before, and finds all of it.
            assert_eq!(served.mailboxes(), mailboxes, "{layout}");
            let subjects: BTreeSet<String> = served.mail().into_iter().map(|seen| seen.subject).collect();
            assert_eq!(subjects, folders.map(str::to_owned).into(), "{layout}");
            // What it makes itself lies among it.
            served.imap(&["CREATE Entw&APw-rfe/Neu"]);
            served.append("Entw&APw-rfe/Neu", "", "05-Jan-2020 10:00:00 +0000", "Subject: own\r\n\r\n");
            served.append("INBOX", "", "05-Jan-2020 10:00:00 +0000", "Subject: inbox\r\n\r\n");
            let ran = laptop.ok(&["scan", "--json"]).json();
            assert_eq!((&ran["new"], &ran["folders_made"]), (&2.into(), &1.into()), "{ran}");
            assert!(laptop.folders().contains(&"Entwürfe/Neu".to_owned()), "{:?}", laptop.folders());
        }
    }
}

#[test]
fn a_name_with_a_dot_is_the_same_in_dovecot_with_listescape_under_maildir_plus_plus() {
    if !programs::become_an_ordinary_user() {
        return;
    }
    let folders = ["INBOX", "lists/dev.example.org", "v1.0/a.b", "plain"];
    for (layout, escape) in [("maildir++", true), ("fs", false)] {
        let dir = scratch();
        let Some(served) = Served::new(dir.path(), "laptop", layout) else { return };
        if escape {
            served.configure("mail_plugins = listescape");
        }
        let (desktop, laptop) = (sender(dir.path(), &folders), &served.machine);
        served.init(layout);
        make_peers(&desktop, laptop);
        pass(&desktop, laptop);
        assert_eq!(served.mailboxes(), set(&folders), "{layout}");
        let subjects: BTreeSet<String> = served.mail().into_iter().map(|seen| seen.subject).collect();
        assert_eq!(subjects, set(&folders), "{layout}");
        // And what Dovecot makes of such a name is the same folder elsewhere.
        served.imap(&["CREATE \"new.one/x\"", "RENAME plain \"not.plain\""]);
        served.append("\"new.one/x\"", "", "05-Jan-2020 10:00:00 +0000", "Subject: own\r\n\r\n");
        pass(laptop, &desktop);
        let mut expected = set(&["INBOX", "lists/dev.example.org", "v1.0/a.b", "not.plain", "new.one/x"]);
        let made: BTreeSet<String> = desktop.folders().into_iter().collect();
        assert!(made.is_superset(&expected), "{made:?}");
        expected.remove("INBOX");
        for folder in expected {
            assert!(desktop.mail.join(&folder).join("cur").is_dir(), "{folder}");
        }
    }
}

/// How many bytes and messages Dovecot counts, and the quota: `USED LIMIT` of each.
fn quota(served: &Served) -> String {
    let answer = served.imap(&["GETQUOTAROOT INBOX"]);
    let line = answer.lines().find(|line| line.starts_with("* QUOTA ")).unwrap_or_else(|| panic!("{answer}"));
    line.split_once('(').unwrap().1.trim_end_matches([')', '\r']).to_owned()
}

#[test]
fn dovecot_counts_the_mail_anew_after_an_import_and_keeps_the_quota_that_is_in_its_file() {
    if !programs::become_an_ordinary_user() {
        return;
    }
    for layout in ["maildir++", "fs"] {
        let dir = scratch();
        let Some(served) = Served::new(dir.path(), "laptop", layout) else { return };
        // The limit is nowhere but in the file.
        served.configure(
            "mail_plugins = quota\nprotocol imap {\n  mail_plugins = quota imap_quota\n}\nplugin {\n  quota = maildir:User quota\n}",
        );
        let (desktop, laptop) = (Machine::replica(dir.path(), "desktop"), &served.machine);
        served.init(layout);
        make_peers(&desktop, laptop);
        let file = laptop.mail.join("maildirsize");
        fs::write(&file, "100000S,1000C\n0 0\n").unwrap();
        assert_eq!(quota(&served), "STORAGE 0 98 MESSAGE 0 1000", "{layout}");
        let body = "x".repeat(2039) + "\n";
        for n in 0..6 {
            desktop.put(if n < 4 { "INBOX" } else { "Team" }, &format!("cur/{n}.h:2,"), &body, 1_500_000_000 + n);
        }
        pass(&desktop, laptop);
        assert_eq!(quota(&served), "STORAGE 12 98 MESSAGE 6 1000", "{layout}: after an import");
        let counted = fs::read_to_string(&file).unwrap();
        assert!(counted.starts_with("100000S,1000C\n") && counted.len() < 100, "{counted}");
        // What Dovecot itself adds is added to a number that is right.
        let appended = body.replace('\n', "\r\n");
        served.append("INBOX", "", "05-Jan-2020 10:00:00 +0000", &appended);
        assert_eq!(quota(&served), "STORAGE 14 98 MESSAGE 7 1000", "{layout}: after an append");
        fs::remove_file(desktop.dir("Team").join("cur/4.h:2,")).unwrap();
        fs::remove_file(desktop.dir("INBOX").join("cur/0.h:2,")).unwrap();
        pass(&desktop, laptop);
        assert_eq!(quota(&served), "STORAGE 10 98 MESSAGE 5 1000", "{layout}: after removals");
        laptop.ok(&["trash", "restore", "1"]);
        assert_eq!(quota(&served), "STORAGE 12 98 MESSAGE 6 1000", "{layout}: after a restore");
        // Where nothing came or went, nothing is written.
        let before = fs::read(&file).unwrap();
        laptop.ok(&["scan"]);
        pass(&desktop, laptop);
        assert_eq!(fs::read(&file).unwrap(), before);
    }
}

#[test]
fn maildrop_knows_of_what_an_import_has_brought_when_it_looks_at_the_quota() {
    if !programs::become_an_ordinary_user() || !programs::are_there(&["maildrop", "maildirmake.maildrop"]) {
        return;
    }
    let dir = scratch();
    let (desktop, laptop) = (Machine::replica(dir.path(), "desktop"), Machine::new(dir.path(), "laptop"));
    laptop.init();
    let made = run(Command::new("maildirmake.maildrop").args(["-q", "5000S", text(&laptop.mail)]).stdin(Stdio::null()));
    assert_eq!(made.code, 0, "{made:?}");
    make_peers(&desktop, &laptop);
    let conf = dir.path().join("mailfilter");
    fs::write(&conf, format!("to \"{}\"\n", laptop.mail.display())).unwrap();
    assert_eq!(run(Command::new("chmod").args(["600", text(&conf)])).code, 0);
    let deliver = |bytes: usize| {
        let mail = format!("From: a@example.org\nSubject: x\n\n{}\n", "x".repeat(bytes));
        run_with(Command::new("maildrop").arg(&conf).env("HOME", dir.path()), mail.as_bytes()).code
    };
    assert_eq!(deliver(1000), 0);
    make_folder(&desktop.dir("Team"));
    desktop.put("Team", "cur/1.h:2,", "x".repeat(3000) + "\n", 1_500_000_000);
    pass(&desktop, &laptop);
    // With the import it would be more than the quota.
    assert_ne!(deliver(1500), 0);
    fs::remove_file(desktop.dir("Team").join("cur/1.h:2,")).unwrap();
    pass(&desktop, &laptop);
    assert_eq!(deliver(1500), 0);
    let counted = fs::read_to_string(laptop.mail.join("maildirsize")).unwrap();
    assert!(counted.starts_with("5000S\n"), "{counted}");
    pass(&laptop, &desktop);
    assert_eq!(desktop.mailbox(), laptop.mailbox());
}

#[test]
fn an_inbox_in_another_case_and_what_is_below_it_are_shown_by_dovecot() {
    if !programs::become_an_ordinary_user() {
        return;
    }
    let folders = ["INBOX", "Inbox", "Inbox/below", "a/inbox", "plain"];
    for layout in ["maildir++", "fs"] {
        let dir = scratch();
        let Some(served) = Served::new(dir.path(), "laptop", layout) else { return };
        let (desktop, laptop) = (sender(dir.path(), &folders), &served.machine);
        served.init(layout);
        make_peers(&desktop, laptop);
        pass(&desktop, laptop);
        let subjects: BTreeSet<String> = served.mail().into_iter().map(|seen| seen.subject).collect();
        assert_eq!(subjects, set(&folders), "{layout}: {:?}", served.mailboxes());
        laptop.is_at_rest(layout);
        // What a client does there comes back.
        let inbox = served.mail().into_iter().find(|seen| seen.subject == "Inbox/below").unwrap().mailbox;
        served.imap(&[&format!("SELECT \"{inbox}\""), "STORE 1 +FLAGS (\\Flagged)"]);
        pass(laptop, &desktop);
        assert!(desktop.files().iter().any(|(_, mail, _)| mail.folder == "Inbox/below" && mail.flags == "FS"));
    }
    // Dovecot doesn't list a directory of that name, with all that is below.
    let dir = scratch();
    let Some(served) = Served::new(dir.path(), "laptop", "maildir++") else { return };
    served.imap(&["SELECT INBOX"]);
    for folder in [".Inbox", ".Inbox.below"] {
        make_folder(&served.machine.mail.join(folder));
        fs::write(served.machine.mail.join(folder).join("cur/1.h:2,S"), message(folder)).unwrap();
    }
    let listed = served.mailboxes();
    assert!(!listed.contains("Inbox") && !listed.contains("Inbox/below"), "{listed:?}");
}

/// The messages of a mailbox as a client reads them: size and text.
fn texts(served: &Served, mailbox: &str) -> BTreeSet<(u64, String)> {
    let answer = served.imap(&[&format!("SELECT {mailbox}"), "UID FETCH 1:* (RFC822.SIZE BODY.PEEK[])"]);
    let text = |part: &str| {
        let size: u64 = part.split_once("RFC822.SIZE ")?.1.split_once(' ')?.0.parse().ok()?;
        let (length, rest) = part.split_once("BODY[] {")?.1.split_once("}\r\n")?;
        Some((size, rest[..length.parse().ok()?].to_owned()))
    };
    answer.split("\r\n* ").filter_map(text).collect()
}

#[test]
fn what_dovecot_compresses_is_read_by_the_other_machines_dovecot_in_its_whole_size() {
    if !programs::become_an_ordinary_user() {
        return;
    }
    for (how, layout) in [("gz", "maildir++"), ("bz2", "fs"), ("zstd", "maildir++"), ("lz4", "fs")] {
        let dir = scratch();
        let two = ["desktop", "laptop"].map(|name| Served::new(dir.path(), name, layout));
        let [Some(desktop), Some(laptop)] = &two else { return };
        for served in [desktop, laptop] {
            served.configure(&format!("mail_plugins = zlib\nplugin {{\n  zlib_save = {how}\n}}"));
            served.init(layout);
        }
        make_peers(&desktop.machine, &laptop.machine);
        let mail = |subject: &str| format!("Subject: {subject}\r\n\r\n{}", "again and again\r\n".repeat(300));
        let whole = |subject: &str| (mail(subject).len() as u64, mail(subject));
        desktop.imap(&["CREATE Archive"]);
        for subject in ["one", "two"] {
            desktop.append("INBOX", "\\Seen", "05-Jan-2020 10:00:00 +0000", &mail(subject));
        }
        let small = |served: &Served| {
            served.machine.files().iter().all(|(_, _, path)| fs::metadata(path).unwrap().len() < 1000)
        };
        assert!(small(desktop), "{how}: Dovecot has compressed nothing");
        // A script of the kind that people run has compressed this one, and says so by a flag.
        let plain = dir.path().join("plain");
        fs::write(&plain, mail("three")).unwrap();
        if how == "gz" {
            let gz = run(Command::new("gzip").arg("-c").arg(&plain)).stdout;
            desktop.machine.put("INBOX", &format!("cur/3.h,S={}:2,SZ", mail("three").len()), gz, 1_500_000_003);
        }
        pass(&desktop.machine, &laptop.machine);
        assert!(small(laptop), "{how}");
        let expected = texts(desktop, "INBOX");
        assert!(expected.contains(&whole("one")) && expected.contains(&whole("two")), "{how}: {expected:?}");
        assert_eq!(expected.contains(&whole("three")), how == "gz", "{how}");
        // Twice, as Dovecot remembers sizes.
        for _ in 0..2 {
            assert_eq!(texts(laptop, "INBOX"), expected, "{how}");
        }
        // What a client does over there goes back.
        laptop.imap(&["SELECT INBOX", "MOVE 1 Archive", "STORE 1 +FLAGS (\\Flagged)"]);
        laptop.append("Archive", "", "05-Jan-2020 10:00:00 +0000", &mail("four"));
        pass(&laptop.machine, &desktop.machine);
        for mailbox in ["INBOX", "Archive"] {
            assert_eq!(texts(desktop, mailbox), texts(laptop, mailbox), "{how}: {mailbox}");
        }
        assert_eq!(texts(desktop, "Archive").len(), 2, "{how}");
        pass(&desktop.machine, &laptop.machine);
        assert_eq!(desktop.machine.mailbox(), laptop.machine.mailbox(), "{how}");
        for served in [desktop, laptop] {
            served.machine.is_at_rest(how);
        }
    }
}

#[test]
fn a_list_of_keywords_has_the_rights_that_dovecot_gives_its_own() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    const GROUP: u32 = 54321;
    if !programs::only_root_can() {
        return;
    }
    let roots = [0o2770, 0o2750, 0o700, 0o755].map(|mode| {
        let dir = scratch();
        let mail = dir.path().join("laptop-mail");
        fs::create_dir(&mail).unwrap();
        chown(&mail, Some(programs::NOBODY), Some(if mode & 0o2000 == 0 { programs::NOBODY } else { GROUP })).unwrap();
        fs::set_permissions(&mail, fs::Permissions::from_mode(mode)).unwrap();
        chown(dir.path(), Some(programs::NOBODY), Some(programs::NOBODY)).unwrap();
        (mode, dir)
    });
    // Who may give things to a group is a member of it.
    rustix::thread::set_thread_groups(&[rustix::fs::Gid::from_raw(GROUP)]).unwrap();
    rustix::thread::set_thread_gid(rustix::fs::Gid::from_raw(programs::NOBODY)).unwrap();
    rustix::thread::set_thread_uid(rustix::fs::Uid::from_raw(programs::NOBODY)).unwrap();
    if !programs::become_an_ordinary_user() {
        return;
    }
    for (mode, dir) in roots {
        let two = ["desktop", "laptop"].map(|name| Served::new(dir.path(), name, "maildir++"));
        let [Some(desktop), Some(laptop)] = &two else { return };
        desktop.init("maildir++");
        laptop.init("maildir++");
        make_peers(&desktop.machine, &laptop.machine);
        desktop.imap(&["CREATE Team"]);
        desktop.append("Team", "work", "05-Jan-2020 10:00:00 +0000", "Subject: theirs\r\n\r\n");
        pass(&desktop.machine, &laptop.machine);
        laptop.imap(&["CREATE Own"]);
        laptop.append("Own", "work", "05-Jan-2020 10:00:00 +0000", "Subject: own\r\n\r\n");
        let rights = |folder: &str| {
            let meta = fs::metadata(laptop.machine.mail.join(folder)).unwrap();
            (format!("{:o}", meta.mode() & 0o7777), meta.uid(), meta.gid())
        };
        for file in ["", "/cur", "/dovecot-keywords"] {
            assert_eq!(rights(&format!(".Team{file}")), rights(&format!(".Own{file}")), "{mode:o} {file}");
        }
        // Dovecot goes on with it.
        laptop.imap(&["SELECT Team", "STORE 1 +FLAGS (more)"]);
        pass(&laptop.machine, &desktop.machine);
        let theirs = desktop.mail().into_iter().find(|seen| seen.subject == "theirs").unwrap();
        assert_eq!(theirs.flags, set(&["more", "work"]), "{mode:o}");
    }
}
