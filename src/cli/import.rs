//! `mailsync import`

use std::io::BufRead;
use std::path::{Path, PathBuf};

use mailsync::error::{Error, ErrorKind, Result};
use mailsync::replica::{ImportOptions, Imported, Replica};
use serde_json::json;

use super::args::{Import, clock_ahead, dry_run, mass_delete};
use super::context::Context;
use super::failure::{CommandResult, Failure};
use super::job_runs::{JobRuns, run_jobs};
use super::output::Output;
use super::target::refuse_terminal;
use super::view::{complain_of, imported_json, tell, worst};
use super::{source, target};

pub fn run(context: &Context, args: Import) -> CommandResult {
    if args.reply {
        refuse_terminal()?;
    }
    let options = ImportOptions {
        dry_run: dry_run(args.dry_run),
        mass_delete: mass_delete(args.allow_mass_delete),
        clock_ahead: clock_ahead(args.accept_clock),
        consume: args.consume,
    };
    let bundles = if args.bundles.is_empty() { vec![PathBuf::from("-")] } else { args.bundles };
    let mut stdin = source::stdin();
    if bundles.iter().any(|bundle| source::is_standard(bundle)) {
        // In `mailsync export | ssh HOST mailsync import --reply | mailsync import` the last command starts with the
        // first, and must not take the lock from it before there is something to import.
        stdin.fill_buf().map_err(|error| Error::failed(format!("reading standard input: {error}")))?;
    }
    let replica = context.write()?;
    let report = replica.scan_before_import(&options)?;
    let mut all: Vec<Imported> = Vec::new();
    let mut failed = None;
    for bundle in &bundles {
        let result = import(&replica, bundle, &mut stdin, &options, |imported| {
            tell(context, &imported, args.dry_run);
            all.push(imported);
        });
        context.say_notes(&replica);
        if let Err(error) = result {
            failed = Some(error);
            break;
        }
    }
    // An import that did not get through may have brought jobs all the same.
    let jobs = if args.no_jobs || args.dry_run { JobRuns::default() } else { run_jobs(context, &replica) };
    if context.out.json() {
        let document = json!({
            "jobs": jobs.json(),
            "bundles": all.iter().map(imported_json).collect::<Vec<_>>(),
            "scan": report,
            "error": failed.as_ref().or(jobs.error.as_ref()),
        });
        Output::print_json(&document)?;
    }
    if let Some(error) = failed {
        return Err(error.into());
    }
    let unanswered = if args.reply { reply(context, &replica, &all)? } else { None };
    // The mail is through, even if something went wrong with jobs.
    jobs.result()?;
    match worst(&all).max(unanswered) {
        Some(kind) => Err(Failure::Said(kind)),
        None => complain_of(&report),
    }
}

/// Writes the answer. If it is refused for safety, that is said, and returned.
fn reply(context: &Context, replica: &Replica, all: &[Imported]) -> Result<Option<ErrorKind>> {
    match replica.reply_to(all) {
        Ok(None) => Ok(None),
        Ok(Some(options)) => {
            let exported = replica.export(&options, target::stdout())?;
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

fn import(
    replica: &Replica,
    bundle: &Path,
    stdin: &mut impl BufRead,
    options: &ImportOptions,
    each: impl FnMut(Imported),
) -> Result<()> {
    if source::is_standard(bundle) {
        replica.import_stream(None, stdin, options, each)
    } else if bundle.is_dir() {
        replica.import_directory(bundle, options, each)
    } else {
        replica.import_file(bundle, options, each)
    }
}
