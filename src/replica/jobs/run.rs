//! Running jobs, each at most once: the record that a job is started is durable before its program is started.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use super::body::{JobBody, JobReportBody, open_body};
use crate::allow::{Rule, decide};
use crate::bundle::{AttachmentRef, JobId, Report, Statement, limits};
use crate::disk::{Source, is_about_contents, is_absent};
use crate::error::{Error, Result, Scope};
use crate::model::{Digest, JobState};
use crate::process::{Ended, Launch, clean_environment};
use crate::replica::Replica;
use crate::state::{Action, Job, Peer, StatementKind};
use crate::text::printable;

/// How long to wait for the lock when another command is known to give it back soon.
const HANDOVER: Duration = Duration::from_secs(1);
/// A command and its arguments are kept in the state up to this size, in bytes.
const MOST_KEPT: usize = 64 << 10;
/// A run of jobs holds the lock for one turn, then lets it go for one break, so that other commands can take it. The
/// break is longer than they sleep between two tries.
const TURN: Duration = Duration::from_secs(1);
const BREAK: Duration = Duration::from_millis(60);

/// A job that was dealt with.
#[derive(Clone, Debug)]
pub struct JobRun {
    /// Its id.
    pub id: JobId,
    /// The requester's name here.
    pub requester: String,
    /// The command, if it could be read.
    pub command: Option<String>,
    /// Its state now.
    pub state: JobState,
    /// The reason, if it is not done.
    pub reason: Option<String>,
    /// Whether mailsync was told to stop meanwhile, and so has ended the program.
    pub stopped: bool,
}

/// What became of a job that was looked at.
enum Dealt {
    /// It was run, or needs not be.
    Settled(JobRun),
    /// It has to wait.
    Waits,
    /// It has to wait for what fails at this time.
    NotNow(Error),
}

/// A job that is to be run.
struct Run<'r> {
    job: &'r Job,
    asked: &'r JobBody,
    rule: &'r Rule,
    attempt: u32,
    peer: &'r str,
}

impl Replica {
    /// Runs the jobs for this replica that are queued, one after the other. While a program runs, other commands can
    /// work on the replica; only one at a time runs jobs.
    ///
    /// # Errors
    /// Failures of this machine. A job that goes wrong is no error: its outcome tells.
    pub fn run_jobs(&self, mut each: impl FnMut(&JobRun)) -> Result<()> {
        let me = self.public_key().id();
        let any = |state| Ok::<_, Error>(self.state.next_job_for(&me, state, None)?.is_some());
        if !any(JobState::Queued)? && !any(JobState::Running)? {
            return Ok(());
        }
        // Without its key the replica could open none, and say of none what has become of it.
        self.key()?;
        let Some(_lock) = self.home.lock_jobs(&*self.world.disk, HANDOVER)? else {
            self.note("another mailsync is running jobs, and runs the new ones too");
            return Ok(());
        };
        self.interrupt_running(&mut each)?;
        let mut taken = Instant::now();
        let mut hindered: Option<Error>;
        loop {
            let mut progress = false;
            let mut after = None;
            hindered = None;
            // The jobs of one requester run in their order: if one has to wait, those behind it wait, too.
            let mut waiting = BTreeSet::new();
            while let Some(job) = self.state.next_job_for(&me, JobState::Queued, after)? {
                after = Some((job.made, job.key));
                if taken.elapsed() > TURN {
                    // Many jobs that are refused at once must not keep other commands waiting for long.
                    self.while_others_work(|| std::thread::sleep(BREAK))?;
                    taken = Instant::now();
                }
                if waiting.contains(&job.requester) {
                    continue;
                }
                match self.deal_with(&job)? {
                    Dealt::Settled(run) => {
                        progress = true;
                        each(&run);
                        if run.stopped {
                            return Err(Error::failed("running jobs: mailsync was told to stop")
                                .advise("the jobs that wait are run by the next import, or by `mailsync jobs run`"));
                        }
                    }
                    Dealt::Waits => drop(waiting.insert(job.requester)),
                    Dealt::NotNow(error) => {
                        hindered.get_or_insert(error);
                        waiting.insert(job.requester);
                    }
                }
            }
            if !progress {
                return hindered.map_or(Ok(()), Err);
            }
        }
    }

