//! What the help of each command says besides its arguments: examples, the columns of what it prints, and where the exit
//! codes are.

use std::fmt::Write;

/// An example: a line as it is typed, and what it does.
type Example = (&'static str, &'static str);

/// What stands at the end of a command's help. A line has 78 columns at most, since a longer one would be broken.
struct Ending {
    command: &'static str,
    examples: &'static [Example],
    /// What it prints, if that isn't plain.
    prints: &'static str,
}

const fn ending(command: &'static str, examples: &'static [Example]) -> Ending {
    Ending { command, examples, prints: "" }
}

const fn printing(command: &'static str, examples: &'static [Example], prints: &'static str) -> Ending {
    Ending { command, examples, prints }
}

const CODES: &str = "Exit codes: `mailsync --help` lists them. The ideas: mailsync(7).";

const INIT: &str = "\
Prints the public key on standard output: one line, which the peers need. All
else is said on standard error.";

const LOG_COLUMNS: &str = "\
Columns: when it was done, in local time; the command that did it; the peer
with which, or -; what came of it. With --message, --folder or --removed: when
it was seen here; what became of the message, by whom, when by that one's
clock, and in brackets how that came here; unless one message was asked for,
its digest's beginning, date, sender and subject.";

const TRASH_COLUMNS: &str = "\
Columns: ID, a number that is never given again; REMOVED, when it came into
the trash, in local time with its distance from UTC; BY, the replica that has
removed it; FOLDER, where it was; FROM and SUBJECT of the message. What is too
long for 80 columns is cut; `trash show ID` has all of it.";

const IN_TRASH: &str = "\
What a bundle has removed is in the trash: `mailsync trash restore --since 2h`
brings back what came there in the last two hours.";

const JOB_COLUMNS: &str = "\
A job is queued, running, done, failed, rejected (the peer's rules don't allow
it), interrupted (it may have run or not) or cancelled.";

const WATCH: &str = "\
config.toml says what is done: `spool` and `call` of [peer.NAME] are where
bundles go, `receive` in [watch] is where they arrive. With --json, each round
prints a document in one line. SIGINT and SIGTERM end it when what is under way
is done; exit code 0 then. What stays wrong is told once.";

