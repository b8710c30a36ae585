//! The test vectors in `fixtures/vectors/` are what the program in `tests/vectors/` makes, and the reader and the
//! import say of each what its line in the index says: right result, right rule, right state; and nothing changed when
//! it is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use mailsync::bundle::{Code, Keys, Stream};
use mailsync::state::State;
use rusqlite::Connection;
use serde_json::Value;

use crate::claims_that_can_not_be_true_are_refused::dump;
use crate::support::machine::Machine;
use crate::support::programs::{Ran, run_with};
use crate::support::{copy, reliability_says, scratch, text};
use crate::vectors::{
    TOKEN, Vector, Verdict, all, base, directory, files, invited, other, receiver, sealed, signer, successions,
};

/// The most bytes of one file, but for the few that are about what is large; and of all together.
const MOST_OF_ONE: usize = 4 << 10;
const MOST_OF_ALL: usize = 2 << 20;

/// What is not made by the program.
const WRITTEN: &[&str] = &["README.md"];

fn is_vector(name: &str) -> bool {
    Path::new(name).extension() == Some("zst".as_ref())
}

#[test]
fn the_files_are_those_that_the_program_makes() {
    let (made, dir) = (files(), directory());
    let found = walkdir::WalkDir::new(&dir).into_iter().map(Result::unwrap).filter(|item| item.file_type().is_file());
    let name = |item: walkdir::DirEntry| text(item.path().strip_prefix(&dir).unwrap()).to_owned();
    let found: BTreeSet<String> = found.map(name).filter(|name| !WRITTEN.contains(&name.as_str())).collect();
    let wanted: BTreeSet<String> = made.keys().cloned().collect();
    assert_eq!(found, wanted, "write them anew: cargo test the_vectors_are_written_anew -- --ignored");
    for (name, bytes) in &made {
        let found = fs::read(dir.join(name)).unwrap();
        // How zstd compresses changes from version to version, what is compressed does not.
        let contents = |bytes: &[u8]| zstd::decode_all(bytes).ok();
        let same = found == *bytes || (is_vector(name) && contents(&found).is_some_and(|c| Some(c) == contents(bytes)));
        assert!(same, "{name} is another one: cargo test the_vectors_are_written_anew -- --ignored");
    }
}

