//! The verbs about the replica's own key.

use age::secrecy::{ExposeSecret, SecretString};

use super::Replica;
use super::keyring::{is_same, relock};
use crate::error::{Error, Result};

/// What becomes of the passphrase of a replica's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passphrase {
    /// A person is asked for another one.
    Ask,
    /// It is taken away: whoever can read the key can use it.
    Remove,
}

impl Replica {
    /// Gives the replica's keys, the present one and former ones, another passphrase, or takes it away. A person is
    /// asked for the old and the new one.
    ///
    /// # Errors
    /// There is nobody to ask, or the old passphrase is wrong. Then nothing was changed.
    pub fn change_passphrase(&self, passphrase: Passphrase) -> Result<()> {
        let old = if self.keys.any_is_locked() { Some(self.ask("Present passphrase:")?) } else { None };
        if let Some(old) = &old {
            self.keys.check_passphrase(old)?;
        }
        let new = match passphrase {
            Passphrase::Remove => None,
            Passphrase::Ask => Some(self.ask_for_new()?),
        };
        relock(&*self.world.disk, &self.keys, old.as_ref(), new.as_ref())
    }

    fn ask_for_new(&self) -> Result<SecretString> {
        let new = self.ask("New passphrase:")?;
        if new.expose_secret().is_empty() {
            return Err(Error::usage("changing the passphrase: an empty one protects nothing")
                .advise("give one, or take it away with `mailsync key passphrase --remove`"));
        }
        if is_same(&new, &self.ask("The same again:")?) {
            return Ok(new);
        }
        Err(Error::usage("changing the passphrase: the two that were typed differ")
            .advise("run this again; nothing was changed"))
    }

    fn ask(&self, question: &str) -> Result<SecretString> {
        self.world.ask.secret(question)?.ok_or_else(|| {
            Error::failed("changing the passphrase: there is no terminal to ask for it").advise("run this at one")
        })
    }

    /// Tells which former keys could not be opened.
    pub(super) fn note_left_locked(&self) {
        for path in self.keys.left_locked() {
            self.note(format!(
                "the former key {} has another passphrase than the present one, and opens nothing: `mailsync key passphrase` \
                 gives all keys the same",
                path.display()
            ));
        }
    }
}
