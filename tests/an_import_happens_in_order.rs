//! What a scan and an import do to the disk: in which order, and how often.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use mailsync::maildir::LayoutKind::{self, Fs, MaildirPlusPlus};
use mailsync::replica::{DryRun, ScanOptions, ScanReport};
use mailsync::state::State;

use crate::support::disk::{Call, Op, Watch, tally};
use crate::support::party::{Party, exchange, import, make_peers};
use crate::support::programs::MAILSYNC;
use crate::support::{rest, scratch};

/// Scans, and tells what it did to the disk.
fn scan(party: &Party, watch: &Watch) -> (ScanReport, Vec<Call>) {
    let replica = party.open(watch.disk()).unwrap();
    watch.take();
    let report = replica.scan(&ScanOptions::default()).unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    (report, watch.take())
}

/// A replica with so many messages in each of two folders, of which everything is known.
fn settled(dir: &Path, layout: LayoutKind, messages: usize) -> (Party, Watch) {
    let mail: Vec<String> =
        (0..messages).flat_map(|n| [format!("INBOX a{n} S"), format!("Archive/2019 b{n} S")]).collect();
    let party = Party::new(dir, "here", layout, &mail.iter().map(String::as_str).collect::<Vec<_>>());
    let watch = Watch::new(&dir.join("keep"));
    rest();
    scan(&party, &watch);
    (party, watch)
}

fn count(calls: &[Call], op: Op) -> usize {
    calls.iter().filter(|call| call.op == op).count()
}

fn changes(calls: &[Call]) -> Vec<&Call> {
    calls.iter().filter(|call| call.op.changes()).collect()
}

#[test]
fn a_scan_of_what_has_not_changed_lists_nothing_and_opens_nothing() {
    for layout in [MaildirPlusPlus, Fs] {
        let counts = [10, 1000].map(|messages| {
            let dir = scratch();
            let (party, watch) = settled(dir.path(), layout, messages);
            let (report, calls) = scan(&party, &watch);
            assert!(!report.has_changes(), "{report}");
            assert_eq!((report.folders_read, report.messages_read), (0, 0));
            let tally = tally(&calls);
            assert_eq!(tally.keys().collect::<Vec<_>>(), [&Op::Metadata], "{layout:?}, {messages} messages");
            tally[&Op::Metadata]
        });
        // The directory above the mail root, and that three times; INBOX and Archive/2019, and under `fs` the Archive
        // above it; `new` and `cur` of both folders, and the file that names their letters.
        let expected = if layout == Fs { 3 + 4 + 4 + 2 } else { 3 + 2 + 4 + 2 };
        assert_eq!(counts, [expected; 2], "{layout:?}");
    }
}

#[test]
fn a_changed_flag_has_its_folder_alone_listed_and_no_message_read() {
    for layout in [MaildirPlusPlus, Fs] {
        let dir = scratch();
        let (party, watch) = settled(dir.path(), layout, 50);
        party.act("flag Archive/2019 b7 FS");
        rest();
        let (report, calls) = scan(&party, &watch);
        assert_eq!((report.flagged, report.folders_read, report.messages_read), (1, 1, 0), "{report}");
        let folder = party.dir("Archive/2019");
        let listed: Vec<_> = calls.iter().filter(|call| call.op == Op::List).map(|call| call.path.clone()).collect();
        assert_eq!(listed, [folder.join("new"), folder.join("cur")]);
        assert_eq!(count(&calls, Op::Open), 0);
        assert!(changes(&calls).is_empty());
    }
}

#[test]
fn a_new_message_is_the_only_one_that_is_read() {
    for layout in [MaildirPlusPlus, Fs] {
        let dir = scratch();
        let (party, watch) = settled(dir.path(), layout, 50);
        party.act("deliver INBOX fresh new");
        rest();
        let (report, calls) = scan(&party, &watch);
        assert_eq!((report.new, report.folders_read, report.messages_read), (1, 1, 1), "{report}");
        let opened: Vec<_> = calls.iter().filter(|call| call.op == Op::Open).map(|call| call.path.clone()).collect();
        assert_eq!(opened, [party.find("INBOX", "fresh")]);
        assert!(changes(&calls).is_empty());
    }
}

