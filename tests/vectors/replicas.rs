//! What is said about replicas. The receiver knows both the signer and the other peer.

use mailsync::bundle::PrivateKey;
use mailsync::model::Digest;
use serde_json::{Value, json};
use ssh_key::HashAlg;

use super::{
    Draft, OTHER, Vector, Verdict, ZERO, at, base_mailbox, base_records, clocks, folder, full, key, knows, message, o,
    other, record, s, signer, stranger,
};
use crate::support::forge::{INCARNATION, signed};

const AT: u64 = 1_750_000_900_000;
const GROUP: &str = "replicas";

fn id_of(key: &PrivateKey) -> String {
    key.public_key().id().to_string()
}

/// The signer's revocation of somebody whom the receiver doesn't know, with these members in the place of what is the rule;
/// null leaves one out.
fn revocation(more: &Value) -> String {
    let said =
        json!({ "type": "revocation", "who": id_of(&stranger()), "since": AT - 1, "by": id_of(&signer()), "at": AT });
    with(said, more)
}

fn succession(more: &Value) -> String {
    let said = json!({
        "type": "succession", "old": id_of(&other()), "new": stranger().public_key().bare().to_openssh(),
        "incarnation": super::OTHER, "last": 7, "at": AT,
    });
    with(said, more)
}

fn with(mut statement: Value, more: &Value) -> String {
    let members = statement.as_object_mut().unwrap();
    for (member, value) in more.as_object().unwrap() {
        match value {
            Value::Null => drop(members.remove(member)),
            value => drop(members.insert(member.clone(), value.clone())),
        }
    }
    statement.to_string()
}

fn line(stamp: &str, key: &PrivateKey, countersigner: Option<&PrivateKey>, statement: &str) -> Vec<u8> {
    let sign = |key| signed(key, "mailsync-replica", HashAlg::Sha512, statement.as_bytes());
    let mut line = json!({ "stamp": stamp, "signed": statement, "signature": sign(key) });
    if let Some(countersigner) = countersigner {
        line["countersignature"] = json!(sign(countersigner));
    }
    format!("{line}\n").into_bytes()
}

/// Whom the receiver has shut out after a bundle with these lines, which is taken whatever they are worth.
fn taken(about: &str, lines: Vec<Vec<u8>>, revoked: &[&PrivateKey]) -> Vector {
    let mut draft = Draft::delta();
    draft.forge.replicas = lines;
    draft.after = base_mailbox();
    draft.revoked = revoked.iter().map(|key| id_of(key)).collect();
    draft.finish(GROUP, about, Verdict::Accepted)
}

fn good() -> Vec<Vector> {
    let revoke = |stamp: &str, more: Value| line(stamp, &signer(), None, &revocation(&more));
    let many = |count: u64| json!((1..=count).map(|n| format!("{n:016x}")).collect::<Vec<_>>());
    vec![
        taken("a revocation", vec![revoke(&s(12), json!({}))], &[&stranger()]),
        taken(
            "a revocation with a reason",
            vec![revoke(&s(12), json!({ "reason": "left on the train" }))],
            &[&stranger()],
        ),
        taken(
            "a revocation with a name, as long as can be",
            vec![revoke(&s(12), json!({ "name": "x".repeat(64) }))],
            &[&stranger()],
        ),
        taken(
            "a revocation of several keys",
            vec![revoke(&s(12), json!({ "keys": several(8) }))],
            &[&[stranger()][..], &sorted_keys()[..8]].concat().iter().collect::<Vec<_>>(),
        ),
        taken("a revocation of no keys besides", vec![revoke(&s(12), json!({ "keys": [] }))], &[&stranger()]),
        taken(
            "a revocation with all that can be in it",
            vec![revoke(
                &s(12),
                json!({
                    "keys": several(8), "name": "\"".repeat(64), "reason": "\"".repeat(255), "incarnations": many(64),
                }),
            )],
            &[&[stranger()][..], &sorted_keys()[..8]].concat().iter().collect::<Vec<_>>(),
        ),
        taken(
            "one with as many incarnations as can be",
            vec![revoke(&s(12), json!({ "incarnations": many(64) }))],
            &[&stranger()],
        ),
        taken(
            "one that is passed on",
            vec![line(&o(1), &other(), None, &revocation(&json!({ "by": id_of(&other()) })))],
            &[&stranger()],
        ),
        taken("a succession", vec![line(&s(12), &other(), Some(&stranger()), &succession(&json!({})))], &[]),
        taken(
            "what is said after its maker was revoked by another doesn't count",
            vec![
                revoke(&s(12), json!({ "who": id_of(&other()) })),
                line(&o(1), &other(), None, &revocation(&json!({ "by": id_of(&other()) }))),
            ],
            &[&other()],
        ),
    ]
}

