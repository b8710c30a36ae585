//! The real binary is killed, or a system call of it fails, wherever it changes something on disk or opens a file, what
//! `SQLite` does included. Then the command is repeated: it ends as if nothing had happened, no message is gone meanwhile,
//! and nothing is left over.
//!
//! `strace` does the killing and the failing, and refuses threads, so that the calls have one order; a limit of a file's
//! size cuts writes short. By default some calls of each command are tried, spread over all of it. `MAILSYNC_FAULTS=all`
//! tries all that can go wrong at all of them; a command's name instead of `all`, such as `Import`, does that for one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command as Process, Stdio};

use crate::support::campaign::Campaign;
use crate::support::programs::{MAILSYNC, are_there, leave_out};
use crate::support::scene::{Command, INPUT, Scene, difference};
use crate::support::text;

/// How many calls of a command are tried by default.
const PLACES: usize = 5;
/// The calls by which files are made, changed, made durable and removed.
const CALLS: &str = "open,openat,creat,write,writev,pwrite64,pwritev,rename,renameat,renameat2,link,linkat,symlink,\
                     unlink,unlinkat,mkdir,mkdirat,rmdir,truncate,ftruncate,fallocate,fsync,fdatasync,syncfs,fchmod,\
                     fchmodat,chmod,fchown,fchownat,chown,utimensat,copy_file_range,sendfile";
/// The sizes beyond which no file may grow, in bytes.
const LIMITS: [u64; 7] = [0, 30, 1000, 6000, 40_000, 150_000, 1 << 20];

/// What goes wrong.
#[derive(Clone, Copy)]
enum Fault<'a> {
    /// The process is killed before it makes this call.
    Killed(&'a Call),
    /// This call fails like this.
    Fails(&'a Call, &'static str),
    /// No file may be larger than this: what is written is cut there, and what is written next fails.
    Cut(u64),
}

/// The rows of the table.
const ROWS: [&str; 7] = [
    "the binary is killed",
    "a system call fails with EIO",
    "a system call fails with ENOSPC",
    "a system call fails with EDQUOT",
    "a system call fails with EACCES",
    "a system call fails with EMFILE",
    "a write is cut short, then EFBIG",
];

/// How the errors are called, in the order of the rows.
const ERRORS: [&str; 5] = ["EIO", "ENOSPC", "EDQUOT", "EACCES", "EMFILE"];

impl Fault<'_> {
    fn row(self) -> usize {
        match self {
            Self::Killed(_) => 0,
            Self::Fails(_, name) => 1 + ERRORS.iter().position(|&error| error == name).expect("it is one of them"),
            Self::Cut(_) => ROWS.len() - 1,
        }
    }
}

/// A call, as `strace` writes it.
struct Call {
    name: String,
    /// How many calls of this name there were until then.
    count: usize,
    line: String,
}

impl Call {
    /// Whether the kernel can answer it like this.
    fn can_fail_with(&self, error: &str) -> bool {
        let opens = self.name.starts_with("open");
        let makes = self.line.contains("O_CREAT") || ["mk", "link", "rename"].iter().any(|n| self.name.starts_with(n));
        let writes = ["write", "pwrite", "ftruncate", "fsync", "fallocate"].iter().any(|n| self.name.starts_with(n));
        match error {
            "EIO" => true,
            "ENOSPC" | "EDQUOT" => makes || writes,
            "EACCES" => opens || makes || ["unlink", "rmdir", "utimens"].iter().any(|n| self.name.starts_with(n)),
            "EMFILE" => opens,
            _ => false,
        }
    }
}

impl fmt::Debug for Fault<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Killed(call) => write!(f, "killed at {} {}, {}", call.name, call.count, call.line),
            Self::Fails(call, error) => write!(f, "{error} at {} {}, {}", call.name, call.count, call.line),
            Self::Cut(bytes) => write!(f, "no file beyond {bytes} bytes"),
        }
    }
}

/// How a run ended.
struct Ended {
    /// What killed it.
    killed: bool,
    success: bool,
    said: String,
}

