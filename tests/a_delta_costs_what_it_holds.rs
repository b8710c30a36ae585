//! What a scan, an export, an import and a status cost follows from what has changed and from the number of folders,
//! not from how many messages there are. Counted, not timed: the calls of the disk, and the bytes that are read and
//! written besides, which are those of the state database. A folder that has changed is listed as a whole: here the
//! changes are in folders that hold the same mail each time, and it is another folder that holds little or much.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use mailsync::maildir::{LayoutKind, Sub};
use mailsync::model::{Digest, Entry, EntryId, FlagSet, FolderName, Mtime, Origin};
use mailsync::replica::{ExportOptions, Replica, ScanOptions};
use mailsync::state::Place;

use super::support::disk::{Op, Watch, tally};
use super::support::party::{self, Party, exchange, make_peers};
use super::support::{rest, scratch};

/// In a tree that is higher, each of the rows that are looked up lies one page deeper; and where there are more pages,
/// fewer of these rows share one. So many bytes more that may be: much less than all of the smallest index of the large
/// state has.
const DEEPER: u64 = 50 * 4096;

/// What a command has cost.
#[derive(Debug)]
struct Cost {
    what: &'static str,
    calls: BTreeMap<Op, usize>,
    read: u64,
    written: u64,
}

/// How many bytes this thread has read and written since it began.
fn read_and_written() -> [u64; 2] {
    let io = fs::read_to_string("/proc/thread-self/io").expect("Linux counts what each thread reads and writes");
    ["rchar: ", "wchar: "].map(|name| {
        let line = io.lines().find_map(|line| line.strip_prefix(name));
        line.expect("it is counted").parse().unwrap()
    })
}

/// A replica whose archive holds so many messages, and a peer that knows all of them, as far as this one believes.
/// Nobody looks at the archive's files: they are not there.
struct Scene {
    one: Party,
    two: Party,
    watch: Watch,
    bundle: PathBuf,
    costs: Vec<Cost>,
}

impl Scene {
    fn new(dir: &Path, archived: u64) -> Self {
        let mail: Vec<String> = (0..60).map(|n| format!("INBOX m{n} S")).collect();
        let mut mail: Vec<&str> = mail.iter().map(String::as_str).collect();
        mail.extend(["Lists other S", "Archive"]);
        let one = Party::new(dir, "one", LayoutKind::Fs, &mail);
        let two = Party::new(dir, "two", LayoutKind::Fs, &[]);
        make_peers(&one, &two);
        let bundle = dir.join("bundle");
        rest();
        exchange(&one, &two, &bundle);
        rest();
        for party in [&one, &two] {
            party.opened().scan(&ScanOptions::default()).unwrap();
        }
        fill(&one.opened(), archived);
        let watch = Watch::new(&dir.join("keep"));
        Self { one, two, watch, bundle, costs: Vec::new() }
    }

    fn measure(&mut self, what: &'static str, act: impl FnOnce(&Replica)) {
        self.watch.take();
        let before = read_and_written();
        let replica = self.one.open(self.watch.disk()).unwrap();
        act(&replica);
        drop(replica);
        let after = read_and_written();
        let calls = tally(&self.watch.take());
        self.costs.push(Cost { what, calls, read: after[0] - before[0], written: after[1] - before[1] });
    }

    fn measure_status(&mut self, what: &'static str, unseen: u64) {
        self.measure(what, |replica| {
            let status = replica.status().unwrap();
            let unseen_by = |name: &str| status.peers.iter().find(|one| one.peer.name == name).unwrap().unseen.entries;
            assert_eq!(unseen_by("two"), unseen);
            assert!(unseen_by("silent") >= status.totals.entries);
        });
    }
}

/// Puts messages into the archive of a replica, of which it believes that all its peers but one know them.
fn fill(replica: &Replica, messages: u64) {
    let archive: FolderName = "Archive".parse().unwrap();
    let tx = replica.state().begin().unwrap();
    let stamp = tx.issue(1_700_000_000_000).unwrap();
    let folder = tx.folder(&archive).unwrap();
    for n in 0..messages {
        let id = EntryId { digest: Digest::of(&n.to_be_bytes()), birth: archive.clone(), ordinal: 0 };
        let (origin, flags) = (Origin::Delivery, FlagSet::new());
        let entry = Entry::delivered(None, origin, stamp, archive.clone(), &flags, 1_000, Mtime(n.cast_signed()));
        let at = Place { folder, sub: Sub::Cur, name: format!("{n}.archived:2,").into_bytes() };
        tx.insert_entry(&id, &entry, Some(&at)).unwrap();
    }
    let knowledge = replica.state().knowledge().unwrap();
    for peer in replica.state().peers().unwrap() {
        tx.set_shown(peer.key, &knowledge).unwrap();
    }
    tx.commit().unwrap();
    let stranger = mailsync::bundle::PrivateKey::generate("silent").unwrap().public_key();
    replica.add_peer("silent", &stranger).unwrap();
}

/// What the same changes cost beside so much other mail.
fn costs(archived: u64) -> Vec<Cost> {
    let dir = scratch();
    let mut scene = Scene::new(dir.path(), archived);
    scene.measure_status("status", 0);
    scene.measure("scan, nothing changed", |replica| {
        let report = replica.scan(&ScanOptions::default()).unwrap();
        assert!(!report.has_changes() && report.folders_read == 0, "{report:?}");
    });
    scene.measure("export, nothing new", |replica| {
        drop(replica.export(&ExportOptions::to_peer("two"), Vec::new()).unwrap());
    });
    scene.one.act_all(&[
        "deliver INBOX new1 new",
        "deliver Lists new2 -",
        "flag INBOX m1 FS",
        "move INBOX m2 Lists",
        "remove INBOX m3",
    ]);
    rest();
    scene.measure("scan", |replica| {
        let report = replica.scan(&ScanOptions::default()).unwrap();
        assert_eq!((report.new, report.flagged, report.moved, report.removed), (2, 1, 1, 1), "{report:?}");
    });
    scene.measure_status("status of changes", 5);
    scene.measure("export", |replica| {
        let mut written = Vec::new();
        replica.export(&ExportOptions::to_peer("two"), &mut written).unwrap();
        assert!(written.len() < 10_000);
    });
    let changes = [
        "deliver INBOX new3 new",
        "flag INBOX m11 FS",
        "move INBOX m12 Lists",
        "remove INBOX m13",
        "deliver Lists new4 -",
    ];
    scene.two.act_all(&changes);
    rest();
    scene.two.export(&scene.one, &scene.bundle);
    let bundle = scene.bundle.clone();
    scene.measure("import", |replica| {
        let (_, imported) = party::import(replica, &bundle).unwrap();
        let changes = imported[0].changes;
        assert_eq!((changes.new, changes.flagged, changes.moved, changes.removed), (2, 1, 1, 1), "{changes:?}");
    });
    scene.costs
}

#[test]
fn what_a_delta_costs_does_not_depend_on_how_much_mail_there_is() {
    let (few, many) = (costs(1_000), costs(20_000));
    for (few, many) in few.iter().zip(&many) {
        println!("{few:?}\n{many:?}");
        let what = few.what;
        assert_eq!(few.calls, many.calls, "{what}: calls of the disk");
        assert!(few.read > 0 && many.read <= few.read + DEEPER, "{what}: {} bytes read, and {}", few.read, many.read);
        assert!(many.written <= few.written + DEEPER, "{what}: {} bytes written, and {}", few.written, many.written);
    }
}
