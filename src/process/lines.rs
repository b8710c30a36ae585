//! The lines that a program says to people, as they come: of what it writes no more is kept than the beginning of one
//! line.

use memchr::memchr2;

use crate::text::printable;

/// So much of a line is shown, in bytes.
const MOST: usize = 1000;

/// Cuts what a program writes into lines that can be shown on any terminal.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// The beginning of a line that has not ended.
    begun: Vec<u8>,
    /// Whether there was more of it.
    cut: bool,
}

impl Lines {
    /// Takes what was written next, and gives each line that ends in it. A line that is empty says nothing.
    pub fn take(&mut self, mut bytes: &[u8], each: &mut dyn FnMut(&str)) {
        // A program that draws its progress goes back to the line's beginning.
        while let Some(end) = memchr2(b'\n', b'\r', bytes) {
            self.keep(&bytes[..end]);
            self.end(each);
            bytes = &bytes[end + 1..];
        }
        self.keep(bytes);
    }

    /// Gives the last line, if nothing has ended it.
    pub fn end(&mut self, each: &mut dyn FnMut(&str)) {
        let text = String::from_utf8_lossy(&self.begun).replace('\t', " ");
        let line = if self.cut {
            // The end of it may be half a character.
            format!("{}…", printable(text.trim_end_matches(char::REPLACEMENT_CHARACTER)))
        } else {
            printable(text.trim_end())
        };
        if !line.is_empty() {
            each(&line);
        }
        self.begun.clear();
        self.cut = false;
    }

    fn keep(&mut self, bytes: &[u8]) {
        let kept = bytes.len().min(MOST - self.begun.len());
        self.begun.extend_from_slice(&bytes[..kept]);
        self.cut |= kept < bytes.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_program_writes_is_told_in_short_lines_that_do_no_harm() {
        let long = "ü".repeat(600);
        let cut = format!("x{}…", "ü".repeat(499));
        let cases: [(&[&str], &[&str]); 8] = [
            (&["one\ntwo\n"], &["one", "two"]),
            (&["o", "n", "e\nt", "wo"], &["one", "two"]),
            (&["one\r\n\r\n  \ntwo \r\n"], &["one", "two"]),
            (&["10 %\r20 %\r", "done\n"], &["10 %", "20 %", "done"]),
            (&["\u{1b}[2J\u{7}bell\ttab\u{202e}\n"], &["\u{fffd}[2J\u{fffd}bell tab\u{fffd}"]),
            (&["x", &long, &long, "\nnext\n"], &[&cut, "next"]),
            (&[], &[]),
            (&["\n\n"], &[]),
        ];
        for (written, told) in cases {
            let (mut lines, mut heard) = (Lines::default(), Vec::new());
            for part in written {
                lines.take(part.as_bytes(), &mut |line| heard.push(line.to_owned()));
            }
            lines.end(&mut |line| heard.push(line.to_owned()));
            assert_eq!(heard, told, "{written:?}");
        }
    }

    #[test]
    fn a_line_without_an_end_fills_no_memory() {
        let mut lines = Lines::default();
        for _ in 0..1000 {
            lines.take(&[b'x'; 4096], &mut |line| panic!("there is no line yet: {line}"));
        }
        assert_eq!(lines.begun.len(), MOST);
    }
}
