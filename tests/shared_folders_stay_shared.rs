//! What mailsync makes below a mail root is like the folder in which it lies: those who share the folder can use it,
//! and nobody else; and what root makes for somebody is that one's.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::machine::{Machine, make_peers, message, pair, pass};
use crate::support::programs::{self, MAILSYNC, Ran, run, run_with};
use crate::support::{make_folder, scratch, text};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Everything below a directory, with it.
fn below(dir: &Path) -> Vec<PathBuf> {
    walkdir::WalkDir::new(dir).into_iter().map(|item| item.unwrap().into_path()).collect()
}

/// Whose everything below a directory is, and its mode.
fn rights(dir: &Path) -> Vec<(PathBuf, u32, u32, u32)> {
    let look = |path: PathBuf| {
        let meta = fs::metadata(&path).unwrap();
        (path, meta.uid(), meta.gid(), meta.mode() & 0o7777)
    };
    below(dir).into_iter().map(look).collect()
}

/// Imports under this umask, in a shell.
fn import_under(umask: &str, from: &Machine, to: &Machine, command: &str) -> Ran {
    let bundle = from.home.join("bundle");
    let exported = from.ok(&["export", "--to", &to.name]);
    fs::write(&bundle, &exported.stdout).unwrap();
    let line = format!("umask {umask}; exec {}", to.line(&format!("{command} {}", text(&bundle))));
    let ran = run(Command::new("sh").args(["-c", &line]));
    assert_eq!(ran.code, 0, "{ran:?}");
    ran
}

/// Every file and directory below a folder is like the folder.
#[track_caller]
fn all_are_like(machine: &Machine, dir: &Path, dir_mode: u32, file_mode: u32) {
    for path in below(dir) {
        let wanted = if path.is_dir() { dir_mode } else { file_mode };
        assert_eq!(mode(&path), wanted, "{} at {}: {:04o}", path.display(), machine.name, mode(&path));
    }
}

#[test]
fn what_an_import_makes_has_the_modes_of_the_folder_whatever_the_umask_is() {
    for (umask, root, dirs, files) in [
        ("000", 0o700, 0o700, 0o600),
        ("077", 0o755, 0o755, 0o644),
        ("022", 0o770, 0o770, 0o660),
        ("077", 0o2770, 0o2770, 0o660),
        ("000", 0o2750, 0o2750, 0o640),
        ("002", 0o1777, 0o777, 0o666),
    ] {
        for layout in ["maildir++", "fs"] {
            let dir = scratch();
            let (desktop, laptop) = (Machine::replica(dir.path(), "desktop"), Machine::new(dir.path(), "laptop"));
            set_mode(&laptop.mail, root);
            laptop.init_as(layout);
            make_peers(&desktop, &laptop);
            // The same message in two folders is copied from the first to the second, and so is a large one, otherwise.
            let large = "x\n".repeat(1 << 20);
            for (n, folder) in ["INBOX", "Team", "Team/2020/Q1", "Team/2020"].iter().enumerate() {
                desktop.put(folder, &format!("cur/{n}.same:2,S"), message("same"), 1_500_000_000);
                desktop.put(folder, &format!("new/{n}.own"), message(folder), 1_500_000_000);
                desktop.put(folder, &format!("cur/{n}.large:2,"), &large, 1_500_000_000);
            }
            make_folder(&desktop.dir("Empty"));
            import_under(umask, &desktop, &laptop, "import");
            assert_eq!(laptop.mailbox(), desktop.mailbox());
            for path in below(&laptop.mail).into_iter().filter(|path| *path != laptop.mail) {
                let wanted = if path.is_dir() { dirs } else { files };
                let when = format!("{layout}, {root:o}, umask {umask}");
                assert_eq!(mode(&path), wanted, "{}: {:04o}; {when}", path.display(), mode(&path));
            }
            // Nothing of it is left in `tmp/`, and what mailsync keeps for itself stays closed.
            assert_eq!(crate::support::leftovers(&laptop.mail), Vec::<PathBuf>::new());
            assert!(
                below(&laptop.home).iter().all(|path| path.ends_with("key.pub") || mode(path).trailing_zeros() >= 6)
            );
        }
    }
}

