//! A command line with which no command is done: it asks for help or the version, or makes no sense. Who wants documents gets one
//! then, too.

use std::ffi::{OsStr, OsString};

use clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
use clap::{ColorChoice, Command, ValueEnum};
use mailsync::error::ErrorKind;
use mailsync::{bundle, state};

use super::args::{Args, Unparsed, version};
use super::document::upkeep::{Help, Versions};
use super::document::{self, Documents, Form};
use super::output::Output;
use super::screen;

/// Tells people what they asked for, or what is wrong; or puts it into a document. The result is what is still to be printed, and
/// how it ends.
pub fn answer(Unparsed { answer, wrong }: &Unparsed) -> (Output, Option<ErrorKind>) {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let ours = our_own(&args);
    let json = wants_documents(ours);
    // The parser asks there, too.
    screen::colour(wanted_colours(ours), json);
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

/// The arguments that are mailsync's own, as far as that can be told of some that make no sense. What stands behind `--` is no
/// option, and what stands behind `uux` and a peer is another program's.
fn our_own(args: &[OsString]) -> &[OsString] {
    let ours = args.iter().position(|arg| arg == "--").map_or(args, |end| &args[..end]);
    let Some(uux) = ours.iter().position(|arg| arg == "uux") else { return ours };
    let line = Args::line();
    let is_word = |at: &usize| {
        !ours[*at].as_encoded_bytes().starts_with(b"-") && !takes_the_next_word(&ours[at.saturating_sub(1)], &line)
    };
    let command = (uux + 1..ours.len()).filter(is_word).nth(1);
    &ours[..command.unwrap_or(ours.len())]
}

/// Whether the word behind an argument is the value of that, which is an option of all commands or of `uux`.
fn takes_the_next_word(arg: &OsStr, line: &Command) -> bool {
    let Some(option) = arg.to_str().and_then(|arg| arg.strip_prefix('-')) else { return false };
    let is_it = |known: &clap::Arg| match option.strip_prefix('-') {
        Some(long) => known.get_long() == Some(long),
        None => known.get_short().is_some_and(|short| option == short.to_string()),
    };
    let of_uux = line.find_subcommand("uux").into_iter().flat_map(Command::get_arguments);
    line.get_arguments().chain(of_uux).any(|known| is_it(known) && known.get_action().takes_values())
}

fn wants_documents(ours: &[OsString]) -> bool {
    ours.iter().any(|arg| arg == "--json")
}

/// When colours are to be used. What isn't one of the values is what is wrong, and says nothing about that.
fn wanted_colours(ours: &[OsString]) -> ColorChoice {
    let mut args = ours.iter().filter_map(|arg| arg.to_str()).peekable();
    let wanted = std::iter::from_fn(|| {
        let arg = args.next()?;
        Some(match arg.strip_prefix("--color") {
            Some("") => args.peek().copied(),
            Some(value) => value.strip_prefix('='),
            None => None,
        })
    });
    wanted.flatten().find_map(|value| ColorChoice::from_str(value, false).ok()).unwrap_or_default()
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
            ("--shallow uux --lock-timeout 5 desktop --json ls", true),
            ("--shallow uux --lock-timeout=5 desktop ls --json", false),
        ] {
            let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert_eq!(wants_documents(our_own(&args)), wanted, "{line}");
        }
    }

    #[test]
    fn colours_are_as_an_option_says_that_is_our_own() {
        for (line, wanted) in [
            ("--color never bogus", ColorChoice::Never),
            ("bogus --color never", ColorChoice::Never),
            ("bogus --color=always", ColorChoice::Always),
            ("bogus --color=auto", ColorChoice::Auto),
            ("bogus", ColorChoice::Auto),
            ("bogus --color", ColorChoice::Auto),
            ("bogus --color sometimes", ColorChoice::Auto),
            ("bogus --color --color=never", ColorChoice::Never),
            ("bogus --colors=never --colors never", ColorChoice::Auto),
            ("bogus -- --color never", ColorChoice::Auto),
            ("uux --bogus desktop --color never ls", ColorChoice::Never),
            ("uux --bogus desktop ls --color never", ColorChoice::Auto),
        ] {
            let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert_eq!(wanted_colours(our_own(&args)), wanted, "{line}");
        }
    }
}
