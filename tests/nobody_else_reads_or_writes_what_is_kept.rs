//! What a replica keeps is for its user only: others can't read it, whatever the umask was; what others can write isn't
//! trusted; and a bundle goes nowhere that somebody else has prepared.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::machine::{Machine, complains, make_peers, pair, pass};
use crate::support::programs::{only_root_can, run};
use crate::support::{scratch, text};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Runs a command under this umask; it must succeed.
#[track_caller]
fn under(umask: &str, machine: &Machine, args: &str) {
    let line = format!("umask {umask}; exec {}", machine.line(args));
    let ran = run(Command::new("sh").args(["-c", &line]).stdin(Stdio::null()));
    assert_eq!(ran.code, 0, "{args}: {ran:?}");
}

/// Everything in a replica's home that somebody else could read, but for what is public.
fn open_to_others(machine: &Machine) -> Vec<(String, u32)> {
    let items = walkdir::WalkDir::new(&machine.home).into_iter().map(Result::unwrap);
    let open = items.filter(|item| mode(item.path()) & 0o077 != 0 && item.file_name() != "key.pub");
    open.map(|item| (item.path().display().to_string(), mode(item.path()))).collect()
}

#[test]
fn whatever_the_umask_is_nobody_else_can_read_what_is_kept() {
    for umask in ["000", "002", "022", "077", "277"] {
        let dir = scratch();
        let (desktop, laptop) = (Machine::new(dir.path(), "desktop"), Machine::new(dir.path(), "laptop"));
        for machine in [&desktop, &laptop] {
            under(umask, machine, &format!("init {} --name {}", text(&machine.mail), machine.name));
        }
        make_peers(&desktop, &laptop);
        desktop.deliver("mail");
        laptop.allow("cat", &["/bin/cat"], &[], "desktop");
        let bundle = dir.path().join("bundle");
        under(umask, &desktop, "uux laptop cat");
        under(umask, &desktop, &format!("export --to laptop -o {}", text(&bundle)));
        under(umask, &laptop, &format!("import {}", text(&bundle)));
        under(umask, &laptop, &format!("invite third -o {}", text(&dir.path().join("invitation"))));
        for machine in [&desktop, &laptop] {
            assert_eq!(open_to_others(machine), [], "under {umask}");
        }
        for file in [&bundle, &dir.path().join("invitation")] {
            assert_eq!(mode(file) & 0o077, 0, "{} under {umask}", file.display());
        }
        assert_eq!(laptop.mailbox(), desktop.mailbox());
        assert_eq!(laptop.ok(&["jobs", "list", "--json"]).json()["jobs"][0]["state"], "done");
    }
}

#[test]
fn what_others_could_read_is_closed_to_them_and_that_is_told() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("mail");
    pass(&desktop, &laptop);
    let names = ["config.toml", "state.db", "lock"];
    set_mode(&laptop.home, 0o755);
    set_mode(&laptop.home.join("trash"), 0o755);
    for name in names {
        set_mode(&laptop.home.join(name), 0o644);
    }
    // Who only reads leaves it as it is.
    laptop.ok(&["status"]);
    assert_eq!(open_to_others(&laptop).len(), 5);
    let ran = laptop.ok(&["scan"]);
    for name in names.iter().chain(&["trash"]) {
        assert!(
            ran.stderr.contains(&format!("note: {} was open to other users", laptop.home.join(name).display())),
            "{ran:?}"
        );
    }
    assert_eq!(open_to_others(&laptop), []);
    let ran = laptop.ok(&["scan"]);
    assert!(!ran.stderr.contains("open to other users"), "{ran:?}");
    // A directory that was there before the replica is for it alone from now on.
    let other = Machine::new(dir.path(), "other");
    fs::create_dir(&other.home).unwrap();
    set_mode(&other.home, 0o777);
    other.init();
    assert_eq!(open_to_others(&other), []);
}

#[test]
fn a_state_that_was_read_only_for_a_moment_can_be_written_again() {
    std::thread::scope(|scope| {
        let as_user = scope.spawn(|| {
            if !crate::support::programs::become_an_ordinary_user() {
                return;
            }
            let dir = scratch();
            let laptop = Machine::replica(dir.path(), "laptop");
            laptop.deliver("mail");
            let [wal, shm] = ["state.db-wal", "state.db-shm"].map(|name| laptop.home.join(name));
            for (args, told) in [(&["status"][..], false), (&["scan"], true)] {
                // SQLite makes them with the mode of the database, and an interrupted command leaves them.
                for file in [&wal, &shm] {
                    if !file.exists() {
                        fs::write(file, "").unwrap();
                    }
                    set_mode(file, 0o400);
                }
                let ran = laptop.ok(args);
                for file in [&wal, &shm] {
                    assert!(!file.exists() || mode(file) == 0o600, "{}", file.display());
                    let note = format!("{} was closed to its owner (mode 0400)", file.display());
                    assert!(!told || ran.stderr.contains(&note), "{ran:?}");
                }
            }
            assert_eq!(laptop.ok(&["status", "--json"]).json()["messages"], 1);
        });
        as_user.join().unwrap();
    });
}

#[test]
fn a_directory_in_which_others_look_for_mail_stays_open() {
    let dir = scratch();
    let mail = dir.path().join("home/mail");
    let machine = Machine { name: String::from("server"), mail, home: dir.path().join("home") };
    fs::create_dir_all(&machine.mail).unwrap();
    set_mode(&machine.home, 0o755);
    machine.init();
    machine.ok(&["scan"]);
    assert_eq!(mode(&machine.home), 0o755);
    for name in ["config.toml", "key", "state.db", "lock"] {
        assert_eq!(mode(&machine.home.join(name)), 0o600, "{name}");
    }
}

