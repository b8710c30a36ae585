//! Replicas that have another key than the one that the receiver knows.

use mailsync::bundle::PrivateKey;
use serde_json::{Value, json};
use ssh_key::HashAlg;

use super::{Draft, Vector, Verdict, base_mailbox, folder, key, o, s, signer, stranger};
use crate::support::forge::{INCARNATION, signed};

const GROUP: &str = "successions";

fn id_of(key: &PrivateKey) -> String {
    key.public_key().id().to_string()
}

/// The public key as a `.pub` file has it, without a comment.
fn bare(key: &PrivateKey) -> String {
    key.public_key().to_openssh().split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// That one key follows another one, signed by these two.
fn said(old: &PrivateKey, new: &PrivateKey, by: &PrivateKey, and_by: &PrivateKey) -> Value {
    let statement = json!({
        "type": "succession", "old": id_of(old), "new": bare(new), "incarnation": INCARNATION, "last": 11,
        "at": 1_750_000_900_000_u64,
    })
    .to_string();
    let sign = |key: &PrivateKey| signed(key, "mailsync-replica", HashAlg::Sha512, statement.as_bytes());
    json!({ "signed": statement, "signature": sign(by), "countersignature": sign(and_by) })
}

fn succession(old: &PrivateKey, new: &PrivateKey) -> Value {
    said(old, new, old, new)
}

/// The signer's keys, from the one that the receiver knows on.
pub fn keys() -> [PrivateKey; 4] {
    [signer(), key(0x61), key(0x62), key(0x63)]
}

/// The bundle is signed with this key, and says how its sender came to it.
fn by(draft: &mut Draft, key: &PrivateKey, successions: Vec<Value>) {
    draft.forge.manifest["sender"]["id"] = json!(id_of(key));
    draft.forge.key = key.clone();
    if !successions.is_empty() {
        draft.forge.manifest.insert("successions".into(), Value::Array(successions));
    }
}

/// An honest bundle by another key of the signer's, which is taken.
fn taken(about: &str, key: &PrivateKey, successions: Vec<Value>) -> Vector {
    let mut draft = Draft::honest();
    by(&mut draft, key, successions);
    draft.finish(GROUP, about, Verdict::Accepted)
}

/// The same, which is refused.
fn refused(about: &str, rule: &'static str, says: &'static str, key: &PrivateKey, successions: Vec<Value>) -> Vector {
    let mut draft = Draft::honest();
    draft.after = base_mailbox();
    by(&mut draft, key, successions);
    draft.finish(GROUP, about, Verdict::Rejected(rule, says))
}

/// An honest bundle by the signer's next key, and the one that follows it, with a folder in it.
fn followed(draft: &mut Draft) {
    let [first, second, ..] = keys();
    *draft = Draft::honest();
    by(draft, &second, vec![succession(&first, &second)]);
    draft.then();
    draft.put(&folder("Later", &s(22), true));
}

fn good() -> Vec<Vector> {
    let [first, second, third, fourth] = keys();
    let mut known = Draft::delta();
    followed(&mut known);
    by(&mut known, &second, vec![succession(&first, &second)]);
    known.after.folder("Later");
    let mut again = Draft::delta();
    followed(&mut again);
    by(&mut again, &third, vec![succession(&first, &second), succession(&second, &third)]);
    again.after.folder("Later");
    // The last bundle of the old key comes behind the first of the new one.
    let mut late = Draft::honest();
    late.forge.manifest["number"] = json!(12);
    by(&mut late, &second, vec![succession(&first, &second)]);
    late.next();
    late.put(&folder("New", &s(12), true));
    late.bring("new", "New", &s(15), &json!({}));
    // The other peer tells of it, in a line.
    let mut told = Draft::delta();
    told.of_other();
    let mut line = succession(&first, &second);
    line["stamp"] = json!(o(13));
    told.forge.replicas = vec![format!("{line}\n").into_bytes()];
    told.next();
    told.put(&folder("Told", &s(12), true));
    told.after.folder("Told");
    by(&mut told, &second, vec![succession(&first, &second)]);
    vec![
        taken("the key after the one that is known", &second, vec![succession(&first, &second)]),
        taken(
            "three keys later",
            &fourth,
            vec![succession(&first, &second), succession(&second, &third), succession(&third, &fourth)],
        ),
        taken(
            "from a key before the one that is known",
            &second,
            vec![succession(&stranger(), &first), succession(&first, &second)],
        ),
        taken(
            "signatures that do not hold before the key that is known",
            &second,
            vec![said(&stranger(), &first, &second, &second), succession(&first, &second)],
        ),
        taken("the known key with its own past", &first, vec![succession(&stranger(), &first)]),
        known.finish(GROUP, "two bundles of a new key", Verdict::Accepted),
        again.finish(GROUP, "two keys one after the other", Verdict::Accepted),
        late.finish(GROUP, "the last bundle of the old key after the first of the new one", Verdict::Accepted),
        told.finish(GROUP, "a key of which another peer tells first", Verdict::Accepted),
    ]
}

fn bad() -> Vec<Vector> {
    let [first, second, third, _] = keys();
    let unknown = |about, successions| refused(about, "5", "unknown sender", &second, successions);
    let no_chain = |about, says, successions| refused(about, "9.9", says, &second, successions);
    let revocation = json!({
        "type": "revocation", "who": id_of(&first), "since": 1, "by": id_of(&stranger()), "at": 2,
    })
    .to_string();
    let signature = signed(&stranger(), "mailsync-replica", HashAlg::Sha512, revocation.as_bytes());
    let revoked = json!({ "signed": revocation, "signature": signature, "countersignature": signature });
    let many: Vec<PrivateKey> = (0x80..0xa1).map(key).chain([second.clone()]).collect();
    let mut stopped = Draft::delta();
    followed(&mut stopped);
    by(&mut stopped, &first, Vec::new());
    let mut other_life = Draft::delta();
    followed(&mut other_life);
    by(&mut other_life, &first, Vec::new());
    other_life.forge.manifest["number"] = json!(3);
    other_life.forge.manifest["sender"]["incarnation"] = json!("00000000000000bb");
    other_life.forge.manifest["tip"]["00000000000000bb"] = json!(super::at(23));
    other_life.forge.manifest["issued"] = super::clocks(&[23]);
    let mut rival = Draft::delta();
    followed(&mut rival);
    by(&mut rival, &third, vec![succession(&first, &third)]);
    let mut bad_type = succession(&first, &second);
    bad_type["countersignature"] = Value::Null;
    vec![
        unknown("a new key without successions", vec![]),
        unknown("successions of strangers", vec![succession(&stranger(), &second)]),
        unknown("a succession that the old key has not signed", vec![said(&first, &second, &stranger(), &second)]),
        unknown("a succession that the new key has not signed", vec![said(&first, &second, &first, &first)]),
        unknown(
            "a second succession that is not signed",
            vec![succession(&first, &third), said(&third, &second, &stranger(), &second)],
        ),
        no_chain(
            "successions with a gap",
            "they don't follow each other",
            vec![succession(&first, &third), succession(&stranger(), &second)],
        ),
        no_chain("successions to somebody else", "they don't lead to the sender", vec![succession(&first, &third)]),
        no_chain("a revocation among successions", "a revocation", vec![revoked]),
        refused("a succession with one signature", "9.8", "manifest.json", &second, vec![bad_type]),
        refused("an array for a succession", "9.8", "expected an object", &second, vec![json!(["x", "y", "z"])]),
        refused(
            "33 successions",
            "9.15",
            "the number of its sender's keys",
            &second,
            many.windows(2).map(|two| succession(&two[0], &two[1])).collect(),
        ),
        stopped.finish(GROUP, "a later bundle of the old key", Verdict::Rejected("9.26", "has replaced the key")),
        other_life.finish(
            GROUP,
            "a bundle of another incarnation with the old key",
            Verdict::Rejected("9.26", "has replaced the key"),
        ),
        rival.finish(GROUP, "two keys that follow one", Verdict::Rejected("9.26", "one of the two is somebody else's")),
    ]
}

pub fn vectors() -> Vec<Vector> {
    [good(), bad()].into_iter().flatten().collect()
}
