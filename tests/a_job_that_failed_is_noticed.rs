//! Whoever has asked for a job is told once that it went wrong, whatever is wanted to be quiet, and finds it in the status
//! until it was looked at.

use crate::support::machine::{Machine, make_peers};
use crate::support::{scratch, text};

/// A laptop that reaches its server, where `fail` ends with this status.
fn machines(dir: &std::path::Path, status: u8) -> (Machine, Machine) {
    let (server, laptop) = (Machine::replica(dir, "server"), Machine::replica(dir, "laptop"));
    make_peers(&server, &laptop);
    fails_with(&server, status);
    laptop.reach(&server);
    (server, laptop)
}

fn fails_with(server: &Machine, status: u8) {
    let script = server.home.join("fail.sh");
    std::fs::write(&script, format!("exit {status}")).unwrap();
    if !std::fs::read_to_string(server.home.join("config.toml")).unwrap().contains(text(&script)) {
        server.allow("fail", &["/bin/sh", text(&script)], &[], "laptop");
    }
}

fn ask(laptop: &Machine, command: &str) -> String {
    laptop.run_with(&["uux", "server", "--", command], b"").text().trim().to_owned()
}

#[test]
fn a_quiet_update_tells_once_that_an_own_job_went_wrong_and_ends_with_1() {
    let dir = scratch();
    let (_server, laptop) = machines(dir.path(), 67);
    let (failed, rejected) = (ask(&laptop, "fail"), ask(&laptop, "forbidden"));
    let ran = laptop.run(&["update", "--quiet", "--json"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{ran:?}");
    for (id, words) in [(&failed, "(fail) failed with status 67"), (&rejected, "(forbidden) was rejected")] {
        let told = format!("mailsync: your job {} for server {words}; `mailsync jobs show ", &id[..12]);
        assert!(lines.iter().any(|line| line.starts_with(&told)), "{told}: {ran:?}");
    }
    let told = ran.json();
    assert_eq!(told["failed_jobs"].as_array().unwrap().len(), 2, "{told}");
    assert_eq!(told["failed_jobs"][0]["target"], "server", "{told}");
    let message = told["error"]["message"].as_str().unwrap();
    assert!(message.contains("your job"), "{told}");
    let ran = laptop.ok(&["update", "--quiet"]);
    assert!(ran.stderr.is_empty(), "it is told once: {ran:?}");
}

#[test]
fn the_status_shows_a_job_that_went_wrong_until_a_person_has_looked() {
    let dir = scratch();
    let (server, laptop) = machines(dir.path(), 67);
    let id = ask(&laptop, "fail");
    assert_eq!(laptop.run(&["update"]).code, 1);
    let failed = |machine: &Machine| machine.ok(&["status", "--json"]).json()["jobs"]["failed"].as_u64().unwrap();
    assert!(laptop.ok(&["status"]).text().contains(&format!("mailsync jobs show {}", &id[..12])));
    // A script that asks is no person.
    laptop.ok(&["jobs", "show", &id, "--json"]);
    assert_eq!(failed(&laptop), 1);
    laptop.ok(&["jobs", "show", &id]);
    assert_eq!(failed(&laptop), 0);
    assert!(!laptop.ok(&["status"]).text().contains(&id[..12]));
    assert_eq!(failed(&server), 1, "there it is another's");
    // It is run again over there, and goes wrong again: that is news.
    server.run(&["jobs", "retry", &id]);
    let ran = laptop.run(&["update", "--quiet"]);
    assert!(ran.code == 1 && ran.stderr.contains("failed with status 67"), "{ran:?}");
    assert_eq!(failed(&laptop), 1);
    fails_with(&server, 0);
    server.ok(&["jobs", "retry", &id]);
    laptop.ok(&["update", "--quiet"]);
    assert_eq!(failed(&laptop), 0);
    // Asked for anew, the old one is no news any more.
    fails_with(&server, 1);
    let id = ask(&laptop, "fail");
    assert_eq!(laptop.run(&["update", "--quiet"]).code, 1);
    fails_with(&server, 0);
    laptop.ok(&["jobs", "retry", &id]);
    assert_eq!(failed(&laptop), 0);
    laptop.ok(&["update", "--quiet"]);
}

#[test]
fn an_import_tells_whoever_asked_and_not_the_peer_that_calls() {
    let dir = scratch();
    let (server, laptop) = machines(dir.path(), 67);
    let id = ask(&laptop, "fail");
    let bundle = laptop.ok(&["export", "--to", "server"]).stdout;
    let answer = server.run_with(&["import", "--reply", "--quiet"], &bundle);
    assert_eq!(answer.code, 0, "on the server, somebody else's job went wrong: {answer:?}");
    // The server calls: it gets an answer, and is not told what is the laptop's.
    let ran = laptop.run_with(&["import", "--reply", "--quiet"], &answer.stdout);
    assert!(ran.code == 0 && ran.stderr.is_empty(), "{ran:?}");
    let ran = laptop.run_with(&["import", "--dry-run", "--quiet"], &answer.stdout);
    assert!(ran.code == 0 && ran.stderr.is_empty(), "a dry run is no time to be told: {ran:?}");
    let ran = laptop.run_with(&["import", "--quiet", "--no-jobs"], &answer.stdout);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains(&format!("your job {} for server (fail) failed with status 67", &id[..12])), "{ran:?}");
    let ran = laptop.run_with(&["import", "--quiet"], &answer.stdout);
    assert!(ran.code == 0 && ran.stderr.is_empty(), "{ran:?}");
}
