//! The inputs of commands: a bundle from a path or, with the name `-`, from standard input; a public key.

use std::fs::File;
use std::io::{self, BufRead, BufReader, StdinLock};
use std::path::Path;

use mailsync::bundle::PublicKey;
use mailsync::error::{Error, Result};

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

/// Opens a bundle.
///
/// # Errors
/// There is no such file, or it can't be opened.
pub fn open(bundle: &Path) -> Result<Box<dyn BufRead>> {
    if is_standard(bundle) {
        return Ok(Box::new(stdin()));
    }
    let file =
        File::open(bundle).map_err(|error| Error::io("opening the bundle", bundle, error).advise("check its name"))?;
    Ok(Box::new(BufReader::with_capacity(BUFFER, file)))
}

/// A public key as it is typed, or in a file.
pub fn read_key(given: &str) -> Result<PublicKey> {
    let (line, from) = if given.trim_start().starts_with("ssh-") {
        (given.to_owned(), String::new())
    } else {
        let path = Path::new(given);
        let line = std::fs::read_to_string(path).map_err(|error| {
            Error::io("reading the public key", path, error)
                .advise("give the line that `mailsync init` printed, in quotes, or a file that holds it")
        })?;
        (line, format!(" {}", path.display()))
    };
    let doing = format!("reading the public key{from}");
    if line.contains("PRIVATE KEY") {
        return Err(Error::usage(format!("{doing}: this is a private key")).advise(
            "give the public one, which `mailsync init` printed and is in the file key.pub; keep this one secret",
        ));
    }
    PublicKey::from_openssh(&line).map_err(|error| {
        Error::usage(format!("{doing}: {error}"))
            .advise("give the whole line that `mailsync init` printed, in quotes; it begins with ssh-ed25519")
    })
}
