//! What an import of a directory says of the files there: each fault is told as often as it is one, and nothing is said
//! that isn't so.

use std::fs;
use std::path::Path;

use mailsync::model::Digest;

use crate::support::machine::{Machine, make_peers, message, pair};
use crate::support::{names, scratch, text};

/// Delivers what can't be compressed: a bundle with it is encrypted in several pieces.
fn deliver_much(machine: &Machine) {
    let noise: Vec<u8> = (0..30_000_u32).flat_map(|n| Digest::of(&n.to_le_bytes()).0).collect();
    machine.put("INBOX", "cur/noise:2,S", [message("noise").as_bytes(), &noise].concat(), 1);
}

/// A third machine, which knows the laptop and isn't known there, and its bundle for the laptop.
fn stranger(dir: &Path, laptop: &Machine) -> (Machine, Vec<u8>) {
    let phone = Machine::replica(dir, "phone");
    phone.ok(&["peer", "add", "laptop", "--key", &laptop.key()]);
    phone.deliver("from the phone");
    deliver_much(&phone);
    let bundle = phone.ok(&["export", "--to", "laptop", "--encrypt"]).stdout;
    assert!(bundle.starts_with(b"age-encryption.org/v1\n"));
    (phone, bundle)
}

/// What an import of a directory says with this exit code.
fn told(machine: &Machine, dir: &Path, code: i32) -> String {
    let ran = machine.run(&["import", text(dir)]);
    assert_eq!(ran.code, code, "{}", ran.stderr);
    ran.stderr
}

#[test]
fn an_encrypted_bundle_of_a_stranger_is_told_once() {
    let dir = scratch();
    let (_, laptop) = pair(dir.path());
    let (phone, bundle) = stranger(dir.path(), &laptop);
    let stick = dir.path().join("stick");
    fs::create_dir(&stick).unwrap();
    fs::write(stick.join("phone.zst.age"), &bundle).unwrap();
    let first = told(&laptop, &stick, 4);
    assert!(first.contains("unknown sender") && first.contains("phone.zst.age"), "{first}");
    for _ in 0..2 {
        let again = told(&laptop, &stick, 0);
        assert!(again.contains("1 file in") && again.contains("from replicas that are not known here"), "{again}");
        assert!(!again.contains("unknown sender"), "{again}");
    }
    laptop.ok(&["peer", "add", "phone", "--key", &phone.key()]);
    told(&laptop, &stick, 0);
    assert!(laptop.has("from the phone"));
}

#[test]
fn the_bundles_of_a_revoked_machine_are_told_once_and_come_when_it_is_trusted_again() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let phone = Machine::replica(dir.path(), "phone");
    make_peers(&desktop, &phone);
    let stick = dir.path().join("stick");
    fs::create_dir(&stick).unwrap();
    laptop.deliver("before");
    for format in ["--encrypt", "--plain"] {
        laptop.ok(&["export", "--to", "desktop", format, "-o", text(&stick)]);
    }
    let files = names(&stick);
    desktop.ok(&["peer", "revoke", "laptop"]);
    let first = told(&desktop, &stick, 4);
    for file in &files {
        assert!(first.contains(file.as_str()), "{file}: {first}");
    }
    assert_eq!(first.matches("laptop was revoked by this replica").count(), 2, "{first}");
    for args in [&["import"][..], &["import", "-q"], &["import", "--consume"]] {
        let again = desktop.ok(&[args, &[text(&stick)]].concat()).stderr;
        assert!(!again.contains("laptop was revoked"), "{again}");
        assert_eq!(again.contains("2 files in"), !args.contains(&"-q"), "{again}");
    }
    assert_eq!(names(&stick), files, "nothing of it is removed");
    let named = stick.join(&files[0]);
    assert!(desktop.fails(&["import", text(&named)], 4).contains("laptop was revoked by this replica"));
    // What others put there comes all the same.
    phone.deliver("from the phone");
    phone.ok(&["export", "--to", "desktop", "-o", text(&stick)]);
    told(&desktop, &stick, 0);
    assert!(desktop.has("from the phone") && !desktop.has("before"));

    desktop.ok(&["peer", "reinstate", "laptop"]);
    told(&desktop, &stick, 0);
    assert!(desktop.has("before"));
}

