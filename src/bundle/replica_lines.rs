//! The lines of `replicas.jsonl`. They are few, and what they say matters to the records behind them, so all are read at
//! once.

use std::io::BufRead;

use super::archive::{Archive, read_small};
use super::{Error, Manifest, Part, ReplicaLine, WriteError, limits};
use crate::model::Claims;

/// Reads the lines, without their newlines. What the manifest says of them holds, and so do their stamps; whatever else is
/// wrong with a statement is for whoever takes it to find out: it may come from far away.
pub(super) fn read_lines<B: BufRead>(
    archive: &mut Archive<B>,
    manifest: &Manifest,
    claims: Option<&Claims>,
) -> Result<Vec<Vec<u8>>, Error> {
    let Some(part) = manifest.replicas else { return Ok(Vec::new()) };
    let text = read_small(archive, "replicas.jsonl", limits::REPLICAS_BYTES)?;
    if text.len() as u64 != part.bytes {
        return Err(Error::corrupt("replicas.jsonl: not of the size that the manifest says"));
    }
    if Part::of(&text) != part {
        return Err(Error::corrupt("replicas.jsonl: not what the manifest vouches for"));
    }
    if text.last() != Some(&b'\n') {
        return Err(Error::corrupt("replicas.jsonl: its last line has no end"));
    }
    // A newline is never the same as any other byte, so there are no more lines than that.
    if memchr::memchr_iter(b'\n', &text).count() as u64 != manifest.counts.replicas {
        return Err(Error::corrupt("replicas.jsonl: not as many statements as the manifest says"));
    }
    let lines: Vec<_> = text[..text.len() - 1].split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
    for (line, number) in lines.iter().zip(1_u64..) {
        // The statement is another's, but the stamp beside it is the sender's word: it knows every stamp that it passes
        // on.
        if let Some(claims) = claims
            && let Ok(line) = ReplicaLine::decode(line)
        {
            let checked = claims.of_replica(line.stamp);
            checked.map_err(|untrue| Error::untrue(format!("replicas.jsonl, line {number}: {untrue}")))?;
        }
    }
    Ok(lines)
}

/// The whole of `replicas.jsonl`, before it is written into a bundle.
#[derive(Debug, Default)]
pub struct SpooledReplicas {
    text: Vec<u8>,
    lines: u64,
}

impl SpooledReplicas {
    /// Adds the next statement.
    ///
    /// # Errors
    /// If its stamp can't be true in a bundle of which `claims` can be, and those of [`SpooledReplicas::push`].
    pub fn statement(&mut self, line: &ReplicaLine, claims: &Claims) -> Result<(), WriteError> {
        claims.of_replica(line.stamp).map_err(|untrue| WriteError::inconsistent(untrue.to_string()))?;
        self.push(&line.encode())
    }

    /// Adds the next line, without its newline, as it is.
    ///
    /// # Errors
    /// If it is larger than a reader would take.
    pub fn push(&mut self, line: &[u8]) -> Result<(), WriteError> {
        if self.lines == limits::REPLICA_STATEMENTS {
            let what = "the number of statements about replicas";
            return Err(WriteError::TooLarge { what, limit: limits::REPLICA_STATEMENTS });
        }
        if line.len() as u64 > limits::REPLICA_LINE_BYTES {
            let what = "the line of a statement about a replica";
            return Err(WriteError::TooLarge { what, limit: limits::REPLICA_LINE_BYTES });
        }
        self.lines += 1;
        self.text.extend_from_slice(line);
        self.text.push(b'\n');
        Ok(())
    }

    /// The number of its lines, for the manifest's `counts`.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// Its size and hash, for the manifest's `replicas`. `None` if there is no line.
    pub fn part(&self) -> Option<Part> {
        (self.lines > 0).then(|| Part::of(&self.text))
    }

    /// The bytes of the member.
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }
}
