//! The plain contents of attachments: a line of JSON that describes them, then a program's input or output.

use std::io::{self, BufRead, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::bundle::{Keys, ReplicaId, parse_strictly, unseal};
use crate::disk::{Disk, Source};

/// The line of JSON at the beginning of a job's body. Standard input follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct JobBody {
    /// The requester. So nobody else can pass the body off as their own, to be told its output.
    pub requester: ReplicaId,
    /// The command and its arguments.
    pub command: Vec<String>,
}

/// The line of JSON at the beginning of a report's result. Standard output follows, then standard error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobReportBody {
    /// The reason why the job was not done, in words.
    pub reason: Option<String>,
    /// When the program was started: milliseconds since 1970 UTC.
    pub started: Option<u64>,
    /// When the program had ended: milliseconds since 1970 UTC.
    pub ended: Option<u64>,
    /// The number of bytes that follow from its standard output.
    pub stdout_bytes: usize,
    /// Whether it had written more.
    pub stdout_cut: bool,
    /// The number of bytes that follow from its standard error.
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

/// The greatest length of the line at the beginning of a body, in bytes. No operating system lets a command line be
/// longer.
pub(super) const BODY_BYTES: u64 = 4 << 20;
/// The greatest length of the line at the beginning of a result, in bytes.
pub(super) const RESULT_BYTES: u64 = 64 << 10;

/// Makes the line of JSON with which a body or a result begins.
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
    parse_strictly(&line).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Opens a body that was encrypted for one of these keys, and reads its first line.
pub(super) fn open_body<'d>(
    disk: &'d dyn Disk,
    keys: &Keys,
    path: &Path,
) -> io::Result<(JobBody, impl BufRead + use<'d>)> {
    let mut reader = io::BufReader::new(unseal(keys, Source::open(disk, path)?)?);
    let asked = read_head(&mut reader, BODY_BYTES)?;
    Ok((asked, reader))
}
