//! A machine that was lost or stolen goes on being a peer until a person says otherwise on any other one. From then on it
//! is shut out wherever that is heard, and so is what others tell of what it has done since.

use std::path::Path;

use serde_json::Value;

use crate::support::machine::{Machine, complains, exchange, make_peers, message, pass};
use crate::support::programs::Ran;
use crate::support::scratch;

/// This very moment, as it is typed; later than all that was done before, and earlier than all that comes.
pub fn moment() -> String {
    let pause = || std::thread::sleep(std::time::Duration::from_millis(2));
    pause();
    let now = jiff::Timestamp::now().to_string();
    pause();
    now
}

/// These machines, each known to each other, with the same mail.
pub fn mesh<const N: usize>(dir: &Path, names: [&str; N]) -> [Machine; N] {
    let machines = names.map(|name| Machine::replica(dir, name));
    for (n, one) in machines.iter().enumerate() {
        for other in &machines[n + 1..] {
            make_peers(one, other);
        }
    }
    for subject in ["kept", "filed", "read", "wanted"] {
        machines[0].deliver(subject);
    }
    for (n, one) in machines.iter().enumerate() {
        for other in &machines[n + 1..] {
            exchange(one, other);
        }
    }
    for one in &machines {
        for other in machines.iter().filter(|other| other.name != one.name) {
            pass(one, other);
        }
    }
    machines
}

/// The file of a message in the INBOX.
fn file(machine: &Machine, subject: &str) -> std::path::PathBuf {
    let wanted = mailsync::model::Digest::of(message(subject).as_bytes());
    machine.files().into_iter().find(|(digest, ..)| *digest == wanted).unwrap_or_else(|| panic!("no {subject}")).2
}

/// What somebody does to the mail on a machine that isn't his.
fn ravage(laptop: &Machine) {
    std::fs::remove_file(file(laptop, "wanted")).unwrap();
    let read = file(laptop, "read");
    std::fs::rename(&read, read.with_file_name("read:2,FS")).unwrap();
    let spoils = laptop.dir("Spoils").join("cur");
    std::fs::create_dir_all(&spoils).unwrap();
    for sub in ["new", "tmp"] {
        std::fs::create_dir_all(laptop.dir("Spoils").join(sub)).unwrap();
    }
    std::fs::rename(file(laptop, "filed"), spoils.join("filed:2,S")).unwrap();
    laptop.deliver("forged");
    laptop.ok(&["scan"]);
}

pub fn peer(machine: &Machine, name: &str) -> Value {
    let list = machine.ok(&["peer", "list", "--json"]).json();
    list["peers"].as_array().unwrap().iter().find(|peer| peer["name"] == name).unwrap().clone()
}

/// A bundle for a machine is refused, as its sender is revoked.
#[track_caller]
fn refuses(machine: &Machine, bundle: &[u8], words: &[&str]) {
    let words = [&["was revoked by", "nothing is taken from it", "mailsync peer reinstate"][..], words].concat();
    machine.refuses(&["import"], bundle, 4, &words);
}

pub fn is_loud(ran: &Ran) -> bool {
    ran.stderr.contains("laptop WAS REVOKED by")
}

