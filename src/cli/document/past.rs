//! The documents about what has happened, and what of it is taken back.

use mailsync::headline::Headline;
use mailsync::model::FlagSet;
use mailsync::replica::{
    BroughtBack, Event, FlagBack, Left, Restored, RestoredItem, TrashItem, Trashed, UndoItem, Undone,
};
#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use super::changes::PastChange;
use super::values::{FlagChange, Head, Scan, Time, path};

/// `mailsync log`
///
/// With `--message`, `--folder`, `--removed` or `--overruled` it has `changes`, else `events`.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Log {
    /// What commands have done, the oldest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<LogEvent>>,
    /// What became of messages, the oldest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes: Option<Vec<PastChange>>,
    /// The message that `--message` means.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The folders in which that message is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folders: Option<Vec<String>>,
}

/// Something that a command has done.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct LogEvent {
    /// When it was.
    pub at: Time,
    /// The words of the command, or `open` for what any command does that begins.
    pub command: String,
    /// The peer that it concerns; null if it concerns none.
    pub peer: Option<String>,
    /// The words for people.
    pub text: String,
}

impl From<&Event> for LogEvent {
    fn from(event: &Event) -> Self {
        Self {
            at: Time::of(event.at),
            command: event.action.word().to_owned(),
            peer: event.peer.clone(),
            text: event.text.clone(),
        }
    }
}

/// `mailsync trash list`
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Trash {
    /// The messages, sorted by id.
    pub trash: Vec<InTrash>,
}

/// A message in the trash.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct InTrash {
    /// Its id, which no other message in the trash ever gets.
    pub id: i64,
    /// The message: the SHA-256 of what isn't written by synchronisers, in hexadecimal digits.
    pub digest: String,
    /// The folder in which it was.
    pub folder: String,
    /// The flags that it had: letters as file names have them, or `keyword:` and a name.
    pub flags: Vec<String>,
    /// Its size in bytes.
    pub bytes: u64,
    /// When it came into the trash.
    pub removed: Time,
    /// The name of the replica that has removed it, as far as that is known.
    pub by: String,
    /// When that was done, by that replica's clock; null if nobody can tell.
    pub done: Time,
    /// The name of the peer whose bundle told of it, or `here`.
    pub told_by: String,
    /// What people know the mail by.
    #[serde(flatten)]
    pub head: Head,
    /// Its file in the trash.
    pub file: String,
}

impl InTrash {
    /// A message in the trash, whose file is this one and has this headline, and which this replica has removed.
    pub fn of(trashed: &Trashed, file: &std::path::Path, headline: &Headline, by: String) -> Self {
        Self {
            id: trashed.key,
            digest: trashed.id.digest.to_string(),
            folder: trashed.folder.to_string(),
            flags: flags(&trashed.flags),
            bytes: trashed.size,
            removed: Time::of(trashed.removed),
            by,
            done: Time::of(trashed.removal.map(|stamp| stamp.clock.millis())),
            told_by: trashed.by.to_string(),
            head: headline.into(),
            file: path(file),
        }
    }
}

fn flags(flags: &FlagSet) -> Vec<String> {
    flags.iter().map(ToString::to_string).collect()
}

/// `mailsync trash restore`
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct TrashRestored {
    /// How many messages are back, or copied.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many messages were left out, as they are in their folders already.
    pub there: u64,
    /// How many messages were left out, as somebody has removed them once more since.
    pub left: u64,
    /// Each message that is back, or copied.
    pub items: Vec<FromTrash>,
}

impl TrashRestored {
    /// So much is back, and these.
    pub fn of(done: BroughtBack, items: Vec<FromTrash>) -> Self {
        let BroughtBack { messages, bytes, there, left } = done;
        Self { messages, bytes, there, left, items }
    }
}

/// A message that is back from the trash, or copied.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct FromTrash {
    /// Its id in the trash.
    pub id: i64,
    /// The message: the SHA-256 of what isn't written by synchronisers, in hexadecimal digits.
    pub digest: String,
    /// The folder into which it goes.
    pub folder: String,
    /// The flags that it gets.
    pub flags: Vec<String>,
    /// The copy that `--to` has made; null without that, and in a dry run.
    pub file: Option<String>,
    /// Whether its folder had it already.
    pub was_there: bool,
}

