//! What a person asks every day.

use std::fs;

use super::{Day, mail, mails, remove};
use crate::support::machine::{exchange, pass};

pub fn play(day: &mut Day) {
    which_mails(day);
    one_mail_of_many(day);
    who_removed_it(day);
    what_the_status_knows(day);
    whether_it_arrived(day);
    how_large(day);
    what_went_wrong(day);
}

fn which_mails(day: &mut Day) {
    day.about("Which mails are it?");
    let (desktop, laptop) = day.pair();
    for (subject, sent) in [("minutes", 1), ("the keys", 2), ("an offer", 3)] {
        mail(&desktop, "INBOX", "Anna", subject, sent);
    }
    exchange(&desktop, &laptop);
    mail(&desktop, "INBOX", "Jürgen", "Grüße aus Köln", 5);
    day.at(&desktop, "mkdir -p desktop-mail/.Work/cur desktop-mail/.Work/new desktop-mail/.Work/tmp");
    day.at(&desktop, "mv desktop-mail/cur/minutes:2,S desktop-mail/.Work/cur/");
    day.at(&desktop, "mv desktop-mail/cur/the-keys:2,S desktop-mail/cur/the-keys:2,FS");
    day.at(&desktop, "rm desktop-mail/cur/an-offer:2,S");
    day.at(&desktop, "mailsync scan --dry-run -v");
    day.at(&desktop, "mailsync export --dry-run -v");
    day.at(&desktop, "mailsync export -v -o stick/1.zst");
    day.at(&laptop, "mailsync inspect stick/1.zst -v");
    day.at(&laptop, "mailsync verify stick/1.zst --list");
    mail(&desktop, "INBOX", "Bob", "the bees are back", 6);
    day.at(&desktop, "mailsync export --since-last -o stick/2.zst");
    day.remark("A dry run of both adds up.");
    day.at(&laptop, "mailsync import --dry-run -v stick/1.zst stick/2.zst");
    day.at(&laptop, "mailsync import -v stick/1.zst stick/2.zst");
    day.at(&laptop, "mailsync trash list");
}

fn one_mail_of_many(day: &mut Day) {
    day.about("How do I get back one mail of many, or all of them, from the trash?");
    let (desktop, laptop) = day.pair();
    mails(&desktop, "Archive/2021", 6);
    exchange(&desktop, &laptop);
    day.at(&desktop, "rm desktop-mail/.Archive.2021/cur/*");
    day.at(&desktop, "mailsync scan --allow-mass-delete --quiet");
    let bundle = desktop.ok(&["export"]).stdout;
    assert_eq!(laptop.run_with(&["import", "--allow-mass-delete"], &bundle).code, 0);
    day.at(&laptop, "mailsync trash list");
    day.at(&laptop, "mailsync trash restore 1");
    day.at(&laptop, "mailsync trash restore 2-3 --to stick/");
    day.at(&laptop, "mailsync trash restore --folder Archive/2021 --dry-run");
    day.at(&laptop, "mailsync trash restore Archive/2021");
    day.at(&laptop, "mailsync trash restore --all");
    assert_eq!(laptop.mailbox().len(), 6);
    day.remark("A number is given once.");
    mail(&laptop, "INBOX", "Bob", "the bees are back", 3);
    exchange(&laptop, &desktop);
    remove(&desktop, "the bees are back");
    pass(&desktop, &laptop);
    day.at(&laptop, "mailsync trash list");
    day.at(&laptop, "mailsync log -n 4");
}

fn who_removed_it(day: &mut Day) {
    day.about("Who removed this mail, and when? What has changed since yesterday?");
    let (desktop, laptop) = day.pair();
    mail(&desktop, "INBOX", "Anna", "minutes", 1);
    mail(&desktop, "INBOX", "Bob", "the bees are back", 2);
    exchange(&desktop, &laptop);
    remove(&desktop, "minutes");
    day.at(&desktop, "mailsync scan");
    pass(&desktop, &laptop);
    for machine in [&desktop, &laptop] {
        day.at(machine, "mailsync log --removed");
    }
    day.at(&laptop, "mailsync log --message '<minutes@example.org>'");
    day.at(&laptop, "mailsync log --since yesterday --peer desktop");
}

fn what_the_status_knows(day: &mut Day) {
    day.about("Does the status know what I did after the last scan?");
    let (desktop, _) = day.pair();
    mail(&desktop, "INBOX", "Anna", "minutes", 1);
    mail(&desktop, "INBOX", "Bob", "the bees are back", 2);
    mails(&desktop, "Lists/bees", 3);
    desktop.ok(&["scan"]);
    day.at(&desktop, "rm -r desktop-mail/.Lists.bees");
    day.at(&desktop, "rm desktop-mail/cur/minutes:2,S");
    day.at(&desktop, "mv desktop-mail/cur/the-bees-are-back:2,S desktop-mail/cur/the-bees-are-back:2,FS");
    day.at(&desktop, "mailsync status");
    day.at(&desktop, "mailsync status --no-scan");
}

fn whether_it_arrived(day: &mut Day) {
    day.about("Did my last export reach the laptop?");
    let (desktop, laptop) = day.pair();
    mail(&desktop, "INBOX", "Anna", "minutes", 1);
    day.at(&desktop, "mailsync export -o stick/1.zst");
    day.at(&desktop, "mailsync status");
    laptop.ok(&["import", "--quiet", &format!("{}/stick/1.zst", day.here().display())]);
    pass(&laptop, &desktop);
    day.at(&desktop, "mailsync status");
    day.at(&desktop, "mailsync peer list");
}

fn how_large(day: &mut Day) {
    day.about("How large will the bundle be?");
    let (desktop, _) = day.pair();
    mails(&desktop, "INBOX", 40);
    day.at(&desktop, "mailsync export --dry-run");
    day.at(&desktop, "mailsync export -o stick/1.zst");
    let size = fs::metadata(day.here().join("stick/1.zst")).unwrap().len();
    let told = desktop.ok(&["status", "--json"]).json()["peers"][0]["last_sent_bytes"].as_u64();
    assert_eq!(told, Some(size));
    desktop.ok(&["scan"]);
    day.at(&desktop, "mailsync export --since-last -o stick/2.zst");
}

fn what_went_wrong(day: &mut Day) {
    day.about("What went wrong yesterday?");
    let (desktop, laptop) = day.pair();
    mail(&desktop, "INBOX", "Anna", "minutes", 1);
    day.at(&desktop, "mailsync export --quiet -o stick/1.zst");
    day.at(&desktop, "mailsync export --quiet --since-last -o stick/2.zst");
    day.at(&desktop, "mailsync export --quiet --since-last -o stick/3.zst");
    day.at(&laptop, "head -c 700 stick/1.zst >stick/cut.zst");
    day.at(&laptop, "mailsync import --quiet stick/cut.zst");
    day.at(&laptop, "mailsync import --quiet stick/1.zst stick/2.zst");
    for machine in [&desktop, &laptop] {
        day.at(machine, "mailsync log");
    }
}
