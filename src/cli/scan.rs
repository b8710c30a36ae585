//! `mailsync scan`

use mailsync::error::{Error, ErrorKind, Result};
use mailsync::model::FolderName;
use mailsync::replica::{Depth, DryRun, MassDelete, ScanOptions, ScanReport};
use serde_json::{Value, json};

use super::args::Scan;
use super::context::Context;
use super::failure::{Failure, Outcome};
use super::output::Output;

pub fn run(context: &Context, args: &Scan) -> Outcome {
    let folders = args.folders.iter().map(|name| {
        name.parse::<FolderName>().map_err(|error| {
            Error::usage(format!("scanning {name}: {error}")).advise("name folders as `mailsync status` lists them")
        })
    });
    let options = ScanOptions {
        folders: folders.collect::<Result<_>>()?,
        depth: if args.deep { Depth::Contents } else { Depth::Names },
        dry_run: run_mode(args.dry_run),
        mass_delete: mass_delete(args.allow_mass_delete),
    };
    let replica = context.write()?;
    let report = replica.scan(&options)?;
    context.say_notes(&replica);
    let would = if args.dry_run { "would record: " } else { "" };
    context.out.say(format_args!("{would}{report}"));
    if context.out.json() {
        Output::print_json(&report_json(&report))?;
    }
    complain_of(&report)
}

pub fn run_mode(dry: bool) -> DryRun {
    if dry { DryRun::Yes } else { DryRun::No }
}

pub fn mass_delete(allowed: bool) -> MassDelete {
    if allowed { MassDelete::Allow } else { MassDelete::Refuse }
}

pub fn report_json(report: &ScanReport) -> Value {
    json!({
        "new": report.new,
        "moved": report.moved,
        "flagged": report.flagged,
        "removed": report.removed,
        "adopted": report.adopted,
        "folders_made": report.folders_made,
        "folders_removed": report.folders_removed,
        "folders_read": report.folders_read,
        "messages_read": report.messages_read,
        "problems": report.problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

/// So many problems are told one by one.
const TOLD: usize = 20;

/// Tells what a scan could not look at. That is a failure, although everything else was done.
pub fn complain_of(report: &ScanReport) -> Outcome {
    if report.problems.is_empty() {
        return Ok(());
    }
    for problem in report.problems.iter().take(TOLD) {
        Output::complain(problem);
    }
    if report.problems.len() > TOLD {
        Output::complain(&Error::failed(format!("and {} more like these", report.problems.len() - TOLD)));
    }
    Err(Failure::Said(ErrorKind::Failed))
}
