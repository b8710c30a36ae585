//! Refusals: the reasons why a bundle is not taken, or not yet, and all the words about them.

use std::io;
use std::path::Path;

use crate::bundle::{self, Manifest, ReplicaId, limits};
use crate::error::{Error, ErrorKind};
use crate::model::{Clock, Knowledge, RolledBack, Skew, WallClock};
use crate::replica::replicas::WhyShutOut;
use crate::replica::successions::one_of_two;
use crate::state::Spent;
use crate::text::local_time;

/// A reason why a bundle is not accepted, whatever it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// This replica made it itself.
    Own,
    /// It was signed with this replica's key, but this replica doesn't remember it. A copy of this replica made it, or
    /// this replica itself before its state was restored.
    Twin,
    /// Nobody here knows its sender.
    Stranger {
        /// The sender's id.
        id: ReplicaId,
        /// The sender's name for itself.
        name: String,
        /// Who has revoked it, and when, for people, if somebody has.
        revoked: Option<String>,
    },
    /// Its sender proves an invitation that is good for nobody any more.
    InvitationSpent {
        /// The sender.
        sender: ReplicaId,
        /// Why not.
        why: Spent,
        /// The peer that has used it, by its name here.
        user: Option<String>,
    },
    /// It is for another replica. The value is that replica's name here, or its id.
    ForSomeoneElse(String),
    /// Its sender, a peer of this name, is known for its jobs only.
    OnlyForJobs(String),
    /// A former key of this peer has signed it, which another one has followed, and it is none of the last.
    FormerKey {
        /// The peer.
        name: String,
        /// The id of the former key.
        id: ReplicaId,
        /// The number of the bundle.
        number: u64,
        /// The number of the last bundle that this key may have signed.
        last: u64,
    },
    /// Its key is said to follow one of this peer's, which another key has followed already.
    Rival {
        /// The peer.
        name: String,
        /// The id of the bundle's key.
        id: ReplicaId,
        /// The id of the key that is known.
        known: ReplicaId,
    },
    /// Its sender was revoked.
    Revoked {
        /// Its name here, or its own name for itself.
        name: String,
        /// By whom, and what to do about that.
        why: WhyShutOut,
    },
    /// With what it knows there would be more incarnations than a bundle can name.
    TooManyIncarnations,
}

impl Refusal {
    /// The error for a person.
    pub fn error(&self) -> Error {
        match self {
            Self::Own => Error::rejected("this bundle was made by this replica itself")
                .advise("import it on another machine"),
            Self::Twin => Error::rejected(
                "this bundle was made with this replica's own key, by a copy of it or before its state was restored, and a \
                 replica doesn't take its own bundles",
            )
            .advise(format!("its contents come by way of the peers; {APART}")),
            Self::Stranger { id, name, revoked: Some(by) } => Error::rejected(format!(
                "this bundle is from {id}, who calls itself {name}, was revoked by {by}, and is no peer here"
            ))
            .advise(format!(
                "if it is in your hands and always was, trust it again with `mailsync peer reinstate {id}`, and make its key known with \
                 `mailsync peer add NAME --key KEY`; else there is nothing to do: nothing is taken from it"
            )),
            Self::Stranger { id, name, revoked: None } => {
                Error::rejected(format!("this bundle is from an unknown sender, {id}, who calls itself {name}"))
                    .advise("if that is a machine of yours, make its key known with `mailsync peer add NAME --key KEY`")
            }
            Self::InvitationSpent { sender, why, user } => invitation_spent(sender, *why, user.as_deref()),
            Self::ForSomeoneElse(whom) => {
                Error::rejected(format!("this bundle is for {whom}")).advise("import it there")
            }
            Self::OnlyForJobs(name) => {
                Error::rejected(format!("{name} is known for its jobs only, and no mail is taken from it")).advise(format!(
                    "to exchange mail with it, say so with `mailsync peer add {name} --key KEY`, here and there"
                ))
            }
            Self::FormerKey { name, id, number, last } => Error::rejected(format!(
                "{name} has replaced the key {id} that has signed this bundle, number {number}, and the last one that counts of \
                 that key is number {last}"
            ))
            .advise(format!(
                "if it is from {name} all the same, export it again there; if not, somebody else has that key, and can do nothing more \
                 with it"
            )),
            Self::Rival { name, id, known } => Error::rejected(format!(
                "this bundle says that its key, {id}, follows one of {name}, and {known} has followed that: one of the two is somebody \
                 else's"
            ))
            .advise(one_of_two(name)),
            Self::Revoked { name, why: WhyShutOut { by, answer, advice } } => {
                let answer = answer.as_ref().map_or_else(String::new, |answer| format!("; {answer}"));
                Error::rejected(format!("{name} was revoked by {by}, and nothing is taken from it{answer}")).advise(advice.clone())
            }
            Self::TooManyIncarnations => Error::rejected(format!(
                "this bundle knows of incarnations with which there would be more than {} here, and no bundle can name them",
                limits::INCARNATIONS
            ))
            .advise(
                "find out which peer draws so many, and remove it; then run `mailsync doctor --repair` here and on the others, \
                 which forgets those that nobody has",
            ),
        }
    }
}

