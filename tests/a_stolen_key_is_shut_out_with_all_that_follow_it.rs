//! Whoever has the home of a machine can make as many keys that follow its own as he likes, and lead each of the others to another
//! one. A revocation of the machine by its name covers all of them, whoever follows which.

use std::path::Path;

use mailsync::bundle::{PrivateKey, ReplicaLine, Revocation};
use serde_json::Value;

use crate::a_lost_machine_is_shut_out::{is_loud, keys, mesh, moment, peer, revoked, sorted};
use crate::support::forge::{Forge, clock, stamp};
use crate::support::machine::{Machine, complains, exchange, make_peers, pass};
use crate::support::programs::Ran;
use crate::support::{copy, scratch};

fn id(machine: &Machine) -> String {
    machine.public_key().id().to_string()
}

/// A copy of all that a machine has, in other hands.
fn stolen(machine: &Machine, dir: &Path, name: &str) -> Machine {
    let thief = Machine { name: machine.name.clone(), mail: machine.mail.clone(), home: dir.join(name) };
    copy(&machine.home, &thief.home);
    thief
}

/// A copy of a machine with a key of its own, which follows that of the machine.
fn fork(machine: &Machine, dir: &Path, name: &str) -> Machine {
    let thief = stolen(machine, dir, name);
    thief.ok(&["key", "rotate"]);
    thief
}

/// What a machine says to a bundle of another one.
fn offer(from: &Machine, to: &Machine) -> Ran {
    to.run_with(&["import"], &from.ok(&["export", "--to", &to.name, "--full"]).stdout)
}

/// A bundle is refused as its sender was revoked. What it says of its key may be remembered all the same.
#[track_caller]
fn refused(to: &Machine, from: &Machine, words: &[&str]) {
    complains(&offer(from, to), 4, &[&["nothing is taken from it"][..], words].concat());
}

/// How often something has run.
fn runs(file: &Path) -> usize {
    std::fs::read_to_string(file).unwrap_or_default().lines().count()
}

#[test]
fn two_keys_of_one_stolen_home_are_shut_out_by_one_revocation_by_name() {
    let dir = scratch();
    let [server, desktop, phone, laptop] = mesh(dir.path(), ["server", "desktop", "phone", "laptop"]);
    let ran = dir.path().join("ran");
    server.allow("do", &["/bin/sh", "-c", &format!("echo ran >> {}", ran.display())], &[], "laptop");
    let (first, theft) = (id(&laptop), moment());
    let [one, other] = ["one", "other"].map(|name| fork(&laptop, dir.path(), name));
    assert_eq!(offer(&one, &desktop).code, 0);
    assert_eq!(offer(&other, &server).code, 0);
    assert_eq!(
        (&peer(&desktop, "laptop")["id"], &peer(&server, "laptop")["id"]),
        (&id(&one).into(), &id(&other).into())
    );
    other.run_with(&["uux", "server", "do"], b"");
    assert_eq!(offer(&other, &server).code, 0);
    assert_eq!(runs(&ran), 1, "nobody has told the server yet");

    desktop.ok(&["peer", "revoke", "laptop", "--since", &theft]);
    let heard = pass(&desktop, &server);
    assert!(is_loud(&heard) && !heard.stderr.contains("two keys"), "{}", heard.stderr);
    let all = sorted([first.clone(), id(&one), id(&other)]);
    assert_eq!(keys(&server, "laptop"), all);
    other.run_with(&["uux", "server", "do"], b"");
    for thief in [&one, &other, &laptop] {
        refused(&server, thief, &["laptop was revoked by desktop"]);
        refused(&desktop, thief, &["laptop was revoked by this replica"]);
    }
    assert_eq!(runs(&ran), 1);

    // The phone knows the first key alone, and hears of the others after the theft.
    pass(&server, &phone);
    for thief in [&other, &one, &laptop] {
        refused(&phone, thief, &["laptop was revoked by desktop"]);
    }
    assert_eq!(peer(&phone, "laptop")["id"], Value::from(first));
    // Each shows one machine, and is quiet when somebody has looked.
    for machine in [&server, &phone] {
        machine.ok(&["peer", "revoke", "laptop", "--since", &theft]);
        let said = machine.ok(&["scan"]).stderr;
        assert!(!said.contains("REVOKED") && !said.contains("two keys"), "{said}");
        assert_eq!(revoked(machine).len(), 1, "{:?}", revoked(machine));
    }
    pass(&server, &desktop);
    assert_eq!(keys(&desktop, "laptop"), all);
    let said = desktop.ok(&["scan"]).stderr;
    assert!(!said.contains("REVOKED") && !said.contains("two keys"), "{said}");
}

