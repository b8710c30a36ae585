//! Dovecot serves the Maildirs of replicas, each its own: what either does to the mail, the other finds, and the
//! Dovecots of both machines show the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mailsync::model::Digest;

use crate::support::machine::{Machine, make_peers, pass};
use crate::support::programs::{self, run, run_with};
use crate::support::scratch;

/// The layouts, as both name them.
const LAYOUTS: [&str; 2] = ["maildir++", "fs"];

/// A machine whose mail Dovecot serves.
pub struct Served {
    pub machine: Machine,
    pub conf: PathBuf,
    imap: PathBuf,
}

/// What an IMAP client sees of a message.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    pub mailbox: String,
    pub subject: String,
    pub flags: BTreeSet<String>,
    /// INTERNALDATE, in seconds since 1970.
    date: u64,
    /// RFC822.SIZE: with CRLF at every line's end.
    size: u64,
}

impl Served {
    /// A machine with this layout, whose mail Dovecot serves; not yet a replica.
    pub fn new(dir: &Path, name: &str, layout: &str) -> Option<Self> {
        let imap = programs::find("imap").filter(|imap| imap.to_string_lossy().contains("dovecot"))?;
        let version = run(Command::new(programs::find("dovecot")?).arg("--version"));
        if !version.text().starts_with("2.3.") {
            programs::leave_out(&format!("Dovecot {} is configured otherwise than 2.3", version.text().trim()));
            return None;
        }
        let machine = Machine::new(dir, name);
        let own = dir.join(format!("{name}-dovecot"));
        fs::create_dir_all(own.join("run")).unwrap();
        let conf = own.join("dovecot.conf");
        let text = format!(
            "base_dir = {own}/run\nstate_dir = {own}/run\nlog_path = /dev/stderr\nmail_home = {own}\n\
             stats_writer_socket_path =\nmail_location = maildir:{mail}:LAYOUT={layout}\n\
             protocol imap {{\n  mail_max_userip_connections = 0\n}}\n\
             namespace inbox {{\n  inbox = yes\n  separator = /\n}}\n",
            own = own.display(),
            mail = machine.mail.display(),
        );
        fs::write(&conf, text).unwrap();
        Some(Self { machine, conf, imap })
    }

    /// Makes the replica, once Dovecot has made its INBOX: under both layouts that is the mail root itself.
    pub fn init(&self, layout: &str) {
        self.imap(&["SELECT INBOX"]);
        self.machine.init_as(layout);
    }

    /// A session of IMAP commands, which must all succeed. Returns what Dovecot answered.
    pub fn imap(&self, commands: &[&str]) -> String {
        let (answer, errors) = self.session(commands);
        for n in 0..=commands.len() {
            assert!(answer.contains(&format!("\r\nt{n} OK ")), "t{n} of {commands:?}: {answer}{errors}");
        }
        answer
    }

    /// Adds lines to Dovecot's configuration.
    pub fn configure(&self, lines: &str) {
        let conf = fs::read_to_string(&self.conf).unwrap();
        fs::write(&self.conf, format!("{conf}{lines}\n")).unwrap();
    }

    /// The command line by which another program gets a session, without a login.
    pub fn tunnel(&self) -> String {
        let home = self.conf.parent().unwrap();
        let (imap, conf) = (self.imap.display(), self.conf.display());
        format!("env -i PATH=/usr/bin:/bin USER={} HOME={} {imap} -c {conf}", self.machine.name, home.display())
    }

    /// A session of IMAP commands. Dovecot must not complain about what it finds on disk.
    fn session(&self, commands: &[&str]) -> (String, String) {
        let commands = commands.iter().chain(&["LOGOUT"]).enumerate();
        let input = commands.clone().map(|(n, command)| format!("t{n} {command}\r\n")).collect::<Vec<_>>().concat();
        let mut imap = self.dovecot(&self.imap);
        let ran = run_with(imap.arg("-c").arg(&self.conf), input.as_bytes());
        let complaints = |line: &&str| {
            ["Error", "Warning", "Panic", "Fatal"].iter().any(|word| line.contains(word))
                && !["Expunged message reappeared", "Duplicate file entry"].iter().any(|w| line.contains(w))
        };
        assert_eq!(ran.stderr.lines().find(complaints), None, "{input}");
        (String::from_utf8(ran.stdout).unwrap(), ran.stderr)
    }