    /// Settles what a process has left that died while it ran jobs, unless another one runs jobs at this moment.
    pub(in crate::replica) fn settle_left_jobs(&self) -> Result<()> {
        let me = self.public_key().id();
        // A person is not asked for a passphrase for that: whoever runs jobs settles them, too.
        if self.keys.is_locked() || self.state.next_job_for(&me, JobState::Running, None)?.is_none() {
            return Ok(());
        }
        let Some(_lock) = self.home.lock_jobs(&*self.world.disk, Duration::ZERO)? else { return Ok(()) };
        self.interrupt_running(&mut |run| {
            let why = run.reason.as_deref().unwrap_or_default();
            self.note(format!("job {} for {} was interrupted: {why}", run.id.short(), printable(&run.requester)));
        })
    }

    /// Settles the jobs that a dead process has left. Only the holder of the jobs lock runs jobs, and this process
    /// holds it. So a job that is recorded as running was left behind.
    fn interrupt_running(&self, each: &mut impl FnMut(&JobRun)) -> Result<()> {
        let me = self.public_key().id();
        while let Some(job) = self.state.next_job_for(&me, JobState::Running, None)? {
            let reason = format!(
                "mailsync on {} was stopped while the program ran, or just before or after: it may have run; \
                 `mailsync jobs retry` runs it again",
                self.config.name
            );
            let tx = self.begin()?;
            self.conclude(&tx, &job, JobState::Interrupted, &reason)?;
            tx.commit()?;
            each(&self.job_run(&job, JobState::Interrupted, Some(reason))?);
        }
        Ok(())
    }

    fn job_run(&self, job: &Job, state: JobState, reason: Option<String>) -> Result<JobRun> {
        let command = self.state.job(job.key)?.and_then(|job| job.asked).and_then(|asked| asked.into_iter().next());
        let requester = self.name_of(&job.requester)?;
        Ok(JobRun { id: job.id, requester, command, state, reason, stopped: false })
    }

    /// Why no job of a peer is run, if it was revoked.
    fn why_not_trusted(&self, peer: &Peer) -> Result<Option<String>> {
        let Some(out) = self.shut_outs()?.get(&peer.id).cloned() else { return Ok(None) };
        let (name, by) = (&peer.name, self.words_of(&out)?);
        let here = &self.config.name;
        Ok(Some(format!("{name} was revoked by {by}, as {here} has heard; if it is trusted again, it must ask anew")))
    }

    /// Runs a job, or settles it without running.
    fn deal_with(&self, job: &Job) -> Result<Dealt> {
        let (_, request) = self.request_of(job)?;
        let report = self.report_on(job.key)?;
        let settle = |state, reason: String| {
            let tx = self.begin()?;
            self.conclude(&tx, job, state, &reason)?;
            tx.commit()?;
            Ok(Dealt::Settled(self.job_run(job, state, Some(reason))?))
        };
        // A request that names the present incarnation was made after that began. Any other request may be older than
        // the loss of memory, and its job may have been run already.
        let forgotten = self.state.was_restored()? && !request.knows.contains(&self.state.incarnation()?);
        if forgotten && report.is_none() {
            let reason = format!(
                "the state of {0} was moved, or put back to an earlier one; {1} asked for this job before it heard of that, \
                 so the job may have been run already; `mailsync jobs retry` on {0} runs it",
                self.config.name,
                self.name_of(&job.requester)?
            );
            return settle(JobState::Interrupted, reason);
        }
        if self.state.statement(job.key, StatementKind::Cancel)?.is_some() {
            return settle(JobState::Cancelled, String::from("it was cancelled before it was started"));
        }
        // A job from a stranger is not even opened.
        let Some(peer) = self.state.peer_by_id(&job.requester)? else {
            let reason = format!(
                "{} is not known on {}; make its key known there with `mailsync peer add NAME --key KEY --distant`",
                job.requester, self.config.name
            );
            return settle(JobState::Rejected, reason);
        };
        if let Some(reason) = self.why_not_trusted(&peer)? {
            return settle(JobState::Rejected, reason);
        }
        match self.state.is_attachment_here(job.key, StatementKind::Request, &request.body.digest)? {
            Some(true) => {}
            Some(false) => return Ok(Dealt::Waits),
            None => {
                let wrong = self.state.had_wrong_input(job.key)?;
                return settle(JobState::Rejected, without_input(&self.config.name, &peer.name, wrong));
            }
        }
        let path = self.attachment_path(&request.body.digest);
        let asked = match self.check_body(&path, &request.body) {
            Ok(asked) if self.present_id(&asked.requester)? == job.requester && !asked.command.is_empty() => asked,
            Ok(_) => return settle(JobState::Rejected, String::from("its requester did not write its contents")),
            Err(error) if is_absent(&error) || is_about_contents(&error) => {
                return settle(
                    JobState::Rejected,
                    format!("its contents can't be read on {}: {error}", self.config.name),
                );
            }
            Err(error) => return Ok(unreadable(job, &path, error)),
        };
        // A command that is too long for anybody to read is kept in the body only.
        if asked.command.iter().map(String::len).sum::<usize>() <= MOST_KEPT {
            let tx = self.begin()?;
            tx.set_job_asked(job.key, &asked.command)?;
            tx.commit()?;
        }
        let rule = match decide(&self.config.allow, &asked.command[0], &asked.command[1..], &peer.name) {
            Ok(rule) => rule,
            Err(reason) => return settle(JobState::Rejected, reason),
        };
        let attempt = report.as_ref().map_or(1, |report| report.attempt);
        let run = Run { job, asked: &asked, rule, attempt, peer: &peer.name };
        self.begin_job(&run, &path)
    }

