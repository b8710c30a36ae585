//! `mailsync invite`

use std::io;
use std::path::Path;

use mailsync::replica::{Contents, ExportOptions, InviteOptions, Replica, ScanOptions};

use super::args::Invite;
use super::context::Context;
use super::failure::Outcome;

pub fn run(context: &Context, mut args: Invite) -> Outcome {
    args.output = args.output.filter(|output| output != Path::new("-"));
    if args.output.is_none() {
        super::export::refuse_terminal()?;
    }
    super::export::check_split(args.split, args.output.as_deref())?;
    let options = InviteOptions {
        key: args.key.as_deref().map(super::peer::read_key).transpose()?,
        name: args.name,
        contents: if args.no_contents { Contents::LeftOut } else { Contents::Included },
        level: args.level.unwrap_or(ExportOptions::LEVEL),
        split: args.split,
    };
    let replica = context.write()?;
    let report = replica.scan(&ScanOptions::default())?;
    let mut later = 0;
    match &args.output {
        None => {
            let out = io::BufWriter::with_capacity(256 << 10, io::stdout().lock());
            let exported = replica.invite(&options, out)?;
            context.say_notes(&replica);
            context.out.say(&exported);
        }
        Some(path) => {
            let written = replica.invite_to_file(&options, path)?;
            context.say_notes(&replica);
            later = written.len() - 1;
            for (path, exported) in written {
                context.out.say(format_args!("wrote {}: {exported}", path.display()));
            }
        }
    }
    tell_what_next(context, &replica, &options, later);
    super::scan::complain_of(&report)
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
    }
}
