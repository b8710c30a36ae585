//! `mailsync update` exchanges bundles with each peer by the command that the configuration names: here the binary
//! itself, on the other machine's home.

use std::fs;

use crate::support::machine::{Backup, Machine, complains, make_peers, pair};
use crate::support::programs::Ran;
use crate::support::{scratch, text};

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
    desktop.reach(&laptop);
    desktop.deliver("from-desktop");
    laptop.deliver("from-laptop");
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
    desktop.deliver("from-desktop");
    for peer in &peers {
        desktop.reach(peer);
        peer.deliver(&format!("from-{}", peer.name));
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
    desktop.deliver("from-desktop");
    let missing = dir.path().join("missing");
    desktop.reach_by("a-gone", &[text(&missing)]);
    desktop.reach_by("b-fails", &["sh", "-c", "exit 7"]);
    desktop.reach(&peers[2]);
    desktop.reach_by("d-talks", &["sh", "-c", "cat > /dev/null; echo Welcome"]);
    desktop.reach(&peers[4]);
    let ran = desktop.run(&["update", "--json"]);
    assert_eq!(ran.code, 4, "of several kinds, the worst: {}", ran.stderr);
    let told = ran.json();
    let error = |at: usize| told["peers"][at]["error"]["message"].as_str().map(str::to_owned);
    assert!(error(0).unwrap().contains(text(&missing)), "{told}");
    assert!(error(1).unwrap().contains('7'), "{told}");
    assert_eq!((error(2), error(3), error(4)), (None, None, None), "{told}");
    assert_eq!(told["peers"][3]["bundles"][0]["outcome"], "rejected", "{told}");
    for said in ["updating a-gone: ", "updating b-fails: ", "the answer from d-talks: "] {
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
    desktop.deliver("from-desktop");
    // An answer that is no bundle is rejected.
    desktop.reach_by("alpha", &["sh", "-c", "cat > /dev/null; echo Welcome"]);
    let ran = desktop.run(&["update"]);
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.stderr.contains("the answer could not be applied"), "{ran:?}");
    assert!(ran.stderr.contains("the answer from alpha: "), "{ran:?}");
    // One that the peer refuses is a failure of the call.
    desktop.reach(&peers[1]);
    peers[1].ok(&["peer", "remove", "desktop"]);
    let ran = desktop.run(&["update", "beta"]);
    complains_last(&ran, 4, "updating beta");
    assert_eq!(desktop.run(&["update"]).code, 4, "of several kinds, the worst");
    let ran = desktop.run(&["update", "nobody"]);
    complains(&ran, 2, &["nobody"]);
    // A call for one that is no peer.
    desktop.reach_by("stranger", &["true"]);
    let ran = desktop.run(&["update", "stranger"]);
    complains(&ran, 2, &["stranger"]);
}

#[test]
fn a_peer_that_cannot_be_reached_is_told_apart_from_one_that_fails() {
    let dir = scratch();
    let missing = dir.path().join("missing");
    let calls: &[(&str, &[&str], i32, &str)] = &[
        ("absent", &[text(&missing)], 1, "missing"),
        ("offline", &["sh", "-c", "exit 255"], 7, "it could not be reached: sh has ended with"),
        ("deaf", &["sh", "-c", "cat > /dev/null; exit 255"], 7, "it could not be reached"),
        ("failing", &["sh", "-c", "exit 254"], 1, "sh has ended with"),
        // Something was heard: there was a connection, and it broke off.
        ("cut", &["sh", "-c", "cat > /dev/null; echo Welcome; exit 255"], 4, "sh has ended with"),
    ];
    let names: Vec<&str> = calls.iter().map(|call| call.0).chain(["good"]).collect();
    let (desktop, peers) = star(dir.path(), &names);
    for (name, call, code, words) in calls {
        desktop.reach_by(name, call);
        let ran = desktop.run(&["update", "--quiet", name]);
        complains_last(&ran, *code, words);
        assert!(ran.stderr.contains(&format!("updating {name}: ")), "{ran:?}");
    }
    // The others are updated all the same, and one that fails counts for more.
    let good = peers.last().unwrap();
    desktop.reach(good);
    desktop.deliver("from-desktop");
    complains_last(&desktop.run(&["update", "offline", "good"]), 7, "good: sent, and received");
    assert_eq!(good.mailbox(), desktop.mailbox());
    assert_eq!(desktop.run(&["update", "offline", "failing", "good"]).code, 1, "of several kinds, the worst");
}

