//! A new machine begins with an invitation: whatever its mail root holds, and whatever becomes of bundles on their way
//! or of the join itself, it ends with the inviter's mail and its own, each message once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mailsync::model::Digest;
use mailsync::replica::{Home, JoinOptions, Replica, World};

use crate::support::corpus::Random;
use crate::support::disk::{Call, Fault, Watch};
use crate::support::machine::{Machine, assert_same, complains, make_peers, pass};
use crate::support::programs::{Ran, run, run_and_kill};
use crate::support::{copy, leftovers, make_folder, scratch, text};

/// A replica with this many messages in three folders.
fn inviter(dir: &Path, messages: u64) -> Machine {
    let machine = Machine::replica(dir, "desktop");
    let mut random = Random::new(3);
    for n in 0..messages {
        machine.put(folder(n), &format!("cur/{n}.host:2,S"), message(n, &mut random), 1_600_000_000 + n);
    }
    machine
}

fn folder(n: u64) -> &'static str {
    ["INBOX", "Archive/2019", "Sent"][usize::try_from(n % 3).unwrap()]
}

/// Lines that hardly shrink.
fn noise(lines: u64, random: &mut Random) -> String {
    let lines: Vec<String> = (0..lines).map(|_| format!("{:016x}{:016x}\n", random.any(), random.any())).collect();
    lines.concat()
}

/// A message of some kilobytes.
fn message(n: u64, random: &mut Random) -> String {
    format!("Subject: {n}\n\n{}", noise(n % 90, random))
}

/// An invitation in a file, without a code.
fn invite(from: &Machine, name: &str, file: &Path, options: &[&str]) -> PathBuf {
    let plain: &[&str] = if options.contains(&"--key") { &[] } else { &["--plain"] };
    from.ok(&[&["invite", name, "-o", text(file)], plain, options].concat());
    file.to_owned()
}

fn join(machine: &Machine, bundle: &Path) -> Ran {
    machine.ok(&["join", text(&machine.mail), text(bundle)])
}

fn try_join(machine: &Machine, bundle: &Path) -> Ran {
    machine.run(&["join", text(&machine.mail), text(bundle)])
}

/// Carries a bundle from one machine to another that calls it by another name.
fn send(from: &Machine, to: &Machine) -> Ran {
    let bundle = from.ok(&["export"]).stdout;
    to.run_with(&["import"], &bundle)
}

#[track_caller]
fn expect_same(one: &Machine, other: &Machine, when: &str) {
    assert_same(&one.mailbox(), &other.mailbox(), when);
    let folders = |machine: &Machine| {
        let mut folders = machine.folders();
        folders.sort();
        folders
    };
    assert_eq!(folders(one), folders(other), "{when}");
}

/// What was found in the mail root is known, and nothing is left to be done.
#[track_caller]
fn expect_at_rest(machine: &Machine, when: &str) {
    assert_eq!(leftovers(&machine.mail), Vec::<PathBuf>::new(), "{when}");
    machine.is_at_rest(when);
}

#[test]
fn a_new_machine_joins_onto_an_empty_mail_root_or_one_that_is_missing() {
    let dir = scratch();
    let desktop = inviter(dir.path(), 30);
    for (name, missing, messages) in [("laptop", false, 30), ("server", true, 31)] {
        let machine = Machine::new(dir.path(), name);
        if missing {
            fs::remove_dir(&machine.mail).unwrap();
        }
        let bundle = invite(&desktop, name, &dir.path().join(name).with_extension("zst"), &[]);
        let ran = machine.ok(&["--json", "join", text(&machine.mail), text(&bundle)]).json();
        assert_eq!(ran["replica"]["name"], name);
        assert_eq!(ran["inviter"]["name"], "desktop");
        assert_eq!(ran["bundles"][0]["new"], messages);
        expect_same(&machine, &desktop, name);
        expect_at_rest(&machine, name);
        // Nothing was exchanged yet but the invitation; the answer makes it a peer.
        assert_eq!(send(&machine, &desktop).code, 0);
        machine.put("INBOX", "new/later", format!("Subject: from {name}\n\n"), 1_700_000_000);
        pass(&machine, &desktop);
        pass(&desktop, &machine);
        expect_same(&machine, &desktop, name);
    }
    let peers = desktop.ok(&["peer", "list", "--json"]).json();
    assert_eq!(peers["invited"].as_array().unwrap().len(), 0);
    assert_eq!(peers["peers"].as_array().unwrap().len(), 2);
}

#[test]
fn an_invitation_comes_through_a_pipe_too() {
    let dir = scratch();
    let desktop = inviter(dir.path(), 5);
    let laptop = Machine::new(dir.path(), "laptop");
    let bundle = desktop.ok(&["invite", "laptop"]).stdout;
    let ran = laptop.run_with(&["join", text(&laptop.mail)], &bundle);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    expect_same(&laptop, &desktop, "piped");
}

#[test]
fn an_invitation_is_good_for_one_replica() {
    let dir = scratch();
    let desktop = inviter(dir.path(), 5);
    let (laptop, thief) = (Machine::new(dir.path(), "laptop"), Machine::new(dir.path(), "thief"));
    let bundle = invite(&desktop, "laptop", &dir.path().join("invitation"), &[]);
    join(&laptop, &bundle);
    join(&thief, &bundle);
    assert_eq!(send(&laptop, &desktop).code, 0);
    thief.put("INBOX", "new/spam", "Subject: spam\n\n", 1_700_000_000);
    let before = desktop.left();
    let late = thief.ok(&["export"]).stdout;
    let ran = desktop.run_with(&["import"], &late);
    complains(&ran, 4, &["used before", "peer add NAME"]);
    assert_eq!(desktop.left(), before);
    // The one that was accepted stays so, however often its first bundle comes.
    assert_eq!(send(&laptop, &desktop).code, 0);
    expect_same(&laptop, &desktop, "after the second");
    // Forgotten, it doesn't come back by itself.
    desktop.ok(&["peer", "remove", "laptop"]);
    desktop.refuses(&["import"], &laptop.ok(&["export"]).stdout, 4, &["unknown sender"]);
}

#[test]
fn of_an_invitation_that_was_lost_and_its_repetition_either_will_do() {
    for (round, which) in [0, 1].into_iter().enumerate() {
        let dir = scratch();
        let desktop = inviter(dir.path(), 12);
        let laptop = Machine::new(dir.path(), "laptop");
        let first = invite(&desktop, "laptop", &dir.path().join("first"), &[]);
        desktop.put("INBOX", "new/between", "Subject: between\n\n", 1_700_000_000);
        fs::remove_file(desktop.dir("INBOX").join("cur/0.host:2,S")).unwrap();
        let second = invite(&desktop, "laptop", &dir.path().join("second"), &[]);
        join(&laptop, [&first, &second][which]);
        // What the desktop now sends starts from what every invitation holds.
        let next = desktop.ok(&["export", "--to", "laptop"]).stdout;
        let ran = laptop.run_with(&["import"], &next);
        assert_eq!(ran.code, 0, "round {round}: {}", ran.stderr);
        expect_same(&laptop, &desktop, &format!("round {round}"));
        assert_eq!(send(&laptop, &desktop).code, 0);
        pass(&desktop, &laptop);
        expect_same(&laptop, &desktop, &format!("round {round}, answered"));
    }
}

