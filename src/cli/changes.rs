//! Which messages a command changes, told by folder and, if that is asked for, one by one.

use std::io::{self, Write};

use jiff::tz::TimeZone;
use mailsync::error::Result;
use mailsync::headline::Headline;
use mailsync::replica::{Mark, MessageEvent, Replica, ScanReport};

use super::args::Listing;
use super::context::Context;
use super::document::changes::HeadedChange;
use super::failure::{Ending, Failure};
use super::mail_line::{MailLine, SPOKEN, folder_lines};
use super::output::closed;

/// The changes of so many folders are told; of others only how many they are.
const FOLDERS: u32 = 5;

/// How much is told of what a scan has found that comes before something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoundFirst {
    /// All of it.
    All,
    /// Only if anything was removed.
    Removals,
}

/// Tells what a scan has found that comes before something else; of a dry run, all of it. Returns whether it was told.
pub fn tell_found_first(context: &Context, report: &ScanReport, dry: bool, much: FoundFirst) -> bool {
    let is_wanted = dry || much == FoundFirst::All || report.removed + report.folders_removed > 0;
    let told = report.has_changes() && is_wanted;
    if told {
        let would = if dry { "would be" } else { "were" };
        context.out.say(format_args!("changes that {would} found here first: {report}"));
    }
    told
}

/// What a command has changed since it began.
pub struct Changes<'c> {
    context: &'c Context,
    listing: Listing,
    /// How far it was told by folder.
    counted: Mark,
    told: Mark,
    documents: Vec<HeadedChange>,
    /// Why nothing more is written to standard output.
    failed: Option<Failure>,
}

impl<'c> Changes<'c> {
    /// Begins with what is changed from here on.
    pub fn begin(context: &'c Context, replica: &Replica, listing: Listing) -> Result<Self> {
        let began = replica.mark()?;
        Ok(Self { context, listing, counted: began, told: began, documents: Vec::new(), failed: None })
    }

    /// Tells of each message that was changed since the last call, if that is asked for.
    pub fn tell_each(&mut self, replica: &Replica) -> Result<()> {
        if !self.listing.verbose && !self.listing.list {
            return Ok(());
        }
        let told = self.told;
        self.told = replica.each_change_since(told, |event| {
            let headline = replica.headline(&event.id.digest)?;
            self.tell_one(&event, &headline.unwrap_or_default());
            Ok(())
        })?;
        Ok(())
    }

    fn tell_one(&mut self, event: &MessageEvent, headline: &Headline) {
        let line = MailLine::of_event(event, headline);
        if self.context.out.json() {
            self.documents.push(HeadedChange::of(event, headline));
            return;
        }
        if self.listing.verbose {
            self.context.out.say(line.words(&TimeZone::system(), SPOKEN));
        }
        if self.listing.list && self.failed.is_none() {
            let mut out = io::stdout().lock();
            self.failed = writeln!(out, "{}", line.fields()).err().map(|error| closed(&error));
        }
    }

    /// Tells of each message that was changed since the last call, if that is asked for, and how much it was in which folders.
    pub fn tell(&mut self, replica: &Replica) -> Result<()> {
        self.tell_each(replica)?;
        self.tell_folders(replica)
    }

    /// Tells all that was changed since the last call, which is undone after that: what follows begins where this began.
    pub fn tell_undone(&mut self, replica: &Replica) -> Result<()> {
        let (told, counted) = (self.told, self.counted);
        self.tell(replica)?;
        (self.told, self.counted) = (told, counted);
        Ok(())
    }

    /// Tells how much was changed in which folders since the last call.
    pub fn tell_folders(&mut self, replica: &Replica) -> Result<()> {
        if self.context.out.quiet() {
            return Ok(());
        }
        let (folders, all) = replica.changes_by_folder(self.counted, FOLDERS)?;
        self.counted = replica.mark()?;
        for line in folder_lines(&folders, all) {
            self.context.out.say(line);
        }
        Ok(())
    }

    /// The changes for a JSON document, if they were asked for.
    pub fn documents(&mut self) -> Option<Vec<HeadedChange>> {
        self.listing.tells_each().then(|| std::mem::take(&mut self.documents))
    }

    /// Whether all of the list was written.
    pub fn finish(self) -> Ending {
        self.failed.map_or(Ok(()), Err)
    }
}