/// Runs what a person types for a scene's command, with this wrapped around it.
fn run(scene: &Scene, wrapper: &[&str]) -> Ended {
    match scene.line() {
        Some(line) => run_line(scene, wrapper, &line),
        None => Ended { killed: false, success: true, said: String::new() },
    }
}

fn run_line(scene: &Scene, wrapper: &[&str], line: &[String]) -> Ended {
    let program = [wrapper, &[MAILSYNC]].concat();
    let mut process = Process::new(program[0]);
    process.args(&program[1..]).env_remove("LD_LIBRARY_PATH").env_remove("MAILSYNC_HOME").args(["--quiet", "--home"]);
    process.arg(scene.here.home.state_dir()).args(line).stdout(Stdio::null());
    let ran = crate::support::programs::run_to_its_end(&mut process, INPUT);
    Ended {
        killed: ran.status.signal() == Some(9),
        success: ran.status.success(),
        said: String::from_utf8_lossy(&ran.stderr).trim().replace('\n', " / "),
    }
}

/// The arguments of `strace` for a scene's command.
fn tracing<'a>(scene: &Scene, more: &[&'a str]) -> Vec<&'a str> {
    let needs_threads = [
        Command::ExportToFile,
        Command::ExportToDirectory,
        Command::Invite,
        Command::JobsRun,
        Command::ScanWithHook,
        Command::ImportWithHook,
        Command::Watch,
    ];
    let alone: &[&str] = if needs_threads.contains(&scene.command) {
        // To compress, or to wait for a program. Only the first one is traced, which does all else.
        &["strace", "-q"]
    } else {
        &["strace", "-q", "-f", "-e", "inject=clone,clone3:error=EAGAIN"]
    };
    [alone, more].concat()
}

fn run_with(scene: &Scene, fault: Fault<'_>) -> Ended {
    let (call, what) = match fault {
        Fault::Killed(call) => (call, String::from("signal=KILL")),
        Fault::Fails(call, error) => (call, format!("error={error}")),
        Fault::Cut(bytes) => return run(scene, &["prlimit", &format!("--fsize={bytes}")]),
    };
    let (trace, inject) =
        (format!("trace={},clone,clone3", call.name), format!("inject={}:{what}:when={}", call.name, call.count));
    run(scene, &tracing(scene, &["-o", "/dev/null", "-e", &trace, "-e", &inject]))
}

/// Runs a scene's command undisturbed. Gives its calls.
fn calls(scene: &Scene) -> Vec<Call> {
    let log = scene.keep.with_extension("calls");
    let trace = format!("trace={CALLS},clone,clone3");
    let ended = run(scene, &tracing(scene, &["-o", text(&log), "-e", &trace]));
    assert!(ended.success && ended.said.is_empty(), "{:?}, undisturbed: {}", scene.command, ended.said);
    let mut counts = BTreeMap::<String, usize>::new();
    let parse = |line: &str| {
        let (number, rest) = line.split_once(' ').unwrap_or_default();
        let line = if number.bytes().all(|c| c.is_ascii_digit()) { rest.trim_start() } else { line };
        let name = line.split_once('(')?.0;
        let is_call = name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_') && !name.starts_with("clone");
        is_call.then(|| {
            let count = counts.entry(name.to_owned()).and_modify(|count| *count += 1).or_insert(1);
            Call { name: name.to_owned(), count: *count, line: line.to_owned() }
        })
    };
    fs::read_to_string(&log).unwrap().lines().filter_map(parse).collect()
}

/// All that goes wrong with a command.
fn faults(calls: &[Call], all: bool, command: Command) -> Vec<Fault<'_>> {
    let mut faults = Vec::new();
    let places: Vec<usize> = if all {
        (0..calls.len()).collect()
    } else {
        (0..PLACES).map(|place| place * (calls.len() - 1) / (PLACES - 1)).collect()
    };
    for (place, call) in places.into_iter().map(|at| &calls[at]).enumerate() {
        faults.push(Fault::Killed(call));
        let fitting: Vec<&str> = ERRORS.into_iter().filter(|error| call.can_fail_with(error)).collect();
        if all {
            faults.extend(fitting.into_iter().map(|error| Fault::Fails(call, error)));
        } else {
            faults.push(Fault::Fails(call, fitting[(place + command as usize) % fitting.len()]));
        }
    }
    let some = |at: &usize| all || at % 3 == command as usize % 3;
    faults.extend((0..LIMITS.len()).filter(some).map(|at| Fault::Cut(LIMITS[at])));
    faults
}

