//! Bundles of a replica that the receiver has invited: it proves that by the invitation's token.

use hmac::{Hmac, Mac as _};
use mailsync::bundle::PrivateKey;
use mailsync::model::Digest;
use serde_json::{Value, json};
use sha2::Sha256;

use super::{Draft, TOKEN, Vector, Verdict, at, base_mailbox, clocks, invited, other, receiver, stranger};
use crate::support::forge::Forge;

/// The incarnation of the invited replica.
const NEW: &str = "00000000000000cc";

/// What proves to an inviter that this replica has the token.
fn proof(token: &[u8], inviter: &PrivateKey, newcomer: &PrivateKey) -> Value {
    let mut mac = Hmac::<Sha256>::new_from_slice(token).unwrap();
    mac.update(b"mailsync invitation\0");
    for key in [inviter, newcomer] {
        mac.update(&key.public_key().id().to_bytes());
    }
    json!(Digest(mac.finalize().into_bytes().into()).to_string())
}

/// The first bundle of the invited replica: it has received a message.
fn first() -> Draft {
    let mut draft = Draft::delta();
    draft.forge.key = invited();
    let sender = json!({ "id": invited().public_key().id().to_string(), "name": "new", "incarnation": NEW });
    for (field, value) in [
        ("number", json!(1)),
        ("base", json!({})),
        ("tip", json!({ NEW: at(12) })),
        ("horizon", json!({})),
        ("issued", clocks(&[12])),
        ("sender", sender),
        ("recipient", json!(receiver().public_key().id().to_string())),
        ("kind", json!("full")),
        ("proof", proof(&TOKEN, &receiver(), &invited())),
    ] {
        draft.forge.manifest.insert(field.into(), value);
    }
    draft.bring("new", "INBOX", &format!("{}-{NEW}", at(12)), &json!({}));
    draft.after.has("new", "INBOX", 0, "INBOX", "");
    draft
}

/// The same, not taken after this change.
fn changed(about: &str, verdict: Verdict, change: impl FnOnce(&mut Forge)) -> Vector {
    let mut draft = first();
    (draft.as_they_come, draft.after) = (true, base_mailbox());
    change(&mut draft.forge);
    draft.finish("invitations", about, verdict)
}

fn proves(value: Value) -> impl FnOnce(&mut Forge) {
    move |forge| drop(forge.manifest.insert("proof".into(), value))
}

pub fn vectors() -> Vec<Vector> {
    let unknown = || Verdict::Rejected("5", "unknown sender");
    let mut twice = first();
    let again = twice.forge.clone();
    twice.next();
    twice.forge = again;
    let mut followed = first();
    followed.next();
    followed.forge = first().forge;
    followed.forge.lines.clear();
    followed.forge.messages.clear();
    for (field, value) in [("number", json!(2)), ("tip", json!({ NEW: at(15) })), ("issued", clocks(&[12, 15]))] {
        followed.forge.manifest[field] = value;
    }
    // It is a full one again: its sender hasn't heard from here, and doesn't know what was forgotten.
    let again = format!("{}-{NEW}", at(12));
    followed.put(&super::record("new", "INBOX", &again, &json!({})));
    followed.put(&super::folder("Later", &format!("{}-{NEW}", at(15)), true));
    followed.after.folder("Later");
    let mut by_other = first();
    by_other.next();
    by_other.of_other();
    by_other.forge.manifest.insert("proof".into(), proof(&TOKEN, &receiver(), &other()));
    vec![
        first().finish("invitations", "the first bundle of an invited replica", Verdict::Accepted),
        twice.finish("invitations", "the first bundle of an invited replica twice", Verdict::Accepted),
        followed.finish("invitations", "two bundles of an invited replica", Verdict::Accepted),
        by_other.finish("invitations", "the proof of a replica that is known already", Verdict::Accepted),
        changed("no proof", unknown(), |forge| drop(forge.manifest.remove("proof"))),
        changed("a proof by another token", unknown(), proves(proof(&[0x78; 32], &receiver(), &invited()))),
        changed("a proof for another inviter", unknown(), proves(proof(&TOKEN, &other(), &invited()))),
        changed("a proof the other way round", unknown(), proves(proof(&TOKEN, &invited(), &receiver()))),
        changed("a proof of another replica", unknown(), proves(proof(&TOKEN, &receiver(), &stranger()))),
        changed("a proof that was copied", unknown(), |forge| {
            forge.manifest["sender"]["id"] = json!(stranger().public_key().id().to_string());
            forge.key = stranger();
        }),
        changed("a proof in capitals", Verdict::Rejected("9.8", "manifest.json"), |forge| {
            let text = forge.manifest["proof"].as_str().unwrap().to_uppercase();
            forge.manifest["proof"] = json!(text);
        }),
        changed("a good proof signed by another", Verdict::Rejected("9.10", "not from"), |forge| {
            forge.key = stranger();
        }),
        changed(
            "a good proof and a stamp that the tip doesn't cover",
            Verdict::Rejected("9.20", "not covered"),
            |forge| {
                forge
                    .lines
                    .insert(0, format!("{}\n", super::folder("Work", &format!("{}-{NEW}", at(13)), true)).into_bytes());
            },
        ),
        changed("a good proof and something else for records", Verdict::Rejected("9.12", "line 2"), |forge| {
            forge.lines.push(b"garbage\n".to_vec());
        }),
        changed("a good proof and a base that is not known", Verdict::Waits("12.5", "not known here"), |forge| {
            forge.manifest["kind"] = json!("delta");
            forge.manifest["base"] = json!({ NEW: at(11) });
        }),
    ]
}
