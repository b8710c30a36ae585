//! Whatever a known peer signs: what can't be true is refused with the reason, and changes nothing, neither mail nor
//! state.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use mailsync::bundle::PrivateKey;
use mailsync::model::{Digest, FlagRegisters, Knowledge, MOST_ISSUED};
use rusqlite::types::Value as Sql;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Map, Value, json};

use crate::support::forge::{Forge, INCARNATION, clock, entry, stamp};
use crate::support::machine::{Machine, complains, exchange, make_peers, pair};
use crate::support::{reliability_says, scratch, text};

const DAY: u64 = 24 * 60 * 60 * 1000;
/// An incarnation of which the forger's tip knows nothing.
const OTHER: &str = "00000000000000aa";
const ZERO: &str = "0000000000000000";
/// The first clock that no bundle may have.
const BEYOND: &str = "2000000000000000";
const MESSAGE: &[u8] = b"Subject: forged\n\nHello.\n";

pub fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// A machine with some mail that knows a peer of which there is nothing but the key.
fn victim(dir: &Path) -> (Machine, PrivateKey) {
    let victim = Machine::replica(dir, "victim");
    for subject in ["one", "two", "three"] {
        victim.deliver(subject);
    }
    victim.ok(&["scan"]);
    let evil = PrivateKey::generate("evil").unwrap();
    victim.ok(&["peer", "add", "evil", "--key", &evil.public_key().to_openssh()]);
    victim.ok(&["scan"]);
    (victim, evil)
}

/// Everything in a state database, each table's rows in order; but for when was looked at the disk, and the times of
/// directories then, which a file in some `tmp/` changes although it is gone again; and but for what a refusal leaves: its line
/// in the log, and which file that was about.
pub fn dump(machine: &Machine) -> Vec<String> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let conn = Connection::open_with_flags(machine.home.join("state.db"), flags).unwrap();
    let mut names = conn
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT IN ('directory', 'passed_over')")
        .unwrap();
    let names: Vec<String> = names.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let mut rows = Vec::new();
    for name in names {
        let mut query = conn.prepare(&format!("SELECT * FROM {name}")).unwrap();
        let columns = query.column_count();
        let all = query.query_map([], |row| (0..columns).map(|i| row.get(i)).collect::<Result<Vec<Sql>, _>>()).unwrap();
        let is_kept = |row: &Vec<Sql>| match (&*name, row.as_slice()) {
            ("meta", [Sql::Text(name), ..]) => name != "scanned",
            ("history", [.., Sql::Text(text)]) => !text.contains("refused: "),
            _ => true,
        };
        rows.extend(all.map(Result::unwrap).filter(is_kept).map(|row| format!("{name} {row:?}")));
    }
    rows.sort();
    rows
}

/// The clocks that the forger has issued, and the next one, which it hasn't; and their stamps.
struct Issued {
    first: String,
    middle: String,
    last: String,
    next: String,
}

impl Issued {
    fn now() -> Self {
        let at = |counter| clock(now(), counter);
        Self { first: at(1), middle: at(5), last: at(9), next: at(10) }
    }

    /// A bundle that is true: a folder that was made at the middle clock, and a message that came at the first one.
    fn honest(&self, key: &PrivateKey) -> Forge {
        let mut forge = Forge::new(key, &self.last);
        forge.manifest["issued"] = json!([self.first, self.middle, self.last]);
        forge.folder("Work", &stamp(&self.middle));
        forge.message("Work", MESSAGE, &stamp(&self.first));
        forge
    }
}

fn other(clock: &str) -> String {
    format!("{clock}-{OTHER}")
}

/// So many clocks of so many incarnations, besides the forger's own.
fn incarnations(more: usize, own: &str) -> Value {
    let all = (1..=more).map(|n| (format!("{:016x}", n << 20), json!("0000000000000001")));
    Value::Object(all.chain([(INCARNATION.to_owned(), json!(own))]).collect::<Map<_, _>>())
}

fn nested(depth: usize) -> Value {
    (0..depth).fold(json!(1), |inner, _| json!([inner]))
}

fn removal(seen: &str, stamp: &str) -> Value {
    json!({ "seen": seen, "stamp": stamp })
}

fn job(stamp: &str) -> Vec<u8> {
    format!("{}\n", json!({ "stamp": stamp, "signed": "{}", "signature": "none" })).into_bytes()
}

