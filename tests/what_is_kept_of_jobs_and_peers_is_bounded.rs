//! What a replica keeps of jobs is no more than a bundle can hold, and no date of anybody's keeps it for ever. What is
//! beyond that waits, or is refused with the reason.

use std::fs;

use mailsync::bundle::PrivateKey;
use mailsync::replica::{Access, Home, Replica, World};
use rusqlite::Connection;
use serde_json::json;

use crate::claims_that_can_not_be_true_are_refused::now;
use crate::support::forge::{Forge, clock, stamp};
use crate::support::machine::{Machine, complains, exchange, pair, pass};
use crate::support::party::TIMEOUT;
use crate::support::{scratch, text};

const DAY: u64 = 24 * 60 * 60 * 1000;
const MOST_JOBS: u64 = 20_000;

fn database(machine: &Machine) -> Connection {
    Connection::open(machine.home.join("state.db")).unwrap()
}

/// Puts so many finished jobs of its own for a peer into a machine's state.
fn fill(machine: &Machine, peer: &Machine, jobs: u64) {
    let (me, target) = (machine.public_key().id().to_string(), peer.public_key().id().to_string());
    database(machine)
        .execute(
            "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?)
             INSERT INTO job (id, requester, target, made, state, final_since)
             SELECT CAST(printf('%016d', n) AS BLOB), ?, ?, 1700000000000 + n, 5, 1700000000000 FROM n",
            (jobs.cast_signed(), me, target),
        )
        .unwrap();
}

fn posted(machine: &Machine) -> usize {
    fs::read_dir(machine.home.join("outbox")).unwrap().count()
}

#[test]
fn a_job_beyond_what_a_bundle_can_hold_waits_in_the_outbox_until_old_ones_are_forgotten() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    fill(&desktop, &laptop, MOST_JOBS - 1);
    for command in ["first", "second"] {
        assert_eq!(desktop.run_with(&["uux", "laptop", command], b"").code, 0);
    }
    for _ in 0..2 {
        let ran = desktop.ok(&["scan"]);
        assert!(ran.stderr.contains("as many jobs as a bundle can hold"), "{}", ran.stderr);
        assert_eq!(posted(&desktop), 1);
    }
    // What is there can be written, and taken in: a bundle says nothing of jobs without statements.
    pass(&desktop, &laptop);
    database(&desktop).execute("DELETE FROM job WHERE made < 1700000000010", []).unwrap();
    assert!(!desktop.ok(&["scan"]).stderr.contains("as many jobs"));
    assert_eq!(posted(&desktop), 0);
    pass(&desktop, &laptop);
    assert_eq!(laptop.ok(&["jobs", "list", "--json"]).json()["jobs"].as_array().unwrap().len(), 2);
}

#[test]
fn more_jobs_than_can_be_sent_on_are_not_taken_in() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    for command in ["first", "second"] {
        assert_eq!(desktop.run_with(&["uux", "laptop", command], b"").code, 0);
    }
    let bundle = desktop.ok(&["export", "--to", "laptop"]).stdout;
    fill(&laptop, &desktop, MOST_JOBS - 1);
    laptop.refuses(&["import"], &bundle, 4, &["the number of jobs, with those that are known here", "20000"]);
    database(&laptop).execute("DELETE FROM job WHERE made = 1700000000001", []).unwrap();
    assert_eq!(laptop.run_with(&["import"], &bundle).code, 0);
}

