//! `mailsync update`: for each peer that the configuration tells how to reach, an export, a call, an import.

use mailsync::error::{Error, ErrorKind};
use mailsync::process::was_told_to_stop;
use mailsync::replica::{Hook, ImportOptions, ImportOutcome, Imported, Replica, ScanOptions};
use mailsync::text::printable;

use super::args::{Update, mass_add, mass_delete};
use super::context::Context;
use super::document::bundles::{self, Called, ImportedBundle};
use super::document::values::Fault;
use super::failure::{CommandResult, Failure};
use super::hooks;
use super::job_runs::{JobRuns, run_jobs};
use super::output::Output;
use super::view::complain_of;

/// The replicas that the configuration tells how to reach, but for those that were revoked: first the peers, then those
/// that were invited and have not answered.
fn reachable(replica: &Replica) -> Result<(Vec<String>, Vec<String>), Error> {
    let (known, out, invited) = (replica.peers()?, replica.shut_outs()?, replica.invitations()?);
    let is_revoked = |name: &str| known.iter().any(|peer| peer.name == name && out.get(&peer.id).is_some());
    let peers = replica.config().peer.iter().filter(|(name, config)| config.call.is_some() && !is_revoked(name));
    let names = peers.map(|(name, _)| name.clone());
    Ok(names.partition(|name| invited.iter().all(|invited| invited.name != *name)))
}

/// The result for one peer.
struct Updated {
    peer: String,
    imported: Vec<Imported>,
    error: Option<Error>,
}

pub fn run(context: &Context, args: &Update) -> CommandResult {
    let replica = context.write()?;
    let (peers, silent) = if args.peers.is_empty() { reachable(&replica)? } else { (args.peers.clone(), Vec::new()) };
    if peers.is_empty() && silent.is_empty() {
        return Err(Error::usage("updating: the configuration doesn't tell how to reach any peer")
            .advise(
                "add [peer.NAME] with call = [\"ssh\", \"HOST\", \"mailsync\", \"import\", \"--reply\"] to config.toml",
            )
            .into());
    }
    for name in silent.iter().map(|name| printable(name)) {
        context.out.say(format_args!(
            "note: {name} was invited and has not answered yet, so it is left out: its key isn't known; have {name} send the \
             first bundle, by `mailsync update` or `mailsync export` there"
        ));
    }
    let result = exchange(context, &replica, args, &peers);
    hooks::after(context, replica, Hook::AfterImport, result)
}

/// Scans, calls each of the peers, and runs the jobs that have come.
fn exchange(context: &Context, replica: &Replica, args: &Update, peers: &[String]) -> CommandResult {
    let report = replica.scan(&ScanOptions::default())?;
    let options = ImportOptions {
        mass_delete: mass_delete(args.allowed.allow_mass_delete),
        mass_add: mass_add(args.allowed.allow_mass_add),
        ..ImportOptions::default()
    };
    let updated: Vec<Updated> = peers.iter().map(|peer| update(context, replica, peer, &options)).collect();
    // What one peer didn't bring another may have brought.
    let noted = replica.note_missing_contents();
    context.say_notes(replica);
    // Told to stop, it begins nothing new.
    let jobs = if was_told_to_stop() { JobRuns::default() } else { run_jobs(context, replica) };
    for one in &updated {
        summarise(context, one);
    }
    let peers = updated.iter().map(Called::from).collect();
    let shown = context.out.document(&bundles::Update { peers, jobs: jobs.documents() });
    noted?;
    jobs.result()?;
    let bundles = updated.iter().flat_map(|one| &one.imported).filter_map(|imported| imported.outcome.error());
    let kinds = updated.iter().filter_map(|one| one.error.as_ref()).chain(bundles).map(Error::kind);
    // The peers that failed don't keep the others from being updated. Together they are a plain failure, unless all
    // failed in the same other kind.
    let mut kinds: Vec<ErrorKind> = kinds.collect();
    kinds.dedup();
    match kinds[..] {
        [] => complain_of(&report).map(|()| shown),
        // It says that nothing else went wrong, so that a script may pass over it.
        [kind @ ErrorKind::Unreachable] => complain_of(&report).and(Err(Failure::Said(kind))),
        [kind] => Err(Failure::Said(kind)),
        _ => Err(Failure::Said(ErrorKind::Failed)),
    }
}

fn update(context: &Context, replica: &Replica, peer: &str, options: &ImportOptions) -> Updated {
    let mut imported = Vec::new();
    let result = replica.call(peer, options, |one| imported.push(one));
    context.say_notes(replica);
    Updated {
        peer: peer.to_owned(),
        imported,
        error: result.err().map(|error| error.about(format_args!("updating {peer}"))),
    }
}

fn summarise(context: &Context, one: &Updated) {
    for imported in &one.imported {
        match &imported.outcome {
            // It is the error with which the update of this peer has ended.
            ImportOutcome::RolledBack(_) => {}
            outcome => outcome.error().into_iter().for_each(Output::complain),
        }
    }
    if let Some(error) = &one.error {
        Output::complain(error);
        return;
    }
    let peer = printable(&one.peer);
    match one.imported.last() {
        Some(imported) if imported.outcome.error().is_none() => {
            context.out.say(format_args!("{peer}: sent, and received {}", imported.changes));
        }
        Some(_) => context.out.say(format_args!("{peer}: sent; the answer could not be applied")),
        None => context.out.say(format_args!(
            "{peer}: sent; there was no answer; if its call runs `mailsync import` without --reply, add that"
        )),
    }
}

impl From<&Updated> for Called {
    fn from(one: &Updated) -> Self {
        Self {
            peer: one.peer.clone(),
            error: one.error.as_ref().map(Fault::from),
            bundles: one.imported.iter().map(ImportedBundle::from).collect(),
        }
    }
}
