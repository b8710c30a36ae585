//! What a liar has told of others, honest replicas repeat: to each of them it is what a peer has shown. It hides no mail,
//! takes none away, accuses nobody wrongly, and ends with the liar's removal and a repair of all.

use std::fs;
use std::path::Path;

use mailsync::bundle::PrivateKey;
use mailsync::model::{Incarnation, Knowledge};
use mailsync::state::State;
use serde_json::json;

use crate::claims_that_can_not_be_true_are_refused::now;
use crate::support::forge::{Forge, INCARNATION, clock, entry, stamp};
use crate::support::machine::{Machine, assert_same, complains, exchange, make_peers};
use crate::support::programs::Ran;
use crate::support::scratch;

const HOUR: u64 = 60 * 60 * 1000;

/// Three replicas that know each other and hold the same, and a peer of two of them that is nothing but a key.
struct Company {
    victim: Machine,
    good: Machine,
    third: Machine,
    evil: PrivateKey,
    /// The number of the liar's last bundle, and its clock.
    number: u64,
    now: u64,
    issued: Vec<String>,
}

impl Company {
    fn new(dir: &Path) -> Self {
        let [victim, good, third] = ["victim", "good", "third"].map(|name| Machine::replica(dir, name));
        for (one, other) in [(&victim, &good), (&good, &third), (&victim, &third)] {
            make_peers(one, other);
        }
        let evil = PrivateKey::generate("evil").unwrap();
        for machine in [&victim, &good] {
            machine.ok(&["peer", "add", "evil", "--key", &evil.public_key().to_openssh()]);
        }
        third.deliver("before");
        let company = Self { victim, good, third, evil, number: 0, now: now() - HOUR, issued: Vec::new() };
        company.meet();
        company.meet();
        company
    }

    fn all(&self) -> [&Machine; 3] {
        [&self.victim, &self.good, &self.third]
    }

    /// Everybody sends everybody a bundle, and all are taken.
    fn meet(&self) {
        exchange(&self.victim, &self.good);
        exchange(&self.good, &self.third);
        exchange(&self.third, &self.victim);
    }

    /// A bundle of the liar's that says nothing but what the victim knows.
    fn forge(&mut self) -> Forge {
        self.number += 1;
        self.now += 1000;
        let own = clock(self.now, 0);
        let mut forge = Forge::new(&self.evil, &own);
        forge.manifest["number"] = json!(self.number);
        self.issued.push(own.clone());
        forge.manifest["issued"] = json!(self.issued);
        for (incarnation, known) in knowledge(&self.victim).iter() {
            forge.manifest["tip"][incarnation.to_string()] = json!(known.to_string());
        }
        forge.manifest["tip"][INCARNATION] = json!(own);
        forge
    }

    /// The liar says that the third one has made changes up to this time.
    fn lie_about_third(&mut self, millis: u64) {
        let third = incarnation(&self.third);
        let mut forge = self.forge();
        forge.manifest["tip"][third.to_string()] = json!(clock(millis, 0));
        is_taken(&self.victim.run_with(&["import"], &forge.bundle()));
    }

    /// Nobody knows the liar any more, and all are repaired.
    fn repair(&self) {
        for machine in [&self.victim, &self.good] {
            machine.ok(&["peer", "remove", "evil"]);
        }
        self.repair_all();
    }

    fn repair_all(&self) {
        for machine in self.all() {
            machine.ok(&["doctor", "--repair"]);
            let again = machine.ok(&["doctor", "--repair"]);
            assert!(again.stderr.contains("nothing to repair"), "{}: {}", machine.name, again.stderr);
        }
    }

    /// All are equal, and hear of each other's mail.
    fn is_well(&self, what: &str) {
        self.gossip();
        for machine in self.all() {
            machine.deliver(&format!("{} after {what}", machine.name));
        }
        self.meet();
        self.meet();
        for machine in self.all() {
            assert_same(&machine.mailbox(), &self.third.mailbox(), what);
            machine.is_at_rest(what);
            for other in self.all() {
                assert!(machine.has(&format!("{} after {what}", other.name)), "{what}");
            }
        }
    }