#[test]
fn who_knows_only_a_later_key_shuts_it_out_in_whatever_order_it_hears_of_that() {
    let dir = scratch();
    let [server, desktop, laptop] = mesh(dir.path(), ["server", "desktop", "laptop"]);
    let theft = moment();
    let [one, other] = ["one", "other"].map(|name| fork(&laptop, dir.path(), name));
    assert_eq!(offer(&one, &desktop).code, 0);
    assert_eq!(offer(&other, &server).code, 0);
    // Three that come later, and know the laptop by the key that it has then: one of them hears first that it has followed
    // another one, one hears it only later, and one knows the key that is known where it is revoked.
    let later = ["before", "after", "same"].map(|name| Machine::replica(dir.path(), name));
    let [before, after, same] = &later;
    for machine in &later {
        make_peers(&server, machine);
        make_peers(&desktop, machine);
    }
    pass(&server, before);
    for (machine, key) in [(before, &other), (after, &other), (same, &one)] {
        machine.ok(&["peer", "add", "laptop", "--key", &key.key()]);
        key.ok(&["peer", "add", &machine.name, "--key", &machine.key()]);
        assert_eq!(offer(key, machine).code, 0, "{}", machine.name);
    }
    desktop.ok(&["peer", "revoke", "laptop", "--since", &theft]);
    let heard = pass(&desktop, same);
    assert!(is_loud(&heard), "{}", heard.stderr);
    pass(&desktop, before);
    pass(&desktop, after);
    pass(&server, after);
    for (machine, key) in [(before, &other), (after, &other), (same, &one)] {
        refused(machine, key, &["laptop was revoked by desktop"]);
        assert_eq!(revoked(machine).len(), 1, "{}: {:?}", machine.name, revoked(machine));
    }
    // Nobody else is.
    for machine in &later {
        for other in ["server", "desktop"] {
            assert_eq!(peer(machine, other)["revoked"], Value::Null);
        }
        exchange(&server, machine);
    }
}

#[test]
fn a_key_that_follows_a_stolen_one_later_is_shut_out_whoever_has_made_it() {
    let dir = scratch();
    let [server, desktop, phone, laptop] = mesh(dir.path(), ["server", "desktop", "phone", "laptop"]);
    let theft = moment();
    let thief = fork(&laptop, dir.path(), "thief");
    assert_eq!(offer(&thief, &server).code, 0);
    desktop.ok(&["peer", "revoke", "laptop", "--since", &theft]);
    pass(&desktop, &server);
    pass(&desktop, &phone);
    // The owner has found the laptop, and gives it another key.
    laptop.ok(&["key", "rotate"]);
    for machine in [&server, &desktop, &phone] {
        refused(machine, &laptop, &["laptop was revoked by"]);
    }
    let again = desktop.fails(&["peer", "add", "found", "--key", &laptop.key()], 4);
    assert!(again.contains("this key was revoked by this replica"), "{again}");
    // Trusted again on the desktop, which has followed nobody, it is followed; where the thief was, the person has to say which
    // of the two it is.
    desktop.ok(&["peer", "reinstate", "laptop"]);
    pass(&laptop, &desktop);
    assert_eq!(peer(&desktop, "laptop")["id"], Value::from(id(&laptop)));
    assert_eq!(offer(&thief, &desktop).code, 4);
    let said = server.ok(&["peer", "add", "laptop", "--key", &laptop.key()]).stderr;
    assert!(said.contains("laptop was revoked by desktop") && said.contains("all the same"), "{said}");
    assert_eq!(offer(&laptop, &server).code, 4);
    server.ok(&["peer", "reinstate", "laptop"]);
    assert_eq!((offer(&laptop, &server).code, offer(&thief, &server).code), (0, 4));
    let said = server.ok(&["scan"]).stderr;
    assert!(!said.contains("two keys") && !said.contains("REVOKED"), "{said}");
}

