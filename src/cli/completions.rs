//! `mailsync completions`, and the answers to a shell that has run its lines.

use std::process::ExitCode;

use clap_complete::env::{CompleteEnv, EnvCompleter, Shells};
use mailsync::error::{Error, ErrorKind};

use super::args::{Args, Shell};
use super::context::Context;
use super::document::upkeep;
use super::failure::CommandResult;

/// The environment variable by which a shell asks what could come next.
const ASKED: &str = "MAILSYNC_COMPLETE";

/// Answers a shell, if one has asked.
pub fn answer() -> Option<ExitCode> {
    std::env::var_os(ASKED)?;
    let shell = CompleteEnv::with_factory(Args::line).var(ASKED);
    match shell.try_complete(std::env::args_os(), std::env::current_dir().ok().as_deref()) {
        Ok(true) => Some(ExitCode::SUCCESS),
        Ok(false) => None,
        Err(error) => {
            // If this fails, there is nobody left to tell.
            let _ = error.print();
            Some(ExitCode::from(ErrorKind::Usage.exit_code()))
        }
    }
}

/// Prints the lines that a shell runs.
pub fn run(context: &Context, shell: Shell) -> CommandResult {
    let name = match shell {
        Shell::Bash => "bash",
        Shell::Fish => "fish",
        Shell::Zsh => "zsh",
    };
    let shells = Shells::builtins();
    let completer: &dyn EnvCompleter = shells.completer(name).expect("these shells are among the built-in ones");
    let mut lines = Vec::new();
    completer
        .write_registration(ASKED, "mailsync", "mailsync", "mailsync", &mut lines)
        .map_err(|error| Error::os("writing the lines of the shell", error))?;
    let lines = String::from_utf8_lossy(&lines);
    if context.out.json() {
        return Ok(context.out.document(&upkeep::Completions { script: lines.into_owned() }));
    }
    context.out.print(lines.lines().map(str::to_owned))
}
