//! `mailsync inspect` and `mailsync verify`

use std::cell::Cell;
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use mailsync::bundle::{self, BundleKind, Keys, Manifest, ReplicaId, Stream};
use mailsync::error::{Error, ErrorKind, Result};
use mailsync::replica::{BundleNews, ClockAhead, Foreseen, Origin, Reception, Replica, Sender, Telling};
use mailsync::text::{bytes, local_time, plural, printable};

use super::args::LookInto;
use super::code;
use super::context::Context;
use super::document::bundles::{Inspect, Inspected, Verified, Verify};
use super::document::values::Fault;
use super::document::{self, Shown};
use super::failure::{CommandResult, Ending, Failure};
use super::holds::{Holds, Words, telling};
use super::output::Output;
use super::source;

/// Shows what a bundle says about itself, and how much it tells of which folders. It needs no replica.
pub fn inspect(context: &Context, args: &LookInto) -> CommandResult {
    let replica = context.home()?.exists(&*context.world().disk)?.then(|| context.read()).transpose()?;
    let mut documents = Vec::new();
    let mut holds = Holds::begin(context, args.listing, Words::Printed);
    let code = code::given(args.code.code_file.as_deref())?;
    let keys = Replica::keys_at(&context.home()?, &context.world())?.and_code(code);
    let telling = match telling(args.listing) {
        // A document has every message, or none.
        Telling::Folders if context.out.json() => Telling::Nothing,
        telling => telling,
    };
    let mut before = (String::new(), 0);
    let files = source::files(context, &args.bundles, Ok);
    let result = each_bundle(files, &keys, &mut Vec::new(), |reader, source, read| {
        let manifest = reader.manifest().clone();
        let encrypted = reader.is_encrypted();
        let signer = reader.signer();
        let known = replica.as_ref().map_or(Ok(None), |replica| replica.known_as(&manifest.sender.id))?;
        let records = reader.verify(&signer).map_err(|error| rejected(&error, source))?;
        let news = if telling == Telling::Nothing {
            records.skip().map_err(|error| rejected(&error, source))?;
            BundleNews::default()
        } else {
            BundleNews::read(records, telling, false, origin(source)).map_err(|error| error.about(source))?
        };
        // Each file is counted from its beginning.
        let start = if before.0 == source { before.1 } else { 0 };
        let size = read.get() - start;
        before = (source.to_owned(), read.get());
        holds.say(&format!("in         {source}"));
        for line in describe(&manifest, news.missing(), encrypted, |id| known_here(replica.as_ref(), id))? {
            holds.say(&line);
        }
        holds.say(&format!("file       {}", bytes(size)));
        holds.folders(&news);
        let changes = holds.messages(&news, replica.as_ref())?;
        let inspected = Inspected::of(file(source), &manifest, known.as_deref(), encrypted, size);
        documents.push(Inspected { changes, missing: news.missing(), ..inspected });
        Ok(())
    });
    holds.finish()?;
    let shown = shown(context, || context.out.document(&Inspect { bundles: documents }))?;
    result.map(|()| shown)
}

