//! Two machines, one line: `mailsync export --to server | ssh server mailsync import --reply | mailsync import`,
//! through a real sshd on the loopback interface.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::machine::{Machine, pair};
use crate::support::programs::{self, MAILSYNC, Ran, Server, free_port, run, run_with};
use crate::support::{scratch, text};

/// An sshd of this test's own, which ends with it.
struct Sshd {
    _server: Server,
    dir: PathBuf,
    port: u16,
}

impl Sshd {
    /// Starts one that lets the server's peers in, with the options that stand before their keys in `authorized_keys`.
    fn start(dir: &Path, keys: &[(&str, &str)]) -> Option<Self> {
        Self::start_with(dir, keys, "")
    }

    /// The same with more lines of configuration.
    fn start_with(dir: &Path, keys: &[(&str, &str)], config: &str) -> Option<Self> {
        let sshd = programs::find("sshd")?;
        if programs::are_run_by_root() && !Path::new("/run/sshd").is_dir() {
            programs::leave_out("root's sshd wants the directory /run/sshd");
            return None;
        }
        for program in ["ssh", "ssh-keygen"] {
            programs::find(program)?;
        }
        let dir = dir.join("ssh");
        fs::create_dir(&dir).unwrap();
        let keygen = ["-q", "-t", "ed25519", "-N", "", "-f"];
        assert_eq!(run(Command::new("ssh-keygen").args(keygen).arg(dir.join("host"))).code, 0);
        let mut authorized = String::new();
        for (name, options) in keys {
            assert_eq!(run(Command::new("ssh-keygen").args(keygen).arg(dir.join(name))).code, 0);
            let public = fs::read_to_string(dir.join(format!("{name}.pub"))).unwrap();
            authorized.extend([options, " ", &public]);
        }
        fs::write(dir.join("authorized_keys"), authorized).unwrap();
        for _ in 0..20 {
            let port = free_port();
            let text = format!(
                "ListenAddress 127.0.0.1:{port}\nHostKey {dir}/host\nAuthorizedKeysFile {dir}/authorized_keys\n\
                 PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
                 PermitRootLogin yes\nLogLevel INFO\n{config}\n",
                dir = dir.display()
            );
            fs::write(dir.join("sshd_config"), text).unwrap();
            let mut command = Command::new(&sshd);
            command.args(["-D", "-e", "-f"]).arg(dir.join("sshd_config"));
            let mut server = Server(command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
            let mut lines = BufReader::new(server.0.stderr.take().unwrap()).lines().map_while(Result::ok);
            let listening = lines.by_ref().any(|line| line.contains("Server listening"));
            // What it says later must go somewhere.
            std::thread::spawn(move || lines.for_each(drop));
            if listening {
                return Some(Self { _server: server, dir, port });
            }
        }
        panic!("sshd can't be started");
    }

    /// The ssh command to this server, with this key.
    fn ssh(&self, key: &str) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]);
        ssh.args([
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "IdentityAgent=none",
            "-o",
            "LogLevel=ERROR",
            "-o",
            "BatchMode=yes",
        ]);
        ssh.arg("-i").arg(self.dir.join(key)).arg("-p").arg(self.port.to_string()).arg("127.0.0.1");
        ssh.env_remove("SSH_AUTH_SOCK");
        ssh
    }
}

/// What the line in the manual does: the sender's bundle goes to the other machine, whose answer is imported here.
fn exchange_over(here: &Machine, there: &Machine, ssh: &mut Command) -> Ran {
    let bundle = here.ok(&["export", "--to", &there.name]).stdout;
    let answer = run_with(ssh, &bundle);
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    here.run_with(&["import"], &answer.stdout)
}

fn both_have_mail(dir: &Path) -> (Machine, Machine) {
    let (laptop, server) = pair(dir);
    for n in 0..20 {
        laptop.put("INBOX", &format!("cur/{n}.l:2,S"), format!("Subject: laptop {n}\n\n"), 1_500_000_000 + n);
        server.put("Sent", &format!("new/{n}.s"), format!("Subject: server {n}\n\n"), 1_600_000_000 + n);
    }
    // Something that can't be compressed, so that a line can break in the midst of it.
    let mut noise: u64 = 1;
    let text: String = std::iter::repeat_with(|| {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b'0' + u8::try_from((noise >> 33) % 75).unwrap())
    })
    .take(400_000)
    .collect();
    laptop.put("INBOX", "cur/big.l:2,", format!("Subject: big\n\n{text}\n"), 1_500_000_100);
    (laptop, server)
}