/// Keys that nobody knows, in the order of their ids.
fn sorted_keys() -> Vec<PrivateKey> {
    let mut keys: Vec<PrivateKey> = (0x78..0x81).map(key).collect();
    keys.sort_by_key(|key| key.public_key().id());
    assert!(!keys.iter().map(id_of).is_sorted(), "the order of the letters would do as well");
    keys
}

/// The ids of two of them, in the order of their letters, which isn't that of their bytes.
fn in_the_order_of_letters() -> Vec<String> {
    let ids: Vec<String> = sorted_keys().iter().map(id_of).collect();
    let at = ids.iter().zip(&ids[1..]).position(|(one, next)| one > next).expect("some are");
    vec![ids[at + 1].clone(), ids[at].clone()]
}

/// The ids of so many of them.
fn several(count: usize) -> Vec<String> {
    sorted_keys()[..count].iter().map(id_of).collect()
}

fn bare(key: &PrivateKey) -> String {
    key.public_key().bare().to_openssh()
}

/// What is said of replicas that have taken another key, and by them.
fn followed() -> Vec<Vector> {
    let (fourth, day) = (key(0x66), 24 * 60 * 60 * 1000);
    let revoke = |by: &PrivateKey, who: &PrivateKey, more: Value| {
        let mut said = json!({ "who": id_of(who), "by": id_of(by) });
        said.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        line(&s(12), by, None, &revocation(&said))
    };
    let succeed = || line(&s(12), &other(), Some(&stranger()), &succession(&json!({})));
    let before = || json!({ "since": 1 });
    vec![
        taken(
            "a key that is said to follow a revoked one",
            vec![revoke(&signer(), &other(), json!({})), succeed()],
            &[&other(), &stranger()],
        ),
        taken(
            "two keys that are said to follow a revoked one",
            vec![
                succeed(),
                line(&s(12), &other(), Some(&fourth), &succession(&json!({ "new": bare(&fourth) }))),
                revoke(&signer(), &other(), json!({})),
            ],
            &[&other(), &stranger(), &fourth],
        ),
        taken(
            "a revoked key that is named beside one that nobody knows",
            vec![revoke(&signer(), &fourth, json!({ "keys": [id_of(&other())] })), succeed()],
            &[&fourth, &other(), &stranger()],
        ),
        taken(
            "what is said of the maker of a revocation and of somebody else",
            vec![
                revoke(&signer(), &other(), before()),
                revoke(&other(), &fourth, json!({ "keys": [id_of(&signer())] })),
            ],
            &[&other(), &signer()],
        ),
        taken(
            "what is said as if before its maker was revoked and heard only then",
            vec![revoke(&signer(), &other(), json!({})), revoke(&other(), &fourth, json!({ "since": 1, "at": 2 }))],
            &[&other()],
        ),
        taken(
            "the same the other way round",
            vec![succeed(), revoke(&signer(), &other(), json!({}))],
            &[&other(), &stranger()],
        ),
        taken(
            "a revoked key that follows a known one",
            vec![revoke(&signer(), &stranger(), json!({})), succeed()],
            &[&stranger()],
        ),
        taken(
            "what a key says after the one before it was revoked",
            vec![revoke(&signer(), &other(), before()), succeed(), revoke(&stranger(), &fourth, json!({}))],
            &[&other(), &stranger()],
        ),
        taken(
            "two that revoke each other, one of them with its next key",
            vec![revoke(&signer(), &other(), json!({})), succeed(), revoke(&stranger(), &signer(), before())],
            &[&other(), &stranger(), &signer()],
        ),
        taken(
            "a stranger who revokes the maker of a revocation",
            vec![revoke(&signer(), &other(), json!({})), revoke(&fourth, &signer(), before())],
            &[&other(), &signer()],
        ),
        taken(
            "what a key says a day after another one has followed it",
            vec![succeed(), revoke(&other(), &fourth, json!({ "at": AT + day }))],
            &[&fourth],
        ),
        taken(
            "what a key says more than a day after another one has followed it",
            vec![succeed(), revoke(&other(), &fourth, json!({ "at": AT + day + 1 }))],
            &[],
        ),
        taken(
            "the same does not take the place of what the next key has said",
            vec![
                succeed(),
                revoke(&stranger(), &fourth, json!({ "at": AT + 1 })),
                revoke(&other(), &fourth, json!({ "at": AT + day + 1 })),
            ],
            &[&fourth],
        ),
    ]
}