#[test]
fn the_first_answer_may_be_lost() {
    let dir = scratch();
    let desktop = inviter(dir.path(), 6);
    let laptop = Machine::new(dir.path(), "laptop");
    join(&laptop, &invite(&desktop, "laptop", &dir.path().join("invitation"), &[]));
    let lost = laptop.ok(&["export"]).stdout;
    laptop.put("INBOX", "new/one", "Subject: one\n\n", 1_700_000_000);
    laptop.ok(&["export", "--since-last"]);
    laptop.put("INBOX", "new/two", "Subject: two\n\n", 1_700_000_001);
    assert_eq!(send(&laptop, &desktop).code, 0);
    expect_same(&laptop, &desktop, "after the second answer");
    // The lost one turns up after all.
    let late = desktop.run_with(&["import", "--json"], &lost);
    assert_eq!((late.code, late.json()["bundles"][0]["outcome"].as_str()), (0, Some("nothing-new")), "{}", late.stderr);
    pass(&desktop, &laptop);
    pass(&laptop, &desktop);
}

#[test]
fn an_invitation_of_somebody_else_than_expected_makes_nothing() {
    let dir = scratch();
    let (desktop, other) = (inviter(dir.path(), 4), Machine::replica(dir.path(), "other"));
    let laptop = Machine::new(dir.path(), "laptop");
    fs::remove_dir(&laptop.mail).unwrap();
    let bundle = invite(&desktop, "laptop", &dir.path().join("invitation"), &[]);
    let id = |machine: &Machine| {
        let status = machine.ok(&["status", "--json"]).json();
        status["replica"]["id"].as_str().unwrap().to_owned()
    };
    let wrong = laptop.run(&["join", text(&laptop.mail), text(&bundle), "--expect", &id(&other)]);
    complains(&wrong, 4, &[&id(&desktop), &id(&other)]);
    assert!(!laptop.home.exists() && !laptop.mail.exists());
    let nonsense = laptop.run(&["join", text(&laptop.mail), text(&bundle), "--expect", "nonsense"]);
    complains(&nonsense, 2, &["--expect"]);
    assert!(!laptop.home.exists() && !laptop.mail.exists());
    laptop.ok(&["join", text(&laptop.mail), text(&bundle), "--expect", &id(&desktop)]);
    expect_same(&laptop, &desktop, "expected");
}

#[test]
fn what_is_no_invitation_makes_nothing() {
    let dir = scratch();
    let (desktop, other) = (inviter(dir.path(), 4), Machine::replica(dir.path(), "other"));
    make_peers(&desktop, &other);
    let laptop = Machine::new(dir.path(), "laptop");
    fs::remove_dir(&laptop.mail).unwrap();
    let file = dir.path().join("file");
    let full = desktop.ok(&["export", "--to", "other", "--full"]).stdout;
    let anyone = desktop.ok(&["export"]).stdout;
    for (what, bytes) in [("for another", full.clone()), ("delta", anyone), ("text", b"Subject: x\n\n".to_vec())] {
        fs::write(&file, &bytes).unwrap();
        let ran = try_join(&laptop, &file);
        complains(&ran, 4, &[]);
        assert!(!laptop.home.exists() && !laptop.mail.exists(), "{what}");
    }
    fs::write(&file, &full[..20]).unwrap();
    complains(&try_join(&laptop, &file), 4, &[]);
    fs::write(&file, b"").unwrap();
    complains(&try_join(&laptop, &file), 4, &[]);
    complains(&try_join(&laptop, &dir.path().join("nowhere")), 1, &["nowhere"]);
    assert!(!laptop.home.exists() && !laptop.mail.exists());
}

#[test]
fn a_join_from_a_damaged_invitation_can_be_repeated_with_a_good_one() {
    let dir = scratch();
    let desktop = inviter(dir.path(), 300);
    let bundle = invite(&desktop, "machine", &dir.path().join("invitation"), &[]);
    let good = fs::read(&bundle).unwrap();
    let damaged = dir.path().join("damaged");
    for tenth in 1..10 {
        for cut in [true, false] {
            let at = good.len() * tenth / 10;
            let mut bytes = good.clone();
            if cut {
                bytes.truncate(at);
            } else {
                bytes[at] ^= 0x40;
            }
            fs::write(&damaged, bytes).unwrap();
            let machine = Machine::new(dir.path(), &format!("machine-{tenth}-{cut}"));
            let when = format!("cut {cut} at {at} of {}", good.len());
            let ran = try_join(&machine, &damaged);
            assert_eq!(ran.code, 4, "{when}: {}", ran.stderr);
            join(&machine, &bundle);
            expect_same(&machine, &desktop, &when);
            expect_at_rest(&machine, &when);
        }
    }
}

#[test]
fn a_replica_whose_key_is_known_needs_no_secret() {
    let dir = scratch();
    let desktop = inviter(dir.path(), 6);
    let (laptop, other) = (Machine::new(dir.path(), "laptop"), Machine::new(dir.path(), "other"));
    fs::create_dir(&laptop.home).unwrap();
    let key = laptop.home.join("key");
    let made = run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", text(&key)]));
    assert_eq!(made.code, 0, "{}", made.stderr);
    let public = key.with_extension("pub");
    let bundle = invite(&desktop, "laptop", &dir.path().join("invitation"), &["--key", text(&public)]);
    // Once more, after a bundle that was lost.
    let again = invite(&desktop, "laptop", &dir.path().join("again"), &["--key", text(&public)]);
    complains(&try_join(&other, &bundle), 4, &["encrypted for others", "put the key that it was written for there"]);
    let plain = invite(&desktop, "laptop", &dir.path().join("plain"), &["--plain", "--key", text(&public)]);
    complains(&try_join(&other, &plain), 4, &["is for SHA256:", "whose key is not"]);
    assert!(!other.home.exists());
    join(&laptop, &again);
    expect_same(&laptop, &desktop, "joined");
    assert_eq!(laptop.key(), fs::read_to_string(&public).unwrap().trim());
    laptop.put("Sent", "cur/one:2,S", "Subject: one\n\n", 1_700_000_000);
    assert_eq!(send(&laptop, &desktop).code, 0);
    pass(&desktop, &laptop);
    expect_same(&laptop, &desktop, "answered");
    let peers = desktop.ok(&["peer", "list", "--json"]).json();
    assert_eq!(peers["peers"].as_array().unwrap().len(), 1);
    assert_eq!(peers["invited"].as_array().unwrap().len(), 0);
}