    /// Everybody sends everybody a bundle. Some may have to wait.
    fn gossip(&self) {
        for from in self.all() {
            for to in self.all() {
                if from.name != to.name {
                    let ran = send(from, to, &[]);
                    assert!([0, 3].contains(&ran.code), "{}", ran.stderr);
                }
            }
        }
    }
}

fn send(from: &Machine, to: &Machine, options: &[&str]) -> Ran {
    let bundle = from.ok(&[&["export", "--to", &to.name], options].concat()).stdout;
    to.run_with(&["import"], &bundle)
}

fn is_taken(ran: &Ran) {
    assert_eq!(ran.code, 0, "{}", ran.stderr);
}

fn state(machine: &Machine) -> State {
    State::open(&machine.home.join("state.db")).unwrap()
}

fn incarnation(machine: &Machine) -> Incarnation {
    state(machine).incarnation().unwrap()
}

fn knowledge(machine: &Machine) -> Knowledge {
    state(machine).knowledge().unwrap()
}

fn trash(machine: &Machine) -> usize {
    machine.ok(&["trash", "list", "--json"]).json()["trash"].as_array().unwrap().len()
}

#[test]
fn mail_of_a_replica_of_which_more_is_told_is_taken_and_told_of() {
    let dir = scratch();
    let mut company = Company::new(dir.path());
    company.lie_about_third(now() + HOUR);
    // The good one has the lie from an honest peer.
    exchange(&company.victim, &company.good);
    let Company { victim, good, third, .. } = &company;
    third.deliver("hidden");
    let ran = send(third, good, &[]);
    is_taken(&ran);
    assert!(good.has("hidden"), "{}", ran.stderr);
    assert!(ran.stderr.contains("as victim has told"), "{}", ran.stderr);
    // The victim doesn't have it, and says that it knows all that the third one did.
    is_taken(&send(victim, good, &["--full"]));
    assert!(good.has("hidden"));
    assert_eq!(trash(good), 0);
    is_taken(&send(good, victim, &[]));
    assert!(victim.has("hidden"));
    company.repair();
    company.is_well("a lie about the third one");
    assert!(company.all().iter().all(|machine| machine.has("hidden") && trash(machine) == 0));
}

#[test]
fn the_echo_of_a_lie_ends_with_a_repair_of_all() {
    let dir = scratch();
    let mut company = Company::new(dir.path());
    let lie = now() + HOUR;
    company.lie_about_third(lie);
    for _ in 0..2 {
        exchange(&company.victim, &company.good);
    }
    company.repair();
    let third = incarnation(&company.third);
    for machine in company.all() {
        assert!(knowledge(machine).get(third).millis() < lie, "{}", machine.name);
    }
    // The third one never hears anything.
    let Company { good, third, victim, .. } = &company;
    for number in 0..3 {
        let subject = format!("after the repair {number}");
        third.deliver(&subject);
        let ran = send(third, good, &["--since-last"]);
        is_taken(&ran);
        assert!(good.has(&subject) && !ran.stderr.contains("has told"), "{}", ran.stderr);
    }
    is_taken(&send(good, victim, &[]));
    assert_eq!(victim.mailbox(), third.mailbox());
    company.is_well("an echo");
}

#[test]
fn a_lie_in_a_register_is_named_as_hearsay_and_ends_as_well() {
    let dir = scratch();
    let mut company = Company::new(dir.path());
    let third = incarnation(&company.third);
    // Within the time in which the third one will make changes.
    let lie = clock(now(), 7);
    let mut forge = company.forge();
    forge.manifest["tip"][third.to_string()] = json!(lie);
    forge.message("INBOX", b"Subject: evil\n\n", &format!("{lie}-{third}"));
    is_taken(&company.victim.run_with(&["import"], &forge.bundle()));
    for _ in 0..2 {
        exchange(&company.victim, &company.good);
    }
    company.third.deliver("later");
    let bundle = company.third.ok(&["export", "--to", "good"]).stdout;
    // It is not the third one alone that may have been put back.
    let ran = company.good.run_with(&["import"], &bundle);
    complains(&ran, 6, &["third has made no change at", "as victim has told", "or that was a lie"]);
    company.repair();
    is_taken(&company.good.run_with(&["import"], &bundle));
    assert!(company.good.has("later"));
    company.is_well("a lie in a register");
}

