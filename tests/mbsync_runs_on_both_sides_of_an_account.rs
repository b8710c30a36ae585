//! Two machines each keep their mail the same as one IMAP account's, by an mbsync of their own, and exchange bundles as
//! well. In the order that the guide asks for nothing is doubled or lost; in another one nothing is lost, and the copies
//! don't become more and more.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::dovecot_and_mailsync_share_a_maildir::Served;
use crate::support::machine::{Machine, pair, pass};
use crate::support::programs::{self, run};
use crate::support::scratch;

/// An account on a Dovecot, and two machines with their own mbsyncs.
struct Sides {
    account: Served,
    machines: [Machine; 2],
    confs: [PathBuf; 2],
}

impl Sides {
    fn new(dir: &Path) -> Option<Self> {
        programs::find("mbsync")?;
        let account = Served::new(dir, "account", "maildir++")?;
        account.imap(&["SELECT INBOX", "CREATE Lists"]);
        let (one, other) = pair(dir);
        let machines = [one, other];
        let confs = machines.each_ref().map(|machine| {
            let conf = machine.home.with_extension("mbsyncrc");
            let text = format!(
                "IMAPAccount account\nTunnel \"{}\"\n\nIMAPStore far\nAccount account\n\n\
                 MaildirStore near\nInbox {mail}\nSubFolders Maildir++\n\n\
                 Channel mail\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nExpunge Both\nCopyArrivalDate yes\n\
                 SyncState *\n",
                account.tunnel(),
                mail = machine.mail.display(),
            );
            fs::write(&conf, text).unwrap();
            conf
        });
        Some(Self { account, machines, confs })
    }

    /// Runs the mbsync of one machine.
    fn sync(&self, n: usize) {
        let home = self.machines[n].home.parent().unwrap();
        let mut command = Command::new("mbsync");
        let ran = run(command.env("HOME", home).arg("-q").arg("-c").arg(&self.confs[n]).arg("mail"));
        assert_eq!(ran.code, 0, "{ran:?}");
    }

    /// Carries a bundle from one machine to the other.
    fn pass(&self, from: usize) {
        pass(&self.machines[from], &self.machines[1 - from]);
    }

    fn append(&self, subject: &str) {
        let text = format!("From: ann@example.org\r\nSubject: {subject}\r\n\r\nThis is {subject}.\r\n");
        self.account.append("INBOX", "", "05-Jan-2020 10:00:00 +0000", &text);
    }

    /// How many copies of each message there are at the account and at the machines, by subject.
    fn copies(&self) -> [BTreeMap<String, usize>; 3] {
        [&self.account.machine.mail, &self.machines[0].mail, &self.machines[1].mail].map(|root| {
            let mut copies = BTreeMap::new();
            for file in files(root) {
                *copies.entry(subject(&file)).or_default() += 1;
            }
            copies
        })
    }

    /// Everywhere there are exactly these, once.
    #[track_caller]
    fn hold(&self, subjects: &[&str], when: &str) {
        let wanted: BTreeMap<String, usize> = subjects.iter().map(|name| ((*name).to_owned(), 1)).collect();
        for (copies, whose) in self.copies().into_iter().zip(["the account", "one", "the other"]) {
            assert_eq!(copies, wanted, "{whose}, {when}");
        }
    }

    fn file(&self, n: usize, name: &str) -> PathBuf {
        files(&self.machines[n].mail).into_iter().find(|file| subject(file) == name).unwrap()
    }
}

fn files(root: &Path) -> Vec<PathBuf> {
    let items = walkdir::WalkDir::new(root).into_iter().map(Result::unwrap);
    let files = items.filter(|item| item.file_type().is_file()).map(walkdir::DirEntry::into_path);
    files.filter(|file| ["cur", "new"].iter().any(|sub| file.parent().unwrap().ends_with(sub))).collect()
}

fn subject(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    text.split_once("Subject: ").unwrap().1.lines().next().unwrap().to_owned()
}

