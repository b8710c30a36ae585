//! Mail is delivered into a replica's Maildirs by the programs that people use for that, before mailsync looks and while
//! it does. It arrives at the other machine byte by byte, what is done to it there comes back, and the next delivery
//! works as the first.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use mailsync::model::Digest;

use crate::support::machine::{Machine, pair, pass};
use crate::support::programs::{self, run, run_with};
use crate::support::{make_folder, scratch, text};

/// A program that delivers one message at a time to a machine: those about `list` into a folder, all others into the
/// INBOX.
trait Agent: Sync {
    fn deliver(&self, message: &str);
}

/// A program that gets the message on its standard input.
struct Piped {
    home: PathBuf,
    line: Vec<String>,
}

impl Piped {
    /// With this configuration in a file, whose name stands for `CONF` in the arguments.
    fn new(dir: &Path, conf: &str, line: &[&str]) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let file = dir.join("agent.conf");
        fs::write(&file, conf).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let line = line.iter().map(|part| part.replace("CONF", text(&file))).collect();
        Self { home: dir.to_owned(), line }
    }
}

impl Agent for Piped {
    fn deliver(&self, message: &str) {
        let mut command = Command::new(&self.line[0]);
        command.args(&self.line[1..]).current_dir(&self.home).env("HOME", &self.home).env_remove("MAILDIR");
        let ran = run_with(&mut command, message.as_bytes());
        assert_eq!(ran.code, 0, "{:?}: {ran:?}", self.line);
    }
}

/// A message as a mail server hands it to an agent.
fn message(name: &str) -> String {
    format!(
        "From: Ann <ann@example.org>\nTo: ben@example.org\nDate: Mon, 6 Jan 2020 10:00:00 +0000\n\
         Message-ID: <{name}@example.org>\nSubject: {name}\n\nThis is {name}, with an\u{fc}mlaut\nFrom here on.\n"
    )
}

/// Where each message lies, by its subject: folder, flags, and what it holds. What lies in `new/` has the flag `new`.
fn mail(machine: &Machine) -> BTreeMap<String, (String, String, Digest)> {
    let mut mail = BTreeMap::new();
    for (digest, found, path) in machine.files() {
        let contents = fs::read_to_string(&path).unwrap();
        let subject = contents.split_once("Subject: ").unwrap().1.lines().next().unwrap().to_owned();
        assert!(contents.ends_with(message(&subject).split_once("\n\n").unwrap().1), "{contents:?}");
        let flags = if found.recent { "new".to_owned() } else { found.flags };
        let before = mail.insert(subject.clone(), (found.folder, flags, digest));
        assert_eq!(before, None, "{subject} is there twice at {}", machine.name);
    }
    mail
}

/// The base of a message's name.
fn base(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().split(":2,").next().unwrap().to_owned()
}

fn path(machine: &Machine, subject: &str) -> PathBuf {
    let holds = |path: &PathBuf| fs::read_to_string(path).unwrap().contains(&format!("Subject: {subject}\n"));
    machine.files().into_iter().map(|(_, _, path)| path).find(holds).unwrap_or_else(|| panic!("no {subject}"))
}

fn place(folder: &str, flags: &str) -> (String, String) {
    (folder.to_owned(), flags.to_owned())
}