#[test]
fn four_machines_go_on_without_the_one_that_was_stolen() {
    let dir = scratch();
    let [server, desktop, phone, laptop] = mesh(dir.path(), ["server", "desktop", "phone", "laptop"]);
    let before = desktop.mailbox();
    assert_eq!((before.len(), &phone.mailbox(), &laptop.mailbox()), (4, &before, &before));

    let theft = moment();
    ravage(&laptop);
    pass(&laptop, &server);
    assert!(!server.has("wanted") && server.has("forged"), "nobody has told the server yet");
    let kept_by_thief = laptop.ok(&["export", "--to", "desktop"]).stdout;

    // At home, a day later.
    let told = desktop.ok(&["peer", "revoke", "laptop", "--since", &theft, "--reason", "left on the train"]);
    assert!(told.stderr.contains("laptop is revoked as of") && !is_loud(&told), "{}", told.stderr);
    refuses(&desktop, &kept_by_thief, &["by this replica at", "\"left on the train\""]);
    let not_sent = desktop.fails(&["export", "--to", "laptop"], 4);
    assert!(not_sent.contains("nothing is sent to it"), "{not_sent}");
    assert!(!is_loud(&desktop.ok(&["scan"])), "whoever said it has looked");

    // The server and the phone hear of it, and say so until somebody has looked.
    for other in [&server, &phone] {
        let heard = pass(&desktop, other);
        assert!(is_loud(&heard) && heard.stderr.contains("left on the train"), "{}", heard.stderr);
        assert!(is_loud(&other.ok(&["scan"])) && is_loud(&other.ok(&["export", "--to", "desktop"])));
        let revoked = peer(other, "laptop")["revoked"].clone();
        assert_eq!((&revoked["looked_at"], &revoked["by"][0]["by"]), (&false.into(), &peer(other, "desktop")["id"]));
        for command in [&["peer", "list"][..], &["status"]] {
            let shown = other.ok(command);
            assert!(shown.words().contains("revoked laptop, as of"), "{}", shown.text());
            assert!(shown.words().contains("nobody has looked at this here yet"), "{}", shown.text());
        }
        refuses(other, &laptop.ok(&["export", "--to", &other.name]).stdout, &["laptop was revoked by desktop at"]);
    }

    // What the server had taken by then it passes on, and the others pass that over.
    pass(&server, &desktop);
    pass(&server, &phone);
    pass(&phone, &desktop);
    assert_eq!((desktop.mailbox(), phone.mailbox()), (before.clone(), before.clone()));
    // Mail goes on, both ways, and whatever else the server says is believed.
    server.deliver("news");
    desktop.deliver("more");
    for (from, to) in [(&server, &desktop), (&desktop, &server), (&desktop, &phone), (&server, &phone)] {
        pass(from, to);
    }
    assert!([&server, &desktop, &phone].iter().all(|machine| machine.has("news") && machine.has("more")));
    assert_eq!(desktop.mailbox(), phone.mailbox());
    assert_eq!(desktop.mailbox().len(), before.len() + 2);

    // Somebody looks, on the server as well, and it is quiet, from that very command on.
    assert!(!is_loud(&server.ok(&["peer", "revoke", "laptop", "--since", &theft])));
    assert!(!is_loud(&server.ok(&["scan"])));
    assert_eq!(peer(&server, "laptop")["revoked"]["looked_at"], true);

    // What the server had taken is taken back there, but for what the thief has put in.
    for command in [&["trash", "restore"][..], &["undo"]] {
        let all = [command, &["--by", "laptop", "--since", &theft]].concat();
        server.ok(&[&all[..], &["--dry-run"]].concat());
        assert!(server.ok(&all).stderr.contains("1 "), "{command:?}");
    }
    for (from, to) in [(&server, &desktop), (&server, &phone), (&desktop, &phone), (&phone, &server)] {
        pass(from, to);
    }
    let mut honest = server.mailbox();
    assert!(honest.remove(&mailsync::model::Digest::of(message("forged").as_bytes())).is_some());
    assert_eq!((&desktop.mailbox(), &phone.mailbox()), (&honest, &honest));
    for (digest, copies) in &before {
        assert_eq!(honest.get(digest), Some(copies), "{digest}");
    }
    assert_eq!(honest.len(), before.len() + 2);

    // It was only mislaid: on a machine where a person says so, everything comes. That counts for what was heard until then.
    for machine in [&desktop, &phone] {
        pass(&server, machine);
        assert!(!is_loud(&machine.ok(&["peer", "reinstate", "laptop"])));
        // The server leaves out what it has heard to be passed over, until it hears otherwise.
        pass(&server, machine);
        exchange(machine, &server);
        assert_eq!(machine.mailbox(), server.mailbox(), "{}", machine.name);
        assert!(!is_loud(&machine.ok(&["scan"])));
        assert_eq!(peer(machine, "laptop")["revoked"], Value::Null);
    }
    pass(&laptop, &desktop);
    pass(&desktop, &laptop);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
    // It is no decision of the server's.
    refuses(&server, &laptop.ok(&["export", "--to", "server"]).stdout, &[]);
}

