//! `mailsync purge`

use super::args;
use super::context::Context;
use super::document::upkeep;
use super::failure::CommandResult;

pub fn run(context: &Context, args: &args::Purge) -> CommandResult {
    let replica = context.write()?;
    let purged = replica.purge(args::doubts(args.anyway))?;
    context.say_notes(&replica);
    context.out.say(format_args!("forgot {purged}"));
    Ok(context.out.document(&upkeep::Purge::from(purged)))
}
