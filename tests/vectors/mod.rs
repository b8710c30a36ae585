//! The test vectors in `fixtures/vectors/`: small files, each with what becomes of it when it is imported into one and
//! the same state. They are for whoever writes another implementation, so they are made of JSON, tar and zstd, and the
//! mailbox that a vector leads to is written down beside it and not taken from what this crate makes of it.

mod container;
pub mod encrypted;
mod invitations;
mod jobs;
mod limits;
mod manifest;
mod merge;
mod receiver;
mod records;
mod replicas;
pub mod sealed;
mod signature;
pub mod successions;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::LazyLock;

use mailsync::bundle::PrivateKey;
use mailsync::model::Digest;
use serde_json::{Map, Value, json};
use ssh_key::LineEnding;

use crate::support::forge::{Forge, INCARNATION, clock, stamp};

/// The incarnation of the other peer.
pub const OTHER: &str = "00000000000000aa";
const ZERO: &str = "0000000000000000";
/// The first clock that no bundle may have.
const BEYOND: &str = "2000000000000000";

/// Where the files are.
pub fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/vectors")
}

/// The keys of the replicas in the vectors. They are no secrets: anybody can make them.
pub fn signer() -> PrivateKey {
    key(0x11)
}

pub fn other() -> PrivateKey {
    key(0x22)
}

pub fn receiver() -> PrivateKey {
    key(0x33)
}

fn stranger() -> PrivateKey {
    key(0x44)
}

/// A replica that the receiver has invited, and that hasn't answered.
pub fn invited() -> PrivateKey {
    key(0x55)
}

/// The token of that invitation.
pub const TOKEN: [u8; 32] = [0x77; 32];

fn key(seed: u8) -> PrivateKey {
    let key = ssh_key::PrivateKey::from(ssh_key::private::Ed25519Keypair::from_seed(&[seed; 32]));
    PrivateKey::from_openssh(&key.to_openssh(LineEnding::LF).unwrap()).unwrap()
}

/// A clock: so many minutes after some time in 2025.
fn at(minutes: u64) -> String {
    clock(1_750_000_000_000 + minutes * 60_000, 0)
}

/// A stamp of the signer's.
fn s(minutes: u64) -> String {
    stamp(&at(minutes))
}

/// A stamp of the other peer's.
fn o(minutes: u64) -> String {
    format!("{}-{OTHER}", at(minutes))
}

/// Up to when the signer and the other peer are known.
fn knows(signer: u64, other: u64) -> Value {
    json!({ INCARNATION: at(signer), OTHER: at(other) })
}

fn clocks(minutes: &[u64]) -> Value {
    minutes.iter().map(|&minutes| json!(at(minutes))).collect()
}

/// The bytes of a message, by its name.
fn message(name: &str) -> Vec<u8> {
    format!("Subject: {name}\n\nThis is {name}.\n").into_bytes()
}

/// What is recorded of a message that was delivered into a folder; `more` takes the place of what is the rule.
fn record(name: &str, birth: &str, stamp: &str, more: &Value) -> Value {
    let contents = message(name);
    let mut entry = json!({
        "digest": Digest::of(&contents).to_string(), "birth": birth, "location": stamp, "floor": stamp,
        "size": contents.len(), "mtime": DATE,
    });
    for (member, value) in more.as_object().unwrap() {
        entry[member] = value.clone();
    }
    json!({ "entry": entry })
}

fn folder(name: &str, stamp: &str, present: bool) -> Value {
    json!({ "folder": { "name": name, "stamp": stamp, "present": present } })
}

/// A member of the state, as the state digest takes it: `["folder", NAME]` or
/// `["entry", DIGEST, BIRTH, ORDINAL, FOLDER, FLAGS, DATE]`.
pub type Member = Vec<String>;

/// When a message was delivered, if nothing else is said: in seconds since 1970 UTC.
const DATE: i64 = 1_700_000_000;

/// What is alive at a replica.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mailbox(BTreeSet<Member>);

