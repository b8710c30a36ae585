//! `uux` and `jobs`, end to end: a peer runs what its rules allow, at most once, and the result comes back.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use mailsync::bundle::{Cancel, JobLine, JobSpool, Options, RecordSpool, Report, Statement, Stream, Writer};
use mailsync::model::{Digest, JobState, Mtime};
use serde_json::Value;

use crate::support::machine::{Machine, complains, make_peers, pass, row};
use crate::support::programs::{Ran, peak, run_with};
use crate::support::{copy, files, scratch, text};

/// A machine's rule: whoever may ask for this gets this script run, with these arguments allowed.
fn allow(machine: &Machine, command: &str, from: &str, script: &str, args: &[&str]) -> PathBuf {
    let path = machine.home.join(format!("{command}.sh"));
    fs::write(&path, script).unwrap();
    machine.allow(command, &["/bin/sh", text(&path)], args, from);
    machine.configure("timeout = \"30s\"");
    path
}

/// Asks for a command, and gives the job's id.
fn ask(machine: &Machine, peer: &str, command: &[&str], input: &[u8]) -> String {
    let args: Vec<&str> = ["uux", peer, "--"].iter().chain(command).copied().collect();
    let ran = machine.run_with(&args, input);
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.text().trim().to_owned()
}

fn state(machine: &Machine, id: &str) -> String {
    machine.job(id)["state"].as_str().unwrap().to_owned()
}

fn reason(machine: &Machine, id: &str) -> String {
    machine.job(id)["result"]["reason"].as_str().unwrap_or_default().to_owned()
}

/// How often each job's program has begun, and how often it has ended, as a script told in this file.
fn marks(file: &Path) -> BTreeMap<String, usize> {
    let mut marks = BTreeMap::new();
    for line in fs::read_to_string(file).unwrap_or_default().lines() {
        *marks.entry(line.to_owned()).or_default() += 1;
    }
    marks
}

/// A server and a laptop that know each other; the laptop's command `mark` writes the job's id into the file that is
/// given.
fn marking() -> (tempfile::TempDir, Machine, Machine, PathBuf) {
    marking_in(scratch())
}

fn marking_in(dir: tempfile::TempDir) -> (tempfile::TempDir, Machine, Machine, PathBuf) {
    let (server, laptop) = (Machine::replica(dir.path(), "server"), Machine::replica(dir.path(), "laptop"));
    make_peers(&server, &laptop);
    let file = dir.path().join("marks");
    allow(&server, "mark", "laptop", &format!("echo \"$MAILSYNC_JOB\" >> '{}'", file.display()), &[]);
    (dir, server, laptop, file)
}

/// Three machines in a row; those at the ends know each other for jobs.
fn chain(dir: &Path) -> [Machine; 3] {
    row(dir, &["server", "home", "laptop"]).try_into().unwrap()
}

#[test]
fn a_job_runs_on_its_target_and_its_result_comes_back() {
    let dir = scratch();
    let (server, laptop) = (Machine::replica(dir.path(), "server"), Machine::replica(dir.path(), "laptop"));
    make_peers(&server, &laptop);
    let script = "cat; echo \"$1,$2,$MAILSYNC_PEER,$MAILSYNC_JOB,${SECRET-none}\"; echo oops >&2; exit 3";
    allow(&server, "try", "laptop", script, &["-x", "@address"]);

    let id = ask(&laptop, "server", &["try", "-x", "me@example.org"], b"hello\n");
    assert_eq!(state(&laptop, &id), "queued");
    let bundle = laptop.ok(&["export", "--to", "server"]).stdout;
    assert_eq!(laptop.job(&id)["sent_to"], serde_json::json!(["server"]));

    let mut import = server.command(&["import", "--reply"]);
    let ran = run_with(import.env("SECRET", "shown"), &bundle);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains("from laptop (try): failed; it ended with status 3"), "{}", ran.stderr);

    let ran = laptop.run_with(&["import"], &ran.stdout);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains(&format!("job {} for server (try) failed with status 3", &id[..12])), "{}", ran.stderr);
    for machine in [&laptop, &server] {
        let job = machine.job(&id);
        assert_eq!(job["state"], "failed");
        assert_eq!(job["status"], 3);
        assert_eq!(job["command"], serde_json::json!(["try", "-x", "me@example.org"]));
        let result = &job["result"];
        assert_eq!(result["stdout"], format!("hello\n-x,me@example.org,laptop,{id},none\n"));
        assert_eq!(result["stderr"], "oops\n");
        assert_eq!(result["reason"], "it ended with status 3");
        assert!(result["started"].is_string() && result["ended"].is_string());
    }
    assert_eq!(laptop.ok(&["status", "--json"]).json()["jobs"]["failed"], 1);
    let text = laptop.ok(&["jobs", "show", &id[..6]]).text().to_owned();
    assert!(text.contains("state      failed (3)") && text.contains("  oops"), "{text}");
    assert!(laptop.ok(&["jobs", "list"]).text().contains("failed (3)"));
}

#[test]
fn a_job_goes_by_way_of_a_machine_that_can_neither_read_nor_run_it() {
    let dir = scratch();
    let [server, home, laptop] = chain(dir.path());
    allow(&server, "tell", "laptop", "cat; echo told-in-confidence", &[]);
    allow(&home, "tell", "laptop", "exit 9", &[]);

    let id = ask(&laptop, "server", &["tell"], b"known-to-few\n");
    pass(&laptop, &home);
    assert_eq!(state(&home, &id), "queued");
    pass(&home, &server);
    assert_eq!(state(&server, &id), "done");
    pass(&server, &home);
    assert_eq!(state(&home, &id), "done");
    assert_eq!(home.job(&id)["result"], Value::Null);
    assert_eq!(home.job(&id)["command"], Value::Null);
    pass(&home, &laptop);
    assert_eq!(laptop.job(&id)["result"]["stdout"], "known-to-few\ntold-in-confidence\n");
    // What lies on the machine in between holds neither, in whatever file.
    for item in
        walkdir::WalkDir::new(&home.home).into_iter().map(Result::unwrap).filter(|item| item.file_type().is_file())
    {
        let bytes = fs::read(item.path()).unwrap();
        for secret in [&b"known-to-few"[..], b"told-in-confidence"] {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret), "{}", item.path().display());
        }
    }
    // Neither distant peer holds up a purge, or is waited for.
    for machine in [&server, &laptop] {
        let peers = machine.ok(&["status", "--json"]).json()["peers"].as_array().unwrap().len();
        assert_eq!(peers, 1, "only the neighbour");
    }
}