    fn dovecot(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let home = self.conf.parent().unwrap();
        command.env_clear().env("PATH", path).env("USER", &self.machine.name).env("HOME", home).current_dir(home);
        command
    }

    /// Appends a message through Dovecot.
    pub fn append(&self, mailbox: &str, flags: &str, date: &str, message: &str) {
        let command = format!("APPEND {mailbox} ({flags}) \"{date}\" {{{}+}}\r\n{message}", message.len());
        self.imap(&[&command]);
    }

    /// The mailboxes, as an IMAP client sees them.
    pub fn mailboxes(&self) -> BTreeSet<String> {
        let answer = self.imap(&["LIST \"\" *"]);
        let listed = answer.lines().filter(|line| line.starts_with("* LIST ") && !line.contains("\\Noselect"));
        listed.map(|line| line.split(" \"/\" ").nth(1).unwrap().trim_matches('"').to_owned()).collect()
    }

    /// All mail, as an IMAP client sees it.
    pub fn mail(&self) -> BTreeSet<Seen> {
        let mut seen = BTreeSet::new();
        for mailbox in self.mailboxes() {
            let (select, fetch) = (
                format!("SELECT \"{mailbox}\""),
                "UID FETCH 1:* (FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (SUBJECT)])",
            );
            let answer = self.imap(&[&select, fetch]);
            for part in answer.split("\r\n* ").filter(|part| part.contains(" FETCH (")) {
                let between = |from: &str, to: &str| part.split_once(from).unwrap().1.split_once(to).unwrap().0;
                let flags = between("FLAGS (", ")").split(' ').filter(|flag| !flag.is_empty() && *flag != "\\Recent");
                let message = Seen {
                    mailbox: mailbox.clone(),
                    subject: between("Subject: ", "\r\n").to_owned(),
                    flags: flags.map(str::to_owned).collect(),
                    date: seconds(between("INTERNALDATE \"", "\"")),
                    size: between("RFC822.SIZE ", " ").parse().unwrap(),
                };
                assert!(seen.insert(message.clone()), "{message:?} is there twice");
            }
        }
        seen
    }

    /// Everything of Dovecot's own below the mail root.
    fn own_files(&self) -> BTreeMap<PathBuf, Digest> {
        let items = walkdir::WalkDir::new(&self.machine.mail).into_iter().map(Result::unwrap);
        let own = items.filter(|item| {
            let name = item.file_name().to_string_lossy();
            item.file_type().is_file() && (name.starts_with("dovecot") || name == "subscriptions")
        });
        own.map(|item| (item.path().to_owned(), Digest::of(&fs::read(item.path()).unwrap()))).collect()
    }
}

/// `" 5-Jan-2020 10:00:00 +0000"` in seconds since 1970.
fn seconds(date: &str) -> u64 {
    let output = run(Command::new("date").args(["-u", "+%s", "-d", &date.trim().replacen('-', " ", 2)]));
    output.text().trim().parse().unwrap()
}

/// Two machines with Dovecot, both replicas that know each other.
fn two(dir: &Path, here: &str, there: &str) -> Option<(Served, Served)> {
    let one = Served::new(dir, "desktop", here)?;
    let other = Served::new(dir, "laptop", there)?;
    one.init(here);
    other.init(there);
    make_peers(&one.machine, &other.machine);
    Some((one, other))
}

fn subject(seen: &BTreeSet<Seen>, subject: &str) -> Seen {
    let mut found = seen.iter().filter(|message| message.subject == subject);
    let message = found.next().unwrap_or_else(|| panic!("{subject} is not in {seen:?}"));
    assert!(found.next().is_none(), "{subject} is there twice: {seen:?}");
    message.clone()
}

fn flags(flags: &[&str]) -> BTreeSet<String> {
    flags.iter().map(|flag| (*flag).to_owned()).collect()
}

