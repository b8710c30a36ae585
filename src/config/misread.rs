//! What people are told of a text that is no configuration.

use std::path::Path;

use crate::error::Error;

/// What is wrong with a text that is no configuration. `alone` tells what is wrong with one that has this key alone, above
/// all tables.
pub(super) fn misread(
    text: &str,
    path: &Path,
    error: &toml::de::Error,
    alone: impl Fn(&str) -> Option<toml::de::Error>,
) -> Error {
    let line = error.span().map_or(0, |span| text[..span.start].matches('\n').count() + 1);
    // What isn't there above all tables is on no line.
    let place = match line {
        1 if error.message().starts_with("missing field") => String::new(),
        _ => format!(", line {line}"),
    };
    let said = Error::usage(format!("reading {}{place}: {}", path.display(), in_words(error.message())));
    let stray = unknown_field(error).filter(|name| alone(name).is_some_and(|error| unknown_field(&error).is_none()));
    match stray {
        // Whoever adds a line at the file's end adds it to the last table.
        Some(name) => said
            .advise(format!("put {name} above the first line in brackets, as what stands below one belongs to that")),
        None => said.advise("correct it there"),
    }
}

/// What the parser says, by how that begins, and what stands for it.
const WORDS: [(&str, &str); 12] = [
    ("wanted string or table", "a text in quotation marks is expected"),
    ("duplicate key", "this key, or these brackets, stand there for the second time"),
    ("string values must be quoted", "a number, true, false, a list or a text in quotation marks is expected"),
    ("key with no value", "a key stands there without `=` and a value"),
    ("unquoted keys cannot be empty", "no key stands before the `=`"),
    ("unclosed table", "a `]` is missing"),
    ("unclosed array", "a `]` is missing"),
    ("unclosed inline table", "a `}` is missing"),
    ("invalid basic string", "a quotation mark is missing at the end of a text"),
    ("invalid literal string", "a quotation mark is missing at the end of a text"),
    ("missing escaped value", "a backslash in a text stands twice if it is meant as one"),
    ("unexpected key or value", "more stands there than a key, `=` and a value"),
];

/// What the parser says, in the words of who writes the file.
fn in_words(message: &str) -> String {
    let unfit = ["invalid type: ", "invalid value: "].into_iter().find_map(|kind| message.strip_prefix(kind));
    if let Some((found, expected)) = unfit.and_then(|unfit| unfit.rsplit_once(", expected ")) {
        return format!("there is {}, and {} is expected", value_in_words(found), kind_in_words(expected));
    }
    if let Some((value, expected)) = named(message, "unknown variant") {
        return format!("there is \"{value}\", and {} is expected", choices(expected, '"'));
    }
    if let Some((key, expected)) = named(message, "unknown field") {
        return format!("there is no key `{key}` here; the keys are {}", choices(expected, '`'));
    }
    if let Some((key, _)) = named(message, "missing field") {
        return format!("the key `{key}` is missing");
    }
    let known = WORDS.iter().find(|(theirs, _)| message.starts_with(theirs));
    known.map_or_else(|| format!("this can't be read as TOML: {message}"), |(_, ours)| String::from(*ours))
}

/// The name in a message that begins so, and what is said to be expected instead of it.
fn named<'m>(message: &'m str, begins: &str) -> Option<(&'m str, &'m str)> {
    let (name, rest) = message.strip_prefix(begins)?.trim_start().strip_prefix('`')?.split_once('`')?;
    let rest = rest.trim_start_matches(", ").trim_start_matches("expected ").trim_start_matches("one of ");
    Some((name, rest))
}

/// Names that the parser lists between backticks, as a choice, each between these marks.
fn choices(listed: &str, mark: char) -> String {
    let names: Vec<String> = listed.split('`').skip(1).step_by(2).map(|name| format!("{mark}{name}{mark}")).collect();
    match names.split_last() {
        None => String::from("none"),
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
    }
}

/// What the parser has found.
fn value_in_words(found: &str) -> String {
    let quoted = found.split('`').nth(1);
    match found.split(' ').next().unwrap_or_default() {
        "integer" | "floating" => format!("the number {}", quoted.unwrap_or_default()),
        "boolean" | "datetime" => String::from(quoted.unwrap_or_default()),
        "string" => format!("the text {}", found.trim_start_matches("string ")),
        "map" => String::from("a table"),
        "sequence" => String::from("a list"),
        _ => found.to_owned(),
    }
}

/// What the parser has expected.
fn kind_in_words(expected: &str) -> String {
    match expected {
        "u32" => format!("a whole number from 0 to {}", u32::MAX),
        "u64" => String::from("a whole number, not less than 0,"),
        "a string" => String::from("a text in quotation marks"),
        "a boolean" => String::from("true or false"),
        "a sequence" => String::from("a list, such as [\"ssh\", \"server\"],"),
        "path string" => String::from("a path in quotation marks"),
        _ if expected == "a map" || expected.starts_with("struct ") => {
            String::from("a table: lines below one in brackets,")
        }
        _ => expected.to_owned(),
    }
}

/// The field that isn't known, if that is what is wrong.
fn unknown_field(error: &toml::de::Error) -> Option<&str> {
    error.message().strip_prefix("unknown field `")?.split('`').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_parser_says_is_said_in_the_words_of_who_writes_the_file() {
        for (theirs, ours) in [
            (
                "invalid type: string \"x\", expected u32",
                "there is the text \"x\", and a whole number from 0 to 4294967295 is expected",
            ),
            (
                "invalid value: integer `-1`, expected u64",
                "there is the number -1, and a whole number, not less than 0, is expected",
            ),
            (
                "invalid type: integer `99999999999999999999` as i128, expected u64",
                "there is the number 99999999999999999999, and a whole number, not less than 0, is expected",
            ),
            (
                "invalid type: floating point `3.5`, expected u32",
                "there is the number 3.5, and a whole number from 0 to 4294967295 is expected",
            ),
            (
                "invalid type: string \"a, expected u32\", expected a boolean",
                "there is the text \"a, expected u32\", and true or false is expected",
            ),
            (
                "invalid type: integer `5`, expected struct PeerConfig",
                "there is the number 5, and a table: lines below one in brackets, is expected",
            ),
            (
                "unknown variant `x`, expected one of `files`, `always`, `never`",
                "there is \"x\", and \"files\", \"always\" or \"never\" is expected",
            ),
            ("unknown variant `x`, expected `peers` or `any`", "there is \"x\", and \"peers\" or \"any\" is expected"),
            ("unknown field `x`, expected `a` or `b`", "there is no key `x` here; the keys are `a` or `b`"),
            ("missing field `name`", "the key `name` is missing"),
            ("duplicate key", "this key, or these brackets, stand there for the second time"),
            ("invalid date, expected month", "this can't be read as TOML: invalid date, expected month"),
        ] {
            assert_eq!(in_words(theirs), ours);
        }
    }
}
