//! A `mailsync watch` that runs beside a test.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::machine::Machine;
use super::programs::heeding_signals;
use super::schemas;

/// A condition that doesn't come true within this time never will.
const DEADLINE: Duration = Duration::from_secs(120);

/// Waits until something holds.
#[track_caller]
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < DEADLINE, "it never was so: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A running `mailsync watch --json`. It ends with its test.
pub struct Watching {
    child: Child,
    rounds: Arc<Mutex<Vec<Value>>>,
    said: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Watching {
    /// Starts one for a machine, and waits for its first round.
    pub fn start(machine: &Machine, args: &[&str]) -> Self {
        let watching = Self::spawn(&mut heeding_signals(&machine.command(&[&["watch", "--json"], args].concat())));
        watching.until("a first round", |rounds| !rounds.is_empty());
        watching
    }

    /// Starts one by this command, which may be another program that becomes it.
    pub fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (rounds, said) = (Arc::<Mutex<Vec<Value>>>::default(), Arc::<Mutex<String>>::default());
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (keep_rounds, keep_said) = (Arc::clone(&rounds), Arc::clone(&said));
        let of_rounds = std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let round = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
                keep_rounds.lock().unwrap().push(round);
            }
        });
        let of_said = std::thread::spawn(move || {
            let mut stderr = BufReader::new(stderr);
            let mut line = Vec::new();
            while stderr.by_ref().read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                keep_said.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        Self { child, rounds, said, readers: vec![of_rounds, of_said] }
    }

    /// Waits until something holds of the rounds until now.
    #[track_caller]
    pub fn until(&self, what: &str, holds: impl Fn(&[Value]) -> bool) {
        until(&format!("{what}; {}", self.said()), || {
            let rounds = self.rounds.lock().unwrap().clone();
            holds(&rounds)
        });
    }

    /// The steps of a kind that it has done.
    pub fn steps(&self, kind: &str) -> Vec<Value> {
        let mut steps = self.all_steps();
        steps.retain(|step| step["step"] == kind);
        steps
    }

    /// All steps that it has done.
    pub fn all_steps(&self) -> Vec<Value> {
        let rounds = self.rounds.lock().unwrap();
        for round in rounds.iter() {
            assert_eq!(schemas::check(round), Ok(()), "{round:#}");
        }
        rounds.iter().flat_map(|round| round["steps"].as_array().expect("a round has steps").clone()).collect()
    }

    /// How many rounds there were.
    pub fn rounds(&self) -> usize {
        self.rounds.lock().unwrap().len()
    }

    /// All that it has said.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// How much memory it has, in KiB.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Waits for its end, and gives its status, the rounds and what it has said.
    pub fn ended(mut self) -> (ExitStatus, Vec<Value>, String) {
        let started = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(started.elapsed() < DEADLINE, "it doesn't end: {}", self.said());
            std::thread::sleep(Duration::from_millis(5));
        };
        self.readers.drain(..).for_each(|reader| reader.join().unwrap());
        let rounds = self.rounds.lock().unwrap().clone();
        for round in &rounds {
            if let Err(wrong) = schemas::check(round) {
                panic!("a round isn't as docs/schema has it: {wrong}\n{round:#}");
            }
        }
        (status, rounds, self.said())
    }

    /// Tells it to stop, which ends it well. Gives the rounds and what it has said.
    #[track_caller]
    pub fn stop(self) -> (Vec<Value>, String) {
        self.signal(Signal::TERM);
        let (status, rounds, said) = self.ended();
        assert_eq!(status.code(), Some(0), "{said}");
        let last = rounds.last().expect("its end is told");
        assert_eq!((&last["command"], &last["exit_code"]), (&Value::from("watch"), &Value::from(0)), "{last}");
        (rounds, said)
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        // Most have ended by now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until all have done nothing for a second, which is many times as long as they wait for the last change.
#[track_caller]
pub fn until_quiet(all: &[&Watching]) {
    let count = || all.iter().map(|watching| watching.rounds()).collect::<Vec<_>>();
    let (mut before, mut since) = (count(), Instant::now());
    let said = || all.iter().map(|watching| watching.said()).collect::<String>();
    until(&format!("a quiet second; {}", said()), || {
        let now = count();
        if now != before {
            (before, since) = (now, Instant::now());
        }
        since.elapsed() >= Duration::from_secs(1)
    });
}
