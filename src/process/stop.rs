//! Whether mailsync is told to stop, by a signal: what it says then, and what is finished first.
//!
//! A thread waits for the signals. Left to itself it says that mailsync was interrupted, and has the signal do what it always
//! does. As long as somebody listens, as a program runs or a person is asked, the signal is theirs.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::{flag, low_level};

static STOP: OnceLock<Option<Arc<Stop>>> = OnceLock::new();
/// What is said when a signal ends mailsync.
static LAST_WORDS: OnceLock<String> = OnceLock::new();

/// Whether mailsync was told to stop while a program ran: that was ended, and nothing more is to be begun. Or while what is
/// under way is finished first, as [`finish_before_stopping`] has it.
pub fn was_told_to_stop() -> bool {
    STOP.get().and_then(Option::as_ref).is_some_and(|stop| stop.was_told())
}

/// Lets a file that grows beyond what `ulimit -f` allows be an error of whoever writes it. Without this the process
/// would be ended by a signal, and say nothing. Programs that it starts are not concerned.
///
/// # Errors
/// The system doesn't let it.
pub fn outlive_large_files() -> io::Result<()> {
    flag::register(SIGXFSZ, Arc::default()).map(drop)
}

/// From here on this line is written to standard error when a signal ends mailsync. If the system doesn't let it, signals end it
/// without a word.
pub fn say_when_interrupted(line: &str) {
    let _ = LAST_WORDS.set(line.to_owned());
    Stop::get();
}

/// What is done when a signal ends mailsync, each with its number.
static UNDO: Mutex<Vec<(u64, Undo)>> = Mutex::new(Vec::new());

/// Something that is done when a signal ends mailsync.
type Undo = Box<dyn FnOnce() + Send>;

/// As long as this is kept, something is done when a signal ends mailsync.
#[derive(Debug)]
pub struct Undone(u64);

/// Has this done when a signal ends mailsync, as long as the result is kept: a kill leaves what it would have undone.
pub fn undo_when_interrupted(undo: impl FnOnce() + Send + 'static) -> Undone {
    let mut all = to_undo();
    let number = all.last().map_or(0, |(number, _)| number + 1);
    all.push((number, Box::new(undo)));
    Undone(number)
}

impl Drop for Undone {
    fn drop(&mut self) {
        to_undo().retain(|(number, _)| *number != self.0);
    }
}

fn to_undo() -> MutexGuard<'static, Vec<(u64, Undo)>> {
    UNDO.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends the process by a signal that it has got, as the signal would have done by itself.
///
/// # Errors
/// The system doesn't let it.
pub fn end_by(signal: i32) -> io::Result<()> {
    let all = std::mem::take(&mut *to_undo());
    for (_, undo) in all {
        undo();
    }
    if let Some(line) = LAST_WORDS.get() {
        let stderr = io::stderr();
        let mut ready = [PollFd::new(&stderr, PollFlags::OUT)];
        // Who doesn't read must not keep it from ending, and nor must a thread that is just writing.
        if poll(&mut ready, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0) {
            // What a terminal shows of a bar, and of the key that was pressed, is wiped out.
            let begin = if stderr.is_terminal() { "\r\u{1b}[K" } else { "" };
            let _ = rustix::io::write(stderr.as_fd(), format!("{begin}{line}\n").as_bytes());
        }
    }
    low_level::emulate_default_handler(signal)
}

/// From here on a signal that tells mailsync to stop only says so: `wake` is called, and what is under way can be finished.
/// The next signal does what it always does. Signals that whoever has started mailsync lets it ignore, as nohup does, stay
/// ignored.
///
/// # Errors
/// The system doesn't let it: the signals do what they always do.
pub fn finish_before_stopping(wake: impl Fn() + Send + 'static) -> io::Result<()> {
    let stop = Stop::get().ok_or_else(|| io::Error::other("signals can't be listened to"))?;
    stop.care().wake = Some(Box::new(wake));
    Ok(())
}

