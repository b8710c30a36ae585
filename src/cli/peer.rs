//! `mailsync peer`

use mailsync::error::Error;
use mailsync::replica::{Kept, Peer, Replica, RevokeOptions, SinceFrom};
use mailsync::text::{are, local_time, plural, printable};

use super::args::PeerCommand;
use super::columns::{labelled, table};
use super::context::Context;
use super::document::peers::{PeerAdded, PeerList, PeerReinstated, PeerRemoved, PeerRenamed, PeerRevoked};
use super::failure::CommandResult;
use super::moment::Moment;
use super::source::read_key;
use super::view::{complain_of, invited_since, revoked_words};

pub fn run(context: &Context, args: super::args::Peer) -> CommandResult {
    match args.command {
        PeerCommand::List { verbose } => list(context, verbose),
        PeerCommand::Add { name, key, distant } => {
            let replica = context.decide()?;
            let key = read_key(&key)?;
            let peer = if distant { replica.add_distant_peer(&name, &key) } else { replica.add_peer(&name, &key) }?;
            if distant {
                context.out.say(format_args!("{name} is known now, as {}, for jobs by way of others", peer.id));
            } else {
                context.out.say(format_args!("{name} is known now, as {}", peer.id));
                context
                    .out
                    .say(format_args!("next: `mailsync export --to {name} -o FILE`, and import that file there"));
            }
            context.say_undecided(&replica)?;
            Ok(context.out.document(&PeerAdded { peer: (&peer).into() }))
        }
        PeerCommand::Rename { old, new } => {
            let replica = context.write()?;
            replica.rename_peer(&old, &new)?;
            context.out.say(format_args!("{old} is called {new} now"));
            context.say_notes(&replica);
            Ok(context.out.document(&PeerRenamed { name: new, former_name: old }))
        }
        PeerCommand::Remove { name } => {
            let replica = context.write()?;
            let (peers, out) = (replica.peers()?, replica.shut_outs()?);
            let was_revoked = peers.iter().any(|peer| peer.name == name && out.get(&peer.id).is_some());
            if replica.remove_peer(&name)? {
                context.out.say(format_args!("the invitation of {name} is withdrawn, and no answer to it is accepted"));
            } else if was_revoked {
                context.out.say(format_args!(
                    "{name} is forgotten, and stays revoked: its bundles are refused here and wherever that was heard, and what it has \
                     done since is passed over"
                ));
            } else {
                context.out.say(format_args!(
                    "{name} is forgotten; its bundles are no longer accepted here, but by other machines they are, which pass on what it \
                     changes; if it is lost or stolen, docs/lost-machine.md says what to do"
                ));
            }
            Ok(context.out.document(&PeerRemoved { name }))
        }
        PeerCommand::Revoke { name, since, reason, keep } => revoke(context, name, since.as_ref(), reason, keep),
        PeerCommand::Reinstate { name } => reinstate(context, &name),
    }
}

fn revoke(context: &Context, who: String, since: Option<&Moment>, reason: Option<String>, keep: bool) -> CommandResult {
    let since = since.map(|moment| context.millis(moment)).transpose()?;
    let replica = context.decide()?;
    let options = RevokeOptions { who, since, reason };
    let done = replica.revoke(&options)?;
    // One that is no peer may be known by what somebody else calls it.
    let (typed, who) = (printable(&options.who), replica.shown_name_of(&done.id, &done.out)?);
    let kept = if keep { replica.keep_what_came_from(&options.who)? } else { Kept::default() };
    let held = replica.count_held_of(&done.out)?;
    context.say_notes(&replica);
    let shown = context.out.document(&PeerRevoked::of(&done, held, kept.messages));
    context.out.say(format_args!(
        "{who} is revoked as of {}: nothing is taken from it any more, and nothing sent to it",
        local_time(done.since)
    ));
    if done.since_from == SinceFrom::Here {
        context.out.say("that is the time that was given here before; another one takes its place by --since");
    }
    if done.since_from == SinceFrom::Others {
        context.out.say("that is the earliest time that others have given; another one takes its place by --since");
    }
    if done.out.since < done.since {
        context.out.say(format_args!(
            "what counts is {}, as somebody else has said: the earliest does, as long as that isn't overruled by `mailsync peer reinstate`",
            local_time(done.out.since)
        ));
    }
    if !done.told_apart {
        context.out.say(format_args!(
            "no bundle from {who} ever came here: what others tell of its changes can't be told from their own, and is taken, until a \
             machine to which some came revokes it, too, and a bundle from there has come here"
        ));
    } else if !done.heard_since && done.since_from != SinceFrom::Now {
        context.out.say(format_args!(
            "no bundle from {who} came here since then: if its finder had it begin anew, nothing tells here what it has done since, and \
             that is taken from others; run this as well where its bundles came last, and bring a bundle from there"
        ));
    }
    say_what_is_held(context, &typed, held, keep.then_some(kept.messages));
    if done.since_from == SinceFrom::Now {
        context.out.say(format_args!(
            "if it was out of your hands before, say since when: `mailsync peer revoke {typed} --since TIME`"
        ));
    }
    say_what_is_next(context, &replica)?;
    context.say_undecided(&replica)?;
    complain_of(&kept.scan)?;
    Ok(shown)
}

