//! What the tests of the state share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::Connection;

use super::{Peer, PeerKey, State};
use crate::bundle::PrivateKey;
use crate::disk::RealDisk;
use crate::model::{Incarnation, PassesOver, Standing};
use tempfile::TempDir;

/// A new state in this directory, of the incarnation 1.
pub fn fresh(dir: &TempDir) -> State {
    let path = dir.path().join("state.db");
    State::create(&RealDisk, &path, Incarnation(1), None).unwrap();
    State::open(&path).unwrap()
}

/// A peer of which nothing was heard, and to which nothing was sent.
pub fn peer() -> Peer {
    let public_key = PrivateKey::generate("peer").unwrap().public_key();
    Peer {
        key: PeerKey::default(),
        id: public_key.id(),
        name: String::from("peer"),
        public_key,
        added: 1,
        last_heard: None,
        last_sent: None,
        standing: Standing::default(),
        sent: None,
        sent_number: None,
        sent_bytes: None,
        acknowledged: None,
        taken: None,
        follows: None,
        refused: None,
        suspect: false,
        token: None,
        distant: false,
        skew: None,
        disowns: false,
        knows_key: true,
        passes_over: PassesOver::default(),
    }
}

/// Steps are counted so many at a time, for each statement.
const STRIDE: u8 = 16;

/// A connection that counts the steps of `SQLite`'s virtual machine, nearly.
pub(super) fn counting_steps(mut conn: Connection) -> (Connection, Arc<AtomicU64>) {
    let steps = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&steps);
    let count = move || {
        counter.fetch_add(STRIDE.into(), Ordering::Relaxed);
        false
    };
    conn.progress_handler(STRIDE.into(), Some(count)).unwrap();
    (conn, steps)
}

/// How `SQLite` goes about a query, step by step.
pub(super) fn plan(conn: &Connection, query: &str) -> Vec<String> {
    let mut plan = conn.prepare(&format!("EXPLAIN QUERY PLAN {query}")).unwrap();
    plan.raw_query().mapped(|step| step.get(3)).collect::<rusqlite::Result<_>>().unwrap()
}

/// Finds nothing to be sorted in that: for it `SQLite` would take as much memory again as it caches pages in.
pub(super) fn sorts_nothing(conn: &Connection, query: &str) {
    for step in plan(conn, query) {
        assert!(!step.contains("TEMP B-TREE"), "{step}, for {query}");
    }
}

impl State {
    /// How many steps `SQLite`'s virtual machine has taken for this state since it was opened, nearly. Each row that is
    /// looked at takes some.
    pub(crate) fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }
}
