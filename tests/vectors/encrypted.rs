//! Encrypted bundles. age encrypts with random keys, so they are made once, by [`make`], and lie in
//! `tests/vectors/encrypted/`.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use mailsync::bundle::{PrivateKey, PublicKey};

use super::{Draft, Vector, Verdict, base_mailbox, other, receiver, signer, stranger};

/// What a writer puts behind a bundle in its age file (bundle-format.md, section 3).
const MARK: &[u8; 32] = b"\x50\x2a\x4d\x18\x18\0\0\0the end of this bundle.\n";

/// What is encrypted, by the name of the file that holds it: the bytes, and for whom.
type Sealed = (&'static str, fn() -> Vec<u8>, fn() -> Vec<PublicKey>);

fn honest() -> Vec<u8> {
    Draft::honest().bundle()
}

fn marked(bundle: Vec<u8>) -> Vec<u8> {
    [bundle, MARK.to_vec()].concat()
}

/// The one that follows [`honest`].
fn later() -> Vec<u8> {
    let mut draft = Draft::honest();
    draft.then();
    draft.bundle()
}

/// Those that a writer encrypts for.
fn both() -> Vec<PublicKey> {
    vec![receiver().public_key(), signer().public_key()]
}

const SEALED: &[Sealed] = &[
    ("honest", || marked(honest()), both),
    ("without-a-mark", honest, both),
    ("later", || marked(later()), both),
    (
        "for-many",
        || marked(honest()),
        || [stranger(), other(), receiver(), signer()].iter().map(PrivateKey::public_key).collect(),
    ),
    ("for-the-sender-alone", honest, || vec![signer().public_key()]),
    ("for-too-many", honest, || std::iter::repeat_n(stranger().public_key(), 255).chain(both()).collect()),
    ("two", || marked([honest(), later()].concat()), both),
    ("with-something-behind", || [&honest()[..], b"x"].concat(), both),
    ("with-something-behind-its-mark", || [&marked(honest())[..], b"x"].concat(), both),
    ("of-nothing", Vec::new, both),
    ("of-a-mail", || b"From: me\n\nHello.\n".to_vec(), both),
    ("of-one-that-is-cut-off", || honest()[..honest().len() - 4].to_vec(), both),
];

/// The code with which [`honest`] is encrypted, too.
const CODE: &str = "abandon-act-zoo-zebra-action-wrong";
/// The work that it costs, as a power of two: as a writer would have it.
const WORK: u8 = 16;

/// The bundle that is encrypted with [`CODE`], by the name of the file that holds it.
const LOCKED: &str = "with-a-code";

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/encrypted").join(format!("{name}.age"))
}

fn sealed(name: &str) -> Vec<u8> {
    std::fs::read(file(name)).unwrap()
}

/// Encrypts all of them anew.
pub fn make() {
    for (name, contents, readers) in SEALED {
        let recipients: Vec<age::ssh::Recipient> = readers()
            .iter()
            .map(|key| key.to_openssh().splitn(3, ' ').take(2).collect::<Vec<_>>().join(" ").parse().unwrap())
            .collect();
        write(name, &contents(), recipients.iter().map(|recipient| recipient as &dyn age::Recipient));
    }
    let mut recipient = age::scrypt::Recipient::new(CODE.to_owned().into());
    recipient.set_work_factor(WORK);
    write(LOCKED, &marked(honest()), std::iter::once(&recipient as &dyn age::Recipient));
}

fn write<'r>(name: &str, contents: &[u8], recipients: impl Iterator<Item = &'r dyn age::Recipient>) {
    let mut bytes = Vec::new();
    let mut out = age::Encryptor::with_recipients(recipients).unwrap().wrap_output(&mut bytes).unwrap();
    out.write_all(contents).unwrap();
    out.finish().unwrap();
    std::fs::create_dir_all(file(name).parent().unwrap()).unwrap();
    std::fs::write(file(name), bytes).unwrap();
}

/// Those that are encrypted with a code, which is given or not.
fn with_a_code() -> Vec<Vector> {
    let given = |code: &'static str, vector: Vector| Vector { code: Some(code), ..vector };
    let bad = |about, rule, says, bytes| vector(about, Verdict::Rejected(rule, says), 0, bytes);
    let locked = sealed(LOCKED);
    let first_line = b"age-encryption.org/v1\n".len();
    let header = |change: &dyn Fn(String) -> String| {
        let end = locked.windows(5).position(|bytes| bytes == b"\n--- ").unwrap() + 1;
        let stanza = String::from_utf8(locked[first_line..end].to_vec()).unwrap();
        [&locked[..first_line], change(stanza).as_bytes(), &locked[end..]].concat()
    };
    let work = |work: &str| header(&|stanza| stanza.replacen(&format!(" {WORK}\n"), &format!(" {work}\n"), 1));
    let beside = "-> ssh-ed25519 AAAAAA AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n";
    vec![
        given(CODE, vector("encrypted with the code that is given", Verdict::Accepted, 0, locked.clone())),
        given("ABAN act zoo, zebra ACTI  wrong", {
            vector("encrypted with a code that is typed otherwise", Verdict::Accepted, 0, locked.clone())
        }),
        bad("encrypted with a code that is not given", "3", "encrypted with a code", locked.clone()),
        given("abandon-act-zoo-zebra-action-zoo", {
            bad("encrypted with another code", "3", "the code doesn't open the bundle", locked.clone())
        }),
        given(
            CODE,
            bad("a code that asks for more work than may be", "9.15", "the work that its code asks for", work("19")),
        ),
        given(
            CODE,
            bad("a code that asks for less work than it was made with", "3", "the code doesn't open", work("15")),
        ),
        given(CODE, bad("work in another form", "9.2", "its encryption", work("016"))),
        given(CODE, {
            bad("a key beside a code", "9.2", "its encryption", header(&|stanza| format!("{stanza}{beside}")))
        }),
    ]
}