const ENDINGS: &[Ending] = &[
    printing(
        "init",
        &[
            ("mailsync init ~/Maildir > desktop.pub", "make a replica; the key goes into a file for the other machine"),
            ("mailsync init ~/Mail --name laptop --layout fs", "choose its name, and how folders become directories"),
        ],
        INIT,
    ),
    ending(
        "invite",
        &[
            (
                "mailsync invite tablet -o /media/stick/",
                "all mail for a new machine; shows the code that opens it, once",
            ),
            (
                "mailsync invite tablet --no-contents -o /media/stick/",
                "the same without messages, which it has already",
            ),
        ],
    ),
    ending(
        "join",
        &[
            (
                "mailsync join ~/Mail /media/stick/tablet.zst.age",
                "make a replica from an invitation; asks for the code",
            ),
            ("mailsync join ~/Mail --code-file code.txt < tablet.zst.age", "the same by a script"),
        ],
    ),
    ending("peer", &[("mailsync peer list", "all peers, with their keys")]),
    ending("peer list", &[("mailsync peer list", "all peers, and the machines that were invited")]),
    ending(
        "peer add",
        &[
            ("mailsync peer add laptop --key laptop.pub", "take bundles from the machine whose key is in that file"),
            ("mailsync peer add office --distant --key office.pub", "a machine that others pass jobs on to"),
        ],
    ),
    ending("peer rename", &[("mailsync peer rename laptop old-laptop", "only this machine calls it so")]),
    ending(
        "peer remove",
        &[("mailsync peer remove laptop", "take nothing more from it; see `peer revoke` if it was lost")],
    ),
    ending(
        "peer revoke",
        &[
            (
                "mailsync peer revoke laptop --since yesterday --reason stolen",
                "shut it out, and believe nothing that it has done since",
            ),
            ("mailsync peer revoke laptop --keep", "but keep what of that is still here, and let the others have it"),
        ],
    ),
    ending("peer reinstate", &[("mailsync peer reinstate laptop", "it was found again")]),
    ending("key", &[("mailsync key show", "the key that peers need")]),
    ending(
        "key show",
        &[
            ("mailsync key show > laptop.pub", "write the public key into a file"),
            ("mailsync key show --qr", "show it to a machine with a camera"),
        ],
    ),
    ending("key rotate", &[("mailsync key rotate", "the peers follow with the next bundles from here")]),
    ending(
        "key passphrase",
        &[
            ("mailsync key passphrase", "ask for a passphrase, and lock the key with it"),
            ("mailsync key passphrase --remove", "unlock the key for good"),
        ],
    ),
    ending(
        "scan",
        &[
            ("mailsync scan --dry-run", "tell what changed, and record nothing"),
            ("mailsync scan INBOX Archive/2019", "look at these folders only"),
            ("mailsync scan --deep", "read every message again"),
        ],
    ),
    ending(
        "export",
        &[
            ("mailsync export -o /media/stick/", "what the only peer lacks, encrypted for it"),
            ("mailsync export | ssh server mailsync import --reply | mailsync import", "both directions in one line"),
            ("mailsync export -n -v", "which messages it would hold"),
        ],
    ),
    ending(
        "import",
        &[
            ("mailsync import --consume /media/stick/", "every bundle for this machine, which then goes"),
            ("mailsync import --dry-run bundle.zst.age", "tell what it would change"),
            ("mailsync import < bundle.zst", "from standard input"),
        ],
    ),
    ending(
        "update",
        &[
            ("mailsync update", "exchange bundles with all peers that config.toml has a call for"),
            ("mailsync update -q server", "with one of them, saying nothing but errors, as for cron"),
            ("mailsync update --jobs 4", "with up to four of them at a time"),
        ],
    ),
    printing(
        "watch",
        &[
            ("mailsync watch", "until it is told to stop, by Ctrl-C or by systemd"),
            ("mailsync watch --after 30 --every 15m", "more patiently than usual"),
            ("mailsync watch --once -q", "one round, as for cron"),
        ],
        WATCH,
    ),
    ending(
        "uux",
        &[
            ("mailsync uux server sendmail -t < mail.txt", "have the server send a mail"),
            ("mailsync uux server backup --full < /dev/null", "run what the server's rules call backup"),
        ],
    ),
    ending("jobs", &[("mailsync jobs list", "what was asked for, and how it stands")]),
    printing("jobs list", &[("mailsync jobs list", "all jobs, the oldest first")], JOB_COLUMNS),
    ending("jobs show", &[("mailsync jobs show fdd1487c", "all about one, and what its program has printed")]),
    ending("jobs run", &[("mailsync jobs run", "what `import --no-jobs` has left")]),
    ending("jobs retry", &[("mailsync jobs retry fdd1487c", "ask for it, or run it, once more")]),
    ending("jobs cancel", &[("mailsync jobs cancel fdd1487c", "before it is started")]),
    ending("jobs forget", &[("mailsync jobs forget fdd1487c 07be22d1", "with their input and output")]),
    ending("purge", &[("mailsync purge", "once a week is enough")]),
    ending(
        "status",
        &[
            ("mailsync status", "what has changed on disk, what waits and why, and what each peer lacks"),
            ("mailsync status --no-scan", "the same as of the last scan, without a look at the disk"),
        ],
    ),
    printing(
        "log",
        &[
            ("mailsync log --since yesterday", "what was done since then"),
            (
                "mailsync log --removed --folder Lists --since 3d",
                "which messages went from there, and who removed them",
            ),
            ("mailsync log --message '<abc@example.org>'", "all that became of one message"),
        ],
        LOG_COLUMNS,
    ),
    ending(
        "inspect",
        &[
            ("mailsync inspect bundle.zst.age", "from whom it is, for whom, and how much it holds"),
            ("mailsync inspect -v bundle.zst.age", "the same, with every message"),
        ],
    ),
    ending(
        "verify",
        &[(
            "mailsync verify /media/stick/desktop-laptop-7.zst.age",
            "read all of it, and tell whether it can be applied",
        )],
    ),
    printing(
        "restore",
        &[
            ("mailsync restore Lists/bees", "that folder was removed by mistake"),
            ("mailsync restore --all -n", "what would come back"),
            ("mailsync restore Lists --since 2h", "its mail was removed, and that was recorded"),
        ],
        IN_TRASH,
    ),
    ending("trash", &[("mailsync trash list", "what imports have removed")]),
    printing(
        "trash list",
        &[
            ("mailsync trash list", "all of it"),
            ("mailsync trash list --by desktop --since 2h", "what one machine has removed of late"),
        ],
        TRASH_COLUMNS,
    ),
    ending("trash show", &[("mailsync trash show 17", "all about one message, and its file")]),
    ending(
        "trash restore",
        &[
            ("mailsync trash restore 17 20-25", "back into their folders"),
            ("mailsync trash restore --folder Archive -n", "tell what would come back, and change nothing"),
            ("mailsync trash restore --all --to /tmp/mails", "copies in a directory; the trash stays as it is"),
        ],
    ),
    ending("undo", &[("mailsync undo --by laptop --since 2h -n", "what would be taken back; without -n it is")]),
    ending(
        "doctor",
        &[
            ("mailsync doctor", "check the state, and change nothing"),
            ("mailsync doctor --new-identity", "after a snapshot was put back in place"),
            ("mailsync doctor --moved-root -n", "after the mail was moved: what it would find"),
        ],
    ),
    ending(
        "deinit",
        &[
            ("mailsync deinit -n", "what would go, and what nobody else has yet"),
            ("mailsync deinit --trash-to ~/removed", "the trash becomes files in that directory"),
        ],
    ),
    ending(
        "completions",
        &[
            ("mailsync completions bash > ~/.bash_completion", "for one user's bash"),
            ("mailsync completions zsh > ~/.zfunc/_mailsync", "for zsh, if ~/.zfunc is in its fpath"),
            ("mailsync completions fish > ~/.config/fish/completions/mailsync.fish", "for fish"),
        ],
    ),
    ending("man", &[("mailsync man ~/.local/share/man", "then `man mailsync` shows the first page")]),
];