/// Lines that are ignored.
fn bad() -> Vec<Vector> {
    let ignored = |about: &str, line: Vec<u8>| taken(about, vec![line], &[]);
    let revoke = |more: Value| line(&s(12), &signer(), None, &revocation(&more));
    let many = |count: u64| json!((1..=count).map(|n| format!("{n:016x}")).collect::<Vec<_>>());
    let succeed = |more: Value| line(&s(12), &other(), Some(&stranger()), &succession(&more));
    let commented = format!("{} me", stranger().public_key().bare().to_openssh());
    let strangers =
        revocation(&json!({ "by": id_of(&stranger()), "who": "SHA256:KioqKioqKioqKioqKioqKioqKioqKioqKioqKioqKio" }));
    vec![
        ignored("what is no line", b"what is no line\n".to_vec()),
        ignored("a line that is too long", format!("{}\n", "x".repeat(5121)).into_bytes()),
        ignored("a revocation by another key", line(&s(12), &other(), None, &revocation(&json!({})))),
        ignored("a revocation with two signatures", line(&s(12), &signer(), Some(&signer()), &revocation(&json!({})))),
        ignored("a replica that revokes itself", revoke(json!({ "who": id_of(&signer()) }))),
        ignored("a revocation from a time after it was said", revoke(json!({ "since": AT + 1 }))),
        ignored("a revocation from no time", revoke(json!({ "since": 0 }))),
        ignored("a revocation said at no time", revoke(json!({ "at": 0 }))),
        ignored("an empty reason", revoke(json!({ "reason": "" }))),
        ignored("a reason with a control character", revoke(json!({ "reason": "a\nb" }))),
        ignored("a reason that is too long", revoke(json!({ "reason": "x".repeat(256) }))),
        ignored("an empty name", revoke(json!({ "name": "" }))),
        ignored("a name with a control character", revoke(json!({ "name": "a\tb" }))),
        ignored("a name that is too long", revoke(json!({ "name": "x".repeat(65) }))),
        ignored(
            "incarnations out of order",
            revoke(json!({ "incarnations": ["0000000000000002", "0000000000000001"] })),
        ),
        ignored("too many incarnations", revoke(json!({ "incarnations": many(65) }))),
        ignored("too many keys", revoke(json!({ "keys": several(9) }))),
        ignored("keys out of order", revoke(json!({ "keys": several(2).into_iter().rev().collect::<Vec<_>>() }))),
        ignored("keys in the order of their letters", revoke(json!({ "keys": in_the_order_of_letters() }))),
        ignored("a text for the keys", revoke(json!({ "keys": id_of(&other()) }))),
        // Null leaves a member out of these tables.
        ignored(
            "null for no keys",
            line(&s(12), &signer(), None, &revocation(&json!({ "keys": [] })).replace("\"keys\":[]", "\"keys\":null")),
        ),
        ignored("a number for a key", revoke(json!({ "keys": [7] }))),
        ignored("a public key for a key", revoke(json!({ "keys": [bare(&other())] }))),
        ignored("a key that is no id", revoke(json!({ "keys": ["other"] }))),
        ignored("a key with padding", revoke(json!({ "keys": [format!("{}=", id_of(&other()))] }))),
        ignored("a key that is too short", revoke(json!({ "keys": [&id_of(&other())[..49]] }))),
        ignored("a key twice", revoke(json!({ "keys": [id_of(&other()), id_of(&other())] }))),
        ignored("a key besides that is the one it is about", revoke(json!({ "keys": [id_of(&stranger())] }))),
        ignored("a key besides that is its maker's", revoke(json!({ "keys": [id_of(&signer())] }))),
        ignored("a revocation without a time", revoke(json!({ "since": null }))),
        ignored("an unknown statement", revoke(json!({ "type": "praise" }))),
        ignored("strangers about strangers", line(&s(12), &stranger(), None, &strangers)),
        ignored("a succession without the new key's signature", line(&s(12), &other(), None, &succession(&json!({})))),
        ignored("a succession by another key", line(&s(12), &signer(), Some(&stranger()), &succession(&json!({})))),
        ignored(
            "a succession with another key's countersignature",
            line(&s(12), &other(), Some(&signer()), &succession(&json!({}))),
        ),
        ignored("a new key with a comment", succeed(json!({ "new": commented }))),
    ]
}

