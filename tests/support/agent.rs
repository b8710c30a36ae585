//! A mail program that works on a Maildir while something else does: it delivers, sets flags, and moves messages between
//! folders, so many times a second. It never removes a message.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mailsync::disk::{Disk, RealDisk};
use mailsync::model::Digest;

use super::make_folder;
use crate::simulation::Rng;

/// How many names of a listing an agent uses before it lists a directory again.
const PER_LISTING: usize = 12;

/// An agent delivers so many messages, and goes on with them.
const MOST: usize = 1500;

/// An agent.
pub struct Agent {
    name: String,
    folders: Vec<PathBuf>,
    rng: Rng,
    /// Messages that it has delivered.
    pub delivered: Vec<Digest>,
    /// How often it has renamed a message within its folder.
    pub flagged: u64,
    /// How often it has moved a message to another folder.
    pub moved: u64,
    /// Names that it saw in a directory and has not used yet.
    seen: Vec<(usize, PathBuf)>,
}

impl Agent {
    /// An agent that works in these folders. No two with different names ever deliver the same message.
    pub fn new(name: &str, folders: Vec<PathBuf>, seed: u64) -> Self {
        for folder in &folders {
            make_folder(folder);
        }
        let (name, rng) = (name.to_owned(), Rng::new(seed));
        Self { name, folders, rng, delivered: Vec::new(), flagged: 0, moved: 0, seen: Vec::new() }
    }

    /// Works until it is told to stop, so many times a second if this machine can.
    pub fn work(&mut self, a_second: u32, stop: &AtomicBool) {
        let (started, pause) = (Instant::now(), Duration::from_secs(1) / a_second);
        let mut done = 0;
        while !stop.load(Ordering::Relaxed) {
            self.step();
            done += 1;
            std::thread::sleep((pause * done).saturating_sub(started.elapsed()));
        }
    }

    /// Does one thing.
    pub fn step(&mut self) {
        match self.rng.below(10) {
            0 | 1 if self.delivered.len() < MOST => self.deliver(),
            2..=5 => self.flag(),
            _ => self.move_one(),
        }
    }

    /// Delivers a new message, as every delivery agent does: written in `tmp/`, renamed into `new/`.
    pub fn deliver(&mut self) {
        let number = self.delivered.len();
        let text = format!("Subject: {} {number}\n\nThis is message {number} of {}.\n", self.name, self.name);
        let folder = &self.folders[self.rng.below(self.folders.len())];
        let name = format!("{}.{}_{number}.{}", 1_700_000_000 + number, self.rng.below(1 << 20), self.name);
        let tmp = folder.join("tmp").join(&name);
        fs::write(&tmp, &text).unwrap();
        RealDisk.rename(&tmp, &folder.join("new").join(&name)).unwrap();
        self.delivered.push(Digest::of(text.as_bytes()));
    }

    /// A file that was there a moment ago, and the number of its folder.
    fn pick(&mut self) -> Option<(usize, PathBuf)> {
        if self.seen.is_empty() {
            let folder = self.rng.below(self.folders.len());
            let sub = self.folders[folder].join(if self.rng.percent(30) { "new" } else { "cur" });
            let mut names: Vec<PathBuf> = fs::read_dir(sub).unwrap().map(|item| item.unwrap().path()).collect();
            for _ in 0..PER_LISTING.min(names.len()) {
                let one = names.swap_remove(self.rng.below(names.len()));
                self.seen.push((folder, one));
            }
        }
        self.seen.pop()
    }

    /// Sets or clears a flag, as a mail reader does that has seen the message.
    fn flag(&mut self) {
        let Some((folder, path)) = self.pick() else { return };
        let (base, flags) = split(&path);
        let letter = self.rng.one_of(&['S', 'F', 'R']);
        let mut flags: Vec<char> = flags.chars().filter(|flag| *flag != letter).chain([letter]).collect();
        if self.rng.percent(30) {
            flags.retain(|flag| *flag != letter);
        }
        flags.sort_unstable();
        let name = format!("{base}:2,{}", flags.into_iter().collect::<String>());
        self.flagged += u64::from(rename(&path, &self.folders[folder].join("cur").join(name)));
    }

    /// Moves a message to another folder: under its name, or under a new one, as different programs do.
    fn move_one(&mut self) {
        let Some((folder, path)) = self.pick() else { return };
        let others = self.folders.len() - 1;
        let to = (folder + 1 + self.rng.below(others)) % self.folders.len();
        let sub = path.parent().unwrap().file_name().unwrap().to_owned();
        let (base, flags) = split(&path);
        let base = if self.rng.percent(50) { base } else { format!("m{}.{}", self.rng.number(), self.name) };
        let name = if sub == "new" { base } else { format!("{base}:2,{flags}") };
        self.moved += u64::from(rename(&path, &self.folders[to].join(sub).join(name)));
    }
}

/// A file name's base and its flags.
fn split(path: &Path) -> (String, String) {
    let name = path.file_name().unwrap().to_str().unwrap();
    let (base, flags) = name.split_once(":2,").unwrap_or((name, ""));
    (base.to_owned(), flags.to_owned())
}

/// Renames a file, unless it has gone or something has the new name. Returns whether it did.
fn rename(from: &Path, to: &Path) -> bool {
    match RealDisk.rename(from, to) {
        Ok(()) => true,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists) => false,
        Err(error) => panic!("{} to {}: {error}", from.display(), to.display()),
    }
}
