//! An invitation in a file is encrypted with a code. Whoever finds the file can neither read it nor join, and whoever has
//! the code knows whose it is.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use mailsync::bundle::Code;

use crate::support::machine::{Machine, complains, exchange, make_peers, message, pair};
use crate::support::programs::{self, MAILSYNC, Ran, are_there, run};
use crate::support::terminal::typing_at_a_terminal;
use crate::support::{names, scratch, text};
use crate::what_a_stick_or_a_stream_brings_is_told_apart::among_own_mounts;

const AGE: &[u8] = b"age-encryption.org/v1\n-> scrypt ";
/// What is asked on a terminal.
const QUESTION: &str = "they aren't shown):";
/// The words with which the command that wants a code says so.
const WITHOUT: &[&str] = &["encrypted with a code", "--code-file"];

/// The code that `invite` has shown.
#[track_caller]
fn shown(ran: &Ran) -> String {
    let shown: Vec<&str> = ran.stderr.split("which is shown this once: ").collect();
    assert_eq!(shown.len(), 2, "{ran:?}");
    let code = shown[1].lines().next().unwrap().to_owned();
    assert_eq!(Code::parse(&code).unwrap().words(), code);
    code
}

/// A replica with mail, and an invitation of a tablet that is in a file, with its code.
fn invited(dir: &Path) -> (Machine, Machine, PathBuf, String) {
    let desktop = Machine::replica(dir, "desktop");
    desktop.deliver("a secret");
    let file = dir.join("invitation");
    let code = shown(&desktop.ok(&["invite", "tablet", "-o", text(&file)]));
    (desktop, Machine::new(dir, "tablet"), file, code)
}

/// A replica with 30 messages, an invitation in a directory that is split into parts, and its code.
fn invited_in_parts(dir: &Path) -> (Machine, PathBuf, String) {
    let desktop = Machine::replica(dir, "desktop");
    let mut noise = 7_u64;
    for n in 0..30 {
        let mut line = |_| {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            format!("{noise:016x}")
        };
        let lines = (0..400).map(&mut line).collect::<Vec<_>>().join("\n");
        desktop.put("INBOX", &format!("cur/{n}:2,S"), format!("Subject: {n}\n\n{lines}"), 1_600_000_000);
    }
    let parts = dir.join("parts");
    fs::create_dir(&parts).unwrap();
    let ran = desktop.ok(&["invite", "tablet", "--split", "64K", "-o", text(&parts)]);
    let code = shown(&ran);
    assert!(ran.stderr.contains("which needs the code in a file, with --code-file"), "{ran:?}");
    (desktop, parts, code)
}

/// A code in a file that only its owner may read.
fn code_file(dir: &Path, words: &str) -> PathBuf {
    let file = dir.join("code");
    let _ = fs::remove_file(&file);
    fs::write(&file, words).unwrap();
    fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    file
}

/// The join of a machine, with the code in the environment.
fn joining(machine: &Machine, bundle: &Path, code: &str) -> Command {
    let mut command = machine.command(&["join", text(&machine.mail), text(bundle)]);
    command.env("MAILSYNC_CODE", code);
    command
}

/// Runs a shell command on a terminal of its own. Once that has shown a text, the next answer is typed. Gives the exit code
/// and everything that was shown.
fn on_a_terminal(line: &str, answers: &[(&str, &str)]) -> (i32, String) {
    let ran = typing_at_a_terminal(line, answers).expect("there is a program for that");
    assert!(ran.stderr.is_empty(), "{ran:?}");
    (ran.code, ran.text().to_owned())
}

/// No file below a directory holds a text.
fn is_nowhere(dir: &Path, text: &str) {
    let mut files = 0;
    for item in walkdir::WalkDir::new(dir).into_iter().map(Result::unwrap).filter(|item| item.file_type().is_file()) {
        files += 1;
        let bytes = fs::read(item.path()).unwrap();
        let at = bytes.windows(text.len()).position(|bytes| bytes == text.as_bytes());
        assert_eq!(at, None, "{text:?} is in {}", item.path().display());
    }
    assert!(files > 0, "there is something in {}", dir.display());
}

