//! Where a size is told, it is that of the file, next to that of the mail in it.

use std::fs;

use crate::support::machine::pair;
use crate::support::{scratch, text};

#[test]
fn the_size_of_a_file_is_told_next_to_that_of_the_mail_in_it() {
    let dir = scratch();
    let (desktop, laptop) = pair(dir.path());
    desktop.put("INBOX", "cur/large:2,S", "the same words again and again\n".repeat(5000), 1);
    let stick = dir.path().join("stick");
    fs::create_dir(&stick).unwrap();
    for secrecy in ["--plain", "--encrypt"] {
        let ran = desktop.ok(&["export", "--to", "laptop", secrecy, "-o", text(&stick), "--json"]);
        let written = ran.json()["bundles"][0].clone();
        let file = written["file"].as_str().unwrap();
        let size = fs::metadata(file).unwrap().len();
        assert!(size < 20_000, "{size}");
        assert_eq!((&written["file_bytes"], &written["bytes"]), (&size.into(), &155_000.into()), "{secrecy}");
        let human = format!("{:.1} KiB", size as f64 / 1024.0);
        assert!(ran.stderr.contains(&format!("1 message of 151.4 KiB; {human} in all; ")), "{ran:?} {human}");
        let looked = laptop.ok(&["inspect", file, "--json"]).json()["bundles"][0].clone();
        assert_eq!((&looked["file_bytes"], &looked["bytes"]), (&size.into(), &155_000.into()), "{secrecy}");
        let looked = laptop.ok(&["inspect", file]);
        assert!(
            looked.text().contains("1 message of 151.4 KiB") && looked.text().contains(&format!("file       {human}"))
        );
        let peer = desktop.ok(&["status", "--json"]).json()["peers"][0].clone();
        assert_eq!((&peer["last_sent_bytes"], &peer["unseen_bytes"]), (&size.into(), &155_000.into()));
        assert!(desktop.ok(&["status"]).text().contains(&format!(", {human}\n")));
    }
    // Two behind each other are two.
    let files = ["1.zst", "2.zst.age"].map(|end| fs::read(stick.join(format!("desktop-laptop-{end}"))).unwrap());
    let looked = laptop.run_with(&["inspect", "-", "--json"], &files.concat()).json();
    let sizes: Vec<u64> =
        looked["bundles"].as_array().unwrap().iter().map(|one| one["file_bytes"].as_u64().unwrap()).collect();
    assert_eq!(sizes, [files[0].len() as u64, files[1].len() as u64]);
    let planned = desktop.ok(&["export", "--to", "laptop", "--dry-run", "--json"]);
    assert_eq!(planned.json()["bundles"][0]["file_bytes"], serde_json::Value::Null, "nobody knows before");
    let stream = desktop.run(&["export", "--to", "laptop"]);
    let human = format!("{:.1} KiB in all", stream.stdout.len() as f64 / 1024.0);
    assert!(stream.stderr.contains(&human), "{human}: {}", stream.stderr);
    let invited =
        desktop.ok(&["invite", "phone", "--plain", "-o", text(&stick), "--json"]).json()["bundles"][0].clone();
    let size = fs::metadata(invited["file"].as_str().unwrap()).unwrap().len();
    assert_eq!(invited["file_bytes"], size);
    desktop.reach(&laptop);
    laptop.deliver("mail");
    let ran = desktop.ok(&["update", "--json"]);
    let told = ran.json()["peers"][0].clone();
    let (went, came) = (told["sent"]["file_bytes"].as_u64().unwrap(), told["received_bytes"].as_u64().unwrap());
    assert!((500..20_000).contains(&went) && (500..20_000).contains(&came), "{told}");
    assert_eq!(told["sent"]["bytes"], 155_000);
    let words = |size: u64| if size < 1024 { format!("{size} B") } else { format!("{:.1} KiB", size as f64 / 1024.0) };
    let sizes = format!("; {} went there (1 message of 151.4 KiB), {} came", words(went), words(came));
    assert!(ran.stderr.contains(&sizes), "{sizes}: {}", ran.stderr);
}
