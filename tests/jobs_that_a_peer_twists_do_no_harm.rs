//! A replica that passes jobs on can hold them back, and nothing else: whatever it makes of them, no job is run a
//! second time, and no mail is held up. Neither does a memory that was put back have one run twice, or lose it.

use std::fs;
use std::path::Path;

use mailsync::bundle::{AttachmentRef, Cancel, JobId, JobLine, Report, Request, Statement};
use mailsync::model::{Clock, Digest, JobState, Stamp};

use crate::support::bundles::{INCARNATION, bundle_of_jobs, bundle_with_tip, clock, jobs_of_bundle};
use crate::support::machine::{Machine, make_peers, pass, row};
use crate::support::{copy, scratch};

/// A laptop whose jobs go through `home` to the server, which keeps what it is asked to keep in this file, one after
/// the other.
fn chain(dir: &Path) -> ([Machine; 3], std::path::PathBuf) {
    let machines = row(dir, &["laptop", "home", "server"]);
    let kept = dir.join("kept");
    machines[2].allow("keep", &["/bin/sh", "-c", &format!("cat >> {}", kept.display())], &[], "laptop");
    (machines.try_into().unwrap(), kept)
}

fn later() -> Clock {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    Clock::from_bits((u64::try_from(now).unwrap() + 3_600_000) << 16).unwrap()
}

#[test]
fn a_job_that_a_restored_server_may_have_run_is_not_run_again_for_a_later_stamp() {
    let dir = scratch();
    let ([laptop, home, server], kept) = chain(dir.path());
    let backup = dir.path().join("backup");
    copy(&server.home, &backup);
    let job = laptop.run_with(&["uux", "server", "keep"], b"once\n").text().trim().to_owned();
    pass(&laptop, &home);
    let (lines, contents) = jobs_of_bundle(&home.ok(&["export", "--to", "server"]).stdout, &home.public_key());
    pass(&home, &server);
    assert_eq!(fs::read_to_string(&kept).unwrap(), "once\n");

    fs::remove_dir_all(&server.home).unwrap();
    copy(&backup, &server.home);
    server.ok(&["scan"]);
    // The stamp is not signed by the laptop: whoever passes the line on can write another one.
    let stamp = Stamp { clock: later(), incarnation: INCARNATION };
    let lines: Vec<String> =
        lines.into_iter().map(|line| String::from_utf8(JobLine { stamp, ..line }.encode()).unwrap()).collect();
    let contents: Vec<&[u8]> = contents.iter().map(Vec::as_slice).collect();
    let ran = server.run_with(&["import"], &bundle_of_jobs(&home.private_key(), &lines, &contents));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(fs::read_to_string(&kept).unwrap(), "once\n", "{}", ran.stderr);
    let shown = server.job(&job);
    assert_eq!(shown["state"], "interrupted", "{shown}");
    assert!(ran.stderr.contains("may have been run already"), "{}", ran.stderr);
    // A person can decide.
    server.ok(&["jobs", "retry", &job]);
    assert_eq!(fs::read_to_string(&kept).unwrap(), "once\nonce\n");
}

#[test]
fn a_job_whose_body_is_said_to_be_a_message_doesnt_keep_that_message_from_anybody() {
    for wrong_size in [0, 1] {
        let dir = scratch();
        let ([laptop, home, server], kept) = chain(dir.path());
        let mail = b"Subject: wanted\n\nHello.\n";
        let body = AttachmentRef { digest: Digest::of(mail), bytes: mail.len() as u64 + wrong_size };
        let request = Request {
            requester: laptop.public_key().id(),
            target: server.public_key().id(),
            made: 1_700_000_000_000,
            body,
            knows: Vec::new(),
            repeats: None,
        };
        let stamp = Stamp { clock: clock(), incarnation: INCARNATION };
        let line = JobLine::sign(stamp, &Statement::Request(request), &laptop.private_key()).unwrap();
        let bundle = bundle_of_jobs(&laptop.private_key(), &[String::from_utf8(line.encode()).unwrap()], &[]);
        assert_eq!(home.run_with(&["import"], &bundle).code, 0);
        home.put("INBOX", "new/1.h", mail, 1_500_000_000);
        pass(&home, &server);
        pass(&server, &home);
        pass(&home, &server);
        assert_eq!(server.mailbox(), home.mailbox());
        assert_eq!(server.mailbox().len(), 1);
        // Nor the other way round: who has the message gets the job.
        home.put("INBOX", "new/2.h", "Subject: later\n\n", 1_500_000_001);
        pass(&home, &server);
        assert_eq!(server.mailbox().len(), 2);
        assert!(!kept.exists());
    }
}

