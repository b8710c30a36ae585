//! `status` looks at the disk and writes nothing, says as of when all else is, and for each peer what was sent, acknowledged
//! and heard, what it lacks and what to do next.

use std::fs;

use serde_json::{Value, json};

use crate::support::machine::{Machine, complains, make_peers, pair, pass};
use crate::support::{rest, scratch, text};

const NUMBERS: [&str; 3] = ["last_sent_number", "acknowledged_number", "last_heard_number"];

fn disk(machine: &Machine) -> Value {
    machine.ok(&["status", "--json"]).json()["disk"].clone()
}

#[test]
fn what_has_changed_since_the_last_scan_is_told_and_not_recorded() {
    let dir = scratch();
    let desktop = Machine::replica(dir.path(), "desktop");
    for name in ["flagged", "removed", "stays"] {
        desktop.deliver(name);
    }
    desktop.put("Archive", "cur/old:2,S", "old", 1);
    desktop.put("Lists/bees", "cur/bee:2,S", "bee", 1);
    rest();
    desktop.ok(&["scan"]);
    rest();
    assert_eq!(disk(&desktop)["as_scanned"], true, "{}", disk(&desktop));
    assert!(desktop.ok(&["status"]).words().contains("; on disk nothing has changed that is not recorded"));

    let inbox = desktop.dir("INBOX");
    fs::rename(inbox.join("cur/flagged:2,S"), inbox.join("cur/flagged:2,FS")).unwrap();
    fs::remove_file(inbox.join("cur/removed:2,S")).unwrap();
    desktop.put("INBOX", "new/a", "a", 2);
    desktop.put("INBOX", "new/b", "b", 2);
    fs::remove_dir_all(desktop.dir("Lists/bees")).unwrap();
    desktop.put("Drafts", "cur/draft:2,D", "draft", 2);
    let before = desktop.ok(&["status", "--json", "--no-scan"]).json();
    let changed = |name: &str, came: u64, gone: u64, renamed: u64, folder_gone: bool| json!({ "name": name, "came": came, "gone": gone, "renamed": renamed, "folder_gone": folder_gone });
    let expected = json!({
        "as_scanned": false,
        "folders": [changed("INBOX", 2, 1, 1, false), changed("Lists/bees", 0, 1, 0, true)],
        "directories": 1,
        "refusal": null,
        "problems": [],
    });
    for _ in 0..2 {
        assert_eq!(disk(&desktop), expected);
    }
    let shown = desktop.ok(&["status"]);
    for words in [
        "since then: 2 new, 2 gone, 1 renamed, 1 folder gone, 1 directory that no scan has searched",
        "INBOX 3 on disk since: 2 new, 1 gone, 1 renamed",
        "Lists/bees 1 on disk since: the folder is gone, 1 gone",
    ] {
        assert!(shown.words().contains(words), "{words:?} is not in {}", shown.text());
    }
    assert_eq!(desktop.ok(&["status", "--json", "--no-scan"]).json(), before, "nothing was recorded");
    assert_eq!((&before["disk"], &before["entries"]), (&Value::Null, &5.into()));
    let without = desktop.ok(&["status", "--no-scan"]);
    assert!(without.text().contains("; all of this is as of then") && !without.text().contains("since"), "{without:?}");
    desktop.ok(&["scan"]);
    rest();
    assert_eq!(disk(&desktop)["as_scanned"], true, "{}", disk(&desktop));
    let scanned = desktop.ok(&["status", "--json"]).json()["scanned"].as_str().unwrap().to_owned();
    assert!(scanned.as_str() >= before["scanned"].as_str().unwrap());
}

#[test]
fn what_mailsync_has_made_itself_is_nothing_that_no_scan_has_searched() {
    let dir = scratch();
    let desktop = Machine::replica(dir.path(), "desktop");
    for layout in ["maildir++", "fs"] {
        let other = Machine::new(dir.path(), if layout == "fs" { "laptop" } else { "phone" });
        other.init_as(layout);
        make_peers(&desktop, &other);
        for folder in ["Lists/bees", "Lists/wasps", "Archive/2019/old", "Drafts"] {
            desktop.put(folder, &format!("cur/{layout}:2,S"), format!("{folder} {layout}"), 1);
        }
        desktop.ok(&["scan"]);
        pass(&desktop, &other);
        rest();
        let look = disk(&other);
        assert_eq!((&look["directories"], &look["as_scanned"]), (&json!(0), &json!(true)), "{layout}: {look}");
        // A directory that somebody else makes there is one that no scan has searched.
        other.put("Lists/bees/deeper", "cur/y:2,S", "y", 1);
        assert_eq!(disk(&other)["directories"], 1, "{layout}");
        fs::remove_dir_all(other.dir("Lists/bees/deeper")).unwrap();
        // What was got back was made by mailsync, too.
        fs::remove_dir_all(other.dir("Drafts")).unwrap();
        other.ok(&["restore", "Drafts"]);
        pass(&desktop, &other);
        rest();
        let look = disk(&other);
        assert_eq!(look["directories"], 0, "{layout}: {look}");
    }
}