#[test]
fn what_no_rule_allows_is_rejected_and_the_requester_hears_why() {
    let dir = scratch();
    let [server, laptop, phone] = ["server", "laptop", "phone"].map(|name| Machine::replica(dir.path(), name));
    make_peers(&server, &laptop);
    make_peers(&server, &phone);
    make_peers(&laptop, &phone);
    let ran = dir.path().join("ran");
    allow(&server, "send", "laptop", &format!("echo \"$*\" >> '{}'", ran.display()), &["-t", "--", "@address"]);
    let huge = "x".repeat(100 << 10);
    let many: Vec<String> = (0..10_000).map(|_| String::from("-t")).chain([String::from("-C")]).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let mut asked: Vec<(String, &str)> = [
        (&["rm", "-rf", text(&ran)][..], "there is no rule that allows the command \"rm\""),
        (&["/bin/sh"], "there is no rule"),
        (&["send", "-C/etc/passwd"], "the argument \"-C/etc/passwd\" is not allowed"),
        (&["send", "-C", "file"], "the argument \"-C\""),
        (&["send", "; touch x"], "the argument \"; touch x\""),
        (&["send", "$(id)"], "is not allowed"),
        (&["send", "a@b.org\n-C"], "is not allowed"),
        (&["send", ""], "the argument \"\" is not allowed"),
        (&["send", "-t", "--", "--", "-oQ/tmp"], "the argument \"-oQ/tmp\""),
        (&["send", &huge], "is not allowed"),
        (&many, "the argument \"send\""),
    ]
    .into_iter()
    .map(|(command, why)| (ask(&laptop, "server", command, b""), why))
    .collect();
    asked.pop();
    let command: Vec<&str> = std::iter::once("send").chain(many.iter().copied()).collect();
    asked.push((ask(&laptop, "server", &command, b""), "the argument \"-C\""));
    let not_named = ask(&phone, "server", &["send"], b"");

    for machine in [&laptop, &phone] {
        pass(machine, &server);
        pass(&server, machine);
    }
    for (id, why) in &asked {
        assert_eq!(state(&laptop, id), "rejected");
        assert!(reason(&laptop, id).contains(why), "{} should say {why}", reason(&laptop, id));
    }
    assert_eq!(reason(&phone, &not_named), "no rule allows the command \"send\" to phone");
    assert!(!ran.exists());

    // What is allowed arrives as it was given.
    let allowed = ask(&laptop, "server", &["send", "-t", "--", "a@b.org", "c+d@e-f.org"], b"");
    pass(&laptop, &server);
    assert_eq!(state(&server, &allowed), "done");
    assert_eq!(fs::read_to_string(&ran).unwrap(), "-t -- a@b.org c+d@e-f.org\n");
}

#[test]
fn what_cannot_travel_is_refused_at_once() {
    let (_dir, _, laptop, _) = marking();
    let mut command = laptop.command(&["uux", "server", "--", "mark"]);
    let ran = run_with(command.arg(OsStr::from_bytes(b"\xff")), b"");
    complains(&ran, 2, &["not UTF-8"]);
    complains(&laptop.run(&["uux", "nobody", "--", "mark"]), 2, &["no peer called nobody"]);
    complains(&laptop.run(&["uux", "server", "--", ""]), 2, &["its name is empty"]);
    for no_command in [&["uux", "server"][..], &["uux", "server", "--"], &["uux", "server", "-x", "mark"]] {
        assert_eq!(laptop.run(no_command).code, 2, "{no_command:?}");
    }
    complains(&laptop.run(&["jobs", "show", "ffff"]), 2, &["there is none"]);
    assert_eq!(laptop.ok(&["jobs", "list", "--json"]).json()["jobs"], serde_json::json!([]));
}

#[test]
fn a_requester_that_the_target_does_not_know_is_rejected_and_told_what_to_do() {
    let dir = scratch();
    let [server, home, laptop] = ["server", "home", "laptop"].map(|name| Machine::replica(dir.path(), name));
    make_peers(&server, &home);
    make_peers(&home, &laptop);
    laptop.ok(&["peer", "add", "server", "--key", &server.key(), "--distant"]);
    let ran = allow(&server, "tell", "laptop", "echo told", &[]);
    assert!(ran.exists());
    let id = ask(&laptop, "server", &["tell"], b"");
    for (from, to) in [(&laptop, &home), (&home, &server), (&server, &home), (&home, &laptop)] {
        pass(from, to);
    }
    assert_eq!(state(&laptop, &id), "rejected");
    assert!(reason(&laptop, &id).contains("--distant"), "{}", reason(&laptop, &id));
    // With the key it can be tried again: the requester asks anew.
    server.ok(&["peer", "add", "laptop", "--key", &laptop.key(), "--distant"]);
    laptop.ok(&["jobs", "retry", &id]);
    let jobs = laptop.ok(&["jobs", "list", "--json"]).json();
    let again = jobs["jobs"].as_array().unwrap().iter().find(|job| job["repeats"] == id.as_str()).unwrap().clone();
    for (from, to) in [(&laptop, &home), (&home, &server), (&server, &home), (&home, &laptop)] {
        pass(from, to);
    }
    assert_eq!(state(&laptop, again["id"].as_str().unwrap()), "done");
    assert_eq!(state(&laptop, &id), "rejected");
    assert_eq!(laptop.ok(&["status", "--json"]).json()["jobs"]["rejected"], 0, "it was repeated");
}