/// Nothing was made by a join that failed.
#[track_caller]
fn made_nothing(machine: &Machine) {
    assert!(!machine.home.exists(), "{:?}", names(&machine.home));
    assert_eq!(fs::read_dir(&machine.mail).map_or(0, Iterator::count), 0);
}

#[test]
fn who_has_the_code_joins_and_has_no_id_to_compare() {
    let dir = scratch();
    let (desktop, tablet, file, code) = invited(dir.path());
    assert!(fs::read(&file).unwrap().starts_with(AGE));
    let ran = run(&mut joining(&tablet, &file, &code));
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains("from whoever told it: there is no id to compare"), "{ran:?}");
    assert!(!ran.stderr.contains("compare that id"), "{ran:?}");
    assert_eq!(tablet.mailbox(), desktop.mailbox());
    // Repeated, since nobody could know whether it was complete.
    assert_eq!(run(&mut joining(&tablet, &file, &code)).code, 0);
    // The answer is the key's, and needs no code.
    let answer = dir.path().join("answer");
    tablet.put("INBOX", "new/own", message("own"), 1_600_000_000);
    tablet.ok(&["export", "-o", text(&answer)]);
    desktop.ok(&["import", text(&answer)]);
    assert_eq!(tablet.mailbox(), desktop.mailbox());
    exchange(&tablet, &desktop);

    // Nothing has kept the code, and what was exchanged doesn't hold it.
    for words in [&code, &code.replace('-', " "), &code.replace('-', "\n")] {
        is_nowhere(dir.path(), words);
    }
    assert!(!desktop.ok(&["log", "--json"]).text().contains(&code));
}

#[test]
fn the_code_is_taken_from_a_file_however_it_is_written() {
    let dir = scratch();
    let (desktop, tablet, file, code) = invited(dir.path());
    let short: Vec<String> =
        code.split('-').map(|word| word.chars().take(4).collect::<String>().to_uppercase()).collect();
    let words = code_file(dir.path(), &format!("\n  {}\n", short.join("\n\t")));
    let args = ["--json", "join", text(&tablet.mail), text(&file), "--code-file", text(&words)];
    // What is in the file counts, not what is in the environment.
    let mut command = tablet.command(&args);
    let ran = run(command.env("MAILSYNC_CODE", "something else"));
    assert_eq!((ran.code, &ran.json()["by_code"]), (0, &true.into()), "{ran:?}");
    assert_eq!(tablet.mailbox(), desktop.mailbox());
}

#[test]
fn a_person_is_asked_for_the_code_on_the_terminal_which_does_not_show_it() {
    if !are_there(&["python3"]) {
        return;
    }
    let dir = scratch();
    let (desktop, tablet, file, code) = invited(dir.path());
    let line = tablet.line(&format!("join {} {}", text(&tablet.mail), text(&file)));
    let (typed, wrong) = (format!("{}\n", code.to_uppercase().replace('-', " ")), "six words that are no code\n");
    // What can be no code is asked for again.
    let (exit, said) = on_a_terminal(&line, &[(QUESTION, wrong), (QUESTION, &typed)]);
    assert_eq!(exit, 0, "{said}");
    assert!(said.contains("none of which codes are made"), "{said}");
    assert!(said.contains("no id to compare"), "{said}");
    for secret in [typed.trim(), wrong.trim(), &code] {
        assert!(!said.contains(secret), "{secret} in {said}");
    }
    assert_eq!(tablet.mailbox(), desktop.mailbox());

    // With the bundle on standard input, too. What is wrong three times is wrong.
    let phone = Machine::new(dir.path(), "phone");
    let line = phone.line(&format!("join {} < {}", text(&phone.mail), text(&file)));
    let (exit, said) = on_a_terminal(&line, &[(QUESTION, "\n"), (QUESTION, wrong), (QUESTION, "zoo zoo zoo\n")]);
    assert_eq!(exit, 4, "{said}");
    assert!(said.contains("a code has 6 words, and this has 0") && said.contains("and this has 3"), "{said}");
    made_nothing(&phone);
    let (exit, said) = on_a_terminal(&line, &[(QUESTION, &typed)]);
    assert_eq!(exit, 0, "{said}");
    assert_eq!(phone.mailbox(), desktop.mailbox());
}

