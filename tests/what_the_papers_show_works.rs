//! What README.md and the pages in docs/ show is typed as it stands there, and says what they say.
//!
//! Each page has a script in `tests/papers/`: what becomes of each of its blocks, in their order, and what the sentences
//! between them ask the reader to do. A block that no script names fails the test.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::papers::page::Page;
use crate::papers::scripts;
use crate::support::programs::{MAILSYNC, are_there, run};

/// The pages that have no script, and why not.
const WITHOUT: [(&str, &str); 13] = [
    ("bundle-format.md", "the_vectors_are_what_they_say.rs follows its example"),
    ("docs/configuration.md", "pages_keep_to_the_program.rs reads its examples"),
    ("docs/glossary.md", "it shows nothing"),
    ("docs/json.md", "what_programs_read_is_as_its_schema_says.rs compares its examples with what is printed"),
    ("docs/mail-programs.md", "it shows nothing"),
    ("docs/model.md", "it shows nothing"),
    ("docs/performance.md", "it shows what the bench has measured"),
    ("docs/promises.md", "what it shows is tried in a_state_put_back_is_noticed.rs"),
    ("docs/reference.md", "it shows no commands"),
    ("docs/reliability.md", "it shows how to run tests"),
    ("docs/troubleshooting.md", "it shows nothing; pages_keep_to_the_program.rs compares its messages"),
    ("docs/threat-model.md", "it shows nothing"),
    ("CHANGELOG.md", "it shows nothing"),
];
/// The pages that have one.
const WITH: [(&str, &[scripts::Step]); 6] = [
    ("README.md", scripts::README),
    ("docs/guide.md", scripts::GUIDE),
    ("docs/how-to.md", scripts::HOW_TO),
    ("docs/install.md", scripts::INSTALL),
    ("docs/lost-machine.md", scripts::LOST),
    ("docs/transports.md", scripts::TRANSPORTS),
];

/// Follows a page by its script.
#[track_caller]
fn follow(page: &str) {
    let script = WITH.iter().find(|(name, _)| *name == page).expect("it has a script").1;
    Page::read(page).play(script);
}

#[test]
fn what_the_readme_shows_works() {
    follow("README.md");
}

#[test]
fn what_the_guide_shows_works() {
    follow("docs/guide.md");
}

#[test]
fn what_the_page_of_tasks_shows_works() {
    follow("docs/how-to.md");
}

#[test]
fn what_the_page_about_ways_for_bundles_shows_works() {
    if !are_there(&["nncp-file", "rclone", "rsync"]) {
        return;
    }
    follow("docs/transports.md");
}

#[test]
fn what_the_page_about_installing_shows_works() {
    follow("docs/install.md");
}

#[test]
fn what_the_page_about_a_lost_machine_shows_works() {
    follow("docs/lost-machine.md");
}

#[test]
fn each_page_has_a_script_or_a_reason_why_not() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let names = crate::support::names(&root.join("docs"))
        .into_iter()
        .filter(|name| Path::new(name).extension().is_some_and(|end| end == "md"));
    let mut found: Vec<String> = names.map(|name| format!("docs/{name}")).collect();
    found.extend(["README.md", "bundle-format.md", "CHANGELOG.md"].map(str::to_owned));
    let mut listed: Vec<String> = WITH
        .iter()
        .map(|(name, _)| name)
        .chain(WITHOUT.iter().map(|(name, _)| name))
        .map(|&name| name.to_owned())
        .collect();
    found.sort();
    listed.sort();
    assert_eq!(found, listed);
}

/// What stands between the text's sentences is no less a promise than what stands in a block.
#[test]
fn each_command_and_option_that_a_page_names_is_there() {
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    let mut wrong = Vec::new();
    for page in WITH.map(|(name, _)| name).into_iter().chain(WITHOUT.map(|(name, _)| name)) {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
        let prose: String =
            text.lines().map(|line| if line.starts_with("    ") { "\n" } else { line }).collect::<Vec<_>>().join(" ");
        for span in
            prose.split('`').skip(1).step_by(2).filter(|span| span.starts_with("mailsync ") && !span.contains('\n'))
        {
            let mut words = span.split_whitespace().skip(1).filter(|word| !["--quiet", "-q"].contains(word)).peekable();
            let is_verb = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase());
            let Some(verb) = words.next_if(|word| is_verb(word)) else { continue };
            let mut verbs = vec![verb.to_owned()];
            if ["peer", "trash", "jobs", "key"].contains(&verb) {
                verbs.extend(words.next_if(|word| is_verb(word)).map(str::to_owned));
            }
            let help = known.entry(verbs.join(" ")).or_insert_with(|| {
                let ran = run(Command::new(MAILSYNC).args(&verbs).arg("--help"));
                if ran.code == 0 { ran.text().to_owned() } else { String::new() }
            });
            let option = |word: &str| {
                word.trim_matches(|c: char| !c.is_ascii_alphanumeric() && c != '-')
                    .split('=')
                    .next()
                    .unwrap()
                    .to_owned()
            };
            let missing =
                words.map(option).find(|word| word.starts_with("--") && verb != "uux" && !help.contains(word.as_str()));
            if help.is_empty() || missing.is_some() {
                wrong.push(format!("{page}: `{span}`"));
            }
        }
    }
    assert!(known.len() > 20, "{known:?}");
    // The words with which a token's proof begins.
    assert_eq!(wrong, ["bundle-format.md: `mailsync invitation`"]);
}

#[test]
fn a_block_that_nobody_tries_fails_and_so_does_an_output_that_is_not_true() {
    let page = Page::of("page", "Text.\n\n    desktop$ echo 12 messages from ann\n    7 messages from …\n");
    page.play(&[scripts::Step::Type("desktop$ echo 12")]);

    let untried = crate::support::caught(|| page.play(&[])).unwrap_err();
    assert!(untried.contains("no script names this block"), "{untried}");
    let wrong = Page::of("page", "    desktop$ echo 12 messages from ann\n    7 messages from bob\n");
    let untrue = crate::support::caught(|| wrong.play(&[scripts::Step::Type("desktop$ echo")])).unwrap_err();
    assert!(untrue.contains("12 messages from ann"), "{untrue}");
    let failed = Page::of("page", "    desktop$ exit 3\n");
    let ended = crate::support::caught(|| failed.play(&[scripts::Step::Type("desktop$ exit")])).unwrap_err();
    assert!(ended.contains("ended with 3"), "{ended}");
}
