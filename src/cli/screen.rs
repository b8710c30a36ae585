//! What a person sees: lines that fit their terminal, broken between words, and a little colour. Whoever reads a pipe or a
//! file gets whole lines, without colours.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;

use anstream::stream::RawStream;
use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use textwrap::core::Word;
use textwrap::{Options, WordSeparator, WordSplitter};

const ERROR: Style = AnsiColor::Red.on_default().bold();
const CARE: Style = AnsiColor::Yellow.on_default();

/// With this begins each line for people, so that they know who speaks.
const WHO: &str = "mailsync:";

/// What comes further in than the first part of a line that is broken, in columns.
const INDENT: usize = 4;
/// A terminal that is narrower breaks lines as it likes.
const NARROW: u16 = 30;

/// When colours are used. Left to itself, a terminal gets them unless the environment says otherwise, by `NO_COLOR` or
/// `TERM=dumb`; what is none gets them if `CLICOLOR_FORCE` says so. Who reads documents wants none.
pub fn colour(when: clap::ColorChoice, documents: bool) {
    match when {
        _ if documents => ColorChoice::Never,
        clap::ColorChoice::Auto => ColorChoice::Auto,
        clap::ColorChoice::Always => ColorChoice::Always,
        clap::ColorChoice::Never => ColorChoice::Never,
    }
    .write_global();
}

/// A line for standard error that says something.
pub fn said(text: &str) -> String {
    let line = fitting(&format!("{WHO} {text}"), &io::stderr());
    let word = ["warning:", "note:"].into_iter().find(|word| text.starts_with(word));
    match word.filter(|_| is_coloured(&io::stderr())) {
        Some(word) => line.replacen(word, &painted(CARE, word), 1),
        None => line,
    }
}

/// A line for standard error that says that something went wrong.
pub fn complained(text: &str) -> String {
    let line = fitting(&format!("{WHO} {text}"), &io::stderr());
    if is_coloured(&io::stderr()) { line.replacen(WHO, &painted(ERROR, WHO), 1) } else { line }
}

/// A line for standard output.
pub fn shown(line: &str) -> String {
    fitting(line, &io::stdout())
}

/// How many columns somebody sees of standard output. `None` if nobody does, or nobody knows.
pub fn output_columns() -> Option<usize> {
    width(&io::stdout())
}

/// The same of standard error.
pub fn error_columns() -> Option<usize> {
    width(&io::stderr())
}

/// What is said when a signal ends the command, which changes nothing or may have changed something.
pub fn say_when_interrupted(only_looks: bool) {
    mailsync::process::say_when_interrupted(&complained(if only_looks {
        "interrupted; nothing was changed by that; run it again when you like"
    } else {
        "interrupted: each thing that it did is done or as it was, and nothing is lost; run it again, and it goes on from there"
    }));
}

fn painted(style: Style, word: &str) -> String {
    format!("{style}{word}{style:#}")
}

fn is_coloured(stream: &impl RawStream) -> bool {
    AutoStream::choice(stream) != ColorChoice::Never
}

fn fitting(line: &str, stream: &(impl IsTerminal + AsFd)) -> String {
    match width(stream) {
        Some(width) => broken(line, width),
        None => line.to_owned(),
    }
}

/// How many columns somebody sees. `None` if nobody does, or nobody knows.
fn width(stream: &(impl IsTerminal + AsFd)) -> Option<usize> {
    let columns = stream.is_terminal().then(|| rustix::termios::tcgetwinsize(stream).ok())??.ws_col;
    (columns >= NARROW).then_some(usize::from(columns))
}

/// A line in parts that take no more columns than these, unless a word does. What stands between backticks is a command,
/// which is to be copied: it is one word.
fn broken(line: &str, width: usize) -> String {
    let own = line.len() - line.trim_start_matches(' ').len();
    let indent = " ".repeat((own + INDENT).min(width / 2));
    let options = Options::new(width)
        .subsequent_indent(&indent)
        .break_words(false)
        .word_separator(WordSeparator::Custom(words))
        .word_splitter(WordSplitter::NoHyphenation);
    textwrap::fill(line, options)
}