#[test]
fn what_stands_behind_an_encrypted_bundle_of_a_stranger_is_found() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let (phone, strange) = stranger(dir.path(), &laptop);
    desktop.deliver("from the desktop");
    let honest = desktop.ok(&["export", "--to", "laptop", "--encrypt"]).stdout;
    phone.ok(&["peer", "add", "desktop", "--key", &desktop.key()]);
    let sealed = phone.ok(&["export", "--to", "desktop", "--encrypt"]).stdout;
    let stick = dir.path().join("stick");
    fs::create_dir(&stick).unwrap();
    // What is wrong with these stays so as long as they are not changed: they are looked at once.
    for (name, parts, told_as) in [
        ("cut.zst.age", &[&strange[..strange.len() - 1]][..], "unknown sender"),
        ("rest.zst.age", &[&strange[..], b"something else"], "unknown sender"),
        ("sealed.zst.age", &[&strange[..], &sealed], "unknown sender"),
    ] {
        fs::write(stick.join(name), parts.concat()).unwrap();
        let first = told(&laptop, &stick, 4);
        assert!(first.contains(name) && first.contains(told_as), "{first}");
        // What was written a moment ago may still be written: then another look is taken.
        let passed_over = (0..50).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(100));
            let ran = laptop.run(&["import", text(&stick)]);
            assert!(ran.code == 0 || ran.stderr.contains(told_as), "{}", ran.stderr);
            ran.code == 0 && ran.stderr.contains("1 file in")
        });
        assert!(passed_over, "{name}");
        // When more of it is there, it is looked at again.
        fs::write(stick.join(name), [&strange[..], &sealed, &strange[..9]].concat()).unwrap();
        assert!(told(&laptop, &stick, 4).contains(told_as), "{name}");
        fs::remove_file(stick.join(name)).unwrap();
    }
    for (name, parts) in
        [("both.zst.age", &[&strange[..], &honest][..]), ("all.zst.age", &[&strange[..], &sealed, &honest])]
    {
        fs::write(stick.join(name), parts.concat()).unwrap();
        desktop.deliver(name);
        let ran = laptop.run(&["import", text(&stick)]);
        assert!(ran.code == 4 && ran.stderr.contains("unknown sender"), "{}", ran.stderr);
        assert!(ran.stderr.contains("from desktop"), "{}", ran.stderr);
        fs::remove_file(stick.join(name)).unwrap();
    }
    assert!(laptop.has("from the desktop"));
}

#[test]
fn a_cut_bundle_of_a_stranger_that_grows_is_looked_at_again_whatever_its_date() {
    let dir = scratch();
    let (_, laptop) = pair(dir.path());
    let (phone, strange) = stranger(dir.path(), &laptop);
    let stick = dir.path().join("stick");
    fs::create_dir(&stick).unwrap();
    let path = stick.join("phone.zst.age");
    fs::write(&path, &strange[..strange.len() - 1]).unwrap();
    let date = fs::metadata(&path).unwrap().modified().unwrap();
    told(&laptop, &stick, 4);
    laptop.ok(&["peer", "add", "phone", "--key", &phone.key()]);
    assert!(told(&laptop, &stick, 3).contains("phone.zst.age"));
    fs::write(&path, &strange).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(date).unwrap();
    told(&laptop, &stick, 0);
    assert!(laptop.has("from the phone"));
}

