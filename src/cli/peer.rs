//! `mailsync peer`

use serde_json::{Value, json};

use super::args::PeerCommand;
use super::context::Context;
use super::failure::CommandResult;
use super::output::{Output, table, time};
use super::source::read_key;
use super::view::{invited_json, invited_since, peer_json};

pub fn run(context: &Context, args: super::args::Peer) -> CommandResult {
    match args.command {
        PeerCommand::List => list(context),
        PeerCommand::Add { name, key, distant } => {
            let replica = context.write()?;
            let key = read_key(&key)?;
            if distant {
                let peer = replica.add_distant_peer(&name, &key)?;
                context.out.say(format_args!("{name} is known now, as {}, for jobs by way of others", peer.id));
                return Ok(());
            }
            let peer = replica.add_peer(&name, &key)?;
            context.out.say(format_args!("{name} is known now, as {}", peer.id));
            context.out.say(format_args!("next: `mailsync export --to {name} > FILE`, and import that file there"));
            Ok(())
        }
        PeerCommand::Rename { old, new } => {
            let replica = context.write()?;
            replica.rename_peer(&old, &new)?;
            context.out.say(format_args!("{old} is called {new} now"));
            context.say_notes(&replica);
            Ok(())
        }
        PeerCommand::Remove { name } => {
            context.write()?.remove_peer(&name)?;
            context.out.say(format_args!("{name} is forgotten; its bundles are no longer accepted here"));
            Ok(())
        }
    }
}

fn list(context: &Context) -> CommandResult {
    let replica = context.read()?;
    let (peers, invited) = (replica.peers()?, replica.invitations()?);
    if context.out.json() {
        let peers: Vec<Value> = peers.iter().map(peer_json).collect();
        let invited: Vec<Value> = invited.iter().map(|invited| invited_json(&replica, invited)).collect();
        return Output::print_json(&json!({ "peers": peers, "invited": invited }));
    }
    let rows = peers.iter().map(|peer| {
        let never = if peer.distant { "distant: only jobs, by way of others" } else { "never heard of" };
        let heard = peer.last_heard.map_or_else(|| String::from(never), time);
        vec![peer.name.clone(), peer.id.to_string(), heard]
    });
    let invited = invited
        .iter()
        .map(|one| vec![one.name.clone(), String::from("has not answered"), invited_since(&replica, one)]);
    Output::print(table(&rows.chain(invited).collect::<Vec<_>>()))
}