#[test]
fn a_person_who_does_not_answer_gets_the_terminal_back() {
    if !are_there(&["python3", "stty"]) {
        return;
    }
    let dir = scratch();
    let (_desktop, tablet, file, _code) = invited(dir.path());
    let line = tablet.line(&format!("join {} {}", text(&tablet.mail), text(&file)));
    let line = format!("trap '' INT; (trap - INT; exec {line}); echo ended with $?; stty -a");
    // Ctrl-C, Ctrl-Z (which does nothing there) and Ctrl-C, and the end of what is typed.
    for (typed, code) in [("\x03", 130), ("aban\x1a\x03", 130), ("\x04\x04\x04", 4)] {
        let (exit, said) = on_a_terminal(&line, &[(QUESTION, typed)]);
        assert_eq!(exit, 0, "{said}");
        assert!(said.contains(&format!("ended with {code}")), "{said}");
        assert!(said.contains(" echo ") && !said.contains("-echo "), "{said}");
        assert!(said.contains(" icanon ") && said.contains("susp = ^Z"), "{said}");
        made_nothing(&tablet);
    }
}

#[test]
fn who_has_no_code_can_neither_read_nor_join() {
    let dir = scratch();
    let (desktop, tablet, file, code) = invited(dir.path());
    let mut other: Vec<&str> = code.split('-').collect();
    other[2] = if other[2] == "zoo" { "abandon" } else { "zoo" };
    for (words, why) in [
        (other.join("-"), "the code doesn't open the bundle"),
        (code[..code.rfind('-').unwrap()].to_owned(), "a code has 6 words, and this has 5"),
        (format!("{code}-zoo"), "and this has 7"),
        (format!("x{code}"), "its word number 1 is none"),
        (String::new(), "and this has 0"),
    ] {
        let ran = run(&mut joining(&tablet, &file, &words));
        complains(&ran, 4, &[why, "`mailsync invite` has shown"]);
        assert!(!ran.stderr.contains(&words) || words.is_empty(), "{ran:?}");
        made_nothing(&tablet);
    }
    // Without a terminal there is nobody to ask.
    if are_there(&["setsid"]) {
        let mut command = Command::new("setsid");
        command.arg("--wait").arg(MAILSYNC).env_remove("MAILSYNC_CODE").args(["--home", text(&tablet.home)]);
        let ran = run(command.args(["join", text(&tablet.mail), text(&file)]).stdin(Stdio::null()));
        complains(&ran, 2, &["encrypted with a code, and there is no terminal", "--code-file FILE", "MAILSYNC_CODE"]);
        made_nothing(&tablet);
    }
    // Another replica, and the inviter itself, can't look at it either, and say what it is.
    let laptop = Machine::replica(dir.path(), "laptop");
    for machine in [&laptop, &desktop] {
        machine.refuses(&["inspect", text(&file)], b"", 4, WITHOUT);
        machine.refuses(&["verify", text(&file)], b"", 4, WITHOUT);
        machine.refuses(&["import", text(&file)], b"", 4, &["`mailsync join MAILROOT BUNDLE`"]);
        machine.refuses(&["import"], &fs::read(&file).unwrap(), 4, WITHOUT);
    }
    let ran = laptop.run(&["--json", "import", text(&file)]);
    assert_eq!((ran.code, &ran.json()["bundles"][0]["outcome"]), (4, &"for-someone-else".into()), "{ran:?}");
    // In a directory it is passed over, whatever code is there.
    let share = dir.path().join("share");
    fs::create_dir(&share).unwrap();
    fs::rename(&file, share.join("desktop-tablet-1.zst.age")).unwrap();
    make_peers(&desktop, &laptop);
    desktop.ok(&["export", "--to", "laptop", "-o", text(&share)]);
    let ran = run(laptop.command(&["import", text(&share)]).env("MAILSYNC_CODE", other.join(" ")));
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(laptop.mailbox(), desktop.mailbox());
}

