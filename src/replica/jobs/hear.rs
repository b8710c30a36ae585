//! Hearing a bundle's statements about jobs. The model has the rule which statement counts; its consequences are
//! recorded here.

use std::io::{BufRead, Read};

use super::admit::Intake;
use super::report_in;
use crate::bundle::{self, JobId, JobLine, PublicKey, ReplicaId, Report, Request, Statement, limits};
use crate::error::{Error, Result};
use crate::model::{
    Caps, Head, Hearing, JobRole, JobState, Knowledge, Memory, Ranked, Ruling, Signer, Stamp, Taken, keeps_input,
    which_counts,
};
use crate::replica::Replica;
use crate::replica::replicas::ShutOuts;
use crate::replica::safety::ClockAhead;
use crate::replica::transaction::Transaction;
use crate::state::{Forgotten, Job, JobKey, News, StatementKind};
use crate::text::{local_time, plural};

/// The changes that a statement has made.
#[derive(Debug, Default)]
pub(super) struct StatementEffect {
    /// The job about which it was news.
    pub changed: Option<JobKey>,
    /// The job of this replica that has finished by it.
    pub finished: Option<JobKey>,
}

/// The news about jobs that an import has heard.
#[derive(Debug, Default)]
pub(in crate::replica) struct JobNews {
    finished: Vec<JobKey>,
    /// How many statements were not signed by whom they concern.
    bad: u64,
    /// How many were made by replicas that were revoked.
    revoked: u64,
    /// How many were none, or say what can't be true; and what is wrong with the first.
    untrue: Counted,
    /// How many requests were more than their requester's quota, and whose the first was.
    over: Counted,
    /// How many requests are as old as some of which nothing is remembered, and whose the first was.
    old: Counted,
}

/// How often something happened, with an example.
#[derive(Debug, Default)]
struct Counted {
    count: u64,
    first: Option<String>,
}

impl Counted {
    fn add(&mut self, example: impl FnOnce() -> String) {
        self.count += 1;
        self.first.get_or_insert_with(example);
    }
}

/// What the statements of one bundle are heard with.
struct Hearer<'h> {
    replica: &'h Replica,
    tx: &'h Transaction<'h>,
    /// What this replica knew before.
    knowledge: &'h Knowledge,
    /// Whether a statement from the future is believed.
    clock_ahead: ClockAhead,
    intake: Intake<'h>,
    /// Whom this replica has shut out, and how far what others tell of them is believed.
    shut_outs: ShutOuts,
    caps: Caps,
    /// Up to where was told before of what isn't believed.
    told: Knowledge,
    news: &'h mut JobNews,
}

impl Replica {
    /// Takes what a bundle says about jobs. `knowledge` is what this replica knew before, `head` the bundle's. Returns of how many jobs
    /// something new was said; or why the bundle can't be taken.
    pub(in crate::replica) fn hear_jobs(
        &self,
        tx: &Transaction<'_>,
        lines: &mut dyn BufRead,
        (head, knowledge): (&Head, &Knowledge),
        clock_ahead: ClockAhead,
        news: &mut JobNews,
    ) -> Result<std::result::Result<u64, bundle::Error>> {
        let me = self.public_key().id();
        let (shut_outs, caps) = (self.shut_outs()?, self.caps(knowledge)?.believe(head, knowledge).caps);
        let (intake, told) = (Intake::new(self), self.state.told_in_vain()?);
        let mut hearer = Hearer { replica: self, tx, knowledge, clock_ahead, intake, shut_outs, caps, told, news };
        let mut changed = 0;
        let mut last = None;
        let mut line = Vec::new();
        let again = |error: std::io::Error| {
            Error::failed(format!("reading the bundle's jobs again: {error}")).advise("import it again")
        };
        loop {
            line.clear();
            let mut limited = lines.take(limits::JOB_LINE_BYTES + 2);
            limited.read_until(b'\n', &mut line).map_err(again)?;
            if line.is_empty() {
                break;
            }
            let text = line.strip_suffix(b"\n").unwrap_or(&line);
            if let Some((statement, signer, line)) = hearer.believe(text)
                && let Some(heard) = hearer.hear(&statement, &signer, &line)?
            {
                // The statements about one job stand together.
                if heard.changed.is_some() && heard.changed != last {
                    changed += 1;
                    last = heard.changed;
                }
                if let Some(key) = heard.finished
                    && self.state.job(key)?.is_some_and(|job| job.requester == me)
                {
                    hearer.news.finished.push(key);
                }
            }
            if line.last() != Some(&b'\n') && line.len() as u64 > limits::JOB_LINE_BYTES {
                lines.skip_until(b'\n').map_err(again)?;
            }
        }
        if changed > 0 && self.state.count_all_jobs()? > limits::JOBS {
            let what = "the number of jobs, with those that are known here";
            return Ok(Err(bundle::Error::TooLarge { what, limit: limits::JOBS }));
        }
        Ok(Ok(changed))
    }

