//! What a machine had brought before it was revoked, and after the time that was given for that, stays where it was taken. Who is
//! invited from there gets it; others pass it over, and are told so, until a person says that it is to be kept.

use std::path::Path;

use serde_json::Value;

use crate::support::machine::{Machine, assert_same, complains, exchange, make_peers, pass};
use crate::support::programs::Ran;
use crate::support::scratch;

/// This very moment, as it is typed; later than all that was done before, and earlier than all that comes.
fn moment() -> String {
    let pause = || std::thread::sleep(std::time::Duration::from_millis(2));
    pause();
    let now = jiff::Timestamp::now().to_string();
    pause();
    now
}

/// These machines, each known to each other, with the same mail, and the moment after that.
fn mesh<const N: usize>(dir: &Path, names: [&str; N]) -> ([Machine; N], String) {
    let machines = names.map(|name| Machine::replica(dir, name));
    for (n, one) in machines.iter().enumerate() {
        machines[n + 1..].iter().for_each(|other| make_peers(one, other));
    }
    machines[0].deliver("kept");
    machines[0].deliver("filed");
    for _ in 0..2 {
        for (n, one) in machines.iter().enumerate() {
            machines[n + 1..].iter().for_each(|other| exchange(one, other));
        }
    }
    (machines, moment())
}

/// A new machine joins by an invitation from this one.
fn invite(inviter: &Machine, dir: &Path, name: &str) -> (Machine, Ran) {
    let new = Machine::new(dir, name);
    let invitation = inviter.ok(&["invite", name]);
    let joined = new.run_with(&["join", new.mail.to_str().unwrap(), "-"], &invitation.stdout);
    assert_eq!(joined.code, 0, "{}", joined.stderr);
    (new, invitation)
}

fn revoke(machine: &Machine, since: &str, more: &[&str]) -> Ran {
    machine.ok(&[&["peer", "revoke", "laptop", "--since", since][..], more].concat())
}

fn lacks(machine: &Machine, peer: &str) -> u64 {
    let status = machine.ok(&["status", "--json"]).json();
    let peers = status["peers"].as_array().unwrap().clone();
    peers.iter().find(|one| one["name"] == peer).unwrap()["unseen_entries"].as_u64().unwrap()
}

