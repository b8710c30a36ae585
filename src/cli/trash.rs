//! `mailsync trash`

use std::path::Path;

use jiff::tz::TimeZone;
use mailsync::error::{Error, ErrorKind, Result};
use mailsync::replica::{Hook, Names, Replica, TrashItem, TrashOptions, TrashSelection, Trashed};
use mailsync::text::{bytes, plural, printable};

use super::args::{Trash, TrashCommand, WhichTrash, dry_run};
use super::columns::{Column, row};
use super::context::{Context, absolute};
use super::document::past::{FromTrash, InTrash, Trash as Listed, TrashRestored};
use super::failure::{CommandResult, Failure};
use super::hooks;
use super::moment::{local, local_short};
use super::output::Output;

/// The columns of the list, which fit 80 together.
const COLUMNS: [Column; 6] =
    [Column::right(5), Column::left(16), Column::left(9), Column::left(12), Column::left(13), Column::left(15)];

pub fn run(context: &Context, args: Trash) -> CommandResult {
    match args.command {
        TrashCommand::List { which } => list(context, &selection(context, which, Vec::new())?),
        TrashCommand::Show { id } => show(context, id),
        TrashCommand::Restore { ids, all: _, which, dry_run: dry, to } => {
            let options = TrashOptions { selection: selection(context, which, ids)?, dry_run: dry_run(dry) };
            restore(context, &options, dry, to.as_deref())
        }
    }
}

fn selection(context: &Context, which: WhichTrash, ids: Vec<(i64, i64)>) -> Result<TrashSelection> {
    Ok(TrashSelection {
        ids: (!ids.is_empty()).then_some(ids),
        folder: which.folder,
        since: which.since.map(|moment| context.millis(&moment)).transpose()?,
        by: which.by,
    })
}

fn list(context: &Context, selection: &TrashSelection) -> CommandResult {
    let replica = context.read()?;
    let zone = TimeZone::system();
    let (names, mut rows, mut lines) = (replica.names(), Vec::new(), Vec::new());
    replica.each_selected(selection, |trashed| {
        if context.out.json() {
            rows.push(document(&replica, &names, &trashed)?);
            return Ok(());
        }
        if lines.is_empty() {
            // The distance from UTC ends a time.
            let removed = format!("REMOVED ({})", local(trashed.removed, &zone).get(19..).unwrap_or("UTC"));
            lines.push(row(&COLUMNS, &["ID", &removed, "BY", "FOLDER", "FROM", "SUBJECT"]));
        }
        let headline = replica.headline_in(&replica.trash_file(&trashed)).unwrap_or_default();
        lines.push(row(
            &COLUMNS,
            &[
                &trashed.key.to_string(),
                &local_short(trashed.removed, &zone),
                &Replica::remover_in_short(&trashed, &names)?,
                trashed.folder.as_str(),
                headline.from.as_deref().unwrap_or("-"),
                headline.subject.as_deref().unwrap_or("-"),
            ],
        ));
        Ok(())
    })?;
    context.say_notes(&replica);
    if context.out.json() {
        return Ok(context.out.document(&Listed { trash: rows }));
    }
    if lines.is_empty() {
        context.out.say(nothing_there(&replica, selection)?);
    } else {
        say_unknown(context, &replica, selection)?;
    }
    context.out.print(lines)
}

/// That nothing was found, in words, and whether that may be for want of knowing whose it is.
fn nothing_there(replica: &Replica, selection: &TrashSelection) -> Result<String> {
    Ok(match replica.removed_by_unknown(selection)? {
        0 if is_all(selection) => String::from("the trash is empty"),
        0 => String::from("nothing of that is in the trash"),
        unknown => format!("nothing in the trash is known to be of that, but {}", by_unknown(unknown, "there")),
    })
}

/// Says what else in the trash may be of that, beside what was found.
fn say_unknown(context: &Context, replica: &Replica, selection: &TrashSelection) -> Result<()> {
    let unknown = replica.removed_by_unknown(selection)?;
    if unknown > 0 {
        context.out.say(format_args!("besides, {}", by_unknown(unknown, "in the trash")));
    }
    Ok(())
}

fn by_unknown(count: u64, place: &str) -> String {
    let (messages, was) = (plural(count, "message"), if count == 1 { "was" } else { "were" });
    format!(
        "{messages} {place} {was} removed by somebody unknown here, who may be it; `mailsync trash list --since TIME` shows them, and \
         by whose ID that was, and `mailsync trash restore --by ID` brings them back"
    )
}

fn document(replica: &Replica, names: &Names<'_>, trashed: &Trashed) -> Result<InTrash> {
    let file = replica.trash_file(trashed);
    let headline = replica.headline_in(&file).unwrap_or_default();
    Ok(InTrash::of(trashed, &file, &headline, Replica::remover(trashed, names)?))
}