#[test]
fn a_moved_message_is_read_once_to_be_recognised() {
    let dir = scratch();
    let (party, watch) = settled(dir.path(), Fs, 50);
    party.act("move INBOX a3 Archive/2019");
    rest();
    let (report, calls) = scan(&party, &watch);
    assert_eq!((report.moved, report.new, report.removed, report.messages_read), (1, 0, 0, 1), "{report}");
    assert_eq!(count(&calls, Op::Open), 1);
    assert!(changes(&calls).is_empty());
}

/// Two replicas that have the same.
fn pair(dir: &Path, layouts: (LayoutKind, LayoutKind), mail: &[&str]) -> (Party, Party, PathBuf) {
    let there = Party::new(dir, "there", layouts.0, mail);
    let here = Party::new(dir, "here", layouts.1, &[]);
    make_peers(&there, &here);
    let bundle = dir.join("bundle");
    exchange(&there, &here, &bundle);
    rest();
    drop(here.opened().scan(&ScanOptions::default()).unwrap());
    (there, here, bundle)
}

/// Imports; what is observed before each call is how much the state says is to be done.
fn watched_import(here: &Party, dir: &Path, bundle: &Path) -> Vec<Call> {
    let watch = Watch::new(&dir.join("keep"));
    let replica = here.open(watch.disk()).unwrap();
    replica.scan(&ScanOptions::default()).unwrap();
    let state = State::open(&here.home.database()).unwrap();
    watch.observe(move || state.count_pending().unwrap());
    watch.take();
    import(&replica, bundle).unwrap();
    watch.observe(|| 0);
    watch.take()
}

/// Where a call with this operation and such a path was made.
fn positions(calls: &[Call], op: Op, path: impl Fn(&Path) -> bool) -> Vec<usize> {
    calls.iter().enumerate().filter(|(_, call)| call.op == op && path(&call.path)).map(|(at, _)| at).collect()
}

/// The order that every import keeps.
fn check_order(calls: &[Call], here: &Party) {
    let in_tmp = |path: &Path| path.parent().is_some_and(|dir| dir.ends_with("tmp"));
    let committed = calls.iter().position(|call| call.seen > 0).expect("something was to be done");
    let cleared = calls.iter().rposition(|call| call.seen > 0).unwrap();
    // Contents: written in tmp/ alone, durable with their names before the transaction.
    let mut durable = BTreeSet::new();
    for (at, call) in calls.iter().enumerate().filter(|(_, call)| call.done) {
        let before = at < committed;
        match call.op {
            Op::Create if call.path.ends_with("maildirfolder") => {}
            Op::Create | Op::Write | Op::SetMtime | Op::SyncFile => {
                assert!(before && in_tmp(&call.path), "{call:?} is call {at}, the transaction came before {committed}");
                if call.op == Op::SyncFile {
                    durable.insert(call.path.clone());
                }
            }
            // A copy of what is here already gets its name in tmp/ when it is whole.
            Op::Rename if before => {
                assert!(
                    in_tmp(&call.path) && call.to.as_deref().is_some_and(in_tmp),
                    "{call:?} comes before the transaction"
                );
            }
            Op::Unlink if before => assert!(in_tmp(&call.path), "{call:?}"),
            Op::Unlink => assert!(call.path.ends_with("maildirfolder"), "{call:?}"),
            _ => {}
        }
    }
    let synced_all = positions(calls, Op::SyncFileSystem, |_| true).first().is_some_and(|&at| at < committed);
    for &at in &positions(calls, Op::Create, in_tmp) {
        let path = &calls[at].path;
        if synced_all {
            continue;
        }
        assert!(durable.contains(path), "{} is not durable", path.display());
        for dir in path.ancestors().skip(1).take_while(|dir| dir.starts_with(&here.mail)) {
            let made = positions(calls, Op::MakeDir, |path| path == dir).iter().any(|&at| calls[at].done);
            let needed = dir == path.parent().unwrap() || made;
            let synced =
                positions(calls, Op::SyncDir, |path| path == dir).iter().any(|&sync| at < sync && sync < committed);
            assert!(!needed || synced, "{} is not durable before the transaction", dir.display());
        }
    }
    // Names: durable after their last change, before the list of what is to be done is cleared.
    let mut last = BTreeMap::new();
    for (at, call) in calls.iter().enumerate().filter(|(at, call)| call.done && *at >= committed) {
        if matches!(call.op, Op::Rename | Op::MakeDir | Op::RemoveDir | Op::Create) {
            for path in std::iter::once(&call.path).chain(&call.to) {
                last.insert(path.parent().unwrap().to_owned(), at);
            }
        }
    }
    let later_gone = |dir: &Path| positions(calls, Op::RemoveDir, |path| path == dir).iter().any(|&at| calls[at].done);
    let everything = positions(calls, Op::SyncFileSystem, |_| true);
    for (dir, changed) in last {
        let after = |at: &usize| *at > changed && *at <= cleared;
        let synced =
            positions(calls, Op::SyncDir, |path| path == dir).iter().any(after) || everything.iter().any(after);
        assert!(synced || later_gone(&dir), "{} is not durable when the list is cleared", dir.display());
    }
}

