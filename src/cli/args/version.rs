//! What `mailsync --version` says.

use std::sync::LazyLock;

use mailsync::{bundle, state};

/// The version, and the commit if it is known: one line.
pub const SHORT: &str = env!("MAILSYNC_VERSION");

/// The same, with the versions of what is written.
static LONG: LazyLock<String> =
    LazyLock::new(|| format!("{SHORT}\nbundle format {}\nstate version {}", bundle::VERSION, state::VERSION));

/// The commit, if it is known.
pub fn commit() -> Option<&'static str> {
    Some(env!("MAILSYNC_BUILT_FROM")).filter(|commit| !commit.is_empty())
}

/// The version for people who have found a fault, or want to know whether two machines understand each other.
pub fn long() -> &'static str {
    &LONG
}
