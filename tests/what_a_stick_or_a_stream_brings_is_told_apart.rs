//! What lies on a stick beside bundles, what comes before one in a stream, and what a disk or a limit has no room for:
//! each is told as what it is, with what to do.

use std::fs;
use std::path::Path;
use std::process::Command;

use mailsync::bundle::PrivateKey;
use mailsync::model::Digest;
use rustix::io::Errno;
use serde_json::json;

use crate::claims_that_can_not_be_true_are_refused::now;

use crate::support::disk::{Fault, Op, Watch};
use crate::support::forge::{Forge, clock};
use crate::support::machine::{Machine, message, pair};
use crate::support::party::{self, Party};
use crate::support::programs::{Ran, run};
use crate::support::{names, scratch, text};

/// A directory with a bundle from the desktop for the laptop, and the bundle's name.
fn stick(dir: &Path, desktop: &Machine) -> (std::path::PathBuf, String) {
    let stick = dir.join("stick");
    fs::create_dir_all(&stick).unwrap();
    desktop.ok(&["export", "--to", "laptop", "-o", text(&stick)]);
    let name = names(&stick).pop().unwrap();
    (stick, name)
}

/// What an import says that rejects something.
fn fails(machine: &Machine, args: &[&str]) -> String {
    let ran = machine.run(args);
    assert_eq!(ran.code, 4, "{}", ran.stderr);
    ran.stderr
}

fn shell(line: &str) -> Ran {
    run(Command::new("sh").args(["-c", line]))
}

#[test]
fn a_bundle_whose_name_is_in_capitals_is_imported() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("from a stick");
    let (stick, name) = stick(dir.path(), &desktop);
    for other in ["DESKTO~1.ZST", "Desktop.Zst"] {
        fs::copy(stick.join(&name), stick.join(other)).unwrap();
    }
    fs::remove_file(stick.join(&name)).unwrap();
    laptop.ok(&["import", text(&stick)]);
    assert!(laptop.has("from a stick"));
    laptop.ok(&["import", "--consume", text(&stick)]);
    assert_eq!(names(&stick), [""; 0]);
}

#[test]
fn a_whole_copy_that_a_synchroniser_has_made_of_a_bundle_brings_nothing_new() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("once");
    let (stick, name) = stick(dir.path(), &desktop);
    let base = name.strip_suffix(".zst.age").unwrap();
    let copies = [
        format!("{base}.sync-conflict-20260102-030405-ABCDEFG.zst"),
        format!("{base} (1).zst"),
        format!("{base} (conflicted copy 2026-01-02).zst"),
    ];
    for copy in &copies {
        fs::copy(stick.join(&name), stick.join(copy)).unwrap();
    }
    for _ in 0..2 {
        laptop.ok(&["import", text(&stick)]);
        assert_eq!(laptop.files().len(), 1);
    }
    // To the one who has made it, a copy is one more of its own.
    desktop.ok(&["import", text(&stick)]);
    assert_eq!(names(&stick).len(), 4);
    laptop.ok(&["import", "--consume", text(&stick)]);
    assert_eq!(names(&stick), [""; 0]);
}

