//! Histories: who there is, and what happens, step by step.

use std::collections::BTreeSet;

use mailsync::model::Flag;

use super::Rng;
use super::network::FOLDERS;
use super::shrink::fewest_steps;

/// What happens at a replica. Numbers choose among what there is at that time, so that a history with steps left out is
/// one too.
#[derive(Clone, Debug)]
pub enum Op {
    /// A message comes into a folder.
    Deliver { message: usize, folder: usize, flags: Vec<Flag> },
    /// A message that was removed comes back into the folder in which it was first seen.
    Redeliver { removed: usize, flags: Vec<Flag> },
    /// A message is copied to a folder.
    Copy { entry: usize, folder: usize },
    /// A flag is set or cleared.
    SetFlag { entry: usize, flag: Flag, on: bool },
    /// A message is moved to a folder.
    Move { entry: usize, folder: usize },
    /// A message is removed.
    Remove { entry: usize },
    /// A folder is made.
    MakeFolder { folder: usize },
    /// A folder is removed with everything in it.
    RemoveFolder { folder: usize },
    /// What every neighbour knows to be removed is forgotten.
    Purge,
    /// A bundle for a neighbour is written.
    Export { neighbour: usize, since_last: bool },
    /// A bundle that was written for this replica or another is carried to where it belongs; with luck it gets there,
    /// and with carelessness it can come again.
    Carry { bundle: usize, arrives: bool, stays: bool },
    /// Two replicas become neighbours.
    Meet { other: usize },
    /// A neighbour is no longer one: this replica forgets what it knew of it. With `both`, that one does the same.
    Part { neighbour: usize, both: bool },
    /// A backup is made.
    Save,
    /// The backup is restored.
    Restore,
}

/// Something happens somewhere, some time after what came before.
#[derive(Clone, Debug)]
pub struct Step {
    /// Milliseconds since the step before.
    pub after: u64,
    /// Which replica.
    pub at: usize,
    /// What.
    pub op: Op,
}

/// A message that a replica has before it hears of any other.
#[derive(Clone, Debug)]
pub struct OldMail {
    pub message: usize,
    pub folder: usize,
    pub flags: Vec<Flag>,
}

/// Who there is.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Where incarnation numbers come from.
    pub seed: u64,
    /// How many different messages there are.
    pub messages: usize,
    /// In how many folders they lie: the first of [`FOLDERS`](super::network::FOLDERS).
    pub folders: usize,
    /// Who exchanges bundles with whom.
    pub edges: Vec<(usize, usize)>,
    /// By how many milliseconds each replica's clock is wrong.
    pub skews: Vec<i64>,
    /// What each has when it begins.
    pub old_mail: Vec<Vec<OldMail>>,
    /// How many of the last replicas are late: they have no neighbours until they meet somebody, at the latest when
    /// everything is exchanged in the end.
    pub late: usize,
    /// How those begin.
    pub beginning: Beginning,
}

/// How a replica begins that comes late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// It has scanned its mail like everybody else, and goes on for itself.
    Alone,
    /// It is nothing before its first full bundle; its own mail is scanned once that was applied.
    Joining,
}

/// What may happen in a history beside work, purges, and bundles that come late, twice or never.
#[derive(Clone, Copy, Debug, Default)]
pub struct Events {
    /// Replicas are restored from backups.
    pub restores: bool,
    /// The last replica comes late.
    pub late: bool,
    /// Neighbours come and go.
    pub peers: bool,
}

/// A network, and what happens in it.
#[derive(Clone, Debug)]
pub struct History {
    /// Who there is.
    pub setup: Setup,
    /// What happens.
    pub steps: Vec<Step>,
}

/// How many different messages there are: few, so that the same one often turns up at several places.
const FEW_MESSAGES: usize = 25;

impl Setup {
    /// A tree, a ring or a mesh of that many replicas.
    pub fn random(replicas: usize, seed: u64) -> Self {
        let rng = &mut Rng::new(seed);
        let tree: Vec<_> = (1..replicas).map(|i| (i, rng.below(i))).collect();
        let edges = match rng.below(3) {
            0 => tree,
            1 => (0..replicas).map(|i| (i, (i + 1) % replicas)).collect(),
            _ => tree.into_iter().chain((0..replicas).map(|i| (i, rng.below(replicas)))).collect(),
        };
        let skews = (0..replicas).map(|_| rng.one_of(&[0, 0, 0, 500, -500, 100_000])).collect();
        let old_mail = (0..replicas).map(|_| if rng.percent(40) { OldMail::random(rng) } else { Vec::new() }).collect();
        Self {
            seed,
            messages: FEW_MESSAGES,
            folders: FOLDERS.len(),
            edges,
            skews,
            old_mail,
            late: 0,
            beginning: Beginning::Alone,
        }
    }

