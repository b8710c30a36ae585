//! What a file can be by its first bytes.

use super::frame::{OPENING, may_be_frame};
use super::section::MAGIC;

/// What a file can be by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begins {
    /// An encrypted bundle.
    Encrypted,
    /// A bundle that is not encrypted.
    Plain,
    /// No bundle of anybody.
    Otherwise,
}

impl Begins {
    /// So many bytes tell.
    pub const BYTES: u64 = MAGIC.len() as u64;

    /// What a file with these first bytes can be. If they are fewer than [`Begins::BYTES`], these are all, or all that
    /// have come yet.
    pub fn of(first: &[u8]) -> Self {
        if first.starts_with(MAGIC) || MAGIC.starts_with(first) {
            Self::Encrypted
        } else if may_be_frame(&first[..first.len().min(OPENING)]) {
            Self::Plain
        } else {
            Self::Otherwise
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_what_can_be_no_bundle() {
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x04, 0x58, 0, 0];
        let with = |at: usize, byte: u8| {
            let mut other = frame;
            other[at] = byte;
            other.to_vec()
        };
        let table: [(&[u8], Begins); 13] = [
            (b"", Begins::Encrypted),
            (b"age-enc", Begins::Encrypted),
            (b"age-encryption.org/v1\n-> ", Begins::Encrypted),
            (b"age-encryption.org/v2\n-> ", Begins::Otherwise),
            (b"age of reason", Begins::Otherwise),
            (&frame, Begins::Plain),
            (&frame[..6], Begins::Plain),
            (&frame[..5], Begins::Plain),
            (&frame[..1], Begins::Plain),
            (&with(0, 0x29), Begins::Otherwise),
            // No checksum, a dictionary, a window that is too large.
            (&with(4, 0x00), Begins::Otherwise),
            (&with(4, 0x05), Begins::Otherwise),
            (&with(5, 0xff), Begins::Otherwise),
        ];
        for (first, begins) in table {
            assert_eq!(Begins::of(first), begins, "{first:?}");
        }
    }
}