#[test]
fn an_invitation_can_be_withdrawn() {
    let dir = scratch();
    let desktop = inviter(dir.path(), 6);
    let laptop = Machine::new(dir.path(), "laptop");
    join(&laptop, &invite(&desktop, "laptop", &dir.path().join("invitation"), &[]));
    desktop.ok(&["peer", "rename", "laptop", "notebook"]);
    desktop.ok(&["peer", "remove", "notebook"]);
    let answer = laptop.ok(&["export"]).stdout;
    desktop.refuses(&["import"], &answer, 4, &["was withdrawn", "peer add NAME"]);
    // A new one has another secret.
    invite(&desktop, "laptop", &dir.path().join("new"), &[]);
    desktop.refuses(&["import"], &answer, 4, &["was withdrawn"]);
    let other = Machine::new(dir.path(), "other");
    join(&other, &dir.path().join("new"));
    assert_eq!(send(&other, &desktop).code, 0);
    expect_same(&other, &desktop, "invited anew");
}

/// Lets the invitation of a replica have ended an hour ago.
fn let_expire(inviter: &Machine, name: &str) {
    let state = rusqlite::Connection::open(inviter.home.join("state.db")).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let ended = i64::try_from(now).unwrap() - 3_600_000;
    assert_eq!(state.execute("UPDATE invitation SET expires = ? WHERE name = ?", (ended, name)).unwrap(), 1);
}

#[test]
fn an_invitation_expires() {
    let dir = scratch();
    let desktop = inviter(dir.path(), 6);
    let laptop = Machine::new(dir.path(), "laptop");
    join(&laptop, &invite(&desktop, "laptop", &dir.path().join("invitation"), &[]));
    let answer = laptop.ok(&["export"]).stdout;
    let until = |days: i64| {
        let told = desktop.ok(&["status", "--json"]).json()["invited"][0].clone();
        let time = |name: &str| told[name].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        let wanted = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * days);
        let off = time("expires").duration_since(wanted).abs();
        assert!(off < jiff::SignedDuration::from_mins(10), "{told}");
        assert_eq!(told["expired"], false);
        assert!(time("invited") < time("expires"));
    };
    until(14);
    // Who invites again gives it more time, and never less.
    invite(&desktop, "laptop", &dir.path().join("longer"), &["--expires", "30"]);
    until(30);
    invite(&desktop, "laptop", &dir.path().join("shorter"), &["--expires", "1"]);
    until(30);
    assert!(desktop.ok(&["peer", "list"]).text().contains("has not answered"));

    let_expire(&desktop, "laptop");
    for command in [&["status"][..], &["peer", "list"]] {
        let said = desktop.ok(command);
        assert!(said.text().contains("expired"), "{said:?}");
        let told = desktop.ok(&[command, &["--json"]].concat()).json();
        assert_eq!(told["invited"][0]["expired"], true, "{told}");
    }
    desktop.refuses(&["import"], &answer, 4, &["has expired", "mailsync invite NAME", "peer add NAME"]);
    desktop.refuses(&["export", "--to", "laptop"], b"", 1, &["has expired", "mailsync invite laptop"]);
    // Nobody else waits for it, and it has no name.
    desktop.refuses(&["export"], b"", 1, &["no peer"]);
    // What was lost by then stays lost: a new invitation has another secret.
    let newer = invite(&desktop, "laptop", &dir.path().join("newer"), &[]);
    desktop.refuses(&["import"], &answer, 4, &["has expired"]);
    let other = Machine::new(dir.path(), "other");
    join(&other, &newer);
    assert_eq!(send(&other, &desktop).code, 0);
    expect_same(&other, &desktop, "invited anew");
    for days in ["0", "4000", "soon"] {
        assert_eq!(desktop.run(&["invite", "third", "--expires", days]).code, 2, "{days}");
    }
}

#[test]
fn who_has_joined_too_late_can_be_made_known_by_its_key() {
    let dir = scratch();
    let desktop = inviter(dir.path(), 6);
    let laptop = Machine::new(dir.path(), "laptop");
    join(&laptop, &invite(&desktop, "laptop", &dir.path().join("invitation"), &[]));
    let_expire(&desktop, "laptop");
    desktop.ok(&["peer", "add", "laptop", "--key", &laptop.key()]);
    assert_eq!(send(&laptop, &desktop).code, 0);
    expect_same(&laptop, &desktop, "known by its key");
}

#[test]
fn an_invited_replica_can_be_renamed_before_it_answers() {
    let dir = scratch();
    let desktop = inviter(dir.path(), 6);
    let laptop = Machine::new(dir.path(), "laptop");
    join(&laptop, &invite(&desktop, "laptop", &dir.path().join("invitation"), &[]));
    desktop.ok(&["peer", "rename", "laptop", "notebook"]);
    assert_eq!(send(&laptop, &desktop).code, 0);
    let peers = desktop.ok(&["peer", "list", "--json"]).json();
    assert_eq!(peers["peers"][0]["name"], "notebook");
    assert_eq!(peers["invited"].as_array().unwrap().len(), 0);
    let back = desktop.ok(&["export", "--to", "notebook"]).stdout;
    assert_eq!(laptop.run_with(&["import"], &back).code, 0);
}

#[test]
fn nobody_is_invited_by_a_name_that_is_taken() {
    let dir = scratch();
    let (desktop, server) = (inviter(dir.path(), 3), Machine::replica(dir.path(), "server"));
    make_peers(&desktop, &server);
    desktop.ok(&["scan"]);
    desktop.refuses(&["invite", "server"], b"", 1, &["server"]);
    invite(&desktop, "laptop", &dir.path().join("invitation"), &[]);
    let other = Machine::replica(dir.path(), "other");
    desktop.refuses(&["invite", "laptop", "--key", &other.key()], b"", 1, &["laptop"]);
    desktop.refuses(&["peer", "add", "laptop", "--key", &other.key()], b"", 1, &["laptop"]);
    desktop.refuses(&["peer", "rename", "server", "laptop"], b"", 1, &["laptop"]);
    desktop.refuses(&["invite", "other", "--key", &server.key()], b"", 1, &["server"]);
    desktop.refuses(&["invite", "../x"], b"", 2, &["name"]);
}

#[test]
fn nothing_else_is_done_while_a_join_is_incomplete() {
    let dir = scratch();
    let desktop = inviter(dir.path(), 300);
    let laptop = Machine::new(dir.path(), "laptop");
    let bundle = invite(&desktop, "laptop", &dir.path().join("invitation"), &[]);
    let good = fs::read(&bundle).unwrap();
    let cut = dir.path().join("cut");
    fs::write(&cut, &good[..good.len() / 2]).unwrap();
    assert_eq!(try_join(&laptop, &cut).code, 4);
    let before = laptop.everything();
    let key = desktop.key();
    let commands: [&[&str]; 14] = [
        &["status"],
        &["log"],
        &["scan"],
        &["export"],
        &["import", text(&bundle)],
        &["invite", "other"],
        &["peer", "list"],
        &["peer", "add", "other", "--key", &key],
        &["purge"],
        &["update"],
        &["trash", "list"],
        &["doctor"],
        &["doctor", "--new-identity"],
        &["init", text(&laptop.mail)],
    ];
    for args in commands {
        let said = laptop.fails(args, 1);
        let advice = "repeat `mailsync join` with the same bundle";
        assert!(said.contains("not complete") && said.contains(advice), "{args:?} says {said}");
    }
    // Another one is not begun in its place.
    let elsewhere = dir.path().join("elsewhere");
    complains(&laptop.run(&["join", text(&elsewhere), text(&bundle)]), 1, &["interrupted join"]);
    let renamed = laptop.run(&["join", text(&laptop.mail), text(&bundle), "--name", "other"]);
    complains(&renamed, 1, &["interrupted join"]);
    assert_eq!(laptop.everything(), before);
    join(&laptop, &bundle);
    expect_same(&laptop, &desktop, "joined at last");
    expect_at_rest(&laptop, "joined at last");
}

