//! The messages that have a Message-ID. No index of these is kept, which would cost something for every message: the headers
//! of all files are looked at.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::Replica;
use crate::disk::{FileType, beginning_of, hash_file, is_absent};
use crate::error::{Error, Result};
use crate::headline::Headline;
use crate::maildir::Sub;
use crate::message::FileKind;
use crate::model::Digest;
use crate::text::plural;

/// Most headers end within so many bytes.
const FIRST: u64 = 8 << 10;

/// What was found.
#[derive(Debug, Default)]
struct Search {
    digests: Vec<Digest>,
    looked_at: u64,
    unreadable: u64,
}

impl Replica {
    /// The one message that has this Message-ID, which is given without its angle brackets: in the folders, as they are on
    /// disk now, or in the trash.
    ///
    /// # Errors
    /// None has it, or several have; a folder can't be listed.
    pub(super) fn message_of_id(&self, id: &str) -> Result<Digest> {
        let total = self.state.totals().entries;
        let gauge = self.world.meter.begin("looking for the message", total);
        let mut search = Search::default();
        let mut dirs = vec![self.home.trash()];
        for folder in self.state.all_folders() {
            let dir = self.dir(&folder.name);
            dirs.extend([Sub::New, Sub::Cur].map(|sub| dir.join(sub.as_str())));
        }
        for dir in dirs {
            self.look_for_id(&dir, id, &mut search, &|| gauge.advance(1))?;
        }
        drop(gauge);
        let looking = format!("looking for the message with the Message-ID <{id}>");
        let looked = format!("{} {} looked at", plural(search.looked_at, "file"), were(search.looked_at));
        self.note(format!("{looked} for this Message-ID, since no index of them is kept"));
        search.digests.sort_unstable();
        search.digests.dedup();
        match &search.digests[..] {
            [digest] => Ok(*digest),
            [] => {
                let unread = match search.unreadable {
                    0 => String::new(),
                    count => format!(", and {} can't be read", plural(count, "file")),
                };
                Err(Error::usage(format!("{looking}: none of the files here has it{unread}")).advise(
                    "a message that is on this machine no more is named by its digest, as `mailsync log --removed` shows it",
                ))
            }
            several => {
                let digests = several.iter().map(|digest| digest.to_string()[..12].to_owned());
                let digests = digests.collect::<Vec<_>>().join(", ");
                Err(Error::usage(format!("{looking}: {} messages have it", several.len()))
                    .advise(format!("name one of them by how its digest begins: {digests}")))
            }
        }
    }

    /// Looks at the files of one directory.
    fn look_for_id(&self, dir: &Path, id: &str, search: &mut Search, each: &dyn Fn()) -> Result<()> {
        let mut look = |name: &OsStr, kind: FileType| {
            let file = dir.join(name);
            let is_message = match kind {
                FileType::File => true,
                FileType::Unclear => !self.world.disk.is_link(&file).unwrap_or(true),
                FileType::Directory | FileType::Other => false,
            };
            if !is_message || name.as_bytes().starts_with(b".") {
                return;
            }
            each();
            match self.has_id(&file, id) {
                Ok(found) => {
                    search.looked_at += 1;
                    search.digests.extend(found);
                }
                // A mail program has moved or removed it.
                Err(error) if is_absent(&error) => {}
                Err(_) => search.unreadable += 1,
            }
        };
        match self.world.disk.list(dir, &mut look) {
            Err(error) if !is_absent(&error) => {
                let advice = "see that it can be read, then run this again";
                Err(Error::io("looking for a message in", dir, error).advise(advice))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The digest of the message in a file, if it has this Message-ID.
    fn has_id(&self, file: &Path, id: &str) -> std::io::Result<Option<Digest>> {
        let disk = &*self.world.disk;
        let mut beginning = beginning_of(disk, file, FIRST)?;
        let ends = |bytes: &[u8]| {
            bytes.windows(2).any(|two| two == b"\n\n") || bytes.windows(4).any(|four| four == b"\r\n\r\n")
        };
        if beginning.len() as u64 == FIRST && !ends(&beginning) {
            beginning = beginning_of(disk, file, Headline::LOOKS_AT)?;
        }
        // Nearly all files are told apart by this, which costs less than to understand a header.
        let may_have_it = beginning.windows(id.len()).any(|bytes| bytes == id.as_bytes());
        if !may_have_it || Headline::read(&beginning).message_id.as_deref() != Some(id) {
            return Ok(None);
        }
        hash_file(disk, file, FileKind::Message).map(|found| Some(found.digest))
    }
}

fn were(count: u64) -> &'static str {
    if count == 1 { "was" } else { "were" }
}

/// What a person has typed, as a Message-ID without its angle brackets, if it can be one.
pub(super) fn as_message_id(name: &str) -> Option<&str> {
    let name = name.trim();
    let bracketed = name.strip_prefix('<').and_then(|name| name.strip_suffix('>'));
    let id = bracketed.unwrap_or(name);
    let is_one = !id.is_empty() && !id.contains(|c: char| c.is_whitespace() || c == '<' || c == '>');
    (is_one && (bracketed.is_some() || id.contains('@'))).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_id_is_told_by_its_brackets_or_its_sign() {
        for (typed, id) in [
            ("<abc@host>", Some("abc@host")),
            ("abc@host", Some("abc@host")),
            (" <abc@host> ", Some("abc@host")),
            ("<abc>", Some("abc")),
            ("abc", None),
            ("<>", None),
            ("", None),
            ("a b@c", None),
            ("<a@b", None),
            ("<a@b> <c@d>", None),
        ] {
            assert_eq!(as_message_id(typed), id, "{typed}");
        }
    }
}
