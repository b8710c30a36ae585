//! What is said about replicas: which statements are kept, and how they travel. Of revocations, what follows
//! for a replica here.

mod hear;
mod revoke;
mod send;
mod shut_out;

pub(in crate::replica) use hear::ReplicaNews;
pub use revoke::{Reinstated, RevokeOptions, RevokedHere};
pub(in crate::replica) use shut_out::TRUSTED_AGAIN;
pub use shut_out::{RevocationHeard, ShutOut, ShutOuts};
