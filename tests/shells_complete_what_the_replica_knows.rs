//! A shell that has run what `mailsync completions` prints knows commands, options, and what the replica knows: peers,
//! folders, jobs and numbers in the trash. It makes nothing, waits for nobody and says nothing.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::machine::Machine;
use crate::support::programs::{MAILSYNC, Ran, find, run};
use crate::support::{files, make_folder, scratch, text};

/// What a shell asks when this was typed and the last word is to be completed.
fn ask(home: &Path, words: &[&str]) -> Ran {
    let mut command = Command::new(MAILSYNC);
    command.args(["--", "mailsync"]).args(words).env("MAILSYNC_COMPLETE", "fish").env("MAILSYNC_HOME", home);
    run(command.stdin(Stdio::null()))
}

/// The words that it is offered, without what is said of them.
fn offered(home: &Path, words: &[&str]) -> Vec<String> {
    let ran = ask(home, words);
    assert_eq!((ran.code, &*ran.stderr), (0, ""), "{words:?}");
    ran.text().lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect()
}

/// Two machines that know each other. The laptop has a folder, a job, an invited tablet, and two messages in its trash.
fn laptop(dir: &Path) -> Machine {
    let (desktop, laptop) = (Machine::replica(dir, "desktop"), Machine::replica(dir, "laptop"));
    desktop.ok(&["peer", "add", "laptop", "--key", &laptop.key()]);
    laptop.ok(&["peer", "add", "desktop", "--key", &desktop.key()]);
    let folder = desktop.dir("Lists/bees");
    make_folder(&folder);
    for name in ["one", "two"] {
        fs::write(folder.join("new").join(name), format!("Subject: {name}\n\n{name}\n")).unwrap();
    }
    let exchange = |from: &Machine, to: &Machine| {
        let bundle = from.ok(&["export", "--full"]).stdout;
        let ran = to.run_with(&["import"], &bundle);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    };
    exchange(&desktop, &laptop);
    for file in files(&folder.join("new")) {
        fs::remove_file(file).unwrap();
    }
    desktop.ok(&["scan", "--allow-mass-delete"]);
    let bundle = desktop.ok(&["export", "--full"]).stdout;
    let ran = laptop.run_with(&["import", "--allow-mass-delete"], &bundle);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    laptop.ok(&["uux", "desktop", "sendmail"]);
    laptop.ok(&["invite", "tablet", "--plain", "-o", text(dir)]);
    laptop
}

#[test]
fn a_shell_is_offered_peers_folders_jobs_and_the_numbers_in_the_trash() {
    let dir = scratch();
    let laptop = laptop(dir.path());
    let job = laptop.ok(&["jobs", "list", "--json"]).json()["jobs"][0]["id"].as_str().unwrap().to_owned();
    // A folder that was removed can be asked about.
    laptop.put("Letters", "cur/one:2,S", "Subject: one\n\n", 1_600_000_000);
    laptop.ok(&["scan"]);
    fs::remove_dir_all(laptop.dir("Letters")).unwrap();
    laptop.ok(&["scan"]);
    let cases: &[(&[&str], &[&str])] = &[
        // Who was invited and has not answered can neither be called nor have changed anything.
        (&["update", ""], &["desktop"]),
        (&["uux", "t"], &[]),
        (&["undo", "--by", "t"], &[]),
        (&["log", "--peer", "t"], &[]),
        (&["trash", "list", "--by", "t"], &[]),
        (&["peer", "remove", "t"], &["tablet"]),
        (&["peer", "rename", "t"], &["tablet"]),
        (&["update", "d"], &["desktop"]),
        (&["export", "--to", ""], &["desktop", "tablet"]),
        (&["uux", "de"], &["desktop"]),
        (&["peer", "revoke", "t"], &["tablet"]),
        (&["undo", "--by", "d"], &["desktop"]),
        (&["scan", ""], &["INBOX", "Lists/bees"]),
        (&["log", "--folder", "L"], &["Letters", "Lists/bees"]),
        (&["restore", "Li"], &["Lists/bees"]),
        (&["restore", "Le"], &["Letters"]),
        (&["restore", "1"], &["1"]),
        (&["trash", "restore", "--folder", "Le"], &["Letters"]),
        (&["log", "--folder", "Le"], &["Letters"]),
        (&["undo", "--folder", "Le"], &["Letters"]),
        (&["scan", "Le"], &[]),
        (&["jobs", "show", &job[..4]], &[&job]),
        (&["jobs", "cancel", "x"], &[]),
        (&["trash", "show", ""], &["2", "1"]),
        (&["trash", "restore", "1"], &["1"]),
        (&["completions", "ba"], &["bash"]),
        (&["expo"], &["export"]),
    ];
    for (words, expected) in cases {
        let found = offered(&laptop.home, words);
        let found: Vec<_> = found.iter().filter(|word| !word.starts_with('-')).collect();
        assert_eq!(found, *expected, "{words:?}");
    }
    // The home that is typed counts more than that of the environment.
    let nowhere = dir.path().join("nowhere");
    assert_eq!(offered(&nowhere, &["--home", text(&laptop.home), "update", "d"]), ["desktop"]);
}

