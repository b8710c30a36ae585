//! Who did what to a message, and when: `mailsync log` tells it, `trash restore` brings back what somebody has removed, and
//! `undo` takes back what they have moved and flagged. Nothing that others did is touched by that.

use std::fs;
use std::path::Path;

use mailsync::model::Digest;
use serde_json::{Value, json};

use crate::support::machine::{
    Backup, Machine, assert_same, complains, exchange, make_peers, message, pair, pass, row,
};
use crate::support::programs::own_members;
use crate::support::{make_folder, names, rest, scratch};

fn digest(subject: &str) -> String {
    Digest::of(message(subject).as_bytes()).to_string()
}

/// What the history of a message says: what, by whom, by which command or in whose bundle.
fn told(machine: &Machine, subject: &str) -> Vec<(String, String, String)> {
    let log = machine.ok(&["log", "--message", &digest(subject), "--json"]).json();
    let text = |event: &Value, name: &str| event[name].as_str().unwrap_or("-").to_owned();
    let events = log["changes"].as_array().unwrap().iter();
    let source = |event: &Value| match event["peer"].as_str() {
        Some(peer) => format!("{peer} {}", event["bundle"]),
        None => text(event, "command"),
    };
    events.map(|event| (text(event, "what"), text(event, "by"), source(event))).collect()
}

fn line(what: &str, by: &str, source: &str) -> (String, String, String) {
    (what.to_owned(), by.to_owned(), source.to_owned())
}

#[test]
fn each_change_of_a_message_is_told_with_who_made_it_and_how_it_came() {
    let dir = scratch();
    // The desktop knows the laptop for its jobs only: nothing of the laptop's own has come there.
    let machines = row(dir.path(), &["desktop", "server", "laptop"]);
    let [desktop, server, laptop] = &machines[..] else { unreachable!() };
    laptop.put("INBOX", "cur/kept:2,S", message("kept"), 1_600_000_000);
    exchange(laptop, server);
    exchange(server, desktop);
    laptop.deliver("news");
    laptop.ok(&["scan"]);
    exchange(laptop, server);
    exchange(server, desktop);
    laptop.move_to("news", "Work");
    laptop.ok(&["scan"]);
    rest();
    laptop.flag("news", "FS");
    exchange(laptop, server);
    exchange(server, desktop);
    desktop.remove("news");
    exchange(desktop, server);
    exchange(server, laptop);

    let somebody = "a replica not known here (";
    let what = |events: &[(String, String, String)]| events.iter().map(|event| event.0.clone()).collect::<Vec<_>>();
    let at_laptop = told(laptop, "news");
    assert_eq!(what(&at_laptop), ["arrived", "moved", "flagged", "removed"]);
    for event in &at_laptop[..3] {
        assert_eq!((&*event.1, &*event.2), ("laptop", "scan"));
    }
    assert!(at_laptop[3].1.starts_with(somebody), "{at_laptop:?}");
    assert!(at_laptop[3].2.starts_with("server "), "{at_laptop:?}");
    let at_server = told(server, "news");
    assert_eq!(what(&at_server), ["arrived", "moved", "flagged", "removed"]);
    let by: Vec<&str> = at_server.iter().map(|event| &*event.1).collect();
    assert_eq!(by, ["laptop", "laptop", "laptop", "desktop"]);
    assert!(at_server[0].2.starts_with("laptop ") && at_server[3].2.starts_with("desktop "), "{at_server:?}");
    let at_desktop = told(desktop, "news");
    assert!(at_desktop[0].1.starts_with(somebody), "{at_desktop:?}");
    assert_eq!(at_desktop.last(), Some(&line("removed", "desktop", "scan")));

    // For people, a message is named by its file as well, and its trash number.
    let text = server.ok(&["log", "--removed"]).text().to_owned();
    assert_eq!(text.lines().count(), 1, "{text}");
    for word in ["removed from Work by desktop at ", &digest("news")[..12], "news", "(bundle "] {
        assert!(text.contains(word), "{word} is not in {text}");
    }
    let number = server.ok(&["trash", "list", "--json"]).json()["trash"][0]["id"].to_string();
    let by_number = server.ok(&["log", "--message", &number]).text().to_owned();
    assert_eq!(by_number, server.ok(&["log", "--message", &digest("news")[..10]]).text());
    assert_eq!(by_number.lines().count(), 5, "{by_number}");
    let by_file = server.ok(&["log", "--message", server.file_of("kept").unwrap().to_str().unwrap()]).text().to_owned();
    assert!(by_file.contains("kept") && by_file.contains("arrived in INBOX by laptop at "), "{by_file}");

    // What fits several questions fits each of them.
    let count = |args: &[&str]| {
        let log = server.ok(&[&["log", "--json"], args].concat()).json();
        log["changes"].as_array().or(log["events"].as_array()).unwrap().len()
    };
    assert_eq!(count(&["--folder", "Work"]), 3);
    assert_eq!(count(&["--folder", "Work", "--removed"]), 1);
    assert_eq!(count(&["--folder", "INBOX"]), 3, "two came, and one left it");
    assert_eq!(count(&["--folder", "Work", "--peer", "desktop"]), 1);
    assert_eq!(count(&["--folder", "Work", "--peer", "laptop", "--since", "1h"]), 2);
    assert_eq!(count(&["--folder", "Work", "-n", "1"]), 1);
    assert_eq!(count(&["--peer", "desktop"]), count(&["--peer", "desktop", "--since", "1h"]));
    assert!(count(&["--peer", "desktop"]) < count(&[]));
    assert_eq!(count(&["--since", "0s"]), 0);
    server.refuses(&["log", "--removed", "--peer", "nobody"], b"", 2, &["no peer called nobody", "the peers are"]);
    server.refuses(&["log", "--folder", "Nothing"], b"", 2, &["Nothing"]);
    server.refuses(&["log", "--message", "12345678"], b"", 2, &["12345678", "no message"]);
    server.refuses(&["log", "--message", "nowhere.eml"], b"", 1, &["nowhere.eml", "trash list"]);
    server.refuses(&["log", "--since", "2999-01-01"], b"", 2, &["--since", "in the future"]);
}

