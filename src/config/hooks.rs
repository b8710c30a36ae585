//! The part of the configuration that is about hooks.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::allow::parse_timeout;

/// The user's own programs that are told of changed files. Each is a program and its arguments, run without a shell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hooks {
    /// After a command that has changed files, such as an import or an update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_import: Option<Vec<String>>,
    /// After a scan or export that has found changed files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_scan: Option<Vec<String>>,
    /// How long each may take.
    #[serde(default = "default_hook_timeout")]
    pub timeout: String,
}

impl Default for Hooks {
    fn default() -> Self {
        Self { after_import: None, after_scan: None, timeout: default_hook_timeout() }
    }
}

impl Hooks {
    /// Whether there are any.
    pub fn are_any(&self) -> bool {
        self.after_import.is_some() || self.after_scan.is_some()
    }

    /// How long each may take.
    ///
    /// # Errors
    /// What is written there is no time.
    pub fn timeout(&self) -> std::result::Result<Duration, String> {
        parse_timeout(&self.timeout)
    }

    /// What is wrong with them, if anything is.
    pub(super) fn check(&self) -> std::result::Result<(), String> {
        for (key, command) in [("after_import", &self.after_import), ("after_scan", &self.after_scan)] {
            if command.as_ref().is_some_and(|command| command.first().is_none_or(String::is_empty)) {
                return Err(format!("{key} is empty"));
            }
        }
        self.timeout().map(drop)
    }
}

/// An index of much new mail takes minutes.
fn default_hook_timeout() -> String {
    String::from("10m")
}
