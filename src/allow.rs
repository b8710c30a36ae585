//! Which commands peers may have run here: a decision about words, without any I/O.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::text::beginning;

/// A refusal shows at most so many characters of a text from a job.
const SHOWN: usize = 200;

/// A rule in `config.toml`: who may have which command run, and with which arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The name that a job asks for.
    pub command: String,
    /// The program and its leading arguments, run without a shell.
    pub exec: Vec<String>,
    /// The arguments that a job may add, each any number of times and in any order. An argument must be exactly like
    /// one of these, or of the kind that `@` and a name stand for (see `ARG_KINDS`). `@@` stands for an `@` at the
    /// beginning. Default: none.
    #[serde(default)]
    pub args: Vec<String>,
    /// The names of the peers that may ask for it. Default: none.
    #[serde(default)]
    pub from: Vec<String>,
    /// How long the program may take, such as `90s`, `2m` or `1h`.
    #[serde(default = "default_timeout")]
    pub timeout: String,
}

fn default_timeout() -> String {
    String::from("2m")
}

/// The name of a kind of arguments, and whether one is of that kind.
pub type ArgKind = (&'static str, fn(&str) -> bool);

/// The kinds of arguments that rules can name. None of them begins with `-`, so that none is taken for an option.
pub const ARG_KINDS: &[ArgKind] =
    &[("@address", is_address), ("@number", is_number), ("@word", is_word), ("@text", is_text)];

/// The longest address, in bytes: a path of 256 without its angle brackets (RFC 5321, 4.5.3.1.3).
const ADDRESS_BYTES: usize = 254;
/// The longest local part, in bytes (RFC 5321, 4.5.3.1.1).
const LOCAL_BYTES: usize = 64;
/// The longest label of a domain, in bytes (RFC 1035, 2.3.4).
const LABEL_BYTES: usize = 63;

/// A mail address, `local@domain`, that no program can take for anything else.
///
/// The local part is a dot-atom (RFC 5322, 3.2.3) of letters, digits, `_`, `-`, `+` and `=`, and begins with a letter,
/// a digit or `_`. That is what mailboxes, sub-addresses (`me+list`) and the envelope senders of mailing lists
/// (`bounce+me=example.org`) need. The other characters of a dot-atom are left out, since the program behind a rule may
/// be a script that forgets its quotes, or one that reads more into an address than a name: a shell understands
/// `$ & ' * ? ^ { | } ~ # !` and the backquote, and a mail server takes `!` and `%` for a route and `/` for a file.
/// The domain has the form of a host name (RFC 5321, 4.1.2); it is not checked whether it exists. Quotes, comments and
/// address literals are left out for the same reason, and so is all that isn't ASCII (RFC 6531): which of these
/// characters are harmless depends on the program and its locale. A domain of that kind has a form in ASCII
/// (`xn--...`); such a local part can be allowed as it is, or by `@text`.
fn is_address(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let of_local = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'+' | b'=');
    let of_label = |c: u8| c.is_ascii_alphanumeric() || c == b'-';
    let is_label = |label: &str| {
        (1..=LABEL_BYTES).contains(&label.len())
            && label.bytes().all(of_label)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= ADDRESS_BYTES
        && local.len() <= LOCAL_BYTES
        && local.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && local.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(of_local))
        && domain.split('.').all(is_label)
}

/// Decimal digits.
fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit())
}

/// Letters, digits, `.`, `_` and `-`, beginning with a letter, a digit or `_`.
fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

/// Any text without control characters that doesn't begin with `-`.
fn is_text(text: &str) -> bool {
    !text.is_empty() && !text.starts_with('-') && !text.chars().any(char::is_control)
}

impl Rule {
    /// Whether the rule makes sense; if not, why.
    pub fn check(&self) -> Result<(), String> {
        if self.command.is_empty() || self.command.chars().any(char::is_control) {
            return Err(String::from("the command must have a name, without control characters"));
        }
        if self.exec.first().is_none_or(String::is_empty) {
            return Err(String::from("exec must name a program"));
        }
        for arg in &self.args {
            let unknown =
                arg.starts_with('@') && !arg.starts_with("@@") && !ARG_KINDS.iter().any(|(name, _)| name == arg);
            if unknown {
                let names: Vec<&str> = ARG_KINDS.iter().map(|(name, _)| *name).collect();
                return Err(format!("there is no kind {arg} of arguments; there are {}", names.join(", ")));
            }
        }
        self.timeout().map(drop)
    }

