//! Whether mailsync is told to stop, by a signal, while something else runs for it.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;

static STOP: OnceLock<Option<Stop>> = OnceLock::new();

/// Whether mailsync was told to stop while a program ran: that was ended, and nothing more is to be begun.
pub fn was_told_to_stop() -> bool {
    STOP.get().and_then(Option::as_ref).is_some_and(Stop::was_told)
}

/// Lets a file that grows beyond what `ulimit -f` allows be an error of whoever writes it. Without this the process
/// would be ended by a signal, and say nothing. Programs that it starts are not concerned.
///
/// # Errors
/// The system doesn't let it.
pub fn outlive_large_files() -> io::Result<()> {
    flag::register(SIGXFSZ, Arc::default()).map(drop)
}

/// Whether mailsync is told to stop while programs run: then these must not run on by themselves, without a limit. At
/// all other times the signals do what they always do.
#[derive(Debug)]
struct Stop {
    told: Arc<AtomicBool>,
    nothing_runs: Arc<AtomicBool>,
    /// How many programs run.
    running: Mutex<usize>,
}

impl Stop {
    fn running(&self) -> MutexGuard<'_, usize> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn was_told(&self) -> bool {
        self.told.load(Ordering::SeqCst)
    }
}

/// Listens for the signals that tell mailsync to stop, while a program runs. When the last one is dropped, they do what
/// they always do.
#[derive(Debug)]
pub(super) struct Listening(&'static Stop);

impl Listening {
    /// Begins to listen. `None` if the system doesn't let it: then the signals do what they always do.
    pub fn begin() -> Option<Self> {
        let stop = STOP.get_or_init(|| {
            let stop =
                Stop { told: Arc::default(), nothing_runs: Arc::new(AtomicBool::new(true)), running: Mutex::default() };
            for signal in [SIGINT, SIGTERM, SIGHUP] {
                // In this order: told by the second, it does what the signal always does only if it was nothing to the
                // first.
                flag::register_conditional_default(signal, Arc::clone(&stop.nothing_runs)).ok()?;
                flag::register(signal, Arc::clone(&stop.told)).ok()?;
            }
            Some(stop)
        });
        let stop = stop.as_ref()?;
        let mut running = stop.running();
        *running += 1;
        stop.nothing_runs.store(false, Ordering::SeqCst);
        Some(Self(stop))
    }

    pub fn was_told(&self) -> bool {
        self.0.was_told()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut running = self.0.running();
        *running -= 1;
        self.0.nothing_runs.store(*running == 0, Ordering::SeqCst);
    }
}

/// Sends a signal to all processes of a group.
pub(super) fn kill(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        // It fails if nobody is left.
        let _ = kill_process_group(group, signal);
    }
}
