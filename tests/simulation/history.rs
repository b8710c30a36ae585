//! Histories: who there is, and what happens, step by step.

use mailsync::model::Flag;

use super::Rng;
use super::shrink::fewest_steps;

/// What happens at a replica. Numbers choose among what there is at that time, so that a history with steps left out is one
/// too.
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
    /// A bundle that was written for this replica or another is carried to where it belongs; with luck it gets there, and
    /// with carelessness it can come again.
    Carry { bundle: usize, arrives: bool, stays: bool },
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
    /// Who exchanges bundles with whom.
    pub edges: Vec<(usize, usize)>,
    /// By how many milliseconds each replica's clock is wrong.
    pub skews: Vec<i64>,
    /// What each has when it begins.
    pub old_mail: Vec<Vec<OldMail>>,
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
        Self { seed, messages: FEW_MESSAGES, edges, skews, old_mail }
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

impl History {
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

    /// This history without the steps that don't matter to `fails`.
    pub fn with_fewest_steps(self, fails: impl Fn(&Self) -> bool) -> Self {
        let with = |steps: &[Step]| Self { setup: self.setup.clone(), steps: steps.to_vec() };
        with(&fewest_steps(self.steps.clone(), |steps| fails(&with(steps))))
    }
}

impl Rng {
    /// One of however many there are.
    fn any(&mut self) -> usize {
        self.below(usize::MAX)
    }

    fn number_of_folder(&mut self) -> usize {
        self.below(super::network::FOLDERS.len())
    }
}

fn random_flags(rng: &mut Rng) -> Vec<Flag> {
    rng.one_of(&["", "S", "FS"]).bytes().map(Flag::Info).collect()
}
