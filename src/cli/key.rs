//! `mailsync key`

use mailsync::replica::Passphrase;

use super::args::{Key, KeyCommand};
use super::context::Context;
use super::document::peers::{Key as KeyDocument, KeyPassphrase, KeyRotated, KeyShown};
use super::failure::CommandResult;
use super::output::Output;
use super::qr;

pub fn run(context: &Context, args: &Key) -> CommandResult {
    match args.command {
        KeyCommand::Show { qr } => show(context, qr),
        KeyCommand::Rotate => rotate(context),
        KeyCommand::Passphrase { remove } => {
            let replica = context.write()?;
            replica.change_passphrase(if remove { Passphrase::Remove } else { Passphrase::Ask })?;
            context.out.say(if remove { "the key has no passphrase any more" } else { "the key has a new passphrase" });
            // The replica was opened with the key as it was before.
            Ok(context.out.document(&KeyPassphrase { passphrase: !remove }))
        }
    }
}

fn rotate(context: &Context) -> CommandResult {
    let replica = context.write()?;
    let rotated = replica.rotate_key()?;
    let shown = if context.out.json() {
        context.out.document(&KeyRotated::from(&rotated))
    } else {
        context.out.print([rotated.new.to_openssh()])?
    };
    context.out.say(format_args!("the id is {} now, and was {}", rotated.new.id(), rotated.old));
    context.out.say("the next bundles tell the peers; until they have imported one, the old key is what they know");
    context.out.say(
        "back up the key and the directory keys beside it: what is still under way may be encrypted for the old one",
    );
    context.say_notes(&replica);
    Ok(shown)
}

fn show(context: &Context, as_qr: bool) -> CommandResult {
    if as_qr {
        qr::check(&std::io::stderr(), "standard error")?;
    }
    let replica = context.read()?;
    let (key, former) = (replica.public_key(), replica.former_keys());
    if context.out.json() {
        return Ok(context.out.document(&KeyShown {
            key: (&key).into(),
            passphrase: replica.has_passphrase(),
            former_keys: former.iter().map(KeyDocument::from).collect(),
        }));
    }
    for key in &former {
        context.out.say(format_args!("a former key, kept for reading: {}", key.id()));
    }
    if replica.has_passphrase() {
        context.out.say("the key has a passphrase");
    }
    context.out.say(format_args!("the id is {}", key.id()));
    if as_qr {
        qr::lines(&key.to_openssh())?.iter().try_for_each(|line| Output::show(line))?;
    }
    context.out.print([key.to_openssh()])
}
