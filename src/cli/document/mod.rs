//! The JSON document of a command: the one place that writes it. Its common members are added here, so that no command can
//! leave one out. The files beside this one have the members of each command's own, under the names and with the meanings that
//! programs rely on: their schemas are in `docs/schema/`, and `docs/json.md` says what may change.

pub mod bundles;
pub mod changes;
pub mod deinit;
pub mod jobs;
pub mod past;
pub mod peers;
pub mod status;
#[cfg(test)]
mod tests;
pub mod upkeep;
pub mod values;
pub mod watching;

use std::cell::RefCell;
use std::io::{self, Write};
use std::sync::Mutex;

use mailsync::error::{Error, ErrorKind};
#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use values::{Fault, FaultKind};

/// The version of all documents. Members are added without a new one.
const VERSION: u32 = 1;

/// The members of commands' own.
pub trait Document: Serialize {
    /// The commands that have them, in the words in which they are typed.
    const COMMANDS: &'static [&'static str];
}

/// Says which commands have which members.
macro_rules! documents {
    ($($type:ty: $($command:literal),+;)*) => {
        $(impl Document for $type {
            const COMMANDS: &'static [&'static str] = &[$($command),+];
        })*

        /// What makes the schema of each command's members.
        #[cfg(test)]
        const MEMBERS: &[(&str, fn(&mut schemars::SchemaGenerator) -> schemars::Schema)] =
            &[$($(($command, <$type>::json_schema)),+),*];
    };
}

documents! {
    peers::Init: "init";
    bundles::Invite: "invite";
    bundles::Join: "join";
    peers::PeerList: "peer list";
    peers::PeerAdded: "peer add";
    peers::PeerRenamed: "peer rename";
    peers::PeerRemoved: "peer remove";
    peers::PeerRevoked: "peer revoke";
    peers::PeerReinstated: "peer reinstate";
    peers::KeyShown: "key show";
    peers::KeyRotated: "key rotate";
    peers::KeyPassphrase: "key passphrase";
    upkeep::Scanned: "scan";
    bundles::Export: "export";
    bundles::Import: "import";
    bundles::Update: "update";
    watching::Watch: "watch";
    jobs::Requested: "uux";
    jobs::Jobs: "jobs list";
    jobs::Shown: "jobs show";
    jobs::Runs: "jobs run", "jobs retry";
    jobs::Cancelled: "jobs cancel";
    jobs::Forgotten: "jobs forget";
    upkeep::Purge: "purge";
    status::Status: "status";
    past::Log: "log";
    bundles::Inspect: "inspect";
    bundles::Verify: "verify";
    past::Restore: "restore";
    past::Trash: "trash list";
    past::InTrash: "trash show";
    past::TrashRestored: "trash restore";
    past::Undo: "undo";
    upkeep::Doctor: "doctor";
    deinit::Deinit: "deinit";
    upkeep::Completions: "completions";
    upkeep::Man: "man";
    upkeep::Versions: "--version";
    upkeep::Help: "--help";
}

/// The members that every document has. No command has one of these names for anything else.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
struct Common {
    /// The version of the documents. Within one, members are only added.
    version: u32,
    /// The words of the command; null where the arguments make no sense.
    command: Option<&'static str>,
    /// Whether the command only tells what it would do; only of commands that can be asked for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    dry_run: Option<bool>,
    /// The exit code.
    exit_code: u8,
    /// Why that isn't 0; null if it is.
    error: Option<Fault>,
}

/// The errors that people were told, in their order, with their kinds.
static TOLD: Mutex<Vec<(ErrorKind, Fault)>> = Mutex::new(Vec::new());

/// Remembers an error that people were told, for the document.
pub fn note(error: &Error) {
    if let Ok(mut told) = TOLD.lock() {
        told.push((error.kind(), error.into()));
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
    /// A command has one, which has many lines.
    Whole,
    /// A command may have several, each a line.
    Lines,
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
    pub fn keep<D: Document>(&self, members: &D) {
        let command = self.command.unwrap_or_default();
        assert!(D::COMMANDS.contains(&command), "{command} has the document of {:?}", D::COMMANDS);
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
fn whole(documents: &Documents, kind: Option<ErrorKind>, told: &[(ErrorKind, Fault)]) -> Map<String, Value> {
    let error = kind.map(|kind| {
        let words = told.iter().find(|(of, _)| *of == kind).or(told.first()).map(|(_, fault)| fault.message.clone());
        let message = words.unwrap_or_else(|| String::from("see what was said before"));
        Fault { kind: FaultKind::from(kind), message }
    });
    let common = Common {
        version: VERSION,
        command: documents.command,
        dry_run: documents.dry_run,
        exit_code: kind.map_or(0, ErrorKind::exit_code),
        error,
    };
    let mut document = members_of(serde_json::to_value(common).expect("every member has a text for a name"));
    for (name, value) in members_of(documents.members.borrow().clone()) {
        assert!(!document.contains_key(&name), "{name} is a member of every document");
        document.insert(name, value);
    }
    document
}

fn members_of(document: Value) -> Map<String, Value> {
    match document {
        Value::Object(members) => members,
        // A command that has failed may have none.
        _ => Map::new(),
    }
}
