//! `mailsync invite`

use std::io;

use mailsync::replica::{Contents, ExportOptions, InviteOptions, Replica, ScanOptions};

use super::args::Invite;
use super::{Context, Outcome};

pub fn run(context: &Context, args: Invite) -> Outcome {
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
            for (path, exported) in written {
                context.out.say(format_args!("wrote {}: {exported}", path.display()));
            }
        }
    }
    tell_what_next(context, &replica, &options);
    super::scan::complain_of(&report)
}

fn tell_what_next(context: &Context, replica: &Replica, options: &InviteOptions) {
    let id = replica.public_key().id();
    context.out.say(format_args!("next: on {}, run `mailsync join MAILROOT BUNDLE --expect {id}`", options.name));
    if options.key.is_none() {
        context.out.say("whoever has the bundle can read the mail in it and join once: carry it with care");
    }
}
