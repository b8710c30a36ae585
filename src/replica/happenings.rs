//! What became of messages: the questions that a person asks of their history.

use std::path::Path;

use super::authors::Who;
use super::by_message_id::as_message_id;
use super::{Replica, Selection};
use crate::disk::{hash_file, is_absent};
use crate::error::{Error, Result};
use crate::message::FileKind;
use crate::model::{Digest, FolderName, Stamp};
use crate::state::{Concerns, Event, EventFilter, EventKind, MessageEvent, TrashFilter};
use crate::text::did_you_mean;

/// The number of something in the trash has fewer digits; a digest that is cut has at least so many.
pub(super) const DIGITS: usize = 8;

/// What a person asks of the history of messages: all that fits each thing that is given.
#[derive(Clone, Debug, Default)]
pub struct HistoryOptions {
    /// A message.
    pub message: Option<Digest>,
    /// It came into, was in, or left this folder, or one below it.
    pub folder: Option<FolderName>,
    /// It was seen here at this time or later: milliseconds since 1970 UTC.
    pub since: Option<u64>,
    /// It is a change by the replica of this name or id, or was in a bundle of that one.
    pub peer: Option<String>,
    /// Only events of this kind.
    pub kind: Option<EventKind>,
    /// The newest events, at most so many.
    pub limit: u64,
}

/// What is known of a message besides its history.
#[derive(Clone, Debug)]
pub struct Origins {
    /// The message.
    pub digest: Digest,
    /// The folders in which it is.
    pub folders: Vec<FolderName>,
    /// The stamps of the deliveries by which it is there.
    pub born: Vec<Stamp>,
}

impl Replica {
    /// What became of messages, as far as the history goes: the oldest event first.
    ///
    /// # Errors
    /// The folder, or the peer, isn't known.
    pub fn message_history(&self, options: &HistoryOptions) -> Result<Vec<MessageEvent>> {
        let by = match &options.peer {
            Some(name) => {
                let author = self.author(name)?;
                Some((author.name.clone(), self.incarnations(&author, true)?))
            }
            None => None,
        };
        let HistoryOptions { message, folder, since, kind, limit, .. } = options;
        folder.as_ref().map_or(Ok(()), |folder| self.check_folder_is_known(folder))?;
        self.state.message_events(
            &EventFilter { digest: *message, folder: folder.clone(), since: *since, by, kind: *kind },
            *limit,
        )
    }

    /// The last things that were done, the oldest first: at most `limit` of them, since this time (milliseconds since 1970 UTC),
    /// and which concern this peer. Those that concern this replica alone are had by its own name.
    ///
    /// # Errors
    /// The history can't be read, or nobody has this name or id and nobody ever had it.
    pub fn history(&self, limit: u64, since: Option<u64>, peer: Option<&str>) -> Result<Vec<Event>> {
        let of = |whose: Concerns<'_>| self.state.history(limit, since, whose);
        let Some(name) = peer else { return of(Concerns::Anybody) };
        let was_there = || Ok::<_, Error>(!self.state.history(1, None, Concerns::Peer(name))?.is_empty());
        if self.is_called(name)? || was_there()? {
            return of(Concerns::Peer(name));
        }
        let author = self.author(name)?;
        of(if author.who == Who::Replica(self.public_key().id()) {
            Concerns::NoPeer
        } else {
            Concerns::Peer(&author.name)
        })
    }

    /// A folder that a person names must be one, or have been one, as far as is remembered; or stand above one.
    ///
    /// # Errors
    /// It isn't, and never was.
    pub(super) fn check_folder_is_known(&self, folder: &FolderName) -> Result<()> {
        let wanted = Selection::of_folder(folder);
        let of_events = EventFilter { folder: Some(folder.clone()), ..EventFilter::default() };
        let of_trash = TrashFilter { folder: Some(folder.clone()), ..TrashFilter::default() };
        if self.state.all_folders().iter().any(|row| wanted.has_folder(&row.name))
            || !self.state.message_events(&of_events, 1)?.is_empty()
            || !self.state.trash_selected(&of_trash, 0, 1)?.is_empty()
        {
            return Ok(());
        }
        Err(Error::usage(format!("looking for the folder {folder}: there is none, and none is remembered"))
            .advise(self.how_folders_are_named(folder.as_str())))
    }

    /// How to name folders, for a person who has named one that isn't there.
    pub(super) fn how_folders_are_named(&self, typed: &str) -> String {
        let rows = self.state.all_folders();
        let meant = did_you_mean(typed, rows.iter().map(|row| row.name.as_str()));
        format!("{meant}name folders as `mailsync status` lists them")
    }

    /// Where a message is, and since when: that is known even if the history doesn't go back so far.
    ///
    /// # Errors
    /// The state can't be read.
    pub fn origins(&self, digest: Digest) -> Result<Origins> {
        let rows = self.state.entries_of(&digest)?;
        let alive = || rows.iter().filter(|row| row.entry.alive());
        Ok(Origins {
            digest,
            folders: alive().map(|row| row.entry.location.1.clone()).collect(),
            born: alive().map(|row| row.entry.born).collect(),
        })
    }

    /// The message that a person means: by its number in the trash, by how its digest begins, by a file that holds it, or
    /// by its Message-ID.
    ///
    /// # Errors
    /// None is called so, or several are.
    pub fn message_called(&self, name: &str) -> Result<Digest> {
        let numbered = name.len() < DIGITS && name.bytes().all(|c| c.is_ascii_digit());
        if let Some(key) = numbered.then(|| name.parse().ok()).flatten() {
            return Ok(self.in_trash(key, "looking for message")?.id.digest);
        }
        if begins_digest(name) {
            return self.message_that_begins(name);
        }
        let path = Path::new(name);
        match hash_file(&*self.world.disk, path, FileKind::Message) {
            Ok(found) => Ok(found.digest),
            Err(error) => match as_message_id(name).filter(|_| is_absent(&error)) {
                Some(id) => self.message_of_id(id),
                None => Err(Error::io("looking for the message in", path, error).advise(
                    "give the file of a mail, a number that `mailsync trash list` shows, 8 digits or more of a message's digest, \
                     or its Message-ID",
                )),
            },
        }
    }

    /// The message whose digest begins so.
    pub(super) fn message_that_begins(&self, name: &str) -> Result<Digest> {
        let nothing = |why: &str| {
            Error::usage(format!("finding the message {name}: {why}")).advise(format!(
                "{}, and messages as `mailsync restore --all --dry-run` or `mailsync log --removed` does",
                self.how_folders_are_named(name)
            ))
        };
        if name.bytes().all(is_digit) && name.len() < DIGITS {
            return Err(nothing(&format!("there is no such folder, and a digest is named by {DIGITS} digits or more")));
        }
        if !begins_digest(name) {
            return Err(nothing("there is no such folder, and it is not how a digest begins"));
        }
        match self.state.digests_that_begin(name)?[..] {
            [] => Err(nothing("no message that is known here has a digest that begins so")),
            [digest] => Ok(digest),
            _ => Err(nothing("the digests of several messages begin so")),
        }
    }
}

/// Whether a digest can begin so, as a person names it.
fn begins_digest(name: &str) -> bool {
    name.len() >= DIGITS && name.bytes().all(is_digit)
}

/// Whether it is a digit of a digest.
fn is_digit(c: u8) -> bool {
    matches!(c, b'0'..=b'9' | b'a'..=b'f')
}
