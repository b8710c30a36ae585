//! `key rotate`: peers follow a replica to its new key, whichever bundles they get and miss; what is under way to the old
//! one, or from it, still counts; and nobody else can lead them astray unnoticed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use mailsync::bundle::{PrivateKey, ReplicaId};

use crate::support::machine::{Backup, Machine, assert_same, complains, exchange, make_peers, pair, pass};
use crate::support::programs::{Ran, run};
use crate::support::terminal::at_a_terminal;
use crate::support::{copy, scratch, text};

fn id(machine: &Machine) -> String {
    machine.public_key().id().to_string()
}

/// Gives a machine a new key. Returns the id that it had.
fn rotate(machine: &Machine) -> String {
    let before = id(machine);
    let ran = machine.ok(&["key", "rotate", "--json"]);
    assert_eq!(ran.json()["former_id"].as_str().unwrap(), before);
    assert_ne!(id(machine), before);
    assert_eq!(ran.json()["id"].as_str().unwrap(), id(machine));
    before
}

/// The id by which a machine knows a peer.
fn known(machine: &Machine, peer: &str) -> String {
    let list = machine.ok(&["peer", "list", "--json"]).json();
    let peers = list["peers"].as_array().unwrap();
    let found: Vec<_> = peers.iter().filter(|one| one["name"] == peer).collect();
    assert_eq!(found.len(), 1, "{list}");
    found[0]["id"].as_str().unwrap().to_owned()
}

/// A machine with all that another one has: a thief's.
fn stolen(machine: &Machine, dir: &Path) -> Machine {
    let root = dir.join(format!("stolen-{}", machine.name));
    let thief = Machine { name: machine.name.clone(), mail: machine.mail.clone(), home: root };
    copy(&machine.home, &thief.home);
    thief
}

fn export(from: &Machine, to: &str, file: &Path, more: &[&str]) {
    from.ok(&[&["export", "--to", to, "--force", "-o", text(file)], more].concat());
}

fn import(to: &Machine, file: &Path) -> Ran {
    to.run(&["import", text(file)])
}

/// What a command says, however many lines that are.
#[track_caller]
fn says(ran: &Ran, code: i32, words: &[&str]) {
    assert_eq!(ran.code, code, "{ran:?}");
    for word in words {
        assert!(ran.stderr.contains(word), "{word} is not in {ran:?}");
    }
}

fn in_it(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).unwrap().map(|item| item.unwrap().path()).collect()
}

