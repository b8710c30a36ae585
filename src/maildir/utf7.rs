//! IMAP's modified UTF-7, in which Dovecot and Courier write the names of folders on disk (RFC 3501, section 5.1.3).
//!
//! Printable ASCII stands for itself, except `&`, which is `&-`; everything else is UTF-16, big-endian, in Base64 with
//! `,` instead of `/` and without padding, between `&` and `-`.

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

/// Writes text as modified UTF-7.
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    let mut pending = Vec::new();
    for character in text.chars() {
        if matches!(character, ' '..='~') {
            shift(&mut encoded, &mut pending);
            encoded.push(character);
            if character == '&' {
                encoded.push('-');
            }
        } else {
            pending.extend_from_slice(character.encode_utf16(&mut [0; 2]));
        }
    }
    shift(&mut encoded, &mut pending);
    encoded
}

/// Writes the pending characters, which are not printable ASCII.
fn shift(encoded: &mut String, pending: &mut Vec<u16>) {
    if pending.is_empty() {
        return;
    }
    let bytes: Vec<u8> = pending.drain(..).flat_map(u16::to_be_bytes).collect();
    encoded.push('&');
    for group in bytes.chunks(3) {
        let byte = |i: usize| u32::from(group.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..=group.len() {
            encoded.push(char::from(DIGITS[(bits >> (18 - 6 * digit) & 63) as usize]));
        }
    }
    encoded.push('-');
}

/// Reads modified UTF-7. `None` if [`encode`] writes these bytes for no text, since every text has one form only.
pub fn decode(bytes: &[u8]) -> Option<String> {
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'&' {
            text.push(char::from(first));
            continue;
        }
        let end = rest.iter().position(|&c| c == b'-')?;
        if end == 0 {
            text.push('&');
        } else {
            let units = base64(&rest[..end])?;
            text.extend(char::decode_utf16(units).collect::<Result<Vec<_>, _>>().ok()?);
        }
        rest = &rest[end + 1..];
    }
    (encode(&text).as_bytes() == bytes).then_some(text)
}

fn base64(digits: &[u8]) -> Option<Vec<u16>> {
    let (mut bits, mut held, mut units) = (0_u32, 0, Vec::new());
    for digit in digits {
        let value = DIGITS.iter().position(|d| d == digit)?;
        bits = bits << 6 | u32::try_from(value).ok()?;
        held += 6;
        if held >= 16 {
            held -= 16;
            units.push(u16::try_from(bits >> held & 0xffff).ok()?);
            bits &= (1 << held) - 1;
        }
    }
    Some(units)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_names_are_written_as_other_programs_write_them() {
        for (text, encoded) in [
            ("INBOX", "INBOX"),
            ("Entwürfe", "Entw&APw-rfe"),
            ("Tom & Jerry", "Tom &- Jerry"),
            // The example of RFC 3501.
            ("~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
            ("Отправленные", "&BB4EQgQ,BEAEMAQyBDsENQQ9BD0ESwQ1-"),
            ("📬", "&2D3c7A-"),
        ] {
            assert_eq!(encode(text), encoded);
            assert_eq!(decode(encoded.as_bytes()).as_deref(), Some(text));
        }
    }

    #[test]
    fn what_has_another_form_is_not_accepted() {
        // ASCII in Base64, no end, two shifts in a row, padding bits, half a pair, raw 8-bit, a stray character.
        for wrong in ["&AGE-", "&APw", "&APw-&APw-", "&APx-", "&2D0-", "&A-", "&AP/8-", "&=-", "\u{fc}", "a\tb"] {
            assert_eq!(decode(wrong.as_bytes()), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn every_text_reads_back(text: String) {
            let encoded = encode(&text);
            prop_assert!(encoded.bytes().all(|c| matches!(c, b' '..=b'~')));
            prop_assert_eq!(decode(encoded.as_bytes()), Some(text));
        }

        #[test]
        fn what_is_accepted_has_one_form(bytes in "[A-D&,+a-]{0,12}") {
            if let Some(text) = decode(bytes.as_bytes()) {
                prop_assert_eq!(encode(&text), bytes);
            }
        }
    }
}
