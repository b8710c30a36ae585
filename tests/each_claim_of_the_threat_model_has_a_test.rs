//! Each "can't" in `docs/threat-model.md` names tests, and all of them are there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The names of all tests, from the sources.
fn tests() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut names = BTreeSet::new();
    for file in ["src", "tests"].iter().flat_map(|dir| walkdir::WalkDir::new(root.join(dir))).map(Result::unwrap) {
        if file.path().extension() != Some("rs".as_ref()) {
            continue;
        }
        let source = fs::read_to_string(file.path()).unwrap();
        let mut lines = source.lines().map(str::trim);
        while let Some(line) = lines.next() {
            if line != "#[test]" {
                continue;
            }
            // Further attributes stand between.
            let name = lines.by_ref().find_map(|line| line.strip_prefix("fn ")?.split('(').next());
            names.insert(name.unwrap().to_owned());
        }
    }
    names
}

#[test]
fn the_threat_model_names_tests_that_there_are() {
    let document = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/threat-model.md")).unwrap();
    let tests = tests();
    assert!(tests.len() > 500, "{}", tests.len());
    let (mut claims, mut sections) = (0, 0);
    for (number, line) in document.lines().enumerate() {
        sections += usize::from(line == "| can't | shown by |");
        let Some((claim, names)) = line.strip_prefix("| ").and_then(|line| line.split_once(" | ")) else { continue };
        if claim == "can't" {
            continue;
        }
        claims += 1;
        let names: Vec<&str> = names.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "line {}: who shows that somebody can't {claim}?", number + 1);
        for name in names {
            assert!(tests.contains(name), "line {}: there is no test {name}", number + 1);
        }
    }
    let actors = document.lines().filter(|line| line.starts_with("## ")).count();
    assert_eq!(actors, sections, "each actor has a table");
    assert!(claims > 40, "{claims}");
}
