//! A pool of threads that keeps the order of its work: what goes in first comes out first. Its threads read, hash, decode
//! and write while the one thread that owns the state goes on.

use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::thread;

use crossbeam_channel::{Receiver, Sender, unbounded};

/// Work in progress. The caller, who pushes, decides how much there is at a time.
struct Pool<'w, T, R> {
    jobs: Sender<(u64, T)>,
    /// What does the work at once, if no thread can be started.
    alone: Option<&'w (dyn Fn(T) -> R + Sync)>,
    /// What was made of each piece, or the panic that ended the work on it.
    results: Receiver<(u64, thread::Result<R>)>,
    early: BTreeMap<u64, R>,
    pushed: u64,
    popped: u64,
}

/// Has several threads do `work` on each item from `source`, until that gives nothing more. Hands the results to `sink`
/// in the order of the source. At most `ahead` items are under way at a time; if that is 0, no threads are started, and the
/// calling thread does all the work, item by item. `source` and `sink` run in the calling thread.
///
/// # Errors
/// The first error from `source` or `sink`. After it neither is called again, and the items under way are dropped.
pub fn in_order<T: Send, R: Send, E>(
    ahead: u64,
    mut source: impl FnMut() -> Result<Option<T>, E>,
    work: impl Fn(T) -> R + Sync,
    mut sink: impl FnMut(R) -> Result<(), E>,
) -> Result<(), E> {
    if ahead == 0 {
        while let Some(item) = source()? {
            sink(work(item))?;
        }
        return Ok(());
    }
    Pool::run(threads(), work, |pool| {
        let mut exhausted = false;
        loop {
            while !exhausted && pool.in_flight() < ahead {
                match source()? {
                    Some(item) => pool.push(item),
                    None => exhausted = true,
                }
            }
            let Some(result) = pool.pop() else { return Ok(()) };
            sink(result)?;
        }
    })
}

impl<T: Send, R: Send> Pool<'_, T, R> {
    /// Runs `body` with a pool of `threads` threads that do `work`. They end when `body` does. Where the system lets
    /// fewer be started, there are fewer; without any the calling thread works.
    fn run<O>(threads: usize, work: impl Fn(T) -> R + Sync, body: impl FnOnce(&mut Pool<'_, T, R>) -> O) -> O {
        let (jobs, todo) = unbounded::<(u64, T)>();
        let (done, results) = unbounded();
        thread::scope(|scope| {
            let mut started = 0;
            for _ in 0..threads {
                let (todo, done, work) = (todo.clone(), done.clone(), &work);
                let thread = thread::Builder::new().spawn_scoped(scope, move || {
                    for (number, item) in todo {
                        // Nobody looks at what it may have left half done: the panic goes on in the thread that waits for it,
                        // which would wait for ever otherwise.
                        let result = panic::catch_unwind(AssertUnwindSafe(|| work(item)));
                        if done.send((number, result)).is_err() {
                            break;
                        }
                    }
                });
                if thread.is_err() {
                    break;
                }
                started += 1;
            }
            drop((todo, done));
            let alone: Option<&(dyn Fn(T) -> R + Sync)> = if started == 0 { Some(&work) } else { None };
            body(&mut Pool { jobs, alone, results, early: BTreeMap::new(), pushed: 0, popped: 0 })
        })
    }

    /// Adds a piece of work.
    fn push(&mut self, item: T) {
        match self.alone {
            Some(work) => drop(self.early.insert(self.pushed, work(item))),
            None => self.jobs.send((self.pushed, item)).expect("the threads take work until the pool is dropped"),
        }
        self.pushed += 1;
    }

    /// Waits for the oldest piece of work that was not yet popped, and gives its result; `None` when there is none. Panics as
    /// the work has, if it has.
    fn pop(&mut self) -> Option<R> {
        if self.popped == self.pushed {
            return None;
        }
        let result = loop {
            if let Some(result) = self.early.remove(&self.popped) {
                break result;
            }
            let (number, result) = self.results.recv().expect("the threads live as long as the pool");
            self.early.insert(number, result.unwrap_or_else(|panicked| panic::resume_unwind(panicked)));
        };
        self.popped += 1;
        Some(result)
    }

    /// How many pieces of work were pushed and not yet popped.
    fn in_flight(&self) -> u64 {
        self.pushed - self.popped
    }
}