#[test]
fn a_revoked_machine_gets_nothing_taken_and_nothing_sent_whatever_it_tries() {
    let dir = scratch();
    let [server, desktop, laptop] = mesh(dir.path(), ["server", "desktop", "laptop"]);
    let ran = dir.path().join("ran");
    server.allow("do", &["/bin/sh", "-c", &format!("echo ran >> {}", ran.display())], &[], "laptop");
    let theft = moment();
    ravage(&laptop);
    // What it made while nobody knew, to be given to somebody later.
    let early = laptop.ok(&["export", "--to", "server"]).stdout;
    let job = laptop.run_with(&["uux", "server", "do"], b"").text().trim().to_owned();
    assert_eq!(job.len(), 32);
    let with_job = laptop.ok(&["export", "--to", "server"]).stdout;
    // One who has taken its job, and doesn't know yet.
    let unaware = desktop;
    pass(&laptop, &unaware);
    server.ok(&["peer", "revoke", "laptop", "--since", &theft]);

    // Its own bundles, of any kind.
    refuses(&server, &early, &[]);
    refuses(&server, &with_job, &[]);
    refuses(&server, &laptop.ok(&["export", "--to", "server", "--full"]).stdout, &[]);
    refuses(&server, &laptop.ok(&["export", "--to", "server", "--encrypt"]).stdout, &[]);
    let stick = dir.path().join("stick");
    std::fs::create_dir(&stick).unwrap();
    laptop.ok(&["export", "--to", "server", "-o", stick.to_str().unwrap()]);
    complains(&server.run(&["import", stick.to_str().unwrap()]), 4, &["laptop was revoked by this replica"]);
    let verified = server.run_with(&["verify", "-"], &early);
    assert_eq!(verified.code, 4, "{}", verified.stderr);
    // With another incarnation, another name, and a revocation of its own.
    laptop.ok(&["doctor", "--new-identity"]);
    laptop.reconfigure(&[("name", "\"angel\"")]);
    laptop.ok(&["peer", "revoke", "server", "--since", &theft]);
    let slander = laptop.ok(&["export", "--to", &unaware.name]).stdout;
    laptop.ok(&["peer", "reinstate", "server"]);
    refuses(&server, &laptop.ok(&["export", "--to", "server"]).stdout, &["laptop was revoked"]);
    // An invitation, and an answer to none.
    refuses(&server, &laptop.ok(&["invite", "accomplice"]).stdout, &["laptop was revoked"]);
    // Its key under another name.
    let again = server.fails(&["peer", "add", "angel", "--key", &laptop.key()], 4);
    assert!(again.contains("this key was revoked by this replica"), "{again}");
    server.ok(&["peer", "remove", "laptop"]);
    let again = server.fails(&["peer", "add", "angel", "--key", &laptop.key()], 4);
    assert!(again.contains(&format!("mailsync peer reinstate {}", laptop.public_key().id())), "{again}");
    let (laptops, trusted) = (laptop.public_key().id(), "mailsync peer reinstate SHA256:");
    for command in ["import", "verify"] {
        let args: &[&str] = if command == "import" { &["import"] } else { &["verify", "-"] };
        let words = [&*format!("from {laptops}"), "was revoked by this replica at", "is no peer here", trusted];
        complains(&server.run_with(args, &early), 4, &words);
    }

    // By way of one who doesn't know: its changes, its job, and what it says of others.
    let told = pass(&unaware, &server);
    assert!(told.stderr.contains("about jobs by a replica that was revoked"), "{}", told.stderr);
    assert!(server.has("wanted") && !server.has("forged") && !ran.exists());
    assert_eq!(server.run(&["jobs", "show", &job]).code, 2, "the job isn't there");
    // One that it has told to shut out the server, until a person there knows better.
    let heard = unaware.run_with(&["import"], &slander);
    assert!(heard.stderr.contains("server WAS REVOKED by laptop"), "{}", heard.stderr);
    unaware.ok(&["peer", "reinstate", "server"]);
    // By then it has begun anew, and nothing but its own bundles tells whose that is: whoever has them tells the others.
    unaware.ok(&["peer", "revoke", "laptop", "--since", &theft]);
    let told = pass(&unaware, &server);
    assert!(server.has("wanted") && !server.has("forged"));
    assert!(
        !told.stderr.contains("THIS REPLICA WAS REVOKED"),
        "what it says after its theft doesn't count: {}",
        told.stderr
    );

    // Nothing is sent to it, nor encrypted for it.
    let shared = dir.path().join("shared");
    std::fs::create_dir(&shared).unwrap();
    server.deliver("secret");
    let sent = server.ok(&["export", "-o", shared.to_str().unwrap()]);
    assert!(sent.stderr.contains("encrypted for desktop and this replica"), "{}", sent.stderr);
    let bundle = walkdir::WalkDir::new(&shared).into_iter().map(Result::unwrap).find(|file| file.file_type().is_file());
    let bundle = std::fs::read(bundle.unwrap().path()).unwrap();
    assert_eq!(laptop.run_with(&["inspect", "-"], &bundle).code, 4);
}

#[test]
fn a_job_that_was_taken_before_is_refused_when_its_requester_is_revoked() {
    let dir = scratch();
    let [server, laptop] = mesh(dir.path(), ["server", "laptop"]);
    let ran = dir.path().join("ran");
    server.allow("do", &["/bin/sh", "-c", &format!("echo ran >> {}", ran.display())], &[], "laptop");
    let job = laptop.run_with(&["uux", "server", "do"], b"").text().trim().to_owned();
    let bundle = laptop.ok(&["export", "--to", "server"]).stdout;
    assert_eq!(server.run_with(&["import", "--no-jobs"], &bundle).code, 0);
    server.ok(&["peer", "revoke", "laptop"]);
    server.run(&["jobs", "run"]);
    let shown = server.job(&job);
    assert_eq!(shown["state"], "rejected", "{shown}");
    assert!(shown.to_string().contains("was revoked by this replica") && !ran.exists(), "{shown}");
    let asked = server.fails(&["uux", "laptop", "do"], 4);
    assert!(asked.contains("asking laptop: laptop was revoked by this replica"), "{asked}");
}

#[test]
fn an_update_leaves_a_revoked_peer_out_and_no_purge_waits_for_it() {
    let dir = scratch();
    let [server, desktop, laptop] = mesh(dir.path(), ["server", "desktop", "laptop"]);
    server.reach(&desktop);
    server.reach(&laptop);
    std::fs::remove_file(file(&server, "wanted")).unwrap();
    server.ok(&["scan"]);
    exchange(&server, &desktop);
    let kept = server.ok(&["purge", "--json"]).json();
    assert_eq!((&kept["removals"], &kept["removals_kept"]), (&0.into(), &1.into()), "{kept}");
    server.ok(&["peer", "revoke", "laptop"]);
    let purged = server.ok(&["purge", "--json"]).json();
    assert_eq!((&purged["removals"], &purged["removals_kept"]), (&1.into(), &0.into()), "{purged}");
    let updated = server.ok(&["update", "--json"]).json();
    let peers: Vec<&Value> = updated["peers"].as_array().unwrap().iter().map(|one| &one["peer"]).collect();
    assert_eq!(peers, ["desktop"], "{updated}");
    let named = server.fails(&["update", "laptop"], 4);
    assert!(named.contains("laptop was revoked by this replica"), "{named}");
    // With nobody else to call, that is what is told, and not how to write a call.
    server.ok(&["peer", "revoke", "desktop"]);
    let told = server.ok(&["update"]).stderr;
    for name in ["desktop", "laptop"] {
        assert!(told.contains(&format!("note: {name} was revoked, so it is left out")), "{told}");
    }
}

