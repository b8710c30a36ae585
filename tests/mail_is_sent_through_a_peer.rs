//! Mail that is written on one machine is sent by another: `mailsync uux server -- sendmail …`, with msmtp there, a
//! real SMTP server behind it, and mutt and git here. Nothing but bundles passes between the machines.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::machine::{Machine, pass, row};
use crate::support::programs::{self, Ran, Server, free_port, run, run_with};
use crate::support::{scratch, text};

/// Keeps what it gets: the envelope and the very bytes. Knows nobody called `nobody`. The files `full` and `slow` make
/// it refuse all, or say only when they are gone that it has kept a message.
const HANDLER: &str = r#"
import asyncio, json, os

class Keep:
    @classmethod
    def from_cli(cls, parser, directory):
        keep = cls()
        keep.directory, keep.count = directory, 0
        return keep

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody@"):
            return "550 5.1.1 nobody lives here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        if os.path.exists(os.path.join(self.directory, "full")):
            return "452 4.3.1 the disk is full"
        self.count += 1
        path = os.path.join(self.directory, "%d" % self.count)
        with open(path + ".eml", "wb") as file:
            file.write(envelope.content)
        with open(path + ".part", "w") as file:
            json.dump({"from": envelope.mail_from, "to": envelope.rcpt_tos}, file)
        os.rename(path + ".part", path + ".json")
        while os.path.exists(os.path.join(self.directory, "slow")):
            await asyncio.sleep(0.05)
        return "250 OK"
"#;

/// An SMTP server of this test's own.
struct Sink {
    server: Server,
    dir: PathBuf,
    port: u16,
}

/// A message as it arrived.
#[derive(Debug, PartialEq, Eq)]
struct Arrived {
    from: String,
    to: Vec<String>,
    bytes: Vec<u8>,
}

impl Sink {
    fn start(dir: &Path) -> Option<Self> {
        let aiosmtpd = programs::find("aiosmtpd")?;
        let dir = dir.join("sink");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("keeping.py"), HANDLER).unwrap();
        for _ in 0..20 {
            let port = free_port();
            let mut command = Command::new(&aiosmtpd);
            command.args(["-n", "-l", &format!("127.0.0.1:{port}"), "-c", "keeping.Keep"]).arg(&dir);
            command.env("PYTHONPATH", &dir).current_dir(&dir);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let mut sink = Self { server: Server(command.spawn().unwrap()), dir: dir.clone(), port };
            let deadline = Instant::now() + Duration::from_secs(60);
            while sink.server.0.try_wait().unwrap().is_none() {
                if sink.greets() {
                    return Some(sink);
                }
                assert!(Instant::now() < deadline, "aiosmtpd doesn't answer");
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        panic!("aiosmtpd can't be started");
    }

    fn greets(&self) -> bool {
        let Ok(stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).is_ok_and(|_| line.starts_with("220 "))
    }

    /// What has arrived, in that order, with lines that end as they do in a file.
    fn arrived(&self) -> Vec<Arrived> {
        let mut arrived = Vec::new();
        while let Ok(envelope) = fs::read(self.dir.join(format!("{}.json", arrived.len() + 1))) {
            let bytes = fs::read(self.dir.join(format!("{}.eml", arrived.len() + 1))).unwrap();
            let envelope: Value = serde_json::from_slice(&envelope).unwrap();
            let lines = bytes.split_inclusive(|&byte| byte == b'\n').flat_map(|line| {
                let text = line.strip_suffix(b"\r\n").expect("SMTP's lines end with CR LF");
                [text, &b"\n"[..]].concat()
            });
            arrived.push(Arrived {
                from: envelope["from"].as_str().unwrap().to_owned(),
                to: envelope["to"].as_array().unwrap().iter().map(|to| to.as_str().unwrap().to_owned()).collect(),
                bytes: lines.collect(),
            });
        }
        arrived
    }

    /// Makes it `full` or `slow`, or no longer.
    fn set(&self, what: &str, on: bool) {
        let file = self.dir.join(what);
        if on { fs::write(file, "").unwrap() } else { fs::remove_file(file).unwrap() }
    }
}

/// Machines of which each is a peer of the next, and of no other; the last one may send mail for the first one, by
/// msmtp.
struct Chain {
    machines: Vec<Machine>,
    sink: Sink,
    dir: tempfile::TempDir,
}

impl Chain {
    /// `None` if a program is missing.
    fn new(names: &[&str]) -> Option<Self> {
        let msmtp = programs::find("msmtp")?;
        let dir = scratch();
        let sink = Sink::start(dir.path())?;
        let chain = Self { machines: row(dir.path(), names), sink, dir };
        chain.deliver_to(chain.sink.port);
        let msmtprc = chain.msmtprc();
        let exec = [text(&msmtp), "-C", text(&msmtprc)];
        // Those in between know their neighbours alone, not the two whom the jobs concern.
        for between in &chain.machines[1..names.len() - 1] {
            between.reconfigure(&[("relay_jobs", "\"any\"")]);
        }
        chain.server().allow("sendmail", &exec, &["-i", "-oi", "-t", "-f", "--", "@address"], names[0]);
        Some(chain)
    }

