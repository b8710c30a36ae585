//! A pool of threads that keeps the order of its work: what goes in first comes out first. Reading and hashing mail is done
//! in it while the one thread that owns the state goes on.

use std::collections::BTreeMap;
use std::thread;

use crossbeam_channel::{Receiver, Sender, unbounded};

/// Work in progress. How much of it there is at a time is up to who pushes.
pub struct Pool<T, R> {
    jobs: Sender<(u64, T)>,
    results: Receiver<(u64, R)>,
    early: BTreeMap<u64, R>,
    pushed: u64,
    popped: u64,
}

impl<T: Send, R: Send> Pool<T, R> {
    /// Runs `body` with a pool of `threads` threads that do `work`. They end when `body` does.
    pub fn run<O>(threads: usize, work: impl Fn(T) -> R + Sync, body: impl FnOnce(&mut Self) -> O) -> O {
        let (jobs, todo) = unbounded::<(u64, T)>();
        let (done, results) = unbounded();
        thread::scope(|scope| {
            for _ in 0..threads.max(1) {
                let (todo, done, work) = (todo.clone(), done.clone(), &work);
                scope.spawn(move || {
                    for (number, item) in todo {
                        if done.send((number, work(item))).is_err() {
                            break;
                        }
                    }
                });
            }
            drop((todo, done));
            body(&mut Self { jobs, results, early: BTreeMap::new(), pushed: 0, popped: 0 })
        })
    }

    /// Hands over a piece of work.
    pub fn push(&mut self, item: T) {
        self.jobs.send((self.pushed, item)).expect("the threads take work until the pool is dropped");
        self.pushed += 1;
    }

    /// The result of the oldest piece of work not yet popped, waiting for it; `None` when there is none.
    pub fn pop(&mut self) -> Option<R> {
        if self.popped == self.pushed {
            return None;
        }
        let result = loop {
            if let Some(result) = self.early.remove(&self.popped) {
                break result;
            }
            let (number, result) = self.results.recv().expect("the threads live as long as the pool");
            self.early.insert(number, result);
        };
        self.popped += 1;
        Some(result)
    }

    /// How many pieces of work were pushed and not yet popped.
    pub fn in_flight(&self) -> u64 {
        self.pushed - self.popped
    }
}

/// How many threads to read and hash with: one for each processor, at most eight.
pub fn threads() -> usize {
    thread::available_parallelism().map_or(2, std::num::NonZero::get).clamp(2, 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_in_which_the_work_went_in() {
        let results = Pool::run(
            4,
            |n: u64| {
                thread::sleep(std::time::Duration::from_micros((7 * n) % 50));
                n * n
            },
            |pool| {
                (0..200).for_each(|n| pool.push(n));
                std::iter::from_fn(|| pool.pop()).collect::<Vec<_>>()
            },
        );
        assert_eq!(results, (0..200).map(|n| n * n).collect::<Vec<_>>());
    }

    #[test]
    fn a_pool_that_is_left_early_ends_its_threads() {
        Pool::run(2, |n: u64| n, |pool| (0..100).for_each(|n| pool.push(n)));
    }
}
