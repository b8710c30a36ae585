//! The sealed bodies of jobs and of their results: a line that tells what it is, then what programs read or wrote.

use std::fs;
use std::io::{self, BufRead, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::bundle::{PrivateKey, ReplicaId, unseal};

/// What a job's sealed body begins with: one line of JSON. Standard input follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct JobBody {
    /// Who asks: nobody can pass the body off as their own and have its output told to them.
    pub requester: ReplicaId,
    /// The command and its arguments.
    pub command: Vec<String>,
}

/// What a report's sealed result begins with: one line of JSON. Standard output follows, then standard error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobReportBody {
    /// Why it was not done, in words.
    pub reason: Option<String>,
    /// When the program was started: milliseconds since 1970 UTC.
    pub started: Option<u64>,
    /// When it had ended: milliseconds since 1970 UTC.
    pub ended: Option<u64>,
    /// How many bytes of its standard output follow.
    pub stdout_bytes: usize,
    /// Whether it had written more.
    pub stdout_cut: bool,
    /// How many bytes of its standard error follow.
    pub stderr_bytes: usize,
    /// Whether it had written more.
    pub stderr_cut: bool,
}

impl JobReportBody {
    /// Says that no output follows, and what there was was left out.
    pub(super) fn leave_out_output(&mut self) {
        self.stdout_cut |= self.stdout_bytes > 0;
        self.stderr_cut |= self.stderr_bytes > 0;
        (self.stdout_bytes, self.stderr_bytes) = (0, 0);
    }
}

/// The length of the line that a body begins with, in bytes. More than an operating system lets a command line be.
pub(super) const BODY_BYTES: u64 = 4 << 20;
/// The length of the line that a result begins with, in bytes.
pub(super) const RESULT_BYTES: u64 = 64 << 10;

/// The line of JSON with which a body or a result begins.
pub(super) fn head(told: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(told).expect("it has a JSON form");
    line.push(b'\n');
    line
}

/// Reads the line of JSON with which a body or a result begins.
pub(super) fn read_head<T: for<'de> Deserialize<'de>>(reader: &mut impl BufRead, limit: u64) -> io::Result<T> {
    let mut line = Vec::new();
    reader.take(limit).read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it doesn't begin with a line that tells what it is"));
    }
    Ok(serde_json::from_slice(&line)?)
}

/// Opens a body that was sealed for this key, and reads what it begins with.
pub(super) fn open_body(key: &PrivateKey, path: &Path) -> io::Result<(JobBody, impl BufRead + use<>)> {
    let mut reader = io::BufReader::new(unseal(key, fs::File::open(path)?)?);
    let asked = read_head(&mut reader, BODY_BYTES)?;
    Ok((asked, reader))
}
