//! Hearing a bundle's statements about jobs. The model has the rule which statement counts; its consequences are
//! recorded here.

use std::io::{BufRead, Read};

use super::{report_in, request_in};
use crate::bundle::{self, JobId, JobLine, PublicKey, Report, Request, Statement, limits};
use crate::error::{Error, Result};
use crate::model::{Hearing, JobState, Knowledge, Memory, Ranked, Role, Ruling, Signer, Stamp, which_counts};
use crate::replica::Replica;
use crate::replica::transaction::Transaction;
use crate::state::{Job, JobKey, StatementKind};
use crate::text::plural;

/// An import names at most so many jobs that went wrong, and only counts the others.
const MOST_TOLD: u64 = 10;

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
    bad: u64,
}

impl Replica {
    /// Takes what a bundle says about jobs. `knowledge` is what this replica knew before. Returns of how many jobs
    /// something new was said; or why the bundle can't be taken.
    pub(in crate::replica) fn hear_jobs(
        &self,
        tx: &Transaction<'_>,
        lines: &mut dyn BufRead,
        knowledge: &Knowledge,
        news: &mut JobNews,
    ) -> Result<std::result::Result<u64, bundle::Error>> {
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
            let heard = self.hear_line(tx, line.strip_suffix(b"\n").unwrap_or(&line), knowledge, news)?;
            // The statements about one job stand together.
            if heard.is_some() && heard != last {
                changed += 1;
                last = heard;
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

    /// Takes one line. Returns the job of which it says something new.
    fn hear_line(
        &self,
        tx: &Transaction<'_>,
        text: &[u8],
        knowledge: &Knowledge,
        news: &mut JobNews,
    ) -> Result<Option<JobKey>> {
        let Ok((line, (statement, signer))) = JobLine::decode(text).and_then(|line| {
            let said = line.verify()?;
            Ok((line, said))
        }) else {
            news.bad += 1;
            return Ok(None);
        };
        let Some(heard) = self.hear(tx, &statement, &signer, &line, knowledge)? else {
            news.bad += 1;
            return Ok(None);
        };
        let me = self.public_key().id();
        if let Some(key) = heard.finished
            && self.state.job(key)?.is_some_and(|job| job.requester == me)
        {
            news.finished.push(key);
        }
        Ok(heard.changed)
    }

    /// Hears one statement whose signature holds. `None` if its signer is not the one who may make it.
    fn hear(
        &self,
        tx: &Transaction<'_>,
        statement: &Statement,
        signer: &PublicKey,
        line: &JobLine,
        knowledge: &Knowledge,
    ) -> Result<Option<StatementEffect>> {
        let ignored = Ok(Some(StatementEffect::default()));
        let (job, kind, counts) = match statement {
            Statement::Request(request) => return self.hear_request(tx, request, line, knowledge),
            Statement::Cancel(cancel) => {
                let Some(job) = self.state.job_by_id(&cancel.job)? else { return ignored };
                let known = self.state.statement(job.key, StatementKind::Cancel)?.is_some();
                let signer = if signer.id() == job.requester { Signer::Entitled } else { Signer::Other };
                let counts = which_counts(Hearing::Cancel { signer, known });
                (job, StatementKind::Cancel, counts)
            }
            Statement::Report(report) => {
                let Some(job) = self.state.job_by_id(&report.job)? else { return ignored };
                let signer = if signer.id() == job.target { Signer::Entitled } else { Signer::Other };
                let known = self.state.statement(job.key, StatementKind::Report)?;
                let counts = which_counts(Hearing::Report {
                    signer,
                    known: known.as_ref().map(ranked).transpose()?,
                    new: Ranked { rank: report.rank(), signed: &line.signed },
                });
                (job, StatementKind::Report, counts)
            }
        };
        match counts {
            Ruling::NoSay => Ok(None),
            Ruling::Known => ignored,
            Ruling::Same => Self::raise_stamp(tx, job.key, kind, line.stamp).map(Some),
            Ruling::New => {
                let finished = if let Statement::Report(report) = statement {
                    self.record_report(tx, &job, line, report)?;
                    report.state.is_final().then_some(job.key)
                } else {
                    tx.set_statement(job.key, kind, line)?;
                    None
                };
                Ok(Some(StatementEffect { changed: Some(job.key), finished }))
            }
        }
    }

    /// Hears a request whose signature holds. `None` if it names more incarnations than a request may.
    fn hear_request(
        &self,
        tx: &Transaction<'_>,
        request: &Request,
        line: &JobLine,
        knowledge: &Knowledge,
    ) -> Result<Option<StatementEffect>> {
        let id = JobId::of(&line.signed);
        let job = self.state.job_by_id(&id)?;
        if job.is_none() && request.knows.len() > limits::JOB_INCARNATIONS {
            return Ok(None);
        }
        let memory = if job.is_some() {
            Memory::Recorded
        } else if self.state.was_finished(&id)? {
            Memory::Finished
        } else if knowledge.covers(line.stamp) {
            Memory::Covered
        } else {
            Memory::New
        };
        let role = if request.target == self.public_key().id() { Role::Target } else { Role::Other };
        match (which_counts(Hearing::Request { memory, role }), job) {
            (Ruling::Same, Some(job)) => Self::raise_stamp(tx, job.key, StatementKind::Request, line.stamp).map(Some),
            (Ruling::New, _) => {
                let key = self.insert_request(tx, line, request, None)?;
                Ok(Some(StatementEffect { changed: Some(key), finished: None }))
            }
            _ => Ok(Some(StatementEffect::default())),
        }
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

    /// Records a report and its consequences.
    pub(super) fn record_report(&self, tx: &Transaction<'_>, job: &Job, line: &JobLine, report: &Report) -> Result<()> {
        let state = &self.state;
        let me = self.public_key().id();
        if let Some(old) = self.report_on(job.key)?.and_then(|report| report.result)
            && Some(old) != report.result
        {
            tx.drop_attachment(job.key, &old.digest)?;
        }
        tx.set_statement(job.key, StatementKind::Report, line)?;
        tx.set_job_state(job.key, report.state, self.now())?;
        if let Some(result) = &report.result {
            tx.need_attachment(job.key, result, self.has_attachment(result))?;
        }
        // A job that went wrong can be tried again: the target runs it once more, or the requester asks anew.
        let again = matches!(report.state, JobState::Failed | JobState::Interrupted | JobState::Rejected);
        let needed = !report.state.is_final() || (again && (job.target == me || job.requester == me));
        if !needed && let Some(line) = state.statement(job.key, StatementKind::Request)? {
            let body = request_in(&line)?.body;
            tx.drop_attachment(job.key, &body.digest)?;
        }
        Ok(())
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
        let (mut done, mut told) = (0, 0);
        for &key in &news.finished {
            let Some(job) = self.state.job(key)? else { continue };
            if job.state == JobState::Done {
                done += 1;
                continue;
            }
            told += 1;
            if told <= MOST_TOLD {
                let standing = self.standing(&job)?;
                self.note(format!(
                    "job {} for {} {}; see `mailsync jobs show {}`",
                    job.id.short(),
                    standing.target,
                    standing.words(),
                    job.id.short()
                ));
            }
        }
        if told > MOST_TOLD {
            self.note(format!("so did {}; see `mailsync jobs list`", plural(told - MOST_TOLD, "more job")));
        }
        if done > 0 {
            self.note(if done == 1 { String::from("a job is done") } else { format!("{done} jobs are done") });
        }
        Ok(())
    }
}

/// The known report of a job, in the form in which it is compared with a new one.
fn ranked(known: &JobLine) -> Result<Ranked<'_>> {
    Ok(Ranked { rank: report_in(known)?.rank(), signed: &known.signed })
}