#[test]
fn a_new_folder_is_like_the_one_that_it_is_below_and_not_like_the_mail_root() {
    for layout in ["maildir++", "fs"] {
        let dir = scratch();
        let (desktop, laptop) = (Machine::replica(dir.path(), "desktop"), Machine::new(dir.path(), "laptop"));
        set_mode(&laptop.mail, 0o700);
        laptop.init_as(layout);
        make_peers(&desktop, &laptop);
        make_folder(&laptop.dir("Team"));
        set_mode(&laptop.dir("Team"), 0o775);
        desktop.put("Team", "cur/1.h:2,", message("one"), 1_500_000_000);
        desktop.put("Team/2020/Q1", "cur/2.h:2,", message("two"), 1_500_000_000);
        desktop.put("Own/2020", "cur/3.h:2,", message("three"), 1_500_000_000);
        pass(&desktop, &laptop);
        all_are_like(&laptop, &laptop.dir("Team/2020/Q1"), 0o775, 0o664);
        all_are_like(&laptop, &laptop.dir("Own/2020"), 0o700, 0o600);
        // A message's file is like its folder, whatever its `cur/` is like.
        let files = below(&laptop.dir("Team").join("cur"));
        assert_eq!((files.len(), mode(&files[1])), (2, 0o664));
    }
}

#[test]
fn what_a_join_or_a_restore_makes_is_like_the_mail_root() {
    let dir = scratch();
    let desktop = Machine::replica(dir.path(), "desktop");
    desktop.deliver("one");
    desktop.put("Team/2020", "new/2.h", message("two"), 1_500_000_000);
    let (shared, own) = (Machine::new(dir.path(), "shared"), Machine::new(dir.path(), "own"));
    set_mode(&shared.mail, 0o2770);
    fs::remove_dir(&own.mail).unwrap();
    for (machine, dirs, files) in [(&shared, 0o2770, 0o660), (&own, 0o700, 0o600)] {
        let invitation = desktop.ok(&["invite", &machine.name]).stdout;
        let line = format!("umask 022; exec {}", machine.line(&format!("join {} -", text(&machine.mail))));
        let ran = run_with(Command::new("sh").args(["-c", &line]), &invitation);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(machine.mailbox(), desktop.mailbox());
        all_are_like(machine, &machine.mail, dirs, files);
    }
    // What is restored from the trash is as others may use it again.
    pass(&shared, &desktop);
    fs::remove_file(&desktop.files()[0].2).unwrap();
    pass(&desktop, &shared);
    let number = shared.ok(&["trash", "list", "--json"]).json()["trash"][0]["id"].to_string();
    for item in fs::read_dir(shared.home.join("trash")).unwrap() {
        set_mode(&item.unwrap().path(), 0o600);
    }
    shared.ok(&["trash", "restore", &number]);
    assert_eq!(shared.mailbox().len(), 2);
    all_are_like(&shared, &shared.mail, 0o2770, 0o660);
}

#[test]
fn a_message_that_moves_to_a_shared_folder_can_be_read_there_and_one_among_equals_is_only_renamed() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    set_mode(&laptop.mail, 0o700);
    for name in ["one", "two", "three"] {
        desktop.deliver(name);
    }
    make_folder(&desktop.dir("Own"));
    make_folder(&desktop.dir("Team"));
    pass(&desktop, &laptop);
    set_mode(&laptop.dir("Team"), 0o770);
    let file = |machine: &Machine, subject: &str| -> PathBuf {
        let files = machine.files().into_iter();
        let mut files = files.filter(|(_, _, path)| fs::read_to_string(path).unwrap() == message(subject));
        files.next().unwrap().2
    };
    // Delivered by a program that makes its files as it likes.
    set_mode(&file(&laptop, "three"), 0o640);
    let inodes = ["one", "two", "three"].map(|name| fs::metadata(file(&laptop, name)).unwrap().ino());
    for (name, folder) in [("one", "Own"), ("two", "Team"), ("three", "Own")] {
        let from = file(&desktop, name);
        fs::rename(&from, desktop.dir(folder).join("cur").join(from.file_name().unwrap())).unwrap();
    }
    let report = pass(&desktop, &laptop).stderr;
    assert!(report.contains("0 new, 3 moved"), "{report}");
    assert_eq!(laptop.mailbox(), desktop.mailbox());
    let now = ["one", "two", "three"].map(|name| file(&laptop, name));
    let same = [0, 1, 2].map(|n| fs::metadata(&now[n]).unwrap().ino() == inodes[n]);
    assert_eq!(same, [true, false, true], "only what others must be able to read is written anew");
    assert_eq!(now.each_ref().map(|file| mode(file)), [0o600, 0o660, 0o640]);
    laptop.is_at_rest("after the moves");
}

/// A user of a machine where several work, by number.
#[derive(Clone, Copy)]
struct User {
    id: u32,
    groups: &'static str,
}

const GROUP: u32 = 60_010;
const ANN: User = User { id: 60_001, groups: "60001,60010" };
const BEN: User = User { id: 60_002, groups: "60002,60010" };
const EVE: User = User { id: 60_003, groups: "60003" };