#[test]
fn dovecot_shows_what_was_imported_with_its_flags_date_and_size() {
    if !programs::become_an_ordinary_user() {
        return;
    }
    for layout in LAYOUTS {
        let dir = scratch();
        let Some((sender, receiver)) = two(dir.path(), "maildir++", layout) else { return };
        let from = &sender.machine;
        from.put("INBOX", "new/1.a.h", "Subject: new\r\n\r\nwith CRLF\r\n", 1_500_000_001);
        from.put("INBOX", "cur/2.b.h:2,FRS", "Subject: flagged\n\nwith LF\n", 1_500_000_002);
        from.put("INBOX", "cur/3.c.h:2,DPT", "Subject: draft\n\n", 1_500_000_003);
        from.put(
            "INBOX",
            "cur/4.d.h,S=99,W=999:2,S",
            "Subject: liar\n\nThe name lies about its size.\n",
            1_500_000_004,
        );
        from.put("Entwürfe", "cur/5.e.h:2,", "Subject: umlaut\n\nx\r\ny\n", 1_500_000_005);
        from.put("Archive/2019/Q1", "cur/6.f.h:2,S", "Subject: deep\n\nx", 1_000_000_006);
        assert_eq!(pass(from, &receiver.machine).stderr.lines().count(), 1);

        let files = receiver.machine.mailbox();
        let seen = receiver.mail();
        let expected = [
            ("INBOX", "new", flags(&[]), 1_500_000_001, 27),
            ("INBOX", "flagged", flags(&["\\Flagged", "\\Answered", "\\Seen"]), 1_500_000_002, 29),
            ("INBOX", "draft", flags(&["\\Draft", "\\Deleted"]), 1_500_000_003, 18),
            ("INBOX", "liar", flags(&["\\Seen"]), 1_500_000_004, 48),
            ("Entw&APw-rfe", "umlaut", flags(&[]), 1_500_000_005, 25),
            ("Archive/2019/Q1", "deep", flags(&["\\Seen"]), 1_000_000_006, 18),
        ]
        .map(|(mailbox, subject, flags, date, size)| Seen {
            mailbox: mailbox.to_owned(),
            subject: subject.to_owned(),
            flags,
            date,
            size,
        });
        assert_eq!(seen, BTreeSet::from(expected), "{layout}");

        // Dovecot found the sizes in the names to be right: it renames files where they are not.
        let names: Vec<_> = walkdir::WalkDir::new(&receiver.machine.mail).into_iter().map(Result::unwrap).collect();
        let messages = names.iter().filter(|item| item.file_name().to_string_lossy().contains(",S="));
        for item in messages.clone() {
            let name = item.file_name().to_str().unwrap();
            let size = name.split_once(",S=").unwrap().1.split([',', ':']).next().unwrap();
            assert_eq!(size, item.metadata().unwrap().len().to_string(), "{name}");
        }
        assert_eq!(messages.count(), 6);
        // What it did was to take the new message into `cur/`.
        let scanned = receiver.machine.ok(&["scan", "--json"]).json();
        assert_eq!((&scanned["flagged"], &scanned["new"]), (&1.into(), &0.into()), "{scanned}");
        assert_eq!(receiver.machine.mailbox().len(), files.len());
    }
}

