//! What became of a mail, as a line: for people, and for programs.

use jiff::tz::TimeZone;
use mailsync::headline::Headline;
use mailsync::model::{Digest, Happened, Rule};
use mailsync::replica::{FolderEvents, ListedNews, MessageEvent};
use mailsync::text::{plural, printable};
use unicode_width::UnicodeWidthStr;

use super::columns::cut;
use super::moment::local_with_zone;
use super::output::time;
use super::view::all_signed;

/// The columns of a terminal in which a line fits, if its folders leave room for that.
const WIDTH: usize = 80;
/// What stands before a line on standard error.
pub const SPOKEN: usize = "mailsync: ".len();
/// At most so many columns are a sender's; and so many at least are left for the subject.
const SENDER: usize = 16;
const SUBJECT: usize = 12;

/// What became of one mail.
pub struct MailLine<'m> {
    /// `A`, `M`, `R`, `D` or `C`.
    sign: char,
    /// The folder where it is or was.
    folder: &'m str,
    /// The one from which it was moved, if that is known; of a move that doesn't hold, the one to which it was to go; else
    /// empty.
    from_folder: &'m str,
    /// What became of its flags, or would have.
    flags: String,
    /// Why a change doesn't hold.
    why: &'static str,
    /// Whether the contents don't come with the bundle that brings the message.
    is_missing: bool,
    headline: &'m Headline,
    digest: &'m Digest,
}

impl<'m> MailLine<'m> {
    /// What became of a message here.
    pub fn of_event(event: &'m MessageEvent, headline: &'m Headline) -> Self {
        let (folder, from_folder, flags) = match &event.happening.what {
            Happened::Arrived(folder) | Happened::Removed(folder) => (folder, "", String::new()),
            Happened::Changed { folder, from, flags } => {
                (folder, from.as_ref().map_or("", |from| from.as_str()), all_signed(flags))
            }
            Happened::Overruled { folder, to, flags, .. } => {
                (folder, to.as_ref().map_or("", |to| to.as_str()), all_signed(flags))
            }
        };
        let (sign, digest) = (event.happening.what.sign(), &event.id.digest);
        let why = if let Happened::Overruled { rule, .. } = event.happening.what { instead(rule) } else { "" };
        Self { sign, folder: folder.as_str(), from_folder, flags, why, is_missing: false, headline, digest }
    }

    /// What a bundle tells of a message.
    pub fn of_news(listed: &'m ListedNews, headline: &'m Headline) -> Self {
        let news = &listed.news;
        let (sign, flags) = (news.kind.sign(), all_signed(&news.flags));
        let (folder, digest, is_missing) = (news.folder.as_str(), &listed.digest, listed.is_missing);
        Self { sign, folder, from_folder: "", flags, why: "", is_missing, headline, digest }
    }

    /// The line for people, behind so many columns. Sender and subject are cut to fit. A message of which nothing else is
    /// known is named by its digest.
    pub fn words(&self, zone: &TimeZone, before: usize) -> String {
        let folder = printable(self.folder);
        let place = match (self.sign, self.from_folder) {
            ('R', "") => format!("-> {folder}"),
            ('C', "") if self.flags.is_empty() => format!("{folder} (not removed: {})", self.why),
            ('C', "") => folder,
            ('C', to) => format!("{folder} (not {}: {})", printable(to), self.why),
            (_, "") => folder,
            (_, from) => format!("{} -> {folder}", printable(from)),
        };
        let date = self.headline.date.map_or_else(|| String::from("-"), |date| local_with_zone(date, zone));
        let begins = format!("{} {place}  {date}  ", self.sign);
        let flags = match (self.sign, &*self.flags) {
            (_, "") if self.is_missing => String::from("  (without its contents)"),
            (_, flags) if self.is_missing => format!("  ({flags}; without its contents)"),
            (_, "") => String::new(),
            ('C', flags) => format!("  (not {flags}: {})", self.why),
            (_, flags) => format!("  ({flags})"),
        };
        let room = WIDTH.saturating_sub(before + begins.width() + flags.width());
        let sender = self.headline.from.as_deref().unwrap_or("-");
        let sender = cut(sender, SENDER.min(room.saturating_sub(2 + SUBJECT)).max(SENDER / 2));
        let digest = || format!("message {}", &self.digest.to_string()[..12]);
        let subject = self.headline.subject.clone().unwrap_or_else(digest);
        let left = room.saturating_sub(sender.width() + 2).max(SUBJECT);
        let subject = if self.headline.subject.is_some() { cut(&subject, left) } else { subject };
        format!("{begins}{sender}  {subject}{flags}")
    }