/// A claim: what it is about, what is changed in an honest bundle, and what the reason says.
type Claim = (&'static str, fn(&mut Forge, &Issued), &'static str);

/// What a manifest says of knowledge and clocks.
const OF_KNOWLEDGE: &[Claim] = &[
    (
        "a base above the tip",
        |f, c| f.manifest["base"] = json!({ INCARNATION: c.next }),
        "its base knows more than its tip",
    ),
    (
        "a base beside the tip",
        |f, c| f.manifest["base"] = json!({ OTHER: c.first }),
        "its base knows more than its tip",
    ),
    (
        "a horizon above the tip",
        |f, c| f.manifest["horizon"] = json!({ INCARNATION: c.next }),
        "its horizon has forgotten more",
    ),
    (
        "a horizon beside the tip",
        |f, c| f.manifest["horizon"] = json!({ OTHER: c.first }),
        "its horizon has forgotten more",
    ),
    (
        "a full bundle with a base",
        |f, c| {
            f.manifest["kind"] = json!("full");
            f.manifest["base"] = json!({ INCARNATION: c.first });
            f.manifest["issued"] = json!([c.middle, c.last]);
        },
        "it is full, and has a base",
    ),
    ("issued backwards", |f, c| f.manifest["issued"] = json!([c.middle, c.first, c.last]), "not in ascending order"),
    ("issued twice", |f, c| f.manifest["issued"] = json!([c.first, c.first, c.last]), "not in ascending order"),
    (
        "issued before the base",
        |f, c| f.manifest["base"] = json!({ INCARNATION: c.middle }),
        "not between its base and its tip",
    ),
    ("issued after the tip", |f, c| f.manifest["issued"] = json!([c.last, c.next]), "not between its base and its tip"),
    ("issued at zero", |f, c| f.manifest["issued"] = json!([ZERO, c.last]), "not between its base and its tip"),
    ("a tip that was not issued", |f, c| f.manifest["issued"] = json!([c.first]), "what \"issued\" doesn't end with"),
    ("nothing issued", |f, _| f.manifest["issued"] = json!([]), "what \"issued\" doesn't end with"),
    (
        "a clock beyond the last one",
        |f, _| {
            f.manifest["tip"] = json!({ INCARNATION: BEYOND });
            f.manifest["issued"] = json!([BEYOND]);
        },
        "beyond the last one",
    ),
    ("a clock at the end of its type", |f, _| f.manifest["tip"] = json!({ INCARNATION: "8000000000000000" }), "clock"),
    ("a tip of zero", |f, c| f.manifest["tip"] = json!({ INCARNATION: c.last, OTHER: ZERO }), "has the zero clock"),
    ("a horizon of zero", |f, _| f.manifest["horizon"] = json!({ OTHER: ZERO }), "has the zero clock"),
    (
        "a clock in capitals",
        |f, c| f.manifest["tip"] = json!({ INCARNATION: c.last, OTHER: "000000000000000A" }),
        "lower-case",
    ),
    ("a short clock", |f, c| f.manifest["tip"] = json!({ INCARNATION: c.last, OTHER: "1" }), "hexadecimal digits"),
    (
        "an incarnation in capitals",
        |f, c| f.manifest["tip"] = json!({ INCARNATION: c.last, "00000000000000AA": c.first }),
        "lower-case",
    ),
    (
        "an incarnation twice",
        |f, c| {
            f.manifest["tip"] = json!({ INCARNATION: c.last, OTHER: c.first });
            f.text =
                |text| text.replace("\"tip\":{", "\"tip\":{\"00000000000000aa\":\"0000000000000001\",").into_bytes();
        },
        "twice",
    ),
];

