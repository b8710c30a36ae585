//! What `verify`, a dry run and JSON say of a bundle is what its import does; and who asks for silence gets it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::machine::{Machine, exchange, pair};
use crate::support::programs::{self, Ran, run};
use crate::support::{files, scratch, text};

/// Messages that hardly shrink, so that they fill parts.
fn put(machine: &Machine, messages: u64) {
    for n in 0..messages {
        let lines = (0..400_u64).map(|i| (n * 1009 + i).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let digits = lines.fold(String::new(), |digits, number| digits + &format!("{number:016x}"));
        machine.put("INBOX", &format!("cur/{n}:2,S"), format!("Subject: {n}\n\n{digits}\n"), 1_600_000_000 + n);
    }
}

/// One small message.
fn put_one(machine: &Machine, n: u64) {
    machine.put("INBOX", &format!("cur/small-{n}:2,S"), format!("Subject: small {n}\n\n"), 1_600_000_000 + n);
}

/// What the one bundle of an import brought: everything that is counted, and the outcome.
fn brought(ran: &Ran) -> serde_json::Value {
    let mut bundle = ran.json()["bundles"][0].clone();
    bundle["file"] = serde_json::Value::Null;
    bundle
}

/// A desktop with mail, a laptop without, and the parts of a bundle for it.
fn in_parts(dir: &Path) -> (Machine, Machine, Vec<PathBuf>) {
    let (desktop, laptop) = pair(dir);
    put(&desktop, 60);
    let to = dir.join("parts");
    std::fs::create_dir(&to).unwrap();
    desktop.ok(&["export", "--to", "laptop", "--split", "128K", "-o", text(&to)]);
    let parts = files(&to);
    assert!(parts.len() > 2, "{parts:?}");
    (desktop, laptop, parts)
}

#[test]
fn verify_says_of_a_later_part_that_it_can_be_applied_as_long_as_it_brings_messages() {
    let dir = scratch();
    let (_desktop, laptop, parts) = in_parts(dir.path());
    laptop.ok(&["import", text(&parts[0])]);
    let ran = laptop.ok(&["verify", text(&parts[1])]);
    assert!(ran.text().contains("is whole and can be applied here"), "{}", ran.text());
    laptop.ok(&["import", text(&parts[1])]);
    let ran = laptop.ok(&["verify", text(&parts[0])]);
    assert!(ran.text().contains("is whole and"), "{}", ran.text());
    for part in &parts[2..] {
        laptop.ok(&["import", text(part)]);
    }
    let ran = laptop.ok(&["verify", text(&parts[1])]);
    assert!(ran.text().contains("is whole and holds nothing new"), "{}", ran.text());
}

/// What `verify` says of each bundle, in words of an import's outcome.
fn verified(machine: &Machine, files: &[&Path]) -> Vec<(String, u64)> {
    let mut args = vec!["verify", "--json"];
    args.extend(files.iter().map(|file| text(file)));
    let ran = machine.run(&args);
    let said = machine.run(&args.iter().copied().filter(|arg| *arg != "--json").collect::<Vec<_>>());
    let word = |line: &str| match line {
        line if line.ends_with("can be applied here") => "applied",
        line if line.ends_with("holds nothing new") => "nothing-new",
        line if line.ends_with("can't be applied yet") => "not-yet",
        line => panic!("{line}"),
    };
    let words: Vec<&str> = said.text().lines().filter(|line| line.contains(" is whole and ")).map(word).collect();
    assert_eq!(said.code, if words.contains(&"not-yet") { 3 } else { 0 }, "{said:?}");
    let documents = ran.json()["bundles"].as_array().unwrap().clone();
    assert_eq!(words.len(), documents.len(), "{said:?} {documents:?}");
    let number = |document: &serde_json::Value| document["number"].as_u64().unwrap();
    words.iter().zip(&documents).map(|(word, document)| ((*word).to_owned(), number(document))).collect()
}

/// What became of each bundle in an import.
fn became(ran: &Ran) -> Vec<(String, u64)> {
    let documents = ran.json()["bundles"].as_array().unwrap().clone();
    let one = |document: &serde_json::Value| {
        (document["outcome"].as_str().unwrap().to_owned(), document["number"].as_u64().unwrap())
    };
    documents.iter().map(one).collect()
}

#[test]
fn verify_judges_each_bundle_as_if_those_before_it_had_been_imported() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    exchange(&desktop, &laptop);
    let file = |name: &str| dir.path().join(name);
    // Each starts from the one before.
    for (n, name) in ["a", "b", "c"].into_iter().enumerate() {
        put_one(&desktop, n as u64);
        for (ending, how) in [("zst", "--plain"), ("zst.age", "--encrypt")] {
            let to = file(&format!("{name}.{ending}"));
            let mut args = vec!["export", "--to", "laptop", how, "-o", text(&to)];
            // What is encrypted starts from what the laptop has shown.
            if ending == "zst" {
                args.push("--since-last");
            }
            desktop.ok(&args);
        }
    }
    let (stick, mixed) = (file("stick"), file("mixed"));
    for (dir, names) in
        [(&stick, [("a.zst", "9.zst"), ("b.zst", "10.zst")]), (&mixed, [("a.zst", "2.zst"), ("c.zst", "1.zst")])]
    {
        std::fs::create_dir(dir).unwrap();
        for (from, to) in names {
            std::fs::copy(file(from), dir.join(to)).unwrap();
        }
    }
    for (to, from) in [
        ("ab", &["a.zst", "b.zst"][..]),
        ("aab", &["a.zst", "a.zst", "b.zst"]),
        ("ba", &["b.zst", "a.zst"]),
        ("ab.age", &["a.zst.age", "b.zst.age"]),
        ("abc.age", &["a.zst", "b.zst", "c.zst.age"]),
    ] {
        let bytes: Vec<u8> = from.iter().flat_map(|name| std::fs::read(file(name)).unwrap()).collect();
        std::fs::write(file(to), bytes).unwrap();
    }
    let (a, b, c) = (file("a.zst"), file("b.zst"), file("c.zst"));
    let mut seen = std::collections::BTreeSet::new();
    for files in [
        vec![file("ab")],
        vec![file("aab")],
        vec![file("ba")],
        vec![file("ab.age")],
        vec![file("abc.age")],
        vec![a.clone(), b.clone()],
        vec![b.clone(), a.clone(), c.clone()],
        vec![b.clone()],
        vec![a.clone(), a.clone()],
        vec![stick.clone()],
        vec![mixed.clone()],
        vec![mixed, stick, c],
    ] {
        let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
        let left = laptop.left();
        let words = verified(&laptop, &files);
        assert_eq!(laptop.left(), left, "{files:?}");
        let mut args = vec!["--json", "import", "--dry-run"];
        args.extend(files.iter().map(|file| text(file)));
        assert_eq!(became(&laptop.run(&args)), words, "a dry run of {files:?}");
        // One that has nothing comes to it as the laptop did.
        let backup = crate::support::machine::Backup::of(&laptop);
        args.remove(2);
        assert_eq!(became(&laptop.run(&args)), words, "an import of {files:?}");
        backup.restore(&laptop);
        std::fs::remove_dir_all(laptop.home.with_extension("backup")).unwrap();
        seen.extend(words);
    }
    for outcome in ["applied", "nothing-new", "not-yet"] {
        assert!(seen.iter().any(|(word, _)| word == outcome), "{outcome} in {seen:?}");
    }
}

