//! What is said about replicas. The receiver knows both the signer and the other peer.

use mailsync::bundle::PrivateKey;
use mailsync::model::Digest;
use serde_json::{Value, json};
use ssh_key::HashAlg;

use super::{Draft, Vector, Verdict, ZERO, at, base_mailbox, knows, message, o, other, record, s, signer, stranger};
use crate::support::forge::signed;

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
        ignored("a line that is too long", format!("{}\n", "x".repeat(4097)).into_bytes()),
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

pub fn vectors() -> Vec<Vector> {
    [good(), bad(), refused(), passed_over()].into_iter().flatten().collect()
}