#[test]
#[ignore = "writes into the repository"]
fn the_vectors_are_written_anew() {
    let dir = directory();
    for item in fs::read_dir(&dir).unwrap().map(Result::unwrap) {
        if item.file_type().unwrap().is_dir() {
            fs::remove_dir_all(item.path()).unwrap();
        }
    }
    for (name, bytes) in files() {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

#[test]
#[ignore = "writes into the repository: age encrypts otherwise each time"]
fn the_sealed_bodies_are_made_anew() {
    crate::vectors::sealed::make();
}

#[test]
#[ignore = "writes into the repository: age encrypts otherwise each time"]
fn the_encrypted_bundles_are_made_anew() {
    crate::vectors::encrypted::make();
}

#[test]
fn the_vectors_are_many_and_small_and_can_be_packed_anywhere() {
    let files = files();
    assert!(files.len() > 300, "{}", files.len());
    assert!(files.values().map(Vec::len).sum::<usize>() < MOST_OF_ALL);
    let large: Vec<_> = files.iter().filter(|(name, bytes)| is_vector(name) && bytes.len() > MOST_OF_ONE).collect();
    assert!(large.len() < 16, "{:?}", large.iter().map(|(name, bytes)| (name, bytes.len())).collect::<Vec<_>>());
    for name in files.keys() {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-./".contains(c);
        assert!(name.chars().all(plain) && name.len() < 100, "{name}");
    }
}

/// Rules of `bundle-format.md` of which there is no vector, and why.
const WITHOUT: &[(&str, &str)] = &[("12.1", "it depends on the receiver's incarnation, which nobody can know before")];

#[test]
fn every_rule_by_which_a_bundle_is_not_taken_has_a_vector() {
    let format = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("bundle-format.md")).unwrap();
    let section = |from: &str, to: &str| format.split_once(from).unwrap().1.split_once(to).unwrap().0;
    let numbered = |section: &str, number: &str| {
        let rules = section.lines().filter_map(|line| line.split_once(". ")?.0.parse::<u32>().ok());
        rules.map(|rule| format!("{number}.{rule}")).collect::<Vec<_>>()
    };
    let mut rules = numbered(section("\n## 9. ", "\n## 10. "), "9");
    assert_eq!(rules.len(), 26, "the rules have got other numbers: see that the vectors name the right ones");
    rules.extend(numbered(section("\n## 12. ", "\n## 13. "), "12"));
    let used: BTreeSet<_> = all().iter().filter_map(|vector| vector.verdict.rule()).map(str::to_owned).collect();
    for rule in &rules {
        assert_ne!(used.contains(rule), WITHOUT.iter().any(|(without, _)| without == rule), "rule {rule}");
    }
    // "3", "4" and "5" are sections: who can open a bundle, for whom it is, and by whom it is signed.
    let known = |rule: &str| rules.iter().any(|one| one == rule) || ["3", "4", "5"].contains(&rule);
    assert!(used.iter().all(|rule| known(rule)), "{used:?}");
}

/// For each limit in section 10 of `bundle-format.md` the vectors that are above it; or why there is none.
const LIMITS: &[(&str, &[&str], &str)] = &[
    (
        "header of an encrypted bundle, from its first line to the end of that which begins with `---`",
        &["encrypted/a-header-of-more-than-32-kib"],
        "",
    ),
    ("stanzas in it", &["encrypted/one-that-more-can-open-than-may"], ""),
    ("work factor of a code", &["encrypted/a-code-that-asks-for-more-work-than-may-be"], ""),
    ("zstd window", &["container/a-window-that-is-too-large", "container/a-segment-that-is-too-large"], ""),
    ("any member", &["records/a-size-above-that-of-any-member"], ""),
    ("`manifest.json`", &["container/a-manifest-of-8-mib-and-a-byte", "container/a-manifest-of-8-gib"], ""),
    ("nesting of JSON", &["manifest/too-deep"], ""),
    (
        "incarnations in a knowledge",
        &[
            "manifest/more-incarnations-than-a-knowledge-has",
            "manifest/left-out-of-more-incarnations-than-a-knowledge-has",
            "manifest/passing-over-from-more-incarnations-than-a-knowledge-has",
            "manifest/passing-over-more-incarnations-than-a-knowledge-has",
        ],
        "",
    ),
    ("`issued`", &["limits/a-clock-more-issued-than-may-be"], ""),
    ("`wants`", &["limits/a-want-more-than-may-be"], ""),
    ("`successions`", &["successions/33-successions"], ""),
    ("folders", &["limits/a-folder-more-than-a-bundle-has", "manifest/more-folders-than-a-bundle-has"], ""),
    ("`manifest.json.sig`, `missing.json.sig`", &["container/a-signature-of-16-kib-and-a-byte"], ""),
    ("`missing.json`", &["limits/a-missing-json-of-8-mib-and-a-byte", "limits/a-message-more-missing-than-may-be"], ""),
    (
        "line of `entries.jsonl` without its newline",
        &["records/a-line-that-is-too-long", "limits/a-mebibyte-of-a-line-for-an-entry"],
        "",
    ),
    ("flags of an entry", &["records/more-flags-than-an-entry-has"], ""),
    ("folder name", &["records/a-name-of-1025-bytes", "records/a-name-of-1025-bytes-in-513-characters"], ""),
    ("name of a keyword", &["records/a-keyword-that-is-too-long"], ""),
    ("sender's name", &["manifest/a-name-that-is-too-long", "manifest/an-invited-name-that-is-too-long"], ""),
    ("`jobs.jsonl`", &["limits/a-jobs-jsonl-of-more-than-1-gib", "manifest/more-statements-than-a-bundle-has"], ""),
    ("line of `jobs.jsonl` without its newline", &["jobs/a-line-that-is-too-long"], ""),
    ("`replicas.jsonl`", &["replicas/a-statement-more-than-a-bundle-has"], ""),
    ("line of `replicas.jsonl` without its newline", &["replicas/a-line-that-is-too-long"], ""),
    ("reason of a revocation", &["replicas/a-reason-that-is-too-long"], ""),
    ("name in a revocation", &["replicas/a-name-that-is-too-long"], ""),
    ("incarnations that a revocation names", &["replicas/too-many-incarnations"], ""),
    ("keys that a revocation names in `keys`", &["replicas/too-many-keys"], ""),
    (
        "numbers in a statement about a job",
        &["jobs/a-report-on-one-attempt-too-many", "jobs/a-report-of-failed-with-status-256"],
        "",
    ),
    ("incarnations that a request names", &["jobs/a-request-that-knows-too-much"], ""),
    ("sealed result of a job", &["jobs/a-report-with-a-result-that-is-too-large"], ""),
    (
        "zeros behind the archive",
        &["container/too-many-zeros-behind-the-end", "limits/64-mib-of-zeros-behind-the-archive"],
        "",
    ),
];

#[test]
fn every_limit_has_a_vector_that_is_above_it() {
    let format = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("bundle-format.md")).unwrap();
    let section = format.split_once("\n## 10. ").unwrap().1.split_once("\n## 11. ").unwrap().0;
    let rows = section.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | ")).map(|(what, _)| what);
    let rows: Vec<&str> = rows.filter(|what| *what != "what").collect();
    assert_eq!(rows, LIMITS.iter().map(|(what, ..)| *what).collect::<Vec<_>>(), "the limits are others");
    let verdicts: BTreeMap<String, Verdict> = all().iter().map(|vector| (vector.file(), vector.verdict)).collect();
    for (what, vectors, why_none) in LIMITS {
        assert_ne!(vectors.is_empty(), why_none.is_empty(), "{what}: either vectors, or why there are none");
        for vector in *vectors {
            let verdict =
                verdicts.get(&format!("{vector}.zst")).unwrap_or_else(|| panic!("{what}: there is no {vector}"));
            // What is wrong with a line about a job or a replica is ignored.
            let of_line = vector.starts_with("replicas/") && *what != "`replicas.jsonl`";
            let is_ignored = of_line || vector.starts_with("jobs/");
            assert_eq!(is_ignored, *verdict == Verdict::Accepted, "{what}: {vector}");
        }
    }
}

