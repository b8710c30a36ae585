//! Records: the lines of `entries.jsonl`, and the order in which they stand.

use std::borrow::Cow;
use std::fmt;
use std::io::{BufRead, Read};

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Error, limits, strict};
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
        /// Its id.
        id: EntryId,
        /// Its registers.
        entry: Entry,
    },
}

impl Record {
    /// Reads one line of `entries.jsonl`, by itself. For tests and fuzz targets: a reader checks the order of the
    /// lines, too, and what they claim.
    ///
    /// # Errors
    /// It is no record: why.
    #[doc(hidden)]
    pub fn decode(line: &[u8]) -> Result<Self, String> {
        Decoder::default().decode(line)
    }

    /// The line of `entries.jsonl`, with its newline. For tests and fuzz targets.
    #[doc(hidden)]
    pub fn encode(&self) -> Vec<u8> {
        let mut line = Vec::new();
        match self {
            Self::Folder { name, state } => encode_folder(&mut line, name, *state),
            Self::Entry { id, entry } => encode_entry(&mut line, id, entry),
        }
        line
    }
}

/// A line's JSON: an object with one member, whose name tells what is recorded.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line<'a> {
    #[serde(borrow, deserialize_with = "strict::object")]
    Folder(FolderLine<'a>),
    #[serde(borrow, deserialize_with = "strict::object")]
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
    #[serde(borrow, default, deserialize_with = "strict::present", skip_serializing_if = "Option::is_none")]
    folder: Option<Text<'a>>,
    location: Stamp,
    #[serde(default, deserialize_with = "strict::present", skip_serializing_if = "Option::is_none")]
    born: Option<Stamp>,
    #[serde(default, skip_serializing_if = "is_default")]
    floor: Stamp,
    #[serde(default, deserialize_with = "strict::present_object", skip_serializing_if = "Option::is_none")]
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

/// Appends one line of `entries.jsonl` with its newline to `text`. `false` at the end.
pub(super) fn read_line(data: &mut impl BufRead, text: &mut Vec<u8>) -> Result<bool, Error> {
    let from = text.len();
    data.by_ref().take(limits::LINE_BYTES + 1).read_until(b'\n', text)?;
    let line = &text[from..];
    match line.last() {
        None => Ok(false),
        Some(b'\n') => Ok(true),
        Some(_) if line.len() as u64 > limits::LINE_BYTES => {
            Err(Error::TooLarge { what: "the length of a line of entries.jsonl", limit: limits::LINE_BYTES })
        }
        Some(_) => Err(Error::corrupt("entries.jsonl: its last line has no end")),
    }
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
        match strict::parse(line)? {
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

/// The time with these parts. `None` if the same time would be written with other parts.
fn mtime(seconds: i64, nanoseconds: u32) -> Option<Mtime> {
    let nanos = i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
    i64::try_from(nanos).ok().filter(|_| nanoseconds < 1_000_000_000).map(Mtime)
}

/// Sees to it that records stand in their one order: folders by name, then entries by birth folder, digest and ordinal,
/// each strictly ascending. So no folder and no entry can stand twice.
#[derive(Default)]
pub(super) struct Order {
    folder: Option<FolderName>,
    entry: Option<(FolderName, Digest, u32)>,
}

impl Order {
    /// Checks the next folder.
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

    /// Checks the next entry.
    pub(super) fn entry(&mut self, id: &EntryId) -> Result<(), &'static str> {
        let next = (id.birth.clone(), id.digest, id.ordinal);
        if self.entry.as_ref().is_some_and(|last| *last >= next) {
            return Err("the entries are not in ascending order");
        }
        self.entry = Some(next);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{entry, folder, stamp};
    use super::*;
    use crate::model::{Clock, Incarnation, Keyword};

    fn stamps() -> impl Strategy<Value = Stamp> {
        let clocks = prop_oneof![Just(0), 0..=Clock::MAX.bits()];
        (clocks, any::<u64>()).prop_map(|(clock, incarnation)| Stamp {
            clock: Clock::from_bits(clock).unwrap(),
            incarnation: Incarnation(incarnation),
        })
    }

    fn folders() -> impl Strategy<Value = FolderName> {
        let component =
            "[^/\\x00]{1,20}".prop_filter("not one of the names for directories", |c| c != "." && c != "..");
        prop::collection::vec(component, 1..4).prop_map(|components| components.join("/").parse().unwrap())
    }

    fn flags() -> impl Strategy<Value = FlagRegisters> {
        let flag = prop_oneof![
            "[A-Z0-9]".prop_map(|text| text.parse().unwrap()),
            Just(Flag::Recent),
            "[!-~]{1,30}".prop_filter_map("an atom", |name| Flag::keyword(&name)),
        ];
        prop::collection::vec((flag, stamps(), any::<bool>()), 0..8).prop_map(|written| {
            let mut registers = FlagRegisters::default();
            for (flag, stamp, on) in written {
                registers.write(flag, stamp, on);
            }
            registers
        })
    }

    prop_compose! {
        fn entries()(
            digest in any::<[u8; 32]>(),
            birth in folders(),
            elsewhere in prop::option::of(folders()),
            ordinal in prop_oneof![Just(0), any::<u32>()],
            location in stamps(),
            born in prop::option::of(stamps()),
            floor in stamps(),
            removal in prop::option::of((stamps(), stamps())),
            flags in flags(),
            size in 0..=limits::MEMBER_BYTES,
            mtime in any::<i64>(),
        ) -> Record {
            let entry = Entry {
                location: (location, elsewhere.unwrap_or_else(|| birth.clone())),
                born: born.unwrap_or(location),
                floor,
                removal: removal.map(|(seen, stamp)| Removal { seen, stamp }),
                flags,
                size,
                mtime: Mtime(mtime),
            };
            Record::Entry { id: EntryId { digest: Digest(digest), birth, ordinal }, entry }
        }
    }

    fn records() -> impl Strategy<Value = Record> {
        let folder = (folders(), stamps(), any::<bool>())
            .prop_map(|(name, stamp, present)| Record::Folder { name, state: FolderState { stamp, present } });
        prop_oneof![1 => folder, 4 => entries()]
    }

    proptest! {
        #[test]
        fn records_read_back_what_they_write(records in prop::collection::vec(records(), 1..5)) {
            let mut decoder = Decoder::default();
            for record in &records {
                let line = record.encode();
                prop_assert_eq!(line.iter().position(|&byte| byte == b'\n'), Some(line.len() - 1));
                prop_assert_eq!(&decoder.decode(&line).unwrap(), record);
            }
        }

        #[test]
        fn any_line_is_a_record_or_refused(line in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Decoder::default().decode(&line);
        }
    }

    #[test]
    fn a_line_leaves_out_what_goes_without_saying() {
        let (id, mut state) = entry(b"x", "INBOX", Mtime::new(1_500_000_000, 0));
        let stamp_of = |millis| stamp(millis).to_string();
        let record = Record::Entry { id: id.clone(), entry: state.clone() };
        let expected = format!(
            r#"{{"entry":{{"digest":"{}","birth":"INBOX","location":"{2}","flags":{{"S":["{2}",true]}},"size":1,"mtime":{1}}}}}"#,
            id.digest,
            1_500_000_000,
            stamp_of(1),
        );
        assert_eq!(String::from_utf8(record.encode()).unwrap(), expected + "\n");

        state.move_to(stamp(2), folder("Sent"));
        state.remove(stamp(3));
        state.floor = stamp(1);
        state.flags = FlagRegisters::default();
        state.mtime = Mtime(-1);
        let record = Record::Entry { id: EntryId { ordinal: 7, ..id.clone() }, entry: state };
        let expected = format!(
            concat!(
                r#"{{"entry":{{"digest":"{}","birth":"INBOX","ordinal":7,"folder":"Sent","location":"{2}","born":"{1}","#,
                r#""floor":"{1}","removal":{{"seen":"{2}","stamp":"{3}"}},"size":1,"mtime":-1,"mtime_ns":999999999}}}}"#
            ),
            id.digest,
            stamp_of(1),
            stamp_of(2),
            stamp_of(3),
        );
        assert_eq!(String::from_utf8(record.encode()).unwrap(), expected + "\n");
    }

    #[test]
    fn the_largest_entry_there_can_be_fits_a_line() {
        let long = folder(&"\u{1}".repeat(FolderName::MAX_BYTES));
        let (mut id, mut state) = entry(b"x", "INBOX", Mtime(i64::MIN));
        (id.birth, id.ordinal) = (long.clone(), u32::MAX);
        state.floor = stamp(3);
        state.size = limits::MEMBER_BYTES;
        for n in 1..limits::FLAGS {
            let name = format!("{n:x<0$}", Keyword::MAX_BYTES);
            state.set_flag(stamp(3), Flag::keyword(&name).unwrap(), false);
        }
        state.move_to(stamp(2), long);
        state.remove(stamp(3));
        assert_eq!(state.flags.iter().len(), limits::FLAGS);
        let record = Record::Entry { id, entry: state };
        let line = record.encode();
        assert!(line.len() as u64 <= limits::LINE_BYTES, "{}", line.len());
        assert_eq!(Decoder::default().decode(&line).unwrap(), record);
    }

    #[test]
    fn entries_that_stand_together_share_the_memory_of_their_folder() {
        let mut decoder = Decoder::default();
        let mut read = |contents: &[u8]| {
            let (id, entry) = entry(contents, "INBOX", Mtime(0));
            match decoder.decode(&Record::Entry { id, entry }.encode()).unwrap() {
                Record::Entry { id, .. } => id.birth.as_str().as_ptr(),
                Record::Folder { .. } => unreachable!("an entry was written"),
            }
        };
        assert_eq!(read(b"x"), read(b"y"));
    }
}
