//! The code of an invitation: given in a file or in the environment, or typed on the terminal.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use age::secrecy::ExposeSecret;
use mailsync::bundle::Code;
use mailsync::error::{Error, Result};

use super::output::Output;
use super::prompt;
use super::source::is_standard;

/// Where a code may stand, besides a file.
const VARIABLE: &str = "MAILSYNC_CODE";
/// How often a person may mistype what nobody sees.
const ATTEMPTS: u32 = 3;
/// What of a file is read, in bytes: more than six words.
const MOST: u64 = 4096;
/// Permissions of everybody but the owner.
const OTHERS: u32 = 0o077;

/// The code that was given with the command: in this file, or else in the environment.
///
/// # Errors
/// The file can't be read, or others may read it, or there is no code in it.
pub fn given(file: Option<&Path>) -> Result<Option<Code>> {
    match file {
        Some(file) => read(file).map(Some),
        None => match std::env::var_os(VARIABLE) {
            Some(words) => parse(&words.to_string_lossy(), &format!("the code in {VARIABLE}")).map(Some),
            None => Ok(None),
        },
    }
}

/// Asks for the code on the terminal. `None` if there is none.
///
/// # Errors
/// The terminal fails, or what is typed is no code, again and again.
pub fn ask() -> Result<Option<Code>> {
    let mut attempt = 1;
    loop {
        let question = format!("the code of the invitation ({} words; they aren't shown):", Code::WORDS);
        let Some(typed) = prompt::secret(&question)? else { return Ok(None) };
        match parse(typed.expose_secret(), "the code that was typed") {
            Err(error) if attempt < ATTEMPTS => Output::complain(&error),
            parsed => return parsed.map(Some),
        }
        attempt += 1;
    }
}

fn read(path: &Path) -> Result<Code> {
    if is_standard(path) {
        return Err(Error::usage("reading the code: --code-file - would be standard input, where a bundle may come")
            .advise("give a file that only you may read, or MAILSYNC_CODE"));
    }
    let fail = |error: std::io::Error| Error::io("reading the code", path, error).advise("check its name");
    let file = File::open(path).map_err(fail)?;
    let mode = file.metadata().map_err(fail)?.mode();
    if mode & OTHERS != 0 {
        let mode = mode & 0o7777;
        let what = format!("reading the code {}: it is open to other users (mode {mode:04o})", path.display());
        let advice = format!("run `chmod 600 {}`, or put it where that can be done", path.display());
        return Err(Error::refused(what).advise(advice));
    }
    let mut words = Vec::new();
    file.take(MOST).read_to_end(&mut words).map_err(fail)?;
    parse(&String::from_utf8_lossy(&words), &format!("the code in {}", path.display()))
}

fn parse(words: &str, from: &str) -> Result<Code> {
    Code::parse(words).map_err(|error| {
        Error::rejected(format!("reading {from}: {error}"))
            .advise("give the words as `mailsync invite` has shown them; how they are separated doesn't matter")
    })
}
