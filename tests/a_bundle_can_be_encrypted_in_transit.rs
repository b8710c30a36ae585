//! The replicas' keys are ordinary SSH keys: age encrypts a bundle to the public one, and only the private one opens
//! it.

use std::process::Command;

use crate::support::machine::{Machine, pair};
use crate::support::programs::{self, run_with};
use crate::support::scratch;

#[test]
fn age_takes_a_replicas_key_as_recipient_and_as_identity() {
    if programs::find("age").is_none() {
        return;
    }
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let stranger = Machine::replica(dir.path(), "stranger");
    desktop.put("INBOX", "cur/1.h:2,S", "Subject: secret\n\nThe treasure lies under the oak.\n", 1_500_000_000);
    let bundle = desktop.ok(&["export", "--to", "laptop"]).stdout;

    let mut age = Command::new("age");
    let sealed = run_with(age.arg("-R").arg(laptop.home.join("key.pub")), &bundle);
    assert_eq!(sealed.code, 0, "{}", sealed.stderr);
    assert!(sealed.stdout.starts_with(b"age-encryption.org/v1\n-> ssh-ed25519 "));

    // What age has encrypted is as good as what mailsync has, and nobody else can open it.
    let taken = laptop.run_with(&["import", "--dry-run"], &sealed.stdout);
    assert_eq!(taken.code, 0, "{}", taken.stderr);
    let open = |machine: &Machine| {
        run_with(Command::new("age").args(["-d", "-i"]).arg(machine.home.join("key")), &sealed.stdout)
    };
    assert_ne!(open(&stranger).code, 0);
    assert_ne!(open(&desktop).code, 0, "not even who wrote it");
    let opened = open(&laptop);
    assert_eq!(opened.code, 0, "{}", opened.stderr);
    assert_eq!(opened.stdout, bundle);
    assert_eq!(laptop.run_with(&["import"], &opened.stdout).code, 0);
    assert_eq!(laptop.mailbox(), desktop.mailbox());

    // What peers have of each other is enough: the line that `peer add --key` takes is a recipient.
    let sealed = run_with(Command::new("age").args(["-r", &laptop.key()]), b"x");
    assert_eq!(sealed.code, 0, "{}", sealed.stderr);
}
