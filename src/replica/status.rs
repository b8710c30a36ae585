//! The status of a replica: how much it holds, and how much its peers have not shown to have yet.

use std::cell::Cell;
use std::collections::BTreeMap;

use super::safety::{counts_until, still_counts};
use super::{Care, Carrier, Errand, JobStanding, Replica};
use crate::error::Result;
use crate::model::{FolderName, JobState, Keyword, Knowledge, PassesOver};
use crate::state::{Alarm, EntryRow, Guarded, Invited, Peer, Totals, Waiting};

/// So many jobs that went wrong are shown.
const SHOWN: u32 = 5;

/// The status of a replica and of its peers.
#[derive(Clone, Debug)]
pub struct Status {
    /// When a scan last looked at all of the disk: milliseconds since 1970 UTC.
    pub scanned: Option<u64>,
    /// The totals of what is alive and here.
    pub totals: Totals,
    /// How many entries are alive and wait for their contents, which are nowhere on this machine.
    pub missing: u64,
    /// The number of living entries in each folder that exists.
    pub folders: Vec<(FolderName, u64)>,
    /// Entries and files for which something is to be done on disk, or whose contents are missing.
    pub pending: u64,
    /// The folders in which something could not be done when it was last tried, and why, sorted by name.
    pub waiting: Vec<Waiting>,
    /// The keywords of messages that have no letter in their folders, sorted by folder.
    pub letterless: Vec<(FolderName, Vec<Keyword>)>,
    /// The alarms of the guard that stand.
    pub alarms: Vec<AlarmStatus>,
    /// What replicas that were revoked have brought elsewhere, and is passed over here; sorted by name.
    pub passed_over: Vec<PassedOverStatus>,
    /// Jobs that are not done.
    pub jobs: JobCounts,
    /// The newest jobs of this replica's that went wrong and that nobody has looked at.
    pub failed_jobs: Vec<JobStanding>,
    /// How many there are.
    pub failed: u64,
    /// The peers with which bundles are exchanged, sorted by name.
    pub peers: Vec<PeerStatus>,
    /// The replicas that were invited and have not answered, sorted by name.
    pub invited: Vec<InvitedStatus>,
}

/// An alarm that stands: what imports do is counted together with what was refused.
#[derive(Clone, Debug)]
pub struct AlarmStatus {
    /// Whether what is removed or what is added was refused.
    pub guarded: Guarded,
    /// What the replica whose bundle was refused is called here.
    pub by: String,
    /// When it was: milliseconds since 1970 UTC.
    pub raised: u64,
    /// When it ends by itself: milliseconds since 1970 UTC.
    pub ends: u64,
}

/// What is passed over of a replica that was revoked.
#[derive(Clone, Debug)]
pub struct PassedOverStatus {
    /// What that is called here.
    pub of: String,
    /// How many messages others hold that it has brought, and that are not here.
    pub messages: u64,
}

/// The status of a peer.
#[derive(Clone, Debug)]
pub struct PeerStatus {
    /// The peer.
    pub peer: Peer,
    /// The changes that it has not shown to know.
    pub unseen: Unseen,
    /// Its newest bundle, if that was not taken.
    pub waits: Option<WaitingBundle>,
    /// How many messages it is asked for, as their contents are not here.
    pub asks: u64,
    /// Whether no bundle for it was written since there is something to ask it for, or since its newest bundle waits.
    pub is_to_ask: bool,
    /// Whether it isn't told yet that its own bundles have come: it sends the same again until it is.
    pub answer_due: bool,
}

/// What is so here, whichever peer is looked at.
struct Here {
    knowledge: Knowledge,
    /// When messages were last asked for: milliseconds since 1970 UTC.
    restored: Option<u64>,
    /// How many messages all peers are asked for.
    asks: u64,
}

/// A bundle that came and was not taken, as one is missing before it, or a guard has refused it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitingBundle {
    /// Its number.
    pub number: u64,
    /// The number of the bundle that it follows, if it names one.
    pub follows: Option<u64>,
    /// Whether a guard has refused it.
    pub refused: bool,
}

/// The status of a replica that was invited and has not answered.
#[derive(Clone, Debug)]
pub struct InvitedStatus {
    /// The invitation.
    pub invited: Invited,
    /// The changes since the invitation.
    pub unseen: Unseen,
}

/// The changes that a peer doesn't know, as far as is known here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unseen {
    /// Entries with something that is new to it.
    pub entries: u64,
    /// The bytes of the messages that go with them.
    pub bytes: u64,
    /// Jobs with statements that are new to it.
    pub jobs: u64,
    /// Entries that are otherwise there than here, as nothing else in them is new to it than what it passes over, of replicas
    /// that were revoked.
    pub passed_over: u64,
}

/// The numbers of this replica's jobs by state. It has requested them, or is their target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobCounts {
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

