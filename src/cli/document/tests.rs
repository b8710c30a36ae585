//! What all documents have; and their schemas in `docs/schema/`, which are made from what is printed, and kept, so that a
//! change of a document is seen.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde_json::json;

use super::*;
use crate::cli::args::Args;

/// The file for documents of which nobody can say whose they are.
const NO_COMMAND: &str = "no-command.json";

fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema")
}

/// All schemas, by the names of their files.
fn made() -> BTreeMap<String, String> {
    let with_dry_run = with_dry_run();
    let of_commands = MEMBERS.iter().map(|(command, members)| {
        let mut generator = generator();
        let own = members(&mut generator);
        let schema = schema_of(Some(command), with_dry_run.contains(*command), &own, generator);
        (format!("{}.json", command.trim_start_matches('-').replace(' ', "-")), schema)
    });
    let mut all: BTreeMap<String, String> = of_commands.collect();
    all.insert(String::from(NO_COMMAND), schema_of(None, false, &Schema::default(), generator()));
    all
}

fn generator() -> SchemaGenerator {
    SchemaSettings::draft2020_12().for_serialize().into_generator()
}

/// The schema of a command's document: the common members, which it always has, and its own, which it has if it ends well.
fn schema_of(command: Option<&str>, has_dry_run: bool, own: &Schema, mut generator: SchemaGenerator) -> String {
    let common = Common::json_schema(&mut generator);
    let (mut members, mut always) = (properties_of(&common), required_by(&common));
    set(&mut members, "version", "const", VERSION.into());
    members["command"].as_object_mut().unwrap().remove("type");
    set(&mut members, "command", "const", command.into());
    if has_dry_run {
        set(&mut members, "dry_run", "type", "boolean".into());
        always.push("dry_run".into());
    } else {
        members.remove("dry_run");
    }
    for (name, schema) in properties_of(own) {
        assert!(members.insert(name.clone(), schema).is_none(), "{name}");
    }
    let about = own.get("description").and_then(Value::as_str).unwrap_or("A command line that makes no sense.");
    // The command's words stand in the title.
    let (first, rest) = about.split_once("\n\n").unwrap_or((about, ""));
    let description = if first.starts_with('`') { rest } else { about };
    let failed = json!({ "properties": { "error": { "type": "object" } } });
    let ended_well = json!({ "properties": { "error": { "type": "null" } }, "required": required_by(own) });
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": command.map_or_else(|| String::from("mailsync --json"), |command| format!("mailsync {command} --json")),
        "type": "object",
        "properties": members,
        "required": always,
        "if": { "properties": { "exit_code": { "const": 0 } } },
        "then": ended_well,
        "else": failed,
        "$defs": generator.take_definitions(true),
    });
    if !description.is_empty() {
        schema["description"] = description.into();
    }
    plain(&mut schema);
    format!("{schema:#}\n")
}

fn properties_of(schema: &Schema) -> Map<String, Value> {
    schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default()
}

fn required_by(schema: &Schema) -> Vec<Value> {
    schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default()
}

fn set(members: &mut Map<String, Value>, name: &str, keyword: &str, value: Value) {
    members[name].as_object_mut().unwrap().insert(keyword.to_owned(), value);
}

/// Takes out what no schema's reader has to know: how wide Rust's numbers are.
fn plain(schema: &mut Value) {
    match schema {
        Value::Object(keywords) => {
            if keywords.get("type").is_some_and(|kind| kind.to_string().contains("integer")) {
                keywords.remove("format");
            }
            keywords.values_mut().for_each(plain);
        }
        Value::Array(all) => all.iter_mut().for_each(plain),
        _ => {}
    }
}

/// The commands that do something, in their words, with their arguments.
fn commands(above: &[&str], command: &clap::Command) -> Vec<(String, clap::Command)> {
    let inner: Vec<&clap::Command> = command.get_subcommands().filter(|inner| inner.get_name() != "help").collect();
    if inner.is_empty() {
        return vec![(above.join(" "), command.clone())];
    }
    inner.iter().flat_map(|inner| commands(&[above, &[inner.get_name()]].concat(), inner)).collect()
}

fn with_dry_run() -> BTreeSet<String> {
    let has_it = |command: &clap::Command| command.get_arguments().any(|arg| arg.get_long() == Some("dry-run"));
    commands(&[], &Args::line()).into_iter().filter(|(_, command)| has_it(command)).map(|(words, _)| words).collect()
}

