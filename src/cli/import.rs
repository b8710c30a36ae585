//! `mailsync import`

use std::collections::BTreeMap;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use mailsync::bundle::Code;
use mailsync::error::{Error, ErrorKind, Result};
use mailsync::replica::{Arrived, Hook, ImportOptions, ImportOutcome, Imported, Replica};

use super::args::{Import, clock_ahead, dry_run, mass_add, mass_delete};
use super::changes::{Changes, FoundFirst, tell_found_first};
use super::context::Context;
use super::document::bundles::{self, ImportedBundle};
use super::failed_jobs::FailedJobs;
use super::failure::{CommandResult, Failure};
use super::job_runs::{JobRuns, run_jobs};
use super::output::Output;
use super::target::check_stdout;
use super::view::{complain_of, tell, worst};
use super::{code, hooks, source, target};

pub fn run(context: &Context, args: &Import) -> CommandResult {
    if args.reply {
        check_stdout()?;
    }
    let options = ImportOptions {
        by_call: false,
        dry_run: dry_run(args.dry_run),
        mass_delete: mass_delete(args.allowed.allow_mass_delete),
        mass_add: mass_add(args.allowed.allow_mass_add),
        clock_ahead: clock_ahead(args.accept_clock),
        consume: args.consume,
    };
    let bundles = if args.bundles.is_empty() { vec![PathBuf::from("-")] } else { args.bundles.clone() };
    let code = code::given(args.code.code_file.as_deref())?;
    let mut arrived = receive(context, &bundles, code.as_ref())?;
    let replica = context.write()?.with_code(code);
    let result = import_and_answer(context, &replica, args, &bundles, &mut arrived, &options);
    if args.dry_run { result } else { hooks::after(context, replica, Hook::AfterImport, result) }
}

/// Imports, runs the jobs that have come, and answers.
fn import_and_answer(
    context: &Context,
    replica: &Replica,
    args: &Import,
    bundles: &[PathBuf],
    arrived: &mut BTreeMap<PathBuf, Arrived>,
    options: &ImportOptions,
) -> CommandResult {
    let mut all: Vec<Imported> = Vec::new();
    // In an exchange by pipes, the lines of both machines come together: they stay few.
    let is_stream = bundles.iter().all(|bundle| source::is_standard(bundle));
    let mut changes = Changes::begin(context, replica, args.listing)?;
    let mut work = || {
        let report = replica.scan_before_import(options)?;
        // What was found here is told apart from what the bundles bring.
        let is_brief = is_stream && !args.dry_run;
        let much = if is_brief { FoundFirst::Removals } else { FoundFirst::All };
        tell_found_first(context, &report, args.dry_run, much);
        let mut tell_changes = |outcome: Option<&ImportOutcome>| match outcome {
            Some(ImportOutcome::Refused(_)) if args.dry_run => changes.tell_undone(replica),
            _ => {
                changes.tell_each(replica)?;
                if is_brief { Ok(()) } else { changes.tell_folders(replica) }
            }
        };
        tell_changes(None)?;
        if report.refused.is_some() {
            return Ok((report, None, None));
        }
        let mut untold = None;
        // What can't be told keeps nothing that has come from going on.
        let told = |imported: Imported| {
            tell(context, &imported, args.dry_run);
            untold = untold.take().or(tell_changes(Some(&imported.outcome)).err());
            all.push(imported);
        };
        let Ended { passed, failed } = import_each(context, replica, bundles, arrived, options, told);
        Ok((report, passed, failed.or(untold)))
    };
    let (report, passed, failed) = if args.dry_run { replica.rehearse(work)? } else { work()? };
    // Of a dry run: it is told, but the import itself would end with that.
    let failed = failed.or(report.refused.clone());
    // An import that did not get through may have brought jobs all the same.
    let jobs = if args.no_jobs || args.dry_run { JobRuns::default() } else { run_jobs(context, replica) };
    // Who has an answer written is not whoever has asked for jobs here.
    let failed_jobs = if args.reply || args.dry_run { FailedJobs::of_nobody() } else { FailedJobs::tell(replica) };
    let shown = context.out.document(&bundles::Import {
        bundles: all.iter().map(ImportedBundle::from).collect(),
        scan: (&report).into(),
        jobs: jobs.documents(),
        failed_jobs: failed_jobs.documents(),
        changes: changes.documents(),
    });
    let listed = changes.finish();
    match (failed, passed) {
        (Some(error), Some(passed)) => {
            Output::complain(&error);
            return Err(Failure::Said(error.kind().max(passed)));
        }
        (Some(error), None) => return Err(error.into()),
        (None, Some(passed)) => return Err(Failure::Said(worst(&all).map_or(passed, |kind| kind.max(passed)))),
        (None, None) => {}
    }
    let unanswered = if args.reply { reply(context, replica, &all)? } else { None };
    // The mail is through, even if something went wrong with jobs.
    jobs.result()?;
    listed?;
    match worst(&all).max(unanswered).max(failed_jobs.result()?) {
        Some(kind) => Err(Failure::Said(kind)),
        None => complain_of(&report).map(|()| shown),
    }
}