/// An invitation that nobody can use any more: somebody has carried it too long, or to a second machine, or found it.
fn invitation_spent(sender: &ReplicaId, why: Spent, user: Option<&str>) -> Error {
    let yours = "if that is a machine of yours, make its key known with `mailsync peer add NAME --key KEY`";
    let (what, advice) = match why {
        Spent::UsedBy(by) => (
            format!("was used before by {by}; one invitation is good for one replica"),
            match user {
                Some(user) => format!(
                    "{yours}; if {user}, which has used it, is none, forget that with `mailsync peer remove {user}`"
                ),
                None => yours.to_owned(),
            },
        ),
        Spent::Withdrawn => (String::from("was withdrawn"), yours.to_owned()),
        Spent::Expired => {
            (String::from("has expired"), format!("{yours}, or join anew by a new `mailsync invite NAME`"))
        }
    };
    Error::rejected(format!("this bundle is from {sender}, whose invitation {what}")).advise(advice)
}

/// A dry run can't accept the answer to an invitation. Until the answer is accepted, nobody can tell what the bundle
/// would bring.
pub(super) fn first_of_invited(name: &str) -> Error {
    Error::rejected(format!("this is the first bundle from {name}, which was invited"))
        .advise("import it without --dry-run: the invitation is accepted by that")
}

/// The advice for two machines that use the same key.
pub(in crate::replica) const APART: &str = "if a copy of this replica is in use elsewhere, make that one a replica of its own, with \
    another --home: `mailsync init` there, or `mailsync invite` on a machine that has the mail and `mailsync join` there";

/// The sender first needs a full bundle from here.
pub(super) fn needs_full(name: &str) -> Error {
    Error::new(ErrorKind::NotYet, format!("{name} doesn't know of removals that were purged here"))
        .advise(format!("write a bundle here with `mailsync export --to {name}`, and import it there first"))
}

/// The error for a replica that was rolled back.
pub(super) fn rolled_back(who: RolledBack, name: &str) -> Error {
    match who {
        RolledBack::Me => Error::refused(format!(
            "{name} knows of changes made here that this replica doesn't remember: the state here was put back to an earlier one, or \
             somebody has told {name} what isn't so"
        ))
        .advise(format!(
            "run `mailsync doctor --new-identity` here, then export to {name}, and import here the next bundle from {name}"
        )),
        RolledBack::Sender | RolledBack::SenderOrTold(_) => Error::refused(format!(
            "{name} has forgotten changes that it made: its state was put back to an earlier one"
        ))
        .advise(format!("run `mailsync doctor --new-identity` on {name}, then export there again")),
    }
}

