//! A file or directory that can't be looked at is told as a problem. It is not taken for removed, neither then nor
//! later.

use std::fs;

use mailsync::maildir::LayoutKind::{Fs, MaildirPlusPlus};
use mailsync::replica::ScanOptions;
use rustix::io::Errno;

use crate::support::disk::{Fault, Watch};
use crate::support::party::{Party, contents};
use crate::support::{rest, scratch};

/// Lets every call of a scan fail in turn, and scans again afterwards: the two together must find this many new
/// messages, and nothing removed, and the failure must have been told.
fn check(party: &Party, watch: &Watch, new: u64) {
    rest();
    let before = party.snapshot();
    let mut n = 0;
    loop {
        n += 1;
        party.put_back(&before);
        let replica = party.open(watch.disk()).unwrap();
        watch.arm(Fault::Fail(n, if n % 2 == 0 { Errno::IO } else { Errno::ACCESS }));
        let result = replica.scan(&ScanOptions::default());
        drop(replica);
        let struck = watch.struck();
        // A second look may have succeeded.
        let made_good = watch.take().iter().skip(n).any(|call| {
            call.done && struck.as_ref().is_some_and(|struck| (struck.op, &struck.path) == (call.op, &call.path))
        });
        let told = result.as_ref().map_or(1, |report| report.problems.len());
        assert!(told == usize::from(struck.is_some()) || (told == 0 && made_good), "{struck:?}: {result:?}");
        rest();
        let again = party.opened().scan(&ScanOptions::default()).unwrap();
        let reports = [result.unwrap_or_default(), again];
        let sum = |count: fn(&mailsync::replica::ScanReport) -> u64| reports.iter().map(count).sum::<u64>();
        let counts = (sum(|r| r.new), sum(|r| r.removed), sum(|r| r.folders_removed), sum(|r| r.moved));
        assert_eq!(counts, (new, 0, 0, 0), "{struck:?}");
        if struck.is_none() {
            return;
        }
    }
}

#[test]
fn a_known_folder_stays() {
    for layout in [MaildirPlusPlus, Fs] {
        let dir = scratch();
        let party = Party::new(dir.path(), "here", layout, &["INBOX alpha S", "Archive beta S", "Sent gamma S"]);
        // Every directory is searched anew after this.
        fs::create_dir(party.mail.join("other")).unwrap();
        check(&party, &Watch::new(&dir.path().join("keep")), 0);
    }
}

#[test]
fn a_folder_that_has_just_appeared_is_found_by_the_next_scan() {
    for layout in [MaildirPlusPlus, Fs] {
        let dir = scratch();
        let party = Party::new(dir.path(), "here", layout, &["INBOX alpha S", "Archive beta S"]);
        rest();
        party.opened().scan(&ScanOptions::default()).unwrap();
        party.act("deliver Fresh gamma new");
        check(&party, &Watch::new(&dir.path().join("keep")), 1);
    }
}

#[test]
fn what_a_symbolic_link_leads_to_stays() {
    for layout in [MaildirPlusPlus, Fs] {
        let dir = scratch();
        let party = Party::new(dir.path(), "here", layout, &["INBOX alpha S", "Archive beta S"]);
        let elsewhere = dir.path().join("elsewhere");
        fs::rename(party.dir("Archive"), &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, party.dir("Archive")).unwrap();
        fs::write(dir.path().join("gamma"), contents("gamma")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("gamma"), party.dir("INBOX").join("cur/1.gamma:2,S")).unwrap();
        rest();
        party.opened().scan(&ScanOptions::default()).unwrap();
        assert_eq!(party.opened().status().unwrap().totals.entries, 3);
        let watch = Watch::new(&dir.path().join("keep"));
        party.act("flag INBOX alpha FS");
        fs::create_dir(party.mail.join("other")).unwrap();
        check(&party, &watch, 0);
    }
}