#[test]
fn contents_are_durable_before_the_transaction_and_names_before_its_list_is_cleared() {
    for layouts in [(MaildirPlusPlus, Fs), (Fs, MaildirPlusPlus)] {
        let dir = scratch();
        let start = [
            "INBOX alpha S",
            "INBOX beta S",
            "INBOX gamma -",
            "Archive delta S",
            "Old/2019 epsilon S",
            "Old/2019 zeta S",
        ];
        let (there, here, bundle) = pair(dir.path(), layouts, &start);
        for what in [
            "deliver INBOX eta new",
            "deliver Lists/rust/users theta S",
            "deliver Archive large S",
            "flag INBOX alpha FS",
            "move INBOX beta Archive",
            "move Old/2019 epsilon Lists/rust/users",
            "remove INBOX gamma",
            "rmdir Old/2019",
        ] {
            there.act(what);
        }
        there.export(&here, &bundle);
        let calls = watched_import(&here, dir.path(), &bundle);
        check_order(&calls, &here);
        assert_eq!(here.mailbox(), there.mailbox());
        assert_eq!(here.trash(), ["gamma", "zeta"]);
    }
}

#[test]
fn contents_that_another_file_here_holds_are_durable_before_the_transaction() {
    let dir = scratch();
    let (there, here, bundle) = pair(dir.path(), (Fs, Fs), &["INBOX alpha S", "Archive alpha S"]);
    there.act("mkdir Lists/rust");
    there.act("move INBOX alpha Lists/rust");
    here.act("remove INBOX alpha");
    there.export(&here, &bundle);
    let calls = watched_import(&here, dir.path(), &bundle);
    assert_eq!(count(&calls, Op::Create), 1);
    check_order(&calls, &here);
    assert_eq!(here.mailbox(), ["Archive alpha S", "INBOX", "Lists/rust alpha S"]);
}

#[test]
fn many_messages_are_made_durable_together() {
    let dir = scratch();
    let (there, here, bundle) = pair(dir.path(), (Fs, MaildirPlusPlus), &["INBOX alpha S"]);
    (0..100).for_each(|n| there.act(&format!("deliver INBOX b{n} S")));
    there.export(&here, &bundle);
    let calls = watched_import(&here, dir.path(), &bundle);
    check_order(&calls, &here);
    let tally = tally(&calls);
    let expected = [
        (Op::Create, 100),
        (Op::Write, 100),
        (Op::SetMtime, 100),
        (Op::SyncFileSystem, 1),
        (Op::Rename, 100),
        (Op::SyncDir, 2),
    ];
    for (op, times) in expected {
        assert_eq!(tally.get(&op), Some(&times), "{op:?} of {tally:?}");
    }
    assert!(!tally.contains_key(&Op::SyncFile) && !tally.contains_key(&Op::Open), "{tally:?}");
}