#[test]
fn verify_of_all_parts_says_that_each_can_be_applied() {
    let dir = scratch();
    let (_desktop, laptop, parts) = in_parts(dir.path());
    let files: Vec<&Path> = parts.iter().map(PathBuf::as_path).collect();
    assert!(verified(&laptop, &files).iter().all(|(word, _)| word == "applied"));
    assert_eq!(verified(&laptop, &[parts[0].parent().unwrap()]).len(), parts.len());
    // Named twice, each has nothing new the second time.
    let twice = verified(&laptop, &[&files[..], &files].concat());
    assert_eq!(twice.iter().filter(|(word, _)| word == "nothing-new").count(), parts.len() - 1, "{twice:?}");
}

#[test]
fn verify_accepts_the_first_bundle_of_a_replica_that_was_invited() {
    let dir = scratch();
    let desktop = Machine::replica(dir.path(), "desktop");
    put(&desktop, 2);
    let invitation = dir.path().join("invitation");
    desktop.ok(&["invite", "laptop", "--plain", "-o", text(&invitation)]);
    let laptop = Machine::new(dir.path(), "laptop");
    laptop.ok(&["join", text(&laptop.mail), text(&invitation)]);
    laptop.put("INBOX", "cur/new:2,S", "Subject: new\n\nnew\n", 1_600_000_100);
    let answer = dir.path().join("answer");
    laptop.ok(&["export", "--to", "desktop", "-o", text(&answer)]);
    let before = desktop.ok(&["peer", "list"]).text().to_owned();
    let ran = desktop.ok(&["verify", text(&answer)]);
    assert!(ran.text().contains("from laptop is whole and can be applied here"), "{}", ran.text());
    assert_eq!(desktop.ok(&["peer", "list"]).text(), before, "to look at it accepts nothing");
    let twice = desktop.ok(&["verify", "--json", text(&answer)]).json();
    assert_eq!(twice["bundles"][0]["applicable"], true, "{twice}");
    desktop.ok(&["import", text(&answer)]);
    assert_ne!(desktop.ok(&["peer", "list"]).text(), before);
}

