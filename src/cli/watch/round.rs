//! What `watch` does at one time: a step, as a command of its own would do it.

use mailsync::error::{Error, ErrorKind, Result};
use mailsync::process::was_told_to_stop;
use mailsync::replica::{
    Access, Care, Carrier, Changes as ImportChanges, Errand, ExportOptions, Fullness, Hook, ImportOptions,
    ImportOutcome, Imported, Outlook, Replica, ScanOptions, ScanReport,
};
use mailsync::text::printable;

use super::plan::{Outlet, Plan};
use super::schedule::{Ended, Step};
use super::told::Told;
use crate::cli::args::{Listing, Watch};
use crate::cli::changes::{Changes, FoundFirst, tell_found_first};
use crate::cli::context::Context;
use crate::cli::document::bundles::{Export, ImportedBundle};
use crate::cli::document::watching;
use crate::cli::failed_jobs::FailedJobs;
use crate::cli::job_runs::{JobRuns, run_jobs};
use crate::cli::output::Output;
use crate::cli::target::tell_written;
use crate::cli::view::{tell, worst};
use crate::cli::voices::Voices;
use crate::cli::{document, hooks};

/// What a step was like.
#[derive(Debug)]
pub struct Deed {
    /// The worst of what went wrong.
    pub worst: Option<ErrorKind>,
    /// The outlets for which there is something, by their numbers.
    pub wanted: Vec<usize>,
    /// Where changes show.
    pub outlook: Option<Outlook>,
    /// What is to be done from here on, if the configuration has changed.
    pub plan: Option<Plan>,
    /// Its document.
    pub document: watching::Step,
    /// Why it was not done: other errors didn't keep it from that.
    undone: Option<ErrorKind>,
    /// Whether bundles have brought something, or jobs were run.
    has_news: bool,
}

impl Deed {
    fn new(document: watching::Step) -> Self {
        Self { worst: None, wanted: Vec::new(), outlook: None, plan: None, document, undone: None, has_news: false }
    }

    /// How it has ended, for the schedule.
    pub fn ended(&self) -> Ended {
        match self.undone {
            None => Ended::Done,
            Some(ErrorKind::Locked) => Ended::Locked,
            Some(_) => Ended::Failed,
        }
    }
}

/// What does the steps.
pub struct Hand<'c> {
    pub context: &'c Context,
    pub args: &'c Watch,
    pub told: Told,
}

