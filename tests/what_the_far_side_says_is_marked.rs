//! What the program of a call says to people is shown as the peer's, line by line; `update --quiet` shows it only where
//! something went wrong. And several peers can be called at once.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use mailsync::error::ErrorKind;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::machine::{Machine, make_peers, pair};
use crate::support::programs::{MAILSYNC, heeding_signals, peak};
use crate::support::{scratch, text};

#[test]
fn each_line_of_the_far_side_is_marked_with_its_name() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let said =
        format!("printf 'Last login: today\\r\\nall\\033[2Jgone\\n\\nno end' >&2; {}", laptop.line("import --reply"));
    desktop.reach_by("laptop", &["sh", "-c", &said]);
    desktop.deliver("from-desktop");
    let ran = desktop.ok(&["update"]);
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert_eq!(lines[..2], ["laptop: Last login: today", "laptop: all\u{fffd}[2Jgone"], "{ran:?}");
    // What has no end is no line of its own.
    assert!(lines[2].starts_with("laptop: no endmailsync: bundle 1 from desktop: 1 new"), "{ran:?}");
    let own: Vec<&&str> = lines.iter().filter(|line| line.starts_with("mailsync: ")).collect();
    assert!(own.len() == 1 && own[0].starts_with("mailsync: laptop: sent, and received no changes"), "{ran:?}");
    let marked = |line: &&str| line.starts_with("laptop: ") || line.starts_with("mailsync: ");
    assert!(lines.iter().all(marked), "{ran:?}");
}

#[test]
fn a_quiet_update_is_quiet_unless_something_goes_wrong() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let offline = Machine::replica(dir.path(), "offline");
    make_peers(&desktop, &offline);
    desktop
        .reach_by("laptop", &["sh", "-c", &format!("echo 'Last login: today' >&2; {}", laptop.line("import --reply"))]);
    desktop.deliver("from-desktop");
    let ran = desktop.ok(&["update", "--quiet"]);
    assert!(ran.stderr.is_empty() && ran.stdout.is_empty(), "{ran:?}");
    assert_eq!(laptop.mailbox(), desktop.mailbox());
    let script = "n=0; while [ $n -lt 60 ]; do n=$((n+1)); echo \"ssh: line $n\" >&2; done; exit 255";
    desktop.reach_by("offline", &["sh", "-c", script]);
    let ran = desktop.run(&["update", "--quiet"]);
    assert_eq!(ran.code, 7, "{ran:?}");
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert_eq!(lines[0], "offline: (10 lines before this are left out)", "{ran:?}");
    assert_eq!((lines[1], lines[50]), ("offline: ssh: line 11", "offline: ssh: line 60"), "{ran:?}");
    assert!(lines.len() == 52 && lines[51].contains("updating offline: it could not be reached"), "{ran:?}");
}

#[test]
fn a_far_side_that_says_very_much_fills_neither_the_screen_nor_the_memory() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let (call, noisy) =
        (laptop.line("--quiet import --reply"), "head -c 24000000 /dev/zero | tr '\\0' x; echo; yes | head -n 3000");
    let memory = |call: &str, args: &[&str]| {
        desktop.reach_by("laptop", &["sh", "-c", call]);
        let peak = peak(&mut desktop.command(args), |_| {});
        forget_call(&desktop);
        peak
    };
    let usual = memory(&call, &["update"]);
    // It says more than a pipe holds before it reads anything.
    for args in [&["update"][..], &["update", "--quiet"]] {
        let noisy = memory(&format!("{{ {noisy}; }} >&2; {call}"), args);
        assert!(noisy < usual + 10, "{args:?}: {noisy} MiB, and usually {usual}");
    }
    desktop.reach_by("laptop", &["sh", "-c", &format!("{{ {noisy}; }} >&2; {call}")]);
    let ran = desktop.ok(&["update"]);
    assert_eq!(ran.stderr.lines().filter(|line| line.starts_with("laptop: ")).count(), 1001, "{}", ran.stderr.len());
    assert!(ran.stderr.contains("laptop: (it says more, which is left out)"), "{}", ran.stderr.len());
    assert!(ran.stderr.len() < 1_200 + 1_000 * 12, "{}", ran.stderr.len());
}

/// Takes the last call out of the configuration.
fn forget_call(machine: &Machine) {
    let config = machine.home.join("config.toml");
    let with = fs::read_to_string(&config).unwrap();
    fs::write(&config, with.rsplit_once("[peer.").unwrap().0).unwrap();
}

/// A machine and three peers. The calls of the first two, `alpha` and `beta`, go on when both have begun.
fn waiting_for_each_other(dir: &Path) -> (Machine, Vec<Machine>) {
    let desktop = Machine::replica(dir, "desktop");
    let peers: Vec<Machine> = ["alpha", "beta", "gamma"].map(|name| Machine::replica(dir, name)).into();
    for (peer, other) in peers.iter().zip([Some("beta"), Some("alpha"), None]) {
        make_peers(&desktop, peer);
        let (begun, import) = (dir.join(format!("begun-{}", peer.name)), peer.line("import --reply"));
        let wait = other.map(|other| {
            format!("while [ ! -e {} ]; do sleep 0.01; done; ", text(&dir.join(format!("begun-{other}"))))
        });
        let script = format!("touch {}; {}{import}", text(&begun), wait.unwrap_or_default());
        desktop.reach_by(&peer.name, &["sh", "-c", &script]);
        desktop.configure("timeout = \"60s\"");
        peer.deliver(&format!("from-{}", peer.name));
    }
    desktop.deliver("from-desktop");
    (desktop, peers)
}

