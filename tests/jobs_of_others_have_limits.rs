//! What a replica takes in of the jobs of others: those that concern it, as much as a quota lets in, no number that
//! can't be; and what it was had to forget stays forgotten.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use mailsync::bundle::{AttachmentRef, Cancel, JobId, JobLine, PrivateKey, ReplicaId, Report, Request, Statement};
use mailsync::model::{Digest, Incarnation, JobState, Stamp};
use serde_json::Value;

use crate::support::bundles::{bundle_of_jobs, clock, jobs_of_bundle};
use crate::support::machine::{Machine, complains, make_distant_peers, make_peers, pass, row};
use crate::support::programs::Ran;
use crate::support::{files, scratch};

/// Asks for a command, and gives the job's id.
fn ask(machine: &Machine, peer: &str, command: &[&str], input: &[u8]) -> String {
    let args: Vec<&str> = ["uux", peer, "--"].iter().chain(command).copied().collect();
    let ran = machine.run_with(&args, input);
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.text().trim().to_owned()
}

/// The ids of the jobs that a machine lists.
fn listed(machine: &Machine) -> Vec<String> {
    let jobs = machine.ok(&["jobs", "list", "--json"]).json();
    jobs["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect()
}

fn state(machine: &Machine, id: &str) -> String {
    machine.job(id)["state"].as_str().unwrap().to_owned()
}

fn reason(machine: &Machine, id: &str) -> String {
    machine.job(id)["result"]["reason"].as_str().unwrap_or_default().to_owned()
}

/// Lets a peer's command `keep` write its input to the end of a file.
fn keeps(machine: &Machine, from: &str, file: &Path) {
    machine.allow("keep", &["/bin/sh", "-c", &format!("cat >> '{}'", file.display())], &[], from);
}

/// A server that lets a laptop and a phone have their input kept.
fn server_of_two(dir: &Path, kept: &Path) -> [Machine; 3] {
    let machines = ["server", "laptop", "phone"].map(|name| Machine::replica(dir, name));
    let [server, others @ ..] = &machines;
    for machine in others {
        make_peers(server, machine);
        keeps(server, &machine.name, kept);
    }
    machines
}

fn request(requester: &PrivateKey, target: ReplicaId, made: u64, body: AttachmentRef) -> JobLine {
    let requester_id = requester.public_key().id();
    let request = Request { requester: requester_id, target, made, body, knows: Vec::new(), repeats: None };
    signed(requester, &Statement::Request(request))
}

fn signed(key: &PrivateKey, statement: &Statement) -> JobLine {
    JobLine::sign(fresh_stamp(), statement, key).unwrap()
}

/// A stamp that no statement had before.
fn fresh_stamp() -> Stamp {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    Stamp { clock: clock(), incarnation: Incarnation(NEXT.fetch_add(1, Ordering::Relaxed)) }
}

/// What nobody has.
fn some_body() -> AttachmentRef {
    AttachmentRef { digest: Digest::of(b"a body that nobody has"), bytes: 1000 }
}

fn encoded(lines: &[JobLine]) -> Vec<String> {
    lines.iter().map(|line| String::from_utf8(line.encode()).unwrap()).collect()
}

/// A machine imports these statements, in a bundle by this key.
fn tell(machine: &Machine, by: &PrivateKey, lines: &[JobLine]) -> Ran {
    let ran = machine.run_with(&["import"], &bundle_of_jobs(by, &encoded(lines), &[]));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    ran
}

const NOW: u64 = 1_700_000_000_000;

#[test]
fn a_replica_passes_on_only_the_jobs_of_those_whom_it_knows_unless_its_configuration_says_otherwise() {
    for how in ["by default", "knows both", "says so"] {
        let dir = scratch();
        let machines = row(dir.path(), &["laptop", "one", "two", "server"]);
        let [laptop, one, two, server] = &machines[..] else { panic!("four") };
        let kept = dir.path().join("kept");
        keeps(server, "laptop", &kept);
        match how {
            "knows both" => {
                make_distant_peers(one, server);
                make_distant_peers(two, laptop);
            }
            "says so" => {
                for machine in [one, two] {
                    machine.reconfigure(&[("relay_jobs", "\"any\"")]);
                }
            }
            _ => {}
        }
        let id = ask(laptop, "server", &["keep"], b"x");
        for (from, to) in [(laptop, one), (one, two), (two, server), (server, two), (two, one), (one, laptop)] {
            pass(from, to);
        }
        if how == "by default" {
            assert_eq!(listed(one), [""; 0], "it doesn't know the server");
            let (lines, contents) =
                jobs_of_bundle(&one.ok(&["export", "--to", "two", "--full"]).stdout, &one.public_key());
            assert!(lines.is_empty() && contents.is_empty());
            assert_eq!(fs::read_dir(one.home.join("jobs")).map_or(0, Iterator::count), 0);
            assert!(!kept.exists());
            assert_eq!(state(laptop, &id), "queued");
        } else {
            assert_eq!(fs::read_to_string(&kept).unwrap(), "x", "{how}");
            assert_eq!(state(laptop, &id), "done", "{how}");
        }
    }
}

#[test]
fn what_a_removed_peer_has_asked_for_is_passed_on_no_more_and_a_purge_forgets_it() {
    let dir = scratch();
    let machines = row(dir.path(), &["laptop", "home", "server"]);
    let [laptop, home, server] = &machines[..] else { panic!("three") };
    let id = ask(laptop, "server", &["keep"], b"x");
    pass(laptop, home);
    assert_eq!(listed(home), [id.as_str()]);
    home.ok(&["peer", "remove", "laptop"]);
    let (lines, contents) = jobs_of_bundle(&home.ok(&["export", "--to", "server"]).stdout, &home.public_key());
    assert!(lines.is_empty() && contents.is_empty());
    pass(home, server);
    assert_eq!(listed(server), [""; 0]);
    assert_eq!(home.ok(&["purge", "--json"]).json()["jobs"], 1);
    assert_eq!(listed(home), [""; 0]);
    assert_eq!(fs::read_dir(home.home.join("jobs")).unwrap().count(), 0);
}

#[test]
fn jobs_of_strangers_for_others_are_not_stored_and_those_for_this_replica_share_one_quota() {
    let dir = scratch();
    let [home, evil] = ["home", "evil"].map(|name| Machine::replica(dir.path(), name));
    make_peers(&home, &evil);
    home.reconfigure(&[("jobs_open", "2")]);
    let strangers: Vec<PrivateKey> = (0..25).map(|_| PrivateKey::generate("nobody").unwrap()).collect();
    let by = evil.private_key();
    // For one another, for a peer, and by a peer for one of them.
    let mut lines: Vec<JobLine> =
        strangers.windows(2).map(|two| request(&two[0], two[1].public_key().id(), NOW, some_body())).collect();
    lines.push(request(&strangers[0], evil.public_key().id(), NOW, some_body()));
    lines.push(request(&by, strangers[0].public_key().id(), NOW, some_body()));
    tell(&home, &by, &lines);
    assert_eq!(listed(&home), [""; 0]);
    // For this replica: twenty, which is ten for each that may be open.
    let me = home.public_key().id();
    let lines: Vec<JobLine> = strangers.iter().map(|key| request(key, me, NOW, some_body())).collect();
    let ran = tell(&home, &by, &lines);
    assert!(ran.stderr.contains("5 jobs of SHA256:") && ran.stderr.contains("jobs_open"), "{}", ran.stderr);
    let ids = listed(&home);
    assert_eq!(ids.len(), 20);
    assert!(ids.iter().all(|id| state(&home, id) == "rejected"));
    // A peer has its own.
    let own = request(&by, me, NOW, some_body());
    tell(&home, &by, std::slice::from_ref(&own));
    assert!(listed(&home).contains(&JobId::of(&own.signed).to_string()));
}

#[test]
fn a_requester_that_asks_for_too_much_is_told_and_the_others_are_not_held_up() {
    let dir = scratch();
    let kept = dir.path().join("kept");
    let [server, laptop, phone] = server_of_two(dir.path(), &kept);
    server.reconfigure(&[("jobs_open", "3"), ("jobs_input_mib", "1")]);
    let fit = ask(&laptop, "server", &["keep"], b"fits\n");
    let large = ask(&laptop, "server", &["keep"], &vec![b'x'; 2 << 20]);
    let more = [(), (), ()].map(|()| ask(&laptop, "server", &["keep"], b"fits\n"));
    let other = ask(&phone, "server", &["keep"], b"fits, too\n");
    for machine in [&laptop, &phone] {
        let bundle = machine.ok(&["export", "--to", "server"]).stdout;
        assert_eq!(server.run_with(&["import", "--no-jobs"], &bundle).code, 0);
    }
    let on_disk: u64 = files(&server.home.join("jobs")).iter().map(|file| fs::metadata(file).unwrap().len()).sum();
    assert!(on_disk < 100_000, "{on_disk} bytes");
    server.run(&["jobs", "run"]);
    for machine in [&laptop, &phone] {
        pass(&server, machine);
    }
    assert_eq!(state(&phone, &other), "done");
    let jobs = [&fit, &large, &more[0], &more[1], &more[2]].map(|id| state(&laptop, id));
    // Which of them come first is decided by their ids: three are open, the large one is too much in any case.
    assert_eq!(jobs[1], "rejected");
    let done = jobs.iter().filter(|state| *state == "done").count();
    assert!(
        (2..=3).contains(&done) && jobs.iter().filter(|state| *state == "rejected").count() == 5 - done,
        "{jobs:?}"
    );
    let why = reason(&laptop, &large);
    assert!(why.contains("jobs_open") && why.contains("jobs_input_mib"), "{why}");
    assert!(!why.contains("isn't what the request says"), "{why}");
    assert_eq!(fs::read_to_string(&kept).unwrap().matches("fits\n").count(), done);
    // There is room again, and so it can be asked for anew.
    server.reconfigure(&[("jobs_input_mib", "10")]);
    laptop.ok(&["jobs", "retry", &large]);
    pass(&laptop, &server);
    assert!(fs::metadata(&kept).unwrap().len() > 2 << 20);
}

#[test]
fn who_passes_jobs_on_takes_in_no_more_of_one_requester_than_its_quota() {
    let dir = scratch();
    let machines = row(dir.path(), &["laptop", "home", "server"]);
    let [laptop, home, server] = &machines[..] else { panic!("three") };
    let kept = dir.path().join("kept");
    keeps(server, "laptop", &kept);
    home.reconfigure(&[("jobs_open", "2")]);
    let ids = [(), (), ()].map(|()| ask(laptop, "server", &["keep"], b"x"));
    let ran = pass(laptop, home);
    assert!(ran.stderr.contains("1 job of laptop is not taken in") && ran.stderr.contains("purge"), "{}", ran.stderr);
    assert_eq!(listed(home).len(), 2);
    // When these are done, there is room.
    for (from, to) in [(home, server), (server, home), (home, laptop)] {
        pass(from, to);
    }
    assert_eq!(ids.iter().filter(|id| state(laptop, id) == "done").count(), 2);
    let next = ask(laptop, "server", &["keep"], b"x");
    for (from, to) in [(laptop, home), (home, server), (server, home), (home, laptop)] {
        pass(from, to);
    }
    assert_eq!(state(laptop, &next), "done");
    assert_eq!(fs::read_to_string(&kept).unwrap(), "xxx");
}

#[test]
fn output_beyond_the_quota_is_left_out_and_how_the_job_ended_is_told_all_the_same() {
    let dir = scratch();
    let machines = row(dir.path(), &["laptop", "home", "server"]);
    let [laptop, home, server] = &machines[..] else { panic!("three") };
    server.allow("talk", &["/bin/sh", "-c", "echo much; echo more >&2; exit 3"], &[], "laptop");
    server.reconfigure(&[("jobs_output_mib", "0")]);
    let id = ask(laptop, "server", &["talk"], b"");
    pass(laptop, home);
    let ran = pass(home, server);
    assert!(ran.stderr.contains("output of job") && ran.stderr.contains("jobs_output_mib"), "{}", ran.stderr);
    pass(server, home);
    pass(home, laptop);
    let job = laptop.job(&id);
    assert_eq!((&job["state"], &job["status"]), (&"failed".into(), &3.into()), "{job}");
    let result = &job["result"];
    assert_eq!(
        (&result["stdout"], &result["stdout_cut"], &result["stderr_cut"]),
        (&"".into(), &true.into(), &true.into())
    );
    assert_eq!(result["reason"], "it ended with status 3");
    // Who passes it on keeps none of it then, and what it passes on says how the job ended.
    server.reconfigure(&[("jobs_output_mib", "1")]);
    home.reconfigure(&[("jobs_output_mib", "0")]);
    let id = ask(laptop, "server", &["talk"], b"");
    for (from, to) in [(laptop, home), (home, server), (server, home), (home, laptop)] {
        pass(from, to);
    }
    let job = laptop.job(&id);
    assert_eq!((&job["state"], &job["status"], &job["result"]), (&"failed".into(), &3.into(), &Value::Null), "{job}");
    assert_eq!(server.job(&id)["result"]["stdout"], "much\n");
}

#[test]
fn a_statement_with_a_number_that_can_not_be_is_ignored_with_the_reason() {
    let dir = scratch();
    let machines = row(dir.path(), &["laptop", "home", "server"]);
    let [laptop, home, server] = &machines[..] else { panic!("three") };
    let (by, target) = (laptop.private_key(), server.public_key().id());
    let huge = AttachmentRef { bytes: u64::MAX, ..some_body() };
    let year = 365 * 24 * 60 * 60 * 1000;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let now = u64::try_from(now).unwrap();
    for (line, why) in [
        (request(&by, target, 0, some_body()), "made is 0"),
        (request(&by, target, u64::MAX, some_body()), "made is 18446744073709551615"),
        (request(&by, target, now + year, some_body()), "the clock of this machine shows"),
        (request(&by, target, NOW, huge), "the bytes of body is 18446744073709551615"),
        (request(&by, target, NOW, AttachmentRef { bytes: 0, ..some_body() }), "the bytes of body is 0"),
    ] {
        let ran = tell(home, &by, std::slice::from_ref(&line));
        assert!(
            ran.stderr.contains("1 statement about jobs says what can't be") && ran.stderr.contains(why),
            "{}",
            ran.stderr
        );
        assert_eq!(listed(home), [""; 0], "{why}");
    }
    // What is said of a job that is known.
    let line = request(&by, target, NOW, some_body());
    let job = JobId::of(&line.signed);
    tell(home, &by, std::slice::from_ref(&line));
    let key = server.private_key();
    let report = Report { job, attempt: 1, at: NOW, state: JobState::Failed, status: Some(1), result: None };
    for (report, why) in [
        (Report { attempt: u32::MAX, ..report.clone() }, "attempt is 4294967295"),
        (Report { attempt: 0, ..report.clone() }, "attempt is 0"),
        (Report { at: now + year, ..report.clone() }, "the clock of this machine shows"),
        (Report { status: Some(i32::MIN), ..report.clone() }, "the status Some(-2147483648)"),
        (Report { result: Some(huge), ..report.clone() }, "the bytes of result"),
    ] {
        let ran = tell(home, &by, &[signed(&key, &Statement::Report(report))]);
        assert!(ran.stderr.contains(why), "{why}: {}", ran.stderr);
        assert_eq!(state(home, &job.to_string()), "queued", "{why}");
    }
    let cancel = signed(&by, &Statement::Cancel(Cancel { job, made: now + year }));
    assert!(tell(home, &by, &[cancel]).stderr.contains("the clock of this machine"));
    assert_eq!(home.job(&job.to_string())["cancelled"], false);
    // A person has looked, and the clocks are right.
    let ahead = request(&by, target, now + year, some_body());
    let ran =
        home.run_with(&["import", "--accept-clock"], &bundle_of_jobs(&by, &encoded(std::slice::from_ref(&ahead)), &[]));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(state(home, &JobId::of(&ahead.signed).to_string()), "queued");
    tell(home, &by, &[signed(&key, &Statement::Report(report.clone()))]);
    assert_eq!(state(home, &job.to_string()), "failed");
    // The target itself doesn't count any further.
    let last = signed(&key, &Statement::Report(Report { attempt: 1_000_000, ..report }));
    assert_eq!(
        server.run_with(&["import"], &bundle_of_jobs(&home.private_key(), &encoded(&[line, last]), &[])).code,
        0
    );
    complains(&server.run(&["jobs", "retry", &job.to_string()]), 1, &["it was tried 1000000 times", "uux"]);
}

#[test]
fn a_body_that_never_comes_holds_up_the_jobs_of_nobody_else() {
    let dir = scratch();
    let kept = dir.path().join("kept");
    let [server, laptop, phone] = server_of_two(dir.path(), &kept);
    let by = laptop.private_key();
    let waits = request(&by, server.public_key().id(), NOW, some_body());
    tell(&server, &by, std::slice::from_ref(&waits));
    ask(&phone, "server", &["keep"], b"not held up\n");
    pass(&phone, &server);
    assert_eq!(fs::read_to_string(&kept).unwrap(), "not held up\n");
    let waits = JobId::of(&waits.signed).to_string();
    assert_eq!(state(&server, &waits), "queued");
    // One of another size than the request says will never come: that is told, and holds up nobody.
    let wrong =
        request(&by, server.public_key().id(), NOW + 1, AttachmentRef { digest: Digest::of(b"body"), bytes: 5 });
    let line = String::from_utf8(wrong.encode()).unwrap();
    server.ok(&["jobs", "cancel", &waits]);
    assert_eq!(server.run_with(&["import"], &bundle_of_jobs(&by, &[line], &[b"body"])).code, 0);
    let wrong = JobId::of(&wrong.signed).to_string();
    assert_eq!(state(&server, &wrong), "rejected");
    let why = reason(&server, &wrong);
    assert!(why.contains("isn't what the request says") && !why.contains("jobs_open"), "{why}");
}

#[test]
fn a_body_that_is_named_as_mail_stays_a_body_and_the_mail_stays_mail() {
    let dir = scratch();
    let machines = row(dir.path(), &["laptop", "home", "server"]);
    let [laptop, home, server] = &machines[..] else { panic!("three") };
    let mail = b"Subject: both\n\nmail, and what a job names as its input\n";
    let body = AttachmentRef { digest: Digest::of(mail), bytes: mail.len() as u64 };
    let line = request(&laptop.private_key(), server.public_key().id(), NOW, body);
    let job = JobId::of(&line.signed).to_string();
    let file = |machine: &Machine| machine.home.join("jobs").join(body.digest.to_string());
    let said = String::from_utf8(line.encode()).unwrap();
    // As a body it comes, and no mail comes of it.
    let bundle = bundle_of_jobs(&laptop.private_key(), std::slice::from_ref(&said), &[mail]);
    assert_eq!(home.run_with(&["import"], &bundle).code, 0);
    assert_eq!(fs::read(file(home)).unwrap(), mail);
    assert_eq!(home.mailbox().len(), 0);
    // The same as mail: one bundle holds both, and its reader has both.
    let place = home.put("INBOX", "cur/both:2,S", mail, 1_500_000_000);
    let bundle = home.ok(&["export", "--to", "server"]).stdout;
    let (lines, contents) = jobs_of_bundle(&bundle, &home.public_key());
    assert_eq!((lines.len(), contents), (1, vec![mail.to_vec()]));
    assert_eq!(server.run_with(&["import", "--no-jobs"], &bundle).code, 0);
    assert_eq!(server.mailbox(), home.mailbox());
    assert_eq!(fs::read(file(server)).unwrap(), mail);
    // The mail goes, the body stays; and no mail comes of that.
    fs::remove_file(place).unwrap();
    let bundle = home.ok(&["export", "--to", "server"]).stdout;
    assert_eq!(server.run_with(&["import", "--no-jobs"], &bundle).code, 0);
    assert_eq!((home.mailbox().len(), server.mailbox().len()), (0, 0));
    for machine in [home, server] {
        assert_eq!(fs::read(file(machine)).unwrap(), mail, "{}", machine.name);
        machine.ok(&["scan"]);
        assert_eq!(machine.mailbox().len(), 0);
        assert_eq!(state(machine, &job), "queued");
    }
    // The body goes, and mail stays.
    server.put("INBOX", "cur/again:2,S", mail, 1_500_000_001);
    server.run(&["jobs", "run"]);
    assert_eq!(state(server, &job), "rejected", "it is no age file");
    server.ok(&["jobs", "forget", &job]);
    assert!(!file(server).exists());
    assert_eq!(server.mailbox().len(), 1);
    pass(server, home);
    assert_eq!(server.mailbox(), home.mailbox());
}

/// A laptop whose jobs go through `home` to the server, which keeps what it is asked to keep in this file.
fn chain(dir: &Path) -> ([Machine; 3], PathBuf) {
    let machines: [Machine; 3] = row(dir, &["laptop", "home", "server"]).try_into().unwrap();
    let kept = dir.join("kept");
    keeps(&machines[2], "laptop", &kept);
    (machines, kept)
}

#[test]
fn a_job_that_was_forgotten_is_not_run_again_and_no_bundle_brings_it_back() {
    let dir = scratch();
    let ([laptop, home, server], kept) = chain(dir.path());
    let id = ask(&laptop, "server", &["keep"], b"once\n");
    let early = laptop.ok(&["export", "--to", "home", "--full"]).stdout;
    pass(&laptop, &home);
    let late = home.ok(&["export", "--to", "server", "--full"]).stdout;
    let (lines, contents) = jobs_of_bundle(&late, &home.public_key());
    for (from, to) in [(&home, &server), (&server, &home), (&home, &laptop), (&laptop, &home)] {
        pass(from, to);
    }
    let back = home.ok(&["export", "--to", "laptop", "--full"]).stdout;
    for machine in [&laptop, &home, &server] {
        let told = machine.ok(&["jobs", "forget", &id[..8], "--json"]);
        assert_eq!(told.json()["forgotten"], serde_json::json!([id]));
        assert_eq!(listed(machine), [""; 0]);
        assert_eq!(fs::read_dir(machine.home.join("jobs")).unwrap().count(), 0, "{}", machine.name);
        complains(&machine.run(&["jobs", "forget", &id]), 2, &["there is none"]);
    }
    // Bundles from before, as they were.
    for (machine, bundle) in [(&home, &early), (&server, &late), (&laptop, &back)] {
        machine.run_with(&["import"], bundle);
    }
    for machine in [&server, &laptop, &home] {
        machine.ok(&["jobs", "run"]);
        assert_eq!(listed(machine), [""; 0], "{}", machine.name);
    }
    assert_eq!(fs::read_to_string(&kept).unwrap(), "once\n");
    // The next one is another job.
    ask(&laptop, "server", &["keep"], b"twice\n");
    pass(&laptop, &home);
    pass(&home, &server);
    assert_eq!(fs::read_to_string(&kept).unwrap(), "once\ntwice\n");
    // And by somebody who gives the request a new stamp, which isn't signed.
    let lines: Vec<String> = lines
        .into_iter()
        .map(|line| JobLine { stamp: fresh_stamp(), ..line })
        .map(|line| String::from_utf8(line.encode()).unwrap())
        .collect();
    let contents: Vec<&[u8]> = contents.iter().map(Vec::as_slice).collect();
    let anew = bundle_of_jobs(&home.private_key(), &lines, &contents);
    for machine in [&server, &laptop] {
        assert_eq!(machine.run_with(&["import"], &anew).code, 0);
        machine.ok(&["jobs", "run"]);
        assert!(!listed(machine).contains(&id), "{}", machine.name);
    }
    assert_eq!(fs::read_to_string(&kept).unwrap(), "once\ntwice\n");
}

#[test]
fn a_job_that_may_still_be_run_is_not_forgotten_by_those_whom_it_concerns() {
    let dir = scratch();
    let ([laptop, home, server], kept) = chain(dir.path());
    let id = ask(&laptop, "server", &["keep"], b"x");
    complains(&laptop.run(&["jobs", "forget", &id]), 1, &["it is queued", "jobs cancel"]);
    pass(&laptop, &home);
    let bundle = home.ok(&["export", "--to", "server"]).stdout;
    assert_eq!(server.run_with(&["import", "--no-jobs"], &bundle).code, 0);
    complains(&server.run(&["jobs", "forget", &id]), 1, &["it is queued", "jobs cancel"]);
    // Taken back, it is forgotten when that is known wherever the request may be.
    laptop.ok(&["jobs", "cancel", &id]);
    complains(&laptop.run(&["jobs", "forget", &id]), 1, &["is cancelled", "may still be run", "peer remove"]);
    pass(&laptop, &home);
    complains(&laptop.run(&["jobs", "forget", &id]), 1, &["may still be run"]);
    pass(&home, &laptop);
    laptop.ok(&["jobs", "forget", &id]);
    pass(&home, &server);
    assert_eq!(state(&server, &id), "cancelled");
    let ran = server.ok(&["jobs", "forget", &id]);
    assert!(ran.stderr.contains("not every peer has shown"), "{}", ran.stderr);
    assert!(!kept.exists());

    // One that was never sent can go as soon as it is taken back.
    let unsent = ask(&laptop, "server", &["keep"], b"x");
    laptop.ok(&["jobs", "cancel", &unsent]);
    laptop.ok(&["jobs", "forget", &unsent]);
    // Of several, all or none.
    let both = [(), ()].map(|()| ask(&laptop, "server", &["keep"], b"x"));
    laptop.ok(&["jobs", "cancel", &both[0]]);
    complains(&laptop.run(&["jobs", "forget", &both[0], &both[1]]), 1, &["it is queued"]);
    assert_eq!(listed(&laptop).len(), 2);
    // Who only passes a job on may forget it at any time, and then it goes no further.
    pass(&laptop, &home);
    home.ok(&["jobs", "forget", &both[1]]);
    pass(&home, &server);
    assert!(!kept.exists());
    assert_eq!(state(&laptop, &both[1]), "queued");
}
