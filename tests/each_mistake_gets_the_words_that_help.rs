//! A person who has made a usual mistake, or whose disk is full, is told what it is in the words that help then.

use std::fs;
use std::io::Read as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::machine::{Machine, complains, exchange, make_peers, message, pair};
use crate::support::programs::{Ran, heeding_signals, run};
use crate::support::terminal::at_a_terminal;
use crate::support::watching::until;
use crate::support::{scratch, text};

/// The fingerprint of some key.
const FINGERPRINT: &str = "SHA256:ygrPqsk5wk667i4i3fnEDB/3R/C2o2VuOlIWJAm1Yvs";

#[test]
fn what_comes_instead_of_a_bundle_is_called_by_its_name() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("one");
    let bundle = desktop.ok(&["export"]).stdout;
    let banner = [b"Welcome to server!\n".to_vec(), bundle.clone()].concat();
    // The far side has written nothing: ssh has failed, or there was no --reply.
    laptop.refuses(&["import"], b"", 4, &["standard input: nothing there", "see what it said", "without --reply"]);
    let words = ["what came begins with \"Welcome to server!\"", "~/.bashrc", "only at a terminal"];
    laptop.refuses(&["import"], &banner, 4, &words);
    for command in ["import", "import -", "inspect -", "verify -"] {
        let Some(ran) = at_a_terminal(&laptop.line(command), &[]) else { return };
        assert_eq!(ran.code, 2, "{ran:?}");
        let said = String::from_utf8_lossy(&ran.stdout).replace('\n', " ");
        assert!(said.contains("standard input is a terminal") && said.contains("mailsync export"), "{said}");
    }
}

#[test]
fn what_a_logout_writes_behind_a_bundle_is_shown_and_the_bundle_stays_taken() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let file = dir.path().join("bundle.zst");
    let behind = |bundle: &[u8], end: &str| [bundle, end.as_bytes()].concat();
    let says = |ran: &Ran, words: &[&str]| {
        let wrong = words.iter().find(|word| !ran.stderr.contains(**word));
        assert!(ran.code == 4 && wrong.is_none(), "{wrong:?}: {ran:?}");
    };
    for (end, shown) in [
        ("logout\n", "begins with \"logout\""),
        ("\n\nBye, \u{1b}[1mme\n", "begins with \"Bye, \\u{1b}[1mme\""),
        ("(screen closed)", "begins with \"(screen closed)\""),
    ] {
        desktop.deliver(shown);
        let bundle = behind(&desktop.ok(&["export", "--to", "laptop", "--plain"]).stdout, end);
        fs::write(&file, &bundle).unwrap();
        let words =
            ["what stands behind the bundle is no other one", shown, "what they brought stays", "nothing is lost"];
        for command in ["inspect", "verify"] {
            says(&laptop.run(&[command, text(&file)]), &words);
        }
        // By a pipe it is taken, and by a file what was taken is there already.
        for first in [true, false] {
            let ran = if first { laptop.run_with(&["import"], &bundle) } else { laptop.run(&["import", text(&file)]) };
            says(&ran, &words);
            says(&ran, &["~/.bash_logout"]);
            for wrong in ["corrupt", "nothing of it was taken", "run this again", "ssh -t", "~/.bashrc"] {
                assert!(!ran.stderr.contains(wrong), "{wrong}: {ran:?}");
            }
            assert_eq!(laptop.mailbox(), desktop.mailbox());
        }
        let ran = laptop.run_with(&["import", "--json"], &bundle);
        assert_eq!((ran.code, ran.json()["error"]["kind"].as_str()), (4, Some("rejected")), "{ran:?}");
        laptop.ok(&["log"]);
    }
    // Where an encrypted one ends is known by what can be decrypted of it, and so it isn't taken.
    desktop.deliver("encrypted");
    let bundle = desktop.ok(&["export", "--to", "laptop", "--encrypt"]).stdout;
    let before = laptop.mailbox();
    let words = ["begins with \"logout\"", "nothing of the bundle was taken", "~/.bash_logout", "run this again"];
    laptop.refuses(&["import"], &behind(&bundle, "logout\n"), 4, &words);
    assert_eq!(laptop.mailbox(), before);
    assert_eq!(laptop.run_with(&["import"], &bundle).code, 0);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
}