/// What is more than any reader takes.
const OF_LIMITS: &[Claim] = &[
    (
        "more wanted than a bundle can ask for",
        |f, _| f.manifest["wants"] = (0..=65_536_u64).map(|n| json!(format!("{n:064x}"))).collect(),
        "the number of messages that it wants is above 65536",
    ),
    (
        "more clocks than are listed",
        |f, c| {
            let base = u64::from_str_radix(&c.first, 16).unwrap();
            let issued: Vec<_> = (0..=MOST_ISSUED as u64).map(|n| format!("{:016x}", base + n)).collect();
            f.manifest["tip"] = json!({ INCARNATION: issued.last().unwrap() });
            f.manifest["issued"] = json!(issued);
        },
        "\"issued\" has more than 65536 clocks",
    ),
    (
        "more incarnations than a knowledge has",
        |f, c| f.manifest["tip"] = incarnations(Knowledge::MOST_INCARNATIONS, &c.last),
        "more than 4096 incarnations",
    ),
    (
        "more incarnations than can be sent on",
        |f, c| f.manifest["tip"] = incarnations(Knowledge::MOST_INCARNATIONS - 1, &c.last),
        "there would be more than 4096 here",
    ),
    (
        "more folders than a bundle has",
        |f, _| {
            let counts = json!({ "folders": 65_537, "entries": 1, "messages": 1, "jobs": 0 });
            f.manifest.insert("counts".to_owned(), counts);
        },
        "the number of its folders is above 65536",
    ),
    (
        "more statements than a bundle has",
        |f, c| {
            f.jobs = vec![job(&stamp(&c.last))];
            f.manifest
                .insert("counts".to_owned(), json!({ "folders": 1, "entries": 1, "messages": 1, "jobs": 60_001 }));
        },
        "the number of its statements about jobs is above 60000",
    ),
    (
        "a manifest that is too large",
        |f, _| f.text = |text| text.replace('\n', &format!("{}\n", " ".repeat(8 << 20))).into_bytes(),
        "manifest.json is above 8388608",
    ),
    (
        "more flags than an entry has",
        |f, c| {
            let flags = (0..=FlagRegisters::MOST).map(|n| (format!("keyword:{n}"), json!([stamp(&c.first), true])));
            let flags = Value::Object(flags.collect());
            f.entry(|e| drop(e.insert("flags".to_owned(), flags)));
        },
        "more than 256 flags",
    ),
];

/// What records say.
const OF_RECORDS: &[Claim] = &[
    ("a folder of somebody else", |f, c| f.replace(0, &stamp(&c.middle), &other(&c.middle)), "a folder has the stamp"),
    ("a folder after the tip", |f, c| f.replace(0, &c.middle, &c.next), "a folder has the stamp"),
    ("a folder at zero", |f, c| f.replace(0, &c.middle, ZERO), "a folder has the zero clock"),
    (
        "a location after the tip",
        |f, c| f.entry(|e| e["location"] = json!(stamp(&c.next))),
        "an entry's location has the stamp",
    ),
    (
        "a location of somebody else",
        |f, c| f.entry(|e| e["location"] = json!(other(&c.first))),
        "an entry's location has the stamp",
    ),
    (
        "a location at zero",
        |f, _| f.entry(|e| e["location"] = json!(stamp(ZERO))),
        "an entry's location has the zero clock",
    ),
    (
        "a location beyond the last clock",
        |f, _| f.entry(|e| e["location"] = json!(stamp(BEYOND))),
        "beyond the last one",
    ),
    (
        "a birth that is not known",
        |f, c| f.entry(|e| drop(e.insert("born".into(), json!(other(&c.first))))),
        "an entry's birth",
    ),
    (
        "a birth at zero",
        |f, _| f.entry(|e| drop(e.insert("born".into(), json!(other(ZERO))))),
        "an entry's birth has the zero",
    ),
    (
        "a birth after the location",
        |f, c| f.entry(|e| drop(e.insert("born".into(), json!(stamp(&c.middle))))),
        "which is after its location",
    ),
    (
        "a floor that is not known",
        |f, c| f.entry(|e| e["floor"] = json!(stamp(&c.next))),
        "an entry's floor has the stamp",
    ),
    ("a floor above the birth", |f, c| f.entry(|e| e["floor"] = json!(stamp(&c.middle))), "is above its birth"),
    (
        "a flag that is not known",
        |f, c| f.entry(|e| drop(e.insert("flags".into(), json!({ "S": [other(&c.first), true] })))),
        "a flag has the stamp",
    ),
    (
        "a flag at zero",
        |f, _| f.entry(|e| drop(e.insert("flags".into(), json!({ "S": [stamp(ZERO), true] })))),
        "a flag has the zero clock",
    ),
    (
        "a removal that is not known",
        |f, c| f.entry(|e| drop(e.insert("removal".into(), removal(&stamp(&c.first), &stamp(&c.next))))),
        "a removal has the stamp",
    ),
    (
        "a removal at zero",
        |f, c| f.entry(|e| drop(e.insert("removal".into(), removal(&stamp(&c.first), &stamp(ZERO))))),
        "a removal has the zero clock",
    ),
    (
        "a removal that has seen what nobody knows",
        |f, c| f.entry(|e| drop(e.insert("removal".into(), removal(&other(&c.first), &stamp(&c.last))))),
        "what a removal has seen has the stamp",
    ),
    (
        "a removal that has seen the end of time",
        |f, c| f.entry(|e| drop(e.insert("removal".into(), removal(&stamp("1fffffffffffffff"), &stamp(&c.last))))),
        "what a removal has seen has the stamp",
    ),
    (
        "a removal that has seen where the entry never was",
        |f, c| f.entry(|e| drop(e.insert("removal".into(), removal(&stamp(&c.middle), &stamp(&c.last))))),
        "which is after the entry's location",
    ),
    (
        "a removal that has seen nothing",
        |f, c| f.entry(|e| drop(e.insert("removal".into(), removal(&stamp(ZERO), &stamp(&c.last))))),
        "what a removal has seen has the zero clock",
    ),
    ("a statement of somebody else", |f, c| f.jobs = vec![job(&other(&c.first))], "jobs.jsonl, line 1"),
    ("a statement at zero", |f, c| f.jobs = vec![job(&stamp(&c.first)), job(&stamp(ZERO))], "jobs.jsonl, line 2"),
];

