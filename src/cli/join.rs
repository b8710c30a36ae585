//! `mailsync join`

use mailsync::bundle::{ReplicaId, look_for_code};
use mailsync::error::{Error, Result};
use mailsync::replica::{Hook, JoinOptions, Joined, Replica};
use mailsync::text::plural;

use super::args::{Join, Layout, MailServer, clock_ahead, doubts};
use super::context::Context;
use super::document::bundles;
use super::failure::{CommandResult, Failure};
use super::view::{complain_of, tell, worst};
use super::{code, hooks, source};

pub fn run(context: &Context, args: Join) -> CommandResult {
    let expect = args.expect.as_deref().map(parse_id).transpose()?;
    let given = code::given(args.code.code_file.as_deref())?;
    if args.bundle.is_dir() {
        let what = format!("reading the invitation: {} is a directory", args.bundle.display());
        return Err(Error::usage(what)
            .advise(
                "name the file of the invitation; of one in several parts the first, and then `mailsync import DIR` takes the \
                 others, if it has a code with --code-file FILE",
            )
            .into());
    }
    let source = source::open(&args.bundle)?;
    let (by_code, source) = look_for_code(source).map_err(|error| {
        Error::io("reading the bundle", &args.bundle, error).advise("check it, then run this again")
    })?;
    let options = JoinOptions {
        mail_root: args.mail_root,
        name: args.name,
        layout: args.layouts.layout.map(Layout::kind),
        server: args.layouts.server.map(MailServer::server),
        expect,
        code: if by_code && given.is_none() { code::ask()? } else { given },
        doubts: doubts(args.layouts.anyway),
        clock_ahead: clock_ahead(args.accept_clock),
        lock_timeout: context.lock_timeout,
    };
    let file = (!source::is_standard(&args.bundle)).then_some(&*args.bundle);
    let joined = Replica::join(&context.home()?, context.world(), &options, file, source)?;
    let result = tell_joined(context, &joined, expect.is_some());
    // The configuration that a join makes has no hook. One that is repeated may find another.
    hooks::after(context, joined.replica, Hook::AfterImport, result)
}

fn tell_joined(context: &Context, joined: &Joined, id_was_expected: bool) -> CommandResult {
    context.say_notes(&joined.replica);
    for imported in &joined.bundles {
        tell(context, imported, false);
    }
    let (replica, inviter) = (&joined.replica, &joined.inviter);
    let made = if joined.before { "there is already" } else { "made" };
    context.out.say(format_args!(
        "{made} the replica {} of {}; it was invited by {}, whose id is {}",
        replica.config().name,
        replica.config().mail_root.display(),
        inviter.name,
        inviter.id,
    ));
    if joined.by_code {
        context.out.say("the code has shown that the invitation is from whoever told it: there is no id to compare");
    } else if !id_was_expected {
        context.out.say("compare that id with the one that `mailsync status` shows there");
    }
    if joined.found.new + joined.found.adopted > 0 {
        context.out.say(found_words(joined));
    }
    context.out.say(format_args!("next: `mailsync export -o FILE`, and import that file on {}", inviter.name));
    let shown = context.out.document(&bundles::Join::from(joined));
    match worst(&joined.bundles) {
        Some(kind) => Err(Failure::Said(kind)),
        None => complain_of(&joined.found).map(|()| shown),
    }
}

/// What the mail means that was in the mail root before.
fn found_words(joined: &Joined) -> String {
    let (found, inviter, elsewhere) = (&joined.found, &joined.inviter.name, joined.elsewhere);
    let goes = match found.new {
        0 => String::new(),
        1 => String::from(", which goes to all other machines"),
        _ => String::from(", which go to all other machines"),
    };
    let twice = match (elsewhere, found.new) {
        (0, _) => String::new(),
        (1, 1) => format!("; {inviter} has its contents in another folder, and it will be in both"),
        (1, _) => format!("; {inviter} has the contents of 1 of these in another folder, and it will be in both"),
        (count, _) => {
            format!("; {inviter} has the contents of {count} of these in other folders, and they will be in both")
        }
    };
    let adopted = plural(found.adopted, "message");
    format!(
        "in the mail root: {adopted} that {inviter} has in the same folder, and {}{goes}{twice}",
        plural(found.new, "other")
    )
}

fn parse_id(text: &str) -> Result<ReplicaId> {
    text.trim().parse().map_err(|error| {
        Error::usage(format!("reading --expect: {error}"))
            .advise("give the id as `mailsync status` shows it on the inviting machine; it begins with SHA256:")
    })
}
