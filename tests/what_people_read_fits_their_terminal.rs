//! What goes to a person fits their terminal: lines are broken between words, and what is to be copied is not. There is
//! colour for a person, and none for a program.

use unicode_width::UnicodeWidthStr;

use crate::support::machine::{Machine, make_peers, message};
use crate::support::programs::run;
use crate::support::scratch;
use crate::support::terminal::at_a_terminal;

/// A terminal as most are: 80 columns, with colours.
const TERMINAL: &str = "stty cols 80 rows 24; unset NO_COLOR CLICOLOR CLICOLOR_FORCE; TERM=xterm; export TERM; ";

/// How a terminal shows that something went wrong.
const RED: &str = "\u{1b}[1m\u{1b}[31mmailsync:\u{1b}[0m there is no peer called nobody";

/// What a person sees of these commands.
fn seen(machine: &Machine, command: &str) -> Option<String> {
    let ran = at_a_terminal(&format!("{TERMINAL}{}; true", machine.line(command)), &[])?;
    Some(String::from_utf8(ran.stdout).unwrap())
}

/// Without the colours.
fn plain(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |plain, part| plain + part.split_once('m').unwrap().1)
}

#[test]
fn every_line_fits_80_columns_however_long_the_names_are() {
    let dir = scratch();
    let long = |name: &str| Machine::replica(dir.path(), &format!("{name}-of-the-whole-family-in-the-country-house"));
    let (desktop, laptop) = (long("desktop"), long("laptop"));
    make_peers(&desktop, &laptop);
    let folder = format!("Lists/{}", "a list with a name that is long ".repeat(5).trim_end());
    desktop.put(&folder, "cur/1:2,S", message(&"on and on ".repeat(30)), 1_600_000_000);
    // The same in one word, and in letters that are twice as wide.
    desktop.put(&"x".repeat(100), "cur/1:2,S", message(&"y".repeat(100)), 1_600_000_000);
    desktop.put(&"会議の記録".repeat(12), "cur/1:2,S", message(&"会議".repeat(60)), 1_600_000_000);
    desktop.put("INBOX", "new/2", message("short"), 1_600_000_100);
    std::fs::create_dir(dir.path().join("stick")).unwrap();
    let stick = dir.path().join("stick");
    let stick = stick.display();
    let mut broken = 0;
    for (machine, command) in [
        (&desktop, String::from("scan -v")),
        (&desktop, format!("export -o {stick}/")),
        (&laptop, format!("import {stick}/")),
        (&laptop, format!("inspect {stick}/nothing")),
        (&laptop, String::from("peer list")),
        (&laptop, String::from("status")),
        (&laptop, String::from("log")),
        (&laptop, String::from("trash list")),
        (&laptop, String::from("jobs list")),
        (&laptop, String::from("purge")),
        (&laptop, String::from("log --folder 'Lists'")),
        (&laptop, String::from("restore -n --all")),
        (&laptop, String::from("scan -n -v")),
        (&laptop, String::from("export -n -v")),
        (&laptop, String::from("doctor")),
        (&laptop, String::from("watch --once")),
        (&laptop, String::from("deinit -n")),
        (&laptop, String::from("invite another")),
        (&laptop, String::from("export --to nobody")),
        (&laptop, format!("import {stick}/nothing.zst")),
        (&laptop, String::from("scan --in Nowhere")),
    ] {
        let Some(seen) = seen(machine, &command) else { return };
        let seen = plain(&seen);
        for line in seen.lines() {
            // A path, a name or a command takes as much as it takes, on a line of its own.
            let one_word = !line.trim().contains(' ') || line.trim().starts_with('`');
            assert!(line.width() <= 80 || one_word, "{command}: {line:?} of {} columns\n{seen}", line.width());
            let is_cut = command != "status" || line.contains(dir.path().to_str().unwrap());
            assert!(line.width() <= 80 || is_cut, "{command}: {line:?} of {} columns", line.width());
            broken += usize::from(line.starts_with("    "));
        }
    }
    assert!(broken > 10, "hardly a line was broken");
    // What nobody sees is not broken.
    let piped = laptop.ok(&["log"]).text().to_owned();
    assert!(piped.lines().any(|line| line.width() > 80) && !piped.contains("\n    "), "{piped}");
    assert_eq!(laptop.run(&["export", "--to", "nobody"]).stderr.lines().count(), 1);
}