#[test]
fn one_line_makes_both_ends_the_same() {
    let dir = scratch();
    let Some(sshd) = Sshd::start(dir.path(), &[("any", "")]) else { return };
    let (laptop, server) = both_have_mail(dir.path());
    // As a shell runs it.
    let line = format!(
        "set -o pipefail; {} export --to {} | {} {} | {} import",
        laptop.line(""),
        server.name,
        shell(&sshd.ssh("any")),
        quoted(&server.line("import --reply")),
        laptop.line(""),
    );
    let ran = run(Command::new("bash").arg("-c").arg(&line));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(ran.stdout, b"");
    assert_eq!(laptop.mailbox().len(), 41);
    assert_eq!(laptop.mailbox(), server.mailbox());
    // Both know now that the other has all: the next time next to nothing goes over the line, and nothing is left to
    // do.
    let bundle = laptop.ok(&["export", "--to", &server.name]).stdout;
    assert!(bundle.len() < 4096, "{} bytes", bundle.len());
    let again = run(Command::new("bash").arg("-c").arg(&line));
    assert_eq!(again.code, 0, "{}", again.stderr);
    assert!(again.stderr.contains("nothing new"), "{}", again.stderr);
}

/// Two machines, both of which have mail, and an sshd whose key `only` lets the first exchange bundles with the second.
fn with_a_key_for_bundles_only(dir: &Path) -> Option<(Sshd, Machine, Machine)> {
    let home = dir.join("laptop");
    let command = format!("{MAILSYNC} --home {} import --reply", home.display());
    let sshd = Sshd::start(dir, &[("only", &format!("restrict,command=\"{command}\""))])?;
    let (desktop, server) = both_have_mail(dir);
    assert_eq!(server.home, home);
    Some((sshd, desktop, server))
}

#[test]
fn a_key_that_may_only_exchange_bundles_is_enough() {
    let dir = scratch();
    let Some((sshd, desktop, server)) = with_a_key_for_bundles_only(dir.path()) else { return };
    // Whatever the other end asks for, this is what it gets.
    let ran = exchange_over(&desktop, &server, sshd.ssh("only").arg(format!("rm -r {}", text(&server.mail))));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(desktop.mailbox(), server.mailbox());
    assert_eq!(desktop.mailbox().len(), 41);
    // What is no bundle, or none at all, does no harm, and the exit code comes back through ssh.
    for (sent, code) in [(&b"GET / HTTP/1.0\r\n\r\n"[..], 4), (b"", 4)] {
        let refused = run_with(&mut sshd.ssh("only"), sent);
        assert_eq!((refused.code, refused.stdout.len()), (code, 0), "{}", refused.stderr);
    }
    assert_eq!(desktop.mailbox(), server.mailbox());
}

#[test]
fn an_update_goes_through_a_key_that_may_only_exchange_bundles() {
    let dir = scratch();
    let Some((sshd, desktop, server)) = with_a_key_for_bundles_only(dir.path()) else { return };
    // What stands behind the host in the manual's `call` is not what decides here.
    let ssh = sshd.ssh("only");
    let call = std::iter::once(ssh.get_program()).chain(ssh.get_args()).map(|word| word.to_str().unwrap());
    desktop.reach_by(&server.name, &call.chain(["mailsync", "import", "--reply"]).collect::<Vec<_>>());

    let ran = desktop.ok(&["update"]);
    assert!(ran.stdout.is_empty() && ran.stderr.contains(": sent, and received 20 new"), "{ran:?}");
    assert_eq!(desktop.mailbox().len(), 41);
    assert_eq!(desktop.mailbox(), server.mailbox());
    server.put("Sent", "new/later.s", "Subject: later\n\n", 1_600_000_100);
    fs::remove_file(desktop.dir("INBOX").join("cur/0.l:2,S")).unwrap();
    let told = desktop.ok(&["update", "--json"]).json();
    assert_eq!(told["peers"][0]["bundles"][0]["outcome"], "applied", "{told}");
    assert_eq!(desktop.mailbox().len(), 41);
    assert_eq!(desktop.mailbox(), server.mailbox());

    // What the other end refuses, it says through ssh, and the exit code is its own.
    server.ok(&["peer", "remove", &desktop.name]);
    let (here, there) = (desktop.mailbox(), server.mailbox());
    let refused = desktop.run(&["update"]);
    assert_eq!(refused.code, 4, "{}", refused.stderr);
    assert!(refused.stderr.contains("unknown sender") && refused.stderr.contains("ended with"), "{}", refused.stderr);
    // A server that can't be reached at all.
    drop(sshd);
    let refused = desktop.run(&["update"]);
    assert_eq!(refused.code, 7, "{}", refused.stderr);
    assert_eq!((desktop.mailbox(), server.mailbox()), (here, there));
}

