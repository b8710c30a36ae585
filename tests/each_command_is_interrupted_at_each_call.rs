//! Each command that writes is stopped, or fails, at each of its calls through the disk layer, and is then repeated: it
//! ends as if nothing had happened, no message is gone meanwhile, and nothing is left over.
//!
//! By default only some calls of each command are the last one, spread over all of it, each with a stop and one kind of
//! failure. `MAILSYNC_FAULTS=all` tries all kinds at all calls; a command's name instead of `all`, such as `Import`, tries
//! those of that command.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use mailsync::disk::RealDisk;
use mailsync::error::Error;
use rustix::io::Errno;

use crate::support::caught;
use crate::support::disk::{Call, Fault, Op};
use crate::support::scene::{ALL, Command, Scene, difference};

/// How many calls of a command are interrupted by default.
const PLACES: usize = 16;

/// What goes wrong at a call.
type FaultAt = fn(usize) -> Fault;

/// What goes wrong, by its name.
const FAULTS: [(&str, FaultAt); 7] = [
    ("killed", Fault::Stop),
    ("EIO", |n| Fault::Fail(n, Errno::IO)),
    ("ENOSPC", |n| Fault::Fail(n, Errno::NOSPC)),
    ("EDQUOT", |n| Fault::Fail(n, Errno::DQUOT)),
    ("EACCES", |n| Fault::Fail(n, Errno::ACCESS)),
    ("EMFILE", |n| Fault::Fail(n, Errno::MFILE)),
    ("half a write, then ENOSPC", |n| Fault::Torn(n, Errno::NOSPC)),
];

/// What came of one kind of fault.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    runs: usize,
    /// Runs that did not end as undisturbed, or were not told of.
    wrong: usize,
    /// Messages that were gone at any time.
    lost: usize,
}

/// Runs a command to its end, and then with everything that can go wrong. Returns how many calls it makes.
fn hold(command: Command, all: bool, rows: &Mutex<BTreeMap<usize, Row>>, problems: &Mutex<Vec<String>>) -> usize {
    let scene = Scene::new(command);
    let watch = scene.put_back();
    watch.arm(Fault::Stop(usize::MAX));
    scene.run(watch.disk()).unwrap_or_else(|error| panic!("{command:?}, undisturbed: {error}"));
    let calls = watch.take();
    scene.age();
    scene.run(Box::new(RealDisk)).unwrap_or_else(|error| panic!("{command:?}, twice: {error}"));
    let twice = scene.end();
    // A command that is repeated though it had been done ends as if it had been done once.
    scene.put_back();
    scene.run(Box::new(RealDisk)).unwrap();
    let end = scene.end();
    assert_eq!(twice, end, "{command:?}, twice");
    let step = if all { 1 } else { calls.len().div_ceil(PLACES) };
    let is_write = |n: usize| matches!(calls[n - 1].op, Op::Write | Op::Scratch);
    let some: Vec<usize> = (1..=calls.len()).step_by(step).collect();
    // Writes are few, and all the same.
    let writes = (1..=calls.len()).filter(|&n| is_write(n)).take(if all { usize::MAX } else { 3 });
    let places: BTreeSet<usize> = some.iter().copied().chain(writes).collect();
    for (place, n) in places.into_iter().enumerate() {
        for (at, (name, fault)) in FAULTS.iter().enumerate() {
            let is_chosen = all || (some.contains(&n) && (at == 0 || at == 1 + place % 5));
            if !(if at == 6 { is_write(n) } else { is_chosen }) {
                continue;
            }
            let what = format!("{command:?}, {name} at {n} of {}", calls.len());
            let mut row = Row { runs: 1, ..Row::default() };
            let outcome = caught(|| interrupted(&scene, fault(n), &end, &mut row.lost));
            if let Err(wrong) = outcome.unwrap_or_else(Err) {
                row.wrong = 1;
                problems.lock().unwrap().push(format!("{what}: {wrong}"));
            }
            let mut rows = rows.lock().unwrap();
            let sum = rows.entry(at).or_default();
            (sum.runs, sum.wrong, sum.lost) = (sum.runs + 1, sum.wrong + row.wrong, sum.lost + row.lost);
        }
    }
    calls.len()
}

/// One run with a fault, and one without. Gives what is wrong.
fn interrupted(scene: &Scene, fault: Fault, end: &[String], lost: &mut usize) -> std::result::Result<(), String> {
    let watch = scene.put_back();
    let (result, _) = watch.hinder(fault, &scene.here.home.database(), || (), || scene.run(watch.disk()));
    // A command may make fewer calls than the last time, such as when a directory has come to rest.
    let Some(call) = watch.struck() else { return Ok(()) };
    let Call { op, path, .. } = call;
    let at = format!("{op:?} {}: {result:?}", path.display());
    *lost += scene.lost();
    if *lost > 0 {
        return Err(format!("{at}: {lost} messages are gone; left: {:?}", scene.held_now()));
    }
    // What only concerns a place may be made good at once, or be left alone.
    let is_about_a_place = matches!(fault, Fault::Fail(_, Errno::ACCESS));
    if matches!(result, Ok(false)) && !is_about_a_place {
        let now = scene.end();
        let wrong = matches!(fault, Fault::Stop(_)) || now != *end;
        if wrong {
            return Err(format!("{at}: that was told by nobody: {}", difference(&now, end)));
        }
    }
    scene.age();
    let again = scene.run(Box::new(RealDisk));
    again.map_err(|error: Error| format!("{at}: repeated: {error}"))?;
    *lost += scene.lost();
    let now = scene.end();
    if *lost > 0 || now != *end {
        return Err(format!("{at}: repeated: {lost} messages are gone: {}", difference(&now, end)));
    }
    Ok(())
}

#[test]
fn a_command_that_was_stopped_or_has_failed_anywhere_is_repeated_and_nothing_is_lost() {
    let which = std::env::var("MAILSYNC_FAULTS").ok();
    let all = which.is_some();
    let named =
        |command: &Command| which.as_ref().is_none_or(|which| which == "all" || *which == format!("{command:?}"));
    let commands: Vec<Command> = ALL.into_iter().filter(named).collect();
    assert!(!commands.is_empty(), "there is no command {which:?}");
    let (rows, problems, next) = (Mutex::default(), Mutex::default(), AtomicUsize::new(0));
    let calls = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(&command) = commands.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match caught(|| hold(command, all, &rows, &problems)) {
                        Ok(made) => {
                            println!("{command:?}: {made} calls");
                            calls.fetch_add(made, Ordering::Relaxed);
                        }
                        Err(wrong) => problems.lock().unwrap().push(wrong),
                    }
                }
            });
        }
    });
    let (rows, problems) = (rows.into_inner().unwrap(), problems.into_inner().unwrap());
    println!("| fault | runs | not as undisturbed | messages lost |\n|---|---|---|---|");
    for (at, Row { runs, wrong, lost }) in &rows {
        println!("| {} | {runs} | {wrong} | {lost} |", FAULTS[*at].0);
    }
    println!("{} commands, {} calls", commands.len(), calls.into_inner());
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
    for (at, row) in rows {
        assert!(row.runs > 20 || FAULTS[at].0.starts_with("half"), "{}: {row:?}", FAULTS[at].0);
    }
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reliability.md");
    let document = fs::read_to_string(document).unwrap();
    for (name, _) in FAULTS {
        let row = document.lines().find(|line| line.starts_with(&format!("| {name} |")));
        assert!(row.is_some_and(|row| row.ends_with("| 0 | 0 |")), "docs/reliability.md should have a row for {name}");
    }
}