#[test]
fn a_replica_whose_state_was_restored_knows_its_own_past() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    for subject in ["one", "two", "three", "four"] {
        desktop.deliver(subject);
    }
    exchange(&desktop, &laptop);
    desktop.remove("one");
    desktop.move_to("two", "Work");
    exchange(&desktop, &laptop);
    let backup = Backup::of(&desktop);
    // What it forgets it learns from the laptop.
    desktop.remove("three");
    exchange(&desktop, &laptop);
    backup.restore(&desktop);
    let knows_itself = |when: &str, removed: usize| {
        let all = desktop.ok(&["log", "--removed", "--json"]).json();
        let by = all["changes"].as_array().unwrap().iter().map(|change| change["by"].as_str().unwrap());
        assert_eq!(by.collect::<Vec<_>>(), vec!["desktop"; removed], "{when}");
        let mine = desktop.ok(&["log", "--removed", "--peer", "desktop", "--json"]).json();
        assert_eq!(mine["changes"], all["changes"], "{when}");
        let undone = desktop.ok(&["undo", "--by", "desktop", "--since", "1h", "-n"]);
        let said = format!("{} {}", undone.words(), undone.stderr);
        assert!(said.contains("Work") && !said.contains("unknown here"), "{when}: {said}");
    };
    let said = desktop.ok(&["scan"]).stderr;
    assert!(said.contains("copied, moved or restored"), "{said}");
    knows_itself("restored", 1);
    exchange(&desktop, &laptop);
    knows_itself("what it had forgotten", 2);
    fs::remove_dir_all(desktop.home.with_extension("backup")).unwrap();
    Backup::of(&desktop).restore(&desktop);
    assert!(desktop.ok(&["scan"]).stderr.contains("copied, moved or restored"));
    knows_itself("once more", 2);
    desktop.ok(&["key", "rotate"]);
    knows_itself("with another key", 2);
    desktop.ok(&["doctor", "--new-identity"]);
    desktop.remove("four");
    exchange(&desktop, &laptop);
    knows_itself("with a new identity", 3);
    let log = laptop.ok(&["log", "--removed", "--json"]).json();
    assert!(log["changes"].as_array().unwrap().iter().all(|change| change["by"] == "desktop"), "{log}");
}

#[test]
fn what_a_replica_begins_with_is_not_told_message_by_message() {
    let dir = scratch();
    let desktop = Machine::new(dir.path(), "desktop");
    for number in 0..5 {
        let cur = desktop.mail.join("cur");
        make_folder(&desktop.mail);
        fs::write(cur.join(format!("{number}:2,S")), message(&number.to_string())).unwrap();
    }
    desktop.ok(&["init", desktop.mail.to_str().unwrap(), "--name", "desktop"]);
    desktop.ok(&["scan"]);
    let invitation = desktop.ok(&["invite", "laptop"]).stdout;
    let laptop = Machine::new(dir.path(), "laptop");
    let ran = laptop.run_with(&["join", laptop.mail.to_str().unwrap(), "-"], &invitation);
    assert_eq!(ran.code, 0, "{ran:?}");
    for machine in [&desktop, &laptop] {
        assert_eq!(told(machine, "3"), []);
        let text = machine.ok(&["log", "--message", &digest("3")]).text().to_owned();
        assert!(text.contains("in INBOX: since before the history begins; delivered by "), "{text}");
        assert_eq!(machine.ok(&["log", "--folder", "INBOX", "--json"]).json()["changes"], json!([]));
    }
}