#[test]
fn with_the_code_it_can_be_looked_at() {
    let dir = scratch();
    let (desktop, tablet, file, code) = invited(dir.path());
    let words = code_file(dir.path(), &code);
    for (args, machine) in [(["inspect", "--json"], &tablet), (["inspect", "--json"], &desktop)] {
        let ran = machine.ok(&[&args[..], &[text(&file), "--code-file", text(&words)]].concat());
        let bundle = &ran.json()["bundles"][0];
        assert_eq!((&bundle["encrypted"], &bundle["from"]), (&true.into(), &"desktop".into()), "{bundle}");
        assert_eq!(bundle["manifest"]["invitation"]["token"], "secret");
    }
    let ran = run(desktop.command(&["verify", text(&file)]).env("MAILSYNC_CODE", &code));
    assert!(ran.text().contains("bundle 1 from this replica is whole"), "{ran:?}");
}

#[test]
fn a_file_with_a_code_is_for_its_owner_only() {
    let dir = scratch();
    let (_desktop, tablet, file, code) = invited(dir.path());
    let words = code_file(dir.path(), &code);
    let join = |words: &str| tablet.run(&["join", text(&tablet.mail), text(&file), "--code-file", words]);
    for mode in [0o640, 0o604, 0o622, 0o755] {
        fs::set_permissions(&words, PermissionsExt::from_mode(mode)).unwrap();
        complains(&join(text(&words)), 6, &["open to other users", "chmod 600"]);
    }
    complains(&join("-"), 2, &["would be standard input"]);
    complains(&join(text(&dir.path().join("missing"))), 1, &["reading the code", "No such file"]);
    complains(&join(text(&code_file(dir.path(), &"zoo ".repeat(5000)))), 4, &["a code has 6 words"]);
    made_nothing(&tablet);
}

/// Somebody who wants to be taken for the inviter doesn't know the code, and puts something else there.
#[test]
fn what_is_put_in_the_place_of_an_invitation_with_a_code_is_refused() {
    let dir = scratch();
    let (desktop, tablet, file, code) = invited(dir.path());
    let thief = Machine::replica(dir.path(), "thief");
    let tampered = dir.path().join("tampered");
    thief.ok(&["invite", "tablet", "--plain", "-o", text(&tampered)]);
    complains(&run(&mut joining(&tablet, &tampered, &code)), 4, &["a code was given", "not encrypted with one"]);
    made_nothing(&tablet);
    // For the tablet's own key, which is public.
    fs::create_dir_all(&tablet.home).unwrap();
    let key = mailsync::bundle::PrivateKey::generate("tablet").unwrap();
    fs::write(tablet.home.join("key"), key.to_openssh()).unwrap();
    fs::set_permissions(tablet.home.join("key"), PermissionsExt::from_mode(0o600)).unwrap();
    let to_key = dir.path().join("to-key");
    thief.ok(&["invite", "tablet2", "--key", &key.public_key().to_openssh(), "-o", text(&to_key)]);
    complains(&run(&mut joining(&tablet, &to_key, &code)), 4, &["a code was given", "not encrypted with one"]);
    fs::remove_dir_all(&tablet.home).unwrap();
    // Without the code, the id is what there is to compare.
    let ran = tablet.ok(&["join", text(&tablet.mail), text(&tampered)]);
    assert!(ran.stderr.contains("compare that id"), "{ran:?}");
    // With it, --expect is heeded all the same.
    let phone = Machine::new(dir.path(), "phone");
    let mut command = joining(&phone, &file, &code);
    let ran = run(command.args(["--expect", &thief.public_key().id().to_string()]));
    complains(&ran, 4, &["is expected"]);
    made_nothing(&phone);
    let mut command = joining(&phone, &file, &code);
    assert_eq!(run(command.args(["--expect", &desktop.public_key().id().to_string()])).code, 0);
}