#[test]
fn peers_follow_a_replica_to_its_new_key_and_keep_what_they_know_of_it() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("one");
    exchange(&desktop, &laptop);
    let before = laptop.ok(&["status", "--json"]).json();
    let old = rotate(&desktop);
    let files: Vec<PathBuf> =
        fs::read_dir(desktop.home.join("keys")).unwrap().map(|item| item.unwrap().path()).collect();
    assert_eq!(files.len(), 1);
    assert_eq!(fs::metadata(&files[0]).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(fs::metadata(desktop.home.join("keys")).unwrap().mode() & 0o7777, 0o700);
    assert_eq!(fs::metadata(desktop.home.join("key")).unwrap().mode() & 0o7777, 0o600);
    let kept = PrivateKey::from_openssh(&fs::read_to_string(&files[0]).unwrap()).unwrap();
    assert_eq!(kept.public_key().id().to_string(), old);
    let shown = desktop.ok(&["key", "show", "--json"]).json();
    assert_eq!(
        (shown["id"].as_str().unwrap(), shown["former_keys"][0]["id"].as_str().unwrap()),
        (&*id(&desktop), &*old)
    );
    assert!(desktop.ok(&["key", "show"]).stderr.contains(&old));
    assert_eq!(desktop.ok(&["status", "--json"]).json()["replica"]["id"].as_str().unwrap(), id(&desktop));

    desktop.deliver("two");
    let bundle = desktop.ok(&["export", "--to", "laptop"]).stdout;
    let ran = laptop.run_with(&["import"], &bundle);
    says(&ran, 0, &["desktop has a new key", &id(&desktop), &old]);
    assert_eq!(known(&laptop, "desktop"), id(&desktop));
    assert!(laptop.has("two"));
    assert!(!laptop.run_with(&["import"], &bundle).stderr.contains("new key"));
    // What was known of it still is: the answer starts from there, and the next bundles need not name the keys.
    let after = laptop.ok(&["status", "--json"]).json();
    assert_eq!(after["peers"][0]["name"], before["peers"][0]["name"]);
    laptop.deliver("three");
    let answer = laptop.ok(&["export", "--to", "desktop"]).stdout;
    let inspected = desktop.run_with(&["inspect", "--json", "-"], &answer).json();
    assert_eq!(inspected["bundles"][0]["full"], false, "{inspected}");
    assert_eq!(desktop.run_with(&["import"], &answer).code, 0);
    exchange(&desktop, &laptop);
    assert_same(&laptop.mailbox(), &desktop.mailbox(), "after a rotation");
    let names_keys = |to: &str| {
        let bundle = desktop.ok(&["export", "--to", to, "--full"]).stdout;
        let inspected = desktop.run_with(&["inspect", "--json", "-"], &bundle).json();
        inspected["bundles"][0]["manifest"]["successions"].as_array().map_or(0, Vec::len)
    };
    assert_eq!(names_keys("laptop"), 0);
    // One that knows nothing is told.
    let third = Machine::replica(dir.path(), "third");
    make_peers(&desktop, &third);
    assert_eq!(names_keys("third"), 1);
    assert!(laptop.ok(&["log", "--json"]).text().contains("key rotate"));
}

#[test]
fn what_is_under_way_to_or_from_the_old_key_still_counts_and_nothing_later_does() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    exchange(&desktop, &laptop);
    let file = |name: &str| dir.path().join(name);
    // Encrypted ones, in both directions.
    desktop.deliver("from the old key");
    export(&desktop, "laptop", &file("from-old"), &[]);
    laptop.deliver("to the old key");
    export(&laptop, "desktop", &file("to-old"), &[]);
    let thief = stolen(&desktop, dir.path());
    let old = rotate(&desktop);
    assert_eq!(import(&desktop, &file("to-old")).code, 0);
    assert!(desktop.has("to the old key"));
    desktop.deliver("from the new key");
    export(&desktop, "laptop", &file("from-new"), &[]);
    // Whoever has heard takes the old one all the same, though the newer has come first.
    assert_eq!(import(&laptop, &file("from-new")).code, 0);
    assert_eq!(import(&laptop, &file("from-old")).code, 0);
    assert!(laptop.has("from the old key") && laptop.has("from the new key"));
    // Later ones are somebody else's, and it is said whose key it is.
    thief.ok(&["scan"]);
    export(&thief, "laptop", &file("stolen"), &["--plain"]);
    let ran = import(&laptop, &file("stolen"));
    complains(&ran, 4, &["desktop has replaced the key", &old]);
    let ran = laptop.run(&["verify", text(&file("stolen"))]);
    assert!(ran.code == 4 && ran.text().contains("desktop has replaced the key"), "{ran:?}");
    // Its own bundles it knows by either key.
    for name in ["from-old", "from-new"] {
        complains(&import(&desktop, &file(name)), 4, &["made by this replica itself"]);
    }
    assert_eq!(known(&laptop, "desktop"), id(&desktop));
}

