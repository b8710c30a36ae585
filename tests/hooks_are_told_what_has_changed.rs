//! Hooks: the user's own programs, told which files of the mail a command has changed.

use std::fs;
use std::path::Path;

use crate::support::machine::{Machine, complains, message, pair, pass};
use crate::support::scratch;

/// Lets a machine run this script as a hook. Its input is appended to `DIR/KEY`.
fn hook(machine: &Machine, dir: &Path, key: &str, script: &str) {
    let script = format!("cat >> {}; {script}", dir.join(key).display());
    let config = machine.home.join("config.toml");
    let text = fs::read_to_string(&config).unwrap();
    let line = format!("\n[hooks]\n{key} = [\"/bin/sh\", \"-c\", {script:?}]\n");
    let text = if text.contains("\n[hooks]\n") { text.replace("\n[hooks]\n", &line) } else { text + &line };
    fs::write(config, text).unwrap();
}

/// The paths that a hook was told since the last time, and each of them ends with a NUL.
fn told(dir: &Path, key: &str) -> Vec<String> {
    let Ok(bytes) = fs::read(dir.join(key)) else { return Vec::new() };
    fs::remove_file(dir.join(key)).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let mut paths: Vec<String> =
        text.strip_suffix('\0').expect("the last one has a NUL, too").split('\0').map(String::from).collect();
    paths.sort();
    paths
}

#[test]
fn an_import_tells_the_files_that_came_were_renamed_and_went_and_a_dry_run_tells_none() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    hook(&laptop, dir.path(), "after_import", "true");
    desktop.deliver("one");
    desktop.deliver("two");
    let bundle = dir.path().join("bundle.zst");
    desktop.ok(&["export", "-o", bundle.to_str().unwrap()]);
    laptop.ok(&["import", "--dry-run", bundle.to_str().unwrap()]);
    assert_eq!(told(dir.path(), "after_import"), Vec::<String>::new());
    laptop.ok(&["import", bundle.to_str().unwrap()]);
    let came = told(dir.path(), "after_import");
    assert_eq!(came.len(), 2, "{came:?}");
    let root = laptop.config().mail_root;
    assert!(came.iter().all(|path| root.join(path).is_file()), "{came:?}");
    // Nothing has changed, so nothing is run.
    laptop.ok(&["import", bundle.to_str().unwrap()]);
    assert!(!dir.path().join("after_import").exists());

    fs::remove_file(desktop.dir("INBOX").join("cur/one:2,S")).unwrap();
    fs::rename(desktop.dir("INBOX").join("cur/two:2,S"), desktop.dir("INBOX").join("cur/two:2,FS")).unwrap();
    pass(&desktop, &laptop);
    let changed = told(dir.path(), "after_import");
    assert_eq!(changed.len(), 3, "the one that went, and both names of the other: {changed:?}");
    let there: Vec<_> = changed.iter().filter(|path| root.join(path).is_file()).collect();
    assert!(there.len() == 1 && there[0].ends_with(":2,FS"), "{changed:?}");
    assert!(came.iter().all(|path| changed.contains(path)), "{came:?} {changed:?}");
}

#[test]
fn a_scan_and_an_export_tell_what_they_find_and_an_update_tells_what_came() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    hook(&desktop, dir.path(), "after_scan", "true");
    hook(&desktop, dir.path(), "after_import", "true");
    let place = desktop.dir("INBOX").join("cur/a\nb:2,S");
    fs::write(&place, message("odd")).unwrap();
    let below = place.strip_prefix(desktop.config().mail_root).unwrap().to_str().unwrap().to_owned();
    desktop.ok(&["scan", "--dry-run"]);
    assert_eq!(told(dir.path(), "after_scan"), Vec::<String>::new());
    desktop.ok(&["scan"]);
    assert_eq!(told(dir.path(), "after_scan"), [below], "a name may hold a line's end");
    desktop.ok(&["scan"]);
    assert_eq!(told(dir.path(), "after_scan"), Vec::<String>::new());
    desktop.deliver("two");
    desktop.ok(&["export", "-o", dir.path().join("x.zst").to_str().unwrap()]);
    assert_eq!(told(dir.path(), "after_scan").len(), 1);
    desktop.reach(&laptop);
    laptop.deliver("from-laptop");
    desktop.ok(&["update"]);
    assert_eq!(told(dir.path(), "after_import").len(), 1);
    assert_eq!(told(dir.path(), "after_scan"), Vec::<String>::new());
}

#[test]
fn a_hook_may_run_mailsync_and_is_told_by_its_environment_whose_it_is() {
    let dir = scratch();
    let (desktop, _laptop) = pair(dir.path());
    let said = dir.path().join("said");
    // It changes the mail itself, and the scan that it runs runs no hook again.
    let script = format!(
        "pwd > {said}; echo $MAILSYNC_HOOK $MAILSYNC_MAIL_ROOT >> {said}; mv cur/one:2,S cur/one:2,FS; {} --lock-timeout 0 scan 2>> {said}",
        env!("CARGO_BIN_EXE_mailsync"),
        said = said.display()
    );
    hook(&desktop, dir.path(), "after_scan", &format!("{script}; echo done; echo words >&2"));
    desktop.deliver("one");
    let ran = desktop.ok(&["scan"]);
    assert!(
        ran.stdout.is_empty() && ran.stderr.contains("after_scan: done") && ran.stderr.contains("after_scan: words"),
        "{ran:?}"
    );
    let root = desktop.config().mail_root;
    let text = fs::read_to_string(said).unwrap();
    assert!(text.starts_with(&format!("{0}\nafter_scan {0}\n", root.display())), "{text}");
    assert!(text.contains("1 flagged"), "{text}");
    assert_eq!(told(dir.path(), "after_scan").len(), 1);
}

#[test]
fn a_hook_that_fails_is_told_and_changes_nothing_of_what_was_done() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("one");
    hook(&laptop, dir.path(), "after_import", "echo it is broken >&2; exit 3");
    let bundle = dir.path().join("bundle.zst");
    desktop.ok(&["export", "-o", bundle.to_str().unwrap()]);
    let ran = laptop.run(&["import", "--quiet", bundle.to_str().unwrap()]);
    complains(&ran, 1, &["running after_import", "status 3", "it is broken", "nothing is lost"]);
    assert!(laptop.has("one"));
    laptop.is_at_rest("after a hook that failed");
    let ran = laptop.ok(&["import", "--quiet", bundle.to_str().unwrap()]);
    assert!(ran.stderr.is_empty(), "{ran:?}");

    desktop.configure("\n[hooks]\nafter_scan = [\"/bin/sleep\", \"100\"]\ntimeout = \"1s\"\n");
    desktop.deliver("two");
    complains(&desktop.run(&["scan", "--quiet"]), 1, &["running after_scan", "longer than 1s"]);
    desktop.ok(&["scan"]);
}

#[test]
fn a_hook_that_makes_no_sense_is_refused_with_the_configuration() {
    let dir = scratch();
    for (number, wrong) in
        ["after_import = []", "after_scan = [\"\"]", "timeout = \"some time\"", "before_import = [\"true\"]"]
            .iter()
            .enumerate()
    {
        let at = dir.path().join(number.to_string());
        fs::create_dir(&at).unwrap();
        let machine = Machine::replica(&at, "laptop");
        machine.configure(&format!("\n[hooks]\n{wrong}\n"));
        complains(&machine.run(&["scan"]), 2, &["config.toml"]);
    }
}
