//! `mailsync export`

use mailsync::replica::{ExportOptions, Fullness, ScanOptions, ScanReport, To};

use super::args::Export;
use super::context::Context;
use super::failure::CommandResult;
use super::target;
use super::view::complain_of;

pub fn run(context: &Context, args: Export) -> CommandResult {
    let output = target::target(&context.out, args.output)?;
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
    let shown = match output {
        None => {
            let exported = replica.export(&options, replica.patient(target::stdout()?))?;
            context.say_notes(&replica);
            context.out.say(&exported);
            if !exported.readable.is_encrypted() && target::stdout_is_a_file() {
                target::warn_of_plain_file(
                    context,
                    &replica,
                    "the file to which standard output goes",
                    "-o FILE or --encrypt encrypts it",
                )?;
            }
            context.out.document(&target::written_json(&[], &report))
        }
        Some(path) => {
            let written = replica.export_to_file(&options, &path)?;
            context.say_notes(&replica);
            target::tell_written(context, &written);
            if let Some((path, _)) = written.iter().find(|(path, one)| !one.readable.is_encrypted() && path.is_file()) {
                let instead =
                    "--encrypt encrypts it, and so does -o where neither --plain nor config.toml says otherwise";
                target::warn_of_plain_file(context, &replica, &path.display().to_string(), instead)?;
            }
            context.out.document(&target::written_json(&written, &report))
        }
    };
    complain_of(&report).map(|()| shown)
}