#[test]
fn the_trash_is_listed_in_80_columns_and_by_whom() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let mail = "From: =?utf-8?Q?J=C3=BCrgen_with_a_very_long_name_indeed?= <j@example.org>\n\
        Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe=1B[2J_and_more_words_than_anybody_reads?=\nMessage-ID: <one@example.org>\n\n";
    desktop.put("Archive/2019/Some/Deep/Folder", "cur/1:2,FS", mail, 1_600_000_000);
    desktop.put("INBOX", "cur/2:2,", "no header", 1_600_000_000);
    pass(&desktop, &laptop);
    fs::remove_file(desktop.dir("Archive/2019/Some/Deep/Folder").join("cur/1:2,FS")).unwrap();
    pass(&desktop, &laptop);
    fs::remove_file(desktop.dir("INBOX").join("cur/2:2,")).unwrap();
    pass(&desktop, &laptop);

    let text = laptop.ok(&["trash", "list"]).text().to_owned();
    assert_eq!(text.lines().count(), 3, "{text}");
    for line in text.lines() {
        assert!(line.chars().count() <= 80 && !line.contains('\u{1b}'), "{line}");
    }
    let first = text.lines().nth(1).unwrap();
    for word in [" 1 ", "desktop", "Archive/201", "Jürgen", "Grüße"] {
        assert!(first.contains(word), "{word} is not in {first}");
    }
    assert!(text.starts_with("   ID  REMOVED ("), "{text}");
    let shown = laptop.ok(&["trash", "show", "1"]).text().to_owned();
    for word in
        ["Jürgen with a very long name indeed <j@example.org>", "one@example.org", "by desktop", "F S", "Folder"]
    {
        assert!(shown.contains(word), "{word} is not in {shown}");
    }
    let document = laptop.ok(&["trash", "show", "1", "--json"]).json();
    assert_eq!((&document["by"], &document["message_id"]), (&json!("desktop"), &json!("one@example.org")));
    assert_eq!(own_members(document), laptop.ok(&["trash", "list", "--json"]).json()["trash"][0]);
    let count = |args: &[&str]| {
        laptop.ok(&[&["trash", "list", "--json"], args].concat()).json()["trash"].as_array().unwrap().len()
    };
    assert_eq!(count(&["--by", "desktop"]), 2);
    assert_eq!(count(&["--by", "laptop"]), 0);
    assert_eq!(count(&["--folder", "Archive"]), 1);
    laptop.refuses(&["trash", "list", "--folder", "Arch"], b"", 2, &["the folder Arch"]);
    assert_eq!(count(&["--since", "1h", "--folder", "INBOX"]), 1);
    assert_eq!(count(&["--since", "0s"]), 0);
    laptop.refuses(&["trash", "list", "--by", "nobody"], b"", 2, &["no peer called nobody"]);
    laptop.refuses(&["trash", "show", "3"], b"", 2, &["nothing with this number", "trash list"]);
}

#[test]
fn a_number_in_the_trash_is_never_given_again() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let mut given = Vec::new();
    for round in 0..3 {
        desktop.deliver(&format!("mail {round}"));
        pass(&desktop, &laptop);
        desktop.remove(&format!("mail {round}"));
        pass(&desktop, &laptop);
        let item = laptop.ok(&["trash", "list", "--json"]).json()["trash"][0].clone();
        let id = item["id"].to_string();
        let file = Path::new(item["file"].as_str().unwrap()).file_name().unwrap().to_str().unwrap().to_owned();
        assert!(file.starts_with(&format!("{id}-")), "{file} has the number {id}");
        assert!(!given.contains(&id), "{id} again, after {given:?}");
        laptop.ok(&["trash", "restore", &id]);
        pass(&laptop, &desktop);
        given.push(id);
    }
}

