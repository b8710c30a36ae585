//! `mailsync deinit`

use std::fmt::Display;

use mailsync::error::Error;
use mailsync::replica::{Home, LeaveOptions, LeavePlan, LeftBehind, Losing, Replica, TrashFate, Unseen};
use mailsync::text::{bytes, plural, printable};

use super::args::{Deinit, dry_run};
use super::context::{Context, absolute};
use super::document;
use super::document::values::Own;
use super::failure::CommandResult;
use super::prompt;

/// At most so many things are named that are left in the directories.
const NAMED: usize = 10;

pub fn run(context: &Context, args: Deinit) -> CommandResult {
    let (home, world, dry) = (context.home()?, context.world(), args.dry_run);
    if let Some(left) = Replica::end_leaving(&home, &world, dry_run(dry), context.lock_timeout)? {
        let does = if dry { "it would be ended" } else { "it is ended: there is no replica any more" };
        context.out.say(format_args!("a `mailsync deinit` was interrupted, and {does}"));
        tell_left(context, &left);
        return Ok(context.out.document(&document::deinit::Deinit::ended(&left)));
    }
    let replica = Replica::open_to_leave(&home, world, context.lock_timeout)?;
    let plan = replica.plan_to_leave()?;
    context.say_notes(&replica);
    let options = LeaveOptions {
        trash: match (args.trash_to, args.purge_trash) {
            (Some(dir), _) => TrashFate::MovedTo(absolute(&dir)?),
            (None, true) => TrashFate::Removed,
            (None, false) => TrashFate::Kept,
        },
        losing: if args.anyway { Losing::Allow } else { Losing::Refuse },
        dry_run: dry_run(dry),
        lock_timeout: context.lock_timeout,
    };
    tell(context, &home, &replica, &plan, &options.trash);
    let (about, name) = (Own::from(&replica), replica.config().name.clone());
    let document =
        |left: Option<&LeftBehind>| context.out.document(&document::deinit::Deinit::of(about.clone(), &plan, left));
    // Whoever is refused wants to know of what.
    let _told_if_it_fails = document(None);
    plan.check(options.losing)?;
    if !dry && !args.yes {
        confirm(&name)?;
    }
    let left = replica.leave(&plan, &options)?;
    if !dry {
        context.out.say(format_args!("{name} is no replica any more"));
        tell_left(context, &left);
    }
    Ok(document(Some(&left)))
}

/// Asks the person whether it is meant.
fn confirm(name: &str) -> Result<(), Error> {
    let stays = "nothing was changed";
    match prompt::answer(&format!("Make {name} none, and remove all this? [yes/no]"))? {
        Some(answer) if answer.trim() == "yes" => Ok(()),
        Some(_) => Err(Error::failed(format!("making this replica none: the answer was not yes, and {stays}"))
            .advise("run this again, and type yes")),
        None => Err(Error::usage(format!("making this replica none: there is no terminal to ask on, and {stays}"))
            .advise("give --yes")),
    }
}

/// Says what goes, and what stays.
fn tell(context: &Context, home: &Home, replica: &Replica, plan: &LeavePlan, trash: &TrashFate) {
    let say = |what: &dyn Display| context.out.say(what);
    let (id, config) = (replica.public_key().id(), replica.config());
    let (name, root) = (&config.name, config.mail_root.display());
    say(&format_args!("stays: the mail in {root}, {}", plural(plan.totals.entries, "message")));
    let former = (plan.former_keys > 0).then(|| format!(", {}", plural(plan.former_keys, "former key")));
    say(&format_args!(
        "goes: the configuration and the key{} in {}",
        former.unwrap_or_default(),
        home.config_dir().display()
    ));
    say(&format_args!("goes: the state in {}, with its history", home.state_dir().display()));
    if plan.trashed > 0 {
        let messages = format!("{} in the trash, {}", plural(plan.trashed, "message"), bytes(plan.trashed_bytes));
        match trash {
            TrashFate::Kept => say(&format_args!("stays: {messages}, as files in {}", home.state_dir().display())),
            TrashFate::MovedTo(dir) => say(&format_args!("moves: {messages}, as files into {}", dir.display())),
            TrashFate::Removed => say(&format_args!("goes: {messages}, for good")),
        }
    }
    if plan.open_jobs > 0 {
        say(&format_args!(
            "goes: {} that is not over, in {}",
            plural(plan.open_jobs, "job"),
            home.state_dir().display()
        ));
    }
    for (peer, unseen) in &plan.peers {
        match unseen_words(*unseen) {
            what if what.is_empty() => say(&format_args!("{peer} has shown to know all of it")),
            what => say(&format_args!("{peer} has not shown to know: {what}")),
        }
    }
    for invited in &plan.invited {
        say(&format_args!("{invited} was invited, and can't answer any more"));
    }
    let all = plan.peers.iter().map(|(peer, _)| peer).chain(&plan.distant).map(|peer| printable(peer));
    let all: Vec<String> = all.collect();
    if !all.is_empty() {
        let peers = all.join(", ");
        say(&format_args!(
            "next, on {peers}: `mailsync peer remove {name}`, if `mailsync peer list` shows {id} by that name there; if by another one, \
             with that; if not at all, there is nothing to remove"
        ));
    }
}

fn unseen_words(unseen: Unseen) -> String {
    let entries = (unseen.entries > 0).then(|| format!("{}, {}", plural(unseen.entries, "entry"), bytes(unseen.bytes)));
    let jobs = (unseen.jobs > 0).then(|| plural(unseen.jobs, "job"));
    entries.into_iter().chain(jobs).collect::<Vec<_>>().join(", ")
}

/// Says what is left in the replica's directories.
fn tell_left(context: &Context, left: &LeftBehind) {
    left.notes.iter().for_each(|note| context.out.say(format_args!("note: {note}")));
    if left.copied.messages > 0 {
        context.out.say(format_args!("moved from the trash: {}", left.copied));
    }
    for dir in &left.kept {
        context.out.say(format_args!("kept: the messages in {}", dir.display()));
    }
    for path in left.others.iter().take(NAMED) {
        context.out.say(format_args!("left alone, since it is nothing of mailsync's: {}", path.display()));
    }
    if left.others.len() > NAMED {
        context.out.say(format_args!("and {} more like these", left.others.len() - NAMED));
    }
}
