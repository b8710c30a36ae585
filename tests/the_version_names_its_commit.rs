//! `build.rs` finds the commit by files alone, and names only files that are there: cargo would build everything anew
//! again and again for one that isn't.

#[allow(dead_code)]
#[path = "../build.rs"]
mod build;

use std::fs;
use std::path::Path;

use crate::support::scratch;
use build::commit_of;

const COMMIT: &str = "003c036abcd1003c036abcd1003c036abcd10000";

/// What it is about, the files, whether the commit is found, how many files tell of a change.
type Case<'c> = (&'c str, Vec<(&'c str, &'c str)>, bool, usize);

fn put(root: &Path, name: &str, text: &str) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn the_commit_is_found_wherever_git_or_cargo_keep_it() {
    let commit = format!("{COMMIT}\n");
    let packed = format!(
        "# pack-refs with: peeled\n1111111111111111111111111111111111111111 refs/heads/x\n{COMMIT} refs/heads/main\n"
    );
    let info = format!("{{\n  \"git\": {{\n    \"sha1\": \"{COMMIT}\"\n  }}\n}}");
    let worktree = ("tree/.git", "gitdir: ../main/.git/worktrees/tree\n");
    let (head, branch) = ("tree/.git/HEAD", "ref: refs/heads/main\n");
    let beside = "main/.git/worktrees/tree";
    let (beside_head, common) = (format!("{beside}/HEAD"), format!("{beside}/commondir"));
    let cases: Vec<Case<'_>> = vec![
        ("a branch", vec![(head, branch), ("tree/.git/refs/heads/main", &commit)], true, 2),
        ("a packed branch", vec![(head, branch), ("tree/.git/packed-refs", &packed)], true, 2),
        ("no branch", vec![(head, &commit)], true, 1),
        (
            "a working tree beside the main one",
            vec![worktree, (&beside_head, branch), (&common, "../..\n"), ("main/.git/refs/heads/main", &commit)],
            true,
            2,
        ),
        ("a packaged crate", vec![("tree/.cargo_vcs_info.json", &info)], true, 1),
        ("a tarball", vec![("tree/Cargo.toml", "")], false, 0),
        ("a repository without a commit", vec![(head, branch)], false, 1),
        ("a working tree whose repository is gone", vec![worktree], false, 0),
    ];
    for (about, there, is_found, told) in cases {
        let dir = scratch();
        for (name, text) in there {
            put(dir.path(), name, text);
        }
        let (found, read) = commit_of(&dir.path().join("tree"));
        assert_eq!(found.as_deref(), is_found.then_some(COMMIT), "{about}");
        assert_eq!(read.len(), told, "{about}: {read:?}");
        assert!(read.iter().all(|file| file.is_file()), "{about}: {read:?}");
    }
}
