//! A key with a passphrase: it is asked for once, at a terminal, and only when the key is needed. Where nobody can be
//! asked, a program gives it, or that is said. A key that others can read is not used.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::machine::{Machine, pair, pass};
use crate::support::programs::{find, run};
use crate::support::terminal::at_a_terminal;
use crate::support::{scratch, text};

/// A command with no terminal to ask at, as under cron.
fn without_terminal(machine: &Machine, args: &[&str]) -> crate::support::programs::Ran {
    let line = machine.command(args);
    let mut command = Command::new("setsid");
    command.arg("-w").arg(line.get_program()).args(line.get_args()).env_remove("MAILSYNC_HOME");
    run(command.stdin(Stdio::null()))
}

fn lock(machine: &Machine, passphrase: &str) -> Option<()> {
    let answers = [("New passphrase:", passphrase), ("The same again:", passphrase)];
    let ran = at_a_terminal(&machine.line("key passphrase"), &answers)?;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.text().contains("the key has a new passphrase") && !ran.text().contains(passphrase), "{ran:?}");
    Some(())
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn a_passphrase_is_asked_for_once_and_only_when_the_key_is_needed() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("one");
    let shown = laptop.ok(&["key", "show"]).text().to_owned();
    assert!(shown.trim_end().ends_with(" mailsync laptop"), "{shown}");
    if lock(&laptop, "a long one").is_none() {
        return;
    }
    assert_eq!(laptop.ok(&["key", "show"]).text(), shown, "locked, it has its comment, too");
    assert_eq!(mode(&laptop.home.join("key")), 0o600);
    // What doesn't sign and reads nothing that is encrypted asks for nothing.
    for args in [&["status"][..], &["scan"], &["peer", "list"], &["log"], &["key", "show"], &["purge"]] {
        assert_eq!(without_terminal(&laptop, args).code, 0, "{args:?}");
    }
    assert_eq!(laptop.ok(&["key", "show", "--json"]).json()["passphrase"], true);
    // Its comment is within what the passphrase locks, and stands beside it for people.
    assert_eq!(laptop.ok(&["key", "show"]).text().trim(), laptop.key().trim());
    assert!(laptop.key().trim().ends_with(" mailsync laptop"), "{}", laptop.key());
    // Two encrypted bundles, an answer to them: one question.
    let [first, second] = ["first", "second"].map(|name| dir.path().join(name));
    desktop.ok(&["export", "--to", "laptop", "-o", text(&first)]);
    desktop.deliver("two");
    desktop.ok(&["export", "--to", "laptop", "--full", "-o", text(&second)]);
    let answer = dir.path().join("answer");
    let line =
        format!("cat {} {} | {} > {}", text(&first), text(&second), laptop.line("import --reply"), text(&answer));
    let question = format!("Passphrase of {}", text(&laptop.home.join("key")));
    let ran = at_a_terminal(&line, &[(&question, "a long one")]).unwrap();
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.text().matches("Passphrase").count(), 1, "{ran:?}");
    assert!(laptop.has("one") && laptop.has("two"));
    desktop.ok(&["import", text(&answer)]);
    // A plain bundle needs no key.
    desktop.deliver("three");
    let plain = dir.path().join("plain");
    desktop.ok(&["export", "--to", "laptop", "--plain", "-o", text(&plain)]);
    assert_eq!(without_terminal(&laptop, &["import", text(&plain)]).code, 0);
    assert!(laptop.has("three"));
}

#[test]
fn an_invitation_that_a_locked_key_can_not_sign_invites_nobody_and_shows_no_code() {
    let dir = scratch();
    let desktop = Machine::replica(dir.path(), "desktop");
    desktop.deliver("mail");
    let [earlier, key, file] = ["earlier", "key", "file"].map(|name| dir.path().join(name));
    desktop.ok(&["invite", "tablet", "--expires", "1", "-o", text(&earlier)]);
    fs::write(&key, Machine::replica(dir.path(), "phone").key()).unwrap();
    let peers = || desktop.ok(&["peer", "list", "--json"]).json();
    let before = peers();
    if lock(&desktop, "a long one").is_none() {
        return;
    }
    let ways: [&[&str]; 6] = [
        &["invite", "new", "-o", text(&file)],
        &["invite", "new", "--plain", "-o", text(&file)],
        &["invite", "new", "--encrypt"],
        &["invite", "new", "--key", text(&key), "-o", text(&file)],
        &["invite", "tablet", "-o", text(&file)],
        &["--json", "invite", "new", "-o", text(&file)],
    ];
    for args in ways {
        let ran = without_terminal(&desktop, args);
        assert_eq!(ran.code, 1, "{args:?}: {ran:?}");
        assert!(ran.stderr.contains("passphrase") && !ran.stderr.contains("the code for"), "{args:?}: {ran:?}");
        assert!(!file.exists(), "{args:?}");
        assert_eq!(peers(), before, "{args:?}");
    }
}