/// How many threads to read and hash with: one for each processor, at most eight.
fn threads() -> usize {
    thread::available_parallelism().map_or(2, std::num::NonZero::get).clamp(2, 8)
}

/// Gives the same items, `size` at a time.
pub fn chunks<T>(mut items: impl Iterator<Item = T>, size: usize) -> impl Iterator<Item = Vec<T>> {
    std::iter::from_fn(move || {
        let chunk: Vec<T> = items.by_ref().take(size).collect();
        (!chunk.is_empty()).then_some(chunk)
    })
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
    fn the_source_is_read_only_so_far_ahead_of_the_sink() {
        let (given, taken) = (std::cell::Cell::new(0_u64), std::cell::Cell::new(0_u64));
        let source = || {
            assert!(given.get() - taken.get() < 3);
            given.set(given.get() + 1);
            Ok::<_, ()>((given.get() <= 100).then_some(given.get()))
        };
        let sink = |n| {
            taken.set(taken.get() + 1);
            assert_eq!(n, taken.get());
            Ok(())
        };
        in_order(3, source, |n| n, sink).unwrap();
        assert_eq!((given.get(), taken.get()), (101, 100));
    }

    #[test]
    fn with_nothing_ahead_this_thread_works_item_by_item() {
        let (given, here) = (std::cell::Cell::new(0), thread::current().id());
        let source = || {
            given.set(given.get() + 1);
            Ok::<_, ()>((given.get() <= 3).then_some(given.get()))
        };
        let sink = |(n, by)| {
            assert_eq!((n, by), (given.get(), here));
            Ok(())
        };
        in_order(0, source, |n| (n, thread::current().id()), sink).unwrap();
        assert_eq!(given.get(), 4);
    }

    #[test]
    fn the_first_error_ends_the_work() {
        let mut next = 0;
        let mut source = || {
            next += 1;
            if next < 10 { Ok(Some(next)) } else { Err("source") }
        };
        let mut sunk = Vec::new();
        let result = in_order(
            4,
            &mut source,
            |n: u32| n,
            |n| {
                if n < 3 {
                    sunk.push(n);
                    Ok(())
                } else {
                    Err("sink")
                }
            },
        );
        assert_eq!((result, sunk), (Err("sink"), vec![1, 2]));
        assert_eq!(in_order(4, source, |n: u32| n, |_| Ok(())), Err("source"));
    }

    #[test]
    fn who_waits_for_work_that_panicked_panics_and_does_not_wait_for_ever() {
        let mut next = 0..10;
        let work = |n: u32| if n == 5 { panic!("number {n}") } else { n };
        let all = AssertUnwindSafe(|| in_order(3, || Ok::<_, ()>(next.next()), work, |_| Ok(())));
        let panicked = panic::catch_unwind(all).unwrap_err();
        assert_eq!(panicked.downcast_ref::<String>().unwrap(), "number 5");
    }

    #[test]
    fn without_any_thread_the_work_is_done_all_the_same() {
        let results = Pool::run(
            0,
            |n: u64| n + 1,
            |pool| {
                (0..5).for_each(|n| pool.push(n));
                std::iter::from_fn(|| pool.pop()).collect::<Vec<_>>()
            },
        );
        assert_eq!(results, [1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_pool_that_is_left_early_ends_its_threads() {
        Pool::run(2, |n: u64| n, |pool| (0..100).for_each(|n| pool.push(n)));
    }
}