/// What stands twice.
const TWICE: &[Claim] = &[
    (
        "an entry, with another date",
        |f, c| {
            f.line(&entry("Work", MESSAGE, &stamp(&c.first)));
            f.entry(|e| e["mtime"] = json!(1_700_000_001));
        },
        "line 3: the entries are not in ascending order",
    ),
    ("a folder", |f, _| f.lines.insert(1, f.lines[0].clone()), "line 2: the folders are not in ascending order"),
    ("a member of a record", |f, _| f.replace(1, "\"size\":", "\"size\":1,\"size\":"), "\"size\" stands twice"),
    ("an unknown member", |f, _| f.replace(1, "\"size\":", "\"x\":1,\"x\":1,\"size\":"), "\"x\" stands twice"),
    (
        "a flag",
        |f, c| {
            let flag = format!("\"S\":[\"{}\",true]", stamp(&c.first));
            f.replace(1, "\"size\":", &format!("\"flags\":{{{flag},{flag}}},\"size\":"));
        },
        "\"S\" stands twice",
    ),
    (
        "a field of the manifest",
        |f, _| f.text = |text| text.replace("\"number\":", "\"number\":1,\"number\":").into_bytes(),
        "\"number\" stands twice",
    ),
    (
        "an unknown field of the manifest",
        |f, _| f.text = |text| text.replace("\"number\":", "\"x\":1,\"\\u0078\":1,\"number\":").into_bytes(),
        "\"x\" stands twice",
    ),
    ("manifest.json", |f, _| f.members = |m| m.insert(1, m[0].clone()), "where manifest.json.sig was expected"),
    ("manifest.json.sig", |f, _| f.members = |m| m.insert(2, m[1].clone()), "where entries.jsonl was expected"),
    ("entries.jsonl", |f, _| f.members = |m| m.insert(3, m[2].clone()), "where a message or the end was expected"),
    ("a message", |f, _| f.members = |m| m.push(m[3].clone()), "more than the manifest says"),
];

