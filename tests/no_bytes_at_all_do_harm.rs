//! What `fuzz/` tries for hours is tried here for a moment, with any toolchain: every seed, what was found before, and
//! changes of both that are the same each time. The seeds are made from the test vectors.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use mailsync::config::Config;
use mailsync::maildir::{Layout, LayoutKind, NameEncoding};
use serde_json::Value;

use crate::support::caught;
use crate::support::properties::TARGETS;
use crate::vectors;

/// How many changed inputs are tried of each target.
const CHANGED: u64 = 3000;
/// The most bytes of a seed: of what is larger a fuzzer learns little.
const MOST: usize = 16 << 10;

/// Names as mail programs write them, good and bad.
const NAMES: &[&[u8]] = &[
    b"1704621600.4120_1.laptop,U=2:2,S",
    b"1704708000.M513496P333.server,S=4155,W=4162:2,",
    b"1705140000.4111_1.laptop:2,FRS,x=1",
    b"1:2.host:2,F:2,T",
    b":2,",
    b":2,a$b",
    b".&MOEw4g-",
    b".Entw&APw-rfe",
    b".House &- garden.2024",
    b"Lists/bees/weekly",
    b"&AGE-",
    b"&2ADcAA-",
    b".a.\\2eb",
    b"cur",
    b"a\\2fb",
    b"\xff\xfe",
    b"\xef\x84\x80x",
    b"\xef\x84\x81\xef\x83\xbf",
    b"INBOX",
    b".INBOX",
    b"..",
    b"a//b",
];

/// The seeds of a target.
pub fn seeds(target: &str) -> BTreeSet<Vec<u8>> {
    let files: Vec<Vec<u8>> =
        vectors::all().into_iter().map(|vector| vector.bytes).chain([vectors::base().bytes]).collect();
    let encrypted: Vec<Vec<u8>> =
        vectors::all().into_iter().filter(|vector| vector.group == "encrypted").map(|vector| vector.bytes).collect();
    let archives = files.iter().filter_map(|file| zstd::decode_all(file.as_slice()).ok());
    let members = |name: &'static str| archives.clone().flat_map(move |archive| member(&archive, name));
    let lines = |name: &'static str| {
        members(name)
            .flat_map(|member| member.split_inclusive(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>())
    };
    let seeds: BTreeSet<Vec<u8>> = match target {
        "stream" => files.into_iter().collect(),
        "envelope" => files.into_iter().take(40).chain(encrypted).collect(),
        "archive" => archives.collect(),
        "manifest" => members("manifest.json").collect(),
        "records" => members("entries.jsonl").chain(lines("entries.jsonl")).collect(),
        "statements" => {
            let said = lines("jobs.jsonl").filter_map(|line| {
                let line: Value = serde_json::from_slice(&line).ok()?;
                Some(line["signed"].as_str()?.as_bytes().to_vec())
            });
            lines("jobs.jsonl").chain(said).collect()
        }
        "names" => {
            let folders = lines("entries.jsonl").filter_map(|line| {
                let line: Value = serde_json::from_slice(&line).ok()?;
                Some(line["folder"]["name"].as_str()?.as_bytes().to_vec())
            });
            folders.chain(NAMES.iter().map(|name| name.to_vec())).collect()
        }
        "config" => configs(),
        other => panic!("there is no target {other}"),
    };
    seeds.into_iter().filter(|seed| seed.len() <= MOST).collect()
}

/// The contents of all members of this name, as far as they can be found.
fn member(archive: &[u8], name: &str) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut rest = archive;
    while let Some((header, after)) = rest.split_at_checked(512) {
        let mut read = tar::Header::new_old();
        read.as_mut_bytes().copy_from_slice(header);
        let Ok(size) = read.entry_size() else { break };
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let Some(contents) = after.get(..size) else { break };
        if read.path_bytes() == name.as_bytes() {
            found.push(contents.to_vec());
        }
        rest = after.get(size.next_multiple_of(512)..).unwrap_or_default();
    }
    found
}

