//! The lock is held while a replica is worked on, and not while somebody is waited for: not for a bundle that is still
//! coming, an answer, or whoever takes one. A peer that is silent is not waited for without end, and what was started
//! ends with mailsync.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use mailsync::replica::{Home, ImportOptions, Replica, World};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::disk::Watch;
use crate::support::machine::{Machine, complains, pair};
use crate::support::party::{self, Party};
use crate::support::programs::{MAILSYNC, heeding_signals};
use crate::support::{scratch, text};

/// What is large enough not to fit into a pipe, and doesn't compress.
fn noise(seed: u64) -> String {
    let mut next = seed | 1;
    let words = (0..40_000).map(|_| {
        next = next.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        format!("{next:x}\n")
    });
    format!("Subject: noise {seed}\n\n{}", words.collect::<String>())
}

/// Another command gets the lock at once.
#[track_caller]
fn is_free(machine: &Machine) {
    machine.ok(&["scan", "--lock-timeout", "0"]);
}

fn spawned(machine: &Machine, args: &[&str], stdin: Stdio) -> Child {
    let mut command = heeding_signals(&machine.command(args));
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits for a process's end, and gives its status and what it said.
fn ended(mut child: Child) -> (ExitStatus, String) {
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (child.wait().unwrap(), said)
}

/// Waits until a file holds a whole line, and gives it.
fn line_in(file: &Path) -> String {
    let started = Instant::now();
    loop {
        if let Some(line) = fs::read_to_string(file).ok().and_then(|text| text.strip_suffix('\n').map(str::to_owned)) {
            return line;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "{} was not written", file.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_lock_is_free_while_a_bundle_is_still_coming() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.put("INBOX", "cur/large:2,", noise(1), 1_600_000_000);
    let bundle = desktop.ok(&["export"]).stdout;
    let mut import = spawned(&laptop, &["import"], Stdio::piped());
    let mut stdin = import.stdin.take().unwrap();
    // More than a pipe holds: the import has begun to read.
    let (most, rest) = bundle.split_at(bundle.len() - 1);
    assert!(most.len() > 200_000);
    stdin.write_all(most).unwrap();
    is_free(&laptop);
    stdin.write_all(rest).unwrap();
    drop(stdin);
    let (status, said) = ended(import);
    assert!(status.success(), "{said}");
    assert_eq!(laptop.mailbox(), desktop.mailbox());
}

#[test]
fn the_lock_is_free_while_a_bundle_comes_through_a_pipe_with_a_name() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.put("INBOX", "cur/large:2,", noise(3), 1_600_000_000);
    let bundle = desktop.ok(&["export"]).stdout;
    desktop.deliver("later");
    let stick = dir.path().join("later.zst");
    desktop.ok(&["export", "--since-last", "-o", text(&stick)]);
    let pipe = dir.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600), 0)
        .unwrap();
    // What is consumed is a file, and never the pipe.
    let import = spawned(&laptop, &["import", "--consume", text(&pipe), text(&stick)], Stdio::null());
    let mut into = fs::OpenOptions::new().write(true).open(&pipe).unwrap();
    let (most, rest) = bundle.split_at(bundle.len() - 1);
    into.write_all(most).unwrap();
    is_free(&laptop);
    into.write_all(rest).unwrap();
    drop(into);
    let (status, said) = ended(import);
    assert!(status.success(), "{said}");
    assert_eq!(laptop.mailbox(), desktop.mailbox());
    assert!(pipe.exists());
    let import = spawned(&laptop, &["import", text(&pipe)], Stdio::null());
    fs::write(&pipe, "garbage").unwrap();
    let (status, said) = ended(import);
    assert!(status.code() == Some(4) && said.contains(text(&pipe)), "{said}");
}