#[test]
fn a_job_runs_once_however_often_and_in_whatever_bundle_it_comes() {
    let (_dir, server, laptop, file) = marking();
    let id = ask(&laptop, "server", &["mark"], b"");
    let delta = laptop.ok(&["export", "--to", "server"]).stdout;
    let full = laptop.ok(&["export", "--to", "server", "--full"]).stdout;
    for bundle in [&delta, &delta, &full, &delta, &full] {
        assert_eq!(server.run_with(&["import"], bundle).code, 0);
    }
    server.ok(&["jobs", "run"]);
    assert_eq!(marks(&file), [(id.clone(), 1)].into());
    pass(&server, &laptop);
    assert_eq!(state(&laptop, &id), "done");

    // Purged, it is still not taken for new.
    for machine in [&server, &laptop] {
        let config = machine.home.join("config.toml");
        let text = fs::read_to_string(&config).unwrap().replace("jobs_days = 30", "jobs_days = 0");
        fs::write(&config, text).unwrap();
    }
    pass(&laptop, &server);
    pass(&server, &laptop);
    for machine in [&server, &laptop] {
        assert_eq!(machine.ok(&["purge", "--json"]).json()["jobs"], 1);
        assert_eq!(machine.ok(&["jobs", "list", "--json"]).json()["jobs"], serde_json::json!([]));
        assert_eq!(fs::read_dir(machine.home.join("jobs")).unwrap().count(), 0, "nothing of it is left");
    }
    for bundle in [&delta, &full] {
        server.run_with(&["import"], bundle);
    }
    server.ok(&["jobs", "run"]);
    assert_eq!(marks(&file), [(id, 1)].into());
}

#[test]
fn import_and_run_can_be_separated() {
    let (_dir, server, laptop, file) = marking();
    let ids: Vec<String> = (0..3).map(|_| ask(&laptop, "server", &["mark"], b"")).collect();
    let bundle = laptop.ok(&["export", "--to", "server"]).stdout;
    assert_eq!(server.run_with(&["import", "--no-jobs"], &bundle).code, 0);
    assert!(!file.exists());
    assert_eq!(server.ok(&["status", "--json"]).json()["jobs"]["queued"], 3);
    let ran = server.ok(&["jobs", "run", "--json"]).json();
    assert_eq!(ran["jobs"].as_array().unwrap().len(), 3);
    let order: Vec<String> = fs::read_to_string(&file).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(order, ids, "in the order in which they were asked for");
}

#[test]
fn a_job_can_be_taken_back_until_it_is_known_to_have_been_started() {
    let (_dir, server, laptop, file) = marking();
    // Before it leaves.
    let never_sent = ask(&laptop, "server", &["mark"], b"");
    laptop.ok(&["jobs", "cancel", &never_sent]);
    assert_eq!(state(&laptop, &never_sent), "cancelled");
    // After it has left, and before it is run.
    let sent = ask(&laptop, "server", &["mark"], b"");
    let bundle = laptop.ok(&["export", "--to", "server"]).stdout;
    assert_eq!(server.run_with(&["import", "--no-jobs"], &bundle).code, 0);
    laptop.ok(&["jobs", "cancel", &sent]);
    assert_eq!(laptop.job(&sent)["cancelled"], true);
    // By the target.
    let there = ask(&laptop, "server", &["mark"], b"");
    let bundle = laptop.ok(&["export", "--to", "server"]).stdout;
    assert_eq!(server.run_with(&["import", "--no-jobs"], &bundle).code, 0);
    server.ok(&["jobs", "cancel", &there]);
    server.ok(&["jobs", "run"]);
    assert!(!file.exists());
    pass(&server, &laptop);
    for id in [&never_sent, &sent, &there] {
        assert_eq!(state(&laptop, id), "cancelled");
        assert_eq!(laptop.job(id)["cancelled"], false);
    }
    // When it is done it is too late.
    let done = ask(&laptop, "server", &["mark"], b"");
    pass(&laptop, &server);
    pass(&server, &laptop);
    complains(&laptop.run(&["jobs", "cancel", &done]), 1, &["it is done"]);
    complains(&laptop.run(&["jobs", "retry", &done]), 1, &["it is done"]);
    // Taken back here and run there meanwhile: what happened counts.
    let raced = ask(&laptop, "server", &["mark"], b"");
    pass(&laptop, &server);
    laptop.ok(&["jobs", "cancel", &raced]);
    pass(&server, &laptop);
    assert_eq!(state(&laptop, &raced), "done");
    pass(&laptop, &server);
    assert_eq!(state(&server, &raced), "done");
}

#[test]
fn any_command_settles_what_a_killed_runner_has_left() {
    let (_dir, server, laptop, _) = marking();
    fs::write(server.home.join("mark.sh"), "kill -9 $PPID; sleep 1; exit").unwrap();
    let id = ask(&laptop, "server", &["mark"], b"");
    let bundle = laptop.ok(&["export", "--to", "server"]).stdout;
    assert_eq!(server.run_with(&["import"], &bundle).code, -1, "it was killed");
    assert_eq!(state(&server, &id), "running", "for whoever only looks");
    let ran = server.ok(&["scan"]);
    assert!(ran.stderr.contains("was interrupted") && ran.stderr.contains("it may have run"), "{}", ran.stderr);
    assert_eq!(state(&server, &id), "interrupted");
}