#[test]
fn where_a_replica_lives_no_other_joins() {
    let dir = scratch();
    let desktop = inviter(dir.path(), 4);
    let laptop = Machine::replica(dir.path(), "laptop");
    laptop.put("INBOX", "cur/one:2,", "Subject: one\n\n", 1_700_000_000);
    laptop.ok(&["scan"]);
    let bundle = invite(&desktop, "laptop", &dir.path().join("invitation"), &[]);
    laptop.refuses(&["join", text(&laptop.mail), text(&bundle)], b"", 1, &["replica lives there"]);
    let other = Machine::new(dir.path(), "other");
    let for_other = invite(&desktop, "other", &dir.path().join("for-other"), &[]);
    join(&other, &for_other);
    // It has another name, is elsewhere, or by somebody else.
    other.refuses(&["join", text(&other.mail), text(&bundle)], b"", 1, &["replica lives there"]);
    let elsewhere = dir.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    other.refuses(&["join", text(&elsewhere), text(&for_other)], b"", 1, &["replica lives there"]);
    let stranger = Machine::replica(dir.path(), "stranger");
    let by_stranger = invite(&stranger, "other", &dir.path().join("by-stranger"), &[]);
    other.refuses(&["join", text(&other.mail), text(&by_stranger)], b"", 1, &["replica lives there"]);
    // It brings what this replica doesn't have: that is no repetition.
    desktop.put("INBOX", "cur/later:2,", "Subject: later\n\n", 1_700_000_001);
    let newer = invite(&desktop, "other", &dir.path().join("newer"), &[]);
    other.refuses(&["join", text(&other.mail), text(&newer)], b"", 1, &["replica lives there", "mailsync import"]);
    let ran = other.run(&["import", text(&newer)]);
    assert_eq!(ran.code, 0, "{ran:?}");
    expect_same(&other, &desktop, "imported");
}

#[test]
fn a_join_that_is_repeated_when_it_is_complete_has_nothing_left_to_do() {
    let dir = scratch();
    let desktop = inviter(dir.path(), 4);
    let laptop = Machine::new(dir.path(), "laptop");
    let bundle = invite(&desktop, "laptop", &dir.path().join("invitation"), &[]);
    join(&laptop, &bundle);
    let before = laptop.left();
    let ran = laptop.ok(&["join", text(&laptop.mail), text(&bundle)]);
    assert!(ran.stderr.contains("nothing new") && ran.stderr.contains("there is already"), "{ran:?}");
    assert!(ran.stderr.contains("next: `mailsync export"), "{ran:?}");
    let json = laptop.ok(&["join", "--json", text(&laptop.mail), text(&bundle)]).json();
    assert_eq!((&json["joined_before"], &json["bundles"][0]["outcome"]), (&true.into(), &"nothing-new".into()));
    // A wrong inviter, or a damaged bundle, stays one.
    let id = laptop.ok(&["status", "--json"]).json()["replica"]["id"].as_str().unwrap().to_owned();
    laptop.refuses(&["join", text(&laptop.mail), text(&bundle), "--expect", &id], b"", 4, &["is expected"]);
    let good = fs::read(&bundle).unwrap();
    laptop.refuses(&["join", text(&laptop.mail)], &good[..good.len() - 9], 4, &["cut off"]);
    assert_eq!(laptop.left(), before);
    // When the inviter has heard of it, too.
    let answer = laptop.ok(&["export"]).stdout;
    assert_eq!(desktop.run_with(&["import"], &answer).code, 0);
    pass(&desktop, &laptop);
    laptop.ok(&["join", text(&laptop.mail), text(&bundle)]);
    expect_same(&laptop, &desktop, "in the end");
}

#[test]
fn a_mail_root_that_holds_mail_is_united_with_the_inviters() {
    let dir = scratch();
    let desktop = Machine::replica(dir.path(), "desktop");
    let mail = |subject: &str| format!("Subject: {subject}\n\n{subject}\n");
    desktop.put("INBOX", "cur/a:2,S", mail("both, other flags"), 1_600_000_000);
    desktop.put("INBOX", "cur/b:2,S", mail("only there"), 1_600_000_001);
    desktop.put("INBOX", "cur/c1:2,S", mail("twice"), 1_600_000_002);
    desktop.put("INBOX", "cur/c2:2,S", mail("twice"), 1_600_000_002);
    desktop.put("INBOX", "new/d", mail("seen here"), 1_600_000_003);
    desktop.put("INBOX", "cur/e:2,S", mail("moved there"), 1_600_000_004);
    desktop.put("INBOX", "cur/f:2,S", mail("moved alike"), 1_600_000_005);
    desktop.put("INBOX", "cur/g:2,S", mail("removed there"), 1_600_000_006);
    desktop.ok(&["scan"]);
    for name in ["e:2,S", "f:2,S"] {
        let to = desktop.dir("Archive");
        make_folder(&to);
        fs::rename(desktop.dir("INBOX").join("cur").join(name), to.join("cur").join(name)).unwrap();
    }
    fs::remove_file(desktop.dir("INBOX").join("cur/g:2,S")).unwrap();
    let bundle = invite(&desktop, "laptop", &dir.path().join("invitation"), &[]);

    // Laid out as a replica would, to put mail there; then the replica is forgotten.
    let laptop = Machine::replica(dir.path(), "laptop");
    laptop.put("INBOX", "cur/A:2,F", mail("both, other flags"), 1_600_000_000);
    laptop.put("INBOX", "cur/C1:2,", mail("twice"), 1_600_000_002);
    laptop.put("INBOX", "cur/C2:2,R", mail("twice"), 1_600_000_002);
    laptop.put("INBOX", "cur/D:2,S", mail("seen here"), 1_600_000_003);
    laptop.put("INBOX", "cur/E:2,S", mail("moved there"), 1_600_000_004);
    laptop.put("Archive", "cur/F:2,S", mail("moved alike"), 1_600_000_005);
    laptop.put("INBOX", "cur/G:2,S", mail("removed there"), 1_600_000_006);
    laptop.put("Only here", "cur/H:2,S", mail("only here"), 1_600_000_007);
    laptop.put("Only here", "cur/I:2,S", mail("twice"), 1_600_000_008);
    fs::remove_dir_all(&laptop.home).unwrap();

    let ran = laptop.ok(&["--json", "join", text(&laptop.mail), text(&bundle)]).json();
    assert_eq!(ran["scan"]["adopted"], 5, "{ran}");
    assert_eq!(ran["scan"]["new"], 4, "{ran}");
    assert_eq!(ran["bundles"][0]["new"], 2, "{ran}");
    expect_at_rest(&laptop, "joined");
    let held = laptop.mailbox();
    let lies = |subject: &str| -> Vec<(String, bool, String)> {
        let copies = &held[&Digest::of(mail(subject).as_bytes())];
        copies.iter().map(|mail| (mail.folder.clone(), mail.recent, mail.flags.clone())).collect()
    };
    let at = |folder: &str, flags: &str| (folder.to_owned(), false, flags.to_owned());
    assert_eq!(lies("both, other flags"), [at("INBOX", "FS")]);
    assert_eq!(lies("only there"), [at("INBOX", "S")]);
    let twice: Vec<String> = lies("twice").into_iter().map(|(folder, ..)| folder).collect();
    assert_eq!(twice, ["INBOX", "INBOX", "Only here"]);
    assert_eq!(lies("seen here"), [at("INBOX", "S")]);
    assert_eq!(lies("moved there"), [at("Archive", "S"), at("INBOX", "S")], "in doubt, mail is kept");
    assert_eq!(lies("moved alike"), [at("Archive", "S")]);
    assert_eq!(lies("removed there"), [at("INBOX", "S")], "in doubt, mail is kept");
    assert_eq!(lies("only here"), [at("Only here", "S")]);

    let ran = send(&laptop, &desktop);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    expect_same(&desktop, &laptop, "answered");
    pass(&desktop, &laptop);
    pass(&laptop, &desktop);
    expect_same(&desktop, &laptop, "at last");
    expect_at_rest(&desktop, "at last");
    expect_at_rest(&laptop, "at last");
}