impl Mailbox {
    fn folder(&mut self, name: &str) {
        assert!(self.0.insert(vec!["folder".into(), name.into()]), "{name} is there already");
    }

    fn no_folder(&mut self, name: &str) {
        assert!(self.0.remove(&vec!["folder".to_owned(), name.to_owned()]), "{name} isn't there");
    }

    /// There is an entry with these flags: the only one of this message, birth folder and ordinal.
    fn has(&mut self, name: &str, birth: &str, ordinal: u32, folder: &str, flags: &str) {
        let (id, date) = (Self::id(name, birth, ordinal), format!("{DATE}000000000"));
        self.0.retain(|member| !member.starts_with(&id));
        self.0.insert([id, vec![folder.to_owned(), flags.to_owned(), date]].concat());
    }

    /// An entry that is there was delivered then, in nanoseconds since 1970 UTC.
    fn dated(&mut self, name: &str, birth: &str, date: i64) {
        let id = Self::id(name, birth, 0);
        let mut member = self.0.iter().find(|member| member.starts_with(&id)).unwrap().clone();
        self.0.remove(&member);
        *member.last_mut().unwrap() = date.to_string();
        self.0.insert(member);
    }

    fn lacks(&mut self, name: &str, birth: &str, ordinal: u32) {
        let (id, before) = (Self::id(name, birth, ordinal), self.0.len());
        self.0.retain(|member| !member.starts_with(&id));
        assert_eq!(self.0.len() + 1, before, "{name} isn't there");
    }

    fn id(name: &str, birth: &str, ordinal: u32) -> Vec<String> {
        vec!["entry".into(), Digest::of(&message(name)).to_string(), birth.into(), ordinal.to_string()]
    }

    /// The state digest: the sum modulo 2^256 of the SHA-256 of each member.
    pub fn digest(&self) -> String {
        let mut sum = [0_u8; 32];
        for member in &self.0 {
            let mut carry = 0;
            for (byte, add) in sum.iter_mut().zip(Digest::of(member.join("\0").as_bytes()).0).rev() {
                let total = u16::from(*byte) + u16::from(add) + carry;
                (*byte, carry) = (total.to_be_bytes()[1], total >> 8);
            }
        }
        Digest(sum).to_string()
    }
}

/// What becomes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All that is in it holds.
    Accepted,
    /// A bundle in it is refused, by this rule of `bundle-format.md`; and what this program says of it.
    Rejected(&'static str, &'static str),
    /// A bundle in it can't be taken yet, by this rule; and what this program says of it.
    Waits(&'static str, &'static str),
}

impl Verdict {
    pub fn word(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Rejected(..) => "rejected",
            Self::Waits(..) => "waits",
        }
    }

    /// By which rule of `bundle-format.md`: the section and, if these are numbered there, the number.
    pub fn rule(self) -> Option<&'static str> {
        match self {
            Self::Accepted => None,
            Self::Rejected(rule, _) | Self::Waits(rule, _) => Some(rule),
        }
    }

    pub fn says(self) -> Option<&'static str> {
        match self {
            Self::Accepted => None,
            Self::Rejected(_, says) | Self::Waits(_, says) => Some(says),
        }
    }
}

/// One file, and what becomes of it.
#[derive(Clone)]
pub struct Vector {
    pub group: &'static str,
    pub about: String,
    pub verdict: Verdict,
    /// How many bundles stand before the one that is refused, or waits, and hold.
    pub held: usize,
    pub bytes: Vec<u8>,
    /// The code that is given for the import.
    pub code: Option<&'static str>,
    /// What is alive afterwards.
    pub after: Mailbox,
    /// The jobs that are known afterwards, by their ids, and how they stand.
    pub jobs: BTreeMap<String, String>,
    /// The replicas that are shut out afterwards, by their ids.
    pub revoked: BTreeSet<String>,
}

impl Vector {
    /// The file's name: lower-case letters, digits and hyphens.
    pub fn file(&self) -> String {
        let words = self.about.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        format!("{}/{}.zst", self.group, words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("-"))
    }

