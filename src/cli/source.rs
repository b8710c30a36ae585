//! The inputs of commands: a bundle from a path or, with the name `-`, from standard input; a public key.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, StdinLock};
use std::path::{Path, PathBuf};

use mailsync::bundle::{PublicKey, ReplicaId};
use mailsync::error::{Error, Result};
use mailsync::replica::{is_called_a_bundle, link_passed_over};

use super::context::Context;

/// The size of one read, in bytes.
const BUFFER: usize = 256 << 10;

/// Whether a path stands for standard input, or for standard output.
pub fn is_standard(path: &Path) -> bool {
    path == Path::new("-")
}

/// Standard input, to read bundles from.
pub fn stdin() -> BufReader<StdinLock<'static>> {
    BufReader::with_capacity(BUFFER, io::stdin().lock())
}

/// Whether what has this path comes as slowly as somebody writes it: standard input, a pipe with a name, or a terminal.
pub fn comes_slowly(path: &Path) -> bool {
    let is_pipe = |meta: std::fs::Metadata| !meta.is_file() && !meta.is_dir();
    is_standard(path) || std::fs::metadata(path).is_ok_and(is_pipe)
}

/// The files that are meant by these paths: of a directory those that are called bundles, in the order of their names or in
/// that which `order` makes of it. Symbolic links in it are told of and passed over, as by an import, and so is without a word
/// what is neither, such as a pipe.
///
/// # Errors
/// A directory can't be listed, or has no such file.
pub fn files(
    context: &Context,
    paths: &[PathBuf],
    order: impl Fn(Vec<PathBuf>) -> Result<Vec<PathBuf>>,
) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let fail = |error| Error::io("listing", path, error).advise("see that it can be read, then run this again");
        let names = std::fs::read_dir(path).and_then(|items| items.map(|item| Ok(item?.path())).collect());
        let mut names: Vec<PathBuf> = names.map_err(fail)?;
        names.retain(|name| is_called_a_bundle(name) && !is_something_else(name));
        names.sort();
        let (links, names): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| name.is_symlink());
        for link in &links {
            context.out.say(format_args!("note: {}", link_passed_over(link)));
        }
        if names.is_empty() && links.is_empty() {
            return Err(Error::failed(format!(
                "listing {}: there is no file called *.zst or *.zst.age in it",
                path.display()
            ))
            .advise("name the file, or another directory: those in it are not looked into"));
        }
        files.append(&mut order(names)?);
    }
    Ok(files)
}

/// Whether something in a directory is neither a file nor a link: who opens a pipe waits until somebody writes to it. What can't
/// be looked at is opened, so that it is told why not.
fn is_something_else(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|meta| !meta.is_file() && !meta.is_symlink())
}

/// Refuses to wait for a bundle that somebody would have to type.
///
/// # Errors
/// Standard input is a terminal.
pub fn check_stdin() -> Result<()> {
    if io::stdin().is_terminal() {
        return Err(Error::usage("reading the bundle: standard input is a terminal")
            .advise("give a file or a directory, or pipe a bundle to this: `ssh HOST mailsync export --to NAME | mailsync import`"));
    }
    Ok(())
}

/// Opens a bundle.
///
/// # Errors
/// There is no such file, or it can't be opened, or it is to be read from a terminal.
pub fn open(bundle: &Path) -> Result<Box<dyn BufRead>> {
    if is_standard(bundle) {
        check_stdin()?;
        return Ok(Box::new(stdin()));
    }
    let file =
        File::open(bundle).map_err(|error| Error::io("opening the bundle", bundle, error).advise("check its name"))?;
    Ok(Box::new(BufReader::with_capacity(BUFFER, file)))
}

/// What a public key looks like, and where it is.
const WHOLE_LINE: &str = "give the whole line that `mailsync init` printed, in quotes, or a file that holds it, such as key.pub; it begins \
                          with ssh-ed25519";

/// A public key as it is typed, or in a file.
///
/// # Errors
/// It is something else; what people give in its place is called by its name.
pub fn read_key(given: &str) -> Result<PublicKey> {
    let path = Path::new(given);
    let is_file = path.exists();
    let (line, doing) = if is_file || (mistaken(given).is_none() && !given.trim_start().starts_with("ssh-")) {
        let line = std::fs::read_to_string(path)
            .map_err(|error| Error::io("reading the public key", path, error).advise(WHOLE_LINE))?;
        (line, format!("reading the public key {}", path.display()))
    } else {
        (given.to_owned(), String::from("reading the public key"))
    };
    if let Some((what, advice)) = mistaken(&line) {
        return Err(Error::usage(format!("{doing}: {what}")).advise(advice));
    }
    PublicKey::from_openssh(&line).map_err(|error| Error::usage(format!("{doing}: {error}")).advise(WHOLE_LINE))
}

/// What was given in a public key's place, and what to do about it, if that is known.
fn mistaken(given: &str) -> Option<(&'static str, &'static str)> {
    let given = given.trim();
    if given.is_empty() {
        let advice = "see what was to write it has said, such as `mailsync init` through ssh: it prints the key only if it makes \
                      a replica; in key.pub of that machine is the key, too";
        return Some(("there is nothing in it", advice));
    }
    if given.contains("PRIVATE KEY") {
        let advice =
            "give the public one, which `mailsync init` printed and is in the file key.pub; keep this one secret";
        return Some(("this is a private key", advice));
    }
    if given.starts_with(ReplicaId::BEGINS) {
        let advice = "a key can't be had from it, only compared with it: give the whole line that `mailsync init` printed, or \
                      the file key.pub of that machine";
        return Some(("this is the fingerprint of a key", advice));
    }
    // In OpenSSH's format the kind is said again within: its length, and `ssh-ed25519`.
    if given.starts_with("AAAA") && !given.contains(char::is_whitespace) {
        return Some(("this is only the middle of a key's line", WHOLE_LINE));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_in_place_of_a_key_is_called_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let in_file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let fingerprint = "SHA256:ygrPqsk5wk667i4i3fnEDB/3R/C2o2VuOlIWJAm1Yvs";
        let middle = "AAAAC3NzaC1lZDI1NTE5AAAAIEXPE3WglmEskzZh9HBDjaBLjsQ9yUF09q62kzCJfDz6";
        for (given, what) in [
            (String::new(), "there is nothing in it; see what was to write it"),
            (in_file("empty", "\n"), "empty: there is nothing in it; see what was to write it"),
            (fingerprint.to_owned(), "this is the fingerprint of a key; a key can't be had from it"),
            (in_file("fingerprint", fingerprint), "fingerprint: this is the fingerprint of a key"),
            (middle.to_owned(), "this is only the middle of a key's line; give the whole line"),
            (in_file("middle", middle), "middle: this is only the middle of a key's line"),
            (
                in_file("private", "-----BEGIN OPENSSH PRIVATE KEY-----"),
                "private: this is a private key; give the public",
            ),
            (
                String::from("laptop.pub"),
                "reading the public key laptop.pub: No such file or directory; give the whole line",
            ),
            (String::from("ssh-ed25519 AAAA"), "not a usable OpenSSH key; give the whole line"),
            (in_file("other", "hello"), "other: not a usable OpenSSH key; give the whole line"),
        ] {
            let told = read_key(&given).unwrap_err().to_string();
            assert!(told.contains(what), "{given:?}: {told}");
        }
        let line = format!("ssh-ed25519 {middle} mailsync laptop");
        assert!(read_key(&line).is_ok() && read_key(&in_file("key.pub", &line)).is_ok());
    }
}