/// Configurations: the one that `init` writes, the same with its samples in effect, and some that are wrong.
fn configs() -> BTreeSet<Vec<u8>> {
    let layout = Layout { kind: LayoutKind::Fs, encoding: NameEncoding::Utf8, inbox_at_root: true };
    let plain = Config::new(PathBuf::from("/home/me/My \"Mail\""), "laptop".into(), layout).to_text();
    let sample = |line: &str| {
        line.strip_prefix("# ").filter(|line| line.starts_with('[') || line.contains(" = ")).map(str::to_owned)
    };
    let rules: Vec<String> = plain.lines().filter(|line| line.starts_with('#')).filter_map(sample).collect();
    let all = format!("{plain}\n{}\n", rules.join("\n"));
    Config::parse(&all, Path::new("config.toml")).expect("the samples make sense");
    let wrong = ["name = \"../x\"", "trash_days = -1", "layout = \"mbox\"", "[[allow]]\ncommand = \"\"", "é = é"];
    let wrong = wrong.map(|line| format!("{line}\n{plain}"));
    [plain, all].into_iter().chain(wrong).map(String::into_bytes).collect()
}

/// What was found once, by the name of its target.
fn found_before(target: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/fuzz").join(target);
    if !dir.exists() {
        return Vec::new();
    }
    crate::support::files(&dir).iter().map(|file| fs::read(file).unwrap()).collect()
}

/// Random numbers that are the same each time (`SplitMix64`).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ z >> 31) % end as u64).unwrap()
    }

    /// Changes something: a byte, a bit, a piece that goes, comes twice, or is taken from another input.
    fn change(&mut self, input: &mut Vec<u8>, other: &[u8]) {
        let at = self.below(input.len() + 1);
        let end = (at + 1 + self.below(32)).min(input.len());
        match self.below(6) {
            0 if at < input.len() => input[at] = [0, b'"', b'\\', b'/', b'-', 0xff, b'9', b'\n'][self.below(8)],
            1 if at < input.len() => input[at] ^= 1 << self.below(8),
            2 if at < end => drop(input.drain(at..end)),
            3 if at < end => input.extend_from_within(at..end),
            4 if !other.is_empty() => {
                let from = self.below(other.len());
                let piece = &other[from..(from + 1 + self.below(64)).min(other.len())];
                input.splice(at..at, piece.iter().copied());
            }
            _ => input.truncate(at),
        }
    }
}

fn try_all(name: &str) {
    let (_, target) = TARGETS.iter().find(|(target, _)| *target == name).unwrap();
    let seeds: Vec<Vec<u8>> = seeds(name).into_iter().collect();
    assert!(seeds.len() >= 5, "{name} has {} seeds", seeds.len());
    let check = |input: &[u8]| {
        if let Err(why) = caught(|| target(input)) {
            panic!("{name}: {why}; the input is {:?}", String::from_utf8_lossy(input));
        }
    };
    seeds.iter().chain(&found_before(name)).for_each(|seed| check(seed));
    let mut numbers = Numbers(4711);
    for _ in 0..CHANGED {
        let mut input = seeds[numbers.below(seeds.len())].clone();
        for _ in 0..=numbers.below(3) {
            let other = numbers.below(seeds.len());
            numbers.change(&mut input, &seeds[other]);
        }
        check(&input);
    }
}

#[test]
fn no_stream_does() {
    try_all("stream");
}

#[test]
fn no_envelope_does() {
    try_all("envelope");
}

#[test]
fn no_archive_does() {
    try_all("archive");
}

#[test]
fn no_manifest_does() {
    try_all("manifest");
}

#[test]
fn no_record_does() {
    try_all("records");
}

#[test]
fn no_statement_about_a_job_does() {
    try_all("statements");
}

#[test]
fn no_name_does() {
    try_all("names");
}

#[test]
fn no_configuration_does() {
    try_all("config");
}

#[test]
fn every_target_is_tried_and_has_a_file_in_the_fuzz_directory() {
    let this = include_str!("no_bytes_at_all_do_harm.rs");
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
    for (target, _) in TARGETS {
        assert!(this.contains(&format!("try_all(\"{target}\")")), "{target}");
        // The package has no fuzz targets.
        assert!(!dir.exists() || dir.join(format!("{target}.rs")).exists(), "{target}");
    }
}

#[test]
#[ignore = "writes into the repository"]
fn the_seeds_of_the_fuzz_targets_are_written() {
    for (target, _) in TARGETS {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        fs::create_dir_all(&dir).unwrap();
        for seed in seeds(target).into_iter().chain(found_before(target)) {
            fs::write(dir.join(mailsync::model::Digest::of(&seed).to_string()), seed).unwrap();
        }
    }
}