#[test]
fn own_bundles_in_a_shared_directory_are_known_and_tidied_by_either_key() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let shared = dir.path().join("shared");
    fs::create_dir(&shared).unwrap();
    exchange(&desktop, &laptop);
    desktop.deliver("one");
    export(&desktop, "laptop", &shared, &[]);
    rotate(&desktop);
    assert_eq!(laptop.ok(&["import", text(&shared)]).code, 0);
    desktop.deliver("two");
    let first: Vec<PathBuf> = in_it(&shared);
    export(&desktop, "laptop", &shared, &[]);
    let second = in_it(&shared).into_iter().find(|file| !first.contains(file)).unwrap();
    laptop.ok(&["import", text(&shared)]);
    export(&laptop, "desktop", &shared, &[]);
    assert_eq!(fs::read_dir(&shared).unwrap().count(), 3);
    let ran = desktop.ok(&["import", text(&shared), "--consume"]);
    assert!(!ran.stderr.contains("don't trust"), "{ran:?}");
    // The last one always stays.
    let left: Vec<_> = fs::read_dir(&shared).unwrap().map(|item| item.unwrap().file_name()).collect();
    assert_eq!(left, [second.file_name().unwrap()], "{ran:?}");
    assert_same(&laptop.mailbox(), &desktop.mailbox(), "by way of the directory");
}

#[test]
fn a_peer_that_has_missed_several_rotations_follows_all_of_them() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    exchange(&desktop, &laptop);
    let mut former = vec![rotate(&desktop)];
    desktop.deliver("lost");
    // Lost on its way.
    desktop.ok(&["export", "--to", "laptop"]);
    former.push(rotate(&desktop));
    former.push(rotate(&desktop));
    desktop.deliver("arrives");
    let under_way = dir.path().join("under-way");
    laptop.deliver("to the first key");
    export(&laptop, "desktop", &under_way, &[]);
    pass(&desktop, &laptop);
    assert_eq!(known(&laptop, "desktop"), id(&desktop));
    assert!(laptop.has("lost") && laptop.has("arrives"));
    assert_eq!(import(&desktop, &under_way).code, 0);
    // Both at once, and twice.
    let laptops = rotate(&laptop);
    former.push(rotate(&desktop));
    let (there, back) =
        (desktop.ok(&["export", "--to", "laptop"]).stdout, laptop.ok(&["export", "--to", "desktop"]).stdout);
    for _ in 0..2 {
        assert_eq!(laptop.run_with(&["import"], &there).code, 0);
        assert_eq!(desktop.run_with(&["import"], &back).code, 0);
    }
    assert_eq!((known(&laptop, "desktop"), known(&desktop, "laptop")), (id(&desktop), id(&laptop)));
    let shown = desktop.ok(&["key", "show", "--json"]).json();
    let listed: Vec<_> =
        shown["former_keys"].as_array().unwrap().iter().map(|key| key["id"].as_str().unwrap()).collect();
    assert_eq!(listed, former);
    assert_ne!(known(&desktop, "laptop"), laptops);
    exchange(&desktop, &laptop);
    assert_same(&laptop.mailbox(), &desktop.mailbox(), "after many rotations");
    // Whoever is told a former key by a person finds the way, too.
    laptop.ok(&["peer", "remove", "desktop"]);
    let first =
        PrivateKey::from_openssh(&fs::read_to_string(desktop.home.join("keys").join(first_file(&desktop))).unwrap());
    laptop.ok(&["peer", "add", "desktop", "--key", &first.unwrap().public_key().to_openssh()]);
    assert_eq!(known(&laptop, "desktop"), id(&desktop));
}

fn first_file(machine: &Machine) -> PathBuf {
    let mut files: Vec<_> = fs::read_dir(machine.home.join("keys")).unwrap().map(|item| item.unwrap().path()).collect();
    files.sort();
    files[0].file_name().unwrap().into()
}