#[test]
fn each_command_has_a_document() {
    let mut all: BTreeSet<String> = commands(&[], &Args::line()).into_iter().map(|(words, _)| words).collect();
    // What is asked for in place of a command.
    all.extend(["--help", "--version"].map(String::from));
    let with_one: BTreeSet<String> = MEMBERS.iter().map(|(command, _)| (*command).to_owned()).collect();
    assert_eq!(all, with_one);
    assert_eq!(MEMBERS.len(), with_one.len(), "a command has two documents");
    assert!(with_dry_run().contains("trash restore") && !with_dry_run().contains("trash list"));
}

#[test]
fn the_schemas_are_those_of_what_is_printed() {
    let made = made();
    let names: BTreeSet<String> =
        fs::read_dir(kept()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names, made.keys().cloned().collect(), "docs/schema: write it anew");
    for (name, schema) in made {
        let kept = fs::read_to_string(kept().join(&name)).unwrap();
        assert!(schema == kept, "docs/schema/{name}: if the change is meant, write docs/schema anew: {schema}");
    }
}

#[test]
#[ignore = "writes docs/schema"]
fn the_schemas_are_written_anew() {
    let _ = fs::remove_dir_all(kept());
    fs::create_dir(kept()).unwrap();
    for (name, schema) in made() {
        fs::write(kept().join(name), schema).unwrap();
    }
}

#[test]
fn what_a_member_means_is_said_of_each() {
    fn look(schema: &Value, at: &str, silent: &mut Vec<String>) {
        match schema {
            Value::Object(keywords) => {
                for (keyword, inner) in keywords {
                    let Some(members) = inner.as_object().filter(|_| keyword == "properties") else {
                        look(inner, at, silent);
                        continue;
                    };
                    for (name, member) in members {
                        if member.get("description").is_none() {
                            silent.push(format!("{at}: {name}"));
                        }
                        look(member, at, silent);
                    }
                }
            }
            Value::Array(all) => all.iter().for_each(|inner| look(inner, at, silent)),
            _ => {}
        }
    }
    let mut silent = Vec::new();
    for (name, schema) in made() {
        let mut schema: Value = serde_json::from_str(&schema).unwrap();
        // These repeat what is said of their members above.
        for repeating in ["if", "then", "else"] {
            schema.as_object_mut().unwrap().remove(repeating);
        }
        look(&schema, &name, &mut silent);
    }
    assert!(silent.is_empty(), "nothing is said of {silent:#?}");
}

fn fault(kind: ErrorKind, words: &str) -> (ErrorKind, Fault) {
    (kind, Fault { kind: kind.into(), message: words.to_owned() })
}

#[test]
fn the_error_of_a_document_is_the_first_of_the_kind_with_which_the_command_ends() {
    let told = [fault(ErrorKind::NotYet, "later"), fault(ErrorKind::Rejected, "bad"), fault(ErrorKind::Rejected, "x")];
    let documents = Documents::new(Some("verify"), Some(true), Form::Whole);
    documents.keep(&bundles::Verify { bundles: Vec::new() });
    let whole = Value::from(whole(&documents, Some(ErrorKind::Rejected), &told));
    let expected = json!({
        "version": 1,
        "command": "verify",
        "dry_run": true,
        "exit_code": 4,
        "error": { "kind": "rejected", "message": "bad" },
        "bundles": [],
    });
    assert_eq!(whole, expected);
}

#[test]
fn a_command_that_ends_well_has_no_error_whatever_was_told_on_the_way() {
    let told = [fault(ErrorKind::Failed, "a mistyped code")];
    let whole = Value::from(whole(&Documents::new(Some("join"), None, Form::Whole), None, &told));
    assert_eq!(whole, json!({ "version": 1, "command": "join", "exit_code": 0, "error": null }));
}

#[test]
#[should_panic(expected = "error is a member of every document")]
fn no_command_has_a_member_of_its_own_with_the_name_of_a_common_one() {
    let documents = Documents::new(Some("verify"), None, Form::Whole);
    documents.members.replace(json!({ "error": null }));
    let _ = whole(&documents, None, &[]);
}

#[test]
#[should_panic(expected = "scan has the document of [\"verify\"]")]
fn no_command_has_the_document_of_another() {
    Documents::new(Some("scan"), None, Form::Whole).keep(&bundles::Verify { bundles: Vec::new() });
}
