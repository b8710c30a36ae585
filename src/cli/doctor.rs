//! `mailsync doctor`

use mailsync::text::plural;

use super::args::Doctor;
use super::context::Context;
use super::failure::CommandResult;

pub fn run(context: &Context, args: &Doctor) -> CommandResult {
    let replica = context.write()?;
    replica.check_state()?;
    context.out.say("the state database is whole");
    if args.new_identity {
        let changed = replica.new_identity()?;
        context.out.say(format_args!(
            "this replica goes on as a new incarnation; {} and {} were stamped anew",
            plural(changed.entries, "entry"),
            plural(changed.folders, "folder")
        ));
    }
    Ok(())
}