#[test]
fn nothing_is_made_or_said_or_waited_for_whatever_is_wrong() {
    let dir = scratch();
    let laptop = laptop(dir.path());
    let everything = || {
        let items = walkdir::WalkDir::new(dir.path()).sort_by_file_name().into_iter().map(Result::unwrap);
        items.map(|item| (item.path().to_owned(), item.metadata().unwrap().modified().unwrap())).collect::<Vec<_>>()
    };
    let before = everything();
    assert_eq!(offered(&laptop.home, &["update", "d"]), ["desktop"]);
    assert_eq!(offered(&dir.path().join("nowhere"), &["update", "d"]), [""; 0]);
    assert_eq!(everything(), before, "something was made or changed");

    // Somebody holds the lock and is in the middle of a change.
    let database = laptop.home.join("state.db");
    let lock = fs::File::options().write(true).open(laptop.home.join("lock")).unwrap();
    fs2::FileExt::lock_exclusive(&lock).unwrap();
    let conn = rusqlite::Connection::open(&database).unwrap();
    conn.pragma_update(None, "journal_mode", "WAL").unwrap();
    conn.execute_batch("BEGIN IMMEDIATE; UPDATE peer SET name = 'another'").unwrap();
    let began = std::time::Instant::now();
    assert_eq!(offered(&laptop.home, &["update", "d"]), ["desktop"]);
    conn.execute_batch("COMMIT").unwrap();
    assert_eq!(offered(&laptop.home, &["update", "a"]), ["another"]);
    assert!(began.elapsed().as_secs() < 8, "{:?}", began.elapsed());
    drop(conn);
    drop(lock);

    // A state that is none, and one that nobody may read.
    fs::write(&database, "no database at all").unwrap();
    assert_eq!(offered(&laptop.home, &["update", "d"]), [""; 0]);
    fs::remove_file(&database).unwrap();
    assert_eq!(offered(&laptop.home, &["trash", "show", ""]).iter().filter(|word| !word.starts_with('-')).count(), 0);
    assert!(!database.exists());
}

#[test]
fn bash_completes_by_the_lines_that_are_printed() {
    let Some(bash) = find("bash") else { return };
    let dir = scratch();
    let laptop = laptop(dir.path());
    let bin = dir.path().join("bin");
    fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(MAILSYNC, bin.join("mailsync")).unwrap();
    // As bash does for a person who types TAB.
    let script = r#"
        source <(mailsync completions bash) || exit 1
        COMP_WORDS=(mailsync "$@") COMP_CWORD=$# COMP_TYPE=9 COMPREPLY=()
        COMP_LINE="mailsync $*" COMP_POINT=${#COMP_LINE}
        [[ $(complete -p mailsync) =~ -F\ ([^ ]+) ]] || exit 2
        "${BASH_REMATCH[1]}" mailsync "${!#}" "${@: -2:1}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    for (words, expected) in [(["update", "d"], "desktop\n"), (["scan", "Li"], "Lists/bees\n")] {
        let mut command = Command::new(&bash);
        command.args(["--norc", "-c", script, "bash"]).args(words).env("MAILSYNC_HOME", &laptop.home);
        command.env("PATH", format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()));
        let ran = run(command.stdin(Stdio::null()));
        assert_eq!((ran.code, ran.text(), &*ran.stderr), (0, expected, ""), "{words:?}");
    }
}

#[test]
fn each_shell_that_is_here_understands_its_lines() {
    for shell in ["bash", "zsh", "fish"] {
        let lines = run(Command::new(MAILSYNC).args(["completions", shell]));
        assert_eq!((lines.code, &*lines.stderr), (0, ""));
        assert!(lines.text().contains("MAILSYNC_COMPLETE"), "{shell}");
        // They work wherever mailsync is.
        assert!(!lines.text().contains(MAILSYNC), "{shell}");
        let Some(program) = find(shell) else { continue };
        let dir = scratch();
        let file = dir.path().join("lines");
        fs::write(&file, lines.stdout).unwrap();
        let ran = run(Command::new(program).args(["-n", text(&file)]));
        assert_eq!((ran.code, &*ran.stderr), (0, ""), "{shell}");
    }
}