#[test]
fn a_scan_that_would_refuse_is_not_what_is_to_be_done_next() {
    let dir = scratch();
    let desktop = Machine::replica(dir.path(), "desktop");
    desktop.configure("[guard]\nfolder = 3");
    for number in 0..4 {
        desktop.deliver(&format!("mail{number}"));
        desktop.put("Archive", &format!("cur/{number}:2,S"), format!("old {number}"), 1);
    }
    desktop.ok(&["scan"]);
    rest();
    let archive = desktop.dir("Archive");
    // What was moved isn't gone, and a scan takes it for that.
    for number in 0..4 {
        let name = format!("cur/{number}:2,S");
        fs::rename(archive.join(&name), desktop.dir("INBOX").join(&name)).unwrap();
    }
    assert_eq!(disk(&desktop)["refusal"], Value::Null);
    assert!(desktop.ok(&["status"]).text().contains("`mailsync scan` records it"));
    for number in 0..4 {
        fs::remove_file(desktop.dir("INBOX").join(format!("cur/{number}:2,S"))).unwrap();
    }
    let advised = |words: &[&str]| {
        let refused = desktop.fails(&["scan"], 6);
        let status = desktop.ok(&["status"]).words();
        let told = disk(&desktop)["refusal"]["message"].as_str().unwrap().to_owned();
        assert!(refused.contains(&told), "{told}: {refused}");
        for words in words {
            assert!(status.contains(words) && told.contains(words), "{words:?} is not in {status}");
        }
        assert!(!status.contains("records it"), "{status}");
    };
    advised(&["4 of the 4 messages in Archive", "`mailsync restore Archive`", "`mailsync scan --allow-mass-delete`"]);
    for path in fs::read_dir(&desktop.mail).unwrap().map(|item| item.unwrap().path()) {
        if path.is_dir() {
            fs::remove_dir_all(&path).unwrap();
        }
    }
    advised(&["no Maildir is left", "mount the disk", "`mailsync restore --all`"]);
}

#[test]
fn what_waits_in_directories_is_told_with_its_size_and_what_to_do() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let directory = |name: &str| {
        let path = dir.path().join(name);
        fs::create_dir(&path).unwrap();
        path
    };
    let (out, back) = (directory("out"), directory("their bundles"));
    let outgoing = format!("[peer.laptop]\nspool = {:?}", text(&out));
    desktop.configure(&format!("[watch]\nreceive = [{:?}]\n{outgoing}", text(&back)));
    let waiting = || {
        let status = desktop.ok(&["status", "--json"]).json();
        let (arrived, spool) = (&status["arrived"][0], &status["peers"][0]["spool"]);
        [arrived, spool].map(|lying| lying["files"].as_u64().unwrap_or_else(|| panic!("{status}")))
    };
    assert_eq!(waiting(), [0, 0]);
    desktop.deliver("one");
    desktop.ok(&["scan"]);
    assert!(desktop.ok(&["status"]).words().contains("next mailsync watch --once"));
    desktop.ok(&["export", "--to", "laptop", "-o", text(&out)]);
    desktop.deliver("two");
    desktop.ok(&["export", "--to", "laptop", "-o", text(&out)]);
    laptop.deliver("three");
    laptop.ok(&["export", "-o", text(&back)]);
    // These are nobody's, or others'.
    fs::write(back.join("junk.zst"), "junk").unwrap();
    fs::write(out.join("junk.zst"), "junk").unwrap();
    fs::copy(out.join("desktop-laptop-1.zst.age"), back.join("desktop-laptop-1.zst.age")).unwrap();
    assert_eq!(waiting(), [1, 2]);
    let size = fs::metadata(back.join("laptop-desktop-1.zst.age")).unwrap().len();
    assert_eq!(desktop.ok(&["status", "--json"]).json()["arrived"][0]["bytes"], size);
    let status = desktop.ok(&["status"]).words();
    for words in [
        &*format!("arrived 1 bundle in {}, ", back.display()),
        " KiB, since 20",
        &format!("not imported yet; next: `mailsync import --consume '{}'`", back.display()),
        &format!("waits 2 bundles in {}, ", out.display()),
        "next what waits is to be carried to laptop, and imported there",
    ] {
        assert!(status.contains(words), "{words:?} is not in {status}");
    }
    assert_eq!(desktop.ok(&["status", "--json", "--no-scan"]).json()["arrived"], Value::Null);
    // Half a bundle has come as well, and isn't imported.
    let whole = fs::read(back.join("laptop-desktop-1.zst.age")).unwrap();
    fs::write(back.join("half.zst.age"), &whole[..whole.len() / 2]).unwrap();
    assert_eq!(waiting()[0], 2);
    fs::remove_file(back.join("half.zst.age")).unwrap();
    desktop.run(&["import", text(&back)]);
    assert_eq!(waiting(), [0, 2], "what was imported and stays there doesn't wait");
    laptop.run(&["import", text(&out)]);
    laptop.ok(&["export", "-o", text(&back)]);
    assert_eq!(waiting(), [1, 2]);
    desktop.run(&["import", text(&back)]);
    assert_eq!(waiting(), [0, 0], "the laptop has shown that it has them");
    fs::remove_dir_all(&out).unwrap();
    let status = desktop.ok(&["status"]).words();
    assert!(status.contains(&format!("waits listing {}: No such file or directory", out.display())), "{status}");
}

