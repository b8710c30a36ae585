//! A command line that makes no sense: what is wrong with it, and what may be meant, in the form that all errors have.

use std::ffi::OsString;

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use mailsync::error::Error;
use mailsync::text::{nearest, printable};

use super::verbs::{self, meant_by};

/// The error about a command line, of which `typed` is what stands behind the program's name.
pub fn told(wrong: &clap::Error, typed: &[OsString], line: &Command) -> Error {
    let at = Place::of(wrong, typed, line);
    let about = if at.words.is_empty() { String::new() } else { format!("{}: ", at.words.join(" ")) };
    let (what, meant) = match wrong.kind() {
        ErrorKind::InvalidSubcommand => at.no_command(&text(wrong, ContextKind::InvalidSubcommand)),
        ErrorKind::UnknownArgument => at.no_argument(&text(wrong, ContextKind::InvalidArg), typed, line),
        // The text of the first is the help.
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            (String::from("a command is missing"), None)
        }
        _ => (in_words_of_the_parser(wrong), near_value(wrong)),
    };
    let wants_usage = matches!(
        wrong.kind(),
        ErrorKind::MissingRequiredArgument | ErrorKind::TooManyValues | ErrorKind::WrongNumberOfValues
    ) || (wrong.kind() == ErrorKind::UnknownArgument && meant.is_none());
    let mut advice = match meant {
        Some(question) if question.ends_with('?') => question + " ",
        Some(meant) => meant + "; ",
        None => String::new(),
    };
    if wants_usage {
        advice = format!("{advice}it is used as `{}`; ", at.usage());
    }
    let command = ["mailsync"].into_iter().chain(at.words.iter().map(String::as_str)).collect::<Vec<_>>().join(" ");
    Error::usage(format!("{about}{what}")).advise(format!("{advice}see `{command} --help`"))
}

/// The command in whose words something is wrong.
struct Place<'l> {
    command: &'l Command,
    /// Its words, without the program's name.
    words: Vec<String>,
}

impl<'l> Place<'l> {
    /// The parser names it where it says how it is used, and doesn't always say that.
    fn of(wrong: &clap::Error, typed: &[OsString], line: &'l Command) -> Self {
        let usage = match wrong.get(ContextKind::Usage) {
            Some(ContextValue::StyledStr(usage)) => usage.to_string(),
            _ => String::new(),
        };
        let mut place = Self { command: line, words: Vec::new() };
        for word in usage.split_whitespace().skip_while(|word| *word != line.get_name()).skip(1) {
            if !place.enters(word) {
                break;
            }
        }
        if place.words.is_empty() && usage.is_empty() {
            place.follow(typed, line);
        }
        place
    }

    /// Whether a word is that of a command here.
    fn enters(&mut self, word: &str) -> bool {
        let Some(inner) = self.command.find_subcommand(word) else { return false };
        self.command = inner;
        self.words.push(word.to_owned());
        true
    }

    /// Follows what was typed, up to the first word that is no command.
    fn follow(&mut self, typed: &[OsString], line: &Command) {
        let mut words = typed.iter().map(|word| word.to_string_lossy());
        while let Some(word) = words.next() {
            if !word.starts_with('-') {
                if !self.enters(&word) {
                    break;
                }
                continue;
            }
            let is_it = |arg: &&clap::Arg| match (word.strip_prefix("--"), arg.get_long(), arg.get_short()) {
                (Some(typed), Some(long), _) => typed == long,
                (None, _, Some(short)) => word[1..] == *short.to_string(),
                _ => false,
            };
            let arg = self.command.get_arguments().chain(line.get_arguments()).find(is_it);
            if arg.is_some_and(|arg| arg.get_action().takes_values()) {
                words.next();
            }
        }
    }

