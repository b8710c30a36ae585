//! `key rotate`: another key takes the place of the replica's. The steps on disk stand in an order in which whoever comes
//! next, after a crash, knows which key counts: the state says it, and both keys are there by then.

use super::keyring::{former_files, key_comment, next_id, write};
use super::{Home, Replica};
use crate::bundle::{PrivateKey, PublicKey, ReplicaId, ReplicaLine, ReplicaStatement, StoredKey, Succession};
use crate::disk::{Disk, has_name, remove_if_there, replace_whole};
use crate::error::{Error, Result};
use crate::model::{Digest, Incarnation, WallClock};
use crate::replica::private;
use crate::replica::transaction::Transaction;
use crate::state::{Action, Succeeded};

const AGAIN: &str = "check the directory, then run this again; the key that peers know is still there";

/// A key that took the place of another one.
#[derive(Clone, Debug)]
pub struct Rotated {
    /// The replica's id until then.
    pub old: ReplicaId,
    /// Its key from now on.
    pub new: PublicKey,
    /// The number of the last bundle that the old key has signed.
    pub last: u64,
}

impl Replica {
    /// Makes a new key, which takes the place of the replica's. The old one is kept to read what is encrypted for it.
    /// Peers are told in the next bundles from here: by a statement that both keys have signed.
    ///
    /// # Errors
    /// This replica was revoked, the key can't be opened, or a file can't be written. Then the old one counts as before.
    pub fn rotate_key(&self) -> Result<Rotated> {
        let disk = &*self.world.disk;
        if let Some(out) = self.shut_outs()?.get(&self.public_key().id()) {
            let what = format!(
                "replacing the key: this replica was revoked by {}, and nobody would follow it",
                self.words_of(out)?
            );
            return Err(Error::refused(what).advise(
                "have it reinstated on the others first, with `mailsync peer reinstate`; or make this machine a new replica by an \
                 invitation, with another --home",
            ));
        }
        let old = self.key()?.clone();
        let new = PrivateKey::generate(&key_comment(&self.config.name))
            .map_err(|error| Error::io("making the key", &self.home.key_file(), &*error.to_string()))?;
        self.keep_former(self.keys.stored())?;
        write(disk, &self.home.next_key_file(), &self.keys.locked_alike(&new)?)?;
        let rotated = self.record_rotation(&[old, new.clone()])?;
        put_in_place(disk, &self.home, &new.public_key())?;
        Ok(rotated)
    }

    /// Keeps a key among the former ones.
    fn keep_former(&self, key: &StoredKey) -> Result<()> {
        let (disk, dir) = (&*self.world.disk, self.home.former_keys());
        private::make_dir(disk, &dir).map_err(|error| Error::io("making the directory", &dir, error).advise(AGAIN))?;
        let files = former_files(disk, &self.home)?;
        let digits = &Digest(key.public_key().id().to_bytes()).to_string()[..16];
        // An interrupted rotation has kept it already. The names tell in which order the keys were the replica's.
        let kept = files.iter().find(|file| file.to_string_lossy().ends_with(digits));
        let path = kept.cloned().unwrap_or_else(|| dir.join(format!("{:04}-{digits}", files.len() + 1)));
        write(disk, &path, key)
    }

    /// Records that the last of these keys counts, each of which follows the one before: with the commit it does.
    fn record_rotation(&self, keys: &[PrivateKey]) -> Result<Rotated> {
        let [first, .., newest] = keys else { unreachable!("a key follows another one") };
        let (old, new) = (first.public_key().id(), newest.public_key());
        let last = self.state.last_number()?;
        let tx = self.begin()?;
        for pair in keys.windows(2) {
            self.say_succession(&tx, &pair[0], &pair[1], last)?;
            let [old, new] = [&pair[0], &pair[1]].map(|key| key.public_key().id());
            tx.replace_id(&old, &new)?;
            tx.record(self.now(), Action::KeyRotate, None, &format!("{new} takes the place of {old}"))?;
        }
        tx.set_own_id(&new.id())?;
        tx.nobody_knows_key()?;
        tx.commit()?;
        Ok(Rotated { old, new, last })
    }

    /// Says that a key of this replica follows another one, and signs that with both.
    fn say_succession(&self, tx: &Transaction<'_>, old: &PrivateKey, new: &PrivateKey, last: u64) -> Result<()> {
        let stamp = tx.issue(self.now())?;
        let incarnation = self.state.incarnation()?;
        let at = self.now().clamp(1, crate::bundle::limits::JOB_TIME);
        let (old_key, new_key) = (old.public_key(), new.public_key().bare());
        let succession = Succession { old: old_key.id(), new: new_key.clone(), incarnation, last, at };
        let line = ReplicaLine::succeed(stamp, &succession, old, new)
            .map_err(|error| Error::failed(format!("signing that the key is replaced: {error}")))?;
        self.say_of_replica(tx, "replacing the key", ReplicaStatement::Succession(succession), line)?;
        let (next, now) = (new_key.id(), new_key.id());
        tx.set_succeeded(&Succeeded {
            old: old_key.id(),
            next,
            now,
            public_key: old_key.bare(),
            incarnation,
            last,
            at,
            rival: None,
            settled: false,
        })
    }

