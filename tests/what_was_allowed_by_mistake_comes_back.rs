//! Much was removed or moved by mistake, and somebody has allowed it, or the guard has refused it: what that is told names the
//! way back, and the mail comes back on every machine.

use std::fs;
use std::path::Path;

use crate::support::machine::{Machine, exchange, message, pair};
use crate::support::{make_folder, scratch, text};

const LISTS: usize = 120;

fn with_lists(dir: &Path) -> (Machine, Machine) {
    let (desktop, laptop) = pair(dir);
    for number in 0..LISTS {
        desktop.put("Lists", &format!("cur/{number}:2,FS"), message(&format!("digest {number}")), 1_600_000_000);
    }
    exchange(&desktop, &laptop);
    (desktop, laptop)
}

/// The command that begins like this, as a person is told to type it, by its words.
fn told_to_type(said: &str, begins: &str) -> Vec<String> {
    let from = said.find(&format!("`{begins}")).unwrap_or_else(|| panic!("{begins} is not in {said}")) + 1;
    let line = said[from..].split('`').next().unwrap();
    let mut words = Vec::new();
    for (n, part) in line.split('"').enumerate() {
        if n % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    assert_eq!(words.remove(0), "mailsync");
    words
}

/// Types that command.
fn does_as_told(machine: &Machine, said: &str, begins: &str) {
    machine.ok(&told_to_type(said, begins).iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn what_an_import_was_allowed_to_remove_comes_back_everywhere_by_the_command_that_it_names() {
    let dir = scratch();
    let (desktop, laptop) = with_lists(dir.path());
    let before = laptop.mailbox();
    fs::remove_dir_all(desktop.dir("Lists")).unwrap();
    desktop.ok(&["scan", "--allow-mass-delete"]);
    let bundle = dir.path().join("bundle.zst");
    desktop.ok(&["export", "--to", "laptop", "-o", text(&bundle)]);
    laptop.refuses(&["import", text(&bundle)], &[], 6, &["120 of the 120 messages in Lists"]);
    // Nothing is said of a way back as long as there is nothing to come back from.
    let dry = laptop.ok(&["import", "--dry-run", "--allow-mass-delete", text(&bundle)]);
    assert!(!dry.stderr.contains("trash restore"), "{}", dry.stderr);

    let allowed = laptop.ok(&["import", "--allow-mass-delete", text(&bundle)]);
    assert!(laptop.mailbox().is_empty());
    assert!(allowed.stderr.contains("much was removed or moved elsewhere, as was allowed"), "{}", allowed.stderr);
    assert!(!allowed.stderr.contains("mailsync undo"), "{}", allowed.stderr);
    does_as_told(&laptop, &allowed.stderr, "mailsync trash restore");
    assert_eq!(laptop.mailbox(), before);
    // The machine that has removed it gets it back, and asks nobody.
    exchange(&laptop, &desktop);
    assert_eq!(desktop.mailbox(), before);
    assert_eq!(laptop.mailbox(), before);
}

#[test]
fn what_an_import_was_allowed_to_move_goes_back_by_the_command_that_it_names() {
    let dir = scratch();
    let (desktop, laptop) = with_lists(dir.path());
    for number in 0..LISTS {
        let to = desktop.dir(["A", "B"][number % 2]);
        make_folder(&to);
        let name = format!("cur/{number}:2,FS");
        fs::rename(desktop.dir("Lists").join(&name), to.join(&name)).unwrap();
    }
    let before = laptop.mailbox();
    let bundle = desktop.ok(&["export", "--to", "laptop"]).stdout;
    assert_eq!(laptop.run_with(&["import"], &bundle).code, 6);
    let allowed = laptop.run_with(&["import", "--allow-mass-delete"], &bundle);
    assert_eq!(allowed.code, 0, "{}", allowed.stderr);
    assert!(!allowed.stderr.contains("trash restore"), "{}", allowed.stderr);
    does_as_told(&laptop, &allowed.stderr, "mailsync undo");
    assert_eq!(laptop.mailbox(), before);
}

#[test]
fn a_removal_that_others_refuse_is_taken_back_where_it_was_made() {
    let dir = scratch();
    let (desktop, laptop) = with_lists(dir.path());
    let before = laptop.mailbox();
    fs::remove_dir_all(desktop.dir("Lists")).unwrap();
    desktop.ok(&["scan", "--allow-mass-delete"]);
    let bundle = desktop.ok(&["export", "--to", "laptop"]).stdout;
    assert_eq!(laptop.run_with(&["import"], &bundle).code, 6);
    // As docs/guide.md has it.
    let log = desktop.ok(&["log", "--removed", "--since", "1h", "-n", "100000", "--json"]).json();
    let digests: Vec<&str> =
        log["changes"].as_array().unwrap().iter().map(|change| change["digest"].as_str().unwrap()).collect();
    assert_eq!(digests.len(), LISTS);
    let said = desktop.ok(&[&["restore"], &digests[..]].concat());
    assert!(said.stderr.contains("by the next bundles from here: 120 messages"), "{}", said.stderr);
    // The other machine takes that without being asked for anything, and sends what is missing.
    exchange(&desktop, &laptop);
    exchange(&desktop, &laptop);
    assert_eq!(laptop.mailbox(), before);
    assert_eq!(desktop.mailbox(), before);
}

#[test]
fn what_others_refuse_comes_back_everywhere_by_the_one_command_that_the_refusal_names_and_the_alarm_ends() {
    let dir = scratch();
    let (desktop, laptop) = with_lists(dir.path());
    let before = laptop.mailbox();
    // What was removed earlier stays removed, and what was removed in other folders, too.
    desktop.put("Other", "cur/other:2,S", message("other"), 1_600_000_000);
    desktop.ok(&["scan"]);
    desktop.remove("other");
    fs::remove_dir_all(desktop.dir("Lists")).unwrap();
    desktop.ok(&["scan", "--allow-mass-delete"]);
    let bundle = desktop.ok(&["export", "--to", "laptop"]).stdout;
    let refused = laptop.run_with(&["import"], &bundle);
    assert_eq!(refused.code, 6, "{refused:?}");
    let status = laptop.ok(&["status", "--json"]).json();
    assert_eq!(status["peers"][0]["waits"]["refused"], true, "{status}");
    assert_eq!(status["alarms"].as_array().unwrap().len(), 1);
    let words = laptop.ok(&["status"]).words();
    assert!(words.contains("or a newer one of desktop, is imported with --allow-mass-delete"), "{words}");
    assert!(words.contains(" of desktop, which was refused"), "{words}");

    let nothing = desktop.fails(&["restore", "Lists"], 1);
    assert!(nothing.contains("mailsync restore Lists --since TIME"), "{nothing}");
    let typed: Vec<String> = told_to_type(&refused.stderr, "mailsync restore")
        .into_iter()
        .map(|word| if word == "TIME" { String::from("1h") } else { word })
        .collect();
    let typed: Vec<&str> = typed.iter().map(String::as_str).collect();
    assert_eq!(typed, ["restore", "Lists", "--since", "1h"]);
    let left = desktop.left();
    let dry = desktop.ok(&[&typed[..], &["-n", "--json"]].concat()).json();
    assert_eq!(dry["wanted"], LISTS, "{dry}");
    assert_eq!(desktop.left(), left);
    desktop.ok(&typed);
    let again = desktop.ok(&[&typed[..], &["--json"]].concat()).json();
    assert_eq!(again["wanted"], LISTS, "what is wanted already is told, and not delivered a second time: {again}");
    exchange(&desktop, &laptop);
    assert_eq!(laptop.ok(&["status", "--json"]).json()["alarms"], serde_json::json!([]));
    assert_eq!(laptop.ok(&["status", "--json"]).json()["peers"][0]["waits"], serde_json::Value::Null);
    exchange(&desktop, &laptop);
    assert_eq!(laptop.mailbox(), before);
    assert_eq!(desktop.mailbox(), before);
}

#[test]
fn what_was_removed_before_the_time_that_is_given_stays_removed() {
    let dir = scratch();
    let (desktop, laptop) = with_lists(dir.path());
    desktop.put("Lists", "cur/earlier:2,S", message("earlier"), 1_600_000_000);
    desktop.put("Other", "cur/digest 1:2,S", message("digest 1"), 1_600_000_000);
    exchange(&desktop, &laptop);
    desktop.remove("earlier");
    desktop.ok(&["scan"]);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let since = jiff::Timestamp::now().to_string();
    for number in 0..3 {
        fs::remove_file(desktop.dir("Lists").join(format!("cur/{number}:2,FS"))).unwrap();
    }
    desktop.ok(&["scan"]);
    let ran = desktop.ok(&["restore", "--all", "--since", &since, "--json"]);
    assert_eq!((&ran.json()["wanted"], &ran.json()["restored"]), (&2.into(), &1.into()), "{ran:?}");
    assert!(ran.stderr.contains("1 message of those that come back are in other folders as well"), "{ran:?}");
    exchange(&desktop, &laptop);
    exchange(&desktop, &laptop);
    assert!(!desktop.has("earlier") && !laptop.has("earlier"));
    assert_eq!(laptop.mailbox().len(), LISTS);
    assert_eq!(laptop.mailbox(), desktop.mailbox());
}
