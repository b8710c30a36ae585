//! The targets to which commands write a bundle: a file or a directory, or standard output unless that is a terminal.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use mailsync::error::{Error, Result};
use mailsync::replica::{Existing, Exported, Replica};

use super::context::Context;
use super::output::Output;
use super::source::is_standard;

/// The path to write to; `None` for standard output.
///
/// # Errors
/// Standard output is a terminal, or a document is wanted there.
pub fn target(out: &Output, output: Option<PathBuf>) -> Result<Option<PathBuf>> {
    let output = output.filter(|output| !is_standard(output));
    if output.is_none() && out.json() {
        return Err(Error::usage("writing the bundle: with --json, the document is on standard output, and no bundle")
            .advise("say where the bundle goes, with -o FILE or -o DIR"));
    }
    if output.is_none() {
        check_stdout()?;
    }
    Ok(output)
}

/// What becomes of a file that is there already.
pub fn existing(force: bool) -> Existing {
    if force { Existing::Replaced } else { Existing::Stays }
}

/// Refuses to write a bundle to a terminal, or to a standard output that was closed.
pub fn check_stdout() -> Result<()> {
    if was_closed(&io::stdout())? {
        let error = Error::failed("writing the bundle: standard output is closed")
            .advise("redirect it to a file, pipe it to another machine, or use -o; nothing was written, and nothing counts as sent");
        return Err(error);
    }
    if io::stdout().is_terminal() {
        let error = Error::usage("writing the bundle: standard output is a terminal")
            .advise("redirect it to a file, pipe it to another machine, or use -o");
        return Err(error);
    }
    Ok(())
}

/// Whether standard output was closed before mailsync began. Then Rust has put /dev/null in its place, open for reading
/// as well, so that no file that the program opens is taken for it. A shell that is told to write there opens it for
/// writing only.
fn was_closed(out: &impl AsFd) -> Result<bool> {
    let fail = |error: rustix::io::Errno| Error::os("looking at standard output", io::Error::from(error));
    let meta = rustix::fs::fstat(out).map_err(fail)?;
    let is_device = rustix::fs::FileType::from_raw_mode(meta.st_mode) == rustix::fs::FileType::CharacterDevice;
    let is_null = is_device && (rustix::fs::major(meta.st_rdev), rustix::fs::minor(meta.st_rdev)) == (1, 3);
    Ok(is_null && rustix::fs::fcntl_getfl(out).map_err(fail)?.contains(rustix::fs::OFlags::RDWR))
}

/// Checks that there is a directory to write several bundles to.
pub fn check_split(split: Option<u64>, output: Option<&Path>) -> Result<()> {
    if split.is_some() && !output.is_some_and(Path::is_dir) {
        let error = Error::usage("writing bundles with --split: there may be several of them")
            .advise("give a directory that exists with -o DIR");
        return Err(error);
    }
    Ok(())
}

/// Standard output, to write bundles to. Nothing between it and the bundle keeps a part of that back.
///
/// # Errors
/// Too many files are open.
pub fn stdout() -> Result<File> {
    let fail = |error| Error::os("opening standard output", error);
    io::stdout().as_fd().try_clone_to_owned().map(File::from).map_err(fail)
}

/// Whether standard output is a file, which stays as it is.
pub fn stdout_is_a_file() -> bool {
    use rustix::fs::{FileType, fstat};
    // If nobody can tell what it is, it was written all the same.
    fstat(io::stdout()).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
}

/// Warns of a file that is not encrypted, once for each replica: somebody has seen it then, or it is said again.
pub fn warn_of_plain_file(context: &Context, replica: &Replica, file: &str, instead: &str) -> Result<()> {
    if !context.out.quiet() && replica.is_first_plain_file()? {
        context.out.say(format_args!(
            "warning: {file} is not encrypted, so whoever gets it can read the mail in it; {instead} (this is said once)"
        ));
    }
    Ok(())
}

/// Tells which file was written.
pub fn tell_written(context: &Context, path: &Path, exported: &Exported) {
    context.out.say(format_args!("wrote {}: {exported}", path.display()));
}