#[test]
fn of_two_that_revoke_each_other_a_third_shuts_out_both_until_a_person_has_looked() {
    let dir = scratch();
    let [server, desktop, laptop] = mesh(dir.path(), ["server", "desktop", "laptop"]);
    laptop.ok(&["peer", "revoke", "desktop", "--since", "1d"]);
    pass(&laptop, &server);
    desktop.ok(&["peer", "revoke", "laptop", "--since", "1h"]);
    // The desktop is shut out by then, so it is the laptop's word alone that came.
    refuses(&server, &desktop.ok(&["export", "--to", "server"]).stdout, &["desktop was revoked by laptop"]);
    let note = server.ok(&["scan"]).stderr;
    assert!(note.contains("desktop WAS REVOKED by laptop") && note.contains("a thief can revoke, too"), "{note}");
    server.ok(&["peer", "reinstate", "desktop"]);
    let heard = pass(&desktop, &server);
    assert!(is_loud(&heard), "{}", heard.stderr);
    refuses(&server, &laptop.ok(&["export", "--to", "server"]).stdout, &["laptop was revoked by desktop"]);
    server.ok(&["peer", "revoke", "laptop", "--since", "1h"]);
    pass(&server, &desktop);
    pass(&desktop, &server);
    let quiet = server.ok(&["scan"]).stderr;
    assert!(!quiet.contains("REVOKED"), "{quiet}");
}

#[test]
fn hearing_that_one_has_been_revoked_oneself_is_told_loudly() {
    let dir = scratch();
    let [server, desktop, laptop] = mesh(dir.path(), ["server", "desktop", "laptop"]);
    desktop.ok(&["peer", "revoke", "laptop"]);
    // The server hasn't heard of it from the desktop, and passes nothing on: somebody else has to.
    pass(&desktop, &server);
    server.ok(&["peer", "reinstate", "laptop"]);
    let heard = pass(&server, &laptop);
    assert!(
        heard.stderr.contains("THIS REPLICA WAS REVOKED by desktop (as server has brought here)"),
        "{}",
        heard.stderr
    );
    assert!(laptop.ok(&["scan"]).stderr.contains("THIS REPLICA WAS REVOKED"));
    assert!(laptop.ok(&["status"]).text().contains("revoked    THIS REPLICA"));
    // It goes on working.
    laptop.deliver("still here");
    pass(&laptop, &server);
    assert!(server.has("still here"));
}

#[test]
fn a_revocation_that_is_taken_back_before_anybody_heard_it_goes_nowhere() {
    let dir = scratch();
    let [server, desktop, laptop] = mesh(dir.path(), ["server", "desktop", "laptop"]);
    desktop.ok(&["peer", "revoke", "laptop"]);
    let said = desktop.ok(&["peer", "reinstate", "laptop"]).stderr;
    assert!(said.contains("has been sent to nobody who is known here"), "{said}");
    for full in [&[][..], &["--full"]] {
        let bundle = desktop.ok(&[&["export", "--to", "server"][..], full].concat()).stdout;
        let heard = server.run_with(&["import"], &bundle);
        assert_eq!(heard.code, 0, "{}", heard.stderr);
        assert!(!is_loud(&heard), "{}", heard.stderr);
        assert_eq!(peer(&server, "laptop")["revoked"], Value::Null);
    }
    let heard = pass(&desktop, &laptop);
    assert!(!heard.stderr.contains("REVOKED"), "{}", heard.stderr);
    laptop.deliver("still here");
    pass(&laptop, &server);
    assert!(server.has("still here"));

    // Said once more, it counts, and travels.
    desktop.ok(&["peer", "revoke", "laptop"]);
    assert!(is_loud(&pass(&desktop, &server)));
    // Whoever has heard it keeps it, and who takes it back is told so.
    let said = desktop.ok(&["peer", "reinstate", "laptop", "--json"]).json();
    assert_eq!((&said["withdrawn"], &said["sent_to"]), (&true.into(), &serde_json::json!(["server"])), "{said}");
    pass(&desktop, &server);
    refuses(&server, &laptop.ok(&["export", "--to", "server"]).stdout, &["laptop was revoked by desktop at"]);
    desktop.ok(&["peer", "revoke", "laptop"]);
    pass(&desktop, &server);
    let said = desktop.ok(&["peer", "reinstate", "laptop"]).stderr;
    assert!(said.contains("has been sent already, to server: they, and all who hear it from them"), "{said}");
    // What somebody else has said is passed on all the same: each machine decides for itself.
    server.ok(&["peer", "reinstate", "laptop"]);
    assert!(pass(&server, &laptop).stderr.contains("THIS REPLICA WAS REVOKED by desktop"));
}

