//! The document of `mailsync status`.

use mailsync::model::Keyword;
use mailsync::replica::{
    self, AlarmStatus, DiskLook, FolderLook, InvitedStatus, JobCounts, PassedOverStatus, PeerStatus, Replica, ShutOuts,
    Unseen,
};
use mailsync::state;
#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use super::jobs::Job;
use super::peers::{Invited, Peer, Revoked, revoked};
use super::values::{Fault, Folder, Own, Time, path};

/// `mailsync status`
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Status {
    /// This replica.
    pub replica: Own,
    /// Entries whose messages are here.
    pub entries: u64,
    /// Messages that are here: of several entries with the same contents, one.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The folders, sorted by name.
    pub folders: Vec<Folder>,
    /// When a scan last looked at all of the disk.
    pub scanned: Time,
    /// How the disk differs from what that scan has seen; null with `--no-scan`.
    pub disk: Option<Disk>,
    /// The bundles that have come into the directories in which `watch` receives them, and are not imported, for each
    /// directory; null with `--no-scan`.
    pub arrived: Option<Vec<Lying>>,
    /// What is wrong with this machine's clock, or was, in words for people.
    pub clock: Vec<String>,
    /// Entries whose contents are nowhere on this machine.
    pub missing: u64,
    /// Changes that are still to be done on disk, and messages whose contents are not here.
    pub pending: u64,
    /// The folders in which something could not be done when it was last tried.
    pub waiting: Vec<Waiting>,
    /// The folders that have no letter for some keywords.
    pub letterless: Vec<Letterless>,
    /// The alarms of the guard that stand.
    pub alarms: Vec<Alarm>,
    /// What revoked replicas have brought elsewhere, and is passed over here; sorted by name.
    pub passed_over: Vec<PassedOver>,
    /// How many jobs of this replica are in which state.
    pub jobs: JobNumbers,
    /// The jobs that were asked for here, went wrong, and at which nobody has looked: the newest five.
    pub failed_jobs: Vec<Job>,
    /// The peers, sorted by name.
    pub peers: Vec<StatusOfPeer>,
    /// The replicas that were invited and have not answered, sorted by name.
    pub invited: Vec<StatusOfInvited>,
}

impl Status {
    /// How a replica and its disk stand, and who is revoked.
    pub fn of(
        replica: &Replica,
        status: &replica::Status,
        look: Option<Look<'_>>,
        clock: Vec<String>,
        out: &ShutOuts,
    ) -> Self {
        let spool = |number: usize| look.and_then(|(_, _, spools)| spools[number].as_ref()).map(Lying::from);
        let peers = status.peers.iter().enumerate();
        let letterless = status.letterless.iter().map(|(folder, keywords)| Letterless {
            folder: folder.to_string(),
            keywords: keywords.iter().map(Keyword::as_str).map(str::to_owned).collect(),
        });
        Self {
            replica: replica.into(),
            entries: status.totals.entries,
            messages: status.totals.messages,
            bytes: status.totals.bytes,
            folders: Folder::all(&status.folders),
            scanned: Time::of(status.scanned),
            disk: look.map(|(disk, ..)| disk.into()),
            arrived: look.map(|(_, arrived, _)| arrived.iter().map(Lying::from).collect()),
            clock,
            missing: status.missing,
            pending: status.pending,
            waiting: status.waiting.iter().map(Waiting::from).collect(),
            letterless: letterless.collect(),
            alarms: status.alarms.iter().map(Alarm::from).collect(),
            passed_over: status.passed_over.iter().map(PassedOver::from).collect(),
            jobs: status.jobs.into(),
            failed_jobs: status.failed_jobs.iter().map(Job::from).collect(),
            peers: peers.map(|(number, peer)| StatusOfPeer::of(peer, spool(number), out)).collect(),
            invited: status.invited.iter().map(|invited| StatusOfInvited::of(replica, invited)).collect(),
        }
    }
}

