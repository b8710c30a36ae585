//! What holds of every parser for any bytes at all, besides that it doesn't panic. The fuzz targets in `fuzz/` and an
//! ordinary test call these; so nothing here knows the other tests.

use std::collections::BTreeMap;
use std::io::{Cursor, Read as _, Write as _};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path};

use mailsync::allow::{ARG_KINDS, decide};
use mailsync::bundle::{
    Behind, Error, JobLine, Keys, Manifest, PrivateKey, Record, Stream, Wrapping, each_manifest, look_for_code,
};
use mailsync::config::Config;
use mailsync::maildir::keywords::{KeywordsFile, LetterSet, Letters};
use mailsync::maildir::{FileName, Layout, LayoutKind, NAME_MAX, NameEncoding, Separator, Sub, utf7};
use mailsync::model::{FolderName, Keyword};

/// The name of a target in `fuzz/`, and what must hold of any bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All that bytes can be.
pub const TARGETS: &[Target] = &[
    ("stream", stream),
    ("envelope", envelope),
    ("archive", archive),
    ("manifest", manifest),
    ("records", records),
    ("statements", statements),
    ("names", names),
    ("config", config),
];

/// All layouts that a replica can have.
fn layouts() -> impl Iterator<Item = Layout> {
    let kinds = [(LayoutKind::MaildirPlusPlus, true), (LayoutKind::Fs, true), (LayoutKind::Fs, false)];
    let encodings = [NameEncoding::Utf8, NameEncoding::ModifiedUtf7];
    kinds.into_iter().flat_map(move |(kind, inbox_at_root)| {
        encodings.into_iter().map(move |encoding| Layout { kind, encoding, inbox_at_root })
    })
}

/// A file or stream of bundles. If it can be read to its end, then so it can be passed over, and its bundles are found
/// by the sizes of zstd's blocks; and whoever looks at a manifest alone sees the same as whoever reads all.
pub fn stream(bytes: &[u8]) {
    let _ = stream_opened_by(bytes, &Keys::none());
}

fn stream_opened_by(bytes: &[u8], keys: &Keys) -> Result<Vec<u64>, Error> {
    let numbers = read(bytes, keys).inspect_err(|_| {
        // Whatever is wrong, looking for the next bundle ends, too.
        let _ = passed_over(bytes, keys);
        let _ = found(bytes, keys);
    })?;
    assert_eq!(passed_over(bytes, keys).expect("what can be read can be passed over"), numbers);
    assert_eq!(found(bytes, keys).expect("what can be read can be found"), numbers);
    Ok(numbers)
}

/// The key that opens the encrypted bundles of the test vectors: the receiver's. It is no secret.
const KEY: &str = include_str!("../../fixtures/vectors/receiver.key");

/// The same with a key; and the bytes as what is in an age file, which is as good as they are by themselves, but for being
/// alone there.
pub fn envelope(bytes: &[u8]) {
    let key = PrivateKey::from_openssh(KEY).expect("it is a key");
    let keys = Keys::of([&key]);
    let as_they_are = stream_opened_by(bytes, &keys);
    let (by_code, mut source) = look_for_code(bytes).expect("a slice can be read");
    let mut again = Vec::new();
    source.read_to_end(&mut again).expect("a slice can be read");
    assert_eq!(again, bytes);
    if matches!(Stream::opened_by(bytes, keys.clone()).next_bundle(), Err(Error::Locked)) {
        assert!(by_code, "whoever looks for a code finds it");
    }
    let sealed = |bytes: &[u8]| {
        let mut out = Wrapping::for_readers(&[key.public_key()], Vec::new()).expect("there is one reader");
        out.write_all(bytes).expect("a vector takes every byte");
        out.finish().expect("a vector takes every byte")
    };
    let alone = sealed(bytes);
    let within = stream_opened_by(&alone, &keys);
    match as_they_are {
        Ok(numbers) if numbers.len() == 1 && !bytes.starts_with(b"age-encryption.org/v1\n") => {
            assert_eq!(within.expect("a bundle can be encrypted"), numbers);
            // Two, one behind the other, and one behind the same that is not encrypted.
            let both = stream_opened_by(&[&alone[..], &sealed(bytes)].concat(), &keys);
            assert_eq!(both.expect("they stand beside each other"), [&numbers[..], &numbers].concat());
            let both = stream_opened_by(&[bytes, &alone].concat(), &keys);
            assert_eq!(both.expect("they stand beside each other"), [&numbers[..], &numbers].concat());
            assert!(stream_opened_by(&[&alone[..], bytes].concat(), &keys).is_err());
        }
        _ => drop(within.expect_err("an age file holds one bundle that is right, and nothing else")),
    }
    assert!(matches!(Stream::new(&alone[..]).next_bundle(), Err(Error::Sealed)));
}

