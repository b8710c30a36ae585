//! `mailsync undo`

use mailsync::error::{Error, Result};
use mailsync::replica::{Hook, Replica, UndoItem, UndoOptions};
use mailsync::text::{plural, printable};

use super::args::{Undo, dry_run};
use super::context::Context;
use super::document::past;
use super::failure::{CommandResult, Failure};
use super::hooks;
use super::output::Output;
use super::view::{complain_of, signed};

pub fn run(context: &Context, args: Undo) -> CommandResult {
    let options = UndoOptions {
        since: context.millis(&args.since)?,
        by: args.by,
        folder: args.folder,
        dry_run: dry_run(args.dry_run),
    };
    let replica = context.write()?;
    let result = undo(context, &replica, &options, args.dry_run);
    if args.dry_run { result } else { hooks::after(context, replica, Hook::AfterImport, result) }
}

fn undo(context: &Context, replica: &Replica, options: &UndoOptions, dry: bool) -> CommandResult {
    let mut items: Vec<past::UndoneItem> = Vec::new();
    let done = replica.undo(options, &mut |item| {
        if context.out.json() {
            items.push(item.into());
        } else if dry || !item.left.is_empty() {
            context.out.say(line(replica, item)?);
        }
        Ok(())
    })?;
    context.say_notes(replica);
    let would = if dry { "would be " } else { "" };
    if done.moved + done.flagged > 0 {
        context.out.say(format_args!(
            "{would}taken back of what {} has done: {}, {}",
            done.by,
            plural(done.moved, "move"),
            plural(done.flagged, "change") + " of flags"
        ));
    }
    if done.left > 0 {
        context.out.say(format_args!("left as they are: {}", plural(done.left, "message")));
    }
    if done.gone > 0 {
        context.out.say(format_args!(
            "removed since: {}; `mailsync trash restore --by` brings back what somebody has removed",
            plural(done.gone, "message")
        ));
    }
    if done.by_unknown > 0 {
        let was = if done.by_unknown == 1 { "was" } else { "were" };
        context.out.say(format_args!(
            "{} {was} moved or flagged since then by somebody unknown here, who may be it, and {} as {}; `mailsync log --folder FOLDER \
             --since TIME` shows them, and by whose ID that was, and `mailsync undo --by ID --since TIME` takes it back",
            plural(done.by_unknown, "message"),
            if done.by_unknown == 1 { "stays" } else { "stay" },
            if done.by_unknown == 1 { "it is" } else { "they are" }
        ));
    }
    let shown = context.out.document(&past::Undo::of(&done, items));
    complain_of(&done.scan)?;
    if done.moved + done.flagged > 0 {
        return Ok(shown);
    }
    let error = Error::failed(format!(
        "undoing what {} has done: it has moved and flagged nothing since then that could be taken back",
        printable(&done.by)
    ))
    .advise("see what it did with `mailsync log --folder FOLDER`, or go further back with --since");
    Output::complain(&error);
    Err(Failure::Said(error.kind()))
}

/// What is taken back of one message, and what isn't.
fn line(replica: &Replica, item: &UndoItem) -> Result<String> {
    let headline = replica.headline(&item.digest)?.unwrap_or_default();
    let mut parts = vec![printable(item.folder.as_str())];
    parts.extend(item.back_to.iter().map(|folder| format!("-> {}", printable(folder.as_str()))));
    parts.extend(item.flags.iter().map(|back| signed(&back.flag, back.on)));
    parts.push(format!(" {}  {headline}", &item.digest.to_string()[..12]));
    let left = item.left.iter().map(|left| match &left.flag {
        Some(flag) => format!("; left: {flag}: {}", left.why),
        None => format!("; left: {}", left.why),
    });
    Ok(parts.join(" ") + &left.collect::<String>())
}
