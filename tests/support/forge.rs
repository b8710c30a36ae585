//! A forge: bundles that say whatever a test wants, signed by a key that the receiver knows. It is made of JSON and
//! bytes, not of the crate's writer, which refuses to write what can't be true.

use std::io::Write as _;

use mailsync::bundle::PrivateKey;
use mailsync::model::Digest;
use serde_json::{Map, Value, json};
use ssh_key::{HashAlg, LineEnding};

/// The incarnation of whoever forges.
pub const INCARNATION: &str = "00000000000000ee";

/// A clock: milliseconds since 1970 UTC, and a counter.
pub fn clock(millis: u64, counter: u16) -> String {
    format!("{:016x}", millis << 16 | u64::from(counter))
}

/// A stamp of the forger's.
pub fn stamp(clock: &str) -> String {
    format!("{clock}-{INCARNATION}")
}

/// What a bundle is made of. Every part is as it will be, until it is changed.
#[derive(Clone)]
pub struct Forge {
    pub key: PrivateKey,
    /// Fields of `manifest.json`. What depends on the other parts (`counts`, `bytes`, `replicas`, `entries`, `jobs`) is filled in,
    /// unless it is here.
    pub manifest: Map<String, Value>,
    /// The lines of `entries.jsonl`, with their newlines.
    pub lines: Vec<Vec<u8>>,
    /// The lines of `replicas.jsonl`, with their newlines.
    pub replicas: Vec<Vec<u8>>,
    /// The lines of `jobs.jsonl`, with their newlines.
    pub jobs: Vec<Vec<u8>>,
    /// What is under `messages/`.
    pub messages: Vec<Vec<u8>>,
    /// The last change of the manifest's text, before it is signed.
    pub text: fn(String) -> Vec<u8>,
    /// How the manifest is signed.
    pub sign: fn(&PrivateKey, &[u8]) -> Vec<u8>,
    /// The last change of the archive's members.
    pub members: fn(&mut Vec<Member>),
    /// The last change of the archive's bytes.
    pub archive: fn(&mut Vec<u8>),
    /// How the archive is compressed.
    pub frame: fn(&[u8]) -> Vec<u8>,
    /// The last change of all.
    pub file: fn(&mut Vec<u8>),
}

/// A member of an archive, whatever it may look like.
#[derive(Clone)]
pub struct Member {
    pub header: tar::Header,
    pub contents: Vec<u8>,
}

impl Member {
    pub fn new(name: &str, contents: &[u8]) -> Self {
        let mut header = tar::Header::new_ustar();
        header.set_path(name).unwrap();
        header.set_mode(0o644);
        header.set_size(contents.len() as u64);
        header.set_entry_type(tar::EntryType::Regular);
        header.set_cksum();
        Self { header, contents: contents.to_vec() }
    }

    /// Changes the header's fields, and makes the checksum right again.
    pub fn with(&mut self, change: impl FnOnce(&mut tar::UstarHeader)) {
        change(self.header.as_ustar_mut().unwrap());
        self.header.set_cksum();
    }
}

impl Forge {
    /// An honest delta of nothing by the holder of this key, who has issued a single stamp, with this clock.
    pub fn new(key: &PrivateKey, clock: &str) -> Self {
        let manifest = json!({
            "format": "mailsync-bundle", "version": 1, "features": [], "kind": "delta", "number": 1, "made": 1_800_000_000_000_u64,
            "sender": { "id": key.public_key().id().to_string(), "name": "evil", "incarnation": INCARNATION },
            "recipient": null, "base": {}, "tip": { INCARNATION: clock }, "horizon": {}, "issued": [clock],
            "state_digest": "0".repeat(64), "wants": [],
        });
        let Value::Object(manifest) = manifest else { unreachable!("it is an object") };
        let nothing: (Vec<_>, Vec<_>, Vec<_>, Vec<_>) = Default::default();
        let (lines, replicas, jobs, messages) = nothing;
        Self {
            key: key.clone(),
            manifest,
            lines,
            replicas,
            jobs,
            messages,
            text: String::into_bytes,
            sign,
            members: |_| {},
            archive: |_| {},
            frame,
            file: |_| {},
        }
    }

    /// Says something of a folder.
    pub fn folder(&mut self, name: &str, stamp: &str) {
        self.line(&json!({ "folder": { "name": name, "stamp": stamp, "present": true } }));
    }

