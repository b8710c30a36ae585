//! The binary on mounted file systems that can't do what others can, or take names for one another. Where none can be
//! mounted, a line says so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::machine::{Machine, Mail, exchange, make_peers, message};
use crate::support::programs::{only_root_can, path_of, run};
use crate::support::{leftovers, names, scratch, text};

/// A line says that this is left out. It depends on the kernel, so nothing can be demanded.
fn left_out(why: &str) {
    println!("{}: left out, since {why}", std::thread::current().name().unwrap_or("a test"));
}

/// A file system of the kernel's, or a well-known one in FUSE, that is mounted as long as this lives.
struct Volume(PathBuf);

/// What makes a file system in `$IMAGE`, and mounts it at `$AT`, with root's rights.
const VOLUMES: [(&str, &str); 5] = [
    ("ext4 with small inodes", "mkfs.ext4 -q -I 128 $IMAGE && mount -o loop $IMAGE $AT"),
    (
        "ext4 that folds case",
        "mkfs.ext4 -q -O casefold $IMAGE && mount -o loop $IMAGE $AT && mkdir $AT/odd-mail && chattr +F $AT/odd-mail",
    ),
    ("FAT", "mkfs.vfat $IMAGE && mount -o loop,iocharset=utf8 $IMAGE $AT"),
    // The device is let go as soon as it isn't mounted any more.
    (
        "exFAT",
        "mkfs.exfat $IMAGE && DEVICE=$(losetup -f --show $IMAGE) && mount.exfat-fuse $DEVICE $AT; losetup -d $DEVICE; \
         mountpoint $AT",
    ),
    ("NTFS", "mkntfs -q -F $IMAGE && ntfs-3g -o windows_names $IMAGE $AT"),
];

impl Volume {
    fn new(dir: &Path, what: &str, make: &str) -> Option<Self> {
        let (image, at) = (dir.join("image"), dir.join("mounted"));
        fs::create_dir(&at).unwrap();
        fs::File::create(&image).unwrap().set_len(24 << 20).unwrap();
        let ran = run(Command::new("sh").args(["-c", make]).env("IMAGE", &image).env("AT", &at));
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        if !mounts.contains(text(&at)) {
            left_out(&format!(
                "{what} can't be mounted: {}",
                ran.stderr.lines().rfind(|line| !line.starts_with(' ')).unwrap_or_default()
            ));
            return None;
        }
        let volume = Self(at);
        assert_eq!(ran.code, 0, "{what}: {}", ran.stderr);
        Some(volume)
    }

    /// A file system in memory, of so many bytes.
    fn in_memory(dir: &Path, bytes: u64) -> Option<Self> {
        Self::new(dir, "a small tmpfs", &format!("mount -t tmpfs -o size={bytes} none $AT"))
    }

    /// Gives it another size.
    fn grow(&self, bytes: u64) {
        self.remount(&format!("size={bytes}"));
    }

