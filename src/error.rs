//! The errors of the crate: what was being done, to which file, what is wrong and what to do next, on one line, with
//! the exit code that fits.
//!
//! The rules that every message follows:
//!
//! - It is one line: what was being done, to which file or bundle, what is wrong. "reading /home/me/Mail: Permission
//!   denied".
//! - Behind a semicolon it says what to do next, as an imperative. A command in it can be typed as it stands.
//! - It says whose fault it is, and what is safe, wherever a reader must wonder. It calls a bundle corrupt only if the
//!   bundle is; a full disk here is not the bundle's fault. It says "nothing is lost" where somebody could fear a loss.
//! - It begins in lower case and ends without a full stop; the words are those of the README, not those of the code.
//! - Text from elsewhere (names, bundles, jobs, the output of programs) is made printable, and cut where it may be
//!   long.
//! - The cause is told in the words of its source, such as the operating system, without its number. It becomes text
//!   once, here.
//! - The kind says what a script may do about it: wait, ask a person, or give up. When in doubt it is a failure.
//! - If there are several failures, each is told. The worst decides the exit code.

mod advice;
mod lack;

use std::fmt;
use std::io;
use std::path::Path;

pub use lack::Lack;

use crate::text::{printable, without_numbers};
use advice::Advice;

/// The kind of failure of an [`Error`]. They stand in the order of how bad they are: of several failures the greatest decides
/// how a command ends. The first three pass by themselves; the last three need a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ErrorKind {
    /// A peer could not be reached, and all else was done: a later run may find it there.
    Unreachable,
    /// Another mailsync works on the same replica.
    Locked,
    /// A bundle can't be applied before another one.
    NotYet,
    /// Something went wrong; nothing that was there is lost.
    Failed,
    /// The command line or the configuration doesn't make sense.
    Usage,
    /// A bundle was rejected: it is corrupt or truncated, from an unknown sender, for someone else, or in a newer
    /// format.
    Rejected,
    /// Something was refused, because mail could be lost by it.
    Refused,
}

impl ErrorKind {
    /// The exit code of a command that ends this way.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotYet => 3,
            Self::Rejected => 4,
            Self::Locked => 5,
            Self::Refused => 6,
            Self::Unreachable => 7,
        }
    }
}

/// Why something could not be done.
#[derive(Clone, Debug)]
pub struct Error {
    kind: ErrorKind,
    what: String,
    advice: Option<Advice>,
    scope: Option<Scope>,
    /// What was lacking, for which the advice has the remedy; and whether that names the place.
    lack: Option<(Lack, bool)>,
}

/// What an error of the operating system is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One name, file or directory: what has to do with others can be done.
    Place,
    /// A disk, or the machine: nothing else is likely to succeed, and what was written may not be safe.
    Disk,
}

impl Scope {
    /// What this error is about. The one place where that is decided.
    ///
    /// A full disk, one that fails and one that lets nothing be written are the disk's, and so are limits of the
    /// machine: going on would fail over and over, or worse, succeed in part. So is whatever isn't known. About a place
    /// are a permission, a name that is too long, not allowed or taken by something else, a link that leads around in a
    /// circle, and a file that is larger than one may be there.
    pub fn of(error: &io::Error) -> Self {
        use rustix::io::Errno;
        // What has no number was found out by mailsync itself, of one file.
        let Some(errno) = Errno::from_io_error(error) else { return Self::Place };
        match errno {
            Errno::ACCESS
            | Errno::PERM
            | Errno::EXIST
            | Errno::NOENT
            | Errno::NOTDIR
            | Errno::ISDIR
            | Errno::NOTEMPTY
            | Errno::NAMETOOLONG
            | Errno::INVAL
            | Errno::ILSEQ
            | Errno::LOOP
            | Errno::MLINK
            | Errno::XDEV
            | Errno::FBIG
            | Errno::BUSY
            | Errno::TXTBSY
            | Errno::OPNOTSUPP => Self::Place,
            _ => Self::Disk,
        }
    }
}

/// Why a file operation failed, in words and, where it is the operating system that says so, in kind.
pub trait Cause: fmt::Display {
    /// What it is about, if the operating system says so.
    fn scope(&self) -> Option<Scope> {
        None
    }

    /// What was lacking, if the operating system says so.
    fn lack(&self) -> Option<Lack> {
        None
    }
}

impl Cause for io::Error {
    fn scope(&self) -> Option<Scope> {
        Some(Scope::of(self))
    }

    fn lack(&self) -> Option<Lack> {
        Lack::of(self)
    }
}

