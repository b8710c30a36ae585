//! Whether a bundle is encrypted, and for whom: the option decides, then the peer's rule, then the general one.

use super::options::{ReadableBy, Secrecy};
use super::recipient::Recipient;
use crate::bundle::{Code, PublicKey};
use crate::config::Encrypt;
use crate::error::{Error, Result};
use crate::replica::Replica;

/// Where a bundle goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target<'p> {
    /// A stream: standard output, a pipe or a device.
    Stream,
    /// A file that stays.
    File,
    /// A file in this directory.
    Directory(&'p std::path::Path),
}

/// Those who can open an encrypted bundle.
#[derive(Clone, Debug)]
pub(super) enum Readers {
    /// The holders of these keys: this replica among them, so that it can tell its own bundles later. With their names here,
    /// without this replica's.
    Keys(Vec<PublicKey>, Vec<String>),
    /// Whoever has this code, and nobody else: age lets nothing stand beside a code.
    Code(Code),
}

impl Readers {
    /// At most so many bytes are before the encrypted bundle. Each stanza takes 110, and the rest is age's.
    pub(super) fn header_bytes(&self) -> u64 {
        let stanzas = match self {
            Self::Keys(keys, _) => keys.len(),
            Self::Code(_) => 1,
        };
        1024 + 128 * stanzas as u64
    }

    /// The same, for people.
    pub(super) fn readable(readers: Option<&Self>) -> ReadableBy {
        match readers {
            None => ReadableBy::Anybody,
            Some(Self::Keys(_, names)) => ReadableBy::Peers(names.clone()),
            Some(Self::Code(_)) => ReadableBy::CodeHolders,
        }
    }
}

impl Replica {
    /// Those for whom a bundle is to be encrypted. `None` if it is not. An invitation of somebody whose key isn't known
    /// gets a code, which is drawn here.
    ///
    /// # Errors
    /// It is to be encrypted for a replica whose key is not known.
    pub(super) fn who_can_open(
        &self,
        asked: Option<Secrecy>,
        to: &Recipient,
        is_invitation: bool,
        target: Target<'_>,
    ) -> Result<Option<Readers>> {
        let peers = to.peers();
        let names = peers.iter().map(|peer| peer.name.as_str()).chain(to.name());
        let rules: Vec<Encrypt> = names.map(|name| self.encrypt_rule(name)).collect();
        let rules = if rules.is_empty() { vec![self.config.encrypt] } else { rules };
        if !is_encrypted(asked, &rules, target != Target::Stream) {
            return Ok(None);
        }
        if is_invitation && matches!(to, Recipient::Invited(_)) {
            return Ok(Some(Readers::Code(Code::draw(|| (self.world.random)()))));
        }
        if peers.is_empty() {
            return Err(no_key_to_encrypt_for(to));
        }
        let names = peers.iter().map(|peer| peer.name.clone()).collect();
        let mut keys: Vec<PublicKey> = peers.iter().map(|peer| peer.public_key.clone()).collect();
        keys.push(self.public_key());
        Ok(Some(Readers::Keys(keys, names)))
    }

    /// Whether a person is still to be told that a bundle in a file is not encrypted. It is asked by whoever tells it: from
    /// then on it is told.
    ///
    /// # Errors
    /// The state can't be read or written.
    pub fn is_first_plain_file(&self) -> Result<bool> {
        if self.state.was_told_of_plain_files()? {
            return Ok(false);
        }
        let tx = self.begin()?;
        tx.set_told_of_plain_files()?;
        tx.commit()?;
        Ok(true)
    }

    /// What the configuration says of bundles for a peer.
    fn encrypt_rule(&self, peer: &str) -> Encrypt {
        self.config.peer.get(peer).and_then(|peer| peer.encrypt).unwrap_or(self.config.encrypt)
    }

    /// Whether the answer to a peer, on standard output, is for its eyes only.
    pub(in crate::replica) fn answers_secretly(&self, peer: &str) -> bool {
        is_encrypted(None, &[self.encrypt_rule(peer)], false)
    }
}

/// Nobody's key is known for whom a bundle is.
fn no_key_to_encrypt_for(to: &Recipient) -> Error {
    let guests: Vec<&str> = to.guests().iter().map(|invited| invited.name.as_str()).collect();
    let (whom, one) = (guests.join(", "), guests.len() == 1);
    let why = if one {
        "was invited and has not answered, so its key is"
    } else {
        "were invited and have not answered, so their keys are"
    };
    let (it, its) = if one { ("it", "its first bundle") } else { ("them", "the first bundle of one of them") };
    Error::refused(format!("exporting: {whom} {why} not known here, and nothing can be encrypted for {it}"))
        .advise(format!("import {its}, or give --plain: then whoever gets the bundle for {whom} can read it"))
}

/// Whether a bundle is encrypted. Of several rules the strictest counts.
fn is_encrypted(asked: Option<Secrecy>, rules: &[Encrypt], to_file: bool) -> bool {
    let by_rule = |rule: &Encrypt| match rule {
        Encrypt::Always => true,
        Encrypt::Files => to_file,
        Encrypt::Never => false,
    };
    asked.map_or_else(|| rules.iter().any(by_rule), |asked| asked == Secrecy::Encrypted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_decides_and_then_the_strictest_rule() {
        use Encrypt::{Always, Files, Never};
        let (yes, no) = (Some(Secrecy::Encrypted), Some(Secrecy::Plain));
        let table: [(_, &[Encrypt], _, _); 12] = [
            (None, &[Files], true, true),
            (None, &[Files], false, false),
            (None, &[Always], false, true),
            (None, &[Always], true, true),
            (None, &[Never], true, false),
            (None, &[Never], false, false),
            (None, &[Never, Files], true, true),
            (None, &[Never, Files, Always], false, true),
            (yes, &[Never], false, true),
            (yes, &[Never], true, true),
            (no, &[Always], false, false),
            (no, &[Always, Files], true, false),
        ];
        for (asked, rules, to_file, encrypted) in table {
            assert_eq!(is_encrypted(asked, rules, to_file), encrypted, "{asked:?} {rules:?} file: {to_file}");
        }
    }
}
