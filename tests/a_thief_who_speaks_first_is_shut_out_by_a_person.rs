//! A thief who calls the owner's machines stolen, before the owner has said so of the thief's, is believed by whoever hears that
//! first: nobody can tell by signatures which is right. What is refused by that says so, and a person decides.

use std::fs;

use serde_json::Value;

use crate::a_lost_machine_is_shut_out::{mesh, moment};
use crate::support::machine::{Machine, make_peers, pass};
use crate::support::programs::Ran;
use crate::support::{scratch, text};

/// The command that a refusal gives in backquotes and that begins so, as arguments.
fn command_in(said: &str, begins: &str) -> Vec<String> {
    let command = said.split('`').find(|part| part.starts_with(begins)).unwrap_or_else(|| panic!("{begins}: {said}"));
    let (words, since) = command.split_once(" --since ").unwrap_or_else(|| panic!("{command}"));
    let words = words.split(' ').skip(1).map(String::from);
    words.chain([String::from("--since"), since.trim_matches('"').to_owned()]).collect()
}

fn run_all(machine: &Machine, command: &[String]) -> Ran {
    machine.ok(&command.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn a_refused_bundle_that_revokes_the_one_by_whose_word_it_is_refused_says_so_and_what_to_run() {
    let dir = scratch();
    let [server, desktop, laptop] = mesh(dir.path(), ["server", "desktop", "laptop"]);
    let theft = moment();
    laptop.ok(&["peer", "revoke", "desktop"]);
    pass(&laptop, &server);
    // Until the owner has said anything, the bundle is an honest one like any other.
    desktop.deliver("secret");
    let before = desktop.ok(&["export", "--to", "server"]).stdout;
    let words =
        ["desktop was revoked by laptop at", ", as of ", "a thief can revoke, too", "if laptop is in other hands"];
    let refused = server.refuses(&["import"], &before, 4, &words);
    assert!(!refused.stderr.contains("says in this bundle"), "{}", refused.stderr);

    desktop.ok(&["peer", "revoke", "laptop", "--since", &theft, "--reason", "left on the train"]);
    let says = "desktop says in this bundle that laptop was revoked (as of ";
    let words = [&words[..], &[says, "\"left on the train\"", "`mailsync peer reinstate desktop`"]].concat();
    let bundle = desktop.ok(&["export", "--to", "server"]).stdout;
    server.refuses(&["import"], &bundle, 4, &words);
    let file = dir.path().join("by-file.zst");
    fs::write(&file, &bundle).unwrap();
    server.refuses(&["import", text(&file)], &[], 4, &words);
    // For one machine and for all, encrypted or not, in one file behind another one.
    for (n, export) in [&["--to", "server", "--plain"][..], &["--to", "server", "--encrypt"], &[]].iter().enumerate() {
        let stick = dir.path().join(format!("stick-{n}"));
        fs::create_dir(&stick).unwrap();
        if n == 0 {
            fs::write(stick.join("desktop-server-1.zst"), [&before[..], &bundle].concat()).unwrap();
        } else {
            desktop.ok(&[&["export", "-o", text(&stick)][..], export].concat());
        }
        let said = server.fails(&["import", text(&stick)], 4);
        assert!(words.iter().all(|word| said.contains(word)), "{n}: {said}");
    }
    // Over ssh it is the far side that refuses, and the line is marked.
    desktop.reach(&server);
    let called = desktop.run(&["update"]);
    assert!(called.code != 0, "{called:?}");
    let marked = called.stderr.lines().find(|line| line.contains(says)).unwrap_or_else(|| panic!("{called:?}"));
    assert!(marked.starts_with("server: ") && words.iter().all(|word| marked.contains(word)), "{marked}");
    let not_sent = server.fails(&["export", "--to", "desktop"], 4);
    assert!(
        not_sent.contains("nothing is sent to it") && not_sent.contains("peer revoke laptop --since"),
        "{not_sent}"
    );

    // A person at the server does as the refusal says: the thief's word ends, and the desktop is taken again.
    let refused = server.run_with(&["import"], &bundle).stderr;
    run_all(&server, &command_in(&refused, "mailsync peer revoke laptop"));
    pass(&desktop, &server);
    assert!(server.has("secret"));
    let thiefs = laptop.ok(&["export", "--to", "server"]).stdout;
    server.refuses(&["import"], &thiefs, 4, &["laptop was revoked by this replica"]);
    let quiet = server.ok(&["scan"]).stderr;
    assert!(!quiet.contains("REVOKED"), "{quiet}");
    // The desktop may be the stolen one all the same: then it is refused whatever it says.
    server.ok(&["peer", "revoke", "desktop"]);
    server.refuses(&["import"], &bundle, 4, &["desktop was revoked by this replica"]);
}

#[test]
fn the_time_that_a_refusal_gives_is_from_before_the_thief_spoke_whenever_the_owner_did() {
    let dir = scratch();
    let [server, desktop, laptop] = mesh(dir.path(), ["server", "desktop", "laptop"]);
    laptop.ok(&["peer", "revoke", "desktop"]);
    pass(&laptop, &server);
    // A day later, and without a time: what laptop had said by then would count.
    let _ = moment();
    desktop.ok(&["peer", "revoke", "laptop"]);
    desktop.deliver("secret");
    let bundle = desktop.ok(&["export", "--to", "server"]).stdout;
    let refused = server.run_with(&["import"], &bundle).stderr;
    run_all(&server, &command_in(&refused, "mailsync peer revoke laptop"));
    pass(&desktop, &server);
    assert!(server.has("secret"));
}

fn revoked(machine: &Machine, args: &[&str]) -> Value {
    machine.ok(&[&["peer", "revoke", "laptop", "--json"][..], args].concat()).json()
}

#[test]
fn who_revokes_what_others_have_revoked_takes_their_time_and_keeps_the_reason_once_given() {
    let dir = scratch();
    let [server, desktop, _laptop] = mesh(dir.path(), ["server", "desktop", "laptop"]);
    let early = "2026-01-02T03:04:05Z";
    desktop.ok(&["peer", "revoke", "laptop", "--since", early, "--reason", "left on the train"]);
    pass(&desktop, &server);
    let said = revoked(&server, &[]);
    assert_eq!((&said["taken_over"], &said["kept"]), (&true.into(), &false.into()), "{said}");
    assert_eq!(said["since"], said["revoked"]["since"], "{said}");
    assert!(said["since"].as_str().unwrap().starts_with("2026-01-02T03:04:05"), "{said}");
    // Said again, it is what was said here, and so is the reason.
    let again = revoked(&server, &["--reason", "stolen"]);
    assert_eq!((&again["taken_over"], &again["kept"]), (&false.into(), &true.into()), "{again}");
    for args in [&[][..], &["--keep"], &["--since", "2026-01-01T00:00:00Z"]] {
        revoked(&server, args);
        let listed = server.ok(&["peer", "list"]);
        assert!(listed.words().contains("\"stolen\""), "{args:?}: {}", listed.text());
    }
    revoked(&server, &["--reason", "taken from the car"]);
    let listed = server.ok(&["peer", "list"]);
    assert!(!listed.words().contains("\"stolen\"") && listed.words().contains("\"taken from the car\""));

    // For people.
    let dir = scratch();
    let [server, desktop, _laptop] = mesh(dir.path(), ["server", "desktop", "laptop"]);
    desktop.ok(&["peer", "revoke", "laptop", "--since", early]);
    pass(&desktop, &server);
    let said = server.ok(&["peer", "revoke", "laptop"]).stderr;
    assert!(said.contains("that is the earliest time that others have given"), "{said}");
    assert!(!said.contains("say since when"), "{said}");
}

#[test]
fn who_got_no_bundle_of_a_machine_since_it_was_stolen_is_told_where_else_to_say_so() {
    let dir = scratch();
    let [server, desktop, laptop] = mesh(dir.path(), ["server", "desktop", "laptop"]);
    let theft = moment();
    laptop.deliver("forged");
    pass(&laptop, &server);
    let words = "no bundle from laptop came here since then";
    let said = desktop.ok(&["peer", "revoke", "laptop", "--since", &theft]).stderr;
    assert!(said.contains(words) && said.contains("where its bundles came last"), "{said}");
    let said = server.ok(&["peer", "revoke", "laptop", "--since", &theft]).stderr;
    assert!(!said.contains(words), "{said}");
    // Once the server's word has come, the desktop has what the server knows.
    pass(&server, &desktop);
    assert_eq!(revoked(&desktop, &[])["heard_since"], true);
    // Without a time nothing can have come since.
    let said = desktop.ok(&["peer", "revoke", "server"]).stderr;
    assert!(!said.contains("came here since then"), "{said}");
}

#[test]
fn a_revoked_peer_that_is_removed_is_said_to_stay_revoked() {
    let dir = scratch();
    let [desktop, laptop] = mesh(dir.path(), ["desktop", "laptop"]);
    let tablet = Machine::replica(dir.path(), "tablet");
    make_peers(&desktop, &tablet);
    desktop.ok(&["peer", "revoke", "laptop"]);
    let said = desktop.ok(&["peer", "remove", "laptop"]).stderr;
    assert!(said.contains("stays revoked") && !said.contains("by other machines they are"), "{said}");
    let said = desktop.ok(&["peer", "remove", "tablet"]).stderr;
    assert!(said.contains("by other machines they are"), "{said}");
    desktop.refuses(
        &["import"],
        &laptop.ok(&["export", "--to", "desktop"]).stdout,
        4,
        &["was revoked by this replica"],
    );
}

#[test]
fn a_second_answer_to_an_invitation_is_told_once_in_a_directory() {
    let dir = scratch();
    let desktop = Machine::replica(dir.path(), "desktop");
    let invitation = desktop.ok(&["invite", "laptop"]).stdout;
    let stick = dir.path().join("stick");
    fs::create_dir(&stick).unwrap();
    for name in ["first", "second"] {
        let machine = Machine::new(dir.path(), name);
        let joined = machine.run_with(&["join", text(&machine.mail), "-"], &invitation);
        assert_eq!(joined.code, 0, "{}", joined.stderr);
        machine.deliver(name);
        machine.ok(&["export", "-o", text(&stick), "--to", "desktop", "--plain"]);
        let ran = desktop.run(&["import", text(&stick)]);
        assert_eq!(ran.code, if name == "first" { 0 } else { 4 }, "{}", ran.stderr);
        assert_eq!(ran.stderr.contains("used before by"), name == "second", "{}", ran.stderr);
    }
    assert!(desktop.has("first") && !desktop.has("second"));
    let again = desktop.ok(&["import", text(&stick)]).stderr;
    assert!(!again.contains("used before by") && again.contains("passed over"), "{again}");
    assert_eq!(fs::read_dir(&stick).unwrap().count(), 2, "nothing is removed");
    // It is looked at again when others are known.
    desktop.ok(&["peer", "remove", "laptop"]);
    let told = desktop.run(&["import", text(&stick)]);
    assert!(told.code == 4 && told.stderr.contains("used before by"), "{told:?}");
}