/// The words of a line; what stands between backticks is one, and so are a date and the time behind it.
pub fn words(line: &str) -> Box<dyn Iterator<Item = Word<'_>> + '_> {
    let mut rest = line;
    Box::new(std::iter::from_fn(move || {
        let (mut is_command, mut after_blank) = (false, false);
        let end = rest.char_indices().find_map(|(at, c)| {
            let ends = after_blank && c != ' ' && !is_one_time(rest[..at].trim_end(), &rest[at..]);
            is_command ^= c == '`';
            after_blank = c == ' ' && !is_command;
            ends.then_some(at)
        });
        let (word, more) = rest.split_at(end.unwrap_or(rest.len()));
        rest = more;
        (!word.is_empty()).then(|| Word::from(word))
    }))
}

/// Whether a word ends with a date and the next one is the time of that day, or ends with a time and the next one is its distance
/// from UTC.
fn is_one_time(word: &str, next: &str) -> bool {
    let fits = |text: &str, pattern: &str| {
        text.len() >= pattern.len()
            && text.bytes().zip(pattern.bytes()).all(|(is, as_)| is == as_ || as_ == b'0' && is.is_ascii_digit())
    };
    let ends = |pattern: &str| {
        let start = word.len().checked_sub(pattern.len());
        start.and_then(|start| word.get(start..)).is_some_and(|end| fits(end, pattern))
    };
    let is_distance = ["+00", "-00"].into_iter().any(|distance| fits(next, distance));
    ends("0000-00-00") && fits(next, "00:00") || ends("0000-00-00 00:00") && is_distance
}

#[cfg(test)]
mod tests {
    use super::*;
    use unicode_width::UnicodeWidthStr;

    #[test]
    fn a_line_is_broken_between_words_and_a_command_is_one_word() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEXPE3WglmEskzZh9HBDjaBLjsQ9yUF09q62kzCJfDz6";
        for (line, expected) in [
            ("mailsync: short", "mailsync: short"),
            (
                "mailsync: there is no peer called server; the peers are: desktop, laptop",
                "mailsync: there is no peer called server;\n    the peers are: desktop, laptop",
            ),
            (
                "mailsync: an end; run `mailsync scan --allow-mass-delete` then",
                "mailsync: an end; run\n    `mailsync scan --allow-mass-delete` then",
            ),
            (
                "mailsync: next: `mailsync peer add a-long-name --key KEY-THAT-IS-LONG` there",
                "mailsync: next:\n    `mailsync peer add a-long-name --key KEY-THAT-IS-LONG`\n    there",
            ),
            (
                "  Lists/bees     152   and more than there is room for",
                "  Lists/bees     152   and more than there\n      is room for",
            ),
            (
                "一二三四五六七八九十 一二三四五六七八九十 一二三",
                "一二三四五六七八九十 一二三四五六七八九十\n    一二三",
            ),
            (
                "laptop  SHA256:ygrPqsk5wk667i4i3fnEDB/3R/C2o2VuOlIWJAm1Yvs  never",
                "laptop\n    SHA256:ygrPqsk5wk667i4i3fnEDB/3R/C2o2VuOlIWJAm1Yvs\n    never",
            ),
            (
                "laptop: heard of it last at 2026-11-29 13:00:00+01:00, and sent then",
                "laptop: heard of it last at\n    2026-11-29 13:00:00+01:00, and sent then",
            ),
            (
                "seen within the day of 2026-11-29 13:00 +0100 and then",
                "seen within the day of\n    2026-11-29 13:00 +0100 and then",
            ),
            (
                "a range of numbers is as such 2026-11-29 to 2026",
                "a range of numbers is as such 2026-11-29 to\n    2026",
            ),
            ("an odd ` in it, and then much more that is long", "an odd\n    ` in it, and then much more that is long"),
        ] {
            let told = broken(line, 44);
            assert_eq!(told, expected);
            let is_whole = |part: &str| part.contains('`') || !part.trim().contains(' ');
            assert!(told.lines().all(|part| part.width() <= 44 || is_whole(part)), "{told}");
        }
        let command = format!("`mailsync peer add laptop --key '{key}'`");
        let told = broken(&format!("mailsync: on the other machine, run {command} once"), 80);
        assert!(told.contains(&format!("\n    {command}\n")), "{told}");
    }
}