#[test]
fn a_damaged_bundle_is_told_by_every_import_of_its_directory() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("whole");
    deliver_much(&desktop);
    let stick = dir.path().join("stick");
    fs::create_dir(&stick).unwrap();
    let exported = |how| desktop.ok(&["export", "--to", "laptop", "--full", how]).stdout;
    let (encrypted, plain) = (exported("--encrypt"), exported("--plain"));
    let end = encrypted.windows(5).position(|bytes| bytes == b"\n--- ").unwrap();
    let header = end + 1 + encrypted[end + 1..].iter().position(|&byte| byte == b'\n').unwrap() + 1;
    let table = [
        ("the header's check", &encrypted, end + 10),
        ("the nonce", &encrypted, header + 3),
        ("the first piece", &encrypted, header + 16 + 100),
        ("the manifest", &plain, 200),
        ("behind the manifest", &plain, plain.len() - 6),
    ];
    for (what, bundle, at) in table {
        let mut damaged = bundle.clone();
        damaged[at] ^= 1;
        fs::write(stick.join("damaged.zst"), damaged).unwrap();
        for _ in 0..3 {
            let told = told(&laptop, &stick, 4);
            assert!(told.contains("damaged.zst: ") && !told.contains("passed over"), "{what}: {told}");
        }
        assert!(!laptop.has("whole"), "{what}");
    }
    fs::write(stick.join("damaged.zst"), encrypted).unwrap();
    told(&laptop, &stick, 0);
    assert!(laptop.has("whole"));
}

#[test]
fn wherever_an_encrypted_bundle_is_damaged_or_cut_a_directory_says_the_same_as_its_name() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("whole");
    let small = desktop.ok(&["export", "--to", "laptop", "--full", "--encrypt"]).stdout;
    deliver_much(&desktop);
    let large = desktop.ok(&["export", "--to", "laptop", "--full", "--encrypt"]).stdout;
    let stick = dir.path().join("stick");
    fs::create_dir(&stick).unwrap();
    let file = stick.join("desktop-laptop-1.zst.age");
    let by_name = |code: i32| {
        let ran = laptop.run(&["import", text(&file)]);
        assert_eq!(ran.code, code, "{}", ran.stderr);
        ran.stderr
    };
    for bundle in [&small, &large] {
        let check = bundle.windows(5).position(|bytes| bytes == b"\n--- ").unwrap();
        let first = check + 1 + bundle[check + 1..].iter().position(|&byte| byte == b'\n').unwrap() + 1 + 16;
        let end = bundle.len();
        let last = first + (end - first) / ((64 << 10) + 16) * ((64 << 10) + 16);
        assert_eq!(last > first, bundle.len() > 100_000);
        // The header's last line, and what ends the line before it and that one; the nonce; the last piece; the mark; the tag.
        for at in [
            check,
            check + 2,
            check + 9,
            first - 17,
            first - 9,
            first,
            last,
            last + (end - last) / 2,
            end - 30,
            end - 1,
        ] {
            let mut damaged = bundle.clone();
            damaged[at] ^= 4;
            fs::write(&file, damaged).unwrap();
            let (there, alone) = (told(&laptop, &stick, 4), by_name(4));
            for said in [&there, &alone] {
                assert!(said.contains("corrupt") && !said.contains("cut off"), "byte {at} of {end}: {said}");
            }
            assert_eq!(there.matches("laptop-1.zst.age").count(), 1, "byte {at} of {end}: {there}");
        }
        for length in [9, 60, check + 5, first - 5, first, first + 3, last, last + 20, end - 50, end - 20, end - 1] {
            fs::write(&file, &bundle[..length]).unwrap();
            assert!(told(&laptop, &stick, 3).contains("ends early"), "{length} of {end}");
            let alone = by_name(4);
            assert!(alone.contains("cut off") && !alone.contains("corrupt"), "{length} of {end}: {alone}");
        }
        // Behind a whole one, too.
        fs::write(&file, [&small[..], &bundle[..12]].concat()).unwrap();
        assert!(told(&laptop, &stick, 3).contains("ends early"));
        assert!(!laptop.has("whole"));
    }
    fs::write(&file, &large).unwrap();
    told(&laptop, &stick, 0);
    assert!(laptop.has("whole"));
}

