//! The documents that `--json` prints are as `docs/schema/` has them. Every document that any test sees is compared with its
//! schema (`support::programs`); here is shown that this comparison finds what is wrong.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::papers::page::Page;
use crate::support::machine::Machine;
use crate::support::programs::run;
use crate::support::{names, schemas, scratch};

/// A document of `status`, with a peer.
fn status() -> Value {
    let dir = scratch();
    let (desktop, laptop) = (Machine::replica(dir.path(), "desktop"), Machine::replica(dir.path(), "laptop"));
    desktop.ok(&["peer", "add", "laptop", "--key", &laptop.key()]);
    desktop.ok(&["status", "--json"]).json()
}

/// What is wrong with a document, what is said of it, and how it comes about.
type Wrong = (&'static str, &'static str, fn(&mut Value));

#[test]
fn a_document_that_is_not_as_its_schema_says_is_found() {
    let document = status();
    assert_eq!(schemas::check(&document), Ok(()));
    let table: [Wrong; 14] = [
        ("a member that no schema has", "surplus", |it| it["surplus"] = json!(1)),
        ("one further inside", "surplus", |it| it["peers"][0]["surplus"] = json!(1)),
        ("one of a part that is used elsewhere, too", "surplus", |it| it["replica"]["surplus"] = json!(1)),
        ("a member that is missing", "pending", |it| remove(it, "pending")),
        ("one further inside that is missing", "last_heard", |it| remove(&mut it["peers"][0], "last_heard")),
        ("a common one that is missing", "version", |it| remove(it, "version")),
        ("another version", "version", |it| it["version"] = json!(2)),
        ("a word for a number", "entries", |it| it["entries"] = json!("1")),
        ("a number below zero", "entries", |it| it["entries"] = json!(-1)),
        ("a time of people", "added", |it| it["peers"][0]["added"] = json!("2026-11-29 12:00")),
        ("a time that is a number", "added", |it| it["peers"][0]["added"] = json!(1_795_953_600_000_u64)),
        ("a word that is none of those", "layout", |it| it["replica"]["layout"] = json!("mbox")),
        ("an error of a command that ended well", "error", |it| {
            it["error"] = json!({ "kind": "usage", "message": "" });
        }),
        ("a dry run of a command that has none", "dry_run", |it| it["dry_run"] = json!(false)),
    ];
    for (what, where_, change) in table {
        let mut changed = document.clone();
        change(&mut changed);
        let wrong = schemas::check(&changed).expect_err(what);
        assert!(wrong.contains(where_), "{what}: {wrong}");
    }
}

fn remove(document: &mut Value, name: &str) {
    document.as_object_mut().unwrap().remove(name).unwrap();
}

#[test]
fn a_command_that_failed_may_have_no_members_of_its_own_and_has_an_error() {
    let failed = json!({
        "version": 1,
        "command": "status",
        "exit_code": 1,
        "error": { "kind": "failed", "message": "x" },
    });
    assert_eq!(schemas::check(&failed), Ok(()));
    for (member, value) in [("exit_code", json!(0)), ("error", Value::Null), ("command", json!("stature"))] {
        let mut changed = failed.clone();
        changed[member] = value;
        schemas::check(&changed).expect_err(member);
    }
}

#[test]
fn who_asks_for_help_or_the_version_gets_a_document_too() {
    let dir = scratch();
    // There is no replica.
    let machine = Machine::new(dir.path(), "desktop");
    let version = machine.ok(&["--version", "--json"]).json();
    let text = machine.ok(&["--version"]).text().to_owned();
    let (first, formats) = text.split_once('\n').unwrap();
    let commit = version["commit"].as_str().map_or_else(String::new, |commit| format!(" ({commit})"));
    assert_eq!(first, format!("mailsync {}{commit}", version["mailsync"].as_str().unwrap()));
    assert_eq!(
        formats,
        format!("bundle format {}\nstate version {}\n", version["bundle_format"], version["state_version"])
    );
    for line in [&["--help"][..], &["trash", "restore", "--help"], &["trash", "-h"]] {
        let help = machine.ok(&[line, &["--json"]].concat());
        assert_eq!((&help.json()["command"], &*help.stderr), (&json!("--help"), ""));
        assert_eq!(help.json()["text"], machine.ok(line).text(), "{line:?}");
    }
    // What is another program's asks for nothing here; what is ours does.
    let theirs = machine.run(&["--shallow", "uux", "desktop", "ls", "--json"]);
    assert!(theirs.code == 2 && theirs.stdout.is_empty(), "{theirs:?}");
    let ours = machine.run(&["--shallow", "uux", "--json", "desktop", "ls"]);
    assert_eq!((ours.code, &ours.json()["error"]["kind"]), (2, &json!("usage")));
}

#[test]
fn what_the_page_about_documents_shows_is_what_is_printed() {
    let dir = scratch();
    let desktop = Machine::replica(dir.path(), "desktop");
    desktop.deliver("one");
    let examples = Page::read("docs/json.md").texts();
    let lines: [&[&str]; 2] = [&["scan", "--json"], &["trash", "show", "9", "--json"]];
    assert_eq!(examples.len(), lines.len());
    for (example, line) in examples.iter().zip(lines) {
        let shown: Value = serde_json::from_str(example).unwrap_or_else(|error| panic!("{error}: {example}"));
        let printed = run(desktop.command(line).current_dir(dir.path())).json();
        assert_eq!(schemas::check(&shown), Ok(()), "{example}");
        // A failure's own members are left out there.
        for (name, value) in shown.as_object().unwrap() {
            assert_eq!(*value, printed[name], "{line:?}: {name}");
        }
    }
}

#[test]
fn the_page_about_documents_has_each_of_them_and_each_of_their_members() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let page = fs::read_to_string(root.join("json.md")).unwrap();
    let common = ["version", "command", "dry_run", "exit_code", "error"];
    let mut listed = BTreeSet::new();
    for row in page.lines().filter(|line| line.contains("](schema/") && line.starts_with('|')) {
        let name = row.split("](schema/").nth(1).unwrap().split(')').next().unwrap();
        let schema: Value = serde_json::from_slice(&fs::read(root.join("schema").join(name)).unwrap()).unwrap();
        let command =
            schema["properties"]["command"]["const"].as_str().map_or("[none]".into(), |it| format!("[`{it}`]"));
        assert!(row.contains(&command), "{row}: {command}");
        let members = schema["properties"].as_object().unwrap().keys().filter(|name| !common.contains(&name.as_str()));
        for member in members {
            assert!(row.contains(&format!("`{member}`")), "{row}: {member} is missing");
        }
        assert!(listed.insert(name.to_owned()), "{name} stands there twice");
    }
    assert_eq!(listed.into_iter().collect::<Vec<_>>(), names(&root.join("schema")));
    for kind in schema_words(&root.join("schema/no-command.json"), "FaultKind") {
        assert!(page.contains(&format!("| `{kind}` |")), "{kind}");
    }
}

/// The words of a part of a schema.
fn schema_words(file: &Path, part: &str) -> Vec<String> {
    let schema: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let words = schema["$defs"][part]["oneOf"].as_array().unwrap().iter();
    words.map(|word| word["const"].as_str().unwrap().to_owned()).collect()
}
