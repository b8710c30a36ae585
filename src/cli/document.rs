//! The JSON document of a command: the one place that writes it. Its common members are added here, so that no command can
//! leave one out.

use std::cell::RefCell;
use std::io::{self, Write};
use std::sync::Mutex;

use mailsync::error::{Error, ErrorKind};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// The version of all documents. Members are added without a new one.
const VERSION: u32 = 1;

/// The members that every document has. No command has one of these names for anything else.
const COMMON: [&str; 5] = ["version", "command", "dry_run", "exit_code", "error"];

/// The errors that people were told, in their order, with their kinds.
static TOLD: Mutex<Vec<(ErrorKind, Value)>> = Mutex::new(Vec::new());

/// Remembers an error that people were told, for the document.
pub fn note(error: &Error) {
    if let Ok(mut told) = TOLD.lock() {
        told.push((error.kind(), json!(error)));
    }
}

/// That a command has shown its result. Nobody can make one but who has printed lines or given a document.
#[derive(Debug)]
#[must_use]
pub struct Shown(());

impl Shown {
    /// Only `output.rs` may say so.
    pub(super) fn in_words_too() -> Self {
        Self(())
    }
}

/// Forgets the errors that people were told so far.
pub fn forget() {
    if let Ok(mut told) = TOLD.lock() {
        told.clear();
    }
}

/// How documents are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A command has one, which may have many lines.
    Whole,
    /// A command may have several, each a line.
    Lines,
}

/// The document of one command, until it is printed.
#[derive(Debug)]
pub struct Documents {
    form: Form,
    command: Option<&'static str>,
    dry_run: Option<bool>,
    members: RefCell<Value>,
}

impl Documents {
    /// The document of this command, which is unknown if the arguments make no sense. Whether it changes nothing is said
    /// of commands that can be asked for that.
    pub fn new(command: Option<&'static str>, dry_run: Option<bool>, form: Form) -> Self {
        Self { form, command, dry_run, members: RefCell::default() }
    }

    /// Keeps the command's own members.
    pub fn keep(&self, members: &impl Serialize) {
        // What can't be told as JSON would be a name of a member that is no text; there is none.
        self.members.replace(serde_json::to_value(members).expect("every member has a text for a name"));
    }

    /// Prints the document, in which the command ends in this way.
    ///
    /// # Errors
    /// It can't be written.
    pub fn print(&self, out: &mut impl Write, kind: Option<ErrorKind>) -> io::Result<()> {
        let told = TOLD.lock().map(|mut told| std::mem::take(&mut *told)).unwrap_or_default();
        let document = whole(self, kind, &told);
        match self.form {
            Form::Whole => serde_json::to_writer_pretty(&mut *out, &document)?,
            Form::Lines => serde_json::to_writer(&mut *out, &document)?,
        }
        writeln!(out)?;
        out.flush()
    }
}

/// The whole document: the common members, then the command's own. Its error is the first that was told of the kind with
/// which the command ends.
fn whole(documents: &Documents, kind: Option<ErrorKind>, told: &[(ErrorKind, Value)]) -> Map<String, Value> {
    let mut document = Map::new();
    document.insert(String::from("version"), VERSION.into());
    document.insert(String::from("command"), documents.command.into());
    if let Some(dry_run) = documents.dry_run {
        document.insert(String::from("dry_run"), dry_run.into());
    }
    document.insert(String::from("exit_code"), kind.map_or(0, ErrorKind::exit_code).into());
    let error = kind.map(|kind| {
        let words = told.iter().find(|(of, _)| *of == kind).or(told.first()).map(|(_, words)| words);
        let message = words.map_or(&Value::Null, |words| &words["message"]);
        json!({ "kind": kind.word(), "message": message.as_str().unwrap_or("see what was said before") })
    });
    document.insert(String::from("error"), error.into());
    for (name, value) in documents.members.borrow().as_object().into_iter().flatten() {
        assert!(!COMMON.contains(&name.as_str()), "{name} is a member of every document");
        document.insert(name.clone(), value.clone());
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_of_a_document_is_the_first_of_the_kind_with_which_the_command_ends() {
        let error = |kind: ErrorKind, words: &str| (kind, json!({ "kind": kind.word(), "message": words }));
        let told =
            [error(ErrorKind::NotYet, "later"), error(ErrorKind::Rejected, "bad"), error(ErrorKind::Rejected, "x")];
        let documents = Documents::new(Some("import"), Some(true), Form::Whole);
        documents.keep(&json!({ "bundles": [] }));
        let whole = Value::from(whole(&documents, Some(ErrorKind::Rejected), &told));
        let expected = json!({
            "version": 1,
            "command": "import",
            "dry_run": true,
            "exit_code": 4,
            "error": { "kind": "rejected", "message": "bad" },
            "bundles": [],
        });
        assert_eq!(whole, expected);
    }

    #[test]
    fn a_command_that_ends_well_has_no_error_whatever_was_told_on_the_way() {
        let told = [(ErrorKind::Failed, json!({ "kind": "failed", "message": "a mistyped code" }))];
        let whole = Value::from(whole(&Documents::new(Some("join"), None, Form::Whole), None, &told));
        assert_eq!(whole, json!({ "version": 1, "command": "join", "exit_code": 0, "error": null }));
    }

    #[test]
    #[should_panic(expected = "error is a member of every document")]
    fn no_command_has_a_member_of_its_own_with_the_name_of_a_common_one() {
        let documents = Documents::new(None, None, Form::Whole);
        documents.keep(&json!({ "error": null }));
        let _ = whole(&documents, None, &[]);
    }
}