#[test]
fn a_horizon_that_was_told_ends_everywhere() {
    let dir = scratch();
    let mut company = Company::new(dir.path());
    let third = incarnation(&company.third);
    let mut forge = company.forge();
    forge.manifest["tip"][third.to_string()] = json!(clock(now() + HOUR, 0));
    forge.manifest["kind"] = json!("full");
    forge.manifest["horizon"] = forge.manifest["tip"].clone();
    let at = now() - 1;
    let ran = company.victim.run_with(&["import", "--allow-mass-delete"], &forge.bundle());
    is_taken(&ran);
    for _ in 0..2 {
        send(&company.victim, &company.good, &[]);
        send(&company.good, &company.victim, &[]);
    }
    company.third.deliver("from the third one");
    company.repair();
    for machine in company.all() {
        let horizon = state(machine).horizon().unwrap();
        assert!(horizon.get(third).millis() <= at, "{}: {horizon:?}", machine.name);
    }
    company.gossip();
    company.is_well("a horizon");
    assert!(company.victim.has("from the third one"));
}

#[test]
fn incarnations_that_nobody_has_do_not_fill_what_can_be_known() {
    let dir = scratch();
    let mut company = Company::new(dir.path());
    let mut forge = company.forge();
    for number in 0..Knowledge::MOST_INCARNATIONS - knowledge(&company.victim).len() - 1 {
        forge.manifest["tip"][Incarnation(0xabc_0000 + number as u64).to_string()] = json!(clock(now() - HOUR, 0));
    }
    let bundle = forge.bundle();
    company.victim.refuses(&["import"], &bundle, 6, &["incarnations would become known", "--allow-mass-add"]);
    is_taken(&company.victim.run_with(&["import", "--allow-mass-add"], &bundle));
    let bundle = company.victim.ok(&["export", "--to", "good"]).stdout;
    company.good.refuses(&["import"], &bundle, 6, &["incarnations would become known"]);
    is_taken(&company.good.run_with(&["import", "--allow-mass-add"], &bundle));
    assert_eq!(knowledge(&company.good).len(), Knowledge::MOST_INCARNATIONS);
    // Nothing is recorded that can't be read or sent.
    let ran = company.good.run(&["doctor", "--new-identity"]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("more than 4096 incarnations") && ran.stderr.contains("doctor --repair"),
        "{}",
        ran.stderr
    );
    company.good.ok(&["export", "--to", "victim"]);
    company.repair();
    assert!(company.all().iter().all(|machine| knowledge(machine).len() < 10));
    company.good.ok(&["doctor", "--new-identity"]);
    company.is_well("many incarnations");
}

#[test]
fn folders_that_were_removed_do_not_fill_the_room_for_folders() {
    let dir = scratch();
    let mut company = Company::new(dir.path());
    let mut forge = company.forge();
    let at = stamp(&clock(company.now, 0));
    for number in 0..65_530 {
        forge.line(&json!({ "folder": { "name": format!("x/{number:06}"), "stamp": at, "present": false } }));
    }
    let bundle = forge.bundle();
    company.victim.refuses(&["import"], &bundle, 6, &["folders would be added", "--allow-mass-add"]);
    is_taken(&company.victim.run_with(&["import", "--allow-mass-add"], &bundle));
    for number in 0..12 {
        crate::support::make_folder(&company.victim.dir(&format!("New{number}")));
    }
    company.victim.deliver("beside");
    // What doesn't fit is told, and all else goes on.
    let ran = company.victim.run(&["scan"]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("more than 65536 would be known"), "{}", ran.stderr);
    company.repair();
    company.is_well("folders");
    assert!(company.third.has("beside") && company.third.folders().contains(&"New11".to_owned()));
}

