//! Encryption for certain replicas only, however many pass a bundle on: an age file (age-encryption.org/v1) for their
//! ed25519 keys, which `age -d -i KEY` opens too.

use std::fmt;
use std::io::{self, BufReader, Read, Write};

use super::{Code, Keys, PublicKey, limits};

/// Encrypts what is written to it; [`Sealer::finish`] ends it.
pub struct Sealer<W: Write>(age::stream::StreamWriter<W>);

impl<W: Write> Sealer<W> {
    /// Begins to encrypt, for these replicas only.
    ///
    /// # Errors
    /// A key can't be encrypted to, or `out` fails.
    pub fn new(readers: &[PublicKey], out: W) -> io::Result<Self> {
        let mut recipients: Vec<age::ssh::Recipient> = Vec::new();
        for reader in readers {
            let line = reader.to_openssh();
            // age wants the key without its comment.
            let key = line.splitn(3, ' ').take(2).collect::<Vec<_>>().join(" ");
            recipients
                .push(key.parse().map_err(|error| io::Error::other(format!("the key of {}: {error:?}", reader.id())))?);
        }
        Self::begin(recipients.iter().map(|recipient| recipient as &dyn age::Recipient), out)
    }

    /// Begins to encrypt with a code, for whoever has it.
    ///
    /// # Errors
    /// `out` fails.
    pub fn with_code(code: &Code, out: W) -> io::Result<Self> {
        let mut recipient = age::scrypt::Recipient::new(code.passphrase());
        recipient.set_work_factor(limits::DEFAULT_CODE_WORK);
        Self::begin(std::iter::once(&recipient as &dyn age::Recipient), out)
    }

    fn begin<'r>(recipients: impl Iterator<Item = &'r dyn age::Recipient>, out: W) -> io::Result<Self> {
        let encryptor = age::Encryptor::with_recipients(recipients).map_err(io::Error::other)?;
        Ok(Self(encryptor.wrap_output(out)?))
    }

    /// Writes the end. Without it the file counts as cut off.
    pub fn finish(self) -> io::Result<W> {
        self.0.finish()
    }
}

impl<W: Write> Write for Sealer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<W: Write> fmt::Debug for Sealer<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer")
    }
}

/// Opens a file that was sealed for one of these keys. Every byte that it gives was authenticated. A file that was cut
/// off gives an error at its end.
pub fn unseal<R: Read>(keys: &Keys, mut sealed: R) -> io::Result<impl Read + use<R>> {
    let mut head = Vec::new();
    sealed.by_ref().take(limits::SEALED_HEADER_BYTES).read_to_end(&mut head)?;
    // The line that ends the header begins like this (age-encryption.org/v1, "Header").
    if !head.windows(5).any(|bytes| bytes == b"\n--- ") {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is not encrypted, or its header has no end"));
    }
    let identities = keys.named_in(&head)?;
    let sealed = io::Cursor::new(head).chain(sealed);
    let decryptor = age::Decryptor::new_buffered(BufReader::new(sealed)).map_err(opening)?;
    decryptor.decrypt(identities.iter().map(|key| &**key as &dyn age::Identity)).map_err(opening)
}

fn opening(error: age::DecryptError) -> io::Error {
    match error {
        age::DecryptError::Io(error) => error,
        other => io::Error::new(io::ErrorKind::InvalidData, format!("it can't be decrypted: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::PrivateKey;
    use super::*;

    fn unseal<R: Read>(key: &PrivateKey, sealed: R) -> io::Result<impl Read + use<R>> {
        super::unseal(&Keys::of([key]), sealed)
    }

    fn seal(readers: &[PublicKey], bytes: &[u8]) -> Vec<u8> {
        let mut sealer = Sealer::new(readers, Vec::new()).unwrap();
        sealer.write_all(bytes).unwrap();
        sealer.finish().unwrap()
    }

    #[test]
    fn what_was_sealed_is_read_by_those_it_was_sealed_for_only() {
        let [one, two, other] = ["one", "two @ home", ""].map(|name| PrivateKey::generate(name).unwrap());
        let text = b"From: me\n\nHello.\n".repeat(10_000);
        let sealed = seal(&[one.public_key(), two.public_key()], &text);
        for key in [&one, &two] {
            let mut read = Vec::new();
            unseal(key, &sealed[..]).unwrap().read_to_end(&mut read).unwrap();
            assert_eq!(read, text);
        }
        assert!(unseal(&other, &sealed[..]).is_err());
        assert_ne!(
            sealed,
            seal(&[one.public_key(), two.public_key()], &text),
            "nobody can tell that both hold the same"
        );
    }

    #[test]
    fn what_was_cut_off_or_changed_is_not_taken_for_whole() {
        let key = PrivateKey::generate("").unwrap();
        let sealed = seal(&[key.public_key()], &b"Hello.\n".repeat(20_000));
        let mut changed = sealed.clone();
        *changed.last_mut().unwrap() ^= 1;
        for wrong in [&sealed[..sealed.len() - 1], &sealed[..sealed.len() / 2], &changed] {
            let read = unseal(&key, wrong).and_then(|mut reader| reader.read_to_end(&mut Vec::new()));
            assert!(read.is_err());
        }
        assert!(unseal(&key, &b"no age file"[..]).is_err());
        let stanzas = b"-> ssh-ed25519 xxxxxx xxxx\nxxxx\n".repeat(10_000);
        let absurd = [&b"age-encryption.org/v1\n"[..], &stanzas, b"--- xxxx\n"].concat();
        assert!(unseal(&key, &absurd[..]).is_err(), "its header is not even looked at");
    }
}