#[test]
fn a_file_that_is_no_bundle_is_called_by_what_it_is_on_lines_that_fit() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("one");
    let whole = desktop.ok(&["export"]).stdout;
    let stranger = Machine::replica(dir.path(), "stranger");
    stranger.ok(&["peer", "add", "other", "--key", &desktop.key()]);
    let other = dir.path().join("other.zst.age");
    stranger.ok(&["export", "-o", text(&other)]);
    let photo = [&b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01"[..], &[0x90; 3000]].concat();
    let noise = [0xfe; 3000];
    let packed = zstd::encode_all(&b"a log, and no archive"[..], 1).unwrap();
    let new = Machine::new(dir.path(), "new");
    for (name, bytes, what, advice) in [
        ("photo.jpg", &photo[..], "not a bundle: it seems to be a JPEG picture", "a file that `mailsync export`"),
        ("noise.dat", &noise[..], "not a bundle;", "a file that `mailsync export`"),
        ("note.txt", "Dear all,\nhello\n".as_bytes(), "a text, which begins with \"Dear all,\"", "`mailsync export`"),
        ("key.pub", laptop.key().as_bytes(), "a public key, which `mailsync peer add NAME", "`mailsync export`"),
        ("backup.tgz", b"\x1f\x8b\x08\0\0", "a file that gzip has compressed", "`mailsync export`"),
        ("log.zst", &packed, "zstd has compressed", ""),
        ("empty.zst", b"", "the file is empty", "copy it again"),
        ("cut.zst", &whole[..whole.len() / 2], "the bundle is cut off", "copy it again, whole"),
    ] {
        let file = dir.path().join(name);
        fs::write(&file, bytes).unwrap();
        for args in [&["import", name][..], &["inspect", name], &["verify", name], &["join", text(&new.mail), name]] {
            let machine = if args[0] == "join" { &new } else { &laptop };
            let mut command = machine.command(args);
            let ran = run(command.current_dir(dir.path()));
            if name == "log.zst" {
                assert_eq!(ran.code, 4, "{ran:?}");
            } else {
                complains(&ran, 4, &[name, what, advice]);
            }
            for odd in ["\\x", "begins with \"\\u", "banner", "ssh", "~/.bashrc", "the program that"] {
                assert!(!ran.stderr.contains(odd), "{odd}: {}", ran.stderr);
            }
            let longest = ran.stderr.split_inclusive('`').flat_map(|part| part.split(' ')).map(str::len).max();
            assert!(longest.is_some_and(|longest| longest <= 80), "{}", ran.stderr);
        }
        let typed =
            format!("stty cols 80; cd {}; NO_COLOR=1 {}", text(dir.path()), laptop.line(&format!("import {name}")));
        if let Some(ran) = at_a_terminal(&typed, &[]) {
            let said = String::from_utf8_lossy(&ran.stdout).into_owned();
            assert!(!said.is_empty() && said.lines().all(|line| line.chars().count() <= 80), "{said}");
        }
        assert!(!new.home.exists() && file.exists());
    }
    complains(&laptop.run(&["import", text(&other)]), 4, &["encrypted for others"]);
    // What comes by a pipe has other causes.
    laptop.refuses(&["import"], b"\xff\xd8\xff\xe0", 4, &["what came begins with", "~/.bashrc"]);
    laptop.refuses(&["import"], &whole[..whole.len() / 2], 4, &["cut off", "the connection broke", "run this again"]);
}

#[test]
fn what_is_given_for_a_key_and_is_none_is_refused_with_the_way_to_get_one() {
    let dir = scratch();
    let machine = Machine::replica(dir.path(), "desktop");
    let empty = dir.path().join("server.pub");
    fs::write(&empty, "").unwrap();
    for (key, words) in [
        (FINGERPRINT, ["fingerprint", "mailsync init"]),
        ("AAAAC3NzaC1lZDI1NTE5AAAAIEXPE3WglmEskzZh9HBDjaBLjsQ9yUF09q62kzCJfDz6", ["middle of a key", "mailsync init"]),
        ("", ["nothing in it", "mailsync init"]),
        (text(&empty), ["server.pub: there is nothing in it", "mailsync init"]),
    ] {
        machine.refuses(&["peer", "add", "server", "--key", key], b"", 2, &words);
    }
}

