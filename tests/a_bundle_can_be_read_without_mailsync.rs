//! A bundle outlives the program that wrote it: zstd, tar, sha256sum and ssh-keygen are enough to check it by hand and
//! to take the mail out, and age to read what jobs hold.

use std::fs;
use std::path::Path;
use std::process::Command;

use mailsync::bundle::{PrivateKey, RecordSpool, Stream};
use mailsync::model::{Digest, Entry, EntryId, Flag, FolderName, FolderState, Mtime, Origin, Stamp, StateDigest};

use crate::support::bundles::{Full, INCARNATION, bundle_of_jobs, clock};
use crate::support::machine::{Machine, pair};
use crate::support::programs::{self, run, run_with};
use crate::support::scratch;

const MESSAGES: [&str; 2] = ["From: a@example.org\nSubject: one\n\nHello.\n", "From: b@example.org\n\nHello again.\n"];

/// Runs a program in `dir` with this input, and gives its output.
fn tool(dir: &Path, package: &str, program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    assert!(programs::path_of(program).is_some(), "please install {program}, of the package {package}");
    let mut command = Command::new(program);
    let ran = run_with(command.args(arguments).current_dir(dir).env("TZ", "UTC").env("LC_ALL", "C"), input);
    assert_eq!(ran.code, 0, "{program} {arguments:?}: {}", ran.stderr);
    ran.stdout
}

fn tool_text(dir: &Path, package: &str, program: &str, arguments: &[&str]) -> String {
    String::from_utf8(tool(dir, package, program, arguments, b"")).unwrap()
}

fn bundle(key: &PrivateKey) -> Vec<u8> {
    let stamp = Stamp { clock: clock(), incarnation: INCARNATION };
    let inbox = FolderName::inbox();
    let mut state_digest = StateDigest::default();
    state_digest.add(b"folder\0INBOX");

    let dir = scratch();
    let mut records = RecordSpool::new(&mailsync::disk::RealDisk, dir.path());
    records.folder(&inbox, FolderState { stamp, present: true }).unwrap();
    let mut contents = Vec::new();
    let mut messages: Vec<_> = MESSAGES.iter().zip(1_600_000_000..).collect();
    messages.sort_by_key(|(message, _)| Digest::of(message.as_bytes()));
    for (message, mtime) in messages {
        let id = EntryId { digest: Digest::of(message.as_bytes()), birth: inbox.clone(), ordinal: 0 };
        let flags = [Flag::Info(b'S')].into();
        let size = message.len() as u64;
        let mtime = Mtime::new(mtime, 0);
        let entry = Entry::delivered(None, Origin::Delivery, stamp, inbox.clone(), &flags, size, mtime);
        state_digest.add(&entry.canonical(&id));
        records.entry(&id, &entry).unwrap();
        contents.push((message.as_bytes(), mtime));
    }
    Full { records, state_digest, jobs: &[], known: &[], contents: &contents }.written(key, "laptop")
}