#[test]
fn what_a_client_does_through_dovecot_is_seen_through_the_other_machines_dovecot() {
    if !programs::become_an_ordinary_user() {
        return;
    }
    for (here, there) in [("maildir++", "fs"), ("fs", "maildir++")] {
        let dir = scratch();
        let Some((one, other)) = two(dir.path(), here, there) else { return };
        one.imap(&["CREATE Sent", "CREATE Archive/2019", "SUBSCRIBE Archive/2019"]);
        for n in 0..6 {
            one.append(
                "INBOX",
                "",
                &format!("05-Jan-2020 10:00:0{n} +0000"),
                &format!("Subject: m{n}\r\n\r\nhello {n}\r\n"),
            );
        }
        let there_before = other.own_files();
        let report = pass(&one.machine, &other.machine);
        assert!(report.stderr.contains("6 new"), "{}", report.stderr);
        assert_eq!(other.own_files(), there_before, "nothing of Dovecot's travels");
        assert_eq!(other.mail(), one.mail());
        assert_eq!(other.mailboxes(), one.mailboxes());

        // The other one's client flags, moves, copies, expunges, appends.
        other.imap(&[
            "SELECT INBOX",
            "STORE 1 +FLAGS (\\Seen \\Flagged)",
            "STORE 2 +FLAGS (\\Answered \\Draft)",
            "MOVE 3 Archive/2019",
            "COPY 1 Sent",
            "STORE 4 +FLAGS (\\Deleted)",
            "EXPUNGE",
        ]);
        other.append("Sent", "\\Seen", "06-Feb-2020 11:00:00 +0200", "Subject: sent\r\n\r\nreply\r\n");
        let expected = other.mail();
        let (mine, own) = (one.own_files(), other.own_files());
        assert_eq!(subject(&expected, "m2").mailbox, "Archive/2019");
        assert_eq!(subject(&expected, "m1").flags, flags(&["\\Answered", "\\Draft"]));
        let report = pass(&other.machine, &one.machine);
        assert!(report.stderr.contains("2 new, 1 moved, "), "a move is none of them: {}", report.stderr);
        assert_eq!((one.own_files(), other.own_files()), (mine, own), "Dovecot's own files are left alone");
        assert_eq!(one.mail(), expected);

        // Back again, with the changes of both at once.
        one.imap(&["SELECT INBOX", "STORE 1 -FLAGS (\\Seen)", "SELECT Archive/2019", "STORE 1 +FLAGS (\\Flagged)"]);
        other.imap(&["SELECT INBOX", "STORE 1 +FLAGS (\\Answered)", "SELECT Archive/2019", "STORE 1 +FLAGS (\\Seen)"]);
        pass(&one.machine, &other.machine);
        pass(&other.machine, &one.machine);
        let united = other.mail();
        assert_eq!(one.mail(), united);
        assert_eq!(subject(&united, "m2").flags, flags(&["\\Flagged", "\\Seen"]));
        let first = united.iter().find(|message| message.subject == "m0" && message.mailbox == "INBOX").unwrap();
        assert_eq!(first.flags, flags(&["\\Answered", "\\Flagged"]));
        // And nothing is left to be done.
        for machine in [&one.machine, &other.machine] {
            machine.is_at_rest("back again");
        }
    }
}

#[test]
fn renamed_and_deleted_mailboxes_keep_their_messages_apart_and_whole() {
    if !programs::become_an_ordinary_user() {
        return;
    }
    for (here, there) in [("maildir++", "fs"), ("fs", "maildir++")] {
        let dir = scratch();
        let Some((one, other)) = two(dir.path(), here, there) else { return };
        one.imap(&["CREATE Entw&APw-rfe", "CREATE \"Entw&APw-rfe/&BB4EQg- &- b\"", "CREATE Old"]);
        for (n, mailbox) in ["Entw&APw-rfe", "\"Entw&APw-rfe/&BB4EQg- &- b\"", "Old"].iter().enumerate() {
            let message = format!("Subject: m{n}\r\n\r\nhello\r\n");
            one.append(mailbox, "\\Flagged", "05-Jan-2020 10:00:00 +0000", &message);
        }
        pass(&one.machine, &other.machine);
        assert_eq!(other.mail(), one.mail());

        // A renamed mailbox is moved mail: nothing is read twice over there, and the flags stay.
        one.imap(&["RENAME Entw&APw-rfe Archive/&ZeVnLIqe-", "DELETE Old"]);
        let expected = one.mail();
        assert_eq!(subject(&expected, "m0").mailbox, "Archive/&ZeVnLIqe-");
        let report = pass(&one.machine, &other.machine);
        assert!(report.stderr.contains(" 0 new, "), "{}", report.stderr);
        assert_eq!(other.mail(), expected, "{}", report.stderr);
        assert_eq!(other.mailboxes(), one.mailboxes());
        // What the client deleted is in the other one's trash.
        let trash = other.machine.ok(&["trash", "list", "--json"]).json();
        assert!(trash.to_string().contains("Old"), "{trash}");
    }
}