#[test]
fn a_peer_that_is_not_known_is_told_apart_from_one_that_has_no_call() {
    let dir = scratch();
    let (desktop, _laptop) = pair(dir.path());
    complains(
        &desktop.run(&["update", "labtop"]),
        2,
        &["updating labtop", "no peer called labtop", "the peers are: laptop"],
    );
    complains(&desktop.run(&["update", "laptop"]), 2, &["doesn't tell how to reach it", "[peer.laptop]"]);
}

/// The last line says this; what the peer said comes before.
#[track_caller]
fn complains_last(ran: &Ran, code: i32, word: &str) {
    assert_eq!(ran.code, code, "{ran:?}");
    assert!(ran.stderr.lines().last().is_some_and(|line| line.contains(word)), "{ran:?}");
}

#[test]
fn an_answer_that_breaks_off_is_told_as_a_connection_and_not_as_a_file() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    laptop.deliver("one");
    let cut = format!("{} | head -c 700", laptop.line("--quiet import --reply"));
    desktop.reach_by("laptop", &["sh", "-c", &cut]);
    let ran = desktop.run(&["update"]);
    assert_eq!(ran.code, 4, "{ran:?}");
    let words = ["the answer from laptop: the bundle is cut off; the connection broke", "`mailsync update` again"];
    assert!(words.iter().all(|words| ran.stderr.contains(words)) && !ran.stderr.contains("copy it"), "{ran:?}");
    assert!(!desktop.has("one"));
    desktop.reconfigure(&[("call", &format!("{:?}", ["sh", "-c", &laptop.line("--quiet import --reply")]))]);
    desktop.ok(&["update"]);
    assert!(desktop.has("one"));
}

#[test]
fn what_a_peer_doesnt_take_keeps_its_kind_and_is_not_to_be_repeated_in_vain() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.reach(&laptop);
    let call = |words: &[&str]| desktop.reconfigure(&[("call", &format!("{words:?}"))]);
    for (status, words) in [
        (3, &["can't be applied there yet", "the next update brings what is missing"][..]),
        (4, &["not accepted there", "mend that there", "will say the same again"]),
        (6, &["refused there for safety", "decide on that machine"]),
        (1, &["then run this again"]),
        (2, &["then run this again"]),
        (5, &["another mailsync works on that replica just now", "then run this again"]),
    ] {
        let code = if [3, 4, 5, 6].contains(&status) { status } else { 1 };
        call(&["sh", "-c", &format!("cat > /dev/null; echo because >&2; exit {status}")]);
        let ran = desktop.run(&["--quiet", "update"]);
        complains_last(&ran, code, &format!("sh has ended with exit status: {status}"));
        assert!(words.iter().all(|words| ran.stderr.contains(words)), "{ran:?}");
        assert_eq!(ran.stderr.contains("run this again"), [1, 5].contains(&code), "{ran:?}");
        let json = desktop.run(&["--json", "update"]).json();
        assert_eq!(json["exit_code"], code, "{json}");
    }
    // As it is: while another command works on the laptop, it takes nothing.
    call(&[
        crate::support::programs::MAILSYNC,
        "--quiet",
        "--home",
        text(&laptop.home),
        "import",
        "--reply",
        "--lock-timeout",
        "0",
    ]);
    let lock = fs::File::open(laptop.home.join("lock")).unwrap();
    fs2::FileExt::lock_exclusive(&lock).unwrap();
    complains_last(&desktop.run(&["--quiet", "update"]), 5, "another mailsync works on that replica just now");
    drop(lock);
    // What the laptop doesn't want is refused there.
    for n in 0..300 {
        laptop.put("INBOX", &format!("cur/{n}:2,S"), crate::support::machine::message(&n.to_string()), 1_600_000_000);
    }
    call(&[crate::support::programs::MAILSYNC, "--quiet", "--home", text(&laptop.home), "import", "--reply"]);
    desktop.ok(&["update"]);
    for file in fs::read_dir(desktop.dir("INBOX").join("cur")).unwrap() {
        fs::remove_file(file.unwrap().path()).unwrap();
    }
    desktop.ok(&["scan", "--allow-mass-delete"]);
    let ran = desktop.run(&["--quiet", "update"]);
    complains_last(&ran, 6, "it was refused there for safety");
    assert!(ran.stderr.contains("laptop: mailsync: "), "{ran:?}");
}