    /// Gives it other options.
    fn remount(&self, options: &str) {
        let ran = run(Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.0));
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }

    /// A machine whose mail lies on it.
    fn machine(&self, name: &str) -> Machine {
        let machine = Machine::new(&self.0, name);
        Machine { home: self.0.with_file_name(format!("home-{name}")), ..machine }
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

/// A file system with strange habits that is mounted as long as this lives.
struct Mounted {
    server: Child,
    at: PathBuf,
}

impl Mounted {
    /// `None`, and a line that says which test is left out, where it can't be mounted.
    fn new(dir: &Path, habits: &str) -> Option<Self> {
        let (below, at) = (dir.join("below"), dir.join("mounted"));
        fs::create_dir(&below).unwrap();
        fs::create_dir(&at).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/file_system.py");
        let left_out = |why: &str| {
            left_out(why);
            None
        };
        if !Path::new("/dev/fuse").exists() || path_of("fusermount").is_none() {
            return left_out("there is no FUSE");
        }
        let mut command = Command::new("python3");
        command.arg(script).args([&below, &at]).arg(habits).stdin(Stdio::null());
        let Ok(mut server) = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn() else {
            return left_out("there is no python3");
        };
        let begun = Instant::now();
        let is_mounted = || fs::read_to_string("/proc/self/mounts").unwrap().contains(at.to_str().unwrap());
        while !is_mounted() {
            if server.try_wait().unwrap().is_some() || begun.elapsed() > Duration::from_secs(20) {
                let _ = server.kill();
                let _ = server.wait();
                return left_out("python3-fusepy is not installed, or nothing may be mounted");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(Self { server, at })
    }

    /// A machine whose mail lies on it.
    fn machine(&self, name: &str) -> Machine {
        let machine = Machine::new(&self.at, name);
        Machine { home: self.at.with_file_name(format!("home-{name}")), ..machine }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let unmounted = Command::new("fusermount").args(["-u", "-z"]).arg(&self.at).status();
        let _ = self.server.kill();
        let _ = self.server.wait();
        drop(unmounted);
    }
}

#[test]
fn mail_is_delivered_and_moved_where_there_are_neither_links_nor_colons() {
    for (habits, separator) in [("no-links", ":2,"), ("no-links,no-colons", ";2,")] {
        let dir = scratch();
        let Some(mounted) = Mounted::new(dir.path(), habits) else { return };
        let (plain, odd) = (Machine::replica(dir.path(), "plain"), mounted.machine("odd"));
        odd.init();
        make_peers(&plain, &odd);
        plain.put("INBOX", "cur/1.x:2,S", message("one"), 1_600_000_000);
        plain.put("Work", "new/2.x", message("two"), 1_600_000_000);
        exchange(&plain, &odd);
        fs::rename(plain.dir("INBOX").join("cur/1.x:2,S"), plain.dir("Work").join("cur/1.x:2,FS")).unwrap();
        exchange(&plain, &odd);
        let found = names(&odd.dir("Work").join("cur"));
        assert!(found.len() == 1 && found[0].ends_with(&format!("{separator}FS")), "{found:?}");
        fs::remove_file(plain.dir("Work").join("new/2.x")).unwrap();
        exchange(&plain, &odd);
        odd.is_at_rest(habits);
        assert_eq!(odd.mailbox(), plain.mailbox());
        assert_eq!(names(&odd.home.join("trash")).len(), 1);
        assert_eq!(names(&odd.mail), [".Work", ".mailsync", "cur", "new", "tmp"]);
    }
}

#[test]
fn folders_whose_names_differ_in_case_are_both_there_where_case_is_not_told_apart() {
    let dir = scratch();
    let Some(mounted) = Mounted::new(dir.path(), "any-case") else { return };
    let (plain, odd) = (Machine::new(dir.path(), "plain"), mounted.machine("odd"));
    plain.init_as("fs");
    odd.init_as("fs");
    make_peers(&plain, &odd);
    plain.put("Work", "cur/1.x:2,S", message("one"), 1_600_000_000);
    exchange(&plain, &odd);
    plain.put("work", "cur/2.x:2,S", message("two"), 1_600_000_000);
    plain.put("lists", "cur/3.x:2,S", message("three"), 1_600_000_000);
    exchange(&plain, &odd);
    fs::rename(plain.mail.join("lists"), plain.mail.join("Lists")).unwrap();
    exchange(&plain, &odd);
    plain.put("Lists", "cur/4.x:2,", message("four"), 1_600_000_000);
    exchange(&plain, &odd);
    fs::write(odd.mail.join("lists/cur/5.x:2,"), message("five")).unwrap();
    fs::write(odd.mail.join("work/cur/6.x:2,"), message("six")).unwrap();
    exchange(&odd, &plain);
    for machine in [&plain, &odd] {
        machine.is_at_rest("in any case");
        assert_eq!(machine.folders(), ["INBOX", "Lists", "Work", "work"]);
        assert_eq!(machine.mailbox().len(), 6);
    }
    assert_eq!(names(&odd.mail), ["%77ork~", ".mailsync", "INBOX", "Lists", "Work"]);
    // To the file system, `work` is `Work`.
    assert_eq!(names(&plain.mail.join("Work/cur")).len(), 2);
}

/// All mail, without the parts of its dates that not every file system keeps.
fn told(machine: &Machine) -> Vec<String> {
    let line = |(digest, mail, _): (mailsync::model::Digest, Mail, PathBuf)| {
        format!("{} {digest} {} {}", mail.folder, mail.flags, mail.recent)
    };
    let mut told: Vec<String> = machine.files().into_iter().map(line).collect();
    told.sort();
    told
}

#[test]
fn mail_goes_round_on_the_file_systems_that_people_have() {
    if !only_root_can() {
        return;
    }
    for (what, make) in VOLUMES {
        let dir = scratch();
        let Some(volume) = Volume::new(dir.path(), what, make) else { continue };
        let (plain, odd) = (Machine::new(dir.path(), "plain"), volume.machine("odd"));
        plain.init_as("fs");
        odd.init_as("fs");
        make_peers(&plain, &odd);
        let long = "Längere Ordner: ".repeat(12);
        let folders = ["Work", "work", "Re: plans", "Entwürfe", "a\\b/what?", long.trim_end()];
        for (number, folder) in folders.iter().enumerate() {
            plain.put(folder, &format!("cur/{number}.x:2,S"), message(folder), 1_600_000_000);
            plain.put(folder, &format!("new/{number}.y"), message(&format!("{folder} new")), 1_600_000_000);
        }
        exchange(&plain, &odd);
        odd.is_at_rest(what);
        assert_eq!(told(&odd), told(&plain), "{what}");
        // It is followed in both directions.
        fs::rename(plain.dir("Work").join("cur/0.x:2,S"), plain.dir("work").join("cur/0.x:2,FS")).unwrap();
        fs::rename(plain.dir("Re: plans").join("new/2.y"), plain.dir("INBOX").join("cur/2.y:2,R")).unwrap();
        fs::remove_file(plain.dir("Work").join("new/0.y")).unwrap();
        exchange(&plain, &odd);
        odd.is_at_rest(what);
        assert_eq!(told(&odd), told(&plain), "{what}");
        let (_, _, file) = odd.files().into_iter().find(|(_, mail, _)| mail.flags == "R").unwrap();
        fs::rename(&file, format!("{}S", text(&file))).unwrap();
        // However coarse its times are, what comes just after a scan is seen by the next.
        for number in 0..3 {
            fs::write(odd.mail.join(format!("INBOX/new/{number}.z")), message(&format!("quick {number}"))).unwrap();
            assert_eq!(odd.ok(&["scan", "--json"]).json()["new"], 1, "{what}, {number}");
        }
        exchange(&odd, &plain);
        for machine in [&plain, &odd] {
            machine.is_at_rest(what);
        }
        assert_eq!(told(&odd), told(&plain), "{what}");
        assert_eq!(told(&odd).len(), 14, "{what}");
        assert_eq!(names(&odd.home.join("trash")).len(), 1, "{what}");
        assert!(names(&plain.home).contains(&String::from("trash")) && names(&plain.home.join("trash")).is_empty());
    }
}

#[test]
fn a_mail_root_that_is_full_takes_all_of_a_bundle_when_there_is_room() {
    let dir = scratch();
    if !only_root_can() {
        return;
    }
    // There is room for what stands in them, and not for so many files: neither for their blocks, which is known before, nor
    // for their names, which isn't.
    let few_names = "mount -t tmpfs -o size=16m,nr_inodes=300 none $AT";
    for (number, room, words) in [
        (
            0,
            "mount -t tmpfs -o size=2m none $AT",
            &["2.7 MiB of mail, counted in blocks", "are free there", "nothing was changed"][..],
        ),
        (1, few_names, &["No space left", "make room"]),
    ] {
        let dir = dir.path().join(number.to_string());
        fs::create_dir(&dir).unwrap();
        let Some(volume) = Volume::new(&dir, "a small tmpfs", room) else { return };
        let (plain, odd) = (Machine::replica(&dir, "plain"), volume.machine("odd"));
        odd.init();
        make_peers(&plain, &odd);
        for number in 0..700 {
            plain.put("INBOX", &format!("cur/{number}.x:2,S"), message(&number.to_string()), 1_600_000_000);
        }
        let bundle = dir.join("bundle.zst");
        plain.ok(&["export", "--to", "odd", "-o", text(&bundle)]);
        let said = odd.fails(&["import", text(&bundle)], 1);
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
        assert!(odd.mailbox().is_empty() && leftovers(&odd.mail).is_empty());
        volume.remount("size=16m,nr_inodes=2000");
        odd.ok(&["import", text(&bundle)]);
        odd.is_at_rest("with room");
        assert_eq!(odd.mailbox(), plain.mailbox());
    }
}

#[test]
fn what_only_reads_works_on_a_full_disk() {
    let dir = scratch();
    if !only_root_can() {
        return;
    }
    let Some(volume) = Volume::in_memory(dir.path(), 2 << 20) else { return };
    let plain = Machine::replica(dir.path(), "plain");
    let odd = Machine { home: volume.0.join("odd"), ..Machine::new(&volume.0, "here") };
    odd.init();
    make_peers(&plain, &odd);
    odd.deliver("one");
    odd.ok(&["scan"]);
    odd.deliver("two");
    let ballast = volume.0.join("ballast");
    let fill = || run(Command::new("sh").args(["-c", "cat /dev/zero > \"$1\"", "sh"]).arg(&ballast));
    assert_ne!(fill().code, 0);
    for args in [
        &["status"][..],
        &["status", "--json"],
        &["log"],
        &["log", "--folder", "INBOX"],
        &["peer", "list"],
        &["trash", "list"],
    ] {
        odd.ok(args);
    }
    assert!(odd.ok(&["status"]).text().contains("1 new"), "{:?}", odd.ok(&["status"]));
    // What changes something says what it lacks.
    let said = odd.fails(&["scan"], 1);
    assert!(said.contains("0 B are free there") && said.contains("make room"), "{said}");
    fs::remove_file(&ballast).unwrap();
    assert_eq!(odd.ok(&["scan", "--json"]).json()["new"], 1);
    odd.is_at_rest("with room");
}

#[test]
fn a_state_and_a_bundle_that_find_no_room_are_written_when_there_is_some() {
    let dir = scratch();
    if !only_root_can() {
        return;
    }
    let Some(volume) = Volume::in_memory(dir.path(), 768 << 10) else { return };
    let plain = Machine::replica(dir.path(), "plain");
    let odd = Machine { home: volume.0.join("odd"), ..Machine::new(dir.path(), "odd") };
    odd.init();
    make_peers(&plain, &odd);
    let folder = "A folder with a name that is not short, so that each message takes a bit more of the state";
    for number in 0..3000 {
        odd.put(folder, &format!("cur/{number}.a-name-that-is-not-short-either:2,S"), message(&number.to_string()), 5);
    }
    let said = odd.fails(&["scan"], 1);
    assert!(said.contains("full") && said.contains("room"), "{said}");
    assert!(odd.folders().iter().all(|folder| folder == "INBOX"), "{:?}", odd.folders());
    volume.grow(32 << 20);
    assert_eq!(odd.ok(&["scan", "--json"]).json()["new"], 3000);
    let used = run(Command::new("du").arg("-sk").arg(&volume.0));
    let used: u64 = used.text().split('\t').next().unwrap().parse().unwrap();
    volume.grow((used + 40) << 10);
    let out = volume.0.join("out");
    fs::create_dir(&out).unwrap();
    let said = odd.fails(&["export", "--to", "plain", "-o", text(&out)], 1);
    assert!(said.contains("room"), "{said}");
    assert!(names(&out).is_empty(), "{:?}", names(&out));
    volume.grow(32 << 20);
    odd.ok(&["export", "--to", "plain", "-o", text(&out)]);
    plain.ok(&["import", text(&out)]);
    assert_eq!(plain.mailbox(), odd.mailbox());
}