    /// How long the program may take.
    pub fn timeout(&self) -> Result<Duration, String> {
        parse_timeout(&self.timeout)
    }

    fn permits(&self, arg: &str) -> bool {
        self.args.iter().any(|allowed| match ARG_KINDS.iter().find(|(name, _)| name == allowed) {
            Some((_, fits)) => fits(arg),
            None => allowed.strip_prefix('@').unwrap_or(allowed) == arg,
        })
    }
}

/// Finds the rule by which this peer may have this command run.
///
/// # Errors
/// No rule allows it; the text says why.
pub fn decide<'r>(rules: &'r [Rule], command: &str, args: &[String], peer: &str) -> Result<&'r Rule, String> {
    let named: Vec<&Rule> = rules.iter().filter(|rule| rule.command == command).collect();
    if named.is_empty() {
        return Err(format!("there is no rule that allows the command \"{}\"", beginning(command, SHOWN)));
    }
    let open: Vec<&Rule> = named.into_iter().filter(|rule| rule.from.iter().any(|from| from == peer)).collect();
    let Some(first) = open.first() else {
        return Err(format!("no rule allows the command \"{}\" to {peer}", beginning(command, SHOWN)));
    };
    if let Some(rule) = open.iter().find(|rule| args.iter().all(|arg| rule.permits(arg))) {
        return Ok(rule);
    }
    let wrong = args.iter().find(|arg| !first.permits(arg)).map_or("", String::as_str);
    Err(format!(
        "the argument \"{}\" is not allowed for the command \"{}\"",
        beginning(wrong, SHOWN),
        beginning(command, SHOWN)
    ))
}

/// A timeout as it is written in the configuration.
///
/// # Errors
/// It isn't one, or it is no time at all.
pub fn parse_timeout(text: &str) -> Result<Duration, String> {
    parse_time("timeout", text)
}