#[test]
fn a_peer_that_is_named_twice_is_called_once() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let calls = dir.path().join("calls");
    let call = format!("echo >> {}; {}", text(&calls), laptop.line("--quiet import --reply"));
    desktop.reach_by("laptop", &["sh", "-c", &call]);
    let json = desktop.ok(&["--json", "update", "laptop", "laptop"]).json();
    assert_eq!(json["peers"].as_array().unwrap().len(), 1, "{json}");
    assert_eq!(fs::read_to_string(&calls).unwrap(), "\n");
}

#[test]
fn a_peer_that_answers_nothing_has_still_got_the_bundle_and_is_told_each_time() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("from-desktop");
    let file = dir.path().join("bundle");
    desktop.reach_by("laptop", &["sh", "-c", &format!("cat > '{}'", file.display())]);
    for args in [&["--quiet", "update"][..], &["--quiet", "update"], &["--quiet", "watch", "--once"]] {
        let ran = desktop.run(args);
        complains(
            &ran,
            1,
            &[
                "laptop: there was no answer: `sh -c cat > '",
                "` has ended with exit status: 0, and nothing came from it",
                "--reply",
            ],
        );
    }
    // Nobody can tell whether it has come.
    let sent = || desktop.ok(&["status", "--json"]).json()["peers"][0]["last_sent_number"].clone();
    assert!(sent().is_null(), "{}", sent());
    laptop.ok(&["import", file.to_str().unwrap()]);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
    desktop.configure("");
    desktop.reconfigure(&[(
        "call",
        &format!(
            "[{:?}, \"--quiet\", \"--home\", {:?}, \"import\", \"--reply\"]",
            crate::support::programs::MAILSYNC,
            text(&laptop.home)
        ),
    )]);
    desktop.ok(&["update"]);
    assert!(sent().is_u64(), "{}", sent());
}

