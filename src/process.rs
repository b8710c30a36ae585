//! Programs that run for jobs: without a shell, in a clean environment and a process group of their own, for a limited
//! time, with bounded output. And talking with one that reaches a peer.

mod ask;
mod converse;
mod lines;
mod stop;

pub use ask::output_of;
pub use converse::{Conversation, Heard, converse};
pub use stop::{
    Listening, Undone, end_by, finish_before_stopping, outlive_large_files, say_when_interrupted,
    undo_when_interrupted, was_told_to_stop,
};

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use crate::read::read_some;
use crate::text::without_numbers;
use stop::kill;

/// How much of each output stream is kept, in bytes.
pub const OUTPUT_BYTES: usize = 64 << 10;

/// A program that was asked to end may take this long, then it is killed.
const GRACE: Duration = Duration::from_secs(3);
/// A signal that tells mailsync to stop is noticed within this time.
const ATTENTION: Duration = Duration::from_millis(200);
/// How long to wait for more output if the program has ended, but a process that it started keeps the pipe open.
const LINGER: Duration = Duration::from_secs(1);

/// A program to run, and how.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The program: a path, or a name to be found through the `PATH` in `env`.
    pub program: OsString,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// All of its environment.
    pub env: Vec<(OsString, OsString)>,
    /// Its working directory.
    pub dir: PathBuf,
    /// How long it may run.
    pub timeout: Duration,
}

/// How a program has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It ended by itself, with this status.
    Status(i32),
    /// This signal ended it.
    Signal(i32),
    /// It was ended at the timeout.
    TimedOut,
    /// It was never started.
    NotStarted(String),
    /// It was not started, for what the machine lacks at this time.
    NotNow(String),
    /// It was ended, since mailsync itself was told to stop.
    Stopped,
    /// Its input could not be read to the end, so it was killed: it must not take the beginning for the whole.
    InputFailed(String),
}

/// The output of a program, as far as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// The first [`OUTPUT_BYTES`].
    pub bytes: Vec<u8>,
    /// Whether there was more.
    pub cut: bool,
}

/// The result of running a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// How it has ended.
    pub ended: Ended,
    /// Its standard output.
    pub stdout: Output,
    /// Its standard error.
    pub stderr: Output,
}

/// The environment of a program: `PATH`, `HOME` and `LANG` as they are here, or their usual values.
pub fn clean_environment() -> Vec<(OsString, OsString)> {
    let usual =
        [("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"), ("HOME", "/"), ("LANG", "C.UTF-8")];
    let as_here = |(name, usual): (&str, &str)| {
        (OsString::from(name), std::env::var_os(name).unwrap_or_else(|| OsString::from(usual)))
    };
    usual.into_iter().map(as_here).collect()
}

/// Runs programs. A test puts its own in the place of [`Processes`].
pub trait Launcher: Send + Sync {
    /// Runs a program to its end.
    fn run(&self, launch: &Launch, stdin: &mut (dyn Read + Send)) -> Finished;
}

/// Runs programs as processes of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Processes;

impl Launcher for Processes {
    fn run(&self, launch: &Launch, stdin: &mut (dyn Read + Send)) -> Finished {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(&launch.program);
        command
            .args(&launch.args)
            .env_clear()
            .envs(launch.env.iter().map(|(name, value)| (name, value)))
            .current_dir(&launch.dir)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let stop = Listening::begin();
        run(&mut command, stdin, launch.timeout, stop.as_ref()).unwrap_or_else(|error| {
            let why = without_numbers(&format!("{}: {error}", launch.program.display()));
            let ended = if will_pass(&error) { Ended::NotNow(why) } else { Ended::NotStarted(why) };
            Finished { ended, stdout: Output::default(), stderr: Output::default() }
        })
    }
}

/// Whether a program could not be started for what the machine lacks at this time.
fn will_pass(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::AGAIN | Errno::NOMEM | Errno::MFILE | Errno::NFILE | Errno::IO | Errno::NOSPC | Errno::TXTBSY)
    )
}

