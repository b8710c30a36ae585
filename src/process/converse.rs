//! Talking with a program: it reads what is said to it, what it answers is kept, and what it says to people is passed on,
//! for as long as one of the first two goes on.

use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::process::{Pid, Signal, kill_process};

use super::lines::Lines;
use super::stop::{Listening, kill};
use crate::read::read_some;

/// How much is read or written in one go, in bytes.
const CHUNK: usize = 64 << 10;
/// A pipe may hold so many pieces: 1 MiB is the most that pipe(7) lets anybody have.
const PIPE_CHUNKS: u32 = 16;
/// How soon it is noticed that mailsync is told to stop, or that the program has ended.
const ATTENTION: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// How long a program that was asked to end may take before it is made to.
const GRACE: Duration = Duration::from_secs(3);
/// How long more output is waited for when the program has ended and its output is still open.
const LINGER: Duration = Duration::from_secs(1);
/// How often it is looked whether a program has ended.
const NAP: Duration = Duration::from_millis(5);

/// What is said, to whom, and how patiently.
#[derive(Debug)]
pub struct Conversation<'c> {
    /// The program, and its arguments.
    pub call: &'c [String],
    /// How long it is waited for while not a byte goes to the program, and none comes from it.
    pub patience: Duration,
}

/// How a conversation has ended.
#[derive(Debug)]
pub enum Heard {
    /// The program has answered all that it wanted, and has ended with this status. It has read all that was said to
    /// it, or not.
    Ended(ExitStatus, bool),
    /// For too long nothing went to and fro; the program was ended.
    Silent,
    /// Mailsync was told to stop; the program was ended.
    Stopped,
    /// Nobody wants more of the answer; the program was ended.
    Unwanted,
}

/// Says to a program what there is to be read, and writes its answer into `answer`. `aside` is given each line of its
/// standard error, as it comes. When `answer` is a pipe that nobody reads any more, that ends the conversation.
///
/// # Errors
/// The program can't be started, or the answer can't be written. It doesn't run any more.
pub fn converse(
    conversation: &Conversation<'_>,
    say: &mut (dyn Read + Send),
    answer: &mut dyn Write,
    aside: &mut dyn FnMut(&str),
) -> io::Result<Heard> {
    let (program, args) = conversation.call.split_first().ok_or(io::ErrorKind::NotFound)?;
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A program that asks for a password needs the terminal, which has one group in front. Without a terminal, a group
    // of its own takes all that the program starts.
    let has_terminal = File::open("/dev/tty").is_ok();
    if !has_terminal {
        command.process_group(0);
    }
    let stop = Listening::begin();
    let mut child = command.spawn()?;
    let mut aside = Aside { from: child.stderr.take(), buffer: vec![0; CHUNK], lines: Lines::default(), each: aside };
    let mut talk = Talk { child, group: !has_terminal, stop, patience: conversation.patience };
    let result = talk.run(say, answer, &mut aside);
    // Whatever went wrong, it doesn't run on by itself.
    if !matches!(result, Ok(Heard::Ended(..))) {
        talk.end();
    }
    aside.end();
    result
}

struct Talk {
    child: Child,
    /// Whether the program leads a process group.
    group: bool,
    stop: Option<Listening>,
    patience: Duration,
}

/// What the program says to people.
struct Aside<'a> {
    from: Option<ChildStderr>,
    buffer: Vec<u8>,
    lines: Lines,
    each: &'a mut dyn FnMut(&str),
}

/// What is still to be said.
struct Said {
    to: Option<ChildStdin>,
    chunk: Vec<u8>,
    /// How much of the chunk was written.
    written: usize,
    all: bool,
}

impl Talk {
    fn run(&mut self, say: &mut (dyn Read + Send), answer: &mut dyn Write, aside: &mut Aside<'_>) -> io::Result<Heard> {
        let mut from = self.child.stdout.take();
        let to = self.child.stdin.take();
        if let (Some(to), Some(from), Some(from_aside)) = (&to, &from, &aside.from) {
            ioctl_fionbio(to, true)?;
            ioctl_fionbio(from, true)?;
            ioctl_fionbio(from_aside, true)?;
        }
        let mut said = Said { to, chunk: Vec::new(), written: 0, all: false };
        let mut progress = Instant::now();
        let mut ended: Option<(ExitStatus, Instant)> = None;
        loop {
            if self.stop.as_ref().is_some_and(Listening::was_told) {
                return Ok(Heard::Stopped);
            }
            if progress.elapsed() >= self.patience {
                return Ok(Heard::Silent);
            }
            wait_for(said.to.as_ref(), from.as_ref(), aside.from.as_ref());
            // It is no sign that the exchange goes on.
            aside.hear();
            let spoke = said.go_on(say)?;
            match hear(&mut from, answer)? {
                ControlFlow::Break(()) => return Ok(Heard::Unwanted),
                ControlFlow::Continue(heard) if spoke || heard => {
                    progress = Instant::now();
                    continue;
                }
                ControlFlow::Continue(_) => {}
            }
            if ended.is_none() {
                ended = self.child.try_wait()?.map(|status| (status, Instant::now()));
            }
            // Something that the program has started may keep its output open for ever.
            if let Some((status, since)) = ended
                && (from.is_none() && aside.from.is_none() || since.elapsed() >= LINGER)
            {
                return Ok(Heard::Ended(status, said.all));
            }
        }
    }