#[test]
fn jobs_that_are_under_way_are_run_and_answered_across_rotations_of_both() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    exchange(&desktop, &laptop);
    laptop.allow("cat", &["/bin/cat"], &[], "desktop");
    let ask = |input: &str| {
        let ran = desktop.run_with(&["uux", "laptop", "cat"], input.as_bytes());
        assert_eq!(ran.code, 0, "{ran:?}");
    };
    ask("asked for by the old key");
    let file = |name: &str| dir.path().join(name);
    export(&desktop, "laptop", &file("one"), &[]);
    // The target has a new key when it comes, and the requester when the answer comes.
    rotate(&laptop);
    assert_eq!(import(&laptop, &file("one")).code, 0);
    let jobs = |machine: &Machine| {
        let list = machine.ok(&["jobs", "list", "--json"]).json();
        let states = list["jobs"].as_array().unwrap().iter();
        states
            .map(|job| (job["requester"].as_str().unwrap().to_owned(), job["state"].as_str().unwrap().to_owned()))
            .collect::<Vec<_>>()
    };
    let done = || (String::from("desktop"), String::from("done"));
    assert_eq!(jobs(&laptop), [done()]);
    export(&laptop, "desktop", &file("two"), &[]);
    ask("asked for, and then the key is replaced");
    export(&desktop, "laptop", &file("three"), &[]);
    rotate(&desktop);
    assert_eq!(import(&desktop, &file("two")).code, 0);
    assert_eq!(jobs(&desktop)[0], done());
    let list = desktop.ok(&["jobs", "list", "--json"]).json();
    let shown = desktop.ok(&["jobs", "show", list["jobs"][0]["id"].as_str().unwrap(), "--json"]).json()["job"].clone();
    assert!(shown.to_string().contains("asked for by the old key"), "{shown}");
    // The request of the old key comes after the news of the new one.
    desktop.deliver("news");
    export(&desktop, "laptop", &file("four"), &[]);
    for name in ["four", "three"] {
        assert_eq!(import(&laptop, &file(name)).code, 0);
    }
    assert_eq!(jobs(&laptop), [done(), done()]);
    exchange(&laptop, &desktop);
    assert_eq!(jobs(&desktop), [done(), done()]);
    // And of those that wait here, the new key is what answers and takes back.
    ask("taken back");
    export(&desktop, "laptop", &file("five"), &[]);
    rotate(&desktop);
    let list = desktop.ok(&["jobs", "list", "--json"]).json();
    let queued = list["jobs"].as_array().unwrap().iter().find(|job| job["state"] == "queued").unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    desktop.ok(&["jobs", "cancel", &queued]);
    pass(&desktop, &laptop);
    exchange(&laptop, &desktop);
    assert_eq!(desktop.job(&queued)["state"], "cancelled");
    assert_eq!(laptop.job(&queued)["state"], "cancelled");
}

#[test]
fn a_ring_of_four_follows_whichever_bundles_are_lost_and_repeated() {
    let dir = scratch();
    let names = ["north", "east", "south", "west"];
    let ring: Vec<Machine> = names.iter().map(|name| Machine::replica(dir.path(), name)).collect();
    for n in 0..4 {
        make_peers(&ring[n], &ring[(n + 1) % 4]);
    }
    // Those on the other side are known for their jobs, so their new keys are learned by way of others.
    for (one, other) in [(0, 2), (1, 3)] {
        for (here, there) in [(one, other), (other, one)] {
            ring[here].ok(&["peer", "add", names[there], "--key", &ring[there].key(), "--distant"]);
        }
    }
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut chance = move |of: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % of
    };
    let mut kept: Vec<(usize, PathBuf)> = Vec::new();
    let (mut lost, mut repeated, mut rotated, mut not_yet) = (0, 0, 0, 0);
    for step in 0..60 {
        let from = usize::try_from(chance(4)).unwrap();
        let to = (from + if chance(2) == 0 { 1 } else { 3 }) % 4;
        if chance(3) == 0 {
            ring[from].deliver(&format!("mail {step}"));
        }
        if step % 9 == 4 {
            rotate(&ring[from]);
            rotated += 1;
        }
        let file = dir.path().join(format!("{step}"));
        export(&ring[from], names[to], &file, if chance(2) == 0 { &[] } else { &["--since-last"] });
        kept.push((to, file.clone()));
        let mut carried = vec![(to, file)];
        match chance(4) {
            0 => {
                lost += 1;
                carried.clear();
            }
            // An old one comes again, or late.
            1 => {
                repeated += 1;
                carried.push(kept[usize::try_from(chance(kept.len() as u64)).unwrap()].clone());
            }
            _ => {}
        }
        for (to, file) in carried {
            let ran = import(&ring[to], &file);
            not_yet += u64::from(ran.code == 3);
            assert!(matches!(ran.code, 0 | 3), "{step}: {ran:?}");
        }
    }
    assert!(lost > 5 && repeated > 5 && rotated > 4 && not_yet > 0, "{lost} {repeated} {rotated} {not_yet}");
    for _ in 0..3 {
        for n in 0..4 {
            exchange(&ring[n], &ring[(n + 1) % 4]);
        }
    }
    for (n, machine) in ring.iter().enumerate() {
        assert_same(&machine.mailbox(), &ring[0].mailbox(), machine.name.as_str());
        for (other, name) in names.iter().enumerate().filter(|(other, _)| *other != n) {
            assert_eq!(known(machine, name), id(&ring[other]), "{} of {name}", machine.name);
        }
    }
    // None that was under way is refused at the end: all of them were made in time.
    for (to, file) in kept {
        assert_eq!(import(&ring[to], &file).code, 0, "{}", file.display());
    }
}