#[test]
fn a_join_onto_mail_that_was_interrupted_takes_nothing_for_its_own_leftovers() {
    let dir = scratch();
    let desktop = inviter(dir.path(), 300);
    let laptop = Machine::replica(dir.path(), "laptop");
    pass_by_hand(&desktop, &laptop);
    laptop.put("INBOX", "cur/mine:2,S", "Subject: mine\n\n", 1_700_000_000);
    // The replica lost its home; what it had delivered bears the name of the new one.
    fs::remove_dir_all(&laptop.home).unwrap();
    let held = laptop.everything().len();
    fs::remove_file(desktop.dir("INBOX").join("cur/0.host:2,S")).unwrap();
    let bundle = invite(&desktop, "laptop", &dir.path().join("invitation"), &[]);
    let good = fs::read(&bundle).unwrap();
    let cut = dir.path().join("cut");
    fs::write(&cut, &good[..good.len() / 2]).unwrap();
    assert_eq!(try_join(&laptop, &cut).code, 4);
    assert!(laptop.fails(&["status"], 1).contains("not complete"));
    assert_eq!(laptop.everything().len(), held);
    join(&laptop, &bundle);
    assert_eq!(laptop.mailbox().len(), 301, "what was removed there meanwhile is kept, in doubt");
    expect_at_rest(&laptop, "joined");
    desktop.ok(&["peer", "remove", "old"]);
    assert_eq!(send(&laptop, &desktop).code, 0);
    expect_same(&desktop, &laptop, "answered");
}

/// The mail of one machine comes to another, which it calls `old`.
fn pass_by_hand(from: &Machine, to: &Machine) {
    from.ok(&["peer", "add", "old", "--key", &to.key()]);
    to.ok(&["peer", "add", &from.name, "--key", &from.key()]);
    let bundle = from.ok(&["export", "--to", "old"]).stdout;
    assert_eq!(to.run_with(&["import"], &bundle).code, 0);
}

#[test]
fn an_invitation_without_contents_asks_for_what_is_missing() {
    let dir = scratch();
    let desktop = inviter(dir.path(), 30);
    desktop.ok(&["scan"]);
    let laptop = Machine::new(dir.path(), "laptop");
    let bundle = invite(&desktop, "laptop", &dir.path().join("invitation"), &["--no-contents"]);
    let inside = desktop.ok(&["inspect", "--json", text(&bundle)]).json();
    assert!(fs::metadata(&bundle).unwrap().len() < 8192, "{inside}");
    // Two thirds of the mail came from elsewhere, under other names.
    fs::remove_dir(&laptop.mail).unwrap();
    copy(&desktop.mail, &laptop.mail);
    for n in (0..30).step_by(3) {
        let _ = fs::remove_file(laptop.mail.join(format!("cur/{n}.host:2,S")));
    }
    join(&laptop, &bundle);
    assert_eq!(laptop.mailbox().len(), 20);
    assert_eq!(laptop.pending(), 10);
    assert_eq!(laptop.ok(&["scan", "--json"]).json()["removed"], 0);
    let ran = send(&laptop, &desktop);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(desktop.mailbox().len(), 30, "what is missing was not removed");
    pass(&desktop, &laptop);
    expect_same(&laptop, &desktop, "asked for");
    expect_at_rest(&laptop, "asked for");
}

#[test]
fn an_invitation_without_contents_works_onto_an_empty_mail_root_too() {
    let dir = scratch();
    let desktop = inviter(dir.path(), 12);
    let laptop = Machine::new(dir.path(), "laptop");
    join(&laptop, &invite(&desktop, "laptop", &dir.path().join("invitation"), &["--no-contents"]));
    assert_eq!(laptop.mailbox().len(), 0);
    assert_eq!(send(&laptop, &desktop).code, 0);
    pass(&desktop, &laptop);
    expect_same(&laptop, &desktop, "asked for");
    expect_at_rest(&laptop, "asked for");
}

/// The bundles in a directory, by number.
fn parts(dir: &Path) -> Vec<PathBuf> {
    let mut parts: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|item| item.unwrap().path()).collect();
    let number = |path: &PathBuf| -> u64 {
        let name = path.file_name().unwrap().to_str().unwrap().split(".zst").next().unwrap();
        name.rsplit('-').next().unwrap().parse().unwrap()
    };
    parts.sort_by_key(number);
    parts
}

