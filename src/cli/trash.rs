//! `mailsync trash`

use mailsync::text::{bytes, printable};
use serde_json::{Value, json};

use super::args::TrashCommand;
use super::context::Context;
use super::failure::CommandResult;
use super::output::{Output, json_time, time};

pub fn run(context: &Context, args: super::args::Trash) -> CommandResult {
    match args.command {
        TrashCommand::List => list(context),
        TrashCommand::Restore { ids } => {
            let replica = context.write()?;
            for id in ids {
                let restored = replica.restore(id)?;
                context.say_notes(&replica);
                context.out.say(format_args!("{id} is back in {}", printable(restored.folder.as_str())));
            }
            Ok(())
        }
    }
}

fn list(context: &Context) -> CommandResult {
    let replica = context.read()?;
    let mut rows: Vec<Value> = Vec::new();
    let mut lines = Vec::new();
    replica.each_trashed(|trashed| {
        if context.out.json() {
            rows.push(json!({
                "id": trashed.key,
                "digest": trashed.id.digest,
                "folder": trashed.folder,
                "flags": trashed.flags,
                "bytes": trashed.size,
                "removed": json_time(Some(trashed.removed)),
                "by": trashed.by.to_string(),
                "file": replica.trash_file(&trashed).to_string_lossy(),
            }));
        } else {
            lines.push(format!(
                "{:>6}  {}  by {}  {:>10}  {}  {}",
                trashed.key,
                time(trashed.removed),
                trashed.by,
                bytes(trashed.size),
                printable(trashed.folder.as_str()),
                replica.trash_file(&trashed).display(),
            ));
        }
        Ok(())
    })?;
    if context.out.json() { Output::print_json(&json!({ "trash": rows })) } else { Output::print(lines) }
}
