//! A page of the documentation: its blocks, and what they show.

use std::fs;
use std::path::Path;

use super::place::Place;
use super::scripts::Step;

/// A page, and the blocks in it.
pub struct Page {
    name: String,
    blocks: Vec<Block>,
}

/// An indented block: commands, with what they print, or something else that is shown.
#[derive(Clone, Debug)]
pub struct Block {
    /// The number of its first line in the page.
    pub line: usize,
    pub lines: Vec<String>,
}

/// A command, as it stands in a block.
#[derive(Debug, PartialEq, Eq)]
pub struct Typed {
    /// The machine in whose prompt it stands.
    pub machine: String,
    pub command: String,
    /// What is shown of its output; nothing if the page doesn't show any.
    pub output: Vec<String>,
}

impl Page {
    /// Reads a page of the project.
    pub fn read(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        Self::of(name, &fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    }

    /// The page that has this text.
    pub fn of(name: &str, text: &str) -> Self {
        let mut blocks: Vec<Block> = Vec::new();
        let (mut after_blank, mut inside) = (true, false);
        for (at, line) in text.lines().enumerate() {
            let blank = line.trim().is_empty();
            match line.strip_prefix("    ") {
                Some(shown) if inside && !blank => blocks.last_mut().unwrap().lines.push(shown.to_owned()),
                Some(shown) if after_blank && !blank => {
                    blocks.push(Block { line: at + 1, lines: vec![shown.to_owned()] });
                    inside = true;
                }
                _ if blank && inside => blocks.last_mut().unwrap().lines.push(String::new()),
                _ => inside = false,
            }
            after_blank = blank;
        }
        for block in &mut blocks {
            while block.lines.last().is_some_and(String::is_empty) {
                block.lines.pop();
            }
            // A block in an item of a list stands farther right.
            let depth = |line: &String| line.len() - line.trim_start_matches(' ').len();
            let least = block.lines.iter().filter(|line| !line.is_empty()).map(depth).min().unwrap_or(0);
            block.lines.iter_mut().filter(|line| !line.is_empty()).for_each(|line| drop(line.drain(..least)));
        }
        Self { name: name.to_owned(), blocks }
    }

    /// What its blocks show, as texts.
    pub fn texts(&self) -> Vec<String> {
        self.blocks.iter().map(|block| block.lines.join("\n") + "\n").collect()
    }

    /// Follows the page from its beginning to its end.
    #[track_caller]
    pub fn play(&self, script: &[Step]) {
        let place = Place::new();
        let mut blocks = self.blocks.iter();
        for step in script {
            let Some(first_line) = step.first_line() else {
                step.take(&place, None, &self.name);
                continue;
            };
            let block = blocks.next().unwrap_or_else(|| panic!("{} has no block {first_line:?}", self.name));
            let at = format!("{}:{}", self.name, block.line);
            assert!(
                block.lines[0].starts_with(first_line),
                "{at}: no script names this block, or not here; the next one was to be {first_line:?}:\n{}",
                block.lines.join("\n")
            );
            step.take(&place, Some(block), &at);
        }
        if let Some(block) = blocks.next() {
            panic!("{}:{}: no script names this block:\n{}", self.name, block.line, block.lines.join("\n"));
        }
    }
}

impl Block {
    /// The commands in it. A line without a prompt is what the command above it prints, and in a block that has no prompt at
    /// all, each line is a command of the one machine.
    pub fn typed(&self) -> Vec<Typed> {
        let prompted = self.lines.iter().any(|line| prompt(line).is_some());
        let mut all: Vec<Typed> = Vec::new();
        for line in &self.lines {
            match prompt(line) {
                Some((machine, command)) => {
                    all.push(Typed { machine: machine.to_owned(), command: command.to_owned(), output: Vec::new() });
                }
                None if line.is_empty() => {}
                None if prompted => all.last_mut().expect("a prompt comes first").output.push(line.clone()),
                None => {
                    all.push(Typed { machine: "desktop".to_owned(), command: line.clone(), output: Vec::new() });
                }
            }
        }
        all
    }
}

/// The machine and the command, of a line with a prompt.
fn prompt(line: &str) -> Option<(&str, &str)> {
    let (machine, command) = line.split_once("$ ")?;
    let is_name = !machine.is_empty() && machine.bytes().all(|byte| byte.is_ascii_lowercase());
    is_name.then_some((machine, command))
}
