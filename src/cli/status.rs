//! `mailsync status`

use mailsync::error::{Error, Result};
use mailsync::model::{FolderName, Keyword};
use mailsync::replica::{
    AlarmStatus, Care, Carrier, DiskLook, Errand, FolderLook, InvitedStatus, JobCounts, JobStanding, Lying,
    PassedOverStatus, PeerStatus, Replica, Status, Unseen, WaitingBundle,
};
use mailsync::state::{Guarded, Waiting};
use mailsync::text::{bytes, local_time, plural, printable, quoted};

use super::args;
use super::columns::{labelled, named};
use super::context::Context;
use super::document;
use super::failure::CommandResult;
use super::screen::output_columns;
use super::view::{layout_word, mail_words, revoked_words};

pub fn run(context: &Context, args: &args::Status) -> CommandResult {
    let replica = context.read()?;
    let status = replica.status()?;
    let look = if args.no_scan { None } else { Some(Look::at(&replica, &status)?) };
    let clock = replica.what_is_wrong_with_the_clock()?;
    context.say_notes(&replica);
    if context.out.json() {
        let out = replica.shut_outs()?;
        let look = look.as_ref().map(|look| (&look.disk, &look.arrived[..], &look.spools[..]));
        return Ok(context.out.document(&document::status::Status::of(&replica, &status, look, clock, &out)));
    }
    let (config, out) = (replica.config(), replica.shut_outs()?);
    let mut said = vec![
        ("replica", format!("{} ({})", config.name, replica.public_key().id())),
        ("mail root", format!("{} ({})", config.mail_root.display(), layout_word(config))),
        ("mail", mail_words(&status)),
    ];
    said.extend(disk_words(&status, look.as_ref().map(|look| &look.disk)));
    said.extend(clock.into_iter().map(|words| ("clock", words)));
    said.extend(revoked_words(&replica)?.into_iter().map(|words| ("revoked", words)));
    said.extend(status.passed_over.iter().map(passed_over_words));
    said.extend(look.iter().flat_map(|look| &look.arrived).flat_map(|lying| arrived_words(&replica, lying)));
    said.extend(undone_words(&status));
    said.extend(jobs_words(&status.jobs));
    said.extend(failed_words(&status));
    said.extend(status.peers.iter().filter(|status| status.peer.suspect).map(|status| differs(&status.peer.name)));
    let mut lines: Vec<String> = said.iter().flat_map(|(label, words)| labelled(label, words)).collect();
    lines.push(String::new());
    lines.extend(folder_lines(&status, look.as_ref().map(|look| &look.disk)));
    if status.peers.is_empty() && status.invited.is_empty() {
        lines.push(String::new());
        lines.push(String::from("no peers yet; invite a new one with `mailsync invite NAME`,"));
        lines.push(String::from("or make one known with `mailsync peer add NAME --key KEY`"));
    }
    for (number, status) in status.peers.iter().enumerate() {
        let spool = look.as_ref().and_then(|look| look.spools[number].as_ref());
        lines.extend(peer_lines(&replica, status, spool, out.get(&status.peer.id).is_some())?);
    }
    for status in &status.invited {
        lines.extend(invited_lines(&replica, status));
    }
    context.out.print(lines)
}

/// What there is on the disk.
pub struct Look {
    /// How the mail differs from what the last scan has seen.
    pub disk: DiskLook,
    /// What waits to be imported, by the directories in which it lies.
    pub arrived: Vec<Lying>,
    /// What waits in the spool of each peer.
    pub spools: Vec<Option<Lying>>,
}

impl Look {
    fn at(replica: &Replica, status: &Status) -> Result<Self> {
        let spools = status.peers.iter().map(|status| replica.spooled(&status.peer));
        Ok(Self { disk: replica.look()?, arrived: replica.arrivals()?, spools: spools.collect::<Result<_>>()? })
    }
}

