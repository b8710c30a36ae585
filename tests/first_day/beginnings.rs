//! How it begins: the wrong directory, the wrong format, the second time.

use std::fs;

use super::{Day, mail};
use crate::support::make_folder;

pub fn play(day: &mut Day) {
    around_the_mail_root(day);
    no_maildirs(day);
    twice(day);
    an_empty_directory(day);
    a_key_for_the_peer(day);
    the_configuration(day);
    what_is_gone(day);
}

fn around_the_mail_root(day: &mut Day) {
    day.about("The home directory, the whole disk, or one folder is given for the mail root");
    let desktop = day.machine("desktop");
    for dir in ["me/Maildir", "me/Maildir/.Sent", "me/Maildir/.Archive.2021"] {
        make_folder(&day.here().join(dir));
        fs::write(day.here().join(dir).join("cur/1:2,S"), format!("Subject: {dir}\n\n")).unwrap();
    }
    day.at(&desktop, "mailsync init me");
    day.at(&desktop, "mailsync init me/Maildir --layout fs");
    day.at(&desktop, "mailsync init me/Maildir/.Sent");
    day.at(&desktop, "mailsync init me/Maildir --layout Maildir++");
    day.at(&desktop, "mailsync init /");
    day.at(&desktop, "mailsync init me/Maildir --name desktop");
}

fn no_maildirs(day: &mut Day) {
    day.about("An mbox, MH, other files, nothing at all");
    let desktop = day.machine("desktop");
    let files = [("mboxes/inbox", "From anna Mon\nSubject: minutes\n\n"), ("mh/inbox/1", "Subject: minutes\n\n")];
    for (path, text) in [files[0], files[1], ("mh/inbox/.mh_sequences", "cur: 1\n"), ("pictures/a.jpg", "JPEG")] {
        fs::create_dir_all(day.here().join(path).parent().unwrap()).unwrap();
        fs::write(day.here().join(path), text).unwrap();
    }
    for line in ["mboxes/inbox", "mboxes", "mh", "pictures", "Maildir --name server >server.pub"] {
        day.at(&desktop, &format!("mailsync init {line}"));
    }
}

fn twice(day: &mut Day) {
    day.about("Twice, twice in one place, and one within another");
    let (desktop, other) = (day.replica("desktop"), day.machine("other"));
    make_folder(&desktop.mail.join(".Work"));
    day.at(&desktop, "mailsync init desktop-mail");
    day.at(&other, "mailsync init desktop-mail");
    day.at(&other, "mailsync init desktop-mail/.Work");
}

fn an_empty_directory(day: &mut Day) {
    day.about("An empty directory");
    let desktop = day.machine("desktop");
    day.at(&desktop, "mailsync init desktop-mail --name desktop >desktop.pub");
}

fn a_key_for_the_peer(day: &mut Day) {
    day.about("By hand or by invitation: two machines become peers");
    let (desktop, laptop) = (day.replica("desktop"), day.machine("laptop"));
    mail(&desktop, "INBOX", "Anna", "minutes", 1);
    day.at(&desktop, "mailsync invite laptop --plain -o stick/laptop.zst");
    day.at(&laptop, "mailsync join laptop-mail stick/laptop.zst --name laptop");
    day.at(&laptop, "mailsync export -o stick/");
    day.at(&desktop, "mailsync import stick/");
}

fn the_configuration(day: &mut Day) {
    day.about("What the configuration can have wrong");
    let desktop = day.replica("desktop");
    let file = desktop.home.join("config.toml");
    let made = fs::read_to_string(&file).unwrap();
    for lines in ["mail_rot = \"/x\"", "[peer.server]\ncall = \"ssh server\"", "[guard", "history_days = \"long\""] {
        day.remark(&lines.replace('\n', "; "));
        let key = lines.split(" = ").next().unwrap();
        let others: Vec<&str> = made.lines().filter(|line| !line.starts_with(key)).collect();
        fs::write(&file, format!("{}\n{lines}\n", others.join("\n"))).unwrap();
        day.at(&desktop, "mailsync scan");
    }
}

fn what_is_gone(day: &mut Day) {
    day.about("The key, the state or the configuration is gone");
    for file in ["key", "state.db", "config.toml"] {
        let machine = day.replica(&format!("without-{}", file.split('.').next().unwrap()));
        fs::remove_file(machine.home.join(file)).unwrap();
        day.at(&machine, "mailsync export -o stick/");
    }
}