    /// The line for programs: no field has a tab or a line break in it.
    pub fn fields(&self) -> String {
        let fields = [
            self.sign.to_string(),
            printable(self.folder),
            printable(self.from_folder),
            self.flags.clone(),
            self.headline.date.map(time).unwrap_or_default(),
            self.headline.from.clone().unwrap_or_default(),
            self.headline.subject.clone().unwrap_or_default(),
            self.digest.to_string(),
        ];
        fields.join("\t")
    }
}

/// What has happened to a message by which something else doesn't hold.
fn instead(rule: Rule) -> &'static str {
    match rule {
        Rule::Later => "changed later",
        Rule::SameTime => "changed at once",
        Rule::Moved => "moved",
        Rule::Delivered => "came anew",
        Rule::Removed => "removed",
    }
}

/// How much became of the messages of folders, a line for each: `folders` of `all`.
pub fn folder_lines(folders: &[FolderEvents], all: u64) -> Vec<String> {
    let mut lines: Vec<String> = folders.iter().map(|events| format!("  {}", by_folder(events))).collect();
    match all - folders.len() as u64 {
        0 => {}
        more => lines.push(format!("  and {}", plural(more, "more folder"))),
    }
    lines
}

fn by_folder(events: &FolderEvents) -> String {
    let counts =
        [(events.new, "new"), (events.moved, "moved here"), (events.flagged, "flagged"), (events.removed, "removed")];
    let words = counts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}"));
    format!("{}: {}", printable(events.folder.as_str()), words.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(sign: char, folders: (&str, &str), flags: &str, headline: &Headline) -> String {
        let digest = Digest([0x3f; 32]);
        let line = MailLine {
            sign,
            folder: folders.1,
            from_folder: folders.0,
            flags: flags.to_owned(),
            why: "moved",
            is_missing: false,
            headline,
            digest: &digest,
        };
        line.words(&TimeZone::UTC, SPOKEN)
    }

    #[test]
    fn a_line_about_a_mail_fits_where_its_folders_leave_room() {
        let headline = |from: &str, subject: &str| Headline {
            from: Some(from.to_owned()),
            subject: Some(subject.to_owned()),
            date: Some(1_795_885_200_000),
            ..Headline::default()
        };
        let short = headline("Jürgen", "Grüße aus Köln");
        let long = headline("A person with a very long name", "A subject that goes on and on, as subjects do");
        for (sign, folders, flags, headline, expected) in [
            ('A', ("", "INBOX"), "", &short, "A INBOX  2026-11-28 17:00 +0000  Jürgen  Grüße aus Köln"),
            ('R', ("INBOX", "Work"), "", &short, "R INBOX -> Work  2026-11-28 17:00 +0000  Jürgen  Grüße aus Köln"),
            ('R', ("", "Work"), "+S", &short, "R -> Work  2026-11-28 17:00 +0000  Jürgen  Grüße aus Köln  (+S)"),
            (
                'C',
                ("Work", "Spam"),
                "",
                &short,
                "C Spam (not Work: moved)  2026-11-28 17:00 +0000  Jürgen  Grüße aus K…",
            ),
            (
                'C',
                ("", "Work"),
                "",
                &short,
                "C Work (not removed: moved)  2026-11-28 17:00 +0000  Jürgen  Grüße aus K…",
            ),
            ('C', ("", "Work"), "+F", &short, "C Work  2026-11-28 17:00 +0000  Jürgen  Grüße aus Kö…  (not +F: moved)"),
            ('D', ("", "INBOX"), "", &Headline::default(), "D INBOX  -  -  message 3f3f3f3f3f3f"),
            (
                'M',
                ("", "INBOX"),
                "+S -F",
                &long,
                "M INBOX  2026-11-28 17:00 +0000  A person with…  A subject t…  (+S -F)",
            ),
            (
                'R',
                ("Archive/2019", "Archive/2020/letters"),
                "",
                &long,
                "R Archive/2019 -> Archive/2020/letters  2026-11-28 17:00 +0000  A perso…  A subject t…",
            ),
        ] {
            let told = line(sign, folders, flags, headline);
            assert_eq!(told, expected);
        }
        assert!(line('M', ("", "INBOX"), "+S -F", &long).width() + SPOKEN <= WIDTH);
    }
}