#[test]
fn many_messages_come_back_by_one_command_with_one_line_in_the_log() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    for number in 0..150 {
        let folder = if number % 3 == 0 { "Lists" } else { "INBOX" };
        desktop.put(folder, &format!("cur/{number}:2,S"), message(&number.to_string()), 1_600_000_000 + number);
    }
    exchange(&desktop, &laptop);
    let before = laptop.mailbox();
    for number in 0..150 {
        desktop.remove(&number.to_string());
    }
    desktop.ok(&["scan", "--allow-mass-delete"]);
    let bundle = desktop.ok(&["export", "--to", "laptop"]).stdout;
    let ran = laptop.run_with(&["import", "--allow-mass-delete"], &bundle);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(laptop.mailbox().len(), 0);
    let ids: Vec<i64> = laptop.ok(&["trash", "list", "--json"]).json()["trash"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["id"].as_i64().unwrap())
        .collect();
    let events = |machine: &Machine| {
        let log = machine.ok(&["log", "--json", "-n", "1000"]).json();
        let all = log["events"].as_array().unwrap().clone();
        all.into_iter()
            .filter(|event| event["command"] == "trash restore")
            .map(|event| event["text"].to_string())
            .collect::<Vec<_>>()
    };

    laptop.refuses(&["trash", "restore", "9000-9001"], b"", 2, &["nothing with this number"]);
    for (wrong, said) in [
        (&["trash", "restore"][..], "--all"),
        (&["trash", "restore", "5-2"], "this range is empty"),
        (&["trash", "restore", "five"], "a number is expected"),
        (&["trash", "restore", "--all", "--folder", "INBOX"], "cannot be used with"),
    ] {
        let ran = laptop.run(wrong);
        assert!(ran.code == 2 && ran.stderr.contains(said), "{ran:?}");
    }
    let would = laptop.ok(&["trash", "restore", "--folder", "Lists", "--dry-run", "--json"]).json();
    assert_eq!((&would["dry_run"], &would["messages"]), (&json!(true), &json!(50)));
    assert_eq!(laptop.mailbox().len(), 0);

    // Copies in a directory leave everything as it was. Repeated, nothing is copied again.
    let copies = dir.path().join("copies");
    let range = format!("{}-{}", ids[0], ids[9]);
    laptop.refuses(&["trash", "restore", &range, "--to", copies.to_str().unwrap()], b"", 1, &["make the directory"]);
    fs::create_dir(&copies).unwrap();
    for _ in 0..2 {
        let report = laptop.ok(&["trash", "restore", &range, "--to", copies.to_str().unwrap(), "--json"]).json();
        assert_eq!(report["messages"], 10);
        assert_eq!(names(&copies).len(), 10, "{:?}", names(&copies));
        let file = report["items"][0]["file"].as_str().unwrap();
        assert_eq!(Digest::of(&fs::read(file).unwrap()).to_string(), report["items"][0]["digest"].as_str().unwrap());
    }
    fs::write(copies.join(&names(&copies)[0]), "mine").unwrap();
    laptop.refuses(&["trash", "restore", &range, "--to", copies.to_str().unwrap()], b"", 1, &["another file"]);
    assert_eq!(laptop.mailbox().len(), 0);

    let said = laptop.ok(&["trash", "restore", "--by", "desktop", "--since", "1h", "--folder", "Lists"]).stderr;
    assert!(said.contains("back: 50 messages ("), "{said}");
    assert_eq!(events(&laptop).len(), 1, "{:?}", events(&laptop));
    let again = laptop.run(&["trash", "restore", "--by", "desktop", "--folder", "Lists"]);
    assert!(again.code == 1 && again.stderr.contains("nothing of that is in the trash"), "{again:?}");
    let again = laptop.run(&["trash", "restore", "--by", "desktop", "--folder", "Lists", "--json"]);
    assert_eq!((again.code, &again.json()["error"]["kind"]), (1, &"failed".into()), "{again:?}");
    complains(
        &laptop.run(&["--quiet", "trash", "restore", "--folder", "Lists"]),
        1,
        &["nothing of that is in the trash"],
    );
    laptop.ok(&["trash", "restore", "--all"]);
    let told = events(&laptop);
    assert!(told.len() == 2 && told[1].contains("100 messages"), "{told:?}");
    assert_eq!(laptop.ok(&["trash", "list", "--json"]).json()["trash"], json!([]));
    assert_eq!(fs::read_dir(laptop.home.join("trash")).unwrap().count(), 0);
    assert_same(&laptop.mailbox(), &before, "back");
    exchange(&laptop, &desktop);
    assert_same(&desktop.mailbox(), &before, "everywhere");
    laptop.is_at_rest("after all is back");
}

