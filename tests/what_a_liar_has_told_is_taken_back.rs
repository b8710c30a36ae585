//! One replica among honest ones lies, in bundles that can be true and in others. Once it is found out and no peer any
//! more, and the others were repaired, all of them hold the same, and no mail is lost that isn't in somebody's trash.

use std::collections::BTreeSet;
use std::path::Path;

use mailsync::bundle::PrivateKey;
use mailsync::model::{Digest, Incarnation, Knowledge, Mtime};
use mailsync::state::{EntryRow, State};
use serde_json::{Value, json};

use crate::claims_that_can_not_be_true_are_refused::now;
use crate::simulation::{Gate, History, Network, Restores, Rng, Tally, asked_for, run_all_well};
use crate::support::forge::{Forge, INCARNATION, clock, stamp};
use crate::support::machine::{Machine, assert_same, make_peers, message};
use crate::support::scratch;

/// Lets a history happen in which one of the replicas lies.
fn run_with_a_liar(history: &History, gate: Gate) -> Result<Tally, String> {
    let mut network = Network::new(&history.setup, Restores::Never);
    let replicas = network.replicas().len();
    network.make_a_liar(usize::try_from(history.setup.seed % 64).unwrap() % replicas, history.setup.seed, gate);
    for (number, step) in history.steps.iter().enumerate() {
        network.step(step).map_err(|wrong| format!("at step {number}, {:?}: {wrong}", step.op))?;
    }
    network.end_with_the_liar_found_out()
}

fn history(seed: u64) -> History {
    let replicas = 3 + usize::try_from(seed % 4).unwrap();
    History::random_among(replicas, seed, 200)
}

#[test]
fn honest_replicas_are_equal_once_the_liar_is_found_out() {
    let seeds = asked_for(50_000, 300);
    let tally = run_all_well(seeds, history, |history| run_with_a_liar(history, Gate::Shut));
    assert!(tally.lies > 0 && tally.refused > 0 && tally.repaired > 0, "histories that test nothing: {tally:?}");
}

#[test]
fn honest_replicas_that_have_believed_everything_are_equal_once_they_are_repaired() {
    let seeds = asked_for(60_000, 300);
    let tally = run_all_well(seeds, history, |history| run_with_a_liar(history, Gate::Open));
    assert!(tally.lies > 0 && tally.repaired > 0, "histories that test nothing: {tally:?}");
}

const HOUR: u64 = 60 * 60 * 1000;

/// Three replicas on disk that know each other, and one who lies to them.
struct Company {
    honest: [Machine; 3],
    liar: PrivateKey,
    rng: Rng,
    /// The liar's newest clock, in milliseconds, and the number of its last bundle.
    now: u64,
    number: u64,
    /// What honest people have had delivered and not removed.
    mail: BTreeSet<String>,
    refused: usize,
    believed: usize,
}

impl Company {
    fn new(dir: &Path, seed: u64) -> Self {
        let honest = ["desktop", "laptop", "phone"].map(|name| Machine::replica(dir, name));
        let liar = PrivateKey::generate("liar").unwrap();
        for (one, machine) in honest.iter().enumerate() {
            honest[..one].iter().for_each(|other| make_peers(machine, other));
            machine.ok(&["peer", "add", "liar", "--key", &liar.public_key().to_openssh()]);
        }
        let (now, mail) = (now() - HOUR, BTreeSet::new());
        Self { honest, liar, rng: Rng::new(seed), now, number: 0, mail, refused: 0, believed: 0 }
    }

    fn one(&mut self) -> Machine {
        self.honest[self.rng.below(3)].clone()
    }

    fn step(&mut self, number: usize) {
        let machine = self.one();
        match self.rng.below(10) {
            0..2 => {
                let subject = format!("mail {number}");
                machine.deliver(&subject);
                self.mail.insert(subject);
            }
            2 => {
                let own = machine.files().into_iter().find(|(digest, ..)| self.subject_of(digest).is_some());
                if let Some((digest, _, path)) = own {
                    std::fs::remove_file(path).unwrap();
                    let subject = self.subject_of(&digest).unwrap();
                    self.mail.remove(&subject);
                }
            }
            3..6 => {
                let other = self.one();
                if other.name != machine.name {
                    carry(&machine, &other);
                }
            }
            _ => self.lie_to(&machine),
        }
    }