#[test]
fn what_dovecot_is_about_to_delete_is_no_folder() {
    if !programs::become_an_ordinary_user() {
        return;
    }
    for (layout, name) in [("maildir++", "..DOVECOT-TRASHED"), ("fs", "..DOVECOT-TrasH")] {
        let dir = scratch();
        let Some((one, _)) = two(dir.path(), layout, layout) else { return };
        let machine = &one.machine;
        one.imap(&["CREATE Gone"]);
        one.append("Gone", "", "05-Jan-2020 10:00:00 +0000", "Subject: gone\r\n\r\n\r\n");
        machine.ok(&["scan"]);
        // As Dovecot does when a client deletes a mailbox: it renames the directory, then empties it.
        fs::rename(machine.dir("Gone"), machine.mail.join(name)).unwrap();
        let scanned = machine.ok(&["scan", "--json"]);
        assert!(!scanned.stderr.contains("note"), "{}", scanned.stderr);
        assert_eq!(scanned.json()["removed"], 1, "{layout}: {:?}", scanned.json());
        assert_eq!(machine.folders(), ["INBOX"], "{layout}");
    }
}

#[test]
fn keywords_are_the_same_through_both_dovecots_whatever_letters_they_have() {
    if !programs::become_an_ordinary_user() {
        return;
    }
    for (here, there) in [("maildir++", "fs"), ("fs", "maildir++")] {
        let dir = scratch();
        let Some((one, other)) = two(dir.path(), here, there) else { return };
        // The same letter is something else on the other side.
        other.append("INBOX", "NonJunk other", "04-Jan-2020 10:00:00 +0000", "Subject: theirs\r\n\r\n\r\n");
        other.imap(&["SELECT INBOX", "CREATE Archive"]);
        one.append("INBOX", "", "05-Jan-2020 10:00:00 +0000", "Subject: m\r\n\r\n\r\n");
        one.append("INBOX", "work", "05-Jan-2020 10:00:00 +0000", "Subject: n\r\n\r\n\r\n");
        one.imap(&["SELECT INBOX", "STORE 1 +FLAGS ($Junk $Forwarded)", "STORE 2 +FLAGS (\\Seen $MDNSent)"]);
        let expected = one.mail();
        let junk = flags(&["$Forwarded", "$Junk"]);
        assert_eq!(subject(&expected, "m").flags, junk);
        let report = pass(&one.machine, &other.machine);
        assert!(report.stderr.contains("2 new"), "{}", report.stderr);
        let mut seen = other.mail();
        let theirs = subject(&seen, "theirs");
        assert_eq!(theirs.flags, flags(&["NonJunk", "other"]));
        seen.remove(&theirs);
        assert_eq!(seen, expected, "{here}");
        other.machine.is_at_rest("keywords have come");

        // A client over there clears, sets and moves: Dovecot gives the message the letters of the other folder.
        pass(&other.machine, &one.machine);
        assert_eq!(subject(&one.mail(), "theirs").flags, theirs.flags);
        other.imap(&[
            "SELECT INBOX",
            "SEARCH RETURN (SAVE) SUBJECT m",
            "STORE $ -FLAGS ($Junk)",
            "STORE $ +FLAGS ($NotJunk \\Flagged)",
            "MOVE $ Archive",
        ]);
        let expected = other.mail();
        assert_eq!(subject(&expected, "m").flags, flags(&["$Forwarded", "$NotJunk", "\\Flagged"]));
        let report = pass(&other.machine, &one.machine);
        assert!(report.stderr.contains("1 moved, 1 flagged"), "{}", report.stderr);
        assert_eq!(one.mail(), expected, "{here}");
        // A move alone is no change of flags, though the letters are others.
        other.imap(&["SELECT INBOX", "SEARCH RETURN (SAVE) SUBJECT theirs", "MOVE $ Archive"]);
        let report = pass(&other.machine, &one.machine);
        assert!(report.stderr.contains("1 moved, 0 flagged"), "{}", report.stderr);
        assert_eq!(one.mail(), other.mail());

        // The case of a keyword is the same keyword's.
        one.imap(&["SELECT Archive", "STORE 1:* -FLAGS ($FORWARDED)", "STORE 1:* +FLAGS ($notjunk)"]);
        pass(&one.machine, &other.machine);
        assert_eq!(other.mail(), one.mail());
        for served in [&one, &other] {
            served.machine.is_at_rest("in the end");
            served.machine.ok(&["doctor"]);
            let files = walkdir::WalkDir::new(&served.machine.mail).into_iter().map(Result::unwrap);
            let mut names = files.filter(|file| file.file_name() == "dovecot-keywords");
            let made_up = |file: &walkdir::DirEntry| fs::read_to_string(file.path()).unwrap().contains("unknown-");
            assert!(!names.any(|file| made_up(&file)), "Dovecot had to make a name up");
        }
    }
}

