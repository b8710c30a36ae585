//! `mailsync init`

use mailsync::replica::{InitOptions, Replica, host_name};
use mailsync::text::printable;

use super::args::{Init, Layout, MailServer, doubts};
use super::columns::named;
use super::context::Context;
use super::document::peers;
use super::document::values::Folder;
use super::failure::CommandResult;
use super::screen::error_columns;
use super::view::{complain_of, layout_word, mail_words};

pub fn run(context: &Context, args: Init) -> CommandResult {
    let options = InitOptions {
        mail_root: args.mail_root,
        name: args.name.unwrap_or_else(|| valid_name(&host_name())),
        layout: args.layouts.layout.map(Layout::kind),
        server: args.layouts.server.map(MailServer::server),
        doubts: doubts(args.layouts.anyway),
        lock_timeout: context.lock_timeout,
    };
    let layout_is_given = options.layout.is_some() || options.server.is_some();
    let (replica, report) = Replica::init(&context.home()?, context.world(), &options)?;
    context.say_notes(&replica);
    let name = &replica.config().name;
    let key = replica.public_key().to_openssh();
    let status = replica.status()?;
    context.out.say(format_args!(
        "made the replica {name} of {} ({}), with {}",
        replica.config().mail_root.display(),
        layout_word(replica.config()),
        mail_words(&status),
    ));
    let folders = status.folders;
    let rows = folders.iter().map(|(name, count)| vec![format!("  {}", printable(name.as_str())), count.to_string()]);
    for line in named(rows.collect(), error_columns()) {
        context.out.say(line);
    }
    if !layout_is_given && folders.iter().all(|(_, entries)| *entries == 0) && folders.len() < 2 {
        context.out.say(format_args!(
            "there was no mail to tell the layout by: if folders are to be Archive/2019, and not .Archive.2019, set layout = \"fs\" in {}, \
             and run `mailsync doctor --moved-root`",
            context.home()?.config_file().display()
        ));
    }
    context.out.say("its public key follows; on the other machine, run");
    context.out.command(&format!("mailsync peer add {name} --key '{key}'"));
    context.out.say("and here the same with the key of that machine; then `mailsync export` writes a bundle for it");
    let shown = if context.out.json() {
        context.out.document(&peers::Init {
            replica: (&replica).into(),
            new: report.new,
            folders: Folder::all(&folders),
        })
    } else {
        context.out.print([key])?
    };
    complain_of(&report).map(|()| shown)
}

/// Makes a replica's name from a host's.
fn valid_name(host: &str) -> String {
    let fits = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let name: String = host.chars().filter(fits).take(64).collect();
    let name = name.trim_start_matches('-');
    if name.is_empty() { String::from("replica") } else { name.to_owned() }
}
