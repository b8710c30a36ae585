//! How much the model alone sends through networks of different shapes: how many bundles and bytes while things happen,
//! and how many it takes afterwards until all replicas hold the same. It runs the simulation that the tests run, and
//! checks in the end what they check: all are equal, nothing is lost, nothing that was removed is back.

#[allow(dead_code, unused_imports)] // The tests use the rest.
#[path = "../../tests/simulation/mod.rs"]
mod simulation;

use std::cell::RefCell;
use std::fmt::Write as _;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use mailsync::bundle::{BundleKind, Counts, Manifest, RecordSpool, ReplicaId, Sender};
use mailsync::model::Digest;
use simulation::replica::size_of;
use simulation::{Beginning, Bundle, Network, Op, Restores, Rng, Setup, Step};

/// What is to be measured.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How many replicas each network has.
    pub replicas: usize,
    /// How many things happen in each.
    pub steps: usize,
    /// What they are comes from this.
    pub seed: u64,
}

/// How many different messages there are: so many that most deliveries are of new ones, and some are not.
const MESSAGES: usize = 20_000;

/// How many messages a replica holds when something is removed for each that comes: a mailbox that is kept tidy, so
/// that what is measured is the network and not how much mail there is.
const MAILBOX: usize = 300;

/// What was written.
#[derive(Clone, Copy, Debug, Default)]
struct Traffic {
    bundles: u64,
    full: u64,
    /// `manifest.json` and `entries.jsonl`.
    metadata: u64,
    /// Messages.
    contents: u64,
}

impl Traffic {
    fn add(&mut self, bundle: &Bundle) {
        self.bundles += 1;
        self.full += u64::from(bundle.head.full);
        self.metadata += metadata_of(bundle);
        self.contents += bundle.contents.iter().map(size_of).sum::<u64>();
    }
}

/// The bytes of a bundle's `manifest.json` and `entries.jsonl`, as the replica on disk would write them.
fn metadata_of(bundle: &Bundle) -> u64 {
    let mut spool = RecordSpool::new(&mailsync::disk::RealDisk, Path::new("/nonexistent"));
    for (name, &state) in &bundle.folders {
        spool.folder(name, state).expect("it fits the memory");
    }
    let mut entries: Vec<_> = bundle.entries.iter().collect();
    entries.sort_by_key(|(id, _)| (&id.birth, id.digest, id.ordinal));
    for (id, entry) in entries {
        spool.entry(id, entry).expect("it fits the memory");
    }
    let records = spool.finish().expect("it fits the memory");
    let id = |name: &str| ReplicaId::from_bytes(Digest::of(name.as_bytes()).0);
    let name = format!("r{}", bundle.from);
    let manifest = Manifest {
        kind: if bundle.head.full { BundleKind::Full } else { BundleKind::Delta },
        number: bundle.head.number,
        made: 1_700_000_000_000,
        sender: Sender { id: id(&name), name, incarnation: bundle.head.incarnation },
        recipient: Some(id("recipient")),
        invitation: None,
        proof: None,
        successions: Vec::new(),
        follows: Some(bundle.head.number),
        base: bundle.head.base.clone(),
        tip: bundle.head.tip.clone(),
        horizon: bundle.head.horizon.clone(),
        issued: bundle.head.issued.clone(),
        left_out: bundle.head.left_out.clone(),
        passes_over: Some(bundle.passes_over.clone()).filter(|passes| !passes.is_empty()),
        state_digest: bundle.state,
        wants: bundle.wants.iter().copied().collect(),
        counts: Counts {
            folders: records.folders(),
            entries: records.entries(),
            messages: bundle.contents.len() as u64,
            replicas: 0,
            jobs: 0,
        },
        bytes: bundle.contents.iter().map(size_of).sum(),
        entries: records.part(),
        replicas: None,
        jobs: None,
    };
    manifest.to_json().len() as u64 + records.part().bytes
}

