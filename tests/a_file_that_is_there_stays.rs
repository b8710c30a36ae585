//! Whoever types the name of a file that is there, as the place for a bundle, doesn't lose it. A command that was killed can be
//! repeated all the same: what it has left is no file that anybody could miss.

use std::fs;

use mailsync::disk::RealDisk;

use crate::support::disk::{Fault, Op};
use crate::support::machine::{Machine, complains, pair};
use crate::support::scene::{Command, Scene};
use crate::support::{names, scratch, text};

#[test]
fn no_bundle_takes_the_place_of_a_file_unless_that_is_given_up() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("one");
    desktop.ok(&["scan"]);
    let file = dir.path().join("thesis.zst");
    let export = ["export", "--to", "laptop", "-o", text(&file)];
    let invite = ["invite", "tablet", "--plain", "-o", text(&file)];
    fs::write(&file, "years of work").unwrap();
    for args in [&export[..], &invite] {
        desktop.refuses(args, b"", 6, &["there is already a file that is no bundle", "another name", "--force"]);
    }
    desktop.refuses(&["export", "-n", "-o", text(&file)], b"", 6, &["no bundle"]);
    assert_eq!(fs::read(&file).unwrap(), b"years of work");
    desktop.ok(&[&export[..], &["--force"]].concat());
    let first = fs::read(&file).unwrap();
    // What was sent on a one-way link isn't in the next bundle.
    desktop.deliver("two");
    desktop.ok(&["scan"]);
    let next = [&export[..], &["--since-last"]].concat();
    desktop.refuses(&next, b"", 6, &["a bundle that this replica has written, number 1; choose"]);
    assert_eq!(fs::read(&file).unwrap(), first);
    let other = Machine::replica(dir.path(), "other");
    other.ok(&["peer", "add", "desktop", "--key", &desktop.key()]);
    let theirs = dir.path().join("theirs.zst");
    other.ok(&["export", "--plain", "-o", text(&theirs)]);
    desktop.refuses(&["export", "-o", text(&theirs)], b"", 6, &["there is already a bundle;"]);
    // A file that holds nothing was made for it.
    let empty = dir.path().join("empty.zst");
    fs::write(&empty, "").unwrap();
    desktop.ok(&["export", "-o", text(&empty)]);
    desktop.ok(&[&invite[..], &["--force"]].concat());
    laptop.run(&["import", text(&empty)]);
    assert!(laptop.has("two"));
    let left: Vec<_> = names(dir.path()).into_iter().filter(|name| name.contains("part")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_command_that_was_killed_before_it_recorded_its_file_is_repeated() {
    for (command, name) in [(Command::ExportToFile, "written.zst"), (Command::Invite, "invitation.zst")] {
        let scene = Scene::new(command);
        let watch = scene.put_back();
        watch.arm(Fault::Stop(usize::MAX));
        scene.run(watch.disk()).unwrap();
        let calls = watch.take();
        let file = scene.out.join(name);
        // The file has its name, and what follows is that this is made durable, and recorded.
        let last = 1 + calls.iter().rposition(|call| call.op == Op::SyncDir).unwrap();
        let killed = |then: &dyn Fn()| {
            let watch = scene.put_back();
            let _ = fs::remove_file(&file);
            let (result, _) =
                watch.hinder(Fault::Stop(last), &scene.here.home.database(), || (), || scene.run(watch.disk()));
            assert!(result.is_err() && file.exists(), "{command:?}: {result:?}");
            then();
            scene.run(Box::new(RealDisk))
        };
        let left = std::cell::RefCell::new(Vec::new());
        let again = killed(&|| *left.borrow_mut() = fs::read(&file).unwrap());
        assert!(again.is_ok(), "{command:?}: {again:?}");
        assert_ne!(fs::read(&file).unwrap(), *left.borrow(), "{command:?}: it was written anew");
        let done = scene.run(Box::new(RealDisk)).unwrap_err().to_string();
        assert!(scene.was_done_before(&done), "{done}");
        // What somebody has put there meanwhile is not what it has left.
        let refused = killed(&|| fs::write(&file, "mine").unwrap()).unwrap_err().to_string();
        assert!(refused.contains("already a file that is no bundle"), "{refused}");
        assert_eq!(fs::read(&file).unwrap(), b"mine");
    }
}

#[test]
fn what_comes_while_a_bundle_is_written_stays() {
    let scene = Scene::new(Command::ExportToFile);
    let file = scene.out.join("written.zst");
    let watch = scene.put_back();
    let (dir, comes) = (scene.out.clone(), file.clone());
    watch.observe(move || {
        let is_being_written = names(&dir).iter().any(|name| name.starts_with(".mailsync-"));
        if is_being_written && !comes.exists() {
            fs::write(&comes, "mine").unwrap();
        }
        0
    });
    let result = scene.run(watch.disk());
    let said = result.unwrap_err().to_string();
    assert!(said.contains("there is already a file that is no bundle; choose another name"), "{said}");
    assert_eq!(fs::read(&file).unwrap(), b"mine");
}

/// A line that is typed at a terminal of 80 columns.
fn at_80_columns(machine: &Machine, line: &str) -> String {
    format!("stty cols 80; NO_COLOR=1 {}", machine.line(line))
}

#[test]
fn a_command_line_that_makes_no_sense_is_told_in_the_form_of_all_errors() {
    let dir = scratch();
    let machine = Machine::replica(dir.path(), "desktop");
    for (line, words) in [
        ("log -removed", "log: there is no option -removed; did you mean --removed? see `mailsync log --help`"),
        ("search me", "there is no command called search; `mailsync log --message MESSAGE-ID` tells"),
        ("export --frob", "export: there is no option --frob; it is used as `mailsync export [OPTIONS]`; see"),
        ("init", "provided: <MAIL_ROOT>; it is used as `mailsync init [OPTIONS] <MAIL_ROOT>`; see `mailsync init"),
        ("export --split 4K -o x", "export: invalid value '4K' for '--split <SIZE>': less than 64K leaves no room"),
    ] {
        let mut command = machine.command(&[]);
        let ran = crate::support::programs::run(command.env("MAILSYNC_HOME", &machine.home).args(line.split(' ')));
        complains(&ran, 2, &[words]);
        for odd in ["error:", "Usage:", "tip:", "--home <DIR>", "For more information"] {
            assert!(!ran.stderr.contains(odd), "{}", ran.stderr);
        }
        let json = machine.run(&[&["--json"][..], &line.split(' ').collect::<Vec<_>>()].concat());
        let told = json.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(told.contains(words) && json.stderr.contains(words), "{json:?}");
        if let Some(ran) = crate::support::terminal::at_a_terminal(&at_80_columns(&machine, line), &[]) {
            let said = String::from_utf8_lossy(&ran.stdout).into_owned();
            assert!(said.starts_with("mailsync: ") && said.lines().all(|line| line.chars().count() <= 80), "{said}");
        }
    }
    // Whoever types nothing is shown which commands there are.
    complains(&machine.run(&[]), 2, &["a command is missing; see `mailsync --help`"]);
    let ran = crate::support::programs::run(&mut std::process::Command::new(crate::support::programs::MAILSYNC));
    assert!(ran.code == 2 && ran.stderr.contains("Commands:") && !ran.stderr.contains("mailsync: "), "{ran:?}");
}

#[test]
fn a_link_that_leads_nowhere_is_named_and_no_option_is_advised_that_was_given() {
    let dir = scratch();
    let (desktop, _laptop) = pair(dir.path());
    let link = dir.path().join("link.zst");
    std::os::unix::fs::symlink(dir.path().join("nowhere"), &link).unwrap();
    for args in [
        &["export", "--to", "laptop", "-o", text(&link)][..],
        &["export", "--to", "laptop", "-o", text(&link), "--force"],
    ] {
        let said = desktop.refuses(args, b"", 6, &["a symbolic link that leads nowhere; remove it"]).stderr;
        assert!(!said.contains("--force"), "{said}");
    }
    assert!(link.is_symlink() && !dir.path().join("nowhere").exists());
}
