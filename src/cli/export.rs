//! `mailsync export`

use mailsync::replica::{ExportOptions, Fullness, ScanOptions, ScanReport, To};

use super::args::Export;
use super::context::Context;
use super::failure::CommandResult;
use super::target;
use super::view::complain_of;

pub fn run(context: &Context, args: Export) -> CommandResult {
    let output = target::target(args.output)?;
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
    let report = if args.no_scan { ScanReport::default() } else { replica.scan(&ScanOptions::default())? };
    match output {
        None => {
            let exported = replica.export(&options, target::stdout())?;
            context.say_notes(&replica);
            context.out.say(&exported);
        }
        Some(path) => {
            let written = replica.export_to_file(&options, &path)?;
            context.say_notes(&replica);
            target::tell_written(context, &written);
        }
    }
    complain_of(&report)
}
