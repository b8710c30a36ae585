//! What a bundle tells of messages, for people: how much in each folder, and each message if that is asked for.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;
use std::io::{self, BufRead};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Origin, Replica};
use crate::bundle::{self, Record, RecordsPart, limits};
use crate::error::{Error, Result};
use crate::headline::{Head, Headline};
use crate::model::{Digest, Entry, FolderName, Knowledge, News, NewsKind};
use crate::state::{FolderEvents, ListedNews, NewsList};

/// So many messages are read from the list at a time.
const BATCH: u32 = 256;

/// How much is told of what a bundle holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Telling {
    /// Nothing.
    #[default]
    Nothing,
    /// How much in each folder.
    Folders,
    /// The same, and every single message.
    Messages,
}

/// What a bundle tells of messages. A copy of this value is the same news.
#[derive(Clone, Debug, Default)]
pub struct BundleNews {
    folders: Arc<BTreeMap<FolderName, FolderEvents>>,
    messages: Option<Arc<Mutex<NewsList>>>,
    missing: Option<u64>,
}

/// The same while the records of a bundle are looked at.
#[derive(Debug)]
pub(super) struct NewsTaker {
    base: Knowledge,
    telling: Telling,
    folders: BTreeMap<FolderName, FolderEvents>,
    messages: Option<NewsList>,
}

impl NewsTaker {
    /// Begins for a bundle that starts from this base.
    pub fn new(base: Knowledge, telling: Telling) -> Result<Self> {
        let messages = (telling == Telling::Messages).then(NewsList::new).transpose()?;
        Ok(Self { base, telling, folders: BTreeMap::new(), messages })
    }

    /// Takes what the record of an entry tells.
    ///
    /// # Errors
    /// There are more folders than a bundle can tell of, or no room for the list.
    pub fn entry(&mut self, digest: &Digest, entry: &Entry) -> Result<()> {
        if self.telling == Telling::Nothing {
            return Ok(());
        }
        let Some(news) = News::of(entry, &self.base) else { return Ok(()) };
        let known = self.folders.len() as u64;
        let counts = match self.folders.entry(news.folder.clone()) {
            Slot::Occupied(slot) => slot.into_mut(),
            Slot::Vacant(_) if known == limits::FOLDERS => {
                let what = "the number of the folders in which its messages are";
                return Err(Replica::rejection(
                    &bundle::Error::TooLarge { what, limit: limits::FOLDERS },
                    Origin::File,
                ));
            }
            Slot::Vacant(slot) => {
                let folder = news.folder.clone();
                slot.insert(FolderEvents { folder, new: 0, moved: 0, flagged: 0, removed: 0 })
            }
        };
        match news.kind {
            NewsKind::Arrived => counts.new += 1,
            NewsKind::Moved => counts.moved += 1,
            NewsKind::Flagged => {}
            NewsKind::Removed => counts.removed += 1,
        }
        counts.flagged += u64::from(!news.flags.is_empty());
        self.messages.as_ref().map_or(Ok(()), |list| list.add(digest, &news))
    }

    /// Ends it.
    pub fn finish(self) -> BundleNews {
        let messages = self.messages.map(|list| Arc::new(Mutex::new(list)));
        BundleNews { folders: Arc::new(self.folders), messages, missing: None }
    }
}

/// What can go wrong while a bundle is looked at.
enum Fault {
    Bundle(bundle::Error),
    Here(Error),
}

impl From<bundle::Error> for Fault {
    fn from(error: bundle::Error) -> Self {
        Self::Bundle(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Here(error)
    }
}

impl BundleNews {
    /// Reads what a bundle tells, to its end. Where every message is told, and with `checked`, all that it holds is
    /// checked; else only its records are.
    ///
    /// # Errors
    /// Something in the bundle is wrong, or there is no room for the list.
    pub fn read<R: BufRead>(
        records: RecordsPart<'_, R>,
        telling: Telling,
        checked: bool,
        origin: Origin,
    ) -> Result<Self> {
        Self::look(records, telling, checked).map_err(|fault| match fault {
            Fault::Bundle(error) => Replica::rejection(&error, origin),
            Fault::Here(error) => error,
        })
    }

    fn look<R: BufRead>(
        records: RecordsPart<'_, R>,
        telling: Telling,
        checked: bool,
    ) -> std::result::Result<Self, Fault> {
        let mut taker = NewsTaker::new(records.manifest().base.clone(), telling)?;
        let jobs = records.records::<Fault>(|record| match record {
            Record::Folder { .. } => Ok(()),
            Record::Entry { id, entry } => Ok(taker.entry(&id.digest, &entry)?),
        })?;
        let mut messages = jobs.jobs(&mut io::sink())?;
        if taker.messages.is_none() && !checked {
            messages.skip()?;
            return Ok(taker.finish());
        }
        while let Some(message) = messages.next_message()? {
            let Some(list) = &taker.messages else {
                message.copy_verified(&mut io::sink())?;
                continue;
            };
            let (digest, mut head) = (message.digest(), Head::default());
            message.copy_verified(&mut head)?;
            list.add_headline(&digest, &Headline::read(head.bytes()))?;
        }
        let mut news = taker.finish();
        news.missing = Some(messages.missing().len() as u64);
        news.lack(messages.missing().keys())?;
        messages.finish()?;
        Ok(news)
    }

    /// How many of the messages that its manifest promises the bundle lacks, since its sender could not read them. `None` if
    /// it wasn't read to its end: only there it says so.
    pub fn missing(&self) -> Option<u64> {
        self.missing
    }

    /// Notes of which messages the bundle lacks the contents.
    pub(super) fn lack<'d>(&self, missing: impl IntoIterator<Item = &'d Digest>) -> Result<()> {
        let Some(list) = &self.messages else { return Ok(()) };
        // Nothing that panicked has changed the list.
        let list = list.lock().unwrap_or_else(PoisonError::into_inner);
        missing.into_iter().try_for_each(|digest| list.add_missing(digest))
    }

    /// How much is told of each of at most `most` folders, those with the most of it first. Also gives how many there
    /// are.
    pub fn by_folder(&self, most: usize) -> (Vec<FolderEvents>, u64) {
        let all = |counts: &FolderEvents| counts.new + counts.moved + counts.flagged + counts.removed;
        let mut folders: Vec<&FolderEvents> = self.folders.values().collect();
        folders.sort_by_key(|counts| std::cmp::Reverse(all(counts)));
        (folders.iter().take(most).map(|counts| (*counts).clone()).collect(), folders.len() as u64)
    }

    /// Every message, in the bundle's order.
    ///
    /// # Errors
    /// Those of `each`, which ends it.
    pub fn each_message(&self, mut each: impl FnMut(ListedNews) -> Result<()>) -> Result<()> {
        let Some(list) = &self.messages else { return Ok(()) };
        let mut after = 0;
        loop {
            // Nothing that panicked has changed the list.
            let batch = list.lock().unwrap_or_else(PoisonError::into_inner).batch(after, BATCH)?;
            if batch.is_empty() {
                return Ok(());
            }
            for (key, listed) in batch {
                after = key;
                each(listed)?;
            }
        }
    }
}