#[test]
fn a_server_that_was_rolled_back_in_place_and_says_so_doesnt_run_again_what_it_may_have_run() {
    let dir = scratch();
    let ([laptop, home, server], kept) = chain(dir.path());
    let files = ["state.db", "state.db-wal"].map(|name| server.home.join(name));
    let snapshot = files.each_ref().map(|file| fs::read(file).ok());
    let job = laptop.run_with(&["uux", "server", "keep"], b"once\n").text().trim().to_owned();
    pass(&laptop, &home);
    let bundle = home.ok(&["export", "--to", "server"]).stdout;
    assert_eq!(server.run_with(&["import"], &bundle).code, 0);
    assert_eq!(fs::read_to_string(&kept).unwrap(), "once\n");
    for (file, bytes) in files.iter().zip(snapshot) {
        match bytes {
            // In place: it is the same file.
            Some(bytes) => fs::write(file, bytes).unwrap(),
            None => drop(fs::remove_file(file)),
        }
    }
    server.ok(&["doctor", "--new-identity"]);
    let ran = server.run_with(&["import"], &bundle);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(fs::read_to_string(&kept).unwrap(), "once\n", "{}", ran.stderr);
    assert_eq!(server.job(&job)["state"], "interrupted");
    // The laptop is told, and what it asks for from now on is run.
    pass(&server, &home);
    let said = pass(&home, &laptop).stderr;
    assert!(said.contains("was interrupted: it may have run"), "{said}");
    laptop.run_with(&["uux", "server", "keep"], b"twice\n");
    pass(&laptop, &home);
    pass(&home, &server);
    assert_eq!(fs::read_to_string(&kept).unwrap(), "once\ntwice\n");
}

#[test]
fn a_laptop_that_was_restored_learns_from_others_what_it_has_asked_for_and_can_ask_for_it_again() {
    let dir = scratch();
    let ([laptop, home, server], kept) = chain(dir.path());
    let backup = dir.path().join("backup");
    copy(&laptop.home, &backup);
    let job = laptop.run_with(&["uux", "server", "keep", "--", "x"], b"once\n").text().trim().to_owned();
    pass(&laptop, &home);
    fs::remove_dir_all(&laptop.home).unwrap();
    copy(&backup, &laptop.home);
    let bundle = home.ok(&["export", "--to", "laptop", "--full"]).stdout;
    assert_eq!(laptop.run_with(&["import"], &bundle).code, 0);
    let shown = laptop.job(&job);
    assert_eq!((&shown["state"], &shown["command"]), (&"queued".into(), &serde_json::json!(["keep", "--", "x"])));
    assert_eq!(home.job(&job)["command"], serde_json::Value::Null);
    // The rule allows no arguments.
    pass(&home, &server);
    pass(&server, &home);
    pass(&home, &laptop);
    assert_eq!(laptop.job(&job)["state"], "rejected");
    assert!(!kept.exists());
    let file = server.home.join("config.toml");
    let rules = fs::read_to_string(&file)
        .unwrap()
        .replace("\nfrom = [\"laptop\"]", "\nfrom = [\"laptop\"]\nargs = [\"--\", \"x\"]");
    fs::write(&file, rules).unwrap();
    laptop.ok(&["jobs", "retry", &job]);
    pass(&laptop, &home);
    pass(&home, &server);
    assert_eq!(fs::read_to_string(&kept).unwrap(), "once\n");
}

