//! Tables whose width doesn't depend on what is in them: a cell that is too long is cut.

use mailsync::text::printable;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Lines are no longer, in columns.
const MOST: usize = 80;
/// A label takes so many columns.
const LABEL: usize = 11;

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    width: usize,
    right: bool,
}

impl Column {
    /// A column of this width, whose cells begin at its left edge.
    pub const fn left(width: usize) -> Self {
        Self { width, right: false }
    }

    /// The same, whose cells end at its right edge. A number is never cut.
    pub const fn right(width: usize) -> Self {
        Self { width, right: true }
    }
}

/// A line of the table. The last cell isn't filled up.
pub fn row(columns: &[Column], cells: &[&str]) -> String {
    let mut line = String::new();
    for (column, cell) in columns.iter().zip(cells) {
        if !line.is_empty() {
            line.push_str("  ");
        }
        let cell = printable(cell);
        let cell = if column.right { cell } else { cut(&cell, column.width) };
        let blanks = " ".repeat(column.width.saturating_sub(cell.width()));
        line = if column.right { line + &blanks + &cell } else { line + &cell + &blanks };
    }
    line.truncate(line.trim_end().len());
    line
}

/// A label and what is said under it, in lines of at most 80 columns. What is longer and has no blank stands whole.
pub fn labelled(label: &str, text: &str) -> Vec<String> {
    let mut lines = vec![format!("{label:LABEL$}")];
    if label.width() >= LABEL {
        lines[0].push(' ');
    }
    let mut is_empty = true;
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is one");
        if is_empty || line.width() + 1 + word.width() <= MOST {
            line.push_str(if is_empty { "" } else { " " });
            line.push_str(word);
        } else {
            lines.push(format!("{:LABEL$}{word}", ""));
        }
        is_empty = false;
    }
    lines
}

/// The beginning of a text that takes no more columns than these, with an ellipsis if something is missing.
pub fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut taken = 0;
    let fits = text.chars().take_while(|c| {
        taken += c.width().unwrap_or(0);
        taken < width
    });
    fits.collect::<String>() + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_behind_a_label_is_broken_at_blanks() {
        assert_eq!(labelled("mail", "3 entries"), ["mail       3 entries"]);
        assert_eq!(labelled("passed over", "3 entries"), ["passed over 3 entries"], "one that fills its column");
        let long = format!("{} {} two words", "x".repeat(60), "y".repeat(90));
        let blanks = " ".repeat(11);
        let expected = [
            format!("waiting    {}", "x".repeat(60)),
            format!("{blanks}{}", "y".repeat(90)),
            format!("{blanks}two words"),
        ];
        assert_eq!(labelled("waiting", &long), expected);
        let words = "word ".repeat(200);
        assert!(labelled("label", words.trim()).iter().all(|line| line.len() <= 80));
    }

    const COLUMNS: [Column; 3] = [Column::right(4), Column::left(6), Column::left(5)];

    #[test]
    fn a_row_keeps_its_width_whatever_is_in_it() {
        for (cells, expected) in [
            (["1", "INBOX", "short"], "   1  INBOX   short"),
            (["12345", "Archive/2019", "a longer one"], "12345  Archi…  a lo…"),
            (["7", "会議の記録", "😀😀😀"], "   7  会議…   😀😀…"),
            (["8", "a\u{1b}[2J", ""], "   8  a\u{fffd}[2J"),
        ] {
            assert_eq!(row(&COLUMNS, &cells), expected);
        }
    }
}
