//! `mailsync export`

use std::path::{Path, PathBuf};

use mailsync::error::Error;
use mailsync::replica::{ExportOptions, Exported, Fullness, Hook, Replica, ScanOptions, ScanReport, To};
use mailsync::text::bytes;

use super::args::{Export, Listing};
use super::changes::{Changes, tell_found_first};
use super::context::Context;
use super::document::bundles;
use super::failure::CommandResult;
use super::hooks;
use super::source::is_standard;
use super::target;
use super::view::complain_of;

pub fn run(context: &Context, args: Export) -> CommandResult {
    // A dry run writes no bundle, so it may have a terminal.
    let output = if args.dry_run {
        args.output.filter(|path| !is_standard(path))
    } else {
        target::target(&context.out, args.output)?
    };
    let options = ExportOptions {
        to: args.to.map_or(To::Whoever, To::Peer),
        fullness: match (args.full, args.since_last) {
            (true, _) => Fullness::Full,
            (_, true) => Fullness::SinceLast,
            _ => Fullness::SinceShown,
        },
        level: args.level,
        split: args.split,
        secrecy: args.secrecy.secrecy(),
        ..ExportOptions::default()
    };
    target::check_split(args.split, output.as_deref())?;
    let replica = context.write()?;
    if args.dry_run {
        return plan(context, &replica, args.no_scan, &options, output.as_deref());
    }
    let result = export(context, &replica, args.no_scan, &options, output);
    hooks::after(context, replica, Hook::AfterScan, result)
}

/// Looks for changes, if that is asked for, and tells of those that a person should know before anything is written.
fn scan(context: &Context, replica: &Replica, no_scan: bool, dry_run: bool) -> Result<ScanReport, Error> {
    let changes = Changes::begin(context, replica, Listing::default())?;
    let report = if no_scan { ScanReport::default() } else { replica.scan(&ScanOptions::default())? };
    if tell_found_first(context, &report, dry_run) {
        changes.tell_folders(replica)?;
    }
    Ok(report)
}

fn plan(
    context: &Context,
    replica: &Replica,
    no_scan: bool,
    options: &ExportOptions,
    output: Option<&Path>,
) -> CommandResult {
    let (report, planned) = replica.rehearse(|| {
        let report = scan(context, replica, no_scan, true)?;
        let planned = replica.plan_only(options, output)?;
        context.say_notes(replica);
        tell_planned(context, &planned);
        Ok((report, planned))
    })?;
    let shown = context.out.document(&bundles::Export::without_files(&planned, &report));
    complain_of(&report).map(|()| shown)
}

fn export(
    context: &Context,
    replica: &Replica,
    no_scan: bool,
    options: &ExportOptions,
    output: Option<PathBuf>,
) -> CommandResult {
    let report = scan(context, replica, no_scan, false)?;
    let shown = match output {
        None => {
            let exported = replica.export(options, replica.patient(target::stdout()?))?;
            context.say_notes(replica);
            context.out.say(&exported);
            if !exported.readable.is_encrypted() && target::stdout_is_a_file() {
                target::warn_of_plain_file(
                    context,
                    replica,
                    "the file to which standard output goes",
                    "-o FILE or --encrypt encrypts it",
                )?;
            }
            context.out.document(&bundles::Export::without_files([&exported], &report))
        }
        Some(path) => {
            let written = replica.export_to_file(options, &path)?;
            context.say_notes(replica);
            target::tell_written(context, &written);
            if let Some((path, _)) = written.iter().find(|(path, one)| !one.readable.is_encrypted() && path.is_file()) {
                let instead =
                    "--encrypt encrypts it, and so does -o where neither --plain nor config.toml says otherwise";
                target::warn_of_plain_file(context, replica, &path.display().to_string(), instead)?;
            }
            context.out.document(&bundles::Export::written(&written, &report))
        }
    };
    complain_of(&report).map(|()| shown)
}

/// Tells what bundles would hold. How large the files would be is known only when they are compressed.
fn tell_planned(context: &Context, planned: &[Exported]) {
    for exported in planned {
        context.out.say(format_args!("would write {exported}"));
    }
    let sizes = planned.iter().fold(0_u64, |sum, exported| sum.saturating_add(exported.bytes));
    context.out.say(format_args!("nothing was written; about {} at most, before compression", bytes(sizes)));
}