/// Says how the other machines hear of a revocation. If this one knew none but those that are revoked, none can.
fn say_what_is_next(context: &Context, replica: &Replica) -> Result<(), Error> {
    let out = replica.shut_outs()?;
    let hears = |peer: &Peer| !peer.distant && out.get(&peer.id).is_none();
    if replica.peers()?.iter().any(hears) || !replica.invitations()?.is_empty() {
        context.out.say(
            "next: `mailsync export` or `mailsync update` for the other machines, which hear of it by that; docs/lost-machine.md has \
             the rest",
        );
    } else {
        context.out.say(
            "next: no other machine is known here any more, so none hears of it. Make those that you have left known to each other, by \
             `mailsync peer add NAME --key KEY` on both sides (`mailsync key show` prints a key) or by `mailsync invite NAME`, then \
             exchange bundles; docs/lost-machine.md has the rest",
        );
    }
    Ok(())
}

/// Says what becomes of that which a revoked machine has brought, and is here.
fn say_what_is_held(context: &Context, who: &str, held: u64, made_own: Option<u64>) {
    if let Some(count) = made_own {
        let (messages, are, go) = (plural(count, "message"), are(count), if count == 1 { "goes" } else { "go" });
        context
            .out
            .say(format_args!("{messages} of {who}'s {are} this machine's own from now on, and {go} to the others"));
    } else if held > 0 {
        let messages = plural(held, "message");
        let (stay, them) = if held == 1 { ("stays", "it") } else { ("stay", "them") };
        context.out.say(format_args!(
            "{messages} that {who} has brought or changed since then {stay} here. Whoever is invited from here gets {them}; the other \
             machines pass over what they haven't got by now. Take back and remove what isn't yours (docs/lost-machine.md), \
             then `mailsync peer revoke {who} --keep` makes the rest this machine's own, and the others get it"
        ));
    }
}

fn reinstate(context: &Context, name: &str) -> CommandResult {
    let replica = context.decide()?;
    let done = replica.reinstate(name)?;
    let name = printable(name);
    context.out.say(format_args!(
        "{name} is trusted again on this machine, against {}; once the others have heard from here, their bundles bring what was passed over",
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
    context.say_undecided(&replica)?;
    Ok(context.out.document(&PeerReinstated::from(done)))
}

fn list(context: &Context, verbose: bool) -> CommandResult {
    let replica = context.read()?;
    let (peers, invited, out) = (replica.peers()?, replica.invitations()?, replica.shut_outs()?);
    if context.out.json() {
        return Ok(context.out.document(&PeerList::of(&replica, &peers, &invited, &out)?));
    }
    let mut rows = Vec::new();
    for peer in &peers {
        let never = if peer.distant { "distant: only jobs, by way of others" } else { "nothing has come from it yet" };
        let heard = peer.last_heard.map_or_else(|| String::from(never), local_time);
        rows.push(vec![peer.name.clone(), peer.id.to_string(), heard]);
        if verbose {
            let former = replica.former_ids_of(&peer.id)?;
            rows.extend(former.iter().rev().map(|id| vec![String::from("  formerly"), id.to_string(), String::new()]));
        }
    }
    let invited = invited
        .iter()
        .map(|one| vec![one.name.clone(), String::from("has not answered"), invited_since(&replica, one)]);
    let mut lines = table(&rows.into_iter().chain(invited).collect::<Vec<_>>());
    lines.extend(revoked_words(&replica)?.iter().flat_map(|words| labelled("revoked", words)));
    if lines.is_empty() {
        context.out.say("there are no peers yet; invite one with `mailsync invite NAME`, or make one known with `mailsync peer add`");
    }
    context.out.print(lines)
}