#[test]
fn a_disk_that_is_not_there_is_no_change() {
    let dir = scratch();
    let desktop = Machine::replica(dir.path(), "desktop");
    desktop.deliver("mail");
    desktop.ok(&["scan"]);
    fs::rename(&desktop.mail, dir.path().join("unmounted")).unwrap();
    let look = disk(&desktop);
    assert_eq!((&look["folders"], &look["as_scanned"]), (&json!([]), &false.into()), "{look}");
    assert!(look["problems"][0]["message"].as_str().unwrap().contains("mount the disk"), "{look}");
    assert!(desktop.ok(&["status"]).words().contains("on disk looking at the mail root"));
}

#[test]
fn for_each_peer_it_is_told_what_was_sent_acknowledged_and_heard_and_what_it_lacks() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let shown = |fields: [&str; 3]| {
        let peer = desktop.ok(&["status", "--json"]).json()["peers"][0].clone();
        fields.map(|field| peer[field].clone())
    };
    let line = |label: &str| {
        let status = desktop.ok(&["status"]);
        let block = status.text().split_once("\nlaptop\n").unwrap_or_else(|| panic!("{status:?}")).1.to_owned();
        block.lines().find_map(|line| line.trim_start().strip_prefix(label)).unwrap().trim().to_owned()
    };
    assert_eq!(shown(NUMBERS), [Value::Null, Value::Null, Value::Null]);
    assert_eq!([line("sent"), line("acknowledged"), line("heard")], ["never", "-", "never"]);
    desktop.deliver("first");
    pass(&desktop, &laptop);
    assert_eq!(shown(NUMBERS), [json!(1), Value::Null, Value::Null]);
    assert!(line("sent").starts_with("bundle 1, 20"), "{}", line("sent"));
    assert_eq!([line("acknowledged"), line("lacks")], ["nothing yet".to_owned(), line("lacks")]);
    assert!(line("lacks").starts_with("1 entry, "), "{}", line("lacks"));
    assert_eq!(line("next"), "mailsync export --to laptop");
    pass(&laptop, &desktop);
    assert_eq!(shown(NUMBERS), [json!(1), json!(1), json!(1)]);
    assert!(line("acknowledged").starts_with("bundle 1, 20") && !line("acknowledged").contains("later"));
    let due = "nothing, but a bundle that tells it that its own has come";
    assert_eq!([line("lacks"), line("next")], [due, "mailsync export --to laptop"]);
    desktop.reach(&laptop);
    desktop.deliver("second");
    desktop.ok(&["export", "--to", "laptop"]);
    assert_eq!(shown(NUMBERS), [json!(2), json!(1), json!(1)]);
    assert!(line("acknowledged").ends_with(", and nothing later"), "{}", line("acknowledged"));
    assert_eq!(line("next"), "mailsync update laptop");
    desktop.ok(&["update"]);
    assert_eq!(shown(NUMBERS), [json!(3), json!(3), json!(2)]);
}