    /// Tells of a message that lies in a folder, and brings it along.
    pub fn message(&mut self, folder: &str, contents: &[u8], stamp: &str) {
        self.line(&entry(folder, contents, stamp));
        self.messages.push(contents.to_vec());
    }

    /// Adds a record.
    pub fn line(&mut self, record: &Value) {
        self.lines.push(format!("{record}\n").into_bytes());
    }

    /// Changes the text of a record, where this stands once.
    #[track_caller]
    pub fn replace(&mut self, line: usize, from: &str, to: &str) {
        let text = String::from_utf8(self.lines[line].clone()).unwrap();
        assert_eq!(text.matches(from).count(), 1, "{from} in {text}");
        self.lines[line] = text.replace(from, to).into_bytes();
    }

    /// Changes what is recorded of the last entry.
    pub fn entry(&mut self, change: impl FnOnce(&mut Map<String, Value>)) {
        let line = self.lines.last_mut().unwrap();
        let mut record: Value = serde_json::from_slice(line).unwrap();
        change(record["entry"].as_object_mut().unwrap());
        *line = format!("{record}\n").into_bytes();
    }

    /// The bundle.
    pub fn bundle(&self) -> Vec<u8> {
        let (entries, replicas, jobs) = (self.lines.concat(), self.replicas.concat(), self.jobs.concat());
        let part = |bytes: &[u8]| json!({ "bytes": bytes.len(), "sha256": Digest::of(bytes).to_string() });
        let folders = self.lines.iter().filter(|line| line.starts_with(b"{\"folder\"")).count();
        let mut counts = json!({
            "folders": folders, "entries": self.lines.len() - folders, "messages": self.messages.len(), "jobs": self.jobs.len(),
        });
        let mut manifest = self.manifest.clone();
        if !replicas.is_empty() {
            counts["replicas"] = json!(self.replicas.len());
            manifest.entry("replicas").or_insert(part(&replicas));
        }
        for (field, value) in [
            ("counts", counts),
            ("bytes", json!(self.messages.iter().map(Vec::len).sum::<usize>())),
            ("entries", part(&entries)),
            ("jobs", if self.jobs.is_empty() { Value::Null } else { part(&jobs) }),
        ] {
            manifest.entry(field).or_insert(value);
        }
        let manifest = (self.text)(format!("{}\n", Value::Object(manifest)));
        let signature = (self.sign)(&self.key, &manifest);
        let mut members = vec![Member::new("manifest.json", &manifest), Member::new("manifest.json.sig", &signature)];
        if !replicas.is_empty() {
            members.push(Member::new("replicas.jsonl", &replicas));
        }
        members.push(Member::new("entries.jsonl", &entries));
        if !jobs.is_empty() {
            members.push(Member::new("jobs.jsonl", &jobs));
        }
        let message = |contents: &Vec<u8>| Member::new(&format!("messages/{}", Digest::of(contents)), contents);
        members.extend(self.messages.iter().map(message));
        (self.members)(&mut members);
        let mut archive = archive(&members);
        (self.archive)(&mut archive);
        let mut file = (self.frame)(&archive);
        (self.file)(&mut file);
        file
    }
}

/// What is recorded of a message that was delivered into a folder, and has been there ever since.
pub fn entry(folder: &str, contents: &[u8], stamp: &str) -> Value {
    json!({ "entry": {
        "digest": Digest::of(contents).to_string(), "birth": folder, "location": stamp, "floor": stamp,
        "size": contents.len(), "mtime": 1_700_000_000,
    } })
}

/// The signature of a manifest, as every writer makes it.
pub fn sign(key: &PrivateKey, bytes: &[u8]) -> Vec<u8> {
    signed(key, "mailsync", HashAlg::Sha512, bytes).into_bytes()
}

/// An armored SSHSIG in this namespace.
pub fn signed(key: &PrivateKey, namespace: &str, hash: HashAlg, bytes: &[u8]) -> String {
    let key = ssh_key::PrivateKey::from_openssh(key.to_openssh()).unwrap();
    key.sign(namespace, hash, bytes).unwrap().to_pem(LineEnding::LF).unwrap()
}

/// The archive of these members, with its end marker.
fn archive(members: &[Member]) -> Vec<u8> {
    let mut tar = Vec::new();
    for Member { header, contents } in members {
        tar.extend_from_slice(header.as_bytes());
        tar.extend_from_slice(contents);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar.resize(tar.len() + 1024, 0);
    tar
}

/// A frame as every writer makes it.
pub fn frame(archive: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(archive).unwrap();
    encoder.finish().unwrap()
}