#[test]
fn a_peer_that_does_not_read_is_not_waited_for() {
    let dir = scratch();
    let (desktop, _laptop) = pair(dir.path());
    let noise: Vec<String> =
        (0..60_000_u64).map(|n| format!("{:x}\n", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    desktop.put("INBOX", "cur/large:2,", noise.concat(), 1_600_000_000);
    desktop.reach_by("laptop", &["true"]);
    complains(&desktop.run(&["update"]), 1, &["there was no answer"]);
}

#[test]
fn without_a_call_an_update_says_what_to_write_into_the_configuration() {
    let dir = scratch();
    let (desktop, _laptop) = pair(dir.path());
    desktop.refuses(&["update"], b"", 2, &["config.toml", "call"]);
    desktop.refuses(&["update", "laptop"], b"", 2, &["[peer.laptop]", "config.toml"]);
    desktop.reach_by("laptop", &[]);
    complains(&desktop.run(&["update"]), 2, &["laptop", "empty"]);
}

#[test]
fn a_replica_that_was_invited_becomes_known_by_an_update() {
    let dir = scratch();
    let desktop = Machine::replica(dir.path(), "desktop");
    desktop.deliver("from-desktop");
    let laptop = Machine::new(dir.path(), "laptop");
    let invitation = desktop.ok(&["invite", "laptop"]).stdout;
    let ran = laptop.run_with(&["join", laptop.mail.to_str().unwrap()], &invitation);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    laptop.reach(&desktop);
    laptop.deliver("from-laptop");
    laptop.ok(&["update"]);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
    assert_eq!(desktop.mailbox().len(), 2);
    assert_eq!(desktop.ok(&["peer", "list", "--json"]).json()["invited"].as_array().unwrap().len(), 0);
}

#[test]
fn whoever_was_invited_and_has_not_answered_is_not_called() {
    let dir = scratch();
    let (desktop, peers) = star(dir.path(), &["server", "laptop"]);
    desktop.deliver("from-desktop");
    desktop.reach(&peers[0]);
    let called = dir.path().join("called");
    desktop.reach_by("laptop", &["sh", "-c", &format!("cat > {}", text(&called))]);
    // The laptop is lost. A new one gets its name, and the configuration still tells how to reach the old one.
    for args in [&["peer", "revoke", "laptop"][..], &["peer", "remove", "laptop"]] {
        desktop.ok(args);
    }
    let invitation = desktop.ok(&["invite", "laptop"]).stdout;
    let ran = desktop.ok(&["update"]);
    assert!(ran.stderr.contains("note: laptop was invited and has not answered yet, so it is left out"), "{ran:?}");
    assert!(ran.stderr.contains("server: sent"), "{ran:?}");
    complains(&desktop.run(&["update", "laptop"]), 6, &["updating laptop", "has not answered yet", "nothing was sent"]);
    let both = desktop.run(&["update", "server", "laptop"]);
    assert!(both.code == 6 && both.stderr.contains("server: sent"), "{both:?}");
    assert!(!called.exists(), "nothing was handed to the old one");
    // The new one answers, and is a peer like others from then on.
    let new = Machine::new(dir.path(), "new");
    let joined = new.run_with(&["join", new.mail.to_str().unwrap()], &invitation);
    assert_eq!(joined.code, 0, "{joined:?}");
    let answer = new.ok(&["export", "--to", "desktop"]).stdout;
    assert_eq!(desktop.run_with(&["import"], &answer).code, 0);
    complains(&desktop.run(&["update", "laptop"]), 1, &["there was no answer"]);
    assert!(called.exists());
}

#[test]
fn with_nobody_to_call_but_who_has_not_answered_an_update_scans_and_says_so() {
    let dir = scratch();
    let desktop = Machine::replica(dir.path(), "desktop");
    desktop.ok(&["invite", "laptop"]);
    desktop.deliver("mail");
    desktop.reach_by("laptop", &["false"]);
    let ran = desktop.ok(&["update"]);
    assert!(ran.stderr.contains("laptop was invited and has not answered yet"), "{ran:?}");
    assert_eq!(desktop.ok(&["status", "--json"]).json()["messages"], 1);
    assert_eq!(desktop.ok(&["update", "--json"]).json()["peers"].as_array().unwrap().len(), 0);
}

#[test]
fn a_peer_that_lost_its_memory_is_the_same_again_after_two_updates() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.reach(&laptop);
    for subject in ["gone", "stays", "other"] {
        desktop.deliver(subject);
    }
    desktop.ok(&["update"]);
    let backup = Backup::of(&laptop);
    fs::remove_file(desktop.dir("INBOX").join("cur/gone:2,S")).unwrap();
    desktop.deliver("later");
    desktop.ok(&["update"]);
    let purged = desktop.ok(&["purge", "--json"]).json();
    assert_eq!(purged["removals"], 1);
    backup.restore(&laptop);
    laptop.deliver("new");
    let ran = desktop.run(&["update", "--json"]);
    assert_ne!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.json()["peers"][0]["bundles"][0]["outcome"], "not-yet", "{ran:?}");
    desktop.ok(&["update"]);
    assert_eq!(desktop.mailbox(), laptop.mailbox());
    assert_eq!(desktop.mailbox().len(), 4);
}