    fn laptop(&self) -> &Machine {
        &self.machines[0]
    }

    fn server(&self) -> &Machine {
        self.machines.last().unwrap()
    }

    fn msmtprc(&self) -> PathBuf {
        self.dir.path().join("msmtprc")
    }

    /// Tells msmtp where the SMTP server is.
    fn deliver_to(&self, port: u16) {
        let config = format!(
            "defaults\nauth off\ntls off\nsyslog off\ndomain laptop.example.org\n\
             account default\nhost 127.0.0.1\nport {port}\nfrom default@example.org\n"
        );
        fs::write(self.msmtprc(), config).unwrap();
        fs::set_permissions(self.msmtprc(), fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Asks the server to send a message, and gives the job's id.
    fn send(&self, args: &[&str], message: &[u8]) -> String {
        let ran = self.laptop().run_with(&[&["uux", "server", "--", "sendmail"], args].concat(), message);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        ran.text().trim().to_owned()
    }

    /// Bundles go from the laptop to the server.
    fn there(&self) -> Vec<Ran> {
        self.machines.windows(2).map(|two| pass(&two[0], &two[1])).collect()
    }

    /// Bundles go from the server to the laptop.
    fn back(&self) -> Vec<Ran> {
        self.machines.windows(2).rev().map(|two| pass(&two[1], &two[0])).collect()
    }

    /// What the laptop knows of a job.
    fn shown(&self, job: &str) -> Value {
        self.laptop().job(job)
    }
}

/// A message that every relay that is careless changes: bytes that are no UTF-8, lines that begin with dots, one that
/// is as long as SMTP allows, an empty one at the end.
fn message(subject: &str) -> Vec<u8> {
    let head = format!(
        "From: Ann <ann@example.org>\nTo: Ben <ben@example.org>\nDate: Mon, 6 Jan 2020 10:00:00 +0000\n\
         Message-ID: <{subject}@example.org>\nSubject: {subject}\nMIME-Version: 1.0\n\
         Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: 8bit\n\n"
    );
    let body = b".\n..\n.hidden\n...\nFrom here on\nGr\xfc\xdfe \xc3\xa9 \xff\x80\ttab and trailing blanks  \n";
    [head.as_bytes(), body, "y".repeat(998).as_bytes(), b"\n\n"].concat()
}

fn arrived(from: &str, to: &[&str], bytes: Vec<u8>) -> Arrived {
    Arrived { from: from.to_owned(), to: to.iter().map(|&to| to.to_owned()).collect(), bytes }
}

/// A message goes to the server and is sent, and what became of that comes back.
fn goes_through(names: &[&str]) {
    let Some(chain) = Chain::new(names) else { return };
    let to = ["ben@example.org", "cleo+lists@sub.example.org"];
    let job = chain.send(&["-oi", "-f", "ann@example.org", "--", to[0], to[1]], &message("one"));
    assert_eq!(chain.shown(&job)["state"], "queued");
    chain.there();
    let one = arrived("ann@example.org", &to, message("one"));
    assert_eq!(chain.sink.arrived(), [one]);
    assert_eq!(chain.shown(&job)["sent_to"][0], names[1]);
    chain.back();
    let shown = chain.shown(&job);
    assert_eq!((&shown["state"], &shown["status"]), (&"done".into(), &0.into()), "{shown}");
    assert_eq!(shown["result"]["stderr"], "");
    // Whoever is in between knows that there is a job and how it stands, and nothing else.
    for between in &chain.machines[1..names.len() - 1] {
        let shown = between.job(&job);
        assert_eq!(
            (&shown["state"], &shown["command"], &shown["result"]),
            (&"done".into(), &Value::Null, &Value::Null)
        );
        let files = walkdir::WalkDir::new(&between.home).into_iter().map(Result::unwrap);
        for file in files.filter(|file| file.file_type().is_file()) {
            let bytes = fs::read(file.path()).unwrap();
            let holds = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
            assert!(!holds(b"cleo+lists") && !holds(b".hidden"), "{}", file.path().display());
        }
    }
    // Many, without recipients on the command line: their headers name them.
    for n in 0..5 {
        chain.send(&["-t"], &message(&format!("many{n}")));
    }
    chain.there();
    chain.back();
    let many = (0..5).map(|n| arrived("default@example.org", &["ben@example.org"], message(&format!("many{n}"))));
    let sent = chain.sink.arrived();
    assert!(sent[1..].iter().eq(many.collect::<Vec<_>>().iter()), "{sent:?}");
    let jobs = chain.laptop().ok(&["jobs", "list", "--json"]).json();
    assert!(jobs["jobs"].as_array().unwrap().iter().all(|job| job["state"] == "done"), "{jobs}");
    // Round and round, also with everything there is: no message is sent again.
    for two in chain.machines.windows(2) {
        let bundle = two[0].ok(&["export", "--full", "--to", &two[1].name]).stdout;
        assert_eq!(two[1].run_with(&["import"], &bundle).code, 0);
    }
    chain.back();
    chain.there();
    assert_eq!(chain.sink.arrived().len(), 6);
    // Mail is not what the mailboxes are about.
    assert!(chain.machines.iter().all(|machine| machine.mailbox().is_empty()));
}

#[test]
fn a_message_is_sent_by_a_peer() {
    goes_through(&["laptop", "server"]);
}

#[test]
fn a_message_is_sent_by_a_machine_behind_a_peer() {
    goes_through(&["laptop", "home", "server"]);
}

#[test]
fn a_message_is_sent_by_a_machine_behind_the_peer_of_a_peer() {
    goes_through(&["laptop", "home", "office", "server"]);
}

#[test]
fn one_update_sends_mail_and_tells_what_became_of_it() {
    let Some(chain) = Chain::new(&["laptop", "server"]) else { return };
    let (laptop, server) = (chain.laptop(), chain.server());
    laptop.reach(server);
    let (good, bad) =
        (chain.send(&["-t"], &message("good")), chain.send(&["--", "nobody@example.org"], &message("bad")));
    let gone = chain.send(&["-t"], &message("gone"));
    laptop.ok(&["jobs", "cancel", &gone]);
    let ran = laptop.run(&["update"]);
    let said = ran.stderr;
    assert!(
        ran.code == 1 && said.contains(&format!("job {} for server (sendmail) failed with status ", &bad[..12])),
        "{said}"
    );
    assert!(said.contains("a job is done"), "{said}");
    assert_eq!(chain.sink.arrived(), [arrived("default@example.org", &["ben@example.org"], message("good"))]);
    for (job, state) in [(&good, "done"), (&bad, "failed"), (&gone, "cancelled")] {
        assert_eq!(chain.shown(job)["state"], state);
    }
    // There is nothing left to do.
    let status = laptop.ok(&["status", "--json"]).json();
    assert_eq!((&status["jobs"]["queued"], &status["peers"][0]["unseen_jobs"]), (&0.into(), &0.into()), "{status}");
}

#[test]
fn a_message_of_many_megabytes_is_sent_as_it_was() {
    let Some(chain) = Chain::new(&["laptop", "home", "server"]) else { return };
    let mut large = message("large");
    while large.len() < 9 << 20 {
        let line = format!("{:060}.\n", large.len());
        large.extend_from_slice(line.as_bytes());
    }
    chain.send(&["--", "ben@example.org"], &large);
    chain.there();
    let sent = chain.sink.arrived();
    assert!(sent == [arrived("default@example.org", &["ben@example.org"], large)], "{} messages", sent.len());
}

#[test]
fn a_message_that_is_not_taken_is_told_of_and_sent_once_when_it_is_tried_again() {
    let Some(chain) = Chain::new(&["laptop", "home", "server"]) else { return };
    // Nobody listens.
    chain.deliver_to(1);
    let job = chain.send(&["--", "ben@example.org"], &message("early"));
    let said = chain.there().pop().unwrap().stderr;
    assert!(said.contains("failed; it ended with status"), "{said}");
    let said = chain.back().pop().unwrap().stderr;
    let short = &job[..12];
    assert!(said.contains(&format!("job {short} for server (sendmail) failed with status ")), "{said}");
    let shown = chain.shown(&job);
    assert_eq!(shown["state"], "failed", "{shown}");
    assert!(shown["status"].as_i64().is_some_and(|status| status > 0), "{shown}");
    assert!(shown["result"]["stderr"].as_str().unwrap().contains("cannot connect to 127.0.0.1, port 1"), "{shown}");
    let words = chain.laptop().ok(&["jobs", "show", short]).text().to_owned();
    assert!(words.contains("cannot connect to 127.0.0.1, port 1"), "{words}");

    // There is a server now, and it takes nothing.
    chain.deliver_to(chain.sink.port);
    chain.sink.set("full", true);
    let ran = chain.laptop().ok(&["jobs", "retry", short]);
    assert!(ran.stderr.contains("is queued; the next bundle carries it"), "{}", ran.stderr);
    chain.there();
    let said = chain.back().pop().unwrap().stderr;
    assert!(said.contains("failed with status"), "{said}");
    let again = chain.laptop().ok(&["jobs", "list", "--json"]).json()["jobs"][1].clone();
    assert_eq!((&again["repeats"], &again["state"]), (&job.clone().into(), &"failed".into()), "{again}");
    let again = again["id"].as_str().unwrap();
    let shown = chain.shown(again);
    assert!(shown["result"]["stderr"].as_str().unwrap().contains("the disk is full"), "{shown}");

    // Now it takes it; this time it is tried again where it failed.
    chain.sink.set("full", false);
    let said = chain.server().ok(&["jobs", "retry", again]).stderr;
    assert!(said.contains("(sendmail): done"), "{said}");
    let once =
        || assert_eq!(chain.sink.arrived(), [arrived("default@example.org", &["ben@example.org"], message("early"))]);
    once();
    chain.back();
    let shown = chain.shown(again);
    assert_eq!((&shown["state"], &shown["attempt"]), (&"done".into(), &2.into()), "{shown}");
    for machine in [chain.laptop(), chain.server()] {
        let refused = machine.run(&["jobs", "retry", again]);
        assert_eq!(refused.code, 1, "{refused:?}");
    }
    chain.there();
    chain.back();
    once();
}

#[test]
fn a_server_that_dies_while_it_sends_doesnt_send_again_and_says_that_it_may_have_sent() {
    let Some(chain) = Chain::new(&["laptop", "server"]) else { return };
    let (laptop, server) = (chain.laptop(), chain.server());
    let job = chain.send(&["-t"], &message("x"));
    let bundle = chain.dir.path().join("bundle");
    fs::write(&bundle, laptop.ok(&["export"]).stdout).unwrap();
    chain.sink.set("slow", true);
    let mut import = server.command(&["import", bundle.to_str().unwrap()]).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while chain.sink.arrived().is_empty() {
        assert!(Instant::now() < deadline && import.try_wait().unwrap().is_none(), "nothing arrives");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(server.job(&job)["state"], "running");
    import.kill().unwrap();
    import.wait().unwrap();
    // msmtp comes to its end without it.
    chain.sink.set("slow", false);
    for _ in 0..2 {
        server.ok(&["import", bundle.to_str().unwrap()]);
    }
    chain.back();
    let shown = chain.shown(&job);
    assert_eq!((&shown["state"], &shown["status"]), (&"interrupted".into(), &Value::Null), "{shown}");
    assert!(shown["result"]["reason"].as_str().unwrap().contains("it may have run"), "{shown}");
    chain.there();
    let once = arrived("default@example.org", &["ben@example.org"], message("x"));
    assert_eq!(chain.sink.arrived(), [once]);
    // Who has looked and found it missing can have it sent.
    assert_eq!(server.ok(&["jobs", "retry", &job]).code, 0);
    assert_eq!(chain.sink.arrived().len(), 2);
}

#[test]
fn a_recipient_who_is_refused_is_told_of_by_what_the_server_says() {
    let Some(chain) = Chain::new(&["laptop", "server"]) else { return };
    let job = chain.send(&["-f", "ann@example.org", "--", "nobody@example.org"], &message("x"));
    chain.there();
    chain.back();
    let shown = chain.shown(&job);
    assert_eq!(shown["state"], "failed", "{shown}");
    assert!(shown["result"]["stderr"].as_str().unwrap().contains("550 5.1.1 nobody lives here"), "{shown}");
    assert_eq!(chain.sink.arrived(), []);
}

#[test]
fn what_the_rule_doesnt_allow_is_not_handed_to_msmtp() {
    let Some(chain) = Chain::new(&["laptop", "home", "server"]) else { return };
    let file = chain.dir.path().join("file");
    let [logged, traced, queued] = ["--logfile=", "-X", "-oQ"].map(|option| format!("{option}{}", file.display()));
    let wrong: [&[&str]; 5] = [
        &[&logged, "ben@example.org"],
        &[&traced, "ben@example.org"],
        &["-C", text(&file)],
        &["--", "ben@example.org\nx"],
        &[&queued],
    ];
    let jobs: Vec<String> = wrong.iter().map(|args| chain.send(args, &message("x"))).collect();
    chain.there();
    let said = chain.back().pop().unwrap().stderr;
    for job in &jobs {
        let shown = chain.shown(job);
        assert_eq!((&shown["state"], &shown["status"]), (&"rejected".into(), &Value::Null), "{shown}");
        assert!(shown["result"]["reason"].as_str().unwrap().contains("is not allowed"), "{shown}");
        assert!(said.contains(&format!("job {} for server (sendmail) was rejected", &job[..12])), "{said}");
    }
    // Whoever is in between may not have it run, either.
    let home = &chain.machines[1];
    home.run_with(&["uux", "server", "--", "sendmail", "-t"], &message("x"));
    pass(home, chain.server());
    let jobs = home.ok(&["jobs", "list", "--json"]).json();
    pass(chain.server(), home);
    let own = jobs["jobs"].as_array().unwrap().iter().find(|job| job["requester"] == "home").unwrap()["id"].clone();
    let shown = home.job(own.as_str().unwrap());
    assert_eq!(shown["result"]["reason"], "no rule allows the command \"sendmail\" to home");
    assert_eq!(chain.sink.arrived(), []);
}

#[test]
fn a_message_that_is_taken_back_in_time_is_not_sent_and_one_that_waits_is_sent_when_jobs_are_run() {
    let Some(chain) = Chain::new(&["laptop", "home", "server"]) else { return };
    let (laptop, home, server) = (&chain.machines[0], &chain.machines[1], &chain.machines[2]);
    let (stays, goes) = (chain.send(&["-t"], &message("stays")), chain.send(&["-t"], &message("goes")));
    pass(laptop, home);
    laptop.ok(&["jobs", "cancel", &stays]);
    pass(laptop, home);
    let bundle = home.ok(&["export", "--to", "server"]).stdout;
    assert_eq!(server.run_with(&["import", "--no-jobs"], &bundle).code, 0);
    assert_eq!(chain.sink.arrived(), []);
    server.run(&["jobs", "run"]);
    assert_eq!(chain.sink.arrived(), [arrived("default@example.org", &["ben@example.org"], message("goes"))]);
    chain.back();
    assert_eq!(chain.shown(&stays)["state"], "cancelled");
    assert_eq!(chain.shown(&goes)["state"], "done");
}

/// The command line that mail programs are given. Without `--` before the command: mutt puts its options in the place
/// of one.
fn sendmail(chain: &Chain) -> String {
    chain.laptop().line("uux server sendmail -oi")
}

/// The header fields of a message and its body.
fn parts(bytes: &[u8]) -> (BTreeMap<String, String>, String) {
    let text = std::str::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\n\n").unwrap();
    let head = head.replace("\n ", " ").replace("\n\t", " ");
    let fields = head.lines().map(|line| line.split_once(": ").unwrap());
    (fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(), body.to_owned())
}

#[test]
fn mutt_sends_through_a_peer() {
    if programs::find("mutt").is_none() {
        return;
    }
    let Some(chain) = Chain::new(&["laptop", "home", "server"]) else { return };
    let rc = chain.dir.path().join("muttrc");
    let settings = format!(
        "set sendmail=\"{}\"\nset use_envelope_from=yes from='Ann <ann@example.org>' realname=Ann\n\
         set record='' charset=utf-8 send_charset=utf-8 signature='' hostname=laptop.example.org\n",
        sendmail(&chain)
    );
    fs::write(&rc, settings).unwrap();
    let body = "Grüße,\n.\n..dots\n\nAnn\n";
    let mut mutt = Command::new("mutt");
    mutt.args(["-n", "-F"]).arg(&rc).args(["-s", "Mittag, später", "-c", "cleo@example.org", "-b", "dan@example.org"]);
    mutt.args(["--", "ben@example.org"]);
    mutt.env("HOME", chain.dir.path()).env("LC_ALL", "C.UTF-8").env("TERM", "dumb").env_remove("MAIL");
    let ran = run_with(&mut mutt, body.as_bytes());
    assert_eq!(ran.code, 0, "{ran:?}");
    chain.there();
    let [sent] = &chain.sink.arrived()[..] else { panic!("one message should have arrived") };
    assert_eq!(sent.from, "ann@example.org");
    assert_eq!(sent.to, ["ben@example.org", "cleo@example.org", "dan@example.org"]);
    let (fields, text) = parts(&sent.bytes);
    assert_eq!(text, body);
    assert_eq!(fields["Content-Transfer-Encoding"], "8bit");
    assert_eq!((&fields["From"][..], &fields["To"][..]), ("Ann <ann@example.org>", "ben@example.org"));
    assert!(fields["Subject"].contains("=?utf-8?") && !fields.contains_key("Bcc"), "{fields:?}");
    chain.back();
    let jobs = chain.laptop().ok(&["jobs", "list"]).text().to_owned();
    assert!(jobs.contains("sendmail") && jobs.contains("done (0)"), "{jobs}");
    // A peer that isn't there: mutt says so, and keeps the message.
    let text = fs::read_to_string(&rc).unwrap().replace("uux server", "uux serveur");
    fs::write(&rc, text).unwrap();
    let ran = run_with(&mut mutt, body.as_bytes());
    assert_ne!(ran.code, 0, "{ran:?}");
}

#[test]
fn git_sends_patches_through_a_peer() {
    if programs::find("git").is_none() {
        return;
    }
    let exec = run(Command::new("git").arg("--exec-path"));
    if !Path::new(exec.text().trim()).join("git-send-email").is_file() {
        programs::leave_out("git-send-email is not installed");
        return;
    }
    let Some(chain) = Chain::new(&["laptop", "server"]) else { return };
    let dir = chain.dir.path().join("project");
    let git = |args: &[&str]| {
        let mut git = Command::new("git");
        git.env("HOME", chain.dir.path()).env("GIT_CONFIG_NOSYSTEM", "1").env("LC_ALL", "C.UTF-8").env_remove("EMAIL");
        for (who, name) in [("AUTHOR", "Ann Größe"), ("COMMITTER", "Ann Größe")] {
            git.env(format!("GIT_{who}_NAME"), name).env(format!("GIT_{who}_EMAIL"), "ann@example.org");
        }
        let ran = run(git.arg("-C").arg(&dir).args(args).stdin(Stdio::null()));
        assert_eq!(ran.code, 0, "git {args:?}: {ran:?}");
        ran
    };
    fs::create_dir(&dir).unwrap();
    git(&["init", "-q"]);
    let texts = [".\n..\nGrüße\n", ".\n..\nGrüße\nand more\n"];
    for (text, subject) in texts.iter().zip(["Say hello", "Say größere things"]) {
        fs::write(dir.join("text"), text).unwrap();
        git(&["add", "text"]);
        git(&["commit", "-q", "-m", subject]);
    }
    git(&["format-patch", "-q", "--root", "HEAD"]);
    let by = format!("--sendmail-cmd={}", sendmail(&chain));
    let patches = ["0001-Say-hello.patch", "0002-Say-gr-ere-things.patch"];
    let command =
        ["send-email", "--quiet", "--confirm=never", "--suppress-cc=all", "--envelope-sender=ann@example.org"];
    let to = ["--to=Ben <ben@example.org>", "--cc=cleo@example.org", &by];
    let files: Vec<String> = patches.iter().map(|patch| dir.join(patch).to_str().unwrap().to_owned()).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    git(&[&command[..], &to, &files].concat());
    chain.there();
    let sent = chain.sink.arrived();
    assert_eq!(sent.len(), 2);
    for sent in &sent {
        assert_eq!(sent.from, "ann@example.org");
        assert_eq!(sent.to, ["ben@example.org", "cleo@example.org"]);
    }
    // What arrived is what was meant: another repository can apply it.
    let mail = chain.dir.path().join("mail");
    fs::create_dir(&mail).unwrap();
    fs::remove_dir_all(dir.join(".git")).unwrap();
    fs::remove_file(dir.join("text")).unwrap();
    git(&["init", "-q"]);
    let mut patches = Vec::new();
    for (n, sent) in sent.iter().enumerate() {
        let file = mail.join(n.to_string());
        fs::write(&file, &sent.bytes).unwrap();
        patches.push(file.to_str().unwrap().to_owned());
    }
    let patches: Vec<&str> = patches.iter().map(String::as_str).collect();
    git(&[&["am", "-q"][..], &patches].concat());
    assert_eq!(fs::read_to_string(dir.join("text")).unwrap(), texts[1]);
    assert_eq!(
        git(&["log", "--format=%an %s", "--reverse"]).text(),
        "Ann Größe Say hello\nAnn Größe Say größere things\n"
    );
    chain.back();
    let jobs = chain.laptop().ok(&["jobs", "list", "--json"]).json();
    assert!(jobs["jobs"].as_array().unwrap().iter().all(|job| job["state"] == "done"), "{jobs}");
}
