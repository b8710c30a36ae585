//! The files of a directory are imported in the order of their senders' ids. Whether those of a machine that was stolen stand
//! there before or behind the bundle that tells of the theft makes no difference.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::a_lost_machine_is_shut_out::{mesh, moment, peer};
use crate::support::machine::Machine;
use crate::support::{scratch, text};

/// A server, and two machines that leave bundles for it in one directory.
struct Shared {
    server: Machine,
    honest: Machine,
    thief: Machine,
    directory: PathBuf,
    theft: String,
}

impl Shared {
    /// Before anything was said, and after the theft.
    fn new(dir: &Path, thief_comes_first: bool) -> Self {
        let [server, one, other] = mesh(dir, ["server", "one", "other"]);
        let one_comes_first = one.public_key().id() < other.public_key().id();
        let (thief, honest) = if one_comes_first == thief_comes_first { (one, other) } else { (other, one) };
        let directory = dir.join("shared");
        fs::create_dir(&directory).unwrap();
        let theft = moment();
        thief.deliver("forged");
        thief.remove("wanted");
        honest.deliver("news");
        Self { server, honest, thief, directory, theft }
    }

    fn revoke(&self) {
        self.honest.ok(&["peer", "revoke", &self.thief.name, "--since", &self.theft, "--reason", "stolen"]);
    }

    /// Leaves a bundle for all in the directory, or for the server.
    fn leave(&self, machine: &Machine, options: &[&str]) {
        machine.ok(&[&["export", "-o", text(&self.directory)], options].concat());
    }

    fn import(&self, code: i32, options: &[&str]) -> String {
        let ran = self.server.run(&[&["import", text(&self.directory)], options].concat());
        assert_eq!(ran.code, code, "{ran:?}");
        ran.stderr
    }

    fn shut_out(&self) -> Vec<&str> {
        let list = self.server.ok(&["peer", "list", "--json"]).json();
        let is_out = |machine: &&Machine| peer(&self.server, &machine.name)["revoked"] != Value::Null;
        assert_eq!(list["peers"].as_array().unwrap().len(), 2);
        [&self.honest, &self.thief].into_iter().filter(is_out).map(|machine| &*machine.name).collect()
    }

    #[track_caller]
    fn has_nothing_of_the_thief(&self) {
        let server = &self.server;
        assert_eq!(["news", "wanted", "forged"].map(|subject| server.has(subject)), [true, true, false]);
    }
}

#[test]
fn nothing_of_a_stolen_machine_is_taken_beside_the_bundle_that_says_so() {
    for thief_comes_first in [true, false] {
        let dir = scratch();
        let shared = Shared::new(dir.path(), thief_comes_first);
        let (server, thief) = (&shared.server, &shared.thief.name);
        shared.revoke();
        shared.leave(&shared.thief, &[]);
        shared.leave(&shared.honest, &[]);
        let refused = format!("{thief} was revoked by {}", shared.honest.name);
        // A rehearsal tells the same and leaves nothing.
        let said = shared.import(4, &["--dry-run"]);
        assert!(said.contains(&refused), "{said}");
        assert!(shared.shut_out().is_empty());
        let said = shared.import(4, &[]);
        assert!(said.contains(&refused), "{said}");
        assert!(said.contains(&format!("{thief} WAS REVOKED by {}", shared.honest.name)), "{said}");
        shared.has_nothing_of_the_thief();
        assert_eq!(shared.shut_out(), [thief.as_str()]);
        let log = server.ok(&["log"]).text().to_owned();
        assert_eq!(log.matches("is revoked as of").count(), 1, "{log}");
        // The file was told of, and is passed over from then on.
        let said = shared.import(0, &[]);
        assert!(!said.contains(&refused) && said.contains("1 file in"), "{said}");

        // A person knows better: what was said until then counts no more, though the bundle that says so still lies there.
        server.ok(&["peer", "reinstate", thief]);
        shared.import(0, &[]);
        assert!(server.has("forged") && !server.has("wanted"));
        assert!(shared.shut_out().is_empty());
    }
}

#[test]
fn two_machines_that_revoke_each_other_in_one_directory_are_both_shut_out() {
    for thief_comes_first in [true, false] {
        let dir = scratch();
        let shared = Shared::new(dir.path(), thief_comes_first);
        shared.thief.ok(&["peer", "revoke", &shared.honest.name]);
        shared.revoke();
        shared.leave(&shared.thief, &["--to", "server"]);
        shared.leave(&shared.honest, &["--to", "server"]);
        let said = shared.import(4, &[]);
        let (thief, honest) = (&shared.thief.name, &shared.honest.name);
        for (one, other) in [(thief, honest), (honest, thief)] {
            assert!(said.contains(&format!("{one} was revoked by {other} at")), "{said}");
        }
        assert_eq!(shared.shut_out(), [honest.as_str(), thief.as_str()]);
        assert_eq!(["news", "wanted", "forged"].map(|subject| shared.server.has(subject)), [false, true, false]);
        // Who looks and says which one is right has all of that one's.
        shared.server.ok(&["peer", "revoke", thief, "--since", &shared.theft]);
        shared.import(4, &[]);
        shared.has_nothing_of_the_thief();
    }
}

#[test]
fn what_a_bundle_says_that_waits_for_another_one_is_heard() {
    for thief_comes_first in [true, false] {
        let dir = scratch();
        let shared = Shared::new(dir.path(), thief_comes_first);
        let first = shared.honest.ok(&["export", "--to", "server"]).stdout;
        shared.revoke();
        shared.leave(&shared.honest, &["--to", "server", "--since-last"]);
        shared.leave(&shared.thief, &[]);
        let said = shared.import(4, &[]);
        assert!(said.contains(&format!("{} was revoked by", shared.thief.name)), "{said}");
        let server = &shared.server;
        assert_eq!(["news", "wanted", "forged"].map(|subject| server.has(subject)), [false, true, false]);
        server.run_with(&["import"], &first);
        shared.import(0, &[]);
        shared.has_nothing_of_the_thief();
    }
}
