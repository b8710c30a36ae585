//! docs/configuration.md has the keys that the program has, and docs/troubleshooting.md the words that it says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use mailsync::config::Config;

use crate::papers::page::Page;
use crate::support::programs::{MAILSYNC, run};
use crate::support::scratch;

const REQUIRED: &str = "mail_root = \"/home/me/Mail\"\nname = \"laptop\"\nlayout = \"fs\"\nfolder_names = \"utf-8\"\n";

/// A section of the page: its heading, the header that its keys have in the file, and what must stand beside them there.
const SECTIONS: [(&str, &str, &str); 6] = [
    ("## At the top", "", ""),
    ("## `[guard]`", "[guard]\n", ""),
    ("## Hooks", "[hooks]\n", ""),
    ("## `[watch]`", "[watch]\n", ""),
    ("## `[peer.NAME]`", "[peer.server]\n", ""),
    ("## `[[allow]]`", "[[allow]]\n", "command = \"a\"\nexec = [\"b\"]\n"),
];

fn page(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)).unwrap()
}

fn parse(text: &str) -> Config {
    Config::parse(text, Path::new("config.toml")).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The rows of the table of a section, by their keys: type and default as they stand there.
fn rows(section: &str) -> BTreeMap<String, (String, String)> {
    let text = page("configuration.md");
    let (_, behind) = text.split_once(&format!("{section}\n")).unwrap_or_else(|| panic!("there is no {section}"));
    let body = behind.split("\n## ").next().unwrap();
    let mut rows = BTreeMap::new();
    for line in body.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let key = cells[1].trim_matches('`').to_owned();
        let before = rows.insert(key, (cells[2].to_owned(), cells[3].trim_matches('`').to_owned()));
        assert_eq!(before, None, "{line} stands twice");
    }
    rows
}

/// The keys that the program names when it is given one that it doesn't know.
fn known(header: &str, beside: &str) -> BTreeSet<String> {
    let dir = scratch();
    let home = dir.path().join("home");
    fs::create_dir(&home).unwrap();
    let unknown = "no_such_key = 1\n";
    let text =
        if header.is_empty() { format!("{unknown}{REQUIRED}") } else { format!("{REQUIRED}{header}{beside}{unknown}") };
    fs::write(home.join("config.toml"), text).unwrap();
    let ran = run(std::process::Command::new(MAILSYNC).arg("--home").arg(&home).arg("status"));
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    let said = &ran.stderr;
    let (_, list) = said.split_once("the keys are ").unwrap_or_else(|| panic!("{said}"));
    list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_page_on_the_configuration_has_each_key_and_no_other() {
    for (section, header, beside) in SECTIONS {
        let mut keys: BTreeSet<String> = rows(section).into_keys().collect();
        if header.is_empty() {
            keys.extend(["guard", "hooks", "watch", "peer", "allow"].map(str::to_owned));
        }
        assert_eq!(keys, known(header, beside), "{section}");
    }
}

#[test]
fn what_the_page_on_the_configuration_calls_a_default_is_one() {
    for (section, header, beside) in SECTIONS {
        let mut lines = String::new();
        let mut defaults = 0;
        for (key, (kind, absent)) in rows(section) {
            assert!(
                ["path", "string", "boolean", "number", "list of strings"].contains(&kind.as_str()),
                "{key}: {kind}"
            );
            let is_kind = match kind.as_str() {
                "boolean" => ["true", "false"].contains(&absent.as_str()),
                "number" => absent.bytes().all(|byte| byte.is_ascii_digit()),
                "list of strings" => absent.starts_with('['),
                _ => absent.starts_with('"'),
            };
            if is_kind {
                defaults += 1;
                lines = lines + &key + " = " + &absent + "\n";
                continue;
            }
            assert!(["an error", "none"].contains(&absent.as_str()), "{key}: {absent}");
            let without: String = format!("{REQUIRED}{header}{beside}")
                .lines()
                .filter(|line| !line.starts_with(&format!("{key} = ")))
                .fold(String::new(), |text, line| text + line + "\n");
            assert_eq!(Config::parse(&without, Path::new("x")).is_err(), absent == "an error", "{key}: {absent}");
        }
        assert!(defaults > 0, "{section}");
        let (spelt, left_out) = if header.is_empty() {
            (format!("{lines}{REQUIRED}"), REQUIRED.to_owned())
        } else {
            (format!("{REQUIRED}{header}{beside}{lines}"), format!("{REQUIRED}{header}{beside}"))
        };
        assert_eq!(parse(&spelt), parse(&left_out), "{section}");
    }
}

#[test]
fn each_example_on_the_page_on_the_configuration_can_be_read() {
    let examples = Page::read("docs/configuration.md").texts();
    assert_eq!(examples.len(), SECTIONS.len());
    for example in examples {
        let text = if example.starts_with('[') { format!("{REQUIRED}{example}") } else { example };
        parse(&text);
    }
}

/// The text of each literal in a file of Rust, cut where something is put in.
fn literals(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = source;
    while let Some(at) = rest.find(['"', '\'', '/']) {
        let (before, here) = rest.split_at(at);
        if here.starts_with("//") {
            rest = here.split_once('\n').map_or("", |(_, next)| next);
        } else if let Some(inside) = here.strip_prefix('"') {
            let hashes = before.len() - before.trim_end_matches('#').len();
            let is_raw = before[..before.len() - hashes].ends_with('r');
            if is_raw {
                let end = format!("\"{}", "#".repeat(hashes));
                let (text, next) = inside.split_once(end.as_str()).expect("a raw literal ends");
                found.push(text.to_owned());
                rest = next;
            } else {
                let (text, next) = literal(inside);
                found.push(text);
                rest = next;
            }
        } else if ["'\"'", "'/'", "'\\"].iter().any(|character| here.starts_with(character)) {
            rest = &here[3..];
        } else {
            rest = &here[1..];
        }
    }
    found.iter().flat_map(|text| segments(text)).collect()
}

/// What stands in a literal, from behind its quotation mark, and what follows it.
fn literal(inside: &str) -> (String, &str) {
    let mut text = String::new();
    let mut characters = inside.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (text, &inside[at + 1..]),
            '\\' => match characters.next().map(|(_, escaped)| escaped) {
                Some('\n') => {
                    let left = characters.as_str();
                    characters = left.trim_start().char_indices();
                    let (more, next) = literal(characters.as_str());
                    return (text + &more, next);
                }
                Some('n') => text.push('\n'),
                Some(other) => text.push(other),
                None => break,
            },
            other => text.push(other),
        }
    }
    panic!("a literal has no end: {text}");
}

