//! What becomes a file is encrypted for its recipient and its sender, and read as any other bundle; what goes to a stream
//! is not, unless somebody says so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::machine::{Machine, complains, exchange, make_peers, pair};
use crate::support::programs::{self, Ran, peak, run};
use crate::support::{names, scratch, text};

const AGE: &[u8] = b"age-encryption.org/v1\n";
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

fn share(dir: &Path) -> PathBuf {
    let share = dir.join("share");
    fs::create_dir(&share).unwrap();
    share
}

/// The last line that was said.
fn last(ran: &Ran) -> &str {
    ran.stderr.lines().last().unwrap_or_default()
}

#[test]
fn what_becomes_a_file_is_for_the_eyes_of_its_recipient() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let server = Machine::replica(dir.path(), "server");
    make_peers(&desktop, &server);
    desktop.deliver("a secret");
    let share = share(dir.path());
    let ran = desktop.ok(&["export", "--to", "laptop", "-o", text(&share)]);
    assert!(last(&ran).ends_with("; encrypted for laptop and this replica"), "{ran:?}");
    assert_eq!(names(&share), ["desktop-laptop-1.zst.age"]);
    let file = share.join("desktop-laptop-1.zst.age");
    let bytes = fs::read(&file).unwrap();
    assert!(bytes.starts_with(AGE));
    assert!(!bytes.windows(4).any(|bytes| bytes == ZSTD));

    // Its sender and its recipient can look at it, and nobody else.
    for machine in [&desktop, &laptop] {
        let ran = machine.ok(&["inspect", "--json", text(&file)]);
        assert_eq!(ran.json()["bundles"][0]["encrypted"], true, "{ran:?}");
    }
    server.refuses(&["inspect", text(&file)], b"", 4, &["encrypted for others"]);
    server.refuses(&["verify", text(&file)], b"", 4, &["encrypted for others"]);
    let ran = server.run(&["import", "--json", text(&file)]);
    assert_eq!((ran.code, &ran.json()["bundles"][0]["outcome"]), (4, &"for-someone-else".into()), "{ran:?}");
    complains(&ran, 4, &["the bundle is encrypted for others", "import it on the machine that it is for"]);

    laptop.ok(&["verify", text(&file)]);
    laptop.ok(&["import", "--consume", text(&file)]);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
    assert!(names(&share).is_empty());

    // One for anyone is for all peers.
    let ran = desktop.ok(&["export", "-o", text(&dir.path().join("any.zst"))]);
    assert!(last(&ran).ends_with("; encrypted for laptop, server and this replica"), "{ran:?}");
    for machine in [&laptop, &server] {
        machine.ok(&["import", text(&dir.path().join("any.zst"))]);
    }
    assert_eq!(server.mailbox(), desktop.mailbox());
}

#[test]
fn what_goes_to_a_stream_is_as_it_is_unless_somebody_says_so() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("one");
    let ran = desktop.ok(&["export"]);
    assert!(ran.stdout.starts_with(ZSTD));
    assert!(last(&ran).ends_with("; not encrypted"), "{ran:?}");
    let ran = desktop.ok(&["export", "--encrypt"]);
    assert!(ran.stdout.starts_with(AGE));
    assert!(last(&ran).ends_with("; encrypted for laptop and this replica"), "{ran:?}");
    assert_eq!(laptop.run_with(&["import"], &ran.stdout).code, 0);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
    // A device is a stream, whatever its name.
    assert!(desktop.ok(&["export", "-o", "/dev/stdout"]).stdout.starts_with(ZSTD));

    let file = dir.path().join("b");
    let first = |args: &[&str]| {
        let ran = desktop.ok(&[&["export", "--force", "-o", text(&file)], args].concat());
        (fs::read(&file).unwrap()[..4].to_vec(), ran)
    };
    assert_eq!(first(&[]).0, AGE[..4]);
    // The first file that is not encrypted is warned of, if somebody listens.
    let (opening, ran) = first(&["--plain", "--quiet"]);
    assert_eq!((&opening[..], &*ran.stderr), (ZSTD, ""));
    let (opening, ran) = first(&["--plain"]);
    assert_eq!(opening, ZSTD);
    assert!(last(&ran).contains("is not encrypted, so whoever gets it can read the mail in it"), "{ran:?}");
    let (_, ran) = first(&["--plain"]);
    assert!(last(&ran).ends_with("; not encrypted"), "{ran:?}");

    // The configuration, for all or for one.
    desktop.configure("[peer.laptop]\nencrypt = \"never\"");
    assert_eq!(first(&[]).0, ZSTD);
    assert_eq!(first(&["--encrypt"]).0, AGE[..4]);
    desktop.reconfigure(&[("encrypt", "\"always\"")]);
    assert!(desktop.ok(&["export"]).stdout.starts_with(ZSTD), "the peer's rule counts");
    let text_of_config = fs::read_to_string(desktop.home.join("config.toml")).unwrap();
    fs::write(desktop.home.join("config.toml"), text_of_config.replace("encrypt = \"never\"", "timeout = \"1m\""))
        .unwrap();
    assert!(desktop.ok(&["export"]).stdout.starts_with(AGE));
    assert!(desktop.ok(&["export", "--plain"]).stdout.starts_with(ZSTD));
    // A peer without a call is none that `update` reaches.
    desktop.refuses(&["update"], b"", 2, &["doesn't tell how to reach any peer"]);
}

