//! Asking for a job, importing it and running it fail, or are killed, at every single step, and are repeated: no
//! program is started twice, and no job is lost.

use std::fs;
use std::io::{Read, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mailsync::disk::{Disk, RealDisk};
use mailsync::error::Result;
use mailsync::maildir::LayoutKind;
use mailsync::model::JobState;
use mailsync::process::{Ended, Finished, Launch, Launcher, Output};
use mailsync::replica::{Access, JobStanding, Replica, World};
use mailsync::state::State;
use rustix::io::Errno;

use crate::support::disk::{Fault, Names, Watch};
use crate::support::party::{Party, Snapshot, exchange, import, make_peers};
use crate::support::scratch;

/// When the process that starts programs dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Death {
    Never,
    Before,
    After,
}

/// Starts nothing, and keeps account of what it was told to start.
#[derive(Clone)]
struct Account {
    started: Arc<Mutex<Vec<String>>>,
    database: PathBuf,
    death: Death,
}

impl Launcher for Account {
    fn run(&self, launch: &Launch, stdin: &mut (dyn Read + Send)) -> Finished {
        let job = launch.env.iter().find(|(name, _)| name == "MAILSYNC_JOB").unwrap().1.to_str().unwrap().to_owned();
        // That it is started is on record before it is.
        let state = State::open(&self.database).unwrap().job_by_id(&job.parse().unwrap()).unwrap().unwrap().state;
        assert_eq!(state, JobState::Running);
        assert_ne!(self.death, Death::Before, "killed before the program is started");
        let mut input = Vec::new();
        stdin.read_to_end(&mut input).unwrap();
        assert_eq!(input, b"some input\n");
        self.started.lock().unwrap().push(job);
        assert_ne!(self.death, Death::After, "killed when the program is started");
        let stdout = Output { bytes: b"some output\n".to_vec(), cut: false };
        Finished { ended: Ended::Status(0), stdout, stderr: Output::default() }
    }
}

/// A laptop that has asked a server for two jobs, and the bundle that carries them.
struct Stage {
    server: Party,
    laptop: Party,
    bundle: PathBuf,
    back: PathBuf,
    before: (Snapshot, Snapshot),
    jobs: Vec<String>,
    keep: PathBuf,
    account: Account,
    _dir: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let dir = scratch();
        let [server, laptop] =
            ["server", "laptop"].map(|name| Party::new(dir.path(), name, LayoutKind::MaildirPlusPlus, &[]));
        make_peers(&server, &laptop);
        let (bundle, back) = (dir.path().join("bundle"), dir.path().join("back"));
        exchange(&server, &laptop, &bundle);
        let mut config = fs::OpenOptions::new().append(true).open(server.home.config_file()).unwrap();
        writeln!(config, "\n[[allow]]\ncommand = \"send\"\nexec = [\"send\"]\nfrom = [\"laptop\"]").unwrap();
        let jobs = (0..2).map(|_| ask(&laptop, Box::new(RealDisk)).unwrap()).collect();
        laptop.export(&server, &bundle);
        let account = Account { started: Arc::default(), database: server.home.database(), death: Death::Never };
        let before = (server.snapshot(), laptop.snapshot());
        let keep = dir.path().join("keep");
        Self { server, laptop, bundle, back, before, jobs, keep, account, _dir: dir }
    }

    fn put_back(&self) -> Watch {
        self.server.put_back(&self.before.0);
        self.laptop.put_back(&self.before.1);
        self.account.started.lock().unwrap().clear();
        Watch::new(&self.keep)
    }

    fn open(&self, watch: &Watch, death: Death) -> Result<Replica> {
        let launcher = Box::new(Account { death, ..self.account.clone() });
        self.server.open_in(World { disk: watch.disk(), launcher, ..World::real() })
    }

    /// `mailsync import FILE`
    fn run(&self, watch: &Watch, death: Death) -> Result<()> {
        let replica = self.open(watch, death)?;
        import(&replica, &self.bundle)?;
        replica.run_jobs(|_| {})
    }

    /// The import, killed or hindered at this call; afterwards the disk holds what it would hold at the next start.
    fn run_with(&self, watch: &Watch, fault: Fault) -> Result<()> {
        let started = Arc::clone(&self.account.started);
        let count = move || started.lock().unwrap().len();
        let run = || self.run(watch, Death::Never);
        let (result, started) = watch.hinder(fault, &self.server.home.database(), count, run);
        if let Some(started) = started {
            // What a killed process didn't live to start.
            self.account.started.lock().unwrap().truncate(started);
        }
        result
    }

    /// Repeats the import until it is through, and checks what has become of the jobs, here and at the requester.
    fn check_end(&self, watch: &Watch, when: &str) {
        watch.arm(Fault::Fail(usize::MAX, Errno::IO));
        for _ in 0..2 {
            self.run(watch, Death::Never).unwrap_or_else(|error| panic!("{when}: repeated: {error}"));
        }
        let started = self.account.started.lock().unwrap().clone();
        self.server.export(&self.laptop, &self.back);
        self.laptop.import(&self.back);
        let (here, there) = (jobs(&self.server.opened()), jobs(&self.laptop.opened()));
        for id in &self.jobs {
            let times = started.iter().filter(|job| *job == id).count();
            let state = |jobs: &[JobStanding]| jobs.iter().find(|job| job.id.to_string() == *id).unwrap().state;
            assert!(times <= 1, "{when}: {id} was started {times} times");
            match state(&here) {
                JobState::Done => assert_eq!(times, 1, "{when}: {id}"),
                JobState::Interrupted => {}
                other => panic!("{when}: {id} is {other}"),
            }
            assert_eq!(state(&there), state(&here), "{when}: {id} at the requester");
            let (_, result) = self.laptop.opened().show_job(id).unwrap();
            let Some(result) = result else {
                // That it has run counts more than what it has written.
                assert!(when.starts_with("no room"), "{when}: {id} has no result at the requester");
                continue;
            };
            if state(&there) == JobState::Done {
                assert_eq!(result.stdout, b"some output\n", "{when}");
            }
        }
        // At most the job that was under way is in doubt.
        let doubtful = here.iter().filter(|job| job.state == JobState::Interrupted).count();
        assert!(doubtful <= 1, "{when}: {doubtful} jobs are interrupted");
        // Nothing of what they needed is left but the results.
        let left =
            fs::read_dir(self.server.home.state_dir().join("jobs")).unwrap().map(|item| item.unwrap().file_name());
        let parts = left.filter(|name| name.to_string_lossy().starts_with('.')).count();
        assert!(parts <= 2, "{when}: {parts} unfinished files; a purge sweeps them later");
    }
}

