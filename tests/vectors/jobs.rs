//! What is said about jobs. The receiver knows both the requester and the target, and passes on what they say.

use std::collections::BTreeMap;

use mailsync::bundle::PrivateKey;
use mailsync::model::Digest;
use serde_json::{Map, Value, json};
use ssh_key::HashAlg;

use super::{Draft, Vector, Verdict, ZERO, at, base_mailbox, knows, o, other, s, signer, stranger};
use crate::support::forge::signed;

const MADE: u64 = 1_750_000_900_000;
const GROUP: &str = "jobs";

fn id_of(key: &PrivateKey) -> String {
    key.public_key().id().to_string()
}

/// The signer's request to the other peer, with these members in the place of what is the rule; null leaves one out.
fn request(more: &Value) -> String {
    let request = json!({
        "type": "request", "requester": id_of(&signer()), "target": id_of(&other()), "made": MADE,
        "body": { "digest": Digest::of(b"sealed").to_string(), "bytes": 6 },
    });
    with(request, more)
}

fn cancel(more: &Value) -> String {
    with(json!({ "type": "cancel", "job": job(&request(&json!({}))), "made": MADE + 1 }), more)
}

fn report(more: &Value) -> String {
    let report =
        json!({ "type": "report", "job": job(&request(&json!({}))), "attempt": 1, "at": MADE + 2, "state": "running" });
    with(report, more)
}

fn with(mut statement: Value, more: &Value) -> String {
    for (member, value) in more.as_object().unwrap() {
        statement[member] = value.clone();
    }
    statement.to_string()
}

/// The id of the job with this request.
fn job(signed: &str) -> String {
    Digest::of(signed.as_bytes()).to_string()[..32].to_owned()
}

fn line(stamp: &str, key: &PrivateKey, statement: &str) -> Vec<u8> {
    let signature = signed(key, "mailsync-job", HashAlg::Sha512, statement.as_bytes());
    format!("{}\n", json!({ "stamp": stamp, "signed": statement, "signature": signature })).into_bytes()
}

/// A bundle of these lines, which are taken, and the states of the jobs that are known afterwards.
fn taken(about: &str, lines: Vec<Vec<u8>>, jobs: &[(String, &str)]) -> Vector {
    let mut draft = Draft::delta();
    draft.forge.jobs = lines;
    draft.jobs = jobs.iter().map(|(id, state)| (id.clone(), (*state).to_owned())).collect();
    draft.finish(GROUP, about, Verdict::Accepted)
}

/// The good request, and behind it a line that is ignored. The bundle is taken.
fn ignored(about: &str, bad: Vec<u8>) -> Vector {
    let good = request(&json!({}));
    taken(about, vec![line(&s(12), &signer(), &good), bad], &[(job(&good), "queued")])
}

/// The same for a request of the signer's with these members.
fn no_request(about: &str, more: &Value) -> Vector {
    ignored(about, line(&s(15), &signer(), &request(more)))
}

/// The same for a report of the target's with these members.
fn no_report(about: &str, more: &Value) -> Vector {
    ignored(about, line(&s(15), &other(), &report(more)))
}

fn good() -> Vec<Vector> {
    let plain = request(&json!({}));
    let mine = |statement: &str| line(&s(12), &signer(), statement);
    let told = |about: &str, more: &Value, state: &str| {
        taken(about, vec![mine(&plain), line(&s(15), &other(), &report(more))], &[(job(&plain), state)])
    };
    let back = request(&json!({ "requester": id_of(&other()), "target": id_of(&signer()) }));
    let many: Vec<String> = (0..256).map(|n| format!("{n:016x}")).collect();
    let knowing = request(&json!({ "knows": many }));
    let repeating = request(&json!({ "repeats": "0".repeat(32) }));
    let last = request(&json!({ "made": 1 }));
    let mut passed_on = Draft::delta();
    passed_on.forge.manifest["tip"] = knows(20, 6);
    passed_on.forge.jobs = vec![line(&o(6), &other(), &back)];
    passed_on.jobs = BTreeMap::from([(job(&back), "queued".to_owned())]);
    let passed_on = passed_on.finish(GROUP, "a request of another that is passed on", Verdict::Accepted);
    vec![
        taken("a request", vec![mine(&plain)], &[(job(&plain), "queued")]),
        taken(
            "a request that comes twice",
            vec![mine(&plain), line(&s(15), &signer(), &plain)],
            &[(job(&plain), "queued")],
        ),
        passed_on,
        taken("a request that was forgotten here", vec![line(&o(5), &other(), &back)], &[]),
        taken("a request that knows 256 incarnations", vec![mine(&knowing)], &[(job(&knowing), "queued")]),
        taken("a request that repeats another", vec![mine(&repeating)], &[(job(&repeating), "queued")]),
        taken("a request at the first time", vec![mine(&last)], &[(job(&last), "queued")]),
        taken(
            "a request that is taken back",
            vec![mine(&plain), line(&s(15), &signer(), &cancel(&json!({})))],
            &[(job(&plain), "cancelled")],
        ),
        told("a report that it runs", &json!({}), "running"),
        told("a report that it is done", &json!({ "state": "done", "status": 0 }), "done"),
        told("a report that it has failed", &json!({ "state": "failed", "status": 255 }), "failed"),
        told("a report that it couldn't be started", &json!({ "state": "failed" }), "failed"),
        told("a report that it is not allowed", &json!({ "state": "rejected" }), "rejected"),
        told("a report that nobody knows", &json!({ "state": "interrupted" }), "interrupted"),
        told("a report that it was taken back", &json!({ "state": "cancelled" }), "cancelled"),
        told("a report that it is to be run again", &json!({ "state": "queued", "attempt": 2 }), "queued"),
        told("a report on the last attempt", &json!({ "attempt": 1_000_000 }), "running"),
        told(
            "a report with a result",
            &json!({ "state": "done", "status": 0, "result": { "digest": "0".repeat(64), "bytes": 262_144 } }),
            "done",
        ),
        taken(
            "the greater of two reports",
            vec![
                mine(&plain),
                line(&s(15), &other(), &report(&json!({ "state": "done", "status": 0 }))),
                line(&s(15), &other(), &report(&json!({ "at": MADE + 9 }))),
            ],
            &[(job(&plain), "done")],
        ),
        taken(
            "the report on the later attempt",
            vec![
                mine(&plain),
                line(&s(15), &other(), &report(&json!({ "state": "done", "status": 0 }))),
                line(&s(15), &other(), &report(&json!({ "attempt": 2 }))),
            ],
            &[(job(&plain), "running")],
        ),
    ]
}

