//! Calls: the configuration names a program that reaches a peer. A call is an export, a run of that program, and an
//! import of its answer. The other end of such a call is here, too: it decides for whom the answer is.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::process::ExitStatus;
use std::sync::mpsc;
use std::time::Duration;

use super::export::Packed;
use super::import::{Arrived, Origin, keeping};
use super::{ExportOptions, Exported, ImportOptions, ImportOutcome, Imported, Replica};
use crate::error::{Error, ErrorKind, Result};
use crate::process::{Conversation, Heard, converse, was_told_to_stop};
use crate::text::{beginning, printable};

/// With this status ssh ends when it has no connection, and otherwise with that of the program on the other side. See
/// EXIT STATUS in ssh(1). Mailsync itself never ends with it.
const NO_CONNECTION: i32 = 255;

/// So often one update calls a peer again that has called here meanwhile.
const AGAIN_AT_MOST: u32 = 3;

/// How peers are called.
#[derive(Clone, Debug)]
pub struct CallOptions {
    /// So many programs run at a time. Whoever is called while others are gets nothing of what these bring.
    pub at_once: NonZeroUsize,
    /// How the answers are imported.
    pub import: ImportOptions,
}

/// A peer that was called, and what came of it.
#[derive(Debug)]
pub struct Called {
    /// The peer's name.
    pub peer: String,
    /// The bundle that it was given, all of it.
    pub sent: Option<Exported>,
    /// The size of what it has answered: bytes.
    pub received: u64,
    /// The bundles in its answer. If one is wrong, its outcome tells.
    pub imported: Vec<Imported>,
    /// Whether it went well. The peer is unreachable if its program ended with 255 before a byte of an answer was heard.
    pub result: Result<()>,
}

impl Called {
    /// Whether it was refused, and nothing came from it.
    fn is_refused(&self) -> bool {
        self.received == 0 && self.result.as_ref().is_err_and(|error| error.kind() == ErrorKind::Refused)
    }

    /// One of which nothing has come yet.
    fn not_yet(peer: &str) -> Self {
        Self { peer: peer.to_owned(), sent: None, received: 0, imported: Vec::new(), result: Ok(()) }
    }
}

/// A call that can begin: its bundle is packed.
struct Call<'r> {
    peer: &'r str,
    program: &'r [String],
    patience: Duration,
    /// The same, as it is configured.
    timeout: &'r str,
    packed: Packed,
    /// Another hold on the replica, to read with while the answer comes.
    beside: Replica,
}

/// A call whose program has ended.
struct Ended<'r> {
    call: Call<'r>,
    /// Whether the conversation could begin; then how it has ended, and what was answered.
    talked: Result<(io::Result<Heard>, Result<Arrived>)>,
}

/// Tells that a thread has ended, however it ends.
struct Bell(mpsc::Sender<usize>, usize);

impl Drop for Bell {
    fn drop(&mut self) {
        // Nobody listens any more if this fails.
        let _ = self.0.send(self.1);
    }
}

impl Replica {
    /// Sends each of these peers a bundle by its `call`, and imports what that answers. `aside` is given each line that a
    /// program says to people, with the peer's name, as it comes; `each` is told when a peer is done.
    ///
    /// Bundles are packed and answers imported one after the other, with the lock. While programs are waited for, other
    /// commands can work on the replica. What goes wrong with one peer keeps no other from being called, unless the lock
    /// can't be had again.
    pub fn call_each(
        &self,
        peers: &[String],
        options: &CallOptions,
        aside: &(dyn Fn(&str, &str) + Sync),
        mut each: impl FnMut(Called),
    ) {
        let (bell, rung) = mpsc::channel();
        let mut waiting: VecDeque<_> =
            peers.iter().enumerate().map(|(number, peer)| (number, peer.as_str(), 0)).collect();
        let mut lost: Option<Error> = None;
        std::thread::scope(|scope| {
            let mut running = BTreeMap::new();
            loop {
                while running.len() < options.at_once.get()
                    && let Some((number, peer, again)) = waiting.pop_front()
                {
                    let begun = lost.clone().map_or_else(|| self.prepare_call(peer), Err).and_then(|call| {
                        let (bell, program) = (Bell(bell.clone(), number), &call.program[0]);
                        let thread = std::thread::Builder::new().spawn_scoped(scope, move || {
                            let _bell = bell;
                            call.talk(aside)
                        });
                        thread.map_err(|error| not_started(program, error))
                    });
                    match begun {
                        Ok(thread) => drop(running.insert(number, (peer, again, thread))),
                        Err(error) => each(Called { result: Err(error), ..Called::not_yet(peer) }),
                    }
                }
                if running.is_empty() {
                    break;
                }
                let mut first = None;
                // Each thread that runs has a bell, and so has this one.
                let locked = self.while_others_work(|| first = rung.recv().ok());
                lost = lost.take().or(locked.err());
                let Some((number, (peer, again, thread))) = first.and_then(|number| running.remove_entry(&number))
                else {
                    continue;
                };
                let ended = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                let bundle = ended.call.packed.exported.number;
                let mut called = Called::not_yet(peer);
                called.result = match &lost {
                    Some(error) => Err(error.clone()),
                    None => self.end_call(ended, &options.import, &mut called),
                };
                if again < AGAIN_AT_MOST && called.is_refused() && self.has_overtaken(peer, bundle) {
                    waiting.push_front((number, peer, again + 1));
                    continue;
                }
                each(called);
            }
        });
    }

