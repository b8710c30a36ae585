//! The schemas of documents: what a test sees is compared with them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::Value;

/// What checks the document of each command, by its words; and of none, if nobody can say which was meant.
static ALL: LazyLock<BTreeMap<Option<String>, Validator>> = LazyLock::new(|| {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema");
    let read = |file: fs::DirEntry| {
        let mut schema: Value = serde_json::from_slice(&fs::read(file.path()).unwrap()).unwrap();
        let command = schema["properties"]["command"]["const"].as_str().map(str::to_owned);
        close(&mut schema);
        let validator = jsonschema::options().should_validate_formats(true).build(&schema);
        (command, validator.unwrap_or_else(|error| panic!("{}: {error}", file.path().display())))
    };
    fs::read_dir(dir).unwrap().map(|file| read(file.unwrap())).collect()
});

/// Lets no object have a member that isn't described. Readers are told that there may be more.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(keywords) => {
            keywords.values_mut().for_each(close);
            // What stands behind `if` and `then` describes a few members only, and has no type.
            if keywords.get("type").is_some_and(|kind| kind == "object") && keywords.contains_key("properties") {
                keywords.insert(String::from("additionalProperties"), false.into());
            }
        }
        Value::Array(all) => all.iter_mut().for_each(close),
        _ => {}
    }
}

/// Compares a document with the schema of its command.
///
/// # Errors
/// What is wrong with it, and where.
pub fn check(document: &Value) -> Result<(), String> {
    let command = document["command"].as_str().map(str::to_owned);
    let validator = ALL.get(&command).ok_or_else(|| format!("there is no schema for {command:?}"))?;
    let wrong: Vec<String> =
        validator.iter_errors(document).map(|error| format!("{}: {error}", error.instance_path())).collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}