/// Runs a program to its end.
///
/// # Errors
/// It was not started: nothing of it has run. All threads that it needs are started before it.
fn run(
    command: &mut Command,
    stdin: &mut (dyn Read + Send),
    timeout: Duration,
    stop: Option<&Listening>,
) -> io::Result<Finished> {
    let (stdout, to_stdout) = Collector::start()?;
    let (stderr, to_stderr) = Collector::start()?;
    let (give_child, child) = mpsc::channel::<Child>();
    let (say_ended, ended) = mpsc::channel();
    thread::Builder::new().spawn(move || {
        if let Ok(mut child) = child.recv() {
            // Nobody listens any more if this fails.
            let _ = say_ended.send(child.wait());
        }
    })?;
    let over = AtomicBool::new(false);
    let (give_pipe, pipe) = mpsc::channel::<(ChildStdin, Option<Pid>)>();
    let (fed, ended) = thread::scope(|scope| {
        let is_over = &over;
        let feeder = thread::Builder::new().spawn_scoped(scope, move || {
            // Without a pipe there is no program.
            let Ok((to_child, group)) = pipe.recv() else { return Ok(()) };
            let fed = feed(&to_child, stdin, is_over);
            if fed.is_err() {
                // The pipe is still open: its end would look like the end of the message.
                kill(group, Signal::KILL);
            }
            fed
        })?;
        let spawned = command.spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) => {
                drop(give_pipe);
                return Err(error);
            }
        };
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let (to_child, from_stdout, from_stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let pipes = to_child.zip(from_stdout).zip(from_stderr);
        let ((to_child, from_stdout), from_stderr) = pipes.expect("pipes were asked for");
        // The threads wait for nothing else.
        let given = give_pipe.send((to_child, group)).is_ok()
            & to_stdout.send(Box::new(from_stdout)).is_ok()
            & to_stderr.send(Box::new(from_stderr)).is_ok()
            & give_child.send(child).is_ok();
        assert!(given, "the threads take what they are started for");
        let ended = wait(&ended, group, timeout, stop);
        over.store(true, Ordering::Relaxed);
        let broken = |_| Err(io::Error::other("the thread that reads it has ended"));
        Ok((feeder.join().unwrap_or_else(broken), ended))
    })?;
    let ended = match (fed, ended) {
        (Err(error), _) => Ended::InputFailed(without_numbers(&error.to_string())),
        (_, ended) => ended,
    };
    let deadline = Instant::now() + LINGER;
    Ok(Finished { ended, stdout: stdout.collected_by(deadline), stderr: stderr.collected_by(deadline) })
}

/// Waits until the program has ended. Ends it at the timeout, or when mailsync is told to stop.
fn wait(
    ended: &mpsc::Receiver<io::Result<std::process::ExitStatus>>,
    group: Option<Pid>,
    timeout: Duration,
    stop: Option<&Listening>,
) -> Ended {
    use std::os::unix::process::ExitStatusExt;
    let deadline = Instant::now() + timeout;
    let why = loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match ended.recv_timeout(left.min(ATTENTION)) {
            Ok(Ok(status)) => {
                return match (status.code(), status.signal()) {
                    (Some(code), _) => Ended::Status(code),
                    (None, signal) => Ended::Signal(signal.unwrap_or(0)),
                };
            }
            Ok(Err(error)) => return Ended::InputFailed(without_numbers(&format!("waiting for the program: {error}"))),
            Err(_) if stop.is_some_and(Listening::was_told) => break Ended::Stopped,
            Err(_) if Instant::now() >= deadline => break Ended::TimedOut,
            Err(_) => {}
        }
    };
    kill(group, Signal::TERM);
    if ended.recv_timeout(GRACE).is_err() {
        kill(group, Signal::KILL);
        // A killed process ends, unless it is stuck in the kernel. Then nobody waits for it.
        let _ = ended.recv_timeout(GRACE);
    }
    // Processes that the program has started, or that ignored the first signal, end here.
    kill(group, Signal::KILL);
    why
}

/// Copies the input to the program until that has ended. A program may leave input unread; that is no failure. An input
/// that can't be read is one.
fn feed(to: &std::process::ChildStdin, from: &mut (dyn Read + Send), over: &AtomicBool) -> io::Result<()> {
    // A process that the program has started may keep the pipe open and never read from it.
    rustix::io::ioctl_fionbio(to, true)?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        let n = read_some(from, &mut buffer)?;
        if n == 0 {
            return Ok(());
        }
        let mut left = &buffer[..n];
        while !left.is_empty() {
            match rustix::io::write(to, left) {
                Ok(written) => left = &left[written..],
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if !over.load(Ordering::Relaxed) => {
                    let mut room = [PollFd::new(to, PollFlags::OUT)];
                    let patience = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
                    // If this fails, so does writing.
                    let _ = poll(&mut room, Some(&patience));
                }
                Err(_) => return Ok(()),
            }
        }
    }
}

/// Collects the output of a program in a thread of its own. It keeps the beginning and drops the rest.
struct Collector {
    kept: Arc<Mutex<Output>>,
    ended: mpsc::Receiver<()>,
}

impl Collector {
    /// Begins to collect what will be given to it to read.
    fn start() -> io::Result<(Self, mpsc::Sender<Box<dyn Read + Send>>)> {
        let kept = Arc::new(Mutex::new(Output::default()));
        let (give, given) = mpsc::channel::<Box<dyn Read + Send>>();
        let (say_ended, ended) = mpsc::channel();
        let into = Arc::clone(&kept);
        thread::Builder::new().spawn(move || {
            let Ok(mut from) = given.recv() else { return };
            let mut buffer = vec![0; 16 << 10];
            loop {
                let n = match read_some(&mut from, &mut buffer) {
                    Ok(0) => break,
                    Ok(n) => n,
                    // What comes behind it is not known.
                    Err(_) => {
                        into.lock().unwrap_or_else(PoisonError::into_inner).cut = true;
                        break;
                    }
                };
                let mut kept = into.lock().unwrap_or_else(PoisonError::into_inner);
                let room = OUTPUT_BYTES - kept.bytes.len();
                kept.bytes.extend_from_slice(&buffer[..n.min(room)]);
                kept.cut |= n > room;
            }
            let _ = say_ended.send(());
        })?;
        Ok((Self { kept, ended }, give))
    }

