//! The usual mistakes, and what is in the way.

use std::fmt::Write;
use std::fs;

use super::{Day, mail, mails};
use crate::support::machine::Machine;
use crate::support::said::plain;
use crate::support::terminal::at_a_terminal;

pub fn play(day: &mut Day) {
    on_the_way_to_the_peer(day);
    at_a_terminal_without_a_bundle(day);
    one_of_each(day);
    names_and_places(day);
    keys(day);
    lists_of_nothing(day);
    names_of_bundles(day);
    parts(day);
    a_key_for_all_to_read(day);
    bundles_that_are_not_taken(day);
    verbs_of_other_programs(day);
}

/// Mail that doesn't fit into a pipe.
fn large(machine: &Machine) {
    let mut word = 1_u64;
    let mut text = String::from("Subject: a picture\n\n");
    for _ in 0..12_000 {
        word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        write!(text, "{word:016x}").unwrap();
    }
    machine.put("INBOX", "cur/picture:2,S", text, 1_795_000_000);
}

fn on_the_way_to_the_peer(day: &mut Day) {
    day.about("The host's name is wrong; the far side has no --reply; its shell prints a banner");
    let (desktop, server) = (day.replica("desktop"), day.replica("server"));
    crate::support::machine::make_peers(&desktop, &server);
    large(&desktop);
    day.at(&desktop, "mailsync export --plain | ssh sever mailsync import --reply | mailsync import");
    desktop.reach_by("server", &["ssh", "sever", "mailsync", "import", "--reply"]);
    day.at(&desktop, "mailsync update");
    day.at(&desktop, "mailsync update sever");
    desktop.reconfigure(&[("call", r#"["ssh", "server", "mailsync", "import"]"#)]);
    day.at(&desktop, "mailsync export | ssh server mailsync import | mailsync import");
    day.at(&desktop, "mailsync update");
    fs::write(day.here().join("banner"), "Welcome to server!\n").unwrap();
    // How far the far side gets before it is ended is another time otherwise: it isn't heard.
    desktop.reconfigure(&[("call", r#"["sh", "-c", "ssh server mailsync import --reply 2>/dev/null"]"#)]);
    day.at(&desktop, "mailsync export | ssh server mailsync import --reply 2>/dev/null | mailsync import");
    day.at(&desktop, "mailsync update");
}

fn at_a_terminal_without_a_bundle(day: &mut Day) {
    day.about("A bundle is forgotten, and standard input is a terminal");
    let desktop = day.replica("desktop");
    for command in ["import", "inspect -", "verify -"] {
        let Some(ran) = at_a_terminal(&format!("NO_COLOR=1 {}", desktop.line(command)), &[]) else { return };
        let said = plain(&ran.words(), day.here());
        write!(day.printed, "desktop$ mailsync {command}\n! {said}\n(exit code {})\n\n", ran.code).unwrap();
    }
}

fn one_of_each(day: &mut Day) {
    day.about("One message, one folder, one job");
    let desktop = day.machine("desktop");
    mkdir(day, "desktop-mail");
    day.at(&desktop, "mailsync init desktop-mail --name desktop --quiet >desktop.pub");
    let laptop = day.replica("laptop");
    crate::support::machine::make_peers(&desktop, &laptop);
    mail(&desktop, "INBOX", "Anna", "minutes", 1);
    day.at(&desktop, "mailsync scan");
    day.at(&desktop, "echo Hello | mailsync uux laptop true");
    day.at(&desktop, "mailsync export -o stick/1.zst");
    day.at(&laptop, "mailsync inspect stick/1.zst");
    day.at(&laptop, "mailsync import stick/1.zst");
}

/// Makes a directory of a situation, which is an empty Maildir.
fn mkdir(day: &Day, name: &str) {
    crate::support::make_folder(&day.here().join(name));
}

fn names_and_places(day: &mut Day) {
    day.about("A typo in a name, a directory that isn't there, a full disk");
    let (desktop, laptop) = day.pair();
    mail(&desktop, "INBOX", "Anna", "minutes", 1);
    day.at(&desktop, "mailsync export --to labtop -o stick/");
    day.at(&desktop, "mailsync update labtop");
    day.at(&desktop, "mailsync log --peer labtop");
    day.at(&desktop, "mailsync export -o stick/nodir/x.zst");
    day.at(&desktop, "mailsync export -o stick/nodir/");
    day.at(&desktop, "mailsync export >/dev/full");
    day.at(&desktop, "mailsync export -o stick/1.zst");
    day.at(&laptop, "mailsync inspect stick");
    day.at(&laptop, "mailsync verify stick/1.zst stick/1.zst");
}

fn keys(day: &mut Day) {
    day.about("What is given for a key and is none");
    let desktop = day.replica("desktop");
    day.at(&desktop, "mailsync peer add server --key SHA256:ygrPqsk5wk667i4i3fnEDB/3R/C2o2VuOlIWJAm1Yvs");
    day.at(
        &desktop,
        "mailsync peer add server --key AAAAC3NzaC1lZDI1NTE5AAAAIEXPE3WglmEskzZh9HBDjaBLjsQ9yUF09q62kzCJfDz6",
    );
    day.at(&desktop, "mailsync peer add server --key ''");
    day.at(&desktop, ": >server.pub; mailsync peer add server --key server.pub");
}

fn lists_of_nothing(day: &mut Day) {
    day.about("Lists of nothing");
    let desktop = day.replica("desktop");
    for line in ["mailsync peer list", "mailsync trash list", "mailsync jobs list", "mailsync export"] {
        day.at(&desktop, line);
    }
}

fn names_of_bundles(day: &mut Day) {
    day.about("A bundle would take another's place, has a name that isn't looked at, or lies deeper");
    let (desktop, laptop) = day.pair();
    mail(&desktop, "INBOX", "Anna", "minutes", 1);
    day.at(&desktop, "mailsync export -o stick/my-bundle");
    day.at(&desktop, "mailsync export -o stick/my-bundle");
    day.at(&laptop, "mailsync import stick");
    day.at(&laptop, "mkdir stick/deeper; mv stick/my-bundle stick/deeper/b.zst");
    day.at(&laptop, "mailsync import stick");
    day.at(&laptop, "mailsync import stick/deeper");
}

fn parts(day: &mut Day) {
    day.about("Parts that are smaller than the list of entries");
    let (desktop, _) = day.pair();
    mails(&desktop, "INBOX", 60);
    day.at(&desktop, "mailsync export --split 4K -o stick/");
}

fn a_key_for_all_to_read(day: &mut Day) {
    day.about("Everybody may read the private key; the key is another's");
    let (desktop, laptop) = day.pair();
    day.at(&desktop, "chmod 644 desktop/key");
    day.at(&desktop, "mailsync export -o stick/");
    day.at(&desktop, "chmod 600 desktop/key; cp laptop/key desktop/key");
    day.at(&desktop, "mailsync status | sed q");
    day.at(&desktop, "mailsync export -o stick/");
    drop(laptop);
}

fn bundles_that_are_not_taken(day: &mut Day) {
    day.about("A stick was lost, a bundle is damaged, for somebody else, or one's own");
    let (desktop, laptop) = day.pair();
    let server = day.replica("server");
    crate::support::machine::make_peers(&desktop, &server);
    for (subject, name) in [("minutes", "1.zst"), ("the keys", "2.zst")] {
        mail(&desktop, "INBOX", "Anna", subject, 1);
        day.at(&desktop, &format!("mailsync export --to laptop --since-last --plain --quiet -o stick/{name}"));
    }
    day.at(&laptop, "mailsync import stick/2.zst");
    day.at(&laptop, "head -c 700 stick/1.zst >cut.zst; mailsync import cut.zst");
    let mut bytes = fs::read(day.here().join("stick/1.zst")).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(day.here().join("flipped.zst"), bytes).unwrap();
    day.at(&laptop, "mailsync import flipped.zst");
    day.at(&server, "mailsync import stick/1.zst");
    day.at(&desktop, "mailsync import stick/1.zst");
    day.at(&laptop, "mailsync import stick/1.zst stick/2.zst");
    assert_eq!(laptop.mailbox().len(), 2);
}

fn verbs_of_other_programs(day: &mut Day) {
    day.about("Commands of other programs");
    let desktop = day.replica("desktop");
    for verb in ["sync", "pull", "push", "diff"] {
        day.at(&desktop, &format!("mailsync {verb}"));
    }
}
