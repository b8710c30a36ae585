//! Records: the lines of `entries.jsonl`, and the order in which they stand.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::limits;
use crate::model::{
    Digest, Entry, EntryId, Flag, FlagRegisters, FolderName, FolderState, Mtime, ParseError, Removal, Stamp,
};

/// One line of `entries.jsonl`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// Whether a folder exists.
    Folder {
        /// Its name.
        name: FolderName,
        /// Its register.
        state: FolderState,
    },
    /// One message in one folder.
    Entry {
        /// What names it.
        id: EntryId,
        /// Its registers.
        entry: Entry,
    },
}

/// A line's JSON: an object with one member, whose name tells what is recorded.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line<'a> {
    #[serde(borrow)]
    Folder(FolderLine<'a>),
    #[serde(borrow)]
    Entry(EntryLine<'a>),
}

#[derive(Serialize, Deserialize)]
struct FolderLine<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    stamp: Stamp,
    present: bool,
}

#[derive(Serialize, Deserialize)]
struct EntryLine<'a> {
    digest: Digest,
    #[serde(borrow)]
    birth: Text<'a>,
    #[serde(default, skip_serializing_if = "is_default")]
    ordinal: u32,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    folder: Option<Text<'a>>,
    location: Stamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    born: Option<Stamp>,
    #[serde(default, skip_serializing_if = "is_default")]
    floor: Stamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    removal: Option<RemovalLine>,
    #[serde(default, skip_serializing_if = "Flags::is_empty")]
    flags: Flags<'a>,
    size: u64,
    mtime: i64,
    #[serde(default, skip_serializing_if = "is_default")]
    mtime_ns: u32,
}

#[derive(Serialize, Deserialize)]
struct RemovalLine {
    seen: Stamp,
    stamp: Stamp,
}

/// A string that is borrowed from the line unless it holds an escape. The newtype lets serde borrow within an `Option`.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> From<&'a FolderName> for Text<'a> {
    fn from(name: &'a FolderName) -> Self {
        Self(Cow::Borrowed(name.as_str()))
    }
}

/// Flag registers as a JSON object: the flag's text, then its stamp and whether it is on.
struct Flags<'a>(Cow<'a, FlagRegisters>);

impl Flags<'_> {
    fn is_empty(&self) -> bool {
        self.0.iter().len() == 0
    }
}

impl Default for Flags<'_> {
    fn default() -> Self {
        Self(Cow::Owned(FlagRegisters::default()))
    }
}

impl Serialize for Flags<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(flag, stamp, on)| (flag, (stamp, on))))
    }
}

impl<'de> Deserialize<'de> for Flags<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Registers;
        impl<'de> Visitor<'de> for Registers {
            type Value = FlagRegisters;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of flag registers")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FlagRegisters, A::Error> {
                let mut registers = FlagRegisters::default();
                let mut count = 0;
                while let Some((flag, (stamp, on))) = map.next_entry::<Flag, (Stamp, bool)>()? {
                    count += 1;
                    if count > limits::FLAGS {
                        return Err(A::Error::custom(format_args!("more than {} flags", limits::FLAGS)));
                    }
                    registers.write(flag, stamp, on);
                    if registers.iter().len() != count {
                        return Err(A::Error::custom("a flag twice"));
                    }
                }
                Ok(registers)
            }
        }
        deserializer.deserialize_map(Registers).map(|registers| Self(Cow::Owned(registers)))
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Writes the line of a folder, with its newline.
pub(super) fn encode_folder(line: &mut Vec<u8>, name: &FolderName, state: FolderState) {
    encode(line, &Line::Folder(FolderLine { name: name.into(), stamp: state.stamp, present: state.present }));
}

/// Writes the line of an entry, with its newline.
pub(super) fn encode_entry(line: &mut Vec<u8>, id: &EntryId, entry: &Entry) {
    let (location, folder) = &entry.location;
    let written = EntryLine {
        digest: id.digest,
        birth: (&id.birth).into(),
        ordinal: id.ordinal,
        folder: (*folder != id.birth).then(|| folder.into()),
        location: *location,
        born: (entry.born != *location).then_some(entry.born),
        floor: entry.floor,
        removal: entry.removal.map(|Removal { seen, stamp }| RemovalLine { seen, stamp }),
        flags: Flags(Cow::Borrowed(&entry.flags)),
        size: entry.size,
        mtime: entry.mtime.seconds(),
        mtime_ns: entry.mtime.subsec_nanos(),
    };
    encode(line, &Line::Entry(written));
}

