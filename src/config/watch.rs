//! The part of the configuration that is about `watch`.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::allow::parse_time;

/// What `watch` does, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Watch {
    /// How long nothing must have changed before it is looked at.
    pub after: String,
    /// How long a change waits at most, though others follow it.
    pub within: String,
    /// How often all is looked at, and each peer called, whether anything was told or not.
    pub every: String,
    /// The directories in which bundles arrive.
    pub receive: Vec<PathBuf>,
    /// Whether bundles for this replica alone are removed from there once they are imported.
    pub consume: bool,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            after: String::from("5s"),
            within: String::from("1m"),
            every: String::from("5m"),
            receive: Vec::new(),
            consume: true,
        }
    }
}

impl Watch {
    /// How long nothing must have changed before it is looked at.
    ///
    /// # Errors
    /// What is written there is no time.
    pub fn after(&self) -> Result<Duration, String> {
        parse_time("time after", &self.after)
    }

    /// How long a change waits at most.
    ///
    /// # Errors
    /// What is written there is no time.
    pub fn within(&self) -> Result<Duration, String> {
        parse_time("time within", &self.within)
    }

    /// How often all is looked at.
    ///
    /// # Errors
    /// What is written there is no time.
    pub fn every(&self) -> Result<Duration, String> {
        parse_time("time every", &self.every)
    }

    /// What is wrong with it, if anything is.
    pub(super) fn check(&self) -> Result<(), String> {
        self.after().and(self.within()).and(self.every())?;
        match self.receive.iter().find(|dir| dir.is_relative()) {
            Some(dir) => Err(format!("{} is no absolute path", dir.display())),
            None => Ok(()),
        }
    }
}
