//! Whether mailsync is told to stop, by a signal, while something else runs for it.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::{flag, low_level};

static STOP: OnceLock<Option<Stop>> = OnceLock::new();

/// Whether mailsync was told to stop while a program ran: that was ended, and nothing more is to be begun. Or while what is
/// under way is finished first, as [`finish_before_stopping`] has it.
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

/// From here on a signal that tells mailsync to stop only says so: `wake` is called, and what is under way can be finished.
/// The next signal does what it always does. Signals that whoever has started mailsync lets it ignore, as nohup does, stay
/// ignored.
///
/// # Errors
/// The system doesn't let it: the signals do what they always do.
pub fn finish_before_stopping(wake: impl Fn() + Send + 'static) -> io::Result<()> {
    let listening = Listening::begin().ok_or_else(|| io::Error::other("signals can't be listened to"))?;
    let (mut told, tell) = UnixStream::pair()?;
    std::thread::Builder::new().spawn(move || {
        // The other end is never closed.
        while told.read(&mut [0]).is_ok_and(|n| n > 0) {
            wake();
        }
    })?;
    for signal in heeded() {
        low_level::pipe::register(signal, tell.try_clone()?)?;
        // Behind all others: the first signal finds it unset.
        flag::register(signal, Arc::clone(&listening.0.insists))?;
    }
    // It listens until its end.
    std::mem::forget(listening);
    Ok(())
}

/// Whether mailsync is told to stop while programs run: then these must not run on by themselves, without a limit. At
/// all other times the signals do what they always do.
#[derive(Debug)]
struct Stop {
    told: Arc<AtomicBool>,
    nothing_runs: Arc<AtomicBool>,
    /// How many programs run.
    running: Mutex<usize>,
    /// Whether mailsync, which finishes first, was told once already.
    insists: Arc<AtomicBool>,
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
            let stop = Stop {
                told: Arc::default(),
                nothing_runs: Arc::new(AtomicBool::new(true)),
                running: Mutex::default(),
                insists: Arc::default(),
            };
            for signal in heeded() {
                // In this order: told by the last, it does what the signal always does only if it was nothing to those
                // before.
                flag::register_conditional_default(signal, Arc::clone(&stop.insists)).ok()?;
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

/// The signals that tell mailsync to stop, but for those that it was started to ignore.
fn heeded() -> impl Iterator<Item = i32> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = ignored(&status);
    [SIGINT, SIGTERM, SIGHUP].into_iter().filter(move |signal| ignored >> (signal - 1) & 1 == 0)
}

/// The signals that a process ignores, one a bit, by its proc_pid_status(5). None if that doesn't say.
fn ignored(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// Sends a signal to all processes of a group.
pub(super) fn kill(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        // It fails if nobody is left.
        let _ = kill_process_group(group, signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nohup_lets_a_program_ignore_is_seen_in_its_status() {
        let status =
            |mask: &str| format!("Name:\tx\nSigBlk:\t00000000000000ff\nSigIgn:\t{mask}\nSigCgt:\t0000000000000002\n");
        assert_eq!(ignored(&status("0000000000000001")) >> (SIGHUP - 1) & 1, 1);
        assert_eq!(ignored(&status("0000000000001000")), 0x1000);
        assert_eq!(ignored(&status("no number")), 0);
        assert_eq!(ignored("Name:\tx\n"), 0);
    }
}
