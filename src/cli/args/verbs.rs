//! The verbs of other programs, which people type: what is meant by them here.

/// What is meant, for verbs that mean the same.
const VERBS: [(&[&str], &str); 17] = [
    (
        &["sync", "synchronise", "synchronize", "push-pull"],
        "`mailsync update` exchanges bundles with the peers that config.toml says how to reach; by hand, it is `mailsync export` \
         here and `mailsync import` there",
    ),
    (
        &["pull", "fetch", "receive", "recv", "get", "merge", "apply", "unbundle", "load"],
        "`mailsync import BUNDLE` applies a bundle; `mailsync update PEER` fetches one, too",
    ),
    (
        &["push", "send", "put", "bundle", "dump", "create-bundle"],
        "`mailsync export --to PEER -o DIR` writes a bundle; `mailsync update PEER` carries it, too",
    ),
    (&["clone", "pair", "connect"], "`mailsync invite NAME` here, then `mailsync join` on the new machine"),
    (
        &["diff", "changes", "whatchanged"],
        "`mailsync scan --dry-run -v` shows what has changed here, `mailsync import --dry-run -v` what a bundle would",
    ),
    (&["commit", "add", "record", "save", "index", "refresh"], "`mailsync scan` records what has changed here"),
    (
        &["remote", "remotes", "peers", "host"],
        "`mailsync peer list` shows the peers, `mailsync peer add` makes one known",
    ),
    (
        &["ls", "list", "show", "cat", "contents"],
        "`mailsync status` lists the folders, `mailsync inspect BUNDLE` shows a bundle, `mailsync trash list` the trash",
    ),
    (&["info", "st", "state"], "`mailsync status`"),
    (&["history", "reflog", "blame"], "`mailsync log`, and `mailsync log --folder FOLDER` for single messages"),
    (
        &["undelete", "recover", "revert", "reset", "checkout", "rollback"],
        "`mailsync restore` gets back what vanished here, `mailsync trash restore` what an import removed, `mailsync undo` takes back \
         what somebody moved and flagged",
    ),
    (
        &["check", "fsck", "test", "validate"],
        "`mailsync verify BUNDLE` checks a bundle, `mailsync doctor` the state, `mailsync scan --deep` every message",
    ),
    (&["gc", "prune", "expire", "clean", "cleanup", "forget"], "`mailsync purge`"),
    (&["setup", "new", "create", "start", "begin"], "`mailsync init MAILROOT`"),
    (
        &["search", "find", "grep", "locate"],
        "`mailsync log --message MESSAGE-ID` tells what became of a message; what stands in mails is found by notmuch, mu or grep",
    ),
    (&["version"], "`mailsync --version`"),
    (
        &["config", "configure", "settings", "set"],
        "there is no command for it: the configuration is the file config.toml, which `mailsync init` writes and you edit",
    ),
];

/// What is meant by a verb that mailsync doesn't have.
pub(super) fn meant_by(verb: &str) -> Option<&'static str> {
    VERBS.iter().find(|(verbs, _)| verbs.contains(&verb)).map(|(_, meant)| *meant)
}

/// What is told where `--allow-mass-delete` is no option. Whoever types it has just been refused for what vanished.
pub(super) const MASS_DELETE: &str = "`mailsync scan --allow-mass-delete` says that what vanished here is really to be gone; \
                           `mailsync restore` gets it back";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Args, misuse};

    fn said(verb: &str) -> String {
        let mut line = Args::line();
        let wrong = line.try_get_matches_from_mut(["mailsync", verb]).unwrap_err();
        misuse::told(&wrong, &[verb.into()], &line).to_string()
    }

    #[test]
    fn a_verb_of_another_program_is_answered_with_the_ones_that_there_are() {
        let line = Args::line();
        let commands: Vec<&str> = line.get_subcommands().map(clap::Command::get_name).collect();
        for (verbs, meant) in VERBS {
            for verb in verbs {
                assert!(!commands.contains(verb), "{verb} is a command");
                let told = said(verb);
                assert!(told.contains(meant) && !told.contains("did you mean"), "{verb}: {told}");
            }
            let named = meant.split('`').skip(1).step_by(2).filter_map(|named| named.strip_prefix("mailsync "));
            for named in named.filter(|named| !named.starts_with('-')) {
                let command = named.split(' ').next().unwrap();
                assert!(commands.contains(&command), "{meant}");
            }
        }
        let all: Vec<&&str> = VERBS.iter().flat_map(|(verbs, _)| *verbs).collect();
        let mut apart = all.clone();
        apart.sort_unstable();
        apart.dedup();
        assert_eq!(all.len(), apart.len(), "a verb stands twice");
        assert!(said("stat").contains("did you mean status?"));
    }
}