/// What there is on the disk: how the mail differs from what the last scan has seen, what has come, and what waits for each
/// peer.
type Look<'l> = (&'l DiskLook, &'l [replica::Lying], &'l [Option<replica::Lying>]);

/// The bundles that wait in a directory.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Lying {
    /// The directory.
    pub dir: String,
    /// How many files wait there.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Since when the oldest of them does.
    pub since: Time,
    /// Whether some could not be looked into, as the key is locked: these may be for others.
    pub unopened: bool,
    /// What could not be looked at.
    pub problem: Option<Fault>,
}

impl From<&replica::Lying> for Lying {
    fn from(lying: &replica::Lying) -> Self {
        let replica::Lying { dir, files, bytes, since, unopened, problem } = lying;
        Self {
            dir: path(dir),
            files: *files,
            bytes: *bytes,
            since: Time::of(*since),
            unopened: *unopened,
            problem: problem.as_ref().map(Fault::from),
        }
    }
}

/// How the disk differs from what the last scan has seen.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Disk {
    /// Whether all could be looked at, and is as it was then.
    pub as_scanned: bool,
    /// The folders that are otherwise, sorted by name.
    pub folders: Vec<ChangedFolder>,
    /// How many directories there are in which no scan has looked for folders, and that no command has made.
    pub directories: u64,
    /// Why a scan would refuse to take for removed what is gone; null if it would not.
    pub refusal: Option<Fault>,
    /// What could not be looked at.
    pub problems: Vec<Fault>,
}

impl From<&DiskLook> for Disk {
    fn from(look: &DiskLook) -> Self {
        Self {
            as_scanned: look.is_as_scanned() && look.problems.is_empty(),
            folders: look.folders.iter().map(ChangedFolder::from).collect(),
            directories: look.directories,
            refusal: look.refusal.as_ref().map(Fault::from),
            problems: look.problems.iter().map(Fault::from).collect(),
        }
    }
}

/// How a folder differs from what the last scan has seen.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct ChangedFolder {
    /// Its name.
    pub name: String,
    /// Files that were not there.
    pub came: u64,
    /// Files that are not there any more.
    pub gone: u64,
    /// Files that have other flags, or have gone from `new` to `cur`.
    pub renamed: u64,
    /// Whether the folder itself has gone.
    pub folder_gone: bool,
}

impl From<&FolderLook> for ChangedFolder {
    fn from(look: &FolderLook) -> Self {
        let FolderLook { name, came, gone, renamed, is_gone } = look;
        Self { name: name.to_string(), came: *came, gone: *gone, renamed: *renamed, folder_gone: *is_gone }
    }
}

/// A folder in which something could not be done.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Waiting {
    /// The folder.
    pub folder: String,
    /// How many changes of messages wait: none if only the folder itself can't be made or removed, or its keywords not be
    /// named.
    pub changes: u64,
    /// Why the first of them could not be made.
    pub why: String,
}

impl From<&state::Waiting> for Waiting {
    fn from(waiting: &state::Waiting) -> Self {
        Self { folder: waiting.folder.to_string(), changes: waiting.changes, why: waiting.why.clone() }
    }
}

/// A folder that has no letter for some keywords.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Letterless {
    /// The folder.
    pub folder: String,
    /// The keywords.
    pub keywords: Vec<String>,
}

/// An alarm of the guard: what imports do is counted together with what was refused.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Alarm {
    /// What was refused.
    pub guarded: Guarded,
    /// The peer whose bundle was refused last.
    pub by: String,
    /// When it was.
    pub raised: Time,
    /// When it ends by itself.
    pub ends: Time,
}

/// What a revoked replica has brought elsewhere, and is passed over here.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct PassedOver {
    /// What the replica is called here.
    pub of: String,
    /// How many messages they are.
    pub messages: u64,
}

impl From<&PassedOverStatus> for PassedOver {
    fn from(passed: &PassedOverStatus) -> Self {
        Self { of: passed.of.clone(), messages: passed.messages }
    }
}

/// What the guard has refused.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, derive(JsonSchema))]
pub enum Guarded {
    /// What a bundle would have removed.
    Removed,
    /// What a bundle would have added.
    Added,
}