/// A session that stays open. It ends with the test.
struct Session {
    child: programs::Server,
    answers: std::io::BufReader<std::process::ChildStdout>,
    commands: usize,
}

impl Session {
    fn new(served: &Served) -> Self {
        let mut imap = served.dovecot(&served.imap);
        let piped = std::process::Stdio::piped;
        let mut child =
            imap.arg("-c").arg(&served.conf).stdin(piped()).stdout(piped()).stderr(piped()).spawn().unwrap();
        let answers = std::io::BufReader::new(child.stdout.take().unwrap());
        Self { child: programs::Server(child), answers, commands: 0 }
    }

    /// One command, which must succeed, and what is answered.
    fn imap(&mut self, command: &str) -> String {
        let tag = format!("s{}", self.commands);
        self.commands += 1;
        let stdin = self.child.0.stdin.as_mut().unwrap();
        std::io::Write::write_all(stdin, format!("{tag} {command}\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        loop {
            let mut line = String::new();
            assert_ne!(std::io::BufRead::read_line(&mut self.answers, &mut line).unwrap(), 0, "{command}: {answer}");
            if let Some(rest) = line.strip_prefix(&format!("{tag} ")) {
                assert!(rest.starts_with("OK"), "{command}: {line}");
                return answer;
            }
            answer += &line;
        }
    }
}

#[test]
fn a_session_that_is_open_while_keywords_come_sees_them_by_their_names() {
    if !programs::become_an_ordinary_user() {
        return;
    }
    let dir = scratch();
    let Some((one, other)) = two(dir.path(), "maildir++", "maildir++") else { return };
    one.append("INBOX", "", "05-Jan-2020 10:00:00 +0000", "Subject: m\r\n\r\n\r\n");
    pass(&one.machine, &other.machine);
    let mut open = Session::new(&other);
    open.imap("SELECT INBOX");
    open.imap("STORE 1 +FLAGS (theirs)");
    let mut there = vec![String::from("theirs")];
    for n in 0..4 {
        // Names come while the session has the earlier ones in its memory, and it adds one of its own.
        one.imap(&["SELECT INBOX", &format!("STORE 1 +FLAGS (ours{n})")]);
        pass(&one.machine, &other.machine);
        open.imap("NOOP");
        let seen = open.imap("FETCH 1 (FLAGS)");
        there.push(format!("ours{n}"));
        assert!(there.iter().all(|keyword| seen.contains(keyword)) && !seen.contains("unknown"), "{seen}");
        open.imap(&format!("STORE 1 +FLAGS (theirs{n})"));
        there.push(format!("theirs{n}"));
        pass(&other.machine, &one.machine);
    }
    assert_eq!(one.mail(), other.mail());
    assert_eq!(subject(&one.mail(), "m").flags, there.into_iter().collect());
}

#[test]
fn keywords_that_dovecot_has_lost_the_names_of_come_back() {
    if !programs::become_an_ordinary_user() {
        return;
    }
    let dir = scratch();
    let Some((one, other)) = two(dir.path(), "maildir++", "maildir++") else { return };
    one.append("INBOX", "$Junk work", "05-Jan-2020 10:00:00 +0000", "Subject: m\r\n\r\n\r\n");
    one.imap(&["SELECT INBOX"]);
    pass(&one.machine, &other.machine);
    let expected = one.mail();
    fs::remove_file(one.machine.dir("INBOX").join("dovecot-keywords")).unwrap();
    // Whoever looks now finds names that Dovecot has made up.
    one.imap(&["SELECT INBOX", "STORE 1 +FLAGS (\\Seen)", "STORE 1 -FLAGS (\\Seen)"]);
    assert_eq!(subject(&one.mail(), "m").flags, flags(&["unknown-0", "unknown-1"]));
    let report = pass(&one.machine, &other.machine);
    assert!(!report.stderr.contains("1 flagged"), "{}", report.stderr);
    assert_eq!(other.mail(), expected);
    assert_eq!(one.mail(), expected, "they have other letters, with their names");
}

#[test]
fn keywords_of_clients_on_both_sides_are_never_mixed_up() {
    if !programs::become_an_ordinary_user() {
        return;
    }
    let dir = scratch();
    let Some((one, other)) = two(dir.path(), "maildir++", "fs") else { return };
    for n in 0..12 {
        let text = format!("Subject: m{n:02}\n\n");
        one.machine.put("INBOX", &format!("cur/{n}.m{n}.h:2,"), text, 1_500_000_000 + n);
    }
    pass(&one.machine, &other.machine);
    // Each client gives messages of its own keywords that its folder doesn't know yet, while names come from elsewhere.
    let client = |served: &Served, side: &str, first: usize, stop: &AtomicBool| {
        let mut given = BTreeMap::new();
        let mut n = 0;
        while !stop.load(Ordering::Relaxed) && n < 10 {
            let (message, keyword) = (format!("m{:02}", first + n % 6), format!("{side}{n}"));
            let store = format!("STORE $ +FLAGS ({keyword})");
            let search = format!("SEARCH RETURN (SAVE) SUBJECT {message}");
            served.imap(&["SELECT INBOX", &search, &store]);
            std::thread::sleep(Duration::from_millis(100));
            given.entry(message).or_insert_with(BTreeSet::new).insert(keyword);
            n += 1;
        }
        given
    };
    let stop = AtomicBool::new(false);
    let given = std::thread::scope(|scope| {
        let at_work = StopAtTheEnd(&stop);
        let left = scope.spawn(|| client(&one, "left", 0, &stop));
        let right = scope.spawn(|| client(&other, "right", 6, &stop));
        let mut rounds = 0;
        while !left.is_finished() || !right.is_finished() {
            pass_amid(&one.machine, &other.machine);
            pass_amid(&other.machine, &one.machine);
            rounds += 1;
        }
        drop(at_work);
        assert!(rounds > 2, "{rounds} rounds");
        let mut given = left.join().unwrap();
        given.extend(right.join().unwrap());
        given
    });
    for _ in 0..3 {
        pass(&one.machine, &other.machine);
        pass(&other.machine, &one.machine);
    }
    let seen = one.mail();
    assert_eq!(other.mail(), seen);
    for message in &seen {
        let expected = given.get(&message.subject).cloned().unwrap_or_default();
        assert_eq!(message.flags, expected, "{}", message.subject);
    }
    assert_eq!(given.values().map(BTreeSet::len).sum::<usize>(), 20);
    for served in [&one, &other] {
        served.machine.is_at_rest("the clients are gone");
    }
}

/// Sets and clears one flag of random messages, and moves some of those that are its own, through Dovecot, until it is
/// told to stop. Returns which of the messages have the flag in the end.
fn work(served: &Served, flag: &str, own: &str, stop: &AtomicBool, mut random: u64) -> BTreeMap<String, bool> {
    let mut next = |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let mut flagged = BTreeMap::new();
    while !stop.load(Ordering::Relaxed) {
        let mut commands = vec!["SELECT INBOX".to_owned()];
        let mut stored = Vec::new();
        for _ in 0..8 {
            let (name, on) = (format!("m{:03}", next(MESSAGES)), next(2) == 0);
            commands.push(format!("SEARCH RETURN (SAVE) SUBJECT {name}"));
            commands.push(format!("STORE $ {}FLAGS ({flag})", if on { '+' } else { '-' }));
            stored.push((name, on));
        }
        // These go to and fro.
        let (from, to) = if next(2) == 0 { ("INBOX", "Archive") } else { ("Archive", "INBOX") };
        commands.push(format!("SELECT {from}"));
        commands.push(format!("SEARCH RETURN (SAVE) SUBJECT {own}{:03}", next(MESSAGES / 4)));
        commands.push(format!("MOVE $ {to}"));
        served.imap(&commands.iter().map(String::as_str).collect::<Vec<_>>());
        flagged.extend(stored);
    }
    flagged
}

const MESSAGES: u64 = 60;

/// Tells the clients to stop when it goes, be it that the test has failed: it would wait for them for ever.
struct StopAtTheEnd<'a>(&'a AtomicBool);