fn encode(line: &mut Vec<u8>, written: &Line<'_>) {
    serde_json::to_writer(&mut *line, written).expect("every record has a JSON form, and a vector takes every byte");
    line.push(b'\n');
}

/// Reads lines. Neighbouring records mostly name the same folders, which then share their memory.
#[derive(Default)]
pub(super) struct Decoder {
    birth: Option<FolderName>,
    folder: Option<FolderName>,
}

impl Decoder {
    /// Reads one line.
    pub(super) fn decode(&mut self, line: &[u8]) -> Result<Record, String> {
        match serde_json::from_slice(line).map_err(|e| e.to_string())? {
            Line::Folder(FolderLine { name, stamp, present }) => {
                let name = name.0.parse().map_err(|e: ParseError| e.to_string())?;
                Ok(Record::Folder { name, state: FolderState { stamp, present } })
            }
            Line::Entry(line) => self.entry(line),
        }
    }

    fn entry(&mut self, line: EntryLine<'_>) -> Result<Record, String> {
        let birth = name(&mut self.birth, &line.birth.0)?;
        let folder = match line.folder {
            Some(folder) => name(&mut self.folder, &folder.0)?,
            None => birth.clone(),
        };
        if line.size > limits::MEMBER_BYTES {
            return Err(format!("a message of {} bytes, above the limit of {}", line.size, limits::MEMBER_BYTES));
        }
        let entry = Entry {
            location: (line.location, folder),
            born: line.born.unwrap_or(line.location),
            floor: line.floor,
            removal: line.removal.map(|RemovalLine { seen, stamp }| Removal { seen, stamp }),
            flags: line.flags.0.into_owned(),
            size: line.size,
            mtime: mtime(line.mtime, line.mtime_ns).ok_or("an mtime out of range")?,
        };
        Ok(Record::Entry { id: EntryId { digest: line.digest, birth, ordinal: line.ordinal }, entry })
    }
}

/// The folder name with this text: the last one again if it has not changed.
fn name(last: &mut Option<FolderName>, text: &str) -> Result<FolderName, String> {
    match last {
        Some(name) if name.as_str() == text => Ok(name.clone()),
        _ => {
            let name: FolderName = text.parse().map_err(|e: ParseError| e.to_string())?;
            Ok(last.insert(name).clone())
        }
    }
}

/// The time with these parts, if they are what it would be taken apart into again.
fn mtime(seconds: i64, nanoseconds: u32) -> Option<Mtime> {
    let nanos = i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
    i64::try_from(nanos).ok().filter(|_| nanoseconds < 1_000_000_000).map(Mtime)
}

/// Sees to it that records stand in their one order: folders by name, then entries by birth folder, mtime, digest and
/// ordinal, each strictly ascending.
#[derive(Default)]
pub(super) struct Order {
    folder: Option<FolderName>,
    entry: Option<(FolderName, Mtime, Digest, u32)>,
}

impl Order {
    /// Takes the next folder.
    pub(super) fn folder(&mut self, name: &FolderName) -> Result<(), &'static str> {
        if self.entry.is_some() {
            return Err("a folder stands after an entry");
        }
        if self.folder.as_ref().is_some_and(|last| last >= name) {
            return Err("the folders are not in ascending order");
        }
        self.folder = Some(name.clone());
        Ok(())
    }

    /// Takes the next entry.
    pub(super) fn entry(&mut self, id: &EntryId, entry: &Entry) -> Result<(), &'static str> {
        let next = (id.birth.clone(), entry.mtime, id.digest, id.ordinal);
        if self.entry.as_ref().is_some_and(|last| *last >= next) {
            return Err("the entries are not in ascending order");
        }
        self.entry = Some(next);
        Ok(())
    }
}
