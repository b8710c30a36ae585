//! A mail tree made from a seed: realistic sizes, text that compresses like mail, attachments that don't, flags, and
//! dates spread over ten years.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Random numbers become sizes: any will do.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

/// A small random number generator (xorshift64*, Vigna 2016): the corpus must be the same everywhere and for ever.
pub struct Random(u64);

impl Random {
    /// The numbers of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.any() % end
    }

    fn unit(&mut self) -> f64 {
        (self.any() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Normally distributed around 0 with deviation 1 (Box and Muller 1958).
    fn normal(&mut self) -> f64 {
        let (u, v) = (self.unit().max(1e-12), self.unit());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }
}

/// What a mail tree is like.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Half of the messages have at most so many bytes; sizes are log-normal.
    pub median: f64,
    /// The deviation of the logarithm of the size.
    pub deviation: f64,
    /// No message has fewer bytes, but for its header.
    pub least: f64,
    /// How many folders there are, at least 20.
    pub folders: usize,
}

/// Mail with attachments: median 4 KiB, mean 12 KiB, 20 folders.
pub const LARGE: Shape = Shape { median: 4096.0, deviation: 1.482, least: 600.0, folders: 20 };

impl Shape {
    /// The folders' directories, `maildir++`.
    pub fn folders(&self) -> Vec<String> {
        let mut folders = usual_folders();
        let more = self.folders.saturating_sub(folders.len());
        folders.extend((0..more).map(|number| format!(".Projects.{}.{number}", number % 10)));
        folders
    }
}

fn usual_folders() -> Vec<String> {
    let mut folders = vec![String::new(), ".Sent".into(), ".Drafts".into(), ".Lists".into()];
    folders.extend(["alpha", "beta", "gamma", "delta", "epsilon"].map(|list| format!(".Lists.{list}")));
    folders.extend((2015..2026).map(|year| format!(".Archive.{year}")));
    folders
}

/// Makes `count` messages below `root`.
pub fn make(shape: Shape, root: &Path, count: u64, seed: u64) -> std::io::Result<()> {
    let mut random = Random::new(seed);
    let words = words(&mut random);
    let folders = shape.folders();
    for folder in &folders {
        for sub in ["tmp", "new", "cur"] {
            fs::create_dir_all(root.join(folder).join(sub))?;
        }
    }
    for number in 0..count {
        let folder = &folders[usize::try_from(random.below(folders.len() as u64)).expect("few folders")];
        deliver(shape, &root.join(folder), number, &mut random, &words)?;
    }
    Ok(())
}

/// Delivers one message into a folder.
pub fn deliver(shape: Shape, dir: &Path, number: u64, random: &mut Random, words: &[String]) -> std::io::Result<()> {
    let date = 1_420_070_400 + random.below(340_000_000);
    let message = message(shape, number, date, random, words);
    let name = if random.below(50) == 0 {
        format!("new/{date}.M{number}P7.server,S={}", message.len())
    } else {
        let flags = ["", "S", "S", "S", "S", "RS", "FS", "FRS"][usize::try_from(random.below(8)).expect("small")];
        format!("cur/{date}.M{number}P7.server,S={}:2,{flags}", message.len())
    };
    let mut file = File::create(dir.join(name))?;
    file.write_all(&message)?;
    file.set_modified(UNIX_EPOCH + Duration::new(date, 123_456_789))
}

/// A vocabulary whose words are used as unevenly as those of a language.
pub fn words(random: &mut Random) -> Vec<String> {
    let syllables = [
        "ba", "con", "de", "er", "fi", "gra", "ho", "in", "jo", "ka", "lo", "me", "ne", "or", "pre", "qui", "re",
        "sta", "ti", "un",
    ];
    (0..8000)
        .map(|_| {
            let length = 1 + random.below(4);
            (0..length).map(|_| syllables[usize::try_from(random.below(20)).expect("small")]).collect()
        })
        .collect()
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn message(shape: Shape, number: u64, date: u64, random: &mut Random, words: &[String]) -> Vec<u8> {
    let size = (shape.median.ln() + shape.deviation * random.normal()).exp().clamp(shape.least, 20e6);
    let mut text = String::with_capacity(size as usize + 100);
    let who = random.below(300);
    let host = random.below(40);
    write!(
        text,
        "Return-Path: <person{who}@host{host}.example.org>\r\nReceived: from host{host}.example.org (host{host}.example.org [192.0.2.{host}])\r\n\
         \tby mx.example.net (Postfix) with ESMTPS id {:016X}\r\n\tfor <me@example.net>; {date}\r\n\
         DKIM-Signature: v=1; a=rsa-sha256; d=host{host}.example.org; b={:016x}{:016x}{:016x}\r\n\
         Message-ID: <{number}.{:x}@host{host}.example.org>\r\nDate: {date}\r\nFrom: Person {who} <person{who}@host{host}.example.org>\r\n\
         To: me@example.net\r\nSubject: {} {} {}\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n",
        random.any(), random.any(), random.any(), random.any(), random.any(),
        word(words, random), word(words, random), word(words, random),
    )
    .expect("a string takes every byte");
    // Large messages are mostly attachments.
    let prose = size.min(6000.0) as usize;
    let mut line = 0;
    while text.len() < prose {
        let word = word(words, random);
        text.push_str(word);
        line += word.len() + 1;
        text.push_str(if line > 68 { "\r\n" } else { " " });
        if line > 68 {
            line = 0;
        }
    }
    let mut bytes = text.into_bytes();
    while (bytes.len() as f64) < size {
        for _ in 0..8 {
            let random = random.any();
            bytes.extend((0..10).map(|i| BASE64[(random >> (6 * i)) as usize & 63]));
        }
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

fn word<'w>(words: &'w [String], random: &mut Random) -> &'w str {
    // Zipf's law, roughly: the logarithm of the rank is even.
    let rank = (words.len() as f64).powf(random.unit()) as usize;
    &words[rank.min(words.len() - 1)]
}
