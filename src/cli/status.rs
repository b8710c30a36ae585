//! `mailsync status`

use mailsync::model::{FolderName, Keyword};
use mailsync::replica::{AlarmStatus, InvitedStatus, JobCounts, PeerStatus, Replica, Status, Unseen};
use mailsync::state::{Guarded, Waiting};
use mailsync::text::{bytes, plural, printable, utc};

use super::context::Context;
use super::document;
use super::failure::CommandResult;
use super::output::{table, time};
use super::view::{invited_since, layout_word, revoked_lines};

pub fn run(context: &Context) -> CommandResult {
    let replica = context.read()?;
    let status = replica.status()?;
    context.say_notes(&replica);
    if context.out.json() {
        return Ok(context.out.document(&document::status::Status::of(&replica, &status, &replica.shut_outs()?)));
    }
    let (config, out) = (replica.config(), replica.shut_outs()?);
    let mut lines = vec![
        format!("replica    {} ({})", config.name, replica.public_key().id()),
        format!("mail root  {} ({})", config.mail_root.display(), layout_word(config)),
        format!(
            "mail       {} in {}: {}, {}",
            plural(status.totals.entries, "entry"),
            plural(status.folders.len() as u64, "folder"),
            plural(status.totals.messages, "message"),
            bytes(status.totals.bytes)
        ),
    ];
    lines.extend(revoked_lines(&replica)?);
    lines.extend(undone_lines(&status));
    lines.extend(jobs_line(&status.jobs));
    lines
        .extend(status.peers.iter().filter(|status| status.peer.suspect).map(|status| differs_line(&status.peer.name)));
    let rows = status
        .folders
        .iter()
        .map(|(name, entries)| vec![format!("  {}", printable(name.as_str())), entries.to_string()]);
    lines.push(String::new());
    lines.extend(table(&rows.collect::<Vec<_>>()));
    lines.push(String::new());
    if status.peers.is_empty() && status.invited.is_empty() {
        lines.push(String::from(
            "no peers yet; invite a new one with `mailsync invite NAME`, or make one known with `mailsync peer add NAME --key KEY`",
        ));
    } else {
        let head = ["peer", "last heard", "not seen yet", "next"].map(String::from).to_vec();
        let rows = std::iter::once(head)
            .chain(status.peers.iter().map(|status| peer_row(status, out.get(&status.peer.id).is_some())))
            .chain(status.invited.iter().map(|status| invited_row(&replica, status)));
        lines.extend(table(&rows.collect::<Vec<_>>()));
    }
    context.out.print(lines)
}

/// What is still to come, or to be done on disk, and what may stand in its way.
fn undone_lines(status: &Status) -> Vec<String> {
    let mut lines = Vec::new();
    if status.missing > 0 {
        lines.push(format!("missing    {} more, whose contents are not here yet", plural(status.missing, "entry")));
    }
    if status.pending > 0 {
        let changes = plural(status.pending, "change");
        lines.push(format!("pending    {changes} from others, not on disk yet or waiting for contents"));
    }
    lines.extend(status.waiting.iter().map(waiting_line));
    lines.extend(status.letterless.iter().map(letterless_line));
    lines.extend(status.alarms.iter().map(alarm_line));
    lines
}

/// A peer that knows the same and holds other mail.
fn differs_line(peer: &str) -> String {
    format!(
        "differs    {peer} knows the same, and holds other mail: exchange bundles both ways, the next one for it is full"
    )
}

fn waiting_line(waiting: &Waiting) -> String {
    let folder = printable(waiting.folder.as_str());
    let what = match waiting.changes {
        0 => format!("the folder {folder}"),
        changes => format!("{} in {folder}", plural(changes, "change")),
    };
    format!("waiting    {what}: {}", waiting.why)
}

fn letterless_line((folder, keywords): &(FolderName, Vec<Keyword>)) -> String {
    let names: Vec<&str> = keywords.iter().map(Keyword::as_str).collect();
    let count = plural(keywords.len() as u64, "keyword");
    format!("waiting    {count} in {} without a letter: {}", printable(folder.as_str()), names.join(", "))
}

fn alarm_line(alarm: &AlarmStatus) -> String {
    let (what, option) = match alarm.guarded {
        Guarded::Removed => ("remove", "--allow-mass-delete"),
        Guarded::Added => ("add", "--allow-mass-add"),
    };
    let (by, raised, ends) = (printable(&alarm.by), utc(alarm.raised), utc(alarm.ends));
    format!(
        "alarm      what imports {what} is counted together with a bundle of {by} that was refused at {raised}, until {ends} or \
         `mailsync import {option}`"
    )
}

fn jobs_line(jobs: &JobCounts) -> Option<String> {
    let counts = [
        (jobs.queued, "queued"),
        (jobs.running, "running"),
        (jobs.failed, "failed"),
        (jobs.rejected, "rejected"),
        (jobs.interrupted, "interrupted"),
    ];
    let words: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
    (!words.is_empty()).then(|| format!("jobs       {} (see `mailsync jobs list`)", words.join(", ")))
}

fn invited_row(replica: &Replica, status: &InvitedStatus) -> Vec<String> {
    let invited = &status.invited;
    let next = if replica.has_expired(invited) {
        format!("mailsync invite {}, or mailsync peer remove {}", invited.name, invited.name)
    } else {
        format!("mailsync join MAILROOT BUNDLE on {}", invited.name)
    };
    vec![invited.name.clone(), invited_since(replica, invited), unseen_text(status.unseen), next]
}

fn unseen_text(unseen: Unseen) -> String {
    let entries = (unseen.entries > 0).then(|| format!("{}, {}", plural(unseen.entries, "entry"), bytes(unseen.bytes)));
    let jobs = (unseen.jobs > 0).then(|| plural(unseen.jobs, "job"));
    let words: Vec<String> = entries.into_iter().chain(jobs).collect();
    if words.is_empty() { String::from("nothing") } else { words.join(", ") }
}

fn peer_row(status: &PeerStatus, is_revoked: bool) -> Vec<String> {
    let peer = &status.peer;
    let next = if is_revoked {
        String::from("revoked")
    } else if status.unseen.entries + status.unseen.jobs > 0 || peer.suspect {
        format!("mailsync export --to {}", peer.name)
    } else if peer.last_heard.is_none() {
        String::from("import a bundle from there")
    } else {
        String::from("-")
    };
    vec![
        peer.name.clone(),
        peer.last_heard.map_or_else(|| String::from("never"), time),
        unseen_text(status.unseen),
        next,
    ]
}