#[test]
fn a_job_that_runs_on_a_machine_that_was_lost_can_be_forgotten() {
    let (dir, server, laptop, _) = marking();
    let (begun, go_on) = (dir.path().join("begun"), dir.path().join("go-on"));
    let script = format!("touch '{}'; while [ ! -e '{}' ]; do sleep 0.01; done", begun.display(), go_on.display());
    fs::write(server.home.join("mark.sh"), script).unwrap();
    let id = ask(&laptop, "server", &["mark"], b"");
    let bundle = dir.path().join("bundle");
    fs::write(&bundle, laptop.ok(&["export", "--to", "server"]).stdout).unwrap();
    let mut runner = server.command(&["import", text(&bundle)]).spawn().unwrap();
    let started = Instant::now();
    while !begun.exists() {
        assert!(started.elapsed() < Duration::from_secs(60), "it was not started");
        std::thread::sleep(Duration::from_millis(5));
    }
    pass(&server, &laptop);
    fs::write(&go_on, "").unwrap();
    assert!(runner.wait().unwrap().success());
    // The laptop never hears how it ended.
    assert_eq!(state(&laptop, &id), "running");
    complains(&laptop.run(&["jobs", "forget", &id]), 1, &["it is running", "mailsync peer remove"]);
    laptop.ok(&["peer", "remove", "server"]);
    laptop.ok(&["jobs", "forget", &id]);
    assert_eq!(laptop.ok(&["jobs", "list", "--json"]).json()["jobs"].as_array().unwrap().len(), 0);
}

#[test]
fn a_runner_killed_while_the_program_runs_leaves_the_job_interrupted_until_a_person_decides() {
    // Before, within and after what the program does, it kills the mailsync that runs it.
    for (when, script) in [
        ("before", "kill -9 $PPID; sleep 1; exit"),
        ("within", "MARK; kill -9 $PPID"),
        ("after", "MARK; kill -9 $PPID; exit 0"),
    ] {
        let (dir, server, laptop, file) = marking();
        let once = dir.path().join("once");
        let mark = format!("echo \"$MAILSYNC_JOB\" >> '{}'", file.display());
        let script = format!(
            "if test -e '{0}'; then {mark}; exit 0; fi; touch '{0}'; {1}",
            once.display(),
            script.replace("MARK", &mark)
        );
        fs::write(server.home.join("mark.sh"), script).unwrap();
        let [id, next] = [(), ()].map(|()| ask(&laptop, "server", &["mark"], b""));
        let bundle = laptop.ok(&["export", "--to", "server"]).stdout;
        assert_eq!(server.run_with(&["import"], &bundle).code, -1, "{when}: it was killed");
        let before = marks(&file);
        assert_eq!(state(&server, &id), "running", "{when}: for whoever only looks");
        // The next command finds out, and goes on with the next job.
        let ran = server.run_with(&["import"], &bundle);
        assert_eq!(ran.code, 0, "{when}: {ran:?}");
        assert_eq!(state(&server, &id), "interrupted");
        assert_eq!(state(&server, &next), "done");
        server.run_with(&["import"], &bundle);
        let runs = marks(&file);
        assert_eq!((runs.get(&id), runs.get(&next)), (before.get(&id), Some(&1)), "{when}");
        pass(&server, &laptop);
        assert_eq!(state(&laptop, &id), "interrupted");
        assert!(reason(&laptop, &id).contains("it may have run"));
        // A person decides, over there.
        let ran = server.ok(&["jobs", "retry", &id]);
        assert!(ran.stderr.contains(": done"), "{}", ran.stderr);
        pass(&server, &laptop);
        assert_eq!((state(&laptop, &id), laptop.job(&id)["attempt"].as_u64()), ("done".into(), Some(2)));
        complains(&server.run(&["jobs", "retry", &id]), 1, &["it is done"]);
    }
}

#[test]
fn an_import_killed_at_any_moment_runs_no_job_twice_and_loses_none() {
    const JOBS: usize = 12;
    const KILLS: u32 = 25;
    let (dir, server, laptop, file) = marking();
    let mark = format!("echo \"begin $MAILSYNC_JOB\" >> '{0}'; echo \"end $MAILSYNC_JOB\" >> '{0}'", file.display());
    fs::write(server.home.join("mark.sh"), mark).unwrap();
    let mut ids = Vec::new();
    let started = Instant::now();
    let mut takes = Duration::ZERO;
    let mut killed = 0;
    for round in 0..KILLS {
        ids.extend((0..JOBS / 4).map(|_| ask(&laptop, "server", &["mark"], b"some input\n")));
        let bundle = dir.path().join("bundle.zst");
        fs::write(&bundle, laptop.ok(&["export", "--to", "server"]).stdout).unwrap();
        let mut import = server.command(&["import", bundle.to_str().unwrap()]);
        if round == 0 {
            let begun = Instant::now();
            assert!(import.output().unwrap().status.success());
            takes = begun.elapsed();
        } else {
            let mut child = import.stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(takes * (round % 13) / 12);
            let _ = child.kill();
            killed += u32::from(!child.wait().unwrap().success());
        }
        if round % 5 == 4 {
            pass(&server, &laptop);
        }
    }
    let ran = server.run(&["jobs", "run"]);
    assert!([0, 1].contains(&ran.code), "{ran:?}");
    pass(&laptop, &server);
    pass(&server, &laptop);
    let marks = marks(&file);
    let mut interrupted = 0;
    for id in &ids {
        let begun = marks.get(&format!("begin {id}")).copied().unwrap_or(0);
        assert!(begun <= 1, "{id} was run {begun} times");
        match state(&laptop, id).as_str() {
            "done" => assert_eq!((begun, marks.get(&format!("end {id}"))), (1, Some(&1)), "{id}"),
            "interrupted" => interrupted += 1,
            other => panic!("{id} is {other}"),
        }
    }
    println!(
        "{killed} of {KILLS} imports killed, {interrupted} of {} jobs interrupted, {:?}",
        ids.len(),
        started.elapsed()
    );
    assert!(killed > KILLS / 4, "only {killed} were killed");
}

#[test]
fn a_thousand_jobs_come_in_one_bundle_and_run_in_order() {
    const JOBS: usize = 1_000;
    let (_dir, server, laptop, file) = marking();
    let mut ids: Vec<String> = Vec::new();
    for _ in 0..JOBS {
        ids.push(ask(&laptop, "server", &["mark"], b""));
    }
    pass(&laptop, &server);
    let order: Vec<String> = fs::read_to_string(&file).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(order.len(), JOBS);
    assert_eq!(order, ids);
    let ran = pass(&server, &laptop);
    assert!(ran.stderr.contains("1000 jobs are done"), "{}", ran.stderr);
    let jobs = laptop.ok(&["jobs", "list", "--json"]).json();
    assert!(jobs["jobs"].as_array().unwrap().iter().all(|job| job["state"] == "done"));
}