/// An archive, in a frame that is good.
pub fn archive(bytes: &[u8]) {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("a level that there is");
    encoder.include_checksum(true).expect("a frame can have a checksum");
    encoder.write_all(bytes).expect("a vector takes every byte");
    stream(&encoder.finish().expect("a vector takes every byte"));
}

/// Reads a whole stream, whoever has signed it, and gives the numbers of its bundles.
fn read(bytes: &[u8], keys: &Keys) -> Result<Vec<u64>, Error> {
    let (mut stream, mut numbers) = (Stream::opened_by(bytes, keys.clone()), Vec::new());
    while let Some(reader) = stream.next_bundle()? {
        let said = reader.manifest().clone();
        manifest(&said.to_json());
        numbers.push(said.number);
        let (mut folders, mut entries) = (0, 0);
        let jobs = reader.read_unverified().records::<Error>(|record| {
            match record {
                Record::Folder { .. } => folders += 1,
                Record::Entry { .. } => entries += 1,
            }
            again(&record);
            Ok(())
        })?;
        assert_eq!((folders, entries), (said.counts.folders, said.counts.entries));
        let mut lines = Vec::new();
        let mut messages = jobs.jobs(&mut lines)?;
        lines.split(|&byte| byte == b'\n').for_each(statement);
        let (mut count, mut size, mut contents) = (0, 0, Vec::new());
        while let Some(message) = messages.next_message()? {
            let claimed = message.size();
            message.read_verified(&mut contents)?;
            assert_eq!(contents.len() as u64, claimed);
            (count, size) = (count + 1, size + claimed);
        }
        let missing = messages.missing().len() as u64;
        messages.finish()?;
        assert_eq!(count + missing, said.counts.messages);
        assert!(size == said.bytes || (missing > 0 && size < said.bytes), "{size} of {}", said.bytes);
    }
    Ok(numbers)
}

fn passed_over(bytes: &[u8], keys: &Keys) -> Result<Vec<u64>, Error> {
    let (mut stream, mut numbers) = (Stream::opened_by(bytes, keys.clone()), Vec::new());
    while let Some(reader) = stream.next_bundle()? {
        numbers.push(reader.manifest().number);
        reader.skip()?;
    }
    Ok(numbers)
}

fn found(bytes: &[u8], keys: &Keys) -> Result<Vec<u64>, Error> {
    let mut numbers = Vec::new();
    each_manifest(Cursor::new(bytes), keys, Behind::Seen, |beginning| {
        numbers.push(beginning.manifest().number);
        ControlFlow::Continue(())
    })?;
    Ok(numbers)
}

/// A manifest. What was read is written as it is, and read as the same.
pub fn manifest(bytes: &[u8]) {
    let Ok(manifest) = Manifest::from_json(bytes) else { return };
    let written = manifest.to_json();
    assert_eq!(Manifest::from_json(&written).expect("what was written can be read"), manifest);
    assert!(!manifest.sender.name.chars().any(char::is_control));
    let head = manifest.head();
    assert_eq!((head.tip, head.issued), (manifest.tip, manifest.issued));
}

/// Lines of `entries.jsonl`, each by itself.
pub fn records(bytes: &[u8]) {
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        if let Ok(record) = Record::decode(line) {
            again(&record);
        }
    }
}