#[test]
fn a_link_in_a_directory_is_passed_over_and_what_it_leads_to_is_not_read() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("behind a link");
    let (stick, secret) = (dir.path().join("stick"), dir.path().join("secret"));
    fs::create_dir(&stick).unwrap();
    fs::write(&secret, "root:x:0:0\n").unwrap();
    let bundle = dir.path().join("elsewhere.zst");
    desktop.ok(&["export", "--to", "laptop", "-o", text(&bundle)]);
    std::os::unix::fs::symlink(&secret, stick.join("pw.zst")).unwrap();
    std::os::unix::fs::symlink(&bundle, stick.join("link.zst")).unwrap();
    std::os::unix::fs::symlink("nowhere", stick.join("nowhere.zst")).unwrap();
    laptop.ok(&["import", "--dry-run", text(&stick)]);
    let first = told(&laptop, &stick, 0);
    for name in ["pw.zst", "link.zst", "nowhere.zst"] {
        let line = first.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{name}: {first}"));
        assert!(line.contains("note: ") && line.contains("symbolic link"), "{line}");
    }
    assert!(!first.contains("root:x"), "{first}");
    let again = told(&laptop, &stick, 0);
    assert!(!again.contains("symbolic link") && !again.contains("root:x"), "{again}");
    assert!(!laptop.has("behind a link"));
    // Who names it means it.
    laptop.ok(&["import", "--consume", text(&stick)]);
    assert_eq!(names(&stick).len(), 3);
    laptop.ok(&["import", text(&stick.join("link.zst"))]);
    assert!(laptop.has("behind a link"));
}

#[test]
fn contents_that_a_later_bundle_of_the_same_command_brings_are_not_missed() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    for n in 0..3_u8 {
        let subject = format!("large {n}");
        desktop.put("INBOX", &format!("cur/{n}:2,S"), [message(&subject).as_bytes(), &vec![n; 700_000]].concat(), 1);
    }
    let stick = dir.path().join("stick");
    fs::create_dir(&stick).unwrap();
    desktop.ok(&["export", "--to", "laptop", "--split", "1M", "-o", text(&stick)]);
    let parts: Vec<_> = names(&stick).into_iter().map(|name| stick.join(name)).collect();
    assert!(parts.len() > 1, "{parts:?}");
    // The first part alone tells of more than it holds.
    let late = dir.path().join("late");
    fs::create_dir(&late).unwrap();
    let last = parts.last().unwrap();
    let hidden = late.join(last.file_name().unwrap());
    fs::rename(last, &hidden).unwrap();
    assert!(told(&laptop, &stick, 0).contains("not here yet"));
    assert!(!told(&laptop, &late, 0).contains("not here yet"));
    fs::rename(&hidden, last).unwrap();
    // All together bring all.
    let tablet = Machine::replica(dir.path(), "tablet");
    make_peers(&desktop, &tablet);
    let whole = dir.path().join("whole");
    fs::create_dir(&whole).unwrap();
    desktop.ok(&["export", "--to", "tablet", "--split", "1M", "-o", text(&whole)]);
    let one_by_one: Vec<_> = names(&whole).into_iter().map(|name| whole.join(name)).collect();
    let dry = tablet.ok(&["import", "--dry-run", text(&whole)]).stderr;
    assert!(!dry.contains("not here yet"), "{dry}");
    let args: Vec<&str> = ["import"].into_iter().chain(one_by_one.iter().map(|path| text(path))).collect();
    let ran = tablet.ok(&args);
    assert!(!ran.stderr.contains("not here yet"), "{}", ran.stderr);
    assert_eq!(tablet.files().len(), 3);
}