fn peer(machine: &Machine, name: &str) -> Value {
    let status = machine.ok(&["status", "--json"]).json();
    status["peers"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap().clone()
}

#[test]
fn what_was_taken_back_of_a_thief_is_not_told_for_ever() {
    let dir = scratch();
    let ([server, desktop, tablet, laptop], theft) = mesh(dir.path(), ["server", "desktop", "tablet", "laptop"]);
    server.allow("note", &["/bin/true"], &[], "laptop");
    for machine in [&server, &desktop] {
        machine.reconfigure(&[("jobs_days", "0")]);
    }
    laptop.remove("kept");
    laptop.move_to("filed", "Spoils");
    laptop.deliver("forged");
    let job = laptop.ok(&["uux", "server", "note"]).text().trim().to_owned();
    pass(&laptop, &desktop);
    pass(&laptop, &server);
    assert_eq!(server.job(&job)["state"], "done");
    for machine in [&server, &desktop] {
        revoke(machine, &theft, &[]);
    }
    // The tablet never comes, and the laptop has nothing to come for.
    for machine in [&server, &desktop] {
        assert_eq!(peer(machine, "tablet")["unseen_jobs"], 1);
        assert_eq!(machine.ok(&["purge", "--json"]).json()["jobs"], 1, "{}", machine.name);
        assert_eq!(peer(machine, "tablet")["unseen_jobs"], 0);
    }
    let of = |name: &str| {
        let status = server.ok(&["status"]).text().to_owned();
        let block =
            status.split(&format!("\n{name}\n")).nth(1).map(|rest| rest.split("\n\n").next().unwrap().to_owned());
        block.unwrap_or_else(|| panic!("{name}: {status}"))
    };
    let said = of("laptop");
    assert!(said.contains("  lacks         -\n") && said.contains("  next          revoked"), "{said}");

    // The tablet passes over what the server holds until that has taken it back.
    pass(&server, &tablet);
    revoke(&tablet, &theft, &[]);
    exchange(&server, &tablet);
    assert_eq!(peer(&server, "tablet")["unseen_passed_over"], 3);
    for machine in [&server, &desktop] {
        machine.ok(&["trash", "restore", "--by", "laptop", "--since", &theft]);
        machine.ok(&["undo", "--by", "laptop", "--since", &theft]);
        machine.remove("forged");
    }
    for _ in 0..2 {
        for (one, other) in [(&server, &desktop), (&server, &tablet), (&desktop, &tablet)] {
            exchange(one, other);
        }
    }
    for (machine, other) in [(&server, "tablet"), (&server, "desktop"), (&desktop, "tablet"), (&tablet, "server")] {
        let of = peer(machine, other);
        for what in ["unseen_passed_over", "unseen_entries", "unseen_jobs"] {
            assert_eq!(of[what], 0, "{other} at {}: {of}", machine.name);
        }
        let purged = machine.ok(&["purge", "--json"]).json();
        assert_eq!(purged["removals_kept"], 0, "{}: {purged}", machine.name);
    }
    // What it passes over is acknowledged as all else.
    pass(&tablet, &server);
    let said = of("tablet");
    assert!(said.contains("  acknowledged  bundle ") && !said.contains("nothing later"), "{said}");
    // The job stays forgotten, whoever brings it again, and is not run.
    server.ok(&["peer", "reinstate", "laptop"]);
    let bundle = laptop.ok(&["export", "--to", "server", "--full"]).stdout;
    server.run_with(&["import"], &bundle);
    assert_eq!(server.ok(&["jobs", "list", "--json"]).json()["jobs"], serde_json::json!([]));
}

#[test]
fn long_after_a_revocation_a_purge_forgets_what_is_over_and_the_thief_stays_out() {
    let dir = scratch();
    let ([server, desktop, laptop], theft) = mesh(dir.path(), ["server", "desktop", "laptop"]);
    laptop.remove("kept");
    laptop.move_to("filed", "Spoils");
    let evil = laptop.ok(&["export", "--to", "server"]).stdout;
    assert_eq!(server.run_with(&["import"], &evil).code, 0);
    for machine in [&server, &desktop] {
        revoke(machine, &theft, &[]);
    }
    for (one, other) in [(&server, &desktop), (&desktop, &server)] {
        exchange(one, other);
    }
    // All that goes by its age has it.
    server.reconfigure(&[("trash_days", "0"), ("history_days", "0"), ("jobs_days", "0")]);
    let purge = || server.ok(&["purge", "--json"]).json();
    let left = |purged: &Value| (purged["removals_kept"].as_u64(), purged["trashed"].as_u64());
    // What the thief has removed is on the desktop: so it is remembered, and can be brought back.
    assert_eq!(left(&purge()), (Some(1), Some(0)));
    server.ok(&["trash", "restore", "--by", "laptop", "--since", &theft]);
    exchange(&server, &desktop);
    assert_eq!(left(&purge()), (Some(0), Some(0)));
    assert!(server.has("kept"));
    // The history doesn't go so far any more, and says so. The word against the thief stays.
    complains(&server.run(&["undo", "--by", "laptop", "--since", &theft]), 1, &["could be taken back"]);
    server.refuses(&["import"], &evil, 4, &["laptop was revoked by"]);
    let full = laptop.ok(&["export", "--to", "server", "--full"]).stdout;
    server.refuses(&["import"], &full, 4, &["laptop was revoked by"]);
    server.move_to("filed", "INBOX");
    exchange(&server, &desktop);
    assert_same(&server.mailbox(), &desktop.mailbox(), "what the owner has put back by hand");
    for machine in [&server, &desktop] {
        assert_eq!(left(&machine.ok(&["purge", "--json"]).json()).0, Some(0), "{}", machine.name);
        machine.ok(&["doctor"]);
    }
    let (new, _) = invite(&server, dir.path(), "new");
    assert_same(&new.mailbox(), &desktop.mailbox(), "a machine that begins then");
}

fn passed_over(machine: &Machine) -> Value {
    machine.ok(&["status", "--json"]).json()["passed_over"].clone()
}

#[test]
fn who_is_invited_after_a_revocation_holds_what_its_inviter_holds() {
    let dir = scratch();
    let ([desktop, laptop], early) = mesh(dir.path(), ["desktop", "laptop"]);
    // All of it is honest: the time that is given is too early, as it should be in doubt.
    laptop.deliver("on the way");
    laptop.flag("kept", "FS");
    laptop.move_to("filed", "Done");
    pass(&laptop, &desktop);
    let said = revoke(&desktop, &early, &[]);
    assert!(
        said.stderr.contains("3 messages that laptop has brought or changed since then stay here"),
        "{}",
        said.stderr
    );

    let (tablet, invitation) = invite(&desktop, dir.path(), "tablet");
    assert!(invitation.stderr.contains("3 messages that laptop has brought or changed"), "{}", invitation.stderr);
    assert_same(&tablet.mailbox(), &desktop.mailbox(), "after the join");
    assert_eq!(tablet.folders(), desktop.folders());
    // It has heard of the revocation by that, and shuts the laptop out as well.
    let told = tablet.fails(&["peer", "add", "laptop", "--key", &laptop.key()], 4);
    assert!(told.contains("this key was revoked by desktop"), "{told}");

    exchange(&desktop, &tablet);
    desktop.deliver("news");
    tablet.deliver("more");
    exchange(&desktop, &tablet);
    exchange(&desktop, &tablet);
    assert_same(&tablet.mailbox(), &desktop.mailbox(), "after more of it");
    assert_eq!((lacks(&desktop, "tablet"), lacks(&tablet, "desktop")), (0, 0));
    assert_eq!(passed_over(&tablet), Value::Array(vec![]));
    let heard = pass(&desktop, &tablet);
    assert!(!heard.stderr.contains("passed over"), "{}", heard.stderr);
}

#[test]
fn who_is_made_known_after_a_revocation_and_has_heard_of_nobody_begins_with_all_of_its_first_full_bundle() {
    let dir = scratch();
    let ([desktop, laptop], early) = mesh(dir.path(), ["desktop", "laptop"]);
    laptop.deliver("on the way");
    pass(&laptop, &desktop);
    revoke(&desktop, &early, &[]);
    let tablet = Machine::replica(dir.path(), "tablet");
    tablet.deliver("its own");
    make_peers(&desktop, &tablet);
    let full = desktop.ok(&["export", "--to", "tablet", "--full"]).stdout;
    assert_eq!(tablet.run_with(&["import"], &full).code, 0);
    exchange(&desktop, &tablet);
    exchange(&desktop, &tablet);
    assert_same(&tablet.mailbox(), &desktop.mailbox(), "after the first full bundle");
    assert_eq!((lacks(&desktop, "tablet"), lacks(&tablet, "desktop")), (0, 0));
}

#[test]
fn what_others_pass_over_is_told_once_and_shown_until_somebody_keeps_it() {
    let dir = scratch();
    let ([server, desktop, laptop], early) = mesh(dir.path(), ["server", "desktop", "laptop"]);
    laptop.deliver("on the way");
    laptop.deliver("forged");
    laptop.flag("kept", "FS");
    pass(&laptop, &desktop);
    revoke(&desktop, &early, &[]);
    let told = pass(&desktop, &server);
    for words in [
        "2 messages that laptop has brought, and what laptop has changed of 1 other message are passed over",
        "since laptop was revoked; if that is yours, look at it on desktop",
        "`mailsync peer revoke --keep`",
    ] {
        assert!(told.stderr.contains(words), "{words}: {}", told.stderr);
    }
    assert!(!server.has("on the way") && !server.has("forged"));
    assert_eq!(passed_over(&server), serde_json::json!([{ "of": "laptop", "messages": 2 }]));
    let shown = server.ok(&["status"]);
    assert!(shown.words().contains("passed over 2 messages that laptop has brought"), "{}", shown.text());
    // Of what is brought again, no more is said; a full bundle has it all.
    pass(&server, &desktop);
    let again = server.run_with(&["import"], &desktop.ok(&["export", "--to", "server", "--full"]).stdout);
    assert!(again.code == 0 && !again.stderr.contains("passed over"), "{}", again.stderr);
    assert_eq!(passed_over(&server)[0]["messages"], 2);

    // Somebody looks, and removes what isn't theirs.
    desktop.remove("forged");
    let kept = revoke(&desktop, &early, &["--keep", "--json"]).json();
    assert_eq!((&kept["made_own"], &kept["held"]), (&2.into(), &0.into()), "{kept}");
    let heard = pass(&desktop, &server);
    assert!(!heard.stderr.contains("passed over"), "{}", heard.stderr);
    assert!(server.has("on the way") && !server.has("forged"));
    assert_same(&server.mailbox(), &desktop.mailbox(), "after it is kept");
    assert_eq!(passed_over(&server), Value::Array(vec![]));
    // Repeated, it finds nothing to do.
    let again = revoke(&desktop, &early, &["--keep", "--json"]).json();
    assert_eq!((&again["made_own"], &again["held"]), (&0.into(), &0.into()), "{again}");
    exchange(&server, &desktop);
    assert_same(&server.mailbox(), &desktop.mailbox(), "at rest");
}

#[test]
fn what_is_passed_over_comes_when_the_machine_is_trusted_again() {
    let dir = scratch();
    let ([server, desktop, laptop], early) = mesh(dir.path(), ["server", "desktop", "laptop"]);
    laptop.deliver("on the way");
    pass(&laptop, &desktop);
    revoke(&desktop, &early, &[]);
    pass(&desktop, &server);
    pass(&server, &desktop);
    pass(&desktop, &server);
    assert!(!server.has("on the way"));
    server.ok(&["peer", "reinstate", "laptop"]);
    assert_eq!(passed_over(&server), Value::Array(vec![]));
    pass(&server, &desktop);
    pass(&desktop, &server);
    assert!(server.has("on the way"));
    exchange(&desktop, &server);
    assert_eq!(lacks(&desktop, "server"), 0);
}

/// What a delta from one machine for another holds: entries, messages and their bytes, and jobs.
fn delta(from: &Machine, to: &Machine) -> ([u64; 4], Vec<u8>) {
    let bundle = from.ok(&["export", "--to", &to.name]).stdout;
    let shown = from.run_with(&["inspect", "--json", "-"], &bundle).json();
    let one = &shown["bundles"][0];
    let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("{shown:#}"));
    let counts = ["entries", "messages", "bytes", "jobs"].map(|what| number(&one[what]));
    (counts, bundle)
}

