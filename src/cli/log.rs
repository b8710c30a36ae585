//! `mailsync log`

use mailsync::text::printable;
use serde_json::{Value, json};

use super::args::Log;
use super::context::Context;
use super::failure::CommandResult;
use super::output::{Output, json_time, table, time};

pub fn run(context: &Context, args: &Log) -> CommandResult {
    let events = context.read()?.history(args.limit)?;
    if context.out.json() {
        let events = events.iter().map(|event| {
            json!({ "at": json_time(Some(event.at)), "command": event.action.word(), "peer": event.peer, "text": event.text })
        });
        return Output::print_json(&json!({ "events": events.collect::<Vec<Value>>() }));
    }
    let rows = events.iter().map(|event| {
        let peer = event.peer.as_deref().unwrap_or("-").to_owned();
        vec![time(event.at), event.action.word().to_owned(), peer, printable(&event.text)]
    });
    Output::print(table(&rows.collect::<Vec<_>>()))
}