    /// Its line of the index.
    pub fn line(&self, base: &Mailbox) -> Value {
        let mut line = Map::new();
        line.insert("file".into(), json!(self.file()));
        line.insert("about".into(), json!(self.about));
        line.insert("result".into(), json!(self.verdict.word()));
        if let Some(rule) = self.verdict.rule() {
            line.insert("rule".into(), json!(rule));
        }
        if let Some(code) = self.code {
            line.insert("code".into(), json!(code));
        }
        if self.held > 0 {
            line.insert("held".into(), json!(self.held));
        }
        line.insert("digest".into(), json!(self.after.digest()));
        let but = |one: &Mailbox, other: &Mailbox| one.0.difference(&other.0).cloned().collect::<Vec<_>>();
        for (name, members) in [("gone", but(base, &self.after)), ("new", but(&self.after, base))] {
            if !members.is_empty() {
                line.insert(name.into(), json!(members));
            }
        }
        if !self.jobs.is_empty() {
            line.insert("jobs".into(), json!(self.jobs));
        }
        if !self.revoked.is_empty() {
            line.insert("revoked".into(), json!(self.revoked));
        }
        Value::Object(line)
    }
}

/// A vector while it is being drawn: a bundle, those that stand before it in the file, and what they lead to.
pub struct Draft {
    /// A delta of the signer's that says nothing, until something is added.
    pub forge: Forge,
    pub before: Vec<Vec<u8>>,
    pub after: Mailbox,
    pub jobs: BTreeMap<String, String>,
    pub revoked: BTreeSet<String>,
    /// Whether the records stand in the order in which they were added.
    pub as_they_come: bool,
}

impl Draft {
    /// A delta of the signer's that starts from the base state: it has made changes at 12, 15 and 20.
    fn delta() -> Self {
        let mut forge = Forge::new(&signer(), &at(20));
        for (field, value) in [
            ("number", json!(11)),
            ("made", json!(1_750_001_200_000_u64)),
            ("base", knows(10, 5)),
            ("tip", knows(20, 5)),
            ("horizon", json!({ INCARNATION: at(2) })),
            ("issued", clocks(&[12, 15, 20])),
        ] {
            forge.manifest[field] = value;
        }
        forge.manifest["sender"]["name"] = json!("signer");
        let (before, jobs, revoked) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
        Self { forge, before, after: base_mailbox(), jobs, revoked, as_they_come: false }
    }

    /// The same with something in it: a folder that was made at 12, and a message that came into it at 15.
    fn honest() -> Self {
        let mut draft = Self::delta();
        draft.put(&folder("New", &s(12), true));
        draft.bring("new", "New", &s(15), &json!({}));
        draft.after.folder("New");
        draft.after.has("new", "New", 0, "New", "");
        draft
    }

    /// Makes it one of the other peer's, who knows the signer up to 10, and has made changes at 11 and 13.
    fn of_other(&mut self) {
        self.forge.key = other();
        for (field, value) in [
            ("number", json!(1)),
            ("base", json!({})),
            ("tip", knows(10, 13)),
            ("issued", clocks(&[5, 11, 13])),
            ("sender", json!({ "id": other().public_key().id().to_string(), "name": "other", "incarnation": OTHER })),
        ] {
            self.forge.manifest[field] = value;
        }
    }

    /// Adds a record.
    fn put(&mut self, record: &Value) {
        self.forge.line(record);
    }

    /// Adds what is recorded of a message, and the message.
    fn bring(&mut self, name: &str, birth: &str, stamp: &str, more: &Value) {
        self.put(&record(name, birth, stamp, more));
        let contents = message(name);
        if !self.forge.messages.contains(&contents) {
            self.forge.messages.push(contents);
        }
    }

    /// This bundle is complete: another one for the same file begins.
    fn next(&mut self) {
        let bundle = self.bundle();
        self.before.push(bundle);
        self.forge = Self::delta().forge;
    }

