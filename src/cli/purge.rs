//! `mailsync purge`

use mailsync::text::{bytes, plural};

use super::args;
use super::context::Context;
use super::document::upkeep;
use super::failure::CommandResult;

pub fn run(context: &Context, args: &args::Purge) -> CommandResult {
    let replica = context.write()?;
    let purged = replica.purge(args::doubts(args.anyway))?;
    context.say_notes(&replica);
    context.out.say(format_args!(
        "forgot {} that every peer knows of ({} still needed){}, {} in the trash ({}), {} and {} of history",
        plural(purged.tombstones, "removal"),
        purged.tombstones_kept,
        if purged.folders > 0 { format!(", {}", plural(purged.folders, "removed folder")) } else { String::new() },
        plural(purged.trashed, "message"),
        bytes(purged.trashed_bytes),
        plural(purged.jobs, "job"),
        plural(purged.history, "line")
    ));
    Ok(context.out.document(&upkeep::Purge::from(purged)))
}