#[test]
fn what_comes_is_kept_only_as_far_as_there_is_room_for_more() {
    let dir = scratch();
    let layout = mailsync::maildir::LayoutKind::Fs;
    let noisy = |party: &Party| {
        for n in 0..5 {
            fs::write(party.dir("INBOX").join(format!("cur/noise{n}:2,")), noise(30 + n)).unwrap();
        }
    };
    let desktop = Party::new(dir.path(), "desktop", layout, &[]);
    let laptop = Party::new(dir.path(), "laptop", layout, &[]);
    party::make_peers(&desktop, &laptop);
    noisy(&desktop);
    let file = dir.path().join("bundle");
    desktop.export(&laptop, &file);
    let bundle = fs::read(&file).unwrap();
    assert!(bundle.len() > 1 << 20);
    let watch = Watch::new(&dir.path().join("keep"));
    let receive = || {
        let world = World { disk: watch.disk(), ..World::real() };
        Replica::receive_bundles(&laptop.home, world, None, "a test", &mut &bundle[..])
    };
    watch.leave_free((1 << 20) - 1);
    let error = receive().unwrap_err().to_string();
    for words in ["keeping a test", "1.0 MiB more are to be written", "1024.0 KiB are free", "make room"] {
        assert!(error.contains(words), "{error}");
    }
    watch.leave_free(1 << 20);
    receive().unwrap();
    // The same holds of an answer, on both sides.
    watch.leave_free((1 << 20) - 1);
    let call = [MAILSYNC, "--quiet", "--home", text(desktop.home.state_dir()), "import", "--reply"];
    let config = laptop.home.config_file();
    let configured = format!(
        "{}
[peer.desktop]
call = {call:?}
",
        fs::read_to_string(&config).unwrap()
    );
    fs::write(&config, configured).unwrap();
    let called = |disk| laptop.open(disk).unwrap().call("desktop", &ImportOptions::default(), &|_| {}, |_| {});
    let error = called(watch.disk()).unwrap_err().to_string();
    assert!(error.contains("1.0 MiB more are to be written, and 1024.0 KiB are free there"), "{error}");
    watch.leave_free(1 << 40);
    called(watch.disk()).unwrap();
    assert_eq!(laptop.mailbox().len(), 5);
}

#[test]
fn the_lock_is_free_while_an_answer_comes_and_while_it_is_taken() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    laptop.put("INBOX", "cur/large:2,", noise(2), 1_600_000_000);
    // The answer stops in the middle, until somebody lets it go on.
    let (begun, go_on) = (dir.path().join("begun"), dir.path().join("go-on"));
    let script = format!(
        "{} | {{ head -c 100000; echo yes > {}; while [ ! -e {} ]; do sleep 0.01; done; cat; }}",
        laptop.line("--quiet import --reply"),
        text(&begun),
        text(&go_on)
    );
    desktop.reach_by("laptop", &["sh", "-c", &script]);
    let update = spawned(&desktop, &["update"], Stdio::null());
    line_in(&begun);
    is_free(&desktop);
    is_free(&laptop);
    fs::write(&go_on, "").unwrap();
    let (status, said) = ended(update);
    assert!(status.success(), "{said}");
    assert_eq!(laptop.mailbox(), desktop.mailbox());
}

/// Reads some of what a command writes, so that it has begun and waits for more to be read.
fn begun(child: &mut Child) -> (std::process::ChildStdout, Vec<u8>) {
    let mut out = child.stdout.take().unwrap();
    let mut first = vec![0; 10_000];
    out.read_exact(&mut first).unwrap();
    (out, first)
}

