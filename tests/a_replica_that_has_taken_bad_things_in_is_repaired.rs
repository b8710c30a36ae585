//! A state may hold what the gate of an import refuses: it was taken in before the gate knew better, or by a fault, or
//! by a person who had allowed it. Each such thing is put into a state by hand here, shows its damage, and ends with
//! the removal of the culprit and a repair: all replicas are equal, they hear of each other's mail again, and none is
//! lost.

use std::fs;
use std::path::Path;

use mailsync::bundle::{JobId, JobLine, PrivateKey, Request, Statement};
use mailsync::model::{Clock, Entry, FolderState, Incarnation, Knowledge, Removal, Stamp, StateDigest};
use mailsync::state::{EntryRow, State, StatementKind, Transaction};
use rusqlite::Connection;
use serde_json::json;

use crate::claims_that_can_not_be_true_are_refused::now;
use crate::support::forge::{Forge, INCARNATION, clock, stamp};
use crate::support::machine::{Machine, Mailbox, assert_same, exchange, make_peers};
use crate::support::programs::own_members;
use crate::support::{reliability_says, scratch};

const HOUR: u64 = 60 * 60 * 1000;
const DAY: u64 = 24 * HOUR;
const END: Clock = Clock::MAX;
const MAIL: [&str; 3] = ["one", "two", "three"];

#[test]
fn a_lie_about_a_replica_that_is_dated_ahead_is_told_there_with_the_way_out() {
    let dir = scratch();
    let hurt = Hurt::new(dir.path());
    hurt.told(&hurt.good, Hurt::incarnation(&hurt.victim), at(now() + 10 * DAY));
    let lie = hurt.good.ok(&["export", "--to", "victim"]).stdout;
    let ran = hurt.victim.run_with(&["import"], &lie);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    // All clocks are right here, and neither has stamped anything ahead of them.
    let words = "if those are right, too, somebody has told them of changes that were never made here: run `mailsync doctor --repair` there";
    assert!(ran.stderr.contains("or more ahead of that of every peer") && ran.stderr.contains(words), "{}", ran.stderr);
    hurt.good.ok(&["doctor", "--repair"]);
    let mended = hurt.good.ok(&["export", "--to", "victim"]).stdout;
    let ran = hurt.victim.run_with(&["import"], &mended);
    assert!(ran.code == 0 && !ran.stderr.contains("clock"), "{}", ran.stderr);
}

/// Two replicas that hold the same, and a peer of both that is nothing but a key.
struct Hurt {
    victim: Machine,
    good: Machine,
    evil: PrivateKey,
    /// What both held before.
    before: Mailbox,
}

fn evil_incarnation() -> Incarnation {
    INCARNATION.parse().unwrap()
}

fn at(millis: u64) -> Clock {
    clock(millis, 0).parse().unwrap()
}

impl Hurt {
    fn new(dir: &Path) -> Self {
        let (victim, good) = (Machine::replica(dir, "victim"), Machine::replica(dir, "good"));
        make_peers(&victim, &good);
        for subject in MAIL {
            victim.deliver(subject);
        }
        let evil = PrivateKey::generate("evil").unwrap();
        for machine in [&victim, &good] {
            machine.ok(&["peer", "add", "evil", "--key", &evil.public_key().to_openssh()]);
        }
        exchange(&victim, &good);
        let before = victim.mailbox();
        Self { victim, good, evil, before }
    }

