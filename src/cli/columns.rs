//! Tables whose width doesn't depend on what is in them: a cell that is too long is cut.

use super::screen::words;
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

/// Rows of cells as lines with aligned columns, which are as wide as what is in them.
pub fn table(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.width()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell}{}", " ".repeat(width - cell.width())));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// The same where the first cells are names of any length, for somebody who sees so many columns: a name is cut that leaves
/// too little room for the others. Who reads it otherwise gets whole names.
pub fn named(mut rows: Vec<Vec<String>>, columns: Option<usize>) -> Vec<String> {
    if let Some(columns) = columns {
        rows.iter_mut().filter_map(|row| row.first_mut()).for_each(|name| *name = cut(name, columns * 3 / 5));
    }
    table(&rows)
}

/// A label and what is said under it, in lines of at most 80 columns. What is longer and has no blank stands whole, and so
/// does a command.
pub fn labelled(label: &str, text: &str) -> Vec<String> {
    let mut lines = vec![format!("{label:LABEL$}")];
    if label.len() >= LABEL {
        lines[0].push(' ');
    }
    let mut is_empty = true;
    for word in words(text).map(|word| word.word) {
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
        assert_eq!(labelled("passed over", "1 message"), ["passed over 1 message"]);
        let command = format!("`mailsync {}`", "x ".repeat(20).trim());
        let told = labelled("next", &format!("{} {command} and then", "y".repeat(40)));
        assert_eq!(told[1..], [format!("{blanks}{command} and then")]);
        let words = "word ".repeat(200);
        assert!(labelled("label", words.trim()).iter().all(|line| line.len() <= 80));
    }

    #[test]
    fn the_longest_name_leaves_room_for_the_rest_and_wide_letters_take_two_columns() {
        let rows = || {
            let names = ["INBOX", "会議の記録", &"x".repeat(100)];
            names.map(|name| vec![String::from(name), String::from("12"), String::from("on disk")]).to_vec()
        };
        let whole = named(rows(), None);
        assert_eq!(whole[0], format!("INBOX{}  12  on disk", " ".repeat(95)));
        assert_eq!(whole[1], format!("会議の記録{}  12  on disk", " ".repeat(90)));
        let seen = named(rows(), Some(80));
        assert_eq!(seen[1], format!("会議の記録{}  12  on disk", " ".repeat(38)));
        assert_eq!(seen[2], format!("{}…  12  on disk", "x".repeat(47)));
        assert!(seen.iter().all(|line| line.width() <= 80));
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
