//! Programs set the times of directories back, as `rsync -a`, `cp -a` and `tar` do. What came or went meanwhile is found
//! all the same.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use crate::support::machine::{Machine, counts};
use crate::support::programs::{find, run};
use crate::support::{make_folder, rest, scratch, text};

/// Does something to a directory, and then sets its time back.
fn unseen(dir: &Path, act: impl FnOnce()) {
    let before = fs::metadata(dir).unwrap().modified().unwrap();
    act();
    File::open(dir).unwrap().set_modified(before).unwrap();
    assert_eq!(fs::metadata(dir).unwrap().modified().unwrap(), before);
}

#[test]
fn whatever_changes_in_a_directory_is_found() {
    let dir = scratch();
    let desktop = Machine::new(dir.path(), "desktop");
    make_folder(&desktop.mail);
    for layout in ["maildir++", "fs"] {
        let desktop = Machine { home: dir.path().join(layout), ..desktop.clone() };
        // The other layout's replica has had the same mail root.
        desktop.ok(&["init", text(&desktop.mail), "--name", "desktop", "--layout", layout, "--anyway"]);
        desktop.put("INBOX", "cur/first:2,S", format!("first {layout}"), 1);
        desktop.put("INBOX", "cur/second:2,S", format!("second {layout}"), 1);
        let at_rest = || {
            rest();
            desktop.ok(&["scan"]);
            rest();
            assert_eq!(desktop.ok(&["scan", "--json"]).json()["folders_read"], 0);
        };
        let cur = desktop.mail.join("cur");
        let scanned = || counts(&desktop.ok(&["scan", "--json"]).json());
        at_rest();
        unseen(&cur, || fs::write(cur.join("third:2,S"), format!("third {layout}")).unwrap());
        assert_eq!(scanned(), [1, 0, 0, 0]);
        at_rest();
        unseen(&cur, || fs::rename(cur.join("first:2,S"), cur.join("first:2,FS")).unwrap());
        assert_eq!(scanned(), [0, 0, 1, 0]);
        at_rest();
        unseen(&cur, || fs::remove_file(cur.join("second:2,S")).unwrap());
        assert_eq!(scanned(), [0, 0, 0, 1]);
        at_rest();
        unseen(&desktop.mail, || {
            make_folder(&desktop.dir("Fresh"));
            fs::write(desktop.dir("Fresh").join("cur/1:2,"), format!("fresh {layout}")).unwrap();
        });
        assert_eq!(scanned(), [1, 0, 0, 0]);
        at_rest();
        unseen(&desktop.mail, || fs::remove_dir_all(desktop.dir("Fresh")).unwrap());
        assert_eq!(scanned(), [0, 0, 0, 1]);
        for item in fs::read_dir(&cur).unwrap() {
            fs::remove_file(item.unwrap().path()).unwrap();
        }
    }
}

#[test]
fn mail_that_came_between_two_runs_of_rsync_is_found() {
    let Some(rsync) = find("rsync") else { return };
    let dir = scratch();
    let source = dir.path().join("source");
    make_folder(&source);
    fs::write(source.join("cur/1.x:2,S"), "from the server").unwrap();
    let desktop = Machine::new(dir.path(), "desktop");
    make_folder(&desktop.mail);
    desktop.init();
    let pull = || {
        rest();
        let ran = run(Command::new(&rsync).arg("-a").arg(format!("{}/", source.display())).arg(&desktop.mail));
        assert_eq!(ran.code, 0, "{ran:?}");
    };
    pull();
    rest();
    desktop.ok(&["scan"]);
    desktop.deliver("local");
    pull();
    assert_eq!(counts(&desktop.ok(&["scan", "--json"]).json()), [1, 0, 0, 0]);
}