#[test]
fn an_id_names_one_of_two_keys_and_who_has_the_other_goes_on() {
    let dir = scratch();
    let [server, desktop, phone, laptop] = mesh(dir.path(), ["server", "desktop", "phone", "laptop"]);
    let thief = fork(&laptop, dir.path(), "thief");
    laptop.ok(&["key", "rotate"]);
    assert_eq!((offer(&laptop, &desktop).code, offer(&thief, &server).code), (0, 0));
    let told = offer(&thief, &desktop);
    assert_eq!(told.code, 4);
    for said in [told.stderr, desktop.ok(&["scan"]).stderr] {
        assert!(said.contains("trust neither: `mailsync peer revoke laptop`"), "{said}");
        assert!(said.contains("only if it is in your hands"), "{said}");
    }
    // It is in the owner's hands, who finds that the other key isn't his.
    let said = desktop.ok(&["peer", "revoke", &id(&thief)]).stderr;
    assert!(!said.contains("two keys"), "{said}");
    assert!(!desktop.ok(&["scan"]).stderr.contains("two keys"), "he has decided");
    assert_eq!((peer(&desktop, "laptop")["revoked"].clone(), offer(&laptop, &desktop).code), (Value::Null, 0));
    pass(&desktop, &server);
    pass(&desktop, &phone);
    refused(&server, &thief, &["laptop was revoked by desktop"]);
    // Who knows only the first key follows the one that isn't revoked, whichever comes first.
    assert_eq!((offer(&thief, &phone).code, offer(&laptop, &phone).code), (4, 0));
    assert_eq!(peer(&phone, "laptop")["id"], Value::from(id(&laptop)));
    // Who has followed the thief's is told what to do.
    let told = offer(&laptop, &server).stderr;
    assert!(told.contains("mailsync peer add laptop --key KEY"), "{told}");
    server.ok(&["peer", "add", "laptop", "--key", &laptop.key()]);
    assert_eq!((offer(&laptop, &server).code, offer(&thief, &server).code), (0, 4));
    exchange(&server, &laptop);
}

#[test]
fn whoever_is_named_beside_a_thief_by_the_thief_is_weighed_apart() {
    let dir = scratch();
    let [server, desktop, phone, laptop] = mesh(dir.path(), ["server", "desktop", "phone", "laptop"]);
    let theft = moment();
    desktop.ok(&["peer", "revoke", "laptop", "--since", &theft]);
    pass(&desktop, &phone);
    // One statement of the laptop's about two machines, and somebody whom nobody knows. It comes by way of the server, which
    // doesn't know yet.
    let mut keys = [&desktop, &server].map(|machine| machine.public_key().id());
    keys.sort();
    let revocation = Revocation { keys: keys.to_vec(), ..slander(&laptop, now()) };
    let bundle = said(&laptop, &[(&revocation, &laptop.private_key())]);
    assert_eq!(server.run_with(&["import"], &bundle).code, 0);
    pass(&server, &phone);
    // Of two that revoke each other both are shut out; what was said of the server, after the theft, is void.
    let out = |name: &str| !peer(&phone, name)["revoked"].is_null();
    assert_eq!(["laptop", "desktop", "server"].map(out), [true, true, false], "{:?}", revoked(&phone));
    phone.ok(&["peer", "revoke", "laptop", "--since", &theft]);
    assert_eq!(["laptop", "desktop", "server"].map(out), [true, false, false], "{:?}", revoked(&phone));
}

#[test]
fn keys_that_a_thief_has_made_by_the_dozen_are_one_machine_that_is_shut_out() {
    let dir = scratch();
    let [server, desktop, laptop] = mesh(dir.path(), ["server", "desktop", "laptop"]);
    let theft = moment();
    let first = id(&laptop);
    // More than are kept of one machine.
    for _ in 0..3 {
        for _ in 0..24 {
            laptop.ok(&["key", "rotate"]);
        }
        assert_eq!(offer(&laptop, &desktop).code, 0);
    }
    assert_eq!(peer(&desktop, "laptop")["id"], Value::from(id(&laptop)));
    desktop.ok(&["peer", "revoke", "laptop", "--since", &theft]);
    refused(&desktop, &laptop, &["laptop was revoked by this replica"]);
    let heard = pass(&desktop, &server);
    assert_eq!(heard.stderr.matches("WAS REVOKED").count(), 1, "{}", heard.stderr);
    refused(&server, &laptop, &["was revoked by desktop at"]);
    assert_eq!((revoked(&server).len(), &peer(&server, "laptop")["id"]), (1, &first.into()), "{:?}", revoked(&server));
    assert_eq!(peer(&server, "desktop")["revoked"], Value::Null);
    exchange(&server, &desktop);
}