/// The sender knows less of itself than is known here, though what is known here could come from nobody else; or it
/// doesn't list the last of its changes that is known here.
pub(super) fn told_more(name: &str, told: Clock, manifest: &Manifest, by: Option<&str>) -> Error {
    let advice = format!("run `mailsync doctor --new-identity` on {name}, then export there again");
    let advice = match by {
        Some(by) => format!(
            "if {by} is not to be trusted, remove it with `mailsync peer remove`, and if it isn't to blame find out who has told it; then \
             run `mailsync doctor --repair` here and there. If it was {name} that was put back, {advice}"
        ),
        None => advice,
    };
    let by = by.map_or_else(String::new, |by| format!(", as {by} has told"));
    let (own, told) = (manifest.tip.get(manifest.sender.incarnation), told);
    let what = if own < told {
        format!("{name} knows of its own changes up to {} only, and here they are known", local_time(own.millis()))
    } else {
        format!("{name} has made no change at {}, up to which its changes are known here", local_time(told.millis()))
    };
    let up_to = if own < told { format!(" up to {}", local_time(told.millis())) } else { String::new() };
    Error::refused(format!("{what}{up_to}{by}: the state of {name} was put back to an earlier one, or that was a lie"))
        .advise(advice)
}

/// A note: more is known of a bundle's sender than its newest bundle says.
pub(super) fn hearsay(name: &str, own: Clock, known: Clock, teller: &str) -> String {
    format!(
        "{name} tells of changes that it made up to {}, and here they are known up to {}, as {teller} has told: if a newer bundle of \
         {name} is on its way, all is well; if not, that wasn't so, and may hide mail of {name}: remove whoever is not to be trusted \
         with `mailsync peer remove`, and run `mailsync doctor --repair` here and there",
        local_time(own.millis()),
        local_time(known.millis()),
    )
}

/// A bundle has stamps of a time that has not come yet by this machine's clock.
pub(in crate::replica) fn ahead_of_clock(name: &str, newest: Clock, wall: WallClock, command: &str) -> Error {
    let what = format!(
        "{name} knows of changes made at {}, which is more than a day ahead of this machine's clock, {}: one of the two is wrong",
        local_time(newest.millis()),
        local_time(wall.0)
    );
    Error::new(ErrorKind::NotYet, what).advise(format!(
        "if it is this one, set it and {command} again; if it was the other one, set it, run `mailsync doctor --new-identity` on the \
         machine that had it, then also on {name} if that has accepted such changes, and export there again; nothing is lost. To take \
         the bundle of {name} as it is: `mailsync {command} --accept-clock`"
    ))
}

/// A note: this machine has no clock by which to judge others.
pub(in crate::replica) fn no_clock(wall: WallClock) -> String {
    format!(
        "the clock of this machine says {}, when there was no mailsync yet: set it; until then no other clock can be checked by it",
        local_time(wall.0)
    )
}

/// A note: this machine's clock differs from those of all peers. `has_stamped` says whether changes were made here that are dated
/// more than a day after now, which another note tells.
pub(super) fn own_clock(skew: Skew, peers: &str, has_stamped: bool) -> String {
    let (millis, where_it_is, otherwise) = match skew {
        Skew::Ahead(millis) => (
            millis,
            "behind",
            "; if it is right, theirs are wrong: set those, run `mailsync doctor --new-identity` there, and export there again",
        ),
        Skew::Behind(millis) if has_stamped => (millis, "ahead of", ""),
        Skew::Behind(millis) => (
            millis,
            "ahead of",
            "; if it is right, see theirs; if those are right, too, somebody has told them of changes that were never made here: \
             run `mailsync doctor --repair` there, and export there again, or wait until that time has come",
        ),
    };
    let days = crate::text::plural(millis / (24 * 60 * 60 * 1000), "day");
    format!(
        "the clock of this machine is {days} or more {where_it_is} that of every peer ({peers}): set it if it is wrong, before \
         anything else{otherwise}"
    )
}

/// A note: this replica's own stamps are ahead of its clock.
pub(super) fn own_stamps(newest: Clock) -> String {
    format!(
        "changes that were made here are dated up to {}, more than a day ahead of this machine's clock, and peers don't take them: if \
         the clock is right now, run `mailsync doctor --new-identity`",
        local_time(newest.millis())
    )
}

