//! Tells the program from which commit it is built, for `mailsync --version`: in a release build, and where that can be
//! known without running anything. A build for tests doesn't ask, since each commit would compile everything anew.
//!
//! In this order: the environment variable `MAILSYNC_COMMIT` (for a tarball), the working tree's git directory, and
//! `.cargo_vcs_info.json` (which a packaged crate has).

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=MAILSYNC_COMMIT");
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let given = env::var("MAILSYNC_COMMIT").ok();
    let is_release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let (found, read) = if given.is_none() && is_release { commit_of(&root) } else { (None, Vec::new()) };
    for file in read {
        println!("cargo::rerun-if-changed={}", file.display());
    }
    let commit = given.or(found).filter(|commit| commit.len() >= 12 && commit.bytes().all(|b| b.is_ascii_hexdigit()));
    let commit = commit.map(|commit| commit[..12].to_owned()).unwrap_or_default();
    let behind = if commit.is_empty() { String::new() } else { format!(" ({commit})") };
    println!("cargo::rustc-env=MAILSYNC_VERSION={}{behind}", env::var("CARGO_PKG_VERSION").expect("cargo sets it"));
    println!("cargo::rustc-env=MAILSYNC_BUILT_FROM={commit}");
}

/// The commit that the files in `root` are checked out from, if anything tells, and the files by which a change of it
/// shows. Only files that are there are among them: cargo runs this again and again for one that isn't.
pub fn commit_of(root: &Path) -> (Option<String>, Vec<PathBuf>) {
    let dot_git = root.join(".git");
    // In a working tree beside the main one it is a file that names the directory.
    let dir = match fs::read_to_string(&dot_git) {
        Ok(text) => text.strip_prefix("gitdir:").map(|dir| root.join(dir.trim())),
        Err(_) => dot_git.is_dir().then_some(dot_git),
    };
    let Some(dir) = dir else {
        let info = root.join(".cargo_vcs_info.json");
        let text = fs::read_to_string(&info).unwrap_or_default();
        let commit = text.split_once("\"sha1\"").and_then(|(_, rest)| rest.split('"').nth(1)).map(str::to_owned);
        return (commit, Vec::from_iter(info.is_file().then_some(info)));
    };
    let head = dir.join("HEAD");
    let Ok(text) = fs::read_to_string(&head) else { return (None, Vec::new()) };
    let Some(name) = text.strip_prefix("ref:").map(str::trim) else {
        return (Some(text.trim().to_owned()), vec![head]);
    };
    // Branches are kept once for all working trees.
    let common =
        fs::read_to_string(dir.join("commondir")).map_or_else(|_| dir.clone(), |common| dir.join(common.trim()));
    let (loose, packed) = (common.join(name), common.join("packed-refs"));
    let commit = fs::read_to_string(&loose).ok().map(|text| text.trim().to_owned()).or_else(|| {
        let text = fs::read_to_string(&packed).ok()?;
        let line = text.lines().find(|line| line.split_once(' ').is_some_and(|(_, packed)| packed == name))?;
        Some(line[..line.find(' ')?].to_owned())
    });
    (commit, [head, loose, packed].into_iter().filter(|file| file.is_file()).collect())
}