#[test]
fn one_message_that_cannot_come_back_keeps_no_other_from_it() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    for subject in ["one", "two", "three"] {
        desktop.deliver(subject);
    }
    exchange(&desktop, &laptop);
    for subject in ["one", "two", "three"] {
        desktop.remove(subject);
    }
    pass(&desktop, &laptop);
    let trash = laptop.ok(&["trash", "list", "--json"]).json()["trash"].clone();
    let damaged = trash[1].clone();
    fs::write(damaged["file"].as_str().unwrap(), "something else").unwrap();
    let ran = laptop.run(&["trash", "restore", "--all"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let said = ran.stderr;
    assert!(said.contains("other contents") && said.contains("back: 2 messages"), "{said}");
    assert_eq!(laptop.mailbox().len(), 2);
    assert_eq!(laptop.ok(&["trash", "list", "--json"]).json()["trash"].as_array().unwrap().len(), 1);
}

#[test]
fn what_somebody_removed_comes_back_where_it_was_before_they_moved_and_flagged_it() {
    let dir = scratch();
    let machines = row(dir.path(), &["desktop", "server", "laptop"]);
    let [desktop, server, laptop] = &machines[..] else { unreachable!() };
    for subject in ["one", "two", "three", "mine"] {
        desktop.deliver(subject);
    }
    exchange(desktop, server);
    exchange(server, laptop);
    exchange(desktop, server);
    let before = server.mailbox();
    laptop.move_to("one", "Hidden");
    laptop.flag("two", "");
    exchange(laptop, server);
    laptop.remove("one");
    laptop.remove("two");
    laptop.remove("three");
    exchange(laptop, server);
    exchange(server, desktop);
    desktop.remove("mine");
    exchange(desktop, server);
    assert_eq!(server.mailbox().len(), 0);

    let would = server.ok(&["trash", "restore", "--by", "laptop", "--since", "1h", "-n", "--json"]).json();
    assert_eq!(would["messages"], 3);
    let ran =
        server.ok(&["trash", "restore", "--by", &laptop.public_key().id().to_string(), "--since", "1h", "--json"]);
    assert_eq!((&ran.json()["messages"], &ran.json()["items"]), (&json!(3), &would["items"]));
    let mut wanted = before.clone();
    wanted.remove(&Digest::of(message("mine").as_bytes()));
    assert_same(&server.mailbox(), &wanted, "what the desktop has removed stays in the trash");
    exchange(server, desktop);
    assert_same(&desktop.mailbox(), &wanted, "on the desktop");

    // The desktop, where it is not known who it was, has heard of all that from the server, and has it back already.
    let again = desktop.run(&["trash", "restore", "--by", "server"]);
    assert_eq!(again.code, 1, "{again:?}");
    assert!(again.stderr.contains("but 3 messages there were removed by somebody unknown here"), "{again:?}");
    let again = desktop.run(&["trash", "restore", "--since", "1h", "--json"]);
    assert_eq!(again.code, 1, "{again:?}");
    let again = again.json();
    assert_eq!((&again["messages"], &again["there"]), (&json!(0), &json!(3)));
    assert_same(&desktop.mailbox(), &wanted, "nothing is there twice");
}

#[test]
fn what_somebody_moved_and_flagged_is_taken_back_everywhere_and_nothing_else() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let server = Machine::replica(dir.path(), "server");
    make_peers(&desktop, &server);
    for subject in ["moved", "flagged", "both", "since moved", "since gone", "since removed", "theirs"] {
        desktop.deliver(subject);
    }
    let round = || {
        exchange(&laptop, &desktop);
        exchange(&desktop, &server);
    };
    round();
    exchange(&desktop, &laptop);
    let before = server.mailbox();
    for subject in ["moved", "both", "since moved", "since gone", "since removed"] {
        laptop.move_to(subject, "Junk/Deep");
    }
    laptop.flag("flagged", "T");
    laptop.flag("both", "FRS");
    round();
    // What others do afterwards counts: elsewhere, and here, even if no scan has seen it yet.
    server.move_to("since moved", "Work");
    exchange(&server, &desktop);
    laptop.remove("since removed");
    round();
    desktop.flag("flagged", "FT");
    fs::remove_dir_all(desktop.dir("Nothing")).unwrap_err();
    desktop.remove("since gone");

    desktop.refuses(&["undo", "--by", "nobody", "--since", "1h"], b"", 2, &["no peer called nobody", "the peers are"]);
    let ran = desktop.run(&["undo", "--by", "laptop", "--since", "soon"]);
    assert!(ran.code == 2 && ran.stderr.contains("2h or 3d"), "{ran:?}");
    desktop.refuses(&["undo", "--by", "laptop", "--since", "2999-01-01"], b"", 2, &["in the future"]);
    let dry = desktop.ok(&["undo", "--by", "laptop", "--since", "1h", "--dry-run", "--json"]).json();
    assert!(desktop.dir("Junk/Deep").exists() && desktop.left() == desktop.left());
    let said = desktop.ok(&["undo", "--by", "laptop", "--since", "1h", "-n"]).stderr;
    for line in ["Junk/Deep -> INBOX  ", "moved", "left: server has changed it since", "desktop has removed it"] {
        assert!(said.contains(line), "{line} is not in {said}");
    }
    let only = desktop.run(&["undo", "--by", "laptop", "--since", "1h", "-n", "--folder", "Work", "--json"]);
    assert_eq!(only.code, 1, "{only:?}");
    let only = only.json();
    assert_eq!((&only["left"], &only["moved"], &only["items"].as_array().unwrap().len()), (&json!(1), &json!(0), &1));

    let done = desktop.ok(&["undo", "--by", "laptop", "--since", "1h", "--json"]).json();
    for name in ["moved", "flagged", "left", "gone", "folders", "items", "by"] {
        assert!(!dry[name].is_null(), "{name}");
        assert_eq!(done[name], dry[name], "{name}: what a dry run says is what then happens");
    }
    assert_eq!([&done["moved"], &done["flagged"], &done["gone"]], [&json!(2), &json!(2), &json!(2)]);
    let again = desktop.run(&["undo", "--by", "laptop", "--since", "1h", "--json"]);
    assert_eq!(again.code, 1, "{again:?}");
    let again = again.json();
    assert_eq!((&again["moved"], &again["flagged"]), (&json!(0), &json!(0)));
    let log = desktop.ok(&["log"]).text().to_owned();
    assert_eq!(log.lines().filter(|line| line.contains("  undo  ")).count(), 1, "{log}");

    for _ in 0..2 {
        round();
    }
    let mut wanted = before;
    for subject in ["since gone", "since removed"] {
        wanted.remove(&Digest::of(message(subject).as_bytes()));
    }
    let own = Digest::of(message("since moved").as_bytes());
    wanted.get_mut(&own).unwrap()[0].folder = String::from("Work");
    let own = Digest::of(message("flagged").as_bytes());
    wanted.get_mut(&own).unwrap()[0].flags = ["F", "S"].map(String::from).into_iter().collect();
    for machine in [&desktop, &server, &laptop] {
        assert_same(&machine.mailbox(), &wanted, &machine.name);
        machine.is_at_rest("after the undo");
    }
    let back = told(&desktop, "moved");
    assert_eq!(back.last(), Some(&line("moved", "desktop", "undo")), "{back:?}");
    // What was taken back here is a change made here, which can't be taken back by mistake.
    let own = desktop.ok(&["undo", "--by", "desktop", "--since", "1h", "--json", "-n"]).json();
    assert!(own["items"].as_array().unwrap().iter().all(|item| item["digest"] != digest("moved").as_str()), "{own}");
}