#[test]
fn a_typo_in_a_name_is_answered_with_the_name_that_is_meant() {
    let dir = scratch();
    let (desktop, _laptop) = pair(dir.path());
    desktop.put("Lists/bees", "cur/a:2,S", "a", 1);
    desktop.ok(&["scan"]);
    desktop.ok(&["uux", "laptop", "--", "true"]);
    let id = desktop.ok(&["jobs", "list", "--json"]).json()["jobs"][0]["id"].as_str().unwrap()[..8].to_owned();
    // Another last digit.
    let typo = format!("{}{}", &id[..7], if id.ends_with('0') { "1" } else { "0" });
    for command in [
        "export --to lapotp",
        "update lapotp",
        "uux lapotp -- true",
        "peer rename lapotp x",
        "peer remove lapotp",
        "peer revoke lapotp",
        "peer reinstate lapotp",
        "log --peer lapotp",
        "log --removed --peer lapotp",
        "trash list --by lapotp",
        "trash restore --by lapotp",
        "undo --by lapotp --since 1d",
        "scan Lists/beez",
        "scan beez",
        "restore Lists/beez",
        "trash list --folder Lists/beez",
        "log --folder Lists/beez",
        "undo --by laptop --since 1d --folder beez",
        &format!("jobs show {typo}"),
        &format!("jobs cancel {typo}"),
        &format!("jobs forget {typo}"),
    ] {
        let meant = match command {
            _ if command.contains("lapotp") => "laptop",
            _ if command.contains("beez") => "Lists/bees",
            _ => &id,
        };
        let args: Vec<&str> = command.split(' ').collect();
        complains(&desktop.run_with(&args, b""), 2, &[&format!("did you mean {meant}? ")]);
    }
    // Where nothing is near, nothing is guessed.
    assert!(!desktop.fails(&["export", "--to", "phone"], 2).contains("did you mean"));
}

#[test]
fn a_folder_is_named_with_a_slash_at_its_end_as_well_and_stands_for_those_below_it() {
    let dir = scratch();
    let (desktop, _laptop) = pair(dir.path());
    for folder in ["Lists/bees", "Lists/wasps"] {
        desktop.put(folder, "cur/a:2,S", folder, 1);
    }
    desktop.ok(&["scan"]);
    for folder in ["Lists/bees", "Lists/wasps", "INBOX"] {
        desktop.put(folder, "cur/b:2,S", format!("{folder} b"), 1);
    }
    let new = |args: &[&str]| desktop.ok(&[args, &["--json"]].concat()).json()["new"].clone();
    assert_eq!(new(&["scan", "Lists"]), 2);
    assert_eq!(new(&["scan", "INBOX/"]), 1);
    for args in [&["scan", "Lists/bees/"][..], &["log", "--folder", "Lists/"], &["trash", "list", "--folder", "INBOX/"]]
    {
        desktop.ok(args);
    }
    let undo = ["undo", "--by", "desktop", "--since", "1d", "--folder", "Lists/bees/"];
    complains(&desktop.run(&undo), 1, &["has moved and flagged nothing"]);
    complains(&desktop.run(&["restore", "--dry-run", "Lists/"]), 1, &["nothing of it has vanished"]);
    complains(&desktop.run(&["undo", "--by", "", "--since", "1d"]), 2, &["the name is empty", "the peers are: laptop"]);
    for args in [&["scan", ""][..], &["log", "--folder", "/"]] {
        let ran = desktop.run(args);
        assert!(ran.code == 2 && ran.stderr.contains("the name is empty"), "{ran:?}");
    }
}

