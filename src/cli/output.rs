//! Writing: data to standard output, words to standard error.

use std::fmt;
use std::io::{self, Write};

use mailsync::error::{Error, ErrorKind};
use mailsync::text::printable;

use super::document::{self, Document, Documents, Shown};
use super::failure::{CommandResult, Ending, Failure};
use super::meter;
use super::screen;

/// A command's way to speak.
#[derive(Debug)]
pub struct Output {
    documents: Option<Documents>,
    quiet: bool,
}

impl Output {
    /// With documents for those who want one JSON document instead of text.
    pub fn new(documents: Option<Documents>, quiet: bool) -> Self {
        Self { documents, quiet }
    }

    /// Whether nothing is to be said but errors.
    pub fn quiet(&self) -> bool {
        self.quiet
    }

    /// Whether one JSON document is wanted instead of text.
    pub fn json(&self) -> bool {
        self.documents.is_some()
    }

    /// Says something to the person.
    pub fn say(&self, what: impl fmt::Display) {
        if !self.quiet {
            Self::relay(&screen::said(&printable(&what.to_string())));
        }
    }

    /// Says a command that is to be copied, however long it is: alone on its line, which isn't broken.
    pub fn command(&self, command: &str) {
        if !self.quiet {
            Self::relay(&format!("    {}", printable(command)));
        }
    }

    /// Shows the person what is shown nowhere else, and this once, whatever is wanted to be quiet.
    ///
    /// # Errors
    /// It can't be shown.
    pub fn show(line: &str) -> std::result::Result<(), Error> {
        writeln!(io::stderr(), "{line}").map_err(|error| {
            Error::os("writing to standard error", error).advise("let it go to a terminal, then run this again")
        })
    }

    /// Says that something went wrong.
    pub fn complain(error: &Error) {
        document::note(error);
        Self::relay(&screen::complained(&error.to_string()));
    }

    /// Writes a line for the person, whole: another thread's can't come between.
    pub fn relay(line: &str) {
        meter::beside_bars(|| {
            // If standard error is closed, nobody listens.
            let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
        });
    }

    /// Takes a command's own members of the JSON document, which is printed at the command's end. Where text is wanted,
    /// they have no reader.
    pub fn document(&self, members: &impl Document) -> Shown {
        if let Some(documents) = &self.documents {
            documents.keep(members);
        }
        Shown::in_words_too()
    }

    /// Prints the JSON document, if one is wanted. `kind` is how the command ends.
    ///
    /// # Errors
    /// It can't be written.
    pub fn finish(&self, kind: Option<ErrorKind>) -> Ending {
        let Some(documents) = &self.documents else { return Ok(()) };
        documents.print(&mut io::stdout().lock(), kind).map_err(|error| closed(&error))
    }

    /// Prints lines of data, which no document has. Standard output of who wants documents has nothing else.
    pub fn print(&self, lines: impl IntoIterator<Item = String>) -> CommandResult {
        self.print_lines(lines).map(|()| Shown::in_words_too())
    }

    fn print_lines(&self, lines: impl IntoIterator<Item = String>) -> Ending {
        assert!(!self.json(), "a command has lines where a document is wanted");
        let mut out = io::BufWriter::new(io::stdout().lock());
        for line in lines {
            writeln!(out, "{}", screen::shown(&line)).map_err(|error| closed(&error))?;
        }
        out.flush().map_err(|error| closed(&error))
    }
}

/// The failure for an error in writing to standard output.
pub fn closed(error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        Failure::BrokenPipe
    } else {
        Failure::Error(
            Error::os("writing to standard output", error)
                .advise("make room for it, or send it elsewhere, then run this again"),
        )
    }
}

/// A time for people: UTC, to the second. `millis` counts from 1970 UTC.
pub fn time(millis: u64) -> String {
    i64::try_from(millis)
        .ok()
        .and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok())
        .map_or_else(|| String::from("-"), |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}
