//! `mailsync import`

use std::io::{self, BufRead};
use std::path::{Path, PathBuf};

use mailsync::error::{Error, ErrorKind, Result};
use mailsync::replica::{ExportOptions, ImportOptions, ImportOutcome, Imported, Replica, ScanOptions};
use mailsync::text::printable;
use serde_json::{Value, json};

use super::args::Import;
use super::context::Context;
use super::failure::{Failure, Outcome};
use super::jobs::Runs;
use super::output::Output;

pub fn run(context: &Context, args: Import) -> Outcome {
    if args.reply {
        super::export::refuse_terminal()?;
    }
    let options = ImportOptions {
        dry_run: super::scan::run_mode(args.dry_run),
        mass_delete: super::scan::mass_delete(args.allow_mass_delete),
        consume: args.consume,
    };
    let bundles = if args.bundles.is_empty() { vec![PathBuf::from("-")] } else { args.bundles };
    let mut stdin = io::BufReader::with_capacity(256 << 10, io::stdin().lock());
    if bundles.iter().any(|bundle| bundle == Path::new("-")) {
        // In `mailsync export | ssh HOST mailsync import --reply | mailsync import` the last command starts with the first,
        // and must not take the lock from it before there is something to import.
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
    let jobs = if args.no_jobs || args.dry_run { Runs::default() } else { super::jobs::run_jobs(context, &replica) };
    if context.out.json() {
        let document = json!({
            "jobs": jobs.json(),
            "bundles": all.iter().map(imported_json).collect::<Vec<_>>(),
            "scan": super::scan::report_json(&report),
            "error": failed.as_ref().or(jobs.error.as_ref()).map(ToString::to_string),
        });
        Output::print_json(&document)?;
    }
    if let Some(error) = failed {
        return Err(error.into());
    }
    if args.reply {
        reply(context, &replica, &all)?;
    }
    // Whatever went wrong with jobs, the mail is through.
    jobs.result()?;
    match worst(&all) {
        Some(kind) => Err(Failure::Said(kind)),
        None => super::scan::complain_of(&report),
    }
}

fn import(
    replica: &Replica,
    bundle: &Path,
    stdin: &mut impl BufRead,
    options: &ImportOptions,
    each: impl FnMut(Imported),
) -> Result<()> {
    if bundle == Path::new("-") {
        replica.import_stream(None, stdin, options, each)
    } else if bundle.is_dir() {
        replica.import_directory(bundle, options, each)
    } else {
        replica.import_file(bundle, options, each)
    }
}

pub fn tell(context: &Context, imported: &Imported, dry: bool) {
    let from = printable(imported.from.as_deref().unwrap_or("an unknown sender"));
    let number = imported.number.unwrap_or(0);
    match &imported.outcome {
        ImportOutcome::Applied if dry => {
            context.out.say(format_args!("bundle {number} of {from} would bring: {}", imported.changes));
        }
        ImportOutcome::Applied => context.out.say(format_args!("bundle {number} of {from}: {}", imported.changes)),
        ImportOutcome::NothingNew => context.out.say(format_args!("bundle {number} of {from}: nothing new")),
        ImportOutcome::NotYet(error)
        | ImportOutcome::Rejected(error)
        | ImportOutcome::ForSomeoneElse(error)
        | ImportOutcome::Incomplete(error) => {
            Output::complain(error);
        }
    }
}

/// The answer goes to whoever sent the last bundle that was accepted, if only as not yet applicable.
fn reply(context: &Context, replica: &Replica, all: &[Imported]) -> Outcome {
    let heard = |imported: &&Imported| {
        matches!(imported.outcome, ImportOutcome::Applied | ImportOutcome::NothingNew | ImportOutcome::NotYet(_))
    };
    let Some(Imported { from: Some(from), .. }) = all.iter().rev().find(heard) else { return Ok(()) };
    // What the import changed on disk is this replica's own doing; a scan in between could only find new local changes.
    replica.scan(&ScanOptions::default())?;
    super::export::to_stdout(context, replica, &ExportOptions::to_peer(from))
}

/// Of several bundles the worst outcome decides.
pub fn worst(all: &[Imported]) -> Option<ErrorKind> {
    all.iter().filter_map(|imported| imported.outcome.error()).map(mailsync::error::Error::kind).max()
}

pub fn imported_json(imported: &Imported) -> Value {
    let mut document = json!({
        "file": imported.file.as_ref().map(|file| file.to_string_lossy()),
        "from": imported.from,
        "number": imported.number,
        "outcome": imported.outcome.word(),
        "error": imported.outcome.error().map(ToString::to_string),
    });
    for (name, count) in json!(imported.changes).as_object().into_iter().flatten() {
        document[name] = count.clone();
    }
    document
}