impl User {
    fn run(self, program: &str, args: &[&str], input: &[u8]) -> Ran {
        let mut command = Command::new("setpriv");
        command.arg(format!("--reuid={}", self.id)).arg(format!("--regid={}", self.id));
        command.arg(format!("--groups={}", self.groups)).arg("sh").arg("-c").arg("umask 077; exec \"$0\" \"$@\"");
        run_with(command.arg(program).args(args).current_dir("/"), input)
    }

    #[track_caller]
    fn ok(self, program: &str, args: &[&str], input: &[u8]) -> Ran {
        let ran = self.run(program, args, input);
        assert_eq!(ran.code, 0, "{} {program} {args:?}: {ran:?}", self.id);
        ran
    }

    #[track_caller]
    fn mailsync(self, machine: &Machine, args: &[&str], input: &[u8]) -> Ran {
        self.ok(MAILSYNC, &[&["--home", text(&machine.home)], args].concat(), input)
    }
}

/// A machine of this user's, whose mail the group shares; and one of root's that sends to it.
fn shared(dir: &Path, user: User) -> Option<(Machine, Machine)> {
    if !programs::only_root_can() || !programs::are_there(&["setpriv"]) {
        return None;
    }
    set_mode(dir, 0o755);
    let (desktop, team) = (Machine::replica(dir, "desktop"), Machine::new(dir, "team"));
    if EVE.run(MAILSYNC, &["--version"], b"").code != 0 {
        programs::leave_out(&format!("an ordinary user can't run {MAILSYNC}"));
        return None;
    }
    chown(&team.mail, Some(user.id), Some(GROUP)).unwrap();
    set_mode(&team.mail, 0o2770);
    fs::create_dir(&team.home).unwrap();
    chown(&team.home, Some(user.id), Some(user.id)).unwrap();
    user.mailsync(&team, &["init", text(&team.mail), "--name", "team"], b"");
    desktop.ok(&["peer", "add", "team", "--key", &team.key()]);
    user.mailsync(&team, &["peer", "add", "desktop", "--key", &desktop.key()], b"");
    Some((desktop, team))
}

#[test]
fn two_users_share_a_mailbox_and_each_can_do_everything_with_what_the_other_has_made() {
    let dir = scratch();
    let Some((desktop, team)) = shared(dir.path(), ANN) else { return };
    desktop.deliver("one");
    desktop.put("Team/2020", "new/2.h", message("two"), 1_500_000_000);
    let bundle = desktop.ok(&["export", "--to", "team"]).stdout;
    let ran = ANN.mailsync(&team, &["import"], &bundle);
    assert!(!ran.stderr.contains("note"), "{}", ran.stderr);
    for (path, owner, group, mode) in rights(&team.mail) {
        let wanted = if path.is_dir() { 0o2770 } else { 0o660 };
        assert_eq!((owner, group, mode), (ANN.id, GROUP, wanted), "{}", path.display());
    }

    // The other user reads, flags, moves and delivers; a stranger sees nothing.
    let files: Vec<PathBuf> = team.files().into_iter().map(|(_, _, path)| path).collect();
    for file in &files {
        BEN.ok("cat", &[text(file)], b"");
        assert_ne!(EVE.run("cat", &[text(file)], b"").code, 0);
    }
    let folder = team.dir("Team/2020");
    let script = format!(
        "cd {} && mv new/*.team* cur/two:2,F && umask 007 && printf 'Subject: three\\n\\n' > new/3.ben",
        folder.display()
    );
    BEN.ok("sh", &["-c", &script], b"");
    assert_eq!(fs::metadata(folder.join("new/3.ben")).unwrap().uid(), BEN.id);
    let answer = ANN.mailsync(&team, &["export", "--to", "desktop"], b"").stdout;
    let ran = desktop.run_with(&["import"], &answer);
    assert!(ran.stderr.contains("1 new, 0 moved, 1 flagged, 0 removed"), "{ran:?}");
    assert_eq!(team.mailbox(), desktop.mailbox());

    // What the other user has made is moved and removed like everything else.
    for (_, mail, path) in desktop.files() {
        if mail.folder == "Team/2020" && mail.recent {
            fs::rename(&path, desktop.dir("INBOX").join("cur/three:2,S")).unwrap();
        } else if mail.folder == "Team/2020" {
            fs::remove_file(&path).unwrap();
        }
    }
    let bundle = desktop.ok(&["export", "--to", "team"]).stdout;
    let ran = ANN.mailsync(&team, &["import"], &bundle);
    assert!(ran.stderr.contains("0 new, 1 moved, 1 flagged, 1 removed"), "{ran:?}");
    assert_eq!(team.mailbox(), desktop.mailbox());
    // And back from the trash, for both.
    let listed = ANN.mailsync(&team, &["trash", "list", "--json"], b"").json();
    let number = listed["trash"][0]["id"].to_string();
    ANN.mailsync(&team, &["trash", "restore", &number], b"");
    for file in team.files() {
        BEN.ok("cat", &[text(&file.2)], b"");
    }
}