fn import(machine: &Machine, bundle: &[u8]) -> Ran {
    let ran = machine.run_with(&["import"], bundle);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    ran
}

#[test]
fn what_is_passed_over_is_not_sent_again() {
    let dir = scratch();
    let ([server, desktop, laptop], theft) = mesh(dir.path(), ["server", "desktop", "laptop"]);
    // The thief: much mail, a removal, a flag, and a job with its input.
    laptop.put("INBOX", "cur/much:2,", [b"Subject: much\n\n".as_slice(), &vec![b'x'; 100_000]].concat(), 5);
    laptop.deliver("forged");
    laptop.remove("filed");
    laptop.flag("kept", "FS");
    laptop.run_with(&["uux", "server", "do"], &vec![b'y'; 50_000]);
    pass(&laptop, &desktop);
    server.ok(&["peer", "revoke", "laptop", "--since", &theft]);

    // It is told once: the desktop doesn't know yet, and sends all of it.
    let (first, bundle) = delta(&desktop, &server);
    assert!(first[0] >= 4 && first[1] >= 3 && first[2] > 100_000 && first[3] == 1, "{first:?}");
    let told = import(&server, &bundle);
    for words in
        ["2 messages that laptop has brought", "1 statement about jobs by a replica that was revoked is passed over"]
    {
        assert!(told.stderr.contains(words), "{words}: {}", told.stderr);
    }
    pass(&server, &desktop);
    desktop.ok(&["peer", "revoke", "laptop", "--since", &theft]);
    // What the desktop does itself goes along, and nothing else.
    desktop.deliver("news");
    let (second, bundle) = delta(&desktop, &server);
    assert_eq!((second[0], second[1], second[3]), (1, 1, 0), "{second:?}");
    assert!(second[2] < 1000, "{second:?}");
    let told = import(&server, &bundle);
    assert!(!told.stderr.contains("passed over"), "{}", told.stderr);
    assert!(server.has("news") && server.has("filed") && !server.has("forged"));
    exchange(&server, &desktop);
    assert_eq!(delta(&desktop, &server).0, [0; 4]);
    let status = desktop.ok(&["status", "--json"]).json();
    let of_server = status["peers"].as_array().unwrap().iter().find(|peer| peer["name"] == "server").unwrap().clone();
    assert_eq!(lacks(&desktop, "server"), 0, "{of_server}");
    assert_eq!(of_server["unseen_passed_over"], 4, "{of_server}");

    // Forged mail that is removed is forgotten, though the server passes over all of it. What the thief has removed isn't.
    desktop.remove("forged");
    exchange(&desktop, &server);
    let purged = desktop.ok(&["purge", "--json"]).json();
    assert_eq!((&purged["removals"], &purged["removals_kept"]), (&1.into(), &1.into()), "{purged}");
    exchange(&desktop, &server);
    assert!(server.has("filed") && server.has("news"));
    let full = desktop.ok(&["export", "--to", "server", "--full"]).stdout;
    import(&server, &full);
    assert!(server.has("filed") && server.has("news"), "a full bundle removes nothing");

    // Trusted again, it all comes: a bundle that was made before that tells nothing that it lacks.
    let (_, under_way) = delta(&desktop, &server);
    server.ok(&["peer", "reinstate", "laptop"]);
    import(&server, &under_way);
    exchange(&server, &desktop);
    exchange(&server, &desktop);
    assert_same(&server.mailbox(), &desktop.mailbox(), "after the reinstatement");
    assert!(!server.has("filed"));
}