    /// The key that this command has read must be the present one still: while it let others work, one of them may have
    /// replaced it.
    ///
    /// # Errors
    /// It was replaced.
    pub(super) fn check_key_counts(&self) -> Result<()> {
        match self.state.own_id()? {
            Some(id) if id != self.public_key().id() => Err(Error::failed(format!(
                "signing with the key {}: it was replaced meanwhile",
                self.public_key().id()
            ))
            .advise("run this again; nothing is lost")),
            _ => Ok(()),
        }
    }

    /// Makes the files of the keys and the state agree, which an interrupted rotation or a backup may have parted.
    ///
    /// # Errors
    /// The present key is not there.
    pub(super) fn settle_keys(&self) -> Result<()> {
        let (disk, home) = (&*self.world.disk, &self.home);
        let present = self.public_key().id();
        let recorded = self.state.own_id()?;
        if let Some(next) = next_id(disk, home)? {
            if next == present {
                put_in_place(disk, home, &self.public_key())?;
            } else {
                // The rotation was never recorded: nobody has heard of that key.
                let path = home.next_key_file();
                remove_if_there(disk.unlink(&path))
                    .map_err(|error| Error::io("removing", &path, error).advise(AGAIN))?;
            }
        }
        match recorded {
            Some(id) if id == present => Ok(()),
            None => {
                let tx = self.begin()?;
                tx.set_own_id(&present)?;
                tx.commit()
            }
            Some(id) if self.keys.is_mine(&id) => self.resume_from_former(&id),
            Some(id) => Err(self.other_key(&id)),
        }
    }

    /// The error if the key is not the one that the state goes with.
    ///
    /// # Errors
    /// It is not.
    pub(super) fn check_key(&self) -> Result<()> {
        match self.state.own_id()? {
            Some(id) if id != self.public_key().id() && !self.keys.is_mine(&id) => Err(self.other_key(&id)),
            _ => Ok(()),
        }
    }

    fn other_key(&self, recorded: &ReplicaId) -> Error {
        Error::failed(format!(
            "opening {}: this is the key of {}, and the state is that of {recorded}",
            self.home.key_file().display(),
            self.public_key().id()
        ))
        .advise("put the key that belongs to the state back from a backup, with the directory keys beside it; or the state that belongs to the key")
    }

    /// The state was put back to one from before a rotation, and the keys were not. The newer key counts: peers may know it
    /// by now. It is said once more, as the state has forgotten that it was.
    fn resume_from_former(&self, former: &ReplicaId) -> Result<()> {
        let mut keys = self.keys.since(former)?;
        keys.push(self.key()?.clone());
        let rotated = self.record_rotation(&keys)?;
        self.note(format!(
            "the state is from before the key was replaced: it goes on with the key that is there, {}",
            rotated.new.id()
        ));
        Ok(())
    }
}

/// Gives the new key its name. From the moment on at which it has it, nothing is left to do.
fn put_in_place(disk: &dyn Disk, home: &Home, key: &PublicKey) -> Result<()> {
    let (public, next, path) = (home.public_key_file(), home.next_key_file(), home.key_file());
    let text = format!("{}\n", key.to_openssh());
    replace_whole(disk, &public, text.as_bytes(), 0o644)
        .map_err(|error| Error::io("writing", &public, error).advise(AGAIN))?;
    if !has_name(disk, &next)? {
        return Ok(());
    }
    let dir = path.parent().unwrap_or(&path);
    disk.replace(&next, &path)
        .and_then(|()| disk.sync_dir(dir))
        .map_err(|error| Error::io("renaming", &next, error).advise(AGAIN))
}

/// Whether a statement about a job that a former key has signed may still count: it was made before the key was replaced,
/// or soon after by a command that had read the old key. All are milliseconds since 1970 UTC.
pub(super) fn is_in_time(said_at: u64, replaced_at: u64) -> bool {
    said_at <= replaced_at.saturating_add(WallClock::MOST_AHEAD)
}

/// Whether a bundle that a former key has signed still counts.
pub(super) fn is_one_of_the_last(key: &Succeeded, incarnation: Incarnation, number: u64) -> bool {
    incarnation == key.incarnation && number <= key.last
}
