//! A command line with which no command is done: it asks for help or the version, or makes no sense. Who wants documents gets one
//! then, too.

use std::ffi::OsString;

use clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
use mailsync::error::ErrorKind;
use mailsync::{bundle, state};

use super::args::{Unparsed, version};
use super::document::upkeep::{Help, Versions};
use super::document::{self, Documents, Form};
use super::output::Output;

/// Tells people what they asked for, or what is wrong; or puts it into a document. The result is what is still to be printed, and
/// how it ends.
pub fn answer(Unparsed { answer, wrong }: &Unparsed) -> (Output, Option<ErrorKind>) {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let json = wants_documents(&args);
    let is_help = wrong.is_none() || answer.kind() == DisplayHelpOnMissingArgumentOrSubcommand;
    if is_help && (wrong.is_some() || !json) {
        // If this fails, there is nobody left to tell.
        let _ = answer.print();
    }
    let of = |command| Output::new(json.then(|| Documents::new(command, None, Form::Whole)), true);
    if let Some(wrong) = wrong {
        // Whoever has typed no command is shown which there are.
        if is_help {
            document::note(wrong);
        } else {
            Output::complain(wrong);
        }
        return (of(None), Some(ErrorKind::Usage));
    }
    let out = if answer.kind() == clap::error::ErrorKind::DisplayVersion {
        let out = of(Some("--version"));
        let _ = out.document(&Versions {
            mailsync: env!("CARGO_PKG_VERSION").to_owned(),
            commit: version::commit().map(str::to_owned),
            bundle_format: bundle::VERSION,
            state_version: state::VERSION,
        });
        out
    } else {
        let out = of(Some("--help"));
        let _ = out.document(&Help { text: answer.render().to_string() });
        out
    };
    (out, None)
}

/// Whether documents are wanted, as far as that can be told of arguments that make no sense. What stands behind `--` is no option,
/// and what stands behind `uux` and a peer is another program's.
fn wants_documents(args: &[OsString]) -> bool {
    let ours = args.iter().position(|arg| arg == "--").map_or(args, |end| &args[..end]);
    let is_word = |arg: &&OsString| !arg.as_encoded_bytes().starts_with(b"-");
    let uux = ours.iter().position(|arg| arg == "uux");
    let command = uux.and_then(|uux| {
        let mut words = ours.iter().enumerate().skip(uux + 1).filter(|(_, arg)| is_word(arg));
        words.nth(1).map(|(at, _)| at)
    });
    ours[..command.unwrap_or(ours.len())].iter().any(|arg| arg == "--json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_wanted_by_an_option_that_is_our_own() {
        for (line, wanted) in [
            ("--json", true),
            ("scan --shallow --json", true),
            ("scan --shallow", false),
            ("scan --shallow -- --json", false),
            ("--json --shallow uux desktop ls", true),
            ("--shallow uux --json desktop ls", true),
            ("--shallow uux desktop --json ls", true),
            ("--shallow uux desktop ls --json", false),
            ("--json uux", true),
        ] {
            let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert_eq!(wants_documents(&args), wanted, "{line}");
        }
    }
}
