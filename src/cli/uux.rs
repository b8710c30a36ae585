//! `mailsync uux`

use std::ffi::OsString;
use std::io;

use mailsync::error::{Error, Result};

use super::args::Uux;
use super::context::Context;
use super::document::jobs::Requested;
use super::failure::CommandResult;

pub fn run(context: &Context, args: Uux) -> CommandResult {
    let command = args.command.into_iter().map(text).collect::<Result<Vec<String>>>()?;
    if command[0].is_empty() {
        return Err(Error::usage("asking for a command: its name is empty")
            .advise("give the name of a command")
            .into());
    }
    let id = context.read()?.uux(&args.peer, &command, &mut io::stdin().lock())?;
    if context.out.json() {
        return Ok(context.out.document(&Requested { id: id.to_string() }));
    }
    context.out.print([id.to_string()])
}

fn text(arg: OsString) -> Result<String> {
    arg.into_string().map_err(|arg| {
        Error::usage(format!("asking for a command: the argument {} is not UTF-8", arg.display()))
            .advise("put data that is not text on standard input")
    })
}