    /// Runs a job, unless something fails that may pass: all that can comes before the job counts as run.
    fn begin_job(&self, run: &Run<'_>, body: &Path) -> Result<Dealt> {
        let launch = match self.launch(run)? {
            Ok(launch) => launch,
            Err(error) => return Ok(Dealt::NotNow(error)),
        };
        match open_body(&*self.world.disk, &self.keys(), body) {
            Ok((_, mut input)) => self.run_job(run, &launch, &mut input),
            Err(error) => Ok(unreadable(run.job, body, error)),
        }
    }

    /// Reads the whole of a body, so that no program is started whose input turns out to be damaged.
    fn check_body(&self, path: &Path, body: &AttachmentRef) -> io::Result<JobBody> {
        let mut hasher = Sha256::new();
        let mut file = Source::open(&*self.world.disk, path)?;
        io::copy(&mut file, &mut hasher)?;
        if Digest(hasher.finalize().into()) != body.digest {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{} was damaged", path.display())));
        }
        let (asked, mut rest) = open_body(&*self.world.disk, &self.keys(), path)?;
        io::copy(&mut rest, &mut io::sink())?;
        Ok(asked)
    }

    /// How a job's program is started, or why that can't be said at this time.
    fn launch(&self, run: &Run<'_>) -> Result<std::result::Result<Launch, Error>> {
        let &Run { job, asked, rule, peer, .. } = run;
        let timeout = rule.timeout().map_err(Error::usage)?;
        let mut env = clean_environment();
        let home = env.iter().find(|(name, _)| name == "HOME").map(|(_, dir)| PathBuf::from(dir));
        env.push(("MAILSYNC_PEER".into(), peer.into()));
        env.push(("MAILSYNC_JOB".into(), job.id.to_string().into()));
        let mut dir = PathBuf::from("/");
        if let Some(home) = home {
            match self.world.disk.metadata(&home) {
                Ok(meta) if meta.is_dir => dir = home,
                Ok(_) => {}
                Err(error) if Scope::of(&error) == Scope::Place => {}
                Err(error) => {
                    let error = Error::io("looking at the home directory", &home, error);
                    return Ok(Err(error.advise("see why, then run `mailsync jobs run`; the jobs wait")));
                }
            }
        }
        let mut args = rule.exec.iter().chain(&asked.command[1..]).map(OsString::from);
        let program = args.next().unwrap_or_default();
        Ok(Ok(Launch { program, args: args.collect(), env, dir, timeout }))
    }

