//! `mailsync purge`

use serde_json::json;

use super::output::{Output, bytes};
use super::{Context, Outcome};

pub fn run(context: &Context) -> Outcome {
    let replica = context.write()?;
    let purged = replica.purge()?;
    context.say_notes(&replica);
    context.out.say(format_args!(
        "forgot {} removals that every peer knows of ({} are still needed), {} messages in the trash ({}), {} jobs and {} lines of history",
        purged.tombstones,
        purged.tombstones_kept,
        purged.trashed,
        bytes(purged.trashed_bytes),
        purged.jobs,
        purged.history
    ));
    if !context.out.json() {
        return Ok(());
    }
    Output::print_json(&json!({
        "tombstones": purged.tombstones,
        "tombstones_kept": purged.tombstones_kept,
        "trashed": purged.trashed,
        "trashed_bytes": purged.trashed_bytes,
        "jobs": purged.jobs,
        "history": purged.history,
    }))
}