#[test]
fn a_revocation_that_is_said_again_keeps_its_time_unless_another_is_given() {
    let dir = scratch();
    let [server, desktop, laptop] = mesh(dir.path(), ["server", "desktop", "laptop"]);
    let since = |args: &[&str]| {
        let said = desktop.ok(&[&["peer", "revoke", "laptop", "--json"][..], args].concat()).json();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&said["since"]), said["kept"].as_bool().unwrap(), text(&said["revoked"]["since"]))
    };
    let early = String::from("2026-01-02T03:04:05Z");
    let (first, kept, counts) = since(&["--since", &early]);
    assert_eq!((kept, &counts), (false, &first));
    assert!(first.starts_with("2026-01-02T03:04:05"), "{first}");
    assert_eq!(since(&[]), (first.clone(), true, first.clone()));
    assert_eq!(since(&["--reason", "stolen"]), (first.clone(), true, first.clone()));
    let said = desktop.ok(&["peer", "revoke", "laptop"]).stderr;
    assert!(said.contains("2026-01-02") && said.contains("that was given here before"), "{said}");
    // Another time takes its place, and what was taken back is no time to keep.
    let (second, kept, _) = since(&["--since", "2026-02-03T03:04:05Z"]);
    assert!(second.starts_with("2026-02-03") && !kept, "{second}");
    desktop.ok(&["peer", "reinstate", "laptop"]);
    let (third, kept, _) = since(&[]);
    assert!(third > second && !kept, "{third}");

    // Of one's own and another's the earlier counts, and both are told.
    server.ok(&["peer", "revoke", "laptop", "--since", &early]);
    pass(&server, &desktop);
    assert_eq!(since(&[]), (third, true, first));
    let said = desktop.ok(&["peer", "revoke", "laptop"]).stderr;
    assert!(said.contains("what counts is 2026-01-02"), "{said}");
    let _ = laptop;
}

#[test]
fn who_has_no_bundle_of_a_machine_is_told_that_its_changes_are_taken_until_somebody_else_revokes_it() {
    let dir = scratch();
    let [server, laptop] = mesh(dir.path(), ["server", "laptop"]);
    let desktop = Machine::replica(dir.path(), "desktop");
    make_peers(&server, &desktop);
    exchange(&server, &desktop);
    let id = laptop.public_key().id().to_string();
    let theft = moment();
    ravage(&laptop);
    pass(&laptop, &server);
    let said = desktop.ok(&["peer", "revoke", &id, "--since", &theft]).stderr;
    assert!(said.contains("ever came here: what others tell of its changes can't be told from their own"), "{said}");
    assert_eq!(desktop.ok(&["peer", "revoke", &id, "--json"]).json()["told_apart"], false);
    pass(&server, &desktop);
    assert!(!desktop.has("wanted") && desktop.has("forged"), "nothing tells whose that is");
    for (command, code) in [(&["trash", "restore"][..], 1), (&["trash", "list"], 0)] {
        let ran = desktop.run(&[command, &["--by", &id, "--since", &theft]].concat());
        assert_eq!(ran.code, code, "{ran:?}");
        let words = "1 message there was removed by somebody unknown here, who may be it";
        assert!(
            ran.stderr.contains(words) && ran.stderr.contains("`mailsync trash restore --by ID`"),
            "{}",
            ran.stderr
        );
    }
    let removed = String::from_utf8(desktop.ok(&["trash", "list"]).stdout).unwrap();
    let shown = removed.lines().nth(1).unwrap().split_whitespace().nth(3).unwrap();
    let of_that_one = desktop.ok(&["trash", "list", "--by", shown]).text().to_owned();
    assert!(shown.len() == 8 && of_that_one == removed, "{of_that_one}: {removed}");
    complains(&desktop.run(&["undo", "--by", &id, "--since", &theft]), 1, &["whose it is"]);
    // Once the server has said it, what comes is told apart.
    server.ok(&["peer", "revoke", "laptop", "--since", &theft]);
    pass(&server, &desktop);
    let said = desktop.ok(&["peer", "revoke", &id, "--json"]).json();
    assert_eq!(said["told_apart"], true, "{said}");
    // Its id is cut to the width of the column.
    let removed = String::from_utf8(desktop.ok(&["trash", "list"]).stdout).unwrap();
    assert!(removed.contains(&id[..8]) && !removed.contains("a replica"), "{removed}");
    let said = desktop.ok(&["peer", "revoke", &id]).stderr;
    assert!(!said.contains("ever came here"), "{said}");
    // So is what had come before, to be taken back.
    for command in [&["trash", "restore"][..], &["undo"]] {
        desktop.ok(&[command, &["--by", &id, "--since", &theft]].concat());
    }
    assert!(desktop.has("wanted"));
    let said = desktop.run(&["trash", "restore", "--by", &id]).stderr;
    assert!(!said.contains("somebody unknown"), "{said}");
    let filed = desktop
        .files()
        .into_iter()
        .find(|(digest, ..)| *digest == mailsync::model::Digest::of(message("filed").as_bytes()));
    assert!(!filed.unwrap().2.to_string_lossy().contains("Spoils"));
}