/// Checks a bundle from end to end, and whether it can be applied here.
pub fn verify(context: &Context, args: &LookInto) -> CommandResult {
    let replica = context.read()?.with_code(code::given(args.code.code_file.as_deref())?);
    let mut documents = Vec::new();
    let mut holds = Holds::begin(context, args.listing, Words::Printed);
    let telling = if args.listing.tells_each() { Telling::Messages } else { Telling::Nothing };
    let mut worst: Option<ErrorKind> = None;
    let mut failed = Vec::new();
    // Each is judged as if those before it had been imported, as an import of all of them would do it.
    let mut foreseen = Foreseen::default();
    let files = source::files(context, &args.bundles, |files| replica.in_order(files));
    let result = each_bundle(files, &replica.keys(), &mut failed, |reader, source, _| {
        let manifest = reader.manifest().clone();
        let sender = replica.sender_of(&manifest)?;
        let key = sender.key(&replica, &manifest, reader.signer()).map_err(|refusal| refusal.error().about(source))?;
        let records = reader.verify(&key).map_err(|error| rejected(&error, source))?;
        let news = BundleNews::read(records, telling, true, origin(source)).map_err(|error| error.about(source))?;
        let reception = replica.receive_behind(&foreseen, &manifest, &sender, ClockAhead::Refuse)?;
        replica.foresee(&mut foreseen, &manifest, &sender, &reception)?;
        let why = reception.error();
        let word = match reception {
            Reception::Apply => "can be applied here",
            Reception::NothingNew | Reception::Outlived => "holds nothing new",
            Reception::NotYet(_) | Reception::ClockAhead(_) => "can't be applied yet",
            Reception::Refused(_) | Reception::RolledBack(..) => "can't be applied",
        };
        worst = worst.max(why.as_ref().map(Error::kind));
        let from = match sender {
            Sender::Own => String::from("this replica"),
            _ => sender.name(&manifest).to_owned(),
        };
        let whose =
            if args.bundles.len() > 1 || args.bundles[0].is_dir() { format!("{source}: ") } else { String::new() };
        holds.say(&format!("{whose}bundle {} from {from} is whole and {word}", manifest.number));
        if let Some(missing @ 1..) = news.missing() {
            holds.say(&format!("  it lacks {} that its sender could not read", plural(missing, "message")));
        }
        if let Some(why) = &why {
            holds.say(&format!("  {why}"));
            document::note(why);
        }
        documents.push(Verified {
            file: file(source),
            number: Some(manifest.number),
            from: Some(from),
            valid: true,
            applicable: why.is_none(),
            missing: news.missing(),
            error: why.as_ref().map(Fault::from),
            changes: holds.messages(&news, Some(&replica))?,
        });
        Ok(())
    });
    let invalid = |file, error: &Error| {
        let error = Some(error.into());
        let (number, from, missing, changes) = (None, None, None, None);
        Verified { file, number, from, valid: false, applicable: false, missing, error, changes }
    };
    documents.extend(failed.iter().map(|(source, error)| invalid(file(source), error)));
    if let Err(Failure::Error(error)) = &result {
        documents.push(invalid(file(&name_of(&args.bundles[0])), error));
    }
    holds.finish()?;
    let shown = shown(context, || context.out.document(&Verify { bundles: documents }))?;
    result?;
    worst.map_or(Ok(shown), |kind| Err(Failure::Said(kind)))
}

/// What was shown of bundles: as words before, or as a document here.
fn shown(context: &Context, document: impl FnOnce() -> Shown) -> CommandResult {
    if context.out.json() { Ok(document()) } else { context.out.print(None) }
}

/// A source, and how much of it was taken.
struct Source {
    from: Box<dyn BufRead>,
    taken: Rc<Cell<u64>>,
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.from.read(buffer)?;
        self.taken.set(self.taken.get() + n as u64);
        Ok(n)
    }
}

impl BufRead for Source {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.from.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.taken.set(self.taken.get() + amount as u64);
        self.from.consume(amount);
    }
}

const STANDARD: &str = "standard input";

/// The file of a source with this name, in a document.
fn file(source: &str) -> Option<String> {
    (source != STANDARD).then(|| source.to_owned())
}

