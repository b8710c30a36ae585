//! Views that several commands show in the same way, as text.

use mailsync::config::Config;
use mailsync::error::{Error, ErrorKind};
use mailsync::maildir::LayoutKind;
use mailsync::model::Flag;
use mailsync::replica::{ImportOutcome, Imported, Invited, Replica, ScanReport, Status};
use mailsync::text::{bytes, local_time, plural, printable};

use super::context::Context;
use super::failure::{Ending, Failure};
use super::output::Output;

/// At most so many problems are told one by one.
const TOLD: usize = 20;

/// The word for how folders become directories, as it is typed.
pub fn layout_word(config: &Config) -> &'static str {
    match config.layout {
        LayoutKind::MaildirPlusPlus => "maildir++",
        LayoutKind::Fs => "fs",
    }
}

/// What a replica holds.
pub fn mail_words(status: &Status) -> String {
    format!(
        "{} in {}: {}, {}",
        plural(status.totals.entries, "entry"),
        plural(status.folders.len() as u64, "folder"),
        plural(status.totals.messages, "message"),
        bytes(status.totals.bytes)
    )
}

/// What became of a flag: set or cleared.
pub fn signed(flag: &Flag, on: bool) -> String {
    format!("{}{flag}", if on { '+' } else { '-' })
}

/// What became of several.
pub fn all_signed(flags: &[(Flag, bool)]) -> String {
    flags.iter().map(|(flag, on)| signed(flag, *on)).collect::<Vec<_>>().join(" ")
}

/// Since when a replica is invited, and until when its answer is accepted.
pub fn invited_since(replica: &Replica, invited: &Invited) -> String {
    let ends = if replica.has_expired(invited) { "expired" } else { "expires" };
    format!("invited {}, {ends} {}", local_time(invited.made), local_time(invited.expires))
}

/// Which replicas are revoked, by whom and when.
pub fn revoked_words(replica: &Replica) -> Result<Vec<String>, Error> {
    let mut lines = Vec::new();
    for (id, out) in replica.shut_outs()?.iter() {
        let name = if *id == replica.public_key().id() {
            String::from("THIS REPLICA")
        } else {
            replica.shown_name_of(id, out)?
        };
        let looked_at = if out.was_looked_at() { "" } else { "; nobody has looked at this here yet" };
        let (by, since) = (replica.words_of(out)?, local_time(out.since));
        let also = match out.keys.len() as u64 - 1 {
            0 => String::new(),
            more => format!(", with {} that followed", plural(more, "key")),
        };
        lines.push(format!("{name}{also}, as of {since}, by {by}{looked_at}"));
    }
    Ok(lines)
}

/// Tells which files a scan could not look at. That is a failure, although everything else was done.
pub fn complain_of(report: &ScanReport) -> Ending {
    if report.problems.is_empty() {
        return Ok(());
    }
    for problem in report.problems.iter().take(TOLD) {
        Output::complain(problem);
    }
    if report.problems.len() > TOLD {
        Output::complain(&Error::failed(format!("and {} more like these", report.problems.len() - TOLD)));
    }
    Err(Failure::Said(ErrorKind::Failed))
}

/// How a command ends with what its scan could not look at. A dry run of what would be refused has told all of it, and ends as
/// the command itself would.
pub fn ended(report: &ScanReport) -> Ending {
    let problems = complain_of(report);
    report.refused.clone().map_or(problems, |error| Err(error.into()))
}

/// Tells the outcome of a bundle's import.
pub fn tell(context: &Context, imported: &Imported, dry: bool) {
    let from = printable(imported.from.as_deref().unwrap_or("an unknown sender"));
    let number = imported.number.unwrap_or(0);
    match &imported.outcome {
        ImportOutcome::Applied if dry => {
            context.out.say(format_args!("bundle {number} from {from} would bring: {}", imported.changes));
        }
        ImportOutcome::Applied => context.out.say(format_args!("bundle {number} from {from}: {}", imported.changes)),
        ImportOutcome::NothingNew => context.out.say(format_args!("bundle {number} from {from}: nothing new")),
        ImportOutcome::NotYet(error)
        | ImportOutcome::Rejected(error)
        | ImportOutcome::ForSomeoneElse(error)
        | ImportOutcome::Incomplete(error) => {
            Output::complain(error);
        }
        ImportOutcome::Refused(_) if dry => {
            context
                .out
                .say(format_args!("bundle {number} from {from} is refused, and would bring: {}", imported.changes));
        }
        // The command ends with this error, and tells it then.
        ImportOutcome::RolledBack(_) | ImportOutcome::Refused(_) => {}
    }
}

/// The worst outcome among several bundles decides the exit code.
pub fn worst(all: &[Imported]) -> Option<ErrorKind> {
    all.iter().filter_map(|imported| imported.outcome.error()).map(Error::kind).max()
}
