//! Whoever has a stolen machine can make its changes under another name than that machine's: by a copy that sends nothing itself,
//! or by a machine that it has invited. What only the stolen one has told of is laid to it, by all who hear that it was revoked. So
//! isn't what an honest machine answers for by a bundle of its own.

use std::path::Path;

use crate::a_lost_machine_is_shut_out::{mesh, moment};
use crate::support::machine::{Machine, assert_same, exchange, make_peers, pass};
use crate::support::{copy, scratch};

/// A copy of the laptop, at which the thief sits. It has an incarnation of its own.
fn steal(dir: &Path, from: &Machine, name: &str) -> Machine {
    let mail = dir.join(format!("{name}-mail"));
    let stolen = Machine { name: String::from("laptop"), mail, home: dir.join(name) };
    copy(&from.mail, &stolen.mail);
    copy(&from.home, &stolen.home);
    let file = stolen.home.join("config.toml");
    let config = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, config.replace(from.mail.to_str().unwrap(), stolen.mail.to_str().unwrap())).unwrap();
    stolen.ok(&["doctor", "--moved-root"]);
    stolen
}

fn ravage(machine: &Machine) {
    machine.remove("wanted");
    machine.flag("read", "FS");
    machine.move_to("filed", "Spoils");
    machine.deliver("forged");
    machine.ok(&["scan"]);
}

/// What such a command says of the laptop's doings. It ends with 1 if there is nothing.
fn by(machine: &Machine, command: &[&str], since: &str) -> String {
    let ran = machine.run(&[command, &["--by", "laptop", "--since", since]].concat());
    assert_eq!(ran.code, i32::from(ran.stderr.contains("nothing since then")), "{command:?}: {}", ran.stderr);
    ran.stderr
}

/// What the machine holds is what there was before the theft, and those besides that the thief has put in.
fn holds_all(machine: &Machine, before: &Machine, forged: &[&str]) {
    let mut mail = machine.mailbox();
    for subject in forged {
        let digest = mailsync::model::Digest::of(crate::support::machine::message(subject).as_bytes());
        assert!(mail.remove(&digest).is_some(), "{subject} on {}", machine.name);
    }
    assert_same(&mail, &before.mailbox(), &machine.name);
}

#[test]
fn what_a_copy_did_that_sends_nothing_itself_is_laid_to_the_stolen_machine() {
    let dir = scratch();
    let [server, desktop, tablet, laptop] = mesh(dir.path(), ["server", "desktop", "tablet", "laptop"]);
    let theft = moment();
    let first = steal(dir.path(), &laptop, "first");
    ravage(&first);
    let second = steal(dir.path(), &first, "second");
    pass(&second, &server);
    pass(&server, &desktop);
    assert!(!server.has("wanted") && desktop.has("forged"));

    // One bundle brings both the revocation and what was done: the tablet takes none of it.
    server.ok(&["peer", "revoke", "laptop", "--since", &theft]);
    let told = pass(&server, &tablet).stderr;
    let words = "1 message that laptop has brought, and what laptop has changed of 3 other messages are passed over";
    assert!(told.contains(words), "{told}");
    holds_all(&tablet, &laptop, &[]);

    // Who has taken it can tell whose it is, and takes it back.
    pass(&server, &desktop);
    for machine in [&server, &desktop] {
        assert!(by(machine, &["trash", "restore", "--dry-run"], &theft).contains("would be back in INBOX"));
        let log = String::from_utf8(machine.ok(&["log", "--removed"]).stdout).unwrap();
        assert!(log.contains("by laptop") && !log.contains("not known here"), "{log}");
        for (command, words) in [(&["trash", "restore"][..], "back in INBOX"), (&["undo"], "1 move, 1 change of flags")]
        {
            let said = by(machine, command, &theft);
            assert!(said.contains(words) && !said.contains("unknown here"), "{command:?}: {said}");
        }
        holds_all(machine, &laptop, &["forged"]);
    }
    for (one, other) in [(&server, &desktop), (&desktop, &tablet), (&server, &tablet)] {
        exchange(one, other);
    }
    holds_all(&tablet, &laptop, &[]);
}

#[test]
fn what_a_machine_did_that_the_thief_has_invited_is_laid_to_the_stolen_one() {
    let dir = scratch();
    let [server, desktop, laptop] = mesh(dir.path(), ["server", "desktop", "laptop"]);
    let theft = moment();
    let thief = steal(dir.path(), &laptop, "thief");
    let foo = Machine::new(dir.path(), "foo");
    let invitation = thief.ok(&["invite", "foo"]).stdout;
    assert_eq!(foo.run_with(&["join", foo.mail.to_str().unwrap(), "-"], &invitation).code, 0);
    ravage(&foo);
    pass(&foo, &thief);
    thief.remove("kept");
    pass(&thief, &server);
    // Until the laptop is revoked, nobody lays to it what only may be its own; but it is said, also if something else is its own.
    let said = by(&server, &["trash", "restore", "--dry-run"], &theft);
    let words = "besides, 1 message in the trash was removed by somebody unknown here, who may be it";
    assert!(said.contains("would be back in INBOX") && said.contains(words), "{said}");
    assert!(
        said.contains("`mailsync trash list --since TIME`") && said.contains("`mailsync trash restore --by ID`"),
        "{said}"
    );
    assert!(by(&server, &["trash", "list"], &theft).contains(words));
    let said = by(&server, &["undo", "--dry-run"], &theft);
    assert!(said.contains("has moved and flagged nothing since then"), "{said}");
    let words = "2 messages were moved or flagged since then by somebody unknown here, who may be it";
    assert!(said.contains(words) && said.contains("`mailsync undo --by ID --since TIME`"), "{said}");

    server.ok(&["peer", "revoke", "laptop", "--since", &theft]);
    pass(&server, &desktop);
    holds_all(&desktop, &laptop, &[]);
    let restored = by(&server, &["trash", "restore"], &theft);
    assert!(restored.contains("back: 2 ") && !restored.contains("unknown here"), "{restored}");
    let undone = by(&server, &["undo"], &theft);
    assert!(undone.contains("1 move, 1 change of flags") && !undone.contains("unknown here"), "{undone}");
    holds_all(&server, &laptop, &["forged"]);
}

