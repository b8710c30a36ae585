//! What is said about replicas: which statements are kept, and how they travel. Of revocations, what follows
//! for a replica here.

mod hear;
mod revoke;
mod send;
mod shut_out;
mod tell;

pub(in crate::replica) use hear::ReplicaNews;
pub use revoke::{Reinstated, RevokeOptions, RevokedHere, SinceFrom};
pub use shut_out::{RevocationHeard, ShutOut, ShutOuts};
pub use tell::WhyShutOut;
pub(in crate::replica) use tell::trusted_again;