#[test]
fn whoever_interrupts_a_command_is_told_what_that_has_left() {
    let dir = scratch();
    let (desktop, _laptop) = pair(dir.path());
    for (args, signal, words) in [
        (["inspect", "-"], Signal::INT, "interrupted; nothing was changed by that"),
        (["import", "-"], Signal::INT, "interrupted: each thing that it did is done or as it was, and nothing is lost"),
        (["import", "-"], Signal::TERM, "nothing is lost; run it again"),
    ] {
        let mut command = heeding_signals(&desktop.command(&args));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let status = format!("/proc/{}/status", child.id());
        let catches = || {
            let status = fs::read_to_string(&status).unwrap();
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim();
            u64::from_str_radix(caught, 16).unwrap() >> (signal.as_raw() - 1) & 1 == 1
        };
        until("it listens", catches);
        kill_process(Pid::from_child(&child), signal).unwrap();
        // The input stays open: its end would end the command.
        let input = child.stdin.take();
        let ended = child.wait().unwrap();
        drop(input);
        assert_eq!(ended.signal(), Some(signal.as_raw()), "as without a word: {ended:?}");
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(said.lines().count() == 1 && said.starts_with("mailsync: ") && said.contains(words), "{said}");
    }
}

#[test]
fn what_is_in_the_configuration_and_makes_no_sense_is_told_in_its_own_words() {
    let dir = scratch();
    let desktop = Machine::replica(dir.path(), "desktop");
    let config = desktop.home.join("config.toml");
    let whole = fs::read_to_string(&config).unwrap();
    for (lines, words) in [
        ("[guard]\nfolder = \"x\"", "there is the text \"x\", and a whole number, not less than 0, is expected"),
        ("[guard]\nfolder = -1", "there is the number -1, and a whole number"),
        ("[peer.x]\nencrypt = \"yes\"", "there is \"yes\", and \"files\", \"always\" or \"never\" is expected"),
        ("[guard", "a `]` is missing"),
        ("[watch]\nafter = 5", "there is the number 5, and a text in quotation marks is expected"),
        ("[watch]\nafter 5s", "a key stands there without `=` and a value"),
        ("[watch]\nafter = 5s", "correct it there"),
        ("[watch]\nafter = \"5s", "a quotation mark is missing"),
        ("[guard]\n[guard]", "stand there for the second time"),
    ] {
        fs::write(&config, format!("{whole}\n{lines}\n")).unwrap();
        let said = desktop.fails(&["status"], 2);
        assert!(said.contains(words) && said.contains("config.toml, line "), "{lines}: {said}");
        for theirs in ["variant", "struct", "u32", "u64", "invalid type", "sequence", "literal"] {
            assert!(!said.contains(theirs), "{lines}: {said}");
        }
    }
    fs::write(&config, [whole.as_bytes(), b"\xff"].concat()).unwrap();
    complains(&desktop.run(&["status"]), 1, &["has bytes that are no UTF-8"]);
}

#[test]
fn what_is_written_and_purged_is_counted_in_the_words_of_people() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("one");
    exchange(&desktop, &laptop);
    desktop.remove("one");
    desktop.ok(&["uux", "laptop", "--", "true"]);
    let said = desktop.ok(&["export", "-o", text(&dir.path().join("b.zst"))]).stderr;
    assert!(said.contains("1 entry, 0 messages and 1 attachment of jobs of "), "{said}");
    exchange(&desktop, &laptop);
    exchange(&desktop, &laptop);
    desktop.ok(&["purge"]);
    let log = desktop.ok(&["log"]).text().to_owned();
    let line = log.lines().find(|line| line.contains(" purge ")).unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains("1 removal that every peer knows of") && line.contains("in the trash (0 B)"), "{line}");
}