#[test]
fn no_line_but_a_path_is_longer_than_80_columns() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.ok(&["invite", "phone", "--plain", "-o", text(&dir.path().join("invitation.zst"))]);
    for number in 0..3 {
        desktop.deliver(&format!("mail{number}"));
        desktop.put(&format!("Folder/{number}"), "cur/x:2,S", "x", 1);
    }
    laptop.deliver("from-laptop");
    pass(&laptop, &desktop);
    desktop.ok(&["peer", "revoke", "laptop", "--reason", "left on the train, in the second carriage from behind"]);
    fs::remove_dir_all(desktop.dir("Folder/1")).unwrap();
    desktop.put("INBOX", "new/a", "a", 2);
    desktop.put("Other", "new/a", "a", 2);
    let status = desktop.ok(&["status"]);
    for words in ["since then: ", "revoked    laptop", "\nphone\n", "expires", "mailsync join MAILROOT BUNDLE on phone"]
    {
        assert!(status.text().contains(words), "{words:?} is not in {}", status.text());
    }
    for line in status.text().lines().filter(|line| !line.starts_with("mail root")) {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

/// What `status` says of its only peer under this label.
fn said_of_peer(machine: &Machine, label: &str) -> Option<String> {
    let status = machine.ok(&["status"]);
    let lines = status.text().lines().filter_map(|line| line.strip_prefix("  ")?.strip_prefix(label));
    lines.map(|words| words.trim().to_owned()).next_back()
}

#[test]
fn a_bundle_that_was_not_taken_is_not_heard_and_is_told_with_what_brings_it() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("one");
    pass(&desktop, &laptop);
    pass(&laptop, &desktop);
    let late = |subject: &str| {
        desktop.deliver(subject);
        desktop.ok(&["export", "--to", "laptop", "--since-last"]).stdout
    };
    let (second, third) = (late("two"), late("three"));
    complains(&laptop.run_with(&["import"], &third), 3, &["follows its bundle 2"]);
    let heard = || said_of_peer(&laptop, "heard").unwrap();
    assert!(heard().starts_with("bundle 1,"), "{}", heard());
    assert_eq!(said_of_peer(&laptop, "waits").as_deref(), Some("bundle 3 of desktop, for its bundle 2"));
    assert_eq!(said_of_peer(&laptop, "next").as_deref(), Some("mailsync export --to desktop"));
    let peer = laptop.ok(&["status", "--json"]).json()["peers"][0].clone();
    assert_eq!(
        (&peer["last_heard_number"], &peer["waits"]),
        (&json!(1), &json!({ "number": 3, "follows": 2, "refused": false }))
    );

    laptop.ok(&["export", "--to", "desktop"]);
    assert_eq!(said_of_peer(&laptop, "next").as_deref(), Some("import a bundle from there"));
    assert_eq!(laptop.run_with(&["import"], &second).code, 0);
    assert!(heard().starts_with("bundle 2,"), "{}", heard());
    assert_eq!(laptop.run_with(&["import"], &third).code, 0);
    assert!(heard().starts_with("bundle 3,"), "{}", heard());
    assert_eq!(said_of_peer(&laptop, "waits"), None);
    assert!(laptop.ok(&["status", "--json"]).json()["peers"][0]["waits"].is_null());
}

#[test]
fn what_is_asked_for_is_told_with_the_bundle_that_asks_for_it() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.put("Work", "cur/a:2,S", "a", 1);
    desktop.put("Work", "cur/b:2,S", "b", 2);
    pass(&desktop, &laptop);
    pass(&laptop, &desktop);
    pass(&desktop, &laptop);
    assert_eq!(said_of_peer(&laptop, "next").as_deref(), Some("-"));
    for item in fs::read_dir(laptop.dir("Work").join("cur")).unwrap() {
        fs::remove_file(item.unwrap().path()).unwrap();
    }
    laptop.ok(&["restore", "Work"]);
    let next = || said_of_peer(&laptop, "next").unwrap();
    assert_eq!(said_of_peer(&laptop, "asked for").as_deref(), Some("2 messages, by the next bundle for it"));
    assert_eq!(next(), "mailsync export --to desktop");
    assert!(!laptop.ok(&["status"]).words().contains("from others"));
    assert_eq!(laptop.ok(&["status", "--json"]).json()["peers"][0]["asked_for"], 2);
    pass(&laptop, &desktop);
    assert_eq!(said_of_peer(&laptop, "asked for").as_deref(), Some("2 messages, by the last bundle for it"));
    assert_eq!(next(), "import a bundle from there");
    pass(&desktop, &laptop);
    assert_eq!((said_of_peer(&laptop, "asked for"), next().as_str()), (None, "-"));
}