/// Whether mailsync is told to stop.
struct Stop {
    told: Arc<AtomicBool>,
    care: Mutex<Care>,
}

/// Who takes care of a signal.
#[derive(Default)]
struct Care {
    /// How many programs run, or persons are asked.
    listening: usize,
    /// Whether one of them was told, and its end has come before the thread has seen the signal.
    was_heard: bool,
    /// Called at the first signal, where what is under way is finished first.
    wake: Option<Box<dyn Fn() + Send>>,
    /// Whether the thread has seen a signal.
    is_seen: bool,
}

impl Stop {
    /// Begins to wait for the signals, once. `None` if the system doesn't let it: then they do what they always do.
    fn get() -> Option<&'static Self> {
        let stop = STOP.get_or_init(|| {
            let mut waiting = Vec::new();
            let mut registered = Vec::new();
            for signal in heeded() {
                let (hear, tell) = UnixStream::pair().ok()?;
                waiting.push((signal, hear));
                registered.push((signal, tell));
            }
            let stop = Arc::new(Self { told: Arc::default(), care: Mutex::default() });
            let theirs = Arc::clone(&stop);
            std::thread::Builder::new().spawn(move || theirs.wait(&waiting)).ok()?;
            for (signal, tell) in registered {
                flag::register(signal, Arc::clone(&stop.told)).ok()?;
                low_level::pipe::register(signal, tell).ok()?;
            }
            Some(stop)
        });
        stop.as_deref()
    }

    fn care(&self) -> MutexGuard<'_, Care> {
        self.care.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn was_told(&self) -> bool {
        self.told.load(Ordering::SeqCst)
    }

    /// Whether a signal that has come is to end the process.
    fn ends(&self) -> bool {
        let mut care = self.care();
        let (is_first, was_heard) = (!care.is_seen, std::mem::take(&mut care.was_heard));
        care.is_seen = true;
        match &care.wake {
            Some(wake) if is_first => {
                wake();
                false
            }
            Some(_) => true,
            None => care.listening == 0 && !was_heard,
        }
    }

    /// Waits for signals, for ever.
    fn wait(&self, waiting: &[(i32, UnixStream)]) {
        loop {
            let mut ready: Vec<PollFd<'_>> = waiting.iter().map(|(_, hear)| PollFd::new(hear, PollFlags::IN)).collect();
            match poll(&mut ready, None) {
                Err(rustix::io::Errno::INTR) => continue,
                Err(_) => return,
                Ok(_) => {}
            }
            for ((signal, hear), _) in waiting.iter().zip(&ready).filter(|(_, ready)| !ready.revents().is_empty()) {
                let read = rustix::io::read(hear, &mut [0_u8; 1]);
                if read.is_ok_and(|n| n > 0) && self.ends() {
                    // If it fails, the next signal tries again.
                    let _ = end_by(*signal);
                }
            }
        }
    }
}

/// Listens for the signals that tell mailsync to stop, while a program runs or a person is asked. When the last one is dropped,
/// they do what they always do.
pub struct Listening(&'static Stop);

impl Listening {
    /// Begins to listen. `None` if the system doesn't let it: then the signals do what they always do.
    pub fn begin() -> Option<Self> {
        let stop = Stop::get()?;
        stop.care().listening += 1;
        Some(Self(stop))
    }

    /// Whether mailsync was told to stop.
    pub fn was_told(&self) -> bool {
        self.0.was_told()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut care = self.0.care();
        care.listening -= 1;
        care.was_heard |= self.0.was_told() && !care.is_seen;
    }
}

/// The signals that tell mailsync to stop, but for those that it was started to ignore.
fn heeded() -> impl Iterator<Item = i32> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = ignored(&status);
    [SIGINT, SIGTERM, SIGHUP].into_iter().filter(move |signal| ignored >> (signal - 1) & 1 == 0)
}

/// The signals that a process ignores, one a bit, by its `proc_pid_status(5)`. None if that doesn't say.
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