fn show(context: &Context, id: i64) -> CommandResult {
    let replica = context.read()?;
    let (names, trashed) = (replica.names(), replica.in_trash(id, "showing")?);
    // What is known of it is shown all the same.
    let there = replica.check_trashed(&trashed);
    if context.out.json() {
        let shown = context.out.document(&document(&replica, &names, &trashed)?);
        return there.map(|()| shown).map_err(Into::into);
    }
    let (zone, file) = (TimeZone::system(), replica.trash_file(&trashed));
    let headline = replica.headline_in(&file).unwrap_or_default();
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| String::from("-"));
    let flags = trashed.flags.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let by = Replica::remover(&trashed, &names)?;
    let done = trashed.removal.map(|stamp| format!(", by its clock {}", local(stamp.clock.millis(), &zone)));
    let from = match (headline.from, headline.address) {
        (Some(name), Some(address)) if name != address => Some(format!("{name} <{address}>")),
        (from, _) => from,
    };
    let shown = context.out.print([
        format!("id          {}", trashed.key),
        format!("from        {}", or_dash(from)),
        format!("subject     {}", or_dash(headline.subject)),
        format!("date        {}", or_dash(headline.date.map(|date| local(date, &zone)))),
        format!("message-id  {}", or_dash(headline.message_id)),
        format!("folder      {}", printable(trashed.folder.as_str())),
        format!("flags       {}", if flags.is_empty() { "-" } else { &flags }),
        format!("size        {}", bytes(trashed.size)),
        format!("removed     by {by}{}", done.unwrap_or_default()),
        format!("in trash    since {}, told by {}", local(trashed.removed, &zone), trashed.by),
        format!("digest      {}", trashed.id.digest),
        format!("file        {}", file.display()),
    ])?;
    there.map(|()| shown).map_err(Into::into)
}

/// What becomes of one message, in words.
fn told(item: &TrashItem, dry: bool) -> String {
    let (id, would, folder) = (item.trashed.key, if dry { "would be" } else { "is" }, printable(item.folder.as_str()));
    if let Some(file) = &item.copy {
        return format!("trash {id} {would} copied to {}", file.display());
    }
    match (item.was_there, dry) {
        (false, _) => format!("trash {id} {would} back in {folder}"),
        (true, true) => format!("trash {id} {would} back in {folder} once more: it is already in {folder}"),
        (true, false) => format!("trash {id} {would} back in {folder} once more: it was already in {folder}"),
    }
}

fn restore(context: &Context, options: &TrashOptions, dry: bool, to: Option<&Path>) -> CommandResult {
    let replica = if to.is_some() { context.read()? } else { context.write()? };
    let result = bring_back(context, &replica, options, dry, to);
    if dry || to.is_some() { result } else { hooks::after(context, replica, Hook::AfterImport, result) }
}

fn bring_back(
    context: &Context,
    replica: &Replica,
    options: &TrashOptions,
    dry: bool,
    to: Option<&Path>,
) -> CommandResult {
    let mut items: Vec<FromTrash> = Vec::new();
    let mut each = |item: &TrashItem| {
        if context.out.json() {
            items.push(item.into());
            return Ok(());
        }
        context.out.say(told(item, dry));
        Ok(())
    };
    let done = match to {
        Some(dir) => replica.copy_trashed(options, &absolute(dir)?, &mut each)?,
        None => replica.restore_trashed(options, &mut each)?,
    };
    context.say_notes(replica);
    let failed = !context.problems.borrow().is_empty();
    let found = done.messages + done.there + done.left;
    let elsewhere = if found == 0 { replica.trashed_otherwise(&options.selection)? } else { None };
    if let Some(error) = elsewhere.filter(|_| !failed) {
        return Err(error.into());
    }
    if found == 0 && !failed && is_all(&options.selection) {
        context.out.say(nothing_there(replica, &options.selection)?);
    } else if done.messages > 1 {
        let what = if to.is_some() { "copied" } else { "back" };
        let would = if dry { "would be " } else { "" };
        context.out.say(format_args!("{would}{what}: {done}"));
    }
    if done.there > 0 {
        let there = plural(done.there, "message");
        context.out.say(format_args!(
            "in their folders already: {there}; the copies stay in the trash, and `mailsync trash restore ID` brings one back \
             once more"
        ));
    }
    if done.left > 0 {
        let left = plural(done.left, "message");
        context.out.say(format_args!(
            "removed once more since, which counts: {left}; `mailsync trash restore ID` brings it back"
        ));
    }
    if found > 0 {
        say_unknown(context, replica, &options.selection)?;
    }
    let shown = context.out.document(&TrashRestored::of(done, items));
    if done.messages > 0 || failed || is_all(&options.selection) {
        return Ok(shown);
    }
    Output::complain(&nothing_came_back(replica, &options.selection, found > 0, dry)?);
    Err(Failure::Said(ErrorKind::Failed))
}

/// Why nothing has come back, in one sentence. What was `found` was told before.
fn nothing_came_back(replica: &Replica, selection: &TrashSelection, found: bool, dry: bool) -> Result<Error> {
    let what = if found {
        format!("nothing of what was asked for {}", if dry { "would come back" } else { "has come back" })
    } else {
        nothing_there(replica, selection)?
    };
    Ok(Error::failed(format!("restoring from the trash: {what}")).advise("`mailsync trash list` shows what there is"))
}

/// Whether everything in the trash is meant.
fn is_all(selection: &TrashSelection) -> bool {
    selection.ids.is_none() && selection.folder.is_none() && selection.since.is_none() && selection.by.is_none()
}