/// Writes so many bytes of nothing special.
fn feed(stdin: &mut ChildStdin, bytes: u64) {
    let mut state = 1_u64;
    let mut block = vec![0; 1 << 20];
    for _ in 0..bytes >> 20 {
        for byte in &mut block {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (state >> 56) as u8;
        }
        stdin.write_all(&block).unwrap();
    }
}

#[test]
fn input_of_any_size_passes_through_memory_that_does_not_grow() {
    const INPUT: u64 = 200 << 20;
    let dir = scratch();
    let (server, laptop) = (Machine::replica(dir.path(), "server"), Machine::replica(dir.path(), "laptop"));
    make_peers(&server, &laptop);
    allow(&server, "count", "laptop", "wc -c", &[]);
    let bundle = dir.path().join("bundle.zst");
    let peaks = [
        peak(&mut laptop.command(&["uux", "server", "--", "count"]), |stdin| feed(stdin, INPUT)),
        peak(&mut laptop.command(&["export", "--to", "server", "-o", bundle.to_str().unwrap()]), |_| {}),
        peak(&mut server.command(&["import", bundle.to_str().unwrap()]), |_| {}),
    ];
    println!("uux, export, import and run: {peaks:?} MiB");
    assert!(peaks.iter().all(|&peak| (1..160).contains(&peak)), "{peaks:?} MiB");
    pass(&server, &laptop);
    let jobs = laptop.ok(&["jobs", "list", "--json"]).json();
    let id = jobs["jobs"][0]["id"].as_str().unwrap();
    assert_eq!(laptop.job(id)["result"]["stdout"].as_str().unwrap().trim(), INPUT.to_string());
    for machine in [&laptop, &server] {
        let left: u64 =
            fs::read_dir(machine.home.join("jobs")).unwrap().map(|item| item.unwrap().metadata().unwrap().len()).sum();
        assert!(left < 10_000, "the input is not kept when it is done: {left} bytes");
    }
}

#[test]
fn asking_waits_for_nobody_and_other_commands_work_while_a_program_runs() {
    use fs2::FileExt as _;
    let (dir, server, laptop, _) = marking();
    let lock = fs::OpenOptions::new().write(true).open(laptop.home.join("lock")).unwrap();
    lock.lock_exclusive().unwrap();
    let id = ask(&laptop, "server", &["slow"], b"");
    assert_eq!(state(&laptop, &id), "queued", "it is listed before any command has taken it up");
    drop(lock);

    let (go, began) = (dir.path().join("go"), dir.path().join("began"));
    let script = format!(
        "touch '{}'; i=0; while ! test -e '{}' && test $i -lt 200; do sleep 0.1; i=$((i+1)); done",
        began.display(),
        go.display()
    );
    allow(&server, "slow", "laptop", &script, &[]);
    let bundle = dir.path().join("bundle.zst");
    fs::write(&bundle, laptop.ok(&["export", "--to", "server"]).stdout).unwrap();
    let import = server.command(&["import", bundle.to_str().unwrap()]).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !began.exists() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(state(&server, &id), "running");
    server.put("INBOX", "new/1.x.y", "From: me\n\nmeanwhile\n", 1_600_000_000);
    server.ok(&["scan"]);
    let second = ask(&laptop, "server", &["mark"], b"");
    let ran = pass(&laptop, &server);
    assert!(ran.stderr.contains("another mailsync is running jobs"), "{}", ran.stderr);
    complains(&server.run(&["jobs", "cancel", &id]), 1, &["it is running"]);
    // It is known elsewhere while it runs.
    pass(&server, &laptop);
    assert_eq!(state(&laptop, &id), "running");
    complains(&laptop.run(&["jobs", "cancel", &id]), 1, &["it is running"]);
    fs::write(&go, "").unwrap();
    assert!(import.wait_with_output().unwrap().status.success());
    assert_eq!(state(&server, &id), "done");
    assert_eq!(state(&server, &second), "done", "who was running jobs has run the new one, too");
}