#[test]
fn a_bundle_can_be_listed_unpacked_and_checked_with_common_tools() {
    let dir = scratch();
    let dir = dir.path();
    let key = PrivateKey::generate("me@laptop").unwrap();
    fs::write(dir.join("b.zst"), bundle(&key)).unwrap();

    tool(dir, "zstd", "zstd", &["-q", "--test", "b.zst"], b"");
    let tar = tool(dir, "zstd", "zstd", &["-dc", "b.zst"], b"");
    let mut digests = MESSAGES.map(|message| Digest::of(message.as_bytes()));
    digests.sort();
    let [one, two] = digests;
    let listing = String::from_utf8(tool(dir, "tar", "tar", &["-tf", "-"], &tar)).unwrap();
    assert_eq!(listing, format!("manifest.json\nmanifest.json.sig\nentries.jsonl\nmessages/{one}\nmessages/{two}\n"));
    let details = String::from_utf8(tool(dir, "tar", "tar", &["-tvf", "-"], &tar)).unwrap();
    assert!(details.contains("-rw-r--r-- 0/0"), "{details}");
    assert!(details.contains("2020-09-13 12:26"), "{details}");

    tool(dir, "tar", "tar", &["-xf", "-"], &tar);
    for message in MESSAGES {
        let path = format!("messages/{}", Digest::of(message.as_bytes()));
        assert_eq!(fs::read_to_string(dir.join(&path)).unwrap(), message);
        let sum = tool_text(dir, "coreutils", "sha256sum", &[&path]);
        assert_eq!(sum, format!("{}  {path}\n", &path["messages/".len()..]));
    }

    let allowed = format!("laptop {}\n", key.public_key().to_openssh());
    fs::write(dir.join("allowed_signers"), allowed).unwrap();
    let manifest = fs::read(dir.join("manifest.json")).unwrap();
    let verify = ["-Y", "verify", "-f", "allowed_signers", "-I", "laptop", "-n", "mailsync", "-s", "manifest.json.sig"];
    let verified = String::from_utf8(tool(dir, "openssh-client", "ssh-keygen", &verify, &manifest)).unwrap();
    assert!(verified.starts_with("Good \"mailsync\" signature for laptop with ED25519 key SHA256:"), "{verified}");
    assert!(verified.contains(&key.public_key().id().to_string()), "{verified}");

    let manifest = String::from_utf8(manifest).unwrap();
    let sum = tool_text(dir, "coreutils", "sha256sum", &["entries.jsonl"]);
    assert!(manifest.contains(&sum[..64]), "{manifest}");
    assert_eq!(fs::read_to_string(dir.join("entries.jsonl")).unwrap().lines().count(), 3);
}