    /// Ends the program, and what it has started if it has a group of its own.
    fn end(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let signal = |signal| match pid {
            Some(pid) if self.group => kill(Some(pid), signal),
            // It fails if the program has ended.
            Some(pid) => drop(kill_process(pid, signal)),
            None => {}
        };
        // The program was not waited for yet: its number is nobody else's.
        signal(Signal::TERM);
        let deadline = Instant::now() + GRACE;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() >= deadline {
                signal(Signal::KILL);
                let _ = self.child.wait();
                break;
            }
            std::thread::sleep(NAP);
        }
        if self.group {
            kill(pid, Signal::KILL);
        }
    }
}

/// Waits until there is something to be read or written, for a short time.
fn wait_for(to: Option<&ChildStdin>, from: Option<&ChildStdout>, aside: Option<&ChildStderr>) {
    let mut fds = Vec::with_capacity(3);
    fds.extend(to.map(|to| PollFd::new(to, PollFlags::OUT)));
    let sources = from.map(AsFd::as_fd).into_iter().chain(aside.map(AsFd::as_fd));
    fds.extend(sources.map(|from| PollFd::from_borrowed_fd(from, PollFlags::IN)));
    if fds.is_empty() {
        // Only its end is waited for, of which no pipe tells.
        std::thread::sleep(NAP);
    } else {
        // If it fails, reading or writing does as well.
        let _ = poll(&mut fds, Some(&ATTENTION));
    }
}

impl Aside<'_> {
    /// Takes what was said until now, a piece of it. Returns whether there was anything.
    fn hear(&mut self) -> bool {
        let Some(pipe) = &mut self.from else { return false };
        match pipe.read(&mut self.buffer) {
            Ok(n @ 1..) => {
                self.lines.take(&self.buffer[..n], self.each);
                true
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => false,
            // What can't be heard any more keeps nothing from going on.
            Ok(0) | Err(_) => {
                self.from = None;
                false
            }
        }
    }

    /// The program has ended: gives what is left, which can't be more than a pipe holds.
    fn end(mut self) {
        for _ in 0..PIPE_CHUNKS {
            if !self.hear() {
                break;
            }
        }
        self.lines.end(self.each);
    }
}

