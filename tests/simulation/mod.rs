//! Networks of replicas in memory, and random histories of what happens to them.
//!
//! A [`Replica`] holds its state in maps and leaves every decision to `mailsync::model`, as the replica on disk does. A
//! [`Network`] moves bundles between replicas the way people with memory sticks do: some get lost, some are read twice,
//! most come late. A [`History`] is a value: the same one always ends the same way, so that a failing one can be
//! repeated and made smaller.

mod exhaustive;
mod history;
mod network;
pub mod replica;
mod rng;
mod seeds;
mod shrink;
mod truth;
mod workers;

pub use exhaustive::{Explored, every_history};
pub use history::{Beginning, Events, History, OldMail, Op, Setup, Step};
pub use network::{Gate, Network, Restores, Tally};
pub use replica::{Bundle, Outcome, Replica, View};
pub use rng::Rng;
pub use seeds::{Failure, asked_for, number_asked_for, run_all, run_all_well, run_and_check_each_step};
pub use shrink::fewest_steps;