#[test]
fn several_peers_are_called_at_once_and_all_get_through() {
    let dir = scratch();
    let (desktop, peers) = waiting_for_each_other(dir.path());
    let ran = desktop.ok(&["update", "--jobs", "2", "--json"]);
    let named: Vec<String> =
        ran.json()["peers"].as_array().unwrap().iter().map(|peer| peer["peer"].as_str().unwrap().to_owned()).collect();
    assert_eq!(named, ["alpha", "beta", "gamma"], "in their order, whoever was done first");
    let marks = ["mailsync: ", "alpha: mailsync: ", "beta: mailsync: ", "gamma: mailsync: "];
    assert!(ran.stderr.lines().all(|line| marks.iter().any(|mark| line.starts_with(mark))), "{}", ran.stderr);
    for peer in &peers {
        assert!(ran.stderr.contains(&format!("mailsync: {}: sent, and received 1 new", peer.name)), "{}", ran.stderr);
    }
    assert_eq!(desktop.mailbox().len(), 4);
    // Who was called when one of them was done got what that one had.
    assert!(peers[2].mailbox().len() >= 3 && peers[0].mailbox().len() == 2, "{:?}", peers[2].mailbox());
    desktop.ok(&["update", "-j", "3"]);
    for peer in &peers {
        assert_eq!(peer.mailbox(), desktop.mailbox());
    }
}

#[test]
fn the_lock_is_free_while_several_peers_are_waited_for_and_told_to_stop_an_update_ends_all_it_has_started() {
    let dir = scratch();
    let (desktop, peers) = waiting_for_each_other(dir.path());
    for peer in &peers[..2] {
        forget_call(&desktop);
        assert!(!dir.path().join(format!("begun-{}", peer.name)).exists());
    }
    forget_call(&desktop);
    let begun = |peer: &Machine| dir.path().join(format!("pid-{}", peer.name));
    for peer in &peers {
        let script = format!("echo $$ > {0}-; mv {0}- {0}; echo waits >&2; exec sleep 1000", text(&begun(peer)));
        desktop.reach_by(&peer.name, &["sh", "-c", &script]);
    }
    let mut update = heeding_signals(&desktop.command(&["update", "--jobs", "2"]));
    let update = update.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while !peers[..2].iter().all(|peer| begun(peer).exists()) {
        std::thread::sleep(Duration::from_millis(5));
    }
    desktop.ok(&["scan", "--lock-timeout", "5"]);
    kill_process(Pid::from_child(&update), Signal::INT).unwrap();
    let output = update.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for peer in &peers {
        assert!(said.contains(&format!("updating {}: mailsync was told to stop", peer.name)), "{said}");
    }
    for peer in &peers[..2] {
        let pid = fs::read_to_string(begun(peer)).unwrap();
        assert!(!Path::new("/proc").join(pid.trim()).exists(), "{pid} runs on");
    }
    assert!(!begun(&peers[2]).exists(), "nothing new is begun");
    desktop.ok(&["scan", "--lock-timeout", "0"]);
}

#[test]
fn of_several_peers_the_one_that_fails_worst_decides_how_an_update_ends() {
    let dir = scratch();
    let names = ["offline", "failing", "garbled", "good"];
    let desktop = Machine::replica(dir.path(), "desktop");
    for name in names {
        let peer = Machine::replica(dir.path(), name);
        make_peers(&desktop, &peer);
        let script = match name {
            "offline" => String::from("exit 255"),
            "failing" => String::from("exit 9"),
            "garbled" => String::from("cat > /dev/null; echo Welcome"),
            _ => peer.line("--quiet import --reply"),
        };
        desktop.reach_by(name, &["sh", "-c", &script]);
    }
    let cases: [(&[&str], i32); 6] = [
        (&["good"], 0),
        (&["offline", "good"], 7),
        (&["failing", "offline"], 1),
        (&["garbled", "failing", "offline"], 4),
        (&["offline", "garbled"], 4),
        (&["offline", "nobody"], 2),
    ];
    for (peers, code) in cases {
        for jobs in ["1", "3"] {
            let ran = desktop.run(&[&["update", "--jobs", jobs], peers].concat());
            assert_eq!(ran.code, code, "{peers:?}, {jobs} at once: {ran:?}");
        }
    }
    assert!(ErrorKind::Unreachable < ErrorKind::Locked && ErrorKind::NotYet < ErrorKind::Failed);
    let ran = desktop.run(&["update", "--jobs", "0"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(Path::new(MAILSYNC).exists());
}