impl Cause for &io::Error {
    fn scope(&self) -> Option<Scope> {
        Some(Scope::of(self))
    }

    fn lack(&self) -> Option<Lack> {
        Lack::of(self)
    }
}

impl Cause for &str {}
impl Cause for &dyn fmt::Display {}

/// The result of the crate's verbs.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The error of this crate that an error of reading is about, such as a key that could not be opened.
    pub fn within(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// Makes an error of this kind. `what` says what was being done, to which file, and what is wrong.
    pub fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self { kind, what: printable(&without_numbers(&what.into())), advice: None, scope: None, lack: None }
    }

    /// A failure.
    pub fn failed(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Failed, what)
    }

    /// A refusal for safety.
    pub fn refused(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Refused, what)
    }

    /// A mistake in the command line or the configuration.
    pub fn usage(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, what)
    }

    /// A bundle that is not accepted.
    pub fn rejected(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Rejected, what)
    }

    /// A failed file operation: `doing` is a participle, such as "reading".
    #[allow(clippy::needless_pass_by_value, reason = "most callers have no more use for the error")]
    pub fn io(doing: &str, path: &Path, error: impl Cause) -> Self {
        let (scope, lack) = (error.scope(), error.lack());
        let failed = Self { scope, ..Self::failed(format!("{doing} {}: {error}", path.display())) };
        match lack {
            Some(lack) => failed.lacking(lack, Some(path)),
            None => failed,
        }
    }

    /// A failed operation on something that has no path here; `what` says what was being done.
    #[allow(clippy::needless_pass_by_value, reason = "as above")]
    pub fn os(what: impl fmt::Display, error: impl Cause) -> Self {
        let (scope, lack) = (error.scope(), error.lack());
        let failed = Self { scope, ..Self::failed(format!("{what}: {error}")) };
        match lack {
            Some(lack) => failed.lacking(lack, None),
            None => failed,
        }
    }

    /// The same error, which concerns everything, even if it is about one place.
    #[must_use]
    pub fn without_scope(self) -> Self {
        Self { scope: None, ..self }
    }

    fn lacking(self, lack: Lack, place: Option<&Path>) -> Self {
        let mut advice = Advice::again(Some(&lack.remedy(place)));
        if let Some(known) = lack.besides() {
            advice.add(known);
        }
        Self { advice: Some(advice), lack: Some((lack, place.is_some())), ..self }
    }

    /// Names the place that it is about, where something was lacking and nobody knew for what.
    #[must_use]
    pub fn at(self, place: &Path) -> Self {
        match self.lack {
            Some((lack, false)) => self.lacking(lack, Some(place)),
            _ => self,
        }
    }

    /// Adds what to do next. Where something is known to have been lacking, its remedy stays. Of what is also told later, by
    /// another command, [`Error::again`] says what is to be run.
    #[must_use]
    pub fn advise(self, advice: impl AsRef<str>) -> Self {
        self.with_advice(|| Advice::told(advice.as_ref()))
    }

    /// Adds that what has failed is to be run again: what that is depends on where it is told.
    #[must_use]
    pub fn again(self) -> Self {
        self.with_advice(|| Advice::again(None))
    }

    /// Adds what is to be done before what has failed is run again.
    #[must_use]
    pub fn again_after(self, what: impl AsRef<str>) -> Self {
        self.with_advice(|| Advice::again(Some(what.as_ref())))
    }

    fn with_advice(mut self, advice: impl FnOnce() -> Advice) -> Self {
        if self.lack.is_none() {
            self.advice = Some(advice());
        }
        self
    }

    /// Adds what is to be known besides what to do next.
    #[must_use]
    pub fn besides(mut self, known: &str) -> Self {
        if let (None, Some(advice)) = (self.lack, &mut self.advice) {
            advice.add(known);
        }
        self
    }

    /// Adds another remedy, where this was lacking.
    #[must_use]
    pub fn or_else(mut self, lack: Lack, remedy: &str) -> Self {
        if let (Some((lacking, _)), Some(advice)) = (self.lack, &mut self.advice)
            && lacking == lack
        {
            advice.add(remedy);
        }
        self
    }

    /// Puts a subject and a colon in front of the message.
    #[must_use]
    pub fn about(mut self, subject: impl fmt::Display) -> Self {
        self.what = printable(&format!("{subject}: {}", self.what));
        self
    }

    /// What was lacking, if the operating system has said so.
    pub fn lack(&self) -> Option<Lack> {
        self.lack.map(|(lack, _)| lack)
    }

    /// What was being done, to which file, and what is wrong: without the advice.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// The whole message for who reads it later, where the command that has failed is not at hand: `command` does then what that
    /// could not.
    pub fn told_later(&self, command: &str) -> String {
        let mut told = String::new();
        self.write(&format!("run `{command}`"), &mut told).expect("a text takes all that is written");
        told
    }

    fn write(&self, again: &str, f: &mut impl fmt::Write) -> fmt::Result {
        f.write_str(&self.what)?;
        if let Some(advice) = &self.advice {
            f.write_str("; ")?;
            advice.write(again, f)?;
        }
        Ok(())
    }

    /// Whether it is about one place on the disk, and what has to do with others can go on.
    pub fn is_about_a_place(&self) -> bool {
        self.scope == Some(Scope::Place)
    }

    /// Which kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write("run this again", f)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn a_full_or_failing_disk_stops_everything_and_one_bad_name_does_not() {
        let table = [
            (Errno::ACCESS, Scope::Place, "a folder without permission"),
            (Errno::PERM, Scope::Place, "a file that must not be changed"),
            (Errno::EXIST, Scope::Place, "a plain file has the folder's name"),
            (Errno::NOTDIR, Scope::Place, "a plain file is above it"),
            (Errno::NAMETOOLONG, Scope::Place, "the file system has shorter names"),
            (Errno::INVAL, Scope::Place, "a character that the file system can't take"),
            (Errno::ILSEQ, Scope::Place, "a name that isn't UTF-8 where it must be"),
            (Errno::LOOP, Scope::Place, "a link to itself"),
            (Errno::NOENT, Scope::Place, "a link that leads nowhere"),
            (Errno::FBIG, Scope::Place, "a file larger than the file system or a limit lets one be"),
            (Errno::NOSPC, Scope::Disk, "a full disk"),
            (Errno::DQUOT, Scope::Disk, "a quota"),
            (Errno::IO, Scope::Disk, "a disk that fails"),
            (Errno::ROFS, Scope::Disk, "a disk that lets nothing be written"),
            (Errno::STALE, Scope::Disk, "a server that is gone"),
            (Errno::NODEV, Scope::Disk, "a stick that was pulled out"),
            (Errno::MFILE, Scope::Disk, "too many open files"),
            (Errno::NOMEM, Scope::Disk, "no memory"),
            (Errno::XFULL, Scope::Disk, "one that nobody has thought of"),
        ];
        for (errno, scope, case) in table {
            let error = io::Error::from(errno);
            assert_eq!(Scope::of(&error), scope, "{case}");
            let told = Error::io("writing", Path::new("x"), &error).advise("look").about("y");
            assert_eq!(told.is_about_a_place(), scope == Scope::Place, "{case}");
        }
        assert_eq!(Scope::of(&io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")), Scope::Place);
        assert!(!Error::io("reading", Path::new("x"), "other contents").is_about_a_place());
        assert!(!Error::failed("reading the state").is_about_a_place());
    }

    #[test]
    fn what_is_to_be_run_again_depends_on_where_it_is_told() {
        let wrong = || Error::failed("moving x: it broke");
        let lacking = || Error::io("writing", Path::new("/nowhere/x"), io::Error::from(Errno::DQUOT));
        let quota = "writing /nowhere/x: Disk quota exceeded; your quota on the file system of /nowhere/x is used up (see \
                     `quota`): remove something there, or have it raised, then";
        for (error, now, later) in [
            (wrong(), "moving x: it broke", "moving x: it broke"),
            (wrong().again(), "moving x: it broke; run this again", "moving x: it broke; run `mailsync scan`"),
            (
                wrong().again_after("see why").besides("nothing is lost").about("one"),
                "one: moving x: it broke; see why, then run this again; nothing is lost",
                "one: moving x: it broke; see why, then run `mailsync scan`; nothing is lost",
            ),
            (wrong().advise("look at it"), "moving x: it broke; look at it", "moving x: it broke; look at it"),
            // Names and words from elsewhere stay as they are.
            (
                Error::failed("moving run this again: it broke").again(),
                "moving run this again: it broke; run this again",
                "moving run this again: it broke; run `mailsync scan`",
            ),
            // The remedy of what was lacking stays.
            (
                lacking().again_after("see why").besides("nothing is lost").or_else(Lack::Quota, "or use another one"),
                &format!("{quota} run this again; or use another one"),
                &format!("{quota} run `mailsync scan`; or use another one"),
            ),
        ] {
            assert_eq!((error.to_string(), error.told_later("mailsync scan")), (now.to_owned(), later.to_owned()));
        }
    }
}