    /// The same, and the next one of the signer's follows it: it has made a change at 22.
    fn then(&mut self) {
        self.next();
        for (field, value) in
            [("number", json!(12)), ("base", knows(20, 5)), ("tip", knows(22, 5)), ("issued", clocks(&[22]))]
        {
            self.forge.manifest[field] = value;
        }
    }

    fn bundle(&mut self) -> Vec<u8> {
        if !self.as_they_come {
            self.forge.lines.sort_by_cached_key(|line| order(line));
        }
        self.forge.bundle()
    }

    fn finish(mut self, group: &'static str, about: &str, verdict: Verdict) -> Vector {
        let held = if verdict == Verdict::Accepted { 0 } else { self.before.len() };
        let last = self.bundle();
        self.before.push(last);
        let bytes = self.before.concat();
        let (about, code) = (about.to_owned(), None);
        let Self { after, jobs, revoked, .. } = self;
        Vector { group, about, verdict, held, bytes, code, after, jobs, revoked }
    }
}

/// Where a record stands among others.
fn order(line: &[u8]) -> (bool, String, String, u64) {
    let record: Value = serde_json::from_slice(line).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    match (&record["folder"], &record["entry"]) {
        (Value::Null, entry) => {
            (true, text(&entry["birth"]), text(&entry["digest"]), entry["ordinal"].as_u64().unwrap_or(0))
        }
        (folder, _) => (false, text(&folder["name"]), String::new(), 0),
    }
}