#[test]
fn who_never_heard_of_a_machine_is_told_what_it_is_called_by_who_has_revoked_it() {
    let dir = scratch();
    let [server, laptop] = mesh(dir.path(), ["server", "laptop"]);
    let phone = Machine::replica(dir.path(), "phone");
    make_peers(&server, &phone);
    exchange(&server, &phone);
    let id = laptop.public_key().id().to_string();
    server.ok(&["peer", "revoke", "laptop"]);
    let called = format!("laptop, as server calls it ({id})");
    // What it is called there can't be typed here: the advice has the id.
    let heard = pass(&server, &phone).stderr;
    assert!(heard.contains(&format!("{called} WAS REVOKED by server at")), "{heard}");
    for command in ["revoke", "reinstate"] {
        assert!(heard.contains(&format!("mailsync peer {command} {id}")), "{heard}");
    }
    for command in [&["peer", "list"][..], &["status"]] {
        let shown = phone.ok(command);
        assert!(shown.words().contains(&format!("revoked {called}, as of")), "{}", shown.text());
    }
    let others = phone.ok(&["peer", "list", "--json"]).json()["revoked_others"].clone();
    assert_eq!(
        (&others[0]["id"], &others[0]["revoked"]["by"][0]["called"]),
        (&id.clone().into(), &"laptop".into()),
        "{others}"
    );
    assert!(phone.ok(&["log", "--json"]).text().contains("which server calls laptop"));
    let said = phone.fails(&["peer", "revoke", "laptop"], 2);
    assert!(
        said.contains("there is no peer called laptop") && said.contains(&format!("if {called} is meant")),
        "{said}"
    );
    let said = phone.ok(&["peer", "revoke", &id]).stderr;
    assert!(said.contains(&format!("{called} is revoked as of")), "{said}");
    // Where it has a name, that is shown.
    assert!(server.ok(&["peer", "list"]).text().contains("revoked    laptop, as of"));
}

/// The lines of `peer list` about who is revoked.
pub fn revoked(machine: &Machine) -> Vec<String> {
    machine.ok(&["peer", "list"]).text().lines().filter(|line| line.starts_with("revoked")).map(String::from).collect()
}

/// The ids of all keys of a revoked peer.
pub fn keys(machine: &Machine, name: &str) -> Vec<String> {
    let revoked = peer(machine, name)["revoked"]["keys"].clone();
    let mut keys: Vec<String> = serde_json::from_value(revoked).unwrap();
    keys.sort();
    keys
}

pub fn sorted<const N: usize>(mut ids: [String; N]) -> Vec<String> {
    ids.sort();
    ids.to_vec()
}

#[test]
fn a_thief_who_takes_another_key_stays_one_machine_that_is_shut_out_whichever_is_heard_first() {
    let dir = scratch();
    let [server, desktop, phone, laptop] = mesh(dir.path(), ["server", "desktop", "phone", "laptop"]);
    let id = || laptop.public_key().id().to_string();
    let theft = moment();
    let first = id();
    laptop.ok(&["key", "rotate"]);
    let second = id();
    // The server hears of the key first, the desktop of the theft, and the phone of both at once.
    pass(&laptop, &server);
    desktop.ok(&["peer", "revoke", "laptop", "--since", &theft]);
    pass(&desktop, &server);
    assert_eq!((revoked(&server).len(), peer(&server, "laptop")["id"].as_str()), (1, Some(&*second)));
    server.ok(&["peer", "revoke", "laptop", "--since", &theft]);
    pass(&server, &desktop);
    pass(&server, &phone);
    assert_eq!(peer(&desktop, "laptop")["id"], Value::from(first.clone()), "who was revoked is not followed");
    assert_eq!(keys(&desktop, "laptop"), sorted([first.clone(), second.clone()]));
    for machine in [&desktop, &phone] {
        let (lines, list) = (revoked(machine), machine.ok(&["peer", "list", "--json"]).json());
        assert_eq!((lines.len(), &list["revoked_others"]), (1, &serde_json::json!([])), "{lines:?}");
        assert!(lines[0].starts_with("revoked    laptop"), "{lines:?}");
        assert_eq!(peer(machine, "laptop")["revoked"]["by"].as_array().unwrap().len(), 2);
        assert!(!laptop_gets_in(&laptop, machine));
    }
    assert!(revoked(&desktop)[0].contains("laptop, with 1 key that followed, as of"), "{:?}", revoked(&desktop));
    // A third key, of which only one hears that doesn't know yet: it is covered, as well as any that follows.
    laptop.ok(&["key", "rotate"]);
    let again = desktop.fails(&["peer", "add", "angel", "--key", &second_key(&server)], 4);
    assert!(again.contains("this key was revoked by this replica"), "{again}");
    // Trusted again, it is so with all its keys, by one word.
    let done = desktop.ok(&["peer", "reinstate", "laptop", "--json"]).json();
    assert_eq!(done["overruled"], 2, "{done}");
    assert_eq!((revoked(&desktop), peer(&desktop, "laptop")["id"].as_str()), (vec![], Some(&*second)));
    pass(&laptop, &desktop);
    assert_eq!(peer(&desktop, "laptop")["id"], Value::from(id()));
}