/// JSON that could be read in more than one way.
const OF_FORM: &[Claim] = &[
    ("an array for the sender", |f, _| f.manifest["sender"] = json!(["x", "evil", INCARNATION]), "expected an object"),
    (
        "an array for the counts",
        |f, _| drop(f.manifest.insert("counts".into(), json!([1, 1, 1, 0]))),
        "expected an object",
    ),
    ("an array for the manifest", |f, _| f.text = |_| b"[]\n".to_vec(), "expected an object"),
    ("an array for a folder", |f, c| f.lines[0] = array(&stamp(&c.middle)), "expected an object"),
    (
        "an array for a removal",
        |f, c| f.entry(|e| drop(e.insert("removal".into(), json!([stamp(&c.first), stamp(&c.last)])))),
        "expected an object",
    ),
    ("null for no invitation", |f, _| drop(f.manifest.insert("invitation".into(), Value::Null)), "null"),
    ("null for no proof", |f, _| drop(f.manifest.insert("proof".into(), Value::Null)), "null"),
    ("null for no bundle before", |f, _| drop(f.manifest.insert("follows".into(), Value::Null)), "null"),
    ("no recipient at all", |f, _| drop(f.manifest.remove("recipient")), "missing field `recipient`"),
    ("no jobs at all", |f, _| f.text = |text| text.replace("\"jobs\":null,", "").into_bytes(), "missing field `jobs`"),
    ("null for the birth folder", |f, _| f.entry(|e| drop(e.insert("folder".into(), Value::Null))), "null"),
    ("null for the location", |f, _| f.entry(|e| drop(e.insert("born".into(), Value::Null))), "null"),
    ("null for no removal", |f, _| f.entry(|e| drop(e.insert("removal".into(), Value::Null))), "null"),
    ("null for no flags", |f, _| f.entry(|e| drop(e.insert("flags".into(), Value::Null))), "null"),
    ("a fraction", |f, _| f.manifest["number"] = json!(1.0), "no integer"),
    ("an exponent", |f, _| f.text = |text| text.replace("\"number\":1", "\"number\":1e0").into_bytes(), "no integer"),
    ("minus zero", |f, _| f.text = |text| text.replace("\"number\":1", "\"number\":-0").into_bytes(), "no integer"),
    ("a fraction in a record", |f, _| f.entry(|e| e["mtime"] = json!(1.0)), "no integer"),
    ("too deep a manifest", |f, _| drop(f.manifest.insert("x".into(), nested(32))), "nested more than 32 deep"),
    ("too deep a record", |f, _| f.entry(|e| drop(e.insert("x".into(), nested(31)))), "nested more than 32 deep"),
    ("a control character", |f, _| f.manifest["sender"]["name"] = json!("evil\u{85}"), "the sender's name"),
    (
        "bytes that are no text in the manifest",
        |f, _| {
            f.manifest.insert("x".into(), json!("?"));
            f.text = |text| text.into_bytes().into_iter().map(|b| if b == b'?' { 0xff } else { b }).collect();
        },
        "not UTF-8",
    ),
    (
        "bytes that are no text in a record",
        |f, _| {
            f.entry(|e| drop(e.insert("x".into(), json!("?"))));
            f.lines[1].iter_mut().filter(|byte| **byte == b'?').for_each(|byte| *byte = 0xff);
        },
        "not UTF-8",
    ),
    ("half a character", |f, _| f.replace(1, "\"size\":", "\"x\":\"\\ud800\\ud800\",\"size\":"), "surrogate"),
    ("a manifest without its newline", |f, _| f.text = |text| text.trim_end().into(), "doesn't end with a newline"),
    ("records without their newline", |f, _| assert!(f.lines[1].pop().is_some()), "its last line has no end"),
    (
        "statements without their newline",
        |f, c| {
            f.jobs = vec![job(&stamp(&c.last))];
            f.jobs[0].pop();
        },
        "its last line has no end",
    ),
];

fn array(stamp: &str) -> Vec<u8> {
    format!("{}\n", json!({ "folder": ["Work", stamp, true] })).into_bytes()
}

/// What became of the forged bundles that break one rule.
struct Row {
    part: &'static str,
    /// The words of the refusal.
    reason: &'static str,
    /// What the bundles claim.
    claims: Vec<&'static str>,
    accepted: usize,
    changed: usize,
}

/// The claims, by the part of the format that they are about.
const CLAIMS: [(&str, &[Claim]); 5] = [
    ("knowledge and clocks", OF_KNOWLEDGE),
    ("limits", OF_LIMITS),
    ("records", OF_RECORDS),
    ("nothing twice", TWICE),
    ("the form of JSON", OF_FORM),
];