/// The other way round: what the tools make is a bundle, and the same signature, so that nothing in the format is
/// private to mailsync.
#[test]
fn a_bundle_packed_and_signed_with_common_tools_is_read() {
    let dir = scratch();
    let dir = dir.path();
    tool(dir, "openssh-client", "ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "x", "-f", "key"], b"");
    let key = PrivateKey::from_openssh(&fs::read_to_string(dir.join("key")).unwrap()).unwrap();
    fs::write(dir.join("b.zst"), bundle(&key)).unwrap();
    let tar = tool(dir, "zstd", "zstd", &["-dc", "b.zst"], b"");
    tool(dir, "tar", "tar", &["-xf", "-"], &tar);

    let ours = fs::read_to_string(dir.join("manifest.json.sig")).unwrap();
    fs::remove_file(dir.join("manifest.json.sig")).unwrap();
    tool(
        dir,
        "openssh-client",
        "ssh-keygen",
        &["-q", "-Y", "sign", "-f", "key", "-n", "mailsync", "manifest.json"],
        b"",
    );
    assert_eq!(fs::read_to_string(dir.join("manifest.json.sig")).unwrap(), ours);

    let [one, two] = MESSAGES.map(|message| format!("messages/{}", Digest::of(message.as_bytes())));
    let members = ["manifest.json", "manifest.json.sig", "entries.jsonl", &one, &two];
    let tar = tool(dir, "tar", "tar", &[&["--format=ustar", "-cf", "-"], members.as_slice()].concat(), b"");
    let packed = tool(dir, "zstd", "zstd", &["-c", "--check"], &tar);

    let mut stream = Stream::new(packed.as_slice());
    let reader = stream.next_bundle().unwrap().unwrap();
    reader.verify(&key.public_key()).unwrap().drain_verified().unwrap();
    assert!(stream.next_bundle().unwrap().is_none());
}

/// Unpacks a bundle in a directory of its own.
fn unpack(dir: &Path, bundle: &[u8]) {
    fs::create_dir(dir).unwrap();
    fs::write(dir.join("b.zst"), bundle).unwrap();
    let tar = tool(dir, "zstd", "zstd", &["-dc", "b.zst"], b"");
    tool(dir, "tar", "tar", &["-xf", "-"], &tar);
}

/// Checks the only statement in an unpacked bundle, which must be by this machine, and gives it. It is in the file
/// `signed`.
fn check_statement(dir: &Path, by: &Machine) -> serde_json::Value {
    let jobs = fs::read_to_string(dir.join("jobs.jsonl")).unwrap();
    assert_eq!((jobs.lines().count(), jobs.ends_with('\n')), (1, true), "{jobs}");
    let line: serde_json::Value = serde_json::from_str(&jobs).unwrap();
    fs::write(dir.join("signed"), line["signed"].as_str().unwrap()).unwrap();
    fs::write(dir.join("signed.sig"), line["signature"].as_str().unwrap()).unwrap();
    fs::write(dir.join("allowed_signers"), format!("{} {}\n", by.name, by.key())).unwrap();
    let verify = ["-Y", "verify", "-f", "allowed_signers", "-I", &by.name, "-n", "mailsync-job", "-s", "signed.sig"];
    let signed = fs::read(dir.join("signed")).unwrap();
    let verified = String::from_utf8(tool(dir, "openssh-client", "ssh-keygen", &verify, &signed)).unwrap();
    assert!(verified.starts_with("Good \"mailsync-job\" signature"), "{verified}");
    serde_json::from_slice(&signed).unwrap()
}

/// Opens with a machine's key what a statement names, and gives its first line and the rest.
fn open_sealed(dir: &Path, sealed: &serde_json::Value, key: &Path) -> (serde_json::Value, Vec<u8>) {
    let file = format!("messages/{}", sealed["digest"].as_str().unwrap());
    assert_eq!(fs::metadata(dir.join(&file)).unwrap().len(), sealed["bytes"]);
    let sum = tool_text(dir, "coreutils", "sha256sum", &[&file]);
    assert_eq!(sum[..64], file["messages/".len()..]);
    let opened = tool(dir, "age", "age", &["-d", "-i", key.to_str().unwrap(), &file], b"");
    let end = opened.iter().position(|&byte| byte == b'\n').unwrap();
    (serde_json::from_slice(&opened[..end]).unwrap(), opened[end + 1..].to_vec())
}

#[test]
fn what_is_said_about_jobs_can_be_checked_and_opened_with_common_tools() {
    if programs::find("age").is_none() {
        return;
    }
    let dir = scratch();
    let (laptop, server) = pair(dir.path());
    let stranger = Machine::replica(dir.path(), "stranger");
    server.allow("echo", &["/bin/sh", "-c", "cat; echo wrong >&2; exit 3"], &["@word"], &laptop.name);
    let input = b"Gr\xfc\xdfe\n\0no end of line";
    let id = laptop.run_with(&["uux", &server.name, "echo", "x"], input).text().trim().to_owned();

    let request = laptop.ok(&["export", "--to", &server.name]).stdout;
    let at = dir.path().join("request");
    unpack(&at, &request);
    let said = check_statement(&at, &laptop);
    assert_eq!(id, tool_text(&at, "coreutils", "sha256sum", &["signed"])[..32]);
    let whose = |machine: &Machine| machine.ok(&["status", "--json"]).json()["replica"]["id"].clone();
    assert_eq!((&said["type"], &said["requester"]), (&"request".into(), &whose(&laptop)));
    assert_eq!(said["target"], whose(&server));
    for machine in [&laptop, &server] {
        let (head, rest) = open_sealed(&at, &said["body"], &machine.home.join("key"));
        assert_eq!(head, serde_json::json!({ "requester": whose(&laptop), "command": ["echo", "x"] }));
        assert_eq!(rest, input);
    }
    let mut age = Command::new("age");
    age.arg("-d")
        .arg("-i")
        .arg(stranger.home.join("key"))
        .arg(at.join("messages").join(said["body"]["digest"].as_str().unwrap()));
    assert_ne!(run(&mut age).code, 0);

    let answer = server.run_with(&["import", "--reply"], &request);
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    let at = dir.path().join("report");
    unpack(&at, &answer.stdout);
    let said = check_statement(&at, &server);
    assert_eq!((&said["type"], &said["job"], &said["attempt"]), (&"report".into(), &id.into(), &1.into()));
    assert_eq!((&said["state"], &said["status"]), (&"failed".into(), &3.into()));
    for machine in [&laptop, &server] {
        let (head, rest) = open_sealed(&at, &said["result"], &machine.home.join("key"));
        assert_eq!(head["reason"], "it ended with status 3");
        assert!(head["started"].is_u64() && head["ended"].is_u64(), "{head}");
        let both = [&head["stdout_bytes"], &head["stderr_bytes"], &head["stdout_cut"], &head["stderr_cut"]];
        assert_eq!(both, [&serde_json::json!(input.len()), &6.into(), &false.into(), &false.into()]);
        assert_eq!(rest, [&input[..], b"wrong\n"].concat());
    }
}

/// The other way round: ssh-keygen and age make a job that is run.
#[test]
fn a_job_that_was_signed_and_sealed_with_common_tools_is_run() {
    if programs::find("age").is_none() {
        return;
    }
    let scratch = scratch();
    let dir = scratch.path();
    tool(dir, "openssh-client", "ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "x", "-f", "key"], b"");
    let key = PrivateKey::from_openssh(&fs::read_to_string(dir.join("key")).unwrap()).unwrap();
    let server = Machine::replica(dir, "server");
    server.ok(&["peer", "add", "x", "--key", dir.join("key.pub").to_str().unwrap()]);
    let got = dir.join("got");
    server.allow("keep", &["/bin/sh", "-c", &format!("cat > {}; echo \"$1\"", got.display()), "sh"], &["@word"], "x");

    let requester = key.public_key().id();
    let body = format!("{{\"requester\": \"{requester}\", \"command\": [\"keep\", \"word\"]}}\nHello.\n");
    fs::write(dir.join("server.pub"), server.key() + "\n").unwrap();
    let body = tool(dir, "age", "age", &["-R", "server.pub", "-R", "key.pub"], body.as_bytes());
    let target = server.ok(&["status", "--json"]).json()["replica"]["id"].clone();
    let sealed = serde_json::json!({ "digest": Digest::of(&body).to_string(), "bytes": body.len() });
    let request = serde_json::json!({
        "type": "request", "requester": requester.to_string(), "target": target, "made": 1_700_000_000_123_u64, "body": sealed,
    });
    // However it is laid out.
    let signed = serde_json::to_string_pretty(&request).unwrap();
    let line = |namespace: &str| {
        let sign = ["-q", "-Y", "sign", "-f", "key", "-n", namespace];
        let signature = String::from_utf8(tool(dir, "openssh-client", "ssh-keygen", &sign, signed.as_bytes())).unwrap();
        let stamp = "018bcfe568000000-0123456789abcdef";
        serde_json::json!({ "stamp": stamp, "signed": signed, "signature": signature }).to_string()
    };
    // Lines that make no sense stand beside it and are ignored; a signature for something else is none.
    let mut lines = vec![line("mailsync"), line("mailsync-job"), String::from("{}"), "x".repeat(16 << 10)];
    let ran = server.run_with(&["import", "--reply"], &bundle_of_jobs(&key, &lines, &[&body]));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    for said in
        ["from x (keep): done", "1 statement about jobs was not signed", "2 statements about jobs say what can't be"]
    {
        assert!(ran.stderr.contains(said), "{said}: {}", ran.stderr);
    }
    assert_eq!(fs::read_to_string(&got).unwrap(), "Hello.\n");
    unpack(&dir.join("answer"), &ran.stdout);
    let report = check_statement(&dir.join("answer"), &server);
    let id = Digest::of(signed.as_bytes()).to_string()[..32].to_owned();
    assert_eq!((&report["job"], &report["state"]), (&id.into(), &"done".into()));
    let (_, rest) = open_sealed(&dir.join("answer"), &report["result"], &dir.join("key"));
    assert_eq!(rest, b"word\n");
    // Once more, it isn't run again.
    fs::remove_file(&got).unwrap();
    lines.reverse();
    assert_eq!(server.run_with(&["import"], &bundle_of_jobs(&key, &lines, &[&body])).code, 0);
    assert!(!got.exists());
}
