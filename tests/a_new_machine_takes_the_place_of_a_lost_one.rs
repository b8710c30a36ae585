//! A new machine takes the place of one that was lost, often under the same name. Whoever names one of them is told which one that
//! is, and by what the other one is named.

use crate::a_lost_machine_is_shut_out::mesh;
use crate::support::machine::{Machine, exchange, make_peers, message, pair, pass};
use crate::support::programs::Ran;
use crate::support::{make_folder, scratch, text};

/// A server and a laptop that was stolen: it has removed a message, and flagged another one. The server has revoked it. With its id.
fn robbed(dir: &std::path::Path) -> (Machine, Machine, String) {
    let [server, desktop, laptop] = mesh(dir, ["server", "desktop", "laptop"]);
    laptop.remove("wanted");
    laptop.flag("read", "FS");
    pass(&laptop, &server);
    server.ok(&["peer", "revoke", "laptop", "--since", "1h"]);
    let id = laptop.public_key().id().to_string();
    (server, desktop, id)
}

/// What people were told, on one line.
fn told(ran: &Ran) -> String {
    ran.stderr.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The commands that take a name of somebody who has done something.
const BY: [&[&str]; 5] = [
    &["trash", "restore", "--dry-run", "--by", "laptop"],
    &["trash", "list", "--by", "laptop"],
    &["undo", "--dry-run", "--since", "1h", "--by", "laptop"],
    &["log", "--folder", "INBOX", "--peer", "laptop"],
    &["peer", "revoke", "laptop", "--keep"],
];

#[test]
fn one_that_is_invited_under_the_old_name_is_not_taken_for_the_old_one() {
    let dir = scratch();
    let (server, _desktop, id) = robbed(dir.path());
    server.ok(&["peer", "remove", "laptop"]);
    let list = server.ok(&["peer", "list"]).words();
    assert!(list.contains(&format!("laptop, as it was called here ({id})")), "{list}");
    let given = format!("who had that name here before has the id {id}: give that in the place of the name");
    // Before it is invited, and after.
    for what in ["there is no peer called laptop", "laptop is invited and has not answered yet"] {
        for args in BY {
            let ran = server.run(args);
            let said = told(&ran);
            assert!(ran.code == 2 && said.contains(what) && said.contains(&given), "{args:?}: {said}");
            assert!(!said.contains("did you mean laptop"), "{args:?}: {said}");
        }
        server.ok(&["invite", "laptop", "--plain", "--force", "-o", text(&dir.path().join("invitation"))]);
    }
    let back = told(&server.ok(&["trash", "restore", "--by", &id]));
    assert!(back.contains("is back in INBOX"), "{back}");
    // Nobody has borne this name.
    server.ok(&["invite", "phone", "--plain", "-o", text(&dir.path().join("another"))]);
    let said = told(&server.run(&["trash", "restore", "--by", "phone"]));
    assert!(said.contains("phone is invited and has not answered yet") && !said.contains("before has"), "{said}");
}

#[test]
fn once_a_new_machine_has_the_name_a_note_says_which_one_is_meant() {
    let dir = scratch();
    let (server, _desktop, id) = robbed(dir.path());
    server.ok(&["peer", "remove", "laptop"]);
    let file = dir.path().join("invitation");
    server.ok(&["invite", "laptop", "--plain", "-o", text(&file)]);
    let new = Machine { name: String::from("laptop"), ..Machine::new(dir.path(), "new-laptop") };
    new.ok(&["join", text(&new.mail), text(&file)]);
    pass(&new, &server);
    let note = |ran: &Ran| {
        told(ran).contains(&format!(
            "note: laptop is the machine whose id is {}; the one that was revoked under that name is {id}: for that one, give the id in \
             the place of laptop",
            new.public_key().id()
        ))
    };
    for args in &BY[..4] {
        let ran = server.run(args);
        assert!(note(&ran), "{args:?}: {ran:?}");
    }
    // One sentence says that nothing is back.
    let ran = server.run(BY[0]);
    let sentences: Vec<_> = ran.stderr.lines().filter(|line| line.contains("nothing")).collect();
    assert!(ran.code == 1 && sentences.len() == 1, "{ran:?}");
    assert!(
        told(&ran).contains("nothing of that is in the trash; `mailsync trash list` shows what there is"),
        "{ran:?}"
    );
    let ran = server.ok(&["trash", "restore", "--dry-run", "--by", &id]);
    assert!(!note(&ran) && told(&ran).contains("would be back in INBOX"), "{ran:?}");
}

#[test]
fn who_revokes_the_only_machine_that_it_knows_is_told_how_the_others_are_to_hear_of_it() {
    let dir = scratch();
    let (tablet, hub) = pair(dir.path());
    let said = told(&tablet.ok(&["peer", "revoke", &hub.name]));
    assert!(
        said.contains("no other machine is known here any more, so none hears of it")
            && !said.contains("mailsync update")
    );
    for way in ["mailsync peer add NAME --key KEY", "mailsync key show", "mailsync invite NAME"] {
        assert!(said.contains(way), "{way}: {said}");
    }
    make_peers(&tablet, &Machine::replica(dir.path(), "phone"));
    let said = told(&tablet.ok(&["peer", "revoke", &hub.name]));
    assert!(
        said.contains("for the other machines, which hear of it by that") && !said.contains("any more, so"),
        "{said}"
    );
}

#[test]
fn one_who_is_nobody_here_and_has_revoked_another_one_is_shown_by_how_its_id_begins() {
    let dir = scratch();
    let [server, desktop, laptop] = mesh(dir.path(), ["server", "desktop", "laptop"]);
    let phone = Machine::replica(dir.path(), "phone");
    make_peers(&server, &phone);
    exchange(&server, &phone);
    make_peers(&laptop, &phone);
    exchange(&laptop, &phone);
    desktop.ok(&["peer", "revoke", "laptop"]);
    pass(&desktop, &server);
    let heard = told(&pass(&server, &phone));
    let by = desktop.public_key().id().to_string();
    let short = format!("{}\u{2026}", &by[..19]);
    assert!(heard.contains(&format!("WAS REVOKED by {short} (as server has brought here)")), "{heard}");
    phone.ok(&["peer", "remove", "laptop"]);
    let list = phone.ok(&["peer", "list"]).words();
    assert!(list.contains(&format!("laptop, as {short} calls it (SHA256:")), "{list}");
    assert!(list.contains(&format!("by {short} (as server has brought here)")) && !list.contains(&by), "{list}");
}

/// Puts a message into the INBOX of a machine that is no replica yet.
fn there_before(machine: &Machine, name: &str, subject: &str) {
    make_folder(&machine.mail);
    std::fs::write(machine.mail.join(format!("cur/{name}:2,S")), message(subject)).unwrap();
}

#[test]
fn mail_that_is_there_before_a_join_is_said_to_go_to_all_other_machines() {
    let dir = scratch();
    let desktop = Machine::replica(dir.path(), "desktop");
    desktop.deliver("same");
    desktop.deliver("moved");
    desktop.deliver("moved back");
    desktop.move_to("moved", "Work");
    let file = dir.path().join("invitation");
    for (name, found, words) in [
        ("none", &["same"][..], "1 message that desktop has in the same folder, and 0 others"),
        (
            "one",
            &["moved"],
            "0 messages that desktop has in the same folder, and 1 other, which goes to all other machines; desktop \
         has its contents in another folder, and it will be in both",
        ),
        (
            "more",
            &["same", "moved", "finder's", "own"],
            "1 message that desktop has in the same folder, and 3 others, which go to all \
         other machines; desktop has the contents of 1 of these in another folder, and it will be in both",
        ),
    ] {
        let old = Machine::new(dir.path(), name);
        for subject in found {
            there_before(&old, subject, subject);
        }
        // What is there twice itself is nobody else's.
        if name == "more" {
            there_before(&old, "again", "own");
        }
        let words = if name == "more" { words.replace("3 others", "4 others") } else { words.to_owned() };
        desktop.ok(&["invite", name, "--plain", "-o", text(&file), "--force"]);
        let ran = old.ok(&["join", text(&old.mail), text(&file), "--layout", "maildir++"]);
        let said = told(&ran);
        assert!(said.contains(&format!("in the mail root: {words} mailsync: next")), "{name}: {said}");
    }
    let old = Machine::new(dir.path(), "in-json");
    there_before(&old, "moved", "moved");
    there_before(&old, "own", "own");
    desktop.ok(&["invite", "in-json", "--plain", "-o", text(&file), "--force"]);
    let report = old.ok(&["join", text(&old.mail), text(&file), "--json"]).json();
    assert_eq!((&report["scan"]["new"], &report["elsewhere"]), (&2.into(), &1.into()), "{report}");
}
