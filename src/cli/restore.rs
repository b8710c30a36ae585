//! `mailsync restore`

use mailsync::error::ErrorKind;
use mailsync::replica::{Hook, Replica, RestoreOptions};
use mailsync::text::{plural, printable};

use super::args::{Restore, dry_run};
use super::context::Context;
use super::document::past;
use super::failure::{CommandResult, Failure};
use super::hooks;
use super::output::Output;
use super::view::complain_of;

pub fn run(context: &Context, args: Restore) -> CommandResult {
    let since = args.since.as_ref().map(|moment| context.millis(moment)).transpose()?;
    let options = RestoreOptions { names: args.names, since, dry_run: dry_run(args.dry_run) };
    let replica = context.write()?;
    let result = restore(context, &replica, &options, args.dry_run);
    if args.dry_run { result } else { hooks::after(context, replica, Hook::AfterImport, result) }
}

fn restore(context: &Context, replica: &Replica, options: &RestoreOptions, dry: bool) -> CommandResult {
    let mut items: Vec<past::RestoreItem> = Vec::new();
    let done = replica.bring_back(options, &mut |item| {
        if context.out.json() {
            items.push(item.into());
        } else if dry {
            let whence = if item.here { "from this machine" } else { "from peers" };
            context.out.say(format_args!("{}  {}  {whence}", item.digest, printable(item.folder.as_str())));
        }
        Ok(())
    })?;
    context.say_notes(replica);
    let something = done.restored + done.wanted + done.folders > 0;
    for error in &done.left {
        Output::complain(error);
    }
    if !something && done.left.is_empty() && done.scan.problems.is_empty() {
        context.out.say(format_args!("nothing of that has vanished; {}", Replica::removed_before(None, options.since)));
    } else if something {
        let would = if dry { "would be " } else { "" };
        context.out.say(format_args!(
            "{would}back from this machine: {}; {would}asked for from peers, by the next bundles from here: {}; {would}made \
             again: {}",
            plural(done.restored, "message"),
            plural(done.wanted, "message"),
            plural(done.folders, "folder")
        ));
    }
    let shown = context.out.document(&past::Restore::of(&done, items));
    complain_of(&done.scan)?;
    if done.left.is_empty() { Ok(shown) } else { Err(Failure::Said(ErrorKind::Failed)) }
}