/// Delivers by this agent, and sees what becomes of it on two machines.
fn deliver(laptop: &Machine, desktop: &Machine, agent: &dyn Agent) {
    // Before anybody looks.
    for name in ["first", "list of one"] {
        agent.deliver(&message(name));
    }
    let names: Vec<PathBuf> = laptop.files().into_iter().map(|(_, _, path)| path).collect();
    let report = pass(laptop, desktop).stderr;
    assert!(report.contains("2 new"), "{report}");
    assert_eq!(mail(desktop), mail(laptop));
    let of = |machine: &Machine, subject: &str| {
        let (folder, flags, _) = mail(machine).remove(subject).unwrap();
        (folder, flags)
    };
    assert_eq!(of(desktop, "first"), place("INBOX", "new"));
    assert_eq!(of(desktop, "list of one"), place("Lists", "new"));
    assert_eq!(laptop.files().into_iter().map(|(_, _, path)| path).collect::<Vec<_>>(), names, "no name was changed");

    // While mailsync is at work on both sides.
    std::thread::scope(|scope| {
        let delivery = scope.spawn(|| {
            for n in 0..12 {
                agent.deliver(&message(&format!("m{n}")));
                agent.deliver(&message(&format!("list m{n}")));
            }
        });
        let mut rounds = 0;
        while !delivery.is_finished() || rounds < 3 {
            pass(laptop, desktop);
            pass(desktop, laptop);
            rounds += 1;
        }
    });
    pass(laptop, desktop);
    assert_eq!(mail(laptop).len(), 26);
    assert_eq!(mail(desktop), mail(laptop));

    // What is done there is done to the agent's own files here.
    let (flagged, removed) = (path(laptop, "first"), path(laptop, "list m4"));
    fs::rename(path(desktop, "first"), desktop.dir("INBOX").join("cur/read:2,FS")).unwrap();
    fs::rename(path(desktop, "m3"), desktop.dir("Lists").join("cur/moved:2,R")).unwrap();
    fs::remove_file(path(desktop, "list m4")).unwrap();
    let report = pass(desktop, laptop).stderr;
    assert!(report.contains("0 new, 1 moved, 2 flagged, 1 removed"), "{report}");
    assert_eq!(of(laptop, "first"), place("INBOX", "FS"));
    assert_eq!(of(laptop, "m3"), place("Lists", "R"));
    assert_eq!(base(&path(laptop, "first")), base(&flagged));
    assert!(!removed.exists());

    // And the next delivery finds everything as it needs it.
    for name in ["last", "list of last"] {
        agent.deliver(&message(name));
    }
    let report = pass(laptop, desktop).stderr;
    assert!(report.contains("2 new"), "{report}");
    assert_eq!(mail(laptop).len(), 27);
    assert_eq!(mail(desktop), mail(laptop));
    for machine in [laptop, desktop] {
        machine.is_at_rest("after all deliveries");
    }
}

/// Two machines, and the directory of the agent. `None` if the test is left out.
fn two(dir: &Path, program: &str) -> Option<(Machine, Machine)> {
    programs::find(program)?;
    let (desktop, laptop) = pair(dir);
    make_folder(&laptop.dir("Lists"));
    Some((laptop, desktop))
}

#[test]
fn procmail_delivers_where_mailsync_works() {
    if !programs::become_an_ordinary_user() {
        return;
    }
    let dir = scratch();
    let Some((laptop, desktop)) = two(dir.path(), "procmail") else { return };
    let root = laptop.mail.display();
    let conf = format!(
        "SHELL=/bin/sh\nMAILDIR={root}\nDEFAULT={root}/\nORGMAIL={root}/\nLOGFILE={}/log\n\n\
         :0\n* ^Subject: list\n.Lists/\n",
        dir.path().display()
    );
    deliver(&laptop, &desktop, &Piped::new(dir.path(), &conf, &["procmail", "-m", "CONF"]));
}

#[test]
fn maildrop_delivers_where_mailsync_works() {
    if !programs::become_an_ordinary_user() {
        return;
    }
    let dir = scratch();
    let Some((laptop, desktop)) = two(dir.path(), "maildrop") else { return };
    let root = laptop.mail.display();
    let conf = format!("if (/^Subject: list/)\n{{\n  to \"{root}/.Lists\"\n}}\nto \"{root}\"\n");
    deliver(&laptop, &desktop, &Piped::new(dir.path(), &conf, &["maildrop", "CONF"]));
}

#[test]
fn fdm_delivers_where_mailsync_works() {
    if !programs::become_an_ordinary_user() {
        return;
    }
    let dir = scratch();
    let Some((laptop, desktop)) = two(dir.path(), "fdm") else { return };
    let root = laptop.mail.display();
    let conf = format!(
        "set lock-file \"{root}.lock\"\naccount \"in\" stdin\naction \"inbox\" maildir \"{root}\"\naction \"lists\" maildir \"{root}/.Lists\"\n\
         match \"^Subject: list\" in headers action \"lists\"\nmatch all action \"inbox\"\n"
    );
    deliver(&laptop, &desktop, &Piped::new(dir.path(), &conf, &["fdm", "-q", "-f", "CONF", "-a", "in", "fetch"]));
}

/// getmail, which fetches what a POP3 server has.
struct Getmail {
    home: PathBuf,
    waiting: Arc<Mutex<Vec<String>>>,
}

