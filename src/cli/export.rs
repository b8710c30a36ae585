//! `mailsync export`

use std::path::{Path, PathBuf};

use mailsync::error::Error;
use mailsync::replica::{ExportOptions, Exported, Fullness, Hook, Replica, ScanOptions, ScanReport, Telling, To};
use mailsync::text::bytes;

use super::args::{Export, Listing};
use super::changes::{Changes, FoundFirst, tell_found_first};
use super::context::Context;
use super::document::bundles;
use super::document::changes::HeadedChange;
use super::failure::CommandResult;
use super::holds::{Holds, Words, telling};
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
    let (listing, is_stream) = (args.listing, output.is_none());
    if listing.list && is_stream && !args.dry_run {
        return Err(Error::usage("writing the bundle: with --list, the list is on standard output, and no bundle")
            .advise("say where the bundle goes, with -o FILE or -o DIR, or only look, with -n")
            .into());
    }
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
        existing: target::existing(args.force),
        telling: telling_of(context, args.listing, is_stream && !args.dry_run),
        ..ExportOptions::default()
    };
    target::check_split(args.split, output.as_deref())?;
    let replica = context.write()?;
    if args.dry_run {
        return plan(context, &replica, (args.no_scan, listing), &options, output.as_deref());
    }
    let result = export(context, &replica, (args.no_scan, listing), &options, output);
    hooks::after(context, replica, Hook::AfterScan, result)
}

/// Looks for changes, if that is asked for, and tells of those that a person should know before anything is written.
fn scan(context: &Context, replica: &Replica, no_scan: bool, dry_run: bool) -> Result<ScanReport, Error> {
    let mut changes = Changes::begin(context, replica, Listing::default())?;
    let report = if no_scan { ScanReport::default() } else { replica.scan(&ScanOptions::default())? };
    replica.note_clock()?;
    if tell_found_first(context, &report, dry_run, FoundFirst::Removals) {
        changes.tell_folders(replica)?;
    }
    Ok(report)
}

/// How much is to be told of what a bundle holds. In an exchange by pipes, the lines of both machines come together: they stay
/// few.
fn telling_of(context: &Context, listing: Listing, is_stream: bool) -> Telling {
    match telling(listing) {
        Telling::Folders if is_stream || context.out.quiet() => Telling::Nothing,
        telling => telling,
    }
}

fn plan(
    context: &Context,
    replica: &Replica,
    (no_scan, listing): (bool, Listing),
    options: &ExportOptions,
    output: Option<&Path>,
) -> CommandResult {
    let mut holds = Holds::begin(context, listing, Words::Said);
    let (report, planned, changes) = replica.rehearse(|| {
        let report = scan(context, replica, no_scan, true)?;
        let planned = replica.plan_only(options, output)?;
        context.say_notes(replica);
        let mut changes = Vec::new();
        for exported in &planned {
            // How it is written stands last, as where it is written.
            if report.has_changes() && exported.news.by_folder(1).1 > 0 {
                holds.say(&format!("bundle {} would tell:", exported.number));
            }
            changes.push(held(&mut holds, exported, replica)?);
            context.out.say(format_args!("would write {exported}{}", where_it_depends(exported, options, output)));
        }
        tell_size(context, &planned);
        Ok((report, planned, changes))
    })?;
    let shown = context.out.document(&bundles::Export::without_files(&planned, &report).with_changes(changes));
    holds.finish()?;
    complain_of(&report).map(|()| shown)
}

/// What is added to a planned bundle that is not encrypted only since it goes to standard output.
fn where_it_depends(exported: &Exported, options: &ExportOptions, output: Option<&Path>) -> &'static str {
    let depends = output.is_none() && options.secrecy.is_none() && !exported.readable.is_encrypted();
    if depends { " on standard output; -o encrypts it, unless config.toml says otherwise" } else { "" }
}

/// Tells what a bundle holds.
fn held(holds: &mut Holds<'_>, exported: &Exported, replica: &Replica) -> Result<Option<Vec<HeadedChange>>, Error> {
    holds.folders(&exported.news);
    holds.messages(&exported.news, Some(replica))
}

fn export(
    context: &Context,
    replica: &Replica,
    (no_scan, listing): (bool, Listing),
    options: &ExportOptions,
    output: Option<PathBuf>,
) -> CommandResult {
    let report = scan(context, replica, no_scan, false)?;
    let mut holds = Holds::begin(context, listing, Words::Said);
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
            let changes = vec![held(&mut holds, &exported, replica)?];
            context.out.document(&bundles::Export::without_files([&exported], &report).with_changes(changes))
        }
        Some(path) => {
            let written = replica.export_to_file(options, &path)?;
            context.say_notes(replica);
            let mut changes = Vec::new();
            for (path, exported) in &written {
                changes.push(held(&mut holds, exported, replica)?);
                target::tell_written(context, path, exported);
            }
            if let Some((path, _)) = written.iter().find(|(path, one)| !one.readable.is_encrypted() && path.is_file()) {
                let instead =
                    "--encrypt encrypts it, and so does -o where neither --plain nor config.toml says otherwise";
                target::warn_of_plain_file(context, replica, &path.display().to_string(), instead)?;
            }
            context.out.document(&bundles::Export::written(&written, &report).with_changes(changes))
        }
    };
    holds.finish()?;
    complain_of(&report).map(|()| shown)
}

/// Tells that nothing was written. How large the files would be is known only when they are compressed.
fn tell_size(context: &Context, planned: &[Exported]) {
    let sizes = planned.iter().fold(0_u64, |sum, exported| sum.saturating_add(exported.bytes_in_it()));
    context.out.say(format_args!("nothing was written; about {} at most, before compression", bytes(sizes)));
}
