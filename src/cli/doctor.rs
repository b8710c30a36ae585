//! `mailsync doctor`

use mailsync::replica::{Mending, RepairOptions, Replica};
use mailsync::text::plural;
use serde_json::{Value, json};

use super::args::{Doctor, dry_run, mass_delete};
use super::context::Context;
use super::failure::CommandResult;
use super::output::Output;
use super::view::complain_of;

pub fn run(context: &Context, args: &Doctor) -> CommandResult {
    let replica = if args.repair { context.repair()? } else { context.write()? };
    replica.check_state()?;
    context.out.say("the state database is whole");
    if args.new_identity {
        let changed = replica.new_identity()?;
        context.say_notes(&replica);
        context.out.say(format_args!(
            "this replica goes on as a new incarnation; {} and {} were stamped anew",
            plural(changed.entries, "entry"),
            plural(changed.folders, "folder")
        ));
    }
    if args.repair { repair(context, &replica, args) } else { Ok(()) }
}

fn repair(context: &Context, replica: &Replica, args: &Doctor) -> CommandResult {
    let options = RepairOptions { dry_run: dry_run(args.dry_run), mass_delete: mass_delete(args.allow_mass_delete) };
    let mut items: Vec<Value> = Vec::new();
    let mut tell = |mending: &Mending| {
        if args.verbose && context.out.json() {
            items.push(json!({ "kind": mending.kind.name(), "what": mending.what }));
        } else if args.verbose {
            context.out.say(&mending.what);
        }
    };
    let repaired = replica.repair(&options, &mut tell)?;
    context.say_notes(replica);
    let would = if args.dry_run && repaired.has_changes() { "would repair: " } else { "" };
    context.out.say(format_args!("{would}{repaired}"));
    if context.out.json() {
        let mut document = json!(repaired);
        if args.verbose {
            document["items"] = Value::Array(items);
        }
        Output::print_json(&document)?;
    }
    complain_of(&repaired.scan)
}