#[test]
fn nothing_in_clear_touches_a_stick() {
    let dir = scratch();
    let (desktop, _laptop) = pair(dir.path());
    let share = share(dir.path());
    let mut noise = 1_u64;
    for n in 0..40 {
        let mut body = format!("Subject: {n}\n\n").into_bytes();
        for _ in 0..(1 << 17) {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            body.extend_from_slice(&noise.to_be_bytes());
        }
        fs::write(desktop.dir("INBOX").join("cur").join(format!("{n}.h:2,S")), body).unwrap();
    }
    desktop.ok(&["scan"]);
    let mut export = desktop.command(&["export", "-o", text(&share)]).spawn().unwrap();
    let mut seen = 0;
    while export.try_wait().unwrap().is_none() {
        for name in names(&share) {
            // It may have got its name meanwhile.
            let Ok(bytes) = fs::read(share.join(&name)) else { continue };
            let opening = &bytes[..bytes.len().min(AGE.len())];
            assert_eq!(opening, &AGE[..opening.len()], "{name}");
            seen += usize::from(name.starts_with(".mailsync-") && !opening.is_empty());
        }
    }
    assert!(export.wait().unwrap().success());
    assert!(seen > 0, "the file was seen while it was written");
    assert_eq!(names(&share), ["desktop-laptop-1.zst.age"]);
}

#[test]
fn mail_comes_out_of_an_encrypted_bundle_with_age_zstd_and_tar_alone() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.put("INBOX", "cur/1.h:2,S", "Subject: secret\n\nThe treasure lies under the oak.\n", 1_500_000_000);
    let file = dir.path().join("b.zst.age");
    desktop.ok(&["export", "-o", text(&file)]);
    let openers: Vec<&str> =
        ["age", "rage"].into_iter().filter(|program| programs::path_of(program).is_some()).collect();
    if !openers.contains(&"rage") {
        println!("rage, which is another age, is left out: it is not installed");
    }
    assert!(openers.contains(&"age"), "please install age");
    for opener in openers {
        let out = dir.path().join(opener);
        fs::create_dir(&out).unwrap();
        let line = format!("{opener} -d -i {} {} | zstd -d | tar x", text(&laptop.home.join("key")), text(&file));
        let ran = run(Command::new("sh").args(["-c", &line]).current_dir(&out));
        assert_eq!(ran.code, 0, "{opener}: {ran:?}");
        let [message] = &crate::support::files(&out.join("messages"))[..] else { panic!("{:?}", names(&out)) };
        assert!(fs::read_to_string(message).unwrap().contains("under the oak"));
    }
}