#[test]
fn two_successions_of_one_key_are_told_and_a_person_decides() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let phone = Machine::replica(dir.path(), "phone");
    make_peers(&desktop, &phone);
    make_peers(&laptop, &phone);
    exchange(&desktop, &laptop);
    exchange(&desktop, &phone);
    exchange(&laptop, &phone);
    let thief = stolen(&desktop, dir.path());
    rotate(&thief);
    rotate(&desktop);
    // The thief is faster on the one, the owner on the other.
    let file = |name: &str| dir.path().join(name);
    export(&thief, "laptop", &file("thief"), &["--plain"]);
    export(&desktop, "laptop", &file("owner"), &["--plain"]);
    export(&desktop, "phone", &file("owner-phone"), &["--plain"]);
    export(&thief, "phone", &file("thief-phone"), &["--plain"]);
    assert_eq!(import(&laptop, &file("thief")).code, 0);
    complains(
        &import(&laptop, &file("owner")),
        4,
        &["one of the two is somebody else's", "peer add desktop --key KEY"],
    );
    assert_eq!(import(&phone, &file("owner-phone")).code, 0);
    complains(&import(&phone, &file("thief-phone")), 4, &["one of the two is somebody else's"]);
    assert_eq!((known(&laptop, "desktop"), known(&phone, "desktop")), (id(&thief), id(&desktop)));
    // It is said until somebody has decided.
    for machine in [&laptop, &phone] {
        for _ in 0..2 {
            says(
                &machine.ok(&["scan"]),
                0,
                &["two keys are said to follow that of desktop", &id(&thief), &id(&desktop)],
            );
        }
    }
    laptop.fails(&["peer", "add", "desktop", "--key", &phone.key()], 1);
    for machine in [&laptop, &phone] {
        machine.ok(&["peer", "add", "desktop", "--key", &desktop.key()]);
        assert!(!machine.ok(&["scan"]).stderr.contains("two keys"));
        assert_eq!(known(machine, "desktop"), id(&desktop));
        desktop.deliver(&format!("for {}", machine.name));
        exchange(&desktop, machine);
    }
    // The other one is refused from then on, and asks no question again.
    export(&thief, "laptop", &file("later"), &["--plain"]);
    assert_eq!(import(&laptop, &file("later")).code, 4);
    assert!(!laptop.ok(&["scan"]).stderr.contains("two keys"));
    exchange(&laptop, &phone);
    assert_eq!((known(&laptop, "desktop"), known(&phone, "desktop")), (id(&desktop), id(&desktop)));
    assert_same(&laptop.mailbox(), &desktop.mailbox(), "after the thief");
    // The owner is told by whoever has heard the thief.
    let ran = desktop.ok(&["log", "--json"]);
    assert!(ran.text().contains("somebody else says"), "{}", ran.text());
}