#[test]
fn each_claim_that_can_not_be_true_is_refused_and_changes_nothing() {
    let dir = scratch();
    let (victim, evil) = victim(dir.path());
    let issued = Issued::now();
    let file = dir.path().join("b.zst");
    victim.run_with(&["import"], b"nothing");
    let (mut left, mut state) = (victim.left(), dump(&victim));
    let mut rows: Vec<Row> = Vec::new();
    for (part, (what, lie, reason)) in CLAIMS.iter().flat_map(|(part, claims)| claims.iter().map(move |c| (*part, *c)))
    {
        println!("{what}");
        let mut forge = issued.honest(&evil);
        lie(&mut forge, &issued);
        let bundle = forge.bundle();
        let ran = victim.run_with(&["import"], &bundle);
        if ran.code != 0 {
            complains(&ran, 4, &[reason, "standard input"]);
        }
        let is_changed = victim.left() != left || dump(&victim) != state;
        fs::write(&file, &bundle).unwrap();
        let tried = [&["verify", text(&file)][..], &["import", "--dry-run", text(&file)]];
        let is_accepted = ran.code == 0 || tried.iter().any(|args| victim.run(args).code != 4);
        (left, state) = (victim.left(), dump(&victim));
        let known = rows.iter().position(|row| (row.part, row.reason) == (part, reason));
        let at = known.unwrap_or_else(|| {
            rows.push(Row { part, reason, claims: Vec::new(), accepted: 0, changed: 0 });
            rows.len() - 1
        });
        rows[at].claims.push(what);
        rows[at].accepted += usize::from(is_accepted);
        rows[at].changed += usize::from(is_changed);
    }
    // None of that was refused for another reason.
    let ran = victim.run_with(&["import"], &issued.honest(&evil).bundle());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(victim.mailbox().contains_key(&Digest::of(MESSAGE)));
    let line = |row: &Row| {
        let counts = [row.claims.len(), row.accepted, row.changed].map(|count| count.to_string());
        let [bundles, accepted, changed] = counts;
        [row.part.to_owned(), row.claims.join("; "), bundles, accepted, changed]
    };
    let sum = |of: fn(&Row) -> usize| rows.iter().map(of).sum::<usize>().to_string();
    let all =
        ["all".to_owned(), String::new(), sum(|row| row.claims.len()), sum(|row| row.accepted), sum(|row| row.changed)];
    let lines: Vec<_> = rows.iter().map(line).chain([all]).collect();
    reliability_says(
        &["rules about", "what is claimed", "forged bundles", "accepted wrongly", "changed anything"],
        &lines,
    );
    assert!(rows.iter().all(|row| row.accepted + row.changed == 0), "see the table above");
}

#[test]
fn more_folders_than_can_be_sent_on_are_not_taken() {
    let dir = scratch();
    let (victim, evil) = victim(dir.path());
    let issued = Issued::now();
    let mut forge = issued.honest(&evil);
    forge.lines.clear();
    forge.messages.clear();
    // As many as a bundle can tell of, and the INBOX is known here already.
    for n in 0..65_536 {
        forge.folder(&format!("f{n:05}"), &stamp(&issued.last));
    }
    let state = dump(&victim);
    victim.refuses(&["import"], &forge.bundle(), 4, &["the number of its folders, with those that are known here"]);
    assert_eq!(dump(&victim), state);
}

#[test]
fn what_came_before_a_bundle_that_is_refused_holds_and_what_comes_after_it_is_not_looked_at() {
    let dir = scratch();
    let (victim, evil) = victim(dir.path());
    let issued = Issued::now();
    let mut lie = issued.honest(&evil);
    lie.manifest["number"] = json!(2);
    lie.entry(|e| e["location"] = json!(stamp(&issued.next)));
    let mut later = Forge::new(&evil, &issued.next);
    later.manifest["number"] = json!(3);
    later.manifest["base"] = json!({ INCARNATION: issued.last });
    later.message("Work", b"Subject: later\n\n", &stamp(&issued.next));
    let stream = [issued.honest(&evil).bundle(), lie.bundle(), later.bundle()].concat();
    let ran = victim.run_with(&["import", "--json"], &stream);
    assert_eq!(ran.code, 4, "{}", ran.stderr);
    let outcomes: Vec<_> = ran.json()["bundles"].as_array().unwrap().iter().map(|b| b["outcome"].clone()).collect();
    assert_eq!(outcomes, ["applied", "rejected"]);
    assert!(victim.mailbox().contains_key(&Digest::of(MESSAGE)));
    assert!(!victim.has("later"));
}