/// The peaks of memory, in MiB, of what is done with encrypted bundles of so many messages of 1 MiB that don't shrink.
fn peaks(messages: u64) -> Vec<(&'static str, u64)> {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let (server, tablet) = (Machine::replica(dir.path(), "server"), Machine::new(dir.path(), "tablet"));
    make_peers(&desktop, &server);
    let mut noise = 1_u64;
    let mut body = vec![0; 1 << 20];
    for n in 0..messages {
        for byte in &mut body {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = noise.to_be_bytes()[0] | 1;
        }
        desktop.put("INBOX", &format!("cur/{n}:2,S"), [b"Subject: x\n\n", &body[..]].concat(), 1_600_000_000 + n);
    }
    desktop.ok(&["scan"]);
    let (file, invitation) = (dir.path().join("file"), dir.path().join("invitation"));
    let mut peaks = Vec::new();
    let mut run = |what, command: &mut Command| peaks.push((what, peak(command, |_| {})));
    run("in clear", &mut desktop.command(&["export", "--to", "laptop", "--plain", "-o", text(&file)]));
    run("export", &mut desktop.command(&["export", "--to", "laptop", "--force", "-o", text(&file)]));
    run("rehearsal", &mut laptop.command(&["import", "--dry-run", text(&file)]));
    run("import", &mut laptop.command(&["import", text(&file)]));
    run("verify", &mut laptop.command(&["verify", text(&file)]));
    // Where it is for somebody else, all of it goes by: with another one behind it, the import ends well.
    let own = dir.path().join("own");
    fs::write(&own, desktop.ok(&["export", "--to", "server", "--encrypt"]).stdout).unwrap();
    let line = format!("cat {} {} | {}; test $? = 4", text(&file), text(&own), server.line("import"));
    let ran = programs::run(Command::new("sh").arg("-c").arg(line));
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(server.mailbox().len(), usize::try_from(messages).unwrap());
    // And with a code.
    let ran = desktop.ok(&["--json", "invite", "tablet", "-o", text(&invitation)]);
    let code = ran.json()["code"].as_str().unwrap().to_owned();
    let mut join = tablet.command(&["join", text(&tablet.mail), text(&invitation)]);
    run("join", join.env("MAILSYNC_CODE", code));
    assert_eq!(tablet.mailbox().len(), usize::try_from(messages).unwrap());
    peaks
}

#[test]
fn memory_does_not_grow_with_what_is_encrypted() {
    let (few, many) = (peaks(12), peaks(96));
    println!("{few:?} {many:?}");
    for peaks in [&few, &many] {
        // The compression has a window, which that much mail fills. Encryption takes next to nothing besides.
        let [("in clear", plain), ("export", encrypted), ..] = peaks[..] else { panic!("{peaks:?}") };
        assert!(plain > 0 && encrypted < plain + 32 && encrypted < 160, "{plain} and {encrypted} MiB");
    }
    for ((what, few), (_, many)) in few.iter().zip(&many).skip(2) {
        assert!(*few > 0 && *many < *few + 12 && *many < 128, "{what}: {few} and {many} MiB");
    }
}

#[test]
fn what_is_encrypted_for_others_is_passed_over() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let [one, other] = ["one", "other"].map(|name| Machine::replica(dir.path(), name));
    make_peers(&one, &other);
    let share = share(dir.path());
    one.deliver("between them");
    let foreign = one.ok(&["export", "--encrypt"]).stdout;
    one.ok(&["export", "-o", text(&share)]);
    desktop.deliver("mine");
    let mine = desktop.ok(&["export", "--encrypt"]).stdout;
    let plain = desktop.ok(&["export"]).stdout;

    // In a directory it is none of this machine's business.
    let ran = laptop.ok(&["import", "--consume", text(&share)]);
    assert!(last(&ran).contains("1 file there is for others, or from replicas that are not known here"), "{ran:?}");
    assert_eq!(names(&share), ["one-other-2.zst.age"]);
    // Cut off, damaged: that is for others to find out. Only the header is read.
    let file = share.join("one-other-2.zst.age");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 100]).unwrap();
    laptop.ok(&["import", text(&share)]);

    // In a stream what stands before it and behind it is taken, whether it is kept first or not.
    for stream in [
        [&plain[..], &foreign, &mine, &foreign].concat(),
        [&foreign[..], &mine].concat(),
        [&foreign[..], &foreign, &mine, &mine].concat(),
    ] {
        let fresh = crate::support::machine::Backup::of(&laptop);
        let ran = laptop.run_with(&["import", "--json"], &stream);
        assert_eq!(ran.code, 4, "{ran:?}");
        assert_eq!(laptop.mailbox(), desktop.mailbox());
        let file = dir.path().join("stream");
        fs::write(&file, &stream).unwrap();
        fresh.restore(&laptop);
        let json = ran.json();
        let mut outcomes: Vec<&str> =
            json["bundles"].as_array().unwrap().iter().map(|one| one["outcome"].as_str().unwrap()).collect();
        let ran = laptop.run(&["import", "--json", text(&file)]);
        assert_eq!(ran.code, 4, "{ran:?}");
        let json = ran.json();
        let mut of_file: Vec<&str> =
            json["bundles"].as_array().unwrap().iter().map(|one| one["outcome"].as_str().unwrap()).collect();
        outcomes.sort_unstable();
        of_file.sort_unstable();
        assert_eq!(outcomes, of_file);
        fresh.restore(&laptop);
    }
}

