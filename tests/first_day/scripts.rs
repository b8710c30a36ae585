//! What runs by itself, and what reads what mailsync prints.

use std::fs;

use super::{Day, mail};
use crate::support::machine::{exchange, make_peers};

pub fn play(day: &mut Day) {
    from_cron(day);
    out_of_reach(day);
    who_says_what(day);
    documents(day);
    exit_codes(day);
    a_strangers_file(day);
    which_version(day);
}

fn from_cron(day: &mut Day) {
    day.about("An update from cron, while the far side isn't told to be quiet");
    let (desktop, laptop) = day.pair();
    laptop.reach_by("desktop", &["ssh", "desktop", "mailsync", "import", "--reply"]);
    mail(&desktop, "INBOX", "Anna", "minutes", 1);
    day.at(&laptop, "mailsync update -q");
    assert_eq!(laptop.mailbox().len(), 1);
}

fn out_of_reach(day: &mut Day) {
    day.about("The peer is off, or there is no network");
    let (desktop, laptop) = day.pair();
    laptop.reach_by("desktop", &["ssh", "nowhere", "mailsync", "import", "--reply"]);
    day.at(&laptop, "mailsync update -q");
    drop(desktop);
}

fn who_says_what(day: &mut Day) {
    day.about("Who says what in an update?");
    let (desktop, laptop) = day.pair();
    laptop.reach_by("desktop", &["ssh", "desktop", "mailsync", "import", "--reply"]);
    mail(&desktop, "INBOX", "Anna", "minutes", 1);
    mail(&laptop, "INBOX", "Bob", "the bees are back", 2);
    day.at(&laptop, "mailsync update");
}

fn documents(day: &mut Day) {
    day.about("Documents: each command has one, on success as on failure");
    let (desktop, laptop) = day.pair();
    let third = day.replica("third");
    mail(&desktop, "INBOX", "Anna", "minutes", 1);
    fs::write(day.here().join("third.pub"), third.key()).unwrap();
    fs::write(day.here().join("junk.zst"), "junk").unwrap();
    let done = ["/command", "/exit_code", "/error"];
    let failed = ["/command", "/exit_code", "/error/kind", "/error/message"];
    day.members(&desktop, "peer add third --key third.pub", &[&done[..], &["/peer/name"]].concat());
    day.members(&desktop, "peer rename third fourth", &[&done[..], &["/former_name", "/name"]].concat());
    day.members(&desktop, "peer remove fourth", &done);
    day.members(&desktop, "doctor", &done);
    let bundle =
        ["/bundles/0/number", "/bundles/0/file", "/bundles/0/messages", "/bundles/0/bytes", "/bundles/0/file_bytes"];
    day.members(&desktop, "export -o stick/1.zst", &[&done[..], &bundle].concat());
    day.members(&desktop, "export", &failed);
    for line in ["import junk.zst", "verify junk.zst", "inspect junk.zst", "update nobody", "scan --shallow"] {
        day.members(&laptop, line, &failed);
    }
    mail(&desktop, "INBOX", "Bob", "the bees are back", 2);
    desktop.ok(&["export", "--since-last", "-o", &format!("{}/stick/2.zst", day.here().display())]);
    let counts = ["/dry_run", "/bundles/0/outcome", "/bundles/0/new", "/bundles/1/new"];
    day.members(&laptop, "import --dry-run stick/1.zst stick/2.zst", &counts);
    day.members(&laptop, "import stick/1.zst stick/2.zst", &counts);
    day.members(&laptop, "inspect stick/1.zst", &["/bundles/0/made", "/bundles/0/messages"]);
    day.members(&laptop, "scan --dry-run", &["/dry_run", "/new"]);
}

fn exit_codes(day: &mut Day) {
    day.about("One exit code for one kind of fault");
    let (desktop, laptop) = day.pair();
    exchange(&desktop, &laptop);
    fs::write(day.here().join("junk.zst"), "junk").unwrap();
    let unknown = ["export --to nobody", "update nobody", "peer remove nobody", "jobs show 000000", "trash show 9"];
    day.remark("A name that nobody has");
    day.codes(&desktop, &unknown);
    day.codes(&desktop, &["trash restore 9", "restore Nowhere", "log --peer nobody", "log --folder Nowhere"]);
    day.remark("A file that isn't there");
    day.codes(&desktop, &["import none.zst", "inspect none.zst", "verify none.zst", "peer add third --key none.pub"]);
    day.remark("A key or a name that is taken");
    day.codes(&desktop, &["peer add laptop --key laptop/key.pub", "peer add other --key laptop/key.pub"]);
    day.remark("No bundle");
    day.codes(&desktop, &["import junk.zst", "inspect junk.zst", "verify junk.zst"]);
    day.remark("No replica");
    let nowhere = day.machine("nowhere");
    day.codes(&nowhere, &["scan", "status", "export", "import junk.zst", "log"]);
}

fn a_strangers_file(day: &mut Day) {
    day.about("A stranger's file in a directory from which is imported every night");
    let (desktop, laptop) = day.pair();
    let (evil, other) = (day.replica("evil"), day.replica("other"));
    make_peers(&evil, &other);
    mail(&evil, "INBOX", "Thief", "open this", 1);
    day.at(&evil, "mailsync export --plain --quiet -o stick/");
    day.at(&laptop, "mailsync import stick/");
    day.at(&laptop, "mailsync import stick/");
    mail(&desktop, "INBOX", "Anna", "minutes", 1);
    day.at(&desktop, "mailsync export --quiet -o stick/");
    day.at(&laptop, "mailsync import stick/");
}

fn which_version(day: &mut Day) {
    day.about("Which version is it?");
    let machine = day.machine("desktop");
    day.at(&machine, "mailsync --version | sed 's/ (.*)//'");
    day.members(&machine, "--version", &["/command", "/mailsync", "/bundle_format", "/state_version"]);
}