/// Waits until another command gets the lock.
#[track_caller]
fn becomes_free(machine: &Machine) {
    let started = Instant::now();
    while machine.run(&["scan", "--lock-timeout", "0"]).code != 0 {
        assert!(started.elapsed() < Duration::from_secs(60), "the lock is held");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_lock_is_free_while_whoever_takes_a_bundle_is_slow() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    for number in 0..8 {
        desktop.put("INBOX", &format!("cur/large{number}:2,"), noise(40 + number), 1_600_000_000);
    }
    let mut export = spawned(&desktop, &["export"], Stdio::null());
    let (mut out, mut bundle) = begun(&mut export);
    becomes_free(&desktop);
    // What is still to be written is moved, flagged and removed meanwhile, by programs and by another machine.
    desktop.put("Archive", "cur/other:2,", "other", 1);
    let inbox = desktop.mail.join("cur");
    fs::rename(inbox.join("large5:2,"), desktop.mail.join(".Archive/cur/large5:2,S")).unwrap();
    fs::rename(inbox.join("large6:2,"), inbox.join("large6:2,F")).unwrap();
    fs::remove_file(inbox.join("large7:2,")).unwrap();
    becomes_free(&desktop);
    let later = desktop.ok(&["export", "--to", "laptop"]).stdout;
    out.read_to_end(&mut bundle).unwrap();
    let (status, said) = ended(export);
    assert!(status.success(), "{said}");
    let ran = laptop.run_with(&["import"], &bundle);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(laptop.mailbox().len() >= 7, "{:?}", laptop.mailbox());
    assert_eq!(laptop.run_with(&["import"], &later).code, 0);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
    // An older bundle that was written to its end after a newer one is not taken for what was sent last.
    desktop.deliver("news");
    assert!(desktop.ok(&["export", "--since-last"]).stderr.contains("1 entry"));
}

#[test]
fn the_lock_is_free_while_nobody_reads_a_pipe_or_whoever_does_is_slow() {
    for args in [&["export"][..], &["invite", "phone"]] {
        let dir = scratch();
        let (desktop, laptop) = pair(dir.path());
        desktop.put("INBOX", "cur/large:2,", noise(50), 1_600_000_000);
        let pipe = dir.path().join("pipe");
        let (fifo, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600));
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, fifo, mode, 0).unwrap();
        let export = spawned(&desktop, &[args, &["-o", text(&pipe)]].concat(), Stdio::null());
        // It has the lock when it has scanned.
        while desktop.ok(&["status", "--json"]).json()["entries"] == 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        becomes_free(&desktop);
        let mut reader = fs::File::open(&pipe).unwrap();
        let mut bundle = vec![0; 10_000];
        reader.read_exact(&mut bundle).unwrap();
        becomes_free(&desktop);
        reader.read_to_end(&mut bundle).unwrap();
        let (status, said) = ended(export);
        assert!(status.success(), "{said}");
        assert!(pipe.exists());
        if args == ["export"] {
            assert_eq!(laptop.run_with(&["import"], &bundle).code, 0);
            assert_eq!(laptop.mailbox(), desktop.mailbox());
        }
    }
}

#[test]
fn a_bundle_is_not_gone_on_with_when_the_mail_was_moved_meanwhile() {
    let dir = scratch();
    let (desktop, _) = pair(dir.path());
    desktop.put("INBOX", "cur/large:2,", noise(60), 1_600_000_000);
    let mut export = spawned(&desktop, &["export"], Stdio::null());
    let (mut out, mut bundle) = begun(&mut export);
    becomes_free(&desktop);
    let moved = dir.path().join("moved");
    fs::rename(&desktop.mail, &moved).unwrap();
    let config = desktop.home.join("config.toml");
    let told = fs::read_to_string(&config).unwrap();
    fs::write(&config, told.replace(text(&desktop.mail), text(&moved))).unwrap();
    desktop.ok(&["doctor", "--moved-root"]);
    out.read_to_end(&mut bundle).unwrap();
    let (status, said) = ended(export);
    assert!(status.code() == Some(6) && said.contains("doctor --moved-root"), "{said}");
    assert_eq!(desktop.ok(&["status", "--json"]).json()["entries"], 1);
}

#[test]
fn two_machines_that_update_each_other_at_once_both_get_through() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.reach(&laptop);
    laptop.reach(&desktop);
    for round in 0..3 {
        desktop.put("INBOX", &format!("cur/d{round}:2,"), noise(10 + round), 1_600_000_000);
        laptop.put("INBOX", &format!("cur/l{round}:2,"), noise(20 + round), 1_600_000_000);
        let updates = [&desktop, &laptop].map(|machine| spawned(machine, &["update"], Stdio::null()));
        for update in updates {
            let (status, said) = ended(update);
            assert!(status.success(), "{said}");
        }
    }
    desktop.ok(&["update"]);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
    assert_eq!(laptop.mailbox().len(), 6);
}