#[test]
fn whatever_a_peer_has_moved_and_flagged_at_random_is_as_before_after_the_undo() {
    const FOLDERS: [&str; 4] = ["INBOX", "Work", "Lists/Old", "Junk"];
    const FLAGS: [&str; 5] = ["", "S", "F", "FS", "RT"];
    for seed in 1..=4_u64 {
        let dir = scratch();
        let machines = row(dir.path(), &["desktop", "server", "laptop"]);
        let [desktop, server, laptop] = &machines[..] else { unreachable!() };
        let mut random = seed;
        let mut pick = |most: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(random >> 33).unwrap() % most
        };
        for number in 0..12 {
            let (folder, flags) = (FOLDERS[pick(4)], FLAGS[pick(5)]);
            desktop.put(folder, &format!("cur/{number}:2,{flags}"), message(&number.to_string()), 1_600_000_000);
        }
        for folder in FOLDERS {
            make_folder(&desktop.dir(folder));
        }
        exchange(desktop, server);
        exchange(server, laptop);
        exchange(desktop, server);
        let before = desktop.mailbox();
        for _ in 0..3 {
            for _ in 0..pick(10) {
                let subject = pick(12).to_string();
                if pick(2) == 0 {
                    laptop.move_to(&subject, FOLDERS[pick(4)]);
                } else {
                    laptop.flag(&subject, FLAGS[pick(5)]);
                }
            }
            if pick(2) == 0 {
                rest();
                laptop.ok(&["scan"]);
            }
            pass(laptop, server);
            if pick(2) == 0 {
                pass(server, desktop);
            }
        }
        exchange(laptop, server);
        exchange(server, desktop);
        let done = server.ok(&["undo", "--by", "laptop", "--since", "1h", "--json"]).json();
        assert_eq!((&done["left"], &done["gone"]), (&json!(0), &json!(0)), "seed {seed}: {done}");
        for _ in 0..2 {
            exchange(server, desktop);
            exchange(server, laptop);
        }
        for machine in &machines {
            assert_same(&machine.mailbox(), &before, &format!("seed {seed}: {}", machine.name));
            machine.is_at_rest("after the undo");
        }
    }
}

