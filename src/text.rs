//! Texts for people: what came from elsewhere is made fit for a terminal, what is counted gets its plural, and bytes
//! their unit.

/// A text from elsewhere, without characters that could move a terminal's cursor, break a line, or show what stands
/// beside them in another order than it has.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || misleads(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Whether a character isn't seen itself, and changes how others are: line and paragraph separators, the controls of
/// the bidirectional algorithm (Unicode Standard Annex 9, section 2), marks of annotations and of byte order, and tags.
fn misleads(c: char) -> bool {
    matches!(c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The beginning of a text from elsewhere that may be of any length, made printable: at most this many characters, and
/// an ellipsis if there are more.
pub fn beginning(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => printable(&text[..end]) + "…",
        None => printable(text),
    }
}

/// The words of the operating system without the number that Rust puts behind them, " (os error 2)": it tells people
/// nothing that the words don't.
pub fn without_numbers(text: &str) -> String {
    const MARK: &str = " (os error ";
    let mut parts = text.split(MARK);
    let mut told = String::from(parts.next().unwrap_or_default());
    for part in parts {
        match part.split_once(')') {
            Some((number, rest)) if number.bytes().all(|byte| byte.is_ascii_digit()) => told.push_str(rest),
            _ => told.extend([MARK, part]),
        }
    }
    told
}

/// An argument as a shell takes it.
pub fn quoted(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-');
    if argument.chars().all(plain) && !argument.starts_with('-') {
        return argument.to_owned();
    }
    let dashes = if argument.starts_with('-') { "-- " } else { "" };
    format!("{dashes}'{}'", argument.replace('\'', "'\\''"))
}

/// Which of these names a person means by one that isn't among them: the only one that begins so, or else the nearest, if
/// one letter of three is right at least twice. A name's last part, behind a slash, counts as one.
pub fn nearest<'n>(typed: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let typed = typed.trim_matches('/').to_lowercase();
    let length = typed.chars().count();
    let (mut begin, mut near) = (Vec::new(), Vec::new());
    for name in names {
        let lower = name.to_lowercase();
        if length > 1 && lower.starts_with(&typed) {
            begin.push(name);
        }
        let last = lower.rsplit('/').next().unwrap_or_default();
        let distance = [&*lower, last]
            .into_iter()
            .filter(|name| name.chars().count().abs_diff(length) * 3 <= length)
            .map(|name| strsim::osa_distance(&typed, name))
            .min();
        near.extend(distance.filter(|distance| distance * 3 <= length).map(|distance| (distance, name)));
    }
    match begin[..] {
        [only] => Some(only),
        _ => near.into_iter().min_by_key(|(distance, _)| *distance).map(|(_, name)| name),
    }
}

/// The question whether a person means this one of the names, as the beginning of what to do: empty if none is near.
pub fn did_you_mean<'n>(typed: &str, names: impl IntoIterator<Item = &'n str>) -> String {
    nearest(typed, names).map_or_else(String::new, |name| format!("did you mean {}? ", printable(name)))
}

/// A count and a noun that has a regular plural: "1 entry", "2 entries".
pub fn plural(count: u64, noun: &str) -> String {
    match (count, noun.strip_suffix('y')) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) if !stem.ends_with(['a', 'e', 'i', 'o', 'u']) => format!("{count} {stem}ies"),
        _ => format!("{count} {noun}s"),
    }
}

/// `is` or `are`, behind a count.
pub fn are(count: u64) -> &'static str {
    if count == 1 { "is" } else { "are" }
}

/// A time in milliseconds since 1970 UTC, for people: as the clocks on the walls here show it, with the distance from UTC.
pub fn local_time(millis: u64) -> String {
    time_in(millis, jiff::tz::TimeZone::system())
}

fn time_in(millis: u64, zone: jiff::tz::TimeZone) -> String {
    i64::try_from(millis).ok().and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok()).map_or_else(
        || String::from("a time beyond all calendars"),
        |time| time.to_zoned_datetime(zone).strftime("%Y-%m-%d %H:%M:%S%:z").to_string(),
    )
}

/// Bytes for people.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_text_neither_moves_the_cursor_nor_fills_the_screen() {
        assert_eq!(printable("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
        assert_eq!(beginning("a\u{1b}[2Jb", 300), "a\u{fffd}[2Jb");
        assert_eq!(printable("bob\u{202e}gpj.\u{2069}\u{200f}x\u{2028}y"), "bob\u{fffd}gpj.\u{fffd}\u{fffd}x\u{fffd}y");
        // Joined letters and marks of other scripts stay.
        let names = "Zoë\u{308} पक्ष\u{200d}ि 👩\u{200d}💻";
        assert_eq!(printable(names), names);
        assert_eq!(beginning(&"x".repeat(1000), 300).chars().count(), 301);
        assert_eq!(beginning(&"ü".repeat(300), 300), "ü".repeat(300));
        assert_eq!(beginning("äöü", 2), "äö…");
    }

    #[test]
    fn what_the_system_says_has_no_number() {
        for (text, expected) in [
            ("No such file or directory (os error 2)", "No such file or directory"),
            ("a: Is a directory (os error 21), and b: I/O error (os error 5)", "a: Is a directory, and b: I/O error"),
            ("a folder (os error x) and (os error 3", "a folder (os error x) and (os error 3"),
            ("all is well", "all is well"),
        ] {
            assert_eq!(without_numbers(text), expected);
        }
        let real = std::io::Error::from_raw_os_error(28).to_string();
        assert!(real.contains("os error"), "Rust has another way to say it: {real}");
        assert!(!without_numbers(&real).contains("28"), "{real}");
    }

    #[test]
    fn a_time_is_that_of_the_walls_and_says_how_far_from_utc() {
        let berlin = jiff::tz::TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        assert_eq!(time_in(1_795_953_600_000, berlin.clone()), "2026-11-29 13:00:00+01:00");
        assert_eq!(time_in(1_782_864_000_000, berlin), "2026-07-01 02:00:00+02:00");
        assert_eq!(time_in(0, jiff::tz::TimeZone::UTC), "1970-01-01 00:00:00+00:00");
        assert_eq!(time_in(u64::MAX, jiff::tz::TimeZone::UTC), "a time beyond all calendars");
    }

    #[test]
    fn a_typo_means_the_name_that_is_nearest() {
        let names = ["desktop", "laptop", "server", "server-old", "Arbeit/Projekte", "INBOX", "bees", "Entwürfe"];
        for (typed, meant) in [
            ("sever", Some("server")),
            ("lapotp", Some("laptop")),
            ("Laptop", Some("laptop")),
            ("desk", Some("desktop")),
            ("Projekt", Some("Arbeit/Projekte")),
            ("projekte/", Some("Arbeit/Projekte")),
            ("inbox", Some("INBOX")),
            ("Entwurfe", Some("Entwürfe")),
            ("server-o", Some("server-old")),
            ("phone", None),
            ("d", None),
            ("", None),
            ("a name that is much longer than all of them", None),
        ] {
            assert_eq!(nearest(typed, names), meant, "{typed:?}");
        }
        assert_eq!(did_you_mean("sever", names), "did you mean server? ");
        assert_eq!(did_you_mean("phone", names), "");
    }

    #[test]
    fn one_of_a_thing_is_no_plural() {
        let counted = |noun| [0, 1, 2].map(|count| plural(count, noun));
        assert_eq!(counted("message"), ["0 messages", "1 message", "2 messages"]);
        assert_eq!(counted("entry"), ["0 entries", "1 entry", "2 entries"]);
        assert_eq!(counted("day"), ["0 days", "1 day", "2 days"]);
    }
}