    /// How it is used, whatever was typed and is in the environment.
    fn usage(&self) -> String {
        let usage = self.command.clone().render_usage().to_string();
        usage.trim_start_matches("Usage: ").split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn no_command(&self, verb: &str) -> (String, Option<String>) {
        let names = self.command.get_subcommands().map(Command::get_name);
        let meant = match (self.words.is_empty(), meant_by(&verb.to_ascii_lowercase())) {
            (true, Some(meant)) => Some(meant.to_owned()),
            _ => nearest(verb, names).map(|name| format!("did you mean {name}?")),
        };
        (format!("there is no command called {}", printable(verb)), meant)
    }

    fn no_argument(&self, arg: &str, typed: &[OsString], line: &Command) -> (String, Option<String>) {
        if !arg.starts_with('-') {
            return (format!("{} is one argument too many", printable(arg)), None);
        }
        let option = as_typed(arg, typed);
        let what = format!("there is no option {}", printable(&option));
        let name = option.trim_start_matches('-').split('=').next().unwrap_or_default();
        if name == "allow-mass-delete" {
            return (what, Some(verbs::MASS_DELETE.to_owned()));
        }
        let longs: Vec<&str> = self.command.get_arguments().filter_map(clap::Arg::get_long).collect();
        let meant = nearest(name, longs.iter().copied()).filter(|_| name.chars().count() > 1);
        let meant = meant.map(|long| format!("did you mean --{long}?")).or_else(|| elsewhere(name, line));
        (what, meant)
    }
}

/// The value that is meant by one that an option doesn't take.
fn near_value(wrong: &clap::Error) -> Option<String> {
    let Some(ContextValue::Strings(valid)) = wrong.get(ContextKind::ValidValue) else { return None };
    let given = text(wrong, ContextKind::InvalidValue);
    nearest(&given, valid.iter().map(String::as_str)).map(|value| format!("did you mean {value}?"))
}

/// The commands of which something is an option, if it is one of few.
fn elsewhere(name: &str, line: &Command) -> Option<String> {
    const FEW: usize = 3;
    let has = |command: &&Command| command.get_arguments().any(|arg| arg.get_long() == Some(name));
    let commands: Vec<String> =
        line.get_subcommands().filter(has).map(|command| format!("`mailsync {}`", command.get_name())).collect();
    (1..=FEW).contains(&commands.len()).then(|| format!("--{name} is an option of {}", commands.join(", ")))
}

/// An option as it was typed. The parser takes `-word` for `-w -o -r -d`, and complains of the first that it doesn't know.
fn as_typed(arg: &str, typed: &[OsString]) -> String {
    let letter = arg.strip_prefix('-').filter(|rest| rest.chars().count() == 1);
    let is_it = |word: &&str| {
        word.strip_prefix('-').is_some_and(|rest| {
            !rest.starts_with('-') && rest.chars().count() > 2 && letter.is_some_and(|letter| rest.contains(letter))
        })
    };
    let word = typed.iter().take_while(|word| *word != "--").filter_map(|word| word.to_str()).find(is_it);
    word.unwrap_or(arg).to_owned()
}

fn text(wrong: &clap::Error, kind: ContextKind) -> String {
    match wrong.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    }
}

/// What the parser says, in one line, without how the command is used.
fn in_words_of_the_parser(wrong: &clap::Error) -> String {
    let words = wrong.render().to_string();
    // What is wrong may take several lines; behind an empty one comes how the command is used.
    let lines = words.trim().trim_start_matches("error: ").lines().take_while(|line| !line.is_empty());
    lines.map(str::trim).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Args;

    fn say(typed: &str) -> String {
        let mut line = Args::line();
        let words: Vec<OsString> = typed.split_whitespace().map(OsString::from).collect();
        let wrong = line.try_get_matches_from_mut([OsString::from("mailsync")].iter().chain(&words)).unwrap_err();
        told(&wrong, &words, &line).to_string()
    }

    #[test]
    fn what_makes_no_sense_is_told_in_one_line_with_what_may_be_meant() {
        for (typed, said) in [
            ("statsu", "there is no command called statsu; did you mean status? see `mailsync --help`"),
            ("frobnicate", "there is no command called frobnicate; see `mailsync --help`"),
            ("peer ad x", "peer: there is no command called ad; did you mean add? see `mailsync peer --help`"),
            ("log -removed", "log: there is no option -removed; did you mean --removed? see `mailsync log --help`"),
            ("log --remvoed", "log: there is no option --remvoed; did you mean --removed? see `mailsync log --help`"),
            (
                "export --consume",
                "export: there is no option --consume; --consume is an option of `mailsync import`; see `mailsync export --help`",
            ),
            (
                "scan --xyz",
                "scan: there is no option --xyz; it is used as `mailsync scan [OPTIONS] [FOLDERS]...`; see `mailsync scan --help`",
            ),
            (
                "status now",
                "status: now is one argument too many; it is used as `mailsync status [OPTIONS]`; see `mailsync status --help`",
            ),
            (
                "init",
                "init: the following required arguments were not provided: <MAIL_ROOT>; it is used as `mailsync init [OPTIONS] \
                 <MAIL_ROOT>`; see `mailsync init --help`",
            ),
            (
                "init x --layout fz",
                "init: invalid value 'fz' for '--layout <LAYOUT>' [possible values: maildir++, fs]; see `mailsync init --help`",
            ),
            (
                "init x --layout Maildir++",
                "init: invalid value 'Maildir++' for '--layout <LAYOUT>' [possible values: maildir++, fs]; did you mean maildir++? \
                 see `mailsync init --help`",
            ),
            (
                "export --full --since-last",
                "export: the argument '--full' cannot be used with '--since-last'; see `mailsync export --help`",
            ),
            (
                "--home /x -q export --level 99",
                "export: invalid value '99' for '--level <LEVEL>': a whole number is expected, from 1 to 22; see \
                 `mailsync export --help`",
            ),
            ("peer", "peer: a command is missing; see `mailsync peer --help`"),
        ] {
            assert_eq!(say(typed), said, "{typed}");
        }
        // It is near to `watch`, and has nothing to do with that.
        assert!(!say("search").contains("watch"), "{}", say("search"));
    }
}
