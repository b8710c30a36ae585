//! A message that is larger than a file may be here is left out of an import, told, and wanted. All else of its bundle is
//! taken, and the message comes, by the same bundle or by the next, when files may be larger.

use std::fs;
use std::path::Path;
use std::process::Command;

use mailsync::error::Error;
use mailsync::maildir::LayoutKind;
use mailsync::replica::ImportOptions;
use rustix::io::Errno;

use crate::support::disk::{Fault, Op, Watch};
use crate::support::machine::{Machine, exchange, message, pair, pass};
use crate::support::party::{self, Party};
use crate::support::programs::{Ran, run, run_with};
use crate::support::{names, rest, scratch, text};

/// The largest file, in blocks of 512 bytes: more than a state has, and than what is kept in memory of a message.
const BLOCKS: u64 = 1200;

fn large(subject: &str, bytes: usize) -> Vec<u8> {
    let mut contents = message(subject).into_bytes();
    contents.resize(bytes, b'.');
    contents
}

/// A message that is read whole, one that is not, and two that are small.
fn fill(desktop: &Machine) {
    for (folder, place) in [("INBOX", "cur/1.x:2,S"), ("Work", "cur/2.x:2,S"), ("Work", "new/3.x")] {
        desktop.put(folder, place, large("large", 800 << 10), 1_600_000_000);
    }
    for (folder, place) in [("INBOX", "cur/4.x:2,S"), ("Work", "cur/5.x:2,F")] {
        desktop.put(folder, place, large("huge", 2 << 20), 1_600_000_000);
    }
    desktop.put("INBOX", "cur/6.x:2,S", message("small"), 1_600_000_000);
    desktop.put("Work", "cur/7.x:2,S", message("other"), 1_600_000_000);
}

fn limited(machine: &Machine, args: &str) -> Ran {
    run(Command::new("sh").args(["-c", &format!("ulimit -f {BLOCKS}; exec {}", machine.line(args))]))
}

/// Two messages were left out, each in one line, and nothing else was wrong.
#[track_caller]
fn told(ran: &Ran) {
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let lines: Vec<&str> = ran.stderr.lines().filter(|line| line.contains("is left out")).collect();
    let sizes = ["a message of 800.0 KiB is left out", "a message of 2.0 MiB is left out"];
    assert!(lines.len() == 2 && sizes.iter().all(|size| ran.stderr.contains(size)), "{}", ran.stderr);
    for words in ["wanted", "File too large", "`ulimit -f` lets no file be larger than 600.0 KiB", "run this again"] {
        assert!(lines.iter().all(|line| line.contains(words)), "{words}: {lines:?}");
    }
}

#[test]
fn all_else_is_imported_and_the_same_bundle_brings_it_later() {
    for how in ["import", "import --consume", "join"] {
        let dir = scratch();
        let (desktop, laptop) = if how == "join" {
            let desktop = Machine::replica(dir.path(), "desktop");
            (desktop, Machine::new(dir.path(), "laptop"))
        } else {
            pair(dir.path())
        };
        fill(&desktop);
        let out = dir.path().join("out");
        fs::create_dir(&out).unwrap();
        if how == "join" {
            let invitation = desktop.ok(&["invite", "laptop"]).stdout;
            fs::write(out.join("bundle.zst"), invitation).unwrap();
        } else {
            desktop.ok(&["export", "--to", "laptop", "-o", text(&out)]);
        }
        let file = out.join(&names(&out)[0]);
        let import = format!("import {}", file.display());
        let line = match how {
            "join" => format!("join {} {}", laptop.mail.display(), file.display()),
            "import" => import.clone(),
            how => format!("{how} {}", out.display()),
        };
        let ran = limited(&laptop, &line);
        told(&ran);
        assert!(ran.stderr.contains("2 new") && ran.stderr.contains("2 messages left out"), "{how}: {}", ran.stderr);
        assert_eq!(laptop.mailbox().len(), 2, "{how}");
        assert_eq!(laptop.pending(), 5, "{how}");
        assert_eq!(crate::support::leftovers(&laptop.mail), Vec::<std::path::PathBuf>::new(), "{how}");
        assert!(!laptop.home.join("held").exists(), "{how}");
        // Nothing takes it for removed.
        pass(&laptop, &desktop);
        assert_eq!(desktop.mailbox().len(), 4, "{how}");
        // It is told again as long as it can't come.
        told(&limited(&laptop, &import));
        let ran = laptop.ok(&[import.split(' ').next().unwrap(), text(&file)]);
        assert!(ran.stderr.contains("5 new"), "{how}: {}", ran.stderr);
        assert_eq!(laptop.mailbox(), desktop.mailbox(), "{how}");
        laptop.is_at_rest(how);
        exchange(&laptop, &desktop);
        desktop.is_at_rest(how);
    }
}