#[test]
fn an_import_of_k_messages_does_as_much_for_each_whatever_the_mailbox_holds() {
    for held in [1, 200] {
        for k in [1, 5, 32] {
            let dir = scratch();
            let mail: Vec<String> = (0..held).map(|n| format!("INBOX a{n} S")).collect();
            let mail: Vec<&str> = mail.iter().map(String::as_str).collect();
            let (there, here, bundle) = pair(dir.path(), (Fs, MaildirPlusPlus), &mail);
            (0..k).for_each(|n| there.act(&format!("deliver INBOX b{n} new")));
            there.export(&here, &bundle);
            let calls = watched_import(&here, dir.path(), &bundle);
            check_order(&calls, &here);
            let mut tally = tally(&calls);
            tally.remove(&Op::Metadata);
            // tmp/ twice: when the contents are there, and when they have gone to new/. new/ once.
            let expected = BTreeMap::from([
                (Op::Create, k),
                (Op::Write, k),
                (Op::SetMtime, k),
                (Op::SyncFile, k),
                (Op::Rename, k),
                (Op::SyncDir, 3),
                // The mail root of the test is open to all, and so are the files.
                (Op::Give, k),
            ]);
            assert_eq!(tally, expected, "{k} messages into {held}");
        }
    }
}

#[test]
fn changed_flags_are_one_rename_each() {
    let dir = scratch();
    let mail: Vec<String> = (0..20).map(|n| format!("INBOX a{n} S")).collect();
    let (there, here, bundle) =
        pair(dir.path(), (Fs, MaildirPlusPlus), &mail.iter().map(String::as_str).collect::<Vec<_>>());
    (0..20).for_each(|n| there.act(&format!("flag INBOX a{n} FS")));
    there.export(&here, &bundle);
    let calls = watched_import(&here, dir.path(), &bundle);
    check_order(&calls, &here);
    let changed: Vec<Op> = changes(&calls).iter().map(|call| call.op).collect();
    let mut expected = vec![Op::Rename; 20];
    expected.push(Op::SyncDir);
    assert_eq!(changed, expected);
    assert_eq!(count(&calls, Op::Open), 0);
}

#[test]
fn what_is_removed_is_renamed_into_the_trash_and_never_unlinked() {
    let dir = scratch();
    let (there, here, bundle) = pair(dir.path(), (Fs, Fs), &["INBOX alpha S", "INBOX beta S", "Old gamma S"]);
    there.act("remove INBOX alpha");
    there.act("rmdir Old");
    there.export(&here, &bundle);
    let calls = watched_import(&here, dir.path(), &bundle);
    check_order(&calls, &here);
    assert_eq!(count(&calls, Op::Unlink), 0);
    let renamed: Vec<_> = calls.iter().filter(|call| call.op == Op::Rename && call.done).collect();
    assert_eq!(renamed.len(), 2);
    assert!(renamed.iter().all(|call| call.to.as_ref().unwrap().starts_with(here.home.trash())));
    // The folder goes only when its mail is durable in the trash.
    let synced = positions(&calls, Op::SyncDir, |path| path == here.home.trash())[0];
    assert!(synced < positions(&calls, Op::RemoveDir, |_| true)[0]);
}

