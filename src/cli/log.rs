//! `mailsync log`

use mailsync::text::printable;
use serde_json::{Value, json};

use super::args::Log;
use super::context::Context;
use super::failure::Outcome;
use super::output::{Output, json_time, table, time};

pub fn run(context: &Context, args: &Log) -> Outcome {
    let events = context.read()?.state().history(args.limit)?;
    if context.out.json() {
        let events = events.iter().map(|event| {
            json!({ "at": json_time(Some(event.at)), "command": event.command, "peer": event.peer, "text": event.text })
        });
        return Output::print_json(&json!({ "events": events.collect::<Vec<Value>>() }));
    }
    let rows = events.iter().map(|event| {
        let peer = event.peer.as_deref().unwrap_or("-").to_owned();
        vec![time(event.at), event.command.clone(), peer, printable(&event.text)]
    });
    Output::print(table(&rows.collect::<Vec<_>>()))
}
