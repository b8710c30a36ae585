//! `mailsync update`: for each peer that the configuration tells how to reach, an export, a call, an import.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use mailsync::error::{Error, ErrorKind};
use mailsync::process::was_told_to_stop;
use mailsync::replica::{CallOptions, Called, Hook, ImportOptions, Replica, ScanOptions};
use mailsync::text::{bytes, printable};

use super::args::{Update, mass_add, mass_delete};
use super::context::Context;
use super::document::bundles;
use super::failed_jobs::FailedJobs;
use super::failure::{CommandResult, Failure};
use super::hooks;
use super::job_runs::{JobRuns, run_jobs};
use super::output::Output;
use super::view::complain_of;
use super::voices::Voices;

/// The replicas that the configuration tells how to reach.
#[derive(Default)]
struct Reachable {
    peers: Vec<String>,
    /// Those that were invited and have not answered.
    silent: Vec<String>,
    /// Those that were revoked.
    revoked: Vec<String>,
}

impl Reachable {
    fn of(replica: &Replica) -> Result<Self, Error> {
        let (known, out, invited) = (replica.peers()?, replica.shut_outs()?, replica.invitations()?);
        let is_revoked = |name: &str| known.iter().any(|peer| peer.name == name && out.get(&peer.id).is_some());
        let is_silent = |name: &str| invited.iter().any(|invited| invited.name == name);
        let mut found = Self::default();
        let is_known = |name: &str| is_silent(name) || known.iter().any(|peer| peer.name == name);
        // What the configuration says of nobody is noted by the scan.
        let called = replica.config().peer.iter().filter(|(name, config)| config.call.is_some() && is_known(name));
        for (name, _) in called {
            let list = if is_revoked(name) {
                &mut found.revoked
            } else if is_silent(name) {
                &mut found.silent
            } else {
                &mut found.peers
            };
            list.push(name.clone());
        }
        Ok(found)
    }
}

pub fn run(context: &Context, args: &Update) -> CommandResult {
    let replica = context.write()?;
    let Reachable { peers, silent, revoked } = if args.peers.is_empty() {
        Reachable::of(&replica)?
    } else {
        for name in &args.peers {
            replica.check_is_known(name).map_err(|error| error.about(format_args!("updating {}", printable(name))))?;
        }
        // Whoever is named twice is called once.
        let mut seen = BTreeSet::new();
        let peers = args.peers.iter().filter(|peer| seen.insert(*peer)).cloned().collect();
        Reachable { peers, ..Reachable::default() }
    };
    if peers.is_empty() && silent.is_empty() && revoked.is_empty() {
        // What the configuration says of nobody may be why.
        replica.note_unknown_names()?;
        context.say_notes(&replica);
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
    for name in revoked.iter().map(|name| printable(name)) {
        context.out.say(format_args!("note: {name} was revoked, so it is left out"));
    }
    let result = exchange(context, &replica, args, &peers);
    hooks::after(context, replica, Hook::AfterImport, result)
}

/// Scans, calls each of the peers, and runs the jobs that have come.
fn exchange(context: &Context, replica: &Replica, args: &Update, peers: &[String]) -> CommandResult {
    let report = replica.scan(&ScanOptions::default())?;
    let options = CallOptions {
        at_once: NonZeroUsize::new(args.jobs).unwrap_or(NonZeroUsize::MIN),
        import: ImportOptions {
            mass_delete: mass_delete(args.allowed.allow_mass_delete),
            mass_add: mass_add(args.allowed.allow_mass_add),
            ..ImportOptions::default()
        },
    };
    let mut all = call(context, replica, peers, &options);
    // What one peer didn't bring another may have brought.
    let noted = replica.note_missing_contents();
    context.say_notes(replica);
    // Told to stop, it begins nothing new.
    let jobs = if was_told_to_stop() { JobRuns::default() } else { run_jobs(context, replica) };
    let failed = FailedJobs::tell(replica);
    all.sort_by_key(|called| peers.iter().position(|peer| *peer == called.peer));
    let shown = context.out.document(&bundles::Update {
        peers: all.iter().map(bundles::Called::from).collect(),
        jobs: jobs.documents(),
        failed_jobs: failed.documents(),
    });
    noted?;
    jobs.result()?;
    let failed = failed.result()?;
    let bundles = all.iter().flat_map(|one| &one.imported).filter_map(|imported| imported.outcome.error());
    let errors = all.iter().filter_map(|one| one.result.as_ref().err()).chain(bundles);
    // The peers that failed don't keep the others from being updated.
    match errors.map(Error::kind).chain(failed).max() {
        None => complain_of(&report).map(|()| shown),
        // It says that nothing else went wrong, so that a script may pass over it.
        Some(kind @ ErrorKind::Unreachable) => complain_of(&report).and(Err(Failure::Said(kind))),
        Some(kind) => Err(Failure::Said(kind)),
    }
}

/// Calls the peers, and tells what becomes of each.
fn call(context: &Context, replica: &Replica, peers: &[String], options: &CallOptions) -> Vec<Called> {
    let voices = Voices::new(context.out.quiet());
    let mut all = Vec::new();
    replica.call_each(peers, options, &|peer, line| voices.hear(peer, line), |mut called| {
        called.result = called.result.map_err(|error| error.about(format_args!("updating {}", called.peer)));
        let went_wrong = called.result.is_err() || called.imported.iter().any(|one| one.outcome.error().is_some());
        voices.end(&called.peer, went_wrong);
        context.say_notes(replica);
        summarise(context, &called);
        all.push(called);
    });
    all
}

fn summarise(context: &Context, one: &Called) {
    for imported in &one.imported {
        // That of the import is the error with which the update of this peer has ended.
        if !imported.outcome.is_that_of_the_import() {
            imported.outcome.error().into_iter().for_each(Output::complain);
        }
    }
    if let Err(error) = &one.result {
        Output::complain(error);
        return;
    }
    let peer = printable(&one.peer);
    match one.imported.last() {
        Some(imported) if imported.outcome.error().is_none() => {
            context.out.say(format_args!("{peer}: sent, and received {}{}", imported.changes, sizes(one)));
        }
        _ => context.out.say(format_args!("{peer}: sent; the answer could not be applied")),
    }
}

/// How much went to and fro.
fn sizes(one: &Called) -> String {
    let Some((sent, size)) = one.sent.as_ref().and_then(|sent| Some((sent, sent.file_bytes?))) else {
        return String::new();
    };
    format!("; {} went there ({}), {} came", bytes(size), sent.contents_in_words(), bytes(one.received))
}