#[test]
fn whoever_types_another_passphrase_is_asked_again_and_then_told() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    laptop.deliver("mail");
    if lock(&laptop, "right").is_none() {
        return;
    }
    let bundle = dir.path().join("bundle");
    let line = laptop.line(&format!("export --to desktop -o {}", text(&bundle)));
    let asked = "Passphrase of";
    let ran = at_a_terminal(&line, &[(asked, "wrong"), (asked, "right")]).unwrap();
    assert_eq!(ran.code, 0, "{ran:?}");
    desktop.ok(&["import", text(&bundle)]);
    assert!(desktop.has("mail"));
    fs::remove_file(&bundle).unwrap();
    let ran = at_a_terminal(&line, &[(asked, "wrong"), (asked, ""), (asked, "Right")]).unwrap();
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.text().contains("the passphrase is wrong"), "{ran:?}");
    assert!(!bundle.exists());
}

#[test]
fn a_passphrase_is_changed_and_taken_away_and_ssh_keygen_agrees() {
    let dir = scratch();
    let laptop = Machine::replica(dir.path(), "laptop");
    let signed = |machine: &Machine| machine.private_key().sign(b"something").unwrap().to_armor();
    let (key, before) = (laptop.home.join("key"), signed(&laptop));
    if lock(&laptop, "one").is_none() {
        return;
    }
    let line = |args: &str| laptop.line(args);
    // Nothing is changed by who doesn't know it, or mistypes the new one.
    let locked = fs::read(&key).unwrap();
    for (answers, code) in [
        (&[("Present passphrase:", "other")][..], 1),
        (&[("Present passphrase:", "one"), ("New passphrase:", "two"), ("The same again:", "tow")], 2),
        (&[("Present passphrase:", "one"), ("New passphrase:", "")], 2),
    ] {
        let ran = at_a_terminal(&line("key passphrase"), answers).unwrap();
        assert_eq!(ran.code, code, "{ran:?}");
        assert_eq!(fs::read(&key).unwrap(), locked);
    }
    let answers =
        [("Present passphrase:", "one"), ("New passphrase:", "zwei Wörter"), ("The same again:", "zwei Wörter")];
    assert_eq!(at_a_terminal(&line("key passphrase"), &answers).unwrap().code, 0);
    if find("ssh-keygen").is_some() {
        let opens = |passphrase: &str| {
            run(Command::new("ssh-keygen").args(["-y", "-P", passphrase, "-f"]).arg(&key).stdin(Stdio::null())).code
                == 0
        };
        assert!(opens("zwei Wörter") && !opens("one"));
        // What ssh-keygen has locked is opened here.
        let keygen = ["-p", "-q", "-P", "zwei Wörter", "-N", "three", "-f", text(&key)];
        assert_eq!(run(Command::new("ssh-keygen").args(keygen).stdin(Stdio::null())).code, 0);
    }
    let last = if find("ssh-keygen").is_some() { "three" } else { "zwei Wörter" };
    let ran = at_a_terminal(&line("key passphrase --remove"), &[("Present passphrase:", last)]).unwrap();
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(signed(&laptop), before);
    assert_eq!(mode(&key), 0o600);
}