/// What has come of those arguments that come as slowly as somebody writes them, by their names.
///
/// In `mailsync export | ssh HOST mailsync import --reply | mailsync import` the last command starts with the first,
/// and must not take the lock from it, nor keep it while the network is slow.
fn receive(context: &Context, bundles: &[PathBuf], code: Option<&Code>) -> Result<BTreeMap<PathBuf, Arrived>> {
    let mut arrived = BTreeMap::new();
    for bundle in bundles.iter().filter(|bundle| source::comes_slowly(bundle)) {
        // Nothing is left of one that is named twice.
        if arrived.contains_key(bundle) {
            continue;
        }
        let name = if source::is_standard(bundle) { "standard input".into() } else { bundle.display().to_string() };
        let mut source = source::open(bundle)?;
        let received = Replica::receive_bundles(&context.home()?, context.world(), code.cloned(), &name, &mut source)?;
        arrived.insert(bundle.clone(), received);
    }
    Ok(arrived)
}

/// Writes the answer. If it is refused for safety, that is said, and returned.
fn reply(context: &Context, replica: &Replica, all: &[Imported]) -> Result<Option<ErrorKind>> {
    match target::stdout().and_then(|out| replica.reply(all, BufWriter::with_capacity(256 << 10, out))) {
        Ok(None) => Ok(None),
        Ok(Some(exported)) => {
            context.say_notes(replica);
            context.out.say(&exported);
            Ok(None)
        }
        Err(error) if error.kind() == ErrorKind::Refused => {
            Output::complain(&error);
            Ok(Some(error.kind()))
        }
        Err(error) => Err(error),
    }
}

/// What went wrong with the arguments, but for bundles that are not taken.
#[derive(Default)]
struct Ended {
    /// The worst of what was told already, and kept nobody from going on with what stood behind it.
    passed: Option<ErrorKind>,
    /// What has ended the import. It is still to be told.
    failed: Option<Error>,
}

/// Imports what each of the arguments stands for. It goes on behind one that can't be opened, or in which a bundle was
/// refused for safety, and ends with any other failure of this machine, and if somebody's state was put back.
fn import_each(
    context: &Context,
    replica: &Replica,
    bundles: &[PathBuf],
    arrived: &mut BTreeMap<PathBuf, Arrived>,
    options: &ImportOptions,
    mut each: impl FnMut(Imported),
) -> Ended {
    let mut ended = Ended::default();
    for (n, bundle) in bundles.iter().enumerate() {
        let mut put_back = false;
        let result = import(replica, bundle, arrived, options, |imported| {
            put_back |= matches!(imported.outcome, ImportOutcome::RolledBack(_));
            each(imported);
        });
        context.say_notes(replica);
        let Err(error) = result else { continue };
        let rest = &bundles[n + 1..];
        let is_its_own = (error.kind() == ErrorKind::Refused && !put_back) || is_out_of_reach(bundle, arrived);
        if is_its_own && bundles.len() > 1 {
            Output::complain(&error);
            ended.passed = ended.passed.max(Some(error.kind()));
            continue;
        }
        if !rest.is_empty() {
            let names: Vec<_> = rest.iter().map(|bundle| bundle.display().to_string()).collect();
            let what = format!("these were not looked at: {}", names.join(", "));
            Output::complain(&Error::failed(what).advise("import them again when the cause is gone"));
        }
        ended.failed = Some(error);
        break;
    }
    let noted = replica.note_missing_contents();
    context.say_notes(replica);
    ended.failed = ended.failed.or(noted.err());
    ended
}

/// Whether a file or directory can't even be opened, which says nothing of the others.
fn is_out_of_reach(bundle: &Path, arrived: &BTreeMap<PathBuf, Arrived>) -> bool {
    !arrived.contains_key(bundle) && std::fs::File::open(bundle).is_err()
}

fn import(
    replica: &Replica,
    bundle: &Path,
    arrived: &mut BTreeMap<PathBuf, Arrived>,
    options: &ImportOptions,
    each: impl FnMut(Imported),
) -> Result<()> {
    match arrived.get_mut(bundle) {
        Some(arrived) => replica.import_arrived(arrived, options, each),
        None if bundle.is_dir() => replica.import_directory(bundle, options, each),
        None => replica.import_file(bundle, options, each),
    }
}
