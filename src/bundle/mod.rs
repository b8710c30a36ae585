//! The bundle format: an immutable, signed, compressed file that carries what one replica knows to others.
//!
//! `bundle-format.md` is its specification; this module is a reader and a writer for it, and nothing else. Other layers
//! decide which bundle may be applied, what is missing, and where mail lies on disk. Nothing here knows a replica, a
//! state or a Maildir. Everything that is read counts as hostile until its signature holds. After that it is bounded by
//! [`limits`] and by the signed manifest.
//!
//! Writing: spool the records with a [`RecordSpool`], which counts and hashes them; put its result into a [`Manifest`];
//! start a [`Writer`], give it the messages, finish it. A [`Wrapping`] below it encrypts the bundle.
//!
//! Reading: a [`Stream`] gives one [`Reader`] for each bundle; [`Reader::verify`] turns it into a [`RecordsPart`], and
//! that by way of a [`JobsPart`] into a [`MessagesPart`], in the order in which the parts stand in the file. So nothing
//! can be read out of turn, and nothing can be read before the signature was checked, unless somebody calls
//! [`Reader::read_unverified`] by name. A stream that was given [`Keys`] reads encrypted bundles as others.

mod archive;
mod beginning;
mod begins;
mod code;
mod decompress;
mod ending;
mod envelope;
mod error;
mod frame;
mod invitation;
mod job;
pub mod limits;
mod manifest;
mod missing;
mod otherwise;
mod outline;
mod reader;
mod record;
mod record_lines;
mod replica_id;
mod replica_lines;
mod replica_statement;
mod seal;
mod section;
mod signature;
mod spool;
mod statements;
mod stored_key;
mod stream;
mod strict;
mod succession;
mod wrapping;
mod writer;

#[cfg(test)]
mod example;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod hostile_archives;
#[cfg(test)]
mod hostile_envelopes;
#[cfg(test)]
mod hostile_replicas;
#[cfg(test)]
mod testing;

pub use beginning::{Beginning, Cover, Label};
pub use begins::Begins;
pub use code::{Code, CodeError};
pub use envelope::{Keys, look_for_code};
pub use error::{Error, KeyError, WriteError};
pub use invitation::{Invitation, Token};
pub use job::{AttachmentRef, Cancel, JobId, JobLine, Report, Request, Statement};
pub use manifest::{BundleKind, Counts, FORMAT, Manifest, Part, Sender, VERSION};
pub use missing::MISSING_NAMESPACE;
pub use otherwise::FirstBytes;
pub use outline::{Behind, each_cover, each_manifest};
pub use reader::{JobsPart, Message, MessagesPart, Reader, RecordsPart};
pub use record::Record;
pub use replica_id::ReplicaId;
pub use replica_lines::SpooledReplicas;
pub use replica_statement::{ReplicaLine, ReplicaStatement, Revocation, Succession};
pub use seal::{Sealer, unseal};
pub use signature::{JOB_NAMESPACE, NAMESPACE, PrivateKey, PublicKey, REPLICA_NAMESPACE, Signature};
pub use spool::{JobSpool, RecordSpool, SPOOL_IN_MEMORY, SpooledJobs, SpooledRecords};
pub use stored_key::StoredKey;
pub use stream::Stream;
pub(crate) use strict::parse as parse_strictly;
pub use succession::SignedSuccession;
pub use wrapping::Wrapping;
pub use writer::{Options, Said, Writer};