/// The line of the manual.
const RESTRICTED: &str = "restrict,command=\"mailsync import --reply --quiet\"";

/// A desktop and a server that have mail, and an sshd of the server that has the line of the manual for the key `only`,
/// and nothing before the key `any`. The server's account finds `mailsync` and its home by its environment.
fn with_the_line_of_the_manual(dir: &Path) -> Option<(Sshd, Machine, Machine)> {
    let (desktop, server) = both_have_mail(dir);
    let path = Path::new(MAILSYNC).parent().unwrap().display();
    let config = format!(
        "SetEnv MAILSYNC_HOME={} PATH={path}:/usr/bin:/bin\nSubsystem sftp internal-sftp\n",
        server.home.display()
    );
    let sshd = Sshd::start_with(dir, &[("only", RESTRICTED), ("any", "")], &config)?;
    Some((sshd, desktop, server))
}

#[test]
fn the_restricted_key_of_the_manual_carries_the_one_line_exchange_and_an_update() {
    let dir = scratch();
    let Some((sshd, desktop, server)) = with_the_line_of_the_manual(dir.path()) else { return };
    let line = format!(
        "set -o pipefail; {} export --to {} | {} mailsync import --reply | {} import",
        desktop.line(""),
        server.name,
        shell(&sshd.ssh("only")),
        desktop.line(""),
    );
    let ran = run(Command::new("bash").arg("-c").arg(&line));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(desktop.mailbox().len(), 41);
    assert_eq!(desktop.mailbox(), server.mailbox());

    let ssh = sshd.ssh("only");
    let call = std::iter::once(ssh.get_program()).chain(ssh.get_args()).map(|word| word.to_str().unwrap());
    desktop.reach_by(&server.name, &call.collect::<Vec<_>>());
    server.put("Sent", "new/later.s", "Subject: later\n\n", 1_600_000_100);
    let ran = desktop.ok(&["--quiet", "update"]);
    assert_eq!(ran.stderr, "", "the server's --quiet is in the line");
    assert_eq!(desktop.mailbox().len(), 42);
    assert_eq!(desktop.mailbox(), server.mailbox());
}