#[test]
fn a_target_put_back_to_an_earlier_state_does_not_run_again_what_it_may_have_run() {
    // On a disk: most file systems give an inode number again at once, which the one in memory does not.
    let (dir, server, laptop, file) = marking_in(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap());
    let id = ask(&laptop, "server", &["mark"], b"");
    let bundle = laptop.ok(&["export", "--to", "server"]).stdout;
    assert_eq!(server.run_with(&["import", "--no-jobs"], &bundle).code, 0);
    let backup = dir.path().join("backup");
    copy(&server.home, &backup);
    server.ok(&["jobs", "run"]);
    assert_eq!(marks(&file).get(&id), Some(&1));
    fs::remove_dir_all(&server.home).unwrap();
    copy(&backup, &server.home);
    let ran = server.run(&["jobs", "run"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert_eq!(state(&server, &id), "interrupted");
    assert!(reason(&server, &id).contains("put back to an earlier one"));
    // Nor does its requester's taking it back make it one that never ran.
    let doubtful = ask(&laptop, "server", &["mark"], b"");
    laptop.ok(&["jobs", "cancel", &doubtful]);
    pass(&laptop, &server);
    assert_eq!(state(&server, &doubtful), "interrupted");
    // Nor does the bundle that brought it.
    server.run_with(&["import"], &bundle);
    assert_eq!(marks(&file).get(&id), Some(&1));
    // What is asked for before the requester has heard of it is in doubt, whatever its clock says; afterwards it is
    // run.
    let doubtful = ask(&laptop, "server", &["mark"], b"");
    pass(&laptop, &server);
    assert_eq!(state(&server, &doubtful), "interrupted");
    pass(&server, &laptop);
    let next = ask(&laptop, "server", &["mark"], b"");
    pass(&laptop, &server);
    assert_eq!(state(&server, &next), "done");
    assert_eq!(state(&laptop, &id), "interrupted");
}

#[test]
fn a_program_that_takes_too_long_or_is_not_there_has_failed() {
    let (dir, server, laptop, _) = marking();
    server.allow("long", &["/bin/sleep", "60"], &[], "laptop");
    server.configure("timeout = \"1s\"");
    server.allow("gone", &[text(&dir.path().join("missing"))], &[], "laptop");
    let [long, gone] = ["long", "gone"].map(|command| ask(&laptop, "server", &[command], b"x"));
    let bundle = laptop.ok(&["export", "--to", "server"]).stdout;
    let ran = server.run_with(&["import"], &bundle);
    assert_eq!(ran.code, 0, "the import is done, whatever becomes of jobs: {ran:?}");
    assert_eq!(
        (state(&server, &long), reason(&server, &long)),
        ("failed".into(), "it took longer than 1s and was ended".into())
    );
    assert!(reason(&server, &gone).contains("could not be started"), "{}", reason(&server, &gone));
}

#[test]
fn a_rule_that_makes_no_sense_is_told_of_by_every_command() {
    for (rule, why) in [
        ("command = \"x\"\nexec = []", "exec must name a program"),
        ("command = \"x\"\nexec = [\"y\"]\nargs = [\"@adress\"]", "no kind @adress"),
        ("command = \"x\"\nexec = [\"y\"]\ntimeout = \"soon\"", "is not a time"),
        ("command = \"x\"\nexec = [\"y\"]\nform = [\"laptop\"]", "there is no key `form` here"),
    ] {
        let (_dir, server, _, _) = marking();
        server.configure(&format!("[[allow]]\n{rule}"));
        complains(&server.run(&["status"]), 2, &["config.toml", why]);
    }
}

/// A bundle with other statements about jobs than it came with, signed by this machine all the same.
fn rewrite(machine: &Machine, bundle: &[u8], change: impl FnOnce(Vec<JobLine>) -> Vec<Vec<u8>>) -> Vec<u8> {
    let dir = scratch();
    let mut stream = Stream::new(bundle);
    let reader = stream.next_bundle().unwrap().unwrap();
    let mut manifest = reader.manifest().clone();
    let mut records = RecordSpool::new(&mailsync::disk::RealDisk, dir.path());
    let jobs = reader
        .read_unverified()
        .records(|record| {
            records.push(&record).unwrap();
            Ok::<_, mailsync::bundle::Error>(())
        })
        .unwrap();
    let mut lines = Vec::new();
    let mut messages = jobs.jobs(&mut lines).unwrap();
    let mut contents: Vec<(Digest, Vec<u8>)> = Vec::new();
    while let Some(message) = messages.next_message().unwrap() {
        let (digest, mut bytes) = (message.digest(), Vec::new());
        message.read_verified(&mut bytes).unwrap();
        contents.push((digest, bytes));
    }
    let lines =
        lines.split_inclusive(|&byte| byte == b'\n').map(|line| JobLine::decode(line.trim_ascii_end()).unwrap());
    let mut spool = JobSpool::new(&mailsync::disk::RealDisk, dir.path());
    for line in change(lines.collect()) {
        if let Ok(line) = JobLine::decode(&line) {
            manifest.tip.learn(line.stamp);
        }
        spool.push(&line).unwrap();
    }
    let (records, spooled) = (records.finish().unwrap(), spool.finish().unwrap());
    manifest.number += 100;
    manifest.entries = records.part();
    manifest.jobs = spooled.as_ref().map(mailsync::bundle::SpooledJobs::part);
    manifest.counts.jobs = spooled.as_ref().map_or(0, mailsync::bundle::SpooledJobs::lines);
    let mut writer =
        Writer::start(Vec::new(), &Options::default(), &manifest, &machine.private_key(), records, spooled).unwrap();
    for (digest, bytes) in contents {
        writer.message_bytes(digest, Mtime::default(), &bytes).unwrap();
    }
    writer.finish().unwrap()
}

#[test]
fn a_replica_in_between_can_neither_change_nor_forge_nor_replay_a_job() {
    let dir = scratch();
    let [server, home, laptop] = chain(dir.path());
    let file = dir.path().join("marks");
    let mark = format!("echo \"$MAILSYNC_PEER $MAILSYNC_JOB\" >> '{}'; cat", file.display());
    for from in ["laptop", "home"] {
        allow(&server, "mark", from, &mark, &[]);
    }
    let id = ask(&laptop, "server", &["mark"], b"private\n");
    pass(&laptop, &home);
    let bundle = home.ok(&["export", "--to", "server"]).stdout;
    let key = home.private_key();
    let import = |bundle: &[u8]| -> Ran {
        let ran = server.run_with(&["import"], bundle);
        assert!([0, 1].contains(&ran.code), "{ran:?}");
        ran
    };

    // Changed, or with a signature of its own.
    let ran = import(&rewrite(&home, &bundle, |lines| {
        let changed =
            |line: &JobLine| JobLine { signed: line.signed.replace("\"made\":", "\"made\":1"), ..line.clone() };
        lines.iter().map(|line| changed(line).encode()).collect()
    }));
    assert!(
        ran.stderr.contains("1 statement about jobs was not signed by the replica that may make it"),
        "{}",
        ran.stderr
    );
    import(&rewrite(&home, &bundle, |lines| {
        let statement = lines[0].statement().unwrap();
        vec![JobLine::sign(lines[0].stamp, &statement, &key).unwrap().encode()]
    }));
    assert!(!file.exists());

    // The body passed off as a request of its own: its output would be told to the wrong one.
    let stolen = rewrite(&home, &bundle, |lines| {
        let Statement::Request(mut request) = lines[0].statement().unwrap() else { panic!("a request") };
        request.requester = key.public_key().id();
        vec![JobLine::sign(lines[0].stamp, &Statement::Request(request), &key).unwrap().encode()]
    });
    import(&stolen);
    assert!(!file.exists(), "{:?}", fs::read_to_string(&file));

    // A withdrawal and a report by somebody who has no say.
    import(&rewrite(&home, &bundle, |lines| {
        let job = mailsync::bundle::JobId::of(&lines[0].signed);
        let cancel = Statement::Cancel(Cancel { job, made: 1 });
        let report = Report { job, attempt: 9, at: 1, state: JobState::Done, status: Some(0), result: None };
        let mut all = vec![lines[0].encode()];
        for statement in [cancel, Statement::Report(report)] {
            all.push(JobLine::sign(lines[0].stamp, &statement, &key).unwrap().encode());
        }
        all
    }));
    assert_eq!(state(&server, &id), "done", "it was run, since nobody has withdrawn it");
    assert_eq!(marks(&file), [(format!("laptop {id}"), 1)].into());

    // Again, as it was, and with a new stamp.
    import(&rewrite(&home, &bundle, |lines| lines.iter().map(JobLine::encode).collect()));
    let in_an_hour = crate::claims_that_can_not_be_true_are_refused::now() + 3_600_000;
    import(&rewrite(&home, &bundle, |mut lines| {
        lines[0].stamp.clock = mailsync::model::Clock::next(in_an_hour, lines[0].stamp.clock).unwrap();
        lines.iter().map(JobLine::encode).collect()
    }));
    assert_eq!(marks(&file), [(format!("laptop {id}"), 1)].into());

    // What is no statement at all does no harm to the others.
    let next = ask(&laptop, "server", &["mark"], b"");
    pass(&laptop, &home);
    let bundle = home.ok(&["export", "--to", "server"]).stdout;
    import(&rewrite(&home, &bundle, |lines| {
        let mut all = vec![b"nonsense".to_vec(), b"{}".to_vec(), vec![b'x'; 16 << 10]];
        all.extend(lines.iter().map(JobLine::encode));
        all
    }));
    assert_eq!(state(&server, &next), "done");
}

#[test]
fn a_body_that_comes_later_is_waited_for() {
    let (dir, server, laptop, file) = marking();
    let id = ask(&laptop, "server", &["mark"], &vec![b'x'; 300_000]);
    // In parts, the first of which holds the request alone.
    let parts = dir.path().join("parts");
    fs::create_dir(&parts).unwrap();
    laptop.ok(&["export", "--to", "server", "--split", "64K", "-o", parts.to_str().unwrap()]);
    let parts = files(&parts);
    assert!(parts.len() > 1, "{parts:?}");
    server.ok(&["import", parts[0].to_str().unwrap()]);
    assert_eq!(state(&server, &id), "queued");
    // Meanwhile it is asked for.
    let wants = server.ok(&["export", "--to", "laptop", "-o", dir.path().join("w.zst").to_str().unwrap()]);
    assert!(wants.stdout.is_empty());
    let inspected = server.ok(&["inspect", dir.path().join("w.zst").to_str().unwrap(), "--json"]).json();
    assert_eq!(inspected["bundles"][0]["wants"], 1);
    assert_eq!(laptop.run(&["import", dir.path().join("w.zst").to_str().unwrap()]).code, 0);
    pass(&laptop, &server);
    assert_eq!(state(&server, &id), "done");
    for part in &parts[1..] {
        server.ok(&["import", part.to_str().unwrap()]);
    }
    assert_eq!(marks(&file).get(&id), Some(&1));
}

#[test]
fn a_job_survives_whatever_its_requester_does_meanwhile() {
    let (_dir, server, laptop, _) = marking();
    let id = ask(&laptop, "server", &["mark"], b"");
    // A queued job is there before any command has taken it up, and after several have.
    for args in [&["status"][..], &["scan"], &["doctor"], &["purge"], &["jobs", "list"]] {
        laptop.ok(args);
        assert_eq!(state(&laptop, &id), "queued", "{args:?}");
    }
    pass(&laptop, &server);
    assert_eq!(state(&server, &id), "done");
}

#[test]
fn a_damaged_queue_keeps_nothing_else_from_being_done() {
    let (_dir, server, laptop, file) = marking();
    let id = ask(&laptop, "server", &["mark"], b"");
    for (name, contents) in [("1-x.json", &b""[..]), ("2-x.json", b"{}"), ("3-x.json", b"\xff")] {
        fs::write(laptop.home.join("outbox").join(name), contents).unwrap();
    }
    laptop.ok(&["jobs", "list"]);
    let ran = laptop.ok(&["scan"]);
    assert!(ran.stderr.contains("1-x.bad") && ran.stderr.contains("3-x.bad"), "{}", ran.stderr);
    assert!(!laptop.ok(&["scan"]).stderr.contains("bad"), "it is told of once");
    pass(&laptop, &server);
    assert_eq!(marks(&file).get(&id), Some(&1));
}

#[test]
fn an_input_that_is_lost_or_damaged_keeps_nothing_else_from_being_exported_and_is_asked_for_again() {
    for damaged in [false, true] {
        let dir = scratch();
        let [server, home, laptop] = chain(dir.path());
        allow(&server, "count", "laptop", "wc -c", &[]);
        let id = ask(&laptop, "server", &["count"], b"12345");
        pass(&laptop, &home);
        for item in fs::read_dir(home.home.join("jobs")).unwrap().map(|item| item.unwrap().path()) {
            if damaged {
                let mut bytes = fs::read(&item).unwrap();
                *bytes.last_mut().unwrap() ^= 1;
                fs::write(&item, bytes).unwrap();
            } else {
                fs::remove_file(&item).unwrap();
            }
        }
        home.put("INBOX", "new/1.x.y", "From: me\n\nmeanwhile\n", 1_600_000_000);
        pass(&home, &server);
        assert_eq!(server.mailbox(), home.mailbox());
        assert_eq!(state(&server, &id), "queued");
        // The next exchanges bring it.
        for (from, to) in [(&home, &laptop), (&laptop, &home), (&server, &home), (&home, &server)] {
            pass(from, to);
        }
        assert_eq!(state(&server, &id), "done", "damaged: {damaged}");
    }
}

#[test]
fn the_jobs_of_one_requester_wait_for_one_whose_input_is_missing() {
    let (dir, server, laptop, file) = marking();
    let first = ask(&laptop, "server", &["mark"], &vec![b'x'; 200_000]);
    let second = ask(&laptop, "server", &["mark"], b"");
    let parts = dir.path().join("parts");
    fs::create_dir(&parts).unwrap();
    laptop.ok(&["export", "--to", "server", "--split", "64K", "-o", parts.to_str().unwrap()]);
    let mut parts = files(&parts);
    // The large input last, if the parts are not in that order anyway.
    let size = |path: &PathBuf| fs::metadata(path).unwrap().len();
    parts[1..].sort_by_key(size);
    let (last, before) = parts.split_last().unwrap();
    for part in before {
        server.ok(&["import", part.to_str().unwrap()]);
        assert!(!file.exists(), "{}", part.display());
    }
    server.ok(&["import", last.to_str().unwrap()]);
    let order: Vec<String> = fs::read_to_string(&file).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(order, [first, second]);
}

#[test]
fn a_mailsync_that_is_told_to_stop_ends_the_program_that_it_runs() {
    let (dir, server, laptop, _) = marking();
    let (began, after) = (dir.path().join("began"), dir.path().join("after"));
    let script = format!("touch '{}'; sleep 2; touch '{}'", began.display(), after.display());
    allow(&server, "slow", "laptop", &script, &[]);
    let id = ask(&laptop, "server", &["slow"], b"");
    let next = ask(&laptop, "server", &["mark"], b"");
    let bundle = dir.path().join("bundle.zst");
    fs::write(&bundle, laptop.ok(&["export", "--to", "server"]).stdout).unwrap();
    let mut import = server.command(&["import", bundle.to_str().unwrap()]).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !began.exists() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    let told = Command::new("kill").args(["-TERM", &import.id().to_string()]).status().unwrap();
    assert!(told.success());
    assert_eq!(import.wait().unwrap().code(), Some(1));
    assert_eq!((state(&server, &id), state(&server, &next)), ("interrupted".into(), "queued".into()));
    assert!(reason(&server, &id).contains("told to stop"), "{}", reason(&server, &id));
    std::thread::sleep(Duration::from_millis(2_200));
    assert!(!after.exists(), "the program was ended");
}

#[test]
fn a_command_of_any_length_is_shown_as_its_beginning() {
    let (_dir, server, laptop, _) = marking();
    let long = "x".repeat(100_000);
    let id = ask(&laptop, "server", &[&long], b"");
    let ran = pass(&laptop, &server);
    assert!(ran.stderr.len() < 2_000, "{}", ran.stderr.len());
    for machine in [&laptop, &server] {
        assert!(machine.ok(&["jobs", "list"]).text().len() < 2_000);
        assert_eq!(machine.ok(&["jobs", "list", "--json"]).json()["jobs"].as_array().unwrap().len(), 1);
        machine.ok(&["jobs", "show", &id]);
    }
}

#[test]
fn a_job_that_is_tried_again_late_is_heard_of_through_those_who_have_forgotten_it() {
    let dir = scratch();
    let [server, home, laptop] = chain(dir.path());
    let again = dir.path().join("again");
    allow(&server, "try", "laptop", &format!("test -e '{}'", again.display()), &[]);
    let id = ask(&laptop, "server", &["try"], b"");
    for (from, to) in [(&laptop, &home), (&home, &server), (&server, &home), (&home, &laptop), (&laptop, &home)] {
        pass(from, to);
    }
    pass(&home, &server);
    assert_eq!(state(&laptop, &id), "failed");
    let config = home.home.join("config.toml");
    fs::write(&config, fs::read_to_string(&config).unwrap().replace("jobs_days = 30", "jobs_days = 0")).unwrap();
    pass(&server, &home);
    assert_eq!(home.ok(&["purge", "--json"]).json()["jobs"], 1);
    fs::write(&again, "").unwrap();
    server.ok(&["jobs", "retry", &id]);
    pass(&server, &home);
    pass(&home, &laptop);
    assert_eq!((state(&laptop, &id), laptop.job(&id)["attempt"].as_u64()), ("done".into(), Some(2)));
}

#[test]
fn no_mail_passes_between_those_who_know_each_other_for_jobs_only() {
    let dir = scratch();
    let [server, laptop] = ["server", "laptop"].map(|name| Machine::replica(dir.path(), name));
    server.ok(&["peer", "add", "laptop", "--key", &laptop.key(), "--distant"]);
    laptop.ok(&["peer", "add", "server", "--key", &server.key()]);
    laptop.put("INBOX", "new/1.x.y", "From: me\n\nprivate\n", 1_600_000_000);
    let bundle = laptop.ok(&["export", "--to", "server"]).stdout;
    complains(&server.run_with(&["import"], &bundle), 4, &["for its jobs only", "peer add laptop"]);
    complains(&server.run(&["export", "--to", "laptop"]), 6, &["for its jobs only", "peer add laptop"]);
    assert_eq!(server.mailbox().len(), 0);
    // It takes a word to make it a neighbour, and another to make it distant again.
    server.ok(&["peer", "add", "laptop", "--key", &laptop.key()]);
    assert_eq!(server.run_with(&["import"], &bundle).code, 0);
    assert_eq!(server.mailbox(), laptop.mailbox());
    server.ok(&["peer", "add", "laptop", "--key", &laptop.key(), "--distant"]);
    complains(&server.run_with(&["import"], &bundle), 4, &["for its jobs only"]);
}

#[test]
fn a_peer_that_is_renamed_is_missed_where_the_configuration_names_it() {
    let (_dir, server, laptop, _) = marking();
    let ran = server.ok(&["peer", "rename", "laptop", "notebook"]);
    assert!(ran.stderr.contains("config.toml still calls it laptop"), "{}", ran.stderr);
    assert!(!laptop.ok(&["peer", "rename", "server", "tower"]).stderr.contains("config.toml"));
}
