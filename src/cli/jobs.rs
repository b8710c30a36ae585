//! `mailsync jobs`

use std::time::Duration;

use mailsync::error::ErrorKind;
use mailsync::model::JobState;
use mailsync::replica::{Access, JobResult, JobStanding};
use mailsync::text::{beginning, local_time, printable};

use super::args::{Jobs, JobsCommand};
use super::columns::table;
use super::context::Context;
use super::document::jobs::Jobs as Listed;
use super::document::jobs::{Cancelled, Forgotten, Job, JobEnd, JobWithResult, Runs, Shown};
use super::failure::{CommandResult, Failure};
use super::job_runs::{JobRuns, SHOWN, run_jobs};

pub fn run(context: &Context, args: &Jobs) -> CommandResult {
    match &args.command {
        JobsCommand::List => list(context),
        JobsCommand::Show { id } => show(context, id),
        JobsCommand::Run => {
            let replica = context.write()?;
            let runs = run_jobs(context, &replica);
            finish(context, runs)
        }
        JobsCommand::Retry { id } => {
            let replica = context.write()?;
            let again = replica.retry_job(id)?;
            let runs = run_jobs(context, &replica);
            if runs.error.is_none() && runs.runs.iter().all(|run| run.id != again) {
                context.out.say(format_args!("job {} is queued; the next bundle carries it", again.short()));
            }
            finish(context, runs)
        }
        JobsCommand::Cancel { id } => {
            let standing = context.write()?.cancel_job(id)?;
            context.out.say(format_args!("job {} {}", standing.id.short(), standing.words()));
            Ok(context.out.document(&Cancelled { job: (&standing).into() }))
        }
        JobsCommand::Forget { ids } => forget(context, ids),
    }
}

fn forget(context: &Context, ids: &[String]) -> CommandResult {
    let replica = context.write()?;
    let forgotten = replica.forget_jobs(ids)?;
    context.say_notes(&replica);
    for id in &forgotten {
        context.out.say(format_args!("job {} is forgotten", id.short()));
    }
    Ok(context.out.document(&Forgotten { forgotten: forgotten.iter().map(ToString::to_string).collect() }))
}

fn finish(context: &Context, runs: JobRuns) -> CommandResult {
    let shown = context.out.document(&Runs { jobs: runs.documents() });
    let wrong = runs.result()?.iter().any(|run| !matches!(run.state, JobState::Done | JobState::Cancelled));
    if wrong { Err(Failure::Said(ErrorKind::Failed)) } else { Ok(shown) }
}

fn list(context: &Context) -> CommandResult {
    let replica = context.read()?;
    if context.out.json() {
        let mut jobs = Vec::new();
        replica.each_job(|standing| {
            jobs.push(Job::from(&standing));
            Ok(())
        })?;
        return Ok(context.out.document(&Listed { jobs }));
    }
    let head = ["job", "asked for", "by", "of", "command", "state"].map(String::from).to_vec();
    let mut rows = vec![head];
    replica.each_job(|standing| {
        rows.push(row(&standing));
        Ok(())
    })?;
    if rows.len() == 1 {
        context.out.say("there are no jobs");
        rows.clear();
    }
    context.out.print(table(&rows))
}

fn row(standing: &JobStanding) -> Vec<String> {
    let command = standing.command.as_ref().map_or_else(|| String::from("-"), |command| beginning(&command[0], SHOWN));
    vec![
        standing.id.short(),
        local_time(standing.made),
        printable(&standing.requester),
        printable(&standing.target),
        command,
        state_words(standing),
    ]
}

fn state_words(standing: &JobStanding) -> String {
    match (standing.state, standing.status) {
        (JobState::Queued, _) if standing.cancel_waits => String::from("cancelled, not confirmed yet"),
        (JobState::Queued, _) if !standing.sent_to.is_empty() => format!("sent to {}", standing.sent_to.join(", ")),
        (JobState::Done | JobState::Failed, Some(status)) => format!("{} ({status})", standing.state),
        _ => standing.state.to_string(),
    }
}

fn show(context: &Context, id: &str) -> CommandResult {
    let replica = context.read()?;
    let (standing, result) = replica.show_job(id)?;
    if context.out.json() {
        let job = JobWithResult { job: (&standing).into(), result: result.as_ref().map(JobEnd::from) };
        return Ok(context.out.document(&Shown { job }));
    }
    let command = standing.command.as_ref().map_or_else(
        || String::from("not known here; its requester and its target can read it"),
        |command| command.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "),
    );
    let mut lines = vec![
        format!("job        {}", standing.id),
        format!("asked for  {} by {}", local_time(standing.made), printable(&standing.requester)),
        format!("of         {}", printable(&standing.target)),
        format!("command    {command}"),
        format!("state      {}", state_words(&standing)),
    ];
    if let Some(repeats) = standing.repeats {
        lines.push(format!("repeats    {repeats}"));
    }
    if let Some(JobResult { told, stdout, stderr }) = result {
        lines.extend(told.reason.map(|reason| format!("reason     {}", printable(&reason))));
        lines.extend(told.started.map(|started| format!("started    {}", local_time(started))));
        lines.extend(told.ended.map(|ended| format!("ended      {}", local_time(ended))));
        for (name, bytes, cut) in [("stdout", stdout, told.stdout_cut), ("stderr", stderr, told.stderr_cut)] {
            if bytes.is_empty() {
                continue;
            }
            lines.push(format!("{name}{}:", if cut { " (its beginning)" } else { "" }));
            lines.extend(String::from_utf8_lossy(&bytes).lines().map(|line| format!("  {}", printable(line))));
        }
    }
    let shown = context.out.print(lines)?;
    if replica.is_news(&standing.id)? {
        drop(replica);
        look_at(context, &standing);
    }
    Ok(shown)
}

/// Records that a person has looked at a job that went wrong: `status` shows it no more. It was shown, whatever comes of
/// this.
fn look_at(context: &Context, standing: &JobStanding) {
    let looked = context.open(Access::Write(Duration::ZERO)).and_then(|replica| replica.has_looked_at(&standing.id));
    if let Err(error) = looked {
        context.out.say(format_args!(
            "note: `mailsync status` still shows this job as one that nobody has looked at: {error}"
        ));
    }
}

/// A word, quoted for a shell, for people to read.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./@:=+,%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", printable(word).replace('\'', "'\\''"))
}