/// Runs a command to its end, and then with everything that can go wrong. Returns how many calls it makes.
fn hold(command: Command, campaign: &Campaign<{ ROWS.len() }>) -> usize {
    let scene = Scene::new(command);
    scene.put_back();
    let calls = calls(&scene);
    let (end, heard) = (scene.end(), scene.heard());
    assert_ne!(heard, Some(BTreeSet::new()), "{command:?}: the hook is told nothing");
    scene.put_back();
    run(&scene, &[]);
    assert_eq!(scene.end(), end, "{command:?}, with threads");
    // Until then the program is being loaded.
    let first = calls.iter().position(|call| call.line.contains("machine-id")).expect("it looks whose state it is");
    let calls = &calls[first..];
    for fault in faults(calls, campaign.all, command) {
        let what = format!("{command:?}, {fault:?}");
        campaign.hinder(fault.row(), &what, |lost| interrupted(&scene, fault, (&end, heard.as_ref()), lost));
    }
    calls.len()
}

/// One run with a fault, and one without. Gives what is wrong.
fn interrupted(
    scene: &Scene,
    fault: Fault<'_>,
    (end, heard): (&[String], Option<&BTreeSet<String>>),
    lost: &mut usize,
) -> Result<(), String> {
    scene.put_back();
    let ended = run_with(scene, fault);
    let said = &ended.said;
    *lost += scene.lost();
    if *lost > 0 {
        return Err(format!("{said}: {lost} messages are gone; left: {:?}", scene.held_now()));
    }
    if matches!(fault, Fault::Killed(_)) != ended.killed {
        return Err(format!("killed: {}, {said}", ended.killed));
    }
    if ended.success && said.is_empty() {
        let now = scene.end();
        if now != *end {
            return Err(format!("that was told by nobody: {}", difference(&now, end)));
        }
    }
    scene.age();
    let again = run(scene, &[]);
    if !again.success && !scene.was_done_before(&again.said) {
        return Err(format!("{said}: repeated: {}", again.said));
    }
    if let Some(line) = scene.line_of_a_person() {
        let again = run_line(scene, &[], &line);
        assert!(again.success, "{line:?}: {}", again.said);
    }
    *lost += scene.lost();
    let now = scene.end();
    if *lost > 0 || now != *end {
        return Err(format!("{said}: repeated: {lost} messages are gone: {}", difference(&now, end)));
    }
    let no_hook = said.contains("running after_") || said.contains("for a hook");
    scene.has_heard(heard, ended.killed || no_hook).map_err(|wrong| format!("{said}: {wrong}"))?;
    Ok(())
}

/// Whether `strace` can let a call fail here.
fn can_inject() -> bool {
    let mut strace = Process::new("strace");
    strace.args(["-f", "-o", "/dev/null", "-e", "trace=mkdir", "-e", "inject=mkdir:error=ENOSPC:when=1"]);
    let ran = strace.args(["mkdir", "/"]).output().unwrap();
    let can = String::from_utf8_lossy(&ran.stderr).contains("No space left");
    if !can {
        leave_out(&format!("strace can't let a system call fail here: {}", String::from_utf8_lossy(&ran.stderr)));
    }
    can
}

#[test]
fn the_binary_is_killed_or_hindered_by_the_kernel_anywhere_and_repeated_and_nothing_is_lost() {
    if !are_there(&["strace", "prlimit"]) || !can_inject() {
        return;
    }
    let (rows, was_asked) = Campaign::run(&ROWS, hold);
    for (name, row) in ROWS.iter().zip(rows) {
        assert!(row.runs > 5 || was_asked, "{name}: {row:?}");
    }
}
