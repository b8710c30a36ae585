//! A bundle that is exported without a name is for the peers that there are. A machine that was invited and has not answered is
//! none yet: nothing can be encrypted for it, and whoever exports is told that.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::support::machine::{Machine, make_peers, pair};
use crate::support::{names, scratch, text};

fn stick(dir: &Path) -> PathBuf {
    let stick = dir.join("stick");
    fs::create_dir(&stick).unwrap();
    stick
}

/// Lets the time run out for which the answer to an invitation is accepted.
fn let_expire(inviter: &Machine, name: &str) {
    let state = Connection::open(inviter.home.join("state.db")).unwrap();
    assert_eq!(state.execute("UPDATE invitation SET expires = 1 WHERE name = ?", (name,)).unwrap(), 1);
}

#[test]
fn beside_an_open_invitation_a_bundle_is_for_the_only_peer_and_goes_when_that_has_it() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let stick = stick(dir.path());
    desktop.ok(&["invite", "tablet", "-o", text(&dir.path().join("tablet.zst.age"))]);
    desktop.deliver("one");
    let planned = desktop.ok(&["export", "-n", "-o", text(&stick)]).stderr;
    let said = desktop.ok(&["export", "-o", text(&stick)]).stderr;
    for said in [planned, said] {
        assert!(said.contains("note: this is for laptop, and not for tablet, which was invited"), "{said}");
        assert!(said.contains("its key isn't known here: import its first bundle here"), "{said}");
    }
    assert_eq!(names(&stick), ["desktop-laptop-2.zst.age"]);
    laptop.ok(&["import", "--consume", text(&stick)]);
    assert!(laptop.has("one") && names(&stick).is_empty());
    // Into a pipe or a file of the shell's it goes as well.
    let piped = desktop.ok(&["export"]);
    assert!(piped.stderr.contains("this is for laptop, and not for tablet"), "{}", piped.stderr);
    assert_eq!(laptop.run_with(&["import"], &piped.stdout).code, 0);
    // Whom it is for was said by the person: there is nothing to tell.
    assert!(!desktop.ok(&["export", "--to", "laptop"]).stderr.contains("note:"));
    // Once it has run out, nobody waits for it.
    let_expire(&desktop, "tablet");
    let said = desktop.ok(&["export", "-o", text(&stick)]).stderr;
    assert!(said.contains("for laptop") && !said.contains("tablet"), "{said}");
}

#[test]
fn beside_several_peers_it_is_for_all_of_these_and_those_invited_keep_it_from_nobody() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let server = Machine::replica(dir.path(), "server");
    make_peers(&desktop, &server);
    let stick = stick(dir.path());
    for name in ["phone", "tablet"] {
        desktop.ok(&["invite", name, "-o", text(&dir.path().join(name))]);
    }
    for machine in [&laptop, &server] {
        let bundle = machine.ok(&["export", "--to", "desktop"]).stdout;
        assert_eq!(desktop.run_with(&["import"], &bundle).code, 0);
    }
    for subject in ["one", "two"] {
        desktop.deliver(subject);
        let said = desktop.ok(&["export", "-o", text(&stick)]).stderr;
        let note = "note: this is for laptop, server, and not for phone, tablet, which were invited";
        assert!(said.contains(note) && said.contains("encrypted for laptop, server and this replica"), "{said}");
    }
    assert_eq!(names(&stick), ["desktop-any-3.zst.age", "desktop-any-4.zst.age"]);
    // The later one holds all of the first, and both peers can take it: then the first has done its service.
    for machine in [&laptop, &server] {
        machine.ok(&["import", text(&stick)]);
        let bundle = machine.ok(&["export", "--to", "desktop"]).stdout;
        assert_eq!(desktop.run_with(&["import"], &bundle).code, 0);
    }
    desktop.ok(&["import", "--consume", text(&stick)]);
    assert_eq!(names(&stick), ["desktop-any-4.zst.age"]);
}

#[test]
fn where_nobody_has_answered_nothing_is_encrypted_for_nobody() {
    let dir = scratch();
    let desktop = Machine::replica(dir.path(), "desktop");
    desktop.deliver("one");
    desktop.ok(&["scan"]);
    let stick = stick(dir.path());
    let export = ["export", "-o", text(&stick)];
    desktop.refuses(&export, b"", 1, &["this replica has no peer", "mailsync invite NAME"]);
    desktop.ok(&["invite", "tablet", "-o", text(&dir.path().join("tablet"))]);
    let words = ["tablet was invited and has not answered, so its key is not known here", "import its first bundle"];
    desktop.refuses(&export, b"", 6, &words);
    desktop.ok(&["invite", "phone", "-o", text(&dir.path().join("phone"))]);
    let words = ["phone, tablet were invited and have not answered, so their keys are not known here", "--plain"];
    desktop.refuses(&export, b"", 6, &words);
    assert!(names(&stick).is_empty());
    let said = desktop.ok(&["export", "--plain", "-o", text(&stick)]).stderr;
    assert!(!said.contains("and not for"), "{said}");
    assert_eq!(names(&stick).len(), 1);
    for name in ["phone", "tablet"] {
        let_expire(&desktop, name);
    }
    let words =
        ["this replica has no peer: nobody has answered the invitation of phone, tablet", "`mailsync invite phone`"];
    desktop.refuses(&export, b"", 1, &words);
}