    /// Puts a job back whose program was not started for what the machine lacks at this time: it has not run.
    fn queue_again(&self, run: &Run<'_>, why: &str) -> Result<Dealt> {
        let &Run { job, attempt, .. } = run;
        let tx = self.begin()?;
        let (at, state) = (self.moment(), JobState::Queued);
        let report = Report { job: job.id, attempt: attempt + 1, at, state, status: None, result: None };
        self.say(&tx, job, &Statement::Report(report))?;
        tx.commit()?;
        let what = format!("job {}: its program could not be started: {why}", job.id.short());
        Ok(Dealt::NotNow(Error::failed(what).advise("see why, then run `mailsync jobs run`; the job waits")))
    }

    fn run_job(&self, run: &Run<'_>, launch: &Launch, input: &mut (dyn Read + Send)) -> Result<Dealt> {
        let &Run { job, asked, rule, attempt, peer } = run;
        let started = self.now();
        let tx = self.begin()?;
        let report =
            Report { job: job.id, attempt, at: self.moment(), state: JobState::Running, status: None, result: None };
        self.say(&tx, job, &Statement::Report(report))?;
        // From here on the job counts as run.
        tx.commit()?;
        let finished = self.while_others_work(|| self.world.launcher.run(launch, input))?;
        if let Ended::NotNow(why) = &finished.ended
            && attempt < limits::JOB_ATTEMPTS
        {
            return self.queue_again(run, why);
        }
        let stopped = finished.ended == Ended::Stopped;
        let (state, status) = match finished.ended {
            Ended::Stopped => (JobState::Interrupted, None),
            Ended::Status(0) => (JobState::Done, Some(0)),
            Ended::Status(status) => (JobState::Failed, Some(status)),
            _ => (JobState::Failed, None),
        };
        let reason = (state != JobState::Done).then(|| match finished.ended {
            Ended::TimedOut => format!("it took longer than {} and was ended", rule.timeout),
            ref other => other.to_string(),
        });
        let told = JobReportBody {
            reason: reason.clone(),
            started: Some(started),
            ended: Some(self.now()),
            stdout_bytes: finished.stdout.bytes.len(),
            stdout_cut: finished.stdout.cut,
            stderr_bytes: finished.stderr.bytes.len(),
            stderr_cut: finished.stderr.cut,
        };
        let output = finished.stdout.bytes.len() + finished.stderr.bytes.len();
        let (mut told, mut stdout, mut stderr) = (told, &finished.stdout.bytes[..], &finished.stderr.bytes[..]);
        if output > 0 && !self.has_room_for_output(job, output as u64)? {
            self.note(format!(
                "the output of job {} is not kept: the results of the jobs of {peer} take up as much as jobs_output_mib lets in",
                job.id.short()
            ));
            told.leave_out_output();
            (stdout, stderr) = (&[], &[]);
        }
        // It matters more that the job is recorded as run than that its output is kept.
        let result = self.seal_result(job, &told, stdout, stderr);
        if let Err(error) = &result {
            self.note(format!("the output of job {} is lost: {error}", job.id.short()));
        }
        let tx = self.begin()?;
        let report = Report { job: job.id, attempt, at: self.moment(), state, status, result: result.ok() };
        self.say(&tx, job, &Statement::Report(report))?;
        let text = format!("job {}: {}, {}", job.id, asked.command[0], reason.as_deref().unwrap_or("done"));
        tx.record(self.now(), Action::JobsRun, Some(peer), &text)?;
        tx.commit()?;
        Ok(Dealt::Settled(JobRun { stopped, ..self.job_run(job, state, reason)? }))
    }
}

/// Why a job has no input here, and will get none: for its requester.
fn without_input(here: &str, requester: &str, wrong: bool) -> String {
    if wrong {
        return format!(
            "its input isn't what the request says: what came to {here} in its place has another size; ask anew"
        );
    }
    format!(
        "its input was not taken in on {here}: {requester} had as many jobs or as much input there as jobs_open and \
         jobs_input_mib let in; ask anew when there is room"
    )
}

/// The job is as it was: whatever keeps its input from being read may pass.
fn unreadable(job: &Job, path: &Path, error: io::Error) -> Dealt {
    let error = Error::io("reading the input", path, error).about(format_args!("job {}", job.id.short()));
    Dealt::NotNow(error.advise("see why, then run `mailsync jobs run`; the job waits"))
}
