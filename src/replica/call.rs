//! Calls: the configuration names a program that reaches a peer. A call is an export, a run of that program, and an
//! import of its answer. The other end of such a call is here, too: it decides for whom the answer is.

use std::io::{Read, Write};

use super::import::{Arrived, keeping};
use super::{ExportOptions, Exported, ImportOptions, ImportOutcome, Imported, Replica};
use crate::error::{Error, ErrorKind, Result};
use crate::process::{Conversation, Heard, converse, was_told_to_stop};
use crate::text::printable;

/// With this status ssh ends when it has no connection, and otherwise with that of the program on the other side. See
/// EXIT STATUS in ssh(1). Mailsync itself never ends with it.
const NO_CONNECTION: i32 = 255;

impl Replica {
    /// Sends a peer a bundle by its `call`, and imports what that answers; `each` is told of each bundle in the answer.
    /// While the peer works, other commands can work on the replica.
    ///
    /// # Errors
    /// The configuration doesn't tell how to reach the peer, there is no such peer, it was invited and has not
    /// answered, its program can't be run, is silent
    /// for too long or ends with a failure, or this machine fails. If a bundle in the answer is wrong, its outcome
    /// tells. The peer is unreachable if its program ended with 255 before a byte of an answer was
    /// heard.
    pub fn call(&self, peer: &str, options: &ImportOptions, each: impl FnMut(Imported)) -> Result<()> {
        let config = self.config.peer.get(peer).and_then(|config| Some((config, config.call.as_ref()?)));
        let Some((config, call)) = config else {
            if !self.is_called(peer)? {
                return Err(self.unknown_peer(peer));
            }
            return Err(Error::usage("the configuration doesn't tell how to reach it")
                .advise(format!("add [peer.{peer}] with a call to config.toml")));
        };
        self.check_has_answered(peer)?;
        let stopped = || Error::failed("mailsync was told to stop").advise("run this again; nothing is lost");
        if was_told_to_stop() {
            return Err(stopped());
        }
        let mut packed = self.pack(&ExportOptions::to_peer(peer))?;
        let (program, about) = (&call[0], format!("the answer from {}", printable(peer)));
        let conversation = Conversation { call, patience: config.timeout().map_err(Error::usage)? };
        let (heard, answer) = self.while_others_work(|| self.converse(&about, &conversation, &mut packed.file))??;
        let status = match heard {
            Ok(Heard::Ended(status, all_was_read)) => {
                if all_was_read && status.success() {
                    self.record_handed_over(&packed)?;
                }
                Some(status)
            }
            // Its import tells what is wrong with it.
            Ok(Heard::Unwanted) => None,
            Ok(Heard::Stopped) => return Err(stopped()),
            Ok(Heard::Silent) => {
                let what = format!("{program} was ended: for {} nothing went to it or came from it", config.timeout);
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
            self.import_arrived(&mut answer, options, each)?;
        }
        let what = match status {
            Some(status) if status.success() => return Ok(()),
            Some(status) if silent && status.code() == Some(NO_CONNECTION) => {
                let what = format!("it could not be reached: {program} has ended with {status}, and nothing was heard");
                return Err(Error::new(ErrorKind::Unreachable, what).advise(
                    "see what it said above, and run this again when the peer can be reached; nothing is lost",
                ));
            }
            Some(status) => format!("{program} has ended with {status}"),
            None => format!("{program} was ended: its answer is no bundle from there on"),
        };
        Err(Error::failed(what).advise("see what it said above, then run this again; nothing is lost"))
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

    /// Has a conversation, and keeps the answer as far as bundles can be read in it.
    ///
    /// # Errors
    /// The conversation can't begin.
    fn converse(
        &self,
        about: &str,
        conversation: &Conversation<'_>,
        say: &mut (dyn Read + Send),
    ) -> Result<(std::io::Result<Heard>, Result<Arrived>)> {
        let fail = |error: std::io::Error| {
            Error::failed(format!("running {}: {error}", conversation.call[0]))
                .advise("see how many files and processes a user may have here, then run this again")
        };
        let (from, mut to) = std::io::pipe().map_err(fail)?;
        std::thread::scope(|scope| {
            let talk = std::thread::Builder::new().spawn_scoped(scope, move || converse(conversation, say, &mut to));
            let talk = talk.map_err(fail)?;
            let answer = self.keep_bundles(about, from);
            Ok((talk.join().expect("a conversation does not panic"), answer))
        })
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
