//! `mailsync update`: for each peer that the configuration tells how to reach, an export, a call, an import.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek};
use std::process::{Child, Command, Stdio};

use mailsync::error::{Error, ErrorKind, Result};
use mailsync::replica::{ExportOptions, ImportOptions, Imported, Replica, ScanOptions};
use mailsync::text::printable;
use serde_json::{Value, json};

use super::args::Update;
use super::context::Context;
use super::failure::{Failure, Outcome};
use super::output::Output;

/// What came of one peer.
struct Updated {
    peer: String,
    imported: Vec<Imported>,
    error: Option<Error>,
}

pub fn run(context: &Context, args: &Update) -> Outcome {
    let replica = context.write()?;
    let peers =
        if args.peers.is_empty() { replica.config().peer.keys().cloned().collect() } else { args.peers.clone() };
    if peers.is_empty() {
        return Err(Error::usage("updating: the configuration doesn't tell how to reach any peer")
            .advise(
                "add [peer.NAME] with call = [\"ssh\", \"HOST\", \"mailsync\", \"import\", \"--reply\"] to config.toml",
            )
            .into());
    }
    let report = replica.scan(&ScanOptions::default())?;
    let updated: Vec<Updated> = peers.iter().map(|peer| update(context, &replica, peer)).collect();
    let jobs = super::jobs::run_jobs(context, &replica);
    for one in &updated {
        summarise(context, one);
    }
    if context.out.json() {
        let peers: Vec<Value> = updated.iter().map(updated_json).collect();
        let error = jobs.error.as_ref().map(ToString::to_string);
        Output::print_json(&json!({ "peers": peers, "jobs": jobs.json(), "error": error }))?;
    }
    jobs.result()?;
    let bundles = updated.iter().flat_map(|one| &one.imported).filter_map(|imported| imported.outcome.error());
    let kinds = updated.iter().filter_map(|one| one.error.as_ref()).chain(bundles).map(Error::kind);
    // Whatever kept one peer from being updated, the others were: that is one failure, unless all agree on another kind.
    let mut kinds: Vec<ErrorKind> = kinds.collect();
    kinds.dedup();
    match kinds[..] {
        [] => super::scan::complain_of(&report),
        [kind] => Err(Failure::Said(kind)),
        _ => Err(Failure::Said(ErrorKind::Failed)),
    }
}

fn update(context: &Context, replica: &Replica, peer: &str) -> Updated {
    let mut imported = Vec::new();
    let result = exchange(replica, peer, &mut imported);
    context.say_notes(replica);
    Updated {
        peer: peer.to_owned(),
        imported,
        error: result.err().map(|error| error.about(format_args!("updating {peer}"))),
    }
}

fn exchange(replica: &Replica, peer: &str, imported: &mut Vec<Imported>) -> Result<()> {
    let Some(config) = replica.config().peer.get(peer) else {
        return Err(Error::usage("the configuration doesn't tell how to reach it")
            .advise(format!("add [peer.{peer}] with a call to config.toml")));
    };
    let bundle = write_bundle(replica, peer)?;
    let program = &config.call[0];
    let fail = |doing: &str, error: &io::Error| {
        Error::failed(format!("{doing} {program}: {error}"))
            .advise(format!("check the call of [peer.{peer}] in config.toml"))
    };
    let mut child = Command::new(program)
        .args(&config.call[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| fail("running", &error))?;
    let result = talk(replica, peer, &mut child, bundle, imported);
    if result.is_err() {
        // It may wait for what nobody reads any more.
        let _ = child.kill();
    }
    let status = child.wait().map_err(|error| fail("waiting for", &error))?;
    result?;
    if status.success() {
        return Ok(());
    }
    let what = format!("{program} has ended with {status}");
    Err(Error::failed(what).advise("see what it said above, then run this again; nothing is lost"))
}

/// The bundle goes to a file first: a peer that answers before it has read everything must not be waited for.
fn write_bundle(replica: &Replica, peer: &str) -> Result<File> {
    let fail = |error: io::Error| {
        Error::failed(format!("writing the bundle to a temporary file: {error}"))
            .advise("make room for it, then run this again")
    };
    let mut file = tempfile::tempfile_in(replica.state_dir()).map_err(fail)?;
    let out = io::BufWriter::with_capacity(256 << 10, &mut file);
    replica.export(&ExportOptions::to_peer(peer), out)?;
    file.rewind().map_err(fail)?;
    Ok(file)
}

fn talk(
    replica: &Replica,
    peer: &str,
    child: &mut Child,
    mut bundle: File,
    imported: &mut Vec<Imported>,
) -> Result<()> {
    let mut stdin = child.stdin.take().expect("a pipe was asked for");
    let stdout = child.stdout.take().expect("a pipe was asked for");
    std::thread::scope(|scope| {
        // One that doesn't read all of it says why by its exit status.
        scope.spawn(move || io::copy(&mut bundle, &mut stdin));
        let mut answer = BufReader::with_capacity(256 << 10, stdout);
        // What the peer does before it answers may take long: other commands need not wait for that.
        let silent = replica
            .while_others_work(|| answer.fill_buf().map(<[u8]>::is_empty))?
            .map_err(|error| Error::failed(format!("reading the answer: {error}")))?;
        if silent {
            return Ok(());
        }
        let about = format!("the answer of {}", printable(peer));
        replica.import_answer(&about, answer, &ImportOptions::default(), |one| imported.push(one))
    })
}

fn summarise(context: &Context, one: &Updated) {
    for imported in &one.imported {
        if let Some(error) = imported.outcome.error() {
            Output::complain(error);
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
        None => context.out.say(format_args!("{peer}: sent; there was no answer")),
    }
}

fn updated_json(one: &Updated) -> Value {
    json!({
        "peer": one.peer,
        "error": one.error.as_ref().map(ToString::to_string),
        "bundles": one.imported.iter().map(super::import::imported_json).collect::<Vec<_>>(),
    })
}