#[test]
fn what_somebody_did_of_whom_only_others_have_told_is_taken_back_by_the_id_that_is_shown() {
    let dir = scratch();
    let [server, laptop] = mesh(dir.path(), ["server", "laptop"]);
    let (before, theft) = (server.mailbox(), moment());
    let foo = Machine::new(dir.path(), "foo");
    let invitation = laptop.ok(&["invite", "foo"]).stdout;
    assert_eq!(foo.run_with(&["join", foo.mail.to_str().unwrap(), "-"], &invitation).code, 0);
    ravage(&foo);
    pass(&foo, &laptop);
    laptop.remove("kept");
    pass(&laptop, &server);
    // The laptop isn't revoked: it may not be to blame.
    let list = server.ok(&["trash", "list"]).text().to_owned();
    let line = list.lines().find(|line| line.contains("wanted")).unwrap_or_else(|| panic!("{list}"));
    let shown = line.split_whitespace().nth(3).unwrap();
    assert!(shown.len() == 8 && shown.bytes().all(|byte| byte.is_ascii_hexdigit()), "{line}");
    let log = server.ok(&["log", "--folder", "Spoils"]).text().to_owned();
    let (_, id) = log.split_once("by a replica not known here (").unwrap_or_else(|| panic!("{log}"));
    let id = &id[..16];
    assert!(id.starts_with(shown), "{log}");
    assert!(server.ok(&["log", "--folder", "Spoils", "--peer", shown]).text().contains("Spoils"));
    // Only what that one has removed comes back.
    let said = server.ok(&["trash", "restore", "--by", shown, "--since", &theft]).stderr;
    assert!(said.contains("is back in INBOX") && !said.contains("unknown here"), "{said}");
    assert!(server.has("wanted") && !server.has("kept"));
    let said = server.ok(&["undo", "--by", id, "--since", &theft]).stderr;
    let words = format!("taken back of what a replica not known here ({id}) has done: 1 move, 1 change of flags");
    assert!(said.contains(&words) && !said.contains("unknown here"), "{said}");
    server.ok(&["trash", "restore", "--by", "laptop"]);
    server.remove("forged");
    assert_same(&server.mailbox(), &before, "server");
    server.refuses(&["undo", "--by", &id[..3], "--since", &theft], b"", 2, &["no peer called"]);
}

#[test]
fn an_honest_machine_that_the_thief_has_told_of_first_answers_for_itself() {
    let dir = scratch();
    let [server, desktop, laptop] = mesh(dir.path(), ["server", "desktop", "laptop"]);
    let theft = moment();
    // The phone is an honest machine that joined by the laptop, and the server hears of it from there first.
    let phone = Machine::new(dir.path(), "phone");
    let invitation = laptop.ok(&["invite", "phone"]).stdout;
    assert_eq!(phone.run_with(&["join", phone.mail.to_str().unwrap(), "-"], &invitation).code, 0);
    phone.deliver("early");
    pass(&phone, &laptop);
    pass(&laptop, &server);
    assert!(server.has("early"));
    server.ok(&["peer", "revoke", "laptop", "--since", &theft]);
    // With what it has joined the phone lays nothing to the laptop, though all of it came from there.
    let said = phone.ok(&["peer", "revoke", "laptop", "--since", &theft, "--json"]).json();
    assert_eq!(said["held"], 0, "{said}");

    for machine in [&server, &desktop] {
        make_peers(machine, &phone);
    }
    // The desktop hears that the phone's changes are the laptop's, and passes them over: nobody has answered for them yet.
    pass(&server, &desktop);
    assert!(!desktop.has("early"));
    // The first bundle of its own brings all of it, to each of the two.
    phone.deliver("late");
    phone.flag("read", "FS");
    for machine in [&server, &desktop] {
        pass(&phone, machine);
        assert_same(&machine.mailbox(), &phone.mailbox(), &machine.name);
    }
    // From then on the word of others is enough, and what the server says anew names the phone no more.
    phone.deliver("later");
    pass(&phone, &server);
    pass(&server, &desktop);
    assert!(desktop.has("later"));
    server.ok(&["peer", "revoke", "laptop"]);
    let said = by(&server, &["undo", "--dry-run"], &theft);
    assert!(said.contains("has moved and flagged nothing") && !said.contains("unknown here"), "{said}");
}