/// A file of these bytes, of which the honest bundle is taken, or that is refused.
fn vector(about: &str, verdict: Verdict, held: usize, bytes: Vec<u8>) -> Vector {
    let taken = verdict == Verdict::Accepted || held > 0;
    let after = if taken { Draft::honest().after } else { base_mailbox() };
    let mut vector = Draft::delta().finish("encrypted", about, verdict);
    (vector.bytes, vector.held, vector.after) = (bytes, held, after);
    vector
}

pub fn vectors() -> Vec<Vector> {
    let good = |about, bytes| vector(about, Verdict::Accepted, 0, bytes);
    let bad = |about, rule, says, bytes| vector(about, Verdict::Rejected(rule, says), 0, bytes);
    let honest_one = sealed("honest");
    let cut = |length: usize| honest_one[..length].to_vec();
    let flipped = |at: usize| {
        let mut bytes = honest_one.clone();
        bytes[at] ^= 1;
        bytes
    };
    let length = honest_one.len();
    let mac = honest_one.windows(5).position(|bytes| bytes == b"\n--- ").unwrap() + 5;
    let mut vectors = vec![
        good("an encrypted bundle", honest_one.clone()),
        good("without the mark behind it", sealed("without-a-mark")),
        good("one that others can open as well", sealed("for-many")),
        good("two of them", [honest_one.clone(), sealed("later")].concat()),
        good("behind one that is not encrypted", [honest(), sealed("later")].concat()),
        bad("for the sender alone", "3", "encrypted for others", sealed("for-the-sender-alone")),
        bad("for others, and cut off behind its header", "3", "encrypted for others", {
            let bytes = sealed("for-the-sender-alone");
            bytes[..bytes.len() - 9].to_vec()
        }),
        bad("with nothing in it", "9.1", "nothing there", sealed("of-nothing")),
        bad("with a mail in it", "9.1", "not a bundle", sealed("of-a-mail")),
        bad("another version of age", "9.1", "not a bundle", {
            let mut bytes = honest_one.clone();
            bytes[20] = b'2';
            bytes
        }),
        bad("cut off in its first line", "9.2", "cut off", cut(12)),
        bad("cut off in its header", "9.2", "cut off", cut(60)),
        bad("cut off behind its header", "9.2", "cut off", cut(mac + 44 + 8)),
        bad("without its last byte", "9.2", "cut off", cut(length - 1)),
        bad("without its mark and what is behind that", "9.2", "cut off", cut(length - 48)),
        bad("a byte of it was changed", "9.2", "changed after it was encrypted", flipped(length - 80)),
        bad("a byte of its mark was changed", "9.2", "changed after it was encrypted", flipped(length - 40)),
        bad("its nonce was changed", "9.2", "changed after it was encrypted", flipped(mac + 44 + 3)),
        bad("a header that is no text", "9.2", "its encryption", {
            let mut bytes = honest_one.clone();
            bytes[mac - 1] = 0xff;
            bytes
        }),
        bad("its header was changed", "9.2", "its encryption", flipped(mac + 3)),
        bad("the bundle in it is cut off", "9.2", "cut off", sealed("of-one-that-is-cut-off")),
        bad("two in one age file", "9.6", "something stands behind it", sealed("two")),
        bad(
            "something behind it in its age file",
            "9.6",
            "something stands behind it",
            sealed("with-something-behind"),
        ),
        bad("something behind its mark", "9.6", "something stands behind it", sealed("with-something-behind-its-mark")),
        bad("one that is not encrypted behind it", "9.6", "behind the bundle isn't encrypted", {
            [honest_one.clone(), later()].concat()
        }),
        bad("one that more can open than may", "9.15", "the number of those who can open it", sealed("for-too-many")),
        bad("a header of more than 32 KiB", "9.15", "the header of the encryption", {
            let stanza = format!("-> x {}\n\n", "y".repeat(40 << 10));
            [&b"age-encryption.org/v1\n"[..], stanza.as_bytes(), b"--- x\n"].concat()
        }),
    ];
    vectors.extend(with_a_code());
    vectors
}