#[test]
fn a_command_that_is_to_be_copied_stands_whole_on_a_line() {
    let dir = scratch();
    let machine = Machine::new(dir.path(), "desktop");
    let Some(seen) = seen(&machine, &format!("init {} --name desktop", machine.mail.display())) else { return };
    let command = format!("    mailsync peer add desktop --key '{}'", machine.key());
    assert!(plain(&seen).lines().any(|line| line == command), "{seen}");
}

#[test]
fn colours_are_for_people_and_for_who_asks_for_them() {
    let dir = scratch();
    let machine = Machine::replica(dir.path(), "desktop");
    let line = machine.line("peer remove nobody");
    for (case, line, coloured) in [
        ("a terminal", line.clone(), true),
        ("NO_COLOR", format!("NO_COLOR=1 {line}"), false),
        ("a terminal without colours", format!("TERM=dumb {line}"), false),
        ("an option against", format!("{line} --color never"), false),
        ("an option for", format!("NO_COLOR=1 {line} --color always"), true),
        ("documents", format!("{line} --json --color always"), false),
        ("a pipe", format!("{line} 2>&1 | cat"), false),
        ("a pipe, and the option", format!("{line} --color always 2>&1 | cat"), true),
        ("a pipe, and who insists", format!("CLICOLOR_FORCE=1 {line} 2>&1 | cat"), true),
    ] {
        // Where CI is set, a terminal is taken for one that shows colours.
        let Some(ran) = at_a_terminal(&format!("unset CI; {TERMINAL}{line}; true"), &[]) else { return };
        let seen = String::from_utf8(ran.stdout).unwrap();
        assert!(plain(&seen).contains("mailsync: there is no peer called nobody"), "{case}: {seen:?}");
        assert_eq!(seen.contains(RED), coloured, "{case}: {seen:?}");
        assert_eq!(seen.contains('\u{1b}'), coloured, "{case}: {seen:?}");
    }
    // What makes no sense is told as everything else is, and so is the help that is shown instead.
    for (case, typed, coloured) in [
        ("no command", "bogus", true),
        ("no command, an option before it", "--color never bogus", false),
        ("no command, an option behind it", "bogus --color never", false),
        ("no option", "status --bogus --color=never", false),
        ("no argument", "--color=never status bogus", false),
        ("a value that there isn't", "status --color sometimes", true),
        ("documents", "bogus --json --color always", false),
        ("a pipe", "bogus 2>&1 | cat", false),
        ("a pipe, and the option", "bogus --color=always 2>&1 | cat", true),
        ("a pipe, and the option before it", "--color always status --bogus 2>&1 | cat", true),
        ("a pipe, and no option", "bogus -- --color=always 2>&1 | cat", false),
        ("help where a command is missing", "peer", true),
        ("a command is missing", "peer --color never", false),
        ("help", "--help", true),
        ("help, without colours", "--help --color=never", false),
        ("help in a pipe", "--help --color always | cat", true),
    ] {
        let line = machine.line(typed);
        let Some(ran) = at_a_terminal(&format!("unset CI; {TERMINAL}{line}; true"), &[]) else { return };
        let seen = String::from_utf8(ran.stdout).unwrap();
        let told = if case.contains("help") { "Usage:" } else { "mailsync: " };
        assert!(plain(&seen).contains(told), "{case}: {seen:?}");
        assert_eq!(seen.contains('\u{1b}'), coloured, "{case}: {seen:?}");
    }
    let mut wrong = machine.command(&["status", "--color", "sometimes"]);
    assert_eq!(run(&mut wrong).code, 2);
}