#[test]
fn the_history_of_messages_goes_with_its_days() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("one");
    exchange(&desktop, &laptop);
    laptop.move_to("one", "Work");
    exchange(&laptop, &desktop);
    desktop.ok(&["purge"]);
    assert_eq!(told(&desktop, "one").len(), 2);
    desktop.reconfigure(&[("history_days", "0")]);
    rest();
    let purged = desktop.ok(&["purge", "--json"]).json();
    assert!(purged["history"].as_u64().unwrap() > 2, "{purged}");
    assert_eq!(told(&desktop, "one"), []);
    // Without it, nobody knows what to take back: it is told, and nothing is changed.
    let ran = desktop.run(&["undo", "--by", "laptop", "--since", "1h"]);
    complains(&ran, 1, &["undoing what laptop has done", "nothing since then that could be taken back"]);
    assert!(desktop.dir("Work").join("cur").read_dir().unwrap().next().is_some());
    // Of a message that is gone, too, nothing is told.
    desktop.remove("one");
    desktop.ok(&["scan"]);
    rest();
    desktop.ok(&["purge"]);
    let ran = desktop.run(&["log", "--message", &digest("one")]);
    complains(&ran, 1, &["looking for what became of", "tells nothing of it", "history_days"]);
    assert_eq!(desktop.run(&["--json", "log", "--message", &digest("one")]).json()["error"]["kind"], "failed");
}

#[test]
fn the_last_removal_of_a_message_counts_and_one_copy_comes_back() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let server = Machine::replica(dir.path(), "server");
    make_peers(&desktop, &server);
    let round = || {
        for _ in 0..2 {
            exchange(&laptop, &desktop);
            exchange(&desktop, &server);
        }
    };
    desktop.deliver("one");
    desktop.deliver("two");
    round();
    let before = desktop.mailbox();
    laptop.remove("one");
    laptop.remove("two");
    round();
    server.ok(&["trash", "restore", "--all"]);
    round();
    assert_same(&desktop.mailbox(), &before, "the server has brought both back");
    // The laptop removes one of them once more, and a person at the desktop the other.
    laptop.remove("one");
    round();
    desktop.remove("two");
    round();
    let trash = desktop.ok(&["trash", "list", "--json"]).json()["trash"].clone();
    assert_eq!(trash.as_array().unwrap().len(), 3, "{trash}");
    let done = desktop.ok(&["trash", "restore", "--by", "laptop", "--since", "1h", "--json"]).json();
    assert_eq!([&done["messages"], &done["there"], &done["left"]], [&json!(1), &json!(0), &json!(2)], "{done}");
    round();
    let mut wanted = before;
    wanted.remove(&Digest::of(message("two").as_bytes()));
    for machine in [&desktop, &laptop, &server] {
        assert_same(&machine.mailbox(), &wanted, &machine.name);
    }
    // Whoever names it gets it.
    let two = trash.as_array().unwrap().iter().find(|item| item["digest"] == digest("two").as_str()).unwrap();
    desktop.ok(&["trash", "restore", &two["id"].to_string()]);
    assert!(desktop.has("two"));
}

