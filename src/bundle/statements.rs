//! The lines of `jobs.jsonl`, as they pass through a reader.

use std::io::{self, Write};

use super::{Error, JobLine, limits};
use crate::model::Claims;

/// Counts the lines that pass through, and checks their stamps.
pub(super) struct StatementLines<'a, W> {
    sink: &'a mut W,
    claims: Option<&'a Claims>,
    /// How many had a newline.
    ended: u64,
    /// The line that has no newline yet: its beginning, as far as a statement can be long.
    line: Vec<u8>,
    /// The first stamp that can't be true.
    untrue: Option<Error>,
}

impl<'a, W> StatementLines<'a, W> {
    /// On their way to `sink`. Without `claims` nothing is checked.
    pub(super) fn new(sink: &'a mut W, claims: Option<&'a Claims>) -> Self {
        Self { sink, claims, ended: 0, line: Vec::new(), untrue: None }
    }

    /// All have passed. There should be this many, and it is known by now whether they are those that the manifest
    /// vouches for.
    pub(super) fn finish(self, count: u64, vouched_for: bool) -> Result<(), Error> {
        if !self.line.is_empty() {
            return Err(Error::corrupt("jobs.jsonl: its last line has no end"));
        }
        if self.ended != count {
            return Err(Error::corrupt("jobs.jsonl: not as many jobs as the manifest says"));
        }
        if !vouched_for {
            return Err(Error::corrupt("jobs.jsonl: not what the manifest vouches for"));
        }
        self.untrue.map_or(Ok(()), Err)
    }

    fn take(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            // One byte more than a line can have tells that it is too long; and a line that is begun is never empty.
            let most = usize::try_from(limits::JOB_LINE_BYTES).expect("a line fits") + 1;
            let (text, ends) = piece.strip_suffix(b"\n").map_or((piece, false), |text| (text, true));
            self.line.extend_from_slice(&text[..text.len().min(most - self.line.len())]);
            if ends {
                self.ended += 1;
                self.check();
                self.line.clear();
            }
        }
    }

    /// The statement is another's, but the stamp beside it is the sender's word: it knows every stamp that it passes
    /// on.
    fn check(&mut self) {
        let Some(claims) = self.claims.filter(|_| self.untrue.is_none()) else { return };
        if let Ok(line) = JobLine::decode(&self.line)
            && let Err(untrue) = claims.statement(line.stamp)
        {
            self.untrue = Some(Error::untrue(format!("jobs.jsonl, line {}: {untrue}", self.ended)));
        }
    }
}

impl<W: Write> Write for StatementLines<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.sink.write(bytes)?;
        self.take(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}
