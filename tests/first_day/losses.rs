//! What could cost mail, or let somebody in.

use std::fs;

use super::{Day, mail, mails};
use crate::support::machine::{Machine, exchange, make_peers, pass};

pub fn play(day: &mut Day) {
    a_large_folder(day);
    many_small_folders(day);
    a_small_folder(day);
    a_stolen_machine(day);
    a_mail_that_was_not_sent(day);
    the_sample_rule(day);
}

fn a_large_folder(day: &mut Day) {
    day.about("A folder of 152 messages was deleted by accident, and the laptop still has it");
    let (desktop, laptop) = day.pair();
    mail(&desktop, "INBOX", "Bob", "the bees are back", 3);
    mails(&desktop, "Lists/bees", 152);
    exchange(&desktop, &laptop);
    day.at(&laptop, "mailsync export --to desktop -o stick/");
    desktop.reach(&laptop);
    day.at(&desktop, "rm -r desktop-mail/.Lists.bees");
    day.at(&desktop, "mailsync import stick/");
    day.at(&desktop, "mailsync import --allow-mass-delete stick/");
    day.at(&desktop, "mailsync export -o stick/");
    day.at(&desktop, "mailsync export -o stick/ --allow-mass-delete");
    day.at(&desktop, "mailsync update --allow-mass-delete");
    day.at(&desktop, "mailsync scan --dry-run");
    day.at(&desktop, "mailsync log --removed");
    day.remark("It wasn't meant.");
    day.at(&desktop, "mailsync restore Lists/bees");
    day.at(&desktop, "mailsync export -o stick/");
    day.at(&laptop, "mailsync import stick/");
    day.at(&laptop, "mailsync export -o stick/");
    day.at(&desktop, "mailsync import stick/");
    assert_eq!((desktop.mailbox().len(), laptop.mailbox().len()), (153, 153));
}

fn many_small_folders(day: &mut Day) {
    day.about("All folders but the INBOX were deleted, none of them large");
    let (desktop, laptop) = day.pair();
    mail(&desktop, "INBOX", "Bob", "the bees are back", 3);
    for number in 1..=12 {
        mails(&desktop, &format!("F{number}"), 20);
    }
    exchange(&desktop, &laptop);
    day.at(&desktop, "rm -r desktop-mail/.F*");
    day.at(&desktop, "mailsync scan");
    day.remark("Somebody says that it is meant. The other machine asks again.");
    day.at(&desktop, "mailsync scan --allow-mass-delete --quiet");
    day.at(&desktop, "mailsync export -o stick/");
    day.at(&laptop, "mailsync import stick/");
    day.at(&laptop, "mailsync import --dry-run stick/");
    assert_eq!(laptop.mailbox().len(), 241);
    day.remark("Nobody had meant it: it comes back on both, from what the laptop has.");
    day.at(&laptop, "mailsync import --allow-mass-delete stick/");
    day.at(&laptop, "mailsync trash restore --since 1h --quiet");
    day.at(&laptop, "mailsync export -o stick/ --quiet");
    day.at(&desktop, "mailsync import stick/ --quiet");
    assert_eq!((desktop.mailbox().len(), laptop.mailbox().len()), (241, 241));
}

fn a_small_folder(day: &mut Day) {
    day.about("A folder of 88 messages of 300 was deleted, which is less than what is refused");
    let (desktop, laptop) = day.pair();
    mails(&desktop, "INBOX", 212);
    mails(&desktop, "Archive/2021", 88);
    exchange(&desktop, &laptop);
    day.at(&desktop, "rm -r desktop-mail/.Archive.2021");
    day.at(&desktop, "mailsync export -o stick/");
    day.at(&laptop, "mailsync import stick/");
    day.at(&laptop, "mailsync trash restore --folder Archive/2021 2>&1 | tail -n 1");
    assert_eq!(laptop.mailbox().len(), 300);
}

fn a_stolen_machine(day: &mut Day) {
    day.about("The laptop was stolen, and the server exchanges bundles with it, too");
    let (desktop, laptop) = day.pair();
    let server = day.replica("server");
    make_peers(&desktop, &server);
    make_peers(&server, &laptop);
    mail(&desktop, "INBOX", "Bob", "the bees are back", 3);
    pass(&desktop, &server);
    pass(&server, &laptop);
    pass(&laptop, &server);
    pass(&server, &desktop);
    day.at(&desktop, "mailsync peer remove laptop");
    let key = day.replica("tablet").key();
    fs::write(day.here().join("new.pub"), key).unwrap();
    day.at(&desktop, "mailsync peer add server --key new.pub");
    make_known(&desktop, &laptop);
    day.at(&desktop, "mailsync peer revoke laptop --reason stolen");
    day.at(&desktop, "mailsync export --to server -o stick/");
    day.at(&server, "mailsync import stick/");
    mail(&laptop, "INBOX", "Thief", "from the stolen laptop", 4);
    day.at(&laptop, "mailsync export --to server -o stick/");
    day.at(&server, "mailsync import stick/laptop-server-2.zst.age");
    day.at(&server, "mailsync export --to desktop -o stick/");
    day.at(&desktop, "mailsync import stick/");
    assert_eq!((server.mailbox().len(), desktop.mailbox().len()), (1, 1));
}

/// A peer that was forgotten is one again.
fn make_known(machine: &Machine, peer: &Machine) {
    machine.ok(&["peer", "add", &peer.name, "--key", &peer.key()]);
}

fn a_mail_that_was_not_sent(day: &mut Day) {
    day.about("A mail was to be sent through the desktop, and wasn't");
    let (desktop, laptop) = day.pair();
    laptop.reach(&desktop);
    day.program("sendmail", "#!/bin/sh\ncat >/dev/null\necho 'no such user' >&2\nexit 67\n");
    let sendmail = format!("{}/bin/sendmail", day.here().display());
    desktop.allow("sendmail", &[&sendmail], &["-oi", "--", "@address"], "laptop");
    day.at(&laptop, "echo Hello | mailsync uux desktop sendmail -oi -- nobody@example.org");
    day.at(&laptop, "mailsync update -q");
    day.at(&laptop, "mailsync update -q");
    day.at(&laptop, "mailsync status");
}

fn the_sample_rule(day: &mut Day) {
    day.about("The sample rule of the configuration, and how mutt calls sendmail");
    let (desktop, laptop) = day.pair();
    let config = desktop.home.join("config.toml");
    let text = fs::read_to_string(&config).unwrap();
    let (head, rule) = text.split_once("# [[allow]]").expect("the configuration has a sample rule");
    let rule: Vec<&str> = rule.lines().map(|line| line.trim_start_matches("# ")).collect();
    let rule = rule.join("\n");
    let stub = format!("{}/bin/sendmail", day.here().display());
    day.program("sendmail", "#!/bin/sh\ncat >/dev/null\n");
    assert!(rule.contains("/usr/sbin/sendmail"), "{rule}");
    fs::write(&config, format!("{head}[[allow]]{}", rule.replace("/usr/sbin/sendmail", &stub))).unwrap();
    day.at(&laptop, "echo Hello | mailsync uux desktop sendmail -oi -f me@example.org -- you@example.org");
    day.at(&laptop, "mailsync export -o stick/");
    day.at(&desktop, "mailsync import stick/");
}
