//! `mailsync invite`

use mailsync::replica::{ExportOptions, InviteOptions, MessageContents, Replica, ScanOptions};
use mailsync::text::plural;

use super::args::Invite;
use super::context::Context;
use super::failure::CommandResult;
use super::source::read_key;
use super::target;
use super::view::complain_of;

pub fn run(context: &Context, args: Invite) -> CommandResult {
    let output = target::target(args.output)?;
    target::check_split(args.split, output.as_deref())?;
    let options = InviteOptions {
        key: args.key.as_deref().map(read_key).transpose()?,
        name: args.name,
        days: args.expires,
        contents: if args.no_contents { MessageContents::LeftOut } else { MessageContents::Included },
        level: args.level.unwrap_or(ExportOptions::LEVEL),
        split: args.split,
        secrecy: args.secrecy.secrecy(),
    };
    let replica = context.write()?;
    let report = replica.scan(&ScanOptions::default())?;
    let mut later = 0;
    match &output {
        None => {
            let exported = replica.invite(&options, replica.patient(target::stdout()?))?;
            context.say_notes(&replica);
            context.out.say(&exported);
        }
        Some(path) => {
            let written = replica.invite_to_file(&options, path)?;
            context.say_notes(&replica);
            later = written.len() - 1;
            target::tell_written(context, &written);
        }
    }
    tell_what_next(context, &replica, &options, later);
    complain_of(&report)
}

fn tell_what_next(context: &Context, replica: &Replica, options: &InviteOptions, later: usize) {
    let id = replica.public_key().id();
    let bundle = if later > 0 { "FIRST-BUNDLE" } else { "BUNDLE" };
    context.out.say(format_args!("next: on {}, run `mailsync join MAILROOT {bundle} --expect {id}`", options.name));
    if later > 0 {
        context.out.say(format_args!("and then `mailsync import` with the {later} others, in any order"));
    }
    if options.key.is_none() {
        context.out.say("whoever has the bundle can read the mail in it and join once: carry it with care");
        let days = plural(u64::from(options.days), "day");
        context.out.say(format_args!("the answer of {} is accepted for {days} from now", options.name));
    }
}
