//! What depends on the receiver: whom it knows, and what.

use serde_json::{Map, Value, json};

use super::{
    Draft, OTHER, Vector, Verdict, at, base_records, changed, clocks, folder, full, knows, other, receiver, record, s,
    stranger,
};
use crate::support::forge::{Forge, INCARNATION};

fn rejected(about: &str, rule: &'static str, says: &'static str, change: impl FnOnce(&mut Forge)) -> Vector {
    changed("receiver", about, Verdict::Rejected(rule, says), change)
}

fn waits(about: &str, rule: &'static str, says: &'static str, change: impl FnOnce(&mut Forge)) -> Vector {
    changed("receiver", about, Verdict::Waits(rule, says), change)
}

/// Makes a bundle one of this replica's.
fn by(forge: &mut Forge, key: mailsync::bundle::PrivateKey) {
    forge.manifest["sender"]["id"] = json!(key.public_key().id().to_string());
    forge.key = key;
}

/// Whose bundles are taken.
fn senders() -> Vec<Vector> {
    vec![
        rejected("from a stranger", "5", "unknown sender", |f| by(f, stranger())),
        rejected("from a stranger and otherwise bad", "5", "unknown sender", |f| {
            by(f, stranger());
            f.lines[1] = b"garbage\n".to_vec();
        }),
        rejected("from a stranger with a proof of nothing", "5", "unknown sender", |f| {
            by(f, stranger());
            f.manifest.insert("proof".into(), json!("0".repeat(64)));
        }),
        rejected("for somebody else", "4", "this bundle is for", |f| {
            f.manifest["recipient"] = json!(stranger().public_key().id().to_string());
        }),
        rejected("for its own sender", "4", "this bundle is for", |f| {
            f.manifest["recipient"] = f.manifest["sender"]["id"].clone();
        }),
        rejected("by the receiver's own key", "9.24", "own", |f| by(f, receiver())),
        rejected("in the name of the receiver", "9.24", "not from", |f| {
            f.manifest["sender"]["id"] = json!(receiver().public_key().id().to_string());
        }),
        rejected("more incarnations than can be sent on", "9.23", "there would be more than 4096 here", |f| {
            let all = (1..=4094_u64).map(|n| (format!("{:016x}", n << 20), json!("0000000000000001")));
            let known = [(INCARNATION.to_owned(), json!(at(20))), (OTHER.to_owned(), json!(at(5)))];
            f.manifest["tip"] = Value::Object(all.chain(known).collect::<Map<_, _>>());
        }),
    ]
}

/// What was put back to an earlier state, or told so.
fn rolled_back() -> Vec<Vector> {
    vec![
        rejected("a stamp that was issued twice", "12.2", "has forgotten changes", |f| {
            f.manifest["base"] = knows(8, 5);
            f.manifest["issued"] = clocks(&[9, 12, 20]);
        }),
        rejected("an older bundle that knows more", "12.3", "has forgotten changes", |f| {
            f.manifest["number"] = json!(9);
        }),
        rejected("less of itself than was told", "12.4", "knows of its own changes up to", |f| {
            f.manifest["base"] = json!({ INCARNATION: at(7) });
            f.manifest["tip"] = json!({ INCARNATION: at(9), OTHER: at(6) });
            f.manifest["issued"] = clocks(&[8, 9]);
            f.lines.clear();
            f.messages.clear();
        }),
    ]
}

/// What must come first.
fn not_yet() -> Vec<Vector> {
    let mut vectors = vec![
        waits("a base above what is known", "12.5", "not known here", |f| {
            f.manifest["base"] = knows(11, 5);
        }),
        waits("a base that follows another bundle", "12.5", "which was not imported here", |f| {
            f.manifest["base"] = knows(11, 5);
            f.manifest.insert("follows".into(), json!(10));
        }),
        waits("a base of somebody unknown", "12.5", "not known here", |f| {
            f.manifest["base"]["00000000000000bb"] = json!(at(1));
            f.manifest["tip"]["00000000000000bb"] = json!(at(1));
        }),
        waits("a base above what is known of another", "12.5", "not known here", |f| {
            f.manifest["base"] = knows(10, 6);
            f.manifest["tip"] = knows(20, 6);
        }),
    ];
    let mut behind = Draft::delta();
    behind.of_other();
    behind.forge.manifest["tip"] = json!({ OTHER: at(13) });
    behind.forge.manifest["horizon"] = json!({});
    behind.bring("new", "INBOX", &super::o(13), &json!({}));
    vectors.push(behind.finish(
        "receiver",
        "a sender who needs a full one first",
        Verdict::Waits("12.6", "doesn't know of removals"),
    ));
    let mut second = Draft::honest();
    second.next();
    second.forge.manifest["number"] = json!(13);
    second.forge.manifest["base"] = knows(21, 5);
    second.forge.manifest["tip"] = knows(22, 5);
    second.forge.manifest["issued"] = clocks(&[22]);
    second.put(&folder("Later", &s(22), true));
    vectors.push(second.finish(
        "receiver",
        "a second bundle before the one between",
        Verdict::Waits("12.5", "not known here"),
    ));
    vectors
}

/// What is taken although it looks as if it shouldn't be.
fn taken() -> Vec<Vector> {
    let accepted = |about: &str, draw: &dyn Fn(&mut Draft)| {
        let mut draft = Draft::delta();
        draw(&mut draft);
        draft.finish("receiver", about, Verdict::Accepted)
    };
    vec![
        accepted("nothing at all", &|_| {}),
        accepted("nothing new", &|draft| {
            draft.forge.manifest["tip"] = knows(10, 5);
            draft.forge.manifest["issued"] = json!([]);
        }),
        accepted("an older bundle of which all is known", &|draft| {
            draft.forge.manifest["number"] = json!(3);
            draft.forge.manifest["base"] = json!({});
            draft.forge.manifest["tip"] = knows(4, 5);
            draft.forge.manifest["horizon"] = json!({ INCARNATION: at(2) });
            draft.forge.manifest["issued"] = clocks(&[1, 2, 3, 4]);
            draft.put(&record("one", "INBOX", &s(3), &json!({})));
        }),
        accepted("what was known is issued again", &|draft| {
            draft.forge.manifest["base"] = knows(8, 5);
            draft.forge.manifest["issued"] = clocks(&[10, 12, 20]);
        }),
        accepted("a full bundle by one who knows of no removal", &|draft| {
            draft.of_other();
            draft.forge.manifest["kind"] = json!("full");
            draft.forge.manifest["tip"] = json!({ OTHER: at(13) });
            draft.forge.manifest["horizon"] = json!({});
            draft.put(&base_records().pop().unwrap());
            draft.bring("new", "INBOX", &super::o(13), &json!({ "flags": { "S": [super::o(13), true] } }));
            draft.after.has("new", "INBOX", 0, "INBOX", "S");
        }),
        accepted("a full bundle whose number is lower and that knows the same", &|draft| {
            full(draft);
            draft.forge.manifest["number"] = json!(9);
            draft.forge.manifest["tip"] = knows(10, 5);
            draft.forge.manifest["issued"] = clocks(&[1, 2, 3, 4, 5, 6, 7, 8, 10]);
        }),
        accepted("one by each peer", &|draft| {
            *draft = Draft::honest();
            draft.next();
            draft.of_other();
            draft.put(&folder("Other", &super::o(11), true));
            draft.after.folder("Other");
            assert_eq!(draft.forge.key.public_key().id(), other().public_key().id());
        }),
    ]
}

pub fn vectors() -> Vec<Vector> {
    [senders(), rolled_back(), not_yet(), taken()].into_iter().flatten().collect()
}
