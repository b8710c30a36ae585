//! Layouts: how the canonical names of folders become directories, and back.
//!
//! For each layout the mapping is one to one, whatever the names: a directory that another program made gets a
//! canonical name that leads back to it, and a canonical name that the layout can't hold as it stands gets a directory
//! that leads back to it. So mail in a folder with an unusual name travels like any other, and two folders never share
//! a directory.
//!
//! A component of a canonical name becomes a component on disk in one of four ways:
//!
//! - as it stands, in the layout's encoding, if that reads back as the same component. This is so for nearly all names;
//! - escaped, if it holds bytes that can't stand there (a `.` under `maildir++`): these are written `\hh`, with two
//!   lower-case hexadecimal digits, as Dovecot's `mailbox_list_storage_escape_char` has it;
//! - as the name on disk that it stands for, if it is marked. A name on disk may be no name in the encoding: its bytes
//!   are not UTF-8, or not modified UTF-7. Its canonical component is then marked: the character U+F100 and its text
//!   or, if it isn't UTF-8, U+F101 and its bytes. A byte that is not an ASCII letter or digit becomes a character from
//!   U+F000 on.
//! - spelled out, if its usual name can't be had here: the file system folds it into that of another folder (`Work` and
//!   `work`), or it means something else. Lower-case ASCII letters, digits, `-` and `_` stand for themselves, every other
//!   byte is written `%hh`, as is the first one if that would be none, and a `~` ends it: `%57ork~`. No file system folds
//!   two of these into one, none refuses them, and whoever reads one knows the folder.
//!
//! A name on disk that would be longer than file systems allow is cut, and ends in `\x` and a hash; one that is spelled
//! out ends in `%x`, a hash and `~`. It can't be read back, but a replica that knows the folder finds its directory.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::utf7;
use crate::model::{Digest, FolderName};

/// How folder names become directories.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LayoutKind {
    /// `.Archive.2019`, and the mail root is the INBOX (<https://www.courier-mta.org/imap/README.maildirquota.html>).
    #[serde(rename = "maildir++")]
    MaildirPlusPlus,
    /// `Archive/2019`.
    #[serde(rename = "fs")]
    Fs,
}

impl LayoutKind {
    /// The word for it in the configuration and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MaildirPlusPlus => "maildir++",
            Self::Fs => "fs",
        }
    }
}

/// How the names of directories are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NameEncoding {
    /// UTF-8.
    #[serde(rename = "utf-8")]
    Utf8,
    /// IMAP's modified UTF-7 (RFC 3501, section 5.1.3).
    #[serde(rename = "utf-7")]
    ModifiedUtf7,
}

impl NameEncoding {
    /// The word for it in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Utf8 => "utf-8",
            Self::ModifiedUtf7 => "utf-7",
        }
    }
}

/// A replica's layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// How folder names become directories.
    pub kind: LayoutKind,
    /// How the names of directories are written.
    pub encoding: NameEncoding,
    /// Whether the mail root itself is the INBOX; under `maildir++` it always is.
    pub inbox_at_root: bool,
}

/// How a component of a folder's name is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    /// As the layout has it.
    Usual,
    /// Spelled out, so that it is like no other.
    Out,
}

/// The longest name of a file on every common file system, in bytes.
pub const NAME_MAX: usize = 255;
/// This many hexadecimal digits replace the rest of a name that was cut.
const CUT_DIGITS: usize = 32;
/// What stands before and behind them.
type CutEnds = (&'static str, &'static str);
const USUAL_CUT: CutEnds = ("\\x", "");
/// Some file systems refuse a `\`. No name that is spelled out and whole has this in it.
const SPELLED_CUT: CutEnds = ("%x", "~");
/// Ends a component that is spelled out.
const SPELLED: char = '~';
const MARK_TEXT: char = '\u{f100}';
const MARK_BYTES: char = '\u{f101}';
const BYTE_ZERO: u32 = 0xf000;

