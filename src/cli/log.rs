//! `mailsync log`

use jiff::tz::TimeZone;
use mailsync::error::Error;
use mailsync::model::{Flag, FolderName, Happened, Rule};
use mailsync::replica::{EventKind, HistoryOptions, MessageEvent, Origins};
use mailsync::text::printable;

use super::args::Log;
use super::columns::table;
use super::context::Context;
use super::document::changes::PastChange;
use super::document::past::{Log as LogDocument, LogEvent};
use super::failure::CommandResult;
use super::moment::local;
use super::view::all_signed;

/// How far the history of messages goes back.
const HOW_FAR: &str = "it begins behind what this replica was made with, by `mailsync join` or its first scan, and goes back as far as \
                       history_days in config.toml says";

pub fn run(context: &Context, args: &Log) -> CommandResult {
    let since = args.since.as_ref().map(|moment| context.millis(moment)).transpose()?;
    if args.message.is_some() || args.folder.is_some() || args.removed || args.overruled {
        return messages(context, args, since);
    }
    let replica = context.read()?;
    let events = replica.history(args.limit, since, args.peer.as_deref())?;
    if context.out.json() {
        let events = events.iter().map(LogEvent::from).collect();
        return Ok(context.out.document(&LogDocument { events: Some(events), ..LogDocument::default() }));
    }
    let zone = TimeZone::system();
    let rows = events.iter().map(|event| {
        let peer = event.peer.as_deref().unwrap_or("-").to_owned();
        vec![local(event.at, &zone), event.action.word().to_owned(), peer, printable(&event.text)]
    });
    context.out.print(table(&rows.collect::<Vec<_>>()))
}

fn messages(context: &Context, args: &Log, since: Option<u64>) -> CommandResult {
    let replica = context.read()?;
    let message = args.message.as_ref().map(|name| replica.message_called(name)).transpose();
    context.say_notes(&replica);
    let message = message?;
    let options = HistoryOptions {
        message,
        folder: args.folder.clone(),
        since,
        peer: args.peer.clone(),
        kind: match (args.removed, args.overruled) {
            (true, _) => Some(EventKind::Removed),
            (_, true) => Some(EventKind::Overruled),
            _ => None,
        },
        limit: args.limit,
    };
    let events = replica.message_history(&options)?;
    context.say_notes(&replica);
    let names = replica.names();
    let by = |event: &MessageEvent| event.happening.stamp.map(|stamp| names.of(stamp.incarnation)).transpose();
    let origins = message.map(|message| replica.origins(message)).transpose()?;
    let untold = origins.as_ref().filter(|origins| events.is_empty() && origins.folders.is_empty()).map(|origins| {
        Error::failed(format!("looking for what became of {}: the history tells nothing of it", origins.digest))
            .advise(HOW_FAR)
    });
    if context.out.json() {
        let mut documents = Vec::with_capacity(events.len());
        for event in &events {
            documents.push(PastChange::of(event, by(event)?));
        }
        let folders = |origins: &Origins| origins.folders.iter().map(ToString::to_string).collect();
        let shown = context.out.document(&LogDocument {
            events: None,
            changes: Some(documents),
            digest: origins.as_ref().map(|origins| origins.digest.to_string()),
            folders: origins.as_ref().map(folders),
        });
        return untold.map_or(Ok(shown), |error| Err(error.into()));
    }
    let zone = TimeZone::system();
    let mut lines = Vec::with_capacity(events.len() + 2);
    if let Some(origins) = &origins {
        let headline = replica.headline(&origins.digest)?.unwrap_or_default();
        lines.push(format!("{} {headline}", origins.digest));
        let is_told = events.iter().any(|event| matches!(event.happening.what, Happened::Arrived(_)));
        for (folder, born) in origins.folders.iter().zip(&origins.born).filter(|_| !is_told) {
            let who = names.of(born.incarnation)?;
            let (folder, at) = (printable(folder.as_str()), local(born.clock.millis(), &zone));
            lines.push(format!("in {folder}: since before the history begins; delivered by {who} at {at}"));
        }
    }
    for event in &events {
        let line = format!("{}  {}", local(event.at, &zone), told(event, by(event)?.as_deref(), &zone));
        if origins.is_some() {
            lines.push(line);
            continue;
        }
        let headline = replica.headline(&event.id.digest)?.unwrap_or_default();
        lines.push(format!("{line}  {} {headline}", &event.id.digest.to_string()[..12]));
    }
    if let Some(error) = untold {
        return context.out.print(lines).and(Err(error.into()));
    }
    if events.is_empty() {
        say_that_there_is_none(context, args);
    }
    context.out.print(lines)
}

/// Says that the history has nothing of what was asked for.
fn say_that_there_is_none(context: &Context, args: &Log) {
    let what = if args.overruled {
        "no change was overruled that fits this: wherever a message was changed here and elsewhere before they heard of each \
         other, all changes hold, as far as the history tells"
    } else {
        "the history tells of no message like that"
    };
    context.out.say(format_args!("{what}; {HOW_FAR}"));
}

/// What became of a message, in words.
fn told(event: &MessageEvent, by: Option<&str>, zone: &TimeZone) -> String {
    let text = match &event.happening.what {
        Happened::Arrived(folder) => format!("arrived in {}", printable(folder.as_str())),
        Happened::Removed(folder) => format!("removed from {}", printable(folder.as_str())),
        Happened::Changed { folder, from, flags } => {
            let mut words = Vec::new();
            if let Some(from) = from {
                words.push(format!("moved from {} to {}", printable(from.as_str()), printable(folder.as_str())));
            }
            if !flags.is_empty() {
                let place = if from.is_some() { String::new() } else { format!(" in {}", printable(folder.as_str())) };
                words.push(format!("flagged {}{place}", all_signed(flags)));
            }
            words.join(", ")
        }
        Happened::Overruled { rule, folder, to, flags } => overruled_words(*rule, folder.as_str(), to.as_ref(), flags),
    };
    let by = match (by, event.happening.stamp) {
        (Some(by), Some(stamp)) => format!("by {by} at {}", local(stamp.clock.millis(), zone)),
        _ => String::from("by somebody"),
    };
    let occasion = &event.occasion;
    let how = match (&occasion.peer, occasion.bundle) {
        (Some(peer), Some(bundle)) => format!("bundle {bundle} from {peer}"),
        _ => occasion.action.word().to_owned(),
    };
    format!("{text} {by} ({how})")
}

/// A change that doesn't hold, in words.
fn overruled_words(rule: Rule, folder: &str, to: Option<&FolderName>, flags: &[(Flag, bool)]) -> String {
    let mut lost = Vec::new();
    if let Some(to) = to {
        lost.push(format!("moved to {}", printable(to.as_str())));
    }
    if !flags.is_empty() {
        lost.push(format!("flagged {}", all_signed(flags)));
    }
    if lost.is_empty() {
        lost.push(String::from("removed"));
    }
    format!("in {}; what doesn't hold, as {}: {}", printable(folder), rule.words(), lost.join(", "))
}