fn text(ending: &Ending) -> String {
    let mut text = String::from("Examples:\n");
    for (line, what) in ending.examples {
        // Writing to a string doesn't fail.
        let _ = writeln!(text, "  {line}\n      {what}");
    }
    if !ending.prints.is_empty() {
        let _ = write!(text, "\n{}\n", ending.prints);
    }
    let _ = write!(text, "\n{CODES}");
    text
}

/// The command line, each command of which has examples at the end of its help.
pub fn with_examples(line: clap::Command) -> clap::Command {
    ENDINGS.iter().fold(line, |line, ending| {
        let (first, second) = ending.command.split_once(' ').map_or((ending.command, None), |(a, b)| (a, Some(b)));
        line.mut_subcommand(first, |command| match second {
            Some(second) => command.mut_subcommand(second, |command| command.after_help(text(ending))),
            None => command.after_help(text(ending)),
        })
    })
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches};

    use super::*;
    use crate::cli::args::Args;

    /// The commands that can be typed, with those that only have others below them.
    fn commands(command: &clap::Command, before: &str) -> Vec<String> {
        let mut names = Vec::new();
        for inner in command.get_subcommands() {
            let name = format!("{before} {}", inner.get_name()).trim().to_owned();
            names.extend(commands(inner, &name));
            names.push(name);
        }
        names
    }

    #[test]
    fn each_command_has_one_to_three_examples_and_no_other_has() {
        let mut told: Vec<_> = ENDINGS.iter().map(|ending| ending.command.to_owned()).collect();
        let mut there = commands(&Args::command(), "");
        told.sort();
        there.sort();
        assert_eq!(told, there);
        assert!(ENDINGS.iter().all(|ending| (1..=3).contains(&ending.examples.len())));
    }

    #[test]
    fn each_example_is_a_line_that_mailsync_understands_and_is_about_its_command() {
        for ending in ENDINGS {
            for (line, _) in ending.examples {
                let mut about = false;
                for part in line.split('|').map(str::trim) {
                    let part = part.strip_prefix("ssh server ").unwrap_or(part);
                    let typed = part.split(['>', '<']).next().unwrap().split_whitespace();
                    let matches =
                        Args::line().try_get_matches_from(typed).unwrap_or_else(|error| panic!("{line}: {error}"));
                    about |= part.starts_with(&format!("mailsync {}", ending.command));
                    Args::from_arg_matches(&matches).unwrap_or_else(|error| panic!("{line}: {error}"));
                }
                assert!(about, "{line} is not about {}", ending.command);
            }
        }
    }
}
