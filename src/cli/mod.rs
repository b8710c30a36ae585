//! The command line: it gives each command's arguments their meaning, calls into the library once, and shows the result
//! as text or JSON. Data goes to standard output, words for people go to standard error.

mod args;
mod changes;
mod code;
mod columns;
mod complete;
mod completions;
mod context;
mod deinit;
mod doctor;
mod document;
mod export;
mod failed_jobs;
mod failure;
mod holds;
mod hooks;
mod import;
mod init;
mod inspect;
mod invite;
mod job_runs;
mod jobs;
mod join;
mod key;
mod log;
mod mail_line;
mod man;
mod meter;
mod moment;
mod output;
mod peer;
mod prompt;
mod purge;
mod qr;
mod restore;
mod scan;
mod screen;
mod source;
mod status;
mod target;
mod trash;
mod undo;
mod unparsed;
mod update;
mod uux;
mod view;
mod voices;
mod watch;

use std::cell::RefCell;
use std::process::ExitCode;
use std::time::Duration;

use mailsync::error::ErrorKind;
use mailsync::process::outlive_large_files;

use args::{Args, Command};
use context::Context;
use document::Documents;
use failure::{CommandResult, Failure};
use output::Output;

/// Runs the command line that the process was started with.
pub fn main() -> ExitCode {
    if let Some(code) = completions::answer() {
        return code;
    }
    let args = match Args::read() {
        Ok(args) => args,
        Err(answer) => {
            let (out, kind) = unparsed::answer(&answer);
            return finish(&out, kind);
        }
    };
    screen::colour(args.global.color, args.global.json);
    // If the system doesn't let it, the signal does what it always does.
    let _ = outlive_large_files();
    screen::say_when_interrupted(args.command.only_looks());
    let context = Context {
        home: args.global.home,
        lock_timeout: Duration::from_secs(args.global.lock_timeout),
        out: Output::new(
            args.global
                .json
                .then(|| Documents::new(Some(args.command.words()), args.command.dry_run(), args.command.form())),
            args.global.quiet,
        ),
        hindrance: RefCell::default(),
        problems: RefCell::default(),
    };
    let result = run(&context, args.command);
    // All else was done: what a folder kept from being done, and what could not be read, is told last, and decides only if
    // nothing else went wrong.
    let left = context.problems.take().into_iter().chain(context.hindrance.take());
    let result = left.fold(result, |result, error| {
        Output::complain(&error);
        match result {
            // That a peer could not be reached is told by the exit code only if all else went well.
            Ok(_) | Err(Failure::Said(ErrorKind::Unreachable)) => Err(Failure::Said(error.kind())),
            failed => failed,
        }
    });
    let kind = match result {
        Ok(_) => None,
        // A reader who closed the output has seen enough.
        Err(Failure::BrokenPipe) => return ExitCode::SUCCESS,
        Err(Failure::Said(kind)) => Some(kind),
        Err(Failure::Error(error)) => {
            Output::complain(&error);
            Some(error.kind())
        }
    };
    finish(&context.out, kind)
}

/// Does what was typed.
fn run(context: &Context, command: Command) -> CommandResult {
    match command {
        Command::Init(args) => init::run(context, args),
        Command::Invite(args) => invite::run(context, args),
        Command::Join(args) => join::run(context, args),
        Command::Peer(args) => peer::run(context, args),
        Command::Key(args) => key::run(context, &args),
        Command::Scan(args) => scan::run(context, &args),
        Command::Export(args) => export::run(context, args),
        Command::Import(args) => import::run(context, &args),
        Command::Update(args) => update::run(context, &args),
        Command::Watch(args) => watch::run(context, &args),
        Command::Uux(args) => uux::run(context, args),
        Command::Jobs(args) => jobs::run(context, &args),
        Command::Purge(args) => purge::run(context, &args),
        Command::Status(args) => status::run(context, &args),
        Command::Log(args) => log::run(context, &args),
        Command::Inspect(args) => inspect::inspect(context, &args),
        Command::Verify(args) => inspect::verify(context, &args),
        Command::Restore(args) => restore::run(context, args),
        Command::Trash(args) => trash::run(context, args),
        Command::Undo(args) => undo::run(context, args),
        Command::Doctor(args) => doctor::run(context, &args),
        Command::Deinit(args) => deinit::run(context, args),
        Command::Completions { shell } => completions::run(context, shell),
        Command::Man { dir } => man::run(context, &dir),
    }
}

/// Prints the document, if one is wanted, and gives the exit code.
fn finish(out: &Output, kind: Option<ErrorKind>) -> ExitCode {
    let code = |kind: Option<ErrorKind>| ExitCode::from(kind.map_or(0, ErrorKind::exit_code));
    // That a peer could not be reached says that all else was done.
    let all_else = kind.filter(|kind| *kind != ErrorKind::Unreachable);
    match out.finish(kind) {
        Ok(()) | Err(Failure::BrokenPipe) => code(kind),
        Err(Failure::Said(failed)) => code(all_else.or(Some(failed))),
        Err(Failure::Error(error)) => {
            Output::complain(&error);
            code(all_else.or(Some(error.kind())))
        }
    }
}