/// The key by which a machine knows the laptop.
fn second_key(machine: &Machine) -> String {
    peer(machine, "laptop")["public_key"].as_str().unwrap().to_owned()
}

/// Whether a bundle of the laptop is taken.
fn laptop_gets_in(laptop: &Machine, machine: &Machine) -> bool {
    let bundle = laptop.ok(&["export", "--to", &machine.name, "--full"]).stdout;
    machine.run_with(&["import"], &bundle).code == 0
}

#[test]
fn what_a_thief_says_with_another_key_frees_it_from_nothing() {
    let dir = scratch();
    let [server, desktop, phone, laptop] = mesh(dir.path(), ["server", "desktop", "phone", "laptop"]);
    let theft = moment();
    desktop.ok(&["peer", "revoke", "laptop", "--since", &theft]);
    pass(&desktop, &phone);
    assert!(revoked(&phone)[0].contains("laptop"));
    // One who doesn't know yet takes it, and passes it on.
    laptop.ok(&["key", "rotate"]);
    laptop.ok(&["peer", "revoke", "desktop", "--since", "3d"]);
    pass(&laptop, &server);
    let told = pass(&server, &phone);
    // Of two that revoke each other both are shut out until a person has looked.
    assert!(told.stderr.contains("desktop WAS REVOKED by"), "{}", told.stderr);
    let lines = revoked(&phone);
    assert!(lines.len() == 2 && lines.iter().any(|line| line.starts_with("revoked    laptop")), "{lines:?}");
    assert!(!laptop_gets_in(&laptop, &phone));
    phone.ok(&["peer", "revoke", "laptop", "--since", &theft]);
    let lines = revoked(&phone);
    assert!(lines.len() == 1 && lines[0].starts_with("revoked    laptop"), "{lines:?}");
    pass(&desktop, &phone);
}

#[test]
fn what_is_said_again_with_another_key_takes_the_place_of_what_was_said_before() {
    let dir = scratch();
    let [server, desktop, laptop] = mesh(dir.path(), ["server", "desktop", "laptop"]);
    let former = desktop.public_key().id().to_string();
    desktop.ok(&["peer", "revoke", "laptop", "--since", "5d"]);
    pass(&desktop, &server);
    let before = peer(&server, "laptop")["revoked"]["since"].clone();
    desktop.ok(&["key", "rotate"]);
    let kept = desktop.ok(&["peer", "revoke", "laptop", "--json"]).json();
    assert_eq!((&kept["kept"], &kept["since"]), (&true.into(), &before), "{kept}");
    desktop.ok(&["peer", "revoke", "laptop", "--since", "2d", "--reason", "it was later"]);
    let told = pass(&desktop, &server);
    assert!(told.stderr.contains("it was later"), "{}", told.stderr);
    for machine in [&server, &desktop] {
        let out = peer(machine, "laptop")["revoked"].clone();
        assert_eq!(out["by"].as_array().unwrap().len(), 1, "{out}");
        assert_eq!(out["by"][0]["by"], Value::from(desktop.public_key().id().to_string()));
        assert_eq!(out["by"][0]["reason"], "it was later");
        assert!(out["since"].as_str() > before.as_str(), "{out} {before}");
        assert_eq!(revoked(machine).len(), 1);
    }
    // Which ids it had is told where it is asked for.
    assert_eq!(peer(&server, "desktop")["former_ids"], serde_json::json!([former.clone()]));
    assert!(!server.ok(&["peer", "list"]).text().contains(&former));
    let shown = server.ok(&["peer", "list", "--verbose"]);
    assert!(shown.text().lines().any(|line| line.contains("formerly") && line.contains(&former)), "{}", shown.text());
    // By one word it is trusted again, and neither is sent.
    desktop.ok(&["peer", "reinstate", "laptop"]);
    assert!(revoked(&desktop).is_empty());
    let _ = laptop;
}