#[test]
fn what_a_thief_dates_back_counts_nowhere_once_the_theft_is_heard() {
    let dir = scratch();
    let [server, desktop, phone, laptop] = mesh(dir.path(), ["server", "desktop", "phone", "laptop"]);
    // The laptop's own word, while it was in its owner's hands.
    let tablet = Machine::replica(dir.path(), "tablet").public_key().id().to_string();
    laptop.ok(&["peer", "revoke", &tablet]);
    for machine in [&server, &desktop] {
        pass(&laptop, machine);
    }
    let day = 24 * 60 * 60 * 1000;
    let theft = moment();
    let lie = Revocation { who: server.public_key().id(), ..slander(&laptop, now() - day) };
    // The same by somebody who was made for that.
    let made_up = PrivateKey::generate("nobody").unwrap();
    let slander = Revocation { by: made_up.public_key().id(), ..lie.clone() };
    let bundle = said(&laptop, &[(&lie, &laptop.private_key()), (&slander, &made_up)]);
    for machine in [&phone, &desktop] {
        let heard = machine.run_with(&["import"], &bundle);
        assert!(heard.code == 0 && heard.stderr.contains("server WAS REVOKED by "), "{heard:?}");
        assert!(!peer(machine, "server")["revoked"].is_null());
    }
    let told = desktop.ok(&["peer", "revoke", "laptop", "--since", &theft]).stderr;
    assert!(told.contains("server is not shut out any more: it was revoked by "), "{told}");
    assert!(!told.contains("server WAS REVOKED") && !told.contains("laptop WAS REVOKED"), "{told}");
    let told = pass(&desktop, &phone).stderr;
    assert!(told.contains("server is not shut out any more"), "{told}");
    assert!(told.contains("mailsync peer revoke server") && is_in(&phone, "server"), "{told}");
    // Whoever hears of it later, and by whatever way.
    let told = pass(&phone, &server).stderr;
    assert!(told.contains("laptop WAS REVOKED by desktop") && !told.contains("THIS REPLICA"), "{told}");
    for machine in [&desktop, &phone, &server] {
        assert!(!machine.ok(&["scan"]).stderr.contains("server WAS REVOKED"));
        for other in [&desktop, &phone, &server].into_iter().filter(|other| other.name != machine.name) {
            assert!(is_in(machine, &other.name), "{} at {}", other.name, machine.name);
            pass(machine, other);
        }
    }
    // What was heard from it before the theft stands where it was heard.
    let others = |machine: &Machine| machine.ok(&["peer", "list", "--json"]).json()["revoked_others"].to_string();
    assert!(others(&server).contains(&tablet) && others(&desktop).contains(&tablet), "{}", others(&server));
    assert!(!others(&phone).contains(&tablet), "{}", others(&phone));
}

/// Whether a machine isn't shut out by another one.
fn is_in(at: &Machine, name: &str) -> bool {
    peer(at, name)["revoked"].is_null()
}

fn now() -> u64 {
    jiff::Timestamp::now().as_millisecond().unsigned_abs()
}

/// What a machine says of somebody whom nobody knows, at this time.
fn slander(by: &Machine, at: u64) -> Revocation {
    Revocation {
        who: "SHA256:KioqKioqKioqKioqKioqKioqKioqKioqKioqKioqKio".parse().unwrap(),
        keys: vec![],
        name: None,
        since: 1,
        by: by.public_key().id(),
        at,
        reason: None,
        incarnations: vec![],
    }
}

/// A bundle of a machine's with this, as the holders of these keys have said it.
fn said(by: &Machine, revocations: &[(&Revocation, &PrivateKey)]) -> Vec<u8> {
    let clock = clock(now(), 0);
    let mut forge = Forge::new(&by.private_key(), &clock);
    for (revocation, key) in revocations {
        let line = ReplicaLine::revoke(stamp(&clock).parse().unwrap(), revocation, key).unwrap();
        forge.replicas.push([&line.encode()[..], b"\n"].concat());
    }
    forge.bundle()
}