impl Hand<'_> {
    /// Does a step. What goes wrong is told, and doesn't keep the next one from being done.
    pub fn act(&mut self, plan: &Plan, step: Step, care: Care) -> Deed {
        let mut deed = Deed::new(plan.document(step));
        // Notes of the opening are told with the others, once.
        let opened = self
            .context
            .home()
            .and_then(|home| Replica::open(&home, self.context.world(), Access::Write(self.context.lock_timeout)));
        match opened {
            Ok(replica) => self.act_on(replica, plan, step, care, &mut deed),
            Err(error) => {
                deed.undone = Some(error.kind());
                self.complain(&error, &mut deed);
            }
        }
        self.told.end(&plan.name(step));
        deed
    }

    fn act_on(&mut self, replica: Replica, plan: &Plan, step: Step, care: Care, deed: &mut Deed) {
        let result = match step {
            Step::Scan => self.scan(&replica, deed),
            Step::Receive(number) => self.receive(&replica, plan, number, deed),
            Step::Send(number) => self.send(&replica, &plan.outlets[number], care, deed),
        };
        if let Err(error) = result {
            deed.undone = Some(error.kind());
            self.complain(&error, deed);
        }
        let brings = matches!(step, Step::Receive(_)) || plan.calls(step);
        if brings && !was_told_to_stop() {
            self.tell_notes(&replica, deed);
            let jobs = run_jobs(self.context, &replica);
            self.tell_jobs(jobs, deed);
            self.tell_failed_jobs(FailedJobs::tell(&replica), deed);
        }
        self.tell_notes(&replica, deed);
        if let Some(error) = replica.hindrance() {
            self.complain(&error, deed);
        }
        // A peer that was given its bundle isn't given it again before something has happened.
        let served = match step {
            Step::Send(number) => Some(number),
            _ => None,
        };
        if served.is_none() || deed.has_news {
            let looked = self.look_out(&replica, plan, served, care, deed);
            if let Err(error) = looked {
                self.complain(&error, deed);
            }
        }
        let hook = if brings { Hook::AfterImport } else { Hook::AfterScan };
        deed.worst = deed.worst.max(hooks::run(self.context, replica, hook));
    }

    fn listing(&self) -> Listing {
        Listing { verbose: self.args.verbose, list: false }
    }

    fn scan(&mut self, replica: &Replica, deed: &mut Deed) -> Result<()> {
        let mut changes = Changes::begin(self.context, replica, self.listing())?;
        let report = replica.scan(&ScanOptions::default())?;
        replica.note_clock()?;
        if report.has_changes() {
            self.context.out.say(format_args!("found here: {report}"));
            changes.tell_each(replica)?;
            changes.tell_folders(replica)?;
        }
        deed.document.changes = changes.documents();
        self.tell_scanned(&report, deed);
        Ok(())
    }

    fn receive(&mut self, replica: &Replica, plan: &Plan, number: usize, deed: &mut Deed) -> Result<()> {
        let dir = &plan.receive[number];
        let options = ImportOptions { consume: plan.consume, ..ImportOptions::default() };
        let mut changes = Changes::begin(self.context, replica, self.listing())?;
        let report = replica.scan_before_import(&options)?;
        tell_found_first(self.context, &report, false, FoundFirst::All);
        let mut tell_changes = || changes.tell_each(replica).and_then(|()| changes.tell_folders(replica));
        let mut untold = tell_changes().err();
        let mut all: Vec<Imported> = Vec::new();
        let result = replica.import_arrivals(dir, &options, |imported| {
            if imported.outcome.error().is_none() && has_changes(&imported) {
                tell(self.context, &imported, false);
            }
            untold = untold.take().or(tell_changes().err());
            all.push(imported);
        });
        let noted = replica.note_missing_contents();
        deed.document.changes = changes.documents();
        self.tell_scanned(&report, deed);
        self.tell_imported(&all, deed);
        result.and(noted).and(untold.map_or(Ok(()), Err))
    }

    fn send(&mut self, replica: &Replica, outlet: &Outlet, care: Care, deed: &mut Deed) -> Result<()> {
        let (peer, carrier) = (printable(&outlet.peer), outlet.carrier());
        let fullness = match replica.errand(&outlet.peer, carrier, care)? {
            Errand::News(fullness) => Some(fullness),
            Errand::Nothing => None,
            Errand::ShutOut | Errand::Unknown => return Ok(()),
            Errand::Unanswered => {
                self.say_once(&format!(
                    "note: {peer} was invited and has not answered yet, so it is left out; have {peer} send the first bundle"
                ));
                return Ok(());
            }
        };
        if let Some(dir) = &outlet.spool {
            let report = replica.scan(&ScanOptions::default())?;
            self.tell_scanned(&report, deed);
            let options = ExportOptions {
                fullness: fullness.unwrap_or(Fullness::SinceShown),
                ..ExportOptions::to_peer(&outlet.peer)
            };
            // With nothing behind its last slash it is no name for a file.
            let written = replica.export_to_file(&options, &dir.join(""))?;
            for (path, exported) in &written {
                tell_written(self.context, path, exported);
            }
            deed.document.written = Export::written(&written, &ScanReport::default()).bundles;
            replica.tidy_directory(dir)?;
            Ok(())
        } else {
            let report = replica.scan(&ScanOptions::default())?;
            self.tell_scanned(&report, deed);
            let mut all = Vec::new();
            let voices = Voices::new(self.context.out.quiet());
            let hear = |line: &str| voices.hear(&outlet.peer, line);
            let result = replica.call(&outlet.peer, &ImportOptions::default(), &hear, |imported| all.push(imported));
            let is_bad = result.is_err() || all.iter().any(|imported| imported.outcome.error().is_some());
            voices.end(&outlet.peer, is_bad);
            let result = result.map_err(|error| error.about(format_args!("calling {}", outlet.peer)));
            let noted = replica.note_missing_contents();
            let went_wrong = self.tell_imported(&all, deed) || result.is_err();
            if went_wrong {
                deed.undone = worst(&all);
            }
            let received = all.iter().rfind(|imported| imported.outcome.error().is_none());
            match received {
                _ if went_wrong => {}
                Some(imported) if fullness.is_some() || has_changes(imported) => {
                    self.context.out.say(format_args!("{peer}: sent, and received {}", imported.changes));
                }
                _ => {}
            }
            result.and(noted)
        }
    }

    /// Finds out what is to be done next.
    fn look_out(
        &mut self,
        replica: &Replica,
        plan: &Plan,
        served: Option<usize>,
        care: Care,
        deed: &mut Deed,
    ) -> Result<()> {
        deed.outlook = Some(replica.outlook()?);
        let now = Plan::new(replica.config(), self.args)?;
        if now != *plan {
            deed.plan = Some(now);
            return Ok(());
        }
        for (number, outlet) in plan.outlets.iter().enumerate() {
            if Some(number) != served
                && matches!(replica.errand(&outlet.peer, outlet.carrier(), care)?, Errand::News(_))
            {
                deed.wanted.push(number);
            }
        }
        Ok(())
    }

    /// Keeps what a scan has found for the document, and tells what it could not look at.
    fn tell_scanned(&mut self, report: &ScanReport, deed: &mut Deed) {
        deed.document.scanned(report);
        for problem in &report.problems {
            self.complain(problem, deed);
        }
    }

    /// Tells what is wrong with bundles, and whether anything is.
    fn tell_imported(&mut self, all: &[Imported], deed: &mut Deed) -> bool {
        // With that of the import the step ends, and tells it then.
        let told = all.iter().filter(|imported| !imported.outcome.is_that_of_the_import());
        let wrong: Vec<&Error> = told.filter_map(|imported| imported.outcome.error()).collect();
        for error in &wrong {
            self.complain(error, deed);
        }
        deed.document.bundles = all.iter().map(ImportedBundle::from).collect();
        deed.has_news |= all.iter().any(|imported| matches!(imported.outcome, ImportOutcome::Applied));
        !wrong.is_empty()
    }

    fn tell_jobs(&mut self, jobs: JobRuns, deed: &mut Deed) {
        deed.document.jobs = jobs.documents();
        deed.has_news |= !jobs.runs.is_empty();
        if let Err(error) = jobs.result() {
            self.complain(&error, deed);
        }
    }

    /// Those of this replica's that went wrong elsewhere were told.
    fn tell_failed_jobs(&mut self, failed: FailedJobs, deed: &mut Deed) {
        deed.document.failed_jobs = failed.documents();
        match failed.result() {
            Ok(kind) => deed.worst = deed.worst.max(kind),
            Err(error) => self.complain(&error, deed),
        }
    }

    fn tell_notes(&mut self, replica: &Replica, deed: &mut Deed) {
        for note in replica.drain_notes() {
            self.say_once(&format!("note: {note}"));
        }
        // Those of what several commands do were drained before.
        self.context.hindrance.take();
        let problems = self.context.problems.take();
        for problem in replica.drain_problems().into_iter().chain(problems) {
            self.complain(&problem, deed);
        }
    }

    fn say_once(&mut self, text: &str) {
        if self.told.is_new(text) {
            self.context.out.say(text);
        }
    }

    fn complain(&mut self, error: &Error, deed: &mut Deed) {
        deed.worst = deed.worst.max(Some(error.kind()));
        self.complain_once(error);
    }

    /// Tells an error, unless it was told the last time, too. Documents have it each time.
    pub fn complain_once(&mut self, error: &Error) {
        if self.told.is_new(&error.to_string()) {
            Output::complain(error);
        } else {
            document::note(error);
        }
    }
}

/// Whether a bundle has changed something here that people see.
fn has_changes(imported: &Imported) -> bool {
    imported.changes != ImportChanges::default()
}

impl Plan {
    /// Whether a step calls a peer.
    fn calls(&self, step: Step) -> bool {
        matches!(step, Step::Send(number) if self.outlets[number].carrier() == Carrier::Call)
    }
}
