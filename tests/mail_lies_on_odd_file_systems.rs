//! The binary on mounted file systems that can't do what others can, or take names for one another. Where none can be
//! mounted, a line says so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::machine::{Machine, exchange, make_peers, message};
use crate::support::programs::path_of;
use crate::support::{names, scratch};

/// A file system that is mounted as long as this lives.
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
            println!("{}: left out, since {why}", std::thread::current().name().unwrap_or("a test"));
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
