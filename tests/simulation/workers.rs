//! Work that takes all processors.

use std::num::NonZero;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Does this work on all processors at once, and gives what came of it. Whoever does so waits for all others who do:
/// tests run beside each other, and what else is tested has to get on as well.
pub fn on_all_processors<T: Send>(work: impl Fn() -> T + Sync) -> Vec<T> {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let workers = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(&work)).collect();
        workers.into_iter().map(|worker| worker.join().expect("a history panics")).collect()
    })
}