#[test]
fn a_file_that_is_no_bundle_fails_one_import_and_is_then_passed_over() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("one");
    let (stick, _) = stick(dir.path(), &desktop);
    let foreign = stick.join("backup.zst");
    fs::write(&foreign, "this is something else\nwith another line").unwrap();
    // The form of another program that compresses in the same way.
    fs::write(stick.join("other.tar.zst"), zstd::encode_all(&b"no archive"[..], 1).unwrap()).unwrap();
    let dry = fails(&laptop, &["import", "--dry-run", text(&stick)]);
    assert!(dry.contains("backup.zst"), "{dry}");
    let told = fails(&laptop, &["import", text(&stick)]);
    assert!(told.contains("backup.zst") && told.contains("other.tar.zst"), "{told}");
    assert!(told.contains("it seems to be a text, which begins with \"this is something else\""), "{told}");
    assert!(laptop.has("one"));
    for _ in 0..2 {
        let told = laptop.ok(&["import", text(&stick)]).stderr;
        assert!(told.contains("2 files in") && told.contains("passed over"), "{told}");
        assert!(!told.contains("begins with"), "{told}");
    }
    // It is looked at again when it was changed, and when the next mailsync may know it: by its name alone it isn't.
    fs::rename(&foreign, stick.join("renamed.zst")).unwrap();
    laptop.ok(&["import", text(&stick)]);
    fs::write(stick.join("renamed.zst"), "this is something new").unwrap();
    let told = fails(&laptop, &["import", text(&stick)]);
    assert!(told.contains("renamed.zst") && !told.contains("other.tar.zst: "), "{told}");
    // A bundle takes its place.
    desktop.deliver("two");
    desktop.ok(&["export", "--to", "laptop", "-o", text(&dir.path().join("two.zst"))]);
    fs::rename(dir.path().join("two.zst"), stick.join("renamed.zst")).unwrap();
    laptop.ok(&["import", text(&stick)]);
    assert!(laptop.has("two"));
}

/// How many files a machine remembers not to look at again.
fn settled(machine: &Machine) -> u64 {
    let state = rusqlite::Connection::open(machine.home.join("state.db")).unwrap();
    state.query_row("SELECT COUNT(*) FROM passed_over", [], |row| row.get::<_, i64>(0)).unwrap().unsigned_abs()
}

#[test]
fn a_stranger_s_manifest_is_not_understood_and_its_file_is_looked_at_once() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("honest");
    let (stick, _) = stick(dir.path(), &desktop);
    let stranger = PrivateKey::generate("stranger").unwrap();
    let forged = |name: &str, change: &dyn Fn(&mut Forge)| {
        let mut forge = Forge::new(&stranger, &clock(now(), 0));
        // Whoever reads all of it finds that these don't ascend.
        let wants: Vec<String> = (0..20_000_u32).rev().map(|n| Digest::of(&n.to_le_bytes()).to_string()).collect();
        forge.manifest["wants"] = wants.into();
        change(&mut forge);
        fs::write(stick.join(name), forge.bundle()).unwrap();
    };
    let id = |machine: &Machine| machine.public_key().id().to_string();
    forged("for-anyone.zst", &|_| {});
    forged("for-others.zst", &|f| f.manifest["recipient"] = id(&desktop).into());
    forged("for-me.zst", &|f| f.manifest["recipient"] = id(&laptop).into());
    forged("as-a-peer.zst", &|f| f.manifest["sender"]["id"] = id(&desktop).into());
    forged("as-myself.zst", &|f| f.manifest["sender"]["id"] = id(&laptop).into());
    forged("invites.zst", &|f| {
        f.manifest.insert("invitation".into(), json!({ "name": "x", "token": "0".repeat(64) }));
    });
    let not_signed = |name: &str, key: PrivateKey| {
        let mut forge = Forge::new(&key, &clock(now(), 0));
        forge.manifest["wants"] = json!(["1".repeat(64), "0".repeat(64)]);
        forge.sign = |key, _| key.sign(b"something else").unwrap().to_armor().into_bytes();
        fs::write(stick.join(name), forge.bundle()).unwrap();
    };
    not_signed("not-signed.zst", desktop.private_key());
    let told = fails(&laptop, &["import", text(&stick)]);
    for (name, words) in [
        ("for-me.zst", "unknown sender"),
        ("as-a-peer.zst", "not from"),
        ("not-signed.zst", "it was not made over these bytes"),
    ] {
        let line = told.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{name}: {told}"));
        assert!(line.contains(words), "{line}");
    }
    assert!(["for-anyone", "for-others", "invites"].iter().all(|name| !told.contains(name)), "{told}");
    assert!(told.contains("as-myself.zst says that this replica has made it") && !told.contains("wants"), "{told}");
    assert!(laptop.has("honest"));
    // Of the three that are told of, it is remembered that the log has them.
    let remembered = 5 + 3;
    assert_eq!(settled(&laptop), remembered);
    for _ in 0..2 {
        // What no stranger has signed may be a damaged bundle of a peer.
        let told = fails(&laptop, &["import", text(&stick)]);
        assert!(told.contains("2 files in") && told.contains("from replicas that are not known here"), "{told}");
        assert!(!told.contains("unknown sender") && told.contains("not-signed.zst: "), "{told}");
        assert_eq!(settled(&laptop), remembered);
    }
    fs::remove_file(stick.join("not-signed.zst")).unwrap();
    assert!(laptop.ok(&["import", text(&stick)]).stderr.contains("2 files in"));
    // Another file in its place is looked at, whatever its date.
    let date = fs::metadata(stick.join("for-me.zst")).unwrap().modified().unwrap();
    fs::copy(stick.join("for-me.zst"), stick.join("copy.zst")).unwrap();
    fs::File::options().write(true).open(stick.join("copy.zst")).unwrap().set_modified(date).unwrap();
    fs::rename(stick.join("copy.zst"), stick.join("for-me.zst")).unwrap();
    assert!(fails(&laptop, &["import", text(&stick)]).contains("unknown sender"));
    // Somebody else is known: so all are looked at again.
    laptop.ok(&["peer", "add", "stranger", "--key", &stranger.public_key().to_openssh()]);
    let told = fails(&laptop, &["import", text(&stick)]);
    assert!(told.contains("for-anyone.zst") && told.contains("for-me.zst") && told.contains("wants"), "{told}");
}

