//! The replication model: stamps, knowledge, folder names, flags, entries, how two states of an entry merge, and what a
//! replica concludes from a bundle's head.
//!
//! Everything here is pure. Nothing reads a file, a clock, a database or a random number: time and identities come in
//! as arguments. So the same code is run by the replica on disk and by the simulations in the tests.

mod amount;
mod brought;
mod claims;
mod digest;
mod entry;
mod exchange;
mod flag;
mod folder;
mod head;
mod history;
mod job;
mod job_intake;
mod keyword;
mod knowledge;
mod meeting;
mod news;
mod overruled;
mod passes_over;
mod repair;
mod replicas;
mod revocation;
mod revoked;
mod stamp;
mod text;
mod wall;

pub use amount::Amount;
pub use brought::{Brought, named_by_revocation};
pub use claims::{Claims, Untrue};
pub use digest::{Digest, StateDigest};
pub use entry::{Entry, EntryId, Mtime, Origin, Removal};
pub use exchange::{
    Judgement, Restamping, RolledBack, Standing, export_base, is_fresh, is_newest, judge, purgeable, purgeable_folder,
    shows_standing,
};
pub use flag::{Flag, FlagRegisters, FlagSet};
pub use folder::{FolderName, FolderState};
pub use head::{Head, MOST_ISSUED};
pub use history::{
    Happened, Happening, PastChange, Register, Rule, TakenBack, arrival, as_before, happenings, take_back,
};
pub use job::{Hearing, JobRole, JobState, Memory, Ranked, ReportRank, Ruling, Signer, which_counts};
pub use job_intake::{
    Forgettable, KeptJobs, MOST_FORGOTTEN, NotForgotten, Party, Quota, RelayJobs, Taken, is_taken_in, keeps_input,
    may_forget,
};
pub use keyword::Keyword;
pub use knowledge::Knowledge;
pub use meeting::{Decision, FolderDecision, Meeting};
pub use news::{News, NewsKind};
pub use overruled::overruled;
pub use passes_over::PassesOver;
pub use repair::{Anew, Contents, Cut, CutWhy, Damage, Repair, Standpoint};
pub use replicas::{Kept, NewsOfReplica, SaidOfReplica};
pub use revocation::{Believed, Caps};
pub use revoked::{Revoked, Successors, keys_besides, shut_out_together, which_revocations_count};
pub use stamp::{Clock, Incarnation, Stamp};
pub use text::ParseError;
pub(crate) use text::{parse_hex, serde_as_text, write_hex};
pub use wall::{Skew, WallClock};