    fn raise_stamp(tx: &Transaction<'_>, job: JobKey, kind: StatementKind, stamp: Stamp) -> Result<StatementEffect> {
        match tx.statement(job, kind)? {
            Some(known) if known.stamp < stamp => {
                tx.set_statement(job, kind, &JobLine { stamp, ..known })?;
                Ok(StatementEffect { changed: Some(job), finished: None })
            }
            _ => Ok(StatementEffect::default()),
        }
    }

    /// Records a report, and what follows from it; whether that is to wait for the result, too.
    pub(super) fn record_report(
        &self,
        tx: &Transaction<'_>,
        job: &Job,
        line: &JobLine,
        report: &Report,
        keeps_result: bool,
    ) -> Result<()> {
        if let Some(old) = self.report_on(job.key)?.and_then(|report| report.result)
            && Some(old) != report.result
        {
            tx.drop_attachment(job.key, StatementKind::Report, &old.digest)?;
        }
        tx.set_statement(job.key, StatementKind::Report, line)?;
        tx.set_job_state(job.key, report.state, self.now())?;
        let is_own = self.role_in(&job.requester, &job.target) == JobRole::Requester;
        tx.set_job_news(job.key, if is_own && report.state.went_wrong() { News::Untold } else { News::None })?;
        if let Some(result) = report.result.filter(|_| keeps_result) {
            tx.need_attachment(job.key, StatementKind::Report, &result, self.has_attachment(&result)?)?;
        }
        if !keeps_input(self.role_in(&job.requester, &job.target), report.state) {
            let body = self.request_of(job)?.1.body;
            tx.drop_attachment(job.key, StatementKind::Request, &body.digest)?;
        }
        Ok(())
    }

    fn tell_refused(&self, news: &JobNews) {
        let is_are = |count: u64, one: &'static str, many: &'static str| if count == 1 { one } else { many };
        if let Counted { count, first: Some(why) } = &news.untrue {
            self.note(format!(
                "{} about jobs {} what can't be, and {} ignored: {why}",
                plural(*count, "statement"),
                is_are(*count, "says", "say"),
                is_are(*count, "is", "are")
            ));
        }
        if let Counted { count, first: Some(requester) } = &news.over {
            self.note(format!(
                "{} of {requester} {} not taken in: as many of its jobs are here as jobs_open, or as much input as jobs_input_mib \
                 in config.toml lets in; `mailsync jobs list` shows them, `mailsync purge` and `mailsync jobs forget ID` make \
                 room, and what was not taken in must be asked for anew",
                plural(*count, "job"),
                is_are(*count, "is", "are")
            ));
        }
        if let Counted { count, first: Some(requester) } = &news.old {
            self.note(format!(
                "{} of {requester} {} not taken in: {} as old as jobs of which nothing is remembered here, and may have been \
                 run; if not, ask for {} anew",
                plural(*count, "job"),
                is_are(*count, "is", "are"),
                is_are(*count, "it is", "they are"),
                is_are(*count, "it", "them")
            ));
        }
    }