fn bad() -> Vec<Vector> {
    let plain = request(&json!({}));
    let late = s(15);
    let other_request = request(&json!({ "made": MADE + 5 }));
    let parts = |statement: &str, signature: &str| {
        format!("{}\n", json!({ "stamp": late, "signed": statement, "signature": signature })).into_bytes()
    };
    let signature =
        |key: &PrivateKey, namespace: &str, text: &str| signed(key, namespace, HashAlg::Sha512, text.as_bytes());
    let job_signature = |text: &str| signature(&signer(), "mailsync-job", text);
    let mut null = serde_json::from_str::<Map<String, Value>>(&other_request).unwrap();
    null.insert("repeats".into(), Value::Null);
    let null = Value::Object(null).to_string();
    let twice = other_request.replacen("\"made\":", "\"made\":1,\"made\":", 1);
    let array = format!("[{other_request}]");
    let of = |text: &str| line(&late, &signer(), text);
    vec![
        ignored("a line that is no JSON", b"garbage\n".to_vec()),
        ignored(
            "a line that is an array",
            format!("{}\n", json!([late, other_request, job_signature(&other_request)])).into(),
        ),
        ignored("a line with an unknown member", {
            let mut line: Value = serde_json::from_slice(&of(&other_request)).unwrap();
            line["later"] = json!(1);
            format!("{line}\n").into_bytes()
        }),
        ignored("a line that is too long", {
            let mut line = of(&other_request);
            line.splice(line.len() - 1.., [vec![b' '; 16 << 10], b"\n".to_vec()].concat());
            line
        }),
        ignored("an empty line", b"\n".to_vec()),
        ignored("a statement without a signature", parts(&other_request, "")),
        ignored("a statement that was changed", parts(&other_request, &job_signature(&plain))),
        ignored(
            "a statement with the signature of a bundle",
            parts(&other_request, &signature(&signer(), "mailsync", &other_request)),
        ),
        ignored("a statement of an unknown type", of(&json!({ "type": "wish", "made": MADE }).to_string())),
        ignored("a statement without a type", of(&json!({ "made": MADE }).to_string())),
        ignored("a statement that is an array", of(&array)),
        ignored("a statement with null for what is absent", of(&null)),
        ignored("a statement with a member twice", of(&twice)),
        ignored("a statement with an unknown member", of(&request(&json!({ "later": 1 })))),
        ignored("a request in the name of another", line(&late, &other(), &other_request)),
        ignored("a request to a stranger", of(&request(&json!({ "target": id_of(&stranger()) })))),
        ignored("a request of a stranger", {
            line(&late, &stranger(), &request(&json!({ "requester": id_of(&stranger()) })))
        }),
        no_request("a request at no time", &json!({ "made": 0 })),
        no_request("a request behind the year 9999", &json!({ "made": 253_402_300_800_000_u64 })),
        no_request("a request of the year 2900", &json!({ "made": 29_348_006_400_000_u64 })),
        no_request("a request at a negative time", &json!({ "made": -1 })),
        no_request("a request at a fraction", &json!({ "made": 1.5 })),
        no_request("a request of an empty body", &json!({ "body": { "digest": "0".repeat(64), "bytes": 0 } })),
        no_request(
            "a request of a body of 8 GiB",
            &json!({ "body": { "digest": "0".repeat(64), "bytes": 1_u64 << 33 } }),
        ),
        no_request("a request of a body that is an array", &json!({ "body": ["0".repeat(64), 1] })),
        no_request(
            "a request of a body with more in it",
            &json!({ "body": { "digest": "0".repeat(64), "bytes": 1, "x": 1 } }),
        ),
        no_request("a request that knows backwards", &json!({ "knows": ["0000000000000002", "0000000000000001"] })),
        no_request(
            "a request that knows too much",
            &json!({ "knows": (0..257).map(|n| format!("{n:016x}")).collect::<Vec<_>>() }),
        ),
        no_request("a request to nobody", &json!({ "target": "other" })),
        ignored("a cancel of an unknown job", of(&cancel(&json!({ "job": "0".repeat(32) })))),
        ignored("a cancel by the target", line(&late, &other(), &cancel(&json!({})))),
        ignored("a cancel at no time", of(&cancel(&json!({ "made": 0 })))),
        ignored("a report by the requester", of(&report(&json!({})))),
        ignored("a report on an unknown job", line(&late, &other(), &report(&json!({ "job": "0".repeat(32) })))),
        no_report("a report on no attempt", &json!({ "attempt": 0 })),
        no_report("a report on one attempt too many", &json!({ "attempt": 1_000_001 })),
        no_report("a report at no time", &json!({ "at": 0 })),
        no_report("a report of the year 2900", &json!({ "at": 29_348_006_400_000_u64 })),
        no_report("a report of an unknown state", &json!({ "state": "asleep" })),
        no_report("a report of done with a status", &json!({ "state": "done", "status": 1 })),
        no_report("a report of done without a status", &json!({ "state": "done" })),
        no_report("a report of failed with status 0", &json!({ "state": "failed", "status": 0 })),
        no_report("a report of failed with status 256", &json!({ "state": "failed", "status": 256 })),
        no_report("a report of running with a status", &json!({ "status": 0 })),
        no_report("a report of running with a result", &json!({ "result": { "digest": "0".repeat(64), "bytes": 1 } })),
        no_report(
            "a report with a result of no bytes",
            &json!({ "state": "done", "status": 0, "result": { "digest": "0".repeat(64), "bytes": 0 } }),
        ),
        no_report(
            "a report with a result that is too large",
            &json!({ "state": "done", "status": 0, "result": { "digest": "0".repeat(64), "bytes": 262_145 } }),
        ),
    ]
}