/// What is written of a record is read as the same, there is one way to write it, and no folder that it names leaves
/// the mail root.
fn again(record: &Record) {
    let line = record.encode();
    assert_eq!(line.iter().position(|&byte| byte == b'\n'), Some(line.len() - 1));
    let read = Record::decode(&line).expect("what was written can be read");
    assert_eq!((&read, read.encode()), (record, line));
    match record {
        Record::Folder { name, .. } => folder(name),
        Record::Entry { id, entry } => {
            folder(&id.birth);
            folder(&entry.location.1);
            assert!(entry.flags_on().all(|flag| flag.to_string().parse().as_ref() == Ok(flag)));
        }
    }
}

/// Lines of `jobs.jsonl`; and the same bytes as what a line says.
pub fn statements(bytes: &[u8]) {
    bytes.split(|&byte| byte == b'\n').for_each(statement);
    let Ok(signed) = std::str::from_utf8(bytes) else { return };
    let line = JobLine { stamp: mailsync::model::Stamp::ZERO, signed: signed.to_owned(), signature: String::new() };
    said(&line);
}

fn statement(bytes: &[u8]) {
    let Ok(line) = JobLine::decode(bytes) else { return };
    assert_eq!(JobLine::decode(&line.encode()).expect("what was written can be read"), line);
    said(&line);
}

/// What a line says is written and read as the same. Whether the signature holds makes no difference to what it says.
fn said(line: &JobLine) {
    let verified = line.verify();
    let Ok(statement) = line.statement() else {
        assert!(verified.is_err(), "no statement, and it holds");
        return;
    };
    let signed = serde_json::to_string(&statement).expect("a statement has a JSON form");
    let again = JobLine { signed, ..line.clone() };
    assert_eq!(again.statement().expect("what was written can be read"), statement);
    assert!(verified.is_err() || verified.is_ok_and(|(verified, _)| verified == statement));
}

/// A folder's names of letters: what is written is read, what was there stays, and a name that is added is found.
fn keywords(bytes: &[u8]) {
    let mut file = KeywordsFile::parse(bytes);
    let again = KeywordsFile::parse(&file.format());
    assert_eq!(again, file);
    let before = Letters::default().read_anew(&file, LetterSet::default());
    let used: LetterSet = bytes.iter().copied().collect();
    let keyword = Keyword::new("$a-name-that-is-new").expect("an atom");
    if file.letter(&keyword).is_some() {
        return;
    }
    let added = file.add(&keyword, used);
    assert_eq!(file.letter(&keyword), added);
    assert!(added.is_none_or(|letter| !used.contains(letter) && before.keyword(letter).is_none()));
    let after = Letters::default().read_anew(&file, LetterSet::default());
    assert!(before.iter().all(|(letter, keyword, _)| after.keyword(letter) == Some(keyword)));
}

