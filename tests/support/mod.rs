//! What the tests share. There are two ways to drive mailsync: a [`machine::Machine`] runs the binary, as a person
//! does; a [`party::Party`] calls the library, on a disk that can be watched and hindered.

pub mod agent;
pub mod bundles;
pub mod campaign;
pub mod corpus;
pub mod disk;
pub mod folding;
pub mod forge;
pub mod machine;
pub mod party;
pub mod programs;
pub mod properties;
pub mod said;
pub mod scene;
pub mod schemas;
pub mod terminal;
pub mod watching;

use std::any::Any;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A directory for one test, in memory where there is a place for that. It vanishes when dropped.
pub fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    dir.expect("a temporary directory can be made")
}

/// Times come to rest, so that listings can be believed.
pub fn rest() {
    std::thread::sleep(Duration::from_millis(15));
}

/// A path as it is given on a command line.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("the tests' paths are text")
}

/// The names in a directory, sorted.
pub fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|item| item.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The paths of what is in a directory, sorted.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|item| item.unwrap().path()).collect();
    files.sort();
    files
}

/// Makes the directories of a folder, if they aren't there.
pub fn make_folder(dir: &Path) {
    for sub in ["tmp", "new", "cur"] {
        fs::create_dir_all(dir.join(sub)).unwrap();
    }
}

/// What lies in any `tmp/` of a mail root.
pub fn leftovers(mail_root: &Path) -> Vec<PathBuf> {
    let items = walkdir::WalkDir::new(mail_root).into_iter().map(Result::unwrap);
    items.filter(|item| item.path().parent().unwrap().ends_with("tmp")).map(walkdir::DirEntry::into_path).collect()
}

/// Copies a file, or a directory with everything in it, to where there is nothing yet, with all times.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    let ran = programs::run(Command::new("cp").arg("-a").args([from, to]));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
}

/// Does something that may panic: then that is the error, as text.
pub fn caught<T>(action: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(action)).map_err(|panic: Box<dyn Any + Send>| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
    })
}

/// Prints a table, and checks that `docs/reliability.md` has it.
#[track_caller]
pub fn reliability_says<const COLUMNS: usize>(head: &[&str; COLUMNS], rows: &[[String; COLUMNS]]) {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let head = head.map(str::to_owned);
    let rule = "|---".repeat(COLUMNS) + "|\n";
    let table: String = [line(&head), rule].into_iter().chain(rows.iter().map(|row| line(row))).collect();
    println!("{table}");
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reliability.md");
    assert!(
        fs::read_to_string(&document).unwrap().contains(&table),
        "docs/reliability.md should have this table:\n{table}"
    );
}
