//! What the tests of the state share.

use tempfile::TempDir;

use super::State;
use crate::disk::RealDisk;
use crate::model::Incarnation;

/// A new state in this directory, of the incarnation 1.
pub fn fresh(dir: &TempDir) -> State {
    let path = dir.path().join("state.db");
    State::create(&RealDisk, &path, Incarnation(1), None).unwrap();
    State::open(&path).unwrap()
}