/// What of `replicas.jsonl` is a fault of its bundle.
fn refused() -> Vec<Vector> {
    let plain = revocation(&json!({}));
    let rejected = |about: &str, rule: &'static str, says: &'static str, lines: Vec<Vec<u8>>, manifest: Value| {
        let mut draft = Draft::delta();
        draft.after = base_mailbox();
        draft.forge.replicas = lines;
        draft.forge.manifest.extend(manifest.as_object().unwrap().clone());
        draft.finish(GROUP, about, Verdict::Rejected(rule, says))
    };
    let good = line(&s(12), &signer(), None, &plain);
    let mut cut = good.clone();
    cut.pop();
    let counts = |replicas: u64| json!({ "folders": 0, "entries": 0, "replicas": replicas, "messages": 0, "jobs": 0 });
    let part = json!({ "bytes": good.len(), "sha256": "0".repeat(64) });
    let longer = json!({ "bytes": good.len() + 1, "sha256": Digest::of(&good).to_string() });
    vec![
        rejected(
            "a stamp after the tip",
            "9.20",
            "replicas.jsonl, line 1",
            vec![line(&s(21), &signer(), None, &plain)],
            json!({}),
        ),
        rejected(
            "a stamp at zero",
            "9.19",
            "replicas.jsonl, line 1",
            vec![line(&s(12).replace(&at(12), ZERO), &signer(), None, &plain)],
            json!({}),
        ),
        rejected("a last line without a newline", "9.12", "its last line has no end", vec![cut], json!({})),
        rejected(
            "a line more than is said",
            "9.11",
            "not as many statements",
            vec![good.clone(), good.clone()],
            json!({ "counts": counts(1) }),
        ),
        rejected(
            "a statement more than a bundle has",
            "9.15",
            "the number of its statements about replicas",
            vec![good.clone()],
            json!({ "counts": counts(1025) }),
        ),
        rejected("counted and not announced", "9.9", "disagree", vec![], json!({ "counts": counts(1) })),
        rejected("lines of another hash", "9.11", "vouches for", vec![good.clone()], json!({ "replicas": part })),
        rejected("lines of another size", "9.11", "not of the size", vec![good], json!({ "replicas": longer })),
    ]
}

/// What a bundle tells of a replica that it says was revoked.
fn passed_over() -> Vec<Vector> {
    let mut draft = Draft::delta();
    let said = json!({ "who": id_of(&other()), "since": 1_750_000_000_000_u64 + 60_000 * 15, "at": 1_750_000_000_000_u64 + 60_000 * 16, "incarnations": [super::OTHER] });
    draft.forge.replicas = vec![line(&s(12), &signer(), None, &revocation(&said))];
    draft.forge.manifest["tip"] = knows(20, 16);
    draft.forge.line(&record("spoils", "INBOX", &o(16), &json!({})));
    draft.forge.messages = vec![message("spoils")];
    draft.after = base_mailbox();
    draft.revoked = [id_of(&other())].into();
    let since = draft.finish(GROUP, "what a revoked replica has delivered since", Verdict::Accepted);

    let mut draft = Draft::delta();
    draft.of_other();
    let said = json!({ "who": id_of(&signer()), "by": id_of(&other()) });
    draft.forge.replicas = vec![line(&o(11), &other(), None, &revocation(&said))];
    draft.next();
    draft.revoked = [id_of(&signer())].into();
    vec![since, draft.finish(GROUP, "a bundle of a revoked replica", Verdict::Rejected("9.25", "was revoked by"))]
}

/// The signer says that the other peer was revoked in the minute `since`.
fn other_is_revoked(draft: &mut Draft, since: u64) {
    let millis = 1_750_000_000_000_u64 + 60_000 * since;
    let said = json!({ "who": id_of(&other()), "since": millis, "at": millis + 60_000, "incarnations": [OTHER] });
    draft.forge.replicas = vec![line(&s(12), &signer(), None, &revocation(&said))];
    draft.revoked = [id_of(&other())].into();
}

/// A full bundle of the signer's, behind another one, that lacks a message of the base state and knows up to 22 and `other`.
fn full_without(draft: &mut Draft, name: &str, other: u64, horizon: u64) {
    full(draft);
    let digest = Digest::of(&message(name)).to_string();
    draft.forge.lines.retain(|line| !String::from_utf8_lossy(line).contains(&digest));
    draft.forge.messages.retain(|contents| *contents != message(name));
    for (field, value) in [
        ("number", json!(12)),
        ("tip", knows(22, other)),
        ("horizon", json!({ INCARNATION: at(horizon) })),
        ("issued", clocks(&[1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 22])),
    ] {
        draft.forge.manifest[field] = value;
    }
}

