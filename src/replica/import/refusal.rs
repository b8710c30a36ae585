//! Why a bundle is not taken, or not yet, and all the words about it.

use crate::bundle::{self, Manifest, ReplicaId};
use crate::error::{Error, ErrorKind};
use crate::model::{Knowledge, RolledBack};
use crate::state::Spent;

/// Why a bundle is not accepted, whatever it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// This replica made it itself.
    Own,
    /// This replica's key signed it, and this replica doesn't remember it: a copy of it made it, or itself before its state was
    /// restored.
    Twin,
    /// Nobody here knows its sender.
    Stranger {
        /// The sender's id.
        id: ReplicaId,
        /// How it calls itself.
        name: String,
    },
    /// Its sender proves an invitation that is good for nobody any more.
    InvitationSpent {
        /// The sender.
        sender: ReplicaId,
        /// Why not.
        why: Spent,
    },
    /// It is for another replica: the name by which that one is known here, or its id.
    ForSomeoneElse(String),
    /// Its sender, a peer of this name, is known for its jobs only.
    OnlyForJobs(String),
}

impl Refusal {
    /// The error for a person.
    pub fn error(&self) -> Error {
        match self {
            Self::Own => Error::rejected("this bundle was made by this replica itself")
                .advise("import it on another machine"),
            Self::Twin => Error::rejected(
                "this bundle was made with this replica's own key, by a copy of it or before its state was restored, and one \
                 replica doesn't take bundles of its own",
            )
            .advise(format!("what it holds comes by way of the peers; {APART}")),
            Self::Stranger { id, name } => {
                Error::rejected(format!("this bundle is from an unknown sender, {id}, who calls itself {name}"))
                    .advise("if that is a machine of yours, make its key known with `mailsync peer add NAME --key KEY`")
            }
            Self::InvitationSpent { sender, why } => invitation_spent(sender, *why),
            Self::ForSomeoneElse(whom) => {
                Error::rejected(format!("this bundle is for {whom}")).advise("import it there")
            }
            Self::OnlyForJobs(name) => {
                Error::rejected(format!("{name} is known for its jobs only, and no mail is taken from it")).advise(format!(
                    "to exchange mail with it, say so with `mailsync peer add {name} --key KEY`, here and there"
                ))
            }
        }
    }
}

/// An invitation that nobody can use any more: somebody has carried it too long, or to a second machine, or found it.
fn invitation_spent(sender: &ReplicaId, why: Spent) -> Error {
    let yours = "if that is a machine of yours, make its key known with `mailsync peer add NAME --key KEY`";
    let (what, advice) = match why {
        Spent::UsedBy(by) => (
            format!("was used before by {by}; one invitation is good for one replica"),
            format!("{yours}; if the one that has used it is none, forget that with `mailsync peer remove NAME`"),
        ),
        Spent::Withdrawn => (String::from("was withdrawn"), yours.to_owned()),
        Spent::Expired => {
            (String::from("has expired"), format!("{yours}, or join anew by a new `mailsync invite NAME`"))
        }
    };
    Error::rejected(format!("this bundle is from {sender}, whose invitation {what}")).advise(advice)
}

/// A dry run can't accept the answer to an invitation; until it is accepted, nobody can tell what the bundle would bring.
pub(super) fn first_of_invited(name: &str) -> Error {
    Error::rejected(format!("this is the first bundle of {name}, which was invited"))
        .advise("import it without --dry-run: the invitation is accepted by that")
}

/// The advice for two machines that use the same key.
pub(in crate::replica) const APART: &str = "if a copy of this replica is in use elsewhere, make that one a replica of its own, with \
    another --home: `mailsync init` there, or `mailsync invite` on a machine that has the mail and `mailsync join` there";

/// The sender first needs a full bundle from here.
pub(super) fn needs_full(name: &str) -> Error {
    Error::new(ErrorKind::NotYet, format!("{name} doesn't know of removals that were purged here"))
        .advise(format!("first import there what `mailsync export --to {name}` writes here"))
}

/// Somebody's past was rolled back.
pub(super) fn rolled_back(who: RolledBack, name: &str) -> Error {
    match who {
        RolledBack::Me => Error::refused(format!(
            "{name} knows of changes made here that this replica doesn't remember: its state was put back to an earlier one"
        ))
        .advise(format!(
            "run `mailsync doctor --new-identity` here, then export to {name}, and import here what {name} exports after that"
        )),
        RolledBack::Sender => Error::refused(format!(
            "{name} has forgotten changes that it made: its state was put back to an earlier one"
        ))
        .advise(format!("run `mailsync doctor --new-identity` on {name}, then export there again")),
    }
}

/// A bundle before this one is missing, by these clocks.
pub(super) fn not_yet(name: &str, manifest: &Manifest, missing: &Knowledge) -> Error {
    let own = missing.get(manifest.sender.incarnation);
    let since = |millis: u64| {
        jiff::Timestamp::from_millisecond(i64::try_from(millis).unwrap_or(i64::MAX))
            .map_or_else(|_| String::from("an unknown time"), |time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
    };
    let clock = if own.bits() > 0 { own } else { missing.newest() };
    let what = match manifest.follows {
        Some(before) => {
            format!("bundle {} of {} follows its bundle {before}, which was not imported here", manifest.number, name)
        }
        None => format!(
            "bundle {} of {} starts from changes up to {} that are not known here: a bundle before it is missing",
            manifest.number,
            name,
            since(clock.millis())
        ),
    };
    let first = match manifest.follows {
        Some(before) => format!("import bundle {before} of {name} first"),
        None => format!("import the bundles of {} before number {} first", name, manifest.number),
    };
    Error::new(ErrorKind::NotYet, what)
        .advise(format!("{first}, or give {name} a bundle from here and let it export again"))
}

/// What can go wrong with an import: with the bundle, or here.
#[derive(Debug)]
pub(in crate::replica) enum Fault {
    Bundle(bundle::Error),
    Here(Error),
}

impl Fault {
    /// The error that a person is told.
    pub(in crate::replica) fn into_error(self) -> Error {
        match self {
            Self::Bundle(error) => reading(&error),
            Self::Here(error) => error,
        }
    }
}

impl From<bundle::Error> for Fault {
    fn from(error: bundle::Error) -> Self {
        match error {
            // The bundle may be good.
            bundle::Error::Io(_) => Self::Here(reading(&error)),
            bundle::Error::Sink(error) => {
                Self::Here(Error::failed(format!("writing what the bundle holds: {error}")).advise(WRITING))
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

/// What to do about a bundle that can't be read.
pub(in crate::replica) fn reading(error: &bundle::Error) -> Error {
    let advice = match error {
        // The bundle may be good.
        bundle::Error::Io(source) => {
            return Error::failed(format!("reading the bundle: {source}"))
                .advise("check what it is read from, then run this again");
        }
        bundle::Error::Empty => "export again; what wrote it failed before the first byte",
        bundle::Error::NotABundle => "give a file that `mailsync export` wrote",
        bundle::Error::NewerFormat { .. } => "update mailsync on this machine",
        bundle::Error::BadSignature { .. } | bundle::Error::WrongSigner { .. } => {
            "don't trust it; export it again on the machine that it says it is from"
        }
        bundle::Error::Truncated => "copy it again, whole, or export again",
        _ => "copy it again, or export again",
    };
    Error::rejected(error.to_string()).advise(advice)
}
