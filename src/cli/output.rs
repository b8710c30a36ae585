//! Writing: data to standard output, words to standard error.

use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use mailsync::error::Error;
use mailsync::text::printable;
use serde_json::Value;

use super::failure::{CommandResult, Failure};

/// Whether the JSON document was printed. There is only one.
static PRINTED: AtomicBool = AtomicBool::new(false);

/// A command's way to speak.
#[derive(Debug)]
pub struct Output {
    json: bool,
    quiet: bool,
}

impl Output {
    pub fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet }
    }

    /// Whether nothing is to be said but errors.
    pub fn quiet(&self) -> bool {
        self.quiet
    }

    /// Whether one JSON document is wanted instead of text.
    pub fn json(&self) -> bool {
        self.json
    }

    /// Says something to the person.
    pub fn say(&self, what: impl fmt::Display) {
        if !self.quiet {
            // If standard error is closed, nobody listens.
            let _ = writeln!(io::stderr(), "mailsync: {}", printable(&what.to_string()));
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
        let _ = writeln!(io::stderr(), "mailsync: {error}");
    }

    /// Prints the JSON document.
    pub fn print_json(document: &Value) -> CommandResult {
        PRINTED.store(true, Ordering::Relaxed);
        let mut out = io::stdout().lock();
        let written = serde_json::to_writer_pretty(&mut out, document).map_err(io::Error::from);
        written.and_then(|()| writeln!(out)).and_then(|()| out.flush()).map_err(|error| closed(&error))
    }

    /// A caller that asked for JSON gets a document, even if that only says what failed.
    pub fn print_error_in_json(error: &Error) {
        if !PRINTED.load(Ordering::Relaxed) {
            // The words were said already.
            let _ = Self::print_json(&serde_json::json!({ "error": error.to_string() }));
        }
    }

    /// Prints lines of data.
    pub fn print(lines: impl IntoIterator<Item = String>) -> CommandResult {
        let mut out = io::BufWriter::new(io::stdout().lock());
        for line in lines {
            writeln!(out, "{line}").map_err(|error| closed(&error))?;
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

/// A time in JSON: RFC 3339, or null.
pub fn json_time(millis: Option<u64>) -> Value {
    millis.map_or(Value::Null, |millis| Value::from(time(millis)))
}

/// Rows of cells as lines with aligned columns.
pub fn table(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}
