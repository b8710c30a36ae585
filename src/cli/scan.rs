//! `mailsync scan`

use mailsync::error::{Error, Result};
use mailsync::model::FolderName;
use mailsync::replica::{Depth, ScanOptions};

use super::args::{Scan, dry_run, mass_delete};
use super::context::Context;
use super::failure::CommandResult;
use super::view::complain_of;

pub fn run(context: &Context, args: &Scan) -> CommandResult {
    let folders = args.folders.iter().map(|name| {
        name.parse::<FolderName>().map_err(|error| {
            Error::usage(format!("scanning {name}: {error}")).advise("name folders as `mailsync status` lists them")
        })
    });
    let options = ScanOptions {
        folders: folders.collect::<Result<_>>()?,
        depth: if args.deep { Depth::Contents } else { Depth::Names },
        dry_run: dry_run(args.dry_run),
        mass_delete: mass_delete(args.allow_mass_delete),
    };
    let replica = context.write()?;
    let report = replica.scan(&options)?;
    context.say_notes(&replica);
    let would = if args.dry_run { "would record: " } else { "" };
    context.out.say(format_args!("{would}{report}"));
    let shown = context.out.document(&report);
    complain_of(&report).map(|()| shown)
}
