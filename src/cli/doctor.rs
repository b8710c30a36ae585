//! `mailsync doctor`

use mailsync::error::Error;
use mailsync::text::plural;

use super::args::Doctor;
use super::context::Context;
use super::failure::Outcome;

pub fn run(context: &Context, args: &Doctor) -> Outcome {
    let replica = context.write()?;
    let wrong = replica.state().integrity()?;
    if let Some(first) = wrong.first() {
        let what = format!("checking {}: {first}", replica.state().path().display());
        return Err(Error::failed(what)
            .advise("put the state directory back from a backup; your mail itself was not touched")
            .into());
    }
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