fn jobs(replica: &Replica) -> Vec<JobStanding> {
    let mut jobs = Vec::new();
    replica
        .each_job(|job| {
            jobs.push(job);
            Ok(())
        })
        .unwrap();
    jobs
}

fn ask(laptop: &Party, disk: Box<dyn Disk>) -> Result<String> {
    let replica = Replica::open(&laptop.home, World { disk, ..World::real() }, Access::Read)?;
    // Two that are asked for in the same millisecond have no order.
    std::thread::sleep(Duration::from_millis(2));
    replica.uux("server", &[String::from("send")], &mut &b"some input\n"[..]).map(|id| id.to_string())
}

#[test]
fn an_import_that_runs_jobs_is_killed_at_every_step() {
    let stage = Stage::new();
    let watch = stage.put_back();
    watch.arm(Fault::Stop(usize::MAX));
    stage.run(&watch, Death::Never).unwrap();
    assert_eq!(*stage.account.started.lock().unwrap(), stage.jobs, "once each, and in order");
    let calls = watch.take();
    stage.check_end(&watch, "undisturbed");
    assert_eq!(*stage.account.started.lock().unwrap(), stage.jobs);
    // A scan that has to list a directory again makes some calls more.
    let mut killed = 0;
    for n in 1.. {
        let watch = stage.put_back();
        let _ = stage.run_with(&watch, Fault::Stop(n));
        let Some(call) = watch.struck() else { break };
        killed += 1;
        let what = format!("{n}, {:?} {}", call.op, call.path.display());
        stage.check_end(&watch, &format!("killed at {what}"));
        for names in [Names::Undone, Names::Kept] {
            let watch = stage.put_back();
            let _ = stage.run_with(&watch, Fault::Stop(n));
            watch.cut_power(stage.server.root(), names);
            stage.check_end(&watch, &format!("power cut at {what}, {names:?}"));
        }
        let watch = stage.put_back();
        let _ = stage.run_with(&watch, Fault::Fail(n, Errno::NOSPC));
        stage.check_end(&watch, &format!("no room at {what}"));
    }
    assert!(killed + 20 > calls.len() && killed > 25, "killed at {killed} of {} calls", calls.len());
}