#[test]
fn the_bundles_of_a_stranger_who_becomes_a_peer_are_imported() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let phone = Machine::replica(dir.path(), "phone");
    phone.ok(&["peer", "add", "laptop", "--key", &laptop.key()]);
    phone.deliver("from the phone");
    let (stick, _) = stick(dir.path(), &desktop);
    for args in [&["--plain"][..], &["--encrypt"]] {
        phone.ok(&[&["export", "-o", text(&stick)], args].concat());
    }
    // One file with two bundles is looked at as long as one of them may be for this replica.
    let both =
        [phone.ok(&["export", "--to", "laptop"]).stdout, desktop.ok(&["export", "--to", "laptop"]).stdout].concat();
    fs::write(stick.join("both.zst"), both).unwrap();
    for _ in 0..2 {
        let told = fails(&laptop, &["import", text(&stick)]);
        assert!(told.contains("both.zst") && told.contains("unknown sender"), "{told}");
    }
    laptop.ok(&["peer", "add", "phone", "--key", &phone.key()]);
    laptop.ok(&["import", text(&stick)]);
    assert!(laptop.has("from the phone"));
}

#[test]
fn an_export_into_a_closed_output_fails_and_does_not_count_as_sent() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("not lost");
    for line in ["export --to laptop --since-last >&-", "invite tablet >&-"] {
        let ran = shell(&desktop.line(line));
        assert_eq!(ran.code, 1, "{line}: {}", ran.stderr);
        assert!(ran.stderr.contains("standard output is closed"), "{}", ran.stderr);
    }
    let status = desktop.ok(&["--json", "status"]).text().to_owned();
    assert!(!status.contains("tablet"), "{status}");
    let file = dir.path().join("bundle.zst");
    desktop.ok(&["export", "--to", "laptop", "--since-last", "-o", text(&file)]);
    laptop.ok(&["import", text(&file)]);
    assert!(laptop.has("not lost"));
    // An answer is a bundle, too.
    let ran = shell(&format!("{} < {} >&-", laptop.line("import --reply"), file.display()));
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    // Who throws a bundle away by name wants that.
    assert_eq!(shell(&desktop.line("export --to laptop > /dev/null")).code, 0);
}