/// What a vector that is accepted is about, and what is in it.
type Good = (&'static str, fn(&mut Draft));
/// What is changed in an honest bundle where that makes no difference.
type Same = (&'static str, fn(&mut Forge));
/// What a vector that is refused is about, by which rule, what this program says, and what is changed in an honest
/// bundle.
type Bad = (&'static str, &'static str, &'static str, fn(&mut Forge));

/// Vectors that are accepted, each drawn from a bundle that says nothing.
fn good(group: &'static str, table: &[Good]) -> Vec<Vector> {
    let vector = |(about, draw): &Good| {
        let mut draft = Draft::delta();
        draw(&mut draft);
        draft.finish(group, about, Verdict::Accepted)
    };
    table.iter().map(vector).collect()
}

/// Vectors that are accepted, each an honest bundle in which something was changed that makes no difference.
fn same(group: &'static str, table: &[Same]) -> Vec<Vector> {
    let vector = |(about, change): &Same| {
        let mut draft = Draft::honest();
        draft.as_they_come = true;
        change(&mut draft.forge);
        draft.finish(group, about, Verdict::Accepted)
    };
    table.iter().map(vector).collect()
}

/// Vectors that are refused.
fn bad(group: &'static str, table: &[Bad]) -> Vec<Vector> {
    table
        .iter()
        .map(|(about, rule, says, change)| changed(group, about, Verdict::Rejected(rule, says), change))
        .collect()
}

/// An honest bundle that is not taken after this change.
fn changed(group: &'static str, about: &str, verdict: Verdict, change: impl FnOnce(&mut Forge)) -> Vector {
    let mut draft = Draft::honest();
    (draft.as_they_come, draft.after) = (true, base_mailbox());
    change(&mut draft.forge);
    draft.finish(group, about, verdict)
}

/// What the base state holds.
pub fn base_mailbox() -> Mailbox {
    let mut mailbox = Mailbox::default();
    mailbox.folder("INBOX");
    mailbox.folder("Work");
    mailbox.has("one", "INBOX", 0, "INBOX", "S");
    mailbox.has("two", "INBOX", 0, "INBOX", "");
    mailbox.has("three", "INBOX", 0, "Work", "F");
    mailbox.has("five", "Work", 0, "Work", "");
    mailbox.has("five", "Work", 1, "Work", "R");
    mailbox.has("six", "INBOX", 0, "INBOX", "recent");
    mailbox
}

/// The records of the base state: two folders that are there and one that isn't any more; a message that was read; one
/// that wasn't; one that was moved, and flagged; one that was removed; one that is there twice; and one that the other
/// peer has found when it first looked.
fn base_records() -> Vec<Value> {
    vec![
        folder("INBOX", &s(1), true),
        folder("Work", &s(1), true),
        folder("Gone", &s(3), false),
        record("one", "INBOX", &s(3), &json!({ "flags": { "S": [s(4), true] } })),
        record("two", "INBOX", &s(3), &json!({ "flags": { "R": [s(4), false] } })),
        record(
            "three",
            "INBOX",
            &s(6),
            &json!({ "folder": "Work", "born": s(3), "floor": s(3), "flags": { "F": [s(5), true] } }),
        ),
        record("four", "INBOX", &s(3), &json!({ "removal": { "seen": s(3), "stamp": s(7) } })),
        record("five", "Work", &s(3), &json!({})),
        record("five", "Work", &s(8), &json!({ "ordinal": 1, "flags": { "R": [s(8), true] } })),
        record(
            "six",
            "INBOX",
            &o(5),
            &json!({ "floor": format!("{ZERO}-{ZERO}"), "flags": { "recent": [o(5), true] } }),
        ),
    ]
}

/// Makes a bundle a full one of the signer's, of everything in the base state, as it is at 20.
fn full(draft: &mut Draft) {
    draft.forge.manifest["kind"] = json!("full");
    draft.forge.manifest["base"] = json!({});
    draft.forge.manifest["issued"] = clocks(&[1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20]);
    for record in base_records() {
        draft.put(&record);
    }
    draft.forge.messages.extend(["one", "two", "three", "five", "six"].map(message));
}

/// The bundle that makes the base state of an empty one.
pub fn base() -> Vector {
    let mut draft = Draft::delta();
    full(&mut draft);
    draft.forge.manifest["number"] = json!(10);
    draft.forge.manifest["tip"] = knows(10, 5);
    draft.forge.manifest["issued"] = clocks(&[1, 2, 3, 4, 5, 6, 7, 8, 10]);
    draft.forge.manifest["state_digest"] = json!(base_mailbox().digest());
    draft.finish("", "the base state", Verdict::Accepted)
}

/// All vectors but the base.
pub fn all() -> Vec<Vector> {
    static ALL: LazyLock<Vec<Vector>> = LazyLock::new(make);
    ALL.clone()
}

fn make() -> Vec<Vector> {
    [
        container::vectors(),
        manifest::vectors(),
        signature::vectors(),
        records::vectors(),
        merge::vectors(),
        receiver::vectors(),
        jobs::vectors(),
        replicas::vectors(),
        invitations::vectors(),
        sealed::vectors(),
        encrypted::vectors(),
        successions::vectors(),
        limits::vectors(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Every file with its name: what `fixtures/vectors/` holds, but for its README.
pub fn files() -> BTreeMap<String, Vec<u8>> {
    let (base, nothing) = (base(), Mailbox::default());
    let mut files = BTreeMap::new();
    let mut first = base.line(&nothing);
    first["file"] = json!("base.zst");
    first["into"] = json!("nothing");
    let mut index = vec![first];
    for vector in all() {
        index.push(vector.line(&base.after));
        assert!(files.insert(vector.file(), vector.bytes).is_none(), "{} is there twice", vector.about);
    }
    files.insert("base.zst".into(), base.bytes);
    let index = index.iter().map(|line| format!("{line}\n").into_bytes()).collect::<Vec<_>>().concat();
    files.insert("index.jsonl".into(), index);
    files.insert("invited.token".into(), format!("{}\n", Digest(TOKEN)).into_bytes());
    files.insert("receiver.key".into(), receiver().to_openssh().into_bytes());
    for (name, key) in [("signer", signer()), ("other", other()), ("receiver", receiver()), ("invited", invited())] {
        files.insert(format!("{name}.pub"), format!("{}\n", key.public_key().to_openssh()).into_bytes());
    }
    files
}
