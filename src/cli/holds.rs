//! What bundles hold, told by folder and, if that is asked for, message by message.

use std::io::{self, BufWriter, Stdout, Write};

use jiff::tz::TimeZone;
use mailsync::error::Result;
use mailsync::replica::{BundleNews, Replica, Telling};

use super::args::Listing;
use super::context::Context;
use super::document::changes::HeadedChange;
use super::failure::{Ending, Failure};
use super::mail_line::{MailLine, SPOKEN, folder_lines};
use super::output::closed;

/// Of so many folders is told how much; of others only how many they are.
const FOLDERS: usize = 5;

/// Where the words for people go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    /// They are said.
    Said,
    /// They are what the command is asked for, and so are data.
    Printed,
}

/// How much is to be told of what a bundle holds.
pub fn telling(listing: Listing) -> Telling {
    if listing.tells_each() { Telling::Messages } else { Telling::Folders }
}

/// What is told of bundles, one after the other.
pub struct Holds<'c> {
    context: &'c Context,
    listing: Listing,
    words: Words,
    out: BufWriter<Stdout>,
    /// Why nothing more is written to standard output.
    failed: Option<Failure>,
}

impl<'c> Holds<'c> {
    /// Begins.
    pub fn begin(context: &'c Context, listing: Listing, words: Words) -> Self {
        let out = BufWriter::new(io::stdout());
        Self { context, listing, words, out, failed: None }
    }

    /// Tells people something. Standard output of who wants a list, or a document, has nothing else.
    pub fn say(&mut self, line: &str) {
        match self.words {
            Words::Printed if self.context.out.json() => {}
            Words::Printed if !self.listing.list => self.print(line),
            Words::Printed | Words::Said => self.context.out.say(line),
        }
    }

    fn print(&mut self, line: &str) {
        if self.failed.is_none() {
            self.failed = writeln!(self.out, "{line}").err().map(|error| closed(&error));
        }
    }

    /// Tells how much a bundle holds in which folders.
    pub fn folders(&mut self, news: &BundleNews) {
        let (folders, all) = news.by_folder(FOLDERS);
        for line in folder_lines(&folders, all) {
            self.say(&line);
        }
    }

    /// Tells of each message, if that is asked for. Gives them for a document, where one is wanted. What isn't known of a
    /// message by the bundle may be known to this replica.
    pub fn messages(&mut self, news: &BundleNews, replica: Option<&Replica>) -> Result<Option<Vec<HeadedChange>>> {
        let mut documents = Vec::new();
        news.each_message(|listed| {
            let known = || replica.map_or(Ok(None), |replica| replica.headline(&listed.digest));
            let headline = listed.headline.clone().map_or_else(known, |headline| Ok(Some(headline)))?;
            let headline = headline.unwrap_or_default();
            if self.context.out.json() {
                documents.push(HeadedChange::of_news(&listed, &headline));
            } else {
                self.message(&MailLine::of_news(&listed, &headline));
            }
            Ok(())
        })?;
        let wanted = self.context.out.json() && self.listing.tells_each();
        Ok(wanted.then_some(documents))
    }

    fn message(&mut self, line: &MailLine<'_>) {
        if self.listing.verbose {
            let is_data = self.words == Words::Printed && !self.listing.list;
            let words = line.words(&TimeZone::system(), if is_data { 0 } else { SPOKEN });
            self.say(&words);
        }
        if self.listing.list {
            self.print(&line.fields());
        }
    }

    /// Writes out what is printed so far.
    pub fn flush(&mut self) {
        if self.failed.is_none() {
            self.failed = self.out.flush().err().map(|error| closed(&error));
        }
    }

    /// Whether all was written.
    pub fn finish(mut self) -> Ending {
        self.flush();
        self.failed.map_or(Ok(()), Err)
    }
}