    fn subject_of(&self, digest: &Digest) -> Option<String> {
        self.mail.iter().find(|subject| Digest::of(message(subject).as_bytes()) == *digest).cloned()
    }

    /// A clock near this one, or far from it.
    fn clock(&mut self, near: u64) -> String {
        match self.rng.below(6) {
            0..2 => format!("{near:016x}"),
            2 => format!("{:016x}", near + 1 + self.rng.number() % (HOUR << 16)),
            3 => format!("{:016x}", near.saturating_sub(self.rng.number() % (HOUR << 16)).max(1)),
            4 => clock(now() + 12 * HOUR, 0),
            _ => self.rng.one_of(&["1fffffffffffffff", "7fffffffffffffff", "2000000000000000"]).to_owned(),
        }
    }

    fn lie_to(&mut self, machine: &Machine) {
        self.now += 1000;
        self.number += 1;
        let own = clock(self.now, 0);
        let (knowledge, mut rows) = {
            let state = State::open(&machine.home.join("state.db")).unwrap();
            (state.knowledge().unwrap(), state.entry_batch(None, 100).unwrap())
        };
        let mut forge = Forge::new(&self.liar, &own);
        forge.manifest["number"] = json!(self.number);
        for (incarnation, known) in knowledge.iter() {
            forge.manifest["tip"][incarnation.to_string()] = json!(known.to_string());
        }
        forge.manifest["tip"][INCARNATION] = json!(own);
        self.twist_head(&mut forge, &knowledge);
        rows.sort_by_key(|row| (row.id.birth.clone(), row.entry.mtime, row.id.digest, row.id.ordinal));
        rows.retain(|_| self.rng.percent(60));
        for row in rows {
            let record = self.record(&row, &stamp(&own), &knowledge);
            forge.line(&json!({ "entry": record }));
        }
        let ran = machine.run_with(&["import"], &forge.bundle());
        match ran.code {
            0 => self.believed += 1,
            3 | 4 | 6 => self.refused += 1,
            code => panic!("{code}: {}", ran.stderr),
        }
    }

    fn twist_head(&mut self, forge: &mut Forge, knowledge: &Knowledge) {
        let all: Vec<_> = knowledge.iter().collect();
        if all.is_empty() {
            return;
        }
        let (incarnation, known) = all[self.rng.below(all.len())];
        let clock = self.clock(known.bits());
        match self.rng.below(6) {
            0 => forge.manifest["tip"][incarnation.to_string()] = json!(clock),
            1 => forge.manifest["tip"][Incarnation(self.rng.number()).to_string()] = json!(clock),
            2 => {
                forge.manifest["kind"] = json!("full");
                forge.manifest["horizon"] = forge.manifest["tip"].clone();
            }
            3 => forge.manifest["horizon"][incarnation.to_string()] = json!(clock),
            4 => forge.manifest["kind"] = json!("full"),
            _ => {}
        }
    }

    /// What the liar says of an entry.
    fn record(&mut self, row: &EntryRow, own: &str, knowledge: &Knowledge) -> Value {
        let EntryRow { id, entry, .. } = row;
        let location = entry.location.0.to_string();
        let mut record = json!({
            "digest": id.digest.to_string(), "birth": id.birth.to_string(), "location": location, "size": entry.size,
            "mtime": entry.mtime.seconds(),
        });
        for (name, value) in [("ordinal", u64::from(id.ordinal)), ("mtime_ns", u64::from(entry.mtime.subsec_nanos()))] {
            if value > 0 {
                record[name] = json!(value);
            }
        }
        let all: Vec<_> = knowledge.iter().collect();
        let (incarnation, known) = all[self.rng.below(all.len())];
        let some = format!("{}-{incarnation}", self.clock(known.bits()));
        match self.rng.below(9) {
            0..2 => record["removal"] = json!({ "seen": location, "stamp": own }),
            2 => record["removal"] = json!({ "seen": some, "stamp": own }),
            3 => record["location"] = json!(some),
            4 => record["flags"] = json!({ "F": [some, true] }),
            5 => {
                record["location"] = json!(own);
                record["born"] = json!(location);
                record["folder"] = json!("Elsewhere");
            }
            6 => record["floor"] = json!(some),
            7 => record["size"] = json!(entry.size + 1),
            _ => {}
        }
        record
    }

