//! Which messages a command changes, told by folder and, if that is asked for, one by one.

use std::io::{self, Write};

use jiff::tz::TimeZone;
use mailsync::error::Result;
use mailsync::headline::Headline;
use mailsync::model::{Flag, Happened};
use mailsync::replica::{FolderEvents, Mark, MessageEvent, Replica, ScanReport};
use mailsync::text::{plural, printable};

use super::args::Listing;
use super::context::Context;
use super::document::changes::HeadedChange;
use super::failure::{Ending, Failure};
use super::moment::local_short;
use super::output::{closed, time};
use super::view::signed;

/// The changes of so many folders are told; of others only how many they are.
const FOLDERS: u32 = 5;

/// Tells what a scan has found that comes before something else: in a dry run, or if anything was removed. Returns whether it
/// was told.
pub fn tell_found_first(context: &Context, report: &ScanReport, dry: bool) -> bool {
    let told = report.has_changes() && (dry || report.removed + report.folders_removed > 0);
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
    zone: TimeZone,
    began: Mark,
    told: Mark,
    documents: Vec<HeadedChange>,
    /// Why nothing more is written to standard output.
    failed: Option<Failure>,
}

impl<'c> Changes<'c> {
    /// Begins with what is changed from here on.
    pub fn begin(context: &'c Context, replica: &Replica, listing: Listing) -> Result<Self> {
        let began = replica.mark()?;
        let zone = TimeZone::system();
        Ok(Self { context, listing, zone, began, told: began, documents: Vec::new(), failed: None })
    }

    /// Tells of each message that was changed since the last call, if that is asked for.
    pub fn tell_each(&mut self, replica: &Replica) -> Result<()> {
        if !self.listing.verbose && !self.listing.list {
            return Ok(());
        }
        let told = self.told;
        self.told = replica.each_change_since(told, |event| {
            let headline = replica.headline(&event.id.digest)?;
            self.tell(&event, &headline.unwrap_or_default());
            Ok(())
        })?;
        Ok(())
    }

    fn tell(&mut self, event: &MessageEvent, headline: &Headline) {
        if self.context.out.json() {
            self.documents.push(HeadedChange::of(event, headline));
            return;
        }
        if self.listing.verbose {
            self.context.out.say(line(event, headline, &self.zone));
        }
        if self.listing.list && self.failed.is_none() {
            let mut out = io::stdout().lock();
            self.failed = writeln!(out, "{}", data(event, headline)).err().map(|error| closed(&error));
        }
    }

    /// Tells how much was changed in which folders.
    pub fn tell_folders(&self, replica: &Replica) -> Result<()> {
        if self.context.out.quiet() {
            return Ok(());
        }
        let (folders, all) = replica.changes_by_folder(self.began, FOLDERS)?;
        for folder in &folders {
            self.context.out.say(format_args!("  {}", by_folder(folder)));
        }
        match all - folders.len() as u64 {
            0 => {}
            more => self.context.out.say(format_args!("  and {}", plural(more, "more folder"))),
        }
        Ok(())
    }

    /// The changes for a JSON document, if they were asked for.
    pub fn documents(&mut self) -> Option<Vec<HeadedChange>> {
        (self.listing.verbose || self.listing.list).then(|| std::mem::take(&mut self.documents))
    }

    /// Whether all of the list was written.
    pub fn finish(self) -> Ending {
        self.failed.map_or(Ok(()), Err)
    }
}

fn by_folder(events: &FolderEvents) -> String {
    let counts =
        [(events.new, "new"), (events.moved, "moved here"), (events.flagged, "flagged"), (events.removed, "removed")];
    let words = counts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}"));
    format!("{}: {}", printable(events.folder.as_str()), words.collect::<Vec<_>>().join(", "))
}

/// The folder where a message is or was, the one from which it came, and what became of its flags.
fn parts(event: &MessageEvent) -> (&str, &str, String) {
    let all = |flags: &[(Flag, bool)]| flags.iter().map(|(flag, on)| signed(flag, *on)).collect::<Vec<_>>().join(" ");
    match &event.happening.what {
        Happened::Arrived(folder) | Happened::Removed(folder) => (folder.as_str(), "", String::new()),
        Happened::Changed { folder, from, flags } => {
            (folder.as_str(), from.as_ref().map_or("", |from| from.as_str()), all(flags))
        }
    }
}

/// A change as a line for people. A message whose file is nowhere on this machine is named by its digest.
fn line(event: &MessageEvent, headline: &Headline, zone: &TimeZone) -> String {
    let (folder, from, flags) = parts(event);
    let place =
        if from.is_empty() { printable(folder) } else { format!("{} -> {}", printable(from), printable(folder)) };
    let date = headline.date.map_or_else(|| String::from("-"), |date| local_short(date, zone));
    let sender = headline.from.as_deref().unwrap_or("-");
    let digest = || format!("message {}", &event.id.digest.to_string()[..12]);
    let subject = headline.subject.clone().unwrap_or_else(digest);
    let flags = if flags.is_empty() { flags } else { format!("  ({flags})") };
    format!("{} {place}  {date}  {sender}  {subject}{flags}", event.happening.what.sign())
}

/// A change as a line for programs: no field has a tab or a line break in it.
fn data(event: &MessageEvent, headline: &Headline) -> String {
    let (folder, from, flags) = parts(event);
    let fields = [
        event.happening.what.sign().to_string(),
        printable(folder),
        printable(from),
        flags,
        headline.date.map(time).unwrap_or_default(),
        headline.from.clone().unwrap_or_default(),
        headline.subject.clone().unwrap_or_default(),
        event.id.digest.to_string(),
    ];
    fields.join("\t")
}
