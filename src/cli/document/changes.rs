//! What became of single messages.

use mailsync::headline::Headline;
use mailsync::model::{Happened, News, NewsKind, Rule};
use mailsync::replica::{ListedNews, MessageEvent};
#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use super::values::{FlagChange, Head, Time};

/// Something that became of a message.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Change {
    /// What it was.
    pub what: What,
    /// The message: the SHA-256 of what isn't written by synchronisers, in hexadecimal digits.
    pub digest: String,
    /// The folder where it is after that, or from which it was removed.
    pub folder: String,
    /// The folder where it was before, if it was moved and that is known; else null.
    pub from_folder: Option<String>,
    /// The flags that were set or cleared, or were to be by a change that doesn't hold.
    pub flags: Vec<FlagChange>,
    /// The change that doesn't hold; null if it does.
    pub overruled: Option<Overruled>,
    /// The peer whose bundle has brought the change; null if none has.
    pub peer: Option<String>,
    /// The number of that bundle.
    pub bundle: Option<u64>,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, derive(JsonSchema))]
pub enum What {
    /// It came.
    Arrived,
    /// It is in another folder; its flags may have changed, too.
    Moved,
    /// Its flags have changed.
    Flagged,
    /// It was removed.
    Removed,
    /// A change doesn't hold, since others had changed the message without knowing of it.
    Overruled,
}

/// A change that doesn't hold.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Overruled {
    /// What was to become of the message: it was moved (and its flags may have been changed, too), flagged, or removed.
    pub what: What,
    /// The folder to which it was moved; else null.
    pub to_folder: Option<String>,
    /// The rule by which it gave way.
    pub rule: OverrulingRule,
}

/// A rule by which of two changes that were made without knowing of each other one gives way.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, derive(JsonSchema))]
pub enum OverrulingRule {
    /// The other one of the same folder or flag was made later.
    Later,
    /// The other one of the same folder or flag was made at the same time: which of them counts is the same everywhere.
    SameTime,
    /// The message was moved, and a removal that had not seen that doesn't count.
    Moved,
    /// The message was delivered anew, and a removal that had not seen that doesn't count.
    Delivered,
    /// The message was removed from where it was last.
    Removed,
}

impl From<Rule> for OverrulingRule {
    fn from(rule: Rule) -> Self {
        match rule {
            Rule::Later => Self::Later,
            Rule::SameTime => Self::SameTime,
            Rule::Moved => Self::Moved,
            Rule::Delivered => Self::Delivered,
            Rule::Removed => Self::Removed,
        }
    }
}

impl From<&MessageEvent> for Change {
    fn from(event: &MessageEvent) -> Self {
        let (what, folder, from, flags) = match &event.happening.what {
            Happened::Arrived(folder) => (What::Arrived, folder, None, &[][..]),
            Happened::Removed(folder) => (What::Removed, folder, None, &[][..]),
            Happened::Changed { folder, from: None, flags } => (What::Flagged, folder, None, &flags[..]),
            Happened::Changed { folder, from, flags } => (What::Moved, folder, from.as_ref(), &flags[..]),
            Happened::Overruled { folder, flags, .. } => (What::Overruled, folder, None, &flags[..]),
        };
        let overruled = match &event.happening.what {
            Happened::Overruled { rule, to, flags, .. } => {
                let what = match (to, flags.is_empty()) {
                    (Some(_), _) => What::Moved,
                    (None, false) => What::Flagged,
                    (None, true) => What::Removed,
                };
                Some(Overruled { what, to_folder: to.as_ref().map(ToString::to_string), rule: (*rule).into() })
            }
            _ => None,
        };
        Self {
            what,
            digest: event.id.digest.to_string(),
            folder: folder.to_string(),
            from_folder: from.map(ToString::to_string),
            flags: flags.iter().map(|(flag, on)| FlagChange::of(flag, *on)).collect(),
            overruled,
            peer: event.occasion.peer.clone(),
            bundle: event.occasion.bundle,
        }
    }
}

/// Something that a command has done to a message, with what people know the mail by.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct HeadedChange {
    /// The change.
    #[serde(flatten)]
    pub change: Change,
    /// What people know the mail by.
    #[serde(flatten)]
    pub head: Head,
    /// Whether the bundle, with which the message comes, lacks its contents, since its sender could not read them; only of what a
    /// bundle holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<bool>,
}

impl HeadedChange {
    /// A change of a mail with this headline.
    pub fn of(event: &MessageEvent, headline: &Headline) -> Self {
        Self { change: event.into(), head: headline.into(), missing: None }
    }

    /// What a bundle tells of a mail with this headline. Where it was before it was moved, a bundle doesn't say.
    pub fn of_news(listed: &ListedNews, headline: &Headline) -> Self {
        let News { kind, folder, flags } = &listed.news;
        let change = Change {
            what: match kind {
                NewsKind::Arrived => What::Arrived,
                NewsKind::Moved => What::Moved,
                NewsKind::Flagged => What::Flagged,
                NewsKind::Removed => What::Removed,
            },
            digest: listed.digest.to_string(),
            folder: folder.to_string(),
            from_folder: None,
            flags: flags.iter().map(|(flag, on)| FlagChange::of(flag, *on)).collect(),
            overruled: None,
            peer: None,
            bundle: None,
        };
        Self { change, head: headline.into(), missing: Some(listed.is_missing) }
    }
}

/// Something that became of a message, as the history has it.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct PastChange {
    /// When it was seen here.
    pub at: Time,
    /// The change.
    #[serde(flatten)]
    pub change: Change,
    /// The name of the replica that has done it; null if nobody can tell.
    pub by: Option<String>,
    /// When it was done, by that replica's clock; null if nobody can tell.
    pub done: Time,
    /// The command by which it came about here.
    pub command: String,
}

impl PastChange {
    /// A change, by the replica that has this name here.
    pub fn of(event: &MessageEvent, by: Option<String>) -> Self {
        Self {
            at: Time::of(event.at),
            change: event.into(),
            by,
            done: Time::of(event.happening.stamp.map(|stamp| stamp.clock.millis())),
            command: event.occasion.action.word().to_owned(),
        }
    }
}
