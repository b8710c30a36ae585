//! What a person knows a mail by: who wrote it, what about, and when.

use std::fmt;
use std::io::{self, Write};

use mail_parser::{HeaderName, MessageParser};

use crate::text::printable;

/// Sender, subject, date and Message-ID of a mail, made fit for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headline {
    /// The sender's name, or the address of one without a name.
    pub from: Option<String>,
    /// The sender's address.
    pub address: Option<String>,
    /// The subject.
    pub subject: Option<String>,
    /// The date that the sender has set, in milliseconds since 1970 UTC.
    pub date: Option<u64>,
    /// The Message-ID, without its angle brackets.
    pub message_id: Option<String>,
}

impl fmt::Display for Headline {
    /// Sender and subject, in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_dash = |text: &Option<String>| text.as_deref().unwrap_or("-").to_owned();
        write!(f, "{}: {}", or_dash(&self.from), or_dash(&self.subject))
    }
}

impl Headline {
    /// So many bytes from the beginning of a file are looked at.
    pub const LOOKS_AT: u64 = 64 << 10;

    /// Reads the headline from the beginning of a mail. What isn't there, or can't be understood, is left out.
    pub fn read(beginning: &[u8]) -> Self {
        let parser = MessageParser::new()
            .header_address(HeaderName::From)
            .header_text(HeaderName::Subject)
            .header_date(HeaderName::Date)
            .header_id(HeaderName::MessageId)
            .default_header_ignore();
        let Some(message) = parser.parse_headers(beginning) else { return Self::default() };
        // A text of blanks only says nothing.
        let fit = |text: &str| {
            let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
            (!words.is_empty()).then(|| printable(&words))
        };
        let sender = message.from().and_then(|from| from.first());
        let address = sender.and_then(|sender| sender.address()).and_then(fit);
        let date = message.date().and_then(|date| u64::try_from(date.to_timestamp()).ok());
        Self {
            from: sender.and_then(|sender| sender.name()).and_then(fit).or_else(|| address.clone()),
            address,
            subject: message.subject().and_then(fit),
            date: date.and_then(|seconds| seconds.checked_mul(1000)),
            message_id: message.message_id().and_then(fit),
        }
    }
}

/// Takes a message as it comes, and keeps no more of it than its header, as far as a [`Headline`] looks at that.
#[derive(Debug, Default)]
pub struct Head(Vec<u8>);

impl Head {
    /// The header, with the empty line at its end if there is one.
    pub fn bytes(&self) -> &[u8] {
        let ends =
            |blank: &[u8]| self.0.windows(blank.len()).position(|bytes| bytes == blank).map(|at| at + blank.len());
        let end = ends(b"\n\n").into_iter().chain(ends(b"\n\r\n")).min();
        &self.0[..end.unwrap_or(self.0.len())]
    }
}

impl Write for Head {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let most = usize::try_from(Headline::LOOKS_AT).unwrap_or(usize::MAX);
        let room = most.saturating_sub(self.0.len());
        self.0.extend_from_slice(&bytes[..bytes.len().min(room)]);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_is_known_by_its_sender_and_subject_in_any_charset() {
        let mail = b"Received: from somewhere\r\nFrom: =?iso-8859-1?Q?J=FCrgen?= <j@example.org>\r\n\
            Subject: =?utf-8?B?R3LDvMOfZQ==?=\r\n =?utf-8?Q?_aus_K=C3=B6ln?=\r\nDate: Sat, 28 Nov 2026 18:00:00 +0100\r\n\
            Message-ID: <one@example.org>\r\n\r\nSubject: none\r\n";
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            Headline::read(mail),
            Headline {
                from: text("Jürgen"),
                address: text("j@example.org"),
                subject: text("Grüße aus Köln"),
                date: Some(1_795_885_200_000),
                message_id: text("one@example.org"),
            }
        );
        let plain = Headline::read(b"From: someone@example.org\nSubject:   two\n  words \n\nbody");
        assert_eq!((plain.from, plain.subject), (text("someone@example.org"), text("two words")));
    }

    #[test]
    fn of_a_message_that_comes_in_pieces_its_header_is_kept() {
        for (pieces, kept) in [
            (&["From: a\nSub", "ject: b\n", "\nbody\n\n"][..], "From: a\nSubject: b\n\n"),
            (&["From: a\r\n\r\nbody\n\nmore"], "From: a\r\n\r\n"),
            (&["From: a\n"], "From: a\n"),
            (&[], ""),
        ] {
            let mut head = Head::default();
            for piece in pieces {
                head.write_all(piece.as_bytes()).unwrap();
            }
            assert_eq!(head.bytes(), kept.as_bytes());
        }
        let mut head = Head::default();
        head.write_all(&vec![b'x'; 100_000]).unwrap();
        assert_eq!(head.bytes().len() as u64, Headline::LOOKS_AT);
    }

    #[test]
    fn what_is_no_mail_or_hostile_has_a_harmless_headline() {
        for nothing in [&b""[..], b"\n", b"no mail at all", b"From:\nSubject: \n\n", &[0xff; 300]] {
            assert_eq!(Headline::read(nothing), Headline::default(), "{nothing:?}");
        }
        let hostile = b"From: \x1b[2J <a@b>\nSubject: =?utf-8?Q?=1B[2Ja=E2=80=AEb?=\nDate: never\nMessage-ID: <\n\n";
        let read = Headline::read(hostile);
        for text in [&read.from, &read.subject].into_iter().flatten() {
            assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
        }
        assert_eq!(read.date, None);
        // Cut in the middle of a word.
        let cut = Headline::read(b"Subject: =?utf-8?B?R3LDvM");
        assert!(cut.subject.is_none_or(|subject| subject.len() < 40));
    }
}