    fn collected_by(self, deadline: Instant) -> Output {
        let _ = self.ended.recv_timeout(deadline.saturating_duration_since(Instant::now()));
        std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "it ended with status {status}"),
            Self::Signal(signal) => write!(f, "it was ended by signal {signal}"),
            Self::Stopped => f.write_str("mailsync was told to stop while it ran, and has ended it"),
            Self::TimedOut => f.write_str("it took too long and was ended"),
            Self::NotStarted(why) | Self::NotNow(why) => write!(f, "it could not be started: {why}"),
            Self::InputFailed(why) => write!(f, "its input could not be read to the end, so it was ended: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, timeout: Duration, mut input: &[u8]) -> Finished {
        let launch = Launch {
            program: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            env: vec![("PATH".into(), "/usr/bin:/bin".into()), ("X".into(), "y".into())],
            dir: "/".into(),
            timeout,
        };
        Processes.run(&launch, &mut input)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_program_gets_its_input_and_gives_its_output_and_status() {
        let finished = shell("cat; echo no >&2; exit 7", LONG, b"hello");
        assert_eq!(finished.ended, Ended::Status(7));
        assert_eq!((&finished.stdout.bytes[..], &finished.stderr.bytes[..]), (&b"hello"[..], &b"no\n"[..]));
        assert!(!finished.stdout.cut);
    }

    #[test]
    fn the_environment_is_what_was_given_and_nothing_else() {
        let finished = shell("env | grep -v -e '^PWD=' -e '^_=' -e '^SHLVL=' -e '^OLDPWD=' | sort", LONG, b"");
        assert_eq!(String::from_utf8(finished.stdout.bytes).unwrap(), "PATH=/usr/bin:/bin\nX=y\n");
    }

    #[test]
    fn a_program_that_takes_too_long_is_ended_with_all_that_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("alive");
        let script = format!("trap '' TERM; (trap '' TERM; sleep 6; echo x > {}) & sleep 100", file.display());
        let started = Instant::now();
        assert_eq!(shell(&script, Duration::from_millis(200), b"").ended, Ended::TimedOut);
        assert!(started.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_secs(4));
        assert!(!file.exists());
    }

    #[test]
    fn output_is_bounded_and_the_program_can_go_on_writing() {
        let finished = shell("head -c 300000 /dev/zero; exit 3", LONG, b"");
        assert_eq!(finished.ended, Ended::Status(3));
        assert_eq!((finished.stdout.bytes.len(), finished.stdout.cut), (OUTPUT_BYTES, true));
    }

    #[test]
    fn a_program_that_leaves_something_running_is_not_waited_for() {
        let started = Instant::now();
        let finished = shell("echo yes; sleep 30 & exit 0", LONG, b"");
        assert_eq!((finished.ended, &finished.stdout.bytes[..]), (Ended::Status(0), &b"yes\n"[..]));
        assert!(started.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn a_program_that_doesnt_read_its_input_is_no_failure() {
        assert_eq!(shell("exit 0", LONG, &vec![b'x'; 1 << 20]).ended, Ended::Status(0));
        let started = Instant::now();
        let kept_open = shell("sleep 30 <&0 & exit 4", LONG, &vec![b'x'; 1 << 20]);
        assert_eq!(kept_open.ended, Ended::Status(4));
        assert!(started.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn an_input_that_breaks_off_is_never_taken_for_whole() {
        struct Broken(usize);
        impl Read for Broken {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                if self.0 == 0 {
                    return Err(io::Error::other("broken"));
                }
                self.0 -= 1;
                buffer.fill(b'x');
                Ok(buffer.len())
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("taken");
        let launch = Launch {
            program: "/bin/sh".into(),
            args: vec!["-c".into(), format!("cat > /dev/null && echo x > {}", file.display()).into()],
            env: vec![("PATH".into(), "/usr/bin:/bin".into())],
            dir: "/".into(),
            timeout: LONG,
        };
        let finished = Processes.run(&launch, &mut Broken(3));
        assert!(matches!(finished.ended, Ended::InputFailed(_)), "{finished:?}");
        assert!(!file.exists());
    }

    #[test]
    fn a_program_that_isnt_there_is_told_of() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("missing").into_os_string();
        let launch = Launch { program, args: vec![], env: vec![], dir: dir.path().into(), timeout: LONG };
        assert!(matches!(Processes.run(&launch, &mut io::empty()).ended, Ended::NotStarted(_)));
    }
}
