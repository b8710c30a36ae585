//! What is said about replicas: which statements are kept, and how they travel. What follows from them for a replica here
//! is decided beside this.

mod hear;
mod send;

pub(in crate::replica) use hear::ReplicaNews;