#[test]
fn a_second_invitation_has_a_code_of_its_own_and_either_will_do() {
    let dir = scratch();
    let (desktop, tablet, file, code) = invited(dir.path());
    // Whoever repeats the command doesn't lose the first file, of which nobody can tell what it is.
    let args = ["invite", "tablet", "-o", text(&file)];
    desktop.refuses(
        &args,
        b"",
        6,
        &["there is already a file that is encrypted with a code, as an invitation is; choose another name"],
    );
    let second = dir.path().join("second");
    let ran = desktop.ok(&["invite", "tablet", "-o", text(&second)]);
    assert!(ran.stderr.contains("note: tablet was invited before, and has not answered: either"), "{ran:?}");
    let again = shown(&ran);
    assert_ne!(code, again);
    complains(&run(&mut joining(&tablet, &second, &code)), 4, &["each has a code of its own"]);
    made_nothing(&tablet);
    assert_eq!(run(&mut joining(&tablet, &second, &again)).code, 0);
    // It is one invitation all the same: whoever answers first has used it.
    let late = Machine::new(dir.path(), "late");
    assert_eq!(run(&mut joining(&late, &file, &code)).code, 0);
    let answer = |machine: &Machine| desktop.run_with(&["import"], &machine.ok(&["export"]).stdout);
    assert_eq!(answer(&tablet).code, 0);
    complains(&answer(&late), 4, &["used before"]);
}

#[test]
fn the_parts_of_a_split_invitation_have_one_code() {
    let dir = scratch();
    let (desktop, parts, code) = invited_in_parts(dir.path());
    let files = names(&parts);
    assert!(files.len() > 2 && files.iter().all(|name| name.ends_with(".zst.age")), "{files:?}");
    let tablet = Machine::new(dir.path(), "tablet");
    assert_eq!(run(&mut joining(&tablet, &parts.join(&files[0]), &code)).code, 0);
    assert!(tablet.mailbox().len() < 30);
    let words = code_file(dir.path(), &code);
    // One as a file, one from a pipe, and all of the directory.
    let (second, third) = (parts.join(&files[1]), fs::read(parts.join(&files[2])).unwrap());
    tablet.refuses(&["import", text(&second)], b"", 4, WITHOUT);
    tablet.ok(&["import", text(&second), "--code-file", text(&words)]);
    let ran = tablet.run_with(&["import", "--code-file", text(&words)], &third);
    assert_eq!(ran.code, 0, "{ran:?}");
    tablet.ok(&["import", text(&parts), "--code-file", text(&words)]);
    assert_eq!(tablet.mailbox(), desktop.mailbox());

    // One behind the other, they are joined from in one go.
    let all: Vec<u8> = files.iter().flat_map(|name| fs::read(parts.join(name)).unwrap()).collect();
    let phone = Machine::new(dir.path(), "phone");
    let ran = phone.run_with(&["join", text(&phone.mail), "--code-file", text(&words)], &all);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(phone.mailbox(), desktop.mailbox());
}

#[test]
fn parts_in_a_directory_say_that_they_need_the_code_as_long_as_something_is_missing() {
    let dir = scratch();
    let (desktop, parts, code) = invited_in_parts(dir.path());
    let (files, tablet) = (names(&parts), Machine::new(dir.path(), "tablet"));
    let words = code_file(dir.path(), &code);
    let import = ["import", text(&parts)];
    // A replica is made from one file.
    let join = tablet.run(&["join", text(&tablet.mail), text(&parts), "--code-file", text(&words)]);
    complains(&join, 2, &["parts is a directory", "of one in several parts the first", "`mailsync import DIR`"]);
    made_nothing(&tablet);

    assert_eq!(run(&mut joining(&tablet, &parts.join(&files[0]), &code)).code, 0);
    let others = format!("and {} others beside it are", files.len() - 1);
    let ran = tablet.refuses(&import, b"", 4, &[WITHOUT, &[&files[0], &others, "MAILSYNC_CODE"]].concat());
    assert!(!ran.stderr.contains("for others"), "{ran:?}");
    tablet.refuses(&["import", "--dry-run", text(&parts)], b"", 4, WITHOUT);
    let ran = tablet.run(&["--json", "import", text(&parts)]);
    let told = &ran.json()["bundles"][0];
    assert_eq!((&told["outcome"], &told["file"]), (&"for-someone-else".into(), &text(&parts.join(&files[0])).into()));
    assert_eq!((ran.code, told["error"]["kind"].as_str()), (4, Some("rejected")), "{ran:?}");
    // So does whoever looks by itself.
    tablet.configure(&format!("[watch]\nreceive = [{:?}]", text(&parts)));
    let ran = tablet.run(&["watch", "--once"]);
    assert!(ran.code == 4 && WITHOUT.iter().all(|words| ran.stderr.contains(words)), "{ran:?}");
    // The words of another invitation.
    let (_, _, _, other) = invited(&dir.path().join("elsewhere"));
    let ran = run(tablet.command(&import).env("MAILSYNC_CODE", &other));
    complains(&ran, 4, &[&files[0], "another code than the one that was given", "`mailsync invite` has shown"]);

    tablet.ok(&["import", text(&parts), "--code-file", text(&words)]);
    assert_eq!(tablet.mailbox(), desktop.mailbox());
    // By then they may be anybody's.
    let ran = tablet.ok(&import);
    assert!(
        ran.stderr.contains("files there are encrypted with a code") && ran.stderr.contains("--code-file"),
        "{ran:?}"
    );
    let ran = run(tablet.command(&import).env("MAILSYNC_CODE", &other));
    assert!(ran.code == 0 && ran.stderr.contains("encrypted with another code than"), "{ran:?}");
}

