//! `mailsync export`

use std::io::{self, IsTerminal};
use std::path::Path;

use mailsync::error::Error;
use mailsync::replica::{ExportOptions, Fullness, Replica, ScanOptions, ScanReport, To};

use super::args::Export;
use super::context::Context;
use super::failure::Outcome;

pub fn run(context: &Context, mut args: Export) -> Outcome {
    args.output = args.output.filter(|output| output != Path::new("-"));
    if args.output.is_none() {
        refuse_terminal()?;
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
        ..ExportOptions::default()
    };
    check_split(args.split, args.output.as_deref())?;
    let replica = context.write()?;
    let report = if args.no_scan { ScanReport::default() } else { replica.scan(&ScanOptions::default())? };
    match args.output {
        None => to_stdout(context, &replica, &options)?,
        Some(path) => {
            let written = replica.export_to_file(&options, &path)?;
            context.say_notes(&replica);
            for (path, exported) in written {
                context.out.say(format_args!("wrote {}: {exported}", path.display()));
            }
        }
    }
    super::scan::complain_of(&report)
}

/// Writes a bundle to standard output.
pub fn to_stdout(context: &Context, replica: &Replica, options: &ExportOptions) -> Outcome {
    let out = io::BufWriter::with_capacity(256 << 10, io::stdout().lock());
    let exported = replica.export(options, out)?;
    context.say_notes(replica);
    context.out.say(&exported);
    Ok(())
}

/// Several bundles need a directory.
pub fn check_split(split: Option<u64>, output: Option<&Path>) -> Outcome {
    if split.is_some() && !output.is_some_and(Path::is_dir) {
        let error = Error::usage("writing bundles with --split: there may be several of them")
            .advise("give a directory that exists with -o DIR");
        return Err(error.into());
    }
    Ok(())
}

/// A bundle is never written to a terminal.
pub fn refuse_terminal() -> Outcome {
    if io::stdout().is_terminal() {
        let error = Error::usage("writing the bundle: standard output is a terminal")
            .advise("redirect it to a file, pipe it to another machine, or use -o");
        return Err(error.into());
    }
    Ok(())
}
