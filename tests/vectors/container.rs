//! The frame, the archive, and what stands around them.

use std::io::Write as _;

use mailsync::bundle::PrivateKey;
use mailsync::model::Digest;
use serde_json::{Value, json};
use ssh_key::HashAlg;

use super::{Bad, DATE, Draft, Good, Same, Vector, Verdict, bad, changed, good, message, same, signer, stranger};
use crate::support::forge::{Member, frame, signed};

const BLOCK: usize = 512;
/// Where the message stands among the members.
const MESSAGE: usize = 3;

fn framed(archive: &[u8], set: impl FnOnce(&mut zstd::Encoder<'_, Vec<u8>>), pieces: bool) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    set(&mut encoder);
    let at = if pieces { BLOCK } else { archive.len() };
    encoder.write_all(&archive[..at]).unwrap();
    if pieces {
        // Of a single piece zstd would know the size, and choose a window no larger.
        encoder.flush().unwrap();
        encoder.write_all(&archive[at..]).unwrap();
    }
    encoder.finish().unwrap()
}

const WHOLE: &[Bad] = &[
    ("an empty input", "9.1", "nothing there", |f| f.file = Vec::clear),
    ("something else", "9.1", "not a bundle", |f| f.file = |b| *b = b"From: me\n\nHello.\n".to_vec()),
    ("a skippable frame before it", "9.1", "not a bundle", |f| {
        f.file = |b| drop(b.splice(..0, [0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 0]));
    }),
    ("a compressed mail", "9.1", "not a bundle", |f| f.frame = |_| frame(b"Subject: hi\n\nA compressed mail.\n")),
    ("cut off in its magic number", "9.2", "cut off", |f| f.file = |b| b.truncate(3)),
    ("cut off in its header", "9.2", "cut off", |f| f.file = |b| b.truncate(6)),
    ("cut off in the middle", "9.2", "cut off", |f| f.file = |b| b.truncate(b.len() / 2)),
    ("cut off before its checksum", "9.2", "cut off", |f| f.file = |b| b.truncate(b.len() - 4)),
    ("cut off in its checksum", "9.2", "cut off", |f| f.file = |b| b.truncate(b.len() - 1)),
    ("a wrong checksum", "9.2", "corrupt", |f| f.file = |b| *b.last_mut().unwrap() ^= 1),
    ("a dictionary", "9.2", "sets bits that no bundle has", |f| f.file = |b| b[4] |= 1),
    ("a reserved bit", "9.2", "sets bits that no bundle has", |f| f.file = |b| b[4] |= 8),
    ("an unused bit", "9.2", "sets bits that no bundle has", |f| f.file = |b| b[4] |= 16),
    ("no checksum", "9.2", "no checksum", |f| f.frame = |archive| zstd::encode_all(archive, 3).unwrap()),
    ("a block of the reserved kind", "9.2", "corrupt", |f| {
        f.frame = |_| [&[0x28, 0xb5, 0x2f, 0xfd, 0x04, 0x58][..], &[7, 0, 0], &[0; 100]].concat();
    }),
    ("a window that is too large", "9.2", "window", |f| {
        f.frame = |archive| framed(archive, |encoder| encoder.window_log(28).unwrap(), true);
    }),
    ("a segment that is too large", "9.2", "window", |f| {
        f.frame = |_| [&[0x28, 0xb5, 0x2f, 0xfd, 0xa4], &u32::MAX.to_le_bytes()[..], &[0; 100]].concat();
    }),
];

const MEMBERS: &[Bad] = &[
    ("no end", "9.4", "without an end marker", |f| f.archive = |b| b.truncate(b.len() - 2 * BLOCK)),
    ("half an end", "9.4", "without an end marker", |f| f.archive = |b| b.truncate(b.len() - BLOCK)),
    ("an end one byte too short", "9.4", "without an end marker", |f| f.archive = |b| b.truncate(b.len() - 1)),
    ("an end that is half one", "9.4", "half an end marker", |f| f.archive = |b| *b.last_mut().unwrap() = 1),
    ("something behind the end", "9.4", "something stands behind", |f| f.archive = |b| b.push(b'x')),
    ("a member behind the end", "9.4", "something stands behind", |f| f.archive = |b| b.extend_from_within(..BLOCK)),
    ("too many zeros behind the end", "9.4", "padding", |f| f.archive = |b| b.resize(b.len() + (1 << 20) + 1, 0)),
    ("a member that is not padded with zeros", "9.4", "not padded with zeros", |f| {
        f.archive = |b| {
            let at = b.len() - 2 * BLOCK - 1;
            b[at] = b'x';
        };
    }),
    ("a wrong sum", "9.3", "checksum is wrong", |f| {
        f.members = |m| m[MESSAGE].header.as_ustar_mut().unwrap().cksum = *b"0000000\0";
    }),
    ("the format of old tar", "9.3", "not in the ustar format", |f| {
        f.members = |m| m[MESSAGE].with(|h| (h.magic, h.version) = ([0; 6], [0; 2]));
    }),
    ("the format of GNU tar", "9.3", "not in the ustar format", |f| {
        f.members = |m| m[MESSAGE].with(|h| (h.magic, h.version) = (*b"ustar ", *b" \0"));
    }),
    ("another version of ustar", "9.3", "not in the ustar format", |f| {
        f.members = |m| m[MESSAGE].with(|h| h.version = *b"01");
    }),
    ("a link name", "9.3", "names a link", |f| f.members = |m| m[MESSAGE].with(|h| h.linkname[0] = b'x')),
    ("a prefix", "9.3", "prefix", |f| f.members = |m| m[MESSAGE].with(|h| h.prefix[0] = b'x')),
    ("a name that is no text", "9.3", "not UTF-8", |f| f.members = |m| m[MESSAGE].with(|h| h.name[12] = 0xff)),
    ("a pax header", "9.3", "not a regular file", |f| {
        f.members = |m| {
            let mut pax = Member::new("PaxHeaders/x", b"30 path=messages/../../x\n");
            pax.with(|h| h.typeflag = *b"x");
            m.insert(MESSAGE, pax);
        };
    }),
    ("a manifest of 8 GiB", "9.15", "manifest.json", |f| {
        f.members = |m| m[0].with(|h| h.size = *b"77777777777\0");
    }),
    ("a manifest of 8 MiB and a byte", "9.15", "manifest.json is above 8388608", |f| {
        f.text = |text| [text.trim_end(), &" ".repeat((8 << 20) - text.len() + 1), "\n"].concat().into_bytes();
    }),
    ("a signature of 16 KiB and a byte", "9.15", "manifest.json.sig", |f| {
        f.members = |m| m[1] = Member::new("manifest.json.sig", &[b'A'; (16 << 10) + 1]);
    }),
    ("a size beyond the end", "9.4", "without an end marker", |f| {
        f.members = |m| m[1].with(|h| h.size = *b"00000037777\0");
    }),
    ("no manifest", "9.1", "not a bundle", |f| f.members = |m| drop(m.remove(0))),
    ("no signature", "9.5", "where manifest.json.sig was expected", |f| f.members = |m| drop(m.remove(1))),
    ("no entries", "9.5", "where entries.jsonl was expected", |f| f.members = |m| drop(m.remove(2))),
    ("nothing but a manifest", "9.5", "ends where manifest.json.sig was expected", |f| f.members = |m| m.truncate(1)),
    ("the signature first", "9.1", "not a bundle", |f| f.members = |m| m.swap(0, 1)),
    ("the entries before the signature", "9.5", "where manifest.json.sig", |f| f.members = |m| m.swap(1, 2)),
    ("the message before the entries", "9.5", "where entries.jsonl was expected", |f| f.members = |m| m.swap(2, 3)),
    ("the manifest twice", "9.5", "where manifest.json.sig", |f| f.members = |m| m.insert(1, m[0].clone())),
    ("the signature twice", "9.5", "where entries.jsonl", |f| f.members = |m| m.insert(2, m[1].clone())),
    ("the entries twice", "9.5", "where a message or the end", |f| f.members = |m| m.insert(3, m[2].clone())),
    ("a member that nobody knows", "9.5", "\"README\" where a message", |f| {
        f.members = |m| m.push(Member::new("README", b"Hello.\n"));
    }),
    ("a member that nobody knows first", "9.1", "not a bundle", |f| {
        f.members = |m| m.insert(0, Member::new("manifest.json.bak", b"Hello.\n"));
    }),
    ("jobs that the manifest doesn't announce", "9.11", "\"jobs.jsonl\" where", |f| {
        f.members = |m| m.insert(MESSAGE, Member::new("jobs.jsonl", b"{}\n"));
    }),
    ("a message with other contents", "9.14", "has other contents", |f| f.members = |m| m[MESSAGE].contents[9] ^= 1),
    ("a message twice, the second time with other contents", "9.14", "has other contents", |f| {
        f.messages.push(message("new"));
        f.members = |m| m[MESSAGE + 1].contents[9] ^= 1;
    }),
    ("a message fewer", "9.14", "fewer than the manifest says", |f| f.members = |m| drop(m.pop())),
    ("a message more", "9.14", "more than the manifest says", |f| f.members = |m| m.push(m[MESSAGE].clone())),
    ("a message that is longer", "9.14", "more than the manifest says", |f| {
        f.members = |m| m[MESSAGE] = of_message(&[message("new"), message("new")].concat());
    }),
];

fn of_message(contents: &[u8]) -> Member {
    Member::new(&format!("messages/{}", Digest::of(contents)), contents)
}

/// The namespace of the signature over `missing.json`.
const LACKING: &str = "mailsync-missing";

/// Takes the message out, and says that it is missing, after a change of how that is said.
pub(super) fn lacking(members: &mut Vec<Member>, change: impl FnOnce(&mut Value)) {
    members.remove(MESSAGE);
    let new = message("new");
    let messages = json!({ Digest::of(&new).to_string(): new.len() });
    let mut missing = json!({ "manifest": Digest::of(&members[0].contents).to_string(), "messages": messages });
    change(&mut missing);
    say_missing(members, format!("{missing}\n").as_bytes(), &signer(), LACKING);
}

fn say_missing(members: &mut Vec<Member>, json: &[u8], key: &PrivateKey, namespace: &str) {
    members.push(Member::new("missing.json", json));
    members.push(Member::new("missing.json.sig", signed(key, namespace, HashAlg::Sha512, json).as_bytes()));
}

/// Says in the same words, with another signature, that the message is missing.
fn sign_again(members: &mut Vec<Member>, key: &PrivateKey, namespace: &str) {
    lacking(members, |_| {});
    members.pop();
    let json = members.pop().unwrap().contents;
    say_missing(members, &json, key, namespace);
}

const MISSING: &[Bad] = &[
    ("a message that is missing, and nobody's signature", "9.5", "ends where missing.json.sig", |f| {
        f.members = |m| {
            lacking(m, |_| {});
            m.pop();
        };
    }),
    ("a message that is missing by the word of another", "9.10", "not from", |f| {
        f.members = |m| sign_again(m, &stranger(), LACKING);
    }),
    ("a message that is missing by a signature for bundles", "9.10", "namespace", |f| {
        f.members = |m| sign_again(m, &signer(), "mailsync");
    }),
    ("a message that is missing in other words than are signed", "9.10", "not made over these bytes", |f| {
        f.members = |m| {
            lacking(m, |_| {});
            let at = m.len() - 2;
            m[at] = Member::new("missing.json", &[b" ", &*m[at].contents.clone()].concat());
        };
    }),
    ("a message that another bundle lacks", "9.14", "belongs to another bundle", |f| {
        f.members = |m| lacking(m, |missing| missing["manifest"] = json!(Digest::of(b"another").to_string()));
    }),
    ("no message that is missing", "9.14", "names no message", |f| {
        f.members = |m| lacking(m, |missing| missing["messages"] = json!({}));
    }),
    ("a missing message of no bytes", "9.14", "fewer than the manifest says", |f| {
        f.members = |m| lacking(m, |missing| missing["messages"] = json!({ Digest::of(b"x").to_string(): 0 }));
    }),
    ("a missing message of more bytes", "9.14", "more than the manifest says", |f| {
        f.members = |m| lacking(m, |missing| missing["messages"] = json!({ Digest::of(b"x").to_string(): u64::MAX }));
    }),
    ("a missing message that nobody has promised", "9.14", "more than the manifest says", |f| {
        f.members = |m| {
            let message = m[MESSAGE].clone();
            lacking(m, |_| {});
            m.insert(MESSAGE, message);
        };
    }),
    ("an array of missing messages", "9.14", "missing.json", |f| {
        f.members = |m| lacking(m, |missing| missing["messages"] = json!([Digest::of(b"x").to_string()]));
    }),
    ("a missing message without a digest", "9.14", "missing.json", |f| {
        f.members = |m| lacking(m, |missing| missing["messages"] = json!({ "x": 1 }));
    }),
    ("missing messages without a newline", "9.14", "newline", |f| {
        f.members = |m| {
            lacking(m, |_| {});
            m.pop();
            let json = m.pop().unwrap().contents;
            say_missing(m, json.trim_ascii_end(), &signer(), LACKING);
        };
    }),
    ("a message behind those that are missing", "9.5", "where a message or the end", |f| {
        f.members = |m| {
            let message = m[MESSAGE].clone();
            lacking(m, |_| {});
            m.push(message);
        };
    }),
    ("missing messages twice", "9.5", "where a message or the end", |f| {
        f.members = |m| {
            lacking(m, |_| {});
            let two: Vec<Member> = m[m.len() - 2..].to_vec();
            m.extend(two);
        };
    }),
    ("missing messages before the entries", "9.5", "where entries.jsonl", |f| {
        f.members = |m| {
            lacking(m, |_| {});
            m.rotate_right(2);
            m[..4].rotate_left(2);
        };
    }),
];

/// Names of messages that aren't their digests.
fn names() -> Vec<Vector> {
    let digest = Digest::of(&message("new")).to_string();
    [
        ("a message that leads out", format!("messages/../{digest}")),
        ("a message in a directory that is the present one", format!("./messages/{digest}")),
        ("a message at the root", format!("/messages/{digest}")),
        ("a message behind two slashes", format!("messages//{digest}")),
        ("a message in capitals", format!("messages/{}", digest.to_uppercase())),
        ("a message with a digit less", format!("messages/{}", &digest[1..])),
        ("a message with a digit more", format!("messages/{digest}0")),
        ("a message with a newline", format!("messages/{digest}\n")),
        ("a message without a name", "messages/".to_owned()),
        ("a message in no directory", digest.clone()),
    ]
    .into_iter()
    .map(|(about, name)| {
        patched(about, Verdict::Rejected("9.5", "where a message or the end was expected"), |header| {
            header.as_mut_bytes()[..100].fill(0);
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        })
    })
    .collect()
}

/// Sizes that could be understood in more than one way.
fn sizes() -> Vec<Vector> {
    [
        ("a size that is nothing", [0; 12]),
        ("a size that is not octal", *b"00000000009\0"),
        ("a negative size", *b"-0000000025\0"),
        ("a size with a space before it", *b" 0000000025\0"),
        ("a size with text behind it", *b"25\0 garbage."),
        ("a size in binary", [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 25]),
    ]
    .into_iter()
    .map(|(about, size)| {
        patched(about, Verdict::Rejected("9.3", "not an octal number"), |header| {
            header.as_ustar_mut().unwrap().size = size;
        })
    })
    .collect()
}

/// An honest bundle whose last header was changed.
fn patched(about: &str, verdict: Verdict, change: impl FnOnce(&mut tar::Header)) -> Vector {
    let mut vector = changed("container", about, verdict, |_| {});
    let mut archive = zstd::decode_all(vector.bytes.as_slice()).unwrap();
    let at = archive.windows(9).rposition(|window| window == b"messages/").unwrap();
    let mut header = tar::Header::new_old();
    header.as_mut_bytes().copy_from_slice(&archive[at..at + BLOCK]);
    change(&mut header);
    header.set_cksum();
    archive[at..at + BLOCK].copy_from_slice(header.as_bytes());
    vector.bytes = frame(&archive);
    vector
}

/// Every kind of member but the one that there is.
fn kinds() -> Vec<Vector> {
    let kinds = [
        (0, "an old regular file"),
        (b'1', "a hard link"),
        (b'2', "a symbolic link"),
        (b'3', "a character device"),
        (b'4', "a block device"),
        (b'5', "a directory"),
        (b'6', "a pipe"),
        (b'7', "a contiguous file"),
        (b'L', "a long name of GNU"),
        (b'K', "a long link of GNU"),
        (b'S', "a sparse file of GNU"),
        (b'g', "a header of pax for all that follows"),
        (b'Z', "a kind that nobody has defined"),
    ];
    let vector = |(kind, about): (u8, &str)| {
        patched(about, Verdict::Rejected("9.3", "not a regular file"), |header| header.as_mut_bytes()[156] = kind)
    };
    kinds.into_iter().map(vector).collect()
}

/// What a manifest says of what follows it, where that isn't so.
fn counts() -> Vec<Vector> {
    let sums = |folders: u64, entries: u64, messages: u64, jobs: u64| json!({ "folders": folders, "entries": entries, "messages": messages, "jobs": jobs });
    let bytes = message("new").len() as u64;
    let nothing = json!({ "bytes": 0, "sha256": Digest::of(b"").to_string() });
    [
        ("a folder fewer than is said", "9.11", "not as many records", "counts", sums(2, 1, 1, 0)),
        ("an entry more than is said", "9.11", "not as many records", "counts", sums(1, 0, 1, 0)),
        ("a folder for an entry", "9.11", "not as many records", "counts", sums(0, 2, 1, 0)),
        ("a message fewer than is said", "9.14", "fewer than the manifest says", "counts", sums(1, 1, 2, 0)),
        ("a message more than is said", "9.14", "more than the manifest says", "counts", sums(1, 1, 0, 0)),
        (
            "as many messages as there are numbers",
            "9.14",
            "fewer than the manifest says",
            "counts",
            sums(1, 1, u64::MAX, 0),
        ),
        ("statements that are counted and not named", "9.9", "disagree", "counts", sums(1, 1, 1, 1)),
        ("statements that are named and not counted", "9.9", "disagree", "jobs", nothing.clone()),
        ("a byte of messages fewer than is said", "9.14", "fewer than the manifest says", "bytes", json!(bytes + 1)),
        ("a byte of messages more than is said", "9.14", "more than the manifest says", "bytes", json!(bytes - 1)),
        ("entries of another size", "9.11", "not of the size", "entries", nothing),
    ]
    .into_iter()
    .map(|(about, rule, says, field, value)| {
        changed("container", about, Verdict::Rejected(rule, says), |forge| {
            drop(forge.manifest.insert(field.into(), value));
        })
    })
    .chain([changed("container", "entries of another hash", Verdict::Rejected("9.11", "vouches for"), |forge| {
        let bytes: usize = forge.lines.iter().map(Vec::len).sum();
        let part = json!({ "bytes": bytes, "sha256": Digest::of(b"").to_string() });
        forge.manifest.insert("entries".into(), part);
    })])
    .collect()
}

/// What makes no difference.
const SAME: &[Same] = &[
    ("an honest bundle", |_| {}),
    ("a window of 128 MiB", |f| f.frame = |archive| framed(archive, |encoder| encoder.window_log(27).unwrap(), true)),
    ("several blocks", |f| f.frame = |archive| framed(archive, |_| {}, true)),
    ("the size of the contents in the frame", |f| {
        f.frame = |archive| {
            framed(archive, |encoder| encoder.set_pledged_src_size(Some(archive.len() as u64)).unwrap(), false)
        };
    }),
    ("nothing compressed", |f| {
        f.frame = |archive| {
            let mut plain = vec![0x28, 0xb5, 0x2f, 0xfd, 0x04, 0x58];
            for (n, block) in archive.chunks(4096).enumerate() {
                let last = usize::from((n + 1) * 4096 >= archive.len());
                let header = u32::try_from(block.len() << 3 | last).unwrap().to_le_bytes();
                plain.extend_from_slice(&header[..3]);
                plain.extend_from_slice(block);
            }
            let whole = frame(archive);
            plain.extend_from_slice(&whole[whole.len() - 4..]);
            plain
        };
    }),
    ("a mebibyte of zeros behind the end", |f| f.archive = |b| b.resize(b.len() + (1 << 20), 0)),
    ("a zero behind the end", |f| f.archive = |b| b.push(0)),
    ("another mode, owner and date in a header", |f| {
        f.members = |m| {
            m[MESSAGE].with(|h| {
                (h.mode, h.uid, h.gid, h.mtime) = (*b"0100777\0", *b"garbage!", *b"0001750\0", *b"14000000000\0");
                h.uname[..4].copy_from_slice(b"root");
                h.gname[..4].copy_from_slice(b"root");
                h.dev_major = [0xff; 8];
                h.pad = [0xff; 12];
            });
        };
    }),
    ("a size with fewer digits and a space", |f| {
        f.members = |m| {
            for member in m {
                let size = format!("{:o} ", member.contents.len());
                member.with(|h| {
                    h.size = [0; 12];
                    h.size[..size.len()].copy_from_slice(size.as_bytes());
                });
            }
        };
    }),
    ("a size without an end", |f| {
        f.members = |m| {
            for member in m {
                let size = format!("{:012o}", member.contents.len());
                member.with(|h| h.size.copy_from_slice(size.as_bytes()));
            }
        };
    }),
];

const GOOD: &[Good] = &[
    ("two bundles", |d| {
        first(d);
        d.put(&super::folder("Later", &super::s(22), true));
        d.after.folder("Later");
    }),
    ("a bundle twice", |d| {
        first(d);
        d.forge = Draft::honest().forge;
    }),
    ("a message twice", |d| {
        *d = Draft::honest();
        d.forge.messages.push(message("new"));
    }),
    ("a message that nobody asked for", |d| {
        *d = Draft::honest();
        d.forge.messages.insert(0, message("unasked"));
    }),
    ("messages in another order", |d| {
        d.bring("a", "INBOX", &super::s(12), &json!({}));
        d.bring("b", "INBOX", &super::s(15), &json!({}));
        d.forge.messages.reverse();
        d.after.has("a", "INBOX", 0, "INBOX", "");
        d.after.has("b", "INBOX", 0, "INBOX", "");
    }),
    ("an entry whose message is not there", |d| {
        d.put(&super::record("absent", "INBOX", &super::s(12), &json!({})));
        d.after.has("absent", "INBOX", 0, "INBOX", "");
    }),
    ("a message that its sender could not read", |d| {
        *d = Draft::honest();
        d.forge.members = |m| lacking(m, |_| {});
    }),
    ("a member of what is missing that nobody knows", |d| {
        *d = Draft::honest();
        d.forge.members = |m| lacking(m, |missing| missing["since"] = json!(7));
    }),
    ("a message of no bytes", |d| bytes(d, b"")),
    ("a message of a newline", |d| bytes(d, b"\n")),
    ("a synchroniser's line behind the header", |d| bytes(d, b"Subject: new\n\nX-TUID: abc\n")),
    ("a synchroniser's line behind a header that ends as in DOS", |d| bytes(d, b"Subject: new\r\n\r\nX-TUID: abc\r\n")),
    ("a line that goes on as a synchroniser's begins", |d| bytes(d, b"Subject: new\n X-TUID: abc\n\n")),
    ("a name that begins as a synchroniser's", |d| bytes(d, b"X-TUID-2: abc\n\n")),
    ("a space before the colon of a synchroniser's name", |d| bytes(d, b"X-TUID : abc\n\n")),
    ("a synchroniser's line in what nobody asked for", |d| {
        d.forge.messages.push(b"X-TUID: abc\n\n".to_vec());
    }),
];

/// Adds a message of these bytes to the INBOX.
fn bytes(draft: &mut Draft, contents: &[u8]) {
    let digest = Digest::of(contents).to_string();
    let stamp = super::s(12);
    draft.put(&json!({ "entry": {
        "digest": digest, "birth": "INBOX", "location": stamp, "size": contents.len(), "mtime": DATE,
    } }));
    draft.forge.messages.push(contents.to_vec());
    draft
        .after
        .0
        .insert(["entry", &digest, "INBOX", "0", "INBOX", "", &format!("{DATE}000000000")].map(String::from).to_vec());
}

/// Messages that have a line which a synchroniser has written into its copy.
fn synchronised() -> Vec<Vector> {
    let texts: [(&str, &[u8]); 6] = [
        ("a synchroniser's line", b"Subject: new\nX-TUID: abc\n\nHello.\n"),
        ("a synchroniser's line in small letters", b"x-tuid: abc\nSubject: new\n\n"),
        ("a synchroniser's line that ends as in DOS", b"X-TUID: abc\r\nSubject: new\r\n\r\n"),
        ("a synchroniser's line that goes on", b"Subject: new\nX-TUID:\n abc\n\n"),
        ("a synchroniser's line without an end", b"Subject: new\nX-TUID:"),
        ("a synchroniser's line in a message that is all header", b"X-TUID: abc\n"),
    ];
    let vector = |(about, text): (&str, &[u8])| {
        let mut draft = Draft::delta();
        bytes(&mut draft, text);
        draft.after = super::base_mailbox();
        draft.finish("container", about, Verdict::Rejected("9.14", "synchroniser"))
    };
    texts.into_iter().map(vector).collect()
}

/// An honest bundle, and the beginning of another that follows it.
fn first(draft: &mut Draft) {
    *draft = Draft::honest();
    draft.then();
}

/// A good bundle, and something behind it.
fn streams() -> Vec<Vector> {
    let behind: [Bad; 5] = [
        ("something else behind it", "9.6", "is no other one", |f| f.file = |b| *b = b"garbage".to_vec()),
        ("a zero behind the frame", "9.6", "is no other one", |f| f.file = |b| *b = vec![0]),
        ("a skippable frame behind it", "9.6", "is no other one", |f| {
            f.file = |b| *b = vec![0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 0];
        }),
        ("a second bundle that is cut off", "9.2", "cut off", |f| f.file = |b| b.truncate(b.len() / 2)),
        ("a second bundle that can't be true", "9.20", "a folder has the stamp", |f| {
            f.line(&super::folder("Later", &super::s(23), true));
        }),
    ];
    let vector = |(about, rule, says, change): Bad| {
        let mut draft = Draft::honest();
        first(&mut draft);
        change(&mut draft.forge);
        draft.finish("container", about, Verdict::Rejected(rule, says))
    };
    behind.into_iter().map(vector).collect()
}

pub fn vectors() -> Vec<Vector> {
    [
        bad("container", WHOLE),
        bad("container", MEMBERS),
        bad("container", MISSING),
        names(),
        sizes(),
        kinds(),
        counts(),
        synchronised(),
        same("container", SAME),
        good("container", GOOD),
        streams(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