    /// Two to four replicas of two messages in two folders: so few that everything happens to the same ones.
    fn dense(seed: u64, events: Events) -> Self {
        let rng = &mut Rng::new(seed);
        let replicas = 2 + rng.below(3);
        let one = |rng: &mut Rng| OldMail {
            message: rng.below(2),
            folder: rng.below(2),
            flags: rng.one_of(&["", "F", "S", "FS"]).bytes().map(Flag::Info).collect(),
        };
        let old_mail = |rng: &mut Rng| {
            if rng.percent(40) { (0..=rng.below(2)).map(|_| one(rng)).collect() } else { Vec::new() }
        };
        Self {
            seed: rng.number(),
            messages: 2,
            folders: 2,
            skews: (0..replicas).map(|_| rng.one_of(&[0, 0, 0, 30, -15, 300])).collect(),
            old_mail: (0..replicas).map(|_| old_mail(rng)).collect(),
            late: usize::from(events.late && replicas > 2),
            beginning: rng.one_of(&[Beginning::Alone, Beginning::Joining]),
            ..Self::random(replicas, rng.number())
        }
    }
}

impl OldMail {
    fn random(rng: &mut Rng) -> Vec<Self> {
        let count = 1 + rng.below(7);
        let one = |_| Self { message: rng.any(), folder: rng.number_of_folder(), flags: random_flags(rng) };
        (0..count).map(one).collect()
    }
}

impl Step {
    /// A step as likely as any other with another seed.
    pub fn random(seed: u64) -> Self {
        let rng = &mut Rng::new(seed);
        let (after, at) = (1 + rng.number() % 19, rng.below(1 << 16));
        // An entry, a neighbour or a bundle, of however many there will be.
        let some = rng.below(1 << 16);
        let op = match rng.below(100) {
            0..19 => Op::Deliver { message: rng.any(), folder: rng.number_of_folder(), flags: random_flags(rng) },
            19..23 => Op::Redeliver { removed: some, flags: random_flags(rng) },
            23..26 => Op::Copy { entry: some, folder: rng.number_of_folder() },
            26..40 => Op::SetFlag { entry: some, flag: Flag::Info(rng.one_of(b"FRST")), on: rng.percent(50) },
            40..51 => Op::Move { entry: some, folder: rng.number_of_folder() },
            51..60 => Op::Remove { entry: some },
            60..62 => Op::MakeFolder { folder: rng.number_of_folder() },
            62..63 => Op::RemoveFolder { folder: rng.number_of_folder() },
            63..67 => Op::Purge,
            67..86 => Op::Export { neighbour: some, since_last: rng.percent(20) },
            86..98 => Op::Carry { bundle: some, arrives: rng.percent(80), stays: rng.percent(20) },
            98..99 => Op::Save,
            _ => Op::Restore,
        };
        Self { after, at, op }
    }
}

impl Step {
    /// A step of a history of which every message and folder is often the same.
    fn dense(rng: &mut Rng, events: Events) -> Self {
        let (after, at) = (1 + rng.number() % 5, rng.below(1 << 16));
        let some = rng.below(1 << 16);
        let folder = rng.below(2);
        let op = match rng.below(100) {
            0..10 => {
                let flags = rng.one_of(&["", "F", "S", "FS"]).bytes().map(Flag::Info).collect();
                Op::Deliver { message: rng.below(2), folder, flags }
            }
            10..20 => Op::SetFlag { entry: some, flag: Flag::Info(rng.one_of(b"FS")), on: rng.percent(50) },
            20..28 => Op::Move { entry: some, folder },
            28..38 => Op::Remove { entry: some },
            38..47 => Op::Purge,
            47..68 => Op::Export { neighbour: some, since_last: rng.percent(20) },
            68..88 => Op::Carry { bundle: some, arrives: rng.percent(80), stays: rng.percent(20) },
            88..92 if events.restores => Op::Save,
            92..96 if events.restores => Op::Restore,
            96..98 if events.late || events.peers => Op::Meet { other: some },
            98.. if events.peers => Op::Part { neighbour: some, both: rng.percent(50) },
            _ => Op::Export { neighbour: some, since_last: false },
        };
        Self { after, at, op }
    }
}