impl Drop for StopAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Carries a bundle while others are at work: a message may go elsewhere between the scan and the reading of it, and
/// then the export says that it is to be repeated.
fn pass_amid(from: &Machine, to: &Machine) {
    let exported = loop {
        let ran = from.run(&["export", "--to", &to.name]);
        if ran.code == 0 {
            break ran.stdout;
        }
        let repeat = ran.stderr.contains("since it was scanned") && ran.stderr.contains("export again");
        assert!(repeat, "{}", ran.stderr);
    };
    let ran = to.run_with(&["import"], &exported);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
}

#[test]
fn what_clients_do_while_mailsync_is_at_work_is_neither_lost_nor_undone() {
    if !programs::become_an_ordinary_user() {
        return;
    }
    for (here, there) in [("maildir++", "fs"), ("fs", "maildir++")] {
        let dir = scratch();
        let Some((one, other)) = two(dir.path(), here, there) else { return };
        one.imap(&["CREATE Archive"]);
        let put = |name: &str, n: u64| {
            let name = format!("{name}{n:03}");
            one.machine.put(
                "INBOX",
                &format!("cur/{n}.{name}.h:2,"),
                // When Dovecot moves a file by a hard link, whose name tells the file's size and not that with CRLFs, it
                // takes the one for the other. Here they are the same.
                format!("Subject: {name}\r\n\r\n"),
                1_500_000_000 + n,
            );
            name
        };
        let mut names: BTreeSet<String> = (0..MESSAGES).map(|n| put("m", n)).collect();
        names.extend((0..MESSAGES / 4).flat_map(|n| [put("a", n), put("b", n)]));
        pass(&one.machine, &other.machine);

        let stop = AtomicBool::new(false);
        let (flagged, answered) = std::thread::scope(|scope| {
            let flagged = scope.spawn(|| work(&one, "\\Flagged", "a", &stop, 1));
            let answered = scope.spawn(|| work(&other, "\\Answered", "b", &stop, 2));
            let at_work = StopAtTheEnd(&stop);
            let until = Instant::now() + Duration::from_millis(2500);
            let mut rounds = 0;
            while Instant::now() < until && !flagged.is_finished() && !answered.is_finished() {
                pass_amid(&one.machine, &other.machine);
                pass_amid(&other.machine, &one.machine);
                rounds += 1;
            }
            drop(at_work);
            assert!(rounds > 2, "{rounds} rounds");
            (flagged.join().unwrap(), answered.join().unwrap())
        });
        for _ in 0..3 {
            pass(&one.machine, &other.machine);
            pass(&other.machine, &one.machine);
        }
        let seen = one.mail();
        assert_eq!(other.mail(), seen);
        let subjects: Vec<_> = seen.iter().map(|message| message.subject.clone()).collect();
        assert_eq!(subjects.len(), names.len(), "{here}: a message is lost, or there twice");
        assert_eq!(subjects.into_iter().collect::<BTreeSet<_>>(), names);
        for (expected, flag) in [(&flagged, "\\Flagged"), (&answered, "\\Answered")] {
            assert!(expected.len() > 20, "the client has done something: {}", expected.len());
            for (name, on) in expected {
                assert_eq!(subject(&seen, name).flags.contains(flag), *on, "{here}: {flag} of {name}");
            }
        }
        for machine in [&one.machine, &other.machine] {
            machine.ok(&["doctor"]);
        }
    }
}