#[test]
fn what_is_back_already_comes_again_only_if_it_is_named() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    for subject in ["one", "two"] {
        desktop.deliver(subject);
    }
    pass(&desktop, &laptop);
    for subject in ["one", "two"] {
        desktop.remove(subject);
    }
    pass(&desktop, &laptop);
    desktop.deliver("one");
    pass(&desktop, &laptop);
    let trash = laptop.ok(&["trash", "list", "--json"]).json()["trash"].clone();
    let find = |subject: &str| trash.as_array().unwrap().iter().find(|item| item["digest"] == digest(subject).as_str());
    let [one, two] = ["one", "two"].map(|subject| find(subject).unwrap()["id"].to_string());
    let files = || names(&laptop.dir("INBOX").join("cur")).len() + names(&laptop.dir("INBOX").join("new")).len();
    assert_eq!(files(), 1);

    let would = laptop.ok(&["trash", "restore", "1-99", "--dry-run", "--json"]).json();
    assert_eq!((&would["messages"], &would["there"]), (&json!(1), &json!(1)), "{would}");
    let said = laptop.ok(&["trash", "restore", "1-99"]).stderr;
    assert!(said.contains("nothing in the trash has the number 99, an end of 1-99"), "{said}");
    assert!(said.contains(&format!("trash {two} is back in INBOX\n")), "{said}");
    assert!(said.contains("in their folders already: 1 message; the copies stay in the trash"), "{said}");
    assert_eq!(files(), 2);
    // Repeated, nothing of it comes back.
    let again = laptop.run(&["trash", "restore", &format!("{one}-99"), "--json"]);
    assert_eq!(again.code, 1, "{again:?}");
    let again = again.json();
    assert_eq!((&again["messages"], &again["there"]), (&json!(0), &json!(1)), "{again}");
    assert_eq!(files(), 2);

    let said = laptop.ok(&["trash", "restore", &one, "--dry-run"]).stderr;
    assert!(said.contains(&format!("trash {one} would be back in INBOX once more: it is already in INBOX")), "{said}");
    let item = laptop.ok(&["trash", "restore", &one, "--dry-run", "--json"]).json()["items"][0].clone();
    assert_eq!(item["was_there"], true, "{item}");
    assert_eq!(files(), 2);
    // All but its file is known of one whose file is gone.
    let file = laptop.ok(&["trash", "show", &one, "--json"]).json()["file"].as_str().unwrap().to_owned();
    fs::rename(&file, dir.path().join("aside")).unwrap();
    let ran = laptop.run(&["trash", "show", &one]);
    complains(&ran, 1, &["showing the message in the trash", "No such file", "on another machine"]);
    assert!(ran.text().contains("folder      INBOX"), "{ran:?}");
    let ran = laptop.run(&["--json", "trash", "show", &one]);
    assert_eq!((ran.code, &ran.json()["error"]["kind"]), (1, &"failed".into()), "{ran:?}");
    fs::rename(dir.path().join("aside"), &file).unwrap();
    let said = laptop.ok(&["trash", "restore", &one]).stderr;
    assert!(said.contains("once more: it was already in INBOX"), "{said}");
    assert_eq!(files(), 3);
    laptop.refuses(&["trash", "show", "99"], b"", 2, &["showing 99: there is nothing with this number"]);
    laptop.refuses(&["log", "--message", "99"], b"", 2, &["looking for message 99: there is nothing with this number"]);
}

#[test]
fn what_a_peer_that_was_forgotten_did_is_told_by_its_id_and_taken_back() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("one");
    desktop.deliver("two");
    exchange(&desktop, &laptop);
    let before = desktop.mailbox();
    laptop.move_to("one", "Junk");
    laptop.remove("two");
    exchange(&laptop, &desktop);
    desktop.ok(&["peer", "remove", "laptop"]);
    let id = laptop.public_key().id().to_string();
    assert_eq!(told(&desktop, "one").last().unwrap().1, id);
    assert_eq!(desktop.ok(&["trash", "list", "--json"]).json()["trash"][0]["by"], id.as_str());
    desktop.ok(&["undo", "--by", &id, "--since", "1h"]);
    desktop.ok(&["trash", "restore", "--by", &id]);
    assert_same(&desktop.mailbox(), &before, "as before");
    let stranger = Machine::replica(dir.path(), "stranger").public_key().id().to_string();
    desktop.refuses(&["undo", "--by", &stranger, "--since", "1h"], b"", 1, &["no bundle of its own", &stranger]);
}

#[test]
fn what_is_back_from_the_trash_is_not_told_to_be_removed() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("mail");
    exchange(&desktop, &laptop);
    laptop.move_to("mail", "Work");
    exchange(&laptop, &desktop);
    laptop.remove("mail");
    exchange(&laptop, &desktop);
    let undo = ["undo", "--by", "laptop", "--since", "1h"];
    assert!(desktop.run(&undo).stderr.contains("trash restore --by"));
    desktop.ok(&["trash", "restore", "--all"]);
    let said = desktop.run(&undo).stderr;
    assert!(said.contains("laptop has removed it, and it is here again since"), "{said}");
    assert!(!said.contains("trash restore --by"), "{said}");
    assert!(desktop.has("mail"));
}