#[test]
fn what_others_can_write_is_not_trusted() {
    let dir = scratch();
    let laptop = Machine::replica(dir.path(), "laptop");
    let paths = ["config.toml", "key", "state.db", ""].map(|name| laptop.home.join(name));
    for (path, open) in paths.iter().flat_map(|path| [(path, 0o020), (path, 0o002)]) {
        let before = mode(path);
        set_mode(path, before | open);
        for args in
            [&["status"][..], &["scan"], &["import"], &["export"], &["uux", "desktop", "cat"], &["peer", "list"]]
        {
            let ran = laptop.run(args);
            let remedy = format!("chmod go-w {}", path.display().to_string().trim_end_matches('/'));
            complains(&ran, 6, &["other users may write it", &remedy]);
        }
        assert_eq!(mode(path), before | open, "it is left for a person to look at");
        set_mode(path, before);
        laptop.ok(&["status"]);
    }
}

#[test]
fn what_belongs_to_somebody_else_is_not_trusted() {
    if !only_root_can() {
        return;
    }
    let dir = scratch();
    set_mode(dir.path(), 0o755);
    let laptop = Machine::replica(dir.path(), "laptop");
    // Another user than root works there from now on.
    let nobody = 65_534;
    for item in walkdir::WalkDir::new(dir.path()).into_iter().map(Result::unwrap) {
        chown(item.path(), Some(nobody), Some(nobody)).unwrap();
    }
    std::thread::scope(|scope| {
        let as_user = scope.spawn(|| {
            if !crate::support::programs::become_an_ordinary_user() {
                return;
            }
            laptop.ok(&["status"]);
        });
        as_user.join().unwrap();
    });
    for name in ["config.toml", "key", ""] {
        chown(laptop.home.join(name), Some(4711), None).unwrap();
        set_mode(&laptop.home.join(name), if name.is_empty() { 0o755 } else { 0o644 });
        std::thread::scope(|scope| {
            let as_user = scope.spawn(|| {
                if crate::support::programs::become_an_ordinary_user() {
                    complains(&laptop.run(&["status"]), 6, &["belongs to another user", "4711", "chown"]);
                }
            });
            as_user.join().unwrap();
        });
        chown(laptop.home.join(name), Some(nobody), None).unwrap();
    }
}

#[test]
fn a_bundle_replaces_nothing_but_a_bundle_of_mailsync() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("mail");
    desktop.ok(&["scan"]);
    let file = dir.path().join("file.zst");
    let compressed = zstd::encode_all(&b"my own files"[..], 3).unwrap();
    for contents in [&compressed[..], b"text", &compressed[..8]] {
        fs::write(&file, contents).unwrap();
        for args in
            [&["export", "--to", "laptop", "-o", text(&file)][..], &["invite", "third", "--plain", "-o", text(&file)]]
        {
            desktop.refuses(args, b"", 6, &["no bundle", text(&file)]);
        }
        assert_eq!(fs::read(&file).unwrap(), contents);
    }
    // What holds nothing is replaced, and a bundle isn't, nor what is left of one.
    desktop.put("INBOX", "cur/large:2,", "x".repeat(100_000), 1);
    fs::write(&file, b"").unwrap();
    desktop.ok(&["export", "--plain", "--to", "laptop", "-o", text(&file)]);
    let whole = fs::read(&file).unwrap();
    let export = ["export", "--to", "laptop", "-o", text(&file)];
    for contents in [&whole[..], &whole[..whole.len() - 1]] {
        fs::write(&file, contents).unwrap();
        desktop.refuses(&export, b"", 6, &["a bundle that this replica has written, number 1", "--force"]);
        assert_eq!(fs::read(&file).unwrap(), contents);
    }
    desktop.ok(&[&export[..], &["--force"]].concat());
    laptop.ok(&["import", text(&file)]);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
}

#[test]
fn a_bundle_goes_nowhere_that_somebody_else_has_prepared() {
    if !only_root_can() {
        return;
    }
    let dir = scratch();
    let (desktop, _laptop) = pair(dir.path());
    desktop.deliver("mail");
    desktop.ok(&["scan"]);
    let (precious, shared) = (dir.path().join("precious"), dir.path().join("shared"));
    fs::create_dir(&shared).unwrap();
    set_mode(&shared, 0o1777);
    desktop.ok(&["export", "--to", "laptop", "-o", text(&precious)]);
    let bundle = fs::read(&precious).unwrap();
    let (link, pipe) = (shared.join("link.zst"), shared.join("pipe.zst"));
    symlink(&precious, &link).unwrap();
    assert_eq!(run(Command::new("mkfifo").arg(&pipe)).code, 0);
    for path in [&link, &pipe] {
        lchown(path, Some(4711), Some(4711)).unwrap();
        let args = ["export", "--to", "laptop", "-o", text(path)];
        desktop.refuses(&args, b"", 6, &["of another user", "4711", text(path)]);
    }
    assert_eq!(fs::read(&precious).unwrap(), bundle);
    // One's own link is followed.
    lchown(&link, Some(0), Some(0)).unwrap();
    desktop.ok(&["export", "--to", "laptop", "--force", "-o", text(&link)]);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_ne!(fs::read(&precious).unwrap(), bundle);
}
