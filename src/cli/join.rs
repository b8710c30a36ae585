//! `mailsync join`

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use mailsync::bundle::ReplicaId;
use mailsync::error::{Error, Result};
use mailsync::replica::{JoinOptions, Replica};
use mailsync::text::plural;
use serde_json::json;

use super::args::Join;
use super::context::Context;
use super::failure::{Failure, Outcome};
use super::output::Output;

pub fn run(context: &Context, args: Join) -> Outcome {
    let expect = args.expect.as_deref().map(parse_id).transpose()?;
    let options = JoinOptions {
        mail_root: args.mail_root,
        name: args.name,
        layout: args.layout.map(super::init::layout_kind),
        expect,
        lock_timeout: context.lock_timeout,
    };
    let (file, source) = open(&args.bundle)?;
    let joined = Replica::join(&context.home()?, context.world(), &options, file, source)?;
    context.say_notes(&joined.replica);
    for imported in &joined.bundles {
        super::import::tell(context, imported, false);
    }
    let (replica, inviter) = (&joined.replica, &joined.inviter);
    let made = if joined.before { "there is already" } else { "made" };
    context.out.say(format_args!(
        "{made} the replica {} of {}; {} has invited it, whose id is {}",
        replica.config().name,
        replica.config().mail_root.display(),
        inviter.name,
        inviter.id,
    ));
    if expect.is_none() {
        context.out.say("compare that id with what `mailsync status` shows there");
    }
    if joined.found.new + joined.found.adopted > 0 {
        context.out.say(format_args!(
            "in the mail root: {} that {} has in the same folder, and {}",
            plural(joined.found.adopted, "message"),
            inviter.name,
            plural(joined.found.new, "other")
        ));
    }
    context.out.say(format_args!("next: `mailsync export > FILE`, and import that file on {}", inviter.name));
    if context.out.json() {
        Output::print_json(&json!({
            "replica": super::status::replica_json(replica),
            "joined_before": joined.before,
            "inviter": { "name": inviter.name, "id": inviter.id },
            "bundles": joined.bundles.iter().map(super::import::imported_json).collect::<Vec<_>>(),
            "found": super::scan::report_json(&joined.found),
        }))?;
    }
    match super::import::worst(&joined.bundles) {
        Some(kind) => Err(Failure::Said(kind)),
        None => super::scan::complain_of(&joined.found),
    }
}

fn open(bundle: &Path) -> Result<(Option<&Path>, Box<dyn BufRead>)> {
    const BUFFER: usize = 256 << 10;
    if bundle == Path::new("-") {
        return Ok((None, Box::new(BufReader::with_capacity(BUFFER, io::stdin()))));
    }
    let file =
        File::open(bundle).map_err(|error| Error::io("opening the bundle", bundle, error).advise("check its name"))?;
    Ok((Some(bundle), Box::new(BufReader::with_capacity(BUFFER, file))))
}

fn parse_id(text: &str) -> Result<ReplicaId> {
    text.trim().parse().map_err(|error| {
        Error::usage(format!("reading --expect: {error}"))
            .advise("give the id as `mailsync status` shows it on the inviting machine; it begins with SHA256:")
    })
}