impl Replica {
    /// Finds out how the replica stands. Doesn't look at the disk, as [`Replica::look`] does.
    pub fn status(&self) -> Result<Status> {
        self.note_unknown_names()?;
        let mut folders: BTreeMap<FolderName, u64> = self.state.entries_by_folder()?.into_iter().collect();
        for row in self.state.all_folders() {
            if row.is_present() {
                folders.entry(row.name.clone()).or_default();
            }
        }
        let here = Here {
            knowledge: self.state.knowledge()?,
            restored: self.state.last_restore()?,
            asks: self.state.count_missing_digests()?,
        };
        let mut peers = Vec::new();
        for peer in self.state.neighbours()? {
            let shown = peer.standing.shown.clone().unwrap_or_default();
            let unseen = self.unseen_by(&shown, &peer.passes_over)?;
            peers.push(self.status_of(peer, unseen, &here)?);
        }
        let mut invited = Vec::new();
        for one in self.state.invitations()? {
            invited.push(InvitedStatus { unseen: self.unseen(&one.shown)?, invited: one });
        }
        let mut letterless: BTreeMap<FolderName, Vec<Keyword>> = BTreeMap::new();
        for (folder, keyword) in self.state.letterless()? {
            letterless.entry(self.state.folder_row(folder)?.name.clone()).or_default().push(keyword);
        }
        let folders = folders.into_iter().collect();
        let (failed_jobs, failed) = self.failed_jobs(SHOWN)?;
        Ok(Status {
            scanned: self.state.scanned()?,
            totals: self.state.totals(),
            missing: self.state.count_missing()?,
            folders,
            pending: self.state.count_pending()?,
            waiting: self.state.waiting()?,
            letterless: letterless.into_iter().collect(),
            alarms: self.alarms()?,
            passed_over: self.passed_over()?,
            jobs: self.count_jobs()?,
            failed_jobs,
            failed,
            peers,
            invited,
        })
    }

    /// What there is to be exchanged with a peer besides what it has not shown to know.
    fn status_of(&self, peer: Peer, unseen: Unseen, here: &Here) -> Result<PeerStatus> {
        let told = peer.standing.shown.as_ref().is_none_or(|shown| here.knowledge.includes(shown));
        let newest = peer.standing.newest.filter(|&(_, number)| !told && peer.taken != Some(number));
        let waits = newest.map(|(_, number)| WaitingBundle { number, follows: peer.follows, refused: false });
        let refused = peer.refused.map(|number| WaitingBundle { number, follows: None, refused: true });
        let waits = refused.or(waits);
        // A call brings its answer, and whoever is called learns by the next one what has come.
        let calls = self.config.peer.get(&peer.name).is_some_and(|config| config.call.is_some());
        let carrier = if calls { Carrier::Call } else { Carrier::Spool };
        let answer_due =
            peer.last_heard.is_some() && matches!(self.errand(&peer.name, carrier, Care::Quick)?, Errand::News(_));
        let is_to_ask = peer.last_sent <= peer.last_heard.max(here.restored);
        Ok(PeerStatus { unseen, waits, asks: here.asks, is_to_ask, answer_due, peer })
    }

    pub(super) fn unseen(&self, shown: &Knowledge) -> Result<Unseen> {
        self.unseen_by(shown, &PassesOver::default())
    }

    /// What somebody has not shown to know who knows so much; without what that passes over.
    pub(super) fn unseen_by(&self, shown: &Knowledge, passes_over: &PassesOver) -> Result<Unseen> {
        let (in_vain, believed) = (Cell::new(0), passes_over.believed());
        let (entries, bytes) = self.state.count_changed_since(shown, |EntryRow { id, entry, .. }| {
            let is_out = passes_over.leaves_out(entry, shown);
            in_vain.set(in_vain.get() + u64::from(is_out && believed.shows_otherwise(id, entry)));
            is_out
        })?;
        let mut said = shown.clone();
        said.join(&passes_over.until);
        Ok(Unseen { entries, bytes, jobs: self.state.count_jobs_since(&said)?, passed_over: in_vain.get() })
    }

    /// What is passed over of each replica that is shut out.
    fn passed_over(&self) -> Result<Vec<PassedOverStatus>> {
        let counts: BTreeMap<_, _> = self.state.count_passed_over()?.into_iter().collect();
        let mut all = Vec::new();
        for (id, out) in self.shut_outs()?.iter() {
            let incarnations = self.incarnations_shut_out(out)?;
            let messages = incarnations.iter().filter_map(|incarnation| counts.get(incarnation)).sum();
            if messages > 0 {
                all.push(PassedOverStatus { of: self.shown_name_of(id, out)?, messages });
            }
        }
        all.sort_by(|one, other| one.of.cmp(&other.of));
        Ok(all)
    }

    /// The alarms that stand.
    fn alarms(&self) -> Result<Vec<AlarmStatus>> {
        let now = self.now();
        let mut standing = Vec::new();
        for guarded in Guarded::ALL {
            let alarm = self.state.alarm(guarded)?.filter(|alarm| still_counts(alarm.raised, now));
            if let Some(Alarm { raised, by, .. }) = alarm {
                let raised = raised.min(now);
                standing.push(AlarmStatus { guarded, by: self.name_of(&by)?, raised, ends: counts_until(raised) });
            }
        }
        Ok(standing)
    }

    pub(super) fn count_jobs(&self) -> Result<JobCounts> {
        let me = self.public_key().id();
        let count = |state| self.state.count_jobs(&me, state);
        Ok(JobCounts {
            queued: count(JobState::Queued)? + self.count_posted()?,
            running: count(JobState::Running)?,
            failed: count(JobState::Failed)?,
            rejected: count(JobState::Rejected)?,
            interrupted: count(JobState::Interrupted)?,
        })
    }
}
