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

/// What happens before a command on the laptop, so that it changes files. Returns the words of the command.
type Before = fn(&Path, &Machine, &Machine) -> Vec<String>;

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

/// The commands of a person by which files are changed, but for those that are tried above. All have mail `one` and `two`.
const OTHERS: [(&str, &str, Before); 6] = [
    ("undo", "after_import", |_, desktop, laptop| {
        desktop.move_to("one", "Archive");
        pass(desktop, laptop);
        words("undo --by desktop --since 1h")
    }),
    ("restore", "after_import", |_, _, laptop| {
        // Another folder has the same message.
        let file = laptop.file_of("two").unwrap();
        laptop.put("Archive", "cur/copy:2,S", fs::read(&file).unwrap(), 1_600_000_000);
        laptop.ok(&["scan"]);
        fs::remove_file(file).unwrap();
        words("restore --all")
    }),
    ("trash restore", "after_import", |_, desktop, laptop| {
        desktop.remove("one");
        pass(desktop, laptop);
        words("trash restore --all")
    }),
    ("doctor --repair", "after_import", |_, _, laptop| {
        laptop.flag("one", "FS");
        words("doctor --repair")
    }),
    ("doctor --moved-root", "after_import", |dir, _, laptop| {
        let new = dir.join("moved");
        fs::rename(&laptop.mail, &new).unwrap();
        laptop.reconfigure(&[("mail_root", &format!("{:?}", new.to_str().unwrap()))]);
        fs::write(new.join("cur/three:2,S"), message("three")).unwrap();
        words("doctor --moved-root")
    }),
    ("watch", "after_import", |dir, desktop, laptop| {
        let spool = dir.join("spool");
        fs::create_dir(&spool).unwrap();
        desktop.deliver("three");
        desktop.ok(&["export", "-o", spool.to_str().unwrap()]);
        laptop.configure(&format!("[watch]\nreceive = [\"{}\"]", spool.display()));
        words("watch --once")
    }),
];

#[test]
fn each_command_that_changes_files_tells_which_and_its_dry_run_tells_none() {
    for (command, key, before) in OTHERS {
        let dir = scratch();
        let (desktop, laptop) = pair(dir.path());
        desktop.deliver("one");
        desktop.deliver("two");
        pass(&desktop, &laptop);
        let line = before(dir.path(), &desktop, &laptop);
        let line: Vec<&str> = line.iter().map(String::as_str).collect();
        hook(&laptop, dir.path(), key, "true");
        if command != "watch" {
            laptop.run(&[&line[..], &["--dry-run"]].concat());
            assert_eq!(told(dir.path(), key), Vec::<String>::new(), "{command} --dry-run");
        }
        let ran = laptop.run(&line);
        assert_eq!(ran.code, 0, "{command}: {ran:?}");
        let files = told(dir.path(), key);
        assert!(!files.is_empty() && files.iter().all(|file| file.contains("cur/")), "{command}: {files:?}");
        // It is at rest when the hook runs, and nothing is told twice.
        laptop.is_at_rest(command);
        assert_eq!(told(dir.path(), key), Vec::<String>::new(), "{command}");
    }
}

#[test]
fn a_join_that_is_repeated_with_more_tells_what_has_come() {
    let dir = scratch();
    let desktop = Machine::replica(dir.path(), "desktop");
    desktop.deliver("one");
    let invitation = desktop.ok(&["invite", "laptop"]).stdout;
    let laptop = Machine::new(dir.path(), "laptop");
    let join = ["join", laptop.mail.to_str().unwrap()];
    assert_eq!(laptop.run_with(&join, &invitation).code, 0);
    hook(&laptop, dir.path(), "after_import", "true");
    desktop.deliver("two");
    let more = desktop.ok(&["export", "--to", "laptop"]).stdout;
    let ran = laptop.run_with(&join, &[invitation, more].concat());
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(told(dir.path(), "after_import").len(), 1);
}

#[test]
fn whatever_a_hook_does_wrong_all_that_the_command_did_is_done() {
    // What the hook does; how the command ends then, and what it says.
    let wrongs: [(&str, i32, &str); 5] = [
        ("exit 3", 1, "status 3"),
        ("kill -9 $$", 1, "signal 9"),
        ("exec sleep 1000", 1, "longer than 1s"),
        ("head -c 3000000 /dev/zero | tr '\\0' x; head -c 3000000 /dev/zero | tr '\\0' y >&2", 0, "xxxx"),
        ("mailsync scan && mailsync watch --once -q && echo it has run them", 0, "it has run them"),
    ];
    let commands: [(&str, &[&str]); 4] = [
        ("after_scan", &["scan"]),
        ("after_import", &["watch", "--once"]),
        ("after_import", &["update"]),
        ("after_scan", &["export"]),
    ];
    for (number, (wrong, code, says)) in wrongs.into_iter().enumerate() {
        for (key, line) in commands {
            let dir = scratch();
            let (desktop, laptop) = pair(dir.path());
            laptop.reach(&desktop);
            if wrong.contains("sleep") {
                laptop.configure("[hooks]\ntimeout = \"1s\"");
            }
            let program =
                std::env::join_paths([Path::new(env!("CARGO_BIN_EXE_mailsync")).parent().unwrap().to_owned()]);
            hook(&laptop, dir.path(), key, &format!("PATH={}:$PATH; {wrong}", program.unwrap().display()));
            desktop.deliver("there");
            laptop.deliver("here");
            let ran = laptop.run(line);
            assert_eq!(ran.code, code, "{number} {line:?}: {}", &ran.stderr[..ran.stderr.len().min(2000)]);
            assert!(ran.stderr.contains(says), "{number} {line:?}");
            // 64 KiB of each stream, and what mailsync says itself.
            assert!(ran.stderr.len() < 200_000 && ran.stdout.len() < 200_000, "{number} {line:?}");
            assert!(dir.path().join(key).exists(), "{number} {line:?}: the hook was told");
            if key == "after_import" {
                assert!(laptop.has("there") && desktop.has("here"), "{number} {line:?}");
            }
            laptop.is_at_rest(wrong);
        }
    }
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

#[test]
fn a_hook_that_fails_is_worse_than_a_peer_that_can_not_be_reached() {
    let dir = scratch();
    let (desktop, _laptop) = pair(dir.path());
    desktop.configure("[hooks]\nafter_import = [\"false\"]");
    desktop.reach_by("laptop", &["sh", "-c", "exit 255"]);
    desktop.deliver("one");
    let ran = desktop.run(&["update"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("it could not be reached") && ran.stderr.contains("after_import"), "{ran:?}");
    // Without a change there is no hook.
    assert_eq!(desktop.run(&["update"]).code, 7);
}

#[test]
fn what_a_hook_that_fails_has_written_is_said_as_that_of_one_that_succeeds() {
    let dir = scratch();
    let desktop = Machine::replica(dir.path(), "desktop");
    hook(&desktop, dir.path(), "after_scan", "echo hi; echo oh >&2; exit 3");
    desktop.deliver("one");
    let ran = desktop.run(&["scan"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    for said in ["after_scan: hi\n", "after_scan: oh\n", "it ended with status 3"] {
        assert!(ran.stderr.contains(said), "{said} is not in {}", ran.stderr);
    }
}