#[test]
fn a_bundle_that_import_would_not_look_at_is_told_of_at_once() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("one");
    let stick = dir.path().join("stick");
    fs::create_dir_all(stick.join("deeper")).unwrap();
    let other = stick.join("my-bundle");
    let said = desktop.ok(&["export", "-o", text(&other)]).stderr;
    let notes: Vec<&str> = said.lines().filter(|line| line.contains("*.zst and *.zst.age")).collect();
    assert_eq!(notes.len(), 1, "{said}");
    assert!(notes[0].contains(&format!("import {} by its name", other.display())), "{said}");
    let said = laptop.ok(&["import", text(&stick)]).stderr;
    assert!(said.contains("only files called *.zst and *.zst.age are looked at, and none in directories"), "{said}");
    for name in ["b.zst", "b.zst.age", "b.ZST"] {
        let said = desktop.ok(&["export", "-o", text(&stick.join(name))]).stderr;
        assert!(!said.contains("*.zst and"), "{said}");
    }
    // A name that was given is shown as it was given.
    let mut again = desktop.command(&["export", "-o", "stick/c.zst"]);
    let ran = crate::support::programs::run(again.current_dir(dir.path()));
    assert!(ran.stderr.contains("wrote stick/c.zst: "), "{ran:?}");
}

#[test]
fn a_directory_that_is_not_there_uses_up_no_number() {
    let dir = scratch();
    let (desktop, _) = pair(dir.path());
    desktop.deliver("one");
    for path in ["none/x.zst", "none/"] {
        let path = format!("{}/{path}", dir.path().display());
        complains(&desktop.run(&["export", "-o", &path]), 1, &["there is no", "directory", "make it first"]);
    }
    let path = dir.path().join("x.zst");
    let written = desktop.ok(&["export", "-o", text(&path), "--json"]).json();
    assert_eq!(written["bundles"][0]["number"], 1);
}

#[test]
fn a_list_of_nothing_says_so_to_people_and_nothing_to_programs() {
    let dir = scratch();
    let machine = Machine::replica(dir.path(), "desktop");
    for (command, words) in
        [(["peer", "list"], "no peers yet"), (["trash", "list"], "the trash is empty"), (["jobs", "list"], "no jobs")]
    {
        let ran = machine.ok(&command);
        assert!(ran.stdout.is_empty() && ran.stderr.contains(words), "{ran:?}");
        assert_eq!(machine.ok(&[&command[..], &["--quiet"]].concat()).stderr, "", "{command:?}");
    }
}

#[test]
fn a_state_that_is_gone_or_not_that_of_the_key_is_told_by_whatever_looks() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let key = desktop.home.join("key");
    let own = fs::read(&key).unwrap();
    fs::write(&key, fs::read(laptop.home.join("key")).unwrap()).unwrap();
    let said = desktop.ok(&["status"]).stderr;
    assert!(said.contains("note: ") && said.contains("this is the key of SHA256:"), "{said}");
    complains(&desktop.run(&["export"]), 1, &["this is the key of SHA256:", "from a backup"]);
    fs::write(&key, own).unwrap();
    assert_eq!(desktop.ok(&["status"]).stderr, "");
    fs::remove_file(desktop.home.join("state.db")).unwrap();
    for command in ["status", "doctor", "scan"] {
        let ran = desktop.run(&[command]);
        complains(&ran, 1, &["state.db: it isn't there", "from a backup", "mailsync join"]);
        assert!(ran.stderr.split_whitespace().count() <= 50, "{}", ran.stderr);
    }
    // Where configuration and state are apart, all of the state may be gone.
    let apart = |args: &[&str]| {
        let mut command = laptop.command(args);
        for (name, sub) in [("XDG_CONFIG_HOME", "config"), ("XDG_STATE_HOME", "state"), ("HOME", "me")] {
            command.env(name, dir.path().join(sub));
        }
        let args: Vec<_> = command.get_args().skip(2).map(ToOwned::to_owned).collect();
        let mut plain = std::process::Command::new(command.get_program());
        plain.env_remove("MAILSYNC_HOME").args(args);
        for (name, value) in command.get_envs() {
            value.map(|value| plain.env(name, value));
        }
        crate::support::programs::run(&mut plain)
    };
    let mail = dir.path().join("apart");
    fs::create_dir(&mail).unwrap();
    assert_eq!(apart(&["init", text(&mail)]).code, 0);
    fs::rename(dir.path().join("state/mailsync"), dir.path().join("gone")).unwrap();
    for command in ["doctor", "scan"] {
        complains(&apart(&[command]), 1, &["state directory", "it isn't there", "from a backup"]);
    }
}