/// A format's text without what stands in braces.
fn segments(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for character in text.chars() {
        match character {
            '{' => {
                depth += 1;
                parts.push(String::new());
            }
            '}' => depth -= i32::from(depth > 0),
            other if depth == 0 => parts.last_mut().unwrap().push(other),
            _ => {}
        }
    }
    parts
}

/// All that the program can say, by its sources without their tests.
fn sayings() -> Vec<String> {
    fn walk(dir: &Path, all: &mut Vec<String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, all);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                all.extend(literals(text.split("#[cfg(test)]\nmod ").next().unwrap()));
            }
        }
    }
    let mut all = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut all);
    all
}

/// The parts of a message on the page that the program never says.
fn unsaid<'a>(message: &'a str, sayings: &[String]) -> Vec<&'a str> {
    let parts =
        message.split('…').map(|part| part.trim_start_matches([' ', ',', ':']).trim_end_matches([' ', ',', ':']));
    parts.filter(|part| !part.is_empty() && !sayings.iter().any(|said| said.contains(part))).collect()
}

#[test]
fn each_message_on_the_page_on_troubles_is_one_that_the_program_says() {
    let sayings = sayings();
    let text = page("troubleshooting.md");
    let messages: Vec<&str> =
        text.split("\n- **`").skip(1).map(|rest| rest.split_once("`**").expect("it ends with `**").0).collect();
    assert!(messages.len() > 40, "{}", messages.len());
    let wrong: Vec<_> = messages.iter().filter(|message| !unsaid(message, &sayings).is_empty()).collect();
    assert!(wrong.is_empty(), "nobody says {wrong:#?}");
    // A part of a word is no message.
    for message in messages {
        assert!(message.bytes().filter(u8::is_ascii_alphabetic).count() >= 9, "{message}");
    }
}

#[test]
fn a_message_that_nobody_says_is_found() {
    let sayings = literals(
        "let a = \"bundle {number} of \\\n     {name} is \\\"late\\\"\"; // \"not this\"\nlet b = ('\"', r#\"raw \"one\"\"#);",
    );
    assert_eq!(sayings, ["bundle ", " of ", " is \"late\"", "raw \"one\""]);
    assert!(unsaid("bundle … of … is \"late\"", &sayings).is_empty());
    assert_eq!(unsaid("bundle … from … is \"late\"", &sayings), ["from"]);
    assert_eq!(unsaid("not this", &sayings), ["not this"]);
}
