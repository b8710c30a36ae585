//! The command line: what each command's words mean, one call into the library for each, and its result as text or JSON.
//! Data goes to standard output, everything that is said to people to standard error.

mod args;
mod doctor;
mod export;
mod import;
mod init;
mod inspect;
mod invite;
mod jobs;
mod join;
mod log;
mod meter;
mod output;
mod peer;
mod purge;
mod scan;
mod status;
mod trash;
mod update;
mod uux;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use mailsync::error::{Error, ErrorKind, Result};
use mailsync::replica::{Access, Home, Replica, World};

use args::{Args, Command};
use output::Output;

/// What every command is given.
struct Context {
    home: Option<std::path::PathBuf>,
    lock_timeout: Duration,
    out: Output,
}

impl Context {
    fn home(&self) -> Result<Home> {
        self.home.clone().map_or_else(Home::standard, |dir| Ok(Home::at(absolute(&dir)?)))
    }

    fn world(&self) -> World {
        World { meter: meter::of(self.out.quiet()), ..World::real() }
    }

    fn open(&self, access: Access) -> Result<Replica> {
        let replica = Replica::open(&self.home()?, self.world(), access)?;
        self.say_notes(&replica);
        Ok(replica)
    }

    fn read(&self) -> Result<Replica> {
        self.open(Access::Read)
    }

    fn write(&self) -> Result<Replica> {
        self.open(Access::Write(self.lock_timeout))
    }

    /// Tells what a command found worth knowing.
    fn say_notes(&self, replica: &Replica) {
        for note in replica.take_notes() {
            self.out.say(format_args!("note: {note}"));
        }
    }
}

fn absolute(path: &std::path::Path) -> Result<std::path::PathBuf> {
    std::path::absolute(path).map_err(|error| Error::io("finding", path, error))
}

/// Runs the command line that the process was started with.
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let code = if error.use_stderr() { ErrorKind::Usage.exit_code() } else { 0 };
            // Nobody is left to be told if this fails.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let context = Context {
        home: args.global.home,
        lock_timeout: Duration::from_secs(args.global.lock_timeout),
        out: Output::new(args.global.json, args.global.quiet),
    };
    // A bundle on standard output is no JSON, whole or not.
    let documents = args.global.json && !matches!(args.command, Command::Export(_) | Command::Invite(_));
    let result = match args.command {
        Command::Init(args) => init::run(&context, args),
        Command::Invite(args) => invite::run(&context, args),
        Command::Join(args) => join::run(&context, args),
        Command::Peer(args) => peer::run(&context, args),
        Command::Scan(args) => scan::run(&context, &args),
        Command::Export(args) => export::run(&context, args),
        Command::Import(args) => import::run(&context, args),
        Command::Update(args) => update::run(&context, &args),
        Command::Uux(args) => uux::run(&context, args),
        Command::Jobs(args) => jobs::run(&context, &args),
        Command::Purge => purge::run(&context),
        Command::Status => status::run(&context),
        Command::Log(args) => log::run(&context, &args),
        Command::Inspect(args) => inspect::inspect(&context, &args),
        Command::Verify(args) => inspect::verify(&context, &args),
        Command::Trash(args) => trash::run(&context, args),
        Command::Doctor(args) => doctor::run(&context, &args),
    };
    match result {
        // Whoever closed the output has seen enough.
        Ok(()) | Err(Failure::BrokenPipe) => ExitCode::SUCCESS,
        Err(Failure::Said(kind)) => ExitCode::from(kind.exit_code()),
        Err(Failure::Error(error)) => {
            Output::complain(&error);
            if documents {
                Output::print_error_in_json(&error);
            }
            ExitCode::from(error.kind().exit_code())
        }
    }
}

/// Why a command doesn't end well.
enum Failure {
    /// This still has to be said.
    Error(Error),
    /// Everything was said already.
    Said(ErrorKind),
    /// Standard output was closed.
    BrokenPipe,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

type Outcome = std::result::Result<(), Failure>;