#[test]
fn a_command_of_another_program_is_answered_with_the_one_that_is_meant() {
    let dir = scratch();
    let machine = Machine::replica(dir.path(), "desktop");
    for (verb, meant) in [
        ("sync", "mailsync update"),
        ("pull", "mailsync import"),
        ("push", "mailsync export"),
        ("diff", "mailsync scan --dry-run"),
        ("clone", "mailsync join"),
    ] {
        let ran = machine.run(&[verb]);
        assert!(
            ran.code == 2 && ran.stderr.starts_with("mailsync: there is no command") && ran.stderr.contains(meant),
            "{ran:?}"
        );
        let told = machine.run(&[verb, "--json"]).json();
        assert!(told["error"]["message"].as_str().unwrap().contains(verb), "{told}");
    }
}

#[test]
fn mail_in_another_format_is_called_by_its_name() {
    let dir = scratch();
    let machine = Machine::new(dir.path(), "desktop");
    fs::remove_dir_all(&machine.mail).unwrap();
    let init = |path: &Path| machine.run(&["init", text(path), "--name", "desktop"]);
    complains(&init(&machine.mail), 1, &["No such file or directory", "mkdir", "no public key was printed"]);
    fs::create_dir_all(&machine.mail).unwrap();
    let mbox = machine.mail.join("inbox");
    fs::write(&mbox, format!("From me Sat Nov 28 12:00:00 2026\n{}", message("one"))).unwrap();
    complains(&init(&machine.mail), 1, &["holds no Maildir", "inbox is an mbox", "mb2md"]);
    complains(&init(&mbox), 1, &["inbox is an mbox", "mb2md"]);
    fs::remove_file(&mbox).unwrap();
    fs::create_dir(&mbox).unwrap();
    fs::write(mbox.join("1"), message("one")).unwrap();
    complains(&init(&machine.mail), 1, &["inbox is an MH folder", "convert it to Maildirs"]);
    fs::remove_dir_all(&mbox).unwrap();
    let said = machine.init().stderr;
    assert!(said.contains("set layout = \"fs\"") && said.contains("config.toml"), "{said}");
    machine.reconfigure(&[("layout", "\"fs\"")]);
    machine.ok(&["doctor", "--moved-root"]);
    machine.put("Archive/2019", "cur/1:2,S", message("old"), 1_500_000_000);
    assert_eq!(machine.ok(&["scan", "--json"]).json()["new"], 1);
    assert!(machine.mail.join("Archive/2019/cur").is_dir());
    let other = Machine::replica(dir.path(), "laptop");
    make_peers(&machine, &other);
}

#[test]
fn a_directory_of_bundles_and_several_files_are_looked_at_one_by_one() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("one");
    let stick = dir.path().join("stick");
    fs::create_dir_all(stick.join("deeper.zst")).unwrap();
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let [first, second] = ["a.zst.age", "b.zst"].map(|name| stick.join(name));
    for path in [&first, &second] {
        desktop.ok(&["export", "-o", text(path)]);
    }
    fs::write(stick.join("notes.txt"), "no bundle").unwrap();
    for args in [&[text(&stick)][..], &[text(&first), text(&second)]] {
        let ran = laptop.ok(&[&["verify"], args].concat());
        let lines: Vec<&str> = ran.text().lines().collect();
        assert_eq!(lines.len(), 2, "{ran:?}");
        for (line, path) in lines.iter().zip([&first, &second]) {
            assert!(line.starts_with(&format!("{}: bundle ", path.display())) && line.contains("is whole"), "{ran:?}");
        }
        let shown = laptop.ok(&[&["inspect"], args].concat());
        assert_eq!(shown.text().matches("bundle     ").count(), 2, "{shown:?}");
        assert!(shown.text().contains(text(&first)) && shown.text().contains(text(&second)), "{shown:?}");
        let documents = laptop.ok(&[&["inspect", "--json"], args].concat()).json();
        assert_eq!(documents["bundles"][1]["file"], text(&second));
    }
    // One that is wrong keeps nobody from looking at the others.
    fs::write(stick.join("0.zst"), "no bundle").unwrap();
    let ran = laptop.run(&["verify", text(&stick)]);
    assert_eq!(ran.text().lines().count(), 2, "{ran:?}");
    complains(&ran, 4, &["0.zst: not a bundle"]);
    let documents = laptop.run(&["verify", "--json", text(&stick)]).json();
    let bundles = documents["bundles"].as_array().unwrap();
    assert_eq!(bundles.iter().filter(|bundle| bundle["valid"] == true).count(), 2, "{documents}");
    assert!(bundles.iter().any(|bundle| bundle["file"] == text(&stick.join("0.zst"))), "{documents}");
    assert_eq!(laptop.run(&["inspect", text(&stick)]).code, 4);
    for command in ["inspect", "verify"] {
        complains(&laptop.run(&[command, text(&empty)]), 1, &["no file called *.zst or *.zst.age"]);
        assert_eq!(laptop.run(&[command]).code, 2);
    }
}

