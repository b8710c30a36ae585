//! A message whose contents were missing comes once, whatever changes on the way, and is asked for no longer.

use std::path::Path;

use crate::support::machine::{Machine, complains, pair, pass};
use crate::support::scratch;

/// A server with a message, and a laptop that knows of the message and doesn't have it; the server has heard so.
fn without_contents(dir: &Path) -> (Machine, Machine) {
    let (server, laptop) = (Machine::replica(dir, "server"), Machine::new(dir, "laptop"));
    server.put("INBOX", "cur/1:2,", "a message", 1);
    let invitation = dir.join("invitation");
    server.ok(&["invite", "laptop", "--no-contents", "--plain", "-o", invitation.to_str().unwrap()]);
    laptop.ok(&["join", laptop.mail.to_str().unwrap(), invitation.to_str().unwrap()]);
    assert!(laptop.mailbox().is_empty());
    pass(&laptop, &server);
    (server, laptop)
}

/// The server flags the message, so that the bundle with its contents also changes it.
fn flag_on_the_way(server: &Machine, laptop: &Machine) {
    let inbox = server.dir("INBOX").join("cur");
    std::fs::rename(inbox.join("1:2,"), inbox.join("1:2,S")).unwrap();
    pass(server, laptop);
    assert_eq!(server.mailbox(), laptop.mailbox());
    assert_eq!(laptop.pending(), 0);
}

#[test]
fn a_message_that_was_missing_and_changed_is_not_sent_again() {
    let dir = scratch();
    let (server, laptop) = without_contents(dir.path());
    flag_on_the_way(&server, &laptop);
    laptop.put("Other", "cur/2:2,", "another", 2);
    let inbox = laptop.dir("INBOX").join("cur");
    let file = std::fs::read_dir(inbox).unwrap().next().unwrap().unwrap().path();
    // Under a name that a mail reader gives.
    std::fs::rename(file, laptop.dir("Other").join("cur/3:2,S")).unwrap();
    for _ in 0..2 {
        pass(&laptop, &server);
        pass(&server, &laptop);
    }
    assert_eq!(laptop.mailbox().values().map(Vec::len).collect::<Vec<_>>(), [1, 1]);
    assert_eq!(server.mailbox(), laptop.mailbox());
}

#[test]
fn a_message_that_was_missing_and_changed_leaves_nothing_to_do_when_it_is_removed() {
    let dir = scratch();
    let (server, laptop) = without_contents(dir.path());
    flag_on_the_way(&server, &laptop);
    std::fs::remove_file(server.dir("INBOX").join("cur/1:2,S")).unwrap();
    pass(&server, &laptop);
    assert!(laptop.mailbox().is_empty());
    assert_eq!(laptop.pending(), 0);
}

#[test]
fn a_bundle_that_was_lost_on_a_one_way_link_is_made_up_for_when_anything_comes_back() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let mut bundles = Vec::new();
    for n in 1..=3 {
        desktop.put("INBOX", &format!("new/{n}.x.y"), format!("Subject: {n}\n\n"), 1_600_000_000 + n);
        bundles.push(desktop.ok(&["export", "--since-last", "--to", "laptop"]).stdout);
    }
    assert_eq!(laptop.run_with(&["import"], &bundles[0]).code, 0);
    let ran = laptop.run_with(&["import"], &bundles[2]);
    complains(&ran, 3, &["bundle 2", "let it export again"]);
    std::thread::sleep(std::time::Duration::from_millis(5));
    pass(&laptop, &desktop);
    let again = desktop.ok(&["export", "--since-last", "--to", "laptop"]).stdout;
    assert_eq!(laptop.run_with(&["import"], &again).code, 0);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
}