#[test]
fn a_job_that_ended_in_the_future_is_dated_anew_and_forgotten_after_its_days() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let id = desktop.run_with(&["uux", "laptop", "nothing"], b"").text().trim().to_owned();
    pass(&desktop, &laptop);
    let purge = |clock: u64| {
        let world = World { now: Box::new(move || clock), ..World::real() };
        let replica = Replica::open(&Home::at(&laptop.home), world, Access::Write(TIMEOUT)).unwrap();
        replica.purge(mailsync::replica::Doubts::Overrule).unwrap().jobs
    };
    // The laptop has no rule, and says so a year ahead of its time.
    let world = World { now: Box::new(|| now() + 400 * DAY), ..World::real() };
    let replica = Replica::open(&Home::at(&laptop.home), world, Access::Write(TIMEOUT)).unwrap();
    replica.run_jobs(|_| {}).unwrap();
    drop(replica);
    assert_eq!(laptop.job(&id)["state"], "rejected");
    // The peer has to know it, whatever it says of the clock.
    let bundle = laptop.ok(&["export", "--to", "desktop"]).stdout;
    let file = dir.path().join("ahead.zst");
    fs::write(&file, bundle).unwrap();
    let heard = desktop.run(&["import", "--accept-clock", text(&file)]);
    assert!(heard.code == 1 && heard.stderr.contains("was rejected"), "{heard:?}");
    let answer = desktop.ok(&["export", "--to", "laptop"]).stdout;
    fs::write(&file, answer).unwrap();
    laptop.ok(&["import", "--accept-clock", text(&file)]);
    let days = u64::from(laptop.config().jobs_days);
    assert_eq!(purge(now()), 0, "from today on it is kept for its days");
    assert_eq!(purge(now() + (days - 1) * DAY), 0);
    assert_eq!(purge(now() + (days + 1) * DAY), 1);
}

#[test]
fn a_request_that_a_person_took_in_from_the_future_makes_no_later_one_count_as_forgotten() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    // So many jobs of the desktop's were forgotten here that not all ids are kept; and a few are far ahead.
    let requester = desktop.public_key().id().to_string();
    let conn = database(&laptop);
    conn.execute(
        "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 10010)
         INSERT INTO forgotten_job (id, requester, made) SELECT CAST(printf('%016d', n) AS BLOB), ?1, ?2 + n FROM n",
        (&requester, (now() + 400 * DAY).cast_signed()),
    )
    .unwrap();
    drop(conn);
    let id = desktop.run_with(&["uux", "laptop", "first"], b"").text().trim().to_owned();
    pass(&desktop, &laptop);
    laptop.ok(&["jobs", "run"]);
    assert_eq!(laptop.job(&id)["state"], "rejected");
    exchange(&laptop, &desktop);
    laptop.ok(&["jobs", "forget", &id]);
    let second = desktop.run_with(&["uux", "laptop", "second"], b"").text().trim().to_owned();
    pass(&desktop, &laptop);
    let job = laptop.job(&second);
    assert!(job["state"] == "queued" || job["state"] == "rejected", "{job}");
}

#[test]
fn of_the_lives_that_a_peer_makes_up_no_more_are_remembered_than_a_bundle_can_name() {
    let dir = scratch();
    let victim = Machine::replica(dir.path(), "victim");
    let evil = PrivateKey::generate("evil").unwrap();
    victim.ok(&["peer", "add", "evil", "--key", &evil.public_key().to_openssh()]);
    let id = evil.public_key().id().to_string();
    database(&victim)
        .execute(
            "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 4096)
             INSERT INTO heard (peer, incarnation, number) SELECT ?, n, 7 FROM n",
            [&id],
        )
        .unwrap();
    // A life in which nothing was ever done, another one, and the oldest of those that are remembered.
    for incarnation in ["ffffffffffffff01", "ffffffffffffff02", "0000000000000003"] {
        let mut forge = Forge::new(&evil, &clock(now(), 0));
        forge.manifest["sender"]["incarnation"] = json!(incarnation);
        for (field, value) in [("tip", json!({})), ("issued", json!([])), ("number", json!(3))] {
            forge.manifest[field] = value;
        }
        let ran = victim.run_with(&["import"], &forge.bundle());
        assert_eq!(ran.code, 0, "{incarnation}: {}", ran.stderr);
    }
    let heard = |incarnation: i64| -> Option<i64> {
        let query = "SELECT number FROM heard WHERE peer = ? AND incarnation = ?";
        database(&victim).query_row(query, (&id, incarnation), |row| row.get(0)).ok()
    };
    let count: i64 = database(&victim).query_row("SELECT COUNT(*) FROM heard", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 4096);
    let [first, second] = [0xffff_ffff_ffff_ff01_u64, 0xffff_ffff_ffff_ff02].map(u64::cast_signed);
    assert_eq!([1, 2, 3, 4, first, second].map(heard), [None, None, Some(7), Some(7), Some(3), Some(3)]);
}

