//! `mailsync update` exchanges bundles with each peer by the command that the configuration names: here the binary itself,
//! on the other machine's home.

mod support;

use std::fs;

use support::{Machine, complains, make_peers, pair, scratch};

fn put(machine: &Machine, subject: &str) {
    machine.put("INBOX", &format!("cur/{subject}:2,S"), format!("Subject: {subject}\n\n"), 1_600_000_000);
}

/// Tells a machine how to reach a peer.
fn call(machine: &Machine, peer: &str, call: &[&str]) {
    let file = machine.home.join("config.toml");
    let call: Vec<String> = call.iter().map(|word| format!("{word:?}")).collect();
    let config = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{config}\n[peer.{peer}]\ncall = [{}]\n", call.join(", "))).unwrap();
}

/// The same, where the peer is another machine of the test.
fn reach(machine: &Machine, peer: &Machine) {
    let home = peer.home.to_str().unwrap();
    call(machine, &peer.name, &[env!("CARGO_BIN_EXE_mailsync"), "--quiet", "--home", home, "import", "--reply"]);
}

/// A machine and this many peers, all of which it can reach.
fn star(dir: &std::path::Path, names: &[&str]) -> (Machine, Vec<Machine>) {
    let desktop = Machine::replica(dir, "desktop");
    let peers: Vec<Machine> = names.iter().map(|name| Machine::replica(dir, name)).collect();
    for peer in &peers {
        make_peers(&desktop, peer);
    }
    (desktop, peers)
}

#[test]
fn an_update_makes_both_sides_the_same() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    reach(&desktop, &laptop);
    put(&desktop, "from-desktop");
    put(&laptop, "from-laptop");
    let ran = desktop.ok(&["update"]);
    assert!(ran.stdout.is_empty() && ran.stderr.contains("laptop: sent, and received 1 new"), "{ran:?}");
    assert_eq!(desktop.mailbox().len(), 2);
    assert_eq!(desktop.mailbox(), laptop.mailbox());
    fs::remove_file(desktop.dir("INBOX").join("cur/from-desktop:2,S")).unwrap();
    let ran = desktop.ok(&["update", "laptop", "--json"]).json();
    assert_eq!(ran["peers"][0]["peer"], "laptop");
    assert_eq!(ran["peers"][0]["error"], serde_json::Value::Null);
    assert_eq!(ran["peers"][0]["bundles"][0]["outcome"], "nothing-new", "the answer tells that it knows: {ran}");
    assert_eq!(desktop.mailbox().len(), 1);
    assert_eq!(desktop.mailbox(), laptop.mailbox());
    let ran = desktop.ok(&["update", "--quiet"]);
    assert!(ran.stderr.is_empty() && ran.stdout.is_empty(), "{ran:?}");
}

#[test]
fn one_update_reaches_all_peers_and_passes_on_what_it_gets() {
    let dir = scratch();
    let (desktop, peers) = star(dir.path(), &["alpha", "beta", "gamma"]);
    put(&desktop, "from-desktop");
    for peer in &peers {
        reach(&desktop, peer);
        put(peer, &format!("from-{}", peer.name));
    }
    let ran = desktop.ok(&["update", "--json"]).json();
    let names: Vec<&str> = ran["peers"].as_array().unwrap().iter().map(|peer| peer["peer"].as_str().unwrap()).collect();
    assert_eq!(names, ["alpha", "beta", "gamma"]);
    assert_eq!(desktop.mailbox().len(), 4);
    // The first one was called before the others had told anything.
    assert_eq!(peers.iter().map(|peer| peer.mailbox().len()).collect::<Vec<_>>(), [2, 3, 4]);
    // Named ones only, in that order.
    let ran = desktop.ok(&["update", "--json", "beta", "alpha"]).json();
    assert_eq!(ran["peers"][0]["peer"], "beta");
    assert_eq!(ran["peers"].as_array().unwrap().len(), 2);
    assert_eq!(peers[0].mailbox(), desktop.mailbox());
    assert_eq!(peers[1].mailbox(), desktop.mailbox());
}