#[test]
fn the_parts_of_a_split_invitation_come_in_any_order() {
    const SIZE: u64 = 128 << 10;
    let dir = scratch();
    let desktop = inviter(dir.path(), 200);
    let mut random = Random::new(8);
    let large = noise(9000, &mut random);
    desktop.put("INBOX", "cur/large:2,", format!("Subject: large\n\n{large}"), 1_600_000_000);
    let to = dir.path().join("parts");
    fs::create_dir(&to).unwrap();
    invite(&desktop, "laptop", &to, &["--split", "128K"]);
    let parts = parts(&to);
    assert!(parts.len() > 3, "{parts:?}");
    for part in &parts {
        let inside = desktop.ok(&["inspect", "--json", text(part)]).json();
        let size = fs::metadata(part).unwrap().len();
        assert!(size <= SIZE || inside["bundles"][0]["messages"] == 1, "{}: {size}: {inside}", part.display());
    }
    let over = parts.iter().filter(|part| fs::metadata(part).unwrap().len() > SIZE).count();
    assert!(over <= 1, "only the large message may need more");

    let laptop = Machine::new(dir.path(), "laptop");
    complains(&try_join(&laptop, &parts[1]), 4, &["first part"]);
    assert!(!laptop.home.exists());
    join(&laptop, &parts[0]);
    for part in parts[1..].iter().rev() {
        laptop.ok(&["import", text(part)]);
        laptop.ok(&["import", text(part)]);
    }
    expect_same(&laptop, &desktop, "backwards");
    expect_at_rest(&laptop, "backwards");
    // All at once: the first by join, and the directory.
    let server = Machine::new(dir.path(), "server");
    join(&server, &parts[0]);
    // With an answer in between, which asks for what is missing.
    server.ok(&["export"]);
    server.ok(&["import", text(&to)]);
    expect_same(&server, &desktop, "a directory");
    // One after the other in a stream.
    let phone = Machine::new(dir.path(), "phone");
    let stream: Vec<u8> = [0, 2, 1]
        .iter()
        .chain(&(3..parts.len()).collect::<Vec<_>>())
        .flat_map(|&n| fs::read(&parts[n]).unwrap())
        .collect();
    let ran = phone.run_with(&["join", text(&phone.mail)], &stream);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    expect_same(&phone, &desktop, "a stream");
    assert_eq!(send(&laptop, &desktop).code, 0);
    pass(&desktop, &laptop);
    expect_same(&laptop, &desktop, "answered");
}

#[test]
fn a_later_part_of_a_split_bundle_waits_for_the_first() {
    let dir = scratch();
    let desktop = inviter(dir.path(), 200);
    let laptop = Machine::replica(dir.path(), "laptop");
    make_peers(&desktop, &laptop);
    let to = dir.path().join("parts");
    fs::create_dir(&to).unwrap();
    desktop.ok(&["export", "--to", "laptop", "--split", "128K", "-o", text(&to)]);
    let parts = parts(&to);
    assert!(parts.len() > 2, "{parts:?}");
    let said = laptop.fails(&["import", text(&parts[2])], 3);
    assert!(said.contains("bundle"), "{said}");
    laptop.ok(&["import", text(&parts[0])]);
    laptop.ok(&["import", text(&parts[2])]);
    assert!(laptop.mailbox().len() < 200);
    for part in &parts {
        laptop.ok(&["import", text(part)]);
    }
    expect_same(&laptop, &desktop, "all parts");
    expect_at_rest(&laptop, "all parts");
}

#[test]
fn what_an_interrupted_join_has_left_says_nothing_about_flags_and_folders() {
    let dir = scratch();
    let desktop = inviter(dir.path(), 90);
    let gone = desktop.dir("Sent");
    let first = invite(&desktop, "laptop", &dir.path().join("first"), &[]);
    let good = fs::read(&first).unwrap();
    let cut = dir.path().join("cut");
    fs::write(&cut, &good[..good.len() - 2000]).unwrap();
    let laptop = Machine::new(dir.path(), "laptop");
    assert_eq!(try_join(&laptop, &cut).code, 4);
    // Killed before the last file had its date, and while another one was written.
    let cur = laptop.mail.join(".Archive.2019/cur");
    let left: Vec<PathBuf> = fs::read_dir(cur).unwrap().map(|item| item.unwrap().path()).collect();
    assert!(left.len() > 10, "it should have got far");
    fs::File::open(&left[0]).unwrap().set_modified(std::time::SystemTime::now()).unwrap();
    fs::OpenOptions::new().write(true).open(&left[1]).unwrap().set_len(5).unwrap();
    for n in 0..90 {
        let cur = desktop.dir(folder(n)).join("cur");
        if n % 2 == 0 {
            fs::rename(cur.join(format!("{n}.host:2,S")), cur.join(format!("{n}.host:2,"))).unwrap();
        }
    }
    fs::remove_dir_all(gone).unwrap();
    let second = invite(&desktop, "laptop", &dir.path().join("second"), &[]);
    join(&laptop, &second);
    expect_same(&laptop, &desktop, "joined");
    expect_at_rest(&laptop, "joined");
    assert_eq!(send(&laptop, &desktop).code, 0);
    expect_same(&laptop, &desktop, "answered");
    assert_eq!(desktop.mailbox().len(), 60);
}

#[test]
fn a_join_killed_at_any_moment_is_repeated_without_harm() {
    const MESSAGES: u64 = 400;
    const KILLS: u64 = 24;
    let dir = scratch();
    let desktop = inviter(dir.path(), MESSAGES);
    let same = invite(&desktop, "laptop", &dir.path().join("same"), &[]);
    let end_of_same = desktop.mailbox();
    for n in 0..MESSAGES {
        let path = |folder: &str, flags: &str| desktop.dir(folder).join(format!("cur/{n}.host:2,{flags}"));
        let old = path(folder(n), "S");
        match n % 8 {
            0 => fs::remove_file(old).unwrap(),
            1 => fs::rename(old, path("INBOX", "S")).unwrap(),
            2 => fs::rename(old, path(folder(n), "")).unwrap(),
            3 => fs::rename(old, path("Sent", "FS")).unwrap(),
            _ => {}
        }
    }
    desktop.put("INBOX", "new/newest", "Subject: newest\n\n", 1_700_000_000);
    let newer = invite(&desktop, "laptop", &dir.path().join("newer"), &[]);
    let trial = Machine::new(dir.path(), "trial");
    let started = Instant::now();
    join(&trial, &same);
    let takes = started.elapsed();
    let mut random = Random::new(41);
    let (mut killed, mut incomplete) = (0, 0);
    for round in 0..KILLS {
        let laptop = Machine::new(&dir.path().join(format!("round-{round}")), "laptop");
        let mut when = format!("round {round}");
        // Sometimes the repeated one is killed as well.
        for again in 0..=round % 3 {
            let after = takes.mul_f64(random.below(1000) as f64 / 1000.0);
            when = format!("{when}, killed after {after:?} of {takes:?}");
            let bundle = if again == 0 { &same } else { &newer };
            let mut command = laptop.command(&["join", text(&laptop.mail), text(bundle)]);
            killed += u64::from(run_and_kill(&mut command, after));
        }
        let complete = laptop.run(&["status"]).code == 0;
        let repeat_same = round % 3 == 0 && round % 2 == 0;
        if complete {
            // With the newer one it may have joined already: then there is nothing to do.
            let ran = try_join(&laptop, &newer);
            assert!(ran.code == 1 || ran.stderr.contains("there is already"), "{when}: {ran:?}");
            assert_eq!(laptop.run(&["import", text(&newer)]).code, 0, "{when}");
        } else {
            incomplete += 1;
            let ran = try_join(&laptop, if repeat_same { &same } else { &newer });
            assert_eq!(ran.code, 0, "{when}: {}", ran.stderr);
            expect_at_rest(&laptop, &when);
            if repeat_same {
                assert!(laptop.mailbox() == end_of_same, "{when}: the same bundle gives something else");
                laptop.ok(&["import", text(&newer)]);
            }
        }
        expect_same(&laptop, &desktop, &when);
        expect_at_rest(&laptop, &when);
        if round + 1 == KILLS {
            laptop.put("INBOX", "new/answer", "Subject: answer\n\n", 1_700_000_000);
            assert_eq!(send(&laptop, &desktop).code, 0);
            pass(&desktop, &laptop);
            expect_same(&laptop, &desktop, "answered");
        }
    }
    println!(
        "a join takes {takes:?}; {killed} were killed before their end, {incomplete} of {KILLS} left it incomplete"
    );
    assert!(incomplete > KILLS / 4, "only {incomplete} were incomplete");
}