#[test]
fn a_limit_on_the_size_of_files_is_told_as_one() {
    let dir = scratch();
    let (desktop, _) = pair(dir.path());
    // What can't be compressed.
    let mut noise = message("noise").into_bytes();
    let mut x: u64 = 88_172_645_463_325_252;
    for _ in 0..6 << 17 {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        noise.extend_from_slice(&x.to_le_bytes());
    }
    desktop.put("INBOX", "cur/1:2,S", &noise, 1);
    let out = dir.path().join("out");
    fs::create_dir(&out).unwrap();
    for target in [format!("-o {}", out.display()), format!("> {}", out.join("redirected").display())] {
        let ran = shell(&format!("ulimit -f 4096; exec {}", desktop.line(&format!("export --to laptop {target}"))));
        assert_eq!(ran.code, 1, "{}", ran.stderr);
        assert!(ran.stderr.contains("`ulimit -f` lets no file be larger than 2.0 MiB"), "{}", ran.stderr);
    }
    assert_eq!(names(&out), ["redirected"]);
    desktop.ok(&["export", "--to", "laptop", "-o", text(&out)]);
}

#[test]
fn what_a_login_prints_before_a_bundle_is_shown() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("behind a banner");
    let bundle = dir.path().join("bundle.zst");
    desktop.ok(&["export", "--to", "laptop", "-o", text(&bundle)]);
    let bundle = fs::read(bundle).unwrap();
    let long = "=".repeat(3000);
    let table: [(&[u8], &str); 3] = [
        (b"Welcome to \x1b[1mhost\x1b[0m!\nLast login: never\n", r#"begins with "Welcome to \u{1b}[1mhost\u{1b}[0m!""#),
        (long.as_bytes(), &long[..80]),
        (b"\xff\xff\xff\xff\xff\xff\n", r#"begins with "\xff\xff\xff\xff\xff\xff""#),
    ];
    for (banner, shown) in table {
        let ran = laptop.run_with(&["import"], &[banner, &bundle].concat());
        assert_eq!(ran.code, 4, "{}", ran.stderr);
        assert!(ran.stderr.contains(shown), "{}", ran.stderr);
        assert!(ran.stderr.contains("ssh") && ran.stderr.len() < 600, "{}", ran.stderr);
    }
    assert_eq!(laptop.run_with(&["import"], &bundle).code, 0);
}

/// Runs commands of a shell in a mount namespace of their own. `None`, with a plain line, where that isn't allowed.
pub fn among_own_mounts(line: &str) -> Option<Ran> {
    let ran = run(Command::new("unshare").args(["-m", "sh", "-c", "mount --make-rprivate / && true"]));
    if ran.code != 0 {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "mounts of one's own are needed: {}", ran.stderr);
        println!("left out: no mounts of one's own can be made here");
        return None;
    }
    Some(run(Command::new("unshare").args(["-m", "sh", "-c", line])))
}

#[test]
fn a_full_state_disk_wants_room_and_no_backup() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    (0..40).for_each(|n| desktop.deliver(&format!("message {n}")));
    let bundle = dir.path().join("bundle.zst");
    desktop.ok(&["export", "--to", "laptop", "-o", text(&bundle)]);
    let (home, small) = (text(&laptop.home).to_owned(), dir.path().join("small"));
    fs::create_dir(&small).unwrap();
    let small = text(&small).to_owned();
    let import = laptop.line(&format!("import {}", bundle.display()));
    // The state lies on a small file system, which something else fills: to the last byte, and leaving a little.
    for left in ["0", "8", "64"] {
        let line = format!(
            "mount -t tmpfs -o size=2m,mode=700 tmpfs {small} && cp -a {home}/. {small}/ && mount --bind {small} {home} && \
             cat /dev/zero > {home}/ballast 2> /dev/null; truncate -s -{left}K {home}/ballast; \
             {import}; code=$?; rm {home}/ballast; {import} 2> /dev/null && exit $code"
        );
        let Some(ran) = among_own_mounts(&line) else { return };
        assert_eq!(ran.code, 1, "with {left} KiB: {}", ran.stderr);
        let told: Vec<&str> = ran.stderr.lines().filter(|line| !line.contains("note: ")).collect();
        assert!(told.iter().any(|line| line.contains("room")), "with {left} KiB: {told:?}");
        assert!(!told.iter().any(|line| line.contains("backup")), "with {left} KiB: {told:?}");
    }
}

