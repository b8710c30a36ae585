//! Hooks at the end of a command. Several commands have one.

use mailsync::error::ErrorKind;
use mailsync::replica::{Hook, Replica};

use super::context::Context;
use super::failure::{CommandResult, Failure};
use super::output::Output;

/// Runs the hook of a command that is done otherwise, and has ended so. A command that failed may have changed files, too.
pub fn after(context: &Context, replica: Replica, hook: Hook, result: CommandResult) -> CommandResult {
    let Some(kind) = run(context, replica, hook) else { return result };
    match result {
        Ok(_) => Err(Failure::Said(kind)),
        // The worst decides.
        Err(Failure::Said(other)) => Err(Failure::Said(kind.max(other))),
        Err(Failure::Error(error)) => {
            Output::complain(&error);
            Err(Failure::Said(kind.max(error.kind())))
        }
        Err(Failure::BrokenPipe) => Err(Failure::BrokenPipe),
    }
}

/// Runs a hook, and tells what its program has said. Returns how it failed, if it did, which is told.
pub fn run(context: &Context, replica: Replica, hook: Hook) -> Option<ErrorKind> {
    let ran = replica.run_hook(hook, &mut |finished| {
        for said in [&finished.stdout, &finished.stderr] {
            for line in String::from_utf8_lossy(&said.bytes).lines() {
                context.out.say(format_args!("{}: {line}", hook.key()));
            }
        }
    });
    match ran {
        Ok(()) => None,
        Err(error) => {
            Output::complain(&error);
            Some(error.kind())
        }
    }
}