#[test]
fn whoever_calls_while_it_is_called_is_called_again() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("of the desktop");
    laptop.deliver("of the laptop");
    desktop.reach(&laptop);
    // What the laptop sends is overtaken by its answer to a call of the desktop.
    let (sent, met) = (dir.path().join("sent"), dir.path().join("met"));
    let desktop_runs = |args: &str| format!("'{MAILSYNC}' --home '{}' {args}", text(&desktop.home));
    let (update, import) = (desktop_runs("-q update"), desktop_runs("import --reply"));
    let (sent, met) = (text(&sent), text(&met));
    let script = format!("cat > '{sent}'; [ -e '{met}' ] || {{ : > '{met}'; {update} || exit; }}; {import} < '{sent}'");
    laptop.reach_by("desktop", &["sh", "-c", &script]);
    let ran = laptop.ok(&["update"]);
    assert!(ran.stderr.contains("note: desktop has called here meanwhile"), "{ran:?}");
    assert!(ran.stderr.contains("desktop: sent, and received"), "{ran:?}");
    assert_eq!(laptop.mailbox(), desktop.mailbox());
    assert_eq!(laptop.mailbox().len(), 2);
}

#[test]
fn a_peer_that_is_silent_for_too_long_is_given_up() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("mail");
    desktop.reach_by("laptop", &["sh", "-c", "cat > /dev/null; echo begun; exec sleep 1000"]);
    desktop.configure("timeout = \"300ms\"");
    let ran = desktop.run(&["update"]);
    complains(&ran, 1, &["updating laptop", "300ms", "[peer.laptop]", "nothing is lost"]);
    is_free(&desktop);
    // What it has heard is no bundle, and was not taken for one.
    assert_eq!(laptop.mailbox().len(), 0);
    for timeout in ["0s", "soon"] {
        let config = desktop.home.join("config.toml");
        let wrong = fs::read_to_string(&config).unwrap().replace("300ms", timeout);
        fs::write(dir.path().join("wrong"), &wrong).unwrap();
        let other = Machine::replica(dir.path(), &format!("other-{timeout}"));
        other.configure(&format!("[peer.laptop]\ncall = [\"true\"]\ntimeout = {timeout:?}"));
        complains(&other.run(&["update"]), 2, &["laptop", timeout]);
    }
}

#[test]
fn told_to_stop_an_update_ends_what_it_has_started() {
    for signal in [Signal::TERM, Signal::INT] {
        let dir = scratch();
        let (desktop, _laptop) = pair(dir.path());
        let other = Machine::replica(dir.path(), "other");
        crate::support::machine::make_peers(&desktop, &other);
        desktop.deliver("mail");
        let started = dir.path().join("started");
        desktop.reach_by("laptop", &["sh", "-c", &format!("echo $$ > {}; exec sleep 1000", text(&started))]);
        desktop.reach(&other);
        let update = spawned(&desktop, &["update", "laptop", "other"], Stdio::null());
        let pid = line_in(&started);
        kill_process(Pid::from_child(&update), signal).unwrap();
        let (status, said) = ended(update);
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(said.contains("updating laptop: mailsync was told to stop"), "{said}");
        // It was waited for, so its number is free again.
        assert!(!Path::new("/proc").join(&pid).exists(), "{pid} runs on");
        assert_eq!(other.mailbox().len(), 0, "nothing new is begun");
        is_free(&desktop);
    }
}

#[test]
fn mail_that_is_removed_while_one_peer_is_called_does_not_fail_the_next() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let other = Machine::replica(dir.path(), "other");
    crate::support::machine::make_peers(&desktop, &other);
    desktop.deliver("stays");
    desktop.deliver("goes");
    let mail = desktop.dir("INBOX").join("cur/goes:2,S");
    let call = format!("rm {}; {}", text(&mail), laptop.line("--quiet import --reply"));
    desktop.reach_by("laptop", &["sh", "-c", &call]);
    desktop.reach(&other);
    let ran = desktop.ok(&["update", "laptop", "other"]);
    assert!(ran.stderr.contains("other: sent"), "{ran:?}");
    assert!(other.has("stays") && !other.has("goes"));
}

