//! Views that several commands show in the same way, as text or as JSON.

use mailsync::config::Config;
use mailsync::error::{Error, ErrorKind};
use mailsync::maildir::LayoutKind;
use mailsync::model::{Flag, FolderName};
use mailsync::replica::{ImportOutcome, Imported, Invited, Peer, Replica, ScanReport, ShutOut};
use mailsync::text::printable;
use serde_json::{Value, json};

use super::context::Context;
use super::failure::{Ending, Failure};
use super::output::{Output, json_time, time};

/// At most so many problems are told one by one.
const TOLD: usize = 20;

/// A replica, as JSON.
pub fn replica_json(replica: &Replica) -> Value {
    let config = replica.config();
    json!({
        "id": replica.public_key().id().to_string(),
        "name": config.name,
        "public_key": replica.public_key().to_openssh(),
        "mail_root": config.mail_root.to_string_lossy(),
        "layout": layout_word(config),
    })
}

/// Folders with the numbers of their entries, as JSON.
pub fn folders_json(folders: &[(FolderName, u64)]) -> Vec<Value> {
    folders.iter().map(|(name, entries)| json!({ "name": name, "entries": entries })).collect()
}

/// The word for how folders become directories, as it is typed.
pub fn layout_word(config: &Config) -> &'static str {
    match config.layout {
        LayoutKind::MaildirPlusPlus => "maildir++",
        LayoutKind::Fs => "fs",
    }
}

/// What became of a flag: set or cleared.
pub fn signed(flag: &Flag, on: bool) -> String {
    format!("{}{flag}", if on { '+' } else { '-' })
}

/// A replica that was invited and has not answered, as JSON.
pub fn invited_json(replica: &Replica, invited: &Invited) -> Value {
    json!({
        "name": invited.name,
        "invited": json_time(Some(invited.made)),
        "expires": json_time(Some(invited.expires)),
        "expired": replica.has_expired(invited),
    })
}

/// Since when a replica is invited, and until when its answer is accepted.
pub fn invited_since(replica: &Replica, invited: &Invited) -> String {
    let ends = if replica.has_expired(invited) { "expired" } else { "expires" };
    format!("invited {}, {ends} {}", time(invited.made), time(invited.expires))
}

/// A peer, as JSON.
pub fn peer_json(peer: &Peer) -> Value {
    json!({
        "name": peer.name,
        "id": peer.id,
        "public_key": peer.public_key.to_openssh(),
        "distant": peer.distant,
        "added": json_time(Some(peer.added)),
        "last_heard": json_time(peer.last_heard),
        "last_heard_number": peer.standing.newest.map(|(_, number)| number),
        "last_sent": json_time(peer.last_sent),
        "last_sent_number": peer.sent_number,
        "last_sent_bytes": peer.sent_bytes,
        "acknowledged": json_time(peer.acknowledged.map(|(_, at)| at)),
        "acknowledged_number": peer.acknowledged.map(|(number, _)| number),
        "differs": peer.suspect,
    })
}

/// Who has revoked a replica, as JSON.
pub fn shut_out_json(out: &ShutOut) -> Value {
    let by = out.by.iter().map(|heard| {
        let said = &heard.revocation;
        json!({
            "by": said.by,
            "since": json_time(Some(said.since)),
            "at": json_time(Some(said.at)),
            "reason": said.reason,
            "brought_by": heard.carrier,
            "heard": json_time(Some(heard.heard)),
        })
    });
    json!({ "since": json_time(Some(out.since)), "looked_at": out.was_looked_at(), "by": by.collect::<Vec<_>>() })
}

/// Which replicas are revoked, by whom and when.
pub fn revoked_words(replica: &Replica) -> Result<Vec<String>, Error> {
    let mut lines = Vec::new();
    for (id, out) in replica.shut_outs()?.iter() {
        let name = if *id == replica.public_key().id() {
            String::from("THIS REPLICA")
        } else {
            replica.known_as(id)?.unwrap_or_else(|| id.to_string())
        };
        let looked_at = if out.was_looked_at() { "" } else { "; nobody has looked at this here yet" };
        let (name, by, since) = (printable(&name), replica.words_of(out)?, time(out.since));
        lines.push(format!("{name}, as of {since}, by {by}{looked_at}"));
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
        // The command ends with this error, and tells it then.
        ImportOutcome::RolledBack(_) => {}
    }
}

/// The worst outcome among several bundles decides the exit code.
pub fn worst(all: &[Imported]) -> Option<ErrorKind> {
    all.iter().filter_map(|imported| imported.outcome.error()).map(Error::kind).max()
}

/// The outcome of a bundle's import, as JSON.
pub fn imported_json(imported: &Imported) -> Value {
    let mut document = json!({
        "file": imported.file.as_ref().map(|file| file.to_string_lossy()),
        "from": imported.from,
        "number": imported.number,
        "outcome": imported.outcome.word(),
        "error": imported.outcome.error(),
    });
    for (name, count) in json!(imported.changes).as_object().into_iter().flatten() {
        document[name] = count.clone();
    }
    document
}