    /// The same for one peer; `each` is told of each bundle in its answer.
    ///
    /// # Errors
    /// It went wrong. If a bundle in the answer is wrong, its outcome tells.
    pub fn call(
        &self,
        peer: &str,
        options: &ImportOptions,
        aside: &(dyn Fn(&str) + Sync),
        mut each: impl FnMut(Imported),
    ) -> Result<()> {
        let options = CallOptions { at_once: NonZeroUsize::MIN, import: options.clone() };
        let mut result = Ok(());
        self.call_each(&[peer.to_owned()], &options, &|_, line| aside(line), |called| {
            called.imported.into_iter().for_each(&mut each);
            result = called.result;
        });
        result
    }

    /// Whether the peer has got a later bundle than this one, which was refused there. One that calls here meanwhile gets one as
    /// the answer, and then doesn't answer an earlier one, which could be anybody's copy.
    fn has_overtaken(&self, peer: &str, bundle: u64) -> bool {
        // If that can't be read, the refusal is told.
        let newest = self.state.peer_by_name(peer).ok().flatten().and_then(|peer| peer.sent_number);
        let is_later = newest.is_some_and(|newest| newest > bundle);
        if is_later {
            self.note(format!(
                "{} has called here meanwhile, and got a later bundle than number {bundle}, which was refused there for that; it is \
                 called again",
                printable(peer)
            ));
        }
        is_later
    }

    /// Packs the bundle for a peer.
    ///
    /// # Errors
    /// The configuration doesn't tell how to reach the peer, there is no such peer, it was invited and has not
    /// answered, or this machine fails.
    fn prepare_call<'r>(&'r self, peer: &'r str) -> Result<Call<'r>> {
        let config = self.config.peer.get(peer).and_then(|config| Some((config, config.call.as_ref()?)));
        let Some((config, call)) = config else {
            if !self.is_called(peer)? {
                return Err(self.unknown_peer(peer));
            }
            return Err(Error::usage("the configuration doesn't tell how to reach it")
                .advise(format!("add [peer.{peer}] with a call to config.toml")));
        };
        self.check_has_answered(peer)?;
        if was_told_to_stop() {
            return Err(stopped());
        }
        let packed = self.pack(&ExportOptions::to_peer(peer))?;
        let patience = config.timeout().map_err(Error::usage)?;
        Ok(Call { peer, program: call, patience, timeout: &config.timeout, packed, beside: self.beside()? })
    }