#[test]
fn who_was_revoked_does_not_get_away_from_that_by_another_key() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let phone = Machine::replica(dir.path(), "phone");
    make_peers(&laptop, &phone);
    make_peers(&desktop, &phone);
    exchange(&desktop, &laptop);
    exchange(&desktop, &phone);
    exchange(&laptop, &phone);
    let file = |name: &str| dir.path().join(name);
    // One hears of the new key before the revocation, the other one after it.
    let old = rotate(&desktop);
    export(&desktop, "phone", &file("phone"), &["--plain"]);
    export(&desktop, "laptop", &file("laptop"), &["--plain"]);
    assert_eq!(import(&phone, &file("phone")).code, 0);
    laptop.ok(&["peer", "revoke", "desktop"]);
    complains(&import(&laptop, &file("laptop")), 4, &["desktop was revoked by this replica"]);
    assert_eq!(known(&laptop, "desktop"), old);
    pass(&laptop, &phone);
    rotate(&desktop);
    desktop.deliver("not wanted");
    export(&desktop, "phone", &file("again"), &["--plain"]);
    complains(&import(&phone, &file("again")), 4, &["desktop was revoked by laptop"]);
    assert!(!phone.has("not wanted"));
    // Told so itself, it can't even try any more; reinstated, it is followed.
    for machine in [&laptop, &phone] {
        machine.ok(&["peer", "reinstate", "desktop"]);
        pass(&desktop, machine);
        assert_eq!(known(machine, "desktop"), id(&desktop));
    }
    assert!(phone.has("not wanted") && laptop.has("not wanted"));
    // The laptop, which said it, sends it no more; the phone passes on what it has heard.
    pass(&phone, &desktop);
    assert!(desktop.fails(&["key", "rotate"], 6).contains("this replica was revoked"));
}

#[test]
fn a_state_from_before_a_rotation_goes_on_with_the_key_that_is_there() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    exchange(&desktop, &laptop);
    let backup = Backup::of(&desktop);
    let old = rotate(&desktop);
    rotate(&desktop);
    let newest = id(&desktop);
    pass(&desktop, &laptop);
    // Only the state is put back; the keys are the newer ones.
    let keys: Vec<(PathBuf, Vec<u8>)> = ["key", "key.pub"]
        .iter()
        .map(|name| desktop.home.join(name))
        .map(|path| (path.clone(), fs::read(&path).unwrap()))
        .collect();
    copy(&desktop.home.join("keys"), &dir.path().join("keys"));
    backup.restore_home(&desktop);
    for (path, bytes) in &keys {
        fs::write(path, bytes).unwrap();
    }
    copy(&dir.path().join("keys"), &desktop.home.join("keys"));
    let ran = desktop.ok(&["scan"]);
    says(&ran, 0, &["the state is from before the key was replaced", &newest]);
    desktop.deliver("afterwards");
    pass(&laptop, &desktop);
    exchange(&desktop, &laptop);
    assert_same(&laptop.mailbox(), &desktop.mailbox(), "after the state was put back");
    assert_eq!(known(&laptop, "desktop"), newest);
    // The key alone put back to an earlier one is of no use with that state, and says so.
    fs::copy(backup_key(&desktop), desktop.home.join("key")).unwrap();
    let told = desktop.fails(&["scan"], 1);
    assert!(told.contains(&old) && told.contains(&newest) && told.contains("backup"), "{told}");
}

fn backup_key(machine: &Machine) -> PathBuf {
    machine.home.with_extension("backup").join("home/key")
}

