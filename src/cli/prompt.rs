//! What a person types on the terminal: secrets, which it doesn't show, and answers to questions.
//!
//! The terminal is the one that controls the process, wherever standard input and output go. Whatever ends the asking,
//! a signal included, the terminal shows again what is typed. (The usual crate for this dies of Ctrl-C before it has
//! seen to that.)

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use age::secrecy::SecretString;
use mailsync::disk::{Disk, RealDisk};
use mailsync::error::{Error, Result};
use mailsync::process::{Listening, end_by};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::{pipe, unregister};

/// The terminal that controls the process.
const TERMINAL: &str = "/dev/tty";
/// A line that is typed has at most so many bytes: a terminal takes no more.
const LINE: usize = 4096;

/// Asks a question on the terminal, and reads a line that isn't shown. It may be empty. `None` if the process has no
/// terminal, as under cron: then there is nobody to ask.
///
/// # Errors
/// The terminal fails, or what is typed is no text.
pub fn secret(question: &str) -> Result<Option<SecretString>> {
    Ok(line(question, Typing::Hidden)?.map(SecretString::from))
}

/// Asks a question on the terminal, and reads the answer. `None` if the process has no terminal.
///
/// # Errors
/// As for [`secret`].
pub fn answer(question: &str) -> Result<Option<String>> {
    line(question, Typing::Shown)
}

/// Whether the terminal shows what is typed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Typing {
    Hidden,
    Shown,
}

fn line(question: &str, typing: Typing) -> Result<Option<String>> {
    let opened = RealDisk.open_to_write(Path::new(TERMINAL)).and_then(|out| Ok((out, File::open(TERMINAL)?)));
    let (out, terminal) = match opened {
        Ok(opened) => opened,
        Err(error) if is_nobody_there(&error) => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let line = ask(&terminal, out, question, typing).map_err(failed)?;
    String::from_utf8(line).map(Some).map_err(|_| failed(io::Error::other("what was typed is not UTF-8 text")))
}

/// Whether the terminal could not be opened because there is none, or none for this user.
fn is_nobody_there(error: &io::Error) -> bool {
    let no_terminal = error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error());
    no_terminal || matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied)
}

fn failed(error: io::Error) -> Error {
    Error::os("asking on the terminal", error).advise("see that it works, then run this again")
}

fn ask(terminal: &File, mut out: impl Write, question: &str, typing: Typing) -> io::Result<Vec<u8>> {
    // Until the terminal is as it was, no signal ends the process.
    let listening = Listening::begin();
    let signals = Signals::listen()?;
    let hidden = if typing == Typing::Hidden { Some(Hidden::begin(terminal)?) } else { None };
    write!(out, "{question} ")?;
    let line = read_line(terminal, &signals);
    // Nobody has seen the person end the line.
    let unseen = hidden.is_some();
    drop(hidden);
    if unseen {
        writeln!(out)?;
    }
    match line? {
        Typed::Line(line) => Ok(line),
        Typed::Signal(signal) => {
            drop((signals, listening));
            // It ends the process, as it would have done without the question.
            end_by(signal)?;
            Err(ErrorKind::Interrupted.into())
        }
    }
}

/// How the asking ended.
enum Typed {
    /// With a line, without its end.
    Line(Vec<u8>),
    /// With this signal.
    Signal(i32),
}

fn read_line(terminal: &File, signals: &Signals) -> io::Result<Typed> {
    let mut line = Vec::with_capacity(LINE);
    loop {
        if let Some(signal) = signals.wait_for(terminal)? {
            return Ok(Typed::Signal(signal));
        }
        let mut typed = [0; LINE];
        let many = match rustix::io::read(terminal, &mut typed) {
            Err(rustix::io::Errno::INTR) => continue,
            read => read?,
        };
        line.extend_from_slice(&typed[..many]);
        // Ctrl-D gives the line as far as it goes.
        if many == 0 || line.last() == Some(&b'\n') {
            line.pop_if(|last| *last == b'\n');
            return Ok(Typed::Line(line));
        }
    }
}

/// A terminal that doesn't show what is typed, as long as this lives.
struct Hidden<'t> {
    terminal: &'t File,
    before: Termios,
}

impl<'t> Hidden<'t> {
    fn begin(terminal: &'t File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut modes = before.clone();
        modes.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL);
        modes.local_modes.insert(LocalModes::ICANON | LocalModes::ISIG);
        // Stopped by Ctrl-Z, it would leave a terminal that shows nothing.
        modes.special_codes[SpecialCodeIndex::VSUSP] = 0;
        tcsetattr(terminal, OptionalActions::Now, &modes)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        // If it fails, the terminal has gone.
        let _ = tcsetattr(self.terminal, OptionalActions::Now, &self.before);
    }
}

/// Listens for the signals that would end the process.
struct Signals(Vec<(i32, SigId, UnixStream)>);

impl Signals {
    fn listen() -> io::Result<Self> {
        let mut signals = Self(Vec::new());
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            let (told, tell) = UnixStream::pair()?;
            signals.0.push((signal, pipe::register(signal, tell)?, told));
        }
        Ok(signals)
    }

    /// Waits until something was typed, or a signal has come, which it gives.
    fn wait_for(&self, terminal: &File) -> io::Result<Option<i32>> {
        let mut waiting: Vec<PollFd<'_>> = self.0.iter().map(|(_, _, told)| PollFd::new(told, PollFlags::IN)).collect();
        waiting.push(PollFd::new(terminal, PollFlags::IN));
        match poll(&mut waiting, None) {
            // The signal has said so elsewhere, too.
            Err(rustix::io::Errno::INTR) => return self.wait_for(terminal),
            waited => waited?,
        };
        let came = self.0.iter().zip(&waiting).find(|(_, one)| !one.revents().is_empty());
        Ok(came.map(|((signal, ..), _)| *signal))
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for (_, id, _) in &self.0 {
            unregister(*id);
        }
    }
}