#[test]
fn a_join_onto_mail_killed_at_any_moment_is_repeated_without_harm() {
    const MESSAGES: u64 = 200;
    const KILLS: u64 = 16;
    let dir = scratch();
    let desktop = inviter(dir.path(), MESSAGES);
    let same = invite(&desktop, "laptop", &dir.path().join("same"), &[]);
    let held = dir.path().join("held");
    copy(&desktop.mail, &held);
    for n in 0..MESSAGES {
        let name = format!("cur/{n}.host:2,S");
        let dir = held.join(["", ".Archive.2019", ".Sent"][usize::try_from(n % 3).unwrap()]);
        match n % 4 {
            0 => fs::remove_file(dir.join(name)).unwrap(),
            1 => fs::rename(dir.join(name), dir.join(format!("cur/{n}.host:2,F"))).unwrap(),
            _ => {}
        }
    }
    fs::write(held.join("cur/mine:2,"), "Subject: mine\n\n").unwrap();
    for n in (0..MESSAGES).step_by(8) {
        fs::remove_file(desktop.dir(folder(n)).join(format!("cur/{n}.host:2,S"))).unwrap();
    }
    let newer = invite(&desktop, "laptop", &dir.path().join("newer"), &[]);
    let mut random = Random::new(77);
    let (mut takes, mut end, mut incomplete) = (Duration::ZERO, None, 0);
    for round in 0..=KILLS {
        let at = dir.path().join(format!("round-{round}"));
        let laptop = Machine { name: "laptop".into(), mail: at.join("mail"), home: at.join("home") };
        copy(&held, &laptop.mail);
        if round == 0 {
            let started = Instant::now();
            join(&laptop, &newer);
            takes = started.elapsed();
            end = Some(laptop.mailbox());
            assert_eq!(laptop.mailbox().len(), 176);
            continue;
        }
        let after = takes.mul_f64(random.below(1000) as f64 / 1000.0);
        let when = format!("round {round}, killed after {after:?} of {takes:?}");
        run_and_kill(&mut laptop.command(&["join", text(&laptop.mail), text(&same)]), after);
        if laptop.run(&["status"]).code == 0 {
            laptop.ok(&["import", text(&newer)]);
            expect_at_rest(&laptop, &when);
            continue;
        }
        incomplete += 1;
        join(&laptop, &newer);
        expect_at_rest(&laptop, &when);
        assert!(Some(laptop.mailbox()) == end, "{when}: it ends otherwise");
    }
    assert!(incomplete > KILLS / 4, "only {incomplete} were incomplete");
}

#[test]
fn a_join_killed_while_it_begins_anew_stays_one_to_be_repeated() {
    let dir = scratch();
    let desktop = inviter(dir.path(), 300);
    let bundle = invite(&desktop, "laptop", &dir.path().join("invitation"), &[]);
    let good = fs::read(&bundle).unwrap();
    let cut = dir.path().join("cut");
    fs::write(&cut, &good[..good.len() / 2]).unwrap();
    let laptop = Machine::new(dir.path(), "laptop");
    assert_eq!(try_join(&laptop, &cut).code, 4);
    for micros in (0..20_000).step_by(250) {
        run_and_kill(&mut laptop.command(&["join", text(&laptop.mail), text(&cut)]), Duration::from_micros(micros));
        let said = laptop.fails(&["status"], 1);
        assert!(said.contains("not complete"), "killed after {micros} µs: {said}");
    }
    join(&laptop, &bundle);
    expect_same(&laptop, &desktop, "at last");
    expect_at_rest(&laptop, "at last");
}