    /// Changes a state by hand.
    fn change<T>(machine: &Machine, change: impl FnOnce(&Transaction<'_>) -> T) -> T {
        let state = State::open(&machine.home.join("state.db")).unwrap();
        let tx = state.begin().unwrap();
        let done = change(&tx);
        tx.commit().unwrap();
        done
    }

    /// Changes what a state holds of each entry.
    fn change_entries(machine: &Machine, change: impl Fn(&mut Entry)) {
        Self::change(machine, |tx| {
            for row in rows(tx) {
                let mut entry = row.entry.clone();
                change(&mut entry);
                tx.update_entry(&row, &entry).unwrap();
            }
        });
    }

    fn incarnation(machine: &Machine) -> Incarnation {
        State::open(&machine.home.join("state.db")).unwrap().incarnation().unwrap()
    }

    /// Makes a state know this of an incarnation, as the culprit has told.
    fn told(&self, machine: &Machine, incarnation: Incarnation, clock: Clock) {
        let told: Knowledge = [(incarnation, clock)].into_iter().collect();
        Self::change(machine, |tx| tx.learn(&told, &self.evil.public_key().id(), None).unwrap());
    }

    /// The culprit is removed, and the others are repaired, those which are in order as well. A dry run tells the same
    /// and does nothing, and a second time there is nothing to do. Returns what was repaired at the victim.
    fn repair(&self) -> serde_json::Value {
        let mut repaired = [&self.victim, &self.good].map(|machine| {
            machine.ok(&["peer", "remove", "evil"]);
            let left = machine.left();
            let mut dry = machine.ok(&["doctor", "--repair", "--dry-run", "--json", "--verbose"]).json();
            assert_eq!(machine.left(), left, "a dry run changes nothing");
            let ran = machine.ok(&["doctor", "--repair", "--json", "--verbose"]);
            let mut done = ran.json();
            let [items, would] = [&mut done, &mut dry].map(|one| one.as_object_mut().unwrap().remove("items").unwrap());
            assert_eq!(items, would, "{}", machine.name);
            assert_eq!(
                items.as_array().unwrap().is_empty(),
                done["scan"]["sizes"] != 0 || is_nothing(&done),
                "{done} {items}"
            );
            assert_eq!((&dry["dry_run"], &done["dry_run"]), (&true.into(), &false.into()), "{}", machine.name);
            assert_eq!(own_members(done.clone()), own_members(dry), "{}", machine.name);
            let again = machine.ok(&["doctor", "--repair", "--json"]);
            assert!(is_nothing(&again.json()) && again.stderr.contains("nothing to repair"), "{}", again.stderr);
            done
        });
        std::mem::take(&mut repaired[0])
    }

    /// Both are equal, hear of each other's mail, and need no repair.
    fn is_well(&self, what: &str) {
        self.are_equal(what);
        for machine in [&self.victim, &self.good] {
            assert!(is_nothing(&machine.ok(&["doctor", "--repair", "--json"]).json()), "{what}");
        }
    }

    /// Both are equal, and hear of each other's mail.
    fn are_equal(&self, what: &str) {
        let Self { victim, good, .. } = self;
        exchange(victim, good);
        exchange(victim, good);
        assert_same(&victim.mailbox(), &good.mailbox(), what);
        victim.deliver("after");
        good.deliver("afterwards");
        exchange(victim, good);
        assert!(victim.has("afterwards") && good.has("after"), "{what}");
        assert_same(&victim.mailbox(), &good.mailbox(), what);
        for machine in [victim, good] {
            machine.is_at_rest(what);
        }
    }

    fn has_all(&self, what: &str) {
        for machine in [&self.victim, &self.good] {
            let mut mailbox = machine.mailbox();
            mailbox.retain(|digest, _| self.before.contains_key(digest));
            assert_same(&mailbox, &self.before, what);
        }
    }
}

fn rows(tx: &Transaction<'_>) -> Vec<EntryRow> {
    tx.entry_batch(None, 100).unwrap()
}

/// Whether a repair had nothing to do.
fn is_nothing(repaired: &serde_json::Value) -> bool {
    let numbers =
        ["knowledge", "horizon", "entries", "revived", "folders", "statements", "jobs", "contents", "derived"];
    let found = ["new", "moved", "flagged", "removed", "sizes", "adopted"];
    numbers.iter().all(|name| repaired["repaired"][name] == 0)
        && found.iter().all(|name| repaired["scan"][name] == 0)
        && repaired["repaired"]["new_identity"] == false
        && repaired["repaired"]["state_digest"] == false
}

/// Something bad, how it gets into a state, and how it shows.
type Bad = (&'static str, fn(&Hurt, &Machine), fn(&Hurt), &'static str);

/// A bundle can't be written any more: its reader would refuse it.
fn can_not_export(hurt: &Hurt) {
    let ran = hurt.victim.run(&["export", "--full", "--to", "good"]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("doctor"), "{}", ran.stderr);
}

/// The other one takes nothing from the victim.
fn good_refuses(hurt: &Hurt) {
    hurt.victim.deliver("unheard");
    let bundle = hurt.victim.ok(&["export", "--full", "--to", "good"]).stdout;
    assert_eq!(hurt.good.run_with(&["import"], &bundle).code, 3);
    assert!(!hurt.good.has("unheard"));
}

/// The victim takes nothing from the other one.
fn refuses_good(hurt: &Hurt, code: i32) {
    let phone = Machine::replica(hurt.good.home.parent().unwrap(), "phone");
    make_peers(&hurt.good, &phone);
    phone.deliver("from the phone");
    exchange(&phone, &hurt.good);
    hurt.good.deliver("unheard");
    let bundle = hurt.good.ok(&["export", "--to", "victim"]).stdout;
    assert_eq!(hurt.victim.run_with(&["import"], &bundle).code, code);
    assert!(!hurt.victim.has("unheard"));
    // It is only there for this.
    hurt.good.ok(&["peer", "remove", "phone"]);
}

fn dead_for_ever(entry: &mut Entry) {
    let seen = Stamp { clock: END, incarnation: evil_incarnation() };
    let stamp = Stamp { clock: at(now()), incarnation: evil_incarnation() };
    entry.removal = Some(Removal { seen, stamp });
}

/// What happens when a removal is taken in: the files go to the trash.
fn removed_by_evil(hurt: &Hurt, machine: &Machine) {
    let at = clock(now(), 0);
    let mut forge = Forge::new(&hurt.evil, &at);
    let entries = Hurt::change(machine, rows);
    let mut entries: Vec<_> = entries.into_iter().filter(|row| row.entry.alive()).collect();
    entries.sort_by_key(|row| (row.id.birth.clone(), row.entry.mtime, row.id.digest));
    for EntryRow { id, entry, .. } in entries {
        let location = entry.location.0.to_string();
        forge.manifest["tip"][entry.location.0.incarnation.to_string()] = json!(entry.location.0.clock.to_string());
        forge.line(&json!({ "entry": {
            "digest": id.digest.to_string(), "birth": id.birth.to_string(), "location": location, "size": entry.size,
            "mtime": entry.mtime.seconds(), "mtime_ns": entry.mtime.subsec_nanos(),
            "removal": { "seen": location, "stamp": stamp(&at) },
        } }));
    }
    let ran = machine.run_with(&["import"], &forge.bundle());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(machine.mailbox().len(), 0);
}

const BAD: &[Bad] = &[
    (
        "a clock at the end of clocks",
        |hurt, machine| hurt.told(machine, evil_incarnation(), END),
        |hurt| {
            hurt.victim.deliver("unheard");
            assert!(hurt.victim.fails(&["scan"], 1).contains("is at its end"));
            fs::remove_file(hurt.victim.dir("INBOX").join("cur/unheard:2,S")).unwrap();
        },
        "knowledge",
    ),
    (
        "a clock that is far ahead",
        |hurt, machine| hurt.told(machine, evil_incarnation(), at(now() + 400 * DAY)),
        good_refuses,
        "knowledge",
    ),
    (
        "own stamps that are far ahead, after a clock that was told",
        |hurt, machine| {
            hurt.told(machine, evil_incarnation(), at(now() + 400 * DAY));
            machine.deliver(&format!("stamped at {}", machine.name));
            machine.ok(&["scan"]);
        },
        good_refuses,
        "new_identity",
    ),
    (
        "a removal that has seen the end of clocks",
        |hurt, machine| {
            removed_by_evil(hurt, machine);
            Hurt::change_entries(machine, dead_for_ever);
        },
        |hurt| {
            assert_eq!(hurt.victim.mailbox().len(), 0);
            can_not_export(hurt);
        },
        "revived",
    ),
    (
        "a removal that has seen the end of clocks, and the files are there",
        |_, machine| Hurt::change_entries(machine, dead_for_ever),
        can_not_export,
        "revived",
    ),
    (
        "a location at the end of clocks",
        |_, machine| {
            Hurt::change_entries(machine, |entry| {
                entry.location.0 = Stamp { clock: END, incarnation: evil_incarnation() }
            });
        },
        can_not_export,
        "entries",
    ),
    (
        "a birth after the location",
        |_, machine| {
            Hurt::change_entries(machine, |entry| entry.born.clock = at(entry.born.clock.millis() + 1));
        },
        can_not_export,
        "entries",
    ),
    (
        "a floor at the end of clocks",
        |_, machine| {
            Hurt::change_entries(machine, |entry| entry.floor = Stamp { clock: END, incarnation: evil_incarnation() });
        },
        can_not_export,
        "entries",
    ),
    (
        "a flag of a stamp that nobody knows",
        |_, machine| {
            let stamp = Stamp { clock: at(now()), incarnation: Incarnation(77) };
            Hurt::change_entries(machine, |entry| entry.set_flag(stamp, "S".parse().unwrap(), true));
        },
        can_not_export,
        "entries",
    ),
    (
        "a folder at the end of clocks",
        |_, machine| {
            Hurt::change(machine, |tx| {
                let key = tx.find_folder(&"INBOX".parse().unwrap()).unwrap();
                let stamp = Stamp { clock: END, incarnation: evil_incarnation() };
                tx.set_folder_state(key, FolderState { stamp, present: true }).unwrap();
            });
        },
        can_not_export,
        "folders",
    ),
    (
        "sizes that are not those of the messages",
        |_, machine| Hurt::change_entries(machine, |entry| entry.size += 1),
        |hurt| assert_ne!(hurt.victim.run(&["export", "--full", "--to", "good"]).code, 0),
        "sizes",
    ),
    (
        "more known of a peer than it knows itself",
        |hurt, machine| {
            if machine.name == "victim" {
                hurt.told(machine, Hurt::incarnation(&hurt.good), at(now() + HOUR));
            }
        },
        |hurt| refuses_good(hurt, 6),
        "knowledge",
    ),
    (
        "more forgotten than a peer knows",
        |hurt, machine| {
            if machine.name == "victim" {
                hurt.told(machine, evil_incarnation(), at(now()));
                Hurt::change(machine, |tx| {
                    let horizon = [(evil_incarnation(), at(now() + HOUR))].into_iter().collect();
                    tx.set_horizon(&horizon).unwrap();
                });
            }
        },
        |hurt| refuses_good(hurt, 3),
        "horizon",
    ),
    (
        "a hash that is not that of what is there",
        |_, machine| {
            if machine.name == "victim" {
                Hurt::change(machine, |tx| tx.set_digest(StateDigest::default()));
            }
        },
        |hurt| {
            let bundle = hurt.victim.ok(&["export", "--to", "good"]).stdout;
            assert!(hurt.good.run_with(&["import"], &bundle).stderr.contains("hold different mail"));
        },
        "state_digest",
    ),
    (
        "values beside the entries that don't follow from them",
        |_, machine| {
            if machine.name == "victim" {
                let conn = Connection::open(machine.home.join("state.db")).unwrap();
                conn.execute_batch("UPDATE entry SET alive = 0; DELETE FROM change").unwrap();
            }
        },
        |hurt| {
            let words = ["checking", "state.db", "beside its entries do not follow from them", "doctor --repair"];
            hurt.victim.refuses(&["doctor"], b"", 1, &words);
            let dry = hurt.victim.ok(&["doctor", "--repair", "--dry-run", "--json"]).json();
            assert!(dry["repaired"]["derived"].as_u64().unwrap() > 0, "{dry}");
            hurt.victim.refuses(&["doctor"], b"", 1, &words);
        },
        "derived",
    ),
];

#[test]
fn what_was_taken_in_ends_with_the_removal_of_the_culprit_and_a_repair() {
    let mut rows = Vec::new();
    for (what, damage, shows, repaired) in BAD {
        // The lie has spread to an honest replica, or it hasn't.
        for spread in [false, true] {
            println!("{what}, {spread}");
            let dir = scratch();
            let hurt = Hurt::new(dir.path());
            damage(&hurt, &hurt.victim);
            if spread {
                damage(&hurt, &hurt.good);
            } else {
                shows(&hurt);
            }
            let done = hurt.repair();
            let count = if *repaired == "sizes" { &done["scan"]["sizes"] } else { &done["repaired"][repaired] };
            assert!(*count != json!(0) && *count != json!(false), "{what}: {done}");
            hurt.is_well(what);
            hurt.has_all(what);
        }
        // With another outcome nobody comes here.
        rows.push([(*what).to_owned(), "2".to_owned(), "all".to_owned(), "0".to_owned()]);
    }
    reliability_says(&["what was in the state", "networks", "equal afterwards", "mail lost"], &rows);
}

#[test]
fn a_state_in_order_has_nothing_to_repair() {
    let dir = scratch();
    let hurt = Hurt::new(dir.path());
    fs::remove_file(hurt.victim.dir("INBOX").join("cur/one:2,S")).unwrap();
    exchange(&hurt.victim, &hurt.good);
    for machine in [&hurt.victim, &hurt.good] {
        let left = machine.left();
        let ran = machine.ok(&["doctor", "--repair"]);
        assert!(ran.stderr.contains("nothing to repair"), "{}", ran.stderr);
        assert_eq!(machine.left(), left);
    }
}

#[test]
fn each_item_is_told_and_a_dry_run_changes_nothing() {
    let dir = scratch();
    let hurt = Hurt::new(dir.path());
    Hurt::change_entries(&hurt.victim, dead_for_ever);
    let left = hurt.victim.left();
    let ran = hurt.victim.ok(&["doctor", "--repair", "--dry-run", "-v"]);
    assert!(ran.stderr.contains("would repair: 3 messages that could not live and lives again"), "{}", ran.stderr);
    assert_eq!(ran.stderr.matches("in INBOX: ").count(), 3, "{}", ran.stderr);
    assert_eq!(hurt.victim.left(), left);
    let done = hurt.victim.ok(&["doctor", "--repair", "--json", "-v"]).json();
    assert_eq!(done["items"].as_array().unwrap().len(), 3);
    assert_eq!((&done["items"][0]["kind"], &done["repaired"]["revived"]), (&json!("revived"), &json!(3)));
    let log = hurt.victim.ok(&["log"]);
    assert!(log.text().contains("repair: 3 messages"), "{}", log.text());
}

/// The culprit has told the good one that the victim has changed something in the future. The victim can't know whether
/// its own state was put back, and takes nothing from it.
fn good_is_told_of_the_victim(hurt: &Hurt) {
    let (own, victim) = (clock(now(), 0), Hurt::incarnation(&hurt.victim));
    let mut forge = Forge::new(&hurt.evil, &own);
    forge.manifest["tip"] = json!({ INCARNATION: own, victim.to_string(): clock(now() + HOUR, 0) });
    let ran = hurt.good.run_with(&["import"], &forge.bundle());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let bundle = hurt.good.ok(&["export", "--to", "victim"]).stdout;
    hurt.victim.deliver("unheard");
    assert_eq!(hurt.victim.run_with(&["import"], &bundle).code, 6);
}

#[test]
fn whoever_has_believed_more_of_a_peer_than_it_knows_itself_is_repaired() {
    let dir = scratch();
    let hurt = Hurt::new(dir.path());
    good_is_told_of_the_victim(&hurt);
    hurt.good.ok(&["peer", "remove", "evil"]);
    let done = hurt.good.ok(&["doctor", "--repair", "--json"]).json();
    // The victim's incarnation and the liar's own.
    assert_eq!(
        (&done["repaired"]["knowledge"], &done["repaired"]["new_identity"]),
        (&json!(2), &json!(false)),
        "{done}"
    );
    exchange(&hurt.good, &hurt.victim);
    assert!(hurt.good.has("unheard"));
    hurt.victim.ok(&["peer", "remove", "evil"]);
    hurt.is_well("told of the victim");
}

#[test]
fn whoever_is_said_to_have_changed_what_it_never_did_begins_anew() {
    let dir = scratch();
    let hurt = Hurt::new(dir.path());
    good_is_told_of_the_victim(&hurt);
    let before = Hurt::incarnation(&hurt.victim);
    // Nobody repairs the good one.
    let done = hurt.victim.ok(&["doctor", "--repair", "--json"]).json();
    assert_eq!(done["repaired"]["new_identity"], true, "{done}");
    assert_ne!(Hurt::incarnation(&hurt.victim), before);
    let again = hurt.victim.ok(&["doctor", "--repair", "--json"]).json();
    assert!(is_nothing(&again), "{again}");
    exchange(&hurt.victim, &hurt.good);
    assert!(hurt.good.has("unheard"));
    assert_same(&hurt.good.mailbox(), &hurt.victim.mailbox(), "begun anew");
    // What was told by a liar that is no peer of the victim's any more is no reason.
    let dir = scratch();
    let hurt = Hurt::new(dir.path());
    let (own, victim) = (clock(now(), 0), Hurt::incarnation(&hurt.victim));
    let mut forge = Forge::new(&hurt.evil, &own);
    forge.manifest["tip"] = json!({ INCARNATION: own, victim.to_string(): clock(now() + HOUR, 0) });
    assert_eq!(hurt.victim.run_with(&["import"], &forge.bundle()).code, 6);
    hurt.victim.ok(&["peer", "remove", "evil"]);
    assert!(is_nothing(&hurt.victim.ok(&["doctor", "--repair", "--json"]).json()));
}

#[test]
fn a_lie_that_has_come_by_way_of_an_honest_replica_ends_there_as_well() {
    let dir = scratch();
    let hurt = Hurt::new(dir.path());
    // This one doesn't know the culprit, and has everything from the victim.
    let far = Machine::replica(dir.path(), "far");
    make_peers(&hurt.victim, &far);
    exchange(&hurt.victim, &far);
    for machine in [&hurt.victim, &hurt.good, &far] {
        Hurt::change_entries(machine, dead_for_ever);
        hurt.told(machine, evil_incarnation(), END);
    }
    far.ok(&["doctor", "--repair"]);
    hurt.repair();
    // It doesn't know any more what it has only heard of the good one, and says so first.
    exchange(&far, &hurt.victim);
    hurt.are_equal("by way of the victim");
    exchange(&hurt.victim, &far);
    // What is only heard of is forgotten by every repair, and comes again.
    hurt.good.ok(&["doctor", "--repair"]);
    exchange(&hurt.good, &hurt.victim);
    assert_same(&hurt.good.mailbox(), &hurt.victim.mailbox(), "repaired once more");
    assert_same(&far.mailbox(), &hurt.victim.mailbox(), "by way of the victim");
    far.is_at_rest("by way of the victim");
}

#[test]
fn a_repair_needs_no_stamp_before_there_can_be_one() {
    let dir = scratch();
    let hurt = Hurt::new(dir.path());
    hurt.told(&hurt.victim, evil_incarnation(), END);
    // What waits in the outbox is to be stamped by the next command.
    hurt.victim.run_with(&["uux", "good", "--", "true"], b"");
    hurt.victim.fails(&["scan"], 1);
    hurt.victim.ok(&["doctor", "--repair"]);
    hurt.victim.ok(&["scan"]);
    assert_eq!(hurt.victim.ok(&["jobs", "list", "--json"]).json()["jobs"].as_array().unwrap().len(), 1);
}

#[test]
fn jobs_of_others_go_and_what_is_said_about_jobs_is_stamped_anew() {
    let dir = scratch();
    let hurt = Hurt::new(dir.path());
    hurt.victim.run_with(&["uux", "good", "--", "true"], b"");
    hurt.victim.ok(&["scan"]);
    let strangers = ["one", "other"].map(|name| PrivateKey::generate(name).unwrap());
    Hurt::change(&hurt.victim, |tx| {
        let job = tx.job_batch(None, 1).unwrap().remove(0);
        let line = tx.statement(job.key, StatementKind::Request).unwrap().unwrap();
        let Statement::Request(request) = line.statement().unwrap() else { panic!("it is a request") };
        let stamp = Stamp { clock: END, incarnation: evil_incarnation() };
        tx.set_statement(job.key, StatementKind::Request, &JobLine { stamp, ..line }).unwrap();
        let [requester, target] = strangers.each_ref().map(|key| key.public_key().id());
        let foreign = Request { requester, target, ..request };
        let line = JobLine::sign(stamp, &Statement::Request(foreign.clone()), &strangers[0]).unwrap();
        let key = tx.add_job(&JobId::of(&line.signed), &foreign).unwrap();
        tx.set_statement(key, StatementKind::Request, &line).unwrap();
    });
    // Nobody would take that, so it isn't even written.
    can_not_export(&hurt);
    let done = hurt.repair();
    assert_eq!((&done["repaired"]["jobs"], &done["repaired"]["statements"]), (&json!(1), &json!(1)), "{done}");
    exchange(&hurt.victim, &hurt.good);
    assert_eq!(hurt.good.ok(&["jobs", "list", "--json"]).json()["jobs"].as_array().unwrap().len(), 1);
}

#[test]
fn a_repair_reads_every_file_and_finds_what_was_edited_in_place() {
    let dir = scratch();
    let hurt = Hurt::new(dir.path());
    let path = hurt.victim.dir("INBOX").join("cur/one:2,S");
    let date = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(&path, "Subject: ONE\n\n").unwrap();
    fs::File::options().append(true).open(&path).unwrap().set_modified(date).unwrap();
    let done = hurt.victim.ok(&["doctor", "--repair", "--json"]).json();
    assert_eq!((&done["scan"]["new"], &done["scan"]["removed"]), (&json!(1), &json!(1)), "{done}");
    exchange(&hurt.victim, &hurt.good);
    assert!(hurt.good.has("ONE") && !hurt.good.has("one"));
}

#[test]
fn a_removal_of_a_message_that_is_nowhere_any_more_stays_one() {
    let dir = scratch();
    let hurt = Hurt::new(dir.path());
    for machine in [&hurt.victim, &hurt.good] {
        removed_by_evil(&hurt, machine);
        Hurt::change_entries(machine, dead_for_ever);
        // It was too long in the trash.
        fs::remove_dir_all(machine.home.join("trash")).unwrap();
    }
    let done = hurt.repair();
    assert_eq!((&done["repaired"]["revived"], &done["repaired"]["entries"]), (&json!(0), &json!(3)), "{done}");
    hurt.is_well("nowhere");
}
