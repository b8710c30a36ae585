//! The figures that were measured, in a file with a line for each. The page and the drawings are made from it, so that they can be
//! filled by several runs: a figure that is measured again takes the place of the one before, and all others stay. The file
//! and the page are written after each figure, so that a run that is stopped loses nothing.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::cost::Cost;

/// What was measured of a command or a file.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Value {
    /// What its runs cost: medians of time and CPU, and the largest process of all.
    Cost(Cost),
    /// How large a file is.
    Bytes(u64),
    /// How often it waited for the disk.
    Waits(u64),
}

impl Value {
    /// What runs cost, if it is that.
    pub fn cost(self) -> Option<Cost> {
        match self {
            Self::Cost(cost) => Some(cost),
            Self::Bytes(_) | Self::Waits(_) => None,
        }
    }

    fn rounded(self) -> Self {
        match self {
            Self::Cost(cost) => Self::Cost(cost.rounded()),
            same => same,
        }
    }
}

/// One thing that was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// Which mail it was: `small`, `large`, `odd`.
    pub section: String,
    /// Of odd mail, what there was much of.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// How many there were: messages, or what `kind` says.
    pub size: u64,
    /// What was done.
    pub what: String,
    /// The command beside it, if there is one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub beside: String,
    /// How many runs `ours` and `theirs` come from.
    pub runs: usize,
    /// What was measured of mailsync.
    pub ours: Value,
    /// The same of the command beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub theirs: Option<Value>,
}

impl Figure {
    /// Whether both are of the same thing, at the same size.
    fn replaces(&self, other: &Self) -> bool {
        self.size == other.size && self.same_thing(other)
    }

    /// Whether both are of the same thing, at whatever size.
    pub fn same_thing(&self, other: &Self) -> bool {
        (&self.section, &self.kind, &self.what, &self.beside)
            == (&other.section, &other.kind, &other.what, &other.beside)
            && std::mem::discriminant(&self.ours) == std::mem::discriminant(&other.ours)
    }
}

/// A mail tree on which figures were measured, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tree {
    /// Which mail it was: `small`, `large`.
    pub section: String,
    /// How many messages there were.
    pub size: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Where it lay.
    pub dir: String,
    /// How many processors there were.
    pub processors: usize,
    /// How often each command ran, where a row says nothing else.
    pub runs: usize,
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    Tree(Tree),
    Figure(Figure),
}

/// All figures of all runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// What was measured on, in no order.
    pub trees: Vec<Tree>,
    /// What was measured; what belongs together is in the order in which it was measured.
    pub figures: Vec<Figure>,
}

impl Figures {
    /// Reads the lines of a file.
    ///
    /// # Panics
    /// A line is none that was written here: then the file is somebody else's, and stays as it is.
    pub fn parse(text: &str) -> Self {
        let mut all = Self::default();
        for line in text.lines() {
            match serde_json::from_str(line).unwrap_or_else(|wrong| panic!("{line} is no figure: {wrong}")) {
                Line::Tree(tree) => all.trees.push(tree),
                Line::Figure(figure) => all.figures.push(figure),
            }
        }
        all
    }

    /// The lines of the file.
    pub fn to_text(&self) -> String {
        let trees = self.trees.iter().cloned().map(Line::Tree);
        let figures = self.figures.iter().cloned().map(Line::Figure);
        trees.chain(figures).map(|line| serde_json::to_string(&line).expect("plain values") + "\n").collect()
    }

    /// Puts a tree in the place of an earlier one of the same size.
    pub fn put_tree(&mut self, tree: Tree) {
        self.trees.retain(|other| (&other.section, other.size) != (&tree.section, tree.size));
        self.trees.push(tree);
    }

    /// Puts a figure behind all others, and removes the one that it replaces: what one run has measured stands in its order.
    pub fn put(&mut self, figure: Figure) {
        self.figures.retain(|other| !figure.replaces(other));
        self.figures.push(figure);
    }

    /// The trees of a section, the least first.
    pub fn trees_of(&self, section: &str) -> Vec<&Tree> {
        let mut trees: Vec<&Tree> = self.trees.iter().filter(|tree| tree.section == section).collect();
        trees.sort_by_key(|tree| tree.size);
        trees
    }

    /// What was measured in a section, each thing once, with its figures; the least size first.
    pub fn things(&self, section: &str) -> Vec<Vec<&Figure>> {
        let mut things: Vec<Vec<&Figure>> = Vec::new();
        for figure in self.figures.iter().filter(|figure| figure.section == section) {
            match things.iter_mut().find(|thing| thing[0].same_thing(figure)) {
                Some(thing) => thing.push(figure),
                None => things.push(vec![figure]),
            }
        }
        for thing in &mut things {
            thing.sort_by_key(|figure| figure.size);
        }
        things
    }
}

/// The figures, and the files that are written of them.
pub struct Store {
    /// What was measured up to now, by this run and by earlier ones.
    pub all: Figures,
    file: PathBuf,
    page: PathBuf,
    measured: Vec<Figure>,
}

impl Store {
    /// Reads what earlier runs have measured.
    pub fn open(file: &Path, page: &Path) -> Self {
        let all = match fs::read_to_string(file) {
            Ok(text) => Figures::parse(&text),
            Err(none) if none.kind() == std::io::ErrorKind::NotFound => Figures::default(),
            Err(wrong) => panic!("{} can't be read: {wrong}", file.display()),
        };
        Self { all, file: file.to_owned(), page: page.to_owned(), measured: Vec::new() }
    }

    /// Says on which mail the next figures are measured.
    pub fn begin(&mut self, tree: Tree) {
        self.all.put_tree(tree);
    }

    /// Keeps a figure, and writes the file and the page with it.
    pub fn keep(&mut self, mut figure: Figure) {
        figure.ours = figure.ours.rounded();
        figure.theirs = figure.theirs.map(Value::rounded);
        self.measured.push(figure.clone());
        self.all.put(figure);
        self.write();
    }

    /// Forgets those of these figures that this run hasn't measured anew: it went through all of them, and what is left has
    /// another name now, or its program is no longer there.
    pub fn end(&mut self, of: impl Fn(&Figure) -> bool) {
        let measured = &self.measured;
        self.all.figures.retain(|figure| !of(figure) || measured.iter().any(|new| new.replaces(figure)));
        self.write();
    }

    /// Puts a section into the page that has no figures in the file.
    pub fn put_section(&self, name: &str, text: &str) {
        super::report::write(&self.page, &[(name.to_owned(), text.to_owned())]);
    }

    /// Writes the file, the page and the drawings.
    pub fn write(&self) {
        let dir = self.file.parent().expect("a file lies in a directory");
        fs::create_dir_all(dir).expect("the directory of the figures can be made");
        let new = self.file.with_extension("new");
        fs::write(&new, self.all.to_text()).expect("the figures can be written");
        fs::rename(&new, &self.file).expect("the figures can take the place of those before");
        super::report::write(&self.page, &super::report::sections(&self.all));
        super::plot::draw(self.page.parent().expect("a file lies in a directory"), &self.all);
    }
}