#[test]
fn a_code_is_shown_where_it_is_wanted_and_only_if_there_is_one() {
    let dir = scratch();
    let (desktop, _laptop) = pair(dir.path());
    desktop.deliver("one");
    let file = |name: &str| dir.path().join(name);
    // A file without its code would be of no use: it is shown however quiet it is to be.
    let ran = desktop.ok(&["--quiet", "invite", "a", "-o", text(&file("a"))]);
    assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
    shown(&ran);
    let ran = desktop.ok(&["--json", "invite", "b", "-o", text(&file("b"))]);
    let code = ran.json()["code"].as_str().unwrap().to_owned();
    assert!(!ran.stderr.contains(&code), "{ran:?}");
    assert_eq!((&ran.json()["name"], &ran.json()["bundles"][0]["file"]), (&"b".into(), &text(&file("b")).into()));
    let b = Machine::new(dir.path(), "b-machine");
    assert_eq!(run(&mut joining(&b, &file("b"), &code)).code, 0);
    // On standard output is the bundle alone, encrypted only if that is asked for.
    let ran = desktop.ok(&["invite", "c", "--encrypt"]);
    assert!(ran.stdout.starts_with(AGE));
    let code = shown(&ran);
    let c = Machine::new(dir.path(), "c-machine");
    let mut command = c.command(&["join", text(&c.mail)]);
    assert_eq!(programs::run_with(command.env("MAILSYNC_CODE", &code), &ran.stdout).code, 0);
    assert_eq!(c.mailbox(), desktop.mailbox());
    for (name, args) in [("d", &[][..]), ("e", &["--plain"])] {
        let ran = desktop.ok(&[&["invite", name], args].concat());
        assert!(!ran.stdout.starts_with(b"age") && !ran.stderr.contains("shown this once"), "{}", ran.stderr);
        assert!(ran.stderr.contains("can read the mail in it and join once: carry it with care"), "{}", ran.stderr);
    }
    // The configuration decides as for other bundles.
    desktop.configure("[peer.f]\nencrypt = \"never\"\n[peer.g]\nencrypt = \"always\"");
    let ran = desktop.ok(&["invite", "f", "-o", text(&file("f"))]);
    assert!(!fs::read(file("f")).unwrap().starts_with(b"age"), "{ran:?}");
    assert!(desktop.ok(&["invite", "g"]).stdout.starts_with(AGE));
    // If it can't be shown, nothing is written.
    let mut command = desktop.command(&["invite", "h", "-o", text(&file("h"))]);
    let ran = run(command.stderr(Stdio::from(fs::File::create("/dev/full").unwrap())));
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(!file("h").exists());
}

