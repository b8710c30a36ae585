//! Jobs for the receiver itself, with their sealed bodies. age encrypts with random keys, so the bodies are made once,
//! by [`make`], and lie in `tests/vectors/sealed/`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use mailsync::bundle::PublicKey;
use mailsync::model::Digest;
use serde_json::json;
use ssh_key::HashAlg;

use super::{Draft, Vector, Verdict, other, receiver, s, signer};
use crate::support::forge::signed;

/// The command that the receiver lets the signer run.
pub const COMMAND: &str = "ok";

/// What a body is about, whether the job can be run, what is in it, and who can open it.
type Body = (&'static str, bool, fn() -> Vec<u8>, fn() -> Vec<PublicKey>);

fn told(command: &str) -> Vec<u8> {
    format!("{{\"requester\":\"{}\",\"command\":{command}}}\n", signer().public_key().id()).into_bytes()
}

fn both() -> Vec<PublicKey> {
    vec![receiver().public_key(), signer().public_key()]
}

const BODIES: &[Body] = &[
    ("a body", true, || told("[\"ok\"]"), both),
    (
        "a body with arguments and input",
        true,
        || [told("[\"ok\",\"a\",\"b c\"]"), b"From: me\n\n".to_vec()].concat(),
        both,
    ),
    (
        "a body with members that nobody knows",
        true,
        || {
            let text = String::from_utf8(told("[\"ok\"]")).unwrap();
            text.replace("}\n", ",\"later\":[1]}\n").into_bytes()
        },
        both,
    ),
    ("a body that only the target can open", true, || told("[\"ok\"]"), || vec![receiver().public_key()]),
    (
        "a body that names another requester",
        false,
        || {
            String::from_utf8(told("[\"ok\"]"))
                .unwrap()
                .replace(&signer().public_key().id().to_string(), &other().public_key().id().to_string())
                .into_bytes()
        },
        both,
    ),
    ("a body for others", false, || told("[\"ok\"]"), || vec![signer().public_key(), other().public_key()]),
    ("a body without a command", false, || told("[]"), both),
    ("a body with null for the command", false, || told("null"), both),
    (
        "a body that is an array",
        false,
        || format!("[\"{}\",[\"ok\"]]\n", signer().public_key().id()).into_bytes(),
        both,
    ),
    (
        "a body with a member twice",
        false,
        || {
            String::from_utf8(told("[\"ok\"]"))
                .unwrap()
                .replace(",\"command\"", ",\"command\":[\"no\"],\"command\"")
                .into_bytes()
        },
        both,
    ),
    ("a body whose line has no end", false, || told("[\"ok\"]").trim_ascii_end().to_vec(), both),
    ("a body of nothing", false, Vec::new, both),
    (
        "a body whose header is longer than 8 KiB",
        false,
        || told("[\"ok\"]"),
        || std::iter::repeat_n(other().public_key(), 80).chain(both()).collect(),
    ),
];

fn file(about: &str) -> PathBuf {
    let name = format!("{}.age", about.replace(' ', "-").to_lowercase());
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/sealed").join(name)
}

/// Makes the sealed bodies anew.
pub fn make() {
    for (about, _, contents, readers) in BODIES {
        let recipients: Vec<age::ssh::Recipient> = readers()
            .iter()
            .map(|key| key.to_openssh().splitn(3, ' ').take(2).collect::<Vec<_>>().join(" ").parse().unwrap())
            .collect();
        let recipients = recipients.iter().map(|recipient| recipient as &dyn age::Recipient);
        let mut sealed = Vec::new();
        let mut out = age::Encryptor::with_recipients(recipients).unwrap().wrap_output(&mut sealed).unwrap();
        out.write_all(&contents()).unwrap();
        out.finish().unwrap();
        std::fs::write(file(about), sealed).unwrap();
    }
}

/// A bundle with a request of the signer's to the receiver, and this body. `named` is how the request calls it.
fn vector(about: &str, body: &[u8], named: (String, usize), state: &str) -> Vector {
    let (digest, bytes) = named;
    let request = json!({
        "type": "request", "requester": signer().public_key().id().to_string(),
        "target": receiver().public_key().id().to_string(), "made": 1_750_000_900_000_u64,
        "body": { "digest": digest, "bytes": bytes },
    })
    .to_string();
    let signature = signed(&signer(), "mailsync-job", HashAlg::Sha512, request.as_bytes());
    let mut draft = Draft::delta();
    draft.forge.jobs =
        vec![format!("{}\n", json!({ "stamp": s(12), "signed": request, "signature": signature })).into_bytes()];
    draft.forge.messages.push(body.to_vec());
    let id = Digest::of(request.as_bytes()).to_string()[..32].to_owned();
    draft.jobs = BTreeMap::from([(id, state.to_owned())]);
    draft.finish("sealed", about, Verdict::Accepted)
}

pub fn vectors() -> Vec<Vector> {
    let of = |body: &[u8]| (Digest::of(body).to_string(), body.len());
    let mut vectors: Vec<Vector> = BODIES
        .iter()
        .map(|(about, runs, ..)| {
            let body = std::fs::read(file(about)).unwrap();
            vector(about, &body, of(&body), if *runs { "done" } else { "rejected" })
        })
        .collect();
    let good = std::fs::read(file(BODIES[0].0)).unwrap();
    let cut = &good[..good.len() - 3];
    vectors.push(vector("a body that is cut off", cut, of(cut), "rejected"));
    let mut broken = good.clone();
    *broken.last_mut().unwrap() ^= 1;
    vectors.push(vector("a body with a byte changed", &broken, of(&broken), "rejected"));
    let plain = told("[\"ok\"]");
    vectors.push(vector("a body that is not sealed", &plain, of(&plain), "rejected"));
    vectors.push(vector("a body of another size", &good, (Digest::of(&good).to_string(), good.len() + 1), "rejected"));
    let absent = (Digest::of(b"absent").to_string(), 6);
    vectors.push(vector("a body that is not there", b"something else", absent, "queued"));
    vectors
}