/// A replica that knows the keys in the vectors and has the base state.
fn receiver_in(dir: &Path) -> Machine {
    let machine = Machine::new(dir, "receiver");
    fs::create_dir(&machine.home).unwrap();
    fs::set_permissions(&machine.home, fs::Permissions::from_mode(0o700)).unwrap();
    let key = machine.home.join("key");
    fs::write(&key, receiver().to_openssh()).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(machine.home.join("key.pub"), format!("{}\n", receiver().public_key().to_openssh())).unwrap();
    machine.init();
    for (name, key) in [("signer", signer()), ("other", other())] {
        machine.ok(&["peer", "add", name, "--key", &key.public_key().to_openssh()]);
    }
    machine.allow(sealed::COMMAND, &["true"], &["@text"], "signer");
    let conn = Connection::open(machine.home.join("state.db")).unwrap();
    let never = 253_402_300_799_999_i64;
    conn.execute("INSERT INTO invitation VALUES (?, 'new', 1, '{}', '{}', 1, ?)", (TOKEN, never)).unwrap();
    drop(conn);
    let base = base();
    let ran = machine.run_with(&["import"], &base.bytes);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(digest(&machine), base.after.digest(), "{}", alive(&machine));
    machine
}

fn digest(machine: &Machine) -> String {
    State::open(&machine.home.join("state.db")).unwrap().digest().to_string()
}

/// For people: what is alive at a machine.
fn alive(machine: &Machine) -> String {
    format!("{:#?}", machine.mailbox())
}