#[test]
fn of_two_joins_at_once_one_makes_the_replica() {
    let dir = scratch();
    let desktop = inviter(dir.path(), 300);
    let bundle = invite(&desktop, "laptop", &dir.path().join("invitation"), &[]);
    for round in 0..5 {
        let laptop = Machine::new(&dir.path().join(format!("round-{round}")), "laptop");
        let start = || {
            let mut command = laptop.command(&["join", text(&laptop.mail), text(&bundle)]);
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let both: Vec<_> = [start(), start()].into_iter().map(|child| child.wait_with_output().unwrap()).collect();
        let said: Vec<_> = both.iter().map(|output| String::from_utf8_lossy(&output.stderr)).collect();
        let codes: Vec<_> = both.iter().map(|output| output.status.code()).collect();
        // The other one fails, or comes so late that it finds its work done.
        let fine = |code: &Option<i32>| matches!(code, Some(0 | 1));
        assert!(codes.contains(&Some(0)) && codes.iter().all(fine), "{codes:?}: {said:?}");
        expect_same(&laptop, &desktop, "two at once");
        expect_at_rest(&laptop, "two at once");
    }
}

#[test]
fn a_join_stopped_at_any_step_is_repeated_without_harm() {
    let dir = scratch();
    let desktop = Machine::new(dir.path(), "desktop");
    desktop.init_as("fs");
    for (folder, number) in [("INBOX", 1), ("INBOX", 2), ("Archive/2019", 3)] {
        desktop.put(folder, &format!("cur/{number}:2,S"), format!("Subject: {number}\n\n"), number);
    }
    let bundle = invite(&desktop, "laptop", &dir.path().join("invitation"), &[]);
    let watch = Watch::new(&dir.path().join("keep"));
    let mut step = 0;
    loop {
        step += 1;
        let laptop = Machine::new(&dir.path().join(format!("step-{step}")), "laptop");
        let home = Home::at(&laptop.home);
        let options = JoinOptions {
            mail_root: laptop.mail.clone(),
            name: None,
            layout: Some(mailsync::maildir::LayoutKind::Fs),
            server: None,
            expect: None,
            code: None,
            doubts: mailsync::replica::Doubts::Heed,
            lock_timeout: Duration::from_secs(10),
            clock_ahead: mailsync::replica::ClockAhead::Refuse,
        };
        let act = || {
            let world = World { disk: watch.disk(), ..World::real() };
            let source = std::io::BufReader::new(fs::File::open(&bundle).unwrap());
            Replica::join(&home, world, &options, Some(&bundle), source).map(drop)
        };
        let (joined, _) = watch.hinder(Fault::Stop(step), &home.database(), || (), act);
        let struck = watch.struck();
        // Last, when the join is complete, the mail root is marked. That this could not be done is noted.
        let marks = |call: &Call| {
            call.path == laptop.mail || [".mailsync", ".mailsync.new"].iter().any(|mark| call.path.ends_with(mark))
        };
        let may_be_complete = struck.as_ref().is_none_or(marks);
        assert!(may_be_complete || joined.is_err(), "step {step}, {struck:?}: it was swallowed");
        assert!(struck.is_some() || joined.is_ok(), "step {step}: {joined:?}");
        if struck.is_some() {
            let ran = laptop.run(&["join", text(&laptop.mail), text(&bundle), "--layout", "fs"]);
            assert_eq!(ran.code, 0, "stopped at step {step}, {struck:?}: {}", ran.stderr);
        }
        expect_same(&laptop, &desktop, &format!("stopped at step {step}"));
        if struck.is_none() {
            break;
        }
    }
    assert!(step > 10, "a join touches the disk more often than {step} times");
}

/// A machine with mail that the inviter has, too, and that a mail program has brought here.
fn with_the_same_mail(dir: &Path, desktop: &Machine, name: &str) -> Machine {
    let laptop = Machine::new(dir, name);
    for item in fs::read_dir(&desktop.mail).unwrap().map(Result::unwrap) {
        copy(&item.path(), &laptop.mail.join(item.file_name()));
    }
    laptop
}

/// Makes a part of a mail root such that it isn't read; with what is said about it, and what puts it right.
type Hide = (&'static str, fn(&Path), &'static str, fn(&Path));

#[test]
fn a_join_stops_before_it_doubles_what_it_can_not_read() {
    use std::os::unix::fs::symlink;
    let table: [Hide; 6] = [
        (
            "a message that leads nowhere",
            |root| {
                fs::rename(root.join("cur/0.host:2,S"), root.join("message")).unwrap();
                symlink("/nowhere", root.join("cur/0.host:2,S")).unwrap();
            },
            "cur/0.host:2,S",
            |root| fs::rename(root.join("message"), root.join("cur/0.host:2,S")).unwrap(),
        ),
        (
            "a folder that leads nowhere",
            |root| {
                fs::rename(root.join(".Sent"), root.with_extension("elsewhere")).unwrap();
                symlink("/nowhere", root.join(".Sent")).unwrap();
            },
            ".Sent",
            |root| {
                fs::remove_file(root.join(".Sent")).unwrap();
                fs::rename(root.with_extension("elsewhere"), root.join(".Sent")).unwrap();
            },
        ),
        (
            "a folder whose cur leads nowhere",
            |root| {
                fs::rename(root.join(".Sent/cur"), root.with_extension("elsewhere")).unwrap();
                symlink("/nowhere", root.join(".Sent/cur")).unwrap();
            },
            ".Sent/cur",
            |root| {
                fs::remove_file(root.join(".Sent/cur")).unwrap();
                fs::rename(root.with_extension("elsewhere"), root.join(".Sent/cur")).unwrap();
            },
        ),
        (
            "a folder whose cur is a file",
            |root| {
                fs::rename(root.join(".Sent/cur"), root.with_extension("elsewhere")).unwrap();
                fs::write(root.join(".Sent/cur"), "").unwrap();
            },
            ".Sent",
            |root| {
                fs::remove_file(root.join(".Sent/cur")).unwrap();
                fs::rename(root.with_extension("elsewhere"), root.join(".Sent/cur")).unwrap();
            },
        ),
        (
            "a folder that the layout passes over",
            |root| fs::rename(root.join(".Sent"), root.join("Sent")).unwrap(),
            "leaves out 1 Maildir",
            |root| fs::rename(root.join("Sent"), root.join(".Sent")).unwrap(),
        ),
        (
            "a folder with a name that none can have",
            |root| fs::rename(root.join(".Sent"), root.join("..Sent")).unwrap(),
            "can't be the name of a folder",
            |root| fs::rename(root.join("..Sent"), root.join(".Sent")).unwrap(),
        ),
    ];
    let dir = scratch();
    let desktop = inviter(dir.path(), 12);
    desktop.ok(&["scan"]);
    for (number, (case, hide, words, put_right)) in table.into_iter().enumerate() {
        let laptop = with_the_same_mail(dir.path(), &desktop, &format!("laptop{number}"));
        let bundle = invite(&desktop, &laptop.name, &dir.path().join(format!("invitation {number}")), &[]);
        hide(&laptop.mail);
        // What its file system can do was tried in a directory that came and went.
        let everything = || {
            let all = laptop.everything().into_iter().filter(|(path, _)| *path != laptop.mail);
            all.collect::<std::collections::BTreeMap<_, _>>()
        };
        let before = everything();
        let ran = try_join(&laptop, &bundle);
        complains(&ran, 1, &[words]);
        assert!(everything() == before, "{case}");
        put_right(&laptop.mail);
        let found = laptop.ok(&["--json", "join", text(&laptop.mail), text(&bundle)]).json();
        assert_eq!((&found["scan"]["adopted"], &found["scan"]["new"]), (&12.into(), &0.into()), "{case}");
        expect_same(&laptop, &desktop, case);
        expect_at_rest(&laptop, case);
    }
}

#[test]
fn a_join_doubles_nothing_whatever_can_not_be_read_and_when() {
    use rustix::io::Errno;
    let dir = scratch();
    let desktop = inviter(dir.path(), 6);
    desktop.ok(&["scan"]);
    let bundle = invite(&desktop, "laptop", &dir.path().join("invitation"), &[]);
    let (mut n, mut stopped) = (0, 0);
    loop {
        n += 1;
        let laptop = with_the_same_mail(dir.path(), &desktop, "laptop");
        let watch = Watch::new(&dir.path().join("keep"));
        let options = JoinOptions {
            mail_root: laptop.mail.clone(),
            name: None,
            layout: None,
            server: None,
            expect: None,
            code: None,
            doubts: mailsync::replica::Doubts::Heed,
            clock_ahead: mailsync::replica::ClockAhead::Refuse,
            lock_timeout: Duration::from_secs(10),
        };
        let world = World { disk: watch.disk(), ..World::real() };
        watch.arm(Fault::Fail(n, if n % 2 == 0 { Errno::IO } else { Errno::ACCESS }));
        let file = std::io::BufReader::new(fs::File::open(&bundle).unwrap());
        let joined = Replica::join(&Home::at(&laptop.home), world, &options, Some(&bundle), file);
        let (struck, failed) = (watch.struck(), joined.as_ref().err().map(ToString::to_string));
        drop(joined);
        if failed.is_some() {
            stopped += 1;
            join(&laptop, &bundle);
        }
        assert_same(&laptop.mailbox(), &desktop.mailbox(), &format!("{struck:?}: {failed:?}"));
        laptop.is_at_rest(&format!("{struck:?}"));
        for dir in [&laptop.home, &laptop.mail] {
            fs::remove_dir_all(dir).unwrap();
        }
        if struck.is_none() {
            break;
        }
    }
    assert!(stopped > 20, "{stopped} of {n}");
}