/// A note: others' stamps that are known here are ahead of this machine's clock, and all later ones will be.
pub(super) fn known_stamps(newest: Clock) -> String {
    format!(
        "changes of others that are known here are dated up to {}, more than a day ahead of this machine's clock, and so is what this \
         machine changes next, which peers don't take: when all clocks are right, run `mailsync doctor --new-identity` where they were \
         made, and then here",
        local_time(newest.millis())
    )
}

/// The error for a missing earlier bundle. `missing` has the clocks that are not known here.
pub(super) fn not_yet(name: &str, manifest: &Manifest, missing: &Knowledge) -> Error {
    let own = missing.get(manifest.sender.incarnation);
    let clock = if own.bits() > 0 { own } else { missing.newest() };
    let what = match manifest.follows {
        Some(before) => {
            format!("bundle {} from {} follows its bundle {before}, which was not imported here", manifest.number, name)
        }
        None => format!(
            "bundle {} from {} starts from changes up to {} that are not known here: a bundle before it is missing",
            manifest.number,
            name,
            local_time(clock.millis())
        ),
    };
    let first = match manifest.follows {
        Some(before) => format!("import bundle {before} from {name} first"),
        None => format!("import the bundles from {} before number {} first", name, manifest.number),
    };
    Error::new(ErrorKind::NotYet, what)
        .advise(format!("{first}, or give {name} a bundle from here and let it export again"))
}

/// A fault that ends an import: in the bundle, or on this machine; or the bundle shows that somebody's state was put
/// back to an earlier one.
#[derive(Debug)]
pub(in crate::replica) enum Fault {
    Bundle(bundle::Error),
    Here(Error),
    RolledBack(Error),
}

impl Fault {
    /// The error that a person is told.
    pub(in crate::replica) fn into_error(self, origin: Origin) -> Error {
        match self {
            Self::Bundle(error) => reading(&error, origin),
            Self::Here(error) | Self::RolledBack(error) => error,
        }
    }
}

impl From<bundle::Error> for Fault {
    fn from(error: bundle::Error) -> Self {
        match error {
            // The bundle may be good.
            bundle::Error::Io(source) => Self::Here(unreadable(&source)),
            bundle::Error::Sink(error) => {
                Self::Here(Error::os("writing the contents of the bundle", error).advise(WRITING))
            }
            other => Self::Bundle(other),
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Here(error)
    }
}

pub(super) const WRITING: &str = "see that you may write there, and that there is room, then import again";

/// Whence a bundle is read. What a person can do about one that can't be read depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// One of the files in a directory: what ends early may still be being copied.
    Directory,
    /// A file that somebody has named.
    File,
    /// Standard input, or a pipe with a name.
    Stream,
    /// What a peer that was called has answered.
    Answer,
}

impl Origin {
    /// A file that was named, or else a stream.
    pub fn of(file: Option<&Path>) -> Self {
        if file.is_some() { Self::File } else { Self::Stream }
    }

    fn is_file(self) -> bool {
        matches!(self, Self::Directory | Self::File)
    }
}

/// The error for what can't be read, and may be a good bundle.
pub(in crate::replica) fn unreadable(source: &io::Error) -> Error {
    if let Some(error) = Error::within(source) {
        return error.clone();
    }
    Error::os("reading the bundle", source)
        .advise("check the file or the pipe that it is read from, then run this again")
}

/// What to do about what stands behind a bundle in a stream.
const BEHIND: &str = "the bundles before it are read as if it weren't there: what they brought stays, and nothing is lost; something on \
                      the other machine writes behind `mailsync export`, such as a logout script of the shell (~/.bash_logout, \
                      ~/.zlogout): let it do so only at a terminal";
/// The same in a file.
const BEHIND_IN_FILE: &str = "the bundles before it are read as if it weren't there: what they brought stays, and nothing is lost; what \
                              wrote the file has added that, such as a logout script of the shell (~/.bash_logout) where it came \
                              through ssh: nothing need be imported again";

