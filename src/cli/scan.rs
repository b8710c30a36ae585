//! `mailsync scan`

use mailsync::error::{Error, Result};
use mailsync::replica::{Depth, Hook, Replica, ScanOptions};

use super::args::{Scan, dry_run, mass_delete, parse_folder};
use super::changes::Changes;
use super::context::Context;
use super::document::upkeep::Scanned;
use super::failure::CommandResult;
use super::hooks;
use super::view::ended;

pub fn run(context: &Context, args: &Scan) -> CommandResult {
    let folder = |name: &String| parse_folder(name).map_err(|why| Error::usage(format!("scanning: {why}")));
    let options = ScanOptions {
        folders: args.folders.iter().map(folder).collect::<Result<_>>()?,
        depth: if args.deep { Depth::Contents } else { Depth::Names },
        dry_run: dry_run(args.dry_run),
        mass_delete: mass_delete(args.allow_mass_delete),
    };
    let replica = context.write()?;
    let result = scan(context, &replica, args, &options);
    if args.dry_run { result } else { hooks::after(context, replica, Hook::AfterScan, result) }
}

fn scan(context: &Context, replica: &Replica, args: &Scan, options: &ScanOptions) -> CommandResult {
    let mut changes = Changes::begin(context, replica, args.listing)?;
    let mut work = || {
        let report = replica.scan(options)?;
        replica.note_clock()?;
        context.say_notes(replica);
        let would = if args.dry_run { "would record: " } else { "" };
        context.out.say(format_args!("{would}{report}"));
        changes.tell(replica)?;
        Ok(report)
    };
    let report = if args.dry_run { replica.rehearse(work)? } else { work()? };
    let shown = context.out.document(&Scanned { scan: (&report).into(), changes: changes.documents() });
    changes.finish()?;
    ended(&report).map(|()| shown)
}