impl Layout {
    /// The directory of a folder, relative to the mail root.
    pub fn dir_of(&self, folder: &FolderName) -> PathBuf {
        if folder.is_inbox() && self.root_is_inbox() {
            return PathBuf::new();
        }
        let sole = !folder.as_str().contains('/');
        let parts: Vec<_> = folder.components().map(|component| self.encode(component, sole)).collect();
        match self.kind {
            LayoutKind::Fs => folder
                .components()
                .zip(parts)
                .map(|(component, part)| OsStr::from_bytes(&cut(part, component, NAME_MAX, USUAL_CUT)).to_owned())
                .collect(),
            LayoutKind::MaildirPlusPlus => dotted(&[], &parts.join(&b'.'), folder, USUAL_CUT),
        }
    }

    /// The directory of a folder whose parent has the directory `above`, relative to the mail root; the parent may be no
    /// folder. `above` is `None` for a name of one component, and empty for the first of several. The last component is
    /// written like this.
    pub fn dir_below(&self, above: Option<&Path>, folder: &FolderName, spelling: Spelling) -> PathBuf {
        let component = folder.components().next_back().expect("a name has a component");
        let (part, ends) = match spelling {
            Spelling::Usual => (self.encode(component, above.is_none()), USUAL_CUT),
            Spelling::Out => (spell(component), SPELLED_CUT),
        };
        match self.kind {
            LayoutKind::Fs => {
                let part = cut(part, component, NAME_MAX, ends);
                above.unwrap_or(Path::new("")).join(OsStr::from_bytes(&part))
            }
            LayoutKind::MaildirPlusPlus => {
                let above = above.map_or(&b""[..], |above| above.as_os_str().as_bytes());
                dotted(above, &part, folder, ends)
            }
        }
    }

    /// The folder whose directory this is if a directory above it is that of another folder.
    pub fn folder_below(&self, above: (&Path, &FolderName), dir: &Path) -> Option<FolderName> {
        let rest = dir.as_os_str().as_bytes().strip_prefix(above.0.as_os_str().as_bytes())?;
        let separator = self.separator();
        let parts = rest.strip_prefix(&[separator])?.split(|&c| c == separator);
        let components: Vec<String> = parts.map(|part| self.decode(part, false)).collect::<Option<_>>()?;
        format!("{}/{}", above.1, components.join("/")).parse().ok()
    }

    /// The folder's directory with all of its name spelled out.
    pub fn dir_spelled_out(&self, folder: &FolderName) -> PathBuf {
        let mut dir: Option<PathBuf> = None;
        for depth in 1..=folder.components().count() {
            dir = Some(self.dir_below(dir.as_deref(), &folder.first(depth), Spelling::Out));
        }
        dir.expect("a name has a component")
    }

    fn separator(&self) -> u8 {
        match self.kind {
            LayoutKind::Fs => b'/',
            LayoutKind::MaildirPlusPlus => b'.',
        }
    }

    /// The folder whose directory this is, relative to the mail root. `None` if no folder can have it: a name that was
    /// cut, or one with an empty component (`..a`, `.a.`) under `maildir++`.
    pub fn folder_of(&self, dir: &Path) -> Option<FolderName> {
        let bytes = dir.as_os_str().as_bytes();
        if bytes.is_empty() {
            return self.root_is_inbox().then(FolderName::inbox);
        }
        let parts: Vec<&[u8]> = match self.kind {
            LayoutKind::Fs => bytes.split(|&c| c == b'/').collect(),
            LayoutKind::MaildirPlusPlus => bytes.strip_prefix(b".")?.split(|&c| c == b'.').collect(),
        };
        let sole = parts.len() == 1;
        let components: Vec<String> = parts.iter().map(|part| self.decode(part, sole)).collect::<Option<_>>()?;
        components.join("/").parse().ok()
    }

    /// Whether this directory's name was cut. Only a replica that knows the folder can then tell which one it is.
    pub fn is_cut(&self, dir: &Path) -> bool {
        dir.iter().any(|part| is_cut(part.as_bytes()))
    }

    /// Whether the mail root itself is the INBOX.
    pub fn root_is_inbox(&self) -> bool {
        self.kind == LayoutKind::MaildirPlusPlus || self.inbox_at_root
    }