/// A time as it is written in the configuration, and what it is called there.
///
/// # Errors
/// It isn't one, or it is no time at all.
pub fn parse_time(what: &str, text: &str) -> Result<Duration, String> {
    let wrong = || format!("the {what} \"{text}\" is not a time such as 90s, 2m or 1h");
    let span: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
    Duration::try_from(span).ok().filter(|timeout| !timeout.is_zero()).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(args: &[&str], from: &[&str]) -> Rule {
        let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Rule {
            command: "sendmail".into(),
            exec: vec!["/usr/sbin/sendmail".into(), "-oi".into()],
            args: own(args),
            from: own(from),
            timeout: default_timeout(),
        }
    }

    fn args(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn only_what_a_rule_says_is_allowed() {
        let rules = [rule(&["-t", "-f", "--", "@address", "@@x"], &["laptop"])];
        let allowed = |given: &[&str]| decide(&rules, "sendmail", &args(given), "laptop").is_ok();
        assert!(allowed(&[]));
        assert!(allowed(&["-f", "me@example.org", "--", "you@example.org", "o.ther+x@sub.example.org"]));
        assert!(allowed(&["@x"]));
        for wrong in [
            "-C",
            "-C/tmp/x",
            "-oQ/tmp",
            "",
            ";",
            "a;b@example.org",
            "me@example.org\n",
            "me@example.org\0",
            "|cat@x.org",
            "/etc/passwd",
            "-t@example.org",
            "@example.org",
            "@@x",
            "@address",
            "me@",
            "me@-x.org",
            "me@x..org",
            "me x@y.org",
        ] {
            assert!(!allowed(&[wrong]), "{wrong:?}");
            assert!(!allowed(&["-t", wrong]), "{wrong:?}");
        }
        assert!(!allowed(&[&format!("{}@example.org", "x".repeat(300))]));
    }

    #[test]
    fn a_refusal_says_what_is_missing() {
        let rules = [rule(&["-t"], &["laptop"]), rule(&[], &["desktop"])];
        let refused =
            |command: &str, given: &[&str], peer: &str| decide(&rules, command, &args(given), peer).unwrap_err();
        assert_eq!(refused("rm", &[], "laptop"), "there is no rule that allows the command \"rm\"");
        assert_eq!(refused("sendmail", &[], "phone"), "no rule allows the command \"sendmail\" to phone");
        let why = refused("sendmail", &["-t", "-C\n"], "laptop");
        assert_eq!(why, "the argument \"-C\u{fffd}\" is not allowed for the command \"sendmail\"");
        assert!(refused("sendmail", &["-t"], "desktop").contains("-t"));
        assert!(refused("sendmail", &[&"x".repeat(100_000)], "laptop").len() < 400);
    }

    #[test]
    fn several_rules_for_one_command_are_tried_one_after_the_other() {
        let rules = [rule(&["-t"], &["laptop"]), rule(&["@number"], &["laptop"])];
        assert!(decide(&rules, "sendmail", &args(&["-t"]), "laptop").is_ok());
        assert!(decide(&rules, "sendmail", &args(&["7"]), "laptop").is_ok());
        assert!(decide(&rules, "sendmail", &args(&["-t", "7"]), "laptop").is_err(), "what none allows by itself");
    }

    #[test]
    fn a_rule_that_makes_no_sense_is_refused() {
        assert!(rule(&["@address"], &[]).check().is_ok());
        assert!(rule(&["@adress"], &[]).check().unwrap_err().contains("@address"));
        assert!(Rule { exec: vec![], ..rule(&[], &[]) }.check().is_err());
        assert!(Rule { command: String::new(), ..rule(&[], &[]) }.check().is_err());
        for timeout in ["", "2", "0s", "-1m", "soon"] {
            assert!(Rule { timeout: timeout.into(), ..rule(&[], &[]) }.check().is_err(), "{timeout}");
        }
        assert_eq!(Rule { timeout: "1h30m".into(), ..rule(&[], &[]) }.timeout(), Ok(Duration::from_secs(5400)));
    }

    #[test]
    fn an_address_is_what_mailboxes_need_and_nothing_that_a_program_could_understand_otherwise() {
        let long = |local: usize, label: usize| format!("{}@{}.org", "x".repeat(local), "y".repeat(label));
        for right in [
            "me@example.org",
            "me.and.you@example.org",
            "me+lists@sub.example.org",
            "first-last@e-f.example",
            "_me@example.org",
            "7@7.example",
            "bounce+me=example.org@lists.example.org",
            "SRS0=HHH=TT=example.org=me@example.com",
            "root@localhost",
            "me@xn--bcher-kva.example",
            "a--b@example.org",
            &long(64, 63),
        ] {
            assert!(is_address(right), "{right:?}");
        }
        // Every other character of ASCII, wherever it stands.
        let local = |c: char| c.is_ascii_alphanumeric() || "_-+=.".contains(c);
        let domain = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
        for c in (0..=127_u8).map(char::from) {
            let within = [format!("a{c}b@example.org"), format!("me@exa{c}mple.org")];
            // A second `@` would make the first a part of the name.
            assert_eq!(is_address(&within[0]), local(c), "{c:?}");
            assert_eq!(is_address(&within[1]), domain(c), "{c:?}");
            assert_eq!(is_address(&format!("{c}me@example.org")), c.is_ascii_alphanumeric() || c == '_', "{c:?}");
            assert_eq!(is_address(&format!("me{c}@example.org")), local(c) && c != '.', "{c:?}");
            assert_eq!(is_address(&format!("me@{c}example.org")), c.is_ascii_alphanumeric(), "{c:?}");
            assert_eq!(is_address(&format!("me@example.org{c}")), c.is_ascii_alphanumeric(), "{c:?}");
        }
        for wrong in [
            "",
            "@",
            "me",
            "me@",
            "@example.org",
            "me@@example.org",
            "me@example..org",
            "me@.example.org",
            "me@example.org.",
            "me..you@example.org",
            ".me@example.org",
            "-me@example.org",
            "-f@example.org",
            "+me@example.org",
            "=me@example.org",
            "\"me\"@example.org",
            "<me@example.org>",
            "me(x)@example.org",
            "me@[127.0.0.1]",
            "@relay.org:me@example.org",
            "me@example.org,you@example.org",
            "größe@example.org",
            "me@bücher.example",
            "me\u{202e}@example.org",
            "me@example\u{3002}org",
            &long(65, 1),
            &long(1, 64),
            &format!("me@{}", ["y".repeat(63), "y".repeat(63), "y".repeat(63), "y".repeat(63)].join(".")),
        ] {
            assert!(!is_address(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn the_kinds_fit_what_they_should() {
        assert!(is_number("0123") && !is_number("") && !is_number("-1") && !is_number("1x"));
        assert!(is_word("a.b-c") && !is_word("-a") && !is_word("a b") && !is_word(""));
        assert!(is_text("Größe; rm -rf") && !is_text("-x") && !is_text("a\nb") && !is_text(""));
    }
}
