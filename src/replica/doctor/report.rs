//! What a repair has done, for people and programs.

use crate::replica::scan::ScanReport;
use crate::text::plural;

/// What a repair has mended, of one kind each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MendingKind {
    /// What is known of an incarnation was cut back.
    Knowledge,
    /// What is forgotten of an incarnation was cut back.
    Horizon,
    /// The replica goes on as a new incarnation.
    Identity,
    /// An entry was forgotten whose contents nobody has.
    Forgotten,
    /// An entry was stamped anew.
    Entry,
    /// A message that could not live any more lives again.
    Revived,
    /// A folder was stamped anew.
    Folder,
    /// A statement about a job or a replica was stamped anew.
    Statement,
    /// A job that concerns nobody here was forgotten.
    Job,
    /// What stands beside the entries, for the queries, was made to follow from them.
    Derived,
    /// The hash of everything that is alive was computed anew.
    StateDigest,
}

impl MendingKind {
    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Knowledge => "knowledge",
            Self::Horizon => "horizon",
            Self::Identity => "identity",
            Self::Forgotten => "forgotten",
            Self::Entry => "entry",
            Self::Revived => "revived",
            Self::Folder => "folder",
            Self::Statement => "statement",
            Self::Job => "job",
            Self::Derived => "derived",
            Self::StateDigest => "state_digest",
        }
    }
}

/// One thing that was mended.
#[derive(Clone, Debug)]
pub struct Mending {
    /// What kind of thing.
    pub kind: MendingKind,
    /// Which one, and what was wrong with it.
    pub what: String,
}

/// What a repair has done: how often, of each kind.
#[derive(Clone, Debug, Default)]
pub struct Repaired {
    /// Incarnations of which less is known.
    pub knowledge: u64,
    /// Incarnations of which less is forgotten.
    pub horizon: u64,
    /// Whether the replica goes on as a new incarnation.
    pub new_identity: bool,
    /// Messages that were only told of, and are forgotten.
    pub forgotten: u64,
    /// Entries that were stamped anew, those of a new identity included.
    pub entries: u64,
    /// Messages that live again.
    pub revived: u64,
    /// Folders that were stamped anew, those of a new identity included.
    pub folders: u64,
    /// Registers of removed folders that were only told of, and are forgotten.
    pub folders_forgotten: u64,
    /// Statements about jobs that were stamped anew.
    pub statements: u64,
    /// Jobs that were forgotten.
    pub jobs: u64,
    /// Messages whose contents were missing and were found on this machine.
    pub contents: u64,
    /// Values beside the entries, for the queries, that did not follow from them.
    pub derived: u64,
    /// Whether the hash of everything that is alive was another one than was recorded.
    pub state_digest: bool,
    /// What reading all files has found. The sizes that were wrong are among that.
    pub scan: ScanReport,
}

impl Repaired {
    /// Whether there was anything to do.
    pub fn has_changes(&self) -> bool {
        let counts = [
            self.knowledge,
            self.horizon,
            self.forgotten,
            self.entries,
            self.revived,
            self.folders,
            self.folders_forgotten,
            self.statements,
            self.jobs,
            self.contents,
            self.derived,
            self.scan.sizes,
        ];
        counts.iter().any(|count| *count > 0) || self.new_identity || self.state_digest || self.scan.has_changes()
    }
}

impl std::fmt::Display for Repaired {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let counted = [
            (self.knowledge, "incarnation", "of which less is known"),
            (self.horizon, "incarnation", "of which less is forgotten"),
            (self.forgotten, "message", "forgotten that others have only told of"),
            (self.entries, "entry", "stamped anew"),
            (self.revived, "message", "that could not live and lives again"),
            (self.folders, "folder", "stamped anew"),
            (self.folders_forgotten, "removed folder", "forgotten of which others have only told"),
            (self.statements, "statement", "about jobs and replicas stamped anew"),
            (self.jobs, "job", "of others forgotten"),
            (self.contents, "message", "found again on this machine"),
            (self.derived, "value", "beside the entries derived anew"),
            (self.scan.sizes, "size", "mended"),
        ];
        let counted = counted.into_iter().filter(|(count, ..)| *count > 0);
        let mut said: Vec<String> =
            counted.map(|(count, what, done)| format!("{} {done}", plural(count, what))).collect();
        if self.new_identity {
            said.insert(0, String::from("a new identity"));
        }
        if self.state_digest {
            said.push(String::from("the state digest computed anew"));
        }
        if self.scan.has_changes() {
            said.push(format!("and the scan found {}", self.scan));
        }
        f.write_str(if said.is_empty() { "nothing to repair" } else { "" })?;
        f.write_str(&said.join(", "))
    }
}