/// The same machine in another directory: it finds out that it is a copy, and goes on as a new incarnation.
fn copied(machine: &Machine, dir: &Path) -> Machine {
    let copied = Machine { name: machine.name.clone(), mail: dir.join("mail"), home: dir.join("home") };
    copy(&machine.home, &copied.home);
    copy(&machine.mail, &copied.mail);
    let config = copied.home.join("config.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(config, text.replace(self::text(&machine.mail), self::text(&copied.mail))).unwrap();
    copied.ok(&["doctor", "--moved-root"]);
    copied
}

fn import(machine: &Machine, vector: &Vector, options: &[&str]) -> Ran {
    let mut command = machine.command(&[&["import", "--json"], options].concat());
    run_with(command.envs(vector.code.map(|code| ("MAILSYNC_CODE", code))), &vector.bytes)
}

/// What was said of the bundles: the outcomes, and the errors.
fn outcomes(ran: &Ran) -> Vec<(String, String)> {
    let document = ran.json();
    let bundles = document["bundles"].as_array().unwrap_or_else(|| panic!("{document} {}", ran.stderr));
    let of = |bundle: &Value| (bundle["outcome"].as_str().unwrap().to_owned(), bundle["error"].to_string());
    bundles.iter().map(of).collect()
}

fn check_said(vector: &Vector, ran: &Ran) -> Result<(), String> {
    let code = match vector.verdict {
        Verdict::Accepted => 0,
        Verdict::Rejected(rule, _) if rule.starts_with("12.") => 6,
        Verdict::Rejected(..) => 4,
        Verdict::Waits(..) => 3,
    };
    let said = outcomes(ran);
    if ran.code != code {
        return Err(format!("exit {} in place of {code}: {said:?} {}", ran.code, ran.stderr));
    }
    let taken = |outcome: &str| matches!(outcome, "applied" | "nothing-new");
    let held = said.iter().take_while(|(outcome, _)| taken(outcome)).count();
    match vector.verdict.says() {
        None if held == said.len() && held > 0 => Ok(()),
        Some(says) if held == vector.held && said.len() == held + 1 && ran.stderr.contains(says) => Ok(()),
        _ => Err(format!("{said:?} {}", ran.stderr)),
    }
}

/// Runs each vector, and says at the end what went otherwise.
fn each(vectors: impl Iterator<Item = Vector>, mut check: impl FnMut(&Vector) -> Result<(), String>) {
    let (mut count, mut wrong) = (0, Vec::new());
    for vector in vectors {
        count += 1;
        if let Err(why) = check(&vector) {
            wrong.push(format!("{} ({:?}): {why}", vector.file(), vector.verdict));
        }
    }
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count > 0);
}