    /// The liar is no peer any more, and all are repaired until there is nothing to do.
    fn end(&self) {
        for machine in &self.honest {
            machine.ok(&["peer", "remove", "liar"]);
        }
        for round in 0.. {
            assert!(round < 8, "there is always something to repair");
            let mut repaired = false;
            for machine in &self.honest {
                let ran = machine.ok(&["doctor", "--repair"]);
                repaired |= !ran.stderr.contains("nothing to repair");
            }
            let pairs = (0..3).flat_map(|from| (0..3).map(move |to| (from, to))).filter(|(from, to)| from != to);
            let refused = pairs.filter(|&(from, to)| carry(&self.honest[from], &self.honest[to]) != 0).count();
            let first = self.honest[0].mailbox();
            if !repaired && refused == 0 && self.honest.iter().all(|machine| machine.mailbox() == first) {
                break;
            }
        }
        let [desktop, others @ ..] = &self.honest;
        for other in others {
            assert_same(&other.mailbox(), &desktop.mailbox(), "in the end");
            let digest = |machine: &Machine| State::open(&machine.home.join("state.db")).unwrap().digest();
            assert_eq!(digest(other), digest(desktop));
        }
        let in_trash = |digest: &Digest| {
            self.honest
                .iter()
                .any(|machine| machine.ok(&["trash", "list", "--json"]).text().contains(&digest.to_string()))
        };
        for subject in &self.mail {
            assert!(desktop.has(subject) || in_trash(&Digest::of(message(subject).as_bytes())), "{subject} is lost");
        }
    }
}

/// Carries a bundle, which may be refused.
fn carry(from: &Machine, to: &Machine) -> i32 {
    let bundle = from.ok(&["export", "--to", &to.name]).stdout;
    let ran = to.run_with(&["import"], &bundle);
    assert!([0, 3, 6].contains(&ran.code), "{} from {}: {}", to.name, from.name, ran.stderr);
    ran.code
}

#[test]
fn replicas_on_disk_are_equal_once_the_liar_is_found_out() {
    let (mut refused, mut believed) = (0, 0);
    for seed in asked_for(1, 4).take(40) {
        println!("seed {seed}");
        let dir = scratch();
        let mut company = Company::new(dir.path(), seed);
        for number in 0..24 {
            company.step(number);
        }
        company.end();
        refused += company.refused;
        believed += company.believed;
    }
    assert!(refused > 0 && believed > 0, "lies that test nothing: {refused} {believed}");
}

#[test]
fn two_dates_of_one_delivery_are_found_out_and_the_earlier_one_stays() {
    let dir = scratch();
    let [desktop, laptop] = ["desktop", "laptop"].map(|name| Machine::replica(dir.path(), name));
    make_peers(&desktop, &laptop);
    desktop.deliver("first");
    crate::support::machine::exchange(&desktop, &laptop);
    let liar = PrivateKey::generate("liar").unwrap();
    let told = clock(now() - HOUR, 0);
    for (machine, date) in [(&desktop, 1_600_000_000), (&laptop, 1_700_000_000)] {
        machine.ok(&["peer", "add", "liar", "--key", &liar.public_key().to_openssh()]);
        let mut forge = Forge::new(&liar, &told);
        forge.message("INBOX", message("two dates").as_bytes(), &stamp(&told));
        forge.entry(|entry| entry["mtime"] = json!(date));
        assert_eq!(machine.run_with(&["import"], &forge.bundle()).code, 0);
    }
    let dates = |machine: &Machine| {
        let state = State::open(&machine.home.join("state.db")).unwrap();
        let mut dates = Vec::new();
        state
            .each_entry(|row| {
                dates.push(row.entry.mtime);
                Ok(())
            })
            .unwrap();
        dates.sort();
        (dates, state.digest())
    };
    assert_ne!(dates(&desktop), dates(&laptop));
    // Their knowledge becomes the same, and neither has heard of the entry by the other.
    let mut noticed = false;
    for _ in 0..3 {
        for (from, to) in [(&desktop, &laptop), (&laptop, &desktop)] {
            let ran = crate::support::machine::pass(from, to);
            noticed |= ran.stderr.contains("know the same but hold different mail");
        }
    }
    assert!(noticed);
    assert_eq!(dates(&desktop), dates(&laptop));
    assert!(dates(&desktop).0.contains(&Mtime::new(1_600_000_000, 0)), "{:?}", dates(&desktop));
    assert!(!desktop.ok(&["export", "--to", "laptop"]).stderr.contains("full bundle"), "it is healed");
}
