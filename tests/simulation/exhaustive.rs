//! Every history of so many steps that two replicas can have with one message.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use mailsync::model::Flag;

use super::workers::on_all_processors;
use super::{Beginning, Network, Op, Restores, Setup, Step};

/// What a replica's clock shows when it writes. A clock that runs shows something in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// So early that only what the replica knows decides on its next stamp.
    Behind,
    /// Later than every stamp that was ever issued anywhere.
    Right,
}

/// One of the things that can happen next.
#[derive(Clone, Debug)]
pub struct Choice {
    op: Op,
    at: usize,
    clock: Clock,
}

/// What was looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Explored {
    /// Different states of the whole network, with the number of steps that were left.
    pub states: usize,
    /// Steps that were taken.
    pub steps: usize,
}

/// A history that ends badly.
#[derive(Debug)]
pub struct Bad {
    pub history: Vec<Choice>,
    pub wrong: String,
}

/// States that were seen, with the steps that were left then.
struct Seen(Vec<Mutex<HashMap<u64, usize>>>);

impl Seen {
    /// Whether everything that can follow was looked at before; if not, it will be.
    fn covers(&self, state: u64, left: usize) -> bool {
        let shard = usize::try_from(state % self.0.len() as u64).expect("a small number");
        let mut shard = self.0[shard].lock().expect("nobody panics with it");
        let before = shard.insert(state, left);
        let covered = before.is_some_and(|before| before >= left);
        if covered {
            shard.insert(state, before.unwrap_or(left));
        }
        covered
    }

    fn count(&self) -> usize {
        self.0.iter().map(|shard| shard.lock().expect("nobody panics with it").len()).sum()
    }
}

/// Looks at every history of up to `depth` steps: after each, the replica of that step must hold what it knows, and
/// from each state that has at least `settling` steps left all must come to hold the same.
///
/// Bundles stay for ever, so that each may come late, repeatedly or never, and one that would say the same as the last
/// isn't written: the last may come again. In place of what the clock shows there are two extremes of it.
pub fn every_history(depth: usize, settling: usize, restores: Restores) -> Result<Explored, Bad> {
    let setup = Setup {
        seed: 1,
        messages: 1,
        folders: 2,
        edges: vec![(0, 1)],
        skews: vec![0; 2],
        old_mail: vec![Vec::new(); 2],
        late: 0,
        beginning: Beginning::Alone,
    };
    let start = || {
        let mut network = Network::new(&setup, restores);
        network.checks_each_step = true;
        network
    };
    let seen = Seen((0..64).map(|_| Mutex::default()).collect());
    let first: Vec<_> = {
        let network = start();
        let pairs = choices(&network, restores).into_iter().flat_map(|one| {
            let mut network = network.clone();
            let more = take(&mut network, &one).map_or(Vec::new(), |()| choices(&network, restores));
            more.into_iter().map(move |two| [one.clone(), two]).collect::<Vec<_>>()
        });
        pairs.collect()
    };
    let (next, steps, bad) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(None));
    let work = || {
        let mut search = Search { restores, settling, seen: &seen, steps: 0, path: Vec::new() };
        while let Some(pair) = first.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut network = start();
            let mut result = pair.iter().try_for_each(|choice| {
                search.path.push(choice.clone());
                take(&mut network, choice)
            });
            if result.is_ok() && depth > 2 {
                result = search.go_on(&network, depth - 2);
            }
            if let Err(wrong) = result {
                next.store(first.len(), Ordering::Relaxed);
                bad.lock().expect("nobody panics with it").get_or_insert(Bad { history: search.path, wrong });
                return;
            }
            search.path.clear();
        }
        steps.fetch_add(search.steps, Ordering::Relaxed);
    };
    on_all_processors(work);
    match bad.into_inner().expect("nobody panics with it") {
        Some(bad) => Err(bad),
        None => Ok(Explored { states: seen.count(), steps: steps.into_inner() }),
    }
}

struct Search<'a> {
    restores: Restores,
    settling: usize,
    seen: &'a Seen,
    steps: usize,
    path: Vec<Choice>,
}

impl Search<'_> {
    /// Takes every way from here for so many more steps. After an error the path is what led to it.
    fn go_on(&mut self, network: &Network, left: usize) -> Result<(), String> {
        let mut hasher = DefaultHasher::new();
        network.fingerprint(&mut hasher);
        if self.seen.covers(hasher.finish(), left) {
            return Ok(());
        }
        if left >= self.settling {
            network.clone().end()?;
        }
        for choice in choices(network, self.restores) {
            let mut after = network.clone();
            self.steps += 1;
            self.path.push(choice.clone());
            take(&mut after, &choice)?;
            if left > 1 {
                self.go_on(&after, left - 1)?;
            }
            self.path.pop();
        }
        Ok(())
    }
}

fn take(network: &mut Network, choice: &Choice) -> Result<(), String> {
    let newest = network.newest_anywhere();
    network.now = match choice.clock {
        Clock::Behind => 0,
        Clock::Right => newest.millis() + 1,
    };
    network.step(&Step { after: 0, at: choice.at, op: choice.op.clone() })
}

/// Everything that can happen next.
fn choices(network: &Network, restores: Restores) -> Vec<Choice> {
    let mut choices = Vec::new();
    for (at, replica) in network.replicas().iter().enumerate() {
        let writes = match replica.found().next() {
            None => vec![Op::Deliver { message: 0, folder: 0, flags: Vec::new() }],
            Some(id) => {
                let entry = &replica.entries()[id];
                let away = usize::from(entry.location.1 == id.birth);
                vec![
                    Op::SetFlag { entry: 0, flag: Flag::Info(b'S'), on: entry.flags_on().next().is_none() },
                    Op::Move { entry: 0, folder: away },
                    Op::Remove { entry: 0 },
                ]
            }
        };
        // A replica that knows of the last stamp issues a greater one whatever its clock shows.
        let knows_the_last = replica.knowledge().newest() == network.newest_anywhere();
        let clocks = if knows_the_last { &[Clock::Right][..] } else { &[Clock::Right, Clock::Behind] };
        for &clock in clocks {
            choices.extend(writes.iter().map(|op| Choice { op: op.clone(), at, clock }));
        }
        let mut others = vec![Op::Purge];
        if !network.has_said_it_all(at) {
            others.push(Op::Export { neighbour: 0, since_last: false });
        }
        if restores != Restores::Never {
            others.extend([Op::Save, Op::Restore]);
        }
        choices.extend(others.into_iter().map(|op| Choice { op, at, clock: Clock::Behind }));
    }
    for (bundle, to) in network.under_way().enumerate() {
        let op = Op::Carry { bundle, arrives: true, stays: true };
        // An import may issue a stamp as well.
        choices.extend([Clock::Right, Clock::Behind].map(|clock| Choice { op: op.clone(), at: to, clock }));
    }
    choices
}