#[test]
fn an_invited_replica_is_no_peer_before_all_of_its_bundle_was_checked() {
    let dir = scratch();
    let (desktop, laptop) = (Machine::replica(dir.path(), "desktop"), Machine::new(dir.path(), "laptop"));
    desktop.deliver("first");
    let invitation = dir.path().join("invitation");
    desktop.ok(&["invite", "laptop", "--plain", "-o", text(&invitation)]);
    laptop.ok(&["join", text(&laptop.mail), text(&invitation)]);
    laptop.deliver("of the laptop");
    let good = laptop.ok(&["export"]).stdout;
    let shown = laptop.run_with(&["inspect", "-", "--json"], &good).json()["bundles"][0].clone();
    assert!(shown.is_object(), "{shown}");
    // A bundle of the same replica's, with the same proof, in which something can't be true.
    let manifest = zstd_manifest(&good);
    let bad = |number: u64, draw: &dyn Fn(&mut Forge)| {
        let mut forge = Forge::new(&laptop.private_key(), &clock(now(), 0));
        forge.manifest["recipient"] = manifest["recipient"].clone();
        forge.manifest.insert("proof".into(), manifest["proof"].clone());
        forge.manifest["number"] = json!(number);
        draw(&mut forge);
        forge.bundle()
    };
    let untrue = bad(1, &|forge| forge.folder("Work", &stamp(&clock(now() + 1000, 0))));
    let waits = bad(1, &|forge| {
        forge.manifest["base"] = json!({ "00000000000000bb": clock(now(), 0) });
        forge.manifest["tip"]["00000000000000bb"] = json!(clock(now(), 0));
        forge.lines.push(b"garbage\n".to_vec());
    });
    let cut = &good[..good.len() - 5];
    for (bundle, words) in [(&untrue[..], "is not covered by"), (&waits[..], "entries.jsonl"), (cut, "cut off")] {
        complains(&desktop.run_with(&["import"], bundle), 4, &[words]);
        let peers = desktop.ok(&["peer", "list", "--json"]).json();
        assert!(peers["peers"].as_array().unwrap().is_empty(), "{peers}");
        assert_eq!(peers["invited"].as_array().unwrap().len(), 1, "{peers}");
    }
    // One that has to wait and is sound makes it a peer, as its bundle shows what it has.
    let ran = desktop.run_with(&["import"], &good);
    assert!(ran.code == 0 && ran.stderr.contains("has accepted its invitation"), "{}", ran.stderr);
    assert!(desktop.has("of the laptop"));
    assert_eq!(desktop.ok(&["peer", "list", "--json"]).json()["peers"].as_array().unwrap().len(), 1);
}

/// The manifest of a bundle.
fn zstd_manifest(bundle: &[u8]) -> serde_json::Value {
    let archive = zstd::decode_all(bundle).unwrap();
    let mut archive = tar::Archive::new(&archive[..]);
    let manifest = archive.entries().unwrap().next().unwrap().unwrap();
    serde_json::from_reader(manifest).unwrap()
}

#[test]
fn a_state_from_before_the_first_release_is_refused_by_its_version_with_what_to_do() {
    let dir = scratch();
    let machine = Machine::replica(dir.path(), "desktop");
    let mail = machine.everything();
    let versions = [
        (1, "the state has version 1, from before the first release"),
        (2, "the state has version 2, from before the first release"),
    ];
    for (version, words) in versions {
        database(&machine).pragma_update(None, "user_version", version).unwrap();
        for args in
            [&["scan"][..], &["status"], &["doctor"], &["doctor", "--repair"], &["export"], &["deinit", "--yes"]]
        {
            let ran = machine.run(args);
            complains(&ran, 1, &["state.db", words, "move it away", "mailsync init", "invitation"]);
        }
    }
    assert_eq!(machine.everything(), mail);
    for (version, words, advice) in [(0, "not a mailsync state", "backup"), (99, "version 99", "newer mailsync")] {
        database(&machine).pragma_update(None, "user_version", version).unwrap();
        complains(&machine.run(&["status"]), 1, &["state.db", words, advice]);
    }
}
