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
    let said = Error::usage(format!("reading {}, line {line}: {}", path.display(), in_words(error.message())));
    let stray = unknown_field(error).filter(|name| alone(name).is_some_and(|error| unknown_field(&error).is_none()));
    match stray {
        // Whoever adds a line at the file's end adds it to the last table.
        Some(name) => said
            .advise(format!("put {name} above the first line in brackets, as what stands below one belongs to that")),
        None => said.advise("correct it there"),
    }
}

/// What the parser says, in the words of who writes the file.
fn in_words(message: &str) -> String {
    // Each with what stands for it in the message of the parser.
    const WORDS: [(&str, &str); 8] = [
        ("unknown field `", "there is no key `"),
        ("expected a sequence", "and a list is expected, such as [\"ssh\", \"server\"]"),
        ("expected a map", "and a table is expected: lines below one in brackets"),
        ("expected a boolean", "and true or false is expected"),
        ("expected path string", "and a path in quotation marks is expected"),
        ("expected a string", "and a text in quotation marks is expected"),
        ("expected u32", "and a whole number is expected, such as 30"),
        ("expected u64", "and a whole number is expected, such as 30"),
    ];
    // What stands there instead, which has no article.
    const FOUND: [(&str, &str); 6] = [
        ("string ", "the text "),
        ("integer ", "the number "),
        ("floating point ", "the number "),
        ("boolean ", ""),
        ("sequence", "a list"),
        ("map", "a table"),
    ];
    let told = WORDS.iter().fold(message.to_owned(), |told, (theirs, ours)| told.replace(theirs, ours));
    let Some(what) = ["invalid type: ", "invalid value: "].iter().find_map(|kind| told.strip_prefix(kind)) else {
        return told;
    };
    let found = FOUND.iter().find_map(|(theirs, ours)| Some(format!("{ours}{}", what.strip_prefix(theirs)?)));
    let found = found.unwrap_or_else(|| what.to_owned());
    // What is found may be any text; what is expected stands last.
    match found.rsplit_once(", and ") {
        Some((found, expected)) => format!("there is {found} and {expected}"),
        None => format!("there is {found}"),
    }
}

/// The field that isn't known, if that is what is wrong.
fn unknown_field(error: &toml::de::Error) -> Option<&str> {
    error.message().strip_prefix("unknown field `")?.split('`').next()
}
