//! What commands say, in a form that can be kept: a transcript without what is another time otherwise.

use std::fmt::Write;
use std::path::Path;

use super::programs::Ran;

/// The surroundings of a command whose words are kept.
pub const SURROUNDINGS: [(&str, &str); 4] =
    [("TZ", "UTC"), ("COLUMNS", "80"), ("NO_COLOR", "1"), ("LC_ALL", "C.UTF-8")];

/// What a line that was typed at a machine has printed: what people are told stands behind a `!`.
pub fn transcript(machine: &str, line: &str, ran: &Ran) -> String {
    let mut said = format!("{machine}$ {line}\n{}", ran.text());
    for line in ran.stderr.lines() {
        writeln!(said, "! {line}").unwrap();
    }
    if ran.code != 0 {
        writeln!(said, "(exit code {})", ran.code).unwrap();
    }
    said
}

/// Where what is printed differs from what is kept.
pub fn difference(kept: &str, printed: &str) -> Option<String> {
    let differs = kept.lines().zip(printed.lines()).find(|(kept, printed)| kept != printed);
    let shown = differs.map(|(kept, printed)| format!("\n  kept:    {kept}\n  printed: {printed}"));
    shown.or_else(|| (kept != printed).then(|| String::from("it is longer or shorter than what is kept")))
}

/// What was printed, without what is another time otherwise: the directory, times, ids and keys, and the sizes of what is
/// compressed.
pub fn plain(text: &str, dir: &Path) -> String {
    let text = text.replace(dir.to_str().unwrap(), "DIR");
    let mut plain = String::new();
    let mut rest = text.as_str();
    while let Some(next) = rest.chars().next() {
        let begins = plain.chars().last().is_none_or(|last| !last.is_ascii_alphanumeric());
        let found = if begins { token(rest) } else { None };
        let length = found.map_or(next.len_utf8(), |(length, _)| length);
        plain += found.map_or(&rest[..length], |(_, name)| name);
        rest = &rest[length..];
    }
    plain
}

/// The members of documents that tell the size of what is compressed, and what takes their place.
const PACKED: [(&str, &str); 5] = [
    ("file_bytes\": ", "file_bytes\": SIZE"),
    ("file_bytes: ", "file_bytes: SIZE"),
    ("last_sent_bytes\": ", "last_sent_bytes\": SIZE"),
    ("received_bytes\": ", "received_bytes\": SIZE"),
    ("sent_bytes\": ", "sent_bytes\": SIZE"),
];

/// What stands behind the size of what is compressed or encrypted, in texts.
const AFTER_PACKED: [&str; 6] = [" in all", " went there", " came", "\n", ", 1 statement about jobs", ", 1 job"];

/// What stands at the beginning of a text, if it is to be left out: how long it is, and what takes its place.
fn token(text: &str) -> Option<(usize, &'static str)> {
    let shape = |shape: &str| {
        let fits = text.len() >= shape.len()
            && shape.bytes().zip(text.bytes()).all(|(s, t)| if s == b'0' { t.is_ascii_digit() } else { s == t });
        fits.then_some(shape.len())
    };
    let times = ["0000-00-00T00:00:00Z", "0000-00-00 00:00:00+00:00", "0000-00-00 00:00", "0000-00-00"];
    if let Some(length) = times.iter().find_map(|time| shape(time)) {
        return Some((length, "TIME"));
    }
    let run = |fits: fn(u8) -> bool| text.bytes().take_while(|byte| fits(*byte)).count();
    let base64 = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    if let Some(id) = text.strip_prefix("SHA256:") {
        return Some(("SHA256:".len() + id.bytes().take_while(|byte| base64(*byte)).count(), "ID"));
    }
    if text.starts_with("AAAAC3") {
        return Some((run(base64), "KEY"));
    }
    // What is compressed and encrypted has another size each time; what a size in a text is of follows it.
    for (name, plain) in PACKED {
        if let Some(size) = text.strip_prefix(name) {
            let digits = size.bytes().take_while(u8::is_ascii_digit).count();
            return (digits > 0).then_some((name.len() + digits, plain));
        }
    }
    let amount = run(|byte| byte.is_ascii_digit() || byte == b'.');
    if amount > 0
        && let Some(unit) = [" B", " KiB", " MiB"].into_iter().find(|unit| text[amount..].starts_with(unit))
        && AFTER_PACKED.iter().any(|after| text[amount + unit.len()..].starts_with(after))
    {
        return Some((amount + unit.len(), "SIZE"));
    }
    let digits = run(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    (digits >= 12).then_some((digits, "HEX"))
}

#[test]
fn what_is_another_time_otherwise_is_left_out_and_nothing_else() {
    let dir = Path::new("/tmp/scene");
    for (printed, expected) in [
        ("wrote /tmp/scene/a.zst at 2026-11-29T18:00:00Z", "wrote DIR/a.zst at TIME"),
        ("2026-11-29 18:00:00+00:00  scan", "TIME  scan"),
        ("SHA256:4wucPXZkROYAb6yM48hlLe0a45h1oqIu2dPs4H4fOcY!", "ID!"),
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI+/x desktop", "ssh-ed25519 KEY desktop"),
        ("job fdd1487cb7fb is queued", "job HEX is queued"),
        ("\"file_bytes\": 1234,\n\"bytes\": 1234", "\"file_bytes\": SIZE,\n\"bytes\": 1234"),
        ("2 messages of 672 B, 1 statement about jobs", "2 messages of SIZE, 1 statement about jobs"),
        ("2 messages of 672 B, 0 jobs", "2 messages of 672 B, 0 jobs"),
        ("88 entries, deadbeef, 12345678901", "88 entries, deadbeef, 12345678901"),
    ] {
        assert_eq!(plain(printed, dir), expected);
    }
}
