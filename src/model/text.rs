//! The text forms of the model's types: fixed-width lower-case hexadecimal, and serde by way of `Display` and
//! `FromStr`.

use std::fmt;

/// A text that has not the form that it should have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}")]
pub struct ParseError {
    what: &'static str,
    why: String,
}

impl ParseError {
    pub(crate) fn new(what: &'static str, why: impl Into<String>) -> Self {
        Self { what, why: why.into() }
    }
}

/// Parses exactly 16 lower-case hexadecimal digits.
pub(crate) fn parse_hex_u64(what: &'static str, text: &str) -> Result<u64, ParseError> {
    let mut bytes = [0; 8];
    parse_hex(what, text, &mut bytes)?;
    Ok(u64::from_be_bytes(bytes))
}

/// Parses exactly `2 * out.len()` lower-case hexadecimal digits.
pub(crate) fn parse_hex(what: &'static str, text: &str, out: &mut [u8]) -> Result<(), ParseError> {
    let digits = text.as_bytes();
    if digits.len() != out.len() * 2 {
        return Err(ParseError::new(
            what,
            format!("{} hexadecimal digits expected, {} found", out.len() * 2, digits.len()),
        ));
    }
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        let (Some(high), Some(low)) = (digit(pair[0]), digit(pair[1])) else {
            return Err(ParseError::new(what, "a character that is not a lower-case hexadecimal digit"));
        };
        *byte = high << 4 | low;
    }
    Ok(())
}

fn digit(c: u8) -> Option<u8> {
    match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    }
}

/// Writes bytes as lower-case hexadecimal digits.
pub(crate) fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut buffer = [0; 64];
    for chunk in bytes.chunks(32) {
        for (pair, byte) in buffer.chunks_exact_mut(2).zip(chunk) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        f.write_str(std::str::from_utf8(&buffer[..chunk.len() * 2]).expect("hexadecimal digits are ASCII"))?;
    }
    Ok(())
}

/// Implements serde for types whose JSON form is the string that `Display` writes and `FromStr` reads.
macro_rules! serde_as_text {
    ($($type:ty),+) => {$(
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl serde::de::Visitor<'_> for Visitor {
                    type Value = $type;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("a string")
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Visitor)
            }
        }
    )+};
}
pub(crate) use serde_as_text;