/// The name of a file, of a folder, and of a directory, and the names of keywords.
pub fn names(bytes: &[u8]) {
    file(bytes);
    keywords(bytes);
    directory(bytes);
    if let Some(text) = utf7::decode(bytes) {
        assert_eq!(utf7::encode(&text).as_bytes(), bytes, "two names for {text:?}");
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let encoded = utf7::encode(text);
    assert!(encoded.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{encoded:?}");
    assert_eq!(utf7::decode(encoded.as_bytes()).as_deref(), Some(text));
    if let Ok(name) = text.parse::<FolderName>() {
        assert_eq!(name.as_str(), text);
        folder(&name);
    }
}

/// A file that gets other flags keeps its base and what isn't understood of its name, and stays in its directory.
fn file(bytes: &[u8]) {
    let mut named = Letters::default();
    named.set(b'a', Keyword::new("work").expect("an atom"), false);
    named.set(b'x', Keyword::new("$Junk").expect("an atom"), true);
    let name = FileName::parse(bytes);
    for sub in [Sub::New, Sub::Cur] {
        let flags = name.flags(sub, &named);
        let renamed = name.with_flags(sub, &flags, &named, Separator::Colon);
        let again = FileName::parse(&renamed);
        assert_eq!((again.base(), again.flags(sub, &named)), (name.base(), flags.clone()));
        assert_eq!(again.with_flags(sub, &flags, &named, Separator::Colon), renamed, "a name has two forms");
        assert!(bytes.contains(&b'/') || !renamed.contains(&b'/'), "it leaves its directory");
        let bare = FileName::parse(&renamed).with_flags(sub, &[].into(), &named, Separator::Colon);
        assert!(FileName::parse(&bare).flags(Sub::Cur, &named).is_empty());
        // Letters that mean nothing here stay.
        let nameless = |name: &[u8]| {
            let letters = FileName::parse(name).keyword_letters();
            letters.iter().filter(|&letter| named.keyword(letter).is_none()).collect::<Vec<_>>()
        };
        assert_eq!(nameless(&bare), nameless(bytes));
        assert_eq!(FileName::parse(&bare).base(), name.base());
    }
}

/// A folder's directory is below the mail root, each part of it fits every file system, and leads back to the folder;
/// but for one that had to be cut.
fn folder(name: &FolderName) {
    for layout in layouts() {
        let dir = layout.dir_of(name);
        stays_below(&dir);
        for part in &dir {
            assert!(part.len() <= NAME_MAX, "{name:?}: {} under {layout:?}", dir.display());
        }
        if layout.is_cut(&dir) {
            assert_eq!(layout.folder_of(&dir), None, "{name:?} under {layout:?}");
        } else {
            assert_eq!(layout.folder_of(&dir).as_ref(), Some(name), "{} under {layout:?}", dir.display());
        }
    }
}

/// A directory that another program has made is a folder's, or none's; and that of no other.
fn directory(bytes: &[u8]) {
    let path = Path::new(std::ffi::OsStr::from_bytes(bytes));
    let is_plain =
        bytes.split(|&byte| byte == b'/').all(|part| !matches!(part, b"" | b"." | b"..")) && !bytes.contains(&0);
    for layout in layouts() {
        let Some(name) = layout.folder_of(path) else { continue };
        let dir = layout.dir_of(&name);
        stays_below(&dir);
        // A listing gives no other paths. A name that is longer than any file system's is cut on its way back.
        let fits = path.iter().all(|part| part.len() <= NAME_MAX);
        assert!(
            !is_plain || !fits || dir == path,
            "{} is {name:?}, which is {}, under {layout:?}",
            path.display(),
            dir.display()
        );
    }
}

fn stays_below(dir: &Path) {
    assert!(
        dir.components().all(|part| matches!(part, Component::Normal(_))),
        "{} leaves the mail root",
        dir.display()
    );
    assert!(!dir.as_os_str().as_bytes().contains(&0), "{} is no path", dir.display());
}

/// A `config.toml`. What it says can be written and is read as the same; the text with explanations says it, too, but
/// for rules and peers, which it doesn't hold. No kind of arguments lets an option through.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let path = Path::new("config.toml");
    let config = match Config::parse(text, path) {
        Ok(config) => config,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let written = toml::to_string(&config).expect("a configuration has a form in TOML");
    assert_eq!(Config::parse(&written, path).expect("what was written can be read"), config);
    assert!(config.mail_root.is_absolute() && !config.name.contains('/'));
    for rule in &config.allow {
        assert!(rule.timeout().is_ok());
        for from in &rule.from {
            let option = [String::from("-o")];
            let literally = config.allow.iter().any(|rule| rule.args.iter().any(|arg| arg == "-o"));
            assert!(literally || decide(&config.allow, &rule.command, &option, from).is_err());
            assert!(decide(&config.allow, &rule.command, &[], from).is_ok());
        }
    }
    assert!(ARG_KINDS.iter().all(|(_, fits)| !fits("-o") && !fits("")));
    let plain = Config { allow: Vec::new(), peer: BTreeMap::new(), ..config };
    let again = Config::parse(&plain.to_text(), path).expect("what was written can be read");
    assert_eq!((again.mail_root, again.name, again.layout), (plain.mail_root, plain.name, plain.layout));
}