#[test]
fn mail_that_is_removed_at_any_moment_does_not_fail_an_update() {
    let dir = scratch();
    let layout = mailsync::maildir::LayoutKind::Fs;
    let desktop = Party::new(dir.path(), "desktop", layout, &["INBOX stays -"]);
    let laptop = Party::new(dir.path(), "laptop", layout, &[]);
    party::make_peers(&desktop, &laptop);
    let call = [MAILSYNC, "--quiet", "--home", text(laptop.home.state_dir()), "import", "--reply"];
    let config = desktop.home.config_file();
    let configured = format!("{}\n[peer.laptop]\ncall = {call:?}\n", fs::read_to_string(&config).unwrap());
    fs::write(&config, configured).unwrap();
    let watch = Watch::new(&dir.path().join("keep"));
    let mut moments = 0_u64;
    loop {
        moments += 1;
        let goes = format!("goes{moments}");
        desktop.act(&format!("deliver INBOX {goes} -"));
        let file = desktop.find("INBOX", &goes);
        let replica = desktop.open(watch.disk()).unwrap();
        let (mut calls, doomed) = (0, file.clone());
        watch.observe(move || {
            calls += 1;
            if calls == moments {
                fs::remove_file(&doomed).unwrap();
            }
            calls
        });
        let mut outcomes = Vec::new();
        let called =
            replica.call("laptop", &ImportOptions::default(), &|_| {}, |imported| outcomes.push(imported.outcome));
        watch.observe(|| 0);
        called.unwrap_or_else(|error| panic!("removed before call {moments}: {error}"));
        assert!(outcomes.iter().all(|outcome| outcome.error().is_none()), "call {moments}: {outcomes:?}");
        if file.exists() {
            break;
        }
    }
    assert!(moments > 10, "an update touches the disk more often than {moments} times");
}

#[test]
fn a_bundle_of_a_stranger_goes_by_and_is_not_kept() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let stranger = Machine::replica(dir.path(), "stranger");
    stranger.put("INBOX", "cur/large:2,S", noise(7), 1_600_000_000);
    stranger.ok(&["peer", "add", "laptop", "--key", &laptop.key()]);
    stranger.ok(&["scan"]);
    let strange = stranger.ok(&["export"]).stdout;
    assert!(strange.len() > 300_000);
    desktop.deliver("hello");
    let known = desktop.ok(&["export", "--to", "laptop"]).stdout;
    let kept = |stream: &[u8]| {
        let (home, mut source) = (Home::at(&laptop.home), stream);
        let mut arrived = Replica::receive_bundles(&home, World::real(), None, "a test", &mut source).unwrap();
        let mut kept = Vec::new();
        arrived.read_to_end(&mut kept).unwrap();
        kept
    };
    let all = [&strange[..], &known, &strange, &known].concat();
    assert!(kept(&all) == [&known[..], &known].concat());
    assert!(kept(&strange).is_empty());
    assert!(kept(&strange[..strange.len() - 9]).is_empty(), "cut off");
    for stream in [&strange[..], &strange[..strange.len() - 9]] {
        laptop.refuses(&["import"], stream, 4, &["standard input", "from an unknown sender", "stranger"]);
    }
    let ran = laptop.run_with(&["import"], &all);
    assert_eq!(ran.code, 4, "{}", ran.stderr);
    assert_eq!(ran.stderr.matches("unknown sender").count(), 2, "{}", ran.stderr);
    assert!(laptop.has("hello"));
    let nothing = laptop.run_with(&["import"], b"");
    complains(&nothing, 4, &["standard input"]);
}

#[test]
fn an_answer_without_end_that_is_no_bundle_is_not_kept_and_its_program_is_ended() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("mail");
    let ready = laptop.ok(&["export"]).stdout;
    let bundle = dir.path().join("bundle");
    fs::write(&bundle, ready).unwrap();
    let (garbage, behind) = (String::from("exec yes"), format!("cat {}; exec yes", text(&bundle)));
    for script in [garbage, behind] {
        desktop.reach_by("laptop", &["sh", "-c", &script]);
        let ran = desktop.run(&["update"]);
        assert_eq!(ran.code, 4, "{}", ran.stderr);
        for part in ["the answer from laptop", "sh was ended", "run this again"] {
            assert!(ran.stderr.contains(part), "{}", ran.stderr);
        }
        is_free(&desktop);
        let config = desktop.home.join("config.toml");
        let without = fs::read_to_string(&config).unwrap();
        let (without, _) = without.split_once("[peer.laptop]").unwrap();
        fs::write(&config, without).unwrap();
    }
}