impl From<&AlarmStatus> for Alarm {
    fn from(alarm: &AlarmStatus) -> Self {
        let guarded = match alarm.guarded {
            state::Guarded::Removed => Guarded::Removed,
            state::Guarded::Added => Guarded::Added,
        };
        Self { guarded, by: alarm.by.clone(), raised: Time::of(alarm.raised), ends: Time::of(alarm.ends) }
    }
}

/// How many jobs are in which state: those that this replica has requested, or whose target it is.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct JobNumbers {
    /// They wait.
    pub queued: u64,
    /// Their programs run.
    pub running: u64,
    /// They failed.
    pub failed: u64,
    /// They were rejected.
    pub rejected: u64,
    /// Nobody knows whether they ran.
    pub interrupted: u64,
}

impl From<JobCounts> for JobNumbers {
    fn from(counts: JobCounts) -> Self {
        let JobCounts { queued, running, failed, rejected, interrupted } = counts;
        Self { queued, running, failed, rejected, interrupted }
    }
}

/// What a replica has not shown to know.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct UnseenThere {
    /// Entries with something that is new to it.
    #[serde(rename = "unseen_entries")]
    pub entries: u64,
    /// The bytes of the messages that go with them.
    #[serde(rename = "unseen_bytes")]
    pub bytes: u64,
    /// Jobs with statements that are new to it.
    #[serde(rename = "unseen_jobs")]
    pub jobs: u64,
    /// Entries that are otherwise there than here, as nothing else in them is new to it than what it passes over, of
    /// revoked replicas.
    #[serde(rename = "unseen_passed_over")]
    pub passed_over: u64,
}

impl From<Unseen> for UnseenThere {
    fn from(unseen: Unseen) -> Self {
        let Unseen { entries, bytes, jobs, passed_over } = unseen;
        Self { entries, bytes, jobs, passed_over }
    }
}

/// A bundle that came and was not taken.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct WaitingBundle {
    /// Its number.
    pub number: u64,
    /// The number of the bundle that it follows; null if it names none, and starts from changes that are not known here.
    pub follows: Option<u64>,
    /// Whether a guard has refused it.
    pub refused: bool,
}

/// How a peer stands.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct StatusOfPeer {
    /// The peer.
    #[serde(flatten)]
    pub peer: Peer,
    /// What it has not shown to know.
    #[serde(flatten)]
    pub unseen: UnseenThere,
    /// Its newest bundle, if it was not taken; else null.
    pub waits: Option<WaitingBundle>,
    /// How many messages it is asked for, as their contents are not here.
    pub asked_for: u64,
    /// Whether a bundle is due that tells it that its own has come: until then it sends the same again.
    pub answer_due: bool,
    /// The bundles in its spool that it has not shown to have; null if it has no spool, and with `--no-scan`.
    pub spool: Option<Lying>,
    /// That it is revoked; null if it isn't.
    pub revoked: Option<Revoked>,
}

impl StatusOfPeer {
    fn of(status: &PeerStatus, spool: Option<Lying>, out: &ShutOuts) -> Self {
        let revoked = revoked(out, &status.peer.id);
        let waits = status.waits.map(|replica::WaitingBundle { number, follows, refused }| WaitingBundle {
            number,
            follows,
            refused,
        });
        Self {
            peer: (&status.peer).into(),
            unseen: status.unseen.into(),
            waits,
            asked_for: status.asks,
            answer_due: status.answer_due,
            spool,
            revoked,
        }
    }
}

/// How a replica stands that was invited and has not answered.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct StatusOfInvited {
    /// The replica.
    #[serde(flatten)]
    pub invited: Invited,
    /// What is new since it was invited.
    #[serde(flatten)]
    pub unseen: UnseenThere,
}

impl StatusOfInvited {
    fn of(replica: &Replica, status: &InvitedStatus) -> Self {
        Self { invited: Invited::of(replica, &status.invited), unseen: status.unseen.into() }
    }
}