#[test]
fn a_clock_that_is_far_ahead_is_not_yet_taken_even_if_it_is_known_unless_a_person_says_so() {
    let dir = scratch();
    let (victim, evil) = victim(dir.path());
    let forged = |number: u64, ahead: u64, base: Option<&str>| {
        let clock = clock(now() + ahead, 0);
        let mut forge = Forge::new(&evil, &clock);
        forge.manifest["number"] = json!(number);
        if let Some(base) = base {
            forge.manifest["base"] = json!({ INCARNATION: base });
        }
        forge.message("INBOX", format!("Subject: {number}\n\n").as_bytes(), &stamp(&clock));
        (clock, forge.bundle())
    };
    let (near_clock, near) = forged(1, DAY - 60_000, None);
    let (far_clock, far) = forged(2, 2 * DAY, Some(&near_clock));
    let file = dir.path().join("far.zst");
    fs::write(&file, &far).unwrap();
    let words = ["evil", "more than a day ahead of this machine's clock", "mailsync import --accept-clock"];
    victim.refuses(&["import"], &far, 3, &words);
    victim.refuses(&["import", text(&file)], b"", 3, &words);
    assert_eq!(victim.run(&["verify", text(&file)]).code, 3);
    assert!(!victim.has("2"));
    // A day is no mistake.
    let ran = victim.run_with(&["import"], &near);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    victim.ok(&["import", "--accept-clock", text(&file)]);
    assert!(victim.has("1") && victim.has("2"));
    // It is known from here on, and that is no excuse.
    let (_, again) = forged(3, 2 * DAY + 1000, Some(&far_clock));
    victim.refuses(&["import"], &again, 3, &words);
    assert!(!victim.has("3"));
}

#[test]
fn a_size_that_is_not_that_of_the_message_is_mended_and_every_later_export_works() {
    let dir = scratch();
    for wrong in [0, MESSAGE.len() - 1, MESSAGE.len() + 1, 8_589_934_591] {
        let dir = dir.path().join(wrong.to_string());
        fs::create_dir(&dir).unwrap();
        let (victim, evil) = victim(&dir);
        let good = Machine::replica(&dir, "good");
        make_peers(&victim, &good);
        let issued = Issued::now();
        let mut forge = issued.honest(&evil);
        forge.entry(|e| e["size"] = json!(wrong));
        let ran = victim.run_with(&["import"], &forge.bundle());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        exchange(&victim, &good);
        assert_eq!(good.mailbox(), victim.mailbox());
        // The name of a file tells its size to other programs.
        let sized = |machine: &Machine| {
            let (.., path) = machine.files().into_iter().find(|(digest, ..)| *digest == Digest::of(MESSAGE)).unwrap();
            path.file_name().unwrap().to_str().unwrap().contains(&format!(",S={}", MESSAGE.len()))
        };
        assert!(sized(&victim) && sized(&good), "{wrong}");
        // It is said again, with a change, and still not believed.
        let mut again = Forge::new(&evil, &issued.next);
        again.manifest["number"] = json!(2);
        again.manifest["base"] = json!({ INCARNATION: issued.last });
        again.line(&entry("Work", MESSAGE, &stamp(&issued.first)));
        again.entry(|e| {
            e["size"] = json!(wrong);
            e.insert("flags".into(), json!({ "F": [stamp(&issued.next), true] }));
        });
        let ran = victim.run_with(&["import"], &again.bundle());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let later = Machine::replica(&dir, "later");
        make_peers(&victim, &later);
        exchange(&victim, &later);
        assert_eq!(later.mailbox(), victim.mailbox());
        victim.is_at_rest("in the end");
    }
}

#[test]
fn a_wrong_size_that_is_in_the_state_already_is_healed_by_a_deep_scan() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("one");
    desktop.ok(&["scan"]);
    let conn = Connection::open(desktop.home.join("state.db")).unwrap();
    assert_eq!(conn.execute("UPDATE entry SET size = size + 1", []).unwrap(), 1);
    drop(conn);
    assert_ne!(desktop.run(&["export", "--to", "laptop"]).code, 0, "the size matters");
    desktop.ok(&["scan", "--deep"]);
    exchange(&desktop, &laptop);
    assert!(laptop.has("one"));
    desktop.is_at_rest("healed");
}