#[test]
fn without_a_terminal_it_is_said_what_to_do_or_a_program_gives_the_passphrase() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    laptop.deliver("mail");
    if lock(&laptop, "from a program").is_none() {
        return;
    }
    let bundle = dir.path().join("bundle");
    let export = ["export", "--to", "desktop", "-o", text(&bundle)];
    let ran = without_terminal(&laptop, &export);
    assert_eq!(ran.code, 1, "{ran:?}");
    for words in
        ["it has a passphrase, and there is no terminal to ask for it", "passphrase_command", "key passphrase --remove"]
    {
        assert!(ran.stderr.contains(words), "{ran:?}");
    }
    assert!(!bundle.exists());
    assert_eq!(without_terminal(&laptop, &["key", "passphrase"]).code, 1);
    let ran = without_terminal(&laptop, &["watch"]);
    assert!(ran.code == 2 && ran.stderr.contains("passphrase_command"), "{ran:?}");
    // A bundle for it waits, and is not called anybody else's or damaged.
    let (there, encrypted) = (dir.path().join("there"), dir.path().join("there/x.zst.age"));
    fs::create_dir(&there).unwrap();
    desktop.ok(&["export", "--to", "laptop", "-o", text(&encrypted)]);
    for args in [&["import", text(&encrypted)][..], &["import", text(&there)], &["inspect", text(&encrypted)]] {
        let ran = without_terminal(&laptop, args);
        assert_eq!(ran.code, 1, "{args:?}: {ran:?}");
        assert!(ran.stderr.contains("there is no terminal"), "{args:?}: {ran:?}");
    }
    let secret = dir.path().join("secret");
    fs::write(&secret, "from a program\nand more\n").unwrap();
    let config = laptop.home.join("config.toml");
    let before = fs::read_to_string(&config).unwrap();
    let by = |call: &[&str]| fs::write(&config, format!("passphrase_command = {call:?}\n{before}")).unwrap();
    by(&["cat", text(&secret)]);
    assert_eq!(without_terminal(&laptop, &export).code, 0);
    assert_eq!(without_terminal(&laptop, &["import", text(&there)]).code, 0);
    desktop.ok(&["import", text(&bundle)]);
    assert!(desktop.has("mail"));
    for (call, words) in [
        (&["echo", "wrong"][..], "the passphrase is wrong"),
        (&["false"], "it has ended with"),
        (&["/nowhere/at-all"], "No such file"),
        (&["yes"], "it wrote more than"),
    ] {
        by(call);
        let ran = without_terminal(&laptop, &["export", "--to", "desktop", "-o", text(dir.path())]);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.stderr.contains(words) && ran.stderr.contains("passphrase_command"), "{ran:?}");
    }
    by(&[]);
    assert_eq!(without_terminal(&laptop, &["status"]).code, 2);
}

#[test]
fn a_job_waits_for_the_passphrase_and_is_not_settled_without_it() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    laptop.allow("cat", &["/bin/cat"], &[], "desktop");
    if lock(&laptop, "secret").is_none() {
        return;
    }
    desktop.ok(&["uux", "laptop", "cat"]);
    let bundle = dir.path().join("bundle");
    desktop.ok(&["export", "--to", "laptop", "--plain", "-o", text(&bundle)]);
    let ran = without_terminal(&laptop, &["import", text(&bundle)]);
    assert!(ran.code == 1 && ran.stderr.contains("there is no terminal"), "{ran:?}");
    assert_eq!(laptop.ok(&["jobs", "list", "--json"]).json()["jobs"][0]["state"], "queued");
    let ran = at_a_terminal(&laptop.line("jobs run"), &[("Passphrase of", "secret")]).unwrap();
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(laptop.ok(&["jobs", "list", "--json"]).json()["jobs"][0]["state"], "done");
}

#[test]
fn a_key_that_others_can_read_is_not_used() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    pass(&desktop, &laptop);
    let key = laptop.home.join("key");
    for open in [0o640, 0o604, 0o620, 0o602] {
        fs::set_permissions(&key, Permissions::from_mode(open)).unwrap();
        for args in [&["status"][..], &["scan"], &["export", "--to", "desktop"], &["key", "show"]] {
            let told = laptop.fails(args, 6);
            assert!(told.contains(text(&key)) && told.contains("chmod"), "{told}");
        }
    }
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    laptop.ok(&["status"]);
    let former = laptop.home.join("keys");
    fs::create_dir(&former).unwrap();
    fs::write(former.join("0"), desktop.private_key().to_openssh()).unwrap();
    fs::set_permissions(former.join("0"), Permissions::from_mode(0o644)).unwrap();
    let told = laptop.fails(&["scan"], 6);
    assert!(told.contains(text(&former.join("0"))), "{told}");
    fs::set_permissions(former.join("0"), Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(&former, Permissions::from_mode(0o777)).unwrap();
    assert!(laptop.fails(&["status"], 6).contains("other users may write it"));
    fs::set_permissions(&former, Permissions::from_mode(0o755)).unwrap();
    let ran = laptop.ok(&["scan"]);
    assert!(ran.stderr.contains("was open to other users"), "{ran:?}");
    assert_eq!(mode(&former), 0o700);
}