#[test]
fn what_is_named_wrong_is_told_before_anything_is_done() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.put("Work", "cur/a:2,S", "a", 1);
    exchange(&desktop, &laptop);
    let called = dir.path().join("called");
    laptop.reach_by("desktop", &["touch", text(&called)]);
    laptop.refuses(&["update", "desktop", "nope"], b"", 2, &["no peer called nope", "the peers are: desktop"]);
    assert!(!called.exists(), "desktop was called before");
    laptop.refuses(&["restore", "-n", "161b"], b"", 2, &["161b", "named by 8 digits or more"]);
    fs::remove_file(desktop.dir("Work").join("cur/a:2,S")).unwrap();
    desktop.ok(&["scan", "--allow-mass-delete"]);
    exchange(&desktop, &laptop);
    let id = laptop.ok(&["trash", "list", "--json"]).json()["trash"][0]["id"].to_string();
    for more in [&["-n"][..], &[]] {
        let args = [&["trash", "restore", &id, "--folder", "INBOX"][..], more].concat();
        let said = laptop.fails(&args, 1);
        assert!(said.contains("it is in the trash, from Work") && !said.contains("has come back"), "{said}");
        assert_eq!(laptop.run(&args).stderr.matches("mailsync:").count(), 1, "{said}");
    }
    let wrong = dir.path().join("no such directory");
    let said = laptop.fails(&["init", text(&wrong)], 1);
    assert!(said.contains(&format!("for the mail root {}", text(&laptop.mail))), "{said}");
    assert!(!said.contains("there is no replica"), "{said}");
    let spool = dir.path().join("spool");
    laptop.configure(&format!("[watch]\nreceive = [{:?}]", text(&spool)));
    let status = laptop.ok(&["status"]).words();
    assert!(status.contains("make it, or correct `receive` of [watch] in config.toml"), "{status}");
}

#[test]
fn an_invitation_that_is_inspected_says_that_it_is_one() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let (file, other) = (dir.path().join("invitation.zst"), dir.path().join("other.zst"));
    desktop.ok(&["invite", "tablet", "--plain", "-o", text(&file)]);
    desktop.ok(&["export", "--to", "laptop", "--plain", "-o", text(&other)]);
    let shown = laptop.ok(&["inspect", text(&file)]).words();
    assert!(shown.contains("invites a new replica, which its sender calls tablet"), "{shown}");
    assert!(!shown.contains("any peer"), "{shown}");
    assert!(!laptop.ok(&["inspect", text(&other)]).words().contains("invites"));
    for (file, invites) in [(&file, Some("tablet")), (&other, None)] {
        let document = laptop.ok(&["inspect", "--json", text(file)]).json();
        assert_eq!(document["bundles"][0]["invites"].as_str(), invites, "{document}");
        assert!(document["bundles"][0]["invites"].is_string() == invites.is_some());
    }
}

