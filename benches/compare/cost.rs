//! What a run of a command costs, and commands in turns.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use wait4::Wait4;

/// What one run of a command cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Seconds by the clock.
    pub wall: f64,
    /// Seconds of all processors, in the program and in the kernel.
    pub cpu: f64,
    /// The largest process, in bytes.
    pub peak: u64,
}

impl Cost {
    /// To the microsecond, which is what a file of figures keeps.
    pub fn rounded(self) -> Self {
        let micros = |seconds: f64| (seconds * 1e6).round() / 1e6;
        Self { wall: micros(self.wall), cpu: micros(self.cpu), peak: self.peak }
    }

    /// One command after the other.
    pub fn then(self, other: Self) -> Self {
        Self { wall: self.wall + other.wall, cpu: self.cpu + other.cpu, peak: self.peak.max(other.peak) }
    }
}

/// Runs of one command, or of several that belong together.
#[derive(Clone, Debug, Default)]
pub struct Runs(pub Vec<Cost>);

impl Runs {
    fn median(&self, of: impl Fn(&Cost) -> f64) -> f64 {
        let mut values: Vec<f64> = self.0.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    }

    /// Time and CPU of the run in the middle, and the largest process of all runs.
    pub fn summary(&self) -> Cost {
        Cost {
            wall: self.median(|cost| cost.wall),
            cpu: self.median(|cost| cost.cpu),
            peak: self.0.iter().map(|cost| cost.peak).max().unwrap_or(0),
        }
    }
}

/// A replica below the bench's directory: a home and a mail root.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Its configuration and state.
    pub home: PathBuf,
    /// Its mail.
    pub mail: PathBuf,
}

impl Machine {
    /// One that is not made yet.
    pub fn at(dir: &Path, name: &str) -> Self {
        Self { home: dir.join(name), mail: dir.join(format!("{name}-mail")) }
    }

    /// Runs mailsync there.
    pub fn run(&self, args: &[&dyn AsRef<OsStr>]) -> Cost {
        measure(self.with(args))
    }

    /// mailsync there, with these arguments.
    pub fn with(&self, args: &[&dyn AsRef<OsStr>]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mailsync"));
        command.arg("--quiet").arg("--home").arg(&self.home).args(args);
        command
    }

    /// Makes a replica of the mail that is there.
    pub fn init(&self) -> Cost {
        fs::create_dir_all(&self.mail).expect("a mail root can be made");
        let name = self.home.file_name().expect("a home has a name");
        self.run(&[&"init", &self.mail, &"--name", &name])
    }

    /// The file with its public key.
    pub fn key(&self) -> PathBuf {
        self.home.join("key.pub")
    }

    /// Makes two replicas known to each other.
    pub fn befriend(&self, other: &Self) {
        for (one, another) in [(self, other), (other, self)] {
            let name = another.home.file_name().expect("a home has a name");
            one.run(&[&"peer", &"add", &name, &"--key", &another.key()]);
        }
    }

    /// Removes it, and makes it anew with no mail, and with the key that it had.
    pub fn empty(&self, peer: &Self) {
        let key = fs::read(self.home.join("key")).expect("there is a key");
        self.remove();
        fs::create_dir_all(&self.home).expect("a home can be made");
        fs::write(self.home.join("key"), key).expect("the key can be kept");
        set_private(&self.home.join("key"));
        self.init();
        let name = peer.home.file_name().expect("a home has a name");
        self.run(&[&"peer", &"add", &name, &"--key", &peer.key()]);
    }

    /// Removes its home and its mail.
    pub fn remove(&self) {
        for dir in [&self.home, &self.mail] {
            if dir.exists() {
                fs::remove_dir_all(dir).expect("a replica can be removed");
            }
        }
    }

    /// How many times it waits for the disk while it runs this; `None` where strace isn't installed.
    pub fn waits_for_disk(&self, args: &[&dyn AsRef<OsStr>]) -> Option<u64> {
        waits_for_disk(&self.with(args))
    }
}

/// How many times a command waits for the disk, and the programs that it starts; `None` where strace isn't installed.
pub fn waits_for_disk(command: &Command) -> Option<u64> {
    if !installed("strace") {
        return None;
    }
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "--seccomp-bpf", "-e", "trace=fsync,fdatasync,syncfs,sync_file_range"]);
    strace.args(["-e", "signal=none", "-o"]).arg(file.path()).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        strace.env(name, value.expect("the bench removes no variables"));
    }
    measure(strace);
    let calls = fs::read_to_string(file.path()).expect("what strace has written can be read");
    // A call that was interrupted by another thread's stands in two lines.
    Some(calls.lines().filter(|line| !line.contains(" resumed>")).count() as u64)
}

#[cfg(unix)]
fn set_private(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("a mode can be set");
}

/// Whether there is such a program.
pub fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Runs a line of the shell.
pub fn shell(line: &str) -> Cost {
    measure(line_of_shell(line))
}

/// A line of the shell that is to be run.
pub fn line_of_shell(line: &str) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(line);
    command
}

/// # Panics
/// The command can't be run, or fails: then the figure would mean nothing.
pub fn measure(mut command: Command) -> Cost {
    let started = Instant::now();
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("the command can be run");
    let used = child.wait4().expect("the command can be waited for");
    assert!(used.status.success(), "{command:?} failed");
    let cpu: Duration = used.rusage.utime + used.rusage.stime;
    Cost { wall: started.elapsed().as_secs_f64(), cpu: cpu.as_secs_f64(), peak: used.rusage.maxrss }
}

/// The path for a line of the shell.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("the bench's paths are plain")
}

/// The bytes of all files below a directory.
pub fn size_of(dir: &Path) -> u64 {
    let files = walkdir::WalkDir::new(dir).into_iter().filter_map(Result::ok);
    files.filter_map(|file| file.metadata().ok()).filter(fs::Metadata::is_file).map(|meta| meta.len()).sum()
}

/// The bytes of a file, 0 if there is none.
pub fn size_of_file(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |meta| meta.len())
}
