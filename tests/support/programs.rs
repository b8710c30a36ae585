//! Programs: how they are run to their end, and whether those are there that work on the same mail.

use std::ffi::OsStr;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::schemas;

/// The binary that is tested.
pub const MAILSYNC: &str = env!("CARGO_BIN_EXE_mailsync");

/// The user who may do least, and that user's group.
pub const NOBODY: u32 = 65534;

/// How a command ended.
#[derive(Clone, Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("the output is text")
    }

    /// The output as one line, however it was broken.
    pub fn words(&self) -> String {
        self.text().split_whitespace().collect::<Vec<_>>().join(" ")
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A document without the members that every one has.
pub fn own_members(mut document: serde_json::Value) -> serde_json::Value {
    let members = document.as_object_mut().expect("a document is an object");
    for name in ["version", "command", "dry_run", "exit_code", "error"] {
        members.remove(name);
    }
    document
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Ran {
    let ran = Ran::of(command.output().unwrap_or_else(|error| panic!("{command:?}: {error}")));
    check_document(command, &ran);
    ran
}

/// Runs a command to its end, with this on its standard input.
pub fn run_with(command: &mut Command, input: &[u8]) -> Ran {
    let ran = Ran::of(run_to_its_end(command.stdout(Stdio::piped()), input));
    check_document(command, &ran);
    ran
}

/// Every command that is to print a document prints one, with the members that all have. What is behind `uux` and the peer is
/// another program's. One that was killed prints nothing, nor does one that has said that it couldn't.
fn check_document(command: &Command, ran: &Ran) {
    let args: Vec<_> = command.get_args().collect();
    let uux = args.iter().position(|arg| *arg == "uux").unwrap_or(args.len());
    let is_word = |(_, arg): &(usize, &&OsStr)| !arg.as_encoded_bytes().starts_with(b"-");
    let for_another = args.iter().enumerate().skip(uux + 1).filter(is_word).nth(1).map_or(args.len(), |(at, _)| at);
    let json = args[..for_another].iter().any(|arg| *arg == "--json");
    let wants_one = command.get_program() == MAILSYNC && json;
    let could_not = ran.code == 1 && ran.stdout.is_empty() && ran.stderr.contains("writing to standard output: ");
    if !wants_one || could_not || ran.code < 0 {
        return;
    }
    let document = ran.json();
    let kind = document["error"]["kind"].as_str();
    assert_eq!(document["version"], 1, "{args:?}: {document}");
    assert_eq!(document["exit_code"], ran.code, "{args:?}: {document}");
    assert_eq!(kind.is_some(), ran.code != 0, "{args:?}: {document}");
    assert_eq!(document["error"]["message"].is_string(), ran.code != 0, "{args:?}: {document}");
    // Only where the arguments make no sense nobody knows which command is meant.
    assert!(document["command"].is_string() || kind == Some("usage"), "{args:?}: {document}");
    if let Err(wrong) = schemas::check(&document) {
        panic!("{args:?}: the document isn't as docs/schema has it: {wrong}\n{document:#}");
    }
}

/// The same, for who wants to know more of how it ended. Its standard output goes where it goes.
pub fn run_to_its_end(command: &mut Command, input: &[u8]) -> Output {
    command.stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("a pipe was asked for");
    std::thread::scope(|scope| {
        // One that fails early doesn't read all of it.
        scope.spawn(move || drop(std::io::Write::write_all(&mut stdin, input)));
        child.wait_with_output().expect("it can be waited for")
    })
}

/// The same command, which heeds the signals that tell it to stop, also where the tests themselves ignore them: a shell has
/// what it starts in the background ignore SIGINT, and what ignores a signal passes that on.
pub fn heeding_signals(command: &Command) -> Command {
    let mut with = Command::new("env");
    with.arg("--default-signal=HUP,INT,TERM").arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => with.env(name, value),
            None => with.env_remove(name),
        };
    }
    if let Some(dir) = command.get_current_dir() {
        with.current_dir(dir);
    }
    with
}

/// Runs a command and kills it after this long. Returns whether that came before its end.
pub fn run_and_kill(command: &mut Command, after: Duration) -> bool {
    let started = Instant::now();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(after.saturating_sub(started.elapsed()));
    let running = child.try_wait().unwrap().is_none();
    // A child that is not yet waited for still has its number, so that nobody else is hit.
    let _ = child.kill();
    running & !child.wait().unwrap().success()
}

/// Runs a command that must succeed, with what is fed to its standard input. Returns its peak memory, in MiB.
pub fn peak(command: &mut Command, input: impl FnOnce(&mut ChildStdin) + Send + 'static) -> u64 {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let feeder = std::thread::spawn(move || input(&mut stdin));
    // What wait4(2) tells begins with the memory of the process that has started it.
    let status_file = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let status = loop {
        let text = fs::read_to_string(&status_file).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0);
        peak = peak.max(kib >> 10);
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    feeder.join().unwrap();
    assert!(status.success(), "{command:?}");
    peak
}

/// A server of one test's own, which ends with it.
pub struct Server(pub Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port on which nobody listens. Another program may take it before a server does: then the next one.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Where a program is.
pub fn path_of(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/lib/dovecot", "/usr/libexec/dovecot"].map(PathBuf::from));
    places.map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// Where a program is, or `None`, and the test is [left out](leave_out) for want of it.
#[track_caller]
pub fn find(program: &str) -> Option<PathBuf> {
    let found = path_of(program);
    if found.is_none() {
        leave_out(&format!("{program} is not installed"));
    }
    found
}

/// Whether all these programs are there. If not, the test is [left out](leave_out).
#[track_caller]
pub fn are_there(programs: &[&str]) -> bool {
    programs.iter().filter(|program| find(program).is_none()).count() == 0
}

/// A line says that this test is left out, and why. Where all of them have to run (with `CI=true`), it fails instead.
#[track_caller]
pub fn leave_out(why: &str) {
    let test = std::thread::current();
    let line = format!("{}: left out, since {why}", test.name().unwrap_or("a test"));
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{line}; with CI=true nothing may be");
    println!("{line}");
}

/// Whether it is root who runs the tests, and whom no permission binds.
pub fn are_run_by_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

/// The same, with a line that says which test is left out if not: what only root can set up, an ordinary user's tests
/// can't show.
pub fn only_root_can() -> bool {
    let root = are_run_by_root();
    if !root {
        let test = std::thread::current();
        println!("{}: left out, since only root can set it up", test.name().unwrap_or("a test"));
    }
    root
}

/// Makes this test run as an ordinary user, if root runs it: Dovecot doesn't touch root's mail. Everything that the
/// test makes and starts from here on is that user's. Returns whether the binary can be run by it.
pub fn become_an_ordinary_user() -> bool {
    use rustix::fs::{Gid, Uid};
    use rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};
    // Only root may do this. Linux keeps it for each thread, and a test runs in one of its own.
    if set_thread_groups(&[]).is_ok() {
        set_thread_gid(Gid::from_raw(NOBODY)).unwrap();
        set_thread_uid(Uid::from_raw(NOBODY)).unwrap();
    }
    let reachable = fs::File::open(MAILSYNC).is_ok();
    if !reachable {
        leave_out(&format!("an ordinary user can't run {MAILSYNC}"));
    }
    reachable
}