#[test]
fn an_encrypted_bundle_of_ones_own_goes_when_nobody_needs_it() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    exchange(&desktop, &laptop);
    let share = share(dir.path());
    for subject in ["one", "two"] {
        desktop.deliver(subject);
        desktop.ok(&["export", "-o", text(&share)]);
    }
    let [first, second] = &names(&share)[..] else { panic!("{:?}", names(&share)) };
    // Somebody has put another one behind it: that may be needed.
    let foreign = Machine::replica(dir.path(), "third");
    make_peers(&foreign, &laptop);
    let behind = foreign.ok(&["export", "--to", "laptop", "--encrypt"]).stdout;
    let whole = fs::read(share.join(first)).unwrap();
    fs::write(share.join(first), [&whole[..], &behind].concat()).unwrap();
    desktop.ok(&["import", "--consume", text(&share)]);
    assert_eq!(names(&share).len(), 2);
    fs::write(share.join(first), &whole).unwrap();
    let ran = desktop.ok(&["import", "--consume", text(&share)]);
    assert!(last(&ran).contains("removed 1 bundle from this replica"), "{ran:?}");
    assert_eq!(names(&share), std::slice::from_ref(second));
    // A file that nobody can open here may be anything, and is not replaced.
    let strange = dir.path().join("strange.age");
    fs::write(&strange, &behind).unwrap();
    desktop.refuses(
        &["export", "-o", text(&strange)],
        b"",
        6,
        &["there is already a file that is encrypted, and that this replica can't open"],
    );
    assert_eq!(fs::read(&strange).unwrap(), behind);
    desktop.ok(&["export", "--force", "-o", text(&share.join(second))]);
}

#[test]
fn an_answer_that_only_its_recipient_can_read_is_given_to_an_old_bundle_too() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    let old = laptop.ok(&["export", "--to", "desktop"]).stdout;
    assert_eq!(desktop.run_with(&["import", "--reply"], &old).code, 0);
    desktop.deliver("a secret");
    assert_eq!(desktop.run_with(&["import", "--reply"], &old).code, 6);
    desktop.configure("[peer.laptop]\nencrypt = \"always\"");
    let ran = desktop.run_with(&["import", "--reply"], &old);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.starts_with(AGE));
    assert_eq!(laptop.run_with(&["import"], &ran.stdout).code, 0);
    assert!(laptop.has("a secret"));
}

#[test]
fn update_encrypts_where_the_configuration_says_so() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.deliver("one");
    laptop.deliver("two");
    let seen = dir.path().join("seen");
    let call = format!("tee {} | {}", text(&seen), laptop.line("import --reply"));
    desktop.configure(&format!("[peer.laptop]\ncall = [\"sh\", \"-c\", \"{call}\"]\nencrypt = \"always\""));
    desktop.ok(&["update"]);
    assert!(fs::read(&seen).unwrap().starts_with(AGE));
    assert_eq!(laptop.mailbox(), desktop.mailbox());
    assert_eq!(desktop.mailbox().len(), 2);
}

#[test]
fn nothing_is_encrypted_for_a_key_that_is_not_known() {
    let dir = scratch();
    let desktop = Machine::replica(dir.path(), "desktop");
    let file = dir.path().join("b");
    desktop.ok(&["invite", "laptop", "--plain", "-o", text(&file)]);
    desktop.deliver("more");
    desktop.ok(&["scan"]);
    let next = dir.path().join("next");
    let why = &["was invited and has not answered", "--plain"];
    desktop.refuses(&["export", "--to", "laptop", "-o", text(&next)], b"", 6, why);
    assert!(!next.exists());
    desktop.ok(&["export", "--to", "laptop", "--plain", "-o", text(&next)]);
    let laptop = Machine::new(dir.path(), "laptop");
    laptop.ok(&["join", text(&laptop.mail), text(&file)]);
    laptop.ok(&["import", text(&next)]);
    // An invitation by key is for that key.
    let tablet = Machine::new(dir.path(), "tablet");
    fs::create_dir_all(&tablet.home).unwrap();
    let key = mailsync::bundle::PrivateKey::generate("tablet").unwrap();
    fs::write(tablet.home.join("key"), key.to_openssh()).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(tablet.home.join("key"), mode).unwrap();
    let ran = desktop.ok(&["invite", "tablet", "--key", &key.public_key().to_openssh(), "--force", "-o", text(&file)]);
    assert!(ran.stderr.contains("; encrypted for tablet and this replica"), "{ran:?}");
    assert!(fs::read(&file).unwrap().starts_with(AGE));
    tablet.ok(&["join", text(&tablet.mail), text(&file)]);
    assert_eq!(tablet.mailbox(), desktop.mailbox());
}