#[test]
fn a_folder_that_was_removed_is_forgotten_when_everybody_knows() {
    let dir = scratch();
    let company = Company::new(dir.path());
    company.repair();
    crate::support::make_folder(&company.victim.dir("Old"));
    company.meet();
    company.meet();
    assert!(company.third.folders().contains(&"Old".to_owned()));
    fs::remove_dir_all(company.victim.dir("Old")).unwrap();
    company.victim.ok(&["scan"]);
    let forgotten = |machine: &Machine| machine.ok(&["purge", "--json"]).json()["folders"].as_u64().unwrap();
    assert_eq!(forgotten(&company.victim), 0, "nobody else knows");
    let before = company.third.ok(&["export", "--to", "victim", "--full"]).stdout;
    company.meet();
    company.meet();
    assert_eq!(company.all().map(forgotten), [1, 1, 1]);
    assert!(company.all().iter().all(|machine| state(machine).find_folder(&"Old".parse().unwrap()).is_none()));
    // Nothing brings it back but a person.
    is_taken(&company.victim.run_with(&["import"], &before));
    company.is_well("a folder that was forgotten");
    assert!(company.all().iter().all(|machine| !machine.folders().contains(&"Old".to_owned())));
    crate::support::make_folder(&company.good.dir("Old"));
    company.meet();
    company.meet();
    assert!(company.all().iter().all(|machine| machine.folders().contains(&"Old".to_owned())));
}

#[test]
fn messages_that_nobody_has_are_counted_apart_and_forgotten_by_a_repair() {
    let dir = scratch();
    let mut company = Company::new(dir.path());
    let mut forge = company.forge();
    let at = stamp(&clock(company.now, 0));
    for number in 0..5 {
        forge.line(&entry("A", format!("ghost {number}").as_bytes(), &at));
    }
    // By their digests.
    forge.lines.sort();
    forge.message("INBOX", b"Subject: real\n\n", &at);
    is_taken(&company.victim.run_with(&["import"], &forge.bundle()));
    exchange(&company.victim, &company.good);
    let status = company.good.ok(&["status", "--json"]).json();
    assert_eq!((&status["missing"], &status["entries"]), (&json!(5), &json!(2)), "{status}");
    assert!(company.good.ok(&["status"]).text().contains("5 entries more, whose contents are not here yet"));
    for machine in [&company.victim, &company.good] {
        machine.ok(&["peer", "remove", "evil"]);
        let done = machine.ok(&["doctor", "--repair", "--json"]).json();
        assert_eq!(done["repaired"]["forgotten"], 5, "{done}");
    }
    company.repair_all();
    company.is_well("ghosts");
    for machine in company.all() {
        assert_eq!(machine.ok(&["status", "--json"]).json()["missing"], 0);
        assert!(machine.has("real"), "{}", machine.name);
    }
}

#[test]
fn flags_are_added_in_proportion() {
    let dir = scratch();
    let mut company = Company::new(dir.path());
    company.victim.configure("[guard]\nadd_flags = 20\nadd_keyword_bytes = 300");
    for (flags, size, refused) in [
        (5, 1, None),
        (17, 1, None),
        (40, 1, Some("flags would be set for the first time")),
        (4, 200, Some("of keywords would be added")),
    ] {
        let mut forge = company.forge();
        let at = stamp(&clock(company.now, 0));
        forge.message("INBOX", format!("Subject: {flags} {size}\n\n").as_bytes(), &at);
        let all = (0..flags).map(|number| (format!("keyword:{number:0>size$}"), json!([at, true])));
        let all: serde_json::Map<_, _> = all.collect();
        forge.entry(|record| drop(record.insert("flags".to_owned(), json!(all))));
        match refused {
            Some(words) => drop(company.victim.refuses(&["import"], &forge.bundle(), 6, &[words, "--allow-mass-add"])),
            None => is_taken(&company.victim.run_with(&["import"], &forge.bundle())),
        }
    }
    assert_eq!(company.victim.mailbox().len(), 3);
}