#[test]
fn whoever_says_that_a_file_is_ones_own_bundle_must_have_signed_it_with_ones_own_key() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let post = dir.path().join("post");
    fs::create_dir(&post).unwrap();
    desktop.deliver("one");
    exchange(&desktop, &laptop);
    desktop.deliver("two");
    desktop.ok(&["export", "--to", "laptop", "-o", text(&post)]);
    let own = crate::support::names(&post);
    assert_eq!(own.len(), 1);
    // The forged one seems to be a later bundle that stands in for it.
    let evil = PrivateKey::generate("evil").unwrap();
    let file = post.join("desktop-laptop-999.zst");
    let mut forge = Forge::new(&evil, &clock(now(), 0));
    let manifest =
        desktop.ok(&["inspect", text(&post.join(&own[0])), "--json"]).json()["bundles"][0]["manifest"].clone();
    for field in ["tip", "base", "horizon", "issued", "recipient"] {
        forge.manifest[field] = manifest[field].clone();
    }
    forge.manifest["sender"] = manifest["sender"].clone();
    forge.manifest["number"] = json!(999);
    forge.manifest["base"] = json!({});
    fs::write(&file, forge.bundle()).unwrap();
    let ran = desktop.run(&["import", "--consume", text(&post)]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("is not signed with its key"), "{}", ran.stderr);
    assert!(post.join(&own[0]).exists(), "its own bundle is still there");
    let before = desktop.left();
    complains(&desktop.run(&["import", text(&file)]), 4, &["the bundle is from", "don't trust it"]);
    assert_eq!(desktop.left(), before);
}

#[test]
fn whoever_has_told_of_changes_that_a_peer_never_made_is_named_when_the_peer_knows_less() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let liar = PrivateKey::generate("liar").unwrap();
    desktop.ok(&["peer", "add", "liar", "--key", &liar.public_key().to_openssh()]);
    laptop.deliver("one");
    exchange(&laptop, &desktop);
    // The liar says that it knows of changes of the laptop's in an hour.
    let shown = laptop.ok(&["export", "--to", "desktop"]).stdout;
    let file = dir.path().join("b.zst");
    fs::write(&file, shown).unwrap();
    let manifest = laptop.ok(&["inspect", text(&file), "--json"]).json()["bundles"][0]["manifest"].clone();
    let incarnation = manifest["sender"]["incarnation"].as_str().unwrap();
    let at = clock(now(), 0);
    let mut forge = Forge::new(&liar, &at);
    forge.manifest["tip"] = json!({ INCARNATION: at, incarnation: clock(now() + 3_600_000, 0) });
    let ran = desktop.run_with(&["import"], &forge.bundle());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    // The laptop hears of something from elsewhere, and delivers something: without the refusal that would never come.
    let phone = Machine::replica(dir.path(), "phone");
    make_peers(&laptop, &phone);
    phone.deliver("from the phone");
    exchange(&phone, &laptop);
    laptop.deliver("two");
    let bundle = laptop.ok(&["export", "--to", "desktop"]).stdout;
    // The first time leaves a line in the log.
    assert_eq!(desktop.run_with(&["import"], &bundle).code, 6);
    desktop.refuses(
        &["import"],
        &bundle,
        6,
        &["laptop knows of its own changes up to", "as liar has told", "or that was a lie"],
    );
    laptop.ok(&["doctor", "--new-identity"]);
    let bundle = laptop.ok(&["export", "--to", "desktop", "--full"]).stdout;
    let ran = desktop.run_with(&["import"], &bundle);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(desktop.has("two") && desktop.has("from the phone"), "{:?}", desktop.mailbox().len());
}

#[test]
fn a_bundle_of_a_stranger_costs_no_more_than_its_manifest() {
    let dir = scratch();
    let (victim, _) = victim(dir.path());
    let stranger = PrivateKey::generate("stranger").unwrap();
    let mut forge = Forge::new(&stranger, &clock(now(), 0));
    // What follows its manifest can't be decompressed: nobody tries.
    forge.messages = vec![(0..100_000_u32).flat_map(|n| Digest::of(&n.to_le_bytes()).0).collect()];
    let mut bundle = forge.bundle();
    assert!(bundle.len() > 3 << 20, "zstd's blocks have at most 128 KiB");
    let at = bundle.len() / 2;
    for byte in &mut bundle[at..at + 8] {
        *byte ^= 0xff;
    }
    let file = dir.path().join("b.zst");
    fs::write(&file, &bundle).unwrap();
    let ran = victim.refuses(&["import", text(&file)], b"", 4, &["unknown sender"]);
    assert!(!ran.stderr.contains("corrupt"), "{}", ran.stderr);
    // Whoever is known is told.
    victim.ok(&["peer", "add", "stranger", "--key", &stranger.public_key().to_openssh()]);
    complains(&victim.run(&["import", text(&file)]), 4, &["corrupt"]);
}