#[test]
fn peers_are_asked_for_it() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    fill(&desktop);
    let file = dir.path().join("bundle.zst");
    desktop.ok(&["export", "--to", "laptop", "-o", text(&file)]);
    told(&limited(&laptop, &format!("import {}", file.display())));
    fs::remove_file(&file).unwrap();
    pass(&laptop, &desktop);
    pass(&desktop, &laptop);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
    laptop.is_at_rest("asked for");
}

#[test]
fn an_attachment_of_a_job_that_is_too_large_keeps_no_mail_back() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let got = dir.path().join("got");
    laptop.allow("keep", &["sh", "-c", &format!("cat > {}", got.display())], &[], "desktop");
    let input = large("input", 900 << 10);
    let job = String::from_utf8(run_with(&mut desktop.command(&["uux", "laptop", "keep"]), &input).stdout).unwrap();
    desktop.deliver("small");
    let file = dir.path().join("bundle.zst");
    desktop.ok(&["export", "--to", "laptop", "-o", text(&file)]);
    let ran = limited(&laptop, &format!("import {}", file.display()));
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("is left out") && laptop.has("small"), "{}", ran.stderr);
    assert_eq!(laptop.job(job.trim())["state"], "queued");
    assert!(!got.exists());
    laptop.ok(&["import", text(&file)]);
    assert_eq!(fs::read(&got).unwrap(), input);
}

/// A file system that takes no file so large, wherever it says so.
#[test]
fn whichever_write_tells_that_a_file_is_too_large_the_others_are_done() {
    let dir = scratch();
    let mail = ["INBOX alpha S", "INBOX large S", "Work large S", "Work gamma new"];
    let there = Party::new(dir.path(), "there", LayoutKind::Fs, &mail);
    let here = Party::new(dir.path(), "here", LayoutKind::MaildirPlusPlus, &[]);
    party::make_peers(&there, &here);
    let bundle = dir.path().join("bundle");
    there.export(&here, &bundle);
    rest();
    let before = here.snapshot();
    let watch = Watch::new(&dir.path().join("keep"));
    let import = |disk| import(&here, disk, &bundle);
    watch.arm(Fault::Stop(usize::MAX));
    assert!(import(watch.disk()).unwrap().is_empty());
    let wanted = here.mailbox();
    let calls = watch.take();
    let writes =
        (1..=calls.len()).filter(|&n| calls[n - 1].op == Op::Write && calls[n - 1].path.starts_with(&here.mail));
    let mut tried = Vec::new();
    for n in writes {
        here.put_back(&before);
        let watch = Watch::new(&dir.path().join("keep"));
        watch.arm(Fault::Fail(n, Errno::FBIG));
        let imported = import(watch.disk());
        // The calls of several threads have no order.
        let Some(call) = watch.struck().filter(|call| call.op == Op::Write) else { continue };
        let problems = imported.unwrap();
        tried.push(problems.len());
        // What is in memory, or in another file, is held in the state directory.
        assert!(problems.len() <= usize::from(call.path.to_string_lossy().contains(",S=1052897")), "{problems:?}");
        let left = wanted.iter().filter(|line| !problems.is_empty() && line.contains("large")).count();
        assert_eq!(here.mailbox().iter().filter(|line| line.contains(' ')).count(), wanted.len() - left, "{call:?}");
        assert!(import(watch.disk()).unwrap().is_empty());
        assert_eq!(here.mailbox(), wanted, "{call:?}");
        assert!(here.leftovers().is_empty(), "{call:?}");
    }
    assert!(tried.contains(&0) && tried.contains(&1), "{tried:?}");
}

/// Imports, and gives what was left out.
fn import(here: &Party, disk: Box<dyn mailsync::disk::Disk>, bundle: &Path) -> Result<Vec<String>, Error> {
    let replica = here.open(disk)?;
    replica.scan_before_import(&ImportOptions::default())?;
    replica.import_file(bundle, &ImportOptions::default(), |imported| {
        assert!(imported.outcome.error().is_none(), "{imported:?}");
    })?;
    assert!(replica.hindrance().is_none());
    Ok(replica.drain_problems().iter().map(ToString::to_string).collect())
}