    /// Records what became of a call, and imports the answer.
    ///
    /// # Errors
    /// The program couldn't be run, was silent for too long or ended with a failure, or this machine fails.
    fn end_call(&self, ended: Ended<'_>, options: &ImportOptions, called: &mut Called) -> Result<()> {
        let Ended { call: Call { peer, program, timeout, packed, beside, .. }, talked } = ended;
        let (call, program, about) = (program, &program[0], answer_from(peer));
        beside.notes.take().into_iter().for_each(|note| self.note(note));
        let (heard, answer) = talked?;
        let (status, all_was_read) = match heard {
            Ok(Heard::Ended(status, all_was_read)) => (Some(status), all_was_read),
            // Its import tells what is wrong with it.
            Ok(Heard::Unwanted) => (None, false),
            Ok(Heard::Stopped) => return Err(stopped()),
            Ok(Heard::Silent) => {
                let what = format!("{program} was ended: for {timeout} nothing went to it or came from it");
                return Err(Error::failed(what).advise(format!(
                    "see whether it can be reached, and run this again; or let it have more time, by the timeout of [peer.{peer}] \
                     in config.toml; nothing is lost"
                )));
            }
            Err(error) => {
                return Err(Error::failed(format!("running {program}: {error}")).advise(format!(
                    "check the call of [peer.{peer}] in config.toml, and that there is room for the answer"
                )));
            }
        };
        let mut answer = answer?;
        let silent = answer.is_silent().map_err(|error| keeping(&self.home, &about, &error))?;
        if !silent {
            if all_was_read && status.is_some_and(|status| status.success()) {
                self.record_handed_over(&packed)?;
                called.sent = Some(packed.exported);
            }
            called.received = answer.size();
            let options = ImportOptions { by_call: true, ..options.clone() };
            self.import_arrived(&mut answer, &options, |one| called.imported.push(one))?;
        }
        how_it_ended(peer, call, status, silent)
    }

    /// A replica that was invited and has not answered is not called: its key isn't known, so a bundle for it could not
    /// be encrypted, and nobody could tell whether what the call reaches is that replica.
    ///
    /// # Errors
    /// It was invited, and has not answered.
    fn check_has_answered(&self, peer: &str) -> Result<()> {
        if self.state.invitation(peer)?.is_none() {
            return Ok(());
        }
        Err(Error::refused("it was invited and has not answered yet, so its key isn't known, and nothing was sent").advise(format!(
            "have {peer} join and send the first bundle, by `mailsync update` or `mailsync export` there; then run this again"
        )))
    }

    /// Writes the answer to bundles that were imported, for whoever sent the last one that was accepted, if only as not
    /// yet applicable, and that is newer than every bundle of its sender's before. While it is taken, other commands
    /// can work on the replica. Returns what it holds, if there is one: there is none if no bundle was accepted.
    ///
    /// An answer holds the mail that the sender lacks, so who can have one made with an old bundle, such as a copy from
    /// a stick, could read that mail. Nobody but the sender makes a new one. An answer that is encrypted for the sender
    /// can be read by nobody else, so it is given to any.
    ///
    /// # Errors
    /// Those of an export; and a refusal for safety, if bundles were accepted and none of them is new.
    pub fn reply<W: Write>(&self, all: &[Imported], mut out: W) -> Result<Option<Exported>> {
        let Some(options) = reply_to(all, |peer| self.answers_secretly(peer))? else { return Ok(None) };
        let mut packed = self.pack(&options)?;
        self.while_others_work(|| packed.hand_over(&mut out))??;
        self.record_handed_over(&packed)?;
        Ok(Some(packed.exported))
    }
}

impl<'r> Call<'r> {
    /// Has the conversation, and keeps the answer.
    fn talk(mut self, aside: &(dyn Fn(&str, &str) + Sync)) -> Ended<'r> {
        let talked = self.talk_and_keep(aside);
        Ended { call: self, talked }
    }

    /// Keeps the answer as far as bundles can be read in it.
    ///
    /// # Errors
    /// The conversation can't begin.
    fn talk_and_keep(&mut self, aside: &(dyn Fn(&str, &str) + Sync)) -> Result<(io::Result<Heard>, Result<Arrived>)> {
        let Call { peer, program, patience, packed, beside, .. } = self;
        let (peer, call) = (*peer, *program);
        let (conversation, say) = (Conversation { call, patience: *patience }, &mut packed.file);
        let fail = |error| not_started(&call[0], error);
        let (from, mut to) = io::pipe().map_err(fail)?;
        std::thread::scope(|scope| {
            let talk = std::thread::Builder::new()
                .spawn_scoped(scope, move || converse(&conversation, say, &mut to, &mut |line| aside(peer, line)));
            let talk = talk.map_err(fail)?;
            let answer = beside.keep_bundles(&answer_from(peer), Origin::Answer, from);
            Ok((talk.join().expect("a conversation does not panic"), answer))
        })
    }
}