#[test]
fn with_mbsync_on_both_sides_of_one_account_nothing_is_doubled_or_lost() {
    if !programs::become_an_ordinary_user() {
        return;
    }
    let dir = scratch();
    let Some(sides) = Sides::new(dir.path()) else { return };
    // The order of the guide: mbsync on each machine, and on the first once more, then bundles.
    let round = |subjects: &[&str], when: &str| {
        for _ in 0..2 {
            for n in [0, 1, 0] {
                sides.sync(n);
            }
            for n in [0, 1] {
                sides.pass(n);
            }
        }
        for n in [0, 1, 0] {
            sides.sync(n);
        }
        sides.hold(subjects, when);
        for machine in &sides.machines {
            machine.is_at_rest(when);
        }
    };
    for name in ["m1", "m2", "m3"] {
        sides.append(name);
    }
    round(&["m1", "m2", "m3"], "what was there");
    sides.append("m4");
    round(&["m1", "m2", "m3", "m4"], "new mail");
    // A flag here, a flag at the account, a move there, a removal at each.
    let file = sides.file(0, "m1");
    let name = file.file_name().unwrap().to_str().unwrap().split(":2,").next().unwrap().to_owned();
    fs::rename(&file, sides.machines[0].mail.join("cur").join(format!("{name}:2,F"))).unwrap();
    sides.account.imap(&["SELECT INBOX", "STORE 2 +FLAGS (\\Answered)"]);
    let file = sides.file(1, "m3");
    fs::rename(&file, sides.machines[1].dir("Lists").join("cur/m3:2,S")).unwrap();
    round(&["m1", "m2", "m3", "m4"], "flags and a move");
    let seen: BTreeMap<String, (String, String)> = sides
        .account
        .mail()
        .into_iter()
        .map(|seen| (seen.subject, (seen.mailbox, seen.flags.into_iter().collect::<Vec<_>>().join(" "))))
        .collect();
    let expected = [("m1", "INBOX", "\\Flagged"), ("m2", "INBOX", "\\Answered"), ("m3", "Lists", "\\Seen")];
    for (name, mailbox, flags) in expected {
        assert_eq!(seen[name], (mailbox.to_owned(), flags.to_owned()), "{name} at the account");
    }
    fs::remove_file(sides.file(0, "m1")).unwrap();
    round(&["m2", "m3", "m4"], "a removal here");
    sides.account.imap(&["SELECT INBOX", "STORE 1 +FLAGS (\\Deleted)", "EXPUNGE"]);
    round(&["m3", "m4"], "a removal at the account");
}

#[test]
fn with_mbsync_on_both_sides_in_the_wrong_order_nothing_is_lost_and_copies_do_not_become_more_and_more() {
    if !programs::become_an_ordinary_user() {
        return;
    }
    // Each takes the other's bundle first, and then runs its mbsync: one after the other, or both steps side by side.
    for side_by_side in [false, true] {
        let dir = scratch();
        let Some(sides) = Sides::new(dir.path()) else { return };
        sides.append("m1");
        sides.sync(0);
        sides.append("m2");
        let mut counts = Vec::new();
        for _ in 0..6 {
            if side_by_side {
                for n in [0, 1] {
                    sides.pass(n);
                }
                for n in [1, 0] {
                    sides.sync(n);
                }
            } else {
                for n in [0, 1] {
                    sides.pass(n);
                    sides.sync(1 - n);
                }
            }
            let copies = sides.copies();
            assert!(copies[0].len() == 2, "nothing is lost: {copies:?}");
            counts.push(copies[0].values().sum::<usize>());
        }
        assert!(counts.iter().all(|&count| count <= 6), "{counts:?}");
        assert_eq!(counts[3..], [counts[5]; 3], "the copies at the account become more and more: {counts:?}");
        // In the right order again, all three hold the same.
        for n in [0, 1, 0] {
            sides.sync(n);
        }
        for n in [0, 1, 0] {
            sides.pass(n);
            sides.sync(0);
            sides.sync(1);
        }
        let [account, one, other] = sides.copies();
        assert_eq!((&one, &other), (&account, &account), "{counts:?}");
        println!("copies of two messages at the account, round by round: {counts:?}; at last {account:?}");
    }
}
