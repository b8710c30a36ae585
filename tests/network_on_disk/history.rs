//! Histories: who there is, and what happens, step by step.

use crate::simulation::{Rng, fewest_steps};

/// What happens at a replica. Numbers choose among what there is at that time, so that a history with steps left out is
/// one too.
#[derive(Clone, Debug)]
pub enum Op {
    /// A message comes into a folder, with flags, or into its `new/`.
    Deliver { message: usize, folder: usize, flags: &'static str, recent: bool },
    /// A message that was removed somewhere comes back into a folder.
    Redeliver { removed: usize, folder: usize },
    /// A message is copied to a folder.
    Copy { file: usize, folder: usize },
    /// A flag is set, or cleared if it is set.
    Flag { file: usize, flag: &'static str },
    /// A mail reader sees what is in `new/`.
    See { folder: usize },
    /// A message is moved to a folder.
    Move { file: usize, folder: usize },
    /// A message is removed.
    Remove { file: usize },
    /// A folder is made.
    MakeFolder { folder: usize },
    /// A folder gets another name.
    RenameFolder { folder: usize, to: usize },
    /// A folder is removed with everything in it.
    RemoveFolder { folder: usize },
    /// The mail root is scanned, by a command that may be killed at one of its file operations.
    Scan { killed_at: Option<usize> },
    /// Any replica is asked to run something.
    Ask { of: usize },
    /// What was asked for is taken back, if it isn't known to have been started.
    Cancel { job: usize },
    /// What nobody needs any more is forgotten.
    Purge,
    /// A bundle for a neighbour is written, by a command that may be killed.
    Export { neighbour: usize, since_last: bool, killed_at: Option<usize> },
    /// A bundle is carried to where it belongs. It may get lost instead, stay to come again, or be imported by a
    /// command that may be killed.
    Carry { bundle: usize, arrives: bool, stays: bool, killed_at: Option<usize> },
    /// A bundle for a neighbour is written and imported at once, and so is one as an answer.
    Meet { neighbour: usize },
    /// The next of those who are late begins.
    Begin,
    /// A neighbour is forgotten; with `both`, it forgets this replica, too. Jobs still go by way of others.
    Part { neighbour: usize, both: bool },
    /// Two that parted are neighbours again.
    ComeBack { which: usize },
    /// A backup of home and mail root is made.
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

/// Who there is.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Where incarnations and tokens come from.
    pub seed: u64,
    /// Who exchanges bundles with whom.
    pub edges: Vec<(usize, usize)>,
    /// The replicas, each of which comes after those by which it may be invited.
    pub replicas: Vec<Beginning>,
    /// How many of the last ones begin late, at the latest when everything is exchanged in the end.
    pub late: usize,
}

/// How a replica begins.
#[derive(Clone, Debug)]
pub struct Beginning {
    /// By how many milliseconds its clock is wrong.
    pub skew: i64,
    /// Whether its directories are those of Maildir++.
    pub maildir_plus_plus: bool,
    /// Whether it is invited by a neighbour with a lower number; else both are made known to each other.
    pub invited: bool,
    /// Whether an invitation holds messages.
    pub with_messages: bool,
    /// What it has when it begins: messages and their folders.
    pub mail: Vec<(usize, usize)>,
}

/// A network, and what happens in it.
#[derive(Clone, Debug)]
pub struct History {
    pub setup: Setup,
    pub steps: Vec<Step>,
}

/// How many different messages there are: few, so that the same one turns up at several places.
const MESSAGES: usize = 60;

impl Setup {
    /// A tree, a ring or a mesh.
    fn random(count: usize, rng: &mut Rng) -> Self {
        let tree: Vec<_> = (1..count).map(|i| (rng.below(i), i)).collect();
        let edges = match rng.below(3) {
            0 => tree,
            1 => (1..count).map(|i| (i - 1, i)).chain([(0, count - 1)]).collect(),
            _ => tree.into_iter().chain((1..count).map(|i| (rng.below(i), i))).collect(),
        };
        let replicas = (0..count).map(|_| Beginning::random(rng)).collect();
        Self { seed: rng.number(), edges, replicas, late: 0 }
    }
}

impl Beginning {
    fn random(rng: &mut Rng) -> Self {
        let mail = if rng.percent(40) { 1 + rng.below(5) } else { 0 };
        Self {
            skew: rng.one_of(&[0, 0, 0, 500, -500, 100_000]),
            maildir_plus_plus: rng.percent(50),
            invited: rng.percent(50),
            with_messages: rng.percent(60),
            mail: (0..mail).map(|_| (rng.below(MESSAGES), rng.below(FOLDERS.len()))).collect(),
        }
    }
}

/// The folders in which messages lie; further ones come up when these are renamed.
pub const FOLDERS: [&str; 4] = ["INBOX", "A", "B", "B/C"];

impl Step {
    fn random(rng: &mut Rng) -> Self {
        let (after, at) = (1 + rng.number() % 19, rng.below(1 << 16));
        let (some, folder) = (rng.below(1 << 16), rng.below(1 << 16));
        if rng.percent(6) {
            let op = if rng.percent(80) { Op::Ask { of: some } } else { Op::Cancel { job: some } };
            return Self { after, at, op };
        }
        let op = match rng.below(100) {
            0..14 => {
                let recent = rng.percent(40);
                let flags: &[_] = if recent { &[""] } else { &["", "S", "F S", "S keyword:$junk"] };
                let flags = rng.one_of(flags);
                Op::Deliver { message: rng.below(MESSAGES), folder, flags, recent }
            }
            14..17 => Op::Redeliver { removed: some, folder },
            17..20 => Op::Copy { file: some, folder },
            20..29 => Op::Flag { file: some, flag: rng.one_of(&["F", "R", "S", "T", "keyword:$Junk", "keyword:work"]) },
            29..31 => Op::See { folder },
            31..40 => Op::Move { file: some, folder },
            40..49 => Op::Remove { file: some },
            49..51 => Op::MakeFolder { folder },
            51..52 => Op::RenameFolder { folder, to: rng.below(1 << 16) },
            52..53 => Op::RemoveFolder { folder },
            53..54 => Op::Scan { killed_at: random_kill(rng, 60, 30) },
            54..60 => Op::Purge,
            60..73 => {
                let since_last = rng.percent(20);
                Op::Export { neighbour: some, since_last, killed_at: random_kill(rng, 20, 10) }
            }
            73..86 => {
                let killed_at = random_kill(rng, 30, 40);
                Op::Carry { bundle: some, arrives: rng.percent(85), stays: rng.percent(20), killed_at }
            }
            86..96 => Op::Meet { neighbour: some },
            96..98 => Op::Save,
            _ => Op::Restore,
        };
        Self { after, at, op }
    }
}

/// This often in a hundred, one of so many file operations at which a command is killed.
fn random_kill(rng: &mut Rng, often: usize, operations: usize) -> Option<usize> {
    rng.percent(often).then(|| 1 + rng.below(operations))
}

impl History {
    /// A history of so many steps among so many replicas.
    pub fn random(replicas: usize, seed: u64, steps: usize) -> Self {
        let rng = &mut Rng::new(!seed);
        let setup = Setup::random(replicas, rng);
        Self { setup, steps: (0..steps).map(|_| Step::random(rng)).collect() }
    }

    /// This history with a last replica that comes late and has mail, and with neighbours that come and go.
    #[must_use]
    pub fn with_changing_neighbours(mut self) -> Self {
        let rng = &mut Rng::new(self.setup.seed ^ 1);
        self.setup.late = 1;
        if let Some(last) = self.setup.replicas.last_mut() {
            last.mail = (0..8).map(|_| (rng.below(MESSAGES), rng.below(FOLDERS.len()))).collect();
        }
        let begins = rng.below(self.steps.len().max(1));
        for (number, step) in self.steps.iter_mut().enumerate() {
            let some = rng.below(1 << 16);
            step.op = match rng.below(100) {
                _ if number == begins => Op::Begin,
                0..2 => Op::Part { neighbour: some, both: rng.percent(50) },
                2..4 => Op::ComeBack { which: some },
                _ => continue,
            };
        }
        self
    }

    /// This history without the steps that don't matter to `fails`.
    pub fn with_fewest_steps(self, fails: impl Fn(&Self) -> bool) -> Self {
        let with = |steps: &[Step]| Self { setup: self.setup.clone(), steps: steps.to_vec() };
        with(&fewest_steps(self.steps.clone(), |steps| fails(&with(steps))))
    }
}
