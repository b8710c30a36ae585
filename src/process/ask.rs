//! Asking a program: it is run for the line that it writes.

use std::io::{self, Read};
use std::process::{Command, Stdio};

/// Runs a program for what it writes to its standard output, `most` bytes at most. It has no standard input; what it says
/// on standard error is for the person, and it may use the terminal.
///
/// # Errors
/// It can't be run, ends with a failure, or writes more.
pub fn output_of(call: &[String], most: u64) -> io::Result<Vec<u8>> {
    let Some((program, args)) = call.split_first() else { return Err(io::ErrorKind::InvalidInput.into()) };
    let mut child = Command::new(program).args(args).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut written = Vec::new();
    let from = child.stdout.take().expect("it is a pipe");
    let read = from.take(most + 1).read_to_end(&mut written);
    if written.len() as u64 > most {
        // It has more to say, and would wait for somebody who reads that.
        child.kill()?;
    }
    let status = child.wait()?;
    read?;
    if written.len() as u64 > most {
        return Err(io::Error::other(format!("it wrote more than {most} bytes")));
    }
    if status.success() { Ok(written) } else { Err(io::Error::other(format!("it has ended with {status}"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_asked_for_what_it_writes() {
        let call = |script: &str| output_of(&["sh", "-c", script].map(String::from), 10);
        assert_eq!(call("printf word; cat").unwrap(), b"word");
        for script in ["printf word; exit 1", "yes", "printf 12345678901", "kill $$"] {
            assert!(call(script).is_err(), "{script}");
        }
        assert!(output_of(&[String::from("/nowhere/at-all")], 10).is_err());
        assert!(output_of(&[], 10).is_err());
    }
}
