//! What can stand in a place of the line that is being typed: names that the replica knows. A shell asks for them at each
//! key, so nothing is said, made or changed, whatever is wrong: then there is nothing to choose from.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap_complete::engine::CompletionCandidate;
use mailsync::disk::RealDisk;
use mailsync::error::Result;
use mailsync::replica::{Choice, Glance, Home};
use mailsync::text::printable;

/// The peers, and the machines that were invited.
pub fn peers(typed: &OsStr) -> Vec<CompletionCandidate> {
    choices(typed, |glance, _| glance.peers())
}

/// The peers, who have answered their invitations if they got any.
pub fn only_peers(typed: &OsStr) -> Vec<CompletionCandidate> {
    choices(typed, |glance, _| glance.only_peers())
}

/// The folders.
pub fn folders(typed: &OsStr) -> Vec<CompletionCandidate> {
    choices(typed, |glance, _| Ok(without_words(glance.folders())))
}

/// The folders, with those that were removed: what was in them can be looked for, and brought back.
pub fn known_folders(typed: &OsStr) -> Vec<CompletionCandidate> {
    choices(typed, |glance, _| Ok(without_words(glance.known_folders())))
}

/// What `restore` brings back by its name: these folders, and numbers in the trash.
pub fn restorable(typed: &OsStr) -> Vec<CompletionCandidate> {
    choices(typed, |glance, typed| {
        let folders = without_words(glance.known_folders());
        Ok(folders.into_iter().chain(glance.trash(typed)?).collect())
    })
}

fn without_words(names: Vec<String>) -> Vec<Choice> {
    names.into_iter().map(|name| (name, String::new())).collect()
}

/// The ids of jobs.
pub fn jobs(typed: &OsStr) -> Vec<CompletionCandidate> {
    choices(typed, Glance::jobs)
}

/// The numbers in the trash.
pub fn trash(typed: &OsStr) -> Vec<CompletionCandidate> {
    choices(typed, Glance::trash)
}

fn choices(typed: &OsStr, look: impl Fn(&Glance, &str) -> Result<Vec<Choice>>) -> Vec<CompletionCandidate> {
    let Some(typed) = typed.to_str() else { return Vec::new() };
    // There is nobody to whom an error could be told: the person is typing.
    let found = home(std::env::args_os(), std::env::var_os("MAILSYNC_HOME"))
        .and_then(|home| Glance::at(&home, &RealDisk))
        .and_then(|glance| look(&glance, typed))
        .unwrap_or_default();
    let fit = found.into_iter().filter(|(name, _)| name.starts_with(typed) && printable(name) == *name);
    fit.map(|(name, word)| {
        let help = (!word.is_empty()).then(|| printable(&word).into());
        CompletionCandidate::new(name).help(help)
    })
    .collect()
}

/// The home of the replica that the typed line is about. The line stands behind the first `--`, as it was typed.
fn home(args: impl IntoIterator<Item = OsString>, from_environment: Option<OsString>) -> Result<Home> {
    let line: Vec<OsString> = args.into_iter().skip_while(|arg| arg != "--").skip(1).collect();
    let text = |arg: &OsString| arg.to_str().map(str::to_owned);
    let typed = line.iter().enumerate().find_map(|(place, arg)| {
        let arg = text(arg)?;
        if arg == "--home" {
            line.get(place + 1).and_then(text)
        } else {
            arg.strip_prefix("--home=").map(str::to_owned)
        }
    });
    let typed = typed.map(|dir| match (dir.strip_prefix("~/"), std::env::home_dir()) {
        (Some(inner), Some(home)) => home.join(inner),
        _ => PathBuf::from(dir),
    });
    let dir = typed.or_else(|| from_environment.filter(|dir| !dir.is_empty()).map(PathBuf::from));
    dir.map_or_else(Home::standard, |dir| Ok(Home::at(dir)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_home_is_the_one_of_the_typed_line() {
        let at = |line: &[&str], environment: Option<&str>| {
            let args = ["mailsync", "--"].iter().chain(line).map(OsString::from);
            home(args, environment.map(OsString::from)).unwrap().state_dir().to_owned()
        };
        assert_eq!(at(&["mailsync", "--home", "/a", "update", ""], None), PathBuf::from("/a"));
        assert_eq!(at(&["mailsync", "update", "--home=/a", ""], Some("/b")), PathBuf::from("/a"));
        assert_eq!(at(&["mailsync", "update", ""], Some("/b")), PathBuf::from("/b"));
        assert_eq!(at(&["mailsync", "update", ""], None), Home::standard().unwrap().state_dir());
        assert_eq!(at(&["mailsync", "update", "--home"], Some("/b")), PathBuf::from("/b"));
    }
}