/// A network's name and its edges.
type Topology = (&'static str, Vec<(usize, usize)>);

fn topologies(replicas: usize, seed: u64) -> [Topology; 4] {
    let rng = &mut Rng::new(seed);
    let chain: Vec<_> = (1..replicas).map(|i| (i - 1, i)).collect();
    let star = (1..replicas).map(|i| (0, i)).collect();
    let circle = chain.iter().copied().chain([(replicas - 1, 0)]).collect();
    // A tree, so that it hangs together, and half as many edges more.
    let tree: Vec<_> = (1..replicas).map(|i| (rng.below(i), i)).collect();
    let more: Vec<_> = (0..replicas / 2).map(|_| (rng.below(replicas), rng.below(replicas))).collect();
    [("chain", chain), ("star", star), ("ring", circle), ("random graph", [tree, more].concat())]
}

/// What came of one network.
struct Measured {
    edges: usize,
    diameter: usize,
    busy: Traffic,
    quiet: Traffic,
    rounds: usize,
    entries: usize,
    seconds: f64,
}

/// Lets everything happen and has everything exchanged.
fn measure(options: Options, edges: Vec<(usize, usize)>) -> Measured {
    let started = Instant::now();
    let rng = &mut Rng::new(options.seed);
    let setup = Setup {
        seed: rng.number(),
        messages: MESSAGES,
        folders: 4,
        edges,
        skews: (0..options.replicas).map(|_| rng.one_of(&[0, 0, 0, 500, -500, 100_000])).collect(),
        old_mail: vec![Vec::new(); options.replicas],
        late: 0,
        beginning: Beginning::Alone,
    };
    let mut network = Network::new(&setup, Restores::Never);
    let traffic = Rc::new(RefCell::new(Traffic::default()));
    let seen = Rc::clone(&traffic);
    network.watch = Some(Rc::new(RefCell::new(move |bundle: &Bundle| seen.borrow_mut().add(bundle))));
    for number in 0..options.steps {
        let mut step = Step::random(rng.number());
        let more = matches!(step.op, Op::Deliver { .. } | Op::Copy { .. } | Op::Redeliver { .. });
        if more && network.replicas()[step.at % options.replicas].found().count() >= MAILBOX {
            step.op = Op::Remove { entry: usize::try_from(rng.number() >> 32).expect("32 bits") };
        }
        network.step(&step).unwrap_or_else(|wrong| panic!("at step {number}, {step:?}: {wrong}"));
    }
    let busy = traffic.take();
    network.lose_what_is_under_way();
    let mut rounds = 0;
    while !network.all_equal() {
        network.exchange_at_once().expect("every bundle can be read");
        rounds += 1;
        assert!(rounds <= 6 * options.replicas, "replicas still differ after {rounds} rounds");
    }
    let quiet = traffic.take();
    network.watch = None;
    let entries = network.replicas()[0].view().entries.len();
    network.end().unwrap_or_else(|wrong| panic!("seed {}: {wrong}", options.seed));
    Measured {
        edges: edges_of(&setup).len(),
        diameter: diameter(options.replicas, &edges_of(&setup)),
        busy,
        quiet,
        rounds,
        entries,
        seconds: started.elapsed().as_secs_f64(),
    }
}

/// Those who exchange bundles, each pair once.
fn edges_of(setup: &Setup) -> Vec<(usize, usize)> {
    let mut edges: Vec<_> = setup.edges.iter().filter(|(a, b)| a != b).map(|&(a, b)| (a.min(b), a.max(b))).collect();
    edges.sort_unstable();
    edges.dedup();
    edges
}

/// How many exchanges lie between the two that are farthest from each other.
fn diameter(replicas: usize, edges: &[(usize, usize)]) -> usize {
    let farthest_from = |start: usize| {
        let mut distance = vec![None; replicas];
        distance[start] = Some(0);
        let mut next = std::collections::VecDeque::from([start]);
        while let Some(at) = next.pop_front() {
            for &(a, b) in edges.iter().filter(|&&(a, b)| a == at || b == at) {
                let other = if a == at { b } else { a };
                if distance[other].is_none() {
                    distance[other] = distance[at].map(|d: usize| d + 1);
                    next.push_back(other);
                }
            }
        }
        distance.into_iter().map(|d| d.expect("it hangs together")).max().unwrap_or(0)
    };
    (0..replicas).map(farthest_from).max().unwrap_or(0)
}

/// Measures all topologies and gives the section for the report.
pub fn run(options: Options) -> String {
    let Options { replicas, steps, seed } = options;
    eprintln!("{steps} steps among {replicas} replicas, seed {seed}");
    let topologies = topologies(replicas, seed);
    let next = AtomicUsize::new(0);
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(topologies.len());
    let work = || {
        let mut measured = Vec::new();
        while let Some((name, edges)) = topologies.get(next.fetch_add(1, Ordering::Relaxed)) {
            measured.push((*name, measure(options, edges.clone())));
        }
        measured
    };
    let mut measured: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("the network holds")).collect()
    });
    measured.sort_by_key(|(name, _)| topologies.iter().position(|(topology, _)| topology == name));
    let mut section = format!(
        "Written by `cargo bench --bench compare -- --only network`, in memory: the model without disk, \
         compression and signatures. {replicas} replicas, {steps} random steps (deliveries, flags, moves, copies, removals, folders, \
         purges, bundles written, carried, lost, repeated and overtaken), seed {seed}; whoever holds {MAILBOX} messages removes one for each that comes. Then what is under way gets lost, and there are \
         quiet rounds until all know and hold the same: in each, every replica writes a bundle for each neighbour, and then all of \
         them arrive. Bytes are those of `manifest.json` and `entries.jsonl` as they would be written, before compression, and those \
         of the messages (made up: 1 to 32 KiB). In the end nothing was lost, and nothing that was removed was back.\n\n\
         | network | edges | diameter | entries in the end | steps: bundles (full) | steps: manifests and entries | steps: messages \
         | quiet: rounds | quiet: bundles (full) | quiet: manifests and entries | quiet: messages |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n"
    );
    for (name, measured) in measured {
        let Measured { edges, diameter, busy, quiet, rounds, entries, seconds } = measured;
        let mut cells = vec![name.to_owned(), edges.to_string(), diameter.to_string(), entries.to_string()];
        for (rounds, traffic) in [(None, busy), (Some(rounds), quiet)] {
            cells.extend(rounds.map(|rounds| rounds.to_string()));
            cells.push(format!("{} ({})", traffic.bundles, traffic.full));
            cells.extend([traffic.metadata, traffic.contents].map(|bytes| super::report::mebibytes(bytes as f64)));
        }
        writeln!(section, "| {} |", cells.join(" | ")).expect("a string");
        eprintln!("{name}: {seconds:.0} s");
    }
    section
}