#[test]
fn invitations_that_are_under_way_are_answered_across_rotations() {
    let dir = scratch();
    let desktop = Machine::replica(dir.path(), "desktop");
    desktop.deliver("mail");
    let invitation = dir.path().join("invitation");
    desktop.ok(&["invite", "laptop", "--plain", "-o", text(&invitation)]);
    rotate(&desktop);
    let laptop = Machine::new(dir.path(), "laptop");
    laptop.ok(&["join", text(&laptop.mail), text(&invitation)]);
    // It answers to the key that it knows; and has itself replaced its own by then, twice, one answer being late.
    let late = dir.path().join("late");
    laptop.deliver("from the first key");
    export(&laptop, "desktop", &late, &["--plain"]);
    rotate(&laptop);
    rotate(&laptop);
    let answer = laptop.ok(&["export", "--to", "desktop"]).stdout;
    let ran = desktop.run_with(&["import"], &answer);
    says(&ran, 0, &["laptop has accepted its invitation", &id(&laptop)]);
    assert_eq!(import(&desktop, &late).code, 0);
    exchange(&desktop, &laptop);
    assert_eq!((known(&laptop, "desktop"), known(&desktop, "laptop")), (id(&desktop), id(&laptop)));
    assert_same(&laptop.mailbox(), &desktop.mailbox(), "after a join");
}

#[test]
fn the_new_key_has_the_passphrase_of_the_old_one_and_both_read() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    exchange(&desktop, &laptop);
    let new = [("New passphrase:", "secret"), ("The same again:", "secret")];
    let Some(ran) = at_a_terminal(&desktop.line("key passphrase"), &new) else { return };
    assert_eq!(ran.code, 0, "{ran:?}");
    let bundle = dir.path().join("bundle");
    laptop.deliver("for the old key");
    export(&laptop, "desktop", &bundle, &[]);
    let before = id(&desktop);
    let ran = at_a_terminal(&desktop.line("key rotate"), &[("Passphrase of", "secret")]).unwrap();
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_ne!(id(&desktop), before);
    for key in [desktop.home.join("key"), desktop.home.join("keys").join(first_file(&desktop))] {
        let text = fs::read_to_string(&key).unwrap();
        assert!(PrivateKey::from_openssh(&text).is_err(), "{}", key.display());
    }
    let line = desktop.line(&format!("import {}", text(&bundle)));
    let ran = at_a_terminal(&line, &[("Passphrase of", "secret")]).unwrap();
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(desktop.has("for the old key"));
    // One passphrase is given to all keys.
    let other = [("Present passphrase:", "secret"), ("New passphrase:", "other"), ("The same again:", "other")];
    assert_eq!(at_a_terminal(&desktop.line("key passphrase"), &other).unwrap().code, 0);
    let ran = at_a_terminal(&line, &[("Passphrase of", "other")]).unwrap();
    assert_eq!(ran.code, 0, "{ran:?}");
    let ran = at_a_terminal(&desktop.line("key passphrase --remove"), &[("Present passphrase:", "other")]).unwrap();
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(import(&desktop, &bundle).code, 0);
}

#[test]
fn age_opens_with_a_former_key_what_was_encrypted_for_it() {
    if !crate::support::programs::are_there(&["age", "zstd", "tar"]) {
        return;
    }
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    laptop.deliver("rescued");
    let bundle = dir.path().join("bundle");
    export(&laptop, "desktop", &bundle, &[]);
    rotate(&desktop);
    let key = desktop.home.join("keys").join(first_file(&desktop));
    let line = format!("age -d -i {} {} | zstd -dq | tar xO manifest.json", text(&key), text(&bundle));
    let ran = run(std::process::Command::new("sh").args(["-c", &line]));
    assert_eq!(ran.code, 0, "{ran:?}");
    let manifest: serde_json::Value = ran.json();
    let recipient: ReplicaId = manifest["recipient"].as_str().unwrap().parse().unwrap();
    assert_ne!(recipient.to_string(), id(&desktop));
}