impl Getmail {
    /// With a server of its own, which ends with the test's process: each connection is a session with the messages
    /// that wait.
    fn new(home: &Path, mail: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let waiting: Arc<Mutex<Vec<String>>> = Arc::default();
        let served = Arc::clone(&waiting);
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                pop3(connection.unwrap(), &served);
            }
        });
        for (rc, folder) in [("inbox.rc", ""), ("lists.rc", ".Lists/")] {
            let conf = format!(
                "[retriever]\ntype = SimplePOP3Retriever\nserver = 127.0.0.1\nport = {port}\nusername = ben\n\
                 password = x\n\n[destination]\ntype = Maildir\npath = {}/{folder}\n\n\
                 [options]\ndelete = true\ndelivered_to = false\nreceived = false\nverbose = 0\n",
                mail.display()
            );
            fs::write(home.join(rc), conf).unwrap();
        }
        Self { home: home.to_owned(), waiting }
    }
}

impl Agent for Getmail {
    fn deliver(&self, message: &str) {
        self.waiting.lock().unwrap().push(message.to_owned());
        let rc = if message.contains("Subject: list") { "lists.rc" } else { "inbox.rc" };
        let mut command = Command::new("getmail");
        command.arg("-q").arg("-g").arg(&self.home).arg("-r").arg(self.home.join(rc));
        let ran = run(command.env("HOME", &self.home).current_dir(&self.home));
        // Its child may have ended before it begins to wait for that: then it misses the signal, and gives up after a
        // minute, when the message has long been delivered. What follows looks for it.
        if ran.stderr.contains("waiting child pid") {
            self.waiting.lock().unwrap().clear();
            return;
        }
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(self.waiting.lock().unwrap().is_empty(), "{ran:?}");
    }
}

/// One session of a POP3 server (RFC 1939) that has these messages. What was deleted is gone at its end.
fn pop3(connection: std::net::TcpStream, waiting: &Mutex<Vec<String>>) {
    let mail: Vec<String> = waiting.lock().unwrap().iter().map(|mail| mail.replace('\n', "\r\n")).collect();
    let (mut answers, mut deleted) = (connection.try_clone().unwrap(), Vec::new());
    answers.write_all(b"+OK\r\n").unwrap();
    for line in BufReader::new(connection).lines() {
        let Ok(line) = line else { return };
        let (command, argument) = line.split_once(' ').unwrap_or((&line, ""));
        let number = argument.split(' ').next().and_then(|number| number.parse::<usize>().ok());
        let of_each = |what: &dyn Fn(&String) -> String| {
            let each = mail.iter().enumerate().map(|(n, mail)| format!("{} {}\r\n", n + 1, what(mail)));
            format!("+OK\r\n{}.\r\n", each.collect::<String>())
        };
        let size = |mail: &String| mail.len().to_string();
        let id = |mail: &String| Digest::of(mail.as_bytes()).to_string()[..32].to_owned();
        let answer = match (command.to_uppercase().as_str(), number) {
            ("STAT", _) => format!("+OK {} {}\r\n", mail.len(), mail.iter().map(String::len).sum::<usize>()),
            ("LIST", None) => of_each(&size),
            ("LIST", Some(n)) => format!("+OK {n} {}\r\n", size(&mail[n - 1])),
            ("UIDL", None) => of_each(&id),
            ("UIDL", Some(n)) => format!("+OK {n} {}\r\n", id(&mail[n - 1])),
            ("RETR" | "TOP", Some(n)) => format!("+OK\r\n{}.\r\n", mail[n - 1].replace("\r\n.", "\r\n..")),
            ("DELE", Some(n)) => {
                deleted.push(n - 1);
                String::from("+OK\r\n")
            }
            ("CAPA", _) => String::from("+OK\r\nUIDL\r\nTOP\r\nUSER\r\n.\r\n"),
            ("QUIT", _) => {
                let mut n = 0;
                waiting.lock().unwrap().retain(|_| {
                    n += 1;
                    !deleted.contains(&(n - 1))
                });
                let _ = answers.write_all(b"+OK\r\n");
                return;
            }
            ("USER" | "PASS" | "NOOP" | "RSET", _) => String::from("+OK\r\n"),
            _ => String::from("-ERR\r\n"),
        };
        answers.write_all(answer.as_bytes()).unwrap();
    }
}

#[test]
fn getmail_delivers_where_mailsync_works() {
    if !programs::become_an_ordinary_user() {
        return;
    }
    let dir = scratch();
    let Some((laptop, desktop)) = two(dir.path(), "getmail") else { return };
    deliver(&laptop, &desktop, &Getmail::new(dir.path(), &laptop.mail));
}