#[test]
fn an_invitation_that_can_not_be_written_invites_nobody_and_shows_no_code() {
    let dir = scratch();
    let (desktop, tablet, earlier, code) = invited(dir.path());
    let [key, taken, out] = ["key", "taken", "out"].map(|name| dir.path().join(name));
    fs::write(&key, Machine::replica(dir.path(), "phone").key()).unwrap();
    fs::write(&taken, "somebody's").unwrap();
    fs::create_dir(&out).unwrap();
    let peers = || desktop.ok(&["peer", "list", "--json"]).json();
    let before = peers();
    let cases = ["new", "tablet --expires 60", &format!("phone --key {}", text(&key))].map(str::to_owned);
    for who in cases {
        let ran = desktop.run(&[&["invite"], &who.split(' ').collect::<Vec<_>>()[..], &["-o", text(&taken)]].concat());
        complains(&ran, 6, &["there is already a file that is no bundle"]);
        assert!(!ran.stderr.contains("the code for"), "{ran:?}");
        assert_eq!(peers(), before, "{who}");
        for target in ["-o out", "-o out/x", "--encrypt > out/x"].map(|target| target.replace("out", text(&out))) {
            let line = format!(
                "mount -t tmpfs -o size=64k tmpfs {out} && cat /dev/zero > {out}/ballast 2> /dev/null; {} {target}; code=$?; \
                 ls -A {out} >&2; exit $code",
                desktop.line(&format!("invite {who}")),
                out = text(&out),
            );
            let Some(ran) = among_own_mounts(&line) else { return };
            assert_eq!(ran.code, 1, "{who}, {target}: {ran:?}");
            assert!(ran.stderr.contains("make room"), "{who}, {target}: {ran:?}");
            assert!(
                !ran.stderr.contains("the code for") && !ran.stderr.contains("counts as invited"),
                "{target}: {ran:?}"
            );
            assert_eq!(peers(), before, "{who}, {target}");
        }
    }
    // The earlier one is as good as it was.
    assert_eq!(run(&mut joining(&tablet, &earlier, &code)).code, 0);
    let answer = tablet.ok(&["export", "--to", "desktop"]).stdout;
    assert_eq!(desktop.run_with(&["import"], &answer).code, 0);
}

#[test]
fn of_a_split_invitation_for_which_there_was_no_room_the_first_part_has_its_code() {
    let dir = scratch();
    let (desktop, ..) = invited_in_parts(dir.path());
    let out = dir.path().join("out");
    fs::create_dir(&out).unwrap();
    let line = format!(
        "mount -t tmpfs -o size=96k tmpfs {out} && {}; code=$?; ls {out} >&2; exit $code",
        desktop.line(&format!("invite phone --split 64K -o {}", text(&out))),
        out = text(&out),
    );
    let Some(ran) = among_own_mounts(&line) else { return };
    assert!(ran.code == 1 && ran.stderr.contains("add --split SIZE"), "{ran:?}");
    assert!(ran.stderr.contains("desktop-phone-") && ran.stderr.contains("the code for phone"), "{ran:?}");
    assert!(desktop.ok(&["peer", "list"]).text().contains("phone"));
}

#[test]
fn a_terminal_shows_a_code_as_a_qr_code() {
    let dir = scratch();
    let desktop = Machine::replica(dir.path(), "desktop");
    let file = dir.path().join("file");
    let args = ["invite", "tablet", "--qr", "-o", text(&file)];
    desktop.refuses(&args, b"", 2, &["standard error is no terminal", "without --qr"]);
    assert!(!file.exists());
    if !are_there(&["python3"]) {
        return;
    }
    let (exit, said) = on_a_terminal(&desktop.line(&args.join(" ")), &[]);
    assert_eq!(exit, 0, "{said}");
    let blocks = said.lines().filter(|line| line.trim_end().chars().all(|c| "\u{2588}\u{2580}\u{2584} ".contains(c)));
    assert!(blocks.filter(|line| !line.trim().is_empty()).count() > 14, "{said}");
    assert!(said.contains("which is shown this once: "));
}

#[test]
fn age_opens_it_with_the_code_as_the_passphrase() {
    if !are_there(&["python3", "age", "zstd", "tar"]) {
        return;
    }
    let dir = scratch();
    let (_desktop, _tablet, file, code) = invited(dir.path());
    let out = dir.path().join("out");
    fs::create_dir(&out).unwrap();
    let line = format!("age -d -o {0}/b.zst {1}; zstd -qdc {0}/b.zst | tar -x -C {0}", text(&out), text(&file));
    let (exit, said) = on_a_terminal(&line, &[("Enter passphrase", &format!("{code}\n"))]);
    assert_eq!(exit, 0, "{said}");
    assert_eq!(names(&out.join("messages")).len(), 1);
}