    /// Tells the person the news about jobs.
    pub(in crate::replica) fn tell_job_news(&self, news: &JobNews) -> Result<()> {
        if news.bad > 0 {
            let signed = if news.bad == 1 {
                "was not signed by the replica that may make it, and is"
            } else {
                "were not signed by the replicas that may make them, and are"
            };
            self.note(format!("{} about jobs {signed} ignored", plural(news.bad, "statement")));
        }
        if news.revoked > 0 {
            let are = if news.revoked == 1 { "is" } else { "are" };
            let count = plural(news.revoked, "statement");
            self.note(format!("{count} about jobs by a replica that was revoked {are} passed over"));
        }
        self.tell_refused(news);
        // Those that went wrong are told by `tell_failed_jobs`.
        let mut done = 0;
        for &key in &news.finished {
            done += u64::from(self.state.job(key)?.is_some_and(|job| job.state == JobState::Done));
        }
        if done > 0 {
            self.note(if done == 1 { String::from("a job is done") } else { format!("{done} jobs are done") });
        }
        Ok(())
    }
}

impl Hearer<'_> {
    /// The statement in a line, and who has signed it, if it can be true. This is the only place where that is decided,
    /// but for its stamp, which the sender of the bundle itself answers for: [`Claims`](crate::model::Claims) has that
    /// rule.
    fn believe(&mut self, line: &[u8]) -> Option<(Statement, PublicKey, JobLine)> {
        let read = JobLine::decode(line).and_then(|line| Ok((line.verify()?, line)));
        let ((statement, signer), line) = match read {
            Ok(read) => read,
            Err(bundle::Error::BadSignature { .. } | bundle::Error::WrongSigner { .. }) => {
                self.news.bad += 1;
                return None;
            }
            Err(error) => {
                self.news.untrue.add(|| what_is_wrong(error));
                return None;
            }
        };
        if !self.caps.takes(line.stamp) {
            self.news.revoked += u64::from(!self.told.covers(line.stamp));
            return None;
        }
        let wall = self.replica.wall_clock();
        if self.clock_ahead == ClockAhead::Refuse && wall.is_before(statement.said_at()) {
            let (said, own) = (local_time(statement.said_at()), local_time(wall.0));
            self.news.untrue.add(|| format!("it was said at {said}, and the clock of this machine shows {own}"));
            return None;
        }
        Some((statement, signer, line))
    }

    /// Takes one statement whose signature holds. `None` if it is passed over.
    fn hear(&mut self, statement: &Statement, signer: &PublicKey, line: &JobLine) -> Result<Option<StatementEffect>> {
        let (replica, tx) = (self.replica, self.tx);
        let ignored = Ok(None);
        if self.shut_outs.get(&replica.present_id(&signer.id())?).is_some() {
            self.news.revoked += u64::from(!self.told.covers(line.stamp));
            return ignored;
        }
        if !replica.counts_of(&signer.id(), statement.said_at())? {
            self.news.bad += 1;
            return ignored;
        }
        let (job, kind, counts) = match statement {
            Statement::Request(request) => return self.hear_request(&replica.of_present(request.clone())?, line),
            Statement::Cancel(cancel) => {
                let Some(job) = replica.state.job_by_id(&cancel.job)? else { return ignored };
                let known = replica.state.statement(job.key, StatementKind::Cancel)?.is_some();
                let signer = self.signer_among(signer, &job.requester)?;
                let counts = which_counts(Hearing::Cancel { signer, known });
                (job, StatementKind::Cancel, counts)
            }
            Statement::Report(report) => {
                let Some(job) = replica.state.job_by_id(&report.job)? else { return ignored };
                let signer = self.signer_among(signer, &job.target)?;
                let known = replica.state.statement(job.key, StatementKind::Report)?;
                let counts = which_counts(Hearing::Report {
                    signer,
                    known: known.as_ref().map(ranked).transpose()?,
                    new: Ranked { rank: report.rank(), signed: &line.signed },
                });
                (job, StatementKind::Report, counts)
            }
        };
        match counts {
            Ruling::NoSay => {
                self.news.bad += 1;
                ignored
            }
            Ruling::Known => ignored,
            Ruling::Same => Replica::raise_stamp(tx, job.key, kind, line.stamp).map(Some),
            Ruling::New => {
                let finished = if let Statement::Report(report) = statement {
                    let keeps_result = self.intake.record_report(&job, report)?;
                    replica.record_report(tx, &job, line, report, keeps_result)?;
                    report.state.is_final().then_some(job.key)
                } else {
                    tx.set_statement(job.key, kind, line)?;
                    None
                };
                Ok(Some(StatementEffect { changed: Some(job.key), finished }))
            }
        }
    }

    /// Whether a statement's signer, by its present key or a former one, is the replica that has a say.
    fn signer_among(&self, signer: &PublicKey, entitled: &ReplicaId) -> Result<Signer> {
        let is_it = self.replica.present_id(&signer.id())? == *entitled;
        Ok(if is_it { Signer::Entitled } else { Signer::Other })
    }

    /// Takes a request whose signature holds. `None` if it is passed over.
    fn hear_request(&mut self, request: &Request, line: &JobLine) -> Result<Option<StatementEffect>> {
        let replica = self.replica;
        let id = JobId::of(&line.signed);
        let job = replica.state.job_by_id(&id)?;
        // Statements of those who are not known here are nobody's business: most replicas hear of jobs that others
        // carry.
        if job.is_none() && !replica.concerns(&request.requester, &request.target)? {
            return Ok(None);
        }
        let role = replica.role_in(&request.requester, &request.target);
        let memory = if job.is_some() {
            Memory::Recorded
        } else if role != JobRole::Relay && self.is_forgotten(&id, request)? {
            Memory::Forgotten
        } else if self.knowledge.covers(line.stamp) {
            Memory::Covered
        } else {
            Memory::New
        };
        match (which_counts(Hearing::Request { memory, role }), job) {
            (Ruling::Same, Some(job)) => {
                Replica::raise_stamp(self.tx, job.key, StatementKind::Request, line.stamp).map(Some)
            }
            (Ruling::New, _) => {
                let taken = self.intake.take_request(request, role)?;
                if taken == Taken::No {
                    let requester = replica.name_of(&request.requester)?;
                    self.news.over.add(|| requester);
                    return Ok(None);
                }
                let key = replica.insert_request(self.tx, line, request, None, taken)?;
                Ok(Some(StatementEffect { changed: Some(key), finished: None }))
            }
            _ => Ok(None),
        }
    }

    fn is_forgotten(&mut self, id: &JobId, request: &Request) -> Result<bool> {
        let replica = self.replica;
        let forgotten = replica.state.was_forgotten(id, replica.holder(&request.requester)?.as_ref(), request.made)?;
        if forgotten == Some(Forgotten::WithOlder) {
            let requester = replica.name_of(&request.requester)?;
            self.news.old.add(|| requester);
        }
        Ok(forgotten.is_some())
    }
}

/// The known report of a job, in the form in which it is compared with a new one.
fn ranked(known: &JobLine) -> Result<Ranked<'_>> {
    Ok(Ranked { rank: report_in(known)?.rank(), signed: &known.signed })
}

/// What is wrong with a line. The bundle around it is none the worse for it.
fn what_is_wrong(error: bundle::Error) -> String {
    match error {
        bundle::Error::Corrupt { what } => what.into_owned(),
        bundle::Error::TooLarge { what, limit } => format!("{what} is above {limit}"),
        other => other.to_string(),
    }
}