/// Half of the vectors that are accepted or have to wait: each needs a replica of its own.
fn each_that_may_change_something(half: usize) {
    let dir = scratch();
    let machine = receiver_in(dir.path());
    let base = base().after;
    let vectors = all().into_iter().filter(|vector| !is_refused_whole(vector));
    each(vectors.enumerate().filter(|(n, _)| n % 2 == half).map(|(_, vector)| vector), |vector| {
        let dir = scratch();
        // A copy doesn't know what it has run already, and runs nothing.
        let is_run = vector.group == "sealed";
        let machine = if is_run { receiver_in(dir.path()) } else { copied(&machine, dir.path()) };
        let before = machine.mailbox();
        let ran = import(&machine, vector, &["--no-jobs", "--allow-mass-add"]);
        if is_run {
            machine.run(&["jobs", "run"]);
        }
        check_said(vector, &ran)?;
        if digest(&machine) != vector.after.digest() {
            return Err(format!("another state: {} {}", alive(&machine), ran.stderr));
        }
        if vector.after == base && machine.mailbox() != before {
            return Err(format!("mail was changed: {}", alive(&machine)));
        }
        let listed = machine.ok(&["jobs", "list", "--json"]).json();
        let listed = listed["jobs"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let jobs: BTreeMap<_, _> = listed.map(|job| (text(&job["id"]), text(&job["state"]))).collect();
        if jobs != vector.jobs {
            return Err(format!("other jobs: {jobs:?} in place of {:?}", vector.jobs));
        }
        let revoked = revoked(&machine);
        let is_so = revoked == vector.revoked;
        if is_so { Ok(()) } else { Err(format!("shut out: {revoked:?} in place of {:?}", vector.revoked)) }
    });
}

/// The ids of all keys that are shut out.
fn revoked(machine: &Machine) -> BTreeSet<String> {
    let list = machine.ok(&["peer", "list", "--json"]).json();
    let all = ["peers", "revoked_others"].map(|of| list[of].as_array().unwrap().clone()).concat();
    let keys = all.iter().filter_map(|one| one["revoked"]["keys"].as_array()).flatten();
    keys.map(|id| id.as_str().unwrap().to_owned()).collect()
}

fn is_refused_whole(vector: &Vector) -> bool {
    matches!(vector.verdict, Verdict::Rejected(..)) && vector.held == 0
}

#[test]
fn what_is_accepted_leads_to_the_state_in_the_index() {
    each_that_may_change_something(0);
}

#[test]
fn what_is_accepted_leads_to_the_state_in_the_index_in_the_other_half() {
    each_that_may_change_something(1);
}

#[test]
fn what_is_refused_is_so_by_the_rule_in_the_index_and_changes_nothing() {
    let dir = scratch();
    let machine = receiver_in(dir.path());
    machine.run_with(&["import"], b"nothing");
    let (left, mut state) = (machine.left(), dump(&machine));
    assert_eq!(digest(&machine), base().after.digest());
    // For each rule: how many vectors there are, how many were taken, and how many have changed anything.
    let mut rules: BTreeMap<(u32, u32), [usize; 3]> = BTreeMap::new();
    let mut wrong = Vec::new();
    for vector in all().into_iter().filter(is_refused_whole) {
        let ran = import(&machine, &vector, &[]);
        let said = check_said(&vector, &ran);
        let before = std::mem::replace(&mut state, dump(&machine));
        let mut new: Vec<_> = state.iter().filter(|row| !before.contains(row)).collect();
        // That somebody's state was put back is noted for people, once.
        new.retain(|row| !(ran.code == 6 && row.starts_with("history ") && row.contains("was not applied")));
        let is_changed = !new.is_empty() || before.iter().any(|row| !state.contains(row));
        let rule = vector.verdict.rule().unwrap();
        let (section, number) = rule.split_once('.').unwrap_or((rule, "0"));
        let counts = rules.entry((section.parse().unwrap(), number.parse().unwrap())).or_default();
        let counted = [1, usize::from(ran.code == 0), usize::from(is_changed)];
        counts.iter_mut().zip(counted).for_each(|(count, more)| *count += more);
        if said.is_err() || is_changed {
            wrong.push(format!("{} ({:?}): {said:?}, {new:?}", vector.file(), vector.verdict));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let after = machine.left();
    assert_eq!((after.mail, after.status), (left.mail, left.status));
    let row = |name: String, counts: [usize; 3]| {
        let [vectors, accepted, changed] = counts.map(|count| count.to_string());
        [name, vectors, accepted, changed]
    };
    let sum = |of: usize| rules.values().map(|counts| counts[of]).sum();
    let all = row("all".into(), [sum(0), sum(1), sum(2)]);
    let name = |(section, number): (u32, u32)| match number {
        0 => section.to_string(),
        _ => format!("{section}.{number}"),
    };
    let rows: Vec<_> = rules.iter().map(|(rule, counts)| row(name(*rule), *counts)).chain([all]).collect();
    reliability_says(&["rule", "vectors", "accepted wrongly", "changed anything"], &rows);
}

/// Whether a rule can be judged without a replica: then the reader alone refuses what breaks it.
fn is_of_reader(rule: &str) -> bool {
    rule.strip_prefix("9.").is_some_and(|number| number.parse::<u32>().unwrap() <= 21)
}

#[test]
fn what_the_reader_alone_can_tell_it_does() {
    // The reader doesn't know whom the replica knows, and which contents it takes for the message of an entry.
    let of_replica = |vector: &Vector| {
        let rule = vector.verdict.rule();
        rule.is_some_and(|rule| ["3", "5", "9.24"].contains(&rule)) || vector.verdict.says() == Some("synchroniser")
    };
    each(all().into_iter().filter(|vector| !of_replica(vector)), |vector| {
        let read = read(vector);
        let refused = vector.verdict.rule().is_some_and(is_of_reader);
        match read {
            Err(error) if refused => {
                let says = vector.verdict.says().unwrap();
                if error.contains(says) { Ok(()) } else { Err(error) }
            }
            Ok(bundles) if !refused && bundles > 0 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

/// Reads a whole file, each bundle with the key of the sender that it names.
fn read(vector: &Vector) -> Result<usize, String> {
    let code = vector.code.map(|code| Code::parse(code).unwrap());
    let mut stream = Stream::opened_by(&vector.bytes[..], Keys::of([&receiver()]).and_code(code));
    let mut bundles = 0;
    while let Some(reader) = stream.next_bundle().map_err(|error| error.to_string())? {
        let signer = signer().public_key();
        let sender = reader.manifest().sender.id;
        let later = successions::keys().map(|key| key.public_key());
        let key = [other().public_key(), receiver().public_key(), invited().public_key()]
            .into_iter()
            .chain(later)
            .find(|key| key.id() == sender)
            .unwrap_or(signer);
        reader
            .verify(&key)
            .and_then(mailsync::bundle::RecordsPart::drain_verified)
            .map_err(|error| error.to_string())?;
        bundles += 1;
    }
    Ok(bundles)
}