/// What of `jobs.jsonl` is a fault of its bundle.
fn refused() -> Vec<Vector> {
    let plain = request(&json!({}));
    let rejected = |about: &str, rule: &'static str, says: &'static str, lines: Vec<Vec<u8>>, manifest: Value| {
        let mut draft = Draft::delta();
        draft.after = base_mailbox();
        draft.forge.jobs = lines;
        draft.forge.manifest.extend(manifest.as_object().unwrap().clone());
        draft.finish(GROUP, about, Verdict::Rejected(rule, says))
    };
    let good = line(&s(12), &signer(), &plain);
    let mut cut = good.clone();
    cut.pop();
    let counts = |jobs: u64| json!({ "folders": 0, "entries": 0, "messages": 0, "jobs": jobs });
    let part = json!({ "bytes": good.len(), "sha256": "0".repeat(64) });
    vec![
        rejected(
            "a stamp after the tip",
            "9.20",
            "jobs.jsonl, line 1",
            vec![line(&s(21), &signer(), &plain)],
            json!({}),
        ),
        rejected(
            "a stamp of somebody unknown",
            "9.20",
            "jobs.jsonl, line 2",
            vec![good.clone(), line(&format!("{}-00000000000000bb", at(1)), &signer(), &plain)],
            json!({}),
        ),
        rejected(
            "a stamp at zero",
            "9.19",
            "jobs.jsonl, line 1",
            vec![line(&s(12).replace(&at(12), ZERO), &signer(), &plain)],
            json!({}),
        ),
        rejected("a last line without a newline", "9.12", "its last line has no end", vec![cut], json!({})),
        rejected(
            "a line more than is said",
            "9.11",
            "not as many jobs",
            vec![good.clone(), good.clone()],
            json!({ "counts": counts(1) }),
        ),
        rejected(
            "a line fewer than is said",
            "9.11",
            "not as many jobs",
            vec![good.clone()],
            json!({ "counts": counts(2) }),
        ),
        rejected("lines of another hash", "9.11", "vouches for", vec![good.clone()], json!({ "jobs": part })),
        rejected(
            "lines of another size",
            "9.11",
            "not of the size",
            vec![good.clone()],
            json!({ "jobs": { "bytes": good.len() + 1, "sha256": Digest::of(&good).to_string() } }),
        ),
    ]
}

pub fn vectors() -> Vec<Vector> {
    [good(), bad(), refused()].into_iter().flatten().collect()
}