#[test]
fn who_is_not_in_the_group_is_told_that_the_others_cannot_read_what_came_and_it_comes_all_the_same() {
    let dir = scratch();
    let Some((desktop, team)) = shared(dir.path(), EVE) else { return };
    // Without the bit that hands the group on by itself.
    for path in below(&team.mail).into_iter().filter(|path| path.is_dir()) {
        chown(&path, None, Some(GROUP)).unwrap();
        set_mode(&path, 0o770);
    }
    desktop.deliver("one");
    desktop.put("Team", "new/2.h", message("two"), 1_500_000_000);
    let bundle = desktop.ok(&["export", "--to", "team"]).stdout;
    let ran = EVE.mailsync(&team, &["import"], &bundle);
    let notes: Vec<&str> = ran.stderr.lines().filter(|line| line.contains("note")).collect();
    assert_eq!(notes.len(), 1, "{}", ran.stderr);
    for words in ["could not be given", "the group 60010", "chgrp"] {
        assert!(notes[0].contains(words), "{}", notes[0]);
    }
    assert_eq!(team.mailbox(), desktop.mailbox());
    for (_, _, path) in team.files() {
        let meta = fs::metadata(&path).unwrap();
        // Another group doesn't get what was meant for this one.
        assert_eq!((meta.uid(), meta.gid(), mode(&path)), (EVE.id, EVE.id, 0o600), "{}", path.display());
    }
}

#[test]
fn what_root_makes_in_a_users_mail_is_that_users() {
    if !programs::only_root_can() {
        return;
    }
    for layout in ["maildir++", "fs"] {
        let dir = scratch();
        let (desktop, laptop) = (Machine::replica(dir.path(), "desktop"), Machine::new(dir.path(), "laptop"));
        chown(&laptop.mail, Some(12_345), Some(12_346)).unwrap();
        set_mode(&laptop.mail, 0o700);
        laptop.init_as(layout);
        make_peers(&desktop, &laptop);
        for folder in ["INBOX", "Team/2020", "Own"] {
            desktop.put(folder, "cur/1.h:2,", message("same"), 1_500_000_000);
            desktop.put(folder, "new/2.h", message(folder), 1_500_000_000);
        }
        pass(&desktop, &laptop);
        let of_user = |when: &str| {
            for (path, owner, group, _) in rights(&laptop.mail) {
                assert_eq!((owner, group), (12_345, 12_346), "{}, {when}", path.display());
            }
        };
        of_user("an import");
        fs::remove_file(desktop.dir("Own").join("new/2.h")).unwrap();
        fs::rename(desktop.dir("Own").join("cur/1.h:2,"), desktop.dir("Team/2020").join("cur/2.h:2,F")).unwrap();
        pass(&desktop, &laptop);
        of_user("a move");
        let number = laptop.ok(&["trash", "list", "--json"]).json()["trash"][0]["id"].to_string();
        laptop.ok(&["trash", "restore", &number]);
        of_user("a restore");
        // What the replica keeps for itself stays root's.
        assert!(rights(&laptop.home).iter().all(|(_, owner, _, _)| *owner == 0));
        // And the user's programs can work with it.
        let mut flag = Command::new("sh");
        flag.args(["-c", "for file in cur/*; do mv \"$file\" \"$file\"F; done"]).current_dir(laptop.dir("INBOX"));
        set_mode(dir.path(), 0o755);
        assert_eq!(run(flag.uid(12_345).gid(12_346)).code, 0);
    }
}

#[test]
fn an_interrupted_folder_gets_its_rights_when_the_import_is_repeated() {
    let dir = scratch();
    let (desktop, laptop) = (Machine::replica(dir.path(), "desktop"), Machine::new(dir.path(), "laptop"));
    set_mode(&laptop.mail, 0o775);
    laptop.init();
    make_peers(&desktop, &laptop);
    desktop.put("Team", "cur/1.h:2,", message("one"), 1_500_000_000);
    // As it is when the import was killed just after it made them.
    let made = laptop.mail.join(".Team/tmp");
    fs::create_dir_all(&made).unwrap();
    set_mode(&made, 0o700);
    set_mode(made.parent().unwrap(), 0o700);
    pass(&desktop, &laptop);
    all_are_like(&laptop, &laptop.dir("Team"), 0o775, 0o664);
}
