//! `mailsync peer`

use mailsync::replica::{Peer, RevokeOptions};
use mailsync::text::{plural, printable};
use serde_json::{Value, json};

use super::args::PeerCommand;
use super::columns::labelled;
use super::context::Context;
use super::failure::CommandResult;
use super::moment::Moment;
use super::output::{json_time, table, time};
use super::source::read_key;
use super::view::{invited_json, invited_since, peer_json, revoked_words, shut_out_json};

pub fn run(context: &Context, args: super::args::Peer) -> CommandResult {
    match args.command {
        PeerCommand::List => list(context),
        PeerCommand::Add { name, key, distant } => {
            let replica = context.write()?;
            let key = read_key(&key)?;
            if distant {
                let peer = replica.add_distant_peer(&name, &key)?;
                context.out.say(format_args!("{name} is known now, as {}, for jobs by way of others", peer.id));
                return Ok(context.out.document(&json!({ "peer": peer_json(&peer) })));
            }
            let peer = replica.add_peer(&name, &key)?;
            context.out.say(format_args!("{name} is known now, as {}", peer.id));
            context.out.say(format_args!("next: `mailsync export --to {name} > FILE`, and import that file there"));
            Ok(context.out.document(&json!({ "peer": peer_json(&peer) })))
        }
        PeerCommand::Rename { old, new } => {
            let replica = context.write()?;
            replica.rename_peer(&old, &new)?;
            context.out.say(format_args!("{old} is called {new} now"));
            context.say_notes(&replica);
            Ok(context.out.document(&json!({ "name": new, "former": old })))
        }
        PeerCommand::Remove { name } => {
            context.write()?.remove_peer(&name)?;
            context.out.say(format_args!("{name} is forgotten; its bundles are no longer accepted here"));
            Ok(context.out.document(&json!({ "name": name })))
        }
        PeerCommand::Revoke { name, since, reason } => revoke(context, name, since.as_ref(), reason),
        PeerCommand::Reinstate { name } => reinstate(context, &name),
    }
}

fn revoke(context: &Context, who: String, since: Option<&Moment>, reason: Option<String>) -> CommandResult {
    let since = since.map(|moment| context.millis(moment)).transpose()?;
    let is_dated = since.is_some();
    let replica = context.write()?;
    let options = RevokeOptions { who, since, reason };
    let done = replica.revoke(&options)?;
    let who = printable(&options.who);
    if context.out.json() {
        return Ok(context.out.document(&json!({
            "id": done.id,
            "since": json_time(Some(done.since)),
            "kept": done.is_kept,
            "told_apart": done.told_apart,
            "revoked": shut_out_json(&done.out),
        })));
    }
    context.out.say(format_args!(
        "{who} is revoked as of {}: nothing is taken from it any more, and nothing sent to it",
        time(done.since)
    ));
    if done.is_kept {
        context.out.say("that is the time that was given here before; another one takes its place by --since");
    }
    if done.out.since < done.since {
        context.out.say(format_args!(
            "what counts is {}, as somebody else has said: the earliest does, as long as that isn't overruled by `mailsync peer reinstate`",
            time(done.out.since)
        ));
    }
    if !done.told_apart {
        context.out.say(format_args!(
            "no bundle from {who} ever came here: what others tell of its changes can't be told from their own, and is taken, until a \
             machine to which some came revokes it, too, and a bundle from there has come here"
        ));
    }
    if !is_dated && !done.is_kept {
        context.out.say(format_args!(
            "if it was out of your hands before, say since when: `mailsync peer revoke {who} --since TIME`"
        ));
    }
    context.out.say(format_args!(
        "next: `mailsync export` or `mailsync update` for the other machines, which hear of it by that; docs/lost-machine.md has the \
         rest"
    ));
    Ok(context.out.document(&json!({})))
}

fn reinstate(context: &Context, name: &str) -> CommandResult {
    let replica = context.write()?;
    let done = replica.reinstate(name)?;
    if context.out.json() {
        return Ok(context.out.document(&json!({
            "id": done.id,
            "overruled": done.overruled,
            "withdrawn": done.withdrawn,
            "sent_to": done.sent_to,
        })));
    }
    let name = printable(name);
    context.out.say(format_args!(
        "{name} is trusted again on this machine, against {}; the next bundles bring what was passed over",
        plural(done.overruled, "revocation")
    ));
    if done.withdrawn && done.sent_to.is_empty() {
        context.out.say("what was said here has been sent to nobody who is known here, and isn't sent any more");
    } else if done.withdrawn {
        let names: Vec<String> = done.sent_to.iter().map(|name| printable(name)).collect();
        context.out.say(format_args!(
            "what was said here isn't sent any more, but has been sent already, to {}: they, and all who hear it from them, go on \
             believing it until somebody runs `mailsync peer reinstate` there",
            names.join(", ")
        ));
    }
    context.out.say(format_args!("the other machines decide for themselves: run this there, too"));
    Ok(context.out.document(&json!({})))
}

fn list(context: &Context) -> CommandResult {
    let replica = context.read()?;
    let (peers, invited, out) = (replica.peers()?, replica.invitations()?, replica.shut_outs()?);
    if context.out.json() {
        let with_revoked = |peer: &Peer| {
            let mut document = peer_json(peer);
            document["revoked"] = out.get(&peer.id).map_or(Value::Null, shut_out_json);
            document
        };
        let named: Vec<Value> = peers.iter().map(with_revoked).collect();
        let others = out.iter().filter(|(id, _)| peers.iter().all(|peer| peer.id != **id));
        let others: Vec<Value> = others.map(|(id, out)| json!({ "id": id, "revoked": shut_out_json(out) })).collect();
        let invited: Vec<Value> = invited.iter().map(|invited| invited_json(&replica, invited)).collect();
        return Ok(context.out.document(&json!({ "peers": named, "invited": invited, "revoked_others": others })));
    }
    let rows = peers.iter().map(|peer| {
        let never = if peer.distant { "distant: only jobs, by way of others" } else { "never heard of" };
        let heard = peer.last_heard.map_or_else(|| String::from(never), time);
        vec![peer.name.clone(), peer.id.to_string(), heard]
    });
    let invited = invited
        .iter()
        .map(|one| vec![one.name.clone(), String::from("has not answered"), invited_since(&replica, one)]);
    let mut lines = table(&rows.chain(invited).collect::<Vec<_>>());
    lines.extend(revoked_words(&replica)?.iter().flat_map(|words| labelled("revoked", words)));
    context.out.print(lines)
}
