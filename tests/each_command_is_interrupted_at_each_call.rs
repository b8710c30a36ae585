//! Each command that writes is stopped, or fails, at each of its calls through the disk layer, and is then repeated: it
//! ends as if nothing had happened, no message is gone meanwhile, and nothing is left over.
//!
//! By default only some calls of each command are the last one, spread over all of it, each with a stop and one kind of
//! failure. `MAILSYNC_FAULTS=all` tries all kinds at all calls; a command's name instead of `all`, such as `Import`, tries
//! those of that command.

use std::collections::BTreeSet;

use mailsync::disk::RealDisk;
use rustix::io::Errno;

use crate::support::campaign::Campaign;
use crate::support::disk::{Call, Fault, Op};
use crate::support::scene::{Command, Scene, difference};

/// How many calls of a command are interrupted by default.
const PLACES: usize = 14;

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

/// Runs a command to its end, and then with everything that can go wrong. Returns how many calls it makes.
fn hold(command: Command, campaign: &Campaign<{ FAULTS.len() }>) -> usize {
    let all = campaign.all;
    let scene = Scene::new(command);
    let watch = scene.put_back();
    watch.arm(Fault::Stop(usize::MAX));
    scene.run(watch.disk()).unwrap_or_else(|error| panic!("{command:?}, undisturbed: {error}"));
    let calls = watch.take();
    let heard = scene.heard();
    assert_ne!(heard, Some(BTreeSet::new()), "{command:?}: the hook is told nothing");
    scene.age();
    if let Err(error) = scene.run(Box::new(RealDisk)) {
        assert!(scene.was_done_before(&error.to_string()), "{command:?}, twice: {error}");
    }
    let twice = scene.end();
    // A command that is repeated though it had been done ends as if it had been done once.
    scene.put_back();
    scene.run(Box::new(RealDisk)).unwrap();
    let end = scene.end();
    assert_eq!(twice, end, "{command:?}, twice");
    assert_eq!(scene.heard(), heard, "{command:?}, twice");
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
            campaign.hinder(at, &what, |lost| interrupted(&scene, fault(n), (&end, heard.as_ref()), lost));
        }
    }
    calls.len()
}

/// One run with a fault, and one without. Gives what is wrong.
fn interrupted(
    scene: &Scene,
    fault: Fault,
    (end, heard): (&[String], Option<&BTreeSet<String>>),
    lost: &mut usize,
) -> std::result::Result<(), String> {
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
    if let Err(error) = again
        && !scene.was_done_before(&error.to_string())
    {
        return Err(format!("{at}: repeated: {error}"));
    }
    *lost += scene.lost();
    let now = scene.end();
    if *lost > 0 || now != *end {
        return Err(format!("{at}: repeated: {lost} messages are gone: {}", difference(&now, end)));
    }
    let no_hook = result.is_err_and(|error| error.to_string().contains("hook"));
    scene.has_heard(heard, matches!(fault, Fault::Stop(_)) || no_hook).map_err(|wrong| format!("{at}: {wrong}"))?;
    Ok(())
}

#[test]
fn a_command_that_was_stopped_or_has_failed_anywhere_is_repeated_and_nothing_is_lost() {
    let (rows, _) = Campaign::run(&FAULTS.map(|(name, _)| name), hold);
    for ((name, _), row) in FAULTS.iter().zip(rows).filter(|(_, row)| row.runs > 0) {
        assert!(row.runs > 20 || name.starts_with("half"), "{name}: {row:?}");
    }
}