#[test]
fn an_unlink_across_file_systems_waits_for_the_durable_copy() {
    let dir = scratch();
    let (there, here, bundle) = pair(dir.path(), (Fs, Fs), &["INBOX alpha S", "INBOX beta S"]);
    there.act("remove INBOX alpha");
    there.export(&here, &bundle);
    let watch = Watch::new(&dir.path().join("keep"));
    watch.mount(&here.home.trash());
    import(&here.open(watch.disk()).unwrap(), &bundle).unwrap();
    let calls = watch.take();
    let trash = here.home.trash();
    let at = |op, dir: &Path| positions(&calls, op, |path| path.starts_with(dir)).into_iter().next_back().unwrap();
    let order = [
        at(Op::Create, &trash),
        at(Op::Write, &trash),
        at(Op::SyncFile, &trash),
        at(Op::Rename, &trash),
        positions(&calls, Op::SyncDir, |path| path == trash)[0],
        at(Op::Unlink, &here.mail),
    ];
    assert!(order.is_sorted(), "{order:?} of {calls:?}");
    assert_eq!(here.trash(), ["alpha"]);
}

#[test]
fn a_bundle_that_is_imported_again_changes_nothing_on_disk() {
    for layouts in [(MaildirPlusPlus, Fs), (Fs, MaildirPlusPlus)] {
        let dir = scratch();
        let (there, here, bundle) = pair(dir.path(), layouts, &["INBOX alpha S", "Archive beta S"]);
        there.act("deliver INBOX gamma new");
        there.act("remove Archive beta");
        there.export(&here, &bundle);
        here.import(&bundle);
        rest();
        let watch = Watch::new(&dir.path().join("keep"));
        for _ in 0..2 {
            let replica = here.open(watch.disk()).unwrap();
            let (_, imported) = import(&replica, &bundle).unwrap();
            assert!(matches!(imported[0].outcome, mailsync::replica::ImportOutcome::NothingNew));
            let calls = watch.take();
            assert!(changes(&calls).is_empty(), "{calls:?}");
        }
    }
}

#[test]
fn a_dry_run_changes_nothing_on_disk() {
    let dir = scratch();
    let (there, here, bundle) = pair(dir.path(), (Fs, Fs), &["INBOX alpha S", "Old beta S"]);
    for what in ["deliver New/folder gamma new", "remove INBOX alpha", "rmdir Old"] {
        there.act(what);
    }
    there.export(&here, &bundle);
    let watch = Watch::new(&dir.path().join("keep"));
    let replica = here.open(watch.disk()).unwrap();
    let options = mailsync::replica::ImportOptions { dry_run: DryRun::Yes, ..Default::default() };
    replica.scan_before_import(&options).unwrap();
    replica.import_file(&bundle, &options, |_| {}).unwrap();
    let calls = watch.take();
    assert!(changes(&calls).is_empty(), "{calls:?}");
}

#[test]
fn the_real_binary_reads_no_mail_folder_that_has_not_changed() {
    if Command::new("strace").arg("-V").output().is_err() {
        println!("skipped: there is no strace");
        return;
    }
    for layout in [MaildirPlusPlus, Fs] {
        let dir = scratch();
        let (party, _) = settled(dir.path(), layout, 30);
        let log = dir.path().join("strace");
        let output = Command::new("strace")
            .args(["-f", "-y", "-e", "trace=getdents,getdents64,open,openat,openat2", "-o"])
            .arg(&log)
            .arg(MAILSYNC)
            .env_remove("MAILSYNC_HOME")
            .arg("--home")
            .arg(party.home.state_dir())
            .arg("scan")
            .output()
            .unwrap();
        let text = fs::read_to_string(&log).unwrap_or_default();
        if !text.contains("state.db") {
            println!("skipped: strace doesn't work here: {}", String::from_utf8_lossy(&output.stderr));
            return;
        }
        assert!(output.status.success(), "{output:?}");
        let mail = party.mail.to_str().unwrap();
        let touched: Vec<&str> = text.lines().filter(|line| line.contains(mail)).collect();
        assert!(touched.is_empty(), "{layout:?}: {touched:#?}");
    }
}