/// Looks at all bundles in these files. What is wrong with one of several files keeps nobody from looking at
/// the others: it is told, and `failed` gets it, and the worst decides.
fn each_bundle(
    files: Result<Vec<PathBuf>>,
    keys: &Keys,
    failed: &mut Vec<(String, Error)>,
    mut each: impl FnMut(bundle::Reader<'_, Source>, &str, &Cell<u64>) -> Result<()>,
) -> Ending {
    let files = files?;
    if let [file] = &files[..] {
        return each_bundle_in(file, keys.clone(), &mut each);
    }
    let mut worst = None;
    for file in &files {
        match each_bundle_in(file, keys.clone(), &mut each) {
            Err(Failure::Error(error)) => {
                Output::complain(&error);
                worst = worst.max(Some(error.kind()));
                failed.push((name_of(file), error));
            }
            ended => ended?,
        }
    }
    worst.map_or(Ok(()), |kind| Err(Failure::Said(kind)))
}

/// What people call a source.
fn name_of(path: &Path) -> String {
    if source::is_standard(path) { STANDARD.to_owned() } else { path.display().to_string() }
}

fn each_bundle_in(
    path: &Path,
    keys: Keys,
    each: &mut impl FnMut(bundle::Reader<'_, Source>, &str, &Cell<u64>) -> Result<()>,
) -> Ending {
    let name = name_of(path);
    let taken = Rc::default();
    let source = Source { from: source::open(path)?, taken: Rc::clone(&taken) };
    let mut stream = Stream::opened_by(source, keys);
    loop {
        match stream.next_bundle() {
            Ok(Some(reader)) => each(reader, &name, &taken)?,
            Ok(None) => return Ok(()),
            Err(error) => return Err(rejected(&error, &name).into()),
        }
    }
}

fn rejected(error: &bundle::Error, source: &str) -> Error {
    Replica::rejection(error, origin(source)).about(source)
}

/// Whence a source with this name comes.
fn origin(source: &str) -> Origin {
    Origin::of(file(source).as_deref().map(Path::new))
}

/// Who has this id, for people.
fn known_here(replica: Option<&Replica>, id: &ReplicaId) -> Result<String> {
    let Some(replica) = replica else { return Ok(String::from("unknown here")) };
    let is_own = std::iter::once(replica.public_key()).chain(replica.former_keys()).any(|key| key.id() == *id);
    Ok(match replica.known_as(id)? {
        _ if is_own => String::from("this replica"),
        Some(name) => format!("known here as {}", printable(&name)),
        None => String::from("unknown here"),
    })
}

fn describe(
    manifest: &Manifest,
    missing: Option<u64>,
    encrypted: bool,
    known: impl Fn(&ReplicaId) -> Result<String>,
) -> Result<Vec<String>> {
    let kind = match manifest.kind {
        BundleKind::Full => "full",
        BundleKind::Delta => "delta",
    };
    let counts = manifest.counts;
    let (from, whom) = (
        known(&manifest.sender.id)?,
        match &manifest.recipient {
            None if manifest.invitation.is_some() => String::from("whoever gets it first and joins with it"),
            None => String::from("any peer"),
            Some(id) => format!("{id} ({})", known(id)?),
        },
    );
    let mut lines = vec![
        format!("bundle     {} ({kind}), made {}", manifest.number, local_time(manifest.made)),
        format!("from       {} {} ({from})", printable(&manifest.sender.name), manifest.sender.id),
        format!("for        {whom}"),
        format!(
            "holds      {}, {}, {} of {}{}, {}{}",
            plural(counts.entries, "entry"),
            plural(counts.folders, "folder"),
            counts.messages_in_words(),
            bytes(manifest.bytes),
            match missing {
                None | Some(0) => String::new(),
                Some(missing) => format!(" (it lacks {missing} of them, which its sender could not read)"),
            },
            plural(counts.jobs, "job"),
            match counts.replicas {
                0 => String::new(),
                said => format!(", {} about replicas", plural(said, "statement")),
            }
        ),
        format!("wants      {}", plural(manifest.wants.len() as u64, "message")),
        String::from("signature  holds for the key that it names"),
        format!("encrypted  {}", if encrypted { "yes" } else { "no" }),
    ];
    if let Some(invitation) = &manifest.invitation {
        lines.insert(3, format!("invites    a new replica, which its sender calls {}", printable(&invitation.name)));
    }
    Ok(lines)
}