#[test]
fn a_dry_run_counts_what_the_import_counts() {
    let dir = scratch();
    let (_desktop, laptop, parts) = in_parts(dir.path());
    let everything = laptop.everything();
    let mut new = 0;
    for part in &parts {
        let dry = laptop.ok(&["import", "--dry-run", "--json", text(part)]);
        if new == 0 {
            assert!(laptop.everything().keys().eq(everything.keys()), "a dry run makes nothing");
        }
        let real = laptop.ok(&["import", "--json", text(part)]);
        assert_eq!(brought(&dry), brought(&real), "{}", part.display());
        new += brought(&real)["new"].as_u64().unwrap();
    }
    assert_eq!(new, 60);
}

#[test]
fn the_json_of_an_import_has_every_number_that_the_text_has() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    put(&desktop, 1);
    desktop.put("Archive", "cur/x:2,S", "Subject: x\n\nx\n", 1_600_000_000);
    let bundle = dir.path().join("bundle");
    desktop.ok(&["export", "--to", "laptop", "-o", text(&bundle)]);
    let said = laptop.ok(&["import", "--dry-run", text(&bundle)]).stderr;
    let json = brought(&laptop.ok(&["import", "--json", text(&bundle)]));
    let folders = json["folders"].as_u64().unwrap();
    assert!(folders > 0 && said.contains(&format!("{folders} folder made or removed")), "{said}: {json}");
    for number in ["new", "moved", "flagged", "removed", "jobs"] {
        assert!(json[number].is_u64(), "{number}: {json}");
    }
}

/// What a terminal shows of an import whose bundle takes longer to come than a progress bar waits.
fn slowly(laptop: &Machine, bundle: &Path, options: &str) -> String {
    let import = laptop.line(&format!("import {options}"));
    let command = format!("(head -c 100000 {0}; sleep 1; tail -c +100001 {0}) | {import}", text(bundle));
    let ran =
        run(Command::new("script").args(["-qec", &command, "/dev/null"]).env("TERM", "vt100").stdin(Stdio::null()));
    assert_eq!(ran.code, 0, "{}", String::from_utf8_lossy(&ran.stdout));
    String::from_utf8_lossy(&ran.stdout).into_owned()
}

#[test]
fn quiet_draws_no_progress_bars() {
    if programs::find("script").is_none() {
        println!("skipped: there is no script(1) to see a terminal with");
        return;
    }
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    put(&desktop, 60);
    let bundle = dir.path().join("bundle");
    desktop.ok(&["export", "--to", "laptop", "-o", text(&bundle)]);
    let seen = slowly(&laptop, &bundle, "--dry-run");
    assert!(seen.contains("receiving KiB"), "there would have been a bar: {seen}");
    let seen = slowly(&laptop, &bundle, "--quiet");
    assert_eq!(seen.trim(), "");
}