/// What a call has come to whose answer was taken; it was `silent` if nothing came. The status of a program that had to be ended
/// isn't known.
///
/// # Errors
/// The program has failed, or nothing came: whoever imports a bundle there has written an answer. With the statuses by which
/// mailsync says why it didn't take a bundle, that is the kind of the error.
fn how_it_ended(peer: &str, call: &[String], status: Option<ExitStatus>, silent: bool) -> Result<()> {
    let program = &call[0];
    let Some(status) = status else {
        return Err(Error::failed(format!("{program} was ended: its answer is no bundle from there on")).advise(AGAIN));
    };
    let ended = format!("{program} has ended with {status}");
    if status.success() {
        return if silent { Err(no_answer(peer, call, status)) } else { Ok(()) };
    }
    let kind_of = |kind: ErrorKind| status.code() == Some(i32::from(kind.exit_code()));
    Err(if silent && status.code() == Some(NO_CONNECTION) {
        Error::new(ErrorKind::Unreachable, format!("it could not be reached: {ended}, and nothing was heard"))
            .advise("see what it said above, and run this again when the peer can be reached; nothing is lost")
    } else if kind_of(ErrorKind::NotYet) {
        Error::new(ErrorKind::NotYet, format!("{ended}: the bundle can't be applied there yet")).advise(
            "see what it said above: if a bundle is missing there, its answer has told so, and the next update brings what is missing; \
             if a clock is wrong, set it; nothing is lost",
        )
    } else if kind_of(ErrorKind::Rejected) {
        Error::new(ErrorKind::Rejected, format!("{ended}: the bundle was not accepted there")).advise(
            "see what it said above, and mend that there: until then it will say the same again; nothing is lost",
        )
    } else if kind_of(ErrorKind::Locked) {
        Error::new(ErrorKind::Locked, format!("{ended}: another mailsync works on that replica just now"))
            .advise("wait until it has ended there, then run this again; nothing is lost")
    } else if kind_of(ErrorKind::Refused) {
        Error::new(ErrorKind::Refused, format!("{ended}: it was refused there for safety")).advise(
            "see what it said above, and decide on that machine: until then it will say the same again; nothing is lost",
        )
    } else {
        Error::failed(ended).advise(AGAIN)
    })
}

/// So much of a call is shown, in characters.
const SHOWN: usize = 200;
/// What is to be done about a program that has failed.
const AGAIN: &str = "see what it said above, then run this again; nothing is lost";

fn no_answer(peer: &str, call: &[String], status: ExitStatus) -> Error {
    let ran = beginning(&call.join(" "), SHOWN);
    Error::failed(format!("there was no answer: `{ran}` has ended with {status}, and nothing came from it")).advise(format!(
        "if the call of [peer.{peer}] in config.toml runs `mailsync import` without --reply, add that; it must reach a mailsync that \
         reads the bundle and writes an answer; nothing is lost"
    ))
}

/// What its answer is called.
fn answer_from(peer: &str) -> String {
    format!("the answer from {}", printable(peer))
}

#[allow(clippy::needless_pass_by_value, reason = "it is given by value")]
fn not_started(program: &str, error: io::Error) -> Error {
    Error::failed(format!("running {program}: {error}"))
        .advise("see how many files and processes a user may have here, then run this again")
}

fn stopped() -> Error {
    Error::failed("mailsync was told to stop").advise("run this again; nothing is lost")
}

/// What to export as the answer to bundles that were imported. `secretly` tells whether the answer to a peer is encrypted
/// for it: then it doesn't matter who asks.
fn reply_to(all: &[Imported], secretly: impl Fn(&str) -> bool) -> Result<Option<ExportOptions>> {
    let heard = |imported: &&Imported| match imported.outcome {
        ImportOutcome::Applied | ImportOutcome::NothingNew => true,
        ImportOutcome::NotYet(_) => !imported.clock_ahead,
        _ => false,
    };
    let mut accepted = all.iter().rev().filter(heard);
    let Some(last) = accepted.clone().next() else { return Ok(None) };
    let from = |imported: &Imported| imported.from.clone().unwrap_or_default();
    let Some(fresh) = accepted.find(|imported| imported.fresh || secretly(&from(imported))) else {
        let (name, number) = (from(last), last.number.unwrap_or(0));
        let name = printable(&name);
        return Err(Error::refused(format!(
            "answering {name}: its bundle {number} is not newer than all that came from there before, so somebody else may \
             have kept a copy of it; no answer was written"
        ))
        .advise(format!(
            "make a new bundle on {name} for each exchange, as `mailsync export` and `mailsync update` do; if its state was put \
             back to an earlier one, first run `mailsync doctor --new-identity` there"
        )));
    };
    Ok(Some(ExportOptions::to_peer(&from(fresh))))
}