#[test]
fn a_bundle_back_is_due_until_the_other_knows_that_its_own_has_come_and_then_both_are_quiet() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("one");
    pass(&desktop, &laptop);
    let due = |machine: &Machine| machine.ok(&["status", "--json"]).json()["peers"][0]["answer_due"].clone();
    assert_eq!(said_of_peer(&laptop, "next").as_deref(), Some("mailsync export --to desktop"));
    assert_eq!(
        said_of_peer(&laptop, "lacks").as_deref(),
        Some("nothing, but a bundle that tells it that its own has come")
    );
    assert_eq!(due(&laptop), true);
    pass(&laptop, &desktop);
    assert_eq!(due(&laptop), false);
    // The laptop has made its INBOX itself, and isn't told yet that this has come.
    pass(&desktop, &laptop);
    for machine in [&desktop, &laptop] {
        assert_eq!((due(machine), said_of_peer(machine, "next").unwrap()), (json!(false), String::from("-")));
    }
    // Changes on both sides at once settle, too.
    desktop.deliver("two");
    laptop.deliver("three");
    for machine in [&desktop, &laptop] {
        machine.ok(&["scan"]);
    }
    let mut bundles = 0;
    let is_due = |machine: &Machine| said_of_peer(machine, "next").unwrap().starts_with("mailsync export");
    for (from, to) in [(&desktop, &laptop), (&laptop, &desktop)].into_iter().cycle().take(6) {
        if is_due(from) {
            pass(from, to);
            bundles += 1;
        }
    }
    assert!(!is_due(&desktop) && !is_due(&laptop), "they go on for ever");
    assert!(bundles >= 2 && desktop.mailbox() == laptop.mailbox());
}

#[test]
fn mail_in_a_root_that_is_no_folder_is_a_problem_for_a_scan_and_the_status_tells_it() {
    let dir = scratch();
    let desktop = Machine::new(dir.path(), "desktop");
    desktop.init_as("fs");
    desktop.deliver("one");
    desktop.ok(&["scan"]);
    crate::support::make_folder(&desktop.mail);
    desktop.ok(&["scan", "-q"]);
    fs::write(desktop.mail.join("cur/lost:2,"), "lost").unwrap();
    let said = desktop.fails(&["scan", "-q"], 1);
    assert!(said.contains("1 message lie") && said.contains("set inbox_at_root"), "{said}");
    let look = disk(&desktop);
    assert!(look["problems"][0]["message"].as_str().unwrap().contains("set inbox_at_root"), "{look}");
    assert!(desktop.ok(&["status"]).words().contains("set inbox_at_root there"));
}

#[test]
fn what_can_not_be_looked_at_is_told_once_and_with_what_to_do() {
    let dir = scratch();
    let desktop = Machine::replica(dir.path(), "desktop");
    desktop.put("Lists", "cur/1:2,", "1", 1_600_000_000);
    desktop.put("Lists/bees", "cur/2:2,", "2", 1_600_000_000);
    desktop.ok(&["scan"]);
    let lists = desktop.dir("Lists");
    fs::rename(&lists, dir.path().join("away")).unwrap();
    std::os::unix::fs::symlink(&lists, &lists).unwrap();
    let look = disk(&desktop);
    let problems = look["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 1, "{look}");
    assert!(problems[0]["message"].as_str().unwrap().contains("scan again"), "{look}");
}

#[test]
fn a_root_that_may_not_be_read_is_told_once_and_with_what_to_do() {
    use std::os::unix::fs::PermissionsExt;
    if !crate::support::programs::become_an_ordinary_user() {
        return;
    }
    let dir = scratch();
    let desktop = Machine::replica(dir.path(), "desktop");
    desktop.put("Lists", "cur/1:2,", "1", 1_600_000_000);
    desktop.put("Lists/bees", "cur/2:2,", "2", 1_600_000_000);
    desktop.ok(&["scan"]);
    for (closed, mode) in [(desktop.mail.clone(), 0o000), (desktop.mail.clone(), 0o600), (desktop.dir("Lists"), 0o000)]
    {
        fs::set_permissions(&closed, fs::Permissions::from_mode(mode)).unwrap();
        let look = disk(&desktop);
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
        let problems = look["problems"].as_array().unwrap();
        assert_eq!(problems.len(), 1, "{}, {mode:o}: {look}", closed.display());
        assert!(problems[0]["message"].as_str().unwrap().contains("give yourself permission"), "{look}");
    }
}
