//! A glance at a replica, for who completes a line that is being typed: which names there are to choose from.
//!
//! Nothing is made, changed or locked by it, and nobody is waited for. What is seen may be a moment old.

use super::home::Home;
use crate::disk::Disk;
use crate::error::Result;
use crate::state::State;

/// So many names are given at most: nobody reads more.
const MOST: u32 = 200;

/// A name that a command takes, and a word on it.
pub type Choice = (String, String);

/// A replica, looked at in passing.
#[derive(Debug)]
pub struct Glance(State);

impl Glance {
    /// Looks at the replica that lives in `home`.
    ///
    /// # Errors
    /// There is none, others may write its files, or the state can't be read.
    pub fn at(home: &Home, disk: &dyn Disk) -> Result<Self> {
        home.check_lived_in(disk)?;
        home.check_private(disk)?;
        State::glance(&home.database()).map(Self)
    }

    /// The peers, and the machines that were invited.
    pub fn peers(&self) -> Result<Vec<Choice>> {
        let invited = self.0.invitations()?.into_iter().map(|one| (one.name, String::from("invited")));
        Ok(self.only_peers()?.into_iter().chain(invited).collect())
    }

    /// The peers: a machine that was invited is none before it has answered.
    pub fn only_peers(&self) -> Result<Vec<Choice>> {
        let peers = self.0.peers()?.into_iter().map(|peer| {
            let word = if peer.distant { "a distant peer" } else { "a peer" };
            (peer.name, word.to_owned())
        });
        Ok(peers.collect())
    }

    /// The folders that are there.
    pub fn folders(&self) -> Vec<String> {
        let rows = self.0.all_folders();
        let there = rows.iter().filter(|row| row.on_disk || row.is_present());
        there.map(|row| row.name.as_str().to_owned()).collect()
    }

    /// The same, and those that were removed and are remembered.
    pub fn known_folders(&self) -> Vec<String> {
        self.0.all_folders().iter().map(|row| row.name.as_str().to_owned()).collect()
    }

    /// The newest jobs whose ids begin so, and how they stand. Those that no command has taken out of the outbox yet are
    /// not among them.
    pub fn jobs(&self, beginning: &str) -> Result<Vec<Choice>> {
        let jobs = self.0.newest_jobs(beginning, MOST)?;
        Ok(jobs.into_iter().map(|job| (job.id.to_string(), job.state.word().to_owned())).collect())
    }

    /// The newest messages in the trash whose numbers begin so, and in which folders they were.
    pub fn trash(&self, beginning: &str) -> Result<Vec<Choice>> {
        let trash = self.0.newest_trash(beginning, MOST)?;
        Ok(trash.into_iter().map(|one| (one.key.to_string(), format!("was in {}", one.folder))).collect())
    }
}