#[test]
fn nobody_can_take_away_what_another_job_needs() {
    let dir = scratch();
    let ([laptop, home, server], kept) = chain(dir.path());
    let evil = Machine::replica(dir.path(), "evil");
    make_peers(&evil, &home);
    let job = laptop.run_with(&["uux", "server", "keep"], b"precious\n").text().trim().to_owned();
    pass(&laptop, &home);
    let (lines, _) = jobs_of_bundle(&home.ok(&["export", "--to", "server"]).stdout, &home.public_key());
    let Statement::Request(theirs) = lines[0].statement().unwrap() else { panic!("a request") };
    // Jobs that evil asks itself for, with that input, with another size of it, and as a result that is taken back.
    let key = evil.private_key();
    let stamp = Stamp { clock: clock(), incarnation: INCARNATION };
    let mut said = Vec::new();
    for (made, more) in [(1, 0), (2, 1)] {
        let body = AttachmentRef { bytes: theirs.body.bytes + more, ..theirs.body };
        let me = key.public_key().id();
        let request = Request { requester: me, target: me, made, body, knows: Vec::new(), repeats: None };
        let line = JobLine::sign(stamp, &Statement::Request(request), &key).unwrap();
        let job = JobId::of(&line.signed);
        said.push((line.clone(), Statement::Cancel(Cancel { job, made })));
        for (attempt, result) in [(1, Some(theirs.body)), (2, None)] {
            let report = Report { job, attempt, at: made, state: JobState::Done, status: Some(0), result };
            said.push((line.clone(), Statement::Report(report)));
        }
    }
    for (request, statement) in said {
        let line = JobLine::sign(stamp, &statement, &key).unwrap();
        let lines = [request, line].map(|line| String::from_utf8(line.encode()).unwrap());
        let ran = home.run_with(&["import"], &bundle_of_jobs(&key, &lines, &[]));
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }
    home.put("INBOX", "new/1.h", "Subject: mail\n\n", 1_500_000_000);
    pass(&home, &server);
    assert_eq!(fs::read_to_string(&kept).unwrap(), "precious\n");
    assert_eq!(server.job(&job)["state"], "done");
    assert_eq!(server.mailbox(), home.mailbox());
}

#[test]
fn what_a_bundles_sender_does_not_know_of_is_not_taken_from_it() {
    let dir = scratch();
    let ([laptop, home, _], _) = chain(dir.path());
    laptop.run_with(&["uux", "server", "keep"], b"once\n");
    let (lines, contents) = jobs_of_bundle(&laptop.ok(&["export", "--to", "home"]).stdout, &laptop.public_key());
    // The tip of the bundle is made to cover the stamp of the first line only.
    let beyond = Stamp { clock: clock(), incarnation: mailsync::model::Incarnation(7) };
    let first = String::from_utf8(lines[0].encode()).unwrap();
    let second = String::from_utf8(JobLine { stamp: beyond, ..lines[0].clone() }.encode()).unwrap();
    let contents: Vec<&[u8]> = contents.iter().map(Vec::as_slice).collect();
    let bundle = bundle_with_tip(&laptop.private_key(), &[second], &contents, &[lines[0].stamp]);
    home.refuses(&["import"], &bundle, 4, &["can't be true", "jobs.jsonl, line 1", "not covered"]);
    assert_eq!(home.ok(&["jobs", "list", "--json"]).json()["jobs"].as_array().unwrap().len(), 0);
    let ran =
        home.run_with(&["import"], &bundle_with_tip(&laptop.private_key(), &[first], &contents, &[lines[0].stamp]));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
}
