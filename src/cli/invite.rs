//! `mailsync invite`

use std::path::PathBuf;

use mailsync::bundle::Code;
use mailsync::error::Result;
use mailsync::replica::{
    CodeShown, ExportOptions, Exported, InviteOptions, MessageContents, ReadableBy, Replica, ScanOptions,
};
use mailsync::text::plural;

use super::args::Invite;
use super::context::Context;
use super::document::bundles;
use super::failure::CommandResult;
use super::output::Output;
use super::source::read_key;
use super::view::complain_of;
use super::{qr, target};

pub fn run(context: &Context, args: Invite) -> CommandResult {
    let output = target::target(&context.out, args.output)?;
    target::check_split(args.split, output.as_deref())?;
    if args.qr {
        qr::check(&std::io::stderr(), "standard error")?;
    }
    let options = InviteOptions {
        key: args.key.as_deref().map(read_key).transpose()?,
        name: args.name,
        days: args.expires,
        contents: if args.no_contents { MessageContents::LeftOut } else { MessageContents::Included },
        level: args.level.unwrap_or(ExportOptions::LEVEL),
        split: args.split,
        secrecy: args.secrecy.secrecy(),
        existing: target::existing(args.force),
    };
    let replica = context.write()?;
    let report = replica.scan(&ScanOptions::default())?;
    let in_json = context.out.json();
    let mut code = None;
    let show = |drawn: &Code| {
        code = Some(drawn.clone());
        if in_json { Ok(()) } else { show(&options.name, drawn, args.qr) }
    };
    let written = match &output {
        None => {
            let exported = replica.invite(&options, replica.patient(target::stdout()?), code_shown(), show);
            context.say_notes(&replica);
            let exported = exported?;
            context.out.say(&exported);
            vec![(PathBuf::new(), exported)]
        }
        Some(path) => {
            let written = replica.invite_to_file(&options, path, show);
            context.say_notes(&replica);
            let written = written?;
            for (path, exported) in &written {
                target::tell_written(context, path, exported);
            }
            written
        }
    };
    tell_what_next(context, &replica, &options, &written, args.qr);
    let exported = match &output {
        None => bundles::Export::without_files(written.iter().map(|(_, exported)| exported), &report),
        Some(_) => bundles::Export::written(&written, &report),
    };
    let shown = context.out.document(&bundles::Invite::of(&options.name, code.as_ref(), exported));
    complain_of(&report).map(|()| shown)
}

/// When the code of a bundle on standard output is shown.
fn code_shown() -> CodeShown {
    if target::stdout_is_a_file() { CodeShown::Last } else { CodeShown::First }
}

/// Shows the code, which is kept nowhere.
fn show(name: &str, code: &Code, as_qr: bool) -> Result<()> {
    Output::show(&format!("mailsync: the code for {name}, which is shown this once: {}", code.words()))?;
    if as_qr {
        qr::lines(code.words())?.iter().try_for_each(|line| Output::show(line))?;
    }
    Ok(())
}

fn tell_what_next(
    context: &Context,
    replica: &Replica,
    options: &InviteOptions,
    written: &[(PathBuf, Exported)],
    as_qr: bool,
) {
    let by_code = written.iter().any(|(_, one)| one.readable == ReadableBy::CodeHolders);
    let later = written.len() - 1;
    let bundle = if later > 0 { "FIRST-BUNDLE" } else { "BUNDLE" };
    if by_code {
        let name = &options.name;
        context
            .out
            .say(format_args!("next: on {name}, run `mailsync join MAILROOT {bundle}`, which asks for the code"));
    } else {
        let id = replica.public_key().id();
        context.out.say(format_args!("next: on {}, run `mailsync join MAILROOT {bundle} --expect {id}`", options.name));
    }
    if as_qr && !by_code {
        context.out.say(
            "there is no code to show as a QR code: the invitation is not encrypted; -o FILE or --encrypt encrypts it",
        );
    }
    if later > 0 {
        let with = if by_code { ", which needs the code in a file, with --code-file" } else { "" };
        let others = if later == 1 { String::from("other bundle") } else { format!("{later} others, in any order") };
        context.out.say(format_args!("and then `mailsync import` with the {others}{with}"));
    }
    if options.key.is_none() {
        context.out.say(if by_code {
            "whoever has the bundle and the code can read the mail in it and join once: carry the code by another way"
        } else {
            "whoever has the bundle can read the mail in it and join once: carry it with care"
        });
        let days = plural(u64::from(options.days), "day");
        context.out.say(format_args!("the answer of {} is accepted for {days} from now", options.name));
    }
}