#[test]
fn nothing_but_an_exchange_can_be_done_with_the_restricted_key() {
    let dir = scratch();
    let Some((sshd, desktop, server)) = with_the_line_of_the_manual(dir.path()) else { return };
    let secret = server.home.join("key");
    let bundle = desktop.ok(&["export", "--to", &server.name]).stdout;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let inside = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
    let forward = format!("0:{inside}");
    let mark = dir.path().join("mark");
    let touch = format!("touch '{}'", mark.display());
    let cat = format!("cat '{}'", secret.display());
    // What a key without restrictions is good for, that one isn't.
    for key in ["any", "only"] {
        let free = key == "any";
        let attempt = |before: &[&str], after: &[&str], input: &[u8]| {
            let mut ssh = Command::new("timeout");
            let plain = sshd.ssh(key);
            ssh.arg("10").arg(plain.get_program()).args(before).args(plain.get_args()).args(after);
            run_with(&mut ssh, input)
        };
        let ran = attempt(&[], &[&cat], b"");
        assert_eq!(ran.text().contains("PRIVATE KEY"), free, "{key}: {ran:?}");
        assert_eq!(ran.code, if free { 0 } else { 4 }, "{key}: an empty bundle: {ran:?}");
        attempt(&[], &[&touch], b"");
        assert_eq!(mark.exists(), free, "{key}");
        drop(fs::remove_file(&mark));
        // The port that ssh gives as `-p` is an option here.
        let mut sftp = Command::new("sftp");
        sftp.args(["-q", "-b", "-", "-o", &format!("Port={}", sshd.port)]);
        sftp.args(sshd.ssh(key).get_args().filter(|arg| !["-p", &sshd.port.to_string()].map(OsStr::new).contains(arg)));
        let got = dir.path().join("got");
        run_with(&mut sftp, format!("get {} {}\n", secret.display(), got.display()).as_bytes());
        assert_eq!(got.exists(), free, "{key}");
        drop(fs::remove_file(&got));
        // Connections into the server's network, and from there.
        let ended = AtomicBool::new(false);
        let reached = std::thread::scope(|scope| {
            let reached = scope.spawn(|| {
                loop {
                    // What is accepted is closed at once, and so ssh ends.
                    match listener.accept() {
                        Ok(_) => return true,
                        Err(_) if ended.load(Ordering::Relaxed) => return false,
                        Err(_) => std::thread::sleep(std::time::Duration::from_millis(10)),
                    }
                }
            });
            attempt(&["-W", &inside], &[], b"x");
            ended.store(true, Ordering::Relaxed);
            reached.join().unwrap()
        });
        assert_eq!(reached, free, "{key}");
        let ran = attempt(&["-o", "ExitOnForwardFailure=yes", "-R", &forward], &["true"], b"");
        assert_eq!(ran.code == 0, free, "{key}: {ran:?}");
        // A terminal, and another home.
        let ran = attempt(&["-tt"], &["test -t 0"], b"");
        assert_eq!(ran.code == 0, free, "{key}: {ran:?}");
        let ran = attempt(&["-o", "SetEnv=MAILSYNC_HOME=/nowhere"], &["mailsync import --reply"], &bundle);
        // The first bundle is answered, and its copy isn't, whatever the key.
        assert_eq!((ran.code, ran.stdout.is_empty()), if free { (0, false) } else { (6, true) }, "{key}: {ran:?}");
    }
}

#[test]
fn a_connection_that_breaks_leaves_all_as_it_was_and_is_repeated() {
    let dir = scratch();
    let Some(sshd) = Sshd::start(dir.path(), &[("any", "")]) else { return };
    let (laptop, server) = both_have_mail(dir.path());
    let bundle = laptop.ok(&["export", "--to", &server.name]).stdout;
    assert!(bundle.len() > 200_000, "{}", bundle.len());
    let (here, there) = (laptop.mailbox(), server.mailbox());
    let command = server.line("import --reply");

    // The sender's end breaks off: what arrived is the beginning of a bundle.
    for length in [0, 1, 1000, bundle.len() / 2, bundle.len() - 1] {
        let ran = run_with(sshd.ssh("any").arg(&command), &bundle[..length]);
        assert_eq!((ran.code, ran.stdout.len()), (4, 0), "{length} bytes: {}", ran.stderr);
        assert_eq!(server.mailbox(), there, "after {length} bytes");
    }
    // ssh is killed while it carries: sshd's child sees the end of its input, or is hung up.
    let mut ssh = sshd.ssh("any").arg(&command).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut pipe = ssh.stdin.take().unwrap();
    pipe.write_all(&bundle[..bundle.len() / 2]).unwrap();
    pipe.flush().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    ssh.kill().unwrap();
    ssh.wait().unwrap();
    // The next command waits for the lock, if need be.
    server.ok(&["scan"]);
    assert_eq!(server.mailbox(), there);
    let left = walkdir::WalkDir::new(&server.mail).into_iter().map(Result::unwrap);
    let left: Vec<_> =
        left.filter(|item| item.file_type().is_file() && item.path().parent().unwrap().ends_with("tmp")).collect();
    assert!(left.is_empty(), "{left:?}");

    // The answer breaks off: the server has all, and here nothing changed.
    let answer = run_with(sshd.ssh("any").arg(&command), &bundle);
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    assert_eq!(server.mailbox().len(), 41);
    let ran = laptop.run_with(&["import"], &answer.stdout[..answer.stdout.len() / 2]);
    assert_eq!(ran.code, 4, "{}", ran.stderr);
    assert_eq!(laptop.mailbox(), here);

    // Repeated, all is well, although the server had imported it before.
    let ran = exchange_over(&laptop, &server, sshd.ssh("any").arg(&command));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(laptop.mailbox(), server.mailbox());
    assert_eq!(laptop.mailbox().len(), 41);
}

/// A command as it is typed.
fn shell(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| quoted(word.to_str().unwrap())).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    format!("'{word}'")
}