impl From<&TrashItem> for FromTrash {
    fn from(item: &TrashItem) -> Self {
        Self {
            id: item.trashed.key,
            digest: item.trashed.id.digest.to_string(),
            folder: item.folder.to_string(),
            flags: flags(&item.flags),
            file: item.copy.as_deref().map(path),
            was_there: item.was_there,
        }
    }
}

/// `mailsync restore`
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Restore {
    /// How many messages are back, as their contents were on this machine.
    pub restored: u64,
    /// How many messages peers are asked for.
    pub wanted: u64,
    /// How many folders are made again.
    pub folders: u64,
    /// Each message that is back, or asked for.
    pub items: Vec<RestoreItem>,
    /// What else the scan has found.
    pub scan: Scan,
}

impl Restore {
    /// So much is back, and these.
    pub fn of(done: &Restored, items: Vec<RestoreItem>) -> Self {
        // What is left is told as errors.
        let Restored { restored, wanted, folders, left: _, scan } = done;
        Self { restored: *restored, wanted: *wanted, folders: *folders, items, scan: scan.into() }
    }
}

/// A message that is back, or asked for.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct RestoreItem {
    /// The message: the SHA-256 of what isn't written by synchronisers, in hexadecimal digits.
    pub digest: String,
    /// Its folder.
    pub folder: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Whether its contents were on this machine. Else peers are asked for them.
    pub here: bool,
}

impl From<&RestoredItem> for RestoreItem {
    fn from(item: &RestoredItem) -> Self {
        let RestoredItem { digest, folder, bytes, here } = item;
        Self { digest: digest.to_string(), folder: folder.to_string(), bytes: *bytes, here: *here }
    }
}

/// `mailsync undo`
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Undo {
    /// The name of the replica whose changes they were.
    pub by: String,
    /// How many messages were moved back.
    pub moved: u64,
    /// How many messages got back their flags.
    pub flagged: u64,
    /// How many folders are made again for that.
    pub folders: u64,
    /// Of how many messages something stays as it is, as somebody else has changed it since.
    pub left: u64,
    /// How many messages are removed since: what happened to them before stays as it is.
    pub gone: u64,
    /// How many messages somebody has moved or flagged since of whom nobody can tell here who it is, and that stay as they are.
    pub by_unknown: u64,
    /// Each message of which something was taken back, or left.
    pub items: Vec<UndoneItem>,
    /// What the scan before has found.
    pub scan: Scan,
}

impl Undo {
    /// So much was taken back, of these.
    pub fn of(done: &Undone, items: Vec<UndoneItem>) -> Self {
        let Undone { by, moved, flagged, folders, left, gone, by_unknown, scan } = done;
        let (by, scan) = (by.clone(), scan.into());
        let (moved, flagged, folders) = (*moved, *flagged, *folders);
        Self { by, moved, flagged, folders, left: *left, gone: *gone, by_unknown: *by_unknown, items, scan }
    }
}

/// What is taken back of one message.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct UndoneItem {
    /// The message: the SHA-256 of what isn't written by synchronisers, in hexadecimal digits.
    pub digest: String,
    /// The folder in which it is.
    pub folder: String,
    /// The folder into which it goes back; null if it wasn't moved.
    pub back_to: Option<String>,
    /// The flags that it gets back, or loses again.
    pub flags: Vec<FlagChange>,
    /// What stays as it is.
    pub left: Vec<LeftAlone>,
}

/// Something that is not taken back.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct LeftAlone {
    /// The flag; null if it is the folder, or the whole message.
    pub flag: Option<String>,
    /// Why not.
    pub why: String,
}

impl From<&UndoItem> for UndoneItem {
    fn from(item: &UndoItem) -> Self {
        let UndoItem { digest, folder, back_to, flags, left } = item;
        let back = |FlagBack { flag, on }: &FlagBack| FlagChange::of(flag, *on);
        let alone =
            |Left { flag, why }: &Left| LeftAlone { flag: flag.as_ref().map(ToString::to_string), why: why.clone() };
        Self {
            digest: digest.to_string(),
            folder: folder.to_string(),
            back_to: back_to.as_ref().map(ToString::to_string),
            flags: flags.iter().map(back).collect(),
            left: left.iter().map(alone).collect(),
        }
    }
}