#[test]
fn a_full_file_system_is_told_with_what_is_free() {
    let dir = scratch();
    let (desktop, _) = pair(dir.path());
    desktop.put("INBOX", "cur/1:2,S", [message("x").as_bytes(), &vec![b'x'; 100_000]].concat(), 1);
    let out = dir.path().join("out");
    fs::create_dir(&out).unwrap();
    let out = text(&out).to_owned();
    let line = format!(
        "mount -t tmpfs -o size=64k tmpfs {out} && cat /dev/zero > {out}/ballast 2> /dev/null; {}; code=$?; ls -A {out} >&2; \
         exit $code",
        desktop.line(&format!("export --to laptop -o {out}"))
    );
    let Some(ran) = among_own_mounts(&line) else { return };
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("make room on the file system of") && ran.stderr.contains("0 B are free"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.ends_with("ballast\n") && !ran.stderr.contains(".part"), "{}", ran.stderr);
}

#[test]
fn a_queued_job_that_cannot_be_read_at_this_time_stays_queued() {
    let dir = scratch();
    let party = Party::new(dir.path(), "here", mailsync::maildir::LayoutKind::Fs, &[]);
    let other = Party::new(dir.path(), "there", mailsync::maildir::LayoutKind::Fs, &[]);
    party::make_peers(&party, &other);
    let asked = party.opened().uux("there", &[String::from("send")], &mut &b"a letter"[..]).unwrap();
    let outbox = party.home.state_dir().join("outbox");
    let body: Digest = names(&party.home.state_dir().join("jobs"))[0].parse().unwrap();
    let before = (party.snapshot(), names(&outbox));
    let watch = Watch::new(&dir.path().join("keep"));
    watch.arm(Fault::Fail(usize::MAX, Errno::IO));
    drop(party.open(watch.disk()).unwrap());
    let calls = watch.take();
    let of_jobs = |path: &Path| path.starts_with(&outbox) || path.starts_with(party.home.state_dir().join("jobs"));
    let places: Vec<usize> = (1..=calls.len()).filter(|n| of_jobs(&calls[n - 1].path)).collect();
    assert!(places.len() > 4 && places.iter().any(|n| calls[n - 1].op == Op::Read), "{calls:?}");
    for n in places {
        for errno in [Errno::MFILE, Errno::IO, Errno::NOMEM, Errno::ACCESS] {
            party.put_back(&before.0);
            let watch = Watch::new(&dir.path().join("keep"));
            watch.arm(Fault::Fail(n, errno));
            let opened = party.open(watch.disk());
            let call = watch.struck().unwrap();
            let when = format!("{errno} at {:?} {}", call.op, call.path.display());
            if call.op != Op::Unlink {
                assert_eq!(names(&outbox), before.1, "{when}");
            }
            assert!(opened.is_err(), "{when}");
            let replica = party.opened();
            let job = replica.state().job_by_id(&asked).unwrap().unwrap_or_else(|| panic!("{when}: it is not known"));
            assert_eq!(job.id, asked);
            assert!(
                replica.state().attachment_size(&body).unwrap().is_some(),
                "{when}: its input is not known to be here"
            );
            assert_eq!(names(&outbox), [""; 0], "{when}");
        }
    }
}
