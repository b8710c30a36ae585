//! Who has signed a manifest, and how.

use serde_json::json;
use ssh_key::HashAlg;

use super::{Bad, Same, Vector, bad, other, same, stranger};
use crate::support::forge::{sign, signed};

const BAD: &[Bad] = &[
    ("over other bytes", "9.10", "not made over these bytes", |f| f.sign = |key, _| sign(key, b"something else")),
    ("in another namespace", "9.10", "another purpose", |f| {
        f.sign = |key, bytes| signed(key, "file", HashAlg::Sha512, bytes).into();
    }),
    ("in the namespace of jobs", "9.10", "another purpose", |f| {
        f.sign = |key, bytes| signed(key, "mailsync-job", HashAlg::Sha512, bytes).into();
    }),
    ("nothing", "9.10", "no SSH signature", |f| f.sign = |_, _| Vec::new()),
    ("garbage", "9.10", "no SSH signature", |f| {
        f.sign = |_, _| b"-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n".to_vec();
    }),
    ("by another peer", "9.10", "not from", |f| f.key = other()),
    ("by a stranger", "9.10", "not from", |f| f.key = stranger()),
    ("by another peer in the name of its own", "9.10", "not made over these bytes", |f| {
        f.manifest["sender"]["id"] = json!(other().public_key().id().to_string());
        f.sign = |_, _| sign(&other(), b"something else");
    }),
    ("of a sender who is another peer", "9.10", "not from", |f| {
        f.manifest["sender"]["id"] = json!(other().public_key().id().to_string());
    }),
    ("an armor of lines that end as in DOS", "9.10", "armor", |f| {
        f.sign = |key, bytes| String::from_utf8(sign(key, bytes)).unwrap().replace('\n', "\r\n").into();
    }),
    ("an armor without its last newline", "9.10", "armor", |f| {
        f.sign = |key, bytes| sign(key, bytes).trim_ascii_end().to_vec();
    }),
    ("an armor with a line before it", "9.10", "armor", |f| {
        f.sign = |key, bytes| [b"Hello.\n".to_vec(), sign(key, bytes)].concat();
    }),
    ("an armor with a line behind it", "9.10", "signature", |f| {
        f.sign = |key, bytes| [sign(key, bytes), b"Hello.\n".to_vec()].concat();
    }),
    ("an armor in one line", "9.10", "no SSH signature", |f| {
        f.sign = |key, bytes| {
            let text = String::from_utf8(sign(key, bytes)).unwrap();
            let lines: Vec<&str> = text.lines().collect();
            let (first, last) = (lines[0], lines[lines.len() - 1]);
            format!("{first}\n{}\n{last}\n", lines[1..lines.len() - 1].concat()).into_bytes()
        };
    }),
    ("of a manifest that was changed", "9.10", "not made over these bytes", |f| {
        f.members = |m| {
            let at = m[0].contents.windows(11).position(|window| window == b"\"number\":11").unwrap();
            m[0].contents[at + 10] = b'2';
        };
    }),
    ("of a manifest with another space", "9.10", "not made over these bytes", |f| {
        f.text = |text| text.replacen('{', "{ ", 1).into_bytes();
        f.sign =
            |key, bytes| sign(key, &String::from_utf8(bytes.to_vec()).unwrap().replacen("{ ", "{", 1).into_bytes());
    }),
];

pub fn vectors() -> Vec<Vector> {
    let sha256: &[Same] = &[("by SHA 256", |f| {
        f.sign = |key, bytes| signed(key, "mailsync", HashAlg::Sha256, bytes).into();
    })];
    bad("signature", BAD).into_iter().chain(same("signature", sha256)).collect()
}