    /// A component's name on disk, before it is cut.
    fn encode(&self, component: &str, sole: bool) -> Vec<u8> {
        if self.stands_as_it_is(component, sole) {
            return self.write(component);
        }
        if let Some(bytes) = unmark(component)
            && self.decode(&bytes, sole).as_deref() == Some(component)
        {
            return bytes;
        }
        self.write(&self.escape(component))
    }

    /// The canonical component for a name on disk: the inverse of [`Layout::encode`].
    fn decode(&self, part: &[u8], sole: bool) -> Option<String> {
        if !self.is_part(part) || is_cut(part) {
            return None;
        }
        if let Some(spelled) = unspell(part) {
            return Some(spelled);
        }
        let read = self.read(part);
        if let Some(text) = read.as_deref() {
            if self.stands_as_it_is(text, sole) {
                return read;
            }
            if let Some(escaped) = unescape(text)
                && is_component(&escaped)
                && self.encode(&escaped, sole) == part
            {
                return Some(escaped);
            }
        }
        Some(mark(part))
    }

    /// Whether this can stand between two separators in the path of a folder's directory.
    fn is_part(&self, part: &[u8]) -> bool {
        let separator = self.separator();
        let sub = self.kind == LayoutKind::Fs && matches!(part, b"cur" | b"new" | b"tmp");
        !sub && !matches!(part, b"" | b"." | b"..") && !part.iter().any(|&c| c == separator || c == b'/' || c == 0)
    }

    fn stands_as_it_is(&self, component: &str, sole: bool) -> bool {
        is_component(component) && !self.is_reserved(component, sole) && !component.chars().any(|c| self.special(c))
            // The text must not read as an escape, as one that is spelled out, or as a name that was cut.
            && unescape(component).is_none()
            && unspell(component.as_bytes()).is_none()
            && !is_cut(component.as_bytes())
    }

    /// Whether a component means something else on disk.
    fn is_reserved(&self, component: &str, sole: bool) -> bool {
        let inbox = sole && self.root_is_inbox() && component == "INBOX";
        inbox || (self.kind == LayoutKind::Fs && matches!(component, "cur" | "new" | "tmp"))
    }

    /// Whether a character can't stand in a name on disk, or marks something that doesn't stand for itself.
    fn special(&self, character: char) -> bool {
        (character == '.' && self.kind == LayoutKind::MaildirPlusPlus) || matches!(character, '\u{f000}'..='\u{f1ff}')
    }

    /// The component with `\hh` for each byte that can't stand on disk. At least one character is escaped.
    fn escape(&self, component: &str) -> String {
        // A name that ends like one that was cut ends in another way then.
        let looks_cut = is_cut(component.as_bytes());
        let special = |c: char| self.special(c) || c == '\\' || (c == '%' && looks_cut);
        let first = !component.chars().any(special);
        let mut escaped = String::new();
        for (i, character) in component.chars().enumerate() {
            if special(character) || (first && i == 0) {
                for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                    escaped.extend(['\\', hex_digit(byte >> 4), hex_digit(byte & 15)]);
                }
            } else {
                escaped.push(character);
            }
        }
        escaped
    }

    fn write(&self, text: &str) -> Vec<u8> {
        match self.encoding {
            NameEncoding::Utf8 => text.as_bytes().to_vec(),
            NameEncoding::ModifiedUtf7 => utf7::encode(text).into_bytes(),
        }
    }

    fn read(&self, part: &[u8]) -> Option<String> {
        match self.encoding {
            NameEncoding::Utf8 => String::from_utf8(part.to_vec()).ok(),
            NameEncoding::ModifiedUtf7 => utf7::decode(part),
        }
    }
}

/// Whether text can be a component of a canonical name.
fn is_component(text: &str) -> bool {
    !matches!(text, "" | "." | "..") && !text.contains(['/', '\0'])
}

