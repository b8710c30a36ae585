//! What `--help` says of each command is kept in `fixtures/help/`, as a terminal of 80 columns shows it, so that a change of
//! its words is seen. The man pages have the same words. `cargo test the_help_is_written_anew -- --ignored` writes the
//! files anew.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::programs::{MAILSYNC, find, run};
use crate::support::{files, names, scratch, text};

fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/help")
}

fn help_of(command: &str) -> String {
    let mut line = Command::new(MAILSYNC);
    line.args(command.split_whitespace())
        .arg("--help")
        .env("COLUMNS", "80")
        .env_remove("MAILSYNC_HOME")
        .stdin(Stdio::null());
    let ran = run(&mut line);
    assert_eq!((ran.code, &*ran.stderr), (0, ""), "{command}");
    ran.text().to_owned()
}

/// The names below "Commands:", with those below them.
fn commands(command: &str) -> Vec<String> {
    let help = help_of(command);
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = names.map(|line| line.split_whitespace().next().unwrap()).filter(|name| *name != "help");
    let mut all = vec![command.to_owned()];
    for name in names {
        all.extend(commands(format!("{command} {name}").trim()));
    }
    all
}

fn file_of(command: &str) -> String {
    format!("{}.txt", ["mailsync", command].join(" ").trim().replace(' ', "-"))
}

#[test]
fn the_help_of_each_command_is_what_is_kept_and_fits_80_columns() {
    let commands = commands("");
    assert!(commands.len() > 30, "{commands:?}");
    let mut expected: Vec<_> = commands.iter().map(|command| file_of(command)).collect();
    expected.sort();
    assert_eq!(names(&kept()), expected, "fixtures/help: write it anew");
    for command in &commands {
        let help = help_of(command);
        for line in help.lines() {
            assert!(line.chars().count() <= 80, "{command}: {line}");
        }
        let global = help.split_once("\nGlobal options:\n").unwrap_or_else(|| panic!("{command}: no global options"));
        for option in ["--home <DIR>", "--lock-timeout <SECONDS>", "--json", "--quiet", "--help"] {
            assert!(global.1.contains(option) && !global.0.contains(&format!("{option} ")), "{command}: {option}");
        }
        assert!(command.is_empty() || global.1.contains("Examples:\n  mailsync "), "{command}: no examples");
        assert!(global.1.contains("Exit codes: "), "{command}: no exit codes");
        let kept = fs::read_to_string(kept().join(file_of(command))).unwrap();
        assert_eq!(help, kept, "{command}: if it is meant, write fixtures/help anew");
    }
}

#[test]
#[ignore = "writes fixtures/help"]
fn the_help_is_written_anew() {
    for file in files(&kept()) {
        fs::remove_file(file).unwrap();
    }
    for command in commands("") {
        fs::write(kept().join(file_of(&command)), help_of(&command)).unwrap();
    }
}

#[test]
fn each_command_has_a_man_page_and_groff_has_nothing_to_say_about_it() {
    let dir = scratch();
    let line =
        |dir: &Path| run(Command::new(MAILSYNC).args(["man", text(dir)]).env("MAILSYNC_HOME", "/nowhere/at/all"));
    let ran = line(dir.path());
    assert_eq!((ran.code, ran.text()), (0, ""), "{}", ran.stderr);
    let mut expected: Vec<_> = commands("").iter().map(|command| file_of(command).replace(".txt", ".1")).collect();
    expected.sort();
    assert_eq!(names(&dir.path().join("man1")), expected);
    assert_eq!(names(&dir.path().join("man7")), ["mailsync.7"]);
    let page = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
    assert!(page("man1/mailsync-trash-restore.1").contains("mailsync trash restore 17 20\\-25"));
    assert!(!page("man1/mailsync.1").contains("/nowhere/at/all"));
    let before = page("man1/mailsync-export.1");

    // They can be written once more, and into no directory that isn't there.
    assert_eq!(line(dir.path()).code, 0);
    assert_eq!(page("man1/mailsync-export.1"), before);
    let ran = line(&dir.path().join("nothing"));
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("nothing/man1: No such file or directory"), "{}", ran.stderr);

    let Some(groff) = find("groff") else { return };
    for section in ["man1", "man7"] {
        for page in files(&dir.path().join(section)) {
            let ran = run(Command::new(&groff).args(["-man", "-ww", "-z", "-Tutf8", text(&page)]));
            assert_eq!((ran.code, &*ran.stderr), (0, ""), "{}", page.display());
        }
    }
}

#[test]
fn the_page_of_the_ideas_uses_the_words_of_the_glossary() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("src/cli/man/mailsync.7")).unwrap();
    let glossary = fs::read_to_string(root.join("docs/glossary.md")).unwrap();
    let ideas = page.split(".SH EXAMPLES").next().unwrap();
    let mut lines = ideas.lines();
    let mut words = 0;
    while let Some(line) = lines.next() {
        if line == ".TP" {
            let word = lines.next().unwrap().strip_prefix(".B ").unwrap();
            assert!(glossary.contains(&format!("**{word}**")), "docs/glossary.md has no {word}");
            words += 1;
        }
    }
    assert!(words > 20, "{words}");
}
