//! What is no bundle, by its first bytes: what it is mostly, for whoever has named the wrong file, or has something else come
//! before a bundle.

/// So many bytes are kept of what is no bundle: no more are shown.
pub(super) const SHOWN: usize = 80;
/// So much of a text is shown where its name is known, in characters: the line that tells it is to fit a terminal.
const EXCERPT: usize = 40;

/// The first bytes of what is no bundle: at least one, and [`SHOWN`] at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstBytes(Vec<u8>);

/// Kinds of files that people have, by what they begin with.
const KINDS: [(&[u8], &str); 20] = [
    (b"\x1f\x8b", "a file that gzip has compressed"),
    (b"BZh", "a file that bzip2 has compressed"),
    (b"\xfd7zXZ\0", "a file that xz has compressed"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\x89PNG", "a PNG picture"),
    (b"GIF8", "a GIF picture"),
    (b"%PDF-", "a PDF document"),
    (b"SQLite format 3\0", "a database, such as the state of a replica"),
    (b"-----BEGIN OPENSSH PRIVATE KEY", "a private key, which is nobody's but its owner's"),
    (b"-----BEGIN AGE ENCRYPTED FILE", "an age file that was made a text, with --armor"),
    (b"age-encryption.org/", "an age file of another version"),
    (b"ssh-ed25519 ", "a public key, which `mailsync peer add NAME --key FILE` takes"),
    (b"From ", "an mbox, which holds mails"),
    (b"From: ", "a mail"),
    (b"Return-Path: ", "a mail"),
    (b"Received: ", "a mail"),
    (b"Delivered-To: ", "a mail"),
    (b"\0\0\0\0\0\0\0\0", "a file that begins with zeros, as one does that was not written to its end"),
];

impl FirstBytes {
    /// The first bytes of something, as far as they are kept.
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self(bytes[..bytes.len().min(SHOWN)].to_vec())
    }

    /// What it seems to be, for people: "a JPEG picture". `None` if these bytes don't tell.
    pub fn looks_like(&self) -> Option<String> {
        let kind = KINDS.iter().find(|(begins, _)| self.0.starts_with(begins)).map(|(_, kind)| (*kind).to_owned());
        kind.or_else(|| self.text().map(|text| format!("a text, which begins with \"{text}\"")))
    }

    /// The beginning of its first line that isn't empty, if it is a text.
    fn text(&self) -> Option<String> {
        let text = whole_characters(&self.0)?;
        let is_odd = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\u{1b}');
        let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
        (!text.contains(is_odd)).then(|| crate::text::beginning(line, EXCERPT))
    }

    /// The same without the blanks that stand before anything that can be seen.
    pub(super) fn without_blanks(&self) -> Self {
        let seen = self.0.trim_ascii_start();
        if seen.is_empty() { self.clone() } else { Self(seen.to_vec()) }
    }

    /// The first line, in quotation marks and made printable.
    pub fn quoted(&self) -> String {
        let line = self.0.iter().position(|&byte| byte == b'\n').unwrap_or(self.0.len());
        let shown = &self.0[..line];
        let escaped = whole_characters(shown)
            .map_or_else(|| shown.escape_ascii().to_string(), |text| text.escape_debug().to_string());
        format!("\"{escaped}\"")
    }
}

/// These bytes as a text, of which the last character may be cut off.
fn whole_characters(bytes: &[u8]) -> Option<&str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) if error.error_len().is_none() => std::str::from_utf8(&bytes[..error.valid_up_to()]).ok(),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_bundle_is_shown_by_its_first_line() {
        let long = "é".repeat(100);
        let cut = format!("\"{}\"", "é".repeat(40));
        let odd = format!("x{long}");
        let cut_within = format!("\"x{}\"", "é".repeat(39));
        let table: [(&[u8], &str); 7] = [
            (b"Welcome to host!\nbundle", "\"Welcome to host!\""),
            (b"\x1b[2Jclear\r\n", r#""\u{1b}[2Jclear\r""#),
            (b"say \"yes\"", r#""say \"yes\"""#),
            (b"\xff\xfe\0binary", r#""\xff\xfe\x00binary""#),
            (long.as_bytes(), &cut),
            (odd.as_bytes(), &cut_within),
            (b"\n", "\"\""),
        ];
        for (bytes, shown) in table {
            assert_eq!(FirstBytes::of(bytes).quoted(), shown);
        }
    }

    #[test]
    fn blanks_are_shown_only_where_there_is_nothing_else() {
        for (bytes, shown) in [(&b"\n\n logout\n"[..], "\"logout\""), (b"logout", "\"logout\""), (b" \n", "\" \"")] {
            assert_eq!(FirstBytes::of(bytes).without_blanks().quoted(), shown);
        }
    }

    #[test]
    fn what_is_no_bundle_is_called_by_its_name_and_only_a_text_is_shown() {
        let long = "a word ".repeat(20);
        let table: [(&[u8], Option<&str>); 13] = [
            (b"\xff\xd8\xff\xe0\0\x10JFIF", Some("a JPEG picture")),
            (b"\x1f\x8b\x08", Some("a file that gzip has compressed")),
            (b"\xff\xfe\0binary", None),
            (b"\x7fELF", None),
            (b"\n\n", None),
            (&[0; 80], Some(KINDS[19].1)),
            (b"-----BEGIN OPENSSH PRIVATE KEY-----\nsecret", Some(KINDS[10].1)),
            (b"From someone@example.org Sat Nov 28", Some("an mbox, which holds mails")),
            (b"From: someone@example.org\n\n", Some("a mail")),
            (b"\n  Dear \xc3\xa4ll,\nhello", Some("a text, which begins with \"Dear äll,\"")),
            (b"\x1b[2Jclear", Some("a text, which begins with \"\u{fffd}[2Jclear\"")),
            (b"caf\xc3", Some("a text, which begins with \"caf\"")),
            (long.as_bytes(), Some("a text, which begins with \"a word a word a word a word a word a wor…\"")),
        ];
        for (bytes, kind) in table {
            let told = FirstBytes::of(bytes).looks_like();
            assert_eq!(told.as_deref(), kind, "{bytes:?}");
            assert!(told.is_none_or(|told| told.chars().count() < 78), "{bytes:?}");
        }
    }
}