#[test]
fn who_is_reinstated_among_crossing_revocations_is_shut_out_anew_by_what_comes_later_until_the_other_is_revoked_here() {
    let dir = scratch();
    let [server, desktop, phone, laptop] = mesh(dir.path(), ["server", "desktop", "phone", "laptop"]);
    desktop.ok(&["peer", "revoke", "laptop", "--since", "1h"]);
    laptop.ok(&["peer", "revoke", "desktop", "--since", "1d"]);
    // The phone hears both by way of one who has heard neither before; so both are shut out.
    let crossed = |machine: &Machine, names: &[&str]| {
        let lines = revoked(machine);
        assert_eq!(lines.len(), names.len(), "{lines:?}");
        for name in names {
            assert!(lines.iter().any(|line| line.starts_with(&format!("revoked    {name}"))), "{name}: {lines:?}");
        }
    };
    pass(&laptop, &phone);
    phone.ok(&["peer", "reinstate", "desktop"]);
    pass(&desktop, &phone);
    crossed(&phone, &["laptop"]);
    pass(&phone, &server);
    crossed(&server, &["laptop", "desktop"]);
    // A person trusts the desktop: then its word against the laptop stands, and its bundles are taken again.
    server.ok(&["peer", "reinstate", "desktop"]);
    crossed(&server, &["laptop"]);
    desktop.deliver("from the desktop");
    pass(&desktop, &server);
    pass(&server, &desktop);
    assert!(server.has("from the desktop"));
    // At the desktop, where a person has revoked the laptop, the laptop's answer counts for nothing.
    assert!(!desktop.ok(&["scan"]).stderr.contains("THIS REPLICA WAS REVOKED"));
    // The laptop says it again, to one who believes it, and that one tells the server: it counts anew.
    phone.ok(&["peer", "reinstate", "laptop"]);
    laptop.ok(&["peer", "revoke", "desktop", "--since", "1d"]);
    pass(&laptop, &phone);
    let told = pass(&phone, &server);
    assert!(told.stderr.contains("desktop WAS REVOKED by laptop"), "{}", told.stderr);
    crossed(&server, &["laptop", "desktop"]);
    // Once the person has also revoked the laptop there, whatever it says counts for nothing.
    server.ok(&["peer", "revoke", "laptop", "--since", "1h"]);
    crossed(&server, &["laptop"]);
    laptop.ok(&["peer", "revoke", "desktop", "--since", "2d"]);
    pass(&laptop, &phone);
    let told = pass(&phone, &server);
    assert!(!told.stderr.contains("desktop WAS REVOKED"), "{}", told.stderr);
    crossed(&server, &["laptop"]);
}

#[test]
fn what_makes_no_sense_is_refused_with_advice() {
    let dir = scratch();
    let [server, laptop] = mesh(dir.path(), ["server", "laptop"]);
    let mine = server.public_key().id().to_string();
    for (args, code, words) in [
        (&["peer", "revoke", "server"][..], 2, &["that is this replica itself"][..]),
        (&["peer", "revoke", &mine], 2, &["that is this replica itself", "run that on another one"]),
        (&["peer", "revoke", "nobody"], 2, &["there is no peer called nobody", "laptop"]),
        (&["peer", "revoke", "laptop", "--reason", ""], 2, &["the reason is empty"]),
        (&["peer", "revoke", "laptop", "--reason", "two\nlines"], 2, &["the reason has the character \\n"]),
        (
            &["peer", "revoke", "laptop", "--reason", &"x".repeat(256)],
            2,
            &["the reason has 256 bytes, and 255 is the most"],
        ),
        (&["peer", "revoke", "laptop", "--since", "2999-01-01"], 2, &["in the future"]),
        (&["peer", "reinstate", "laptop"], 1, &["nobody has revoked it"]),
        (&["peer", "reinstate", "nobody"], 2, &["there is no peer called nobody"]),
    ] {
        let before = server.left();
        let said = server.run(args);
        assert_eq!(said.code, code, "{args:?}: {}", said.stderr);
        assert!(words.iter().all(|word| said.stderr.contains(word)), "{args:?}: {}", said.stderr);
        assert_eq!(server.left(), before, "{args:?}");
    }
    // One that isn't known here by any name is revoked by its id.
    let id = Machine::replica(dir.path(), "tablet").public_key().id().to_string();
    let said = server.ok(&["peer", "revoke", &id, "--json"]).json();
    assert_eq!(said["id"], Value::from(id.clone()));
    let others = server.ok(&["peer", "list", "--json"]).json();
    assert_eq!(others["revoked_others"][0]["id"], Value::from(id));
    let _ = laptop;
}

#[test]
fn a_revocation_is_told_once_for_each_command_however_many_bundles_bring_it() {
    let dir = scratch();
    let [server, desktop, phone, _laptop] = mesh(dir.path(), ["server", "desktop", "phone", "laptop"]);
    let mut bundles = Vec::new();
    for other in [&desktop, &phone] {
        other.ok(&["peer", "revoke", "laptop"]);
        bundles.extend(other.ok(&["export", "--to", "server"]).stdout);
    }
    let times = |ran: &Ran| ran.stderr.matches("laptop WAS REVOKED by").count();
    let heard = server.run_with(&["import"], &bundles);
    assert_eq!((heard.code, times(&heard)), (0, 1), "{}", heard.stderr);
    assert!(heard.stderr.contains("laptop was revoked by phone at"), "the second one is named, too: {}", heard.stderr);
    // The next command names both.
    let told = server.ok(&["scan"]);
    assert!(
        times(&told) == 1 && told.stderr.contains("by desktop at") && told.stderr.contains("by phone at"),
        "{}",
        told.stderr
    );
    desktop.ok(&["peer", "revoke", "laptop", "--reason", "it is gone"]);
    let again = pass(&desktop, &server);
    assert_eq!(times(&again), 1, "{}", again.stderr);
}