#[test]
fn a_death_around_the_start_of_the_program_leaves_the_job_interrupted() {
    for (death, times) in [(Death::Before, 0), (Death::After, 1)] {
        let stage = Stage::new();
        let watch = stage.put_back();
        catch_unwind(AssertUnwindSafe(|| stage.run(&watch, death))).unwrap_err();
        assert_eq!(stage.account.started.lock().unwrap().len(), times);
        let when = format!("{death:?}");
        stage.check_end(&watch, &when);
        let server = jobs(&stage.server.opened());
        assert_eq!(
            server.iter().map(|job| job.state).collect::<Vec<_>>(),
            [JobState::Interrupted, JobState::Done],
            "{when}"
        );
        assert_eq!(stage.account.started.lock().unwrap().iter().filter(|job| **job == stage.jobs[0]).count(), times);
        // Only a person has it run again.
        let replica = stage.open(&watch, Death::Never).unwrap();
        replica.retry_job(&stage.jobs[0]).unwrap();
        replica.run_jobs(|_| {}).unwrap();
        drop(replica);
        assert_eq!(jobs(&stage.server.opened())[0].state, JobState::Done, "{when}");
    }
}

#[test]
fn asking_for_a_job_fails_at_any_step_or_has_queued_it_once() {
    let stage = Stage::new();
    let watch = stage.put_back();
    watch.arm(Fault::Stop(usize::MAX));
    let known = jobs(&stage.laptop.opened()).len();
    ask(&stage.laptop, watch.disk()).unwrap();
    let calls = watch.take().len();
    assert!(calls > 8, "{calls} calls");
    'steps: for n in 1.. {
        for fault in [Fault::Stop(n), Fault::Fail(n, Errno::NOSPC)] {
            let watch = stage.put_back();
            watch.arm(fault);
            let asked = ask(&stage.laptop, watch.disk());
            if watch.struck().is_none() {
                assert!(n + 3 > calls, "{n} of {calls} calls");
                break 'steps;
            }
            let now = jobs(&stage.laptop.opened());
            // Who is killed can't take back what has its name already.
            let may_be_there = asked.is_ok() || matches!(fault, Fault::Stop(_));
            let more = now.len() - known;
            assert!(
                more == usize::from(asked.is_ok()) || (may_be_there && more <= 1),
                "{fault:?}: {asked:?}, {more} more"
            );
            // What was queued can be run: all of it is there.
            stage.laptop.export(&stage.server, &stage.back);
            let replica = stage.open(&watch, Death::Never);
            watch.arm(Fault::Fail(usize::MAX, Errno::IO));
            let replica = replica.or_else(|_| stage.open(&watch, Death::Never)).unwrap();
            import(&replica, &stage.back).unwrap();
            replica.run_jobs(|run| assert_eq!(run.state, JobState::Done, "{run:?}")).unwrap();
            assert_eq!(stage.account.started.lock().unwrap().len(), 2 + more, "{fault:?}");
        }
    }
}

/// Starts nothing the first time, for what the machine lacks then.
struct NotYet(Arc<Mutex<u32>>);

impl Launcher for NotYet {
    fn run(&self, _: &Launch, _: &mut (dyn Read + Send)) -> Finished {
        let mut times = self.0.lock().unwrap();
        *times += 1;
        let why = String::from("Resource temporarily unavailable");
        let ended = if *times == 1 { Ended::NotNow(why) } else { Ended::Status(0) };
        Finished { ended, stdout: Output::default(), stderr: Output::default() }
    }
}

#[test]
fn a_program_that_the_machine_cannot_start_at_this_time_is_started_later() {
    let stage = Stage::new();
    stage.put_back();
    let times = Arc::default();
    let open =
        || stage.server.open_in(World { launcher: Box::new(NotYet(Arc::clone(&times))), ..World::real() }).unwrap();
    let replica = open();
    import(&replica, &stage.bundle).unwrap();
    let error = replica.run_jobs(|_| {}).unwrap_err().to_string();
    assert!(error.contains("Resource temporarily unavailable") && error.contains("the job waits"), "{error}");
    // Those behind it wait, too: they run in their order.
    let states = |replica: &Replica| jobs(replica).iter().map(|job| job.state).collect::<Vec<_>>();
    assert_eq!(states(&replica), [JobState::Queued, JobState::Queued]);
    drop(replica);
    let replica = open();
    replica.run_jobs(|_| {}).unwrap();
    assert_eq!(states(&replica), [JobState::Done, JobState::Done]);
    drop(replica);
    assert_eq!(*times.lock().unwrap(), 3);
    stage.server.export(&stage.laptop, &stage.back);
    stage.laptop.import(&stage.back);
    assert_eq!(states(&stage.laptop.opened()), [JobState::Done, JobState::Done]);
}