/// The text with the bytes for which each `\hh` stands. `None` if the text has no `\hh`, or if the result isn't UTF-8.
fn unescape(text: &str) -> Option<String> {
    let digit = |c: &u8| matches!(c, b'0'..=b'9' | b'a'..=b'f').then(|| char::from(*c).to_digit(16)).flatten();
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&first, after)) = rest.split_first() {
        let escaped = (first == b'\\').then(|| Some((digit(after.first()?)?, digit(after.get(1)?)?))).flatten();
        if let Some((high, low)) = escaped {
            bytes.push(u8::try_from(high << 4 | low).expect("two digits of four bits"));
            rest = &after[2..];
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    (bytes.len() < text.len()).then(|| String::from_utf8(bytes).ok()).flatten()
}

fn hex_digit(value: u8) -> char {
    char::from_digit(value.into(), 16).expect("four bits")
}

/// The canonical component for a name on disk that is no name in the layout's encoding.
fn mark(part: &[u8]) -> String {
    match std::str::from_utf8(part) {
        Ok(text) => format!("{MARK_TEXT}{text}"),
        Err(_) => std::iter::once(MARK_BYTES)
            .chain(part.iter().map(|&byte| match byte {
                b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => char::from(byte),
                _ => char::from_u32(BYTE_ZERO + u32::from(byte)).expect("a private-use character"),
            }))
            .collect(),
    }
}

/// The name on disk behind a component that [`mark`] may have made; [`Layout::encode`] checks that it has.
fn unmark(component: &str) -> Option<Vec<u8>> {
    if let Some(text) = component.strip_prefix(MARK_TEXT) {
        return Some(text.as_bytes().to_vec());
    }
    let bytes = component.strip_prefix(MARK_BYTES)?.chars().map(|character| {
        let value = u32::from(character);
        u8::try_from(value.checked_sub(BYTE_ZERO).unwrap_or(value)).ok()
    });
    bytes.collect()
}

/// A component with all that could be folded, refused or mistaken written as `%hh`.
fn spell(component: &str) -> Vec<u8> {
    let stands = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'-' | b'_');
    let first = component.bytes().all(stands);
    let mut spelled = String::with_capacity(component.len() + 4);
    for (i, byte) in component.bytes().enumerate() {
        if stands(byte) && !(first && i == 0) {
            spelled.push(char::from(byte));
        } else {
            spelled.extend(['%', hex_digit(byte >> 4), hex_digit(byte & 15)]);
        }
    }
    spelled.push(SPELLED);
    spelled.into_bytes()
}

/// The component that [`spell`] has written like this. `None` if there is none.
fn unspell(part: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(part).ok()?.strip_suffix(SPELLED)?;
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first == b'%' {
            let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &rest[2..];
        } else {
            bytes.push(first);
        }
    }
    let component = String::from_utf8(bytes).ok().filter(|text| is_component(text))?;
    (spell(&component) == part).then_some(component)
}

/// The directory of a folder under `maildir++`, by that of its parent and its own part. `ends` is for one that is cut.
fn dotted(above: &[u8], part: &[u8], folder: &FolderName, ends: CutEnds) -> PathBuf {
    let name = [above, b".", part].concat();
    let name = cut(name[1..].to_vec(), folder.as_str(), NAME_MAX - 1, ends);
    PathBuf::from(OsStr::from_bytes(&[b".", &*name].concat()))
}

/// Cuts a name on disk that is longer than file systems allow. A hash of the whole text keeps it apart from others.
fn cut(name: Vec<u8>, whole: &str, longest: usize, (before, behind): CutEnds) -> Vec<u8> {
    if name.len() <= longest {
        return name;
    }
    let mut kept = longest - before.len() - CUT_DIGITS - behind.len();
    // A character is kept whole or not at all.
    while name[kept] & 0xc0 == 0x80 {
        kept -= 1;
    }
    let hash = Digest::of(whole.as_bytes()).to_string();
    [&name[..kept], before.as_bytes(), &hash.as_bytes()[..CUT_DIGITS], behind.as_bytes()].concat()
}

fn is_cut(name: &[u8]) -> bool {
    [USUAL_CUT, SPELLED_CUT].iter().any(|(before, behind)| {
        let hashed = name.strip_suffix(behind.as_bytes()).and_then(|name| name.split_last_chunk::<CUT_DIGITS>());
        hashed.is_some_and(|(kept, hash)| {
            kept.ends_with(before.as_bytes()) && hash.iter().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
        })
    })
}

#[cfg(test)]
mod tests;