impl Said {
    /// Writes as much as the program takes now. Returns whether it took any.
    fn go_on(&mut self, mut say: &mut (dyn Read + Send)) -> io::Result<bool> {
        let Some(to) = &self.to else { return Ok(false) };
        if self.written == self.chunk.len() {
            self.chunk.resize(CHUNK, 0);
            let n = read_some(&mut say, &mut self.chunk)?;
            self.chunk.truncate(n);
            self.written = 0;
        }
        if self.chunk.is_empty() {
            (self.all, self.to) = (true, None);
            return Ok(true);
        }
        match rustix::io::write(to, &self.chunk[self.written..]) {
            Ok(n) => {
                self.written += n;
                Ok(n > 0)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(false),
            // It doesn't want all of it, and says why by its exit status.
            Err(_) => {
                self.to = None;
                Ok(false)
            }
        }
    }
}

/// Takes what the program has answered until now. Returns whether there was anything, if more of it is wanted.
fn hear(from: &mut Option<ChildStdout>, answer: &mut dyn Write) -> io::Result<ControlFlow<(), bool>> {
    let Some(pipe) = from else { return Ok(ControlFlow::Continue(false)) };
    let mut buffer = vec![0; CHUNK];
    match pipe.read(&mut buffer) {
        Ok(0) => {
            *from = None;
            Ok(ControlFlow::Continue(true))
        }
        Ok(n) => match answer.write_all(&buffer[..n]) {
            Ok(()) => Ok(ControlFlow::Continue(true)),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
            Err(error) => Err(error),
        },
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
            Ok(ControlFlow::Continue(false))
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Seek;

    /// What is said to a shell that runs this, and what is heard.
    fn talk(script: &str, patience: Duration, input: &[u8]) -> (Heard, Vec<u8>) {
        let mut say = tempfile::tempfile().unwrap();
        say.write_all(input).unwrap();
        say.rewind().unwrap();
        let mut answer = Vec::new();
        let call = ["/bin/sh", "-c", script].map(String::from);
        let heard = converse(&Conversation { call: &call, patience }, &mut say, &mut answer, &mut |_| {}).unwrap();
        (heard, answer)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn much_goes_both_ways_at_once() {
        let input: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
        let (heard, answer) = talk("cat; exit 7", LONG, &input);
        assert!(matches!(heard, Heard::Ended(status, true) if status.code() == Some(7)), "{heard:?}");
        assert!(answer == input);
    }

    #[test]
    fn one_that_does_not_read_is_not_waited_for() {
        let (heard, answer) = talk("echo no", LONG, &vec![0; 1 << 20]);
        assert!(matches!(heard, Heard::Ended(status, false) if status.success()), "{heard:?}");
        assert_eq!(answer, b"no\n");
    }

    #[test]
    fn one_that_is_silent_for_too_long_is_ended_and_one_that_goes_on_slowly_is_not() {
        let started = Instant::now();
        let (heard, answer) = talk("echo begun; exec sleep 1000", Duration::from_millis(300), b"hello");
        assert!(matches!(heard, Heard::Silent), "{heard:?}");
        assert_eq!(answer, b"begun\n");
        assert!(started.elapsed() < LONG);
        let (heard, answer) = talk("for n in 1 2 3 4 5 6; do sleep 0.2; echo $n; done", Duration::from_secs(1), b"");
        assert!(matches!(heard, Heard::Ended(status, _) if status.success()), "{heard:?}");
        assert_eq!(answer, b"1\n2\n3\n4\n5\n6\n");
    }

    #[test]
    fn one_whose_answer_nobody_wants_any_more_is_ended() {
        let (mut reader, mut answer) = io::pipe().unwrap();
        let mut say = tempfile::tempfile().unwrap();
        let call = ["/bin/sh", "-c", "exec yes"].map(String::from);
        let heard = std::thread::scope(|scope| {
            let talk = scope.spawn(move || {
                converse(&Conversation { call: &call, patience: LONG }, &mut say, &mut answer, &mut |_| {})
            });
            reader.read_exact(&mut [0; 10]).unwrap();
            drop(reader);
            talk.join().unwrap().unwrap()
        });
        assert!(matches!(heard, Heard::Unwanted), "{heard:?}");
    }

    #[test]
    fn what_it_says_to_people_comes_line_by_line_and_is_no_sign_that_it_goes_on() {
        let said = |script: &str, patience| {
            let call = ["/bin/sh", "-c", script].map(String::from);
            let (mut say, mut lines) = (tempfile::tempfile().unwrap(), Vec::new());
            let conversation = Conversation { call: &call, patience };
            let heard = converse(&conversation, &mut say, &mut io::sink(), &mut |line| lines.push(line.to_owned()));
            (heard.unwrap(), lines)
        };
        let (heard, lines) = said("echo one >&2; echo out; printf 'two\\nthree' >&2; exit 3", LONG);
        assert!(matches!(heard, Heard::Ended(status, _) if status.code() == Some(3)), "{heard:?}");
        assert_eq!(lines, ["one", "two", "three"]);
        let much = "head -c 3000000 /dev/zero | tr '\\0' x >&2; cat; echo >&2; echo end >&2";
        let (heard, lines) = said(much, LONG);
        assert!(matches!(heard, Heard::Ended(status, _) if status.success()), "{heard:?}");
        assert!(lines.len() == 2 && lines[0].len() < 1100 && lines[1] == "end", "{lines:?}");
        let (heard, lines) = said("while :; do echo still here >&2; sleep 0.05; done", Duration::from_millis(300));
        assert!(matches!(heard, Heard::Silent), "{heard:?}");
        assert!(lines.len() > 1 && lines.iter().all(|line| line == "still here"), "{lines:?}");
        // One that stays behind and keeps it open is not waited for.
        let started = Instant::now();
        assert_eq!(said("sleep 2 & echo left >&2", LONG).1, ["left"]);
        assert!(started.elapsed() < LONG);
    }

    #[test]
    fn one_that_can_not_be_started_is_an_error() {
        let mut say = tempfile::tempfile().unwrap();
        for call in [vec![], vec![String::from("/nowhere/at/all")]] {
            assert!(
                converse(&Conversation { call: &call, patience: LONG }, &mut say, &mut io::sink(), &mut |_| {})
                    .is_err()
            );
        }
    }
}
