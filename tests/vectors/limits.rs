//! What is as large as may be, or larger by one. Such files are small, since they are compressed well.

use std::io::Write as _;

use serde_json::{Value, json};

use super::container::lacking;
use super::{Draft, Vector, Verdict, base_mailbox, folder, s};
use crate::support::forge::{Forge, INCARNATION, clock};

const MOST: usize = 65_536;

/// Compresses an archive well.
fn pack(archive: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 9).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(archive).unwrap();
    encoder.finish().unwrap()
}

/// So many digests, ascending.
fn digests(count: usize) -> Value {
    (0..count).map(|n| format!("{n:064x}")).collect()
}

/// So many clocks between the base and the tip, ascending, with the tip's as the last one.
fn issued(count: usize) -> Value {
    let base = 1_750_000_000_000 + 10 * 60_000;
    let clocks = (1..count).map(|n| u16::try_from(n).map_or_else(|_| clock(base + 1, 0), |n| clock(base, n)));
    clocks.chain([super::at(20)]).collect()
}

fn vector(about: &str, verdict: Verdict, draw: impl FnOnce(&mut Forge)) -> Vector {
    let mut draft = Draft::honest();
    draft.forge.frame = pack;
    draft.as_they_come = true;
    if verdict != Verdict::Accepted {
        draft.after = base_mailbox();
    }
    draw(&mut draft.forge);
    draft.finish("limits", about, verdict)
}

pub fn vectors() -> Vec<Vector> {
    let set = |field: &'static str, value: Value| move |forge: &mut Forge| forge.manifest[field] = value;
    let too_large = |says| Verdict::Rejected("9.15", says);
    vec![
        vector("as many wants as may be", Verdict::Accepted, set("wants", digests(MOST))),
        vector("a want more than may be", too_large("wants"), set("wants", digests(MOST + 1))),
        vector("as much issued as may be", Verdict::Accepted, set("issued", issued(MOST))),
        vector(
            "a clock more issued than may be",
            too_large("\"issued\" has more than 65536"),
            set("issued", issued(MOST + 1)),
        ),
        vector("a missing.json of 8 MiB and a byte", too_large("missing.json is above 8388608"), |forge| {
            forge.members = |members| lacking(members, |json| json["x"] = "x".repeat(8 << 20).into());
        }),
        vector("a message more missing than may be", too_large("the number of messages that it lacks"), |forge| {
            forge.members = |members| {
                lacking(members, |json| {
                    json["messages"] = (0..=MOST).map(|n| (format!("{n:064x}"), json!(0))).collect();
                });
            };
        }),
        vector("a jobs.jsonl of more than 1 GiB", too_large("the size of jobs.jsonl"), |forge| {
            forge.jobs = vec![b"{}\n".to_vec()];
            forge.text = |text| {
                let mut manifest: Value = serde_json::from_str(&text).unwrap();
                manifest["jobs"]["bytes"] = json!((1 << 30) + 1);
                format!("{manifest}\n").into()
            };
            forge.members = |members| {
                let jobs = members.iter_mut().find(|member| member.header.path().unwrap().ends_with("jobs.jsonl"));
                jobs.unwrap().with(|header| header.size = *b"10000000001\0");
            };
        }),
        vector("a folder more than a bundle has", too_large("the number of its folders"), |forge| {
            forge.lines = (0..=MOST).map(|n| line(&folder(&format!("f{n:05}"), &s(12), true))).collect();
            forge.messages.clear();
        }),
        vector(
            "a folder more than can be sent on with those that are known",
            Verdict::Rejected("9.23", "the number of its folders, with those that are known here"),
            |forge| {
                forge.lines = (0..MOST).map(|n| line(&folder(&format!("f{n:05}"), &s(12), true))).collect();
                forge.messages.clear();
            },
        ),
        vector("a mebibyte of a line for an entry", too_large("a line"), |forge| {
            forge.lines[1].splice(0..0, " ".repeat(1 << 20).into_bytes());
        }),
        vector("64 MiB of zeros behind the archive", Verdict::Rejected("9.4", "padding"), |forge| {
            forge.frame = |archive| {
                let mut padded = archive.to_vec();
                padded.resize(archive.len() + (64 << 20), 0);
                pack(&padded)
            };
        }),
        vector("as many incarnations as may be but for those that are known", Verdict::Accepted, |forge| {
            let known = [INCARNATION.to_owned(), super::OTHER.to_owned()];
            for n in 1..=4093_u64 {
                let incarnation = format!("{n:016x}");
                if !known.contains(&incarnation) {
                    forge.manifest["tip"][incarnation] = json!("0000000000000001");
                }
            }
        }),
    ]
}

fn line(record: &Value) -> Vec<u8> {
    format!("{record}\n").into_bytes()
}