/// What is kept beside a replica that was revoked.
fn beside() -> Vec<Vector> {
    let mut forgotten = Draft::delta();
    forgotten.next();
    full_without(&mut forgotten, "two", 5, 2);
    forgotten.after.lacks("two", "INBOX", 0);
    let mut anew = Draft::delta();
    other_is_revoked(&mut anew, 8);
    anew.next();
    full_without(&mut anew, "two", 5, 2);
    let mut named = Draft::delta();
    other_is_revoked(&mut named, 8);
    named.next();
    full_without(&mut named, "two", 5, 3);
    named.after.lacks("two", "INBOX", 0);
    // Up to 13 the other peer has told of itself, so that nothing of it is hearsay.
    let mut its_own = Draft::delta();
    its_own.of_other();
    its_own.next();
    other_is_revoked(&mut its_own, 4);
    its_own.next();
    full_without(&mut its_own, "six", 13, 2);
    its_own.after.lacks("six", "INBOX", 0);
    vec![
        forgotten.finish(GROUP, "a message that was removed and forgotten", Verdict::Accepted),
        anew.finish(GROUP, "the same beside a revoked replica is delivered anew", Verdict::Accepted),
        named.finish(GROUP, "unless the horizon names it", Verdict::Accepted),
        its_own.finish(GROUP, "or the revoked one has put it there since", Verdict::Accepted),
        horizon_of_a_revoked_one(),
    ]
}

/// Without the revocation the second one would have to wait: rule 12.6.
fn horizon_of_a_revoked_one() -> Vector {
    let mut draft = Draft::delta();
    draft.of_other();
    let said = json!({ "who": id_of(&signer()), "by": id_of(&other()), "incarnations": [INCARNATION] });
    draft.forge.replicas = vec![line(&o(11), &other(), None, &revocation(&said))];
    draft.revoked = [id_of(&signer())].into();
    for (field, value) in [
        ("kind", json!("full")),
        ("tip", json!({ OTHER: at(11) })),
        ("horizon", json!({})),
        ("issued", clocks(&[5, 11])),
    ] {
        draft.forge.manifest[field] = value;
    }
    draft.put(&base_records().pop().unwrap());
    draft.forge.messages = vec![message("six")];
    draft.next();
    draft.of_other();
    for (field, value) in [
        ("number", json!(2)),
        ("base", json!({ OTHER: at(11) })),
        ("tip", json!({ OTHER: at(13) })),
        ("horizon", json!({})),
        ("issued", clocks(&[13])),
    ] {
        draft.forge.manifest[field] = value;
    }
    draft.put(&folder("Later", &o(13), true));
    draft.after.folder("Later");
    draft.finish(GROUP, "a horizon of a revoked replica does not count", Verdict::Accepted)
}

/// What the signer leaves out, though nobody was revoked here: a message that the other peer has brought at 8 is told to be
/// there, and what the signer has done itself is taken.
fn leaving_out(after: u64) -> Draft {
    let mut draft = Draft::honest();
    draft.forge.manifest.insert("left_out".into(), json!({ OTHER: at(after) }));
    draft.forge.manifest["tip"] = knows(20, 8);
    draft.bring("spoils", "INBOX", &o(8), &json!({}));
    draft
}

/// What a bundle leaves out is unknown behind it.
fn left_out() -> Vec<Vector> {
    let next = |draft: &mut Draft, left_out: Value| {
        draft.next();
        for (field, value) in [
            ("number", json!(12)),
            ("base", knows(20, 8)),
            ("tip", knows(22, 8)),
            ("issued", clocks(&[22])),
            ("left_out", left_out),
        ] {
            draft.forge.manifest.insert(field.into(), value);
        }
        draft.put(&folder("Later", &s(22), true));
    };
    let mut all_of_it = leaving_out(8);
    all_of_it.after.has("spoils", "INBOX", 0, "INBOX", "");
    let mut without = leaving_out(5);
    next(&mut without, json!({}));
    let mut again = leaving_out(5);
    next(&mut again, json!({ OTHER: at(5) }));
    again.after.folder("Later");
    vec![
        all_of_it.finish(GROUP, "what is told up to where something is left out", Verdict::Accepted),
        leaving_out(7).finish(GROUP, "what is told behind where something is left out", Verdict::Accepted),
        leaving_out(3).finish(GROUP, "the same where more is known", Verdict::Accepted),
        again.finish(GROUP, "a bundle that leaves out what the one before it has left out", Verdict::Accepted),
        without.finish(
            GROUP,
            "a bundle that begins behind what was left out",
            Verdict::Waits("12.5", "not known here"),
        ),
    ]
}

pub fn vectors() -> Vec<Vector> {
    [good(), followed(), bad(), refused(), passed_over(), beside(), left_out()].into_iter().flatten().collect()
}