/// A label, and what is said under it.
type Said = (&'static str, String);

/// As of when what is shown holds, and how the disk is otherwise than then.
fn disk_words(status: &Status, look: Option<&DiskLook>) -> Vec<Said> {
    let Some(scanned) = status.scanned.map(local_time) else {
        return vec![("scanned", String::from("never; next: mailsync scan"))];
    };
    let Some(look) = look else {
        return vec![("scanned", format!("{scanned}; all of this is as of then"))];
    };
    let problems = look.problems.iter().map(|problem| ("on disk", problem.to_string()));
    if look.is_as_scanned() && look.problems.is_empty() {
        return vec![("scanned", format!("{scanned}; on disk nothing has changed that is not recorded"))];
    }
    let mut said = vec![("scanned", scanned)];
    if !look.is_as_scanned() {
        let sum = |count: fn(&FolderLook) -> u64| look.folders.iter().map(count).sum::<u64>();
        let words = changes_words(sum(|one| one.came), sum(|one| one.gone), sum(|one| one.renamed));
        let gone = look.folders.iter().filter(|folder| folder.is_gone).count() as u64;
        let gone = (gone > 0).then(|| format!("{} gone", plural(gone, "folder")));
        let unsearched = (look.directories > 0)
            .then(|| format!("{} that no scan has searched", plural(look.directories, "directory")));
        let words: Vec<String> = words.into_iter().chain(gone).chain(unsearched).collect();
        said.push(("on disk", format!("since then: {}", words.join(", "))));
        said.push(match &look.refusal {
            Some(error) => ("refused", format!("a scan doesn't take that for meant: {error}")),
            None => ("next", String::from("`mailsync scan -n -v` tells which, `mailsync scan` records it")),
        });
    }
    said.extend(problems);
    said
}

fn changes_words(came: u64, gone: u64, renamed: u64) -> Vec<String> {
    let counts = [(came, "new"), (gone, "gone"), (renamed, "renamed")];
    counts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect()
}

/// How many entries each folder has, and how it is otherwise on disk.
fn folder_lines(status: &Status, look: Option<&DiskLook>) -> Vec<String> {
    let row = |(name, entries): &(FolderName, u64)| {
        let folder = look.and_then(|look| look.folders.iter().find(|folder| folder.name == *name));
        let words = folder.map(|folder| {
            let gone = folder.is_gone.then(|| String::from("the folder is gone"));
            let changes = changes_words(folder.came, folder.gone, folder.renamed);
            format!("on disk since: {}", gone.into_iter().chain(changes).collect::<Vec<_>>().join(", "))
        });
        vec![format!("  {}", printable(name.as_str())), entries.to_string(), words.unwrap_or_default()]
    };
    named(status.folders.iter().map(row).collect(), output_columns())
}

/// What is still to come, or to be done on disk, and what may stand in its way.
fn undone_words(status: &Status) -> Vec<Said> {
    let mut said = Vec::new();
    if status.missing > 0 {
        said.push(("missing", format!("{} more, whose contents are not here yet", plural(status.missing, "entry"))));
    }
    if status.pending > 0 {
        let changes = plural(status.pending, "change");
        said.push(("pending", format!("{changes}, not on disk yet or waiting for contents")));
    }
    said.extend(status.waiting.iter().map(|waiting| ("waiting", waiting_words(waiting))));
    said.extend(status.letterless.iter().map(|letterless| ("waiting", letterless_words(letterless))));
    said.extend(status.alarms.iter().map(|alarm| ("alarm", alarm_words(alarm))));
    said
}

/// How many bundles wait in a directory, how large they are, and since when they do.
fn lying_words(lying: &Lying) -> String {
    let bundles = plural(lying.files, "bundle");
    let since = lying.since.map_or_else(String::new, |since| format!(", since {}", local_time(since)));
    let unopened = if lying.unopened { ", some perhaps for others: the key is locked" } else { "" };
    format!("{bundles} in {}, {}{since}{unopened}", lying.dir.display(), bytes(lying.bytes))
}

/// What has come into a directory and isn't imported.
fn arrived_words(replica: &Replica, lying: &Lying) -> Vec<Said> {
    let mut said: Vec<Said> = lying.problem.iter().map(|problem| ("arrived", problem.to_string())).collect();
    if lying.files > 0 {
        let consume = if replica.config().watch.consume { "--consume " } else { "" };
        let next = format!("next: `mailsync import {consume}{}`", quoted(&lying.dir.to_string_lossy()));
        said.push(("arrived", format!("{}, not imported yet; {next}", lying_words(lying))));
    }
    said
}

/// What a revoked machine has brought, and is not here.
fn passed_over_words(passed: &PassedOverStatus) -> Said {
    let (messages, of) = (plural(passed.messages, "message"), &passed.of);
    let words = "which was revoked, and that others hold; next: look at them there: `mailsync peer revoke --keep` there brings them";
    ("passed over", format!("{messages} that {of} has brought, {words}"))
}

/// A peer that knows the same and holds other mail.
fn differs(peer: &str) -> Said {
    let words = "knows the same, and holds other mail: exchange bundles both ways, the next one for it is full";
    ("differs", format!("{peer} {words}"))
}

fn waiting_words(waiting: &Waiting) -> String {
    let folder = printable(waiting.folder.as_str());
    let what = match waiting.changes {
        0 => format!("the folder {folder}"),
        changes => format!("{} in {folder}", plural(changes, "change")),
    };
    format!("{what}: {}", waiting.why)
}

fn letterless_words((folder, keywords): &(FolderName, Vec<Keyword>)) -> String {
    let names: Vec<&str> = keywords.iter().map(Keyword::as_str).collect();
    let count = plural(keywords.len() as u64, "keyword");
    format!("{count} in {} without a letter: {}", printable(folder.as_str()), names.join(", "))
}

fn alarm_words(alarm: &AlarmStatus) -> String {
    let (what, option) = match alarm.guarded {
        Guarded::Removed => ("remove", "--allow-mass-delete"),
        Guarded::Added => ("add", "--allow-mass-add"),
    };
    let (by, raised, ends) = (printable(&alarm.by), local_time(alarm.raised), local_time(alarm.ends));
    format!(
        "what imports {what} is counted together with a bundle of {by} that was refused at {raised}, until {ends}; or until that \
         bundle, or a newer one of {by}, is imported with {option}, or a newer one has come that takes it back"
    )
}

fn jobs_words(jobs: &JobCounts) -> Option<Said> {
    let counts = [
        (jobs.queued, "queued"),
        (jobs.running, "running"),
        (jobs.failed, "failed"),
        (jobs.rejected, "rejected"),
        (jobs.interrupted, "interrupted"),
    ];
    let words: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
    (!words.is_empty()).then(|| ("jobs", format!("{} (see `mailsync jobs list`)", words.join(", "))))
}

/// The jobs that went wrong elsewhere and that nobody has looked at.
fn failed_words(status: &Status) -> Vec<Said> {
    let one = |job: &JobStanding| {
        let (id, target) = (job.id.short(), printable(&job.target));
        ("failed", format!("job {id} for {target}; next: `mailsync jobs show {id}`"))
    };
    let more = status.failed - status.failed_jobs.len() as u64;
    let rest = (more > 0).then(|| ("failed", format!("{} more (see `mailsync jobs list`)", plural(more, "job"))));
    status.failed_jobs.iter().map(one).chain(rest).collect()
}

fn invited_lines(replica: &Replica, status: &InvitedStatus) -> Vec<String> {
    let invited = &status.invited;
    let name = &invited.name;
    let next = if replica.has_expired(invited) {
        format!("mailsync invite {name}, or mailsync peer remove {name}")
    } else {
        format!("mailsync join MAILROOT BUNDLE on {name}")
    };
    let ends = if replica.has_expired(invited) { "expired" } else { "expires" };
    let (made, ends) = (("invited", local_time(invited.made)), (ends, local_time(invited.expires)));
    block(name, &[made, ends, ("lacks", unseen_text(status.unseen)), ("next", next)])
}

/// What there is to be said of a machine.
fn block(name: &str, lines: &[(&str, String)]) -> Vec<String> {
    let head = [String::new(), printable(name)];
    head.into_iter().chain(lines.iter().map(|(what, words)| format!("  {what:12}  {words}"))).collect()
}

fn unseen_text(unseen: Unseen) -> String {
    let entries = (unseen.entries > 0).then(|| format!("{}, {}", plural(unseen.entries, "entry"), bytes(unseen.bytes)));
    let jobs = (unseen.jobs > 0).then(|| plural(unseen.jobs, "job"));
    let words: Vec<String> = entries.into_iter().chain(jobs).collect();
    let lacks = if words.is_empty() { String::from("nothing") } else { words.join(", ") };
    match unseen.passed_over {
        0 => lacks,
        count => format!("{lacks}; and passes over {} of machines that were revoked", plural(count, "entry")),
    }
}

/// What is to be done next for a peer.
fn next_for(replica: &Replica, status: &PeerStatus, spool: Option<&Lying>, is_revoked: bool) -> Result<String> {
    let peer = &status.peer;
    let name = &peer.name;
    let config = replica.config().peer.get(name);
    let can_be_called = config.is_some_and(|config| config.call.is_some());
    let has_spool = config.is_some_and(|config| config.spool.is_some());
    let lacks = status.unseen.entries + status.unseen.jobs > 0 || peer.suspect;
    let asks = status.asks > 0 || status.waits.is_some_and(|waits| !waits.refused);
    let waits = spool.is_some_and(|lying| lying.files > 0);
    let has_news = || Ok::<_, Error>(matches!(replica.errand(name, Carrier::Spool, Care::Thorough)?, Errand::News(_)));
    Ok(match () {
        () if is_revoked => String::from("revoked"),
        () if can_be_called && (lacks || asks || peer.last_heard.is_none()) => format!("mailsync update {name}"),
        () if has_spool && lacks && has_news()? => String::from("mailsync watch --once"),
        () if waits => format!("what waits is to be carried to {}, and imported there", printable(name)),
        () if has_spool && lacks => String::from("import a bundle from there, which tells what it has"),
        () if lacks => format!("mailsync export --to {name}"),
        () if has_spool && status.answer_due => String::from("mailsync watch --once"),
        () if status.answer_due || (asks && status.is_to_ask) => format!("mailsync export --to {name}"),
        () if asks || peer.last_heard.is_none() => String::from("import a bundle from there"),
        () => String::from("-"),
    })
}

/// What a peer lacks; or, if it lacks nothing, whether it should be told that what it sent has come.
fn lacks_words(status: &PeerStatus) -> String {
    let words = unseen_text(status.unseen);
    if status.answer_due && status.unseen == Unseen::default() {
        return format!("{words}, but a bundle that tells it that its own has come");
    }
    words
}

/// A bundle that was not taken, and why.
fn waiting_bundle_words(peer: &str, WaitingBundle { number, follows, refused }: WaitingBundle) -> String {
    match follows {
        _ if refused => format!("bundle {number} of {peer}, which was refused: see `mailsync log`"),
        Some(before) => format!("bundle {number} of {peer}, for its bundle {before}"),
        None => format!("bundle {number} of {peer}, for one before it"),
    }
}

/// What a peer is asked for.
fn asked_words(status: &PeerStatus) -> String {
    let messages = plural(status.asks, "message");
    let by = if status.is_to_ask { "by the next bundle for it" } else { "by the last bundle for it" };
    format!("{messages}, {by}")
}

fn peer_lines(replica: &Replica, status: &PeerStatus, spool: Option<&Lying>, is_revoked: bool) -> Result<Vec<String>> {
    let peer = &status.peer;
    let next = next_for(replica, status, spool, is_revoked)?;
    let bundle = |number: Option<u64>, at: u64| match number {
        Some(number) => format!("bundle {number}, {}", local_time(at)),
        None => local_time(at),
    };
    let size = peer.sent_bytes.map_or_else(String::new, |size| format!(", {}", bytes(size)));
    let acknowledged = match peer.acknowledged {
        _ if peer.last_sent.is_none() => String::from("-"),
        None => String::from("nothing yet"),
        Some((number, at)) if Some(number) == peer.sent_number => bundle(Some(number), at),
        Some((number, at)) => format!("{}, and nothing later", bundle(Some(number), at)),
    };
    let heard = peer.last_heard.map(|at| bundle(peer.taken, at));
    let never = || String::from("never");
    let mut lines = vec![
        ("sent", peer.last_sent.map_or_else(never, |at| bundle(peer.sent_number, at) + &size)),
        ("acknowledged", acknowledged),
        ("heard", heard.unwrap_or_else(never)),
        // Whoever is shut out gets nothing, and is asked for nothing.
        ("lacks", if is_revoked { String::from("-") } else { lacks_words(status) }),
    ];
    let waits = status.waits.filter(|_| !is_revoked);
    lines.extend(waits.map(|waits| ("waits", waiting_bundle_words(&peer.name, waits))));
    lines.extend((status.asks > 0 && !is_revoked).then(|| ("asked for", asked_words(status))));
    if let Some(lying) = spool {
        lines.extend(lying.problem.iter().map(|problem| ("waits", problem.to_string())));
        lines.extend((lying.files > 0).then(|| ("waits", lying_words(lying))));
    }
    lines.push(("next", next));
    Ok(block(&peer.name, &lines))
}
