//! `mailsync doctor`

use mailsync::replica::{Hook, Mending, MoveOptions, RepairOptions, Replica};
use mailsync::text::plural;

use super::args::{Doctor, Listing, dry_run, mass_delete};
use super::changes::Changes;
use super::context::Context;
use super::document::upkeep::{self, MendedItem, StampedAnew};
use super::failure::CommandResult;
use super::hooks;
use super::view::ended;

pub fn run(context: &Context, args: &Doctor) -> CommandResult {
    let replica = match (args.repair, args.moved_root) {
        (true, _) => context.repair()?,
        (_, true) => context.moved()?,
        _ => context.write()?,
    };
    let result = examine(context, &replica, args);
    if args.dry_run { result } else { hooks::after(context, replica, Hook::AfterImport, result) }
}

fn examine(context: &Context, replica: &Replica, args: &Doctor) -> CommandResult {
    replica.check_state()?;
    if !args.repair {
        replica.check_entries()?;
    }
    context.out.say("the state database is whole");
    let mut stamped = None;
    if args.new_identity {
        let changed = replica.new_identity()?;
        context.say_notes(replica);
        context.out.say(format_args!(
            "this replica goes on as a new incarnation; {} and {} were stamped anew",
            plural(changed.entries, "entry"),
            plural(changed.folders, "folder")
        ));
        stamped = Some(StampedAnew::from(changed));
    }
    match (args.repair, args.moved_root) {
        (true, _) => repair(context, replica, args, stamped),
        (_, true) => move_root(context, replica, args, stamped),
        _ => Ok(context.out.document(&upkeep::Doctor { stamped_anew: stamped, ..upkeep::Doctor::default() })),
    }
}

fn move_root(context: &Context, replica: &Replica, args: &Doctor, stamped: Option<StampedAnew>) -> CommandResult {
    let options = MoveOptions { dry_run: dry_run(args.dry_run), mass_delete: mass_delete(args.allow_mass_delete) };
    let mut changes = Changes::begin(context, replica, listing(args))?;
    let mut work = || {
        let report = replica.move_root(&options)?;
        context.say_notes(replica);
        let would = if args.dry_run { "would record: " } else { "" };
        let root = replica.config().mail_root.display();
        context.out.say(format_args!("{would}the mail is in {root}: {report}"));
        changes.tell(replica)?;
        Ok(report)
    };
    let report = if args.dry_run { replica.rehearse(work)? } else { work()? };
    let shown = context.out.document(&upkeep::Doctor::moved(stamped, &report, changes.documents()));
    ended(&report).map(|()| shown)
}

/// Which messages are told, one by one.
fn listing(args: &Doctor) -> Listing {
    Listing { verbose: args.verbose, list: false }
}

fn repair(context: &Context, replica: &Replica, args: &Doctor, stamped: Option<StampedAnew>) -> CommandResult {
    let options = RepairOptions { dry_run: dry_run(args.dry_run), mass_delete: mass_delete(args.allow_mass_delete) };
    let mut items: Vec<MendedItem> = Vec::new();
    let mut tell = |mending: &Mending| {
        if args.verbose && context.out.json() {
            items.push(mending.into());
        } else if args.verbose {
            context.out.say(&mending.what);
        }
    };
    let mut changes = Changes::begin(context, replica, listing(args))?;
    let mut work = || {
        let repaired = replica.repair(&options, &mut tell)?;
        context.say_notes(replica);
        let would = if args.dry_run && repaired.has_changes() { "would repair: " } else { "" };
        context.out.say(format_args!("{would}{repaired}"));
        changes.tell(replica)?;
        Ok(repaired)
    };
    let repaired = if args.dry_run { replica.rehearse(work)? } else { work()? };
    let items = args.verbose.then_some(items);
    let shown = context.out.document(&upkeep::Doctor::repaired(stamped, &repaired, items, changes.documents()));
    ended(&repaired.scan).map(|()| shown)
}