impl History {
    /// A history of up to so many steps among two to four replicas, two messages and two folders.
    pub fn dense(seed: u64, steps: usize, events: Events) -> Self {
        let rng = &mut Rng::new(!seed);
        let setup = Setup::dense(rng.number(), events);
        let steps = steps / 3 + rng.below(steps - steps / 3 + 1);
        Self { setup, steps: (0..steps).map(|_| Step::dense(rng, events)).collect() }
    }

    /// This history with a last replica that comes late, and with neighbours that come and go.
    #[must_use]
    pub fn with_changing_neighbours(mut self) -> Self {
        let rng = &mut Rng::new(self.setup.seed ^ 1);
        self.setup.late = 1;
        self.setup.beginning = rng.one_of(&[Beginning::Alone, Beginning::Joining]);
        for step in &mut self.steps {
            if rng.percent(3) {
                let some = rng.below(1 << 16);
                step.op = if rng.percent(50) {
                    Op::Meet { other: some }
                } else {
                    Op::Part { neighbour: some, both: rng.percent(50) }
                };
            }
        }
        self
    }

    /// A history of so many steps among two to six replicas.
    pub fn random(seed: u64, steps: usize) -> Self {
        let replicas = 2 + Rng::new(seed).below(5);
        Self::random_among(replicas, seed, steps)
    }

    /// A history of so many steps among so many replicas.
    pub fn random_among(replicas: usize, seed: u64, steps: usize) -> Self {
        let rng = &mut Rng::new(!seed);
        let setup = Setup::random(replicas, rng.number());
        Self { setup, steps: (0..steps).map(|_| Step::random(rng.number())).collect() }
    }

    /// This history without the steps, old mail, wrong clocks and edges that don't matter to `fails`.
    pub fn made_smaller(self, fails: impl Fn(&Self) -> bool) -> Self {
        let mut smallest = self;
        loop {
            let before = smallest.size();
            let with = |steps: &[Step]| Self { setup: smallest.setup.clone(), steps: steps.to_vec() };
            let steps = fewest_steps(smallest.steps.clone(), |steps| fails(&with(steps)));
            smallest.steps = steps;
            for simpler in smallest.setup.simpler() {
                let simpler = Self { setup: simpler, steps: smallest.steps.clone() };
                if simpler.size() < smallest.size() && fails(&simpler) {
                    smallest = simpler;
                    break;
                }
            }
            if smallest.size() == before {
                return smallest;
            }
        }
    }

    fn size(&self) -> usize {
        let Setup { edges, skews, old_mail, .. } = &self.setup;
        let wrong_clocks = skews.iter().filter(|skew| **skew != 0).count();
        self.steps.len() + edges.len() + wrong_clocks + old_mail.iter().map(Vec::len).sum::<usize>()
    }
}

impl Setup {
    /// The same with one thing less: somebody's old mail, a wrong clock, an edge that isn't needed.
    fn simpler(&self) -> Vec<Self> {
        let without = |leave_out: &dyn Fn(&mut Self)| {
            let mut simpler = self.clone();
            leave_out(&mut simpler);
            simpler
        };
        let everybody = 0..self.skews.len();
        let no_mail = everybody.clone().map(|at| without(&|setup| setup.old_mail[at].clear()));
        let no_skew = everybody.map(|at| without(&|setup| setup.skews[at] = 0));
        let no_edge = (0..self.edges.len()).map(|edge| without(&|setup| _ = setup.edges.remove(edge)));
        no_mail.chain(no_skew).chain(no_edge.filter(Self::hangs_together)).collect()
    }

    /// Whether what one replica does can reach every other.
    fn hangs_together(&self) -> bool {
        let mut reached = BTreeSet::from([0]);
        for _ in 0..self.skews.len() {
            let more = self.edges.iter().filter(|(a, b)| reached.contains(a) || reached.contains(b));
            let more: Vec<_> = more.flat_map(|&(a, b)| [a, b]).collect();
            reached.extend(more);
        }
        reached.len() == self.skews.len()
    }
}

impl Rng {
    /// One of however many there are.
    fn any(&mut self) -> usize {
        self.below(usize::MAX)
    }

    fn number_of_folder(&mut self) -> usize {
        self.below(FOLDERS.len())
    }
}

fn random_flags(rng: &mut Rng) -> Vec<Flag> {
    rng.one_of(&["", "S", "FS"]).bytes().map(Flag::Info).collect()
}