/// The error for a bundle that can't be read, with advice.
pub(in crate::replica) fn reading(error: &bundle::Error, origin: Origin) -> Error {
    let advice = match error {
        // The bundle may be good.
        bundle::Error::Io(source) => return unreadable(source),
        bundle::Error::Empty | bundle::Error::NotABundle { .. } if origin.is_file() => return no_bundle(error),
        bundle::Error::Empty => {
            "the program that was to write it has failed before the first byte, or it was `mailsync import` without --reply: see \
             what it said, then run this again; nothing is lost"
        }
        bundle::Error::NotABundle { begins: Some(_) } => {
            "give a file that `mailsync export` wrote; if it came through ssh, a start-up file of the shell on the other machine \
             (~/.bashrc, ~/.zshenv, ~/.profile) prints that: let it do so only at a terminal, then run this again"
        }
        bundle::Error::NotABundle { begins: None } => "give a file that `mailsync export` wrote",
        bundle::Error::Behind { .. } if origin.is_file() => BEHIND_IN_FILE,
        bundle::Error::Behind { .. } => BEHIND,
        bundle::Error::BehindSealed { .. } if origin.is_file() => {
            "nothing of the bundle was taken, and nothing is lost: copy it again, or export again; what wrote the file may have added \
             something, such as a logout script of the shell (~/.bash_logout) where it came through ssh"
        }
        bundle::Error::BehindSealed { .. } => {
            "nothing of the bundle was taken, and nothing is lost; something on the other machine may write behind `mailsync export`, \
             such as a logout script of the shell (~/.bash_logout, ~/.zlogout): let it do so only at a terminal, then run this again"
        }
        bundle::Error::NewerFormat { .. } => "update mailsync on this machine",
        bundle::Error::BadSignature { .. } | bundle::Error::WrongSigner { .. } => {
            "don't trust it; export it again on the machine that it says it is from"
        }
        bundle::Error::Truncated => match origin {
            Origin::Directory | Origin::File => "copy it again, whole, or export again",
            Origin::Stream => {
                "the connection broke, or the program that writes it was ended: nothing of it was taken, and nothing is lost; see what \
                 that program said, then run this again"
            }
            Origin::Answer => {
                "the connection broke while it came: nothing of it was taken, what came before it stays, and nothing is lost; run \
                 `mailsync update` again"
            }
        },
        bundle::Error::Sealed => "import it on the machine that it is for; if that is this one, export it again there",
        bundle::Error::Locked => {
            "`mailsync join MAILROOT BUNDLE` makes a new replica from an invitation; for anything else, give the code with \
             --code-file FILE or in MAILSYNC_CODE"
        }
        bundle::Error::WrongCode => {
            "give the words that `mailsync invite` has shown for this very file: each has a code of its own; if they are \
             right, the file was changed: copy it again, or invite again"
        }
        bundle::Error::Untrue { .. } => {
            "nothing of it was taken; update mailsync where it was made, and if that doesn't help, don't trust that machine"
        }
        _ if origin.is_file() => "copy it again, or export again",
        _ => {
            "nothing of it was taken: run this again; if it says the same then, something on the way changes it, such as `ssh -t`, \
             which makes a terminal of the connection"
        }
    };
    Error::rejected(error.to_string()).advise(advice)
}

/// The error for a file that is no bundle: somebody has named the wrong one.
fn no_bundle(error: &bundle::Error) -> Error {
    let what = match error {
        bundle::Error::Empty => {
            return Error::rejected("the file is empty").advise(
                "copy it again, or export again: what was to write it has failed, or its disk was full; nothing is lost",
            );
        }
        bundle::Error::NotABundle { begins: Some(begins) } => begins.looks_like(),
        _ => Some(String::from("a file that zstd has compressed, as it does bundles, and holds something else")),
    };
    let what = what.map_or_else(String::new, |what| format!(": it seems to be {what}"));
    Error::rejected(format!("not a bundle{what}")).advise(
        "give a file that `mailsync export` or `mailsync invite` wrote: mostly its name ends in .zst.age or .zst",
    )
}