#[test]
fn a_peer_that_fails_does_not_keep_the_others_from_being_updated() {
    let dir = scratch();
    let (desktop, peers) = star(dir.path(), &["a-gone", "b-fails", "c-good", "d-talks", "e-good"]);
    put(&desktop, "from-desktop");
    call(&desktop, "a-gone", &["/nowhere/mailsync"]);
    call(&desktop, "b-fails", &["sh", "-c", "exit 7"]);
    reach(&desktop, &peers[2]);
    call(&desktop, "d-talks", &["sh", "-c", "cat > /dev/null; echo Welcome"]);
    reach(&desktop, &peers[4]);
    let ran = desktop.run(&["update", "--json"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let told = ran.json();
    let error = |at: usize| told["peers"][at]["error"].as_str().map(str::to_owned);
    assert!(error(0).unwrap().contains("/nowhere/mailsync"), "{told}");
    assert!(error(1).unwrap().contains('7'), "{told}");
    assert_eq!((error(2), error(3), error(4)), (None, None, None), "{told}");
    assert_eq!(told["peers"][3]["bundles"][0]["outcome"], "rejected", "{told}");
    for said in ["updating a-gone: ", "updating b-fails: ", "the answer of d-talks: "] {
        assert!(ran.stderr.contains(said), "{said:?} should be in {}", ran.stderr);
    }
    for peer in [&peers[2], &peers[4]] {
        assert_eq!(peer.mailbox(), desktop.mailbox());
    }
}

#[test]
fn the_exit_code_says_what_kept_it_from_being_done() {
    let dir = scratch();
    let (desktop, peers) = star(dir.path(), &["alpha", "beta"]);
    put(&desktop, "from-desktop");
    // An answer that is no bundle is rejected.
    call(&desktop, "alpha", &["sh", "-c", "cat > /dev/null; echo Welcome"]);
    let ran = desktop.run(&["update"]);
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.stderr.contains("the answer could not be applied"), "{ran:?}");
    assert!(ran.stderr.contains("the answer of alpha: "), "{ran:?}");
    // One that the peer refuses is a failure of the call.
    reach(&desktop, &peers[1]);
    peers[1].ok(&["peer", "remove", "desktop"]);
    let ran = desktop.run(&["update", "beta"]);
    complains_last(&ran, 1, "updating beta");
    assert_eq!(desktop.run(&["update"]).code, 1, "of several kinds, failed");
    let ran = desktop.run(&["update", "nobody"]);
    complains(&ran, 2, &["nobody"]);
    // A call for one that is no peer.
    call(&desktop, "stranger", &["true"]);
    let ran = desktop.run(&["update", "stranger"]);
    complains(&ran, 2, &["stranger"]);
}

/// The last line says this; what the peer said comes before.
#[track_caller]
fn complains_last(ran: &support::Ran, code: i32, word: &str) {
    assert_eq!(ran.code, code, "{ran:?}");
    assert!(ran.stderr.lines().last().is_some_and(|line| line.contains(word)), "{ran:?}");
}

#[test]
fn a_peer_that_answers_nothing_has_still_got_the_bundle() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    put(&desktop, "from-desktop");
    let file = dir.path().join("bundle");
    call(&desktop, "laptop", &["sh", "-c", &format!("cat > '{}'", file.display())]);
    let ran = desktop.ok(&["update"]);
    assert!(ran.stderr.contains("there was no answer"), "{ran:?}");
    laptop.ok(&["import", file.to_str().unwrap()]);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
}

#[test]
fn a_peer_that_does_not_read_is_not_waited_for() {
    let dir = scratch();
    let (desktop, _laptop) = pair(dir.path());
    let noise: Vec<String> =
        (0..60_000_u64).map(|n| format!("{:x}\n", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    desktop.put("INBOX", "cur/large:2,", noise.concat(), 1_600_000_000);
    call(&desktop, "laptop", &["true"]);
    let ran = desktop.ok(&["update"]);
    assert!(ran.stderr.contains("there was no answer"), "{ran:?}");
}

#[test]
fn without_a_call_an_update_says_what_to_write_into_the_configuration() {
    let dir = scratch();
    let (desktop, _laptop) = pair(dir.path());
    desktop.refuses(&["update"], b"", 2, &["config.toml", "call"]);
    desktop.refuses(&["update", "laptop"], b"", 2, &["[peer.laptop]", "config.toml"]);
    let file = desktop.home.join("config.toml");
    let config = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{config}\n[peer.laptop]\ncall = []\n")).unwrap();
    complains(&desktop.run(&["update"]), 2, &["laptop", "empty"]);
}

#[test]
fn a_replica_that_was_invited_becomes_known_by_an_update() {
    let dir = scratch();
    let desktop = Machine::replica(dir.path(), "desktop");
    put(&desktop, "from-desktop");
    let laptop = Machine::new(dir.path(), "laptop");
    let invitation = desktop.ok(&["invite", "laptop"]).stdout;
    let ran = laptop.run_with(&["join", laptop.mail.to_str().unwrap()], &invitation);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    reach(&laptop, &desktop);
    put(&laptop, "from-laptop");
    laptop.ok(&["update"]);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
    assert_eq!(desktop.mailbox().len(), 2);
    assert_eq!(desktop.ok(&["peer", "list", "--json"]).json()["invited"].as_array().unwrap().len(), 0);
}

#[test]
fn a_peer_that_lost_its_memory_is_the_same_again_after_two_updates() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    reach(&desktop, &laptop);
    for subject in ["gone", "stays", "other"] {
        put(&desktop, subject);
    }
    desktop.ok(&["update"]);
    let copy = |from: &std::path::Path, to: &std::path::Path| {
        let ran = support::run(std::process::Command::new("cp").arg("-a").args([from, to]));
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    };
    let (home, mail) = (dir.path().join("home"), dir.path().join("mail"));
    copy(&laptop.home, &home);
    copy(&laptop.mail, &mail);
    fs::remove_file(desktop.dir("INBOX").join("cur/gone:2,S")).unwrap();
    put(&desktop, "later");
    desktop.ok(&["update"]);
    let purged = desktop.ok(&["purge", "--json"]).json();
    assert_eq!(purged["tombstones"], 1);
    fs::remove_dir_all(&laptop.home).unwrap();
    fs::remove_dir_all(&laptop.mail).unwrap();
    copy(&home, &laptop.home);
    copy(&mail, &laptop.mail);
    put(&laptop, "new");
    let ran = desktop.run(&["update", "--json"]);
    assert_ne!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.json()["peers"][0]["bundles"][0]["outcome"], "not-yet", "{ran:?}");
    desktop.ok(&["update"]);
    assert_eq!(desktop.mailbox(), laptop.mailbox());
    assert_eq!(desktop.mailbox().len(), 4);
}