#[test]
fn a_link_in_a_directory_is_looked_at_by_no_command() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("one");
    let (stick, elsewhere) = (dir.path().join("stick"), dir.path().join("elsewhere.zst"));
    fs::create_dir(&stick).unwrap();
    desktop.ok(&["export", "--to", "laptop", "-o", text(&elsewhere)]);
    std::os::unix::fs::symlink(&elsewhere, stick.join("link.zst")).unwrap();
    for command in ["inspect", "verify"] {
        let ran = laptop.ok(&[command, text(&stick)]);
        assert!(ran.stdout.is_empty(), "{ran:?}");
        assert!(ran.stderr.contains("link.zst is a symbolic link, and is passed over"), "{ran:?}");
        let document = laptop.ok(&[command, "--json", text(&stick)]).json();
        assert_eq!(document["bundles"].as_array().map(Vec::len), Some(0), "{document}");
        // Who names it means it.
        assert!(!laptop.ok(&[command, text(&stick.join("link.zst"))]).stdout.is_empty());
    }
    fs::copy(&elsewhere, stick.join("copy.zst")).unwrap();
    let shown = laptop.ok(&["inspect", text(&stick)]).words();
    assert!(shown.contains("copy.zst") && !shown.contains("link.zst"), "{shown}");
}

#[test]
fn a_history_that_says_nothing_says_where_it_begins() {
    let dir = scratch();
    let desktop = Machine::replica(dir.path(), "desktop");
    desktop.deliver("one");
    let file = dir.path().join("invitation.zst");
    desktop.ok(&["invite", "tablet", "--plain", "-o", text(&file)]);
    let tablet = Machine::new(dir.path(), "tablet");
    tablet.ok(&["join", text(&tablet.mail), text(&file)]);
    let ran = tablet.ok(&["log", "--folder", "INBOX"]);
    assert!(ran.stdout.is_empty(), "{ran:?}");
    for words in ["no message like that", "it begins behind what this replica was made with, by `mailsync join`"] {
        assert!(ran.stderr.contains(words), "{words}: {ran:?}");
    }
}

#[test]
fn a_restore_of_nothing_names_both_ways() {
    let dir = scratch();
    let desktop = Machine::replica(dir.path(), "desktop");
    let ran = desktop.run(&["restore"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    for words in ["FOLDER|ID", "--all"] {
        assert!(ran.stderr.contains(words), "{words}: {ran:?}");
    }
    assert_eq!(desktop.run(&["restore", "--all", "INBOX"]).code, 2);
    desktop.ok(&["restore", "--all"]);
}

#[test]
fn the_log_has_what_was_done_by_this_replica_alone() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    laptop.deliver("one");
    laptop.ok(&["scan"]);
    desktop.deliver("two");
    let bundle = desktop.ok(&["export", "--to", "laptop"]).stdout;
    assert_eq!(laptop.run_with(&["import"], &bundle).code, 0);
    let id = laptop.public_key().id().to_string();
    for name in ["laptop", &id] {
        let shown = laptop.ok(&["log", "--peer", name]).text().to_owned();
        assert!(shown.contains("scan") && !shown.contains("import"), "{shown}");
    }
    let of_peer = laptop.ok(&["log", "--peer", &desktop.public_key().id().to_string()]).text().to_owned();
    assert_eq!(of_peer, laptop.ok(&["log", "--peer", "desktop"]).text());
    assert!(of_peer.contains("import"), "{of_peer}");
    laptop.refuses(&["log", "--peer", "nobody"], b"", 2, &["there is no peer called nobody"]);
}

#[test]
fn a_date_and_its_time_stand_on_one_line() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    exchange(&desktop, &laptop);
    let is_date = |word: &str| word.len() == 10 && word.bytes().filter(|byte| *byte == b'-').count() == 2;
    for columns in [40, 60, 80, 100] {
        for command in ["peer list", "status", "log"] {
            let typed = format!("stty cols {columns}; NO_COLOR=1 {}", laptop.line(command));
            let Some(ran) = at_a_terminal(&typed, &[]) else { return };
            let shown = String::from_utf8_lossy(&ran.stdout).into_owned();
            let torn = shown.lines().find(|line| line.split_whitespace().next_back().is_some_and(is_date));
            assert!(ran.code == 0 && torn.is_none(), "{columns}, {command}: {torn:?} in {shown}");
        }
    }
}
